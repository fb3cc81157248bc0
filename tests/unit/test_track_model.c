// SPDX-License-Identifier: GPL-2.0-or-later
#include <criterion/criterion.h>
#include <errno.h>

#include "track.h"

static struct gw_track *start(uint64_t size_bytes)
{
	struct gw_track *track;

	cr_assert_eq(gw_track_model_start(&track, size_bytes, 4096), 0);
	return track;
}

Test(track_model, refuses_what_has_no_geometry)
{
	struct gw_track *track = (void *)1;

	cr_assert_eq(gw_track_model_start(&track, 0, 4096), -EINVAL);
	cr_assert_null(track);
	cr_assert_eq(gw_track_model_start(&track, 1 << 20, 5000), -EINVAL);
}

Test(track_model, take_moves_live_to_pending_and_counts_what_is_new)
{
	struct gw_track *const track = start(100 * 4096 + 1);
	struct gw_track_taken taken;

	cr_assert_eq(track->geom.size_grains, 101);
	gw_bitmap_set(&track->pending, (struct gw_run){ 10, 5 });
	gw_bitmap_set(&track->live, (struct gw_run){ 12, 10 });
	gw_bitmap_set(&track->live, (struct gw_run){ 100, 1 });
	gw_track_fence(track);
	cr_assert_eq(gw_track_take(track, &taken, NULL), 0);
	cr_assert_eq(taken.fresh_grains, 8);
	cr_assert(!taken.whole_device);
	cr_assert(gw_bitmap_is_empty(&track->live));
	cr_assert_eq(gw_bitmap_count(&track->pending), 13);
	cr_assert_eq(gw_track_take(track, &taken, NULL), 0);
	cr_assert_eq(taken.fresh_grains, 0);
	gw_track_close(track);
}

Test(track_model, drop_forgets_live_only)
{
	struct gw_track *const track = start(1 << 20);

	gw_bitmap_set(&track->live, (struct gw_run){ 0, 256 });
	gw_bitmap_set(&track->pending, (struct gw_run){ 3, 1 });
	cr_assert_eq(gw_track_drop_marks(track, NULL), 0);
	cr_assert(gw_bitmap_is_empty(&track->live));
	cr_assert_eq(gw_bitmap_count(&track->pending), 1);
	cr_assert_eq(gw_track_stop(track, NULL), 0);
}

Test(track_model, nothing_is_in_flight)
{
	struct gw_track *const track = start(1 << 20);
	struct gw_track_in_flight in_flight = { 7, 7 };
	struct gw_track_stats stats = { .writes = 9 };

	cr_assert_eq(gw_track_in_flight(track, &in_flight, NULL), 0);
	cr_assert_eq(in_flight.count, 0);
	cr_assert_eq(in_flight.oldest_age_ns, 0);
	cr_assert_eq(gw_track_stats(track, &stats, NULL), 0);
	cr_assert_eq(stats.writes, 0);
	gw_track_close(track);
	gw_track_close(NULL);
}

// SPDX-License-Identifier: GPL-2.0-or-later
/* The contract of a dirty source, asserted on both sides of its ops table. */
#include "track.h"

#include <assert.h>
#include <string.h>

static void check_track(const struct gw_track *track)
{
	assert(track != NULL);
	assert(track->ops != NULL);
	assert(track->geom.size_grains > 0);
	assert(track->live.size_grains == track->geom.size_grains);
	assert(track->pending.size_grains == track->geom.size_grains);
	assert(track->copying.size_grains == track->geom.size_grains);
}

/* A failure is said, and told by a negative errno. */
static int check_answer(int err, const struct gw_diag *diag)
{
	assert(err <= 0);
	if (err < 0 && diag != NULL)
		assert(diag->failed);
	return err;
}

int gw_track_take(struct gw_track *track, struct gw_track_taken *taken, struct gw_diag *diag)
{
	int err;

	check_track(track);
	memset(taken, 0, sizeof(*taken));
	err = check_answer(track->ops->take(track, taken, diag), diag);
	assert(taken->fresh_grains <= track->geom.size_grains);
	assert(taken->whole_device == (taken->why[0] != '\0'));
	return err;
}

int gw_track_drop_marks(struct gw_track *track, struct gw_diag *diag)
{
	check_track(track);
	return check_answer(track->ops->drop_marks(track, diag), diag);
}

void gw_track_fence(struct gw_track *track)
{
	check_track(track);
	/* Pairs with the ordered OR in gw_mark.bpf.h. */
	atomic_thread_fence(memory_order_seq_cst);
}

int gw_track_in_flight(struct gw_track *track, struct gw_track_in_flight *out,
		       struct gw_diag *diag)
{
	int err;

	check_track(track);
	memset(out, 0, sizeof(*out));
	err = check_answer(track->ops->in_flight(track, out, diag), diag);
	assert(out->count > 0 || out->oldest_age_ns == 0);
	return err;
}

int gw_track_stats(struct gw_track *track, struct gw_track_stats *stats, struct gw_diag *diag)
{
	check_track(track);
	memset(stats, 0, sizeof(*stats));
	return check_answer(track->ops->stats(track, stats, diag), diag);
}

int gw_track_stop(struct gw_track *track, struct gw_diag *diag)
{
	check_track(track);
	return check_answer(track->ops->stop(track, diag), diag);
}

void gw_track_close(struct gw_track *track)
{
	if (track == NULL)
		return;
	check_track(track);
	track->ops->close(track);
}

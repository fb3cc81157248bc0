// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Do the hooks fire and mark, on this very kernel? The programs that will track the
 * user's device track a scratch device first, whose writes are known, and the
 * marks are compared with them, bit by bit. A hook that is there and never called
 * looks like success everywhere else.
 */
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "track.h"
#include "track_block.h"
#include "track_load.h"
#include "track_scratch.h"

#define GRAIN ((uint64_t)GW_GRAIN_BYTES_MIN)
#define SCRATCH_GRAINS UINT64_C(65536)	/* 256 MiB, of which little is ever there */
/* More than GW_MARK_WORDS_MAX words, and with ragged ends. */
#define LONG_FIRST UINT64_C(1003)
#define LONG_COUNT (GW_MARK_WORDS_MAX * UINT64_C(64) + 7001)
/* After a completion the submitter may be told by another processor than the one that marks. */
#define SETTLE_TRIES 1000
#define SETTLE_US 1000
#define ALONE_TRIES 10
#define ALONE_NAP_US 2000	/* what skipped one is over then */

struct self_test {
	struct gw_scratch scratch;
	struct gw_plan plan;
	struct gw_load load;
	struct gw_track *track;
	struct gw_bitmap expected;
	void *buffer;
	bool can_see_completion;	/* not of bios on a request-based scratch device */
};

static int refuse(struct gw_diag *diag, int err, const char *what)
{
	return gw_fail_exit(diag, GW_EXIT_CANNOT, err,
			    "the self-test of tracking failed on this kernel: %s", what);
}

static void expect(struct self_test *test, uint64_t first, uint64_t count)
{
	gw_bitmap_set(&test->expected, (struct gw_run){ first, count });
}

static int write_at(struct self_test *test, uint64_t offset_bytes, struct gw_diag *diag)
{
	memset(test->buffer, (int)(offset_bytes >> 12) | 1, GRAIN);
	if (pwrite(test->scratch.fd, test->buffer, GRAIN, (off_t)offset_bytes) != (ssize_t)GRAIN)
		return refuse(diag, -EIO, "the scratch device took no write");
	return 0;
}

/* What a device does not know it does not have to mark. */
static int erase(struct self_test *test, unsigned long request, uint64_t first, uint64_t count,
		 struct gw_diag *diag)
{
	uint64_t range[2] = { first * GRAIN, count * GRAIN };

	if (ioctl(test->scratch.fd, request, range) == 0)
		expect(test, first, count);
	else if (errno != EOPNOTSUPP && errno != EINVAL)
		return refuse(diag, -errno, "the scratch device took no discard");
	return 0;
}

static int write_known_blocks(struct self_test *test, struct gw_diag *diag)
{
	int err;

	expect(test, 0, 1);
	expect(test, 10, 1);
	expect(test, 20, 1);
	expect(test, SCRATCH_GRAINS - 1, 1);
	if ((err = write_at(test, 0, diag)) < 0 || (err = write_at(test, 10 * GRAIN, diag)) < 0 ||
	    (err = write_at(test, (SCRATCH_GRAINS - 1) * GRAIN, diag)) < 0)
		return err;
	/* Over the border of two grains, where sectors are small enough. */
	if (test->plan.node.logical_bytes < GRAIN)
		expect(test, 21, 1);
	err = write_at(test, 20 * GRAIN + (test->plan.node.logical_bytes < GRAIN ? 2048 : 0),
		       diag);
	if (err < 0 || (err = erase(test, BLKDISCARD, 100, 32, diag)) < 0 ||
	    (err = erase(test, BLKZEROOUT, 200, 16, diag)) < 0 ||
	    (err = erase(test, BLKDISCARD, LONG_FIRST, LONG_COUNT, diag)) < 0)
		return err;
	if (fdatasync(test->scratch.fd) < 0)
		return refuse(diag, -errno, "the scratch device took no flush");
	return 0;
}

static int read_some_blocks(struct self_test *test, struct gw_diag *diag)
{
	for (uint64_t i = 0; i < 4; i++)
		if (pread(test->scratch.fd, test->buffer, GRAIN,
			  (off_t)((5000 + i * 77) * GRAIN)) != (ssize_t)GRAIN)
			return refuse(diag, -EIO, "the scratch device took no read");
	return 0;
}

static int compare(struct self_test *test, struct gw_diag *diag)
{
	for (uint64_t grain = 0; grain < SCRATCH_GRAINS; grain++) {
		const bool is = gw_bitmap_test(&test->track->pending, grain);
		const bool ought = gw_bitmap_test(&test->expected, grain);
		char what[96];

		if (is == ought)
			continue;
		snprintf(what, sizeof(what), "block %llu was %swritten, yet is %smarked",
			 (unsigned long long)grain, ought ? "" : "not ", is ? "" : "not ");
		return refuse(diag, -EILSEQ, what);
	}
	return 0;
}

static int wait_until_drained(struct self_test *test, struct gw_diag *diag)
{
	struct gw_track_in_flight in_flight;
	int err;

	for (int i = 0; i < SETTLE_TRIES; i++) {
		err = gw_track_in_flight(test->track, &in_flight, diag);
		if (err < 0 || in_flight.count == 0)
			return err;
		usleep(SETTLE_US);
	}
	return refuse(diag, -EILSEQ, "completed writes still count as in flight");
}

static int check_counters(struct self_test *test, struct gw_diag *diag)
{
	struct gw_track_stats stats;
	const int err = gw_track_stats(test->track, &stats, diag);

	if (err < 0)
		return err;
	if (stats.unseen_submissions != 0)
		return refuse(diag, -EILSEQ, "a write completed whose submission was not seen");
	/* Some kernels run no program at all over certain processes: what the slots are for. */
	if (stats.lost_found != 0)
		gw_say(diag, GW_NOTE,
		       "the self-test lost %llu of %llu completions, and found them by their slots",
		       (unsigned long long)stats.lost_found, (unsigned long long)stats.writes);
	if (stats.completions + stats.lost_found != stats.writes)
		return refuse(diag, -EILSEQ, "not every write completed once");
	return 0;
}

/* All programs together: exactly what was written, nothing left in flight. */
static int test_together(struct self_test *test, struct gw_diag *diag)
{
	struct gw_track_taken taken;
	int err;

	if ((err = read_some_blocks(test, diag)) < 0 ||
	    (err = write_known_blocks(test, diag)) < 0 || (err = read_some_blocks(test, diag)) < 0)
		return err;
	if (test->can_see_completion && (err = wait_until_drained(test, diag)) < 0)
		return err;
	err = gw_track_take(test->track, &taken, diag);
	if (err < 0)
		return err;
	if (taken.whole_device)
		return refuse(diag, -EILSEQ, taken.why);
	err = compare(test, diag);
	if (err < 0 || !test->can_see_completion)
		return err;
	return check_counters(test, diag);
}

/* One program alone: a mark, or at least a flag, from each. */
static int test_alone(struct self_test *test, unsigned int link, struct gw_diag *diag)
{
	const uint64_t grain = 400 + link;
	char what[96];
	int err;

	err = gw_load_attach(&test->load, link, diag);
	/* A single event may be skipped; a hook that does not work skips them all. */
	for (int i = 0; i < ALONE_TRIES && err == 0; i++) {
		err = write_at(test, grain * GRAIN, diag);
		if (gw_bitmap_test(&test->track->live, grain) ||
		    gw_block_is_all_suspect(test->track))
			break;
		if (i == ALONE_TRIES - 1) {
			snprintf(what, sizeof(what),
				 "the program %s was attached and did not mark a write",
				 gw_link_pin(link) + strlen("link_"));
			err = refuse(diag, -EILSEQ, what);
		}
		usleep(ALONE_NAP_US);
	}
	gw_load_detach(&test->load, link);
	return err;
}

static int test_programs(struct self_test *test, struct gw_diag *diag)
{
	const unsigned int links = test->can_see_completion ? GW_PROGRAMS_WATCHED : 1;
	int err = 0;

	for (unsigned int link = 0; link < links && err == 0; link++)
		err = test_alone(test, link, diag);
	if (err == 0)
		err = gw_load_attach_all(&test->load, diag);
	if (err == 0)
		err = gw_block_adopt_links(test->track, &test->load, diag);
	if (err == 0)
		err = gw_block_forget(test->track, diag);
	if (err == 0)
		err = test_together(test, diag);
	return err;
}

static int open_scratch(struct self_test *test, bool bio_based, struct gw_diag *diag)
{
	int err = -ENODEV;

	test->can_see_completion = true;
	if (bio_based)
		err = gw_scratch_open_zram(&test->scratch, SCRATCH_GRAINS * GRAIN, diag);
	if (err != -ENODEV)
		return err;
	/* A request-based device announces its bios, but not each of their ends. */
	test->can_see_completion = !bio_based;
	if (bio_based)
		gw_say(diag, GW_WARNING,
		       "the self-test could try the start of bios only: there is no zram here");
	return gw_scratch_open_loop(&test->scratch, SCRATCH_GRAINS * GRAIN, diag);
}

static int prepare(struct self_test *test, bool bio_based, struct gw_diag *diag)
{
	struct gw_node node;
	int err;

	test->buffer = aligned_alloc(GRAIN, GRAIN);
	if (test->buffer == NULL || gw_bitmap_create(&test->expected, SCRATCH_GRAINS) < 0)
		return gw_fail(diag, -ENOMEM, "no memory for the self-test");
	if ((err = open_scratch(test, bio_based, diag)) < 0 ||
	    (err = gw_node_look(&node, test->scratch.path, diag)) < 0)
		return err;
	node.is_request_based = !bio_based;
	if ((err = gw_plan_make(&test->plan, GW_SOURCE_BLOCK, &node, (uint32_t)GRAIN,
				0, diag)) < 0 ||
	    (err = gw_load_open(&test->load, &test->plan, diag)) < 0)
		return err;
	return gw_block_adopt_maps(&test->track, &test->load, &test->plan, NULL, diag);
}

int gw_track_block_self_test(bool bio_based, struct gw_diag *diag)
{
	struct self_test test = { .scratch = { .fd = -1 } };
	int err;

	err = gw_load_check_kernel(diag);
	if (err < 0)
		return err;
	err = prepare(&test, bio_based, diag);
	if (err == 0)
		err = test_programs(&test, diag);
	gw_track_close(test.track);
	if (test.load.skeleton != NULL)
		gw_load_close(&test.load);
	gw_scratch_close(&test.scratch);
	gw_bitmap_destroy(&test.expected);
	free(test.buffer);
	return err;
}

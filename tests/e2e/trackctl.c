// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The sources `block` and `nvme` by hand, for track_*.sh and tests/vm:
 *
 *   trackctl start NAME DEVICE [GRAIN_BYTES]
 *   trackctl take NAME		moves marks to pending; prints runs of it, and clears them
 *   trackctl take NAME quiet	the same, counting only
 *   trackctl record NAME SINCE	sectors of the exact record that were written at SINCE or later, and
 *				what it is not; SINCE is what "trackctl now" has printed
 *   trackctl stats NAME | inflight NAME | stop NAME | remove NAME | list
 *   trackctl copy NAME FROM TO UNTIL
 *				the copier's loop: take, read FROM, write TO; until the file UNTIL is
 *				there, then drain, and once more
 *
 * FAST=1 in the environment: without the self-test. SOURCE=block: also of an NVMe namespace.
 * RECORD=BYTES: with an exact record of that size.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "clock.h"
#include "track.h"

static void say(void *arg, enum gw_level level, const char *text)
{
	(void)arg;
	if (level != GW_DEBUG || getenv("DEBUG") != NULL)
		fprintf(stderr, "trackctl: %s\n", text);
}

#define DRAIN_TRIES 3000

static struct gw_diag diag = { .fn = say };

static int start(const char *name, const char *path, const char *grain)
{
	struct gw_track_block_config config = { .name = name };
	const char *const source = getenv("SOURCE"), *const record = getenv("RECORD");
	struct gw_track *track;
	struct gw_node node;
	int err;

	err = gw_node_look(&node, path, &diag);
	if (err < 0)
		return err;
	config.node = &node;
	config.source = source != NULL && strcmp(source, "block") == 0 ? GW_SOURCE_BLOCK :
									 gw_track_source_for(&node);
	config.grain_bytes = grain != NULL ? (uint32_t)strtoul(grain, NULL, 10) : 0;
	config.skip_self_test = getenv("FAST") != NULL;
	config.record_bytes = record != NULL ? strtoull(record, NULL, 10) : 0;
	err = gw_track_block_start(&track, &config, &diag);
	if (err == 0)
		gw_track_close(track);
	return err;
}

static int take(struct gw_track *track, bool quiet)
{
	struct gw_track_taken taken;
	uint64_t cursor = 0;
	struct gw_run run;
	int err;

	err = gw_track_take(track, &taken, &diag);
	if (err < 0)
		return err;
	if (taken.whole_device)
		printf("whole %s\n", taken.why);
	if (quiet)
		printf("%" PRIu64 "\n", taken.fresh_grains);
	while (gw_bitmap_next_run(&track->pending, &cursor, UINT64_MAX, &run)) {
		if (!quiet)
			printf("%" PRIu64 " %" PRIu64 "\n", run.first, run.count);
		gw_bitmap_clear(&track->pending, run);
	}
	return 0;
}

static int show_stats(struct gw_track *track)
{
	struct gw_track_stats stats;
	const int err = gw_track_stats(track, &stats, &diag);

	if (err == 0)
		printf("writes %" PRIu64 "\nwrite_bytes %" PRIu64 "\ndiscards %" PRIu64
		       "\ncompletions %" PRIu64 "\nlost_found %" PRIu64 "\nunseen %" PRIu64
		       "\ncoarse %" PRIu64 "\nwhole %" PRIu64 "\nmisses %" PRIu64 " %" PRIu64
		       " %" PRIu64 " %" PRIu64 "\n",
		       stats.writes, stats.write_bytes, stats.discards, stats.completions,
		       stats.lost_found, stats.unseen_submissions, stats.coarse_marks,
		       stats.whole_device_marks, stats.misses_submit, stats.misses_complete[0],
		       stats.misses_complete[1], stats.misses_complete[2]);
	return err;
}

static int show_in_flight(struct gw_track *track)
{
	struct gw_track_in_flight in_flight;
	const int err = gw_track_in_flight(track, &in_flight, &diag);

	if (err == 0)
		printf("%" PRIu64 " %" PRIu64 "\n", in_flight.count, in_flight.oldest_age_ns);
	return err;
}

/* Neighbours are one, whatever their times. */
struct recent {
	uint64_t since_ns, first, end;
};

static int show_span(void *arg, const struct gw_span *span)
{
	struct recent *const recent = arg;

	if (span->last_ns < recent->since_ns)
		return 0;
	if (span->first != recent->end || recent->first == recent->end) {
		if (recent->first < recent->end)
			printf("%" PRIu64 " %" PRIu64 "\n", recent->first, recent->end - recent->first);
		recent->first = span->first;
	}
	recent->end = span->end;
	return 0;
}

static int show_record(struct gw_track *track, uint64_t since_ns)
{
	const struct gw_span none = { UINT64_MAX, UINT64_MAX, 0, UINT64_MAX };
	struct recent recent = { .since_ns = since_ns };
	struct gw_track_record record;
	int err = gw_track_block_record(track, &record, &diag);

	if (err < 0)
		return err;
	err = gw_spans_each(record.exact, record.exact_count, show_span, &recent);
	show_span(&recent, &none);
	if (record.coarsened > 0)
		printf("coarsened\n");
	if (record.whole[0] != '\0')
		printf("whole %s\n", record.whole);
	gw_track_record_fini(&record);
	return err;
}

static int copy_run(struct gw_track *track, int from, int to, struct gw_run run, char *buffer)
{
	const uint64_t offset = gw_geom_offset_bytes(&track->geom, run.first);
	const uint64_t bytes = gw_geom_run_bytes(&track->geom, run);

	gw_bitmap_take_run(&track->pending, &track->live, &track->copying, run);
	if (pread(from, buffer, bytes, (off_t)offset) != (ssize_t)bytes ||
	    pwrite(to, buffer, bytes, (off_t)offset) != (ssize_t)bytes)
		return gw_fail(&diag, -EIO, "cannot copy at %" PRIu64, offset);
	gw_bitmap_clear(&track->copying, run);
	return 0;
}

static int copy_round(struct gw_track *track, int from, int to, char *buffer)
{
	struct gw_track_taken taken;
	uint64_t cursor = 0;
	struct gw_run run;
	int err = gw_track_take(track, &taken, &diag);

	while (err == 0 && gw_bitmap_next_run(&track->pending, &cursor,
					      (UINT64_C(1) << 20) >> track->geom.grain_shift, &run))
		err = copy_run(track, from, to, run, buffer);
	return err;
}

static int drain(struct gw_track *track)
{
	struct gw_track_in_flight in_flight;

	for (int i = 0; i < DRAIN_TRIES; i++) {
		const int err = gw_track_in_flight(track, &in_flight, &diag);

		if (err < 0 || in_flight.count == 0)
			return err;
		usleep(10 * 1000);
	}
	return gw_fail(&diag, -ETIMEDOUT, "%" PRIu64 " writes stay in flight", in_flight.count);
}

static int copy(struct gw_track *track, const char *from_path, const char *to_path,
		const char *until)
{
	const int from = open(from_path, O_RDONLY | O_DIRECT);
	const int to = open(to_path, O_WRONLY);
	char *const buffer = aligned_alloc(4096, 1u << 20);
	int err = 0, rounds = 0;

	if (from < 0 || to < 0 || buffer == NULL)
		return gw_fail(&diag, -EIO, "cannot open %s or %s", from_path, to_path);
	for (bool last = false; err == 0 && !last; rounds++) {
		last = access(until, F_OK) == 0;
		if (last)
			err = drain(track);
		if (err == 0)
			err = copy_round(track, from, to, buffer);
	}
	free(buffer);
	close(from);
	close(to);
	printf("rounds %d\n", rounds);
	return err;
}

static int with_track(const char *verb, struct gw_track *track, int argc, char **argv)
{
	int err = -EINVAL;

	if (strcmp(verb, "stop") == 0)
		return gw_track_stop(track, &diag);
	if (strcmp(verb, "take") == 0)
		err = take(track, argc > 3);
	else if (strcmp(verb, "stats") == 0)
		err = show_stats(track);
	else if (strcmp(verb, "inflight") == 0)
		err = show_in_flight(track);
	else if (strcmp(verb, "record") == 0 && argc == 4)
		err = show_record(track, strtoull(argv[3], NULL, 10));
	else if (strcmp(verb, "copy") == 0 && argc == 6)
		err = copy(track, argv[3], argv[4], argv[5]);
	gw_track_close(track);
	return err;
}

static int print_name(void *arg, const char *name)
{
	(void)arg;
	puts(name);
	return 0;
}

static int run(int argc, char **argv)
{
	struct gw_track *track;
	int err;

	if (argc == 2 && strcmp(argv[1], "list") == 0)
		return gw_track_block_each(print_name, NULL);
	if (argc == 2 && strcmp(argv[1], "now") == 0)
		return printf("%" PRIu64 "\n", gw_now_ns(&gw_clock_monotonic)) > 0 ? 0 : -EIO;
	if (argc < 3)
		return -EINVAL;
	if (strcmp(argv[1], "start") == 0 && argc >= 4)
		return start(argv[2], argv[3], argv[4]);
	if (strcmp(argv[1], "remove") == 0)
		return gw_track_block_remove(argv[2], &diag);
	err = gw_track_block_open(&track, argv[2], &diag);
	return err < 0 ? err : with_track(argv[1], track, argc, argv);
}

int main(int argc, char **argv)
{
	const int err = run(argc, argv);

	if (err < 0)
		fprintf(stderr, "trackctl: %s\n", strerror(-err));
	return err < 0 ? 1 : 0;
}

// SPDX-License-Identifier: GPL-2.0-or-later
/* The exact record, read out of its maps while the programs go on writing to them. */
#include <assert.h>
#include <bpf/bpf.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "track.h"
#include "track_block.h"

#define BATCH 1024

uint64_t gw_track_block_record_room(const struct gw_track *track, uint64_t *ranges)
{
	const struct gw_block_track *const block = track->impl;

	*ranges = block->plan.record_ranges;
	return gw_plan_record_bytes(&block->plan);
}

/* Of the node instead of the disk. What lies outside of what is tracked is not from our programs. */
static bool to_span(const struct gw_track *track, uint64_t first_sector, uint64_t end_sector,
		    const struct gw_bpf_record_times *times, struct gw_span *span)
{
	const struct gw_block_track *const block = track->impl;
	const uint64_t start = block->header->first_sector;
	const uint64_t size = (track->geom.size_bytes + (1u << GW_SECTOR_SHIFT) - 1) >>
			      GW_SECTOR_SHIFT;

	if (first_sector < start || first_sector >= end_sector || first_sector - start >= size ||
	    times->first_ns == 0)
		return false;
	*span = (struct gw_span){
		.first = first_sector - start,
		.end = end_sector - start < size ? end_sector - start : size,
		.first_ns = times->first_ns,
		.last_ns = times->last_ns,
	};
	return true;
}

/* The kernel may add ranges meanwhile, but none beyond what there is room for. */
static int read_exact(struct gw_track *track, struct gw_track_record *record, struct gw_diag *diag)
{
	const struct gw_block_track *const block = track->impl;
	static struct gw_bpf_record_range ranges[BATCH];
	static struct gw_bpf_record_times times[BATCH];
	uint32_t position = 0, *from = NULL;
	bool end = false;

	while (!end) {
		uint32_t count = BATCH;

		if (bpf_map_lookup_batch(block->map_fds[GW_MAP_RECORD], from, &position, ranges,
					 times, &count, NULL) < 0) {
			if (errno != ENOENT)
				return gw_fail_exit(diag, GW_EXIT_CANNOT, -errno,
						    "cannot read the record: %s", strerror(errno));
			end = true;
		}
		for (uint32_t i = 0; i < count && record->exact_count < record->ranges_max; i++)
			record->exact_count += to_span(track, ranges[i].first_sector,
						       ranges[i].end_sector, &times[i],
						       &record->exact[record->exact_count]);
		from = &position;
	}
	return 0;
}

static void read_units(struct gw_track *track, struct gw_track_record *record)
{
	const struct gw_block_track *const block = track->impl;
	const struct gw_bpf_record_times *const units = block->mapped[GW_MAP_RECORD_UNITS];

	for (uint32_t i = 0; i < block->plan.record_units; i++) {
		const uint64_t first = block->header->first_sector + i * record->unit_sectors;
		/* Written in gw_record.bpf.h, one after the other. */
		const struct gw_bpf_record_times times = {
			.first_ns = __atomic_load_n(&units[i].first_ns, __ATOMIC_RELAXED),
			.last_ns = __atomic_load_n(&units[i].last_ns, __ATOMIC_RELAXED),
		};

		record->coarse_count += to_span(track, first, first + record->unit_sectors, &times,
						&record->coarse[record->coarse_count]);
	}
}

/* What is not in the record: flags since the start; and what all programs may have missed. */
static int explain(struct gw_track *track, struct gw_track_record *record, struct gw_diag *diag)
{
	const struct gw_block_track *const block = track->impl;
	struct gw_track_stats stats = { 0 };
	const int err = gw_track_stats(track, &stats, diag);

	if (err < 0)
		return err;
	record->coarsened = __atomic_load_n(&block->state->record_coarsened, __ATOMIC_RELAXED);
	record->lost_found = stats.lost_found;
	gw_block_explain_flags(record->whole, sizeof(record->whole), block->state,
			       __atomic_load_n(&block->state->flags_ever, __ATOMIC_SEQ_CST) &
			       GW_STATE_WHOLE);
	if (stats.misses_submit > 0 && stats.misses_complete[0] > 0 &&
	    stats.misses_complete[1] > 0 && stats.misses_complete[2] > 0) {
		const size_t length = strlen(record->whole);

		snprintf(record->whole + length, sizeof(record->whole) - length, "%s%s",
			 length > 0 ? "; " : "", GW_BLOCK_SKIPPED_TEXT);
	}
	return 0;
}

int gw_track_block_record(struct gw_track *track, struct gw_track_record *record,
			  struct gw_diag *diag)
{
	const struct gw_block_track *const block = track->impl;
	int err;

	memset(record, 0, sizeof(*record));
	if (block->plan.record_ranges == 0)
		return gw_fail_exit(diag, GW_EXIT_CANNOT, -ENODATA,
				    "the tracking \"%s\" keeps no exact record: start it with "
				    "--record", block->name);
	record->bytes = gw_track_block_record_room(track, &record->ranges_max);
	record->unit_sectors = UINT64_C(1) << block->plan.record_unit_shift;
	record->started_ns = block->header->started_ns;
	record->started_wall_ns = block->header->started_wall_ns;
	record->exact = calloc(record->ranges_max, sizeof(*record->exact));
	record->coarse = calloc(block->plan.record_units, sizeof(*record->coarse));
	if (record->exact == NULL || record->coarse == NULL)
		err = gw_fail(diag, -ENOMEM, "no memory for a record of %llu ranges",
			      (unsigned long long)record->ranges_max);
	else
		err = read_exact(track, record, diag);
	if (err == 0) {
		read_units(track, record);
		/* Last: what found no room is counted by now. */
		err = explain(track, record, diag);
	}
	if (err < 0)
		gw_track_record_fini(record);
	return err;
}

void gw_track_record_fini(struct gw_track_record *record)
{
	free(record->exact);
	free(record->coarse);
	memset(record, 0, sizeof(*record));
}

// SPDX-License-Identifier: GPL-2.0-or-later
#include "progress.h"

#include <assert.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "units.h"

/* In the order of the line. */
enum field { PHASE, PERCENT, AMOUNT, RATE, DIRTY, BLACKOUT, TIME_TO_GO, FIELDS };

/* What goes first when the line is too long. */
static const enum field dropped_first[] = { BLACKOUT, AMOUNT, DIRTY, TIME_TO_GO, RATE, PERCENT };

struct line {
	char texts[FIELDS][2 * GW_UNIT_TEXT_BYTES + 16];	/* "" is not shown */
};

const char *gw_progress_phase(char out[32], const struct gw_migration_progress *progress)
{
	switch (progress->phase) {
	case GW_PHASE_PREPARE:
		return "preparing";
	case GW_PHASE_BASE:
		return "base pass";
	case GW_PHASE_ROUND:
		snprintf(out, 32, "round %u", progress->round);
		return out;
	case GW_PHASE_QUIESCED:
		return "blackout";
	case GW_PHASE_COMMITTED:
		return "committed";
	case GW_PHASE_VERIFY:
		return "verifying";
	case GW_PHASE_ENDED:
		return "ended";
	case GW_PHASE_WAITING:
		return "waiting for the switch";
	}
	abort();			/* no such phase */
}

uint32_t gw_progress_permille(uint64_t done_bytes, uint64_t total_bytes)
{
	if (done_bytes >= total_bytes)
		return 1000;
	return (uint32_t)((unsigned __int128)done_bytes * 1000 / total_bytes);
}

static void fill_line(struct line *line, const struct gw_migration_progress *p)
{
	const uint64_t done_bytes = p->done_bytes < p->total_bytes ? p->done_bytes : p->total_bytes;
	const uint32_t permille = gw_progress_permille(done_bytes, p->total_bytes);
	char one[GW_UNIT_TEXT_BYTES], other[GW_UNIT_TEXT_BYTES], phase[32];
	const size_t bytes = sizeof(line->texts[0]);

	memset(line, 0, sizeof(*line));
	snprintf(line->texts[PHASE], bytes, "%s", gw_progress_phase(phase, p));
	if (p->total_bytes > 0) {
		snprintf(line->texts[PERCENT], bytes, "%u.%u%%", permille / 10, permille % 10);
		snprintf(line->texts[AMOUNT], bytes, "%s of %s", gw_format_bytes(one, done_bytes),
			 gw_format_bytes(other, p->total_bytes));
	}
	if (p->rate_bytes_per_s > 0)
		snprintf(line->texts[RATE], bytes, "%s", gw_format_rate(one, p->rate_bytes_per_s));
	if (p->dirty_bytes > 0)
		snprintf(line->texts[DIRTY], bytes, "dirty %s",
			 gw_format_bytes(one, p->dirty_bytes));
	if (p->predicted_blackout_ns > 0 && (p->phase < GW_PHASE_QUIESCED || p->phase == GW_PHASE_WAITING))
		snprintf(line->texts[BLACKOUT], bytes, "blackout about %s",
			 gw_format_duration(one, p->predicted_blackout_ns));
	if (p->eta_ns > 0)
		snprintf(line->texts[TIME_TO_GO], bytes, "%s to go",
			 gw_format_duration(one, p->eta_ns));
}

/* The phase is set off by ": ", the others by ", ". Return: length. */
static size_t join_line(const struct line *line, char out[GW_PROGRESS_BYTES])
{
	size_t used = 0;
	uint32_t shown = 0;

	out[0] = '\0';
	for (uint32_t f = 0; f < FIELDS; f++) {
		const char *between = shown == 0 ? "" : shown == 1 ? ": " : ", ";

		if (line->texts[f][0] == '\0')
			continue;
		used += (size_t)snprintf(out + used, GW_PROGRESS_BYTES - used, "%s%s", between,
					 line->texts[f]);
		assert(used < GW_PROGRESS_BYTES);
		shown++;
	}
	return used;
}

const char *gw_progress_line(char out[GW_PROGRESS_BYTES],
			     const struct gw_migration_progress *progress, uint32_t columns)
{
	const size_t drops = sizeof(dropped_first) / sizeof(dropped_first[0]);
	struct line line;

	fill_line(&line, progress);
	for (size_t i = 0; join_line(&line, out) > columns && i < drops; i++)
		line.texts[dropped_first[i]][0] = '\0';
	if (join_line(&line, out) > columns)
		out[columns] = '\0';	/* the line is longer, so this is inside it */
	return out;
}

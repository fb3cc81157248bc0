/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * How far to throttle the writers so that the rounds converge: pure arithmetic
 * on what was measured; no files, no clock of its own. throttling.c acts on it.
 */
#ifndef GW_THROTTLE_H
#define GW_THROTTLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "clock.h"

/* Writers are never stopped: below this no limit is set. */
#define GW_THROTTLE_FLOOR_BYTES_PER_S (UINT64_C(1) << 20)
/* The effect of a step is measured for so long before the next one. */
#define GW_THROTTLE_SETTLE_NS (1500 * GW_NS_PER_MS)
/* So many rounds in a row that left no less than one before them: they do not converge. */
#define GW_THROTTLE_STALLED_ROUNDS 3

struct gw_throttle {
	uint64_t former_bytes_per_s;	/* the administrator's own limit: never above it; 0: none */
	uint64_t limit_bytes_per_s;	/* ours; 0: not throttled */
	uint64_t lowest_bytes_per_s;	/* 0: never throttled */
	uint64_t began_ns, throttled_ns;	/* since when, and how long before that */
	uint64_t write_before_bytes_per_s, write_after_bytes_per_s;	/* the writers', then and at the last look */
	uint32_t steps, steps_in_all;	/* the first: since it began, or began anew */
	bool has_given_up;
};

/* Measured since the last step, or since measuring began. */
struct gw_throttle_sample {
	uint64_t elapsed_ns;
	uint64_t copy_bytes_per_s;
	uint64_t dirty_bytes_per_s;	/* to copy anew */
	uint64_t write_bytes_per_s;	/* to the source, by whomever */
	bool knows_cgroup;
	uint64_t cgroup_bytes_per_s;	/* of them, by the cgroup */
	uint32_t stalled_rounds;
	bool fits;			/* the predicted blackout is within the limit */
	bool could_fit;			/* it would be with nothing left to copy */
};

enum gw_throttle_verdict {
	GW_THROTTLE_KEEP,
	GW_THROTTLE_LOWER,		/* to *bytes_per_s */
	GW_THROTTLE_GIVE_UP,		/* it has no effect, or not enough: take it back for good */
};

/*
 * What next, with the reason in one sentence (not for KEEP). Changes nothing but
 * write_after_bytes_per_s; gw_throttle_step() books what was done.
 */
enum gw_throttle_verdict gw_throttle_judge(struct gw_throttle *throttle,
					   const struct gw_throttle_sample *sample,
					   uint64_t *bytes_per_s, char *why, size_t why_bytes);
void gw_throttle_step(struct gw_throttle *throttle, uint64_t bytes_per_s,
		      uint64_t write_bytes_per_s, uint64_t now_ns);
/* The writers are let go. */
void gw_throttle_end(struct gw_throttle *throttle, uint64_t now_ns);
/* It may be tried again, whatever came of it before. Not while they are throttled: no change then. */
void gw_throttle_anew(struct gw_throttle *throttle);
/* How long they were throttled in all, so far. */
uint64_t gw_throttle_time_ns(const struct gw_throttle *throttle, uint64_t now_ns);

#endif

/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Smooth pacing of the copier: each run is given a start time, one after the
 * other at the limit's rate; what was not used is not saved up (beyond a few
 * milliseconds), so there are no bursts.
 */
#ifndef GW_PACER_H
#define GW_PACER_H

#include <stdbool.h>
#include <stdint.h>

#define GW_PACER_CREDIT_NS UINT64_C(5000000)	/* most that an idle moment may save up, by default */
#define GW_PACER_RUN_NS UINT64_C(5000000)	/* of a run, by default */

struct gw_pacer {
	uint64_t bytes_per_s;		/* 0: no limit */
	uint64_t next_ns;		/* when the next run may start */
	uint64_t run_ns;		/* a run takes no more of the limit's time than this; 0: GW_PACER_RUN_NS */
	uint64_t credit_ns;		/* most that an idle moment may save up; 0: GW_PACER_CREDIT_NS */
	uint32_t run_bytes_min;		/* but is no shorter than this, where there is so much */
	bool is_held;			/* no run starts at all: its owner asks again after the next tick */
};

void gw_pacer_set(struct gw_pacer *pacer, uint64_t bytes_per_s, uint64_t now_ns);
/* Ns to wait until a run may start; 0 means now. */
uint64_t gw_pacer_wait_ns(const struct gw_pacer *pacer, uint64_t now_ns);
/* Books a run that starts now. */
void gw_pacer_book(struct gw_pacer *pacer, uint64_t bytes, uint64_t now_ns);
/* The largest run (bytes, at least min_bytes, at most max_bytes) that keeps the flow smooth at this limit. */
uint32_t gw_pacer_run_bytes(const struct gw_pacer *pacer, uint32_t min_bytes, uint32_t max_bytes);

#endif

/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The latency guard: how fast the copier may be so that the workload's I/O keeps within
 * a limit. Pure arithmetic on counts of I/Os; no I/O, no clock of its own. It acts on the
 * share of I/Os above the limit: slow ones cut the rate to a part (multiplicative decrease),
 * a window without them adds to it (additive increase). docs/guard.md explains why.
 */
#ifndef GW_GUARD_H
#define GW_GUARD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "hist.h"

#define GW_GUARD_ACCEPTED \
	"a limit such as p99=2ms, p99.9=10ms, 2x or p99=1.5x (p50, p90, p95, p99 or p99.9; a " \
	"factor above 1 is relative to before the start), or off"

enum gw_guard_kind { GW_GUARD_OFF, GW_GUARD_TIME, GW_GUARD_FACTOR };

struct gw_guard_spec {
	enum gw_guard_kind kind;
	uint32_t quantile_ppm;		/* 990000: 99 of 100 I/Os have to keep within the limit */
	uint64_t limit_ns;		/* GW_GUARD_TIME */
	uint32_t factor_milli;		/* GW_GUARD_FACTOR: 2000 is twice */
};

/* Return: 0; -EINVAL: it is nothing of GW_GUARD_ACCEPTED, *spec is untouched. */
int gw_guard_parse(struct gw_guard_spec *spec, const char *text);
/* "p99.9" */
const char *gw_guard_quantile_name(uint32_t quantile_ppm);

/* What the guard is judged by, in the end and meanwhile. */
struct gw_guard_counts {
	uint64_t ios, above;		/* of those, above their limit */
	uint64_t cuts, raises;
	uint64_t low_bytes_per_s, high_bytes_per_s;	/* of the rate */
};

/* I/Os and slow ones, of a time. */
struct gw_guard_share {
	double ios, above;
	uint32_t slow_samples;		/* in how many samples slow ones came */
};

struct gw_guard {
	uint64_t limit_ns[GW_LATENCY_KINDS];	/* 0: none, nothing is known of these */
	uint32_t allowed_ppm;		/* that may be above it */
	uint64_t floor_bytes_per_s, ceiling_bytes_per_s;	/* ceiling 0: none */
	uint64_t rate_bytes_per_s;	/* the answer; never 0 */
	uint64_t knee_bytes_per_s;	/* doubled up to here, then by steps; 0: not found yet */
	double used_bytes_per_s;	/* what the copier makes of the rate */
	uint64_t window_began_ns, fed_ns, settled_ns;
	struct gw_guard_share window[GW_LATENCY_KINDS];	/* since the last decision */
	struct gw_guard_share last[GW_LATENCY_KINDS], recent[GW_LATENCY_KINDS];	/* one sample, and two */
	struct gw_guard_share judged;	/* what the last decision was made of, ... */
	int judged_kind;		/* ... of these */
	struct gw_guard_share ledger[GW_LATENCY_KINDS];	/* the last seconds, fading */
	uint64_t slow_at_floor_ns;	/* since when it is slow although the copier is at its floor; 0: it is not */
	bool cannot;			/* ... and for so long that the limit cannot be kept */
	/* Whose doing is that? While it pauses the copier has to stand still, and slow ones are another's. */
	bool may_forgive;		/* set after the start: what is another's is allowed besides */
	bool is_pausing;
	bool is_anothers;		/* the last pause found more of them than may be, ... */
	int anothers_kind;		/* ... of these */
	uint64_t pause_began_ns, next_pause_ns;
	struct gw_guard_share paused[GW_LATENCY_KINDS];
	double forgiven[GW_LATENCY_KINDS];	/* share that is slow without the copier, too; 0: none */
	double forgiven_most[GW_LATENCY_KINDS];	/* what was found when the copier was at its floor */
	struct gw_guard_counts counts;
};

/*
 * limit_ns: of reads and writes; at least one is not 0. It starts low, and doubles until
 * the workload feels it.
 */
void gw_guard_start(struct gw_guard *guard, uint32_t quantile_ppm,
		    const uint64_t limit_ns[GW_LATENCY_KINDS], uint64_t floor_bytes_per_s,
		    uint64_t ceiling_bytes_per_s, uint64_t now_ns);
/* The floor wins over the ceiling: a migration that never ends helps nobody. */
void gw_guard_set_bounds(struct gw_guard *guard, uint64_t floor_bytes_per_s,
			 uint64_t ceiling_bytes_per_s);
/* Forgets what it has seen since the last decision: the copier stood still. Ends a pause of its own. */
void gw_guard_skip(struct gw_guard *guard, uint64_t now_ns);

/* What happened since the last call. */
struct gw_guard_sample {
	uint64_t now_ns;
	uint64_t ios[GW_LATENCY_KINDS], above[GW_LATENCY_KINDS];
	uint64_t copied_bytes;
};

enum gw_guard_step { GW_GUARD_KEEP, GW_GUARD_CUT, GW_GUARD_RAISE };

/* Return: what became of rate_bytes_per_s; KEEP also while there is too little to judge. */
enum gw_guard_step gw_guard_feed(struct gw_guard *guard, const struct gw_guard_sample *sample);

/* I/Os that a judgement needs: fewer say nothing of such a share. */
uint32_t gw_guard_ios_min(uint32_t allowed_ppm);
/* The I/Os a second from which on it reacts within GW_GUARD_REACTION_NS. */
#define GW_GUARD_REACTION_NS UINT64_C(50000000)
#define GW_GUARD_TICK_NS UINT64_C(20000000)	/* it is fed at least as often */
uint64_t gw_guard_ios_per_s_min(uint32_t allowed_ppm);

#endif

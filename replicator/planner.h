/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * When to start another round, when to stop the writers, when to give up. Pure
 * arithmetic on what was measured; no I/O, no clock of its own.
 */
#ifndef GW_PLANNER_H
#define GW_PLANNER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * Of each blackout, whatever is left: the looks at what is in flight, the queue that is closed, the
 * watchdog that is told and reaped. Nothing before it tells how long they take; so much was seen.
 */
#define GW_PLANNER_SWITCH_NS UINT64_C(1500000)

/* Room for what gw_planner_is_hopeless() says. */
#define GW_PLANNER_FIXED_BYTES 128

struct gw_planner_limits {
	uint64_t downtime_ns;
	uint64_t timeout_ns;		/* without progress */
	uint32_t max_rounds;		/* 0: no limit */
};

struct gw_planner {
	struct gw_planner_limits limits;
	uint32_t grain_bytes;
	uint32_t round;			/* running, or the last one that ran; 1 is the base pass */
	uint32_t rounds_free;		/* of them, those that max_rounds does not count: while it waited */
	/* Measured; 0 as long as nothing was. */
	uint64_t copy_bytes_per_s;	/* of a round, as paced as it was */
	uint64_t full_bytes_per_s;	/* while something was in flight: without pacing, what a last round has */
	uint64_t dirty_bytes_per_s;	/* what a next round finds, while a round ran */
	uint64_t flush_ns, commit_ns, sync_ns, verify_ns_per_mib;
	/* Progress: the least that was ever left, and when. */
	uint64_t best_left_bytes;
	uint64_t best_at_ns;
	bool told_divergence;
	/* Patience: since what is left fits, and the rounds since. */
	uint64_t fits_since_ns;		/* 0: it does not */
	uint32_t rounds_since;
};

/* A round that is over. */
struct gw_planner_round {
	uint64_t copied_bytes, elapsed_ns;
	uint64_t busy_ns;		/* with something in flight */
	uint64_t fresh_bytes;		/* dirtied meanwhile; what is held back anyway is not counted */
};

/* What the next decision is about. */
struct gw_planner_left {
	uint64_t pending_bytes;		/* all of it */
	uint64_t held_bytes;		/* of it: hot, and not copied before the last round */
};

enum gw_plan { GW_PLAN_ROUND, GW_PLAN_FINAL, GW_PLAN_GIVE_UP };

void gw_planner_init(struct gw_planner *planner, const struct gw_planner_limits *limits,
		     uint32_t grain_bytes, uint64_t now_ns);

void gw_planner_round_done(struct gw_planner *planner, const struct gw_planner_round *round);

/* The blackout if the writers were stopped now with so much left: sync, copy, verify, flush, records, switch. */
uint64_t gw_planner_predict_ns(const struct gw_planner *planner, uint64_t left_bytes);

/*
 * What of a blackout is there whatever is left, if that alone exceeds the limit: no round helps then. Return: true
 * with text "sync, flush, records and switch alone take about ...".
 */
bool gw_planner_is_hopeless(const struct gw_planner *planner, char *text, size_t text_bytes);

/* How much may be held back: a last round copies it in half of the limit. */
uint64_t gw_planner_hold_bytes(const struct gw_planner *planner);

/*
 * What next, and the reason in one sentence. FINAL at a local minimum within the limit: when
 * another round would not make the blackout shorter by enough, or when patience is over.
 * GIVE_UP only for max_rounds; time is gw_planner_is_stalled()'s matter.
 */
enum gw_plan gw_planner_decide(struct gw_planner *planner, const struct gw_planner_left *left,
			       uint64_t now_ns, char *why, size_t why_bytes);

/* Notes what is left now. Return: true if there was no new minimum for timeout_ns. */
bool gw_planner_is_stalled(struct gw_planner *planner, uint64_t left_bytes, uint64_t now_ns);

/*
 * Is more dirtied than copied, so that rounds do not shrink? Once: true with the
 * arithmetic and what would help in text; false ever after.
 */
bool gw_planner_diverges(struct gw_planner *planner, uint64_t copy_bytes_per_s,
			 uint64_t dirty_bytes_per_s, uint64_t left_bytes, bool is_limited,
			 char *text, size_t text_bytes);

#endif

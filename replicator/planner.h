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

struct gw_planner_limits {
	uint64_t downtime_ns;
	uint64_t timeout_ns;		/* without progress */
	uint32_t max_rounds;		/* 0: no limit */
};

struct gw_planner {
	struct gw_planner_limits limits;
	uint32_t grain_bytes;
	uint32_t round;			/* running, or the last one that ran; 1 is the base pass */
	/* Measured; 0 as long as nothing was. */
	uint64_t copy_bytes_per_s;
	uint64_t dirty_bytes_per_s;	/* newly dirty grains, while a round ran */
	uint64_t flush_ns, commit_ns, sync_ns, verify_ns_per_mib;
	/* Progress: the least that was ever left, and when. */
	uint64_t best_left_bytes;
	uint64_t best_at_ns;
	bool told_divergence;
};

enum gw_plan { GW_PLAN_ROUND, GW_PLAN_FINAL, GW_PLAN_GIVE_UP };

void gw_planner_init(struct gw_planner *planner, const struct gw_planner_limits *limits,
		     uint32_t grain_bytes, uint64_t now_ns);

/* A round is over: what it copied, how long it took, what was dirtied meanwhile. */
void gw_planner_round_done(struct gw_planner *planner, uint64_t copied_bytes, uint64_t elapsed_ns,
			   uint64_t dirty_after_bytes);

/* The blackout if the writers were stopped now with so much left: sync, copy, verify, flush, commit. */
uint64_t gw_planner_predict_ns(const struct gw_planner *planner, uint64_t left_bytes);

/*
 * What next, with left_bytes pending and the reason in one sentence. GIVE_UP only for
 * max_rounds; time is gw_planner_is_stalled()'s matter.
 */
enum gw_plan gw_planner_decide(const struct gw_planner *planner, uint64_t left_bytes, char *why,
			       size_t why_bytes);

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

// SPDX-License-Identifier: GPL-2.0-or-later
#include "planner.h"

#include <criterion/criterion.h>
#include <string.h>

#include "clock.h"

#define MIB (UINT64_C(1) << 20)
#define MS GW_NS_PER_MS

static struct gw_planner planner;
static char why[400];

static void start(void)
{
	const struct gw_planner_limits limits = { .downtime_ns = 300 * MS,
						  .timeout_ns = 10 * GW_NS_PER_S };

	gw_planner_init(&planner, &limits, 4096, 0);
	planner.flush_ns = planner.commit_ns = MS / 10;
}

TestSuite(planner, .init = start);

/* A round in a second: what it copied, MiB, and what was dirtied meanwhile. */
static void round_of(uint64_t copied_mib, uint64_t busy_ms, uint64_t fresh_kib)
{
	const struct gw_planner_round round = { copied_mib * MIB, GW_NS_PER_S, busy_ms * MS,
						fresh_kib << 10 };

	planner.round++;
	gw_planner_round_done(&planner, &round);
}

static enum gw_plan decide(uint64_t pending_kib, uint64_t held_kib, uint64_t now_ms)
{
	const struct gw_planner_left left = { pending_kib << 10, held_kib << 10 };

	return gw_planner_decide(&planner, &left, now_ms * MS, why, sizeof(why));
}

Test(planner, what_does_not_fit_needs_another_round)
{
	round_of(100, 1000, 1024);
	cr_expect(decide(60 << 10, 0, 0) == GW_PLAN_ROUND);
	cr_expect(strstr(why, "limit 300 ms") != NULL, "%s", why);
	planner.limits.max_rounds = 1;
	cr_expect(decide(60 << 10, 0, 0) == GW_PLAN_GIVE_UP);
	cr_expect(strstr(why, "giving up after 1 rounds") != NULL, "%s", why);
	planner.rounds_free = 1;
	cr_expect(decide(60 << 10, 0, 0) == GW_PLAN_ROUND, "rounds while it waited do not count");
}

/* Whatever is left: the user is told that no round helps, and what would. */
Test(planner, a_limit_below_what_is_always_there_is_said_to_be)
{
	round_of(100, 1000, 1024);
	planner.limits.downtime_ns = MS;
	cr_expect(decide(4, 0, 0) == GW_PLAN_ROUND);
	cr_expect(strstr(why, "alone take about 1.8 ms: such a limit cannot be kept") != NULL, "%s", why);
	planner.limits.max_rounds = 1;
	cr_expect(decide(0, 0, 0) == GW_PLAN_GIVE_UP);
	cr_expect(strstr(why, "cannot be kept") != NULL, "%s", why);
	planner.limits.max_rounds = 0;
	planner.limits.downtime_ns = 2 * MS;
	cr_expect(decide(60 << 10, 0, 0) == GW_PLAN_ROUND);
	cr_expect(strstr(why, "cannot be kept") == NULL, "a smaller rest would fit: %s", why);
	cr_expect(decide(0, 0, 0) == GW_PLAN_FINAL);
}

/* 20 MiB take 200 ms, and meanwhile 2 MiB are dirtied: a last round of 20 ms instead of 200. */
Test(planner, a_cheap_round_within_the_limit_is_taken)
{
	round_of(100, 1000, 10 << 10);
	cr_expect(decide(20 << 10, 0, 1) == GW_PLAN_ROUND);
	cr_expect(strstr(why, "another round of about 200 ms") != NULL, "%s", why);
}

Test(planner, at_the_minimum_it_switches)
{
	/* As much is dirtied as is copied: it gets no better. */
	round_of(100, 1000, 100 << 10);
	cr_expect(decide(20 << 10, 0, 1) == GW_PLAN_FINAL);
	cr_expect(strstr(why, "switching: 20.0 MiB left") != NULL, "%s", why);
	/* Nothing to be gained worth a round. */
	round_of(100, 1000, 10 << 10);
	cr_expect(decide(40, 0, 1) == GW_PLAN_FINAL);
	cr_expect(decide(0, 0, 1) == GW_PLAN_FINAL);
}

Test(planner, what_is_held_is_counted_and_gains_nothing)
{
	round_of(100, 1000, 1024);
	cr_expect(gw_planner_hold_bytes(&planner) == 15 * MIB, "half of the limit");
	cr_expect(decide(10 << 10, 10 << 10, 1) == GW_PLAN_FINAL);
	cr_expect(gw_planner_predict_ns(&planner, 10 * MIB) > 100 * MS);
	cr_expect(decide(40 << 10, 15 << 10, 1) == GW_PLAN_ROUND, "too much, held or not");
	cr_expect(decide(14 << 10, 13 << 10, 1) == GW_PLAN_FINAL, "no eighth less");
}

Test(planner, patience_is_bounded)
{
	int rounds = 0;

	round_of(100, 1000, 10 << 10);
	while (decide(20 << 10, 0, 1) == GW_PLAN_ROUND && rounds < 100) {
		round_of(100, 1000, 10 << 10);
		rounds++;
	}
	cr_expect(rounds > 0 && rounds < 10, "%d", rounds);
	/* Nor for longer than some seconds. */
	start();
	planner.limits.downtime_ns = 100 * GW_NS_PER_S;
	round_of(1, 1000, 1);
	cr_expect(decide(5 << 10, 0, 1) == GW_PLAN_FINAL, "five seconds for one round");
}

/* What does not fit any more begins anew. */
Test(planner, patience_comes_back)
{
	round_of(100, 1000, 10 << 10);
	for (int i = 0; i < 20; i++) {
		(void)decide(20 << 10, 0, 1);
		round_of(100, 1000, 10 << 10);
	}
	cr_expect(decide(20 << 10, 0, 1) == GW_PLAN_FINAL);
	cr_expect(decide(60 << 10, 0, 2) == GW_PLAN_ROUND);
	cr_expect(decide(20 << 10, 0, 3) == GW_PLAN_ROUND);
}

/* A limit on the bandwidth holds for rounds, and not for the last one. */
Test(planner, a_last_round_is_predicted_without_pacing)
{
	const uint64_t fixed_ns =
		GW_PLANNER_SWITCH_NS + planner.flush_ns + 3 * planner.commit_ns;

	round_of(100, 250, 0);
	cr_expect(gw_planner_predict_ns(&planner, 40 * MIB) == 100 * MS + fixed_ns);
	/* Too little to learn a rate from. */
	round_of(0, 250, 0);
	cr_expect(gw_planner_predict_ns(&planner, 40 * MIB) == 100 * MS + fixed_ns);
}

Test(planner, with_nothing_left_it_takes_time_all_the_same)
{
	cr_expect(gw_planner_predict_ns(&planner, 0) ==
		  GW_PLANNER_SWITCH_NS + planner.flush_ns + 2 * planner.commit_ns);
	planner.sync_ns = MS;
	cr_expect(gw_planner_predict_ns(&planner, 0) ==
		  GW_PLANNER_SWITCH_NS + planner.flush_ns + 2 * planner.commit_ns + MS);
}

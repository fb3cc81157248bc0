// SPDX-License-Identifier: GPL-2.0-or-later
#include "guard.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "clock.h"

#define MIB (UINT64_C(1) << 20)
#define TICK_NS (20 * GW_NS_PER_MS)

static const uint64_t limits_ns[GW_LATENCY_KINDS] = { 2000000, 2000000 };

Test(guard, reads_what_is_asked)
{
	struct gw_guard_spec spec;

	cr_assert(gw_guard_parse(&spec, "p99=2ms") == 0);
	cr_expect(spec.kind == GW_GUARD_TIME);
	cr_expect(spec.quantile_ppm == 990000);
	cr_expect(spec.limit_ns == 2000000);
	cr_assert(gw_guard_parse(&spec, "p99.9=1.5s") == 0);
	cr_expect(spec.quantile_ppm == 999000);
	cr_expect(spec.limit_ns == 1500000000);
	cr_assert(gw_guard_parse(&spec, "2x") == 0);
	cr_expect(spec.kind == GW_GUARD_FACTOR);
	cr_expect(spec.quantile_ppm == 990000);
	cr_expect(spec.factor_milli == 2000);
	cr_assert(gw_guard_parse(&spec, "p50=1.25x") == 0);
	cr_expect(spec.quantile_ppm == 500000);
	cr_expect(spec.factor_milli == 1250);
	cr_assert(gw_guard_parse(&spec, "1000x") == 0);
	cr_assert(gw_guard_parse(&spec, "off") == 0);
	cr_expect(spec.kind == GW_GUARD_OFF);
}

Test(guard, refuses_what_it_does_not_know)
{
	static const char *const texts[] = {
		"", "p99", "p99=", "=2ms", "2", "2ms", "x", "1x", "0.5x", "1.x", ".5x", "2.0001x", "2x ",
		"2xx", "1001x", "99999999999999999999x", "p99=2", "p99=0ms", "p99=-1ms", "p98=2ms",
		"p99.=2ms", "p999=2ms", "P99=2ms", "p99=2ms,p50=1ms", "p99==2ms", "on", "OFF", "p99=off",
	};
	struct gw_guard_spec spec, before;

	memset(&before, 0x5a, sizeof(before));
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		spec = before;
		cr_expect(gw_guard_parse(&spec, texts[i]) == -EINVAL, "\"%s\"", texts[i]);
		cr_expect(memcmp(&spec, &before, sizeof(spec)) == 0, "\"%s\"", texts[i]);
	}
}

Test(guard, knows_how_many_ios_it_needs)
{
	cr_expect(gw_guard_ios_min(10000) == 100);
	cr_expect(gw_guard_ios_min(1000) == 1000);
	cr_expect(gw_guard_ios_min(500000) == 40);
	cr_expect(gw_guard_ios_per_s_min(10000) == 3334);
	cr_expect(gw_guard_ios_per_s_min(1000) == 33334);
}

struct fixture {
	struct gw_guard guard;
	uint64_t now_ns;
};

static struct fixture start(uint64_t floor, uint64_t ceiling)
{
	struct fixture f = { .now_ns = GW_NS_PER_S };

	gw_guard_start(&f.guard, 990000, limits_ns, floor, ceiling, f.now_ns);
	return f;
}

/* A tick in which the copier made all of its rate. */
static enum gw_guard_step feed(struct fixture *f, uint64_t reads, uint64_t slow_reads,
			       uint64_t writes, uint64_t slow_writes)
{
	const struct gw_guard_sample sample = {
		.now_ns = f->now_ns += TICK_NS,
		.ios = { reads, writes },
		.above = { slow_reads, slow_writes },
		.copied_bytes = f->guard.rate_bytes_per_s / 50,
	};

	return gw_guard_feed(&f->guard, &sample);
}

/* Without a slow one until rate is reached; how long that took. */
static uint64_t grow_to(struct fixture *f, uint64_t rate)
{
	const uint64_t began_ns = f->now_ns;

	while (f->guard.rate_bytes_per_s < rate && f->now_ns < began_ns + 100 * GW_NS_PER_S)
		feed(f, 100, 0, 100, 0);
	cr_assert(f->guard.rate_bytes_per_s >= rate);
	return f->now_ns - began_ns;
}

Test(guard, starts_low_and_doubles)
{
	struct fixture f = start(MIB, 0);

	cr_expect(f.guard.rate_bytes_per_s == 8 * MIB);
	cr_expect(grow_to(&f, 1024 * MIB) < 4 * GW_NS_PER_S);
}

Test(guard, slow_ones_cut_it_at_the_second_tick)
{
	struct fixture f = start(MIB, 0);

	grow_to(&f, 512 * MIB);
	cr_expect(feed(&f, 100, 20, 100, 0) == GW_GUARD_KEEP, "one tick may be one hiccup");
	cr_expect(feed(&f, 100, 20, 100, 0) == GW_GUARD_CUT);
	cr_expect(f.guard.rate_bytes_per_s <= 256 * MIB);
	cr_expect(f.guard.counts.cuts == 1);
}

Test(guard, few_ios_that_are_all_slow_are_enough)
{
	struct fixture f = start(MIB, 0);

	grow_to(&f, 512 * MIB);
	feed(&f, 3, 3, 0, 0);
	cr_expect(feed(&f, 3, 3, 0, 0) == GW_GUARD_CUT, "a hundred could not be good any more");
}

Test(guard, a_slow_one_now_and_then_is_allowed)
{
	struct fixture f = start(MIB, 0);

	for (int i = 0; i < 1000; i++)
		cr_assert(feed(&f, 200, (uint64_t)(i % 2), 0, 0) != GW_GUARD_CUT);
	cr_expect(f.guard.rate_bytes_per_s > 100 * MIB);
}

/* A hiccup of the machine every second: 25 of 5000 I/Os, half of what may be. */
Test(guard, a_hiccup_now_and_then_does_not_hold_it_back)
{
	struct fixture f = start(MIB, 0);
	uint64_t copied_mib = 0;

	grow_to(&f, 512 * MIB);
	for (int i = 0; i < 50 * 60; i++) {
		feed(&f, 100, i % 50 == 0 ? 25 : 0, 0, 0);
		if (f.guard.rate_bytes_per_s > 1024 * MIB)
			gw_guard_set_bounds(&f.guard, MIB, 1024 * MIB);
		copied_mib += f.guard.rate_bytes_per_s / MIB / 50;
	}
	cr_expect(copied_mib > 60 * 512, "%" PRIu64 " MiB", copied_mib);
}

/* An alarm that the budget can bear: the rate is cut, and soon is what it was. */
Test(guard, a_hiccup_costs_the_rate_for_a_moment)
{
	struct fixture f = start(MIB, 512 * MIB);

	grow_to(&f, 512 * MIB);
	for (int i = 0; i < 250; i++)
		feed(&f, 100, 0, 100, 0);
	feed(&f, 100, 30, 100, 30);
	cr_assert(feed(&f, 100, 30, 100, 30) == GW_GUARD_CUT);
	cr_expect(f.guard.rate_bytes_per_s <= 128 * MIB);
	cr_expect(grow_to(&f, 512 * MIB) < GW_NS_PER_S);
}

/* What is above twice the knee shows that it was none. */
Test(guard, it_grows_faster_where_nobody_is_hurt)
{
	struct fixture f = start(MIB, 0);

	while (feed(&f, 100, 50, 0, 0) != GW_GUARD_KEEP || f.guard.rate_bytes_per_s > 2 * MIB)
		;
	cr_expect(grow_to(&f, 1024 * MIB) < 60 * GW_NS_PER_S);
}

Test(guard, writes_count_apart_from_reads)
{
	struct fixture f = start(MIB, 0);

	grow_to(&f, 512 * MIB);
	/* A third of a per cent of all, and a fifth of the writes. */
	feed(&f, 100000, 0, 100, 20);
	cr_expect(feed(&f, 100000, 0, 100, 20) == GW_GUARD_CUT);
}

Test(guard, a_kind_without_a_limit_is_left_alone)
{
	static const uint64_t reads_only[GW_LATENCY_KINDS] = { 2000000, 0 };
	struct fixture f = start(MIB, 0);

	gw_guard_start(&f.guard, 990000, reads_only, MIB, 0, f.now_ns);
	for (int i = 0; i < 100; i++)
		cr_assert(feed(&f, 200, 0, 100, 100) != GW_GUARD_CUT);
	cr_expect(f.guard.counts.ios == 20000);
}

Test(guard, the_steps_are_small_above_the_knee)
{
	struct fixture f = start(MIB, 0);
	uint64_t rate;

	grow_to(&f, 512 * MIB);
	feed(&f, 1000, 40, 0, 0);
	cr_assert(feed(&f, 1000, 40, 0, 0) == GW_GUARD_CUT);
	/* Up to half of what was too much it doubles, beyond that it goes by sixteenths. */
	rate = f.guard.knee_bytes_per_s;
	cr_expect(rate >= 64 * MIB);
	grow_to(&f, rate);
	rate = f.guard.rate_bytes_per_s;
	cr_expect(grow_to(&f, 2 * rate) > 500 * GW_NS_PER_MS);
}

Test(guard, an_overdrawn_budget_holds_the_rate)
{
	struct fixture f = start(MIB, 0);
	uint64_t rate;

	grow_to(&f, 64 * MIB);
	while (feed(&f, 100, 90, 0, 0) != GW_GUARD_KEEP || f.guard.rate_bytes_per_s > MIB)
		;
	rate = f.guard.rate_bytes_per_s;
	for (int i = 0; i < 50; i++)
		cr_assert(feed(&f, 100, 0, 0, 0) != GW_GUARD_RAISE, "a second later still");
	cr_expect(f.guard.rate_bytes_per_s == rate);
}

Test(guard, says_that_it_cannot_and_that_it_can_again)
{
	struct fixture f = start(4 * MIB, 0);

	for (int i = 0; i < 200; i++)
		feed(&f, 100, 50, 0, 0);
	cr_expect(f.guard.rate_bytes_per_s == 4 * MIB, "never below the floor");
	cr_expect(f.guard.cannot);
	for (int i = 0; i < 2000; i++)
		feed(&f, 100, 0, 0, 0);
	cr_expect(!f.guard.cannot);
	cr_expect(f.guard.rate_bytes_per_s > 8 * MIB);
}

Test(guard, the_floor_wins_over_the_ceiling)
{
	struct fixture f = start(4 * MIB, 16 * MIB);

	for (int i = 0; i < 200; i++)
		feed(&f, 100, 0, 0, 0);
	cr_expect(f.guard.rate_bytes_per_s == 16 * MIB);
	gw_guard_set_bounds(&f.guard, 24 * MIB, 16 * MIB);
	cr_expect(f.guard.rate_bytes_per_s == 24 * MIB);
	gw_guard_set_bounds(&f.guard, MIB, 12 * MIB);
	cr_expect(f.guard.rate_bytes_per_s == 12 * MIB);
}

Test(guard, nobody_there_is_nobody_hurt)
{
	struct fixture f = start(MIB, 0);
	const uint64_t began_ns = f.now_ns;

	while (f.guard.rate_bytes_per_s < 1024 * MIB && f.now_ns < began_ns + 20 * GW_NS_PER_S)
		feed(&f, 0, 0, 0, 0);
	cr_expect(f.now_ns < began_ns + 5 * GW_NS_PER_S);
}

Test(guard, a_rate_that_is_not_used_does_not_grow)
{
	struct fixture f = start(MIB, 0);

	for (int i = 0; i < 500; i++) {
		const struct gw_guard_sample sample = {
			.now_ns = f.now_ns += TICK_NS, .ios = { 100, 0 }, .copied_bytes = MIB,
		};

		gw_guard_feed(&f.guard, &sample);
	}
	cr_expect(f.guard.rate_bytes_per_s <= 128 * MIB, "50 MiB/s are made of it");
	cr_expect(f.guard.rate_bytes_per_s >= 50 * MIB);
}

Test(guard, what_was_seen_before_a_pause_is_forgotten)
{
	struct fixture f = start(MIB, 0);

	grow_to(&f, 64 * MIB);
	feed(&f, 10, 5, 0, 0);
	gw_guard_skip(&f.guard, f.now_ns += 100 * GW_NS_PER_S);
	cr_expect(feed(&f, 10, 5, 0, 0) == GW_GUARD_KEEP, "ten would have been too many");
}

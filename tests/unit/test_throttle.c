// SPDX-License-Identifier: GPL-2.0-or-later
#include "throttle.h"

#include <criterion/criterion.h>

#include <string.h>

#define MIB (UINT64_C(1) << 20)

/* 48 MiB/s of random writes against a copier of 16. */
static struct gw_throttle_sample diverging(void)
{
	return (struct gw_throttle_sample){
		.elapsed_ns = GW_THROTTLE_SETTLE_NS,
		.copy_bytes_per_s = 16 * MIB,
		.dirty_bytes_per_s = 40 * MIB,
		.write_bytes_per_s = 48 * MIB,
		.could_fit = true,
	};
}

static char why[300];

static enum gw_throttle_verdict judge(struct gw_throttle *throttle,
				      const struct gw_throttle_sample *sample,
				      uint64_t *bytes_per_s)
{
	why[0] = '\0';
	return gw_throttle_judge(throttle, sample, bytes_per_s, why, sizeof(why));
}

Test(throttle, steps_down_from_what_is_written)
{
	struct gw_throttle throttle = { 0 };
	struct gw_throttle_sample sample = diverging();
	uint64_t to = 0;

	cr_assert(judge(&throttle, &sample, &to) == GW_THROTTLE_LOWER);
	cr_expect(to == 24 * MIB, "no more than half in one step");
	cr_expect(strstr(why, "24.0 MiB/s") != NULL, "%s", why);
	cr_expect(strstr(why, "40.0 MiB/s are dirtied, 16.0 MiB/s are copied") != NULL, "%s", why);
	gw_throttle_step(&throttle, to, sample.write_bytes_per_s, 5 * GW_NS_PER_S);
	/* Measured: nearer to the aim, so the step is a smaller one. */
	sample.write_bytes_per_s = 24 * MIB;
	sample.dirty_bytes_per_s = 12 * MIB;
	cr_assert(judge(&throttle, &sample, &to) == GW_THROTTLE_LOWER);
	cr_expect(to == 16 * MIB);
	gw_throttle_step(&throttle, to, sample.write_bytes_per_s, 7 * GW_NS_PER_S);
	sample.write_bytes_per_s = 16 * MIB;
	sample.dirty_bytes_per_s = 8 * MIB;
	cr_expect(judge(&throttle, &sample, &to) == GW_THROTTLE_KEEP, "half of what is copied");
	gw_throttle_end(&throttle, 11 * GW_NS_PER_S);
	cr_expect(throttle.throttled_ns == 6 * GW_NS_PER_S);
	cr_expect(throttle.lowest_bytes_per_s == 16 * MIB);
	cr_expect(throttle.steps == 2);
	cr_expect(throttle.write_before_bytes_per_s == 48 * MIB);
	cr_expect(throttle.write_after_bytes_per_s == 16 * MIB);
}

Test(throttle, begins_anew_when_it_is_asked_to)
{
	struct gw_throttle throttle = { 0 };
	struct gw_throttle_sample sample = diverging();
	uint64_t to = 0;

	cr_assert(judge(&throttle, &sample, &to) == GW_THROTTLE_LOWER);
	gw_throttle_step(&throttle, to, sample.write_bytes_per_s, 5 * GW_NS_PER_S);
	cr_expect(gw_throttle_time_ns(&throttle, 7 * GW_NS_PER_S) == 2 * GW_NS_PER_S);
	gw_throttle_anew(&throttle);
	cr_expect(throttle.limit_bytes_per_s == to, "it holds already");
	gw_throttle_end(&throttle, 8 * GW_NS_PER_S);
	throttle.has_given_up = true;
	cr_expect(judge(&throttle, &sample, &to) == GW_THROTTLE_KEEP);
	gw_throttle_anew(&throttle);
	/* From what they write now, and not without effect for being above a limit that is none. */
	cr_assert(judge(&throttle, &sample, &to) == GW_THROTTLE_LOWER, "%s", why);
	cr_expect(to == 24 * MIB);
	gw_throttle_step(&throttle, to, sample.write_bytes_per_s, 20 * GW_NS_PER_S);
	cr_expect(gw_throttle_time_ns(&throttle, 21 * GW_NS_PER_S) == 4 * GW_NS_PER_S);
	cr_expect(throttle.steps_in_all == 2);
}

Test(throttle, waits_for_the_effect)
{
	struct gw_throttle throttle = { 0 };
	struct gw_throttle_sample sample = diverging();
	uint64_t to = 0;

	sample.elapsed_ns = GW_THROTTLE_SETTLE_NS - 1;
	cr_expect(judge(&throttle, &sample, &to) == GW_THROTTLE_KEEP);
}

Test(throttle, who_converges_is_left_alone)
{
	struct gw_throttle throttle = { 0 };
	struct gw_throttle_sample sample = diverging();
	uint64_t to = 0;

	sample.dirty_bytes_per_s = 14 * MIB;
	cr_expect(judge(&throttle, &sample, &to) == GW_THROTTLE_KEEP);
	sample.dirty_bytes_per_s = 40 * MIB;
	sample.fits = true;
	cr_expect(judge(&throttle, &sample, &to) == GW_THROTTLE_KEEP, "it could switch now");
}

Test(throttle, rounds_that_do_not_shrink_count_whatever_the_rates)
{
	struct gw_throttle throttle = { 0 };
	struct gw_throttle_sample sample = diverging();
	uint64_t to = 0;

	sample.dirty_bytes_per_s = MIB;
	sample.stalled_rounds = GW_THROTTLE_STALLED_ROUNDS;
	cr_assert(judge(&throttle, &sample, &to) == GW_THROTTLE_LOWER);
	cr_expect(to > 38 * MIB && to < 39 * MIB, "a fifth less");
}

Test(throttle, the_administrators_limit_is_the_upper_bound)
{
	struct gw_throttle throttle = { .former_bytes_per_s = 20 * MIB };
	struct gw_throttle_sample sample = diverging();
	uint64_t to = 0;

	cr_assert(judge(&throttle, &sample, &to) == GW_THROTTLE_LOWER);
	cr_expect(to == 10 * MIB);
	throttle.former_bytes_per_s = MIB;
	cr_expect(judge(&throttle, &sample, &to) == GW_THROTTLE_GIVE_UP, "it is the floor already");
}

Test(throttle, never_below_the_floor)
{
	struct gw_throttle throttle = { 0 };
	struct gw_throttle_sample sample = diverging();
	uint64_t to = 0;

	sample.copy_bytes_per_s = 1000;
	sample.write_bytes_per_s = sample.dirty_bytes_per_s = MIB + MIB / 2;
	cr_assert(judge(&throttle, &sample, &to) == GW_THROTTLE_LOWER);
	cr_expect(to == GW_THROTTLE_FLOOR_BYTES_PER_S);
	gw_throttle_step(&throttle, to, sample.write_bytes_per_s, 1);
	sample.write_bytes_per_s = sample.dirty_bytes_per_s = MIB;
	cr_expect(judge(&throttle, &sample, &to) == GW_THROTTLE_GIVE_UP);
	cr_expect(strstr(why, "not enough") != NULL, "%s", why);
	throttle = (struct gw_throttle){ 0 };
	cr_expect(judge(&throttle, &sample, &to) == GW_THROTTLE_GIVE_UP);
	cr_expect(strstr(why, "so little") != NULL, "%s", why);
}

Test(throttle, no_effect_is_seen_and_said)
{
	struct gw_throttle throttle = { 0 };
	struct gw_throttle_sample sample = diverging();
	uint64_t to = 0;

	/* The kernel counts the cgroup's writes from the beginning: not even one step is made. */
	sample.knows_cgroup = true;
	sample.cgroup_bytes_per_s = MIB;
	cr_expect(judge(&throttle, &sample, &to) == GW_THROTTLE_GIVE_UP);
	cr_expect(strstr(why, "no effect") != NULL, "%s", why);
	/* It does not: then after the first. */
	sample.knows_cgroup = false;
	cr_assert(judge(&throttle, &sample, &to) == GW_THROTTLE_LOWER);
	gw_throttle_step(&throttle, to, sample.write_bytes_per_s, 1);
	cr_expect(judge(&throttle, &sample, &to) == GW_THROTTLE_GIVE_UP, "still 48 MiB/s");
	throttle.has_given_up = true;
	cr_expect(judge(&throttle, &sample, &to) == GW_THROTTLE_KEEP);
}

Test(throttle, a_cgroup_is_throttled_for_its_own_part)
{
	struct gw_throttle throttle = { 0 };
	struct gw_throttle_sample sample = diverging();
	uint64_t to = 0;

	sample.knows_cgroup = true;
	sample.cgroup_bytes_per_s = 30 * MIB;
	cr_assert(judge(&throttle, &sample, &to) == GW_THROTTLE_LOWER);
	cr_expect(to == 15 * MIB);
	gw_throttle_step(&throttle, to, sample.write_bytes_per_s, 1);
	sample.cgroup_bytes_per_s = 15 * MIB;
	sample.write_bytes_per_s = 33 * MIB;
	cr_expect(judge(&throttle, &sample, &to) == GW_THROTTLE_LOWER, "others write the rest");
}

Test(throttle, what_costs_more_than_the_copy_is_not_the_writers_fault)
{
	struct gw_throttle throttle = { 0 };
	struct gw_throttle_sample sample = diverging();
	uint64_t to = 0;

	sample.could_fit = false;
	cr_expect(judge(&throttle, &sample, &to) == GW_THROTTLE_GIVE_UP);
	cr_expect(strstr(why, "--downtime-limit") != NULL, "%s", why);
}

// SPDX-License-Identifier: GPL-2.0-or-later
#include "pacer.h"

#include <criterion/criterion.h>

#include "clock.h"

#define NOW_NS (UINT64_C(1000) * GW_NS_PER_S)
#define MIB (UINT64_C(1) << 20)

Test(pacer, without_a_limit_nothing_waits)
{
	struct gw_pacer pacer = { 0 };

	cr_expect(gw_pacer_wait_ns(&pacer, NOW_NS) == 0);
	gw_pacer_book(&pacer, UINT64_MAX, NOW_NS);
	cr_expect(gw_pacer_wait_ns(&pacer, NOW_NS) == 0);
	cr_expect(gw_pacer_run_bytes(&pacer, 4096, 1 << 20) == 1 << 20);
}

Test(pacer, a_run_takes_its_time)
{
	struct gw_pacer pacer = { 0 };

	gw_pacer_set(&pacer, 1000000, NOW_NS);
	cr_expect(gw_pacer_wait_ns(&pacer, NOW_NS) == 0);
	gw_pacer_book(&pacer, 4096, NOW_NS);
	cr_expect(gw_pacer_wait_ns(&pacer, NOW_NS) == 4096000);
	cr_expect(gw_pacer_wait_ns(&pacer, NOW_NS + 4095999) == 1);
	cr_expect(gw_pacer_wait_ns(&pacer, NOW_NS + 4096000) == 0);
}

Test(pacer, an_idle_moment_saves_up_little)
{
	struct gw_pacer pacer = { 0 };
	const uint64_t later_ns = NOW_NS + 60 * GW_NS_PER_S;
	uint64_t bytes = 0;

	gw_pacer_set(&pacer, 100 * MIB, NOW_NS);
	while (gw_pacer_wait_ns(&pacer, later_ns) == 0) {
		gw_pacer_book(&pacer, 65536, later_ns);
		bytes += 65536;
	}
	cr_expect(bytes <= MIB / 2 + 65536, "5 ms of the limit, and the run that ends it");
	cr_expect(bytes >= MIB / 2);
}

Test(pacer, runs_are_short_at_a_low_limit)
{
	struct gw_pacer pacer = { 0 };

	gw_pacer_set(&pacer, 1000, NOW_NS);
	cr_expect(gw_pacer_run_bytes(&pacer, 4096, 1 << 20) == 4096);
	gw_pacer_set(&pacer, 10 * MIB, NOW_NS);
	cr_expect(gw_pacer_run_bytes(&pacer, 4096, 1 << 20) == 12 * 4096, "5 ms of it");
	gw_pacer_set(&pacer, 1000 * MIB, NOW_NS);
	cr_expect(gw_pacer_run_bytes(&pacer, 4096, 1 << 20) == 1 << 20);
}

Test(pacer, runs_are_as_short_as_asked)
{
	struct gw_pacer pacer = { .run_ns = 1000000, .run_bytes_min = 65536 };

	gw_pacer_set(&pacer, 100 * MIB, NOW_NS);
	cr_expect(gw_pacer_run_bytes(&pacer, 4096, 1 << 20) == 25 * 4096, "1 ms of it");
	gw_pacer_set(&pacer, MIB, NOW_NS);
	cr_expect(gw_pacer_run_bytes(&pacer, 4096, 1 << 20) == 65536);
	cr_expect(gw_pacer_run_bytes(&pacer, 4096, 8192) == 8192);
	cr_expect(gw_pacer_run_bytes(&pacer, 131072, 1 << 20) == 131072, "never less than a grain");
}

Test(pacer, an_idle_moment_saves_up_as_little_as_asked)
{
	struct gw_pacer pacer = { .credit_ns = 1000000 };
	const uint64_t later_ns = NOW_NS + 60 * GW_NS_PER_S;
	uint64_t bytes = 0;

	gw_pacer_set(&pacer, 100 * MIB, NOW_NS);
	while (gw_pacer_wait_ns(&pacer, later_ns) == 0) {
		gw_pacer_book(&pacer, 4096, later_ns);
		bytes += 4096;
	}
	cr_expect(bytes <= MIB / 10 + 4096);
}

Test(pacer, a_new_limit_keeps_what_is_owed)
{
	struct gw_pacer pacer = { 0 };

	gw_pacer_set(&pacer, 1000000, NOW_NS);
	gw_pacer_book(&pacer, 10000, NOW_NS);
	gw_pacer_set(&pacer, 2000000, NOW_NS);
	cr_expect(gw_pacer_wait_ns(&pacer, NOW_NS) == 5 * GW_NS_PER_MS);
	gw_pacer_set(&pacer, 1, NOW_NS);
	gw_pacer_set(&pacer, 2000000, NOW_NS);
	cr_expect(gw_pacer_wait_ns(&pacer, NOW_NS) == 5 * GW_NS_PER_MS);
	gw_pacer_set(&pacer, 0, NOW_NS);
	cr_expect(gw_pacer_wait_ns(&pacer, NOW_NS) == 0);
}

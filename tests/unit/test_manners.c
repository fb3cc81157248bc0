// SPDX-License-Identifier: GPL-2.0-or-later
#include "manners.h"

#include <criterion/criterion.h>

#include <errno.h>
#include <sys/resource.h>

static int nice_now(void)
{
	return getpriority(PRIO_PROCESS, 0);
}

Test(manners, lists_of_cpus)
{
	static const char *const bad[] = { "", ",", "1,", ",1", "a", "1-", "-1", "3-1", "1 2", "1-2-3",
					   "1024", "0-99999999999999999999", "0x1" };
	cpu_set_t cpus;

	cr_assert(gw_parse_cpus("0-2,5,7-7", &cpus) == 0);
	cr_expect(CPU_COUNT(&cpus) == 5);
	cr_expect(CPU_ISSET(0, &cpus) && CPU_ISSET(2, &cpus) && CPU_ISSET(5, &cpus) &&
		  CPU_ISSET(7, &cpus));
	cr_assert(gw_parse_cpus("1023", &cpus) == 0);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		cr_expect(gw_parse_cpus(bad[i], &cpus) == -EINVAL, "\"%s\"", bad[i]);
	cr_expect(CPU_COUNT(&cpus) == 1, "untouched by what is no list");
}

Test(manners, what_was_there_comes_back)
{
	const int former = nice_now();
	cpu_set_t before, one, now;

	cr_assert(sched_getaffinity(0, sizeof(before), &before) == 0);
	CPU_ZERO(&one);
	for (size_t cpu = 0; CPU_COUNT(&one) == 0; cpu++)
		if (CPU_ISSET(cpu, &before))
			CPU_SET(cpu, &one);
	cr_assert(gw_manners_adopt(GW_NICE_MAX, &one) == 0);
	cr_expect(nice_now() == GW_NICE_MAX);
	cr_expect(sched_getaffinity(0, sizeof(now), &now) == 0);
	cr_expect(CPU_EQUAL(&now, &one));
	cr_expect(gw_manners_cpus(&now));
	cr_expect(CPU_EQUAL(&now, &one));
	gw_manners_drop();
	cr_expect(sched_getaffinity(0, sizeof(now), &now) == 0);
	cr_expect(CPU_EQUAL(&now, &before));
	cr_expect(!gw_manners_cpus(&now));
	/* Up again takes privileges. */
	cr_expect(nice_now() == former || nice_now() == GW_NICE_MAX);
	gw_manners_drop();
}

Test(manners, the_default_never_raises_a_priority)
{
	cr_assert(setpriority(PRIO_PROCESS, 0, 15) == 0);
	cr_assert(gw_manners_adopt(-1, NULL) == 0);
	cr_expect(nice_now() == 15);
	gw_manners_hurry(true);
	cr_expect(nice_now() == 15);
	gw_manners_drop();
	cr_expect(nice_now() == 15);
}

Test(manners, cpus_that_are_not_there)
{
	const int former = nice_now();
	cpu_set_t none;

	CPU_ZERO(&none);
	CPU_SET(CPU_SETSIZE - 1, &none);
	cr_expect(gw_manners_adopt(5, &none) == -EINVAL);
	cr_expect(nice_now() == former);
}

// SPDX-License-Identifier: GPL-2.0-or-later
#include "manners.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <sys/resource.h>

static struct {
	bool is_adopted, has_cpus;
	int nice, former_nice;
	cpu_set_t cpus, former_cpus;
} manners;

/* A number and what follows it. */
static int parse_cpu(const char **text, unsigned long *cpu)
{
	char *end;

	if (!isdigit((unsigned char)**text))
		return -EINVAL;
	*cpu = strtoul(*text, &end, 10);
	*text = end;
	return *cpu < CPU_SETSIZE ? 0 : -EINVAL;
}

int gw_parse_cpus(const char *text, cpu_set_t *cpus)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	for (;;) {
		unsigned long first, last;

		if (parse_cpu(&text, &first) != 0)
			return -EINVAL;
		last = first;
		if (*text == '-') {
			text++;
			if (parse_cpu(&text, &last) != 0 || last < first)
				return -EINVAL;
		}
		for (unsigned long cpu = first; cpu <= last; cpu++)
			CPU_SET(cpu, &set);
		if (*text == '\0')
			break;
		if (*text++ != ',')
			return -EINVAL;
	}
	*cpus = set;
	return 0;
}

int gw_manners_adopt(int nice, const cpu_set_t *cpus)
{
	gw_manners_drop();
	manners.former_nice = getpriority(PRIO_PROCESS, 0);
	if (sched_getaffinity(0, sizeof(manners.former_cpus), &manners.former_cpus) != 0)
		return -errno;
	if (nice < 0)
		nice = manners.former_nice > GW_NICE_DEFAULT ? manners.former_nice : GW_NICE_DEFAULT;
	if (cpus != NULL && sched_setaffinity(0, sizeof(*cpus), cpus) != 0)
		return -errno;
	if (setpriority(PRIO_PROCESS, 0, nice) != 0) {
		const int err = -errno;

		sched_setaffinity(0, sizeof(manners.former_cpus), &manners.former_cpus);
		return err;
	}
	manners.is_adopted = true;
	manners.nice = nice;
	manners.has_cpus = cpus != NULL;
	if (cpus != NULL)
		manners.cpus = *cpus;
	return 0;
}

void gw_manners_hurry(bool is_urgent)
{
	if (manners.is_adopted)
		setpriority(PRIO_PROCESS, 0, is_urgent ? manners.former_nice : manners.nice);
}

void gw_manners_drop(void)
{
	if (!manners.is_adopted)
		return;
	setpriority(PRIO_PROCESS, 0, manners.former_nice);
	sched_setaffinity(0, sizeof(manners.former_cpus), &manners.former_cpus);
	manners.is_adopted = manners.has_cpus = false;
}

bool gw_manners_cpus(cpu_set_t *cpus)
{
	if (!manners.has_cpus)
		return false;
	*cpus = manners.cpus;
	return true;
}

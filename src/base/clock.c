// SPDX-License-Identifier: GPL-2.0-or-later
#include "clock.h"

#include <stddef.h>
#include <time.h>

static uint64_t read_ns(clockid_t id)
{
	struct timespec ts = { 0 };

	clock_gettime(id, &ts);
	return (uint64_t)ts.tv_sec * GW_NS_PER_S + (uint64_t)ts.tv_nsec;
}

static uint64_t monotonic_ns(void *arg)
{
	(void)arg;
	return read_ns(CLOCK_MONOTONIC);
}

const struct gw_clock gw_clock_monotonic = { monotonic_ns, NULL };

uint64_t gw_wall_ns(void)
{
	return read_ns(CLOCK_REALTIME);
}

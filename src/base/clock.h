/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Time as a parameter, so that a test can own it. */
#ifndef GW_CLOCK_H
#define GW_CLOCK_H

#include <stdint.h>

#define GW_NS_PER_US UINT64_C(1000)
#define GW_NS_PER_MS UINT64_C(1000000)
#define GW_NS_PER_S UINT64_C(1000000000)

struct gw_clock {
	uint64_t (*now_ns)(void *arg);	/* never goes back */
	void *arg;
};

/* CLOCK_MONOTONIC: the clock of bpf_ktime_get_ns(). */
extern const struct gw_clock gw_clock_monotonic;

static inline uint64_t gw_now_ns(const struct gw_clock *clock)
{
	return clock->now_ns(clock->arg);
}

/* Wall time, ns since 1970, for records that people read. */
uint64_t gw_wall_ns(void);

#endif

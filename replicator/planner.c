// SPDX-License-Identifier: GPL-2.0-or-later
#include "planner.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "clock.h"
#include "units.h"

/* A round that copied less says more about its set-up than about the rate. */
#define RATE_BYTES_MIN (UINT64_C(256) << 10)

static uint64_t per_second(uint64_t bytes, uint64_t elapsed_ns)
{
	if (elapsed_ns == 0)
		return 0;
	return (uint64_t)((double)bytes * (double)GW_NS_PER_S / (double)elapsed_ns);
}

static uint64_t time_for(uint64_t bytes, uint64_t bytes_per_s)
{
	const double ns = (double)bytes * (double)GW_NS_PER_S / (double)bytes_per_s;

	return ns < (double)INT64_MAX ? (uint64_t)ns : INT64_MAX;
}

void gw_planner_init(struct gw_planner *planner, const struct gw_planner_limits *limits,
		     uint32_t grain_bytes, uint64_t now_ns)
{
	memset(planner, 0, sizeof(*planner));
	planner->limits = *limits;
	planner->grain_bytes = grain_bytes;
	planner->best_left_bytes = UINT64_MAX;
	planner->best_at_ns = now_ns;
}

void gw_planner_round_done(struct gw_planner *planner, uint64_t copied_bytes, uint64_t elapsed_ns,
			   uint64_t dirty_after_bytes)
{
	if (copied_bytes >= RATE_BYTES_MIN || planner->copy_bytes_per_s == 0)
		planner->copy_bytes_per_s = per_second(copied_bytes, elapsed_ns);
	planner->dirty_bytes_per_s = per_second(dirty_after_bytes, elapsed_ns);
}

uint64_t gw_planner_predict_ns(const struct gw_planner *planner, uint64_t left_bytes)
{
	uint64_t ns = planner->sync_ns + planner->flush_ns + planner->commit_ns;

	ns += (left_bytes >> 20) * planner->verify_ns_per_mib;
	if (left_bytes > 0)
		ns += planner->copy_bytes_per_s > 0 ?
			      time_for(left_bytes, planner->copy_bytes_per_s) : INT64_MAX / 2;
	return ns;
}

enum gw_plan gw_planner_decide(const struct gw_planner *planner, uint64_t left_bytes, char *why,
			       size_t why_bytes)
{
	const uint64_t predicted_ns = gw_planner_predict_ns(planner, left_bytes);
	char left[GW_UNIT_TEXT_BYTES], rate[GW_UNIT_TEXT_BYTES], time[GW_UNIT_TEXT_BYTES],
		limit[GW_UNIT_TEXT_BYTES];

	gw_format_bytes(left, left_bytes);
	gw_format_rate(rate, planner->copy_bytes_per_s);
	gw_format_duration(time, predicted_ns);
	gw_format_duration(limit, planner->limits.downtime_ns);
	if (predicted_ns <= planner->limits.downtime_ns) {
		snprintf(why, why_bytes, "switching: %s left, %s, predicted %s of %s", left, rate,
			 time, limit);
		return GW_PLAN_FINAL;
	}
	if (planner->limits.max_rounds != 0 && planner->round >= planner->limits.max_rounds) {
		snprintf(why, why_bytes,
			 "giving up after %u rounds: %s left, %s, predicted blackout %s, limit %s",
			 planner->round, left, rate, time, limit);
		return GW_PLAN_GIVE_UP;
	}
	snprintf(why, why_bytes, "another round: %s left, %s, predicted blackout %s, limit %s",
		 left, rate, time, limit);
	return GW_PLAN_ROUND;
}

bool gw_planner_is_stalled(struct gw_planner *planner, uint64_t left_bytes, uint64_t now_ns)
{
	if (left_bytes < planner->best_left_bytes) {
		planner->best_left_bytes = left_bytes;
		planner->best_at_ns = now_ns;
	}
	return now_ns - planner->best_at_ns >= planner->limits.timeout_ns;
}

bool gw_planner_diverges(struct gw_planner *planner, uint64_t copy_bytes_per_s,
			 uint64_t dirty_bytes_per_s, uint64_t left_bytes, bool is_limited,
			 char *text, size_t text_bytes)
{
	char dirty[GW_UNIT_TEXT_BYTES], copy[GW_UNIT_TEXT_BYTES], time[GW_UNIT_TEXT_BYTES],
		limit[GW_UNIT_TEXT_BYTES], grain[GW_UNIT_TEXT_BYTES];

	/* At nine tenths each round is hardly shorter than the one before. */
	if (planner->told_divergence || dirty_bytes_per_s == 0 ||
	    dirty_bytes_per_s < copy_bytes_per_s - copy_bytes_per_s / 10)
		return false;
	if (gw_planner_predict_ns(planner, left_bytes) <= planner->limits.downtime_ns)
		return false;
	planner->told_divergence = true;
	snprintf(text, text_bytes,
		 "will not converge as it is: %s are dirtied at a grain of %s, %s are copied; "
		 "predicted blackout %s, limit %s. What would help: %sfewer writes, or a longer "
		 "--downtime-limit%s",
		 gw_format_rate(dirty, dirty_bytes_per_s),
		 gw_format_bytes(grain, planner->grain_bytes),
		 gw_format_rate(copy, copy_bytes_per_s),
		 gw_format_duration(time, gw_planner_predict_ns(planner, left_bytes)),
		 gw_format_duration(limit, planner->limits.downtime_ns),
		 is_limited ? "a higher --bandwidth, " : "",
		 planner->grain_bytes > 4096 ? ", or a finer --grain" : "");
	return true;
}

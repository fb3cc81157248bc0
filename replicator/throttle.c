// SPDX-License-Identifier: GPL-2.0-or-later
#include "throttle.h"

#include <assert.h>
#include <stdio.h>

#include "units.h"

/* One step takes away at least a fifth, and at most half, of what is written. */
#define STEP_LEAST 0.8
#define STEP_MOST 0.5
/* Aimed at: half of what is copied, so that each round is half as long as the one before. */
#define AIM 0.5
/* As the planner has it: with nine tenths a round is hardly shorter than the one before. */
#define DIVERGES 0.9
/* The kernel's slices make a limit fuzzy, and what waited is let through in one go. */
#define OVER_LIMIT 1.5
/* Less than this part of all writes is nobody's share. */
#define SHARE_LEAST 0.05

static bool is_above(uint64_t a, uint64_t b, double factor)
{
	return (double)a > (double)b * factor;
}

static enum gw_throttle_verdict give_up(const struct gw_throttle_sample *sample, const char *what,
					char *why, size_t why_bytes)
{
	char all[GW_UNIT_TEXT_BYTES];

	snprintf(why, why_bytes, "the writers are not throttled: %s (%s are written)", what,
		 gw_format_rate(all, sample->write_bytes_per_s));
	return GW_THROTTLE_GIVE_UP;
}

/* Who writes is not in the cgroup, or writes through the page cache, for which v1 has kernel threads pay. */
static bool has_no_effect(const struct gw_throttle *throttle,
			  const struct gw_throttle_sample *sample)
{
	if (throttle->steps == 0 && !sample->knows_cgroup)
		return false;
	if (sample->knows_cgroup &&
	    !is_above(sample->cgroup_bytes_per_s, sample->write_bytes_per_s, SHARE_LEAST))
		return true;
	return throttle->steps > 0 &&
	       is_above(sample->knows_cgroup ? sample->cgroup_bytes_per_s :
					       sample->write_bytes_per_s,
			throttle->limit_bytes_per_s, OVER_LIMIT);
}

static bool converges(const struct gw_throttle *throttle, const struct gw_throttle_sample *sample)
{
	const double factor = throttle->steps == 0 ? DIVERGES : AIM;

	return !is_above(sample->dirty_bytes_per_s, sample->copy_bytes_per_s, factor) &&
	       sample->stalled_rounds < GW_THROTTLE_STALLED_ROUNDS;
}

/* What the next step goes down from. */
static uint64_t base(const struct gw_throttle *throttle, const struct gw_throttle_sample *sample)
{
	uint64_t bytes_per_s = sample->knows_cgroup ? sample->cgroup_bytes_per_s :
						      sample->write_bytes_per_s;
	const uint64_t bound = throttle->steps > 0 ? throttle->limit_bytes_per_s :
						     throttle->former_bytes_per_s;

	if (bound != 0 && bound < bytes_per_s)
		bytes_per_s = bound;
	return bytes_per_s;
}

static uint64_t step_down(uint64_t from_bytes_per_s, const struct gw_throttle_sample *sample)
{
	double factor = sample->dirty_bytes_per_s == 0 ? STEP_LEAST :
			AIM * (double)sample->copy_bytes_per_s / (double)sample->dirty_bytes_per_s;
	uint64_t bytes_per_s;

	if (factor < STEP_MOST)
		factor = STEP_MOST;
	if (factor > STEP_LEAST)
		factor = STEP_LEAST;
	bytes_per_s = (uint64_t)((double)from_bytes_per_s * factor);
	return bytes_per_s < GW_THROTTLE_FLOOR_BYTES_PER_S ? GW_THROTTLE_FLOOR_BYTES_PER_S :
							     bytes_per_s;
}

static enum gw_throttle_verdict lower(const struct gw_throttle *throttle,
				      const struct gw_throttle_sample *sample,
				      uint64_t *bytes_per_s, char *why, size_t why_bytes)
{
	char to[GW_UNIT_TEXT_BYTES], from[GW_UNIT_TEXT_BYTES], dirty[GW_UNIT_TEXT_BYTES],
		copy[GW_UNIT_TEXT_BYTES];
	const uint64_t from_bytes_per_s = base(throttle, sample);
	const uint64_t bound = throttle->steps > 0 ? throttle->limit_bytes_per_s :
						     throttle->former_bytes_per_s;

	*bytes_per_s = step_down(from_bytes_per_s, sample);
	if (from_bytes_per_s <= GW_THROTTLE_FLOOR_BYTES_PER_S ||
	    (bound != 0 && *bytes_per_s >= bound))
		return give_up(sample, throttle->steps > 0 ?
			       "it was not enough, and a lower limit would all but stop them" :
			       "they write so little that a limit would all but stop them",
			       why, why_bytes);
	snprintf(why, why_bytes,
		 "throttling the writers to %s, they wrote %s: rounds do not converge, %s are dirtied, %s are copied%s",
		 gw_format_rate(to, *bytes_per_s), gw_format_rate(from, from_bytes_per_s),
		 gw_format_rate(dirty, sample->dirty_bytes_per_s),
		 gw_format_rate(copy, sample->copy_bytes_per_s),
		 sample->stalled_rounds >= GW_THROTTLE_STALLED_ROUNDS ?
			 ", and the last rounds left no less than those before" : "");
	return GW_THROTTLE_LOWER;
}

enum gw_throttle_verdict gw_throttle_judge(struct gw_throttle *throttle,
					   const struct gw_throttle_sample *sample,
					   uint64_t *bytes_per_s, char *why, size_t why_bytes)
{
	if (throttle->has_given_up || sample->elapsed_ns < GW_THROTTLE_SETTLE_NS)
		return GW_THROTTLE_KEEP;
	if (throttle->steps > 0)
		throttle->write_after_bytes_per_s = sample->write_bytes_per_s;
	if (sample->fits || converges(throttle, sample))
		return GW_THROTTLE_KEEP;
	if (has_no_effect(throttle, sample))
		return give_up(sample, "it would have no effect, what is written to the source does "
			       "not come from the cgroup, or comes through the page cache",
			       why, why_bytes);
	if (!sample->could_fit)
		return give_up(sample, "it would not help, sync, flush and commit alone take longer than "
			       "--downtime-limit", why, why_bytes);
	return lower(throttle, sample, bytes_per_s, why, why_bytes);
}

void gw_throttle_step(struct gw_throttle *throttle, uint64_t bytes_per_s,
		      uint64_t write_bytes_per_s, uint64_t now_ns)
{
	assert(bytes_per_s >= GW_THROTTLE_FLOOR_BYTES_PER_S);
	assert(throttle->limit_bytes_per_s == 0 || bytes_per_s < throttle->limit_bytes_per_s);
	assert(throttle->former_bytes_per_s == 0 || bytes_per_s < throttle->former_bytes_per_s);
	if (throttle->steps == 0)
		throttle->write_before_bytes_per_s = write_bytes_per_s;
	if (throttle->limit_bytes_per_s == 0)
		throttle->began_ns = now_ns;
	throttle->steps++;
	throttle->steps_in_all++;
	throttle->limit_bytes_per_s = bytes_per_s;
	if (throttle->lowest_bytes_per_s == 0 || bytes_per_s < throttle->lowest_bytes_per_s)
		throttle->lowest_bytes_per_s = bytes_per_s;
}

void gw_throttle_end(struct gw_throttle *throttle, uint64_t now_ns)
{
	if (throttle->limit_bytes_per_s == 0)
		return;
	throttle->throttled_ns = gw_throttle_time_ns(throttle, now_ns);
	throttle->limit_bytes_per_s = 0;
}

void gw_throttle_anew(struct gw_throttle *throttle)
{
	if (throttle->limit_bytes_per_s != 0)
		return;
	throttle->steps = 0;
	throttle->has_given_up = false;
}

uint64_t gw_throttle_time_ns(const struct gw_throttle *throttle, uint64_t now_ns)
{
	return throttle->throttled_ns +
	       (throttle->limit_bytes_per_s != 0 ? now_ns - throttle->began_ns : 0);
}

// SPDX-License-Identifier: GPL-2.0-or-later
#include "planner.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "clock.h"
#include "units.h"

/* A round that copied less says more about its set-up than about the rate. */
#define RATE_BYTES_MIN (UINT64_C(256) << 10)

/* Another round within the limit is worth it if it makes the blackout shorter by so much. */
#define GAIN_PART 8			/* an eighth of it */
#define GAIN_NS_MIN (GW_NS_PER_MS / 2)
/* How long it may go on with such rounds. */
#define PATIENCE_ROUNDS 5
#define PATIENCE_NS (2 * GW_NS_PER_S)

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

void gw_planner_round_done(struct gw_planner *planner, const struct gw_planner_round *round)
{
	if (round->copied_bytes >= RATE_BYTES_MIN || planner->copy_bytes_per_s == 0) {
		planner->copy_bytes_per_s = per_second(round->copied_bytes, round->elapsed_ns);
		planner->full_bytes_per_s = per_second(round->copied_bytes, round->busy_ns);
	}
	planner->dirty_bytes_per_s = per_second(round->fresh_bytes, round->elapsed_ns);
	if (planner->fits_since_ns != 0)
		planner->rounds_since++;
}

/* Nobody is there to be slowed down in a last round: it is not paced. */
static uint64_t last_bytes_per_s(const struct gw_planner *planner)
{
	return planner->full_bytes_per_s > planner->copy_bytes_per_s ?
	       planner->full_bytes_per_s : planner->copy_bytes_per_s;
}

uint64_t gw_planner_predict_ns(const struct gw_planner *planner, uint64_t left_bytes)
{
	/* Synced records: what was settled, if anything was left; the commit; the switch. */
	const uint64_t records = left_bytes > 0 ? 3 : 2;
	uint64_t ns = GW_PLANNER_SWITCH_NS + planner->sync_ns + planner->flush_ns +
		      records * planner->commit_ns;

	ns += (left_bytes >> 20) * planner->verify_ns_per_mib;
	if (left_bytes > 0)
		ns += last_bytes_per_s(planner) > 0 ?
			      time_for(left_bytes, last_bytes_per_s(planner)) : INT64_MAX / 2;
	return ns;
}

bool gw_planner_is_hopeless(const struct gw_planner *planner, char *text, size_t text_bytes)
{
	const uint64_t fixed_ns = gw_planner_predict_ns(planner, 0);
	char time[GW_UNIT_TEXT_BYTES];

	if (fixed_ns <= planner->limits.downtime_ns)
		return false;
	snprintf(text, text_bytes, "sync, flush, records and switch alone take about %s: such a "
		 "limit cannot be kept", gw_format_duration(time, fixed_ns));
	return true;
}

uint64_t gw_planner_hold_bytes(const struct gw_planner *planner)
{
	return (uint64_t)((double)last_bytes_per_s(planner) *
			  ((double)planner->limits.downtime_ns / 2 / (double)GW_NS_PER_S));
}

/* One more round: how long it takes, and the blackout after it. */
struct outlook {
	uint64_t round_ns, blackout_ns;
};

static struct outlook look_ahead(const struct gw_planner *planner,
				 const struct gw_planner_left *left)
{
	const uint64_t round_bytes = left->pending_bytes - left->held_bytes;
	struct outlook ahead = { planner->flush_ns + planner->commit_ns, 0 };
	double fresh_bytes;

	if (round_bytes > 0)
		ahead.round_ns += time_for(round_bytes, planner->copy_bytes_per_s);
	fresh_bytes = (double)planner->dirty_bytes_per_s * (double)ahead.round_ns /
		      (double)GW_NS_PER_S;
	if (fresh_bytes > (double)round_bytes)
		fresh_bytes = (double)round_bytes;
	ahead.blackout_ns = gw_planner_predict_ns(planner,
						  left->held_bytes + (uint64_t)fresh_bytes);
	return ahead;
}

/* Is it no minimum yet, and does it cost little to get nearer? Only asked when the limit is kept. */
static bool is_worth_a_round(struct gw_planner *planner, const struct gw_planner_left *left,
			     uint64_t predicted_ns, uint64_t now_ns, struct outlook *ahead)
{
	uint64_t gain_ns;

	if (planner->fits_since_ns == 0) {
		planner->fits_since_ns = now_ns;
		planner->rounds_since = 0;
	}
	if (left->pending_bytes == left->held_bytes || planner->copy_bytes_per_s == 0 ||
	    planner->rounds_since >= PATIENCE_ROUNDS)
		return false;
	*ahead = look_ahead(planner, left);
	if (ahead->blackout_ns >= predicted_ns ||
	    now_ns - planner->fits_since_ns + ahead->round_ns > PATIENCE_NS)
		return false;
	gain_ns = predicted_ns - ahead->blackout_ns;
	return gain_ns >= GAIN_NS_MIN && gain_ns >= predicted_ns / GAIN_PART;
}

static bool is_last_round(const struct gw_planner *planner)
{
	return planner->limits.max_rounds != 0 &&
	       planner->round - planner->rounds_free >= planner->limits.max_rounds;
}

enum gw_plan gw_planner_decide(struct gw_planner *planner, const struct gw_planner_left *left,
			       uint64_t now_ns, char *why, size_t why_bytes)
{
	const uint64_t predicted_ns = gw_planner_predict_ns(planner, left->pending_bytes);
	char bytes[GW_UNIT_TEXT_BYTES], rate[GW_UNIT_TEXT_BYTES], time[GW_UNIT_TEXT_BYTES],
		limit[GW_UNIT_TEXT_BYTES], then[GW_UNIT_TEXT_BYTES], more[GW_UNIT_TEXT_BYTES],
		fixed[GW_PLANNER_FIXED_BYTES] = "";
	struct outlook ahead;
	bool hopeless;

	gw_format_bytes(bytes, left->pending_bytes);
	gw_format_rate(rate, last_bytes_per_s(planner));
	gw_format_duration(time, predicted_ns);
	gw_format_duration(limit, planner->limits.downtime_ns);
	if (predicted_ns <= planner->limits.downtime_ns) {
		if (!is_last_round(planner) &&
		    is_worth_a_round(planner, left, predicted_ns, now_ns, &ahead)) {
			snprintf(why, why_bytes, "another round of about %s: %s left, predicted "
				 "blackout %s within %s, and about %s after it",
				 gw_format_duration(more, ahead.round_ns), bytes, time, limit,
				 gw_format_duration(then, ahead.blackout_ns));
			return GW_PLAN_ROUND;
		}
		snprintf(why, why_bytes, "switching: %s left, %s, predicted %s of %s", bytes, rate,
			 time, limit);
		return GW_PLAN_FINAL;
	}
	planner->fits_since_ns = 0;
	hopeless = gw_planner_is_hopeless(planner, fixed, sizeof(fixed));
	if (is_last_round(planner)) {
		snprintf(why, why_bytes,
			 "giving up after %u rounds: %s left, %s, predicted blackout %s, limit %s%s%s",
			 planner->round, bytes, rate, time, limit, hopeless ? "; " : "", fixed);
		return GW_PLAN_GIVE_UP;
	}
	snprintf(why, why_bytes, "another round: %s left, %s, predicted blackout %s, limit %s%s%s",
		 bytes, rate, time, limit, hopeless ? "; " : "", fixed);
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

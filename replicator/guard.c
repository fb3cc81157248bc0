// SPDX-License-Identifier: GPL-2.0-or-later
#include "guard.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "clock.h"
#include "units.h"

#define MIB (UINT64_C(1) << 20)

#define START_BYTES_PER_S (8 * MIB)
#define STEP_BYTES_PER_S_MIN MIB
#define STEPS_OF_A_KNEE 16
#define IOS_MIN 40			/* however large the share that is allowed */
#define SLOW_MIN 10			/* a fair judgement takes I/Os of which so many may be slow */
#define ALARM_SIGMA 4			/* slow ones come in clusters: one hiccup delays several */
#define RAISE_NS (50 * GW_NS_PER_MS)	/* a raise is felt before the next one */
#define PATIENCE_NS (500 * GW_NS_PER_MS)	/* few I/Os, none too many of them slow: that will do for doubling */
#define FAIR_NS GW_NS_PER_S		/* ... and for a fair judgement */
#define IDLE_NS (100 * GW_NS_PER_MS)	/* no I/O at all */
#define SETTLE_NS (40 * GW_NS_PER_MS)	/* after a cut: what was queued before it still ends */
#define LEDGER_NS (5 * GW_NS_PER_S)
#define BUDGET_PART 0.9			/* of what may be slow is given away */
#define SPARE_PART 0.5
#define SPARE_STEPS 4
#define USED_NS (200 * GW_NS_PER_MS)	/* a copier that gets faster shows within this, ... */
#define UNUSED_NS GW_NS_PER_S		/* ... one that gets slower within this: it may have stood in a queue */
#define CANNOT_NS (2 * GW_NS_PER_S)
#define PAUSE_NS (300 * GW_NS_PER_MS)	/* the copier stands still, to see what is slow without it */
#define PAUSE_NS_MAX GW_NS_PER_S
#define PAUSE_EVERY_NS (5 * GW_NS_PER_S)	/* while others' slow ones are forgiven: they may have stopped */
#define PAUSE_AGAIN_NS (20 * GW_NS_PER_S)	/* at the floor, where it was the copier's doing, or is only told */
#define FORGIVEN_PART 4		/* a pause is short: each is a quarter of what is believed */
#define FORGIVEN_MOST 1.25		/* of what was found at the floor: the copier's own late effects are not */
#define CLUSTER 6			/* others' slow ones come in rows of so many, too */
#define FACTOR_MILLI_MAX 1000000

/* ---- what is asked ---- */

static const struct quantile {
	const char *name;
	uint32_t ppm;
} quantiles[] = {
	{ "p50", 500000 }, { "p90", 900000 }, { "p95", 950000 }, { "p99", 990000 },
	{ "p99.9", 999000 },
};

#define QUANTILES (sizeof(quantiles) / sizeof(quantiles[0]))
#define QUANTILE_DEFAULT_PPM 990000

const char *gw_guard_quantile_name(uint32_t quantile_ppm)
{
	for (size_t i = 0; i < QUANTILES; i++)
		if (quantiles[i].ppm == quantile_ppm)
			return quantiles[i].name;
	return "p?";
}

/* "2x", "1.25x": digits, at most three of them behind a point. */
static int parse_factor(const char *text, uint32_t *factor_milli)
{
	uint64_t milli = 0;
	int behind = -1;		/* digits behind the point; -1: it has not come */

	if (*text < '0' || *text > '9')
		return -EINVAL;
	for (; *text != 'x'; text++) {
		if (*text == '.' && behind < 0) {
			behind = 0;
			continue;
		}
		if (*text < '0' || *text > '9' || behind == 3 || milli > FACTOR_MILLI_MAX)
			return -EINVAL;
		milli = milli * 10 + (uint64_t)(*text - '0');
		behind += behind >= 0;
	}
	if (text[1] != '\0' || behind == 0)
		return -EINVAL;
	for (int i = behind < 0 ? 0 : behind; i < 3; i++)
		milli *= 10;
	if (milli <= 1000 || milli > FACTOR_MILLI_MAX)
		return -EINVAL;
	*factor_milli = (uint32_t)milli;
	return 0;
}

int gw_guard_parse(struct gw_guard_spec *spec, const char *text)
{
	struct gw_guard_spec new = { .quantile_ppm = QUANTILE_DEFAULT_PPM };
	const char *const equals = strchr(text, '=');
	size_t i = 0;

	if (strcmp(text, "off") == 0) {
		*spec = new;
		return 0;
	}
	if (equals != NULL) {
		const size_t length = (size_t)(equals - text);

		while (i < QUANTILES && (strlen(quantiles[i].name) != length ||
					 strncmp(quantiles[i].name, text, length) != 0))
			i++;
		if (i == QUANTILES)
			return -EINVAL;
		new.quantile_ppm = quantiles[i].ppm;
		text = equals + 1;
	}
	if (parse_factor(text, &new.factor_milli) == 0)
		new.kind = GW_GUARD_FACTOR;
	else if (equals != NULL && gw_parse_duration(text, &new.limit_ns) == 0 &&
		 new.limit_ns != 0)
		new.kind = GW_GUARD_TIME;
	else
		return -EINVAL;
	*spec = new;
	return 0;
}

/* ---- how many I/Os it takes ---- */

uint32_t gw_guard_ios_min(uint32_t allowed_ppm)
{
	const uint32_t one_slow = (GW_PPM + allowed_ppm - 1) / allowed_ppm;

	return one_slow > IOS_MIN ? one_slow : IOS_MIN;
}

uint64_t gw_guard_ios_per_s_min(uint32_t allowed_ppm)
{
	/* Seen at the tick after they ended. */
	const uint64_t ns = GW_GUARD_REACTION_NS - GW_GUARD_TICK_NS;

	return (gw_guard_ios_min(allowed_ppm) * GW_NS_PER_S + ns - 1) / ns;
}

/* ---- the rate ---- */

static uint64_t bounded(const struct gw_guard *guard, double rate_bytes_per_s)
{
	uint64_t rate = rate_bytes_per_s < 1e18 ? (uint64_t)rate_bytes_per_s : UINT64_C(1) << 59;

	if (guard->ceiling_bytes_per_s != 0 && rate > guard->ceiling_bytes_per_s)
		rate = guard->ceiling_bytes_per_s;
	if (rate < guard->floor_bytes_per_s)
		rate = guard->floor_bytes_per_s;
	return rate;
}

static void set_rate(struct gw_guard *guard, double rate_bytes_per_s)
{
	const uint64_t rate = bounded(guard, rate_bytes_per_s);

	guard->rate_bytes_per_s = rate;
	if (rate < guard->counts.low_bytes_per_s)
		guard->counts.low_bytes_per_s = rate;
	if (rate > guard->counts.high_bytes_per_s)
		guard->counts.high_bytes_per_s = rate;
}

void gw_guard_start(struct gw_guard *guard, uint32_t quantile_ppm,
		    const uint64_t limit_ns[GW_LATENCY_KINDS], uint64_t floor_bytes_per_s,
		    uint64_t ceiling_bytes_per_s, uint64_t now_ns)
{
	assert(quantile_ppm > 0);
	assert(quantile_ppm < GW_PPM);
	assert(floor_bytes_per_s > 0);
	memset(guard, 0, sizeof(*guard));
	memcpy(guard->limit_ns, limit_ns, sizeof(guard->limit_ns));
	guard->allowed_ppm = GW_PPM - quantile_ppm;
	guard->floor_bytes_per_s = floor_bytes_per_s;
	guard->ceiling_bytes_per_s = ceiling_bytes_per_s;
	guard->counts.low_bytes_per_s = UINT64_MAX;
	guard->window_began_ns = guard->fed_ns = guard->settled_ns = now_ns;
	set_rate(guard, START_BYTES_PER_S);
}

void gw_guard_set_bounds(struct gw_guard *guard, uint64_t floor_bytes_per_s,
			 uint64_t ceiling_bytes_per_s)
{
	assert(floor_bytes_per_s > 0);
	guard->floor_bytes_per_s = floor_bytes_per_s;
	guard->ceiling_bytes_per_s = ceiling_bytes_per_s;
	set_rate(guard, (double)guard->rate_bytes_per_s);
}

static void begin_window(struct gw_guard *guard, uint64_t now_ns)
{
	memset(guard->window, 0, sizeof(guard->window));
	guard->window_began_ns = now_ns;
}

/* What came before says nothing of what comes. */
static void begin_anew(struct gw_guard *guard, uint64_t now_ns)
{
	memset(guard->last, 0, sizeof(guard->last));
	begin_window(guard, now_ns);
}

void gw_guard_skip(struct gw_guard *guard, uint64_t now_ns)
{
	begin_anew(guard, now_ns);
	guard->fed_ns = now_ns;
	guard->slow_at_floor_ns = 0;
	guard->is_pausing = false;
}

/* ---- judging ---- */

static void see_used(struct gw_guard *guard, double copied_bytes, double elapsed_ns)
{
	double now_bytes_per_s, span_ns;

	if (elapsed_ns <= 0)
		return;
	now_bytes_per_s = copied_bytes * 1e9 / elapsed_ns;
	span_ns = now_bytes_per_s > guard->used_bytes_per_s ? (double)USED_NS : (double)UNUSED_NS;
	guard->used_bytes_per_s += (elapsed_ns < span_ns ? elapsed_ns / span_ns : 1) *
				   (now_bytes_per_s - guard->used_bytes_per_s);
}

static void add(struct gw_guard_share *sum, const struct gw_guard_share *share)
{
	sum->ios += share->ios;
	sum->above += share->above;
	sum->slow_samples += share->slow_samples;
}

static void see(struct gw_guard *guard, const struct gw_guard_sample *sample)
{
	const double elapsed_ns = (double)(sample->now_ns - guard->fed_ns);
	const double fading = elapsed_ns < (double)LEDGER_NS ? 1 - elapsed_ns / (double)LEDGER_NS : 0;
	for (int kind = 0; kind < GW_LATENCY_KINDS; kind++) {
		struct gw_guard_share *const window = &guard->window[kind];
		struct gw_guard_share *const ledger = &guard->ledger[kind];
		const struct gw_guard_share now = {
			(double)sample->ios[kind], (double)sample->above[kind],
			sample->above[kind] != 0,
		};

		if (guard->limit_ns[kind] == 0)
			continue;
		add(window, &now);
		guard->recent[kind] = guard->last[kind];
		add(&guard->recent[kind], &now);
		guard->last[kind] = now;
		ledger->ios = ledger->ios * fading + now.ios;
		ledger->above = ledger->above * fading + now.above;
		guard->counts.ios += sample->ios[kind];
		guard->counts.above += sample->above[kind];
	}
	see_used(guard, (double)sample->copied_bytes, elapsed_ns);
	guard->fed_ns = sample->now_ns;
}

/* So many may be slow; of what is not forgiven, that part. */
static double expected_of(const struct gw_guard *guard, int kind, double ios, double part)
{
	return ios * (guard->forgiven[kind] + part * guard->allowed_ppm / GW_PPM);
}

/* Of what is forgiven nobody knows better how it comes. */
static double variance_of(const struct gw_guard *guard, int kind, double ios)
{
	return ios * (CLUSTER * guard->forgiven[kind] + (double)guard->allowed_ppm / GW_PPM);
}

/*
 * So many more slow ones than there may be that it is no chance, early as it is, and no single
 * hiccup. Of fewer I/Os than a judgement needs, so many are too many whatever the others will be.
 */
static bool is_alarming(const struct gw_guard *guard, const struct gw_guard_share *share, int kind)
{
	const double ios_min = gw_guard_ios_min(guard->allowed_ppm);
	const double ios = share->ios > ios_min ? share->ios : ios_min;
	const double beyond = share->above - expected_of(guard, kind, ios, 1);
	const double variance = variance_of(guard, kind, ios) *
				(GW_PPM - guard->allowed_ppm) / GW_PPM;

	return share->slow_samples >= 2 && beyond > 0 &&
	       beyond * beyond > ALARM_SIGMA * ALARM_SIGMA * variance;
}

/* More of them than may be, of I/Os enough; but for what is chance. */
static bool is_too_much(const struct gw_guard *guard, const struct gw_guard_share *share, int kind)
{
	const double beyond = share->above - expected_of(guard, kind, share->ios, 1);

	return beyond > 0 && beyond * beyond > variance_of(guard, kind, share->ios);
}

/* Clearly fewer of them than may be. */
static bool is_good(const struct gw_guard *guard)
{
	for (int kind = 0; kind < GW_LATENCY_KINDS; kind++)
		if (guard->window[kind].above >
		    expected_of(guard, kind, guard->window[kind].ios, 0.8))
			return false;
	return true;
}

/* More than this part of what may be was slow in the last seconds. */
static bool is_over(const struct gw_guard *guard, double part)
{
	for (int kind = 0; kind < GW_LATENCY_KINDS; kind++) {
		const struct gw_guard_share *const ledger = &guard->ledger[kind];

		if (ledger->ios >= gw_guard_ios_min(guard->allowed_ppm) &&
		    ledger->above > expected_of(guard, kind, ledger->ios, part))
			return true;
	}
	return false;
}

static bool is_over_budget(const struct gw_guard *guard)
{
	return is_over(guard, BUDGET_PART);
}

/* Each kind that comes at all has come so often. */
static bool has_ios(const struct gw_guard *guard, double ios_min)
{
	for (int kind = 0; kind < GW_LATENCY_KINDS; kind++)
		if (guard->window[kind].ios > 0 && guard->window[kind].ios < ios_min)
			return false;
	return true;
}

static bool is_nobody_there(const struct gw_guard *guard)
{
	return guard->window[GW_LATENCY_READ].ios + guard->window[GW_LATENCY_WRITE].ios == 0;
}

/* Still looking for the rate that hurts, or on the way back to where it was. */
static bool is_doubling(const struct gw_guard *guard)
{
	return guard->knee_bytes_per_s == 0 ||
	       guard->rate_bytes_per_s * 2 <= guard->knee_bytes_per_s;
}

/* Enough I/Os, or time enough for those that come. */
static bool is_judged(const struct gw_guard *guard, uint64_t elapsed_ns, uint32_t judgements,
		      uint64_t patience_ns)
{
	if (is_nobody_there(guard))
		return elapsed_ns >= IDLE_NS;
	return elapsed_ns >= patience_ns ||
	       (elapsed_ns >= RAISE_NS &&
		has_ios(guard, (double)judgements * gw_guard_ios_min(guard->allowed_ppm)));
}

/* The worst of the kinds that are found guilty, of these shares of each; -1: none is. */
static int find_worst(const struct gw_guard *guard, const struct gw_guard_share *shares,
		      bool (*is_guilty)(const struct gw_guard *, const struct gw_guard_share *, int))
{
	double worst = 0;
	int found = -1;

	for (int kind = 0; kind < GW_LATENCY_KINDS; kind++) {
		const struct gw_guard_share *const share = &shares[kind];

		if (guard->limit_ns[kind] == 0 || !is_guilty(guard, share, kind) ||
		    share->above / share->ios <= worst)
			continue;
		worst = share->above / share->ios;
		found = kind;
	}
	return found;
}

static double within(double value, double least, double most)
{
	return value < least ? least : value > most ? most : value;
}

/*
 * Up to where the rate is doubled after a cut from this one. A cut that was deeper than half is
 * made up for at once. As long as the budget is kept the whole rate comes back: a hiccup
 * would else cost as much as a rate that is too high, which overdraws the budget when it does it again.
 */
static uint64_t knee_after_cut(const struct gw_guard *guard, double rate_before)
{
	double knee = (double)guard->rate_bytes_per_s;

	if (knee < rate_before / 2)
		knee = rate_before / 2;
	if (is_over_budget(guard))
		return (uint64_t)knee;
	if (knee < rate_before)
		knee = rate_before;
	return knee < (double)guard->knee_bytes_per_s ? guard->knee_bytes_per_s : (uint64_t)knee;
}

/* Keeps the part of the rate that would have made as many slow as may be, within bounds. */
static enum gw_guard_step cut(struct gw_guard *guard, const struct gw_guard_share *shares,
			      int kind, double least, double most)
{
	const struct gw_guard_share *const share = &shares[kind];
	const double keep = within(expected_of(guard, kind, share->ios, 1) / share->above, least, most);
	const uint64_t before = guard->rate_bytes_per_s, now_ns = guard->fed_ns;
	double rate = (double)before;

	guard->judged = *share;
	guard->judged_kind = kind;
	/* What was not used did no harm. */
	if (rate > 1.25 * guard->used_bytes_per_s)
		rate = 1.25 * guard->used_bytes_per_s;
	if (before > guard->floor_bytes_per_s)
		guard->slow_at_floor_ns = 0;
	else if (guard->slow_at_floor_ns == 0)
		guard->slow_at_floor_ns = now_ns;
	guard->cannot = guard->cannot || (guard->slow_at_floor_ns != 0 &&
					  now_ns - guard->slow_at_floor_ns >= CANNOT_NS);
	set_rate(guard, rate * keep);
	guard->knee_bytes_per_s = knee_after_cut(guard, rate);
	guard->settled_ns = now_ns + SETTLE_NS;
	guard->counts.cuts++;
	begin_anew(guard, now_ns);
	return guard->rate_bytes_per_s != before ? GW_GUARD_CUT : GW_GUARD_KEEP;
}

static enum gw_guard_step raise_rate(struct gw_guard *guard)
{
	const double rate = (double)guard->rate_bytes_per_s;
	const uint64_t before = guard->rate_bytes_per_s;
	double step;

	/* Twice the knee, and nobody is hurt: it was none. */
	if (guard->knee_bytes_per_s != 0 && before / 2 >= guard->knee_bytes_per_s)
		guard->knee_bytes_per_s = before;
	step = (double)guard->knee_bytes_per_s / STEPS_OF_A_KNEE;
	if (step < (double)STEP_BYTES_PER_S_MIN)
		step = (double)STEP_BYTES_PER_S_MIN;
	/* That far from too much: what was found at the knee is no longer so. */
	if (!is_over(guard, SPARE_PART) && step < rate / SPARE_STEPS)
		step = rate / SPARE_STEPS;
	if (is_doubling(guard))
		step = rate;
	set_rate(guard, rate + step);
	if (guard->rate_bytes_per_s == before)
		return GW_GUARD_KEEP;
	guard->counts.raises++;
	return GW_GUARD_RAISE;
}

/* The judgement was good, or nobody was there. */
static enum gw_guard_step reward(struct gw_guard *guard)
{
	if (is_over_budget(guard))
		return GW_GUARD_KEEP;
	guard->slow_at_floor_ns = 0;
	guard->cannot = false;
	if (is_nobody_there(guard))
		guard->knee_bytes_per_s = 0;
	/* A rate that nobody uses was not tried. */
	if (guard->used_bytes_per_s * 2 < (double)guard->rate_bytes_per_s)
		return GW_GUARD_KEEP;
	return raise_rate(guard);
}

/* ---- whose doing it is ---- */

static bool is_pause_due(const struct gw_guard *guard)
{
	return guard->fed_ns >= guard->next_pause_ns &&
	       (guard->cannot || guard->forgiven[GW_LATENCY_READ] > 0 ||
		guard->forgiven[GW_LATENCY_WRITE] > 0);
}

static void begin_pause(struct gw_guard *guard)
{
	memset(guard->paused, 0, sizeof(guard->paused));
	guard->is_pausing = true;
	guard->pause_began_ns = guard->fed_ns;
}

/* Return: the share that is slow at least, as far as chance goes; 0 if too few came to tell. */
static double least_share(const struct gw_guard *guard, const struct gw_guard_share *share)
{
	const double spread = CLUSTER * share->above * 4;
	double least = share->above;

	if (share->ios < gw_guard_ios_min(guard->allowed_ppm) || share->above * share->above <= spread)
		return 0;
	/* Two standard deviations less: the root by halving. */
	for (double step = share->above / 2; step > 0.5; step /= 2) {
		const double below = share->above - (least - step);

		if (below * below <= spread)
			least -= step;
	}
	return least > 0 ? least / share->ios : 0;
}

/* More than may be, for sure; the share itself is the likeliest one, evened out over the pauses. */
static void forgive(struct gw_guard *guard, int kind)
{
	const struct gw_guard_share *const paused = &guard->paused[kind];
	double *const forgiven = &guard->forgiven[kind];
	double share;

	if (least_share(guard, paused) * GW_PPM <= guard->allowed_ppm) {
		*forgiven = 0;
		return;
	}
	guard->is_anothers = true;
	guard->anothers_kind = kind;
	if (!guard->may_forgive)
		return;
	share = paused->above / paused->ios;
	if (guard->cannot) {
		*forgiven = share;
		guard->forgiven_most[kind] = share * FORGIVEN_MOST;
	} else {
		*forgiven += (share - *forgiven) / FORGIVEN_PART;
	}
	if (*forgiven > guard->forgiven_most[kind])
		*forgiven = guard->forgiven_most[kind];
}

/* The copier stood still: what was slow was not its doing. */
static void end_pause(struct gw_guard *guard)
{
	guard->is_pausing = guard->is_anothers = false;
	for (int kind = 0; kind < GW_LATENCY_KINDS; kind++)
		forgive(guard, kind);
	guard->next_pause_ns = guard->fed_ns + (guard->may_forgive && guard->is_anothers ?
						PAUSE_EVERY_NS : PAUSE_AGAIN_NS);
	/* What was found by another measure says nothing. */
	if (guard->cannot && guard->may_forgive && guard->is_anothers) {
		guard->cannot = false;
		guard->knee_bytes_per_s = 0;
		memset(guard->ledger, 0, sizeof(guard->ledger));
	}
	guard->slow_at_floor_ns = 0;
	begin_anew(guard, guard->fed_ns);
}

static void see_pause(struct gw_guard *guard, const struct gw_guard_sample *sample)
{
	const uint64_t elapsed_ns = sample->now_ns - guard->pause_began_ns;
	bool has_enough = true;

	guard->fed_ns = sample->now_ns;
	for (int kind = 0; kind < GW_LATENCY_KINDS; kind++) {
		if (guard->limit_ns[kind] == 0)
			continue;
		guard->counts.ios += sample->ios[kind];
		guard->counts.above += sample->above[kind];
		/* What the copier had in flight still ends. */
		if (elapsed_ns <= SETTLE_NS)
			continue;
		guard->paused[kind].ios += (double)sample->ios[kind];
		guard->paused[kind].above += (double)sample->above[kind];
		has_enough = has_enough && guard->paused[kind].ios >=
				(double)SLOW_MIN * gw_guard_ios_min(guard->allowed_ppm);
	}
	if (elapsed_ns >= PAUSE_NS_MAX || (elapsed_ns >= PAUSE_NS && has_enough))
		end_pause(guard);
}

enum gw_guard_step gw_guard_feed(struct gw_guard *guard, const struct gw_guard_sample *sample)
{
	enum gw_guard_step step = GW_GUARD_KEEP;
	uint64_t elapsed_ns;
	bool is_fair;
	int kind;

	if (guard->is_pausing) {
		see_pause(guard, sample);
		return GW_GUARD_KEEP;
	}
	see(guard, sample);
	if (is_pause_due(guard)) {
		begin_pause(guard);
		return GW_GUARD_KEEP;
	}
	if (guard->fed_ns < guard->settled_ns) {
		begin_anew(guard, guard->fed_ns);
		return GW_GUARD_KEEP;
	}
	kind = find_worst(guard, guard->recent, is_alarming);
	if (kind >= 0)
		return cut(guard, guard->recent, kind, 0.25, 0.75);
	elapsed_ns = guard->fed_ns - guard->window_began_ns;
	is_fair = is_judged(guard, elapsed_ns, SLOW_MIN, FAIR_NS);
	kind = find_worst(guard, guard->window, is_fair ? is_too_much : is_alarming);
	/* Too much once in a while is within the budget. */
	if (is_fair && !is_over_budget(guard))
		kind = -1;
	if (kind >= 0)
		return cut(guard, guard->window, kind, is_fair ? 0.5 : 0.25, is_fair ? 0.9 : 0.75);
	if (!is_fair && !(is_doubling(guard) && is_good(guard) &&
			  is_judged(guard, elapsed_ns, 1, PATIENCE_NS)))
		return GW_GUARD_KEEP;
	if (is_good(guard))
		step = reward(guard);
	begin_window(guard, guard->fed_ns);
	return step;
}

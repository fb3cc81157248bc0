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
#define IOS_MIN 20			/* however large the share that is allowed */
#define RAISE_NS (50 * GW_NS_PER_MS)	/* a raise is felt before the next one */
#define PATIENCE_NS (500 * GW_NS_PER_MS)	/* few I/Os, none of them slow: that will do */
#define IDLE_NS (100 * GW_NS_PER_MS)	/* no I/O at all */
#define SETTLE_NS (40 * GW_NS_PER_MS)	/* after a cut: what was queued before it still ends */
#define LEDGER_NS (5 * GW_NS_PER_S)
#define USED_NS (200 * GW_NS_PER_MS)
#define CANNOT_NS GW_NS_PER_S
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

void gw_guard_skip(struct gw_guard *guard, uint64_t now_ns)
{
	begin_window(guard, now_ns);
	guard->fed_ns = now_ns;
	guard->slow_at_floor_ns = 0;
}

/* ---- judging ---- */

static void see(struct gw_guard *guard, const struct gw_guard_sample *sample)
{
	const double elapsed_ns = (double)(sample->now_ns - guard->fed_ns);
	const double fading = elapsed_ns < (double)LEDGER_NS ? 1 - elapsed_ns / (double)LEDGER_NS : 0;
	const double weight = elapsed_ns < (double)USED_NS ? elapsed_ns / (double)USED_NS : 1;

	for (int kind = 0; kind < GW_LATENCY_KINDS; kind++) {
		struct gw_guard_share *const window = &guard->window[kind];
		struct gw_guard_share *const ledger = &guard->ledger[kind];

		if (guard->limit_ns[kind] == 0)
			continue;
		window->ios += (double)sample->ios[kind];
		window->above += (double)sample->above[kind];
		ledger->ios = ledger->ios * fading + (double)sample->ios[kind];
		ledger->above = ledger->above * fading + (double)sample->above[kind];
		guard->counts.ios += sample->ios[kind];
		guard->counts.above += sample->above[kind];
	}
	if (elapsed_ns > 0)
		guard->used_bytes_per_s += weight * ((double)sample->copied_bytes * 1e9 / elapsed_ns -
						     guard->used_bytes_per_s);
	guard->fed_ns = sample->now_ns;
}

/*
 * How many times more slow ones than there may be; 0 if that may be chance: a share of
 * `expected` varies by its square root. Of fewer I/Os than a judgement needs, so many slow
 * ones are too many already whatever the others will be.
 */
static double excess(const struct gw_guard *guard, const struct gw_guard_share *share)
{
	const double ios_min = gw_guard_ios_min(guard->allowed_ppm);
	const double ios = share->ios > ios_min ? share->ios : ios_min;
	const double expected = ios * guard->allowed_ppm / GW_PPM;
	const double beyond = share->above - expected;

	return beyond > 0 && beyond * beyond > expected ? share->above / expected : 0;
}

static bool is_over_budget(const struct gw_guard *guard)
{
	for (int kind = 0; kind < GW_LATENCY_KINDS; kind++) {
		const struct gw_guard_share *const ledger = &guard->ledger[kind];

		if (ledger->ios >= gw_guard_ios_min(guard->allowed_ppm) &&
		    ledger->above * GW_PPM > ledger->ios * guard->allowed_ppm)
			return true;
	}
	return false;
}

/* Enough I/Os of each kind that comes at all, or time enough for those that come. */
static bool is_judged(const struct gw_guard *guard, uint64_t elapsed_ns)
{
	const double ios_min = gw_guard_ios_min(guard->allowed_ppm);
	const double reads = guard->window[GW_LATENCY_READ].ios;
	const double writes = guard->window[GW_LATENCY_WRITE].ios;

	if (elapsed_ns < RAISE_NS)
		return false;
	if (reads == 0 && writes == 0)
		return elapsed_ns >= IDLE_NS;
	return elapsed_ns >= PATIENCE_NS ||
	       ((reads == 0 || reads >= ios_min) && (writes == 0 || writes >= ios_min));
}

static void cut(struct gw_guard *guard, double times_too_many, uint64_t now_ns)
{
	const double keep = times_too_many >= 4 ? 0.25 : times_too_many >= 2 ? 0.5 : 0.75;
	double rate = (double)guard->rate_bytes_per_s;

	/* What was not used did no harm. */
	if (rate > 1.25 * guard->used_bytes_per_s)
		rate = 1.25 * guard->used_bytes_per_s;
	if (guard->rate_bytes_per_s > guard->floor_bytes_per_s) {
		guard->slow_at_floor_ns = 0;
	} else if (guard->slow_at_floor_ns == 0) {
		guard->slow_at_floor_ns = now_ns;
	}
	set_rate(guard, rate * keep);
	/* A cut that was deeper than half is made up for at once. */
	guard->knee_bytes_per_s = rate / 2 > (double)guard->rate_bytes_per_s ?
				  (uint64_t)(rate / 2) : guard->rate_bytes_per_s;
	guard->settled_ns = now_ns + SETTLE_NS;
	guard->counts.cuts++;
}

static enum gw_guard_step raise_rate(struct gw_guard *guard)
{
	const double rate = (double)guard->rate_bytes_per_s;
	double step = (double)guard->knee_bytes_per_s / STEPS_OF_A_KNEE;
	uint64_t before = guard->rate_bytes_per_s;

	if (step < (double)STEP_BYTES_PER_S_MIN)
		step = (double)STEP_BYTES_PER_S_MIN;
	if (guard->knee_bytes_per_s == 0 || rate * 2 <= (double)guard->knee_bytes_per_s)
		step = rate;
	set_rate(guard, rate + step);
	if (guard->rate_bytes_per_s == before)
		return GW_GUARD_KEEP;
	guard->counts.raises++;
	return GW_GUARD_RAISE;
}

enum gw_guard_step gw_guard_feed(struct gw_guard *guard, const struct gw_guard_sample *sample)
{
	const uint64_t now_ns = sample->now_ns;
	enum gw_guard_step step = GW_GUARD_KEEP;
	double worst = -1;

	see(guard, sample);
	if (now_ns < guard->settled_ns) {
		begin_window(guard, now_ns);
		return GW_GUARD_KEEP;
	}
	for (int kind = 0; kind < GW_LATENCY_KINDS; kind++) {
		const double times = excess(guard, &guard->window[kind]);

		if (times <= worst || guard->limit_ns[kind] == 0)
			continue;
		worst = times;
		guard->judged = guard->window[kind];
		guard->judged_kind = kind;
	}
	if (worst > 0) {
		const uint64_t before = guard->rate_bytes_per_s;

		cut(guard, worst, now_ns);
		guard->cannot = guard->cannot || (guard->slow_at_floor_ns != 0 &&
						  now_ns - guard->slow_at_floor_ns >= CANNOT_NS);
		begin_window(guard, now_ns);
		return guard->rate_bytes_per_s != before ? GW_GUARD_CUT : GW_GUARD_KEEP;
	}
	if (!is_judged(guard, now_ns - guard->window_began_ns))
		return GW_GUARD_KEEP;
	if (!is_over_budget(guard)) {
		guard->slow_at_floor_ns = 0;
		guard->cannot = false;
		if (guard->window[GW_LATENCY_READ].ios + guard->window[GW_LATENCY_WRITE].ios == 0)
			guard->knee_bytes_per_s = 0;
		/* A rate that nobody uses was not tried. */
		if (guard->used_bytes_per_s * 2 >= (double)guard->rate_bytes_per_s)
			step = raise_rate(guard);
	}
	begin_window(guard, now_ns);
	return step;
}

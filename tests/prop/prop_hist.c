// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Histograms beside the plain list of what was recorded, sorted: quantiles within the
 * width of a bucket and never too low, shares above a limit, sums and differences.
 */
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "hist.h"

#define ROUNDS 300
#define VALUES_MAX 3000

static uint64_t state;
static uint64_t values[VALUES_MAX];
static int count;

static uint64_t random_below(uint64_t limit)
{
	uint64_t z = state += UINT64_C(0x9e3779b97f4a7c15);

	z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
	return (z ^ z >> 31) % limit;
}

static int compare(const void *a, const void *b)
{
	const uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

static uint64_t width(uint64_t ns)
{
	return ns / 32 > 64 ? ns / 32 : 64;
}

static bool is_near(const char *what, uint64_t got, uint64_t want)
{
	if (got >= want && got - want <= width(want))
		return true;
	printf("# %s: %" PRIu64 ", the model has %" PRIu64 "\n", what, got, want);
	return false;
}

static bool check_quantile(const struct gw_hist *hist, uint32_t share_ppm)
{
	/* The smallest rank that covers the share; the first value for a share of nothing. */
	uint64_t rank = ((uint64_t)count * share_ppm + GW_PPM - 1) / GW_PPM;

	return is_near("quantile", gw_hist_quantile_ns(hist, share_ppm),
		       values[rank > 0 ? rank - 1 : 0]);
}

/* Those well above are all in it, those not above are not; in between the bucket decides. */
static bool check_above(const struct gw_hist *hist, uint64_t limit_ns)
{
	const uint64_t above = gw_hist_above(hist, limit_ns);
	uint64_t least = 0, most = 0;

	for (int i = 0; i < count; i++) {
		least += values[i] > limit_ns + width(limit_ns);
		most += values[i] > limit_ns;
	}
	if (above >= least && above <= most)
		return true;
	printf("# above %" PRIu64 ": %" PRIu64 ", the model has %" PRIu64 " to %" PRIu64 "\n",
	       limit_ns, above, least, most);
	return false;
}

/* The same values, recorded in two halves. */
static bool check_sums(const struct gw_hist *hist, const struct gw_hist *half)
{
	static struct gw_hist rest, sum;

	gw_hist_since(&rest, hist, half);
	sum = *half;
	gw_hist_add(&sum, &rest);
	return rest.count == hist->count - half->count && memcmp(&sum, hist, sizeof(sum)) == 0;
}

static bool round_of(void)
{
	static struct gw_hist hist, half;
	const uint64_t magnitude = 1 + random_below(35);
	bool ok;

	memset(&hist, 0, sizeof(hist));
	count = 1 + (int)random_below(VALUES_MAX);
	for (int i = 0; i < count; i++) {
		values[i] = random_below(UINT64_C(1) << (1 + random_below(magnitude)));
		gw_hist_record(&hist, values[i]);
		if (i == count / 2)
			half = hist;
	}
	qsort(values, (size_t)count, sizeof(values[0]), compare);
	ok = hist.count == (uint64_t)count && check_sums(&hist, &half) &&
	     check_quantile(&hist, 0) && check_quantile(&hist, GW_PPM) &&
	     check_quantile(&hist, 500000) && check_quantile(&hist, 999000);
	for (int i = 0; ok && i < 50; i++)
		ok = check_quantile(&hist, (uint32_t)random_below(GW_PPM + 1)) &&
		     check_above(&hist, random_below(UINT64_C(1) << magnitude));
	return ok;
}

int main(void)
{
	const char *const seed = getenv("GW_SEED");
	bool ok = true;

	state = seed != NULL ? strtoull(seed, NULL, 0) : 1;
	printf("# GW_SEED=%" PRIu64 "\n", state);
	for (int i = 0; ok && i < ROUNDS; i++)
		ok = round_of();
	printf("%s - histograms agree with the sorted list\n", ok ? "ok" : "not ok");
	return ok ? EXIT_SUCCESS : EXIT_FAILURE;
}

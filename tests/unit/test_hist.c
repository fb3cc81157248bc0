// SPDX-License-Identifier: GPL-2.0-or-later
#include "hist.h"

#include <criterion/criterion.h>
#include <string.h>

#define SECOND UINT64_C(1000000000)

Test(hist, buckets_follow_each_other_without_a_gap)
{
	uint64_t next_ns = 0;

	for (uint32_t i = 0; i < GW_LATENCY_BUCKETS; i++) {
		const uint64_t last_ns = gw_hist_bucket_ns(i);

		cr_assert(gw_latency_bucket(next_ns) == i, "bucket %u begins at %llu", i,
			  (unsigned long long)next_ns);
		cr_assert(gw_latency_bucket(last_ns) == i);
		cr_assert(last_ns - next_ns < 64 || last_ns - next_ns < next_ns / 32);
		next_ns = last_ns + 1;
	}
	cr_expect(next_ns > 60 * SECOND, "a minute fits");
	cr_expect(gw_latency_bucket(next_ns) == GW_LATENCY_BUCKETS - 1);
	cr_expect(gw_latency_bucket(UINT64_MAX) == GW_LATENCY_BUCKETS - 1);
}

Test(hist, an_empty_one_has_no_quantiles)
{
	static const struct gw_hist empty;

	cr_expect(gw_hist_quantile_ns(&empty, 0) == 0);
	cr_expect(gw_hist_quantile_ns(&empty, 990000) == 0);
	cr_expect(gw_hist_quantile_ns(&empty, GW_PPM) == 0);
	cr_expect(gw_hist_above(&empty, 0) == 0);
}

Test(hist, a_quantile_is_never_below_the_true_one)
{
	static struct gw_hist hist;

	for (uint64_t us = 1; us <= 1000; us++)
		gw_hist_record(&hist, us * 1000);
	cr_expect(hist.count == 1000);
	cr_expect(gw_hist_quantile_ns(&hist, 500000) >= 500000);
	cr_expect(gw_hist_quantile_ns(&hist, 500000) <= 500000 + 500000 / 32);
	cr_expect(gw_hist_quantile_ns(&hist, 999000) >= 999000);
	cr_expect(gw_hist_quantile_ns(&hist, 999000) <= 999000 + 999000 / 32);
	cr_expect(gw_hist_quantile_ns(&hist, GW_PPM) >= 1000000);
	cr_expect(gw_hist_quantile_ns(&hist, 0) >= 1000, "the shortest");
	cr_expect(gw_hist_quantile_ns(&hist, 0) < 1064);
}

Test(hist, the_bucket_of_the_limit_is_not_above_it)
{
	static struct gw_hist hist;
	const uint64_t limit_ns = 2000000, last_ns = gw_hist_bucket_ns(gw_latency_bucket(limit_ns));

	gw_hist_record(&hist, limit_ns - 1);
	gw_hist_record(&hist, last_ns);
	cr_expect(gw_hist_above(&hist, limit_ns) == 0);
	gw_hist_record(&hist, last_ns + 1);
	gw_hist_record(&hist, UINT64_MAX);
	cr_expect(gw_hist_above(&hist, limit_ns) == 2);
	cr_expect(gw_hist_above(&hist, UINT64_MAX) == 0);
}

Test(hist, what_came_since_is_what_was_recorded_since)
{
	static struct gw_hist then, now, since, sum;

	gw_hist_record(&then, 100);
	gw_hist_record(&then, SECOND);
	now = then;
	gw_hist_record(&now, SECOND);
	gw_hist_record(&now, 5);
	gw_hist_since(&since, &now, &then);
	cr_expect(since.count == 2);
	cr_expect(since.buckets[gw_latency_bucket(SECOND)] == 1);
	cr_expect(since.buckets[gw_latency_bucket(5)] == 1);
	sum = then;
	gw_hist_add(&sum, &since);
	cr_expect(memcmp(&sum, &now, sizeof(sum)) == 0);
}

// SPDX-License-Identifier: GPL-2.0-or-later
#include "hist.h"

#include <assert.h>

void gw_hist_record(struct gw_hist *hist, uint64_t ns)
{
	hist->buckets[gw_latency_bucket(ns)]++;
	hist->count++;
}

void gw_hist_add(struct gw_hist *hist, const struct gw_hist *more)
{
	for (uint32_t i = 0; i < GW_LATENCY_BUCKETS; i++)
		hist->buckets[i] += more->buckets[i];
	hist->count += more->count;
}

void gw_hist_since(struct gw_hist *hist, const struct gw_hist *now, const struct gw_hist *then)
{
	hist->count = 0;
	for (uint32_t i = 0; i < GW_LATENCY_BUCKETS; i++) {
		assert(now->buckets[i] >= then->buckets[i]);
		hist->buckets[i] = now->buckets[i] - then->buckets[i];
		hist->count += hist->buckets[i];
	}
}

uint64_t gw_hist_bucket_ns(uint32_t bucket)
{
	const uint32_t steps = 1u << GW_LATENCY_STEP_SHIFT;
	const uint32_t octave = bucket < 2 * steps ? 0 : (bucket >> GW_LATENCY_STEP_SHIFT) - 1;
	const uint64_t units = (uint64_t)(bucket - (octave << GW_LATENCY_STEP_SHIFT)) + 1;

	assert(bucket < GW_LATENCY_BUCKETS);
	return (units << octave << GW_LATENCY_UNIT_SHIFT) - 1;
}

uint64_t gw_hist_quantile_ns(const struct gw_hist *hist, uint32_t share_ppm)
{
	const uint64_t wanted = (uint64_t)(((unsigned __int128)hist->count * share_ppm + GW_PPM - 1) /
					   GW_PPM);
	uint64_t seen = 0;

	assert(share_ppm <= GW_PPM);
	for (uint32_t i = 0; i < GW_LATENCY_BUCKETS; i++) {
		seen += hist->buckets[i];
		if (seen > 0 && seen >= wanted)
			return gw_hist_bucket_ns(i);
	}
	return 0;
}

uint64_t gw_hist_above(const struct gw_hist *hist, uint64_t limit_ns)
{
	uint64_t above = 0;

	for (uint32_t i = gw_latency_bucket(limit_ns) + 1; i < GW_LATENCY_BUCKETS; i++)
		above += hist->buckets[i];
	return above;
}

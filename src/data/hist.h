/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Histograms of latencies, in the buckets of godwit/bpf_abi.h. Pure arithmetic on
 * plain memory; what a percentile answers is at most 1/32 above the true one (below
 * 2 us: at most 64 ns), never below it.
 */
#ifndef GW_HIST_H
#define GW_HIST_H

#include <stdint.h>

#include <godwit/bpf_abi.h>

#define GW_PPM UINT32_C(1000000)

/* Zeroed is empty. */
struct gw_hist {
	uint64_t count;			/* sum of the buckets */
	uint64_t buckets[GW_LATENCY_BUCKETS];
};

void gw_hist_record(struct gw_hist *hist, uint64_t ns);
void gw_hist_add(struct gw_hist *hist, const struct gw_hist *more);
/* *hist becomes what came to `now` since `then`, an earlier look at the same one. */
void gw_hist_since(struct gw_hist *hist, const struct gw_hist *now, const struct gw_hist *then);

/* The longest time that a bucket stands for. */
uint64_t gw_hist_bucket_ns(uint32_t bucket);
/*
 * The time that share_ppm of all took at most: 990000 for p99. GW_PPM: the longest. 0 if
 * there is none.
 */
uint64_t gw_hist_quantile_ns(const struct gw_hist *hist, uint32_t share_ppm);
/* How many took longer; those in the bucket of limit_ns itself did not. */
uint64_t gw_hist_above(const struct gw_hist *hist, uint64_t limit_ns);

#endif

// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * No bursts: whatever the limit, the runs and the pauses, a window of 100 ms
 * carries the limit's share, what may be saved up, and one run; and somebody
 * who is always busy gets the limit.
 */
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

#include "clock.h"
#include "pacer.h"

#define WINDOW_NS (100 * GW_NS_PER_MS)
#define RUNS 3000
#define ROUNDS 300
#define MIN_BYTES 4096
#define MAX_BYTES (UINT32_C(1) << 20)

struct start {
	uint64_t at_ns, bytes;
};

static uint64_t state;

static uint64_t random_below(uint64_t limit)
{
	uint64_t z = state += UINT64_C(0x9e3779b97f4a7c15);

	z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
	return (z ^ z >> 31) % limit;
}

static void simulate(struct start starts[RUNS], uint64_t limit, bool pauses)
{
	struct gw_pacer pacer = { 0 };
	uint64_t now_ns = random_below(GW_NS_PER_S);

	gw_pacer_set(&pacer, limit, now_ns);
	for (int i = 0; i < RUNS; i++) {
		const uint32_t largest = gw_pacer_run_bytes(&pacer, MIN_BYTES, MAX_BYTES);

		now_ns += gw_pacer_wait_ns(&pacer, now_ns);
		now_ns += random_below(GW_NS_PER_MS);	/* late, as everybody is */
		if (pauses && random_below(20) == 0)
			now_ns += random_below(GW_NS_PER_S);
		starts[i].at_ns = now_ns;
		starts[i].bytes = pauses ? MIN_BYTES * (1 + random_below(largest / MIN_BYTES)) :
					   largest;
		gw_pacer_book(&pacer, starts[i].bytes, now_ns);
	}
}

/* Return: most bytes that began in a window. */
static uint64_t busiest_window(const struct start starts[RUNS])
{
	uint64_t bytes = 0, most = 0;

	for (int first = 0, next = 0; first < RUNS; first++) {
		while (next < RUNS && starts[next].at_ns < starts[first].at_ns + WINDOW_NS)
			bytes += starts[next++].bytes;
		if (most < bytes)
			most = bytes;
		bytes -= starts[first].bytes;
	}
	return most;
}

static bool is_smooth(const struct start starts[RUNS], uint64_t limit)
{
	const uint64_t run_bytes = limit / 50 > MIN_BYTES ? limit / 50 : MIN_BYTES;
	const uint64_t allowed =
		limit / 10 + limit / 100 + (run_bytes < MAX_BYTES ? run_bytes : MAX_BYTES) + 2;
	const uint64_t most = busiest_window(starts);

	if (most <= allowed)
		return true;
	printf("# limit %" PRIu64 "/s: %" PRIu64 " bytes in 100 ms, %" PRIu64 " allowed\n", limit,
	       most, allowed);
	return false;
}

static bool is_used(const struct start starts[RUNS], uint64_t limit)
{
	const uint64_t ns = starts[RUNS - 1].at_ns - starts[0].at_ns;
	double bytes = 0;

	for (int i = 0; i < RUNS - 1; i++)
		bytes += (double)starts[i].bytes;
	if (bytes / ((double)ns / 1e9) >= 0.98 * (double)limit)
		return true;
	printf("# limit %" PRIu64 "/s: only %.0f/s used\n", limit, bytes / ((double)ns / 1e9));
	return false;
}

int main(void)
{
	static struct start starts[RUNS];
	const char *const seed = getenv("GW_SEED");
	bool smooth = true, used = true;

	state = seed != NULL ? strtoull(seed, NULL, 0) : 1;
	printf("# GW_SEED=%" PRIu64 "\n", state);
	for (int i = 0; i < ROUNDS; i++) {
		/* 16 KB/s to 1 GB/s; within the credit, so that lateness is made up for. */
		const uint64_t limit = UINT64_C(1) << (14 + random_below(16));

		simulate(starts, limit, true);
		smooth = is_smooth(starts, limit) && smooth;
		simulate(starts, limit, false);
		smooth = is_smooth(starts, limit) && smooth;
		used = is_used(starts, limit) && used;
	}
	printf("%s - no window of 100 ms carries more than its share\n", smooth ? "ok" : "not ok");
	printf("%s - who is always busy gets the limit\n", used ? "ok" : "not ok");
	return smooth && used ? EXIT_SUCCESS : EXIT_FAILURE;
}

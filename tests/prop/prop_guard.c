// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The guard beside a simulated device: the more the copier takes of it, the more of the
 * workload's I/Os are slow. Whatever the device, the load and the limit: the share of
 * slow ones is kept, the copier gets a fair part of what that leaves, it is never slower
 * than its floor, and an attack of slowness is answered within 50 ms if there are I/Os enough.
 */
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

#include "clock.h"
#include "guard.h"

#define ROUNDS 100
#define TICK_NS GW_GUARD_TICK_NS
#define MIB (UINT64_C(1) << 20)
#define RUN_NS (60 * GW_NS_PER_S)
#define WARM_NS (20 * GW_NS_PER_S)

static uint64_t state;

static uint64_t random_word(void)
{
	uint64_t z = state += UINT64_C(0x9e3779b97f4a7c15);

	z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
	return z ^ z >> 31;
}

static double random_unit(void)
{
	return (double)(random_word() >> 11) / (double)(UINT64_C(1) << 53);
}

/* Evenly in its magnitude: least doubled up to so many times. */
static double random_magnitude(double least, uint32_t doublings)
{
	return least * (double)(UINT64_C(1) << random_word() % doublings) * (1 + random_unit());
}

struct device {
	double bytes_per_s;		/* what the copier can have of it */
	double free_bytes_per_s;	/* up to here the workload does not notice */
	double slow_before;		/* share of slow I/Os without a copier */
	double slow_each;		/* and more for each free_bytes_per_s beyond the first */
	double ios_per_s;
	uint32_t cluster;		/* so many slow ones come in a row */
	uint32_t slow_left;		/* of the one that has begun */
	double hiccups_per_s;		/* of the machine, whatever the copier does: ... */
	double hiccup_share;		/* ... so many I/Os are slow then, for two or three ticks */
	uint32_t hiccup_left;
	double carry;			/* part of an I/O */
};

static double slow_share(const struct device *device, double copier_bytes_per_s)
{
	const double beyond = copier_bytes_per_s / device->free_bytes_per_s - 1;
	const double share = device->slow_before + (beyond > 0 ? beyond * device->slow_each : 0);

	return share < 1 ? share : 1;
}

/* The rate at which exactly the allowed share is slow. */
static double best_rate(const struct device *device, double allowed)
{
	const double rate = device->free_bytes_per_s *
			    (1 + (allowed - device->slow_before) / device->slow_each);

	return rate < device->bytes_per_s ? rate : device->bytes_per_s;
}

struct sums {
	uint64_t ios, above;
	double copied_bytes, seconds;
};

/* What delays one I/O delays those behind it. */
static bool is_slow(struct device *device, double share)
{
	if (device->slow_left == 0 &&
	    random_unit() < share / (device->cluster - (device->cluster - 1) * share))
		device->slow_left = device->cluster;
	if (device->slow_left == 0)
		return false;
	device->slow_left--;
	return true;
}

/* Share of I/Os that are slow by one now. */
static double hiccup(struct device *device)
{
	if (device->hiccups_per_s == 0)
		return 0;
	if (device->hiccup_left == 0 &&
	    random_unit() < device->hiccups_per_s * (double)TICK_NS / 1e9)
		device->hiccup_left = 2 + (uint32_t)(random_word() % 2);
	if (device->hiccup_left == 0)
		return 0;
	device->hiccup_left--;
	return device->hiccup_share;
}

static enum gw_guard_step tick(struct gw_guard *guard, struct device *device, uint64_t *now_ns,
			       double extra_share, struct sums *sums)
{
	const double seconds = (double)TICK_NS / 1e9;
	const double wanted = guard->is_pausing ? 0 : (double)guard->rate_bytes_per_s;
	const double rate = wanted < device->bytes_per_s ? wanted : device->bytes_per_s;
	const double sum = slow_share(device, rate) + extra_share + hiccup(device);
	const double share = sum < 1 ? sum : 1;
	struct gw_guard_sample sample = { .copied_bytes = (uint64_t)(rate * seconds) };

	device->carry += device->ios_per_s * seconds;
	for (; device->carry >= 1; device->carry -= 1) {
		const int kind = random_word() % 2 == 0 ? GW_LATENCY_READ : GW_LATENCY_WRITE;

		sample.ios[kind]++;
		sample.above[kind] += is_slow(device, share);
	}
	sample.now_ns = *now_ns += TICK_NS;
	sums->ios += sample.ios[0] + sample.ios[1];
	sums->above += sample.above[0] + sample.above[1];
	sums->copied_bytes += rate * seconds;
	sums->seconds += seconds;
	return gw_guard_feed(guard, &sample);
}

static void complain(const char *what, const struct device *device, const struct sums *sums,
		     double allowed)
{
	printf("# %s: %.0f I/Os/s, device %.0f MiB/s, free %.0f, slow %.4f + %.4f in clusters of %"
	       PRIu32 ", allowed %.4f: "
	       "share %.4f, copied %.0f MiB/s of %.0f\n", what, device->ios_per_s,
	       device->bytes_per_s / (double)MIB, device->free_bytes_per_s / (double)MIB,
	       device->slow_before, device->slow_each, device->cluster, allowed,
	       sums->ios > 0 ? (double)sums->above / (double)sums->ios : 0,
	       sums->copied_bytes / sums->seconds / (double)MIB,
	       best_rate(device, allowed) / (double)MIB);
}

static const uint32_t quantiles[] = { 500000, 900000, 950000, 990000, 999000 };

static bool round_of(void)
{
	static const uint64_t limits_ns[GW_LATENCY_KINDS] = { 1000000, 1000000 };
	const uint32_t quantile = quantiles[random_word() % 5];
	const double allowed = (double)(GW_PPM - quantile) / GW_PPM;
	const uint64_t floor = 2 * MIB;
	struct device device = {
		.bytes_per_s = random_magnitude(64.0 * MIB, 6),
		.slow_before = allowed / 4 * random_unit(),
		.slow_each = allowed * random_magnitude(0.5, 5),
		.cluster = 1 + (uint32_t)(random_word() % 6),
	};
	struct sums warm = { 0 }, sums = { 0 };
	struct gw_guard guard;
	uint64_t now_ns = GW_NS_PER_S;
	uint64_t least = UINT64_MAX;

	device.free_bytes_per_s = device.bytes_per_s * (0.1 + 0.9 * random_unit());
	device.ios_per_s = 2 * random_magnitude((double)gw_guard_ios_per_s_min(GW_PPM - quantile), 3);
	gw_guard_start(&guard, quantile, limits_ns, floor, 0, now_ns);
	while (warm.seconds * 1e9 < (double)WARM_NS)
		tick(&guard, &device, &now_ns, 0, &warm);
	while (sums.seconds * 1e9 < (double)RUN_NS) {
		tick(&guard, &device, &now_ns, 0, &sums);
		least = guard.rate_bytes_per_s < least ? guard.rate_bytes_per_s : least;
	}
	if (least < floor || (double)sums.above > 1.1 * allowed * (double)sums.ios ||
	    sums.copied_bytes / sums.seconds < 0.4 * best_rate(&device, allowed)) {
		complain("steady", &device, &sums, allowed);
		return false;
	}
	/* Suddenly slow for another reason: at the second tick at the latest, but for a settling. */
	while (now_ns < guard.settled_ns)
		tick(&guard, &device, &now_ns, 0, &sums);
	if (tick(&guard, &device, &now_ns, 0.9, &sums) != GW_GUARD_CUT &&
	    tick(&guard, &device, &now_ns, 0.9, &sums) != GW_GUARD_CUT) {
		complain("not cut within 50 ms", &device, &sums, allowed);
		return false;
	}
	return true;
}

/* A device that is slow whatever the copier does: the floor it is, and it says so. */
static bool hopeless(void)
{
	static const uint64_t limits_ns[GW_LATENCY_KINDS] = { 1000000, 0 };
	struct device device = {
		.bytes_per_s = 500.0 * MIB, .free_bytes_per_s = 100.0 * MIB, .slow_before = 0.2,
		.cluster = 1, .ios_per_s = random_magnitude(50, 8),
	};
	struct gw_guard guard;
	struct sums sums = { 0 };
	uint64_t now_ns = 0;

	gw_guard_start(&guard, 990000, limits_ns, 6 * MIB, 0, now_ns);
	while (now_ns < 30 * GW_NS_PER_S)
		tick(&guard, &device, &now_ns, 0, &sums);
	if (guard.cannot && guard.rate_bytes_per_s == 6 * MIB)
		return true;
	complain("hopeless", &device, &sums, 0.01);
	return false;
}

static void run(struct gw_guard *guard, struct device *device, uint64_t *now_ns, uint64_t run_ns,
		struct sums *sums)
{
	const uint64_t end_ns = *now_ns + run_ns;

	*sums = (struct sums){ 0 };
	while (*now_ns < end_ns)
		tick(guard, device, now_ns, 0, sums);
}

/*
 * A neighbour makes more of the I/Os slow than may be, for a while. A relative limit finds out that
 * it is not the copier, and the copier gets its part; what it adds itself stays within what
 * may be. When the neighbour is gone the limit is the old one. Else it is the floor all the time.
 */
static bool neighbour(bool may_forgive, double *rates)
{
	static const uint64_t limits_ns[GW_LATENCY_KINDS] = { 1000000, 1000000 };
	struct device device = {
		.bytes_per_s = 800.0 * MIB, .free_bytes_per_s = 100.0 * MIB,
		.slow_before = 0.03 + 0.2 * random_unit(), .slow_each = 0.05,
		.cluster = 1 + (uint32_t)(random_word() % 6), .ios_per_s = random_magnitude(4000, 3),
	};
	const double noise = device.slow_before;
	struct gw_guard guard;
	struct sums noisy = { 0 }, after = { 0 };
	uint64_t now_ns = 0;
	double rate, added;

	gw_guard_start(&guard, 990000, limits_ns, 4 * MIB, 0, now_ns);
	guard.may_forgive = may_forgive;
	run(&guard, &device, &now_ns, 10 * GW_NS_PER_S, &noisy);
	run(&guard, &device, &now_ns, 60 * GW_NS_PER_S, &noisy);
	rate = noisy.copied_bytes / noisy.seconds;
	added = (double)noisy.above / (double)noisy.ios - noise;
	device.slow_before = 0.001;
	run(&guard, &device, &now_ns, 15 * GW_NS_PER_S, &after);
	run(&guard, &device, &now_ns, 60 * GW_NS_PER_S, &after);
	if (guard.forgiven[0] == 0 && guard.forgiven[1] == 0 &&
	    (double)after.above < 0.011 * (double)after.ios && added < 0.03 &&
	    (may_forgive || rate <= 4.0 * MIB)) {
		*rates += may_forgive ? rate : 0;
		return true;
	}
	complain("a neighbour", &device, &noisy, 0.01);
	return false;
}

/*
 * Hiccups of the machine, too many slow I/Os at once, but in all far fewer than may be: each is an
 * alarm, none says that the copier is too fast.
 */
static bool hiccups(double *part)
{
	static const uint64_t limits_ns[GW_LATENCY_KINDS] = { 1000000, 1000000 };
	struct device device = {
		.bytes_per_s = 400.0 * MIB, .free_bytes_per_s = 400.0 * MIB, .slow_each = 0.01,
		.cluster = 1, .ios_per_s = random_magnitude(2000, 3),
		.hiccups_per_s = 0.2 + 0.2 * random_unit(), .hiccup_share = 0.2 + 0.1 * random_unit(),
	};
	struct gw_guard guard;
	struct sums sums;
	uint64_t now_ns = 0;

	gw_guard_start(&guard, 990000, limits_ns, 4 * MIB, 0, now_ns);
	run(&guard, &device, &now_ns, 60 * GW_NS_PER_S, &sums);
	*part += sums.copied_bytes / sums.seconds / device.bytes_per_s;
	if ((double)sums.above < 0.011 * (double)sums.ios)
		return true;
	complain("hiccups", &device, &sums, 0.01);
	return false;
}

int main(void)
{
	const char *const seed = getenv("GW_SEED");
	bool kept = true, said = true, forgiven = true;
	double rates = 0, part = 0;

	state = seed != NULL ? strtoull(seed, NULL, 0) : 1;
	printf("# GW_SEED=%" PRIu64 "\n", state);
	for (int i = 0; i < ROUNDS; i++)
		kept = round_of() && kept;
	for (int i = 0; i < ROUNDS; i++)
		said = hopeless() && said;
	for (int i = 0; i < ROUNDS; i++)
		forgiven = neighbour(i % 2 == 0, &rates) && forgiven;
	for (int i = 0; i < ROUNDS; i++)
		kept = hiccups(&part) && kept;
	part /= ROUNDS;
	printf("# beside hiccups: %.2f of what is possible in the mean\n", part);
	kept = kept && part > 0.6;
	rates /= ROUNDS / 2 * (double)MIB;
	printf("# beside a neighbour: %.0f MiB/s in the mean, instead of 4\n", rates);
	forgiven = forgiven && rates > 40;
	printf("%s - a neighbour's slow I/Os are not the copier's\n", forgiven ? "ok" : "not ok");
	printf("%s - the limit is kept, and no more is given up for it than need be\n",
	       kept ? "ok" : "not ok");
	printf("%s - a limit that cannot be kept is told of\n", said ? "ok" : "not ok");
	return kept && said && forgiven ? EXIT_SUCCESS : EXIT_FAILURE;
}

// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Writers and a copier of all kinds, in virtual time: the limit only ever goes
 * down, never below the floor nor above the administrator's; whoever can be made
 * to converge does, soon; whoever writes from elsewhere is let go at once.
 */
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

#include "throttle.h"

#define WORLDS 20000
#define MIB (UINT64_C(1) << 20)

struct world {
	double write, copy;		/* bytes/s that are wanted, that are possible */
	double unique;			/* of what is written: newly dirty, when not throttled */
	double share;			/* of the writes that come from the cgroup */
	double noise;
	uint64_t former;
	bool knows_cgroup;
};

static uint64_t state;

static uint64_t random_below(uint64_t limit)
{
	uint64_t z = state += UINT64_C(0x9e3779b97f4a7c15);

	z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
	return (z ^ z >> 31) % limit;
}

static double real_below(double limit)
{
	return limit * (double)random_below(1000001) / 1e6;
}

static struct world any_world(void)
{
	return (struct world){
		.write = (double)(MIB << random_below(11)) * (1 + real_below(1)),
		.copy = (double)(MIB << random_below(11)) * (1 + real_below(1)),
		.unique = 0.05 + real_below(0.95),
		.share = random_below(3) == 0 ? 0 : random_below(2) == 0 ? 1 : real_below(1),
		.noise = real_below(0.1),
		.former = random_below(4) == 0 ? MIB << random_below(8) : 0,
		.knows_cgroup = random_below(2) == 0,
	};
}

static double noisy(const struct world *world, double value)
{
	return value * (1 + real_below(2 * world->noise) - world->noise);
}

/* The fewer writes, the more of them hit a clean grain. */
static struct gw_throttle_sample measure(const struct world *world, uint64_t limit)
{
	double in = world->write * world->share, all, slower;

	if (limit != 0 && (double)limit < in)
		in = (double)limit;
	all = in + world->write * (1 - world->share);
	slower = all / world->write;
	return (struct gw_throttle_sample){
		.elapsed_ns = GW_THROTTLE_SETTLE_NS,
		.copy_bytes_per_s = (uint64_t)noisy(world, world->copy),
		.dirty_bytes_per_s = (uint64_t)noisy(world, all * (world->unique * slower +
								   1 - slower)),
		.write_bytes_per_s = (uint64_t)noisy(world, all),
		.cgroup_bytes_per_s = (uint64_t)noisy(world, in),
		.knows_cgroup = world->knows_cgroup,
		.could_fit = true,
	};
}

static bool fail(const struct world *world, const char *what)
{
	printf("# %s: write %.0f copy %.0f unique %.2f share %.2f noise %.2f former %" PRIu64
	       " knows %d\n", what, world->write, world->copy, world->unique, world->share,
	       world->noise, world->former, world->knows_cgroup);
	return false;
}

/* Can it be done at all, with a margin for the noise? */
static bool can_converge(const struct world *world)
{
	return world->share == 1 &&
	       (double)GW_THROTTLE_FLOOR_BYTES_PER_S < 0.4 * world->copy;
}

static bool live(const struct world *world)
{
	struct gw_throttle throttle = { .former_bytes_per_s = world->former };
	uint64_t limit = world->former, now_ns = 0;
	char why[300];

	for (int look = 0; look < 100; look++) {
		const struct gw_throttle_sample sample = measure(world, limit);
		uint64_t to = 0;
		enum gw_throttle_verdict verdict;

		now_ns += GW_THROTTLE_SETTLE_NS;
		verdict = gw_throttle_judge(&throttle, &sample, &to, why, sizeof(why));
		if (verdict == GW_THROTTLE_GIVE_UP)
			return can_converge(world) ? fail(world, why) : true;
		if (verdict == GW_THROTTLE_KEEP) {
			if ((double)sample.dirty_bytes_per_s > (double)sample.copy_bytes_per_s)
				return fail(world, "kept although it does not converge");
			return true;
		}
		if (to < GW_THROTTLE_FLOOR_BYTES_PER_S)
			return fail(world, "below the floor");
		if (limit != 0 && to >= limit)
			return fail(world, "not lower than before");
		if (throttle.steps > 0 && world->share == 0)
			return fail(world, "a second step without any effect");
		gw_throttle_step(&throttle, to, sample.write_bytes_per_s, now_ns);
		limit = to;
	}
	return fail(world, "still at it after 100 looks");
}

int main(void)
{
	const char *const seed = getenv("GW_SEED");
	bool good = true;

	state = seed != NULL ? strtoull(seed, NULL, 0) : 1;
	printf("# GW_SEED=%" PRIu64 "\n", state);
	for (int i = 0; i < WORLDS && good; i++) {
		const struct world world = any_world();

		good = live(&world);
	}
	printf("%s - writers are throttled as far as needed, and no further than the floor\n",
	       good ? "ok" : "not ok");
	return good ? EXIT_SUCCESS : EXIT_FAILURE;
}

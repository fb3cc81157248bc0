// SPDX-License-Identifier: GPL-2.0-or-later
/* Random steps on heat counters beside the plainest model: a number and a flag for each grain. */
#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "heat.h"

#define GRAINS_MAX 1000
#define SEEDS 200
#define STEPS 60

static uint64_t state;

static uint64_t next(uint64_t below)
{
	state = state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
	return (state >> 33) % below;
}

struct model {
	uint64_t grains;
	unsigned int count[GRAINS_MAX];
	bool marked[GRAINS_MAX], pending[GRAINS_MAX];
	uint64_t again;
};

static void up(struct model *model, uint64_t i)
{
	model->again += model->count[i] > 0;
	model->count[i] += model->count[i] < 3;
}

static void scatter(const struct model *model, struct gw_bitmap *bitmap, bool *flags)
{
	const uint64_t dense = 1 + next(20);

	gw_bitmap_clear(bitmap, (struct gw_run){ 0, model->grains });
	for (uint64_t i = 0; i < model->grains; i++) {
		flags[i] = next(dense) == 0;
		if (flags[i])
			gw_bitmap_set(bitmap, (struct gw_run){ i, 1 });
	}
}

/* Exactly those that the rule names: hottest first, then from the start of the device. */
static bool holds_right(const struct model *model, const struct gw_heat *heat, uint64_t max,
			uint64_t held)
{
	static bool want[GRAINS_MAX];
	uint64_t wanted = 0;

	for (uint64_t i = 0; i < model->grains; i++)
		want[i] = false;
	for (unsigned int least = 3; least >= GW_HEAT_HOT; least--)
		for (uint64_t i = 0; i < model->grains && wanted < max; i++)
			if (model->pending[i] && !want[i] && model->count[i] >= least) {
				want[i] = true;
				wanted++;
			}
	for (uint64_t i = 0; i < model->grains; i++)
		if (gw_bitmap_test(&heat->held, i) != want[i])
			return false;
	return held == wanted && heat->held_grains == wanted;
}

static bool is_fresh_right(const struct model *model, const struct gw_heat *heat,
			   const struct gw_bitmap *live)
{
	uint64_t fresh = 0;

	for (uint64_t i = 0; i < model->grains; i++)
		fresh += model->marked[i] && !gw_bitmap_test(&heat->held, i);
	return gw_heat_fresh(heat, live) == fresh;
}

static bool are_ranges_right(const struct model *model, const struct gw_heat *heat)
{
	struct gw_heat_range ranges[GW_HEAT_REGIONS];
	const uint32_t count = gw_heat_ranges(heat, ranges, GW_HEAT_REGIONS);
	uint64_t again = 0, listed = 0;

	for (uint32_t i = 0; i < GW_HEAT_REGIONS; i++)
		again += heat->again[i];
	for (uint32_t i = 0; i < count; i++) {
		if (ranges[i].again == 0 || ranges[i].run.count == 0 ||
		    ranges[i].run.first + ranges[i].run.count > model->grains ||
		    (i > 0 && ranges[i].again > ranges[i - 1].again))
			return false;
		listed += ranges[i].again;
	}
	return again == model->again && listed <= again && (again == 0 || count > 0);
}

static bool step(struct model *model, struct gw_heat *heat, struct gw_bitmap *live,
		 struct gw_bitmap *pending)
{
	const bool cool = next(2) == 0;
	const uint64_t first = next(model->grains), max = next(model->grains + 1);
	const struct gw_run run = { first, 1 + next(model->grains - first) };

	scatter(model, live, model->marked);
	scatter(model, pending, model->pending);
	if (next(3) == 0) {
		gw_heat_warm(heat, live, run);
		for (uint64_t i = run.first; i < run.first + run.count; i++)
			if (model->marked[i])
				up(model, i);
	} else {
		gw_heat_look(heat, live, cool);
		for (uint64_t i = 0; i < model->grains; i++) {
			if (model->marked[i])
				up(model, i);
			else if (cool && model->count[i] > 0)
				model->count[i]--;
		}
	}
	return holds_right(model, heat, max, gw_heat_hold(heat, pending, max)) &&
	       is_fresh_right(model, heat, live) && are_ranges_right(model, heat);
}

static bool run_seed(uint64_t seed)
{
	struct model model = { 0 };
	struct gw_bitmap live, pending;
	struct gw_heat heat;
	bool right = true;

	state = seed;
	model.grains = 1 + next(GRAINS_MAX);
	if (gw_heat_create(&heat, model.grains) < 0 || gw_bitmap_create(&live, model.grains) < 0 ||
	    gw_bitmap_create(&pending, model.grains) < 0)
		abort();
	for (int i = 0; i < STEPS && right; i++) {
		right = step(&model, &heat, &live, &pending);
		if (!right)
			printf("# seed %" PRIu64 ", step %d, %" PRIu64 " grains\n", seed, i,
			       model.grains);
	}
	gw_heat_let_go(&heat);
	right = right && gw_bitmap_is_empty(&heat.held);
	gw_heat_destroy(&heat);
	gw_bitmap_destroy(&live);
	gw_bitmap_destroy(&pending);
	return right;
}

int main(void)
{
	for (uint64_t seed = 1; seed <= SEEDS; seed++)
		if (!run_seed(seed)) {
			printf("not ok - heat is what the model says\n");
			return EXIT_FAILURE;
		}
	printf("ok - heat is what the model says # %d seeds\n", SEEDS);
	return EXIT_SUCCESS;
}

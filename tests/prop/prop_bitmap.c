// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Random steps on bitmaps against arrays of bool: what is set, what moves, what
 * each call answers. And the bits past the end stay zero, whatever is done.
 */
#include <inttypes.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bitmap.h"

#define STEPS 200000
#define SIZE_MAX_GRAINS 400
#define SETS 3

static uint64_t state;
static uint64_t size;
static struct gw_bitmap sets[SETS];
static bool model[SETS][SIZE_MAX_GRAINS];

static uint64_t random_below(uint64_t limit)
{
	uint64_t z = state += UINT64_C(0x9e3779b97f4a7c15);

	z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
	return (z ^ z >> 31) % limit;
}

static struct gw_run random_run(bool may_be_empty)
{
	const uint64_t first = random_below(size);
	const uint64_t limit = random_below(2) == 0 ? size - first : 1 + (size - first) / 8;

	return (struct gw_run){ first, may_be_empty ? random_below(limit + 1) :
				1 + random_below(limit < size - first ? limit : size - first) };
}

static void model_fill(int set, struct gw_run run, bool value)
{
	for (uint64_t i = 0; i < run.count; i++)
		model[set][run.first + i] = value;
}

static bool equal(int set)
{
	uint64_t count = 0;

	for (uint64_t grain = 0; grain < size; grain++) {
		count += model[set][grain];
		if (gw_bitmap_test(&sets[set], grain) != model[set][grain])
			return false;
	}
	if (size % 64 != 0 && sets[set].words[size / 64] >> size % 64 != 0)
		return false;
	return gw_bitmap_count(&sets[set]) == count &&
	       gw_bitmap_is_empty(&sets[set]) == (count == 0);
}

static bool step_fill(bool value)
{
	const int set = (int)random_below(SETS);
	const struct gw_run run = random_run(true);

	if (value)
		gw_bitmap_set(&sets[set], run);
	else
		gw_bitmap_clear(&sets[set], run);
	model_fill(set, run, value);
	return equal(set);
}

static bool step_move(void)
{
	const int from = (int)random_below(SETS), to = (from + 1) % SETS;
	uint64_t fresh = 0;

	for (uint64_t i = 0; i < size; i++) {
		fresh += model[from][i] && !model[to][i];
		model[to][i] = model[to][i] || model[from][i];
		model[from][i] = false;
	}
	return gw_bitmap_move_all(&sets[from], &sets[to]) == fresh && equal(from) && equal(to);
}

static bool step_take(void)
{
	const bool with_live = random_below(3) != 0;
	const struct gw_run run = random_run(false);

	gw_bitmap_take_run(&sets[1], with_live ? &sets[0] : NULL, &sets[2], run);
	model_fill(1, run, false);
	model_fill(2, run, true);
	if (with_live)
		model_fill(0, run, false);
	return equal(0) && equal(1) && equal(2);
}

static bool step_next(void)
{
	const int set = (int)random_below(SETS);
	const uint64_t most = random_below(3) == 0 ? UINT64_MAX : 1 + random_below(70);
	const struct gw_run untouched = { 77777, 88888 };
	uint64_t cursor = random_below(size + 1), first = cursor, end;
	struct gw_run run = untouched;
	bool found;

	while (first < size && !model[set][first])
		first++;
	for (end = first; end < size && model[set][end] && end - first < most;)
		end++;
	found = gw_bitmap_next_run(&sets[set], &cursor, most, &run);
	if (first == size)
		return !found && cursor == size && run.first == untouched.first &&
		       run.count == untouched.count && equal(set);
	return found && cursor == end && run.first == first && run.count == end - first &&
	       equal(set);
}

static bool step(void)
{
	switch (random_below(6)) {
	case 0:
	case 1:
		return step_fill(true);
	case 2:
		return step_fill(false);
	case 3:
		return step_move();
	case 4:
		return step_take();
	default:
		return step_next();
	}
}

static bool test_model(void)
{
	static const uint64_t sizes[] = { 1, 63, 64, 65, 3 * 64 + 7, 400 };

	for (size_t s = 0; s < sizeof(sizes) / sizeof(sizes[0]); s++) {
		bool good = true;

		size = sizes[s];
		memset(model, 0, sizeof(model));
		for (int set = 0; set < SETS; set++)
			if (gw_bitmap_create(&sets[set], size) < 0)
				abort();
		for (int i = 0; i < STEPS / 6 && good; i++) {
			good = step();
			if (!good)
				printf("# size %" PRIu64 ", step %d\n", size, i);
		}
		for (int set = 0; set < SETS; set++)
			gw_bitmap_destroy(&sets[set]);
		if (!good)
			return false;
	}
	return true;
}

/*
 * A thread marks while another one moves: each mark arrives once, or waits in the origin. Few
 * words, so that both are at the same one all the time.
 */
#define MARKS 1000000
#define RACE_GRAINS 128

static struct gw_bitmap race_live;
static atomic_bool race_is_over;

static void *mark_all(void *arg)
{
	(void)arg;
	for (uint64_t i = 0; i < MARKS; i++) {
		/* Its last mark is still to be moved. */
		while (gw_bitmap_test(&race_live, i % RACE_GRAINS))
			sched_yield();
		gw_bitmap_set(&race_live, (struct gw_run){ i % RACE_GRAINS, 1 });
	}
	race_is_over = true;
	return NULL;
}

static bool test_race(void)
{
	struct gw_bitmap pending;
	uint64_t moved = 0;
	pthread_t marker;
	bool last = false;

	if (gw_bitmap_create(&race_live, RACE_GRAINS) < 0 ||
	    gw_bitmap_create(&pending, RACE_GRAINS) < 0 ||
	    pthread_create(&marker, NULL, mark_all, NULL) != 0)
		abort();
	while (!last) {
		last = race_is_over;
		const uint64_t fresh = gw_bitmap_move_all(&race_live, &pending);

		if (fresh == 0 && !last)
			sched_yield();
		moved += fresh;
		gw_bitmap_clear(&pending, (struct gw_run){ 0, RACE_GRAINS });
	}
	pthread_join(marker, NULL);
	if (moved != MARKS)
		printf("# %" PRIu64 " of %d marks arrived\n", moved, MARKS);
	gw_bitmap_destroy(&race_live);
	gw_bitmap_destroy(&pending);
	return moved == MARKS;
}

int main(void)
{
	const char *const seed = getenv("GW_SEED");
	bool model_good, race_good;

	state = seed != NULL ? strtoull(seed, NULL, 10) : UINT64_C(20240601);
	printf("# seed %" PRIu64 "\n", state);
	model_good = test_model();
	printf("%sok - random steps agree with arrays of bool\n", model_good ? "" : "not ");
	race_good = test_race();
	printf("%sok - marks that race with a move arrive or stay\n", race_good ? "" : "not ");
	return model_good && race_good ? 0 : 1;
}

// SPDX-License-Identifier: GPL-2.0-or-later
#include "heat.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

static uint64_t words_for(uint64_t size_grains)
{
	return size_grains / 64 + (size_grains % 64 != 0);
}

static uint64_t word_of(const struct gw_bitmap *bitmap, uint64_t w)
{
	return atomic_load_explicit(&bitmap->words[w], memory_order_relaxed);
}

static uint64_t min_u64(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

int gw_heat_create(struct gw_heat *heat, uint64_t size_grains)
{
	memset(heat, 0, sizeof(*heat));
	heat->low = calloc(words_for(size_grains), sizeof(*heat->low));
	heat->high = calloc(words_for(size_grains), sizeof(*heat->high));
	if (heat->low == NULL || heat->high == NULL ||
	    gw_bitmap_create(&heat->held, size_grains) < 0) {
		gw_heat_destroy(heat);
		return -ENOMEM;
	}
	heat->size_grains = size_grains;
	/* A word at least, so that a word lies in one region. */
	heat->region_shift = 6;
	while (size_grains >> heat->region_shift >= GW_HEAT_REGIONS)
		heat->region_shift++;
	return 0;
}

void gw_heat_destroy(struct gw_heat *heat)
{
	free(heat->low);
	free(heat->high);
	gw_bitmap_destroy(&heat->held);
	memset(heat, 0, sizeof(*heat));
}

uint64_t gw_heat_bytes(uint64_t size_grains)
{
	return 3 * 8 * words_for(size_grains) + sizeof(struct gw_heat);
}

/* 64 counters at once; they stop at 3 and at 0. */
static void count(struct gw_heat *heat, uint64_t w, uint64_t up, uint64_t down)
{
	const uint64_t low = heat->low[w], high = heat->high[w];
	const uint64_t again = up & (low | high);

	heat->again[w * 64 >> heat->region_shift] += (uint64_t)__builtin_popcountll(again);
	up &= ~(low & high);
	down &= low | high;
	assert((up & down) == 0);
	heat->low[w] = low ^ up ^ down;
	heat->high[w] = high ^ (low & up) ^ (~low & down);
}

void gw_heat_warm(struct gw_heat *heat, const struct gw_bitmap *live, struct gw_run run)
{
	const uint64_t end = run.first + run.count;

	if (heat->size_grains == 0)
		return;
	assert(run.count > 0);
	assert(end <= heat->size_grains);
	for (uint64_t w = run.first / 64; w <= (end - 1) / 64; w++) {
		uint64_t marks = word_of(live, w);

		if (marks == 0)
			continue;
		if (run.first > w * 64)
			marks &= ~UINT64_C(0) << (run.first - w * 64);
		if (end < (w + 1) * 64)
			marks &= ~UINT64_C(0) >> ((w + 1) * 64 - end);
		count(heat, w, marks, 0);
	}
}

void gw_heat_look(struct gw_heat *heat, const struct gw_bitmap *live, bool cool)
{
	for (uint64_t w = 0; w < words_for(heat->size_grains); w++) {
		const uint64_t marks = word_of(live, w);

		if (marks != 0 || (cool && (heat->low[w] | heat->high[w]) != 0))
			count(heat, w, marks, cool ? ~marks : 0);
	}
}

/* Adds what of `hot` there is room for. Return: how many. */
static uint64_t hold_word(struct gw_heat *heat, uint64_t w, uint64_t hot, uint64_t room)
{
	uint64_t held = 0;

	hot &= ~word_of(&heat->held, w);
	while (hot != 0 && held < room) {
		const uint64_t bit = hot & -hot;

		atomic_fetch_or_explicit(&heat->held.words[w], bit, memory_order_relaxed);
		hot &= ~bit;
		held++;
	}
	return held;
}

uint64_t gw_heat_hold(struct gw_heat *heat, const struct gw_bitmap *pending, uint64_t max_grains)
{
	gw_heat_let_go(heat);
	for (int pass = 0; pass < 2; pass++)
		for (uint64_t w = 0; w < words_for(heat->size_grains); w++) {
			const uint64_t least = pass == 0 ? heat->low[w] : ~UINT64_C(0);
			const uint64_t hot = heat->high[w] & least;

			if (hot != 0)
				heat->held_grains += hold_word(heat, w, hot & word_of(pending, w),
							       max_grains - heat->held_grains);
		}
	return heat->held_grains;
}

void gw_heat_let_go(struct gw_heat *heat)
{
	if (heat->held_grains > 0)
		gw_bitmap_clear(&heat->held, (struct gw_run){ 0, heat->size_grains });
	heat->held_grains = 0;
}

uint64_t gw_heat_fresh(const struct gw_heat *heat, const struct gw_bitmap *live)
{
	uint64_t grains = 0;

	if (heat->held_grains == 0)
		return gw_bitmap_count(live);
	for (uint64_t w = 0; w < words_for(heat->size_grains); w++)
		grains += (uint64_t)__builtin_popcountll(word_of(live, w) &
							 ~word_of(&heat->held, w));
	return grains;
}

/* ---- what is told of it ---- */

/* Keeps ranges sorted, the most first, and at most max of them. Return: how many there are now. */
static uint32_t insert(struct gw_heat_range *ranges, uint32_t listed, uint32_t max,
		       struct gw_heat_range range)
{
	uint32_t at = listed < max ? listed : max;

	while (at > 0 && ranges[at - 1].again < range.again) {
		if (at < max)
			ranges[at] = ranges[at - 1];
		at--;
	}
	if (at < max)
		ranges[at] = range;
	return listed < max ? listed + 1 : max;
}

/* Neighbours join if each has at least a quarter of the hottest one's: one hot file is one range. */
uint32_t gw_heat_ranges(const struct gw_heat *heat, struct gw_heat_range *ranges, uint32_t max)
{
	const uint64_t region_grains = UINT64_C(1) << heat->region_shift;
	const uint64_t regions = heat->size_grains == 0 ? 0 :
				 ((heat->size_grains - 1) >> heat->region_shift) + 1;
	uint64_t most = 0;
	uint32_t listed = 0;

	for (uint64_t i = 0; i < regions; i++)
		if (most < heat->again[i])
			most = heat->again[i];
	for (uint64_t i = 0; i < regions && max > 0; i++) {
		struct gw_heat_range range = { { i << heat->region_shift, 0 }, 0 };
		uint64_t end = i;

		while (end < regions && heat->again[end] > 0 && heat->again[end] >= most / 4)
			range.again += heat->again[end++];
		if (end == i)
			continue;
		range.run.count = min_u64((end - i) * region_grains,
					  heat->size_grains - range.run.first);
		listed = insert(ranges, listed, max, range);
		i = end - 1;
	}
	return listed;
}

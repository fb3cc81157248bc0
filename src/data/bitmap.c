// SPDX-License-Identifier: GPL-2.0-or-later
#include "bitmap.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#include "fault.h"

static uint64_t words_for(uint64_t size_grains)
{
	return size_grains / 64 + (size_grains % 64 != 0);
}

/* The bits of word w that belong to run, which reaches into it. */
static uint64_t mask_of(struct gw_run run, uint64_t w)
{
	const uint64_t end = run.first + run.count;
	uint64_t mask = ~UINT64_C(0);

	if (run.first > w * 64)
		mask &= ~UINT64_C(0) << (run.first - w * 64);
	if (end < (w + 1) * 64)
		mask &= ~UINT64_C(0) >> ((w + 1) * 64 - end);
	return mask;
}

static void check_run(const struct gw_bitmap *bitmap, struct gw_run run)
{
	assert(run.first <= bitmap->size_grains);
	assert(run.count <= bitmap->size_grains - run.first);
}

int gw_bitmap_create(struct gw_bitmap *bitmap, uint64_t size_grains)
{
	bitmap->size_grains = 0;
	bitmap->words = NULL;
	if (size_grains == 0)
		return -EINVAL;
	bitmap->words = calloc(words_for(size_grains), sizeof(*bitmap->words));
	if (bitmap->words == NULL)
		return -ENOMEM;
	bitmap->size_grains = size_grains;
	return 0;
}

void gw_bitmap_destroy(struct gw_bitmap *bitmap)
{
	free(bitmap->words);
	bitmap->words = NULL;
	bitmap->size_grains = 0;
}

bool gw_bitmap_test(const struct gw_bitmap *bitmap, uint64_t grain)
{
	assert(grain < bitmap->size_grains);
	return (atomic_load(&bitmap->words[grain / 64]) >> grain % 64 & 1) != 0;
}

void gw_bitmap_set(struct gw_bitmap *bitmap, struct gw_run run)
{
	check_run(bitmap, run);
	if (run.count == 0)
		return;
	for (uint64_t w = run.first / 64; w <= (run.first + run.count - 1) / 64; w++)
		atomic_fetch_or(&bitmap->words[w], mask_of(run, w));
}

void gw_bitmap_clear(struct gw_bitmap *bitmap, struct gw_run run)
{
	check_run(bitmap, run);
	if (run.count == 0)
		return;
	for (uint64_t w = run.first / 64; w <= (run.first + run.count - 1) / 64; w++)
		atomic_fetch_and(&bitmap->words[w], ~mask_of(run, w));
}

uint64_t gw_bitmap_count(const struct gw_bitmap *bitmap)
{
	uint64_t count = 0;

	for (uint64_t w = 0; w < words_for(bitmap->size_grains); w++)
		count += (uint64_t)__builtin_popcountll(
			atomic_load_explicit(&bitmap->words[w], memory_order_relaxed));
	return count;
}

bool gw_bitmap_is_empty(const struct gw_bitmap *bitmap)
{
	for (uint64_t w = 0; w < words_for(bitmap->size_grains); w++)
		if (atomic_load(&bitmap->words[w]) != 0)
			return false;
	return true;
}

uint64_t gw_bitmap_move_all(struct gw_bitmap *from, struct gw_bitmap *to)
{
	uint64_t fresh = 0;

	assert(from->size_grains == to->size_grains);
	for (uint64_t w = 0; w < words_for(from->size_grains); w++) {
		/* Pairs with the atomic OR in gw_mark.bpf.h. A bit set after this look waits. */
		const uint64_t bits = atomic_load(&from->words[w]);
		uint64_t before;

		if (bits == 0)
			continue;
		gw_fault_point("move-loaded");
		before = atomic_fetch_or(&to->words[w], bits);
		gw_fault_point("move-stored");
		atomic_fetch_and(&from->words[w], ~bits);
		gw_fault_point("move-cleared");
		fresh += (uint64_t)__builtin_popcountll(bits & ~before);
	}
	return fresh;
}

void gw_bitmap_take_run(struct gw_bitmap *from, struct gw_bitmap *live, struct gw_bitmap *to,
			struct gw_run run)
{
	check_run(from, run);
	assert(run.count > 0);
	assert(from->size_grains == to->size_grains);
	for (uint64_t w = run.first / 64; w <= (run.first + run.count - 1) / 64; w++) {
		const uint64_t bits = mask_of(run, w);

		atomic_fetch_or(&to->words[w], bits);
		gw_fault_point("take-stored");
		atomic_fetch_and(&from->words[w], ~bits);
		gw_fault_point("take-cleared");
		/* Spare clean cache lines. The grains stand in `to`: their marks may go. */
		if (live != NULL && (atomic_load(&live->words[w]) & bits) != 0) {
			atomic_fetch_and(&live->words[w], ~bits);
			gw_fault_point("take-live-cleared");
		}
	}
}

static uint64_t word_but(const struct gw_bitmap *bitmap, const struct gw_bitmap *but, uint64_t w)
{
	const uint64_t word = atomic_load_explicit(&bitmap->words[w], memory_order_acquire);

	if (but == NULL)
		return word;
	return word & ~atomic_load_explicit(&but->words[w], memory_order_relaxed);
}

/* The first grain from `grain` to before `end` that is in bitmap and not in but, or is not; end if there is none. */
static uint64_t next_bit(const struct gw_bitmap *bitmap, const struct gw_bitmap *but,
			 uint64_t grain, uint64_t end, bool set)
{
	const uint64_t flip = set ? 0 : ~UINT64_C(0);

	while (grain < end) {
		const uint64_t word = (word_but(bitmap, but, grain / 64) ^ flip) >> grain % 64;

		if (word != 0) {
			grain += (uint64_t)__builtin_ctzll(word);
			return grain < end ? grain : end;
		}
		grain = (grain | 63) + 1;
	}
	return end;
}

bool gw_bitmap_next_run_but(const struct gw_bitmap *bitmap, const struct gw_bitmap *but,
			    uint64_t *cursor, uint64_t max_grains, struct gw_run *run)
{
	const uint64_t first = next_bit(bitmap, but, *cursor, bitmap->size_grains, true);
	uint64_t end = bitmap->size_grains;

	assert(max_grains > 0);
	assert(but == NULL || but->size_grains == bitmap->size_grains);
	if (first == bitmap->size_grains) {
		*cursor = first;
		return false;
	}
	if (end - first > max_grains)
		end = first + max_grains;
	end = next_bit(bitmap, but, first, end, false);
	*run = (struct gw_run){ first, end - first };
	*cursor = end;
	return true;
}

bool gw_bitmap_next_run(const struct gw_bitmap *bitmap, uint64_t *cursor, uint64_t max_grains,
			struct gw_run *run)
{
	return gw_bitmap_next_run_but(bitmap, NULL, cursor, max_grains, run);
}

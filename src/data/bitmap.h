/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Sets of grains, a bit each, in memory that outlives the process (pinned BPF
 * maps, which the kernel keeps marking) or in the caller's own. Every change
 * is one atomic operation on a word: the process may be killed between any two.
 */
#ifndef GW_BITMAP_H
#define GW_BITMAP_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "geom.h"

struct gw_bitmap {
	_Atomic uint64_t *words;	/* borrowed, or own after gw_bitmap_create() */
	uint64_t size_grains;		/* bits at or past it stay zero */
};

/* Own, zeroed memory. Return: 0 or -ENOMEM (-EINVAL if size_grains is 0). Undo with gw_bitmap_destroy(). */
int gw_bitmap_create(struct gw_bitmap *bitmap, uint64_t size_grains);
void gw_bitmap_destroy(struct gw_bitmap *bitmap);

bool gw_bitmap_test(const struct gw_bitmap *bitmap, uint64_t grain);
void gw_bitmap_set(struct gw_bitmap *bitmap, struct gw_run run);
void gw_bitmap_clear(struct gw_bitmap *bitmap, struct gw_run run);
uint64_t gw_bitmap_count(const struct gw_bitmap *bitmap);
bool gw_bitmap_is_empty(const struct gw_bitmap *bitmap);

/*
 * Moves bits, by rule 3 of docs/invariants.md: load the origin's word, or it
 * into the destination, then and exactly these bits out of the origin. Killed
 * in between, a bit stands twice, never nowhere; a bit that the kernel sets
 * meanwhile arrives or stays. Return: how many grains were new in `to`.
 */
uint64_t gw_bitmap_move_all(struct gw_bitmap *from, struct gw_bitmap *to);

/*
 * Moves the grains of run out of `from` into `to`, and those of them that are
 * marked in `live` (may be NULL) too: what is read after this call needs no mark
 * that was made before it.
 */
void gw_bitmap_take_run(struct gw_bitmap *from, struct gw_bitmap *live, struct gw_bitmap *to,
			struct gw_run run);

/*
 * Finds the first run of set bits at or after *cursor, at most max_grains long;
 * changes no bit. Return: true and *run, with *cursor behind it; false if none
 * is left, with *run untouched and *cursor at the end.
 */
bool gw_bitmap_next_run(const struct gw_bitmap *bitmap, uint64_t *cursor, uint64_t max_grains,
			struct gw_run *run);
/* The same of what is set in bitmap and not in `but` (NULL: nothing). */
bool gw_bitmap_next_run_but(const struct gw_bitmap *bitmap, const struct gw_bitmap *but,
			    uint64_t *cursor, uint64_t max_grains, struct gw_run *run);

#endif

/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Which grains are dirtied again and again: a counter of two bits a grain, in memory
 * that is fixed at start. A hint and no more: it decides when a grain is copied,
 * never whether, and it may be lost.
 *
 * The rule: a grain that is found marked counts one up, one that is not counts one
 * down when time has passed (gw_heat_look() with cool). From GW_HEAT_HOT on it is
 * hot: it was dirtied twice within short time, and a copy of it would soon be stale.
 */
#ifndef GW_HEAT_H
#define GW_HEAT_H

#include <stdbool.h>
#include <stdint.h>

#include "bitmap.h"
#include "geom.h"

#define GW_HEAT_HOT 2u			/* of 0 to 3 */
#define GW_HEAT_REGIONS 1024u		/* at most; what is told of hot ranges is told by region */

struct gw_heat {
	uint64_t size_grains;		/* 0: there is none, and every call does nothing */
	uint64_t *low, *high;		/* the counters' bits */
	struct gw_bitmap held;		/* held back from the round that runs */
	uint64_t held_grains;
	uint32_t region_shift;		/* grains of a region, as a power of two */
	uint64_t again[GW_HEAT_REGIONS];	/* times that a grain with a count was found marked */
};

/* A stretch of neighbouring regions in which grains were dirtied again. */
struct gw_heat_range {
	struct gw_run run;
	uint64_t again;
};

/* Return: 0 or -ENOMEM; zeroed then. Undo with gw_heat_destroy(), which accepts a zeroed one. */
int gw_heat_create(struct gw_heat *heat, uint64_t size_grains);
void gw_heat_destroy(struct gw_heat *heat);
/* What it takes, for so many grains. */
uint64_t gw_heat_bytes(uint64_t size_grains);

/* Counts the marks within run up: they are about to be cleared ahead of a read. */
void gw_heat_warm(struct gw_heat *heat, const struct gw_bitmap *live, struct gw_run run);
/* Counts all marks up; with cool, what is not marked down. */
void gw_heat_look(struct gw_heat *heat, const struct gw_bitmap *live, bool cool);

/*
 * Holds back what is pending and hot, the hottest first, at most max_grains. It stays in pending.
 * Return: grains held.
 */
uint64_t gw_heat_hold(struct gw_heat *heat, const struct gw_bitmap *pending, uint64_t max_grains);
/* Nothing is held back any more. */
void gw_heat_let_go(struct gw_heat *heat);
/* Grains that are marked and not held: with what is held, what a next round finds. */
uint64_t gw_heat_fresh(const struct gw_heat *heat, const struct gw_bitmap *live);

/* The hottest ranges, the hottest first. Return: how many, at most max. */
uint32_t gw_heat_ranges(const struct gw_heat *heat, struct gw_heat_range *ranges, uint32_t max);

#endif

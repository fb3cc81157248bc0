// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * A mark between any two steps of gw_bitmap_move_all() arrives or stays. The bitmap is compiled
 * in here with its fault points, each of which marks, as a BPF program on another CPU would.
 */
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define GW_FAULT_POINTS
#include "bitmap.c"

#define SIZE_GRAINS 192

static struct gw_bitmap live, pending;
static const char *mark_at;
static uint64_t mark_grain;
static int marked;

void gw_fault_point(const char *name)
{
	if (mark_at == NULL || strcmp(name, mark_at) != 0 || marked++ > 0)
		return;
	gw_bitmap_set(&live, (struct gw_run){ mark_grain, 1 });
}

/* Marked once, while the word of grain 3 is moved. */
static bool mark_arrives(const char *point, uint64_t grain)
{
	mark_at = point;
	mark_grain = grain;
	marked = 0;
	gw_bitmap_clear(&live, (struct gw_run){ 0, SIZE_GRAINS });
	gw_bitmap_clear(&pending, (struct gw_run){ 0, SIZE_GRAINS });
	gw_bitmap_set(&live, (struct gw_run){ 3, 1 });
	gw_bitmap_move_all(&live, &pending);
	if (marked == 0 || !gw_bitmap_test(&pending, 3))
		return false;
	if (!gw_bitmap_test(&pending, grain) && !gw_bitmap_test(&live, grain))
		return false;
	mark_at = NULL;
	gw_bitmap_move_all(&live, &pending);
	return gw_bitmap_test(&pending, grain) && gw_bitmap_is_empty(&live);
}

int main(void)
{
	static const char *const points[] = { "move-loaded", "move-stored", "move-cleared" };
	static const uint64_t grains[] = { 0, 4, 63, 64, 191 };
	bool good = true;

	if (gw_bitmap_create(&live, SIZE_GRAINS) < 0 || gw_bitmap_create(&pending, SIZE_GRAINS) < 0)
		abort();
	for (size_t p = 0; p < sizeof(points) / sizeof(points[0]); p++)
		for (size_t g = 0; g < sizeof(grains) / sizeof(grains[0]); g++) {
			if (mark_arrives(points[p], grains[g]))
				continue;
			printf("# a mark of grain %d at %s was lost\n", (int)grains[g], points[p]);
			good = false;
		}
	gw_bitmap_destroy(&live);
	gw_bitmap_destroy(&pending);
	printf("%sok - marks between the steps of a move arrive or stay\n", good ? "" : "not ");
	return good ? 0 : 1;
}

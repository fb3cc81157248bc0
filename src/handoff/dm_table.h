/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A device-mapper table of linear segments as data: read from text, moved from
 * one device to another, compared. Pure; the kernel is in dm_device.h.
 */
#ifndef GW_DM_TABLE_H
#define GW_DM_TABLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define GW_DM_SEGMENTS_MAX 128
#define GW_DM_LINE_BYTES 128		/* of a segment as text, with its NUL */

/* Sectors of 512 bytes. */
struct gw_dm_segment {
	uint64_t first_sector, sectors;	/* of the mapped device */
	dev_t dev;			/* that they lie on */
	uint64_t dev_sector;		/* from where */
};

/* Segments in order, without gaps, from sector 0. */
struct gw_dm_table {
	struct gw_dm_segment segments[GW_DM_SEGMENTS_MAX];
	uint32_t count;
};

/*
 * Appends the segment at first_sector with the parameters of a linear target
 * ("MAJOR:MINOR SECTOR"). Return: 0; -EINVAL: no such parameters, a gap, an overlap, or
 * sectors past what 64 bits of bytes count; -E2BIG: too many.
 */
int gw_dm_table_add(struct gw_dm_table *table, uint64_t first_sector, uint64_t sectors,
		    const char *params);

/* The same from a line "FIRST SECTORS linear MAJOR:MINOR SECTOR", as gw_dm_segment_text() writes it. */
int gw_dm_table_add_line(struct gw_dm_table *table, const char *line);

/* "MAJOR:MINOR SECTOR" into text. Return: text. */
char *gw_dm_segment_params(const struct gw_dm_segment *segment, char text[GW_DM_LINE_BYTES]);
char *gw_dm_segment_text(const struct gw_dm_segment *segment, char text[GW_DM_LINE_BYTES]);

/* How many segments lie on dev; *end_sector: the end of the last one there. */
uint32_t gw_dm_table_count_on(const struct gw_dm_table *table, dev_t dev, uint64_t *end_sector);

/* Every segment on from lies on to, at the same sectors; the others stay. */
void gw_dm_table_move(struct gw_dm_table *table, dev_t from, dev_t to);

bool gw_dm_table_equal(const struct gw_dm_table *a, const struct gw_dm_table *b);

#endif

// SPDX-License-Identifier: GPL-2.0-or-later
#include "dm_table.h"

#include <assert.h>
#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysmacros.h>

#define SECTORS_MAX (UINT64_MAX >> 9)
#define DEV_MAJOR_MAX 0xfffu		/* include/linux/kdev_t.h: 12 and 20 bits */
#define DEV_MINOR_MAX 0xfffffu

/* Digits, no more than max; *text moves behind them. */
static bool read_number(const char **text, uint64_t max, uint64_t *number)
{
	char *end;

	if (!isdigit((unsigned char)**text))
		return false;
	errno = 0;
	*number = strtoull(*text, &end, 10);
	if (errno != 0 || *number > max)
		return false;
	*text = end;
	return true;
}

static bool read_text(const char **text, const char *expected)
{
	const size_t length = strlen(expected);

	if (strncmp(*text, expected, length) != 0)
		return false;
	*text += length;
	return true;
}

int gw_dm_table_add(struct gw_dm_table *table, uint64_t first_sector, uint64_t sectors,
		    const char *params)
{
	uint64_t major_number, minor_number, dev_sector, due = 0;

	if (table->count > 0) {
		const struct gw_dm_segment *const last = &table->segments[table->count - 1];

		due = last->first_sector + last->sectors;
	}
	if (first_sector != due || sectors == 0 || sectors > SECTORS_MAX - due)
		return -EINVAL;
	if (!read_number(&params, DEV_MAJOR_MAX, &major_number) || !read_text(&params, ":") ||
	    !read_number(&params, DEV_MINOR_MAX, &minor_number) || !read_text(&params, " ") ||
	    !read_number(&params, SECTORS_MAX - sectors, &dev_sector) || *params != '\0')
		return -EINVAL;
	if (table->count == GW_DM_SEGMENTS_MAX)
		return -E2BIG;
	table->segments[table->count++] = (struct gw_dm_segment){
		.first_sector = first_sector,
		.sectors = sectors,
		.dev = makedev((unsigned int)major_number, (unsigned int)minor_number),
		.dev_sector = dev_sector,
	};
	return 0;
}

int gw_dm_table_add_line(struct gw_dm_table *table, const char *line)
{
	uint64_t first_sector, sectors;

	if (!read_number(&line, SECTORS_MAX, &first_sector) || !read_text(&line, " ") ||
	    !read_number(&line, SECTORS_MAX, &sectors) || !read_text(&line, " linear "))
		return -EINVAL;
	return gw_dm_table_add(table, first_sector, sectors, line);
}

char *gw_dm_segment_params(const struct gw_dm_segment *segment, char text[GW_DM_LINE_BYTES])
{
	snprintf(text, GW_DM_LINE_BYTES, "%u:%u %" PRIu64, major(segment->dev),
		 minor(segment->dev), segment->dev_sector);
	return text;
}

char *gw_dm_segment_text(const struct gw_dm_segment *segment, char text[GW_DM_LINE_BYTES])
{
	snprintf(text, GW_DM_LINE_BYTES, "%" PRIu64 " %" PRIu64 " linear %u:%u %" PRIu64,
		 segment->first_sector, segment->sectors, major(segment->dev),
		 minor(segment->dev), segment->dev_sector);
	return text;
}

uint32_t gw_dm_table_count_on(const struct gw_dm_table *table, dev_t dev, uint64_t *end_sector)
{
	uint32_t count = 0;

	*end_sector = 0;
	for (uint32_t i = 0; i < table->count; i++) {
		const struct gw_dm_segment *const segment = &table->segments[i];

		if (segment->dev != dev)
			continue;
		count++;
		if (segment->dev_sector + segment->sectors > *end_sector)
			*end_sector = segment->dev_sector + segment->sectors;
	}
	return count;
}

void gw_dm_table_move(struct gw_dm_table *table, dev_t from, dev_t to)
{
	for (uint32_t i = 0; i < table->count; i++)
		if (table->segments[i].dev == from)
			table->segments[i].dev = to;
}

bool gw_dm_table_equal(const struct gw_dm_table *a, const struct gw_dm_table *b)
{
	if (a->count != b->count)
		return false;
	for (uint32_t i = 0; i < a->count; i++) {
		const struct gw_dm_segment *const one = &a->segments[i], *const other = &b->segments[i];

		if (one->first_sector != other->first_sector || one->sectors != other->sectors ||
		    one->dev != other->dev || one->dev_sector != other->dev_sector)
			return false;
	}
	return true;
}

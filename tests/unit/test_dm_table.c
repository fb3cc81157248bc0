// SPDX-License-Identifier: GPL-2.0-or-later
#include "dm_table.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>
#include <sys/sysmacros.h>

#define ADD(first, sectors, params) gw_dm_table_add(&table, first, sectors, params)

Test(dm_table, reads_and_writes_lines)
{
	struct gw_dm_table table = { 0 };
	char text[GW_DM_LINE_BYTES];

	cr_assert(gw_dm_table_add_line(&table, "0 100 linear 259:3 2048") == 0);
	cr_assert(gw_dm_table_add_line(&table, "100 28 linear 8:17 0") == 0);
	cr_expect(table.count == 2);
	cr_expect(table.segments[0].dev == makedev(259, 3));
	cr_expect(table.segments[0].dev_sector == 2048);
	cr_expect(table.segments[1].first_sector == 100);
	cr_expect_str_eq(gw_dm_segment_text(&table.segments[0], text), "0 100 linear 259:3 2048");
	cr_expect_str_eq(gw_dm_segment_params(&table.segments[1], text), "8:17 0");
}

Test(dm_table, refuses_what_is_no_linear_table)
{
	static const char *const lines[] = {
		"", "0", "0 100", "0 100 linear", "0 100 striped 8:0 0", "0 100 linear 8:0",
		"0 100 linear 8 0", "0 100 linear 8:0 0 ", "0 100 linear 8:0 0 1", "0 100 linear 8:0 -1",
		" 0 100 linear 8:0 0", "0 0 linear 8:0 0", "1 100 linear 8:0 0", "-0 100 linear 8:0 0",
		"0 100 linear 4096:0 0", "0 100 linear 8:1048576 0", "0 100 linear /dev/sda 0",
		"0 36028797018963968 linear 8:0 0", "0 100 linear 8:0 36028797018963968",
		"0 36028797018963967 linear 8:0 1", "0 99999999999999999999 linear 8:0 0",
	};
	struct gw_dm_table table = { 0 };

	for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++)
		cr_expect(gw_dm_table_add_line(&table, lines[i]) == -EINVAL, "%s", lines[i]);
	cr_expect(table.count == 0);
	cr_assert(ADD(0, 8, "8:0 0") == 0);
	cr_expect(ADD(9, 8, "8:0 8") == -EINVAL, "a gap");
	cr_expect(ADD(7, 8, "8:0 8") == -EINVAL, "an overlap");
	cr_expect(table.count == 1);
}

Test(dm_table, has_room_for_so_many_and_no_more)
{
	struct gw_dm_table table = { 0 };

	for (uint64_t i = 0; i < GW_DM_SEGMENTS_MAX; i++)
		cr_assert(ADD(i * 8, 8, "8:0 0") == 0);
	cr_expect(ADD(GW_DM_SEGMENTS_MAX * 8, 8, "8:0 0") == -E2BIG);
}

Test(dm_table, moves_what_lies_on_one_device_and_nothing_else)
{
	struct gw_dm_table table = { 0 }, moved;
	uint64_t end_sector;

	cr_assert(ADD(0, 8, "8:0 100") == 0);
	cr_assert(ADD(8, 8, "8:1 0") == 0);
	cr_assert(ADD(16, 8, "8:0 50") == 0);
	cr_expect(gw_dm_table_count_on(&table, makedev(8, 0), &end_sector) == 2);
	cr_expect(end_sector == 108, "the furthest, not the last");
	cr_expect(gw_dm_table_count_on(&table, makedev(8, 2), &end_sector) == 0);
	cr_expect(end_sector == 0);
	moved = table;
	cr_expect(gw_dm_table_equal(&moved, &table));
	gw_dm_table_move(&moved, makedev(8, 0), makedev(259, 7));
	cr_expect(!gw_dm_table_equal(&moved, &table));
	cr_expect(moved.segments[0].dev == makedev(259, 7));
	cr_expect(moved.segments[0].dev_sector == 100);
	cr_expect(moved.segments[1].dev == makedev(8, 1));
	cr_expect(moved.segments[2].dev == makedev(259, 7));
	moved = table;
	moved.count--;
	cr_expect(!gw_dm_table_equal(&moved, &table));
	moved = table;
	moved.segments[2].dev_sector++;
	cr_expect(!gw_dm_table_equal(&moved, &table));
}

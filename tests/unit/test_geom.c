// SPDX-License-Identifier: GPL-2.0-or-later
#include "geom.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>

#define TIB (UINT64_C(1) << 40)

Test(geom, default_grain_keeps_the_bitmap_small)
{
	cr_expect(gw_geom_default_grain(1) == 4096);
	cr_expect(gw_geom_default_grain(2 * TIB) == 4096);
	cr_expect(gw_geom_default_grain(2 * TIB + 1) == 8192);
	cr_expect(gw_geom_default_grain(4 * TIB) == 8192);
	cr_expect(gw_geom_default_grain(512 * TIB) == GW_GRAIN_BYTES_MAX);
	cr_expect(gw_geom_default_grain(INT64_MAX) == GW_GRAIN_BYTES_MAX);
}

Test(geom, refuses_what_it_cannot_hold)
{
	static const struct gw_geom zeroed;
	struct gw_geom geom;

	memset(&geom, 0xff, sizeof(geom));
	cr_expect(gw_geom_init(&geom, 0, 4096) == -EINVAL);
	cr_expect(memcmp(&geom, &zeroed, sizeof(geom)) == 0);
	cr_expect(gw_geom_init(&geom, (uint64_t)INT64_MAX + 1, 4096) == -EINVAL);
	cr_expect(gw_geom_init(&geom, 4096, 2048) == -EINVAL);
	cr_expect(gw_geom_init(&geom, 4096, 4097) == -EINVAL);
	cr_expect(gw_geom_init(&geom, 4096, 3 * 4096) == -EINVAL);
	cr_expect(gw_geom_init(&geom, 4096, 2 * GW_GRAIN_BYTES_MAX) == -EINVAL);
}

Test(geom, counts_a_partial_grain_as_one)
{
	struct gw_geom geom;

	cr_assert(gw_geom_init(&geom, 64 * 4096 + 1, 4096) == 0);
	cr_expect(geom.size_grains == 65);
	cr_expect(geom.words == 2);
	cr_expect(geom.grain_shift == 12);
	cr_assert(gw_geom_init(&geom, 64 * 4096, 4096) == 0);
	cr_expect(geom.size_grains == 64);
	cr_expect(geom.words == 1);
	cr_assert(gw_geom_init(&geom, 1, 0) == 0);
	cr_expect(geom.grain_bytes == 4096);
	cr_expect(geom.size_grains == 1);
	cr_assert(gw_geom_init(&geom, INT64_MAX, 0) == 0);
	cr_expect(geom.size_grains == UINT64_C(1) << 43);
}

Test(geom, a_run_ends_where_the_device_ends)
{
	struct gw_geom geom;

	cr_assert(gw_geom_init(&geom, 10 * 8192 + 513, 8192) == 0);
	cr_expect(gw_geom_offset_bytes(&geom, 3) == 3 * 8192);
	cr_expect(gw_geom_run_bytes(&geom, (struct gw_run){ 0, 11 }) == 10 * 8192 + 513);
	cr_expect(gw_geom_run_bytes(&geom, (struct gw_run){ 9, 1 }) == 8192);
	cr_expect(gw_geom_run_bytes(&geom, (struct gw_run){ 10, 1 }) == 513);
	cr_expect(gw_geom_run_bytes(&geom, (struct gw_run){ 9, 2 }) == 8192 + 513);
	cr_expect(gw_geom_run_bytes(&geom, (struct gw_run){ 10, 0 }) == 0);
	cr_expect(gw_geom_run_bytes(&geom, (struct gw_run){ 11, 0 }) == 0);
}

// SPDX-License-Identifier: GPL-2.0-or-later
#include "geom.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

static uint64_t div_up(uint64_t value, uint64_t by)
{
	return value / by + (value % by != 0);
}

uint32_t gw_geom_default_grain(uint64_t size_bytes)
{
	uint32_t grain_bytes = GW_GRAIN_BYTES_MIN;

	while (grain_bytes < GW_GRAIN_BYTES_MAX &&
	       div_up(size_bytes, grain_bytes) > GW_BITMAP_BYTES_DEFAULT * 8)
		grain_bytes *= 2;
	return grain_bytes;
}

int gw_geom_init(struct gw_geom *geom, uint64_t size_bytes, uint32_t grain_bytes)
{
	memset(geom, 0, sizeof(*geom));
	if (size_bytes == 0 || size_bytes > INT64_MAX)
		return -EINVAL;
	if (grain_bytes == 0)
		grain_bytes = gw_geom_default_grain(size_bytes);
	if (grain_bytes < GW_GRAIN_BYTES_MIN || grain_bytes > GW_GRAIN_BYTES_MAX ||
	    (grain_bytes & (grain_bytes - 1)) != 0)
		return -EINVAL;
	geom->size_bytes = size_bytes;
	geom->grain_bytes = grain_bytes;
	geom->grain_shift = (uint32_t)__builtin_ctz(grain_bytes);
	geom->size_grains = div_up(size_bytes, grain_bytes);
	geom->words = div_up(geom->size_grains, 64);
	return 0;
}

uint64_t gw_geom_offset_bytes(const struct gw_geom *geom, uint64_t grain)
{
	assert(grain <= geom->size_grains);
	return grain << geom->grain_shift;
}

uint64_t gw_geom_run_bytes(const struct gw_geom *geom, struct gw_run run)
{
	uint64_t first_bytes, end_bytes;

	assert(run.first <= geom->size_grains);
	assert(run.count <= geom->size_grains - run.first);
	first_bytes = run.first << geom->grain_shift;
	end_bytes = (run.first + run.count) << geom->grain_shift;
	if (end_bytes > geom->size_bytes)
		end_bytes = geom->size_bytes;
	return run.count == 0 ? 0 : end_bytes - first_bytes;
}

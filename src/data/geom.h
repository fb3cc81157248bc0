/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The three coordinates: bytes, sectors of 512 bytes (the block layer's unit),
 * and grains (godwit's unit of tracking, copying and hashing). Only this file
 * converts between them.
 */
#ifndef GW_GEOM_H
#define GW_GEOM_H

#include <stdbool.h>
#include <stdint.h>

#define GW_SECTOR_SHIFT 9
#define GW_GRAIN_BYTES_MIN (UINT32_C(4) << 10)
#define GW_GRAIN_BYTES_MAX (UINT32_C(1) << 20)
#define GW_BITMAP_BYTES_DEFAULT (UINT64_C(64) << 20)	/* chooses the default grain */

/* Half-open: grains [first, first + count). */
struct gw_run {
	uint64_t first, count;
};

struct gw_geom {
	uint64_t size_bytes;		/* of the source */
	uint64_t size_grains;		/* the last one may be partial */
	uint32_t grain_bytes;		/* a power of two, GW_GRAIN_BYTES_MIN to _MAX */
	uint32_t grain_shift;
	uint64_t words;			/* 64-bit words of a bitmap with a bit per grain */
};

/* The finest grain whose bitmap fits GW_BITMAP_BYTES_DEFAULT (4 KiB up to 2 TiB). */
uint32_t gw_geom_default_grain(uint64_t size_bytes);

/*
 * Return: 0, or -EINVAL if size_bytes is 0 or more than INT64_MAX, or
 * grain_bytes is no power of two from GW_GRAIN_BYTES_MIN to GW_GRAIN_BYTES_MAX.
 * grain_bytes 0 means the default. *geom is zeroed on failure.
 */
int gw_geom_init(struct gw_geom *geom, uint64_t size_bytes, uint32_t grain_bytes);

/* The bytes of a run: where it starts, and how long it is (a partial last grain counted as it is). */
uint64_t gw_geom_offset_bytes(const struct gw_geom *geom, uint64_t grain);
uint64_t gw_geom_run_bytes(const struct gw_geom *geom, struct gw_run run);

#endif

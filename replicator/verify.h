/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * `godwit verify`: compare two nodes by content, at device speed, O_DIRECT,
 * both read at once. A difference is read again until both sides stand still
 * before it is called one.
 */
#ifndef GW_VERIFY_H
#define GW_VERIFY_H

#include <stdint.h>

#include "blkinfo.h"
#include "err.h"

struct gw_verify_config {
	const char *source, *target;	/* paths */
	uint32_t grain_bytes;		/* resolution of differences; 0: 4 KiB */
	uint32_t buffers;		/* 0: default */
	uint64_t bandwidth_bytes_per_s;	/* 0: no limit */
	uint64_t settle_ns;		/* between two looks at a difference (default 100 ms) */
	uint32_t settle_tries;		/* how often at most (default 50) */
	uint32_t ranges_max;		/* told to `range` (default 1000); the rest is only counted */
	/* A range of differing LBAs (source's sectors), in order. settled false: still changing at the end. */
	void (*range)(void *arg, uint64_t first_lba, uint64_t count_lba, bool settled);
	/* Every 100 ms or so. Non-zero: stop and return it. */
	int (*progress)(void *arg, uint64_t done_bytes, uint64_t total_bytes);
	void *arg;
};

struct gw_verify_result {
	uint64_t compared_bytes;
	uint64_t different_bytes;	/* settled differences, in grains */
	uint64_t unsettled_bytes;	/* still changing when the tries ran out */
	uint64_t in_flight_bytes;	/* differed first, were equal later */
	uint64_t ranges;
	uint64_t elapsed_ns;
	uint32_t lba_bytes;
};

/* Return: 0 if equal, 1 if different (or unsettled), negative errno said in diag. */
int gw_verify_run(const struct gw_verify_config *config, struct gw_verify_result *result,
		  struct gw_diag *diag);

#endif

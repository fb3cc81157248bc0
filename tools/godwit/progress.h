/* SPDX-License-Identifier: GPL-2.0-or-later */
/* How far it is, in one line of text. Pure: no I/O, no clock. */
#ifndef GW_PROGRESS_H
#define GW_PROGRESS_H

#include <stddef.h>
#include <stdint.h>

#include <godwit/migration.h>

#define GW_PROGRESS_BYTES 256

/*
 * One line, at most `columns` characters: round, percent (rounded down; 100 only
 * when all is done), done and total, rate, dirty, predicted blackout, time to
 * go. What is least needed is left out until it fits; what is not known is not
 * shown. Return: out.
 */
const char *gw_progress_line(char out[GW_PROGRESS_BYTES],
			     const struct gw_migration_progress *progress, uint32_t columns);

/* "base pass", "round 2", "blackout", "verification", ...; text lives in out or is constant. */
const char *gw_progress_phase(char out[32], const struct gw_migration_progress *progress);

/* 0 to 1000, rounded down. With nothing to do: 1000. */
uint32_t gw_progress_permille(uint64_t done_bytes, uint64_t total_bytes);

#endif

/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The migrations of this machine that run, or died: by what they have left in their places. */
#ifndef GW_NAMES_H
#define GW_NAMES_H

#include <stdint.h>

#define GW_NAMES_MAX 256

struct gw_names {
	char name[GW_NAMES_MAX][128];
	uint32_t count;
};

/*
 * Adds those that have a run file or a socket in run_dir, or a journal below the state
 * root that did not end. names must be zeroed; beyond GW_NAMES_MAX they are left out.
 */
void gw_names_find(struct gw_names *names, const char *run_dir);

#endif

/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Private to src/track: a tracking from loaded programs, for the self-test too. */
#ifndef GW_TRACK_BLOCK_H
#define GW_TRACK_BLOCK_H

#include "track.h"
#include "track_load.h"

/*
 * A tracking over load's maps, which it takes over; no program is attached yet. take and
 * stats need gw_block_adopt_links(). Return: 0 or negative errno, said.
 */
int gw_block_adopt_maps(struct gw_track **track, struct gw_load *load, const struct gw_plan *plan,
			const char *name, struct gw_diag *diag);
/* Takes over load's links, all of which are attached. */
int gw_block_adopt_links(struct gw_track *track, struct gw_load *load, struct gw_diag *diag);

/* Is a flag raised for which the next take will say that everything was marked? */
bool gw_block_is_all_suspect(const struct gw_track *track);
/* Marks, slots and counters as at the start. Only while nothing is in flight. */
int gw_block_forget(struct gw_track *track, struct gw_diag *diag);

#endif

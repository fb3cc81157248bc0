/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Private to src/track: what track_start.c and track_block.c share of a tracking. */
#ifndef GW_TRACK_BLOCK_H
#define GW_TRACK_BLOCK_H

#include "track.h"
#include "track_load.h"
#include "track_pins.h"

struct gw_block_track {
	struct gw_plan plan;
	char name[GW_PINS_NAME_MAX + 1];	/* "": not pinned */
	int map_fds[GW_MAPS];
	int link_fds[GW_LINKS];
	int program_fds[GW_PROGRAMS_WATCHED];
	void *mapped[GW_MAPS];
	size_t mapped_bytes[GW_MAPS];
	/* In the mappings: */
	struct gw_track_header *header;
	_Atomic uint64_t *coarse;
	struct gw_bpf_state *state;
	struct gw_bpf_slot *slots;
	uint64_t slot_count;
	uint64_t swept_ns;
};

extern const struct gw_track_ops gw_block_ops, gw_nvme_ops;

/* Closes and frees; what is pinned goes on. Also what is half built. */
void gw_block_close(struct gw_track *track);
/* Says that the programs saw the disk's number with another diskseq. Return: -ESTALE. */
int gw_block_fail_other_disk(const struct gw_track *track, struct gw_diag *diag);

/*
 * A tracking over load's maps, which it takes over; no program is attached yet. take and
 * stats need gw_block_adopt_links(). Return: 0 or negative errno, said.
 */
int gw_block_adopt_maps(struct gw_track **track, struct gw_load *load, const struct gw_plan *plan,
			const char *name, struct gw_diag *diag);
/* Takes over load's links, all of which are attached. */
int gw_block_adopt_links(struct gw_track *track, struct gw_load *load, struct gw_diag *diag);
/*
 * After that: returns when nothing is in flight whose submission was before it. load is that of
 * the track. Return: 0 or -ETIMEDOUT, said.
 */
int gw_block_await_unseen(struct gw_track *track, const struct gw_load *load, struct gw_diag *diag);

/* Does the kernel count nothing as in flight on the disk? False if it does not count. */
bool gw_block_is_disk_idle(const struct gw_node *node);

#define GW_BLOCK_SKIPPED_TEXT "the kernel skipped submissions and completions"
/* Appends to text what raised each of these flags, with "; " between. */
void gw_block_explain_flags(char *text, size_t bytes, const struct gw_bpf_state *state,
			    uint64_t flags);
/* Is a flag raised for which the next take will say that everything was marked? */
bool gw_block_is_all_suspect(const struct gw_track *track);
/* Marks, slots and counters as at the start. Only while nothing is in flight. */
int gw_block_forget(struct gw_track *track, struct gw_diag *diag);

#endif

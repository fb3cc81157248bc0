/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * How long the foreground's I/O on a disk or partition takes, seen by BPF programs that
 * die with the process. One thread owns a gw_latency_watch.
 */
#ifndef GW_TRACK_LATENCY_H
#define GW_TRACK_LATENCY_H

#include <stdint.h>

#include <godwit/bpf_abi.h>

#include "blkinfo.h"
#include "err.h"
#include "hist.h"

/* All since the start; it only grows. */
struct gw_latency_look {
	struct gw_hist kinds[GW_LATENCY_KINDS];	/* the foreground's requests (bios on a bio-based disk) */
	uint64_t not_timed;		/* the foreground's, of which nobody knows when they began */
	uint64_t missed;		/* completions of any disk that the kernel kept from the program */
	uint64_t copier[GW_LATENCY_KINDS];	/* completed with the copier's I/O priority */
	uint64_t copier_read_bytes;
};

struct gw_latency_watch;

/*
 * From here on, I/O on node is seen; I/O with copier_ioprio is only counted. Return: 0, or
 * negative errno, said (GW_EXIT_CANNOT). Needs what gw_track_block_start() needs.
 */
int gw_latency_start(struct gw_latency_watch **watch, const struct gw_node *node,
		     uint32_t copier_ioprio, struct gw_diag *diag);
/* Bytes of memory, here and in the kernel; fixed. */
uint64_t gw_latency_bytes(const struct gw_latency_watch *watch);
void gw_latency_take_look(const struct gw_latency_watch *watch, struct gw_latency_look *look);
void gw_latency_stop(struct gw_latency_watch *watch);	/* NULL is fine */

#endif

/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Dirty sources: which grains of a device were written since the last take.
 * One interface (gw_track_ops), implementations track_block.c (BPF on the block
 * layer's tracepoints, pinned in bpffs), track_nvme.c (the same on the NVMe driver's) and track_model.c (tests, and sources
 * that nobody writes to). One thread owns a gw_track.
 */
#ifndef GW_TRACK_H
#define GW_TRACK_H

#include <stdbool.h>
#include <stdint.h>

#include "bitmap.h"
#include "blkinfo.h"
#include "err.h"
#include "geom.h"
#include "spans.h"

#define GW_BPFFS_DIR "/sys/fs/bpf"
#define GW_PINS_DIR GW_BPFFS_DIR "/godwit"

enum gw_track_source { GW_SOURCE_BLOCK, GW_SOURCE_NVME };

struct gw_track_stats {
	uint64_t writes, write_bytes;	/* submissions seen that change media, and their bytes */
	uint64_t discards;		/* of these: discard, secure erase, write zeroes */
	uint64_t completions;
	uint64_t lost_found;		/* completions that only the in-flight slots found; their ranges were marked */
	uint64_t unseen_submissions;	/* completions whose submission was never seen */
	uint64_t coarse_marks;		/* long ranges that went to the coarse bitmap */
	uint64_t whole_device_marks;	/* times everything was marked, see gw_track_take() */
	uint64_t misses_submit;		/* recursion_misses of the submission program */
	uint64_t misses_complete[3];	/* of the three copies of the completion program */
};

struct gw_track_taken {
	uint64_t fresh_grains;		/* new in pending */
	bool whole_device;		/* everything was marked, because ... */
	bool is_erased;			/* ... a Format NVM or Sanitize was sent, refused or not */
	char why[128];			/* ... in words; "" otherwise */
};

struct gw_track_in_flight {
	uint64_t count;			/* writes submitted and not yet completed */
	uint64_t oldest_age_ns;		/* of the oldest one; 0 if there is none */
};

struct gw_track;

struct gw_track_ops {
	const char *name;
	int (*take)(struct gw_track *track, struct gw_track_taken *taken, struct gw_diag *diag);
	int (*in_flight)(struct gw_track *track, struct gw_track_in_flight *out,
			 struct gw_diag *diag);
	int (*stats)(struct gw_track *track, struct gw_track_stats *stats, struct gw_diag *diag);
	int (*drop_marks)(struct gw_track *track, struct gw_diag *diag);
	int (*stop)(struct gw_track *track, struct gw_diag *diag);
	void (*close)(struct gw_track *track);
};

/* Filled by the implementation; readers use the functions below. */
struct gw_track {
	const struct gw_track_ops *ops;
	struct gw_geom geom;
	/* Rule 3. They live in pinned maps: what is in them outlives the process. */
	struct gw_bitmap live;		/* marked by the kernel; its coarse half is hidden in take */
	struct gw_bitmap pending;	/* to be copied */
	struct gw_bitmap copying;	/* in a slot, or not yet durable on the target */
	uint64_t generation;		/* random, of this tracking; the journal names it */
	struct gw_node node;		/* what is tracked */
	void *impl;
};

/*
 * Moves every mark made before the call out of live into pending. Also finds
 * lost completions, long ranges, and the states in which track was lost: then
 * everything is pending and taken says why. -ESTALE: the disk behind the node
 * is another one now. Return: 0 or negative errno, said in diag.
 */
int gw_track_take(struct gw_track *track, struct gw_track_taken *taken, struct gw_diag *diag);

/*
 * Drops every mark made so far (live and its coarse half, flags). Only right before
 * the first read of a pass over everything that is allocated.
 */
int gw_track_drop_marks(struct gw_track *track, struct gw_diag *diag);

/* Marks are made before the submitter is told, so all acknowledged writes are visible to a take: a full barrier. */
void gw_track_fence(struct gw_track *track);

int gw_track_in_flight(struct gw_track *track, struct gw_track_in_flight *out,
		       struct gw_diag *diag);
int gw_track_stats(struct gw_track *track, struct gw_track_stats *stats, struct gw_diag *diag);

/* Detaches, unpins, closes and frees. Return: 0 or the first error, said in diag; freed all the same. */
int gw_track_stop(struct gw_track *track, struct gw_diag *diag);
/* Closes and frees; a pinned tracking goes on in the kernel. NULL is fine. */
void gw_track_close(struct gw_track *track);

/* Both BPF sources, below: `nvme` shares all but its programs with `block`. */
struct gw_track_block_config {
	enum gw_track_source source;
	const char *name;		/* pins go to GW_PINS_DIR/name; NULL: not pinned */
	const struct gw_node *node;	/* block device, whole or partition */
	uint32_t grain_bytes;		/* 0: default */
	uint64_t size_bytes;		/* tracked from the node's start; 0: the whole node */
	uint64_t record_bytes;		/* memory for the exact record; 0: none is kept */
	bool skip_self_test;		/* only for a second tracking right after a first one */
};
/* GW_SOURCE_NVME for a namespace, where this kernel's driver has the tracepoints. */
enum gw_track_source gw_track_source_for(const struct gw_node *node);
/* Has the NVMe driver of this kernel the tracepoints? For root. */
bool gw_track_nvme_is_there(void);
/*
 * Self-test (block: on a scratch loop device, nvme: by reading a few blocks), load, attach (completion programs first),
 * pin. When it returns, every write that changes the media is marked, and those that were in flight
 * before have ended (track_survey.c; bios: if the disk was idle once). Nothing is
 * left pinned on failure. Errors (exit code GW_EXIT_CANNOT): no BTF, no bpffs,
 * no privilege, NVMe multipath head (block), no namespace (nvme), already tracked under that name or that
 * disk by another name, self-test failed, writes that do not end.
 */
int gw_track_block_start(struct gw_track **track, const struct gw_track_block_config *config,
			 struct gw_diag *diag);
/*
 * Opens the pins of a tracking that runs. Return: 0; -ENOENT: there is none
 * (reboot, or stopped); -EPROTO (GW_EXIT_CANNOT): written by another version;
 * -ESTALE: the disk behind the name is another one now; said in diag.
 */
int gw_track_block_open(struct gw_track **track, const char *name, struct gw_diag *diag);
/*
 * Removes the pins under that name whatever state they are in (half made, another
 * version). Return: 0 (also if there were none), or negative errno.
 */
int gw_track_block_remove(const char *name, struct gw_diag *diag);

#define GW_RECORD_BYTES_DEFAULT (UINT64_C(16) << 20)

/* What a tracking with an exact record has seen since its start. Nothing in it is ever forgotten. */
struct gw_track_record {
	struct gw_span *exact;		/* sectors of the node; as commands named them, so they may overlap */
	size_t exact_count;
	struct gw_span *coarse;		/* the same by whole units, of what the record had no room for */
	size_t coarse_count;
	uint64_t ranges_max;		/* what it has room for */
	uint64_t unit_sectors;
	uint64_t bytes;			/* of memory in the kernel; fixed */
	uint64_t coarsened;		/* times that a range went to the units */
	uint64_t lost_found;		/* completions that were lost: a last time may be that of the submission */
	uint64_t started_ns, started_wall_ns;	/* of CLOCK_MONOTONIC, which all times are of; of the day */
	char whole[256];		/* why anything else may have been written, too; "" otherwise */
};
/*
 * Of a tracking by a BPF source, which goes on meanwhile. Return: 0; -ENODATA: it was started
 * without one; or negative errno; said (GW_EXIT_CANNOT). Undo with gw_track_record_fini().
 */
int gw_track_block_record(struct gw_track *track, struct gw_track_record *record,
			  struct gw_diag *diag);
void gw_track_record_fini(struct gw_track_record *record);
/* Memory that the record takes in the kernel, and the ranges it has room for; 0 if there is none. */
uint64_t gw_track_block_record_room(const struct gw_track *track, uint64_t *ranges);

/* Calls fn with each name pinned below GW_PINS_DIR. Return: 0, fn's first non-zero answer, or negative errno. */
int gw_track_block_each(int (*fn)(void *arg, const char *name), void *arg);
/* The self-test alone, for preflight. Return: 0 or negative errno with the reason in diag. */
int gw_track_block_self_test(bool bio_based, struct gw_diag *diag);
/* That of the source `nvme`: reads a few blocks of node, writes nothing. */
int gw_track_nvme_self_test(const struct gw_node *node, struct gw_diag *diag);

/*
 * A source that nothing writes to, or a test's: bitmaps in own memory. live is
 * marked by gw_bitmap_set() on track->live.
 */
int gw_track_model_start(struct gw_track **track, uint64_t size_bytes, uint32_t grain_bytes);

#endif

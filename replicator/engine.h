/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The pipeline: read, look for zeroes, hash, (compare,) write, flush in batches.
 * One thread, fixed memory. It is given a bitmap of pending grains and returns
 * when all of them are settled, i.e. durable on the target (docs/invariants.md).
 *
 * A grain is in pending, else in copying (a slot holds it, or it waits for its
 * batch to be flushed), else settled. Whatever fails goes back to pending.
 */
#ifndef GW_ENGINE_H
#define GW_ENGINE_H

#include <stdbool.h>
#include <stdint.h>

#include "bitmap.h"
#include "clock.h"
#include "dev.h"
#include "err.h"
#include "geom.h"
#include "heat.h"
#include "pacer.h"

#define GW_RUN_BYTES_MAX (UINT32_C(1) << 20)

struct gw_engine_stats {
	uint64_t read_bytes;		/* from the source */
	uint64_t written_bytes;		/* as data */
	uint64_t zeroed_bytes;		/* by write-zeroes or hole punching */
	uint64_t vacant_bytes;		/* not read: vacant */
	uint64_t zero_skipped_bytes;	/* zeroes that the target is known to hold */
	uint64_t same_skipped_bytes;	/* compare: the target held them already */
	uint64_t settled_bytes;		/* durable on the target */
	uint64_t verified_bytes;	/* read back from the target and equal to the digest */
	uint64_t runs, batches, flushes, flush_failures;
	uint64_t flush_ns_last, flush_ns_max;
	uint64_t in_flight_bytes;	/* in slots now */
	uint64_t busy_ns;		/* with a run in flight: neither paced, nor waiting for a flush alone */
};

/* What the caller does at every batch that became durable, before it is taken out of copying. */
struct gw_batch {
	uint64_t settled_bytes, runs;
	uint64_t first_grain, end_grain;	/* hull of its runs */
	uint64_t flush_ns;
};

struct gw_engine_config {
	struct gw_geom geom;
	struct gw_dev *dev;		/* borrowed; depth at least gw_engine_depth(buffers) */
	void *slab;			/* gw_engine_slab_bytes(), aligned to 4096; what the dev registered */
	uint32_t buffers;		/* slots: each for a long run, or for up to 32 short ones */
	uint32_t run_bytes;		/* largest run, a power of two, grain to GW_RUN_BYTES_MAX */
	bool compare;			/* read the target too and write only what differs (--resync) */
	bool target_is_zero;		/* at the start every grain of the target reads as zeroes */
	struct gw_bitmap *live;		/* cleared ahead of each read; NULL for none */
	struct gw_bitmap *pending, *copying;	/* both NULL: an engine that only verifies */
	/*
	 * Grains that are not read in the first call: the target gets zeroes. What is marked in
	 * live there stays marked. NULL for none.
	 */
	const struct gw_bitmap *vacant;
	struct gw_heat *heat;		/* counts marks ahead of reads; what it holds is not copied; NULL for none */
	struct gw_bitmap *unverified;	/* settled grains are set here; NULL without --verify */
	uint64_t *digests;		/* a word a grain; NULL for none */
	struct gw_pacer *pacer;
	const struct gw_clock *clock;
	struct gw_diag *diag;
	uint64_t tick_ns;		/* how often tick is called at least (default 20 ms) */
	/* 0: go on; negative: stop, drain, and return that. Acts on time, signals, progress. */
	int (*tick)(void *arg);
	/* Journal record of a batch, appended and synced. 0 or negative errno: the batch is dirty again. */
	int (*settled)(void *arg, const struct gw_batch *batch);
	void *arg;
};

struct gw_engine;

/* Tags that the dev must have; bytes of slab (fixed at start: with the bitmaps it is the footprint). */
uint32_t gw_engine_depth(uint32_t buffers);
uint64_t gw_engine_slab_bytes(uint32_t buffers, uint32_t run_bytes, bool compare);

/* What an engine allocates for itself. */
uint64_t gw_engine_bytes(uint32_t buffers);

/* Allocates all that it will ever use. Return: 0, -EINVAL, -ENOMEM. */
int gw_engine_create(struct gw_engine **engine, const struct gw_engine_config *config);
void gw_engine_destroy(struct gw_engine *engine);	/* NULL is fine */

/*
 * Copies until pending is empty, but for what heat holds back, and everything taken is settled. Return: 0, or
 * the first failure or tick's answer; then everything not settled is pending
 * again and nothing is in flight. I/O errors name the end and the LBA in diag.
 */
int gw_engine_copy(struct gw_engine *engine);

/*
 * Reads the target where `unverified` is set and compares with the digests;
 * clears what was verified. Only settled grains may be set. Return: 0; -EILSEQ
 * at a difference (the grain and its LBA named in diag); else as copy.
 */
int gw_engine_verify(struct gw_engine *engine);

/* Flush of the target alone, timed in stats. */
int gw_engine_flush(struct gw_engine *engine);

const struct gw_engine_stats *gw_engine_stats(const struct gw_engine *engine);

#endif

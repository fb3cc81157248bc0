// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The whole engine on the model, with one fault at every I/O in turn: for each
 * n, until n is beyond the last. One oracle: what is settled is durable and is
 * what was read; in the end the target equals the source.
 */
#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bitmap.h"
#include "dev.h"
#include "dev_model.h"
#include "digest.h"
#include "engine.h"
#include "err.h"
#include "geom.h"
#include "only.h"
#include "pacer.h"

#define BUFFERS 4
#define N_MAX 100000			/* no I/O has this number: the loop would not end */

struct shape {
	const char *name;
	uint64_t size_bytes;
	uint32_t source_align, target_align;
	uint32_t grain_bytes, run_bytes;
	uint64_t bytes_per_s;		/* slow enough for several batches */
	bool compare, target_is_zero;
	bool scattered;			/* only some grains are pending, the others are there already */
};

static const struct shape shapes[] = {
	{ "one sector", 512, 512, 512, 4096, 4096, 0, false, false, false },
	{ "one grain", 4096, 4096, 512, 4096, 65536, 0, false, true, false },
	{ "odd file tail", 5 * 65536 + 1234, 4096, 4096, 4096, 131072, 0, false, false, false },
	{ "odd tail, zero target", 3 * 65536 + 4097, 512, 4096, 4096, 65536, 100000, false, true, false },
	{ "sectors of 512", 6 * 65536 + 512, 512, 512, 4096, 131072, 150000, false, false, false },
	{ "sectors of 4096", 9 * 65536, 4096, 4096, 16384, 65536, 250000, false, false, false },
	{ "512 to 4096, large grain", 12 * 65536 + 1536, 512, 4096, 65536, 65536, 0, false, false,
	  false },
	{ "long zeroes", 20 * 65536 + 512, 512, 512, 4096, 131072, 0, false, false, false },
	{ "compare", 5 * 65536 + 7 * 512, 512, 512, 4096, 131072, 150000, true, false, false },
	{ "compare, odd file tail", 3 * 65536 + 77, 4096, 4096, 4096, 65536, 0, true, false, false },
	{ "scattered", 6 * 65536 + 512, 512, 512, 4096, 131072, 0, false, false, true },
	{ "scattered, paced", 6 * 65536, 512, 4096, 4096, 65536, 250000, false, false, true },
	{ "scattered, compare", 4 * 65536 + 77, 512, 512, 4096, 65536, 0, true, false, true },
};

#define SHAPES (sizeof(shapes) / sizeof(shapes[0]))

/* Several batches whose runs fall into several writes each: some done, some not, when a flush fails. */
static const struct shape busy_shapes[] = {
	{ "busy, zero target", 40 * 65536, 512, 512, 4096, 32768, 1600000, false, true, false },
	{ "busy, compare", 40 * 65536 + 512, 512, 512, 4096, 32768, 1600000, true, false, false },
	{ "busy, scattered", 40 * 65536 + 512, 512, 512, 4096, 131072, 1600000, false, false, true },
};

#define BUSY_SHAPES (sizeof(busy_shapes) / sizeof(busy_shapes[0]))

struct rig {
	const struct shape *shape;
	struct gw_geom geom;
	struct gw_dev_model *model;
	struct gw_dev *dev;
	struct gw_engine *engine;
	struct gw_engine_config config;
	struct gw_bitmap live, pending, copying, unverified;
	struct gw_bitmap cut_pending, cut_copying;	/* as they were when power was cut */
	bool was_cut;
	struct gw_pacer pacer;
	struct gw_diag diag;
	uint64_t *digests;
	void *slab;
	uint64_t settled_calls, fail_settled_at, recorded_bytes;
	uint64_t ticks, stop_at_tick;
};

static const char *context = "";	/* said with a failure */
static uint64_t context_n;
static unsigned int failures;

#define CHECK(condition) check((condition), #condition, __LINE__)

static bool check(bool holds, const char *text, int line)
{
	if (!holds && failures++ < 20)
		printf("# line %d, %s, n %" PRIu64 ": %s\n", line, context, context_n, text);
	return holds;
}

static uint64_t mix(uint64_t x)
{
	x = (x ^ x >> 31) * UINT64_C(0x7fb5d329728ea185);
	return x ^ x >> 27;
}

/* Stretches of zeroes and of data, some of them long enough for a write-zeroes. */
static void fill_source(uint8_t *bytes, uint64_t size_bytes, uint32_t run_bytes, uint64_t seed)
{
	const uint64_t most = run_bytes == 32768 ? 3 : 40;
	bool zeroes = false;

	for (uint64_t at = 0; at < size_bytes;) {
		const uint64_t want = (1 + mix(seed + at) % most) * 4096;
		const uint64_t end = at + want < size_bytes ? at + want : size_bytes;

		for (; at < end; at++)
			bytes[at] = zeroes ? 0 : (uint8_t)mix(at * 31 + seed);
		zeroes = !zeroes;
	}
}

/* The target of a resync is equal here and there; any other one holds old data. */
static void fill_target(struct rig *rig)
{
	const uint8_t *const source = gw_dev_model_bytes(rig->model, GW_SOURCE);
	uint8_t *const target = gw_dev_model_bytes(rig->model, GW_TARGET);

	if (rig->shape->target_is_zero)
		return;
	for (uint64_t at = 0; at < rig->geom.size_bytes; at++)
		target[at] = rig->shape->compare && at / 8192 % 3 != 0 ? source[at] : 0xa5;
	gw_dev_model_harden(rig->model);
}

static bool is_first_pending(const struct rig *rig, uint64_t grain)
{
	return !rig->shape->scattered || mix(grain * 7 + 5) % 3 != 0;
}

/* What is not pending at the start was settled before, with its digest. */
static void set_pending(struct rig *rig)
{
	const uint8_t *const source = gw_dev_model_bytes(rig->model, GW_SOURCE);
	uint8_t *const target = gw_dev_model_bytes(rig->model, GW_TARGET);

	for (uint64_t grain = 0; grain < rig->geom.size_grains; grain++) {
		const struct gw_run run = { grain, 1 };
		const uint64_t at = gw_geom_offset_bytes(&rig->geom, grain);
		const uint64_t bytes = gw_geom_run_bytes(&rig->geom, run);

		if (is_first_pending(rig, grain)) {
			gw_bitmap_set(&rig->pending, run);
			continue;
		}
		memcpy(target + at, source + at, bytes);
		rig->digests[grain] = gw_digest_of(source + at, bytes);
	}
	if (!rig->shape->scattered)
		return;
	/* Whoever wrote it wrote the last unit whole. */
	for (uint64_t at = rig->geom.size_bytes; at % rig->shape->target_align != 0; at++)
		target[at] = 0;
	gw_dev_model_harden(rig->model);
}

static int on_settled(void *arg, const struct gw_batch *batch)
{
	struct rig *const rig = arg;

	CHECK(batch->runs > 0);
	CHECK(batch->settled_bytes > 0);
	CHECK(batch->first_grain < batch->end_grain);
	/* Until this is recorded they are copied again, should the process die. */
	CHECK(gw_bitmap_test(&rig->copying, batch->first_grain));
	CHECK(gw_bitmap_test(&rig->copying, batch->end_grain - 1));
	rig->settled_calls++;
	if (rig->settled_calls == rig->fail_settled_at)
		return -ENOSPC;
	rig->recorded_bytes += batch->settled_bytes;
	return 0;
}

static int on_tick(void *arg)
{
	struct rig *const rig = arg;

	rig->ticks++;
	return rig->ticks == rig->stop_at_tick ? -ECANCELED : 0;
}

static void copy_bitmap(struct gw_bitmap *to, const struct gw_bitmap *from)
{
	for (uint64_t grain = 0; grain < from->size_grains; grain++) {
		const struct gw_run run = { grain, 1 };

		if (gw_bitmap_test(from, grain))
			gw_bitmap_set(to, run);
		else
			gw_bitmap_clear(to, run);
	}
}

static void on_cut(void *arg)
{
	struct rig *const rig = arg;

	rig->was_cut = true;
	copy_bitmap(&rig->cut_pending, &rig->pending);
	copy_bitmap(&rig->cut_copying, &rig->copying);
}

static void start_engine(struct rig *rig)
{
	int err = gw_dev_model_open(&rig->dev, rig->model, NULL);

	assert(err == 0);
	rig->config.dev = rig->dev;
	err = gw_engine_create(&rig->engine, &rig->config);
	assert(err == 0);
}

static void stop_engine(struct rig *rig)
{
	gw_engine_destroy(rig->engine);
	gw_dev_close(rig->dev);
}

static void *new_slab(const struct shape *shape)
{
	const uint64_t bytes = gw_engine_slab_bytes(BUFFERS, shape->run_bytes, shape->compare);
	void *const slab = aligned_alloc(4096, bytes);

	assert(slab != NULL);
	memset(slab, 0x5a, bytes);
	return slab;
}

static struct gw_engine_config config_of(struct rig *rig)
{
	return (struct gw_engine_config){
		.geom = rig->geom,
		.slab = rig->slab,
		.buffers = BUFFERS,
		.run_bytes = rig->shape->run_bytes,
		.compare = rig->shape->compare,
		.target_is_zero = rig->shape->target_is_zero,
		.live = &rig->live,
		.pending = &rig->pending,
		.copying = &rig->copying,
		.unverified = &rig->unverified,
		.digests = rig->digests,
		.pacer = &rig->pacer,
		.clock = gw_dev_model_clock(rig->model),
		.diag = &rig->diag,
		.tick = on_tick,
		.settled = on_settled,
		.arg = rig,
	};
}

static struct rig *new_rig(const struct shape *shape, uint64_t seed)
{
	const struct gw_end_info ends[GW_ENDS] = {
		{ shape->size_bytes, shape->source_align, false },
		{ shape->size_bytes, shape->target_align, false },
	};
	struct rig *const rig = calloc(1, sizeof(*rig));
	int err;

	assert(rig != NULL);
	rig->shape = shape;
	err = gw_geom_init(&rig->geom, shape->size_bytes, shape->grain_bytes);
	assert(err == 0);
	err = gw_dev_model_create(&rig->model, ends, gw_engine_depth(BUFFERS), seed);
	assert(err == 0);
	fill_source(gw_dev_model_bytes(rig->model, GW_SOURCE), shape->size_bytes, shape->run_bytes,
		    seed);
	fill_target(rig);
	gw_dev_model_on_cut(rig->model, on_cut, rig);
	struct gw_bitmap *const bitmaps[] = { &rig->live, &rig->pending, &rig->copying,
					      &rig->unverified, &rig->cut_pending,
					      &rig->cut_copying };
	for (size_t i = 0; i < sizeof(bitmaps) / sizeof(bitmaps[0]); i++) {
		err = gw_bitmap_create(bitmaps[i], rig->geom.size_grains);
		assert(err == 0);
	}
	rig->digests = calloc(rig->geom.size_grains, sizeof(*rig->digests));
	assert(rig->digests != NULL);
	set_pending(rig);
	rig->slab = new_slab(shape);
	gw_pacer_set(&rig->pacer, shape->bytes_per_s, 0);
	rig->config = config_of(rig);
	start_engine(rig);
	return rig;
}

static void end_rig(struct rig *rig)
{
	stop_engine(rig);
	gw_dev_model_destroy(rig->model);
	gw_bitmap_destroy(&rig->live);
	gw_bitmap_destroy(&rig->pending);
	gw_bitmap_destroy(&rig->copying);
	gw_bitmap_destroy(&rig->unverified);
	gw_bitmap_destroy(&rig->cut_pending);
	gw_bitmap_destroy(&rig->cut_copying);
	free(rig->digests);
	free(rig->slab);
	free(rig);
}

/* ---- the oracle ---- */

static uint64_t digest_at(const struct rig *rig, const uint8_t *bytes, uint64_t grain)
{
	const struct gw_run run = { grain, 1 };

	return gw_digest_of(bytes + gw_geom_offset_bytes(&rig->geom, grain),
			    gw_geom_run_bytes(&rig->geom, run));
}

/* Settled: durable, and what was read from the source. */
static void check_settled(const struct rig *rig, const struct gw_bitmap *pending,
			  const struct gw_bitmap *copying)
{
	const uint8_t *const durable = gw_dev_model_durable(rig->model);

	for (uint64_t grain = 0; grain < rig->geom.size_grains; grain++) {
		if (gw_bitmap_test(pending, grain) || gw_bitmap_test(copying, grain))
			continue;
		if (!CHECK(digest_at(rig, durable, grain) == rig->digests[grain]))
			return;
	}
}

static void check_identical(struct rig *rig)
{
	const uint8_t *const source = gw_dev_model_bytes(rig->model, GW_SOURCE);
	const uint64_t size_bytes = rig->geom.size_bytes;

	CHECK(gw_bitmap_is_empty(&rig->pending));
	CHECK(gw_bitmap_is_empty(&rig->copying));
	CHECK(memcmp(source, gw_dev_model_bytes(rig->model, GW_TARGET), size_bytes) == 0);
	CHECK(memcmp(source, gw_dev_model_durable(rig->model), size_bytes) == 0);
	/* What is written behind the end, up to a whole unit, is zero. */
	for (uint64_t at = size_bytes; at % rig->shape->target_align != 0; at++)
		CHECK(gw_dev_model_bytes(rig->model, GW_TARGET)[at] == 0);
	for (uint64_t grain = 0; grain < rig->geom.size_grains; grain++)
		if (!CHECK(digest_at(rig, source, grain) == rig->digests[grain]))
			break;
	CHECK(gw_engine_stats(rig->engine)->in_flight_bytes == 0);
}

/* What must hold after a call that failed: nothing is in flight, nothing was forgotten. */
static void check_failed(struct rig *rig, int err, int want)
{
	CHECK(err == want);
	CHECK(gw_bitmap_is_empty(&rig->copying));
	CHECK(gw_engine_stats(rig->engine)->in_flight_bytes == 0);
	CHECK(gw_engine_stats(rig->engine)->settled_bytes == rig->recorded_bytes);
	check_settled(rig, &rig->pending, &rig->copying);
}

static void check_verifies(struct rig *rig)
{
	const struct gw_model_fault none = { .action = GW_MODEL_NOTHING };

	gw_dev_model_inject(rig->model, &none);
	CHECK(gw_engine_verify(rig->engine) == 0);
	CHECK(gw_bitmap_is_empty(&rig->unverified));
}

/* No fault any more: it goes on, and ends well. */
static void finish(struct rig *rig)
{
	const struct gw_model_fault none = { .action = GW_MODEL_NOTHING };

	gw_dev_model_inject(rig->model, &none);
	gw_diag_clear(&rig->diag);
	rig->fail_settled_at = rig->stop_at_tick = 0;
	CHECK(gw_engine_copy(rig->engine) == 0);
	CHECK(!rig->diag.failed);
	check_identical(rig);
	check_verifies(rig);
}

/* ---- faults of an I/O ---- */

struct scenario {
	const char *name;
	struct gw_model_fault fault;
	int want;			/* of gw_engine_copy() */
	const char *says;		/* in the message, if it fails */
};

#define READS GW_MODEL_OP(GW_IO_READ)
#define WRITES (GW_MODEL_OP(GW_IO_WRITE) | GW_MODEL_OP(GW_IO_ZERO))
#define TRANSFERS (READS | GW_MODEL_OP(GW_IO_WRITE))
#define FLUSHES GW_MODEL_OP(GW_IO_FLUSH)
#define ALL GW_MODEL_ANY

static const struct scenario scenarios[] = {
	{ "a read fails once", { GW_MODEL_ERROR, GW_MODEL_ONCE, READS, ALL, 0, -EIO }, 0, NULL },
	{ "a source sector is bad",
	  { GW_MODEL_ERROR, GW_MODEL_SAME_PLACE, READS, GW_MODEL_END(GW_SOURCE), 0, -EIO },
	  -EIO, "source: cannot read LBA" },
	{ "a target sector cannot be read",
	  { GW_MODEL_ERROR, GW_MODEL_SAME_PLACE, READS, GW_MODEL_END(GW_TARGET), 0, -ENODATA },
	  -ENODATA, "target: cannot read LBA" },
	{ "a write fails once", { GW_MODEL_ERROR, GW_MODEL_ONCE, WRITES, ALL, 0, -EIO }, 0, NULL },
	{ "a target sector is bad", { GW_MODEL_ERROR, GW_MODEL_SAME_PLACE, WRITES, ALL, 0, -EIO },
	  -EIO, "target: cannot " },
	{ "the target is full", { GW_MODEL_ERROR, GW_MODEL_EVER_AFTER, WRITES, ALL, 0, -ENOSPC },
	  -ENOSPC, "LBA" },
	{ "the source vanishes",
	  { GW_MODEL_ERROR, GW_MODEL_EVER_AFTER, ALL, GW_MODEL_END(GW_SOURCE), 0, -ENODEV },
	  -ENODEV, "source: cannot read LBA" },
	{ "a transfer is interrupted", { GW_MODEL_ERROR, GW_MODEL_ONCE, TRANSFERS, ALL, 0, -EINTR },
	  0, NULL },
	{ "a queue is busy", { GW_MODEL_ERROR, GW_MODEL_ONCE, TRANSFERS, ALL, 0, -EAGAIN },
	  0, NULL },
	{ "a transfer is short", { GW_MODEL_SHORT, GW_MODEL_ONCE, TRANSFERS, ALL, 0, 0 }, 0, NULL },
	{ "an I/O is late", { GW_MODEL_LATE, GW_MODEL_ONCE, ALL, ALL, 0, 0 }, 0, NULL },
	{ "no write-zeroes",
	  { GW_MODEL_ERROR, GW_MODEL_EVER_AFTER, GW_MODEL_OP(GW_IO_ZERO), ALL, 0, -EOPNOTSUPP },
	  0, NULL },
	{ "a flush fails once", { GW_MODEL_ERROR, GW_MODEL_ONCE, FLUSHES, ALL, 0, -EIO }, 0, NULL },
	{ "a flush is late", { GW_MODEL_LATE, GW_MODEL_ONCE, FLUSHES, ALL, 0, 0 }, 0, NULL },
	{ "each flush fails", { GW_MODEL_ERROR, GW_MODEL_EVER_AFTER, FLUSHES, ALL, 0, -EIO },
	  -EIO, "target: flush failed" },
	{ "the queue breaks", { GW_MODEL_BREAK_QUEUE, GW_MODEL_ONCE, ALL, ALL, 0, 0 },
	  -EFAULT, "queue" },
};

#define SCENARIOS (sizeof(scenarios) / sizeof(scenarios[0]))

/* A queue that broke, or a process that died: a new engine on the same bitmaps. */
static void restart_engine(struct rig *rig)
{
	stop_engine(rig);
	/* It was written to: nothing is known of it any more. */
	rig->config.target_is_zero = false;
	start_engine(rig);
}

/* Return: false when there is no nth I/O. */
static bool run_fault(const struct shape *shape, const struct scenario *scenario, uint64_t n)
{
	struct rig *const rig = new_rig(shape, n * 7 + 1);
	struct gw_model_fault fault = scenario->fault;
	bool struck;
	int err;

	fault.nth = n;
	gw_dev_model_inject(rig->model, &fault);
	err = gw_engine_copy(rig->engine);
	struck = gw_dev_model_strikes(rig->model) > 0;
	if (struck && scenario->want < 0) {
		check_failed(rig, err, scenario->want);
		CHECK(rig->diag.failed);
		CHECK(rig->diag.exit_code == GW_EXIT_IO);
		CHECK(strstr(rig->diag.text, scenario->says) != NULL);
		CHECK(gw_engine_stats(rig->engine)->flush_failures <= 3);
		if (fault.action == GW_MODEL_BREAK_QUEUE) {
			CHECK(gw_engine_copy(rig->engine) < 0);
			gw_dev_model_revive(rig->model);
			restart_engine(rig);
		}
		finish(rig);
	} else {
		CHECK(err == 0);
		CHECK(!rig->diag.failed);
		check_identical(rig);
		check_verifies(rig);
	}
	end_rig(rig);
	return struck;
}

static void report(const char *name, const char *detail, unsigned int before, uint64_t runs)
{
	printf("%s - %s%s%s # %" PRIu64 " runs\n", failures == before ? "ok" : "not ok", name,
	       detail[0] != '\0' ? ": " : "", detail, runs);
	fflush(stdout);
}

static void test_faults(void)
{
	for (size_t i = 0; i < SCENARIOS; i++) {
		const unsigned int before = failures;
		uint64_t runs = 0;

		if (!gw_test_is_wanted(scenarios[i].name))
			continue;
		for (size_t j = 0; j < SHAPES; j++) {
			context = shapes[j].name;
			for (context_n = 1; context_n < N_MAX; context_n++, runs++)
				if (!run_fault(&shapes[j], &scenarios[i], context_n))
					break;
		}
		CHECK(runs > 0);	/* it struck somewhere */
		report("each n", scenarios[i].name, before, runs);
	}
}

/* ---- the caller's answers ---- */

static bool run_answer(const struct shape *shape, bool journal, uint64_t n)
{
	struct rig *const rig = new_rig(shape, n * 5 + 3);
	bool asked;
	int err;

	rig->fail_settled_at = journal ? n : 0;
	rig->stop_at_tick = journal ? 0 : n;
	err = gw_engine_copy(rig->engine);
	asked = journal ? rig->settled_calls >= n : rig->ticks >= n;
	if (asked) {
		check_failed(rig, err, journal ? -ENOSPC : -ECANCELED);
		/* Whoever says stop says why, and is to say it once. */
		CHECK(journal || rig->ticks == n);
		finish(rig);
	} else {
		CHECK(err == 0);
		check_identical(rig);
	}
	end_rig(rig);
	return asked;
}

static void test_answers(bool journal)
{
	const char *const name = journal ? "the journal cannot be written" : "the tick says stop";
	const unsigned int before = failures;
	uint64_t runs = 0;

	if (!gw_test_is_wanted(name))
		return;
	for (size_t j = 0; j < SHAPES; j++) {
		context = shapes[j].name;
		for (context_n = 1; context_n < N_MAX; context_n++, runs++)
			if (!run_answer(&shapes[j], journal, context_n))
				break;
	}
	CHECK(runs > 0);
	report("each n", name, before, runs);
}

/* ---- power ---- */

/*
 * Power is cut after the nth write, with or without a workload on the source.
 * What was settled at that moment is durable; a new process goes on from the
 * bitmaps as they stood then.
 */
static bool run_cut(const struct shape *shape, uint64_t n, uint64_t writes)
{
	struct rig *const rig = new_rig(shape, n * 11 + writes);
	const struct gw_model_fault fault = {
		.action = GW_MODEL_POWER_CUT, .ops = WRITES | FLUSHES, .ends = ALL, .nth = n,
	};
	bool was_cut;

	gw_dev_model_write(rig->model, &rig->geom, &rig->live, writes);
	gw_dev_model_inject(rig->model, &fault);
	CHECK(gw_engine_copy(rig->engine) == 0 || rig->was_cut);
	was_cut = rig->was_cut;
	if (was_cut)
		check_settled(rig, &rig->cut_pending, &rig->cut_copying);
	if (was_cut) {
		check_settled(rig, &rig->pending, &rig->copying);
		copy_bitmap(&rig->pending, &rig->cut_pending);
		gw_bitmap_move_all(&rig->cut_copying, &rig->pending);
		gw_dev_model_revive(rig->model);
		restart_engine(rig);
	}
	gw_dev_model_quiesce(rig->model);
	gw_bitmap_move_all(&rig->live, &rig->pending);
	/* What was verified or not is forgotten with the process. */
	gw_bitmap_clear(&rig->unverified, (struct gw_run){ 0, rig->geom.size_grains });
	finish(rig);
	end_rig(rig);
	return was_cut;
}

static void test_cuts(uint64_t writes)
{
	const char *const name = "power is cut after each write";
	const unsigned int before = failures;
	uint64_t runs = 0;

	if (!gw_test_is_wanted(name))
		return;
	for (size_t j = 0; j < SHAPES; j++) {
		context = shapes[j].name;
		for (context_n = 1; context_n < N_MAX; context_n++, runs++)
			if (!run_cut(&shapes[j], context_n, writes))
				break;
	}
	CHECK(runs > 0);
	report(name, writes > 0 ? "live source" : "still source", before, runs);
}

/* ---- a live source ---- */

/* Return: when the queue is idle, time goes on too. */
static void let_time_pass(struct rig *rig)
{
	struct gw_io_done done;
	const int count = gw_dev_reap(rig->dev, &done, 1, 50 * GW_NS_PER_MS);

	CHECK(count == 0);
}

static void run_live(const struct shape *shape, uint64_t seed, uint64_t writes,
		     const struct gw_model_fault *fault)
{
	struct rig *const rig = new_rig(shape, seed);

	gw_dev_model_write(rig->model, &rig->geom, &rig->live, writes);
	gw_dev_model_inject(rig->model, fault);
	for (int round = 0; round < 1000 && gw_dev_model_is_writing(rig->model); round++) {
		CHECK(gw_engine_copy(rig->engine) == 0);
		check_settled(rig, &rig->pending, &rig->copying);
		/* What is settled is verified while the source goes on. */
		check_verifies(rig);
		let_time_pass(rig);
		gw_bitmap_move_all(&rig->live, &rig->pending);
	}
	gw_dev_model_quiesce(rig->model);
	gw_bitmap_move_all(&rig->live, &rig->pending);
	finish(rig);
	end_rig(rig);
}

static void test_live(const char *name, const struct gw_model_fault *fault, uint64_t seeds)
{
	const unsigned int before = failures;
	uint64_t runs = 0;

	if (!gw_test_is_wanted(name))
		return;
	for (size_t j = 0; j < SHAPES; j++) {
		context = shapes[j].name;
		for (context_n = 1; context_n <= seeds; context_n++, runs++) {
			struct gw_model_fault nth = *fault;

			nth.nth = context_n;
			run_live(&shapes[j], context_n, 40, &nth);
		}
	}
	report("live source", name, before, runs);
}

static void test_busy_flush(const struct gw_model_fault *fault)
{
	const char *const name = "a flush fails amid writes";
	const unsigned int before = failures;
	uint64_t runs = 0;

	if (!gw_test_is_wanted(name))
		return;
	for (size_t j = 0; j < BUSY_SHAPES; j++) {
		context = busy_shapes[j].name;
		for (context_n = 1; context_n <= 20; context_n++, runs++) {
			struct gw_model_fault nth = *fault;

			nth.nth = 1 + context_n % 2;
			run_live(&busy_shapes[j], context_n, 300, &nth);
		}
	}
	report("live source", name, before, runs);
}

int main(void)
{
	static const struct gw_model_fault none = { .action = GW_MODEL_NOTHING };
	static const struct gw_model_fault flush = { GW_MODEL_ERROR, GW_MODEL_ONCE, FLUSHES, ALL,
						     0, -EIO };
	static const struct gw_model_fault late = { GW_MODEL_LATE, GW_MODEL_ONCE, ALL, ALL, 0, 0 };

	printf("# seeds follow from n\n");
	test_faults();
	test_answers(true);
	test_answers(false);
	test_cuts(0);
	test_cuts(30);
	test_live("no fault", &none, 40);
	test_live("the nth flush fails", &flush, 6);
	test_live("the nth I/O is late", &late, 40);
	test_busy_flush(&flush);
	return failures == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

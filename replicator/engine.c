// SPDX-License-Identifier: GPL-2.0-or-later
#include "engine.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "digest.h"
#include "fault.h"

#define BUFFERS_MAX 4096
#define SLAB_ALIGN 4096
#define TICK_NS_DEFAULT (20 * GW_NS_PER_MS)

/*
 * Short runs share a slot, each a piece with I/Os of its own: 4 KiB here and there would else
 * be bound by the number of slots. A piece owns an equal share of its slot's tags, for its reads
 * and then for its writes.
 */
#define TAGS_MAX 64			/* of a slot */
#define PIECES_MAX 32			/* so that each has two: compare mode reads both ends */
#define SHARING_BYTES_MAX (UINT64_C(64) << 10)	/* a longer run has a slot for itself */
/* Of one run. A run that would fall into more writes has its shortest gaps written too. */
#define SEGMENTS_MAX 16
/* Shorter zeroes are written with the data around them: an I/O of their own costs more. */
#define ZERO_BYTES_MIN (UINT64_C(64) << 10)

/* A batch is flushed when it has so much, or is so old. */
#define BATCH_BYTES_MAX (UINT64_C(256) << 20)
#define BATCH_RUNS_MAX 16384
#define BATCH_NS_MAX GW_NS_PER_S
#define FLUSH_FAILURES_MAX 3		/* in one gw_engine_copy() */

/* Few, so that what they lead to is submitted before the rest is hashed. */
#define REAP_MAX 8

enum piece_state {
	PIECE_DONE,
	PIECE_READING,			/* the source, and in compare mode the target */
	PIECE_WRITING,
	PIECE_VERIFYING,		/* reading the target back */
};

/* What becomes of a grain. */
enum kind { KIND_DATA, KIND_ZERO, KIND_SKIP_ZERO, KIND_SKIP_SAME };

/* One write or write-zeroes of a run. */
struct segment {
	bool is_zero;
	uint64_t offset_bytes, length_bytes;
};

/* A run on its way. */
struct piece {
	enum piece_state state;
	struct gw_run run;
	uint64_t offset_bytes, length_bytes;	/* of the run, as it is on the source */
	uint64_t at_bytes;		/* in the slot's data */
	uint32_t in_flight;		/* I/Os */
	bool failed;			/* one of them did */
	bool doubtful;			/* a flush failed while it was being written */
	uint32_t segment_count;
};

struct slot {
	uint32_t piece_count;
	uint32_t pieces_left;		/* not done; 0: the slot is free */
	uint32_t piece_tags;		/* of each piece */
	struct piece pieces[PIECES_MAX];
	struct segment segments[TAGS_MAX];	/* of piece i: from i * piece_tags */
	char *data;			/* run_bytes of the slab */
	char *target_data;		/* compare mode: so many again */
};

/* Runs that are written and not yet durable. */
struct batch {
	uint32_t run_count;
	uint64_t bytes, grains, runs;
	uint64_t first_grain, end_grain;
	uint64_t opened_ns;		/* when the first one joined */
	struct gw_run list[BATCH_RUNS_MAX];
};

struct gw_engine {
	struct gw_engine_config config;
	struct gw_engine_stats stats;
	uint32_t grains_max;		/* of a run */
	uint64_t zero_digest;		/* of a full grain of zeroes */

	struct slot *slots;
	uint32_t *free_slots;		/* a stack of indices */
	uint32_t free_count;
	uint32_t slot_pieces;		/* not done, in all slots */
	uint64_t slot_grains;		/* being copied in slots */
	enum kind *kinds;		/* of the run that is looked at */

	struct batch *filling, *flushing;
	bool flush_in_flight;
	uint64_t flush_start_ns;
	uint32_t flush_failures;	/* in this call */
	bool flush_is_bad;		/* too many of them: nothing settles any more */

	uint64_t cursor;		/* next grain to look at */
	bool at_end;			/* of the bitmap */
	uint64_t pace_ns;		/* until the next run may start */
	uint64_t next_tick_ns;
	uint64_t seen_ns;		/* the last look at the clock, for busy_ns */
	int err;			/* why no new run is started */
	bool knows_zero;		/* what was not written yet is zero on the target */
	bool trusts_target;		/* what reads the same there will be durable with the next flush */
	bool cannot_zero;		/* the target has no write-zeroes */
	bool is_broken;			/* the queue failed: it is not used again */
};

static uint64_t min_u64(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

static uint64_t round_up(uint64_t value, uint32_t align)
{
	return (value + align - 1) / align * align;
}

static bool is_power_of_two(uint32_t value)
{
	return value != 0 && (value & (value - 1)) == 0;
}

uint32_t gw_engine_depth(uint32_t buffers)
{
	return buffers * TAGS_MAX + 1;
}

static uint32_t flush_tag(const struct gw_engine *engine)
{
	return engine->config.buffers * TAGS_MAX;
}

static uint32_t index_of(const struct slot *slot, const struct piece *piece)
{
	return (uint32_t)(piece - slot->pieces);
}

/* The tag of a piece's index-th I/O of those that fly at once. */
static uint32_t tag_of(const struct gw_engine *engine, const struct slot *slot,
		       const struct piece *piece, uint32_t index)
{
	assert(index < slot->piece_tags);
	return (uint32_t)(slot - engine->slots) * TAGS_MAX +
	       index_of(slot, piece) * slot->piece_tags + index;
}

static struct segment *segments_of(struct slot *slot, const struct piece *piece)
{
	return &slot->segments[index_of(slot, piece) * slot->piece_tags];
}

static uint32_t segments_max(const struct slot *slot)
{
	return slot->piece_tags < SEGMENTS_MAX ? slot->piece_tags : SEGMENTS_MAX;
}

static char *data_of(const struct slot *slot, const struct piece *piece)
{
	return slot->data + piece->at_bytes;
}

uint64_t gw_engine_slab_bytes(uint32_t buffers, uint32_t run_bytes, bool compare)
{
	return (uint64_t)buffers * run_bytes * (compare ? 2 : 1);
}

uint64_t gw_engine_bytes(uint32_t buffers)
{
	return sizeof(struct gw_engine) + 2 * sizeof(struct batch) +
	       buffers * (sizeof(struct slot) + sizeof(uint32_t)) +
	       GW_RUN_BYTES_MAX / GW_GRAIN_BYTES_MIN * sizeof(enum kind);
}

static bool is_sound(const struct gw_engine_config *config)
{
	if (config->buffers == 0 || config->buffers > BUFFERS_MAX ||
	    (uintptr_t)config->slab % SLAB_ALIGN != 0 || config->slab == NULL)
		return false;
	if (!is_power_of_two(config->run_bytes) || config->run_bytes < config->geom.grain_bytes ||
	    config->run_bytes > GW_RUN_BYTES_MAX)
		return false;
	for (enum gw_end end = 0; end < GW_ENDS; end++) {
		const struct gw_end_info *const info = gw_dev_end(config->dev, end);

		if (info->size_bytes < config->geom.size_bytes ||
		    info->align_bytes > config->geom.grain_bytes)
			return false;
	}
	if ((config->pending == NULL) != (config->copying == NULL) || config->pacer == NULL ||
	    config->clock == NULL)
		return false;
	return config->pending == NULL ||
	       (config->pending->size_grains == config->geom.size_grains &&
		config->copying->size_grains == config->geom.size_grains);
}

static void cut_slab(struct gw_engine *engine)
{
	const struct gw_engine_config *const config = &engine->config;
	char *at = config->slab;

	for (uint32_t i = 0; i < config->buffers; i++) {
		struct slot *const slot = &engine->slots[i];

		slot->data = at;
		at += config->run_bytes;
		if (config->compare) {
			slot->target_data = at;
			at += config->run_bytes;
		}
		/* The first slot is taken first. */
		engine->free_slots[i] = config->buffers - 1 - i;
	}
	engine->free_count = config->buffers;
}

int gw_engine_create(struct gw_engine **engine, const struct gw_engine_config *config)
{
	struct gw_engine *new;

	if (!is_sound(config))
		return -EINVAL;
	new = calloc(1, sizeof(*new));
	if (new == NULL)
		return -ENOMEM;
	new->config = *config;
	if (config->tick_ns == 0)
		new->config.tick_ns = TICK_NS_DEFAULT;
	new->grains_max = config->run_bytes / config->geom.grain_bytes;
	new->slots = calloc(config->buffers, sizeof(*new->slots));
	new->free_slots = calloc(config->buffers, sizeof(*new->free_slots));
	new->kinds = calloc(new->grains_max, sizeof(*new->kinds));
	new->filling = calloc(1, sizeof(*new->filling));
	new->flushing = calloc(1, sizeof(*new->flushing));
	if (new->slots == NULL || new->free_slots == NULL || new->kinds == NULL ||
	    new->filling == NULL || new->flushing == NULL) {
		gw_engine_destroy(new);
		return -ENOMEM;
	}
	cut_slab(new);
	new->zero_digest = gw_digest_of_zeroes(config->geom.grain_bytes);
	new->knows_zero = config->target_is_zero && !config->compare;
	new->trusts_target = true;
	/* Leftovers of a dead process are moved to pending by whoever goes on. */
	assert(config->copying == NULL || gw_bitmap_is_empty(config->copying));
	*engine = new;
	return 0;
}

void gw_engine_destroy(struct gw_engine *engine)
{
	if (engine == NULL)
		return;
	free(engine->slots);
	free(engine->free_slots);
	free(engine->kinds);
	free(engine->filling);
	free(engine->flushing);
	free(engine);
}

const struct gw_engine_stats *gw_engine_stats(const struct gw_engine *engine)
{
	return &engine->stats;
}

/* ---- failures ---- */

static const char *end_name(enum gw_end end)
{
	return end == GW_SOURCE ? "source" : "target";
}

/* Says the first failure of this call; no new run is started after it. */
static void fail_io(struct gw_engine *engine, enum gw_end end, const char *verb,
		    uint64_t offset_bytes, uint64_t length_bytes, int err)
{
	const uint64_t first_lba = offset_bytes >> GW_SECTOR_SHIFT;
	const uint64_t last_lba = (offset_bytes + length_bytes - 1) >> GW_SECTOR_SHIFT;

	if (engine->err != 0)
		return;
	engine->err = gw_fail_exit(engine->config.diag, GW_EXIT_IO, err,
				   "%s: cannot %s LBA %llu to %llu (512-byte sectors): %s",
				   end_name(end), verb, (unsigned long long)first_lba,
				   (unsigned long long)last_lba, strerror(-err));
}

static void stop(struct gw_engine *engine, int err)
{
	assert(err < 0);
	if (engine->err == 0)
		engine->err = err;
}

/* Pending first: killed in between, the run stands twice, never nowhere. */
static void give_back(struct gw_engine *engine, struct gw_run run)
{
	gw_bitmap_set(engine->config.pending, run);
	gw_fault_point("engine-given-back");
	gw_bitmap_clear(engine->config.copying, run);
}

static void give_back_batch(struct gw_engine *engine, struct batch *batch)
{
	for (uint32_t i = 0; i < batch->run_count; i++)
		give_back(engine, batch->list[i]);
	batch->run_count = 0;
	batch->bytes = batch->grains = batch->runs = 0;
}

/* ---- slots ---- */

static uint32_t busy_slots(const struct gw_engine *engine)
{
	return engine->config.buffers - engine->free_count;
}

/* A free slot, to be filled with add_piece(). */
static struct slot *bind_slot(struct gw_engine *engine, uint32_t piece_count)
{
	struct slot *slot;

	assert(engine->free_count > 0);
	assert(piece_count > 0);
	assert(piece_count <= PIECES_MAX);
	slot = &engine->slots[engine->free_slots[--engine->free_count]];
	assert(slot->pieces_left == 0);
	slot->piece_count = 0;
	slot->piece_tags = TAGS_MAX / piece_count;
	return slot;
}

static struct piece *add_piece(struct gw_engine *engine, struct slot *slot, enum piece_state state,
			       struct gw_run run)
{
	const struct piece *const last =
		slot->piece_count > 0 ? &slot->pieces[slot->piece_count - 1] : NULL;
	struct piece *const piece = &slot->pieces[slot->piece_count];

	assert(run.count > 0);
	assert(slot->piece_count < PIECES_MAX);
	*piece = (struct piece){
		.state = state,
		.run = run,
		.offset_bytes = gw_geom_offset_bytes(&engine->config.geom, run.first),
		.length_bytes = gw_geom_run_bytes(&engine->config.geom, run),
		/* Whole grains each: what is rounded up at its end stays its own. */
		.at_bytes = last == NULL ? 0 :
			    last->at_bytes + (last->run.count << engine->config.geom.grain_shift),
	};
	assert(piece->at_bytes + (run.count << engine->config.geom.grain_shift) <=
	       engine->config.run_bytes);
	slot->piece_count++;
	slot->pieces_left++;
	engine->slot_pieces++;
	engine->stats.in_flight_bytes += piece->length_bytes;
	return piece;
}

/* With its last piece the slot is free. */
static void end_piece(struct gw_engine *engine, struct slot *slot, struct piece *piece)
{
	assert(piece->state != PIECE_DONE);
	assert(piece->in_flight == 0 || engine->is_broken);
	assert(engine->stats.in_flight_bytes >= piece->length_bytes);
	assert(slot->pieces_left > 0);
	piece->state = PIECE_DONE;
	engine->stats.in_flight_bytes -= piece->length_bytes;
	engine->slot_pieces--;
	if (--slot->pieces_left == 0)
		engine->free_slots[engine->free_count++] = (uint32_t)(slot - engine->slots);
}

static void join_batch(struct gw_engine *engine, struct gw_run run, uint64_t bytes)
{
	struct batch *const batch = engine->filling;
	struct gw_run *last = NULL;

	if (batch->run_count == 0) {
		batch->opened_ns = gw_now_ns(engine->config.clock);
		batch->first_grain = run.first;
		batch->end_grain = run.first + run.count;
	} else {
		last = &batch->list[batch->run_count - 1];
	}
	if (last != NULL && last->first + last->count == run.first) {
		last->count += run.count;
	} else {
		assert(batch->run_count < BATCH_RUNS_MAX);
		batch->list[batch->run_count++] = run;
	}
	batch->bytes += bytes;
	batch->grains += run.count;
	batch->runs++;
	batch->first_grain = min_u64(batch->first_grain, run.first);
	if (batch->end_grain < run.first + run.count)
		batch->end_grain = run.first + run.count;
}

/* The one way out for a run that was taken: into the batch, or back. */
static void retire(struct gw_engine *engine, struct slot *slot, struct piece *piece)
{
	assert(engine->slot_grains >= piece->run.count);
	engine->slot_grains -= piece->run.count;
	if (piece->failed || piece->doubtful || engine->flush_is_bad)
		give_back(engine, piece->run);
	else
		join_batch(engine, piece->run, piece->length_bytes);
	end_piece(engine, slot, piece);
}

/* ---- what is in a run ---- */

static bool is_zero(const char *data, uint64_t bytes)
{
	static const char zeroes[4096];
	const uint64_t head = min_u64(bytes, 16);

	/* Most data ends here. */
	if (memcmp(data, zeroes, head) != 0)
		return false;
	for (uint64_t at = 0; at < bytes; at += sizeof(zeroes))
		if (memcmp(data + at, zeroes, min_u64(bytes - at, sizeof(zeroes))) != 0)
			return false;
	return true;
}

static uint64_t grain_bytes_of(const struct gw_engine *engine, const struct piece *piece,
			       uint64_t i)
{
	const uint32_t grain_bytes = engine->config.geom.grain_bytes;

	return min_u64(piece->length_bytes - i * grain_bytes, grain_bytes);
}

static enum kind kind_of(const struct gw_engine *engine, const char *data, const char *target_data,
			 uint64_t bytes, bool zero)
{
	if (engine->config.compare && engine->trusts_target &&
	    memcmp(data, target_data, bytes) == 0)
		return KIND_SKIP_SAME;
	if (zero && engine->knows_zero)
		return KIND_SKIP_ZERO;
	return zero && !engine->cannot_zero ? KIND_ZERO : KIND_DATA;
}

/* Each grain is looked at once: zero or not, its digest, what becomes of it. */
static void look_at_grains(struct gw_engine *engine, const struct slot *slot,
			   const struct piece *piece)
{
	const struct gw_engine_config *const config = &engine->config;

	for (uint64_t i = 0; i < piece->run.count; i++) {
		const uint64_t at = piece->at_bytes + i * config->geom.grain_bytes;
		const uint64_t bytes = grain_bytes_of(engine, piece, i);
		const char *const data = slot->data + at;
		const bool zero = is_zero(data, bytes);

		if (config->digests != NULL)
			config->digests[piece->run.first + i] =
				zero && bytes == config->geom.grain_bytes ?
				engine->zero_digest : gw_digest_of(data, bytes);
		engine->kinds[i] = kind_of(engine, data, slot->target_data + at, bytes, zero);
	}
}

/* The end of the stretch of one kind that begins at i. */
static uint64_t stretch_end(const struct gw_engine *engine, uint64_t i, uint64_t count)
{
	const enum kind kind = engine->kinds[i];

	while (i < count && engine->kinds[i] == kind)
		i++;
	return i;
}

static bool is_written(enum kind kind)
{
	return kind == KIND_DATA || kind == KIND_ZERO;
}

/*
 * Makes data of stretches that are not worth a cut: zeroes below ZERO_BYTES_MIN,
 * anything below gap_grains. Return: how many segments that leaves.
 */
static uint32_t melt_gaps(struct gw_engine *engine, uint64_t count, uint64_t gap_grains)
{
	uint32_t segments = 0;
	bool after_data = false;

	for (uint64_t i = 0, end; i < count; i = end) {
		const enum kind kind = engine->kinds[i];
		bool melts;

		end = stretch_end(engine, i, count);
		melts = kind != KIND_DATA && end - i < gap_grains;
		if (kind == KIND_ZERO &&
		    (end - i) << engine->config.geom.grain_shift < ZERO_BYTES_MIN)
			melts = true;
		for (uint64_t j = i; melts && j < end; j++)
			engine->kinds[j] = KIND_DATA;
		if (is_written(engine->kinds[i]) && !(after_data && engine->kinds[i] == KIND_DATA))
			segments++;
		after_data = engine->kinds[i] == KIND_DATA;
	}
	return segments;
}

static void cut_segments(struct gw_engine *engine, struct slot *slot, struct piece *piece)
{
	const struct gw_geom *const geom = &engine->config.geom;
	struct segment *const segments = segments_of(slot, piece);

	for (uint64_t i = 0, end; i < piece->run.count; i = end) {
		const enum kind kind = engine->kinds[i];
		uint64_t bytes;

		end = stretch_end(engine, i, piece->run.count);
		bytes = gw_geom_run_bytes(geom, (struct gw_run){ piece->run.first + i, end - i });
		if (kind == KIND_SKIP_ZERO)
			engine->stats.zero_skipped_bytes += bytes;
		if (kind == KIND_SKIP_SAME)
			engine->stats.same_skipped_bytes += bytes;
		if (!is_written(kind))
			continue;
		assert(piece->segment_count < segments_max(slot));
		segments[piece->segment_count++] = (struct segment){
			.is_zero = kind == KIND_ZERO,
			.offset_bytes = gw_geom_offset_bytes(geom, piece->run.first + i),
			.length_bytes = bytes,
		};
	}
}

/* ---- reading and writing ---- */

/* A range's length as an end wants it: whole units, but not past its end. */
static uint64_t length_at(const struct gw_engine *engine, enum gw_end end, uint64_t offset_bytes,
			  uint64_t length_bytes)
{
	const struct gw_end_info *const info = gw_dev_end(engine->config.dev, end);

	return min_u64(round_up(length_bytes, info->align_bytes), info->size_bytes - offset_bytes);
}

static void submit_read(struct gw_engine *engine, struct slot *slot, struct piece *piece,
			enum gw_end end, uint32_t index)
{
	char *const data = index == 0 ? slot->data : slot->target_data;
	const struct gw_io io = {
		.op = GW_IO_READ,
		.end = end,
		.data = data + piece->at_bytes,
		.offset_bytes = piece->offset_bytes,
		.length_bytes = length_at(engine, end, piece->offset_bytes, piece->length_bytes),
	};

	piece->in_flight++;
	gw_dev_submit(engine->config.dev, tag_of(engine, slot, piece, index), &io);
}

static void submit_segment(struct gw_engine *engine, struct slot *slot, struct piece *piece,
			   uint32_t index)
{
	const struct segment *const segment = &segments_of(slot, piece)[index];
	const uint32_t align_bytes = gw_dev_end(engine->config.dev, GW_TARGET)->align_bytes;
	struct gw_io io = {
		.op = GW_IO_WRITE,
		.end = GW_TARGET,
		.data = data_of(slot, piece) + (segment->offset_bytes - piece->offset_bytes),
		.offset_bytes = segment->offset_bytes,
		.length_bytes = round_up(segment->length_bytes, align_bytes),
	};

	if (segment->is_zero) {
		io.op = GW_IO_ZERO;
		io.data = NULL;
		io.length_bytes = length_at(engine, GW_TARGET, segment->offset_bytes,
					    segment->length_bytes);
	}
	gw_dev_submit(engine->config.dev, tag_of(engine, slot, piece, index), &io);
}

/* Law 3: one copy of a grain at a time. */
static void check_not_copying(const struct gw_engine *engine, struct gw_run run)
{
	for (uint64_t i = 0; i < run.count; i++)
		assert(!gw_bitmap_test(engine->config.copying, run.first + i));
}

static bool is_vacant(const struct gw_engine *engine, uint64_t grain)
{
	return engine->config.vacant != NULL && gw_bitmap_test(engine->config.vacant, grain);
}

/* What was a read is zeroes, of a slot that this piece has to itself. */
static void fill_vacant(struct gw_engine *engine, struct slot *slot, struct piece *piece)
{
	assert(slot->piece_count == 1);
	memset(data_of(slot, piece), 0, piece->length_bytes);
	engine->stats.vacant_bytes += piece->length_bytes;
}

static void start_writes(struct gw_engine *engine, struct slot *slot, struct piece *piece);

static void start_copy(struct gw_engine *engine, struct slot *slot, struct gw_run run)
{
	const struct gw_engine_config *const config = &engine->config;
	struct piece *const piece = add_piece(engine, slot, PIECE_READING, run);
	const bool vacant = is_vacant(engine, run.first);

	check_not_copying(engine, run);
	if (config->heat != NULL && config->live != NULL && !vacant)
		gw_heat_warm(config->heat, config->live, run);
	/*
	 * Law 2: cleared, then read. The submission below is a barrier. Of what is not read
	 * every mark counts: it was vacant when it was asked about, and is it no longer.
	 */
	gw_bitmap_take_run(config->pending, vacant ? NULL : config->live, config->copying, run);
	gw_fault_point("engine-taken");
	if (config->unverified != NULL)
		gw_bitmap_clear(config->unverified, run);
	engine->slot_grains += run.count;
	engine->stats.runs++;
	if (vacant)
		fill_vacant(engine, slot, piece);
	else
		submit_read(engine, slot, piece, GW_SOURCE, 0);
	if (config->compare)
		submit_read(engine, slot, piece, GW_TARGET, 1);
	else if (vacant)
		start_writes(engine, slot, piece);
}

static void start_writes(struct gw_engine *engine, struct slot *slot, struct piece *piece)
{
	const uint32_t align_bytes = gw_dev_end(engine->config.dev, GW_TARGET)->align_bytes;
	uint64_t gap_grains = 1;

	/* The last grain may end inside of a unit of the target: the rest of that is zero. */
	memset(data_of(slot, piece) + piece->length_bytes, 0,
	       round_up(piece->length_bytes, align_bytes) - piece->length_bytes);
	look_at_grains(engine, slot, piece);
	while (melt_gaps(engine, piece->run.count, gap_grains) > segments_max(slot))
		gap_grains *= 2;
	cut_segments(engine, slot, piece);
	piece->state = PIECE_WRITING;
	piece->in_flight = piece->segment_count;
	for (uint32_t i = 0; i < piece->segment_count; i++)
		submit_segment(engine, slot, piece, i);
	if (piece->segment_count == 0)
		retire(engine, slot, piece);
}

static void read_done(struct gw_engine *engine, struct slot *slot, struct piece *piece,
		      uint32_t index, int result)
{
	const enum gw_end end = index == 0 ? GW_SOURCE : GW_TARGET;

	piece->in_flight--;
	if (result < 0) {
		piece->failed = true;
		fail_io(engine, end, "read", piece->offset_bytes, piece->length_bytes, result);
	} else if (end == GW_SOURCE) {
		engine->stats.read_bytes += piece->length_bytes;
	}
	if (piece->in_flight > 0)
		return;
	if (piece->failed)
		retire(engine, slot, piece);
	else
		start_writes(engine, slot, piece);
}

static void write_done(struct gw_engine *engine, struct slot *slot, struct piece *piece,
		       uint32_t index, int result)
{
	struct segment *const segment = &segments_of(slot, piece)[index];

	if (segment->is_zero && result == -EOPNOTSUPP) {
		/* The buffer holds these zeroes. */
		engine->cannot_zero = true;
		segment->is_zero = false;
		submit_segment(engine, slot, piece, index);
		return;
	}
	piece->in_flight--;
	if (result < 0) {
		piece->failed = true;
		engine->knows_zero = false;
		fail_io(engine, GW_TARGET, segment->is_zero ? "zero" : "write",
			segment->offset_bytes, segment->length_bytes, result);
	} else if (segment->is_zero) {
		engine->stats.zeroed_bytes += segment->length_bytes;
	} else {
		engine->stats.written_bytes += segment->length_bytes;
	}
	if (piece->in_flight == 0)
		retire(engine, slot, piece);
}

/* ---- batches ---- */

/* Law 4: flush, journal, and only then out of copying. */
static void settle(struct gw_engine *engine, struct batch *batch, uint64_t flush_ns)
{
	const struct gw_engine_config *const config = &engine->config;
	const struct gw_batch settled = {
		.settled_bytes = batch->bytes,
		.runs = batch->runs,
		.first_grain = batch->first_grain,
		.end_grain = batch->end_grain,
		.flush_ns = flush_ns,
	};
	int err = 0;

	gw_fault_point("engine-flushed");
	if (config->settled != NULL)
		err = config->settled(config->arg, &settled);
	gw_fault_point("engine-recorded");
	if (err < 0) {
		stop(engine, err);
		/* Their grains were written: they are no longer known to be zero. */
		engine->knows_zero = false;
		give_back_batch(engine, batch);
		return;
	}
	for (uint32_t i = 0; i < batch->run_count; i++) {
		if (config->unverified != NULL)
			gw_bitmap_set(config->unverified, batch->list[i]);
		gw_bitmap_clear(config->copying, batch->list[i]);
	}
	gw_fault_point("engine-settled");
	engine->stats.settled_bytes += batch->bytes;
	engine->stats.batches++;
	batch->run_count = 0;
	batch->bytes = batch->grains = batch->runs = 0;
}

/*
 * Everything that was written and was not durable before may be lost, whichever
 * batch it belongs to, and the next flush would not tell: all of it is copied
 * again. That flush is not repeated. What is lost may still be read from a
 * cache: from now on a grain that compares equal is written as well.
 */
static void flush_failed(struct gw_engine *engine, int err)
{
	const uint64_t again_bytes = engine->flushing->bytes + engine->filling->bytes;

	engine->knows_zero = engine->trusts_target = false;
	give_back_batch(engine, engine->flushing);
	give_back_batch(engine, engine->filling);
	for (uint32_t i = 0; i < engine->config.buffers; i++) {
		struct slot *const slot = &engine->slots[i];

		for (uint32_t j = 0; slot->pieces_left > 0 && j < slot->piece_count; j++)
			if (slot->pieces[j].state == PIECE_WRITING)
				slot->pieces[j].doubtful = true;
	}
	if (++engine->flush_failures < FLUSH_FAILURES_MAX) {
		gw_say(engine->config.diag, GW_WARNING,
		       "target: flush failed: %s; %llu bytes are copied again", strerror(-err),
		       (unsigned long long)again_bytes);
		return;
	}
	engine->flush_is_bad = true;
	if (engine->err == 0)
		engine->err = gw_fail_exit(engine->config.diag, GW_EXIT_IO, -EIO,
					   "target: flush failed %u times: %s",
					   engine->flush_failures, strerror(-err));
}

static void submit_flush(struct gw_engine *engine)
{
	const struct gw_io io = { .op = GW_IO_FLUSH, .end = GW_TARGET };

	assert(!engine->flush_in_flight);
	engine->flush_in_flight = true;
	engine->flush_start_ns = gw_now_ns(engine->config.clock);
	gw_dev_submit(engine->config.dev, flush_tag(engine), &io);
}

static uint64_t end_flush(struct gw_engine *engine, int result)
{
	struct gw_engine_stats *const stats = &engine->stats;

	assert(engine->flush_in_flight);
	engine->flush_in_flight = false;
	stats->flush_ns_last = gw_now_ns(engine->config.clock) - engine->flush_start_ns;
	if (stats->flush_ns_max < stats->flush_ns_last)
		stats->flush_ns_max = stats->flush_ns_last;
	stats->flushes++;
	if (result < 0)
		stats->flush_failures++;
	return stats->flush_ns_last;
}

static void flush_done(struct gw_engine *engine, int result)
{
	const uint64_t flush_ns = end_flush(engine, result);

	if (result < 0)
		flush_failed(engine, result);
	else
		settle(engine, engine->flushing, flush_ns);
}

/* Room for what is in slots, and for one more slot. */
static bool batch_holds_slot(const struct gw_engine *engine)
{
	return engine->filling->run_count + engine->slot_pieces + PIECES_MAX <= BATCH_RUNS_MAX;
}

static bool batch_is_due(const struct gw_engine *engine)
{
	const struct batch *const batch = engine->filling;

	if (engine->flush_in_flight || batch->run_count == 0)
		return false;
	if (busy_slots(engine) == 0 && (engine->at_end || engine->err != 0))
		return true;
	return batch->bytes >= BATCH_BYTES_MAX || !batch_holds_slot(engine) ||
	       gw_now_ns(engine->config.clock) - batch->opened_ns >= BATCH_NS_MAX;
}

/* Return: true if a batch was closed, and there is room in a new one. */
static bool start_flush(struct gw_engine *engine)
{
	struct batch *const batch = engine->filling;

	if (!batch_is_due(engine))
		return false;
	assert(engine->flushing->run_count == 0);
	engine->filling = engine->flushing;
	engine->flushing = batch;
	submit_flush(engine);
	return true;
}

/* Two batches at most are not durable. */
static bool batch_has_room(const struct gw_engine *engine)
{
	if (!batch_holds_slot(engine))
		return false;
	return engine->filling->bytes < BATCH_BYTES_MAX || !engine->flush_in_flight;
}

/* ---- the loop ---- */

/* Law 1: nothing is nowhere. */
static void check_sums(const struct gw_engine *engine)
{
	const uint64_t held_grains = engine->slot_grains + engine->filling->grains +
				     engine->flushing->grains;

	assert(gw_bitmap_count(engine->config.copying) == held_grains);
}

/* Is it to wait for the pacer? Then pace_ns says how long. */
static bool is_held_up(struct gw_engine *engine)
{
	const struct gw_pacer *const pacer = engine->config.pacer;
	uint64_t wait_ns;

	if (pacer->is_held)
		return true;
	if (pacer->bytes_per_s == 0)
		return false;
	wait_ns = gw_pacer_wait_ns(pacer, gw_now_ns(engine->config.clock));
	if (wait_ns > 0)
		engine->pace_ns = wait_ns;
	return wait_ns > 0;
}

/* Keeps the part of a run that is alike: vacant, or not. Return: is it vacant? */
static bool cut_at_vacancy(const struct gw_engine *engine, struct gw_run *run, uint64_t *cursor)
{
	const bool vacant = is_vacant(engine, run->first);
	uint64_t count = 1;

	if (engine->config.vacant == NULL)
		return false;
	while (count < run->count && is_vacant(engine, run->first + count) == vacant)
		count++;
	run->count = count;
	*cursor = run->first + count;
	return vacant;
}

/*
 * Finds what may start now in one slot: a long run, or short ones. Return: how
 * many; 0: at_end, or no slot is free, or pace_ns says when to ask again.
 */
static uint32_t next_runs(struct gw_engine *engine, const struct gw_bitmap *bitmap,
			  const struct gw_bitmap *but, struct gw_run runs[PIECES_MAX])
{
	const struct gw_engine_config *const config = &engine->config;
	const uint64_t short_grains = SHARING_BYTES_MAX >> config->geom.grain_shift;
	uint64_t left_grains, bytes = 0, cursor;
	uint32_t count = 0;

	engine->pace_ns = UINT64_MAX;
	if (engine->err != 0 || engine->at_end || engine->free_count == 0 || is_held_up(engine))
		return 0;
	left_grains = gw_pacer_run_bytes(config->pacer, config->geom.grain_bytes,
					 config->run_bytes) / config->geom.grain_bytes;
	cursor = engine->cursor;
	while (count < PIECES_MAX &&
	       gw_bitmap_next_run_but(bitmap, but, &cursor, left_grains, &runs[count])) {
		if (bitmap == config->pending && cut_at_vacancy(engine, &runs[count], &cursor)) {
			/* In a slot of its own. */
			if (count > 0)
				break;
			engine->cursor = cursor;
			bytes = gw_geom_run_bytes(&config->geom, runs[count++]);
			break;
		}
		if (count > 0 && runs[count].count >= min_u64(short_grains, left_grains))
			break;
		engine->cursor = cursor;
		left_grains -= runs[count].count;
		bytes += gw_geom_run_bytes(&config->geom, runs[count]);
		if (runs[count++].count >= short_grains || left_grains == 0)
			break;
	}
	engine->at_end = count == 0;
	if (count > 0)
		gw_pacer_book(config->pacer, bytes, gw_now_ns(config->clock));
	return count;
}

static const struct gw_bitmap *held_back(const struct gw_engine *engine)
{
	const struct gw_heat *const heat = engine->config.heat;

	return heat != NULL && heat->held_grains > 0 ? &heat->held : NULL;
}

static bool is_all_copied(const struct gw_engine *engine)
{
	struct gw_run run;
	uint64_t cursor = 0;

	return !gw_bitmap_next_run_but(engine->config.pending, held_back(engine), &cursor, 1, &run);
}

static void start_copies(struct gw_engine *engine)
{
	struct gw_run runs[PIECES_MAX];
	uint32_t count;

	if (engine->at_end)
		return;
	while (batch_has_room(engine) &&
	       (count = next_runs(engine, engine->config.pending, held_back(engine), runs)) > 0) {
		struct slot *const slot = bind_slot(engine, count);

		for (uint32_t i = 0; i < count; i++)
			start_copy(engine, slot, runs[i]);
	}
	if (engine->at_end)
		check_sums(engine);
}

static void start_verifies(struct gw_engine *engine)
{
	struct gw_run runs[PIECES_MAX];
	uint32_t count;

	while ((count = next_runs(engine, engine->config.unverified, NULL, runs)) > 0) {
		struct slot *const slot = bind_slot(engine, count);

		for (uint32_t i = 0; i < count; i++)
			submit_read(engine, slot, add_piece(engine, slot, PIECE_VERIFYING, runs[i]),
				    GW_TARGET, 0);
	}
}

static void say_difference(struct gw_engine *engine, uint64_t grain, uint64_t bytes)
{
	const uint64_t lba = gw_geom_offset_bytes(&engine->config.geom, grain) >> GW_SECTOR_SHIFT;
	const bool is_known = engine->config.digests[grain] != GW_DIGEST_UNKNOWN;

	if (engine->err != 0)
		return;
	engine->err = gw_fail_exit(engine->config.diag, GW_EXIT_IO, -EILSEQ,
				   "target: grain %llu, %llu bytes at LBA %llu (512-byte sectors), %s",
				   (unsigned long long)grain, (unsigned long long)bytes,
				   (unsigned long long)lba,
				   is_known ? "is not what was read from the source" :
				   "has no digest to compare with");
}

static void verify_done(struct gw_engine *engine, struct slot *slot, struct piece *piece,
			int result)
{
	const struct gw_engine_config *const config = &engine->config;

	piece->in_flight--;
	if (result < 0)
		fail_io(engine, GW_TARGET, "read", piece->offset_bytes, piece->length_bytes,
			result);
	for (uint64_t i = 0; result == 0 && i < piece->run.count; i++) {
		const uint64_t grain = piece->run.first + i;
		const uint64_t bytes = grain_bytes_of(engine, piece, i);

		if (gw_digest_of(data_of(slot, piece) + i * config->geom.grain_bytes, bytes) !=
		    config->digests[grain]) {
			say_difference(engine, grain, bytes);
			result = -EILSEQ;
		}
	}
	if (result == 0) {
		gw_bitmap_clear(config->unverified, piece->run);
		engine->stats.verified_bytes += piece->length_bytes;
	}
	end_piece(engine, slot, piece);
}

static void handle(struct gw_engine *engine, const struct gw_io_done *done)
{
	struct slot *slot;
	struct piece *piece;
	uint32_t index;

	if (done->tag == flush_tag(engine)) {
		flush_done(engine, done->result);
		return;
	}
	slot = &engine->slots[done->tag / TAGS_MAX];
	piece = &slot->pieces[done->tag % TAGS_MAX / slot->piece_tags];
	index = done->tag % TAGS_MAX % slot->piece_tags;
	assert(piece < &slot->pieces[slot->piece_count]);
	assert(piece->in_flight > 0);
	switch (piece->state) {
	case PIECE_READING:
		read_done(engine, slot, piece, index, done->result);
		break;
	case PIECE_WRITING:
		write_done(engine, slot, piece, index, done->result);
		break;
	case PIECE_VERIFYING:
		verify_done(engine, slot, piece, done->result);
		break;
	case PIECE_DONE:
		assert(false);
	}
}

static void abandon_slot(struct gw_engine *engine, struct slot *slot)
{
	if (slot->pieces_left == 0)
		return;
	for (uint32_t i = 0; i < slot->piece_count; i++) {
		struct piece *const piece = &slot->pieces[i];

		piece->failed = true;
		if (piece->state == PIECE_VERIFYING)
			end_piece(engine, slot, piece);
		else if (piece->state != PIECE_DONE)
			retire(engine, slot, piece);
	}
}

/* The queue broke: nothing that is in flight will be heard of again. */
static void abandon(struct gw_engine *engine, int err)
{
	engine->is_broken = true;
	engine->flush_in_flight = false;
	if (engine->err == 0)
		engine->err = gw_fail_exit(engine->config.diag, GW_EXIT_IO, err,
					   "the queue of I/Os broke: %s", strerror(-err));
	for (uint32_t i = 0; i < engine->config.buffers; i++)
		abandon_slot(engine, &engine->slots[i]);
	give_back_batch(engine, engine->filling);
	give_back_batch(engine, engine->flushing);
}

/* is_busy: since the last look. */
static uint64_t look_at_clock(struct gw_engine *engine, bool is_busy)
{
	const uint64_t now_ns = gw_now_ns(engine->config.clock);

	if (is_busy)
		engine->stats.busy_ns += now_ns - engine->seen_ns;
	engine->seen_ns = now_ns;
	return now_ns;
}

static void tick_if_due(struct gw_engine *engine, uint64_t now_ns)
{
	const struct gw_engine_config *const config = &engine->config;
	int err;

	if (now_ns < engine->next_tick_ns)
		return;
	engine->next_tick_ns = now_ns + config->tick_ns;
	/* Whoever stopped it has said why, and is not asked again while the rest comes home. */
	if (engine->err != 0 || config->tick == NULL)
		return;
	err = config->tick(config->arg);
	if (err < 0)
		stop(engine, err);
}

/* Waits for what is in flight, for the pacer, or for the tick; handles what came. */
static void step(struct gw_engine *engine)
{
	const bool is_busy = engine->slot_pieces > 0;
	const uint64_t now_ns = look_at_clock(engine, is_busy);
	const uint64_t tick_ns =
		engine->next_tick_ns > now_ns ? engine->next_tick_ns - now_ns : 0;
	struct gw_io_done done[REAP_MAX];
	const int count = gw_dev_reap(engine->config.dev, done, REAP_MAX,
				      min_u64(tick_ns, engine->pace_ns));

	engine->pace_ns = UINT64_MAX;
	if (count < 0) {
		abandon(engine, count);
		return;
	}
	for (int i = 0; i < count; i++)
		handle(engine, &done[i]);
	tick_if_due(engine, look_at_clock(engine, is_busy));
}

/* Return: 0, or the error of a queue that broke in an earlier call. */
static int begin(struct gw_engine *engine)
{
	assert(busy_slots(engine) == 0);
	assert(!engine->flush_in_flight);
	engine->err = engine->is_broken ? -EIO : 0;
	engine->flush_failures = 0;
	engine->flush_is_bad = false;
	engine->cursor = 0;
	engine->at_end = false;
	engine->pace_ns = UINT64_MAX;
	engine->seen_ns = gw_now_ns(engine->config.clock);
	engine->next_tick_ns = engine->seen_ns + engine->config.tick_ns;
	return engine->err;
}

static bool is_idle(const struct gw_engine *engine)
{
	return busy_slots(engine) == 0 && !engine->flush_in_flight &&
	       engine->filling->run_count == 0 && (engine->at_end || engine->err != 0);
}

int gw_engine_copy(struct gw_engine *engine)
{
	if (engine->config.pending == NULL)
		return -EINVAL;
	if (begin(engine) < 0)
		return engine->err;
	for (;;) {
		start_copies(engine);
		if (start_flush(engine))
			start_copies(engine);
		if (!is_idle(engine)) {
			step(engine);
			continue;
		}
		if (engine->err != 0 || is_all_copied(engine))
			break;
		/* A flush failed, and what it covered came back. It was written once already. */
		engine->knows_zero = false;
		engine->at_end = false;
		engine->cursor = 0;
	}
	/* The first call is over: the target holds what the workload wrote until now. */
	engine->knows_zero = false;
	engine->config.vacant = NULL;
	assert(engine->slot_grains == 0);
	assert(gw_bitmap_is_empty(engine->config.copying));
	return engine->err;
}

int gw_engine_verify(struct gw_engine *engine)
{
	if (engine->config.unverified == NULL || engine->config.digests == NULL)
		return -EINVAL;
	if (begin(engine) < 0)
		return engine->err;
	for (;;) {
		start_verifies(engine);
		if (is_idle(engine))
			return engine->err;
		step(engine);
	}
}

int gw_engine_flush(struct gw_engine *engine)
{
	struct gw_io_done done = { .result = 0 };

	if (begin(engine) < 0)
		return engine->err;
	submit_flush(engine);
	while (engine->flush_in_flight) {
		const int count = gw_dev_reap(engine->config.dev, &done, 1,
					      engine->config.tick_ns);

		if (count < 0)
			abandon(engine, count);
		else if (count > 0)
			end_flush(engine, done.result);
		tick_if_due(engine, look_at_clock(engine, false));
	}
	if (done.result < 0)
		return gw_fail_exit(engine->config.diag, GW_EXIT_IO, done.result,
				    "target: flush failed: %s", strerror(-done.result));
	return engine->err;
}

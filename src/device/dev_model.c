// SPDX-License-Identifier: GPL-2.0-or-later
#include "dev_model.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define SECTOR_BYTES (UINT64_C(1) << GW_SECTOR_SHIFT)
#define START_NS GW_NS_PER_S
#define DELAY_NS_MAX (20 * GW_NS_PER_MS)	/* of each half; beside this a run at the pacer's rate is short */
#define FLUSH_NS_MAX (500 * GW_NS_PER_MS)	/* long enough for others to be written meanwhile */
#define LATE_NS (3 * GW_NS_PER_S)
#define WRITERS 4
#define WRITE_SECTORS_MAX 24

/* Something under way. Its first half takes effect at half_ns, all of it at done_ns. */
struct pass {
	bool is_active, is_half_done;
	uint64_t half_ns, done_ns;
	uint64_t offset_bytes, length_bytes;
};

struct request {
	struct pass pass;
	struct gw_io io;
	enum gw_model_action action;
	int64_t result;
	uint64_t completed_before;	/* FLUSH: it covers what had completed when it was submitted */
};

struct writer {
	struct pass pass;
	uint8_t data[WRITE_SECTORS_MAX * SECTOR_BYTES];
};

struct gw_dev_model {
	struct gw_end_info ends[GW_ENDS];
	uint8_t *bytes[GW_ENDS], *durable;
	uint64_t target_bytes;		/* its size in whole units */
	uint64_t *written_at;		/* by sector of the target: order of its last write; 0: durable or lost */
	uint64_t completed;		/* writes so far, from 1 */
	uint64_t random;
	uint64_t now_ns;
	struct gw_clock clock;

	struct gw_model_fault fault;
	uint64_t counted, strikes;
	uint64_t bad_offset_bytes;	/* where it struck first */
	bool is_dead, is_broken;
	void (*on_cut)(void *arg);
	void *on_cut_arg;

	struct gw_geom geom;
	struct gw_bitmap *live;
	uint64_t writes_left;
	struct writer writers[WRITERS];

	uint32_t depth;
	struct request requests[];
};

static uint64_t min_u64(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

/* splitmix64 */
static uint64_t next_random(struct gw_dev_model *model)
{
	uint64_t z = model->random += UINT64_C(0x9e3779b97f4a7c15);

	z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
	return z ^ z >> 31;
}

/* 0 to limit - 1 */
static uint64_t random_below(struct gw_dev_model *model, uint64_t limit)
{
	return next_random(model) % limit;
}

static uint64_t model_now_ns(void *arg)
{
	return ((struct gw_dev_model *)arg)->now_ns;
}

int gw_dev_model_create(struct gw_dev_model **model, const struct gw_end_info ends[GW_ENDS],
			uint32_t depth, uint64_t seed)
{
	struct gw_dev_model *new = calloc(1, sizeof(*new) + depth * sizeof(new->requests[0]));
	const uint32_t align_bytes = ends[GW_TARGET].align_bytes;

	if (new == NULL)
		return -ENOMEM;
	memcpy(new->ends, ends, sizeof(new->ends));
	new->target_bytes =
		(ends[GW_TARGET].size_bytes + align_bytes - 1) / align_bytes * align_bytes;
	new->bytes[GW_SOURCE] = calloc(1, ends[GW_SOURCE].size_bytes);
	new->bytes[GW_TARGET] = calloc(1, new->target_bytes);
	new->durable = calloc(1, new->target_bytes);
	new->written_at = calloc(new->target_bytes / SECTOR_BYTES + 1, sizeof(*new->written_at));
	if (new->bytes[GW_SOURCE] == NULL || new->bytes[GW_TARGET] == NULL ||
	    new->durable == NULL || new->written_at == NULL) {
		gw_dev_model_destroy(new);
		return -ENOMEM;
	}
	new->random = seed;
	new->now_ns = START_NS;
	new->clock = (struct gw_clock){ model_now_ns, new };
	new->depth = depth;
	*model = new;
	return 0;
}

void gw_dev_model_destroy(struct gw_dev_model *model)
{
	if (model == NULL)
		return;
	free(model->bytes[GW_SOURCE]);
	free(model->bytes[GW_TARGET]);
	free(model->durable);
	free(model->written_at);
	free(model);
}

const struct gw_clock *gw_dev_model_clock(struct gw_dev_model *model)
{
	return &model->clock;
}

uint8_t *gw_dev_model_bytes(struct gw_dev_model *model, enum gw_end end)
{
	return model->bytes[end];
}

const uint8_t *gw_dev_model_durable(const struct gw_dev_model *model)
{
	return model->durable;
}

/* ---- the target's cache ---- */

static uint64_t sectors(const struct gw_dev_model *model)
{
	return (model->target_bytes + SECTOR_BYTES - 1) / SECTOR_BYTES;
}

static void harden_sector(struct gw_dev_model *model, uint64_t sector)
{
	const uint64_t at = sector * SECTOR_BYTES;

	memcpy(model->durable + at, model->bytes[GW_TARGET] + at,
	       min_u64(SECTOR_BYTES, model->target_bytes - at));
	model->written_at[sector] = 0;
}

void gw_dev_model_harden(struct gw_dev_model *model)
{
	for (uint64_t sector = 0; sector < sectors(model); sector++)
		harden_sector(model, sector);
}

static void flush_cache(struct gw_dev_model *model, uint64_t completed_before)
{
	for (uint64_t sector = 0; sector < sectors(model); sector++)
		if (model->written_at[sector] != 0 &&
		    model->written_at[sector] <= completed_before)
			harden_sector(model, sector);
}

/* A flush that failed may have lost any of what was in the cache, and no later one writes it. */
static void lose_cache(struct gw_dev_model *model)
{
	for (uint64_t sector = 0; sector < sectors(model); sector++)
		if (model->written_at[sector] != 0 && random_below(model, 2) == 0)
			model->written_at[sector] = 0;
}

static void cut_power(struct gw_dev_model *model)
{
	model->is_dead = true;
	model->strikes++;
	for (uint64_t sector = 0; sector < sectors(model); sector++)
		if (model->written_at[sector] != 0 && random_below(model, 2) == 0)
			harden_sector(model, sector);
	/* Of what was being written any sector may have arrived. */
	for (uint32_t tag = 0; tag < model->depth; tag++) {
		const struct request *const request = &model->requests[tag];
		const struct gw_io *const io = &request->io;

		if (!request->pass.is_active || io->op != GW_IO_WRITE)
			continue;
		for (uint64_t at = 0; at < io->length_bytes; at += SECTOR_BYTES)
			if (random_below(model, 2) == 0)
				memcpy(model->durable + io->offset_bytes + at,
				       (const char *)io->data + at,
				       min_u64(SECTOR_BYTES, io->length_bytes - at));
	}
	if (model->on_cut != NULL)
		model->on_cut(model->on_cut_arg);
}

void gw_dev_model_on_cut(struct gw_dev_model *model, void (*fn)(void *arg), void *arg)
{
	model->on_cut = fn;
	model->on_cut_arg = arg;
}

void gw_dev_model_revive(struct gw_dev_model *model)
{
	memcpy(model->bytes[GW_TARGET], model->durable, model->target_bytes);
	memset(model->written_at, 0, sectors(model) * sizeof(*model->written_at));
	model->is_dead = model->is_broken = false;
	model->fault.action = GW_MODEL_NOTHING;
}

/* ---- faults ---- */

void gw_dev_model_inject(struct gw_dev_model *model, const struct gw_model_fault *fault)
{
	model->fault = *fault;
	model->counted = 0;
	model->strikes = 0;
}

uint64_t gw_dev_model_strikes(const struct gw_dev_model *model)
{
	return model->strikes;
}

uint64_t gw_dev_model_counted(const struct gw_dev_model *model)
{
	return model->counted;
}

static enum gw_model_action action_for(struct gw_dev_model *model, const struct gw_io *io)
{
	const struct gw_model_fault *const fault = &model->fault;
	bool strikes;

	if (fault->action == GW_MODEL_NOTHING || (fault->ops & GW_MODEL_OP(io->op)) == 0 ||
	    (fault->ends & GW_MODEL_END(io->end)) == 0)
		return GW_MODEL_NOTHING;
	model->counted++;
	if (model->counted == fault->nth)
		model->bad_offset_bytes = io->offset_bytes;
	strikes = model->counted == fault->nth;
	if (model->counted > fault->nth && fault->times == GW_MODEL_EVER_AFTER)
		strikes = true;
	if (model->counted > fault->nth && fault->times == GW_MODEL_SAME_PLACE)
		strikes = io->offset_bytes == model->bad_offset_bytes;
	if (!strikes)
		return GW_MODEL_NOTHING;
	if (fault->action != GW_MODEL_POWER_CUT)
		model->strikes++;
	return fault->action;
}

/* ---- requests ---- */

static struct pass plan(struct gw_dev_model *model, uint64_t offset_bytes, uint64_t length_bytes)
{
	struct pass pass = { .is_active = true };

	pass.half_ns = model->now_ns + 1 + random_below(model, DELAY_NS_MAX);
	pass.done_ns = pass.half_ns + 1 + random_below(model, DELAY_NS_MAX);
	pass.offset_bytes = offset_bytes;
	pass.length_bytes = length_bytes;
	return pass;
}

/* A sector more than half: rarely a whole unit of 4096. */
static uint64_t short_of(uint64_t bytes)
{
	const uint64_t some = bytes / 2 / SECTOR_BYTES * SECTOR_BYTES;

	return some + SECTOR_BYTES < bytes ? some + SECTOR_BYTES : some;
}

static int model_submit(void *self, uint32_t tag, const struct gw_io *io)
{
	struct gw_dev_model *const model = self;
	struct request *const request = &model->requests[tag];

	assert(tag < model->depth);
	assert(!request->pass.is_active);
	assert(io->offset_bytes % model->ends[io->end].align_bytes == 0);
	*request = (struct request){
		.pass = plan(model, io->offset_bytes, io->length_bytes),
		.io = *io,
		.result = (int64_t)io->length_bytes,
		.action = action_for(model, io),
		.completed_before = model->completed,
	};
	if (io->op == GW_IO_FLUSH)
		request->pass.done_ns += random_below(model, FLUSH_NS_MAX);
	if (request->action == GW_MODEL_LATE)
		request->pass.done_ns += LATE_NS;
	if (request->action == GW_MODEL_ERROR)
		request->result = model->fault.err;
	if (request->action == GW_MODEL_SHORT)
		request->result = (int64_t)short_of(io->length_bytes);
	if (request->action == GW_MODEL_BREAK_QUEUE)
		model->is_broken = true;
	return 0;
}

static void move_bytes(struct gw_dev_model *model, const struct gw_io *io, uint64_t from,
		       uint64_t to)
{
	uint8_t *const medium = model->bytes[io->end] + io->offset_bytes + from;

	if (io->op == GW_IO_READ)
		memcpy((uint8_t *)io->data + from, medium, to - from);
	if (io->op == GW_IO_WRITE)
		memcpy(medium, (const uint8_t *)io->data + from, to - from);
	if (io->op == GW_IO_ZERO)
		memset(medium, 0, to - from);
}

static void mark_written(struct gw_dev_model *model, const struct gw_io *io, uint64_t bytes)
{
	const uint64_t end = io->offset_bytes + bytes;

	model->completed++;
	for (uint64_t at = io->offset_bytes; at < end; at = (at / SECTOR_BYTES + 1) * SECTOR_BYTES)
		model->written_at[at / SECTOR_BYTES] = model->completed;
}

static uint64_t half_of(uint64_t bytes)
{
	return bytes / 2 / SECTOR_BYTES * SECTOR_BYTES;
}

static void half_request(struct gw_dev_model *model, struct request *request)
{
	uint64_t bytes = half_of(request->io.length_bytes);

	if (request->action == GW_MODEL_ERROR && random_below(model, 2) == 0)
		bytes = 0;
	if (request->action == GW_MODEL_ERROR && request->result == -EOPNOTSUPP)
		bytes = 0;
	if (request->action == GW_MODEL_SHORT)
		bytes = 0;
	move_bytes(model, &request->io, 0, bytes);
}

static void finish_request(struct gw_dev_model *model, struct request *request)
{
	const struct gw_io *const io = &request->io;
	const uint64_t half = half_of(io->length_bytes);

	if (io->op == GW_IO_FLUSH) {
		if (request->result < 0)
			lose_cache(model);
		else
			flush_cache(model, request->completed_before);
	} else if (request->action == GW_MODEL_SHORT) {
		move_bytes(model, io, 0, (uint64_t)request->result);
	} else if (request->result >= 0) {
		move_bytes(model, io, half, io->length_bytes);
	}
	if (io->op == GW_IO_WRITE || io->op == GW_IO_ZERO)
		mark_written(model, io, request->result < 0 ? half : (uint64_t)request->result);
	request->pass.is_active = false;
	if (request->action == GW_MODEL_POWER_CUT && !model->is_dead)
		cut_power(model);
}

/* ---- the workload ---- */

void gw_dev_model_write(struct gw_dev_model *model, const struct gw_geom *geom,
			struct gw_bitmap *live, uint64_t writes)
{
	model->geom = *geom;
	model->live = live;
	model->writes_left = writes;
}

static uint32_t active_writers(const struct gw_dev_model *model)
{
	uint32_t count = 0;

	for (int i = 0; i < WRITERS; i++)
		count += model->writers[i].pass.is_active;
	return count;
}

bool gw_dev_model_is_writing(const struct gw_dev_model *model)
{
	return model->writes_left > 0 || active_writers(model) > 0;
}

/* Rule 1 of docs/invariants.md: at submission and at completion. */
static void mark_live(struct gw_dev_model *model, const struct pass *pass)
{
	const uint64_t first = pass->offset_bytes >> model->geom.grain_shift;
	const uint64_t last =
		(pass->offset_bytes + pass->length_bytes - 1) >> model->geom.grain_shift;

	gw_bitmap_set(model->live, (struct gw_run){ first, last - first + 1 });
}

static bool overlaps_a_writer(const struct gw_dev_model *model, const struct pass *pass)
{
	for (int i = 0; i < WRITERS; i++) {
		const struct pass *const other = &model->writers[i].pass;

		if (other->is_active &&
		    pass->offset_bytes < other->offset_bytes + other->length_bytes &&
		    other->offset_bytes < pass->offset_bytes + pass->length_bytes)
			return true;
	}
	return false;
}

static void start_write(struct gw_dev_model *model, struct writer *writer)
{
	const uint64_t size_bytes = model->ends[GW_SOURCE].size_bytes;
	const uint64_t at = random_below(model, size_bytes / SECTOR_BYTES + 1) * SECTOR_BYTES;
	const uint64_t bytes = (1 + random_below(model, WRITE_SECTORS_MAX)) * SECTOR_BYTES;
	const bool zeroes = random_below(model, 3) == 0;
	struct pass pass = plan(model, at, min_u64(bytes, size_bytes - at));

	if (pass.length_bytes == 0 || overlaps_a_writer(model, &pass))
		return;
	for (uint64_t i = 0; i < pass.length_bytes; i++)
		writer->data[i] = zeroes ? 0 : (uint8_t)next_random(model);
	writer->pass = pass;
	mark_live(model, &pass);
	model->writes_left--;
}

static void maybe_start_write(struct gw_dev_model *model)
{
	struct writer *const writer = &model->writers[random_below(model, WRITERS)];

	if (model->writes_left > 0 && !writer->pass.is_active)
		start_write(model, writer);
}

static void put_write(struct gw_dev_model *model, const struct writer *writer, uint64_t from,
		      uint64_t to)
{
	memcpy(model->bytes[GW_SOURCE] + writer->pass.offset_bytes + from, writer->data + from,
	       to - from);
}

/* ---- time ---- */

/* When something of it happens next. */
static uint64_t due_ns(const struct pass *pass)
{
	if (!pass->is_active)
		return UINT64_MAX;
	return pass->is_half_done ? pass->done_ns : pass->half_ns;
}

static uint64_t next_event_ns(const struct gw_dev_model *model)
{
	uint64_t next_ns = UINT64_MAX;

	for (uint32_t tag = 0; tag < model->depth; tag++)
		next_ns = min_u64(next_ns, due_ns(&model->requests[tag].pass));
	for (int i = 0; i < WRITERS; i++)
		next_ns = min_u64(next_ns, due_ns(&model->writers[i].pass));
	return next_ns;
}

static void run_writers(struct gw_dev_model *model)
{
	for (int i = 0; i < WRITERS; i++) {
		struct writer *const writer = &model->writers[i];
		struct pass *const pass = &writer->pass;

		if (due_ns(pass) > model->now_ns)
			continue;
		if (!pass->is_half_done) {
			put_write(model, writer, 0, half_of(pass->length_bytes));
			pass->is_half_done = true;
			continue;
		}
		put_write(model, writer, half_of(pass->length_bytes), pass->length_bytes);
		pass->is_active = false;
		mark_live(model, pass);
	}
}

/* Return: how many completed, taken down in tags and bytes. */
static int run_requests(struct gw_dev_model *model, uint32_t *tags, int64_t *bytes, uint32_t max)
{
	uint32_t count = 0;

	for (uint32_t tag = 0; tag < model->depth && count < max; tag++) {
		struct request *const request = &model->requests[tag];
		struct pass *const pass = &request->pass;

		if (!pass->is_active)
			continue;
		if (model->is_dead) {
			pass->is_active = false;
			tags[count] = tag;
			bytes[count++] = -ENODEV;
			continue;
		}
		if (due_ns(pass) > model->now_ns)
			continue;
		if (!pass->is_half_done) {
			half_request(model, request);
			pass->is_half_done = true;
			continue;
		}
		finish_request(model, request);
		tags[count] = tag;
		bytes[count++] = request->result;
	}
	return (int)count;
}

static int model_reap(void *self, uint32_t *tags, int64_t *bytes, uint32_t max,
		      uint64_t timeout_ns)
{
	struct gw_dev_model *const model = self;
	const uint64_t deadline_ns = timeout_ns < UINT64_MAX - model->now_ns ?
		model->now_ns + timeout_ns : UINT64_MAX;

	if (model->is_broken)
		return -EFAULT;
	for (;;) {
		const int count = run_requests(model, tags, bytes, max);
		uint64_t next_ns;

		if (count > 0)
			return count;
		maybe_start_write(model);
		next_ns = next_event_ns(model);
		assert(next_ns != UINT64_MAX || deadline_ns != UINT64_MAX);
		if (next_ns > deadline_ns) {
			model->now_ns = deadline_ns;
			return 0;
		}
		/* What is overdue because max was reached happens now. */
		if (next_ns > model->now_ns)
			model->now_ns = next_ns;
		run_writers(model);
	}
}

void gw_dev_model_quiesce(struct gw_dev_model *model)
{
	model->writes_left = 0;
	while (active_writers(model) > 0) {
		uint64_t next_ns = UINT64_MAX;

		for (int i = 0; i < WRITERS; i++)
			next_ns = min_u64(next_ns, due_ns(&model->writers[i].pass));
		if (next_ns > model->now_ns)
			model->now_ns = next_ns;
		run_writers(model);
	}
}

static void model_close(void *self)
{
	struct gw_dev_model *const model = self;

	for (uint32_t tag = 0; tag < model->depth; tag++)
		model->requests[tag].pass.is_active = false;
}

static const struct gw_dev_ops model_ops = {
	.name = "model",
	.submit = model_submit,
	.reap = model_reap,
	.close = model_close,
};

int gw_dev_model_open(struct gw_dev **dev, struct gw_dev_model *model,
		      const struct gw_dev_rules *rules)
{
	return gw_dev_create(dev, &model_ops, model, model->depth, model->ends, rules,
			     &model->clock);
}

// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * One pass over both nodes with a fixed number of reads in flight on each. A
 * grain that differs goes into a table of fixed size, with the digests of both
 * sides; when the pass is over, or the table is full, these grains are read
 * again until they are equal or both sides have stood still for one look.
 */
#include "verify.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "clock.h"
#include "dev.h"
#include "digest.h"
#include "geom.h"
#include "pacer.h"

#define CHUNK_BYTES (UINT32_C(1) << 20)
#define BUFFERS_DEFAULT 8
#define BUFFERS_MAX 1024
#define DIFFERENCES_MAX (UINT32_C(256) << 10)	/* open at once; then they are settled first */
#define LBA_BYTES_OF_FILE 512
#define ALIGN_BYTES_FILE 4096
#define SETTLE_NS_DEFAULT (100 * GW_NS_PER_MS)
#define SETTLE_TRIES_DEFAULT 50
#define RANGES_DEFAULT 1000
#define TICK_NS (100 * GW_NS_PER_MS)
#define REAP_MAX 64

enum difference_state { OPEN, SETTLED, EQUAL };

struct difference {
	uint64_t grain;
	uint64_t digests[GW_ENDS];	/* as they were at the last look */
	enum difference_state state;
};

struct slot {
	uint64_t offset_bytes;
	uint32_t length_bytes;
	uint32_t first_difference;	/* when settling: its grains are this one and the next ones */
	uint32_t reading;		/* ends not yet read; 0: free */
};

struct range {
	uint64_t first_grain, count;	/* count 0: none */
	bool is_settled;
};

struct verify {
	struct gw_verify_config config;
	struct gw_verify_result *result;
	struct gw_diag *diag;
	struct gw_node nodes[GW_ENDS];
	struct gw_end_info ends[GW_ENDS];
	int fds[GW_ENDS];
	struct gw_dev *dev;
	struct gw_geom geom;
	struct gw_pacer pacer;
	struct slot *slots;
	uint32_t in_flight;		/* slots */
	char *slab;
	size_t slab_bytes;
	struct difference *differences;
	uint32_t count;
	uint64_t cursor_bytes;		/* of the pass */
	uint32_t cursor_difference;	/* of settling */
	uint64_t ticked_ns;
	struct range range;		/* may still grow */
	int err;			/* why nothing more is begun */
};

static const char *const end_names[GW_ENDS] = { "source", "target" };

static uint64_t now(void)
{
	return gw_now_ns(&gw_clock_monotonic);
}

static char *data_of(const struct verify *v, uint32_t slot, enum gw_end end)
{
	return v->slab + ((size_t)slot * GW_ENDS + end) * CHUNK_BYTES;
}

/* ---- reading both at once ---- */

/* What to read next, into slot's offset, length and first_difference. Return: false: nothing (for now). */
typedef bool (*next_fn)(struct verify *v, struct slot *slot);
typedef void (*compare_fn)(struct verify *v, const struct slot *slot, const char *const data[]);

static void stop(struct verify *v, int err)
{
	if (v->err == 0)
		v->err = err;
}

static void tick(struct verify *v)
{
	const uint64_t now_ns = now();

	if (now_ns - v->ticked_ns < TICK_NS || v->config.progress == NULL)
		return;
	v->ticked_ns = now_ns;
	stop(v, v->config.progress(v->config.arg, v->result->compared_bytes, v->geom.size_bytes));
}

static void begin(struct verify *v, uint32_t slot_index)
{
	struct slot *const slot = &v->slots[slot_index];

	slot->reading = GW_ENDS;
	v->in_flight++;
	for (uint32_t end = 0; end < GW_ENDS; end++) {
		const struct gw_end_info *const info = &v->ends[end];
		uint64_t length_bytes = (slot->length_bytes + info->align_bytes - 1) /
					info->align_bytes * info->align_bytes;

		if (length_bytes > info->size_bytes - slot->offset_bytes)
			length_bytes = info->size_bytes - slot->offset_bytes;
		gw_dev_submit(v->dev, slot_index * GW_ENDS + end, &(struct gw_io){
			.op = GW_IO_READ,
			.end = (enum gw_end)end,
			.data = data_of(v, slot_index, (enum gw_end)end),
			.offset_bytes = slot->offset_bytes,
			.length_bytes = length_bytes,
		});
	}
}

/*
 * Begins what there are free slots for. Return: ns until more may begin (pacing),
 * UINT64_MAX if it is not that.
 */
static uint64_t begin_more(struct verify *v, next_fn next)
{
	for (uint32_t i = 0; i < v->config.buffers && v->err == 0; i++) {
		const uint64_t now_ns = now();
		uint64_t wait_ns;

		if (v->slots[i].reading != 0)
			continue;
		wait_ns = gw_pacer_wait_ns(&v->pacer, now_ns);
		if (wait_ns > 0)
			return wait_ns;
		if (!next(v, &v->slots[i]))
			break;
		gw_pacer_book(&v->pacer, v->slots[i].length_bytes, now_ns);
		begin(v, i);
	}
	return UINT64_MAX;
}

static void end_io(struct verify *v, const struct gw_io_done *done, compare_fn compare)
{
	const uint32_t index = done->tag / GW_ENDS, end = done->tag % GW_ENDS;
	struct slot *const slot = &v->slots[index];
	const char *const data[GW_ENDS] = { data_of(v, index, GW_SOURCE),
					    data_of(v, index, GW_TARGET) };

	assert(slot->reading > 0);
	slot->reading--;
	if (done->result < 0 && v->err == 0)
		stop(v, gw_fail_exit(v->diag, GW_EXIT_IO, done->result,
				     "reading %s %s at LBA %llu (and the %u after it): %s",
				     end_names[end], v->nodes[end].path,
				     (unsigned long long)(slot->offset_bytes / v->result->lba_bytes),
				     (slot->length_bytes - 1) / v->result->lba_bytes,
				     strerror(-done->result)));
	if (slot->reading > 0)
		return;
	v->in_flight--;
	if (v->err == 0)
		compare(v, slot, data);
}

/* Until next has no more and all is compared. Return: v->err. */
static int pump(struct verify *v, next_fn next, compare_fn compare)
{
	struct gw_io_done done[REAP_MAX];

	for (;;) {
		uint64_t wait_ns = begin_more(v, next);
		int count;

		if (v->in_flight == 0 && (v->err != 0 || wait_ns == UINT64_MAX))
			return v->err;
		if (wait_ns > TICK_NS)
			wait_ns = TICK_NS;
		if (v->in_flight == 0) {
			nanosleep(&(struct timespec){ 0, (long)wait_ns }, NULL);
		} else {
			count = gw_dev_reap(v->dev, done, REAP_MAX, wait_ns);
			if (count < 0) {
				stop(v, gw_fail_exit(v->diag, GW_EXIT_IO, count, "io_uring: %s",
						     strerror(-count)));
				return v->err;
			}
			for (int i = 0; i < count; i++)
				end_io(v, &done[i], compare);
		}
		tick(v);
	}
}

/* ---- the pass ---- */

static bool next_of_pass(struct verify *v, struct slot *slot)
{
	const uint64_t left_bytes = v->geom.size_bytes - v->cursor_bytes;
	const uint32_t chunk_bytes = gw_pacer_run_bytes(&v->pacer, v->geom.grain_bytes,
							CHUNK_BYTES);

	/* A full table still has room for what the slots that are reading may find. */
	if (left_bytes == 0 || v->count >= DIFFERENCES_MAX)
		return false;
	slot->offset_bytes = v->cursor_bytes;
	slot->length_bytes = left_bytes < chunk_bytes ? (uint32_t)left_bytes : chunk_bytes;
	v->cursor_bytes += slot->length_bytes;
	return true;
}

static uint32_t grain_bytes_at(const struct slot *slot, uint32_t at_bytes, uint32_t grain_bytes)
{
	const uint32_t left_bytes = slot->length_bytes - at_bytes;

	return left_bytes < grain_bytes ? left_bytes : grain_bytes;
}

static void compare_in_pass(struct verify *v, const struct slot *slot, const char *const data[])
{
	const uint32_t grain_bytes = v->geom.grain_bytes;

	v->result->compared_bytes += slot->length_bytes;
	if (memcmp(data[GW_SOURCE], data[GW_TARGET], slot->length_bytes) == 0)
		return;
	for (uint32_t at = 0; at < slot->length_bytes; at += grain_bytes) {
		const uint32_t bytes = grain_bytes_at(slot, at, grain_bytes);

		if (memcmp(data[GW_SOURCE] + at, data[GW_TARGET] + at, bytes) == 0)
			continue;
		v->differences[v->count++] = (struct difference){
			.grain = (slot->offset_bytes + at) >> v->geom.grain_shift,
			.digests = { gw_digest_of(data[GW_SOURCE] + at, bytes),
				     gw_digest_of(data[GW_TARGET] + at, bytes) },
			.state = OPEN,
		};
	}
}

/* ---- settling ---- */

static bool next_of_settling(struct verify *v, struct slot *slot)
{
	const uint32_t chunk_bytes = gw_pacer_run_bytes(&v->pacer, v->geom.grain_bytes,
							CHUNK_BYTES);
	const struct difference *const all = v->differences;
	uint32_t i = v->cursor_difference, end;
	uint64_t left_bytes;

	while (i < v->count && all[i].state != OPEN)
		i++;
	v->cursor_difference = i;
	if (i == v->count)
		return false;
	end = i + 1;
	while (end < v->count && all[end].state == OPEN &&
	       all[end].grain == all[end - 1].grain + 1 &&
	       ((uint64_t)(end - i + 1) << v->geom.grain_shift) <= chunk_bytes)
		end++;
	slot->first_difference = i;
	slot->offset_bytes = all[i].grain << v->geom.grain_shift;
	left_bytes = v->geom.size_bytes - slot->offset_bytes;
	slot->length_bytes = (end - i) << v->geom.grain_shift;
	if (slot->length_bytes > left_bytes)
		slot->length_bytes = (uint32_t)left_bytes;
	v->cursor_difference = end;
	return true;
}

static void compare_in_settling(struct verify *v, const struct slot *slot,
				const char *const data[])
{
	const uint32_t grain_bytes = v->geom.grain_bytes;
	struct difference *difference = &v->differences[slot->first_difference];

	for (uint32_t at = 0; at < slot->length_bytes; at += grain_bytes, difference++) {
		const uint32_t bytes = grain_bytes_at(slot, at, grain_bytes);
		bool stood_still = true;

		assert(difference->grain == (slot->offset_bytes + at) >> v->geom.grain_shift);
		if (memcmp(data[GW_SOURCE] + at, data[GW_TARGET] + at, bytes) == 0) {
			difference->state = EQUAL;
			continue;
		}
		for (int end = 0; end < GW_ENDS; end++) {
			const uint64_t digest = gw_digest_of(data[end] + at, bytes);

			stood_still = stood_still && digest == difference->digests[end];
			difference->digests[end] = digest;
		}
		if (stood_still)
			difference->state = SETTLED;
	}
}

static void wait_to_settle(struct verify *v)
{
	const uint64_t until_ns = now() + v->config.settle_ns;

	for (uint64_t now_ns = now(); v->err == 0 && now_ns < until_ns; now_ns = now()) {
		const uint64_t left_ns = until_ns - now_ns;

		nanosleep(&(struct timespec){ 0, (long)(left_ns < TICK_NS ? left_ns : TICK_NS) },
			  NULL);
		tick(v);
	}
}

static int by_grain(const void *a, const void *b)
{
	const uint64_t one = ((const struct difference *)a)->grain;
	const uint64_t other = ((const struct difference *)b)->grain;

	return one < other ? -1 : one > other;
}

static void tell_range(struct verify *v)
{
	const uint64_t first_bytes = v->range.first_grain << v->geom.grain_shift;
	const uint64_t bytes = gw_geom_run_bytes(&v->geom, (struct gw_run){
		v->range.first_grain, v->range.count });
	const uint32_t lba_bytes = v->result->lba_bytes;

	if (v->range.count == 0)
		return;
	if (v->result->ranges < v->config.ranges_max && v->config.range != NULL)
		v->config.range(v->config.arg, first_bytes / lba_bytes,
				(bytes + lba_bytes - 1) / lba_bytes, v->range.is_settled);
	v->result->ranges++;
	v->range.count = 0;
}

/* Neighbours of one kind are one range, also across two fillings of the table. */
static void add_to_range(struct verify *v, uint64_t grain, bool is_settled)
{
	struct range *const range = &v->range;

	if (range->count > 0 && (range->is_settled != is_settled ||
				 grain != range->first_grain + range->count))
		tell_range(v);
	if (range->count == 0)
		*range = (struct range){ .first_grain = grain, .is_settled = is_settled };
	range->count++;
}

/* Judges all that is in the table and empties it. Return: v->err. */
static int settle(struct verify *v)
{
	bool any_open = v->count > 0;

	qsort(v->differences, v->count, sizeof(v->differences[0]), by_grain);
	for (uint32_t i = 0; any_open && i < v->config.settle_tries && v->err == 0; i++) {
		wait_to_settle(v);
		v->cursor_difference = 0;
		pump(v, next_of_settling, compare_in_settling);
		any_open = false;
		for (uint32_t k = 0; !any_open && k < v->count; k++)
			any_open = v->differences[k].state == OPEN;
	}
	if (v->err != 0)
		return v->err;
	for (uint32_t i = 0; i < v->count; i++) {
		const struct difference *const difference = &v->differences[i];
		const uint64_t bytes = gw_geom_run_bytes(&v->geom, (struct gw_run){
			difference->grain, 1 });

		if (difference->state == EQUAL) {
			v->result->in_flight_bytes += bytes;
			continue;
		}
		if (difference->state == SETTLED)
			v->result->different_bytes += bytes;
		else
			v->result->unsettled_bytes += bytes;
		add_to_range(v, difference->grain, difference->state == SETTLED);
	}
	v->count = 0;
	return 0;
}

/* ---- set-up ---- */

static int open_end(struct verify *v, enum gw_end end)
{
	struct gw_node *const node = &v->nodes[end];
	struct gw_end_info *const info = &v->ends[end];
	bool is_direct = true;
	int fd = open(node->path, O_RDONLY | O_DIRECT | O_CLOEXEC);

	if (fd < 0 && errno == EINVAL) {
		is_direct = false;	/* a file system without O_DIRECT */
		fd = open(node->path, O_RDONLY | O_CLOEXEC);
	}
	if (fd < 0)
		return gw_fail_exit(v->diag, GW_EXIT_CANNOT, -errno, "cannot open %s %s: %s",
				    end_names[end], node->path, strerror(errno));
	v->fds[end] = fd;
	info->size_bytes = node->size_bytes;
	info->is_file = node->kind == GW_NODE_FILE;
	info->align_bytes = !is_direct ? 1 : info->is_file ? ALIGN_BYTES_FILE :
							     node->logical_bytes;
	return 0;
}

static int check_ends(struct verify *v)
{
	const struct gw_node *const source = &v->nodes[GW_SOURCE];
	const struct gw_node *const target = &v->nodes[GW_TARGET];

	if (source->kind == target->kind &&
	    (source->kind == GW_NODE_BLOCK ? source->dev == target->dev :
	     source->file_dev == target->file_dev && source->file_ino == target->file_ino))
		return gw_fail_exit(v->diag, GW_EXIT_CANNOT, -EINVAL,
				    "%s and %s are the same: it would be compared with itself",
				    v->config.source, v->config.target);
	if (target->size_bytes < source->size_bytes)
		return gw_fail_exit(v->diag, GW_EXIT_CANNOT, -EINVAL,
				    "target %s is smaller than the source: %llu bytes, %llu are "
				    "needed; compare with source and target exchanged",
				    target->path, (unsigned long long)target->size_bytes,
				    (unsigned long long)source->size_bytes);
	if (source->size_bytes == 0 && source->kind == GW_NODE_BLOCK)
		return gw_fail_exit(v->diag, GW_EXIT_CANNOT, -ENODEV,
				    "source %s has no medium (0 bytes)", source->path);
	return 0;
}

static int open_dev(struct verify *v)
{
	struct gw_dev_uring_config config = {
		.clock = &gw_clock_monotonic,
		.fd = { v->fds[GW_SOURCE], v->fds[GW_TARGET] },
		.ends = { v->ends[GW_SOURCE], v->ends[GW_TARGET] },
		.slab = v->slab,
	};
	int err;

	/* An ordinary user may lock little memory: then fewer buffers do. */
	for (;; v->config.buffers /= 2) {
		struct gw_diag quiet = { 0 };
		const bool is_last = v->config.buffers == 1;

		config.depth = v->config.buffers * GW_ENDS;
		config.slab_bytes = (size_t)config.depth * CHUNK_BYTES;
		err = gw_dev_open_uring(&v->dev, &config, is_last ? v->diag : &quiet);
		if (err == -ENOMEM && !is_last)
			continue;
		if (err < 0 && !is_last)
			gw_fail_exit(v->diag, GW_EXIT_CANNOT, err, "%s", quiet.text);
		break;
	}
	if (err < 0 && v->diag != NULL && v->diag->exit_code == GW_EXIT_DONE)
		v->diag->exit_code = GW_EXIT_CANNOT;
	return err;
}

static int allocate(struct verify *v)
{
	const uint64_t grains_in_flight = (uint64_t)v->config.buffers *
					  (CHUNK_BYTES / v->geom.grain_bytes);

	v->slots = calloc(v->config.buffers, sizeof(v->slots[0]));
	v->differences = calloc(DIFFERENCES_MAX + grains_in_flight, sizeof(v->differences[0]));
	v->slab_bytes = (size_t)v->config.buffers * GW_ENDS * CHUNK_BYTES;
	v->slab = mmap(NULL, v->slab_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1,
		       0);
	if (v->slab == MAP_FAILED)
		v->slab = NULL;
	if (v->slots == NULL || v->differences == NULL || v->slab == NULL)
		return gw_fail_exit(v->diag, GW_EXIT_CANNOT, -ENOMEM,
				    "not enough memory for %u buffers of %u bytes a side; use fewer",
				    v->config.buffers, CHUNK_BYTES);
	madvise(v->slab, v->slab_bytes, MADV_HUGEPAGE);
	return 0;
}

static int set_up(struct verify *v)
{
	int err = gw_node_look(&v->nodes[GW_SOURCE], v->config.source, v->diag);

	if (err == 0)
		err = gw_node_look(&v->nodes[GW_TARGET], v->config.target, v->diag);
	if (err == 0)
		err = check_ends(v);
	if (err < 0)
		return err;
	v->result->lba_bytes = v->nodes[GW_SOURCE].kind == GW_NODE_FILE ?
			       LBA_BYTES_OF_FILE : v->nodes[GW_SOURCE].logical_bytes;
	if (v->nodes[GW_SOURCE].size_bytes == 0)
		return 0;		/* an empty file */
	err = gw_geom_init(&v->geom, v->nodes[GW_SOURCE].size_bytes, v->config.grain_bytes);
	if (err < 0)
		return gw_fail_exit(v->diag, GW_EXIT_USAGE, err,
				    "a grain of %u bytes cannot be: a power of two from %u to %u",
				    v->config.grain_bytes, GW_GRAIN_BYTES_MIN, GW_GRAIN_BYTES_MAX);
	for (int end = 0; err == 0 && end < GW_ENDS; end++)
		err = open_end(v, (enum gw_end)end);
	if (err == 0)
		err = allocate(v);
	return err == 0 ? open_dev(v) : err;
}

static void take_down(struct verify *v)
{
	gw_dev_close(v->dev);
	if (v->slab != NULL)
		munmap(v->slab, v->slab_bytes);
	free(v->differences);
	free(v->slots);
	for (int end = 0; end < GW_ENDS; end++)
		if (v->fds[end] >= 0)
			close(v->fds[end]);
}

static void set_defaults(struct gw_verify_config *config)
{
	if (config->grain_bytes == 0)
		config->grain_bytes = GW_GRAIN_BYTES_MIN;
	if (config->buffers == 0)
		config->buffers = BUFFERS_DEFAULT;
	if (config->buffers > BUFFERS_MAX)
		config->buffers = BUFFERS_MAX;
	if (config->settle_ns == 0)
		config->settle_ns = SETTLE_NS_DEFAULT;
	if (config->settle_tries == 0)
		config->settle_tries = SETTLE_TRIES_DEFAULT;
	if (config->ranges_max == 0)
		config->ranges_max = RANGES_DEFAULT;
}

int gw_verify_run(const struct gw_verify_config *config, struct gw_verify_result *result,
		  struct gw_diag *diag)
{
	struct verify v = { .config = *config, .result = result, .diag = diag, .fds = { -1, -1 } };
	const uint64_t began_ns = now();
	int err;

	memset(result, 0, sizeof(*result));
	set_defaults(&v.config);
	v.ticked_ns = began_ns;
	gw_pacer_set(&v.pacer, config->bandwidth_bytes_per_s, began_ns);
	err = set_up(&v);
	while (err == 0 && v.cursor_bytes < v.geom.size_bytes) {
		err = pump(&v, next_of_pass, compare_in_pass);
		if (err == 0)
			err = settle(&v);
	}
	if (err == 0) {
		tell_range(&v);
		assert(result->compared_bytes == v.geom.size_bytes);
	}
	take_down(&v);
	result->elapsed_ns = now() - began_ns;
	if (err != 0)
		return err;
	return result->different_bytes + result->unsettled_bytes > 0;
}

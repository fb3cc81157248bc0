// SPDX-License-Identifier: GPL-2.0-or-later
#include "dev.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define EIO_TRIES_DEFAULT 3
#define BUSY_TRIES_DEFAULT 1000
#define RETRY_WAIT_NS_DEFAULT (10 * GW_NS_PER_MS)
#define BUSY_WAIT_DIVISOR 10		/* a busy queue is asked again sooner than a bad medium */
#define REAP_MAX 64			/* completions taken from the implementation at a time */

enum tag_state {
	TAG_FREE,
	TAG_RUNNING,			/* the implementation has it */
	TAG_WAITING,			/* for its next attempt */
};

struct tag {
	enum tag_state state;
	struct gw_io io;		/* as the caller gave it */
	uint64_t moved_bytes;		/* by all attempts so far, whole units of alignment */
	uint32_t eio_failures, busy_failures;	/* since bytes moved last */
	uint64_t due_ns;
};

struct gw_dev {
	const struct gw_dev_ops *ops;
	void *self;
	struct gw_end_info ends[GW_ENDS];
	struct gw_dev_rules rules;
	const struct gw_clock *clock;
	struct gw_dev_stats stats;
	uint32_t depth, running, waiting;
	bool broken;			/* the queue failed: its I/Os cannot be awaited any more */
	struct tag tags[];
};

static uint64_t min_u64(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

static uint64_t round_down(uint64_t value, uint32_t align)
{
	return value - value % align;
}

static uint64_t round_up(uint64_t value, uint32_t align)
{
	return round_down(value + align - 1, align);
}

static struct gw_dev_rules rules_or_defaults(const struct gw_dev_rules *given)
{
	struct gw_dev_rules rules = { 0 };

	if (given != NULL)
		rules = *given;
	if (rules.eio_tries == 0)
		rules.eio_tries = EIO_TRIES_DEFAULT;
	if (rules.busy_tries == 0)
		rules.busy_tries = BUSY_TRIES_DEFAULT;
	if (rules.retry_wait_ns == 0)
		rules.retry_wait_ns = RETRY_WAIT_NS_DEFAULT;
	return rules;
}

int gw_dev_create(struct gw_dev **dev, const struct gw_dev_ops *ops, void *self, uint32_t depth,
		  const struct gw_end_info ends[GW_ENDS], const struct gw_dev_rules *rules,
		  const struct gw_clock *clock)
{
	struct gw_dev *new;

	assert(depth > 0);
	for (int end = 0; end < GW_ENDS; end++) {
		assert(ends[end].align_bytes > 0);
		assert((ends[end].align_bytes & (ends[end].align_bytes - 1)) == 0);
		assert(ends[end].size_bytes <= INT64_MAX);
	}
	new = calloc(1, sizeof(*new) + depth * sizeof(new->tags[0]));
	if (new == NULL)
		return -ENOMEM;
	new->ops = ops;
	new->self = self;
	new->depth = depth;
	memcpy(new->ends, ends, sizeof(new->ends));
	new->rules = rules_or_defaults(rules);
	new->clock = clock;
	*dev = new;
	return 0;
}

void gw_dev_close(struct gw_dev *dev)
{
	if (dev == NULL)
		return;
	assert(dev->broken || dev->running == 0);
	assert(dev->broken || dev->waiting == 0);
	dev->ops->close(dev->self);
	free(dev);
}

const struct gw_end_info *gw_dev_end(const struct gw_dev *dev, enum gw_end end)
{
	return &dev->ends[end];
}

const struct gw_dev_stats *gw_dev_stats(const struct gw_dev *dev)
{
	return &dev->stats;
}

static bool moves_data(const struct gw_io *io)
{
	return io->op == GW_IO_READ || io->op == GW_IO_WRITE;
}

/* The caller's half of the contract. */
static void check_io(const struct gw_dev *dev, const struct gw_io *io)
{
	const struct gw_end_info *info;
	uint64_t limit_bytes;

	assert(io->end < GW_ENDS);
	assert(io->op <= GW_IO_FLUSH);
	info = &dev->ends[io->end];
	limit_bytes = info->size_bytes;
	if (io->op == GW_IO_WRITE)	/* a file's last unit is written whole */
		limit_bytes = round_up(limit_bytes, info->align_bytes);
	assert(io->op == GW_IO_READ || io->end == GW_TARGET);
	assert(moves_data(io) == (io->data != NULL));
	if (io->op == GW_IO_FLUSH) {
		assert(io->offset_bytes == 0);
		assert(io->length_bytes == 0);
		return;
	}
	assert(io->length_bytes > 0);
	assert(io->offset_bytes <= limit_bytes);
	assert(io->length_bytes <= limit_bytes - io->offset_bytes);
	assert(io->offset_bytes % info->align_bytes == 0);
	assert(io->length_bytes % info->align_bytes == 0 ||
	       (io->op != GW_IO_WRITE &&
		io->offset_bytes + io->length_bytes == info->size_bytes));
	assert((uintptr_t)io->data % info->align_bytes == 0);
}

static void make_wait(struct gw_dev *dev, struct tag *t, uint64_t wait_ns)
{
	t->state = TAG_WAITING;
	t->due_ns = gw_now_ns(dev->clock) + wait_ns;
	dev->waiting++;
}

/* What is still to be moved, as an I/O of its own. */
static void attempt(struct gw_dev *dev, uint32_t tag)
{
	struct tag *const t = &dev->tags[tag];
	struct gw_io rest = t->io;
	int err;

	if (moves_data(&rest))
		rest.data = (char *)rest.data + t->moved_bytes;
	rest.offset_bytes += t->moved_bytes;
	rest.length_bytes -= t->moved_bytes;
	err = dev->ops->submit(dev->self, tag, &rest);
	assert(err == 0 || err == -EAGAIN);
	if (err == -EAGAIN) {
		make_wait(dev, t, dev->rules.retry_wait_ns / BUSY_WAIT_DIVISOR);
		return;
	}
	t->state = TAG_RUNNING;
	dev->running++;
}

void gw_dev_submit(struct gw_dev *dev, uint32_t tag, const struct gw_io *io)
{
	assert(tag < dev->depth);
	assert(dev->tags[tag].state == TAG_FREE);
	check_io(dev, io);
	dev->tags[tag] = (struct tag){ .io = *io };
	attempt(dev, tag);
}

/* Starts the attempts that are due. Return: when the next one will be, UINT64_MAX if there is none. */
static uint64_t attempt_due(struct gw_dev *dev, uint64_t now_ns)
{
	uint64_t next_ns = UINT64_MAX;
	uint32_t left = dev->waiting;

	for (uint32_t tag = 0; left > 0; tag++) {
		struct tag *const t = &dev->tags[tag];

		assert(tag < dev->depth);
		if (t->state != TAG_WAITING)
			continue;
		left--;
		if (t->due_ns <= now_ns) {
			dev->waiting--;
			attempt(dev, tag);
		}
		if (t->state == TAG_WAITING)
			next_ns = min_u64(next_ns, t->due_ns);
	}
	return next_ns;
}

static bool is_busy(int64_t result)
{
	return result == -EAGAIN || result == -EINTR || result == -EBUSY || result == -ENOMEM;
}

/* The kinds that blk_status_to_errno() has for a medium or a path that may recover. */
static bool is_media(int64_t result)
{
	return result == -EIO || result == -ENODATA || result == -EREMOTEIO ||
	       result == -EILSEQ || result == -ETIMEDOUT;
}

/* Return: true if the I/O is tried again later; false if it has failed for good. */
static bool retry(struct gw_dev *dev, struct tag *t, int64_t result)
{
	/* What a failed flush lost is not written by the next one: only the engine can mend it. */
	if (t->io.op == GW_IO_FLUSH)
		return false;
	if (is_media(result) && ++t->eio_failures < dev->rules.eio_tries) {
		dev->stats.eio_retries++;
		make_wait(dev, t, dev->rules.retry_wait_ns);
		return true;
	}
	if (is_busy(result) && ++t->busy_failures < dev->rules.busy_tries) {
		dev->stats.busy_retries++;
		make_wait(dev, t, dev->rules.retry_wait_ns / BUSY_WAIT_DIVISOR);
		return true;
	}
	return false;
}

/* Takes the result of one attempt. Return: true if the I/O ended, with *result 0 or its error. */
static bool finish(struct gw_dev *dev, uint32_t tag, int64_t bytes, int *result)
{
	struct tag *const t = &dev->tags[tag];
	const uint64_t left_bytes = t->io.length_bytes - t->moved_bytes;
	uint64_t whole_bytes;

	assert(t->state == TAG_RUNNING);
	assert(bytes <= (int64_t)left_bytes);
	assert(bytes >= INT32_MIN);
	dev->running--;
	if (bytes == (int64_t)left_bytes) {
		*result = 0;
		return true;
	}
	if (bytes >= 0) {
		assert(moves_data(&t->io));
		dev->stats.short_ios++;
		whole_bytes = round_down((uint64_t)bytes, dev->ends[t->io.end].align_bytes);
		if (whole_bytes > 0) {
			t->moved_bytes += whole_bytes;
			t->eio_failures = t->busy_failures = 0;
			attempt(dev, tag);
			return false;
		}
		bytes = -EIO;	/* nothing moved: the end came too early, or the medium is bad */
	}
	if (retry(dev, t, bytes))
		return false;
	*result = (int)bytes;
	return true;
}

static struct gw_io_done end_io(struct gw_dev *dev, uint32_t tag, int result)
{
	struct tag *const t = &dev->tags[tag];

	dev->stats.ios[t->io.end]++;
	if (result == 0 && moves_data(&t->io))
		dev->stats.bytes[t->io.end] += t->io.length_bytes;
	t->state = TAG_FREE;
	return (struct gw_io_done){ tag, result };
}

/* One look. Return: how many I/Os ended. */
static int reap_once(struct gw_dev *dev, struct gw_io_done *done, uint32_t max,
		     uint64_t timeout_ns)
{
	uint32_t tags[REAP_MAX];
	int64_t bytes[REAP_MAX];
	int count, ended = 0;

	if (max > REAP_MAX)
		max = REAP_MAX;
	count = dev->ops->reap(dev->self, tags, bytes, max, timeout_ns);
	if (count < 0) {
		dev->broken = true;
		return count;
	}
	assert((uint32_t)count <= max);
	for (int i = 0; i < count; i++) {
		int result;

		assert(tags[i] < dev->depth);
		if (finish(dev, tags[i], bytes[i], &result))
			done[ended++] = end_io(dev, tags[i], result);
	}
	return ended;
}

int gw_dev_reap(struct gw_dev *dev, struct gw_io_done *done, uint32_t max, uint64_t timeout_ns)
{
	uint64_t now_ns = gw_now_ns(dev->clock);
	const uint64_t deadline_ns =
		timeout_ns < UINT64_MAX - now_ns ? now_ns + timeout_ns : UINT64_MAX;

	assert(max > 0);
	for (;;) {
		const uint64_t next_ns = attempt_due(dev, now_ns);
		const int ended = reap_once(dev, done, max,
					    min_u64(deadline_ns, next_ns) - now_ns);

		if (ended != 0)
			return ended;
		now_ns = gw_now_ns(dev->clock);
		if (now_ns >= deadline_ns)
			return 0;
	}
}

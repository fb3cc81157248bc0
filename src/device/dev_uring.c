// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Block devices and files over one io_uring: registered files and buffers, one
 * system call for all that was submitted since the last reap.
 *
 * A file's end need not be aligned. A read that ends there is rounded up, and
 * what lies behind the end is zero in the buffer. A write there must come
 * rounded up already, so the file grows by less than align_bytes: whoever
 * opened the file truncates it to its size when the last write is done.
 */
#include "dev.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <liburing.h>
#include <linux/falloc.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>

#include "manners.h"

#define BUFFER_SHIFT 30			/* the kernel registers at most 1 GiB as one buffer */
#define BUFFERS_MAX 1024
#define SQ_ENTRIES_MAX 256		/* what is more is sent in between */
#define CQES_MAX 64
#define WORKERS_MAX 8			/* kernel threads for what would block; else as many as the kernel likes */

struct uring {
	struct io_uring ring;
	struct gw_end_info ends[GW_ENDS];
	char *slab;
	size_t slab_bytes;
	uint16_t ioprio;
	struct gw_io ios[];		/* by tag, as submitted */
};

static uint64_t round_up(uint64_t value, uint32_t align)
{
	return (value + align - 1) / align * align;
}

/* What the kernel is asked for: O_DIRECT wants whole units at a file's end too. */
static uint32_t whole_bytes(const struct uring *uring, const struct gw_io *io)
{
	const uint64_t bytes = round_up(io->length_bytes, uring->ends[io->end].align_bytes);

	assert(bytes <= INT32_MAX);
	return (uint32_t)bytes;
}

static void prepare_transfer(const struct uring *uring, struct io_uring_sqe *sqe,
			     const struct gw_io *io)
{
	const uint32_t bytes = whole_bytes(uring, io);
	const size_t offset = (size_t)((char *)io->data - uring->slab);
	const int index = (int)(offset >> BUFFER_SHIFT);
	const bool fixed = (offset + bytes - 1) >> BUFFER_SHIFT == (size_t)index;

	assert((char *)io->data >= uring->slab);
	assert(offset <= uring->slab_bytes);
	assert(bytes <= uring->slab_bytes - offset);
	if (io->op == GW_IO_READ && fixed)
		io_uring_prep_read_fixed(sqe, (int)io->end, io->data, bytes, io->offset_bytes,
					 index);
	else if (io->op == GW_IO_READ)
		io_uring_prep_read(sqe, (int)io->end, io->data, bytes, io->offset_bytes);
	else if (fixed)
		io_uring_prep_write_fixed(sqe, (int)io->end, io->data, bytes, io->offset_bytes,
					  index);
	else
		io_uring_prep_write(sqe, (int)io->end, io->data, bytes, io->offset_bytes);
	sqe->ioprio = uring->ioprio;	/* other operations are refused with a priority */
}

static void prepare(const struct uring *uring, struct io_uring_sqe *sqe, const struct gw_io *io)
{
	switch (io->op) {
	case GW_IO_READ:
	case GW_IO_WRITE:
		prepare_transfer(uring, sqe, io);
		break;
	case GW_IO_ZERO:
		/*
		 * On a block device these flags mean: write zeroes, may unmap, no fallback to
		 * writing pages (blkdev_fallocate()). Reads as zeroes afterwards, or fails.
		 * By hand: io_uring_prep_fallocate() has other types in each version of liburing.
		 */
		io_uring_prep_rw(IORING_OP_FALLOCATE, sqe, (int)io->end, NULL,
				 FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, io->offset_bytes);
		sqe->addr = io->length_bytes;
		break;
	case GW_IO_FLUSH:
		/* A whole fsync: a file may have grown at its end, or got new blocks. */
		io_uring_prep_fsync(sqe, (int)io->end, 0);
		break;
	}
	sqe->flags |= IOSQE_FIXED_FILE;
}

static int uring_submit(void *self, uint32_t tag, const struct gw_io *io)
{
	struct uring *const uring = self;
	struct io_uring_sqe *sqe = io_uring_get_sqe(&uring->ring);

	if (sqe == NULL) {
		/* What keeps this from sending will show up when reaping. */
		(void)io_uring_submit(&uring->ring);
		sqe = io_uring_get_sqe(&uring->ring);
	}
	if (sqe == NULL)
		return -EAGAIN;
	prepare(uring, sqe, io);
	sqe->user_data = tag;
	uring->ios[tag] = *io;
	return 0;
}

/* One attempt's result in the terms of gw_dev. */
static int64_t result_of(const struct uring *uring, const struct gw_io *io, int32_t res)
{
	const uint64_t wanted_bytes = io->length_bytes;

	if (res < 0)
		return res;
	if (io->op == GW_IO_ZERO || io->op == GW_IO_FLUSH)
		return (int64_t)wanted_bytes;
	if (io->op == GW_IO_READ && (uint64_t)res >= wanted_bytes)
		memset((char *)io->data + wanted_bytes, 0, whole_bytes(uring, io) - wanted_bytes);
	return (uint64_t)res < wanted_bytes ? res : (int64_t)wanted_bytes;
}

/* Return: 0, also on a timeout or a signal; negative errno if the ring cannot go on. */
static int send_and_wait(struct uring *uring, uint64_t timeout_ns)
{
	struct __kernel_timespec ts = {
		.tv_sec = (int64_t)(timeout_ns / GW_NS_PER_S),
		.tv_nsec = (long long)(timeout_ns % GW_NS_PER_S),
	};
	struct io_uring_cqe *cqe;
	int err;

	if (timeout_ns == 0)
		err = io_uring_submit_and_get_events(&uring->ring);
	else
		err = io_uring_submit_and_wait_timeout(&uring->ring, &cqe, 1, &ts, NULL);
	/* Busy: completions wait to be taken first. What was not sent stays in the queue. */
	if (err == -ETIME || err == -EINTR || err == -EAGAIN || err == -EBUSY)
		return 0;
	return err < 0 ? err : 0;
}

static int uring_reap(void *self, uint32_t *tags, int64_t *bytes, uint32_t max,
		      uint64_t timeout_ns)
{
	struct uring *const uring = self;
	struct io_uring_cqe *cqes[CQES_MAX];
	const int err = send_and_wait(uring, timeout_ns);
	unsigned int count;

	if (err < 0)
		return err;
	count = io_uring_peek_batch_cqe(&uring->ring, cqes, max < CQES_MAX ? max : CQES_MAX);
	for (unsigned int i = 0; i < count; i++) {
		tags[i] = (uint32_t)cqes[i]->user_data;
		bytes[i] = result_of(uring, &uring->ios[tags[i]], cqes[i]->res);
	}
	io_uring_cq_advance(&uring->ring, count);
	return (int)count;
}

static void uring_close(void *self)
{
	struct uring *const uring = self;

	/*
	 * The kernel takes a ring down in the background; the files, and an exclusive claim, go now.
	 * What its workers have done for us (fsync, fallocate) lets go of its file only when this
	 * thread looks once more.
	 */
	(void)io_uring_get_events(&uring->ring);
	io_uring_unregister_files(&uring->ring);
	io_uring_queue_exit(&uring->ring);
	free(uring);
}

static const struct gw_dev_ops uring_ops = {
	.name = "io_uring",
	.submit = uring_submit,
	.reap = uring_reap,
	.close = uring_close,
};

/* From the newest way of running completions (6.1) to none; older kernels refuse unknown flags. */
static int set_up_ring(struct io_uring *ring, uint32_t depth)
{
	static const unsigned int ways[] = {
		IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN |
			IORING_SETUP_COOP_TASKRUN | IORING_SETUP_SUBMIT_ALL,
		IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_COOP_TASKRUN | IORING_SETUP_SUBMIT_ALL,
		IORING_SETUP_COOP_TASKRUN,
		0,
	};
	int err = -EINVAL;

	for (size_t i = 0; i < sizeof(ways) / sizeof(ways[0]) && err == -EINVAL; i++) {
		struct io_uring_params params = {
			.flags = ways[i] | IORING_SETUP_CQSIZE | IORING_SETUP_CLAMP,
			.cq_entries = depth,
		};

		memset(ring, 0, sizeof(*ring));
		err = io_uring_queue_init_params(depth < SQ_ENTRIES_MAX ? depth : SQ_ENTRIES_MAX,
						 ring, &params);
		if (err == 0 && params.cq_entries < depth) {
			io_uring_queue_exit(ring);
			return -E2BIG;
		}
	}
	return err;
}

static int register_slab(struct uring *uring, struct gw_diag *diag)
{
	const size_t part_bytes = (size_t)1 << BUFFER_SHIFT;
	static const char hint[] = "raise the limit of locked memory (ulimit -l, "
				   "LimitMEMLOCK=), run with CAP_IPC_LOCK, or use fewer buffers";
	struct iovec parts[BUFFERS_MAX];
	unsigned int count = 0;
	int err;

	for (size_t at = 0; at < uring->slab_bytes; at += part_bytes) {
		const size_t left_bytes = uring->slab_bytes - at;

		if (count >= BUFFERS_MAX)
			return gw_fail(diag, -E2BIG, "buffers of %zu bytes are more than io_uring takes",
				       uring->slab_bytes);
		parts[count].iov_base = uring->slab + at;
		parts[count++].iov_len = left_bytes < part_bytes ? left_bytes : part_bytes;
	}
	err = io_uring_register_buffers(&uring->ring, parts, count);
	if (err == -ENOMEM)
		return gw_fail(diag, err, "cannot lock %zu bytes of buffers in memory: %s",
			       uring->slab_bytes, hint);
	if (err < 0)
		return gw_fail(diag, err, "cannot register %zu bytes of buffers with io_uring: %s",
			       uring->slab_bytes, strerror(-err));
	return 0;
}

static int explain_setup(struct gw_diag *diag, int err)
{
	if (err == -ENOSYS)
		return gw_fail(diag, err, "this kernel has no io_uring");
	if (err == -EPERM || err == -EACCES)
		return gw_fail(diag, err, "io_uring is not permitted (sysctl "
			       "kernel.io_uring_disabled, or a seccomp filter of a container)");
	if (err == -ENOMEM)
		return gw_fail(diag, err, "not enough memory for io_uring, or the limit of locked "
			       "memory (ulimit -l) is too low");
	return gw_fail(diag, err, "cannot set up io_uring: %s", strerror(-err));
}

/* They take their nice value from whoever submits, but not the CPUs. Older kernels have no such limits. */
static void limit_workers(struct io_uring *ring)
{
	unsigned int most[2] = { WORKERS_MAX, WORKERS_MAX };
	cpu_set_t cpus;

	(void)io_uring_register_iowq_max_workers(ring, most);
	if (gw_manners_cpus(&cpus))
		(void)io_uring_register_iowq_aff(ring, sizeof(cpus), &cpus);
}

static int register_all(struct uring *uring, const int fd[GW_ENDS], struct gw_diag *diag)
{
	int err;

	limit_workers(&uring->ring);
	/* A child with its own mapping would keep the ring, and all that it holds, for as long as it lives. */
	(void)io_uring_ring_dontfork(&uring->ring);
	/* Only saves a look-up a call (5.18 and later). */
	(void)io_uring_register_ring_fd(&uring->ring);
	err = io_uring_register_files(&uring->ring, fd, GW_ENDS);
	if (err < 0)
		return gw_fail(diag, err, "cannot register source and target with io_uring: %s",
			       strerror(-err));
	return register_slab(uring, diag);
}

int gw_dev_open_uring(struct gw_dev **dev, const struct gw_dev_uring_config *config,
		      struct gw_diag *diag)
{
	struct uring *uring;
	int err;

	assert(config->depth > 0);
	assert(config->slab_bytes > 0);
	uring = calloc(1, sizeof(*uring) + config->depth * sizeof(uring->ios[0]));
	if (uring == NULL)
		return gw_fail(diag, -ENOMEM, "no memory for %u I/Os", config->depth);
	memcpy(uring->ends, config->ends, sizeof(uring->ends));
	uring->slab = config->slab;
	uring->slab_bytes = config->slab_bytes;
	uring->ioprio = config->ioprio;
	err = set_up_ring(&uring->ring, config->depth);
	if (err < 0) {
		free(uring);
		return explain_setup(diag, err);
	}
	err = register_all(uring, config->fd, diag);
	if (err == 0) {
		err = gw_dev_create(dev, &uring_ops, uring, config->depth, config->ends,
				    config->rules, config->clock);
		if (err < 0)
			gw_fail(diag, err, "no memory for %u I/Os", config->depth);
	}
	if (err < 0)
		uring_close(uring);
	return err;
}

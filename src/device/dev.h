/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The two ends of a migration, read and written asynchronously over one queue.
 * This layer finishes what was begun: short transfers go on, EINTR and EAGAIN
 * are tried again, EIO a bounded number of times, by rule (see gw_dev_rules);
 * what comes out is complete or failed. One thread owns a gw_dev.
 *
 * Implementations: dev_uring.c (block devices and files) and dev_model.c.
 */
#ifndef GW_DEV_H
#define GW_DEV_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "clock.h"
#include "err.h"

enum gw_end { GW_SOURCE, GW_TARGET, GW_ENDS };

enum gw_io_op {
	GW_IO_READ,
	GW_IO_WRITE,		/* target only */
	GW_IO_ZERO,		/* target only: the range reads as zeroes afterwards; -EOPNOTSUPP: write them */
	GW_IO_FLUSH,		/* target only: what was completed before is durable; never tried again here */
};

struct gw_io {
	enum gw_io_op op;
	enum gw_end end;
	void *data;			/* inside the slab, borrowed until done; NULL for ZERO and FLUSH */
	/*
	 * Aligned to align_bytes, except that READ and ZERO may end at the device's
	 * end. WRITE never may: a file's last unit is written whole, and grows it.
	 */
	uint64_t offset_bytes, length_bytes;
};

struct gw_io_done {
	uint32_t tag;
	int result;			/* 0: all of it; else negative errno */
};

struct gw_end_info {
	uint64_t size_bytes;
	uint32_t align_bytes;		/* of offsets, lengths and memory */
	bool is_file;
};

/* What an implementation gives; gw_dev checks the contract on both sides. */
struct gw_dev_ops {
	const char *name;
	/* Return: 0, -EAGAIN if the queue is full. Not waited for. */
	int (*submit)(void *self, uint32_t tag, const struct gw_io *io);
	/*
	 * Sends what is queued; waits up to timeout_ns for one completion at least.
	 * bytes[i] is what one attempt moved (may be short), length_bytes for a ZERO
	 * or FLUSH that was done, or negative errno.
	 * Return: how many (0 on a timeout or a signal), or negative errno.
	 */
	int (*reap)(void *self, uint32_t *tags, int64_t *bytes, uint32_t max, uint64_t timeout_ns);
	void (*close)(void *self);
};

struct gw_dev_rules {
	uint32_t eio_tries;		/* attempts for -EIO and its kind (default 3) */
	uint32_t busy_tries;		/* attempts for -EAGAIN, -EINTR, -ENOMEM, -EBUSY (default 1000) */
	uint64_t retry_wait_ns;		/* before another attempt (default 10 ms); busy: a tenth of it */
};

struct gw_dev_stats {
	uint64_t ios[GW_ENDS], bytes[GW_ENDS];
	uint64_t short_ios, busy_retries, eio_retries;
};

struct gw_dev;

/*
 * Wraps an implementation (which gw_dev_close() closes). depth: tags are 0 to
 * depth - 1. Return: 0 or -ENOMEM. rules may be NULL for the defaults.
 */
int gw_dev_create(struct gw_dev **dev, const struct gw_dev_ops *ops, void *self, uint32_t depth,
		  const struct gw_end_info ends[GW_ENDS], const struct gw_dev_rules *rules,
		  const struct gw_clock *clock);
/* NULL is fine. Everything submitted must have been reaped. */
void gw_dev_close(struct gw_dev *dev);

const struct gw_end_info *gw_dev_end(const struct gw_dev *dev, enum gw_end end);
const struct gw_dev_stats *gw_dev_stats(const struct gw_dev *dev);

/* Starts an I/O; the tag must be free. io is copied. Never fails: errors come out of gw_dev_reap(). */
void gw_dev_submit(struct gw_dev *dev, uint32_t tag, const struct gw_io *io);

/* Return: how many I/Os ended (0: none within timeout_ns), or negative errno if the queue itself broke. */
int gw_dev_reap(struct gw_dev *dev, struct gw_io_done *done, uint32_t max, uint64_t timeout_ns);

/*
 * The real one, for the thread that opens it. Opens no file: descriptors are
 * borrowed and must be open O_DIRECT where align_bytes > 1. A target file may
 * grow by less than align_bytes at its end: who opened it truncates it at last.
 */
struct gw_dev_uring_config {
	int fd[GW_ENDS];		/* source read-only */
	struct gw_end_info ends[GW_ENDS];
	void *slab;			/* registered once; borrowed */
	size_t slab_bytes;
	uint32_t depth;
	uint16_t ioprio;		/* of every I/O: the copier's mark; 0 for none */
	const struct gw_clock *clock;
	const struct gw_dev_rules *rules;	/* NULL for the defaults */
};
/* Return: 0 or negative errno, said in diag (no io_uring, memory lock limit, ...). */
int gw_dev_open_uring(struct gw_dev **dev, const struct gw_dev_uring_config *config,
		      struct gw_diag *diag);

#endif

/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Reads of files that go together: all of them at once by io_uring, so that those that have to come
 * from the disk come side by side. Where there is no io_uring, one after the other.
 */
#ifndef GW_SSD_READS_H
#define GW_SSD_READS_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>

#define GW_READS_MAX 32u		/* that go together */
#define GW_READ_IOVS_MAX 1024		/* of one */

struct gw_read {
	const struct iovec *iov;	/* borrowed */
	int iovs;
	uint64_t offset;
	int err;			/* of it: 0, or negative errno */
};

struct io_uring;

/* All zeroes: not set up yet, which the first use does. One thread uses it at a time. */
struct gw_reads {
	struct io_uring *ring;		/* NULL: none */
	bool is_refused;		/* by the kernel, or a container's rules */
};

/* On return all is read, or has its err. */
void gw_reads_do(struct gw_reads *reads, int fd, struct gw_read *read, uint32_t count);
void gw_reads_close(struct gw_reads *reads);

/* All of it, or a negative errno. iov is not changed. */
int gw_file_transfer(int fd, const struct iovec *iov, int iovs, uint64_t offset, bool is_write);

#endif

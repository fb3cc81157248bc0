// SPDX-License-Identifier: GPL-2.0-or-later
#include "ssd_reads.h"

#include <assert.h>
#include <errno.h>
#include <liburing.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>

int gw_file_transfer(int fd, const struct iovec *iov, int iovs, uint64_t offset, bool is_write)
{
	struct iovec left[GW_READ_IOVS_MAX];
	struct iovec *at = left;

	assert(iovs <= GW_READ_IOVS_MAX);
	memcpy(left, iov, (size_t)iovs * sizeof(*iov));
	while (iovs > 0) {
		ssize_t got = is_write ? pwritev(fd, at, iovs, (off_t)offset) :
					 preadv(fd, at, iovs, (off_t)offset);

		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0)
			return got < 0 ? -errno : -EIO;
		offset += (uint64_t)got;
		while (iovs > 0 && (size_t)got >= at->iov_len) {
			got -= (ssize_t)at->iov_len;
			at++;
			iovs--;
		}
		if (iovs > 0) {
			at->iov_base = (uint8_t *)at->iov_base + got;
			at->iov_len -= (size_t)got;
		}
	}
	return 0;
}

static bool has_ring(struct gw_reads *reads)
{
	if (reads->ring != NULL || reads->is_refused)
		return reads->ring != NULL;
	reads->ring = malloc(sizeof(*reads->ring));
	if (reads->ring != NULL && io_uring_queue_init(GW_READS_MAX, reads->ring, 0) < 0) {
		free(reads->ring);
		reads->ring = NULL;
	}
	reads->is_refused = reads->ring == NULL;
	return reads->ring != NULL;
}

void gw_reads_close(struct gw_reads *reads)
{
	if (reads->ring != NULL)
		io_uring_queue_exit(reads->ring);
	free(reads->ring);
	memset(reads, 0, sizeof(*reads));
}

static uint64_t bytes_of(const struct gw_read *read)
{
	uint64_t bytes = 0;

	for (int i = 0; i < read->iovs; i++)
		bytes += read->iov[i].iov_len;
	return bytes;
}

/* Takes what has been done. Return: how many. */
static uint32_t take(struct gw_reads *reads, struct gw_read *read)
{
	struct io_uring_cqe *cqe;
	uint32_t taken = 0;

	while (io_uring_peek_cqe(reads->ring, &cqe) == 0) {
		struct gw_read *done = &read[cqe->user_data];

		if (cqe->res >= 0 && (uint64_t)cqe->res == bytes_of(done))
			done->err = 0;
		io_uring_cqe_seen(reads->ring, cqe);
		taken++;
	}
	return taken;
}

static bool may_go_on(int err)
{
	return err >= 0 || err == -EINTR || err == -EAGAIN || err == -EBUSY;
}

/*
 * What the kernel did not do in whole keeps its err. All that it was given is done on return, come
 * what may: it writes to memory that is somebody else's afterwards.
 */
static void do_by_ring(struct gw_reads *reads, int fd, struct gw_read *read, uint32_t count)
{
	uint32_t sent = 0, done = 0;
	bool is_broken = false;

	for (uint32_t i = 0; i < count; i++) {
		struct io_uring_sqe *sqe = io_uring_get_sqe(reads->ring);

		assert(sqe != NULL);	/* none is left from the last time */
		io_uring_prep_readv(sqe, fd, read[i].iov, (unsigned int)read[i].iovs, read[i].offset);
		sqe->user_data = i;
	}
	while (done < (is_broken ? sent : count)) {
		const int got = io_uring_submit_and_wait(reads->ring, (is_broken ? sent : count) - done);

		sent += got > 0 ? (uint32_t)got : 0;
		is_broken |= !may_go_on(got);
		done += take(reads, read);
	}
	if (is_broken) {
		gw_reads_close(reads);
		reads->is_refused = true;
	}
}

void gw_reads_do(struct gw_reads *reads, int fd, struct gw_read *read, uint32_t count)
{
	assert(count <= GW_READS_MAX);
	for (uint32_t i = 0; i < count; i++)
		read[i].err = -EAGAIN;
	if (count > 1 && has_ring(reads))
		do_by_ring(reads, fd, read, count);
	for (uint32_t i = 0; i < count; i++) {
		if (read[i].err != 0)
			read[i].err = gw_file_transfer(fd, read[i].iov, read[i].iovs, read[i].offset, false);
	}
}

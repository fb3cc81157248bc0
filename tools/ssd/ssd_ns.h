/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A namespace: its blocks in a sparse file, two maps of a bit per block (written; uncorrectable)
 * in a second one, and a volatile write cache in front. Both files survive the process; what is
 * in the cache does not survive a power cut. The caller holds ns->lock around everything that
 * touches blocks.
 */
#ifndef GW_SSD_NS_H
#define GW_SSD_NS_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>

#include "err.h"
#include "ssd_reads.h"
#include "ssd_record.h"

#define GW_NS_LBADS_MIN 9u		/* 512 bytes */
#define GW_NS_LBADS_MAX 12u
#define GW_CACHE_PAGE_BYTES 4096u

struct gw_cache_page {
	uint64_t page;			/* of the namespace, in units of GW_CACHE_PAGE_BYTES */
	uint8_t sectors;		/* which of its 512-byte sectors are newer than the file */
	uint32_t next;			/* in its hash chain; 0: last (slots count from 1) */
};

struct gw_cache {
	uint32_t slots, used, buckets;	/* slots 0: no cache at all */
	uint32_t oldest;		/* of the slots that are used, a ring: first in, first out */
	struct gw_cache_page *page;
	uint32_t *bucket;
	uint8_t *data;
};

struct gw_ns {
	uint32_t nsid;
	uint64_t bytes, blocks;
	uint8_t lbads;
	uint8_t nguid[16], eui64[8], uuid[16];	/* zeroes: none */
	uint64_t attached;		/* a bit for each controller of the subsystem */
	pthread_mutex_t lock;
	int fd, map_fd;
	uint64_t *written, *bad;	/* a bit for each block, in the map file */
	uint64_t map_bytes;		/* of both together */
	uint64_t *backed;		/* a bit for each unit of the map file that has its space */
	uint64_t written_count, bad_count;
	struct gw_cache cache;
	struct gw_record *record;	/* of what changes; NULL: none. Borrowed */
	uint16_t writer;		/* CNTLID of the controller that is at it; 0: none */
	bool is_patient;		/* its file system cannot read without waiting */
};

/*
 * Opens, or creates where they are missing, DIR/ns-NSID.data and DIR/ns-NSID.map.
 * Return: 0 or negative errno, said in diag.
 */
int gw_ns_open(struct gw_ns *ns, int dir_fd, uint32_t nsid, uint64_t bytes, uint8_t lbads,
	       uint64_t cache_bytes, struct gw_diag *diag);
/* Writes the cache out. Return: 0, or negative errno: it could not, and what was cached is lost. */
int gw_ns_close(struct gw_ns *ns);
/* After gw_ns_close(). */
void gw_ns_unlink(int dir_fd, uint32_t nsid);

struct gw_ns_read {
	uint64_t slba, count;
	const struct iovec *iov;	/* borrowed: exactly the bytes of the blocks */
	int iovs;
	int err;			/* of it: 0, or negative errno of the file */
};

/* At most GW_READS_MAX; on return each is done, or has its err. */
void gw_ns_read_all(struct gw_ns *ns, struct gw_reads *reads, struct gw_ns_read *read, uint32_t count);
/*
 * If all of it is in memory. Return: false: it is not, or something is wrong; a part of it may be in
 * the iov. read->err is not touched.
 */
bool gw_ns_read_now(struct gw_ns *ns, const struct gw_ns_read *read);
/* A write of these blocks that may stay in the cache will, and pushes nothing out of it. */
bool gw_ns_has_room(const struct gw_ns *ns, uint64_t slba, uint64_t count);
/* Return: 0 or negative errno of the file. iov has exactly the bytes of the blocks. */
int gw_ns_read(struct gw_ns *ns, uint64_t slba, uint64_t count, const struct iovec *iov, int iovs);
/* is_through: the data is in the file on return, else it may stay in the cache. */
int gw_ns_write(struct gw_ns *ns, uint64_t slba, uint64_t count, const struct iovec *iov, int iovs,
		bool is_through);
/* The blocks read as zeroes; with is_deallocate they are not written any more. */
int gw_ns_zero(struct gw_ns *ns, uint64_t slba, uint64_t count, bool is_deallocate);
int gw_ns_make_bad(struct gw_ns *ns, uint64_t slba, uint64_t count);
bool gw_ns_any_bad(const struct gw_ns *ns, uint64_t slba, uint64_t count);
int gw_ns_flush(struct gw_ns *ns);
/*
 * Empties the namespace and gives it blocks of another size. A namespace that cannot be emptied is
 * left as it was as far as its format goes.
 */
int gw_ns_format(struct gw_ns *ns, uint8_t lbads);
/*
 * What is in the cache is gone; torn_seed other than 0: some sectors of it, chosen by the seed,
 * had reached the medium. Return: sectors of 512 bytes that were lost.
 */
uint64_t gw_ns_power_cut(struct gw_ns *ns, uint64_t torn_seed);

/* The next run, at or after from, of set bits of map (ns->written, ns->bad). Return: false: none. */
bool gw_ns_next_run(const struct gw_ns *ns, const uint64_t *map, uint64_t from, uint64_t end,
		    uint64_t *first, uint64_t *run_end);

#endif

/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Guest memory as one connection has announced it: ranges of DMA addresses in files that came as
 * descriptors. Any thread may look up; one thread (the reader of the connection) adds and removes.
 *
 * Whoever uses a pointer stands between gw_dma_enter() and gw_dma_leave(). A removal takes the
 * range out of the table first and then waits for those who entered before: nobody who enters
 * later is held up by it, so that two threads may look into each other's maps without a deadlock.
 */
#ifndef GW_DMA_MAP_H
#define GW_DMA_MAP_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define GW_DMA_RANGES_MAX 65535u	/* what the handshake says */
#define GW_DMA_FILES_MAX 64u		/* mapped at the same time */

#define GW_DMA_READ 1u			/* the device may read it */
#define GW_DMA_WRITE 2u

struct gw_dma_file {
	void *at;			/* NULL: free */
	uint64_t bytes, device, inode;
	uint32_t ranges;		/* that use it */
	bool writable;
};

struct gw_dma_range {
	uint64_t iova, bytes;
	uint8_t *at;			/* NULL: announced without memory that we can reach */
	uint32_t flags;
	struct gw_dma_file *file;
};

struct gw_dma_map {
	pthread_mutex_t lock;		/* all below but the files, which the reader alone touches */
	pthread_cond_t idle;
	struct gw_dma_range *range;	/* by iova, disjoint */
	uint32_t count, room, last;	/* last: where the latest hit was */
	struct gw_dma_range own;	/* memory of the device, before all others; bytes 0: none */
	uint32_t users[2];		/* inside, by the epoch they entered in */
	unsigned int epoch;
	struct gw_dma_file file[GW_DMA_FILES_MAX];
};

int gw_dma_init(struct gw_dma_map *map);
void gw_dma_fini(struct gw_dma_map *map);	/* also unmaps; nobody may be inside */

/*
 * A new range; fd is borrowed, -1 for none. Return: 0; -EINVAL: empty, wraps, overlaps, past the
 * end of the file or no regular file; -ENOSPC: too many.
 */
int gw_dma_add(struct gw_dma_map *map, int fd, uint64_t offset, uint64_t iova, uint64_t bytes,
	       uint32_t flags);
/* Every range that touches [iova, iova + bytes); bytes 0: all. On return nobody uses them. */
void gw_dma_remove(struct gw_dma_map *map, uint64_t iova, uint64_t bytes);
/* Memory of the device itself answers there; bytes 0: no more. On return nobody uses the old place. */
void gw_dma_set_own(struct gw_dma_map *map, uint8_t *at, uint64_t iova, uint64_t bytes);
/* Any of that is the device's own. */
bool gw_dma_is_own(struct gw_dma_map *map, uint64_t iova, uint64_t bytes);
/* Waits for those who are inside now. The caller is not, and holds no lock that they may want. */
void gw_dma_synchronize(struct gw_dma_map *map);

unsigned int gw_dma_enter(struct gw_dma_map *map);	/* Return: for gw_dma_leave() */
void gw_dma_leave(struct gw_dma_map *map, unsigned int epoch);

/*
 * Where iova is, and how much follows it in one piece, at most *bytes. need: GW_DMA_READ or
 * GW_DMA_WRITE. Return: NULL if there is nothing that the device may use in that way.
 */
void *gw_dma_at(struct gw_dma_map *map, uint64_t iova, uint32_t need, uint64_t *bytes);
/* Return: 0, -EFAULT (some of it may have been copied). */
int gw_dma_read(struct gw_dma_map *map, uint64_t iova, void *to, size_t bytes);
int gw_dma_write(struct gw_dma_map *map, uint64_t iova, const void *from, size_t bytes);

/*
 * A client may cut the file short under us; touching what is gone raises SIGBUS. Installs, once
 * for the process, a handler that puts zeroes there instead. A SIGBUS anywhere else is as deadly
 * as ever.
 */
void gw_dma_catch_sigbus(void);

#endif

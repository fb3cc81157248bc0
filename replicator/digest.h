/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The sidecar digest file: XXH3-64 of every grain as it was read from the
 * source, memory-mapped, its space allocated when it is created. Layout: one
 * page of header, then a little-endian word a grain; 0 = not known (a digest of
 * 0 is stored as 1).
 */
#ifndef GW_DIGEST_H
#define GW_DIGEST_H

#include <stddef.h>
#include <stdint.h>

#include "err.h"
#include "geom.h"

#define GW_DIGEST_FILE "digests"
#define GW_DIGEST_UNKNOWN UINT64_C(0)

struct gw_digests {
	uint64_t *words;		/* geom.size_grains of them */
	struct gw_geom geom;
	/* private */
	void *map;
	size_t map_bytes;
	int fd;
};

/* Bytes that the file needs. */
uint64_t gw_digests_file_bytes(const struct gw_geom *geom);

/*
 * DIR/digests. create: all unknown, space allocated (-ENOSPC said with what is
 * missing), -EEXIST if it is there; generation goes into the header. open:
 * -EBADMSG if the header's checksum, geometry or generation is another one.
 */
int gw_digests_create(struct gw_digests *digests, const char *dir, const struct gw_geom *geom,
		      uint64_t generation, struct gw_diag *diag);
int gw_digests_open(struct gw_digests *digests, const char *dir, const struct gw_geom *geom,
		    uint64_t generation, struct gw_diag *diag);
/* Writes back and syncs. Return: 0 or negative errno, said. */
int gw_digests_sync(struct gw_digests *digests, struct gw_diag *diag);
void gw_digests_close(struct gw_digests *digests);	/* zeroed is fine */

/* The digest of one grain's bytes: XXH3-64, never GW_DIGEST_UNKNOWN. */
uint64_t gw_digest_of(const void *data, size_t bytes);
/* The same of so many zero bytes (cached for full grains in the engine). */
uint64_t gw_digest_of_zeroes(size_t bytes);
/* Digest of all digests in order, XXH3-64 over the little-endian words: one number to compare in a report. */
uint64_t gw_digests_digest(const struct gw_digests *digests);

#endif

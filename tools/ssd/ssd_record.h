/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The exact record of the blocks of a subsystem that changed, made where they change and not where they
 * are logged for a host: the truth that a test holds a log, or a copy, against. The latest are kept in a
 * ring; with a file for it, all are, as JSON lines.
 */
#ifndef GW_SSD_RECORD_H
#define GW_SSD_RECORD_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#define GW_RECORD_ENTRIES 65536u

enum gw_change_kind {
	GW_CHANGE_WRITTEN,
	GW_CHANGE_ZEROED,		/* and still allocated */
	GW_CHANGE_DEALLOCATED,
	GW_CHANGE_UNCORRECTABLE,
	GW_CHANGE_FORMATTED,		/* emptied as a whole */
	GW_CHANGE_LOST,			/* from the cache: they are again what they were on the medium */
	GW_CHANGE_DELETED,		/* with its namespace */
};

struct gw_change {
	uint64_t sequence;		/* from 1, without a gap */
	uint64_t at_ns;			/* since 1970 */
	uint64_t slba, count;
	uint32_t nsid;
	uint16_t cntlid;		/* through which; 0: through none */
	uint8_t kind;
	bool is_failed;			/* the command failed: any part of it may have changed */
};

struct gw_record {
	pthread_mutex_t lock;
	struct gw_change *ring;		/* GW_RECORD_ENTRIES */
	uint64_t count;			/* ever */
	FILE *file;			/* NULL: none */
	bool is_incomplete;		/* it could not be written to, which was said */
};

int gw_record_init(struct gw_record *record);		/* Return: 0, -ENOMEM */
void gw_record_fini(struct gw_record *record);		/* closes the file */
/* Fills in sequence and at_ns. record may be NULL. */
void gw_record_add(struct gw_record *record, struct gw_change change);
void gw_record_print(FILE *file, const struct gw_change *change);

#endif

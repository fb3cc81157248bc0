// SPDX-License-Identifier: GPL-2.0-or-later
#include "ssd_record.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

int gw_record_init(struct gw_record *record)
{
	pthread_mutex_init(&record->lock, NULL);
	record->file = NULL;
	record->count = 0;
	record->is_incomplete = false;
	record->ring = calloc(GW_RECORD_ENTRIES, sizeof(*record->ring));
	return record->ring == NULL ? -ENOMEM : 0;
}

void gw_record_fini(struct gw_record *record)
{
	if (record->file != NULL)
		fclose(record->file);
	free(record->ring);
	record->file = NULL;
	record->ring = NULL;
	pthread_mutex_destroy(&record->lock);
}

void gw_record_print(FILE *file, const struct gw_change *c)
{
	static const char *const kinds[] = {
		"written", "zeroed", "deallocated", "uncorrectable", "formatted", "lost", "deleted",
	};

	fprintf(file, "{\"schema_version\":1,\"sequence\":%llu,\"time_ns\":%llu,\"cntlid\":%u,"
		      "\"nsid\":%u,\"slba\":%llu,\"blocks\":%llu,\"kind\":\"%s\",\"failed\":%s}\n",
		(unsigned long long)c->sequence, (unsigned long long)c->at_ns, c->cntlid, c->nsid,
		(unsigned long long)c->slba, (unsigned long long)c->count, kinds[c->kind],
		c->is_failed ? "true" : "false");
}

void gw_record_add(struct gw_record *record, struct gw_change change)
{
	struct timespec now;

	if (record == NULL || change.count == 0)
		return;
	clock_gettime(CLOCK_REALTIME, &now);
	change.at_ns = (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
	pthread_mutex_lock(&record->lock);
	change.sequence = record->count + 1;
	record->ring[record->count++ % GW_RECORD_ENTRIES] = change;
	if (record->file != NULL) {
		gw_record_print(record->file, &change);
		if (fflush(record->file) != 0 && !record->is_incomplete) {
			record->is_incomplete = true;
			fprintf(stderr, "godwit-ssd: a record of changes is not complete: %s\n", strerror(errno));
		}
	}
	pthread_mutex_unlock(&record->lock);
}

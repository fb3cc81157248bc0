// SPDX-License-Identifier: GPL-2.0-or-later
#include "ssd_trace.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "clock.h"

/* One file for all controllers of the process, so that it has the order between them. */
static struct {
	pthread_mutex_t lock;
	_Atomic(FILE *) file;
	bool is_json, is_incomplete;
	_Atomic uint64_t next;
} sink = { .lock = PTHREAD_MUTEX_INITIALIZER };

int gw_trace_init(struct gw_trace *trace)
{
	trace->ring = calloc(GW_TRACE_ENTRIES, sizeof(*trace->ring));
	return trace->ring == NULL ? -ENOMEM : 0;
}

void gw_trace_fini(struct gw_trace *trace)
{
	free(trace->ring);
	trace->ring = NULL;
}

static uint64_t now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	return (uint64_t)now.tv_sec * GW_NS_PER_S + (uint64_t)now.tv_nsec;
}

static void count(struct gw_trace_kind *kind, const struct gw_trace_entry *entry)
{
	if (entry->is_kept)
		return;			/* it counts when it is completed */
	kind->count++;
	kind->errors += entry->status != NVME_SC_SUCCESS;
	kind->total_ns += entry->took_ns;
	if (entry->took_ns > kind->longest_ns)
		kind->longest_ns = entry->took_ns;
	gw_hist_record(&kind->hist, entry->took_ns);
}

/* Numbers are given under the lock, so that the file has them in their order. */
static void write_line(struct gw_trace_entry *entry)
{
	pthread_mutex_lock(&sink.lock);
	entry->sequence = atomic_fetch_add(&sink.next, 1) + 1;
	if (sink.file != NULL) {
		gw_trace_print(sink.file, entry, sink.is_json);
		if (fflush(sink.file) != 0 && !sink.is_incomplete) {
			sink.is_incomplete = true;
			fprintf(stderr, "godwit-ssd: the trace is not complete: %s\n", strerror(errno));
		}
	}
	pthread_mutex_unlock(&sink.lock);
}

void gw_trace_add(struct gw_trace *trace, struct gw_trace_entry *entry)
{
	count(&trace->kind[gw_words_number(entry->sqid == 0, entry->sqe.opcode)], entry);
	entry->at_ns = now_ns();
	if (atomic_load(&sink.file) == NULL)
		entry->sequence = atomic_fetch_add(&sink.next, 1) + 1;
	else
		write_line(entry);
	trace->ring[trace->count++ % GW_TRACE_ENTRIES] = *entry;
}

void gw_trace_to(FILE *file, bool is_json)
{
	pthread_mutex_lock(&sink.lock);
	sink.file = file;
	sink.is_json = is_json;
	pthread_mutex_unlock(&sink.lock);
}

bool gw_trace_has_file(void)
{
	return atomic_load(&sink.file) != NULL;
}

static void print_json(FILE *file, const struct gw_trace_entry *e, const char *command)
{
	const char *status = gw_words_status(e->status);
	uint64_t first, blocks;

	fprintf(file, "{\"schema_version\":1,\"sequence\":%llu,\"time_ns\":%llu,"
		      "\"controller\":\"%u/%u\",\"sqid\":%u,\"cid\":%u,\"command\":\"%s\",\"opcode\":%u,\"nsid\":%u",
		(unsigned long long)e->sequence, (unsigned long long)e->at_ns, e->subsystem, e->cntlid,
		e->sqid, e->sqe.cid, command, e->sqe.opcode, e->sqe.nsid);
	if (gw_words_range(e->sqid == 0, &e->sqe, &first, &blocks))
		fprintf(file, ",\"slba\":%llu,\"blocks\":%llu", (unsigned long long)first,
			(unsigned long long)blocks);
	fprintf(file, ",\"cdw10_15\":[%u,%u,%u,%u,%u,%u]", e->sqe.cdw10, e->sqe.cdw11, e->sqe.cdw12,
		e->sqe.cdw13, e->sqe.cdw14, e->sqe.cdw15);
	fprintf(file, ",\"completed\":%s,\"status\":%u,\"status_text\":\"%s\",\"dw0\":%u,\"took_ns\":%llu}\n",
		e->is_kept ? "false" : "true", e->status, status != NULL ? status : "", e->dw0,
		(unsigned long long)e->took_ns);
}

void gw_trace_print(FILE *file, const struct gw_trace_entry *e, bool is_json)
{
	char command[GW_WORDS_BYTES];
	const char *status = gw_words_status(e->status);

	gw_words_command(command, e->sqid == 0, &e->sqe);
	if (is_json) {
		print_json(file, e, command);
		return;
	}
	fprintf(file, "%llu %llu.%06llu %u/%u SQ %u CID %u: %s: ", (unsigned long long)e->sequence,
		(unsigned long long)(e->at_ns / GW_NS_PER_S),
		(unsigned long long)(e->at_ns % GW_NS_PER_S / 1000), e->subsystem, e->cntlid, e->sqid,
		e->sqe.cid, command);
	if (e->is_kept)
		fprintf(file, "outstanding\n");
	else if (status != NULL)
		fprintf(file, "%s, DW0 %Xh, %llu us\n", status, e->dw0,
			(unsigned long long)(e->took_ns / 1000));
	else
		fprintf(file, "status %03Xh, DW0 %Xh, %llu us\n", e->status, e->dw0,
			(unsigned long long)(e->took_ns / 1000));
}

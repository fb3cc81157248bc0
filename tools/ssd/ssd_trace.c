// SPDX-License-Identifier: GPL-2.0-or-later
#include "ssd_trace.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "clock.h"

#define LINE_BYTES_MAX 2048u

/* One file for all controllers of the process, so that it has the order between them. */
static struct {
	pthread_mutex_t lock;
	atomic_int fd;			/* -1: none. Borrowed */
	bool is_json, is_incomplete;
	FILE *line;			/* makes text */
	char text[LINE_BYTES_MAX];	/* the latest line */
	size_t bytes, written;		/* of it */
	_Atomic uint64_t next, dropped;
} sink = { .lock = PTHREAD_MUTEX_INITIALIZER, .fd = -1 };

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

/* What is left of the latest line. Return: false: not all of it can be written now. */
static bool finish_line(void)
{
	while (sink.written < sink.bytes) {
		const ssize_t got = write(atomic_load(&sink.fd), sink.text + sink.written,
					  sink.bytes - sink.written);

		if (got < 0 && errno == EINTR)
			continue;
		if (got >= 0) {
			sink.written += (size_t)got;
			continue;
		}
		if (!sink.is_incomplete)
			fprintf(stderr, "godwit-ssd: the trace is not complete: %s\n",
				errno == EAGAIN ? "nobody takes it" : strerror(errno));
		sink.is_incomplete = true;
		return false;
	}
	return true;
}

/*
 * Numbers are given under the lock, so that the file has them in their order. A command does not wait for
 * who reads the trace: a line that finds the one before it not taken yet is dropped.
 */
static void write_line(struct gw_trace_entry *entry)
{
	pthread_mutex_lock(&sink.lock);
	entry->sequence = atomic_fetch_add(&sink.next, 1) + 1;
	if (atomic_load(&sink.fd) < 0) {
		pthread_mutex_unlock(&sink.lock);
		return;
	}
	if (finish_line()) {
		rewind(sink.line);
		gw_trace_print(sink.line, entry, sink.is_json);
		fflush(sink.line);
		sink.bytes = (size_t)ftell(sink.line);
		sink.written = 0;
		finish_line();
	} else {
		atomic_fetch_add(&sink.dropped, 1);
	}
	pthread_mutex_unlock(&sink.lock);
}

void gw_trace_add(struct gw_trace *trace, struct gw_trace_entry *entry)
{
	count(&trace->kind[gw_words_number(entry->sqid == 0, entry->sqe.opcode)], entry);
	entry->at_ns = now_ns();
	if (!gw_trace_has_file())
		entry->sequence = atomic_fetch_add(&sink.next, 1) + 1;
	else
		write_line(entry);
	trace->ring[trace->count++ % GW_TRACE_ENTRIES] = *entry;
}

int gw_trace_to(int fd, bool is_json)
{
	int err = 0;

	pthread_mutex_lock(&sink.lock);
	if (sink.line != NULL && atomic_load(&sink.fd) >= 0 && !finish_line())
		atomic_fetch_add(&sink.dropped, 1);
	sink.bytes = 0;
	sink.written = 0;
	if (fd >= 0) {
		if (sink.line == NULL)
			sink.line = fmemopen(sink.text, sizeof(sink.text), "w");
		if (sink.line == NULL || fcntl(fd, F_SETFL, O_NONBLOCK) < 0)
			err = -errno;
	} else if (sink.line != NULL) {
		fclose(sink.line);
		sink.line = NULL;
	}
	sink.is_json = is_json;
	atomic_store(&sink.fd, err < 0 ? -1 : fd);
	pthread_mutex_unlock(&sink.lock);
	return err;
}

bool gw_trace_has_file(void)
{
	return atomic_load(&sink.fd) >= 0;
}

uint64_t gw_trace_dropped(void)
{
	return atomic_load(&sink.dropped);
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

/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What a controller has executed: the latest commands, in a ring that is always on; how long each kind
 * took; and, if there is a file for it, every command as a line.
 */
#ifndef GW_SSD_TRACE_H
#define GW_SSD_TRACE_H

#include <stdio.h>

#include <godwit/nvme_abi.h>

#include "hist.h"
#include "ssd_words.h"

#define GW_TRACE_ENTRIES 4096u

struct gw_trace_entry {
	uint64_t sequence;		/* of the process: from 1, in the order of completion */
	uint64_t at_ns, took_ns;	/* since 1970; from its fetch to its completion */
	uint32_t dw0;
	uint16_t cntlid, sqid, status;
	uint8_t subsystem;		/* from 1 */
	bool is_kept;			/* there was no completion, or not yet */
	struct gw_nvme_sqe sqe;
};

struct gw_trace_kind {
	uint64_t count, errors, total_ns, longest_ns;
	struct gw_hist hist;
};

/* The owner's lock guards it. */
struct gw_trace {
	struct gw_trace_entry *ring;	/* GW_TRACE_ENTRIES */
	uint64_t count;			/* ever */
	struct gw_trace_kind kind[GW_WORDS_COMMANDS_MAX];
};

int gw_trace_init(struct gw_trace *trace);	/* Return: 0, -ENOMEM */
void gw_trace_fini(struct gw_trace *trace);
/* Fills in sequence and at_ns. */
void gw_trace_add(struct gw_trace *trace, struct gw_trace_entry *entry);

/*
 * From now on each entry of the process goes to that file, too, as text or JSON lines; -1: none does. fd is
 * borrowed, and does not block from now on: what a pipe has no room for is dropped. Return: 0 or negative
 * errno; to end it never fails.
 */
int gw_trace_to(int fd, bool is_json);
bool gw_trace_has_file(void);
uint64_t gw_trace_dropped(void);	/* entries that are not in it */
void gw_trace_print(FILE *file, const struct gw_trace_entry *entry, bool is_json);

#endif

/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * An event log: a file of records as the journal's (docs/journal.md), each an event of an NVMe
 * controller. A migration keeps one beside its journal.
 */
#ifndef GW_EVENTLOG_H
#define GW_EVENTLOG_H

#include <stdint.h>

#include "err.h"
#include "event.h"
#include "journal.h"

#define GW_EVENT_LOG_FILE "events"

/* log is from gw_journal_open_log(). Return: 0 or negative errno, said. */
int gw_event_log_append(struct gw_journal *log, const struct gw_event *event, struct gw_diag *diag);

/*
 * Calls fn with each event of the file but the first skip ones; stops at fn's first non-zero answer,
 * which it returns. What this version does not know is left out. *seen: how many the file has,
 * those included. Return: 0 or negative errno, said, as gw_journal_each().
 */
int gw_event_log_each(const char *path, uint64_t skip,
		      int (*fn)(void *arg, const struct gw_event *event), void *arg,
		      uint64_t *seen, struct gw_diag *diag);

#endif

/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What happens to NVMe controllers beside their I/O, from gw_events.bpf.c: admin commands,
 * asynchronous events, states, timeouts. Memory is fixed: a ring in the kernel, whose drops are
 * counted. Pinned beside a tracking it goes on without a process; what the ring holds is not lost.
 * One thread owns a gw_event_watch.
 */
#ifndef GW_TRACK_EVENTS_H
#define GW_TRACK_EVENTS_H

#include <stdint.h>

#include "err.h"
#include "event.h"

struct gw_event_watch;

/*
 * Watches the controllers of these subsystems (count 0: of all); for root. Return: 0 or negative
 * errno, said (GW_EXIT_CANNOT). What this kernel cannot show (states, timeouts) is said as a note.
 */
int gw_events_start(struct gw_event_watch **events, const uint32_t *subsystems, uint32_t count,
		    struct gw_diag *diag);
/* Pins it beside the tracking of that name, which is there. Return: 0 or negative errno, said. */
int gw_events_pin(struct gw_event_watch *events, const char *name, struct gw_diag *diag);
/* What was pinned there. Return: 0; -ENOENT: nothing; or negative errno, said. */
int gw_events_open(struct gw_event_watch **events, const char *name, struct gw_diag *diag);

/* event has its serial; role and device are empty. Return: 0, or negative errno, which ends the reading. */
typedef int (*gw_events_fn)(void *arg, const struct gw_event *event);
/*
 * Shows up to max events that came since the last call, drops and what the kernel skipped as
 * GW_EVENT_LOST. Return: how many, or fn's error.
 */
int gw_events_read(struct gw_event_watch *events, uint32_t max, gw_events_fn fn, void *arg);

/* In the kernel; fixed. */
uint64_t gw_events_bytes(void);

/* Ends it, unless it is pinned: then it goes on. NULL is fine. */
void gw_events_close(struct gw_event_watch *events);

#endif

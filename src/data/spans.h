/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * When ranges were written: each with a first and a last time, overlapping as they were sent, made
 * into ranges that do not overlap. Pure; sizes are the caller's.
 */
#ifndef GW_SPANS_H
#define GW_SPANS_H

#include <stddef.h>
#include <stdint.h>

/* Half-open, in any unit. Of an overlap the earliest first and the latest last time count. */
struct gw_span {
	uint64_t first, end;
	uint64_t first_ns, last_ns;
};

typedef int (*gw_span_fn)(void *arg, const struct gw_span *span);

/*
 * Calls fn with ranges that do not overlap, in ascending order, none of them empty; neighbours with
 * the same two times are one. spans is sorted by this; empty ones are left out. Takes memory
 * for three indices a span. Return: 0, fn's first answer that is not 0, or -ENOMEM.
 */
int gw_spans_each(struct gw_span *spans, size_t count, gw_span_fn fn, void *arg);

#endif

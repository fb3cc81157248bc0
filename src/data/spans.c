// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * A sweep over the ends of all spans, with heaps of those that it is in: by where they end, by
 * their first time, and by their last one. What has ended leaves the latter two when it is on top.
 */
#include "spans.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

enum order { BY_END, BY_FIRST_NS, BY_LAST_NS, ORDERS };

struct heap {
	const struct gw_span *spans;
	enum order order;
	size_t *items;			/* the least one first */
	size_t count;
};

struct sweep {
	struct gw_span *spans;
	size_t count, next;		/* next: the first that was not come to */
	struct heap heaps[ORDERS];
	struct gw_span held;		/* told when its successor is known not to go on with it; empty: none */
	gw_span_fn fn;
	void *arg;
};

static uint64_t key_of(const struct heap *heap, size_t place)
{
	const struct gw_span *const span = &heap->spans[heap->items[place]];

	return heap->order == BY_END ? span->end : heap->order == BY_FIRST_NS ? span->first_ns :
	       ~span->last_ns;
}

static void swap(struct heap *heap, size_t a, size_t b)
{
	const size_t item = heap->items[a];

	heap->items[a] = heap->items[b];
	heap->items[b] = item;
}

static void push(struct heap *heap, size_t item)
{
	size_t at = heap->count++;

	heap->items[at] = item;
	while (at > 0 && key_of(heap, at) < key_of(heap, (at - 1) / 2)) {
		swap(heap, at, (at - 1) / 2);
		at = (at - 1) / 2;
	}
}

static void pop(struct heap *heap)
{
	size_t at = 0;

	assert(heap->count > 0);
	heap->items[0] = heap->items[--heap->count];
	for (;;) {
		size_t least = at;

		for (size_t child = 2 * at + 1; child <= 2 * at + 2 && child < heap->count; child++)
			if (key_of(heap, child) < key_of(heap, least))
				least = child;
		if (least == at)
			return;
		swap(heap, at, least);
		at = least;
	}
}

/* The top of those that have not ended at that place. NULL: none is left. */
static const struct gw_span *top(struct heap *heap, uint64_t at)
{
	while (heap->count > 0 && heap->spans[heap->items[0]].end <= at)
		pop(heap);
	return heap->count > 0 ? &heap->spans[heap->items[0]] : NULL;
}

static int compare_first(const void *a, const void *b)
{
	const struct gw_span *const x = a, *const y = b;

	return (x->first > y->first) - (x->first < y->first);
}

static int tell(struct sweep *sweep, const struct gw_span *span)
{
	struct gw_span *const held = &sweep->held;
	int answer = 0;

	if (held->first < held->end && held->end == span->first &&
	    held->first_ns == span->first_ns && held->last_ns == span->last_ns) {
		held->end = span->end;
		return 0;
	}
	if (held->first < held->end)
		answer = sweep->fn(sweep->arg, held);
	*held = *span;
	return answer;
}

/* From one place where a span begins or ends to the next. Return: as gw_spans_each(). */
static int step(struct sweep *sweep, uint64_t *at)
{
	const struct gw_span *nearest = top(&sweep->heaps[BY_END], *at);
	struct gw_span span;

	if (nearest == NULL)
		*at = sweep->spans[sweep->next].first;
	for (; sweep->next < sweep->count && sweep->spans[sweep->next].first <= *at; sweep->next++)
		for (int order = 0; order < ORDERS; order++)
			if (sweep->spans[sweep->next].end > *at)
				push(&sweep->heaps[order], sweep->next);
	nearest = top(&sweep->heaps[BY_END], *at);
	if (nearest == NULL)
		return 0;		/* an empty one */
	span.first = *at;
	span.end = nearest->end;
	if (sweep->next < sweep->count && sweep->spans[sweep->next].first < span.end)
		span.end = sweep->spans[sweep->next].first;
	span.first_ns = top(&sweep->heaps[BY_FIRST_NS], *at)->first_ns;
	span.last_ns = top(&sweep->heaps[BY_LAST_NS], *at)->last_ns;
	*at = span.end;
	return tell(sweep, &span);
}

int gw_spans_each(struct gw_span *spans, size_t count, gw_span_fn fn, void *arg)
{
	struct sweep sweep = { .spans = spans, .count = count, .fn = fn, .arg = arg };
	size_t *const items = calloc(ORDERS * count + 1, sizeof(*items));
	const struct gw_span none = { 0, 0, 0, 0 };
	uint64_t at = 0;
	int answer = 0;

	if (items == NULL)
		return -ENOMEM;
	if (count > 1)
		qsort(spans, count, sizeof(*spans), compare_first);
	for (int order = 0; order < ORDERS; order++)
		sweep.heaps[order] = (struct heap){ .spans = spans, .order = (enum order)order,
						    .items = items + (size_t)order * count };
	while (answer == 0 && (sweep.next < count || top(&sweep.heaps[BY_END], at) != NULL))
		answer = step(&sweep, &at);
	if (answer == 0)
		answer = tell(&sweep, &none);
	free(items);
	return answer;
}

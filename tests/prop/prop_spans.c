// SPDX-License-Identifier: GPL-2.0-or-later
/* Random spans, overlapping as they come, beside the plainest model: two times for each block. */
#include <inttypes.h>
#include <stdio.h>

#include "spans.h"

#define BLOCKS 120
#define SPANS_MAX 60
#define SEEDS 20000

static uint64_t state;

static uint64_t next(uint64_t below)
{
	state = state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
	return (state >> 33) % below;
}

struct model {
	uint64_t first_ns[BLOCKS], last_ns[BLOCKS];	/* last_ns 0: never written */
	uint64_t at;			/* all before it was told, or is not to be told */
	struct gw_span before;
	const char *wrong;
};

static void cover(struct model *model, const struct gw_span *span)
{
	for (uint64_t i = span->first; i < span->end; i++) {
		if (model->last_ns[i] == 0 || span->first_ns < model->first_ns[i])
			model->first_ns[i] = span->first_ns;
		if (span->last_ns > model->last_ns[i])
			model->last_ns[i] = span->last_ns;
	}
}

static int compare(void *arg, const struct gw_span *span)
{
	struct model *const model = arg;

	if (span->first >= span->end || span->end > BLOCKS || span->first < model->at)
		model->wrong = "out of order, empty or too long";
	else if (span->first == model->before.end && span->first_ns == model->before.first_ns &&
		 span->last_ns == model->before.last_ns)
		model->wrong = "two where one would do";
	for (; model->wrong == NULL && model->at < span->first; model->at++)
		if (model->last_ns[model->at] != 0)
			model->wrong = "left out";
	for (; model->wrong == NULL && model->at < span->end; model->at++)
		if (model->first_ns[model->at] != span->first_ns ||
		    model->last_ns[model->at] != span->last_ns)
			model->wrong = "other times";
	model->before = *span;
	return model->wrong != NULL;
}

static const char *try(uint64_t seed)
{
	struct gw_span spans[SPANS_MAX];
	struct model model = { 0 };
	size_t count;
	int answer;

	state = seed;
	count = next(SPANS_MAX + 1);
	for (size_t i = 0; i < count; i++) {
		/* Few times, so that neighbours often have the same ones. */
		const uint64_t first = next(BLOCKS), first_ns = 1 + next(4);

		spans[i] = (struct gw_span){ first, first + next(BLOCKS - first + 1) % (1 + next(30)),
					     first_ns, first_ns + next(4) };
		cover(&model, &spans[i]);
	}
	answer = gw_spans_each(spans, count, compare, &model);
	for (; model.wrong == NULL && model.at < BLOCKS; model.at++)
		if (model.last_ns[model.at] != 0)
			model.wrong = "left out at the end";
	return model.wrong != NULL ? model.wrong : answer != 0 ? "another answer" : NULL;
}

static int stop(void *arg, const struct gw_span *span)
{
	(void)span;
	return ++*(int *)arg;
}

int main(void)
{
	struct gw_span two[] = { { 5, 6, 1, 2 }, { 1, 2, 1, 2 } };
	int calls = 0;

	for (uint64_t seed = 0; seed < SEEDS; seed++) {
		const char *const wrong = try(seed);

		if (wrong != NULL) {
			printf("# seed %" PRIu64 ": %s\nnot ok - spans beside the model\n", seed, wrong);
			return 1;
		}
	}
	printf("ok - spans beside the model\n");
	if (gw_spans_each(two, 2, stop, &calls) != 1 || calls != 1) {
		printf("not ok - an answer ends it\n");
		return 1;
	}
	printf("ok - an answer ends it\n");
	return 0;
}

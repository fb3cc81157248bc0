/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Two ends in memory, for tests: a clock of its own, completions in random
 * order, one injected fault, a target with a volatile cache that loses power,
 * and a workload that writes to the source meanwhile. Everything follows from
 * the seed. One thread.
 */
#ifndef GW_DEV_MODEL_H
#define GW_DEV_MODEL_H

#include <stdbool.h>
#include <stdint.h>

#include "bitmap.h"
#include "clock.h"
#include "dev.h"
#include "geom.h"

enum gw_model_action {
	GW_MODEL_NOTHING,
	GW_MODEL_ERROR,			/* of a write half may have reached the medium */
	GW_MODEL_SHORT,			/* about half of it, in whole sectors */
	GW_MODEL_LATE,			/* three seconds */
	GW_MODEL_POWER_CUT,		/* when it has completed; -ENODEV for everything from then on */
	GW_MODEL_BREAK_QUEUE,		/* reap fails, for good */
};

enum gw_model_times {
	GW_MODEL_ONCE,
	GW_MODEL_SAME_PLACE,		/* every attempt at the same offset, too: a bad sector */
	GW_MODEL_EVER_AFTER,		/* every one from the nth on */
};

/* Bits of gw_model_fault's ops and ends. */
#define GW_MODEL_OP(op) (UINT32_C(1) << (op))
#define GW_MODEL_END(end) (UINT32_C(1) << (end))
#define GW_MODEL_ANY UINT32_MAX

struct gw_model_fault {
	enum gw_model_action action;
	enum gw_model_times times;
	uint32_t ops, ends;		/* which attempts are counted */
	uint64_t nth;			/* of them, from 1 */
	int err;			/* negative errno of GW_MODEL_ERROR */
};

struct gw_dev_model;

/* ends as for gw_dev_create(). Both ends are zero. Return: 0 or -ENOMEM. */
int gw_dev_model_create(struct gw_dev_model **model, const struct gw_end_info ends[GW_ENDS],
			uint32_t depth, uint64_t seed);
void gw_dev_model_destroy(struct gw_dev_model *model);	/* NULL is fine; close its gw_dev first */

/* A gw_dev over the model, which outlives it. Return: as gw_dev_create(). */
int gw_dev_model_open(struct gw_dev **dev, struct gw_dev_model *model,
		      const struct gw_dev_rules *rules);
const struct gw_clock *gw_dev_model_clock(struct gw_dev_model *model);

/* What a reader would see. */
uint8_t *gw_dev_model_bytes(struct gw_dev_model *model, enum gw_end end);
/* What the target would hold after losing power now, with nothing of its cache saved. */
const uint8_t *gw_dev_model_durable(const struct gw_dev_model *model);
/* Makes all that was put into gw_dev_model_bytes() of the target durable: for the start of a test. */
void gw_dev_model_harden(struct gw_dev_model *model);

/* One fault at a time; counting starts anew. */
void gw_dev_model_inject(struct gw_dev_model *model, const struct gw_model_fault *fault);
/* How often it struck, and how many attempts it could have struck. */
uint64_t gw_dev_model_strikes(const struct gw_dev_model *model);
uint64_t gw_dev_model_counted(const struct gw_dev_model *model);

/* Called when power is cut, before anyone is told. */
void gw_dev_model_on_cut(struct gw_dev_model *model, void (*fn)(void *arg), void *arg);
/* Power is back: the target holds what had become durable. Faults are gone. */
void gw_dev_model_revive(struct gw_dev_model *model);

/*
 * A workload on the source: so many more writes of random place, length and
 * content, several at once, each marked in live at its submission and at its
 * completion, with its effect on the medium in two parts in between.
 */
void gw_dev_model_write(struct gw_dev_model *model, const struct gw_geom *geom,
			struct gw_bitmap *live, uint64_t writes);
bool gw_dev_model_is_writing(const struct gw_dev_model *model);
/* No new writes; returns when those that were submitted have completed. */
void gw_dev_model_quiesce(struct gw_dev_model *model);

#endif

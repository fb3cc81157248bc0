/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Misbehaviour on order: rules of one controller, each with what it does and when. Evaluated once for
 * each command, each change that is logged and each controller state that is read; costs one load
 * while there are none.
 */
#ifndef GW_SSD_FAULTS_H
#define GW_SSD_FAULTS_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "err.h"
#include "ssd_words.h"

#define GW_FAULT_RULES_MAX 32u
#define GW_FAULT_TEXT_BYTES 160u

enum gw_fault_action {
	/* of a command */
	GW_FAULT_ERROR,			/* completes with a status, and is not executed */
	GW_FAULT_DELAY,
	GW_FAULT_BANDWIDTH,
	GW_FAULT_HANG,			/* until the rule is cleared, or a reset */
	GW_FAULT_DROP,			/* executed, and never completed */
	GW_FAULT_WRONG,			/* completed with something else in the entry */
	GW_FAULT_FATAL,			/* CSTS.CFS, and no completion */
	GW_FAULT_REMOVE,		/* surprise removal, and no completion */
	GW_FAULT_POWER_CUT,		/* before it is executed */
	/* of a change that is due in the log */
	GW_FAULT_LOG_FORGET,
	GW_FAULT_LOG_INVENT,		/* one more, of other blocks */
	GW_FAULT_LOG_LATE,		/* posted with the next one, or at the end */
	GW_FAULT_LOG_OVERFLOW,		/* as if the queue were full */
	GW_FAULT_LOG_STOP,		/* this and all that come */
	/* of a controller state */
	GW_FAULT_STATE,			/* a byte of it is another one */
};

enum gw_fault_wrong {
	GW_WRONG_NOTHING, GW_WRONG_CID, GW_WRONG_SQID, GW_WRONG_SQHD, GW_WRONG_DW0, GW_WRONG_PHASE,
	GW_WRONG_TWICE,
};

struct gw_fault_rule {
	uint32_t id;
	enum gw_fault_action action;
	struct gw_match match;
	uint64_t nth, every, times;	/* 0: no such condition */
	uint64_t after_ns;		/* not before, on the monotonic clock */
	uint32_t chance_ppm;
	uint64_t seen, hits;
	uint16_t status;
	enum gw_fault_wrong wrong;
	uint32_t field;			/* GW_FAULT_STATE: an offset, or one of its names */
	uint64_t low, high;		/* delay in ns, blocks that are invented; low: rate, seed */
	char text[GW_FAULT_TEXT_BYTES];	/* as it was asked for */
};

struct gw_faults {
	atomic_uint count;
	pthread_mutex_t lock;		/* of all below; innermost */
	struct gw_fault_rule rule[GW_FAULT_RULES_MAX];
	uint32_t next_id;
	uint64_t random;
};

/* What becomes of one command: all rules that apply together. */
struct gw_fault_plan {
	bool has_status, is_hanging, is_dropped, is_fatal, is_removed, is_cut;
	uint16_t status;
	enum gw_fault_wrong wrong;
	uint32_t hanging_id;
	uint64_t delay_ns, rate, seed;
};

void gw_faults_init(struct gw_faults *faults);
void gw_faults_fini(struct gw_faults *faults);
/* ACTION[=VALUE] and conditions. Return: the number of the rule, or negative errno, said. */
int gw_faults_add(struct gw_faults *faults, char *const *word, uint32_t words, struct gw_diag *diag);
/* id 0: all of them. Return: how many went. */
uint32_t gw_faults_clear(struct gw_faults *faults, uint32_t id);
bool gw_faults_has(struct gw_faults *faults, uint32_t id);

void gw_faults_plan(struct gw_faults *faults, uint16_t sqid, const struct gw_nvme_sqe *sqe,
		    struct gw_fault_plan *plan);
/*
 * Blocks changed. Return: a rule applies: *action is what, and *first and *count are what is invented,
 * if that is it.
 */
bool gw_faults_log(struct gw_faults *faults, uint32_t nsid, uint64_t slba, uint64_t blocks,
		   enum gw_fault_action *action, uint64_t *first, uint64_t *count);
void gw_faults_state(struct gw_faults *faults, uint8_t *state, uint32_t bytes);

#endif

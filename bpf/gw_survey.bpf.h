/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What is in flight by the kernel's own tables, beside the slots: a request that is there and in
 * no slot was submitted before the programs were attached (or its submission was skipped), and if
 * its completion is lost, nothing tells. So the start of a tracking waits until there is none.
 * Programs of user space's own, by BPF_PROG_RUN: nothing here runs in the way of I/O.
 *
 * The object says which requests may change what is tracked, and which slot is theirs.
 */
#ifndef GW_SURVEY_BPF_H
#define GW_SURVEY_BPF_H

#include "gw_slots.bpf.h"

#define SURVEY_QUEUES_MAX 4096
#define SURVEY_TAGS_MAX 16384
/* Of all queues, so that no survey takes long, whatever those tables are. */
#define SURVEY_LOOKS_MAX (1u << 20)

/* Both may be called of a request that ends meanwhile, or is another one already. */
__hidden bool gw_may_change(struct request *rq);
__hidden struct gw_bpf_slot *gw_slot_of(struct request *rq);

static __always_inline void note_queue(struct request_queue *queue)
{
	struct gw_bpf_state *const state = state_of();

	if (state != NULL)
		*(volatile u64 *)&state->queue = (u64)queue;
}

static __always_inline struct request_queue *noted_queue(void)
{
	struct gw_bpf_state *const state = state_of();

	return state != NULL ? (void *)state->queue : NULL;
}

struct survey {
	struct gw_bpf_survey found;
	struct request_queue *queue;
	struct request **requests;	/* of one hardware queue, by tag; the last to have had it */
	u32 hw_queue;
	u32 looks;
	bool is_lost;			/* the tables are not what they should be */
};

enum { NOT_OURS, SEEN, UNSEEN };

/* A global function: the verifier looks at it once, not in each loop that leads to it. */
__noinline int gw_survey_request(u64 request)
{
	struct request *const rq = (void *)request;
	struct gw_bpf_slot *slot;

	if (!gw_may_change(rq))
		return NOT_OURS;
	slot = gw_slot_of(rq);
	return slot != NULL && slot->holder == request ? SEEN : UNSEEN;
}

/*
 * A request is in flight from after its submission program to before its completion programs;
 * drivers that do not use the state in between have it so until they are through.
 */
static long survey_tag(u32 tag, void *context)
{
	struct survey *const survey = context;
	struct request *rq = NULL;
	int is;

	if (bpf_probe_read_kernel(&rq, sizeof(rq), survey->requests + tag) != 0)
		survey->is_lost = true;
	if (rq == NULL ||
	    BPF_CORE_READ(rq, state) != bpf_core_enum_value(enum mq_rq_state, MQ_RQ_IN_FLIGHT) ||
	    BPF_CORE_READ(rq, q) != survey->queue ||
	    BPF_CORE_READ(rq, mq_hctx, queue_num) != survey->hw_queue)
		return 0;
	is = gw_survey_request((u64)rq);
	if (is != NOT_OURS)
		survey->found.in_flight++;
	if (is == UNSEEN)
		survey->found.unseen++;
	return 0;
}

static long survey_hw_queue(u32 number, void *context)
{
	struct survey *const survey = context;
	struct request_queue *const queue = survey->queue;
	struct blk_mq_tags **const all = BPF_CORE_READ(queue, tag_set, tags);
	struct blk_mq_tags *tags = NULL;
	u32 count;

	/* A hardware queue that no CPU uses has none. */
	if (bpf_probe_read_kernel(&tags, sizeof(tags), all + number) != 0)
		survey->is_lost = true;
	if (tags == NULL)
		return 0;
	survey->hw_queue = number;
	survey->requests = BPF_CORE_READ(tags, rqs);
	count = BPF_CORE_READ(tags, nr_tags);
	survey->looks += count;
	if (count > SURVEY_TAGS_MAX || survey->looks > SURVEY_LOOKS_MAX) {
		survey->is_lost = true;
		return 1;
	}
	bpf_loop(count, survey_tag, survey, 0);
	return 0;
}

static __always_inline void survey_queue(struct survey *survey, struct request_queue *queue)
{
	const u32 count = BPF_CORE_READ(queue, tag_set, nr_hw_queues);

	survey->queue = queue;
	if (count == 0 || count > SURVEY_QUEUES_MAX)
		survey->is_lost = true;
	else
		bpf_loop(count, survey_hw_queue, survey, 0);
	survey->found.queues++;
}

static __always_inline void tell(struct gw_bpf_survey *found, const struct survey *survey)
{
	*found = survey->found;
	if (survey->is_lost)
		found->queues = 0;
}

#endif

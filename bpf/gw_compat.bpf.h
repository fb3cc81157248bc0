/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Where kernels from 6.1 on differ, and nothing else. Each difference is asked
 * of the running kernel's BTF, never of its version number.
 */
#ifndef GW_COMPAT_BPF_H
#define GW_COMPAT_BPF_H

#include "gw_vmlinux.h"

#include <bpf/bpf_core_read.h>
#include <bpf/bpf_helpers.h>

/* linux/blk_types.h: the low 8 bits of the flags; the same in all of them. */
#define GW_REQ_OP_MASK 0xffu

/*
 * The zone operations got other numbers after 6.1, as in 6.18 ("block: make
 * REQ_OP_ZONE_OPEN a write operation" moved ZONE_OPEN to 11 and the rest behind
 * it: what was ZONE_RESET_ALL is ZONE_RESET now). An operation that a kernel
 * does not have never matches.
 */
#define gw_op_is(op, NAME)								\
	(bpf_core_enum_value_exists(enum req_op, NAME) &&				\
	 (op) == (u32)bpf_core_enum_value(enum req_op, NAME))

/* diskseq came with 5.15, so all have it; a vendor's kernel may have it hidden. */
static __always_inline u64 gw_diskseq(struct gendisk *disk)
{
	if (!bpf_core_field_exists(disk->diskseq))
		return 0;
	return disk->diskseq;
}

/*
 * Is the iterator at the start of its first data page? The position in a page is called
 * bi_bvec_done, and bi_offset in newer kernels (seen in 7.3); it means the same. A kernel with
 * neither gets the careful answer.
 */
static __always_inline bool gw_iter_is_at_start(struct bvec_iter *iter)
{
	struct bvec_iter___renamed *const renamed = (void *)iter;

	if (iter->bi_idx != 0)
		return false;
	if (bpf_core_field_exists(iter->bi_bvec_done))
		return iter->bi_bvec_done == 0;
	if (bpf_core_field_exists(renamed->bi_offset))
		return renamed->bi_offset == 0;
	return false;
}

/* Of its own in older kernels, of its bio since (seen in 6.18); no bio, no priority. */
static __always_inline u32 gw_request_ioprio(struct request *rq)
{
	if (bpf_core_field_exists(rq->ioprio))
		return rq->ioprio;
	return rq->bio != NULL ? rq->bio->bi_ioprio : 0;
}

/* The tables of requests that gw_survey.bpf.h reads; all kernels from 6.1 to 7.3 have them. */
static __always_inline bool gw_has_request_tables(void)
{
	return bpf_core_field_exists(((struct request *)0)->state) &&
	       bpf_core_field_exists(((struct request *)0)->mq_hctx) &&
	       bpf_core_field_exists(((struct request_queue *)0)->tag_set) &&
	       bpf_core_field_exists(((struct blk_mq_tag_set *)0)->nr_hw_queues) &&
	       bpf_core_field_exists(((struct blk_mq_tag_set *)0)->tags) &&
	       bpf_core_field_exists(((struct blk_mq_tags *)0)->nr_tags) &&
	       bpf_core_field_exists(((struct blk_mq_tags *)0)->rqs) &&
	       bpf_core_enum_value_exists(enum mq_rq_state, MQ_RQ_IN_FLIGHT);
}

#endif

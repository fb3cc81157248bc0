/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What is in flight, so that a lost completion is found (rule 2): a submission leaves its range
 * in a slot, the first copy of the completion program to come empties it. For sources whose
 * units are sectors. Each object includes it once.
 */
#ifndef GW_SLOTS_BPF_H
#define GW_SLOTS_BPF_H

#include "gw_mark.bpf.h"

const volatile __u32 gw_hw_queues = 0;		/* of one device */
const volatile __u32 gw_tags_per_queue = 0;

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__type(key, u32);
	__type(value, struct gw_bpf_slot);
} gw_slots SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, GW_STRAYS_REQUESTS);
	__type(key, u64);
	__type(value, struct gw_bpf_slot);
} gw_strays SEC(".maps");

struct ranges {
	struct bio *bio;		/* the next one */
	struct extent hull;
};

static long mark_range(u32 number, void *context)
{
	struct ranges *const ranges = context;
	struct bio *const bio = ranges->bio;
	const u64 first = BPF_CORE_READ(bio, bi_iter.bi_sector);
	const u64 end = first + (BPF_CORE_READ(bio, bi_iter.bi_size) >> 9);

	gw_mark(first, end);
	ranges->hull.first = gw_min(ranges->hull.first, first);
	ranges->hull.end = gw_max(ranges->hull.end, end);
	ranges->bio = BPF_CORE_READ(bio, bi_next);
	return ranges->bio == NULL;
}

/*
 * The ranges of a discard: a bio each, merged or not (NVMe, virtio); the request's
 * own sector and length are those of a contiguous one. Return: their hull.
 */
static __always_inline struct extent mark_ranges(struct bio *bio)
{
	struct ranges ranges = { bio, { ~0ull, 0 } };

	if (bio != NULL)
		bpf_loop(GW_DISCARD_RANGES_MAX, mark_range, &ranges, 0);
	if (ranges.bio != NULL)
		raise(GW_STATE_MANY_RANGES);
	clip(&ranges.hull);
	return ranges.hull;
}

static __always_inline void mark_slot(const struct gw_bpf_slot *slot)
{
	gw_mark(slot->first_sector, slot->end_sector);
}

/*
 * The slot is the request's own from submission to completion, over a requeue
 * too: with an I/O scheduler the driver's tag is given back then, the scheduler's
 * is not. A tag past the table (queues added later) goes to the hash. device: of
 * several that have slots in the table, which.
 */
static __always_inline bool index_of(u32 queue, int internal_tag, int driver_tag, u32 device,
				     u32 *index)
{
	const int tag = internal_tag >= 0 ? internal_tag : driver_tag;

	*index = (device * gw_hw_queues + queue) * gw_tags_per_queue + (u32)tag;
	return queue < gw_hw_queues && tag >= 0 && (u32)tag < gw_tags_per_queue;
}

static __always_inline bool find_index(struct request *rq, u32 device, u32 *index)
{
	return index_of(rq->mq_hctx->queue_num, rq->internal_tag, rq->tag, device, index);
}

static __always_inline void add_stray(u64 holder, const struct extent *extent, u32 op,
				      u64 submitted_ns, u32 flags)
{
	struct gw_bpf_slot slot = {
		.holder = holder,
		.first_sector = extent->first,
		.end_sector = extent->end,
		.submitted_ns = submitted_ns,
		.flags = flags,
		.op = op,
	};

	if (bpf_map_update_elem(&gw_strays, &holder, &slot, BPF_ANY) != 0)
		count_rare(strays_full);
}

static __always_inline void fill_slot(struct gw_bpf_slot *slot, u64 holder,
				      const struct extent *extent, u32 op, u64 submitted_ns,
				      u32 flags)
{
	slot->first_sector = extent->first;
	slot->end_sector = extent->end;
	slot->submitted_ns = submitted_ns;
	slot->op = op;
	slot->flags = flags;
	slot->done = 0;
	/* Last: who finds it taken (in_flight() in track_block.c) finds the rest. */
	*(volatile u64 *)&slot->holder = holder;
}

/*
 * When the block layer made the request: it reads the clock anyway, unless iostats is
 * off, and a second reading would cost a third of all that is done here.
 */
static __always_inline u64 submitted_ns(struct request *rq)
{
	const u64 made_ns = rq->start_time_ns;

	return made_ns != 0 ? made_ns : bpf_ktime_get_ns();
}

/* The first copy to come empties the slot and counts; each one marks. */
static __always_inline void settle_slot(struct gw_bpf_slot *slot, struct request *rq,
					const struct extent *own, u32 copy)
{
	if (slot->holder == (u64)rq) {
		if (__sync_lock_test_and_set(&slot->holder, 0) == (u64)rq) {
			slot->done = (u64)rq;
			count_completion(copy);
		}
	} else if (!is_empty(own) && slot->done != (u64)rq) {
		/* In flight when the programs were attached, or its submission was skipped. */
		slot->done = (u64)rq;
		count_rare(unseen_submissions);
	}
}

#endif

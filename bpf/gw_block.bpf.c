// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The dirty source `block`: marks what is written to one disk, or to a range of
 * its sectors, from the block layer's tracepoints. Request-based disks:
 * block_rq_issue, block_rq_complete, block_rq_requeue. Bio-based ones:
 * block_bio_queue, block_bio_complete. User space loads one set of the two.
 *
 * Rule 1: mark at completion, whatever the status, and at submission too. The
 * copier moves a bit away before it reads; the bit that a completion sets is what
 * tells it that it read too early.
 *
 * Rule 2: the kernel skips a program that is entered again on the same CPU. So
 * the completion is handled by three programs with the same text, and a
 * submission leaves its range in a slot until the first of them has come.
 */
#include "gw_slots.bpf.h"
#include "gw_survey.bpf.h"

#include <bpf/bpf_tracing.h>

char LICENSE[] SEC("license") = "GPL";

/* Set between open and load: the verifier drops what is not needed. */
const volatile int gw_disk_major = 0;
const volatile int gw_disk_first_minor = 0;
const volatile __u64 gw_expected_diskseq = 0;	/* 0: not known */
const volatile __u64 gw_zone_sectors = 0;		/* 0: not zoned */
const volatile __u64 gw_chain_endio = 0;		/* the kernel's bio_chain_endio() */
const volatile bool gw_empty_passthrough_writes = false;

enum kind {
	HARMLESS,
	RANGE,
	RANGES,		/* discard: a range per bio */
	ZONE,		/* the whole zone, or zones, that it starts in */
	WHOLE,
};

/* What is written */

static __always_inline bool is_tracked_disk(struct gendisk *disk)
{
	/* A null pointer reads as zeroes, and no disk has the number 0:0. */
	return disk->first_minor == gw_disk_first_minor && disk->major == gw_disk_major;
}

/* At submissions only: what is in flight when the disk is exchanged ends with an error. */
static __always_inline void check_diskseq(struct gendisk *disk)
{
	if (gw_expected_diskseq != 0 && gw_diskseq(disk) != gw_expected_diskseq)
		raise(GW_STATE_OTHER_DISK);
}

static __always_inline bool is_harmless(u32 op, u32 bytes)
{
	/* A command without data has the direction "in": an NVMe write-zeroes, say. */
	if (gw_op_is(op, REQ_OP_DRV_IN))
		return bytes != 0 || !gw_empty_passthrough_writes;
	return gw_op_is(op, REQ_OP_READ) || gw_op_is(op, REQ_OP_FLUSH) ||
	       gw_op_is(op, REQ_OP_ZONE_OPEN) || gw_op_is(op, REQ_OP_ZONE_CLOSE);
}

/* Also: raises the flag of what may have written anywhere. Return: enum kind. */
__noinline int gw_other_kind(u32 op, u32 bytes)
{
	if (is_harmless(op, bytes))
		return HARMLESS;
	if (gw_op_is(op, REQ_OP_WRITE_ZEROES))
		return RANGE;
	if (gw_op_is(op, REQ_OP_DISCARD) || gw_op_is(op, REQ_OP_SECURE_ERASE))
		return RANGES;
	if (gw_op_is(op, REQ_OP_ZONE_APPEND) || gw_op_is(op, REQ_OP_ZONE_RESET) ||
	    gw_op_is(op, REQ_OP_ZONE_FINISH))
		return ZONE;
	if (gw_op_is(op, REQ_OP_ZONE_RESET_ALL)) {
		raise(GW_STATE_RESET_ALL);
		return WHOLE;
	}
	if (gw_op_is(op, REQ_OP_DRV_OUT) || gw_op_is(op, REQ_OP_DRV_IN))
		raise(GW_STATE_PASSTHROUGH);
	else
		raise(GW_STATE_UNKNOWN_OP);
	return WHOLE;
}

static __always_inline enum kind kind_of(u32 op, u32 bytes)
{
	if (likely(op == bpf_core_enum_value(enum req_op, REQ_OP_WRITE)))
		return RANGE;
	if (likely(op == bpf_core_enum_value(enum req_op, REQ_OP_READ)))
		return HARMLESS;
	return gw_other_kind(op, bytes);
}

static __always_inline bool is_discard(u32 op)
{
	return gw_op_is(op, REQ_OP_DISCARD) || gw_op_is(op, REQ_OP_SECURE_ERASE) ||
	       gw_op_is(op, REQ_OP_WRITE_ZEROES);
}

/* Clipped. WHOLE has the whole of it: if its completion is lost, that is marked. */
static __always_inline struct extent extent_of(enum kind kind, u64 sector, u32 bytes)
{
	struct extent extent = { sector, sector + ((bytes + 511ull) >> 9) };

	if (kind == WHOLE) {
		extent.first = gw_tracked_first;
		extent.end = gw_tracked_end;
	} else if (kind == ZONE && gw_zone_sectors != 0) {
		extent.first = sector - sector % gw_zone_sectors;
		extent.end = extent.first + gw_zone_sectors;
		/* A reset may span zones; the byte count, if there is one, says how many. */
		if (extent.end < sector + (bytes >> 9))
			extent.end = sector + (bytes >> 9);
	}
	if (extent.end < extent.first)
		extent.end = ~0ull;
	clip(&extent);
	return extent;
}

static __noinline void mark_other(struct request *rq, enum kind kind, struct extent *extent)
{
	if (kind == RANGES && rq->bio != NULL && rq->bio->bi_next != NULL) {
		*extent = mark_ranges(rq->bio);
		return;
	}
	*extent = extent_of(kind, rq->__sector, rq->__data_len);
	/* WHOLE has raised its flag; marking all of it is for lost completions. */
	if (kind != WHOLE)
		mark(extent);
}

/* Return: what was marked, or its hull; empty if the request does not say or it is not tracked. */
static __always_inline struct extent mark_request(struct request *rq, enum kind kind)
{
	struct extent extent = { rq->__sector, rq->__sector + ((rq->__data_len + 511ull) >> 9) };

	if (likely(kind == RANGE)) {
		clip(&extent);
		mark_clipped(&extent);
	} else {
		mark_other(rq, kind, &extent);
	}
	return extent;
}

/* Request-based disks */

/*
 * A slot that is taken still: by this request, given back and submitted again, or by one whose
 * completion was lost. Return: is it the former?
 */
static __noinline bool find_taken(struct gw_bpf_slot *slot, u64 holder)
{
	if (slot->holder == holder && (slot->flags & GW_SLOT_REQUEUED) != 0)
		return true;
	mark_slot(slot);
	count_rare(lost_found);
	return false;
}

static __noinline void submit_stray(struct request *rq, struct extent *extent, u32 op)
{
	const u64 holder = (u64)rq;
	struct gw_bpf_slot *const entry = bpf_map_lookup_elem(&gw_strays, &holder);
	bool again = false;

	if (entry != NULL && entry->holder != 0)
		again = find_taken(entry, holder);
	add_stray(holder, extent, op, submitted_ns(rq), 0);
	if (!again)
		count_submission(rq->__data_len, is_discard(op));
}

SEC("tp_btf/block_rq_issue")
int BPF_PROG(gw_rq_issue, struct request *rq)
{
	const u32 op = rq->cmd_flags & GW_REQ_OP_MASK;
	struct gw_bpf_slot *slot = NULL;
	struct extent extent;
	bool again = false;
	enum kind kind;
	u32 index;

	if (!is_tracked_disk(rq->q->disk))
		return 0;
	kind = kind_of(op, rq->__data_len);
	if (kind == HARMLESS)
		return 0;
	check_diskseq(rq->q->disk);
	extent = mark_request(rq, kind);
	if (is_empty(&extent))
		return 0;
	if (likely(find_index(rq, 0, &index)))
		slot = bpf_map_lookup_elem(&gw_slots, &index);
	if (unlikely(slot == NULL)) {
		submit_stray(rq, &extent, op);
		return 0;
	}
	if (unlikely(slot->holder != 0))
		again = find_taken(slot, (u64)rq);
	fill_slot(slot, (u64)rq, &extent, op, submitted_ns(rq), 0);
	if (likely(!again))
		count_submission(rq->__data_len, is_discard(op));
	return 0;
}

/*
 * Given back by the driver, to be submitted again; what the attempt did is marked, and the
 * slot kept, so that the next submission is not taken for the trace of a lost completion.
 */
SEC("tp_btf/block_rq_requeue")
int BPF_PROG(gw_rq_requeue, struct request *rq)
{
	const u64 holder = (u64)rq;
	struct gw_bpf_slot *slot;
	enum kind kind;
	u32 index;

	if (!is_tracked_disk(rq->q->disk))
		return 0;
	kind = kind_of(rq->cmd_flags & GW_REQ_OP_MASK, rq->__data_len);
	if (kind == HARMLESS)
		return 0;
	mark_request(rq, kind);
	if (find_index(rq, 0, &index))
		slot = bpf_map_lookup_elem(&gw_slots, &index);
	else
		slot = bpf_map_lookup_elem(&gw_strays, &holder);
	if (slot != NULL && slot->holder == holder)
		slot->flags |= GW_SLOT_REQUEUED;
	return 0;
}

/*
 * The first copy to come empties the slot and counts; each one marks. No exchange: until this
 * returns, nobody but find_lost_in_slots() in track_block.c touches the slot of this request.
 */
static __always_inline void settle_own(struct gw_bpf_slot *slot, const struct extent *own,
					enum kind kind, bool is_last_part, u32 copy)
{
	/* Another range than the request's own: what was left by one whose completion was lost. */
	if (unlikely(slot->first_sector != own->first || slot->end_sector != own->end) &&
	    kind != WHOLE)
		mark_slot(slot);
	if (!is_last_part)
		return;
	*(volatile u64 *)&slot->holder = 0;
	count_completion(copy);
}

static __noinline void complete_stray(struct request *rq, struct extent *own, enum kind kind,
				      bool is_last_part, u32 copy)
{
	const u64 holder = (u64)rq;
	struct gw_bpf_slot *const entry = bpf_map_lookup_elem(&gw_strays, &holder);

	if (entry == NULL) {
		if (copy == 1 && is_last_part && !is_empty(own))
			count_rare(unseen_submissions);
		return;
	}
	if (entry->holder == holder)
		settle_own(entry, own, kind, is_last_part, copy);
	if (copy == GW_COMPLETE_COPIES && entry->holder == 0)
		bpf_map_delete_elem(&gw_strays, &holder);
}

static __always_inline int complete_request(struct request *rq, u32 done_bytes, u32 copy)
{
	const u32 op = rq->cmd_flags & GW_REQ_OP_MASK, bytes = rq->__data_len;
	struct gw_bpf_slot *slot = NULL;
	struct extent own = { 0, 0 };
	enum kind kind;
	u32 index;

	if (!is_tracked_disk(rq->q->disk))
		return 0;
	kind = kind_of(op, bytes);
	if (kind == HARMLESS)
		return 0;
	/*
	 * A write without bytes is an empty flush, or one that the flush machinery
	 * (O_DSYNC) completes for the second time: the range went with the first.
	 */
	if (bytes != 0 || kind == ZONE || kind == WHOLE)
		own = mark_request(rq, kind);
	if (likely(find_index(rq, 0, &index)))
		slot = bpf_map_lookup_elem(&gw_slots, &index);
	/* A partial completion: the request goes on with the rest. */
	if (unlikely(slot == NULL))
		complete_stray(rq, &own, kind, done_bytes >= bytes, copy);
	else if (slot->holder == (u64)rq)
		settle_own(slot, &own, kind, done_bytes >= bytes, copy);
	else if (copy == 1 && done_bytes >= bytes && !is_empty(&own))
		/* In flight when the programs were attached, or its submission was skipped. */
		count_rare(unseen_submissions);
	return 0;
}

SEC("tp_btf/block_rq_complete")
int BPF_PROG(gw_rq_complete1, struct request *rq, int error, unsigned int bytes)
{
	return complete_request(rq, bytes, 1);
}

SEC("tp_btf/block_rq_complete")
int BPF_PROG(gw_rq_complete2, struct request *rq, int error, unsigned int bytes)
{
	return complete_request(rq, bytes, 2);
}

SEC("tp_btf/block_rq_complete")
int BPF_PROG(gw_rq_complete3, struct request *rq, int error, unsigned int bytes)
{
	return complete_request(rq, bytes, 3);
}

/* What is in flight, for user space */

/* Of merged discards nobody looks where all of them lie. */
__hidden bool gw_may_change(struct request *rq)
{
	const u32 op = BPF_CORE_READ(rq, cmd_flags) & GW_REQ_OP_MASK;
	const u32 bytes = BPF_CORE_READ(rq, __data_len);
	struct extent extent;

	if (is_harmless(op, bytes))
		return false;
	if (!gw_op_is(op, REQ_OP_WRITE) && !gw_op_is(op, REQ_OP_WRITE_ZEROES))
		return true;
	extent = extent_of(RANGE, BPF_CORE_READ(rq, __sector), bytes);
	return !is_empty(&extent);
}

__hidden struct gw_bpf_slot *gw_slot_of(struct request *rq)
{
	const u64 holder = (u64)rq;
	u32 index;

	if (index_of(BPF_CORE_READ(rq, mq_hctx, queue_num), BPF_CORE_READ(rq, internal_tag),
		     BPF_CORE_READ(rq, tag), 0, &index))
		return bpf_map_lookup_elem(&gw_slots, &index);
	return bpf_map_lookup_elem(&gw_strays, &holder);
}

/* Attached only until it has come by once. */
SEC("tp_btf/block_rq_issue")
int BPF_PROG(gw_find_queue, struct request *rq)
{
	if (is_tracked_disk(rq->q->disk))
		note_queue(rq->q);
	return 0;
}

SEC("syscall")
int gw_survey(struct gw_bpf_survey *found)
{
	struct survey survey = { 0 };
	struct request_queue *const queue = noted_queue();

	if (queue != NULL && gw_has_request_tables() &&
	    BPF_CORE_READ(queue, disk, first_minor) == gw_disk_first_minor &&
	    BPF_CORE_READ(queue, disk, major) == gw_disk_major)
		survey_queue(&survey, queue);
	tell(found, &survey);
	return 0;
}

/* Bio-based disks */

/*
 * A bio is announced once, with its full range, before anything splits it; at
 * completion its iterator may be consumed. So an entry for each, also for those
 * that touch nothing tracked: not found then means not seen.
 */
SEC("tp_btf/block_bio_queue")
int BPF_PROG(gw_bio_queue, struct bio *bio)
{
	const u32 op = bio->bi_opf & GW_REQ_OP_MASK, bytes = bio->bi_iter.bi_size;
	const u64 holder = (u64)bio;
	struct gw_bpf_slot *entry;
	struct extent extent;
	enum kind kind;

	if (!is_tracked_disk(bio->bi_bdev->bd_disk))
		return 0;
	kind = kind_of(op, bytes);
	if (kind == HARMLESS)
		return 0;
	check_diskseq(bio->bi_bdev->bd_disk);
	extent = extent_of(kind, bio->bi_iter.bi_sector, bytes);
	if (kind != WHOLE)
		mark(&extent);
	entry = bpf_map_lookup_elem(&gw_strays, &holder);
	if (entry != NULL && entry->holder != 0) {
		mark_slot(entry);
		count_rare(lost_found);
	}
	add_stray(holder, &extent, op, bpf_ktime_get_ns(), 0);
	if (!is_empty(&extent))
		count_submission(bytes, is_discard(op));
	return 0;
}

/*
 * Left by an earlier bio at the same address: done before the first copy came, seen by this
 * copy already, or long ago (an earlier copy of this event was here a moment ago).
 */
static __always_inline bool is_stale(const struct gw_bpf_slot *entry, u32 copy)
{
	if (entry->holder != 0)
		return false;
	return copy == 1 || (entry->flags & GW_SLOT_SEEN(copy)) != 0 ||
	       bpf_ktime_get_ns() - entry->done_ns > 1000000000ull;
}

static __always_inline void complete_unseen_bio(struct bio *bio, u32 op, enum kind kind, u32 copy)
{
	const u32 bytes = bio->bi_iter.bi_size;
	struct extent extent;

	/* The front piece of a split bio: the rest completes after it, with the full range. */
	if (gw_chain_endio != 0 && (u64)bio->bi_end_io == gw_chain_endio)
		return;
	if (gw_op_is(op, REQ_OP_WRITE) && bytes == 0 && bio->bi_io_vec == NULL)
		return;		/* an empty flush */
	if (copy == 1)
		count_rare(unseen_submissions);
	/* Nothing went through this iterator, as far as one with data pages can tell. */
	if (bytes != 0 && gw_iter_is_at_start(&bio->bi_iter) && gw_op_is(op, REQ_OP_WRITE)) {
		extent = extent_of(kind, bio->bi_iter.bi_sector, bytes);
		mark(&extent);
	} else {
		raise(GW_STATE_UNSEEN_BIO);
	}
}

static __always_inline int complete_bio(struct bio *bio, u32 copy)
{
	const u32 op = bio->bi_opf & GW_REQ_OP_MASK;
	const u64 holder = (u64)bio;
	struct gw_bpf_slot *entry;
	enum kind kind;

	if (!is_tracked_disk(bio->bi_bdev->bd_disk))
		return 0;
	kind = kind_of(op, bio->bi_iter.bi_size);
	if (kind == HARMLESS)
		return 0;
	entry = bpf_map_lookup_elem(&gw_strays, &holder);
	if (entry == NULL || is_stale(entry, copy)) {
		complete_unseen_bio(bio, op, kind, copy);
		return 0;
	}
	/* Operations without a range have raised their flag again in kind_of(). */
	if (kind != WHOLE)
		mark_slot(entry);
	entry->flags |= GW_SLOT_SEEN(copy);
	if (entry->holder != 0 && __sync_lock_test_and_set(&entry->holder, 0) != 0) {
		entry->done_ns = bpf_ktime_get_ns();
		if (entry->first_sector < entry->end_sector)
			count_completion(copy);
	}
	if (copy == GW_COMPLETE_COPIES)
		bpf_map_delete_elem(&gw_strays, &holder);
	return 0;
}

SEC("tp_btf/block_bio_complete")
int BPF_PROG(gw_bio_complete1, struct request_queue *queue, struct bio *bio)
{
	return complete_bio(bio, 1);
}

SEC("tp_btf/block_bio_complete")
int BPF_PROG(gw_bio_complete2, struct request_queue *queue, struct bio *bio)
{
	return complete_bio(bio, 2);
}

SEC("tp_btf/block_bio_complete")
int BPF_PROG(gw_bio_complete3, struct request_queue *queue, struct bio *bio)
{
	return complete_bio(bio, 3);
}

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
#include "gw_compat.bpf.h"

#include <bpf/bpf_tracing.h>

#include <godwit/bpf_abi.h>

char LICENSE[] SEC("license") = "GPL";

/* Set between open and load: the verifier drops what is not needed. */
const volatile int gw_disk_major = 0;
const volatile int gw_disk_first_minor = 0;
const volatile __u64 gw_expected_diskseq = 0;	/* 0: not known */
const volatile __u64 gw_tracked_first = 0;	/* sectors on the disk */
const volatile __u64 gw_tracked_end = 0;
const volatile __u32 gw_grain_shift = 12;		/* from bytes */
const volatile __u32 gw_coarse_shift = GW_COARSE_SHIFT_MIN;	/* from grains */
const volatile __u64 gw_size_grains = 0;
const volatile __u32 gw_hw_queues = 0;
const volatile __u32 gw_tags_per_queue = 0;
const volatile __u64 gw_zone_sectors = 0;		/* 0: not zoned */
const volatile __u64 gw_chain_endio = 0;		/* the kernel's bio_chain_endio() */
const volatile bool gw_empty_passthrough_writes = false;

/* Sizes are user space's; a bit of live is a grain, of coarse 2^gw_coarse_shift grains. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__type(key, u32);
	__type(value, u64);
} gw_live SEC(".maps"), gw_coarse SEC(".maps");

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

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__type(key, u32);
	__type(value, struct gw_bpf_state);
} gw_state SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, u32);
	__type(value, struct gw_bpf_stats);
} gw_stats SEC(".maps");

/* Sectors of the disk, half-open; empty if first >= end. */
struct extent {
	u64 first, end;
};

enum kind {
	HARMLESS,
	RANGE,
	RANGES,		/* discard: a range per bio */
	ZONE,		/* the whole zone, or zones, that it starts in */
	WHOLE,
};

/* Rare events */

static __always_inline struct gw_bpf_state *state_of(void)
{
	const u32 zero = 0;

	return bpf_map_lookup_elem(&gw_state, &zero);
}

/*
 * The fetching form of the OR is fully ordered on every architecture, the other
 * one is not; clang takes it where the result is used.
 */
static __always_inline void or_word(u64 *word, u64 bits)
{
	const u64 before = __sync_fetch_and_or(word, bits);

	asm volatile("" : : "r"(before));
}

static __always_inline void raise(u64 flag)
{
	struct gw_bpf_state *const state = state_of();

	if (state != NULL && (*(volatile u64 *)&state->flags & flag) == 0)
		or_word(&state->flags, flag);
}

#define count_rare(field)						\
	do {								\
		struct gw_bpf_state *const state_ = state_of();		\
									\
		if (state_ != NULL)					\
			__sync_fetch_and_add(&state_->field, 1);	\
	} while (0)

/* Marks */

/* Bits that stand are left alone: their taker is still to come, and reads after that. */
static __always_inline void mark_word(u64 *word, u64 mask)
{
	if ((*(volatile u64 *)word & mask) != mask)
		or_word(word, mask);
}

static __always_inline u64 mask_from(u64 bit)
{
	return ~0ull << (bit & 63);
}

static __always_inline u64 mask_to(u64 bit)
{
	return ~0ull >> (63 - (bit & 63));
}

static __always_inline void mark_at(void *map, u64 at, u64 mask)
{
	const u32 key = (u32)at;
	u64 *const word = bpf_map_lookup_elem(map, &key);

	if (word != NULL)
		mark_word(word, mask);
}

/* Bits first to last of a bitmap, in at most GW_MARK_WORDS_MAX words of it. */
static __always_inline int mark_words(void *map, u64 first, u64 last)
{
	const u64 first_word = first >> 6, last_word = last >> 6;

	if (first_word == last_word) {
		mark_at(map, first_word, mask_from(first) & mask_to(last));
		return 0;
	}
	mark_at(map, first_word, mask_from(first));
	mark_at(map, last_word, mask_to(last));
	for (u32 i = 1; i < GW_MARK_WORDS_MAX - 1; i++) {
		if (first_word + i >= last_word)
			return 0;
		mark_at(map, first_word + i, ~0ull);
	}
	if (last_word - first_word >= GW_MARK_WORDS_MAX)
		raise(GW_STATE_TOO_LONG);
	return 0;
}

/*
 * Global functions: the verifier looks at each once, not at every place of call, so that no
 * loop is multiplied by the paths that lead to it.
 */
__noinline int gw_mark_fine(u64 first, u64 last)
{
	return mark_words(&gw_live, first, last);
}

__noinline int gw_mark_coarse(u64 first, u64 last)
{
	count_rare(coarse_marks);
	return mark_words(&gw_coarse, first, last);
}

/* More words than one loop may have: whole units go to the coarse bitmap. */
__noinline int gw_mark_long(u64 first, u64 last)
{
	const u32 shift = gw_coarse_shift & 63;
	u64 unit = first >> shift, unit_end = (last + 1) >> shift;

	if (shift > 6 && 1ull << (shift - 6) > GW_COARSE_UNIT_WORDS_EXACT)
		return gw_mark_coarse(unit, last >> shift);
	if (unit << shift != first) {
		unit++;
		gw_mark_fine(first, (unit << shift) - 1);
	}
	/* The last unit of the device may be a partial one, yet is marked to its end. */
	if (last + 1 == gw_size_grains)
		unit_end = (last >> shift) + 1;
	else if (unit_end << shift != last + 1)
		gw_mark_fine(unit_end << shift, last);
	if (unit < unit_end)
		gw_mark_coarse(unit, unit_end - 1);
	return 0;
}

static __always_inline void clip(struct extent *extent)
{
	if (extent->first < gw_tracked_first)
		extent->first = gw_tracked_first;
	if (extent->end > gw_tracked_end)
		extent->end = gw_tracked_end;
}

static __always_inline bool is_empty(const struct extent *extent)
{
	return extent->first >= extent->end;
}

/* What of these sectors of the disk is tracked. */
__noinline int gw_mark(u64 first_sector, u64 end_sector)
{
	struct extent extent = { first_sector, end_sector };
	const u32 shift = (gw_grain_shift - 9) & 63;
	u64 first, last;

	clip(&extent);
	if (is_empty(&extent))
		return 0;
	first = (extent.first - gw_tracked_first) >> shift;
	last = (extent.end - 1 - gw_tracked_first) >> shift;
	if (first >> 6 == last >> 6)
		mark_at(&gw_live, first >> 6, mask_from(first) & mask_to(last));
	else if ((last >> 6) - (first >> 6) < GW_MARK_WORDS_MAX)
		gw_mark_fine(first, last);
	else
		gw_mark_long(first, last);
	return 0;
}

static __always_inline void mark(const struct extent *extent)
{
	gw_mark(extent->first, extent->end);
}

__noinline u64 gw_min(u64 a, u64 b)
{
	return a < b ? a : b;
}

__noinline u64 gw_max(u64 a, u64 b)
{
	return a > b ? a : b;
}

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

static __always_inline enum kind kind_of(u32 op, u32 bytes)
{
	if (gw_op_is(op, REQ_OP_WRITE))
		return RANGE;
	if (gw_op_is(op, REQ_OP_READ))
		return HARMLESS;
	if (gw_op_is(op, REQ_OP_FLUSH))
		return HARMLESS;
	if (gw_op_is(op, REQ_OP_WRITE_ZEROES))
		return RANGE;
	if (gw_op_is(op, REQ_OP_DISCARD) || gw_op_is(op, REQ_OP_SECURE_ERASE))
		return RANGES;
	if (gw_op_is(op, REQ_OP_ZONE_APPEND) || gw_op_is(op, REQ_OP_ZONE_RESET) ||
	    gw_op_is(op, REQ_OP_ZONE_FINISH))
		return ZONE;
	if (gw_op_is(op, REQ_OP_ZONE_OPEN) || gw_op_is(op, REQ_OP_ZONE_CLOSE))
		return HARMLESS;
	if (gw_op_is(op, REQ_OP_ZONE_RESET_ALL)) {
		raise(GW_STATE_RESET_ALL);
		return WHOLE;
	}
	/* A command without data has the direction "in": an NVMe write-zeroes, say. */
	if (gw_op_is(op, REQ_OP_DRV_IN) && !(bytes == 0 && gw_empty_passthrough_writes))
		return HARMLESS;
	if (gw_op_is(op, REQ_OP_DRV_OUT) || gw_op_is(op, REQ_OP_DRV_IN))
		raise(GW_STATE_PASSTHROUGH);
	else
		raise(GW_STATE_UNKNOWN_OP);
	return WHOLE;
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

/*
 * The ranges of a discard: a bio each, merged or not (NVMe, virtio); the request's
 * own sector and length are those of a contiguous one. Return: their hull.
 */
static __always_inline struct extent mark_ranges(struct bio *bio)
{
	struct extent hull = { ~0ull, 0 };

	/* No branch in here: the verifier would follow each through all ranges. */
	for (u32 i = 0; i < GW_DISCARD_RANGES_MAX && bio != NULL; i++) {
		const u64 first = bio->bi_iter.bi_sector;
		const u64 end = first + (bio->bi_iter.bi_size >> 9);

		gw_mark(first, end);
		hull.first = gw_min(hull.first, first);
		hull.end = gw_max(hull.end, end);
		bio = bio->bi_next;
	}
	if (bio != NULL)
		raise(GW_STATE_MANY_RANGES);
	clip(&hull);
	return hull;
}

/* Return: what was marked, or its hull; empty if the request does not say or it is not tracked. */
static __always_inline struct extent mark_request(struct request *rq, enum kind kind)
{
	struct extent extent;

	if (kind == RANGES && rq->bio != NULL && rq->bio->bi_next != NULL)
		return mark_ranges(rq->bio);
	extent = extent_of(kind, rq->__sector, rq->__data_len);
	/* WHOLE has raised its flag; marking all of it is for lost completions. */
	if (kind != WHOLE)
		mark(&extent);
	return extent;
}

static __always_inline void mark_slot(const struct gw_bpf_slot *slot)
{
	gw_mark(slot->first_sector, slot->end_sector);
}

static __always_inline void count_submission(u32 op, u64 bytes)
{
	const u32 zero = 0;
	struct gw_bpf_stats *const stats = bpf_map_lookup_elem(&gw_stats, &zero);

	if (stats == NULL)
		return;
	stats->writes++;
	stats->write_bytes += bytes;
	if (is_discard(op))
		stats->discards++;
}

static __always_inline void count_completion(u32 copy)
{
	const u32 zero = 0;
	struct gw_bpf_stats *const stats = bpf_map_lookup_elem(&gw_stats, &zero);

	if (stats != NULL)
		stats->completions[copy - 1]++;
}

/* Request-based disks */

/*
 * The slot is the request's own from submission to completion, over a requeue
 * too: with an I/O scheduler the driver's tag is given back then, the scheduler's
 * is not. A tag past the table (queues added later) goes to the hash.
 */
static __always_inline bool find_index(struct request *rq, u32 *index)
{
	const u32 queue = rq->mq_hctx->queue_num;
	const int internal_tag = rq->internal_tag;
	const int tag = internal_tag >= 0 ? internal_tag : rq->tag;

	*index = queue * gw_tags_per_queue + (u32)tag;
	return queue < gw_hw_queues && tag >= 0 && (u32)tag < gw_tags_per_queue;
}

/* NULL: the hash has no entry for the request. */
static __always_inline struct gw_bpf_slot *slot_of(struct request *rq)
{
	const u64 stray = (u64)rq;
	u32 index;

	if (find_index(rq, &index))
		return bpf_map_lookup_elem(&gw_slots, &index);
	return bpf_map_lookup_elem(&gw_strays, &stray);
}

static __always_inline void add_stray(u64 holder, const struct extent *extent, u32 op,
				      u64 submitted_ns)
{
	struct gw_bpf_slot slot = {
		.holder = holder,
		.first_sector = extent->first,
		.end_sector = extent->end,
		.submitted_ns = submitted_ns,
		.op = op,
	};

	if (bpf_map_update_elem(&gw_strays, &holder, &slot, BPF_ANY) != 0)
		count_rare(strays_full);
}

static __always_inline void fill_slot(struct gw_bpf_slot *slot, u64 holder,
				      const struct extent *extent, u32 op, u64 submitted_ns)
{
	slot->first_sector = extent->first;
	slot->end_sector = extent->end;
	slot->submitted_ns = submitted_ns;
	slot->op = op;
	slot->flags = 0;
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

SEC("tp_btf/block_rq_issue")
int BPF_PROG(gw_rq_issue, struct request *rq)
{
	const u32 op = rq->cmd_flags & GW_REQ_OP_MASK;
	struct gw_bpf_slot *slot;
	struct extent extent;
	bool again = false;
	enum kind kind;

	if (!is_tracked_disk(rq->q->disk))
		return 0;
	kind = kind_of(op, rq->__data_len);
	if (kind == HARMLESS)
		return 0;
	check_diskseq(rq->q->disk);
	extent = mark_request(rq, kind);
	if (is_empty(&extent))
		return 0;
	slot = slot_of(rq);
	if (slot != NULL && slot->holder != 0) {
		again = slot->holder == (u64)rq && (slot->flags & GW_SLOT_REQUEUED) != 0;
		if (!again) {
			mark_slot(slot);
			count_rare(lost_found);
		}
	}
	if (slot != NULL)
		fill_slot(slot, (u64)rq, &extent, op, submitted_ns(rq));
	else
		add_stray((u64)rq, &extent, op, submitted_ns(rq));
	if (!again)
		count_submission(op, rq->__data_len);
	return 0;
}

/*
 * Given back by the driver, to be submitted again; what the attempt did is marked, and the
 * slot kept, so that the next submission is not taken for the trace of a lost completion.
 */
SEC("tp_btf/block_rq_requeue")
int BPF_PROG(gw_rq_requeue, struct request *rq)
{
	struct gw_bpf_slot *slot;
	enum kind kind;

	if (!is_tracked_disk(rq->q->disk))
		return 0;
	kind = kind_of(rq->cmd_flags & GW_REQ_OP_MASK, rq->__data_len);
	if (kind == HARMLESS)
		return 0;
	mark_request(rq, kind);
	slot = slot_of(rq);
	if (slot != NULL && slot->holder == (u64)rq)
		slot->flags |= GW_SLOT_REQUEUED;
	return 0;
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

static __always_inline int complete_request(struct request *rq, u32 done_bytes, u32 copy)
{
	const u32 op = rq->cmd_flags & GW_REQ_OP_MASK, bytes = rq->__data_len;
	const u64 stray = (u64)rq;
	struct extent own = { 0, 0 };
	struct gw_bpf_slot *slot;
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
	slot = slot_of(rq);
	if (slot == NULL) {
		if (copy == 1 && !is_empty(&own))
			count_rare(unseen_submissions);
		return 0;
	}
	/* Another range than the request's own: what was left by one whose completion was lost. */
	if (slot->holder == (u64)rq &&
	    (slot->first_sector != own.first || slot->end_sector != own.end) && kind != WHOLE)
		mark_slot(slot);
	/* A partial completion: the request goes on with the rest. */
	if (done_bytes < bytes)
		return 0;
	settle_slot(slot, rq, &own, copy);
	if (copy != GW_COMPLETE_COPIES)
		return 0;
	slot->done = 0;
	if (slot->holder == 0 && !find_index(rq, &index))
		bpf_map_delete_elem(&gw_strays, &stray);
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
	add_stray(holder, &extent, op, bpf_ktime_get_ns());
	if (!is_empty(&extent))
		count_submission(op, bytes);
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

// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The dirty source `nvme`: marks what commands change in one namespace, or in a range of its
 * blocks, from the NVMe driver's tracepoints. Whoever sent them: these two see each attempt of
 * each command, with the 64 bytes that the drive gets.
 *
 * Rule 1: mark at completion (nvme_complete_rq), whatever the status, and at submission
 * (nvme_setup_cmd) too. Rule 2: three copies of the completion program, and a slot for what is
 * in flight. Both are explained in gw_block.bpf.c and gw_slots.bpf.h; a requeue needs no hook here, since
 * each attempt completes.
 *
 * The namespace is the one behind the head, whichever path a command takes.
 */
#include "gw_slots.bpf.h"
#include "gw_survey.bpf.h"

#include <bpf/bpf_tracing.h>

#include <godwit/nvme_effects.h>

#include "gw_nvme_types.h"

char LICENSE[] SEC("license") = "GPL";

#define CONTROLLERS_MAX 8
#define PATHS_MAX 64
#define COMMAND_SURVEYED 0x1000u	/* beside GW_COMMAND_ADMIN */
/* Where a list of ranges may be spread: pages of a user's buffer. */
#define SEGMENTS_MAX 4

/* Set between open and load. */
const volatile int gw_subsystem = 0;
const volatile int gw_head = 0;
const volatile __u32 gw_nsid = 0;
const volatile int gw_disk_major = 0;
const volatile int gw_disk_first_minor = 0;
const volatile __u64 gw_expected_diskseq = 0;	/* 0: not known */
const volatile __u32 gw_controller_count = 0;		/* that have slots */
const volatile int gw_controllers[CONTROLLERS_MAX] = { 0 };
const volatile __u32 gw_block_sector_shift = 0;	/* from blocks of the namespace to sectors */
const volatile __u64 gw_zone_sectors = 0;		/* 0: not zoned */
const volatile bool gw_is_format_wide = true;
const volatile bool gw_reads_mark = false;		/* in the self-test: a read counts as a write */
/* Where the kernel keeps these two addresses; 0: pages cannot be found. */
const volatile __u64 gw_vmemmap_base_at = 0;
const volatile __u64 gw_page_offset_base_at = 0;

/* One attempt of a command. */
struct attempt {
	struct gw_nvme_sqe sqe;
	enum gw_nvme_effect effect;
	bool is_admin;
	bool is_completed;
	u64 result;			/* when completed */
	u32 status;
};

/* Whose it is */

static __always_inline struct nvme_request *driver_data(struct request *rq)
{
	return (void *)rq + bpf_core_type_size(struct request);
}

/* Every other one has the namespace behind its queue. */
static __always_inline bool is_admin_queue(struct request *rq)
{
	return rq->q->queuedata == NULL;
}

static __always_inline bool is_ours(struct request *rq)
{
	struct nvme_ns *const ns = rq->q->queuedata;
	struct nvme_ns_head *head;

	if (ns == NULL)
		return BPF_CORE_READ(driver_data(rq), ctrl, subsys, instance) == gw_subsystem;
	head = BPF_CORE_READ(ns, head);
	return BPF_CORE_READ(head, instance) == gw_head &&
	       BPF_CORE_READ(head, subsys, instance) == gw_subsystem;
}

/* At submissions only: what is in flight when the namespace is exchanged ends with an error. */
static __always_inline void check_namespace(struct request *rq)
{
	struct nvme_ns *const ns = rq->q->queuedata;
	struct nvme_ns_head *const head = BPF_CORE_READ(ns, head);
	struct gendisk *disk = NULL;

	if (BPF_CORE_READ(head, ns_id) != gw_nsid)
		raise(GW_STATE_OTHER_DISK);
	if (bpf_core_field_exists(head->disk))
		disk = BPF_CORE_READ(head, disk);
	if (disk == NULL)
		disk = BPF_CORE_READ(ns, disk);
	/* Without multipath one head may have several disks, each with its own number. */
	if (gw_expected_diskseq == 0 || !bpf_core_field_exists(disk->diskseq) ||
	    BPF_CORE_READ(disk, first_minor) != gw_disk_first_minor ||
	    BPF_CORE_READ(disk, major) != gw_disk_major)
		return;
	if (BPF_CORE_READ(disk, diskseq) != gw_expected_diskseq)
		raise(GW_STATE_OTHER_DISK);
}

/* What it changes */

static __always_inline void note_unknown(u64 command)
{
	struct gw_bpf_state *const state = state_of();

	if (state != NULL)
		*(volatile u64 *)&state->unknown_command = command | GW_COMMAND_SEEN;
}

/*
 * command: the opcode, GW_COMMAND_ADMIN, COMMAND_SURVEYED, and dword 12 in the upper half: there are
 * no more arguments. Return: enum gw_nvme_effect; a flag is raised if that is everything, but not in
 * a survey. A global function, so that its many ways do not multiply with the caller's.
 */
__noinline int gw_judge(u64 command, u32 nsid, u32 cdw10, u32 cdw11, u32 cdw13)
{
	const struct gw_nvme_sqe sqe = {
		.opcode = (unsigned char)command,
		.nsid = nsid,
		.cdw10 = cdw10,
		.cdw11 = cdw11,
		.cdw12 = (u32)(command >> 32),
		.cdw13 = cdw13,
	};
	enum gw_nvme_effect effect;
	u64 why = 0;

	if ((command & GW_COMMAND_ADMIN) != 0)
		effect = gw_nvme_admin_effect(&sqe, gw_nsid, gw_is_format_wide, &why);
	else if (gw_reads_mark && sqe.opcode == GW_NVME_READ)
		effect = GW_NVME_CHANGES_RANGE;
	else
		effect = gw_nvme_io_effect(&sqe, &why);
	/* What a survey finds is no event. */
	if ((command & COMMAND_SURVEYED) != 0)
		return effect;
	if (why == GW_STATE_UNKNOWN_COMMAND)
		note_unknown((u32)command);
	if (why != 0)
		raise(why);
	return effect;
}

static __always_inline void judge(struct attempt *attempt)
{
	const struct gw_nvme_sqe *const sqe = &attempt->sqe;

	attempt->effect = gw_judge(sqe->opcode | (attempt->is_admin ? GW_COMMAND_ADMIN : 0) |
				   (u64)sqe->cdw12 << 32, sqe->nsid, sqe->cdw10, sqe->cdw11, sqe->cdw13);
}

static __always_inline u64 sector_of(u64 block)
{
	return block >= 1ull << 48 ? ~0ull : block << (gw_block_sector_shift & 15);
}

static __always_inline struct extent extent_of_blocks(u64 first, u64 count)
{
	struct extent extent = { sector_of(first), sector_of(first + count) };

	if (first + count < first)
		extent.end = ~0ull;
	clip(&extent);
	return extent;
}

static __always_inline struct extent extent_of_all(void)
{
	struct extent extent = { gw_tracked_first, gw_tracked_end };

	return extent;
}

static __always_inline struct extent extent_of_zone(const struct gw_nvme_sqe *sqe)
{
	const u64 sector = sector_of(gw_nvme_first(sqe));
	struct extent extent;

	/* The drive refuses it; should it not, nobody knows how much that was. */
	if (gw_zone_sectors == 0) {
		raise(GW_STATE_UNKNOWN_OP);
		return extent_of_all();
	}
	extent.first = sector - sector % gw_zone_sectors;
	extent.end = extent.first + gw_zone_sectors;
	clip(&extent);
	return extent;
}

/* A list of ranges in a command's data, where a user or a module made it */

struct list {
	u64 address[SEGMENTS_MAX];
	u32 bytes[SEGMENTS_MAX];
	u32 entry_bytes;
	bool is_copy;
	bool is_lost;			/* an entry could not be read */
	u64 first, end;			/* hull of the ranges, in sectors */
	u64 count;			/* blocks, of a copy */
};

/*
 * Where the dword at that place in the list is; 0: nowhere. A user's list may lie across two pages
 * anywhere, but no dword does: data that is not aligned to one goes through a copy of the kernel's
 * own. A global function, so that the verifier does not follow each segment through all that comes after.
 */
__noinline u64 gw_address_in(const struct list *list, u64 at)
{
	if (list == NULL)
		return 0;
#pragma unroll
	for (u32 i = 0; i < SEGMENTS_MAX; i++) {
		if (at < list->bytes[i])
			return at + sizeof(u32) <= list->bytes[i] ? list->address[i] + at : 0;
		at -= list->bytes[i];
	}
	return 0;
}

static __always_inline u32 read_dword(struct list *list, u64 at)
{
	const u64 address = gw_address_in(list, at);
	u32 value = 0;

	if (address == 0 || bpf_probe_read_kernel(&value, sizeof(value), (void *)address) != 0)
		list->is_lost = true;
	return value;
}

/* Of a sum that it sees, the verifier would follow each value that it can have. */
__noinline u64 gw_add(u64 a, u64 b)
{
	return a + b;
}

static long read_entry(u32 number, void *context)
{
	struct list *const list = context;
	const u64 at = (u64)number * list->entry_bytes;
	struct extent extent;
	u32 count, low = 0, high = 0;

	if (list->is_copy) {
		count = read_dword(list, at + offsetof(struct gw_nvme_copy_range, count_minus1));
	} else {
		count = read_dword(list, at + offsetof(struct gw_nvme_dsm_range, count));
		low = read_dword(list, at + offsetof(struct gw_nvme_dsm_range, first));
		high = read_dword(list, at + offsetof(struct gw_nvme_dsm_range, first) + sizeof(low));
	}
	if (list->is_lost)
		return 1;
	if (list->is_copy) {
		list->count = gw_add(list->count, (count & 0xffff) + 1ull);
		return 0;
	}
	extent = extent_of_blocks(low | (u64)high << 32, count);
	mark(&extent);
	if (!is_empty(&extent)) {
		list->first = gw_min(list->first, extent.first);
		list->end = gw_max(list->end, extent.end);
	}
	return 0;
}

/* In the direct map of all memory, which x86-64 has. */
static __always_inline u64 address_of_page(u64 page)
{
	u64 vmemmap = 0, page_offset = 0;

	if (bpf_probe_read_kernel(&vmemmap, sizeof(vmemmap), (void *)gw_vmemmap_base_at) != 0 ||
	    bpf_probe_read_kernel(&page_offset, sizeof(page_offset),
				  (void *)gw_page_offset_base_at) != 0)
		return 0;
	return page_offset + (page - vmemmap) / bpf_core_type_size(struct page) * 4096;
}

/* Return: false if the data cannot be found. */
static __always_inline bool find_list(struct request *rq, struct list *list)
{
	struct bio *const bio = rq->bio;
	const u32 stride = bpf_core_type_size(struct bio_vec);
	u64 left, at;

	if (bio == NULL || gw_vmemmap_base_at == 0 || gw_page_offset_base_at == 0 ||
	    !gw_iter_is_at_start(&bio->bi_iter))
		return false;
	at = (u64)bio->bi_io_vec;
	left = bio->bi_iter.bi_size;
	if (at == 0)
		return false;
#pragma unroll
	for (u32 i = 0; i < SEGMENTS_MAX; i++) {
		struct bio_vec *const segment = (void *)(at + (u64)i * stride);
		u32 bytes;

		if (left == 0)
			break;
		bytes = BPF_CORE_READ(segment, bv_len);
		if (bytes > left)
			bytes = left;
		list->address[i] = address_of_page((u64)BPF_CORE_READ(segment, bv_page)) +
				   BPF_CORE_READ(segment, bv_offset);
		list->bytes[i] = bytes;
		left -= bytes;
	}
	return true;
}

static __always_inline struct extent mark_list(struct request *rq, const struct gw_nvme_sqe *sqe)
{
	struct list list = { .is_copy = sqe->opcode == GW_NVME_COPY, .first = ~0ull };
	struct extent extent;

	list.entry_bytes = list.is_copy ? gw_nvme_copy_entry_bytes(sqe) :
			   sizeof(struct gw_nvme_dsm_range);
	if (list.entry_bytes == 0 || !find_list(rq, &list) ||
	    bpf_loop(gw_nvme_entries(sqe), read_entry, &list, 0) < 0 || list.is_lost) {
		raise(GW_STATE_PAYLOAD);
		return extent_of_all();
	}
	if (list.is_copy) {
		extent = extent_of_blocks(gw_nvme_first(sqe), list.count);
		mark(&extent);
	} else {
		extent.first = list.first;
		extent.end = list.end;
	}
	return extent;
}

static __always_inline bool is_passthrough(struct request *rq)
{
	const u32 op = rq->cmd_flags & GW_REQ_OP_MASK;

	return gw_op_is(op, REQ_OP_DRV_IN) || gw_op_is(op, REQ_OP_DRV_OUT);
}

/*
 * Zone Append tells only in the end where it has written; until then it may be anywhere in
 * the zone. That is not marked at submission, it is in the slot.
 */
static __always_inline struct extent mark_appended(const struct attempt *attempt)
{
	struct extent extent;

	if (!attempt->is_completed)
		return extent_of_zone(&attempt->sqe);
	if (attempt->status == 0)
		extent = extent_of_blocks(attempt->result, gw_nvme_count(&attempt->sqe));
	else
		extent = extent_of_zone(&attempt->sqe);
	mark(&extent);
	return extent;
}

/* Return: what was marked, or its hull; empty if nothing that is tracked. */
static __always_inline struct extent mark_attempt(struct request *rq, const struct attempt *attempt)
{
	const struct gw_nvme_sqe *const sqe = &attempt->sqe;
	struct extent extent;

	switch (attempt->effect) {
	case GW_NVME_CHANGES_LISTED:
		/* The block layer's own: a bio is a range. */
		if (!is_passthrough(rq))
			return mark_ranges(rq->bio);
		/* fall through */
	case GW_NVME_CHANGES_COPIED:
		return mark_list(rq, sqe);
	case GW_NVME_CHANGES_APPENDED:
		return mark_appended(attempt);
	case GW_NVME_CHANGES_RANGE:
		extent = extent_of_blocks(gw_nvme_first(sqe), gw_nvme_count(sqe));
		break;
	case GW_NVME_CHANGES_ZONE:
		extent = extent_of_zone(sqe);
		break;
	default:
		/* The flag was raised; marking all of it is for lost completions. */
		return extent_of_all();
	}
	mark(&extent);
	return extent;
}

/* In flight */

/* Return: which of the controllers that have slots; CONTROLLERS_MAX if none. */
static __always_inline u32 row_of(struct request *rq)
{
	const int instance = BPF_CORE_READ(driver_data(rq), ctrl, instance);

#pragma unroll
	for (u32 i = 0; i < CONTROLLERS_MAX; i++)
		if (i < gw_controller_count && gw_controllers[i] == instance)
			return i;
	return CONTROLLERS_MAX;
}

static __always_inline bool find_row(struct request *rq, bool is_admin, u32 *index)
{
	const u32 row = is_admin ? CONTROLLERS_MAX : row_of(rq);

	return row < CONTROLLERS_MAX && find_index(rq, row, index);
}

static __always_inline struct gw_bpf_slot *find_slot(struct request *rq, bool is_admin,
						     bool *is_stray)
{
	const u64 stray = (u64)rq;
	u32 index = 0;

	*is_stray = !find_row(rq, is_admin, &index);
	if (!*is_stray)
		return bpf_map_lookup_elem(&gw_slots, &index);
	return bpf_map_lookup_elem(&gw_strays, &stray);
}

static __always_inline u64 bytes_of(struct request *rq, const struct attempt *attempt,
				    const struct extent *extent)
{
	if (attempt->effect == GW_NVME_CHANGES_ALL)
		return 0;
	if (attempt->effect == GW_NVME_CHANGES_APPENDED)
		return sector_of(gw_nvme_count(&attempt->sqe)) << 9;
	if (attempt->effect == GW_NVME_CHANGES_LISTED && !is_passthrough(rq))
		return rq->__data_len;
	return (extent->end - extent->first) << 9;
}

SEC("tp_btf/nvme_setup_cmd")
int BPF_PROG(gw_nvme_setup, struct request *rq, struct nvme_command *cmd)
{
	struct attempt attempt = { 0 };
	struct gw_bpf_slot *slot;
	struct extent extent;
	bool is_stray;
	u32 flags = 0;

	/* What a module's tracepoint passes may be NULL in the eyes of newer verifiers. */
	if (rq == NULL || cmd == NULL)
		return 0;
	attempt.is_admin = is_admin_queue(rq);
	if (!is_ours(rq) ||
	    bpf_probe_read_kernel(&attempt.sqe, sizeof(attempt.sqe), cmd) != 0)
		return 0;
	judge(&attempt);
	if (attempt.effect == GW_NVME_CHANGES_NOTHING)
		return 0;
	if (!attempt.is_admin)
		check_namespace(rq);
	extent = mark_attempt(rq, &attempt);
	if (is_empty(&extent))
		return 0;
	if (attempt.is_admin || is_passthrough(rq))
		flags = GW_SLOT_UNCOUNTED;
	slot = find_slot(rq, attempt.is_admin, &is_stray);
	if (slot != NULL && slot->holder != 0) {
		mark_slot(slot);
		count_rare(lost_found);
	}
	if (slot != NULL)
		fill_slot(slot, (u64)rq, &extent, attempt.sqe.opcode, submitted_ns(rq), flags);
	else
		add_stray((u64)rq, &extent, attempt.sqe.opcode, submitted_ns(rq), flags);
	count_submission(bytes_of(rq, &attempt, &extent),
			 attempt.effect == GW_NVME_CHANGES_LISTED ||
			 (!attempt.is_admin && attempt.sqe.opcode == GW_NVME_WRITE_ZEROES));
	return 0;
}

/*
 * Does the slot hold another range than the attempt's own: what one left whose completion was
 * lost? A list may be another one now, by its owner's hand. An append is anywhere in its zone.
 */
static __always_inline bool holds_more(const struct gw_bpf_slot *slot,
				       const struct attempt *attempt, const struct extent *own)
{
	struct extent expected = *own;

	if (attempt->effect == GW_NVME_CHANGES_ALL)
		return false;
	if (attempt->effect == GW_NVME_CHANGES_APPENDED)
		expected = extent_of_zone(&attempt->sqe);
	return slot->first_sector != expected.first || slot->end_sector != expected.end;
}

static __always_inline int complete(struct request *rq, u32 copy)
{
	struct attempt attempt = { .is_completed = true };
	const u64 stray = (u64)rq;
	struct nvme_request *data;
	struct gw_bpf_slot *slot;
	struct extent own;
	bool is_stray;

	/* See gw_nvme_setup(). */
	if (rq == NULL)
		return 0;
	data = driver_data(rq);
	attempt.is_admin = is_admin_queue(rq);
	if (!is_ours(rq) || bpf_probe_read_kernel(&attempt.sqe, sizeof(attempt.sqe),
						  BPF_CORE_READ(data, cmd)) != 0)
		return 0;
	judge(&attempt);
	if (attempt.effect == GW_NVME_CHANGES_NOTHING)
		return 0;
	attempt.status = BPF_CORE_READ(data, status);
	attempt.result = BPF_CORE_READ(data, result.u64);
	own = mark_attempt(rq, &attempt);
	slot = find_slot(rq, attempt.is_admin, &is_stray);
	if (slot == NULL) {
		if (copy == 1 && !is_empty(&own))
			count_rare(unseen_submissions);
		return 0;
	}
	if (slot->holder == (u64)rq && holds_more(slot, &attempt, &own))
		mark_slot(slot);
	settle_slot(slot, rq, &own, copy);
	if (copy != GW_COMPLETE_COPIES)
		return 0;
	slot->done = 0;
	if (slot->holder == 0 && is_stray)
		bpf_map_delete_elem(&gw_strays, &stray);
	return 0;
}

SEC("tp_btf/nvme_complete_rq")
int BPF_PROG(gw_nvme_complete1, struct request *rq)
{
	return complete(rq, 1);
}

SEC("tp_btf/nvme_complete_rq")
int BPF_PROG(gw_nvme_complete2, struct request *rq)
{
	return complete(rq, 2);
}

SEC("tp_btf/nvme_complete_rq")
int BPF_PROG(gw_nvme_complete3, struct request *rq)
{
	return complete(rq, 3);
}

/* What is in flight, for user space */

/* Where lists and zones lie, nobody looks. */
__hidden bool gw_may_change(struct request *rq)
{
	const u64 queue = BPF_CORE_READ(rq, q, queuedata) != NULL ? 0 : GW_COMMAND_ADMIN;
	struct gw_nvme_sqe sqe;
	struct extent extent;
	enum gw_nvme_effect effect;

	if (bpf_probe_read_kernel(&sqe, sizeof(sqe), BPF_CORE_READ(driver_data(rq), cmd)) != 0)
		return true;
	effect = gw_judge(sqe.opcode | queue | COMMAND_SURVEYED | (u64)sqe.cdw12 << 32, sqe.nsid,
			  sqe.cdw10, sqe.cdw11, sqe.cdw13);
	if (effect != GW_NVME_CHANGES_RANGE)
		return effect != GW_NVME_CHANGES_NOTHING;
	extent = extent_of_blocks(gw_nvme_first(&sqe), gw_nvme_count(&sqe));
	return !is_empty(&extent);
}

__hidden struct gw_bpf_slot *gw_slot_of(struct request *rq)
{
	const u64 stray = (u64)rq;
	const u32 row = row_of(rq);
	u32 index;

	if (row < CONTROLLERS_MAX && BPF_CORE_READ(rq, q, queuedata) != NULL &&
	    index_of(BPF_CORE_READ(rq, mq_hctx, queue_num), BPF_CORE_READ(rq, internal_tag),
		     BPF_CORE_READ(rq, tag), row, &index))
		return bpf_map_lookup_elem(&gw_slots, &index);
	return bpf_map_lookup_elem(&gw_strays, &stray);
}

/* Attached only until it has come by once. */
SEC("tp_btf/nvme_setup_cmd")
int BPF_PROG(gw_find_queue, struct request *rq, struct nvme_command *cmd)
{
	if (rq != NULL && !is_admin_queue(rq) && is_ours(rq))
		note_queue(rq->q);
	return 0;
}

struct paths {
	struct survey survey;
	struct list_head *at, *end;
};

static long survey_path(u32 number, void *context)
{
	struct paths *const paths = context;
	struct list_head *at;
	struct nvme_ns *ns;

	if (paths->at == NULL || paths->at == paths->end)
		return 1;
	at = paths->at;
	ns = (void *)at - bpf_core_field_offset(struct nvme_ns, siblings);
	paths->at = BPF_CORE_READ(at, next);
	survey_queue(&paths->survey, BPF_CORE_READ(ns, queue));
	survey_queue(&paths->survey, BPF_CORE_READ(ns, ctrl, admin_q));
	return 0;
}

/* Of one path that was seen, all there are: each has a queue of its own, and a controller's. */
SEC("syscall")
int gw_survey(struct gw_bpf_survey *found)
{
	struct paths paths = { 0 };
	struct request_queue *const queue = noted_queue();
	struct nvme_ns *const ns = BPF_CORE_READ(queue, queuedata);
	struct nvme_ns_head *const head = BPF_CORE_READ(ns, head);

	if (head != NULL && gw_has_request_tables() &&
	    bpf_core_field_exists(head->list) && bpf_core_field_exists(ns->siblings) &&
	    bpf_core_field_exists(ns->queue) && bpf_core_field_exists(ns->ctrl->admin_q) &&
	    BPF_CORE_READ(head, instance) == gw_head &&
	    BPF_CORE_READ(head, subsys, instance) == gw_subsystem) {
		paths.at = BPF_CORE_READ(head, list.next);
		paths.end = (void *)head + bpf_core_field_offset(struct nvme_ns_head, list);
		bpf_loop(PATHS_MAX, survey_path, &paths, 0);
		/* More paths than that, or a list that changed under it. */
		if (paths.at != paths.end)
			paths.survey.is_lost = true;
	}
	tell(found, &paths.survey);
	return 0;
}

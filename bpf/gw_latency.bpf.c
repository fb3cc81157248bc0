// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * How long the foreground's reads and writes take on one disk, or on a range of its
 * sectors, into histograms; the copier's own I/O is told apart by its I/O priority and
 * only counted. Request-based disks: block_rq_complete, and block_rq_issue where the
 * kernel keeps no times. Bio-based ones: block_bio_queue, block_bio_complete. User space
 * loads what the disk needs, and does all arithmetic.
 *
 * A request's time begins where the block layer made it: queueing in the scheduler and in
 * the device, behind the copier too, is what the workload feels.
 */
#include "gw_compat.bpf.h"

#include <bpf/bpf_tracing.h>

#include <godwit/bpf_abi.h>

char LICENSE[] SEC("license") = "GPL";

/* Set between open and load. */
const volatile int gw_disk_major = 0;
const volatile int gw_disk_first_minor = 0;
const volatile __u64 gw_first_sector = 0;	/* on the disk */
const volatile __u64 gw_end_sector = 0;
const volatile __u32 gw_copier_ioprio = 0;
const volatile bool gw_has_stamps = false;	/* requests begin in gw_began, the kernel keeps no times */

/* An entry for each CPU, as plain memory. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__type(key, u32);
	__type(value, struct gw_bpf_latency);
} gw_latency SEC(".maps");

struct began {
	u64 ns;
	u64 bytes;
};

/* By the address of the bio or request. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, GW_STRAYS_BIOS);
	__type(key, u64);
	__type(value, struct began);
} gw_began SEC(".maps");

static __always_inline bool is_watched(struct gendisk *disk)
{
	return disk->first_minor == gw_disk_first_minor && disk->major == gw_disk_major;
}

static __always_inline bool is_in_range(u64 sector)
{
	return sector >= gw_first_sector && sector < gw_end_sector;
}

static __always_inline bool is_transfer(u32 op)
{
	return gw_op_is(op, REQ_OP_READ) || gw_op_is(op, REQ_OP_WRITE);
}

static __always_inline void note_beginning(u64 holder, u64 bytes)
{
	const struct began began = { bpf_ktime_get_ns(), bytes };

	bpf_map_update_elem(&gw_began, &holder, &began, BPF_ANY);
}

/* began_ns 0: not known. */
static __always_inline void record(u32 op, u32 ioprio, u64 bytes, u64 began_ns)
{
	const u32 cpu = bpf_get_smp_processor_id();
	struct gw_bpf_latency *const latency = bpf_map_lookup_elem(&gw_latency, &cpu);
	const bool is_write = gw_op_is(op, REQ_OP_WRITE);
	u64 now_ns;
	u32 bucket;

	if (latency == NULL)
		return;
	latency->events++;
	if (ioprio == gw_copier_ioprio) {
		latency->copier[is_write]++;
		if (!is_write)
			latency->copier_read_bytes += bytes;
		return;
	}
	if (began_ns == 0) {
		latency->not_timed++;
		return;
	}
	now_ns = bpf_ktime_get_ns();
	bucket = gw_latency_bucket(now_ns > began_ns ? now_ns - began_ns : 0);
	if (bucket < GW_LATENCY_BUCKETS)	/* for the verifier */
		latency->buckets[is_write][bucket]++;
}

/* Request-based disks */

SEC("tp_btf/block_rq_issue")
int BPF_PROG(gw_latency_issue, struct request *rq)
{
	if (is_watched(rq->q->disk) && is_transfer(rq->cmd_flags & GW_REQ_OP_MASK))
		note_beginning((u64)rq, rq->__data_len);
	return 0;
}

/* Without statistics the kernel may keep the times all the same, for a scheduler, say. */
static __always_inline u64 beginning_of(struct request *rq)
{
	const u64 holder = (u64)rq;
	struct began *began;
	u64 ns;

	if (!gw_has_stamps)
		return rq->start_time_ns;
	began = bpf_map_lookup_elem(&gw_began, &holder);
	if (began == NULL)
		return 0;
	ns = began->ns;
	bpf_map_delete_elem(&gw_began, &holder);
	return ns;
}

SEC("tp_btf/block_rq_complete")
int BPF_PROG(gw_latency_complete, struct request *rq, int error, unsigned int done_bytes)
{
	const u32 op = rq->cmd_flags & GW_REQ_OP_MASK, bytes = rq->__data_len;

	if (!is_watched(rq->q->disk) || !is_transfer(op))
		return 0;
	/*
	 * Without bytes it is a flush, or a write that the flush machinery completes for the
	 * second time. With fewer than it has, it goes on with the rest.
	 */
	if (bytes == 0 || done_bytes < bytes || !is_in_range(rq->__sector))
		return 0;
	record(op, gw_request_ioprio(rq), bytes, beginning_of(rq));
	return 0;
}

/* Bio-based disks */

/* Announced once, before anything splits it; what is not timed here is not ours, or not seen. */
SEC("tp_btf/block_bio_queue")
int BPF_PROG(gw_latency_queue, struct bio *bio)
{
	const u32 bytes = bio->bi_iter.bi_size;

	if (is_watched(bio->bi_bdev->bd_disk) && is_transfer(bio->bi_opf & GW_REQ_OP_MASK) &&
	    bytes != 0 && is_in_range(bio->bi_iter.bi_sector))
		note_beginning((u64)bio, bytes);
	return 0;
}

SEC("tp_btf/block_bio_complete")
int BPF_PROG(gw_latency_bio_complete, struct request_queue *queue, struct bio *bio)
{
	const u32 op = bio->bi_opf & GW_REQ_OP_MASK;
	const u64 holder = (u64)bio;
	struct began *began;

	if (!is_watched(bio->bi_bdev->bd_disk) || !is_transfer(op))
		return 0;
	began = bpf_map_lookup_elem(&gw_began, &holder);
	if (began == NULL)
		return 0;
	record(op, bio->bi_ioprio, began->bytes, began->ns);
	bpf_map_delete_elem(&gw_began, &holder);
	return 0;
}

/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the BPF programs and user space share: the values of the maps that are
 * pinned in bpffs. Fixed-width fields only, no padding. A change here that an
 * older godwit would misread needs a new GW_TRACK_VERSION.
 */
#ifndef GODWIT_BPF_ABI_H
#define GODWIT_BPF_ABI_H

#ifdef __bpf__
typedef unsigned int gw_u32;
typedef unsigned long long gw_u64;
#else
#include <stdint.h>
typedef uint32_t gw_u32;
typedef uint64_t gw_u64;
#endif

#define GW_COMPLETE_COPIES 3

/* No program marks more words than this in one go; what is longer goes to the coarse bitmap. */
#define GW_MARK_WORDS_MAX 512
/* So the coarse bitmap is never longer than one go. */
#define GW_COARSE_BITS_MAX (GW_MARK_WORDS_MAX * 64)
#define GW_COARSE_SHIFT_MIN 9
/* A unit of up to this many words is marked exactly at the two ends of a long range. */
#define GW_COARSE_UNIT_WORDS_EXACT 256
/* Ranges in one discard; the NVMe limit. */
#define GW_DISCARD_RANGES_MAX 256
/* Hash entries beside the slots: requests with a tag past the slots, or all bios. */
#define GW_STRAYS_REQUESTS 1024
#define GW_STRAYS_BIOS 16384

/* A write in flight. Indexed by hardware queue and tag, or in the hash `strays` by its address. */
struct gw_bpf_slot {
	gw_u64 holder;			/* address of the request or bio in flight; 0: none */
	gw_u64 first_sector;		/* on the disk, within what is tracked; the hull for discards */
	gw_u64 end_sector;
	gw_u64 submitted_ns;		/* CLOCK_MONOTONIC; of a request: when it was made */
	gw_u64 done;			/* requests: holder whose completion an earlier copy has counted */
	gw_u64 done_ns;			/* bios: when the first copy saw the completion */
	gw_u32 flags;			/* GW_SLOT_* */
	gw_u32 op;			/* the kernel's number, for people */
	gw_u64 reserved;
};

#define GW_SLOT_REQUEUED 0x100u	/* given back, to be submitted again: no completion was lost */
#define GW_SLOT_UNCOUNTED 0x200u	/* passthrough: not in the kernel's count of what is in flight */
#define GW_SLOT_SEEN(copy) (1u << (copy))	/* bios: this copy (1 to 3) saw the completion */

/* Rare events. Counters and flags change by atomic operations only. */
struct gw_bpf_state {
	gw_u64 flags;			/* GW_STATE_* */
	gw_u64 lost_found;
	gw_u64 unseen_submissions;
	gw_u64 coarse_marks;
	gw_u64 whole_device_marks;	/* user space counts them, when it takes the flags */
	gw_u64 strays_full;		/* writes that no slot and no entry of `strays` stands for */
	gw_u64 unknown_command;		/* the last of them: opcode, GW_COMMAND_ADMIN, GW_COMMAND_SEEN */
	gw_u64 flags_ever;		/* with a record: all flags that were raised since the start */
	gw_u64 record_coarsened;	/* ranges that the record had no room for; see gw_record_units */
	gw_u64 queue;			/* the disk's, or one path's, for gw_survey; 0: not looked for */
	gw_u64 reserved[6];
};

/* What gw_survey found in flight on the disk, on all paths of it. */
struct gw_bpf_survey {
	gw_u32 queues;			/* looked at; 0: the survey says nothing */
	gw_u32 in_flight;		/* requests that may change what is tracked */
	gw_u32 unseen;			/* of these: whose submission no program has seen */
	gw_u32 reserved;
};

#define GW_COMMAND_ADMIN 0x100u
#define GW_COMMAND_SEEN 0x200u

/* Why everything is to be copied. Several may stand. */
#define GW_STATE_PASSTHROUGH 0x1u	/* a command went past the block layer's operations */
#define GW_STATE_UNKNOWN_OP 0x2u	/* an operation that this version does not know */
#define GW_STATE_RESET_ALL 0x4u	/* all zones were reset */
#define GW_STATE_MANY_RANGES 0x8u	/* a discard with more than GW_DISCARD_RANGES_MAX ranges */
#define GW_STATE_UNSEEN_BIO 0x10u	/* a bio completed whose submission was not seen and whose range is gone */
#define GW_STATE_TOO_LONG 0x20u	/* a range that no loop covers (a bug if it is ever seen) */
#define GW_STATE_UNKNOWN_COMMAND 0x40u	/* an NVMe command that is not known to be harmless */
#define GW_STATE_PAYLOAD 0x80u	/* the list of an NVMe command's ranges could not be read */
#define GW_STATE_FORMAT 0x200u	/* Format NVM */
#define GW_STATE_SANITIZE 0x400u	/* goes on after the command; its log says when it ends */
#define GW_STATE_NAMESPACE 0x800u	/* namespace management or attachment */
#define GW_STATE_SECURITY 0x1000u	/* Security Send: may have changed the media's key */
#define GW_STATE_WHOLE 0x1effu
/* The disk of that number is another one than at the start. */
#define GW_STATE_OTHER_DISK 0x100u

/*
 * Per CPU, and each field has one program that changes it: the kernel never runs
 * one program twice on a CPU, so nothing here needs an atomic operation.
 */
struct gw_bpf_stats {
	gw_u64 writes;			/* these three: the submission program */
	gw_u64 write_bytes;
	gw_u64 discards;
	gw_u64 completions[GW_COMPLETE_COPIES];	/* counted by the copy that came first */
	gw_u64 reserved[2];
};

/*
 * The exact record: a hash of ranges as they were sent, each with the times when the first of its
 * commands was given to the driver and when the last one had ended. When it is full, ranges go to an
 * array of equal units of what is tracked.
 */
struct gw_bpf_record_range {
	gw_u64 first_sector;		/* on the disk, within what is tracked */
	gw_u64 end_sector;
};

struct gw_bpf_record_times {
	gw_u64 first_ns;		/* CLOCK_MONOTONIC; 0: never */
	gw_u64 last_ns;
};

/* What one range goes through at most, when the hash is full. */
#define GW_RECORD_UNITS_MAX 16384u
/* What the kernel takes for a range: its own part of an entry, key and value, and a bucket. */
#define GW_RECORD_RANGE_BYTES (48u + 16u + 16u + 16u)

/*
 * Latencies of completed I/O, in log-linear buckets: steps of 64 ns up to 4 us, from there on
 * 32 steps an octave, so that a bucket is never wider than a thirty-second of what is in it.
 */
#define GW_LATENCY_UNIT_SHIFT 6		/* from ns */
#define GW_LATENCY_STEP_SHIFT 5		/* 32 steps an octave */
#define GW_LATENCY_OCTAVES 24		/* up to 68 s; what is longer goes to the last bucket */
#define GW_LATENCY_BUCKETS ((GW_LATENCY_OCTAVES + 2) << GW_LATENCY_STEP_SHIFT)

/* The layout's meaning, which both sides have to agree on. */
static inline gw_u32 gw_latency_bucket(gw_u64 ns)
{
	const gw_u64 all_units = ns >> GW_LATENCY_UNIT_SHIFT;
	gw_u32 units = (gw_u32)all_units, octave = 0;

	if (all_units >> (GW_LATENCY_OCTAVES + 1 + GW_LATENCY_STEP_SHIFT) != 0)
		return GW_LATENCY_BUCKETS - 1;
	/*
	 * Halvings until it is below two octaves' steps. By hand: clang 14 never ends when it has
	 * to count leading zeroes for BPF, or makes that of a loop.
	 */
	if (units >> (16 + 1 + GW_LATENCY_STEP_SHIFT) != 0) {
		units >>= 16;
		octave += 16;
	}
	if (units >> (8 + 1 + GW_LATENCY_STEP_SHIFT) != 0) {
		units >>= 8;
		octave += 8;
	}
	if (units >> (4 + 1 + GW_LATENCY_STEP_SHIFT) != 0) {
		units >>= 4;
		octave += 4;
	}
	if (units >> (2 + 1 + GW_LATENCY_STEP_SHIFT) != 0) {
		units >>= 2;
		octave += 2;
	}
	if (units >> (1 + 1 + GW_LATENCY_STEP_SHIFT) != 0) {
		units >>= 1;
		octave += 1;
	}
	if (units >> (1 + GW_LATENCY_STEP_SHIFT) != 0) {
		units >>= 1;
		octave += 1;
	}
	return (octave << GW_LATENCY_STEP_SHIFT) + units;
}

enum gw_latency_kind { GW_LATENCY_READ, GW_LATENCY_WRITE, GW_LATENCY_KINDS };

/*
 * A CPU's entry of the map `latency`. Each field has one program that changes it (`not_timed`
 * aside: a program of either kind of disk), so nothing here needs an atomic operation.
 */
struct gw_bpf_latency {
	gw_u64 events;			/* all of the next ones: whoever reads skips CPUs that had none */
	gw_u64 not_timed;		/* the foreground's, whose beginning is not known */
	gw_u64 copier[GW_LATENCY_KINDS];	/* with the copier's I/O priority */
	gw_u64 copier_read_bytes;
	gw_u64 reserved[2];
	gw_u64 buckets[GW_LATENCY_KINDS][GW_LATENCY_BUCKETS];	/* the foreground's */
	gw_u64 padding;			/* to whole cache lines */
};

#define GW_TRACK_MAGIC 0x54525747u	/* "GWRT" */
#define GW_TRACK_VERSION 3u

#define GW_TRACK_BIO_BASED 0x1u
#define GW_TRACK_PARTITION 0x2u
#define GW_TRACK_ZONED 0x4u
#define GW_TRACK_READ_ONLY 0x8u
#define GW_TRACK_BY_NVME 0x10u		/* by the source `nvme` */
#define GW_TRACK_MULTIPATH 0x20u

/* Programs whose recursion_misses are watched. */
enum gw_track_program {
	GW_PROGRAM_SUBMIT,
	GW_PROGRAM_COMPLETE1,
	GW_PROGRAM_COMPLETE2,
	GW_PROGRAM_COMPLETE3,
	GW_PROGRAMS_WATCHED,
};

/*
 * The map `header`, one entry, pinned last: where it is, the rest is. Everything
 * up to `diskseq` keeps its place in all versions to come, so that each
 * can tell which disk another one tracks.
 */
struct gw_track_header {
	gw_u32 magic;
	gw_u32 version;
	gw_u32 header_bytes;
	gw_u32 flags;			/* GW_TRACK_* */
	gw_u32 disk_major, disk_minor;
	gw_u64 diskseq;

	gw_u64 generation;		/* random, never 0 */
	gw_u32 major, minor;		/* of the node: the disk, or one of its partitions */
	gw_u64 node_bytes;
	gw_u64 first_sector;		/* of the node, on the disk */
	gw_u64 size_bytes;		/* tracked from there */
	gw_u32 grain_bytes;
	gw_u32 coarse_shift;		/* a coarse bit stands for 2^this grains */
	gw_u64 words;			/* of live, pending and copying */
	gw_u64 coarse_words;
	gw_u32 hw_queues, tags_per_queue;	/* of the slots */
	gw_u32 logical_bytes, physical_bytes;
	gw_u64 started_wall_ns;
	/* How far take has looked: misses then, and when they last had grown. */
	gw_u64 misses_seen[GW_PROGRAMS_WATCHED];
	gw_u64 misses_grew_ns[GW_PROGRAMS_WATCHED];
	/* Of an NVMe namespace; nsid 0: it is none. As in struct gw_nvme_place. */
	gw_u32 nsid;
	gw_u32 nvme_subsystem, nvme_head;
	gw_u32 nvme_controllers;
	gw_u32 nvme_controller[8];
	/* As for the misses, of gw_bpf_state.strays_full. */
	gw_u64 strays_full_seen;
	gw_u64 strays_full_grew_ns;
	gw_u64 record_ranges;		/* room of the exact record; 0: there is none */
	gw_u32 record_units;		/* beside it */
	gw_u32 record_unit_shift;	/* from sectors */
	gw_u64 started_ns;		/* CLOCK_MONOTONIC */
	gw_u64 reserved[3];
	char subsystem_nqn[224];
	char serial[24];
	char name[64];
	char disk_name[64];
	char stable_id[128];
	char path[4096];
};

_Static_assert(sizeof(struct gw_bpf_slot) == 64, "a cache line");
_Static_assert(sizeof(struct gw_bpf_state) == 128, "gw_bpf_state");
_Static_assert(sizeof(struct gw_bpf_stats) == 64, "gw_bpf_stats");
_Static_assert(sizeof(struct gw_bpf_latency) % 64 == 0, "whole cache lines");
_Static_assert(__builtin_offsetof(struct gw_track_header, diskseq) == 24, "kept in all versions");
_Static_assert(__builtin_offsetof(struct gw_track_header, generation) == 32, "no padding");
_Static_assert(__builtin_offsetof(struct gw_track_header, misses_seen) == 120, "no padding");
_Static_assert(__builtin_offsetof(struct gw_track_header, subsystem_nqn) == 296, "no padding");
_Static_assert(__builtin_offsetof(struct gw_track_header, name) == 544, "no padding");
_Static_assert(sizeof(struct gw_track_header) == 544 + 64 + 64 + 128 + 4096, "no padding");

#endif

/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the programs of gw_events.bpf.c tell user space of NVMe controllers: the records of their
 * ring buffer, which is pinned in bpffs, and the counters beside it. Fixed-width fields only, no
 * padding. A change here that an older godwit would misread needs new names of the pins.
 */
#ifndef GODWIT_EVENT_ABI_H
#define GODWIT_EVENT_ABI_H

#include <godwit/bpf_abi.h>

/* Some 1500 records: who reads them comes by ten times a second. */
#define GW_EVENT_RING_BYTES (1u << 18)
/* Admin commands in flight whose senders are remembered. */
#define GW_EVENT_SENDERS 1024
/* Subsystems that are watched, when not all are. */
#define GW_EVENT_SUBSYSTEMS_MAX 2

enum gw_bpf_event_kind {
	GW_BPF_EVENT_COMMAND = 1,	/* an admin command ended */
	GW_BPF_EVENT_ASYNC = 2,		/* an asynchronous event: `result` is its dword 0 */
	GW_BPF_EVENT_STATE = 3,		/* of the controller: `status` is the driver's new one */
	GW_BPF_EVENT_TIMEOUT = 4,	/* the driver has lost patience with a command */
};

#define GW_BPF_EVENT_ADMIN 0x1u		/* the command is one of the admin queue */
#define GW_BPF_EVENT_BY_USER 0x2u	/* by passthrough; else the kernel's own */
#define GW_BPF_EVENT_HAS_SENDER 0x4u	/* pid, uid, comm and submitted_ns are known */

/* A record. What its kind does not have is 0. */
struct gw_bpf_event {
	gw_u64 at_ns;			/* CLOCK_MONOTONIC */
	gw_u64 submitted_ns;
	gw_u64 result;
	gw_u32 kind;			/* enum gw_bpf_event_kind */
	gw_u32 flags;			/* GW_BPF_EVENT_* */
	gw_u32 controller;		/* C of nvmeC */
	gw_u32 subsystem;		/* S of nvme-subsysS */
	gw_u32 opcode;
	gw_u32 nsid;
	gw_u32 cdw[6];			/* dwords 10 to 15 */
	gw_u32 status;			/* as in the completion, without the phase: bits 15:1 of it */
	gw_u32 pid, uid;		/* who was running when it went to the queue */
	char comm[16];
	gw_u32 reserved;
};
_Static_assert(sizeof(struct gw_bpf_event) == 104, "no padding");

/* One entry; changed by atomic operations only. */
struct gw_bpf_event_counts {
	gw_u64 dropped;			/* the ring was full */
	gw_u64 senders_full;		/* nobody knows who sent so many */
	gw_u64 reserved[6];
};
_Static_assert(sizeof(struct gw_bpf_event_counts) == 64, "a cache line");

#endif

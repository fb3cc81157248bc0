/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The NVMe driver's types, and of these only the fields that are read. They are in the BTF of
 * vmlinux where the driver is built in, in that of the module nvme_core where it is not: libbpf
 * looks into both.
 */
#ifndef GW_NVME_TYPES_H
#define GW_NVME_TYPES_H

#include "gw_vmlinux.h"

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)

struct nvme_subsystem {
	int instance;
};

struct nvme_ctrl {
	int instance;
	struct nvme_subsystem *subsys;
	struct request_queue *admin_q;
};

struct nvme_ns_head {
	struct nvme_subsystem *subsys;
	unsigned int ns_id;
	int instance;
	struct list_head list;		/* of struct nvme_ns, by siblings: a path each */
	struct gendisk *disk;		/* with CONFIG_NVME_MULTIPATH, and if it has paths */
};

struct nvme_ns {
	struct nvme_ctrl *ctrl;
	struct nvme_ns_head *head;
	struct request_queue *queue;
	struct list_head siblings;
	struct gendisk *disk;
};

struct nvme_command;

union nvme_result {
	__u64 u64;
};

/* Directly behind the struct request, for every transport. */
struct nvme_request {
	struct nvme_command *cmd;
	union nvme_result result;
	unsigned char flags;		/* bit 1: sent by a user */
	unsigned short status;
	struct nvme_ctrl *ctrl;
};

#pragma clang attribute pop

#endif

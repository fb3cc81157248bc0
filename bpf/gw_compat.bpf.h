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

#endif

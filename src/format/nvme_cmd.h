/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * NVMe commands in words, and the blocks that the lists in their data name. Pure; the policy
 * itself, which the BPF programs share, is in include/godwit/nvme_effects.h.
 */
#ifndef GW_NVME_CMD_H
#define GW_NVME_CMD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <godwit/nvme_effects.h>

#define GW_NVME_COMMAND_TEXT_BYTES 64

/* "Write Zeroes", "vendor specific (I/O opcode 0x99)", ... as the specification has it. Return: out. */
const char *gw_nvme_command_name(char out[GW_NVME_COMMAND_TEXT_BYTES], bool is_admin,
				 uint8_t opcode);

/* Blocks, half-open; first == end: none. */
struct gw_nvme_blocks {
	uint64_t first, end;
};

/*
 * The hull of what a command's data lists: the ranges of Dataset Management, the destination of
 * Copy. data is the start of the command's data. Return: 0, -ENODATA if data is too short for
 * the list, -EPROTO for a format that is not known, -EINVAL if the command has no list.
 */
int gw_nvme_listed_blocks(struct gw_nvme_blocks *blocks, const struct gw_nvme_sqe *sqe,
			  const void *data, size_t data_bytes);

#endif

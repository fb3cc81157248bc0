// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Commands as a device's queues may hold them, with data that is too short, too long or
 * nonsense: the policy has an answer for each, and says why where that is "everything".
 */
#include <assert.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "nvme_cmd.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_effect(enum gw_nvme_effect effect, gw_u64 why)
{
	assert(effect <= GW_NVME_CHANGES_ALL);
	assert((effect == GW_NVME_CHANGES_ALL) == (why != 0));
	assert((why & ~(gw_u64)GW_STATE_WHOLE) == 0);
}

static void check_list(const struct gw_nvme_sqe *sqe, const uint8_t *data, size_t size)
{
	/* A copy of that very size: a byte too many is noticed. */
	uint8_t *const list = malloc(size > 0 ? size : 1);
	struct gw_nvme_blocks blocks = { 3, 2 };

	assert(list != NULL);
	memcpy(list, data, size);
	if (gw_nvme_listed_blocks(&blocks, sqe, list, size) == 0) {
		assert(blocks.first <= blocks.end);
		assert(size >= gw_nvme_entries(sqe) * 16u);
		if (sqe->opcode == GW_NVME_COPY)
			assert(blocks.first == gw_nvme_first(sqe));
	} else {
		assert(blocks.first == 3);
		assert(blocks.end == 2);
	}
	free(list);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char text[GW_NVME_COMMAND_TEXT_BYTES];
	struct gw_nvme_sqe sqe;
	gw_u64 why = 0;

	if (size < sizeof(sqe))
		return 0;
	memcpy(&sqe, data, sizeof(sqe));
	check_effect(gw_nvme_io_effect(&sqe, &why), why);
	why = 0;
	check_effect(gw_nvme_admin_effect(&sqe, 1, sqe.cid & 1, &why), why);
	assert(gw_nvme_count(&sqe) >= 1);
	assert(gw_nvme_count(&sqe) <= 65536);
	assert(gw_nvme_entries(&sqe) <= GW_NVME_ENTRIES_MAX);
	assert(strlen(gw_nvme_command_name(text, false, sqe.opcode)) > 0);
	assert(strlen(gw_nvme_command_name(text, true, sqe.opcode)) > 0);
	check_list(&sqe, data + sizeof(sqe), size - sizeof(sqe));
	return 0;
}

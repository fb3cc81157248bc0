// SPDX-License-Identifier: GPL-2.0-or-later
#include "lba_status.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#include <godwit/nvme_abi.h>

#define LBARS 0x7			/* of a descriptor's status */

void gw_lba_status_begin(struct gw_lba_status *status, uint64_t size_blk)
{
	*status = (struct gw_lba_status){ .size_blk = size_blk, .is_done = size_blk == 0 };
}

int gw_lba_status_take(struct gw_lba_status *status, const void *data, size_t bytes,
		       void (*fn)(void *arg, uint64_t first_blk, uint64_t count_blk), void *arg)
{
	struct nvme_lba_status header;
	struct nvme_lba_status_entry entry;

	assert(!status->is_done);
	if (bytes < sizeof(header))
		return -EPROTO;
	memcpy(&header, data, sizeof(header));
	if (header.count > (bytes - sizeof(header)) / sizeof(entry))
		return -EPROTO;
	for (uint32_t i = 0; i < header.count; i++) {
		memcpy(&entry, (const char *)data + sizeof(header) + i * sizeof(entry),
		       sizeof(entry));
		/* Ascending, without overlap, inside of the namespace. */
		if ((entry.status & LBARS) != NVME_LBARS_ALLOCATED ||
		    entry.slba < status->next_blk || entry.slba >= status->size_blk ||
		    entry.nlb >= status->size_blk - entry.slba)
			return -EPROTO;
		status->next_blk = entry.slba + entry.nlb + 1;
		fn(arg, entry.slba, entry.nlb + UINT64_C(1));
	}
	if (header.condition == NVME_LBA_STATUS_COMPLETE)
		status->next_blk = status->size_blk;
	else if (header.count == 0)
		return -EPROTO;		/* nothing, and not said to be all: this would never end */
	status->is_done = status->next_blk == status->size_blk;
	return 0;
}

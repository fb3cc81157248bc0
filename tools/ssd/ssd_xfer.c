// SPDX-License-Identifier: GPL-2.0-or-later
/* The memory that a command's PRP entries name (Base 4.3.1). */
#include <assert.h>
#include <string.h>

#include "ssd.h"

#define PAGE_MASK (UINT64_C(4096) - 1)
_Static_assert(PAGE_MASK == GW_SSD_PAGE_BYTES - 1, "CC.MPS is 0");

/* Adds [iova, iova + bytes), which lies in one page of the guest. */
static bool add(struct gw_cmd *cmd, uint64_t iova, uint64_t bytes, uint32_t need)
{
	struct gw_xfer *x = &cmd->xfer;

	while (bytes > 0) {
		uint64_t piece = bytes;
		void *at = gw_dma_at(&cmd->ctrl->port->map, iova, need, &piece);
		struct iovec *last = x->pieces > 0 ? &x->iov[x->pieces - 1] : NULL;

		if (at == NULL)
			return false;
		if (last != NULL && (uint8_t *)last->iov_base + last->iov_len == (uint8_t *)at &&
		    x->iova[x->pieces - 1] + last->iov_len == iova) {
			last->iov_len += piece;
		} else {
			if (x->pieces == (int)GW_SSD_PIECES_MAX)
				return false;
			x->iova[x->pieces] = iova;
			x->iov[x->pieces++] = (struct iovec){ at, piece };
		}
		iova += piece;
		bytes -= piece;
	}
	return true;
}

/* A list, each page of which may end in a pointer to the next. */
static uint16_t walk_list(struct gw_cmd *cmd, uint64_t list, uint64_t bytes, uint32_t need)
{
	struct gw_dma_map *map = &cmd->ctrl->port->map;

	if (list % sizeof(uint64_t) != 0)
		return NVME_SC_PRP_OFFSET_INVALID;
	while (bytes > 0) {
		const bool is_last_slot = (list & PAGE_MASK) == GW_SSD_PAGE_BYTES - sizeof(uint64_t);
		const uint64_t piece = bytes < GW_SSD_PAGE_BYTES ? bytes : GW_SSD_PAGE_BYTES;
		uint64_t entry;

		if (gw_dma_read(map, list, &entry, sizeof(entry)) < 0)
			return NVME_SC_DATA_TRANSFER_ERROR;
		if ((entry & PAGE_MASK) != 0)
			return NVME_SC_PRP_OFFSET_INVALID;
		if (is_last_slot && bytes > GW_SSD_PAGE_BYTES) {
			/* Its page has 512 slots, of which the first holds data: this ends. */
			list = entry;
			continue;
		}
		if (!add(cmd, entry, piece, need))
			return NVME_SC_DATA_TRANSFER_ERROR;
		bytes -= piece;
		list += sizeof(entry);
	}
	return NVME_SC_SUCCESS;
}

uint16_t gw_xfer_map(struct gw_cmd *cmd, uint64_t bytes, bool is_to_host)
{
	const uint64_t prp1 = cmd->sqe.data_pointer[0], prp2 = cmd->sqe.data_pointer[1];
	const uint32_t need = is_to_host ? GW_DMA_WRITE : GW_DMA_READ;
	uint64_t first = GW_SSD_PAGE_BYTES - (prp1 & PAGE_MASK);

	assert(bytes <= GW_SSD_XFER_BYTES_MAX);
	cmd->xfer.pieces = 0;
	cmd->xfer.bytes = bytes;
	if (bytes > cmd->ctrl->ss->config.limits.xfer_bytes)
		return NVME_SC_INVALID_FIELD;	/* MDTS */
	if (NVME_SQE_PSDT(cmd->sqe.flags) != 0)
		return NVME_SC_INVALID_FIELD;	/* no SGLs */
	if ((prp1 & 3) != 0)
		return NVME_SC_PRP_OFFSET_INVALID;
	if (first > bytes)
		first = bytes;
	if (!add(cmd, prp1, first, need))
		return NVME_SC_DATA_TRANSFER_ERROR;
	bytes -= first;
	if (bytes == 0)
		return NVME_SC_SUCCESS;
	if (bytes > GW_SSD_PAGE_BYTES)
		return walk_list(cmd, prp2, bytes, need);
	if ((prp2 & PAGE_MASK) != 0)
		return NVME_SC_PRP_OFFSET_INVALID;
	return add(cmd, prp2, bytes, need) ? NVME_SC_SUCCESS : NVME_SC_DATA_TRANSFER_ERROR;
}

void gw_xfer_written(struct gw_cmd *cmd)
{
	for (int i = 0; i < cmd->xfer.pieces; i++)
		gw_track_note(cmd->ctrl, cmd->xfer.iova[i], cmd->xfer.iov[i].iov_len);
}

void gw_xfer_copy(const struct gw_xfer *x, uint64_t offset, void *memory, uint64_t bytes,
		  bool is_to_host)
{
	uint8_t *ours = memory;

	assert(offset <= x->bytes);
	assert(bytes <= x->bytes - offset);
	for (int i = 0; bytes > 0; i++) {
		const struct iovec *iov = &x->iov[i];
		uint64_t piece;

		if (offset >= iov->iov_len) {
			offset -= iov->iov_len;
			continue;
		}
		piece = iov->iov_len - offset < bytes ? iov->iov_len - offset : bytes;
		if (is_to_host)
			memcpy((uint8_t *)iov->iov_base + offset, ours, piece);
		else
			memcpy(ours, (uint8_t *)iov->iov_base + offset, piece);
		offset = 0;
		ours += piece;
		bytes -= piece;
	}
}

uint16_t gw_xfer_to_host(struct gw_cmd *cmd, const void *from, uint64_t bytes)
{
	const uint16_t status = gw_xfer_map(cmd, bytes, true);

	if (status != NVME_SC_SUCCESS)
		return status;
	gw_xfer_copy(&cmd->xfer, 0, (void *)(uintptr_t)from, bytes, true);
	gw_xfer_written(cmd);
	return NVME_SC_SUCCESS;
}

uint16_t gw_xfer_from_host(struct gw_cmd *cmd, void *to, uint64_t bytes)
{
	const uint16_t status = gw_xfer_map(cmd, bytes, false);

	if (status == NVME_SC_SUCCESS)
		gw_xfer_copy(&cmd->xfer, 0, to, bytes, false);
	return status;
}

void gw_cmd_park(struct gw_cmd *cmd)
{
	gw_dma_leave(&cmd->ctrl->port->map, cmd->epoch);
}

bool gw_cmd_is_stale(struct gw_cmd *cmd)
{
	bool is_stale;

	pthread_mutex_lock(&cmd->ctrl->lock);
	is_stale = cmd->generation != cmd->ctrl->generation || cmd->ctrl->is_stopping;
	pthread_mutex_unlock(&cmd->ctrl->lock);
	return is_stale;
}

bool gw_cmd_unpark(struct gw_cmd *cmd)
{
	cmd->epoch = gw_dma_enter(&cmd->ctrl->port->map);
	return !gw_cmd_is_stale(cmd);
}

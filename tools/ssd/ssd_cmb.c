// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Controller memory buffer (Base 8.2.1): memory of the controller in BAR 2, where a host may put queues,
 * lists and data. Its address for the controller is what the host says in CMBMSC, and nothing but
 * commands' own pointers ever looks there: a queue for the log of changes may not be in it, nor memory
 * that is tracked.
 */
#include <stdlib.h>
#include <string.h>

#include "ssd.h"

/* BAR 2, from its beginning; what is in it, and what is not, may be mixed as a host likes. */
#define LOCATION (2u | 0xf8u)
#define SUPPORTS 0x1fu			/* both kinds of queue, lists, data either way */

int gw_cmb_init(struct gw_ctrl *c)
{
	c->cmb.bytes = c->ss->config.cmb_bytes;
	if (c->cmb.bytes == 0)
		return 0;
	c->cmb.at = aligned_alloc(GW_SSD_PAGE_BYTES, c->cmb.bytes);
	if (c->cmb.at == NULL)
		return -1;
	memset(c->cmb.at, 0, c->cmb.bytes);
	return 0;
}

void gw_cmb_fini(struct gw_ctrl *c)
{
	free(c->cmb.at);
}

uint64_t gw_cmb_register(const struct gw_ctrl *c, uint32_t offset)
{
	const bool is_enabled = (c->cmb.control & NVME_CMBMSC_REGISTERS) != 0;

	switch (offset) {
	case NVME_REG_CMBLOC:
		return is_enabled ? LOCATION : 0;
	case NVME_REG_CMBSZ:
		return is_enabled ? SUPPORTS | c->cmb.bytes / GW_SSD_PAGE_BYTES << 12 : 0;
	case NVME_REG_CMBMSC:
		return c->cmb.control;
	case NVME_REG_CMBSTS:
		return c->cmb.is_invalid ? NVME_CMBSTS_INVALID : 0;
	default:
		return 0;
	}
}

void gw_cmb_control(struct gw_ctrl *c, uint32_t offset, uint32_t value)
{
	if (c->cmb.bytes == 0)
		return;
	if (offset == NVME_REG_CMBMSC)
		c->cmb.control = (c->cmb.control & ~(uint64_t)UINT32_MAX) |
				 (value & (~(GW_SSD_PAGE_BYTES - 1) | NVME_CMBMSC_REGISTERS |
					   NVME_CMBMSC_SPACE));
	else
		c->cmb.control = (uint32_t)c->cmb.control | (uint64_t)value << 32;
}

void gw_cmb_apply(struct gw_ctrl *c)
{
	uint64_t base, bytes;

	if (c->cmb.bytes == 0 || c->port == NULL)
		return;
	pthread_mutex_lock(&c->lock);
	base = c->cmb.control & ~(uint64_t)(GW_SSD_PAGE_BYTES - 1);
	bytes = (c->cmb.control & NVME_CMBMSC_SPACE) != 0 ? c->cmb.bytes : 0;
	c->cmb.is_invalid = base > UINT64_MAX - bytes;
	if (c->cmb.is_invalid)
		bytes = 0;
	pthread_mutex_unlock(&c->lock);
	gw_dma_set_own(&c->port->map, c->cmb.at, base, bytes);
}

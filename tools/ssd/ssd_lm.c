// SPDX-License-Identifier: GPL-2.0-or-later
/* No controller manages migrations yet: what would be logged and tracked is not. */
#include "ssd.h"

const uint8_t gw_state_uuid[16];

uint16_t gw_cdq_command(struct gw_cmd *cmd)
{
	(void)cmd;
	return NVME_SC_INVALID_OPCODE;
}

uint16_t gw_cdq_set_feature(struct gw_cmd *cmd)
{
	(void)cmd;
	return NVME_SC_INVALID_FIELD;
}

uint16_t gw_cdq_get_feature(struct gw_cmd *cmd)
{
	(void)cmd;
	return NVME_SC_INVALID_FIELD;
}

uint16_t gw_cdq_track(struct gw_cmd *cmd)
{
	(void)cmd;
	return NVME_SC_INVALID_OPCODE;
}

uint16_t gw_track_send(struct gw_cmd *cmd)
{
	(void)cmd;
	return NVME_SC_INVALID_OPCODE;
}

uint16_t gw_track_receive(struct gw_cmd *cmd)
{
	(void)cmd;
	return NVME_SC_INVALID_OPCODE;
}

uint16_t gw_lm_send(struct gw_cmd *cmd)
{
	(void)cmd;
	return NVME_SC_INVALID_OPCODE;
}

uint16_t gw_lm_receive(struct gw_cmd *cmd)
{
	(void)cmd;
	return NVME_SC_INVALID_OPCODE;
}

void gw_cdq_log(struct gw_ctrl *c, uint32_t nsid, uint64_t slba, uint64_t count, bool is_deallocated)
{
	(void)c;
	(void)nsid;
	(void)slba;
	(void)count;
	(void)is_deallocated;
}

void gw_cdq_idle(struct gw_ctrl *c)
{
	(void)c;
}

void gw_cdq_delete_of(struct gw_ctrl *owner)
{
	(void)owner;
}

void gw_track_note(struct gw_ctrl *c, uint64_t iova, uint64_t bytes)
{
	(void)c;
	(void)iova;
	(void)bytes;
}

void gw_track_stop_all(struct gw_subsys *ss)
{
	(void)ss;
}

void gw_lm_manager_reset(struct gw_ctrl *c)
{
	(void)c;
}

bool gw_lm_any_suspended(struct gw_subsys *ss)
{
	(void)ss;
	return false;
}

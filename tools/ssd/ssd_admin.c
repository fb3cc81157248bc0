// SPDX-License-Identifier: GPL-2.0-or-later
/* Admin commands: dispatch, and those that need no file of their own. */
#include <string.h>

#include "ssd.h"

/* Base 5.1.2: kept until there is something to say. */
static uint16_t async_event(struct gw_cmd *cmd)
{
	struct gw_ctrl *c = cmd->ctrl;
	uint16_t status = NVME_SC_ASYNC_LIMIT;

	pthread_mutex_lock(&c->lock);
	if (cmd->generation == c->generation && c->aers < c->ss->config.limits.events) {
		c->aer[c->aers++] = cmd->sqe.cid;
		cmd->is_kept = true;
		status = NVME_SC_SUCCESS;
	}
	pthread_mutex_unlock(&c->lock);
	return status;
}

/*
 * Base 5.1.1. Commands are executed one after the other: the only ones that are under way while
 * this one is are asynchronous event requests.
 */
static uint16_t abort_command(struct gw_cmd *cmd)
{
	struct gw_ctrl *c = cmd->ctrl;
	const uint16_t sqid = (uint16_t)cmd->sqe.cdw10, cid = (uint16_t)(cmd->sqe.cdw10 >> 16);

	cmd->dw0 = 1;		/* not aborted */
	pthread_mutex_lock(&c->lock);
	for (uint32_t i = 0; cmd->generation == c->generation && sqid == 0 && i < c->aers; i++) {
		const struct gw_cq *cq = &c->cq[0];

		/* Two entries: the aborted command's, and then this one's. */
		if (c->aer[i] != cid || (cq->tail + 2) % cq->size == cq->head)
			continue;
		c->aers--;
		memmove(&c->aer[i], &c->aer[i + 1], (c->aers - i) * sizeof(c->aer[0]));
		gw_queue_post(c, 0, cid, NVME_SC_ABORT_REQUESTED, 0, 0);
		cmd->dw0 = 0;
		break;
	}
	pthread_mutex_unlock(&c->lock);
	return NVME_SC_SUCCESS;
}

static uint16_t track_send(struct gw_cmd *cmd)
{
	const uint8_t trattr = cmd->ctrl->ss->config.trattr;
	const uint32_t select = cmd->sqe.cdw10 & 0xff;

	if (select == NVME_TRACK_LOG && (trattr & NVME_TRATTR_USER_DATA) != 0)
		return gw_cdq_track(cmd);
	if (select == NVME_TRACK_MEMORY && (trattr & NVME_TRATTR_MEMORY) != 0)
		return gw_track_send(cmd);
	return NVME_SC_INVALID_FIELD;
}

/* What only the controller that manages migrations knows (Base 8.1.12). */
static uint16_t execute_migration(struct gw_cmd *cmd)
{
	if (!cmd->ctrl->is_manager)
		return NVME_SC_INVALID_OPCODE;
	switch (cmd->sqe.opcode) {
	case GW_NVME_TRACK_SEND:
		return track_send(cmd);
	case GW_NVME_TRACK_RECEIVE:
		return gw_track_receive(cmd);
	case GW_NVME_MIGRATION_SEND:
		return gw_lm_send(cmd);
	case GW_NVME_MIGRATION_RECEIVE:
		return gw_lm_receive(cmd);
	default:
		return gw_cdq_command(cmd);
	}
}

uint16_t gw_admin_execute(struct gw_cmd *cmd)
{
	if (!gw_ssd_config_has(&cmd->ctrl->ss->config, true, cmd->sqe.opcode))
		return NVME_SC_INVALID_OPCODE;
	switch (cmd->sqe.opcode) {
	case GW_NVME_DELETE_SQ:
		return gw_queue_delete_sq(cmd);
	case GW_NVME_CREATE_SQ:
		return gw_queue_create_sq(cmd);
	case GW_NVME_GET_LOG_PAGE:
		return gw_log_page(cmd);
	case GW_NVME_DELETE_CQ:
		return gw_queue_delete_cq(cmd);
	case GW_NVME_CREATE_CQ:
		return gw_queue_create_cq(cmd);
	case GW_NVME_IDENTIFY:
		return gw_identify(cmd);
	case GW_NVME_ABORT:
		return abort_command(cmd);
	case GW_NVME_SET_FEATURES:
		return gw_features_set(cmd);
	case GW_NVME_GET_FEATURES:
		return gw_features_get(cmd);
	case GW_NVME_ASYNC_EVENT:
		return async_event(cmd);
	case GW_NVME_KEEP_ALIVE:
		return NVME_SC_SUCCESS;		/* every command feeds the timer */
	case GW_NVME_NAMESPACE_MANAGEMENT:
		return gw_admin_namespace_management(cmd);
	case GW_NVME_NAMESPACE_ATTACHMENT:
		return gw_admin_namespace_attachment(cmd);
	case GW_NVME_FORMAT:
		return gw_admin_format(cmd);
	case GW_NVME_SANITIZE:
		return gw_admin_sanitize(cmd);
	case GW_NVME_GET_LBA_STATUS:
		return gw_io_lba_status(cmd);
	case GW_NVME_TRACK_SEND:
	case GW_NVME_TRACK_RECEIVE:
	case GW_NVME_MIGRATION_SEND:
	case GW_NVME_MIGRATION_RECEIVE:
	case GW_NVME_CONTROLLER_DATA_QUEUE:
		return execute_migration(cmd);
	default:
		return NVME_SC_INVALID_OPCODE;
	}
}

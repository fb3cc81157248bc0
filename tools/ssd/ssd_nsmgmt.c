// SPDX-License-Identifier: GPL-2.0-or-later
/* Format, Sanitize, Namespace Management and Attachment (Base 5.1.10, 5.1.20 to 5.1.22). */
#include <string.h>

#include "ssd.h"

/* The whole namespace has changed through c: NLB has 32 bits, so it may take several entries. */
static void log_whole(struct gw_ctrl *c, const struct gw_ns *ns)
{
	const uint64_t step = UINT64_C(1) << 32;

	if ((ns->attached >> c->index & 1) == 0)
		return;
	for (uint64_t at = 0; at < ns->blocks; at += step)
		gw_cdq_log(c, ns->nsid, at, ns->blocks - at < step ? ns->blocks - at : step, false);
}

static uint64_t others(const struct gw_ctrl *c, const struct gw_ns *ns)
{
	return ns->attached & ~(UINT64_C(1) << c->index);
}

static uint16_t format_one(struct gw_cmd *cmd, struct gw_ns *ns, uint8_t lbads)
{
	uint16_t status = NVME_SC_SUCCESS;

	pthread_mutex_lock(&ns->lock);
	ns->writer = cmd->ctrl->cntlid;
	log_whole(cmd->ctrl, ns);
	if (gw_ns_format(ns, lbads) < 0)
		status = NVME_SC_INTERNAL;
	log_whole(cmd->ctrl, ns);
	pthread_mutex_unlock(&ns->lock);
	gw_subsys_changed(cmd->ctrl->ss, others(cmd->ctrl, ns), ns->nsid);
	return status;
}

static uint16_t format_locked(struct gw_cmd *cmd, uint8_t lbads)
{
	struct gw_subsys *ss = cmd->ctrl->ss;
	const uint32_t nsid = cmd->sqe.nsid;
	uint16_t status = NVME_SC_INVALID_NAMESPACE;

	for (uint32_t i = 1; i <= GW_SSD_NAMESPACES_MAX; i++) {
		struct gw_ns *ns = gw_subsys_find(ss, cmd->ctrl, i);

		if (ns == NULL || (nsid != GW_NVME_NSID_ALL && nsid != i))
			continue;
		status = format_one(cmd, ns, lbads);
		if (status != NVME_SC_SUCCESS)
			break;
	}
	if (gw_subsys_save(ss, NULL) < 0 && status == NVME_SC_SUCCESS)
		status = NVME_SC_INTERNAL;
	return status;
}

uint16_t gw_admin_format(struct gw_cmd *cmd)
{
	const uint32_t cdw10 = cmd->sqe.cdw10, format = (cdw10 & 0xf) | (cdw10 >> 12 & 3) << 4;
	uint16_t status;

	if (format > 1 || (cdw10 >> 4 & 0xf) != 0)	/* no metadata, no protection */
		return NVME_SC_INVALID_FORMAT;
	if ((cdw10 >> 9 & 7) > 2)
		return NVME_SC_INVALID_FIELD;
	pthread_rwlock_wrlock(&cmd->ctrl->ss->ns_lock);
	status = format_locked(cmd, format == 1 ? GW_NS_LBADS_MAX : GW_NS_LBADS_MIN);
	pthread_rwlock_unlock(&cmd->ctrl->ss->ns_lock);
	return status;
}

/* ---- Sanitize ------------------------------------------------------------------------------------ */

#define SANITIZE_EXIT_FAILURE 1u
#define SANITIZE_BLOCK 2u
#define SANITIZE_CRYPTO 4u
#define SANITIZE_DONE 0x0101u		/* completed; nothing was written since */
#define SANITIZE_WENT_WRONG 0x0003u

static bool sanitize_one(struct gw_subsys *ss, struct gw_ns *ns)
{
	bool is_empty;

	pthread_mutex_lock(&ns->lock);
	ns->writer = 0;			/* all of them */
	is_empty = gw_ns_format(ns, ns->lbads) == 0;
	for (uint32_t i = 0; i < ss->ctrls; i++)
		log_whole(ss->ctrl[i], ns);
	pthread_mutex_unlock(&ns->lock);
	return is_empty;
}

/* Done within the command, so that nobody sees one under way. */
uint16_t gw_admin_sanitize(struct gw_cmd *cmd)
{
	struct gw_subsys *ss = cmd->ctrl->ss;
	const uint32_t action = cmd->sqe.cdw10 & 7;
	bool is_done = true;

	if (action == SANITIZE_EXIT_FAILURE)
		return NVME_SC_SUCCESS;
	if (action != SANITIZE_BLOCK && action != SANITIZE_CRYPTO)
		return NVME_SC_INVALID_FIELD;
	if (gw_lm_any_suspended(ss))
		return NVME_SC_CONTROLLER_SUSPENDED;
	pthread_rwlock_wrlock(&ss->ns_lock);
	for (uint32_t i = 0; i < GW_SSD_NAMESPACES_MAX; i++)
		is_done &= ss->ns[i] == NULL || sanitize_one(ss, ss->ns[i]);
	pthread_mutex_lock(&cmd->ctrl->lock);
	ss->sanitize_status = is_done ? SANITIZE_DONE : SANITIZE_WENT_WRONG;
	ss->sanitize_dw10 = cmd->sqe.cdw10;
	pthread_mutex_unlock(&cmd->ctrl->lock);
	pthread_rwlock_unlock(&ss->ns_lock);
	gw_ctrl_event(cmd->ctrl, NVME_EVENT(NVME_EVENT_COMMAND_SET, 1, NVME_LOG_SANITIZE), 0);
	return NVME_SC_SUCCESS;
}

/* ---- Namespaces come and go ------------------------------------------------------------------------ */

static uint32_t free_nsid(const struct gw_subsys *ss)
{
	for (uint32_t i = 0; i < ss->config.limits.namespaces; i++) {
		if (ss->ns[i] == NULL)
			return i + 1;
	}
	return 0;
}

static uint16_t create_locked(struct gw_cmd *cmd, uint64_t bytes, uint8_t lbads)
{
	struct gw_subsys *ss = cmd->ctrl->ss;
	const uint32_t nsid = free_nsid(ss);
	struct gw_ns *ns;

	if (nsid == 0)
		return NVME_SC_NAMESPACE_ID_UNAVAILABLE;
	if (bytes > ss->config.capacity_bytes - gw_subsys_used_bytes(ss))
		return NVME_SC_NAMESPACE_CAPACITY;
	gw_ns_unlink(ss->dir_fd, nsid);		/* of one whose deletion was cut short */
	if (gw_subsys_create(ss, nsid, bytes, lbads, 0, &ns, NULL) < 0)
		return NVME_SC_INTERNAL;
	if (gw_subsys_save(ss, NULL) < 0) {
		gw_subsys_delete(ss, nsid);
		return NVME_SC_INTERNAL;
	}
	cmd->dw0 = nsid;
	return NVME_SC_SUCCESS;
}

static uint16_t create(struct gw_cmd *cmd)
{
	struct nvme_id_ns id;
	uint16_t status = gw_xfer_from_host(cmd, &id, sizeof(id));
	const uint32_t format = (id.flbas & 0xfu) | (id.flbas >> 5 & 3u) << 4;
	const uint8_t lbads = format == 1 ? GW_NS_LBADS_MAX : GW_NS_LBADS_MIN;

	if (status != NVME_SC_SUCCESS)
		return status;
	if (format > 1 || id.dps != 0)
		return NVME_SC_INVALID_FORMAT;
	if (id.nsze != id.ncap || id.nsze == 0 || id.nsze > (uint64_t)INT64_MAX >> lbads ||
	    id.nsze << lbads < 4096)
		return NVME_SC_INVALID_FIELD;
	pthread_rwlock_wrlock(&cmd->ctrl->ss->ns_lock);
	status = create_locked(cmd, id.nsze << lbads, lbads);
	pthread_rwlock_unlock(&cmd->ctrl->ss->ns_lock);
	return status;
}

static uint16_t delete(struct gw_cmd *cmd)
{
	struct gw_subsys *ss = cmd->ctrl->ss;
	const uint32_t nsid = cmd->sqe.nsid;
	uint16_t status = NVME_SC_INVALID_NAMESPACE;

	pthread_rwlock_wrlock(&ss->ns_lock);
	for (uint32_t i = 1; i <= GW_SSD_NAMESPACES_MAX; i++) {
		struct gw_ns *ns = gw_subsys_find(ss, NULL, i);

		if (ns == NULL || (nsid != GW_NVME_NSID_ALL && nsid != i))
			continue;
		gw_subsys_changed(ss, ns->attached, i);
		gw_subsys_delete(ss, i);
		status = NVME_SC_SUCCESS;
	}
	if (nsid == GW_NVME_NSID_ALL)
		status = NVME_SC_SUCCESS;
	if (status == NVME_SC_SUCCESS && gw_subsys_save(ss, NULL) < 0)
		status = NVME_SC_INTERNAL;
	pthread_rwlock_unlock(&ss->ns_lock);
	return status;
}

uint16_t gw_admin_namespace_management(struct gw_cmd *cmd)
{
	switch (cmd->sqe.cdw10 & 0xf) {
	case 0:
		return (cmd->sqe.cdw11 >> 24) == 0 ? create(cmd) : NVME_SC_INVALID_FIELD;
	case 1:
		return delete(cmd);
	default:
		return NVME_SC_INVALID_FIELD;
	}
}

/* ---- Attachment ------------------------------------------------------------------------------------- */

/* A list of controllers (Base 4.6.1) as a mask of their indices. */
static bool read_list(struct gw_subsys *ss, const uint16_t *list, uint64_t *mask)
{
	*mask = 0;
	if (list[0] == 0 || list[0] > 2047)
		return false;
	for (uint32_t i = 1; i <= list[0]; i++) {
		const struct gw_ctrl *c = gw_subsys_controller(ss, list[i]);

		if (c == NULL)
			return false;
		*mask |= UINT64_C(1) << c->index;
	}
	return true;
}

static uint16_t attach_locked(struct gw_cmd *cmd, uint64_t mask, bool is_detach)
{
	struct gw_subsys *ss = cmd->ctrl->ss;
	struct gw_ns *ns = gw_subsys_find(ss, NULL, cmd->sqe.nsid);
	uint64_t before;

	if (ns == NULL)
		return NVME_SC_INVALID_NAMESPACE;
	if (!is_detach && (ns->attached & mask) != 0)
		return NVME_SC_NAMESPACE_ATTACHED;
	if (is_detach && (ns->attached & mask) != mask)
		return NVME_SC_NAMESPACE_NOT_ATTACHED;
	before = ns->attached;
	ns->attached = is_detach ? ns->attached & ~mask : ns->attached | mask;
	if (gw_subsys_save(ss, NULL) < 0) {
		ns->attached = before;
		return NVME_SC_INTERNAL;
	}
	gw_subsys_changed(ss, mask, ns->nsid);
	return NVME_SC_SUCCESS;
}

uint16_t gw_admin_namespace_attachment(struct gw_cmd *cmd)
{
	const uint32_t select = cmd->sqe.cdw10 & 0xf;
	struct gw_subsys *ss = cmd->ctrl->ss;
	uint16_t list[2048], status;
	uint64_t mask;

	if (select > 1)
		return NVME_SC_INVALID_FIELD;
	status = gw_xfer_from_host(cmd, list, sizeof(list));
	if (status != NVME_SC_SUCCESS)
		return status;
	if (!read_list(ss, list, &mask))
		return NVME_SC_CONTROLLER_LIST_INVALID;
	pthread_rwlock_wrlock(&ss->ns_lock);
	status = attach_locked(cmd, mask, select == 1);
	pthread_rwlock_unlock(&ss->ns_lock);
	return status;
}

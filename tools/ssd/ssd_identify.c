// SPDX-License-Identifier: GPL-2.0-or-later
/* Identify (Base 5.1.13; NVM 1.2 4.1.5). */
#include <stdio.h>
#include <string.h>

#include "ssd.h"

/* Room for the largest of the structures; on the worker's stack. */
union identify {
	uint8_t bytes[NVME_IDENTIFY_BYTES];
	struct nvme_id_ctrl ctrl;
	struct nvme_id_ns ns;
	struct nvme_id_ns_nvm ns_nvm;
	struct nvme_id_ctrl_nvm ctrl_nvm;
	struct nvme_id_ns_independent independent;
	uint32_t list[1024];
	uint16_t ids[2048];
};
_Static_assert(sizeof(union identify) == NVME_IDENTIFY_BYTES, "each is 4 KiB");

/* Text in Identify is filled up with blanks, and has no NUL. */
static void put_text(char *field, size_t bytes, const char *text)
{
	const size_t length = strnlen(text, bytes);

	memset(field, ' ', bytes);
	memcpy(field, text, length);
}

static void put_capacity(uint8_t field[16], uint64_t bytes)
{
	memcpy(field, &bytes, sizeof(bytes));
}

static void fill_migration(struct nvme_id_ctrl *id, const struct gw_ssd_config *config)
{
	const struct gw_lm_limits *lm = &config->lm;

	id->oacs |= NVME_OACS_HMLMS;
	id->trattr = config->trattr;
	if ((config->trattr & NVME_TRATTR_MEMORY) != 0) {
		id->cmmrtd = lm->track_ranges;
		id->nmmrtd = lm->track_ranges_subsystem;
		id->minmrtg = lm->granularity_min;
		id->maxmrtg = lm->granularity_max;
	}
	if ((config->trattr & NVME_TRATTR_USER_DATA) == 0)
		return;
	id->mcudmq = lm->cdqs;
	id->mnsudmq = lm->cdqs_subsystem;
	id->mcmr = lm->ranges_max;
	id->nmcmr = lm->ranges_subsystem;
	id->mcdqpc = lm->pages_max;
}

static void fill_command_set(struct nvme_id_ctrl *id, const struct gw_ssd_config *config)
{
	id->sqes = 0x66;
	id->cqes = 0x44;
	id->nn = config->limits.namespaces;
	id->oncs = config->oncs;
	id->fuses = config->fuses;
	id->vwc = (config->version >= NVME_VERSION_1_4 ? NVME_VWC_FLUSH_ALL : 0) | (config->cache_bytes > 0 ? NVME_VWC_PRESENT : 0);
	if (config->fuses != 0)
		id->acwu = (uint16_t)(config->limits.atomic_blocks - 1);
	if ((config->oncs & NVME_ONCS_COPY) != 0)
		id->ocfs = 0x1;		/* copy descriptor format 0 */
	memcpy(id->subnqn, config->nqn, strlen(config->nqn));
}

/* What came after NVMe 1.3. */
static void fill_newer(struct nvme_id_ctrl *id, const struct gw_ssd_config *config)
{
	if (config->version < NVME_VERSION_1_4)
		return;
	id->ctratt |= 0x40;		/* any command keeps alive */
	id->cntrltype = 1;		/* I/O */
	id->mnan = config->limits.namespaces;
	if (config->version >= NVME_VERSION_2_1)
		id->cqt = 1;
}

/* CNS 01h */
static void fill_controller(struct gw_ctrl *c, struct nvme_id_ctrl *id)
{
	const struct gw_ssd_config *config = &c->ss->config;
	const uint64_t used = gw_subsys_used_bytes(c->ss);

	id->vid = config->pci_vendor;
	id->ssvid = config->pci_vendor;
	for (int i = 0; i < 3; i++)
		id->ieee[i] = (uint8_t)(config->oui >> 8 * i);
	put_text(id->sn, sizeof(id->sn), config->serial);
	put_text(id->mn, sizeof(id->mn), config->model);
	put_text(id->fr, sizeof(id->fr), config->firmware);
	id->rab = 6;
	id->cmic = c->ss->ctrls > 1 ? NVME_CMIC_CONTROLLERS : 0;
	id->mdts = (uint8_t)__builtin_ctzll(config->limits.xfer_bytes / GW_SSD_PAGE_BYTES);
	id->cntlid = c->cntlid;
	id->ver = gw_ctrl_version(c);
	id->oaes = NVME_OAES_NAMESPACE;
	id->ctratt = 0x1;		/* 128-bit host identifier */
	id->oacs = config->oacs;
	id->acl = 3;
	id->aerl = (uint8_t)(config->limits.events - 1);
	id->frmw = 0x3;			/* one slot, read only */
	id->lpa = NVME_LPA_EFFECTS | NVME_LPA_EXTENDED;
	id->elpe = (uint8_t)(config->limits.errors - 1);
	id->wctemp = 343;
	id->cctemp = 353;
	put_capacity(id->tnvmcap, config->capacity_bytes);
	put_capacity(id->unvmcap, config->capacity_bytes - used);
	id->kas = 10;
	id->sanicap = config->sanicap;
	id->psd[0].max_power = 2500;
	fill_command_set(id, config);
	fill_newer(id, config);
	if (c->is_manager)
		fill_migration(id, config);
}

static void fill_formats(struct nvme_id_ns *id)
{
	id->nlbaf = 1;			/* 0-based */
	id->lbaf[0].lbads = 9;
	id->lbaf[1].lbads = 12;
	id->lbaf[1].rp = 0;
	id->lbaf[0].rp = 2;		/* the longer blocks are better */
}

/* CNS 00h, 11h */
static void fill_namespace(const struct gw_subsys *ss, struct gw_ns *ns, struct nvme_id_ns *id)
{
	id->nsze = ns->blocks;
	id->ncap = ns->blocks;
	id->nuse = ns->written_count;
	id->nsfeat = 0x1;		/* thin: NUSE says what is written */
	id->flbas = ns->lbads == 12 ? 1 : 0;
	id->nmic = ss->ctrls > 1 ? NVME_NMIC_SHARED : 0;
	id->dlfeat = NVME_DLFEAT_ZEROES | NVME_DLFEAT_WRITE_ZEROES;
	if ((ss->config.oncs & NVME_ONCS_COPY) != 0) {
		id->mssrl = (uint16_t)ss->config.limits.copy_blocks;
		id->mcl = ss->config.limits.copy_blocks;
		id->msrc = (uint8_t)(ss->config.limits.copy_ranges - 1);
	}
	put_capacity(id->nvmcap, ns->bytes);
	memcpy(id->nguid, ns->nguid, sizeof(id->nguid));
	memcpy(id->eui64, ns->eui64, sizeof(id->eui64));
	fill_formats(id);
}

/* One that is all zeroes is none. Return: where the next one goes. */
static uint8_t *put_descriptor(uint8_t *at, uint8_t type, const uint8_t *value, uint8_t bytes)
{
	static const uint8_t none[16];

	if (memcmp(value, none, bytes) == 0)
		return at;
	at[0] = type;
	at[1] = bytes;
	memcpy(at + 4, value, bytes);
	return at + 4 + bytes;
}

/* CNS 03h: what there is of EUI-64, NGUID and UUID, and the command set. */
static void fill_descriptors(const struct gw_subsys *ss, const struct gw_ns *ns, uint8_t *bytes)
{
	bytes = put_descriptor(bytes, 1, ns->eui64, sizeof(ns->eui64));
	bytes = put_descriptor(bytes, 2, ns->nguid, sizeof(ns->nguid));
	bytes = put_descriptor(bytes, 3, ns->uuid, sizeof(ns->uuid));
	if (ss->config.version >= NVME_VERSION_2_0) {
		bytes[0] = 4;		/* command set: NVM */
		bytes[1] = 1;
	}
}

/* Lists of namespaces after the one that is named, ascending (CNS 02h, 07h, 10h). */
static void fill_namespaces(struct gw_cmd *cmd, uint32_t *list, bool is_attached)
{
	uint32_t count = 0;

	for (uint32_t nsid = 1; nsid <= GW_SSD_NAMESPACES_MAX; nsid++) {
		if (nsid > cmd->sqe.nsid &&
		    gw_subsys_find(cmd->ctrl->ss, is_attached ? cmd->ctrl : NULL, nsid) != NULL)
			list[count++] = nsid;
	}
}

/* CNS 12h and 13h: controllers from CDW10.CNTID on; attached to ns, or all of them. */
static void fill_controllers(struct gw_cmd *cmd, const struct gw_ns *ns, uint16_t *ids)
{
	const struct gw_subsys *ss = cmd->ctrl->ss;
	const uint32_t from = cmd->sqe.cdw10 >> 16;

	for (uint32_t i = 0; i < ss->ctrls; i++) {
		const uint16_t cntlid = ss->ctrl[i]->cntlid;

		if (cntlid >= from && (ns == NULL || (ns->attached >> i & 1) != 0))
			ids[++ids[0]] = cntlid;
	}
}

static uint16_t fill_of_namespace(struct gw_cmd *cmd, uint8_t cns, union identify *out)
{
	struct gw_subsys *ss = cmd->ctrl->ss;
	const bool is_any = cns == NVME_CNS_ALLOCATED_NAMESPACE || cns == NVME_CNS_ATTACHED_CONTROLLERS;
	struct gw_ns *ns = gw_subsys_find(ss, is_any ? NULL : cmd->ctrl, cmd->sqe.nsid);

	/* FFFFFFFFh: what all namespaces have in common. */
	if (cns == NVME_CNS_NAMESPACE && cmd->sqe.nsid == GW_NVME_NSID_ALL) {
		fill_formats(&out->ns);
		return NVME_SC_SUCCESS;
	}
	if (cmd->sqe.nsid == 0 || cmd->sqe.nsid > ss->config.limits.namespaces)
		return NVME_SC_INVALID_NAMESPACE;
	/* One that is not active has a structure of zeroes. */
	if (ns == NULL)
		return cns == NVME_CNS_NAMESPACE_DESCRIPTORS ? NVME_SC_INVALID_NAMESPACE :
							       NVME_SC_SUCCESS;
	pthread_mutex_lock(&ns->lock);
	switch (cns) {
	case NVME_CNS_NAMESPACE:
	case NVME_CNS_ALLOCATED_NAMESPACE:
		fill_namespace(ss, ns, &out->ns);
		break;
	case NVME_CNS_NAMESPACE_DESCRIPTORS:
		fill_descriptors(ss, ns, out->bytes);
		break;
	case NVME_CNS_COMMAND_SET_NAMESPACE:
		out->ns_nvm.tlbaag = ss->config.unit_blocks;
		break;
	case NVME_CNS_INDEPENDENT_NAMESPACE:
		out->independent.nmic = ss->ctrls > 1 ? NVME_NMIC_SHARED : 0;
		out->independent.nstat = 1;		/* ready */
		break;
	default:
		fill_controllers(cmd, ns, out->ids);
	}
	pthread_mutex_unlock(&ns->lock);
	return NVME_SC_SUCCESS;
}

/* CNS 20h (Base 5.1.13.2.21): version 0, and our own vendor specific format. */
static uint16_t fill_state_formats(const struct gw_ctrl *c, uint8_t *bytes)
{
	if (!c->is_manager)
		return NVME_SC_INVALID_FIELD;
	bytes[0] = 1;
	bytes[1] = 1;
	memcpy(bytes + 4, gw_state_uuid, 16);
	return NVME_SC_SUCCESS;
}

static void fill_command_set_controller(const struct gw_ctrl *c, struct nvme_id_ctrl_nvm *id)
{
	id->dmrl = 0;			/* no limits on Dataset Management */
	id->wzsl = 0;
	id->wusl = 0;
	id->aocs = c->ss->config.unit_blocks > 0 ? NVME_AOCS_RALBAS : 0;
	id->ver = 0x00010200;
	id->lbamqf = 0;
}

/* The controller's own structures, and lists. */
static uint16_t fill(struct gw_cmd *cmd, uint8_t cns, union identify *out)
{
	switch (cns) {
	case NVME_CNS_CONTROLLER:
		fill_controller(cmd->ctrl, &out->ctrl);
		return NVME_SC_SUCCESS;
	case NVME_CNS_COMMAND_SET_CONTROLLER:
		fill_command_set_controller(cmd->ctrl, &out->ctrl_nvm);
		return NVME_SC_SUCCESS;
	case NVME_CNS_ACTIVE_NAMESPACES:
	case NVME_CNS_COMMAND_SET_ACTIVE_NAMESPACES:
	case NVME_CNS_ALLOCATED_NAMESPACES:
		if (cmd->sqe.nsid >= GW_NVME_NSID_ALL - 1)
			return NVME_SC_INVALID_NAMESPACE;
		fill_namespaces(cmd, out->list, cns != NVME_CNS_ALLOCATED_NAMESPACES);
		return NVME_SC_SUCCESS;
	case NVME_CNS_CONTROLLERS:
		fill_controllers(cmd, NULL, out->ids);
		return NVME_SC_SUCCESS;
	case NVME_CNS_COMMAND_SETS:
		out->bytes[0] = 1;	/* combination 0: NVM alone */
		return NVME_SC_SUCCESS;
	case NVME_CNS_STATE_FORMATS:
		return fill_state_formats(cmd->ctrl, out->bytes);
	case NVME_CNS_NAMESPACE:
	case NVME_CNS_NAMESPACE_DESCRIPTORS:
	case NVME_CNS_COMMAND_SET_NAMESPACE:
	case NVME_CNS_INDEPENDENT_NAMESPACE:
	case NVME_CNS_ALLOCATED_NAMESPACE:
	case NVME_CNS_ATTACHED_CONTROLLERS:
		return fill_of_namespace(cmd, cns, out);
	default:
		return NVME_SC_INVALID_FIELD;
	}
}

/* Structures that came with NVMe 2.0 and after. */
static bool is_newer(uint8_t cns)
{
	return (cns >= NVME_CNS_COMMAND_SET_NAMESPACE && cns <= NVME_CNS_INDEPENDENT_NAMESPACE) ||
	       cns == NVME_CNS_COMMAND_SETS || cns == NVME_CNS_STATE_FORMATS;
}

uint16_t gw_identify(struct gw_cmd *cmd)
{
	const uint8_t cns = (uint8_t)cmd->sqe.cdw10, csi = (uint8_t)(cmd->sqe.cdw11 >> 24);
	const bool has_csi = cns == NVME_CNS_COMMAND_SET_NAMESPACE ||
			     cns == NVME_CNS_COMMAND_SET_CONTROLLER ||
			     cns == NVME_CNS_COMMAND_SET_ACTIVE_NAMESPACES;
	union identify out;
	uint16_t status;

	if ((has_csi && csi != 0) || (is_newer(cns) && gw_ctrl_version(cmd->ctrl) < NVME_VERSION_2_0))
		return NVME_SC_INVALID_FIELD;
	memset(&out, 0, sizeof(out));
	pthread_rwlock_rdlock(&cmd->ctrl->ss->ns_lock);
	status = fill(cmd, cns, &out);
	pthread_rwlock_unlock(&cmd->ctrl->ss->ns_lock);
	return status == NVME_SC_SUCCESS ? gw_xfer_to_host(cmd, &out, sizeof(out)) : status;
}

// SPDX-License-Identifier: GPL-2.0-or-later
/* Set and Get Features (Base 5.1.25, 5.1.11, and 4.4 for those that are saved). */
#include <string.h>

#include "clock.h"
#include "ssd.h"

#define SELECT_CURRENT 0u
#define SELECT_DEFAULT 1u
#define SELECT_SAVED 2u
#define SELECT_SUPPORTED 3u
#define SAVEABLE 0x1u
#define CHANGEABLE 0x4u
#define PER_NAMESPACE 0x2u
#define HOST_BEHAVIOR_BYTES 512u
#define TIMESTAMP_BYTES 8u

static void set_defaults(const struct gw_ssd_config *config, struct gw_features *feature)
{
	memset(feature, 0, sizeof(*feature));
	feature->arbitration = 3;	/* bursts of 8 */
	feature->temperature = 343;
	feature->write_cache = 1;
	feature->queues = (uint16_t)(config->limits.io_queues - 1);
	for (uint32_t i = 0; i < GW_SSD_VECTORS; i++)
		feature->vector[i] = i;
	feature->timestamp_at_ns = gw_now_ns(&gw_clock_monotonic);
}

/* Where a feature is that is one dword, kept and told again. NULL: it is none of these. */
static uint32_t *plain(struct gw_features *feature, uint8_t fid)
{
	switch (fid) {
	case NVME_FID_ARBITRATION:
		return &feature->arbitration;
	case NVME_FID_POWER:
		return &feature->power;
	case NVME_FID_TEMPERATURE:
		return &feature->temperature;
	case NVME_FID_ERROR_RECOVERY:
		return &feature->error_recovery;
	case NVME_FID_WRITE_CACHE:
		return &feature->write_cache;
	case NVME_FID_COALESCING:
		return &feature->coalescing;
	case NVME_FID_WRITE_ATOMICITY:
		return &feature->write_atomicity;
	case NVME_FID_ASYNC_EVENTS:
		return &feature->async_events;
	case NVME_FID_KEEP_ALIVE:
		return &feature->keep_alive;
	default:
		return NULL;
	}
}

bool gw_features_can_save(uint32_t fid)
{
	struct gw_features any = { 0 };

	return fid < GW_SSD_SAVED_FIDS && fid != NVME_FID_KEEP_ALIVE &&
	       plain(&any, (uint8_t)fid) != NULL;
}

static void set_saved(const struct gw_saved_features *saved, struct gw_features *feature)
{
	for (uint8_t fid = 0; fid < GW_SSD_SAVED_FIDS; fid++) {
		if ((saved->mask >> fid & 1) != 0)
			*plain(feature, fid) = saved->value[fid];
	}
}

void gw_features_begin(struct gw_ctrl *c)
{
	set_defaults(&c->ss->config, &c->feature);
	set_saved(&c->saved, &c->feature);
}

/* It is the current value already. */
static uint16_t save(struct gw_cmd *cmd, uint8_t fid)
{
	struct gw_ctrl *c = cmd->ctrl;
	struct gw_saved_features *saved = &c->ss->saved[c->index], old;
	uint16_t status = NVME_SC_SUCCESS;

	pthread_rwlock_wrlock(&c->ss->ns_lock);
	old = *saved;
	saved->mask |= 1u << fid;
	saved->value[fid] = cmd->sqe.cdw11;
	if (gw_subsys_save(c->ss, NULL) < 0) {
		*saved = old;
		status = NVME_SC_INTERNAL;
	}
	pthread_mutex_lock(&c->lock);
	c->saved = *saved;
	pthread_mutex_unlock(&c->lock);
	pthread_rwlock_unlock(&c->ss->ns_lock);
	return status;
}

/* Numbers of 0-based queues wanted; as many of both kinds are given, and told in the completion. */
static uint16_t set_queues(struct gw_cmd *cmd)
{
	struct gw_ctrl *c = cmd->ctrl;
	const uint32_t sqs = cmd->sqe.cdw11 & 0xffff, cqs = cmd->sqe.cdw11 >> 16;
	uint32_t granted = sqs < cqs ? sqs : cqs;

	if (sqs == 0xffff || cqs == 0xffff)
		return NVME_SC_INVALID_FIELD;
	for (uint32_t i = 1; i <= GW_SSD_QUEUES_MAX; i++) {
		if (c->sq[i].is_live || c->cq[i].is_live)
			return NVME_SC_COMMAND_SEQUENCE;
	}
	if (granted > c->ss->config.limits.io_queues - 1)
		granted = c->ss->config.limits.io_queues - 1;
	c->feature.queues = (uint16_t)granted;
	cmd->dw0 = granted | granted << 16;
	return NVME_SC_SUCCESS;
}

/* The interrupt vectors' coalescing is kept and told, and not done. */
static uint16_t vector_of(struct gw_cmd *cmd, uint32_t **value)
{
	const uint32_t vector = cmd->sqe.cdw11 & 0xffff;

	if (vector >= cmd->ctrl->ss->config.limits.vectors)
		return NVME_SC_INVALID_FIELD;
	*value = &cmd->ctrl->feature.vector[vector];
	return NVME_SC_SUCCESS;
}

static uint16_t set_locked(struct gw_cmd *cmd, uint8_t fid)
{
	struct gw_features *feature = &cmd->ctrl->feature;
	uint32_t *value = plain(feature, fid);
	uint16_t status;

	if (fid == NVME_FID_POWER && (cmd->sqe.cdw11 & 0x1f) != 0)
		return NVME_SC_INVALID_FIELD;	/* there is one power state */
	if (fid == NVME_FID_WRITE_CACHE && cmd->ctrl->ss->config.cache_bytes == 0)
		return NVME_SC_INVALID_FIELD;
	if (value != NULL) {
		*value = cmd->sqe.cdw11;
		return NVME_SC_SUCCESS;
	}
	if (fid == NVME_FID_QUEUES)
		return set_queues(cmd);
	status = vector_of(cmd, &value);
	if (status == NVME_SC_SUCCESS)
		*value = cmd->sqe.cdw11 & 0x1ffff;
	return status;
}

static uint16_t set_timestamp(struct gw_cmd *cmd)
{
	struct gw_ctrl *c = cmd->ctrl;
	uint8_t data[TIMESTAMP_BYTES];
	const uint16_t status = gw_xfer_from_host(cmd, data, sizeof(data));

	if (status != NVME_SC_SUCCESS)
		return status;
	pthread_mutex_lock(&c->lock);
	c->feature.timestamp_ms = 0;
	memcpy(&c->feature.timestamp_ms, data, 6);
	c->feature.timestamp_at_ns = gw_now_ns(&gw_clock_monotonic);
	c->feature.timestamp_origin = 1;
	pthread_mutex_unlock(&c->lock);
	return NVME_SC_SUCCESS;
}

static uint16_t get_timestamp(struct gw_cmd *cmd)
{
	struct gw_ctrl *c = cmd->ctrl;
	uint8_t data[TIMESTAMP_BYTES] = { 0 };
	uint64_t now_ms;

	pthread_mutex_lock(&c->lock);
	now_ms = c->feature.timestamp_ms +
		 (gw_now_ns(&gw_clock_monotonic) - c->feature.timestamp_at_ns) / GW_NS_PER_MS;
	memcpy(data, &now_ms, 6);
	data[6] = (uint8_t)(c->feature.timestamp_origin << 1);
	pthread_mutex_unlock(&c->lock);
	return gw_xfer_to_host(cmd, data, sizeof(data));
}

/* Data of a fixed length that is kept and told again. *bytes 0: it is no such feature. */
static void *kept_data(struct gw_features *feature, uint8_t fid, uint32_t cdw11, uint32_t *bytes)
{
	*bytes = 0;
	if (fid == NVME_FID_HOST_BEHAVIOR)
		*bytes = HOST_BEHAVIOR_BYTES;
	if (fid == NVME_FID_HOST_ID)
		*bytes = (cdw11 & 1) != 0 ? 16 : 8;
	return fid == NVME_FID_HOST_BEHAVIOR ? feature->host_behavior : feature->host_id;
}

static uint16_t set_data(struct gw_cmd *cmd, uint8_t fid)
{
	uint8_t data[HOST_BEHAVIOR_BYTES];
	uint32_t bytes;
	void *to = kept_data(&cmd->ctrl->feature, fid, cmd->sqe.cdw11, &bytes);
	const uint16_t status = gw_xfer_from_host(cmd, data, bytes);

	if (status != NVME_SC_SUCCESS)
		return status;
	pthread_mutex_lock(&cmd->ctrl->lock);
	memcpy(to, data, bytes);
	pthread_mutex_unlock(&cmd->ctrl->lock);
	return NVME_SC_SUCCESS;
}

static uint16_t get_data(struct gw_cmd *cmd, uint8_t fid)
{
	uint8_t data[HOST_BEHAVIOR_BYTES];
	uint32_t bytes;
	const void *from = kept_data(&cmd->ctrl->feature, fid, cmd->sqe.cdw11, &bytes);

	pthread_mutex_lock(&cmd->ctrl->lock);
	memcpy(data, from, bytes);
	pthread_mutex_unlock(&cmd->ctrl->lock);
	return gw_xfer_to_host(cmd, data, bytes);
}

static bool is_known(struct gw_ctrl *c, uint8_t fid)
{
	if ((fid == NVME_FID_TIMESTAMP && (c->ss->config.oncs & NVME_ONCS_TIMESTAMP) == 0) ||
	    (fid == NVME_FID_HOST_BEHAVIOR && gw_ctrl_version(c) < NVME_VERSION_1_4))
		return false;
	return plain(&c->feature, fid) != NULL || fid == NVME_FID_QUEUES || fid == NVME_FID_VECTOR ||
	       fid == NVME_FID_TIMESTAMP || fid == NVME_FID_HOST_BEHAVIOR ||
	       fid == NVME_FID_HOST_ID || (fid == NVME_FID_CDQ && c->is_manager);
}

/* Turning the cache off writes out what is in it. Return: false: some of it is only there yet. */
static bool flush_caches(struct gw_subsys *ss)
{
	bool is_flushed = true;

	pthread_rwlock_rdlock(&ss->ns_lock);
	for (uint32_t i = 0; i < GW_SSD_NAMESPACES_MAX; i++) {
		if (ss->ns[i] == NULL)
			continue;
		pthread_mutex_lock(&ss->ns[i]->lock);
		is_flushed &= gw_ns_flush(ss->ns[i]) == 0;
		pthread_mutex_unlock(&ss->ns[i]->lock);
	}
	pthread_rwlock_unlock(&ss->ns_lock);
	return is_flushed;
}

static bool can_save(const struct gw_ctrl *c, uint8_t fid)
{
	return (c->ss->config.oncs & NVME_ONCS_SAVE) != 0 && gw_features_can_save(fid);
}

uint16_t gw_features_set(struct gw_cmd *cmd)
{
	const uint8_t fid = (uint8_t)cmd->sqe.cdw10;
	const bool is_saving = cmd->sqe.cdw10 >> 31 != 0;
	uint16_t status;

	if (!is_known(cmd->ctrl, fid))
		return NVME_SC_INVALID_FIELD;
	if (is_saving && !can_save(cmd->ctrl, fid))
		return NVME_SC_FEATURE_NOT_SAVEABLE;
	switch (fid) {
	case NVME_FID_CDQ:
		return gw_cdq_set_feature(cmd);
	case NVME_FID_TIMESTAMP:
		return set_timestamp(cmd);
	case NVME_FID_HOST_BEHAVIOR:
	case NVME_FID_HOST_ID:
		return set_data(cmd, fid);
	default:
		break;
	}
	pthread_mutex_lock(&cmd->ctrl->lock);
	status = cmd->generation == cmd->ctrl->generation ? set_locked(cmd, fid) :
							    NVME_SC_ABORT_REQUESTED;
	pthread_mutex_unlock(&cmd->ctrl->lock);
	if (status == NVME_SC_SUCCESS && fid == NVME_FID_WRITE_CACHE && (cmd->sqe.cdw11 & 1) == 0 &&
	    !flush_caches(cmd->ctrl->ss))
		status = NVME_SC_INTERNAL;
	return status == NVME_SC_SUCCESS && is_saving ? save(cmd, fid) : status;
}

/* Of the current or other values. */
static uint16_t get_value(struct gw_cmd *cmd, struct gw_features *feature, uint8_t fid)
{
	const uint32_t *value = plain(feature, fid);

	if (fid == NVME_FID_QUEUES) {
		cmd->dw0 = feature->queues | (uint32_t)feature->queues << 16;
	} else if (fid == NVME_FID_VECTOR) {
		const uint32_t vector = cmd->sqe.cdw11 & 0xffff;

		if (vector >= cmd->ctrl->ss->config.limits.vectors)
			return NVME_SC_INVALID_FIELD;
		cmd->dw0 = feature->vector[vector];
	} else if (value != NULL) {
		cmd->dw0 = *value;
	}
	return NVME_SC_SUCCESS;
}

static uint16_t get_current(struct gw_cmd *cmd, uint8_t fid)
{
	uint16_t status;

	switch (fid) {
	case NVME_FID_CDQ:
		return gw_cdq_get_feature(cmd);
	case NVME_FID_TIMESTAMP:
		return get_timestamp(cmd);
	case NVME_FID_HOST_BEHAVIOR:
	case NVME_FID_HOST_ID:
		return get_data(cmd, fid);
	default:
		break;
	}
	pthread_mutex_lock(&cmd->ctrl->lock);
	status = get_value(cmd, &cmd->ctrl->feature, fid);
	pthread_mutex_unlock(&cmd->ctrl->lock);
	return status;
}

/* Those that are data are all zeroes until a host sets them. */
static uint16_t get_other(struct gw_cmd *cmd, uint8_t fid, bool is_saved)
{
	static const uint8_t zeroes[HOST_BEHAVIOR_BYTES];
	struct gw_features other;
	uint32_t bytes;

	kept_data(&other, fid, cmd->sqe.cdw11, &bytes);
	if (fid == NVME_FID_TIMESTAMP)
		bytes = TIMESTAMP_BYTES;
	if (bytes != 0)
		return gw_xfer_to_host(cmd, zeroes, bytes);
	set_defaults(&cmd->ctrl->ss->config, &other);
	if (is_saved) {
		pthread_mutex_lock(&cmd->ctrl->lock);
		set_saved(&cmd->ctrl->saved, &other);
		pthread_mutex_unlock(&cmd->ctrl->lock);
	}
	return get_value(cmd, &other, fid);
}

uint16_t gw_features_get(struct gw_cmd *cmd)
{
	const uint8_t fid = (uint8_t)cmd->sqe.cdw10;

	if (!is_known(cmd->ctrl, fid))
		return NVME_SC_INVALID_FIELD;
	switch (cmd->sqe.cdw10 >> 8 & 7) {
	case SELECT_CURRENT:
		return get_current(cmd, fid);
	case SELECT_DEFAULT:
	case SELECT_SAVED:		/* one that is not: then it is the default */
		return get_other(cmd, fid, (cmd->sqe.cdw10 >> 8 & 7) == SELECT_SAVED);
	case SELECT_SUPPORTED:
		cmd->dw0 = CHANGEABLE | (can_save(cmd->ctrl, fid) ? SAVEABLE : 0) |
			   (fid == NVME_FID_ERROR_RECOVERY ? PER_NAMESPACE : 0);
		return NVME_SC_SUCCESS;
	default:
		return NVME_SC_INVALID_FIELD;
	}
}

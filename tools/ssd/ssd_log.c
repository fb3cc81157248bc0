// SPDX-License-Identifier: GPL-2.0-or-later
/* Get Log Page (Base 5.1.12). */
#include <stdlib.h>
#include <string.h>

#include "clock.h"
#include "ssd.h"

#define RETAIN_EVENT 0x8000u

union log_page {
	uint8_t bytes[4096];
	uint32_t dwords[1024];
	struct nvme_log_error_entry error[GW_SSD_ERRORS_MAX];
	struct nvme_log_smart smart;
	struct nvme_log_firmware firmware;
	struct nvme_log_effects effects;
	struct nvme_log_sanitize sanitize;
};
_Static_assert(sizeof(union log_page) == 4096, "no log page is longer");

static const uint8_t log_ids[] = {
	NVME_LOG_SUPPORTED, NVME_LOG_ERROR,   NVME_LOG_SMART,	       NVME_LOG_FIRMWARE,
	NVME_LOG_CHANGED_NAMESPACES, NVME_LOG_EFFECTS, NVME_LOG_FEATURE_EFFECTS, NVME_LOG_SANITIZE,
};

static uint64_t in_thousands(uint64_t bytes)
{
	return (bytes / 512 + 999) / 1000;
}

static void fill_smart(const struct gw_ctrl *c, struct nvme_log_smart *smart)
{
	const struct gw_counters *n = &c->counters;

	smart->temperature[0] = 310 & 0xff;	/* kelvin */
	smart->temperature[1] = 310 >> 8;
	smart->available_spare = 100;
	smart->spare_threshold = 10;
	smart->data_read[0] = in_thousands(n->bytes_read);
	smart->data_written[0] = in_thousands(n->bytes_written);
	smart->host_reads[0] = n->read_commands;
	smart->host_writes[0] = n->write_commands;
	smart->power_cycles[0] = n->power_cycles;
	smart->unsafe_shutdowns[0] = n->unsafe_shutdowns;
	smart->media_errors[0] = n->media_errors;
	smart->error_entries[0] = c->errors;
	smart->sensor[0] = 310;
}

/* The newest first. */
static void fill_errors(const struct gw_ctrl *c, struct nvme_log_error_entry *entry)
{
	for (uint64_t i = 0; i < c->errors && i < c->ss->config.limits.errors; i++)
		entry[i] = c->error[(c->errors - 1 - i) % GW_SSD_ERRORS_MAX];
}

static void fill_effects(const struct gw_ctrl *c, struct nvme_log_effects *effects)
{
	static const uint8_t admin[] = {
		GW_NVME_DELETE_SQ, GW_NVME_CREATE_SQ, GW_NVME_GET_LOG_PAGE, GW_NVME_DELETE_CQ,
		GW_NVME_CREATE_CQ, GW_NVME_IDENTIFY, GW_NVME_ABORT, GW_NVME_SET_FEATURES,
		GW_NVME_GET_FEATURES, GW_NVME_ASYNC_EVENT, GW_NVME_KEEP_ALIVE,
		GW_NVME_GET_LBA_STATUS,
	};
	static const uint8_t migration[] = {
		GW_NVME_TRACK_SEND, GW_NVME_TRACK_RECEIVE, GW_NVME_MIGRATION_SEND,
		GW_NVME_MIGRATION_RECEIVE, GW_NVME_CONTROLLER_DATA_QUEUE,
	};
	static const uint8_t reading[] = { GW_NVME_FLUSH, GW_NVME_READ, GW_NVME_COMPARE, GW_NVME_VERIFY };
	static const uint8_t writing[] = {
		GW_NVME_WRITE, GW_NVME_WRITE_UNCORRECTABLE, GW_NVME_WRITE_ZEROES,
		GW_NVME_DATASET_MANAGEMENT, GW_NVME_COPY,
	};

	for (size_t i = 0; i < sizeof(admin); i++)
		effects->admin[admin[i]] = NVME_EFFECT_SUPPORTED;
	for (size_t i = 0; c->is_manager && i < sizeof(migration); i++)
		effects->admin[migration[i]] = NVME_EFFECT_SUPPORTED;
	for (size_t i = 0; i < sizeof(reading); i++)
		effects->io[reading[i]] = NVME_EFFECT_SUPPORTED;
	for (size_t i = 0; i < sizeof(writing); i++)
		effects->io[writing[i]] = NVME_EFFECT_SUPPORTED | NVME_EFFECT_CONTENT;
	effects->admin[GW_NVME_NAMESPACE_MANAGEMENT] = NVME_EFFECT_SUPPORTED | NVME_EFFECT_INVENTORY;
	effects->admin[GW_NVME_NAMESPACE_ATTACHMENT] = NVME_EFFECT_SUPPORTED | NVME_EFFECT_INVENTORY;
	effects->admin[GW_NVME_FORMAT] = NVME_EFFECT_SUPPORTED | NVME_EFFECT_CONTENT |
					 NVME_EFFECT_CAPABILITY | NVME_EFFECT_ALONE_NAMESPACE;
	effects->admin[GW_NVME_SANITIZE] = NVME_EFFECT_SUPPORTED | NVME_EFFECT_CONTENT |
					   NVME_EFFECT_ALONE;
	/* What is switched off is not there. */
	for (uint32_t i = 0; i < 256; i++) {
		if (!gw_ssd_config_has(&c->ss->config, true, (uint8_t)i))
			effects->admin[i] = 0;
		if (!gw_ssd_config_has(&c->ss->config, false, (uint8_t)i))
			effects->io[i] = 0;
	}
}

static void fill_feature_effects(const struct gw_ctrl *c, uint32_t *dwords)
{
	static const uint8_t fids[] = {
		NVME_FID_ARBITRATION, NVME_FID_POWER, NVME_FID_TEMPERATURE, NVME_FID_WRITE_CACHE,
		NVME_FID_QUEUES, NVME_FID_COALESCING, NVME_FID_VECTOR, NVME_FID_ASYNC_EVENTS,
		NVME_FID_TIMESTAMP, NVME_FID_KEEP_ALIVE, NVME_FID_HOST_BEHAVIOR, NVME_FID_HOST_ID,
		NVME_FID_WRITE_ATOMICITY,
	};

	for (size_t i = 0; i < sizeof(fids); i++)
		dwords[fids[i]] = NVME_FID_SUPPORTED | NVME_FID_SCOPE_CONTROLLER;
	if ((c->ss->config.oncs & NVME_ONCS_TIMESTAMP) == 0)
		dwords[NVME_FID_TIMESTAMP] = 0;
	dwords[NVME_FID_ERROR_RECOVERY] = NVME_FID_SUPPORTED | NVME_FID_SCOPE_NAMESPACE;
	if (c->is_manager)
		dwords[NVME_FID_CDQ] = NVME_FID_SUPPORTED | NVME_FID_SCOPE_CDQ;
}

static void fill_changed(struct gw_ctrl *c, uint32_t *list)
{
	uint32_t count = 0;

	for (uint32_t i = 0; i < GW_SSD_NAMESPACES_MAX; i++) {
		if ((c->changed_namespaces >> i & 1) != 0)
			list[count++] = i + 1;
	}
}

static void fill_sanitize(const struct gw_subsys *ss, struct nvme_log_sanitize *log)
{
	log->progress = 0xffff;		/* none is under way: it is done within the command */
	log->status = ss->sanitize_status;
	log->command_dw10 = ss->sanitize_dw10;
	for (int i = 0; i < 6; i++)
		log->estimate_s[i] = UINT32_MAX;
}

/* Which events the page answers: reading it lets the next one of their type come. */
static uint8_t unmasks(uint8_t lid)
{
	switch (lid) {
	case NVME_LOG_ERROR:
		return 1u << NVME_EVENT_ERROR;
	case NVME_LOG_SMART:
		return 1u << NVME_EVENT_SMART;
	case NVME_LOG_FIRMWARE:
	case NVME_LOG_CHANGED_NAMESPACES:
		return 1u << NVME_EVENT_NOTICE;
	default:
		return 0;
	}
}

/* c->lock is held. Return: bytes of the page; 0: no such page. */
static uint32_t fill(struct gw_ctrl *c, uint8_t lid, union log_page *page)
{
	const bool is_old = gw_ctrl_version(c) < NVME_VERSION_2_0;

	switch (lid) {
	case NVME_LOG_SUPPORTED:
		if (is_old)
			return 0;
		for (size_t i = 0; i < sizeof(log_ids); i++)
			page->dwords[log_ids[i]] = 1;
		return 1024;
	case NVME_LOG_ERROR:
		fill_errors(c, page->error);
		return c->ss->config.limits.errors * (uint32_t)sizeof(page->error[0]);
	case NVME_LOG_SMART:
		fill_smart(c, &page->smart);
		return sizeof(page->smart);
	case NVME_LOG_FIRMWARE:
		page->firmware.active = 1;
		memset(page->firmware.revision[0], ' ', sizeof(page->firmware.revision[0]));
		memcpy(page->firmware.revision[0], c->ss->config.firmware,
		       strnlen(c->ss->config.firmware, sizeof(page->firmware.revision[0])));
		return sizeof(page->firmware);
	case NVME_LOG_CHANGED_NAMESPACES:
		fill_changed(c, page->dwords);
		return sizeof(page->bytes);
	case NVME_LOG_EFFECTS:
		fill_effects(c, &page->effects);
		return sizeof(page->effects);
	case NVME_LOG_FEATURE_EFFECTS:
		if (is_old)
			return 0;
		fill_feature_effects(c, page->dwords);
		return 1024;
	case NVME_LOG_SANITIZE:
		fill_sanitize(c->ss, &page->sanitize);
		return sizeof(page->sanitize);
	default:
		return 0;
	}
}

/* What lies past the end of the page reads as zeroes. */
static uint16_t give(struct gw_cmd *cmd, const union log_page *page, uint32_t page_bytes,
		     uint64_t offset, uint64_t bytes)
{
	static const uint8_t zeroes[4096];
	const uint16_t status = gw_xfer_map(cmd, bytes, true);
	uint64_t have = page_bytes - offset < bytes ? page_bytes - offset : bytes;

	if (status != NVME_SC_SUCCESS)
		return status;
	gw_xfer_copy(&cmd->xfer, 0, (void *)(uintptr_t)(page->bytes + offset), have, true);
	while (have < bytes) {
		const uint64_t piece = bytes - have < sizeof(zeroes) ? bytes - have : sizeof(zeroes);

		gw_xfer_copy(&cmd->xfer, have, (void *)(uintptr_t)zeroes, piece, true);
		have += piece;
	}
	gw_xfer_written(cmd);
	return NVME_SC_SUCCESS;
}

uint16_t gw_log_page(struct gw_cmd *cmd)
{
	struct gw_ctrl *c = cmd->ctrl;
	const uint8_t lid = (uint8_t)cmd->sqe.cdw10;
	const uint64_t dwords = (cmd->sqe.cdw10 >> 16 | (uint64_t)(cmd->sqe.cdw11 & 0xffff) << 16) + 1;
	const uint64_t offset = cmd->sqe.cdw12 | (uint64_t)cmd->sqe.cdw13 << 32;
	const uint64_t bytes = dwords * 4;
	union log_page page;
	uint32_t page_bytes;

	memset(&page, 0, sizeof(page));
	pthread_mutex_lock(&c->lock);
	page_bytes = fill(c, lid, &page);
	if (page_bytes != 0 && offset <= page_bytes && (cmd->sqe.cdw10 & RETAIN_EVENT) == 0) {
		c->masked_events &= (uint8_t)~unmasks(lid);
		if (lid == NVME_LOG_CHANGED_NAMESPACES)
			c->changed_namespaces = 0;
	}
	pthread_mutex_unlock(&c->lock);
	if (page_bytes == 0)
		return NVME_SC_INVALID_LOG_PAGE;
	if (offset % 4 != 0 || offset > page_bytes || bytes > GW_SSD_XFER_BYTES_MAX)
		return NVME_SC_INVALID_FIELD;
	return give(cmd, &page, page_bytes, offset, bytes);
}

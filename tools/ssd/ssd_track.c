// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Track Memory Changes: which pieces of its host's memory a controller has written (Base 5.1.26,
 * 5.1.27.1.2). A bit for each piece, set after the write; lm_lock guards who is tracked, the lock
 * of each track its bits.
 */
#include <stdlib.h>
#include <string.h>

#include "ssd.h"

/* All bits of one controller: 2 MiB. More: Not Enough Resources, and what would do. */
#define BITS_MAX (UINT64_C(16) << 20)

static uint64_t unit_bytes(uint8_t granularity)
{
	return UINT64_C(4096) << granularity;
}

void gw_track_note(struct gw_ctrl *c, uint64_t iova, uint64_t bytes)
{
	struct gw_memory_track *t = &c->track;

	if (!atomic_load_explicit(&t->is_on, memory_order_acquire) || bytes == 0)
		return;
	pthread_mutex_lock(&t->lock);
	for (uint32_t i = 0; i < t->ranges; i++) {
		const uint64_t unit = unit_bytes(t->granularity), start = t->range[i].address;
		const uint64_t end = start + t->range[i].count * unit;
		const uint64_t from = iova > start ? iova : start;
		const uint64_t to = iova + bytes < end ? iova + bytes : end;

		for (uint64_t at = (from - start) / unit; from < to && start + at * unit < to; at++)
			t->bits[i][at / 64] |= UINT64_C(1) << at % 64;
	}
	pthread_mutex_unlock(&t->lock);
}

static void stop(struct gw_subsys *ss, struct gw_memory_track *t)
{
	pthread_mutex_lock(&t->lock);
	if (atomic_load(&t->is_on))
		ss->track_ranges_used -= t->ranges;
	atomic_store(&t->is_on, false);
	for (uint32_t i = 0; i < t->ranges; i++)
		free(t->bits[i]);
	t->ranges = 0;
	t->owner = NULL;
	pthread_mutex_unlock(&t->lock);
}

void gw_track_stop_of(struct gw_subsys *ss, const struct gw_ctrl *owner)
{
	pthread_mutex_lock(&ss->lm_lock);
	for (uint32_t i = 0; i < ss->ctrls; i++) {
		if (owner == NULL || ss->ctrl[i]->track.owner == owner)
			stop(ss, &ss->ctrl[i]->track);
	}
	pthread_mutex_unlock(&ss->lm_lock);
}

/* ---- Track Send ------------------------------------------------------------------------------------ */

/* The structure, whose length follows from the count in it. */
static uint16_t read_ranges(struct gw_cmd *cmd, struct nvme_track_memory *head,
			    struct nvme_track_range range[GW_SSD_TRACK_RANGES_MAX])
{
	const struct gw_lm_limits *lm = &cmd->ctrl->ss->config.lm;
	uint16_t status = gw_xfer_from_host(cmd, head, sizeof(*head));
	uint64_t bytes;

	if (status != NVME_SC_SUCCESS)
		return status;
	if (head->version != 0 || head->granularity < lm->granularity_min ||
	    head->granularity > lm->granularity_max || head->count == 0 ||
	    head->count > lm->track_ranges || head->count > GW_SSD_TRACK_RANGES_MAX)
		return NVME_SC_INVALID_FIELD;
	bytes = head->count * sizeof(*range);
	status = gw_xfer_map(cmd, sizeof(*head) + bytes, false);
	if (status == NVME_SC_SUCCESS)
		gw_xfer_copy(&cmd->xfer, sizeof(*head), range, bytes, false);
	return status;
}

/* Memory that is not the host's cannot be tracked. */
static bool is_of_host(struct gw_ctrl *c, const struct nvme_track_range *range, uint64_t unit)
{
	struct gw_port *port;

	pthread_mutex_lock(&c->lock);
	port = c->port;
	pthread_mutex_unlock(&c->lock);
	return port == NULL || !gw_dma_is_own(&port->map, range->address, range->count * unit);
}

static uint16_t check_ranges(struct gw_ctrl *c, const struct nvme_track_memory *head,
			     const struct nvme_track_range *range, bool is_power_of_two, uint64_t *units)
{
	const uint64_t unit = unit_bytes(head->granularity);

	*units = 0;
	for (uint32_t i = 0; i < head->count; i++) {
		const uint64_t bytes = range[i].count * unit;

		if (range[i].count == 0 || range[i].address % unit != 0 ||
		    range[i].address > UINT64_MAX - bytes || !is_of_host(c, &range[i], unit))
			return NVME_SC_INVALID_FIELD;
		if (is_power_of_two && (range[i].count & (range[i].count - 1)) != 0)
			return NVME_SC_INVALID_FIELD;
		*units += range[i].count;
	}
	return NVME_SC_SUCCESS;
}

/* Too fine: the finest that would do, and how many of the ranges would fit as they are. */
static uint16_t cannot(struct gw_cmd *cmd, const struct nvme_track_memory *head,
		       const struct nvme_track_range *range, uint64_t units)
{
	uint8_t granularity = head->granularity;
	uint64_t sum = 0;

	for (; units > BITS_MAX; granularity++)
		units = (units + 1) / 2 + head->count;
	cmd->dw0 = granularity;
	for (cmd->dw1 = 0; cmd->dw1 < head->count; cmd->dw1++) {
		sum += range[cmd->dw1].count;
		if (sum > BITS_MAX)
			break;
	}
	return NVME_SC_NOT_ENOUGH_RESOURCES;
}

static bool fill(struct gw_memory_track *t, const struct nvme_track_memory *head,
		 const struct nvme_track_range *range)
{
	t->granularity = head->granularity;
	for (t->ranges = 0; t->ranges < head->count; t->ranges++) {
		t->range[t->ranges] = range[t->ranges];
		t->bits[t->ranges] = calloc((range[t->ranges].count + UINT64_C(63)) / 64, 8);
		if (t->bits[t->ranges] == NULL)
			return false;
	}
	return true;
}

/* Descriptors of all that owner has started. lm_lock is held. */
static uint32_t used_by(const struct gw_subsys *ss, const struct gw_ctrl *owner)
{
	uint32_t used = 0;

	for (uint32_t i = 0; i < ss->ctrls; i++)
		used += ss->ctrl[i]->track.owner == owner ? ss->ctrl[i]->track.ranges : 0;
	return used;
}

/* lm_lock is held. */
static uint16_t start(struct gw_cmd *cmd, struct gw_ctrl *c, const struct nvme_track_memory *head,
		      const struct nvme_track_range *range)
{
	struct gw_subsys *ss = cmd->ctrl->ss;
	bool is_filled;

	if (atomic_load(&c->track.is_on))
		return NVME_SC_INVALID_CONTROLLER_ID;
	if (used_by(ss, cmd->ctrl) + head->count > ss->config.lm.track_ranges ||
	    ss->track_ranges_used + head->count > ss->config.lm.track_ranges_subsystem)
		return NVME_SC_INVALID_FIELD;
	/* As with a queue: nothing may begin after the reset that ends it all. */
	if (gw_cmd_is_stale(cmd))
		return NVME_SC_ABORT_REQUESTED;
	pthread_mutex_lock(&c->track.lock);
	is_filled = fill(&c->track, head, range);
	if (is_filled)
		atomic_store_explicit(&c->track.is_on, true, memory_order_release);
	pthread_mutex_unlock(&c->track.lock);
	if (!is_filled) {
		stop(ss, &c->track);
		return NVME_SC_NOT_ENOUGH_RESOURCES;
	}
	c->track.owner = cmd->ctrl;
	ss->track_ranges_used += head->count;
	return NVME_SC_SUCCESS;
}

static bool is_suspended(struct gw_ctrl *c)
{
	bool is;

	pthread_mutex_lock(&c->lock);
	is = c->is_suspended;
	pthread_mutex_unlock(&c->lock);
	return is;
}

uint16_t gw_track_send(struct gw_cmd *cmd)
{
	struct nvme_track_range range[GW_SSD_TRACK_RANGES_MAX];
	struct gw_subsys *ss = cmd->ctrl->ss;
	struct gw_ctrl *c = gw_lm_find(ss, (uint16_t)cmd->sqe.cdw11);
	const bool is_start = (cmd->sqe.cdw10 >> 16 & 1) != 0;
	struct nvme_track_memory head = { 0 };
	uint16_t status = NVME_SC_SUCCESS;
	uint64_t units;

	if (c == NULL)
		return NVME_SC_INVALID_CONTROLLER_ID;
	if (is_suspended(c))
		return NVME_SC_CONTROLLER_SUSPENDED;
	if (is_start) {
		status = read_ranges(cmd, &head, range);
		if (status == NVME_SC_SUCCESS)
			status = check_ranges(c, &head, range, (ss->config.trattr & NVME_TRATTR_POWER_OF_TWO) != 0,
					      &units);
		if (status == NVME_SC_SUCCESS && units > BITS_MAX)
			status = cannot(cmd, &head, range, units);
	}
	if (status != NVME_SC_SUCCESS)
		return status;
	pthread_mutex_lock(&ss->lm_lock);
	if (is_start)
		status = start(cmd, c, &head, range);
	else if (c->track.owner == cmd->ctrl)
		stop(ss, &c->track);
	else
		status = NVME_SC_INVALID_CONTROLLER_ID;
	pthread_mutex_unlock(&ss->lm_lock);
	return status;
}

/* ---- Track Receive ---------------------------------------------------------------------------------- */

/* The next run of set bits at or after *at; it is cleared. */
static bool take_run(uint64_t *bits, uint64_t count, uint64_t *at, uint64_t *run)
{
	while (*at < count && (bits[*at / 64] >> *at % 64 & 1) == 0)
		*at = bits[*at / 64] == 0 ? (*at | 63) + 1 : *at + 1;
	for (*run = 0; *at + *run < count; (*run)++) {
		const uint64_t here = *at + *run, mask = UINT64_C(1) << here % 64;

		if ((bits[here / 64] & mask) == 0)
			break;
		bits[here / 64] &= ~mask;
	}
	return *run > 0;
}

static bool any_bit(const struct gw_memory_track *t)
{
	for (uint32_t i = 0; i < t->ranges; i++) {
		for (uint64_t w = 0; w < (t->range[i].count + UINT64_C(63)) / 64; w++) {
			if (t->bits[i][w] != 0)
				return true;
		}
	}
	return false;
}

/* What is reported is taken away. t->lock is held. */
static void report(struct gw_cmd *cmd, struct gw_memory_track *t, struct nvme_tracked_memory *head,
		   uint32_t room)
{
	const uint64_t unit = unit_bytes(t->granularity);

	for (uint32_t i = 0; i < t->ranges; i++) {
		uint64_t at = 0, run;

		while (head->count < room && take_run(t->bits[i], t->range[i].count, &at, &run)) {
			struct nvme_tracked_range entry = {
				.address = t->range[i].address + at * unit,
				.count = (uint32_t)run,
			};

			gw_xfer_copy(&cmd->xfer, sizeof(*head) + head->count * sizeof(entry), &entry,
				     sizeof(entry), true);
			head->count++;
			at += run;
		}
	}
	if (head->count > 0 && any_bit(t))
		head->attributes |= NVME_TRACKED_MORE;
}

static bool is_tracked_by(struct gw_ctrl *c, const struct gw_ctrl *owner)
{
	bool is;

	pthread_mutex_lock(&c->ss->lm_lock);
	is = c->track.owner == owner;
	pthread_mutex_unlock(&c->ss->lm_lock);
	return is;
}

uint16_t gw_track_receive(struct gw_cmd *cmd)
{
	struct gw_ctrl *c = gw_lm_find(cmd->ctrl->ss, (uint16_t)cmd->sqe.cdw11);
	const uint64_t bytes = (cmd->sqe.cdw12 + UINT64_C(1)) * 4;
	struct nvme_tracked_memory head = { 0 };
	uint16_t status;
	uint32_t room;

	if ((cmd->sqe.cdw10 & 0xff) != NVME_TRACK_RECEIVE_MEMORY)
		return NVME_SC_INVALID_FIELD;
	if (c == NULL || !is_tracked_by(c, cmd->ctrl))
		return NVME_SC_INVALID_CONTROLLER_ID;
	if (bytes < sizeof(head) || bytes > GW_SSD_XFER_BYTES_MAX)
		return NVME_SC_INVALID_FIELD;
	status = gw_xfer_map(cmd, bytes, true);
	if (status != NVME_SC_SUCCESS)
		return status;
	room = (uint32_t)((bytes - sizeof(head)) / sizeof(struct nvme_tracked_range));
	head.cntlid = c->cntlid;
	/* Asked before the bits are read: suspended then is suspended all along. */
	if (is_suspended(c))
		head.attributes |= NVME_TRACKED_SUSPENDED;
	pthread_mutex_lock(&c->track.lock);
	head.granularity = c->track.granularity;
	if (room == 0 && any_bit(&c->track))
		status = NVME_SC_INVALID_FIELD;
	else
		report(cmd, &c->track, &head, room);
	pthread_mutex_unlock(&c->track.lock);
	gw_xfer_copy(&cmd->xfer, 0, &head, sizeof(head), true);
	gw_xfer_written(cmd);
	return status;
}

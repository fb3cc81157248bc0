// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Controller Data Queues of type 0, and what is posted to them: the log of the blocks that a
 * controller changes (Base 5.1.4, 5.1.25.1.23, 5.1.27.1.1, 8.1.6; NVM 1.2 5.6).
 *
 * ss->lm_lock guards all of it. It is taken by the worker whose command changed something, so
 * that entries come in the order of effect; the ring is in the memory of the owner's host.
 */
#include <stdlib.h>
#include <string.h>

#include "ssd.h"

#define ENTRY_BYTES sizeof(struct nvme_lba_change)
#define ENTRY_DWORDS ((uint32_t)(ENTRY_BYTES / 4))
#define SLOTS_MIN 2u
/* What is taken of a list of pages, whatever the limits say: 2 MiB of pointers. */
#define PAGES_MAX (256u << 10)

/* ---- The ring ------------------------------------------------------------------------------------ */

static struct gw_cdq *find(struct gw_subsys *ss, const struct gw_ctrl *owner, uint32_t id)
{
	for (uint32_t i = 0; i < GW_SSD_CDQS_MAX; i++) {
		struct gw_cdq *q = &ss->cdq[i];

		if (q->is_live && q->owner == owner && q->id == id)
			return q;
	}
	return NULL;
}

static struct gw_cdq *find_logged(struct gw_subsys *ss, const struct gw_ctrl *logged)
{
	for (uint32_t i = 0; i < GW_SSD_CDQS_MAX; i++) {
		if (ss->cdq[i].is_live && ss->cdq[i].logged == logged)
			return &ss->cdq[i];
	}
	return NULL;
}

static uint32_t free_slots(const struct gw_cdq *q)
{
	return (q->head + q->slots - q->tail - 1) % q->slots;
}

static uint64_t address_of(const struct gw_cdq *q, uint32_t slot)
{
	const uint64_t offset = slot * ENTRY_BYTES;

	if (q->pages == 0)
		return q->base + offset;
	return q->page[offset / GW_SSD_PAGE_BYTES] + offset % GW_SSD_PAGE_BYTES;
}

/* The byte with the phase tag lands last: with it the entry is posted. */
static bool write_entry(struct gw_cdq *q, const struct nvme_lba_change *entry)
{
	struct gw_dma_map *map = &q->owner->port->map;
	const unsigned int epoch = gw_dma_enter(map);
	uint64_t bytes = ENTRY_BYTES;
	uint8_t *at = gw_dma_at(map, address_of(q, q->tail), GW_DMA_WRITE, &bytes);

	if (at != NULL && bytes >= ENTRY_BYTES) {
		memcpy(at, entry, ENTRY_BYTES - 1);
		atomic_store_explicit((_Atomic uint8_t *)(at + ENTRY_BYTES - 1), entry->attributes,
				      memory_order_release);
	}
	gw_dma_leave(map, epoch);
	return at != NULL && bytes >= ENTRY_BYTES;
}

static uint32_t tail_event(void)
{
	return NVME_EVENT(NVME_EVENT_ONE_SHOT, NVME_ONE_SHOT_CDQ_TAIL, 0);
}

static uint32_t full_event(void)
{
	return NVME_EVENT(NVME_EVENT_ONE_SHOT, NVME_ONE_SHOT_CDQ_FULL, 0);
}

/* There is a free slot. */
static void post_entry(struct gw_cdq *q, uint32_t sequence, uint32_t extent, struct nvme_lba_change entry)
{
	entry.attributes = (uint8_t)((entry.attributes & NVME_CHANGE_DEALLOCATED) | extent << 6 |
				     sequence << 1 | (q->phase ? NVME_CHANGE_PHASE : 0));
	if (!write_entry(q, &entry)) {
		/* The host took the memory away: nothing can be told any more, but that. */
		q->is_logging = false;
		q->lost++;
		gw_ctrl_event(q->owner, NVME_EVENT(NVME_EVENT_ERROR, 3, NVME_LOG_ERROR), 0);
		return;
	}
	q->posted++;
	if (q->has_trigger && q->tail == q->trigger) {
		q->has_trigger = false;
		q->trigger = 0;
		gw_ctrl_event(q->owner, tail_event(), q->id);
	}
	q->tail = (q->tail + 1) % q->slots;
	if (q->tail == 0)
		q->phase = !q->phase;
}

/* range NULL: none (LBACIR 10b). */
static void post(struct gw_cdq *q, uint32_t sequence, const struct nvme_lba_change *range)
{
	const struct nvme_lba_change none = { 0 };

	post_entry(q, sequence, range != NULL ? NVME_CHANGE_RANGE : NVME_CHANGE_NONE,
		   range != NULL ? *range : none);
}

static const struct gw_lm_choices *choice_of(const struct gw_cdq *q)
{
	return &q->owner->ss->config.choice;
}

/*
 * One slot is kept for an entry that ends the log: when it is the only one left and there is a
 * range to tell, it is that one, which carries the range, and logging stops.
 */
static void post_range(struct gw_cdq *q, const struct nvme_lba_change *range)
{
	if (free_slots(q) >= 2) {
		post(q, q->is_first_due ? NVME_CHANGE_FIRST : 0, range);
		q->is_first_due = false;
		return;
	}
	if (free_slots(q) == 1)
		post(q, NVME_CHANGE_LAST_FULL, range);
	else
		q->lost++;
	q->is_logging = false;
	gw_ctrl_event(q->owner, full_event(), q->id);
}

/* What was held back; when the queue is full, the rest of it is lost with all that comes. */
static void post_pending(struct gw_cdq *q)
{
	const bool is_reversed = choice_of(q)->is_newest_first;
	const uint32_t count = q->pendings;

	q->pendings = 0;
	q->is_late = false;
	for (uint32_t i = 0; i < count; i++) {
		if (q->is_logging)
			post_range(q, &q->pending[is_reversed ? count - 1 - i : i]);
		else
			q->lost++;
	}
}

static void post_first_alone(struct gw_cdq *q)
{
	if (!q->is_first_due || !q->is_logging || free_slots(q) < 2)
		return;
	q->is_first_due = false;
	post(q, NVME_CHANGE_FIRST, NULL);
}

/* Now, unless it waits for a range to carry. */
static void post_first(struct gw_cdq *q)
{
	if (!choice_of(q)->has_first_range)
		post_first_alone(q);
}

/* The end of the log, with everything before it. */
static void post_last(struct gw_cdq *q, uint32_t sequence)
{
	post_first(q);
	post_pending(q);
	post_first_alone(q);
	if (!q->is_logging || free_slots(q) == 0)
		return;
	if (choice_of(q)->has_last_whole && q->nsid != 0)
		post_entry(q, sequence, NVME_CHANGE_WHOLE, (struct nvme_lba_change){ .nsid = q->nsid });
	else
		post(q, sequence, NULL);
}

/* A log that goes wrong because it was asked to. Return: true: the range is dealt with. */
static bool misbehave(struct gw_cdq *q, struct gw_ctrl *c, const struct nvme_lba_change *range)
{
	struct nvme_lba_change invented = { .nsid = range->nsid };
	enum gw_fault_action action;
	uint64_t first, count;

	if (!gw_faults_log(&c->faults, range->nsid, range->slba, range->nlb + UINT64_C(1), &action, &first,
			   &count))
		return false;
	post_first(q);
	post_pending(q);
	switch (action) {
	case GW_FAULT_LOG_INVENT:
		invented.slba = first;
		invented.nlb = (uint32_t)(count - 1);
		post_range(q, &invented);
		return false;
	case GW_FAULT_LOG_LATE:
		q->pending[0] = *range;
		q->pendings = 1;
		q->is_late = true;
		return true;
	case GW_FAULT_LOG_OVERFLOW:
		if (!q->is_logging)
			return true;
		post(q, NVME_CHANGE_LAST_FULL, range);
		q->is_logging = false;
		gw_ctrl_event(q->owner, full_event(), q->id);
		return true;
	default:
		return true;		/* forgotten */
	}
}

/* ---- Changes ------------------------------------------------------------------------------------------ */

/* Blocks are those of [first, end). */
static uint64_t end_of(const struct nvme_lba_change *range)
{
	return range->slba + range->nlb + 1;
}

/* Neighbours of the same kind become one, and so do those that share blocks. */
static bool join_one(struct nvme_lba_change *p, const struct nvme_lba_change *range)
{
	const uint64_t first = p->slba < range->slba ? p->slba : range->slba;
	const uint64_t end = end_of(p) > end_of(range) ? end_of(p) : end_of(range);

	if (p->nsid != range->nsid || p->attributes != range->attributes || range->slba > end_of(p) ||
	    p->slba > end_of(range) || end - first > UINT64_C(1) << 32)
		return false;
	p->slba = first;
	p->nlb = (uint32_t)(end - first - 1);
	return true;
}

static bool join(struct gw_cdq *q, const struct nvme_lba_change *range)
{
	for (uint32_t i = 0; i < q->pendings; i++) {
		if (join_one(&q->pending[i], range))
			return true;
	}
	return false;
}

/* Something is held back that is not so any more: blocks were deallocated, and now are not, or the reverse. */
static bool is_overtaken(const struct gw_cdq *q, const struct nvme_lba_change *range)
{
	for (uint32_t i = 0; i < q->pendings; i++) {
		const struct nvme_lba_change *p = &q->pending[i];

		if (p->nsid == range->nsid && p->attributes != range->attributes &&
		    p->slba < end_of(range) && range->slba < end_of(p))
			return true;
	}
	return false;
}

/* Until the window is full, the controller has nothing to do, or the log ends. */
static void hold_back(struct gw_cdq *q, const struct nvme_lba_change *range)
{
	const struct gw_ssd_config *config = &q->owner->ss->config;

	if (q->is_late || is_overtaken(q, range))
		post_pending(q);
	if (config->is_merging && join(q, range))
		return;
	if (q->pendings >= config->choice.window)
		post_pending(q);
	if (q->is_logging)
		q->pending[q->pendings++] = *range;
	if (!config->is_merging && !config->choice.is_late && config->choice.window == 1)
		post_pending(q);
}

void gw_cdq_log(struct gw_ctrl *c, uint32_t nsid, uint64_t slba, uint64_t count, bool is_deallocated)
{
	const struct nvme_lba_change range = {
		.nsid = nsid,
		.nlb = (uint32_t)(count - 1),
		.slba = slba,
		.attributes = is_deallocated ? NVME_CHANGE_DEALLOCATED : 0,
	};
	struct gw_cdq *q;

	if (!c->ss->config.has_migration)
		return;
	pthread_mutex_lock(&c->ss->lm_lock);
	q = find_logged(c->ss, c);
	if (q != NULL)
		q->nsid = nsid;
	if (q != NULL && q->is_logging && !misbehave(q, c, &range)) {
		post_first(q);
		hold_back(q, &range);
	}
	pthread_mutex_unlock(&c->ss->lm_lock);
}

void gw_cdq_idle(struct gw_ctrl *c)
{
	struct gw_cdq *q;

	if (!c->ss->config.has_migration)
		return;
	pthread_mutex_lock(&c->ss->lm_lock);
	q = find_logged(c->ss, c);
	if (q != NULL && !q->is_late)
		post_pending(q);
	pthread_mutex_unlock(&c->ss->lm_lock);
}

/* ---- Create and delete (Base 5.1.4) ------------------------------------------------------------------- */

static void release(struct gw_cdq *q)
{
	gw_ctrl_take_event(q->owner, tail_event(), q->id);
	gw_ctrl_take_event(q->owner, full_event(), q->id);
	free(q->page);
	memset(q, 0, sizeof(*q));
}

static uint32_t pages_of(uint64_t bytes)
{
	return (uint32_t)((bytes + GW_SSD_PAGE_BYTES - 1) / GW_SSD_PAGE_BYTES);
}

/* A list of all pages of the queue, whose own pages may be chained as in any PRP list. */
static uint16_t read_list(struct gw_cmd *cmd, struct gw_cdq *q, uint32_t pages)
{
	struct gw_dma_map *map = &cmd->ctrl->port->map;
	uint64_t at = cmd->sqe.data_pointer[0];

	q->page = calloc(pages, sizeof(*q->page));
	if (q->page == NULL)
		return NVME_SC_NOT_ENOUGH_RESOURCES;
	while (q->pages < pages) {
		const bool is_last = at % GW_SSD_PAGE_BYTES == GW_SSD_PAGE_BYTES - sizeof(at);
		uint64_t entry;

		if (gw_dma_read(map, at, &entry, sizeof(entry)) < 0)
			return NVME_SC_DATA_TRANSFER_ERROR;
		if (entry % GW_SSD_PAGE_BYTES != 0)
			return NVME_SC_PRP_OFFSET_INVALID;
		if (is_last && q->pages + 1 < pages) {
			at = entry;
			continue;
		}
		q->page[q->pages++] = entry;
		at += sizeof(entry);
	}
	return NVME_SC_SUCCESS;
}

/* Not host memory that we may write: Invalid Field. */
static bool is_writable(struct gw_cmd *cmd, const struct gw_cdq *q)
{
	struct gw_dma_map *map = &cmd->ctrl->port->map;

	for (uint32_t slot = 0; slot < q->slots; slot += GW_SSD_PAGE_BYTES / ENTRY_BYTES) {
		uint64_t bytes = ENTRY_BYTES;

		if (gw_dma_at(map, address_of(q, slot), GW_DMA_WRITE, &bytes) == NULL ||
		    gw_dma_is_own(map, address_of(q, slot), 1))
			return false;
	}
	return true;
}

static uint32_t ranges_of(const struct gw_cdq *q)
{
	return q->pages == 0 ? 1 : q->pages;
}

/* The limits that Identify names. lm_lock is held. */
static uint16_t check_limits(struct gw_cmd *cmd, uint32_t ranges, bool is_list)
{
	const struct gw_lm_limits *lm = &cmd->ctrl->ss->config.lm;
	uint32_t own = 0, all = 0, ranges_all = ranges;

	for (uint32_t i = 0; i < GW_SSD_CDQS_MAX; i++) {
		const struct gw_cdq *q = &cmd->ctrl->ss->cdq[i];

		if (!q->is_live)
			continue;
		all++;
		own += q->owner == cmd->ctrl;
		ranges_all += ranges_of(q);
	}
	if ((is_list && lm->pages_max != 0 && ranges > lm->pages_max) ||
	    (lm->ranges_max != 0 && ranges > lm->ranges_max) ||
	    (lm->ranges_subsystem != 0 && ranges_all > lm->ranges_subsystem))
		return NVME_SC_INVALID_FIELD;
	if (own < lm->cdqs && all < lm->cdqs_subsystem && all < GW_SSD_CDQS_MAX)
		return NVME_SC_SUCCESS;
	return cmd->ctrl->ss->config.choice.is_limit_invalid ? NVME_SC_INVALID_FIELD :
							       NVME_SC_NOT_ENOUGH_RESOURCES;
}

/* An identifier that no queue has; 0 is none of them, so that a test sees a missing one. */
static uint16_t new_id(struct gw_subsys *ss, const struct gw_ctrl *owner)
{
	do {
		ss->next_cdq++;
	} while (ss->next_cdq == 0 || find(ss, owner, ss->next_cdq) != NULL);
	return ss->next_cdq;
}

static uint16_t install(struct gw_cmd *cmd, struct gw_cdq *fresh)
{
	struct gw_subsys *ss = cmd->ctrl->ss;
	uint16_t status;

	if (find_logged(ss, fresh->logged) != NULL)
		return NVME_SC_INVALID_FIELD;
	status = check_limits(cmd, ranges_of(fresh), fresh->pages != 0);
	if (status != NVME_SC_SUCCESS)
		return status;
	/* A reset deletes all queues after the last command: one that comes later may not stay. */
	if (gw_cmd_is_stale(cmd))
		return NVME_SC_ABORT_REQUESTED;
	for (uint32_t i = 0; i < GW_SSD_CDQS_MAX; i++) {
		if (ss->cdq[i].is_live)
			continue;
		fresh->id = new_id(ss, cmd->ctrl);
		ss->cdq[i] = *fresh;
		cmd->dw0 = fresh->id;
		return NVME_SC_SUCCESS;
	}
	return NVME_SC_NOT_ENOUGH_RESOURCES;
}

static uint16_t check_create(const struct gw_cmd *cmd, const struct gw_cdq *fresh)
{
	const uint32_t mos = cmd->sqe.cdw10 >> 16, dwords = cmd->sqe.cdw12;

	if ((mos & 0xff) != NVME_CDQ_TYPE_USER_DATA)
		return NVME_SC_INVALID_FIELD;
	if (cmd->sqe.data_pointer[0] % GW_SSD_PAGE_BYTES != 0)
		return NVME_SC_PRP_OFFSET_INVALID;
	if (dwords % ENTRY_DWORDS != 0 || dwords / ENTRY_DWORDS < SLOTS_MIN)
		return NVME_SC_INVALID_FIELD;
	return fresh->logged == NULL ? NVME_SC_INVALID_CONTROLLER_ID : NVME_SC_SUCCESS;
}

static uint16_t fill(struct gw_cmd *cmd, struct gw_cdq *fresh)
{
	const uint32_t pages = pages_of(cmd->sqe.cdw12 * UINT64_C(4));
	const uint16_t limit = cmd->ctrl->ss->config.lm.pages_max;
	uint16_t status = check_create(cmd, fresh);

	if (status != NVME_SC_SUCCESS)
		return status;
	if (gw_dma_is_own(&cmd->ctrl->port->map, cmd->sqe.data_pointer[0], 1))
		return NVME_SC_INVALID_FIELD;
	if ((cmd->sqe.cdw11 & NVME_CDQ_CONTIGUOUS) == 0) {
		if (pages > PAGES_MAX || (limit != 0 && pages > limit))
			return NVME_SC_INVALID_FIELD;
		status = read_list(cmd, fresh, pages);
	}
	if (status != NVME_SC_SUCCESS)
		return status;
	return is_writable(cmd, fresh) ? NVME_SC_SUCCESS : NVME_SC_INVALID_FIELD;
}

static uint16_t create(struct gw_cmd *cmd)
{
	struct gw_cdq fresh = {
		.is_live = true,
		.phase = true,
		.owner = cmd->ctrl,
		.logged = gw_lm_find(cmd->ctrl->ss, (uint16_t)(cmd->sqe.cdw11 >> 16)),
		.slots = cmd->sqe.cdw12 / ENTRY_DWORDS,
		.base = cmd->sqe.data_pointer[0],
	};
	uint16_t status = fill(cmd, &fresh);

	if (status == NVME_SC_SUCCESS) {
		pthread_mutex_lock(&cmd->ctrl->ss->lm_lock);
		status = install(cmd, &fresh);
		pthread_mutex_unlock(&cmd->ctrl->ss->lm_lock);
	}
	if (status != NVME_SC_SUCCESS)
		free(fresh.page);
	return status;
}

static uint16_t delete(struct gw_cmd *cmd)
{
	struct gw_subsys *ss = cmd->ctrl->ss;
	struct gw_cdq *q;

	pthread_mutex_lock(&ss->lm_lock);
	q = find(ss, cmd->ctrl, cmd->sqe.cdw11 & 0xffff);
	if (q != NULL)
		release(q);
	pthread_mutex_unlock(&ss->lm_lock);
	return q != NULL ? NVME_SC_SUCCESS : NVME_SC_INVALID_CDQ;
}

uint16_t gw_cdq_command(struct gw_cmd *cmd)
{
	switch (cmd->sqe.cdw10 & 0xff) {
	case NVME_CDQ_CREATE:
		return create(cmd);
	case NVME_CDQ_DELETE:
		return delete(cmd);
	default:
		return NVME_SC_INVALID_FIELD;
	}
}

void gw_cdq_delete_of(struct gw_ctrl *owner)
{
	struct gw_subsys *ss = owner->ss;

	pthread_mutex_lock(&ss->lm_lock);
	for (uint32_t i = 0; i < GW_SSD_CDQS_MAX; i++) {
		if (ss->cdq[i].is_live && ss->cdq[i].owner == owner)
			release(&ss->cdq[i]);
	}
	pthread_mutex_unlock(&ss->lm_lock);
}

/* ---- Head and trigger (Base 5.1.25.1.23) ------------------------------------------------------------------ */

/* head .. tail, the tail included: how else would a queue become empty? */
static bool is_between(const struct gw_cdq *q, uint32_t head)
{
	if (head >= q->slots)
		return false;
	return (head + q->slots - q->head) % q->slots <= (q->tail + q->slots - q->head) % q->slots;
}

static uint16_t set_locked(struct gw_cmd *cmd)
{
	struct gw_cdq *q = find(cmd->ctrl->ss, cmd->ctrl, cmd->sqe.cdw11 & 0xffff);
	const bool has_trigger = (cmd->sqe.cdw11 & NVME_CDQ_TRIGGER) != 0;

	if (q == NULL)
		return NVME_SC_INVALID_CDQ;
	if (!is_between(q, cmd->sqe.cdw12) || (has_trigger && cmd->sqe.cdw13 >= q->slots))
		return NVME_SC_INVALID_FIELD;
	q->head = cmd->sqe.cdw12;
	q->has_trigger = has_trigger;
	q->trigger = has_trigger ? cmd->sqe.cdw13 : 0;
	gw_ctrl_take_event(cmd->ctrl, tail_event(), q->id);
	post_first(q);		/* it may have waited for room */
	return NVME_SC_SUCCESS;
}

uint16_t gw_cdq_set_feature(struct gw_cmd *cmd)
{
	uint16_t status;

	pthread_mutex_lock(&cmd->ctrl->ss->lm_lock);
	status = set_locked(cmd);
	pthread_mutex_unlock(&cmd->ctrl->ss->lm_lock);
	return status;
}

uint16_t gw_cdq_get_feature(struct gw_cmd *cmd)
{
	struct gw_subsys *ss = cmd->ctrl->ss;
	struct nvme_cdq_feature data = { 0 };
	const struct gw_cdq *q;

	pthread_mutex_lock(&ss->lm_lock);
	q = find(ss, cmd->ctrl, cmd->sqe.cdw11 & 0xffff);
	if (q != NULL) {
		data.head = q->head;
		data.trigger = q->trigger;
		cmd->dw0 = q->id | (q->has_trigger ? NVME_CDQ_TRIGGER : 0);
	}
	pthread_mutex_unlock(&ss->lm_lock);
	return q != NULL ? gw_xfer_to_host(cmd, &data, sizeof(data)) : NVME_SC_INVALID_CDQ;
}

/* ---- Track Send, Log User Data Changes (Base 5.1.27.1.1) ------------------------------------------------------ */

static bool is_suspended(struct gw_ctrl *c)
{
	bool is;

	pthread_mutex_lock(&c->lock);
	is = c->is_suspended;
	pthread_mutex_unlock(&c->lock);
	return is;
}

static uint16_t start(struct gw_cdq *q)
{
	if (q->is_logging)
		return NVME_SC_INVALID_CDQ;
	if (free_slots(q) < 2 && !choice_of(q)->is_start_taken)
		return NVME_SC_CDQ_FULL;
	q->is_logging = true;
	q->is_first_due = true;
	q->pendings = 0;
	post_first(q);
	return NVME_SC_SUCCESS;
}

static uint16_t track_locked(struct gw_cmd *cmd)
{
	struct gw_cdq *q = find(cmd->ctrl->ss, cmd->ctrl, cmd->sqe.cdw11 & 0xffff);
	const uint32_t action = cmd->sqe.cdw10 >> 16 & 0xf;
	uint16_t status = NVME_SC_SUCCESS;

	if (action != NVME_TRACK_START && action != NVME_TRACK_STOP)
		return NVME_SC_INVALID_FIELD;
	if (q == NULL)
		return NVME_SC_INVALID_CDQ;
	if (is_suspended(q->logged))
		return NVME_SC_CONTROLLER_SUSPENDED;
	if (action == NVME_TRACK_START) {
		status = start(q);
	} else if (q->is_logging) {
		post_last(q, NVME_CHANGE_LAST_STOPPED);
		q->is_logging = false;
	}
	if (status == NVME_SC_SUCCESS)
		gw_ctrl_take_event(cmd->ctrl, full_event(), q->id);
	return status;
}

uint16_t gw_cdq_track(struct gw_cmd *cmd)
{
	uint16_t status;

	pthread_mutex_lock(&cmd->ctrl->ss->lm_lock);
	status = track_locked(cmd);
	pthread_mutex_unlock(&cmd->ctrl->ss->lm_lock);
	return status;
}

/* ---- Suspend and resume of the controller that is logged ------------------------------------------------------ */

void gw_cdq_suspended(struct gw_ctrl *c, bool is_deleting)
{
	struct gw_cdq *q;

	pthread_mutex_lock(&c->ss->lm_lock);
	q = find_logged(c->ss, c);
	if (q != NULL && q->is_logging && !q->is_held) {
		post_last(q, NVME_CHANGE_LAST_SUSPENDED);
		q->is_held = q->is_logging;
		q->is_logging = false;
	}
	if (q != NULL && is_deleting)
		release(q);
	pthread_mutex_unlock(&c->ss->lm_lock);
}

void gw_cdq_resumed(struct gw_ctrl *c)
{
	struct gw_cdq *q;

	pthread_mutex_lock(&c->ss->lm_lock);
	q = find_logged(c->ss, c);
	if (q != NULL && q->is_held) {
		q->is_held = false;
		q->is_logging = true;
		q->is_first_due = true;
		post_first(q);
	}
	pthread_mutex_unlock(&c->ss->lm_lock);
}

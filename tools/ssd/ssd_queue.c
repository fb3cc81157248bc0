// SPDX-License-Identifier: GPL-2.0-or-later
/* Submission and completion queues in guest memory (Base 3.3, 5.2). c->lock is held. */
#include <assert.h>
#include <string.h>

#include "ssd.h"

#define DOORBELL_BYTES 4u

/* Interrupts for several completions: entries, and how long is waited for the next one. */
#define GATHER_MAX 8u
#define GATHER_NS (100 * UINT64_C(1000))
#define TAKE_NS (500 * UINT64_C(1000))	/* for the host to take what it was told of */
/* Each so many interrupts, how many commands the host has under way is looked at anew. */
#define PROBE_FIRST 16u
#define PROBE_EVERY 64u
#define PROBE_SELDOM 1024u		/* if it was one */
#define PROBE_NS (300 * UINT64_C(1000))

/* Entries that the host has not taken. */
static uint32_t entries_in(const struct gw_cq *cq)
{
	return (cq->tail + cq->size - cq->head) % cq->size;
}

bool gw_queue_has_room(const struct gw_cq *cq)
{
	return cq->is_live && entries_in(cq) + cq->promised + 1 < cq->size;
}

static bool has_work(const struct gw_ctrl *c, const struct gw_sq *sq)
{
	return sq->is_live && sq->head != sq->tail && gw_queue_has_room(&c->cq[sq->cqid]);
}

bool gw_queue_is_alone(const struct gw_ctrl *c, const struct gw_sq *sq)
{
	const struct gw_cq *cq = &c->cq[sq->cqid];

	return (sq->head + 1) % sq->size == sq->tail && entries_in(cq) == 0 && cq->load <= 1 &&
	       cq->probe_in > 0;
}

struct gw_sq *gw_queue_next(struct gw_ctrl *c, uint16_t *sqid)
{
	if ((c->csts & (NVME_CSTS_RDY | NVME_CSTS_CFS)) != NVME_CSTS_RDY || c->is_suspended ||
	    c->port == NULL || !atomic_load(&c->port->is_bus_master) || atomic_load(&c->is_removed))
		return NULL;
	if (has_work(c, &c->sq[0]))
		return *sqid = 0, &c->sq[0];
	for (uint32_t i = 0; i < GW_SSD_QUEUES_MAX; i++) {
		const uint32_t at = 1 + (c->next_sq + i) % GW_SSD_QUEUES_MAX;

		if (!has_work(c, &c->sq[at]))
			continue;
		c->next_sq = at;	/* round robin: the one after it is next */
		*sqid = (uint16_t)at;
		return &c->sq[at];
	}
	return NULL;
}

bool gw_queue_peek(struct gw_ctrl *c, const struct gw_sq *sq, struct gw_nvme_sqe *sqe)
{
	if (gw_dma_read(&c->port->map, sq->base + sq->head * sizeof(*sqe), sqe, sizeof(*sqe)) == 0)
		return true;
	gw_ctrl_fail_locked(c);
	return false;
}

void gw_queue_take(struct gw_ctrl *c, struct gw_sq *sq)
{
	sq->head = (sq->head + 1) % sq->size;
	c->cq[sq->cqid].promised++;
}

void gw_queue_keep_promise(struct gw_ctrl *c, uint16_t sqid)
{
	struct gw_cq *cq = &c->cq[c->sq[sqid].cqid];

	assert(cq->promised > 0);
	cq->promised--;
}

/* The last dword carries the phase tag, and is what the host looks at: it lands last. */
static bool write_entry(struct gw_ctrl *c, uint64_t iova, const struct nvme_cqe *cqe)
{
	uint64_t bytes = sizeof(*cqe);
	uint8_t *at = gw_dma_at(&c->port->map, iova, GW_DMA_WRITE, &bytes);
	uint32_t last;

	if (at == NULL || bytes < sizeof(*cqe) || ((uintptr_t)at & 3) != 0)
		return false;
	memcpy(at, cqe, sizeof(*cqe) - sizeof(last));
	memcpy(&last, (const uint8_t *)cqe + sizeof(*cqe) - sizeof(last), sizeof(last));
	atomic_store_explicit((_Atomic uint32_t *)(void *)(at + sizeof(*cqe) - sizeof(last)), last,
			      memory_order_release);
	gw_track_note(c, iova, sizeof(*cqe));
	return true;
}

/* An error is final unless trying again may help. */
static uint16_t with_dnr(uint16_t status)
{
	return status == NVME_SC_SUCCESS || status == NVME_SC_ABORT_REQUESTED ||
			       status == NVME_SC_NAMESPACE_NOT_READY ?
		       status :
		       (uint16_t)(status | NVME_STATUS_DNR);
}

void gw_queue_post(struct gw_ctrl *c, uint16_t sqid, uint16_t cid, uint16_t status, uint32_t dw0,
		   uint32_t dw1)
{
	struct gw_cq *cq = &c->cq[c->sq[sqid].cqid];
	const struct nvme_cqe cqe = {
		.dw0 = dw0,
		.dw1 = dw1,
		.sqhd = (uint16_t)(c->sq[sqid].head ^ c->twist.sqhd),
		.sqid = sqid ^ c->twist.sqid,
		.cid = cid,
		.status = (uint16_t)(((uint32_t)with_dnr(status) << 1 | (cq->phase ? NVME_CQE_PHASE : 0)) ^
				     c->twist.status),
	};

	/* The queue may have been deleted while its command was being executed. */
	if (!c->sq[sqid].is_live || !gw_queue_has_room(cq))
		return;
	if (!write_entry(c, cq->base + cq->tail * sizeof(cqe), &cqe)) {
		gw_ctrl_fail_locked(c);
		return;
	}
	cq->tail = (cq->tail + 1) % cq->size;
	if (cq->tail == 0)
		cq->phase = !cq->phase;
}

/* ---- Interrupts ------------------------------------------------------------------------------------- */

static void tell(struct gw_ctrl *c, struct gw_cq *cq)
{
	cq->told = entries_in(cq);
	if (cq->probe_in > 0)
		cq->probe_in--;
	gw_port_interrupt(c->port, cq->vector);
}

static bool is_owing(const struct gw_cq *cq)
{
	return cq->is_live && cq->has_interrupts && entries_in(cq) > cq->told;
}

/*
 * A host that has many commands under way can have an interrupt for several, as long as it has as many
 * again to go on with. How many those are shows when it is told of none until no more come.
 */
static uint32_t enough(const struct gw_cq *cq)
{
	if (cq->probe_in == 0)
		return 2 * GATHER_MAX;
	return cq->load / 2 < GATHER_MAX ? cq->load / 2 : GATHER_MAX;
}

static void end_probe(struct gw_cq *cq)
{
	if (cq->probe_in > 0)
		return;
	cq->load = entries_in(cq);
	cq->probe_in = cq->load > 1 ? PROBE_EVERY : PROBE_SELDOM;
}

/*
 * A host that was told of entries takes them, and looks for more behind them; what it misses shows when
 * its doorbell comes, which is when it is told. Not of the admin queue, nor where the host wants no
 * coalescing (feature 09h).
 */
static bool may_wait(const struct gw_ctrl *c, uint32_t cqid)
{
	const struct gw_cq *cq = &c->cq[cqid];

	if (cqid == 0 || (c->feature.vector[cq->vector] & NVME_VECTOR_NO_COALESCING) != 0)
		return false;
	return cq->told > 0 || entries_in(cq) < enough(cq);
}

void gw_queue_signal(struct gw_ctrl *c, bool is_all)
{
	for (uint32_t i = 0; i <= GW_SSD_QUEUES_MAX; i++) {
		struct gw_cq *cq = &c->cq[i];

		if (!is_owing(cq) || (!is_all && may_wait(c, i)))
			continue;
		if (!is_all)
			end_probe(cq);
		tell(c, cq);
	}
}

void gw_queue_signal_again(struct gw_ctrl *c)
{
	for (uint32_t i = 0; i <= GW_SSD_QUEUES_MAX; i++)
		c->cq[i].told = 0;
	gw_queue_signal(c, true);
}

uint64_t gw_queue_patience_ns(const struct gw_ctrl *c)
{
	uint64_t least_ns = 0;

	for (uint32_t i = 0; i <= GW_SSD_QUEUES_MAX; i++) {
		const struct gw_cq *cq = &c->cq[i];
		const uint64_t ns = cq->told > 0 ? TAKE_NS : cq->probe_in == 0 ? PROBE_NS : GATHER_NS;

		if (is_owing(cq) && (least_ns == 0 || ns < least_ns))
			least_ns = ns;
	}
	return least_ns;
}

void gw_queue_lose_patience(struct gw_ctrl *c)
{
	for (uint32_t i = 0; i <= GW_SSD_QUEUES_MAX; i++) {
		struct gw_cq *cq = &c->cq[i];

		if (!is_owing(cq))
			continue;
		if (cq->told == 0)
			end_probe(cq);
		tell(c, cq);
	}
}

/* ---- Doorbells -------------------------------------------------------------------------------------- */

/* Return: true: there was no room, and now there is. */
static bool move_head(struct gw_ctrl *c, uint32_t cqid, uint32_t head)
{
	struct gw_cq *cq = &c->cq[cqid];
	const bool was_full = !gw_queue_has_room(cq);
	const uint32_t taken = (head + cq->size - cq->head) % cq->size;

	cq->head = head;
	cq->told = cq->told > taken ? cq->told - taken : 0;
	if (is_owing(cq) && cq->told == 0)
		tell(c, cq);
	return was_full;
}

bool gw_queue_doorbell(struct gw_ctrl *c, uint32_t offset, uint32_t value)
{
	const uint32_t number = (offset - NVME_REG_DOORBELLS) / DOORBELL_BYTES;
	const uint32_t qid = number / 2;
	const bool is_cq = (number & 1) != 0;

	if ((c->csts & NVME_CSTS_RDY) == 0)
		return false;
	if (qid > GW_SSD_QUEUES_MAX || !(is_cq ? c->cq[qid].is_live : c->sq[qid].is_live)) {
		gw_ctrl_event_locked(c, NVME_EVENT(NVME_EVENT_ERROR, 0, NVME_LOG_ERROR), 0);
		return false;
	}
	if (value >= (is_cq ? c->cq[qid].size : c->sq[qid].size)) {
		gw_ctrl_event_locked(c, NVME_EVENT(NVME_EVENT_ERROR, 1, NVME_LOG_ERROR), 0);
		return false;
	}
	/* Nobody waits for room that there was: a wake for each completion costs a lot. */
	if (is_cq)
		return move_head(c, qid, value);
	c->sq[qid].tail = value;
	return true;
}

void gw_queue_open_admin(struct gw_ctrl *c)
{
	c->sq[0] = (struct gw_sq){
		.is_live = true,
		.size = (c->aqa & 0xfff) + 1,
		.base = c->asq,
	};
	c->cq[0] = (struct gw_cq){
		.is_live = true,
		.has_interrupts = true,
		.phase = true,
		.size = (c->aqa >> 16 & 0xfff) + 1,
		.sqs = 1,
		.base = c->acq,
	};
}

void gw_queue_close_all(struct gw_ctrl *c)
{
	memset(c->sq, 0, sizeof(c->sq));
	memset(c->cq, 0, sizeof(c->cq));
	c->next_sq = 0;
}

/* ---- Create and delete (Base 5.2.1 to 5.2.4) ---------------------------------------------------- */

static uint16_t check_new(const struct gw_ctrl *c, const struct gw_nvme_sqe *sqe, bool is_taken)
{
	const uint32_t qid = sqe->cdw10 & 0xffff, qsize = sqe->cdw10 >> 16;

	if (qid == 0 || qid > c->feature.queues + 1u || is_taken)
		return NVME_SC_INVALID_QID;
	if (qsize == 0 || qsize >= c->ss->config.limits.queue_entries)
		return NVME_SC_INVALID_QUEUE_SIZE;
	if ((sqe->cdw11 & NVME_QUEUE_CONTIGUOUS) == 0)
		return NVME_SC_INVALID_FIELD;	/* CAP.CQR */
	if (sqe->data_pointer[0] % GW_SSD_PAGE_BYTES != 0)
		return NVME_SC_PRP_OFFSET_INVALID;
	return NVME_SC_SUCCESS;
}

static uint16_t create_cq(struct gw_ctrl *c, const struct gw_nvme_sqe *sqe)
{
	const uint32_t qid = sqe->cdw10 & 0xffff, vector = sqe->cdw11 >> 16;
	const bool is_taken = qid <= GW_SSD_QUEUES_MAX && c->cq[qid].is_live;
	const uint16_t status = check_new(c, sqe, is_taken);

	if (status != NVME_SC_SUCCESS)
		return status;
	if (NVME_CC_IOCQES(c->cc) != 4)
		return NVME_SC_INVALID_QUEUE_SIZE;
	if (vector >= c->ss->config.limits.vectors)
		return NVME_SC_INVALID_VECTOR;
	c->cq[qid] = (struct gw_cq){
		.is_live = true,
		.has_interrupts = (sqe->cdw11 & NVME_CQ_INTERRUPTS) != 0,
		.vector = (uint16_t)vector,
		.phase = true,
		.probe_in = PROBE_FIRST,
		.size = (sqe->cdw10 >> 16) + 1,
		.base = sqe->data_pointer[0],
	};
	return NVME_SC_SUCCESS;
}

static uint16_t create_sq(struct gw_ctrl *c, const struct gw_nvme_sqe *sqe)
{
	const uint32_t qid = sqe->cdw10 & 0xffff, cqid = sqe->cdw11 >> 16;
	const bool is_taken = qid <= GW_SSD_QUEUES_MAX && c->sq[qid].is_live;
	const uint16_t status = check_new(c, sqe, is_taken);

	if (status != NVME_SC_SUCCESS)
		return status;
	if (NVME_CC_IOSQES(c->cc) != 6)
		return NVME_SC_INVALID_QUEUE_SIZE;
	if (cqid == 0 || cqid > GW_SSD_QUEUES_MAX)
		return NVME_SC_INVALID_QID;
	if (!c->cq[cqid].is_live)
		return NVME_SC_INVALID_CQ;
	c->sq[qid] = (struct gw_sq){
		.is_live = true,
		.cqid = (uint16_t)cqid,
		.priority = sqe->cdw11 >> 1 & 3,
		.size = (sqe->cdw10 >> 16) + 1,
		.base = sqe->data_pointer[0],
	};
	c->cq[cqid].sqs++;
	return NVME_SC_SUCCESS;
}

static uint16_t delete_cq(struct gw_ctrl *c, const struct gw_nvme_sqe *sqe)
{
	const uint32_t qid = sqe->cdw10 & 0xffff;

	if (qid == 0 || qid > GW_SSD_QUEUES_MAX || !c->cq[qid].is_live)
		return NVME_SC_INVALID_QID;
	if (c->cq[qid].sqs > 0)
		return NVME_SC_INVALID_QUEUE_DELETION;
	gw_queue_signal(c, true);
	c->cq[qid].is_live = false;
	return NVME_SC_SUCCESS;
}

/* An admin command is executed alone, so that none of this queue is under way. */
static uint16_t delete_sq(struct gw_ctrl *c, const struct gw_nvme_sqe *sqe)
{
	const uint32_t qid = sqe->cdw10 & 0xffff;

	if (qid == 0 || qid > GW_SSD_QUEUES_MAX || !c->sq[qid].is_live)
		return NVME_SC_INVALID_QID;
	c->cq[c->sq[qid].cqid].sqs--;
	c->sq[qid].is_live = false;
	return NVME_SC_SUCCESS;
}

/* A reset may have come since the command was fetched: then there is nothing to create. */
static uint16_t locked(struct gw_cmd *cmd,
		       uint16_t (*fn)(struct gw_ctrl *c, const struct gw_nvme_sqe *sqe))
{
	uint16_t status = NVME_SC_ABORT_REQUESTED;

	pthread_mutex_lock(&cmd->ctrl->lock);
	if (cmd->generation == cmd->ctrl->generation)
		status = fn(cmd->ctrl, &cmd->sqe);
	pthread_mutex_unlock(&cmd->ctrl->lock);
	return status;
}

uint16_t gw_queue_create_cq(struct gw_cmd *cmd)
{
	return locked(cmd, create_cq);
}

uint16_t gw_queue_create_sq(struct gw_cmd *cmd)
{
	return locked(cmd, create_sq);
}

uint16_t gw_queue_delete_cq(struct gw_cmd *cmd)
{
	return locked(cmd, delete_cq);
}

uint16_t gw_queue_delete_sq(struct gw_cmd *cmd)
{
	return locked(cmd, delete_sq);
}

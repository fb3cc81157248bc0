// SPDX-License-Identifier: GPL-2.0-or-later
/* Submission and completion queues in guest memory (Base 3.3, 5.2). c->lock is held. */
#include <string.h>

#include "ssd.h"

/* An interrupt may wait for that many completions as long as there is more work. */
#define SIGNAL_BATCH 8u
#define DOORBELL_BYTES 4u

bool gw_queue_has_room(const struct gw_cq *cq)
{
	return cq->is_live && (cq->tail + 1) % cq->size != cq->head;
}

static bool has_work(const struct gw_ctrl *c, const struct gw_sq *sq)
{
	return sq->is_live && sq->head != sq->tail && gw_queue_has_room(&c->cq[sq->cqid]);
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

bool gw_queue_fetch(struct gw_ctrl *c, struct gw_sq *sq, struct gw_nvme_sqe *sqe)
{
	if (gw_dma_read(&c->port->map, sq->base + sq->head * sizeof(*sqe), sqe, sizeof(*sqe)) < 0) {
		gw_ctrl_fail_locked(c);
		return false;
	}
	sq->head = (sq->head + 1) % sq->size;
	return true;
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
	cq->unsignalled++;
}

void gw_queue_signal(struct gw_ctrl *c, bool is_all)
{
	for (uint32_t i = 0; i <= GW_SSD_QUEUES_MAX; i++) {
		struct gw_cq *cq = &c->cq[i];

		if (cq->unsignalled == 0 || (!is_all && cq->unsignalled < SIGNAL_BATCH))
			continue;
		cq->unsignalled = 0;
		if (cq->is_live && cq->has_interrupts)
			gw_port_interrupt(c->port, cq->vector);
	}
}

void gw_queue_doorbell(struct gw_ctrl *c, uint32_t offset, uint32_t value)
{
	const uint32_t number = (offset - NVME_REG_DOORBELLS) / DOORBELL_BYTES;
	const uint32_t qid = number / 2;
	const bool is_cq = (number & 1) != 0;

	if ((c->csts & NVME_CSTS_RDY) == 0)
		return;
	if (qid > GW_SSD_QUEUES_MAX || !(is_cq ? c->cq[qid].is_live : c->sq[qid].is_live)) {
		gw_ctrl_event_locked(c, NVME_EVENT(NVME_EVENT_ERROR, 0, NVME_LOG_ERROR), 0);
		return;
	}
	if (value >= (is_cq ? c->cq[qid].size : c->sq[qid].size)) {
		gw_ctrl_event_locked(c, NVME_EVENT(NVME_EVENT_ERROR, 1, NVME_LOG_ERROR), 0);
		return;
	}
	if (is_cq) {
		const bool was_full = !gw_queue_has_room(&c->cq[qid]);

		c->cq[qid].head = value;
		/* Nobody waits for room that there was: a wake for each completion costs a lot. */
		if (!was_full)
			return;
	} else {
		c->sq[qid].tail = value;
	}
	pthread_cond_broadcast(&c->wake);
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

/* Commands are executed one by one, so that none of this queue is under way. */
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

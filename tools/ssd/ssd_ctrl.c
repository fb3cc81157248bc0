// SPDX-License-Identifier: GPL-2.0-or-later
/* A controller: its registers, its worker, its events. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "clock.h"
#include "ssd.h"

/* ---- Registers ----------------------------------------------------------------------------------- */

uint64_t gw_ctrl_cap(const struct gw_ctrl *c)
{
	return (c->ss->config.limits.queue_entries - 1) | NVME_CAP_CQR | UINT64_C(20) << NVME_CAP_TO_SHIFT |
	       NVME_CAP_CSS_NVM | (c->cmb.bytes > 0 ? NVME_CAP_CMBS : 0);
}

uint32_t gw_ctrl_version(const struct gw_ctrl *c)
{
	return c->ss->config.version;
}

static uint64_t read_register(const struct gw_ctrl *c, uint32_t offset)
{
	switch (offset) {
	case NVME_REG_CAP:
		return gw_ctrl_cap(c);
	case NVME_REG_VS:
		return gw_ctrl_version(c);
	case NVME_REG_CC:
		return c->cc;
	case NVME_REG_CSTS:
		return c->csts;
	case NVME_REG_AQA:
		return c->aqa;
	case NVME_REG_ASQ:
		return c->asq;
	case NVME_REG_ACQ:
		return c->acq;
	default:
		return gw_cmb_register(c, offset);
	}
}

uint64_t gw_ctrl_read(struct gw_ctrl *c, uint32_t offset, uint32_t bytes)
{
	uint64_t value;

	if (atomic_load(&c->is_removed))
		return bytes == 4 ? UINT32_MAX : UINT64_MAX;
	pthread_mutex_lock(&c->lock);
	value = read_register(c, offset & ~4u);
	/* Either half of the wide ones; the narrow ones stand for themselves. */
	if ((offset & ~4u) == NVME_REG_CAP || (offset & ~4u) == NVME_REG_ASQ ||
	    (offset & ~4u) == NVME_REG_ACQ || (offset & ~4u) == NVME_REG_CMBMSC)
		value = (offset & 4) != 0 ? value >> 32 : value;
	else
		value = read_register(c, offset) |
			(bytes == 8 ? read_register(c, offset + 4) << 32 : 0);
	pthread_mutex_unlock(&c->lock);
	return bytes == 4 ? (uint32_t)value : value;
}

static bool can_enable(const struct gw_ctrl *c)
{
	return NVME_CC_MPS(c->cc) == 0 && NVME_CC_CSS(c->cc) == 0 && NVME_CC_AMS(c->cc) == 0 &&
	       (c->aqa & 0xfff) > 0 && (c->aqa >> 16 & 0xfff) > 0;
}

/* What a Controller Level Reset takes away; the admin queue's place stays. */
static void reset_locked(struct gw_ctrl *c)
{
	c->generation++;
	c->csts = 0;
	c->is_suspended = false;
	c->is_shutting_down = false;
	gw_queue_close_all(c);
	c->aers = 0;
	c->events = 0;
	c->masked_events = 0;
	c->changed_namespaces = 0;
	gw_features_begin(c);
	pthread_cond_broadcast(&c->wake);
}

/* No lock is held. The last command of the old life ends before this returns. */
static void finish_reset(struct gw_ctrl *c)
{
	if (c->port != NULL)
		gw_dma_synchronize(&c->port->map);
	/* If it was suspended, it is no more: its log goes on. */
	gw_cdq_resumed(c);
	if (!c->is_manager)
		return;
	gw_cdq_delete_of(c);
	gw_lm_manager_reset(c);
}

void gw_ctrl_reset(struct gw_ctrl *c)
{
	pthread_mutex_lock(&c->lock);
	if ((c->csts & NVME_CSTS_RDY) != 0 && (c->csts & NVME_CSTS_SHST_MASK) == 0)
		c->counters.unsafe_shutdowns++;
	c->cc = 0;
	c->aqa = 0;
	c->asq = 0;
	c->acq = 0;
	c->cmb.control = 0;
	reset_locked(c);
	pthread_mutex_unlock(&c->lock);
	gw_cmb_apply(c);
	finish_reset(c);
}

/* Return: true: finish_reset() is due, once the lock is gone. */
static bool write_cc(struct gw_ctrl *c, uint32_t value)
{
	const uint32_t old = c->cc;
	bool was_reset = false;

	c->cc = value & 0x00fffff1;
	if ((old & NVME_CC_EN) != 0 && (value & NVME_CC_EN) == 0) {
		reset_locked(c);
		was_reset = true;
	} else if ((old & NVME_CC_EN) == 0 && (value & NVME_CC_EN) != 0) {
		if (can_enable(c)) {
			gw_queue_open_admin(c);
			c->keep_alive_ns = gw_now_ns(&gw_clock_monotonic);
			c->csts = NVME_CSTS_RDY;
		} else {
			c->csts = NVME_CSTS_CFS;
		}
	}
	if (NVME_CC_SHN(value) != 0 && NVME_CC_SHN(old) == 0)
		c->is_shutting_down = true;
	pthread_cond_broadcast(&c->wake);
	return was_reset;
}

static void set_half(uint64_t *wide, uint32_t offset, uint32_t value)
{
	if ((offset & 4) != 0)
		*wide = (*wide & UINT32_MAX) | (uint64_t)value << 32;
	else
		*wide = (*wide & ~(uint64_t)UINT32_MAX) | (value & ~(GW_SSD_PAGE_BYTES - 1));
}

/* Return: as write_cc(). */
static bool write_word(struct gw_ctrl *c, uint32_t offset, uint32_t value)
{
	switch (offset) {
	case NVME_REG_CC:
		return write_cc(c, value);
	case NVME_REG_AQA:
		c->aqa = value & 0x0fff0fff;
		break;
	case NVME_REG_ASQ:
	case NVME_REG_ASQ + 4:
		set_half(&c->asq, offset, value);
		break;
	case NVME_REG_ACQ:
	case NVME_REG_ACQ + 4:
		set_half(&c->acq, offset, value);
		break;
	case NVME_REG_CMBMSC:
	case NVME_REG_CMBMSC + 4:
		gw_cmb_control(c, offset, value);
		break;
	default:
		break;		/* read only, or not there */
	}
	return false;
}

void gw_ctrl_wake(struct gw_ctrl *c)
{
	pthread_mutex_lock(&c->lock);
	pthread_cond_broadcast(&c->wake);
	pthread_mutex_unlock(&c->lock);
}

void gw_ctrl_fail_locked(struct gw_ctrl *c)
{
	c->csts |= NVME_CSTS_CFS;
}

/* ---- Events (Base 5.1.2) --------------------------------------------------------------------------- */

void gw_ctrl_event_locked(struct gw_ctrl *c, uint32_t dw0, uint32_t dw1)
{
	if ((c->csts & NVME_CSTS_RDY) == 0)
		return;
	for (uint32_t i = 0; i < c->events; i++) {
		if (c->event[i].dw0 == dw0 && c->event[i].dw1 == dw1)
			return;		/* it waits already */
	}
	/* One slot for each kind that there is: more than fits is a flood of the same. */
	if (c->events == GW_SSD_EVENTS_MAX)
		return;
	c->event[c->events++] = (struct gw_event){ dw0, dw1 };
	pthread_cond_broadcast(&c->wake);
}

void gw_ctrl_event(struct gw_ctrl *c, uint32_t dw0, uint32_t dw1)
{
	pthread_mutex_lock(&c->lock);
	gw_ctrl_event_locked(c, dw0, dw1);
	pthread_mutex_unlock(&c->lock);
}

static void drop_event(struct gw_ctrl *c, uint32_t at)
{
	c->events--;
	memmove(&c->event[at], &c->event[at + 1], (c->events - at) * sizeof(c->event[0]));
}

void gw_ctrl_take_event(struct gw_ctrl *c, uint32_t dw0, uint32_t dw1)
{
	pthread_mutex_lock(&c->lock);
	for (uint32_t i = 0; i < c->events; i++) {
		if (c->event[i].dw0 == dw0 && c->event[i].dw1 == dw1)
			drop_event(c, i--);
	}
	pthread_mutex_unlock(&c->lock);
}

static void trace_event(struct gw_ctrl *c, uint16_t cid, uint32_t dw0)
{
	struct gw_trace_entry entry = {
		.dw0 = dw0,
		.cntlid = c->cntlid,
		.subsystem = c->ss->config.number,
		.sqe = { .opcode = GW_NVME_ASYNC_EVENT, .cid = cid },
	};

	gw_trace_add(&c->trace, &entry);
}

/* An event of a type that was reported waits until its log page was read; one-shots never do. */
static bool deliver_event(struct gw_ctrl *c)
{
	if (c->aers == 0 || c->is_suspended || (c->csts & NVME_CSTS_RDY) == 0 ||
	    !gw_queue_has_room(&c->cq[0]) || !atomic_load(&c->port->is_bus_master) ||
	    atomic_load(&c->is_removed))
		return false;
	for (uint32_t i = 0; i < c->events; i++) {
		const struct gw_event event = c->event[i];
		const uint32_t type = NVME_EVENT_TYPE(event.dw0);

		if ((c->masked_events >> type & 1) != 0)
			continue;
		if (type != NVME_EVENT_ONE_SHOT)
			c->masked_events |= (uint8_t)(1u << type);
		drop_event(c, i);
		c->aers--;
		gw_queue_post(c, 0, c->aer[c->aers], NVME_SC_SUCCESS, event.dw0, event.dw1);
		trace_event(c, c->aer[c->aers], event.dw0);
		return true;
	}
	return false;
}

/* ---- The worker ------------------------------------------------------------------------------------ */

static void log_error(struct gw_ctrl *c, const struct gw_cmd *cmd, uint16_t status)
{
	c->counters.errors++;
	if (status >> 8 == 2)
		c->counters.media_errors++;
	c->errors++;
	c->error[(c->errors - 1) % GW_SSD_ERRORS_MAX] = (struct nvme_log_error_entry){
		.error_count = c->errors,
		.sqid = cmd->sqid,
		.cid = cmd->sqe.cid,
		.status = (uint16_t)(status << 1),
		.location = UINT16_MAX,
		.lba = cmd->sqid != 0 ? gw_nvme_first(&cmd->sqe) : 0,
		.nsid = cmd->sqe.nsid,
		.opcode = cmd->sqe.opcode,
	};
}

static void trace(struct gw_ctrl *c, const struct gw_cmd *cmd, uint16_t status)
{
	struct gw_trace_entry entry = {
		.took_ns = gw_now_ns(&gw_clock_monotonic) - cmd->fetched_ns,
		.dw0 = cmd->dw0,
		.cntlid = c->cntlid,
		.sqid = cmd->sqid,
		.status = status,
		.subsystem = c->ss->config.number,
		.is_kept = cmd->is_kept || cmd->plan.is_dropped,
		.sqe = cmd->sqe,
	};

	gw_trace_add(&c->trace, &entry);
}

static void complete(struct gw_ctrl *c, struct gw_cmd *cmd, uint16_t status)
{
	c->counters.commands++;
	if (status != NVME_SC_SUCCESS)
		log_error(c, cmd, status);
	trace(c, cmd, status);
	if (!cmd->is_kept)
		gw_misbehave_post(cmd, status);
}

/*
 * The second half of a fused pair, if that is what comes next. Both get a completion, so the queue
 * needs room for two. Return: false: it is not there.
 */
static bool fetch_second(struct gw_ctrl *c, struct gw_sq *sq, struct gw_nvme_sqe *second)
{
	const struct gw_cq *cq = &c->cq[sq->cqid];

	if (sq->head == sq->tail || (cq->tail + 2) % cq->size == cq->head)
		return false;
	if (gw_dma_read(&c->port->map, sq->base + sq->head * sizeof(*second), second,
			sizeof(*second)) < 0 ||
	    NVME_SQE_FUSE(second->flags) != 2)
		return false;
	sq->head = (sq->head + 1) % sq->size;
	return true;
}

/* The command itself, with what is to go wrong with it. */
static uint16_t run(struct gw_cmd *cmd, const struct gw_nvme_sqe *second, uint16_t *status_second)
{
	bool is_skipped;
	uint16_t status = gw_misbehave_before(cmd, &is_skipped);

	if (!is_skipped)
		status = cmd->sqid == 0 ? gw_admin_execute(cmd) :
					  gw_io_execute(cmd, second, status_second);
	gw_misbehave_after(cmd);
	return status;
}

/* c->lock is held, and given up while the command is executed. */
static void execute(struct gw_ctrl *c, struct gw_cmd *cmd)
{
	const uint8_t fuse = NVME_SQE_FUSE(cmd->sqe.flags);
	uint16_t status = NVME_SC_SUCCESS, status_second = NVME_SC_FUSED_FAILED;
	struct gw_nvme_sqe second;
	bool is_pair = false;

	/* It may take long: nothing that was posted waits for it. */
	gw_queue_signal(c, true);
	if (fuse == 1 && cmd->sqid != 0)
		is_pair = fetch_second(c, &c->sq[cmd->sqid], &second);
	if (fuse == 3 || (fuse != 0 && cmd->sqid == 0))
		status = NVME_SC_INVALID_FIELD;
	else if (fuse != 0 && !is_pair)
		status = NVME_SC_FUSED_MISSING;
	pthread_mutex_unlock(&c->lock);
	if (status == NVME_SC_SUCCESS)
		status = run(cmd, is_pair ? &second : NULL, &status_second);
	pthread_mutex_lock(&c->lock);
	if (cmd->generation != c->generation)
		return;
	gw_queue_keep_promise(c, cmd->sqid);
	complete(c, cmd, status);
	if (is_pair) {
		cmd->sqe = second;
		complete(c, cmd, status_second);
	}
}

/* The same of several, a part of them at a time; after a reset the rest is not executed. */
static void execute_together(struct gw_ctrl *c, uint32_t count)
{
	const uint64_t generation = c->generation;

	for (uint32_t done = 0, end; done < count && generation == c->generation;) {
		pthread_mutex_unlock(&c->lock);
		end = done + gw_io_execute_some(c, &c->cmd[done], count - done);
		pthread_mutex_lock(&c->lock);
		for (; done < end && generation == c->generation; done++) {
			gw_queue_keep_promise(c, c->cmd[done].sqid);
			complete(c, &c->cmd[done], c->cmd[done].status);
		}
		gw_queue_signal(c, false);
	}
}

/* A read or write with nothing special about it: such are executed together. */
static bool is_plain(const struct gw_ctrl *c, const struct gw_cmd *cmd)
{
	return cmd->sqid != 0 && NVME_SQE_FUSE(cmd->sqe.flags) == 0 &&
	       (cmd->sqe.opcode == GW_NVME_READ || cmd->sqe.opcode == GW_NVME_WRITE) &&
	       atomic_load_explicit(&c->faults.count, memory_order_relaxed) == 0;
}

/* Looks at the next command that there is. Return: NULL: none, else the queue to take it from. */
static struct gw_sq *look(struct gw_ctrl *c, struct gw_cmd *cmd)
{
	struct gw_sq *sq = gw_queue_next(c, &cmd->sqid);

	if (sq == NULL || !gw_queue_peek(c, sq, &cmd->sqe))
		return NULL;
	cmd->ctrl = c;
	cmd->generation = c->generation;
	cmd->dw0 = 0;
	cmd->dw1 = 0;
	cmd->is_kept = false;
	cmd->plan = (struct gw_fault_plan){ 0 };
	cmd->xfer.pieces = 0;
	cmd->xfer.bytes = 0;
	return sq;
}

/* c->lock is held. */
static void end_busy(struct gw_ctrl *c)
{
	c->is_busy = false;
	pthread_cond_broadcast(&c->idle);
}

/* The next command, or several that are executed together. Return: how many. */
static uint32_t fetch(struct gw_ctrl *c, bool *are_plain)
{
	uint32_t count = 0;

	*are_plain = true;
	while (*are_plain && count < GW_SSD_BATCH_MAX) {
		const uint32_t turn = c->next_sq;
		struct gw_cmd *cmd = &c->cmd[count];
		struct gw_sq *sq = look(c, cmd);

		if (sq == NULL)
			break;
		if (count == 0) {
			*are_plain = is_plain(c, cmd);
		} else if (!is_plain(c, cmd) || cmd->sqe.nsid != c->cmd[0].sqe.nsid) {
			c->next_sq = turn;	/* it begins the next lot */
			break;
		}
		gw_queue_take(c, sq);
		count++;
	}
	return count;
}

static void execute_all(struct gw_ctrl *c, uint32_t count, bool are_plain, unsigned int epoch)
{
	const uint64_t now_ns = gw_now_ns(&gw_clock_monotonic);

	for (uint32_t i = 0; i < count; i++) {
		c->cmd[i].fetched_ns = now_ns;
		c->cmd[i].epoch = epoch;
	}
	c->keep_alive_ns = now_ns;
	c->is_busy = true;
	if (are_plain)
		execute_together(c, count);
	else
		execute(c, &c->cmd[0]);
	end_busy(c);
}

/* CC.SHN: what is cached is written, then CSTS says so. c->lock is given up meanwhile. */
static void shut_down(struct gw_ctrl *c)
{
	const uint64_t generation = c->generation;

	c->is_shutting_down = false;
	c->is_busy = true;
	pthread_mutex_unlock(&c->lock);
	pthread_rwlock_rdlock(&c->ss->ns_lock);
	for (uint32_t i = 0; i < GW_SSD_NAMESPACES_MAX; i++) {
		struct gw_ns *ns = c->ss->ns[i];

		if (ns == NULL)
			continue;
		pthread_mutex_lock(&ns->lock);
		gw_ns_flush(ns);
		pthread_mutex_unlock(&ns->lock);
	}
	pthread_rwlock_unlock(&c->ss->ns_lock);
	pthread_mutex_lock(&c->lock);
	end_busy(c);
	if (generation == c->generation)
		c->csts = (c->csts & ~NVME_CSTS_SHST_MASK) | NVME_CSTS_SHST_COMPLETE;
}

static bool step_locked(struct gw_ctrl *c)
{
	unsigned int epoch;
	uint32_t count;
	bool are_plain;

	if (c->is_busy) {		/* the reader is at it, and wakes us for what is left */
		c->is_due = true;
		return false;
	}
	if (c->is_shutting_down) {
		shut_down(c);
		return true;
	}
	if (c->port == NULL)
		return false;
	epoch = gw_dma_enter(&c->port->map);
	if (deliver_event(c)) {
		gw_queue_signal(c, false);
		gw_dma_leave(&c->port->map, epoch);
		return true;
	}
	count = fetch(c, &are_plain);
	if (count > 0)
		execute_all(c, count, are_plain, epoch);
	gw_queue_signal(c, false);
	gw_dma_leave(&c->port->map, count > 0 ? c->cmd[0].epoch : epoch);
	return count > 0;
}

bool gw_ctrl_step(struct gw_ctrl *c)
{
	bool did_something;

	pthread_mutex_lock(&c->lock);
	did_something = step_locked(c);
	pthread_mutex_unlock(&c->lock);
	if (!did_something)
		gw_cdq_idle(c);
	return did_something;
}

static void check_keep_alive(struct gw_ctrl *c)
{
	if (c->feature.keep_alive != 0 && (c->csts & NVME_CSTS_RDY) != 0 && !c->is_suspended &&
	    gw_now_ns(&gw_clock_monotonic) - c->keep_alive_ns >
		    c->feature.keep_alive * GW_NS_PER_MS)
		gw_ctrl_fail_locked(c);
}

/*
 * Nothing to do: until something comes, an interrupt has waited long enough, or a look at the keep alive
 * timer is due.
 */
static void wait_for_work(struct gw_ctrl *c)
{
	const uint64_t patience_ns = gw_queue_patience_ns(c);
	const uint64_t until_ns = gw_now_ns(&gw_clock_monotonic) +
				  (patience_ns > 0 ? patience_ns : GW_NS_PER_S);
	const struct timespec until = {
		.tv_sec = (time_t)(until_ns / GW_NS_PER_S),
		.tv_nsec = (long)(until_ns % GW_NS_PER_S),
	};

	check_keep_alive(c);
	if (pthread_cond_timedwait(&c->wake, &c->lock, &until) == ETIMEDOUT)
		gw_queue_lose_patience(c);
}

static void *work(void *arg)
{
	struct gw_ctrl *c = arg;

	pthread_mutex_lock(&c->lock);
	while (!c->is_stopping) {
		if (step_locked(c))
			continue;
		pthread_mutex_unlock(&c->lock);
		gw_cdq_idle(c);
		pthread_mutex_lock(&c->lock);
		/* Something may have come while the lock was open. */
		if (!c->is_stopping && !step_locked(c))
			wait_for_work(c);
	}
	pthread_mutex_unlock(&c->lock);
	return NULL;
}

/* ---- The reader's turn ----------------------------------------------------------------------------- */

/* Lines of what happens are made by the worker: their file may be slow. */
static bool may_execute_now(const struct gw_ctrl *c)
{
	return !c->is_stopping && c->has_thread && !c->is_busy && !c->is_shutting_down && c->port != NULL &&
	       c->ss->record.file == NULL && !gw_trace_has_file();
}

/* c->lock is held, and given up meanwhile. Return: false: the command is still in its queue. */
static bool execute_alone(struct gw_ctrl *c, struct gw_sq *sq, struct gw_cmd *cmd)
{
	bool is_done;

	cmd->fetched_ns = gw_now_ns(&gw_clock_monotonic);
	c->is_busy = true;
	c->is_due = false;
	pthread_mutex_unlock(&c->lock);
	is_done = gw_io_execute_now(cmd);
	pthread_mutex_lock(&c->lock);
	end_busy(c);
	if (cmd->generation != c->generation || !is_done)
		return is_done;
	c->keep_alive_ns = cmd->fetched_ns;
	gw_queue_take(c, sq);
	gw_queue_keep_promise(c, cmd->sqid);
	complete(c, cmd, cmd->status);
	gw_queue_signal(c, false);
	return true;
}

/*
 * A host that has one command at a time waits for each, and waking the worker for it would take longer than
 * the command: who was told of it executes it, if that can be done at once. c->lock is held. Return:
 * false: the worker is to be woken.
 */
static bool execute_now(struct gw_ctrl *c)
{
	struct gw_cmd *cmd = &c->cmd[0];
	uint32_t turn = c->next_sq;
	struct gw_sq *sq;
	uint16_t other;
	bool is_done;

	if (!may_execute_now(c))
		return false;
	cmd->epoch = gw_dma_enter(&c->port->map);
	sq = look(c, cmd);
	is_done = sq != NULL && is_plain(c, cmd) && gw_queue_is_alone(c, sq) && execute_alone(c, sq, cmd);
	gw_dma_leave(&c->port->map, cmd->epoch);
	if (!is_done) {
		c->next_sq = turn;	/* still its turn */
		return false;
	}
	turn = c->next_sq;
	if (c->is_due || gw_queue_patience_ns(c) > 0 || gw_queue_next(c, &other) != NULL)
		pthread_cond_broadcast(&c->wake);
	c->next_sq = turn;
	return true;
}

/* ---- Writes of the host ---------------------------------------------------------------------------- */

static void write_doorbells(struct gw_ctrl *c, uint32_t offset, uint64_t value, uint32_t bytes)
{
	bool is_due, was_executed = false;

	pthread_mutex_lock(&c->lock);
	is_due = gw_queue_doorbell(c, offset, (uint32_t)value);
	if (bytes == 8)
		is_due |= gw_queue_doorbell(c, offset + 4, (uint32_t)(value >> 32));
	if (is_due)
		was_executed = execute_now(c);
	if (is_due && !was_executed)
		pthread_cond_broadcast(&c->wake);
	pthread_mutex_unlock(&c->lock);
	if (was_executed)
		gw_cdq_idle(c);
}

static void write_registers(struct gw_ctrl *c, uint32_t offset, uint64_t value, uint32_t bytes)
{
	bool was_reset;

	pthread_mutex_lock(&c->lock);
	was_reset = write_word(c, offset, (uint32_t)value);
	if (bytes == 8)
		was_reset |= write_word(c, offset + 4, (uint32_t)(value >> 32));
	pthread_mutex_unlock(&c->lock);
	if ((offset & ~4u) == NVME_REG_CMBMSC)
		gw_cmb_apply(c);
	if (was_reset)
		finish_reset(c);
}

void gw_ctrl_write(struct gw_ctrl *c, uint32_t offset, uint64_t value, uint32_t bytes)
{
	if (atomic_load(&c->is_removed))
		return;
	if (offset >= NVME_REG_DOORBELLS)
		write_doorbells(c, offset, value, bytes);
	else
		write_registers(c, offset, value, bytes);
}

/* ---- Life ------------------------------------------------------------------------------------------ */

int gw_ctrl_start(struct gw_ctrl *c)
{
	const int err = pthread_create(&c->thread, NULL, work, c);

	c->has_thread = err == 0;
	return -err;
}

void gw_ctrl_stop(struct gw_ctrl *c)
{
	pthread_mutex_lock(&c->lock);
	c->is_stopping = true;
	pthread_cond_broadcast(&c->wake);
	pthread_mutex_unlock(&c->lock);
	if (c->has_thread)
		pthread_join(c->thread, NULL);
	c->has_thread = false;
}

struct gw_ctrl *gw_ctrl_create(struct gw_subsys *ss, struct gw_diag *diag)
{
	pthread_condattr_t monotonic;
	struct gw_ctrl *c;

	if (ss->ctrls == GW_SSD_CONTROLLERS_MAX) {
		gw_fail(diag, -ENOSPC, "a subsystem has at most %u controllers",
			GW_SSD_CONTROLLERS_MAX);
		return NULL;
	}
	c = calloc(1, sizeof(*c));
	if (c != NULL && ((c->bounce = malloc(GW_SSD_XFER_BYTES_MAX)) == NULL ||
			  (c->cmd = calloc(GW_SSD_BATCH_MAX, sizeof(*c->cmd))) == NULL ||
			  gw_trace_init(&c->trace) < 0)) {
		free(c->cmd);
		free(c->bounce);
		free(c);
		c = NULL;
	}
	if (c == NULL) {
		gw_fail(diag, -ENOMEM, "no memory for a controller");
		return NULL;
	}
	c->ss = ss;
	c->index = ss->ctrls;
	c->saved = ss->saved[c->index];
	if (gw_cmb_init(c) < 0) {
		gw_trace_fini(&c->trace);
		free(c->cmd);
		free(c->bounce);
		free(c);
		gw_fail(diag, -ENOMEM, "no memory for a controller memory buffer");
		return NULL;
	}
	c->cntlid = gw_ssd_config_cntlid(&ss->config, c->index);
	c->is_manager = ss->config.has_migration && ss->ctrls < ss->config.managers;
	pthread_mutex_init(&c->lock, NULL);
	pthread_mutex_init(&c->track.lock, NULL);
	pthread_mutex_init(&c->parts.lock, NULL);
	pthread_condattr_init(&monotonic);
	pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
	pthread_cond_init(&c->wake, &monotonic);
	pthread_cond_init(&c->idle, &monotonic);
	pthread_condattr_destroy(&monotonic);
	gw_features_begin(c);
	gw_faults_init(&c->faults);
	c->counters.power_cycles = 1;
	ss->ctrl[ss->ctrls++] = c;
	return c;
}

void gw_ctrl_destroy(struct gw_ctrl *c)
{
	gw_ctrl_stop(c);
	gw_cmb_fini(c);
	free(c->parts.data);
	free(c->parts.seen);
	gw_reads_close(&c->reads);
	free(c->cmd);
	free(c->bounce);
	gw_trace_fini(&c->trace);
	gw_faults_fini(&c->faults);
	pthread_cond_destroy(&c->idle);
	pthread_cond_destroy(&c->wake);
	pthread_mutex_destroy(&c->parts.lock);
	pthread_mutex_destroy(&c->track.lock);
	pthread_mutex_destroy(&c->lock);
	free(c);
}

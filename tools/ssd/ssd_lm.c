// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Suspend, resume, and the state of a controller in and out: Migration Send and Receive
 * (Base 5.1.16, 5.1.17, 8.1.12). All of it is executed by the workers of the controllers that
 * manage migrations; the others' workers know only that they are suspended.
 */
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "clock.h"
#include "ssd.h"

#define LOOK_NS (10 * GW_NS_PER_MS)	/* how often a wait looks whether it is still wanted */

struct gw_ctrl *gw_lm_find(struct gw_subsys *ss, uint16_t cntlid)
{
	struct gw_ctrl *c = gw_subsys_controller(ss, cntlid);

	return c == NULL || c->is_manager ? NULL : c;
}

bool gw_lm_any_suspended(struct gw_subsys *ss)
{
	bool is_any = false;

	for (uint32_t i = 0; i < ss->ctrls; i++) {
		pthread_mutex_lock(&ss->ctrl[i]->lock);
		is_any |= ss->ctrl[i]->is_suspended;
		pthread_mutex_unlock(&ss->ctrl[i]->lock);
	}
	return is_any;
}

/* ---- Suspend and resume (Base 5.1.17.1.1, 5.1.17.1.2) -------------------------------------------- */

/* Until the command that c executes has its completion in memory. Return: false: reset meanwhile. */
static bool wait_idle(struct gw_cmd *cmd, struct gw_ctrl *c)
{
	bool is_idle = false;

	gw_cmd_park(cmd);
	while (!is_idle && !gw_cmd_is_stale(cmd)) {
		struct timespec until;

		clock_gettime(CLOCK_MONOTONIC, &until);
		until.tv_nsec += (long)LOOK_NS;
		until.tv_sec += until.tv_nsec / 1000000000;
		until.tv_nsec %= 1000000000;
		pthread_mutex_lock(&c->lock);
		if (c->is_busy)
			pthread_cond_timedwait(&c->idle, &c->lock, &until);
		is_idle = !c->is_busy;
		pthread_mutex_unlock(&c->lock);
	}
	return gw_cmd_unpark(cmd);
}

static void let_run(struct gw_ctrl *c)
{
	pthread_mutex_lock(&c->lock);
	c->is_suspended = false;
	c->keep_alive_ns = gw_now_ns(&gw_clock_monotonic);
	/* One that was lost on the way would hang a guest. */
	if (c->port != NULL)
		gw_queue_signal_again(c);
	pthread_cond_broadcast(&c->wake);
	pthread_mutex_unlock(&c->lock);
}

/* The log first, so that no change goes by unlogged. */
static void end_suspension(struct gw_ctrl *c)
{
	gw_cdq_resumed(c);
	let_run(c);
}

static bool is_suspended_by(struct gw_ctrl *c, const struct gw_ctrl *manager)
{
	bool is;

	pthread_mutex_lock(&c->lock);
	is = c->is_suspended && c->suspender == manager;
	pthread_mutex_unlock(&c->lock);
	return is;
}

static uint16_t suspend_now(struct gw_cmd *cmd, struct gw_ctrl *c, bool is_deleting)
{
	bool is_still;

	pthread_mutex_lock(&c->lock);
	if (!c->is_suspended)
		c->suspended_ns = gw_now_ns(&gw_clock_monotonic);
	c->is_suspended = true;
	c->suspender = cmd->ctrl;
	pthread_mutex_unlock(&c->lock);
	if (!wait_idle(cmd, c)) {
		if (is_suspended_by(c, cmd->ctrl))
			end_suspension(c);	/* the reset ended this, too */
		return NVME_SC_ABORT_REQUESTED;
	}
	pthread_mutex_lock(&c->lock);
	is_still = c->is_suspended;	/* its own reset would have ended it */
	if (is_still)
		gw_queue_signal(c, true);
	pthread_mutex_unlock(&c->lock);
	if (!is_still)
		return NVME_SC_SUCCESS;
	gw_cdq_suspended(c, is_deleting);
	pthread_mutex_lock(&c->lock);
	is_still = c->is_suspended;
	pthread_mutex_unlock(&c->lock);
	/* A reset that came in between has looked for a log to go on before there was one. */
	if (!is_still)
		gw_cdq_resumed(c);
	return NVME_SC_SUCCESS;
}

static uint16_t suspend(struct gw_cmd *cmd, struct gw_ctrl *c)
{
	switch (cmd->sqe.cdw11 >> 16 & 0xff) {
	case NVME_SUSPEND_NOTIFY:
		return NVME_SC_SUCCESS;
	case NVME_SUSPEND_NOW:
		return suspend_now(cmd, c, (cmd->sqe.cdw11 & NVME_SUSPEND_DELETE_CDQ) != 0);
	default:
		return NVME_SC_INVALID_FIELD;
	}
}

static bool is_open(struct gw_ctrl *c)
{
	bool is;

	pthread_mutex_lock(&c->lock);
	is = c->parts.is_open && c->parts.generation == c->generation;
	pthread_mutex_unlock(&c->lock);
	return is;
}

static uint16_t resume(struct gw_ctrl *c)
{
	bool is_suspended;

	pthread_mutex_lock(&c->lock);
	is_suspended = c->is_suspended;
	pthread_mutex_unlock(&c->lock);
	if (!is_suspended)
		return NVME_SC_CONTROLLER_NOT_SUSPENDED;
	if (is_open(c))
		return NVME_SC_COMMAND_SEQUENCE;
	end_suspension(c);
	return NVME_SC_SUCCESS;
}

void gw_lm_manager_reset(struct gw_ctrl *manager)
{
	struct gw_subsys *ss = manager->ss;

	gw_track_stop_of(ss, manager);
	for (uint32_t i = 0; i < ss->ctrls; i++) {
		if (is_suspended_by(ss->ctrl[i], manager))
			end_suspension(ss->ctrl[i]);
	}
}

/* ---- Set Controller State (Base 5.1.17.1.3) -------------------------------------------------------- */

static uint16_t open_parts(struct gw_ctrl *c, struct gw_ctrl *owner, uint8_t csvi, uint8_t csuuidi)
{
	struct gw_state_parts *parts = &c->parts;

	if (parts->data == NULL) {
		parts->data = malloc(GW_STATE_BYTES_MAX);
		parts->seen = malloc(GW_STATE_BYTES_MAX / 4);
	}
	if (parts->data == NULL || parts->seen == NULL)
		return NVME_SC_NOT_ENOUGH_RESOURCES;
	memset(parts->data, 0, GW_STATE_BYTES_MAX);
	memset(parts->seen, 0, GW_STATE_BYTES_MAX / 4);
	parts->csvi = csvi;
	parts->csuuidi = csuuidi;
	parts->bytes = 0;
	parts->owner = owner;
	pthread_mutex_lock(&c->lock);
	parts->generation = c->generation;
	parts->is_open = true;
	pthread_mutex_unlock(&c->lock);
	return NVME_SC_SUCCESS;
}

static void close_parts(struct gw_ctrl *c)
{
	pthread_mutex_lock(&c->lock);
	c->parts.is_open = false;
	pthread_mutex_unlock(&c->lock);
}

static uint16_t add_part(struct gw_cmd *cmd, struct gw_ctrl *c, uint64_t offset, uint64_t bytes)
{
	struct gw_state_parts *parts = &c->parts;
	uint16_t status;

	if (bytes == 0)
		return NVME_SC_SUCCESS;
	status = gw_xfer_from_host(cmd, parts->data + offset, bytes);
	if (status != NVME_SC_SUCCESS)
		return status;
	memset(parts->seen + offset / 4, 1, bytes / 4);
	if (offset + bytes > parts->bytes)
		parts->bytes = offset + bytes;
	return NVME_SC_SUCCESS;
}

static uint16_t commit(struct gw_cmd *cmd, struct gw_ctrl *c)
{
	const struct gw_state_parts *parts = &c->parts;
	uint16_t status;

	if (memchr(parts->seen, 0, parts->bytes / 4) != NULL)
		return NVME_SC_INVALID_FIELD;	/* a hole */
	if (!wait_idle(cmd, c))
		return NVME_SC_ABORT_REQUESTED;
	pthread_mutex_lock(&c->lock);
	status = parts->generation == c->generation && !c->is_busy ?
			 gw_state_set(c, parts->csvi != 0, parts->csuuidi != 0, parts->data,
				      (uint32_t)parts->bytes) :
			 NVME_SC_COMMAND_SEQUENCE;
	pthread_mutex_unlock(&c->lock);
	return status;
}

/* Suspended, or enabled and without I/O queues (which is looked at when it is committed). */
static bool takes_state(struct gw_ctrl *c)
{
	bool takes;

	pthread_mutex_lock(&c->lock);
	takes = c->is_suspended ||
		((c->csts & NVME_CSTS_RDY) != 0 && !c->ss->config.choice.is_suspended_only);
	pthread_mutex_unlock(&c->lock);
	return takes;
}

/* parts.lock is held. */
static uint16_t set_locked(struct gw_cmd *cmd, struct gw_ctrl *c)
{
	const uint32_t sequence = cmd->sqe.cdw10 >> 16 & 3;
	const uint8_t csvi = (uint8_t)(cmd->sqe.cdw11 >> 16), csuuidi = (uint8_t)(cmd->sqe.cdw11 >> 24);
	const uint64_t offset = cmd->sqe.cdw12 | (uint64_t)cmd->sqe.cdw13 << 32;
	const uint64_t bytes = cmd->sqe.cdw15 * UINT64_C(4);
	const bool is_begin = (sequence & NVME_SEQUENCE_FIRST) != 0;
	const bool is_end = (sequence & NVME_SEQUENCE_LAST) != 0;
	uint16_t status = NVME_SC_SUCCESS;

	if (!takes_state(c))
		return NVME_SC_INVALID_CONTROLLER_ID;
	if (!is_begin && !is_open(c))
		return NVME_SC_COMMAND_SEQUENCE;
	if (csvi > 1 || csuuidi > 1 || (csvi == 0 && csuuidi == 0) || offset % 4 != 0 ||
	    offset > GW_STATE_BYTES_MAX || bytes > GW_STATE_BYTES_MAX - offset ||
	    (bytes == 0 && sequence != NVME_SEQUENCE_LAST))
		return NVME_SC_INVALID_FIELD;
	if (is_begin)
		status = open_parts(c, cmd->ctrl, csvi, csuuidi);
	else if (c->parts.owner != cmd->ctrl)
		return NVME_SC_COMMAND_SEQUENCE;
	else if (csvi != c->parts.csvi || csuuidi != c->parts.csuuidi)
		status = NVME_SC_INVALID_FIELD;
	if (status == NVME_SC_SUCCESS)
		status = add_part(cmd, c, offset, bytes);
	if (status == NVME_SC_SUCCESS && is_end)
		status = commit(cmd, c);
	/* One part alone is no sequence that goes on, whatever came of it. */
	if (is_end)
		close_parts(c);
	return status;
}

/* Two managers that put a state into the same controller at once: one of them is out of sequence. */
static uint16_t set_state(struct gw_cmd *cmd, struct gw_ctrl *c)
{
	uint16_t status;

	if (pthread_mutex_trylock(&c->parts.lock) != 0)
		return NVME_SC_COMMAND_SEQUENCE;
	status = set_locked(cmd, c);
	pthread_mutex_unlock(&c->parts.lock);
	return status;
}

uint16_t gw_lm_send(struct gw_cmd *cmd)
{
	const uint32_t select = cmd->sqe.cdw10 & 0xff;
	struct gw_ctrl *c = gw_lm_find(cmd->ctrl->ss, (uint16_t)cmd->sqe.cdw11);

	if (select > NVME_MIGRATION_SET_STATE)
		return NVME_SC_INVALID_FIELD;
	if (c == NULL)
		return NVME_SC_INVALID_CONTROLLER_ID;
	if (select == NVME_MIGRATION_SUSPEND)
		return suspend(cmd, c);
	return select == NVME_MIGRATION_RESUME ? resume(c) : set_state(cmd, c);
}

/* ---- Get Controller State (Base 5.1.16) -------------------------------------------------------------- */

/* What lies past the end of the state is zeroes. */
static uint16_t give(struct gw_cmd *cmd, const uint8_t *state, uint32_t state_bytes, uint64_t offset,
		     uint64_t bytes)
{
	static const uint8_t zeroes[4096];
	uint64_t done = state_bytes - offset < bytes ? state_bytes - offset : bytes;
	const uint16_t status = gw_xfer_map(cmd, bytes, true);

	if (status != NVME_SC_SUCCESS)
		return status;
	gw_xfer_copy(&cmd->xfer, 0, (void *)(uintptr_t)(state + offset), done, true);
	while (done < bytes) {
		const uint64_t piece = bytes - done < sizeof(zeroes) ? bytes - done : sizeof(zeroes);

		gw_xfer_copy(&cmd->xfer, done, (void *)(uintptr_t)zeroes, piece, true);
		done += piece;
	}
	gw_xfer_written(cmd);
	return NVME_SC_SUCCESS;
}

uint16_t gw_lm_receive(struct gw_cmd *cmd)
{
	struct gw_ctrl *c = gw_lm_find(cmd->ctrl->ss, (uint16_t)cmd->sqe.cdw11);
	const uint8_t csvi = (uint8_t)(cmd->sqe.cdw10 >> 16), csuuidi = (uint8_t)(cmd->sqe.cdw11 >> 16);
	const uint64_t offset = cmd->sqe.cdw12 | (uint64_t)cmd->sqe.cdw13 << 32;
	const uint64_t bytes = (cmd->sqe.cdw15 + UINT64_C(1)) * 4;
	uint8_t *state = cmd->ctrl->bounce;
	uint32_t state_bytes;
	bool is_suspended;

	_Static_assert(GW_STATE_BYTES_MAX <= GW_SSD_XFER_BYTES_MAX, "it fits there");
	if ((cmd->sqe.cdw10 & 0xff) != NVME_MIGRATION_GET_STATE)
		return NVME_SC_INVALID_FIELD;
	if (c == NULL)
		return NVME_SC_INVALID_CONTROLLER_ID;
	if (csvi > 1 || csuuidi > 1 || offset % 4 != 0 || bytes > GW_SSD_XFER_BYTES_MAX)
		return NVME_SC_INVALID_FIELD;
	pthread_mutex_lock(&c->lock);
	is_suspended = c->is_suspended && !c->is_busy;
	state_bytes = gw_state_get(c, csvi != 0, csuuidi != 0, is_suspended, state);
	pthread_mutex_unlock(&c->lock);
	gw_faults_state(&c->faults, state, state_bytes);
	if (offset > state_bytes)
		return NVME_SC_INVALID_FIELD;
	cmd->dw0 = is_suspended ? NVME_WAS_SUSPENDED : 0;
	return give(cmd, state, state_bytes, offset, bytes);
}

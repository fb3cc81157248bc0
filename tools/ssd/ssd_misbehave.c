// SPDX-License-Identifier: GPL-2.0-or-later
/* What the faults of a controller do to its commands; the worker carries it out. */
#include <time.h>

#include "clock.h"
#include "ssd.h"

#define LOOK_NS (10 * GW_NS_PER_MS)	/* how often a hanging command looks whether it still does */

void gw_ctrl_remove(struct gw_ctrl *c, bool is_removed)
{
	atomic_store(&c->is_removed, is_removed);
	gw_ctrl_reset(c);
}

/* Outside of guest memory, so that it can be unmapped meanwhile. Return: false: reset, or the end. */
static bool wait_until(struct gw_cmd *cmd, uint64_t until_ns)
{
	struct gw_ctrl *c = cmd->ctrl;
	const struct timespec until = {
		.tv_sec = (time_t)(until_ns / GW_NS_PER_S),
		.tv_nsec = (long)(until_ns % GW_NS_PER_S),
	};

	gw_cmd_park(cmd);
	pthread_mutex_lock(&c->lock);
	gw_queue_signal(c, true);	/* what was completed before is not held up */
	while (cmd->generation == c->generation && !c->is_stopping &&
	       gw_now_ns(&gw_clock_monotonic) < until_ns)
		pthread_cond_timedwait(&c->wake, &c->lock, &until);
	pthread_mutex_unlock(&c->lock);
	return gw_cmd_unpark(cmd);
}

/* Return: false: the controller was reset meanwhile. */
static bool hang(struct gw_cmd *cmd)
{
	while (gw_faults_has(&cmd->ctrl->faults, cmd->plan.hanging_id)) {
		if (!wait_until(cmd, gw_now_ns(&gw_clock_monotonic) + LOOK_NS))
			return false;
	}
	return true;
}

/* The reset that comes with it is the host's to notice: this one only stops what goes on. */
static void vanish(struct gw_ctrl *c)
{
	pthread_mutex_lock(&c->lock);
	atomic_store(&c->is_removed, true);
	pthread_mutex_unlock(&c->lock);
}

static void fail(struct gw_ctrl *c)
{
	pthread_mutex_lock(&c->lock);
	gw_ctrl_fail_locked(c);
	pthread_mutex_unlock(&c->lock);
}

uint16_t gw_misbehave_before(struct gw_cmd *cmd, bool *is_skipped)
{
	struct gw_fault_plan *plan = &cmd->plan;

	gw_faults_plan(&cmd->ctrl->faults, cmd->sqid, &cmd->sqe, plan);
	*is_skipped = false;
	if (plan->is_hanging && !hang(cmd)) {
		*is_skipped = true;
		return NVME_SC_ABORT_REQUESTED;
	}
	if (plan->is_cut)
		gw_subsys_power_cut(cmd->ctrl->ss, plan->seed);
	if (plan->is_fatal)
		fail(cmd->ctrl);
	if (plan->is_removed)
		vanish(cmd->ctrl);
	plan->is_dropped |= plan->is_fatal || plan->is_removed;
	*is_skipped = plan->is_fatal || plan->is_removed || plan->has_status;
	return plan->has_status ? plan->status : NVME_SC_SUCCESS;
}

void gw_misbehave_after(struct gw_cmd *cmd)
{
	uint64_t wait_ns = cmd->plan.delay_ns;

	/* A command that moved no data maps none: what is left there is an earlier one's. */
	if (cmd->plan.rate != 0 && cmd->sqid != 0 && cmd->xfer.pieces > 0)
		wait_ns += (uint64_t)((unsigned __int128)cmd->xfer.bytes * GW_NS_PER_S / cmd->plan.rate);
	if (wait_ns > 0)
		wait_until(cmd, gw_now_ns(&gw_clock_monotonic) + wait_ns);
}

void gw_misbehave_post(struct gw_cmd *cmd, uint16_t status)
{
	struct gw_ctrl *c = cmd->ctrl;
	uint16_t cid = cmd->sqe.cid;
	uint32_t dw0 = cmd->dw0;

	if (cmd->plan.is_dropped)
		return;
	switch (cmd->plan.wrong) {
	case GW_WRONG_CID:
		cid ^= 0x8000;
		break;
	case GW_WRONG_DW0:
		dw0 = ~dw0;
		break;
	case GW_WRONG_SQID:
		c->twist.sqid = 0x1000;
		break;
	case GW_WRONG_SQHD:
		c->twist.sqhd = 0x1;
		break;
	case GW_WRONG_PHASE:
		c->twist.status = NVME_CQE_PHASE;
		break;
	case GW_WRONG_TWICE:
		gw_queue_post(c, cmd->sqid, cid, status, dw0, cmd->dw1);
		break;
	default:
		break;
	}
	gw_queue_post(c, cmd->sqid, cid, status, dw0, cmd->dw1);
	c->twist = (struct nvme_cqe){ 0 };
}

// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The source `nvme`, user space's half: that of the source `block` (the maps are the same), but for
 * what only a drive does behind the driver's back.
 */
#include "nvme_ask.h"
#include "track_block.h"

/*
 * A sanitize command completes when its work begins. Until the drive's log says that it has
 * ended, no bit counts: everything is marked again and again.
 */
static int nvme_take(struct gw_track *track, struct gw_track_taken *taken, struct gw_diag *diag)
{
	struct gw_block_track *const block = track->impl;
	const bool sanitized = (__atomic_load_n(&block->state->flags, __ATOMIC_SEQ_CST) &
				GW_STATE_SANITIZE) != 0;
	/* Before the take: what changes until the log says "ended" is marked by this one. */
	const bool goes_on = sanitized && gw_nvme_ask_is_sanitizing(&track->node.nvme);
	const int err = gw_block_ops.take(track, taken, diag);

	/* Pairs with raise() in gw_mark.bpf.h. */
	if (goes_on)
		__atomic_fetch_or(&block->state->flags, GW_STATE_SANITIZE, __ATOMIC_SEQ_CST);
	return err;
}

static int nvme_in_flight(struct gw_track *track, struct gw_track_in_flight *out,
			  struct gw_diag *diag)
{
	return gw_block_ops.in_flight(track, out, diag);
}

static int nvme_stats(struct gw_track *track, struct gw_track_stats *stats, struct gw_diag *diag)
{
	return gw_block_ops.stats(track, stats, diag);
}

static int nvme_drop_marks(struct gw_track *track, struct gw_diag *diag)
{
	struct gw_block_track *const block = track->impl;
	const bool sanitized = (__atomic_load_n(&block->state->flags, __ATOMIC_SEQ_CST) &
				GW_STATE_SANITIZE) != 0;
	const int err = gw_block_ops.drop_marks(track, diag);

	/* A pass that begins now reads what is still to be erased. */
	if (sanitized && gw_nvme_ask_is_sanitizing(&track->node.nvme))
		__atomic_fetch_or(&block->state->flags, GW_STATE_SANITIZE, __ATOMIC_SEQ_CST);
	return err;
}

static int nvme_stop(struct gw_track *track, struct gw_diag *diag)
{
	return gw_block_ops.stop(track, diag);
}

const struct gw_track_ops gw_nvme_ops = {
	.name = "nvme",
	.take = nvme_take,
	.in_flight = nvme_in_flight,
	.stats = nvme_stats,
	.drop_marks = nvme_drop_marks,
	.stop = nvme_stop,
	.close = gw_block_close,
};

// SPDX-License-Identifier: GPL-2.0-or-later
/* The caller vouches that nobody writes to the source. */
#include "handoff_ops.h"

static int do_nothing(struct gw_handoff *handoff, struct gw_diag *diag)
{
	(void)handoff;
	(void)diag;
	return 0;
}

static int recover_nothing(struct json_object *recovery, bool committed, struct gw_diag *diag)
{
	(void)recovery;
	(void)committed;
	(void)diag;
	return 0;
}

const struct gw_handoff_ops gw_handoff_none = {
	.name = "none",
	.prepare = do_nothing,
	.quiesce = do_nothing,
	.take_back = do_nothing,
	.switch_over = do_nothing,
	.resume = do_nothing,
	.recover = recover_nothing,
};

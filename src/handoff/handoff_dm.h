/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the preflight asks of the hand-off dm. */
#ifndef GW_HANDOFF_DM_H
#define GW_HANDOFF_DM_H

#include "blkinfo.h"
#include "dm_device.h"
#include "err.h"

/*
 * Can the device-mapper device name be moved from source to target: it exists, runs, is
 * made of linear segments, maps the source, is the source's only user, fits the
 * target? Changes nothing. Return: 0 with what it is in device, or negative errno,
 * said (GW_EXIT_CANNOT).
 */
int gw_handoff_dm_check(const char *name, const struct gw_node *source,
			const struct gw_node *target, struct gw_dm_device *device,
			struct gw_diag *diag);

#endif

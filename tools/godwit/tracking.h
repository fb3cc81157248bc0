/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Which tracking an operand means, and that no migration needs it. For the track verbs. */
#ifndef GW_TRACKING_H
#define GW_TRACKING_H

#include <sys/types.h>

#include "blkinfo.h"
#include "err.h"
#include "track.h"

/*
 * operand is a name, or, with a slash, a path of the tracked device. Return: 0
 * and its name; -ENOENT if there is none; said in diag.
 */
int gw_tracking_find(char name[GW_NAME_BYTES], const char *operand, struct gw_diag *diag);
/* Is something pinned under that name, in whatever state? */
bool gw_tracking_is_pinned(const char *name);

/* Zeroed holds nothing. */
struct gw_tracking_guard {
	int disk_fd, state_fd;		/* plus one; 0: not held */
};

/*
 * Makes sure that no migration uses the tracking `name`, and that none begins
 * until gw_tracking_leave(): holds the lock of the disk (disk_dev 0: not known)
 * and that of the migration's state directory, where there is one. Return: 0;
 * -EBUSY (GW_EXIT_CANNOT) if one runs, or died and was not cleaned up; said.
 */
int gw_tracking_guard(struct gw_tracking_guard *guard, const char *name, dev_t disk_dev,
		      const char *run_dir, struct gw_diag *diag);
void gw_tracking_leave(struct gw_tracking_guard *guard);

#endif

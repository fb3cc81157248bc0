/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Private to the hand-offs freeze and dm: what must be refused before anything is copied. */
#ifndef GW_FREEZE_CHECK_H
#define GW_FREEZE_CHECK_H

#include <stdint.h>
#include <sys/types.h>

#include "blkinfo.h"
#include "err.h"

/* A file system that is to be frozen, or is only looked after if it is read-only. */
struct gw_frozen {
	struct gw_mount mount;
	int fd;				/* on it; -1 if it is mounted read-only */
};

/*
 * Every user of the source must be one of the mounts: no swap, device-mapper, md,
 * loop device, or mount that is not seen here. Return: 0 or -EBUSY, said.
 */
int gw_freeze_check_users(const struct gw_node *source, const struct gw_frozen *mounts,
			  uint32_t count, struct gw_diag *diag);

/*
 * Nothing that godwit itself must write to may freeze: root, the paths of keep
 * (NULL-terminated, may be NULL), the program, open regular files.
 */
int gw_freeze_check_own_files(const struct gw_node *source, const struct gw_frozen *mounts,
			      uint32_t count, const char *const *keep, struct gw_diag *diag);

/* So that godwit itself never waits for a page from what it stops. Said (GW_EXIT_CANNOT). */
int gw_freeze_lock_memory(struct gw_diag *diag);

/*
 * What sysfs knows of a block device, without opening it: numbers, names, the
 * path that it has by custom, diskseq. Return: 0, -ENODEV if it is gone.
 */
int gw_freeze_look(struct gw_node *node, dev_t dev);

/* Return: 1 if somebody has claimed it, 0 if not, -ENXIO if its node in /dev is missing. */
int gw_freeze_is_claimed(const struct gw_node *node);

#endif

/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Device-mapper devices of this machine, over libdevmapper: look, load, suspend,
 * resume. One thread at a time (the library keeps state of its own). No cookies:
 * nobody waits for udev while writers are stopped; nodes and names stay as they are.
 */
#ifndef GW_DM_DEVICE_H
#define GW_DM_DEVICE_H

#include <stdbool.h>
#include <sys/types.h>

#include "dm_table.h"
#include "err.h"

#define GW_DM_NAME_BYTES 128		/* DM_NAME_LEN, linux/dm-ioctl.h */
#define GW_DM_UUID_BYTES 129

struct gw_dm_device {
	bool exists;
	bool is_suspended;
	bool has_inactive_table;	/* loaded, to become live at the next resume */
	bool is_read_only;
	bool is_linear;			/* every target is, and table has them all */
	dev_t dev;
	char uuid[GW_DM_UUID_BYTES];
	struct gw_dm_table table;	/* live */
};

/* Return: 0, also if there is none (exists is false), or negative errno, said. */
int gw_dm_look(struct gw_dm_device *device, const char *name, struct gw_diag *diag);

/*
 * Loads a table beside the live one. -EBUSY: a device of it is claimed by somebody else.
 * Said, but for -EBUSY.
 */
int gw_dm_load(const char *name, const struct gw_dm_table *table, bool is_read_only,
	       struct gw_diag *diag);
/* Forgets what was loaded and is not live. */
int gw_dm_clear(const char *name, struct gw_diag *diag);

/*
 * Holds new writes back and waits for those in flight; a file system on the
 * device is frozen first, its dirty pages written (the default of dm, no
 * DM_SKIP_LOCKFS_FLAG, no DM_NOFLUSH_FLAG).
 */
int gw_dm_suspend(const char *name, struct gw_diag *diag);
/* Makes a loaded table live, if there is one, and lets the writes go on. */
int gw_dm_resume(const char *name, struct gw_diag *diag);

/* An empty device, and its end: to try a table without touching the real one. */
int gw_dm_create_empty(const char *name, struct gw_diag *diag);
int gw_dm_remove(const char *name, struct gw_diag *diag);

#endif

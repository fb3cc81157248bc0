/* SPDX-License-Identifier: GPL-2.0-or-later */
/* `godwit check`: can this migration work? Each requirement a row. Changes nothing. */
#ifndef GW_PREFLIGHT_H
#define GW_PREFLIGHT_H

#include <limits.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include <godwit/migration.h>

#include "blkinfo.h"
#include "err.h"

/* DIFFERS is met, too: the two are not the same, and it does no harm. */
enum gw_row_state { GW_ROW_MET, GW_ROW_DIFFERS, GW_ROW_WARNING, GW_ROW_UNMET };

struct gw_row {
	const char *id;			/* stable key, e.g. "target-size" */
	enum gw_row_state state;
	bool is_blind;			/* a warning: what it would be about is missing, and another row says so */
	char what[96];			/* the requirement */
	char why[256];			/* what was found */
	char mend[256];			/* how to mend; "" where met */
};

#define GW_PREFLIGHT_ROWS_MAX 64

struct gw_preflight {
	struct gw_row rows[GW_PREFLIGHT_ROWS_MAX];
	uint32_t count, unmet, warnings;
	struct gw_node source, target;	/* as looked at; zeroed where the path is no good; a file still to be made has file_ino 0 */
	uint64_t memory_bytes, state_bytes;	/* that the migration would take */
	double estimate_s;		/* duration, at a rate measured by a short read of the source; 0: unknown */
};

/*
 * Fills every row; always runs to the end. Return: 0 if all are met (warnings
 * allowed), -EPERM otherwise (nothing said in diag: the rows say it).
 */
int gw_preflight_run(struct gw_preflight *preflight, const struct gw_migration_config *config);

/*
 * Defaults that whoever checks and whoever migrates must agree on.
 * The name: config's, or <source>-<target> from the kernel names; letters, digits,
 * '-' and '_' only (bpffs takes no dots; a default name gets '_' for the rest).
 * Return: 0, or -EINVAL for a given name that is none; out is "" then.
 */
int gw_migration_name(char out[128], const struct gw_migration_config *config,
		      const struct gw_node *source, const struct gw_node *target);
/* state_dir as given, or the default for that name. */
void gw_migration_state_dir(char out[PATH_MAX], const char *name, const char *state_dir);
/* One lock per source disk, flock()ed as long as a migration lives. run_dir NULL: the default. */
void gw_migration_lock_path(char out[PATH_MAX], const char *run_dir, dev_t disk);

#endif

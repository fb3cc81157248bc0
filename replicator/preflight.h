/* SPDX-License-Identifier: GPL-2.0-or-later */
/* `godwit check`: can this migration work? Each requirement a row. Changes nothing. */
#ifndef GW_PREFLIGHT_H
#define GW_PREFLIGHT_H

#include <stdbool.h>
#include <stdint.h>

#include <godwit/migration.h>

#include "blkinfo.h"
#include "err.h"

enum gw_row_state { GW_ROW_MET, GW_ROW_WARNING, GW_ROW_UNMET };

struct gw_row {
	const char *id;			/* stable key, e.g. "target-size" */
	enum gw_row_state state;
	char what[96];			/* the requirement */
	char why[256];			/* what was found */
	char mend[256];			/* how to mend; "" where met */
};

#define GW_PREFLIGHT_ROWS_MAX 40

struct gw_preflight {
	struct gw_row rows[GW_PREFLIGHT_ROWS_MAX];
	uint32_t count, unmet, warnings;
	struct gw_node source, target;	/* as looked at; zeroed where the path is no good */
	uint64_t memory_bytes, state_bytes;	/* that the migration would take */
	double estimate_s;		/* duration, at a rate measured by a short read of the source; 0: unknown */
};

/*
 * Fills every row; always runs to the end. Return: 0 if all are met (warnings
 * allowed), -EPERM otherwise (nothing said in diag: the rows say it).
 */
int gw_preflight_run(struct gw_preflight *preflight, const struct gw_migration_config *config);

#endif

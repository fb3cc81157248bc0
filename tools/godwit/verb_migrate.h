/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Settings that `check` and `migrate` share: a check looks at what the migration would be told. */
#ifndef GW_VERB_MIGRATE_H
#define GW_VERB_MIGRATE_H

#include <godwit/migration.h>

#include "options.h"

struct gw_migrate_settings {
	struct gw_common common;
	struct gw_migration_config config;
	const char *continue_name;
	const char *nice;		/* as it was typed: 0 is no default */
	bool yes, dry_run, background;
};

/* The rows that matter to a check, too. */
extern const struct gw_option gw_options_migration[];

/*
 * What one option means for another. Return: GW_EXIT_DONE, or GW_EXIT_USAGE
 * with the reason said.
 */
int gw_migrate_settle(const struct gw_call *call);

/* Prints the requirements of the two operands. Return: enum gw_exit. */
int gw_check_show(const struct gw_call *call);

#endif

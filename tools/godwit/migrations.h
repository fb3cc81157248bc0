/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Which migrations there are on this machine, and how each of them is. */
#ifndef GW_MIGRATIONS_H
#define GW_MIGRATIONS_H

#include <limits.h>
#include <stdbool.h>
#include <stdint.h>

#include <json-c/json.h>

#include "control_client.h"
#include "err.h"

enum gw_migration_life {
	GW_LIFE_RUNS,			/* its socket answers */
	GW_LIFE_SILENT,			/* a process holds its state directory, without a socket: it begins or ends */
	GW_LIFE_DEAD,			/* what a killed process left */
};

struct gw_migration_look {
	char name[128];
	enum gw_migration_life life;
	bool stale_socket, has_pins;
	bool is_quiesced, is_committed;	/* dead ones: as their journal says */
	struct json_object *status;	/* of one that runs: its reply; else NULL. gw_migration_look_fini() */
	char state_dir[4096];
	char advice[512];		/* dead ones: what to do */
};

void gw_migration_look_at(struct gw_migration_look *look, const char *run_dir, const char *name);
void gw_migration_look_fini(struct gw_migration_look *look);

/* Calls fn for each, those that have ended and left nothing are none. */
void gw_migrations_each(const char *run_dir,
			void (*fn)(void *arg, const struct gw_migration_look *look), void *arg);

/* A path if it has a slash or is there; else the state directory of that name. Return: 0 or -ENAMETOOLONG. */
int gw_migration_find(char path[PATH_MAX], const char *operand);

/*
 * Connects to the one of this name; NULL: to the only one that runs. The name is kept in
 * found. Return: 0; a negative errno, said, with what to do (GW_EXIT_CANNOT).
 */
int gw_migration_connect(struct gw_client *client, const char *run_dir, const char *name,
			 char found[128], struct gw_diag *diag);

#endif

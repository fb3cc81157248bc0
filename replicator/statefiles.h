/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What a migration leaves on disk outside bpffs: its state directory (journal,
 * digests), the lock of its source disk, and <run dir>/<name>.state, which tells
 * later commands where the state directory is. A lock is held as long as the
 * process lives, so that nobody takes a live migration for a dead one.
 */
#ifndef GW_STATEFILES_H
#define GW_STATEFILES_H

#include <stdbool.h>

#include <godwit/migration.h>

#include "err.h"
#include "job.h"

/*
 * For a new migration: makes and locks the state directory (an ended journal in it
 * is put aside as journal.<n>), locks the source disk, writes the run file.
 * -EEXIST: a migration that did not end is in it; -EBUSY: it, or another one of
 * the same disk, is running. Errors are said.
 */
int gw_state_create(struct gw_job *job, const struct gw_migration_config *config);

/* For one that is there: finds its state directory by name and locks it. -ENOENT, -EBUSY said. */
int gw_state_open(struct gw_job *job, const struct gw_migration_config *config);
/* Behind gw_state_open(): the process that let go of the one may be about to let go of the other. */
int gw_state_lock_disk(struct gw_job *job);
/* Is the journal in the state directory that of this name? -ESTALE, said. */
int gw_state_check_name(struct gw_job *job, struct json_object *started);

/*
 * A migration has ended with exit_code: removes the run file and (unless they are
 * to be kept) the digests; after a refusal of a new migration also the journal
 * and the directory. Unlocks.
 */
void gw_state_release(struct gw_job *job, int exit_code);
/* Unlocks and leaves everything as it is. */
void gw_state_unlock(struct gw_job *job);

int gw_state_remove_digests(const char *state_dir, struct gw_diag *diag);

/* The state directory of a name: what the run file says, else the default. */
void gw_state_find(char state_dir[PATH_MAX], const char *name, const char *given,
		   const char *run_dir);
void gw_state_forget(const char *name, const char *run_dir);

/* For gw_handoff_committed: 1, 0, or negative errno. */
int gw_state_is_committed(const char *state_dir);

#endif

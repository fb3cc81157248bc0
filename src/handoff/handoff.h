/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Hand-off: stop the writers, and give the device's work to the target. One
 * interface, providers handoff_freeze.c, handoff_exec.c, handoff_none.c, handoff_dm.c.
 * Calls come in the order of enum gw_handoff_state; gw_handoff.c checks it.
 *
 * Rule 6, one owner: a watchdog child (freeze, exec, dm) shares the state. It takes
 * the source back when the deadline passes or this process dies before the
 * commit record is in the journal; after it, it finishes the switch.
 */
#ifndef GW_HANDOFF_H
#define GW_HANDOFF_H

#include <stdbool.h>
#include <stdint.h>

#include "blkinfo.h"
#include "err.h"

enum gw_handoff_kind { GW_HANDOFF_FREEZE, GW_HANDOFF_EXEC, GW_HANDOFF_NONE, GW_HANDOFF_DM };

enum gw_handoff_state {
	GW_HANDOFF_NEW,
	GW_HANDOFF_PREPARED,
	GW_HANDOFF_QUIESCED,
	GW_HANDOFF_COMMITTING,		/* the watchdog no longer takes the source back by time */
	GW_HANDOFF_SWITCHED,
	GW_HANDOFF_RESUMED,
	GW_HANDOFF_ABORTED,
};

#define GW_HANDOFF_LOCKS 2

/* Borrowed until destroy, with all that it points to (keep_writable: until prepare has returned). */
struct gw_handoff_config {
	enum gw_handoff_kind kind;
	const char *migration;		/* name */
	const struct gw_node *source, *target;
	const char *state_dir;
	const char *const *keep_writable;	/* NULL-terminated paths that must not be frozen (state dir, binary, stdout, ...) */
	/* exec: shell commands, NULL for none. */
	const char *exec_quiesce, *exec_switch, *exec_resume, *exec_abort;
	const char *dm_name;		/* dm: the device-mapper device above the source */
	uint64_t exec_timeout_ns;	/* of each command (default 30 s) */
	uint64_t deadline_ns;		/* from quiesce to commit (default 10 s), then the watchdog takes the source back */
	/* Locks of the migration and its source: the watchdog keeps them too, so that nobody takes
	   over before it is through; 0 or negative: none. */
	int lock_fds[GW_HANDOFF_LOCKS];
};

struct gw_handoff;

int gw_handoff_create(struct gw_handoff **handoff, const struct gw_handoff_config *config);
/* Aborts if that is still due. Reaps the watchdog. NULL is fine. */
void gw_handoff_destroy(struct gw_handoff *handoff);

/*
 * All that can fail, fails here, before anything is copied: freeze: every user
 * of the source is a mounted file system that can be frozen and shut down, none
 * of keep_writable on it, memory locked. Forks nothing. Errors are said
 * (GW_EXIT_CANNOT).
 */
int gw_handoff_prepare(struct gw_handoff *handoff, struct gw_diag *diag);

/* New limits, before quiesce; 0: as it was. They are in the recovery record, too. */
int gw_handoff_set_limits(struct gw_handoff *handoff, uint64_t deadline_ns,
			  uint64_t exec_timeout_ns, struct gw_diag *diag);

/* syncfs of what freeze will freeze (dm: of what is mounted from its device; others: nothing). *cost_ns: how long it took. Any time after prepare. */
int gw_handoff_sync(struct gw_handoff *handoff, uint64_t *cost_ns, struct gw_diag *diag);

/*
 * What the QUIESCING record must hold so that gw_handoff_recover() can work from
 * it; a JSON object as text, borrowed until destroy. After prepare.
 */
const char *gw_handoff_recovery_json(struct gw_handoff *handoff);

/*
 * Looks again at what prepare found, and starts the watchdog: it takes milliseconds, so that
 * it is done while the writers still write. Right before quiesce, which does it if it was left out.
 */
int gw_handoff_arm(struct gw_handoff *handoff, struct gw_diag *diag);

/*
 * Stops the writers; the watchdog is armed first. On failure nothing stays stopped.
 * -ETIME: commands or FIFREEZE took longer than allowed.
 */
int gw_handoff_quiesce(struct gw_handoff *handoff, struct gw_diag *diag);

/*
 * The target holds all and nobody has claimed it: dm loads its table. Between
 * quiesce and begin_commit. Nothing to do for the others.
 */
int gw_handoff_load(struct gw_handoff *handoff, struct gw_diag *diag);

/* Does load need a target that nobody has claimed? Then let go of it first. */
bool gw_handoff_loads(const struct gw_handoff *handoff);

/* Right before the commit record is written. -ETIME: the watchdog has taken the source back; abort. */
int gw_handoff_begin_commit(struct gw_handoff *handoff, struct gw_diag *diag);

/* After the commit record is durable: source shut down and thawed (freeze), user's switch command (exec). */
int gw_handoff_switch(struct gw_handoff *handoff, struct gw_diag *diag);
/* The workload goes on, on the target: user's resume command (exec). */
int gw_handoff_resume(struct gw_handoff *handoff, struct gw_diag *diag);

/* Back to the source, from every state before the commit record; after it -EPERM. Safe to call twice. */
int gw_handoff_abort(struct gw_handoff *handoff, struct gw_diag *diag);

/* Time spent in the user's commands by this process so far (exec; else 0). */
uint64_t gw_handoff_user_ns(const struct gw_handoff *handoff);

/*
 * For a dead migration, whoever cleans up: from the QUIESCING record's
 * recovery JSON. committed says which way: thaw / abort command, or shut down
 * then thaw / switch and resume commands. Safe to run twice. Return: 0 or the
 * first error, said.
 */
int gw_handoff_recover(const char *recovery_json, bool committed, struct gw_diag *diag);

/*
 * Does the journal in state_dir hold a commit record? Set by the replicator at
 * start (handoff is below it); the watchdog child calls it after a death, and
 * gw_handoff_abort() between begin_commit and switch. It should sync the journal
 * before it answers 1. Return: 1, 0, or negative errno (unclear: things then stay
 * frozen for `godwit cleanup`, and that is said). Default: -ENOSYS.
 */
typedef int (*gw_handoff_committed_fn)(const char *state_dir);
extern gw_handoff_committed_fn gw_handoff_committed;

#endif

/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A user's command: /bin/sh -c in a session of its own, with a time limit. */
#ifndef GW_COMMAND_H
#define GW_COMMAND_H

#include <stdbool.h>
#include <stdint.h>

#include "err.h"
#include "watchdog.h"

#define GW_COMMAND_SHELL "/bin/sh"

struct gw_command {
	const char *text;		/* for the shell */
	const char *phase;		/* quiesce, switch, resume, abort */
	const char *by;			/* migrate, watchdog, cleanup */
	const char *migration, *source, *target, *state_dir;
	uint64_t timeout_ns;
	struct gw_watch *watch;		/* NULL: there is no watchdog */
	bool only_while_armed;		/* not once the watchdog has taken the source back */
};

/*
 * Runs it and waits. stdin is /dev/null, stdout goes to our stderr; processes
 * that it leaves in the background are let be, unless it took too long: then its
 * whole group is killed. Return: 0, or said: -ETIME, -EIO (it failed),
 * -ECANCELED (not run: no longer armed).
 */
int gw_command_run(const struct gw_command *command, struct gw_diag *diag);

/*
 * Ends the command that a dead or stopped owner left running, so that the next
 * one does not run beside it. None is fine.
 */
void gw_command_kill_left(struct gw_watch *watch);

#endif

/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A migration that goes on without its terminal, once it may. */
#ifndef GW_BACKGROUND_H
#define GW_BACKGROUND_H

#include <limits.h>
#include <stdbool.h>

#include "terminal.h"

struct gw_background {
	int fd;				/* between the two processes; -1: none */
	bool is_child;
	/* The parent's: what the child said when it went its own way. */
	char name[128];
	char log[PATH_MAX];
	int child;
};

/*
 * Forks. In the child: returns -1, and gw_background_detach() is to be called as soon as the
 * migration runs. In the parent: returns when that has happened (GW_EXIT_DONE, name and log are
 * set) or the child has ended (its exit code; it has said why).
 */
int gw_background_fork(struct gw_background *background, struct gw_terminal *terminal);

/* Leaves session and terminal: from now on everything goes to STATE_DIR/log. */
void gw_background_detach(struct gw_background *background, const char *name,
			  const char *state_dir, struct gw_terminal *terminal);

#endif

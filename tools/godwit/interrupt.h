/* SPDX-License-Identifier: GPL-2.0-or-later */
/* SIGINT, SIGTERM and SIGHUP ask for an orderly end; whoever works looks at the count. */
#ifndef GW_INTERRUPT_H
#define GW_INTERRUPT_H

#include <stdbool.h>

/*
 * Handles the three signals unless they are ignored (nohup, background jobs).
 * From the second on they say on standard error that the end is under way.
 */
void gw_interrupt_catch(void);
bool gw_interrupt_came(void);

/* A reader that went away is a write error, not a death; children get the default back. */
void gw_interrupt_survive_pipes(void);

#endif

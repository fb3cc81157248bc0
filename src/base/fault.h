/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Places at which a test may kill the process with SIGKILL. Nothing at all is
 * compiled in unless GW_FAULT_POINTS is defined (`make FAULT=1`). There,
 * GODWIT_KILL_AT=NAME[:N] in the environment kills at the Nth passing
 * (default 1) of the point NAME; GODWIT_KILL_AT=any:N at the Nth of all.
 * GODWIT_KILL_AT=FIRST,NAME[:N] counts only from the first passing of FIRST on.
 * With GODWIT_KILL_STOPS set it stops there instead (SIGSTOP), for tests that
 * have more to do before they kill it.
 */
#ifndef GW_FAULT_H
#define GW_FAULT_H

#ifdef GW_FAULT_POINTS
void gw_fault_point(const char *name);
#else
#define gw_fault_point(name) ((void)0)
#endif

#endif

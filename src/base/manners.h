/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * How the copier behaves beside others on the same machine: its nice value and
 * its CPUs. Both belong to the calling thread, and to what it starts afterwards;
 * what there was before is kept here, once for the process, since a child that
 * becomes somebody else's program must get it back.
 */
#ifndef GW_MANNERS_H
#define GW_MANNERS_H

#include <sched.h>
#include <stdbool.h>
#include <stddef.h>

/*
 * The kernel makes an I/O priority of it where none is set: level (nice + 20) / 5. 10 would give
 * what godwit itself reads and syncs the copier's mark, level 6 (decisions/0001).
 */
#define GW_NICE_DEFAULT 5
#define GW_NICE_MAX 19

/* "0-3,6": Return: 0, or -EINVAL if it is no such list, or names a CPU that a cpu_set_t has no room for. */
int gw_parse_cpus(const char *text, cpu_set_t *cpus);

/*
 * nice: as given, or -1: GW_NICE_DEFAULT, unless it is higher already. cpus: NULL for all. Return: 0 or
 * negative errno: -EINVAL if none of the CPUs can be used. On failure nothing has changed.
 */
int gw_manners_adopt(int nice, const cpu_set_t *cpus);
/* Others wait for us now: back to the first nice value. Without the right to, it stays. */
void gw_manners_hurry(bool is_urgent);
/* All as it was. For a child that becomes another program, for a watchdog, and for the end. Never adopted is fine. */
void gw_manners_drop(void);
/* The CPUs adopted; false if there was no such limit. */
bool gw_manners_cpus(cpu_set_t *cpus);

#endif

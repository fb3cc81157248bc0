/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The watchdog: a child that shares the right to decide what becomes of the
 * source. One word in shared memory says who has it; it is only ever changed by
 * compare-and-swap. A socket pair tells each side that the other has died.
 *
 *   ARMED ---deadline, by the watchdog--> EXPIRED --> TAKEN_BACK
 *     |---begin_commit, by the owner----> COMMITTING --> DONE
 *     `---take_over, by the owner-------> ABORTING ----> DONE
 *
 * The owner gone and the word not DONE: the watchdog reads the commit record
 * and takes the source back, or finishes the switch.
 */
#ifndef GW_WATCHDOG_H
#define GW_WATCHDOG_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "err.h"

#define GW_WATCH_MOUNTS_MAX 64
#define GW_WATCHDOG_FDS_MAX (GW_WATCH_MOUNTS_MAX + 2)	/* mounts and locks */

enum gw_watch_word {
	GW_WATCH_ARMED,
	GW_WATCH_COMMITTING,
	GW_WATCH_ABORTING,
	GW_WATCH_EXPIRED,
	GW_WATCH_TAKEN_BACK,
	GW_WATCH_DONE,
};

/* Shared memory of both processes. */
struct gw_watch {
	_Atomic uint32_t word;		/* enum gw_watch_word */
	_Atomic bool has_switched;	/* all of switch_over was done */
	_Atomic bool has_resumed;
	_Atomic bool has_taken_back;
	_Atomic int32_t command_pid;	/* leader of the user's command that runs now; 0: none */
	_Atomic uint64_t command_start;	/* its start time, so that a reused pid is not taken for it */
	_Atomic bool touched[GW_WATCH_MOUNTS_MAX];	/* frozen by us, or about to be */
};

struct gw_watchdog {
	pid_t pid;			/* 0: not armed */
	int fd;				/* our end of the pair */
	struct gw_watch *watch;
};

struct gw_watchdog_config {
	const char *migration, *state_dir;
	uint64_t deadline_ns;		/* from now */
	const int *keep_fds;
	uint32_t keep_count;
	/* Run in the child. 0 or negative errno, said in diag (which prints on stderr). */
	int (*take_back)(void *arg, struct gw_diag *diag);
	int (*finish)(void *arg, struct gw_diag *diag);
	int (*committed)(const char *state_dir);
	void *arg;
	const char *taken_back;		/* what is said when it was; NULL: that the source goes on */
};

/* Shared memory; NULL if there is none. Undo with gw_watch_free(), NULL is fine. */
struct gw_watch *gw_watch_new(void);
void gw_watch_free(struct gw_watch *watch);
bool gw_watch_is_armed(const struct gw_watch *watch);

/* Forks; returns when the child has locked its memory and watches. */
int gw_watchdog_arm(struct gw_watchdog *watchdog, struct gw_watch *watch,
		    const struct gw_watchdog_config *config, struct gw_diag *diag);

/* Return: 0; -ETIME: it has taken the source back; -EOWNERDEAD: it has died. */
int gw_watchdog_begin_commit(struct gw_watchdog *watchdog);

/* Nobody would notice the owner's death any more. */
bool gw_watchdog_has_died(const struct gw_watchdog *watchdog);

/* The owner aborts. Returns when the watchdog, if it was faster, has done its part. */
void gw_watchdog_take_over(struct gw_watchdog *watchdog);

/* All is done: the child ends and is reaped. Not armed is fine. */
void gw_watchdog_disarm(struct gw_watchdog *watchdog);
/* As if the owner had died: the child decides, acts, ends, and is reaped. */
void gw_watchdog_leave(struct gw_watchdog *watchdog);

#endif

/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The control socket: a line with a command comes in, lines of JSON go out. See docs/godwit-ssd.md. */
#ifndef GW_SSD_CONTROL_H
#define GW_SSD_CONTROL_H

#include <pthread.h>
#include <stdbool.h>

#include "ssd_observe.h"

#define GW_SSD_LINE_BYTES_MAX 1024u	/* of a command */

struct gw_ssd_control {
	const char *path;		/* borrowed */
	const struct gw_ssd_set *set;	/* borrowed */
	int fd;
	bool has_thread;
	pthread_t thread;
};

/*
 * What the command `line` (its end cut off) comes to; the answer is the caller's to free. One caller
 * at a time. is_refused: the answer is an error, in words.
 */
char *gw_ssd_control_answer(const struct gw_ssd_set *set, const char *line, bool *is_refused);

/* Commands from a file, one in a line, # for comments. Return: 0, or negative errno, said with its line. */
int gw_ssd_control_script(const struct gw_ssd_set *set, const char *path, struct gw_diag *diag);

/* Return: 0 or negative errno, said in diag. set stays where it is until gw_ssd_control_close(). */
int gw_ssd_control_open(struct gw_ssd_control *control, const char *path, const struct gw_ssd_set *set,
			struct gw_diag *diag);
void gw_ssd_control_close(struct gw_ssd_control *control);

/*
 * The other end: sends the command and prints the answer. Return: 0 or negative errno, said; an
 * answer that is an error is one, too.
 */
int gw_ssd_control_ask(const char *path, const char *line, struct gw_diag *diag);

/* A listening UNIX socket for its owner alone, in place of one that nobody listens on any more. */
int gw_listen_on(const char *path, struct gw_diag *diag);

#endif

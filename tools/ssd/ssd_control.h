/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The control socket: a line with a command comes in, lines of JSON go out. See docs/godwit-ssd.md. */
#ifndef GW_SSD_CONTROL_H
#define GW_SSD_CONTROL_H

#include <pthread.h>
#include <stdbool.h>
#include <sys/types.h>

#include "ssd_observe.h"

#define GW_SSD_LINE_BYTES_MAX 1024u	/* of a command */

/* A listening UNIX socket, and the file that it has in the file system. */
struct gw_ssd_socket {
	const char *path;		/* borrowed */
	int fd;				/* -1: none */
	dev_t device;
	ino_t inode;
};

struct gw_ssd_control {
	struct gw_ssd_socket socket;
	const struct gw_ssd_set *set;	/* borrowed */
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

/* For its owner alone, in place of one that nobody listens on any more. Return: 0 or negative errno, said. */
int gw_ssd_socket_open(struct gw_ssd_socket *s, const char *path, struct gw_diag *diag);
/* The next client. Waits while the process has no descriptor for one. Return: -1: it was shut down. */
int gw_ssd_socket_accept(const struct gw_ssd_socket *s);
/* Removes the file, too, unless it is another one by now. */
void gw_ssd_socket_close(struct gw_ssd_socket *s);

#endif

/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The control socket: a line with a command comes in, a line of JSON goes out. See docs/ssd.md. */
#ifndef GW_SSD_CONTROL_H
#define GW_SSD_CONTROL_H

#include <pthread.h>
#include <stdbool.h>

#include "ssd.h"

struct gw_ssd_control {
	const char *path;		/* borrowed */
	struct gw_subsys *subsys;	/* borrowed: an array */
	uint32_t subsystems;
	int fd;
	bool has_thread;
	pthread_t thread;
};

/* What the command `line` (its end cut off) comes to; the answer is the caller's to free. */
char *gw_ssd_control_answer(struct gw_subsys *subsys, uint32_t subsystems, const char *line);

/* Return: 0 or negative errno, said in diag. subsys stays where it is until gw_ssd_control_close(). */
int gw_ssd_control_open(struct gw_ssd_control *control, const char *path, struct gw_subsys *subsys,
		    uint32_t subsystems, struct gw_diag *diag);
void gw_ssd_control_close(struct gw_ssd_control *control);

/* The other end: sends the command and prints the answer. Return: 0 or negative errno, said. */
int gw_ssd_control_ask(const char *path, const char *line, struct gw_diag *diag);

/* A listening UNIX socket for its owner alone, in place of one that nobody listens on any more. */
int gw_listen_on(const char *path, struct gw_diag *diag);

#endif

/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A UNIX socket that one port is behind: a client at a time, as many after each other as come. */
#ifndef GW_SSD_LISTEN_H
#define GW_SSD_LISTEN_H

#include <pthread.h>
#include <stdbool.h>

#include "ssd.h"
#include "ssd_control.h"

struct gw_listener {
	struct gw_ssd_socket socket;
	int client_fd;			/* -1: none */
	bool is_stopping, has_thread;
	pthread_mutex_t lock;		/* of client_fd and is_stopping */
	pthread_t thread;
	struct gw_port port;
};

/*
 * Binds the socket, in place of one that nobody listens on any more. Return: 0 or negative errno,
 * said in diag. Nobody is let in before gw_listener_start().
 */
int gw_listener_open(struct gw_listener *listener, const char *path, struct gw_ctrl *ctrl,
		     struct gw_diag *diag);
int gw_listener_start(struct gw_listener *listener);
void gw_listener_close(struct gw_listener *listener);

#endif

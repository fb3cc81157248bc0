/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The other end of a migration's control socket. One thread. */
#ifndef GW_CONTROL_CLIENT_H
#define GW_CONTROL_CLIENT_H

#include <stdbool.h>
#include <stddef.h>

#include <json-c/json.h>

#include "control.h"
#include "err.h"

struct gw_client {
	int fd;
	const char *name;		/* borrowed */
	size_t used;
	char buffer[GW_CONTROL_MESSAGE_BYTES_MAX];
};

/*
 * Return: 0; -ENOENT: there is no socket of this name; -ECONNREFUSED: there is one that
 * nobody serves; other errors. Nothing is said.
 */
int gw_client_open(struct gw_client *client, const char *run_dir, const char *name);
void gw_client_close(struct gw_client *client);

int gw_client_send(struct gw_client *client, const struct gw_control_request *request,
		   struct gw_diag *diag);
/*
 * The next message, the caller's to put. timeout_ms -1: for ever. Return: 0; -ETIMEDOUT, -EPIPE
 * (the other side closed), -EBADMSG; said.
 */
int gw_client_hear(struct gw_client *client, int timeout_ms, struct json_object **message,
		   struct gw_diag *diag);
/*
 * Sends, and hears the reply; events before it are left out. A refusal is said. Return: as above,
 * and -EPERM for a refusal (GW_EXIT_USAGE for what was asked wrongly, else GW_EXIT_CANNOT).
 */
int gw_client_ask(struct gw_client *client, const struct gw_control_request *request,
		  struct json_object **reply, struct gw_diag *diag);

#endif

/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The control socket of one migration, <run dir>/<name>.sock, and the thread that serves
 * it: the only one beside the engine's. It answers looks by itself, from what was published
 * last, so that they are answered while the engine's thread waits for a device; changes
 * wait in a mailbox until that thread takes them in its tick. Nothing here waits for
 * a client, and nothing grows: clients, lines and output are bounded.
 */
#ifndef GW_CONTROL_SERVER_H
#define GW_CONTROL_SERVER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "control.h"
#include "err.h"

#define GW_CONTROL_CLIENTS_MAX 16

struct gw_control_server;

/* All that it will ever take, its thread's stack included. */
size_t gw_control_server_bytes(void);

/*
 * Binds the socket (mode 0600) and starts the thread. The socket of a dead migration gives
 * way; a live one of this name is -EBUSY. run_dir must exist. first is what is answered before
 * anything is published. Errors are said (GW_EXIT_CANNOT).
 */
int gw_control_server_start(struct gw_control_server **server, const char *run_dir,
			    const char *name, const struct gw_control_status *first,
			    struct gw_diag *diag);
/*
 * Tells all that watch how it ended, waits for slow readers a moment, removes the socket. NULL is
 * fine.
 */
void gw_control_server_stop(struct gw_control_server *server, int exit_code, const char *reason);

/* ---- for the migration's own thread ---- */

/* What is answered from now on (age_ns is counted here); tells those that watch of another state. */
void gw_control_publish(struct gw_control_server *server, const struct gw_control_status *status);
/* Tells those that watch. NULL is fine. */
void gw_control_say(struct gw_control_server *server, enum gw_message level, const char *text);

/* A change that somebody asks for. */
struct gw_control_asked {
	uint32_t slot;			/* for the answer */
	struct gw_control_request request;
	struct gw_control_peer peer;
};

/* Return: true if there was one; it must be answered before the next one is taken. */
bool gw_control_take(struct gw_control_server *server, struct gw_control_asked *asked);
/* refusal: NULL if it was done, else why not; text: what was done. Both are told to those that watch. */
void gw_control_answer(struct gw_control_server *server, const struct gw_control_asked *asked,
		       const struct gw_control_refusal *refusal, const char *text);

/* ---- for both sides ---- */

/* An address for bind and connect; sun_path is short: -ENAMETOOLONG. */
struct sockaddr_un;
/* Does a migration of that name run? One that is just beginning or ending need not be seen. */
bool gw_control_is_served(const char *run_dir, const char *name);
/* What a killed migration left, unless somebody serves it. Return: true if there was a socket. */
bool gw_control_remove_stale(const char *run_dir, const char *name);
int gw_control_address(struct sockaddr_un *address, const char *run_dir, const char *name);

#endif

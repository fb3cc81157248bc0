// SPDX-License-Identifier: GPL-2.0-or-later
#include "control_client.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include "control_server.h"
#include "jsonkeys.h"

#define REPLY_MS 30000			/* the server takes two seconds at most */
#define CONNECT_S 5			/* it accepts at once, unless its process stands still */

int gw_client_open(struct gw_client *client, const char *run_dir, const char *name)
{
	const struct timeval patience = { .tv_sec = CONNECT_S };
	struct sockaddr_un address;
	int err = gw_control_address(&address, run_dir, name);

	client->fd = -1;
	client->name = name;
	client->used = 0;
	if (err < 0)
		return err;
	client->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (client->fd < 0)
		return -errno;
	setsockopt(client->fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience));
	if (connect(client->fd, (const struct sockaddr *)&address, sizeof(address)) == 0)
		return 0;
	err = errno == EAGAIN ? -ETIMEDOUT : -errno;
	gw_client_close(client);
	return err;
}

void gw_client_close(struct gw_client *client)
{
	if (client->fd >= 0)
		close(client->fd);
	client->fd = -1;
}

int gw_client_send(struct gw_client *client, const struct gw_control_request *request,
		   struct gw_diag *diag)
{
	char line[GW_CONTROL_REQUEST_BYTES_MAX];
	const int bytes = gw_control_write(gw_control_request_json(request), line, sizeof(line));

	if (bytes < 0 || send(client->fd, line, (size_t)bytes, MSG_NOSIGNAL) != bytes)
		return gw_fail_exit(diag, GW_EXIT_CANNOT, -EPIPE, "%s: the migration does not take "
				    "the request: %s", client->name, strerror(errno));
	return 0;
}

/* Return: bytes of the first line in the buffer, with its end; 0: none yet. */
static size_t line_bytes(const struct gw_client *client)
{
	const char *const end = memchr(client->buffer, '\n', client->used);

	return end != NULL ? (size_t)(end - client->buffer) + 1 : 0;
}

static int read_more(struct gw_client *client, int timeout_ms, struct gw_diag *diag)
{
	struct pollfd pollfd = { .fd = client->fd, .events = POLLIN };
	ssize_t got;
	int ready;

	if (client->used == sizeof(client->buffer))
		return gw_fail_exit(diag, GW_EXIT_CANNOT, -EBADMSG, "%s: a message of more than "
				    "%zu bytes", client->name, sizeof(client->buffer));
	do {
		ready = poll(&pollfd, 1, timeout_ms);
	} while (ready < 0 && errno == EINTR);
	if (ready == 0)
		return gw_fail_exit(diag, GW_EXIT_CANNOT, -ETIMEDOUT,
				    "%s: the migration does not answer", client->name);
	got = recv(client->fd, client->buffer + client->used,
		   sizeof(client->buffer) - client->used, 0);
	if (got <= 0)
		return -EPIPE;
	client->used += (size_t)got;
	return 0;
}

int gw_client_hear(struct gw_client *client, int timeout_ms, struct json_object **message,
		   struct gw_diag *diag)
{
	size_t bytes;
	int err = 0;

	while ((bytes = line_bytes(client)) == 0 && err == 0)
		err = read_more(client, timeout_ms, diag);
	if (err != 0)
		return err;
	client->buffer[bytes - 1] = '\0';
	*message = json_tokener_parse(client->buffer);
	client->used -= bytes;
	memmove(client->buffer, client->buffer + bytes, client->used);
	if (json_object_is_type(*message, json_type_object))
		return 0;
	json_object_put(*message);
	return gw_fail_exit(diag, GW_EXIT_CANNOT, -EBADMSG, "%s: the migration's answer is no JSON",
			    client->name);
}

static int check_reply(struct gw_client *client, struct json_object *reply, struct gw_diag *diag)
{
	const char *const error = gw_json_string(reply, "error");
	const char *const text = gw_json_string(reply, "text");
	enum gw_exit exit_code = GW_EXIT_CANNOT;
	bool ok = false;

	gw_json_bool(reply, "ok", &ok);
	if (ok)
		return 0;
	if (error != NULL && (strcmp(error, gw_control_error_name(GW_CONTROL_OUT_OF_RANGE)) == 0 ||
			      strcmp(error, gw_control_error_name(GW_CONTROL_BAD_ARGUMENT)) == 0))
		exit_code = GW_EXIT_USAGE;
	return gw_fail_exit(diag, exit_code, -EPERM, "%s: %s", client->name,
			    text != NULL ? text : "refused");
}

int gw_client_ask(struct gw_client *client, const struct gw_control_request *request,
		  struct json_object **reply, struct gw_diag *diag)
{
	int err = gw_client_send(client, request, diag);

	while (err == 0) {
		err = gw_client_hear(client, REPLY_MS, reply, diag);
		if (err == -EPIPE)
			return gw_fail_exit(diag, GW_EXIT_CANNOT, err, "%s: the migration ended "
					    "before it answered", client->name);
		if (err != 0)
			return err;
		if (gw_json_string(*reply, "event") == NULL)
			break;
		json_object_put(*reply);
	}
	if (err == 0)
		err = check_reply(client, *reply, diag);
	if (err == -EPERM)
		json_object_put(*reply);
	return err;
}

// SPDX-License-Identifier: GPL-2.0-or-later
#include "control_server.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "clock.h"
#include "fault.h"

#define STACK_BYTES (UINT64_C(256) << 10)
#define IN_BYTES 4096
#define OUT_BYTES (2 * GW_CONTROL_MESSAGE_BYTES_MAX)
#define PROGRESS_NS (250 * GW_NS_PER_MS)
#define ANSWER_NS (2 * GW_NS_PER_S)	/* then a change is answered as accepted */
#define SILENT_NS (10 * GW_NS_PER_S)	/* so long, a client may have to give way to another */
#define STOP_NS (500 * GW_NS_PER_MS)	/* for what is still to be sent at the end */
#define DEAF_NS (100 * GW_NS_PER_MS)	/* to newcomers, without a descriptor for them */

/* A change on its way through the migration's thread. */
enum ask { ASK_NONE, ASK_WAITING, ASK_TAKEN };

struct client {
	int fd;				/* -1: nobody */
	bool watches;
	bool at_eof;			/* it sends nothing more */
	bool is_answered;		/* the change, as accepted: its end is told to watchers only */
	enum ask ask;
	uint64_t asked_ns;
	uint64_t heard_ns;		/* when it last read or wrote */
	uint64_t dropped;		/* events, since the last that fitted */
	struct gw_control_request request;
	struct gw_control_peer peer;
	struct gw_control_reader reader;
	size_t in_at, in_used;		/* read from the socket, not yet looked at */
	size_t out_used;
	char in[IN_BYTES];
	char out[OUT_BYTES];
};

struct gw_control_server {
	int fd, wake_fd;
	dev_t dev;			/* of the socket's name, to know it again */
	ino_t ino;
	char path[sizeof(((struct sockaddr_un *)0)->sun_path)];
	pthread_t thread;
	bool has_thread;
	pthread_mutex_t lock;		/* over all that follows; never held while waiting */
	bool is_stopping;
	uint64_t published_ns, progress_ns;
	uint64_t deaf_until_ns;		/* there was no descriptor for a newcomer */
	struct gw_control_status status;
	struct client clients[GW_CONTROL_CLIENTS_MAX];
	char line[GW_CONTROL_MESSAGE_BYTES_MAX];
};

size_t gw_control_server_bytes(void)
{
	return sizeof(struct gw_control_server) + STACK_BYTES;
}

static uint64_t now_ns(void)
{
	return gw_now_ns(&gw_clock_monotonic);
}

static void wake(struct gw_control_server *server)
{
	const uint64_t one = 1;

	/* Full means that it is awake. */
	(void)!write(server->wake_fd, &one, sizeof(one));
}

/* ---- output ---- */

static bool append(struct client *client, const char *line, size_t bytes)
{
	if (bytes > sizeof(client->out) - client->out_used)
		return false;
	memcpy(client->out + client->out_used, line, bytes);
	client->out_used += bytes;
	return true;
}

/* A message that cannot be written is a bug: the longest were tried (tests/unit). */
static size_t write_line(struct gw_control_server *server, struct json_object *message_give)
{
	const int bytes = gw_control_write(message_give, server->line, sizeof(server->line));

	assert(bytes > 0);
	return (size_t)bytes;
}

/* There is room for one: nothing is read from a client without it, and events leave it. */
static void reply(struct gw_control_server *server, struct client *client,
		  struct json_object *message_give)
{
	const size_t bytes = write_line(server, message_give);
	bool fits = true;

	if (client->fd >= 0)
		fits = append(client, server->line, bytes);
	assert(fits);
}

/* The last message's worth of room is kept for a reply. */
static bool has_event_room(const struct client *client, size_t bytes)
{
	return client->out_used + bytes <= sizeof(client->out) - GW_CONTROL_MESSAGE_BYTES_MAX;
}

/* What was lost comes first, so that nobody takes the stream for whole. */
static void append_event(struct client *client, const char *line, size_t bytes)
{
	char dropped[256];
	int dropped_bytes;

	if (client->dropped > 0) {
		dropped_bytes = gw_control_write(gw_control_dropped_event(client->dropped), dropped,
						 sizeof(dropped));
		assert(dropped_bytes > 0);
		if (!has_event_room(client, bytes + (size_t)dropped_bytes)) {
			client->dropped++;
			return;
		}
		append(client, dropped, (size_t)dropped_bytes);
		client->dropped = 0;
	}
	if (!has_event_room(client, bytes) || !append(client, line, bytes))
		client->dropped++;
}

static bool has_watchers(const struct gw_control_server *server)
{
	for (uint32_t i = 0; i < GW_CONTROL_CLIENTS_MAX; i++)
		if (server->clients[i].fd >= 0 && server->clients[i].watches)
			return true;
	return false;
}

static void tell(struct gw_control_server *server, struct json_object *event_give)
{
	const size_t bytes = write_line(server, event_give);

	for (uint32_t i = 0; i < GW_CONTROL_CLIENTS_MAX; i++)
		if (server->clients[i].fd >= 0 && server->clients[i].watches)
			append_event(&server->clients[i], server->line, bytes);
}

/* ---- requests ---- */

static void refuse(struct gw_control_server *server, struct client *client,
		   const struct gw_control_refusal *refusal)
{
	reply(server, client, gw_control_refusal_json(refusal, server->status.state));
}

static void reply_status(struct gw_control_server *server, struct client *client, const char *id)
{
	server->status.age_ns = now_ns() - server->published_ns;
	reply(server, client, gw_control_status_json(id, &server->status));
}

static void ask(struct gw_control_server *server, struct client *client,
		const struct gw_control_request *request)
{
	struct gw_control_refusal refusal = { .error = GW_CONTROL_BUSY };

	if (gw_control_check_state(request, server->status.state, &refusal) != 0) {
		refuse(server, client, &refusal);
		tell(server, gw_control_request_event(&client->peer, request, GW_CONTROL_REFUSED,
						      refusal.text));
		return;
	}
	if (client->ask != ASK_NONE) {
		memcpy(refusal.id, request->id, sizeof(refusal.id));
		snprintf(refusal.text, sizeof(refusal.text), "the \"%s\" before is not through yet",
			 gw_control_command_name(client->request.command));
		refuse(server, client, &refusal);
		return;
	}
	client->request = *request;
	client->ask = ASK_WAITING;
	client->asked_ns = now_ns();
	client->is_answered = false;
}

static void handle_line(struct gw_control_server *server, struct client *client)
{
	struct gw_control_request request;
	struct gw_control_refusal refusal;

	if (client->reader.used_bytes == 0)
		return;
	if (gw_control_parse(&request, client->reader.line, client->reader.used_bytes,
			     &refusal) != 0) {
		refuse(server, client, &refusal);
		return;
	}
	switch (request.command) {
	case GW_CONTROL_LIST:
		reply(server, client, gw_control_list_json(request.id));
		break;
	case GW_CONTROL_WATCH:
		client->watches = true;
		reply_status(server, client, request.id);
		break;
	case GW_CONTROL_STATUS:
		reply_status(server, client, request.id);
		break;
	default:
		ask(server, client, &request);
	}
}

static bool waits_for_answer(const struct client *client)
{
	return client->ask != ASK_NONE && !client->is_answered;
}

/* Replies come in the order of the requests, and only while there is room for one. */
static bool may_go_on(const struct client *client)
{
	return !waits_for_answer(client) &&
	       sizeof(client->out) - client->out_used >= GW_CONTROL_MESSAGE_BYTES_MAX;
}

static void look_at_input(struct gw_control_server *server, struct client *client)
{
	struct gw_control_refusal too_long = { .error = GW_CONTROL_TOO_LONG };

	while (client->in_at < client->in_used && may_go_on(client)) {
		size_t taken;

		switch (gw_control_read(&client->reader, client->in + client->in_at,
					client->in_used - client->in_at, &taken)) {
		case GW_CONTROL_GOT_LINE:
			handle_line(server, client);
			gw_control_next_line(&client->reader);
			break;
		case GW_CONTROL_GOT_TOO_LONG:
			snprintf(too_long.text, sizeof(too_long.text),
				 "a line may have %d bytes; the rest of it is skipped",
				 GW_CONTROL_REQUEST_BYTES_MAX);
			refuse(server, client, &too_long);
			break;
		case GW_CONTROL_GOT_NOTHING:
			break;
		}
		client->in_at += taken;
	}
}

/* ---- clients ---- */

/* A change that it asked for stands: its slot is kept until that is answered. */
static void hang_up(struct client *client)
{
	close(client->fd);
	client->fd = -1;
	client->watches = false;
	client->out_used = client->in_at = client->in_used = 0;
}

static void receive(struct client *client)
{
	ssize_t got;

	if (client->at_eof || client->in_at < client->in_used)
		return;
	got = recv(client->fd, client->in, sizeof(client->in), MSG_DONTWAIT);
	client->in_at = client->in_used = 0;
	if (got == 0 || (got < 0 && errno != EAGAIN && errno != EINTR))
		client->at_eof = true;
	if (got <= 0)
		return;
	client->in_used = (size_t)got;
	client->heard_ns = now_ns();
}

static void transmit(struct client *client)
{
	const ssize_t sent = send(client->fd, client->out, client->out_used,
				  MSG_DONTWAIT | MSG_NOSIGNAL);

	if (sent < 0 && errno != EAGAIN && errno != EINTR) {
		hang_up(client);
		return;
	}
	if (sent <= 0)
		return;
	client->out_used -= (size_t)sent;
	memmove(client->out, client->out + sent, client->out_used);
	client->heard_ns = now_ns();
}

static void look_at_client(struct gw_control_server *server, struct client *client)
{
	if (waits_for_answer(client) && now_ns() - client->asked_ns >= ANSWER_NS) {
		client->is_answered = true;
		reply(server, client, gw_control_done_json(&client->request, GW_CONTROL_ACCEPTED,
			server->status.state, "the migration waits for a device or a command; it "
			"will be done as soon as that is through"));
	}
	if (client->fd < 0)
		return;
	receive(client);
	look_at_input(server, client);
	if (client->out_used > 0)
		transmit(client);
	/* It may still want to read, unless it has nothing to wait for. */
	if (client->fd >= 0 && client->at_eof && client->out_used == 0 && !client->watches &&
	    client->in_at == client->in_used && !waits_for_answer(client))
		hang_up(client);
}

/* A free slot; else that of the client that has been silent the longest, if for long. */
static struct client *find_slot(struct gw_control_server *server)
{
	struct client *silent = NULL;

	for (uint32_t i = 0; i < GW_CONTROL_CLIENTS_MAX; i++) {
		struct client *const client = &server->clients[i];

		if (client->ask != ASK_NONE)
			continue;
		if (client->fd < 0)
			return client;
		if (silent == NULL || client->heard_ns < silent->heard_ns)
			silent = client;
	}
	if (silent == NULL || now_ns() - silent->heard_ns < SILENT_NS)
		return NULL;
	hang_up(silent);
	return silent;
}

static void read_comm(struct gw_control_peer *peer)
{
	char path[64];
	ssize_t got = -1;
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/comm", (int)peer->pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd >= 0) {
		got = read(fd, peer->comm, sizeof(peer->comm) - 1);
		close(fd);
	}
	peer->comm[got > 0 ? got : 0] = '\0';
	peer->comm[strcspn(peer->comm, "\n")] = '\0';
}

/* Not to be served: told why, if that can be told at once. */
static void turn_away(struct gw_control_server *server, int fd, enum gw_control_error error,
		      const char *text)
{
	struct gw_control_refusal refusal = { .error = error };
	size_t bytes;

	snprintf(refusal.text, sizeof(refusal.text), "%s", text);
	bytes = write_line(server, gw_control_refusal_json(&refusal, server->status.state));
	(void)!send(fd, server->line, bytes, MSG_DONTWAIT | MSG_NOSIGNAL);
	close(fd);
}

static void welcome(struct gw_control_server *server)
{
	const int fd = accept4(server->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	struct ucred cred;
	socklen_t cred_bytes = sizeof(cred);
	struct client *client;

	/* It stays in the queue, and would be reported again and again. */
	if (fd < 0 && (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM))
		server->deaf_until_ns = now_ns() + DEAF_NS;
	if (fd < 0)
		return;
	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &cred_bytes) != 0 ||
	    (cred.uid != 0 && cred.uid != geteuid())) {
		turn_away(server, fd, GW_CONTROL_NOT_ALLOWED,
			  "only root and the migration's own user may ask");
		return;
	}
	client = find_slot(server);
	if (client == NULL) {
		turn_away(server, fd, GW_CONTROL_BUSY, "too many clients; try again");
		return;
	}
	memset(client, 0, sizeof(*client));
	client->fd = fd;
	client->heard_ns = now_ns();
	client->peer.uid = cred.uid;
	client->peer.pid = cred.pid;
	read_comm(&client->peer);
}

/* ---- the thread ---- */

static int timeout_ms(const struct gw_control_server *server)
{
	uint64_t next_ns = UINT64_MAX;
	const uint64_t now = now_ns();

	if (has_watchers(server))
		next_ns = server->progress_ns + PROGRESS_NS;
	for (uint32_t i = 0; i < GW_CONTROL_CLIENTS_MAX; i++) {
		const struct client *const client = &server->clients[i];

		if (waits_for_answer(client) && client->asked_ns + ANSWER_NS < next_ns)
			next_ns = client->asked_ns + ANSWER_NS;
	}
	if (server->deaf_until_ns > now && server->deaf_until_ns < next_ns)
		next_ns = server->deaf_until_ns;
	if (next_ns == UINT64_MAX)
		return -1;
	return next_ns <= now ? 0 : (int)((next_ns - now) / GW_NS_PER_MS) + 1;
}

static uint32_t fill_polls(const struct gw_control_server *server, struct pollfd *polls)
{
	uint32_t count = 0;

	polls[count++] = (struct pollfd){ .fd = server->wake_fd, .events = POLLIN };
	polls[count++] = (struct pollfd){
		.fd = now_ns() < server->deaf_until_ns ? -1 : server->fd,
		.events = POLLIN,
	};
	for (uint32_t i = 0; i < GW_CONTROL_CLIENTS_MAX; i++) {
		const struct client *const client = &server->clients[i];
		short events = 0;

		if (client->out_used > 0)
			events |= POLLOUT;
		if (!client->at_eof && client->in_at == client->in_used && may_go_on(client))
			events |= POLLIN;
		/* One that has hung up would be reported again and again while its input waits. */
		polls[count++] = (struct pollfd){
			.fd = events == 0 && client->in_at < client->in_used ? -1 : client->fd,
			.events = events,
		};
	}
	return count;
}

static void look_at_all(struct gw_control_server *server, const struct pollfd *polls)
{
	uint64_t count;

	if ((polls[0].revents & POLLIN) != 0)
		(void)!read(server->wake_fd, &count, sizeof(count));
	if (has_watchers(server) && now_ns() - server->progress_ns >= PROGRESS_NS) {
		server->progress_ns = now_ns();
		server->status.age_ns = now_ns() - server->published_ns;
		tell(server, gw_control_progress_event(&server->status));
	}
	for (uint32_t i = 0; i < GW_CONTROL_CLIENTS_MAX; i++) {
		struct client *const client = &server->clients[i];

		/* Both directions are gone. */
		if (client->fd >= 0 && (polls[2 + i].revents & (POLLHUP | POLLERR)) != 0 &&
		    (polls[2 + i].revents & POLLIN) == 0 && client->in_at == client->in_used)
			hang_up(client);
		look_at_client(server, client);
	}
	/* Last: a newcomer's slot was not in polls. */
	if ((polls[1].revents & POLLIN) != 0)
		welcome(server);
}

static void *serve(void *arg)
{
	struct gw_control_server *const server = arg;
	struct pollfd polls[2 + GW_CONTROL_CLIENTS_MAX];
	bool is_stopping;

	do {
		uint32_t count;
		int wait_ms;

		pthread_mutex_lock(&server->lock);
		count = fill_polls(server, polls);
		wait_ms = timeout_ms(server);
		pthread_mutex_unlock(&server->lock);
		if (poll(polls, count, wait_ms) < 0)
			continue;
		pthread_mutex_lock(&server->lock);
		look_at_all(server, polls);
		is_stopping = server->is_stopping;
		pthread_mutex_unlock(&server->lock);
	} while (!is_stopping);
	return NULL;
}

/* After the thread: what is still to be sent, for a moment. */
static void send_rest(struct gw_control_server *server)
{
	const uint64_t end_ns = now_ns() + STOP_NS;

	for (;;) {
		struct pollfd polls[GW_CONTROL_CLIENTS_MAX];
		bool has_rest = false;

		for (uint32_t i = 0; i < GW_CONTROL_CLIENTS_MAX; i++) {
			struct client *const client = &server->clients[i];

			if (client->fd >= 0 && client->out_used > 0)
				transmit(client);
			polls[i] = (struct pollfd){ .fd = -1, .events = POLLOUT };
			if (client->fd >= 0 && client->out_used > 0)
				polls[i].fd = client->fd;
			has_rest |= polls[i].fd >= 0;
		}
		if (!has_rest || now_ns() >= end_ns)
			return;
		poll(polls, GW_CONTROL_CLIENTS_MAX, 20);
	}
}

/* ---- start and stop ---- */

int gw_control_address(struct sockaddr_un *address, const char *run_dir, const char *name)
{
	int length;

	memset(address, 0, sizeof(*address));
	address->sun_family = AF_UNIX;
	length = snprintf(address->sun_path, sizeof(address->sun_path), "%s/%s.sock", run_dir,
			  name);
	return length < 0 || (size_t)length >= sizeof(address->sun_path) ? -ENAMETOOLONG : 0;
}

/* Does anybody serve it? A dead migration's socket refuses. */
static bool is_served(const struct sockaddr_un *address)
{
	const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	bool answer = false;

	if (fd < 0)
		return false;
	answer = connect(fd, (const struct sockaddr *)address, sizeof(*address)) == 0 ||
		 errno == EAGAIN;
	close(fd);
	return answer;
}

bool gw_control_is_served(const char *run_dir, const char *name)
{
	struct sockaddr_un address;

	return gw_control_address(&address, run_dir, name) == 0 && is_served(&address);
}

/* The name that a socket has until somebody serves it. */
static void make_early(struct sockaddr_un *address)
{
	memcpy(address->sun_path + strlen(address->sun_path) - strlen(".sock"), ".soc~",
	       sizeof(".soc~"));
}

bool gw_control_remove_stale(const char *run_dir, const char *name)
{
	struct sockaddr_un address;
	bool had_socket;

	if (gw_control_address(&address, run_dir, name) < 0 || is_served(&address))
		return false;
	had_socket = unlink(address.sun_path) == 0;
	make_early(&address);
	return unlink(address.sun_path) == 0 || had_socket;
}

/*
 * Bound under another name, given its mode there, and only then renamed: at no time can anybody
 * else connect, and the stale one is replaced in one step. Return: 0 or negative errno.
 */
static int bind_at(struct gw_control_server *server, const struct sockaddr_un *address)
{
	struct sockaddr_un early = *address;
	struct stat st;
	int err;

	make_early(&early);
	unlink(early.sun_path);
	if (bind(server->fd, (const struct sockaddr *)&early, sizeof(early)) != 0)
		return -errno;
	if (chmod(early.sun_path, 0600) != 0 || lstat(early.sun_path, &st) != 0 ||
	    listen(server->fd, GW_CONTROL_CLIENTS_MAX) != 0)
		goto failed;
	gw_fault_point("control-bound");
	if (rename(early.sun_path, address->sun_path) != 0)
		goto failed;
	server->dev = st.st_dev;
	server->ino = st.st_ino;
	memcpy(server->path, address->sun_path, sizeof(server->path));
	gw_fault_point("control-started");
	return 0;
failed:
	err = -errno;
	unlink(early.sun_path);
	return err;
}

/* Signals are for the engine's thread. */
static int start_thread(struct gw_control_server *server)
{
	pthread_attr_t attributes;
	sigset_t all, before;
	int err;

	sigfillset(&all);
	err = pthread_attr_init(&attributes);
	if (err != 0)
		return -err;
	pthread_attr_setstacksize(&attributes, STACK_BYTES);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	err = pthread_create(&server->thread, &attributes, serve, server);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	pthread_attr_destroy(&attributes);
	server->has_thread = err == 0;
	return -err;
}

/* Somebody else's by now, if it is not the one that was bound. */
static void remove_socket(const struct gw_control_server *server)
{
	struct stat st;

	if (server->path[0] != '\0' && lstat(server->path, &st) == 0 &&
	    st.st_dev == server->dev && st.st_ino == server->ino)
		unlink(server->path);
}

static void destroy(struct gw_control_server *server)
{
	remove_socket(server);
	for (uint32_t i = 0; i < GW_CONTROL_CLIENTS_MAX; i++)
		if (server->clients[i].fd >= 0)
			close(server->clients[i].fd);
	if (server->fd >= 0)
		close(server->fd);
	if (server->wake_fd >= 0)
		close(server->wake_fd);
	pthread_mutex_destroy(&server->lock);
	free(server);
}

int gw_control_server_start(struct gw_control_server **server, const char *run_dir,
			    const char *name, const struct gw_control_status *first,
			    struct gw_diag *diag)
{
	struct gw_control_server *new;
	struct sockaddr_un address;
	int err = gw_control_address(&address, run_dir, name);

	if (err < 0)
		return gw_fail_exit(diag, GW_EXIT_CANNOT, err,
				    "%s/%s.sock: longer than a socket's name may be (%zu bytes); "
				    "use a shorter --run-dir or --name", run_dir, name,
				    sizeof(address.sun_path) - 1);
	if (is_served(&address))
		return gw_fail_exit(diag, GW_EXIT_CANNOT, -EBUSY,
				    "a migration of the name %s is running, see `godwit status %s`",
				    name, name);
	new = calloc(1, sizeof(*new));
	if (new == NULL)
		return gw_fail_exit(diag, GW_EXIT_CANNOT, -ENOMEM, "no memory for the control "
				    "socket");
	for (uint32_t i = 0; i < GW_CONTROL_CLIENTS_MAX; i++)
		new->clients[i].fd = -1;
	pthread_mutex_init(&new->lock, NULL);
	new->status = *first;
	new->published_ns = now_ns();
	new->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	new->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	err = new->fd < 0 || new->wake_fd < 0 ? -errno : bind_at(new, &address);
	if (err >= 0)
		err = start_thread(new);
	if (err < 0) {
		destroy(new);
		return gw_fail_exit(diag, GW_EXIT_CANNOT, err, "control socket %s: %s",
				    address.sun_path, strerror(-err));
	}
	*server = new;
	return 0;
}

/* Nobody will look at these any more. */
static void refuse_rest(struct gw_control_server *server)
{
	for (uint32_t i = 0; i < GW_CONTROL_CLIENTS_MAX; i++) {
		struct client *const client = &server->clients[i];
		struct gw_control_refusal refusal;

		if (client->ask == ASK_NONE)
			continue;
		if (gw_control_check_state(&client->request, GW_CONTROL_ENDED, &refusal) != 0 &&
		    !client->is_answered)
			refuse(server, client, &refusal);
		client->ask = ASK_NONE;
	}
}

/* Into the room that is kept for replies, too: there will be none after it. */
static void tell_end(struct gw_control_server *server, struct json_object *event_give)
{
	const size_t bytes = write_line(server, event_give);

	for (uint32_t i = 0; i < GW_CONTROL_CLIENTS_MAX; i++)
		if (server->clients[i].fd >= 0 && server->clients[i].watches)
			append(&server->clients[i], server->line, bytes);
}

void gw_control_server_stop(struct gw_control_server *server, int exit_code, const char *reason)
{
	if (server == NULL)
		return;
	pthread_mutex_lock(&server->lock);
	server->is_stopping = true;
	server->status.state = GW_CONTROL_ENDED;
	pthread_mutex_unlock(&server->lock);
	wake(server);
	/* It looks at all once more, and may reply, or tell of requests: before the end is told. */
	pthread_join(server->thread, NULL);
	refuse_rest(server);
	send_rest(server);
	tell_end(server, gw_control_ended_event(exit_code, reason));
	send_rest(server);
	destroy(server);
}

/* ---- the migration's own thread ---- */

void gw_control_publish(struct gw_control_server *server, const struct gw_control_status *status)
{
	bool is_other;

	pthread_mutex_lock(&server->lock);
	is_other = status->state != server->status.state;
	server->status = *status;
	server->published_ns = now_ns();
	if (is_other)
		tell(server, gw_control_state_event(&server->status));
	is_other = is_other && has_watchers(server);
	pthread_mutex_unlock(&server->lock);
	if (is_other)
		wake(server);
}

void gw_control_say(struct gw_control_server *server, enum gw_message level, const char *text)
{
	bool is_heard;

	if (server == NULL)
		return;
	pthread_mutex_lock(&server->lock);
	is_heard = has_watchers(server);
	if (is_heard)
		tell(server, gw_control_message_event(level, text));
	pthread_mutex_unlock(&server->lock);
	if (is_heard)
		wake(server);
}

bool gw_control_take(struct gw_control_server *server, struct gw_control_asked *asked)
{
	struct client *oldest = NULL;

	pthread_mutex_lock(&server->lock);
	for (uint32_t i = 0; i < GW_CONTROL_CLIENTS_MAX; i++) {
		struct client *const client = &server->clients[i];

		if (client->ask == ASK_WAITING &&
		    (oldest == NULL || client->asked_ns < oldest->asked_ns))
			oldest = client;
	}
	if (oldest != NULL) {
		oldest->ask = ASK_TAKEN;
		asked->slot = (uint32_t)(oldest - server->clients);
		asked->request = oldest->request;
		asked->peer = oldest->peer;
	}
	pthread_mutex_unlock(&server->lock);
	return oldest != NULL;
}

void gw_control_answer(struct gw_control_server *server, const struct gw_control_asked *asked,
		       const struct gw_control_refusal *refusal, const char *text)
{
	struct client *const client = &server->clients[asked->slot];

	pthread_mutex_lock(&server->lock);
	assert(client->ask == ASK_TAKEN);
	if (refusal != NULL && !client->is_answered)
		refuse(server, client, refusal);
	else if (!client->is_answered)
		reply(server, client, gw_control_done_json(&asked->request, GW_CONTROL_DONE,
							   server->status.state, text));
	client->ask = ASK_NONE;
	tell(server, gw_control_request_event(&asked->peer, &asked->request,
		refusal != NULL ? GW_CONTROL_REFUSED : GW_CONTROL_DONE,
		refusal != NULL ? refusal->text : text));
	pthread_mutex_unlock(&server->lock);
	wake(server);
}

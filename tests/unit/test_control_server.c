// SPDX-License-Identifier: GPL-2.0-or-later
#include "control_server.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "clock.h"
#include "jsonkeys.h"

static char dir[] = "/tmp/godwit-control.XXXXXX";
static struct gw_control_server *server;
static struct gw_control_status status = { .name = "m", .state = GW_CONTROL_BASE, .pid = 1 };
static struct gw_diag diag;

static void start(void)
{
	cr_assert(mkdtemp(dir) != NULL);
	cr_assert(gw_control_server_start(&server, dir, "m", &status, &diag) == 0, "%s", diag.text);
}

static void end(void)
{
	gw_control_server_stop(server, 0, "done");
	cr_expect(rmdir(dir) == 0, "the socket is gone");
}

TestSuite(control_server, .init = start, .fini = end);

static int dial(void)
{
	struct sockaddr_un address;
	const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	cr_assert(gw_control_address(&address, dir, "m") == 0);
	cr_assert(connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0, "%s",
		  strerror(errno));
	return fd;
}

static void say(int fd, const char *text)
{
	cr_assert(send(fd, text, strlen(text), MSG_NOSIGNAL) == (ssize_t)strlen(text));
}

/* The next line as JSON, within half a minute; NULL at the end. */
static struct json_object *hear(int fd)
{
	static char line[GW_CONTROL_MESSAGE_BYTES_MAX];
	size_t used = 0;

	for (;;) {
		struct pollfd pollfd = { .fd = fd, .events = POLLIN };

		cr_assert(poll(&pollfd, 1, 30000) == 1, "no answer");
		if (recv(fd, line + used, 1, 0) != 1)
			return NULL;
		if (line[used] == '\n')
			break;
		used++;
		cr_assert(used < sizeof(line));
	}
	line[used] = '\0';
	return json_tokener_parse(line);
}

/* The next line says this under key. */
static void expect(int fd, const char *key, const char *value)
{
	struct json_object *const message = hear(fd);

	cr_assert(message != NULL);
	cr_expect_str_eq(gw_json_string(message, key), value, "%s",
			 json_object_to_json_string(message));
	json_object_put(message);
}

/* Passes over events of other kinds. */
static struct json_object *hear_event(int fd, const char *kind)
{
	for (;;) {
		struct json_object *const message = hear(fd);
		const char *event;

		cr_assert(message != NULL, "the stream ended before %s", kind);
		event = gw_json_string(message, "event");
		if (event != NULL && strcmp(event, kind) == 0)
			return message;
		json_object_put(message);
	}
}

#define ASK(command) "{\"schema_version\":1,\"command\":\"" command "\"}\n"

static struct gw_control_asked take(void)
{
	struct gw_control_asked asked;

	for (int i = 0; i < 3000; i++) {
		if (gw_control_take(server, &asked))
			return asked;
		usleep(10000);
	}
	cr_assert(false, "nobody asked");
	return asked;
}

Test(control_server, looks_are_answered_without_the_migration)
{
	const int fd = dial();

	/* In pieces, several at once, and nobody takes anything. */
	say(fd, "{\"schema_version\":1,\"id\":\"a\",");
	usleep(20000);
	say(fd, "\"command\":\"status\"}\n\n" ASK("list") "{\"list\":{}}\n");
	expect(fd, "state", "base");
	json_object_put(hear(fd));
	json_object_put(hear(fd));
	close(fd);
}

Test(control_server, the_socket_is_for_its_owner)
{
	struct stat st;
	char path[128];

	snprintf(path, sizeof(path), "%s/m.sock", dir);
	cr_assert(stat(path, &st) == 0);
	cr_expect((st.st_mode & 0777) == 0600);
}

Test(control_server, a_change_waits_for_the_migration_and_is_told)
{
	const int fd = dial(), watcher = dial();
	struct gw_control_asked asked;
	struct json_object *event;
	uint64_t uid = 1;

	say(watcher, ASK("watch"));
	expect(watcher, "state", "base");
	say(fd, ASK("pause") ASK("status"));
	asked = take();
	cr_expect(asked.request.command == GW_CONTROL_PAUSE);
	cr_expect(asked.peer.uid == getuid());
	cr_expect(asked.peer.pid == getpid());
	cr_expect(asked.peer.comm[0] != '\0');
	status.state = GW_CONTROL_PAUSED;
	gw_control_publish(server, &status);
	gw_control_answer(server, &asked, NULL, "so be it");
	expect(fd, "outcome", "done");
	expect(fd, "state", "paused");
	event = hear_event(watcher, "state");
	cr_expect_str_eq(gw_json_string(event, "state"), "paused");
	json_object_put(event);
	event = hear_event(watcher, "request");
	cr_expect_str_eq(gw_json_string(event, "command"), "pause");
	cr_expect(gw_json_u64(event, "uid", &uid));
	cr_expect(uid == getuid());
	json_object_put(event);
	close(fd);
	close(watcher);
}

Test(control_server, a_change_that_is_impossible_does_not_reach_the_migration)
{
	const int fd = dial();
	struct gw_control_asked asked;

	status.state = GW_CONTROL_COMMITTED;
	gw_control_publish(server, &status);
	say(fd, ASK("cancel"));
	expect(fd, "error", "state");
	cr_expect(!gw_control_take(server, &asked));
	close(fd);
}

Test(control_server, a_migration_that_is_busy_is_waited_for_a_moment_only)
{
	const int fd = dial();
	struct gw_control_asked asked;

	say(fd, ASK("cancel") ASK("status") ASK("cancel"));
	expect(fd, "outcome", "accepted");
	expect(fd, "state", "base");
	expect(fd, "error", "busy");
	asked = take();
	cr_expect(asked.request.command == GW_CONTROL_CANCEL);
	gw_control_answer(server, &asked, NULL, "late");
	say(fd, ASK("status"));
	expect(fd, "state", "base");
	close(fd);
}

Test(control_server, who_asks_and_leaves_has_asked)
{
	const int fd = dial();
	struct gw_control_asked asked;

	say(fd, ASK("cancel"));
	close(fd);
	asked = take();
	cr_expect(asked.request.command == GW_CONTROL_CANCEL);
	gw_control_answer(server, &asked, NULL, "done");
}

Test(control_server, garbage_and_long_lines_are_refused_and_the_next_line_is_read)
{
	const int fd = dial();
	char many[3 * GW_CONTROL_REQUEST_BYTES_MAX];

	say(fd, "what?\n");
	expect(fd, "error", "message");
	memset(many, 'x', sizeof(many));
	cr_assert(send(fd, many, sizeof(many), 0) == sizeof(many));
	say(fd, "\n" ASK("status"));
	expect(fd, "error", "too-long");
	expect(fd, "state", "base");
	close(fd);
}

/* Sends requests and reads nothing until the server stops reading, too. */
static int stuff(void)
{
	const int fd = dial();
	const struct timeval limit = { 0, 200000 };

	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit));
	for (int i = 0; i < 100000; i++)
		if (send(fd, ASK("list"), sizeof(ASK("list")) - 1, MSG_NOSIGNAL) < 0)
			return fd;
	cr_assert(false, "the server read without end");
	return fd;
}

Test(control_server, one_that_never_reads_stops_nobody)
{
	const int stuffed = stuff(), watcher = dial(), fd = dial();
	struct json_object *event;
	char text[400];
	uint64_t count = 0;

	say(watcher, ASK("watch"));
	expect(watcher, "state", "base");
	memset(text, 'x', sizeof(text) - 1);
	text[sizeof(text) - 1] = '\0';
	for (int i = 0; i < 5000; i++)
		gw_control_say(server, GW_MESSAGE_NOTE, text);
	say(fd, ASK("status"));
	expect(fd, "state", "base");
	event = hear_event(watcher, "dropped");
	cr_expect(gw_json_u64(event, "count", &count));
	cr_expect(count > 0);
	json_object_put(event);
	close(stuffed);
	close(watcher);
	close(fd);
}

Test(control_server, too_many_clients_are_told_so)
{
	int fds[GW_CONTROL_CLIENTS_MAX], fd;

	for (int i = 0; i < GW_CONTROL_CLIENTS_MAX; i++) {
		fds[i] = dial();
		say(fds[i], ASK("status"));
		expect(fds[i], "state", "base");
	}
	fd = dial();
	expect(fd, "error", "busy");
	cr_expect(hear(fd) == NULL);
	close(fd);
	say(fds[0], ASK("status"));
	expect(fds[0], "state", "base");
	for (int i = 0; i < GW_CONTROL_CLIENTS_MAX; i++)
		close(fds[i]);
	/* Their places are free again, as soon as that was noticed. */
	for (int i = 0; i < 600; i++) {
		struct json_object *answer;
		bool is_served;

		fd = dial();
		/* It may have been turned away already. */
		(void)!send(fd, ASK("status"), sizeof(ASK("status")) - 1, MSG_NOSIGNAL);
		answer = hear(fd);
		is_served = answer != NULL && gw_json_string(answer, "error") == NULL;
		json_object_put(answer);
		close(fd);
		if (is_served)
			return;
		usleep(50000);
	}
	cr_assert(false, "no place became free");
}

Test(control_server, those_that_watch_hear_the_end_and_those_that_wait_an_answer)
{
	const int watcher = dial(), fd = dial();
	struct json_object *event;
	uint64_t exit_code = 0;

	say(watcher, ASK("watch"));
	expect(watcher, "state", "base");
	/* Both lines come at once, and are looked at in one go. */
	say(fd, ASK("status") ASK("pause"));
	expect(fd, "state", "base");
	gw_control_server_stop(server, 6, "cancelled");
	server = NULL;
	expect(fd, "error", "state");
	cr_expect(hear(fd) == NULL);
	event = hear_event(watcher, "ended");
	cr_expect(gw_json_u64(event, "exit_code", &exit_code));
	cr_expect(exit_code == 6);
	cr_expect_str_eq(gw_json_string(event, "reason"), "cancelled");
	json_object_put(event);
	cr_expect(hear(watcher) == NULL);
	close(watcher);
	close(fd);
}

static void limit_descriptors(rlim_t most)
{
	struct rlimit limit;

	cr_assert(getrlimit(RLIMIT_NOFILE, &limit) == 0);
	limit.rlim_cur = most < limit.rlim_max ? most : limit.rlim_max;
	cr_assert(setrlimit(RLIMIT_NOFILE, &limit) == 0);
}

static uint64_t processor_ns(void)
{
	struct timespec used;

	cr_assert(clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &used) == 0);
	return (uint64_t)used.tv_sec * GW_NS_PER_S + (uint64_t)used.tv_nsec;
}

/* One who comes when there is no descriptor left waits, and costs the migration no processor meanwhile. */
Test(control_server, without_a_descriptor_newcomers_wait)
{
	const int first = dial(), fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	struct pollfd pollfd = { .fd = fd, .events = POLLIN };
	struct sockaddr_un address;
	uint64_t before_ns;
	int last = -1, next;

	say(first, ASK("status"));
	expect(first, "state", "base");
	cr_assert(gw_control_address(&address, dir, "m") == 0);
	limit_descriptors(64);
	while ((next = open("/dev/null", O_RDONLY | O_CLOEXEC)) >= 0)
		last = next;
	cr_assert(last >= 0);
	cr_assert(connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0);
	say(fd, ASK("status"));
	before_ns = processor_ns();
	cr_expect(poll(&pollfd, 1, 1000) == 0);
	cr_expect(processor_ns() - before_ns < 500 * GW_NS_PER_MS);
	say(first, ASK("status"));
	expect(first, "state", "base");
	limit_descriptors(1024);
	expect(fd, "state", "base");
	close(fd);
	close(first);
}

Test(control_server, a_live_one_is_refused_and_a_stale_socket_replaced)
{
	struct gw_control_server *second = NULL;
	struct sockaddr_un address;
	int fd;

	cr_expect(gw_control_server_start(&second, dir, "m", &status, &diag) == -EBUSY);
	cr_expect(strstr(diag.text, "is running") != NULL);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	cr_assert(gw_control_address(&address, dir, "dead") == 0);
	cr_assert(bind(fd, (struct sockaddr *)&address, sizeof(address)) == 0);
	close(fd);
	cr_expect(gw_control_server_start(&second, dir, "dead", &status, &diag) == 0);
	cr_expect(!gw_control_remove_stale(dir, "dead"), "it is served");
	gw_control_server_stop(second, 0, "done");
	cr_expect(!gw_control_remove_stale(dir, "dead"), "there is none");
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	cr_assert(bind(fd, (struct sockaddr *)&address, sizeof(address)) == 0);
	close(fd);
	cr_expect(gw_control_remove_stale(dir, "dead"));
}

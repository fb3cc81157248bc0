// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The control socket under the thread sanitizer: several clients ask all there is to ask, watch,
 * hang up in the middle and come again, while a migration's thread publishes, speaks, takes and
 * answers, and stops in the middle of it: once after a long life, then after many short ones, with
 * changes that nobody has taken or answered yet. Who watches hears of each end. Built with -fsanitize=thread whatever the flavour.
 */
#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include "clock.h"
#include "control_server.h"

#define RUN_NS (2 * GW_NS_PER_S)
#define CLIENTS 6
#define ANSWERS_MIN 20		/* of changes, or nothing was tried */
#define SHORT_LIVES 25
#define SHORT_TICKS 20
#define PATIENCE_S 30

#define ASK(command) "{\"schema_version\":1,\"command\":\"" command "\"}\n"

static char dir[] = "/tmp/godwit-race.XXXXXX";
static struct gw_control_server *server;
static _Atomic bool is_over;
static _Atomic uint64_t heard_bytes;

static const char *const requests[] = {
	ASK("status"), ASK("list"), ASK("watch"), ASK("pause"), ASK("resume"), ASK("switch"),
	ASK("cancel"), "{\"schema_version\":1,\"command\":\"set\",\"guard\":\"2x\"}\n", "what?\n",
	"{\"schema_version\":1,\"comm",
};
#define REQUESTS (sizeof(requests) / sizeof(requests[0]))

static int dial(struct timeval limit)
{
	struct sockaddr_un address;
	const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	const int err = gw_control_address(&address, dir, "m");

	assert(err == 0);
	if (connect(fd, (const struct sockaddr *)&address, sizeof(address)) != 0) {
		close(fd);
		return -1;
	}
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
	return fd;
}

/* One life of a client: some requests, and no more reading than it likes. */
static void live(unsigned int *seed)
{
	static _Thread_local char heard[8192];
	const int fd = dial((struct timeval){ 0, 100000 });
	const int count = 1 + rand_r(seed) % 8;

	for (int i = 0; fd >= 0 && i < count; i++) {
		const char *const request = requests[(size_t)rand_r(seed) % REQUESTS];
		ssize_t got;

		if (send(fd, request, strlen(request), MSG_NOSIGNAL) < 0)
			break;
		got = rand_r(seed) % 4 == 0 ? 0 : recv(fd, heard, sizeof(heard), 0);
		if (got > 0)
			atomic_fetch_add(&heard_bytes, (uint64_t)got);
	}
	if (fd >= 0)
		close(fd);
}

static void *be_a_client(void *arg)
{
	unsigned int seed = *(const unsigned int *)arg;

	while (!atomic_load(&is_over))
		live(&seed);
	return NULL;
}

/* What the engine's thread does in its tick. Return: how many changes were answered. */
static uint64_t tick(struct gw_control_status *status, uint64_t n)
{
	static const enum gw_control_state states[] = {
		GW_CONTROL_BASE, GW_CONTROL_ROUND, GW_CONTROL_PAUSED, GW_CONTROL_COMMITTED,
	};
	struct gw_control_refusal refusal;
	struct gw_control_asked asked;
	uint64_t answered = 0;

	status->state = states[n / 16 % 4];
	status->progress.done_bytes = n;
	gw_control_publish(server, status);
	gw_control_say(server, GW_MESSAGE_NOTE, "a decision, and its reason");
	while (gw_control_take(server, &asked)) {
		gw_control_failed(&refusal, &asked.request, GW_CONTROL_FAILED, "not today");
		gw_control_answer(server, &asked, answered % 2 == 0 ? &refusal : NULL, "done");
		answered++;
	}
	return answered;
}

/* One who watches a life to its end. */
struct watcher {
	pthread_t thread;
	_Atomic bool has_begun;		/* has got its first reply, or given up */
	bool was_told;			/* the last line was that of the end */
};

static void *watch(void *arg)
{
	static const char request[] = ASK("watch");
	struct watcher *const watcher = arg;
	const int fd = dial((struct timeval){ PATIENCE_S, 0 });
	static char heard[1 << 16];	/* one watcher at a time */
	size_t bytes = 0;
	ssize_t got = fd >= 0 ? send(fd, request, sizeof(request) - 1, MSG_NOSIGNAL) : -1;

	while (got > 0 && (got = recv(fd, heard + bytes, sizeof(heard) - 1 - bytes, 0)) > 0) {
		const char *line;

		bytes += (size_t)got;
		heard[bytes] = '\0';
		atomic_store(&watcher->has_begun, true);
		/* What is over is of no interest: the last line and the one that comes. */
		line = memrchr(heard, '\n', bytes - 1);
		if (line != NULL) {
			bytes -= (size_t)(line + 1 - heard);
			memmove(heard, line + 1, bytes + 1);
		}
	}
	watcher->was_told = got == 0 && bytes > 0 && heard[bytes - 1] == '\n' &&
			    strstr(heard, "\"ended\"") != NULL;
	if (fd >= 0)
		close(fd);
	atomic_store(&watcher->has_begun, true);
	return NULL;
}

static bool begin_life(struct gw_control_status *status, struct watcher *watcher)
{
	struct gw_diag diag = { 0 };

	if (gw_control_server_start(&server, dir, "m", status, &diag) != 0) {
		printf("# %s\n", diag.text);
		return false;
	}
	*watcher = (struct watcher){ 0 };
	if (pthread_create(&watcher->thread, NULL, watch, watcher) != 0)
		abort();
	return true;
}

/* While clients are at it. Return: was that told? */
static bool end_life(struct watcher *watcher)
{
	gw_control_server_stop(server, 6, "cancelled");
	pthread_join(watcher->thread, NULL);
	return watcher->was_told;
}

static uint64_t live_long(struct gw_control_status *status)
{
	const uint64_t end_ns = gw_now_ns(&gw_clock_monotonic) + RUN_NS;
	uint64_t answered = 0;

	/* Longer where the machine is busy, but not for ever. */
	for (uint64_t n = 0; gw_now_ns(&gw_clock_monotonic) < end_ns ||
	     (answered < ANSWERS_MIN && gw_now_ns(&gw_clock_monotonic) < end_ns + 30 * RUN_NS); n++) {
		answered += tick(status, n);
		usleep(500);
	}
	return answered;
}

/* What is asked at the end waits still; in every other life one has been taken and is not answered. */
static void live_shortly(struct gw_control_status *status, const struct watcher *watcher, int number)
{
	struct gw_control_asked asked;

	for (uint64_t n = 0; n < SHORT_TICKS || !atomic_load(&watcher->has_begun); n++) {
		tick(status, n);
		usleep(200);
	}
	usleep(2000);
	if (number % 2 != 0)
		gw_control_take(server, &asked);
}

int main(void)
{
	struct gw_control_status status = { .name = "m", .state = GW_CONTROL_BASE, .pid = 1 };
	unsigned int seeds[CLIENTS];
	pthread_t threads[CLIENTS];
	struct watcher watcher;
	uint64_t answered = 0;
	int lives = 0, told = 0;

	if (mkdtemp(dir) == NULL || !begin_life(&status, &watcher)) {
		printf("not ok - the control socket: %s\n", strerror(errno));
		return 1;
	}
	for (unsigned int i = 0; i < CLIENTS; i++) {
		seeds[i] = i;
		if (pthread_create(&threads[i], NULL, be_a_client, &seeds[i]) != 0)
			abort();
	}
	answered = live_long(&status);
	told += end_life(&watcher);
	for (lives = 1; lives <= SHORT_LIVES && begin_life(&status, &watcher); lives++) {
		live_shortly(&status, &watcher, lives);
		told += end_life(&watcher);
	}
	atomic_store(&is_over, true);
	for (unsigned int i = 0; i < CLIENTS; i++)
		pthread_join(threads[i], NULL);
	rmdir(dir);
	printf("# %llu changes answered, %llu bytes heard; the end of %d lives told to %d\n",
	       (unsigned long long)answered, (unsigned long long)atomic_load(&heard_bytes), lives, told);
	if (answered < ANSWERS_MIN || atomic_load(&heard_bytes) == 0 || lives != SHORT_LIVES + 1 ||
	    told != lives) {
		printf("not ok - the control socket, several threads\n");
		return 1;
	}
	printf("ok - the control socket, several threads\n");
	return 0;
}

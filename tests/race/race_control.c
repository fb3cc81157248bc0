// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The control socket under the thread sanitizer: several clients ask all there is to ask, watch,
 * hang up in the middle and come again, while a migration's thread publishes, speaks, takes and
 * answers, and in the end stops. Built with -fsanitize=thread whatever the flavour.
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

static int dial(void)
{
	const struct timeval limit = { 0, 100000 };
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
	const int fd = dial();
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

int main(void)
{
	struct gw_control_status status = { .name = "m", .state = GW_CONTROL_BASE, .pid = 1 };
	unsigned int seeds[CLIENTS];
	pthread_t threads[CLIENTS];
	struct gw_diag diag = { 0 };
	uint64_t answered = 0, end_ns;

	if (mkdtemp(dir) == NULL ||
	    gw_control_server_start(&server, dir, "m", &status, &diag) != 0) {
		printf("not ok - the control socket: %s %s\n", strerror(errno), diag.text);
		return 1;
	}
	end_ns = gw_now_ns(&gw_clock_monotonic) + RUN_NS;
	for (unsigned int i = 0; i < CLIENTS; i++) {
		seeds[i] = i;
		if (pthread_create(&threads[i], NULL, be_a_client, &seeds[i]) != 0)
			abort();
	}
	/* Longer where the machine is busy, but not for ever. */
	for (uint64_t n = 0; gw_now_ns(&gw_clock_monotonic) < end_ns ||
	     (answered < ANSWERS_MIN && gw_now_ns(&gw_clock_monotonic) < end_ns + 30 * RUN_NS); n++) {
		answered += tick(&status, n);
		usleep(500);
	}
	/* While they are at it. */
	gw_control_server_stop(server, 6, "cancelled");
	atomic_store(&is_over, true);
	for (unsigned int i = 0; i < CLIENTS; i++)
		pthread_join(threads[i], NULL);
	rmdir(dir);
	printf("# %llu changes answered, %llu bytes heard\n", (unsigned long long)answered,
	       (unsigned long long)atomic_load(&heard_bytes));
	printf("%s - the control socket, several threads\n",
	       answered >= ANSWERS_MIN && atomic_load(&heard_bytes) > 0 ? "ok" : "not ok");
	return answered >= ANSWERS_MIN ? 0 : 1;
}

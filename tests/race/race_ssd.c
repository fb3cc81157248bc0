// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The software SSD under the thread sanitizer: two hosts, each with a controller of its own, write and
 * read one namespace, one command at a time, so that readers and workers of both take turns; a third
 * thread asks and sets what there is meanwhile. What is read is what was written. Built with
 * -fsanitize=thread whatever the flavour.
 */
#include <assert.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "clock.h"
#include "ssd_client.h"
#include "ssd_listen.h"

#define HOSTS 2
#define RUN_NS (2 * GW_NS_PER_S)
#define LIMIT_NS (120 * GW_NS_PER_S)
#define COMMANDS_MIN 500u		/* of each host, or nothing was tried */
#define BLOCKS 1024u			/* of each host, of 512 bytes */
#define BLOCKS_MAX 16u			/* of a command */
#define CACHE_BYTES (UINT64_C(64) << 10)

static char dir[] = "/tmp/godwit-race-ssd.XXXXXX";
static struct gw_subsys ss;
static struct gw_listener listener[HOSTS];
static struct gw_ssd_set set = { .subsys = { &ss }, .subsystems = 1 };
static _Atomic bool is_over;

struct host {
	pthread_t thread;
	struct gw_client client;
	uint32_t number;
	_Atomic uint32_t commands;
	uint64_t random;
	uint8_t model[BLOCKS * 512];
};
static struct host host[HOSTS];

static uint32_t below(struct host *h, uint32_t limit)
{
	h->random = h->random * UINT64_C(6364136223846793005) + 1442695040888963407;
	return (uint32_t)(h->random >> 33) % limit;
}

static void command(struct host *h)
{
	const uint32_t blocks = 1 + below(h, BLOCKS_MAX), first = below(h, BLOCKS - blocks);
	const bool is_write = below(h, 2) == 0;
	uint8_t *data = gw_client_at(&h->client, GW_CLIENT_BUFFER);
	uint16_t status;

	memset(data, (int)below(h, 256), blocks * 512);
	if (is_write)
		memcpy(h->model + first * 512, data, blocks * 512);
	status = gw_client_io(&h->client, is_write ? GW_NVME_WRITE : GW_NVME_READ, 1,
			      h->number * BLOCKS + first, blocks, GW_CLIENT_BUFFER, blocks * UINT64_C(512));
	assert(status == 0);
	assert(memcmp(data, h->model + first * 512, blocks * 512) == 0);
	atomic_fetch_add(&h->commands, 1);
}

static void *live(void *arg)
{
	struct host *h = arg;

	while (!atomic_load(&is_over)) {
		command(h);
		if (below(h, 64) == 0)
			gw_client_io(&h->client, GW_NVME_FLUSH, 1, 0, 1, 0, 0);
	}
	return NULL;
}

static void ask(const char *line)
{
	bool is_refused;
	char *answer = gw_ssd_control_answer(&set, line, &is_refused);

	assert(answer != NULL);
	assert(!is_refused);
	free(answer);
}

static void connect_host(struct host *h, const char *path)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	int err;

	strcpy(address.sun_path, path);
	err = connect(fd, (const struct sockaddr *)&address, sizeof(address));
	assert(err == 0);
	gw_client_open(&h->client, fd);
	gw_client_start(&h->client, 1);
}

static void start(char path[HOSTS][64])
{
	struct gw_ssd_config config;

	gw_ssd_config_init(&config);
	config.namespace_bytes = UINT64_C(4) << 20;
	config.cache_bytes = CACHE_BYTES;
	gw_dma_catch_sigbus();
	if (mkdtemp(dir) == NULL || gw_subsys_open(&ss, dir, &config, NULL) < 0)
		abort();
	for (uint32_t i = 0; i < HOSTS; i++) {
		struct gw_ctrl *c = gw_ctrl_create(&ss, NULL);

		snprintf(path[i], 64, "%s/%u.sock", dir, i);
		if (c == NULL || gw_listener_open(&listener[i], path[i], c, NULL) < 0 || gw_ctrl_start(c) < 0 ||
		    gw_listener_start(&listener[i]) < 0)
			abort();
	}
}

static void stop(void)
{
	char command_line[64];

	for (uint32_t i = 0; i < HOSTS; i++)
		gw_client_close(&host[i].client);
	for (uint32_t i = 0; i < HOSTS; i++)
		gw_ctrl_stop(listener[i].port.ctrl);
	for (uint32_t i = 0; i < HOSTS; i++)
		gw_listener_close(&listener[i]);
	gw_subsys_close(&ss);
	snprintf(command_line, sizeof(command_line), "rm -rf %s", dir);
	if (system(command_line) != 0)
		fprintf(stderr, "%s is still there\n", dir);
}

static bool have_tried(void)
{
	return atomic_load(&host[0].commands) >= COMMANDS_MIN && atomic_load(&host[1].commands) >= COMMANDS_MIN;
}

int main(void)
{
	char path[HOSTS][64];
	uint64_t begin_ns, ran_ns;

	start(path);
	for (uint32_t i = 0; i < HOSTS; i++) {
		host[i].number = i;
		host[i].random = 20261124 + i;
		connect_host(&host[i], path[i]);
		if (pthread_create(&host[i].thread, NULL, live, &host[i]) != 0)
			abort();
	}
	begin_ns = gw_now_ns(&gw_clock_monotonic);
	do {
		ask("status");
		ask("trace last=5");
		ask("fault 1/1 delay=100us-200us times=20");
		ask("changes 1 last=5");
		ask("clear 1/1");
		usleep(20000);
		ran_ns = gw_now_ns(&gw_clock_monotonic) - begin_ns;
	} while (ran_ns < RUN_NS || (!have_tried() && ran_ns < LIMIT_NS));
	atomic_store(&is_over, true);
	for (uint32_t i = 0; i < HOSTS; i++)
		pthread_join(host[i].thread, NULL);
	printf("%s - two hosts of a software SSD, one command at a time each\n# %u and %u commands\n",
	       have_tried() ? "ok" : "not ok", atomic_load(&host[0].commands), atomic_load(&host[1].commands));
	stop();
	return 0;
}

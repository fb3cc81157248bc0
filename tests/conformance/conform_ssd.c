// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Transports to the software SSD: in this process, without a socket; and through listening
 * vfio-user sockets, with the threads that godwit-ssd has.
 */
#include "conform.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "ssd_listen.h"

#define CONTROLLERS 3

static struct gw_subsys ss;
static struct gw_port port[CONTROLLERS];
static struct gw_listener listener[CONTROLLERS];
static struct gw_client client[CONTROLLERS];
static char dir[64], path[CONTROLLERS][96];

static void configure(struct gw_ssd_config *config, enum cf_kind kind)
{
	gw_ssd_config_init(config);
	config->namespace_bytes = UINT64_C(16) << 20;
	config->has_migration = true;
	config->is_merging = kind == CF_MERGING;
	config->managers = kind == CF_TWO_MANAGERS ? 2 : 1;
	if (kind == CF_ONE_QUEUE)
		config->lm.cdqs = 1;
	if (kind == CF_FEW_RANGES)
		config->lm.ranges_max = 2;
	if (kind == CF_POWER_OF_TWO)
		config->trattr |= NVME_TRATTR_POWER_OF_TWO;
	if (kind == CF_NO_ALLOCATION)
		config->unit_blocks = 0;
	if (kind == CF_NO_TRACKING)
		config->trattr = 0;
	if (kind == CF_CMB)
		config->cmb_bytes = 64u << 10;
}

static void begin(enum cf_kind kind)
{
	struct gw_ssd_config config;
	struct gw_diag diag = { 0 };

	gw_dma_catch_sigbus();
	strcpy(dir, "ssd-XXXXXX");	/* in the item's working directory */
	assert(mkdtemp(dir) != NULL);
	configure(&config, kind);
	if (gw_subsys_open(&ss, dir, &config, &diag) < 0) {
		fprintf(stderr, "%s\n", diag.text);
		abort();
	}
}

static void end(void)
{
	char command[96];

	gw_subsys_close(&ss);
	snprintf(command, sizeof(command), "rm -rf %s", dir);
	assert(system(command) == 0);
}

static void start_clients(struct cf_drive *drive)
{
	for (int i = 0; i < CONTROLLERS; i++)
		gw_client_start(&client[i], 1);
	*drive = (struct cf_drive){
		.m = &client[0],
		.a = &client[1],
		.b = &client[2],
		.cntlid_m = ss.ctrl[0]->cntlid,
		.cntlid_a = ss.ctrl[1]->cntlid,
		.cntlid_b = ss.ctrl[2]->cntlid,
		.blocks = ss.ns[0]->blocks,
	};
}

/* ---- In this process ------------------------------------------------------------------------------------- */

static void begin_in_process(struct gw_client *c)
{
	struct gw_port *to = c->function;
	const uint16_t command = 0x0006; /* memory space, bus master */

	assert(gw_dma_add(&to->map, c->memory_fd, 0, GW_CLIENT_IOVA, GW_CLIENT_MEMORY_BYTES,
			  GW_DMA_READ | GW_DMA_WRITE) == 0);
	gw_pci_write(to, 4, &command, sizeof(command));
	for (uint32_t i = 0; i <= GW_CLIENT_QUEUES; i++)
		gw_port_set_vector(to, i, dup(c->vector_fd[i]));
}

static uint32_t read_in_process(struct gw_client *c, uint32_t offset)
{
	return (uint32_t)gw_ctrl_read(((struct gw_port *)c->function)->ctrl, offset, 4);
}

static void write_in_process(struct gw_client *c, uint32_t offset, uint32_t value)
{
	gw_ctrl_write(((struct gw_port *)c->function)->ctrl, offset, value, 4);
}

static const struct gw_client_way way_in_process = {
	.begin = begin_in_process,
	.read_register = read_in_process,
	.write_register = write_in_process,
};

static bool open_in_process(struct cf_drive *drive, enum cf_kind kind)
{
	begin(kind);
	for (int i = 0; i < CONTROLLERS; i++) {
		struct gw_ctrl *c = gw_ctrl_create(&ss, NULL);

		assert(c != NULL);
		assert(gw_port_init(&port[i], c) == 0);
		assert(gw_ctrl_start(c) == 0);
		gw_client_open_way(&client[i], &way_in_process, &port[i]);
	}
	start_clients(drive);
	return true;
}

static void close_in_process(void)
{
	for (int i = 0; i < CONTROLLERS; i++)
		gw_port_disconnect(&port[i]);
	for (int i = 0; i < CONTROLLERS; i++) {
		gw_ctrl_stop(port[i].ctrl);
		gw_client_close(&client[i]);
	}
	for (int i = 0; i < CONTROLLERS; i++)
		gw_port_fini(&port[i]);
	end();
}

const struct cf_transport cf_in_process = {
	.name = "in-process",
	.open = open_in_process,
	.close = close_in_process,
};

/* ---- Through sockets -------------------------------------------------------------------------------------- */

static int connect_to(const char *to)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert(fd >= 0);
	assert(strlen(to) < sizeof(address.sun_path));
	strcpy(address.sun_path, to);
	assert(connect(fd, (const struct sockaddr *)&address, sizeof(address)) == 0);
	return fd;
}

static bool open_vfio_user(struct cf_drive *drive, enum cf_kind kind)
{
	begin(kind);
	for (int i = 0; i < CONTROLLERS; i++) {
		struct gw_ctrl *c = gw_ctrl_create(&ss, NULL);

		assert(c != NULL);
		snprintf(path[i], sizeof(path[i]), "%s/%d.sock", dir, i);
		assert(gw_listener_open(&listener[i], path[i], c, NULL) == 0);
	}
	for (int i = 0; i < CONTROLLERS; i++)
		assert(gw_ctrl_start(listener[i].port.ctrl) == 0);
	for (int i = 0; i < CONTROLLERS; i++) {
		assert(gw_listener_start(&listener[i]) == 0);
		gw_client_open(&client[i], connect_to(path[i]));
	}
	start_clients(drive);
	return true;
}

static void close_vfio_user(void)
{
	for (int i = 0; i < CONTROLLERS; i++)
		gw_client_close(&client[i]);
	for (int i = 0; i < CONTROLLERS; i++)
		gw_ctrl_stop(listener[i].port.ctrl);
	for (int i = 0; i < CONTROLLERS; i++)
		gw_listener_close(&listener[i]);
	end();
}

const struct cf_transport cf_over_vfio_user = {
	.name = "vfio-user",
	.open = open_vfio_user,
	.close = close_vfio_user,
};

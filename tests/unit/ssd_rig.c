// SPDX-License-Identifier: GPL-2.0-or-later
#include "ssd_rig.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "vfio_user.h"

struct serving {
	struct gw_port *port;
	int fd;
};

static void *serve(void *arg)
{
	struct serving *serving = arg;

	gw_link_serve(serving->port, serving->fd);
	close(serving->fd);
	free(serving);
	return NULL;
}

static void connect_client(struct gw_rig *rig, uint32_t i)
{
	struct serving *serving = malloc(sizeof(*serving));
	int pair[2];

	cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	*serving = (struct serving){ &rig->port[i], pair[0] };
	cr_assert_eq(pthread_create(&rig->reader[i], NULL, serve, serving), 0);
	gw_client_open(&rig->client[i], pair[1]);
	rig->is_connected[i] = true;
}

void gw_rig_disconnect(struct gw_rig *rig, uint32_t i)
{
	if (!rig->is_connected[i])
		return;
	rig->is_connected[i] = false;
	gw_client_close(&rig->client[i]);
	pthread_join(rig->reader[i], NULL);
}

static void start(struct gw_rig *rig)
{
	struct gw_diag diag = { 0 };

	gw_dma_catch_sigbus();
	cr_assert_eq(gw_subsys_open(&rig->ss, rig->dir, &rig->config, &diag), 0, "%s", diag.text);
	for (uint32_t i = 0; i < rig->controllers; i++) {
		struct gw_ctrl *c = gw_ctrl_create(&rig->ss, &diag);

		cr_assert_not_null(c);
		cr_assert_eq(gw_port_init(&rig->port[i], c), 0);
		cr_assert_eq(gw_ctrl_start(c), 0);
	}
	for (uint32_t i = 0; i < rig->controllers; i++)
		connect_client(rig, i);
}

static void stop_ports(struct gw_rig *rig)
{
	for (uint32_t i = 0; i < rig->controllers; i++)
		gw_rig_disconnect(rig, i);
	for (uint32_t i = 0; i < rig->controllers; i++)
		gw_ctrl_stop(rig->port[i].ctrl);
	for (uint32_t i = 0; i < rig->controllers; i++)
		gw_port_fini(&rig->port[i]);
}

static void stop(struct gw_rig *rig)
{
	stop_ports(rig);
	gw_subsys_close(&rig->ss);
}

void gw_rig_open(struct gw_rig *rig, uint32_t controllers, const struct gw_ssd_config *config)
{
	memset(rig, 0, sizeof(*rig));
	gw_ssd_config_init(&rig->config);
	rig->config.namespace_bytes = UINT64_C(16) << 20;
	if (config != NULL)
		rig->config = *config;
	rig->controllers = controllers;
	strcpy(rig->dir, "/tmp/godwit-ssd-XXXXXX");
	cr_assert_not_null(mkdtemp(rig->dir));
	start(rig);
}

void gw_rig_restart(struct gw_rig *rig)
{
	stop(rig);
	start(rig);
}

void gw_rig_reconnect(struct gw_rig *rig, uint32_t i)
{
	gw_rig_disconnect(rig, i);
	connect_client(rig, i);
}

static void remove_dir(const struct gw_rig *rig)
{
	char command[128];

	snprintf(command, sizeof(command), "rm -rf %s", rig->dir);
	cr_assert_eq(system(command), 0);
}

void gw_rig_close(struct gw_rig *rig)
{
	stop(rig);
	remove_dir(rig);
}

void gw_rig_close_both(struct gw_rig *a, struct gw_rig *b)
{
	stop_ports(a);
	stop_ports(b);
	gw_subsys_close(&a->ss);
	gw_subsys_close(&b->ss);
	remove_dir(a);
	remove_dir(b);
}

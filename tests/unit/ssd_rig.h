/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A software SSD in this process, in a directory of its own, with a client on each controller. */
#ifndef GW_SSD_RIG_H
#define GW_SSD_RIG_H

#include <pthread.h>

#include "ssd.h"
#include "ssd_client.h"

#define GW_RIG_CONTROLLERS_MAX 3u

struct gw_rig {
	char dir[64];
	struct gw_ssd_config config;
	struct gw_subsys ss;
	uint32_t controllers;
	struct gw_port port[GW_RIG_CONTROLLERS_MAX];
	struct gw_client client[GW_RIG_CONTROLLERS_MAX];
	pthread_t reader[GW_RIG_CONTROLLERS_MAX];
	bool is_connected[GW_RIG_CONTROLLERS_MAX];
};

/* config NULL: the defaults, with a namespace of 16 MiB. Clients are connected, and not started. */
void gw_rig_open(struct gw_rig *rig, uint32_t controllers, const struct gw_ssd_config *config);
/* The process ends and comes back: all is new but the directory. */
void gw_rig_restart(struct gw_rig *rig);
/* A client that hangs up, and a new one. */
void gw_rig_reconnect(struct gw_rig *rig, uint32_t i);
/* A client that hangs up, and no new one. */
void gw_rig_disconnect(struct gw_rig *rig, uint32_t i);
void gw_rig_close(struct gw_rig *rig);
/* Of two between which ports were switched. */
void gw_rig_close_both(struct gw_rig *a, struct gw_rig *b);

#endif

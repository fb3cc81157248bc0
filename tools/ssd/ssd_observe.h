/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the control socket tells: of controllers, of what they executed, of what has changed. */
#ifndef GW_SSD_OBSERVE_H
#define GW_SSD_OBSERVE_H

#include <json-c/json.h>
#include <stdio.h>

#include "ssd.h"

#define GW_SSD_SUBSYSTEMS_MAX 8u

/* What there is to control: in a command, 2/17 is controller 17 of the second. */
struct gw_ssd_set {
	struct gw_subsys *subsys[GW_SSD_SUBSYSTEMS_MAX];	/* borrowed */
	uint32_t subsystems;
};

/* SUBSYSTEM/CNTLID. Return: NULL: there is none, said. */
struct gw_ctrl *gw_ssd_set_find(const struct gw_ssd_set *set, const char *name, struct gw_diag *diag);

/* The object is the caller's. */
struct json_object *gw_observe_subsystem(struct gw_subsys *ss);

/*
 * Commands from the rings, oldest first: words are text or json, last=N, controller=, status=, and
 * those of gw_match_set(). Return: 0, -EINVAL, said: nothing was printed.
 */
int gw_observe_trace(const struct gw_ssd_set *set, char *const *word, uint32_t words, FILE *out,
		     struct gw_diag *diag);
/* Changes of subsystem word[0], oldest first: since=SEQUENCE, last=N, nsid=, lba=. */
int gw_observe_changes(const struct gw_ssd_set *set, char *const *word, uint32_t words, FILE *out,
		       struct gw_diag *diag);

#endif

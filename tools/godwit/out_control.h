/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What `list` and `status` print. */
#ifndef GW_OUT_CONTROL_H
#define GW_OUT_CONTROL_H

#include <stdio.h>

#include <json-c/json.h>

#include "migrations.h"

void gw_out_look_text(FILE *out, const struct gw_migration_look *look);
struct json_object *gw_out_look_json(const struct gw_migration_look *look);
/* status: a reply of the migration. */
void gw_out_status_text(FILE *out, struct json_object *status);

#endif

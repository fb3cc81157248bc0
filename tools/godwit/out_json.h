/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Results as JSON for machines; each document has its schema in docs/schema/. */
#ifndef GW_OUT_JSON_H
#define GW_OUT_JSON_H

#include <stdio.h>

#include <godwit/report.h>

#define GW_REPORT_SCHEMA_VERSION 1

/* docs/schema/report.schema.json; the order of the keys is fixed. */
void gw_out_report_json(FILE *out, const struct gw_report *report);

#endif

/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Results as text for people, at most 100 columns wide. */
#ifndef GW_OUT_TEXT_H
#define GW_OUT_TEXT_H

#include <stdio.h>

#include <godwit/report.h>

void gw_out_report_text(FILE *out, const struct gw_report *report);

#endif

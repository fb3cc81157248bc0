/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Results as text for people, at most 100 columns wide. */
#ifndef GW_OUT_TEXT_H
#define GW_OUT_TEXT_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <godwit/report.h>

#define GW_OUT_BAD_UTF8 UINT32_MAX

void gw_out_report_text(FILE *out, const struct gw_report *report);

/*
 * Takes one code point from text, which is not empty. Return: its bytes; for
 * anything that is not UTF-8 one byte, and *code is GW_OUT_BAD_UTF8.
 */
size_t gw_out_take_utf8(const char *text, uint32_t *code);

#endif

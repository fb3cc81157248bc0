/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Sizes, rates and durations: text <-> numbers. Powers of two for bytes. Pure. */
#ifndef GW_UNITS_H
#define GW_UNITS_H

#include <stddef.h>
#include <stdint.h>

#define GW_UNIT_TEXT_BYTES 32

/*
 * "4096", "64K", "64KiB", "1.5G", "1GiB"; rates with or without "/s";
 * durations "300ms", "1.5s", "2m", "1h", "250us" (a bare number but 0 is refused).
 * Return: 0; -EINVAL: no such syntax; -ERANGE: does not fit. *value is untouched
 * on failure. Nothing may follow.
 */
int gw_parse_bytes(const char *text, uint64_t *value);
int gw_parse_rate(const char *text, uint64_t *bytes_per_s);
int gw_parse_duration(const char *text, uint64_t *ns);

/* "3.1 MiB", "2.4 GiB/s", "9.0 ms", "2 m 05 s". Return: out. */
const char *gw_format_bytes(char out[GW_UNIT_TEXT_BYTES], uint64_t bytes);
const char *gw_format_rate(char out[GW_UNIT_TEXT_BYTES], uint64_t bytes_per_s);
const char *gw_format_duration(char out[GW_UNIT_TEXT_BYTES], uint64_t ns);

#endif

/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Text from outside (paths, names of processes) need not be UTF-8. Pure. */
#ifndef GW_UTF8_H
#define GW_UTF8_H

#include <stddef.h>
#include <stdint.h>

#define GW_UTF8_BAD UINT32_MAX

/*
 * Takes one code point from text, which is not empty. Return: its bytes; for
 * anything that is not UTF-8 one byte, and *code is GW_UTF8_BAD.
 */
size_t gw_utf8_take(const char *text, uint32_t *code);

#endif

/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Which of some words was probably meant. Pure. */
#ifndef GW_NEAREST_H
#define GW_NEAREST_H

#include <stdbool.h>
#include <stdint.h>

#define GW_NEAREST_BYTES_MAX 64		/* longer words are never near to anything */

/*
 * Edits (insert, delete, replace, swap of neighbours) from one word to the
 * other; UINT32_MAX if one is too long.
 */
uint32_t gw_nearest_distance(const char *one, const char *other);

/*
 * Is candidate so near to word that it is worth a hint? (A third of its letters
 * may differ, or it goes on from word.)
 */
bool gw_nearest_is_near(const char *word, const char *candidate);

#endif

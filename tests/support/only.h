/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Which tests of a program run: with GW_ONLY=REGEX in the environment those whose names match it. */
#ifndef GW_ONLY_H
#define GW_ONLY_H

#include <stdbool.h>

bool gw_test_is_wanted(const char *name);

#endif

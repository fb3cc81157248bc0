// SPDX-License-Identifier: GPL-2.0-or-later
#include "fault.h"

#ifdef GW_FAULT_POINTS
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

void gw_fault_point(const char *name)
{
	static unsigned long passed;
	const char *const want = getenv("GODWIT_KILL_AT");
	const char *colon;
	size_t length;

	if (want == NULL)
		return;
	colon = strchr(want, ':');
	length = colon != NULL ? (size_t)(colon - want) : strlen(want);
	if (strncmp(want, "any", length) != 0 &&
	    (strlen(name) != length || strncmp(want, name, length) != 0))
		return;
	passed++;
	if (passed >= (colon != NULL ? strtoul(colon + 1, NULL, 10) : 1))
		kill(getpid(), SIGKILL);
}
#else
typedef int gw_fault_translation_unit_is_not_empty;
#endif

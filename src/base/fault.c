// SPDX-License-Identifier: GPL-2.0-or-later
#include "fault.h"

#ifdef GW_FAULT_POINTS
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static bool is_named(const char *name, const char *want, size_t length)
{
	return strlen(name) == length && strncmp(want, name, length) == 0;
}

void gw_fault_point(const char *name)
{
	static unsigned long passed;
	static bool counts;
	const char *want = getenv("GODWIT_KILL_AT");
	const char *comma, *colon;
	size_t length;

	if (want == NULL)
		return;
	comma = strchr(want, ',');
	if (comma != NULL && !counts) {
		counts = is_named(name, want, (size_t)(comma - want));
		return;
	}
	want = comma != NULL ? comma + 1 : want;
	colon = strchr(want, ':');
	length = colon != NULL ? (size_t)(colon - want) : strlen(want);
	if (!is_named("any", want, length) && !is_named(name, want, length))
		return;
	passed++;
	if (passed >= (colon != NULL ? strtoul(colon + 1, NULL, 10) : 1))
		kill(getpid(), getenv("GODWIT_KILL_STOPS") != NULL ? SIGSTOP : SIGKILL);
}
#else
typedef int gw_fault_translation_unit_is_not_empty;
#endif

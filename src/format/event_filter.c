// SPDX-License-Identifier: GPL-2.0-or-later
/* Which events somebody wants to see. */
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "clock.h"
#include "event.h"
#include "units.h"

static bool is_of_drive(const char *drive, const struct gw_event *event)
{
	char controller[16];

	if (strncmp(drive, "/dev/", 5) == 0)
		drive += 5;
	snprintf(controller, sizeof(controller), "nvme%u", event->controller);
	if (strcmp(event->role, "both") == 0 &&
	    (strcmp(drive, "source") == 0 || strcmp(drive, "target") == 0))
		return true;
	return strcmp(drive, controller) == 0 || strcmp(drive, event->serial) == 0 ||
	       strcmp(drive, event->role) == 0 || strcmp(drive, event->device) == 0;
}

static bool is_of_kind(uint32_t kinds, const struct gw_event *event)
{
	if (kinds == 0 || (kinds & 1u << event->kind) != 0)
		return true;
	return (kinds & GW_EVENT_CHANGES) != 0 && event->kind == GW_EVENT_COMMAND &&
	       !gw_event_is_question(&event->command);
}

bool gw_event_fits(const struct gw_event_filter *filter, const struct gw_event *event)
{
	if (event->at_ns < filter->since_ns ||
	    (filter->until_ns != 0 && event->at_ns > filter->until_ns))
		return false;
	if (event->kind == GW_EVENT_LOST || event->kind == GW_EVENT_BEGAN ||
	    event->kind == GW_EVENT_ENDED)
		return true;
	return is_of_kind(filter->kinds, event) &&
	       (filter->drive == NULL || is_of_drive(filter->drive, event));
}

int gw_event_parse_kinds(uint32_t *kinds, const char *text)
{
	static const struct {
		const char *name;
		uint32_t bit;
	} rows[] = {
		{ "commands", 1u << GW_EVENT_COMMAND },
		{ "changes", GW_EVENT_CHANGES },
		{ "events", 1u << GW_EVENT_ASYNC },
		{ "states", 1u << GW_EVENT_STATE },
		{ "timeouts", 1u << GW_EVENT_TIMEOUT },
	};
	uint32_t found = 0;

	for (;;) {
		const size_t length = strcspn(text, ",");
		size_t i = 0;

		while (i < sizeof(rows) / sizeof(rows[0]) &&
		       (strlen(rows[i].name) != length || strncmp(rows[i].name, text, length) != 0))
			i++;
		if (i == sizeof(rows) / sizeof(rows[0]))
			return -EINVAL;
		found |= rows[i].bit;
		if (text[length] == '\0')
			break;
		text += length + 1;
	}
	*kinds = found;
	return 0;
}

/* A whole text in one of the forms; what it leaves out stays as it was. */
static bool parse_moment(const char *text, struct tm *moment)
{
	static const char *const forms[] = {
		"%Y-%m-%d %H:%M:%S", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%d %H:%M", "%Y-%m-%dT%H:%M",
		"%Y-%m-%d", "%H:%M:%S", "%H:%M",
	};

	for (size_t i = 0; i < sizeof(forms) / sizeof(forms[0]); i++) {
		struct tm tried = *moment;
		const char *const rest = strptime(text, forms[i], &tried);

		if (rest == NULL || *rest != '\0')
			continue;
		*moment = tried;
		return true;
	}
	return false;
}

static int parse_seconds(uint64_t *at_ns, const char *text)
{
	unsigned long long seconds;
	char *end;

	if (!isdigit((unsigned char)text[0]))
		return -EINVAL;
	errno = 0;
	seconds = strtoull(text, &end, 10);
	if (errno != 0 || *end != '\0' || seconds > UINT64_MAX / GW_NS_PER_S)
		return -EINVAL;
	*at_ns = seconds * GW_NS_PER_S;
	return 0;
}

int gw_event_parse_time(uint64_t *at_ns, const char *text, uint64_t now_ns)
{
	const time_t now = (time_t)(now_ns / GW_NS_PER_S);
	struct tm moment;
	uint64_t ago_ns;
	time_t at;

	if (text[0] == '@')
		return parse_seconds(at_ns, text + 1);
	if (gw_parse_duration(text, &ago_ns) == 0) {
		*at_ns = ago_ns < now_ns ? now_ns - ago_ns : 0;
		return 0;
	}
	if (localtime_r(&now, &moment) == NULL)
		return -EINVAL;
	moment.tm_hour = moment.tm_min = moment.tm_sec = 0;
	moment.tm_isdst = -1;
	if (!parse_moment(text, &moment))
		return -EINVAL;
	at = mktime(&moment);
	if (at < 0)
		return -EINVAL;
	*at_ns = (uint64_t)at * GW_NS_PER_S;
	return 0;
}

// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Events, as a ring may hold them and as a log may: whatever it is, it is refused or understood,
 * has words, and comes back from the log as it was.
 */
#include <assert.h>
#include <stdint.h>
#include <string.h>

#include "event.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(const struct gw_event *event)
{
	struct json_object *const object = json_object_new_object();
	struct gw_event_filter filter = { .drive = "nvme0" };
	char words[GW_EVENT_WORDS_BYTES];
	struct gw_event back;

	assert(event->kind < GW_EVENT_KINDS);
	assert(strlen(gw_event_words(words, event)) > 0);
	gw_event_fits(&filter, event);
	gw_event_put(object, event, false);
	assert(gw_event_from_json(&back, object) == 0);
	assert(back.kind == event->kind && back.at_ns == event->at_ns);
	assert(memcmp(&back.command, &event->command, sizeof(back.command)) == 0);
	assert(back.async == event->async && back.state == event->state &&
	       back.count == event->count);
	gw_event_put(object, event, true);
	json_object_put(object);
}

/* The first byte tells where it is from. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct gw_event event;
	struct json_tokener *tokener;
	struct json_object *object;
	uint32_t kinds;
	uint64_t at_ns;

	if (size == 0)
		return 0;
	if (data[0] % 2 == 0) {
		if (gw_event_decode(&event, data + 1, size - 1, data[0]) == 0)
			check(&event);
		return 0;
	}
	tokener = json_tokener_new_ex(16);
	object = json_tokener_parse_ex(tokener, (const char *)data + 1, (int)(size - 1));
	if (gw_event_from_json(&event, object) == 0)
		check(&event);
	json_object_put(object);
	json_tokener_free(tokener);
	if (size < 64) {
		char text[64] = "";

		memcpy(text, data + 1, size - 1);
		gw_event_parse_kinds(&kinds, text);
		gw_event_parse_time(&at_ns, text, UINT64_C(1764012345000000000));
	}
	return 0;
}

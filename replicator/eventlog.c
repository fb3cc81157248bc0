// SPDX-License-Identifier: GPL-2.0-or-later
#include "eventlog.h"

int gw_event_log_append(struct gw_journal *log, const struct gw_event *event, struct gw_diag *diag)
{
	struct json_object *const payload = json_object_new_object();

	gw_event_put(payload, event, false);
	return gw_journal_append(log, GW_RECORD_EVENT, payload, diag);
}

struct walk {
	uint64_t skip, seen;
	int (*fn)(void *arg, const struct gw_event *event);
	void *arg;
};

static int show(void *arg, const struct gw_record *record, struct json_object *payload)
{
	struct walk *const walk = arg;
	struct gw_event event;

	if (walk->seen++ < walk->skip || record->type != GW_RECORD_EVENT ||
	    gw_event_from_json(&event, payload) < 0)
		return 0;
	return walk->fn(walk->arg, &event);
}

int gw_event_log_each(const char *path, uint64_t skip,
		      int (*fn)(void *arg, const struct gw_event *event), void *arg,
		      uint64_t *seen, struct gw_diag *diag)
{
	struct walk walk = { .skip = skip, .fn = fn, .arg = arg };
	const int err = gw_journal_each(path, show, &walk, NULL, diag);

	*seen = walk.seen;
	return err;
}

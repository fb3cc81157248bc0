// SPDX-License-Identifier: GPL-2.0-or-later
/* Requests, replies and events as JSON, keys in a fixed order. */
#include "control.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "jsonkeys.h"

static const struct {
	const char *name, *about;
} command_abouts[] = {
	[GW_CONTROL_LIST] = { "list", "commands, their arguments, states and events" },
	[GW_CONTROL_STATUS] = { "status", "state, progress, settings and the last decision" },
	[GW_CONTROL_WATCH] = { "watch", "a status, then events until the migration ends" },
	[GW_CONTROL_PAUSE] = { "pause", "nothing more is copied, writes are tracked; --timeout does "
			       "not run" },
	[GW_CONTROL_RESUME] = { "resume", "ends a pause" },
	[GW_CONTROL_SET] = { "set", "changes settings, all that are given or none" },
	[GW_CONTROL_SWITCH] = { "switch", "switch as soon as the predicted blackout fits the "
				"downtime limit" },
	[GW_CONTROL_CANCEL] = { "cancel", "end it, the source goes on" },
};

static const struct {
	const char *name, *about;
} events[] = {
	[GW_CONTROL_EVENT_PROGRESS] = { "progress", "how far it is, a few times a second" },
	[GW_CONTROL_EVENT_STATE] = { "state", "the migration is in another state" },
	[GW_CONTROL_EVENT_MESSAGE] = { "message", "what it says: decisions, warnings, errors" },
	[GW_CONTROL_EVENT_REQUEST] = { "request", "somebody asked for a change, and what came of it" },
	[GW_CONTROL_EVENT_DROPPED] = { "dropped", "so many events did not reach this client" },
	[GW_CONTROL_EVENT_ENDED] = { "ended", "the last one: exit code and reason" },
};

_Static_assert(sizeof(command_abouts) / sizeof(command_abouts[0]) == GW_CONTROL_COMMANDS, "all");
_Static_assert(sizeof(events) / sizeof(events[0]) == GW_CONTROL_EVENTS, "all");

static struct json_object *new_object(void)
{
	struct json_object *const object = json_object_new_object();

	assert(object != NULL);
	return object;
}

static struct json_object *new_array(void)
{
	struct json_object *const array = json_object_new_array();

	assert(array != NULL);
	return array;
}

static void add(struct json_object *array, struct json_object *value_give)
{
	const int err = json_object_array_add(array, value_give);

	assert(value_give != NULL);
	assert(err == 0);
}

static struct json_object *new_message(void)
{
	struct json_object *const message = new_object();

	gw_json_put_u64(message, "schema_version", GW_CONTROL_SCHEMA_VERSION);
	return message;
}

static struct json_object *new_event(enum gw_control_event event)
{
	struct json_object *const message = new_message();

	gw_json_put_string(message, "event", events[event].name);
	return message;
}

/* id is JSON that was checked when it came. */
static void put_id(struct json_object *message, const char *id)
{
	gw_json_put_object(message, "id", id[0] != '\0' ? json_tokener_parse(id) : NULL);
}

static struct json_object *possible_json(enum gw_control_state state)
{
	struct json_object *const array = new_array();

	for (int i = 0; i < GW_CONTROL_COMMANDS; i++)
		if (gw_control_is_possible(state, (enum gw_control_command)i))
			add(array, json_object_new_string(command_abouts[i].name));
	return array;
}

void gw_control_put_values(struct json_object *object, const struct gw_control_values *values)
{
	for (int i = 0; i < GW_CONTROL_SETTINGS; i++) {
		const struct gw_control_setting_row *const row =
			gw_control_setting((enum gw_control_setting)i);

		if ((values->mask & (1u << i)) == 0)
			continue;
		if (row->unit == GW_CONTROL_UNIT_TEXT)
			gw_json_put_text(object, row->key, values->guard);
		else if (row->unit == GW_CONTROL_UNIT_FLAG)
			gw_json_put_bool(object, row->key, values->value[i] != 0);
		else
			gw_json_put_u64(object, row->key, values->value[i]);
	}
}

static void take_guard(struct json_object *object, struct gw_control_values *values)
{
	const char *const guard =
		gw_json_string(object, gw_control_setting(GW_CONTROL_GUARD)->key);

	if (guard == NULL || guard[0] == '\0' || strlen(guard) >= sizeof(values->guard))
		return;
	values->mask |= 1u << GW_CONTROL_GUARD;
	snprintf(values->guard, sizeof(values->guard), "%s", guard);
}

static bool take_number(struct json_object *object, const struct gw_control_setting_row *row,
			uint64_t *value)
{
	bool is_on;

	if (row->unit == GW_CONTROL_UNIT_TEXT)
		return false;
	if (row->unit != GW_CONTROL_UNIT_FLAG)
		return gw_json_u64(object, row->key, value);
	if (!gw_json_bool(object, row->key, &is_on))
		return false;
	*value = is_on;
	return true;
}

void gw_control_take_values(struct json_object *object, struct gw_control_values *values)
{
	take_guard(object, values);
	for (int i = 0; i < GW_CONTROL_SETTINGS; i++) {
		const enum gw_control_setting setting = (enum gw_control_setting)i;
		uint64_t value;

		if (!take_number(object, gw_control_setting(setting), &value) ||
		    !gw_control_is_in_range(setting, value))
			continue;
		values->mask |= 1u << i;
		values->value[i] = value;
	}
}

struct json_object *gw_control_request_json(const struct gw_control_request *request)
{
	struct json_object *const message = new_message();

	if (request->id[0] != '\0')
		put_id(message, request->id);
	gw_json_put_string(message, "command", gw_control_command_name(request->command));
	gw_control_put_values(message, &request->set);
	return message;
}

/* ---- progress ---- */

static const char *const phase_names[] = {
	[GW_PHASE_PREPARE] = "prepare", [GW_PHASE_BASE] = "base", [GW_PHASE_ROUND] = "round",
	[GW_PHASE_QUIESCED] = "quiesced", [GW_PHASE_COMMITTED] = "committed",
	[GW_PHASE_VERIFY] = "verify", [GW_PHASE_ENDED] = "ended",
	[GW_PHASE_WAITING] = "waiting",
};
#define PHASES (sizeof(phase_names) / sizeof(phase_names[0]))

static const struct {
	const char *key;
	size_t offset;
} progress_keys[] = {
#define KEY(member) { #member, offsetof(struct gw_migration_progress, member) }
	KEY(done_bytes), KEY(total_bytes), KEY(dirty_bytes), KEY(rate_bytes_per_s),
	KEY(dirty_bytes_per_s), KEY(predicted_blackout_ns), KEY(eta_ns), KEY(elapsed_ns),
#undef KEY
};
#define PROGRESS_KEYS (sizeof(progress_keys) / sizeof(progress_keys[0]))

static struct json_object *progress_json(const struct gw_migration_progress *progress)
{
	struct json_object *const object = new_object();

	assert(progress->phase < PHASES);
	gw_json_put_string(object, "phase", phase_names[progress->phase]);
	gw_json_put_u64(object, "round", progress->round);
	for (size_t i = 0; i < PROGRESS_KEYS; i++)
		gw_json_put_u64(object, progress_keys[i].key,
				*(const uint64_t *)(const void *)
				((const char *)progress + progress_keys[i].offset));
	return object;
}

void gw_control_take_progress(struct json_object *object, struct gw_migration_progress *progress)
{
	struct json_object *from;
	const char *phase;
	uint64_t round;

	if (!json_object_object_get_ex(object, "progress", &from))
		return;
	phase = gw_json_string(from, "phase");
	for (size_t i = 0; phase != NULL && i < PHASES; i++)
		if (strcmp(phase, phase_names[i]) == 0)
			progress->phase = (enum gw_migration_phase)i;
	if (gw_json_u64(from, "round", &round) && round <= UINT32_MAX)
		progress->round = (uint32_t)round;
	for (size_t i = 0; i < PROGRESS_KEYS; i++)
		gw_json_u64(from, progress_keys[i].key,
			    (uint64_t *)(void *)((char *)progress + progress_keys[i].offset));
}

/* ---- replies ---- */

static struct json_object *throttle_json(const struct gw_control_throttle *throttle)
{
	struct json_object *object;

	if (!throttle->is_there)
		return NULL;
	object = new_object();
	gw_json_put_text(object, "cgroup", throttle->cgroup);
	gw_json_put_u64(object, "limit_bytes_per_s", throttle->limit_bytes_per_s);
	gw_json_put_u64(object, "former_bytes_per_s", throttle->former_bytes_per_s);
	gw_json_put_u64(object, "throttled_ns", throttle->throttled_ns);
	gw_json_put_u64(object, "steps", throttle->steps);
	gw_json_put_bool(object, "given_up", throttle->has_given_up);
	return object;
}

struct json_object *gw_control_status_json(const char *id, const struct gw_control_status *status)
{
	struct json_object *const message = new_message(), *const values = new_object();

	put_id(message, id);
	gw_json_put_bool(message, "ok", true);
	gw_json_put_text(message, "name", status->name);
	gw_json_put_string(message, "state", gw_control_state_name(status->state));
	gw_json_put_object(message, "possible", possible_json(status->state));
	gw_json_put_u64(message, "pid", (uint64_t)status->pid);
	gw_json_put_text(message, "source", status->source);
	gw_json_put_text(message, "target", status->target);
	gw_json_put_text(message, "state_dir", status->state_dir);
	gw_json_put_u64(message, "age_ns", status->age_ns);
	gw_json_put_object(message, "progress", progress_json(&status->progress));
	gw_control_put_values(values, &status->settings);
	gw_json_put_object(message, "settings", values);
	gw_json_put_object(message, "throttle", throttle_json(&status->throttle));
	gw_json_put_bool(message, "switch_wanted", status->switch_wanted);
	gw_json_put_bool(message, "cancel_wanted", status->cancel_wanted);
	gw_json_put_text(message, "decision", status->decision);
	return message;
}

static struct json_object *setting_json(enum gw_control_setting setting)
{
	const struct gw_control_setting_row *const row = gw_control_setting(setting);
	struct json_object *const object = new_object();

	gw_json_put_string(object, "name", row->key);
	gw_json_put_string(object, "type", row->unit == GW_CONTROL_UNIT_TEXT ? "string" :
			   row->unit == GW_CONTROL_UNIT_FLAG ? "boolean" : "integer");
	if (row->unit != GW_CONTROL_UNIT_TEXT && row->unit != GW_CONTROL_UNIT_FLAG) {
		gw_json_put_u64(object, "minimum", row->min);
		gw_json_put_u64(object, "maximum", row->max);
		gw_json_put_bool(object, "zero_is_none", row->zero_is_none);
	}
	gw_json_put_string(object, "about", row->about);
	return object;
}

static struct json_object *command_json(enum gw_control_command command)
{
	struct json_object *const object = new_object(), *const arguments = new_array(),
			   *const in_states = new_array();

	gw_json_put_string(object, "name", command_abouts[command].name);
	gw_json_put_string(object, "about", command_abouts[command].about);
	gw_json_put_bool(object, "changes", gw_control_changes(command));
	for (int i = 0; command == GW_CONTROL_SET && i < GW_CONTROL_SETTINGS; i++)
		add(arguments, setting_json((enum gw_control_setting)i));
	gw_json_put_object(object, "arguments", arguments);
	for (int i = 0; i < GW_CONTROL_STATES; i++)
		if (gw_control_is_possible((enum gw_control_state)i, command))
			add(in_states, json_object_new_string(
				gw_control_state_name((enum gw_control_state)i)));
	gw_json_put_object(object, "states", in_states);
	return object;
}

static struct json_object *named_json(const char *name, const char *about)
{
	struct json_object *const object = new_object();

	gw_json_put_string(object, "name", name);
	gw_json_put_string(object, "about", about);
	return object;
}

struct json_object *gw_control_list_json(const char *id)
{
	struct json_object *const message = new_message(), *const commands = new_array(),
			   *const states = new_array(), *const all_events = new_array();

	put_id(message, id);
	gw_json_put_bool(message, "ok", true);
	for (int i = 0; i < GW_CONTROL_COMMANDS; i++)
		add(commands, command_json((enum gw_control_command)i));
	gw_json_put_object(message, "commands", commands);
	for (int i = 0; i < GW_CONTROL_STATES; i++)
		add(states, named_json(gw_control_state_name((enum gw_control_state)i),
				       gw_control_state_about((enum gw_control_state)i)));
	gw_json_put_object(message, "states", states);
	for (int i = 0; i < GW_CONTROL_EVENTS; i++)
		add(all_events, named_json(events[i].name, events[i].about));
	gw_json_put_object(message, "events", all_events);
	gw_json_put_u64(message, "request_bytes_max", GW_CONTROL_REQUEST_BYTES_MAX);
	return message;
}

struct json_object *gw_control_done_json(const struct gw_control_request *request,
					 enum gw_control_outcome outcome,
					 enum gw_control_state state, const char *text)
{
	struct json_object *const message = new_message();

	put_id(message, request->id);
	gw_json_put_bool(message, "ok", true);
	gw_json_put_string(message, "command", gw_control_command_name(request->command));
	gw_json_put_string(message, "outcome", gw_control_outcome_name(outcome));
	gw_json_put_string(message, "state", gw_control_state_name(state));
	gw_json_put_text(message, "text", text);
	return message;
}

struct json_object *gw_control_refusal_json(const struct gw_control_refusal *refusal,
					    enum gw_control_state state)
{
	struct json_object *const message = new_message();

	put_id(message, refusal->id);
	gw_json_put_bool(message, "ok", false);
	gw_json_put_string(message, "error", gw_control_error_name(refusal->error));
	gw_json_put_text(message, "text", refusal->text);
	gw_json_put_string(message, "state", gw_control_state_name(state));
	gw_json_put_object(message, "possible", possible_json(state));
	return message;
}

/* ---- events ---- */

struct json_object *gw_control_progress_event(const struct gw_control_status *status)
{
	struct json_object *const message = new_event(GW_CONTROL_EVENT_PROGRESS);

	gw_json_put_string(message, "state", gw_control_state_name(status->state));
	gw_json_put_u64(message, "age_ns", status->age_ns);
	gw_json_put_object(message, "progress", progress_json(&status->progress));
	return message;
}

struct json_object *gw_control_state_event(const struct gw_control_status *status)
{
	struct json_object *const message = new_event(GW_CONTROL_EVENT_STATE);

	gw_json_put_string(message, "state", gw_control_state_name(status->state));
	gw_json_put_object(message, "possible", possible_json(status->state));
	return message;
}

struct json_object *gw_control_message_event(enum gw_message level, const char *text)
{
	static const char *const levels[] = { "error", "warning", "note", "debug" };
	struct json_object *const message = new_event(GW_CONTROL_EVENT_MESSAGE);

	assert(level <= GW_MESSAGE_DEBUG);
	gw_json_put_string(message, "level", levels[level]);
	gw_json_put_text(message, "text", text);
	return message;
}

struct json_object *gw_control_request_event(const struct gw_control_peer *peer,
					     const struct gw_control_request *request,
					     enum gw_control_outcome outcome, const char *text)
{
	struct json_object *const message = new_event(GW_CONTROL_EVENT_REQUEST);
	struct json_object *const values = new_object();

	gw_json_put_string(message, "command", gw_control_command_name(request->command));
	gw_json_put_string(message, "outcome", gw_control_outcome_name(outcome));
	gw_json_put_u64(message, "uid", peer->uid);
	gw_json_put_u64(message, "pid", (uint64_t)peer->pid);
	gw_json_put_text(message, "comm", peer->comm);
	gw_control_put_values(values, &request->set);
	gw_json_put_object(message, "set", values);
	gw_json_put_text(message, "text", text);
	return message;
}

struct json_object *gw_control_dropped_event(uint64_t count)
{
	struct json_object *const message = new_event(GW_CONTROL_EVENT_DROPPED);

	gw_json_put_u64(message, "count", count);
	return message;
}

struct json_object *gw_control_ended_event(int exit_code, const char *reason)
{
	struct json_object *const message = new_event(GW_CONTROL_EVENT_ENDED);

	gw_json_put_u64(message, "exit_code", (uint64_t)exit_code);
	gw_json_put_text(message, "reason", reason);
	return message;
}

int gw_control_write(struct json_object *message_give, char *out, size_t out_bytes)
{
	size_t bytes = 0;
	const char *const text = json_object_to_json_string_length(message_give,
		JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE, &bytes);
	int result = -EMSGSIZE;

	assert(text != NULL);
	if (bytes < out_bytes && bytes < GW_CONTROL_MESSAGE_BYTES_MAX) {
		memcpy(out, text, bytes);
		out[bytes] = '\n';
		result = (int)bytes + 1;
	}
	json_object_put(message_give);
	return result;
}

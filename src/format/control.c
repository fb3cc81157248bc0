// SPDX-License-Identifier: GPL-2.0-or-later
/* What can be asked, in which state, and the reading of it. */
#include "control.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "clock.h"
#include "jsonkeys.h"

#define DEPTH_MAX 8			/* of a request; the deepest that is understood has two */

/* ---- tables ---- */

static const char *const command_names[] = {
	[GW_CONTROL_LIST] = "list", [GW_CONTROL_STATUS] = "status", [GW_CONTROL_WATCH] = "watch",
	[GW_CONTROL_PAUSE] = "pause", [GW_CONTROL_RESUME] = "resume", [GW_CONTROL_SET] = "set",
	[GW_CONTROL_SWITCH] = "switch", [GW_CONTROL_CANCEL] = "cancel",
};

#define CAN(command) (1u << GW_CONTROL_##command)
#define LOOK (CAN(LIST) | CAN(STATUS) | CAN(WATCH))
#define STEER (LOOK | CAN(PAUSE) | CAN(SET) | CAN(SWITCH) | CAN(CANCEL))

/* State by command. A new state or command is a new row or bit here, and nowhere else. */
static const struct {
	const char *name, *about;
	uint32_t possible;
} states[] = {
	[GW_CONTROL_PREPARING] = { "preparing", "nothing is copied yet", LOOK | CAN(CANCEL) },
	[GW_CONTROL_BASELINE] = { "baseline", "the workload's latency is measured before the copy",
				  LOOK | CAN(SET) | CAN(CANCEL) },
	[GW_CONTROL_BASE] = { "base", "the base pass is running", STEER },
	[GW_CONTROL_ROUND] = { "round", "what was written meanwhile is copied", STEER },
	[GW_CONTROL_VERIFYING] = { "verifying", "the target is read back", STEER },
	[GW_CONTROL_WAITING] = { "waiting", "converged, and kept so until the switch", STEER },
	[GW_CONTROL_PAUSED] = { "paused", "nothing is copied, writes are tracked",
				LOOK | CAN(RESUME) | CAN(SET) | CAN(CANCEL) },
	[GW_CONTROL_QUIESCED] = { "quiesced", "the writers are stopped, the rest is copied",
				  LOOK | CAN(CANCEL) },
	[GW_CONTROL_COMMITTED] = { "committed", "only the target may run, there is no way back",
				   LOOK },
	[GW_CONTROL_CHECKING] = { "checking", "the target runs already, and is read back", LOOK },
	[GW_CONTROL_ENDED] = { "ended", "it is over", LOOK },
};

static const struct gw_control_setting_row settings[] = {
	[GW_CONTROL_BANDWIDTH] = { "bandwidth_bytes_per_s", "bandwidth", GW_CONTROL_UNIT_RATE,
		4096, UINT64_C(1) << 40, true, "copy no faster than this" },
	[GW_CONTROL_DOWNTIME_LIMIT] = { "downtime_limit_ns", "downtime-limit",
		GW_CONTROL_UNIT_DURATION, GW_NS_PER_MS, 3600 * GW_NS_PER_S, false,
		"the switch begins when the predicted blackout fits this" },
	[GW_CONTROL_TIMEOUT] = { "timeout_ns", "timeout", GW_CONTROL_UNIT_DURATION,
		GW_NS_PER_S, 30 * 24 * 3600 * GW_NS_PER_S, false,
		"give up after so long without progress" },
	[GW_CONTROL_QUIESCE_DEADLINE] = { "quiesce_deadline_ns", "quiesce-deadline",
		GW_CONTROL_UNIT_DURATION, 100 * GW_NS_PER_MS, 24 * 3600 * GW_NS_PER_S, false,
		"a blackout without a commit for so long is given up" },
	[GW_CONTROL_EXEC_TIMEOUT] = { "exec_timeout_ns", "exec-timeout",
		GW_CONTROL_UNIT_DURATION, 100 * GW_NS_PER_MS, 24 * 3600 * GW_NS_PER_S, false,
		"of each of the user's commands" },
	[GW_CONTROL_MAX_ROUNDS] = { "max_rounds", "max-rounds", GW_CONTROL_UNIT_COUNT,
		1, 1000000, true, "give up after so many rounds" },
	[GW_CONTROL_GUARD] = { "guard", "guard", GW_CONTROL_UNIT_TEXT, 0, 0, false,
		"limit for the workload's latency: p99=2ms, 2x, p99=1.5x, ..., or off" },
	[GW_CONTROL_THROTTLE_WRITERS] = { "throttle_writers", "throttle-writers",
		GW_CONTROL_UNIT_FLAG, 0, 0, false,
		"may it throttle the writers of the cgroup that it was started with; off lets them go "
		"at once" },
};

static const char *const error_names[] = {
	[GW_CONTROL_BAD_MESSAGE] = "message", [GW_CONTROL_TOO_LONG] = "too-long",
	[GW_CONTROL_BAD_VERSION] = "version", [GW_CONTROL_UNKNOWN_COMMAND] = "command",
	[GW_CONTROL_BAD_ARGUMENT] = "argument", [GW_CONTROL_OUT_OF_RANGE] = "range",
	[GW_CONTROL_WRONG_STATE] = "state", [GW_CONTROL_FAILED] = "failed",
	[GW_CONTROL_BUSY] = "busy", [GW_CONTROL_NOT_ALLOWED] = "permission",
};

_Static_assert(sizeof(command_names) / sizeof(command_names[0]) == GW_CONTROL_COMMANDS, "all");
_Static_assert(sizeof(states) / sizeof(states[0]) == GW_CONTROL_STATES, "all");
_Static_assert(sizeof(settings) / sizeof(settings[0]) == GW_CONTROL_SETTINGS, "all");
_Static_assert(sizeof(error_names) / sizeof(error_names[0]) == GW_CONTROL_ERRORS, "all");

const char *gw_control_command_name(enum gw_control_command command)
{
	assert(command < GW_CONTROL_COMMANDS);
	return command_names[command];
}

const char *gw_control_state_name(enum gw_control_state state)
{
	assert(state < GW_CONTROL_STATES);
	return states[state].name;
}

const char *gw_control_state_about(enum gw_control_state state)
{
	assert(state < GW_CONTROL_STATES);
	return states[state].about;
}

const char *gw_control_error_name(enum gw_control_error error)
{
	assert(error < GW_CONTROL_ERRORS);
	return error_names[error];
}

const char *gw_control_outcome_name(enum gw_control_outcome outcome)
{
	static const char *const names[] = { "done", "accepted", "refused" };

	assert(outcome <= GW_CONTROL_REFUSED);
	return names[outcome];
}

const struct gw_control_setting_row *gw_control_setting(enum gw_control_setting setting)
{
	assert(setting < GW_CONTROL_SETTINGS);
	return &settings[setting];
}

bool gw_control_is_possible(enum gw_control_state state, enum gw_control_command command)
{
	assert(state < GW_CONTROL_STATES);
	assert(command < GW_CONTROL_COMMANDS);
	return (states[state].possible & (1u << command)) != 0;
}

bool gw_control_changes(enum gw_control_command command)
{
	return command >= GW_CONTROL_PAUSE;
}

static const char *say_value(char out[GW_UNIT_TEXT_BYTES], enum gw_control_unit unit,
			     uint64_t value)
{
	switch (unit) {
	case GW_CONTROL_UNIT_RATE:
		return gw_format_rate(out, value);
	case GW_CONTROL_UNIT_DURATION:
		return gw_format_duration(out, value);
	case GW_CONTROL_UNIT_FLAG:
		snprintf(out, GW_UNIT_TEXT_BYTES, "%s", value != 0 ? "on" : "off");
		return out;
	case GW_CONTROL_UNIT_COUNT:
	case GW_CONTROL_UNIT_TEXT:
		break;
	}
	snprintf(out, GW_UNIT_TEXT_BYTES, "%" PRIu64, value);
	return out;
}

const char *gw_control_range(char out[GW_CONTROL_TEXT_BYTES], enum gw_control_setting setting)
{
	const struct gw_control_setting_row *const row = gw_control_setting(setting);
	char min[GW_UNIT_TEXT_BYTES], max[GW_UNIT_TEXT_BYTES];

	if (row->unit == GW_CONTROL_UNIT_TEXT)
		snprintf(out, GW_CONTROL_TEXT_BYTES, "a text of 1 to %d bytes",
			 GW_CONTROL_GUARD_BYTES - 1);
	else if (row->unit == GW_CONTROL_UNIT_FLAG)
		snprintf(out, GW_CONTROL_TEXT_BYTES, "on or off");
	else
		snprintf(out, GW_CONTROL_TEXT_BYTES, "%s to %s%s",
			 say_value(min, row->unit, row->min), say_value(max, row->unit, row->max),
			 row->zero_is_none ? ", or 0 for no limit" : "");
	return out;
}

const char *gw_control_value(char out[GW_CONTROL_GUARD_BYTES], enum gw_control_setting setting,
			     const struct gw_control_values *values)
{
	const struct gw_control_setting_row *const row = gw_control_setting(setting);
	const uint64_t value = values->value[setting];

	_Static_assert(GW_CONTROL_GUARD_BYTES >= GW_UNIT_TEXT_BYTES, "either fits");
	if (row->unit == GW_CONTROL_UNIT_TEXT) {
		snprintf(out, GW_CONTROL_GUARD_BYTES, "%s", values->guard);
		return out;
	}

	if (value == 0 && row->zero_is_none)
		snprintf(out, GW_UNIT_TEXT_BYTES, "no limit");
	else
		say_value(out, row->unit, value);
	return out;
}

bool gw_control_is_in_range(enum gw_control_setting setting, uint64_t value)
{
	const struct gw_control_setting_row *const row = gw_control_setting(setting);

	switch (row->unit) {
	case GW_CONTROL_UNIT_TEXT:
		return true;
	case GW_CONTROL_UNIT_FLAG:
		return value <= 1;
	case GW_CONTROL_UNIT_RATE:
	case GW_CONTROL_UNIT_DURATION:
	case GW_CONTROL_UNIT_COUNT:
		break;
	}
	return (value == 0 && row->zero_is_none) || (value >= row->min && value <= row->max);
}

/* ---- lines ---- */

enum gw_control_got gw_control_read(struct gw_control_reader *reader, const char *bytes,
				    size_t count_bytes, size_t *taken_bytes)
{
	const char *const end = memchr(bytes, '\n', count_bytes);
	const size_t length = end != NULL ? (size_t)(end - bytes) : count_bytes;

	assert(reader->used_bytes <= sizeof(reader->line));
	*taken_bytes = length + (end != NULL);
	if (reader->is_skipping) {
		reader->is_skipping = end == NULL;
		return GW_CONTROL_GOT_NOTHING;
	}
	if (length > sizeof(reader->line) - reader->used_bytes) {
		reader->used_bytes = 0;
		reader->is_skipping = end == NULL;
		return GW_CONTROL_GOT_TOO_LONG;
	}
	memcpy(reader->line + reader->used_bytes, bytes, length);
	reader->used_bytes += length;
	return end != NULL ? GW_CONTROL_GOT_LINE : GW_CONTROL_GOT_NOTHING;
}

void gw_control_next_line(struct gw_control_reader *reader)
{
	reader->used_bytes = 0;
}

/* ---- requests ---- */

__attribute__((format(printf, 3, 4)))
static int refuse(struct gw_control_refusal *refusal, enum gw_control_error error,
		  const char *format, ...)
{
	va_list args;

	refusal->error = error;
	va_start(args, format);
	vsnprintf(refusal->text, sizeof(refusal->text), format, args);
	va_end(args);
	return -EINVAL;
}

static int parse_id(struct json_object *id, struct gw_control_refusal *refusal)
{
	const char *text;
	size_t bytes = 0;

	if (!json_object_is_type(id, json_type_int) && !json_object_is_type(id, json_type_string))
		return refuse(refusal, GW_CONTROL_BAD_ARGUMENT,
			      "\"id\" is neither a string nor an integer");
	text = json_object_to_json_string_length(id, JSON_C_TO_STRING_PLAIN |
						 JSON_C_TO_STRING_NOSLASHESCAPE, &bytes);
	if (text == NULL || bytes >= sizeof(refusal->id))
		return refuse(refusal, GW_CONTROL_BAD_ARGUMENT,
			      "\"id\" takes more than %zu bytes of JSON", sizeof(refusal->id) - 1);
	memcpy(refusal->id, text, bytes + 1);
	return 0;
}

static int parse_command(struct gw_control_request *request, struct json_object *command,
			 struct gw_control_refusal *refusal)
{
	const char *const name = json_object_is_type(command, json_type_string) ?
				 json_object_get_string(command) : NULL;

	if (name == NULL)
		return refuse(refusal, GW_CONTROL_BAD_ARGUMENT, "\"command\" is no string");
	for (int i = 0; i < GW_CONTROL_COMMANDS; i++) {
		if (strcmp(name, command_names[i]) == 0) {
			request->command = (enum gw_control_command)i;
			return 0;
		}
	}
	return refuse(refusal, GW_CONTROL_UNKNOWN_COMMAND,
		      "there is no command \"%.32s\"; {\"list\": {}} tells of all", name);
}

static int parse_version(struct json_object *version, struct gw_control_refusal *refusal)
{
	if (json_object_is_type(version, json_type_int) &&
	    json_object_get_int64(version) == GW_CONTROL_SCHEMA_VERSION)
		return 0;
	return refuse(refusal, GW_CONTROL_BAD_VERSION, "\"schema_version\" must be %d",
		      GW_CONTROL_SCHEMA_VERSION);
}

static int parse_guard(struct gw_control_values *set, struct json_object *value,
		       struct gw_control_refusal *refusal)
{
	const size_t bytes = json_object_is_type(value, json_type_string) ?
			     (size_t)json_object_get_string_len(value) : 0;

	if (bytes == 0 || bytes >= sizeof(set->guard))
		return refuse(refusal, GW_CONTROL_BAD_ARGUMENT,
			      "\"guard\" is no string of 1 to %zu bytes", sizeof(set->guard) - 1);
	set->mask |= 1u << GW_CONTROL_GUARD;
	memset(set->guard, 0, sizeof(set->guard));
	memcpy(set->guard, json_object_get_string(value), bytes);
	return 0;
}

static int parse_flag(struct gw_control_values *set, enum gw_control_setting setting,
		      struct json_object *value, struct gw_control_refusal *refusal)
{
	if (!json_object_is_type(value, json_type_boolean))
		return refuse(refusal, GW_CONTROL_BAD_ARGUMENT, "\"%s\" is neither true nor false",
			      settings[setting].key);
	set->mask |= 1u << setting;
	set->value[setting] = json_object_get_boolean(value) != 0;
	return 0;
}

static int parse_value(struct gw_control_values *set, enum gw_control_setting setting,
		       struct json_object *value, struct gw_control_refusal *refusal)
{
	const char *const key = settings[setting].key;
	char range[GW_CONTROL_TEXT_BYTES];

	if (setting == GW_CONTROL_GUARD)
		return parse_guard(set, value, refusal);
	if (settings[setting].unit == GW_CONTROL_UNIT_FLAG)
		return parse_flag(set, setting, value, refusal);
	if (!json_object_is_type(value, json_type_int))
		return refuse(refusal, GW_CONTROL_BAD_ARGUMENT, "\"%s\" is no integer", key);
	if (json_object_get_int64(value) < 0 ||
	    !gw_control_is_in_range(setting, json_object_get_uint64(value)))
		return refuse(refusal, GW_CONTROL_OUT_OF_RANGE,
			      "\"%s\" is out of range: %" PRIu64 " to %" PRIu64 "%s (%s)", key,
			      settings[setting].min, settings[setting].max,
			      settings[setting].zero_is_none ? ", or 0" : "",
			      gw_control_range(range, setting));
	set->mask |= 1u << setting;
	set->value[setting] = json_object_get_uint64(value);
	return 0;
}

static int parse_member(struct gw_control_request *request, const char *key,
			struct json_object *value, struct gw_control_refusal *refusal)
{
	if (strcmp(key, "id") == 0)
		return parse_id(value, refusal);
	if (strcmp(key, "schema_version") == 0)
		return parse_version(value, refusal);
	if (strcmp(key, "command") == 0)
		return parse_command(request, value, refusal);
	if (strcmp(key, "list") == 0)
		return 0;
	for (int i = 0; i < GW_CONTROL_SETTINGS; i++)
		if (strcmp(key, settings[i].key) == 0)
			return parse_value(&request->set, (enum gw_control_setting)i, value,
					   refusal);
	return refuse(refusal, GW_CONTROL_BAD_ARGUMENT, "there is no argument \"%.64s\"", key);
}

/* Each member by itself is right; now all together. */
static int check_whole(const struct gw_control_request *request, struct json_object *object,
		       struct gw_control_refusal *refusal)
{
	const bool has_command = json_object_object_get_ex(object, "command", NULL);
	const bool asks_for_list = json_object_object_get_ex(object, "list", NULL);

	if (has_command == asks_for_list)
		return refuse(refusal, GW_CONTROL_BAD_MESSAGE, has_command ?
			      "\"command\" and \"list\" exclude each other" :
			      "\"command\" is missing; {\"list\": {}} tells of all");
	/* Whoever asks what there is may not know the version yet. */
	if (request->command != GW_CONTROL_LIST &&
	    !json_object_object_get_ex(object, "schema_version", NULL))
		return refuse(refusal, GW_CONTROL_BAD_VERSION,
			      "\"schema_version\" is missing; it must be %d",
			      GW_CONTROL_SCHEMA_VERSION);
	if (request->command != GW_CONTROL_SET && request->set.mask != 0)
		return refuse(refusal, GW_CONTROL_BAD_ARGUMENT,
			      "settings are for \"set\" only, not for \"%s\"",
			      command_names[request->command]);
	if (request->command == GW_CONTROL_SET && request->set.mask == 0)
		return refuse(refusal, GW_CONTROL_BAD_ARGUMENT, "\"set\" needs a setting");
	return 0;
}

static int parse_object(struct gw_control_request *request, struct json_object *object,
			struct gw_control_refusal *refusal)
{
	struct json_object *id;
	int err = 0;

	/* First of all, so that every refusal can repeat it. */
	if (json_object_object_get_ex(object, "id", &id))
		err = parse_id(id, refusal);
	request->command = GW_CONTROL_LIST;
	json_object_object_foreach(object, key, value)
		if (err == 0)
			err = parse_member(request, key, value, refusal);
	if (err == 0)
		err = check_whole(request, object, refusal);
	memcpy(request->id, refusal->id, sizeof(request->id));
	return err;
}

int gw_control_parse(struct gw_control_request *request, const char *line, size_t line_bytes,
		     struct gw_control_refusal *refusal)
{
	struct json_tokener *const tokener = json_tokener_new_ex(DEPTH_MAX);
	struct json_object *object;
	enum json_tokener_error error;
	int err;

	assert(tokener != NULL);
	assert(line_bytes <= GW_CONTROL_REQUEST_BYTES_MAX);
	memset(request, 0, sizeof(*request));
	memset(refusal, 0, sizeof(*refusal));
	/* Keys and names end at a zero for json-c and for us: none is let in. */
	if (memmem(line, line_bytes, "\\u0000", 6) != NULL || memchr(line, '\0', line_bytes)) {
		json_tokener_free(tokener);
		return refuse(refusal, GW_CONTROL_BAD_MESSAGE, "a zero character in the line");
	}
	json_tokener_set_flags(tokener, JSON_TOKENER_STRICT | JSON_TOKENER_VALIDATE_UTF8);
	object = json_tokener_parse_ex(tokener, line, (int)line_bytes);
	error = json_tokener_get_error(tokener);
	if (error == json_tokener_continue)
		err = refuse(refusal, GW_CONTROL_BAD_MESSAGE, "the line ends inside of its JSON");
	else if (error != json_tokener_success)
		err = refuse(refusal, GW_CONTROL_BAD_MESSAGE, "no JSON: %s at byte %zu",
			     json_tokener_error_desc(error), json_tokener_get_parse_end(tokener));
	else if (!json_object_is_type(object, json_type_object))
		err = refuse(refusal, GW_CONTROL_BAD_MESSAGE, "no JSON object");
	else
		err = parse_object(request, object, refusal);
	json_object_put(object);
	json_tokener_free(tokener);
	return err;
}

static void say_possible(char *out, size_t out_bytes, enum gw_control_state state)
{
	size_t used = 0;

	out[0] = '\0';
	for (int i = 0; i < GW_CONTROL_COMMANDS && used < out_bytes; i++)
		if ((states[state].possible & (1u << i)) != 0)
			used += (size_t)snprintf(out + used, out_bytes - used, "%s%s",
						 used > 0 ? ", " : "", command_names[i]);
}

int gw_control_check_state(const struct gw_control_request *request, enum gw_control_state state,
			   struct gw_control_refusal *refusal)
{
	char possible[128];

	if (gw_control_is_possible(state, request->command))
		return 0;
	memset(refusal, 0, sizeof(*refusal));
	memcpy(refusal->id, request->id, sizeof(refusal->id));
	say_possible(possible, sizeof(possible), state);
	refuse(refusal, GW_CONTROL_WRONG_STATE,
	       "%s is not possible in state %s: %s; possible are %s",
	       command_names[request->command], states[state].name, states[state].about, possible);
	return -EPERM;
}

void gw_control_failed(struct gw_control_refusal *refusal,
		       const struct gw_control_request *request, enum gw_control_error error,
		       const char *why)
{
	memset(refusal, 0, sizeof(*refusal));
	memcpy(refusal->id, request->id, sizeof(refusal->id));
	refuse(refusal, error, "%s", why);
}

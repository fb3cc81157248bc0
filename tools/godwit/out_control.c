// SPDX-License-Identifier: GPL-2.0-or-later
#include "out_control.h"

#include <assert.h>
#include <string.h>

#include "jsonkeys.h"
#include "progress.h"
#include "units.h"
#include "utf8.h"

static const char *text_of(struct json_object *object, const char *key)
{
	const char *const text = gw_json_string(object, key);

	return text != NULL ? text : "?";
}

/* Texts of a migration may hold anything that a path can: nothing in them steers the terminal. */
static void put_printable(FILE *out, const char *text)
{
	while (*text != '\0') {
		uint32_t code;
		const size_t length = gw_utf8_take(text, &code);
		const bool steers = code == GW_UTF8_BAD || code < 0x20 ||
				    (code >= 0x7f && code < 0xa0);

		fprintf(out, "%.*s", steers ? 1 : (int)length, steers ? "?" : text);
		text += length;
	}
}

static void put_field(FILE *out, const char *name, const char *text)
{
	fprintf(out, "  %-18s ", name);
	put_printable(out, text);
	fputc('\n', out);
}

static const char *life_name(const struct gw_migration_look *look)
{
	switch (look->life) {
	case GW_LIFE_RUNS:
		return text_of(look->status, "state");
	case GW_LIFE_SILENT:
		return "silent";
	case GW_LIFE_DEAD:
		break;
	}
	return "dead";
}

void gw_out_look_text(FILE *out, const struct gw_migration_look *look)
{
	struct gw_migration_progress progress = { 0 };
	char line[GW_PROGRESS_BYTES];

	fprintf(out, "%s  %s", look->name, life_name(look));
	switch (look->life) {
	case GW_LIFE_RUNS:
		gw_control_take_progress(look->status, &progress);
		fputs("  ", out);
		put_printable(out, text_of(look->status, "source"));
		fputs(" -> ", out);
		put_printable(out, text_of(look->status, "target"));
		fprintf(out, "  %s\n", gw_progress_line(line, &progress, 60));
		return;
	case GW_LIFE_SILENT:
		fprintf(out, "  a process holds %s: it is just beginning or ending\n",
			look->state_dir);
		return;
	case GW_LIFE_DEAD:
		fprintf(out, "  %s%s%s\n", look->stale_socket ? "stale socket; " : "",
			look->has_pins ? "writes are still tracked; " : "", look->advice);
		return;
	}
}

struct json_object *gw_out_look_json(const struct gw_migration_look *look)
{
	static const char *const lives[] = { "running", "silent", "dead" };
	struct json_object *const object = json_object_new_object();

	assert(object != NULL);
	gw_json_put_text(object, "name", look->name);
	gw_json_put_string(object, "life", lives[look->life]);
	gw_json_put_text(object, "state_dir", look->state_dir);
	gw_json_put_bool(object, "stale_socket", look->stale_socket);
	gw_json_put_bool(object, "pinned", look->has_pins);
	gw_json_put_bool(object, "quiesced", look->is_quiesced);
	gw_json_put_bool(object, "committed", look->is_committed);
	gw_json_put_text(object, "advice", look->advice);
	gw_json_put_object(object, "status", json_object_get(look->status));
	return object;
}

static void put_settings(FILE *out, struct json_object *status)
{
	struct gw_control_values values = { 0 };
	struct json_object *settings;

	if (!json_object_object_get_ex(status, "settings", &settings))
		return;
	/* As it was started, a value may be out of the range of what can be set. */
	for (int i = 0; i < GW_CONTROL_SETTINGS; i++) {
		const char *const key = gw_control_setting((enum gw_control_setting)i)->key;
		bool is_on = false;

		gw_json_u64(settings, key, &values.value[i]);
		if (gw_json_bool(settings, key, &is_on))
			values.value[i] = is_on;
	}
	snprintf(values.guard, sizeof(values.guard), "%.*s", GW_CONTROL_GUARD_BYTES - 1,
		 text_of(settings, gw_control_setting(GW_CONTROL_GUARD)->key));
	for (int i = 0; i < GW_CONTROL_SETTINGS; i++) {
		char text[GW_CONTROL_GUARD_BYTES];

		put_field(out, gw_control_setting((enum gw_control_setting)i)->option,
			  gw_control_value(text, (enum gw_control_setting)i, &values));
	}
}

static void put_throttle(FILE *out, struct json_object *status)
{
	char limit[GW_UNIT_TEXT_BYTES], former[GW_UNIT_TEXT_BYTES], time[GW_UNIT_TEXT_BYTES],
		text[512];
	uint64_t limit_bytes_per_s = 0, former_bytes_per_s = 0, throttled_ns = 0, steps = 0;
	struct json_object *throttle;
	bool has_given_up = false;

	if (!json_object_object_get_ex(status, "throttle", &throttle) || throttle == NULL)
		return;
	gw_json_u64(throttle, "limit_bytes_per_s", &limit_bytes_per_s);
	gw_json_u64(throttle, "former_bytes_per_s", &former_bytes_per_s);
	gw_json_u64(throttle, "throttled_ns", &throttled_ns);
	gw_json_u64(throttle, "steps", &steps);
	gw_json_bool(throttle, "given_up", &has_given_up);
	gw_format_duration(time, throttled_ns);
	if (limit_bytes_per_s != 0)
		snprintf(text, sizeof(text), "throttled to %s for %s, steps: %llu, before it: %s",
			 gw_format_rate(limit, limit_bytes_per_s), time, (unsigned long long)steps,
			 former_bytes_per_s == 0 ? "no limit" :
			 gw_format_rate(former, former_bytes_per_s));
	else if (steps > 0)
		snprintf(text, sizeof(text), "no longer throttled, it was for %s%s", time,
			 has_given_up ? ", and is given up" : "");
	else
		snprintf(text, sizeof(text), "not throttled%s", has_given_up ?
			 ", it is given up" : "");
	put_field(out, "writers", text);
	put_field(out, "  their cgroup", text_of(throttle, "cgroup"));
}

static void put_possible(FILE *out, struct json_object *status)
{
	struct json_object *possible;

	if (!json_object_object_get_ex(status, "possible", &possible) ||
	    !json_object_is_type(possible, json_type_array))
		return;
	fprintf(out, "  %-18s", "possible now");
	for (size_t i = 0; i < json_object_array_length(possible); i++)
		fprintf(out, " %s",
			json_object_get_string(json_object_array_get_idx(possible, i)));
	fputc('\n', out);
}

void gw_out_status_text(FILE *out, struct json_object *status)
{
	struct gw_migration_progress progress = { 0 };
	char line[GW_PROGRESS_BYTES], age[GW_UNIT_TEXT_BYTES];
	uint64_t pid = 0, age_ns = 0;
	bool wanted = false;

	gw_control_take_progress(status, &progress);
	gw_json_u64(status, "pid", &pid);
	gw_json_u64(status, "age_ns", &age_ns);
	fprintf(out, "%s: %s\n", text_of(status, "name"), text_of(status, "state"));
	put_field(out, "source", text_of(status, "source"));
	put_field(out, "target", text_of(status, "target"));
	fprintf(out, "  %-18s %llu\n", "process", (unsigned long long)pid);
	put_field(out, "progress", gw_progress_line(line, &progress, 120));
	/* Ten looks a second are usual. */
	if (age_ns > UINT64_C(1000000000))
		fprintf(out, "  %-18s %s ago: it waits for a device or a command\n", "last heard of",
			gw_format_duration(age, age_ns));
	if (text_of(status, "decision")[0] != '\0')
		put_field(out, "last decision", text_of(status, "decision"));
	if (gw_json_bool(status, "switch_wanted", &wanted) && wanted)
		put_field(out, "switch", "as soon as it fits");
	put_throttle(out, status);
	put_settings(out, status);
	put_possible(out, status);
}

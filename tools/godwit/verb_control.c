// SPDX-License-Identifier: GPL-2.0-or-later
/* The verbs that talk to a running migration: list, status, watch, and those that change it. */
#include "verbs.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "control_client.h"
#include "jsonkeys.h"
#include "migrations.h"
#include "out.h"
#include "out_control.h"
#include "units.h"

#define CLOSE_MS 5000

struct settings {
	struct gw_common common;
	const char *run_dir;
};

static const struct gw_option options[] = {
	{ .name = "run-dir", .kind = GW_OPTION_STRING, .argument = "DIR",
	  .offset = offsetof(struct settings, run_dir), .fallback = GW_RUN_DIR_DEFAULT,
	  .help = "where the control sockets are" },
	{ 0 },
};

static const char *run_dir_of(const struct gw_call *call)
{
	const struct settings *const settings = call->settings;

	return settings->run_dir != NULL ? settings->run_dir : GW_RUN_DIR_DEFAULT;
}

static bool wants_json(const struct gw_call *call)
{
	const struct gw_common *const common = call->settings;

	return common->output == GW_OUTPUT_JSON;
}

/* A connection to the migration that a verb was called for. */
struct session {
	struct gw_client client;
	struct gw_diag diag;
	char name[128];
};

/* Return: GW_EXIT_DONE and *session, end_session() ends it; else an exit code, said. */
static int begin_session(const struct gw_call *call, const char *name, struct session **session)
{
	struct session *const new = calloc(1, sizeof(*new));
	int err;

	assert(new != NULL);
	if (name != NULL && !gw_options_is_name(name)) {
		free(new);
		return gw_verb_usage_error(call, "\"%s\" is no name of a migration", name);
	}
	new->diag = gw_verb_diag(call->terminal);
	err = gw_migration_connect(&new->client, run_dir_of(call), name, new->name, &new->diag);
	if (err != 0) {
		err = gw_verb_exit(&new->diag, err);
		free(new);
		return err;
	}
	*session = new;
	return GW_EXIT_DONE;
}

static int end_session(struct session *session, int code)
{
	gw_client_close(&session->client);
	free(session);
	return code;
}

/* Asks; Return: GW_EXIT_DONE and *reply, or an exit code, said. */
static int ask(struct session *session, const struct gw_control_request *request,
	       struct json_object **reply)
{
	const int err = gw_client_ask(&session->client, request, reply, &session->diag);

	return err == 0 ? GW_EXIT_DONE : gw_verb_exit(&session->diag, err);
}

/* A session, and the reply to its first request. Return: as begin_session() and ask(). */
static int begin_with(const struct gw_call *call, const char *name,
		      const struct gw_control_request *request, struct session **session,
		      struct json_object **reply)
{
	int code = begin_session(call, name, session);

	if (code != GW_EXIT_DONE)
		return code;
	code = ask(*session, request, reply);
	return code == GW_EXIT_DONE ? code : end_session(*session, code);
}

/* The same for a request that is no more than its command. */
static int begin_with_command(const struct gw_call *call, enum gw_control_command command,
			      struct session **session, struct json_object **reply)
{
	const struct gw_control_request request = { .command = command };

	return begin_with(call, call->operand_count > 0 ? call->operands[0] : NULL, &request,
			  session, reply);
}

/* ---- list ---------------------------------------------------------------- */

/* arg of the walk */
struct list {
	struct json_object *array;	/* NULL for text */
	uint32_t count;
};

static void list_one(void *arg, const struct gw_migration_look *look)
{
	struct list *const list = arg;

	if (list->array != NULL)
		json_object_array_add(list->array, gw_out_look_json(look));
	else
		gw_out_look_text(stdout, look);
	list->count++;
}

static int run_list(const struct gw_call *call)
{
	struct list list = { 0 };
	struct json_object *document;

	if (wants_json(call)) {
		list.array = json_object_new_array();
		assert(list.array != NULL);
	}
	gw_migrations_each(run_dir_of(call), list_one, &list);
	if (list.array != NULL) {
		document = gw_out_document();
		gw_json_put_object(document, "migrations", list.array);
		gw_out_print(stdout, document);
	} else if (list.count == 0) {
		gw_terminal_message(call->terminal, GW_MESSAGE_NOTE, "no migration is running, and "
				    "none was left by a dead process");
	}
	return GW_EXIT_DONE;
}

const struct gw_verb gw_verb_list = {
	.name = "list",
	.operands = "",
	.summary = "the migrations that run, and those that died",
	.about = "Lists the migrations of this machine: those that run, with state and progress, and "
		 "what killed processes left, with what to do about it. What has ended is not "
		 "listed: its journal is in " GW_STATE_DIR_DEFAULT ".",
	.needs_root = true,
	.settings_bytes = sizeof(struct settings),
	.tables = { options, gw_options_output, gw_options_common },
	.run = run_list,
};

/* ---- status -------------------------------------------------------------- */

static int run_status(const struct gw_call *call)
{
	struct json_object *reply;
	struct session *session;
	const int code = begin_with_command(call, GW_CONTROL_STATUS, &session, &reply);

	if (code != GW_EXIT_DONE)
		return code;
	if (wants_json(call)) {
		gw_out_print(stdout, reply);
	} else {
		gw_out_status_text(stdout, reply);
		json_object_put(reply);
	}
	return end_session(session, code);
}

#define NAME_IS_OPTIONAL " NAME may be left away when one runs only."

const struct gw_verb gw_verb_status = {
	.name = "status",
	.operands = "[NAME]",
	.summary = "how far a running migration is, and its last decision",
	.about = "Shows state, progress, settings and the last decision of the running migration "
		 "NAME, and what can be asked of it now. Answers at once, whatever the migration "
		 "is waiting for." NAME_IS_OPTIONAL,
	.operands_max = 1,
	.needs_root = true,
	.settings_bytes = sizeof(struct settings),
	.tables = { options, gw_options_output, gw_options_common },
	.run = run_status,
};

/* ---- watch --------------------------------------------------------------- */

/* What goes to the terminal; the migration's own messages, as its foreground shows them. */
static void show_event(const struct gw_call *call, struct json_object *event)
{
	static const char *const levels[] = { "error", "warning", "note" };
	const char *const kind = gw_json_string(event, "event");
	const char *const text = gw_json_string(event, "text");
	const char *const level = gw_json_string(event, "level");
	struct gw_migration_progress progress = { 0 };
	enum gw_message as = GW_MESSAGE_NOTE;
	uint64_t count;

	if (kind != NULL && strcmp(kind, "message") == 0 && text != NULL && level != NULL) {
		for (int i = 0; i < 3; i++)
			if (strcmp(level, levels[i]) == 0)
				as = (enum gw_message)i;
		gw_terminal_message(call->terminal, as, text);
	}
	if (kind != NULL && strcmp(kind, "ended") == 0 && gw_json_u64(event, "exit_code", &count))
		gw_terminal_say(call->terminal, count == GW_EXIT_DONE ? GW_MESSAGE_NOTE :
				GW_MESSAGE_ERROR, "ended with exit code %llu: %s",
				(unsigned long long)count,
				gw_json_string(event, "reason") != NULL ?
				gw_json_string(event, "reason") : "");
	if (kind != NULL && strcmp(kind, "dropped") == 0 && gw_json_u64(event, "count", &count))
		gw_terminal_say(call->terminal, GW_MESSAGE_WARNING,
				"%llu events were lost on the way", (unsigned long long)count);
	if (json_object_object_get_ex(event, "progress", NULL)) {
		gw_control_take_progress(event, &progress);
		gw_terminal_progress(call->terminal, &progress);
	}
}

/* Return: true if it was the last one; then *code is the migration's exit code. */
static bool is_end(struct json_object *event, int *code)
{
	const char *const kind = gw_json_string(event, "event");
	uint64_t exit_code = GW_EXIT_UNCLEAR;

	if (kind == NULL || strcmp(kind, "ended") != 0)
		return false;
	gw_json_u64(event, "exit_code", &exit_code);
	*code = exit_code <= GW_EXIT_UNCLEAR ? (int)exit_code : GW_EXIT_UNCLEAR;
	return true;
}

/* Events until the last one, shown if they are to be. Return: the migration's exit code. */
static int follow(const struct gw_call *call, struct session *session, bool shown)
{
	struct json_object *event;
	int code = GW_EXIT_UNCLEAR, err;
	bool ended = false;

	while (!ended) {
		err = gw_client_hear(&session->client, -1, &event, &session->diag);
		if (err == -EPIPE)
			gw_fail_exit(&session->diag, GW_EXIT_UNCLEAR, err, "%s: the migration is "
				     "gone without a word: see `godwit list`", session->name);
		if (err != 0)
			return gw_verb_exit(&session->diag, err);
		if (shown && wants_json(call)) {
			printf("%s\n", json_object_to_json_string_ext(event,
				JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE));
			fflush(stdout);
		} else if (shown) {
			show_event(call, event);
		}
		ended = is_end(event, &code);
		json_object_put(event);
	}
	/* Its socket goes before it hangs up. */
	while (gw_client_hear(&session->client, CLOSE_MS, &event, NULL) == 0)
		json_object_put(event);
	return code;
}

static int run_watch(const struct gw_call *call)
{
	struct json_object *reply;
	struct session *session;
	const int code = begin_with_command(call, GW_CONTROL_WATCH, &session, &reply);

	if (code != GW_EXIT_DONE)
		return code;
	if (!wants_json(call))
		show_event(call, reply);
	json_object_put(reply);
	return end_session(session, follow(call, session, true));
}

const struct gw_verb gw_verb_watch = {
	.name = "watch",
	.operands = "[NAME]",
	.summary = "follow a running migration to its end",
	.about = "Shows progress and messages of the running migration NAME until it ends, and ends "
		 "with its exit code. Ending the watch does not end the migration. With -o json "
		 "each event is a line." NAME_IS_OPTIONAL,
	.operands_max = 1,
	.needs_root = true,
	.settings_bytes = sizeof(struct settings),
	.tables = { options, gw_options_output, gw_options_common },
	.run = run_watch,
};

/* ---- changes ------------------------------------------------------------- */

/* Says what was done, with the words of the migration. */
static int tell_done(struct session *session, const struct gw_call *call,
		     struct json_object *reply_give)
{
	const char *const text = gw_json_string(reply_give, "text");

	gw_terminal_say(call->terminal, GW_MESSAGE_NOTE, "%s: %s", session->name,
			text != NULL ? text : "");
	json_object_put(reply_give);
	return GW_EXIT_DONE;
}

static int change(const struct gw_call *call, enum gw_control_command command)
{
	struct json_object *reply;
	struct session *session;
	const int code = begin_with_command(call, command, &session, &reply);

	return code != GW_EXIT_DONE ? code : end_session(session, tell_done(session, call, reply));
}

static int run_pause(const struct gw_call *call) { return change(call, GW_CONTROL_PAUSE); }
static int run_resume(const struct gw_call *call) { return change(call, GW_CONTROL_RESUME); }
static int run_switch(const struct gw_call *call) { return change(call, GW_CONTROL_SWITCH); }

/* Cancelled means taken back: it is waited for. */
static int run_cancel(const struct gw_call *call)
{
	const struct gw_control_request cancel = { .command = GW_CONTROL_CANCEL };
	struct json_object *reply;
	struct session *session;
	int code = begin_with_command(call, GW_CONTROL_WATCH, &session, &reply);

	if (code != GW_EXIT_DONE)
		return code;
	json_object_put(reply);
	code = ask(session, &cancel, &reply);
	if (code != GW_EXIT_DONE)
		return end_session(session, code);
	tell_done(session, call, reply);
	code = follow(call, session, false);
	if (code == GW_EXIT_CANCELLED)
		return end_session(session, GW_EXIT_DONE);
	gw_terminal_say(call->terminal, GW_MESSAGE_WARNING,
			"it was too late: ended with exit code %d", code);
	return end_session(session, code);
}

/* ---- set ----------------------------------------------------------------- */

static int parse_value(const struct gw_control_setting_row *row, const char *text, uint64_t *value)
{
	char *end;

	switch (row->unit) {
	case GW_CONTROL_UNIT_RATE:
		return gw_parse_rate(text, value);
	case GW_CONTROL_UNIT_DURATION:
		return gw_parse_duration(text, value);
	case GW_CONTROL_UNIT_FLAG:
		*value = strcmp(text, "on") == 0;
		return *value == 0 && strcmp(text, "off") != 0 ? -EINVAL : 0;
	case GW_CONTROL_UNIT_COUNT:
	case GW_CONTROL_UNIT_TEXT:
		break;
	}
	if (text[0] < '0' || text[0] > '9')
		return -EINVAL;
	errno = 0;
	*value = strtoull(text, &end, 10);
	return errno != 0 || *end != '\0' ? -EINVAL : 0;
}

/* What it means is the migration's to judge. */
static int parse_text(const struct gw_call *call, const char *text,
		      char out[GW_CONTROL_GUARD_BYTES])
{
	char range[GW_CONTROL_TEXT_BYTES];

	if (text[0] == '\0' || strlen(text) >= GW_CONTROL_GUARD_BYTES)
		return gw_verb_usage_error(call, "guard: \"%s\" is not accepted; give %s", text,
					   gw_control_range(range, GW_CONTROL_GUARD));
	strcpy(out, text);
	return GW_EXIT_DONE;
}

/* "bandwidth=100M/s". Return: GW_EXIT_DONE, or GW_EXIT_USAGE, said. */
static int parse_setting(const struct gw_call *call, const char *word,
			 struct gw_control_values *set)
{
	const size_t length = strcspn(word, "=");
	char range[GW_CONTROL_TEXT_BYTES];

	for (int i = 0; i < GW_CONTROL_SETTINGS; i++) {
		const enum gw_control_setting setting = (enum gw_control_setting)i;
		const struct gw_control_setting_row *const row = gw_control_setting(setting);

		if (strlen(row->option) != length || strncmp(row->option, word, length) != 0)
			continue;
		set->mask |= 1u << i;
		if (row->unit == GW_CONTROL_UNIT_TEXT)
			return parse_text(call, word + length + 1, set->guard);
		if (parse_value(row, word + length + 1, &set->value[i]) != 0 ||
		    !gw_control_is_in_range(setting, set->value[i]))
			return gw_verb_usage_error(call, "%s: \"%s\" is not accepted; give %s",
						   row->option, word + length + 1,
						   gw_control_range(range, setting));
		return GW_EXIT_DONE;
	}
	return gw_verb_usage_error(call, "\"%.*s\" cannot be set; see \"godwit set --help\"",
				   (int)length, word);
}

static int run_set(const struct gw_call *call)
{
	struct gw_control_request request = { .command = GW_CONTROL_SET };
	struct json_object *reply;
	struct session *session;
	const char *name = NULL;
	uint32_t first = 0;
	int code;

	if (strchr(call->operands[0], '=') == NULL)
		name = call->operands[first++];
	if (first == call->operand_count)
		return gw_verb_usage_error(call, "nothing is to be set; give SETTING=VALUE");
	for (uint32_t i = first; i < call->operand_count; i++) {
		if (strchr(call->operands[i], '=') == NULL)
			return gw_verb_usage_error(call, "\"%s\" is no SETTING=VALUE",
						   call->operands[i]);
		code = parse_setting(call, call->operands[i], &request.set);
		if (code != GW_EXIT_DONE)
			return code;
	}
	code = begin_with(call, name, &request, &session, &reply);
	return code != GW_EXIT_DONE ? code : end_session(session, tell_done(session, call, reply));
}

#define CHANGE(verb, words, what, tell) \
	const struct gw_verb gw_verb_##verb = { \
		.name = #verb, \
		.operands = words, \
		.summary = what, \
		.about = tell NAME_IS_OPTIONAL, \
		.operands_max = 1, \
		.needs_root = true, \
		.settings_bytes = sizeof(struct settings), \
		.tables = { options, gw_options_common }, \
		.run = run_##verb, \
	}

CHANGE(pause, "[NAME]", "stop copying for a while, and go on tracking",
       "The migration NAME copies nothing until it is resumed; what is written meanwhile is "
       "tracked. --timeout does not run. Not possible once the writers are stopped.");
CHANGE(resume, "[NAME]", "go on after a pause", "Ends the pause of the migration NAME.");
CHANGE(switch, "[NAME]", "switch to the target as soon as it fits",
       "Tells the migration NAME to switch as soon as the predicted blackout fits its downtime "
       "limit: the end of --wait-switch, and without it no longer to wait for a better "
       "moment. To switch in spite of the limit, raise it with \"godwit set\".");
CHANGE(cancel, "[NAME]", "end a migration; the source goes on",
       "Ends the migration NAME and waits until what it began is taken back: nothing stays "
       "pinned, frozen or throttled. Refused after the commit: then only the target may run.");

const struct gw_verb gw_verb_set = {
	.name = "set",
	.operands = "[NAME] SETTING=VALUE...",
	.summary = "change settings of a running migration",
	.about = "Changes settings of the migration NAME, all that are given or none: bandwidth, "
		 "downtime-limit, timeout, quiesce-deadline, exec-timeout, max-rounds, guard, written "
		 "as for \"godwit migrate\"; bandwidth=0 and max-rounds=0 mean no limit. "
		 "throttle-writers=off lets throttled writers go, on allows it again. They hold for "
		 "a --continue, too." NAME_IS_OPTIONAL,
	.operands_min = 1,
	.operands_max = 1 + GW_CONTROL_SETTINGS,
	.needs_root = true,
	.settings_bytes = sizeof(struct settings),
	.tables = { options, gw_options_common },
	.run = run_set,
};

// SPDX-License-Identifier: GPL-2.0-or-later
/* The user's commands stop the writers, switch, and start them again. docs/handoff.md */
#include "handoff_ops.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "clock.h"
#include "command.h"

#define COMMAND_BYTES_MAX (16u << 10)
#define TIMEOUT_NS_MAX (24 * 3600 * GW_NS_PER_S)

static int prepare(struct gw_handoff *handoff, struct gw_diag *diag)
{
	const struct gw_handoff_config *const config = &handoff->config;
	const char *const commands[] = { config->exec_quiesce, config->exec_switch,
					 config->exec_resume, config->exec_abort };

	if (config->exec_quiesce == NULL || config->exec_quiesce[0] == '\0')
		return gw_fail_exit(diag, GW_EXIT_CANNOT, -EINVAL,
				    "hand-off exec needs a quiesce command: what else stops the "
				    "writers? (--exec-quiesce)");
	for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++)
		if (commands[i] != NULL && strlen(commands[i]) >= COMMAND_BYTES_MAX)
			return gw_fail_exit(diag, GW_EXIT_CANNOT, -E2BIG,
					    "a hand-off command is longer than %u bytes; put it "
					    "into a script", COMMAND_BYTES_MAX - 1);
	if (access(GW_COMMAND_SHELL, X_OK) != 0)
		return gw_fail_exit(diag, GW_EXIT_CANNOT, -errno,
				    "cannot run commands with " GW_COMMAND_SHELL ": %s",
				    strerror(errno));
	if (config->exec_abort == NULL)
		gw_say(diag, GW_WARNING, "no abort command (--exec-abort): if the migration fails "
		       "after the quiesce command, nothing starts your writers again");
	return 0;
}

static void put_string(struct json_object *object, const char *key, const char *value)
{
	if (value != NULL)
		json_object_object_add(object, key, json_object_new_string(value));
}

static void describe(struct gw_handoff *handoff, struct json_object *recovery)
{
	const struct gw_handoff_config *const config = &handoff->config;

	put_string(recovery, "source", config->source->path);
	put_string(recovery, "target", config->target->path);
	put_string(recovery, "state_dir", config->state_dir);
	put_string(recovery, "switch", config->exec_switch);
	put_string(recovery, "resume", config->exec_resume);
	put_string(recovery, "abort", config->exec_abort);
	json_object_object_add(recovery, "timeout_ns",
			       json_object_new_int64((int64_t)config->exec_timeout_ns));
}

/* A command that is not given is done at once. */
static int run(struct gw_handoff *handoff, const char *text, const char *phase,
	       struct gw_diag *diag)
{
	const struct gw_handoff_config *const config = &handoff->config;
	const struct gw_command command = {
		.text = text, .phase = phase, .by = handoff->by,
		.migration = config->migration, .source = config->source->path,
		.target = config->target->path, .state_dir = config->state_dir,
		.timeout_ns = config->exec_timeout_ns, .watch = handoff->watch,
		.only_while_armed = strcmp(phase, "quiesce") == 0,
	};
	const uint64_t start_ns = gw_now_ns(&gw_clock_monotonic);
	int err;

	if (text == NULL)
		return 0;
	err = gw_command_run(&command, diag);
	handoff->user_ns += gw_now_ns(&gw_clock_monotonic) - start_ns;
	return err;
}

static int quiesce(struct gw_handoff *handoff, struct gw_diag *diag)
{
	return run(handoff, handoff->config.exec_quiesce, "quiesce", diag);
}

static int take_back(struct gw_handoff *handoff, struct gw_diag *diag)
{
	int err;

	if (atomic_load(&handoff->watch->has_taken_back))
		return 0;
	gw_command_kill_left(handoff->watch);
	err = run(handoff, handoff->config.exec_abort, "abort", diag);
	/* Failed or not, it was run and said; it is for the user now. */
	atomic_store(&handoff->watch->has_taken_back, true);
	return err;
}

static int switch_over(struct gw_handoff *handoff, struct gw_diag *diag)
{
	gw_command_kill_left(handoff->watch);
	return run(handoff, handoff->config.exec_switch, "switch", diag);
}

static int resume(struct gw_handoff *handoff, struct gw_diag *diag)
{
	gw_command_kill_left(handoff->watch);
	return run(handoff, handoff->config.exec_resume, "resume", diag);
}

/* Return: 0 with *text NULL if the key is absent. */
static int read_command(struct json_object *recovery, const char *key, const char **text,
			struct gw_diag *diag)
{
	struct json_object *value;

	*text = NULL;
	if (!json_object_object_get_ex(recovery, key, &value))
		return 0;
	*text = gw_handoff_json_string(recovery, key, COMMAND_BYTES_MAX);
	if (*text == NULL)
		return gw_fail_exit(diag, GW_EXIT_UNCLEAR, -EBADMSG,
				    "recovery record: \"%s\" is no command", key);
	return 0;
}

static int run_recovered(struct gw_command *command, const char *text, const char *phase,
			 struct gw_diag *diag)
{
	if (text == NULL)
		return 0;
	command->text = text;
	command->phase = phase;
	return gw_command_run(command, diag);
}

static const char *string_or_empty(struct json_object *recovery, const char *key)
{
	const char *const text = gw_handoff_json_string(recovery, key, PATH_MAX);

	return text != NULL ? text : "";
}

static int recover(struct json_object *recovery, bool committed, struct gw_diag *diag)
{
	const char *text_switch, *text_resume, *text_abort;
	struct json_object *value;
	struct gw_command command = {
		.by = "cleanup",
		.migration = string_or_empty(recovery, "migration"),
		.source = string_or_empty(recovery, "source"),
		.target = string_or_empty(recovery, "target"),
		.state_dir = string_or_empty(recovery, "state_dir"),
		.timeout_ns = GW_HANDOFF_EXEC_TIMEOUT_NS,
	};
	int err;

	/* All is read before anything is run. */
	if ((err = read_command(recovery, "switch", &text_switch, diag)) != 0 ||
	    (err = read_command(recovery, "resume", &text_resume, diag)) != 0 ||
	    (err = read_command(recovery, "abort", &text_abort, diag)) != 0)
		return err;
	if (json_object_object_get_ex(recovery, "timeout_ns", &value) &&
	    json_object_is_type(value, json_type_int)) {
		const int64_t timeout_ns = json_object_get_int64(value);

		if (timeout_ns > 0 && (uint64_t)timeout_ns <= TIMEOUT_NS_MAX)
			command.timeout_ns = (uint64_t)timeout_ns;
	}
	if (!committed)
		return run_recovered(&command, text_abort, "abort", diag);
	err = run_recovered(&command, text_switch, "switch", diag);
	return err != 0 ? err : run_recovered(&command, text_resume, "resume", diag);
}

const struct gw_handoff_ops gw_handoff_exec = {
	.name = "exec",
	.is_watched = true,
	.prepare = prepare,
	.describe = describe,
	.quiesce = quiesce,
	.take_back = take_back,
	.switch_over = switch_over,
	.resume = resume,
	.recover = recover,
};

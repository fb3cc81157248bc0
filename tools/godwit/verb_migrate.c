// SPDX-License-Identifier: GPL-2.0-or-later
#include "verb_migrate.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <godwit/report.h>

#include "background.h"
#include "clock.h"
#include "verbs.h"
#include "interrupt.h"
#include "journal.h"
#include "manners.h"
#include "notify.h"
#include "out.h"
#include "out_json.h"
#include "out_text.h"
#include "preflight.h"
#include "statefiles.h"
#include "units.h"

static const struct gw_choice track_choices[] = {
	{ "auto", GW_TRACK_AUTO }, { "nvme", GW_TRACK_NVME }, { "block", GW_TRACK_BLOCK },
	{ "none", GW_TRACK_NONE },
	{ NULL, 0 },
};

static const struct gw_choice handoff_choices[] = {
	{ "auto", GW_MIGRATION_HANDOFF_AUTO }, { "freeze", GW_MIGRATION_FREEZE },
	{ "exec", GW_MIGRATION_EXEC }, { "none", GW_MIGRATION_NONE }, { "dm:", GW_MIGRATION_DM },
	{ NULL, 0 },
};

static const struct gw_choice verify_choices[] = {
	{ "during", GW_VERIFY_DURING }, { "after", GW_VERIFY_AFTER }, { NULL, 0 },
};

#define AT(member) offsetof(struct gw_migrate_settings, member)

const struct gw_option gw_options_migration[] = {
	{ .name = "name", .kind = GW_OPTION_NAME, .argument = "NAME", .offset = AT(config.name),
	  .fallback = "SOURCE-TARGET by their kernel names", .help = "name of the migration" },
	{ .name = "state-dir", .kind = GW_OPTION_STRING, .argument = "DIR",
	  .offset = AT(config.state_dir), .fallback = GW_STATE_DIR_DEFAULT "/NAME",
	  .help = "journal and digests; on neither SOURCE nor TARGET" },
	{ .name = "run-dir", .kind = GW_OPTION_STRING, .argument = "DIR",
	  .offset = AT(config.run_dir), .fallback = GW_RUN_DIR_DEFAULT, .help = "locks" },
	{ .name = "track", .kind = GW_OPTION_ENUM, .offset = AT(config.track),
	  .choices = track_choices, .fallback = "auto",
	  .help = "how writes to SOURCE are seen; none: nobody writes to it" },
	{ .name = "handoff", .kind = GW_OPTION_ENUM, .offset = AT(config.handoff),
	  .choices = handoff_choices, .argument = "NAME", .rest_offset = AT(config.dm_name),
	  .fallback = "auto",
	  .help = "how the writers are stopped at the end: freeze the file systems, exec commands, "
		  "none: you vouch that nobody writes, dm: the device-mapper device NAME is moved to "
		  "TARGET" },
	{ .name = "exec-quiesce", .kind = GW_OPTION_STRING, .argument = "CMD",
	  .offset = AT(config.exec_quiesce), .help = "command that stops the writers" },
	{ .name = "exec-switch", .kind = GW_OPTION_STRING, .argument = "CMD",
	  .offset = AT(config.exec_switch), .help = "command that gives the work to TARGET" },
	{ .name = "exec-resume", .kind = GW_OPTION_STRING, .argument = "CMD",
	  .offset = AT(config.exec_resume), .help = "command that starts the writers on TARGET" },
	{ .name = "exec-abort", .kind = GW_OPTION_STRING, .argument = "CMD",
	  .offset = AT(config.exec_abort), .help = "command that starts the writers on SOURCE "
						   "again" },
	{ .name = "exec-timeout", .kind = GW_OPTION_DURATION, .argument = "TIME",
	  .offset = AT(config.exec_timeout_ns), .fallback = "30s",
	  .help = "of each of these commands" },
	{ .name = "verify", .kind = GW_OPTION_ENUM_OPTIONAL, .offset = AT(config.verify),
	  .choices = verify_choices, .fallback = "no; without a value: during",
	  .help = "read TARGET back and compare with the digests: before the switch, or after it" },
	{ .name = "bandwidth", .kind = GW_OPTION_RATE, .argument = "RATE",
	  .offset = AT(config.bandwidth_bytes_per_s), .fallback = "no limit",
	  .help = "copy no faster than this" },
	{ .name = "cpus", .kind = GW_OPTION_STRING, .argument = "LIST", .offset = AT(config.cpus),
	  .fallback = "all", .help = "copy on these CPUs only, such as 0-3,6" },
	{ .name = "nice", .kind = GW_OPTION_STRING, .argument = "N", .offset = AT(nice),
	  .fallback = "5; while the writers are stopped that of the caller",
	  .help = "nice value of the copier, 0 to 19" },
	{ .name = "throttle-writers", .kind = GW_OPTION_STRING, .argument = "CGROUP",
	  .offset = AT(config.throttle_writers), .fallback = "never",
	  .help = "when it does not converge, limit what this cgroup writes to SOURCE, step by step" },
	{ .name = "guard", .kind = GW_OPTION_GUARD, .argument = "LIMIT",
	  .offset = AT(config.guard), .fallback = "off",
	  .help = "copy only as fast as the workload's I/O on SOURCE stays within this: p99=2ms, or "
		  "2x what it was before the start" },
	{ .name = "downtime-limit", .kind = GW_OPTION_DURATION, .argument = "TIME",
	  .offset = AT(config.downtime_limit_ns), .fallback = "300ms",
	  .help = "the final round begins when the predicted blackout fits this" },
	{ .name = "timeout", .kind = GW_OPTION_DURATION, .argument = "TIME",
	  .offset = AT(config.timeout_ns), .fallback = "2m",
	  .help = "give up after so long without progress" },
	{ .name = "quiesce-deadline", .kind = GW_OPTION_DURATION, .argument = "TIME",
	  .offset = AT(config.quiesce_deadline_ns), .fallback = "10s beyond the downtime limit and, with exec, --exec-timeout",
	  .help = "a blackout without a commit for so long is given up, and SOURCE goes on" },
	{ .name = "wait-switch", .kind = GW_OPTION_FLAG, .offset = AT(config.wait_switch),
	  .help = "converge, stay converged, and switch only when \"godwit switch\" asks for it" },
	{ .name = "max-rounds", .kind = GW_OPTION_U32, .argument = "N", .min = 0, .max = 1000000,
	  .offset = AT(config.max_rounds), .fallback = "0, no limit",
	  .help = "give up after so many rounds" },
	{ .name = "grain", .kind = GW_OPTION_GRAIN, .argument = "SIZE",
	  .offset = AT(config.grain_bytes), .fallback = "finest whose bitmap fits 64 MiB",
	  .help = "unit of tracking, copying and hashing, 4K to 1M" },
	{ .name = "buffers", .kind = GW_OPTION_U32, .argument = "N", .min = 1, .max = 1024,
	  .offset = AT(config.buffers), .help = "runs of up to 1 MiB in flight" },
	{ .name = "overwrite", .kind = GW_OPTION_FLAG, .offset = AT(config.overwrite),
	  .help = "TARGET may hold something" },
	{ .name = "target-is-zero", .kind = GW_OPTION_FLAG, .offset = AT(config.target_is_zero),
	  .help = "you vouch that TARGET reads as zeroes everywhere: zeroes are not written" },
	{ .name = "free-space", .kind = GW_OPTION_FLAG, .offset = AT(config.free_space),
	  .help = "do not read what mounted ext4 and XFS on SOURCE call free: zeroes on TARGET" },
	{ .name = "resync", .kind = GW_OPTION_FLAG, .offset = AT(config.resync),
	  .help = "compare by content and write only what differs" },
	{ .name = "restart-on-erase", .kind = GW_OPTION_FLAG,
	  .offset = AT(config.restart_on_erase),
	  .help = "when SOURCE is formatted or sanitized meanwhile, copy it anew (default: end)" },
	{ 0 },
};

static const struct gw_option options[] = {
	{ .name = "continue", .kind = GW_OPTION_NAME, .argument = "NAME",
	  .offset = AT(continue_name),
	  .help = "go on with the migration of this name, whose process died" },
	{ .name = "background", .kind = GW_OPTION_FLAG, .offset = AT(background),
	  .help = "return as soon as it runs, with its name; see \"godwit watch\"" },
	{ .name = "keep-state", .kind = GW_OPTION_FLAG, .offset = AT(config.keep_state),
	  .help = "leave the digest file in the state directory" },
	{ .name = "dry-run", .kind = GW_OPTION_FLAG, .offset = AT(dry_run),
	  .help = "only check, as \"godwit check\" does" },
	{ .name = "yes", .kind = GW_OPTION_FLAG, .offset = AT(yes),
	  .help = "answer yes where it would ask on a terminal" },
	{ 0 },
};

static int settle_manners(const struct gw_call *call)
{
	struct gw_migrate_settings *settings = call->settings;
	struct gw_migration_config *config = &settings->config;
	unsigned long nice;
	cpu_set_t cpus;
	char *end;

	if (config->cpus != NULL && gw_parse_cpus(config->cpus, &cpus) != 0)
		return gw_verb_usage_error(call, "--cpus: \"%s\" is not accepted; give a list such as "
					      "0-3,6", config->cpus);
	if (settings->nice == NULL)
		return GW_EXIT_DONE;
	nice = strtoul(settings->nice, &end, 10);
	if (settings->nice[0] < '0' || settings->nice[0] > '9' || *end != '\0' ||
	    nice > GW_NICE_MAX)
		return gw_verb_usage_error(call, "--nice: \"%s\" is not accepted; give a whole number "
					      "from 0 to %d", settings->nice, GW_NICE_MAX);
	config->nice = (uint32_t)nice;
	config->has_nice = true;
	return GW_EXIT_DONE;
}

int gw_migrate_settle(const struct gw_call *call)
{
	struct gw_migrate_settings *settings = call->settings;
	struct gw_migration_config *config = &settings->config;
	const bool has_commands = config->exec_quiesce != NULL || config->exec_switch != NULL ||
				  config->exec_resume != NULL || config->exec_abort != NULL;

	if (config->resync && config->target_is_zero)
		return gw_verb_usage_error(call, "--target-is-zero and --resync exclude each "
					      "other: what is zero needs no comparison");
	if (settle_manners(call) != GW_EXIT_DONE)
		return GW_EXIT_USAGE;
	if (!has_commands)
		return GW_EXIT_DONE;
	if (config->handoff == GW_MIGRATION_HANDOFF_AUTO)
		config->handoff = GW_MIGRATION_EXEC;
	if (config->handoff != GW_MIGRATION_EXEC)
		return gw_verb_usage_error(call, "the --exec-... commands need --handoff exec");
	return GW_EXIT_DONE;
}

/* What a continuation has from the journal and nowhere else. Return: the option's name, NULL if none is given. */
static const char *find_fixed(const struct gw_migration_config *config)
{
	const struct {
		bool is_given;
		const char *name;
	} rows[] = {
		{ config->track != GW_TRACK_AUTO, "track" },
		{ config->handoff != GW_MIGRATION_HANDOFF_AUTO, "handoff" },
		{ config->exec_quiesce != NULL, "exec-quiesce" },
		{ config->exec_switch != NULL, "exec-switch" },
		{ config->exec_resume != NULL, "exec-resume" },
		{ config->exec_abort != NULL, "exec-abort" },
		{ config->verify != GW_VERIFY_NO, "verify" },
		{ config->grain_bytes != 0, "grain" },
		{ config->target_is_zero, "target-is-zero" },
		{ config->free_space, "free-space" },
		{ config->keep_state, "keep-state" },
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		if (rows[i].is_given)
			return rows[i].name;
	return NULL;
}

static int settle_operands(const struct gw_call *call)
{
	struct gw_migrate_settings *settings = call->settings;
	struct gw_migration_config *config = &settings->config;

	if (settings->continue_name == NULL) {
		if (call->operand_count != 2)
			return gw_verb_usage_error(call, "operands are missing; give SOURCE "
							 "TARGET, or --continue NAME");
		config->source = call->operands[0];
		config->target = call->operands[1];
		return GW_EXIT_DONE;
	}
	if (call->operand_count != 0)
		return gw_verb_usage_error(call, "--continue takes SOURCE and TARGET from the "
					      "journal: \"%s\" is one operand too many",
					      call->operands[0]);
	if (config->name != NULL || settings->dry_run)
		return gw_verb_usage_error(call, "--continue excludes --name and --dry-run");
	if (find_fixed(config) != NULL)
		return gw_verb_usage_error(call, "--continue goes on as the migration was started: "
					      "--%s cannot be given anew", find_fixed(config));
	config->name = settings->continue_name;
	return GW_EXIT_DONE;
}

/* ---- Consent ------------------------------------------------------------- */

/* What would be lost, in words; "" if nothing is known to be there. */
static void describe(const struct gw_node *target, char *text, size_t bytes)
{
	struct gw_diag silent = { 0 };
	char size[GW_UNIT_TEXT_BYTES];

	if (gw_node_signature(target, text, bytes, &silent) != 0)
		text[0] = '\0';
	if (text[0] == '\0' && target->kind == GW_NODE_FILE && target->size_bytes > 0)
		snprintf(text, bytes, "%s", gw_format_bytes(size, target->size_bytes));
}

/*
 * Return: true if TARGET may be overwritten by the user's word; nobody is asked
 * unless on a terminal.
 */
static bool has_consent(const struct gw_call *call)
{
	const struct gw_migrate_settings *settings = call->settings;
	struct gw_diag silent = { 0 };
	struct gw_node target;
	char held[128], answer[16];

	if (settings->config.overwrite)
		return true;
	if (settings->continue_name != NULL || !isatty(STDIN_FILENO) || !isatty(STDERR_FILENO))
		return false;
	if (gw_node_look(&target, settings->config.target, &silent) != 0)
		return false;
	describe(&target, held, sizeof(held));
	if (held[0] == '\0')
		return false;
	if (settings->yes)
		return true;
	gw_terminal_say(call->terminal, GW_MESSAGE_WARNING, "target %s holds: %s",
			target.path, held);
	fprintf(stderr, "Overwrite it? [y/N] ");
	if (fgets(answer, sizeof(answer), stdin) == NULL)
		return false;
	return strcmp(answer, "y\n") == 0 || strcmp(answer, "yes\n") == 0;
}

/* ---- The run ------------------------------------------------------------- */

/* arg of the callbacks */
struct run {
	const struct gw_call *call;
	bool cancelling;
	char first_error[512];		/* the reason, where there is no journal to read it from */
	struct gw_background *background;	/* of a child that has not left its parent yet */
};

static void on_message(void *arg, enum gw_message level, const char *text)
{
	struct run *run = arg;

	if (level == GW_MESSAGE_ERROR && run->first_error[0] == '\0')
		snprintf(run->first_error, sizeof(run->first_error), "%s", text);
	gw_terminal_message(run->call->terminal, level, text);
}

static void on_running(void *arg, const char *name, const char *state_dir)
{
	struct run *run = arg;

	if (run->background != NULL)
		gw_background_detach(run->background, name, state_dir, run->call->terminal);
	run->background = NULL;
	gw_notify_ready(name);
}

static int on_progress(void *arg, const struct gw_migration_progress *progress)
{
	struct run *run = arg;

	gw_notify_progress(progress);
	if (!gw_interrupt_came()) {
		gw_terminal_progress(run->call->terminal, progress);
		return 0;
	}
	if (!run->cancelling)
		gw_terminal_message(run->call->terminal, GW_MESSAGE_WARNING,
				    "cancelling: what was begun is taken back");
	run->cancelling = true;
	return 1;
}

/*
 * Where the journal is. Asked before the run (a source may vanish meanwhile) and,
 * if that was too early (a target file may only come to be), after it. dir is ""
 * while it cannot be known.
 */
static void find_state_dir(const struct gw_migrate_settings *settings, char dir[PATH_MAX])
{
	const struct gw_migration_config *config = &settings->config;
	const char *run_dir = config->run_dir != NULL ? config->run_dir : GW_RUN_DIR_DEFAULT;
	struct gw_diag silent = { 0 };
	struct gw_node source, target;
	char name[128];

	if (dir[0] != '\0')
		return;
	if (settings->continue_name != NULL)
		gw_state_find(dir, settings->continue_name, config->state_dir, run_dir);
	else if (gw_node_look(&source, config->source, &silent) == 0 &&
		 gw_node_look(&target, config->target, &silent) == 0 &&
		 gw_migration_name(name, config, &source, &target) == 0)
		gw_migration_state_dir(dir, name, config->state_dir);
}

/* A document all the same, for who asked for one. */
static void print_no_report(const struct run *run, int code)
{
	const struct gw_common *common = run->call->settings;
	struct json_object *document;

	if (common->output != GW_OUTPUT_JSON)
		return;
	document = gw_out_document();
	gw_json_put_u64(document, "exit_code", (uint64_t)code);
	gw_json_put_text(document, "reason", run->first_error);
	gw_out_print(stdout, document);
}

/* An older migration's journal is no report of this one, which ended before it had its own. */
static bool is_ours(const struct gw_call *call, const struct gw_report *report,
		    uint64_t began_wall_ns)
{
	const struct gw_migrate_settings *settings = call->settings;

	return report->started_wall_ns >= began_wall_ns ||
	       (settings->continue_name != NULL && report->ended_wall_ns >= began_wall_ns);
}

static void print_report(const struct run *run, const char *state_dir, uint64_t began_wall_ns,
			 int code)
{
	const struct gw_common *common = run->call->settings;
	struct gw_report *report = calloc(1, sizeof(*report));
	char error[256];

	if (report == NULL)
		abort();
	if (state_dir[0] == '\0' || gw_report_read(report, state_dir, error, sizeof(error)) != 0 ||
	    !is_ours(run->call, report, began_wall_ns))
		print_no_report(run, code);
	else if (common->output == GW_OUTPUT_JSON)
		gw_out_report_json(stdout, report);
	else
		gw_out_report_text(stdout, report);
	gw_report_free(report);
	free(report);
}

static int migrate(const struct gw_call *call, struct gw_background *background)
{
	struct gw_migrate_settings *settings = call->settings;
	struct run run = { .call = call, .background = background };
	const struct gw_migration_callbacks callbacks = {
		.message = on_message, .progress = on_progress, .running = on_running, .arg = &run,
	};
	const uint64_t began_wall_ns = gw_wall_ns();
	char state_dir[PATH_MAX] = "";
	int code;

	find_state_dir(settings, state_dir);
	gw_notify_begin();
	gw_interrupt_catch();
	code = settings->continue_name != NULL ?
		gw_migration_continue(&settings->config, &callbacks) :
		gw_migration_run(&settings->config, &callbacks);
	gw_notify_stopping(code == GW_EXIT_DONE ? "done" : run.first_error);
	gw_terminal_clear(call->terminal);
	find_state_dir(settings, state_dir);
	if (!settings->common.quiet)
		print_report(&run, state_dir, began_wall_ns, code);
	return code;
}

static void print_background(const struct gw_call *call, const struct gw_background *background)
{
	const struct gw_common *common = call->settings;
	struct json_object *document;

	if (common->output != GW_OUTPUT_JSON) {
		printf("%s\n", background->name);
		gw_terminal_say(call->terminal, GW_MESSAGE_NOTE, "it runs as process %d, its log is %s; "
				"follow it with `godwit watch %s`", background->child,
				background->log, background->name);
		return;
	}
	document = gw_out_document();
	gw_json_put_text(document, "name", background->name);
	gw_json_put_u64(document, "pid", (uint64_t)background->child);
	gw_json_put_text(document, "log", background->log);
	gw_out_print(stdout, document);
}

static int migrate_in_background(const struct gw_call *call)
{
	struct gw_background *background = calloc(1, sizeof(*background));
	int code;

	if (background == NULL)
		abort();
	code = gw_background_fork(background, call->terminal);
	if (background->is_child)
		code = migrate(call, background);
	else if (background->name[0] != '\0')
		print_background(call, background);
	free(background);
	return code;
}

static int run(const struct gw_call *call)
{
	struct gw_migrate_settings *settings = call->settings;
	int code = settle_operands(call);

	if (code == GW_EXIT_DONE)
		code = gw_migrate_settle(call);
	if (code != GW_EXIT_DONE)
		return code;
	if (settings->dry_run)
		return gw_check_show(call);
	settings->config.overwrite = has_consent(call);
	return settings->background ? migrate_in_background(call) : migrate(call, NULL);
}

const struct gw_verb gw_verb_migrate = {
	.name = "migrate",
	.operands = "SOURCE TARGET",
	.operands_else = "--continue NAME",
	.summary = "move a live block device to another",
	.about = "Copies SOURCE to TARGET, block devices or files, while SOURCE is written to; "
		 "then "
		 "stops the writers for a moment, copies the rest, and hands over. Whatever fails "
		 "before the commit leaves SOURCE running. Does what \"godwit check\" does first. "
		 "Prints a report at the end.",
	.operands_min = 0,
	.operands_max = 2,
	.needs_root = true,
	.settings_bytes = sizeof(struct gw_migrate_settings),
	.tables = { gw_options_migration, options, gw_options_output, gw_options_common },
	.run = run,
};

// SPDX-License-Identifier: GPL-2.0-or-later
#include "verbs.h"

#include <godwit/migration.h>

struct settings {
	struct gw_common common;
	const char *state_dir, *run_dir;
	bool skip_commands;
};

static int run(const struct gw_call *call)
{
	const struct settings *settings = call->settings;
	const char *name = call->operand_count > 0 ? call->operands[0] : NULL;
	const struct gw_migration_callbacks callbacks = {
		.message = gw_terminal_on_message, .arg = call->terminal,
	};

	if (name != NULL && !gw_options_is_name(name))
		return gw_verb_usage_error(call, "\"%s\" is no name of a migration", name);
	if (name == NULL && settings->skip_commands)
		return gw_verb_usage_error(call, "--skip-commands needs the NAME of the migration that "
					   "you have seen to by hand");
	/* Not interruptible on purpose: half a clean-up is what it is there to end. */
	return gw_migration_cleanup(name, settings->state_dir, settings->run_dir,
				    settings->skip_commands, &callbacks);
}

static const struct gw_option options[] = {
	{ .name = "skip-commands", .kind = GW_OPTION_FLAG,
	  .offset = offsetof(struct settings, skip_commands),
	  .help = "do not run the commands of the hand-off exec: you have done by hand what they "
		  "would" },
	{ .name = "state-dir", .kind = GW_OPTION_STRING, .argument = "DIR",
	  .offset = offsetof(struct settings, state_dir), .fallback = GW_STATE_DIR_DEFAULT "/NAME",
	  .help = "where the migration's journal is" },
	{ .name = "run-dir", .kind = GW_OPTION_STRING, .argument = "DIR",
	  .offset = offsetof(struct settings, run_dir), .fallback = GW_RUN_DIR_DEFAULT,
	  .help = "where its locks are" },
	{ 0 },
};

const struct gw_verb gw_verb_cleanup = {
	.name = "cleanup",
	.operands = "[NAME]",
	.summary = "remove what a dead migration left, the right way round",
	.about = "Reads the journal of the migration NAME, or of every dead one, and ends what its "
		 "process could not: before the commit SOURCE is thawed and goes on, after it "
		 "SOURCE "
		 "is shut down; then pins and locks go. A migration that runs is left alone. "
		 "Safe to "
		 "run twice.",
	.operands_max = 1,
	.needs_root = true,
	.settings_bytes = sizeof(struct settings),
	.tables = { options, gw_options_common },
	.run = run,
};

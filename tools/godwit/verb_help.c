// SPDX-License-Identifier: GPL-2.0-or-later
/* help and version. */
#include "verbs.h"

#include <string.h>

#include <godwit/version.h>

#include "journal.h"
#include "out.h"

struct settings {
	struct gw_common common;
};

static int run_help(const struct gw_call *call)
{
	char verb[64];

	if (call->operand_count == 0) {
		gw_verb_overview(NULL, stdout);
		return GW_EXIT_DONE;
	}
	snprintf(verb, sizeof(verb), "%s%s%s", call->operands[0],
		 call->operand_count > 1 ? " " : "",
		 call->operand_count > 1 ? call->operands[1] : "");
	for (const struct gw_verb *const *at = gw_verbs; *at != NULL; at++) {
		if (strcmp((*at)->name, verb) == 0) {
			gw_options_help(*at, stdout);
			return GW_EXIT_DONE;
		}
	}
	if (strcmp(verb, "track") == 0) {
		gw_verb_overview(verb, stdout);
		return GW_EXIT_DONE;
	}
	return gw_verb_usage_error(call, "unknown verb \"%s\"", verb);
}

const struct gw_verb gw_verb_help = {
	.name = "help",
	.operands = "[VERB]",
	.summary = "this list, or the help of one verb",
	.about = "Prints the list of verbs, or the help of one.",
	.operands_max = 2,
	.settings_bytes = sizeof(struct settings),
	.tables = { gw_options_common },
	.run = run_help,
};

static int run_version(const struct gw_call *call)
{
	const struct settings *settings = call->settings;
	struct json_object *document;

	if (settings->common.output == GW_OUTPUT_TEXT) {
		printf("godwit %s\n", GODWIT_VERSION);
		return GW_EXIT_DONE;
	}
	document = gw_out_document();
	gw_json_put_string(document, "version", GODWIT_VERSION);
	gw_out_print(stdout, document);
	return GW_EXIT_DONE;
}

const struct gw_verb gw_verb_version = {
	.name = "version",
	.operands = "",
	.summary = "the version of this program",
	.about = "Prints the version of this program.",
	.settings_bytes = sizeof(struct settings),
	.tables = { gw_options_output, gw_options_common },
	.run = run_version,
};

// SPDX-License-Identifier: GPL-2.0-or-later
#include "verbs.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include <godwit/report.h>

#include "migrations.h"
#include "out_json.h"
#include "out_text.h"

struct settings {
	struct gw_common common;
};

static int exit_of(int err)
{
	switch (-err) {
	case EBADMSG:
		return GW_EXIT_UNCLEAR;
	case EIO:
		return GW_EXIT_IO;
	default:
		return GW_EXIT_CANNOT;
	}
}

static int run(const struct gw_call *call)
{
	const struct settings *settings = call->settings;
	struct gw_report *report = calloc(1, sizeof(*report));
	char path[PATH_MAX], error[512] = "";
	int err;

	if (report == NULL)
		abort();
	err = gw_migration_find(path, call->operands[0]);
	if (err == 0)
		err = gw_report_read(report, path, error, sizeof(error));
	if (err != 0)
		gw_terminal_say(call->terminal, GW_MESSAGE_ERROR, "%s",
				error[0] != '\0' ? error : strerror(-err));
	else if (settings->common.output == GW_OUTPUT_JSON)
		gw_out_report_json(stdout, report);
	else
		gw_out_report_text(stdout, report);
	gw_report_free(report);
	free(report);
	return err == 0 ? GW_EXIT_DONE : exit_of(err);
}

const struct gw_verb gw_verb_report = {
	.name = "report",
	.operands = "JOURNAL|DIR|NAME",
	.summary = "what happened, from a migration's journal",
	.about = "Reads a journal, the state directory that holds it, or that of the migration "
		 "NAME "
		 "in " GW_STATE_DIR_DEFAULT ", and prints rounds, rates, convergence, the "
					    "blackout by "
		 "phase, what was not copied and why, and errors. Works while the migration runs.",
	.operands_min = 1,
	.operands_max = 1,
	.settings_bytes = sizeof(struct settings),
	.tables = { gw_options_output, gw_options_common },
	.run = run,
};

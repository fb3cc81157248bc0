// SPDX-License-Identifier: GPL-2.0-or-later
#include "verb_migrate.h"

#include <assert.h>
#include <stdlib.h>

#include "verbs.h"
#include "out.h"
#include "preflight.h"

int gw_check_show(const struct gw_call *call)
{
	struct gw_migrate_settings *settings = call->settings;
	struct gw_preflight *preflight = calloc(1, sizeof(*preflight));
	int err;

	if (preflight == NULL)
		abort();
	settings->config.source = call->operands[0];
	settings->config.target = call->operands[1];
	err = gw_preflight_run(preflight, &settings->config);
	assert((err == 0) == (preflight->unmet == 0));
	if (!settings->common.quiet)
		gw_out_check(stdout, settings->common.output, preflight);
	free(preflight);
	return err == 0 ? GW_EXIT_DONE : GW_EXIT_CANNOT;
}

static int run(const struct gw_call *call)
{
	const int code = gw_migrate_settle(call);

	return code != GW_EXIT_DONE ? code : gw_check_show(call);
}

const struct gw_verb gw_verb_check = {
	.name = "check",
	.operands = "SOURCE TARGET",
	.summary = "can this migration work? every requirement, met or not",
	.about = "Looks at everything that a migration from SOURCE to TARGET needs, and says of "
		 "each requirement whether it is met, and if not, why and how to mend it. Changes "
		 "nothing. Exit code 0: it can work; 3: it cannot.",
	.operands_min = 2,
	.operands_max = 2,
	/* No needs_root: privileges are one of the rows. */
	.settings_bytes = sizeof(struct gw_migrate_settings),
	.tables = { gw_options_migration, gw_options_output, gw_options_common },
	.run = run,
};

// SPDX-License-Identifier: GPL-2.0-or-later
#include "verbs.h"

#include <assert.h>
#include <errno.h>
#include <unistd.h>

#include "clock.h"
#include "interrupt.h"
#include "out.h"
#include "verify.h"

#define RANGES_DEFAULT 1000

struct settings {
	struct gw_common common;
	uint64_t bandwidth_bytes_per_s, settle_ns;
	uint32_t grain_bytes, buffers, ranges;
};

/* Of one run; arg of the callbacks. */
struct run {
	const struct gw_call *call;
	struct gw_out_verify out;
	uint64_t started_ns;
	bool interrupted;
};

static void on_range(void *arg, uint64_t first_lba, uint64_t count_lba, bool settled)
{
	struct run *run = arg;
	const struct gw_common *common = run->call->settings;

	if (common->quiet)
		return;
	gw_terminal_clear(run->call->terminal);
	gw_out_verify_range(&run->out, first_lba, count_lba, settled);
}

static int on_progress(void *arg, uint64_t done_bytes, uint64_t total_bytes)
{
	struct run *run = arg;
	const uint64_t elapsed_ns = gw_now_ns(&gw_clock_monotonic) - run->started_ns;
	struct gw_migration_progress progress = {
		.phase = GW_PHASE_VERIFY, .done_bytes = done_bytes, .total_bytes = total_bytes,
		.elapsed_ns = elapsed_ns,
	};

	if (elapsed_ns > 0)
		progress.rate_bytes_per_s =
			(uint64_t)((unsigned __int128)done_bytes * GW_NS_PER_S / elapsed_ns);
	if (progress.rate_bytes_per_s > 0 && done_bytes <= total_bytes)
		progress.eta_ns = (uint64_t)((unsigned __int128)(total_bytes - done_bytes) *
					     GW_NS_PER_S / progress.rate_bytes_per_s);
	gw_terminal_progress(run->call->terminal, &progress);
	run->interrupted = gw_interrupt_came();
	return run->interrupted ? -ECANCELED : 0;
}

/* Files may be compared by anyone; of a device an ordinary user gets a reason, not an errno. */
static bool may_read(const struct gw_call *call, const char *path)
{
	if (geteuid() == 0 || access(path, R_OK) == 0 || errno != EACCES)
		return true;
	gw_terminal_say(call->terminal, GW_MESSAGE_ERROR, "%s may not be read by this user; try "
							  "sudo",
			path);
	return false;
}

static int compare(struct run *run, const struct gw_verify_config *config)
{
	const struct gw_common *common = run->call->settings;
	struct gw_diag diag = gw_verb_diag(run->call->terminal);
	struct gw_verify_result result = { 0 };
	const int err = gw_verify_run(config, &result, &diag);

	gw_terminal_clear(run->call->terminal);
	if (err < 0 && run->interrupted) {
		gw_terminal_message(run->call->terminal, GW_MESSAGE_NOTE,
				    "cancelled; nothing was changed");
		return GW_EXIT_CANCELLED;
	}
	if (err < 0)
		return gw_verb_exit(&diag, err);
	if (!common->quiet)
		gw_out_verify(&run->out, config, &result);
	return err == 0 ? GW_EXIT_DONE : GW_EXIT_DIFFERENT;
}

static int run(const struct gw_call *call)
{
	const struct settings *settings = call->settings;
	struct run run = {
		.call = call,
		.out = { .out = stdout, .form = settings->common.output },
		.started_ns = gw_now_ns(&gw_clock_monotonic),
	};
	const struct gw_verify_config config = {
		.source = call->operands[0], .target = call->operands[1],
		.grain_bytes = settings->grain_bytes, .buffers = settings->buffers,
		.bandwidth_bytes_per_s = settings->bandwidth_bytes_per_s,
		.settle_ns = settings->settle_ns,
		.ranges_max = settings->ranges > 0 ? settings->ranges : RANGES_DEFAULT,
		.range = on_range, .progress = on_progress, .arg = &run,
	};
	int code;

	if (!may_read(call, config.source) || !may_read(call, config.target))
		return GW_EXIT_CANNOT;
	gw_interrupt_catch();
	if (settings->common.output == GW_OUTPUT_JSON) {
		run.out.ranges = json_object_new_array();
		assert(run.out.ranges != NULL);
	}
	code = compare(&run, &config);
	json_object_put(run.out.ranges);
	return code;
}

static const struct gw_option options[] = {
	{ .name = "grain", .kind = GW_OPTION_GRAIN, .argument = "SIZE",
	  .offset = offsetof(struct settings, grain_bytes), .fallback = "4K",
	  .help = "resolution of differences, 4K to 1M" },
	{ .name = "settle", .kind = GW_OPTION_DURATION, .argument = "TIME",
	  .offset = offsetof(struct settings, settle_ns), .fallback = "100ms",
	  .help = "wait so long before a difference is read again; until both sides stand still it "
		  "is not called one" },
	{ .name = "ranges", .kind = GW_OPTION_U32, .argument = "N", .min = 1, .max = 10000000,
	  .offset = offsetof(struct settings, ranges), .fallback = "1000",
	  .help = "list so many ranges at most; the rest is only counted" },
	{ .name = "bandwidth", .kind = GW_OPTION_RATE, .argument = "RATE",
	  .offset = offsetof(struct settings, bandwidth_bytes_per_s), .fallback = "no limit",
	  .help = "read no more than this from each side" },
	{ .name = "buffers", .kind = GW_OPTION_U32, .argument = "N", .min = 1, .max = 1024,
	  .offset = offsetof(struct settings, buffers),
	  .help = "reads in flight on each side" },
	{ 0 },
};

const struct gw_verb gw_verb_verify = {
	.name = "verify",
	.operands = "SOURCE TARGET",
	.summary = "compare by content",
	.about = "Reads SOURCE and TARGET, block devices or files, and prints the ranges that "
		 "differ, in the source's sectors. Writes to neither. Exit code 0: same; 1: "
		 "different.",
	.operands_min = 2,
	.operands_max = 2,
	.settings_bytes = sizeof(struct settings),
	.tables = { options, gw_options_output, gw_options_common },
	.run = run,
};

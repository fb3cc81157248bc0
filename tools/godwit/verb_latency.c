// SPDX-License-Identifier: GPL-2.0-or-later
/* track latency: how long the I/O of a device takes, live, without a migration. */
#include "verbs.h"

#include <errno.h>
#include <string.h>
#include <time.h>

#include "clock.h"
#include "interrupt.h"
#include "job.h"
#include "out.h"
#include "track_latency.h"

struct settings {
	struct gw_common common;
	uint64_t interval_ns;
	uint32_t count;
};

#define INTERVAL_NS_DEFAULT GW_NS_PER_S
#define NAP_NS (20 * GW_NS_PER_MS)

/* Return: false if somebody wants it to end. */
static bool sleep_until(uint64_t wake_ns)
{
	while (!gw_interrupt_came()) {
		const uint64_t now_ns = gw_now_ns(&gw_clock_monotonic);
		const uint64_t left_ns = wake_ns > now_ns ? wake_ns - now_ns : 0;
		struct timespec nap = { 0, (long)(left_ns < NAP_NS ? left_ns : NAP_NS) };

		if (left_ns == 0)
			return true;
		nanosleep(&nap, NULL);
	}
	return false;
}

/* What came since *then, which becomes what is now. */
static void show(const struct gw_call *call, const struct gw_latency_watch *watch,
		 struct gw_latency_look *then, uint64_t *then_ns, const struct gw_node *node,
		 uint32_t number)
{
	static struct gw_latency_look now;
	static struct gw_out_latency out;
	const struct gw_common *const common = call->settings;
	const uint64_t now_ns = gw_now_ns(&gw_clock_monotonic);

	gw_latency_take_look(watch, &now);
	out.device = node->name;
	out.number = number;
	out.elapsed_ns = now_ns - *then_ns;
	for (int kind = 0; kind < GW_LATENCY_KINDS; kind++)
		gw_hist_since(&out.kinds[kind], &now.kinds[kind], &then->kinds[kind]);
	out.copier = now.copier[GW_LATENCY_READ] + now.copier[GW_LATENCY_WRITE] -
		     then->copier[GW_LATENCY_READ] - then->copier[GW_LATENCY_WRITE];
	out.not_timed = now.not_timed - then->not_timed;
	out.missed = now.missed - then->missed;
	if (common->output == GW_OUTPUT_JSON)
		gw_out_latency_json(stdout, &out);
	else
		gw_out_latency_text(stdout, &out);
	fflush(stdout);
	*then = now;
	*then_ns = now_ns;
}

static int watch_device(const struct gw_call *call, const struct gw_latency_watch *watch,
			const struct gw_node *node)
{
	static struct gw_latency_look then;
	const struct settings *const settings = call->settings;
	const uint64_t interval_ns = settings->interval_ns != 0 ? settings->interval_ns :
								  INTERVAL_NS_DEFAULT;
	uint64_t then_ns = gw_now_ns(&gw_clock_monotonic), wake_ns = then_ns;

	gw_latency_take_look(watch, &then);
	for (uint32_t number = 1; settings->count == 0 || number <= settings->count; number++) {
		wake_ns += interval_ns;
		if (!sleep_until(wake_ns))
			break;
		show(call, watch, &then, &then_ns, node, number);
		if (ferror(stdout))
			break;
	}
	return GW_EXIT_DONE;
}

static int run(const struct gw_call *call)
{
	struct gw_diag diag = gw_verb_diag(call->terminal);
	struct gw_latency_watch *watch;
	struct gw_node node;
	int err = gw_node_look(&node, call->operands[0], &diag), code;

	if (err == 0)
		err = gw_latency_start(&watch, &node, GW_COPIER_IOPRIO, &diag);
	if (err != 0)
		return gw_verb_exit(&diag, err);
	gw_interrupt_catch();
	code = watch_device(call, watch, &node);
	gw_latency_stop(watch);
	return code;
}

static const struct gw_option options[] = {
	{ .name = "interval", .kind = GW_OPTION_DURATION, .argument = "TIME",
	  .offset = offsetof(struct settings, interval_ns), .fallback = "1s",
	  .help = "time that a line is about" },
	{ .name = "count", .kind = GW_OPTION_U32, .argument = "N", .min = 0, .max = 1000000000,
	  .offset = offsetof(struct settings, count), .fallback = "0, until it is interrupted",
	  .help = "end after so many lines" },
	{ 0 },
};

const struct gw_verb gw_verb_track_latency = {
	.name = "track latency",
	.operands = "DEVICE",
	.summary = "how long the I/O of a device takes, live",
	.about = "Shows, interval by interval, how long the reads and writes of DEVICE took, a "
		 "disk or a partition; the I/O of a migration's copier is left out. What --guard "
		 "of \"godwit migrate\" acts on. \"godwit track --latency\" is the same. With -o "
		 "json a document a line.",
	.operands_min = 1,
	.operands_max = 1,
	.needs_root = true,
	.settings_bytes = sizeof(struct settings),
	.tables = { options, gw_options_output, gw_options_common },
	.run = run,
};

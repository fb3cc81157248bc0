// SPDX-License-Identifier: GPL-2.0-or-later
/* events: what happened, or happens, to NVMe controllers beside their I/O. */
#include "verbs.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "clock.h"
#include "eventlog.h"
#include "interrupt.h"
#include "migrations.h"
#include "out.h"
#include "track_events.h"

#define DEVICES_MAX 2
#define NAP_NS (100 * GW_NS_PER_MS)
#define READ_MAX 256

struct settings {
	struct gw_common common;
	const char *since, *until, *drive, *kinds, *write;
	bool follow, live;
	uint64_t for_ns;
};

struct events_call {
	const struct gw_call *call;
	const struct settings *settings;
	struct gw_diag diag;
	struct gw_event_filter filter;
	bool has_ended;			/* the last event seen */
	/* --live: */
	struct gw_node nodes[DEVICES_MAX];
	struct gw_journal *log;
};

static int show(void *arg, const struct gw_event *event)
{
	struct events_call *const me = arg;

	me->has_ended = event->kind == GW_EVENT_ENDED;
	if (gw_event_fits(&me->filter, event))
		gw_out_event(stdout, me->settings->common.output, event);
	return ferror(stdout) ? -EPIPE : 0;
}

static void nap(void)
{
	const struct timespec time = { 0, (long)NAP_NS };

	nanosleep(&time, NULL);
}

/* ---- a log ---- */

static int find_log(struct events_call *me, char path[PATH_MAX])
{
	const char *const operand = me->call->operands[0];
	struct stat st;
	int err = gw_migration_find(path, operand);

	if (err == 0 && stat(path, &st) == 0 && S_ISDIR(st.st_mode)) {
		const size_t length = strlen(path);

		if (length + sizeof("/" GW_EVENT_LOG_FILE) > PATH_MAX)
			err = -ENAMETOOLONG;
		else
			strcpy(path + length, "/" GW_EVENT_LOG_FILE);
	}
	if (err == 0 && access(path, R_OK) != 0)
		err = -errno;
	if (err == 0)
		return 0;
	return gw_fail_exit(&me->diag, GW_EXIT_CANNOT, err, "%s: %s", operand, err == -ENOENT ?
			    "there is no event log: its drives were no NVMe drives, or it never "
			    "began" : strerror(-err));
}

static int read_log(struct events_call *me)
{
	char path[PATH_MAX];
	uint64_t seen = 0;
	off_t bytes = -1;
	struct stat st;
	int err = find_log(me, path);

	if (me->settings->follow)
		gw_interrupt_catch();
	while (err == 0 && !gw_interrupt_came()) {
		if (stat(path, &st) == 0 && st.st_size != bytes) {
			bytes = st.st_size;
			err = gw_event_log_each(path, seen, show, me, &seen, &me->diag);
			fflush(stdout);
		}
		if (!me->settings->follow || me->has_ended)
			break;
		nap();
	}
	return err;
}

/* ---- live ---- */

static int look_at_devices(struct events_call *me, uint32_t subsystems[DEVICES_MAX])
{
	for (uint32_t i = 0; i < me->call->operand_count; i++) {
		struct gw_node *const node = &me->nodes[i];
		const int err = gw_node_look(node, me->call->operands[i], &me->diag);

		if (err < 0)
			return err;
		if (!node->nvme.is_namespace)
			return gw_fail_exit(&me->diag, GW_EXIT_CANNOT, -ENOTBLK,
					    "%s is no NVMe namespace", node->path);
		subsystems[i] = node->nvme.subsystem;
	}
	return 0;
}

static int show_live(void *arg, const struct gw_event *event)
{
	struct events_call *const me = arg;
	struct gw_event named = *event;
	int err = 0;

	for (uint32_t i = 0; i < me->call->operand_count; i++)
		if (me->nodes[i].nvme.subsystem == event->subsystem &&
		    event->kind != GW_EVENT_LOST && named.device[0] == '\0')
			memcpy(named.device, me->nodes[i].name, sizeof(named.device));
	if (me->log != NULL)
		err = gw_event_log_append(me->log, &named, &me->diag);
	return err < 0 ? err : show(me, &named);
}

static int show_mark(struct events_call *me, enum gw_event_kind kind)
{
	const struct gw_event event = { .kind = kind, .at_ns = gw_wall_ns() };

	return show_live(me, &event);
}

static int watch(struct events_call *me, struct gw_event_watch *events)
{
	const uint64_t until_ns = me->settings->for_ns == 0 ? UINT64_MAX :
				  gw_now_ns(&gw_clock_monotonic) + me->settings->for_ns;
	int err = show_mark(me, GW_EVENT_BEGAN);

	while (err >= 0 && !gw_interrupt_came() &&
	       gw_now_ns(&gw_clock_monotonic) < until_ns) {
		fflush(stdout);
		nap();
		err = gw_events_read(events, READ_MAX, show_live, me);
	}
	while (err > 0)
		err = gw_events_read(events, READ_MAX, show_live, me);
	return err < 0 ? err : show_mark(me, GW_EVENT_ENDED);
}

static int watch_live(struct events_call *me)
{
	struct gw_event_watch *events;
	uint32_t subsystems[DEVICES_MAX];
	int err = look_at_devices(me, subsystems);

	if (err == 0 && me->settings->write != NULL)
		err = gw_journal_open_log(&me->log, me->settings->write, &me->diag);
	if (err == 0)
		err = gw_events_start(&events, subsystems, me->call->operand_count, &me->diag);
	if (err == 0) {
		gw_interrupt_catch();
		err = watch(me, events);
		gw_events_close(events);
	}
	gw_journal_close(me->log);
	return err;
}

/* ---- the call ---- */

/* Return: GW_EXIT_DONE or GW_EXIT_USAGE. */
static int read_filter(struct events_call *me)
{
	const struct settings *const settings = me->settings;
	const uint64_t now_ns = gw_wall_ns();
	const char *const times[] = { settings->since, settings->until };
	uint64_t *const moments[] = { &me->filter.since_ns, &me->filter.until_ns };

	for (int i = 0; i < 2; i++)
		if (times[i] != NULL && gw_event_parse_time(moments[i], times[i], now_ns) < 0)
			return gw_verb_usage_error(me->call, "--%s: \"%s\" is not accepted; give "
				"10m (ago), 2026-11-24, \"2026-11-24 19:30:15\", 19:30 or @SECONDS",
				i == 0 ? "since" : "until", times[i]);
	if (settings->kinds != NULL &&
	    gw_event_parse_kinds(&me->filter.kinds, settings->kinds) < 0)
		return gw_verb_usage_error(me->call, "--kind: \"%s\" is not accepted; give one or "
			"more of " GW_EVENT_KINDS_ACCEPTED ", with commas between them",
			settings->kinds);
	me->filter.drive = settings->drive;
	return GW_EXIT_DONE;
}

/* What fits a log does not fit --live, and the other way round. */
static int check_call(const struct events_call *me)
{
	const struct settings *const settings = me->settings;

	if (!settings->live && me->call->operand_count != 1)
		return gw_verb_usage_error(me->call, "give one event log: a migration's name, its "
					   "state directory or a file; or --live");
	if (!settings->live && (settings->write != NULL || settings->for_ns != 0))
		return gw_verb_usage_error(me->call, "--write and --for are for --live");
	if (settings->live && settings->follow)
		return gw_verb_usage_error(me->call, "--follow is for a log; --live goes on anyway");
	return GW_EXIT_DONE;
}

static int run(const struct gw_call *call)
{
	static struct events_call me;
	int code, err;

	me.call = call;
	me.settings = call->settings;
	me.diag = gw_verb_diag(call->terminal);
	code = check_call(&me);
	if (code == GW_EXIT_DONE)
		code = read_filter(&me);
	if (code != GW_EXIT_DONE)
		return code;
	err = me.settings->live ? watch_live(&me) : read_log(&me);
	/* A reader that has seen enough is no failure of ours. */
	return err < 0 ? gw_verb_exit(&me.diag, err) : GW_EXIT_DONE;
}

static const struct gw_option options[] = {
	{ .name = "since", .kind = GW_OPTION_STRING, .argument = "TIME",
	  .offset = offsetof(struct settings, since),
	  .help = "from then on: 10m (ago), 2026-11-24, 19:30[:15], \"2026-11-24 19:30\", @SECONDS" },
	{ .name = "until", .kind = GW_OPTION_STRING, .argument = "TIME",
	  .offset = offsetof(struct settings, until), .help = "up to then" },
	{ .name = "drive", .kind = GW_OPTION_STRING, .argument = "DRIVE",
	  .offset = offsetof(struct settings, drive),
	  .help = "of this one: source, target, nvme0, nvme0n1, or a serial number" },
	{ .name = "kind", .kind = GW_OPTION_STRING, .argument = "KINDS",
	  .offset = offsetof(struct settings, kinds),
	  .help = "one or more of " GW_EVENT_KINDS_ACCEPTED "; changes: commands that do not only ask" },
	{ .name = "follow", .letter = 'f', .kind = GW_OPTION_FLAG,
	  .offset = offsetof(struct settings, follow),
	  .help = "go on until the migration ends" },
	{ .name = "live", .kind = GW_OPTION_FLAG, .offset = offsetof(struct settings, live),
	  .help = "no log: watch the controllers of DEVICE, or all, until interrupted" },
	{ .name = "for", .kind = GW_OPTION_DURATION, .argument = "TIME",
	  .offset = offsetof(struct settings, for_ns), .help = "with --live: end after that time" },
	{ .name = "write", .kind = GW_OPTION_STRING, .argument = "FILE",
	  .offset = offsetof(struct settings, write),
	  .help = "with --live: append all of it to this event log" },
	{ 0 },
};

const struct gw_verb gw_verb_events = {
	.name = "events",
	.operands = "NAME|DIR|FILE",
	.operands_else = "--live [DEVICE [DEVICE]]",
	.summary = "what happened to NVMe drives: admin commands, events, resets",
	.about = "Lists what happened to the NVMe controllers of a migration beside their I/O, from "
		 "its event log: each admin command with its sender and result, asynchronous events, "
		 "states of the controller, timeouts. With --live what happens now, without a "
		 "migration. With -o json a document a line.",
	.operands_min = 0,
	.operands_max = DEVICES_MAX,
	.settings_bytes = sizeof(struct settings),
	.tables = { options, gw_options_output, gw_options_common },
	.run = run,
};

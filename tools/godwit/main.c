// SPDX-License-Identifier: GPL-2.0-or-later
/* godwit: finds the verb in the table, parses its options, runs it. */
#include "verbs.h"

#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "interrupt.h"
#include "nearest.h"

const struct gw_verb *const gw_verbs[] = {
	&gw_verb_check, &gw_verb_migrate, &gw_verb_list, &gw_verb_status, &gw_verb_watch,
	&gw_verb_pause, &gw_verb_resume, &gw_verb_set, &gw_verb_switch, &gw_verb_cancel,
	&gw_verb_verify, &gw_verb_track_start,
	&gw_verb_track_status, &gw_verb_track_take, &gw_verb_track_record, &gw_verb_track_stop,
	&gw_verb_track_list, &gw_verb_track_latency, &gw_verb_cleanup,
	&gw_verb_report, &gw_verb_events, &gw_verb_dm_wrap, &gw_verb_completion,
	&gw_verb_help, &gw_verb_version, NULL,
};

int gw_verb_usage_error(const struct gw_call *call, const char *format, ...)
{
	char text[GW_OPTIONS_ERROR_BYTES];
	va_list args;

	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	gw_terminal_message(call->terminal, GW_MESSAGE_ERROR, text);
	gw_terminal_finish(call->terminal);
	gw_options_usage(call->verb, stderr);
	fprintf(stderr, "try \"godwit %s --help\"\n", call->verb->name);
	return GW_EXIT_USAGE;
}

int gw_verb_exit(const struct gw_diag *diag, int err)
{
	if (diag->failed && diag->exit_code != GW_EXIT_DONE)
		return (int)diag->exit_code;
	switch (-err) {
	case ECANCELED:
	case EINTR:
		return GW_EXIT_CANCELLED;
	case EBADMSG:
		return GW_EXIT_UNCLEAR;
	case EIO:
	case EILSEQ:
	case ENOSPC:
	case EPIPE:
		return GW_EXIT_IO;
	default:
		return GW_EXIT_CANNOT;
	}
}

struct gw_diag gw_verb_diag(struct gw_terminal *terminal)
{
	return (struct gw_diag){ .fn = gw_terminal_on_diag, .arg = terminal };
}

void gw_verb_overview(const char *group, FILE *out)
{
	const size_t length = group != NULL ? strlen(group) : 0;

	fprintf(out, "usage: godwit %s%sVERB [operands] [options]\n\n", group != NULL ? group : "",
		group != NULL ? " " : "");
	for (const struct gw_verb *const *at = gw_verbs; *at != NULL; at++)
		if (length == 0 ||
		    (strncmp((*at)->name, group, length) == 0 && (*at)->name[length] == ' '))
			fprintf(out, "  %-14s %s\n", (*at)->name, (*at)->summary);
	fprintf(out, "\n\"godwit VERB --help\" tells more of one; \"man godwit\" of all.\n");
}

/* Is verb a group ("track"), or the first word of one? */
static bool is_group(const char *verb)
{
	const size_t length = strlen(verb);

	for (const struct gw_verb *const *at = gw_verbs; *at != NULL; at++)
		if (strncmp((*at)->name, verb, length) == 0 && (*at)->name[length] == ' ')
			return true;
	return false;
}

static const struct gw_verb *find(const char *name)
{
	for (const struct gw_verb *const *at = gw_verbs; *at != NULL; at++)
		if (strcmp((*at)->name, name) == 0)
			return *at;
	return NULL;
}

static int refuse_verb(struct gw_terminal *terminal, const char *verb)
{
	const struct gw_verb *nearest = NULL;
	uint32_t best = UINT32_MAX;

	for (const struct gw_verb *const *at = gw_verbs; *at != NULL; at++) {
		const uint32_t distance = gw_nearest_distance(verb, (*at)->name);

		if (gw_nearest_is_near(verb, (*at)->name) && distance < best) {
			nearest = *at;
			best = distance;
		}
	}
	if (nearest != NULL)
		gw_terminal_say(terminal, GW_MESSAGE_ERROR,
				"unknown verb \"%s\"; did you mean \"%s\"?", verb, nearest->name);
	else
		gw_terminal_say(terminal, GW_MESSAGE_ERROR,
				"unknown verb \"%s\"; \"godwit help\" lists them", verb);
	gw_terminal_finish(terminal);
	return GW_EXIT_USAGE;
}

/* A result that nobody could read is no result; a migration's own code says more. */
static int close_output(struct gw_terminal *terminal, int code)
{
	if (fflush(stdout) == 0 && ferror(stdout) == 0)
		return code;
	/* GW_EXIT_IO: a verb that watches its output has said so. */
	if (errno != EPIPE && code != GW_EXIT_IO)
		gw_terminal_say(terminal, GW_MESSAGE_ERROR, "cannot write the output: %s",
				strerror(errno));
	return code == GW_EXIT_DONE || code == GW_EXIT_DIFFERENT ? GW_EXIT_IO : code;
}

static int run(const struct gw_verb *verb, int argc, char **argv,
	       struct gw_terminal *terminal)
{
	struct gw_common *settings = calloc(1, verb->settings_bytes);
	struct gw_call call = { .verb = verb, .settings = settings, .terminal = terminal };
	char error[GW_OPTIONS_ERROR_BYTES];
	int code;

	if (settings == NULL)
		abort();
	if (gw_options_parse(verb, argc, argv, &call, error) != 0) {
		code = gw_verb_usage_error(&call, "%s", error);
	} else if (settings->help) {
		gw_options_help(verb, stdout);
		code = GW_EXIT_DONE;
	} else if (verb->needs_root && geteuid() != 0) {
		gw_terminal_say(terminal, GW_MESSAGE_ERROR,
				"%s needs root: it opens block devices and loads BPF programs; "
				"nothing was touched (try sudo)",
				verb->name);
		code = GW_EXIT_CANNOT;
	} else {
		terminal->verbose = settings->verbose;
		terminal->quiet = settings->quiet;
		code = verb->run(&call);
	}
	code = close_output(terminal, code);
	gw_terminal_finish(terminal);
	free(settings);
	return code;
}

/* "track" and its second word; argv is moved so that the verb is argv[0]. */
static int run_group(int argc, char **argv, struct gw_terminal *terminal)
{
	const struct gw_verb *verb;
	char name[GW_NEAREST_BYTES_MAX];

	if (argc < 2) {
		gw_verb_overview(argv[0], stderr);
		return GW_EXIT_USAGE;
	}
	if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0) {
		gw_verb_overview(argv[0], stdout);
		return close_output(terminal, GW_EXIT_DONE);
	}
	/* Asked for as an option, it is the verb. */
	snprintf(name, sizeof(name), "%s %s", argv[0],
		 strcmp(argv[1], "--latency") == 0 ? "latency" : argv[1]);
	verb = find(name);
	return verb != NULL ? run(verb, argc - 1, argv + 1, terminal) :
			      refuse_verb(terminal, name);
}

int main(int argc, char **argv)
{
	const struct gw_verb *verb;
	struct gw_terminal terminal;
	const char *name;

	gw_interrupt_survive_pipes();
	gw_terminal_init(&terminal, stderr);
	if (argc < 2) {
		gw_verb_overview(NULL, stderr);
		return GW_EXIT_USAGE;
	}
	name = argv[1];
	if (strcmp(name, "-h") == 0 || strcmp(name, "--help") == 0)
		name = "help";
	if (strcmp(name, "-V") == 0 || strcmp(name, "--version") == 0)
		name = "version";
	verb = find(name);
	if (verb != NULL)
		return run(verb, argc - 1, argv + 1, &terminal);
	if (is_group(name))
		return run_group(argc - 1, argv + 1, &terminal);
	return refuse_verb(&terminal, name);
}

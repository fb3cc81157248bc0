// SPDX-License-Identifier: GPL-2.0-or-later
#include "terminal.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "clock.h"
#include "progress.h"
#include "units.h"
#include "utf8.h"

#define COLUMNS_DEFAULT 80

static bool is_set(const char *variable)
{
	const char *value = getenv(variable);

	return value != NULL && value[0] != '\0';
}

void gw_terminal_init(struct gw_terminal *terminal, FILE *out)
{
	const char *term = getenv("TERM");

	memset(terminal, 0, sizeof(*terminal));
	terminal->out = out;
	terminal->redraws = isatty(fileno(out)) && (term == NULL || strcmp(term, "dumb") != 0);
	terminal->colours = terminal->redraws && term != NULL && !is_set("NO_COLOR");
}

/* Asked each time, so a resized window needs no signal. */
static uint32_t columns_of(const struct gw_terminal *terminal)
{
	struct winsize size;

	if (ioctl(fileno(terminal->out), TIOCGWINSZ, &size) != 0 || size.ws_col == 0)
		return COLUMNS_DEFAULT;
	return size.ws_col;
}

/* ---- Messages ------------------------------------------------------------ */

static const struct {
	const char *word, *colour;
} levels[] = {
	[GW_MESSAGE_ERROR] = { "error: ", "\033[31m" },
	[GW_MESSAGE_WARNING] = { "warning: ", "\033[33m" },
	[GW_MESSAGE_NOTE] = { "", "" },
	[GW_MESSAGE_DEBUG] = { "debug: ", "" },
};

static void say_repeats(struct gw_terminal *terminal)
{
	if (terminal->repeats > 0)
		fprintf(terminal->out, "godwit: the last message came %llu times more\n",
			(unsigned long long)terminal->repeats);
	terminal->repeats = 0;
}

/* Texts hold paths and signatures from outside: nothing in them may steer the terminal. */
static void copy_printable(char *out, size_t bytes, const char *text)
{
	size_t used = 0;

	while (*text != '\0') {
		uint32_t code;
		const size_t length = gw_utf8_take(text, &code);
		const bool steers = code == GW_UTF8_BAD || code < 0x20 ||
				    (code >= 0x7f && code < 0xa0);

		if (used + length >= bytes)
			break;
		if (steers)
			out[used++] = '?';
		else
			memcpy(out + used, text, length);
		used += steers ? 0 : length;
		text += length;
	}
	out[used] = '\0';
}

void gw_terminal_message(struct gw_terminal *terminal, enum gw_message level, const char *text)
{
	const char *colour = terminal->colours ? levels[level].colour : "";
	char printable[sizeof(terminal->last_text)];

	if (level == GW_MESSAGE_DEBUG && !terminal->verbose)
		return;
	if (level == GW_MESSAGE_NOTE && terminal->quiet)
		return;
	copy_printable(printable, sizeof(printable), text);
	if (strcmp(printable, terminal->last_text) == 0) {
		terminal->repeats++;
		return;
	}
	gw_terminal_clear(terminal);
	say_repeats(terminal);
	memcpy(terminal->last_text, printable, sizeof(printable));
	fprintf(terminal->out, "godwit: %s%s%s%s\n", colour, levels[level].word,
		colour[0] != '\0' ? "\033[0m" : "", printable);
	fflush(terminal->out);
}

void gw_terminal_say(struct gw_terminal *terminal, enum gw_message level, const char *format, ...)
{
	char text[sizeof(terminal->last_text)];
	va_list args;

	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	gw_terminal_message(terminal, level, text);
}

void gw_terminal_on_message(void *arg, enum gw_message level, const char *text)
{
	gw_terminal_message(arg, level, text);
}

void gw_terminal_on_diag(void *arg, enum gw_level level, const char *text)
{
	_Static_assert((int)GW_ERROR == (int)GW_MESSAGE_ERROR, "same levels");
	_Static_assert((int)GW_DEBUG == (int)GW_MESSAGE_DEBUG, "same levels");
	gw_terminal_message(arg, (enum gw_message)level, text);
}

/* ---- Progress ------------------------------------------------------------ */

/*
 * No escape codes, so that it works with NO_COLOR and on simple terminals:
 * blanks and carriage returns.
 */
static void draw(struct gw_terminal *terminal, const char *line)
{
	const size_t length = strlen(line), before = terminal->shown_columns;

	fprintf(terminal->out, "\r%s%*s\r", line, before > length ? (int)(before - length) : 0, "");
	fflush(terminal->out);
	terminal->shown_columns = length;
}

void gw_terminal_clear(struct gw_terminal *terminal)
{
	if (terminal->shown_columns > 0)
		draw(terminal, "");
}

void gw_terminal_finish(struct gw_terminal *terminal)
{
	gw_terminal_clear(terminal);
	say_repeats(terminal);
	fflush(terminal->out);
}

static void redraw(struct gw_terminal *terminal, const struct gw_migration_progress *progress)
{
	/* The last column stays free: some terminals wrap as soon as it is written. */
	const uint32_t columns = columns_of(terminal) - 1;
	char line[GW_PROGRESS_BYTES];

	/* A narrower window than before: blanks must not wrap either. */
	if (terminal->shown_columns > columns)
		terminal->shown_columns = columns;
	draw(terminal, gw_progress_line(line, progress, columns));
}

void gw_terminal_progress(struct gw_terminal *terminal,
			  const struct gw_migration_progress *progress)
{
	const uint64_t now_ns = gw_now_ns(&gw_clock_monotonic);
	const bool changed = terminal->last_ns == 0 || progress->phase != terminal->last_phase ||
			     progress->round != terminal->last_round;
	const uint64_t wait_ns = terminal->redraws ? GW_TERMINAL_REDRAW_NS : GW_TERMINAL_LINE_NS;
	char line[GW_PROGRESS_BYTES];

	if (terminal->quiet || progress->phase == GW_PHASE_ENDED)
		return;
	/* On a terminal a change waits like all else: ten drawings a second at most. */
	if (terminal->last_ns != 0 && now_ns - terminal->last_ns < wait_ns &&
	    (terminal->redraws || !changed))
		return;
	terminal->last_ns = now_ns;
	terminal->last_phase = progress->phase;
	terminal->last_round = progress->round;
	if (terminal->redraws) {
		redraw(terminal, progress);
		return;
	}
	say_repeats(terminal);
	fprintf(terminal->out, "godwit: %s\n",
		gw_progress_line(line, progress, GW_PROGRESS_BYTES - 1));
	fflush(terminal->out);
}

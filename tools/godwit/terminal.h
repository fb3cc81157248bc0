/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Standard error: messages, and the progress below them. On a terminal one line
 * that is drawn anew; elsewhere plain lines, now and then. One thread.
 */
#ifndef GW_TERMINAL_H
#define GW_TERMINAL_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include <godwit/migration.h>

#include "err.h"

#define GW_TERMINAL_REDRAW_NS UINT64_C(100000000)	/* at least between two drawings */
#define GW_TERMINAL_LINE_NS UINT64_C(10000000000)	/* between two plain lines of one phase */

struct gw_terminal {
	FILE *out;
	bool verbose, quiet;
	bool redraws;			/* a terminal that knows carriage return */
	bool colours;
	/* Progress. */
	size_t shown_columns;		/* of the line that stands there now; 0: none */
	uint64_t last_ns;		/* of the last drawing or plain line; 0: none */
	enum gw_migration_phase last_phase;
	uint32_t last_round;
	/* The last message, to count repetitions. */
	char last_text[512];
	uint64_t repeats;
};

void gw_terminal_init(struct gw_terminal *terminal, FILE *out);
/* Clears the progress line, and says what is still owed (repetitions). */
void gw_terminal_finish(struct gw_terminal *terminal);

/* Same text again is only counted. Control characters are shown as '?'. */
void gw_terminal_message(struct gw_terminal *terminal, enum gw_message level, const char *text);
void gw_terminal_say(struct gw_terminal *terminal, enum gw_message level, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

/* The same as callbacks; arg is the terminal. */
void gw_terminal_on_message(void *arg, enum gw_message level, const char *text);
void gw_terminal_on_diag(void *arg, enum gw_level level, const char *text);

void gw_terminal_progress(struct gw_terminal *terminal,
			  const struct gw_migration_progress *progress);
/* Makes room for something else on the same screen. */
void gw_terminal_clear(struct gw_terminal *terminal);

#endif

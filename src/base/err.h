/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Errors: functions return 0 or a count, or a negative errno. The place that
 * knows the most says it once, in words, into a gw_diag; everyone above only
 * forwards the code. Callable from anywhere, one thread per gw_diag.
 */
#ifndef GW_ERR_H
#define GW_ERR_H

#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>

/* Exit codes of the godwit program; see the table in README.md. */
enum gw_exit {
	GW_EXIT_DONE = 0,		/* done; for comparing verbs: same */
	GW_EXIT_DIFFERENT = 1,		/* a difference was found, or a check failed */
	GW_EXIT_USAGE = 2,
	GW_EXIT_CANNOT = 3,		/* device, permission or kernel cannot; nothing was touched */
	GW_EXIT_IO = 4,			/* I/O or checksum error; the source is intact and running */
	GW_EXIT_NO_CONVERGENCE = 5,	/* the source is intact and running */
	GW_EXIT_CANCELLED = 6,		/* cancelled and rolled back */
	GW_EXIT_UNCLEAR = 7,		/* state unclear: read the journal */
};

enum gw_level { GW_ERROR, GW_WARNING, GW_NOTE, GW_DEBUG };

/* Told each message as it is said; text is borrowed for the call. */
typedef void (*gw_diag_fn)(void *arg, enum gw_level level, const char *text);

struct gw_diag {
	gw_diag_fn fn;			/* may be NULL: messages are only kept */
	void *arg;
	bool failed;			/* a first cause is kept below */
	int err;			/* its negative errno */
	enum gw_exit exit_code;		/* its exit code; GW_EXIT_DONE: none was given */
	char text[512];			/* the first cause, in words, without a newline */
};

/*
 * Says an error once and returns err (negative) for `return gw_fail(...)`. The
 * first cause stays until gw_diag_clear(); a later one is passed to fn only.
 * diag may be NULL. gw_fail_exit() gives the program's exit code as well.
 */
int gw_fail(struct gw_diag *diag, int err, const char *format, ...)
	__attribute__((format(printf, 3, 4)));
int gw_fail_exit(struct gw_diag *diag, enum gw_exit exit_code, int err, const char *format, ...)
	__attribute__((format(printf, 4, 5)));

/* Says something that is no failure. diag may be NULL. */
void gw_say(struct gw_diag *diag, enum gw_level level, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

/* Forgets the first cause; fn and arg stay. */
void gw_diag_clear(struct gw_diag *diag);

#endif

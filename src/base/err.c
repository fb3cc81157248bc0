// SPDX-License-Identifier: GPL-2.0-or-later
#include "err.h"

#include <assert.h>
#include <stdio.h>

static int fail(struct gw_diag *diag, enum gw_exit exit_code, int err, const char *format,
		va_list args)
{
	char text[sizeof(diag->text)];

	assert(err < 0);
	if (diag == NULL)
		return err;
	vsnprintf(text, sizeof(text), format, args);
	if (!diag->failed) {
		diag->failed = true;
		diag->err = err;
		diag->exit_code = exit_code;
		snprintf(diag->text, sizeof(diag->text), "%s", text);
	}
	if (diag->fn != NULL)
		diag->fn(diag->arg, GW_ERROR, text);
	return err;
}

int gw_fail(struct gw_diag *diag, int err, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	err = fail(diag, GW_EXIT_DONE, err, format, args);
	va_end(args);
	return err;
}

int gw_fail_exit(struct gw_diag *diag, enum gw_exit exit_code, int err, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	err = fail(diag, exit_code, err, format, args);
	va_end(args);
	return err;
}

void gw_say(struct gw_diag *diag, enum gw_level level, const char *format, ...)
{
	char text[512];
	va_list args;

	if (diag == NULL || diag->fn == NULL)
		return;
	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	diag->fn(diag->arg, level, text);
}

void gw_diag_clear(struct gw_diag *diag)
{
	diag->failed = false;
	diag->err = 0;
	diag->exit_code = GW_EXIT_DONE;
	diag->text[0] = '\0';
}

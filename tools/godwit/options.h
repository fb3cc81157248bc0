/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Options as data: a verb has tables of rows, a row knows its field in the
 * verb's settings. Parsing, help text and completion come from the rows.
 */
#ifndef GW_OPTIONS_H
#define GW_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#define GW_OPTIONS_MAX 64		/* of one verb */
#define GW_OPTION_TABLES_MAX 4
#define GW_OPTIONS_ERROR_BYTES 512

enum gw_option_kind {
	GW_OPTION_FLAG,			/* bool */
	GW_OPTION_RATE,			/* uint64_t, bytes/s */
	GW_OPTION_BYTES,		/* uint64_t; zero is refused, it means the default */
	GW_OPTION_DURATION,		/* uint64_t, ns; zero is refused, it means the default */
	GW_OPTION_GRAIN,		/* uint32_t, bytes, a power of two as geom.h allows */
	GW_OPTION_U32,			/* uint32_t, min to max */
	GW_OPTION_GUARD,		/* const char *, borrowed from argv, what gw_guard_parse() reads */
	GW_OPTION_STRING,		/* const char *, borrowed from argv, not empty */
	GW_OPTION_NAME,			/* the same, fit for a name of a migration or a tracking */
	GW_OPTION_ENUM,			/* an enum, one of choices */
	GW_OPTION_ENUM_OPTIONAL,	/* the same; without a value the first choice */
};

/* Ends with a NULL name. A name that ends with ':' is followed by a text of the user's. */
struct gw_choice {
	const char *name;
	int value;
};

struct gw_option {
	const char *name;		/* long, without dashes; NULL ends a table */
	char letter;			/* short, or 0 */
	enum gw_option_kind kind;
	const char *argument;		/* how the help calls the value, or an enum's rest; NULL for flags */
	size_t offset;			/* of the field in the settings */
	const struct gw_choice *choices;
	size_t rest_offset;		/* enums: const char *, what follows a choice that ends with ':' */
	uint32_t min, max;		/* GW_OPTION_U32, both included */
	const char *fallback;		/* default, in words; NULL: not worth a word */
	const char *help;
};

struct gw_verb;

/* What was asked of a verb, ready to run. */
struct gw_call {
	const struct gw_verb *verb;
	void *settings;			/* of the verb's type, first member struct gw_common */
	char **operands;		/* borrowed from argv, NULL-terminated */
	uint32_t operand_count;
	struct gw_terminal *terminal;
};

struct gw_verb {
	const char *name;		/* "check", "track take" */
	const char *operands;		/* "SOURCE TARGET"; "" for none */
	const char *operands_else;	/* another way to call it, or NULL */
	const char *summary;		/* one line, for the list of verbs */
	const char *about;		/* sentences for the help */
	uint32_t operands_min, operands_max;
	bool needs_root;
	size_t settings_bytes;
	const struct gw_option *tables[GW_OPTION_TABLES_MAX];	/* NULL-terminated */
	int (*run)(const struct gw_call *call);	/* Return: enum gw_exit */
};

enum gw_output { GW_OUTPUT_TEXT, GW_OUTPUT_JSON };

/* First member of every settings struct. */
struct gw_common {
	bool help, verbose, quiet;
	enum gw_output output;
};

/* Rows over struct gw_common: with results on stdout, and without. */
extern const struct gw_option gw_options_common[];
extern const struct gw_option gw_options_output[];

/* Row number index over all tables of the verb, in order; NULL past the last. */
const struct gw_option *gw_option_at(const struct gw_verb *verb, uint32_t index);

/*
 * Parses argv (argv[0] is skipped, options and operands in any order, `--` ends
 * the options; argv is permuted) into zeroed settings, and sets the operands in
 * call. Return: 0; -EINVAL with a sentence in error that names the option, the
 * value and what is accepted. With --help the operands are not counted.
 */
int gw_options_parse(const struct gw_verb *verb, int argc, char **argv,
		     struct gw_call *call, char error[GW_OPTIONS_ERROR_BYTES]);

/* "godwit check SOURCE TARGET [options]", a line for each way. */
void gw_options_usage(const struct gw_verb *verb, FILE *out);
void gw_options_help(const struct gw_verb *verb, FILE *out);

/* May text name a migration or a tracking? Also used for operands. */
bool gw_options_is_name(const char *text);

#endif

// SPDX-License-Identifier: GPL-2.0-or-later
#include "options.h"

#include <assert.h>
#include <ctype.h>
#include <errno.h>
#include <getopt.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "geom.h"
#include "guard.h"
#include "nearest.h"
#include "units.h"

#define LONG_BASE 256			/* getopt's value of row 0; below it are letters */
#define NAME_BYTES_MAX 60		/* of a directory of pins */
#define HELP_COLUMN 28
#define HELP_WIDTH 80

static const struct gw_choice output_choices[] = {
	{ "text", GW_OUTPUT_TEXT }, { "json", GW_OUTPUT_JSON }, { NULL, 0 },
};

const struct gw_option gw_options_output[] = {
	{ .name = "output", .letter = 'o', .kind = GW_OPTION_ENUM,
	  .offset = offsetof(struct gw_common, output), .choices = output_choices,
	  .fallback = "text", .help = "form of the results on standard output" },
	{ 0 },
};

const struct gw_option gw_options_common[] = {
	{ .name = "verbose", .letter = 'v', .kind = GW_OPTION_FLAG,
	  .offset = offsetof(struct gw_common, verbose), .help = "say more of what is done" },
	{ .name = "quiet", .letter = 'q', .kind = GW_OPTION_FLAG,
	  .offset = offsetof(struct gw_common, quiet),
	  .help = "no progress, no notes, no summary: errors, warnings and the exit code only" },
	{ .name = "help", .letter = 'h', .kind = GW_OPTION_FLAG,
	  .offset = offsetof(struct gw_common, help), .help = "this text" },
	{ 0 },
};

const struct gw_option *gw_option_at(const struct gw_verb *verb, uint32_t index)
{
	for (uint32_t t = 0; t < GW_OPTION_TABLES_MAX && verb->tables[t] != NULL; t++)
		for (const struct gw_option *row = verb->tables[t]; row->name != NULL; row++)
			if (index-- == 0)
				return row;
	return NULL;
}

bool gw_options_is_name(const char *text)
{
	const size_t length = strlen(text);

	if (length == 0 || length > NAME_BYTES_MAX || text[0] == '-')
		return false;
	/* No dots: bpffs takes none. */
	for (size_t i = 0; i < length; i++)
		if (!isalnum((unsigned char)text[i]) && text[i] != '_' && text[i] != '-')
			return false;
	return true;
}

/* ---- Values -------------------------------------------------------------- */

static int parse_u32(const char *text, const struct gw_option *row, uint32_t *value)
{
	unsigned long long number;
	char *end;

	if (!isdigit((unsigned char)text[0]))
		return -EINVAL;
	errno = 0;
	number = strtoull(text, &end, 10);
	if (errno != 0 || *end != '\0')
		return -EINVAL;
	if (number < row->min || number > row->max)
		return -ERANGE;
	*value = (uint32_t)number;
	return 0;
}

static int parse_grain(const char *text, uint32_t *value)
{
	uint64_t bytes;
	const int err = gw_parse_bytes(text, &bytes);

	if (err != 0)
		return err;
	if (bytes < GW_GRAIN_BYTES_MIN || bytes > GW_GRAIN_BYTES_MAX || (bytes & (bytes - 1)) != 0)
		return -ERANGE;
	*value = (uint32_t)bytes;
	return 0;
}

/* "dm:" is followed by something of the user's. */
static bool has_rest(const struct gw_choice *choice)
{
	return choice->name[strlen(choice->name) - 1] == ':';
}

static int parse_choice(const char *text, const struct gw_option *row, void *settings, int *value)
{
	for (const struct gw_choice *choice = row->choices; choice->name != NULL; choice++) {
		const size_t length = strlen(choice->name);

		if (has_rest(choice) ? strncmp(choice->name, text, length) != 0 ||
				       text[length] == '\0' : strcmp(choice->name, text) != 0)
			continue;
		*value = choice->value;
		if (has_rest(choice))
			*(const char **)(void *)((char *)settings + row->rest_offset) =
				text + length;
		return 0;
	}
	return -EINVAL;
}

static int parse_duration(const char *text, uint64_t *value)
{
	uint64_t ns;
	const int err = gw_parse_duration(text, &ns);

	if (err != 0)
		return err;
	if (ns == 0)
		return -ERANGE;
	*value = ns;
	return 0;
}

static int parse_size(const char *text, uint64_t *value)
{
	uint64_t bytes;
	const int err = gw_parse_bytes(text, &bytes);

	if (err != 0)
		return err;
	if (bytes == 0)
		return -ERANGE;
	*value = bytes;
	return 0;
}

/* text is NULL for a flag and for an optional value that was left out. */
static int set_field(const struct gw_option *row, const char *text, void *settings)
{
	char *field = (char *)settings + row->offset;

	/* Enums are fields of type int in all but name. */
	_Static_assert(sizeof(enum gw_output) == sizeof(int), "enums are stored as int");
	switch (row->kind) {
	case GW_OPTION_FLAG:
		*(bool *)(void *)field = true;
		return 0;
	case GW_OPTION_RATE:
		return gw_parse_rate(text, (uint64_t *)(void *)field);
	case GW_OPTION_BYTES:
		return parse_size(text, (uint64_t *)(void *)field);
	case GW_OPTION_DURATION:
		return parse_duration(text, (uint64_t *)(void *)field);
	case GW_OPTION_GRAIN:
		return parse_grain(text, (uint32_t *)(void *)field);
	case GW_OPTION_U32:
		return parse_u32(text, row, (uint32_t *)(void *)field);
	case GW_OPTION_NAME:
		if (!gw_options_is_name(text))
			return -EINVAL;
		*(const char **)(void *)field = text;
		return 0;
	case GW_OPTION_GUARD:
		if (gw_guard_parse(&(struct gw_guard_spec){ 0 }, text) != 0)
			return -EINVAL;
		*(const char **)(void *)field = text;
		return 0;
	case GW_OPTION_STRING:
		if (text[0] == '\0')
			return -EINVAL;
		*(const char **)(void *)field = text;
		return 0;
	case GW_OPTION_ENUM:
		return parse_choice(text, row, settings, (int *)(void *)field);
	case GW_OPTION_ENUM_OPTIONAL:
		return parse_choice(text != NULL ? text : row->choices[0].name, row, settings,
				    (int *)(void *)field);
	}
	abort();			/* no such kind: a row is wrong */
}

static void list_choices(const struct gw_option *row, const char *between, char *out, size_t bytes)
{
	size_t used = 0;

	out[0] = '\0';
	for (const struct gw_choice *choice = row->choices; choice->name != NULL; choice++) {
		const int n = snprintf(out + used, bytes - used, "%s%s%s", used > 0 ? between : "",
				       choice->name, has_rest(choice) ? row->argument : "");

		assert(n > 0 && (size_t)n < bytes - used);
		used += (size_t)n;
	}
}

/* What a row accepts, to follow "give". */
static void say_accepted(const struct gw_option *row, char *out, size_t bytes)
{
	char choices[128];

	switch (row->kind) {
	case GW_OPTION_FLAG:
		snprintf(out, bytes, "no value");
		return;
	case GW_OPTION_RATE:
		snprintf(out, bytes, "a rate such as 500M/s or 1.5GiB/s");
		return;
	case GW_OPTION_BYTES:
		snprintf(out, bytes, "a size above 0 such as 64K, 16M or 1.5GiB");
		return;
	case GW_OPTION_DURATION:
		snprintf(out, bytes, "a duration above 0 such as 300ms, 1.5s or 2m");
		return;
	case GW_OPTION_GRAIN:
		snprintf(out, bytes, "a power of two from 4K to 1M");
		return;
	case GW_OPTION_U32:
		snprintf(out, bytes, "a whole number from %u to %u", row->min, row->max);
		return;
	case GW_OPTION_NAME:
		snprintf(out, bytes,
			 "a name: up to %d letters, digits, '_' or '-', the first no '-'",
			 NAME_BYTES_MAX);
		return;
	case GW_OPTION_GUARD:
		snprintf(out, bytes, GW_GUARD_ACCEPTED);
		return;
	case GW_OPTION_STRING:
		snprintf(out, bytes, "a text that is not empty");
		return;
	case GW_OPTION_ENUM:
	case GW_OPTION_ENUM_OPTIONAL:
		list_choices(row, ", ", choices, sizeof(choices));
		snprintf(out, bytes, "one of %s", choices);
		return;
	}
}

/* ---- Parsing ------------------------------------------------------------- */

struct parse {
	struct option longs[GW_OPTIONS_MAX + 1];
	char letters[2 * GW_OPTIONS_MAX + 2];
};

static bool takes_value(const struct gw_option *row)
{
	return row->kind != GW_OPTION_FLAG;
}

static void build_parse(const struct gw_verb *verb, struct parse *parse)
{
	const struct gw_option *row;
	size_t used = 0;

	memset(parse, 0, sizeof(*parse));
	parse->letters[used++] = ':';	/* getopt tells a missing value from an unknown option */
	for (uint32_t i = 0; (row = gw_option_at(verb, i)) != NULL; i++) {
		assert(i < GW_OPTIONS_MAX);
		parse->longs[i] = (struct option){
			.name = row->name,
			.has_arg = row->kind == GW_OPTION_ENUM_OPTIONAL ? optional_argument :
				   takes_value(row) ? required_argument : no_argument,
			.val = LONG_BASE + (int)i,
		};
		if (row->letter == 0)
			continue;
		assert(row->kind != GW_OPTION_ENUM_OPTIONAL);
		parse->letters[used++] = row->letter;
		if (takes_value(row))
			parse->letters[used++] = ':';
	}
}

/* The row that getopt's value stands for, or NULL. */
static const struct gw_option *row_of(const struct gw_verb *verb, int value)
{
	const struct gw_option *row;

	if (value >= LONG_BASE)
		return gw_option_at(verb, (uint32_t)(value - LONG_BASE));
	for (uint32_t i = 0; (row = gw_option_at(verb, i)) != NULL; i++)
		if (row->letter != 0 && row->letter == value)
			return row;
	return NULL;
}

static int refuse(char *error, const char *format, ...) __attribute__((format(printf, 2, 3)));
static int refuse(char *error, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(error, GW_OPTIONS_ERROR_BYTES, format, args);
	va_end(args);
	return -EINVAL;
}

/* word as it was typed: "--bandwith=3" */
static int refuse_unknown(const struct gw_verb *verb, const char *word, char *error)
{
	const struct gw_option *row, *nearest = NULL;
	uint32_t best = UINT32_MAX;
	char name[GW_NEAREST_BYTES_MAX + 1];

	snprintf(name, sizeof(name), "%.*s", (int)strcspn(word + 2, "="), word + 2);
	for (uint32_t i = 0; (row = gw_option_at(verb, i)) != NULL; i++) {
		const uint32_t distance = gw_nearest_distance(name, row->name);

		if (gw_nearest_is_near(name, row->name) && distance < best) {
			nearest = row;
			best = distance;
		}
	}
	if (nearest != NULL)
		return refuse(error, "unknown option \"--%s\"; did you mean --%s?", name,
			      nearest->name);
	return refuse(error, "unknown option \"--%s\"", name);
}

/* getopt said '?': of a long option (optopt 0 or a row's value) or of a letter. */
static int refuse_option(const struct gw_verb *verb, char **argv, char *error)
{
	if (optopt >= LONG_BASE) {
		const struct gw_option *row = row_of(verb, optopt);

		return refuse(error, "--%s: takes no value, \"%s\" was given", row->name,
			      argv[optind - 1]);
	}
	if (optopt != 0)
		return refuse(error, "unknown option \"-%c\"", optopt);
	return refuse_unknown(verb, argv[optind - 1], error);
}

static int take_option(const struct gw_verb *verb, int value, void *settings, char *error)
{
	const bool missing = value == ':';
	const struct gw_option *row = row_of(verb, missing ? optopt : value);
	char accepted[256];

	assert(row != NULL);
	say_accepted(row, accepted, sizeof(accepted));
	if (missing)
		return refuse(error, "--%s: a value is missing; give %s", row->name, accepted);
	if (set_field(row, takes_value(row) ? optarg : NULL, settings) != 0)
		return refuse(error, "--%s: \"%s\" is not accepted; give %s", row->name, optarg,
			      accepted);
	return 0;
}

static int count_operands(const struct gw_verb *verb, const struct gw_call *call,
			  char *error)
{
	if (call->operand_count < verb->operands_min)
		return refuse(error, "%s missing; give %s", call->operand_count == 0 ?
			      "operands are" : "an operand is", verb->operands);
	if (call->operand_count > verb->operands_max)
		return refuse(error, "\"%s\" is one operand too many",
			      call->operands[verb->operands_max]);
	return 0;
}

int gw_options_parse(const struct gw_verb *verb, int argc, char **argv,
		     struct gw_call *call, char error[GW_OPTIONS_ERROR_BYTES])
{
	struct gw_common *common = call->settings;
	struct parse parse;
	int value;

	build_parse(verb, &parse);
	opterr = 0;
	optind = 0;			/* glibc: start anew, with permutation */
	while ((value = getopt_long(argc, argv, parse.letters, parse.longs, NULL)) != -1) {
		int err;

		if (value == '?')
			return refuse_option(verb, argv, error);
		err = take_option(verb, value, call->settings, error);
		if (err != 0)
			return err;
	}
	call->verb = verb;
	call->operands = argv + optind;
	call->operand_count = (uint32_t)(argc - optind);
	return common->help ? 0 : count_operands(verb, call, error);
}

/* ---- Help ---------------------------------------------------------------- */

void gw_options_usage(const struct gw_verb *verb, FILE *out)
{
	fprintf(out, "usage: godwit %s%s%s [options]\n", verb->name,
		verb->operands[0] != '\0' ? " " : "", verb->operands);
	if (verb->operands_else != NULL)
		fprintf(out, "       godwit %s %s [options]\n", verb->name,
			verb->operands_else);
}

/* Prints words, broken so that no line passes HELP_WIDTH; the cursor stands at column. */
static void print_wrapped(FILE *out, const char *text, size_t column, size_t indent)
{
	while (*text != '\0') {
		const size_t length = strcspn(text, " ");

		if (column > indent && column + 1 + length > HELP_WIDTH) {
			fprintf(out, "\n%*s", (int)indent, "");
			column = indent;
		} else if (column > indent) {
			fputc(' ', out);
			column++;
		}
		fprintf(out, "%.*s", (int)length, text);
		column += length;
		text += length;
		text += strspn(text, " ");
	}
	fputc('\n', out);
}

static void help_row(const struct gw_option *row, FILE *out)
{
	char left[128], letter[8] = "    ", choices[96] = "", text[512];
	const char *value = row->argument;
	int used;

	if (row->choices != NULL) {
		list_choices(row, "|", choices, sizeof(choices));
		value = choices;
	}
	if (row->letter != 0)
		snprintf(letter, sizeof(letter), "-%c, ", row->letter);
	used = snprintf(left, sizeof(left), "  %s--%s", letter, row->name);
	assert(used > 0);
	if (value != NULL)
		snprintf(left + used, sizeof(left) - (size_t)used,
			 row->kind == GW_OPTION_ENUM_OPTIONAL ? "[=%s]" : " %s", value);
	snprintf(text, sizeof(text), row->fallback != NULL ? "%s (default: %s)" : "%s",
		 row->help, row->fallback);
	fputs(left, out);
	if (strlen(left) + 2 > HELP_COLUMN)
		fprintf(out, "\n%*s", HELP_COLUMN, "");
	else
		fprintf(out, "%*s", (int)(HELP_COLUMN - strlen(left)), "");
	print_wrapped(out, text, HELP_COLUMN, HELP_COLUMN);
}

void gw_options_help(const struct gw_verb *verb, FILE *out)
{
	const struct gw_option *row;

	gw_options_usage(verb, out);
	fputc('\n', out);
	print_wrapped(out, verb->about, 0, 0);
	fprintf(out, "\noptions:\n");
	for (uint32_t i = 0; (row = gw_option_at(verb, i)) != NULL; i++)
		help_row(row, out);
}

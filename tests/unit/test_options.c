// SPDX-License-Identifier: GPL-2.0-or-later
/* Options as data: what is taken, what is refused and with which words, what the help shows. */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

/* The program is no library; its pure files are tested from within. */
#include "../../tools/godwit/nearest.c"
#include "../../tools/godwit/options.c"

enum fruit { APPLE, PEAR = 7 };

struct settings {
	struct gw_common common;
	uint64_t rate_bytes_per_s, wait_ns;
	uint32_t grain_bytes, count;
	const char *dir, *name;
	enum fruit fruit, basket;
};

static const struct gw_choice fruits[] = { { "apple", APPLE }, { "pear", PEAR }, { NULL, 0 } };

static const struct gw_option rows[] = {
	{ .name = "rate", .kind = GW_OPTION_RATE, .argument = "RATE",
	  .offset = offsetof(struct settings, rate_bytes_per_s), .help = "rate" },
	{ .name = "wait", .letter = 'w', .kind = GW_OPTION_DURATION, .argument = "TIME",
	  .offset = offsetof(struct settings, wait_ns), .fallback = "1s", .help = "wait" },
	{ .name = "grain", .kind = GW_OPTION_GRAIN, .argument = "SIZE",
	  .offset = offsetof(struct settings, grain_bytes), .help = "grain" },
	{ .name = "count", .letter = 'c', .kind = GW_OPTION_U32, .argument = "N", .min = 2,
	  .max = 9, .offset = offsetof(struct settings, count), .help = "count" },
	{ .name = "dir", .kind = GW_OPTION_STRING, .argument = "DIR",
	  .offset = offsetof(struct settings, dir), .help = "dir" },
	{ .name = "name", .kind = GW_OPTION_NAME, .argument = "NAME",
	  .offset = offsetof(struct settings, name), .help = "name" },
	{ .name = "fruit", .kind = GW_OPTION_ENUM, .offset = offsetof(struct settings, fruit),
	  .choices = fruits, .help = "fruit" },
	{ .name = "basket", .kind = GW_OPTION_ENUM_OPTIONAL,
	  .offset = offsetof(struct settings, basket), .choices = fruits, .help = "basket" },
	{ 0 },
};

static const struct gw_verb verb = {
	.name = "try", .operands = "SOURCE TARGET", .summary = "s", .about = "Tries.",
	.operands_min = 1, .operands_max = 2, .settings_bytes = sizeof(struct settings),
	.tables = { rows, gw_options_output, gw_options_common },
};

static struct settings settings;
static struct gw_call call;
static char error[GW_OPTIONS_ERROR_BYTES];

/*
 * Words in one string, separated by single blanks; the copy lives on because
 * strings are borrowed.
 */
static int parse(const char *line)
{
	static char copy[512];
	char *argv[32] = { (char *)"try" };
	static char *kept[32];
	int argc = 1;

	snprintf(copy, sizeof(copy), "%s", line);
	for (char *word = strtok(copy, " "); word != NULL; word = strtok(NULL, " "))
		argv[argc++] = word;
	memcpy(kept, argv, sizeof(kept));
	memset(&settings, 0, sizeof(settings));
	call = (struct gw_call){ .settings = &settings };
	error[0] = '\0';
	return gw_options_parse(&verb, argc, kept, &call, error);
}

Test(options, takes_every_kind)
{
	cr_assert_eq(parse("a --rate 2M/s -w 300ms --grain=64K -c 9 --dir /x --name n_1-a "
			   "--fruit pear --basket=pear b"), 0);
	cr_assert_eq(settings.rate_bytes_per_s, 2u << 20);
	cr_assert_eq(settings.wait_ns, 300000000u);
	cr_assert_eq(settings.grain_bytes, 65536u);
	cr_assert_eq(settings.count, 9u);
	cr_assert_str_eq(settings.dir, "/x");
	cr_assert_str_eq(settings.name, "n_1-a");
	cr_assert_eq(settings.fruit, PEAR);
	cr_assert_eq(settings.basket, PEAR);
	cr_assert_eq(call.operand_count, 2u);
	cr_assert_str_eq(call.operands[0], "a");
	cr_assert_str_eq(call.operands[1], "b");
}

Test(options, leaves_what_is_not_given)
{
	cr_assert_eq(parse("a"), 0);
	cr_assert_eq(settings.rate_bytes_per_s, 0u);
	cr_assert_null(settings.dir);
	cr_assert_not(settings.common.verbose);
	cr_assert_eq(settings.common.output, GW_OUTPUT_TEXT);
}

Test(options, optional_value_never_takes_the_next_word)
{
	cr_assert_eq(parse("--basket pear"), 0);
	cr_assert_eq(settings.basket, APPLE);
	cr_assert_str_eq(call.operands[0], "pear");
}

Test(options, double_dash_ends_options)
{
	cr_assert_eq(parse("-v -- -q --rate"), 0);
	cr_assert(settings.common.verbose);
	cr_assert_not(settings.common.quiet);
	cr_assert_eq(call.operand_count, 2u);
	cr_assert_str_eq(call.operands[0], "-q");
}

Test(options, letters_stand_together)
{
	cr_assert_eq(parse("-vqojson a"), 0);
	cr_assert(settings.common.verbose);
	cr_assert(settings.common.quiet);
	cr_assert_eq(settings.common.output, GW_OUTPUT_JSON);
}

Test(options, help_needs_no_operands)
{
	cr_assert_eq(parse("--help"), 0);
	cr_assert(settings.common.help);
	cr_assert_eq(parse("-h a b c d"), 0);
}

Test(options, borders_of_numbers)
{
	cr_assert_eq(parse("a -c 2"), 0);
	cr_assert_eq(parse("a -c 9"), 0);
	cr_assert_eq(parse("a -c 1"), -EINVAL);
	cr_assert_eq(parse("a -c 10"), -EINVAL);
	cr_assert_eq(parse("a -c -3"), -EINVAL);
	cr_assert_eq(parse("a -c 4x"), -EINVAL);
	cr_assert_eq(parse("a -c 4294967298"), -EINVAL);
	cr_assert_eq(parse("a -c 99999999999999999999"), -EINVAL);
	cr_assert_eq(parse("a --grain 4K"), 0);
	cr_assert_eq(parse("a --grain 1M"), 0);
	cr_assert_eq(parse("a --grain 2K"), -EINVAL);
	cr_assert_eq(parse("a --grain 2M"), -EINVAL);
	cr_assert_eq(parse("a --grain 12K"), -EINVAL);
	cr_assert_eq(parse("a --wait 0"), -EINVAL);
	cr_assert_eq(parse("a --wait 0ms"), -EINVAL);
	cr_assert_eq(parse("a --wait 5"), -EINVAL);
	cr_assert_eq(parse("a --rate 0"), 0);
}

static void refuses(const char *line, const char *words)
{
	cr_assert_eq(parse(line), -EINVAL, "\"%s\" was taken", line);
	cr_assert_str_eq(error, words);
}

Test(options, refusals_name_option_value_and_what_is_accepted)
{
	refuses("a --rate 12x",
		"--rate: \"12x\" is not accepted; give a rate such as 500M/s or 1.5GiB/s");
	refuses("a -c 1", "--count: \"1\" is not accepted; give a whole number from 2 to 9");
	refuses("a --fruit plum", "--fruit: \"plum\" is not accepted; give one of apple, pear");
	refuses("a --basket=plum", "--basket: \"plum\" is not accepted; give one of apple, pear");
	refuses("a --dir=", "--dir: \"\" is not accepted; give a text that is not empty");
	refuses("a --dir", "--dir: a value is missing; give a text that is not empty");
	refuses("a -w", "--wait: a value is missing; give a duration above 0 such as 300ms, 1.5s "
			"or 2m");
	refuses("a --verbose=3", "--verbose: takes no value, \"--verbose=3\" was given");
}

/* As getopt_long has it: what is unmistakable need not be written out. */
Test(options, long_names_may_be_cut)
{
	cr_assert_eq(parse("a --rat 1M"), 0);
	cr_assert_eq(settings.rate_bytes_per_s, 1u << 20);
}

Test(options, refuses_unknown_ones)
{
	refuses("a --grian 4K", "unknown option \"--grian\"; did you mean --grain?");
	refuses("a --wiat=1s", "unknown option \"--wiat\"; did you mean --wait?");
	refuses("a --elephant", "unknown option \"--elephant\"");
	refuses("a -Z", "unknown option \"-Z\"");
}

Test(options, counts_operands)
{
	refuses("", "operands are missing; give SOURCE TARGET");
	refuses("a b c", "\"c\" is one operand too many");
}

Test(options, names)
{
	char longest[NAME_BYTES_MAX + 2];

	memset(longest, 'n', sizeof(longest));
	longest[NAME_BYTES_MAX] = '\0';
	cr_assert(gw_options_is_name(longest));
	longest[NAME_BYTES_MAX] = 'n';
	longest[NAME_BYTES_MAX + 1] = '\0';
	cr_assert_not(gw_options_is_name(longest));
	cr_assert(gw_options_is_name("loop0-loop1_b"));
	cr_assert_not(gw_options_is_name(""));
	cr_assert_not(gw_options_is_name(".."));
	cr_assert_not(gw_options_is_name("a.b"));
	cr_assert_not(gw_options_is_name("a/b"));
	cr_assert_not(gw_options_is_name("-a"));
	cr_assert_not(gw_options_is_name("a b"));
}

Test(options, help_shows_every_row_and_default)
{
	char *text;
	size_t bytes;
	FILE *out = open_memstream(&text, &bytes);

	gw_options_help(&verb, out);
	fclose(out);
	for (uint32_t i = 0; gw_option_at(&verb, i) != NULL; i++) {
		char word[64];

		snprintf(word, sizeof(word), "--%s", gw_option_at(&verb, i)->name);
		cr_assert_not_null(strstr(text, word), "%s is not in the help", word);
	}
	cr_assert_not_null(strstr(text, "usage: godwit try SOURCE TARGET [options]\n"));
	cr_assert_not_null(strstr(text, "-w, --wait TIME"));
	cr_assert_not_null(strstr(text, "(default: 1s)"));
	cr_assert_not_null(strstr(text, "--basket[=apple|pear]"));
	for (const char *line = text; *line != '\0'; line += strcspn(line, "\n") + 1)
		cr_assert_leq(strcspn(line, "\n"), HELP_WIDTH);
	free(text);
}

Test(options, rows_are_visited_in_order_and_end)
{
	cr_assert_str_eq(gw_option_at(&verb, 0)->name, "rate");
	cr_assert_str_eq(gw_option_at(&verb, 8)->name, "output");
	cr_assert_str_eq(gw_option_at(&verb, 11)->name, "help");
	cr_assert_null(gw_option_at(&verb, 12));
}

Test(options, nearest_counts_edits)
{
	cr_assert_eq(gw_nearest_distance("", ""), 0u);
	cr_assert_eq(gw_nearest_distance("abc", "abc"), 0u);
	cr_assert_eq(gw_nearest_distance("", "abc"), 3u);
	cr_assert_eq(gw_nearest_distance("abc", ""), 3u);
	cr_assert_eq(gw_nearest_distance("abc", "abd"), 1u);
	cr_assert_eq(gw_nearest_distance("abcd", "acbd"), 1u);
	cr_assert_eq(gw_nearest_distance("kitten", "sitting"), 3u);
}

Test(options, nearest_long_words_are_near_to_nothing)
{
	char word[GW_NEAREST_BYTES_MAX + 2];

	memset(word, 'a', sizeof(word));
	word[sizeof(word) - 1] = '\0';
	cr_assert_eq(gw_nearest_distance(word, "a"), UINT32_MAX);
	cr_assert_not(gw_nearest_is_near(word, "aa"));
	cr_assert_eq(gw_nearest_distance(word + 1, "a"), GW_NEAREST_BYTES_MAX - 1);
}

Test(options, nearest_hints_only_what_is_likely)
{
	cr_assert(gw_nearest_is_near("chek", "check"));
	cr_assert(gw_nearest_is_near("migr", "migrate"));
	cr_assert(gw_nearest_is_near("veryfi", "verify"));
	cr_assert_not(gw_nearest_is_near("m", "migrate"));
	cr_assert_not(gw_nearest_is_near("format", "report"));
	cr_assert_not(gw_nearest_is_near("elephant", "check"));
}

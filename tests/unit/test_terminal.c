// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Standard error: how often the progress is drawn, and what messages do to it.
 * No terminal is needed.
 */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

/* The program is no library; progress.c comes with its own test. */
#include "../../tools/godwit/out_text.c"
#include "../../tools/godwit/terminal.c"

static char *said;
static size_t said_bytes;

/* A terminal 80 columns wide whose text is kept in said. */
static struct gw_terminal open_terminal(void)
{
	return (struct gw_terminal){ .out = open_memstream(&said, &said_bytes), .redraws = true };
}

static uint32_t count(const struct gw_terminal *terminal, const char *word)
{
	uint32_t found = 0;

	fflush(terminal->out);
	for (const char *at = said; (at = strstr(at, word)) != NULL; at += strlen(word))
		found++;
	return found;
}

static void close_terminal(struct gw_terminal *terminal)
{
	fclose(terminal->out);
	free(said);
}

static const struct gw_migration_progress base = {
	.phase = GW_PHASE_BASE, .round = 1, .done_bytes = 1, .total_bytes = 2,
};
static const struct gw_migration_progress next = {
	.phase = GW_PHASE_ROUND, .round = 2, .done_bytes = 1, .total_bytes = 2,
};

Test(terminal, draws_ten_times_a_second_at_most)
{
	struct gw_terminal terminal = open_terminal();

	for (int i = 0; i < 1000; i++)
		gw_terminal_progress(&terminal, i % 2 == 0 ? &base : &next);
	cr_assert_leq(count(&terminal, "50.0%"), 2u);
	terminal.last_ns -= GW_TERMINAL_REDRAW_NS;
	gw_terminal_progress(&terminal, &next);
	cr_assert_eq(count(&terminal, "round 2"), 1u);
	close_terminal(&terminal);
}

Test(terminal, plain_lines_at_changes_only)
{
	struct gw_terminal terminal = open_terminal();

	terminal.redraws = false;
	for (int i = 0; i < 100; i++)
		gw_terminal_progress(&terminal, &base);
	for (int i = 0; i < 100; i++)
		gw_terminal_progress(&terminal, &next);
	cr_assert_eq(count(&terminal, "\n"), 2u);
	cr_assert_eq(count(&terminal, "\r"), 0u);
	terminal.last_ns -= GW_TERMINAL_LINE_NS;
	gw_terminal_progress(&terminal, &next);
	cr_assert_eq(count(&terminal, "round 2"), 2u);
	close_terminal(&terminal);
}

Test(terminal, a_message_clears_the_line_first)
{
	struct gw_terminal terminal = open_terminal();
	const char *line, *message;

	gw_terminal_progress(&terminal, &base);
	gw_terminal_message(&terminal, GW_MESSAGE_NOTE, "hello");
	cr_assert_eq(count(&terminal, "hello"), 1u);
	line = strstr(said, "base pass");
	message = strstr(said, "godwit: hello\n");
	cr_assert_not_null(message);
	/* Blanks over all of it, then the message from the first column on. */
	cr_assert_lt(line, message);
	cr_assert_eq(message[-1], '\r');
	cr_assert_eq(strspn(strstr(line, "\r\r") + 2, " "), strcspn(line, "\r"));
	close_terminal(&terminal);
}

Test(terminal, repetitions_are_counted)
{
	struct gw_terminal terminal = open_terminal();

	for (int i = 0; i < 5; i++)
		gw_terminal_message(&terminal, GW_MESSAGE_WARNING, "again");
	gw_terminal_message(&terminal, GW_MESSAGE_WARNING, "other");
	gw_terminal_finish(&terminal);
	cr_assert_eq(count(&terminal, "again"), 1u);
	cr_assert_eq(count(&terminal, "came 4 times more"), 1u);
	cr_assert_eq(count(&terminal, "times more"), 1u);
	close_terminal(&terminal);
}

Test(terminal, levels)
{
	struct gw_terminal terminal = open_terminal();

	gw_terminal_message(&terminal, GW_MESSAGE_DEBUG, "one");
	cr_assert_eq(count(&terminal, "one"), 0u);
	terminal.verbose = true;
	gw_terminal_message(&terminal, GW_MESSAGE_DEBUG, "one");
	cr_assert_eq(count(&terminal, "godwit: debug: one\n"), 1u);
	terminal.quiet = true;
	gw_terminal_message(&terminal, GW_MESSAGE_NOTE, "two");
	gw_terminal_progress(&terminal, &base);
	cr_assert_eq(count(&terminal, "two"), 0u);
	cr_assert_eq(count(&terminal, "base"), 0u);
	gw_terminal_message(&terminal, GW_MESSAGE_WARNING, "three");
	gw_terminal_message(&terminal, GW_MESSAGE_ERROR, "four");
	cr_assert_eq(count(&terminal, "godwit: warning: three\ngodwit: error: four\n"), 1u);
	close_terminal(&terminal);
}

Test(terminal, texts_cannot_steer)
{
	struct gw_terminal terminal = open_terminal();
	char longest[2000];

	gw_terminal_message(&terminal, GW_MESSAGE_NOTE, "a\033[31m\r\n\302\233b\377 \303\244");
	cr_assert_eq(count(&terminal, "godwit: a?[31m???b? \303\244\n"), 1u);
	memset(longest, 'x', sizeof(longest));
	longest[sizeof(longest) - 1] = '\0';
	gw_terminal_message(&terminal, GW_MESSAGE_NOTE, longest);
	cr_assert_eq(count(&terminal, "\n"), 2u);
	close_terminal(&terminal);
}

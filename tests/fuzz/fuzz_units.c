// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Sizes, rates, durations as a user types them. What parses is shown and read
 * again: the same but for the digits that are not shown.
 */
#include <assert.h>
#include <errno.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "units.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

typedef int (*parse_fn)(const char *text, uint64_t *value);
typedef const char *(*format_fn)(char out[GW_UNIT_TEXT_BYTES], uint64_t value);

/* "3.1 MiB" is read without its blank; what has two units or is beyond the syntax is not. */
static int reread(parse_fn parse, const char *shown, uint64_t *value)
{
	char compact[GW_UNIT_TEXT_BYTES];
	const char *const blank = strchr(shown, ' ');

	assert(blank != NULL);
	if (strchr(blank + 1, ' ') != NULL || blank[1] == 'E')
		return -ENOTSUP;
	snprintf(compact, sizeof(compact), "%.*s%s", (int)(blank - shown), shown, blank + 1);
	return parse(compact, value);
}

static void check(const char *text, parse_fn parse, format_fn format, const char *exact_suffix)
{
	char shown[GW_UNIT_TEXT_BYTES], exact[GW_UNIT_TEXT_BYTES + 8];
	uint64_t value = 42, again = 0, tolerance, distance;
	const int err = parse(text, &value);
	int err_again;

	if (err != 0) {
		assert(err == -EINVAL || err == -ERANGE);
		assert(value == 42);
		return;
	}
	snprintf(exact, sizeof(exact), "%llu%s", (unsigned long long)value, exact_suffix);
	err_again = parse(exact, &again);
	assert(err_again == 0);
	assert(again == value);
	assert(format(shown, value) == shown);
	assert(strlen(shown) < GW_UNIT_TEXT_BYTES);
	err_again = reread(parse, shown, &again);
	if (err_again == -ENOTSUP)
		return;
	assert(err_again == 0);
	tolerance = value / 19;		/* "9.5" may stand for anything up to 9.549 */
	distance = again > value ? again - value : value - again;
	assert(distance <= tolerance);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *const text = malloc(size + 1);

	assert(text != NULL);
	memcpy(text, data, size);
	text[size] = '\0';
	check(text, gw_parse_bytes, gw_format_bytes, "");
	check(text, gw_parse_rate, gw_format_rate, "/s");
	check(text, gw_parse_duration, gw_format_duration, "ns");
	free(text);
	return 0;
}

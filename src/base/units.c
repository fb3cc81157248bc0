// SPDX-License-Identifier: GPL-2.0-or-later
#include "units.h"

#include <assert.h>
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "clock.h"

#define FRACTION_DIGITS_MAX 9

/* A decimal number as it was written; no locale, no floating point. */
struct number {
	uint64_t whole;
	uint32_t fraction, scale;	/* fraction / scale; scale is 1 without a point */
	bool too_large;			/* whole does not hold it */
};

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

/* Return: what follows the number, or NULL if there is none. */
static const char *parse_number(const char *text, struct number *number)
{
	*number = (struct number){ .scale = 1 };
	if (!is_digit(*text))
		return NULL;
	for (; is_digit(*text); text++) {
		const unsigned int digit = (unsigned int)(*text - '0');

		if (number->whole > (UINT64_MAX - digit) / 10)
			number->too_large = true;
		else
			number->whole = number->whole * 10 + digit;
	}
	if (*text != '.')
		return text;
	text++;
	if (!is_digit(*text))
		return NULL;
	for (int digits = 0; is_digit(*text); text++, digits++) {
		if (digits == FRACTION_DIGITS_MAX)
			return NULL;
		number->fraction = number->fraction * 10 + (uint32_t)(*text - '0');
		number->scale *= 10;
	}
	return text;
}

/* Rounds down to the base unit. Parts of a base unit itself are no such syntax. */
static int scale_number(const struct number *number, uint64_t unit, uint64_t *value)
{
	unsigned __int128 product;

	if (unit == 1 && number->scale != 1)
		return -EINVAL;
	if (number->too_large)
		return -ERANGE;
	product = (unsigned __int128)number->whole * unit;
	product += (unsigned __int128)number->fraction * unit / number->scale;
	if (product > UINT64_MAX)
		return -ERANGE;
	*value = (uint64_t)product;
	return 0;
}

static char to_upper(char c)
{
	return c >= 'a' && c <= 'z' ? (char)(c - 'a' + 'A') : c;
}

/* Reads "", "B", "K", "KB", "KiB", ...; text moves to what follows. */
static uint64_t parse_bytes_suffix(const char **text)
{
	static const char letters[] = "KMGTP";
	const char letter = to_upper(**text);
	const char *const at = letter != '\0' ? strchr(letters, letter) : NULL;
	uint64_t unit = 1;

	if (at != NULL) {
		unit <<= 10 * (at - letters + 1);
		(*text)++;
		if (to_upper((*text)[0]) == 'I' && to_upper((*text)[1]) == 'B')
			(*text)++;
	}
	if (to_upper(**text) == 'B')
		(*text)++;
	return unit;
}

/* Return: 0 with *rest at what follows, or -EINVAL, -ERANGE (rest set, the syntax before it is good). */
static int parse_bytes_prefix(const char *text, uint64_t *value, const char **rest)
{
	struct number number;
	uint64_t unit;

	text = parse_number(text, &number);
	if (text == NULL)
		return -EINVAL;
	unit = parse_bytes_suffix(&text);
	*rest = text;
	return scale_number(&number, unit, value);
}

int gw_parse_bytes(const char *text, uint64_t *value)
{
	const char *rest;
	uint64_t parsed;
	const int err = parse_bytes_prefix(text, &parsed, &rest);

	if (err == -EINVAL || *rest != '\0')
		return -EINVAL;
	if (err != 0)
		return err;
	*value = parsed;
	return 0;
}

int gw_parse_rate(const char *text, uint64_t *bytes_per_s)
{
	const char *rest;
	uint64_t parsed;
	const int err = parse_bytes_prefix(text, &parsed, &rest);

	if (err == -EINVAL || (*rest != '\0' && strcmp(rest, "/s") != 0))
		return -EINVAL;
	if (err != 0)
		return err;
	*bytes_per_s = parsed;
	return 0;
}

int gw_parse_duration(const char *text, uint64_t *ns)
{
	static const struct {
		const char *suffix;
		uint64_t ns;
	} units[] = {
		{ "ns", 1 },
		{ "us", GW_NS_PER_US },
		{ "ms", GW_NS_PER_MS },
		{ "s", GW_NS_PER_S },
		{ "m", 60 * GW_NS_PER_S },
		{ "h", 3600 * GW_NS_PER_S },
	};
	struct number number;

	text = parse_number(text, &number);
	if (text == NULL)
		return -EINVAL;
	for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++)
		if (strcmp(text, units[i].suffix) == 0)
			return scale_number(&number, units[i].ns, ns);
	/* Nothing is the same in every unit. */
	if (*text != '\0' || number.too_large || number.whole != 0 || number.scale != 1)
		return -EINVAL;
	*ns = 0;
	return 0;
}

/* value / unit with three digits or so: "9.9", "99.9", "100". False if that would be limit. */
static bool format_scaled(char out[GW_UNIT_TEXT_BYTES], uint64_t value, uint64_t unit,
			  uint64_t limit, const char *suffix)
{
	const unsigned __int128 wide = value;
	const uint64_t tenths = (uint64_t)((wide * 10 + unit / 2) / unit);
	const uint64_t whole = (uint64_t)((wide + unit / 2) / unit);

	if (unit == 1 || tenths >= 1000) {
		if (whole >= limit)
			return false;
		snprintf(out, GW_UNIT_TEXT_BYTES, "%llu %s", (unsigned long long)whole, suffix);
	} else {
		if (tenths >= limit * 10)
			return false;
		snprintf(out, GW_UNIT_TEXT_BYTES, "%llu.%llu %s", (unsigned long long)tenths / 10,
			 (unsigned long long)tenths % 10, suffix);
	}
	return true;
}

static const char *format_bytes(char out[GW_UNIT_TEXT_BYTES], uint64_t bytes,
				const char *const suffixes[7])
{
	unsigned int i = 0;

	while (!format_scaled(out, bytes, UINT64_C(1) << 10 * i, 1024, suffixes[i]))
		i++;
	assert(i < 7);			/* 2^64 bytes are 16 EiB */
	return out;
}

const char *gw_format_bytes(char out[GW_UNIT_TEXT_BYTES], uint64_t bytes)
{
	static const char *const suffixes[7] = {
		"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"
	};

	return format_bytes(out, bytes, suffixes);
}

const char *gw_format_rate(char out[GW_UNIT_TEXT_BYTES], uint64_t bytes_per_s)
{
	static const char *const suffixes[7] = {
		"B/s", "KiB/s", "MiB/s", "GiB/s", "TiB/s", "PiB/s", "EiB/s"
	};

	return format_bytes(out, bytes_per_s, suffixes);
}

const char *gw_format_duration(char out[GW_UNIT_TEXT_BYTES], uint64_t ns)
{
	const uint64_t seconds = ns / GW_NS_PER_S + (ns % GW_NS_PER_S >= GW_NS_PER_S / 2);
	const uint64_t minutes = seconds / 60 + (seconds % 60 >= 30);

	if (ns == 0)
		snprintf(out, GW_UNIT_TEXT_BYTES, "0 s");
	else if (format_scaled(out, ns, 1, 1000, "ns") ||
		 format_scaled(out, ns, GW_NS_PER_US, 1000, "us") ||
		 format_scaled(out, ns, GW_NS_PER_MS, 1000, "ms") ||
		 format_scaled(out, ns, GW_NS_PER_S, 60, "s"))
		return out;
	else if (seconds < 3600)
		snprintf(out, GW_UNIT_TEXT_BYTES, "%llu m %02llu s",
			 (unsigned long long)seconds / 60, (unsigned long long)seconds % 60);
	else
		snprintf(out, GW_UNIT_TEXT_BYTES, "%llu h %02llu m",
			 (unsigned long long)minutes / 60, (unsigned long long)minutes % 60);
	return out;
}

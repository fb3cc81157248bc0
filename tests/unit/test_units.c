// SPDX-License-Identifier: GPL-2.0-or-later
#include <criterion/criterion.h>
#include <errno.h>
#include <locale.h>

#include "units.h"

#define KIB UINT64_C(1024)
#define MS UINT64_C(1000000)
#define S (1000 * MS)
#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

struct good {
	const char *text;
	uint64_t value;
};

typedef int (*parse_fn)(const char *text, uint64_t *value);

static void check_good(parse_fn parse, const struct good *good, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		uint64_t value = 42;
		const int err = parse(good[i].text, &value);

		cr_assert_eq(err, 0, "\"%s\": %d", good[i].text, err);
		cr_assert_eq(value, good[i].value, "\"%s\": %llu", good[i].text,
			     (unsigned long long)value);
	}
}

static void check_bad(parse_fn parse, int expected, const char *const *bad, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		uint64_t value = 42;
		const int err = parse(bad[i], &value);

		cr_assert_eq(err, expected, "\"%s\": %d", bad[i], err);
		cr_assert_eq(value, 42, "\"%s\" was written", bad[i]);
	}
}

Test(units, bytes_are_read)
{
	static const struct good good[] = {
		{ "0", 0 }, { "1", 1 }, { "007", 7 }, { "4096", 4096 }, { "12B", 12 },
		{ "64K", 64 * KIB }, { "64k", 64 * KIB }, { "64KB", 64 * KIB },
		{ "64KiB", 64 * KIB }, { "64kib", 64 * KIB }, { "1M", KIB * KIB },
		{ "1GiB", KIB * KIB * KIB }, { "3T", 3 * KIB * KIB * KIB * KIB },
		{ "1.5G", 3 * KIB * KIB * KIB / 2 }, { "0.5K", 512 }, { "0.001K", 1 },
		{ "1.999999999K", 2047 }, { "1P", KIB * KIB * KIB * KIB * KIB },
		{ "18446744073709551615", UINT64_MAX },
		{ "16383.999P", UINT64_C(18446742947809644773) },
	};

	check_good(gw_parse_bytes, good, COUNT(good));
}

Test(units, what_is_no_size_is_refused)
{
	static const char *const bad[] = {
		"", " ", " 1", "1 ", "1 K", "-1", "+1", "K", ".5K", "1.", "1.K", "1.5", "1.5B",
		"1..5K", "1,5K", "1e3", "0x10", "1KiBs", "1Ki", "1iB", "1KK", "1K/s", "1BB", "1E",
		"1.1234567890K", "1K\n", "nan", "inf", "\xd9\xa1",
		"99999999999999999999999x",
	};

	check_bad(gw_parse_bytes, -EINVAL, bad, COUNT(bad));
}

Test(units, what_does_not_fit_is_refused)
{
	static const char *const bad[] = {
		"18446744073709551616", "99999999999999999999999999", "16384P",
		"18014398509481984K", "16777216T", "184467440737095516150",
	};

	check_bad(gw_parse_bytes, -ERANGE, bad, COUNT(bad));
}

Test(units, rates_are_sizes_with_or_without_a_time)
{
	static const struct good good[] = {
		{ "0", 0 }, { "100M", 100 * KIB * KIB }, { "100M/s", 100 * KIB * KIB },
		{ "1.5GiB/s", 3 * KIB * KIB * KIB / 2 }, { "7/s", 7 }, { "7B/s", 7 },
	};
	static const char *const bad[] = {
		"", "/s", "1M/", "1M/S", "1M/ms", "1M/s/s", "1M /s", "1Ms", "1Mbit/s",
	};
	static const char *const large[] = { "16384P/s" };

	check_good(gw_parse_rate, good, COUNT(good));
	check_bad(gw_parse_rate, -EINVAL, bad, COUNT(bad));
	check_bad(gw_parse_rate, -ERANGE, large, COUNT(large));
}

Test(units, durations_need_a_unit)
{
	static const struct good good[] = {
		{ "0", 0 }, { "0s", 0 }, { "7ns", 7 }, { "250us", 250000 }, { "300ms", 300 * MS },
		{ "1.5s", 1500 * MS }, { "2m", 120 * S }, { "1h", 3600 * S }, { "0.5m", 30 * S },
		{ "0.000000001s", 1 }, { "0.0000001ms", 0 },
	};
	static const char *const bad[] = {
		"", "1", "300", "1.5", "0.0", "ms", "-1s", "1S", "1MS", "1 s", "1s ", "1sec", "1.5ns",
		"1d", "1.s", "1h30m", "1µs",
	};
	static const char *const large[] = { "18446744073709551616ns", "5124096h", "18446744074s" };

	check_good(gw_parse_duration, good, COUNT(good));
	check_bad(gw_parse_duration, -EINVAL, bad, COUNT(bad));
	check_bad(gw_parse_duration, -ERANGE, large, COUNT(large));
}

Test(units, locale_does_not_matter)
{
	static const struct good good[] = { { "1.5K", 1536 } };

	setlocale(LC_ALL, "de_DE.UTF-8");	/* may not be there: then it is the same test again */
	check_good(gw_parse_bytes, good, 1);
	setlocale(LC_ALL, "C");
}

struct shown {
	uint64_t value;
	const char *text;
};

Test(units, bytes_are_shown)
{
	static const struct shown shown[] = {
		{ 0, "0 B" }, { 1, "1 B" }, { 512, "512 B" }, { 1023, "1023 B" },
		{ 1024, "1.0 KiB" }, { 4096, "4.0 KiB" }, { 102297, "99.9 KiB" },
		{ 102348, "99.9 KiB" }, { 102349, "100 KiB" }, { 102400, "100 KiB" },
		{ 1023 * KIB, "1023 KiB" }, { 1023 * KIB + 511, "1023 KiB" },
		{ 1023 * KIB + 512, "1.0 MiB" }, { 1024 * KIB - 1, "1.0 MiB" },
		{ 3250586, "3.1 MiB" }, { UINT64_MAX, "16.0 EiB" },
	};
	char out[GW_UNIT_TEXT_BYTES];

	for (size_t i = 0; i < COUNT(shown); i++)
		cr_assert_str_eq(gw_format_bytes(out, shown[i].value), shown[i].text, "%llu: %s",
				 (unsigned long long)shown[i].value, out);
}

Test(units, rates_are_shown)
{
	char out[GW_UNIT_TEXT_BYTES];

	cr_assert_str_eq(gw_format_rate(out, 0), "0 B/s");
	cr_assert_str_eq(gw_format_rate(out, 2576980378), "2.4 GiB/s");
}

Test(units, durations_are_shown)
{
	static const struct shown shown[] = {
		{ 0, "0 s" }, { 1, "1 ns" }, { 999, "999 ns" }, { 1000, "1.0 us" },
		{ 999499, "999 us" }, { 999500, "1.0 ms" }, { 9 * MS, "9.0 ms" },
		{ 300 * MS, "300 ms" }, { 999499999, "999 ms" }, { 999500000, "1.0 s" },
		{ 59949 * MS, "59.9 s" }, { 59950 * MS, "1 m 00 s" }, { 125 * S, "2 m 05 s" },
		{ 3599 * S + 499 * MS, "59 m 59 s" }, { 3599 * S + 500 * MS, "1 h 00 m" },
		{ 3900 * S, "1 h 05 m" }, { 7199 * S, "2 h 00 m" },
		{ UINT64_MAX, "5124095 h 35 m" },
	};
	char out[GW_UNIT_TEXT_BYTES];

	for (size_t i = 0; i < COUNT(shown); i++)
		cr_assert_str_eq(gw_format_duration(out, shown[i].value), shown[i].text, "%llu: %s",
				 (unsigned long long)shown[i].value, out);
}

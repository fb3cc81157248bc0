// SPDX-License-Identifier: GPL-2.0-or-later
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "clock.h"
#include "journal.h"

static char dir[] = "/tmp/godwit-journal-XXXXXX";
static char path[64];
static struct gw_diag diag;

static void begin(void)
{
	cr_assert_not_null(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/" GW_JOURNAL_FILE, dir);
}

static void end(void)
{
	unlink(path);
	rmdir(dir);
}

TestSuite(journal, .init = begin, .fini = end);

static struct json_object *numbered(uint64_t number)
{
	struct json_object *const object = json_object_new_object();

	gw_json_put_u64(object, "n", number);
	return object;
}

static void append(struct gw_journal *journal, enum gw_record_type type, uint64_t number)
{
	cr_assert_eq(gw_journal_append(journal, type, numbered(number), &diag), 0, "%s", diag.text);
}

static off_t file_bytes(void)
{
	struct stat st;

	cr_assert_eq(stat(path, &st), 0);
	return st.st_size;
}

/* Writes records as they are told, without the journal's own care. */
static void write_raw_bytes(uint16_t version, uint16_t type, uint64_t seq, const char *payload,
			    size_t payload_bytes)
{
	const struct gw_record record = {
		.version = version,
		.type = type,
		.seq = seq,
		.payload = payload,
		.payload_bytes = (uint32_t)payload_bytes,
	};
	unsigned char bytes[4096];
	const int size = gw_record_encode(&record, bytes, sizeof(bytes));
	const int fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);

	cr_assert(size > 0);
	cr_assert(fd >= 0);
	cr_assert_eq(write(fd, bytes, (size_t)size), size);
	close(fd);
}

static void write_raw(uint16_t version, uint16_t type, uint64_t seq, const char *payload)
{
	write_raw_bytes(version, type, seq, payload, strlen(payload));
}

static void write_bytes(const void *bytes, size_t count)
{
	const int fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);

	cr_assert(fd >= 0);
	cr_assert_eq(write(fd, bytes, count), (ssize_t)count);
	close(fd);
}

struct seen {
	uint64_t count;
	uint64_t numbers[64];
	uint16_t types[64];
	uint64_t wall_ns;
	uint64_t stop_at;		/* the record at which to stop; 0: none */
};

static int look(void *arg, const struct gw_record *record, struct json_object *payload)
{
	struct seen *const seen = arg;

	cr_assert_lt(seen->count, 64);
	cr_assert_eq(record->seq, seen->count);
	seen->types[seen->count] = record->type;
	seen->numbers[seen->count] = UINT64_MAX;
	gw_json_u64(payload, "n", &seen->numbers[seen->count]);
	seen->wall_ns = record->wall_ns;
	seen->count++;
	return seen->stop_at != 0 && seen->count == seen->stop_at ? -ECANCELED : 0;
}

static int each(struct seen *seen, bool *torn)
{
	memset(seen, 0, sizeof(*seen));
	gw_diag_clear(&diag);
	return gw_journal_each(dir, look, seen, torn, &diag);
}

Test(journal, records_come_back_in_order)
{
	const uint64_t before_ns = gw_wall_ns();
	struct gw_journal *journal;
	struct seen seen;
	bool torn = true;

	cr_assert_eq(gw_journal_create(&journal, dir, &diag), 0);
	append(journal, GW_RECORD_STARTED, 11);
	append(journal, GW_RECORD_ROUND, UINT64_MAX - 1);
	cr_assert_eq(gw_journal_append(journal, GW_RECORD_COMMIT, NULL, &diag), 0);
	cr_assert_eq(gw_journal_sync(journal, &diag), 0);
	cr_assert_eq(each(&seen, &torn), 0);
	cr_assert_eq(seen.count, 3);
	cr_assert_eq(seen.types[1], GW_RECORD_ROUND);
	cr_assert_eq(seen.numbers[0], 11);
	cr_assert_eq(seen.numbers[1], UINT64_MAX - 1);
	cr_assert_eq(seen.numbers[2], UINT64_MAX);	/* absent */
	cr_assert_geq(seen.wall_ns, before_ns);
	cr_assert_not(torn);
	gw_journal_close(journal);
	cr_assert_eq(gw_journal_each(path, look, &(struct seen){ 0 }, NULL, NULL), 0);
}

Test(journal, space_is_reserved_and_not_shown)
{
	struct gw_journal *journal;
	struct stat st;

	cr_assert_eq(gw_journal_create(&journal, dir, &diag), 0);
	cr_assert_eq(stat(path, &st), 0);
	cr_assert_eq(st.st_size, 0);
	cr_assert_geq((uint64_t)st.st_blocks * 512, GW_JOURNAL_RESERVE_BYTES);
	gw_journal_close(journal);
}

Test(journal, reservation_grows_with_the_file)
{
	struct gw_journal *journal;
	struct stat st;

	cr_assert_eq(gw_journal_create(&journal, dir, &diag), 0);
	do {
		struct json_object *const object = json_object_new_object();
		static char text[60000];

		memset(text, 'x', sizeof(text) - 1);
		gw_json_put_string(object, "text", text);
		cr_assert_eq(gw_journal_append(journal, GW_RECORD_NOTE, object, &diag), 0);
		cr_assert_eq(stat(path, &st), 0);
		cr_assert_geq((uint64_t)st.st_blocks * 512, (uint64_t)st.st_size + (1 << 20) - 4096);
	} while (st.st_size < 9 << 20);
	gw_journal_close(journal);
}

Test(journal, a_long_one_takes_only_what_is_needed)
{
	struct gw_journal_state state = { 0 };
	struct gw_journal *journal;
	struct json_object *final;
	uint64_t long_bytes;
	static char text[65000];

	memset(text, 'x', sizeof(text) - 1);
	cr_assert_eq(gw_journal_create(&journal, dir, &diag), 0);
	append(journal, GW_RECORD_STARTED, 1);
	while (gw_journal_bytes(journal) < GW_JOURNAL_LONG_BYTES) {
		struct json_object *const object = json_object_new_object();

		gw_json_put_string(object, "text", text);
		cr_assert_eq(gw_journal_append(journal, GW_RECORD_SUSPECT, object, &diag), 0);
	}
	append(journal, GW_RECORD_ROUND, 1);
	long_bytes = gw_journal_bytes(journal);
	for (uint64_t i = 0; i < 1000; i++) {
		append(journal, GW_RECORD_ROUND, i);
		append(journal, GW_RECORD_SETTLED, i);
	}
	cr_assert_eq(gw_journal_bytes(journal), long_bytes);
	final = json_object_new_object();
	gw_json_put_bool(final, "final", true);
	cr_assert_eq(gw_journal_append(journal, GW_RECORD_ROUND, final, &diag), 0);
	cr_assert_gt(gw_journal_bytes(journal), long_bytes);
	append(journal, GW_RECORD_QUIESCING, 1);
	append(journal, GW_RECORD_COMMIT, 1);
	cr_assert_eq(gw_journal_sync(journal, &diag), 0);
	gw_journal_close(journal);
	cr_assert_eq(gw_journal_read_state(dir, &state, &diag), 0);
	cr_assert(state.has_commit);
	cr_assert(state.has_quiescing);
	gw_journal_state_fini(&state);
}

Test(journal, an_old_journal_is_not_overwritten)
{
	struct gw_journal *journal;

	cr_assert_eq(gw_journal_create(&journal, dir, &diag), 0);
	append(journal, GW_RECORD_STARTED, 1);
	gw_journal_close(journal);
	cr_assert_eq(gw_journal_create(&journal, dir, &diag), -EEXIST);
	cr_assert_null(journal);
	cr_assert_eq(diag.exit_code, GW_EXIT_CANNOT);
	cr_assert_eq(file_bytes(), 48);
}

Test(journal, none_there)
{
	struct gw_journal *journal;
	struct gw_journal_state state;
	struct seen seen;

	cr_assert_eq(gw_journal_open(&journal, dir, &diag), -ENOENT);
	cr_assert_null(journal);
	cr_assert_eq(each(&seen, NULL), -ENOENT);
	cr_assert_eq(gw_journal_read_state(dir, &state, NULL), -ENOENT);
	cr_assert_eq(gw_journal_open(&journal, "/nonexistent/dir", NULL), -ENOENT);
	cr_assert_eq(gw_journal_create(&journal, "/nonexistent/dir", NULL), -ENOENT);
}

Test(journal, no_regular_file)
{
	struct seen seen;

	cr_assert_eq(mkfifo(path, 0600), 0);
	cr_assert_eq(each(&seen, NULL), -EINVAL);
	cr_assert_eq(diag.exit_code, GW_EXIT_CANNOT);
}

Test(journal, is_continued_where_it_ended)
{
	struct gw_journal *journal;
	struct seen seen;

	cr_assert_eq(gw_journal_create(&journal, dir, &diag), 0);
	append(journal, GW_RECORD_STARTED, 1);
	gw_journal_close(journal);
	cr_assert_eq(gw_journal_open(&journal, dir, &diag), 0);
	append(journal, GW_RECORD_CONTINUED, 2);
	gw_journal_close(journal);
	cr_assert_eq(each(&seen, NULL), 0);
	cr_assert_eq(seen.count, 2);
	cr_assert_eq(seen.numbers[1], 2);
}

static void remember(void *arg, enum gw_level level, const char *text)
{
	char *const kept = arg;

	if (level == GW_WARNING)
		snprintf(kept, 256, "%s", text);
}

Test(journal, torn_tail_is_ignored_then_cut_and_both_said)
{
	char said[256] = "";
	struct gw_journal *journal;
	struct seen seen;
	bool torn = false;

	write_raw(1, GW_RECORD_STARTED, 0, "{\"n\":1}");
	write_raw(1, GW_RECORD_ROUND, 1, "{\"n\":2}");
	cr_assert_eq(truncate(path, file_bytes() - 1), 0);
	diag.fn = remember;
	diag.arg = said;
	cr_assert_eq(each(&seen, &torn), 0);
	cr_assert_eq(seen.count, 1);
	cr_assert(torn);
	cr_assert_neq(said[0], '\0');
	said[0] = '\0';
	cr_assert_eq(gw_journal_open(&journal, dir, &diag), 0);
	cr_assert_neq(said[0], '\0');
	cr_assert_eq(file_bytes(), 48);
	append(journal, GW_RECORD_CONTINUED, 3);
	gw_journal_close(journal);
	cr_assert_eq(each(&seen, &torn), 0);
	cr_assert_eq(seen.count, 2);
	cr_assert_eq(seen.numbers[1], 3);
	cr_assert_not(torn);
}

Test(journal, zeroes_or_garbage_behind_the_last_record_are_a_torn_tail)
{
	static const char garbage[100000] = { 1, 2, 3, [4096] = 'G', 'W', 'R', 'J', 1, [99999] = 9 };
	static const char zeroes[8192];
	bool torn = false;
	struct seen seen;

	write_raw(1, GW_RECORD_STARTED, 0, "{\"n\":1}");
	write_bytes(zeroes, sizeof(zeroes));
	cr_assert_eq(each(&seen, &torn), 0);
	cr_assert(torn);
	write_bytes(garbage, sizeof(garbage));
	torn = false;
	cr_assert_eq(each(&seen, &torn), 0);
	cr_assert(torn);
	cr_assert_eq(seen.count, 1);
	/* But with one whole record behind them they are damage. */
	write_bytes(zeroes, 8 - (size_t)(file_bytes() % 8));
	write_raw(1, GW_RECORD_ROUND, 7, "{}");
	cr_assert_eq(each(&seen, &torn), -EBADMSG);
}

Test(journal, damage_before_the_tail_is_refused_and_left_as_it_is)
{
	struct gw_journal *journal;
	struct seen seen;

	write_raw(1, GW_RECORD_STARTED, 0, "{\"n\":1}");
	write_raw(1, GW_RECORD_ROUND, 1, "{\"n\":2}");
	write_bytes("GWRJ\1\0\3\0garbage", 16);
	write_raw(1, GW_RECORD_ROUND, 2, "{\"n\":3}");
	cr_assert_eq(each(&seen, NULL), -EBADMSG);
	cr_assert_eq(diag.exit_code, GW_EXIT_UNCLEAR);
	cr_assert_eq(seen.count, 2);	/* those before it were shown */
	gw_diag_clear(&diag);
	cr_assert_eq(gw_journal_open(&journal, dir, &diag), -EBADMSG);
	cr_assert_null(journal);
	cr_assert_eq(diag.exit_code, GW_EXIT_UNCLEAR);
	cr_assert_eq(file_bytes(), 48 + 48 + 16 + 48);
}

Test(journal, sequence_must_have_no_gap_and_no_repeat)
{
	static const uint64_t wrong[] = { 0, 2, 3, UINT64_MAX };
	struct seen seen;

	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		unlink(path);
		write_raw(1, GW_RECORD_STARTED, 0, "{}");
		write_raw(1, GW_RECORD_ROUND, wrong[i], "{}");
		cr_assert_eq(each(&seen, NULL), -EBADMSG);
		cr_assert_eq(seen.count, 1);
	}
	unlink(path);
	write_raw(1, GW_RECORD_STARTED, 1, "{}");
	cr_assert_eq(each(&seen, NULL), -EBADMSG);
}

Test(journal, newer_version_is_refused_with_its_own_exit_code)
{
	struct gw_journal *journal;
	struct seen seen;

	write_raw(1, GW_RECORD_STARTED, 0, "{}");
	write_raw(2, GW_RECORD_ROUND, 1, "{}");
	cr_assert_eq(each(&seen, NULL), -EPROTO);
	cr_assert_eq(diag.exit_code, GW_EXIT_CANNOT);
	cr_assert_eq(gw_journal_open(&journal, dir, &diag), -EPROTO);
	cr_assert_eq(file_bytes(), 48 + 48);
}

Test(journal, newer_record_behind_damage_makes_it_no_torn_tail)
{
	struct seen seen;

	write_raw(1, GW_RECORD_STARTED, 0, "{}");
	write_bytes("GWRJ\1\0\3\0garbage", 16);
	write_raw(2, GW_RECORD_ROUND, 1, "{}");
	cr_assert_eq(each(&seen, NULL), -EBADMSG);
}

Test(journal, foreign_file_is_no_torn_journal)
{
	struct gw_journal *journal;
	struct seen seen;

	write_bytes("#!/bin/sh\n", 10);
	cr_assert_eq(each(&seen, NULL), -EBADMSG);
	cr_assert_eq(gw_journal_open(&journal, dir, &diag), -EBADMSG);
	cr_assert_eq(file_bytes(), 10);
}

Test(journal, payload_must_be_one_object_and_nothing_else)
{
	static const char *const bad[] = {
		"", "[]", "1", "\"a\"", "null", "{", "{}{}", "{}x", "{\"a\":}", "{\"a\":01}",
		"{\"a\":[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]}", "{\"a\":1,}", "/* */{}",
	};
	struct seen seen;

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		unlink(path);
		write_raw(1, GW_RECORD_STARTED, 0, bad[i]);
		cr_assert_eq(each(&seen, NULL), -EBADMSG, "%s", bad[i]);
	}
	unlink(path);
	write_raw_bytes(1, GW_RECORD_STARTED, 0, "{}\0x", 4);
	cr_assert_eq(each(&seen, NULL), -EBADMSG);
	unlink(path);
	write_raw(1, GW_RECORD_STARTED, 0, "{\"a\":[[[[[[[[1]]]]]]]],\"n\":18446744073709551615}");
	cr_assert_eq(each(&seen, NULL), 0);
	cr_assert_eq(seen.numbers[0], UINT64_MAX);
}

Test(journal, unknown_type_is_shown)
{
	struct seen seen;

	write_raw(1, GW_RECORD_STARTED, 0, "{}");
	write_raw(1, 999, 1, "{}");
	cr_assert_eq(each(&seen, NULL), 0);
	cr_assert_eq(seen.count, 2);
	cr_assert_eq(seen.types[1], 999);
}

Test(journal, reader_may_stop)
{
	struct seen seen = { .stop_at = 2 };

	for (uint64_t seq = 0; seq < 5; seq++)
		write_raw(1, GW_RECORD_NOTE, seq, "{}");
	cr_assert_eq(gw_journal_each(dir, look, &seen, NULL, &diag), -ECANCELED);
	cr_assert_eq(seen.count, 2);
	cr_assert_not(diag.failed);
}

Test(journal, payload_too_long_is_refused_and_nothing_stays)
{
	static char text[GW_RECORD_PAYLOAD_BYTES_MAX + 1];
	struct json_object *object = json_object_new_object();
	struct gw_journal *journal;

	memset(text, 'x', sizeof(text) - 1);
	gw_json_put_string(object, "text", text);
	cr_assert_eq(gw_journal_create(&journal, dir, &diag), 0);
	cr_assert_eq(gw_journal_append(journal, GW_RECORD_NOTE, object, &diag), -EMSGSIZE);
	cr_assert_eq(diag.err, -EMSGSIZE);
	cr_assert_eq(file_bytes(), 0);
	/* The longest that fits: {"text":"..."} are 11 bytes more than the text. */
	text[GW_RECORD_PAYLOAD_BYTES_MAX - 11] = '\0';
	object = json_object_new_object();
	gw_json_put_string(object, "text", text);
	cr_assert_eq(gw_journal_append(journal, GW_RECORD_NOTE, object, &diag), 0);
	gw_journal_close(journal);
	cr_assert_eq(gw_journal_each(dir, look, &(struct seen){ 0 }, NULL, NULL), 0);
}

Test(journal, second_writer_is_noticed)
{
	struct gw_journal *first, *second;
	struct seen seen;

	cr_assert_eq(gw_journal_create(&first, dir, &diag), 0);
	append(first, GW_RECORD_STARTED, 1);
	cr_assert_eq(gw_journal_open(&second, dir, &diag), 0);
	append(second, GW_RECORD_CLEANED, 2);
	cr_assert_eq(gw_journal_append(first, GW_RECORD_ROUND, numbered(3), &diag), -EBUSY);
	cr_assert_eq(gw_journal_retract(first, &diag), -EBUSY);
	gw_journal_close(first);
	gw_journal_close(second);
	cr_assert_eq(each(&seen, NULL), 0);
	cr_assert_eq(seen.count, 2);
	cr_assert_eq(seen.numbers[1], 2);
}

Test(journal, last_record_can_be_retracted_and_no_other)
{
	struct gw_journal *journal;
	struct seen seen;

	cr_assert_eq(gw_journal_create(&journal, dir, &diag), 0);
	append(journal, GW_RECORD_STARTED, 1);
	append(journal, GW_RECORD_COMMIT, 2);
	cr_assert_eq(gw_journal_retract(journal, &diag), 0);
	cr_assert_eq(file_bytes(), 48);
	cr_assert_eq(gw_journal_retract(journal, &diag), 0);
	cr_assert_eq(file_bytes(), 48);
	append(journal, GW_RECORD_RESUMED, 3);
	gw_journal_close(journal);
	cr_assert_eq(each(&seen, NULL), 0);
	cr_assert_eq(seen.count, 2);
	cr_assert_eq(seen.types[1], GW_RECORD_RESUMED);
}

/* The commit was never there: what was appended before it stays. */
Test(journal, after_a_failed_append_nothing_is_retracted)
{
	static char text[GW_RECORD_PAYLOAD_BYTES_MAX + 1];
	struct json_object *const object = json_object_new_object();
	struct gw_journal *journal;

	memset(text, 'x', sizeof(text) - 1);
	gw_json_put_string(object, "text", text);
	cr_assert_eq(gw_journal_create(&journal, dir, &diag), 0);
	append(journal, GW_RECORD_STARTED, 1);
	cr_assert_eq(gw_journal_append(journal, GW_RECORD_COMMIT, object, &diag), -EMSGSIZE);
	cr_assert_eq(gw_journal_retract(journal, &diag), 0);
	cr_assert_eq(file_bytes(), 48);
	gw_journal_close(journal);
}

Test(journal, close_of_nothing)
{
	gw_journal_close(NULL);
}

Test(journal, json_is_read_with_care)
{
	struct json_object *const object = json_tokener_parse(
		"{\"max\":18446744073709551615,\"zero\":0,\"negative\":-1,\"half\":0.5,"
		"\"text\":\"7\",\"yes\":true,\"null\":null,\"list\":[1],\"huge\":1e999}");
	uint64_t number = 42;
	double real = 42;
	bool boolean = true;

	cr_assert(gw_json_u64(object, "max", &number));
	cr_assert_eq(number, UINT64_MAX);
	cr_assert(gw_json_u64(object, "zero", &number));
	cr_assert_eq(number, 0);
	number = 42;
	cr_assert_not(gw_json_u64(object, "negative", &number));
	cr_assert_not(gw_json_u64(object, "half", &number));
	cr_assert_not(gw_json_u64(object, "text", &number));
	cr_assert_not(gw_json_u64(object, "yes", &number));
	cr_assert_not(gw_json_u64(object, "null", &number));
	cr_assert_not(gw_json_u64(object, "absent", &number));
	cr_assert_not(gw_json_u64(NULL, "max", &number));
	cr_assert_eq(number, 42);
	cr_assert(gw_json_double(object, "half", &real));
	cr_assert_eq(real, 0.5);
	cr_assert(gw_json_double(object, "negative", &real));
	cr_assert_eq(real, -1);
	cr_assert_not(gw_json_double(object, "huge", &real));
	cr_assert_not(gw_json_double(object, "text", &real));
	cr_assert_eq(real, -1);
	cr_assert_not(gw_json_bool(object, "zero", &boolean));
	cr_assert_not(gw_json_bool(object, "absent", &boolean));
	cr_assert(boolean);
	cr_assert(gw_json_bool(object, "yes", &boolean));
	cr_assert_str_eq(gw_json_string(object, "text"), "7");
	cr_assert_null(gw_json_string(object, "max"));
	cr_assert_null(gw_json_string(object, "null"));
	cr_assert_null(gw_json_string(object, "absent"));
	json_object_put(object);
}

Test(journal, json_is_written_so_that_it_can_be_read)
{
	struct json_object *const object = json_object_new_object();
	double real = 0;

	gw_json_put_double(object, "third", 1.0 / 3);
	gw_json_put_double(object, "infinite", INFINITY);
	gw_json_put_bool(object, "no", false);
	gw_json_put_u64(object, "max", UINT64_MAX);
	cr_assert(gw_json_double(object, "third", &real));
	cr_assert_eq(real, 1.0 / 3);
	cr_assert_not(gw_json_double(object, "infinite", &real));
	cr_assert_not_null(strstr(json_object_to_json_string(object), "18446744073709551615"));
	cr_assert_null(strstr(json_object_to_json_string(object), "nfinity"));
	json_object_put(object);
}

/* ---- state: each story is a list of types; payloads carry what is looked at ---- */

static void tell(const uint16_t *types, size_t count)
{
	unlink(path);
	for (size_t i = 0; i < count; i++) {
		const char *payload = "{}";

		if (types[i] == GW_RECORD_STARTED)
			payload = "{\"handoff\":\"freeze\",\"name\":\"x\"}";
		if (types[i] == GW_RECORD_QUIESCING)
			payload = "{\"handoff\":\"exec\",\"recovery\":\"r\"}";
		if (types[i] == GW_RECORD_ENDED)
			payload = "{\"exit_code\":5}";
		write_raw(1, types[i], i, payload);
	}
}

#define TELL(...) tell((const uint16_t[]){ __VA_ARGS__ }, \
		       sizeof((const uint16_t[]){ __VA_ARGS__ }) / sizeof(uint16_t))
enum { S = GW_RECORD_STARTED, C = GW_RECORD_CONTINUED, Q = GW_RECORD_QUIESCING,
       K = GW_RECORD_COMMIT, W = GW_RECORD_SWITCHED, R = GW_RECORD_RESUMED, E = GW_RECORD_ENDED,
       N = GW_RECORD_NOTE };

static void check_state(const char *expected)
{
	struct gw_journal_state state;
	char flags[8];

	cr_assert_eq(gw_journal_read_state(dir, &state, &diag), 0, "%s", diag.text);
	snprintf(flags, sizeof(flags), "%c%c%c%c%c%c", state.has_started ? 'S' : '-',
		 state.has_quiescing ? 'Q' : '-', state.has_commit ? 'K' : '-',
		 state.has_switched ? 'W' : '-', state.has_resumed ? 'R' : '-',
		 state.has_ended ? 'E' : '-');
	cr_assert_str_eq(flags, expected, "%s, not %s", flags, expected);
	cr_assert_eq(state.exit_code, state.has_ended ? 5 : 0);
	gw_journal_state_fini(&state);
}

Test(journal, state_of_a_plain_story)
{
	tell(NULL, 0);
	write_bytes("", 0);
	check_state("------");
	TELL(S);
	check_state("S-----");
	TELL(S, N, Q);
	check_state("SQ----");
	TELL(S, Q, K);
	check_state("SQK---");
	TELL(S, Q, K, W);
	check_state("SQKW--");
	TELL(S, Q, K, W, R);
	check_state("S-KWR-");
	TELL(S, Q, K, W, R, E);
	check_state("S-KWRE");
}

Test(journal, state_of_a_story_that_went_back)
{
	TELL(S, Q, R);
	check_state("S-----");
	TELL(S, Q, R, E);
	check_state("S----E");
	TELL(S, Q, R, E, C);
	check_state("S-----");
	TELL(S, Q, C);
	check_state("S-----");
	TELL(S, Q, C, Q);
	check_state("SQ----");
}

/* Whoever wrote these: the commit is never forgotten, and what preceded it does not count as after. */
Test(journal, state_of_hostile_stories)
{
	TELL(W, R, K);
	check_state("--K---");
	TELL(S, Q, K, C);
	check_state("SQK---");
	TELL(S, Q, K, S);
	check_state("SQK---");
	TELL(E, Q, K);
	check_state("-QK--E");
	TELL(R, R, Q, Q);
	check_state("-Q----");
}

Test(journal, state_keeps_the_payloads)
{
	struct gw_journal_state state;

	TELL(S, C);
	cr_assert_eq(gw_journal_read_state(dir, &state, NULL), 0);
	cr_assert_str_eq(state.handoff, "freeze");
	cr_assert_str_eq(gw_json_string(state.started, "name"), "x");
	cr_assert_not_null(state.continued);
	cr_assert_null(state.quiescing);
	gw_journal_state_fini(&state);
	TELL(S, Q, R);
	cr_assert_eq(gw_journal_read_state(dir, &state, NULL), 0);
	cr_assert_str_eq(state.handoff, "exec");
	cr_assert_str_eq(gw_json_string(state.quiescing, "recovery"), "r");
	cr_assert_null(state.continued);
	gw_journal_state_fini(&state);
	gw_journal_state_fini(&state);
}

/* Until it is restored, whatever else happens, an end included. */
Test(journal, state_knows_of_a_limit_that_is_still_set)
{
	static const char step[] = "{\"limit_bytes_per_s\":7}", end[] = "{\"restored\":true}";
	struct gw_journal_state state;
	uint64_t limit = 0;

	TELL(S);
	write_raw(1, GW_RECORD_THROTTLED, 1, "{\"limit_bytes_per_s\":9}");
	write_raw(1, GW_RECORD_THROTTLED, 2, step);
	write_raw(1, C, 3, "{}");
	write_raw(1, E, 4, "{\"exit_code\":4}");
	cr_assert_eq(gw_journal_read_state(dir, &state, NULL), 0);
	cr_assert(gw_json_u64(state.throttled, "limit_bytes_per_s", &limit));
	cr_assert_eq(limit, 7);
	gw_journal_state_fini(&state);
	write_raw(1, GW_RECORD_THROTTLED, 5, end);
	cr_assert_eq(gw_journal_read_state(dir, &state, NULL), 0);
	cr_assert_null(state.throttled);
	gw_journal_state_fini(&state);
}

Test(journal, state_of_a_damaged_journal_is_none)
{
	struct gw_journal_state state;

	TELL(S, Q);
	write_raw(1, K, 7, "{}");
	cr_assert_eq(gw_journal_read_state(dir, &state, NULL), -EBADMSG);
	cr_assert_not(state.has_started);
	cr_assert_null(state.started);
}

Test(journal, end_without_a_code_is_unclear)
{
	struct gw_journal_state state;

	write_raw(1, E, 0, "{\"exit_code\":\"none\"}");
	cr_assert_eq(gw_journal_read_state(dir, &state, NULL), 0);
	cr_assert_eq(state.exit_code, GW_EXIT_UNCLEAR);
	gw_journal_state_fini(&state);
}

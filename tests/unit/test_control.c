// SPDX-License-Identifier: GPL-2.0-or-later
#include "control.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "jsonkeys.h"

static struct gw_control_request request;
static struct gw_control_refusal refusal;

static int parse(const char *line)
{
	return gw_control_parse(&request, line, strlen(line), &refusal);
}

/* Refused for this reason, in words that hold this. */
static void expect_refused(const char *line, enum gw_control_error error, const char *words)
{
	cr_expect(parse(line) == -EINVAL, "%s", line);
	cr_expect(refusal.error == error, "%s: %s", line, gw_control_error_name(refusal.error));
	cr_expect(strstr(refusal.text, words) != NULL, "%s: %s", line, refusal.text);
}

Test(control, a_request_is_read)
{
	cr_assert(parse("{\"schema_version\":1,\"id\":7,\"command\":\"set\",\"max_rounds\":0,"
			"\"downtime_limit_ns\":1000000}") == 0, "%s", refusal.text);
	cr_expect(request.command == GW_CONTROL_SET);
	cr_expect_str_eq(request.id, "7");
	cr_expect(request.set.mask == (1u << GW_CONTROL_MAX_ROUNDS | 1u << GW_CONTROL_DOWNTIME_LIMIT));
	cr_expect(request.set.value[GW_CONTROL_DOWNTIME_LIMIT] == 1000000);
	cr_expect(request.set.value[GW_CONTROL_MAX_ROUNDS] == 0);
}

Test(control, what_there_is_can_be_asked_without_knowing_a_version)
{
	cr_expect(parse("{\"list\": {}}") == 0);
	cr_expect(request.command == GW_CONTROL_LIST);
	cr_expect(parse("{\"command\":\"list\"}") == 0);
	expect_refused("{\"command\":\"status\"}", GW_CONTROL_BAD_VERSION, "missing");
	expect_refused("{\"schema_version\":2,\"command\":\"status\"}", GW_CONTROL_BAD_VERSION,
		       "must be 1");
}

Test(control, what_is_wrong_is_named)
{
	expect_refused("", GW_CONTROL_BAD_MESSAGE, "ends inside");
	expect_refused("{\"schema_version\":1,\"comm", GW_CONTROL_BAD_MESSAGE, "ends inside");
	expect_refused("hello", GW_CONTROL_BAD_MESSAGE, "no JSON");
	expect_refused("[1]", GW_CONTROL_BAD_MESSAGE, "no JSON object");
	expect_refused("{\"list\":1} {\"list\":1}", GW_CONTROL_BAD_MESSAGE, "no JSON");
	expect_refused("{\"list\":\"\xff\"}", GW_CONTROL_BAD_MESSAGE, "no JSON");
	expect_refused("{\"command\":\"list\\u0000\"}", GW_CONTROL_BAD_MESSAGE, "zero");
	expect_refused("{\"list\":[[[[[[[[[[1]]]]]]]]]]}", GW_CONTROL_BAD_MESSAGE, "no JSON");
	expect_refused("{\"schema_version\":1}", GW_CONTROL_BAD_MESSAGE, "\"command\" is missing");
	expect_refused("{\"schema_version\":1,\"command\":\"fly\"}", GW_CONTROL_UNKNOWN_COMMAND,
		       "\"fly\"");
	expect_refused("{\"schema_version\":1,\"command\":3}", GW_CONTROL_BAD_ARGUMENT, "command");
	expect_refused("{\"schema_version\":1,\"command\":\"status\",\"colour\":1}",
		       GW_CONTROL_BAD_ARGUMENT, "\"colour\"");
	expect_refused("{\"schema_version\":1,\"command\":\"pause\",\"max_rounds\":1}",
		       GW_CONTROL_BAD_ARGUMENT, "\"set\" only");
	expect_refused("{\"schema_version\":1,\"command\":\"set\"}", GW_CONTROL_BAD_ARGUMENT,
		       "needs a setting");
	expect_refused("{\"schema_version\":1,\"command\":\"set\",\"max_rounds\":\"1\"}",
		       GW_CONTROL_BAD_ARGUMENT, "no integer");
	expect_refused("{\"schema_version\":1,\"id\":{},\"command\":\"status\"}",
		       GW_CONTROL_BAD_ARGUMENT, "\"id\"");
}

Test(control, a_guard_is_a_text)
{
	cr_assert(parse("{\"schema_version\":1,\"command\":\"set\",\"guard\":\"p99=2ms\"}") == 0);
	cr_expect(request.set.mask == 1u << GW_CONTROL_GUARD);
	cr_expect_str_eq(request.set.guard, "p99=2ms");
	expect_refused("{\"schema_version\":1,\"command\":\"set\",\"guard\":\"\"}",
		       GW_CONTROL_BAD_ARGUMENT, "guard");
	expect_refused("{\"schema_version\":1,\"command\":\"set\",\"guard\":2}",
		       GW_CONTROL_BAD_ARGUMENT, "guard");
	expect_refused("{\"schema_version\":1,\"command\":\"set\",\"guard\":"
		       "\"1234567890123456789012345678901234567890123456789012345678901234\"}",
		       GW_CONTROL_BAD_ARGUMENT, "1 to 63");
}

Test(control, a_flag_is_true_or_false)
{
	struct gw_control_values values = { 0 };
	struct json_object *object = json_object_new_object();

	cr_assert(parse("{\"schema_version\":1,\"command\":\"set\",\"throttle_writers\":false}") == 0);
	cr_expect(request.set.mask == 1u << GW_CONTROL_THROTTLE_WRITERS);
	cr_expect(request.set.value[GW_CONTROL_THROTTLE_WRITERS] == 0);
	/* By way of a record, and of a client's request. */
	gw_control_put_values(object, &request.set);
	gw_control_take_values(object, &values);
	cr_expect(values.mask == request.set.mask);
	json_object_put(object);
	cr_assert(parse("{\"schema_version\":1,\"command\":\"set\",\"throttle_writers\":true}") == 0);
	object = gw_control_request_json(&request);
	cr_assert(parse(json_object_to_json_string(object)) == 0);
	cr_expect(request.set.value[GW_CONTROL_THROTTLE_WRITERS] == 1);
	json_object_put(object);
	expect_refused("{\"schema_version\":1,\"command\":\"set\",\"throttle_writers\":0}",
		       GW_CONTROL_BAD_ARGUMENT, "neither true nor false");
}

Test(control, out_of_range_is_refused_with_the_range)
{
	static const char *const values[] = {
		"\"downtime_limit_ns\":999999", "\"downtime_limit_ns\":3600000000001",
		"\"downtime_limit_ns\":0", "\"downtime_limit_ns\":-1",
		"\"bandwidth_bytes_per_s\":4095", "\"max_rounds\":1000001",
	};
	char line[256];

	for (size_t i = 0; i < sizeof(values) / sizeof(values[0]); i++) {
		snprintf(line, sizeof(line), "{\"schema_version\":1,\"command\":\"set\",%s}",
			 values[i]);
		expect_refused(line, GW_CONTROL_OUT_OF_RANGE, " to ");
	}
	expect_refused("{\"schema_version\":1,\"id\":\"x\",\"command\":\"set\",\"max_rounds\":-3}",
		       GW_CONTROL_OUT_OF_RANGE, "1 to 1000000, or 0");
	cr_expect_str_eq(refusal.id, "\"x\"", "the refusal repeats the id");
	/* What no 64 bits hold is no number for json-c from 0.18 on, and the greatest one before. */
	cr_expect(parse("{\"schema_version\":1,\"command\":\"set\","
			"\"downtime_limit_ns\":99999999999999999999999}") == -EINVAL);
	cr_expect(refusal.error == GW_CONTROL_OUT_OF_RANGE || refusal.error == GW_CONTROL_BAD_MESSAGE);
}

Test(control, a_line_may_come_in_pieces_and_one_too_long_is_said_once)
{
	static struct gw_control_reader reader;
	static char bytes[GW_CONTROL_REQUEST_BYTES_MAX + 1];
	size_t taken;

	cr_expect(gw_control_read(&reader, "ab", 2, &taken) == GW_CONTROL_GOT_NOTHING);
	cr_expect(gw_control_read(&reader, "c\nde", 4, &taken) == GW_CONTROL_GOT_LINE);
	cr_expect(taken == 2);
	cr_expect(reader.used_bytes == 3);
	cr_expect(memcmp(reader.line, "abc", 3) == 0);
	gw_control_next_line(&reader);
	memset(bytes, 'x', sizeof(bytes));
	cr_expect(gw_control_read(&reader, bytes, sizeof(bytes) - 1, &taken) ==
		  GW_CONTROL_GOT_NOTHING, "the longest that there may be");
	cr_expect(gw_control_read(&reader, bytes, 1, &taken) == GW_CONTROL_GOT_TOO_LONG);
	cr_expect(gw_control_read(&reader, bytes, sizeof(bytes), &taken) ==
		  GW_CONTROL_GOT_NOTHING, "once");
	cr_expect(gw_control_read(&reader, "x\nnext\n", 7, &taken) == GW_CONTROL_GOT_NOTHING);
	cr_expect(taken == 2);
	cr_expect(gw_control_read(&reader, "next\n", 5, &taken) == GW_CONTROL_GOT_LINE);
	cr_expect(reader.used_bytes == 4);
}

Test(control, until_the_commit_it_can_be_cancelled_and_never_after)
{
	for (int i = 0; i < GW_CONTROL_STATES; i++) {
		const enum gw_control_state state = (enum gw_control_state)i;

		cr_expect(gw_control_is_possible(state, GW_CONTROL_CANCEL) ==
			  (state < GW_CONTROL_COMMITTED), "%s", gw_control_state_name(state));
		cr_expect(gw_control_is_possible(state, GW_CONTROL_STATUS));
		cr_expect(gw_control_is_possible(state, GW_CONTROL_LIST));
		cr_expect(gw_control_is_possible(state, GW_CONTROL_WATCH));
		if (state >= GW_CONTROL_QUIESCED)
			cr_expect(!gw_control_is_possible(state, GW_CONTROL_PAUSE));
	}
}

Test(control, a_refusal_by_state_names_it_and_what_is_possible)
{
	cr_assert(parse("{\"schema_version\":1,\"id\":3,\"command\":\"pause\"}") == 0);
	cr_expect(gw_control_check_state(&request, GW_CONTROL_BASE, &refusal) == 0);
	cr_expect(gw_control_check_state(&request, GW_CONTROL_QUIESCED, &refusal) == -EPERM);
	cr_expect(refusal.error == GW_CONTROL_WRONG_STATE);
	cr_expect_str_eq(refusal.id, "3");
	cr_expect(strstr(refusal.text, "quiesced") != NULL);
	cr_expect(strstr(refusal.text, "list, status, watch, cancel") != NULL, "%s", refusal.text);
}

/* Texts full of what JSON has to escape. */
static void fill(char *text, size_t bytes)
{
	memset(text, '\x01', bytes - 1);
	text[bytes - 1] = '\0';
}

Test(control, the_longest_messages_fit)
{
	static struct gw_control_status status = { .state = GW_CONTROL_BASE, .pid = 4194304 };
	static char out[GW_CONTROL_MESSAGE_BYTES_MAX];
	char text[GW_CONTROL_TEXT_BYTES];

	fill(status.name, sizeof(status.name));
	fill(status.source, sizeof(status.source));
	fill(status.target, sizeof(status.target));
	fill(status.state_dir, sizeof(status.state_dir));
	fill(status.decision, sizeof(status.decision));
	fill(text, sizeof(text));
	fill(status.settings.guard, sizeof(status.settings.guard));
	fill(status.throttle.cgroup, sizeof(status.throttle.cgroup));
	status.throttle.is_there = true;
	status.throttle.limit_bytes_per_s = status.throttle.former_bytes_per_s = INT64_MAX;
	status.throttle.throttled_ns = INT64_MAX;
	status.settings.mask = (1u << GW_CONTROL_SETTINGS) - 1;
	memset(status.settings.value, 0x7f, sizeof(status.settings.value));
	memset(&status.progress, 0x7f, sizeof(status.progress));
	status.progress.phase = GW_PHASE_QUIESCED;
	cr_expect(gw_control_write(gw_control_status_json("", &status), out, sizeof(out)) > 0);
	cr_expect(gw_control_write(gw_control_list_json(""), out, sizeof(out)) > 0);
	cr_expect(gw_control_write(gw_control_message_event(GW_MESSAGE_NOTE, text), out,
				   sizeof(out)) > 0);
	cr_expect(gw_control_write(gw_control_ended_event(7, text), out, sizeof(out)) > 0);
	cr_expect(gw_control_write(gw_control_ended_event(7, text), out, 100) == -EMSGSIZE);
}

Test(control, progress_comes_back_as_it_was)
{
	struct gw_control_status status = { .state = GW_CONTROL_ROUND, .progress = {
		.phase = GW_PHASE_ROUND, .round = 3, .done_bytes = 1, .total_bytes = 2,
		.dirty_bytes = 3, .rate_bytes_per_s = 4, .dirty_bytes_per_s = 5,
		.predicted_blackout_ns = 6, .eta_ns = 7, .elapsed_ns = 8 } };
	struct gw_migration_progress progress = { 0 };
	struct json_object *const event = gw_control_progress_event(&status);

	gw_control_take_progress(event, &progress);
	cr_expect(memcmp(&progress, &status.progress, sizeof(progress)) == 0);
	json_object_put(event);
}

Test(control, settings_of_a_record_are_checked_again)
{
	struct json_object *const object = json_object_new_object();
	struct gw_control_values values = { 0 };

	gw_json_put_u64(object, "timeout_ns", 1);
	gw_json_put_u64(object, "max_rounds", 4);
	gw_json_put_string(object, "bandwidth_bytes_per_s", "fast");
	gw_control_take_values(object, &values);
	cr_expect(values.mask == 1u << GW_CONTROL_MAX_ROUNDS);
	cr_expect(values.value[GW_CONTROL_MAX_ROUNDS] == 4);
	json_object_put(object);
}

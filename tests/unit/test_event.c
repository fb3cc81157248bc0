// SPDX-License-Identifier: GPL-2.0-or-later
/* Events of NVMe controllers: from the ring, through the log, into words; and who wants which. */
#include <criterion/criterion.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <godwit/event_abi.h>

#include "clock.h"
#include "event.h"
#include "nvme_words.h"

static struct gw_bpf_event record(void)
{
	return (struct gw_bpf_event){
		.at_ns = 5000,
		.submitted_ns = 2000,
		.kind = GW_BPF_EVENT_COMMAND,
		.flags = GW_BPF_EVENT_ADMIN | GW_BPF_EVENT_BY_USER | GW_BPF_EVENT_HAS_SENDER,
		.controller = 3,
		.subsystem = 2,
		.opcode = 0x09,
		.nsid = 0xffffffff,
		.cdw = { 0x80000006, 1, 2, 3, 4, 5 },
		.status = 0x4002,
		.result = 7,
		.pid = 42,
		.uid = 1000,
		.comm = "nv\033me",
	};
}

static struct gw_event decoded(const struct gw_bpf_event *bytes)
{
	struct gw_event event;

	cr_assert_eq(gw_event_decode(&event, bytes, sizeof(*bytes), 1000000), 0);
	return event;
}

Test(event, a_record_of_the_ring_becomes_an_event)
{
	const struct gw_bpf_event bytes = record();
	const struct gw_event event = decoded(&bytes);

	cr_assert_eq(event.kind, GW_EVENT_COMMAND);
	cr_assert_eq(event.at_ns, 1005000);
	cr_assert_eq(event.controller, 3);
	cr_assert_eq(event.subsystem, 2);
	cr_assert(event.command.is_admin);
	cr_assert(event.command.by_user);
	cr_assert_eq(event.command.cdw[5], 5);
	cr_assert_eq(event.command.took_ns, 3000);
	cr_assert_eq(event.command.pid, 42);
	cr_assert_str_eq(event.command.comm, "nv?me", "what a terminal would act on is taken out");
}

Test(event, what_is_no_record_is_refused_and_changes_nothing)
{
	struct gw_bpf_event bytes = record();
	struct gw_event event = { .controller = 77 };

	cr_assert_eq(gw_event_decode(&event, &bytes, sizeof(bytes) - 1, 0), -EBADMSG);
	bytes.kind = 0;
	cr_assert_eq(gw_event_decode(&event, &bytes, sizeof(bytes), 0), -EBADMSG);
	bytes.kind = 5;
	cr_assert_eq(gw_event_decode(&event, &bytes, sizeof(bytes), 0), -EBADMSG);
	cr_assert_eq(event.controller, 77);
}

Test(event, a_long_name_of_a_process_ends)
{
	struct gw_bpf_event bytes = record();

	memset(bytes.comm, 'x', sizeof(bytes.comm));
	cr_assert_eq(strlen(decoded(&bytes).command.comm), 16);
}

/* Through the log, as text, and back: nothing may be lost. */
static void expect_kept(const struct gw_event *event)
{
	struct json_object *const object = json_object_new_object();
	struct json_object *parsed;
	struct gw_event back;

	gw_event_put(object, event, false);
	parsed = json_tokener_parse(json_object_to_json_string(object));
	cr_assert_not_null(parsed);
	cr_assert_eq(gw_event_from_json(&back, parsed), 0, "%s", json_object_to_json_string(object));
	cr_assert_eq(memcmp(&back, event, sizeof(back)), 0, "%s",
		     json_object_to_json_string(object));
	json_object_put(parsed);
	json_object_put(object);
}

Test(event, every_kind_comes_back_from_the_log)
{
	const struct gw_bpf_event bytes = record();
	struct gw_event event = decoded(&bytes);

	strcpy(event.role, "source");
	strcpy(event.device, "nvme3n1");
	strcpy(event.serial, "S \"1\"");
	event.command.result = UINT64_MAX;
	expect_kept(&event);
	event.command.has_sender = false;
	event.command.took_ns = event.command.pid = event.command.uid = 0;
	memset(event.command.comm, 0, sizeof(event.command.comm));
	expect_kept(&event);
	event.kind = GW_EVENT_TIMEOUT;
	event.command.status = 0;
	event.command.result = 0;
	expect_kept(&event);
	memset(&event.command, 0, sizeof(event.command));
	event.kind = GW_EVENT_ASYNC;
	event.async = 0xffffffff;
	expect_kept(&event);
	event.async = 0;
	event.kind = GW_EVENT_STATE;
	event.state = 2;
	expect_kept(&event);
	event = (struct gw_event){ .kind = GW_EVENT_LOST, .at_ns = 1, .count = 12 };
	expect_kept(&event);
	event = (struct gw_event){ .kind = GW_EVENT_BEGAN, .at_ns = 1 };
	expect_kept(&event);
	event.kind = GW_EVENT_ENDED;
	expect_kept(&event);
}

Test(event, a_record_of_the_log_that_lacks_something_is_refused)
{
	static const char *const wrong[] = {
		"{}",
		"{\"at_ns\":1,\"kind\":\"nothing\"}",
		"{\"at_ns\":-1,\"kind\":\"began\"}",
		"{\"at_ns\":1,\"kind\":\"lost\"}",
		"{\"at_ns\":1,\"kind\":\"state\",\"state\":1}",
		"{\"at_ns\":1,\"kind\":\"state\",\"controller\":\"nvme0x\",\"subsystem\":0,"
		"\"serial\":\"\",\"role\":\"\",\"device\":\"\",\"state\":1}",
		"{\"at_ns\":1,\"kind\":\"state\",\"controller\":\"nvme0\",\"subsystem\":0,"
		"\"serial\":\"\",\"role\":\"longer than any role is\",\"device\":\"\",\"state\":1}",
		"{\"at_ns\":1,\"kind\":\"event\",\"controller\":\"nvme0\",\"subsystem\":0,"
		"\"serial\":\"\",\"role\":\"\",\"device\":\"\",\"dword0\":4294967296}",
	};

	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		struct json_object *const object = json_tokener_parse(wrong[i]);
		struct gw_event event = { .controller = 77 };

		cr_assert_not_null(object);
		cr_expect_eq(gw_event_from_json(&event, object), -EBADMSG, "%s", wrong[i]);
		cr_expect_eq(event.controller, 77);
		json_object_put(object);
	}
}

static void expect_words(const struct gw_bpf_event *bytes, const char *expected)
{
	const struct gw_event event = decoded(bytes);
	char words[GW_EVENT_WORDS_BYTES];

	cr_expect_str_eq(gw_event_words(words, &event), expected);
}

Test(event, is_told_in_the_words_of_the_specification)
{
	struct gw_bpf_event bytes = record();

	expect_words(&bytes, "Set Features: Volatile Write Cache (06h), NSID ffffffffh, 00000001h, "
			     "saved; Invalid Field in Command (002h), Do Not Retry");
	bytes.status = 0;
	bytes.nsid = 1;
	bytes.opcode = 0x80;
	bytes.cdw[0] = 0x1402;
	expect_words(&bytes, "Format NVM: NSID 1h, LBA format 18, Cryptographic Erase; "
			     "Successful Completion");
	bytes.opcode = 0x84;
	bytes.cdw[0] = 4;
	expect_words(&bytes, "Sanitize: Crypto Erase; Successful Completion");
	bytes.opcode = 0x0d;
	bytes.cdw[0] = 1;
	expect_words(&bytes, "Namespace Management: Delete, NSID 1h; Successful Completion");
	bytes.opcode = 0x02;
	bytes.cdw[0] = 0x007f0002;
	expect_words(&bytes, "Get Log Page: SMART / Health Information (02h); Successful Completion");
	bytes = (struct gw_bpf_event){ .kind = GW_BPF_EVENT_ASYNC, .result = 0x00040002 };
	expect_words(&bytes, "Asynchronous Event: Notice: Namespace Attribute Changed; "
			     "Changed Attached Namespace List (04h)");
	bytes = (struct gw_bpf_event){ .kind = GW_BPF_EVENT_STATE, .status = 2 };
	expect_words(&bytes, "the controller is resetting");
	bytes = (struct gw_bpf_event){ .kind = GW_BPF_EVENT_TIMEOUT, .opcode = 1, .nsid = 1,
				       .cdw = { 8 } };
	expect_words(&bytes, "no answer in time to Write: NSID 1h, SLBA 8");
}

/* Whatever the drive or a user sends, there is an answer, and it fits. */
Test(event, every_number_has_words)
{
	char words[GW_NVME_WORD_BYTES], long_words[2 * GW_NVME_WORD_BYTES];

	for (uint32_t i = 0; i < 0x8000; i++) {
		const struct gw_nvme_sqe sqe = { .opcode = (unsigned char)i, .nsid = ~0u,
						 .cdw10 = i * 0x10001u, .cdw11 = ~0u };

		cr_assert(gw_nvme_status_words(words, i)[0] != '\0');
		cr_assert(gw_nvme_async_words(words, i)[0] != '\0');
		cr_assert(gw_nvme_state_words(words, i)[0] != '\0');
		cr_assert(gw_nvme_feature_words(words, (uint8_t)i)[0] != '\0');
		cr_assert(gw_nvme_log_words(words, (uint8_t)i)[0] != '\0');
		cr_assert_lt(strlen(gw_nvme_admin_words(long_words, &sqe)), sizeof(long_words) - 1);
	}
}

Test(event, a_filter_goes_by_time_kind_and_drive)
{
	const struct gw_bpf_event bytes = record();
	struct gw_event event = decoded(&bytes);
	struct gw_event_filter filter = { 0 };

	strcpy(event.role, "source");
	strcpy(event.device, "nvme3n1");
	strcpy(event.serial, "SN1");
	cr_expect(gw_event_fits(&filter, &event));
	filter.since_ns = event.at_ns + 1;
	cr_expect_not(gw_event_fits(&filter, &event));
	filter = (struct gw_event_filter){ .until_ns = event.at_ns - 1 };
	cr_expect_not(gw_event_fits(&filter, &event));
	filter = (struct gw_event_filter){ .kinds = 1u << GW_EVENT_STATE };
	cr_expect_not(gw_event_fits(&filter, &event));
	filter.kinds = GW_EVENT_CHANGES;
	cr_expect(gw_event_fits(&filter, &event));
	event.command.opcode = 0x06;
	cr_expect_not(gw_event_fits(&filter, &event), "Identify changes nothing");
	filter = (struct gw_event_filter){ .drive = "target" };
	cr_expect_not(gw_event_fits(&filter, &event));
	strcpy(event.role, "both");
	cr_expect(gw_event_fits(&filter, &event));
	filter.drive = "nvme3";
	cr_expect(gw_event_fits(&filter, &event));
	filter.drive = "/dev/nvme3n1";
	cr_expect(gw_event_fits(&filter, &event));
	filter.drive = "SN1";
	cr_expect(gw_event_fits(&filter, &event));
	filter.drive = "nvme";
	cr_expect_not(gw_event_fits(&filter, &event));
	event = (struct gw_event){ .kind = GW_EVENT_LOST, .at_ns = 5, .count = 1 };
	cr_expect(gw_event_fits(&filter, &event), "a gap is of no drive, and always shown");
}

Test(event, kinds_are_a_list)
{
	uint32_t kinds = 99;

	cr_assert_eq(gw_event_parse_kinds(&kinds, "changes,states"), 0);
	cr_assert_eq(kinds, GW_EVENT_CHANGES | 1u << GW_EVENT_STATE);
	cr_assert_eq(gw_event_parse_kinds(&kinds, ""), -EINVAL);
	cr_assert_eq(gw_event_parse_kinds(&kinds, "states,"), -EINVAL);
	cr_assert_eq(gw_event_parse_kinds(&kinds, "state"), -EINVAL);
	cr_assert_eq(kinds, GW_EVENT_CHANGES | 1u << GW_EVENT_STATE);
}

Test(event, times_are_ago_or_of_the_calendar)
{
	const uint64_t now_ns = UINT64_C(1764012345) * GW_NS_PER_S;
	uint64_t at_ns = 0;

	setenv("TZ", "UTC0", 1);
	tzset();
	cr_assert_eq(gw_event_parse_time(&at_ns, "10m", now_ns), 0);
	cr_assert_eq(at_ns, now_ns - 600 * GW_NS_PER_S);
	cr_assert_eq(gw_event_parse_time(&at_ns, "@1764012000", now_ns), 0);
	cr_assert_eq(at_ns, UINT64_C(1764012000) * GW_NS_PER_S);
	/* 1764012345 is 2025-11-24 19:25:45. */
	cr_assert_eq(gw_event_parse_time(&at_ns, "19:25:45", now_ns), 0);
	cr_assert_eq(at_ns, now_ns);
	cr_assert_eq(gw_event_parse_time(&at_ns, "2025-11-24 19:25:44", now_ns), 0);
	cr_assert_eq(at_ns, now_ns - GW_NS_PER_S);
	cr_assert_eq(gw_event_parse_time(&at_ns, "2025-11-24", now_ns), 0);
	cr_assert_eq(at_ns, (UINT64_C(1764012345) - 19 * 3600 - 25 * 60 - 45) * GW_NS_PER_S);
	cr_assert_eq(gw_event_parse_time(&at_ns, "yesterday", now_ns), -EINVAL);
	cr_assert_eq(gw_event_parse_time(&at_ns, "@", now_ns), -EINVAL);
	cr_assert_eq(gw_event_parse_time(&at_ns, "@99999999999999999", now_ns), -EINVAL);
	cr_assert_eq(gw_event_parse_time(&at_ns, "19:25:45x", now_ns), -EINVAL);
}

// SPDX-License-Identifier: GPL-2.0-or-later
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <godwit/report.h>

#include "record.h"

#define MIB (UINT64_C(1) << 20)
#define S UINT64_C(1000000000)

static char dir[] = "/tmp/godwit-report-XXXXXX";
static char path[64];
static uint64_t seq;
static struct gw_report report;
static char error_text[256];

static void begin(void)
{
	cr_assert_not_null(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/journal", dir);
}

static void end(void)
{
	gw_report_free(&report);
	unlink(path);
	rmdir(dir);
}

TestSuite(report, .init = begin, .fini = end);

/* Each record comes a second after the one before it; the first at 1000 s. */
static void tell(enum gw_record_type type, const char *payload)
{
	const struct gw_record record = {
		.version = GW_RECORD_VERSION,
		.type = (uint16_t)type,
		.seq = seq,
		.wall_ns = (1000 + seq) * S,
		.payload = payload,
		.payload_bytes = (uint32_t)strlen(payload),
	};
	unsigned char bytes[4096];
	const int size = gw_record_encode(&record, bytes, sizeof(bytes));
	const int fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);

	cr_assert(size > 0);
	cr_assert(fd >= 0);
	cr_assert_eq(write(fd, bytes, (size_t)size), size);
	close(fd);
	seq++;
}

static void tell_started(void)
{
	tell(GW_RECORD_STARTED, "{\"version\":\"0.1.0\",\"name\":\"a-b\",\"source\":\"/dev/a\","
	     "\"target\":\"/dev/b\",\"source_id\":\"ida\",\"target_id\":\"idb\","
	     "\"size_bytes\":104857600,\"grain_bytes\":4096,\"track\":\"block\","
	     "\"handoff\":\"freeze\",\"verify\":\"during\",\"bandwidth_bytes_per_s\":7,"
	     "\"downtime_limit_ns\":300000000,\"buffers\":32}");
	tell(GW_RECORD_TRACKING, "{\"generation\":1,\"memory_bytes\":67108864,"
	     "\"allocated_bytes\":83886080,\"hole_bytes\":20971520}");
}

static void tell_round(unsigned int round, uint64_t copied_bytes, uint64_t source_write_bytes)
{
	char payload[512];

	snprintf(payload, sizeof(payload), "{\"round\":%u,\"final\":%s,\"elapsed_ns\":5,"
		 "\"pending_bytes\":%llu,\"copied_bytes\":%llu,\"written_bytes\":3,"
		 "\"zeroed_bytes\":2,\"zero_skipped_bytes\":4,\"same_skipped_bytes\":1,"
		 "\"dirty_after_bytes\":6,\"copy_bytes_per_s\":8,\"dirty_bytes_per_s\":9,"
		 "\"predicted_blackout_ns\":10,\"source_write_bytes\":%llu}", round,
		 round == 3 ? "true" : "false", (unsigned long long)copied_bytes,
		 (unsigned long long)copied_bytes, (unsigned long long)source_write_bytes);
	tell(GW_RECORD_ROUND, payload);
}

static void tell_ended(void)
{
	tell(GW_RECORD_ENDED, "{\"exit_code\":0,\"reason\":\"all good\",\"elapsed_ns\":77,"
	     "\"converged\":true,\"digest_of_digests\":18446744073709551615,"
	     "\"read_bytes\":1000,\"written_bytes\":500,\"zeroed_bytes\":400,"
	     "\"zero_skipped_bytes\":60,\"same_skipped_bytes\":40,\"settled_bytes\":1000,"
	     "\"lost_found\":1,\"whole_device_marks\":2,\"misses_submit\":3,"
	     "\"misses_complete\":[4,5,6],\"eio_retries\":7,\"busy_retries\":8,\"short_ios\":9,"
	     "\"source_write_bytes\":400,\"blackout\":{\"predicted_ns\":90,\"total_ns\":100,"
	     "\"early_sync_ns\":1000,\"quiesce_ns\":1,\"drain_ns\":2,\"copy_ns\":3,"
	     "\"flush_ns\":4,\"verify_ns\":5,\"commit_ns\":6,\"switch_ns\":7,\"user_ns\":8,"
	     "\"other_ns\":64}}");
}

static void read_report(void)
{
	gw_report_free(&report);
	error_text[0] = '\0';
	cr_assert_eq(gw_report_read(&report, dir, error_text, sizeof(error_text)), 0, "%s",
		     error_text);
}

Test(report, tells_who_and_what)
{
	tell_started();
	read_report();
	cr_assert_str_eq(report.name, "a-b");
	cr_assert_str_eq(report.source, "/dev/a");
	cr_assert_str_eq(report.target, "/dev/b");
	cr_assert_str_eq(report.source_id, "ida");
	cr_assert_str_eq(report.target_id, "idb");
	cr_assert_str_eq(report.track, "block");
	cr_assert_str_eq(report.handoff, "freeze");
	cr_assert_str_eq(report.verify, "during");
	cr_assert_str_eq(report.version, "0.1.0");
	cr_assert_eq(report.size_bytes, 100 * MIB);
	cr_assert_eq(report.grain_bytes, 4096);
	cr_assert_eq(report.buffers, 32);
	cr_assert_eq(report.memory_bytes, 64 * MIB);
	cr_assert_eq(report.bandwidth_bytes_per_s, 7);
	cr_assert_eq(report.downtime_limit_ns, 300000000);
	cr_assert_eq(report.allocated_bytes, 80 * MIB);
	cr_assert_eq(report.skipped_hole_bytes, 20 * MIB);
	cr_assert_eq(report.started_wall_ns, 1000 * S);
}

Test(report, tells_what_the_workload_felt)
{
	tell_started();
	tell(GW_RECORD_LATENCY, "{\"stretch\":\"before\",\"elapsed_ns\":9,\"read\":{\"count\":5,"
	     "\"p50_ns\":1,\"p99_ns\":2,\"p999_ns\":3,\"max_ns\":4},\"write\":{\"count\":0}}");
	tell(GW_RECORD_LATENCY, "{\"stretch\":\"\\u001b[2J\",\"read\":7,\"write\":{\"count\":-1}}");
	tell(GW_RECORD_LATENCY, "{}");
	read_report();
	cr_assert_eq(report.latencies_listed, 3);
	cr_assert_str_eq(report.latencies[0].stretch, "before");
	cr_assert_eq(report.latencies[0].elapsed_ns, 9);
	cr_assert_eq(report.latencies[0].read.count, 5);
	cr_assert_eq(report.latencies[0].read.p50_ns, 1);
	cr_assert_eq(report.latencies[0].read.p99_ns, 2);
	cr_assert_eq(report.latencies[0].read.p999_ns, 3);
	cr_assert_eq(report.latencies[0].read.max_ns, 4);
	cr_assert_eq(report.latencies[0].write.count, 0);
	cr_assert_str_eq(report.latencies[1].stretch, "unknown");
	cr_assert_eq(report.latencies[1].read.count, 0);
	cr_assert_eq(report.latencies[1].write.count, 0);
	for (int i = 0; i < 100; i++)
		tell(GW_RECORD_LATENCY, "{\"stretch\":\"base\"}");
	read_report();
	cr_assert_eq(report.latencies_listed, GW_REPORT_LATENCIES_MAX);
	cr_assert_eq(report.latencies_total, 103);
}

Test(report, without_an_end_it_runs_or_died)
{
	tell_started();
	tell_round(1, 700, 30);
	tell_round(2, 50, 100);
	read_report();
	cr_assert_not(report.ended);
	cr_assert_eq(report.exit_code, -1);
	cr_assert_eq(report.ended_wall_ns, 0);
	cr_assert_eq(report.elapsed_ns, 3 * S);
	cr_assert_not(report.committed);
	cr_assert_not(report.blackout.happened);
	cr_assert_eq(report.copied_bytes, 750);
	cr_assert_eq(report.written_bytes, 6);
	cr_assert_eq(report.zeroed_bytes, 4);
	cr_assert_eq(report.skipped_zero_bytes, 8);
	cr_assert_eq(report.skipped_same_bytes, 2);
	cr_assert_eq(report.recopied_bytes, 50);
	cr_assert_eq(report.source_write_bytes, 100);
	cr_assert_float_eq(report.amplification, 0.5, 1e-9);
}

Test(report, rounds_are_listed)
{
	tell_started();
	tell_round(1, 700, 0);
	tell_round(3, 50, 0);
	read_report();
	cr_assert_eq(report.rounds_total, 2);
	cr_assert_eq(report.rounds_listed, 2);
	cr_assert_eq(report.rounds[0].round, 1);
	cr_assert_not(report.rounds[0].is_final);
	cr_assert(report.rounds[1].is_final);
	cr_assert_eq(report.rounds[1].elapsed_ns, 5);
	cr_assert_eq(report.rounds[1].pending_bytes, 50);
	cr_assert_eq(report.rounds[1].copied_bytes, 50);
	cr_assert_eq(report.rounds[1].written_bytes, 3);
	cr_assert_eq(report.rounds[1].zeroed_bytes, 2);
	cr_assert_eq(report.rounds[1].skipped_bytes, 5);
	cr_assert_eq(report.rounds[1].dirty_after_bytes, 6);
	cr_assert_eq(report.rounds[1].copy_bytes_per_s, 8);
	cr_assert_eq(report.rounds[1].dirty_bytes_per_s, 9);
	cr_assert_eq(report.rounds[1].predicted_blackout_ns, 10);
	cr_assert_eq(report.amplification, 0);
}

Test(report, end_tells_the_sums_and_the_blackout)
{
	tell_started();
	tell_round(1, 700, 30);
	tell_round(2, 300, 200);
	tell(GW_RECORD_COMMIT, "{}");
	tell(GW_RECORD_VERIFIED, "{\"verified_bytes\":999,\"equal\":true,\"excluded_bytes\":0}");
	tell_ended();
	read_report();
	cr_assert(report.ended);
	cr_assert_eq(report.exit_code, 0);
	cr_assert_str_eq(report.reason, "all good");
	cr_assert(report.committed);
	cr_assert(report.converged);
	cr_assert_eq(report.ended_wall_ns, 1006 * S);
	cr_assert_eq(report.elapsed_ns, 77);
	cr_assert_eq(report.copied_bytes, 1000);
	cr_assert_eq(report.written_bytes, 500);
	cr_assert_eq(report.zeroed_bytes, 400);
	cr_assert_eq(report.skipped_zero_bytes, 60);
	cr_assert_eq(report.skipped_same_bytes, 40);
	cr_assert_eq(report.recopied_bytes, 300);
	cr_assert_float_eq(report.amplification, 0.75, 1e-9);
	cr_assert(report.verify_done);
	cr_assert(report.verify_equal);
	cr_assert_eq(report.verified_bytes, 999);
	cr_assert_eq(report.digest_of_digests, UINT64_MAX);
	cr_assert_eq(report.lost_found, 1);
	cr_assert_eq(report.whole_device_marks, 2);
	cr_assert_eq(report.misses_submit, 3);
	cr_assert_eq(report.misses_complete[0], 4);
	cr_assert_eq(report.misses_complete[2], 6);
	cr_assert_eq(report.eio_retries, 7);
	cr_assert_eq(report.busy_retries, 8);
	cr_assert_eq(report.short_ios, 9);
	cr_assert(report.blackout.happened);
	cr_assert_eq(report.blackout.predicted_ns, 90);
	cr_assert_eq(report.blackout.total_ns, 100);
	cr_assert_eq(report.blackout.early_sync_ns, 1000);
	cr_assert_eq(report.blackout.quiesce_ns, 1);
	cr_assert_eq(report.blackout.drain_ns, 2);
	cr_assert_eq(report.blackout.copy_ns, 3);
	cr_assert_eq(report.blackout.flush_ns, 4);
	cr_assert_eq(report.blackout.verify_ns, 5);
	cr_assert_eq(report.blackout.commit_ns, 6);
	cr_assert_eq(report.blackout.switch_ns, 7);
	cr_assert_eq(report.blackout.user_ns, 8);
	cr_assert_eq(report.blackout.other_ns, 64);
}

/* One process died throttling; the next one did it all over, and took it back. */
Test(report, throttled_writers)
{
	tell_started();
	tell(GW_RECORD_THROTTLED, "{\"cgroup\":\"/c\",\"former_bytes_per_s\":9,\"limit_bytes_per_s\":5,"
				  "\"write_bytes_per_s\":20,\"text\":\"one\"}");
	read_report();
	cr_assert(report.throttle.happened);
	cr_assert_not(report.throttle.restored);
	gw_report_free(&report);
	tell(GW_RECORD_THROTTLED, "{\"restored\":true,\"text\":\"after a death\"}");
	tell(GW_RECORD_THROTTLED, "{\"cgroup\":\"/c\",\"former_bytes_per_s\":9,\"limit_bytes_per_s\":4,"
				  "\"write_bytes_per_s\":18,\"text\":\"two\"}");
	tell(GW_RECORD_THROTTLED, "{\"cgroup\":\"/c\",\"former_bytes_per_s\":9,\"limit_bytes_per_s\":6,"
				  "\"write_bytes_per_s\":7,\"text\":\"three\"}");
	tell(GW_RECORD_THROTTLED, "{\"restored\":true,\"throttled_ns\":77,"
				  "\"write_after_bytes_per_s\":3,\"text\":\"end\"}");
	read_report();
	cr_assert(report.throttle.restored);
	cr_assert_str_eq(report.throttle.cgroup, "/c");
	cr_assert_eq(report.throttle.steps, 3);
	cr_assert_eq(report.throttle.throttled_ns, 77);
	cr_assert_eq(report.throttle.former_bytes_per_s, 9);
	cr_assert_eq(report.throttle.lowest_bytes_per_s, 4);
	cr_assert_eq(report.throttle.write_before_bytes_per_s, 20);
	cr_assert_eq(report.throttle.write_after_bytes_per_s, 3);
	cr_assert_eq(report.messages_total, 5);
	cr_assert_str_eq(report.messages[4].kind, "throttled");
	cr_assert_str_eq(report.messages[4].text, "end");
}

/* The first process died in round 2, the second ended well: nobody's bytes are lost or counted twice. */
Test(report, several_processes_add_up)
{
	tell_started();
	tell_round(1, 700, 30);
	tell_round(2, 60, 100);
	tell(GW_RECORD_CONTINUED, "{\"how\":\"pins\",\"pending_bytes\":4096}");
	tell_round(3, 240, 300);
	tell_ended();
	read_report();
	cr_assert_eq(report.continues, 1);
	cr_assert_eq(report.copied_bytes, 760 + 1000);
	cr_assert_eq(report.recopied_bytes, 300);
	cr_assert_eq(report.source_write_bytes, 400);	/* pinned counters went on */
	cr_assert_eq(report.elapsed_ns, 6 * S);		/* not the last process's 77 */
	cr_assert_eq(report.messages_total, 1);
	cr_assert_str_eq(report.messages[0].kind, "continued");
	cr_assert_str_eq(report.messages[0].text,
			 "another process went on, from the pinned bitmaps, with 4.0 KiB to copy");
}

Test(report, resync_counts_writes_anew)
{
	tell_started();
	tell_round(1, 700, 30);
	tell(GW_RECORD_CONTINUED, "{\"how\":\"resync\"}");
	tell_round(2, 60, 100);
	read_report();
	cr_assert_eq(report.source_write_bytes, 130);
	cr_assert_eq(report.copied_bytes, 760);
}

Test(report, going_on_takes_the_end_back)
{
	tell_started();
	tell_ended();
	tell(GW_RECORD_CONTINUED, "{}");
	read_report();
	cr_assert_not(report.ended);
	cr_assert_eq(report.exit_code, -1);
	cr_assert_str_eq(report.reason, "");
	cr_assert_eq(report.ended_wall_ns, 0);
	cr_assert_eq(report.elapsed_ns, 3 * S);
}

Test(report, messages_are_sentences_in_order)
{
	tell_started();
	tell(GW_RECORD_NOTE, "{\"level\":\"note\",\"text\":\"one\"}");
	tell(GW_RECORD_NOTE, "{\"level\":\"warning\",\"text\":\"two\"}");
	tell(GW_RECORD_SUSPECT, "{\"why\":\"three\"}");
	tell(GW_RECORD_VERIFIED, "{\"equal\":false,\"text\":\"four\"}");
	tell(GW_RECORD_CLEANED, "{\"what\":\"five\"}");
	tell(GW_RECORD_NOTE, "{}");
	read_report();
	cr_assert_eq(report.messages_listed, 6);
	cr_assert_str_eq(report.messages[0].text, "one");
	cr_assert_str_eq(report.messages[0].kind, "note");
	cr_assert_eq(report.messages[0].wall_ns, 1002 * S);
	cr_assert_str_eq(report.messages[1].text, "warning: two");
	cr_assert_str_eq(report.messages[2].text, "the whole device was marked again: three");
	cr_assert_str_eq(report.messages[3].text, "four");
	cr_assert_str_eq(report.messages[4].text, "cleaned up: five");
	cr_assert_str_eq(report.messages[5].text, "(no text)");
	cr_assert(report.verify_done);
	cr_assert_not(report.verify_equal);
}

Test(report, too_many_are_counted_not_listed)
{
	tell_started();
	for (unsigned int i = 0; i < GW_REPORT_ROUNDS_MAX + 3; i++)
		tell_round(i + 1, 1, 0);
	for (unsigned int i = 0; i < GW_REPORT_MESSAGES_MAX + 2; i++)
		tell(GW_RECORD_NOTE, "{\"text\":\"x\"}");
	read_report();
	cr_assert_eq(report.rounds_listed, GW_REPORT_ROUNDS_MAX);
	cr_assert_eq(report.rounds_total, GW_REPORT_ROUNDS_MAX + 3);
	cr_assert_eq(report.copied_bytes, GW_REPORT_ROUNDS_MAX + 3);
	cr_assert_eq(report.messages_listed, GW_REPORT_MESSAGES_MAX);
	cr_assert_eq(report.messages_total, GW_REPORT_MESSAGES_MAX + 2);
}

Test(report, numbers_out_of_range_do_no_harm)
{
	tell(GW_RECORD_STARTED, "{\"grain_bytes\":4294967303,\"buffers\":-1,\"name\":7,"
	     "\"size_bytes\":\"large\",\"track\":\"a very long name of a source of dirt\"}");
	tell_round(1, UINT64_MAX, 1);
	tell_round(2, UINT64_MAX, 1);
	tell(GW_RECORD_ENDED, "{\"exit_code\":4294967296,\"misses_complete\":[-1,\"x\",3,4],"
	     "\"read_bytes\":null,\"blackout\":{\"total_ns\":10,\"quiesce_ns\":7,"
	     "\"drain_ns\":18446744073709551615,\"copy_ns\":5,\"other_ns\":99}}");
	read_report();
	cr_assert_eq(report.grain_bytes, 0);
	cr_assert_eq(report.buffers, 0);
	cr_assert_str_eq(report.name, "");
	cr_assert_eq(strlen(report.track), sizeof(report.track) - 1);
	cr_assert_eq(report.copied_bytes, UINT64_MAX);
	cr_assert_eq(report.recopied_bytes, UINT64_MAX);
	cr_assert(isfinite(report.amplification));
	cr_assert(report.ended);
	cr_assert_eq(report.exit_code, 7);
	cr_assert_eq(report.misses_complete[0], 0);
	cr_assert_eq(report.misses_complete[2], 3);
	cr_assert_eq(report.blackout.quiesce_ns, 7);
	cr_assert_eq(report.blackout.drain_ns, 3);
	cr_assert_eq(report.blackout.copy_ns, 0);
	cr_assert_eq(report.blackout.other_ns, 0);
}

Test(report, of_a_torn_journal)
{
	tell_started();
	tell_ended();
	cr_assert_eq(truncate(path, 1000), 0);
	read_report();
	cr_assert(report.torn_tail);
	cr_assert_not(report.ended);
}

Test(report, refusals_say_why_and_leave_nothing)
{
	struct gw_report untouched = { 0 };

	memset(&report, 0xff, sizeof(report));
	cr_assert_eq(gw_report_read(&report, dir, error_text, sizeof(error_text)), -ENOENT);
	cr_assert_neq(error_text[0], '\0');
	cr_assert_arr_eq(&report, &untouched, sizeof(report));
	tell(GW_RECORD_NOTE, "{}");
	cr_assert_eq(gw_report_read(&report, path, error_text, sizeof(error_text)), -ENODATA);
	seq = 7;
	tell(GW_RECORD_NOTE, "{}");
	cr_assert_eq(gw_report_read(&report, path, error_text, sizeof(error_text)), -EBADMSG);
	cr_assert_not_null(strstr(error_text, path));
	cr_assert_eq(gw_report_read(&report, path, NULL, 0), -EBADMSG);
	cr_assert_arr_eq(&report, &untouched, sizeof(report));
	gw_report_free(&report);
	gw_report_free(&report);
}

// SPDX-License-Identifier: GPL-2.0-or-later
/* A software SSD that misbehaves because it was told to, seen through the vfio-user socket. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "ssd_control.h"
#include "ssd_rig.h"

static struct gw_rig rig;
static struct gw_ssd_set set = { .subsys = { &rig.ss }, .subsystems = 1 };

static void setup(void)
{
	struct gw_ssd_config config;

	gw_ssd_config_init(&config);
	config.namespace_bytes = UINT64_C(16) << 20;
	config.has_migration = true;
	gw_rig_open(&rig, 2, &config);
	for (int i = 0; i < 2; i++)
		gw_client_start(&rig.client[i], 1);
}

static void teardown(void)
{
	gw_rig_close(&rig);
}

TestSuite(ssd_faults, .init = setup, .fini = teardown, .timeout = 180);

#define M (&rig.client[0])
#define A (&rig.client[1])		/* controller 1/2, which has the faults */
#define BUFFER GW_CLIENT_BUFFER
#define RING (BUFFER + (UINT64_C(2) << 20))

/* The answer; the next call ends it. */
static const char *control(const char *line)
{
	static char *answer;
	bool is_refused;

	free(answer);
	answer = gw_ssd_control_answer(&set, line, &is_refused);
	cr_assert_not_null(answer);
	return answer;
}

static void fault(const char *text)
{
	char line[128];

	snprintf(line, sizeof(line), "fault 1/2 %s", text);
	cr_assert_null(strstr(control(line), "error"), "%s", control(line));
}

static uint16_t io(uint8_t opcode, uint64_t slba)
{
	return gw_client_io(A, opcode, 1, slba, 8, BUFFER, 4096);
}

static uint64_t now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

static uint16_t start_io(uint8_t opcode, uint64_t slba)
{
	struct gw_nvme_sqe sqe = { .opcode = opcode, .nsid = 1, .cdw10 = (uint32_t)slba, .cdw12 = 7 };

	gw_client_set_prps(&sqe, A, BUFFER, 4096, 0);
	return gw_client_submit(A, 1, &sqe);
}

/* ---- When ---------------------------------------------------------------------------------------------- */

Test(ssd_faults, by_blocks_command_and_count)
{
	fault("error=unrecovered-read-error command=read lba=100-199");
	fault("error=280 command=write nth=3");
	cr_assert_eq(io(GW_NVME_READ, 0), 0);
	cr_assert_eq(io(GW_NVME_READ, 96), NVME_SC_UNRECOVERED_READ);
	cr_assert_eq(io(GW_NVME_READ, 92), 0, "it ends at 99");
	cr_assert_eq(io(GW_NVME_READ, 199), NVME_SC_UNRECOVERED_READ);
	cr_assert_eq(io(GW_NVME_READ, 200), 0);
	cr_assert_eq(io(GW_NVME_WRITE, 100), 0);
	cr_assert_eq(io(GW_NVME_WRITE, 100), 0);
	cr_assert_eq(io(GW_NVME_WRITE, 100), NVME_SC_WRITE_FAULT);
	cr_assert_eq(io(GW_NVME_WRITE, 100), 0, "once");
	/* The other controller has none of it. */
	cr_assert_eq(gw_client_io(M, GW_NVME_READ, 1, 100, 8, BUFFER, 4096), 0);
	cr_assert_not_null(strstr(control("faults 1/2"), "\"text\":\"error=280 command=write nth=3\","
							 "\"seen\":4,\"hits\":1"));
	cr_assert_not_null(strstr(control("clear 1/2 1"), "\"cleared\":1"));
	cr_assert_eq(io(GW_NVME_READ, 100), 0);
	cr_assert_not_null(strstr(control("clear 1/2"), "\"cleared\":1"));
}

Test(ssd_faults, by_turn_times_and_time)
{
	fault("error=280 command=write every=2 times=2");
	fault("error=281 command=read after=1h");
	fault("error=285 command=compare after=1us");
	for (int i = 1; i <= 6; i++)
		cr_assert_eq(io(GW_NVME_WRITE, 0), i == 2 || i == 4 ? NVME_SC_WRITE_FAULT : 0, "%d", i);
	cr_assert_eq(io(GW_NVME_READ, 0), 0);
	cr_assert_eq(io(GW_NVME_COMPARE, 0), NVME_SC_COMPARE_FAILURE);
}

Test(ssd_faults, by_chance)
{
	uint32_t failed = 0;

	fault("error=281 command=read chance=25%");
	for (int i = 0; i < 400; i++)
		failed += io(GW_NVME_READ, 0) != 0;
	cr_assert_gt(failed, 50);
	cr_assert_lt(failed, 150);
}

Test(ssd_faults, what_is_no_fault_is_said)
{
	static const struct {
		const char *line, *expected;
	} cases[] = {
		{ "fault 1/2 explode", "there is no fault 'explode': they are error=, " },
		{ "fault 1/2 error=nonsense", "error= is a status, such as unrecovered-read-error" },
		{ "fault 1/2 error", "error has a value" },
		{ "fault 1/2 hang=1", "hang has no value" },
		{ "fault 1/2 delay=soon", "delay= is a time" },
		{ "fault 1/2 delay=5ms-1ms", "delay= is a time" },
		{ "fault 1/2 bandwidth=0", "bandwidth= is a rate" },
		{ "fault 1/2 wrong=all", "wrong= is cid, sqid" },
		{ "fault 1/2 log-invent=7", "log-invent= is FIRST-LAST" },
		{ "fault 1/2 state=beauty", "state= is the offset" },
		{ "fault 1/2 hang nth=0", "nth= is a number above 0" },
		{ "fault 1/2 hang chance=101", "chance= is above" },
		{ "fault 1/2 hang moon=full", "there is no condition 'moon='" },
		{ "fault 1/2 hang now", "'now' is no condition" },
		{ "fault 1/9 hang", "there is no controller 1/9" },
		{ "clear 1/2 7", "controller 1/2 has no fault 7" },
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		cr_assert_not_null(strstr(control(cases[i].line), cases[i].expected), "%s: %s", cases[i].line,
				   control(cases[i].line));
	for (int i = 0; i < 32; i++)
		fault("hang command=verify");
	cr_assert_not_null(strstr(control("fault 1/2 hang"), "at most 32 faults"));
	cr_assert_not_null(strstr(control("clear 1/2"), "\"cleared\":32"));
}

Test(ssd_faults, a_script_has_them_from_the_start)
{
	char path[] = "/tmp/godwit-ssd-script-XXXXXX";
	struct gw_diag diag = { 0 };
	const int fd = mkstemp(path);

	cr_assert_gt(dprintf(fd, "# two faults\n\nfault 1/2 error=280 nth=1 command=write\n"), 0);
	cr_assert_eq(gw_ssd_control_script(&set, path, &diag), 0, "%s", diag.text);
	cr_assert_eq(io(GW_NVME_WRITE, 0), NVME_SC_WRITE_FAULT);
	cr_assert_gt(dprintf(fd, "fault 1/2 explode\n"), 0);
	cr_assert_lt(gw_ssd_control_script(&set, path, &diag), 0);
	cr_assert_not_null(strstr(diag.text, ":4: there is no fault 'explode'"), "%s", diag.text);
	close(fd);
	unlink(path);
}

/* ---- Commands ------------------------------------------------------------------------------------------ */

Test(ssd_faults, time)
{
	uint64_t began_ms = now_ms();

	fault("delay=100ms-120ms lba=0-7");
	cr_assert_eq(io(GW_NVME_WRITE, 0), 0);
	cr_assert_geq(now_ms() - began_ms, 100);
	control("clear 1/2");
	fault("bandwidth=40KiB/s");
	began_ms = now_ms();
	cr_assert_eq(io(GW_NVME_WRITE, 0), 0);
	cr_assert_geq(now_ms() - began_ms, 100, "4 KiB are a tenth of a second");
}

Test(ssd_faults, a_hanging_command_holds_up_a_suspension)
{
	struct gw_nvme_sqe suspend = { .opcode = 0x41, .cdw11 = 1u << 16 | 2 };
	struct nvme_cqe cqe;
	uint16_t cid;

	fault("hang command=write");
	cid = start_io(GW_NVME_WRITE, 0);
	while (strstr(control("faults 1/2"), "\"hits\":1") == NULL)
		usleep(1000);
	gw_client_submit(M, 0, &suspend);
	cr_assert_not(gw_client_reap(A, 1, &cqe, 50));
	cr_assert_not(gw_client_reap(M, 0, &cqe, 50));
	control("clear 1/2");
	cr_assert(gw_client_reap(A, 1, &cqe, 20000));
	cr_assert_eq(cqe.cid, cid);
	cr_assert(gw_client_reap(M, 0, &cqe, 20000));
	cr_assert_eq(NVME_CQE_STATUS(cqe.status), 0);
}

Test(ssd_faults, a_reset_ends_a_hanging_command)
{
	fault("hang command=write");
	start_io(GW_NVME_WRITE, 0);
	while (strstr(control("faults 1/2"), "\"hits\":1") == NULL)
		usleep(1000);
	gw_client_stop_controller(A);
	gw_client_start_controller(A);
	gw_client_create_queues(A, 1);
	cr_assert_eq(io(GW_NVME_READ, 0), 0);
}

Test(ssd_faults, completions_that_are_missing_or_wrong)
{
	struct nvme_cqe cqe;
	uint16_t cid;

	memset(gw_client_at(A, BUFFER), 0x5a, 4096);
	fault("drop nth=1");
	start_io(GW_NVME_WRITE, 0);
	cr_assert_not(gw_client_reap(A, 1, &cqe, 100));
	cr_assert_not_null(strstr(control("trace command=write"), "outstanding"));
	memset(gw_client_at(A, BUFFER), 0, 4096);
	cr_assert_eq(io(GW_NVME_READ, 0), 0);
	cr_assert_eq(*gw_client_at(A, BUFFER), 0x5a, "it was executed");

	fault("wrong=cid nth=1");
	cid = start_io(GW_NVME_READ, 0);
	cr_assert(gw_client_reap(A, 1, &cqe, 20000));
	cr_assert_eq(cqe.cid, cid ^ 0x8000);
	fault("wrong=sqid nth=1");
	start_io(GW_NVME_READ, 0);
	cr_assert(gw_client_reap(A, 1, &cqe, 20000));
	cr_assert_neq(cqe.sqid, 1);
	fault("wrong=sqhd nth=1");
	start_io(GW_NVME_READ, 0);
	cr_assert(gw_client_reap(A, 1, &cqe, 20000));
	cr_assert_neq(cqe.sqhd, A->queue[1].sq_tail);
	fault("wrong=dw0 nth=1");
	start_io(GW_NVME_READ, 0);
	cr_assert(gw_client_reap(A, 1, &cqe, 20000));
	cr_assert_eq(cqe.dw0, UINT32_MAX);
	fault("wrong=twice nth=1");
	cid = start_io(GW_NVME_READ, 0);
	for (int i = 0; i < 2; i++) {
		cr_assert(gw_client_reap(A, 1, &cqe, 20000));
		cr_assert_eq(cqe.cid, cid);
	}
	cr_assert_eq(io(GW_NVME_READ, 0), 0);
	fault("wrong=phase nth=1");
	start_io(GW_NVME_READ, 0);
	cr_assert_not(gw_client_reap(A, 1, &cqe, 100), "an entry that looks old");
}

Test(ssd_faults, controller_fatal_status)
{
	struct nvme_cqe cqe;

	fault("fatal command=read nth=2");
	cr_assert_eq(io(GW_NVME_READ, 0), 0);
	start_io(GW_NVME_READ, 0);
	cr_assert_not(gw_client_reap(A, 1, &cqe, 100));
	cr_assert_neq(gw_client_register(A, NVME_REG_CSTS) & NVME_CSTS_CFS, 0);
	gw_client_stop_controller(A);
	gw_client_start_controller(A);
	gw_client_create_queues(A, 1);
	cr_assert_eq(io(GW_NVME_READ, 0), 0);
}

Test(ssd_faults, surprise_removal)
{
	struct nvme_cqe cqe;
	uint32_t value;

	fault("remove command=read nth=1");
	start_io(GW_NVME_READ, 0);
	cr_assert_not(gw_client_reap(A, 1, &cqe, 100));
	cr_assert_eq(gw_client_register(A, NVME_REG_CSTS), UINT32_MAX);
	cr_assert_eq(gw_client_register(A, NVME_REG_VS), UINT32_MAX);
	cr_assert_eq(gw_client_read(A, 7, 0, &value, 4), 0);
	cr_assert_eq(value, UINT32_MAX);
	gw_client_set_register(A, NVME_REG_CC, 0);
	cr_assert_not_null(strstr(control("status"), "\"state\":\"removed\""));
	cr_assert_eq(gw_client_io(M, GW_NVME_READ, 1, 0, 8, BUFFER, 4096), 0, "its sibling is there");
	control("plug 1/2");
	cr_assert_eq(gw_client_register(A, NVME_REG_CSTS), 0);
	gw_client_start_controller(A);
	gw_client_create_queues(A, 1);
	cr_assert_eq(io(GW_NVME_READ, 0), 0);
	control("remove 1/2");
	cr_assert_eq(gw_client_register(A, NVME_REG_CSTS), UINT32_MAX);
	control("plug 1/2");
}

/* Some of the blocks of the cache had reached the medium, and others had not. */
Test(ssd_faults, a_torn_write_at_a_power_cut)
{
	uint32_t kept = 0;

	memset(gw_client_at(A, BUFFER), 0x77, 65536);
	cr_assert_eq(gw_client_io(A, GW_NVME_WRITE, 1, 0, 128, BUFFER, 65536), 0);
	fault("power-cut=7 command=flush nth=1");
	gw_client_io(A, GW_NVME_FLUSH, 1, 0, 1, 0, 0);
	cr_assert_eq(gw_client_io(A, GW_NVME_READ, 1, 0, 128, BUFFER, 65536), 0);
	for (uint32_t i = 0; i < 128; i++)
		kept += *gw_client_at(A, BUFFER + i * 512) == 0x77;
	cr_assert_gt(kept, 16);
	cr_assert_lt(kept, 112);
}

/* ---- The log ------------------------------------------------------------------------------------------- */

static uint16_t manage(uint8_t opcode, uint32_t cdw10, uint32_t cdw11, uint32_t cdw15, uint64_t bytes)
{
	struct gw_nvme_sqe sqe = { .opcode = opcode, .cdw10 = cdw10, .cdw11 = cdw11, .cdw15 = cdw15 };

	return gw_client_execute(M, 0, &sqe, BUFFER, bytes, NULL);
}

static void start_log(void)
{
	struct gw_nvme_sqe sqe = { .opcode = 0x45, .cdw11 = 2u << 16 | 1, .cdw12 = 64 * 8 };
	uint32_t id;

	sqe.data_pointer[0] = GW_CLIENT_IOVA + RING;
	cr_assert_eq(gw_client_execute(M, 0, &sqe, 0, 0, &id), 0);
	cr_assert_eq(manage(0x3d, 0x10000, id, 0, 0), 0);
}

static const struct nvme_lba_change *entry(uint32_t slot)
{
	return (const struct nvme_lba_change *)(const void *)gw_client_at(M, RING) + slot;
}

/* Entries that are posted, the first one (which has no range) included. */
static uint32_t posted(void)
{
	uint32_t count = 0;

	while (count < 64 && (entry(count)->attributes & NVME_CHANGE_PHASE) != 0)
		count++;
	return count;
}

Test(ssd_faults, a_log_that_forgets_or_invents_or_stops)
{
	start_log();
	fault("log-forget lba=64");
	fault("log-invent=5000-5009 lba=128");
	fault("log-stop lba=256");
	cr_assert_eq(io(GW_NVME_WRITE, 0), 0);
	cr_assert_eq(io(GW_NVME_WRITE, 64), 0);
	cr_assert_eq(posted(), 2);
	cr_assert_eq(entry(1)->slba, 0);
	cr_assert_eq(io(GW_NVME_WRITE, 128), 0);
	cr_assert_eq(posted(), 4);
	cr_assert_eq(entry(2)->slba, 5000);
	cr_assert_eq(entry(2)->nlb, 9);
	cr_assert_eq(entry(3)->slba, 128);
	cr_assert_eq(io(GW_NVME_WRITE, 256), 0);
	cr_assert_eq(io(GW_NVME_WRITE, 0), 0);
	cr_assert_eq(posted(), 4);
	/* The record knows better. */
	cr_assert_not_null(strstr(control("changes 1 lba=64"), "\"slba\":64"));
	cr_assert_not_null(strstr(control("changes 1"), "\"latest\":5}"));
}

Test(ssd_faults, a_log_that_is_late)
{
	start_log();
	fault("log-late nth=1");
	cr_assert_eq(io(GW_NVME_WRITE, 0), 0);
	cr_assert_eq(posted(), 1, "completed, and not told");
	cr_assert_eq(io(GW_NVME_WRITE, 64), 0);
	cr_assert_eq(posted(), 3);
	cr_assert_eq(entry(1)->slba, 0);
	cr_assert_eq(entry(2)->slba, 64);
}

Test(ssd_faults, a_log_that_overflows)
{
	start_log();
	fault("log-overflow lba=64 nth=1");
	cr_assert_eq(io(GW_NVME_WRITE, 0), 0);
	cr_assert_eq(io(GW_NVME_WRITE, 64), 0);
	cr_assert_eq(io(GW_NVME_WRITE, 128), 0);
	cr_assert_eq(posted(), 3);
	cr_assert_eq(NVME_CHANGE_SEQUENCE(entry(2)->attributes), NVME_CHANGE_LAST_FULL);
}

/* ---- A state ------------------------------------------------------------------------------------------- */

Test(ssd_faults, a_broken_state_is_refused)
{
	static const char *const fields[] = {
		"version", "nvme-size", "vendor-size", "queue-version", "queue-count", "sq-base", "sq-size",
		"sq-id", "sq-cqid", "sq-head", "sq-tail", "cq-base", "cq-size", "cq-id", "cq-head", "cq-tail",
		"cq-vector", "vendor-magic", "vendor-version", "vendor-records", "vendor-record-size", "0",
	};
	uint64_t dwords[4];
	uint32_t bytes;

	cr_assert_eq(manage(0x41, 0, 1u << 16 | 2, 0, 0), 0);
	cr_assert_eq(manage(0x42, 1u << 16, 1u << 16 | 2, 2047, 8192), 0);
	memcpy(dwords, gw_client_at(M, BUFFER + 16), sizeof(dwords));
	bytes = 48 + 4 * (uint32_t)(dwords[0] + dwords[2]);
	for (size_t i = 0; i < sizeof(fields) / sizeof(fields[0]); i++) {
		char text[64];

		snprintf(text, sizeof(text), "state=%s nth=1", fields[i]);
		fault(text);
		cr_assert_eq(manage(0x42, 1u << 16, 1u << 16 | 2, 2047, 8192), 0);
		/* Into a controller that has no queues: it is the field that is refused. */
		control("reset 1/2");
		cr_assert_eq(manage(0x41, 0, 1u << 16 | 2, 0, 0), 0);
		cr_assert_eq(manage(0x41, 3u << 16 | 2, 1u << 24 | 1u << 16 | 2, bytes / 4, bytes),
			     NVME_SC_INVALID_FIELD, "%s", fields[i]);
		cr_assert_eq(manage(0x41, 1, 2, 0, 0), 0);
		/* A new life, with the queues that the state is to have. */
		gw_client_start_controller(A);
		gw_client_create_queues(A, 1);
		cr_assert_eq(manage(0x41, 0, 1u << 16 | 2, 0, 0), 0);
		control("clear 1/2");
	}
	/* And one that is whole is taken. */
	cr_assert_eq(manage(0x42, 1u << 16, 1u << 16 | 2, 2047, 8192), 0);
	control("reset 1/2");
	cr_assert_eq(manage(0x41, 0, 1u << 16 | 2, 0, 0), 0);
	cr_assert_eq(manage(0x41, 3u << 16 | 2, 1u << 24 | 1u << 16 | 2, bytes / 4, bytes), 0);
	cr_assert_eq(manage(0x41, 1, 2, 0, 0), 0);
	cr_assert_eq(io(GW_NVME_READ, 0), 0);
}

/* What would overflow on its way to the clock. */
Test(ssd_faults, times_are_bounded)
{
	cr_assert_not_null(strstr(control("fault 1/2 delay=0-18446744073709551615ns"), "up to 24h"));
	cr_assert_not_null(strstr(control("fault 1/2 delay=25h"), "up to 24h"));
	cr_assert_not_null(strstr(control("fault 1/2 hang after=18446744073709551615ns"), "up to 24h"));
	fault("delay=0-24h nth=1000");
	cr_assert_eq(io(GW_NVME_WRITE, 0), 0);
}

/* A condition that is left out would make another fault of it. */
Test(ssd_faults, no_word_is_passed_over)
{
	cr_assert_not_null(strstr(control("fault 1/2 hang nth=1 nth=1 nth=1 nth=1 nth=1 nth=1 nth=1 nth=1 "
					  "nth=1 nth=1 nth=1 nth=1 lba=7 "), "\"fault\":"));
	cr_assert_not_null(strstr(control("fault 1/2 hang nth=1 nth=1 nth=1 nth=1 nth=1 nth=1 nth=1 nth=1 "
					  "nth=1 nth=1 nth=1 nth=1 nth=1 lba=7"), "at most 16 words"));
}

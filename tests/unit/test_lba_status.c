// SPDX-License-Identifier: GPL-2.0-or-later
/* Get LBA Status, allocated blocks: what a drive may answer, and what the software SSD does. */
#include <criterion/criterion.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "lba_status.h"
#include "ssd_rig.h"

#define SIZE_BLK 1000
#define ENTRIES 4

static struct {
	struct nvme_lba_status header;
	struct nvme_lba_status_entry entry[ENTRIES];
} answer;

static uint64_t got_first[64], got_count[64];
static uint32_t got;
static struct gw_lba_status status;

static void take(void *arg, uint64_t first_blk, uint64_t count_blk)
{
	(void)arg;
	cr_assert_lt(got, 64);
	got_first[got] = first_blk;
	got_count[got++] = count_blk;
}

/* The next answer begins. */
static void begin(uint8_t condition)
{
	memset(&answer, 0, sizeof(answer));
	answer.header.condition = condition;
}

static void add(uint64_t slba, uint32_t nlb)
{
	answer.entry[answer.header.count++] =
		(struct nvme_lba_status_entry){ .slba = slba, .nlb = nlb, .status = 2 };
}

static int answered(void)
{
	return gw_lba_status_take(&status, &answer, sizeof(answer), take, NULL);
}

static void setup(void)
{
	got = 0;
	gw_lba_status_begin(&status, SIZE_BLK);
}

TestSuite(lba_status, .init = setup);

Test(lba_status, an_empty_namespace)
{
	begin(NVME_LBA_STATUS_COMPLETE);
	cr_expect_eq(answered(), 0);
	cr_expect(status.is_done);
	cr_expect_eq(got, 0);
}

Test(lba_status, a_list_in_two_parts)
{
	begin(NVME_LBA_STATUS_INCOMPLETE);
	add(0, 0);
	add(8, 7);
	cr_expect_eq(answered(), 0);
	cr_expect_not(status.is_done);
	cr_expect_eq(status.next_blk, 16);
	begin(0);
	add(16, 983);
	cr_expect_eq(answered(), 0, "up to the last block: nothing can follow");
	cr_expect(status.is_done);
	cr_expect_eq(got, 3);
	cr_expect_eq(got_first[2], 16);
	cr_expect_eq(got_count[2], 984);
}

Test(lba_status, what_contradicts_itself_is_refused)
{
	begin(NVME_LBA_STATUS_COMPLETE);
	answer.header.count = ENTRIES + 1;
	cr_expect_eq(answered(), -EPROTO, "more than fits");
	answer.header.count = UINT32_MAX;
	cr_expect_eq(answered(), -EPROTO);
	begin(NVME_LBA_STATUS_COMPLETE);
	add(SIZE_BLK, 0);
	cr_expect_eq(answered(), -EPROTO, "past the end");
	begin(NVME_LBA_STATUS_COMPLETE);
	add(SIZE_BLK - 1, 1);
	cr_expect_eq(answered(), -EPROTO, "beyond the end");
	begin(NVME_LBA_STATUS_COMPLETE);
	add(10, UINT32_MAX);
	cr_expect_eq(answered(), -EPROTO);
	begin(NVME_LBA_STATUS_COMPLETE);
	add(10, 5);
	add(15, 5);
	cr_expect_eq(answered(), -EPROTO, "overlap");
	setup();
	begin(NVME_LBA_STATUS_COMPLETE);
	add(UINT64_MAX, UINT32_MAX);
	cr_expect_eq(answered(), -EPROTO);
	begin(NVME_LBA_STATUS_COMPLETE);
	add(1, 1);
	answer.entry[0].status = 3;
	cr_expect_eq(answered(), -EPROTO, "another kind of list");
	begin(NVME_LBA_STATUS_INCOMPLETE);
	cr_expect_eq(answered(), -EPROTO, "it would never end");
	begin(0);
	cr_expect_eq(answered(), -EPROTO, "not said to be all");
	cr_expect_eq(gw_lba_status_take(&status, &answer, 7, take, NULL), -EPROTO);
}

/* Each answer comes nearer to the end, whatever is in it. */
Test(lba_status, any_bytes_come_to_an_end)
{
	srandom(7);
	for (int i = 0; i < 20000; i++) {
		setup();
		for (int asked = 0; !status.is_done; asked++) {
			const uint64_t before = status.next_blk;

			begin((uint8_t)(random() % 4));
			for (long n = random() % (ENTRIES + 1); n > 0; n--)
				add((uint64_t)(random() % (SIZE_BLK + 2)), (uint32_t)(random() % 40));
			got = 0;
			if (answered() < 0)
				break;
			cr_assert_gt(status.next_blk, before);
			cr_assert_leq(status.next_blk, SIZE_BLK);
			cr_assert_leq(asked, SIZE_BLK);
		}
	}
}

/* The drive that has it: what was written, and no more than its units, in as many answers as it takes. */
Test(lba_status, the_software_ssd_tells_what_is_written)
{
	static struct gw_rig rig;
	const uint64_t offset = GW_CLIENT_BUFFER;
	uint32_t asked = 0;

	gw_rig_open(&rig, 1, NULL);
	gw_client_start(&rig.client[0], 1);
	memset(gw_client_at(&rig.client[0], offset), 0x5a, 4096);
	for (uint64_t i = 0; i < 20; i++)
		cr_assert_eq(gw_client_io(&rig.client[0], GW_NVME_WRITE, 1, 1000 * i + 3, 8, offset,
					  4096), 0);
	gw_lba_status_begin(&status, (UINT64_C(16) << 20) / 512);
	while (!status.is_done) {
		struct gw_nvme_sqe sqe = {
			.opcode = GW_NVME_GET_LBA_STATUS,
			.nsid = 1,
			.cdw10 = (uint32_t)status.next_blk,
			.cdw12 = (8 + 6 * 16) / 4 - 1,
			.cdw13 = NVME_LBA_STATUS_ALLOCATED << 24,
		};

		cr_assert_eq(gw_client_execute(&rig.client[0], 0, &sqe, offset, 8 + 6 * 16, NULL), 0);
		cr_assert_eq(gw_lba_status_take(&status, gw_client_at(&rig.client[0], offset),
						8 + 6 * 16, take, NULL), 0);
		asked++;
	}
	cr_expect_eq(got, 20);
	cr_expect_geq(asked, 4);
	for (uint64_t i = 0; i < got; i++) {
		cr_expect_leq(got_first[i], 1000 * i + 3);
		cr_expect_geq(got_first[i] + got_count[i], 1000 * i + 11);
		cr_expect_leq(got_count[i], 24);
	}
	gw_rig_close(&rig);
}

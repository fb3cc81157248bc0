// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Host managed live migration in the software SSD, through the vfio-user socket: M manages, A and B
 * are migrated. Numbers are those of the conformance list (docs/godwit-ssd.md).
 */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "ssd_control.h"
#include "ssd_rig.h"

static struct gw_rig rig;

static void setup_with(bool is_merging)
{
	struct gw_ssd_config config;

	gw_ssd_config_init(&config);
	config.namespace_bytes = UINT64_C(16) << 20;
	config.has_migration = true;
	config.is_merging = is_merging;
	gw_rig_open(&rig, 3, &config);
	for (int i = 0; i < 3; i++)
		gw_client_start(&rig.client[i], 1);
}

static void setup(void)
{
	setup_with(false);
}

static void setup_two_managers(void)
{
	struct gw_ssd_config config;

	gw_ssd_config_init(&config);
	config.namespace_bytes = UINT64_C(16) << 20;
	config.has_migration = true;
	config.managers = 2;
	gw_rig_open(&rig, 3, &config);
	for (int i = 0; i < 3; i++)
		gw_client_start(&rig.client[i], 1);
}

static void teardown(void)
{
	gw_rig_close(&rig);
}

TestSuite(ssd_migration, .init = setup, .fini = teardown, .timeout = 180);

#define M (&rig.client[0])
#define A (&rig.client[1])
#define B (&rig.client[2])
#define CNTLID_A 2u
#define CNTLID_B 3u
#define BUFFER GW_CLIENT_BUFFER
#define RING (BUFFER + (UINT64_C(2) << 20))
#define BLOCKS (UINT64_C(16) << 11)

static uint32_t dw0;

static uint16_t admin(uint8_t opcode, uint32_t cdw10, uint32_t cdw11, uint32_t cdw12, uint32_t cdw13,
		      uint32_t cdw15, uint64_t bytes)
{
	struct gw_nvme_sqe sqe = { .opcode = opcode, .cdw10 = cdw10, .cdw11 = cdw11,
				   .cdw12 = cdw12, .cdw13 = cdw13, .cdw15 = cdw15 };

	dw0 = UINT32_MAX;
	return gw_client_execute(M, 0, &sqe, BUFFER, bytes, &dw0);
}

static uint16_t create(uint32_t cntlid, uint32_t slots, uint64_t offset)
{
	struct gw_nvme_sqe sqe = { .opcode = 0x45, .cdw11 = cntlid << 16 | 1, .cdw12 = slots * 8 };

	sqe.data_pointer[0] = GW_CLIENT_IOVA + offset;
	if (slots < 65536)
		memset(gw_client_at(M, offset & ~UINT64_C(4095)), 0, slots * 32);
	return gw_client_execute(M, 0, &sqe, 0, 0, &dw0);
}

static uint16_t track(uint32_t cdq, bool is_start)
{
	return admin(0x3d, is_start ? 0x10000 : 0, cdq, 0, 0, 0, 0);
}

static uint16_t set_head(uint32_t cdq, uint32_t head)
{
	return admin(0x09, 0x21, cdq, head, 0, 0, 0);
}

static uint16_t suspend(uint32_t cntlid)
{
	return admin(0x41, 0, 1u << 16 | cntlid, 0, 0, 0, 0);
}

static uint16_t resume(uint32_t cntlid)
{
	return admin(0x41, 1, cntlid, 0, 0, 0, 0);
}

static uint16_t get_state(uint32_t cntlid, bool with_nvme, bool with_vendor, uint32_t offset,
			  uint32_t bytes)
{
	return admin(0x42, with_nvme ? 0x10000 : 0, (with_vendor ? 0x10000 : 0) | cntlid, offset, 0,
		     bytes / 4 - 1, bytes);
}

static uint16_t set_state(uint32_t cntlid, uint32_t sequence, bool with_nvme, bool with_vendor,
			  uint32_t offset, uint32_t bytes)
{
	return admin(0x41, sequence << 16 | 2,
		     (with_vendor ? 1u << 24 : 0) | (with_nvme ? 1u << 16 : 0) | cntlid, offset, 0,
		     bytes / 4, bytes);
}

static uint16_t write_blocks(struct gw_client *client, uint64_t slba, uint32_t blocks)
{
	return gw_client_io(client, GW_NVME_WRITE, 1, slba, blocks, BUFFER, blocks * UINT64_C(512));
}

/* ---- A reader of the ring, as a host has one ------------------------------------------------------- */

struct reader {
	uint32_t slots, head;
	bool phase;
	uint64_t offset;
};

static struct reader reader_of(uint32_t slots, uint64_t offset)
{
	return (struct reader){ slots, 0, true, offset };
}

/* The next entry, waited for; every rule for its fields is checked. false: none for a while. */
static bool next_entry(struct reader *r, struct nvme_lba_change *entry, int timeout_ms)
{
	const uint8_t *at = gw_client_at(M, r->offset + r->head * 32);
	uint32_t extent;

	while (((__atomic_load_n(&at[31], __ATOMIC_ACQUIRE) & 1) != 0) != r->phase) {
		if (timeout_ms-- <= 0)
			return false;
		usleep(1000);
	}
	memcpy(entry, at, sizeof(*entry));
	r->head = (r->head + 1) % r->slots;
	if (r->head == 0)
		r->phase = !r->phase;
	extent = NVME_CHANGE_EXTENT(entry->attributes);
	cr_assert_eq(entry->attributes & 0x10, 0);
	cr_assert(extent == 0 || (entry->slba == 0 && NVME_CHANGE_SEQUENCE(entry->attributes) != 0));
	cr_assert(extent != 2 || (entry->nsid == 0 && entry->nlb == 0));
	for (int i = 0; i < 15; i++)
		cr_assert_eq(entry->reserved16[i], 0);
	return true;
}

static void expect_entry(struct reader *r, uint8_t attributes, uint64_t slba, uint32_t blocks)
{
	struct nvme_lba_change entry;
	const bool phase = r->phase;

	cr_assert(next_entry(r, &entry, 30000));
	cr_assert_eq(entry.attributes, phase ? attributes : attributes - 1, "%02x instead of %02x",
		     entry.attributes, attributes);
	if (blocks == 0)
		return;
	cr_assert_eq(entry.nsid, 1);
	cr_assert_eq(entry.slba, slba);
	cr_assert_eq(entry.nlb, blocks - 1);
}

/* ---- 001 to 010: what is advertised ------------------------------------------------------------------ */

Test(ssd_migration, the_manager_says_so_and_the_others_do_not)
{
	static struct nvme_id_ctrl id;
	static uint8_t formats[4096];
	static struct nvme_id_ctrl_nvm nvm;
	struct gw_client *client[] = { M, A, B };

	for (int i = 0; i < 3; i++) {
		cr_assert_eq(gw_client_identify(client[i], NVME_CNS_CONTROLLER, 0, &id), 0);
		cr_assert_eq((id.oacs & NVME_OACS_HMLMS) != 0, i == 0);
		cr_assert_eq(id.hmpre, 0);
		cr_assert_eq(id.reserved577, 0);
		if (i == 0) {
			cr_assert_eq(id.trattr & 3, 3);
			cr_assert_leq(id.minmrtg, id.maxmrtg);
			cr_assert_leq(id.cmmrtd, id.nmmrtd);
			cr_assert_leq(id.mcudmq, id.mnsudmq);
			cr_assert_geq(id.nmcmr, id.mcmr);
		} else {
			cr_assert_eq(id.trattr | id.mcudmq | id.cmmrtd | id.nmmrtd | id.maxmrtg, 0);
		}
		cr_assert_eq(gw_client_identify(client[i], NVME_CNS_STATE_FORMATS, 0, formats),
			     i == 0 ? 0 : NVME_SC_INVALID_FIELD);
	}
	cr_assert_eq(gw_client_identify(M, NVME_CNS_STATE_FORMATS, 0, formats), 0);
	cr_assert_eq(formats[0], 1);
	cr_assert_eq(formats[1], 1);
	cr_assert_eq(formats[2] | formats[3], 0);
	cr_assert_eq(gw_client_identify(M, NVME_CNS_COMMAND_SET_CONTROLLER, 0, &nvm), 0);
	cr_assert_eq(nvm.lbamqf, 0);
	cr_assert_eq(nvm.aocs & NVME_AOCS_RALBAS, 1);
}

Test(ssd_migration, a_migratable_controller_knows_none_of_the_commands)
{
	static const uint8_t opcodes[] = { 0x3d, 0x3e, 0x41, 0x42, 0x45 };

	for (size_t i = 0; i < sizeof(opcodes); i++) {
		struct gw_nvme_sqe sqe = { .opcode = opcodes[i], .cdw11 = CNTLID_B << 16 | 1,
					   .cdw12 = 64 };

		cr_assert_eq(gw_client_execute(A, 0, &sqe, BUFFER, 4096, NULL), NVME_SC_INVALID_OPCODE);
	}
}

/* ---- 011 to 025: queues ------------------------------------------------------------------------------- */

Test(ssd_migration, queues_are_created_by_the_rules)
{
	uint32_t cdq;

	cr_assert_eq(create(CNTLID_A, 128, RING), 0);
	cdq = dw0;
	cr_assert_lt(cdq, 0x10000);
	cr_assert_eq(create(CNTLID_A, 128, RING), NVME_SC_INVALID_FIELD, "019");
	cr_assert_eq(create(CNTLID_B, 128, RING + 8), NVME_SC_PRP_OFFSET_INVALID, "014");
	cr_assert_eq(create(9, 128, RING), NVME_SC_INVALID_CONTROLLER_ID, "017");
	cr_assert_eq(create(1, 128, RING), NVME_SC_INVALID_CONTROLLER_ID, "018");
	cr_assert_eq(create(CNTLID_B, 0, RING), NVME_SC_INVALID_FIELD, "013");
	cr_assert_eq(create(CNTLID_B, 1u << 20, GW_CLIENT_MEMORY_BYTES - 4096), NVME_SC_INVALID_FIELD,
		     "015: not all of it is memory");
	cr_assert_eq(admin(0x45, 0x010000, CNTLID_B << 16 | 1, 64, 0, 0, 4096), NVME_SC_INVALID_FIELD,
		     "016");
	cr_assert_eq(admin(0x45, 0x000002, CNTLID_B << 16 | 1, 64, 0, 0, 4096), NVME_SC_INVALID_FIELD,
		     "016");
	cr_assert_eq(admin(0x45, 0, CNTLID_B << 16 | 1, 63, 0, 0, 4096), NVME_SC_INVALID_FIELD, "013");
	cr_assert_eq(admin(0x45, 1, cdq, 0, 0, 0, 0), 0, "022");
	cr_assert_eq(admin(0x45, 1, cdq, 0, 0, 0, 0), NVME_SC_INVALID_CDQ, "022");
	cr_assert_eq(create(CNTLID_A, 128, RING), 0);
}

Test(ssd_migration, the_number_of_queues_has_a_limit)
{
	rig.ss.config.lm.cdqs = 1;
	cr_assert_eq(create(CNTLID_A, 128, RING), 0);
	cr_assert_eq(create(CNTLID_B, 128, RING + 8192), NVME_SC_NOT_ENOUGH_RESOURCES, "020");
	cr_assert_eq(admin(0x45, 1, dw0 = 1, 0, 0, 0, 0), 0);
	cr_assert_eq(create(CNTLID_B, 128, RING + 8192), 0);
}

/* 012: pages in any order; entries go on at the right one. */
Test(ssd_migration, a_queue_may_lie_in_scattered_pages)
{
	struct gw_nvme_sqe sqe = { .opcode = 0x45, .cdw11 = CNTLID_A << 16, .cdw12 = 256 * 8 };
	uint64_t *list = (void *)gw_client_at(M, RING);
	struct reader first = reader_of(256, RING + 8 * 4096), second = reader_of(256, RING + 3 * 4096);

	memset(gw_client_at(M, RING), 0, 16 * 4096);
	list[0] = GW_CLIENT_IOVA + RING + 8 * 4096;
	list[1] = GW_CLIENT_IOVA + RING + 3 * 4096;
	sqe.data_pointer[0] = GW_CLIENT_IOVA + RING;
	list[1] += 8;
	cr_assert_eq(gw_client_execute(M, 0, &sqe, 0, 0, NULL), NVME_SC_PRP_OFFSET_INVALID, "014");
	list[1] -= 8;
	cr_assert_eq(gw_client_execute(M, 0, &sqe, 0, 0, &dw0), 0);
	cr_assert_eq(track(dw0, true), 0);
	for (uint32_t i = 0; i < 130; i++)
		cr_assert_eq(write_blocks(A, i, 1), 0);
	expect_entry(&first, 0x83, 0, 0);
	for (uint32_t i = 0; i < 127; i++)
		expect_entry(&first, 0x01, i, 1);
	expect_entry(&second, 0x01, 127, 1);
	expect_entry(&second, 0x01, 128, 1);
}

Test(ssd_migration, a_reset_of_the_manager_deletes_and_one_of_the_other_does_not)
{
	struct reader r = reader_of(128, RING);
	uint32_t cdq;

	cr_assert_eq(create(CNTLID_A, 128, RING), 0);
	cdq = dw0;
	cr_assert_eq(track(cdq, true), 0);
	gw_client_stop_controller(A);
	gw_client_start_controller(A);
	gw_client_create_queues(A, 1);
	cr_assert_eq(write_blocks(A, 5, 1), 0);
	expect_entry(&r, 0x83, 0, 0);
	expect_entry(&r, 0x01, 5, 1);
	gw_client_stop_controller(M);
	gw_client_start_controller(M);
	cr_assert_eq(track(cdq, false), NVME_SC_INVALID_CDQ, "024");
	cr_assert_eq(write_blocks(A, 6, 1), 0);
	cr_assert_eq(gw_client_at(M, RING + 2 * 32)[31], 0, "024: written after the reset");
}

/* ---- 026 to 046: the log -------------------------------------------------------------------------------- */

Test(ssd_migration, the_log_begins_tells_and_ends)
{
	struct reader r = reader_of(128, RING);
	struct gw_nvme_sqe dsm = { .opcode = GW_NVME_DATASET_MANAGEMENT, .nsid = 1, .cdw11 = 4 };
	const struct gw_nvme_dsm_range range = { 0, 16, 100 };
	struct nvme_lba_change entry;
	uint32_t cdq;

	cr_assert_eq(create(CNTLID_A, 128, RING), 0);
	cdq = dw0;
	cr_assert_eq(track(77, true), NVME_SC_INVALID_CDQ, "027");
	cr_assert_eq(track(cdq, true), 0);
	cr_assert_eq(track(cdq, true), NVME_SC_INVALID_CDQ, "028");
	cr_assert_eq(admin(0x3d, 0x20000, cdq, 0, 0, 0, 0), NVME_SC_INVALID_FIELD, "029");
	cr_assert_eq(admin(0x3d, 0x2, cdq, 0, 0, 0, 0), NVME_SC_INVALID_FIELD, "029");
	expect_entry(&r, 0x83, 0, 0);
	cr_assert_eq(write_blocks(A, 0, 1), 0);
	expect_entry(&r, 0x01, 0, 1);
	cr_assert_eq(write_blocks(A, 64, 2048), 0);
	expect_entry(&r, 0x01, 64, 2048);
	cr_assert_eq(gw_client_io(A, GW_NVME_WRITE_ZEROES, 1, 50, 3, 0, 0), 0);
	expect_entry(&r, 0x01, 50, 3);
	cr_assert_eq(gw_client_io(A, GW_NVME_WRITE_UNCORRECTABLE, 1, 40, 2, 0, 0), 0);
	expect_entry(&r, 0x01, 40, 2);
	memcpy(gw_client_at(A, BUFFER), &range, sizeof(range));
	cr_assert_eq(gw_client_execute(A, 1, &dsm, BUFFER, sizeof(range), NULL), 0);
	expect_entry(&r, 0x21, 100, 16);
	/* 040, 041: what changes nothing, and what another controller changes. */
	cr_assert_eq(gw_client_io(A, GW_NVME_READ, 1, 0, 1, BUFFER, 512), 0);
	cr_assert_eq(gw_client_io(A, GW_NVME_FLUSH, 1, 0, 1, 0, 0), 0);
	cr_assert_eq(gw_client_io(A, GW_NVME_VERIFY, 1, 0, 1, 0, 0), 0);
	cr_assert_eq(write_blocks(B, 7, 1), 0);
	cr_assert_eq(write_blocks(M, 8, 1), 0);
	cr_assert_eq(track(cdq, false), 0);
	expect_entry(&r, 0x85, 0, 0);
	cr_assert_eq(write_blocks(A, 9, 1), 0);
	cr_assert_not(next_entry(&r, &entry, 20), "030");
	cr_assert_eq(track(cdq, true), 0);
	expect_entry(&r, 0x83, 0, 0);
}

Test(ssd_migration, format_and_copy_are_in_the_log)
{
	struct reader r = reader_of(128, RING);
	struct gw_nvme_sqe format = { .opcode = GW_NVME_FORMAT, .nsid = 1 };
	struct gw_nvme_sqe copy = { .opcode = GW_NVME_COPY, .nsid = 1, .cdw10 = 500 };
	const uint64_t source[4] = { 0, 10, 3, 0 };

	cr_assert_eq(create(CNTLID_A, 128, RING), 0);
	cr_assert_eq(track(dw0, true), 0);
	expect_entry(&r, 0x83, 0, 0);
	memcpy(gw_client_at(A, BUFFER), source, sizeof(source));
	cr_assert_eq(gw_client_execute(A, 1, &copy, BUFFER, sizeof(source), NULL), 0);
	expect_entry(&r, 0x01, 500, 4);
	cr_assert_eq(gw_client_execute(A, 0, &format, 0, 0, NULL), 0);
	expect_entry(&r, 0x01, 0, (uint32_t)BLOCKS);
}

/* 044: three times round, heads given back as one goes. */
Test(ssd_migration, the_phase_holds_for_many_rounds)
{
	struct reader r = reader_of(8, RING);
	uint32_t cdq;

	cr_assert_eq(create(CNTLID_A, 8, RING), 0);
	cdq = dw0;
	cr_assert_eq(track(cdq, true), 0);
	expect_entry(&r, 0x83, 0, 0);
	for (uint32_t i = 0; i < 30; i++) {
		cr_assert_eq(write_blocks(A, i, 1), 0);
		expect_entry(&r, 0x01, i, 1);
		cr_assert_eq(set_head(cdq, r.head), 0);
	}
}

/* 046 to 050 */
Test(ssd_migration, a_full_queue_says_so_in_its_last_slot)
{
	struct gw_nvme_sqe aer = { .opcode = GW_NVME_ASYNC_EVENT };
	struct reader r = reader_of(8, RING);
	struct nvme_lba_change entry;
	struct nvme_cqe cqe;
	uint32_t cdq;

	cr_assert_eq(create(CNTLID_A, 8, RING), 0);
	cdq = dw0;
	cr_assert_eq(track(cdq, true), 0);
	for (uint32_t i = 0; i < 12; i++)
		cr_assert_eq(write_blocks(A, i, 1), 0, "the guest is never held up");
	expect_entry(&r, 0x83, 0, 0);
	for (uint32_t i = 0; i < 5; i++)
		expect_entry(&r, 0x01, i, 1);
	expect_entry(&r, 0x0f, 5, 1);
	cr_assert_not(next_entry(&r, &entry, 20));
	gw_client_submit(M, 0, &aer);
	cr_assert(gw_client_reap(M, 0, &cqe, 30000));
	cr_assert_eq(cqe.dw0, 0x0104);
	cr_assert_eq(cqe.dw1, cdq);
	cr_assert_eq(track(cdq, true), NVME_SC_CDQ_FULL, "049");
	cr_assert_eq(set_head(cdq, r.head), 0);
	cr_assert_eq(write_blocks(A, 20, 1), 0);
	cr_assert_not(next_entry(&r, &entry, 20), "048");
	cr_assert_eq(track(cdq, true), 0);
	expect_entry(&r, 0x83, 0, 0);
}

/* 051 to 057 */
Test(ssd_migration, head_and_trigger)
{
	struct gw_nvme_sqe aer = { .opcode = GW_NVME_ASYNC_EVENT };
	const struct nvme_cdq_feature *feature = (const void *)gw_client_at(M, BUFFER);
	struct nvme_cqe cqe;
	uint32_t cdq;

	cr_assert_eq(create(CNTLID_A, 16, RING), 0);
	cdq = dw0;
	cr_assert_eq(set_head(cdq, 1), NVME_SC_INVALID_FIELD, "055: it is empty");
	cr_assert_eq(track(cdq, true), 0);
	cr_assert_eq(write_blocks(A, 0, 1), 0);
	cr_assert_eq(set_head(cdq, 3), NVME_SC_INVALID_FIELD, "055: past the tail");
	cr_assert_eq(set_head(cdq, 16), NVME_SC_INVALID_FIELD);
	cr_assert_eq(set_head(99, 0), NVME_SC_INVALID_CDQ, "057");
	cr_assert_eq(admin(0x09, 0x80000021, cdq, 0, 0, 0, 0), NVME_SC_FEATURE_NOT_SAVEABLE, "057");
	cr_assert_eq(admin(0x09, 0x21, 0x80000000 | cdq, 1, 16, 0, 0), NVME_SC_INVALID_FIELD, "056");
	cr_assert_eq(admin(0x09, 0x21, cdq, 1, 16, 0, 0), 0, "056");
	cr_assert_eq(admin(0x09, 0x21, 0x80000000 | cdq, 2, 4, 0, 0), 0);
	cr_assert_eq(admin(0x0a, 0x21, cdq, 0, 0, 0, 512), 0);
	cr_assert_eq(dw0, 0x80000000 | cdq);
	cr_assert_eq(feature->head, 2);
	cr_assert_eq(feature->trigger, 4);
	gw_client_submit(M, 0, &aer);
	cr_assert_eq(write_blocks(A, 0, 1), 0);
	cr_assert_eq(write_blocks(A, 0, 1), 0);
	cr_assert_not(gw_client_reap(M, 0, &cqe, 20), "051: not before");
	cr_assert_eq(write_blocks(A, 0, 1), 0);
	cr_assert(gw_client_reap(M, 0, &cqe, 30000));
	cr_assert_eq(cqe.dw0, 0x0004);
	cr_assert_eq(cqe.dw1, cdq);
	cr_assert_eq(admin(0x0a, 0x21, cdq, 0, 0, 0, 512), 0);
	cr_assert_eq(dw0, cdq, "052: disarmed");
	cr_assert_eq(feature->trigger, 0);
	/* 053: one that nobody was told of yet goes with the next success. */
	cr_assert_eq(admin(0x09, 0x21, 0x80000000 | cdq, 5, 5, 0, 0), 0);
	cr_assert_eq(write_blocks(A, 0, 1), 0);
	cr_assert_eq(set_head(cdq, 5), 0);
	gw_client_submit(M, 0, &aer);
	cr_assert_not(gw_client_reap(M, 0, &cqe, 20));
}

/* ---- 058 to 073: suspend and resume ----------------------------------------------------------------------- */

Test(ssd_migration, a_suspended_controller_waits_and_goes_on)
{
	struct gw_nvme_sqe identify = { .opcode = GW_NVME_IDENTIFY, .cdw10 = NVME_CNS_CONTROLLER };
	struct gw_nvme_sqe flush = { .opcode = GW_NVME_FLUSH, .nsid = 1 };
	struct gw_nvme_sqe sanitize = { .opcode = GW_NVME_SANITIZE, .cdw10 = 2 };
	struct reader r = reader_of(128, RING);
	struct nvme_lba_change entry;
	struct nvme_cqe cqe;
	uint16_t cid[3];
	uint32_t cdq;

	cr_assert_eq(create(CNTLID_A, 128, RING), 0);
	cdq = dw0;
	cr_assert_eq(track(cdq, true), 0);
	cr_assert_eq(write_blocks(A, 1, 1), 0);
	cr_assert_eq(resume(CNTLID_A), NVME_SC_CONTROLLER_NOT_SUSPENDED, "070");
	cr_assert_eq(admin(0x41, 0, CNTLID_A, 0, 0, 0, 0), 0, "063");
	cr_assert_eq(resume(CNTLID_A), NVME_SC_CONTROLLER_NOT_SUSPENDED, "063");
	cr_assert_eq(admin(0x41, 0, 2u << 16 | CNTLID_A, 0, 0, 0, 0), NVME_SC_INVALID_FIELD, "064");
	cr_assert_eq(suspend(1), NVME_SC_INVALID_CONTROLLER_ID);
	cr_assert_eq(resume(9), NVME_SC_INVALID_CONTROLLER_ID, "070");
	cr_assert_eq(suspend(CNTLID_A), 0);
	cr_assert_eq(suspend(CNTLID_A), 0, "062");
	expect_entry(&r, 0x83, 0, 0);
	expect_entry(&r, 0x01, 1, 1);
	expect_entry(&r, 0x87, 0, 0);
	cr_assert_not(next_entry(&r, &entry, 20), "062: only one");
	cr_assert_eq(track(cdq, true), NVME_SC_CONTROLLER_SUSPENDED, "067");
	cr_assert_eq(track(cdq, false), NVME_SC_CONTROLLER_SUSPENDED, "067");
	cr_assert_eq(gw_client_execute(B, 0, &sanitize, 0, 0, NULL), NVME_SC_CONTROLLER_SUSPENDED,
		     "068");
	cr_assert_eq(gw_client_register(A, NVME_REG_CSTS), NVME_CSTS_RDY, "073");
	gw_client_set_prps(&identify, A, BUFFER, 4096, 0);
	cid[0] = gw_client_submit(A, 0, &identify);
	for (int i = 1; i < 3; i++)
		cid[i] = gw_client_submit(A, 1, &flush);
	cr_assert_not(gw_client_reap(A, 0, &cqe, 30), "059");
	cr_assert_not(gw_client_reap(A, 1, &cqe, 30), "058");
	cr_assert_eq(resume(CNTLID_A), 0);
	cr_assert(gw_client_reap(A, 0, &cqe, 30000));
	cr_assert_eq(cqe.cid, cid[0]);
	for (int i = 1; i < 3; i++) {
		cr_assert(gw_client_reap(A, 1, &cqe, 30000));
		cr_assert_eq(cqe.cid, cid[i], "069: in order");
	}
	expect_entry(&r, 0x83, 0, 0);
	cr_assert_eq(write_blocks(A, 2, 1), 0);
	expect_entry(&r, 0x01, 2, 1);
}

Test(ssd_migration, suspend_can_delete_the_queue)
{
	struct reader r = reader_of(128, RING);
	uint32_t cdq;

	cr_assert_eq(create(CNTLID_A, 128, RING), 0);
	cdq = dw0;
	cr_assert_eq(track(cdq, true), 0);
	cr_assert_eq(write_blocks(A, 1, 1), 0);
	cr_assert_eq(admin(0x41, 0, 0x80010000 | CNTLID_A, 0, 0, 0, 0), 0);
	expect_entry(&r, 0x83, 0, 0);
	expect_entry(&r, 0x01, 1, 1);
	expect_entry(&r, 0x87, 0, 0);
	cr_assert_eq(set_head(cdq, 1), NVME_SC_INVALID_CDQ, "066");
	cr_assert_eq(resume(CNTLID_A), 0);
}

Test(ssd_migration, resets_end_a_suspension)
{
	cr_assert_eq(suspend(CNTLID_A), 0);
	gw_client_stop_controller(A);
	gw_client_start_controller(A);
	gw_client_create_queues(A, 1);
	cr_assert_eq(write_blocks(A, 2, 1), 0, "071");
	cr_assert_eq(suspend(CNTLID_A), 0);
	gw_client_stop_controller(M);
	gw_client_start_controller(M);
	cr_assert_eq(write_blocks(A, 2, 1), 0, "072");
}

/* Its queue outlives it, and so does the log: what is changed afterwards must not be missing. */
Test(ssd_migration, a_reset_of_a_suspended_one_goes_on_with_its_log)
{
	struct reader r = reader_of(128, RING);

	cr_assert_eq(create(CNTLID_A, 128, RING), 0);
	cr_assert_eq(track(dw0, true), 0);
	cr_assert_eq(suspend(CNTLID_A), 0);
	gw_client_stop_controller(A);
	gw_client_start_controller(A);
	gw_client_create_queues(A, 1);
	cr_assert_eq(write_blocks(A, 2, 1), 0);
	expect_entry(&r, 0x83, 0, 0);
	expect_entry(&r, 0x87, 0, 0);
	expect_entry(&r, 0x83, 0, 0);
	expect_entry(&r, 0x01, 2, 1);
}

/* ---- 074 to 092: state ------------------------------------------------------------------------------------ */

Test(ssd_migration, state_is_read_whole_or_in_pieces)
{
	const struct nvme_controller_state *head = (const void *)gw_client_at(M, BUFFER);
	static uint8_t whole[4096];
	uint32_t bytes;

	cr_assert_eq(get_state(CNTLID_A, true, true, 0, 4096), 0);
	cr_assert_eq(dw0, 0, "075");
	cr_assert_eq(head->attributes, 0);
	cr_assert_eq(suspend(CNTLID_A), 0);
	cr_assert_eq(get_state(CNTLID_A, true, true, 0, 4096), 0);
	cr_assert_eq(dw0, NVME_WAS_SUSPENDED, "074");
	cr_assert_eq(head->attributes, NVME_STATE_SUSPENDED);
	cr_assert_eq(head->nvme_dwords[0], 2 + 6 * 2, "080");
	memcpy(whole, head, sizeof(whole));
	bytes = (uint32_t)(48 + 4 * (head->nvme_dwords[0] + head->vendor_dwords[0]));
	for (uint32_t at = 0; at < bytes; at += 4) {
		cr_assert_eq(get_state(CNTLID_A, true, true, at, 4), 0);
		cr_assert_eq(memcmp(gw_client_at(M, BUFFER), whole + at, 4), 0, "079 at %u", at);
	}
	cr_assert_eq(get_state(CNTLID_A, true, true, bytes, 4), 0, "078");
	cr_assert_eq(get_state(CNTLID_A, true, true, bytes + 4, 4), NVME_SC_INVALID_FIELD, "078");
	cr_assert_eq(get_state(CNTLID_A, true, true, 2, 4), NVME_SC_INVALID_FIELD, "078");
	cr_assert_eq(get_state(CNTLID_A, false, false, 0, 48), 0, "076");
	cr_assert_eq(head->nvme_dwords[0] + head->vendor_dwords[0], 0);
	cr_assert_eq(admin(0x42, 2u << 16, CNTLID_A, 0, 0, 1, 8), NVME_SC_INVALID_FIELD, "077");
	cr_assert_eq(admin(0x42, 0, 2u << 16 | CNTLID_A, 0, 0, 1, 8), NVME_SC_INVALID_FIELD, "077");
}

/*
 * 090, 091: B becomes what A was. B's host has A's memory, as after a migration: its commands
 * wait in A's queues, and complete on B, in A's completion queue, with A's identifiers.
 */
Test(ssd_migration, a_controller_moves_with_its_waiting_commands)
{
	struct gw_nvme_sqe flush = { .opcode = GW_NVME_FLUSH, .nsid = 1 };
	struct gw_nvme_sqe identify = { .opcode = GW_NVME_IDENTIFY, .cdw10 = NVME_CNS_CONTROLLER };
	static uint8_t state[4096];
	struct nvme_cqe cqe;
	uint16_t cid, cid_admin;
	uint32_t bytes;

	for (int i = 0; i < 37; i++)		/* the rings have wrapped, and stand somewhere */
		cr_assert_eq(write_blocks(A, 1, 1), 0);
	cr_assert_eq(suspend(CNTLID_A), 0);
	cid = gw_client_submit(A, 1, &flush);
	gw_client_set_prps(&identify, A, BUFFER, 4096, 0);
	cid_admin = gw_client_submit(A, 0, &identify);
	gw_client_register(A, NVME_REG_CSTS);	/* the doorbells are in */
	cr_assert_eq(get_state(CNTLID_A, true, true, 0, 4096), 0);
	memcpy(state, gw_client_at(M, BUFFER), sizeof(state));
	bytes = (uint32_t)(48 + 4 * (((struct nvme_controller_state *)(void *)state)->nvme_dwords[0] +
				     ((struct nvme_controller_state *)(void *)state)->vendor_dwords[0]));
	cr_assert_eq(suspend(CNTLID_B), 0);
	memcpy(gw_client_at(M, BUFFER), state, bytes);
	cr_assert_eq(set_state(CNTLID_B, 3, true, true, 0, bytes), NVME_SC_INVALID_FIELD,
		     "082: it has queues");
	gw_client_stop_controller(B);
	cr_assert_eq(suspend(CNTLID_B), 0);
	memcpy(gw_client_at(B, 0), gw_client_at(A, 0), GW_CLIENT_MEMORY_BYTES);
	memcpy(B->queue, A->queue, sizeof(B->queue));
	memcpy(gw_client_at(M, BUFFER), state, bytes);
	cr_assert_eq(set_state(CNTLID_B, 3, true, true, 0, bytes), 0);
	cr_assert_eq(get_state(CNTLID_B, true, true, 0, 4096), 0);
	cr_assert_eq(memcmp(gw_client_at(M, BUFFER), state, bytes), 0, "090");
	cr_assert_eq(gw_client_register(B, NVME_REG_CSTS), NVME_CSTS_RDY);
	cr_assert_eq(resume(CNTLID_B), 0);
	cr_assert(gw_client_reap(B, 1, &cqe, 30000), "091");
	cr_assert_eq(cqe.cid, cid);
	cr_assert(gw_client_reap(B, 0, &cqe, 30000), "091");
	cr_assert_eq(cqe.cid, cid_admin);
	B->next_cid = 1000;
	for (int i = 0; i < 40; i++)
		cr_assert_eq(write_blocks(B, 2, 1), 0);
	cr_assert_not(gw_client_reap(A, 1, &cqe, 20), "the source is still suspended");
}

Test(ssd_migration, state_comes_in_parts_or_not_at_all)
{
	static uint8_t state[4096];
	const struct nvme_controller_state *head = (const void *)state;
	uint32_t bytes;

	cr_assert_eq(suspend(CNTLID_A), 0);
	cr_assert_eq(get_state(CNTLID_A, true, false, 0, 4096), 0);
	memcpy(state, gw_client_at(M, BUFFER), sizeof(state));
	bytes = (uint32_t)(48 + 4 * head->nvme_dwords[0]);
	gw_client_stop_controller(B);
	cr_assert_eq(set_state(CNTLID_B, 3, true, false, 0, bytes), NVME_SC_INVALID_CONTROLLER_ID,
		     "neither suspended nor enabled");
	cr_assert_eq(suspend(CNTLID_B), 0);
	cr_assert_eq(set_state(CNTLID_B, 0, true, false, 0, 48), NVME_SC_COMMAND_SEQUENCE, "084");
	cr_assert_eq(set_state(CNTLID_B, 2, true, false, 0, 48), NVME_SC_COMMAND_SEQUENCE, "084");
	cr_assert_eq(set_state(CNTLID_B, 3, false, false, 0, 48), NVME_SC_INVALID_FIELD, "083");
	cr_assert_eq(set_state(CNTLID_B, 1, true, false, 0, 0), NVME_SC_INVALID_FIELD, "087");
	memcpy(gw_client_at(M, BUFFER), state, 48);
	cr_assert_eq(set_state(CNTLID_B, 1, true, false, 0, 48), 0);
	cr_assert_eq(resume(CNTLID_B), NVME_SC_COMMAND_SEQUENCE, "086");
	cr_assert_eq(set_state(CNTLID_B, 2, true, false, 0, 0), NVME_SC_INVALID_FIELD, "it is short");
	cr_assert_eq(set_state(CNTLID_B, 0, true, false, 48, 4), NVME_SC_COMMAND_SEQUENCE);
	/* 088: dword by dword, from the end. */
	for (uint32_t at = bytes; at > 0; at -= 4) {
		memcpy(gw_client_at(M, BUFFER), state + at - 4, 4);
		cr_assert_eq(set_state(CNTLID_B, at == bytes ? 1 : 0, true, false, at - 4, 4), 0);
	}
	cr_assert_eq(set_state(CNTLID_B, 2, true, false, 0, 0), 0, "087");
	cr_assert_eq(get_state(CNTLID_B, true, false, 0, 4096), 0);
	cr_assert_eq(memcmp(gw_client_at(M, BUFFER), state, bytes), 0);
	cr_assert_eq(resume(CNTLID_B), 0, "086");
}

/* 089: each of these breaks one field; the controller stays as it was. */
Test(ssd_migration, a_broken_state_is_refused)
{
	static const struct {
		uint32_t at;
		uint8_t value;
		const char *what;
	} broken[] = {
		{ 0, 1, "version of the container" },
		{ 16, 15, "size of the NVMe half" },
		{ 32, 1, "size of the vendor half" },
		{ 24, 1, "128-bit size" },
		{ 48, 1, "version of the NVMe state" },
		{ 50, 2, "number of queues" },
		{ 56 + 1, 1, "PRP offset of the submission queue" },
		{ 56 + 8, 0, "size of the submission queue" },
		{ 56 + 9, 0xff, "size of the submission queue" },
		{ 56 + 10, 0, "queue 0" },
		{ 56 + 10, 200, "queue beyond the limit" },
		{ 56 + 12, 9, "a completion queue that is not listed" },
		{ 56 + 14, 0, "not contiguous" },
		{ 56 + 16, 16, "head beyond the size" },
		{ 56 + 18, 16, "tail beyond the size" },
		{ 80 + 12, 16, "head of the completion queue" },
		{ 80 + 14, 16, "tail of the completion queue" },
		{ 80 + 16, 0, "not contiguous" },
		{ 80 + 18, GW_SSD_VECTORS, "vector" },
	};
	static uint8_t state[104];

	cr_assert_eq(suspend(CNTLID_A), 0);
	cr_assert_eq(get_state(CNTLID_A, true, false, 0, sizeof(state)), 0);
	memcpy(state, gw_client_at(M, BUFFER), sizeof(state));
	gw_client_stop_controller(B);
	cr_assert_eq(suspend(CNTLID_B), 0);
	for (size_t i = 0; i < sizeof(broken) / sizeof(broken[0]); i++) {
		memcpy(gw_client_at(M, BUFFER), state, sizeof(state));
		gw_client_at(M, BUFFER)[broken[i].at] = broken[i].value;
		cr_expect_eq(set_state(CNTLID_B, 3, true, false, 0, sizeof(state)),
			     NVME_SC_INVALID_FIELD, "%s", broken[i].what);
		cr_assert_eq(get_state(CNTLID_B, true, false, 0, 56), 0);
		cr_assert_eq(gw_client_at(M, BUFFER)[16], 2, "%s: a queue was made", broken[i].what);
	}
	memcpy(gw_client_at(M, BUFFER), state, sizeof(state));
	cr_assert_eq(set_state(CNTLID_B, 3, true, false, 0, sizeof(state)), 0);
}

/* ---- 093 to 102: memory ------------------------------------------------------------------------------------ */

static uint16_t track_memory(uint32_t cntlid, uint8_t granularity, uint64_t address, uint32_t count)
{
	struct nvme_track_memory *head = (void *)gw_client_at(M, BUFFER);
	struct nvme_track_range range = { address, count };

	*head = (struct nvme_track_memory){ .granularity = granularity, .count = 1 };
	memcpy(head->range, &range, sizeof(range));
	return admin(0x3d, 0x10001, cntlid, 0, 0, 0, 4096);
}

Test(ssd_migration, written_memory_is_told_once)
{
	const struct nvme_tracked_memory *head = (const void *)gw_client_at(M, BUFFER);
	const uint64_t where = GW_CLIENT_IOVA + BUFFER;

	cr_assert_eq(track_memory(CNTLID_A, 10, where, 1), NVME_SC_INVALID_FIELD, "097");
	cr_assert_eq(track_memory(CNTLID_A, 1, where + 4096, 1), NVME_SC_INVALID_FIELD, "097");
	cr_assert_eq(track_memory(1, 0, where, 1), NVME_SC_INVALID_CONTROLLER_ID, "099");
	cr_assert_eq(admin(0x3e, 0, CNTLID_A, 1023, 0, 0, 4096), NVME_SC_INVALID_CONTROLLER_ID);
	cr_assert_eq(track_memory(CNTLID_A, 0, where, 64), 0);
	cr_assert_eq(track_memory(CNTLID_A, 0, where, 64), NVME_SC_INVALID_CONTROLLER_ID, "099");
	cr_assert_eq(gw_client_io(A, GW_NVME_READ, 1, 0, 8, BUFFER, 4096), 0);
	cr_assert_eq(gw_client_io(A, GW_NVME_READ, 1, 0, 16, BUFFER + 20 * 4096, 8192), 0);
	cr_assert_eq(gw_client_io(A, GW_NVME_READ, 1, 0, 8, BUFFER + 70 * 4096, 4096), 0, "101");
	cr_assert_eq(gw_client_io(A, GW_NVME_WRITE, 1, 0, 8, BUFFER + 30 * 4096, 4096), 0);
	cr_assert_eq(admin(0x3e, 0, CNTLID_A, 7, 0, 0, 32), 0);
	cr_assert_eq(head->count, 1);
	cr_assert_eq(head->attributes, NVME_TRACKED_MORE, "095");
	cr_assert_eq(head->range[0].address, where);
	cr_assert_eq(head->range[0].count, 1);
	cr_assert_eq(admin(0x3e, 0, CNTLID_A, 1023, 0, 0, 4096), 0);
	cr_assert_eq(head->count, 1);
	cr_assert_eq(head->attributes, 0);
	cr_assert_eq(head->range[0].address, where + 20 * 4096);
	cr_assert_eq(head->range[0].count, 2);
	cr_assert_eq(suspend(CNTLID_A), 0);
	cr_assert_eq(admin(0x3e, 0, CNTLID_A, 1023, 0, 0, 4096), 0);
	cr_assert_eq(head->count, 0, "094");
	cr_assert_eq(head->attributes, NVME_TRACKED_SUSPENDED, "096");
	cr_assert_eq(admin(0x3d, 1, CNTLID_A, 0, 0, 0, 0), NVME_SC_CONTROLLER_SUSPENDED, "099");
	cr_assert_eq(resume(CNTLID_A), 0);
	cr_assert_eq(admin(0x3d, 1, CNTLID_A, 0, 0, 0, 0), 0);
	cr_assert_eq(track_memory(CNTLID_A, 0, where & ~UINT64_C(0xfff), UINT32_MAX),
		     NVME_SC_NOT_ENOUGH_RESOURCES, "100");
	cr_assert_leq(dw0, 9);
	cr_assert_eq(track_memory(CNTLID_A, (uint8_t)dw0, 0, UINT32_MAX >> dw0), 0, "100");
	gw_client_stop_controller(M);
	gw_client_start_controller(M);
	cr_assert_eq(admin(0x3e, 0, CNTLID_A, 1023, 0, 0, 4096), NVME_SC_INVALID_CONTROLLER_ID, "102");
}

/* ---- 109: what the log tells is all there is to tell -------------------------------------------------------- */

static void replay(const struct nvme_lba_change *entry, uint8_t *copy)
{
	if (NVME_CHANGE_EXTENT(entry->attributes) != NVME_CHANGE_RANGE)
		return;
	for (uint64_t at = entry->slba; at <= entry->slba + entry->nlb; at++) {
		cr_assert_eq(gw_client_io(M, GW_NVME_READ, 1, at, 1, BUFFER, 512), 0);
		memcpy(copy + at * 512, gw_client_at(M, BUFFER), 512);
	}
}

static void change_something(uint64_t *random)
{
	struct gw_nvme_sqe dsm = { .opcode = GW_NVME_DATASET_MANAGEMENT, .nsid = 1, .cdw11 = 4 };
	struct gw_nvme_dsm_range range = { 0, 0, 0 };
	uint64_t slba;
	uint32_t blocks;

	*random = *random * UINT64_C(6364136223846793005) + 1442695040888963407;
	slba = (*random >> 33) % 500;
	blocks = 1 + (uint32_t)(*random >> 20) % 12;
	memset(gw_client_at(A, BUFFER), (int)(*random >> 40), 12 * 512);
	if ((*random >> 50) % 4 != 0) {
		cr_assert_eq(write_blocks(A, slba, blocks), 0);
	} else if ((*random >> 55) % 2 != 0) {
		cr_assert_eq(gw_client_io(A, GW_NVME_WRITE_ZEROES, 1, slba, blocks, 0, 0), 0);
	} else {
		range.first = slba;
		range.count = blocks;
		memcpy(gw_client_at(A, BUFFER), &range, sizeof(range));
		cr_assert_eq(gw_client_execute(A, 1, &dsm, BUFFER, sizeof(range), NULL), 0);
	}
}

static void lockstep(void)
{
	struct reader r = reader_of(64, RING);
	uint8_t *copy = calloc(512, 512);
	struct nvme_lba_change entry;
	uint64_t random = 42;
	bool is_over = false;
	uint32_t cdq;

	cr_assert_not_null(copy);
	cr_assert_eq(create(CNTLID_A, 64, RING), 0);
	cdq = dw0;
	cr_assert_eq(track(cdq, true), 0);
	for (int i = 0; i < 600; i++) {
		change_something(&random);
		while (i % 20 == 0 && next_entry(&r, &entry, 0))
			replay(&entry, copy);
		if (i % 20 == 0)
			cr_assert_eq(set_head(cdq, r.head), 0);
	}
	cr_assert_eq(suspend(CNTLID_A), 0);
	while (!is_over) {
		cr_assert(next_entry(&r, &entry, 30000));
		replay(&entry, copy);
		is_over = NVME_CHANGE_SEQUENCE(entry.attributes) == NVME_CHANGE_LAST_SUSPENDED;
	}
	for (uint64_t at = 0; at < 512; at++) {
		cr_assert_eq(gw_client_io(M, GW_NVME_READ, 1, at, 1, BUFFER, 512), 0);
		cr_assert_eq(memcmp(gw_client_at(M, BUFFER), copy + at * 512, 512), 0, "block %u",
			     (unsigned int)at);
	}
	free(copy);
}

Test(ssd_migration, a_replayed_log_gives_equal_data)
{
	lockstep();
}

static void setup_merging(void)
{
	setup_with(true);
}

Test(ssd_migration_merging, a_replayed_log_gives_equal_data, .init = setup_merging, .fini = teardown)
{
	lockstep();
}

Test(ssd_migration_merging, neighbours_are_one_entry, .init = setup_merging, .fini = teardown)
{
	struct gw_nvme_sqe write = { .opcode = GW_NVME_WRITE, .nsid = 1 };
	struct reader r = reader_of(64, RING);
	struct nvme_lba_change entry;
	uint64_t told = 0;
	struct nvme_cqe cqe;

	cr_assert_eq(create(CNTLID_A, 64, RING), 0);
	cr_assert_eq(track(dw0, true), 0);
	expect_entry(&r, 0x83, 0, 0);
	gw_client_set_prps(&write, A, BUFFER, 512, 0);
	for (uint32_t i = 0; i < 10; i++) {
		write.cdw10 = i;
		gw_client_put(A, 1, &write);
	}
	gw_client_ring(A, 1);
	for (uint32_t i = 0; i < 10; i++)
		cr_assert(gw_client_reap(A, 1, &cqe, 30000));
	/* All ten were there when the doorbell rang: the worker was not idle before the last one. */
	while (told < 10) {
		cr_assert(next_entry(&r, &entry, 30000));
		cr_assert_eq(entry.slba, told);
		told += entry.nlb + 1;
	}
	cr_assert_eq(told, 10);
	cr_assert_eq(r.head, 2);
}

/* Controllers 1 and 2 manage, 3 is migrated: what the first one began goes on when the second is reset. */
Test(ssd_migration_managers, each_has_its_own, .init = setup_two_managers, .fini = teardown)
{
	struct reader r = reader_of(64, RING);
	uint32_t cdq;

	cr_assert_eq(suspend(2), NVME_SC_INVALID_CONTROLLER_ID, "it manages, too");
	cr_assert_eq(create(CNTLID_B, 64, RING), 0);
	cdq = dw0;
	cr_assert_eq(track(cdq, true), 0);
	cr_assert_eq(suspend(CNTLID_B), 0);
	gw_client_stop_controller(A);
	cr_assert_eq(resume(CNTLID_B), 0, "the second manager's reset has not ended it");
	cr_assert_eq(write_blocks(B, 9, 1), 0);
	expect_entry(&r, 0x83, 0, 0);
	expect_entry(&r, 0x87, 0, 0);
	expect_entry(&r, 0x83, 0, 0);
	expect_entry(&r, 0x01, 9, 1);
	cr_assert_eq(set_head(cdq, r.head), 0);
}

/* ---- What the specification leaves open -------------------------------------------------------------- */

static void setup_chosen(void)
{
	struct gw_ssd_config config;

	gw_ssd_config_init(&config);
	config.namespace_bytes = UINT64_C(16) << 20;
	cr_assert_eq(gw_ssd_config_set(&config, "preset", "hmlm", NULL), 0);
	cr_assert_eq(gw_ssd_config_set(&config, "mcudmq", "1", NULL), 0);
	cr_assert_eq(gw_ssd_config_set(&config, "log-first-range", "on", NULL), 0);
	cr_assert_eq(gw_ssd_config_set(&config, "log-last-whole", "on", NULL), 0);
	cr_assert_eq(gw_ssd_config_set(&config, "limit-invalid-field", "on", NULL), 0);
	cr_assert_eq(gw_ssd_config_set(&config, "target-suspended", "on", NULL), 0);
	gw_rig_open(&rig, 3, &config);
	for (int i = 0; i < 3; i++)
		gw_client_start(&rig.client[i], 1);
}

Test(ssd_migration_chosen, entries_limits_and_targets, .init = setup_chosen, .fini = teardown)
{
	struct reader r = reader_of(64, RING);
	struct nvme_lba_change entry;
	uint32_t cdq;

	cr_assert_eq(create(CNTLID_A, 64, RING), 0);
	cdq = dw0;
	cr_assert_eq(create(CNTLID_B, 64, RING + 65536), NVME_SC_INVALID_FIELD, "one is the limit");
	cr_assert_eq(track(cdq, true), 0);
	cr_assert_eq(track(cdq, false), 0);
	expect_entry(&r, 0x83, 0, 0);		/* nothing to carry */
	expect_entry(&r, 0x85, 0, 0);
	cr_assert_eq(track(cdq, true), 0);
	cr_assert_not(next_entry(&r, &entry, 50), "it waits for a range");
	cr_assert_eq(write_blocks(A, 100, 8), 0);
	cr_assert_eq(write_blocks(A, 200, 1), 0);
	expect_entry(&r, 0x03, 100, 8);
	expect_entry(&r, 0x01, 200, 1);
	cr_assert_eq(suspend(CNTLID_A), 0);
	expect_entry(&r, 0x47, 0, 1);		/* suspended, all of namespace 1 */
	cr_assert_eq(set_state(CNTLID_B, 3, true, false, 0, 56), NVME_SC_INVALID_CONTROLLER_ID);
	cr_assert_eq(resume(CNTLID_A), 0);
	cr_assert_eq(track(cdq, false), 0);
	expect_entry(&r, 0x83, 0, 0);
	expect_entry(&r, 0x45, 0, 1);
}

static void setup_late(void)
{
	struct gw_ssd_config config;

	gw_ssd_config_init(&config);
	config.namespace_bytes = UINT64_C(16) << 20;
	cr_assert_eq(gw_ssd_config_set(&config, "preset", "hmlm", NULL), 0);
	cr_assert_eq(gw_ssd_config_set(&config, "log-after-completion", "on", NULL), 0);
	cr_assert_eq(gw_ssd_config_set(&config, "log-start-when-full", "on", NULL), 0);
	gw_rig_open(&rig, 2, &config);
	for (int i = 0; i < 2; i++)
		gw_client_start(&rig.client[i], 1);
}

/* A command that hangs behind a write keeps the controller from having nothing to do. */
Test(ssd_migration_late, entries_come_after_completions, .init = setup_late, .fini = teardown)
{
	struct gw_ssd_set set = { .subsys = { &rig.ss }, .subsystems = 1 };
	struct gw_nvme_sqe write = { .opcode = GW_NVME_WRITE, .nsid = 1, .cdw10 = 64 };
	struct gw_nvme_sqe flush = { .opcode = GW_NVME_FLUSH, .nsid = 1 };
	struct reader r = reader_of(64, RING);
	struct nvme_lba_change entry;
	struct nvme_cqe cqe;
	bool is_refused;
	uint32_t cdq;

	cr_assert_eq(create(CNTLID_A, 64, RING), 0);
	cdq = dw0;
	cr_assert_eq(track(cdq, true), 0);
	expect_entry(&r, 0x83, 0, 0);
	free(gw_ssd_control_answer(&set, "fault 1/2 hang command=flush", &is_refused));
	cr_assert_not(is_refused);
	gw_client_set_prps(&write, A, BUFFER, 512, 0);
	gw_client_put(A, 1, &write);
	gw_client_put(A, 1, &flush);
	gw_client_ring(A, 1);
	cr_assert(gw_client_reap(A, 1, &cqe, 30000));
	cr_assert_not(next_entry(&r, &entry, 50));
	free(gw_ssd_control_answer(&set, "clear 1/2", &is_refused));
	cr_assert(gw_client_reap(A, 1, &cqe, 30000));
	expect_entry(&r, 0x01, 64, 1);
}

Test(ssd_migration_late, a_start_waits_for_room, .init = setup_late, .fini = teardown)
{
	struct reader r = reader_of(4, RING);
	struct nvme_lba_change entry;
	uint32_t cdq;

	cr_assert_eq(create(CNTLID_A, 4, RING), 0);
	cdq = dw0;
	cr_assert_eq(track(cdq, true), 0);
	for (uint32_t i = 0; i < 2; i++)
		cr_assert_eq(write_blocks(A, i * 8, 1), 0);
	expect_entry(&r, 0x83, 0, 0);
	expect_entry(&r, 0x01, 0, 1);
	expect_entry(&r, 0x0f, 8, 1);		/* full */
	cr_assert_eq(track(cdq, true), 0);
	cr_assert_not(next_entry(&r, &entry, 50));
	cr_assert_eq(set_head(cdq, 3), 0);
	expect_entry(&r, 0x83, 0, 0);
	cr_assert_eq(track(cdq, false), 0);
	expect_entry(&r, 0x85, 0, 0);
}

static void setup_window(void)
{
	struct gw_ssd_config config;

	gw_ssd_config_init(&config);
	config.namespace_bytes = UINT64_C(16) << 20;
	cr_assert_eq(gw_ssd_config_set(&config, "preset", "hmlm", NULL), 0);
	cr_assert_eq(gw_ssd_config_set(&config, "merge", "on", NULL), 0);
	cr_assert_eq(gw_ssd_config_set(&config, "log-window", "3", NULL), 0);
	cr_assert_eq(gw_ssd_config_set(&config, "log-newest-first", "on", NULL), 0);
	gw_rig_open(&rig, 3, &config);
	for (int i = 0; i < 3; i++)
		gw_client_start(&rig.client[i], 1);
}

/* Commands at once, and a flush that hangs behind them: the controller has something to do till it is cleared. */
static void execute_and_hang(struct gw_nvme_sqe *sqe, uint32_t count)
{
	struct gw_ssd_set set = { .subsys = { &rig.ss }, .subsystems = 1 };
	struct gw_nvme_sqe flush = { .opcode = GW_NVME_FLUSH, .nsid = 1 };
	struct nvme_cqe cqe;
	bool is_refused;

	free(gw_ssd_control_answer(&set, "fault 1/2 hang command=flush", &is_refused));
	cr_assert_not(is_refused);
	for (uint32_t i = 0; i < count; i++)
		gw_client_put(A, 1, &sqe[i]);
	gw_client_put(A, 1, &flush);
	gw_client_ring(A, 1);
	for (uint32_t i = 0; i < count; i++) {
		cr_assert(gw_client_reap(A, 1, &cqe, 20000));
		cr_assert_eq(NVME_CQE_STATUS(cqe.status), 0);
	}
}

static void let_go(void)
{
	struct gw_ssd_set set = { .subsys = { &rig.ss }, .subsystems = 1 };
	struct nvme_cqe cqe;
	bool is_refused;

	free(gw_ssd_control_answer(&set, "clear 1/2", &is_refused));
	cr_assert(gw_client_reap(A, 1, &cqe, 20000));
}

static struct gw_nvme_sqe change(uint8_t opcode, uint32_t slba, uint32_t blocks)
{
	struct gw_nvme_sqe sqe = { .opcode = opcode, .nsid = 1, .cdw10 = slba, .cdw12 = blocks - 1 };

	if (opcode == GW_NVME_WRITE)
		gw_client_set_prps(&sqe, A, BUFFER, blocks * UINT64_C(512), 0);
	else
		sqe.cdw12 |= 1u << 25;		/* Write Zeroes: deallocate */
	return sqe;
}

Test(ssd_migration_window, what_is_held_back_is_joined_and_reversed, .init = setup_window, .fini = teardown)
{
	struct reader r = reader_of(64, RING);
	struct nvme_lba_change entry;
	struct gw_nvme_sqe some[] = {
		change(GW_NVME_WRITE, 64, 8), change(GW_NVME_WRITE, 200, 8), change(GW_NVME_WRITE, 300, 1),
		change(GW_NVME_WRITE, 60, 4), change(GW_NVME_WRITE, 204, 8), change(GW_NVME_WRITE, 301, 2),
	};
	struct gw_nvme_sqe one_more[] = {
		change(GW_NVME_WRITE, 0, 1), change(GW_NVME_WRITE, 2, 1), change(GW_NVME_WRITE, 4, 1),
		change(GW_NVME_WRITE, 6, 1),
	};

	cr_assert_eq(create(CNTLID_A, 64, RING), 0);
	cr_assert_eq(track(dw0, true), 0);
	expect_entry(&r, 0x83, 0, 0);
	execute_and_hang(some, 6);
	cr_assert_not(next_entry(&r, &entry, 50));
	let_go();
	expect_entry(&r, 0x01, 300, 3);
	expect_entry(&r, 0x01, 200, 12);
	expect_entry(&r, 0x01, 60, 12);
	execute_and_hang(one_more, 4);		/* the window is full before the last one */
	expect_entry(&r, 0x01, 4, 1);
	expect_entry(&r, 0x01, 2, 1);
	expect_entry(&r, 0x01, 0, 1);
	cr_assert_not(next_entry(&r, &entry, 50));
	let_go();
	expect_entry(&r, 0x01, 6, 1);
}

/* An entry that says deallocated, of blocks that are written again, would be wrong when it is posted. */
Test(ssd_migration_window, what_is_not_so_any_more_is_posted_before, .init = setup_window, .fini = teardown)
{
	struct reader r = reader_of(64, RING);
	struct nvme_lba_change entry;
	struct gw_nvme_sqe some[] = {
		change(GW_NVME_WRITE, 64, 8), change(GW_NVME_WRITE_ZEROES, 68, 2), change(GW_NVME_WRITE, 69, 1),
	};

	cr_assert_eq(create(CNTLID_A, 64, RING), 0);
	cr_assert_eq(track(dw0, true), 0);
	expect_entry(&r, 0x83, 0, 0);
	execute_and_hang(some, 3);
	expect_entry(&r, 0x01, 64, 8);
	expect_entry(&r, 0x21, 68, 2);
	cr_assert_not(next_entry(&r, &entry, 50));
	let_go();
	expect_entry(&r, 0x01, 69, 1);
}

/* What is held back is in the log before its last entry. */
Test(ssd_migration_window, a_log_that_ends_holds_nothing_back, .init = setup_window, .fini = teardown)
{
	struct gw_nvme_sqe some[] = { change(GW_NVME_WRITE, 64, 8), change(GW_NVME_WRITE, 200, 8) };
	struct reader r = reader_of(64, RING);
	uint32_t cdq;

	cr_assert_eq(create(CNTLID_A, 64, RING), 0);
	cdq = dw0;
	cr_assert_eq(track(cdq, true), 0);
	expect_entry(&r, 0x83, 0, 0);
	execute_and_hang(some, 2);
	cr_assert_eq(track(cdq, false), 0);
	expect_entry(&r, 0x01, 200, 8);
	expect_entry(&r, 0x01, 64, 8);
	expect_entry(&r, 0x85, 0, 0);
	let_go();
}

Test(ssd_migration_window, a_replayed_log_gives_equal_data, .init = setup_window, .fini = teardown)
{
	lockstep();
}

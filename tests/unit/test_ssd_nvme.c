// SPDX-License-Identifier: GPL-2.0-or-later
/* The controller of the software SSD, as a driver sees it: each test through the vfio-user socket. */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "ssd_control.h"
#include "ssd_rig.h"

static struct gw_rig rig;

static void setup(void)
{
	gw_rig_open(&rig, 2, NULL);
	gw_client_start(&rig.client[0], 2);
	gw_client_start(&rig.client[1], 1);
}

static void teardown(void)
{
	gw_rig_close(&rig);
}

TestSuite(ssd_nvme, .init = setup, .fini = teardown, .timeout = 180);

#define A (&rig.client[0])
#define B (&rig.client[1])
#define BUFFER GW_CLIENT_BUFFER
#define OTHER (BUFFER + (UINT64_C(4) << 20))
#define BLOCKS (UINT64_C(16) << 11)

static void fill(struct gw_client *client, uint64_t offset, uint64_t bytes, uint32_t seed)
{
	uint8_t *at = gw_client_at(client, offset);

	for (uint64_t i = 0; i < bytes; i++)
		at[i] = (uint8_t)((i * 2654435761u + seed * 40503u) >> 8);
}

static uint16_t io(uint8_t opcode, uint64_t slba, uint32_t blocks, uint64_t offset)
{
	return gw_client_io(A, opcode, 1, slba, blocks, offset,
			    opcode == GW_NVME_WRITE || opcode == GW_NVME_READ ||
					    opcode == GW_NVME_COMPARE ?
				    blocks * UINT64_C(512) :
				    0);
}

static bool same(uint64_t a, uint64_t b, uint64_t bytes)
{
	return memcmp(gw_client_at(A, a), gw_client_at(A, b), bytes) == 0;
}

static bool is_zero(uint64_t offset, uint64_t bytes)
{
	for (uint64_t i = 0; i < bytes; i++) {
		if (*gw_client_at(A, offset + i) != 0)
			return false;
	}
	return true;
}

static uint16_t admin(struct gw_client *client, uint8_t opcode, uint32_t nsid, uint32_t cdw10,
		      uint32_t cdw11, uint64_t bytes, uint32_t *dw0)
{
	struct gw_nvme_sqe sqe = { .opcode = opcode, .nsid = nsid, .cdw10 = cdw10, .cdw11 = cdw11 };

	return gw_client_execute(client, 0, &sqe, BUFFER, bytes, dw0);
}

Test(ssd_nvme, identify_knows_what_a_host_asks_for)
{
	static struct nvme_id_ctrl ctrl, ctrl_b;
	static struct nvme_id_ns ns;
	static uint32_t list[1024];

	cr_assert_eq(gw_client_identify(A, NVME_CNS_CONTROLLER, 0, &ctrl), 0);
	cr_assert_eq(gw_client_identify(B, NVME_CNS_CONTROLLER, 0, &ctrl_b), 0);
	cr_assert_eq(ctrl.cntlid, 1);
	cr_assert_eq(ctrl_b.cntlid, 2);
	cr_assert_str_eq(ctrl.subnqn, ctrl_b.subnqn);
	cr_assert_eq(ctrl.oacs & NVME_OACS_HMLMS, 0, "plain has no live migration");
	cr_assert_eq(gw_client_identify(A, NVME_CNS_NAMESPACE, 1, &ns), 0);
	cr_assert_eq(ns.nsze, BLOCKS);
	cr_assert_eq(ns.lbaf[ns.flbas & 0xf].lbads, 9);
	cr_assert_eq(gw_client_identify(A, NVME_CNS_NAMESPACE, 2, &ns), 0);
	cr_assert_eq(ns.nsze, 0, "an inactive namespace is all zeroes");
	cr_assert_eq(gw_client_identify(A, NVME_CNS_NAMESPACE, 33, &ns), NVME_SC_INVALID_NAMESPACE);
	cr_assert_eq(gw_client_identify(A, NVME_CNS_ACTIVE_NAMESPACES, 0, list), 0);
	cr_assert_eq(list[0], 1);
	cr_assert_eq(list[1], 0);
	cr_assert_eq(gw_client_identify(A, NVME_CNS_NAMESPACE_DESCRIPTORS, 1, list), 0);
	cr_assert_eq(list[0], 0x1002);
	cr_assert_eq(gw_client_identify(A, 0x77, 0, list), NVME_SC_INVALID_FIELD);
	cr_assert_eq(gw_client_identify(A, NVME_CNS_STATE_FORMATS, 0, list), NVME_SC_INVALID_FIELD);
}

Test(ssd_nvme, data_comes_back_from_any_alignment_and_length)
{
	static const uint64_t offsets[] = { 0, 4, 512, 4092 };
	static const uint32_t counts[] = { 1, 7, 8, 9, 16, 17, 255, 2048 };

	for (size_t o = 0; o < 4; o++) {
		for (size_t n = 0; n < 8; n++) {
			const uint64_t slba = 3 + 2100 * n, bytes = counts[n] * UINT64_C(512);

			fill(A, BUFFER + offsets[o], bytes, (uint32_t)(o * 8 + n));
			cr_assert_eq(io(GW_NVME_WRITE, slba, counts[n], BUFFER + offsets[o]), 0);
			memset(gw_client_at(A, OTHER), 0xee, bytes + 8192);
			cr_assert_eq(io(GW_NVME_READ, slba, counts[n], OTHER + offsets[3 - o]), 0);
			cr_assert(same(BUFFER + offsets[o], OTHER + offsets[3 - o], bytes));
			cr_assert_eq(*gw_client_at(A, OTHER + offsets[3 - o] + bytes), 0xee);
		}
	}
}

Test(ssd_nvme, the_end_of_the_namespace_is_the_end)
{
	cr_assert_eq(io(GW_NVME_WRITE, BLOCKS - 1, 1, BUFFER), 0);
	cr_assert_eq(io(GW_NVME_WRITE, BLOCKS - 1, 2, BUFFER), NVME_SC_LBA_OUT_OF_RANGE);
	cr_assert_eq(io(GW_NVME_READ, UINT64_MAX, 1, BUFFER), NVME_SC_LBA_OUT_OF_RANGE);
	cr_assert_eq(io(GW_NVME_WRITE_ZEROES, BLOCKS, 1, BUFFER), NVME_SC_LBA_OUT_OF_RANGE);
	cr_assert_eq(io(GW_NVME_READ, 0, 2049, BUFFER), NVME_SC_INVALID_FIELD, "more than MDTS");
	cr_assert_eq(gw_client_io(A, GW_NVME_READ, 2, 0, 1, BUFFER, 512), NVME_SC_INVALID_NAMESPACE);
	cr_assert_eq(io(0x7e, 0, 1, BUFFER), NVME_SC_INVALID_OPCODE);
}

Test(ssd_nvme, wild_prps_are_errors)
{
	struct gw_nvme_sqe sqe = { .opcode = GW_NVME_READ, .nsid = 1, .cdw12 = 23 };

	sqe.data_pointer[0] = UINT64_MAX - 4095;
	cr_assert_eq(gw_client_execute(A, 1, &sqe, 0, 0, NULL), NVME_SC_DATA_TRANSFER_ERROR);
	sqe.data_pointer[0] = GW_CLIENT_IOVA + 2;
	cr_assert_eq(gw_client_execute(A, 1, &sqe, 0, 0, NULL), NVME_SC_PRP_OFFSET_INVALID);
	sqe.data_pointer[0] = GW_CLIENT_IOVA + BUFFER;
	sqe.data_pointer[1] = GW_CLIENT_IOVA + BUFFER + 4;
	cr_assert_eq(gw_client_execute(A, 1, &sqe, 0, 0, NULL), NVME_SC_PRP_OFFSET_INVALID);
	sqe.data_pointer[1] = GW_CLIENT_IOVA + GW_CLIENT_MEMORY_BYTES - 8;
	cr_assert_eq(gw_client_execute(A, 1, &sqe, 0, 0, NULL), NVME_SC_DATA_TRANSFER_ERROR);
	sqe.flags = 0x40;
	cr_assert_eq(gw_client_execute(A, 1, &sqe, 0, 0, NULL), NVME_SC_INVALID_FIELD, "no SGL");
}

Test(ssd_nvme, every_way_to_change_a_block)
{
	struct gw_nvme_dsm_range ranges[2] = { { 0, 4, 64 }, { 0, 8, 80 } };
	struct gw_nvme_sqe sqe = { .opcode = GW_NVME_DATASET_MANAGEMENT, .nsid = 1, .cdw10 = 1 };

	fill(A, BUFFER, 64 * 512, 1);
	cr_assert_eq(io(GW_NVME_WRITE, 64, 64, BUFFER), 0);
	cr_assert_eq(io(GW_NVME_COMPARE, 64, 64, BUFFER), 0);
	*gw_client_at(A, BUFFER + 64 * 512 - 1) ^= 1;
	cr_assert_eq(io(GW_NVME_COMPARE, 64, 64, BUFFER), NVME_SC_COMPARE_FAILURE);
	cr_assert_eq(io(GW_NVME_WRITE_ZEROES, 70, 2, BUFFER), 0);
	/* Only with the attribute: without, it is a hint. */
	memcpy(gw_client_at(A, OTHER), ranges, sizeof(ranges));
	cr_assert_eq(gw_client_execute(A, 1, &sqe, OTHER, sizeof(ranges), NULL), 0);
	cr_assert_eq(io(GW_NVME_READ, 64, 4, OTHER), 0);
	cr_assert(same(BUFFER, OTHER, 4 * 512));
	memcpy(gw_client_at(A, OTHER), ranges, sizeof(ranges));
	sqe.cdw11 = GW_NVME_DSM_DEALLOCATE;
	cr_assert_eq(gw_client_execute(A, 1, &sqe, OTHER, sizeof(ranges), NULL), 0);
	cr_assert_eq(io(GW_NVME_READ, 64, 64, OTHER), 0);
	cr_assert(is_zero(OTHER, 4 * 512));
	cr_assert(same(BUFFER + 4 * 512, OTHER + 4 * 512, 2 * 512));
	cr_assert(is_zero(OTHER + 6 * 512, 2 * 512));
	cr_assert(same(BUFFER + 8 * 512, OTHER + 8 * 512, 8 * 512));
	cr_assert(is_zero(OTHER + 16 * 512, 8 * 512));
	/* A range out of bounds: nothing at all is done. */
	ranges[1].first = BLOCKS;
	ranges[0].first = 100;
	memcpy(gw_client_at(A, OTHER), ranges, sizeof(ranges));
	cr_assert_eq(gw_client_execute(A, 1, &sqe, OTHER, sizeof(ranges), NULL),
		     NVME_SC_LBA_OUT_OF_RANGE);
	cr_assert_eq(io(GW_NVME_READ, 100, 4, OTHER), 0);
	cr_assert(same(BUFFER + 36 * 512, OTHER, 4 * 512));
}

Test(ssd_nvme, bad_blocks_are_bad_until_written)
{
	cr_assert_eq(io(GW_NVME_WRITE_UNCORRECTABLE, 1000, 2, BUFFER), 0);
	cr_assert_eq(io(GW_NVME_READ, 999, 2, BUFFER), NVME_SC_UNRECOVERED_READ);
	cr_assert_eq(io(GW_NVME_VERIFY, 1001, 1, BUFFER), NVME_SC_UNRECOVERED_READ);
	cr_assert_eq(io(GW_NVME_READ, 1002, 1, BUFFER), 0);
	cr_assert_eq(io(GW_NVME_WRITE, 1000, 1, BUFFER), 0);
	cr_assert_eq(io(GW_NVME_READ, 1000, 1, BUFFER), 0);
	cr_assert_eq(io(GW_NVME_READ, 1001, 1, BUFFER), NVME_SC_UNRECOVERED_READ);
	gw_rig_restart(&rig);
	gw_client_start(A, 1);
	cr_assert_eq(io(GW_NVME_READ, 1001, 1, BUFFER), NVME_SC_UNRECOVERED_READ);
}

Test(ssd_nvme, copy_moves_ranges_in_their_order)
{
	struct {
		uint64_t reserved, slba;
		uint16_t nlb, reserved18;
		uint32_t options[3];
	} entry[2] = { { .slba = 300, .nlb = 3 }, { .slba = 200, .nlb = 7 } };
	struct gw_nvme_sqe sqe = { .opcode = GW_NVME_COPY, .nsid = 1, .cdw10 = 500, .cdw12 = 1 };

	fill(A, BUFFER, 8 * 512, 7);
	cr_assert_eq(io(GW_NVME_WRITE, 200, 8, BUFFER), 0);
	fill(A, BUFFER + 8 * 512, 4 * 512, 9);
	cr_assert_eq(io(GW_NVME_WRITE, 300, 4, BUFFER + 8 * 512), 0);
	memcpy(gw_client_at(A, OTHER), entry, sizeof(entry));
	cr_assert_eq(gw_client_execute(A, 1, &sqe, OTHER, sizeof(entry), NULL), 0);
	cr_assert_eq(io(GW_NVME_READ, 500, 12, OTHER), 0);
	cr_assert(same(BUFFER + 8 * 512, OTHER, 4 * 512));
	cr_assert(same(BUFFER, OTHER + 4 * 512, 8 * 512));
	entry[1].slba = BLOCKS - 3;
	memcpy(gw_client_at(A, OTHER), entry, sizeof(entry));
	cr_assert_eq(gw_client_execute(A, 1, &sqe, OTHER, sizeof(entry), NULL),
		     NVME_SC_LBA_OUT_OF_RANGE);
}

static void fused(uint64_t slba, uint16_t *first, uint16_t *second)
{
	struct gw_nvme_sqe compare = { .opcode = GW_NVME_COMPARE, .flags = 1, .nsid = 1,
				       .cdw10 = (uint32_t)slba };
	struct gw_nvme_sqe write = { .opcode = GW_NVME_WRITE, .flags = 2, .nsid = 1,
				     .cdw10 = (uint32_t)slba };
	struct nvme_cqe cqe;

	gw_client_set_prps(&compare, A, BUFFER, 512, 0);
	gw_client_set_prps(&write, A, BUFFER + 512, 512, 0);
	gw_client_put(A, 1, &compare);
	gw_client_submit(A, 1, &write);
	cr_assert(gw_client_reap(A, 1, &cqe, 30000));
	cr_assert_eq(cqe.cid, compare.cid);
	*first = NVME_STATUS_CODE(NVME_CQE_STATUS(cqe.status));
	cr_assert(gw_client_reap(A, 1, &cqe, 30000));
	cr_assert_eq(cqe.cid, write.cid);
	*second = NVME_STATUS_CODE(NVME_CQE_STATUS(cqe.status));
}

Test(ssd_nvme, fused_compare_and_write_is_both_or_neither)
{
	struct gw_nvme_sqe lonely = { .opcode = GW_NVME_COMPARE, .flags = 1, .nsid = 1 };
	uint16_t first, second;

	fill(A, BUFFER, 512, 1);
	fill(A, BUFFER + 512, 512, 2);
	cr_assert_eq(io(GW_NVME_WRITE, 40, 1, BUFFER), 0);
	fused(40, &first, &second);
	cr_assert_eq(first, 0);
	cr_assert_eq(second, 0);
	fused(40, &first, &second);
	cr_assert_eq(first, NVME_SC_COMPARE_FAILURE);
	cr_assert_eq(second, NVME_SC_FUSED_FAILED);
	cr_assert_eq(io(GW_NVME_READ, 40, 1, OTHER), 0);
	cr_assert(same(BUFFER + 512, OTHER, 512));
	cr_assert_eq(gw_client_execute(A, 1, &lonely, BUFFER, 512, NULL), NVME_SC_FUSED_MISSING);
}

Test(ssd_nvme, what_was_not_flushed_is_lost_with_the_power)
{
	fill(A, BUFFER, 4 * 512, 3);
	cr_assert_eq(io(GW_NVME_WRITE, 10, 4, BUFFER), 0);
	cr_assert_eq(io(GW_NVME_FLUSH, 0, 1, BUFFER), 0);
	fill(A, OTHER, 2 * 512, 4);
	cr_assert_eq(io(GW_NVME_WRITE, 11, 2, OTHER), 0);
	cr_assert_eq(io(GW_NVME_READ, 10, 4, OTHER + 8192), 0);
	cr_assert(same(OTHER, OTHER + 8192 + 512, 1024), "the cache is read");
	cr_assert_eq(gw_subsys_power_cut(&rig.ss, 0), 2);
	cr_assert_eq(io(GW_NVME_READ, 10, 4, OTHER + 8192), 0);
	cr_assert(same(BUFFER, OTHER + 8192, 2048), "and back to what was flushed");
	/* Without a cache there is nothing to lose; FUA is as good for one write. */
	cr_assert_eq(admin(A, GW_NVME_SET_FEATURES, 0, NVME_FID_WRITE_CACHE, 0, 0, NULL), 0);
	cr_assert_eq(io(GW_NVME_WRITE, 11, 2, OTHER), 0);
	cr_assert_eq(gw_subsys_power_cut(&rig.ss, 0), 0);
}

Test(ssd_nvme, a_torn_cut_loses_some_blocks_and_tears_none)
{
	uint64_t lost;
	uint32_t is_new = 0, is_old = 0;

	memset(gw_client_at(A, BUFFER), 0x11, 128 * 512);
	cr_assert_eq(io(GW_NVME_WRITE, 0, 128, BUFFER), 0);
	cr_assert_eq(io(GW_NVME_FLUSH, 0, 1, BUFFER), 0);
	memset(gw_client_at(A, BUFFER), 0x22, 128 * 512);
	cr_assert_eq(io(GW_NVME_WRITE, 0, 128, BUFFER), 0);
	lost = gw_subsys_power_cut(&rig.ss, 42);
	cr_assert_gt(lost, 0);
	cr_assert_lt(lost, 128);
	cr_assert_eq(io(GW_NVME_READ, 0, 128, BUFFER), 0);
	for (uint32_t i = 0; i < 128; i++) {
		const uint8_t *at = gw_client_at(A, BUFFER + i * 512);

		for (uint32_t j = 1; j < 512; j++)
			cr_assert_eq(at[j], at[0]);
		is_new += at[0] == 0x22;
		is_old += at[0] == 0x11;
	}
	cr_assert_eq(is_old, lost);
	cr_assert_eq(is_new, 128 - lost);
}

static uint16_t lba_status(uint64_t slba, uint16_t length, uint32_t dwords, uint8_t type,
			   const struct nvme_lba_status **status)
{
	struct gw_nvme_sqe sqe = {
		.opcode = GW_NVME_GET_LBA_STATUS,
		.nsid = 1,
		.cdw10 = (uint32_t)slba,
		.cdw12 = dwords - 1,
		.cdw13 = (uint32_t)type << 24 | length,
	};

	*status = (const void *)gw_client_at(A, OTHER);
	return gw_client_execute(A, 0, &sqe, OTHER, dwords * 4, NULL);
}

Test(ssd_nvme, allocation_is_told_in_units_and_survives)
{
	const struct nvme_lba_status *status;

	cr_assert_eq(lba_status(0, 0, 1024, 2, &status), 0);
	cr_assert_eq(status->count, 0);
	cr_assert_eq(status->condition, NVME_LBA_STATUS_COMPLETE);
	cr_assert_eq(io(GW_NVME_WRITE, 17, 1, BUFFER), 0);	/* unit 16..23 */
	cr_assert_eq(io(GW_NVME_WRITE, 31, 2, BUFFER), 0);	/* 24..31, 32..39 */
	cr_assert_eq(io(GW_NVME_WRITE, BLOCKS - 1, 1, BUFFER), 0);
	gw_rig_restart(&rig);
	gw_client_start(A, 1);
	cr_assert_eq(lba_status(0, 0, 1024, 2, &status), 0);
	cr_assert_eq(status->count, 2);
	cr_assert_eq(status->entry[0].slba, 16);
	cr_assert_eq(status->entry[0].nlb, 23);
	cr_assert_eq(status->entry[0].status, NVME_LBARS_ALLOCATED);
	cr_assert_eq(status->entry[1].slba, BLOCKS - 8);
	/* Cut to the range, and to the buffer. */
	cr_assert_eq(lba_status(18, 4, 1024, 2, &status), 0);
	cr_assert_eq(status->count, 1);
	cr_assert_eq(status->entry[0].slba, 18);
	cr_assert_eq(status->entry[0].nlb, 3);
	cr_assert_eq(lba_status(0, 0, 6, 2, &status), 0);
	cr_assert_eq(status->count, 1);
	cr_assert_eq(status->condition, NVME_LBA_STATUS_INCOMPLETE);
	cr_assert_eq(lba_status(40, 0, 6, 2, &status), 0);
	cr_assert_eq(status->entry[0].slba, BLOCKS - 8);
	cr_assert_eq(status->condition, NVME_LBA_STATUS_COMPLETE);
	cr_assert_eq(lba_status(BLOCKS, 0, 6, 2, &status), NVME_SC_LBA_OUT_OF_RANGE);
	/* Half a unit stays; the whole goes. */
	cr_assert_eq(gw_client_io(A, GW_NVME_WRITE_ZEROES, 1, 17, 1, 0, 0), 0);
	cr_assert_eq(lba_status(16, 8, 1024, 2, &status), 0);
	cr_assert_eq(status->count, 1, "zeroes are written, too");
}

Test(ssd_nvme, format_empties_and_changes_the_block)
{
	static struct nvme_id_ns ns;

	fill(A, BUFFER, 512, 5);
	cr_assert_eq(io(GW_NVME_WRITE, 5, 1, BUFFER), 0);
	cr_assert_eq(admin(A, GW_NVME_FORMAT, 1, 2, 0, 0, NULL), NVME_SC_INVALID_FORMAT);
	cr_assert_eq(admin(A, GW_NVME_FORMAT, 1, 1, 0, 0, NULL), 0);
	cr_assert_eq(gw_client_identify(A, NVME_CNS_NAMESPACE, 1, &ns), 0);
	cr_assert_eq(ns.nsze, BLOCKS / 8);
	cr_assert_eq(ns.nuse, 0);
	cr_assert_eq(gw_client_io(A, GW_NVME_READ, 1, 0, 1, OTHER, 4096), 0);
	cr_assert(is_zero(OTHER, 4096));
	gw_rig_restart(&rig);
	gw_client_start(A, 1);
	cr_assert_eq(gw_client_identify(A, NVME_CNS_NAMESPACE, 1, &ns), 0);
	cr_assert_eq(ns.nsze, BLOCKS / 8);
}

Test(ssd_nvme, sanitize_leaves_nothing)
{
	fill(A, BUFFER, 512, 5);
	cr_assert_eq(io(GW_NVME_WRITE, 5, 1, BUFFER), 0);
	cr_assert_eq(admin(A, GW_NVME_SANITIZE, 0, 3, 0, 0, NULL), NVME_SC_INVALID_FIELD);
	cr_assert_eq(admin(A, GW_NVME_SANITIZE, 0, 2, 0, 0, NULL), 0);
	cr_assert_eq(io(GW_NVME_READ, 5, 1, OTHER), 0);
	cr_assert(is_zero(OTHER, 512));
	cr_assert_eq(admin(A, GW_NVME_GET_LOG_PAGE, 0, 127u << 16 | NVME_LOG_SANITIZE, 0, 512, NULL), 0);
	cr_assert_eq(gw_client_at(A, BUFFER)[2] & 7, 1);
}

Test(ssd_nvme, namespaces_come_and_go_and_others_hear_of_it)
{
	struct gw_nvme_sqe aer = { .opcode = GW_NVME_ASYNC_EVENT };
	struct nvme_id_ns *ns = (void *)gw_client_at(A, BUFFER);
	static uint32_t list[1024];
	uint16_t *controllers = (void *)gw_client_at(A, BUFFER);
	struct nvme_cqe cqe;
	uint32_t nsid;

	cr_assert_eq(admin(B, GW_NVME_SET_FEATURES, 0, NVME_FID_ASYNC_EVENTS, NVME_OAES_NAMESPACE, 0,
			   NULL), 0);
	gw_client_submit(B, 0, &aer);
	memset(ns, 0, sizeof(*ns));
	ns->nsze = ns->ncap = 2048;
	ns->flbas = 1;
	cr_assert_eq(admin(A, GW_NVME_NAMESPACE_MANAGEMENT, 0, 0, 0, 4096, &nsid), 0);
	cr_assert_eq(nsid, 2);
	cr_assert_eq(gw_client_io(A, GW_NVME_READ, 2, 0, 1, OTHER, 4096), NVME_SC_INVALID_NAMESPACE);
	memset(controllers, 0, 4096);
	controllers[0] = 1;
	controllers[1] = 9;
	cr_assert_eq(admin(A, GW_NVME_NAMESPACE_ATTACHMENT, 2, 0, 0, 4096, NULL),
		     NVME_SC_CONTROLLER_LIST_INVALID);
	controllers[1] = 2;
	cr_assert_eq(admin(A, GW_NVME_NAMESPACE_ATTACHMENT, 2, 0, 0, 4096, NULL), 0);
	cr_assert_eq(admin(A, GW_NVME_NAMESPACE_ATTACHMENT, 2, 0, 0, 4096, NULL),
		     NVME_SC_NAMESPACE_ATTACHED);
	cr_assert(gw_client_reap(B, 0, &cqe, 30000));
	cr_assert_eq(NVME_EVENT_TYPE(cqe.dw0), NVME_EVENT_NOTICE);
	cr_assert_eq(NVME_EVENT_LOG(cqe.dw0), NVME_LOG_CHANGED_NAMESPACES);
	cr_assert_eq(admin(B, GW_NVME_GET_LOG_PAGE, 0, 1023u << 16 | NVME_LOG_CHANGED_NAMESPACES, 0,
			   4096, NULL), 0);
	memcpy(list, gw_client_at(B, BUFFER), sizeof(list));
	cr_assert_eq(list[0], 2);
	cr_assert_eq(gw_client_io(B, GW_NVME_WRITE, 2, 2047, 1, OTHER, 4096), 0);
	gw_rig_restart(&rig);
	gw_client_start(A, 1);
	gw_client_start(B, 1);
	cr_assert_eq(gw_client_io(B, GW_NVME_READ, 2, 2047, 1, OTHER, 4096), 0);
	cr_assert_eq(admin(A, GW_NVME_NAMESPACE_MANAGEMENT, 2, 1, 0, 0, NULL), 0);
	cr_assert_eq(gw_client_io(B, GW_NVME_READ, 2, 0, 1, OTHER, 4096), NVME_SC_INVALID_NAMESPACE);
	cr_assert_eq(admin(A, GW_NVME_NAMESPACE_MANAGEMENT, 2, 1, 0, 0, NULL),
		     NVME_SC_INVALID_NAMESPACE);
}

Test(ssd_nvme, queues_are_made_and_unmade_by_the_rules)
{
	struct gw_nvme_sqe cq = { .opcode = GW_NVME_CREATE_CQ, .cdw10 = 15u << 16 | 3,
				  .cdw11 = 3u << 16 | 3 };

	cq.data_pointer[0] = GW_CLIENT_IOVA + BUFFER + 4;
	cr_assert_eq(gw_client_execute(A, 0, &cq, 0, 0, NULL), NVME_SC_PRP_OFFSET_INVALID);
	cq.data_pointer[0] = GW_CLIENT_IOVA + BUFFER;
	cq.cdw11 = 3u << 16 | 2;
	cr_assert_eq(gw_client_execute(A, 0, &cq, 0, 0, NULL), NVME_SC_INVALID_FIELD);
	cq.cdw11 = GW_SSD_VECTORS << 16 | 3;
	cr_assert_eq(gw_client_execute(A, 0, &cq, 0, 0, NULL), NVME_SC_INVALID_VECTOR);
	cq.cdw11 = 3u << 16 | 3;
	cq.cdw10 = 0xffffu << 16 | 3;
	cr_assert_eq(gw_client_execute(A, 0, &cq, 0, 0, NULL), NVME_SC_INVALID_QUEUE_SIZE);
	cq.cdw10 = 15u << 16 | 1;
	cr_assert_eq(gw_client_execute(A, 0, &cq, 0, 0, NULL), NVME_SC_INVALID_QID);
	cq.cdw10 = 15u << 16 | 33;
	cr_assert_eq(gw_client_execute(A, 0, &cq, 0, 0, NULL), NVME_SC_INVALID_QID);
	cr_assert_eq(admin(A, GW_NVME_CREATE_SQ, 0, 15u << 16 | 3, 9u << 16 | 1, 0, NULL),
		     NVME_SC_INVALID_CQ);
	cr_assert_eq(admin(A, GW_NVME_DELETE_CQ, 0, 1, 0, 0, NULL), NVME_SC_INVALID_QUEUE_DELETION);
	cr_assert_eq(admin(A, GW_NVME_DELETE_SQ, 0, 1, 0, 0, NULL), 0);
	cr_assert_eq(admin(A, GW_NVME_DELETE_CQ, 0, 1, 0, 0, NULL), 0);
	cr_assert_eq(admin(A, GW_NVME_DELETE_CQ, 0, 1, 0, 0, NULL), NVME_SC_INVALID_QID);
	cr_assert_eq(admin(A, GW_NVME_SET_FEATURES, 0, NVME_FID_QUEUES, 0x00010001, 0, NULL),
		     NVME_SC_COMMAND_SEQUENCE);
}

Test(ssd_nvme, a_doorbell_out_of_bounds_is_an_event_and_no_more)
{
	struct gw_nvme_sqe aer = { .opcode = GW_NVME_ASYNC_EVENT };
	struct nvme_cqe cqe;

	gw_client_submit(A, 0, &aer);
	gw_client_set_register(A, NVME_REG_DOORBELLS + 8, 16);
	cr_assert(gw_client_reap(A, 0, &cqe, 30000));
	cr_assert_eq(NVME_EVENT_TYPE(cqe.dw0), NVME_EVENT_ERROR);
	cr_assert_eq(NVME_EVENT_INFO(cqe.dw0), 1);
	gw_client_set_register(A, NVME_REG_DOORBELLS + 0xffc, 1);
	cr_assert_eq(io(GW_NVME_FLUSH, 0, 1, BUFFER), 0);
}

Test(ssd_nvme, abort_takes_an_event_request_back)
{
	struct gw_nvme_sqe aer = { .opcode = GW_NVME_ASYNC_EVENT };
	struct gw_nvme_sqe abort_it = { .opcode = GW_NVME_ABORT };
	struct nvme_cqe cqe;
	uint16_t cid;

	cid = gw_client_submit(A, 0, &aer);
	abort_it.cdw10 = (uint32_t)cid << 16;
	gw_client_submit(A, 0, &abort_it);
	cr_assert(gw_client_reap(A, 0, &cqe, 30000));
	cr_assert_eq(cqe.cid, cid);
	cr_assert_eq(NVME_STATUS_CODE(NVME_CQE_STATUS(cqe.status)), NVME_SC_ABORT_REQUESTED);
	cr_assert(gw_client_reap(A, 0, &cqe, 30000));
	cr_assert_eq(cqe.dw0, 0);
}

/* Is the completion queue as full as it gets? Then all the commands were fetched. */
static bool is_full(const struct gw_client_queue *queue)
{
	const uint32_t last = queue->cq_head + queue->entries - 2;
	const volatile struct nvme_cqe *const cqe = (const void *)gw_client_at(A, queue->cq);
	const bool phase = last < queue->entries ? queue->phase : !queue->phase;

	return ((cqe[last % queue->entries].status & NVME_CQE_PHASE) != 0) == phase;
}

Test(ssd_nvme, a_full_completion_queue_holds_commands_back_and_loses_none)
{
	struct gw_client_queue *queue = &A->queue[1];
	struct gw_nvme_sqe sqe = { .opcode = GW_NVME_FLUSH, .nsid = 1 };
	uint32_t head = queue->cq_head;
	struct nvme_cqe cqe;

	/* Fifteen fit; they are not taken, and fifteen more wait. */
	for (int round = 0; round < 2; round++) {
		for (uint32_t i = 0; i < GW_CLIENT_ENTRIES - 1; i++)
			gw_client_put(A, 1, &sqe);
		gw_client_ring(A, 1);
		for (int i = 0; i < 30000 && !is_full(queue); i++)
			usleep(1000);
		cr_assert(is_full(queue));
	}
	usleep(20000);
	cr_assert_eq(queue->cq_head, head);
	for (uint32_t i = 0; i < 2 * (GW_CLIENT_ENTRIES - 1); i++)
		cr_assert(gw_client_reap(A, 1, &cqe, 30000), "completion %u is missing", i);
	cr_assert_not(gw_client_reap(A, 1, &cqe, 20));
}

Test(ssd_nvme, features_are_kept_and_told)
{
	uint32_t value;

	cr_assert_eq(admin(A, GW_NVME_SET_FEATURES, 0, NVME_FID_TEMPERATURE, 333, 0, NULL), 0);
	cr_assert_eq(admin(A, GW_NVME_GET_FEATURES, 0, NVME_FID_TEMPERATURE, 0, 0, &value), 0);
	cr_assert_eq(value, 333);
	cr_assert_eq(admin(A, GW_NVME_GET_FEATURES, 0, 1u << 8 | NVME_FID_TEMPERATURE, 0, 0, &value), 0);
	cr_assert_eq(value, 343);
	cr_assert_eq(admin(A, GW_NVME_SET_FEATURES, 0, 1u << 31 | NVME_FID_KEEP_ALIVE, 1, 0, NULL),
		     NVME_SC_FEATURE_NOT_SAVEABLE);
	cr_assert_eq(admin(A, GW_NVME_SET_FEATURES, 0, 1u << 31 | NVME_FID_HOST_ID, 1, 16, NULL),
		     NVME_SC_FEATURE_NOT_SAVEABLE);
	cr_assert_eq(admin(A, GW_NVME_GET_FEATURES, 0, 0x7f, 0, 0, NULL), NVME_SC_INVALID_FIELD);
	cr_assert_eq(admin(A, GW_NVME_GET_FEATURES, 0, NVME_FID_CDQ, 0, 512, NULL),
		     NVME_SC_INVALID_FIELD);
	memset(gw_client_at(A, BUFFER), 0x77, 16);
	cr_assert_eq(admin(A, GW_NVME_SET_FEATURES, 0, NVME_FID_HOST_ID, 1, 16, NULL), 0);
	memset(gw_client_at(A, BUFFER), 0, 16);
	cr_assert_eq(admin(A, GW_NVME_GET_FEATURES, 0, NVME_FID_HOST_ID, 1, 16, NULL), 0);
	cr_assert_eq(*gw_client_at(A, BUFFER + 15), 0x77);
	cr_assert_eq(admin(A, GW_NVME_GET_FEATURES, 0, 1u << 8 | NVME_FID_HOST_ID, 1, 16, NULL), 0);
	cr_assert(is_zero(BUFFER, 16));
}

static uint32_t feature(struct gw_client *client, uint32_t select, uint8_t fid)
{
	uint32_t value = UINT32_MAX;

	cr_assert_eq(admin(client, GW_NVME_GET_FEATURES, 0, select << 8 | fid, 0, 0, &value), 0);
	return value;
}

/* Base 4.4: a reset ends what was only set; what was saved is the current value from then on. */
Test(ssd_nvme, a_saved_feature_outlives_a_reset_and_the_process)
{
	const uint32_t save = 1u << 31;

	cr_assert_eq(admin(A, GW_NVME_SET_FEATURES, 0, save | NVME_FID_TEMPERATURE, 333, 0, NULL), 0);
	cr_assert_eq(admin(A, GW_NVME_SET_FEATURES, 0, save | NVME_FID_ARBITRATION, 1, 0, NULL), 0);
	cr_assert_eq(admin(A, GW_NVME_SET_FEATURES, 0, NVME_FID_TEMPERATURE, 334, 0, NULL), 0);
	cr_assert_eq(feature(A, 0, NVME_FID_TEMPERATURE), 334, "current");
	cr_assert_eq(feature(A, 1, NVME_FID_TEMPERATURE), 343, "default");
	cr_assert_eq(feature(A, 2, NVME_FID_TEMPERATURE), 333, "saved");
	cr_assert_eq(feature(A, 2, NVME_FID_WRITE_CACHE), 1, "not saved: the default");
	cr_assert_eq(feature(A, 3, NVME_FID_TEMPERATURE), 5, "changeable, saveable");
	cr_assert_eq(feature(A, 3, NVME_FID_KEEP_ALIVE), 4, "changeable");
	gw_client_stop_controller(A);
	gw_client_start_controller(A);
	cr_assert_eq(feature(A, 0, NVME_FID_TEMPERATURE), 333);
	gw_rig_restart(&rig);
	gw_client_start(A, 1);
	gw_client_start(B, 1);
	cr_assert_eq(feature(A, 0, NVME_FID_TEMPERATURE), 333);
	cr_assert_eq(feature(A, 0, NVME_FID_ARBITRATION), 1);
	cr_assert_eq(feature(B, 0, NVME_FID_TEMPERATURE), 343, "each controller has its own");
}

Test(ssd_nvme, log_pages_count_and_explain)
{
	const struct nvme_log_error_entry *error = (const void *)gw_client_at(A, BUFFER);
	const struct nvme_log_smart *smart = (const void *)gw_client_at(A, BUFFER);

	cr_assert_eq(io(GW_NVME_READ, BLOCKS, 1, OTHER), NVME_SC_LBA_OUT_OF_RANGE);
	cr_assert_eq(io(GW_NVME_WRITE, 0, 1, OTHER), 0);
	cr_assert_eq(admin(A, GW_NVME_GET_LOG_PAGE, 0, 15u << 16 | NVME_LOG_ERROR, 0, 64, NULL), 0);
	cr_assert_eq(error->error_count, 1);
	cr_assert_eq(error->lba, BLOCKS);
	cr_assert_eq(error->status >> 1, NVME_SC_LBA_OUT_OF_RANGE);
	cr_assert_eq(admin(A, GW_NVME_GET_LOG_PAGE, 0, 127u << 16 | NVME_LOG_SMART, 0, 512, NULL), 0);
	cr_assert_eq(smart->host_writes[0], 1);
	cr_assert_eq(smart->error_entries[0], 1);
	cr_assert_eq(admin(A, GW_NVME_GET_LOG_PAGE, 0, 0x55, 0, 4, NULL), NVME_SC_INVALID_LOG_PAGE);
}

Test(ssd_nvme, a_reset_forgets_queues_and_nothing_else)
{
	fill(A, BUFFER, 512, 5);
	cr_assert_eq(io(GW_NVME_WRITE, 5, 1, BUFFER), 0);
	for (int i = 0; i < 20; i++) {
		gw_client_stop_controller(A);
		gw_client_start_controller(A);
		gw_client_create_queues(A, 1);
		cr_assert_eq(io(GW_NVME_READ, 5, 1, OTHER), 0);
		cr_assert(same(BUFFER, OTHER, 512));
	}
	gw_client_set_register(A, NVME_REG_CC, 0x00464001);
	for (int i = 0; (gw_client_register(A, NVME_REG_CSTS) & NVME_CSTS_SHST_MASK) !=
			NVME_CSTS_SHST_COMPLETE; i++) {
		cr_assert_lt(i, 30000);
		usleep(1000);
	}
	cr_assert_eq(gw_subsys_power_cut(&rig.ss, 0), 0, "a shutdown has written the cache");
}

/* Return: whether the answer to the command has that text in it. */
static bool answers(const char *line, const char *text)
{
	const struct gw_ssd_set set = { .subsys = { &rig.ss }, .subsystems = 1 };
	bool is_refused;
	char *answer = gw_ssd_control_answer(&set, line, &is_refused);
	bool has;

	cr_assert_not_null(answer);
	has = strstr(answer, text) != NULL;
	free(answer);
	return has;
}

Test(ssd_nvme, the_control_socket_tells_and_cuts_the_power)
{
	cr_assert_eq(io(GW_NVME_WRITE, 5, 2, BUFFER), 0);
	cr_assert(answers("status", "\"written_blocks\":2"));
	cr_assert(answers("status", "\"state\":\"ready\""));
	cr_assert(answers("power-cut", "\"lost_sectors\":2"));
	cr_assert(answers("status", "\"cached_pages\":0"));
	cr_assert(answers("power-cut 0", "\"error\""));
	cr_assert(answers("power-cut 7 8", "\"error\""));
	cr_assert(answers("", "\"error\""));
}

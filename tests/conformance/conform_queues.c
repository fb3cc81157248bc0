// SPDX-License-Identifier: GPL-2.0-or-later
/* HMLM-011 to 025 and 051 to 057: Controller Data Queues, their heads and their events. */
#include "conform.h"

#include <string.h>

#define A t->drive.cntlid_a
#define B t->drive.cntlid_b

static void create_contiguous(struct cf *t)
{
	cf_status(t, "create", cf_create(t, A, 128, CF_RING), NVME_SC_SUCCESS);
	cf_equal(t, "DW0 31:16", t->dw0 >> 16, 0);
}

/* A list of two pages, the second one before the first; offset: of the second entry of it. */
static uint16_t create_scattered(struct cf *t, uint64_t offset)
{
	struct gw_nvme_sqe sqe = { .opcode = GW_NVME_CONTROLLER_DATA_QUEUE,
				   .cdw11 = (uint32_t)A << 16,
				   .cdw12 = 256 * 8 };
	const uint64_t list[2] = { GW_CLIENT_IOVA + CF_RING + 8 * 4096,
				   GW_CLIENT_IOVA + CF_RING + 3 * 4096 + offset };

	memset(gw_client_at(t->drive.m, CF_RING), 0, 16 * 4096);
	memcpy(gw_client_at(t->drive.m, CF_RING), list, sizeof(list));
	sqe.data_pointer[0] = GW_CLIENT_IOVA + CF_RING;
	return cf_execute(t, t->drive.m, 0, &sqe, 0);
}

static void scattered(struct cf *t)
{
	struct cf_reader first, second;
	struct nvme_lba_change entry;
	bool is_right = true;
	uint32_t cdq;

	cf_status(t, "create", create_scattered(t, 0), NVME_SC_SUCCESS);
	cdq = t->dw0;
	cf_status(t, "start", cf_track(t, cdq, true), NVME_SC_SUCCESS);
	for (uint32_t i = 0; i < 130; i++)
		is_right &= cf_write(t->drive.a, 2 * i, 1) == NVME_SC_SUCCESS;
	first = cf_reader_of(t, 256, CF_RING + 8 * 4096, cdq);
	second = cf_reader_of(t, 256, CF_RING + 3 * 4096, cdq);
	cf_sequence(&first, "first ESA", NVME_CHANGE_FIRST);
	for (uint32_t i = 0; i < 130; i++) {
		is_right &= cf_next(i < 127 ? &first : &second, &entry, CF_SOON_MS);
		is_right &= entry.slba == 2 * i;
	}
	cf_true(t, "130 entries over two pages, in order", is_right);
}

static void sizes(struct cf *t)
{
	cf_status(t, "63 dwords",
		  cf_admin(t, GW_NVME_CONTROLLER_DATA_QUEUE, 0, (uint32_t)A << 16 | 1, 63, 0, 0,
			   4096),
		  NVME_SC_INVALID_FIELD);
	cf_refused(t, "0 dwords", cf_create(t, A, 0, CF_RING));
}

static void offsets(struct cf *t)
{
	cf_status(t, "PRP1", cf_create(t, A, 128, CF_RING + 8), NVME_SC_PRP_OFFSET_INVALID);
	cf_status(t, "an entry of the list", create_scattered(t, 8), NVME_SC_PRP_OFFSET_INVALID);
}

/* An Identify shows that the memory is there, and not just any address that is refused. */
static void in_controller_memory(struct cf *t)
{
	const uint64_t base = UINT64_C(1) << 40;
	struct gw_client *m = t->drive.m;
	struct gw_nvme_sqe sqe = { .opcode = GW_NVME_IDENTIFY, .cdw10 = NVME_CNS_CONTROLLER };
	uint64_t list[2] = { GW_CLIENT_IOVA + CF_RING + 8 * 4096, base };

	cf_true(t, "CAP.CMBS", (gw_client_register(m, NVME_REG_CAP + 4) >> 25 & 1) != 0);
	gw_client_set_register(m, NVME_REG_CMBMSC + 4, (uint32_t)(base >> 32));
	gw_client_set_register(m, NVME_REG_CMBMSC,
			       (uint32_t)base | NVME_CMBMSC_REGISTERS | NVME_CMBMSC_SPACE);
	cf_true(t, "CMBSZ", gw_client_register(m, NVME_REG_CMBSZ) >> 12 != 0);
	sqe.data_pointer[0] = base;
	cf_status(t, "Identify into it", cf_execute(t, m, 0, &sqe, 0), NVME_SC_SUCCESS);
	sqe = (struct gw_nvme_sqe){ .opcode = GW_NVME_CONTROLLER_DATA_QUEUE,
				    .cdw11 = (uint32_t)A << 16 | NVME_CDQ_CONTIGUOUS,
				    .cdw12 = 128 * 8 };
	sqe.data_pointer[0] = base;
	cf_status(t, "PRP1", cf_execute(t, m, 0, &sqe, 0), NVME_SC_INVALID_FIELD);
	memcpy(gw_client_at(m, CF_RING), list, sizeof(list));
	sqe.data_pointer[0] = GW_CLIENT_IOVA + CF_RING;
	sqe.cdw11 = (uint32_t)A << 16;
	sqe.cdw12 = 256 * 8;
	cf_status(t, "a page", cf_execute(t, m, 0, &sqe, 0), NVME_SC_INVALID_FIELD);
	cf_status(t, "host memory", cf_create(t, A, 128, CF_RING), NVME_SC_SUCCESS);
}

static void selectors(struct cf *t)
{
	cf_status(t, "QT 1h",
		  cf_admin(t, GW_NVME_CONTROLLER_DATA_QUEUE, 0x10000, (uint32_t)A << 16 | 1, 64, 0,
			   0, 4096),
		  NVME_SC_INVALID_FIELD);
	cf_status(t, "SEL 2h",
		  cf_admin(t, GW_NVME_CONTROLLER_DATA_QUEUE, 2, (uint32_t)A << 16 | 1, 64, 0, 0,
			   4096),
		  NVME_SC_INVALID_FIELD);
}

static void unknown_controller(struct cf *t)
{
	cf_status(t, "create", cf_create(t, 0xfff0, 128, CF_RING), NVME_SC_INVALID_CONTROLLER_ID);
}

static void own_controller(struct cf *t)
{
	cf_refused(t, "create", cf_create(t, t->drive.cntlid_m, 128, CF_RING));
}

static void second_queue(struct cf *t)
{
	cf_status(t, "first", cf_create(t, A, 128, CF_RING), NVME_SC_SUCCESS);
	cf_status(t, "second", cf_create(t, A, 128, CF_RING + (1 << 20)), NVME_SC_INVALID_FIELD);
}

static void one_too_many(struct cf *t)
{
	uint32_t cdq;

	cf_status(t, "first", cf_create(t, A, 128, CF_RING), NVME_SC_SUCCESS);
	cdq = t->dw0;
	cf_status_of(t, "one too many", cf_create(t, B, 128, CF_RING + (1 << 20)),
		     NVME_SC_NOT_ENOUGH_RESOURCES, NVME_SC_INVALID_FIELD);
	cf_status(t, "delete", cf_delete(t, cdq), NVME_SC_SUCCESS);
	cf_status(t, "again", cf_create(t, B, 128, CF_RING + (1 << 20)), NVME_SC_SUCCESS);
}

static void too_many_ranges(struct cf *t)
{
	struct gw_nvme_sqe sqe = { .opcode = GW_NVME_CONTROLLER_DATA_QUEUE,
				   .cdw11 = (uint32_t)A << 16,
				   .cdw12 = 3 * 1024 };
	uint64_t list[3];

	for (uint32_t i = 0; i < 3; i++)
		list[i] = GW_CLIENT_IOVA + CF_RING + (2 + 2 * i) * UINT64_C(4096);
	memcpy(gw_client_at(t->drive.m, CF_RING), list, sizeof(list));
	sqe.data_pointer[0] = GW_CLIENT_IOVA + CF_RING;
	cf_status(t, "three", cf_execute(t, t->drive.m, 0, &sqe, 0), NVME_SC_INVALID_FIELD);
	sqe.cdw12 = 2 * 1024;
	cf_status(t, "two", cf_execute(t, t->drive.m, 0, &sqe, 0), NVME_SC_SUCCESS);
}

static void deletes(struct cf *t)
{
	uint32_t cdq;

	cf_status(t, "create", cf_create(t, A, 128, CF_RING), NVME_SC_SUCCESS);
	cdq = t->dw0;
	cf_status(t, "delete", cf_delete(t, cdq), NVME_SC_SUCCESS);
	cf_status(t, "again", cf_delete(t, cdq), NVME_SC_INVALID_CDQ);
}

static void identifier_is_local(struct cf *t)
{
	struct gw_nvme_sqe sqe = { .opcode = GW_NVME_CONTROLLER_DATA_QUEUE,
				   .cdw10 = NVME_CDQ_DELETE };
	uint32_t cdq;

	cf_status(t, "create", cf_create(t, B, 128, CF_RING), NVME_SC_SUCCESS);
	cdq = t->dw0;
	sqe.cdw11 = cdq;
	cf_status(t, "delete by the other manager", cf_execute(t, t->drive.a, 0, &sqe, 0),
		  NVME_SC_INVALID_CDQ);
	cf_status(t, "delete", cf_delete(t, cdq), NVME_SC_SUCCESS);
}

static void reset_of_manager(struct cf *t)
{
	struct cf_reader r = cf_log_of_a(t, 128);

	cf_sequence(&r, "first ESA", NVME_CHANGE_FIRST);
	cf_reset(t->drive.m);
	cf_status(t, "delete", cf_delete(t, r.cdq), NVME_SC_INVALID_CDQ);
	memset(gw_client_at(t->drive.m, CF_RING), 0, 4096);
	cf_status(t, "write", cf_write(t->drive.a, 6, 1), NVME_SC_SUCCESS);
	cf_true(t, "nothing is written to its memory",
		memchr(gw_client_at(t->drive.m, CF_RING), 1, 4096) == NULL);
}

/* Also of one that was suspended: then logging goes on, or there was a change that nobody was told of. */
static void reset_of_logged(struct cf *t)
{
	struct cf_reader r = cf_log_of_a(t, 128);
	uint8_t changed[16] = { 0 };

	cf_reset(t->drive.a);
	cf_status(t, "its head", cf_get_head(t, r.cdq), NVME_SC_SUCCESS);
	cf_status(t, "suspend", cf_suspend_controller(t, A), NVME_SC_SUCCESS);
	cf_reset(t->drive.a);
	cf_status(t, "write", cf_write(t->drive.a, 77, 1), NVME_SC_SUCCESS);
	cf_status(t, "stop", cf_track(t, r.cdq, false), NVME_SC_SUCCESS);
	cf_true(t, "the log ends", cf_collect(&r, NVME_CHANGE_LAST_STOPPED, changed, NULL, 128));
	cf_true(t, "with the write in it", cf_all_set(changed, 77, 1));
}

/* ---- 051 to 057 ---------------------------------------------------------------------------------------- */

static void ask_for_event(struct cf *t)
{
	struct gw_nvme_sqe aer = { .opcode = GW_NVME_ASYNC_EVENT };

	gw_client_submit(t->drive.m, 0, &aer);
}

static bool has_event(struct cf *t, int timeout_ms, struct nvme_cqe *cqe)
{
	return gw_client_reap(t->drive.m, 0, cqe, timeout_ms);
}

static void trigger(struct cf *t)
{
	struct cf_reader r = cf_log_of_a(t, 16);
	struct nvme_cqe cqe = { 0 };

	cf_sequence(&r, "first ESA", NVME_CHANGE_FIRST);
	cf_status(t, "arm slot 3", cf_arm(t, r.cdq, 1, 3), NVME_SC_SUCCESS);
	ask_for_event(t);
	cf_write(t->drive.a, 0, 1);
	cf_write(t->drive.a, 2, 1);
	cf_true(t, "not before", !has_event(t, CF_NEVER_MS, &cqe));
	cf_write(t->drive.a, 4, 1);
	cf_true(t, "then", has_event(t, CF_SOON_MS, &cqe));
	cf_equal(t, "AET", NVME_EVENT_TYPE(cqe.dw0), NVME_EVENT_ONE_SHOT);
	cf_equal(t, "AEI", NVME_EVENT_INFO(cqe.dw0), NVME_ONE_SHOT_CDQ_TAIL);
	cf_equal(t, "its queue", cqe.dw1, r.cdq);
}

static void trigger_disarms(struct cf *t)
{
	const struct nvme_cdq_feature *f = (const void *)gw_client_at(t->drive.m, CF_BUFFER);
	struct cf_reader r = cf_log_of_a(t, 8);
	struct nvme_cqe cqe = { 0 };

	cf_status(t, "arm slot 2", cf_arm(t, r.cdq, 0, 2), NVME_SC_SUCCESS);
	ask_for_event(t);
	cf_write(t->drive.a, 0, 1);
	cf_write(t->drive.a, 2, 1);
	cf_true(t, "it fires", has_event(t, CF_SOON_MS, &cqe));
	cf_status(t, "get", cf_get_head(t, r.cdq), NVME_SC_SUCCESS);
	cf_equal(t, "ETPT", t->dw0 >> 31, 0);
	cf_equal(t, "TPT", f->trigger, 0);
	ask_for_event(t);
	for (uint32_t i = 0; i < 8; i++) {
		cf_set_head(t, r.cdq, (3 + i) % 8);
		cf_write(t->drive.a, 10 + 2 * i, 1);
	}
	cf_true(t, "a second pass raises nothing", !has_event(t, CF_NEVER_MS, &cqe));
}

static void pending_tail_event(struct cf *t)
{
	struct cf_reader r = cf_log_of_a(t, 16);
	struct nvme_cqe cqe = { 0 };

	cf_status(t, "arm slot 1", cf_arm(t, r.cdq, 0, 1), NVME_SC_SUCCESS);
	cf_write(t->drive.a, 0, 1);
	cf_status(t, "set", cf_set_head(t, r.cdq, 1), NVME_SC_SUCCESS);
	ask_for_event(t);
	cf_true(t, "no event", !has_event(t, CF_NEVER_MS, &cqe));
}

static void get_what_was_set(struct cf *t)
{
	const struct nvme_cdq_feature *f = (const void *)gw_client_at(t->drive.m, CF_BUFFER);
	struct cf_reader r = cf_log_of_a(t, 16);
	uint32_t rest = 0;

	cf_write(t->drive.a, 0, 1);
	cf_status(t, "set", cf_arm(t, r.cdq, 2, 9), NVME_SC_SUCCESS);
	memset(gw_client_at(t->drive.m, CF_BUFFER), 0xff, 512);
	cf_status(t, "get", cf_get_head(t, r.cdq), NVME_SC_SUCCESS);
	cf_true(t, "DW0", t->dw0 == (NVME_CDQ_TRIGGER | r.cdq));
	cf_equal(t, "HP", f->head, 2);
	cf_equal(t, "TPT", f->trigger, 9);
	for (size_t i = 0; i < sizeof(f->reserved8); i++)
		rest |= f->reserved8[i];
	cf_equal(t, "511:8", rest, 0);
}

static void heads(struct cf *t)
{
	struct cf_reader r;

	cf_status(t, "create", cf_create(t, A, 16, CF_RING), NVME_SC_SUCCESS);
	r = cf_reader_of(t, 16, CF_RING, t->dw0);
	cf_status(t, "1 of an empty one", cf_set_head(t, r.cdq, 1), NVME_SC_INVALID_FIELD);
	cf_status(t, "0 of an empty one", cf_set_head(t, r.cdq, 0), NVME_SC_SUCCESS);
	cf_status(t, "start", cf_track(t, r.cdq, true), NVME_SC_SUCCESS);
	cf_write(t->drive.a, 0, 1);
	cf_sequence(&r, "ESA", NVME_CHANGE_FIRST);
	cf_sequence(&r, "ESA", 0);
	cf_status(t, "past the tail", cf_set_head(t, r.cdq, 3), NVME_SC_INVALID_FIELD);
	cf_status(t, "past the end", cf_set_head(t, r.cdq, 16), NVME_SC_INVALID_FIELD);
	cf_status(t, "the tail", cf_set_head(t, r.cdq, 2), NVME_SC_SUCCESS);
}

static void trigger_beyond(struct cf *t)
{
	struct cf_reader r = cf_log_of_a(t, 16);

	cf_status(t, "ETPT 1", cf_arm(t, r.cdq, 0, 16), NVME_SC_INVALID_FIELD);
	cf_status(t, "ETPT 0", cf_admin(t, GW_NVME_SET_FEATURES, NVME_FID_CDQ, r.cdq, 0, 16, 0, 0),
		  NVME_SC_SUCCESS);
}

static void unknown_queue(struct cf *t)
{
	struct cf_reader r = cf_log_of_a(t, 16);

	cf_status(t, "set", cf_set_head(t, r.cdq + 1, 0), NVME_SC_INVALID_CDQ);
	cf_status(t, "get", cf_get_head(t, r.cdq + 1), NVME_SC_INVALID_CDQ);
	cf_status(t, "SV 1",
		  cf_admin(t, GW_NVME_SET_FEATURES, 0x80000000 | NVME_FID_CDQ, r.cdq, 0, 0, 0, 0),
		  NVME_SC_FEATURE_NOT_SAVEABLE);
}

static const struct cf_item items[] = {
	{ 11, CF_USUAL, "create, contiguous: CDQID in DW0 15:0, 31:16 are 0", create_contiguous,
	  NULL },
	{ 12, CF_USUAL, "create by a list: entries go on in the right page", scattered, NULL },
	{ 13, CF_USUAL, "CDQSIZE no multiple of 8: 02h; 0: refused", sizes, NULL },
	{ 14, CF_USUAL, "PRP1, or an entry of the list, with an offset: 13h", offsets, NULL },
	{ 15, CF_CMB, "PRP1 or a page of the list in a CMB: 02h", in_controller_memory, NULL },
	{ 16, CF_USUAL, "QT 1h: 02h; SEL 2h: 02h", selectors, NULL },
	{ 17, CF_USUAL, "CNTLID unknown: 11fh", unknown_controller, NULL },
	{ 18, CF_USUAL, "CNTLID of the manager: refused", own_controller, NULL },
	{ 19, CF_USUAL, "a second queue for the same controller: 02h", second_queue, NULL },
	{ 20, CF_ONE_QUEUE, "MCUDMQ + 1: 138h or 02h; after a delete it succeeds", one_too_many,
	  NULL },
	{ 21, CF_FEW_RANGES, "more memory ranges than MCMR: 02h", too_many_ranges, NULL },
	{ 22, CF_USUAL, "delete; again: 137h", deletes, NULL },
	{ 23, CF_TWO_MANAGERS, "CDQID is local: the other manager has 137h", identifier_is_local,
	  NULL },
	{ 24, CF_USUAL, "the manager's reset deletes its queues; their memory is left alone",
	  reset_of_manager, NULL },
	{ 25, CF_USUAL, "a migratable controller's reset does not delete its queue",
	  reset_of_logged, NULL },
	{ 51, CF_USUAL, "ETPT: one event when that slot is posted, not before", trigger, NULL },
	{ 52, CF_USUAL, "the event disarms", trigger_disarms, NULL },
	{ 53, CF_USUAL, "a pending tail event goes with a successful Set Features",
	  pending_tail_event, NULL },
	{ 54, CF_USUAL, "Get Features agrees with the last Set", get_what_was_set, NULL },
	{ 55, CF_USUAL, "a head past the tail: 02h; the tail itself is accepted", heads, NULL },
	{ 56, CF_USUAL, "TPT past the end: 02h with ETPT, ignored without", trigger_beyond, NULL },
	{ 57, CF_USUAL, "unknown CDQID: 137h; SV: 10dh", unknown_queue, NULL },
};
const struct cf_chapter cf_queues = { items, sizeof(items) / sizeof(items[0]) };

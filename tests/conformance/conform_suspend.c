// SPDX-License-Identifier: GPL-2.0-or-later
/* HMLM-058 to 073, 121 and 122: suspend and resume; completions; two hosts at once. */
#include "conform.h"

#include <pthread.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

#define A t->drive.cntlid_a
#define B t->drive.cntlid_b

static void suspend_a(struct cf *t)
{
	cf_status(t, "suspend", cf_suspend_controller(t, A), NVME_SC_SUCCESS);
}

static uint16_t submit_flush(struct gw_client *on)
{
	struct gw_nvme_sqe flush = { .opcode = GW_NVME_FLUSH, .nsid = 1 };

	return gw_client_submit(on, 1, &flush);
}

static bool is_silent(struct gw_client *on, uint16_t qid)
{
	struct nvme_cqe cqe;

	gw_client_register(on, NVME_REG_CSTS); /* the doorbell has come */
	return !gw_client_reap(on, qid, &cqe, CF_NEVER_MS);
}

static void waits(struct cf *t)
{
	struct gw_nvme_sqe write = { .opcode = GW_NVME_WRITE, .nsid = 1, .cdw12 = 2047 };
	uint32_t done = 0;
	struct nvme_cqe cqe;

	gw_client_set_prps(&write, t->drive.a, CF_BUFFER, 1 << 20, CF_RING);
	for (int i = 0; i < 8; i++)
		gw_client_submit(t->drive.a, 1, &write);
	suspend_a(t);
	/* What was fetched has its completion in memory now; what was not stays where it is. */
	while (gw_client_reap(t->drive.a, 1, &cqe, 0))
		done++;
	cf_note(t, "%u of 8 done", done);
	submit_flush(t->drive.a);
	cf_true(t, "what came later waits", is_silent(t->drive.a, 1));
	cf_resume(t, A);
	for (; done < 9; done++) {
		if (!gw_client_reap(t->drive.a, 1, &cqe, CF_SOON_MS))
			break;
	}
	cf_equal(t, "done after the resume", done, 9);
}

static void admin_waits(struct cf *t)
{
	struct gw_nvme_sqe identify = { .opcode = GW_NVME_IDENTIFY, .cdw10 = NVME_CNS_CONTROLLER };

	suspend_a(t);
	gw_client_set_prps(&identify, t->drive.a, CF_BUFFER, 4096, 0);
	gw_client_submit(t->drive.a, 0, &identify);
	cf_true(t, "Identify waits", is_silent(t->drive.a, 0));
}

static uint32_t interrupts(struct gw_client *on)
{
	uint32_t count = 0;
	uint64_t value;

	for (uint32_t i = 0; i <= GW_CLIENT_QUEUES; i++) {
		if (read(on->vector_fd[i], &value, sizeof(value)) == (ssize_t)sizeof(value))
			count += (uint32_t)value;
	}
	return count;
}

/* All of its host's memory is the canary: compared as it is at the completion, and a second later. */
static void stillness(struct cf *t)
{
	static uint8_t before[GW_CLIENT_MEMORY_BYTES];
	struct gw_nvme_sqe read = { .opcode = GW_NVME_READ, .nsid = 1, .cdw12 = 255 };
	struct gw_nvme_sqe aer = { .opcode = GW_NVME_ASYNC_EVENT };

	gw_client_submit(t->drive.a, 0, &aer);
	gw_client_set_prps(&read, t->drive.a, CF_BUFFER, 256 * 512, CF_RING);
	for (int i = 0; i < 10; i++)
		gw_client_submit(t->drive.a, 1, &read);
	suspend_a(t);
	interrupts(t->drive.a);
	memcpy(before, gw_client_at(t->drive.a, 0), sizeof(before));
	submit_flush(t->drive.a);
	memcpy(before + t->drive.a->queue[1].sq, gw_client_at(t->drive.a, t->drive.a->queue[1].sq),
	       4096);
	usleep(1000000);
	cf_true(t, "memory is as it was, a second long",
		memcmp(before, gw_client_at(t->drive.a, 0), sizeof(before)) == 0);
	cf_equal(t, "interrupts", interrupts(t->drive.a), 0);
}

static void event_requests_stay(struct cf *t)
{
	struct gw_nvme_sqe aer = { .opcode = GW_NVME_ASYNC_EVENT };
	struct gw_nvme_sqe enable = { .opcode = GW_NVME_SET_FEATURES,
				      .cdw10 = NVME_FID_ASYNC_EVENTS,
				      .cdw11 = NVME_OAES_NAMESPACE };
	struct gw_nvme_sqe format = { .opcode = GW_NVME_FORMAT, .nsid = 1 };
	struct nvme_cqe cqe = { 0 };
	uint16_t cid;

	cf_status(t, "events on", cf_execute(t, t->drive.a, 0, &enable, 0), NVME_SC_SUCCESS);
	cid = gw_client_submit(t->drive.a, 0, &aer);
	gw_client_identify(t->drive.a, NVME_CNS_CONTROLLER, 0, gw_client_at(t->drive.a, CF_RING));
	suspend_a(t);
	cf_true(t, "suspend does not complete it", is_silent(t->drive.a, 0));
	cf_status(t, "Format by b", cf_execute(t, t->drive.b, 0, &format, 0), NVME_SC_SUCCESS);
	cf_true(t, "an event does not either", is_silent(t->drive.a, 0));
	cf_status(t, "resume", cf_resume(t, A), NVME_SC_SUCCESS);
	cf_true(t, "then it does", gw_client_reap(t->drive.a, 0, &cqe, CF_SOON_MS));
	cf_true(t, "as that request", cqe.cid == cid);
	cf_equal(t, "AET", NVME_EVENT_TYPE(cqe.dw0), NVME_EVENT_NOTICE);
}

static void twice(struct cf *t)
{
	struct cf_reader r = cf_log_of_a(t, 128);

	suspend_a(t);
	suspend_a(t);
	cf_sequence(&r, "ESA", NVME_CHANGE_FIRST);
	cf_sequence(&r, "ESA", NVME_CHANGE_LAST_SUSPENDED);
	cf_nothing(&r, "and no more");
}

static void notification(struct cf *t)
{
	cf_status(t, "STYPE 0", cf_admin(t, GW_NVME_MIGRATION_SEND, 0, A, 0, 0, 0, 0),
		  NVME_SC_SUCCESS);
	cf_status(t, "write", cf_write(t->drive.a, 0, 1), NVME_SC_SUCCESS);
	cf_status(t, "resume", cf_resume(t, A), NVME_SC_CONTROLLER_NOT_SUSPENDED);
}

static void reserved_type(struct cf *t)
{
	cf_status(t, "STYPE 2", cf_admin(t, GW_NVME_MIGRATION_SEND, 0, 0x20000u | A, 0, 0, 0, 0),
		  NVME_SC_INVALID_FIELD);
}

static void queue_stays(struct cf *t)
{
	struct cf_reader r = cf_log_of_a(t, 128);
	uint8_t changed[16] = { 0 };

	suspend_a(t);
	cf_true(t, "ESA 3 comes", cf_collect(&r, NVME_CHANGE_LAST_SUSPENDED, changed, NULL, 128));
	cf_status(t, "Get Features", cf_get_head(t, r.cdq), NVME_SC_SUCCESS);
}

static void queue_goes(struct cf *t)
{
	struct cf_reader r = cf_log_of_a(t, 128);
	struct nvme_lba_change entry = { 0 };
	uint32_t last = 0;

	cf_write(t->drive.a, 1, 1);
	cf_status(t, "suspend, DUDMQ",
		  cf_admin(t, GW_NVME_MIGRATION_SEND, 0, 0x80010000u | A, 0, 0, 0, 0),
		  NVME_SC_SUCCESS);
	while (cf_next(&r, &entry, 0))
		last = NVME_CHANGE_SEQUENCE(entry.attributes);
	cf_equal(t, "the last ESA at the completion", last, NVME_CHANGE_LAST_SUSPENDED);
	cf_status(t, "Get Features", cf_get_head(t, r.cdq), NVME_SC_INVALID_CDQ);
}

static void tracking_refused(struct cf *t)
{
	struct cf_reader r = cf_log_of_a(t, 128);

	suspend_a(t);
	cf_status(t, "start", cf_track(t, r.cdq, true), NVME_SC_CONTROLLER_SUSPENDED);
	cf_status(t, "stop", cf_track(t, r.cdq, false), NVME_SC_CONTROLLER_SUSPENDED);
}

static void sanitize_refused(struct cf *t)
{
	struct gw_nvme_sqe sanitize = { .opcode = GW_NVME_SANITIZE, .cdw10 = 2 };
	const uint8_t *data = gw_client_at(t->drive.b, CF_BUFFER);

	memset(gw_client_at(t->drive.b, CF_BUFFER), 0x3c, 512);
	cf_status(t, "write", cf_write(t->drive.b, 0, 1), NVME_SC_SUCCESS);
	suspend_a(t);
	cf_status(t, "by b", cf_execute(t, t->drive.b, 0, &sanitize, 0),
		  NVME_SC_CONTROLLER_SUSPENDED);
	cf_status(t, "by the manager", cf_execute(t, t->drive.m, 0, &sanitize, 0),
		  NVME_SC_CONTROLLER_SUSPENDED);
	cf_status(t, "read", cf_io(t->drive.b, GW_NVME_READ, 0, 1, 512), NVME_SC_SUCCESS);
	cf_equal(t, "the data", data[0], 0x3c);
}

static void goes_on(struct cf *t)
{
	struct cf_reader r = cf_log_of_a(t, 128);
	struct nvme_cqe cqe;
	uint16_t cid[10];
	bool is_right = true;

	suspend_a(t);
	cf_sequence(&r, "ESA", NVME_CHANGE_FIRST);
	cf_sequence(&r, "ESA", NVME_CHANGE_LAST_SUSPENDED);
	for (int i = 0; i < 10; i++)
		cid[i] = submit_flush(t->drive.a);
	cf_status(t, "resume", cf_resume(t, A), NVME_SC_SUCCESS);
	for (int i = 0; i < 10; i++)
		is_right &= gw_client_reap(t->drive.a, 1, &cqe, CF_SOON_MS) && cqe.cid == cid[i];
	cf_true(t, "ten in order", is_right);
	cf_true(t, "once each", is_silent(t->drive.a, 1));
	cf_write(t->drive.a, 1, 1);
	cf_sequence(&r, "ESA", NVME_CHANGE_FIRST);
}

static void resume_refused(struct cf *t)
{
	cf_status(t, "running", cf_resume(t, A), NVME_SC_CONTROLLER_NOT_SUSPENDED);
	cf_status(t, "unknown", cf_resume(t, 0xfff0), NVME_SC_INVALID_CONTROLLER_ID);
}

static void own_reset_ends_it(struct cf *t)
{
	suspend_a(t);
	cf_reset(t->drive.a);
	cf_status(t, "write", cf_write(t->drive.a, 1, 1), NVME_SC_SUCCESS);
	cf_status(t, "resume", cf_resume(t, A), NVME_SC_CONTROLLER_NOT_SUSPENDED);
}

static void managers_reset_ends_it(struct cf *t)
{
	suspend_a(t);
	cf_reset(t->drive.m);
	cf_status(t, "write", cf_write(t->drive.a, 1, 1), NVME_SC_SUCCESS);
	cf_status(t, "resume", cf_resume(t, A), NVME_SC_CONTROLLER_NOT_SUSPENDED);
}

static void properties(struct cf *t)
{
	const uint32_t cc = gw_client_register(t->drive.a, NVME_REG_CC);

	suspend_a(t);
	cf_true(t, "CC", gw_client_register(t->drive.a, NVME_REG_CC) == cc);
	cf_equal(t, "CSTS", gw_client_register(t->drive.a, NVME_REG_CSTS), NVME_CSTS_RDY);
	cf_true(t, "VS", gw_client_register(t->drive.a, NVME_REG_VS) != 0);
}

/* ---- 121: one of each, the completion as it lies in memory ------------------------------------------------- */

static void look(struct cf *t, const char *what, struct gw_nvme_sqe *sqe, uint32_t dw0_mask)
{
	struct nvme_cqe cqe = { 0 };

	gw_client_set_prps(sqe, t->drive.m, CF_BUFFER, 512, CF_RING + 65536);
	gw_client_submit(t->drive.m, 0, sqe);
	if (!gw_client_reap(t->drive.m, 0, &cqe, CF_SOON_MS)) {
		cf_true(t, what, false);
		return;
	}
	if ((cqe.dw0 & ~dw0_mask) != 0 || cqe.dw1 != 0) {
		cf_note(t, "%s: DW0 %08x DW1 %08x", what, cqe.dw0, cqe.dw1);
		t->is_failed = true;
	}
}

static void completions(struct cf *t)
{
	struct cf_reader r = cf_log_of_a(t, 16);
	struct gw_nvme_sqe sqe = { .opcode = GW_NVME_TRACK_SEND, .cdw11 = r.cdq };

	look(t, "Track Send", &sqe, 0);
	sqe = (struct gw_nvme_sqe){ .opcode = GW_NVME_SET_FEATURES,
				    .cdw10 = NVME_FID_CDQ,
				    .cdw11 = r.cdq };
	look(t, "Set Features", &sqe, 0);
	sqe = (struct gw_nvme_sqe){ .opcode = GW_NVME_GET_FEATURES,
				    .cdw10 = NVME_FID_CDQ,
				    .cdw11 = r.cdq };
	look(t, "Get Features", &sqe, 0x8000ffff);
	sqe = (struct gw_nvme_sqe){ .opcode = GW_NVME_CONTROLLER_DATA_QUEUE,
				    .cdw10 = 1,
				    .cdw11 = r.cdq };
	look(t, "delete", &sqe, 0);
	look(t, "delete again", &sqe, 0);
	sqe = (struct gw_nvme_sqe){
		.opcode = GW_NVME_MIGRATION_RECEIVE, .cdw10 = 0x10000, .cdw11 = A, .cdw15 = 127
	};
	look(t, "get state", &sqe, 1);
	sqe = (struct gw_nvme_sqe){ .opcode = GW_NVME_MIGRATION_SEND, .cdw11 = 0x10000u | A };
	look(t, "suspend", &sqe, 0);
	sqe = (struct gw_nvme_sqe){ .opcode = GW_NVME_MIGRATION_SEND, .cdw10 = 1, .cdw11 = A };
	look(t, "resume", &sqe, 0);
	look(t, "resume again", &sqe, 0);
	cf_note(t, "nine commands");
}

/* ---- 122: two hosts, each with its manager's queue; only one controller can be migrated here, so the
 * other host's is kept busy with commands that fail, and with all that is its own. ------------------------------ */

struct other_host {
	struct gw_client *on;
	uint16_t cntlid;
	uint32_t wrong;
	bool is_over;
};

static void *bother(void *arg)
{
	struct other_host *h = arg;

	while (!__atomic_load_n(&h->is_over, __ATOMIC_ACQUIRE)) {
		struct gw_nvme_sqe sqe = { .opcode = GW_NVME_CONTROLLER_DATA_QUEUE,
					   .cdw12 = 512,
					   .cdw11 = (uint32_t)h->cntlid << 16 | 1 };

		sqe.data_pointer[0] = GW_CLIENT_IOVA + CF_RING;
		h->wrong += gw_client_execute(h->on, 0, &sqe, 0, 0, NULL) != NVME_SC_INVALID_FIELD;
		sqe = (struct gw_nvme_sqe){ .opcode = GW_NVME_MIGRATION_RECEIVE,
					    .cdw10 = 0x10000,
					    .cdw11 = h->cntlid,
					    .cdw15 = 127 };
		h->wrong +=
			gw_client_execute(h->on, 0, &sqe, CF_BUFFER, 512, NULL) != NVME_SC_SUCCESS;
		sqe = (struct gw_nvme_sqe){ .opcode = GW_NVME_TRACK_SEND,
					    .cdw10 = 0x10000,
					    .cdw11 = 0x77 };
		h->wrong += gw_client_execute(h->on, 0, &sqe, 0, 0, NULL) != NVME_SC_INVALID_CDQ;
	}
	return NULL;
}

static void two_hosts(struct cf *t)
{
	struct other_host h = { .on = t->drive.a, .cntlid = B };
	uint8_t changed[1024 / 8] = { 0 };
	struct cf_reader r;
	pthread_t thread;

	cf_status(t, "create", cf_create(t, B, 256, CF_RING), NVME_SC_SUCCESS);
	r = cf_reader_of(t, 256, CF_RING, t->dw0);
	cf_status(t, "start", cf_track(t, r.cdq, true), NVME_SC_SUCCESS);
	if (pthread_create(&thread, NULL, bother, &h) != 0)
		t->is_failed = true;
	for (uint64_t round = 0; round < 20; round++) {
		cf_write(t->drive.b, 8 * round, 1);
		t->is_failed |= cf_suspend_controller(t, B) != NVME_SC_SUCCESS;
		t->is_failed |= cf_resume(t, B) != NVME_SC_SUCCESS;
	}
	__atomic_store_n(&h.is_over, true, __ATOMIC_RELEASE);
	pthread_join(thread, NULL);
	cf_true(t, "20 rounds of suspend and resume", !t->is_failed);
	cf_equal(t, "wrong answers for the other host", h.wrong, 0);
	cf_track(t, r.cdq, false);
	cf_true(t, "the log ends", cf_collect(&r, NVME_CHANGE_LAST_STOPPED, changed, NULL, 1024));
	for (uint64_t round = 0; round < 20; round++)
		t->is_failed |= !cf_all_set(changed, 8 * round, 1);
	cf_true(t, "with all writes", !t->is_failed);
}

static const struct cf_item items[] = {
	{ 58, CF_USUAL, "what was fetched completes, what comes later waits", waits, NULL },
	{ 59, CF_USUAL, "the admin queue waits, too", admin_waits, NULL },
	{ 60, CF_USUAL, "no write to memory and no interrupt for a second", stillness, NULL },
	{ 61, CF_USUAL, "event requests are not completed by suspend", event_requests_stay, NULL },
	{ 62, CF_USUAL, "suspend twice: one ESA 3", twice, NULL },
	{ 63, CF_USUAL, "a notification changes nothing", notification, NULL },
	{ 64, CF_USUAL, "STYPE 2: 02h", reserved_type, NULL },
	{ 65, CF_USUAL, "without DUDMQ: ESA 3, and the queue stays", queue_stays, NULL },
	{ 66, CF_USUAL, "with DUDMQ: ESA 3 is there at the completion, the queue is not",
	  queue_goes, NULL },
	{ 67, CF_USUAL, "Track Send on the queue of a suspended one: 139h", tracking_refused,
	  NULL },
	{ 68, CF_USUAL, "Sanitize: 139h, and nothing is sanitized", sanitize_refused, NULL },
	{ 69, CF_USUAL, "resume: what waits completes, once, in order; ESA 1", goes_on, NULL },
	{ 70, CF_USUAL, "resume of a running one: 13ah; of an unknown one: 11fh", resume_refused,
	  NULL },
	{ 71, CF_USUAL, "its own reset ends a suspension", own_reset_ends_it, NULL },
	{ 72, CF_USUAL, "the manager's reset ends it", managers_reset_ends_it, NULL },
	{ 73, CF_USUAL, "properties can be read", properties, NULL },
	{ 121, CF_USUAL, "unused dwords of completions are 0", completions, NULL },
	{ 122, CF_TWO_MANAGERS, "two managers' commands do not disturb each other", two_hosts,
	  NULL },
};
const struct cf_chapter cf_suspend = { items, sizeof(items) / sizeof(items[0]) };

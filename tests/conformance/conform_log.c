// SPDX-License-Identifier: GPL-2.0-or-later
/* HMLM-026 to 050, 107 and 109: the log of changes. */
#include "conform.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#define BITS 1024u /* blocks that most items look at */

/* What became of a change to [first, first + count) of the first BITS blocks. */
struct seen {
	uint8_t changed[BITS / 8], deallocated[BITS / 8];
};

/* Logging on, do_it, logging off: all that the log says. */
static struct seen seen_of(struct cf *t, void (*do_it)(struct cf *t))
{
	struct cf_reader r = cf_log_of_a(t, 1024);
	struct seen seen = { 0 };

	do_it(t);
	cf_status(t, "stop", cf_track(t, r.cdq, false), NVME_SC_SUCCESS);
	cf_true(t, "the log ends",
		cf_collect(&r, NVME_CHANGE_LAST_STOPPED, seen.changed, seen.deallocated, BITS));
	return seen;
}

static void first_entry(struct cf *t)
{
	struct cf_reader r = cf_log_of_a(t, 128);
	struct nvme_lba_change entry = { 0 };

	cf_write(t->drive.a, 0, 1);
	cf_true(t, "it comes, with phase 1 in slot 0", cf_next(&r, &entry, CF_SOON_MS));
	cf_equal(t, "ESA", NVME_CHANGE_SEQUENCE(entry.attributes), NVME_CHANGE_FIRST);
}

static void start_unknown(struct cf *t)
{
	cf_status(t, "start", cf_track(t, 0x4242, true), NVME_SC_INVALID_CDQ);
}

static void start_twice(struct cf *t)
{
	struct cf_reader r = cf_log_of_a(t, 128);

	cf_status(t, "again", cf_track(t, r.cdq, true), NVME_SC_INVALID_CDQ);
}

static void reserved_values(struct cf *t)
{
	struct cf_reader r = cf_log_of_a(t, 128);

	cf_status(t, "LACT 2h", cf_admin(t, GW_NVME_TRACK_SEND, 0x20000, r.cdq, 0, 0, 0, 0),
		  NVME_SC_INVALID_FIELD);
	cf_status(t, "SEL 2h", cf_admin(t, GW_NVME_TRACK_SEND, 2, r.cdq, 0, 0, 0, 0),
		  NVME_SC_INVALID_FIELD);
}

static void stops(struct cf *t)
{
	struct cf_reader r = cf_log_of_a(t, 128);
	uint8_t changed[BITS / 8] = { 0 };

	cf_write(t->drive.a, 5, 1);
	cf_status(t, "stop", cf_track(t, r.cdq, false), NVME_SC_SUCCESS);
	cf_true(t, "a last entry comes",
		cf_collect(&r, NVME_CHANGE_LAST_STOPPED, changed, NULL, BITS));
	cf_write(t->drive.a, 9, 1);
	cf_nothing(&r, "and none after it");
}

static void restarts(struct cf *t)
{
	struct cf_reader r = cf_log_of_a(t, 128);
	uint8_t changed[BITS / 8] = { 0 };

	cf_track(t, r.cdq, false);
	cf_true(t, "a last entry", cf_collect(&r, NVME_CHANGE_LAST_STOPPED, changed, NULL, BITS));
	cf_status(t, "start", cf_track(t, r.cdq, true), NVME_SC_SUCCESS);
	cf_write(t->drive.a, 9, 1);
	cf_sequence(&r, "ESA in the next slot", NVME_CHANGE_FIRST);
}

static void write_some(struct cf *t)
{
	cf_status(t, "one block", cf_write(t->drive.a, 3, 1), NVME_SC_SUCCESS);
	cf_status(t, "256 blocks", cf_write(t->drive.a, 256, 256), NVME_SC_SUCCESS);
}

static void writes(struct cf *t)
{
	const struct seen seen = seen_of(t, write_some);

	cf_true(t, "both covered",
		cf_all_set(seen.changed, 3, 1) && cf_all_set(seen.changed, 256, 256));
	cf_true(t, "and no more",
		cf_none_set(seen.changed, 0, 3) && cf_none_set(seen.changed, 4, 252) &&
			cf_none_set(seen.changed, 512, 512));
}

/* The reader of the queue asks for the data the moment an entry is there. */
static void not_before_effect(struct cf *t)
{
	struct cf_reader r = cf_log_of_a(t, 128);
	const uint8_t *data = gw_client_at(t->drive.m, CF_BUFFER);
	bool is_new = true;

	cf_sequence(&r, "first ESA", NVME_CHANGE_FIRST);
	for (int round = 0; round < 50; round++) {
		struct gw_nvme_sqe write = { .opcode = GW_NVME_WRITE, .nsid = 1, .cdw10 = 40 };
		struct nvme_lba_change entry;
		struct nvme_cqe cqe;

		memset(gw_client_at(t->drive.a, CF_BUFFER), round + 1, 512);
		gw_client_set_prps(&write, t->drive.a, CF_BUFFER, 512, 0);
		gw_client_submit(t->drive.a, 1, &write);
		is_new &= cf_next(&r, &entry, CF_SOON_MS);
		cf_io(t->drive.m, GW_NVME_READ, 40, 1, 512);
		is_new &= data[0] == round + 1 && data[511] == round + 1;
		is_new &= gw_client_reap(t->drive.a, 1, &cqe, CF_SOON_MS);
		cf_set_head(t, r.cdq, r.head);
	}
	cf_true(t, "50 times the new data", is_new);
}

static void all_is_covered(struct cf *t)
{
	struct cf_reader r = cf_log_of_a(t, 1024);
	uint8_t changed[BITS / 8] = { 0 };

	for (uint64_t i = 0; i < 300; i++)
		cf_write(t->drive.a, 3 * i, 1);
	cf_status(t, "suspend", cf_suspend_controller(t, t->drive.cntlid_a), NVME_SC_SUCCESS);
	cf_true(t, "the log ends", cf_collect(&r, NVME_CHANGE_LAST_SUSPENDED, changed, NULL, BITS));
	for (uint64_t i = 0; i < 300; i++)
		t->is_failed |= !cf_all_set(changed, 3 * i, 1);
	cf_true(t, "300 writes are in it", !t->is_failed);
}

static void zero_some(struct cf *t)
{
	struct gw_nvme_sqe sqe = {
		.opcode = GW_NVME_WRITE_ZEROES, .nsid = 1, .cdw10 = 96, .cdw12 = 31 | 1u << 25
	};

	cf_write(t->drive.a, 0, 256);
	cf_status(t, "without DEAC", cf_io(t->drive.a, GW_NVME_WRITE_ZEROES, 8, 8, 0),
		  NVME_SC_SUCCESS);
	cf_status(t, "with DEAC", cf_execute(t, t->drive.a, 1, &sqe, 0), NVME_SC_SUCCESS);
}

static bool is_zero(struct cf *t, uint64_t slba)
{
	const uint8_t *data = gw_client_at(t->drive.m, CF_BUFFER);

	cf_io(t->drive.m, GW_NVME_READ, slba, 1, 512);
	return data[0] == 0 && memcmp(data, data + 1, 511) == 0;
}

static void zeroes(struct cf *t)
{
	struct seen seen;

	memset(gw_client_at(t->drive.a, CF_BUFFER), 0x77, 256 * 512);
	seen = seen_of(t, zero_some);
	cf_true(t, "both covered",
		cf_all_set(seen.changed, 8, 8) && cf_all_set(seen.changed, 96, 32));
	for (uint64_t at = 0; at < 256; at++) {
		if (!cf_none_set(seen.deallocated, at, 1))
			t->is_failed |= !is_zero(t, at);
	}
	cf_true(t, "what is told as deallocated reads as zeroes", !t->is_failed);
}

static void spoil_some(struct cf *t)
{
	cf_status(t, "Write Uncorrectable",
		  cf_io(t->drive.a, GW_NVME_WRITE_UNCORRECTABLE, 30, 5, 0), NVME_SC_SUCCESS);
}

static void uncorrectable(struct cf *t)
{
	const struct seen seen = seen_of(t, spoil_some);

	cf_true(t, "covered", cf_all_set(seen.changed, 30, 5));
}

/* 256 ranges of one block, every third one. */
static void trim_with(struct cf *t, uint32_t attributes)
{
	struct gw_nvme_sqe sqe = {
		.opcode = GW_NVME_DATASET_MANAGEMENT, .nsid = 1, .cdw10 = 255, .cdw11 = attributes
	};
	struct gw_nvme_dsm_range range[256];

	for (uint64_t i = 0; i < 256; i++)
		range[i] = (struct gw_nvme_dsm_range){ 0, 1, 3 * i };
	memcpy(gw_client_at(t->drive.a, CF_BUFFER), range, sizeof(range));
	cf_status(t, "256 ranges", cf_execute(t, t->drive.a, 1, &sqe, sizeof(range)),
		  NVME_SC_SUCCESS);
}

static void trim_some(struct cf *t)
{
	trim_with(t, 4);
}

static void advise_some(struct cf *t)
{
	trim_with(t, 1);
}

static void deallocations(struct cf *t)
{
	struct seen seen;

	for (uint64_t i = 0; i < 4; i++)
		cf_write(t->drive.a, 256 * i, 256);
	seen = seen_of(t, trim_some);
	for (uint64_t i = 0; i < 256; i++)
		t->is_failed |= !cf_all_set(seen.deallocated, 3 * i, 1);
	cf_true(t, "all covered, with DLBA", !t->is_failed);
}

static void advice(struct cf *t)
{
	const struct seen seen = seen_of(t, advise_some);

	cf_true(t, "nothing without AD", cf_none_set(seen.changed, 0, BITS));
}

static void dataset_management(struct cf *t)
{
	deallocations(t);
	cf_reset(t->drive.m);
	advice(t);
}

static void copy_some(struct cf *t)
{
	struct gw_nvme_sqe sqe = { .opcode = GW_NVME_COPY, .nsid = 1, .cdw10 = 500 };
	const uint64_t source[4] = { 0, 10, 3, 0 };

	memcpy(gw_client_at(t->drive.a, CF_BUFFER), source, sizeof(source));
	cf_status(t, "Copy", cf_execute(t, t->drive.a, 1, &sqe, sizeof(source)), NVME_SC_SUCCESS);
}

static void copies(struct cf *t)
{
	struct seen seen;

	cf_write(t->drive.a, 10, 4);
	seen = seen_of(t, copy_some);
	cf_true(t, "the destination is covered", cf_all_set(seen.changed, 500, 4));
	cf_true(t, "the source is not", cf_none_set(seen.changed, 10, 4));
}

static void compare_and_write(struct cf *t)
{
	struct gw_nvme_sqe pair[2] = {
		{ .opcode = GW_NVME_COMPARE, .flags = 1, .nsid = 1, .cdw10 = 60 },
		{ .opcode = GW_NVME_WRITE, .flags = 2, .nsid = 1, .cdw10 = 60 },
	};
	struct nvme_cqe cqe;

	memset(gw_client_at(t->drive.a, CF_BUFFER), 0, 512);
	for (int i = 0; i < 2; i++) {
		gw_client_set_prps(&pair[i], t->drive.a, CF_BUFFER, 512, 0);
		gw_client_put(t->drive.a, 1, &pair[i]);
	}
	gw_client_ring(t->drive.a, 1);
	for (int i = 0; i < 2; i++) {
		cf_true(t, "a completion", gw_client_reap(t->drive.a, 1, &cqe, CF_SOON_MS));
		cf_status(t, "status", (uint16_t)NVME_STATUS_CODE(NVME_CQE_STATUS(cqe.status)),
			  NVME_SC_SUCCESS);
	}
}

static void fused(struct cf *t)
{
	const struct seen seen = seen_of(t, compare_and_write);

	cf_true(t, "covered", cf_all_set(seen.changed, 60, 1));
}

static void change_nothing(struct cf *t)
{
	cf_status(t, "Read", cf_io(t->drive.a, GW_NVME_READ, 0, 8, 4096), NVME_SC_SUCCESS);
	cf_status(t, "Compare", cf_io(t->drive.a, GW_NVME_COMPARE, 0, 8, 4096), NVME_SC_SUCCESS);
	cf_status(t, "Flush", cf_io(t->drive.a, GW_NVME_FLUSH, 0, 1, 0), NVME_SC_SUCCESS);
	cf_status(t, "Verify", cf_io(t->drive.a, GW_NVME_VERIFY, 0, 8, 0), NVME_SC_SUCCESS);
}

static void no_entries(struct cf *t)
{
	const struct seen seen = seen_of(t, change_nothing);

	cf_true(t, "nothing", cf_none_set(seen.changed, 0, BITS));
}

static void write_as_others(struct cf *t)
{
	cf_status(t, "b", cf_write(t->drive.b, 7, 1), NVME_SC_SUCCESS);
	cf_status(t, "the manager", cf_write(t->drive.m, 8, 1), NVME_SC_SUCCESS);
}

static void others(struct cf *t)
{
	const struct seen seen = seen_of(t, write_as_others);

	cf_true(t, "nothing", cf_none_set(seen.changed, 0, BITS));
}

static void formats(struct cf *t)
{
	struct gw_nvme_sqe sqe = { .opcode = GW_NVME_FORMAT, .nsid = 1 };
	struct cf_reader r = cf_log_of_a(t, 1024);
	uint8_t *changed = calloc(t->drive.blocks / 8 + 1, 1);

	cf_status(t, "Format", cf_execute(t, t->drive.a, 0, &sqe, 0), NVME_SC_SUCCESS);
	cf_track(t, r.cdq, false);
	cf_true(t, "the log ends",
		cf_collect(&r, NVME_CHANGE_LAST_STOPPED, changed, NULL, t->drive.blocks));
	cf_true(t, "every block is covered", cf_all_set(changed, 0, t->drive.blocks));
	free(changed);
}

static void fields(struct cf *t)
{
	struct cf_reader r = cf_log_of_a(t, 1024);
	uint8_t changed[BITS / 8] = { 0 };

	write_some(t);
	zero_some(t);
	trim_some(t);
	cf_suspend_controller(t, t->drive.cntlid_a);
	cf_true(t, "the log ends", cf_collect(&r, NVME_CHANGE_LAST_SUSPENDED, changed, NULL, BITS));
	cf_equal(t, "attributes against the rules", r.broken, 0);
}

static void phases(struct cf *t)
{
	struct cf_reader r = cf_log_of_a(t, 16);
	struct nvme_lba_change entry;
	bool is_right = cf_next(&r, &entry, CF_SOON_MS);

	for (uint32_t i = 0; i < 3 * 16; i++) {
		cf_write(t->drive.a, 2 * i, 1);
		is_right &= cf_next(&r, &entry, CF_SOON_MS) && entry.slba == 2 * i;
		is_right &= cf_set_head(t, r.cdq, r.head) == NVME_SC_SUCCESS;
	}
	cf_true(t, "three times round", is_right);
}

/* ---- 045: an entry is whole as soon as it is there ---------------------------------------------------------- */

#define SPIN_ENTRIES 10000u
#define SPINS	     1000u /* then the processor is given away once */

struct spinner {
	const uint8_t *ring;
	uint32_t slots;
	atomic_uint taken; /* entries; the writer gives their slots back */
	uint32_t torn;
};

/* Entry n is the write of block 2 n, slot 0 the first entry. */
static void *spin(void *arg)
{
	struct spinner *s = arg;

	for (uint32_t n = 0; n <= SPIN_ENTRIES; n++) {
		const uint8_t *at = s->ring + n % s->slots * UINT64_C(32);
		const uint8_t phase = n / s->slots % 2 == 0;
		struct nvme_lba_change entry;

		for (uint32_t i = 1;
		     (__atomic_load_n(&at[31], __ATOMIC_ACQUIRE) & NVME_CHANGE_PHASE) != phase;
		     i++) {
			if (i % SPINS == 0)
				sched_yield();
		}
		memcpy(&entry, at, sizeof(entry));
		if (n > 0 && (entry.slba != 2 * (n - 1) || entry.nsid != 1 || entry.nlb != 0))
			s->torn++;
		atomic_store(&s->taken, n + 1);
	}
	return NULL;
}

static void not_torn(struct cf *t)
{
	struct cf_reader r = cf_log_of_a(t, 64);
	struct spinner s = { .ring = gw_client_at(t->drive.m, CF_RING), .slots = 64 };
	pthread_t thread;

	if (pthread_create(&thread, NULL, spin, &s) != 0)
		abort();
	for (uint32_t i = 0; i < SPIN_ENTRIES; i++) {
		cf_write(t->drive.a, 2 * i, 1);
		/* Else it looks at entries long after they were written, and at a full queue in the end. */
		while (atomic_load(&s.taken) < i + 2)
			sched_yield();
		if (i % 16 == 15)
			cf_set_head(t, r.cdq, (i + 2) % 64);
	}
	pthread_join(thread, NULL);
	cf_equal(t, "entries", atomic_load(&s.taken), SPIN_ENTRIES + 1);
	cf_equal(t, "torn", s.torn, 0);
}

/* ---- 046 to 050: full ------------------------------------------------------------------------------------------ */

static struct cf_reader fill_queue(struct cf *t)
{
	struct cf_reader r = cf_log_of_a(t, 8);

	for (uint32_t i = 0; i < 12; i++)
		cf_write(t->drive.a, 2 * i, 1);
	return r;
}

static void full(struct cf *t)
{
	struct cf_reader r = fill_queue(t);
	struct nvme_lba_change entry = { 0 };
	uint32_t count = 0;

	while (cf_next(&r, &entry, CF_NEVER_MS))
		count++;
	cf_true(t, "at most slots - 1", count <= 7);
	cf_equal(t, "entries", count, 7);
	cf_equal(t, "last ESA", NVME_CHANGE_SEQUENCE(entry.attributes), NVME_CHANGE_LAST_FULL);
}

static void full_event(struct cf *t)
{
	struct gw_nvme_sqe aer = { .opcode = GW_NVME_ASYNC_EVENT };
	struct cf_reader r = fill_queue(t);
	struct nvme_cqe cqe = { 0 };

	gw_client_submit(t->drive.m, 0, &aer);
	gw_client_submit(t->drive.m, 0, &aer);
	cf_true(t, "an event", gw_client_reap(t->drive.m, 0, &cqe, CF_SOON_MS));
	cf_equal(t, "AET", NVME_EVENT_TYPE(cqe.dw0), NVME_EVENT_ONE_SHOT);
	cf_equal(t, "AEI", NVME_EVENT_INFO(cqe.dw0), NVME_ONE_SHOT_CDQ_FULL);
	cf_equal(t, "its queue", cqe.dw1, r.cdq);
	cf_write(t->drive.a, 50, 1);
	cf_true(t, "once", !gw_client_reap(t->drive.m, 0, &cqe, CF_NEVER_MS));
}

static void drain(struct cf_reader *r)
{
	struct nvme_lba_change entry;

	while (cf_next(r, &entry, CF_NEVER_MS))
		;
}

static void silent_after_full(struct cf *t)
{
	struct cf_reader r = fill_queue(t);

	drain(&r);
	cf_status(t, "slots given back", cf_set_head(t, r.cdq, r.head), NVME_SC_SUCCESS);
	cf_write(t->drive.a, 50, 1);
	cf_nothing(&r, "nothing is posted");
	cf_status(t, "start", cf_track(t, r.cdq, true), NVME_SC_SUCCESS);
	cf_write(t->drive.a, 52, 1);
	cf_sequence(&r, "ESA", NVME_CHANGE_FIRST);
}

static void start_when_full(struct cf *t)
{
	struct cf_reader r = fill_queue(t);
	const uint16_t status = cf_track(t, r.cdq, true);

	cf_status_of(t, "start", status, NVME_SC_CDQ_FULL, NVME_SC_SUCCESS);
	if (status != NVME_SC_SUCCESS)
		return;
	drain(&r);
	cf_set_head(t, r.cdq, r.head);
	cf_write(t->drive.a, 52, 1);
	cf_sequence(&r, "ESA", NVME_CHANGE_FIRST);
}

static void pending_full_event(struct cf *t)
{
	struct gw_nvme_sqe aer = { .opcode = GW_NVME_ASYNC_EVENT };
	struct cf_reader r = fill_queue(t);
	struct nvme_cqe cqe;

	drain(&r);
	cf_set_head(t, r.cdq, r.head);
	cf_status(t, "start", cf_track(t, r.cdq, true), NVME_SC_SUCCESS);
	gw_client_submit(t->drive.m, 0, &aer);
	cf_true(t, "no event", !gw_client_reap(t->drive.m, 0, &cqe, CF_NEVER_MS));
}

/* ---- 107: no write is between the log and the allocation ----------------------------------------------------- */

struct writer {
	struct gw_client *on;
	atomic_uint next, end; /* block 8 n is written, in units of 4 KiB */
};

static void *write_on(void *arg)
{
	struct writer *w = arg;

	while (atomic_load(&w->next) < atomic_load(&w->end)) {
		cf_write(w->on, atomic_load(&w->next) * UINT64_C(8), 1);
		atomic_fetch_add(&w->next, 1);
	}
	return NULL;
}

/* Blocks that are allocated, as far as one buffer tells. */
static void mark_allocated(struct cf *t, uint8_t *bits, uint64_t blocks)
{
	const struct nvme_lba_status *list = (const void *)gw_client_at(t->drive.m, CF_BUFFER);
	struct gw_nvme_sqe sqe = { .opcode = GW_NVME_GET_LBA_STATUS,
				   .nsid = 1,
				   .cdw12 = 65535,
				   .cdw13 = (uint32_t)NVME_LBA_STATUS_ALLOCATED << 24 };

	cf_status(t, "Get LBA Status", cf_execute(t, t->drive.m, 0, &sqe, 262144), NVME_SC_SUCCESS);
	cf_equal(t, "CMPC", list->condition, NVME_LBA_STATUS_COMPLETE);
	for (uint32_t i = 0; i < list->count; i++) {
		for (uint64_t k = 0; k <= list->entry[i].nlb; k++) {
			const uint64_t at = list->entry[i].slba + k;

			if (at < blocks)
				bits[at / 8] |= (uint8_t)(1u << at % 8);
		}
	}
}

/* Every block that was written is in one of the two, whenever the start was. */
static void racing_start(struct cf *t)
{
	struct writer w = { .on = t->drive.a, .end = 3000 };
	uint8_t *known = calloc(t->drive.blocks / 8 + 1, 1);
	struct cf_reader r;
	pthread_t thread;
	uint32_t missing = 0, before;

	cf_status(t, "create", cf_create(t, t->drive.cntlid_a, 8192, CF_RING), NVME_SC_SUCCESS);
	r = cf_reader_of(t, 8192, CF_RING, t->dw0);
	if (pthread_create(&thread, NULL, write_on, &w) != 0)
		abort();
	while (atomic_load(&w.next) < 100)
		;
	before = atomic_load(&w.next);
	cf_status(t, "start", cf_track(t, r.cdq, true), NVME_SC_SUCCESS);
	mark_allocated(t, known, t->drive.blocks);
	pthread_join(thread, NULL);
	cf_track(t, r.cdq, false);
	cf_true(t, "the log ends",
		cf_collect(&r, NVME_CHANGE_LAST_STOPPED, known, NULL, t->drive.blocks));
	for (uint64_t n = 0; n < w.end; n++)
		missing += !cf_all_set(known, 8 * n, 1);
	cf_note(t, "%u of %u writes before the start", before, w.end);
	cf_equal(t, "missing", missing, 0);
	free(known);
}

/* ---- 109 -------------------------------------------------------------------------------------------------------- */

#define LOCKSTEP_BLOCKS 512u

static void change_something(struct cf *t, uint64_t *random)
{
	struct gw_client *a = t->drive.a;
	uint64_t slba;
	uint32_t blocks;

	*random = *random * UINT64_C(6364136223846793005) + 1442695040888963407;
	slba = (*random >> 33) % 500;
	blocks = 1 + (uint32_t)(*random >> 20) % 12;
	memset(gw_client_at(a, CF_BUFFER), (int)(*random >> 40), 12 * 512);
	switch ((*random >> 50) % 8) {
	case 0:
		cf_io(a, GW_NVME_WRITE_ZEROES, slba, blocks, 0);
		break;
	case 1:
		cf_deallocate(a, slba, blocks);
		break;
	case 2: {
		struct gw_nvme_sqe sqe = { .opcode = GW_NVME_COPY,
					   .nsid = 1,
					   .cdw10 = (uint32_t)slba };
		const uint64_t source[4] = { 0, (*random >> 12) % 500, blocks - 1, 0 };

		memcpy(gw_client_at(a, CF_BUFFER), source, sizeof(source));
		cf_execute(t, a, 1, &sqe, sizeof(source));
		break;
	}
	default:
		cf_write(a, slba, blocks);
	}
}

static void replay(struct cf *t, const uint8_t *changed, uint8_t *copy)
{
	for (uint64_t at = 0; at < LOCKSTEP_BLOCKS; at++) {
		if (cf_none_set(changed, at, 1))
			continue;
		cf_io(t->drive.m, GW_NVME_READ, at, 1, 512);
		memcpy(copy + at * 512, gw_client_at(t->drive.m, CF_BUFFER), 512);
	}
}

static void lockstep(struct cf *t)
{
	static uint8_t copy[LOCKSTEP_BLOCKS * 512];
	uint8_t changed[LOCKSTEP_BLOCKS / 8] = { 0 };
	struct cf_reader r = cf_log_of_a(t, 4096);
	uint64_t random = 42;
	uint32_t different = 0;

	for (int i = 0; i < 600; i++)
		change_something(t, &random);
	cf_status(t, "suspend", cf_suspend_controller(t, t->drive.cntlid_a), NVME_SC_SUCCESS);
	cf_true(t, "the log ends",
		cf_collect(&r, NVME_CHANGE_LAST_SUSPENDED, changed, NULL, LOCKSTEP_BLOCKS));
	replay(t, changed, copy);
	for (uint64_t at = 0; at < LOCKSTEP_BLOCKS; at++) {
		cf_io(t->drive.m, GW_NVME_READ, at, 1, 512);
		different += memcmp(copy + at * 512, gw_client_at(t->drive.m, CF_BUFFER), 512) != 0;
	}
	cf_note(t, "600 changes");
	cf_equal(t, "blocks that differ", different, 0);
}

static const struct cf_item items[] = {
	{ 26, CF_USUAL, "start; the first entry has ESA 1 and phase 1", first_entry, NULL },
	{ 27, CF_USUAL, "start on an unknown CDQID: 137h", start_unknown, NULL },
	{ 28, CF_USUAL, "a second start: 137h", start_twice, NULL },
	{ 29, CF_USUAL, "LACT 2h: 02h; SEL 2h: 02h", reserved_values, NULL },
	{ 30, CF_USUAL, "stop: an entry with ESA 2, and none after it", stops, NULL },
	{ 31, CF_USUAL, "start after a stop: ESA 1 in the next slot", restarts, NULL },
	{ 32, CF_USUAL, "a Write's range is covered", writes, NULL },
	{ 33, CF_USUAL, "no entry is there before the data is", not_before_effect, NULL },
	{ 34, CF_USUAL, "by ESA 3 every change is covered", all_is_covered, NULL },
	{ 35, CF_USUAL, "Write Zeroes is covered; DLBA only if it reads as zeroes", zeroes, NULL },
	{ 36, CF_USUAL, "Write Uncorrectable is covered", uncorrectable, NULL },
	{ 37, CF_USUAL, "Dataset Management: 256 ranges covered, DLBA; nothing without AD",
	  dataset_management, NULL },
	{ 38, CF_USUAL, "Copy: the destination is covered, the source is not", copies, NULL },
	{ 39, CF_USUAL, "Compare and Write: covered", fused, NULL },
	{ 40, CF_USUAL, "Read, Flush, Compare, Verify: no entry", no_entries, NULL },
	{ 41, CF_USUAL, "writes of other controllers: no entry", others, NULL },
	{ 42, CF_USUAL, "Format: every block is covered", formats, NULL },
	{ 43, CF_USUAL, "fields are by the rules", fields, NULL },
	{ 44, CF_USUAL, "the phase holds for three rounds", phases, NULL },
	{ 45, CF_USUAL, "a reader that spins on byte 31 never sees half an entry", not_torn, NULL },
	{ 46, CF_USUAL, "at most slots - 1 entries; the last has ESA 7", full, NULL },
	{ 47, CF_USUAL, "full raises AET 4, AEI 1, once", full_event, NULL },
	{ 48, CF_USUAL, "after full nothing is posted until a new start", silent_after_full, NULL },
	{ 49, CF_USUAL, "start on a full queue: 13bh, or ESA 1 later", start_when_full, NULL },
	{ 50, CF_USUAL, "a pending full event goes with a Track Send", pending_full_event, NULL },
	{ 107, CF_USUAL, "writes that race with the start are in the log or allocated",
	  racing_start, NULL },
	{ 109, CF_USUAL, "the log, replayed, gives equal data", lockstep, NULL },
	{ 109, CF_MERGING, "the same with entries that are joined", lockstep, NULL },
};
const struct cf_chapter cf_log = { items, sizeof(items) / sizeof(items[0]) };

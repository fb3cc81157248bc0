// SPDX-License-Identifier: GPL-2.0-or-later
/* HMLM-074 to 092: the state of a controller, out and in. */
#include "conform.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define A t->drive.cntlid_a
#define B t->drive.cntlid_b

static const struct nvme_controller_state *head_of(struct cf *t)
{
	return (const void *)gw_client_at(t->drive.m, CF_BUFFER);
}

static void get(struct cf *t, uint16_t cntlid, uint8_t version, uint8_t uuid, uint8_t *into)
{
	const uint16_t status = cf_get_state(t, cntlid, version, uuid, 0, 4096);

	if (status != NVME_SC_SUCCESS)
		cf_status(t, "get state", status, NVME_SC_SUCCESS);
	memcpy(into, head_of(t), 4096);
}

static uint16_t put(struct cf *t, uint32_t sequence, const uint8_t *state, uint32_t offset,
		    uint32_t bytes)
{
	memcpy(gw_client_at(t->drive.m, CF_BUFFER), state + offset, bytes);
	return cf_set_state(t, B, sequence, 1, 0, offset, bytes);
}

/* The NVMe state of a, which is suspended, and b, which takes it. Return: its bytes. */
static uint32_t prepare(struct cf *t, uint8_t state[4096])
{
	cf_status(t, "suspend a", cf_suspend_controller(t, A), NVME_SC_SUCCESS);
	get(t, A, 1, 0, state);
	gw_client_stop_controller(t->drive.b);
	cf_status(t, "suspend b", cf_suspend_controller(t, B), NVME_SC_SUCCESS);
	return cf_state_bytes(state);
}

static bool is_equal_on_b(struct cf *t, const uint8_t *state, uint32_t bytes)
{
	uint8_t other[4096];

	get(t, B, 1, 0, other);
	return memcmp(state, other, bytes) == 0;
}

/* Doorbells are posted writes, and part of the state: one that was rung has arrived when a register is read. */
static void suspend_a(struct cf *t)
{
	gw_client_register(t->drive.a, NVME_REG_CSTS);
	cf_status(t, "suspend", cf_suspend_controller(t, A), NVME_SC_SUCCESS);
}

static void of_suspended(struct cf *t)
{
	uint8_t first[4096], second[4096];

	suspend_a(t);
	get(t, A, 1, 1, first);
	cf_equal(t, "CSUP", t->dw0 & 1, 1);
	cf_equal(t, "CP", first[2] & 1, 1);
	get(t, A, 1, 1, second);
	cf_true(t, "twice the same", memcmp(first, second, cf_state_bytes(first)) == 0);
}

static void of_running(struct cf *t)
{
	uint8_t state[4096];

	get(t, A, 1, 1, state);
	cf_equal(t, "CSUP", t->dw0 & 1, 0);
	cf_equal(t, "CP", state[2] & 1, 0);
}

static void halves(struct cf *t)
{
	cf_status(t, "CSVI 0", cf_get_state(t, A, 0, 1, 0, 4096), NVME_SC_SUCCESS);
	cf_equal(t, "NVMECSS", head_of(t)->nvme_dwords[0], 0);
	cf_status(t, "CSUUIDI 0", cf_get_state(t, A, 1, 0, 0, 4096), NVME_SC_SUCCESS);
	cf_equal(t, "VSS", head_of(t)->vendor_dwords[0], 0);
	cf_status(t, "both 0", cf_get_state(t, A, 0, 0, 0, 48), NVME_SC_SUCCESS);
	cf_equal(t, "all", cf_state_bytes(head_of(t)), 48);
}

static void indices(struct cf *t)
{
	uint8_t formats[4096] = { 0 };

	gw_client_identify(t->drive.m, NVME_CNS_STATE_FORMATS, 0, formats);
	cf_status(t, "NV + 1", cf_get_state(t, A, (uint8_t)(formats[0] + 1), 0, 0, 48),
		  NVME_SC_INVALID_FIELD);
	cf_status(t, "NUUID + 1", cf_get_state(t, A, 0, (uint8_t)(formats[1] + 1), 0, 48),
		  NVME_SC_INVALID_FIELD);
}

static void offsets(struct cf *t)
{
	uint8_t state[4096];
	uint32_t bytes;

	suspend_a(t);
	get(t, A, 1, 1, state);
	bytes = cf_state_bytes(state);
	cf_status(t, "2", cf_get_state(t, A, 1, 1, 2, 4), NVME_SC_INVALID_FIELD);
	cf_status(t, "past the end", cf_get_state(t, A, 1, 1, bytes + 4, 4), NVME_SC_INVALID_FIELD);
	cf_status(t, "the end", cf_get_state(t, A, 1, 1, bytes, 4), NVME_SC_SUCCESS);
}

static void pieces(struct cf *t)
{
	uint8_t state[4096];
	bool is_equal = true;

	suspend_a(t);
	get(t, A, 1, 1, state);
	for (uint32_t at = 0; at < cf_state_bytes(state); at += 4) {
		is_equal &= cf_get_state(t, A, 1, 1, at, 4) == NVME_SC_SUCCESS;
		is_equal &= memcmp(head_of(t), state + at, 4) == 0;
	}
	cf_note(t, "%u pieces", cf_state_bytes(state) / 4);
	cf_true(t, "equal", is_equal);
}

static void lists_queues(struct cf *t)
{
	const struct nvme_queue_state *q;
	const struct nvme_sq_state *sq;
	const struct nvme_cq_state *cq;
	uint8_t state[4096];
	bool is_right = true;

	gw_client_stop_controller(t->drive.a);
	gw_client_start_controller(t->drive.a);
	gw_client_create_queues(t->drive.a, 3);
	get(t, A, 1, 0, state);
	q = (const void *)(state + 48);
	cf_equal(t, "NVMECSS",
		 ((const struct nvme_controller_state *)(const void *)state)->nvme_dwords[0],
		 2 + 6 * 6);
	cf_equal(t, "queues", q->nsq, 3);
	sq = (const void *)(state + 56);
	cq = (const void *)(state + 56 + 3 * sizeof(*sq));
	for (uint16_t i = 0; i < 3; i++) {
		const struct gw_client_queue *own = &t->drive.a->queue[i + 1];

		is_right &= sq[i].qid == i + 1 && sq[i].cqid == i + 1 && cq[i].qid == i + 1 &&
			    sq[i].qsize == own->entries - 1 && cq[i].qsize == own->entries - 1 &&
			    sq[i].prp1 == GW_CLIENT_IOVA + own->sq &&
			    cq[i].prp1 == GW_CLIENT_IOVA + own->cq && (sq[i].attributes & 1) == 1 &&
			    (cq[i].attributes & 3) == 3 && cq[i].attributes >> 16 == i + 1u;
	}
	cf_true(t, "as they were created", is_right);
}

/* What the state says of queue pair 1 after n commands more. */
static void after(struct cf *t, uint32_t *done, uint32_t n)
{
	const struct nvme_sq_state *sq;
	const struct nvme_cq_state *cq;
	uint8_t state[4096];
	uint32_t slot0;

	for (uint32_t i = 0; i < n; i++)
		cf_io(t->drive.a, GW_NVME_FLUSH, 0, 1, 0);
	*done += n;
	gw_client_register(t->drive.a, NVME_REG_CSTS); /* its doorbells have come */
	get(t, A, 1, 0, state);
	sq = (const void *)(state + 56);
	cq = (const void *)(state + 56 + sizeof(*sq));
	slot0 = *done > 0 ? ((*done - 1) / GW_CLIENT_ENTRIES % 2 == 0) : 0;
	cf_note(t, "%u done: %u %u, %u %u, tag %u", *done, sq->head, sq->tail, cq->head, cq->tail,
		cq->attributes >> 2 & 1);
	cf_true(t, "right",
		sq->head == *done % GW_CLIENT_ENTRIES && sq->tail == sq->head &&
			cq->tail == sq->head && cq->head == sq->head &&
			(cq->attributes >> 2 & 1) == slot0);
}

static void heads_and_tags(struct cf *t)
{
	uint32_t done = 0;

	after(t, &done, 0);
	after(t, &done, 5);
	after(t, &done, GW_CLIENT_ENTRIES - 5);
	after(t, &done, 3);
	after(t, &done, GW_CLIENT_ENTRIES - 3);
	after(t, &done, 7);
}

static void into_one_with_queues(struct cf *t)
{
	uint8_t state[4096];

	cf_suspend_controller(t, A);
	get(t, A, 1, 0, state);
	cf_suspend_controller(t, B);
	cf_status(t, "set", put(t, 3, state, 0, cf_state_bytes(state)), NVME_SC_INVALID_FIELD);
}

static void set_indices(struct cf *t)
{
	uint8_t state[4096];
	const uint32_t bytes = prepare(t, state);

	memcpy(gw_client_at(t->drive.m, CF_BUFFER), state, bytes);
	cf_status(t, "both 0", cf_set_state(t, B, 3, 0, 0, 0, bytes), NVME_SC_INVALID_FIELD);
	cf_status(t, "CSVI 0 with NVMe state", cf_set_state(t, B, 3, 0, 1, 0, bytes),
		  NVME_SC_INVALID_FIELD);
}

static void out_of_sequence(struct cf *t)
{
	uint8_t state[4096];

	prepare(t, state);
	cf_status(t, "middle", put(t, 0, state, 0, 48), NVME_SC_COMMAND_SEQUENCE);
	cf_status(t, "last", put(t, 2, state, 0, 48), NVME_SC_COMMAND_SEQUENCE);
}

static void begun_twice(struct cf *t)
{
	static const uint8_t broken[48] = { 9 };
	uint8_t state[4096];
	const uint32_t bytes = prepare(t, state);

	cf_status(t, "first, broken", put(t, 1, broken, 0, 48), NVME_SC_SUCCESS);
	cf_status(t, "first", put(t, 1, state, 0, 48), NVME_SC_SUCCESS);
	cf_status(t, "last", put(t, 2, state, 48, bytes - 48), NVME_SC_SUCCESS);
	cf_true(t, "the second one's", is_equal_on_b(t, state, bytes));
}

static void resume_between(struct cf *t)
{
	uint8_t state[4096];
	const uint32_t bytes = prepare(t, state);

	put(t, 1, state, 0, 48);
	cf_status(t, "resume", cf_resume(t, B), NVME_SC_COMMAND_SEQUENCE);
	cf_status(t, "last", put(t, 2, state, 48, bytes - 48), NVME_SC_SUCCESS);
	cf_status(t, "resume", cf_resume(t, B), NVME_SC_SUCCESS);
}

static void nothing_in_it(struct cf *t)
{
	uint8_t state[4096];
	const uint32_t bytes = prepare(t, state);

	cf_status(t, "first", put(t, 1, state, 0, 0), NVME_SC_INVALID_FIELD);
	cf_status(t, "only", put(t, 3, state, 0, 0), NVME_SC_INVALID_FIELD);
	cf_status(t, "all as first", put(t, 1, state, 0, bytes), NVME_SC_SUCCESS);
	cf_status(t, "middle", put(t, 0, state, 0, 0), NVME_SC_INVALID_FIELD);
	put(t, 1, state, 0, bytes);
	cf_status(t, "last", put(t, 2, state, 0, 0), NVME_SC_SUCCESS);
	cf_true(t, "committed", is_equal_on_b(t, state, bytes));
}

/* In parts of that size; b is emptied again by its reset. */
static void in_parts(struct cf *t, const uint8_t *state, uint32_t bytes, uint32_t part)
{
	bool is_right = true;

	for (uint32_t at = 0; at < bytes; at += part) {
		const uint32_t length = bytes - at < part ? bytes - at : part;
		const uint32_t sequence = (at == 0 ? 1u : 0u) | (at + part >= bytes ? 2u : 0u);

		is_right &= put(t, sequence, state, at, length) == NVME_SC_SUCCESS;
	}
	cf_note(t, "parts of %u", part);
	cf_true(t, "equal", is_right && is_equal_on_b(t, state, bytes));
	gw_client_start_controller(t->drive.b);
	gw_client_stop_controller(t->drive.b);
	cf_suspend_controller(t, B);
}

static void parts(struct cf *t)
{
	uint8_t state[4096];
	uint32_t bytes;

	gw_client_stop_controller(t->drive.a);
	gw_client_start_controller(t->drive.a);
	gw_client_create_queues(t->drive.a, 4);
	bytes = prepare(t, state);
	in_parts(t, state, bytes, 4);
	in_parts(t, state, bytes, 20);
	in_parts(t, state, bytes, 4096);
}

static void broken_fields(struct cf *t)
{
	static const struct {
		uint32_t at;
		uint8_t value;
		const char *what;
	} broken[] = {
		{ 0, 1, "version of the container" },
		{ 16, 15, "NVMECSS" },
		{ 32, 1, "VSS" },
		{ 24, 1, "NVMECSS, upper half" },
		{ 48, 1, "version" },
		{ 50, 2, "NIOSQ" },
		{ 56 + 1, 1, "PRP1 of SQ" },
		{ 56 + 8, 0, "QSIZE 0" },
		{ 56 + 9, 0xff, "QSIZE" },
		{ 56 + 10, 0, "QID 0" },
		{ 56 + 10, 200, "QID" },
		{ 56 + 12, 9, "CQID" },
		{ 56 + 14, 0, "PC of SQ" },
		{ 56 + 16, 16, "SQ head" },
		{ 56 + 18, 16, "SQ tail" },
		{ 80 + 12, 16, "CQ head" },
		{ 80 + 14, 16, "CQ tail" },
		{ 80 + 16, 0, "PC of CQ" },
		{ 80 + 19, 0xff, "vector" },
	};
	uint8_t state[4096], none[4096];
	const uint32_t bytes = prepare(t, state);
	uint32_t refused = 0, unchanged = 0;

	for (size_t i = 0; i < sizeof(broken) / sizeof(broken[0]); i++) {
		uint8_t bad[4096];
		uint16_t status;

		memcpy(bad, state, sizeof(bad));
		bad[broken[i].at] = broken[i].value;
		status = put(t, 3, bad, 0, bytes);
		if (status == NVME_SC_SUCCESS)
			cf_note(t, "%s was taken", broken[i].what);
		refused += status != NVME_SC_SUCCESS;
		get(t, B, 1, 0, none);
		unchanged += ((const struct nvme_controller_state *)(const void *)none)
				     ->nvme_dwords[0] == 2;
	}
	cf_equal(t, "refused", refused, sizeof(broken) / sizeof(broken[0]));
	cf_equal(t, "unchanged", unchanged, sizeof(broken) / sizeof(broken[0]));
	cf_status(t, "and the right one", put(t, 3, state, 0, bytes), NVME_SC_SUCCESS);
}

static void round_trip(struct cf *t)
{
	uint8_t state[4096];
	uint32_t bytes;

	for (int i = 0; i < 37; i++)
		cf_write(t->drive.a, 1, 1);
	bytes = prepare(t, state);
	cf_status(t, "set", put(t, 3, state, 0, bytes), NVME_SC_SUCCESS);
	cf_true(t, "the same bytes", is_equal_on_b(t, state, bytes));
}

/*
 * b becomes what a was, and its host has a's memory, as after a migration: a command that waits
 * there. Return: its identifier.
 */
static uint16_t move(struct cf *t)
{
	struct gw_nvme_sqe flush = { .opcode = GW_NVME_FLUSH, .nsid = 1 };
	uint8_t state[4096];
	uint32_t bytes;
	uint16_t cid;

	for (int i = 0; i < 37; i++)
		cf_write(t->drive.a, 1, 1);
	cf_status(t, "suspend a", cf_suspend_controller(t, A), NVME_SC_SUCCESS);
	cid = gw_client_submit(t->drive.a, 1, &flush);
	gw_client_register(t->drive.a, NVME_REG_CSTS);
	get(t, A, 1, 1, state);
	bytes = cf_state_bytes(state);
	gw_client_stop_controller(t->drive.b);
	cf_status(t, "suspend b", cf_suspend_controller(t, B), NVME_SC_SUCCESS);
	memcpy(gw_client_at(t->drive.b, 0), gw_client_at(t->drive.a, 0), GW_CLIENT_MEMORY_BYTES);
	memcpy(t->drive.b->queue, t->drive.a->queue, sizeof(t->drive.b->queue));
	memcpy(gw_client_at(t->drive.m, CF_BUFFER), state, bytes);
	cf_status(t, "set", cf_set_state(t, B, 3, 1, 1, 0, bytes), NVME_SC_SUCCESS);
	return cid;
}

static void command_moves(struct cf *t)
{
	const uint16_t cid = move(t);
	struct nvme_cqe cqe = { 0 };

	cf_status(t, "resume b", cf_resume(t, B), NVME_SC_SUCCESS);
	cf_true(t, "it completes on b", gw_client_reap(t->drive.b, 1, &cqe, CF_SOON_MS));
	cf_true(t, "with its identifier", cqe.cid == cid);
	cf_true(t, "once", !gw_client_reap(t->drive.b, 1, &cqe, CF_NEVER_MS));
	cf_true(t, "and not on a", !gw_client_reap(t->drive.a, 1, &cqe, CF_NEVER_MS));
}

/* Queue 1 has vector 1, and no other one says a word. */
static void vectors_move(struct cf *t)
{
	uint64_t value = 0;

	move(t);
	for (uint32_t i = 0; i <= GW_CLIENT_QUEUES; i++) {
		if (read(t->drive.b->vector_fd[i], &value, sizeof(value)) < 0)
			value = 0;
	}
	value = 0;
	cf_status(t, "resume b", cf_resume(t, B), NVME_SC_SUCCESS);
	for (int i = 0; i < CF_SOON_MS && value == 0; i++) {
		if (read(t->drive.b->vector_fd[1], &value, sizeof(value)) < 0)
			usleep(1000);
	}
	cf_true(t, "vector 1", value > 0);
	for (uint32_t i = 2; i <= GW_CLIENT_QUEUES; i++)
		cf_true(t, "none on another",
			read(t->drive.b->vector_fd[i], &value, sizeof(value)) < 0);
}

static const struct cf_item items[] = {
	{ 74, CF_USUAL, "of a suspended one: CSUP 1, CP 1, twice the same bytes", of_suspended,
	  NULL },
	{ 75, CF_USUAL, "of a running one: CSUP 0, CP 0", of_running, NULL },
	{ 76, CF_USUAL, "CSVI 0: NVMECSS 0; CSUUIDI 0: VSS 0; both: 48 bytes", halves, NULL },
	{ 77, CF_USUAL, "indices past the lists: 02h", indices, NULL },
	{ 78, CF_USUAL, "offset 2, or past the size: 02h; the size itself is accepted", offsets,
	  NULL },
	{ 79, CF_USUAL, "in steps of 4 bytes the same", pieces, NULL },
	{ 80, CF_USUAL, "it lists the queues as they were created", lists_queues, NULL },
	{ 81, CF_USUAL, "heads, tails and the tag of slot 0 are right", heads_and_tags, NULL },
	{ 82, CF_USUAL, "set on one with I/O queues: 02h", into_one_with_queues, NULL },
	{ 83, CF_USUAL, "set with both indices 0, or CSVI 0 and NVMe state: 02h", set_indices,
	  NULL },
	{ 84, CF_USUAL, "a middle or last part alone: 0ch", out_of_sequence, NULL },
	{ 85, CF_USUAL, "two first parts: the second wins", begun_twice, NULL },
	{ 86, CF_USUAL, "resume before the last part: 0ch; after it: success", resume_between,
	  NULL },
	{ 87, CF_USUAL, "a last part of 0 dwords commits; others: 02h", nothing_in_it, NULL },
	{ 88, CF_USUAL, "parts of any size: the same", parts, NULL },
	{ 89, CF_USUAL, "each broken field: refused, and nothing changed", broken_fields, NULL },
	{ 90, CF_USUAL, "get, set, get: the same bytes", round_trip, NULL },
	{ 91, CF_USUAL, "a command that waits on a completes on b", command_moves, NULL },
	{ 92, CF_USUAL, "interrupts on b use the vectors of the state", vectors_move, NULL },
};
const struct cf_chapter cf_state = { items, sizeof(items) / sizeof(items[0]) };

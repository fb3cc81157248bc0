// SPDX-License-Identifier: GPL-2.0-or-later
/* What items are written in: commands, and the reader of a log. */
#include "conform.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* ---- Findings ---------------------------------------------------------------------------------------- */

void cf_note(struct cf *t, const char *format, ...)
{
	const size_t used = strlen(t->got);
	va_list args;

	va_start(args, format);
	snprintf(t->got + used, sizeof(t->got) - used, "%s", used > 0 ? "; " : "");
	vsnprintf(t->got + strlen(t->got), sizeof(t->got) - strlen(t->got), format, args);
	va_end(args);
}

static void judge(struct cf *t, bool is_right)
{
	if (is_right)
		return;
	t->is_failed = true;
	cf_note(t, "WRONG");
}

void cf_status(struct cf *t, const char *what, uint16_t got, uint16_t wanted)
{
	cf_status_of(t, what, got, wanted, wanted);
}

void cf_status_of(struct cf *t, const char *what, uint16_t got, uint16_t wanted, uint16_t or_wanted)
{
	cf_note(t, "%s %02xh", what, got);
	judge(t, got == wanted || got == or_wanted);
}

void cf_refused(struct cf *t, const char *what, uint16_t got)
{
	cf_note(t, "%s %02xh", what, got);
	judge(t, got != NVME_SC_SUCCESS);
}

void cf_equal(struct cf *t, const char *what, uint64_t got, uint64_t wanted)
{
	cf_note(t, "%s %llu", what, (unsigned long long)got);
	judge(t, got == wanted);
}

/* What is so is told by its name alone; many of them would be a long list of "yes". */
void cf_true(struct cf *t, const char *what, bool is_so)
{
	cf_note(t, is_so ? "%s" : "not: %s", what);
	judge(t, is_so);
}

/* ---- Commands ----------------------------------------------------------------------------------------- */

uint16_t cf_execute(struct cf *t, struct gw_client *on, uint16_t qid, struct gw_nvme_sqe *sqe,
		    uint64_t bytes)
{
	t->dw0 = UINT32_MAX;
	return gw_client_execute(on, qid, sqe, CF_BUFFER, bytes, &t->dw0);
}

uint16_t cf_admin(struct cf *t, uint8_t opcode, uint32_t cdw10, uint32_t cdw11, uint32_t cdw12,
		  uint32_t cdw13, uint32_t cdw15, uint64_t bytes)
{
	struct gw_nvme_sqe sqe = { .opcode = opcode,
				   .cdw10 = cdw10,
				   .cdw11 = cdw11,
				   .cdw12 = cdw12,
				   .cdw13 = cdw13,
				   .cdw15 = cdw15 };

	return cf_execute(t, t->drive.m, 0, &sqe, bytes);
}

uint16_t cf_create_on(struct cf *t, struct gw_client *m, uint16_t cntlid, uint32_t slots,
		      uint64_t offset)
{
	struct gw_nvme_sqe sqe = { .opcode = GW_NVME_CONTROLLER_DATA_QUEUE,
				   .cdw11 = (uint32_t)cntlid << 16 | NVME_CDQ_CONTIGUOUS,
				   .cdw12 = slots * 8 };

	sqe.data_pointer[0] = GW_CLIENT_IOVA + offset;
	if (slots <= 32768)
		memset(gw_client_at(m, offset & ~UINT64_C(4095)), 0, slots * 32);
	return cf_execute(t, m, 0, &sqe, 0);
}

uint16_t cf_create(struct cf *t, uint16_t cntlid, uint32_t slots, uint64_t offset)
{
	return cf_create_on(t, t->drive.m, cntlid, slots, offset);
}

uint16_t cf_delete(struct cf *t, uint32_t cdq)
{
	return cf_admin(t, GW_NVME_CONTROLLER_DATA_QUEUE, NVME_CDQ_DELETE, cdq, 0, 0, 0, 0);
}

uint16_t cf_track(struct cf *t, uint32_t cdq, bool is_start)
{
	return cf_admin(t, GW_NVME_TRACK_SEND, is_start ? NVME_TRACK_START << 16 : 0, cdq, 0, 0, 0,
			0);
}

uint16_t cf_set_head(struct cf *t, uint32_t cdq, uint32_t head)
{
	return cf_admin(t, GW_NVME_SET_FEATURES, NVME_FID_CDQ, cdq, head, 0, 0, 0);
}

uint16_t cf_arm(struct cf *t, uint32_t cdq, uint32_t head, uint32_t trigger)
{
	return cf_admin(t, GW_NVME_SET_FEATURES, NVME_FID_CDQ, NVME_CDQ_TRIGGER | cdq, head,
			trigger, 0, 0);
}

uint16_t cf_get_head(struct cf *t, uint32_t cdq)
{
	return cf_admin(t, GW_NVME_GET_FEATURES, NVME_FID_CDQ, cdq, 0, 0, 0, 512);
}

uint16_t cf_suspend_controller(struct cf *t, uint16_t cntlid)
{
	return cf_admin(t, GW_NVME_MIGRATION_SEND, NVME_MIGRATION_SUSPEND,
			NVME_SUSPEND_NOW << 16 | cntlid, 0, 0, 0, 0);
}

uint16_t cf_resume(struct cf *t, uint16_t cntlid)
{
	return cf_admin(t, GW_NVME_MIGRATION_SEND, NVME_MIGRATION_RESUME, cntlid, 0, 0, 0, 0);
}

uint16_t cf_get_state(struct cf *t, uint16_t cntlid, uint8_t version, uint8_t uuid, uint32_t offset,
		      uint32_t bytes)
{
	return cf_admin(t, GW_NVME_MIGRATION_RECEIVE, (uint32_t)version << 16,
			(uint32_t)uuid << 16 | cntlid, offset, 0, bytes / 4 - 1, bytes);
}

uint16_t cf_set_state(struct cf *t, uint16_t cntlid, uint32_t sequence, uint8_t version,
		      uint8_t uuid, uint32_t offset, uint32_t bytes)
{
	return cf_admin(t, GW_NVME_MIGRATION_SEND, sequence << 16 | NVME_MIGRATION_SET_STATE,
			(uint32_t)uuid << 24 | (uint32_t)version << 16 | cntlid, offset, 0,
			bytes / 4, bytes);
}

uint32_t cf_state_bytes(const void *state)
{
	const struct nvme_controller_state *head = state;

	return (uint32_t)(sizeof(*head) + 4 * (head->nvme_dwords[0] + head->vendor_dwords[0]));
}

uint16_t cf_io(struct gw_client *on, uint8_t opcode, uint64_t slba, uint32_t blocks, uint64_t bytes)
{
	return gw_client_io(on, opcode, 1, slba, blocks, CF_BUFFER, bytes);
}

uint16_t cf_write(struct gw_client *on, uint64_t slba, uint32_t blocks)
{
	return cf_io(on, GW_NVME_WRITE, slba, blocks, blocks * UINT64_C(512));
}

uint16_t cf_deallocate(struct gw_client *on, uint64_t slba, uint32_t blocks)
{
	struct gw_nvme_sqe sqe = { .opcode = GW_NVME_DATASET_MANAGEMENT, .nsid = 1, .cdw11 = 4 };
	const struct gw_nvme_dsm_range range = { 0, blocks, slba };

	memcpy(gw_client_at(on, CF_BUFFER), &range, sizeof(range));
	return gw_client_execute(on, 1, &sqe, CF_BUFFER, sizeof(range), NULL);
}

void cf_reset(struct gw_client *on)
{
	gw_client_stop_controller(on);
	gw_client_start_controller(on);
	gw_client_create_queues(on, 1);
}

/* ---- The log ------------------------------------------------------------------------------------------- */

struct cf_reader cf_reader_of(struct cf *t, uint32_t slots, uint64_t offset, uint32_t cdq)
{
	return (struct cf_reader){ .t = t,
				   .host = t->drive.m,
				   .offset = offset,
				   .slots = slots,
				   .cdq = cdq,
				   .phase = true };
}

struct cf_reader cf_log_of_a(struct cf *t, uint32_t slots)
{
	uint16_t status = cf_create(t, t->drive.cntlid_a, slots, CF_RING);
	const uint32_t cdq = t->dw0;

	if (status == NVME_SC_SUCCESS)
		status = cf_track(t, cdq, true);
	if (status != NVME_SC_SUCCESS)
		cf_status(t, "a queue with logging on", status, NVME_SC_SUCCESS);
	return cf_reader_of(t, slots, CF_RING, cdq);
}

static bool is_by_the_rules(const struct nvme_lba_change *entry)
{
	const uint32_t extent = NVME_CHANGE_EXTENT(entry->attributes);
	const uint32_t sequence = NVME_CHANGE_SEQUENCE(entry->attributes);
	uint8_t reserved = entry->attributes & 0x10;

	for (size_t i = 0; i < sizeof(entry->reserved16); i++)
		reserved |= entry->reserved16[i];
	return reserved == 0 && extent != 3 && (sequence < 4 || sequence == 7) &&
	       (sequence != 0 || extent == NVME_CHANGE_RANGE) &&
	       (extent == NVME_CHANGE_RANGE || entry->slba == 0) &&
	       (extent != NVME_CHANGE_NONE || (entry->nsid == 0 && entry->nlb == 0));
}

bool cf_next(struct cf_reader *r, struct nvme_lba_change *entry, int timeout_ms)
{
	const uint8_t *at = gw_client_at(r->host, r->offset + r->head * UINT64_C(32));

	while (((__atomic_load_n(&at[31], __ATOMIC_ACQUIRE) & NVME_CHANGE_PHASE) != 0) !=
	       r->phase) {
		if (timeout_ms-- <= 0)
			return false;
		usleep(1000);
	}
	memcpy(entry, at, sizeof(*entry));
	if (!is_by_the_rules(entry))
		r->broken = entry->attributes;
	r->head = (r->head + 1) % r->slots;
	if (r->head == 0)
		r->phase = !r->phase;
	return true;
}

void cf_sequence(struct cf_reader *r, const char *what, uint32_t wanted)
{
	struct nvme_lba_change entry;

	if (!cf_next(r, &entry, CF_SOON_MS))
		cf_true(r->t, what, false);
	else
		cf_equal(r->t, what, NVME_CHANGE_SEQUENCE(entry.attributes), wanted);
}

void cf_nothing(struct cf_reader *r, const char *what)
{
	struct nvme_lba_change entry;

	cf_true(r->t, what, !cf_next(r, &entry, CF_NEVER_MS));
}

static void mark(uint8_t *bits, const struct nvme_lba_change *entry, uint64_t count)
{
	const bool is_whole = NVME_CHANGE_EXTENT(entry->attributes) == NVME_CHANGE_WHOLE;
	const uint64_t first = is_whole ? 0 : entry->slba;
	const uint64_t end = is_whole ? count : entry->slba + entry->nlb + 1;

	for (uint64_t at = first; at < end && at < count; at++)
		bits[at / 8] |= (uint8_t)(1u << at % 8);
}

bool cf_collect(struct cf_reader *r, uint32_t until, uint8_t *changed, uint8_t *deallocated,
		uint64_t count)
{
	struct nvme_lba_change entry;

	while (cf_next(r, &entry, CF_SOON_MS)) {
		if (NVME_CHANGE_EXTENT(entry.attributes) != NVME_CHANGE_NONE && entry.nsid == 1) {
			mark(changed, &entry, count);
			if (deallocated != NULL &&
			    (entry.attributes & NVME_CHANGE_DEALLOCATED) != 0)
				mark(deallocated, &entry, count);
		}
		if (NVME_CHANGE_SEQUENCE(entry.attributes) == until)
			return true;
		if (r->head % (r->slots / 4) == 0)
			cf_set_head(r->t, r->cdq, r->head);
	}
	return false;
}

static bool is_set(const uint8_t *bits, uint64_t at)
{
	return (bits[at / 8] >> at % 8 & 1) != 0;
}

bool cf_all_set(const uint8_t *bits, uint64_t first, uint64_t count)
{
	for (uint64_t at = first; at < first + count; at++) {
		if (!is_set(bits, at))
			return false;
	}
	return true;
}

bool cf_none_set(const uint8_t *bits, uint64_t first, uint64_t count)
{
	for (uint64_t at = first; at < first + count; at++) {
		if (is_set(bits, at))
			return false;
	}
	return true;
}

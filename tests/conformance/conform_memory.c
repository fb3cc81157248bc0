// SPDX-License-Identifier: GPL-2.0-or-later
/* HMLM-093 to 106, 108: tracked memory, and allocated blocks. */
#include "conform.h"

#include <string.h>

#define A     t->drive.cntlid_a
#define PAGE  UINT64_C(4096)
#define WHERE (GW_CLIENT_IOVA + CF_BUFFER)

/* ---- 093 to 102 ----------------------------------------------------------------------------------------- */

/* A structure with so many ranges, one after the other from address on, of units each. */
static uint16_t track_ranges(struct cf *t, uint16_t cntlid, uint8_t version, uint8_t granularity,
			     uint64_t address, uint32_t units, uint32_t ranges)
{
	uint8_t *at = gw_client_at(t->drive.m, CF_BUFFER);
	struct nvme_track_memory head = { .version = version,
					  .granularity = granularity,
					  .count = ranges };

	memcpy(at, &head, sizeof(head));
	for (uint32_t i = 0; i < ranges; i++) {
		struct nvme_track_range range = { address + i * units * (PAGE << granularity),
						  units };

		memcpy(at + sizeof(head) + i * sizeof(range), &range, sizeof(range));
	}
	return cf_admin(t, GW_NVME_TRACK_SEND, 0x10001, cntlid, 0, 0, 0,
			(sizeof(head) + ranges * sizeof(struct nvme_track_range) + 3) &
				~UINT64_C(3));
}

static uint16_t track(struct cf *t, uint8_t granularity, uint64_t address, uint32_t units)
{
	return track_ranges(t, A, 0, granularity, address, units, 1);
}

static const struct nvme_tracked_memory *report(struct cf *t, uint32_t bytes)
{
	const uint16_t status =
		cf_admin(t, GW_NVME_TRACK_RECEIVE, 0, A, bytes / 4 - 1, 0, 0, bytes);

	if (status != NVME_SC_SUCCESS)
		cf_status(t, "Track Receive", status, NVME_SC_SUCCESS);
	return (const void *)gw_client_at(t->drive.m, CF_BUFFER);
}

/* Marks of pages from WHERE on. Return: what the report said of more. */
static bool collect(struct cf *t, uint32_t bytes, uint8_t pages[256], bool *is_aligned)
{
	const struct nvme_tracked_memory *head = report(t, bytes);
	const uint64_t unit = PAGE << head->granularity;

	for (uint32_t i = 0; i < head->count; i++) {
		const uint64_t end = head->range[i].address + head->range[i].count * unit;

		*is_aligned &= head->range[i].address % unit == 0;
		for (uint64_t at = head->range[i].address; at < end; at += PAGE) {
			if (at >= WHERE && at < WHERE + 256 * PAGE)
				pages[(at - WHERE) / PAGE] = 1;
		}
	}
	return (head->attributes & NVME_TRACKED_MORE) != 0;
}

/* a's host reads 4 KiB into that page. */
static void read_into(struct cf *t, uint64_t page)
{
	gw_client_io(t->drive.a, GW_NVME_READ, 1, 0, 8, CF_BUFFER + page * PAGE, PAGE);
}

static void reports(struct cf *t)
{
	uint8_t pages[256] = { 0 };
	bool is_aligned = true;

	cf_status(t, "start", track(t, 0, WHERE, 128), NVME_SC_SUCCESS);
	read_into(t, 3);
	read_into(t, 30);
	read_into(t, 31);
	while (collect(t, 4096, pages, &is_aligned))
		;
	cf_true(t, "three pages", pages[3] && pages[30] && pages[31]);
	cf_true(t, "aligned", is_aligned);
}

static void reported_once(struct cf *t)
{
	uint8_t pages[256] = { 0 };
	bool is_aligned = true;

	track(t, 0, WHERE, 128);
	read_into(t, 3);
	while (collect(t, 4096, pages, &is_aligned))
		;
	cf_equal(t, "NTMCD", report(t, 4096)->count, 0);
	cf_equal(t, "MTR", report(t, 4096)->attributes & NVME_TRACKED_MORE, 0);
}

static void small_buffer(struct cf *t)
{
	uint8_t pages[256] = { 0 };
	uint32_t calls = 1, found = 0;
	bool is_aligned = true;

	track(t, 0, WHERE, 128);
	for (uint64_t i = 0; i < 20; i++)
		read_into(t, 3 * i);
	cf_true(t, "MTR", collect(t, 32, pages, &is_aligned));
	while (collect(t, 32, pages, &is_aligned) && calls < 1000)
		calls++;
	for (uint64_t i = 0; i < 20; i++)
		found += pages[3 * i];
	cf_equal(t, "pages", found, 20);
}

static void complete_when_suspended(struct cf *t)
{
	uint8_t pages[256] = { 0 };
	bool is_aligned = true;

	track(t, 0, WHERE, 128);
	read_into(t, 5);
	cf_status(t, "suspend", cf_suspend_controller(t, A), NVME_SC_SUCCESS);
	while (collect(t, 4096, pages, &is_aligned))
		;
	cf_true(t, "the page", pages[5] == 1);
	for (int i = 0; i < 3; i++) {
		const struct nvme_tracked_memory *head = report(t, 4096);

		cf_true(t, "SUSP, and no more",
			head->attributes == NVME_TRACKED_SUSPENDED && head->count == 0);
	}
}

static void out_of_bounds(struct cf *t)
{
	struct nvme_id_ctrl id = { 0 };

	gw_client_identify(t->drive.m, NVME_CNS_CONTROLLER, 0, &id);
	cf_status(t, "MAXMRTG + 1", track(t, (uint8_t)(id.maxmrtg + 1), 0, 1),
		  NVME_SC_INVALID_FIELD);
	cf_status(t, "VER 1", track_ranges(t, A, 1, 0, WHERE, 1, 1), NVME_SC_INVALID_FIELD);
	cf_status(t, "misaligned", track(t, 1, WHERE + PAGE, 1), NVME_SC_INVALID_FIELD);
	cf_status(t, "CMMRTD + 1", track_ranges(t, A, 0, 0, WHERE, 1, id.cmmrtd + 1u),
		  NVME_SC_INVALID_FIELD);
	cf_status(t, "CMMRTD", track_ranges(t, A, 0, 0, WHERE, 1, id.cmmrtd), NVME_SC_SUCCESS);
}

static void power_of_two(struct cf *t)
{
	cf_status(t, "3 units", track(t, 0, WHERE, 3), NVME_SC_INVALID_FIELD);
	cf_status(t, "4 units", track(t, 0, WHERE, 4), NVME_SC_SUCCESS);
}

static void identifiers(struct cf *t)
{
	cf_status(t, "the manager", track_ranges(t, t->drive.cntlid_m, 0, 0, WHERE, 1, 1),
		  NVME_SC_INVALID_CONTROLLER_ID);
	cf_status(t, "a", track(t, 0, WHERE, 1), NVME_SC_SUCCESS);
	cf_status(t, "again", track(t, 0, WHERE, 1), NVME_SC_INVALID_CONTROLLER_ID);
	cf_status(t, "suspend", cf_suspend_controller(t, A), NVME_SC_SUCCESS);
	cf_status(t, "stop", cf_admin(t, GW_NVME_TRACK_SEND, 1, A, 0, 0, 0, 0),
		  NVME_SC_CONTROLLER_SUSPENDED);
}

static void too_fine(struct cf *t)
{
	const uint32_t units = UINT32_MAX;
	uint8_t granularity;
	uint16_t status = track(t, 0, 0, units);

	cf_status(t, "2^32 - 1 pages", status, NVME_SC_NOT_ENOUGH_RESOURCES);
	granularity = (uint8_t)t->dw0;
	cf_note(t, "granularity %u, descriptors %u", t->dw0 & 0xffff, t->dw1);
	cf_status(t, "with that granularity", track(t, granularity, 0, units >> granularity),
		  NVME_SC_SUCCESS);
}

static void outside(struct cf *t)
{
	uint8_t pages[256] = { 0 };
	bool is_aligned = true;
	uint32_t found = 0;

	track(t, 0, WHERE + 8 * PAGE, 8);
	read_into(t, 2);
	read_into(t, 20);
	while (collect(t, 4096, pages, &is_aligned))
		;
	for (int i = 0; i < 256; i++)
		found += pages[i];
	cf_equal(t, "pages told", found, 0);
}

static void reset_stops(struct cf *t)
{
	cf_status(t, "start", track(t, 0, WHERE, 8), NVME_SC_SUCCESS);
	cf_reset(t->drive.m);
	cf_status(t, "Track Receive", cf_admin(t, GW_NVME_TRACK_RECEIVE, 0, A, 1023, 0, 0, 4096),
		  NVME_SC_INVALID_CONTROLLER_ID);
	cf_status(t, "start", track(t, 0, WHERE, 8), NVME_SC_SUCCESS);
}

static const struct cf_item items[] = {
	{ 93, CF_USUAL, "pages that were written are reported, aligned", reports, NULL },
	{ 94, CF_USUAL, "and then no more: NTMCD 0, MTR 0", reported_once, NULL },
	{ 95, CF_USUAL, "a small buffer: MTR, and all of it in the end", small_buffer, NULL },
	{ 96, CF_USUAL, "SUSP 1 and MTR 0: nothing comes before resume", complete_when_suspended,
	  NULL },
	{ 97, CF_USUAL, "granularity, version, alignment, count out of bounds: 02h", out_of_bounds,
	  NULL },
	{ 98, CF_POWER_OF_TWO, "MRTLL and 3 units: 02h", power_of_two, NULL },
	{ 99, CF_USUAL, "self, or already tracked: 11fh; suspended: 139h", identifiers, NULL },
	{ 100, CF_USUAL, "unable: 138h, and what it says can be done", too_fine, NULL },
	{ 101, CF_USUAL, "writes outside the ranges are not reported", outside, NULL },
	{ 102, CF_USUAL, "the manager's reset stops it", reset_stops, NULL },
};
const struct cf_chapter cf_memory = { items, sizeof(items) / sizeof(items[0]) };

/* ---- 103 to 108 ------------------------------------------------------------------------------------------- */

static const struct nvme_lba_status *status_of(struct cf *t, uint64_t slba, uint32_t length,
					       uint32_t dwords)
{
	struct gw_nvme_sqe sqe = { .opcode = GW_NVME_GET_LBA_STATUS,
				   .nsid = 1,
				   .cdw10 = (uint32_t)slba,
				   .cdw11 = (uint32_t)(slba >> 32),
				   .cdw12 = dwords - 1,
				   .cdw13 = (uint32_t)NVME_LBA_STATUS_ALLOCATED << 24 | length };
	const uint16_t status = cf_execute(t, t->drive.m, 0, &sqe, dwords * UINT64_C(4));

	if (status != NVME_SC_SUCCESS)
		cf_status(t, "Get LBA Status", status, NVME_SC_SUCCESS);
	return (const void *)gw_client_at(t->drive.m, CF_BUFFER);
}

static uint32_t unit_of(struct cf *t)
{
	struct nvme_id_ns_nvm ns = { 0 };

	gw_client_identify(t->drive.m, NVME_CNS_COMMAND_SET_NAMESPACE, 1, &ns);
	cf_note(t, "TLBAAG %u", ns.tlbaag);
	return ns.tlbaag == 0 ? 8 : ns.tlbaag;
}

static void empty_and_full(struct cf *t)
{
	const struct nvme_lba_status *list;

	cf_status(t, "deallocate", cf_deallocate(t->drive.a, 0, (uint32_t)t->drive.blocks),
		  NVME_SC_SUCCESS);
	list = status_of(t, 0, 0, 1024);
	cf_equal(t, "empty: NLSD", list->count, 0);
	cf_equal(t, "CMPC", list->condition, NVME_LBA_STATUS_COMPLETE);
	for (uint64_t at = 0; at < t->drive.blocks; at += 2048)
		cf_write(t->drive.a, at, 2048);
	list = status_of(t, 0, 0, 1024);
	cf_equal(t, "full: NLSD", list->count, 1);
	cf_equal(t, "blocks", list->entry[0].nlb + UINT64_C(1), t->drive.blocks);
}

static void one_unit(struct cf *t)
{
	const struct nvme_lba_status *list;
	uint32_t unit;

	cf_deallocate(t->drive.a, 0, (uint32_t)t->drive.blocks);
	unit = unit_of(t);
	cf_write(t->drive.a, 4 * unit + 1, 1);
	list = status_of(t, 0, 0, 1024);
	cf_equal(t, "NLSD", list->count, 1);
	cf_equal(t, "DSLBA", list->entry[0].slba, 4 * unit);
	cf_equal(t, "blocks", list->entry[0].nlb + UINT64_C(1), unit);
	cf_equal(t, "LBARS", list->entry[0].status & 7, NVME_LBARS_ALLOCATED);
	list = status_of(t, 4 * unit + 2, 3, 1024);
	cf_equal(t, "clipped: DSLBA", list->entry[0].slba, 4 * unit + 2);
	cf_equal(t, "blocks", list->entry[0].nlb + UINT64_C(1), 3);
}

static void checkerboard(struct cf *t)
{
	const struct nvme_lba_status *list;
	uint64_t from = 0;
	uint32_t unit, found = 0;

	cf_deallocate(t->drive.a, 0, (uint32_t)t->drive.blocks);
	unit = unit_of(t);
	for (uint64_t i = 0; i < 10; i++)
		cf_write(t->drive.a, 2 * i * unit, unit);
	cf_equal(t, "entries", status_of(t, 0, 0, 1024)->count, 10);
	cf_equal(t, "8 dwords: CMPC", status_of(t, 0, 0, 8)->condition, NVME_LBA_STATUS_INCOMPLETE);
	do {
		list = status_of(t, from, 0, 8);
		if (list->count == 0)
			break;
		found += list->entry[0].slba == 2 * found * (uint64_t)unit;
		from = list->entry[0].slba + list->entry[0].nlb + 1;
	} while (list->condition == NVME_LBA_STATUS_INCOMPLETE && found < 20);
	cf_equal(t, "found one by one", found, 10);
}

static void deallocated(struct cf *t)
{
	uint32_t unit;

	cf_deallocate(t->drive.a, 0, (uint32_t)t->drive.blocks);
	unit = unit_of(t);
	cf_write(t->drive.a, 2 * unit, unit);
	cf_write(t->drive.a, 6 * unit, unit);
	cf_deallocate(t->drive.a, 2 * unit, unit);
	cf_equal(t, "a whole unit less", status_of(t, 0, 0, 1024)->count, 1);
	cf_deallocate(t->drive.a, 6 * unit, unit - 1);
	cf_equal(t, "part of a unit less", status_of(t, 0, 0, 1024)->entry[0].nlb + UINT64_C(1),
		 unit);
}

static void no_allocation(struct cf *t)
{
	struct gw_nvme_sqe sqe = { .opcode = GW_NVME_GET_LBA_STATUS,
				   .nsid = 1,
				   .cdw12 = 1023,
				   .cdw13 = (uint32_t)NVME_LBA_STATUS_ALLOCATED << 24 };
	struct nvme_id_ctrl_nvm nvm = { 0 };

	gw_client_identify(t->drive.m, NVME_CNS_COMMAND_SET_CONTROLLER, 0, &nvm);
	cf_equal(t, "RALBAS", nvm.aocs & NVME_AOCS_RALBAS, 0);
	cf_refused(t, "02h", cf_execute(t, t->drive.m, 0, &sqe, 4096));
}

static const struct cf_item allocation[] = {
	{ 103, CF_USUAL, "Get LBA Status: empty: none; full: one entry", empty_and_full, NULL },
	{ 104, CF_USUAL, "one block: its unit, clipped to what was asked", one_unit, NULL },
	{ 105, CF_USUAL, "every second unit; a small buffer goes on", checkerboard, NULL },
	{ 106, CF_USUAL, "a deallocated unit goes, part of one stays", deallocated, NULL },
	{ 108, CF_NO_ALLOCATION, "without RALBAS it is refused", no_allocation, NULL },
};
const struct cf_chapter cf_allocation = { allocation, sizeof(allocation) / sizeof(allocation[0]) };

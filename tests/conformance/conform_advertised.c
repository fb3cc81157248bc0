// SPDX-License-Identifier: GPL-2.0-or-later
/* HMLM-001 to 010: what is advertised. And those about hosts, which no drive can show. */
#include "conform.h"

#include <string.h>

static struct nvme_id_ctrl id_of(struct cf *t, struct gw_client *on)
{
	struct nvme_id_ctrl id = { 0 };

	cf_status(t, "Identify", gw_client_identify(on, NVME_CNS_CONTROLLER, 0, &id),
		  NVME_SC_SUCCESS);
	return id;
}

static void roles(struct cf *t)
{
	cf_true(t, "the manager has bit 11", (id_of(t, t->drive.m).oacs & NVME_OACS_HMLMS) != 0);
	cf_true(t, "a has not", (id_of(t, t->drive.a).oacs & NVME_OACS_HMLMS) == 0);
	cf_true(t, "b has not", (id_of(t, t->drive.b).oacs & NVME_OACS_HMLMS) == 0);
}

static void host_memory_buffer(struct cf *t)
{
	cf_equal(t, "manager", id_of(t, t->drive.m).hmpre, 0);
	cf_equal(t, "a", id_of(t, t->drive.a).hmpre, 0);
	cf_equal(t, "b", id_of(t, t->drive.b).hmpre, 0);
}

static void no_tracking(struct cf *t)
{
	const struct nvme_id_ctrl id = id_of(t, t->drive.m);

	cf_equal(t, "TRATTR", id.trattr, 0);
	cf_equal(t, "MCUDMQ, MNSUDMQ", id.mcudmq | id.mnsudmq, 0);
	cf_equal(t, "CMMRTD, NMMRTD, MINMRTG, MAXMRTG",
		 id.cmmrtd | id.nmmrtd | id.minmrtg | id.maxmrtg, 0);
	cf_refused(t, "create", cf_create(t, t->drive.cntlid_a, 16, CF_RING));
}

static void limits(struct cf *t)
{
	const struct nvme_id_ctrl id = id_of(t, t->drive.m);

	cf_note(t, "MRTG %u to %u, MRTD %u of %u, UDMQ %u of %u, CMR %u of %u", id.minmrtg,
		id.maxmrtg, id.cmmrtd, id.nmmrtd, id.mcudmq, id.mnsudmq, id.mcmr, id.nmcmr);
	cf_true(t, "in order",
		id.minmrtg <= id.maxmrtg && id.cmmrtd <= id.nmmrtd && id.mcudmq <= id.mnsudmq &&
			id.nmcmr >= id.mcmr);
}

static void formats(struct cf *t)
{
	uint8_t list[4096] = { 0 };
	bool has_version_0 = false;
	uint32_t used, rest = 0;

	cf_status(t, "CNS 20h", gw_client_identify(t->drive.m, NVME_CNS_STATE_FORMATS, 0, list),
		  NVME_SC_SUCCESS);
	for (uint32_t i = 0; i < list[0]; i++)
		has_version_0 |= list[2 + 2 * i] == 0 && list[3 + 2 * i] == 0;
	cf_note(t, "NV %u, NUUID %u", list[0], list[1]);
	cf_true(t, "version 0 or a UUID", has_version_0 || list[1] > 0);
	used = 2 + 2u * list[0] + 16u * list[1];
	for (uint32_t i = used; i < sizeof(list); i++)
		rest |= list[i];
	cf_equal(t, "after the lists", rest, 0);
}

static void formats_of_others(struct cf *t)
{
	uint8_t list[4096];

	cf_refused(t, "a", gw_client_identify(t->drive.a, NVME_CNS_STATE_FORMATS, 0, list));
}

static void commands_of_others(struct cf *t)
{
	static const uint8_t opcodes[] = { GW_NVME_MIGRATION_SEND, GW_NVME_MIGRATION_RECEIVE,
					   GW_NVME_CONTROLLER_DATA_QUEUE };

	for (size_t i = 0; i < sizeof(opcodes); i++) {
		struct gw_nvme_sqe sqe = { .opcode = opcodes[i],
					   .cdw11 = (uint32_t)t->drive.cntlid_b << 16 | 1,
					   .cdw12 = 64 };

		cf_note(t, "%02xh", opcodes[i]);
		cf_refused(t, "on a", cf_execute(t, t->drive.a, 0, &sqe, 4096));
	}
}

static void entry_format(struct cf *t)
{
	struct nvme_id_ctrl_nvm nvm = { 0 };

	cf_true(t, "TUDCS", (id_of(t, t->drive.m).trattr & NVME_TRATTR_USER_DATA) != 0);
	cf_status(t, "CNS 06h",
		  gw_client_identify(t->drive.m, NVME_CNS_COMMAND_SET_CONTROLLER, 0, &nvm),
		  NVME_SC_SUCCESS);
	cf_equal(t, "LBAMQF", nvm.lbamqf, 0);
}

static void reserved(struct cf *t)
{
	uint8_t id[4096] = { 0 };
	uint32_t found = 0;

	cf_status(t, "Identify", gw_client_identify(t->drive.m, NVME_CNS_CONTROLLER, 0, id),
		  NVME_SC_SUCCESS);
	for (uint32_t i = 588; i < 768; i++)
		found |= id[i];
	cf_equal(t, "byte 577", id[577], 0);
	cf_equal(t, "767:588", found, 0);
}

static uint32_t effect_of(struct cf *t, struct gw_client *on, uint8_t opcode)
{
	struct gw_nvme_sqe sqe = { .opcode = GW_NVME_GET_LOG_PAGE,
				   .cdw10 = 1023u << 16 | NVME_LOG_EFFECTS };
	uint32_t effect;
	const uint16_t status = cf_execute(t, on, 0, &sqe, 4096);

	if (status != NVME_SC_SUCCESS)
		cf_status(t, "Get Log Page", status, NVME_SC_SUCCESS);
	memcpy(&effect, gw_client_at(on, CF_BUFFER + 4u * opcode), sizeof(effect));
	return effect & NVME_EFFECT_SUPPORTED;
}

static void effects(struct cf *t)
{
	static const uint8_t opcodes[] = { GW_NVME_TRACK_SEND, GW_NVME_MIGRATION_SEND,
					   GW_NVME_MIGRATION_RECEIVE,
					   GW_NVME_CONTROLLER_DATA_QUEUE };

	for (size_t i = 0; i < sizeof(opcodes); i++) {
		cf_note(t, "%02xh", opcodes[i]);
		cf_equal(t, "manager", effect_of(t, t->drive.m, opcodes[i]), 1);
		cf_equal(t, "a", effect_of(t, t->drive.a, opcodes[i]), 0);
	}
}

static const struct cf_item items[] = {
	{ 1, CF_USUAL, "OACS bit 11 is set for the manager, clear for all others", roles, NULL },
	{ 2, CF_USUAL, "HMPRE is 0 for all controllers", host_memory_buffer, NULL },
	{ 3, CF_NO_TRACKING, "without TUDCS and THMCS their limits are 0", no_tracking, NULL },
	{ 4, CF_USUAL, "limits are in order", limits, NULL },
	{ 5, CF_USUAL, "CNS 20h names version 0 or a UUID, and zeroes after that", formats, NULL },
	{ 6, CF_USUAL, "CNS 20h is refused by a migratable controller", formats_of_others, NULL },
	{ 7, CF_USUAL, "41h, 42h, 45h are refused by a migratable controller", commands_of_others,
	  NULL },
	{ 8, CF_USUAL, "LBAMQF is 0", entry_format, NULL },
	{ 9, CF_USUAL, "reserved bytes 577 and 767:588 are 0", reserved, NULL },
	{ 10, CF_USUAL, "log 05h: 3Dh, 41h, 42h, 45h on the manager alone", effects, NULL },
};
const struct cf_chapter cf_advertised = { items, sizeof(items) / sizeof(items[0]) };

#define HOST "this is about the host's side, not the drive's"
static const struct cf_item hosts[] = {
	{ 110, CF_USUAL, "a client zeroes and pins queue memory", NULL, HOST },
	{ 111, CF_USUAL, "a client starts logging, then asks for allocation", NULL, HOST },
	{ 112, CF_USUAL, "a client accepts every form of entry", NULL, HOST },
	{ 113, CF_USUAL, "a client takes doubt for dirty", NULL, HOST },
	{ 114, CF_USUAL, "a client waits for the last entry", NULL, HOST },
	{ 115, CF_USUAL, "a client handles an event while it arms again", NULL, HOST },
	{ 116, CF_USUAL, "a client looks indices up on each side", NULL, HOST },
	{ 117, CF_USUAL, "a client refuses the state of a running controller", NULL, HOST },
	{ 118, CF_USUAL, "an error ends with the source resumed", NULL, HOST },
	{ 119, CF_USUAL, "a client that is killed leaves nothing behind", NULL, HOST },
	{ 120, CF_USUAL, "a source is not resumed after the target was", NULL, HOST },
	{ 123, CF_USUAL, "suspended time has a limit", NULL, HOST },
};
const struct cf_chapter cf_hosts = { hosts, sizeof(hosts) / sizeof(hosts[0]) };

// SPDX-License-Identifier: GPL-2.0-or-later
/* What is made of recorded answers of drives, and what the rows of the check say of two of them. */
#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>

#include "dev.h"
#include "nvme_identify.h"
#include "nvme_recorded.h"
#include "preflight_rows.h"

static struct gw_nvme_answers answers;
static struct gw_nvme_facts facts;
static struct gw_check check;
static struct gw_node source, target;
static struct gw_row row;

static struct nvme_id_ns *namespace(void)
{
	return (struct nvme_id_ns *)answers.namespace;
}

static void set_up(void)
{
	gw_recorded_load(&answers, "qemu-plain");
	cr_assert_eq(gw_nvme_read_facts(&check.nvme[GW_SOURCE], &answers), 0);
	check.nvme[GW_TARGET] = check.nvme[GW_SOURCE];
	strcpy(check.nvme[GW_TARGET].serial, "another");
	strcpy(target.disk_name, "nvme1n1");
	source.size_bytes = target.size_bytes = UINT64_C(256) << 20;
	source.disk_dev = 1;
	target.disk_dev = 2;
	source.nvme.nsid = 3;
	target.nvme.nsid = 4;
	target.nvme.subsystem = 1;
	check.source = &source;
	check.target = &target;
	check.is_tracked = true;
}

TestSuite(nvme_identify, .init = set_up);

#define S (&check.nvme[GW_SOURCE])
#define T (&check.nvme[GW_TARGET])

static enum gw_row_state look(const char *id)
{
	for (const struct gw_row_rule *rule = gw_rows_nvme; rule->id != NULL; rule++) {
		if (strcmp(rule->id, id) != 0)
			continue;
		row = (struct gw_row){ .id = id };
		rule->look(&check, &row);
		cr_assert(row.why[0] != '\0', "%s says nothing", id);
		cr_assert(row.mend[0] != '\0' || row.state == GW_ROW_MET ||
			  row.state == GW_ROW_DIFFERS, "%s: no way out of \"%s\"", id, row.why);
		return row.state;
	}
	cr_assert_fail("there is no row %s", id);
	return GW_ROW_UNMET;
}

static void load(const char *name, enum gw_end end)
{
	gw_recorded_load(&answers, name);
	cr_assert_eq(gw_nvme_read_facts(&check.nvme[end], &answers), 0, "%s", name);
}

Test(nvme_identify, a_recorded_drive)
{
	cr_expect_eq(S->size_blk, (UINT64_C(256) << 20) / 512);
	cr_expect_eq(S->format.lba_bytes, 512);
	cr_expect_eq(S->format.metadata_bytes, 0);
	cr_expect_eq(S->protection, 0);
	cr_expect_str_eq(S->model, "QEMU NVMe Ctrl");
	cr_expect_str_eq(S->serial, "GWPLAIN");
	cr_expect(S->has_write_cache);
	cr_expect(S->can_format);
	cr_expect(S->knows_command_set);
	cr_expect_eq(S->command_set, 0);
	cr_expect_eq(S->deallocated, GW_NVME_DEALLOCATED_ZEROES);
	cr_expect_not(S->is_shared);
	cr_expect_eq(S->attached_count, 1);
	cr_expect_eq(S->foreign_count, 0);
	cr_expect_eq(S->temperature_k, 323);
	cr_expect_not(S->tells_allocation);
}

Test(nvme_identify, other_recorded_drives)
{
	load("qemu-guarded", GW_SOURCE);
	cr_expect_eq(S->format.metadata_bytes, 8);
	cr_expect_eq(S->protection, 1);
	cr_expect_eq(S->protection_bytes, 8);
	cr_expect_not(S->metadata_is_inline);
	load("qemu-extended", GW_SOURCE);
	cr_expect_eq(S->protection, 0);
	cr_expect(S->metadata_is_inline);
	load("qemu-zoned", GW_SOURCE);
	cr_expect_eq(S->command_set, 2);
	load("qemu-shared", GW_SOURCE);
	cr_expect(S->is_shared);
	cr_expect_eq(S->attached_count, 2);
	cr_expect_eq(S->foreign_count, 0);
}

Test(nvme_identify, what_cannot_be_is_refused)
{
	const struct gw_nvme_answers good = answers;

#define REFUSED(what) \
	do { \
		what; \
		cr_expect_eq(gw_nvme_read_facts(&facts, &answers), -EPROTO, #what); \
		cr_expect_eq(facts.format_count, 0); \
		answers = good; \
	} while (0)
	REFUSED(namespace()->nsze = 0);
	REFUSED(namespace()->ncap = namespace()->nsze + 1);
	REFUSED(namespace()->nsze = UINT64_MAX);
	REFUSED((namespace()->nlbaf = 0, namespace()->flbas = 1));
	REFUSED((namespace()->nlbaf = 63, namespace()->nulbaf = 1));
	REFUSED((namespace()->nlbaf = 40, namespace()->flbas = 0x6f));
	REFUSED(namespace()->lbaf[namespace()->flbas & 0xf].lbads = 64);
	REFUSED(namespace()->dps = 1);	/* without metadata */
	REFUSED(answers.attached[1] = 8);	/* 2048 controllers */
	REFUSED((answers.has |= GW_NVME_HAS_RESERVATIONS, answers.reservations[4] = 7));
	answers.has &= ~(uint32_t)GW_NVME_HAS_CONTROLLER;
	cr_expect_eq(gw_nvme_read_facts(&facts, &answers), -ENODATA);
	answers = good;
	memset(answers.descriptors, 0xff, sizeof(answers.descriptors));
	cr_expect_eq(gw_nvme_read_facts(&facts, &answers), -EPROTO, "an item past the end");
}

Test(nvme_identify, registrants_that_did_not_fit_are_others)
{
	answers.has |= GW_NVME_HAS_RESERVATIONS | GW_NVME_HAS_LONG_RESERVATIONS;
	answers.reservations[4] = 1;
	answers.reservations[5] = 0xff;
	answers.reservations[6] = 0xff;
	/* The first is ours, and holds it. */
	answers.reservations[64] = (uint8_t)answers.ours[0];
	answers.reservations[65] = (uint8_t)(answers.ours[0] >> 8);
	answers.reservations[66] = 1;
	for (uint32_t i = 2; i < 64; i++)
		answers.reservations[64 * i] = 0x55;
	cr_assert_eq(gw_nvme_read_facts(&facts, &answers), 0);
	cr_expect_eq(facts.registrants, 65535);
	cr_expect_eq(facts.foreign_registrants, 65534);
	cr_expect(gw_nvme_is_reserved_for_us(&facts), "of that type only the holder may write");
	facts.reservation = 5;
	cr_expect_not(gw_nvme_is_reserved_for_us(&facts));
}

Test(nvme_identify, like_drives_differ_in_nothing)
{
	for (const struct gw_row_rule *rule = gw_rows_nvme; rule->id != NULL; rule++)
		cr_expect_eq(look(rule->id), GW_ROW_MET, "%s: %s", rule->id, row.why);
}

Test(nvme_identify, nothing_is_claimed_of_a_silent_drive)
{
	for (enum gw_end end = GW_SOURCE; end <= GW_TARGET; end++) {
		check.nvme_err[end] = -EIO;
		check.nvme_err[!end] = -ENXIO;
		for (const struct gw_row_rule *rule = gw_rows_nvme; rule->id != NULL; rule++)
			cr_expect(look(rule->id) == GW_ROW_WARNING ||
				  strstr(row.why, "is no NVMe namespace") != NULL ||
				  strstr(row.why, "not known") != NULL, "%s: %s", rule->id, row.why);
	}
}

Test(nvme_identify, a_drive_without_a_health_log_is_not_called_healthy)
{
	S->knows_health = false;
	cr_expect_eq(look("nvme-warnings"), GW_ROW_WARNING);
	T->critical_warning = GW_NVME_WARNS_READ_ONLY;
	cr_expect_eq(look("nvme-warnings"), GW_ROW_UNMET);
}

/* Each of these leaves the reader with something to do: look() asks for that. */
Test(nvme_identify, what_the_drive_does_not_say_is_a_warning)
{
	S->can_reserve = T->can_reserve = true;
	S->knows_reservations = T->knows_reservations = false;
	cr_expect_eq(look("nvme-source-reserved"), GW_ROW_WARNING);
	cr_expect_eq(look("nvme-target-reserved"), GW_ROW_WARNING);
	T->is_shared = T->has_controllers = true;
	T->knows_attached = false;
	cr_expect_eq(look("nvme-target-shared"), GW_ROW_WARNING);
}

Test(nvme_identify, larger_blocks_block_and_the_way_back_does_not)
{
	load("qemu-large", GW_TARGET);
	cr_expect_eq(look("nvme-lba-format"), GW_ROW_UNMET);
	cr_expect(strstr(row.mend, "nvme format /dev/nvme1n1 --namespace-id=4 --lbaf=0") != NULL,
		  "%s", row.mend);
	T->can_format = false;
	look("nvme-lba-format");
	cr_expect(strstr(row.mend, "cannot be formatted") != NULL, "%s", row.mend);
	load("qemu-large", GW_SOURCE);
	load("qemu-plain", GW_TARGET);
	cr_expect_eq(look("nvme-lba-format"), GW_ROW_DIFFERS);
}

Test(nvme_identify, protection_is_lost_or_made_anew_and_metadata_blocks)
{
	load("qemu-guarded", GW_SOURCE);
	cr_expect_eq(look("nvme-protection"), GW_ROW_WARNING);
	cr_expect(strstr(row.mend, "--pi=1") != NULL, "%s", row.mend);
	cr_expect_eq(look("nvme-metadata"), GW_ROW_MET);
	*T = *S;
	T->protection = 3;
	cr_expect_eq(look("nvme-protection"), GW_ROW_DIFFERS);
	load("qemu-extended", GW_SOURCE);
	cr_expect_eq(look("nvme-metadata"), GW_ROW_UNMET);
	load("qemu-plain", GW_SOURCE);
	load("qemu-extended", GW_TARGET);
	cr_expect_eq(look("nvme-metadata"), GW_ROW_DIFFERS);
	load("qemu-zoned", GW_TARGET);
	cr_expect_eq(look("nvme-command-set"), GW_ROW_UNMET);
}

Test(nvme_identify, a_thin_target_warns_until_it_cannot_hold_what_is_used)
{
	T->capacity_blk = T->size_blk / 2;
	S->used_blk = S->size_blk / 2;
	cr_expect_eq(look("nvme-capacity"), GW_ROW_WARNING);
	S->used_blk++;
	cr_expect_eq(look("nvme-capacity"), GW_ROW_UNMET);
	T->size_blk = T->capacity_blk = S->size_blk * 2;
	cr_expect_eq(look("nvme-capacity"), GW_ROW_DIFFERS);
}

Test(nvme_identify, a_cache_that_is_never_flushed_blocks)
{
	check.skips_flushes[GW_TARGET] = true;
	cr_expect_eq(look("nvme-write-cache"), GW_ROW_UNMET);
	T->knows_write_cache = true;
	T->write_cache_is_on = false;
	cr_expect_eq(look("nvme-write-cache"), GW_ROW_MET, "it is switched off");
	T->has_write_cache = false;
	cr_expect_eq(look("nvme-write-cache"), GW_ROW_DIFFERS);
}

Test(nvme_identify, atomic_writes_must_not_become_smaller)
{
	S->atomic_blk = 32;
	cr_expect_eq(look("nvme-atomic-write"), GW_ROW_WARNING);
	T->atomic_blk = 64;
	cr_expect_eq(look("nvme-atomic-write"), GW_ROW_DIFFERS);
	T->atomic_boundary_blk = 32;
	cr_expect_eq(look("nvme-atomic-write"), GW_ROW_WARNING, "boundaries are new");
	S->atomic_boundary_blk = 32;
	cr_expect_eq(look("nvme-atomic-write"), GW_ROW_MET);
}

Test(nvme_identify, deallocated_blocks)
{
	T->deallocated = GW_NVME_DEALLOCATED_ANYTHING;
	cr_expect_eq(look("nvme-deallocated"), GW_ROW_WARNING);
	S->deallocated = GW_NVME_DEALLOCATED_ANYTHING;
	T->deallocated = GW_NVME_DEALLOCATED_ONES;
	cr_expect_eq(look("nvme-deallocated"), GW_ROW_DIFFERS);
	S->fails_deallocated = true;
	cr_expect_eq(look("nvme-readable"), GW_ROW_UNMET);
}

Test(nvme_identify, others_who_write)
{
	S->is_shared = true;
	cr_expect_eq(look("nvme-source-shared"), GW_ROW_MET, "attached to ours only");
	S->attached_count = 2;
	S->foreign_count = 1;
	cr_expect_eq(look("nvme-source-shared"), GW_ROW_WARNING);
	S->knows_attached = false;
	S->has_controllers = true;
	cr_expect_eq(look("nvme-source-shared"), GW_ROW_WARNING);
	S->can_reserve = S->knows_reservations = true;
	S->foreign_registrants = S->registrants = 1;
	cr_expect_eq(look("nvme-source-shared"), GW_ROW_UNMET);
	cr_expect_eq(look("nvme-source-reserved"), GW_ROW_WARNING);
	check.is_tracked = false;
	cr_expect_eq(look("nvme-source-shared"), GW_ROW_WARNING, "somebody vouches");
	check.is_tracked = true;
	S->reservation = 1;
	S->is_holder = true;
	cr_expect_eq(look("nvme-source-shared"), GW_ROW_MET);
	T->can_reserve = T->knows_reservations = true;
	T->foreign_registrants = 1;
	cr_expect_eq(look("nvme-target-reserved"), GW_ROW_UNMET);
	T->is_write_protected = true;
	cr_expect_eq(look("nvme-write-protection"), GW_ROW_UNMET);
}

Test(nvme_identify, one_namespace_under_two_names)
{
	strcpy(T->serial, S->serial);
	cr_expect_eq(look("nvme-different"), GW_ROW_UNMET);
	strcpy(T->serial, "another");
	cr_expect_eq(look("nvme-different"), GW_ROW_MET, "an identifier that every copy has");
}

Test(nvme_identify, health)
{
	S->critical_warning = GW_NVME_WARNS_RELIABILITY;
	cr_expect_eq(look("nvme-warnings"), GW_ROW_WARNING);
	T->critical_warning = GW_NVME_WARNS_READ_ONLY;
	cr_expect_eq(look("nvme-warnings"), GW_ROW_UNMET);
	S->used_percent = 120;
	cr_expect_eq(look("nvme-spare"), GW_ROW_WARNING);
	T->spare_percent = 9;
	T->spare_threshold_percent = 10;
	cr_expect_eq(look("nvme-spare"), GW_ROW_UNMET);
	T->temperature_k = T->warning_k = 343;
	cr_expect_eq(look("nvme-temperature"), GW_ROW_WARNING);
	S->firmware_next = 2;
	cr_expect_eq(look("nvme-firmware"), GW_ROW_WARNING);
	S->firmware_next = 0;
	strcpy(T->firmware, "2.0");
	cr_expect_eq(look("nvme-firmware"), GW_ROW_DIFFERS);
}

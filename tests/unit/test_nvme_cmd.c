// SPDX-License-Identifier: GPL-2.0-or-later
/* What each command may change: the policy that the BPF programs compile, too. */
#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>

#include "nvme_cmd.h"

#define NSID 7u

static struct gw_nvme_sqe command(unsigned int opcode)
{
	return (struct gw_nvme_sqe){ .opcode = (unsigned char)opcode, .nsid = NSID };
}

static bool is_in(unsigned int opcode, const unsigned char *list, size_t count)
{
	return memchr(list, (int)opcode, count) != NULL;
}

/* By the numbers of the specification, so that a wrong name in the header is noticed. */
static const unsigned char harmless_io[] = {
	0x00, 0x02, 0x05, 0x0c, 0x0d, 0x0e, 0x11, 0x12, 0x15, 0x18, 0x7a, 0x7f,
};
static const unsigned char known_io[] = { 0x01, 0x04, 0x08, 0x09, 0x19, 0x79, 0x7d };
static const unsigned char harmless_admin[] = {
	0x00, 0x01, 0x02, 0x04, 0x05, 0x06, 0x08, 0x09, 0x0a, 0x0c, 0x10, 0x11, 0x14, 0x18, 0x19,
	0x1a, 0x1c, 0x1e, 0x24, 0x3d, 0x3e, 0x41, 0x42, 0x45, 0x7c, 0x7f, 0x82, 0x86,
};

Test(nvme_cmd, every_io_opcode_is_harmless_a_range_or_everything)
{
	for (unsigned int opcode = 0; opcode < 256; opcode++) {
		struct gw_nvme_sqe sqe = command(opcode);
		enum gw_nvme_effect effect;
		gw_u64 why = 0;

		sqe.cdw11 = GW_NVME_DSM_DEALLOCATE;
		sqe.cdw13 = 0x04;	/* reset */
		effect = gw_nvme_io_effect(&sqe, &why);
		if (is_in(opcode, harmless_io, sizeof(harmless_io))) {
			cr_expect_eq(effect, GW_NVME_CHANGES_NOTHING, "opcode %#x", opcode);
		} else if (is_in(opcode, known_io, sizeof(known_io))) {
			cr_expect(effect != GW_NVME_CHANGES_NOTHING, "opcode %#x", opcode);
			cr_expect(effect != GW_NVME_CHANGES_ALL, "opcode %#x", opcode);
		} else {
			cr_expect_eq(effect, GW_NVME_CHANGES_ALL, "opcode %#x", opcode);
			cr_expect_eq(why, GW_STATE_UNKNOWN_COMMAND, "opcode %#x", opcode);
		}
	}
}

Test(nvme_cmd, every_admin_opcode_is_harmless_or_everything)
{
	for (unsigned int opcode = 0; opcode < 256; opcode++) {
		const struct gw_nvme_sqe sqe = command(opcode);
		gw_u64 why = 0;
		const enum gw_nvme_effect effect =
			gw_nvme_admin_effect(&sqe, NSID, 1, &why);

		if (is_in(opcode, harmless_admin, sizeof(harmless_admin))) {
			cr_expect_eq(effect, GW_NVME_CHANGES_NOTHING, "opcode %#x", opcode);
		} else {
			cr_expect_eq(effect, GW_NVME_CHANGES_ALL, "opcode %#x", opcode);
			cr_expect_neq(why & GW_STATE_WHOLE, 0, "opcode %#x", opcode);
		}
	}
}

Test(nvme_cmd, the_same_number_means_another_command_on_the_admin_queue)
{
	const struct gw_nvme_sqe sqe = command(0x01);	/* Write, or Create I/O Submission Queue */
	gw_u64 why = 0;

	cr_expect_eq(gw_nvme_io_effect(&sqe, &why), GW_NVME_CHANGES_RANGE);
	cr_expect_eq(gw_nvme_admin_effect(&sqe, NSID, 1, &why), GW_NVME_CHANGES_NOTHING);
}

Test(nvme_cmd, a_range_is_where_the_command_says)
{
	struct gw_nvme_sqe sqe = command(0x08);

	sqe.cdw10 = 0x89abcdef;
	sqe.cdw11 = 0x01234567;
	sqe.cdw12 = 0xffff0000 | 0xffff;	/* the upper half is control bits */
	cr_expect_eq(gw_nvme_first(&sqe), 0x0123456789abcdef);
	cr_expect_eq(gw_nvme_count(&sqe), 65536);
	sqe.cdw12 = 0x40000000;
	cr_expect_eq(gw_nvme_count(&sqe), 1);
}

Test(nvme_cmd, zeroes_of_the_namespace_are_no_range)
{
	struct gw_nvme_sqe sqe = command(0x08);
	gw_u64 why = 0;

	sqe.cdw12 = 0xff7f0007;		/* all control bits but this one */
	cr_expect_eq(gw_nvme_io_effect(&sqe, &why), GW_NVME_CHANGES_RANGE);
	cr_expect_eq(why, 0);
	sqe.cdw12 = 0x00800007;
	cr_expect_eq(gw_nvme_io_effect(&sqe, &why), GW_NVME_CHANGES_ALL);
	cr_expect_neq(why & GW_STATE_WHOLE, 0);
	/* In a write that bit is none of its own. */
	sqe.opcode = 0x01;
	cr_expect_eq(gw_nvme_io_effect(&sqe, &why), GW_NVME_CHANGES_RANGE);
}

Test(nvme_cmd, only_a_deallocating_dataset_management_changes_blocks)
{
	struct gw_nvme_sqe sqe = command(0x09);
	gw_u64 why = 0;

	sqe.cdw11 = 0x3;	/* hints for reading and writing */
	cr_expect_eq(gw_nvme_io_effect(&sqe, &why), GW_NVME_CHANGES_NOTHING);
	sqe.cdw11 = 0x7;
	cr_expect_eq(gw_nvme_io_effect(&sqe, &why), GW_NVME_CHANGES_LISTED);
}

Test(nvme_cmd, actions_on_zones)
{
	struct gw_nvme_sqe sqe = command(0x79);
	gw_u64 why = 0;

	for (unsigned int action = 0; action < 256; action++) {
		const bool is_harmless = action == 1 || action == 3;	/* close, open */

		sqe.cdw13 = action;
		cr_expect_eq(gw_nvme_io_effect(&sqe, &why), is_harmless ? GW_NVME_CHANGES_NOTHING :
			     GW_NVME_CHANGES_ZONE, "action %#x", action);
		sqe.cdw13 = action | 0x100;
		cr_expect_eq(gw_nvme_io_effect(&sqe, &why), is_harmless ? GW_NVME_CHANGES_NOTHING :
			     GW_NVME_CHANGES_ALL, "action %#x", action);
	}
	cr_expect_eq(why, GW_STATE_RESET_ALL);
}

Test(nvme_cmd, io_management_send_only_moves_a_placement_handle)
{
	struct gw_nvme_sqe sqe = command(0x1d);
	gw_u64 why = 0;

	sqe.cdw10 = 0x00040001;
	cr_expect_eq(gw_nvme_io_effect(&sqe, &why), GW_NVME_CHANGES_NOTHING);
	sqe.cdw10 = 0xff;	/* vendor specific */
	cr_expect_eq(gw_nvme_io_effect(&sqe, &why), GW_NVME_CHANGES_ALL);
}

Test(nvme_cmd, formatting_another_namespace_counts_if_the_drive_formats_all)
{
	struct gw_nvme_sqe sqe = command(0x80);
	gw_u64 why = 0;

	cr_expect_eq(gw_nvme_admin_effect(&sqe, NSID, 0, &why), GW_NVME_CHANGES_ALL);
	cr_expect_eq(why, GW_STATE_FORMAT);
	sqe.nsid = NSID + 1;
	cr_expect_eq(gw_nvme_admin_effect(&sqe, NSID, 0, &why), GW_NVME_CHANGES_NOTHING);
	cr_expect_eq(gw_nvme_admin_effect(&sqe, NSID, 1, &why), GW_NVME_CHANGES_ALL);
	sqe.nsid = GW_NVME_NSID_ALL;
	cr_expect_eq(gw_nvme_admin_effect(&sqe, NSID, 0, &why), GW_NVME_CHANGES_ALL);
}

Test(nvme_cmd, deleting_another_namespace_is_of_no_concern)
{
	struct gw_nvme_sqe sqe = command(0x0d);
	gw_u64 why = 0;

	sqe.nsid = NSID + 1;
	cr_expect_eq(gw_nvme_admin_effect(&sqe, NSID, 0, &why), GW_NVME_CHANGES_NOTHING);
	sqe.nsid = NSID;
	cr_expect_eq(gw_nvme_admin_effect(&sqe, NSID, 0, &why), GW_NVME_CHANGES_ALL);
	cr_expect_eq(why, GW_STATE_NAMESPACE);
}

Test(nvme_cmd, the_hull_of_deallocated_ranges)
{
	const struct gw_nvme_dsm_range list[] = {
		{ .first = 512, .count = 32 }, { .first = 128, .count = 8 }, { .first = 9999 },
	};
	struct gw_nvme_blocks blocks = { 1, 2 };
	struct gw_nvme_sqe sqe = command(0x09);

	sqe.cdw10 = 2;		/* three ranges */
	cr_expect_eq(gw_nvme_listed_blocks(&blocks, &sqe, list, sizeof(list) - 1), -ENODATA);
	cr_expect_eq(blocks.first, 1);
	cr_expect_eq(gw_nvme_listed_blocks(&blocks, &sqe, list, sizeof(list)), 0);
	cr_expect_eq(blocks.first, 128, "an empty range is no range");
	cr_expect_eq(blocks.end, 544);
}

Test(nvme_cmd, the_destination_of_a_copy)
{
	struct gw_nvme_blocks blocks = { 1, 2 };
	struct gw_nvme_sqe sqe = command(0x19);
	unsigned char data[120] = { 0 };

	sqe.cdw10 = 1000;
	sqe.cdw12 = 2;		/* three entries of format 0 */
	data[16] = 7;
	data[32 + 16] = 0xff;
	data[64 + 17] = 0x01;
	cr_expect_eq(gw_nvme_listed_blocks(&blocks, &sqe, data, 96), 0);
	cr_expect_eq(blocks.first, 1000);
	cr_expect_eq(blocks.end, 1000 + 8 + 256 + 257);
	sqe.cdw12 |= 0x100;	/* format 1: entries of 40 bytes */
	cr_expect_eq(gw_nvme_listed_blocks(&blocks, &sqe, data, 119), -ENODATA);
	cr_expect_eq(gw_nvme_listed_blocks(&blocks, &sqe, data, 120), 0);
	sqe.cdw12 |= 0x400;
	cr_expect_eq(gw_nvme_listed_blocks(&blocks, &sqe, data, 120), -EPROTO);
	sqe.opcode = 0x01;
	cr_expect_eq(gw_nvme_listed_blocks(&blocks, &sqe, data, 120), -EINVAL);
}

Test(nvme_cmd, commands_have_the_names_of_the_specification)
{
	char text[GW_NVME_COMMAND_TEXT_BYTES];

	cr_expect_str_eq(gw_nvme_command_name(text, false, 0x04), "Write Uncorrectable");
	cr_expect_str_eq(gw_nvme_command_name(text, true, 0x04), "Delete I/O Completion Queue");
	cr_expect_str_eq(gw_nvme_command_name(text, true, 0x84), "Sanitize");
	cr_expect_str_eq(gw_nvme_command_name(text, false, 0x90),
			 "vendor specific (I/O opcode 0x90)");
	cr_expect_str_eq(gw_nvme_command_name(text, true, 0x90), "unknown (admin opcode 0x90)");
	cr_expect_str_eq(gw_nvme_command_name(text, true, 0xc0),
			 "vendor specific (admin opcode 0xc0)");
}

// SPDX-License-Identifier: GPL-2.0-or-later
#include "nvme_cmd.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

struct name_row {
	uint8_t opcode;
	const char *name;
};

static const struct name_row io_names[] = {
	{ GW_NVME_FLUSH, "Flush" },
	{ GW_NVME_WRITE, "Write" },
	{ GW_NVME_READ, "Read" },
	{ GW_NVME_WRITE_UNCORRECTABLE, "Write Uncorrectable" },
	{ GW_NVME_COMPARE, "Compare" },
	{ GW_NVME_WRITE_ZEROES, "Write Zeroes" },
	{ GW_NVME_DATASET_MANAGEMENT, "Dataset Management" },
	{ GW_NVME_VERIFY, "Verify" },
	{ GW_NVME_RESERVATION_REGISTER, "Reservation Register" },
	{ GW_NVME_RESERVATION_REPORT, "Reservation Report" },
	{ GW_NVME_RESERVATION_ACQUIRE, "Reservation Acquire" },
	{ GW_NVME_IO_MANAGEMENT_RECEIVE, "I/O Management Receive" },
	{ GW_NVME_RESERVATION_RELEASE, "Reservation Release" },
	{ GW_NVME_CANCEL, "Cancel" },
	{ GW_NVME_COPY, "Copy" },
	{ GW_NVME_IO_MANAGEMENT_SEND, "I/O Management Send" },
	{ GW_NVME_ZONE_MANAGEMENT_SEND, "Zone Management Send" },
	{ GW_NVME_ZONE_MANAGEMENT_RECEIVE, "Zone Management Receive" },
	{ GW_NVME_ZONE_APPEND, "Zone Append" },
	{ GW_NVME_FABRICS, "Fabrics" },
};

static const struct name_row admin_names[] = {
	{ GW_NVME_DELETE_SQ, "Delete I/O Submission Queue" },
	{ GW_NVME_CREATE_SQ, "Create I/O Submission Queue" },
	{ GW_NVME_GET_LOG_PAGE, "Get Log Page" },
	{ GW_NVME_DELETE_CQ, "Delete I/O Completion Queue" },
	{ GW_NVME_CREATE_CQ, "Create I/O Completion Queue" },
	{ GW_NVME_IDENTIFY, "Identify" },
	{ GW_NVME_ABORT, "Abort" },
	{ GW_NVME_SET_FEATURES, "Set Features" },
	{ GW_NVME_GET_FEATURES, "Get Features" },
	{ GW_NVME_ASYNC_EVENT, "Asynchronous Event Request" },
	{ GW_NVME_NAMESPACE_MANAGEMENT, "Namespace Management" },
	{ GW_NVME_FIRMWARE_COMMIT, "Firmware Commit" },
	{ GW_NVME_FIRMWARE_DOWNLOAD, "Firmware Image Download" },
	{ GW_NVME_SELF_TEST, "Device Self-test" },
	{ GW_NVME_NAMESPACE_ATTACHMENT, "Namespace Attachment" },
	{ GW_NVME_KEEP_ALIVE, "Keep Alive" },
	{ GW_NVME_DIRECTIVE_SEND, "Directive Send" },
	{ GW_NVME_DIRECTIVE_RECEIVE, "Directive Receive" },
	{ GW_NVME_VIRTUALIZATION, "Virtualization Management" },
	{ GW_NVME_MI_RECEIVE, "NVMe-MI Receive" },
	{ GW_NVME_LOCKDOWN, "Lockdown" },
	{ GW_NVME_TRACK_SEND, "Track Send" },
	{ GW_NVME_TRACK_RECEIVE, "Track Receive" },
	{ GW_NVME_MIGRATION_SEND, "Migration Send" },
	{ GW_NVME_MIGRATION_RECEIVE, "Migration Receive" },
	{ GW_NVME_CONTROLLER_DATA_QUEUE, "Controller Data Queue" },
	{ GW_NVME_DOORBELL_BUFFERS, "Doorbell Buffer Config" },
	{ GW_NVME_FABRICS, "Fabrics" },
	{ GW_NVME_FORMAT, "Format NVM" },
	{ GW_NVME_SECURITY_SEND, "Security Send" },
	{ GW_NVME_SECURITY_RECEIVE, "Security Receive" },
	{ GW_NVME_SANITIZE, "Sanitize" },
	{ GW_NVME_GET_LBA_STATUS, "Get LBA Status" },
	{ GW_NVME_SANITIZE_NAMESPACE, "Sanitize Namespace" },
};

static const char *find_name(const struct name_row *rows, size_t count, uint8_t opcode)
{
	for (size_t i = 0; i < count; i++)
		if (rows[i].opcode == opcode)
			return rows[i].name;
	return NULL;
}

/* Base Specification, Figures 142 and 555: where the vendors' own opcodes begin. */
static bool is_vendors(bool is_admin, uint8_t opcode)
{
	return opcode >= (is_admin ? 0xc0 : 0x80);
}

const char *gw_nvme_command_name(char out[GW_NVME_COMMAND_TEXT_BYTES], bool is_admin,
				 uint8_t opcode)
{
	const char *const name =
		is_admin ? find_name(admin_names, sizeof(admin_names) / sizeof(admin_names[0]),
				     opcode) :
			   find_name(io_names, sizeof(io_names) / sizeof(io_names[0]), opcode);

	if (name != NULL)
		snprintf(out, GW_NVME_COMMAND_TEXT_BYTES, "%s", name);
	else
		snprintf(out, GW_NVME_COMMAND_TEXT_BYTES, "%s (%s opcode 0x%02x)",
			 is_vendors(is_admin, opcode) ? "vendor specific" : "unknown",
			 is_admin ? "admin" : "I/O", opcode);
	return out;
}

static void add_blocks(struct gw_nvme_blocks *hull, uint64_t first, uint64_t count)
{
	const uint64_t end = count > UINT64_MAX - first ? UINT64_MAX : first + count;

	if (count == 0)
		return;
	if (hull->first == hull->end) {
		*hull = (struct gw_nvme_blocks){ first, end };
		return;
	}
	if (first < hull->first)
		hull->first = first;
	if (end > hull->end)
		hull->end = end;
}

static int list_deallocated(struct gw_nvme_blocks *hull, const struct gw_nvme_sqe *sqe,
			    const char *data, size_t data_bytes)
{
	const size_t count = gw_nvme_entries(sqe);
	struct gw_nvme_dsm_range range;

	if (data_bytes / sizeof(range) < count)
		return -ENODATA;
	for (size_t i = 0; i < count; i++) {
		memcpy(&range, data + i * sizeof(range), sizeof(range));
		add_blocks(hull, range.first, range.count);
	}
	return 0;
}

static int list_copied(struct gw_nvme_blocks *hull, const struct gw_nvme_sqe *sqe,
		       const char *data, size_t data_bytes)
{
	const size_t count = gw_nvme_entries(sqe), entry_bytes = gw_nvme_copy_entry_bytes(sqe);
	struct gw_nvme_copy_range range;
	uint64_t total = 0;

	if (entry_bytes == 0)
		return -EPROTO;
	if (data_bytes / entry_bytes < count)
		return -ENODATA;
	for (size_t i = 0; i < count; i++) {
		memcpy(&range, data + i * entry_bytes, sizeof(range));
		total += range.count_minus1 + UINT64_C(1);
	}
	add_blocks(hull, gw_nvme_first(sqe), total);
	return 0;
}

int gw_nvme_listed_blocks(struct gw_nvme_blocks *blocks, const struct gw_nvme_sqe *sqe,
			  const void *data, size_t data_bytes)
{
	struct gw_nvme_blocks hull = { 0, 0 };
	int err = -EINVAL;

	if (sqe->opcode == GW_NVME_DATASET_MANAGEMENT)
		err = list_deallocated(&hull, sqe, data, data_bytes);
	else if (sqe->opcode == GW_NVME_COPY)
		err = list_copied(&hull, sqe, data, data_bytes);
	if (err == 0)
		*blocks = hull;
	return err;
}

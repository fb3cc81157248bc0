/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Which blocks of a namespace a command may change, by its 64 bytes in the submission queue. The
 * BPF programs and user space compile the same text, so that the tests of the one are tests
 * of the other. What is not known to be harmless may have changed everything.
 *
 * Sections and tables are those of the NVM Express Base Specification 2.1 (opcodes: Figures 142
 * and 555), the NVM Command Set 1.1 and the Zoned Namespace Command Set 1.2.
 */
#ifndef GODWIT_NVME_EFFECTS_H
#define GODWIT_NVME_EFFECTS_H

#include <godwit/bpf_abi.h>

#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "the fields of a command are little-endian, and read as they are"
#endif

struct gw_nvme_sqe {
	unsigned char opcode;
	unsigned char flags;
	unsigned short cid;
	gw_u32 nsid;
	gw_u32 cdw2, cdw3;
	gw_u64 metadata;
	gw_u64 data_pointer[2];
	gw_u32 cdw10, cdw11, cdw12, cdw13, cdw14, cdw15;
};
_Static_assert(sizeof(struct gw_nvme_sqe) == 64, "an entry of a submission queue");

#define GW_NVME_NSID_ALL 0xffffffffu

/* Commands on I/O queues; the same numbers mean others on the admin queue. */
enum gw_nvme_io_opcode {
	GW_NVME_FLUSH = 0x00,
	GW_NVME_WRITE = 0x01,
	GW_NVME_READ = 0x02,
	GW_NVME_WRITE_UNCORRECTABLE = 0x04,
	GW_NVME_COMPARE = 0x05,
	GW_NVME_WRITE_ZEROES = 0x08,
	GW_NVME_DATASET_MANAGEMENT = 0x09,
	GW_NVME_VERIFY = 0x0c,
	GW_NVME_RESERVATION_REGISTER = 0x0d,
	GW_NVME_RESERVATION_REPORT = 0x0e,
	GW_NVME_RESERVATION_ACQUIRE = 0x11,
	GW_NVME_IO_MANAGEMENT_RECEIVE = 0x12,
	GW_NVME_RESERVATION_RELEASE = 0x15,
	GW_NVME_CANCEL = 0x18,
	GW_NVME_COPY = 0x19,
	GW_NVME_IO_MANAGEMENT_SEND = 0x1d,
	GW_NVME_ZONE_MANAGEMENT_SEND = 0x79,
	GW_NVME_ZONE_MANAGEMENT_RECEIVE = 0x7a,
	GW_NVME_ZONE_APPEND = 0x7d,
	GW_NVME_FABRICS = 0x7f,		/* on every queue */
};

enum gw_nvme_admin_opcode {
	GW_NVME_DELETE_SQ = 0x00,
	GW_NVME_CREATE_SQ = 0x01,
	GW_NVME_GET_LOG_PAGE = 0x02,
	GW_NVME_DELETE_CQ = 0x04,
	GW_NVME_CREATE_CQ = 0x05,
	GW_NVME_IDENTIFY = 0x06,
	GW_NVME_ABORT = 0x08,
	GW_NVME_SET_FEATURES = 0x09,
	GW_NVME_GET_FEATURES = 0x0a,
	GW_NVME_ASYNC_EVENT = 0x0c,
	GW_NVME_NAMESPACE_MANAGEMENT = 0x0d,
	GW_NVME_FIRMWARE_COMMIT = 0x10,
	GW_NVME_FIRMWARE_DOWNLOAD = 0x11,
	GW_NVME_SELF_TEST = 0x14,
	GW_NVME_NAMESPACE_ATTACHMENT = 0x15,
	GW_NVME_KEEP_ALIVE = 0x18,
	GW_NVME_DIRECTIVE_SEND = 0x19,
	GW_NVME_DIRECTIVE_RECEIVE = 0x1a,
	GW_NVME_VIRTUALIZATION = 0x1c,
	GW_NVME_MI_RECEIVE = 0x1e,
	GW_NVME_LOCKDOWN = 0x24,
	GW_NVME_TRACK_SEND = 0x3d,
	GW_NVME_TRACK_RECEIVE = 0x3e,
	GW_NVME_MIGRATION_SEND = 0x41,
	GW_NVME_MIGRATION_RECEIVE = 0x42,
	GW_NVME_CONTROLLER_DATA_QUEUE = 0x45,
	GW_NVME_DOORBELL_BUFFERS = 0x7c,
	GW_NVME_FORMAT = 0x80,
	GW_NVME_SECURITY_SEND = 0x81,
	GW_NVME_SECURITY_RECEIVE = 0x82,
	GW_NVME_SANITIZE = 0x84,
	GW_NVME_GET_LBA_STATUS = 0x86,
	GW_NVME_SANITIZE_NAMESPACE = 0x8c,
};

/* Dataset Management, command dword 11 */
#define GW_NVME_DSM_DEALLOCATE 0x4u
/* Write Zeroes, command dword 12: the whole namespace, whatever range is named (NSZ) */
#define GW_NVME_ZEROES_NAMESPACE 0x800000u
/* Zone Management Send, command dword 13 */
#define GW_NVME_ZONE_ACTION 0xffu
#define GW_NVME_ZONE_CLOSE 0x01u
#define GW_NVME_ZONE_OPEN 0x03u
#define GW_NVME_ZONE_SELECT_ALL 0x100u
/* I/O Management Send, command dword 10: gives a placement handle another unit, moves no data. */
#define GW_NVME_IO_OPERATION 0xffu
#define GW_NVME_IO_RECLAIM_UNIT 0x01u

enum gw_nvme_effect {
	GW_NVME_CHANGES_NOTHING,
	GW_NVME_CHANGES_RANGE,		/* gw_nvme_first(), gw_nvme_count() */
	GW_NVME_CHANGES_LISTED,		/* gw_nvme_entries() ranges, listed in its data */
	GW_NVME_CHANGES_COPIED,		/* gw_nvme_first(); as many as the ranges in its data have */
	GW_NVME_CHANGES_APPENDED,	/* gw_nvme_count(), from its result on; within the zone */
	GW_NVME_CHANGES_ZONE,		/* the zone at gw_nvme_first() */
	GW_NVME_CHANGES_ALL,
};

/* An entry of the list of a Dataset Management command. */
struct gw_nvme_dsm_range {
	gw_u32 attributes;
	gw_u32 count;			/* blocks, not one less */
	gw_u64 first;
};
_Static_assert(sizeof(struct gw_nvme_dsm_range) == 16, "NVM Command Set 3.2.3");

/* What a list entry of a Copy command begins with, whatever its format. */
struct gw_nvme_copy_range {
	gw_u32 source[4];
	unsigned short count_minus1;
	unsigned short reserved;
	gw_u32 options;
};
_Static_assert(sizeof(struct gw_nvme_copy_range) == 24, "NVM Command Set 3.2.2");

/* More than that no list has: the count is one byte. */
#define GW_NVME_ENTRIES_MAX 256

static inline gw_u64 gw_nvme_first(const struct gw_nvme_sqe *sqe)
{
	return sqe->cdw10 | (gw_u64)sqe->cdw11 << 32;
}

static inline gw_u64 gw_nvme_count(const struct gw_nvme_sqe *sqe)
{
	return (sqe->cdw12 & 0xffff) + 1ull;
}

/* Dataset Management and Copy have it in different places. */
static inline gw_u32 gw_nvme_entries(const struct gw_nvme_sqe *sqe)
{
	return ((sqe->opcode == GW_NVME_COPY ? sqe->cdw12 : sqe->cdw10) & 0xff) + 1;
}

/* Formats 0 and 2 protect with 16 bits, 1 and 3 with more. 0: a format that is not known. */
static inline gw_u32 gw_nvme_copy_entry_bytes(const struct gw_nvme_sqe *sqe)
{
	switch (sqe->cdw12 >> 8 & 0xf) {
	case 0:
	case 2:
		return 32;
	case 1:
	case 3:
		return 40;
	default:
		return 0;
	}
}

static inline enum gw_nvme_effect gw_nvme_zone_effect(const struct gw_nvme_sqe *sqe, gw_u64 *why)
{
	const gw_u32 action = sqe->cdw13 & GW_NVME_ZONE_ACTION;

	if (action == GW_NVME_ZONE_CLOSE || action == GW_NVME_ZONE_OPEN)
		return GW_NVME_CHANGES_NOTHING;
	if ((sqe->cdw13 & GW_NVME_ZONE_SELECT_ALL) == 0)
		return GW_NVME_CHANGES_ZONE;
	*why = GW_STATE_RESET_ALL;
	return GW_NVME_CHANGES_ALL;
}

/* Of a command on an I/O queue. *why (a GW_STATE_*) is set if that is GW_NVME_CHANGES_ALL. */
static inline enum gw_nvme_effect gw_nvme_io_effect(const struct gw_nvme_sqe *sqe, gw_u64 *why)
{
	switch (sqe->opcode) {
	case GW_NVME_WRITE_ZEROES:
		if ((sqe->cdw12 & GW_NVME_ZEROES_NAMESPACE) != 0)
			break;
		return GW_NVME_CHANGES_RANGE;
	case GW_NVME_WRITE:
	case GW_NVME_WRITE_UNCORRECTABLE:
		return GW_NVME_CHANGES_RANGE;
	case GW_NVME_DATASET_MANAGEMENT:
		return (sqe->cdw11 & GW_NVME_DSM_DEALLOCATE) != 0 ? GW_NVME_CHANGES_LISTED :
		       GW_NVME_CHANGES_NOTHING;
	case GW_NVME_COPY:
		return GW_NVME_CHANGES_COPIED;
	case GW_NVME_ZONE_APPEND:
		return GW_NVME_CHANGES_APPENDED;
	case GW_NVME_ZONE_MANAGEMENT_SEND:
		return gw_nvme_zone_effect(sqe, why);
	case GW_NVME_FLUSH:
	case GW_NVME_READ:
	case GW_NVME_COMPARE:
	case GW_NVME_VERIFY:
	case GW_NVME_RESERVATION_REGISTER:
	case GW_NVME_RESERVATION_REPORT:
	case GW_NVME_RESERVATION_ACQUIRE:
	case GW_NVME_RESERVATION_RELEASE:
	case GW_NVME_IO_MANAGEMENT_RECEIVE:
	case GW_NVME_CANCEL:
	case GW_NVME_ZONE_MANAGEMENT_RECEIVE:
	case GW_NVME_FABRICS:
		return GW_NVME_CHANGES_NOTHING;
	case GW_NVME_IO_MANAGEMENT_SEND:
		if ((sqe->cdw10 & GW_NVME_IO_OPERATION) == GW_NVME_IO_RECLAIM_UNIT)
			return GW_NVME_CHANGES_NOTHING;
		break;
	}
	*why = GW_STATE_UNKNOWN_COMMAND;
	return GW_NVME_CHANGES_ALL;
}

static inline int gw_nvme_is_for(const struct gw_nvme_sqe *sqe, gw_u32 nsid)
{
	return sqe->nsid == nsid || sqe->nsid == GW_NVME_NSID_ALL;
}

/*
 * Of a command on the admin queue of a controller that has the namespace nsid. Formatting one
 * namespace formats all of them on some drives (is_format_wide: the bits 0 and 1 of FNA, or that
 * these are not known). *why as above.
 */
static inline enum gw_nvme_effect gw_nvme_admin_effect(const struct gw_nvme_sqe *sqe, gw_u32 nsid,
						       int is_format_wide, gw_u64 *why)
{
	switch (sqe->opcode) {
	case GW_NVME_FORMAT:
		if (!is_format_wide && !gw_nvme_is_for(sqe, nsid))
			return GW_NVME_CHANGES_NOTHING;
		*why = GW_STATE_FORMAT;
		return GW_NVME_CHANGES_ALL;
	case GW_NVME_SANITIZE:
		*why = GW_STATE_SANITIZE;
		return GW_NVME_CHANGES_ALL;
	case GW_NVME_SANITIZE_NAMESPACE:
		if (!gw_nvme_is_for(sqe, nsid))
			return GW_NVME_CHANGES_NOTHING;
		*why = GW_STATE_SANITIZE;
		return GW_NVME_CHANGES_ALL;
	case GW_NVME_NAMESPACE_MANAGEMENT:
	case GW_NVME_NAMESPACE_ATTACHMENT:
		if (!gw_nvme_is_for(sqe, nsid))
			return GW_NVME_CHANGES_NOTHING;
		*why = GW_STATE_NAMESPACE;
		return GW_NVME_CHANGES_ALL;
	case GW_NVME_SECURITY_SEND:
		/* Opal: a changed key is an erased drive. */
		*why = GW_STATE_SECURITY;
		return GW_NVME_CHANGES_ALL;
	case GW_NVME_DELETE_SQ:
	case GW_NVME_CREATE_SQ:
	case GW_NVME_GET_LOG_PAGE:
	case GW_NVME_DELETE_CQ:
	case GW_NVME_CREATE_CQ:
	case GW_NVME_IDENTIFY:
	case GW_NVME_ABORT:
	case GW_NVME_SET_FEATURES:
	case GW_NVME_GET_FEATURES:
	case GW_NVME_ASYNC_EVENT:
	case GW_NVME_FIRMWARE_COMMIT:
	case GW_NVME_FIRMWARE_DOWNLOAD:
	case GW_NVME_SELF_TEST:
	case GW_NVME_KEEP_ALIVE:
	case GW_NVME_DIRECTIVE_SEND:
	case GW_NVME_DIRECTIVE_RECEIVE:
	case GW_NVME_VIRTUALIZATION:
	case GW_NVME_MI_RECEIVE:
	case GW_NVME_LOCKDOWN:
	case GW_NVME_TRACK_SEND:
	case GW_NVME_TRACK_RECEIVE:
	case GW_NVME_MIGRATION_SEND:
	case GW_NVME_MIGRATION_RECEIVE:
	case GW_NVME_CONTROLLER_DATA_QUEUE:
	case GW_NVME_DOORBELL_BUFFERS:
	case GW_NVME_FABRICS:
	case GW_NVME_SECURITY_RECEIVE:
	case GW_NVME_GET_LBA_STATUS:
		return GW_NVME_CHANGES_NOTHING;
	}
	*why = GW_STATE_UNKNOWN_COMMAND;
	return GW_NVME_CHANGES_ALL;
}

#endif

// SPDX-License-Identifier: GPL-2.0-or-later
#include "ssd_words.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- Commands ----------------------------------------------------------------------------------------- */

struct field {
	const char *label;
	uint8_t dword, shift, bits;
};

struct command {
	bool is_admin, has_range;
	uint8_t opcode;
	const char *name;
	struct field field[2];
};

static const struct command commands[] = {
	{ true, false, 0x00, "Delete I/O Submission Queue", { { "QID", 10, 0, 16 } } },
	{ true, false, 0x01, "Create I/O Submission Queue", { { "QID", 10, 0, 16 }, { "QSIZE", 10, 16, 16 } } },
	{ true, false, 0x02, "Get Log Page", { { "LID", 10, 0, 8 } } },
	{ true, false, 0x04, "Delete I/O Completion Queue", { { "QID", 10, 0, 16 } } },
	{ true, false, 0x05, "Create I/O Completion Queue", { { "QID", 10, 0, 16 }, { "QSIZE", 10, 16, 16 } } },
	{ true, false, 0x06, "Identify", { { "CNS", 10, 0, 8 }, { "CNTID", 10, 16, 16 } } },
	{ true, false, 0x08, "Abort", { { "SQID", 10, 0, 16 }, { "CID", 10, 16, 16 } } },
	{ true, false, 0x09, "Set Features", { { "FID", 10, 0, 8 }, { "CDW11", 11, 0, 32 } } },
	{ true, false, 0x0a, "Get Features", { { "FID", 10, 0, 8 } } },
	{ true, false, 0x0c, "Asynchronous Event Request", { { NULL, 0, 0, 0 } } },
	{ true, false, 0x0d, "Namespace Management", { { "SEL", 10, 0, 4 } } },
	{ true, false, 0x15, "Namespace Attachment", { { "SEL", 10, 0, 4 } } },
	{ true, false, 0x18, "Keep Alive", { { NULL, 0, 0, 0 } } },
	{ true, false, 0x3d, "Track Send", { { "SEL", 10, 0, 8 }, { "CDW11", 11, 0, 16 } } },
	{ true, false, 0x3e, "Track Receive", { { "SEL", 10, 0, 8 }, { "CNTLID", 11, 0, 16 } } },
	{ true, false, 0x41, "Migration Send", { { "SEL", 10, 0, 8 }, { "CNTLID", 11, 0, 16 } } },
	{ true, false, 0x42, "Migration Receive", { { "SEL", 10, 0, 8 }, { "CNTLID", 11, 0, 16 } } },
	{ true, false, 0x45, "Controller Data Queue", { { "SEL", 10, 0, 8 }, { "CDW11", 11, 0, 32 } } },
	{ true, false, 0x80, "Format NVM", { { "LBAFL", 10, 0, 4 }, { "SES", 10, 9, 3 } } },
	{ true, false, 0x84, "Sanitize", { { "SANACT", 10, 0, 3 } } },
	{ true, false, 0x86, "Get LBA Status", { { "ATYPE", 13, 24, 8 } } },
	{ false, false, 0x00, "Flush", { { NULL, 0, 0, 0 } } },
	{ false, true, 0x01, "Write", { { "FUA", 12, 30, 1 } } },
	{ false, true, 0x02, "Read", { { "FUA", 12, 30, 1 } } },
	{ false, true, 0x04, "Write Uncorrectable", { { NULL, 0, 0, 0 } } },
	{ false, true, 0x05, "Compare", { { NULL, 0, 0, 0 } } },
	{ false, true, 0x08, "Write Zeroes", { { "DEAC", 12, 25, 1 } } },
	{ false, false, 0x09, "Dataset Management", { { "NR", 10, 0, 8 }, { "CDW11", 11, 0, 3 } } },
	{ false, true, 0x0c, "Verify", { { NULL, 0, 0, 0 } } },
	{ false, false, 0x19, "Copy", { { "SDLBA", 10, 0, 32 }, { "NR", 12, 0, 8 } } },
};
#define COMMANDS ((uint32_t)(sizeof(commands) / sizeof(commands[0])))
_Static_assert(COMMANDS < GW_WORDS_COMMANDS_MAX, "and one more, for all others");

uint32_t gw_words_number(bool is_admin, uint8_t opcode)
{
	for (uint32_t i = 0; i < COMMANDS; i++) {
		if (commands[i].is_admin == is_admin && commands[i].opcode == opcode)
			return i;
	}
	return GW_WORDS_COMMANDS_MAX - 1;
}

const char *gw_words_name(uint32_t number)
{
	if (number == GW_WORDS_COMMANDS_MAX - 1)
		return "others";
	return number < COMMANDS ? commands[number].name : NULL;
}

bool gw_words_range(bool is_admin, const struct gw_nvme_sqe *sqe, uint64_t *first, uint64_t *count)
{
	const uint32_t number = gw_words_number(is_admin, sqe->opcode);

	if (number >= COMMANDS || !commands[number].has_range)
		return false;
	*first = gw_nvme_first(sqe);
	*count = gw_nvme_count(sqe);
	return true;
}

static uint32_t dword(const struct gw_nvme_sqe *sqe, uint8_t number)
{
	const uint32_t dwords[] = { sqe->cdw10, sqe->cdw11, sqe->cdw12, sqe->cdw13, sqe->cdw14, sqe->cdw15 };

	return dwords[number - 10];
}

static size_t put_fields(char *out, size_t used, const struct command *command,
			 const struct gw_nvme_sqe *sqe)
{
	for (int i = 0; i < 2 && command->field[i].label != NULL; i++) {
		const struct field *f = &command->field[i];
		const uint32_t mask = f->bits == 32 ? UINT32_MAX : (1u << f->bits) - 1;
		const uint32_t value = dword(sqe, f->dword) >> f->shift & mask;

		if (f->bits == 1 && value == 1)		/* a flag is there or it is not */
			used += (size_t)snprintf(out + used, GW_WORDS_BYTES - used, " %s", f->label);
		else if (f->bits > 1)
			used += (size_t)snprintf(out + used, GW_WORDS_BYTES - used, " %s %Xh", f->label,
						 value);
	}
	return used;
}

const char *gw_words_command(char out[GW_WORDS_BYTES], bool is_admin, const struct gw_nvme_sqe *sqe)
{
	const uint32_t number = gw_words_number(is_admin, sqe->opcode);
	uint64_t first, count;
	size_t used;

	if (number >= COMMANDS) {
		snprintf(out, GW_WORDS_BYTES, "opcode %02Xh NSID %u", sqe->opcode, sqe->nsid);
		return out;
	}
	used = (size_t)snprintf(out, GW_WORDS_BYTES, "%s", commands[number].name);
	if (sqe->nsid == GW_NVME_NSID_ALL)
		used += (size_t)snprintf(out + used, GW_WORDS_BYTES - used, " NSID all");
	else if (sqe->nsid != 0)
		used += (size_t)snprintf(out + used, GW_WORDS_BYTES - used, " NSID %u", sqe->nsid);
	if (gw_words_range(is_admin, sqe, &first, &count))
		used += (size_t)snprintf(out + used, GW_WORDS_BYTES - used, " SLBA %llu blocks %llu",
					 (unsigned long long)first, (unsigned long long)count);
	put_fields(out, used, &commands[number], sqe);
	return out;
}

/* ---- Statuses ------------------------------------------------------------------------------------------ */

static const struct {
	uint16_t status;
	const char *name;
} statuses[] = {
	{ NVME_SC_SUCCESS, "Successful Completion" },
	{ NVME_SC_INVALID_OPCODE, "Invalid Command Opcode" },
	{ NVME_SC_INVALID_FIELD, "Invalid Field in Command" },
	{ NVME_SC_CID_CONFLICT, "Command ID Conflict" },
	{ NVME_SC_DATA_TRANSFER_ERROR, "Data Transfer Error" },
	{ NVME_SC_POWER_LOSS, "Commands Aborted due to Power Loss Notification" },
	{ NVME_SC_INTERNAL, "Internal Error" },
	{ NVME_SC_ABORT_REQUESTED, "Command Abort Requested" },
	{ NVME_SC_SQ_DELETED, "Command Aborted due to SQ Deletion" },
	{ NVME_SC_FUSED_FAILED, "Command Aborted due to Failed Fused Command" },
	{ NVME_SC_FUSED_MISSING, "Command Aborted due to Missing Fused Command" },
	{ NVME_SC_INVALID_NAMESPACE, "Invalid Namespace or Format" },
	{ NVME_SC_COMMAND_SEQUENCE, "Command Sequence Error" },
	{ NVME_SC_PRP_OFFSET_INVALID, "PRP Offset Invalid" },
	{ NVME_SC_SANITIZE_FAILED, "Sanitize Failed" },
	{ NVME_SC_SANITIZE_IN_PROGRESS, "Sanitize In Progress" },
	{ NVME_SC_NAMESPACE_WRITE_PROTECTED, "Namespace is Write Protected" },
	{ NVME_SC_LBA_OUT_OF_RANGE, "LBA Out of Range" },
	{ NVME_SC_CAPACITY_EXCEEDED, "Capacity Exceeded" },
	{ NVME_SC_NAMESPACE_NOT_READY, "Namespace Not Ready" },
	{ NVME_SC_INVALID_CQ, "Completion Queue Invalid" },
	{ NVME_SC_INVALID_QID, "Invalid Queue Identifier" },
	{ NVME_SC_INVALID_QUEUE_SIZE, "Invalid Queue Size" },
	{ NVME_SC_ABORT_LIMIT, "Abort Command Limit Exceeded" },
	{ NVME_SC_ASYNC_LIMIT, "Asynchronous Event Request Limit Exceeded" },
	{ NVME_SC_INVALID_VECTOR, "Invalid Interrupt Vector" },
	{ NVME_SC_INVALID_LOG_PAGE, "Invalid Log Page" },
	{ NVME_SC_INVALID_FORMAT, "Invalid Format" },
	{ NVME_SC_INVALID_QUEUE_DELETION, "Invalid Queue Deletion" },
	{ NVME_SC_FEATURE_NOT_SAVEABLE, "Feature Identifier Not Saveable" },
	{ NVME_SC_FEATURE_NOT_CHANGEABLE, "Feature Not Changeable" },
	{ NVME_SC_NAMESPACE_CAPACITY, "Namespace Insufficient Capacity" },
	{ NVME_SC_NAMESPACE_ID_UNAVAILABLE, "Namespace Identifier Unavailable" },
	{ NVME_SC_NAMESPACE_ATTACHED, "Namespace Already Attached" },
	{ NVME_SC_NAMESPACE_PRIVATE, "Namespace Is Private" },
	{ NVME_SC_NAMESPACE_NOT_ATTACHED, "Namespace Not Attached" },
	{ NVME_SC_CONTROLLER_LIST_INVALID, "Controller List Invalid" },
	{ NVME_SC_INVALID_CONTROLLER_ID, "Invalid Controller Identifier" },
	{ NVME_SC_INVALID_CDQ, "Invalid Controller Data Queue" },
	{ NVME_SC_NOT_ENOUGH_RESOURCES, "Not Enough Resources" },
	{ NVME_SC_CONTROLLER_SUSPENDED, "Controller Suspended" },
	{ NVME_SC_CONTROLLER_NOT_SUSPENDED, "Controller Not Suspended" },
	{ NVME_SC_CDQ_FULL, "Controller Data Queue Full" },
	{ NVME_SC_CONFLICTING_ATTRIBUTES, "Conflicting Attributes" },
	{ NVME_SC_COPY_SIZE_LIMIT, "Command Size Limit Exceeded" },
	{ NVME_SC_WRITE_FAULT, "Write Fault" },
	{ NVME_SC_UNRECOVERED_READ, "Unrecovered Read Error" },
	{ NVME_SC_COMPARE_FAILURE, "Compare Failure" },
	{ NVME_SC_UNWRITTEN_BLOCK, "Deallocated or Unwritten Logical Block" },
};
#define STATUSES (sizeof(statuses) / sizeof(statuses[0]))

const char *gw_words_status(uint16_t status)
{
	for (size_t i = 0; i < STATUSES; i++) {
		if (statuses[i].status == status)
			return statuses[i].name;
	}
	return NULL;
}

/* Letters of either case are the same, and so are a blank, a dash and a slash. */
static bool is_same(const char *name, const char *text)
{
	for (; *name != '\0' && *text != '\0'; name++, text++) {
		const bool is_gap = *name == ' ' || *name == '/';

		if (is_gap ? *text != '-' : tolower((unsigned char)*name) != tolower((unsigned char)*text))
			return false;
	}
	return *name == *text;
}

int gw_words_parse_status(const char *text, uint16_t *status)
{
	char *end;
	unsigned long value;

	for (size_t i = 0; i < STATUSES; i++) {
		if (!is_same(statuses[i].name, text))
			continue;
		*status = statuses[i].status;
		return 0;
	}
	value = strtoul(text, &end, 16);
	if (!isxdigit((unsigned char)*text) || *end != '\0' || value > 0x7ff)
		return -EINVAL;
	*status = (uint16_t)value;
	return 0;
}

/* ---- Filters ------------------------------------------------------------------------------------------- */

static int set_queue(struct gw_match *match, const char *value, struct gw_diag *diag)
{
	unsigned int queue = 0;
	char rest;

	match->is_any_io = strcmp(value, "io") == 0;
	if (strcmp(value, "admin") != 0 && !match->is_any_io &&
	    (sscanf(value, "%u%c", &queue, &rest) != 1 || queue > UINT16_MAX))
		return gw_fail(diag, -EINVAL, "queue= is admin, io or a number, and not '%s'", value);
	match->has_queue = true;
	match->queue = (uint16_t)queue;
	return 1;
}

static int set_command(struct gw_match *match, const char *value, struct gw_diag *diag)
{
	for (uint32_t i = 0; i < COMMANDS; i++) {
		if (!is_same(commands[i].name, value))
			continue;
		match->has_command = true;
		match->command = i;
		return 1;
	}
	return gw_fail(diag, -EINVAL, "command= is the name of a command, such as write or get-log-page, "
				      "and not '%s'", value);
}

static int set_lba(struct gw_match *match, const char *value, struct gw_diag *diag)
{
	unsigned long long first, last;
	char rest;
	const int got = sscanf(value, "%llu-%llu%c", &first, &last, &rest);

	if (got == 1 && strspn(value, "0123456789") == strlen(value))
		last = first;
	else if (got != 2 || last < first)
		return gw_fail(diag, -EINVAL, "lba= is a block or FIRST-LAST, and not '%s'", value);
	match->has_lba = true;
	match->first = first;
	match->last = last;
	return 1;
}

int gw_match_set(struct gw_match *match, const char *key, const char *value, struct gw_diag *diag)
{
	char rest;

	if (strcmp(key, "queue") == 0)
		return set_queue(match, value, diag);
	if (strcmp(key, "command") == 0)
		return set_command(match, value, diag);
	if (strcmp(key, "lba") == 0)
		return set_lba(match, value, diag);
	if (strcmp(key, "nsid") != 0)
		return 0;
	match->has_nsid = true;
	if (sscanf(value, "%u%c", &match->nsid, &rest) != 1)
		return gw_fail(diag, -EINVAL, "nsid= is a number, and not '%s'", value);
	return 1;
}

bool gw_match_blocks(const struct gw_match *match, uint32_t nsid, uint64_t first, uint64_t count)
{
	if (match->has_nsid && match->nsid != nsid)
		return false;
	return !match->has_lba || (count > 0 && first <= match->last && first + (count - 1) >= match->first);
}

bool gw_match_command(const struct gw_match *match, uint16_t sqid, const struct gw_nvme_sqe *sqe)
{
	uint64_t first, count;

	if (match->has_queue && (match->is_any_io ? sqid == 0 : sqid != match->queue))
		return false;
	if (match->has_command && match->command != gw_words_number(sqid == 0, sqe->opcode))
		return false;
	if (!match->has_lba)
		return !match->has_nsid || match->nsid == sqe->nsid;
	return gw_words_range(sqid == 0, sqe, &first, &count) &&
	       gw_match_blocks(match, sqe->nsid, first, count);
}

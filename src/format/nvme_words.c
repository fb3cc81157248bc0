// SPDX-License-Identifier: GPL-2.0-or-later
#include "nvme_words.h"

#include <stddef.h>
#include <stdio.h>

#include <godwit/nvme_abi.h>

struct word_row {
	uint32_t number;
	const char *words;
};

/* Ends with NULL words. Return: NULL if it is not there. */
static const char *find(const struct word_row *rows, uint32_t number)
{
	for (; rows->words != NULL; rows++)
		if (rows->number == number)
			return rows->words;
	return NULL;
}

/* Feature identifiers (5.1.25) */
static const struct word_row features[] = {
	{ 0x01, "Arbitration" },
	{ 0x02, "Power Management" },
	{ 0x03, "LBA Range Type" },
	{ 0x04, "Temperature Threshold" },
	{ 0x05, "Error Recovery" },
	{ 0x06, "Volatile Write Cache" },
	{ 0x07, "Number of Queues" },
	{ 0x08, "Interrupt Coalescing" },
	{ 0x09, "Interrupt Vector Configuration" },
	{ 0x0a, "Write Atomicity Normal" },
	{ 0x0b, "Asynchronous Event Configuration" },
	{ 0x0c, "Autonomous Power State Transition" },
	{ 0x0d, "Host Memory Buffer" },
	{ 0x0e, "Timestamp" },
	{ 0x0f, "Keep Alive Timer" },
	{ 0x10, "Host Controlled Thermal Management" },
	{ 0x11, "Non-Operational Power State Config" },
	{ 0x12, "Read Recovery Level Config" },
	{ 0x13, "Predictable Latency Mode Config" },
	{ 0x14, "Predictable Latency Mode Window" },
	{ 0x15, "LBA Status Information Report Interval" },
	{ 0x16, "Host Behavior Support" },
	{ 0x17, "Sanitize Config" },
	{ 0x18, "Endurance Group Event Configuration" },
	{ 0x19, "I/O Command Set Profile" },
	{ 0x1a, "Spinup Control" },
	{ 0x1b, "Power Loss Signaling Config" },
	{ 0x1c, "Performance Characteristics" },
	{ 0x1d, "Flexible Data Placement" },
	{ 0x1e, "Flexible Data Placement Events" },
	{ 0x1f, "Namespace Admin Label" },
	{ 0x20, "Key Value Configuration" },
	{ 0x21, "Controller Data Queue" },
	{ 0x78, "Embedded Management Controller Address" },
	{ 0x79, "Host Management Agent Address" },
	{ 0x7d, "Enhanced Controller Metadata" },
	{ 0x7e, "Controller Metadata" },
	{ 0x7f, "Namespace Metadata" },
	{ 0x80, "Software Progress Marker" },
	{ 0x81, "Host Identifier" },
	{ 0x82, "Reservation Notification Mask" },
	{ 0x83, "Reservation Persistence" },
	{ 0x84, "Namespace Write Protection Config" },
	{ 0x85, "Boot Partition Write Protection Config" },
	{ 0, NULL },
};

/* Status code type << 8 | status code (4.2.3); from 370h on the Linux driver sets them, too */
static const struct word_row statuses[] = {
	{ 0x000, "Successful Completion" },
	{ 0x001, "Invalid Command Opcode" },
	{ 0x002, "Invalid Field in Command" },
	{ 0x003, "Command ID Conflict" },
	{ 0x004, "Data Transfer Error" },
	{ 0x005, "Commands Aborted due to Power Loss Notification" },
	{ 0x006, "Internal Error" },
	{ 0x007, "Command Abort Requested" },
	{ 0x008, "Command Aborted due to SQ Deletion" },
	{ 0x009, "Command Aborted due to Failed Fused Command" },
	{ 0x00a, "Command Aborted due to Missing Fused Command" },
	{ 0x00b, "Invalid Namespace or Format" },
	{ 0x00c, "Command Sequence Error" },
	{ 0x015, "Operation Denied" },
	{ 0x01c, "Sanitize Failed" },
	{ 0x01d, "Sanitize In Progress" },
	{ 0x020, "Namespace is Write Protected" },
	{ 0x021, "Command Interrupted" },
	{ 0x022, "Transient Transport Error" },
	{ 0x023, "Command Prohibited by Command and Feature Lockdown" },
	{ 0x024, "Admin Command Media Not Ready" },
	{ 0x080, "LBA Out of Range" },
	{ 0x081, "Capacity Exceeded" },
	{ 0x082, "Namespace Not Ready" },
	{ 0x083, "Reservation Conflict" },
	{ 0x084, "Format In Progress" },
	{ 0x100, "Completion Queue Invalid" },
	{ 0x101, "Invalid Queue Identifier" },
	{ 0x102, "Invalid Queue Size" },
	{ 0x103, "Abort Command Limit Exceeded" },
	{ 0x105, "Asynchronous Event Request Limit Exceeded" },
	{ 0x106, "Invalid Firmware Slot" },
	{ 0x107, "Invalid Firmware Image" },
	{ 0x108, "Invalid Interrupt Vector" },
	{ 0x109, "Invalid Log Page" },
	{ 0x10a, "Invalid Format" },
	{ 0x10b, "Firmware Activation Requires Conventional Reset" },
	{ 0x10c, "Invalid Queue Deletion" },
	{ 0x10d, "Feature Identifier Not Saveable" },
	{ 0x10e, "Feature Not Changeable" },
	{ 0x10f, "Feature Not Namespace Specific" },
	{ 0x110, "Firmware Activation Requires NVM Subsystem Reset" },
	{ 0x111, "Firmware Activation Requires Controller Level Reset" },
	{ 0x114, "Overlapping Range" },
	{ 0x115, "Namespace Insufficient Capacity" },
	{ 0x116, "Namespace Identifier Unavailable" },
	{ 0x118, "Namespace Already Attached" },
	{ 0x119, "Namespace Is Private" },
	{ 0x11a, "Namespace Not Attached" },
	{ 0x11c, "Controller List Invalid" },
	{ 0x11d, "Device Self-test In Progress" },
	{ 0x11f, "Invalid Controller Identifier" },
	{ 0x280, "Write Fault" },
	{ 0x281, "Unrecovered Read Error" },
	{ 0x286, "Access Denied" },
	{ 0x300, "Internal Path Error" },
	{ 0x370, "Host Pathing Error" },
	{ 0x371, "Command Aborted By Host" },
	{ 0, NULL },
};

/* Log pages (5.1.12) */
static const struct word_row logs[] = {
	{ 0x00, "Supported Log Pages" },
	{ 0x01, "Error Information" },
	{ 0x02, "SMART / Health Information" },
	{ 0x03, "Firmware Slot Information" },
	{ 0x04, "Changed Attached Namespace List" },
	{ 0x05, "Commands Supported and Effects" },
	{ 0x06, "Device Self-test" },
	{ 0x07, "Telemetry Host-Initiated" },
	{ 0x08, "Telemetry Controller-Initiated" },
	{ 0x09, "Endurance Group Information" },
	{ 0x0c, "Asymmetric Namespace Access" },
	{ 0x0d, "Persistent Event Log" },
	{ 0x0e, "LBA Status Information" },
	{ 0x12, "Feature Identifiers Supported and Effects" },
	{ 0x70, "Discovery" },
	{ 0x80, "Reservation Notification" },
	{ 0x81, "Sanitize Status" },
	{ 0xbf, "Changed Zone List" },
	{ 0, NULL },
};

/* Asynchronous events (5.1.2): type << 8 | information */
static const struct word_row events[] = {
	{ 0x000, "Error: Write to Invalid Doorbell Register" },
	{ 0x001, "Error: Invalid Doorbell Write Value" },
	{ 0x002, "Error: Diagnostic Failure" },
	{ 0x003, "Error: Persistent Internal Error" },
	{ 0x004, "Error: Transient Internal Error" },
	{ 0x005, "Error: Firmware Image Load Error" },
	{ 0x100, "SMART / Health Status: NVM subsystem Reliability" },
	{ 0x101, "SMART / Health Status: Temperature Threshold" },
	{ 0x102, "SMART / Health Status: Spare Below Threshold" },
	{ 0x200, "Notice: Namespace Attribute Changed" },
	{ 0x201, "Notice: Firmware Activation Starting" },
	{ 0x202, "Notice: Telemetry Log Changed" },
	{ 0x203, "Notice: Asymmetric Namespace Access Change" },
	{ 0x204, "Notice: Predictable Latency Event Aggregate Log Change" },
	{ 0x205, "Notice: LBA Status Information Alert" },
	{ 0x206, "Notice: Endurance Group Event Aggregate Log Page Change" },
	{ 0x2ef, "Notice: Zone Descriptor Changed" },
	{ 0x2f0, "Notice: Discovery Log Page Change" },
	{ 0x300, "Immediate: Normal NVM Subsystem Shutdown" },
	{ 0x400, "One-Shot: Controller Data Queue Tail Pointer" },
	{ 0x401, "One-Shot: Controller Data Queue Full Error" },
	{ 0x600, "I/O Command Specific: Reservation Log Page Available" },
	{ 0x601, "I/O Command Specific: Sanitize Operation Completed" },
	{ 0x602, "I/O Command Specific: Sanitize Operation Completed With Unexpected Deallocation" },
	{ 0, NULL },
};

/* enum nvme_ctrl_state of the Linux driver, the same in 6.1 and 7.3 */
static const struct word_row states[] = {
	{ 0, "new" },
	{ 1, "live" },
	{ 2, "resetting" },
	{ 3, "connecting" },
	{ 4, "deleting" },
	{ 5, "deleting, without I/O" },
	{ 6, "dead" },
	{ 0, NULL },
};

/* Identify, CNS (5.1.13) */
static const struct word_row structures[] = {
	{ 0x00, "Namespace" },
	{ 0x01, "Controller" },
	{ 0x02, "Active Namespace ID list" },
	{ 0x03, "Namespace Identification Descriptor list" },
	{ 0x05, "I/O Command Set specific Namespace" },
	{ 0x06, "I/O Command Set specific Controller" },
	{ 0x07, "I/O Command Set specific Active Namespace ID list" },
	{ 0x08, "I/O Command Set Independent Namespace" },
	{ 0x10, "Allocated Namespace ID list" },
	{ 0x11, "Allocated Namespace" },
	{ 0x12, "Namespace Attached Controller list" },
	{ 0x13, "Controller list" },
	{ 0x14, "Primary Controller Capabilities" },
	{ 0x15, "Secondary Controller list" },
	{ 0x16, "Namespace Granularity List" },
	{ 0x17, "UUID List" },
	{ 0x1c, "I/O Command Set" },
	{ 0, NULL },
};

static const struct word_row erasures[] = {
	{ 0, "no secure erase" },
	{ 1, "User Data Erase" },
	{ 2, "Cryptographic Erase" },
	{ 0, NULL },
};

static const struct word_row sanitize_actions[] = {
	{ 1, "Exit Failure Mode" },
	{ 2, "Block Erase" },
	{ 3, "Overwrite" },
	{ 4, "Crypto Erase" },
	{ 5, "Exit Media Verification State" },
	{ 0, NULL },
};

static const char *or_number(const char *words, char number[24], const char *what, uint32_t value)
{
	if (words != NULL)
		return words;
	snprintf(number, 24, "%.15s %xh", what, value);
	return number;
}

const char *gw_nvme_feature_words(char out[GW_NVME_WORD_BYTES], uint8_t feature)
{
	const char *const words = find(features, feature);

	snprintf(out, GW_NVME_WORD_BYTES, "%s (%02xh)",
		 words != NULL ? words : feature >= 0xc0 ? "vendor specific" : "unknown feature",
		 feature);
	return out;
}

const char *gw_nvme_status_words(char out[GW_NVME_WORD_BYTES], uint32_t status)
{
	const uint32_t code = NVME_STATUS_CODE(status);
	const char *const words = find(statuses, code);

	if (code == 0)
		snprintf(out, GW_NVME_WORD_BYTES, "%s", words);
	else
		snprintf(out, GW_NVME_WORD_BYTES, "%s (%03xh)%s",
			 words != NULL ? words : code >> 8 == 7 ? "vendor specific" :
			 "unknown status", code,
			 (status & NVME_STATUS_DNR) != 0 ? ", Do Not Retry" : "");
	return out;
}

const char *gw_nvme_log_words(char out[GW_NVME_WORD_BYTES], uint8_t log)
{
	const char *const words = find(logs, log);

	snprintf(out, GW_NVME_WORD_BYTES, "%s (%02xh)",
		 words != NULL ? words : log >= 0xc0 ? "vendor specific" : "log page", log);
	return out;
}

const char *gw_nvme_async_words(char out[GW_NVME_WORD_BYTES], uint32_t dw0)
{
	const uint32_t type = NVME_EVENT_TYPE(dw0), info = NVME_EVENT_INFO(dw0);
	const char *const words = find(events, type << 8 | info);

	if (words != NULL)
		snprintf(out, GW_NVME_WORD_BYTES, "%s", words);
	else
		snprintf(out, GW_NVME_WORD_BYTES, "%s, type %u, information %02xh",
			 type == NVME_EVENT_VENDOR ? "vendor specific" : "unknown", type, info);
	return out;
}

const char *gw_nvme_state_words(char out[GW_NVME_WORD_BYTES], uint32_t state)
{
	const char *const words = find(states, state);

	if (words != NULL)
		snprintf(out, GW_NVME_WORD_BYTES, "%s", words);
	else
		snprintf(out, GW_NVME_WORD_BYTES, "state %u", state);
	return out;
}

#define WORDS_BYTES (2 * (size_t)GW_NVME_WORD_BYTES)

static void say_format(char *out, const struct gw_nvme_sqe *sqe)
{
	char number[24];

	/* 5.1.10: the upper bits of the format are in 13:12 */
	snprintf(out, WORDS_BYTES, ": NSID %xh, LBA format %u, %s", sqe->nsid,
		 (sqe->cdw10 & 0xf) | (sqe->cdw10 >> 12 & 3) << 4,
		 or_number(find(erasures, sqe->cdw10 >> 9 & 7), number, "secure erase",
			   sqe->cdw10 >> 9 & 7));
}

static void say_set_features(char *out, const struct gw_nvme_sqe *sqe)
{
	char feature[GW_NVME_WORD_BYTES];

	snprintf(out, WORDS_BYTES, ": %s, NSID %xh, %08xh%s",
		 gw_nvme_feature_words(feature, (uint8_t)sqe->cdw10), sqe->nsid, sqe->cdw11,
		 (sqe->cdw10 >> 31) != 0 ? ", saved" : "");
}

const char *gw_nvme_admin_words(char out[2 * GW_NVME_WORD_BYTES], const struct gw_nvme_sqe *sqe)
{
	char word[GW_NVME_WORD_BYTES], number[24];

	out[0] = '\0';
	switch (sqe->opcode) {
	case GW_NVME_FORMAT:
		say_format(out, sqe);
		break;
	case GW_NVME_SANITIZE:
	case GW_NVME_SANITIZE_NAMESPACE:
		snprintf(out, WORDS_BYTES, ": %s",
			 or_number(find(sanitize_actions, sqe->cdw10 & 7), number, "action",
				   sqe->cdw10 & 7));
		break;
	case GW_NVME_SET_FEATURES:
		say_set_features(out, sqe);
		break;
	case GW_NVME_GET_FEATURES:
		snprintf(out, WORDS_BYTES, ": %s, NSID %xh",
			 gw_nvme_feature_words(word, (uint8_t)sqe->cdw10), sqe->nsid);
		break;
	case GW_NVME_GET_LOG_PAGE:
		snprintf(out, WORDS_BYTES, ": %s", gw_nvme_log_words(word, (uint8_t)sqe->cdw10));
		break;
	case GW_NVME_IDENTIFY:
		snprintf(out, WORDS_BYTES, ": %s, NSID %xh",
			 or_number(find(structures, sqe->cdw10 & 0xff), number, "CNS",
				   sqe->cdw10 & 0xff), sqe->nsid);
		break;
	case GW_NVME_NAMESPACE_MANAGEMENT:
		snprintf(out, WORDS_BYTES, ": %s, NSID %xh", (sqe->cdw10 & 0xf) == 0 ? "Create" :
			 (sqe->cdw10 & 0xf) == 1 ? "Delete" : "reserved", sqe->nsid);
		break;
	case GW_NVME_NAMESPACE_ATTACHMENT:
		snprintf(out, WORDS_BYTES, ": %s, NSID %xh", (sqe->cdw10 & 0xf) == 0 ?
			 "Controller Attach" : (sqe->cdw10 & 0xf) == 1 ? "Controller Detach" :
			 "reserved", sqe->nsid);
		break;
	case GW_NVME_FIRMWARE_COMMIT:
		snprintf(out, WORDS_BYTES, ": slot %u, commit action %u", sqe->cdw10 & 7,
			 sqe->cdw10 >> 3 & 7);
		break;
	case GW_NVME_DELETE_SQ:
	case GW_NVME_CREATE_SQ:
	case GW_NVME_DELETE_CQ:
	case GW_NVME_CREATE_CQ:
		snprintf(out, WORDS_BYTES, ": queue %u", sqe->cdw10 & 0xffff);
		break;
	default:
		if (sqe->nsid != 0 || sqe->cdw10 != 0 || sqe->cdw11 != 0)
			snprintf(out, WORDS_BYTES, ": NSID %xh, %08xh %08xh", sqe->nsid,
				 sqe->cdw10, sqe->cdw11);
	}
	return out;
}

/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * NVMe as it lies in memory: registers, entries, data structures, status codes. Layouts only, for
 * both ends of the queue: nothing here knows what a command does. Opcodes, and the submission
 * queue entry, are in nvme_effects.h.
 *
 * Sections and figures are those of the NVM Express Base Specification 2.1; "NVM 1.2 ..." is the
 * NVM Command Set Specification. All fields are little-endian, and read as they are. What
 * a structure leaves as reserved is zero.
 */
#ifndef GODWIT_NVME_ABI_H
#define GODWIT_NVME_ABI_H

#include <stddef.h>
#include <stdint.h>

#include <godwit/nvme_effects.h>

/* ---- Controller properties: offsets in BAR 0 (3.1.4) ---------------------------------------- */

#define NVME_REG_CAP    0x00u		/* 8 bytes */
#define NVME_REG_VS     0x08u
#define NVME_REG_INTMS  0x0cu
#define NVME_REG_INTMC  0x10u
#define NVME_REG_CC     0x14u
#define NVME_REG_CSTS   0x1cu
#define NVME_REG_NSSR   0x20u
#define NVME_REG_AQA    0x24u
#define NVME_REG_ASQ    0x28u		/* 8 bytes */
#define NVME_REG_ACQ    0x30u		/* 8 bytes */
#define NVME_REG_CMBLOC 0x38u
#define NVME_REG_CMBSZ  0x3cu
#define NVME_REG_CMBMSC 0x50u		/* 8 bytes */
#define NVME_REG_CMBSTS 0x58u
#define NVME_REG_DOORBELLS 0x1000u	/* SQ y: (2 y) << (2 + DSTRD); CQ y: (2 y + 1) << (2 + DSTRD) */

#define NVME_CAP_MQES(cap)   ((uint32_t)((cap) & 0xffff))	/* entries - 1 */
#define NVME_CAP_CQR         (UINT64_C(1) << 16)	/* queues must be contiguous */
#define NVME_CAP_TO_SHIFT    24				/* units of 500 ms */
#define NVME_CAP_DSTRD(cap)  ((uint32_t)((cap) >> 32 & 0xf))
#define NVME_CAP_NSSRS       (UINT64_C(1) << 36)
#define NVME_CAP_CSS_NVM     (UINT64_C(1) << 37)
#define NVME_CAP_CMBS        (UINT64_C(1) << 57)	/* there may be a controller memory buffer */
#define NVME_CMBMSC_REGISTERS 0x1u			/* CRE: CMBLOC and CMBSZ can be seen */
#define NVME_CMBMSC_SPACE     0x2u			/* CMSE: it is there, at the address in 63:12 */
#define NVME_CMBSTS_INVALID   0x1u			/* CBAI */
#define NVME_CAP_MPSMIN(cap) ((uint32_t)((cap) >> 48 & 0xf))	/* 2^(12 + n) bytes */
#define NVME_CAP_MPSMAX(cap) ((uint32_t)((cap) >> 52 & 0xf))

#define NVME_CC_EN          0x1u
#define NVME_CC_CSS(cc)     ((cc) >> 4 & 7)
#define NVME_CC_MPS(cc)     ((cc) >> 7 & 0xf)
#define NVME_CC_AMS(cc)     ((cc) >> 11 & 7)
#define NVME_CC_SHN(cc)     ((cc) >> 14 & 3)
#define NVME_CC_IOSQES(cc)  ((cc) >> 16 & 0xf)
#define NVME_CC_IOCQES(cc)  ((cc) >> 20 & 0xf)

#define NVME_CSTS_RDY            0x1u
#define NVME_CSTS_CFS            0x2u
#define NVME_CSTS_SHST_MASK      0xcu
#define NVME_CSTS_SHST_COMPLETE  0x8u
#define NVME_CSTS_NSSRO          0x10u

#define NVME_VERSION_1_3 0x00010300u
#define NVME_VERSION_1_4 0x00010400u
#define NVME_VERSION_2_0 0x00020000u
#define NVME_VERSION_2_1 0x00020100u

/* ---- Submission and completion queue entries (4.1, 4.2) ------------------------------------- */

#define NVME_SQE_FUSE(flags) ((flags) & 3)	/* 0 none, 1 first, 2 second */
#define NVME_SQE_PSDT(flags) ((flags) >> 6)	/* 0 PRP */

struct nvme_cqe {
	uint32_t dw0, dw1;		/* command specific */
	uint16_t sqhd;
	uint16_t sqid;
	uint16_t cid;
	uint16_t status;		/* bit 0 phase tag, the rest: enum nvme_status, 15:1 */
};
_Static_assert(sizeof(struct nvme_cqe) == 16, "4.2.1");

#define NVME_CQE_PHASE 0x1u
#define NVME_CQE_STATUS(status) ((uint32_t)(status) >> 1)	/* with More and DNR */
/* Status code type and code only, as in enum nvme_status. */
#define NVME_STATUS_CODE(status) ((status) & 0x7ff)
#define NVME_STATUS_MORE 0x2000u
#define NVME_STATUS_DNR  0x4000u

/* Status code type << 8 | status code (4.2.3, figures 101 to 104; NVM 1.2 3.1). */
enum nvme_status {
	NVME_SC_SUCCESS = 0x000,
	NVME_SC_INVALID_OPCODE = 0x001,
	NVME_SC_INVALID_FIELD = 0x002,
	NVME_SC_CID_CONFLICT = 0x003,
	NVME_SC_DATA_TRANSFER_ERROR = 0x004,
	NVME_SC_POWER_LOSS = 0x005,
	NVME_SC_INTERNAL = 0x006,
	NVME_SC_ABORT_REQUESTED = 0x007,
	NVME_SC_SQ_DELETED = 0x008,
	NVME_SC_FUSED_FAILED = 0x009,
	NVME_SC_FUSED_MISSING = 0x00a,
	NVME_SC_INVALID_NAMESPACE = 0x00b,	/* ... or format */
	NVME_SC_COMMAND_SEQUENCE = 0x00c,
	NVME_SC_PRP_OFFSET_INVALID = 0x013,
	NVME_SC_SANITIZE_FAILED = 0x01c,
	NVME_SC_SANITIZE_IN_PROGRESS = 0x01d,
	NVME_SC_NAMESPACE_WRITE_PROTECTED = 0x020,
	NVME_SC_LBA_OUT_OF_RANGE = 0x080,
	NVME_SC_CAPACITY_EXCEEDED = 0x081,
	NVME_SC_NAMESPACE_NOT_READY = 0x082,

	NVME_SC_INVALID_CQ = 0x100,
	NVME_SC_INVALID_QID = 0x101,
	NVME_SC_INVALID_QUEUE_SIZE = 0x102,
	NVME_SC_ABORT_LIMIT = 0x103,
	NVME_SC_ASYNC_LIMIT = 0x105,
	NVME_SC_INVALID_FIRMWARE_SLOT = 0x106,
	NVME_SC_INVALID_FIRMWARE_IMAGE = 0x107,
	NVME_SC_INVALID_VECTOR = 0x108,
	NVME_SC_INVALID_LOG_PAGE = 0x109,
	NVME_SC_INVALID_FORMAT = 0x10a,
	NVME_SC_INVALID_QUEUE_DELETION = 0x10c,
	NVME_SC_FEATURE_NOT_SAVEABLE = 0x10d,
	NVME_SC_FEATURE_NOT_CHANGEABLE = 0x10e,
	NVME_SC_NAMESPACE_CAPACITY = 0x115,	/* insufficient */
	NVME_SC_NAMESPACE_ID_UNAVAILABLE = 0x116,
	NVME_SC_NAMESPACE_ATTACHED = 0x118,
	NVME_SC_NAMESPACE_PRIVATE = 0x119,
	NVME_SC_NAMESPACE_NOT_ATTACHED = 0x11a,
	NVME_SC_CONTROLLER_LIST_INVALID = 0x11c,
	NVME_SC_INVALID_CONTROLLER_ID = 0x11f,
	NVME_SC_INVALID_CDQ = 0x137,
	NVME_SC_NOT_ENOUGH_RESOURCES = 0x138,
	NVME_SC_CONTROLLER_SUSPENDED = 0x139,
	NVME_SC_CONTROLLER_NOT_SUSPENDED = 0x13a,
	NVME_SC_CDQ_FULL = 0x13b,
	NVME_SC_CONFLICTING_ATTRIBUTES = 0x180,	/* of Dataset Management */
	NVME_SC_COPY_SIZE_LIMIT = 0x183,

	NVME_SC_WRITE_FAULT = 0x280,
	NVME_SC_UNRECOVERED_READ = 0x281,
	NVME_SC_COMPARE_FAILURE = 0x285,
	NVME_SC_UNWRITTEN_BLOCK = 0x287,	/* deallocated or unwritten logical block */
};

/* ---- Admin commands: fields ------------------------------------------------------------------ */

/* Asynchronous event request, completion dword 0 (5.1.2, figures 147 to 155). */
#define NVME_EVENT_TYPE(dw0) ((dw0) & 7)
#define NVME_EVENT_INFO(dw0) ((dw0) >> 8 & 0xff)
#define NVME_EVENT_LOG(dw0)  ((dw0) >> 16 & 0xff)
#define NVME_EVENT(type, info, log) ((uint32_t)(type) | (uint32_t)(info) << 8 | (uint32_t)(log) << 16)
enum nvme_event_type {
	NVME_EVENT_ERROR = 0,
	NVME_EVENT_SMART = 1,
	NVME_EVENT_NOTICE = 2,
	NVME_EVENT_IMMEDIATE = 3,
	NVME_EVENT_ONE_SHOT = 4,
	NVME_EVENT_COMMAND_SET = 6,
	NVME_EVENT_VENDOR = 7,
};
#define NVME_NOTICE_NAMESPACE_CHANGED 0x00
#define NVME_ONE_SHOT_CDQ_TAIL        0x00	/* CQE dword 1, 15:0: the queue */
#define NVME_ONE_SHOT_CDQ_FULL        0x01

/* Identify, CNS (5.1.13, figure 310) */
enum nvme_cns {
	NVME_CNS_NAMESPACE = 0x00,
	NVME_CNS_CONTROLLER = 0x01,
	NVME_CNS_ACTIVE_NAMESPACES = 0x02,
	NVME_CNS_NAMESPACE_DESCRIPTORS = 0x03,
	NVME_CNS_COMMAND_SET_NAMESPACE = 0x05,
	NVME_CNS_COMMAND_SET_CONTROLLER = 0x06,
	NVME_CNS_COMMAND_SET_ACTIVE_NAMESPACES = 0x07,
	NVME_CNS_INDEPENDENT_NAMESPACE = 0x08,
	NVME_CNS_ALLOCATED_NAMESPACES = 0x10,
	NVME_CNS_ALLOCATED_NAMESPACE = 0x11,
	NVME_CNS_ATTACHED_CONTROLLERS = 0x12,
	NVME_CNS_CONTROLLERS = 0x13,
	NVME_CNS_PRIMARY_CAPABILITIES = 0x14,
	NVME_CNS_SECONDARY_CONTROLLERS = 0x15,
	NVME_CNS_COMMAND_SETS = 0x1c,
	NVME_CNS_STATE_FORMATS = 0x20,
};

/* Get Log Page, LID (5.1.12, figure 202) */
enum nvme_log_id {
	NVME_LOG_SUPPORTED = 0x00,
	NVME_LOG_ERROR = 0x01,
	NVME_LOG_SMART = 0x02,
	NVME_LOG_FIRMWARE = 0x03,
	NVME_LOG_CHANGED_NAMESPACES = 0x04,
	NVME_LOG_EFFECTS = 0x05,
	NVME_LOG_FEATURE_EFFECTS = 0x12,
	NVME_LOG_SANITIZE = 0x81,
};

/* Set and Get Features, FID (5.1.25, figure 402) */
enum nvme_feature {
	NVME_FID_ARBITRATION = 0x01,
	NVME_FID_POWER = 0x02,
	NVME_FID_TEMPERATURE = 0x04,
	NVME_FID_WRITE_CACHE = 0x06,
	NVME_FID_QUEUES = 0x07,
	NVME_FID_COALESCING = 0x08,
	NVME_FID_VECTOR = 0x09,
	NVME_FID_ASYNC_EVENTS = 0x0b,
	NVME_FID_TIMESTAMP = 0x0e,
	NVME_FID_KEEP_ALIVE = 0x0f,
	NVME_FID_HOST_BEHAVIOR = 0x16,
	NVME_FID_CDQ = 0x21,		/* 5.1.25.1.23 */
	NVME_FID_HOST_ID = 0x81,
	/* of the command set (NVM 1.2 4.1.3) */
	NVME_FID_ERROR_RECOVERY = 0x05,
	NVME_FID_WRITE_ATOMICITY = 0x0a,
};

#define NVME_VECTOR_NO_COALESCING (1u << 16)	/* features 09h, dword 11: CD */

/* Controller Data Queue (5.1.4) */
#define NVME_CDQ_CREATE 0x00u		/* command dword 10, 7:0; queue type in 23:16 */
#define NVME_CDQ_DELETE 0x01u
#define NVME_CDQ_TYPE_USER_DATA 0x00u
#define NVME_CDQ_CONTIGUOUS 0x1u	/* command dword 11; the controller to log in 31:16 */
#define NVME_CDQ_TRIGGER 0x80000000u	/* features 21h, dword 11: ETPT; queue in 15:0 */

/* Track Send (5.1.27), Track Receive (5.1.26) */
#define NVME_TRACK_LOG 0x00u		/* Send, command dword 10, 7:0: Log User Data Changes */
#define NVME_TRACK_MEMORY 0x01u		/* Send: Track Memory Changes */
#define NVME_TRACK_STOP 0x0u		/* dword 10, 19:16 */
#define NVME_TRACK_START 0x1u
#define NVME_TRACK_RECEIVE_MEMORY 0x00u

/* Migration Send (5.1.17), Migration Receive (5.1.16) */
#define NVME_MIGRATION_SUSPEND 0x00u	/* command dword 10, 7:0 */
#define NVME_MIGRATION_RESUME 0x01u
#define NVME_MIGRATION_SET_STATE 0x02u
#define NVME_MIGRATION_GET_STATE 0x00u	/* Receive */
#define NVME_SUSPEND_NOTIFY 0x0u	/* dword 11, 23:16 */
#define NVME_SUSPEND_NOW 0x1u
#define NVME_SUSPEND_DELETE_CDQ 0x80000000u
#define NVME_SEQUENCE_MIDDLE 0x0u	/* dword 10, 17:16 */
#define NVME_SEQUENCE_FIRST 0x1u
#define NVME_SEQUENCE_LAST 0x2u
#define NVME_SEQUENCE_ONLY 0x3u
#define NVME_WAS_SUSPENDED 0x1u		/* Receive: CQE dword 0, bit 0: CSUP */

/* Get LBA Status (NVM 1.2 4.2.1), command dword 13, 31:24 */
#define NVME_LBA_STATUS_ALLOCATED 0x02u
#define NVME_LBA_STATUS_SCAN 0x10u
#define NVME_LBA_STATUS_TRACKED 0x11u

/* ---- Identify data structures ----------------------------------------------------------------- */

#define NVME_IDENTIFY_BYTES 4096u

struct nvme_power_state {		/* figure 313 */
	uint16_t max_power;		/* centiwatts */
	uint8_t reserved2, flags;
	uint32_t entry_latency_us, exit_latency_us;
	uint8_t relative[4], reserved16[16];
};
_Static_assert(sizeof(struct nvme_power_state) == 32, "figure 313");

/* CNS 01h (5.1.13.2.1, figure 312; bytes of the I/O command set: NVM 1.2 4.1.5.2) */
struct nvme_id_ctrl {
	uint16_t vid, ssvid;
	char sn[20], mn[40], fr[8];
	uint8_t rab, ieee[3], cmic, mdts;
	uint16_t cntlid;
	uint32_t ver, rtd3r, rtd3e, oaes, ctratt;
	uint16_t rrls;
	uint8_t reserved102[9], cntrltype, fguid[16];
	uint16_t crdt[3];
	uint8_t reserved134[119], nvmsr, vwci, mec;
	uint16_t oacs;
	uint8_t acl, aerl, frmw, lpa, elpe, npss, avscc, apsta;
	uint16_t wctemp, cctemp, mtfa;
	uint32_t hmpre, hmmin;
	uint8_t tnvmcap[16], unvmcap[16];
	uint32_t rpmbs;
	uint16_t edstt;
	uint8_t dsto, fwug;
	uint16_t kas, hctma, mntmt, mxtmt;
	uint32_t sanicap, hmminds;
	uint16_t hmmaxd, nsetidmax, endgidmax;
	uint8_t anatt, anacap;
	uint32_t anagrpmax, nanagrpid, pels;
	uint16_t domain;
	uint8_t kpioc, reserved359;
	uint16_t mptfawr;
	uint8_t reserved362[6];
	uint8_t megcap[16], tmpthha, reserved385;
	uint16_t cqt;
	uint8_t reserved388[124], sqes, cqes;
	uint16_t maxcmd;
	uint32_t nn;
	uint16_t oncs, fuses;
	uint8_t fna, vwc;
	uint16_t awun, awupf;
	uint8_t icsvscc, nwpc;
	uint16_t acwu, ocfs;
	uint32_t sgls, mnan;
	uint8_t maxdna[16];
	uint32_t maxcna, oaqd;
	uint8_t rhiri, hirt;
	uint16_t cmmrtd, nmmrtd;	/* 8.1.12: host managed live migration, from here ... */
	uint8_t minmrtg, maxmrtg, trattr, reserved577;
	uint16_t mcudmq, mnsudmq, mcmr, nmcmr, mcdqpc;	/* ... to here */
	uint8_t reserved588[180];
	char subnqn[256];
	uint8_t reserved1024[1024];
	struct nvme_power_state psd[32];
	uint8_t vendor[1024];
};
_Static_assert(sizeof(struct nvme_id_ctrl) == NVME_IDENTIFY_BYTES, "figure 312");
_Static_assert(offsetof(struct nvme_id_ctrl, cntlid) == 78, "figure 312");
_Static_assert(offsetof(struct nvme_id_ctrl, cntrltype) == 111, "figure 312");
_Static_assert(offsetof(struct nvme_id_ctrl, oacs) == 256, "figure 312");
_Static_assert(offsetof(struct nvme_id_ctrl, hmpre) == 272, "figure 312");
_Static_assert(offsetof(struct nvme_id_ctrl, kas) == 320, "figure 312");
_Static_assert(offsetof(struct nvme_id_ctrl, sanicap) == 328, "figure 312");
_Static_assert(offsetof(struct nvme_id_ctrl, pels) == 352, "figure 312");
_Static_assert(offsetof(struct nvme_id_ctrl, sqes) == 512, "figure 312");
_Static_assert(offsetof(struct nvme_id_ctrl, vwc) == 525, "figure 312");
_Static_assert(offsetof(struct nvme_id_ctrl, mnan) == 540, "figure 312");
_Static_assert(offsetof(struct nvme_id_ctrl, cmmrtd) == 570, "figure 312");
_Static_assert(offsetof(struct nvme_id_ctrl, trattr) == 576, "figure 312");
_Static_assert(offsetof(struct nvme_id_ctrl, mcdqpc) == 586, "figure 312");
_Static_assert(offsetof(struct nvme_id_ctrl, subnqn) == 768, "figure 312");
_Static_assert(offsetof(struct nvme_id_ctrl, psd) == 2048, "figure 312");

#define NVME_OAES_NAMESPACE 0x100u
#define NVME_CMIC_CONTROLLERS 0x2u	/* two or more controllers in the subsystem */
#define NVME_OACS_FORMAT 0x2u
#define NVME_OACS_NAMESPACES 0x8u
#define NVME_OACS_LBA_STATUS 0x200u	/* types 10h and 11h; not 02h */
#define NVME_OACS_HMLMS 0x800u		/* this controller manages migrations */
#define NVME_LPA_EFFECTS 0x2u
#define NVME_LPA_EXTENDED 0x4u		/* offsets, 32 bit lengths */
#define NVME_TRATTR_MEMORY 0x1u		/* THMCS */
#define NVME_TRATTR_USER_DATA 0x2u	/* TUDCS */
#define NVME_TRATTR_POWER_OF_TWO 0x4u	/* MRTLL */
#define NVME_ONCS_COMPARE 0x1u
#define NVME_ONCS_WRITE_UNCORRECTABLE 0x2u
#define NVME_ONCS_DSM 0x4u
#define NVME_ONCS_WRITE_ZEROES 0x8u
#define NVME_ONCS_SAVE 0x10u
#define NVME_ONCS_TIMESTAMP 0x40u
#define NVME_ONCS_VERIFY 0x80u
#define NVME_ONCS_COPY 0x100u
#define NVME_FUSES_COMPARE_WRITE 0x1u
#define NVME_VWC_PRESENT 0x1u
#define NVME_VWC_FLUSH_ALL 0x6u		/* Flush of FFFFFFFFh is supported */
#define NVME_SANICAP_CRYPTO 0x1u
#define NVME_SANICAP_BLOCK 0x2u
#define NVME_SANICAP_OVERWRITE 0x4u

struct nvme_lba_format {		/* NVM 1.2 4.1.5.1 */
	uint16_t ms;
	uint8_t lbads;			/* 2^n bytes */
	uint8_t rp;
};
_Static_assert(sizeof(struct nvme_lba_format) == 4, "NVM 1.2 4.1.5.1");

/* CNS 00h and 11h (NVM 1.2 4.1.5.1) */
struct nvme_id_ns {
	uint64_t nsze, ncap, nuse;
	uint8_t nsfeat, nlbaf, flbas, mc, dpc, dps, nmic, rescap, fpi, dlfeat;
	uint16_t nawun, nawupf, nacwu, nabsn, nabo, nabspf, noiob;
	uint8_t nvmcap[16];
	uint16_t npwg, npwa, npdg, npda, nows, mssrl;
	uint32_t mcl;
	uint8_t msrc, kpios, nulbaf, reserved83;
	uint32_t kpiodaag;
	uint8_t reserved88[4];
	uint32_t anagrpid;
	uint8_t reserved96[3], nsattr;
	uint16_t nvmsetid, endgid;
	uint8_t nguid[16], eui64[8];
	struct nvme_lba_format lbaf[64];
	uint8_t vendor[3712];
};
_Static_assert(sizeof(struct nvme_id_ns) == NVME_IDENTIFY_BYTES, "NVM 1.2 4.1.5.1");
_Static_assert(offsetof(struct nvme_id_ns, dlfeat) == 33, "NVM 1.2 4.1.5.1");
_Static_assert(offsetof(struct nvme_id_ns, nvmcap) == 48, "NVM 1.2 4.1.5.1");
_Static_assert(offsetof(struct nvme_id_ns, mssrl) == 74, "NVM 1.2 4.1.5.1");
_Static_assert(offsetof(struct nvme_id_ns, anagrpid) == 92, "NVM 1.2 4.1.5.1");
_Static_assert(offsetof(struct nvme_id_ns, nguid) == 104, "NVM 1.2 4.1.5.1");
_Static_assert(offsetof(struct nvme_id_ns, lbaf) == 128, "NVM 1.2 4.1.5.1");

#define NVME_NMIC_SHARED 0x1u
#define NVME_DLFEAT_ZEROES 0x1u		/* deallocated blocks read as zeroes */
#define NVME_DLFEAT_WRITE_ZEROES 0x8u	/* Write Zeroes may deallocate */

/* CNS 05h, CSI 00h (NVM 1.2 4.1.5.3) */
struct nvme_id_ns_nvm {
	uint64_t lbstm;
	uint8_t pic, pifa, reserved10[2];
	uint32_t elbaf[64];
	uint8_t reserved268[24];
	uint32_t tlbaag;		/* blocks in a unit of Get LBA Status 02h */
	uint8_t reserved296[3800];
};
_Static_assert(sizeof(struct nvme_id_ns_nvm) == NVME_IDENTIFY_BYTES, "NVM 1.2 4.1.5.3");
_Static_assert(offsetof(struct nvme_id_ns_nvm, tlbaag) == 292, "NVM 1.2 figure 118");

/* CNS 06h, CSI 00h (NVM 1.2 4.1.5.4) */
struct nvme_id_ctrl_nvm {
	uint8_t vsl, wzsl, wusl, dmrl;
	uint32_t dmrsl;
	uint64_t dmsl;
	uint8_t kpiocap, wzdsl;
	uint16_t aocs;			/* bit 0: RALBAS */
	uint32_t ver;
	uint8_t lbamqf, reserved25[4071];
};
_Static_assert(sizeof(struct nvme_id_ctrl_nvm) == NVME_IDENTIFY_BYTES, "NVM 1.2 4.1.5.4");
_Static_assert(offsetof(struct nvme_id_ctrl_nvm, aocs) == 18, "NVM 1.2 figure 120");
_Static_assert(offsetof(struct nvme_id_ctrl_nvm, lbamqf) == 24, "NVM 1.2 figure 120");

#define NVME_AOCS_RALBAS 0x1u		/* Get LBA Status 02h */

/* CNS 08h (5.1.13.2.8) */
struct nvme_id_ns_independent {
	uint8_t nsfeat, nmic, rescap, fpi;
	uint32_t anagrpid;
	uint8_t nsattr, reserved9;
	uint16_t nvmsetid, endgid;
	uint8_t nstat, reserved15[4081];
};
_Static_assert(sizeof(struct nvme_id_ns_independent) == NVME_IDENTIFY_BYTES, "5.1.13.2.8");

/* CNS 20h (5.1.13.2.21): counts, then nv versions of 2 bytes, then nuuid UUIDs of 16. */
struct nvme_state_formats {
	uint8_t nv, nuuid;
};

/* ---- Log pages ---------------------------------------------------------------------------------- */

struct nvme_log_error_entry {		/* 5.1.12.1.2 */
	uint64_t error_count;
	uint16_t sqid, cid, status, location;
	uint64_t lba;
	uint32_t nsid;
	uint8_t vendor_log, trtype, csi, opcode;
	uint64_t command_info;
	uint16_t trtype_info;
	uint8_t reserved42[21], version;
};
_Static_assert(sizeof(struct nvme_log_error_entry) == 64, "5.1.12.1.2");

struct nvme_log_smart {			/* 5.1.12.1.3 */
	uint8_t critical_warning, temperature[2], available_spare, spare_threshold, percentage_used;
	uint8_t endurance_warning, reserved7[25];
	uint64_t data_read[2], data_written[2];		/* thousands of 512 bytes */
	uint64_t host_reads[2], host_writes[2], busy_minutes[2], power_cycles[2];
	uint64_t power_on_hours[2], unsafe_shutdowns[2], media_errors[2], error_entries[2];
	uint32_t warning_minutes, critical_minutes;
	uint16_t sensor[8];
	uint8_t reserved216[296];
};
_Static_assert(sizeof(struct nvme_log_smart) == 512, "5.1.12.1.3");
_Static_assert(offsetof(struct nvme_log_smart, sensor) == 200, "5.1.12.1.3");

struct nvme_log_firmware {		/* 5.1.12.1.4 */
	uint8_t active, reserved1[7];
	char revision[7][8];
	uint8_t reserved64[448];
};
_Static_assert(sizeof(struct nvme_log_firmware) == 512, "5.1.12.1.4");

struct nvme_log_effects {		/* 5.1.12.1.6 */
	uint32_t admin[256], io[256];
	uint8_t reserved[2048];
};
_Static_assert(sizeof(struct nvme_log_effects) == 4096, "5.1.12.1.6");

#define NVME_EFFECT_SUPPORTED 0x1u
#define NVME_EFFECT_CONTENT 0x2u	/* LBCC: changes logical blocks */
#define NVME_EFFECT_CAPABILITY 0x4u	/* NCC: changes the namespace */
#define NVME_EFFECT_INVENTORY 0x8u	/* NIC: namespaces come or go */
#define NVME_EFFECT_ALONE_NAMESPACE (1u << 16)
#define NVME_EFFECT_ALONE (2u << 16)
#define NVME_FID_SUPPORTED 0x1u		/* log 12h (figure 262) */
#define NVME_FID_SCOPE_NAMESPACE (1u << 20)
#define NVME_FID_SCOPE_CONTROLLER (1u << 21)
#define NVME_FID_SCOPE_CDQ (1u << 26)

struct nvme_log_sanitize {		/* 5.1.12.1.33 */
	uint16_t progress, status;
	uint32_t command_dw10;
	uint32_t estimate_s[6];
	uint8_t reserved32[480];
};
_Static_assert(sizeof(struct nvme_log_sanitize) == 512, "5.1.12.1.33");

/* ---- NVM command set ------------------------------------------------------------------------------ */

struct nvme_lba_status_entry {		/* NVM 1.2 4.2.1 */
	uint64_t slba;
	uint32_t nlb;			/* 0-based */
	uint8_t reserved12, status;
	uint16_t reserved14;
};
_Static_assert(sizeof(struct nvme_lba_status_entry) == 16, "NVM 1.2 4.2.1");
struct nvme_lba_status {
	uint32_t count;
	uint8_t condition;		/* NVME_LBA_STATUS_... */
	uint8_t reserved5[3];
	struct nvme_lba_status_entry entry[];
};
_Static_assert(sizeof(struct nvme_lba_status) == 8, "NVM 1.2 4.2.1");
#define NVME_LBA_STATUS_INCOMPLETE 1u
#define NVME_LBA_STATUS_COMPLETE 2u
#define NVME_LBARS_ALLOCATED 2u
#define NVME_LBARS_UNCORRECTABLE 3u

/* ---- Host managed live migration (8.1.12) ----------------------------------------------------------- */

/* Entry of an LBA migration queue, type 0 (NVM 1.2 5.6, figure 177) */
struct nvme_lba_change {
	uint32_t nsid;
	uint32_t nlb;			/* 0-based */
	uint64_t slba;
	uint8_t reserved16[15];
	uint8_t attributes;		/* LBAMQA */
};
_Static_assert(sizeof(struct nvme_lba_change) == 32, "NVM 1.2 figure 177");

#define NVME_CHANGE_PHASE 0x01u			/* CDQP */
#define NVME_CHANGE_SEQUENCE(a) ((a) >> 1 & 7)	/* ESA */
#define NVME_CHANGE_FIRST 1u
#define NVME_CHANGE_LAST_STOPPED 2u
#define NVME_CHANGE_LAST_SUSPENDED 3u
#define NVME_CHANGE_LAST_FULL 7u
#define NVME_CHANGE_DEALLOCATED 0x20u		/* DLBA */
#define NVME_CHANGE_EXTENT(a) ((a) >> 6)	/* LBACIR */
#define NVME_CHANGE_RANGE 0u
#define NVME_CHANGE_WHOLE 1u
#define NVME_CHANGE_NONE 2u

/* Data of Get Features 21h (5.1.25.1.23) */
struct nvme_cdq_feature {
	uint32_t head, trigger;		/* slots */
	uint8_t reserved8[504];
};
_Static_assert(sizeof(struct nvme_cdq_feature) == 512, "5.1.25.1.23");

/* Data of Track Send, Track Memory Changes (figures 468, 469); descriptors are not aligned. */
struct nvme_track_range {
	uint64_t address;
	uint32_t count;			/* units of the granularity */
} __attribute__((packed));
_Static_assert(sizeof(struct nvme_track_range) == 12, "figure 469");
struct nvme_track_memory {
	uint8_t version, reserved1[2], granularity;	/* 2^n x 4 KiB */
	uint32_t count;
	struct nvme_track_range range[];
};
_Static_assert(sizeof(struct nvme_track_memory) == 8, "figure 468");

/* Data of Track Receive (figures 460, 461) */
struct nvme_tracked_range {
	uint64_t address;
	uint32_t count, reserved12;
};
_Static_assert(sizeof(struct nvme_tracked_range) == 16, "figure 461");
struct nvme_tracked_memory {
	uint8_t version, attributes;
	uint16_t cntlid;
	uint32_t count;
	uint16_t granularity;
	uint8_t reserved10[6];
	struct nvme_tracked_range range[];
};
_Static_assert(sizeof(struct nvme_tracked_memory) == 16, "figure 460");
#define NVME_TRACKED_MORE 0x1u
#define NVME_TRACKED_SUSPENDED 0x2u

/* Controller State, the container (figure 358). Sizes in dwords; 128 bits, of which 64 are used. */
struct nvme_controller_state {
	uint16_t version;
	uint8_t attributes, reserved3[13];
	uint64_t nvme_dwords[2];
	uint64_t vendor_dwords[2];
};
_Static_assert(sizeof(struct nvme_controller_state) == 48, "figure 358");
#define NVME_STATE_SUSPENDED 0x1u

/* NVMe Controller State, version 0 (figures 359 to 361): header, nsq queues, then ncq queues */
struct nvme_queue_state {
	uint16_t version, nsq, ncq, reserved6;
};
_Static_assert(sizeof(struct nvme_queue_state) == 8, "figure 359");
struct nvme_sq_state {
	uint64_t prp1;
	uint16_t qsize, qid, cqid, attributes;	/* bit 0 contiguous, 2:1 priority */
	uint16_t head, tail;
	uint32_t reserved20;
};
_Static_assert(sizeof(struct nvme_sq_state) == 24, "figure 360");
struct nvme_cq_state {
	uint64_t prp1;
	uint16_t qsize, qid, head, tail;
	uint32_t attributes;		/* bit 0 contiguous, 1 interrupts, 2 tag in slot 0; vector 31:16 */
	uint32_t reserved20;
};
_Static_assert(sizeof(struct nvme_cq_state) == 24, "figure 361");
#define NVME_QUEUE_CONTIGUOUS 0x1u
#define NVME_CQ_INTERRUPTS 0x2u
#define NVME_CQ_STATE_SLOT0 0x4u

#endif

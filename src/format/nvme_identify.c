// SPDX-License-Identifier: GPL-2.0-or-later
/* Sections are those of the NVM Express Base Specification 2.1 and the NVM Command Set 1.2. */
#include "nvme_identify.h"

#include <errno.h>
#include <stddef.h>
#include <string.h>

#define LBADS_MIN 9			/* 512 bytes */
#define LBADS_MAX 16			/* 64 KiB, the most that a kernel takes */
#define NSFEAT_THIN 0x1u
#define NSFEAT_ATOMICS 0x2u		/* the namespace has atomic units of its own */
#define NSFEAT_DEALLOCATED_ERROR 0x4u
#define FLBAS_INLINE 0x10u
#define DPS_TYPE 0x7u
#define DLFEAT_READS 0x7u
#define RESCAP_ANY 0x7eu		/* some type of reservation */
#define NSATTR_WRITE_PROTECTED 0x1u
#define FNA_ALL 0x1u
#define FEATURE_WRITE_CACHE_ON 0x1u
#define FEATURE_DULBE 0x10000u
#define ELBAF_PIF(elbaf) ((elbaf) >> 7 & 3)
#define CONTROLLER_LIST_MAX 2047u
#define NIDT_EUI64 1
#define NIDT_NGUID 2
#define NIDT_UUID 3
#define NIDT_COMMAND_SET 4
#define RCSTS_HOLDS 0x1u

/* ---- the namespace ---- */

static int read_formats(struct gw_nvme_facts *facts, const struct nvme_id_ns *ns)
{
	const uint32_t count = ns->nlbaf + 1u + ns->nulbaf;
	uint32_t index = ns->flbas & 0xf;

	if (count > GW_NVME_FORMATS_MAX)
		return -EPROTO;
	/* The upper bits count only where there are formats for them. */
	if (count > 16)
		index |= (uint32_t)(ns->flbas >> 5 & 3) << 4;
	if (index >= count)
		return -EPROTO;
	for (uint32_t i = 0; i < count; i++) {
		const struct nvme_lba_format *const from = &ns->lbaf[i];

		if (from->lbads < LBADS_MIN || from->lbads > LBADS_MAX)
			continue;
		facts->formats[i].lba_bytes = UINT32_C(1) << from->lbads;
		facts->formats[i].metadata_bytes = from->ms;
	}
	facts->format_count = count;
	facts->format_index = index;
	facts->format = facts->formats[index];
	return facts->format.lba_bytes != 0 ? 0 : -EPROTO;
}

static int read_protection(struct gw_nvme_facts *facts, const struct nvme_id_ns *ns,
			   const struct nvme_id_ns_nvm *nvm)
{
	facts->metadata_is_inline = facts->format.metadata_bytes > 0 &&
				    (ns->flbas & FLBAS_INLINE) != 0;
	facts->protection = ns->dps & DPS_TYPE;
	if (facts->protection == 0)
		return 0;
	/* A guard of 16 bits takes 8 bytes with its tags, the longer ones 16. */
	facts->protection_bytes =
		nvm != NULL && ELBAF_PIF(nvm->elbaf[facts->format_index]) != 0 ? 16 : 8;
	return facts->protection <= 3 &&
	       facts->format.metadata_bytes >= facts->protection_bytes ? 0 : -EPROTO;
}

static void read_atomics(struct gw_nvme_facts *facts, const struct nvme_id_ns *ns,
			 const struct nvme_id_ctrl *ctrl)
{
	/* All of them are 0-based; a boundary of 0 is none. */
	facts->atomic_blk = ctrl->awupf + 1u;
	if ((ns->nsfeat & NSFEAT_ATOMICS) == 0)
		return;
	facts->atomic_blk = ns->nawupf + 1u;
	if (ns->nabspf != 0)
		facts->atomic_boundary_blk = ns->nabspf + 1u;
}

static int read_namespace(struct gw_nvme_facts *facts, const struct gw_nvme_answers *answers,
			  const struct nvme_id_ctrl *ctrl)
{
	struct nvme_id_ns ns;
	struct nvme_id_ns_nvm nvm;
	int err;

	memcpy(&ns, answers->namespace, sizeof(ns));
	memcpy(&nvm, answers->nvm_namespace, sizeof(nvm));
	/* An inactive namespace is all zeroes. */
	if (ns.nsze == 0 || ns.ncap > ns.nsze)
		return -EPROTO;
	err = read_formats(facts, &ns);
	if (err == 0)
		err = read_protection(facts, &ns, (answers->has & GW_NVME_HAS_NVM_NAMESPACE) != 0 ?
				      &nvm : NULL);
	if (err < 0 || ns.nsze > UINT64_MAX / facts->format.lba_bytes)
		return -EPROTO;
	facts->size_blk = ns.nsze;
	facts->capacity_blk = ns.ncap;
	facts->used_blk = ns.nuse < ns.nsze ? ns.nuse : ns.nsze;
	facts->is_thin = (ns.nsfeat & NSFEAT_THIN) != 0;
	facts->is_shared = (ns.nmic & NVME_NMIC_SHARED) != 0;
	facts->is_write_protected = (ns.nsattr & NSATTR_WRITE_PROTECTED) != 0;
	facts->fails_deallocated = (ns.nsfeat & NSFEAT_DEALLOCATED_ERROR) != 0 &&
				   (answers->has & GW_NVME_HAS_ERROR_RECOVERY) != 0 &&
				   (answers->error_recovery & FEATURE_DULBE) != 0;
	facts->deallocated = (ns.dlfeat & DLFEAT_READS) == 1 ? GW_NVME_DEALLOCATED_ZEROES :
			     (ns.dlfeat & DLFEAT_READS) == 2 ? GW_NVME_DEALLOCATED_ONES :
							       GW_NVME_DEALLOCATED_ANYTHING;
	facts->can_reserve = (ns.rescap & RESCAP_ANY) != 0;
	read_atomics(facts, &ns, ctrl);
	memcpy(facts->nguid, ns.nguid, sizeof(facts->nguid));
	memcpy(facts->eui64, ns.eui64, sizeof(facts->eui64));
	if ((answers->has & GW_NVME_HAS_NVM_NAMESPACE) != 0)
		facts->allocation_unit_blk = nvm.tlbaag;
	return 0;
}

/* A list of (type, length, value), which ends with a length of 0 or with the structure (5.1.13.2.4). */
static int read_descriptors(struct gw_nvme_facts *facts, const uint8_t *list)
{
	uint32_t at = 0;

	while (at + 4 <= NVME_IDENTIFY_BYTES && list[at + 1] != 0) {
		const uint8_t type = list[at], length = list[at + 1];
		const uint8_t *const value = list + at + 4;

		if (length > NVME_IDENTIFY_BYTES - at - 4)
			return -EPROTO;
		if (type == NIDT_EUI64 && length == sizeof(facts->eui64))
			memcpy(facts->eui64, value, length);
		else if (type == NIDT_NGUID && length == sizeof(facts->nguid))
			memcpy(facts->nguid, value, length);
		else if (type == NIDT_UUID && length == sizeof(facts->uuid))
			memcpy(facts->uuid, value, length);
		else if (type == NIDT_COMMAND_SET && length == 1)
			facts->command_set = *value;
		facts->knows_command_set |= type == NIDT_COMMAND_SET;
		at += 4u + length;
	}
	return 0;
}

/* ---- who can reach it ---- */

static bool is_ours(const struct gw_nvme_answers *answers, uint16_t cntlid)
{
	for (uint32_t i = 0; i < answers->ours_count && i < GW_NVME_OURS_MAX; i++)
		if (answers->ours[i] == cntlid)
			return true;
	return false;
}

static uint16_t u16_at(const uint8_t *bytes, uint32_t at)
{
	return (uint16_t)(bytes[at] | bytes[at + 1] << 8);
}

static int read_attached(struct gw_nvme_facts *facts, const struct gw_nvme_answers *answers)
{
	const uint32_t count = u16_at(answers->attached, 0);

	if (count > CONTROLLER_LIST_MAX)
		return -EPROTO;
	facts->knows_attached = true;
	facts->attached_count = count;
	for (uint32_t i = 1; i <= count; i++) {
		const uint16_t cntlid = u16_at(answers->attached, 2 * i);

		if (is_ours(answers, cntlid))
			continue;
		facts->foreign_count++;
		facts->foreign_cntlid = cntlid;
	}
	return 0;
}

/* 7.7: a header of 24 bytes, 64 in the extended form, then an entry of as many for each registrant. */
static int read_reservations(struct gw_nvme_facts *facts, const struct gw_nvme_answers *answers)
{
	const uint32_t unit = (answers->has & GW_NVME_HAS_LONG_RESERVATIONS) != 0 ? 64 : 24;
	const uint8_t *const report = answers->reservations;
	const uint32_t count = u16_at(report, 5);

	if (report[4] > 6)
		return -EPROTO;
	facts->knows_reservations = true;
	facts->reservation = report[4];
	facts->registrants = count;
	for (uint32_t i = 0; i < count; i++) {
		const uint32_t at = unit * (i + 1);

		/* Those that did not fit are somebody's. */
		if (at + unit > GW_NVME_RESERVATION_BYTES) {
			facts->foreign_registrants += count - i;
			break;
		}
		if (!is_ours(answers, u16_at(report, at)))
			facts->foreign_registrants++;
		else if ((report[at + 2] & RCSTS_HOLDS) != 0)
			facts->is_holder = true;
	}
	return 0;
}

/* ---- the controller ---- */

/* Text is padded with blanks, has no NUL, and may be anything. */
static void read_text(char *out, const char *field, size_t bytes)
{
	size_t length = bytes;

	while (length > 0 && (field[length - 1] == ' ' || field[length - 1] == '\0'))
		length--;
	for (size_t i = 0; i < length; i++)
		out[i] = field[i] >= ' ' && field[i] <= '~' ? field[i] : '?';
	out[length] = '\0';
}

static void read_controller(struct gw_nvme_facts *facts, const struct gw_nvme_answers *answers,
			    const struct nvme_id_ctrl *ctrl)
{
	read_text(facts->serial, ctrl->sn, sizeof(ctrl->sn));
	read_text(facts->model, ctrl->mn, sizeof(ctrl->mn));
	read_text(facts->firmware, ctrl->fr, sizeof(ctrl->fr));
	facts->has_controllers = (ctrl->cmic & NVME_CMIC_CONTROLLERS) != 0;
	facts->mdts = ctrl->mdts;
	facts->can_format = (ctrl->oacs & NVME_OACS_FORMAT) != 0;
	facts->formats_all = (ctrl->fna & FNA_ALL) != 0;
	facts->can_deallocate = (ctrl->oncs & NVME_ONCS_DSM) != 0;
	facts->can_write_zeroes = (ctrl->oncs & NVME_ONCS_WRITE_ZEROES) != 0;
	facts->has_write_cache = (ctrl->vwc & NVME_VWC_PRESENT) != 0;
	facts->knows_write_cache = facts->has_write_cache &&
				   (answers->has & GW_NVME_HAS_WRITE_CACHE) != 0;
	facts->write_cache_is_on = facts->knows_write_cache &&
				   (answers->write_cache & FEATURE_WRITE_CACHE_ON) != 0;
	facts->warning_k = ctrl->wctemp;
	facts->critical_k = ctrl->cctemp;
	if ((answers->has & GW_NVME_HAS_NVM_CONTROLLER) != 0) {
		struct nvme_id_ctrl_nvm nvm;

		memcpy(&nvm, answers->nvm_controller, sizeof(nvm));
		facts->tells_allocation = (nvm.aocs & NVME_AOCS_RALBAS) != 0;
	}
}

static void read_health(struct gw_nvme_facts *facts, const uint8_t *log)
{
	struct nvme_log_smart smart;

	memcpy(&smart, log, sizeof(smart));
	facts->knows_health = true;
	facts->critical_warning = smart.critical_warning;
	facts->spare_percent = smart.available_spare;
	facts->spare_threshold_percent = smart.spare_threshold;
	facts->used_percent = smart.percentage_used;
	facts->temperature_k = u16_at(smart.temperature, 0);
}

int gw_nvme_read_facts(struct gw_nvme_facts *facts, const struct gw_nvme_answers *answers)
{
	const uint32_t least = GW_NVME_HAS_NAMESPACE | GW_NVME_HAS_CONTROLLER;
	struct nvme_id_ctrl ctrl;
	int err;

	memset(facts, 0, sizeof(*facts));
	if ((answers->has & least) != least)
		return -ENODATA;
	memcpy(&ctrl, answers->controller, sizeof(ctrl));
	read_controller(facts, answers, &ctrl);
	err = read_namespace(facts, answers, &ctrl);
	if (err == 0 && (answers->has & GW_NVME_HAS_DESCRIPTORS) != 0)
		err = read_descriptors(facts, answers->descriptors);
	if (err == 0 && (answers->has & GW_NVME_HAS_ATTACHED) != 0)
		err = read_attached(facts, answers);
	if (err == 0 && (answers->has & GW_NVME_HAS_RESERVATIONS) != 0)
		err = read_reservations(facts, answers);
	if ((answers->has & GW_NVME_HAS_SMART) != 0)
		read_health(facts, answers->smart);
	/* Bits 6:4 of byte 0: the slot of the next reset. */
	if ((answers->has & GW_NVME_HAS_FIRMWARE) != 0)
		facts->firmware_next = answers->firmware[0] >> 4 & 7;
	if (err < 0)
		memset(facts, 0, sizeof(*facts));
	return err;
}

bool gw_nvme_is_reserved_for_us(const struct gw_nvme_facts *facts)
{
	/* 1 and 2 are the holder's alone; from 3 on every registrant may write. */
	return facts->knows_reservations && facts->reservation != 0 && facts->is_holder &&
	       (facts->reservation <= 2 || facts->foreign_registrants == 0);
}

static bool is_same_id(const uint8_t *a, const uint8_t *b, size_t bytes)
{
	static const uint8_t none[16];

	return memcmp(a, none, bytes) != 0 && memcmp(a, b, bytes) == 0;
}

bool gw_nvme_is_one_namespace(const struct gw_nvme_facts *a, const struct gw_nvme_facts *b)
{
	/* There are drives whose every copy has the same identifier; serial numbers differ even there. */
	return strcmp(a->serial, b->serial) == 0 &&
	       (is_same_id(a->nguid, b->nguid, sizeof(a->nguid)) ||
		is_same_id(a->eui64, b->eui64, sizeof(a->eui64)) ||
		is_same_id(a->uuid, b->uuid, sizeof(a->uuid)));
}

int gw_nvme_find_format(const struct gw_nvme_facts *facts, uint32_t lba_bytes,
			uint16_t metadata_bytes)
{
	for (uint32_t i = 0; i < facts->format_count; i++)
		if (facts->formats[i].lba_bytes == lba_bytes &&
		    facts->formats[i].metadata_bytes == metadata_bytes)
			return (int)i;
	return -1;
}

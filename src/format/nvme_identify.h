/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What a drive says of itself and of a namespace: Identify, log pages, features, the reservation
 * report. Bytes in, plain values out; pure. A drive's word is checked before it is used: counts
 * and indexes that cannot be are refused, and what it did not answer is not known.
 */
#ifndef GW_NVME_IDENTIFY_H
#define GW_NVME_IDENTIFY_H

#include <stdbool.h>
#include <stdint.h>

#include <godwit/nvme_abi.h>

enum gw_nvme_answer {
	GW_NVME_HAS_NAMESPACE = 0x1,		/* Identify 00h; without these two nothing is known */
	GW_NVME_HAS_CONTROLLER = 0x2,		/* 01h */
	GW_NVME_HAS_DESCRIPTORS = 0x4,		/* 03h */
	GW_NVME_HAS_NVM_NAMESPACE = 0x8,	/* 05h, NVM command set */
	GW_NVME_HAS_NVM_CONTROLLER = 0x10,	/* 06h, NVM command set */
	GW_NVME_HAS_ATTACHED = 0x20,		/* 12h */
	GW_NVME_HAS_SMART = 0x40,		/* log 02h */
	GW_NVME_HAS_FIRMWARE = 0x80,		/* log 03h */
	GW_NVME_HAS_WRITE_CACHE = 0x100,	/* feature 06h */
	GW_NVME_HAS_ERROR_RECOVERY = 0x200,	/* feature 05h */
	GW_NVME_HAS_RESERVATIONS = 0x400,	/* Reservation Report */
	GW_NVME_HAS_LONG_RESERVATIONS = 0x800,	/* and its extended form */
};

#define GW_NVME_RESERVATION_BYTES 4096u
#define GW_NVME_OURS_MAX 8u

/* The answers as they came. */
struct gw_nvme_answers {
	uint32_t has;				/* of enum gw_nvme_answer */
	uint32_t write_cache, error_recovery;	/* dword 0 of the completion */
	uint32_t ours_count;			/* controllers through which this host reaches it */
	uint16_t ours[GW_NVME_OURS_MAX];	/* their CNTLIDs */
	uint8_t namespace[NVME_IDENTIFY_BYTES], controller[NVME_IDENTIFY_BYTES];
	uint8_t descriptors[NVME_IDENTIFY_BYTES];
	uint8_t nvm_namespace[NVME_IDENTIFY_BYTES], nvm_controller[NVME_IDENTIFY_BYTES];
	uint8_t attached[NVME_IDENTIFY_BYTES];
	uint8_t reservations[GW_NVME_RESERVATION_BYTES];
	uint8_t smart[512], firmware[512];
};

#define GW_NVME_FORMATS_MAX 64u

struct gw_nvme_format {
	uint32_t lba_bytes;			/* 0: not to be used */
	uint16_t metadata_bytes;
};

enum gw_nvme_deallocated {
	GW_NVME_DEALLOCATED_ANYTHING,		/* the drive does not say */
	GW_NVME_DEALLOCATED_ZEROES,
	GW_NVME_DEALLOCATED_ONES,
};

struct gw_nvme_facts {
	/* The namespace. */
	uint64_t size_blk, capacity_blk, used_blk;
	struct gw_nvme_format formats[GW_NVME_FORMATS_MAX];
	uint32_t format_count, format_index;	/* index < count */
	struct gw_nvme_format format;		/* that one; lba_bytes is not 0 */
	bool metadata_is_inline;		/* at the end of each block's data, not in a buffer of its own */
	uint8_t protection;			/* type 1 to 3; 0: none */
	uint8_t protection_bytes;		/* of the metadata that it takes; 0 without protection */
	bool is_thin;
	bool is_write_protected;
	bool fails_deallocated;			/* reads of deallocated blocks fail (DULBE) */
	enum gw_nvme_deallocated deallocated;
	uint32_t atomic_blk;			/* written as a whole or not at all, power fails included */
	uint32_t atomic_boundary_blk;		/* unless it crosses a multiple of this; 0: no boundary */
	bool knows_command_set;
	uint8_t command_set;			/* CSI: 0 NVM, 1 key value, 2 zoned */
	uint8_t nguid[16], eui64[8], uuid[16];	/* zeroes: none */
	bool tells_allocation;			/* Get LBA Status 02h */
	uint32_t allocation_unit_blk;		/* 0: the drive does not say */
	/* Who can reach it. */
	bool is_shared;				/* may be attached to several controllers */
	bool knows_attached;
	uint32_t attached_count, foreign_count;	/* foreign: not this host's */
	uint16_t foreign_cntlid;		/* one of them */
	bool can_reserve, knows_reservations;
	uint8_t reservation;			/* type 1 to 6; 0: none is held */
	uint32_t registrants, foreign_registrants;
	bool is_holder;				/* one of our controllers holds it */
	/* The controller. */
	char serial[21], model[41], firmware[9];
	uint8_t firmware_next;			/* slot that a reset activates; 0: none, or not known */
	bool has_controllers;			/* the subsystem may have others */
	uint8_t mdts;				/* 2^n pages a command; 0: no limit */
	bool can_format, formats_all;		/* and then each namespace of the drive */
	bool can_deallocate, can_write_zeroes;
	bool has_write_cache;
	bool knows_write_cache, write_cache_is_on;
	bool knows_health;
	uint8_t critical_warning;		/* GW_NVME_WARNS_... */
	uint8_t spare_percent, spare_threshold_percent, used_percent;
	uint16_t temperature_k, warning_k, critical_k;	/* 0: not reported */
};

#define GW_NVME_WARNS_SPARE 0x1u
#define GW_NVME_WARNS_TEMPERATURE 0x2u
#define GW_NVME_WARNS_RELIABILITY 0x4u
#define GW_NVME_WARNS_READ_ONLY 0x8u
#define GW_NVME_WARNS_BACKUP 0x10u		/* of the volatile memory */
#define GW_NVME_WARNS_PERSISTENT_MEMORY 0x20u

/*
 * Return: 0; -ENODATA if the drive did not identify namespace and controller; -EPROTO if what it
 * says cannot be. *facts is zeroed then.
 */
int gw_nvme_read_facts(struct gw_nvme_facts *facts, const struct gw_nvme_answers *answers);

/* Does the reservation keep every other host from writing? */
bool gw_nvme_is_reserved_for_us(const struct gw_nvme_facts *facts);

/* Are both one namespace, by an identifier that is meant to be unique? */
bool gw_nvme_is_one_namespace(const struct gw_nvme_facts *a, const struct gw_nvme_facts *b);

/* Return: index of a format with such blocks, or -1. */
int gw_nvme_find_format(const struct gw_nvme_facts *facts, uint32_t lba_bytes,
			uint16_t metadata_bytes);

#endif

/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What a subsystem says of itself and can do: identity, limits, optional features. From presets,
 * KEY=VALUE of the command line and small files; see docs/godwit-ssd.md for the keys.
 */
#ifndef GW_SSD_CONFIG_H
#define GW_SSD_CONFIG_H

#include <stdbool.h>
#include <stdint.h>

#include "err.h"

#define GW_SSD_QUEUES_MAX 32u		/* I/O queue pairs of a controller */
#define GW_SSD_VECTORS (GW_SSD_QUEUES_MAX + 1)
#define GW_SSD_MQES 1023u		/* 0-based */
#define GW_SSD_PAGE_BYTES 4096u		/* CC.MPS 0 is all there is */
#define GW_SSD_MDTS 8u			/* 2^8 pages: 1 MiB */
#define GW_SSD_XFER_BYTES_MAX (GW_SSD_PAGE_BYTES << GW_SSD_MDTS)
#define GW_SSD_CMB_BYTES_MAX (UINT64_C(16) << 20)
#define GW_SSD_AERS_MAX 8u
#define GW_SSD_NAMESPACES_MAX 32u
#define GW_SSD_CONTROLLERS_MAX 16u
#define GW_SSD_ERRORS_MAX 64u		/* entries of the error log */
#define GW_SSD_COPY_RANGES_MAX 128u
#define GW_SSD_COPY_BLOCKS_MAX 0xffffu
#define GW_SSD_ATOMIC_BLOCKS_MAX 256u
#define GW_SSD_CDQS_MAX 8u
#define GW_SSD_TRACK_RANGES_MAX 128u
#define GW_SSD_LOG_WINDOW_MAX 32u

/* The limits of live migration that Identify names (8.1 of the dossier; Base 8.1.12). */
struct gw_lm_limits {
	uint16_t cdqs, cdqs_subsystem;		/* MCUDMQ, MNSUDMQ */
	uint16_t pages_max;			/* MCDQPC; 0: not reported */
	uint16_t ranges_max, ranges_subsystem;	/* MCMR, NMCMR; 0: not reported */
	uint16_t track_ranges, track_ranges_subsystem;	/* CMMRTD, NMMRTD */
	uint8_t granularity_min, granularity_max;	/* MINMRTG, MAXMRTG */
};

/* Where the specification leaves it open, or says two things: what a host has to live with. */
struct gw_lm_choices {
	bool has_first_range;		/* the first entry of a log carries a range, if there is one */
	bool has_last_whole;		/* the last one names the whole namespace */
	bool is_late;			/* entries come when their command is completed */
	uint32_t window;		/* ranges that are held back, to be joined or put in order; 1 or more */
	bool is_newest_first;		/* that order */
	bool is_start_taken;		/* of a log whose queue is full; its first entry waits */
	bool is_limit_invalid;		/* one queue too many: Invalid Field */
	bool is_suspended_only;		/* who is to take a state */
};

/* None is above the constant that it stands for, and so no array is too short. */
struct gw_ssd_limits {
	uint32_t io_queues, vectors, queue_entries, events, errors, namespaces;
	uint32_t copy_ranges, copy_blocks, atomic_blocks;
	uint64_t xfer_bytes;			/* a power of two */
};

/* A namespace that the configuration names; zeroes are made up where it is new. */
struct gw_ssd_ns_config {
	bool is_there;
	uint64_t bytes;
	uint8_t lbads;				/* 0: as the subsystem has it */
	uint8_t nguid[16], eui64[8], uuid[16];
};

struct gw_ssd_config {
	char serial[21], model[41], firmware[9], nqn[224];
	uint16_t pci_vendor, pci_device;
	uint32_t oui;
	uint32_t version;		/* register VS */
	uint64_t namespace_bytes;	/* of the first one, where there is none yet */
	uint64_t capacity_bytes;
	uint64_t cache_bytes;		/* of each namespace */
	uint64_t cmb_bytes;		/* of each controller; a power of two, or 0 */
	uint8_t lbads;
	uint16_t oncs, oacs, fuses;	/* as in Identify: what there is of the optional commands */
	uint32_t sanicap;
	bool has_migration;		/* the first controllers manage migrations */
	uint32_t managers;		/* so many of them, if so */
	bool is_merging;		/* neighbouring changes become one entry of the log */
	uint8_t trattr;
	uint32_t unit_blocks;		/* TLBAAG */
	struct gw_lm_limits lm;
	struct gw_lm_choices choice;
	struct gw_ssd_limits limits;
	uint16_t cntlid[GW_SSD_CONTROLLERS_MAX];	/* 0: one more than the one before */
	struct gw_ssd_ns_config ns[GW_SSD_NAMESPACES_MAX];	/* by NSID - 1 */
	char record[256];		/* a file for all changes, or empty */
	uint8_t number;			/* of the subsystem in its process, from 1 */
	bool is_begun, has_unit;	/* a key was set; unit= was */
};

void gw_ssd_config_init(struct gw_ssd_config *config);
/* One key of the subsystem. Return: 0 or negative errno, said in diag with what to write instead. */
int gw_ssd_config_set(struct gw_ssd_config *config, const char *key, const char *value,
		      struct gw_diag *diag);
/* As gw_ssd_config_set() for all lines of a file; diag names the line. */
int gw_ssd_config_read(struct gw_ssd_config *config, const char *path, struct gw_diag *diag);
/* The controller that is the index-th of its subsystem. */
uint16_t gw_ssd_config_cntlid(const struct gw_ssd_config *config, uint32_t index);
/* Optional commands that are switched off are as unknown as any other. */
bool gw_ssd_config_has(const struct gw_ssd_config *config, bool is_admin, uint8_t opcode);

#endif

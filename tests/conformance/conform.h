/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The conformance suite for host managed live migration: items HMLM-001 and on, each one a
 * statement about a drive, and a function that finds out. An item sees the drive as hosts do:
 * clients on functions, each with registers, memory for DMA and interrupts. What is behind them
 * is the transport's affair.
 */
#ifndef GW_CONFORM_H
#define GW_CONFORM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <godwit/nvme_abi.h>

#include "ssd_client.h"

/* ---- The drive ------------------------------------------------------------------------------------- */

/* What an item needs a drive to be; one that cannot be so leaves the item out. */
enum cf_kind {
	CF_USUAL,   /* one manager, two migratable controllers, one namespace of 512-byte blocks */
	CF_MERGING, /* joins neighbouring changes in the log */
	CF_TWO_MANAGERS,  /* and one migratable controller, which is b */
	CF_ONE_QUEUE,	  /* MCUDMQ is 1 */
	CF_FEW_RANGES,	  /* MCMR is 2 */
	CF_POWER_OF_TWO,  /* TRATTR.MRTLL */
	CF_NO_ALLOCATION, /* RALBAS is 0 */
	CF_NO_TRACKING,	  /* TUDCS and THMCS are 0 */
	CF_CMB,		  /* a controller memory buffer (CAP.CMBS) */
	CF_KINDS,
};

struct cf_drive {
	struct gw_client *m, *a,
		*b; /* the manager; what is migrated (a manager too: CF_TWO_MANAGERS) */
	uint16_t cntlid_m, cntlid_a, cntlid_b;
	uint64_t blocks; /* of namespace 1 */
};

struct cf_transport {
	const char *name;
	/* Return: false: it has no such drive. */
	bool (*open)(struct cf_drive *drive, enum cf_kind kind);
	void (*close)(void);
};

extern const struct cf_transport cf_in_process, cf_over_vfio_user;

/* ---- An item ----------------------------------------------------------------------------------------- */

struct cf {
	struct cf_drive drive;
	uint32_t dw0, dw1; /* of the last command's completion */
	char got[400];	   /* all that was found, in words */
	bool is_failed;
};

struct cf_item {
	uint16_t number;
	enum cf_kind kind;
	const char *statement;	   /* what is expected */
	void (*run)(struct cf *t); /* NULL: not shown here, */
	const char *reason;	   /* because of this */
};

struct cf_chapter {
	const struct cf_item *items;
	size_t count;
};

extern const struct cf_chapter cf_advertised, cf_queues, cf_log, cf_suspend, cf_state, cf_memory,
	cf_allocation, cf_hosts;

/* Adds to what was found. */
void cf_note(struct cf *t, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* The status of a command, as it was and as it should be: cf_status(t, "again", got, wanted). */
void cf_status(struct cf *t, const char *what, uint16_t got, uint16_t wanted);
/* One of two. */
void cf_status_of(struct cf *t, const char *what, uint16_t got, uint16_t wanted,
		  uint16_t or_wanted);
/* Any error. */
void cf_refused(struct cf *t, const char *what, uint16_t got);
/* A number that was found. */
void cf_equal(struct cf *t, const char *what, uint64_t got, uint64_t wanted);
void cf_true(struct cf *t, const char *what, bool is_so);

/* ---- Commands of a manager ------------------------------------------------------------------------------ */

#define CF_BUFFER   GW_CLIENT_BUFFER /* data of commands: 1 MiB and a page */
#define CF_RING	    (GW_CLIENT_BUFFER + (UINT64_C(2) << 20)) /* queues: a MiB for each */
#define CF_SOON_MS  30000 /* what must come is waited for so long */
#define CF_NEVER_MS 50	 /* what must not come is waited for so long */

uint16_t cf_admin(struct cf *t, uint8_t opcode, uint32_t cdw10, uint32_t cdw11, uint32_t cdw12,
		  uint32_t cdw13, uint32_t cdw15, uint64_t bytes);
/* On any controller, any queue. */
uint16_t cf_execute(struct cf *t, struct gw_client *on, uint16_t qid, struct gw_nvme_sqe *sqe,
		    uint64_t bytes);
/* A queue for cntlid, contiguous, at that offset; t->dw0 is its number. */
uint16_t cf_create(struct cf *t, uint16_t cntlid, uint32_t slots, uint64_t offset);
uint16_t cf_create_on(struct cf *t, struct gw_client *m, uint16_t cntlid, uint32_t slots,
		      uint64_t offset);
uint16_t cf_delete(struct cf *t, uint32_t cdq);
uint16_t cf_track(struct cf *t, uint32_t cdq, bool is_start);
uint16_t cf_set_head(struct cf *t, uint32_t cdq, uint32_t head);
uint16_t cf_arm(struct cf *t, uint32_t cdq, uint32_t head, uint32_t trigger);
uint16_t cf_get_head(struct cf *t, uint32_t cdq); /* 512 bytes at CF_BUFFER */
uint16_t cf_suspend_controller(struct cf *t, uint16_t cntlid);
uint16_t cf_resume(struct cf *t, uint16_t cntlid);
uint16_t cf_get_state(struct cf *t, uint16_t cntlid, uint8_t version, uint8_t uuid, uint32_t offset,
		      uint32_t bytes);
uint16_t cf_set_state(struct cf *t, uint16_t cntlid, uint32_t sequence, uint8_t version,
		      uint8_t uuid, uint32_t offset, uint32_t bytes);
uint32_t cf_state_bytes(const void *state); /* of the whole container */

uint16_t cf_write(struct gw_client *on, uint64_t slba, uint32_t blocks);
uint16_t cf_io(struct gw_client *on, uint8_t opcode, uint64_t slba, uint32_t blocks,
	       uint64_t bytes);
uint16_t cf_deallocate(struct gw_client *on, uint64_t slba, uint32_t blocks);
/* A controller level reset, and the queues anew. */
void cf_reset(struct gw_client *on);

/* ---- The log, as a host reads it --------------------------------------------------------------------------- */

struct cf_reader {
	struct cf *t;
	struct gw_client *host;
	uint64_t offset;
	uint32_t slots, head, cdq;
	bool phase;
	uint8_t broken; /* a rule of the entry's fields did not hold: HMLM-043 */
};

/* A queue for drive.a, with logging on. */
struct cf_reader cf_log_of_a(struct cf *t, uint32_t slots);
struct cf_reader cf_reader_of(struct cf *t, uint32_t slots, uint64_t offset, uint32_t cdq);
/* The next entry; false: none came in that time. */
bool cf_next(struct cf_reader *r, struct nvme_lba_change *entry, int timeout_ms);
/* The next one says so: its place in the sequence (ESA) is noted and compared. */
void cf_sequence(struct cf_reader *r, const char *what, uint32_t wanted);
void cf_nothing(struct cf_reader *r, const char *what);
/*
 * Everything up to an entry with that ESA, waited for: the union of the ranges of nsid 1, into a
 * bit for each of the first count blocks (deallocated: those told so). Heads are given back.
 * Return: false: it did not come.
 */
bool cf_collect(struct cf_reader *r, uint32_t until, uint8_t *changed, uint8_t *deallocated,
		uint64_t count);
bool cf_all_set(const uint8_t *bits, uint64_t first, uint64_t count);
bool cf_none_set(const uint8_t *bits, uint64_t first, uint64_t count);

#endif

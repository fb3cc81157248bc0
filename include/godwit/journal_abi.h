/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The journal's layout, byte by byte. Little-endian. See docs/journal.md. */
#ifndef GW_JOURNAL_ABI_H
#define GW_JOURNAL_ABI_H

#include <stdint.h>

#define GW_RECORD_MAGIC UINT32_C(0x4a525747)	/* "GWRJ" in the file */
#define GW_RECORD_VERSION 1
#define GW_RECORD_PAYLOAD_BYTES_MAX (UINT32_C(64) << 10)

/*
 * On disk: header, payload (one JSON object), zero padding to a multiple of 8.
 * Appended whole by one write; never changed afterwards.
 */
struct gw_record_header {
	uint32_t magic;
	uint16_t version;
	uint16_t type;
	uint32_t payload_bytes;
	uint32_t reserved;		/* 0 */
	uint64_t seq;
	uint64_t wall_ns;
	uint64_t xxh3;			/* XXH3-64 of the header with this field 0, then the payload */
};
_Static_assert(sizeof(struct gw_record_header) == 40, "layout of the journal");

enum gw_record_type {
	GW_RECORD_STARTED = 1,		/* who, what, settings, identities, geometry: enough to continue */
	GW_RECORD_CONTINUED = 2,	/* a new process took over: how, what had to be copied again */
	GW_RECORD_ROUND = 3,		/* end of a round, with its bytes, rates, predictions */
	GW_RECORD_SETTLED = 4,		/* a batch became durable on the target */
	GW_RECORD_NOTE = 5,		/* a decision or a warning in one sentence */
	GW_RECORD_SUSPECT = 6,		/* track was lost: everything marked, and why */
	GW_RECORD_QUIESCING = 7,	/* written before anything is frozen: provider, mounts */
	GW_RECORD_COMMIT = 8,		/* the target is consistent; only it may run from here on */
	GW_RECORD_SWITCHED = 9,		/* after it: source shut down, user's switch command done */
	GW_RECORD_RESUMED = 10,		/* source runs again (no commit), or the target does (after one) */
	GW_RECORD_VERIFIED = 11,	/* read back against the digests: bytes, result */
	GW_RECORD_ENDED = 12,		/* exit code, reason, totals, blackout by phase */
	GW_RECORD_CLEANED = 13,		/* by `godwit cleanup` */
	GW_RECORD_TRACKING = 14,	/* tracking runs and pending holds all that is allocated */
	GW_RECORD_REQUEST = 15,		/* somebody asked for a change over the control socket: who, what, outcome */
	GW_RECORD_THROTTLED = 16,	/* before a cgroup's write limit is changed: from, to, why; after it was restored */
	GW_RECORD_LATENCY = 17,		/* what the workload's I/O took in a stretch: before, base, rounds, ... */
	GW_RECORD_EVENT = 18,		/* in an event log only: what happened to an NVMe controller */
};

#endif

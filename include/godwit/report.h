/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What happened, as plain data, read from a journal. Rendered by tools/godwit. */
#ifndef GODWIT_REPORT_H
#define GODWIT_REPORT_H

#include <stdbool.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define GW_REPORT_ROUNDS_MAX 1024	/* later ones are counted, not listed */
#define GW_REPORT_MESSAGES_MAX 256
#define GW_REPORT_LATENCIES_MAX 64
#define GW_REPORT_HOT_MAX 8

struct gw_report_round {
	uint32_t round;			/* 1 is the base pass */
	bool is_final;			/* inside the blackout */
	uint64_t elapsed_ns;
	uint64_t pending_bytes;		/* to copy when it began */
	uint64_t held_bytes;		/* hot, and held back from it */
	uint64_t copied_bytes;		/* read from the source */
	uint64_t written_bytes, zeroed_bytes;
	uint64_t skipped_bytes;		/* known zero or same: not written */
	uint64_t dirty_after_bytes;	/* marked meanwhile */
	uint64_t copy_bytes_per_s, dirty_bytes_per_s;
	uint64_t predicted_blackout_ns;
};

/* A stretch of the source in which blocks were dirtied again and again. */
struct gw_report_hot {
	uint64_t first_lba;		/* of 512 bytes, from the source's start */
	uint64_t bytes;
	uint64_t again_bytes;		/* dirtied again, at that often; a lower bound */
};

/* Phases of the blackout, ns; their sum is total (parts in nobody's phase go to other). */
struct gw_report_blackout {
	bool happened;
	uint64_t predicted_ns, total_ns;
	uint64_t early_sync_ns;		/* before the blackout, for comparison */
	uint64_t quiesce_ns, drain_ns, copy_ns, flush_ns, verify_ns, commit_ns, switch_ns, user_ns, other_ns;
};

/* Throttled writers: what it took to converge. */
struct gw_report_throttle {
	bool happened;
	bool restored;			/* the former limit is back, or somebody else's is in force */
	char cgroup[4096];
	uint32_t steps;
	uint64_t throttled_ns;		/* 0 also where a process died throttling */
	uint64_t former_bytes_per_s;	/* 0: there was no limit */
	uint64_t lowest_bytes_per_s;
	uint64_t write_before_bytes_per_s, write_after_bytes_per_s;	/* the writers' rate */
};

/* 0 everywhere if there was no I/O. Exact to 3 %. */
struct gw_report_times {
	uint64_t count;
	uint64_t p50_ns, p99_ns, p999_ns, max_ns;
};

/* How long the workload's I/O took in a stretch; a process that took over tells its own. */
struct gw_report_latency {
	char stretch[16];		/* before, base, rounds, blackout, after; during: base to blackout */
	uint64_t elapsed_ns;
	struct gw_report_times read, write;
};

struct gw_report_message {
	uint64_t wall_ns;
	const char *kind;		/* record type name */
	const char *text;
};

struct gw_report {
	char name[128];
	char source[4096], target[4096];
	char source_id[128], target_id[128];
	char track[16], handoff[16], verify[16];
	char version[32];
	char guard[32];			/* the limit of the workload's latency as it was asked for; "" if none */
	uint64_t size_bytes;
	uint32_t grain_bytes, buffers;
	uint64_t memory_bytes;
	uint64_t started_wall_ns, ended_wall_ns;
	uint64_t elapsed_ns;
	uint64_t downtime_limit_ns, bandwidth_bytes_per_s;
	bool ended, committed;
	int exit_code;			/* -1 while it runs (or died) */
	char reason[512];		/* why it ended as it did; "" if it has not */
	uint32_t continues;		/* how often another process took over */
	uint64_t allocated_bytes;	/* to copy in the base pass */
	uint64_t copied_bytes, written_bytes, zeroed_bytes;
	uint64_t deallocated_bytes, free_bytes;	/* not read: by the drive's word, by a file system's */
	uint64_t skipped_hole_bytes, skipped_zero_bytes, skipped_same_bytes;	/* not copied, and why */
	uint64_t recopied_bytes;	/* copied beyond the base pass */
	uint64_t source_write_bytes;	/* what was written to the source meanwhile */
	double amplification;		/* recopied / source_write; 0 if nothing was written */
	bool converged;
	uint64_t verified_bytes;
	bool verify_done, verify_equal;
	uint64_t digest_of_digests;
	uint64_t lost_found, whole_device_marks, misses_submit, misses_complete[3];
	uint64_t eio_retries, busy_retries, short_ios;
	struct gw_report_blackout blackout;
	struct gw_report_throttle throttle;
	struct gw_report_round *rounds;
	uint32_t rounds_listed, rounds_total;
	struct gw_report_latency *latencies;
	uint32_t latencies_listed, latencies_total;
	struct gw_report_hot hot[GW_REPORT_HOT_MAX];	/* the hottest first */
	uint32_t hot_listed;
	struct gw_report_message *messages;	/* notes, warnings, errors in order */
	uint32_t messages_listed, messages_total;
	bool torn_tail;			/* the journal's last record was cut off */
	void *owner;			/* private */
};

/*
 * Reads a journal file, or the state directory that holds it. Return: 0, or
 * negative errno with the reason in error_text (may be NULL). Undo with
 * gw_report_free(), which accepts a zeroed one.
 */
int gw_report_read(struct gw_report *report, const char *path, char *error_text,
		   uint64_t error_text_bytes);
void gw_report_free(struct gw_report *report);

#ifdef __cplusplus
}
#endif

#endif

/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * godwit as a library: one call moves a live block device to another. The
 * program `godwit migrate` is a thin face of it. See docs/concepts.md.
 */
#ifndef GODWIT_MIGRATION_H
#define GODWIT_MIGRATION_H

#include <stdbool.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

enum gw_migration_verify { GW_VERIFY_NO, GW_VERIFY_DURING, GW_VERIFY_AFTER };
/* AUTO: NVME for a namespace whose driver has the tracepoints, BLOCK for others, NONE for files. */
enum gw_migration_track { GW_TRACK_AUTO, GW_TRACK_BLOCK, GW_TRACK_NONE, GW_TRACK_NVME };
enum gw_migration_handoff { GW_MIGRATION_HANDOFF_AUTO, GW_MIGRATION_FREEZE, GW_MIGRATION_EXEC,
			    GW_MIGRATION_NONE, GW_MIGRATION_DM };

/* Zero means the default in every field. Strings are borrowed for the call. */
struct gw_migration_config {
	const char *source, *target;	/* paths */
	const char *name;		/* default <source>-<target> from the kernel names */
	const char *state_dir;		/* default /var/lib/godwit/<name> */
	const char *run_dir;		/* locks; default /run/godwit */
	enum gw_migration_track track;
	enum gw_migration_handoff handoff;
	enum gw_migration_verify verify;
	uint64_t bandwidth_bytes_per_s;	/* 0: no limit */
	const char *guard;		/* limit of the workload's latency: "p99=2ms", "2x"; NULL or "off": none */
	uint64_t downtime_limit_ns;	/* default 300 ms */
	uint64_t timeout_ns;		/* without progress; default 2 min */
	uint64_t quiesce_deadline_ns;	/* from quiesce to commit; default: downtime limit + 10 s (+ exec timeout) */
	uint32_t max_rounds;		/* 0: no limit */
	uint32_t grain_bytes;		/* 0: finest whose bitmap fits 64 MiB */
	uint32_t buffers;		/* 0: default */
	bool overwrite;			/* the target may hold something */
	bool target_is_zero;		/* the caller vouches that the target reads as zeroes */
	bool free_space;		/* what mounted file systems call free is not read, and zero on the target */
	bool resync;			/* compare by content, write only what differs */
	bool wait_switch;		/* stay converged, and switch when it is asked for over the control socket */
	bool restart_on_erase;		/* the source is formatted or sanitized: copy it anew; else that ends the migration */
	bool keep_state;		/* leave the digest file behind */
	const char *dm_name;		/* hand-off dm */
	const char *exec_quiesce, *exec_switch, *exec_resume, *exec_abort;	/* hand-off exec */
	uint64_t exec_timeout_ns;	/* default 30 s */
	const char *cpus;		/* "0-3,6": the copier runs on these; NULL: on all */
	bool has_nice;
	uint32_t nice;			/* with has_nice; else 5 */
	const char *throttle_writers;	/* cgroup whose writes to the source may be limited when it does not converge; NULL: none */
};

enum gw_migration_phase {
	GW_PHASE_PREPARE, GW_PHASE_BASE, GW_PHASE_ROUND, GW_PHASE_QUIESCED, GW_PHASE_COMMITTED,
	GW_PHASE_VERIFY, GW_PHASE_ENDED,
	GW_PHASE_WAITING,		/* converged, kept so until the switch is asked for */
};

/* A look at a running migration; plain numbers, valid for the call only. */
struct gw_migration_progress {
	enum gw_migration_phase phase;
	uint32_t round;			/* 1 is the base pass */
	uint64_t done_bytes, total_bytes;	/* of this round (or of the verification); done <= total */
	uint64_t dirty_bytes;		/* marked since the last take */
	uint64_t rate_bytes_per_s;
	uint64_t dirty_bytes_per_s;
	uint64_t predicted_blackout_ns;	/* 0: not yet known */
	uint64_t eta_ns;		/* 0: not known */
	uint64_t elapsed_ns;
};

enum gw_message { GW_MESSAGE_ERROR, GW_MESSAGE_WARNING, GW_MESSAGE_NOTE, GW_MESSAGE_DEBUG };

struct gw_migration_callbacks {
	void (*message)(void *arg, enum gw_message level, const char *text);
	/* Once: all that may be refused has agreed, writes are tracked, the copy begins. May be NULL. */
	void (*running)(void *arg, const char *name, const char *state_dir);
	/* About ten times a second. Non-zero asks for cancellation (rolled back, exit code 6). */
	int (*progress)(void *arg, const struct gw_migration_progress *progress);
	void *arg;
};

/*
 * Runs a migration from the start. Blocks until it is over. Return: an exit code
 * of the godwit program (0 done, 1 verification differs, 2 usage, 3 cannot,
 * 4 I/O error, 5 no convergence, 6 cancelled, 7 unclear).
 */
int gw_migration_run(const struct gw_migration_config *config,
		     const struct gw_migration_callbacks *callbacks);

/*
 * Goes on with a migration whose process died, from its journal and pins. Of
 * config only name, state_dir, run_dir and resync are read, and limits, which where
 * given replace those of the journal, also for a later continuation. Without pins (after a reboot) it
 * refuses with 3 unless resync is set.
 */
int gw_migration_continue(const struct gw_migration_config *config,
			  const struct gw_migration_callbacks *callbacks);

/*
 * Removes what a dead migration left: thaws or shuts the source down as the
 * journal says, then pins and locks. name NULL: every dead one. A live one is left
 * alone (3). Safe to run twice. skip_commands: those of a hand-off exec are not run, since the
 * user has done by hand what they would; only with a name.
 */
int gw_migration_cleanup(const char *name, const char *state_dir, const char *run_dir,
			 bool skip_commands, const struct gw_migration_callbacks *callbacks);

#ifdef __cplusplus
}
#endif

#endif

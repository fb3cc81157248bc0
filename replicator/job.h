/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * One migration while it runs: what setup.c sets up, rounds.c drives and
 * migration.c takes down. Private to the replicator.
 */
#ifndef GW_JOB_H
#define GW_JOB_H

#include <limits.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include <time.h>

#include <godwit/migration.h>

#include "bitmap.h"
#include "blkinfo.h"
#include "control_server.h"
#include "digest.h"
#include "engine.h"
#include "err.h"
#include "guard.h"
#include "handoff.h"
#include "heat.h"
#include "journal.h"
#include "pacer.h"
#include "nvme_feature.h"
#include "planner.h"
#include "track.h"

#define GW_STATE_ROOT "/var/lib/godwit"
#define GW_RUN_DIR "/run/godwit"
#define GW_BUFFERS_DEFAULT 8		/* measured: bench/method.md */
/* Best effort, level 6: marks the copier's own I/O (docs/decisions/0001). */
#define GW_COPIER_IOPRIO ((2 << 13) | 6)
#define GW_BUFFERS_MAX 1024

/* Settings with every default filled in; strings owned by the job. */
struct gw_settings {
	enum gw_migration_track track;		/* never AUTO */
	enum gw_handoff_kind handoff;
	enum gw_migration_verify verify;
	uint64_t bandwidth_bytes_per_s, downtime_limit_ns, timeout_ns, quiesce_deadline_ns;
	uint64_t exec_timeout_ns;
	uint32_t max_rounds, grain_bytes, buffers;
	bool target_is_zero, resync, overwrite, keep_state, restart_on_erase;
	bool free_space;			/* what file systems call free is not read */
	char *dm_name;
	bool wait_switch;			/* switch only when it is asked for */
	char *exec_quiesce, *exec_switch, *exec_resume, *exec_abort;
	char *throttle_writers;
	bool no_throttling;			/* set to off while it ran */
	char *cpus;
	int nice;				/* -1: the default */
	char *guard;				/* as it was given; NULL or "off": none */
};

/* The blackout's parts; see struct gw_report_blackout. */
struct gw_blackout {
	bool happened;
	uint64_t armed_ns;		/* the watchdog's deadline counts from here */
	uint64_t began_ns;
	uint64_t predicted_ns, total_ns, early_sync_ns, quiesce_ns, drain_ns, copy_ns, flush_ns,
		verify_ns, commit_ns, switch_ns, user_ns;
};

#define GW_PARTITIONS_MAX 130

struct gw_job {
	struct gw_diag diag;
	const struct gw_migration_callbacks *callbacks;
	const struct gw_clock *clock;
	struct gw_settings settings;
	char name[128];
	char state_dir[PATH_MAX], run_dir[PATH_MAX];
	struct gw_node source, target;
	struct gw_geom geom;
	int state_lock_fd, disk_lock_fd;
	int fd[GW_ENDS];
	int sync_fd[GW_PARTITIONS_MAX];		/* page caches over the source: itself, its disk, its partitions */
	uint32_t sync_fds;
	struct gw_journal *journal;
	struct gw_digests digests;
	struct gw_track *track;
	struct gw_track *target_track;		/* --verify=after */
	struct gw_handoff *handoff;
	struct gw_bitmap unverified;
	struct gw_bitmap vacant;		/* not read in the base pass; vacant.c */
	uint64_t vacant_by_drive_bytes, vacant_by_fs_bytes;
	struct gw_heat heat;			/* what is dirtied again and again; none without tracking */
	uint64_t cooled_ns;
	struct gw_pacer pacer;			/* set by gw_job_repace() only */
	uint64_t guard_bytes_per_s;		/* what the workload's latency leaves to the copier; 0: no limit */
	bool guard_pauses;			/* the copier stands still, to see what is slow without it */
	uint64_t guard_run_ns;			/* and then a run takes no more of that than this */
	struct gw_admin *admin;			/* admin.c; NULL: no NVMe drives, or their events are not seen */
	struct gw_nvme_settings drive_settings;	/* of the source, changed since the start */
	struct gw_foreground *foreground;	/* foreground.c; NULL: nobody looks at the latencies */
	struct gw_dev *dev;
	struct gw_engine *engine;
	struct gw_engine_stats totals;		/* of pipelines that are closed */
	struct gw_dev_stats dev_totals;
	struct gw_planner planner;
	struct gw_blackout blackout;
	void *slab;
	size_t slab_bytes;
	uint64_t memory_bytes;
	uint64_t id;				/* random, of this migration; the digest file names it */
	uint64_t allocated_bytes, hole_bytes;
	uint64_t started_ns;
	bool target_is_zero_now;		/* nothing was written to it yet */
	bool journal_is_new;
	bool self_test_passed;			/* of the tracking, on this very kernel, by this process */
	bool source_is_stuck;			/* giving it back to its writers failed, too */
	bool committed;
	bool cancelled;
	/* What was asked for while it runs; whoever asks sets it in the tick, the engine's thread acts on it. */
	struct gw_control_server *control;	/* NULL before the names are settled */
	struct gw_control_status status;	/* what was published last */
	uint64_t decision_ns;			/* when one was journalled last */
	uint32_t decisions, decisions_left_out;
	bool measuring;				/* the workload, before the first read: foreground.c */
	bool paused;				/* nothing new is copied, tracking goes on: gw_job_pause() */
	uint64_t paused_at_ns;
	bool waiting;				/* converged, and kept so until switch_wanted: rounds.c */
	bool told_waiting;
	bool switch_wanted;
	struct timespec source_mtime;		/* of a file */
	/* What the tick shows and judges. */
	enum gw_migration_phase phase;
	uint64_t round_began_ns, round_total_bytes, round_processed_before_bytes,
		round_verified_before_bytes;
	uint64_t live_grains, live_seen_ns, live_cost_ns;	/* of the last look at live */
	uint64_t dirtied_grains;		/* newly dirty at all takes so far */
	struct gw_throttling *throttling;	/* --throttle-writers; NULL: never */
	uint64_t fresh_grains;			/* of live_grains, those that are not held back */
	uint64_t shown_ns;
};

/* ---- settings.c ---- */

/* Bitmaps of the whole device that this takes: --verify=after tracks the target, with three of its own. */
uint32_t gw_settings_bitmaps(enum gw_migration_verify verify);
void gw_settings_from_config(struct gw_settings *settings,
			     const struct gw_migration_config *config);
/* What was given anew for a continuation wins over what the journal says. */
void gw_settings_override(struct gw_settings *settings, const struct gw_migration_config *config);
/* The same into the record of the continuation; and from there into the record of the start, for the next one. */
void gw_settings_put_given(struct json_object *payload, const struct gw_settings *settings,
			   const struct gw_migration_config *config);
/* What was set before (set) gives way to it. */
void gw_settings_take_given(struct json_object *started, struct gw_control_values *set,
			    struct json_object *continued);
/* What was set over the control socket. A longer limit may move the deadline, too. */
void gw_settings_apply(struct gw_settings *settings, const struct gw_control_values *set);
/* All that can be set, as it is now. */
void gw_settings_values(const struct gw_settings *settings, struct gw_control_values *values);
void gw_settings_fini(struct gw_settings *settings);
void gw_job_choose_track(struct gw_job *job);
int gw_job_choose_handoff(struct gw_job *job, enum gw_migration_handoff wanted);
/* The STARTED record: all that another process needs to go on. Appended and synced. */
int gw_job_record_started(struct gw_job *job);
int gw_job_read_settings(struct gw_job *job, struct json_object *started);
/* Is node ("source" or "target") what the migration was started with? -ESTALE if not. */
int gw_job_check_identity(struct gw_job *job, struct json_object *started, const char *end,
			  const struct gw_node *node);
/* Says that a record lacks a usable key. Return: -EBADMSG. */
int gw_job_bad_journal(struct gw_job *job, const char *key);

/* ---- setup.c ---- */

/* Preflight, settings, state files, journal, hand-off, tracking: all up to the first read. */
int gw_job_set_up(struct gw_job *job, const struct gw_migration_config *config);
int gw_job_init_geom(struct gw_job *job);
int gw_job_create_handoff(struct gw_job *job);
/* --cpus and --nice, for this thread and what it starts from now on. */
int gw_job_adopt_manners(struct gw_job *job);
/* Everything that a copy needs besides its tracking and digests. */
int gw_job_open_rest(struct gw_job *job);
/* Digests, target, tracking, allocation and the TRACKING record, as if nothing was copied yet. */
int gw_job_start_from_nothing(struct gw_job *job);

/* ---- vacant.c: what need not be read ---- */

/* Where something may be found vacant, makes room for it: before the memory is announced. */
int gw_job_create_vacant(struct gw_job *job);
/* Asks drive and file systems. The tracking runs, and no mark is dropped from here on. */
int gw_job_find_vacant(struct gw_job *job);

/* ---- foreground.c: what the workload feels, and the guard that acts on it ---- */

/* A stretch of a migration that the report tells the latencies of. */
enum gw_stretch {
	GW_STRETCH_BEFORE,			/* nothing is copied yet */
	GW_STRETCH_BASE,
	GW_STRETCH_ROUNDS,
	GW_STRETCH_BLACKOUT,
	GW_STRETCH_AFTER,			/* on the target */
	GW_STRETCHES,
};

/* Begins to look at the source. Without a guard a failure is a warning. Return: 0 or negative errno, said. */
int gw_job_watch_foreground(struct gw_job *job);
/* Once tracking runs: its start has read a block itself, and what came before counts as nobody's. */
void gw_job_begin_before(struct gw_job *job);
/* What that takes of memory, here and in the kernel; fixed. */
uint64_t gw_job_foreground_bytes(const struct gw_job *job);
/* Will gw_job_measure_before() take its time? */
bool gw_job_will_measure(const struct gw_job *job);
/* With a guard: looks on for long enough, and sets the limits. Return: 0 or negative errno, said. */
int gw_job_measure_before(struct gw_job *job);
/* What came before belongs to the stretch that ends now. Return: 0 or negative errno (the journal's). */
int gw_job_enter_stretch(struct gw_job *job, enum gw_stretch stretch);
/* Part of the tick: feeds the guard, acts on its answer. Return: 0 or negative errno (the journal's). */
int gw_job_guard_tick(struct gw_job *job, uint64_t now_ns);
/* With a guard, and where the work goes on on the target by itself: looks at it for a while. */
void gw_job_measure_after(struct gw_job *job);
/* Records the last stretch, and all of them together, if there is a journal. NULL is fine. */
void gw_job_leave_foreground(struct gw_job *job, bool to_record);
/*
 * Another guard, or "off", while it runs. Return: 0; -EINVAL: none of GW_GUARD_ACCEPTED;
 * -ENODATA: a factor of nothing, since too little was seen before the start; -EOPNOTSUPP:
 * nobody looks at the latencies. Said as a warning.
 */
int gw_job_set_guard(struct gw_job *job, const char *text);

/* ---- admin.c: what happens to NVMe drives beside their I/O ---- */

/*
 * Begins to watch the controllers of both, if they are NVMe, and the event log. continued: what was
 * pinned goes on. What the kernel cannot show is a warning. Return: 0 or negative errno, said.
 */
int gw_job_watch_events(struct gw_job *job, bool continued);
/* Of memory, fixed; 0: they are not watched. */
uint64_t gw_job_events_bytes(const struct gw_job *job);
/* Beside the pins of the tracking, which are there. */
int gw_job_pin_events(struct gw_job *job);
/*
 * Part of the tick; now_ns 0: at once. What ends the migration is said: a source that was erased
 * (unless it is to be copied anew), a target that was. Return: 0 or negative errno.
 */
int gw_job_see_events(struct gw_job *job, uint64_t now_ns);
/*
 * The tracking has seen that something erases the source, or would. Return: 0 if the event, which
 * tells whether it was refused, will decide; -ECANCELED, said, if nobody can wait for it.
 */
int gw_job_erased(struct gw_job *job);
/* The last events, if the journal is open and they are to be recorded, and the end of it. */
void gw_job_leave_events(struct gw_job *job, bool to_record);

/* ---- carry.c ---- */

/* Sets on the target what was set on the source's drive since the start. Return: 0 or negative errno (the journal's). */
int gw_job_carry_settings(struct gw_job *job);

/* ---- migration.c ---- */

void gw_job_init(struct gw_job *job, const struct gw_migration_callbacks *callbacks);
int gw_job_exit_code(const struct gw_job *job, int err);
/* Copies, switches, verifies. Return: 0 or negative errno with the cause in job->diag. */
int gw_job_drive(struct gw_job *job, bool base_is_due);
/* Ends it all; to_keep leaves pins and journal for another try. Return: exit_code. */
int gw_job_take_down(struct gw_job *job, int exit_code, bool to_keep);

/* ---- rounds.c ---- */

/*
 * Base pass, rounds, blackout, commit, switch. Return: 0; negative errno with the
 * cause in job->diag. Before the commit record everything was given back to the
 * source when it fails.
 */
int gw_job_copy_and_switch(struct gw_job *job, bool base_is_due);
/* --verify=after, once the target runs. Return: 0, -EILSEQ, or negative errno. */
int gw_job_verify_after(struct gw_job *job);

/* ---- pipeline.c ---- */

/*
 * Opens source and target, takes the slab, starts dev and engine. read_only: for
 * a verification; else the target is claimed exclusively. Errors are said.
 */
int gw_job_open_pipeline(struct gw_job *job, bool read_only);
/* Closes all of it and lets go of the target; its statistics stay in job->totals. */
void gw_job_close_pipeline(struct gw_job *job);
/* Page caches over the source: itself, its disk and all partitions that the disk has now. */
int gw_job_open_page_caches(struct gw_job *job);
void gw_job_close_page_caches(struct gw_job *job);

/*
 * Sets the pacer to what holds now: the least of --bandwidth and what the workload
 * leaves; no limit while the writers are stopped. Call it after any of these changed.
 */
void gw_job_repace(struct gw_job *job);

/* ---- steer.c: what is asked of a job while it runs ---- */

/* The copier stops, --timeout too, tracking goes on. Not while the writers are stopped. */
void gw_job_pause(struct gw_job *job);
void gw_job_resume(struct gw_job *job);
/*
 * Between two runs of the engine, whose tick does this otherwise: shows progress,
 * takes what was asked, and waits as long as it is paused. Judges no progress.
 * Return: 0; -ECANCELED with the reason said.
 */
int gw_job_listen(struct gw_job *job);

/* Opens the control socket; the state directory must be ours. Errors are said. */
int gw_job_start_control(struct gw_job *job);
/* Tells whoever watches how it ended, and removes the socket. */
void gw_job_stop_control(struct gw_job *job, int exit_code);
/* What is answered from now on: the state as it is, and this progress (NULL: as it was). */
void gw_job_publish(struct gw_job *job, const struct gw_migration_progress *progress);
/*
 * A decision of the controller, with its reason in one sentence: into the journal, and shown by
 * status. Unless it is_rare, when they come fast only one every few seconds is recorded, and the
 * others are counted.
 */
int gw_job_decided(struct gw_job *job, bool is_rare, const char *why);
/* For status only: what was decided is told and recorded elsewhere. */
void gw_job_show_decision(struct gw_job *job, const char *why);

/* What clients ask for is done, or refused; all of it is journalled. Return: 0 or negative errno (the journal's). */
int gw_job_take_requests(struct gw_job *job);

/* The part of the tick that listens, and does not wait: progress shown, requests taken, cancellation. */
int gw_job_hear(struct gw_job *job, uint64_t now_ns);

/* The engine's callbacks. */
int gw_job_tick(void *job);
int gw_job_settled(void *job, const struct gw_batch *batch);

/* Says a sentence to the user and into the journal. Return: 0 or negative errno (the journal's). */
int gw_job_note(struct gw_job *job, enum gw_level level, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

/* ---- throttling.c: the last resort when rounds do not converge ---- */

/*
 * Finds the cgroup of --throttle-writers, and forks the watchdog that restores its limit. Changes
 * nothing yet. Unless it is_needed, a cgroup that is gone is a warning, and nobody is throttled.
 */
int gw_job_open_throttling(struct gw_job *job, bool is_needed);
/* From the tick and after a round, with what is left: lowers the limit a step if that is due. */
int gw_job_throttle(struct gw_job *job, uint64_t now_ns, uint64_t left_bytes, uint64_t copied_bytes);
/* After a round that left so much. */
void gw_job_throttle_round(struct gw_job *job, uint64_t left_bytes);
/* The former limit comes back, and why is said. Nothing was changed: 0. */
int gw_job_unthrottle(struct gw_job *job, const char *why);
/* Again, from the beginning: throttle_writers was set to on. */
void gw_job_throttle_anew(struct gw_job *job);
void gw_job_throttle_status(const struct gw_job *job, struct gw_control_throttle *status);
void gw_job_close_throttling(struct gw_job *job);
/* After a death: throttled is the journal's last such record that was not followed by its end; NULL: nothing to do. */
int gw_job_recover_throttling(struct gw_job *job, struct json_object *throttled);

#endif

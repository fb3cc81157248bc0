// SPDX-License-Identifier: GPL-2.0-or-later
/* The course of a migration: base pass, rounds, blackout, commit, switch. */
#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "job.h"

#include "fault.h"
#include "manners.h"
#include "statefiles.h"
#include "units.h"

#define SHOW_NS (100 * GW_NS_PER_MS)
#define DIVERGENCE_LOOK_NS (1000 * GW_NS_PER_MS)	/* into round two; said within two seconds */
#define DRAIN_NAP_NS (50 * GW_NS_PER_US)
#define FINAL_TAKES_MAX 64
#define GUARDED_CREDIT_NS GW_NS_PER_MS
#define GUARDED_RUN_BYTES_MIN (UINT32_C(32) << 10)
#define COOL_NS (250 * GW_NS_PER_MS)	/* what was not dirtied for so long cools down */
/* --wait-switch: how often it looks, and after how long a round is due for anything at all. */
#define WAIT_NAP_NS (50 * GW_NS_PER_MS)
#define WAIT_ROUND_NS (30 * GW_NS_PER_S)
/* Where no round can make it fit: how often it looks whether flush and commit have become faster. */
#define HOPELESS_ROUND_NS (200 * GW_NS_PER_MS)

/* ---- small things ---- */

static uint64_t now_ns(const struct gw_job *job)
{
	return gw_now_ns(job->clock);
}

static uint64_t grains_bytes(const struct gw_job *job, uint64_t grains)
{
	const uint64_t bytes = grains << job->geom.grain_shift;

	return bytes < job->geom.size_bytes ? bytes : job->geom.size_bytes;
}

static uint64_t pending_bytes(const struct gw_job *job)
{
	return grains_bytes(job, gw_bitmap_count(&job->track->pending));
}

int gw_job_note(struct gw_job *job, enum gw_level level, const char *format, ...)
{
	static const char *const names[] = { "error", "warning", "note", "note" };
	struct json_object *payload = json_object_new_object();
	char text[512];
	va_list args;

	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	gw_say(&job->diag, level, "%s", text);
	gw_json_put_string(payload, "level", names[level]);
	gw_json_put_string(payload, "text", text);
	return gw_journal_append(job->journal, GW_RECORD_NOTE, payload, &job->diag);
}

static int append_synced(struct gw_job *job, enum gw_record_type type, struct json_object *payload)
{
	int err = gw_journal_append(job->journal, type, payload, &job->diag);

	return err < 0 ? err : gw_journal_sync(job->journal, &job->diag);
}

/* What is dirtied again and again shows from take to take. */
static void look_at_heat(struct gw_job *job)
{
	const uint64_t now = now_ns(job);
	const bool cool = now - job->cooled_ns >= COOL_NS;

	/* Nobody writes any more, and time is dear. */
	if (job->blackout.began_ns != 0)
		return;
	gw_heat_look(&job->heat, &job->track->live, cool);
	if (cool)
		job->cooled_ns = now;
}

/* Moves the marks into pending; what made everything suspect is said and journalled. */
static int take(struct gw_job *job, uint64_t *fresh_grains)
{
	struct gw_track_taken taken = { 0 };
	int err;

	look_at_heat(job);
	err = gw_track_take(job->track, &taken, &job->diag);
	if (err < 0)
		return err;
	job->live_grains = job->fresh_grains = 0;
	job->dirtied_grains += taken.fresh_grains;
	if (fresh_grains != NULL)
		*fresh_grains = taken.fresh_grains;
	if (taken.is_erased) {
		err = gw_job_erased(job);
		if (err < 0)
			return err;
	}
	if (taken.whole_device) {
		struct json_object *payload = json_object_new_object();

		gw_say(&job->diag, GW_WARNING, "everything is copied again: %s", taken.why);
		gw_json_put_string(payload, "why", taken.why);
		return gw_journal_append(job->journal, GW_RECORD_SUSPECT, payload, &job->diag);
	}
	return 0;
}

/* ---- what runs beside the copy ---- */

void gw_job_repace(struct gw_job *job)
{
	uint64_t bytes_per_s = job->settings.bandwidth_bytes_per_s;

	if (job->guard_bytes_per_s != 0 &&
	    (bytes_per_s == 0 || job->guard_bytes_per_s < bytes_per_s))
		bytes_per_s = job->guard_bytes_per_s;
	/* Nobody is there to be slowed down, and they wait. */
	if (job->blackout.began_ns != 0 && !job->committed)
		bytes_per_s = 0;
	gw_pacer_set(&job->pacer, bytes_per_s, now_ns(job));
	/* A long run in front of the workload's short I/Os is what the guard is to spare them. */
	job->pacer.run_ns = job->guard_bytes_per_s != 0 ? job->guard_run_ns : 0;
	job->pacer.credit_ns = job->guard_bytes_per_s != 0 ? GUARDED_CREDIT_NS : 0;
	job->pacer.run_bytes_min = job->guard_bytes_per_s != 0 ? GUARDED_RUN_BYTES_MIN : 0;
	job->pacer.is_held = job->paused || (job->guard_pauses && job->blackout.began_ns == 0);
}

/* Counts live, but never spends more than a fiftieth of the time on it. */
static void look_at_live(struct gw_job *job, uint64_t now)
{
	if (now - job->live_seen_ns < SHOW_NS || now - job->live_seen_ns < 50 * job->live_cost_ns)
		return;
	job->live_grains = gw_bitmap_count(&job->track->live);
	job->fresh_grains = gw_heat_fresh(&job->heat, &job->track->live);
	job->live_seen_ns = now_ns(job);
	job->live_cost_ns = job->live_seen_ns - now;
}

static uint64_t rate_of(uint64_t bytes, uint64_t elapsed_ns)
{
	return elapsed_ns == 0 ? 0 :
	       (uint64_t)((double)bytes * (double)GW_NS_PER_S / (double)elapsed_ns);
}

/* Written, zeroed, or known to be there already: flows evenly, whereas batches settle by leaps. */
static uint64_t processed_bytes(const struct gw_engine_stats *stats)
{
	return stats->written_bytes + stats->zeroed_bytes + stats->zero_skipped_bytes +
	       stats->same_skipped_bytes;
}

static uint64_t round_done_bytes(const struct gw_job *job)
{
	const struct gw_engine_stats *const stats = gw_engine_stats(job->engine);
	uint64_t done;

	if (job->phase == GW_PHASE_VERIFY)
		done = stats->verified_bytes - job->round_verified_before_bytes;
	else
		done = processed_bytes(stats) - job->round_processed_before_bytes;
	return done < job->round_total_bytes ? done : job->round_total_bytes;
}

/* What a next round would find: what was dirtied, and what is held back from this one. */
static uint64_t next_bytes(const struct gw_job *job)
{
	return grains_bytes(job, job->heat.held_grains + job->fresh_grains);
}

static int show(struct gw_job *job, uint64_t now)
{
	struct gw_migration_progress progress = {
		.phase = job->phase,
		.round = job->planner.round,
		.done_bytes = round_done_bytes(job),
		.total_bytes = job->round_total_bytes,
		.dirty_bytes = grains_bytes(job, job->live_grains),
		.elapsed_ns = now - job->started_ns,
	};
	const uint64_t in_round_ns =
		(job->paused ? job->paused_at_ns : now) - job->round_began_ns;

	job->shown_ns = now;
	progress.rate_bytes_per_s = rate_of(progress.done_bytes, in_round_ns);
	progress.dirty_bytes_per_s = rate_of(progress.dirty_bytes, in_round_ns);
	if (job->planner.copy_bytes_per_s > 0)
		progress.predicted_blackout_ns =
			gw_planner_predict_ns(&job->planner, next_bytes(job));
	if (progress.rate_bytes_per_s > 0)
		progress.eta_ns = (uint64_t)((double)(progress.total_bytes - progress.done_bytes) *
					     (double)GW_NS_PER_S /
					     (double)progress.rate_bytes_per_s);
	gw_job_publish(job, &progress);
	if (job->callbacks == NULL || job->callbacks->progress == NULL)
		return 0;
	return job->callbacks->progress(job->callbacks->arg, &progress);
}

/* In the base pass what is left is what is not settled; later also what was dirtied since. */
static uint64_t left_bytes(const struct gw_job *job)
{
	uint64_t left = job->round_total_bytes - round_done_bytes(job);

	if (job->planner.round > 1 && job->phase != GW_PHASE_VERIFY)
		left += next_bytes(job);
	return left;
}

static int judge_divergence(struct gw_job *job, uint64_t now)
{
	const uint64_t in_round_ns = now - job->round_began_ns;
	/* What is held back is not copied meanwhile: its being dirtied again keeps no round from shrinking. */
	const uint64_t dirty_bytes = grains_bytes(job, job->fresh_grains);
	char text[400];

	if (job->planner.round != 2 || in_round_ns < DIVERGENCE_LOOK_NS)
		return 0;
	if (!gw_planner_diverges(&job->planner, rate_of(round_done_bytes(job), in_round_ns),
				 rate_of(dirty_bytes, in_round_ns), left_bytes(job),
				 job->settings.bandwidth_bytes_per_s != 0, text, sizeof(text)))
		return 0;
	return gw_job_note(job, GW_WARNING, "%s", text);
}

int gw_job_hear(struct gw_job *job, uint64_t now)
{
	int err = gw_job_take_requests(job);

	if (err >= 0)
		err = gw_job_see_events(job, now);
	if (err < 0)
		return err;
	if (now - job->shown_ns >= SHOW_NS && show(job, now) != 0)
		job->cancelled = true;
	if (job->cancelled && job->committed)
		return gw_fail(&job->diag, -ECANCELED, "the verification was cancelled");
	if (job->cancelled)
		return gw_fail_exit(&job->diag, GW_EXIT_CANCELLED, -ECANCELED, "cancelled");
	return 0;
}

int gw_job_tick(void *arg)
{
	struct gw_job *const job = arg;
	const uint64_t now = now_ns(job);
	char limit[GW_UNIT_TEXT_BYTES];
	int err = gw_job_hear(job, now);

	if (err < 0)
		return err;
	/* Nothing is left to converge. */
	if (job->committed)
		return 0;
	if (job->blackout.began_ns != 0) {
		if (now - job->blackout.began_ns > job->settings.quiesce_deadline_ns)
			return gw_fail_exit(&job->diag, GW_EXIT_NO_CONVERGENCE, -ETIME,
				"the writers were stopped for longer than --quiesce-deadline %s; "
				"they go on on the source",
				gw_format_duration(limit, job->settings.quiesce_deadline_ns));
		return 0;
	}
	look_at_live(job, now);
	err = gw_job_guard_tick(job, now);
	if (err < 0 || job->paused || job->waiting)
		return err;
	if (gw_planner_is_stalled(&job->planner, left_bytes(job), now))
		return gw_fail_exit(&job->diag, GW_EXIT_NO_CONVERGENCE, -ETIME,
			"no progress for --timeout %s: what is left to copy did not get less",
			gw_format_duration(limit, job->settings.timeout_ns));
	err = judge_divergence(job, now);
	if (err >= 0)
		err = gw_job_throttle(job, now, left_bytes(job),
				      processed_bytes(gw_engine_stats(job->engine)));
	return err < 0 ? err : 0;
}

int gw_job_settled(void *arg, const struct gw_batch *batch)
{
	struct gw_job *const job = arg;
	struct json_object *const payload = json_object_new_object();
	const uint64_t began = now_ns(job);
	int err;

	gw_json_put_u64(payload, "settled_bytes", batch->settled_bytes);
	gw_json_put_u64(payload, "runs", batch->runs);
	gw_json_put_u64(payload, "first_grain", batch->first_grain);
	gw_json_put_u64(payload, "end_grain", batch->end_grain);
	gw_json_put_u64(payload, "flush_ns", batch->flush_ns);
	gw_fault_point("batch-flushed");
	err = append_synced(job, GW_RECORD_SETTLED, payload);
	gw_fault_point("batch-recorded");
	job->planner.commit_ns = now_ns(job) - began;
	job->planner.flush_ns = batch->flush_ns;
	return err;
}

/* ---- rounds ---- */

static void round_begins(struct gw_job *job, enum gw_migration_phase phase, uint64_t total_bytes)
{
	const struct gw_engine_stats *const stats = gw_engine_stats(job->engine);

	job->phase = phase;
	job->round_began_ns = now_ns(job);
	job->round_total_bytes = total_bytes;
	job->round_processed_before_bytes = processed_bytes(stats);
	job->round_verified_before_bytes = stats->verified_bytes;
	job->live_seen_ns = 0;
	/* Acted upon by the next tick. */
	if (show(job, job->round_began_ns) != 0 && !job->committed)
		job->cancelled = true;
}

static int record_round(struct gw_job *job, const struct gw_engine_stats *before, bool is_final,
			uint64_t elapsed_ns, uint64_t dirty_after_bytes, uint64_t predicted_ns)
{
	const struct gw_engine_stats *const after = gw_engine_stats(job->engine);
	struct json_object *const payload = json_object_new_object();
	struct gw_track_stats track = { 0 };
	const uint64_t copied_bytes = after->read_bytes - before->read_bytes;
	int err = gw_track_stats(job->track, &track, &job->diag);

	if (err < 0) {
		json_object_put(payload);
		return err;
	}
	gw_json_put_u64(payload, "round", job->planner.round);
	gw_json_put_bool(payload, "final", is_final);
	gw_json_put_u64(payload, "elapsed_ns", elapsed_ns);
	gw_json_put_u64(payload, "pending_bytes", job->round_total_bytes);
	gw_json_put_u64(payload, "held_bytes", grains_bytes(job, job->heat.held_grains));
	gw_json_put_u64(payload, "copied_bytes", copied_bytes);
	gw_json_put_u64(payload, "written_bytes", after->written_bytes - before->written_bytes);
	gw_json_put_u64(payload, "zeroed_bytes", after->zeroed_bytes - before->zeroed_bytes);
	gw_json_put_u64(payload, "zero_skipped_bytes",
			after->zero_skipped_bytes - before->zero_skipped_bytes);
	gw_json_put_u64(payload, "same_skipped_bytes",
			after->same_skipped_bytes - before->same_skipped_bytes);
	gw_json_put_u64(payload, "dirty_after_bytes", dirty_after_bytes);
	gw_json_put_u64(payload, "copy_bytes_per_s", rate_of(copied_bytes, elapsed_ns));
	gw_json_put_u64(payload, "dirty_bytes_per_s", rate_of(dirty_after_bytes, elapsed_ns));
	gw_json_put_u64(payload, "predicted_blackout_ns", predicted_ns);
	gw_json_put_u64(payload, "source_write_bytes", track.write_bytes);
	return gw_journal_append(job->journal, GW_RECORD_ROUND, payload, &job->diag);
}

static uint64_t unheld_bytes(const struct gw_job *job)
{
	return grains_bytes(job, gw_bitmap_count(&job->track->pending) - job->heat.held_grains);
}

/* Copies all that is pending and not held back, as one more round. */
static int run_round(struct gw_job *job)
{
	const struct gw_engine_stats before = *gw_engine_stats(job->engine);
	const uint64_t total_bytes = unheld_bytes(job);
	struct gw_planner_round round;
	uint64_t dirty_bytes;
	char text[400];
	int err;

	job->planner.round++;
	round_begins(job, job->planner.round == 1 ? GW_PHASE_BASE : GW_PHASE_ROUND, total_bytes);
	err = gw_job_enter_stretch(job, job->planner.round == 1 ? GW_STRETCH_BASE :
								  GW_STRETCH_ROUNDS);
	if (err >= 0)
		err = gw_engine_copy(job->engine);
	if (err < 0)
		return err;
	job->live_grains = gw_bitmap_count(&job->track->live);
	job->fresh_grains = gw_heat_fresh(&job->heat, &job->track->live);
	dirty_bytes = grains_bytes(job, job->live_grains);
	round = (struct gw_planner_round){
		.copied_bytes = gw_engine_stats(job->engine)->read_bytes - before.read_bytes,
		.elapsed_ns = now_ns(job) - job->round_began_ns,
		.busy_ns = gw_engine_stats(job->engine)->busy_ns - before.busy_ns,
		.fresh_bytes = grains_bytes(job, job->fresh_grains),
	};
	gw_planner_round_done(&job->planner, &round);
	gw_fault_point("round-copied");
	err = record_round(job, &before, false, round.elapsed_ns, dirty_bytes,
			   gw_planner_predict_ns(&job->planner, next_bytes(job)));
	if (err >= 0 && job->planner.round == 2 &&
	    gw_planner_diverges(&job->planner, rate_of(total_bytes, round.elapsed_ns),
				rate_of(round.fresh_bytes, round.elapsed_ns), next_bytes(job),
				job->settings.bandwidth_bytes_per_s != 0, text, sizeof(text)))
		err = gw_job_note(job, GW_WARNING, "%s", text);
	gw_job_throttle_round(job, dirty_bytes);
	if (err >= 0)
		err = gw_job_throttle(job, now_ns(job), dirty_bytes,
				      processed_bytes(gw_engine_stats(job->engine)));
	return err;
}

/* Reads back what is settled and not yet verified. */
static int verify_settled(struct gw_job *job)
{
	const uint64_t best_left_bytes = job->planner.best_left_bytes;
	const uint64_t best_at_ns = job->planner.best_at_ns;
	uint64_t bytes;
	uint64_t elapsed_ns;
	int err;

	if (job->settings.verify != GW_VERIFY_DURING)
		return 0;
	bytes = grains_bytes(job, gw_bitmap_count(&job->unverified));
	if (bytes == 0)
		return 0;
	round_begins(job, job->blackout.began_ns != 0 ? job->phase : GW_PHASE_VERIFY, bytes);
	/* Progress of its own; that of the rounds is as old after it as it was before. */
	job->planner.best_left_bytes = UINT64_MAX;
	job->planner.best_at_ns = job->round_began_ns;
	err = gw_engine_verify(job->engine);
	elapsed_ns = now_ns(job) - job->round_began_ns;
	if (bytes >= UINT64_C(1) << 20)
		job->planner.verify_ns_per_mib = elapsed_ns / (bytes >> 20);
	job->planner.best_left_bytes = best_left_bytes;
	job->planner.best_at_ns = best_at_ns + elapsed_ns;
	return err;
}

static int base_pass(struct gw_job *job)
{
	int err;

	/*
	 * Nothing was read yet: marks made so far say nothing.
	 * What is vacant is not read at all: its marks since it was asked about count.
	 */
	err = gw_bitmap_is_empty(&job->vacant) ? gw_track_drop_marks(job->track, &job->diag) : 0;
	return err < 0 ? err : run_round(job);
}

/* Freezing syncs the file system and then its journal and superblock: about twice what a sync costs. */
static int sync_early(struct gw_job *job)
{
	uint64_t cost_ns = 0;
	int err = gw_handoff_sync(job->handoff, &cost_ns, &job->diag);

	job->blackout.early_sync_ns = cost_ns;
	job->planner.sync_ns = 2 * cost_ns;
	return err;
}

/* What next, with what is pending now; chooses what a further round would hold back. */
static enum gw_plan decide(struct gw_job *job, char *why, size_t why_bytes)
{
	struct gw_planner_left left;
	enum gw_plan plan;

	gw_heat_hold(&job->heat, &job->track->pending,
		     gw_planner_hold_bytes(&job->planner) >> job->geom.grain_shift);
	left.pending_bytes = pending_bytes(job);
	left.held_bytes = left.pending_bytes - unheld_bytes(job);
	plan = gw_planner_decide(&job->planner, &left, now_ns(job), why, why_bytes);
	/* Too much, and all of it is hot: then it is copied all the same. */
	if (plan == GW_PLAN_ROUND && left.held_bytes == left.pending_bytes)
		gw_heat_let_go(&job->heat);
	return plan;
}

/* Waiting is no lack of progress, its rounds are none of --max-rounds. */
static void forget_progress(struct gw_job *job)
{
	job->planner.best_left_bytes = UINT64_MAX;
	job->planner.best_at_ns = now_ns(job);
	job->planner.rounds_free = job->planner.round;
}

/* Is there enough for a round, or anything, and for long? Short of the limit, so that there is time for it. */
static bool is_round_due(const struct gw_job *job, uint64_t since_ns)
{
	const uint64_t bytes = pending_bytes(job) + grains_bytes(job, job->fresh_grains);

	if (job->fresh_grains == 0 && unheld_bytes(job) == 0)
		return false;
	return now_ns(job) - since_ns >= WAIT_ROUND_NS ||
	       gw_planner_predict_ns(&job->planner, bytes) >
		       job->settings.downtime_limit_ns / 4 * 3;
}

/*
 * --wait-switch: what is left fits the limit. Sleeps until the switch is wanted, or a round is due
 * so that it goes on fitting. Hot blocks stay held back meanwhile.
 */
static int wait_for_switch(struct gw_job *job)
{
	const struct timespec nap = { 0, (long)WAIT_NAP_NS };
	const uint64_t since_ns = now_ns(job);
	char why[256];
	int err = 0;

	snprintf(why, sizeof(why), "converged: waiting for `godwit switch %s`; until then it is kept "
		 "so", job->name);
	if (!job->told_waiting)
		err = gw_job_decided(job, true, why);
	job->waiting = job->told_waiting = true;
	job->phase = GW_PHASE_WAITING;
	while (err >= 0 && !job->switch_wanted) {
		nanosleep(&nap, NULL);
		err = gw_job_listen(job);
		look_at_live(job, now_ns(job));
		if (is_round_due(job, since_ns))
			break;
	}
	forget_progress(job);
	job->planner.fits_since_ns = 0;
	return err;
}

/* Flush and commit alone take too long: nothing that a round copies changes that. */
static bool is_hopeless(const struct gw_job *job)
{
	char fixed[GW_PLANNER_FIXED_BYTES];

	return gw_planner_is_hopeless(&job->planner, fixed, sizeof(fixed));
}

/* Rounds of next to nothing, one after the other, would only keep everybody busy. */
static int wait_if_hopeless(struct gw_job *job)
{
	const struct timespec nap = { 0, (long)WAIT_NAP_NS };
	int err = 0;

	while (err >= 0 && is_hopeless(job) && now_ns(job) - job->round_began_ns < HOPELESS_ROUND_NS) {
		nanosleep(&nap, NULL);
		err = gw_job_listen(job);
	}
	return err;
}

/* What they cost now, where a round had nothing to flush and so did not tell. */
static int measure_flush(struct gw_job *job)
{
	uint64_t began = now_ns(job);
	int err = gw_engine_flush(job->engine);

	if (err < 0)
		return err;
	job->planner.flush_ns = now_ns(job) - began;
	began = now_ns(job);
	/* Of the round's own record. */
	err = gw_journal_sync(job->journal, &job->diag);
	job->planner.commit_ns = now_ns(job) - began;
	return err;
}

/* A round, because of `why`. */
static int go_on(struct gw_job *job, const char *why)
{
	int err = gw_job_decided(job, false, why);
	bool is_empty;

	if (err < 0)
		return err;
	/* The next sync finds little; the one just made would rule out a switch for ever. */
	job->planner.sync_ns = 0;
	err = wait_if_hopeless(job);
	if (err < 0)
		return err;
	is_empty = unheld_bytes(job) == 0;
	err = run_round(job);
	if (err >= 0 && is_empty)
		err = measure_flush(job);
	if (job->waiting)
		forget_progress(job);
	if (err >= 0 && gw_planner_is_stalled(&job->planner, left_bytes(job), now_ns(job)))
		return gw_fail_exit(&job->diag, GW_EXIT_NO_CONVERGENCE, -ETIME,
				    "no progress within --timeout: %s", why);
	return err;
}

/*
 * The sync of the page cache above, before the last decision: it dirties, and quiescing
 * costs it again. Return: 0 and *plan, or negative errno.
 */
static int decide_after_sync(struct gw_job *job, enum gw_plan *plan, char *why, size_t why_bytes)
{
	int err = sync_early(job);

	if (err >= 0)
		err = take(job, NULL);
	if (err < 0)
		return err;
	*plan = decide(job, why, why_bytes);
	/* The last moment before the writers are stopped; the sync may have taken long. */
	return gw_job_hear(job, now_ns(job));
}

/*
 * Rounds until what is left fits the downtime limit, and is a local minimum.
 * Return: 0: quiesce now; negative errno.
 */
static int converge(struct gw_job *job, bool round_is_due, char *why, size_t why_bytes)
{
	int err = 0;

	if (round_is_due)
		err = run_round(job);
	while (err >= 0) {
		enum gw_plan plan;

		err = gw_job_listen(job);
		if (err >= 0)
			err = verify_settled(job);
		if (err >= 0)
			err = take(job, NULL);
		if (err < 0)
			return err;
		plan = decide(job, why, why_bytes);
		if (plan == GW_PLAN_FINAL && job->settings.wait_switch && !job->switch_wanted) {
			err = wait_for_switch(job);
			if (err >= 0 && !job->switch_wanted)
				err = take(job, NULL);
			if (err < 0 || job->switch_wanted)
				continue;
			(void)decide(job, why, why_bytes);
			if (unheld_bytes(job) > 0)
				err = go_on(job, "a round to stay converged");
			continue;
		}
		if (plan == GW_PLAN_FINAL) {
			err = decide_after_sync(job, &plan, why, why_bytes);
			if (err < 0)
				return err;
			if (job->paused)
				continue;
		}
		if (plan == GW_PLAN_FINAL)
			return 0;
		if (plan == GW_PLAN_GIVE_UP)
			return gw_fail_exit(&job->diag, GW_EXIT_NO_CONVERGENCE, -ETIME, "%s", why);
		/* What is left outgrew the limit: from here on it is an ordinary round again. */
		if (job->planner.fits_since_ns == 0)
			job->waiting = false;
		err = go_on(job, why);
	}
	return err;
}

/* ---- blackout ---- */

static int flush_page_caches(struct gw_job *job)
{
	/* Anew: a partition may have been added since. */
	int err = gw_job_open_page_caches(job);

	if (err < 0)
		return err;
	for (uint32_t i = 0; i < job->sync_fds; i++)
		if (fsync(job->sync_fd[i]) != 0)
			return gw_fail_exit(&job->diag, GW_EXIT_IO, -errno,
					    "fsync of source %s: %s", job->source.path,
					    strerror(errno));
	return 0;
}

static int wait_nothing_in_flight(struct gw_job *job)
{
	const struct timespec nap = { 0, (long)DRAIN_NAP_NS };
	struct gw_track_in_flight in_flight = { 0 };
	int err;

	for (;;) {
		err = gw_track_in_flight(job->track, &in_flight, &job->diag);
		if (err < 0 || in_flight.count == 0)
			return err;
		err = gw_job_tick(job);
		if (err < 0)
			return gw_fail(&job->diag, err,
				       "%" PRIu64 " writes still in flight on %s",
				       in_flight.count, job->source.path);
		nanosleep(&nap, NULL);
	}
}

/* Takes and copies until a take returns nothing. Nobody may be writing. */
static int copy_to_empty(struct gw_job *job)
{
	struct gw_blackout *const blackout = &job->blackout;
	int err;

	for (int takes = 0; takes < FINAL_TAKES_MAX; takes++) {
		uint64_t fresh_grains = 0, began;

		gw_track_fence(job->track);
		err = take(job, &fresh_grains);
		if (err < 0)
			return err;
		/* What was found lost while we waited is pending, and was counted by no take. */
		if (takes > 0 && fresh_grains == 0 && gw_bitmap_is_empty(&job->track->pending))
			return 0;
		if (takes > 0)
			gw_say(&job->diag, GW_DEBUG, "%" PRIu64 " grains came late", fresh_grains);
		began = now_ns(job);
		round_begins(job, GW_PHASE_QUIESCED, pending_bytes(job));
		err = gw_engine_copy(job->engine);
		if (err < 0)
			return err;
		blackout->copy_ns += now_ns(job) - began;
		gw_fault_point("last-copied");
		began = now_ns(job);
		err = verify_settled(job);
		if (err < 0)
			return err;
		blackout->verify_ns += now_ns(job) - began;
		began = now_ns(job);
		err = wait_nothing_in_flight(job);
		if (err < 0)
			return err;
		blackout->drain_ns += now_ns(job) - began;
	}
	return gw_fail_exit(&job->diag, GW_EXIT_NO_CONVERGENCE, -EBUSY,
		"source %s is still being written although its writers were to be stopped "
		"(hand-off %s); stop them, or use another --handoff", job->source.path,
		job->settings.handoff == GW_HANDOFF_NONE ? "none: the caller vouches" :
		job->settings.handoff == GW_HANDOFF_EXEC ? "exec" :
		job->settings.handoff == GW_HANDOFF_DM ? "dm" : "freeze");
}

static int record_quiescing(struct gw_job *job)
{
	struct json_object *const payload = json_object_new_object();
	static const char *const names[] = { "freeze", "exec", "none", "dm" };

	gw_json_put_string(payload, "handoff", names[job->settings.handoff]);
	gw_json_put_u64(payload, "predicted_blackout_ns", job->blackout.predicted_ns);
	gw_json_put_string(payload, "recovery", gw_handoff_recovery_json(job->handoff));
	return append_synced(job, GW_RECORD_QUIESCING, payload);
}

static int record_commit(struct gw_job *job)
{
	struct json_object *const payload = json_object_new_object();

	gw_json_put_u64(payload, "blackout_so_far_ns", now_ns(job) - job->blackout.began_ns);
	return append_synced(job, GW_RECORD_COMMIT, payload);
}

/* A file that was written in rounded-up pieces gets its exact size; a file that was read must have stood still. */
static int finish_files(struct gw_job *job)
{
	struct stat st;

	if (job->target.kind == GW_NODE_FILE &&
	    (ftruncate(job->fd[GW_TARGET], (off_t)job->geom.size_bytes) != 0 ||
	     fsync(job->fd[GW_TARGET]) != 0))
		return gw_fail_exit(&job->diag, GW_EXIT_IO, -errno, "target %s: %s",
				    job->target.path, strerror(errno));
	/* One that a dead process had written in pieces was found longer than it is to be. */
	if (job->target.kind == GW_NODE_FILE)
		job->target.size_bytes = job->geom.size_bytes;
	if (job->source.kind != GW_NODE_FILE)
		return 0;
	if (fstat(job->fd[GW_SOURCE], &st) != 0)
		return gw_fail_exit(&job->diag, GW_EXIT_IO, -errno, "source %s: %s",
				    job->source.path, strerror(errno));
	if ((uint64_t)st.st_size != job->geom.size_bytes ||
	    st.st_mtim.tv_sec != job->source_mtime.tv_sec ||
	    st.st_mtim.tv_nsec != job->source_mtime.tv_nsec)
		return gw_fail_exit(&job->diag, GW_EXIT_IO, -EBUSY,
			"source file %s was changed during the copy, and a file is not tracked; "
			"stop what writes it, or attach it to a loop device", job->source.path);
	return 0;
}

/* From stopped writers to the durable commit record. */
static int quiesce_and_commit(struct gw_job *job)
{
	struct gw_blackout *const blackout = &job->blackout;
	const struct gw_engine_stats before = *gw_engine_stats(job->engine);
	uint64_t began;
	int err;

	blackout->armed_ns = now_ns(job);
	err = gw_handoff_arm(job->handoff, &job->diag);

	/* They finish what they are at with no limit: that, too, is part of the blackout. */
	if (err >= 0)
		err = gw_job_unthrottle(job, "the switch begins");
	if (err >= 0)
		err = record_quiescing(job);
	if (err < 0)
		return err;
	gw_fault_point("quiescing-recorded");
	err = gw_job_enter_stretch(job, GW_STRETCH_BLACKOUT);
	if (err < 0)
		return err;
	blackout->began_ns = began = now_ns(job);
	blackout->happened = true;
	gw_manners_hurry(true);
	gw_job_repace(job);
	gw_job_publish(job, NULL);
	err = gw_handoff_quiesce(job->handoff, &job->diag);
	if (err < 0) {
		job->source_is_stuck = job->diag.exit_code == GW_EXIT_UNCLEAR;
		return err;
	}
	blackout->user_ns = gw_handoff_user_ns(job->handoff);
	blackout->quiesce_ns = now_ns(job) - began - blackout->user_ns;
	gw_fault_point("quiesced");
	began = now_ns(job);
	err = flush_page_caches(job);
	if (err >= 0)
		err = wait_nothing_in_flight(job);
	if (err < 0)
		return err;
	blackout->drain_ns = now_ns(job) - began;
	gw_fault_point("drained");
	job->planner.round++;
	gw_heat_let_go(&job->heat);
	err = copy_to_empty(job);
	if (err < 0)
		return err;
	assert(gw_bitmap_is_empty(&job->track->pending));
	assert(gw_bitmap_is_empty(&job->track->copying));
	began = now_ns(job);
	err = gw_engine_flush(job->engine);
	if (err >= 0)
		err = finish_files(job);
	if (err >= 0)
		err = gw_node_check_same(&job->source, &job->diag);
	if (err >= 0)
		err = gw_node_check_same(&job->target, &job->diag);
	if (err < 0)
		return err;
	blackout->flush_ns = now_ns(job) - began;
	gw_fault_point("flushed");
	err = record_round(job, &before, true, now_ns(job) - blackout->began_ns, 0,
			   blackout->predicted_ns);
	if (err < 0)
		return err;
	/* The last moment at which it can be taken back: whoever cancels is asked once more. */
	job->shown_ns = 0;
	err = gw_job_tick(job);
	if (err >= 0)
		err = gw_job_see_events(job, 0);
	if (err >= 0)
		err = gw_job_carry_settings(job);
	if (err < 0)
		return err;
	began = now_ns(job);
	if (gw_handoff_loads(job->handoff))
		gw_job_close_pipeline(job);
	err = gw_handoff_load(job->handoff, &job->diag);
	if (err >= 0)
		err = gw_handoff_begin_commit(job->handoff, &job->diag);
	if (err < 0)
		return err;
	gw_fault_point("committing");
	err = record_commit(job);
	/* Whoever cleans up goes by the record: if it can be read, and not be taken back, it counts. */
	if (err < 0 && (gw_journal_retract(job->journal, &job->diag) == 0 ||
			gw_state_is_committed(job->state_dir) != 1))
		return err;
	job->committed = true;
	job->phase = GW_PHASE_COMMITTED;
	gw_job_publish(job, NULL);
	blackout->commit_ns = now_ns(job) - began;
	gw_fault_point("committed");
	return 0;
}

static int switch_over(struct gw_job *job)
{
	struct gw_blackout *const blackout = &job->blackout;
	uint64_t began = now_ns(job), user_ns;
	int err;

	if (job->target_track != NULL) {
		err = gw_track_drop_marks(job->target_track, &job->diag);
		if (err < 0)
			return err;
	}
	err = gw_handoff_switch(job->handoff, &job->diag);
	if (err < 0)
		return err;
	gw_fault_point("switched");
	err = append_synced(job, GW_RECORD_SWITCHED, json_object_new_object());
	if (err < 0)
		return err;
	err = gw_handoff_resume(job->handoff, &job->diag);
	if (err < 0)
		return err;
	gw_fault_point("resumed");
	user_ns = gw_handoff_user_ns(job->handoff);
	blackout->switch_ns = now_ns(job) - began - (user_ns - blackout->user_ns);
	blackout->user_ns = user_ns;
	blackout->total_ns = now_ns(job) - blackout->began_ns;
	return append_synced(job, GW_RECORD_RESUMED, json_object_new_object());
}

/* Early, since it may fail, and since it takes long to load. Marks count from the switch on. */
static int track_target(struct gw_job *job)
{
	const struct gw_track_block_config config = {
		.source = gw_track_source_for(&job->target),
		.node = &job->target,
		.grain_bytes = job->geom.grain_bytes,
		.size_bytes = job->geom.size_bytes,
		.skip_self_test = true,
	};

	if (job->settings.verify != GW_VERIFY_AFTER || job->target.kind != GW_NODE_BLOCK)
		return 0;
	return gw_track_block_start(&job->target_track, &config, &job->diag);
}

/*
 * Any failure before the commit record: the source goes on, and only when it does
 * the journal says so. Else whoever cleans up still finds it quiesced.
 */
static int give_back(struct gw_job *job, int err)
{
	struct json_object *payload;

	if (job->blackout.began_ns == 0)
		return err;
	if (gw_handoff_abort(job->handoff, &job->diag) < 0 || job->source_is_stuck) {
		job->diag.exit_code = GW_EXIT_UNCLEAR;
		return err;
	}
	/* Whoever noticed first that it took too long: the watchdog, the hand-off or the copy. */
	if (err == -ETIME && job->diag.exit_code == GW_EXIT_IO &&
	    now_ns(job) - job->blackout.armed_ns >= job->settings.quiesce_deadline_ns)
		job->diag.exit_code = GW_EXIT_NO_CONVERGENCE;
	payload = json_object_new_object();
	gw_json_put_string(payload, "text", "the writers go on on the source");
	gw_journal_append(job->journal, GW_RECORD_RESUMED, payload, &job->diag);
	gw_journal_sync(job->journal, &job->diag);
	return err;
}

/* Whoever was waiting for that may ask for changes at once: in a state that allows them. */
static void begin_running(struct gw_job *job, bool base_is_due)
{
	job->measuring = gw_job_will_measure(job);
	if (!job->measuring)
		job->phase = base_is_due ? GW_PHASE_BASE : GW_PHASE_ROUND;
	gw_job_publish(job, NULL);
	if (job->callbacks != NULL && job->callbacks->running != NULL)
		job->callbacks->running(job->callbacks->arg, job->name, job->state_dir);
}

int gw_job_copy_and_switch(struct gw_job *job, bool base_is_due)
{
	char why[400];
	int err;

	err = track_target(job);
	if (err < 0)
		return err;
	begin_running(job, base_is_due);
	err = gw_job_measure_before(job);
	if (err >= 0 && base_is_due)
		err = base_pass(job);
	if (err >= 0)
		err = converge(job, !base_is_due, why, sizeof(why));
	if (err >= 0)
		err = gw_job_decided(job, true, why);
	if (err < 0)
		return err;
	job->blackout.predicted_ns =
		gw_planner_predict_ns(&job->planner, pending_bytes(job));
	err = quiesce_and_commit(job);
	if (err < 0 && !job->committed) {
		gw_manners_hurry(false);
		return give_back(job, err);
	}
	/* Whoever takes over must be able to mount the target. */
	gw_job_close_pipeline(job);
	err = switch_over(job);
	gw_job_enter_stretch(job, GW_STRETCH_AFTER);
	if (err == 0)
		return 0;
	gw_fail_exit(&job->diag, GW_EXIT_UNCLEAR, err,
		     "the target %s is consistent and committed, but the switch did not finish; "
		     "only the target may run: see to it, then `godwit cleanup %s`",
		     job->target.path, job->name);
	/* Whatever the first cause said of a source that runs on. */
	job->diag.exit_code = GW_EXIT_UNCLEAR;
	return err;
}

/* ---- verification of a target that runs already ---- */

/* Leaves out what the target's new owner has written. Return: how many grains that were, or negative errno. */
static int64_t leave_out_changed(struct gw_job *job)
{
	struct gw_track_taken taken = { 0 };
	struct gw_run run;
	uint64_t cursor = 0, left_out;
	int err;

	if (job->target_track == NULL)
		return 0;
	err = gw_track_take(job->target_track, &taken, &job->diag);
	if (err < 0)
		return err;
	left_out = gw_bitmap_count(&job->unverified);
	while (gw_bitmap_next_run(&job->target_track->pending, &cursor, UINT64_MAX / 2, &run))
		gw_bitmap_clear(&job->unverified, run);
	return (int64_t)(left_out - gw_bitmap_count(&job->unverified));
}

int gw_job_verify_after(struct gw_job *job)
{
	const struct gw_diag loud = job->diag;
	const uint64_t total_grains = job->geom.size_grains;
	char verified[GW_UNIT_TEXT_BYTES], excluded[GW_UNIT_TEXT_BYTES];
	uint64_t left_out_grains = 0;
	struct json_object *payload;
	int64_t left_out;
	int err;

	gw_bitmap_set(&job->unverified, (struct gw_run){ 0, total_grains });
	round_begins(job, GW_PHASE_VERIFY, job->geom.size_bytes);
	do {
		left_out = leave_out_changed(job);
		if (left_out < 0)
			return (int)left_out;
		left_out_grains += (uint64_t)left_out;
		/* A difference may be a write of the new owner: then the next turn leaves it out. */
		job->diag.fn = NULL;
		err = gw_engine_verify(job->engine);
		job->diag.fn = loud.fn;
		if (err != -EILSEQ)
			break;
		left_out = leave_out_changed(job);
		if (left_out < 0)
			return (int)left_out;
		left_out_grains += (uint64_t)left_out;
		if (left_out > 0)
			gw_diag_clear(&job->diag);
	} while (left_out > 0);
	if (err < 0)
		gw_say(&job->diag, GW_ERROR, "%s", job->diag.text);
	if (err == -EILSEQ)
		job->diag.exit_code = GW_EXIT_DIFFERENT;
	if (err < 0 && err != -EILSEQ)
		return err;
	payload = json_object_new_object();
	gw_json_put_u64(payload, "verified_bytes",
			gw_engine_stats(job->engine)->verified_bytes);
	gw_json_put_bool(payload, "equal", err == 0);
	gw_json_put_u64(payload, "excluded_bytes", grains_bytes(job, left_out_grains));
	if (err < 0)
		gw_json_put_string(payload, "text", job->diag.text);
	if (err == 0)
		gw_say(&job->diag, GW_NOTE, "verified after the switch: %s equal, %s left out "
		       "(written to the target since)",
		       gw_format_bytes(verified, gw_engine_stats(job->engine)->verified_bytes),
		       gw_format_bytes(excluded, grains_bytes(job, left_out_grains)));
	gw_journal_append(job->journal, GW_RECORD_VERIFIED, payload, &job->diag);
	return err;
}

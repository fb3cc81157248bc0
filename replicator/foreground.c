// SPDX-License-Identifier: GPL-2.0-or-later
/* What the workload feels of a migration: looked at, told to the journal, and guarded. */
#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "job.h"

#include "track_latency.h"
#include "units.h"

#define BEFORE_NS (2 * GW_NS_PER_S)
#define BEFORE_NS_MAX (10 * GW_NS_PER_S)
#define BEFORE_JUDGEMENTS 5		/* worth of I/Os, if they come in time */
#define AFTER_NS (2 * GW_NS_PER_S)
#define NAP_NS (20 * GW_NS_PER_MS)
#define GAP_NS (500 * GW_NS_PER_MS)
#define SUMMARY_NS (60 * GW_NS_PER_S)
#define CANNOT_NS (10 * GW_NS_PER_S)	/* no more often is it told that it cannot, or can again */
#define FALLBACK_LIMIT_NS (10 * GW_NS_PER_MS)	/* of a factor of nothing: nobody is there yet */
#define FLOOR_BYTES_PER_S (UINT64_C(4) << 20)
#define FLOOR_SECONDS_MAX 86400		/* the base pass takes no more than a day */

static const char *const stretch_names[GW_STRETCHES] = {
	"before", "base", "rounds", "blackout", "after",
};

static const char *const kind_names[GW_LATENCY_KINDS] = { "reads", "writes" };

/* All at once, since a look is too large for a stack, and nothing is allocated in the tick. */
struct gw_foreground {
	struct gw_latency_watch *source, *target;	/* target: NULL unless its latencies say something */
	enum gw_stretch stretch;
	uint64_t stretch_began_ns;
	struct gw_latency_look now, then;	/* then: when the stretch began */
	struct gw_hist since, before[GW_LATENCY_KINDS], during[GW_LATENCY_KINDS];
	uint64_t during_ns;
	bool told_priority;
	struct gw_guard guard;
	bool is_guarding, told_cut, told_cannot, told_anothers;
	uint64_t told_ns, told_cannot_ns;	/* the last summary; when the floor was last spoken of */
	uint64_t told_anothers_ns;
	struct gw_guard_counts told;		/* what it counted up to */
	uint64_t ios[GW_LATENCY_KINDS], above[GW_LATENCY_KINDS], copied_bytes;	/* when last fed */
};

static struct gw_latency_watch *watch_of(const struct gw_foreground *fg)
{
	return fg->stretch == GW_STRETCH_AFTER ? fg->target : fg->source;
}

/* ---- records ---- */

static void put_hist(struct json_object *payload, const char *key, const struct gw_hist *hist)
{
	struct json_object *const object = json_object_new_object();

	assert(object != NULL);
	gw_json_put_u64(object, "count", hist->count);
	gw_json_put_u64(object, "p50_ns", gw_hist_quantile_ns(hist, 500000));
	gw_json_put_u64(object, "p99_ns", gw_hist_quantile_ns(hist, 990000));
	gw_json_put_u64(object, "p999_ns", gw_hist_quantile_ns(hist, 999000));
	gw_json_put_u64(object, "max_ns", gw_hist_quantile_ns(hist, GW_PPM));
	gw_json_put_object(payload, key, object);
}

/*
 * The copier never writes to the source, so a write with its priority is somebody else's, and
 * so is a read before it began.
 */
static int judge_priority(struct gw_job *job)
{
	struct gw_foreground *const fg = job->foreground;
	const uint64_t writes = fg->now.copier[GW_LATENCY_WRITE];
	const uint64_t reads = fg->stretch == GW_STRETCH_BEFORE ? fg->now.copier[GW_LATENCY_READ] : 0;

	if (fg->told_priority || fg->stretch == GW_STRETCH_AFTER || writes + reads == 0)
		return 0;
	fg->told_priority = true;
	return gw_job_note(job, GW_WARNING,
		"%" PRIu64 " I/Os on source %s carry best-effort priority 6, by which godwit knows "
		"its copier's: they are in no latency, and no guard spares them. Give that workload "
		"another level (ionice)", writes + reads, job->source.path);
}

static int record_stretch(struct gw_job *job, uint64_t elapsed_ns)
{
	struct gw_foreground *const fg = job->foreground;
	struct json_object *const payload = json_object_new_object();
	const bool is_before = fg->stretch == GW_STRETCH_BEFORE;
	const bool is_during = !is_before && fg->stretch != GW_STRETCH_AFTER;

	gw_json_put_string(payload, "stretch", stretch_names[fg->stretch]);
	gw_json_put_u64(payload, "elapsed_ns", elapsed_ns);
	for (int kind = 0; kind < GW_LATENCY_KINDS; kind++) {
		gw_hist_since(&fg->since, &fg->now.kinds[kind], &fg->then.kinds[kind]);
		put_hist(payload, kind == GW_LATENCY_READ ? "read" : "write", &fg->since);
		if (is_before)
			fg->before[kind] = fg->since;
		if (is_during)
			gw_hist_add(&fg->during[kind], &fg->since);
	}
	if (is_during)
		fg->during_ns += elapsed_ns;
	gw_json_put_u64(payload, "copier_ios", fg->now.copier[GW_LATENCY_READ] +
			fg->now.copier[GW_LATENCY_WRITE] - fg->then.copier[GW_LATENCY_READ] -
			fg->then.copier[GW_LATENCY_WRITE]);
	gw_json_put_u64(payload, "not_timed_ios", fg->now.not_timed - fg->then.not_timed);
	gw_json_put_u64(payload, "missed", fg->now.missed - fg->then.missed);
	return gw_journal_append(job->journal, GW_RECORD_LATENCY, payload, &job->diag);
}

static int end_stretch(struct gw_job *job)
{
	struct gw_foreground *const fg = job->foreground;
	const uint64_t elapsed_ns = gw_now_ns(job->clock) - fg->stretch_began_ns;
	int err;

	if (watch_of(fg) == NULL)
		return 0;
	gw_latency_take_look(watch_of(fg), &fg->now);
	err = judge_priority(job);
	return err < 0 ? err : record_stretch(job, elapsed_ns);
}

int gw_job_enter_stretch(struct gw_job *job, enum gw_stretch stretch)
{
	struct gw_foreground *const fg = job->foreground;
	int err;

	if (fg == NULL || fg->stretch == stretch)
		return 0;
	err = end_stretch(job);
	fg->stretch = stretch;
	fg->stretch_began_ns = gw_now_ns(job->clock);
	if (watch_of(fg) != NULL)
		gw_latency_take_look(watch_of(fg), &fg->then);
	return err;
}

/* ---- beginning and end ---- */

/* Where the work goes on by itself, the target tells how it fares there. */
static void watch_target(struct gw_job *job, struct gw_foreground *fg)
{
	struct gw_diag quiet = { 0 };

	if (job->settings.handoff == GW_HANDOFF_EXEC && job->target.kind == GW_NODE_BLOCK)
		gw_latency_start(&fg->target, &job->target, GW_COPIER_IOPRIO, &quiet);
}

int gw_job_watch_foreground(struct gw_job *job)
{
	struct gw_guard_spec spec = { 0 };
	struct gw_diag quiet = { .fn = NULL };
	struct gw_foreground *fg;
	int err;

	if (job->settings.guard != NULL && gw_guard_parse(&spec, job->settings.guard) < 0)
		return gw_fail_exit(&job->diag, GW_EXIT_USAGE, -EINVAL,
				    "--guard: \"%s\" is not accepted; give " GW_GUARD_ACCEPTED,
				    job->settings.guard);
	if (job->settings.track == GW_TRACK_NONE && spec.kind != GW_GUARD_OFF)
		return gw_fail_exit(&job->diag, GW_EXIT_USAGE, -EOPNOTSUPP,
				    "--guard %s: source %s is not tracked, so that nobody sees how "
				    "long its I/O takes", job->settings.guard, job->source.path);
	if (job->settings.track == GW_TRACK_NONE)
		return 0;
	fg = calloc(1, sizeof(*fg));
	assert(fg != NULL);
	err = gw_latency_start(&fg->source, &job->source, GW_COPIER_IOPRIO,
			       spec.kind != GW_GUARD_OFF ? &job->diag : &quiet);
	if (err < 0) {
		free(fg);
		if (spec.kind != GW_GUARD_OFF)
			return err;
		return gw_job_note(job, GW_WARNING, "the report will tell of no latencies: %s",
				   quiet.text);
	}
	watch_target(job, fg);
	fg->stretch = GW_STRETCH_BEFORE;
	fg->stretch_began_ns = fg->told_ns = gw_now_ns(job->clock);
	job->foreground = fg;
	return 0;
}

void gw_job_begin_before(struct gw_job *job)
{
	struct gw_foreground *const fg = job->foreground;

	if (fg == NULL || fg->stretch != GW_STRETCH_BEFORE)
		return;
	gw_latency_take_look(fg->source, &fg->then);
	fg->stretch_began_ns = gw_now_ns(job->clock);
}

uint64_t gw_job_foreground_bytes(const struct gw_job *job)
{
	const struct gw_foreground *const fg = job->foreground;
	uint64_t bytes;

	if (fg == NULL)
		return 0;
	bytes = sizeof(*fg) + gw_latency_bytes(fg->source);
	return fg->target != NULL ? bytes + gw_latency_bytes(fg->target) : bytes;
}

/* The stretches of the copy together. */
static void record_during(struct gw_job *job)
{
	const struct gw_foreground *const fg = job->foreground;
	struct json_object *const payload = json_object_new_object();

	gw_json_put_string(payload, "stretch", "during");
	gw_json_put_u64(payload, "elapsed_ns", fg->during_ns);
	put_hist(payload, "read", &fg->during[GW_LATENCY_READ]);
	put_hist(payload, "write", &fg->during[GW_LATENCY_WRITE]);
	gw_journal_append(job->journal, GW_RECORD_LATENCY, payload, &job->diag);
}

static int tell_summary(struct gw_job *job, uint64_t now_ns, const char *of_what)
{
	struct gw_foreground *const fg = job->foreground;
	const struct gw_guard_counts *const counts = &fg->guard.counts, *const told = &fg->told;
	const uint64_t ios = counts->ios - told->ios, above = counts->above - told->above;
	char low[GW_UNIT_TEXT_BYTES], high[GW_UNIT_TEXT_BYTES], now[GW_UNIT_TEXT_BYTES];
	const uint64_t cuts = counts->cuts - told->cuts, raises = counts->raises - told->raises;

	fg->told = *counts;
	fg->told_ns = now_ns;
	return gw_job_note(job, GW_NOTE,
		"guard, %s: %.2f %% of %" PRIu64 " I/Os above the limit, %g %% may be; the rate was cut "
		"%" PRIu64 " times and raised %" PRIu64 ", between %s and %s since the start, now %s",
		of_what, ios > 0 ? 100.0 * (double)above / (double)ios : 0.0, ios,
		fg->guard.allowed_ppm / 1e4, cuts, raises,
		gw_format_rate(low, counts->low_bytes_per_s),
		gw_format_rate(high, counts->high_bytes_per_s),
		gw_format_rate(now, fg->guard.rate_bytes_per_s));
}

void gw_job_leave_foreground(struct gw_job *job, bool to_record)
{
	struct gw_foreground *const fg = job->foreground;

	if (fg == NULL)
		return;
	if (to_record) {
		end_stretch(job);
		if (fg->stretch != GW_STRETCH_BEFORE)
			record_during(job);
		memset(&fg->told, 0, sizeof(fg->told));
		if (fg->is_guarding && fg->stretch != GW_STRETCH_BEFORE)
			tell_summary(job, gw_now_ns(job->clock), "in all");
	}
	gw_latency_stop(fg->source);
	gw_latency_stop(fg->target);
	free(fg);
	job->foreground = NULL;
}

/* ---- looking on, before and after ---- */

/*
 * Enough of each kind, but of one that comes so rarely that it would not have a limit of its own at
 * the end either.
 */
static bool has_seen_enough(struct gw_foreground *fg, uint32_t allowed_ppm, uint64_t looked_ns)
{
	const uint32_t ios_min = gw_guard_ios_min(allowed_ppm);
	const double to_come = (double)BEFORE_NS_MAX / (double)looked_ns;

	gw_latency_take_look(fg->source, &fg->now);
	for (int kind = 0; kind < GW_LATENCY_KINDS; kind++) {
		const uint64_t count = fg->now.kinds[kind].count;

		if (count < (uint64_t)BEFORE_JUDGEMENTS * ios_min && (double)count * to_come >= ios_min)
			return false;
	}
	return true;
}

static int nap(struct gw_job *job)
{
	const struct timespec time = { 0, (long)NAP_NS };

	nanosleep(&time, NULL);
	return gw_job_hear(job, gw_now_ns(job->clock));
}

/* Return: true with *spec if there is a guard, and somebody who looks. */
static bool has_guard(const struct gw_job *job, struct gw_guard_spec *spec)
{
	return job->foreground != NULL && job->settings.guard != NULL &&
	       gw_guard_parse(spec, job->settings.guard) >= 0 && spec->kind != GW_GUARD_OFF;
}

bool gw_job_will_measure(const struct gw_job *job)
{
	struct gw_guard_spec spec;

	return has_guard(job, &spec);
}

int gw_job_measure_before(struct gw_job *job)
{
	struct gw_foreground *const fg = job->foreground;
	struct gw_guard_spec spec;
	int err = 0;

	if (!has_guard(job, &spec))
		return 0;
	job->measuring = true;
	for (;;) {
		const uint64_t looked_ns = gw_now_ns(job->clock) - fg->stretch_began_ns;

		if (looked_ns >= BEFORE_NS_MAX ||
		    (looked_ns >= BEFORE_NS && has_seen_enough(fg, GW_PPM - spec.quantile_ppm, looked_ns)))
			break;
		err = nap(job);
		if (err < 0)
			return err;
	}
	job->measuring = false;
	job->planner.best_at_ns = gw_now_ns(job->clock);
	return gw_job_set_guard(job, job->settings.guard) < 0 ? -EINVAL : 0;
}

void gw_job_measure_after(struct gw_job *job)
{
	struct gw_foreground *const fg = job->foreground;

	if (fg == NULL || !fg->is_guarding || fg->target == NULL ||
	    fg->stretch != GW_STRETCH_AFTER || job->settings.exec_resume == NULL)
		return;
	while (gw_now_ns(job->clock) - fg->stretch_began_ns < AFTER_NS) {
		const struct timespec time = { 0, (long)NAP_NS };

		nanosleep(&time, NULL);
		/* Whoever wants to go may go: nothing is taken back any more. */
		if (job->callbacks != NULL && job->callbacks->progress != NULL) {
			const struct gw_migration_progress progress = {
				.phase = GW_PHASE_COMMITTED,
				.elapsed_ns = gw_now_ns(job->clock) - job->started_ns,
			};

			if (job->callbacks->progress(job->callbacks->arg, &progress) != 0)
				return;
		}
	}
}

/* ---- the guard ---- */

/* What is written meanwhile has to be copied, too; and it has to end some day. */
static uint64_t floor_of(const struct gw_job *job)
{
	uint64_t floor = FLOOR_BYTES_PER_S;
	const uint64_t dirty = job->planner.dirty_bytes_per_s + job->planner.dirty_bytes_per_s / 4;

	if (floor < job->geom.size_bytes / FLOOR_SECONDS_MAX)
		floor = job->geom.size_bytes / FLOOR_SECONDS_MAX;
	return floor < dirty ? dirty : floor;
}

static uint64_t copied_bytes(const struct gw_job *job)
{
	const struct gw_engine_stats *stats;

	if (job->engine == NULL)
		return 0;
	stats = gw_engine_stats(job->engine);
	return stats->read_bytes + stats->verified_bytes;
}

/* From here on counts what comes. */
static void begin_feeding(struct gw_job *job)
{
	struct gw_foreground *const fg = job->foreground;

	gw_latency_take_look(fg->source, &fg->now);
	for (int kind = 0; kind < GW_LATENCY_KINDS; kind++) {
		fg->ios[kind] = fg->now.kinds[kind].count;
		fg->above[kind] = gw_hist_above(&fg->now.kinds[kind], fg->guard.limit_ns[kind]);
	}
	fg->copied_bytes = copied_bytes(job);
}

/* Return: how many kinds have a limit; those without I/Os of their own take the other one's. */
static int find_limits(const struct gw_foreground *fg, const struct gw_guard_spec *spec,
		       uint64_t limit_ns[GW_LATENCY_KINDS])
{
	int found = 0;

	for (int kind = 0; kind < GW_LATENCY_KINDS; kind++) {
		const struct gw_hist *const before = &fg->before[kind];
		const uint64_t was_ns = gw_hist_quantile_ns(before, spec->quantile_ppm);

		limit_ns[kind] = 0;
		if (spec->kind == GW_GUARD_TIME)
			limit_ns[kind] = spec->limit_ns;
		else if (before->count >= gw_guard_ios_min(GW_PPM - spec->quantile_ppm))
			limit_ns[kind] = was_ns * spec->factor_milli / 1000;
		found += limit_ns[kind] != 0;
	}
	for (int kind = 0; found == 1 && kind < GW_LATENCY_KINDS; kind++)
		if (limit_ns[kind] == 0)
			limit_ns[kind] = limit_ns[!kind];
	return found;
}

static void format_slow(char *text, size_t bytes, const struct gw_guard *guard)
{
	const int kind = guard->judged_kind;
	char limit[GW_UNIT_TEXT_BYTES];

	snprintf(text, bytes, "%.0f of %.0f %s took longer than %s (%g %% may)",
		 guard->judged.above, guard->judged.ios, kind_names[kind],
		 gw_format_duration(limit, guard->limit_ns[kind]), guard->allowed_ppm / 1e4);
}

/* As far as it has come; the record of the stretch is still to be made. */
static void see_before(struct gw_foreground *fg)
{
	gw_latency_take_look(fg->source, &fg->now);
	for (int kind = 0; kind < GW_LATENCY_KINDS; kind++)
		gw_hist_since(&fg->before[kind], &fg->now.kinds[kind], &fg->then.kinds[kind]);
}

/* What holds, what it was made of, and how fast it can be. */
static int tell_limits(struct gw_job *job, const char *asked, uint32_t quantile_ppm)
{
	const struct gw_foreground *const fg = job->foreground;
	const struct gw_guard *const guard = &fg->guard;
	const uint32_t ios_min = gw_guard_ios_min(guard->allowed_ppm);
	char reads[GW_UNIT_TEXT_BYTES], writes[GW_UNIT_TEXT_BYTES], were_reads[GW_UNIT_TEXT_BYTES],
		were_writes[GW_UNIT_TEXT_BYTES];
	const struct gw_hist *const before = fg->before;

	gw_format_duration(reads, guard->limit_ns[GW_LATENCY_READ]);
	gw_format_duration(writes, guard->limit_ns[GW_LATENCY_WRITE]);
	gw_format_duration(were_reads, gw_hist_quantile_ns(&before[GW_LATENCY_READ], quantile_ppm));
	gw_format_duration(were_writes, gw_hist_quantile_ns(&before[GW_LATENCY_WRITE], quantile_ppm));
	return gw_job_note(job, GW_NOTE,
		"guard %s: %s of reads may take %s, of writes %s; before the start it was %s of "
		"%" PRIu64 " reads and %s of %" PRIu64 " writes. A judgement takes %u I/Os: it reacts "
		"within 50 ms from %" PRIu64 " I/Os/s on, later with fewer", asked,
		gw_guard_quantile_name(quantile_ppm), reads, writes, were_reads,
		before[GW_LATENCY_READ].count, were_writes, before[GW_LATENCY_WRITE].count, ios_min,
		gw_guard_ios_per_s_min(guard->allowed_ppm));
}

/* Told once, since it will be so all the time. */
static int tell_exceeded_before(struct gw_job *job, uint32_t quantile_ppm)
{
	const struct gw_foreground *const fg = job->foreground;
	char was[GW_UNIT_TEXT_BYTES], limit[GW_UNIT_TEXT_BYTES];

	for (int kind = 0; kind < GW_LATENCY_KINDS; kind++) {
		const uint64_t was_ns = gw_hist_quantile_ns(&fg->before[kind], quantile_ppm);

		if (was_ns <= fg->guard.limit_ns[kind])
			continue;
		return gw_job_note(job, GW_WARNING,
			"guard: before the start %s of %s was %s already, the limit is %s: the copier "
			"will keep to its floor", gw_guard_quantile_name(quantile_ppm),
			kind_names[kind], gw_format_duration(was, was_ns),
			gw_format_duration(limit, fg->guard.limit_ns[kind]));
	}
	return 0;
}

static void use_rate(struct gw_job *job, uint64_t bytes_per_s)
{
	if (job->guard_bytes_per_s == bytes_per_s)
		return;
	job->guard_bytes_per_s = bytes_per_s;
	gw_job_repace(job);
}

static void use_pause(struct gw_job *job, bool pauses)
{
	if (job->guard_pauses == pauses)
		return;
	job->guard_pauses = pauses;
	gw_job_repace(job);
}

static int begin_guarding(struct gw_job *job, const struct gw_guard_spec *spec, const char *text)
{
	struct gw_foreground *const fg = job->foreground;
	uint64_t limit_ns[GW_LATENCY_KINDS];
	const int found = find_limits(fg, spec, limit_ns);
	const uint64_t now_ns = gw_now_ns(job->clock);

	if (found == 0 && job->planner.round > 0) {
		gw_say(&job->diag, GW_WARNING, "guard %s: too few I/Os were seen before the start; "
		       "give a time, such as p99=2ms", text);
		return -ENODATA;
	}
	if (found == 0) {
		limit_ns[GW_LATENCY_READ] = limit_ns[GW_LATENCY_WRITE] = FALLBACK_LIMIT_NS;
		gw_job_note(job, GW_WARNING, "guard %s: there were too few I/Os before the start to "
			    "compare with; 10 ms is the limit", text);
	}
	gw_guard_start(&fg->guard, spec->quantile_ppm, limit_ns, floor_of(job),
		       job->settings.bandwidth_bytes_per_s, now_ns);
	fg->guard.may_forgive = spec->kind == GW_GUARD_FACTOR;
	/* So that an I/O that has to wait for one of them keeps within the limit. */
	job->guard_run_ns = GW_PACER_RUN_NS;
	for (int kind = 0; kind < GW_LATENCY_KINDS; kind++)
		if (limit_ns[kind] / 2 < job->guard_run_ns)
			job->guard_run_ns = limit_ns[kind] / 2;
	fg->is_guarding = true;
	fg->told_cut = fg->told_cannot = fg->told_anothers = false;
	fg->told_ns = now_ns;
	memset(&fg->told, 0, sizeof(fg->told));
	begin_feeding(job);
	use_rate(job, fg->guard.rate_bytes_per_s);
	use_pause(job, false);
	tell_limits(job, text, spec->quantile_ppm);
	tell_exceeded_before(job, spec->quantile_ppm);
	return 0;
}

int gw_job_set_guard(struct gw_job *job, const char *text)
{
	struct gw_foreground *const fg = job->foreground;
	struct gw_guard_spec spec;
	char *copy;
	int err = gw_guard_parse(&spec, text);

	if (err < 0) {
		gw_say(&job->diag, GW_WARNING, "guard: \"%s\" is not accepted; give "
		       GW_GUARD_ACCEPTED, text);
		return err;
	}
	if (fg == NULL && spec.kind != GW_GUARD_OFF) {
		gw_say(&job->diag, GW_WARNING, "guard %s: nobody looks at the latencies of source %s",
		       text, job->source.path);
		return -EOPNOTSUPP;
	}
	if (fg != NULL && fg->stretch == GW_STRETCH_BEFORE)
		see_before(fg);
	if (spec.kind != GW_GUARD_OFF) {
		err = begin_guarding(job, &spec, text);
	} else if (fg != NULL && fg->is_guarding) {
		fg->is_guarding = false;
		use_rate(job, 0);
		use_pause(job, false);
		gw_job_note(job, GW_NOTE, "guard off: the copier no longer heeds the latencies");
	}
	copy = err >= 0 ? strdup(text) : NULL;
	if (copy != NULL) {
		free(job->settings.guard);
		job->settings.guard = copy;
	}
	return err;
}

/* ---- the guard's part of the tick ---- */

/* Whose doing the slow ones are, as the last pause has found. */
static int tell_anothers(struct gw_job *job, uint64_t now_ns)
{
	struct gw_foreground *const fg = job->foreground;
	const struct gw_guard *const guard = &fg->guard;
	const struct gw_guard_share *const paused = &guard->paused[guard->anothers_kind];

	if (guard->is_pausing || guard->is_anothers == fg->told_anothers ||
	    now_ns - fg->told_anothers_ns < CANNOT_NS)
		return 0;
	fg->told_anothers = guard->is_anothers;
	fg->told_anothers_ns = now_ns;
	if (!guard->is_anothers)
		return gw_job_note(job, GW_NOTE, "guard: what is slow is no longer somebody else's doing");
	return gw_job_note(job, GW_NOTE, "guard: while the copier stood still, %.0f of %.0f %s took longer "
			   "than the limit all the same: somebody else's doing; %s", paused->above,
			   paused->ios, kind_names[guard->anothers_kind], guard->may_forgive ?
			   "as many are allowed besides" :
			   "the limit is a time, and the copier stays at its floor");
}

/* Each step to who wants to see everything; the first cut and what changes to the journal. */
static int tell_step(struct gw_job *job, enum gw_guard_step step, uint64_t before_bytes_per_s,
		     uint64_t now_ns)
{
	struct gw_foreground *const fg = job->foreground;
	struct gw_guard *const guard = &fg->guard;
	char slow[160], rate[GW_UNIT_TEXT_BYTES], before[GW_UNIT_TEXT_BYTES];
	int err = 0;

	gw_format_rate(rate, guard->rate_bytes_per_s);
	gw_format_rate(before, before_bytes_per_s);
	format_slow(slow, sizeof(slow), guard);
	if (step != GW_GUARD_KEEP) {
		const bool is_first = step == GW_GUARD_CUT && !fg->told_cut;

		if (is_first)
			err = gw_job_note(job, GW_NOTE, "guard: %s instead of %s, since %s", rate,
					  before, slow);
		else
			gw_say(&job->diag, GW_DEBUG, "guard: %s instead of %s, since %s", rate,
			       before, slow);
		fg->told_cut = fg->told_cut || is_first;
	}
	if (err >= 0 && guard->cannot != fg->told_cannot &&
	    now_ns - fg->told_cannot_ns >= CANNOT_NS) {
		fg->told_cannot = guard->cannot;
		fg->told_cannot_ns = now_ns;
		err = guard->cannot ?
			gw_job_note(job, GW_WARNING, "guard: the limit cannot be kept: %s, and the "
				    "copier is at its floor of %s already, without which it would never "
				    "be done; it goes on at that", slow, rate) :
			gw_job_note(job, GW_NOTE, "guard: the limit is kept again");
	}
	if (err >= 0)
		err = tell_anothers(job, now_ns);
	if (err >= 0 && now_ns - fg->told_ns >= SUMMARY_NS)
		err = tell_summary(job, now_ns, "in the last minute");
	return err;
}

int gw_job_guard_tick(struct gw_job *job, uint64_t now_ns)
{
	struct gw_foreground *const fg = job->foreground;
	struct gw_guard_sample sample = { .now_ns = now_ns };
	enum gw_guard_step step;
	uint64_t before_bytes_per_s;

	if (fg == NULL || !fg->is_guarding)
		return 0;
	/* The copier stood still, or waited for the target's flush: nothing to judge it by. */
	if (job->paused || now_ns - fg->guard.fed_ns > GAP_NS) {
		gw_guard_skip(&fg->guard, now_ns);
		use_pause(job, false);
		begin_feeding(job);
		return 0;
	}
	for (int kind = 0; kind < GW_LATENCY_KINDS; kind++) {
		sample.ios[kind] = fg->ios[kind];
		sample.above[kind] = fg->above[kind];
	}
	sample.copied_bytes = fg->copied_bytes;
	begin_feeding(job);
	for (int kind = 0; kind < GW_LATENCY_KINDS; kind++) {
		sample.ios[kind] = fg->ios[kind] - sample.ios[kind];
		sample.above[kind] = fg->above[kind] - sample.above[kind];
	}
	sample.copied_bytes = fg->copied_bytes - sample.copied_bytes;
	gw_guard_set_bounds(&fg->guard, floor_of(job), job->settings.bandwidth_bytes_per_s);
	before_bytes_per_s = fg->guard.rate_bytes_per_s;
	step = gw_guard_feed(&fg->guard, &sample);
	use_rate(job, fg->guard.rate_bytes_per_s);
	use_pause(job, fg->guard.is_pausing);
	return tell_step(job, step, before_bytes_per_s, now_ns);
}

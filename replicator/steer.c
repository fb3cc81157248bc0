// SPDX-License-Identifier: GPL-2.0-or-later
/* What is asked of a migration while it runs: over the control socket, into the journal, done. */
#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "job.h"
#include "units.h"

#define NAP_NS (20 * GW_NS_PER_MS)
/* Of decisions that come fast, the first so many are recorded, then one in so long. */
#define DECISIONS_MAX 32
#define DECISION_NS (10 * GW_NS_PER_S)

/* ---- pause ---- */

void gw_job_pause(struct gw_job *job)
{
	assert(job->blackout.began_ns == 0);
	if (job->paused)
		return;
	job->paused = true;
	job->paused_at_ns = gw_now_ns(job->clock);
	gw_job_repace(job);
}

/* The pause belongs to no round: neither its rate nor --timeout knows of it. */
void gw_job_resume(struct gw_job *job)
{
	uint64_t paused_ns;

	if (!job->paused)
		return;
	paused_ns = gw_now_ns(job->clock) - job->paused_at_ns;
	job->paused = false;
	job->round_began_ns += paused_ns;
	job->planner.best_at_ns += paused_ns;
	gw_job_repace(job);
}

int gw_job_listen(struct gw_job *job)
{
	const struct timespec nap = { 0, (long)NAP_NS };
	int err = gw_job_hear(job, gw_now_ns(job->clock));

	while (err >= 0 && job->paused) {
		nanosleep(&nap, NULL);
		err = gw_job_hear(job, gw_now_ns(job->clock));
	}
	return err;
}

/* ---- what others see ---- */

static enum gw_control_state state_of(const struct gw_job *job)
{
	if (job->committed)
		return job->phase == GW_PHASE_VERIFY ? GW_CONTROL_CHECKING : GW_CONTROL_COMMITTED;
	if (job->blackout.began_ns != 0)
		return GW_CONTROL_QUIESCED;
	if (job->paused)
		return GW_CONTROL_PAUSED;
	if (job->waiting)
		return GW_CONTROL_WAITING;
	if (job->measuring)
		return GW_CONTROL_BASELINE;
	switch (job->phase) {
	case GW_PHASE_BASE:
		return GW_CONTROL_BASE;
	case GW_PHASE_VERIFY:
		return GW_CONTROL_VERIFYING;
	case GW_PHASE_PREPARE:
		return GW_CONTROL_PREPARING;
	default:
		return GW_CONTROL_ROUND;
	}
}

void gw_job_publish(struct gw_job *job, const struct gw_migration_progress *progress)
{
	struct gw_control_status *const status = &job->status;

	if (job->control == NULL)
		return;
	status->state = state_of(job);
	if (progress != NULL)
		status->progress = *progress;
	status->progress.phase = job->phase;
	gw_settings_values(&job->settings, &status->settings);
	status->switch_wanted = job->switch_wanted;
	status->cancel_wanted = job->cancelled;
	gw_job_throttle_status(job, &status->throttle);
	gw_control_publish(job->control, status);
}

static void cut(char out[GW_CONTROL_TEXT_BYTES], const char *text)
{
	snprintf(out, GW_CONTROL_TEXT_BYTES, "%.*s", GW_CONTROL_TEXT_BYTES - 1, text);
}

int gw_job_start_control(struct gw_job *job)
{
	struct gw_control_status *const status = &job->status;

	snprintf(status->name, sizeof(status->name), "%s", job->name);
	cut(status->source, job->source.path);
	cut(status->target, job->target.path);
	cut(status->state_dir, job->state_dir);
	status->pid = getpid();
	gw_settings_values(&job->settings, &status->settings);
	return gw_control_server_start(&job->control, job->run_dir, job->name, status, &job->diag);
}

void gw_job_stop_control(struct gw_job *job, int exit_code)
{
	gw_control_server_stop(job->control, exit_code,
			       exit_code == GW_EXIT_DONE ? "done" : job->diag.text);
	job->control = NULL;
}

void gw_job_show_decision(struct gw_job *job, const char *why)
{
	cut(job->status.decision, why);
}

int gw_job_decided(struct gw_job *job, bool is_rare, const char *why)
{
	const uint64_t now = gw_now_ns(job->clock);
	const bool is_same = strcmp(why, job->status.decision) == 0;
	struct json_object *payload;

	gw_job_show_decision(job, why);
	gw_say(&job->diag, is_rare ? GW_NOTE : GW_DEBUG, "%s", why);
	if (!is_rare && (++job->decisions > DECISIONS_MAX || is_same) &&
	    now - job->decision_ns < DECISION_NS) {
		job->decisions_left_out++;
		return 0;
	}
	if (!is_rare)
		gw_control_say(job->control, GW_MESSAGE_NOTE, why);
	payload = json_object_new_object();
	gw_json_put_string(payload, "level", "note");
	gw_json_put_string(payload, "text", why);
	if (job->decisions_left_out > 0)
		gw_json_put_u64(payload, "left_out", job->decisions_left_out);
	job->decisions_left_out = 0;
	job->decision_ns = now;
	return gw_journal_append(job->journal, GW_RECORD_NOTE, payload, &job->diag);
}

/* ---- requests ---- */

/* First of all: it may be refused, and then nothing is set. Return: 0, or 1 with *refusal. */
static int apply_guard(struct gw_job *job, const struct gw_control_request *request,
		       struct gw_control_refusal *refusal)
{
	char why[GW_CONTROL_TEXT_BYTES];
	int err;

	if ((request->set.mask & (1u << GW_CONTROL_GUARD)) == 0)
		return 0;
	err = gw_job_set_guard(job, request->set.guard);
	if (err >= 0)
		return 0;
	snprintf(why, sizeof(why), "guard \"%s\": %s", request->set.guard,
		 err == -EINVAL ? "it is none; give " GW_GUARD_ACCEPTED :
		 err == -ENODATA ? "too little was seen before the start to be a factor of" :
				   "nobody looks at the latencies of this source");
	gw_control_failed(refusal, request, err == -EINVAL ? GW_CONTROL_BAD_ARGUMENT :
			  GW_CONTROL_FAILED, why);
	return 1;
}

/* May it be set? Return: 0, or 1 with *refusal. */
static int check_throttling(const struct gw_job *job, const struct gw_control_request *request,
			    struct gw_control_refusal *refusal)
{
	if ((request->set.mask & (1u << GW_CONTROL_THROTTLE_WRITERS)) == 0 ||
	    request->set.value[GW_CONTROL_THROTTLE_WRITERS] == 0 || job->throttling != NULL)
		return 0;
	gw_control_failed(refusal, request, GW_CONTROL_FAILED,
			  "throttle-writers: it was started without a cgroup; --continue can name one");
	return 1;
}

/* At once, whichever it is. Return: 0 or negative errno. */
static int apply_throttling(struct gw_job *job, const struct gw_control_values *set)
{
	if ((set->mask & (1u << GW_CONTROL_THROTTLE_WRITERS)) == 0)
		return 0;
	if (set->value[GW_CONTROL_THROTTLE_WRITERS] == 0)
		return gw_job_unthrottle(job, "throttling is switched off");
	gw_job_throttle_anew(job);
	return 0;
}

/* A setting that was changed: where else it is. Return: 0; 1 with *refusal; negative errno. */
static int apply(struct gw_job *job, const struct gw_control_request *request,
		 struct gw_control_refusal *refusal)
{
	const struct gw_control_values *const set = &request->set;
	int err;

	if (check_throttling(job, request, refusal) != 0 || apply_guard(job, request, refusal) != 0)
		return 1;
	gw_settings_apply(&job->settings, set);
	job->planner.limits.downtime_ns = job->settings.downtime_limit_ns;
	job->planner.limits.timeout_ns = job->settings.timeout_ns;
	job->planner.limits.max_rounds = job->settings.max_rounds;
	gw_job_repace(job);
	err = apply_throttling(job, set);
	if (err < 0)
		return err;
	return gw_handoff_set_limits(job->handoff, job->settings.quiesce_deadline_ns,
				     job->settings.exec_timeout_ns, &job->diag);
}

/* "bandwidth 100 MiB/s, timeout 1 m" */
static void say_set(char *text, size_t text_bytes, const struct gw_control_values *set)
{
	size_t used = 0;

	text[0] = '\0';
	for (int i = 0; i < GW_CONTROL_SETTINGS && used < text_bytes; i++) {
		char value[GW_CONTROL_GUARD_BYTES];

		if ((set->mask & (1u << i)) == 0)
			continue;
		used += (size_t)snprintf(text + used, text_bytes - used, "%s%s %s",
			used > 0 ? ", " : "",
			gw_control_setting((enum gw_control_setting)i)->option,
			gw_control_value(value, (enum gw_control_setting)i, set));
	}
}

/* Whoever set a limit that nothing can keep, or waits for it, is to hear so. */
static void say_hopeless(const struct gw_job *job, char *text, size_t text_bytes)
{
	const size_t used = strlen(text);
	char fixed[GW_PLANNER_FIXED_BYTES];

	if (gw_planner_is_hopeless(&job->planner, fixed, sizeof(fixed)))
		snprintf(text + used, text_bytes - used, "; %s", fixed);
}

static void ask_for_switch(struct gw_job *job, char *text, size_t text_bytes)
{
	char limit[GW_UNIT_TEXT_BYTES];

	job->switch_wanted = true;
	snprintf(text, text_bytes, "it switches as soon as the predicted blackout fits the downtime "
		 "limit of %s", gw_format_duration(limit, job->settings.downtime_limit_ns));
	say_hopeless(job, text, text_bytes);
}

/* Return: 0, what was done in text; 1, why not in *refusal; negative errno. */
static int act(struct gw_job *job, const struct gw_control_request *request, char *text,
	       size_t text_bytes, struct gw_control_refusal *refusal)
{
	int done;

	switch (request->command) {
	case GW_CONTROL_PAUSE:
		gw_job_pause(job);
		snprintf(text, text_bytes, "paused; writes are tracked, and it goes on with resume");
		return 0;
	case GW_CONTROL_RESUME:
		gw_job_resume(job);
		snprintf(text, text_bytes, "going on");
		return 0;
	case GW_CONTROL_SET:
		say_set(text, text_bytes, &request->set);
		done = apply(job, request, refusal);
		if (done == 0 && (request->set.mask & (1u << GW_CONTROL_DOWNTIME_LIMIT)) != 0)
			say_hopeless(job, text, text_bytes);
		return done;
	case GW_CONTROL_SWITCH:
		ask_for_switch(job, text, text_bytes);
		return 0;
	case GW_CONTROL_CANCEL:
		job->cancelled = true;
		snprintf(text, text_bytes, "what was begun is taken back, the source goes on");
		return 0;
	default:
		assert(!gw_control_changes(request->command));
		return -EINVAL;
	}
}

static int record(struct gw_job *job, const struct gw_control_asked *asked,
		  enum gw_control_outcome outcome, const char *text)
{
	struct json_object *const payload = json_object_new_object();
	struct json_object *const set = json_object_new_object();

	gw_json_put_string(payload, "command", gw_control_command_name(asked->request.command));
	gw_json_put_string(payload, "outcome", gw_control_outcome_name(outcome));
	gw_json_put_u64(payload, "uid", asked->peer.uid);
	gw_json_put_u64(payload, "pid", (uint64_t)asked->peer.pid);
	gw_json_put_text(payload, "comm", asked->peer.comm);
	gw_control_put_values(set, &asked->request.set);
	gw_json_put_object(payload, "set", set);
	gw_json_put_text(payload, "text", text);
	gw_say(&job->diag, GW_NOTE, "%s (uid %u, process %lld %s): %s",
	       gw_control_command_name(asked->request.command), asked->peer.uid,
	       (long long)asked->peer.pid, asked->peer.comm, text);
	return gw_journal_append(job->journal, GW_RECORD_REQUEST, payload, &job->diag);
}

/* The state may be another one than when the server looked. */
static int take_one(struct gw_job *job, const struct gw_control_asked *asked)
{
	struct gw_control_refusal refusal;
	char text[GW_CONTROL_TEXT_BYTES];
	int done, err;

	text[0] = '\0';
	if (gw_control_check_state(&asked->request, state_of(job), &refusal) != 0)
		done = 1;
	else
		done = act(job, &asked->request, text, sizeof(text), &refusal);
	err = done < 0 ? done : record(job, asked, done == 0 ? GW_CONTROL_DONE : GW_CONTROL_REFUSED,
				       done == 0 ? text : refusal.text);
	gw_job_publish(job, NULL);
	/* What cannot be journalled ends the migration; whoever asked hears of that. */
	if (err < 0)
		gw_control_failed(&refusal, &asked->request, GW_CONTROL_FAILED, job->diag.text);
	gw_control_answer(job->control, asked, err < 0 || done != 0 ? &refusal : NULL, text);
	return err;
}

int gw_job_take_requests(struct gw_job *job)
{
	struct gw_control_asked asked;
	int err = 0;

	while (job->control != NULL && err >= 0 && gw_control_take(job->control, &asked))
		err = take_one(job, &asked);
	return err;
}

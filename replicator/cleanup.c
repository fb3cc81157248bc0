// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * `godwit cleanup`: what a dead migration left is removed the right way round:
 * first the source is given back (no commit record) or shut down (commit
 * record), then pins, digests and the run file go. The journal stays.
 */
#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "job.h"
#include "names.h"
#include "preflight.h"
#include "statefiles.h"

static struct json_object *done_by_hand(void)
{
	struct json_object *const payload = json_object_new_object();

	gw_json_put_string(payload, "what", "by hand: the hand-off's commands were not run");
	return payload;
}

static bool has_commands(const struct gw_journal_state *state)
{
	const char *const handoff = gw_json_string(state->started, "handoff");

	return handoff != NULL && strcmp(handoff, "exec") == 0;
}

/* The user answers for what the commands would have done. */
static int skip_commands(struct gw_job *job, const struct gw_journal_state *state)
{
	if (!has_commands(state))
		return gw_fail_exit(&job->diag, GW_EXIT_CANNOT, -EINVAL,
			"%s does not hand off by commands (exec): leave --skip-commands away",
			job->name);
	gw_say(&job->diag, GW_NOTE, state->has_commit ?
	       "%s was committed: only the target may run; no command is run, you have seen to it" :
	       "%s was not committed: the source goes on; no command is run, you have seen to it",
	       job->name);
	return gw_journal_append(job->journal, GW_RECORD_RESUMED, done_by_hand(), &job->diag);
}

/* From the journal: thaw, or shut down and thaw; nothing if nothing was stopped. */
static int settle_source(struct gw_job *job, const struct gw_journal_state *state, bool skips)
{
	const char *const recovery = gw_json_string(state->quiescing, "recovery");
	int err;

	if (!state->has_quiescing && !(state->has_commit && !state->has_resumed))
		return 0;
	if (skips)
		return skip_commands(job, state);
	if (recovery == NULL)
		return gw_fail_exit(&job->diag, GW_EXIT_UNCLEAR, -EBADMSG,
			"%s/" GW_JOURNAL_FILE " does not say how the source was quiesced; look at "
			"the source's mounts yourself", job->state_dir);
	err = gw_handoff_recover(recovery, state->has_commit, &job->diag);
	if (err < 0 && has_commands(state))
		gw_say(&job->diag, GW_NOTE, "mend the command and repeat this, or do by hand what it "
		       "should and run `godwit cleanup %s --skip-commands`", job->name);
	if (err < 0)
		return err;
	gw_say(&job->diag, GW_NOTE, state->has_commit ?
	       "%s was committed: the source is shut down, only the target may run" :
	       "%s was not committed: the source goes on", job->name);
	return gw_journal_append(job->journal, GW_RECORD_RESUMED, json_object_new_object(),
				 &job->diag);
}

static int record_cleaned(struct gw_job *job)
{
	struct json_object *const payload = json_object_new_object();
	int err;

	gw_json_put_string(payload, "what", "pins, digests and run file removed");
	err = gw_journal_append(job->journal, GW_RECORD_CLEANED, payload, &job->diag);
	return err < 0 ? err : gw_journal_sync(job->journal, &job->diag);
}

/* No journal here; if there is one where the run file says, these are not the last traces. */
static int check_no_other(struct gw_job *job)
{
	char known[PATH_MAX], path[PATH_MAX + 64];

	gw_state_find(known, job->name, NULL, job->run_dir);
	snprintf(path, sizeof(path), "%s/" GW_JOURNAL_FILE, known);
	if (access(path, F_OK) != 0)
		return 0;
	return gw_fail_exit(&job->diag, GW_EXIT_CANNOT, -ESTALE,
			    "the journal of %s is not in %s but in %s: leave --state-dir away",
			    job->name, job->state_dir, known);
}

/* Behind a lock, so that the socket is nobody's who is about to serve it. */
static void forget_run_files(struct gw_job *job)
{
	gw_control_remove_stale(job->run_dir, job->name);
	gw_state_forget(job->name, job->run_dir);
}

static int clean(struct gw_job *job, bool skips)
{
	struct gw_journal_state state = { 0 };
	int err = gw_journal_read_state(job->state_dir, &state, &job->diag);

	/* Killed before the journal was made: there can only be pins. */
	if (err == -ENOENT) {
		gw_diag_clear(&job->diag);
		err = check_no_other(job);
	} else if (err >= 0) {
		err = gw_state_check_name(job, state.started);
		if (err >= 0)
			err = gw_journal_open(&job->journal, job->state_dir, &job->diag);
	}
	/* The writers' limit first: it costs them most, and is in nobody's way. */
	if (err >= 0 && job->journal != NULL)
		err = gw_job_recover_throttling(job, state.throttled);
	if (err >= 0 && job->journal != NULL)
		err = settle_source(job, &state, skips);
	if (err >= 0 && job->journal != NULL && state.has_started && !state.has_ended)
		err = record_cleaned(job);
	gw_journal_state_fini(&state);
	if (err < 0)
		return err;
	err = gw_track_block_remove(job->name, &job->diag);
	if (err >= 0)
		err = gw_state_remove_digests(job->state_dir, &job->diag);
	if (err >= 0)
		forget_run_files(job);
	return err;
}

/*
 * Somebody has removed the state directory, and with it what was known of the source;
 * the tracking would run for ever. A process that still needs it holds the disk's lock.
 */
static int clean_orphan(struct gw_job *job)
{
	struct gw_diag quiet = { 0 };
	int err = 0;

	if (gw_track_block_open(&job->track, job->name, &quiet) >= 0) {
		job->source = job->track->node;
		gw_track_close(job->track);
		job->track = NULL;
		err = gw_state_lock_disk(job);
	}
	if (err >= 0)
		err = gw_track_block_remove(job->name, &job->diag);
	if (err < 0)
		return err;
	forget_run_files(job);
	gw_say(&job->diag, GW_WARNING, "%s is gone, and nothing else tells whether the source of "
	       "%s was stopped: should it be frozen, thaw it (fsfreeze -u)", job->state_dir,
	       job->name);
	return 0;
}

static bool is_orphan(struct gw_job *job, const struct gw_migration_config *config)
{
	char run_file[PATH_MAX + 160];

	if (gw_migration_name(job->name, config, NULL, NULL) < 0)
		return false;
	snprintf(job->run_dir, sizeof(job->run_dir), "%s", config->run_dir);
	gw_state_find(job->state_dir, job->name, config->state_dir, job->run_dir);
	snprintf(run_file, sizeof(run_file), "%s/%s.state", job->run_dir, job->name);
	/* A name without a run file may be that of a `godwit track start`. */
	return config->state_dir == NULL && access(job->state_dir, F_OK) != 0 &&
	       access(run_file, F_OK) == 0;
}

static int pass_message_level(const struct gw_migration_callbacks *callbacks, enum gw_level level,
			      const char *text)
{
	if (callbacks != NULL && callbacks->message != NULL)
		callbacks->message(callbacks->arg, (enum gw_message)level, text);
	return 0;
}

/* Its state went its ordinary way, or was never made: the socket is all that there is. */
static bool is_socket_only(struct gw_job *job, const struct gw_migration_config *config)
{
	char run_file[PATH_MAX + 160];

	if (gw_migration_name(job->name, config, NULL, NULL) < 0)
		return false;
	snprintf(job->run_dir, sizeof(job->run_dir), "%s", config->run_dir);
	gw_state_find(job->state_dir, job->name, config->state_dir, job->run_dir);
	snprintf(run_file, sizeof(run_file), "%s/%s.state", job->run_dir, job->name);
	return access(job->state_dir, F_OK) != 0 && access(run_file, F_OK) != 0;
}

static void pass_message(void *arg, enum gw_level level, const char *text)
{
	pass_message_level(arg, level, text);
}

static int clean_one(const char *name, const char *state_dir, const char *run_dir, bool skips,
		     const struct gw_migration_callbacks *callbacks)
{
	const struct gw_migration_config config = { .name = name, .state_dir = state_dir,
						    .run_dir = run_dir };
	struct gw_job *const job = calloc(1, sizeof(*job));
	int err, exit_code = GW_EXIT_DONE;

	if (job == NULL)
		return GW_EXIT_IO;
	job->diag.fn = pass_message;
	job->diag.arg = (void *)callbacks;
	job->state_lock_fd = job->disk_lock_fd = -1;
	if (is_orphan(job, &config))
		err = clean_orphan(job);
	else if (is_socket_only(job, &config) && gw_control_remove_stale(run_dir, name))
		err = 0;
	else if ((err = gw_state_open(job, &config)) >= 0)
		err = clean(job, skips);
	if (err >= 0)
		gw_say(&job->diag, GW_NOTE, "%s: nothing is left but its journal", name);
	else
		exit_code = job->diag.exit_code != GW_EXIT_DONE ? (int)job->diag.exit_code :
								  GW_EXIT_UNCLEAR;
	gw_journal_close(job->journal);
	gw_state_unlock(job);
	free(job);
	return exit_code;
}

/* Of all of them, one that runs is no failure. */
static bool is_left_alone(const char *name, const char *run_dir,
			  const struct gw_migration_callbacks *callbacks)
{
	char text[160];

	if (!gw_control_is_served(run_dir, name))
		return false;
	snprintf(text, sizeof(text), "%s runs, and is left alone", name);
	pass_message_level(callbacks, GW_NOTE, text);
	return true;
}

int gw_migration_cleanup(const char *name, const char *state_dir, const char *run_dir,
			 bool skips, const struct gw_migration_callbacks *callbacks)
{
	struct gw_names *names;
	int worst = GW_EXIT_DONE;

	if (run_dir == NULL)
		run_dir = GW_RUN_DIR;
	assert(name != NULL || !skips);
	gw_handoff_committed = gw_state_is_committed;
	if (name != NULL)
		return clean_one(name, state_dir, run_dir, skips, callbacks);
	names = calloc(1, sizeof(*names));
	if (names == NULL)
		return GW_EXIT_IO;
	gw_names_find(names, run_dir);
	for (uint32_t i = 0; i < names->count; i++) {
		int exit_code = GW_EXIT_DONE;

		if (!is_left_alone(names->name[i], run_dir, callbacks))
			exit_code = clean_one(names->name[i], NULL, run_dir, false, callbacks);
		if (exit_code > worst)
			worst = exit_code;
	}
	if (names->count == 0)
		pass_message_level(callbacks, GW_NOTE, "nothing to clean up");
	free(names);
	return worst;
}

// SPDX-License-Identifier: GPL-2.0-or-later
/* The verb continue: go on with what a dead process left, from its journal and pins. */
#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/vfs.h>

#include <linux/magic.h>

#include <godwit/migration.h>

#include "job.h"
#include "statefiles.h"
#include "units.h"

/* Where a dead migration stood. */
struct stand {
	struct gw_journal_state state;
	bool has_tracking, has_verified;
	uint64_t generation;
	uint64_t rounds;
	uint64_t target_dev, target_ino;	/* of a file, once it was made; 0: not said */
	uint64_t target_diskseq;	/* of a disk; 0: not said */
	uint64_t target_first_sector;	/* on that disk */
	struct gw_control_values set;		/* over the control socket, while it ran */
};

/* The last word on a setting counts. */
static void see_request(struct stand *stand, struct json_object *payload)
{
	const char *const outcome = gw_json_string(payload, "outcome");
	struct json_object *set;

	if (outcome != NULL && strcmp(outcome, gw_control_outcome_name(GW_CONTROL_DONE)) == 0 &&
	    json_object_object_get_ex(payload, "set", &set))
		gw_control_take_values(set, &stand->set);
}

static int see_record(void *arg, const struct gw_record *record, struct json_object *payload)
{
	struct stand *const stand = arg;

	if (record->type == GW_RECORD_TRACKING) {
		stand->has_tracking = gw_json_u64(payload, "generation", &stand->generation);
		stand->rounds = 0;
		gw_json_u64(payload, "target_dev", &stand->target_dev);
		gw_json_u64(payload, "target_ino", &stand->target_ino);
		stand->target_diskseq = 0;
		if (gw_json_u64(payload, "target_first_sector", &stand->target_first_sector))
			gw_json_u64(payload, "target_diskseq", &stand->target_diskseq);
	}
	if (record->type == GW_RECORD_CONTINUED && stand->state.started != NULL)
		gw_settings_take_given(stand->state.started, &stand->set, payload);
	if (record->type == GW_RECORD_REQUEST)
		see_request(stand, payload);
	if (record->type == GW_RECORD_VERIFIED)
		stand->has_verified = true;
	if (record->type == GW_RECORD_ROUND)
		gw_json_u64(payload, "round", &stand->rounds);
	return 0;
}

static int read_stand(struct gw_job *job, struct stand *stand)
{
	int err = gw_journal_read_state(job->state_dir, &stand->state, &job->diag);

	/* Killed before the journal was made, or the directory is not what it was. */
	if (err == -ENOENT) {
		gw_diag_clear(&job->diag);
		return gw_fail_exit(&job->diag, GW_EXIT_CANNOT, err,
			"there is no journal in %s: if nothing that was there is missing, migration %s died "
			"before it had begun, and nothing was copied: `godwit cleanup %s`, then start it anew",
			job->state_dir, job->name, job->name);
	}
	if (err < 0)
		return err;
	err = gw_journal_each(job->state_dir, see_record, stand, NULL, &job->diag);
	if (err < 0)
		return err;
	if (!stand->state.has_started)
		return gw_fail_exit(&job->diag, GW_EXIT_CANNOT, -ENOENT,
			"migration %s died before it had begun, nothing was copied: "
			"`godwit cleanup %s`, then start it anew", job->name, job->name);
	err = gw_state_check_name(job, stand->state.started);
	if (err < 0)
		return err;
	if (stand->state.has_ended && stand->state.exit_code != GW_EXIT_DONE)
		return gw_fail_exit(&job->diag, GW_EXIT_CANNOT, -EALREADY,
			"migration %s has ended with exit code %" PRIu64 ", there is nothing to "
			"continue: see `godwit report %s`", job->name, stand->state.exit_code,
			job->state_dir);
	return 0;
}

static int recover_handoff(struct gw_job *job, const struct stand *stand)
{
	const char *recovery = gw_json_string(stand->state.quiescing, "recovery");
	int err = 0;

	if (stand->state.has_quiescing || stand->state.has_commit) {
		if (recovery == NULL)
			return gw_job_bad_journal(job, "recovery");
		err = gw_handoff_recover(recovery, stand->state.has_commit, &job->diag);
	}
	return err;
}

/* Died after the commit: the target is whole, only the switch and the tidying up may be missing. */
static int finish_committed(struct gw_job *job, const struct stand *stand)
{
	const char *const verify = gw_json_string(stand->state.started, "verify");
	int err = stand->state.has_resumed ? 0 : recover_handoff(job, stand);

	if (err < 0)
		return gw_fail_exit(&job->diag, GW_EXIT_UNCLEAR, err,
			"the target is consistent and committed, but the switch did not finish");
	job->committed = true;
	gw_say(&job->diag, GW_NOTE, "the target was committed before the process died; "
	       "the switch is finished");
	/* Who wrote to it since is not known: nothing could be told from a difference. */
	if (verify != NULL && strcmp(verify, "after") == 0 && !stand->has_verified)
		gw_job_note(job, GW_WARNING, "the target was to be verified after the switch, and "
			    "was not");
	if (!stand->state.has_resumed)
		gw_journal_append(job->journal, GW_RECORD_RESUMED, json_object_new_object(),
				  &job->diag);
	return gw_track_block_remove(job->name, &job->diag);
}

/* Died after its last record. */
static int finish_ended(struct gw_job *job)
{
	gw_say(&job->diag, GW_NOTE, "migration %s was done before the process died", job->name);
	gw_journal_close(job->journal);
	job->journal = NULL;
	return gw_track_block_remove(job->name, &job->diag);
}

static int look_at_nodes(struct gw_job *job, struct json_object *started)
{
	const char *const source = gw_json_string(started, "source");
	const char *const target = gw_json_string(started, "target");
	int err;

	if (source == NULL || target == NULL)
		return gw_job_bad_journal(job, "source");
	err = gw_node_look(&job->source, source, &job->diag);
	if (err >= 0)
		err = gw_node_look(&job->target, target, &job->diag);
	if (err >= 0)
		err = gw_job_check_identity(job, started, "source", &job->source);
	if (err >= 0)
		err = gw_job_check_identity(job, started, "target", &job->target);
	return err;
}

/* What was settled is in the file that was made then, not in one of the same name. */
static int check_target_file(struct gw_job *job, const struct stand *stand)
{
	if (job->target.kind != GW_NODE_FILE || !stand->has_tracking || stand->target_ino == 0 ||
	    (stand->target_dev == (uint64_t)job->target.file_dev &&
	     stand->target_ino == (uint64_t)job->target.file_ino))
		return 0;
	return gw_fail_exit(&job->diag, GW_EXIT_CANNOT, -ESTALE,
		"target %s is another file than the one that migration %s wrote to; bring the old "
		"one back, or `godwit cleanup %s` and start anew", job->target.path, job->name,
		job->name);
}

/*
 * The pins tell of the source. What was settled on the target holds as long as the target was
 * there: one that was taken out meanwhile, and has its old name again, may have been written to
 * elsewhere, or have lost what it held; a partition may have been made anew at another place.
 */
static bool was_target_away(const struct gw_job *job, const struct stand *stand)
{
	return job->target.kind == GW_NODE_BLOCK && stand->target_diskseq != 0 &&
	       (stand->target_diskseq != job->target.diskseq ||
		stand->target_first_sector != job->target.disk_first_sector);
}

static int record_continued(struct gw_job *job, const struct gw_migration_config *config,
			    const char *how)
{
	struct json_object *const payload = json_object_new_object();
	char bytes[GW_UNIT_TEXT_BYTES];
	const uint64_t pending = gw_bitmap_count(&job->track->pending) << job->geom.grain_shift;

	gw_say(&job->diag, GW_NOTE, "continuing from %s: %s to copy", how,
	       gw_format_bytes(bytes, pending));
	gw_json_put_string(payload, "how", how);
	gw_json_put_u64(payload, "pending_bytes", pending);
	gw_json_put_u64(payload, "generation", job->track->generation);
	gw_settings_put_given(payload, &job->settings, config);
	return gw_journal_append(job->journal, GW_RECORD_CONTINUED, payload, &job->diag);
}

/* Settled grains have to be read back again: what was verified died with the process. */
static void restore_unverified(struct gw_job *job)
{
	if (job->settings.verify != GW_VERIFY_DURING)
		return;
	for (uint64_t grain = 0; grain < job->geom.size_grains; grain++)
		if (job->digests.words[grain] != GW_DIGEST_UNKNOWN &&
		    !gw_bitmap_test(&job->track->pending, grain))
			gw_bitmap_set(&job->unverified, (struct gw_run){ grain, 1 });
}

static int continue_from_pins(struct gw_job *job, const struct gw_migration_config *config,
			      const struct stand *stand)
{
	int err = gw_digests_open(&job->digests, job->state_dir, &job->geom, job->id, &job->diag);

	if (err < 0)
		gw_say(&job->diag, GW_NOTE, "without its digests it cannot go on: `godwit cleanup %s`, "
		       "and start it anew; with --overwrite --resync only what differs is written",
		       job->name);
	/* Taken, and then lost with the process that copied it: to be copied again. */
	gw_bitmap_move_all(&job->track->copying, &job->track->pending);
	if (err >= 0)
		err = gw_job_pin_events(job);
	if (err >= 0)
		err = record_continued(job, config, "pins");
	if (err >= 0)
		err = gw_job_open_rest(job);
	if (err < 0)
		return err;
	job->planner.round = (uint32_t)stand->rounds;
	restore_unverified(job);
	return gw_job_drive(job, false);
}

/* Marks are lost (reboot) or there were none yet: everything is looked at, what differs is written. */
static int continue_from_nothing(struct gw_job *job, const struct gw_migration_config *config,
				 bool is_resync)
{
	int err = gw_track_block_remove(job->name, &job->diag);

	if (err >= 0)
		err = gw_state_remove_digests(job->state_dir, &job->diag);
	job->settings.resync = is_resync;
	if (err >= 0)
		err = gw_job_start_from_nothing(job);
	if (err >= 0)
		err = record_continued(job, config, is_resync ? "resync" : "start");
	return err < 0 ? err : gw_job_drive(job, true);
}

static int open_pins(struct gw_job *job, const struct stand *stand)
{
	struct gw_diag quiet = { 0 };
	int err;

	if (job->settings.track == GW_TRACK_NONE)
		return -ENOENT;
	err = gw_track_block_open(&job->track, job->name, &quiet);
	if (err >= 0 && (job->track->generation != stand->generation ||
			 job->track->geom.size_bytes != job->geom.size_bytes ||
			 job->track->geom.grain_bytes != job->geom.grain_bytes)) {
		gw_track_close(job->track);
		job->track = NULL;
		err = -ENOENT;
	}
	if (err < 0 && err != -ENOENT)
		return gw_fail_exit(&job->diag, quiet.exit_code != GW_EXIT_DONE ?
				    quiet.exit_code : GW_EXIT_CANNOT, err, "%s", quiet.text);
	return err;
}

static int continue_copy(struct gw_job *job, const struct gw_migration_config *config,
			 const struct stand *stand)
{
	struct statfs fs;
	int err = recover_handoff(job, stand);

	if (err >= 0 && stand->state.has_quiescing)
		err = gw_journal_append(job->journal, GW_RECORD_RESUMED, json_object_new_object(),
					&job->diag);
	if (err >= 0)
		err = gw_job_read_settings(job, stand->state.started);
	if (err < 0)
		return err;
	gw_settings_apply(&job->settings, &stand->set);
	gw_settings_override(&job->settings, config);
	err = look_at_nodes(job, stand->state.started);
	if (err >= 0)
		err = check_target_file(job, stand);
	if (err >= 0)
		err = gw_job_init_geom(job);
	if (err >= 0)
		err = gw_state_lock_disk(job);
	if (err >= 0)
		err = gw_job_open_throttling(job, config->throttle_writers != NULL);
	if (err >= 0)
		err = gw_job_adopt_manners(job);
	if (err >= 0)
		err = gw_job_start_control(job);
	if (err >= 0)
		err = gw_job_create_handoff(job);
	if (err >= 0)
		err = gw_job_watch_foreground(job);
	if (err >= 0)
		err = gw_job_watch_events(job, true);
	if (err < 0)
		return err;
	if (!stand->has_tracking)
		return continue_from_nothing(job, config, job->settings.resync);
	err = open_pins(job, stand);
	if (err == 0 && was_target_away(job, stand)) {
		if (!config->resync)
			return gw_fail_exit(&job->diag, GW_EXIT_CANNOT, -ESTALE,
				"target %s was taken out and put back, or lies elsewhere on its "
				"disk, since migration %s wrote to it, so that nobody knows what it "
				"holds: --continue %s --resync compares by content and writes only "
				"what differs",
				job->target.path, job->name, job->name);
		gw_track_close(job->track);
		job->track = NULL;
		return continue_from_nothing(job, config, true);
	}
	if (err == 0)
		return continue_from_pins(job, config, stand);
	if (err != -ENOENT)
		return err;
	if (statfs(GW_BPFFS_DIR, &fs) != 0 || fs.f_type != BPF_FS_MAGIC)
		return gw_fail_exit(&job->diag, GW_EXIT_CANNOT, -ENOENT,
			"no BPF file system is mounted on " GW_BPFFS_DIR ", where the pins would be: "
			"mount -t bpf bpf " GW_BPFFS_DIR);
	if (!config->resync)
		return gw_fail_exit(&job->diag, GW_EXIT_CANNOT, -ENOENT,
			"the pinned tracking of %s is gone (a reboot?), so that nobody knows what "
			"was written since: --continue %s --resync compares by content and writes "
			"only what differs", job->name, job->name);
	return continue_from_nothing(job, config, true);
}

int gw_migration_continue(const struct gw_migration_config *config,
			  const struct gw_migration_callbacks *callbacks)
{
	struct gw_job *const job = calloc(1, sizeof(*job));
	struct stand stand = { 0 };
	bool is_open;
	int err, exit_code;

	assert(job != NULL);
	gw_job_init(job, callbacks);
	gw_handoff_committed = gw_state_is_committed;
	err = gw_state_open(job, config);
	if (err >= 0)
		err = read_stand(job, &stand);
	if (err >= 0)
		err = gw_journal_open(&job->journal, job->state_dir, &job->diag);
	is_open = err >= 0;
	if (is_open)
		err = gw_job_recover_throttling(job, stand.state.throttled);
	is_open = err >= 0;
	if (is_open && stand.state.has_ended)
		err = finish_ended(job);
	else if (is_open && stand.state.has_commit)
		err = finish_committed(job, &stand);
	else if (is_open)
		err = continue_copy(job, config, &stand);
	/* What could not be opened, or not gone on with, is left as it is. */
	exit_code = gw_job_exit_code(job, err);
	gw_job_take_down(job, exit_code, !is_open || exit_code == GW_EXIT_CANNOT ||
			 (exit_code == GW_EXIT_UNCLEAR && !job->committed));
	gw_journal_state_fini(&stand.state);
	free(job);
	return exit_code;
}

// SPDX-License-Identifier: GPL-2.0-or-later
/* The verb run: set up a job, drive it, take it down again. */
#include <godwit/migration.h>

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "fault.h"
#include "job.h"
#include "manners.h"
#include "statefiles.h"
#include "units.h"

#define HOT_RANGES 8			/* told of */

static void pass_message(void *arg, enum gw_level level, const char *text)
{
	struct gw_job *const job = arg;
	const struct gw_migration_callbacks *const callbacks = job->callbacks;

	if (callbacks != NULL && callbacks->message != NULL)
		callbacks->message(callbacks->arg, (enum gw_message)level, text);
	if (level != GW_DEBUG)
		gw_control_say(job->control, (enum gw_message)level, text);
}

void gw_job_init(struct gw_job *job, const struct gw_migration_callbacks *callbacks)
{
	memset(job, 0, sizeof(*job));
	job->callbacks = callbacks;
	job->diag.fn = pass_message;
	job->diag.arg = job;
	job->clock = &gw_clock_monotonic;
	job->started_ns = gw_now_ns(job->clock);
	job->state_lock_fd = job->disk_lock_fd = -1;
	job->fd[GW_SOURCE] = job->fd[GW_TARGET] = -1;
}

static int exit_code_of(const struct gw_job *job, int err)
{
	if (job->diag.exit_code != GW_EXIT_DONE)
		return (int)job->diag.exit_code;
	switch (err) {
	case -EILSEQ:
		return GW_EXIT_DIFFERENT;
	case -ECANCELED:
		return GW_EXIT_CANCELLED;
	case -ESTALE:
	case -EBADMSG:
		return GW_EXIT_UNCLEAR;
	case -EPERM:
	case -EPROTO:
	case -ENOENT:
		return GW_EXIT_CANNOT;
	default:
		return GW_EXIT_IO;
	}
}

int gw_job_exit_code(const struct gw_job *job, int err)
{
	int exit_code;

	if (err >= 0)
		return GW_EXIT_DONE;
	exit_code = exit_code_of(job, err);
	/* "Nothing was touched" is over with the first round. */
	if (exit_code == GW_EXIT_CANNOT && job->planner.round > 0)
		return GW_EXIT_IO;
	return exit_code;
}

static void put_blackout(struct json_object *payload, const struct gw_blackout *blackout)
{
	struct json_object *const object = json_object_new_object();
	const uint64_t parts_ns = blackout->quiesce_ns + blackout->drain_ns + blackout->copy_ns +
				  blackout->flush_ns + blackout->verify_ns + blackout->commit_ns +
				  blackout->switch_ns + blackout->user_ns;

	gw_json_put_u64(object, "predicted_ns", blackout->predicted_ns);
	gw_json_put_u64(object, "total_ns", blackout->total_ns);
	gw_json_put_u64(object, "early_sync_ns", blackout->early_sync_ns);
	gw_json_put_u64(object, "quiesce_ns", blackout->quiesce_ns);
	gw_json_put_u64(object, "drain_ns", blackout->drain_ns);
	gw_json_put_u64(object, "copy_ns", blackout->copy_ns);
	gw_json_put_u64(object, "flush_ns", blackout->flush_ns);
	gw_json_put_u64(object, "verify_ns", blackout->verify_ns);
	gw_json_put_u64(object, "commit_ns", blackout->commit_ns);
	gw_json_put_u64(object, "switch_ns", blackout->switch_ns);
	gw_json_put_u64(object, "user_ns", blackout->user_ns);
	gw_json_put_u64(object, "other_ns", blackout->total_ns > parts_ns ?
			blackout->total_ns - parts_ns : 0);
	json_object_object_add(payload, "blackout", object);
}

static void put_track_stats(struct json_object *payload, const struct gw_track_stats *stats)
{
	struct json_object *const misses = json_object_new_array();

	for (int i = 0; i < 3; i++)
		json_object_array_add(misses, json_object_new_uint64(stats->misses_complete[i]));
	gw_json_put_u64(payload, "lost_found", stats->lost_found);
	gw_json_put_u64(payload, "whole_device_marks", stats->whole_device_marks);
	gw_json_put_u64(payload, "misses_submit", stats->misses_submit);
	json_object_object_add(payload, "misses_complete", misses);
	gw_json_put_u64(payload, "source_write_bytes", stats->write_bytes);
}

static void put_hot(struct json_object *payload, const struct gw_job *job)
{
	struct json_object *const array = json_object_new_array();
	struct gw_heat_range ranges[HOT_RANGES];
	const uint32_t count = gw_heat_ranges(&job->heat, ranges, HOT_RANGES);

	for (uint32_t i = 0; i < count; i++) {
		struct json_object *const range = json_object_new_object();

		gw_json_put_u64(range, "first_lba",
				gw_geom_offset_bytes(&job->geom, ranges[i].run.first) >>
				GW_SECTOR_SHIFT);
		gw_json_put_u64(range, "bytes", gw_geom_run_bytes(&job->geom, ranges[i].run));
		gw_json_put_u64(range, "again_bytes", ranges[i].again << job->geom.grain_shift);
		json_object_array_add(array, range);
	}
	json_object_object_add(payload, "hot", array);
}

static void record_ended(struct gw_job *job, int exit_code)
{
	struct json_object *const payload = json_object_new_object();
	struct gw_track_stats track = { 0 };
	struct gw_diag quiet = { 0 };
	char elapsed[GW_UNIT_TEXT_BYTES], reason[sizeof(job->diag.text)];
	const uint64_t elapsed_ns = gw_now_ns(job->clock) - job->started_ns;

	if (job->track != NULL)
		gw_track_stats(job->track, &track, &quiet);
	snprintf(reason, sizeof(reason), "%s", job->diag.text);
	if (exit_code == GW_EXIT_DONE)
		snprintf(reason, sizeof(reason), "%s is consistent: all that %s acknowledged is "
			 "on it; done in %s", job->target.name, job->source.name,
			 gw_format_duration(elapsed, elapsed_ns));
	gw_json_put_u64(payload, "exit_code", (uint64_t)exit_code);
	gw_json_put_string(payload, "reason", reason);
	gw_json_put_u64(payload, "elapsed_ns", elapsed_ns);
	gw_json_put_bool(payload, "converged", job->committed);
	gw_json_put_u64(payload, "digest_of_digests",
			job->committed && job->digests.words != NULL ?
			gw_digests_digest(&job->digests) : 0);
	gw_json_put_u64(payload, "read_bytes", job->totals.read_bytes);
	gw_json_put_u64(payload, "written_bytes", job->totals.written_bytes);
	gw_json_put_u64(payload, "zeroed_bytes", job->totals.zeroed_bytes);
	gw_json_put_u64(payload, "zero_skipped_bytes", job->totals.zero_skipped_bytes);
	gw_json_put_u64(payload, "same_skipped_bytes", job->totals.same_skipped_bytes);
	gw_json_put_u64(payload, "settled_bytes", job->totals.settled_bytes);
	gw_json_put_u64(payload, "verified_bytes", job->totals.verified_bytes);
	put_track_stats(payload, &track);
	put_hot(payload, job);
	gw_json_put_u64(payload, "eio_retries", job->dev_totals.eio_retries);
	gw_json_put_u64(payload, "busy_retries", job->dev_totals.busy_retries);
	gw_json_put_u64(payload, "short_ios", job->dev_totals.short_ios);
	if (job->blackout.happened)
		put_blackout(payload, &job->blackout);
	gw_journal_append(job->journal, GW_RECORD_ENDED, payload, &quiet);
	gw_journal_sync(job->journal, &quiet);
	gw_fault_point("ended");
}

/*
 * Nothing stays pinned, frozen or locked after a process that ends by itself;
 * what stays is the journal. A refusal of a new migration leaves nothing at all;
 * a refusal to continue (to_keep) leaves everything for the next try.
 */
int gw_job_take_down(struct gw_job *job, int exit_code, bool to_keep)
{
	struct gw_diag quiet = { 0 };

	if (gw_job_unthrottle(job, "the migration is over") < 0)
		exit_code = GW_EXIT_UNCLEAR;
	gw_job_close_throttling(job);
	gw_job_close_pipeline(job);
	if (job->target_track != NULL)
		gw_track_stop(job->target_track, &quiet);
	gw_handoff_destroy(job->handoff);
	gw_job_leave_foreground(job, job->journal != NULL && !to_keep);
	gw_job_leave_events(job, job->journal != NULL && !to_keep);
	if (job->journal != NULL && !to_keep)
		record_ended(job, exit_code);
	/* The pins go after the record: killed in between, cleanup finds them by their name. */
	if (job->track != NULL && to_keep)
		gw_track_close(job->track);
	else if (job->track != NULL)
		gw_track_stop(job->track, &job->diag);
	gw_digests_close(&job->digests);
	gw_bitmap_destroy(&job->unverified);
	gw_bitmap_destroy(&job->vacant);
	gw_heat_destroy(&job->heat);
	gw_job_close_page_caches(job);
	gw_journal_close(job->journal);
	if (to_keep)
		gw_state_unlock(job);
	else
		gw_state_release(job, exit_code);
	/* Last: whoever hears of the end finds nothing left. */
	gw_job_stop_control(job, exit_code);
	gw_settings_fini(&job->settings);
	gw_manners_drop();
	return exit_code;
}

static int verify_after(struct gw_job *job)
{
	int err;

	if (job->settings.verify != GW_VERIFY_AFTER)
		return 0;
	err = gw_job_open_pipeline(job, true);
	if (err >= 0)
		err = gw_job_verify_after(job);
	if (err < 0) {
		gw_say(&job->diag, GW_WARNING, "%s is committed and in use; only its verification "
		       "failed", job->target.path);
		/* The codes beyond it speak of a source that runs on. */
		job->diag.exit_code = GW_EXIT_DIFFERENT;
	}
	return err;
}

/* With --verify=during, what was committed has been read back to the last grain. */
static void record_verified(struct gw_job *job)
{
	struct json_object *payload;

	if (job->settings.verify != GW_VERIFY_DURING)
		return;
	assert(gw_bitmap_is_empty(&job->unverified));
	payload = json_object_new_object();
	gw_json_put_u64(payload, "verified_bytes", job->totals.verified_bytes);
	gw_json_put_bool(payload, "equal", true);
	gw_json_put_u64(payload, "excluded_bytes", 0);
	gw_journal_append(job->journal, GW_RECORD_VERIFIED, payload, &job->diag);
}

int gw_job_drive(struct gw_job *job, bool base_is_due)
{
	int err;

	err = gw_job_copy_and_switch(job, base_is_due);
	if (err < 0)
		return err;
	record_verified(job);
	err = verify_after(job);
	gw_job_measure_after(job);
	return err;
}

int gw_migration_run(const struct gw_migration_config *config,
		     const struct gw_migration_callbacks *callbacks)
{
	struct gw_job *const job = calloc(1, sizeof(*job));
	int err, exit_code;

	assert(job != NULL);
	gw_job_init(job, callbacks);
	gw_handoff_committed = gw_state_is_committed;
	if (config->source == NULL || config->target == NULL)
		err = gw_fail_exit(&job->diag, GW_EXIT_USAGE, -EINVAL,
				   "a source and a target are needed");
	else
		err = gw_job_set_up(job, config);
	if (err >= 0)
		err = gw_job_drive(job, true);
	exit_code = gw_job_take_down(job, gw_job_exit_code(job, err), false);
	free(job);
	return exit_code;
}

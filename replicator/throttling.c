// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Throttled writers, the last resort when rounds do not converge. throttle.c
 * decides; here is what is measured for it, what is written down before the
 * limit is changed, and who takes it back: this process, its watchdog if it
 * dies, `godwit cleanup` if both do. See docs/throttle.md.
 */
#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/sysmacros.h>

#include "job.h"

#include "boot.h"
#include "fault.h"
#include "throttle.h"
#include "units.h"
#include "watchdog.h"
#include "write_limit.h"

/* Seen by the watchdog, too; written before the limit is. */
struct shared {
	_Atomic bool is_touched;
	_Atomic uint64_t former;	/* bytes/s; 0: no limit */
	_Atomic uint64_t ours[2];	/* set now, or about to be; and the one before it */
};

/* Counters when measuring began. */
struct window {
	uint64_t began_ns;		/* 0: not yet */
	uint64_t copied_bytes, dirtied_bytes, write_bytes, cgroup_bytes;
	bool knows_cgroup;
};

struct gw_throttling {
	struct gw_write_limit limit;
	struct gw_throttle control;
	struct gw_watchdog watchdog;
	struct gw_watch *watch;
	struct shared *shared;
	struct window window;
	uint64_t least_left_bytes;
	uint32_t stalled_rounds;
};

static const char *rate_or_none(char text[GW_UNIT_TEXT_BYTES], uint64_t bytes_per_s)
{
	return bytes_per_s == 0 ? "no limit" : gw_format_rate(text, bytes_per_s);
}

/* What somebody can do by hand if all else fails. */
static int fail_restore(struct gw_diag *diag, const struct gw_write_limit *limit, uint64_t former,
			int err)
{
	char by_hand[96];

	if (limit->version == GW_CGROUP_V1 || former != 0)
		snprintf(by_hand, sizeof(by_hand), "%u:%u %s%" PRIu64, major(limit->disk),
			 minor(limit->disk), limit->version == GW_CGROUP_V1 ? "" : "wbps=", former);
	else
		snprintf(by_hand, sizeof(by_hand), "%u:%u wbps=max", major(limit->disk),
			 minor(limit->disk));
	return gw_fail_exit(diag, GW_EXIT_UNCLEAR, err,
		"the write limit of cgroup %s cannot be restored: %s; by hand: echo '%s' >%s/%s",
		limit->path, strerror(-err), by_hand, limit->path,
		limit->version == GW_CGROUP_V1 ? "blkio.throttle.write_bps_device" : "io.max");
}

/* ---- the watchdog ---- */

static int watchdog_restores(void *arg, struct gw_diag *diag)
{
	const struct gw_throttling *const throttling = arg;
	struct shared *const shared = throttling->shared;
	const uint64_t former = atomic_load(&shared->former);
	const uint64_t ours[2] = { atomic_load(&shared->ours[0]), atomic_load(&shared->ours[1]) };
	int err;

	/* Nothing to say, then. */
	if (!atomic_load(&shared->is_touched))
		return -EALREADY;
	err = gw_write_limit_restore(&throttling->limit, former, ours);
	return err < 0 ? fail_restore(diag, &throttling->limit, former, err) : err == 0 ? 0 : -ESTALE;
}

/* Whatever became of the migration, the limit is taken back. */
static int commits_do_not_matter(const char *state_dir)
{
	(void)state_dir;
	return 0;
}

static int arm(struct gw_job *job, struct gw_throttling *throttling)
{
	const int keep_fds[] = { throttling->limit.dir_fd, job->state_lock_fd, job->disk_lock_fd };
	const struct gw_watchdog_config config = {
		.migration = job->name,
		.state_dir = job->state_dir,
		.deadline_ns = INT64_MAX / 2,
		.keep_fds = keep_fds,
		.keep_count = sizeof(keep_fds) / sizeof(keep_fds[0]),
		.take_back = watchdog_restores,
		.finish = watchdog_restores,
		.committed = commits_do_not_matter,
		.arg = throttling,
		.taken_back = "godwit has died; the writers are no longer throttled",
	};

	throttling->watch = gw_watch_new();
	throttling->shared = mmap(NULL, sizeof(struct shared), PROT_READ | PROT_WRITE,
				  MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (throttling->watch == NULL || throttling->shared == MAP_FAILED) {
		throttling->shared = NULL;
		return gw_fail_exit(&job->diag, GW_EXIT_CANNOT, -ENOMEM,
				    "no memory for the watchdog of --throttle-writers");
	}
	return gw_watchdog_arm(&throttling->watchdog, throttling->watch, &config, &job->diag);
}

int gw_job_open_throttling(struct gw_job *job, bool is_needed)
{
	struct gw_throttling *throttling;
	struct gw_diag quiet = { 0 };
	int err;

	if (job->settings.throttle_writers == NULL)
		return 0;
	throttling = calloc(1, sizeof(*throttling));
	assert(throttling != NULL);
	job->throttling = throttling;
	throttling->least_left_bytes = UINT64_MAX;
	err = gw_write_limit_open(&throttling->limit, job->settings.throttle_writers,
				  job->source.disk_dev, NULL, is_needed ? &job->diag : &quiet);
	if (err >= 0)
		return arm(job, throttling);
	if (is_needed)
		return err;
	free(throttling);
	job->throttling = NULL;
	return gw_job_note(job, GW_WARNING, "the writers will not be throttled, --throttle-writers can "
			   "name another cgroup: %s", quiet.text);
}

void gw_job_close_throttling(struct gw_job *job)
{
	struct gw_throttling *const throttling = job->throttling;

	if (throttling == NULL)
		return;
	/* Could it not be restored, the watchdog tries once more. */
	if (throttling->shared != NULL && atomic_load(&throttling->shared->is_touched))
		gw_watchdog_leave(&throttling->watchdog);
	else
		gw_watchdog_disarm(&throttling->watchdog);
	gw_watch_free(throttling->watch);
	if (throttling->shared != NULL)
		munmap(throttling->shared, sizeof(*throttling->shared));
	gw_write_limit_close(&throttling->limit);
	free(throttling);
	job->throttling = NULL;
}

/* ---- the journal ---- */

/* Enough for somebody who knows nothing else to put it back. */
static struct json_object *new_payload(const struct gw_job *job, uint64_t former)
{
	const struct gw_write_limit *const limit = &job->throttling->limit;
	struct json_object *const payload = json_object_new_object();
	char boot_id[GW_BOOT_ID_BYTES];

	gw_boot_id(boot_id);
	gw_json_put_string(payload, "cgroup", limit->path);
	gw_json_put_u64(payload, "cgroup_ino", limit->ino);
	gw_json_put_u64(payload, "version", limit->version);
	gw_json_put_u64(payload, "major", major(limit->disk));
	gw_json_put_u64(payload, "minor", minor(limit->disk));
	gw_json_put_u64(payload, "diskseq", job->source.diskseq);
	gw_json_put_string(payload, "boot_id", boot_id);
	gw_json_put_u64(payload, "former_bytes_per_s", former);
	return payload;
}

/* Before the change. It need not survive the power, after which there is no limit either; the first one does. */
static int record_step(struct gw_job *job, uint64_t before, uint64_t to, uint64_t write_bytes_per_s,
		       const char *why)
{
	struct gw_throttling *const throttling = job->throttling;
	struct json_object *const payload =
		new_payload(job, throttling->control.former_bytes_per_s);
	int err;

	gw_json_put_u64(payload, "before_bytes_per_s", before);
	gw_json_put_u64(payload, "limit_bytes_per_s", to);
	gw_json_put_u64(payload, "write_bytes_per_s", write_bytes_per_s);
	gw_json_put_string(payload, "text", why);
	err = gw_journal_append(job->journal, GW_RECORD_THROTTLED, payload, &job->diag);
	if (err >= 0 && throttling->control.steps == 0)
		err = gw_journal_sync(job->journal, &job->diag);
	return err;
}

static int record_restored(struct gw_job *job, uint64_t throttled_ns, const char *text)
{
	const struct gw_throttle *const control = &job->throttling->control;
	struct json_object *const payload = new_payload(job, control->former_bytes_per_s);

	gw_json_put_bool(payload, "restored", true);
	gw_json_put_u64(payload, "throttled_ns", throttled_ns);
	gw_json_put_u64(payload, "write_before_bytes_per_s", control->write_before_bytes_per_s);
	gw_json_put_u64(payload, "write_after_bytes_per_s", control->write_after_bytes_per_s);
	gw_json_put_string(payload, "text", text);
	return gw_journal_append(job->journal, GW_RECORD_THROTTLED, payload, &job->diag);
}

/* ---- down, and back ---- */

int gw_job_unthrottle(struct gw_job *job, const char *why)
{
	struct gw_throttling *const throttling = job->throttling;
	struct shared *const shared = throttling != NULL ? throttling->shared : NULL;
	struct gw_throttle *control;
	char text[400], former[GW_UNIT_TEXT_BYTES], lowest[GW_UNIT_TEXT_BYTES],
		time[GW_UNIT_TEXT_BYTES];
	uint64_t ours[2], before_ns;
	int err;

	if (shared == NULL || !atomic_load(&shared->is_touched))
		return 0;
	control = &throttling->control;
	ours[0] = atomic_load(&shared->ours[0]);
	ours[1] = atomic_load(&shared->ours[1]);
	err = gw_write_limit_restore(&throttling->limit, control->former_bytes_per_s, ours);
	gw_fault_point("throttle-restored");
	if (err < 0)
		return fail_restore(&job->diag, &throttling->limit, control->former_bytes_per_s,
				    err);
	atomic_store(&shared->is_touched, false);
	before_ns = control->throttled_ns;
	gw_throttle_end(control, gw_now_ns(job->clock));
	snprintf(text, sizeof(text),
		 "%s: the writers have %s again, after %s of throttling, %s at the lowest", why,
		 err == 0 ? rate_or_none(former, control->former_bytes_per_s) :
			    "what somebody else has set, if their cgroup is still there,",
		 gw_format_duration(time, control->throttled_ns - before_ns),
		 gw_format_rate(lowest, control->lowest_bytes_per_s));
	gw_say(&job->diag, GW_NOTE, "%s", text);
	gw_job_show_decision(job, text);
	return record_restored(job, control->throttled_ns - before_ns, text);
}

void gw_job_throttle_anew(struct gw_job *job)
{
	gw_throttle_anew(&job->throttling->control);
	job->throttling->window.began_ns = 0;
	job->throttling->least_left_bytes = UINT64_MAX;
	job->throttling->stalled_rounds = 0;
}

void gw_job_throttle_status(const struct gw_job *job, struct gw_control_throttle *status)
{
	const struct gw_throttling *const throttling = job->throttling;
	const struct gw_throttle *control;

	memset(status, 0, sizeof(*status));
	if (throttling == NULL)
		return;
	control = &throttling->control;
	status->is_there = true;
	status->has_given_up = control->has_given_up;
	snprintf(status->cgroup, sizeof(status->cgroup), "%.*s", (int)sizeof(status->cgroup) - 1,
		 throttling->limit.path);
	status->limit_bytes_per_s = control->limit_bytes_per_s;
	status->former_bytes_per_s = control->former_bytes_per_s;
	status->throttled_ns = gw_throttle_time_ns(control, gw_now_ns(job->clock));
	status->steps = control->steps_in_all;
}

static int give_up(struct gw_job *job, const char *why)
{
	int err = gw_job_unthrottle(job, "throttling is given up");

	job->throttling->control.has_given_up = true;
	gw_job_show_decision(job, why);
	return err < 0 ? err : gw_job_note(job, GW_WARNING, "%s", why);
}

static int set_limit(struct gw_job *job, uint64_t before, uint64_t to)
{
	struct gw_throttling *const throttling = job->throttling;
	struct shared *const shared = throttling->shared;

	atomic_store(&shared->former, throttling->control.former_bytes_per_s);
	atomic_store(&shared->ours[1], before);
	atomic_store(&shared->ours[0], to);
	atomic_store(&shared->is_touched, true);
	return gw_write_limit_set(&throttling->limit, to);
}

/* Whoever administers the machine has the last word. */
static int check_unchanged(struct gw_job *job, uint64_t *before)
{
	struct gw_throttle *const control = &job->throttling->control;
	int err = gw_write_limit_get(&job->throttling->limit, before);

	if (err < 0)
		return err;
	if (control->limit_bytes_per_s == 0)
		control->former_bytes_per_s = *before;
	else if (*before != control->limit_bytes_per_s)
		return -ESTALE;
	return 0;
}

static int step(struct gw_job *job, const struct gw_throttle_sample *sample, uint64_t to,
		const char *why)
{
	struct gw_throttling *const throttling = job->throttling;
	struct gw_throttle *const control = &throttling->control;
	uint64_t before;
	int err = check_unchanged(job, &before);

	if (err == -ESTALE)
		return give_up(job, "the writers are not throttled any further: somebody else has "
			       "set a limit of their cgroup");
	if (err < 0)
		return give_up(job, "the writers are not throttled: their cgroup is gone");
	/* Set since it was looked at last; the next look knows of it. */
	if (before != 0 && to >= before)
		return 0;
	err = record_step(job, before, to, sample->write_bytes_per_s, why);
	if (err < 0)
		return err;
	gw_fault_point("throttle-recorded");
	err = set_limit(job, before, to);
	gw_fault_point("throttle-set");
	gw_throttle_step(control, to, sample->write_bytes_per_s, gw_now_ns(job->clock));
	throttling->least_left_bytes = UINT64_MAX;
	throttling->stalled_rounds = 0;
	gw_say(&job->diag, GW_WARNING, "%s", why);
	gw_job_show_decision(job, why);
	if (err < 0)
		return give_up(job, err == -ENODEV ? "the writers are not throttled: the kernel cannot limit "
						     "this device" :
						     "the writers are not throttled: the kernel refuses the limit");
	return 0;
}

/* ---- measuring ---- */

static int take_counters(struct gw_job *job, struct window *window, uint64_t now_ns,
			 uint64_t copied_bytes)
{
	struct gw_track_stats stats = { 0 };
	int err = gw_track_stats(job->track, &stats, &job->diag);

	if (err < 0)
		return err;
	*window = (struct window){
		.began_ns = now_ns,
		.copied_bytes = copied_bytes,
		.dirtied_bytes = (job->dirtied_grains + job->live_grains) << job->geom.grain_shift,
		.write_bytes = stats.write_bytes,
	};
	window->knows_cgroup = gw_write_limit_written(&job->throttling->limit,
						      &window->cgroup_bytes) == 0;
	return 0;
}

static uint64_t rate(uint64_t from, uint64_t to, uint64_t elapsed_ns)
{
	/* A take may bring less than the last look at the marks had promised. */
	return to <= from ? 0 :
	       (uint64_t)((double)(to - from) * (double)GW_NS_PER_S / (double)elapsed_ns);
}

static struct gw_throttle_sample compare(const struct window *from, const struct window *to)
{
	const uint64_t elapsed_ns = to->began_ns - from->began_ns;

	return (struct gw_throttle_sample){
		.elapsed_ns = elapsed_ns,
		.copy_bytes_per_s = rate(from->copied_bytes, to->copied_bytes, elapsed_ns),
		.dirty_bytes_per_s = rate(from->dirtied_bytes, to->dirtied_bytes, elapsed_ns),
		.write_bytes_per_s = rate(from->write_bytes, to->write_bytes, elapsed_ns),
		.cgroup_bytes_per_s = rate(from->cgroup_bytes, to->cgroup_bytes, elapsed_ns),
		.knows_cgroup = from->knows_cgroup && to->knows_cgroup,
	};
}

static int judge(struct gw_job *job, struct gw_throttle_sample *sample, uint64_t left_bytes)
{
	struct gw_throttling *const throttling = job->throttling;
	const uint64_t limit_ns = job->settings.downtime_limit_ns;
	char why[400];
	uint64_t to = 0;

	sample->stalled_rounds = throttling->stalled_rounds;
	sample->fits = gw_planner_predict_ns(&job->planner, left_bytes) <= limit_ns;
	sample->could_fit = gw_planner_predict_ns(&job->planner, 0) <= limit_ns;
	switch (gw_throttle_judge(&throttling->control, sample, &to, why, sizeof(why))) {
	case GW_THROTTLE_KEEP:
		break;
	case GW_THROTTLE_LOWER:
		return step(job, sample, to, why);
	case GW_THROTTLE_GIVE_UP:
		return give_up(job, why);
	}
	return 0;
}

/*
 * Not in the base pass, whose length says nothing of the next round's, and not
 * while nothing is copied for other reasons.
 */
static bool is_measuring(const struct gw_job *job)
{
	return job->throttling != NULL && !job->settings.no_throttling &&
	       !job->throttling->control.has_given_up && job->planner.round >= 2 && !job->paused &&
	       !job->waiting && job->blackout.began_ns == 0;
}

int gw_job_throttle(struct gw_job *job, uint64_t now_ns, uint64_t left_bytes, uint64_t copied_bytes)
{
	struct gw_throttling *const throttling = job->throttling;
	struct gw_throttle_sample sample;
	struct window now;
	int err;

	if (!is_measuring(job)) {
		if (throttling != NULL)
			throttling->window.began_ns = 0;
		return 0;
	}
	if (throttling->window.began_ns != 0 &&
	    now_ns - throttling->window.began_ns < GW_THROTTLE_SETTLE_NS)
		return 0;
	if (gw_watchdog_has_died(&throttling->watchdog))
		return give_up(job, "the writers are not throttled: the watchdog that would let them "
			       "go after a crash has died");
	err = take_counters(job, &now, now_ns, copied_bytes);
	if (err < 0)
		return err;
	if (throttling->window.began_ns != 0) {
		sample = compare(&throttling->window, &now);
		err = judge(job, &sample, left_bytes);
	}
	throttling->window = now;
	return err;
}

void gw_job_throttle_round(struct gw_job *job, uint64_t left_bytes)
{
	struct gw_throttling *const throttling = job->throttling;

	if (throttling == NULL || job->planner.round < 2)
		return;
	if (left_bytes < throttling->least_left_bytes) {
		throttling->least_left_bytes = left_bytes;
		throttling->stalled_rounds = 0;
	} else {
		throttling->stalled_rounds++;
	}
}

/* ---- after a death ---- */

struct recovery {
	const char *cgroup;
	uint64_t ino, major, minor, diskseq, former, ours[2];
};

static bool read_recovery(struct recovery *recovery, struct json_object *throttled)
{
	recovery->cgroup = gw_json_string(throttled, "cgroup");
	return recovery->cgroup != NULL && recovery->cgroup[0] == '/' &&
	       gw_json_u64(throttled, "cgroup_ino", &recovery->ino) &&
	       gw_json_u64(throttled, "major", &recovery->major) &&
	       gw_json_u64(throttled, "minor", &recovery->minor) &&
	       gw_json_u64(throttled, "diskseq", &recovery->diskseq) &&
	       gw_json_u64(throttled, "former_bytes_per_s", &recovery->former) &&
	       gw_json_u64(throttled, "limit_bytes_per_s", &recovery->ours[0]) &&
	       gw_json_u64(throttled, "before_bytes_per_s", &recovery->ours[1]) &&
	       recovery->major <= UINT32_MAX && recovery->minor <= UINT32_MAX;
}

/* A limit ends with the kernel that kept it, and with the disk. */
static const char *why_gone(struct json_object *throttled, const struct recovery *recovery)
{
	const char *const then = gw_json_string(throttled, "boot_id");
	struct gw_diag quiet = { 0 };
	struct gw_node node;
	char now[GW_BOOT_ID_BYTES], path[64];

	gw_boot_id(now);
	if (then == NULL || strcmp(then, now) != 0)
		return "the machine was started anew since";
	snprintf(path, sizeof(path), "/dev/block/%" PRIu64 ":%" PRIu64, recovery->major,
		 recovery->minor);
	if (gw_node_look(&node, path, &quiet) == 0 && node.diskseq != recovery->diskseq)
		return "its disk is another one now";
	return NULL;
}

static int recover(struct gw_job *job, struct json_object *throttled, const char **outcome)
{
	struct gw_write_limit limit = { 0 };
	struct recovery recovery = { 0 };
	struct gw_diag quiet = { 0 };
	int err;

	if (!read_recovery(&recovery, throttled))
		return gw_fail_exit(&job->diag, GW_EXIT_UNCLEAR, -EBADMSG,
			"%s/" GW_JOURNAL_FILE " does not say which write limit to restore; look at "
			"the cgroup of --throttle-writers yourself", job->state_dir);
	*outcome = why_gone(throttled, &recovery);
	if (*outcome != NULL)
		return 0;
	*outcome = "the cgroup is gone";
	if (gw_write_limit_open(&limit, recovery.cgroup,
				makedev((unsigned int)recovery.major,
					(unsigned int)recovery.minor), "/dev/null", &quiet) < 0)
		return 0;
	*outcome = "the cgroup is another one now";
	if (limit.ino != recovery.ino)
		goto out;
	err = gw_write_limit_restore(&limit, recovery.former, recovery.ours);
	if (err < 0) {
		err = fail_restore(&job->diag, &limit, recovery.former, err);
		gw_write_limit_close(&limit);
		return err;
	}
	*outcome = err == 0 ? "restored after a death" : "somebody else has set another since";
out:
	gw_write_limit_close(&limit);
	return 0;
}

int gw_job_recover_throttling(struct gw_job *job, struct json_object *throttled)
{
	struct json_object *payload;
	const char *outcome = NULL;
	char text[128];
	int err;

	if (throttled == NULL)
		return 0;
	err = recover(job, throttled, &outcome);
	if (err < 0)
		return err;
	snprintf(text, sizeof(text), "the writers are no longer throttled: %s", outcome);
	gw_say(&job->diag, GW_NOTE, "%s", text);
	payload = json_object_new_object();
	gw_json_put_bool(payload, "restored", true);
	gw_json_put_string(payload, "text", text);
	err = gw_journal_append(job->journal, GW_RECORD_THROTTLED, payload, &job->diag);
	return err < 0 ? err : gw_journal_sync(job->journal, &job->diag);
}

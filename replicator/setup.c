// SPDX-License-Identifier: GPL-2.0-or-later
/* Set-up of a job: preflight, target, tracking, what is allocated. */
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "fault.h"
#include "job.h"
#include "manners.h"
#include "preflight.h"
#include "statefiles.h"
#include "units.h"

#define LOCK_NAP_NS 10000000
#define LOCK_TRIES 1000

static int start_track(struct gw_job *job)
{
	const struct gw_track_block_config config = {
		.source = job->settings.track == GW_TRACK_NVME ? GW_SOURCE_NVME : GW_SOURCE_BLOCK,
		.name = job->name,
		.node = &job->source,
		.grain_bytes = job->settings.grain_bytes,
		/* The preflight of a moment ago had it. */
		.skip_self_test = job->self_test_passed,
	};
	int err;

	if (job->settings.track != GW_TRACK_NONE)
		return gw_track_block_start(&job->track, &config, &job->diag);
	err = gw_track_model_start(&job->track, job->geom.size_bytes, job->settings.grain_bytes);
	if (err < 0)
		return gw_fail_exit(&job->diag, GW_EXIT_CANNOT, err, "bitmaps: %s",
				    strerror(-err));
	job->track->node = job->source;
	return 0;
}

/* The grains that data in [start, end) of a file reaches into become pending. */
static void add_data(struct gw_job *job, uint64_t start_bytes, uint64_t end_bytes)
{
	const uint64_t first = start_bytes >> job->geom.grain_shift;
	const uint64_t end = (end_bytes + job->geom.grain_bytes - 1) >> job->geom.grain_shift;

	gw_bitmap_set(&job->track->pending, (struct gw_run){ first, end - first });
}

/* Holes need no copy where the target is known to be zero; they read as zeroes, and have that digest. */
static int add_allocated_of_file(struct gw_job *job)
{
	const int fd = job->fd[GW_SOURCE];
	off_t data = 0, hole;

	while ((uint64_t)data < job->geom.size_bytes) {
		data = lseek(fd, data, SEEK_DATA);
		if (data < 0 && errno == ENXIO)
			break;
		hole = data < 0 ? data : lseek(fd, data, SEEK_HOLE);
		if (data < 0 || hole < 0)
			return gw_fail_exit(&job->diag, GW_EXIT_IO, -errno,
					    "source %s: allocation: %s", job->source.path,
					    strerror(errno));
		if ((uint64_t)hole > job->geom.size_bytes)
			hole = (off_t)job->geom.size_bytes;
		add_data(job, (uint64_t)data, (uint64_t)hole);
		data = hole;
	}
	for (uint64_t grain = 0; grain < job->geom.size_grains; grain++)
		if (!gw_bitmap_test(&job->track->pending, grain))
			job->digests.words[grain] = gw_digest_of_zeroes(
				gw_geom_run_bytes(&job->geom, (struct gw_run){ grain, 1 }));
	return 0;
}

static int add_allocated(struct gw_job *job)
{
	int err = 0;

	if (job->source.kind == GW_NODE_FILE && job->target_is_zero_now)
		err = add_allocated_of_file(job);
	else
		gw_bitmap_set(&job->track->pending, (struct gw_run){ 0, job->geom.size_grains });
	job->allocated_bytes = gw_bitmap_count(&job->track->pending) << job->geom.grain_shift;
	if (job->allocated_bytes > job->geom.size_bytes)
		job->allocated_bytes = job->geom.size_bytes;
	job->hole_bytes = job->geom.size_bytes - job->allocated_bytes;
	if (err >= 0)
		err = gw_job_find_vacant(job);
	job->allocated_bytes -= job->vacant_by_drive_bytes + job->vacant_by_fs_bytes;
	return err;
}

/* The footprint, fixed from here on: buffers, bitmaps, the ring's own pages aside. */
static void announce_memory(struct gw_job *job)
{
	char slab[GW_UNIT_TEXT_BYTES], bitmaps[GW_UNIT_TEXT_BYTES], all[GW_UNIT_TEXT_BYTES],
		digests[GW_UNIT_TEXT_BYTES], grain[GW_UNIT_TEXT_BYTES],
		control[GW_UNIT_TEXT_BYTES], latencies[GW_UNIT_TEXT_BYTES],
		heat[GW_UNIT_TEXT_BYTES], engine[GW_UNIT_TEXT_BYTES],
		ring[GW_UNIT_TEXT_BYTES], events[GW_UNIT_TEXT_BYTES + 16] = "";
	const uint32_t count = gw_settings_bitmaps(job->settings.verify);
	const uint64_t bitmap_bytes = job->geom.words * 8 *
				      (count + (job->vacant.size_grains != 0));
	const uint64_t heat_bytes = job->heat.size_grains == 0 ? 0 :
				    gw_heat_bytes(job->heat.size_grains);

	job->memory_bytes = job->slab_bytes + bitmap_bytes + heat_bytes +
			    gw_engine_bytes(job->settings.buffers) + gw_control_server_bytes() +
			    gw_job_foreground_bytes(job) + gw_job_events_bytes(job);
	if (gw_job_events_bytes(job) > 0)
		snprintf(events, sizeof(events), ", NVMe events %s",
			 gw_format_bytes(ring, gw_job_events_bytes(job)));
	gw_say(&job->diag, GW_NOTE,
	       "memory: %s, fixed (%u buffers %s, bitmaps at a grain of %s %s, counters of hot "
	       "blocks %s, engine %s, control socket %s, latencies %s%s); digest file %s",
	       gw_format_bytes(all, job->memory_bytes), job->settings.buffers,
	       gw_format_bytes(slab, job->slab_bytes),
	       gw_format_bytes(grain, job->geom.grain_bytes),
	       gw_format_bytes(bitmaps, bitmap_bytes), gw_format_bytes(heat, heat_bytes),
	       gw_format_bytes(engine, gw_engine_bytes(job->settings.buffers)),
	       gw_format_bytes(control, gw_control_server_bytes()),
	       gw_format_bytes(latencies, gw_job_foreground_bytes(job)), events,
	       gw_format_bytes(digests, gw_digests_file_bytes(&job->geom)));
}

static int record_tracking(struct gw_job *job)
{
	struct json_object *const payload = json_object_new_object();
	int err;

	gw_json_put_u64(payload, "generation", job->track->generation);
	gw_json_put_u64(payload, "memory_bytes", job->memory_bytes);
	gw_json_put_u64(payload, "allocated_bytes", job->allocated_bytes);
	gw_json_put_u64(payload, "hole_bytes", job->hole_bytes);
	gw_json_put_u64(payload, "deallocated_bytes", job->vacant_by_drive_bytes);
	gw_json_put_u64(payload, "free_bytes", job->vacant_by_fs_bytes);
	/* A file that was made for this had no number when the migration started. */
	gw_json_put_u64(payload, "target_dev", (uint64_t)job->target.file_dev);
	gw_json_put_u64(payload, "target_ino", (uint64_t)job->target.file_ino);
	gw_json_put_u64(payload, "target_diskseq", job->target.diskseq);
	gw_json_put_u64(payload, "target_first_sector", job->target.disk_first_sector);
	err = gw_journal_append(job->journal, GW_RECORD_TRACKING, payload, &job->diag);
	return err < 0 ? err : gw_journal_sync(job->journal, &job->diag);
}

int gw_job_create_handoff(struct gw_job *job)
{
	/* What the tool needs to go on itself must not be frozen; prepare adds its own descriptors. */
	const char *const keep_writable[] = { job->state_dir, job->run_dir, "/proc/self/exe",
					      "/dev/stdout", "/dev/stderr", NULL };
	const struct gw_handoff_config config = {
		.kind = job->settings.handoff,
		.migration = job->name,
		.source = &job->source,
		.target = &job->target,
		.state_dir = job->state_dir,
		.keep_writable = keep_writable,
		.lock_fds = { job->state_lock_fd, job->disk_lock_fd },
		.dm_name = job->settings.dm_name,
		.exec_quiesce = job->settings.exec_quiesce,
		.exec_switch = job->settings.exec_switch,
		.exec_resume = job->settings.exec_resume,
		.exec_abort = job->settings.exec_abort,
		.exec_timeout_ns = job->settings.exec_timeout_ns,
		.deadline_ns = job->settings.quiesce_deadline_ns,
	};
	int err = gw_handoff_create(&job->handoff, &config);

	if (err < 0)
		return gw_fail_exit(&job->diag, GW_EXIT_CANNOT, err, "hand-off: %s",
				    strerror(-err));
	return gw_handoff_prepare(job->handoff, &job->diag);
}

/*
 * Another migration's target is not emptied. One that was killed a moment ago holds its lock
 * until the kernel has taken its ring down. Sets errno.
 */
static bool is_ours_alone(int fd)
{
	const struct timespec nap = { 0, LOCK_NAP_NS };

	for (int i = 0; i < LOCK_TRIES; i++) {
		if (flock(fd, LOCK_EX | LOCK_NB) == 0)
			return true;
		if (errno != EWOULDBLOCK)
			return false;
		nanosleep(&nap, NULL);
	}
	errno = EBUSY;
	return false;
}

/* A new or emptied file is known to be zero; a block device only by the caller's word. */
static int prepare_target(struct gw_job *job)
{
	struct gw_node *const target = &job->target;
	char path[PATH_MAX];
	int fd;

	job->target_is_zero_now = job->settings.target_is_zero;
	if (target->kind == GW_NODE_BLOCK)
		return 0;
	fd = open(target->path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (fd < 0 || !is_ours_alone(fd))
		goto failed;
	if (!job->settings.resync) {
		if (ftruncate(fd, 0) != 0)
			goto failed;
		job->target_is_zero_now = true;
	}
	if (ftruncate(fd, (off_t)job->geom.size_bytes) != 0)
		goto failed;
	close(fd);
	snprintf(path, sizeof(path), "%s", target->path);
	return gw_node_look(target, path, &job->diag);
failed:
	fd = fd < 0 ? -errno : (close(fd), -errno);
	return gw_fail_exit(&job->diag, GW_EXIT_CANNOT, fd, "target %s: %s", target->path,
			    strerror(-fd));
}

int gw_job_init_geom(struct gw_job *job)
{
	int err = gw_geom_init(&job->geom, job->source.size_bytes, job->settings.grain_bytes);

	if (err < 0)
		return gw_fail_exit(&job->diag, GW_EXIT_USAGE, err,
			"--grain %u: a power of two from 4K to 1M is needed",
			job->settings.grain_bytes);
	job->settings.grain_bytes = job->geom.grain_bytes;
	if (job->settings.buffers > GW_BUFFERS_MAX)
		return gw_fail_exit(&job->diag, GW_EXIT_USAGE, -EINVAL,
				    "--buffers %u: at most %d", job->settings.buffers,
				    GW_BUFFERS_MAX);
	return 0;
}

static int create_unverified(struct gw_job *job)
{
	int err;

	if (job->settings.verify == GW_VERIFY_NO)
		return 0;
	err = gw_bitmap_create(&job->unverified, job->geom.size_grains);
	return err < 0 ? gw_fail_exit(&job->diag, GW_EXIT_CANNOT, err, "bitmaps: %s",
				      strerror(-err)) : 0;
}

/* Without tracking nothing is copied twice. */
static int create_heat(struct gw_job *job)
{
	int err;

	if (job->settings.track == GW_TRACK_NONE)
		return 0;
	err = gw_heat_create(&job->heat, job->geom.size_grains);
	return err < 0 ? gw_fail_exit(&job->diag, GW_EXIT_CANNOT, err, "counters of hot blocks: %s",
				      strerror(-err)) : 0;
}

/* Everything that a copy needs besides its tracking; both verbs end their set-up here. */
int gw_job_open_rest(struct gw_job *job)
{
	const struct gw_planner_limits limits = {
		.downtime_ns = job->settings.downtime_limit_ns,
		.timeout_ns = job->settings.timeout_ns,
		.max_rounds = job->settings.max_rounds,
	};
	char fixed[GW_PLANNER_FIXED_BYTES], limit[GW_UNIT_TEXT_BYTES];
	int err = create_unverified(job);

	if (err >= 0)
		err = create_heat(job);
	if (err >= 0)
		err = gw_job_open_page_caches(job);
	if (err >= 0)
		err = gw_job_open_pipeline(job, false);
	if (err < 0)
		return err;
	gw_job_repace(job);
	gw_planner_init(&job->planner, &limits, job->geom.grain_bytes, gw_now_ns(job->clock));
	gw_job_publish(job, NULL);
	announce_memory(job);
	/* Nothing was measured yet: what is hopeless now is so on every machine. */
	if (gw_planner_is_hopeless(&job->planner, fixed, sizeof(fixed)))
		return gw_job_note(job, GW_WARNING, "--downtime-limit %s: %s",
				   gw_format_duration(limit, job->settings.downtime_limit_ns), fixed);
	return 0;
}

/* Tracking from nothing: of a new migration, or of one whose marks are lost (resync). */
int gw_job_start_from_nothing(struct gw_job *job)
{
	int err = gw_digests_create(&job->digests, job->state_dir, &job->geom, job->id, &job->diag);

	/* A file is emptied when all that may refuse has agreed. */
	if (err >= 0)
		err = start_track(job);
	if (err >= 0)
		gw_job_begin_before(job);
	if (err >= 0)
		err = gw_job_pin_events(job);
	if (err >= 0)
		err = prepare_target(job);
	if (err < 0)
		return err;
	assert(job->track->geom.size_grains == job->geom.size_grains);
	gw_fault_point("track-started");
	err = gw_job_create_vacant(job);
	if (err >= 0)
		err = gw_job_open_rest(job);
	if (err >= 0)
		err = add_allocated(job);
	/* The engine was told; nobody may rely on it later. */
	job->target_is_zero_now = false;
	gw_fault_point("pending-set");
	if (err >= 0)
		err = record_tracking(job);
	gw_fault_point("tracking-recorded");
	return err;
}

static const char *preflight_mend(const struct gw_row *row)
{
	return row->mend[0] != '\0' ? row->mend : "see `godwit check`";
}

static int preflight(struct gw_job *job, const struct gw_migration_config *config)
{
	struct gw_preflight *const result = calloc(1, sizeof(*result));
	int err;

	assert(result != NULL);
	err = gw_preflight_run(result, config);
	for (uint32_t i = 0; i < result->count; i++) {
		const struct gw_row *const row = &result->rows[i];

		if (row->state == GW_ROW_WARNING && !row->is_blind)
			gw_say(&job->diag, GW_WARNING, "%s: %s", row->what, row->why);
		else if (row->state == GW_ROW_UNMET)
			gw_fail_exit(&job->diag, GW_EXIT_CANNOT, -EPERM, "%s: %s. %s", row->what,
				     row->why, preflight_mend(row));
	}
	job->source = result->source;
	job->target = result->target;
	job->self_test_passed = err >= 0;
	free(result);
	return err;
}

int gw_job_adopt_manners(struct gw_job *job)
{
	const char *const list = job->settings.cpus;
	cpu_set_t cpus;
	int err = list != NULL ? gw_parse_cpus(list, &cpus) : 0;

	if (err == 0)
		err = gw_manners_adopt(job->settings.nice, list != NULL ? &cpus : NULL);
	if (err == 0)
		return 0;
	return gw_fail_exit(&job->diag, GW_EXIT_CANNOT, err, "--cpus %s, --nice: %s",
			    list != NULL ? list : "(all)", err == -EINVAL ?
			    "none of these CPUs can be used here" : strerror(-err));
}

int gw_job_set_up(struct gw_job *job, const struct gw_migration_config *config)
{
	int err = preflight(job, config);

	if (err >= 0)
		err = gw_migration_name(job->name, config, &job->source, &job->target);
	if (err < 0)
		return err;
	gw_settings_from_config(&job->settings, config);
	gw_job_choose_track(job);
	err = gw_job_choose_handoff(job, config->handoff);
	if (err >= 0)
		err = gw_job_init_geom(job);
	if (err >= 0)
		err = gw_state_create(job, config);
	if (err >= 0)
		gw_fault_point("state-made");
	/* Before there is much memory, or another thread: its watchdog would have a copy. */
	if (err >= 0)
		err = gw_job_open_throttling(job, true);
	if (err >= 0)
		err = gw_job_adopt_manners(job);
	if (err >= 0)
		err = gw_job_start_control(job);
	if (err >= 0)
		err = gw_journal_create(&job->journal, job->state_dir, &job->diag);
	job->journal_is_new = err >= 0;
	if (err >= 0)
		gw_fault_point("journal-made");
	if (err >= 0 && getrandom(&job->id, sizeof(job->id), 0) != sizeof(job->id))
		err = gw_fail_exit(&job->diag, GW_EXIT_CANNOT, -EIO, "no random number");
	if (err >= 0)
		err = gw_job_create_handoff(job);
	if (err >= 0)
		err = gw_job_record_started(job);
	if (err >= 0)
		err = gw_job_watch_foreground(job);
	if (err >= 0)
		err = gw_job_watch_events(job, false);
	gw_fault_point("started");
	return err < 0 ? err : gw_job_start_from_nothing(job);
}

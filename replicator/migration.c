// SPDX-License-Identifier: GPL-2.0-or-later
/* The verbs run and continue: set up a job, drive it, take it down again. */
#include <godwit/migration.h>

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include <godwit/version.h>

#include "fault.h"
#include "job.h"
#include "preflight.h"
#include "statefiles.h"
#include "units.h"

#define DOWNTIME_LIMIT_NS (300 * GW_NS_PER_MS)
#define TIMEOUT_NS (120 * GW_NS_PER_S)
#define QUIESCE_GRACE_NS (10 * GW_NS_PER_S)
#define EXEC_TIMEOUT_NS (30 * GW_NS_PER_S)
#define BUFFERS_MAX 1024

static const char *const handoff_names[] = { "freeze", "exec", "none" };
static const char *const verify_names[] = { "no", "during", "after" };

/* ---- messages ---- */

static void pass_message(void *arg, enum gw_level level, const char *text)
{
	const struct gw_migration_callbacks *const callbacks = arg;

	if (callbacks != NULL && callbacks->message != NULL)
		callbacks->message(callbacks->arg, (enum gw_message)level, text);
}

static void job_init(struct gw_job *job, const struct gw_migration_callbacks *callbacks)
{
	memset(job, 0, sizeof(*job));
	job->callbacks = callbacks;
	job->diag.fn = pass_message;
	job->diag.arg = (void *)callbacks;
	job->clock = &gw_clock_monotonic;
	job->started_ns = gw_now_ns(job->clock);
	job->state_lock_fd = job->disk_lock_fd = -1;
	job->fd[GW_SOURCE] = job->fd[GW_TARGET] = -1;
}

static int exit_code_of(const struct gw_job *job, int err)
{
	if (err >= 0)
		return GW_EXIT_DONE;
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

/* ---- settings ---- */

static char *copy_string(const char *text)
{
	char *copy;

	if (text == NULL)
		return NULL;
	copy = strdup(text);
	assert(copy != NULL);
	return copy;
}

static uint64_t or_default(uint64_t value, uint64_t fallback)
{
	return value != 0 ? value : fallback;
}

static void settings_from_config(struct gw_settings *settings,
				 const struct gw_migration_config *config)
{
	settings->track = config->track;
	settings->verify = config->verify;
	settings->bandwidth_bytes_per_s = config->bandwidth_bytes_per_s;
	settings->downtime_limit_ns = or_default(config->downtime_limit_ns, DOWNTIME_LIMIT_NS);
	settings->timeout_ns = or_default(config->timeout_ns, TIMEOUT_NS);
	settings->quiesce_deadline_ns = or_default(config->quiesce_deadline_ns,
		settings->downtime_limit_ns + QUIESCE_GRACE_NS);
	settings->exec_timeout_ns = or_default(config->exec_timeout_ns, EXEC_TIMEOUT_NS);
	settings->max_rounds = config->max_rounds;
	settings->grain_bytes = config->grain_bytes;
	settings->buffers = config->buffers != 0 ? config->buffers : GW_BUFFERS_DEFAULT;
	settings->overwrite = config->overwrite;
	settings->target_is_zero = config->target_is_zero;
	settings->resync = config->resync;
	settings->keep_state = config->keep_state;
	settings->exec_quiesce = copy_string(config->exec_quiesce);
	settings->exec_switch = copy_string(config->exec_switch);
	settings->exec_resume = copy_string(config->exec_resume);
	settings->exec_abort = copy_string(config->exec_abort);
}

static void settings_fini(struct gw_settings *settings)
{
	free(settings->exec_quiesce);
	free(settings->exec_switch);
	free(settings->exec_resume);
	free(settings->exec_abort);
}

/* AUTO becomes what fits the source. A block device that nobody mounted needs a word from the user. */
static int choose_handoff(struct gw_job *job, enum gw_migration_handoff wanted)
{
	struct gw_mount *mounts = NULL;
	int count;

	switch (wanted) {
	case GW_MIGRATION_FREEZE:
		job->settings.handoff = GW_HANDOFF_FREEZE;
		return 0;
	case GW_MIGRATION_EXEC:
		job->settings.handoff = GW_HANDOFF_EXEC;
		return 0;
	case GW_MIGRATION_NONE:
		job->settings.handoff = GW_HANDOFF_NONE;
		return 0;
	case GW_MIGRATION_HANDOFF_AUTO:
		break;
	}
	if (job->source.kind == GW_NODE_FILE) {
		job->settings.handoff = GW_HANDOFF_NONE;
		return 0;
	}
	count = gw_node_mounts(&job->source, &mounts, &job->diag);
	free(mounts);
	if (count < 0)
		return count;
	job->settings.handoff = GW_HANDOFF_FREEZE;
	if (count == 0)
		return gw_fail_exit(&job->diag, GW_EXIT_CANNOT, -EPERM,
			"nothing is mounted from source %s, so that godwit cannot know how to stop "
			"its writers: say --handoff none (nothing writes to it at the end) or "
			"--handoff exec --exec-quiesce COMMAND", job->source.path);
	return 0;
}

static void choose_track(struct gw_job *job)
{
	if (job->settings.track == GW_TRACK_AUTO)
		job->settings.track = job->source.kind == GW_NODE_BLOCK ? GW_TRACK_BLOCK :
									  GW_TRACK_NONE;
}

/* ---- the STARTED record, written and read ---- */

static void put_text(struct json_object *payload, const char *key, const char *text)
{
	if (text != NULL)
		gw_json_put_string(payload, key, text);
}

static void put_node(struct json_object *payload, const char *end, const struct gw_node *node)
{
	char key[64];

#define KEY(suffix) (snprintf(key, sizeof(key), "%s" suffix, end), key)
	gw_json_put_string(payload, end, node->path);
	gw_json_put_string(payload, KEY("_id"), node->stable_id);
	gw_json_put_string(payload, KEY("_name"), node->name);
	gw_json_put_string(payload, KEY("_kind"), node->kind == GW_NODE_BLOCK ? "block" : "file");
	gw_json_put_u64(payload, KEY("_diskseq"), node->diskseq);
	gw_json_put_u64(payload, KEY("_dev"), node->kind == GW_NODE_BLOCK ?
			(uint64_t)node->dev : (uint64_t)node->file_dev);
	gw_json_put_u64(payload, KEY("_ino"), (uint64_t)node->file_ino);
	gw_json_put_u64(payload, KEY("_size_bytes"), node->size_bytes);
#undef KEY
}

static int record_started(struct gw_job *job)
{
	const struct gw_settings *const settings = &job->settings;
	struct json_object *const payload = json_object_new_object();
	int err;

	gw_json_put_string(payload, "version", GODWIT_VERSION);
	gw_json_put_string(payload, "name", job->name);
	gw_json_put_u64(payload, "id", job->id);
	put_node(payload, "source", &job->source);
	put_node(payload, "target", &job->target);
	gw_json_put_u64(payload, "size_bytes", job->geom.size_bytes);
	gw_json_put_u64(payload, "grain_bytes", job->geom.grain_bytes);
	gw_json_put_string(payload, "track", settings->track == GW_TRACK_BLOCK ? "block" : "none");
	gw_json_put_string(payload, "handoff", handoff_names[settings->handoff]);
	gw_json_put_string(payload, "verify", verify_names[settings->verify]);
	gw_json_put_u64(payload, "bandwidth_bytes_per_s", settings->bandwidth_bytes_per_s);
	gw_json_put_u64(payload, "downtime_limit_ns", settings->downtime_limit_ns);
	gw_json_put_u64(payload, "timeout_ns", settings->timeout_ns);
	gw_json_put_u64(payload, "quiesce_deadline_ns", settings->quiesce_deadline_ns);
	gw_json_put_u64(payload, "exec_timeout_ns", settings->exec_timeout_ns);
	gw_json_put_u64(payload, "max_rounds", settings->max_rounds);
	gw_json_put_u64(payload, "buffers", settings->buffers);
	gw_json_put_bool(payload, "target_is_zero", settings->target_is_zero);
	gw_json_put_bool(payload, "resync", settings->resync);
	gw_json_put_bool(payload, "keep_state", settings->keep_state);
	put_text(payload, "exec_quiesce", settings->exec_quiesce);
	put_text(payload, "exec_switch", settings->exec_switch);
	put_text(payload, "exec_resume", settings->exec_resume);
	put_text(payload, "exec_abort", settings->exec_abort);
	err = gw_journal_append(job->journal, GW_RECORD_STARTED, payload, &job->diag);
	return err < 0 ? err : gw_journal_sync(job->journal, &job->diag);
}

/* Which of names text is; count if none. */
static uint32_t index_of(const char *text, const char *const *names, uint32_t count)
{
	uint32_t i = 0;

	while (i < count && (text == NULL || strcmp(text, names[i]) != 0))
		i++;
	return i;
}

static int bad_journal(struct gw_job *job, const char *key)
{
	return gw_fail_exit(&job->diag, GW_EXIT_UNCLEAR, -EBADMSG,
			    "%s/" GW_JOURNAL_FILE ": its start record has no usable \"%s\"",
			    job->state_dir, key);
}

static int settings_from_journal(struct gw_job *job, struct json_object *started)
{
	static const char *const track_names[] = { "block", "none" };
	struct gw_settings *const settings = &job->settings;
	const uint32_t track = index_of(gw_json_string(started, "track"), track_names, 2);
	const uint32_t handoff = index_of(gw_json_string(started, "handoff"), handoff_names, 3);
	const uint32_t verify = index_of(gw_json_string(started, "verify"), verify_names, 3);
	uint64_t grain_bytes, buffers, max_rounds = 0;

	if (!gw_json_u64(started, "id", &job->id))
		return bad_journal(job, "id");
	if (track == 2)
		return bad_journal(job, "track");
	if (handoff == 3)
		return bad_journal(job, "handoff");
	if (verify == 3)
		return bad_journal(job, "verify");
	if (!gw_json_u64(started, "grain_bytes", &grain_bytes) || grain_bytes > GW_GRAIN_BYTES_MAX)
		return bad_journal(job, "grain_bytes");
	if (!gw_json_u64(started, "buffers", &buffers) || buffers == 0 || buffers > BUFFERS_MAX)
		return bad_journal(job, "buffers");
	if (!gw_json_u64(started, "max_rounds", &max_rounds) || max_rounds > UINT32_MAX)
		return bad_journal(job, "max_rounds");
	if (!gw_json_u64(started, "downtime_limit_ns", &settings->downtime_limit_ns) ||
	    !gw_json_u64(started, "timeout_ns", &settings->timeout_ns) ||
	    !gw_json_u64(started, "quiesce_deadline_ns", &settings->quiesce_deadline_ns) ||
	    !gw_json_u64(started, "exec_timeout_ns", &settings->exec_timeout_ns) ||
	    !gw_json_u64(started, "bandwidth_bytes_per_s", &settings->bandwidth_bytes_per_s))
		return bad_journal(job, "..._ns");
	settings->track = track == 0 ? GW_TRACK_BLOCK : GW_TRACK_NONE;
	settings->handoff = (enum gw_handoff_kind)handoff;
	settings->verify = (enum gw_migration_verify)verify;
	settings->grain_bytes = (uint32_t)grain_bytes;
	settings->buffers = (uint32_t)buffers;
	settings->max_rounds = (uint32_t)max_rounds;
	gw_json_bool(started, "keep_state", &settings->keep_state);
	gw_json_bool(started, "resync", &settings->resync);
	settings->exec_quiesce = copy_string(gw_json_string(started, "exec_quiesce"));
	settings->exec_switch = copy_string(gw_json_string(started, "exec_switch"));
	settings->exec_resume = copy_string(gw_json_string(started, "exec_resume"));
	settings->exec_abort = copy_string(gw_json_string(started, "exec_abort"));
	return 0;
}

/* What was given anew on the command line wins. */
static void settings_override(struct gw_settings *settings,
			      const struct gw_migration_config *config)
{
	settings->bandwidth_bytes_per_s = or_default(config->bandwidth_bytes_per_s,
						     settings->bandwidth_bytes_per_s);
	settings->downtime_limit_ns = or_default(config->downtime_limit_ns,
						 settings->downtime_limit_ns);
	settings->timeout_ns = or_default(config->timeout_ns, settings->timeout_ns);
	settings->quiesce_deadline_ns = or_default(config->quiesce_deadline_ns,
						   settings->quiesce_deadline_ns);
	if (config->max_rounds != 0)
		settings->max_rounds = config->max_rounds;
	if (config->buffers != 0)
		settings->buffers = config->buffers;
	settings->resync |= config->resync;
	settings->overwrite = config->overwrite;
}

/* Is what the path leads to now what the migration was started with? */
static int check_identity(struct gw_job *job, struct json_object *started, const char *end,
			  const struct gw_node *node)
{
	uint64_t diskseq = 0, size_bytes = 0, dev = 0, ino = 0;
	const char *id, *kind;
	char key[64];

#define KEY(suffix) (snprintf(key, sizeof(key), "%s" suffix, end), key)
	if (!gw_json_u64(started, KEY("_size_bytes"), &size_bytes) ||
	    !gw_json_u64(started, KEY("_diskseq"), &diskseq) ||
	    !gw_json_u64(started, KEY("_dev"), &dev) || !gw_json_u64(started, KEY("_ino"), &ino))
		return bad_journal(job, end);
	id = gw_json_string(started, KEY("_id"));
	kind = gw_json_string(started, KEY("_kind"));
#undef KEY
	if (id == NULL || kind == NULL)
		return bad_journal(job, end);
	if ((strcmp(kind, "block") == 0) != (node->kind == GW_NODE_BLOCK))
		goto other;
	if (node->kind == GW_NODE_FILE) {
		/* A target file that had not been made yet has no number. */
		if (ino != 0 && (dev != (uint64_t)node->file_dev ||
				 ino != (uint64_t)node->file_ino))
			goto other;
		return 0;
	}
	if (size_bytes != node->size_bytes || strcmp(id, node->stable_id) != 0)
		goto other;
	/* Without a stable name the number of the disk is all there is; a reboot begins it anew. */
	if (diskseq != node->diskseq && id[0] == '\0' &&
	    !(job->settings.resync && job->settings.overwrite))
		goto other;
	return 0;
other:
	return gw_fail_exit(&job->diag, GW_EXIT_CANNOT, -ESTALE,
		"%s %s is another disk (or file) than when migration %s started; bring the old one "
		"back, or `godwit cleanup %s` and start anew", end, node->path, job->name,
		job->name);
}

/* ---- tracking and allocation ---- */

static int start_track(struct gw_job *job)
{
	const struct gw_track_block_config config = {
		.name = job->name,
		.node = &job->source,
		.grain_bytes = job->settings.grain_bytes,
	};
	int err;

	if (job->settings.track == GW_TRACK_BLOCK)
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
	return err;
}

/* The footprint, fixed from here on: buffers, four bitmaps at most, the ring's own pages aside. */
static void announce_memory(struct gw_job *job)
{
	char slab[GW_UNIT_TEXT_BYTES], bitmaps[GW_UNIT_TEXT_BYTES], all[GW_UNIT_TEXT_BYTES],
		digests[GW_UNIT_TEXT_BYTES], grain[GW_UNIT_TEXT_BYTES];
	const uint64_t bitmap_bytes = job->geom.words * 8 *
				      (job->settings.verify != GW_VERIFY_NO ? 4 : 3);

	job->memory_bytes = job->slab_bytes + bitmap_bytes;
	gw_say(&job->diag, GW_NOTE,
	       "memory: %s, fixed (%u buffers %s, bitmaps at a grain of %s %s); digest file %s",
	       gw_format_bytes(all, job->memory_bytes), job->settings.buffers,
	       gw_format_bytes(slab, job->slab_bytes),
	       gw_format_bytes(grain, job->geom.grain_bytes),
	       gw_format_bytes(bitmaps, bitmap_bytes),
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
	err = gw_journal_append(job->journal, GW_RECORD_TRACKING, payload, &job->diag);
	return err < 0 ? err : gw_journal_sync(job->journal, &job->diag);
}

/* ---- set-up ---- */

static int create_handoff(struct gw_job *job)
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
	if (fd < 0)
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

static int init_geom(struct gw_job *job)
{
	int err = gw_geom_init(&job->geom, job->source.size_bytes, job->settings.grain_bytes);

	if (err < 0)
		return gw_fail_exit(&job->diag, GW_EXIT_USAGE, err,
			"--grain %u: a power of two from 4K to 1M is needed",
			job->settings.grain_bytes);
	job->settings.grain_bytes = job->geom.grain_bytes;
	if (job->settings.buffers > BUFFERS_MAX)
		return gw_fail_exit(&job->diag, GW_EXIT_USAGE, -EINVAL,
				    "--buffers %u: at most %d", job->settings.buffers,
				    BUFFERS_MAX);
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

/* Everything that a copy needs besides its tracking; both verbs end their set-up here. */
static int open_rest(struct gw_job *job)
{
	const struct gw_planner_limits limits = {
		.downtime_ns = job->settings.downtime_limit_ns,
		.timeout_ns = job->settings.timeout_ns,
		.max_rounds = job->settings.max_rounds,
	};
	int err = create_unverified(job);

	if (err >= 0)
		err = gw_job_open_page_caches(job);
	if (err >= 0)
		err = gw_job_open_pipeline(job, false);
	if (err < 0)
		return err;
	gw_pacer_set(&job->pacer, job->settings.bandwidth_bytes_per_s, gw_now_ns(job->clock));
	gw_planner_init(&job->planner, &limits, job->geom.grain_bytes, gw_now_ns(job->clock));
	announce_memory(job);
	return 0;
}

/* Tracking from nothing: of a new migration, or of one whose marks are lost (resync). */
static int start_from_nothing(struct gw_job *job)
{
	int err = gw_digests_create(&job->digests, job->state_dir, &job->geom, job->id, &job->diag);

	if (err >= 0)
		err = prepare_target(job);
	if (err >= 0)
		err = start_track(job);
	if (err < 0)
		return err;
	assert(job->track->geom.size_grains == job->geom.size_grains);
	gw_fault_point("track-started");
	err = open_rest(job);
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

		if (row->state == GW_ROW_WARNING)
			gw_say(&job->diag, GW_WARNING, "%s: %s", row->what, row->why);
		else if (row->state == GW_ROW_UNMET)
			gw_fail_exit(&job->diag, GW_EXIT_CANNOT, -EPERM, "%s: %s. %s", row->what,
				     row->why, preflight_mend(row));
	}
	job->source = result->source;
	job->target = result->target;
	free(result);
	return err;
}

static int set_up_new(struct gw_job *job, const struct gw_migration_config *config)
{
	int err = preflight(job, config);

	if (err >= 0)
		err = gw_migration_name(job->name, config, &job->source, &job->target);
	if (err < 0)
		return err;
	settings_from_config(&job->settings, config);
	choose_track(job);
	err = choose_handoff(job, config->handoff);
	if (err >= 0)
		err = init_geom(job);
	if (err >= 0)
		err = gw_state_create(job, config);
	if (err >= 0)
		err = gw_journal_create(&job->journal, job->state_dir, &job->diag);
	job->journal_is_new = err >= 0;
	if (err >= 0 && getrandom(&job->id, sizeof(job->id), 0) != sizeof(job->id))
		err = gw_fail_exit(&job->diag, GW_EXIT_CANNOT, -EIO, "no random number");
	if (err >= 0)
		err = create_handoff(job);
	if (err >= 0)
		err = record_started(job);
	gw_fault_point("started");
	return err < 0 ? err : start_from_nothing(job);
}

/* ---- the end ---- */

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
static int take_down(struct gw_job *job, int exit_code, bool to_keep)
{
	struct gw_diag quiet = { 0 };

	gw_job_close_pipeline(job);
	if (job->target_track != NULL)
		gw_track_stop(job->target_track, &quiet);
	gw_handoff_destroy(job->handoff);
	if (job->journal != NULL && !to_keep)
		record_ended(job, exit_code);
	/* The pins go after the record: killed in between, cleanup finds them by their name. */
	if (job->track != NULL && to_keep)
		gw_track_close(job->track);
	else if (job->track != NULL)
		gw_track_stop(job->track, &job->diag);
	gw_digests_close(&job->digests);
	gw_bitmap_destroy(&job->unverified);
	for (uint32_t i = 0; i < job->sync_fds; i++)
		close(job->sync_fd[i]);
	gw_journal_close(job->journal);
	if (to_keep)
		gw_state_unlock(job);
	else
		gw_state_release(job, exit_code);
	settings_fini(&job->settings);
	return exit_code;
}

static int verify_after(struct gw_job *job)
{
	int err;

	if (job->settings.verify != GW_VERIFY_AFTER)
		return 0;
	err = gw_job_open_pipeline(job, true);
	return err < 0 ? err : gw_job_verify_after(job);
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

static int drive(struct gw_job *job, bool base_is_due)
{
	int err = gw_job_copy_and_switch(job, base_is_due);

	if (err < 0)
		return err;
	record_verified(job);
	return verify_after(job);
}

int gw_migration_run(const struct gw_migration_config *config,
		     const struct gw_migration_callbacks *callbacks)
{
	struct gw_job *const job = calloc(1, sizeof(*job));
	int err, exit_code;

	assert(job != NULL);
	job_init(job, callbacks);
	gw_handoff_committed = gw_state_is_committed;
	if (config->source == NULL || config->target == NULL)
		err = gw_fail_exit(&job->diag, GW_EXIT_USAGE, -EINVAL,
				   "a source and a target are needed");
	else
		err = set_up_new(job, config);
	if (err >= 0)
		err = drive(job, true);
	exit_code = take_down(job, exit_code_of(job, err), false);
	free(job);
	return exit_code;
}

/* ---- continue ---- */

/* Where a dead migration stood. */
struct stand {
	struct gw_journal_state state;
	bool has_tracking;
	uint64_t generation;
	uint64_t rounds;
};

static int see_record(void *arg, const struct gw_record *record, struct json_object *payload)
{
	struct stand *const stand = arg;

	if (record->type == GW_RECORD_TRACKING) {
		stand->has_tracking = gw_json_u64(payload, "generation", &stand->generation);
		stand->rounds = 0;
	}
	if (record->type == GW_RECORD_ROUND)
		gw_json_u64(payload, "round", &stand->rounds);
	return 0;
}

static int read_stand(struct gw_job *job, struct stand *stand)
{
	int err = gw_journal_read_state(job->state_dir, &stand->state, &job->diag);

	if (err < 0)
		return err;
	err = gw_journal_each(job->state_dir, see_record, stand, NULL, &job->diag);
	if (err < 0)
		return err;
	if (!stand->state.has_started)
		return gw_fail_exit(&job->diag, GW_EXIT_CANNOT, -ENOENT,
			"migration %s died before it had begun, nothing was copied: "
			"`godwit cleanup %s`, then start it anew", job->name, job->name);
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
			return bad_journal(job, "recovery");
		err = gw_handoff_recover(recovery, stand->state.has_commit, &job->diag);
	}
	return err;
}

/* Died after the commit: the target is whole, only the switch and the tidying up may be missing. */
static int finish_committed(struct gw_job *job, const struct stand *stand)
{
	int err = stand->state.has_resumed ? 0 : recover_handoff(job, stand);

	if (err < 0)
		return gw_fail_exit(&job->diag, GW_EXIT_UNCLEAR, err,
			"the target is consistent and committed, but the switch did not finish");
	job->committed = true;
	gw_say(&job->diag, GW_NOTE, "the target was committed before the process died; "
	       "the switch is finished");
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
		return bad_journal(job, "source");
	err = gw_node_look(&job->source, source, &job->diag);
	if (err >= 0)
		err = gw_node_look(&job->target, target, &job->diag);
	if (err >= 0)
		err = check_identity(job, started, "source", &job->source);
	if (err >= 0)
		err = check_identity(job, started, "target", &job->target);
	return err;
}

static int record_continued(struct gw_job *job, const char *how)
{
	struct json_object *const payload = json_object_new_object();
	char bytes[GW_UNIT_TEXT_BYTES];
	const uint64_t pending = gw_bitmap_count(&job->track->pending) << job->geom.grain_shift;

	gw_say(&job->diag, GW_NOTE, "continuing from %s: %s to copy", how,
	       gw_format_bytes(bytes, pending));
	gw_json_put_string(payload, "how", how);
	gw_json_put_u64(payload, "pending_bytes", pending);
	gw_json_put_u64(payload, "generation", job->track->generation);
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

static int continue_from_pins(struct gw_job *job, const struct stand *stand)
{
	int err = gw_digests_open(&job->digests, job->state_dir, &job->geom, job->id, &job->diag);

	/* Taken, and then lost with the process that copied it: to be copied again. */
	gw_bitmap_move_all(&job->track->copying, &job->track->pending);
	if (err >= 0)
		err = record_continued(job, "pins");
	if (err >= 0)
		err = open_rest(job);
	if (err < 0)
		return err;
	job->planner.round = (uint32_t)stand->rounds;
	restore_unverified(job);
	return drive(job, false);
}

/* Marks are lost (reboot) or there were none yet: everything is looked at, what differs is written. */
static int continue_from_nothing(struct gw_job *job, bool is_resync)
{
	int err = gw_track_block_remove(job->name, &job->diag);

	if (err >= 0)
		err = gw_state_remove_digests(job->state_dir, &job->diag);
	job->settings.resync = is_resync;
	if (err >= 0)
		err = start_from_nothing(job);
	if (err >= 0)
		err = record_continued(job, is_resync ? "resync" : "start");
	return err < 0 ? err : drive(job, true);
}

static int open_pins(struct gw_job *job, const struct stand *stand)
{
	struct gw_diag quiet = { 0 };
	int err;

	if (job->settings.track != GW_TRACK_BLOCK)
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
	int err = recover_handoff(job, stand);

	if (err >= 0 && stand->state.has_quiescing)
		err = gw_journal_append(job->journal, GW_RECORD_RESUMED, json_object_new_object(),
					&job->diag);
	if (err >= 0)
		err = settings_from_journal(job, stand->state.started);
	if (err < 0)
		return err;
	settings_override(&job->settings, config);
	err = look_at_nodes(job, stand->state.started);
	if (err >= 0)
		err = init_geom(job);
	if (err >= 0)
		err = gw_state_lock_disk(job);
	if (err >= 0)
		err = create_handoff(job);
	if (err < 0)
		return err;
	if (!stand->has_tracking)
		return continue_from_nothing(job, job->settings.resync);
	err = open_pins(job, stand);
	if (err == 0)
		return continue_from_pins(job, stand);
	if (err != -ENOENT)
		return err;
	if (!config->resync)
		return gw_fail_exit(&job->diag, GW_EXIT_CANNOT, -ENOENT,
			"the pinned tracking of %s is gone (a reboot?), so that nobody knows what "
			"was written since: --continue %s --resync compares by content and writes "
			"only what differs", job->name, job->name);
	return continue_from_nothing(job, true);
}

int gw_migration_continue(const struct gw_migration_config *config,
			  const struct gw_migration_callbacks *callbacks)
{
	struct gw_job *const job = calloc(1, sizeof(*job));
	struct stand stand = { 0 };
	bool is_open;
	int err, exit_code;

	assert(job != NULL);
	job_init(job, callbacks);
	gw_handoff_committed = gw_state_is_committed;
	err = gw_state_open(job, config);
	if (err >= 0)
		err = read_stand(job, &stand);
	if (err >= 0)
		err = gw_journal_open(&job->journal, job->state_dir, &job->diag);
	is_open = err >= 0;
	if (is_open && stand.state.has_ended)
		err = finish_ended(job);
	else if (is_open && stand.state.has_commit)
		err = finish_committed(job, &stand);
	else if (is_open)
		err = continue_copy(job, config, &stand);
	/* What could not be opened, or not gone on with, is left as it is. */
	exit_code = exit_code_of(job, err);
	take_down(job, exit_code, !is_open || exit_code == GW_EXIT_CANNOT);
	gw_journal_state_fini(&stand.state);
	free(job);
	return exit_code;
}

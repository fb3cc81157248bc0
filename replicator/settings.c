// SPDX-License-Identifier: GPL-2.0-or-later
/* A migration's settings: from the caller, into the journal's first record, and back from it. */
#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <godwit/version.h>

#include "job.h"
#include "manners.h"

#define DOWNTIME_LIMIT_NS (300 * GW_NS_PER_MS)
#define TIMEOUT_NS (120 * GW_NS_PER_S)
#define QUIESCE_GRACE_NS (10 * GW_NS_PER_S)
#define EXEC_TIMEOUT_NS (30 * GW_NS_PER_S)

static const char *const handoff_names[] = { "freeze", "exec", "none", "dm" };
static const char *const verify_names[] = { "no", "during", "after" };

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

/* By default: beyond the downtime limit, and what the quiesce command may take. */
static uint64_t deadline_ns(const struct gw_settings *settings, bool is_exec)
{
	return settings->downtime_limit_ns + QUIESCE_GRACE_NS +
	       (is_exec ? settings->exec_timeout_ns : 0);
}

/* One that was given before may be too early for a longer limit. */
static void move_deadline(struct gw_settings *settings)
{
	if (settings->quiesce_deadline_ns < deadline_ns(settings, false))
		settings->quiesce_deadline_ns =
			deadline_ns(settings, settings->handoff == GW_HANDOFF_EXEC);
}

uint32_t gw_settings_bitmaps(enum gw_migration_verify verify)
{
	return verify == GW_VERIFY_NO ? 3 : verify == GW_VERIFY_DURING ? 4 : 7;
}

void gw_settings_from_config(struct gw_settings *settings,
				 const struct gw_migration_config *config)
{
	settings->track = config->track;
	settings->verify = config->verify;
	settings->bandwidth_bytes_per_s = config->bandwidth_bytes_per_s;
	settings->downtime_limit_ns = or_default(config->downtime_limit_ns, DOWNTIME_LIMIT_NS);
	settings->timeout_ns = or_default(config->timeout_ns, TIMEOUT_NS);
	settings->exec_timeout_ns = or_default(config->exec_timeout_ns, EXEC_TIMEOUT_NS);
	settings->quiesce_deadline_ns = or_default(config->quiesce_deadline_ns,
		deadline_ns(settings, config->handoff == GW_MIGRATION_EXEC));
	settings->max_rounds = config->max_rounds;
	settings->grain_bytes = config->grain_bytes;
	settings->buffers = config->buffers != 0 ? config->buffers : GW_BUFFERS_DEFAULT;
	settings->overwrite = config->overwrite;
	settings->target_is_zero = config->target_is_zero;
	settings->resync = config->resync;
	settings->free_space = config->free_space;
	settings->keep_state = config->keep_state;
	settings->restart_on_erase = config->restart_on_erase;
	settings->dm_name = copy_string(config->dm_name);
	settings->wait_switch = config->wait_switch;
	settings->exec_quiesce = copy_string(config->exec_quiesce);
	settings->exec_switch = copy_string(config->exec_switch);
	settings->exec_resume = copy_string(config->exec_resume);
	settings->exec_abort = copy_string(config->exec_abort);
	settings->throttle_writers = copy_string(config->throttle_writers);
	settings->cpus = copy_string(config->cpus);
	settings->nice = config->has_nice ? (int)config->nice : -1;
	settings->guard = copy_string(config->guard);
}

void gw_settings_fini(struct gw_settings *settings)
{
	free(settings->dm_name);
	free(settings->exec_quiesce);
	free(settings->exec_switch);
	free(settings->exec_resume);
	free(settings->exec_abort);
	free(settings->throttle_writers);
	free(settings->cpus);
	free(settings->guard);
}

/* AUTO becomes what fits the source. A block device that nobody mounted needs a word from the user. */
int gw_job_choose_handoff(struct gw_job *job, enum gw_migration_handoff wanted)
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
	case GW_MIGRATION_DM:
		job->settings.handoff = GW_HANDOFF_DM;
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

void gw_job_choose_track(struct gw_job *job)
{
	if (job->settings.track != GW_TRACK_AUTO)
		return;
	if (job->source.kind != GW_NODE_BLOCK)
		job->settings.track = GW_TRACK_NONE;
	else
		job->settings.track = gw_track_source_for(&job->source) == GW_SOURCE_NVME ?
				      GW_TRACK_NVME : GW_TRACK_BLOCK;
}

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

int gw_job_record_started(struct gw_job *job)
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
	gw_json_put_string(payload, "track",
			   settings->track == GW_TRACK_NVME ? "nvme" :
			   settings->track == GW_TRACK_BLOCK ? "block" : "none");
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
	gw_json_put_bool(payload, "free_space", settings->free_space);
	gw_json_put_bool(payload, "keep_state", settings->keep_state);
	gw_json_put_bool(payload, "restart_on_erase", settings->restart_on_erase);
	put_text(payload, "dm_name", settings->dm_name);
	gw_json_put_bool(payload, "wait_switch", settings->wait_switch);
	put_text(payload, "exec_quiesce", settings->exec_quiesce);
	put_text(payload, "exec_switch", settings->exec_switch);
	put_text(payload, "exec_resume", settings->exec_resume);
	put_text(payload, "exec_abort", settings->exec_abort);
	put_text(payload, "throttle_writers", settings->throttle_writers);
	put_text(payload, "cpus", settings->cpus);
	if (settings->nice >= 0)
		gw_json_put_u64(payload, "nice", (uint64_t)settings->nice);
	put_text(payload, "guard", settings->guard);
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

int gw_job_bad_journal(struct gw_job *job, const char *key)
{
	return gw_fail_exit(&job->diag, GW_EXIT_UNCLEAR, -EBADMSG,
			    "%s/" GW_JOURNAL_FILE ": its start record has no usable \"%s\"",
			    job->state_dir, key);
}

int gw_job_read_settings(struct gw_job *job, struct json_object *started)
{
	static const char *const track_names[] = { "block", "none", "nvme" };
	static const enum gw_migration_track tracks[] = {
		GW_TRACK_BLOCK, GW_TRACK_NONE, GW_TRACK_NVME,
	};
	struct gw_settings *const settings = &job->settings;
	const uint32_t track = index_of(gw_json_string(started, "track"), track_names, 3);
	const uint32_t handoff = index_of(gw_json_string(started, "handoff"), handoff_names, 4);
	const uint32_t verify = index_of(gw_json_string(started, "verify"), verify_names, 3);
	uint64_t grain_bytes, buffers, max_rounds = 0, nice;

	if (!gw_json_u64(started, "id", &job->id))
		return gw_job_bad_journal(job, "id");
	if (track == 3)
		return gw_job_bad_journal(job, "track");
	if (handoff == 4)
		return gw_job_bad_journal(job, "handoff");
	if (verify == 3)
		return gw_job_bad_journal(job, "verify");
	if (!gw_json_u64(started, "grain_bytes", &grain_bytes) || grain_bytes > GW_GRAIN_BYTES_MAX)
		return gw_job_bad_journal(job, "grain_bytes");
	if (!gw_json_u64(started, "buffers", &buffers) || buffers == 0 || buffers > GW_BUFFERS_MAX)
		return gw_job_bad_journal(job, "buffers");
	if (!gw_json_u64(started, "max_rounds", &max_rounds) || max_rounds > UINT32_MAX)
		return gw_job_bad_journal(job, "max_rounds");
	if (!gw_json_u64(started, "downtime_limit_ns", &settings->downtime_limit_ns) ||
	    !gw_json_u64(started, "timeout_ns", &settings->timeout_ns) ||
	    !gw_json_u64(started, "quiesce_deadline_ns", &settings->quiesce_deadline_ns) ||
	    !gw_json_u64(started, "exec_timeout_ns", &settings->exec_timeout_ns) ||
	    !gw_json_u64(started, "bandwidth_bytes_per_s", &settings->bandwidth_bytes_per_s))
		return gw_job_bad_journal(job, "..._ns");
	settings->track = tracks[track];
	settings->handoff = (enum gw_handoff_kind)handoff;
	settings->verify = (enum gw_migration_verify)verify;
	settings->grain_bytes = (uint32_t)grain_bytes;
	settings->buffers = (uint32_t)buffers;
	settings->max_rounds = (uint32_t)max_rounds;
	gw_json_bool(started, "keep_state", &settings->keep_state);
	gw_json_bool(started, "restart_on_erase", &settings->restart_on_erase);
	gw_json_bool(started, "wait_switch", &settings->wait_switch);
	gw_json_bool(started, "resync", &settings->resync);
	gw_json_bool(started, "free_space", &settings->free_space);
	settings->dm_name = copy_string(gw_json_string(started, "dm_name"));
	settings->exec_quiesce = copy_string(gw_json_string(started, "exec_quiesce"));
	settings->exec_switch = copy_string(gw_json_string(started, "exec_switch"));
	settings->exec_resume = copy_string(gw_json_string(started, "exec_resume"));
	settings->exec_abort = copy_string(gw_json_string(started, "exec_abort"));
	settings->throttle_writers = copy_string(gw_json_string(started, "throttle_writers"));
	settings->cpus = copy_string(gw_json_string(started, "cpus"));
	settings->nice = gw_json_u64(started, "nice", &nice) && nice <= GW_NICE_MAX ? (int)nice : -1;
	settings->guard = copy_string(gw_json_string(started, "guard"));
	return 0;
}

/* What was given anew on the command line wins. */
void gw_settings_override(struct gw_settings *settings,
			      const struct gw_migration_config *config)
{
	settings->bandwidth_bytes_per_s = or_default(config->bandwidth_bytes_per_s,
						     settings->bandwidth_bytes_per_s);
	settings->downtime_limit_ns = or_default(config->downtime_limit_ns,
						 settings->downtime_limit_ns);
	settings->timeout_ns = or_default(config->timeout_ns, settings->timeout_ns);
	settings->exec_timeout_ns = or_default(config->exec_timeout_ns, settings->exec_timeout_ns);
	if (config->downtime_limit_ns != 0)
		move_deadline(settings);
	settings->quiesce_deadline_ns = or_default(config->quiesce_deadline_ns,
						   settings->quiesce_deadline_ns);
	if (config->max_rounds != 0)
		settings->max_rounds = config->max_rounds;
	if (config->buffers != 0)
		settings->buffers = config->buffers;
	if (config->cpus != NULL) {
		free(settings->cpus);
		settings->cpus = copy_string(config->cpus);
	}
	if (config->has_nice)
		settings->nice = (int)config->nice;
	if (config->throttle_writers != NULL) {
		free(settings->throttle_writers);
		settings->throttle_writers = copy_string(config->throttle_writers);
		settings->no_throttling = false;
	}
	if (config->guard != NULL) {
		free(settings->guard);
		settings->guard = copy_string(config->guard);
	}
	settings->resync |= config->resync;
	settings->restart_on_erase |= config->restart_on_erase;
	settings->wait_switch |= config->wait_switch;
	settings->overwrite = config->overwrite;
}

static void put_given(struct json_object *payload, const char *key, bool is_given, uint64_t value)
{
	if (is_given)
		gw_json_put_u64(payload, key, value);
}

void gw_settings_put_given(struct json_object *payload, const struct gw_settings *settings,
			   const struct gw_migration_config *config)
{
	put_given(payload, "bandwidth_bytes_per_s", config->bandwidth_bytes_per_s != 0,
		  settings->bandwidth_bytes_per_s);
	put_given(payload, "downtime_limit_ns", config->downtime_limit_ns != 0,
		  settings->downtime_limit_ns);
	put_given(payload, "timeout_ns", config->timeout_ns != 0, settings->timeout_ns);
	/* A longer limit may have moved it. */
	put_given(payload, "quiesce_deadline_ns",
		  config->quiesce_deadline_ns != 0 || config->downtime_limit_ns != 0,
		  settings->quiesce_deadline_ns);
	put_given(payload, "exec_timeout_ns", config->exec_timeout_ns != 0,
		  settings->exec_timeout_ns);
	put_given(payload, "max_rounds", config->max_rounds != 0, settings->max_rounds);
	put_given(payload, "buffers", config->buffers != 0, settings->buffers);
	if (config->restart_on_erase)
		gw_json_put_bool(payload, "restart_on_erase", true);
	if (config->wait_switch)
		gw_json_put_bool(payload, "wait_switch", true);
	put_text(payload, "throttle_writers", config->throttle_writers);
	put_text(payload, "cpus", config->cpus);
	put_given(payload, "nice", config->has_nice, config->nice);
	put_text(payload, "guard", config->guard);
}

void gw_settings_take_given(struct json_object *started, struct gw_control_values *set,
			    struct json_object *continued)
{
	static const char *const keys[] = {
		"bandwidth_bytes_per_s", "downtime_limit_ns", "timeout_ns", "quiesce_deadline_ns",
		"exec_timeout_ns", "max_rounds", "buffers", "restart_on_erase", "wait_switch",
		"throttle_writers", "cpus", "nice", "guard",
	};
	struct json_object *value;

	for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
		if (!json_object_object_get_ex(continued, keys[i], &value))
			continue;
		gw_json_put_object(started, keys[i], json_object_get(value));
		for (int s = 0; s < GW_CONTROL_SETTINGS; s++)
			if (strcmp(gw_control_setting((enum gw_control_setting)s)->key, keys[i]) == 0)
				set->mask &= ~(1u << s);
	}
}

/* Where each setting is; those aside that are no such number. */
static uint64_t *setting_at(struct gw_settings *settings, enum gw_control_setting setting)
{
	switch (setting) {
	case GW_CONTROL_BANDWIDTH:
		return &settings->bandwidth_bytes_per_s;
	case GW_CONTROL_DOWNTIME_LIMIT:
		return &settings->downtime_limit_ns;
	case GW_CONTROL_TIMEOUT:
		return &settings->timeout_ns;
	case GW_CONTROL_QUIESCE_DEADLINE:
		return &settings->quiesce_deadline_ns;
	case GW_CONTROL_EXEC_TIMEOUT:
		return &settings->exec_timeout_ns;
	case GW_CONTROL_MAX_ROUNDS:
	case GW_CONTROL_GUARD:
	case GW_CONTROL_THROTTLE_WRITERS:
	case GW_CONTROL_SETTINGS:
		break;
	}
	return NULL;
}

void gw_settings_apply(struct gw_settings *settings, const struct gw_control_values *set)
{
	for (int i = 0; i < GW_CONTROL_SETTINGS; i++) {
		uint64_t *const value = setting_at(settings, (enum gw_control_setting)i);

		if ((set->mask & (1u << i)) == 0)
			continue;
		if (value != NULL)
			*value = set->value[i];
	}
	if ((set->mask & (1u << GW_CONTROL_MAX_ROUNDS)) != 0)
		settings->max_rounds = (uint32_t)set->value[GW_CONTROL_MAX_ROUNDS];
	if ((set->mask & (1u << GW_CONTROL_THROTTLE_WRITERS)) != 0)
		settings->no_throttling = set->value[GW_CONTROL_THROTTLE_WRITERS] == 0;
	if ((set->mask & (1u << GW_CONTROL_GUARD)) != 0) {
		free(settings->guard);
		settings->guard = copy_string(set->guard);
	}
	if ((set->mask & (1u << GW_CONTROL_QUIESCE_DEADLINE)) == 0 &&
	    (set->mask & (1u << GW_CONTROL_DOWNTIME_LIMIT)) != 0)
		move_deadline(settings);
}

void gw_settings_values(const struct gw_settings *settings, struct gw_control_values *values)
{
	struct gw_settings copy = *settings;

	values->mask = (1u << GW_CONTROL_SETTINGS) - 1;
	for (int i = 0; i < GW_CONTROL_SETTINGS; i++) {
		const uint64_t *const value = setting_at(&copy, (enum gw_control_setting)i);

		values->value[i] = value != NULL ? *value : 0;
	}
	values->value[GW_CONTROL_MAX_ROUNDS] = settings->max_rounds;
	values->value[GW_CONTROL_THROTTLE_WRITERS] =
		settings->throttle_writers != NULL && !settings->no_throttling;
	snprintf(values->guard, sizeof(values->guard), "%.*s", GW_CONTROL_GUARD_BYTES - 1,
		 settings->guard != NULL ? settings->guard : "off");
}

/* Is what the path leads to now what the migration was started with? */
int gw_job_check_identity(struct gw_job *job, struct json_object *started, const char *end,
			  const struct gw_node *node)
{
	uint64_t diskseq = 0, size_bytes = 0, dev = 0, ino = 0;
	const char *id, *kind;
	char key[64];

#define KEY(suffix) (snprintf(key, sizeof(key), "%s" suffix, end), key)
	if (!gw_json_u64(started, KEY("_size_bytes"), &size_bytes) ||
	    !gw_json_u64(started, KEY("_diskseq"), &diskseq) ||
	    !gw_json_u64(started, KEY("_dev"), &dev) || !gw_json_u64(started, KEY("_ino"), &ino))
		return gw_job_bad_journal(job, end);
	id = gw_json_string(started, KEY("_id"));
	kind = gw_json_string(started, KEY("_kind"));
#undef KEY
	if (id == NULL || kind == NULL)
		return gw_job_bad_journal(job, end);
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

// SPDX-License-Identifier: GPL-2.0-or-later
/* Keeps the contract of handoff.h: order of calls, watchdog, recovery record. */
#include "handoff.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "clock.h"
#include "fault.h"
#include "handoff_ops.h"

static int committed_is_not_set(const char *state_dir)
{
	(void)state_dir;
	return -ENOSYS;
}

gw_handoff_committed_fn gw_handoff_committed = committed_is_not_set;

/* ---- Order. ---- */

enum step {
	PREPARE, ARM, SET_LIMITS, SYNC, DESCRIBE, QUIESCE, LOAD, BEGIN_COMMIT, SWITCH, RESUME, ABORT,
	STEPS
};

#define IN(state) (1u << GW_HANDOFF_##state)

/* From where each step may be taken; all others are bugs. */
static const uint32_t allowed_from[STEPS] = {
	[PREPARE] = IN(NEW),
	[SET_LIMITS] = IN(PREPARED),
	[SYNC] = IN(PREPARED) | IN(QUIESCED) | IN(COMMITTING) | IN(ABORTED),
	[DESCRIBE] = ~IN(NEW),
	[ARM] = IN(PREPARED),
	[QUIESCE] = IN(PREPARED),
	[LOAD] = IN(QUIESCED),
	[BEGIN_COMMIT] = IN(QUIESCED),
	[SWITCH] = IN(COMMITTING),
	[RESUME] = IN(SWITCHED),
	[ABORT] = ~0u,
};

static void check_order(const struct gw_handoff *handoff, enum step step)
{
	assert((allowed_from[step] & (1u << handoff->state)) != 0);
}

/* Gives the kept failure its exit code: what it means is known here, not where it was found. */
static int fail_as(struct gw_diag *diag, enum gw_exit exit_code, int err)
{
	if (err != 0 && diag != NULL && diag->failed)
		diag->exit_code = exit_code;
	return err;
}

/* ---- Creation. ---- */

static const struct gw_handoff_ops *ops_for(enum gw_handoff_kind kind)
{
	switch (kind) {
	case GW_HANDOFF_FREEZE:
		return &gw_handoff_freeze;
	case GW_HANDOFF_EXEC:
		return &gw_handoff_exec;
	case GW_HANDOFF_NONE:
		return &gw_handoff_none;
	case GW_HANDOFF_DM:
		return &gw_handoff_dm;
	}
	return NULL;
}

int gw_handoff_create(struct gw_handoff **handoff, const struct gw_handoff_config *config)
{
	struct gw_handoff *const h = calloc(1, sizeof(*h));

	assert(config->migration != NULL);
	assert(config->source != NULL);
	assert(config->target != NULL);
	assert(config->state_dir != NULL);
	if (h == NULL)
		return -ENOMEM;
	h->ops = ops_for(config->kind);
	assert(h->ops != NULL);
	h->config = *config;
	if (h->config.exec_timeout_ns == 0)
		h->config.exec_timeout_ns = GW_HANDOFF_EXEC_TIMEOUT_NS;
	if (h->config.deadline_ns == 0)
		h->config.deadline_ns = GW_HANDOFF_DEADLINE_NS;
	h->by = "migrate";
	h->watch = gw_watch_new();
	if (h->watch == NULL) {
		free(h);
		return -ENOMEM;
	}
	*handoff = h;
	return 0;
}

uint64_t gw_handoff_user_ns(const struct gw_handoff *handoff)
{
	return handoff->user_ns;
}

/* ---- Preparation. ---- */

static int write_recovery(struct gw_handoff *handoff, struct gw_diag *diag)
{
	struct json_object *const recovery = json_object_new_object();
	const char *text;
	int err = 0;

	assert(recovery != NULL);
	json_object_object_add(recovery, "handoff", json_object_new_string(handoff->ops->name));
	json_object_object_add(recovery, "migration",
			       json_object_new_string(handoff->config.migration));
	if (handoff->ops->describe != NULL)
		handoff->ops->describe(handoff, recovery);
	text = json_object_to_json_string_ext(recovery, JSON_C_TO_STRING_PLAIN);
	if (text != NULL && strlen(text) > GW_HANDOFF_RECOVERY_BYTES_MAX)
		err = gw_fail_exit(diag, GW_EXIT_CANNOT, -E2BIG,
				   "mounts or commands are too long for the journal (%zu bytes)",
				   strlen(text));
	else
		handoff->recovery_json = text != NULL ? strdup(text) : NULL;
	json_object_put(recovery);
	if (err == 0 && handoff->recovery_json == NULL)
		err = gw_fail(diag, -ENOMEM, "no memory for the recovery record");
	return err;
}

int gw_handoff_prepare(struct gw_handoff *handoff, struct gw_diag *diag)
{
	int err;

	check_order(handoff, PREPARE);
	err = handoff->ops->prepare(handoff, diag);
	handoff->config.keep_writable = NULL;
	if (err == 0)
		err = write_recovery(handoff, diag);
	if (err == 0)
		handoff->state = GW_HANDOFF_PREPARED;
	assert(err <= 0);
	return err;
}

int gw_handoff_set_limits(struct gw_handoff *handoff, uint64_t deadline_ns,
			  uint64_t exec_timeout_ns, struct gw_diag *diag)
{
	check_order(handoff, SET_LIMITS);
	if (deadline_ns != 0)
		handoff->config.deadline_ns = deadline_ns;
	if (exec_timeout_ns != 0)
		handoff->config.exec_timeout_ns = exec_timeout_ns;
	free(handoff->recovery_json);
	handoff->recovery_json = NULL;
	return write_recovery(handoff, diag);
}

int gw_handoff_sync(struct gw_handoff *handoff, uint64_t *cost_ns, struct gw_diag *diag)
{
	const uint64_t start_ns = gw_now_ns(&gw_clock_monotonic);
	int err = 0;

	check_order(handoff, SYNC);
	if (handoff->ops->sync != NULL)
		err = handoff->ops->sync(handoff, diag);
	*cost_ns = gw_now_ns(&gw_clock_monotonic) - start_ns;
	return err;
}

const char *gw_handoff_recovery_json(struct gw_handoff *handoff)
{
	check_order(handoff, DESCRIBE);
	/* Prepare may have failed before it was written; abort allows to come here then. */
	return handoff->recovery_json != NULL ? handoff->recovery_json : "{}";
}

/* ---- Both the owner and the watchdog child come here, each on its own copy. ---- */

static int watch_take_back(void *arg, struct gw_diag *diag)
{
	struct gw_handoff *const handoff = arg;

	handoff->by = "watchdog";
	return handoff->ops->take_back(handoff, diag);
}

static int finish(struct gw_handoff *handoff, struct gw_diag *diag)
{
	int err;

	if (!atomic_load(&handoff->watch->has_switched)) {
		err = handoff->ops->switch_over(handoff, diag);
		if (err != 0)
			return err;
		atomic_store(&handoff->watch->has_switched, true);
	}
	if (!atomic_load(&handoff->watch->has_resumed)) {
		err = handoff->ops->resume(handoff, diag);
		if (err != 0)
			return err;
		atomic_store(&handoff->watch->has_resumed, true);
	}
	return 0;
}

static int watch_finish(void *arg, struct gw_diag *diag)
{
	struct gw_handoff *const handoff = arg;

	handoff->by = "watchdog";
	return finish(handoff, diag);
}

static int arm(struct gw_handoff *handoff, struct gw_diag *diag)
{
	int fds[GW_WATCHDOG_FDS_MAX];
	struct gw_watchdog_config config = {
		.migration = handoff->config.migration,
		.state_dir = handoff->config.state_dir,
		.deadline_ns = handoff->config.deadline_ns,
		.keep_fds = fds,
		.take_back = watch_take_back,
		.finish = watch_finish,
		.committed = gw_handoff_committed,
		.arg = handoff,
	};

	if (!handoff->ops->is_watched)
		return 0;
	if (handoff->ops->keep_fds != NULL)
		config.keep_count = handoff->ops->keep_fds(handoff, fds);
	for (size_t i = 0; i < GW_HANDOFF_LOCKS; i++)
		if (handoff->config.lock_fds[i] > 0)
			fds[config.keep_count++] = handoff->config.lock_fds[i];
	return gw_watchdog_arm(&handoff->watchdog, handoff->watch, &config, diag);
}

static int take_back(struct gw_handoff *handoff, struct gw_diag *diag)
{
	int err;

	if (handoff->watchdog.pid > 0)
		gw_watchdog_take_over(&handoff->watchdog);
	err = handoff->ops->take_back(handoff, diag);
	/* Also after a failure: it was said, and the watchdog could do no better. */
	gw_watchdog_disarm(&handoff->watchdog);
	handoff->state = GW_HANDOFF_ABORTED;
	return fail_as(diag, GW_EXIT_UNCLEAR, err);
}

/* ---- The hand-off itself. ---- */

int gw_handoff_arm(struct gw_handoff *handoff, struct gw_diag *diag)
{
	int err = 0;

	check_order(handoff, ARM);
	assert(!handoff->is_armed);
	if (handoff->ops->recheck != NULL)
		err = handoff->ops->recheck(handoff, diag);
	if (err == 0)
		err = arm(handoff, diag);
	if (err != 0) {
		handoff->state = GW_HANDOFF_ABORTED;
		return fail_as(diag, GW_EXIT_IO, err);
	}
	handoff->is_armed = true;
	gw_fault_point("handoff-armed");
	return 0;
}

int gw_handoff_quiesce(struct gw_handoff *handoff, struct gw_diag *diag)
{
	int err;

	check_order(handoff, QUIESCE);
	err = handoff->is_armed ? 0 : gw_handoff_arm(handoff, diag);
	if (err != 0)
		return err;
	err = handoff->ops->quiesce(handoff, diag);
	if (err == 0 && handoff->ops->is_watched && !gw_watch_is_armed(handoff->watch))
		err = gw_fail(diag, -ETIME, "the deadline has passed while the writers were being "
			      "stopped; the source goes on");
	gw_fault_point("handoff-quiesced");
	if (err == 0) {
		handoff->state = GW_HANDOFF_QUIESCED;
		return 0;
	}
	fail_as(diag, GW_EXIT_IO, err);
	take_back(handoff, diag);
	return err;
}

bool gw_handoff_loads(const struct gw_handoff *handoff)
{
	return handoff->ops->load != NULL;
}

int gw_handoff_load(struct gw_handoff *handoff, struct gw_diag *diag)
{
	int err = 0;

	check_order(handoff, LOAD);
	if (handoff->ops->load != NULL)
		err = handoff->ops->load(handoff, diag);
	gw_fault_point("handoff-loaded");
	return fail_as(diag, GW_EXIT_IO, err);
}

int gw_handoff_begin_commit(struct gw_handoff *handoff, struct gw_diag *diag)
{
	int err = 0;

	check_order(handoff, BEGIN_COMMIT);
	if (handoff->ops->is_watched)
		err = gw_watchdog_begin_commit(&handoff->watchdog);
	if (err == -ETIME)
		return gw_fail_exit(diag, GW_EXIT_IO, err,
				    "the deadline has passed before the commit: the watchdog has "
				    "given the source back to its writers");
	if (err != 0)
		return gw_fail_exit(diag, GW_EXIT_IO, err,
				    "the watchdog has died; without it nothing is committed");
	handoff->state = GW_HANDOFF_COMMITTING;
	return 0;
}

int gw_handoff_switch(struct gw_handoff *handoff, struct gw_diag *diag)
{
	int err;

	check_order(handoff, SWITCH);
	gw_fault_point("handoff-switch");
	err = handoff->ops->switch_over(handoff, diag);
	if (err != 0) {
		handoff->has_failed_after_commit = true;
		return fail_as(diag, GW_EXIT_UNCLEAR, err);
	}
	atomic_store(&handoff->watch->has_switched, true);
	handoff->state = GW_HANDOFF_SWITCHED;
	gw_fault_point("handoff-switched");
	return 0;
}

int gw_handoff_resume(struct gw_handoff *handoff, struct gw_diag *diag)
{
	int err;

	check_order(handoff, RESUME);
	err = handoff->ops->resume(handoff, diag);
	if (err != 0) {
		handoff->has_failed_after_commit = true;
		return fail_as(diag, GW_EXIT_UNCLEAR, err);
	}
	atomic_store(&handoff->watch->has_resumed, true);
	gw_watchdog_disarm(&handoff->watchdog);
	handoff->state = GW_HANDOFF_RESUMED;
	return 0;
}

/* A commit record may have been written, or half of it: only the journal knows. */
static int check_not_committed(const struct gw_handoff *handoff, struct gw_diag *diag)
{
	const int committed = gw_handoff_committed(handoff->config.state_dir);

	if (committed == 0 || (committed < 0 && !handoff->ops->is_watched))
		return 0;
	if (committed > 0)
		return gw_fail_exit(diag, GW_EXIT_UNCLEAR, -EPERM,
				    "committed: only the target may run, the source stays stopped");
	return gw_fail_exit(diag, GW_EXIT_UNCLEAR, committed,
			    "the journal in %s does not tell whether the migration was committed "
			    "(%s): the source stays stopped until `godwit cleanup %s`",
			    handoff->config.state_dir, strerror(-committed),
			    handoff->config.migration);
}

int gw_handoff_abort(struct gw_handoff *handoff, struct gw_diag *diag)
{
	int err;

	check_order(handoff, ABORT);
	switch (handoff->state) {
	case GW_HANDOFF_NEW:
	case GW_HANDOFF_PREPARED:
		/* Nothing was stopped. */
		gw_watchdog_disarm(&handoff->watchdog);
		handoff->state = GW_HANDOFF_ABORTED;
		return 0;
	case GW_HANDOFF_ABORTED:
		return 0;
	case GW_HANDOFF_QUIESCED:
		return take_back(handoff, diag);
	case GW_HANDOFF_COMMITTING:
		err = handoff->has_failed_after_commit ? -EPERM :
			check_not_committed(handoff, diag);
		return err != 0 ? err : take_back(handoff, diag);
	case GW_HANDOFF_SWITCHED:
	case GW_HANDOFF_RESUMED:
		return -EPERM;
	}
	assert(handoff->state <= GW_HANDOFF_ABORTED);
	return -EPERM;
}

void gw_handoff_destroy(struct gw_handoff *handoff)
{
	if (handoff == NULL)
		return;
	if (handoff->state == GW_HANDOFF_PREPARED)
		gw_handoff_abort(handoff, NULL);
	if (handoff->state == GW_HANDOFF_QUIESCED)
		take_back(handoff, NULL);
	/* Given up between record and resume: the watchdog reads the record and finishes. */
	if (handoff->has_failed_after_commit)
		gw_watchdog_disarm(&handoff->watchdog);
	else
		gw_watchdog_leave(&handoff->watchdog);
	if (handoff->ops->destroy != NULL)
		handoff->ops->destroy(handoff);
	gw_watch_free(handoff->watch);
	free(handoff->recovery_json);
	free(handoff);
}

/* ---- Recovery. ---- */

const char *gw_handoff_json_string(struct json_object *object, const char *key, size_t max_bytes)
{
	struct json_object *value;
	size_t bytes;

	if (!json_object_object_get_ex(object, key, &value) ||
	    !json_object_is_type(value, json_type_string))
		return NULL;
	bytes = (size_t)json_object_get_string_len(value);
	/* A NUL inside would hide what follows it from whoever reads it as C string. */
	if (bytes == 0 || bytes >= max_bytes || strlen(json_object_get_string(value)) != bytes)
		return NULL;
	return json_object_get_string(value);
}

static bool is_blank(const char *text)
{
	return text[strspn(text, " \t\r\n")] == '\0';
}

static struct json_object *parse(const char *text)
{
	struct json_tokener *tokener;
	struct json_object *object;
	const size_t bytes = strnlen(text, GW_HANDOFF_RECOVERY_BYTES_MAX + 1);

	if (bytes > GW_HANDOFF_RECOVERY_BYTES_MAX)
		return NULL;
	tokener = json_tokener_new_ex(8);
	if (tokener == NULL)
		return NULL;
	object = json_tokener_parse_ex(tokener, text, (int)bytes + 1);
	if (json_tokener_get_error(tokener) != json_tokener_success ||
	    !json_object_is_type(object, json_type_object) ||
	    !is_blank(text + json_tokener_get_parse_end(tokener))) {
		json_object_put(object);
		object = NULL;
	}
	json_tokener_free(tokener);
	return object;
}

int gw_handoff_recover(const char *recovery_json, bool committed, struct gw_diag *diag)
{
	static const struct gw_handoff_ops *const providers[] = {
		&gw_handoff_freeze, &gw_handoff_exec, &gw_handoff_none, &gw_handoff_dm,
	};
	struct json_object *const recovery = parse(recovery_json);
	const char *name;
	int err;

	if (recovery == NULL)
		return gw_fail_exit(diag, GW_EXIT_UNCLEAR, -EBADMSG,
				    "the recovery record is no JSON object");
	name = gw_handoff_json_string(recovery, "handoff", 32);
	err = -ENOENT;
	for (size_t i = 0; i < sizeof(providers) / sizeof(providers[0]); i++)
		if (name != NULL && strcmp(name, providers[i]->name) == 0)
			err = providers[i]->recover(recovery, committed, diag);
	if (err == -ENOENT)
		err = gw_fail_exit(diag, GW_EXIT_UNCLEAR, -EBADMSG,
				   "the recovery record names no hand-off that is known here");
	json_object_put(recovery);
	assert(err <= 0);
	return err;
}

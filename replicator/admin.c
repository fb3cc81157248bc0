// SPDX-License-Identifier: GPL-2.0-or-later
/* What happens to the drives of a migration beside their I/O: into its event log; and what it does then. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <godwit/event_abi.h>
#include <godwit/nvme_abi.h>

#include "eventlog.h"
#include "job.h"
#include "nvme_ask.h"
#include "track_events.h"

#define SEE_NS (50 * GW_NS_PER_MS)
#define READ_MAX 64			/* events in one look */
#define NOTES_MAX 32			/* in the journal, of states and timeouts */
#define CHANGE_NS (10 * GW_NS_PER_S)
/* Some 150000 events; what comes after that is counted. */
#define LOG_BYTES_MAX (UINT64_C(64) << 20)

struct gw_admin {
	struct gw_event_watch *events;
	struct gw_journal *log;
	uint64_t seen_ns;		/* the last look */
	uint64_t changed_ns;		/* the last event of a drive; 0: long ago */
	bool is_format_wide[GW_ENDS];	/* formatting another namespace formats this one */
	uint32_t notes_left;
	bool is_over;			/* nothing is to be done about anything any more */
	uint64_t lost;			/* events that nobody has seen */
	uint64_t left_out;		/* seen, and not in the log, which is full */
};

static bool is_of(const struct gw_node *node, const struct gw_event *event)
{
	return node->nvme.is_namespace && node->nvme.subsystem == event->subsystem;
}

/* Without a controller it is about the watching itself. */
static void name(const struct gw_job *job, struct gw_event *event)
{
	const bool of_source = is_of(&job->source, event), of_target = is_of(&job->target, event);

	if (event->serial[0] == '\0' || (!of_source && !of_target))
		return;
	snprintf(event->role, sizeof(event->role), "%s",
		 of_source && of_target ? "both" : of_source ? "source" : "target");
	snprintf(event->device, sizeof(event->device), "%s",
		 of_source ? job->source.name : job->target.name);
}

static void append(struct gw_job *job, const struct gw_event *event)
{
	struct gw_admin *const admin = job->admin;
	struct gw_diag quiet = { 0 };

	if (event->kind == GW_EVENT_LOST)
		admin->lost += event->count;
	/* A full disk is no reason to give up; the journal has its space reserved. */
	if (gw_journal_bytes(admin->log) >= LOG_BYTES_MAX ||
	    gw_event_log_append(admin->log, event, &quiet) < 0)
		admin->left_out++;
}

/* ---- reactions ---- */

/* "Format NVM: NSID 1h, ...; Successful Completion, by nvme 123, uid 0" */
static void describe(char *out, size_t out_bytes, const struct gw_event *event)
{
	const struct gw_event_command *const command = &event->command;
	char words[GW_EVENT_WORDS_BYTES];

	gw_event_words(words, event);
	if (command->has_sender)
		snprintf(out, out_bytes, "%s, by %s %u, uid %u", words, command->comm,
			 command->pid, command->uid);
	else
		snprintf(out, out_bytes, "%s", words);
}

/* What the drive has refused for certain did nothing. 3xxh is the host's: nobody knows. */
static bool is_refused(const struct gw_event_command *command)
{
	const uint32_t code = NVME_STATUS_CODE(command->status);

	return code != NVME_SC_SUCCESS && code != NVME_SC_ABORT_REQUESTED &&
	       code != NVME_SC_SQ_DELETED && code < 0x300;
}

static bool erases(const struct gw_node *node, bool is_format_wide, const struct gw_event *event)
{
	const struct gw_event_command *const command = &event->command;
	const struct gw_nvme_sqe sqe = { .opcode = command->opcode, .nsid = command->nsid,
					 .cdw10 = command->cdw[0], .cdw11 = command->cdw[1] };
	gw_u64 why = 0;

	if (!is_of(node, event) || event->kind != GW_EVENT_COMMAND || is_refused(command))
		return false;
	gw_nvme_admin_effect(&sqe, node->nvme.nsid, is_format_wide, &why);
	return (why & (GW_STATE_FORMAT | GW_STATE_SANITIZE)) != 0;
}

static int end_erased(struct gw_job *job, const char *what)
{
	return gw_fail_exit(&job->diag, GW_EXIT_CANCELLED, -ECANCELED,
		"source %s was erased (%s): what was to be migrated is gone, and %s holds a part of "
		"it; migrate again for what is on it now, or with --restart-on-erase", job->source.path,
		what, job->target.path);
}

static int react_to_erasure(struct gw_job *job, const struct gw_event *event)
{
	char what[GW_EVENT_WORDS_BYTES + 64];

	describe(what, sizeof(what), event);
	if (erases(&job->target, job->admin->is_format_wide[GW_TARGET], event)) {
		if (!job->committed)
			return gw_fail_exit(&job->diag, GW_EXIT_IO, -EIO,
				"target %s was erased (%s): what was copied to it is gone; keep others "
				"off it and migrate again", job->target.path, what);
		return gw_job_note(job, GW_WARNING, "target %s was erased after the switch (%s)",
				   job->target.path, what);
	}
	if (job->committed ||
	    !erases(&job->source, job->admin->is_format_wide[GW_SOURCE], event))
		return 0;
	if (!job->settings.restart_on_erase || job->blackout.began_ns != 0)
		return end_erased(job, what);
	return gw_job_note(job, GW_WARNING, "source %s was erased (%s): it is copied anew",
			   job->source.path, what);
}

/* By a user, of the source; what the driver sets is its own, and the target's driver does the same. */
static void keep_setting(struct gw_job *job, const struct gw_event *event)
{
	const struct gw_event_command *const command = &event->command;

	if (event->kind == GW_EVENT_COMMAND && is_of(&job->source, event) && command->by_user &&
	    command->opcode == GW_NVME_SET_FEATURES &&
	    NVME_STATUS_CODE(command->status) == NVME_SC_SUCCESS && !job->committed)
		gw_nvme_settings_add(&job->drive_settings, command->nsid, command->cdw[0],
				     command->cdw[1]);
}

/* What a process that died has seen. */
static int remember(void *job, const struct gw_event *event)
{
	keep_setting(job, event);
	return 0;
}

/* Of a role; the same drive as often as it is told of. */
static int react_to_state(struct gw_job *job, const struct gw_event *event)
{
	char words[GW_EVENT_WORDS_BYTES];

	if (event->role[0] == '\0' || job->admin->notes_left == 0)
		return 0;
	job->admin->notes_left--;
	return gw_job_note(job, GW_NOTE, "nvme%u (%s): %s%s", event->controller, event->role,
			   gw_event_words(words, event), job->admin->notes_left == 0 ?
			   "; further ones are in the event log only" : "");
}

static int see(void *arg, const struct gw_event *event)
{
	struct gw_job *const job = arg;
	struct gw_event named = *event;

	name(job, &named);
	append(job, &named);
	if (job->admin->is_over)
		return 0;
	switch (named.kind) {
	case GW_EVENT_COMMAND:
		keep_setting(job, &named);
		return react_to_erasure(job, &named);
	case GW_EVENT_STATE:
	case GW_EVENT_TIMEOUT:
		return react_to_state(job, &named);
	case GW_EVENT_ASYNC:
		job->admin->changed_ns = gw_now_ns(job->clock);
		return 0;
	default:
		return 0;
	}
}

/* For a while after the drive has said that something changed: the kernel looks at it in its own time. */
static int check_nodes(struct gw_job *job)
{
	struct gw_admin *const admin = job->admin;
	int err = 0;

	if (admin->changed_ns == 0 || job->committed)
		return 0;
	if (gw_now_ns(job->clock) - admin->changed_ns > CHANGE_NS)
		admin->changed_ns = 0;
	if (job->source.nvme.is_namespace)
		err = gw_node_check_same(&job->source, &job->diag);
	if (err == 0 && job->target.nvme.is_namespace)
		err = gw_node_check_same(&job->target, &job->diag);
	return err;
}

int gw_job_see_events(struct gw_job *job, uint64_t now_ns)
{
	int err;

	if (job->admin == NULL || (now_ns != 0 && now_ns - job->admin->seen_ns < SEE_NS))
		return 0;
	if (now_ns != 0)
		job->admin->seen_ns = now_ns;
	do
		err = gw_events_read(job->admin->events, READ_MAX, see, job);
	while (now_ns == 0 && err > 0);
	return err < 0 ? err : check_nodes(job);
}

/* Nothing can be taken back once the writers are stopped and the rest is copied. */
int gw_job_erased(struct gw_job *job)
{
	int err = gw_job_see_events(job, 0);

	if (err < 0 || (job->blackout.began_ns == 0 &&
			(job->settings.restart_on_erase ||
			 (job->admin != NULL && job->admin->lost == 0))))
		return err;
	return end_erased(job, "Format NVM or Sanitize was sent to it");
}

static int open_log(struct gw_job *job, bool continued)
{
	char path[PATH_MAX + 16];
	uint64_t seen;
	int err;

	snprintf(path, sizeof(path), "%s/" GW_EVENT_LOG_FILE, job->state_dir);
	err = gw_journal_open_log(&job->admin->log, path, &job->diag);
	if (err == 0 && continued)
		err = gw_event_log_each(path, 0, remember, job, &seen, &job->diag);
	return err;
}

static int start(struct gw_job *job, bool continued, struct gw_diag *diag)
{
	uint32_t subsystems[GW_EVENT_SUBSYSTEMS_MAX], count = 0;
	int err = -ENOENT;

	job->admin->notes_left = NOTES_MAX;
	for (int end = 0; end < GW_ENDS; end++) {
		const struct gw_node *const node = end == GW_SOURCE ? &job->source : &job->target;

		if (!node->nvme.is_namespace)
			continue;
		subsystems[count++] = node->nvme.subsystem;
		job->admin->is_format_wide[end] = gw_nvme_ask_format_is_wide(&node->nvme);
	}
	/* What happened while no process was there is still in the ring. */
	if (continued)
		err = gw_events_open(&job->admin->events, job->name, diag);
	return err != -ENOENT ? err :
	       gw_events_start(&job->admin->events, subsystems, count, diag);
}

int gw_job_watch_events(struct gw_job *job, bool continued)
{
	const struct gw_event began = { .kind = GW_EVENT_BEGAN, .at_ns = gw_wall_ns() };
	struct gw_diag quiet = { 0 };
	int err;

	if (!job->source.nvme.is_namespace && !job->target.nvme.is_namespace)
		return 0;
	job->admin = calloc(1, sizeof(*job->admin));
	if (job->admin == NULL)
		return gw_fail_exit(&job->diag, GW_EXIT_CANNOT, -ENOMEM, "no memory");
	err = start(job, continued, &quiet);
	if (err == 0) {
		err = open_log(job, continued);
		if (err == 0)
			append(job, &began);
		return err;
	}
	/* Marking does not depend on it: what changes media is seen by the tracking. */
	free(job->admin);
	job->admin = NULL;
	return gw_job_note(job, GW_WARNING, "the admin commands of the drives are not journalled: %s",
			   quiet.text);
}

uint64_t gw_job_events_bytes(const struct gw_job *job)
{
	return job->admin == NULL ? 0 : sizeof(*job->admin) + gw_events_bytes();
}

int gw_job_pin_events(struct gw_job *job)
{
	if (job->admin == NULL || job->settings.track == GW_TRACK_NONE)
		return 0;
	return gw_events_pin(job->admin->events, job->name, &job->diag);
}

void gw_job_leave_events(struct gw_job *job, bool to_record)
{
	struct gw_admin *const admin = job->admin;
	struct gw_diag quiet = { 0 };

	if (admin == NULL)
		return;
	admin->is_over = true;
	while (to_record && admin->log != NULL && gw_events_read(admin->events, READ_MAX, see, job) > 0)
		;
	if (to_record && admin->log != NULL) {
		struct gw_event last = { .kind = GW_EVENT_LOST, .at_ns = gw_wall_ns(),
					 .count = admin->left_out };

		if (admin->left_out > 0)
			gw_event_log_append(admin->log, &last, &quiet);
		last = (struct gw_event){ .kind = GW_EVENT_ENDED, .at_ns = last.at_ns };
		gw_event_log_append(admin->log, &last, &quiet);
	}
	if (to_record && job->journal != NULL && admin->lost + admin->left_out > 0)
		gw_job_note(job, GW_WARNING, "%" PRIu64 " events of the drives are not in the event "
			    "log: %" PRIu64 " were dropped, the others could not be written",
			    admin->lost + admin->left_out, admin->lost);
	gw_journal_close(admin->log);
	gw_events_close(admin->events);
	free(admin);
	job->admin = NULL;
}

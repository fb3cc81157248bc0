// SPDX-License-Identifier: GPL-2.0-or-later
/* What happens to the drives of a migration beside their I/O: into its event log. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <godwit/event_abi.h>

#include "eventlog.h"
#include "job.h"
#include "track_events.h"

#define SEE_NS (50 * GW_NS_PER_MS)
#define READ_MAX 64			/* events in one look */
/* Some 150000 events; what comes after that is counted. */
#define LOG_BYTES_MAX (UINT64_C(64) << 20)

struct gw_admin {
	struct gw_event_watch *events;
	struct gw_journal *log;
	uint64_t seen_ns;		/* the last look */
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

static int append(struct gw_job *job, const struct gw_event *event)
{
	struct gw_admin *const admin = job->admin;

	if (event->kind == GW_EVENT_LOST)
		admin->lost += event->count;
	if (gw_journal_bytes(admin->log) >= LOG_BYTES_MAX) {
		admin->left_out++;
		return 0;
	}
	return gw_event_log_append(admin->log, event, &job->diag);
}

static int append_mark(struct gw_job *job, enum gw_event_kind kind, uint64_t count)
{
	const struct gw_event event = { .kind = kind, .at_ns = gw_wall_ns(), .count = count };

	return append(job, &event);
}

static int see(void *arg, const struct gw_event *event)
{
	struct gw_event named = *event;

	name(arg, &named);
	return append(arg, &named);
}

int gw_job_see_events(struct gw_job *job, uint64_t now_ns)
{
	if (job->admin == NULL || now_ns - job->admin->seen_ns < SEE_NS)
		return 0;
	job->admin->seen_ns = now_ns;
	return gw_events_read(job->admin->events, READ_MAX, see, job);
}

static int open_log(struct gw_job *job)
{
	char path[PATH_MAX + 16];

	snprintf(path, sizeof(path), "%s/" GW_EVENT_LOG_FILE, job->state_dir);
	return gw_journal_open_log(&job->admin->log, path, &job->diag);
}

static int start(struct gw_job *job, bool continued, struct gw_diag *diag)
{
	uint32_t subsystems[GW_EVENT_SUBSYSTEMS_MAX], count = 0;
	int err = -ENOENT;

	if (job->source.nvme.is_namespace)
		subsystems[count++] = job->source.nvme.subsystem;
	if (job->target.nvme.is_namespace)
		subsystems[count++] = job->target.nvme.subsystem;
	/* What happened while no process was there is still in the ring. */
	if (continued)
		err = gw_events_open(&job->admin->events, job->name, diag);
	return err != -ENOENT ? err :
	       gw_events_start(&job->admin->events, subsystems, count, diag);
}

int gw_job_watch_events(struct gw_job *job, bool continued)
{
	struct gw_diag quiet = { 0 };
	int err;

	if (!job->source.nvme.is_namespace && !job->target.nvme.is_namespace)
		return 0;
	job->admin = calloc(1, sizeof(*job->admin));
	if (job->admin == NULL)
		return gw_fail_exit(&job->diag, GW_EXIT_CANNOT, -ENOMEM, "no memory");
	err = start(job, continued, &quiet);
	if (err == 0) {
		err = open_log(job);
		return err < 0 ? err : append_mark(job, GW_EVENT_BEGAN, 0);
	}
	/* Marking does not depend on it: what changes media is seen by the tracking. */
	free(job->admin);
	job->admin = NULL;
	return gw_job_note(job, GW_WARNING, "the admin commands of the drives are not journalled: %s",
			   quiet.text);
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
			    "log: %" PRIu64 " were dropped, the log was full for the others",
			    admin->lost + admin->left_out, admin->lost);
	gw_journal_close(admin->log);
	gw_events_close(admin->events);
	free(admin);
	job->admin = NULL;
}

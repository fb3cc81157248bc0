// SPDX-License-Identifier: GPL-2.0-or-later
/* What is asked of a migration while it runs: pause and resume. */
#include <assert.h>
#include <time.h>

#include "job.h"

#define NAP_NS (20 * GW_NS_PER_MS)

void gw_job_pause(struct gw_job *job)
{
	assert(job->blackout.began_ns == 0);
	if (job->paused)
		return;
	job->paused = true;
	job->paused_at_ns = gw_now_ns(job->clock);
	gw_job_repace(job);
}

/* The pause belongs to no round: neither its rate nor --timeout knows of it. */
void gw_job_resume(struct gw_job *job)
{
	uint64_t paused_ns;

	if (!job->paused)
		return;
	paused_ns = gw_now_ns(job->clock) - job->paused_at_ns;
	job->paused = false;
	job->round_began_ns += paused_ns;
	job->planner.best_at_ns += paused_ns;
	gw_job_repace(job);
}

int gw_job_listen(struct gw_job *job)
{
	const struct timespec nap = { 0, (long)NAP_NS };
	int err = gw_job_hear(job, gw_now_ns(job->clock));

	while (err >= 0 && job->paused) {
		nanosleep(&nap, NULL);
		err = gw_job_hear(job, gw_now_ns(job->clock));
	}
	return err;
}

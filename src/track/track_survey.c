// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * What was in flight when the programs were attached. Its submission was not seen, so no slot
 * tells of it if its completion is lost; and its data may reach the medium long after a copier has
 * read there. So a start waits for its end, which it sees in the kernel's tables of requests
 * (gw_survey.bpf.h) and not by a completion. No queue has to run empty for that.
 */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "clock.h"
#include "track_block.h"
#include "units.h"

#define NAP_US 1000
/*
 * What has passed the submission's tracepoint, but not yet the mark by which the survey knows it, has
 * passed that, too, when it looks for the second time.
 */
#define GRACE_US 20000
#define LIMIT_NS (60 * GW_NS_PER_S)
/* Where no survey can be made: bios, or a kernel that is not known. */
#define BLIND_LIMIT_NS (2 * GW_NS_PER_S)
#define FIND_TRIES 20

struct survey {
	const struct gw_track *track;
	int program_fd;			/* -1: only the kernel's count can be asked */
	int node_fd;			/* keeps the disk, and with it the queue; -1 */
	uint32_t unseen;		/* at the last look */
	uint32_t most_unseen;
};

static int program_fd(const struct gw_load *load, const char *name)
{
	struct bpf_program *const program = bpf_object__find_program_by_name(load->bpf, name);

	return program != NULL ? bpf_program__fd(program) : -1;
}

/* A read of one block, of which the program that is attached meanwhile learns the queue. */
static bool find_queue(const struct survey *survey, const struct gw_load *load)
{
	struct gw_block_track *const block = survey->track->impl;
	struct bpf_program *const program =
		bpf_object__find_program_by_name(load->bpf, "gw_find_queue");
	const size_t bytes = survey->track->node.logical_bytes > 4096 ?
			     survey->track->node.logical_bytes : 4096;
	void *const buffer = aligned_alloc(bytes, bytes);
	struct bpf_link *link = NULL;

	if (program != NULL && buffer != NULL)
		link = bpf_program__attach(program);
	/* A program may be skipped; and where the read fails, another one's will do. */
	for (int i = 0; link != NULL && i < FIND_TRIES; i++) {
		if (__atomic_load_n(&block->state->queue, __ATOMIC_ACQUIRE) != 0)
			break;
		if (pread(survey->node_fd, buffer, bytes, 0) < 0 || i > 0)
			usleep(NAP_US);
	}
	bpf_link__destroy(link);
	free(buffer);
	return __atomic_load_n(&block->state->queue, __ATOMIC_ACQUIRE) != 0;
}

/* Return: is there a survey, and does it say that nothing is in flight that was not seen? */
static bool look(struct survey *survey)
{
	struct gw_bpf_survey found = { 0 };
	LIBBPF_OPTS(bpf_test_run_opts, opts, .ctx_in = &found, .ctx_size_in = sizeof(found));

	if (survey->program_fd < 0 ||
	    bpf_prog_test_run_opts(survey->program_fd, &opts) < 0 || found.queues == 0) {
		survey->program_fd = -1;
		return false;
	}
	survey->unseen = found.unseen;
	if (found.unseen > survey->most_unseen)
		survey->most_unseen = found.unseen;
	return found.unseen == 0;
}

static void begin(struct survey *survey, const struct gw_load *load)
{
	const struct gw_track *const track = survey->track;
	const struct gw_block_track *const block = track->impl;

	if (block->plan.bio_based)
		return;
	survey->node_fd = open(track->node.path, O_RDONLY | O_DIRECT | O_CLOEXEC);
	if (survey->node_fd < 0)
		return;
	/* Failures are no more than that; what libbpf says of them helps nobody. */
	gw_load_listen(NULL);
	if (find_queue(survey, load))
		survey->program_fd = program_fd(load, "gw_survey");
}

static void end(struct survey *survey)
{
	struct gw_block_track *const block = survey->track->impl;

	/* An address that is good for as long as the node is open. */
	__atomic_store_n(&block->state->queue, 0, __ATOMIC_RELEASE);
	if (survey->node_fd >= 0)
		close(survey->node_fd);
}

/* Return: did it end? false: it was not seen to. */
static bool await_end(struct survey *survey, uint64_t began_ns)
{
	int quiet = 0;

	while (quiet < 2) {
		const uint64_t waited_ns = gw_now_ns(&gw_clock_monotonic) - began_ns;

		/* The count is exact for bios, too, and no request is in flight if it says so. */
		if (look(survey) ||
		    (survey->program_fd < 0 && gw_block_is_disk_idle(&survey->track->node))) {
			quiet++;
			usleep(quiet < 2 ? GRACE_US : 0);
			continue;
		}
		quiet = 0;
		if (waited_ns > (survey->program_fd < 0 ? BLIND_LIMIT_NS : LIMIT_NS))
			return false;
		usleep(NAP_US);
	}
	return true;
}

static void say_ended(const struct survey *survey, const char *waited, struct gw_diag *diag)
{
	if (survey->program_fd >= 0)
		gw_say(diag, GW_DEBUG, "%u writes from before the tracking were in flight, and have "
		       "ended (%s)", survey->most_unseen, waited);
	else
		gw_say(diag, GW_DEBUG, "%s was idle after the tracking had begun (%s)",
		       survey->track->node.path, waited);
}

int gw_block_await_unseen(struct gw_track *track, const struct gw_load *load, struct gw_diag *diag)
{
	struct gw_block_track *const block = track->impl;
	struct survey survey = { .track = track, .program_fd = -1, .node_fd = -1 };
	const uint64_t began_ns = gw_now_ns(&gw_clock_monotonic);
	char waited[GW_UNIT_TEXT_BYTES];
	bool ended;

	begin(&survey, load);
	ended = await_end(&survey, began_ns);
	end(&survey);
	gw_format_duration(waited, gw_now_ns(&gw_clock_monotonic) - began_ns);
	if (ended) {
		say_ended(&survey, waited, diag);
		return 0;
	}
	if (survey.program_fd >= 0)
		return gw_fail_exit(diag, GW_EXIT_CANNOT, -ETIMEDOUT,
				    "%u writes to %s that were in flight before the tracking have "
				    "not ended within %s", survey.unseen, track->node.path, waited);
	/* As if their submissions had been skipped a moment ago, which they have. */
	block->header->misses_grew_ns[GW_PROGRAM_SUBMIT] = gw_now_ns(&gw_clock_monotonic);
	gw_say(diag, GW_NOTE, "%s was not seen idle within %s: whether the writes from before the "
	       "tracking have ended could not be seen", track->node.path, waited);
	return 0;
}

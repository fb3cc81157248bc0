// SPDX-License-Identifier: GPL-2.0-or-later
/* Descriptors, memory, device queue and engine of a job. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "job.h"

#define ALIGN_BYTES_FILE 4096
#define RELEASE_TRIES 1000	/* of a millisecond each */
#define CLAIM_TRIES 10000
#define HUGE_PAGE_BYTES (UINT64_C(2) << 20)

/* O_DIRECT where the file system has it; a buffered file is read and written all the same. */
static int open_direct(const char *path, int flags, bool *is_direct)
{
	int fd = open(path, flags | O_DIRECT | O_CLOEXEC);

	*is_direct = fd >= 0;
	if (fd < 0 && errno == EINVAL)
		fd = open(path, flags | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

/*
 * Alone on the target, and its last owner's writes have landed: the kernel takes a
 * killed process's ring down in the background, and until then the ring holds the claim (a
 * file: the lock). Return: fd or negative errno.
 */
static int open_claimed(const struct gw_node *node, bool *is_direct)
{
	const struct timespec nap = { 0, 1000000 };
	const bool is_block = node->kind == GW_NODE_BLOCK;
	int fd = -EBUSY;

	for (int i = 0; i < CLAIM_TRIES; i++) {
		fd = open_direct(node->path, is_block ? O_RDWR | O_EXCL : O_RDWR, is_direct);
		if (fd >= 0 && (is_block || flock(fd, LOCK_EX | LOCK_NB) == 0))
			return fd;
		if (fd >= 0) {
			close(fd);
			fd = -EBUSY;
		}
		if (fd != -EBUSY)
			return fd;
		nanosleep(&nap, NULL);
	}
	return fd;
}

static int open_end(struct gw_job *job, enum gw_end end, bool read_only, bool *is_direct)
{
	const struct gw_node *const node = end == GW_SOURCE ? &job->source : &job->target;
	int fd;

	if (end == GW_TARGET && !read_only)
		fd = open_claimed(node, is_direct);
	else
		fd = open_direct(node->path, O_RDONLY, is_direct);
	if (fd < 0)
		return gw_fail_exit(&job->diag, GW_EXIT_CANNOT, fd, "%s %s: %s%s",
			end == GW_SOURCE ? "source" : "target", node->path, strerror(-fd),
			fd == -EBUSY ? ": it is mounted or used by something else" : "");
	return fd;
}

static uint32_t alignment_of(const struct gw_node *node, bool is_direct)
{
	if (node->kind == GW_NODE_BLOCK)
		return node->logical_bytes;
	return is_direct ? ALIGN_BYTES_FILE : 1;
}

static struct gw_end_info end_info(const struct gw_node *node, bool is_direct, uint64_t size_bytes)
{
	return (struct gw_end_info){
		.size_bytes = node->kind == GW_NODE_BLOCK ? node->size_bytes : size_bytes,
		.align_bytes = alignment_of(node, is_direct),
		.is_file = node->kind == GW_NODE_FILE,
	};
}

/* Huge pages where the kernel gives them: fewer segments an I/O. Present from the start. */
static int take_slab(struct gw_job *job)
{
	uint64_t bytes = gw_engine_slab_bytes(job->settings.buffers, GW_RUN_BYTES_MAX,
					      job->settings.resync);
	int err;

	bytes = (bytes + HUGE_PAGE_BYTES - 1) / HUGE_PAGE_BYTES * HUGE_PAGE_BYTES;
	err = posix_memalign(&job->slab, HUGE_PAGE_BYTES, bytes);
	if (err != 0) {
		job->slab = NULL;
		return gw_fail_exit(&job->diag, GW_EXIT_CANNOT, -err,
				    "%" PRIu64 " bytes for %u buffers: %s; use fewer --buffers",
				    bytes, job->settings.buffers, strerror(err));
	}
	job->slab_bytes = bytes;
	madvise(job->slab, bytes, MADV_HUGEPAGE);
	/* The watchdog is forked inside the blackout; it has no use for this. */
	madvise(job->slab, bytes, MADV_DONTFORK);
	memset(job->slab, 0, bytes);
	return 0;
}

static int start_engine(struct gw_job *job)
{
	const struct gw_engine_config config = {
		.geom = job->geom,
		.dev = job->dev,
		.slab = job->slab,
		.buffers = job->settings.buffers,
		.run_bytes = GW_RUN_BYTES_MAX,
		.compare = job->settings.resync,
		.target_is_zero = job->target_is_zero_now,
		.live = job->track != NULL ? &job->track->live : NULL,
		.pending = job->track != NULL ? &job->track->pending : NULL,
		.copying = job->track != NULL ? &job->track->copying : NULL,
		.vacant = job->vacant.size_grains != 0 ? &job->vacant : NULL,
		.heat = &job->heat,
		.unverified = job->settings.verify != GW_VERIFY_NO ? &job->unverified : NULL,
		.digests = job->digests.words,
		.pacer = &job->pacer,
		.clock = job->clock,
		.diag = &job->diag,
		.tick_ns = 20 * GW_NS_PER_MS,
		.tick = gw_job_tick,
		.settled = gw_job_settled,
		.arg = job,
	};
	int err = gw_engine_create(&job->engine, &config);

	return err < 0 ? gw_fail_exit(&job->diag, GW_EXIT_CANNOT, err, "engine: %s",
				      strerror(-err)) : 0;
}

int gw_job_open_pipeline(struct gw_job *job, bool read_only)
{
	struct gw_dev_uring_config config = {
		.depth = gw_engine_depth(job->settings.buffers),
		.ioprio = GW_COPIER_IOPRIO,
		.clock = job->clock,
	};
	bool is_direct[GW_ENDS];
	struct stat st;
	int err;

	for (int end = 0; end < GW_ENDS; end++) {
		if (job->fd[end] < 0) {
			int fd = open_end(job, (enum gw_end)end, read_only, &is_direct[end]);

			if (fd < 0)
				return fd;
			job->fd[end] = fd;
		} else {
			is_direct[end] = (fcntl(job->fd[end], F_GETFL) & O_DIRECT) != 0;
		}
		config.fd[end] = job->fd[end];
	}
	config.ends[GW_SOURCE] = end_info(&job->source, is_direct[GW_SOURCE],
					  job->geom.size_bytes);
	config.ends[GW_TARGET] = end_info(&job->target, is_direct[GW_TARGET],
					  job->geom.size_bytes);
	if (job->source.kind == GW_NODE_FILE && fstat(job->fd[GW_SOURCE], &st) == 0 &&
	    job->source_mtime.tv_sec == 0)
		job->source_mtime = st.st_mtim;
	err = take_slab(job);
	if (err < 0)
		return err;
	config.slab = job->slab;
	config.slab_bytes = job->slab_bytes;
	err = gw_dev_open_uring(&job->dev, &config, &job->diag);
	return err < 0 ? err : start_engine(job);
}

static void add_up(struct gw_job *job)
{
	const struct gw_engine_stats *const stats = gw_engine_stats(job->engine);
	const struct gw_dev_stats *const dev = gw_dev_stats(job->dev);

	job->totals.read_bytes += stats->read_bytes;
	job->totals.written_bytes += stats->written_bytes;
	job->totals.zeroed_bytes += stats->zeroed_bytes;
	job->totals.zero_skipped_bytes += stats->zero_skipped_bytes;
	job->totals.same_skipped_bytes += stats->same_skipped_bytes;
	job->totals.settled_bytes += stats->settled_bytes;
	job->totals.verified_bytes += stats->verified_bytes;
	job->dev_totals.short_ios += dev->short_ios;
	job->dev_totals.busy_retries += dev->busy_retries;
	job->dev_totals.eio_retries += dev->eio_retries;
}

void gw_job_close_pipeline(struct gw_job *job)
{
	const struct timespec nap = { 0, 1000000 };
	const bool claimed = job->fd[GW_TARGET] >= 0 && job->target.kind == GW_NODE_BLOCK;

	if (job->engine != NULL)
		add_up(job);
	gw_engine_destroy(job->engine);
	job->engine = NULL;
	gw_dev_close(job->dev);
	job->dev = NULL;
	if (job->slab != NULL)
		madvise(job->slab, job->slab_bytes, MADV_DOFORK);
	free(job->slab);
	job->slab = NULL;
	for (int end = 0; end < GW_ENDS; end++) {
		if (job->fd[end] >= 0)
			close(job->fd[end]);
		job->fd[end] = -1;
	}
	/* The kernel takes a ring down in the background, and the claim with it. */
	for (int i = 0; claimed && i < RELEASE_TRIES && gw_node_is_claimed(&job->target); i++)
		nanosleep(&nap, NULL);
}

static int add_page_cache(struct gw_job *job, const char *name)
{
	char path[PATH_MAX];
	int fd;

	snprintf(path, sizeof(path), "/dev/%s", name);
	for (char *c = path; *c != '\0'; c++)
		if (*c == '!')
			*c = '/';
	if (job->sync_fds == GW_PARTITIONS_MAX)
		return gw_fail_exit(&job->diag, GW_EXIT_CANNOT, -E2BIG,
				    "disk %s has more than %d partitions", job->source.disk_name,
				    GW_PARTITIONS_MAX - 2);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return gw_fail_exit(&job->diag, GW_EXIT_CANNOT, -errno, "%s: %s", path,
				    strerror(errno));
	job->sync_fd[job->sync_fds++] = fd;
	return 0;
}

void gw_job_close_page_caches(struct gw_job *job)
{
	for (uint32_t i = 0; i < job->sync_fds; i++)
		close(job->sync_fd[i]);
	job->sync_fds = 0;
}

int gw_job_open_page_caches(struct gw_job *job)
{
	char path[PATH_MAX];
	struct dirent *entry;
	DIR *dir;
	int err = 0;

	gw_job_close_page_caches(job);
	if (job->source.kind == GW_NODE_FILE) {
		int fd = open(job->source.path, O_RDONLY | O_CLOEXEC);

		if (fd < 0)
			return gw_fail_exit(&job->diag, GW_EXIT_CANNOT, -errno, "source %s: %s",
					    job->source.path, strerror(errno));
		job->sync_fd[job->sync_fds++] = fd;
		return 0;
	}
	snprintf(path, sizeof(path), "/sys/block/%s", job->source.disk_name);
	dir = opendir(path);
	if (dir == NULL)
		return gw_fail_exit(&job->diag, GW_EXIT_CANNOT, -errno, "%s: %s", path,
				    strerror(errno));
	err = add_page_cache(job, job->source.disk_name);
	/* Each partition has a page cache of its own, whatever sectors it shares with the source. */
	while (err >= 0 && (entry = readdir(dir)) != NULL) {
		snprintf(path, sizeof(path), "/sys/block/%s/%s/partition", job->source.disk_name,
			 entry->d_name);
		if (entry->d_name[0] != '.' && access(path, F_OK) == 0)
			err = add_page_cache(job, entry->d_name);
	}
	closedir(dir);
	return err;
}

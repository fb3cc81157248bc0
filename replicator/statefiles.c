// SPDX-License-Identifier: GPL-2.0-or-later
#include "statefiles.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "eventlog.h"
#include "preflight.h"

#define RUN_FILE_BYTES (PATH_MAX + 160)
#define LOCK_NAP_NS 10000000
#define LOCK_TRIES 3000		/* for a watchdog that brings to an end what its owner began */
#define LEAVE_TRIES 300		/* for a process that ends, and lets go of one thing after the other */

static int make_dirs(const char *path, struct gw_diag *diag)
{
	char part[PATH_MAX];
	struct stat st;

	snprintf(part, sizeof(part), "%s", path);
	for (char *slash = strchr(part + 1, '/');; slash = strchr(slash + 1, '/')) {
		if (slash != NULL)
			*slash = '\0';
		if (mkdir(part, 0700) != 0 && errno != EEXIST)
			return gw_fail_exit(diag, GW_EXIT_CANNOT, -errno, "directory %s: %s", part,
					    strerror(errno));
		if (slash == NULL)
			break;
		*slash = '/';
	}
	if (stat(part, &st) == 0 && !S_ISDIR(st.st_mode))
		return gw_fail_exit(diag, GW_EXIT_CANNOT, -ENOTDIR, "%s is no directory: name "
				    "another one", part);
	return 0;
}

/* tries: how long to wait, in LOCK_NAP_NS, for a lock that somebody holds. */
static int lock(int *lock_fd, const char *path, int flags, int tries, const char *busy,
		struct gw_diag *diag)
{
	const struct timespec nap = { 0, LOCK_NAP_NS };
	int fd = open(path, flags | O_CLOEXEC, 0600);

	if (fd < 0)
		return gw_fail_exit(diag, GW_EXIT_CANNOT, -errno, "%s: %s", path, strerror(errno));
	while (flock(fd, LOCK_EX | LOCK_NB) != 0) {
		int err = -errno;

		if (err == -EWOULDBLOCK && --tries > 0) {
			nanosleep(&nap, NULL);
			continue;
		}
		close(fd);
		if (err != -EWOULDBLOCK)
			return gw_fail_exit(diag, GW_EXIT_CANNOT, err, "lock of %s: %s", path,
					    strerror(-err));
		return gw_fail_exit(diag, GW_EXIT_CANNOT, -EBUSY, "%s (lock %s)", busy, path);
	}
	*lock_fd = fd;
	return 0;
}

static int lock_state_dir(struct gw_job *job, int tries)
{
	struct stat st;
	int err = lock(&job->state_lock_fd, job->state_dir, O_RDONLY | O_DIRECTORY, tries,
		       "this migration is running in another process", &job->diag);

	if (err < 0)
		return err;
	if (fstat(job->state_lock_fd, &st) == 0 &&
	    (st.st_uid == geteuid() || st.st_uid == 0) && (st.st_mode & (S_IWGRP | S_IWOTH)) == 0)
		return 0;
	gw_state_unlock(job);
	return gw_fail_exit(&job->diag, GW_EXIT_CANNOT, -EPERM,
			    "%s may be written by others, and commands are run from its journal: "
			    "chown root and chmod go-w it, or use another --state-dir",
			    job->state_dir);
}

static int lock_disk(struct gw_job *job, int tries)
{
	char path[PATH_MAX];
	int err = make_dirs(job->run_dir, &job->diag);

	if (err < 0)
		return err;
	gw_migration_lock_path(path, job->run_dir, job->source.kind == GW_NODE_BLOCK ?
			       job->source.disk_dev : job->source.file_dev);
	if (job->source.kind == GW_NODE_FILE)
		snprintf(path + strlen(path), sizeof(path) - strlen(path), ".%ju",
			 (uintmax_t)job->source.file_ino);
	return lock(&job->disk_lock_fd, path, O_RDWR | O_CREAT | O_NOFOLLOW, tries,
		    "another godwit works on the same source disk", &job->diag);
}

int gw_state_lock_disk(struct gw_job *job)
{
	return lock_disk(job, LEAVE_TRIES);
}

static void run_file(char path[RUN_FILE_BYTES], const char *name, const char *run_dir)
{
	snprintf(path, RUN_FILE_BYTES, "%s/%s.state", run_dir, name);
}

void gw_state_find(char state_dir[PATH_MAX], const char *name, const char *given,
		   const char *run_dir)
{
	char path[RUN_FILE_BYTES];
	ssize_t length = 0;
	int fd;

	gw_migration_state_dir(state_dir, name, given);
	if (given != NULL)
		return;
	run_file(path, name, run_dir);
	/* What is no regular file may lie there, too, and is not waited for. */
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	if (fd < 0)
		return;
	length = read(fd, path, sizeof(path) - 1);
	close(fd);
	if (length > 1 && length < PATH_MAX && path[0] == '/' && path[length - 1] == '\n') {
		path[length - 1] = '\0';
		memcpy(state_dir, path, (size_t)length);
	}
}

int gw_state_check_name(struct gw_job *job, struct json_object *started)
{
	const char *const name = gw_json_string(started, "name");

	if (name == NULL || strcmp(name, job->name) == 0)
		return 0;
	return gw_fail_exit(&job->diag, GW_EXIT_CANNOT, -ESTALE,
			    "%s belongs to migration %.128s, not to %s", job->state_dir, name,
			    job->name);
}

void gw_state_forget(const char *name, const char *run_dir)
{
	char path[RUN_FILE_BYTES];

	run_file(path, name, run_dir);
	unlink(path);
}

/*
 * Whoever cleans up by name goes by the run file: that of a migration which runs under the same
 * name with another state directory stays its own.
 */
static int check_run_file(struct gw_job *job)
{
	char known[PATH_MAX];
	int fd, err = 0;

	gw_state_find(known, job->name, NULL, job->run_dir);
	if (strcmp(known, job->state_dir) == 0)
		return 0;
	fd = open(known, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return 0;
	if (flock(fd, LOCK_SH | LOCK_NB) != 0 && errno == EWOULDBLOCK)
		err = gw_fail_exit(&job->diag, GW_EXIT_CANNOT, -EBUSY,
				   "a migration of the name %s is running, its state is in %s: take "
				   "another --name", job->name, known);
	close(fd);
	return err;
}

static int write_run_file(struct gw_job *job)
{
	char path[RUN_FILE_BYTES], resolved[PATH_MAX];
	int err = make_dirs(job->run_dir, &job->diag), fd;

	if (err < 0)
		return err;
	if (realpath(job->state_dir, resolved) != NULL)
		snprintf(job->state_dir, sizeof(job->state_dir), "%s", resolved);
	err = check_run_file(job);
	if (err < 0)
		return err;
	run_file(path, job->name, job->run_dir);
	/* Not through a link: --run-dir may be a directory that others write to. */
	fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0600);
	if (fd < 0 || dprintf(fd, "%s\n", job->state_dir) < 0) {
		err = gw_fail_exit(&job->diag, GW_EXIT_CANNOT, -errno, "%s: %s", path,
				   strerror(errno));
		if (fd >= 0)
			close(fd);
		return err;
	}
	if (close(fd) != 0)
		return gw_fail_exit(&job->diag, GW_EXIT_CANNOT, -errno, "%s: %s", path,
				    strerror(errno));
	return 0;
}

/* The event log goes with its journal. */
static void put_events_aside(const struct gw_job *job, unsigned int n)
{
	char path[PATH_MAX + 64], aside[PATH_MAX + 80];

	snprintf(path, sizeof(path), "%s/" GW_EVENT_LOG_FILE, job->state_dir);
	snprintf(aside, sizeof(aside), "%s.%u", path, n);
	rename(path, aside);
}

/* The journal of a migration that ended makes room for the next of that name. */
static int put_ended_aside(struct gw_job *job)
{
	struct gw_journal_state state = { 0 };
	char path[PATH_MAX + 64], aside[PATH_MAX + 80];
	int err;

	snprintf(path, sizeof(path), "%s/" GW_JOURNAL_FILE, job->state_dir);
	if (access(path, F_OK) != 0)
		return 0;
	err = gw_journal_read_state(job->state_dir, &state, &job->diag);
	if (err < 0)
		return err;
	if (state.has_ended && state.throttled != NULL)
		err = gw_fail_exit(&job->diag, GW_EXIT_CANNOT, -EEXIST,
			"migration %s in %s has left a limit on its source's writers: `godwit cleanup "
			"%s` first", job->name, job->state_dir, job->name);
	else if (state.has_ended && (state.has_quiescing || (state.has_commit && !state.has_resumed)))
		err = gw_fail_exit(&job->diag, GW_EXIT_CANNOT, -EEXIST,
			"migration %s in %s has left its source stopped or its switch unfinished, "
			"and only its journal knows how: `godwit cleanup %s` first", job->name,
			job->state_dir, job->name);
	else if (state.has_started && !state.has_ended)
		err = gw_fail_exit(&job->diag, GW_EXIT_CANNOT, -EEXIST,
			"migration %s in %s did not end: `godwit migrate --continue %s`, or "
			"`godwit cleanup %s`", job->name, job->state_dir, job->name, job->name);
	gw_journal_state_fini(&state);
	for (unsigned int n = 1; err >= 0; n++) {
		snprintf(aside, sizeof(aside), "%s.%u", path, n);
		if (access(aside, F_OK) == 0)
			continue;
		if (rename(path, aside) != 0)
			return gw_fail_exit(&job->diag, GW_EXIT_CANNOT, -errno, "%s: %s", path,
					    strerror(errno));
		put_events_aside(job, n);
		break;
	}
	return err < 0 ? err : gw_state_remove_digests(job->state_dir, &job->diag);
}

static void set_dirs(struct gw_job *job, const struct gw_migration_config *config)
{
	snprintf(job->run_dir, sizeof(job->run_dir), "%s",
		 config->run_dir != NULL ? config->run_dir : GW_RUN_DIR);
	gw_migration_state_dir(job->state_dir, job->name, config->state_dir);
}

int gw_state_create(struct gw_job *job, const struct gw_migration_config *config)
{
	int err;

	set_dirs(job, config);
	err = make_dirs(job->state_dir, &job->diag);
	if (err >= 0)
		err = lock_state_dir(job, 1);
	if (err >= 0)
		err = lock_disk(job, 1);
	if (err >= 0)
		err = put_ended_aside(job);
	if (err >= 0)
		err = write_run_file(job);
	if (err >= 0)
		return 0;
	/* What is there is another's: only a directory made just now may go. */
	if (job->state_lock_fd >= 0)
		rmdir(job->state_dir);
	gw_state_unlock(job);
	return err;
}

int gw_state_open(struct gw_job *job, const struct gw_migration_config *config)
{
	if (config->name == NULL || gw_migration_name(job->name, config, NULL, NULL) < 0)
		return gw_fail_exit(&job->diag, GW_EXIT_USAGE, -EINVAL,
				    "the name of a migration is needed (`ls " GW_STATE_ROOT "`)");
	set_dirs(job, config);
	gw_state_find(job->state_dir, job->name, config->state_dir, job->run_dir);
	if (access(job->state_dir, F_OK) != 0)
		return gw_fail_exit(&job->diag, GW_EXIT_CANNOT, -ENOENT,
			"no migration %s: %s is not there; say --state-dir if it was started with "
			"one", job->name, job->state_dir);
	/* Of a process that was killed a moment ago, the watchdog may still be at work. */
	return lock_state_dir(job, gw_control_is_served(job->run_dir, job->name) ? LEAVE_TRIES :
										   LOCK_TRIES);
}

void gw_state_unlock(struct gw_job *job)
{
	if (job->state_lock_fd >= 0)
		close(job->state_lock_fd);
	if (job->disk_lock_fd >= 0)
		close(job->disk_lock_fd);
	job->state_lock_fd = job->disk_lock_fd = -1;
}

int gw_state_remove_digests(const char *state_dir, struct gw_diag *diag)
{
	char path[PATH_MAX + 64];

	snprintf(path, sizeof(path), "%s/" GW_DIGEST_FILE, state_dir);
	if (unlink(path) != 0 && errno != ENOENT)
		return gw_fail_exit(diag, GW_EXIT_CANNOT, -errno, "%s: %s", path,
				    strerror(errno));
	return 0;
}

void gw_state_release(struct gw_job *job, int exit_code)
{
	struct gw_diag quiet = { 0 };
	char path[PATH_MAX + 64];

	if (job->state_lock_fd >= 0) {
		if (!job->settings.keep_state || exit_code != GW_EXIT_DONE)
			gw_state_remove_digests(job->state_dir, &quiet);
		/* Unclear: cleanup has to find it. */
		if (exit_code != GW_EXIT_UNCLEAR)
			gw_state_forget(job->name, job->run_dir);
	}
	if (job->journal_is_new && (exit_code == GW_EXIT_CANNOT || exit_code == GW_EXIT_USAGE)) {
		snprintf(path, sizeof(path), "%s/" GW_JOURNAL_FILE, job->state_dir);
		unlink(path);
		snprintf(path, sizeof(path), "%s/" GW_EVENT_LOG_FILE, job->state_dir);
		unlink(path);
	}
	/* Goes only if it is empty. */
	if (job->state_lock_fd >= 0)
		rmdir(job->state_dir);
	gw_state_unlock(job);
}

int gw_state_is_committed(const char *state_dir)
{
	struct gw_journal_state state = { 0 };
	struct gw_diag quiet = { 0 };
	int err = gw_journal_read_state(state_dir, &state, &quiet);
	const bool has_commit = state.has_commit;
	char path[PATH_MAX + 64];
	int fd;

	if (err < 0)
		return err;
	gw_journal_state_fini(&state);
	if (!has_commit)
		return 0;
	/* Readable, perhaps not yet on the disk; nobody may act on it before it is. */
	snprintf(path, sizeof(path), "%s/" GW_JOURNAL_FILE, state_dir);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	err = fdatasync(fd) == 0 ? 1 : -errno;
	close(fd);
	return err;
}

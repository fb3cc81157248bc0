// SPDX-License-Identifier: GPL-2.0-or-later
#include "tracking.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "journal.h"
#include "preflight.h"
#include "statefiles.h"

/* arg of gw_track_block_each() */
struct search {
	const struct gw_node *node;
	const char *wanted;
	char *name;			/* GW_NAME_BYTES */
};

static int is_name(void *arg, const char *name)
{
	const struct search *search = arg;

	return strcmp(name, search->wanted) == 0 ? 1 : 0;
}

static int is_device(void *arg, const char *name)
{
	struct search *search = arg;
	struct gw_diag silent = { 0 };
	struct gw_track *track;
	bool found;

	if (gw_track_block_open(&track, name, &silent) != 0)
		return 0;
	found = track->node.dev == search->node->dev;
	gw_track_close(track);
	if (found)
		snprintf(search->name, GW_NAME_BYTES, "%s", name);
	return found ? 1 : 0;
}

bool gw_tracking_is_pinned(const char *name)
{
	struct search search = { .wanted = name };

	return gw_track_block_each(is_name, &search) == 1;
}

static int find_device(char name[GW_NAME_BYTES], const char *path, struct gw_diag *diag)
{
	struct gw_node node;
	struct search search = { .node = &node, .name = name };
	int err = gw_node_look(&node, path, diag);

	if (err < 0)
		return err;
	if (node.kind != GW_NODE_BLOCK)
		return gw_fail_exit(diag, GW_EXIT_CANNOT, -ENOTBLK,
				    "%s is a regular file; only block devices are tracked", path);
	err = gw_track_block_each(is_device, &search);
	if (err == 0)
		return gw_fail_exit(diag, GW_EXIT_CANNOT, -ENOENT,
				    "%s is not tracked; \"godwit track list\" shows what is", path);
	return err < 0 ? gw_fail_exit(diag, GW_EXIT_CANNOT, err, "%s: %s", GW_PINS_DIR,
				      strerror(-err)) : 0;
}

int gw_tracking_find(char name[GW_NAME_BYTES], const char *operand, struct gw_diag *diag)
{
	if (strchr(operand, '/') != NULL)
		return find_device(name, operand, diag);
	if (strlen(operand) >= GW_NAME_BYTES || !gw_tracking_is_pinned(operand))
		return gw_fail_exit(diag, GW_EXIT_CANNOT, -ENOENT,
				    "there is no tracking \"%s\"; \"godwit track list\" shows "
				    "what is tracked",
				    operand);
	snprintf(name, GW_NAME_BYTES, "%s", operand);
	return 0;
}

/* ---- Guard --------------------------------------------------------------- */

/* Return: 0 with the lock held in *held (fd plus one), or negative errno, said. */
static int hold(int *held, const char *path, int flags, const char *busy, struct gw_diag *diag)
{
	const int fd = open(path, flags | O_CLOEXEC, 0600);
	int err;

	if (fd < 0)
		return gw_fail_exit(diag, GW_EXIT_CANNOT, -errno, "lock %s: %s", path,
				    strerror(errno));
	if (flock(fd, LOCK_EX | LOCK_NB) == 0) {
		*held = fd + 1;
		return 0;
	}
	err = -errno;
	close(fd);
	if (err == -EWOULDBLOCK)
		return gw_fail_exit(diag, GW_EXIT_CANNOT, -EBUSY, "%s (lock %s is held)",
				    busy, path);
	return gw_fail_exit(diag, GW_EXIT_CANNOT, err, "lock %s: %s", path, strerror(-err));
}

static int hold_disk(struct gw_tracking_guard *guard, dev_t disk_dev, const char *run_dir,
		     struct gw_diag *diag)
{
	char path[PATH_MAX];

	if (mkdir(run_dir, 0700) != 0 && errno != EEXIST)
		return gw_fail_exit(diag, GW_EXIT_CANNOT, -errno, "directory %s: %s", run_dir,
				    strerror(errno));
	gw_migration_lock_path(path, run_dir, disk_dev);
	return hold(&guard->disk_fd, path, O_RDWR | O_CREAT,
		    "a migration of this disk runs, or another godwit works on it", diag);
}

/* Did the migration of that name end? It owns the tracking until then. */
static int check_ended(const char *name, const char *state_dir, struct gw_diag *diag)
{
	struct gw_journal_state state = { 0 };
	char path[PATH_MAX + sizeof(GW_JOURNAL_FILE) + 1];
	int err;

	snprintf(path, sizeof(path), "%s/" GW_JOURNAL_FILE, state_dir);
	if (access(path, F_OK) != 0)
		return 0;
	err = gw_journal_read_state(state_dir, &state, diag);
	if (err == 0 && state.has_started && !state.has_ended)
		err = gw_fail_exit(diag, GW_EXIT_CANNOT, -EBUSY,
			"this tracking belongs to the migration %s, which did not end: \"godwit "
			"migrate --continue %s\" or \"godwit cleanup %s\"",
			name, name, name);
	gw_journal_state_fini(&state);
	return err;
}

static int hold_state(struct gw_tracking_guard *guard, const char *name, const char *run_dir,
		      struct gw_diag *diag)
{
	char state_dir[PATH_MAX];
	int err;

	gw_state_find(state_dir, name, NULL, run_dir);
	if (access(state_dir, F_OK) != 0)
		return 0;
	err = hold(&guard->state_fd, state_dir, O_RDONLY | O_DIRECTORY,
		   "a migration of this name runs", diag);
	return err != 0 ? err : check_ended(name, state_dir, diag);
}

int gw_tracking_guard(struct gw_tracking_guard *guard, const char *name, dev_t disk_dev,
		      const char *run_dir, struct gw_diag *diag)
{
	int err = 0;

	*guard = (struct gw_tracking_guard){ 0 };
	if (disk_dev != 0)
		err = hold_disk(guard, disk_dev, run_dir, diag);
	if (err == 0)
		err = hold_state(guard, name, run_dir, diag);
	if (err != 0)
		gw_tracking_leave(guard);
	return err;
}

void gw_tracking_leave(struct gw_tracking_guard *guard)
{
	if (guard->state_fd > 0)
		close(guard->state_fd - 1);
	if (guard->disk_fd > 0)
		close(guard->disk_fd - 1);
	*guard = (struct gw_tracking_guard){ 0 };
}

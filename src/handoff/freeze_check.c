// SPDX-License-Identifier: GPL-2.0-or-later
#include "freeze_check.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <linux/magic.h>

#include "blkinfo_sysfs.h"

/* ---- Devices and mounts. ---- */

int gw_freeze_look(struct gw_node *node, dev_t dev)
{
	struct gw_sysfs_block block;
	const int err = gw_sysfs_block_find(&block, dev);

	if (err != 0)
		return err;
	memset(node, 0, sizeof(*node));
	node->kind = GW_NODE_BLOCK;
	node->dev = dev;
	node->disk_dev = block.disk_dev;
	node->is_partition = block.is_partition;
	snprintf(node->path, sizeof(node->path), "/dev/%s", block.name);
	snprintf(node->name, sizeof(node->name), "%s", block.name);
	snprintf(node->disk_name, sizeof(node->disk_name), "%s", block.disk_name);
	gw_sysfs_u64(&node->diskseq, "%s/diskseq", block.disk_path);
	return 0;
}

static bool is_device(const char *path, dev_t dev)
{
	struct stat st;

	return stat(path, &st) == 0 && S_ISBLK(st.st_mode) && st.st_rdev == dev;
}

int gw_freeze_is_claimed(const struct gw_node *node)
{
	return is_device(node->path, node->dev) ? gw_node_is_claimed(node) : -ENXIO;
}

static bool is_mounted(const struct gw_frozen *mounts, uint32_t count, dev_t dev)
{
	for (uint32_t i = 0; i < count; i++)
		if (mounts[i].mount.dev == dev)
			return true;
	return false;
}

/* ---- Users of the source that are no mounts. ---- */

struct users {
	const struct gw_node *source;
	const struct gw_frozen *mounts;
	uint32_t count;
	uint32_t claimed_partitions;	/* by anybody */
	struct gw_diag *diag;
};

static int refuse(struct gw_diag *diag, const char *name, const char *who, const char *mend)
{
	return gw_fail_exit(diag, GW_EXIT_CANNOT, -EBUSY,
			    "%s is used by %s, which a freeze does not stop; %s",
			    name, who, mend);
}

/* Calls fn with the first field of each line of /proc/swaps: path, "file" or "partition". */
static int each_swap(int (*fn)(void *arg, const char *path), void *arg)
{
	FILE *const file = fopen("/proc/swaps", "re");
	char line[PATH_MAX + 256], path[PATH_MAX];
	int answer = 0;

	if (file == NULL)
		return 0;
	while (answer == 0 && fgets(line, sizeof(line), file) != NULL)
		if (sscanf(line, "%4095s", path) == 1 && path[0] == '/')
			answer = fn(arg, path);
	fclose(file);
	return answer;
}

static int match_swap_device(void *arg, const char *path)
{
	return is_device(path, *(const dev_t *)arg);
}

static int name_holder(void *arg, dev_t dev)
{
	struct gw_sysfs_block block;

	if (gw_sysfs_block_find(&block, dev) != 0)
		return 0;
	snprintf(arg, GW_NAME_BYTES, "%s", block.name);
	return 1;
}

/* Something holds this device exclusively, and it is none of the mounts that we see. */
static int refuse_claimed(const struct users *users, const struct gw_node *node)
{
	char holders[PATH_MAX], holder[GW_NAME_BYTES] = "";
	const char *const name = node->name;
	dev_t dev = node->dev;

	snprintf(holders, sizeof(holders), "/sys/class/block/%s/holders", name);
	if (gw_sysfs_each_dev(holders, name_holder, holder) > 0)
		return refuse(users->diag, name, holder, "migrate that device instead, or stop its "
			      "users by commands: --handoff exec");
	if (each_swap(match_swap_device, &dev) > 0)
		return refuse(users->diag, name, "swap", "swapoff first");
	return refuse(users->diag, name, "somebody who opened it exclusively (a mount in another "
		      "namespace, or a program)", "stop it, or use --handoff exec");
}

static int check_device(struct users *users, dev_t dev, bool is_partition)
{
	struct gw_node node;
	int claimed;

	if (gw_freeze_look(&node, dev) != 0)
		return 0;
	claimed = gw_freeze_is_claimed(&node);
	users->claimed_partitions += is_partition && claimed > 0;
	/* A claimed partition claims its disk too: that is not another user. */
	if (claimed == 0 || is_mounted(users->mounts, users->count, dev) ||
	    (!is_partition && users->claimed_partitions > 0))
		return 0;
	if (claimed < 0)
		return gw_fail_exit(users->diag, GW_EXIT_CANNOT, claimed,
				    "there is no %s, so nobody can tell whether it is in use; make "
				    "it (mknod), or use --handoff exec", node.path);
	return refuse_claimed(users, &node);
}

/* Partitions are directories below the disk's. */
static int check_partitions(struct users *users, const struct gw_sysfs_block *disk)
{
	DIR *const dir = opendir(disk->path);
	struct dirent *entry;
	int err = 0;

	if (dir == NULL)
		return 0;
	while (err == 0 && (entry = readdir(dir)) != NULL) {
		unsigned int maj, min;
		uint64_t number;
		char text[32];

		if (!gw_sysfs_u64(&number, "%s/%s/partition", disk->path, entry->d_name) ||
		    gw_sysfs_text(text, sizeof(text), "%s/%s/dev", disk->path, entry->d_name) != 0 ||
		    sscanf(text, "%u:%u", &maj, &min) != 2)
			continue;
		err = check_device(users, makedev(maj, min), true);
	}
	closedir(dir);
	return err;
}

/* Is a loop device's backing file the device itself? Those do not claim it. */
static int check_loops(const struct users *users)
{
	DIR *const dir = opendir("/sys/block");
	struct dirent *entry;
	int err = 0;

	if (dir == NULL)
		return 0;
	while (err == 0 && (entry = readdir(dir)) != NULL) {
		char path[PATH_MAX];
		struct gw_sysfs_block block;
		struct stat st;

		if (strncmp(entry->d_name, "loop", 4) != 0 ||
		    gw_sysfs_text(path, sizeof(path), "/sys/block/%s/loop/backing_file",
				  entry->d_name) != 0 ||
		    stat(path, &st) != 0 || !S_ISBLK(st.st_mode) ||
		    gw_sysfs_block_find(&block, st.st_rdev) != 0)
			continue;
		if (st.st_rdev == users->source->dev ||
		    (!users->source->is_partition && block.disk_dev == users->source->disk_dev))
			err = refuse(users->diag, block.name, entry->d_name, "migrate that device "
				     "instead, or detach it (losetup -d)");
	}
	closedir(dir);
	return err;
}

static int match_swap_file(void *arg, const char *path)
{
	const struct users *const users = arg;
	struct stat st;

	if (stat(path, &st) != 0 || !S_ISREG(st.st_mode) ||
	    !is_mounted(users->mounts, users->count, st.st_dev))
		return 0;
	return refuse(users->diag, path, "swap", "swapoff first");
}

int gw_freeze_check_users(const struct gw_node *source, const struct gw_frozen *mounts,
			  uint32_t count, struct gw_diag *diag)
{
	struct users users = { .source = source, .mounts = mounts, .count = count, .diag = diag };
	struct gw_sysfs_block block;
	int err;

	err = gw_sysfs_block_find(&block, source->dev);
	if (err != 0)
		return gw_fail_exit(diag, GW_EXIT_CANNOT, err, "%s is gone", source->path);
	err = check_loops(&users);
	/* A disk that is mounted as a whole claims its partitions too: those have no other user. */
	if (err == 0 && !source->is_partition && !is_mounted(mounts, count, source->dev))
		err = check_partitions(&users, &block);
	if (err == 0)
		err = check_device(&users, source->dev, false);
	return err != 0 ? err : each_swap(match_swap_file, &users);
}

/* ---- What godwit itself writes to. ---- */

/* The upper directory of the overlay that dev is. Return: false if it is none or not to be found. */
static bool stat_overlay_upper(dev_t dev, struct stat *st)
{
	FILE *const file = fopen("/proc/self/mountinfo", "re");
	char *line = NULL;
	size_t line_bytes = 0;
	bool found = false;

	if (file == NULL)
		return false;
	while (!found && getline(&line, &line_bytes, file) >= 0) {
		unsigned int maj, min;
		char *const upper = strstr(line, "upperdir=");

		if (upper == NULL || sscanf(line, "%*u %*u %u:%u", &maj, &min) != 2 ||
		    makedev(maj, min) != dev)
			continue;
		upper[strcspn(upper, ",\n ")] = '\0';
		found = stat(upper + strlen("upperdir="), st) == 0;
	}
	free(line);
	fclose(file);
	return found;
}

enum place { ELSEWHERE, ON_FROZEN, ON_READ_ONLY };

static enum place find_place(const struct gw_frozen *mounts, uint32_t count, dev_t dev)
{
	for (uint32_t i = 0; i < count; i++)
		if (mounts[i].mount.dev == dev)
			return mounts[i].fd >= 0 ? ON_FROZEN : ON_READ_ONLY;
	return ELSEWHERE;
}

/* Does a write to the file system dev end up on the source, be it through other devices? */
static bool is_stored_on(const struct gw_node *source, const struct gw_frozen *mounts,
			 uint32_t count, dev_t dev)
{
	struct gw_node node;
	enum place place;
	struct stat st;

	place = find_place(mounts, count, dev);
	if (place == ELSEWHERE && stat_overlay_upper(dev, &st)) {
		dev = st.st_dev;
		place = find_place(mounts, count, dev);
	}
	if (place != ELSEWHERE)
		return place == ON_FROZEN;
	/* Only this way round: the source itself may well be a file on that file system. */
	return major(dev) != 0 && gw_freeze_look(&node, dev) == 0 &&
	       gw_node_is_stored_on(&node, source);
}

static int refuse_own(struct gw_diag *diag, const char *what, const char *path,
		      const struct gw_node *source)
{
	return gw_fail_exit(diag, GW_EXIT_CANNOT, -EBUSY,
			    "%s %s lives on %s, which would be frozen, and godwit with it; put it "
			    "elsewhere, or use --handoff exec", what, path, source->path);
}

/* Of a path that may not exist yet, its nearest parent that does. */
static bool stat_nearest(const char *path, struct stat *st)
{
	char copy[PATH_MAX];
	char *slash;

	if (snprintf(copy, sizeof(copy), "%s", path) >= (int)sizeof(copy))
		return false;
	while (stat(copy, st) != 0) {
		slash = strrchr(copy, '/');
		if (slash == NULL)
			return stat(".", st) == 0;
		if (slash == copy)
			return stat("/", st) == 0;
		*slash = '\0';
	}
	return true;
}

/* Regular files that we may write to: standard streams, journal, digests. */
static int check_open_files(const struct gw_node *source, const struct gw_frozen *mounts,
			    uint32_t count, struct gw_diag *diag)
{
	DIR *const dir = opendir("/proc/self/fd");
	struct dirent *entry;
	int err = 0;

	if (dir == NULL)
		return 0;
	while (err == 0 && (entry = readdir(dir)) != NULL) {
		const int fd = atoi(entry->d_name);
		char path[PATH_MAX];
		struct stat st;
		ssize_t n;
		int flags;

		if (entry->d_name[0] == '.' || fstat(fd, &st) != 0 || !S_ISREG(st.st_mode))
			continue;
		flags = fcntl(fd, F_GETFL);
		if (flags < 0 || (flags & O_ACCMODE) == O_RDONLY ||
		    !is_stored_on(source, mounts, count, st.st_dev))
			continue;
		n = readlinkat(dirfd(dir), entry->d_name, path, sizeof(path) - 1);
		path[n > 0 ? n : 0] = '\0';
		err = refuse_own(diag, fd == STDOUT_FILENO ? "standard output" :
				 fd == STDERR_FILENO ? "standard error" : "open file", path, source);
	}
	closedir(dir);
	return err;
}

int gw_freeze_check_own_files(const struct gw_node *source, const struct gw_frozen *mounts,
			      uint32_t count, const char *const *keep, struct gw_diag *diag)
{
	struct stat st;

	if (stat("/", &st) == 0 && is_stored_on(source, mounts, count, st.st_dev))
		return gw_fail_exit(diag, GW_EXIT_CANNOT, -EBUSY,
				    "the root file system lives on %s: freezing it would freeze "
				    "godwit and all else; migrate it from a rescue system",
				    source->path);
	for (; keep != NULL && *keep != NULL; keep++)
		if (stat_nearest(*keep, &st) && is_stored_on(source, mounts, count, st.st_dev))
			return refuse_own(diag, "path", *keep, source);
	if (stat("/proc/self/exe", &st) == 0 && is_stored_on(source, mounts, count, st.st_dev))
		return refuse_own(diag, "program", "godwit", source);
	return check_open_files(source, mounts, count, diag);
}

/*
 * All that is mapped is brought in and stays; what is mapped later stays once it
 * was touched (a large sidecar file need not be read for that).
 */
int gw_freeze_lock_memory(struct gw_diag *diag)
{
	if (mlockall(MCL_CURRENT) == 0 && mlockall(MCL_CURRENT | MCL_FUTURE | MCL_ONFAULT) == 0)
		return 0;
	return gw_fail_exit(diag, GW_EXIT_CANNOT, -errno,
			    "cannot lock memory, so godwit itself might hang on a frozen file system "
			    "(%s): run it with CAP_IPC_LOCK, or after `ulimit -l unlimited`",
			    strerror(errno));
}

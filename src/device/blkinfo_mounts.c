// SPDX-License-Identifier: GPL-2.0-or-later
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "blkinfo.h"
#include "blkinfo_sysfs.h"

#define MOUNTS_MAX 4096			/* file systems on one disk; more is not believed */

/* The kernel writes blank, tab, newline and backslash as \ooo. In place. */
static void undo_escapes(char *text)
{
	char *out = text;

	for (const char *in = text; *in != '\0'; out++) {
		if (in[0] == '\\' && in[1] >= '0' && in[1] <= '3' && in[2] >= '0' &&
		    in[2] <= '7' && in[3] >= '0' && in[3] <= '7') {
			*out = (char)((in[1] - '0') << 6 | (in[2] - '0') << 3 | (in[3] - '0'));
			in += 4;
		} else {
			*out = *in++;
		}
	}
	*out = '\0';
}

static bool has_option(const char *options, const char *want)
{
	const size_t length = strlen(want);

	for (const char *at = options; at != NULL; at = strchr(at, ',')) {
		at += *at == ',';
		if (strncmp(at, want, length) == 0 && (at[length] == ',' || at[length] == '\0'))
			return true;
	}
	return false;
}

/*
 * "id parent maj:min root dir options [optional...] - type source super". The
 * source may be empty, and then there are two blanks: so no strtok().
 */
static bool parse_line(char *line, struct gw_mountinfo *mount)
{
	char *head[6], *tail[3];
	char *rest = line;
	unsigned int maj, min;
	char *end;

	line[strcspn(line, "\n")] = '\0';
	for (int i = 0; i < 6; i++)
		if ((head[i] = strsep(&rest, " ")) == NULL || rest == NULL)
			return false;
	while (strcmp(strsep(&rest, " "), "-") != 0)
		if (rest == NULL)
			return false;
	for (int i = 0; i < 3; i++)
		if ((tail[i] = strsep(&rest, " ")) == NULL)
			return false;
	if (sscanf(head[2], "%u:%u", &maj, &min) != 2)
		return false;
	undo_escapes(head[3]);
	undo_escapes(head[4]);
	undo_escapes(tail[0]);
	undo_escapes(tail[1]);
	*mount = (struct gw_mountinfo){
		.mount_id = strtoull(head[0], &end, 10),
		.dev = makedev(maj, min),
		.root = head[3],
		.dir = head[4],
		.fs_type = tail[0],
		.source = tail[1],
		.is_super_read_only = has_option(tail[2], "ro"),
	};
	return *end == '\0';
}

int gw_mountinfo_each(int (*fn)(void *arg, const struct gw_mountinfo *mount), void *arg)
{
	FILE *const file = fopen("/proc/self/mountinfo", "re");
	char *line = NULL;
	size_t line_bytes = 0;
	int answer = 0;

	if (file == NULL)
		return -errno;
	while (answer == 0 && getline(&line, &line_bytes, file) >= 0) {
		struct gw_mountinfo mount;

		if (parse_line(line, &mount))
			answer = fn(arg, &mount);
	}
	free(line);
	fclose(file);
	return answer;
}

struct dev_search {
	dev_t dev;
	bool found;
};

static int match_dev(void *arg, dev_t dev)
{
	struct dev_search *const search = arg;

	search->found = search->found || dev == search->dev;
	return search->found;
}

/* All members of the btrfs that dev belongs to. Return: -ENOENT if sysfs knows none. */
static int each_btrfs_dev(dev_t dev, int (*fn)(void *arg, dev_t dev), void *arg)
{
	DIR *const dir = opendir("/sys/fs/btrfs");
	int answer = -ENOENT;

	if (dir == NULL)
		return -ENOENT;
	for (struct dirent *entry; (entry = readdir(dir)) != NULL;) {
		struct dev_search search = { dev, false };
		char path[PATH_MAX];

		if (entry->d_name[0] == '.')
			continue;
		snprintf(path, sizeof(path), "/sys/fs/btrfs/%s/devices", entry->d_name);
		gw_sysfs_each_dev(path, match_dev, &search);
		if (search.found) {
			answer = gw_sysfs_each_dev(path, fn, arg);
			break;
		}
	}
	closedir(dir);
	return answer;
}

/* "/dev/a:/dev/b" as bcachefs has it, or one path. */
static int each_source_dev(const char *source, bool is_btrfs, int (*fn)(void *arg, dev_t dev),
			   void *arg)
{
	char copy[PATH_MAX], *rest = copy, *path;
	struct stat st;
	int answer = 0;

	if (source[0] != '/')
		return 0;
	/* A path that has a colon in it is taken as it is, if it leads to a device. */
	if (stat(source, &st) < 0 || !S_ISBLK(st.st_mode)) {
		snprintf(copy, sizeof(copy), "%s", source);
		while (answer == 0 && (path = strsep(&rest, ":")) != NULL)
			if (stat(path, &st) == 0 && S_ISBLK(st.st_mode))
				answer = fn(arg, st.st_rdev);
		return answer;
	}
	if (is_btrfs) {
		answer = each_btrfs_dev(st.st_rdev, fn, arg);
		if (answer != -ENOENT)
			return answer;
	}
	return fn(arg, st.st_rdev);
}

int gw_mountinfo_each_dev(const struct gw_mountinfo *mount, int (*fn)(void *arg, dev_t dev),
			  void *arg)
{
	/* "/dev/root" and the like do not exist; where the number tells, it is believed. */
	if (major(mount->dev) != 0)
		return fn(arg, mount->dev);
	return each_source_dev(mount->source, strcmp(mount->fs_type, "btrfs") == 0, fn, arg);
}

struct collect {
	const struct gw_node *node;
	struct gw_mount *mounts;
	dev_t *fs;			/* of each: for one entry per file system */
	bool *is_visible;		/* dir leads to it; nothing is mounted on top */
	uint32_t count;
	dev_t found_dev;
};

/* Is dev the node, or on the node's disk if the node is a whole disk? */
static int match_node(void *arg, dev_t dev)
{
	struct collect *const collect = arg;
	struct gw_sysfs_block block;

	if (dev != collect->node->dev &&
	    (collect->node->is_partition || gw_sysfs_block_find(&block, dev) < 0 ||
	     block.disk_dev != collect->node->disk_dev))
		return 0;
	collect->found_dev = dev;
	return 1;
}

static bool leads_to(const char *dir, uint64_t mount_id)
{
	struct statx stx;

	return statx(AT_FDCWD, dir, AT_NO_AUTOMOUNT, STATX_MNT_ID, &stx) == 0 &&
	       (stx.stx_mask & STATX_MNT_ID) != 0 && stx.stx_mnt_id == mount_id;
}

static int grow(struct collect *collect)
{
	const size_t count = collect->count + 1U;
	struct gw_mount *const mounts = reallocarray(collect->mounts, count, sizeof(*mounts));
	dev_t *fs;
	bool *is_visible;

	if (mounts == NULL)
		return -ENOMEM;
	collect->mounts = mounts;
	fs = reallocarray(collect->fs, count, sizeof(*fs));
	if (fs == NULL)
		return -ENOMEM;
	collect->fs = fs;
	is_visible = reallocarray(collect->is_visible, count, sizeof(*is_visible));
	if (is_visible == NULL)
		return -ENOMEM;
	collect->is_visible = is_visible;
	return collect->count < MOUNTS_MAX ? 0 : -E2BIG;
}

static int collect_mount(void *arg, const struct gw_mountinfo *mount)
{
	struct collect *const collect = arg;
	uint32_t i = 0;
	bool is_visible;
	int err;

	if (gw_mountinfo_each_dev(mount, match_node, collect) <= 0)
		return 0;
	/* Not before: another file system's server may not answer. */
	is_visible = leads_to(mount->dir, mount->mount_id);
	while (i < collect->count && collect->fs[i] != mount->dev)
		i++;
	/* A later mount of the same file system counts only if the first cannot be reached. */
	if (i < collect->count && (collect->is_visible[i] || !is_visible))
		return 0;
	if (i == collect->count) {
		err = grow(collect);
		if (err < 0)
			return err;
		collect->count++;
	}
	collect->fs[i] = mount->dev;
	collect->is_visible[i] = is_visible;
	memset(&collect->mounts[i], 0, sizeof(collect->mounts[i]));
	snprintf(collect->mounts[i].dir, sizeof(collect->mounts[i].dir), "%s", mount->dir);
	snprintf(collect->mounts[i].fs_type, sizeof(collect->mounts[i].fs_type), "%s",
		 mount->fs_type);
	collect->mounts[i].dev = collect->found_dev;
	collect->mounts[i].read_only = mount->is_super_read_only;
	return 0;
}

int gw_node_mounts(const struct gw_node *node, struct gw_mount **mounts, struct gw_diag *diag)
{
	struct collect collect = { .node = node };
	int err;

	*mounts = NULL;
	if (node->kind == GW_NODE_FILE)
		return 0;
	err = gw_mountinfo_each(collect_mount, &collect);
	free(collect.fs);
	free(collect.is_visible);
	if (err < 0) {
		free(collect.mounts);
		return gw_fail_exit(diag, GW_EXIT_CANNOT, err,
				    "cannot list what is mounted from %s: %s", node->path,
				    strerror(-err));
	}
	*mounts = collect.mounts;
	return (int)collect.count;
}

// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * What a node is stored on, down to the bottom: a list of byte ranges of disks
 * and files. Two nodes overlap if two of their ranges do. A range is exact where
 * the mapping is known (partition, loop window, file), and "somewhere in there"
 * where it is not (device-mapper, md, file system). Two inexact ranges are no
 * overlap: two logical volumes share their disk and not one sector of it.
 */
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/loop.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "blkinfo.h"
#include "blkinfo_sysfs.h"

#define DEPTH_MAX 16
#define EXTENTS_MAX 256			/* a raid over many disks; more is called an overlap */

struct extent {
	bool is_file;
	dev_t dev;			/* disk, or the file's st_dev */
	ino_t ino;
	uint64_t first_bytes, end_bytes;
	bool is_exact;
	uint32_t depth;			/* 0: the node itself */
	char chain[160];		/* "loop3 > /srv/a.img > loop1p1" */
};

struct stack {
	struct extent extents[EXTENTS_MAX];
	uint32_t count;
	bool is_cut;			/* it did not fit: anything may be below */
};

/* Where the walk stands: a window of the next thing down. */
struct window {
	uint64_t first_bytes, end_bytes;
	bool is_exact;
	uint32_t depth;
	const char *chain;
};

static void add_dev(struct stack *stack, dev_t dev, const struct window *window);

static struct extent *add_extent(struct stack *stack, const struct window *window,
				 const char *name)
{
	struct extent *extent;

	if (stack->count == EXTENTS_MAX || window->depth >= DEPTH_MAX) {
		stack->is_cut = true;
		return NULL;
	}
	extent = &stack->extents[stack->count++];
	*extent = (struct extent){
		.first_bytes = window->first_bytes,
		.end_bytes = window->end_bytes,
		.is_exact = window->is_exact,
		.depth = window->depth,
	};
	snprintf(extent->chain, sizeof(extent->chain), "%s%s%s", window->chain,
		 window->chain[0] != '\0' ? " > " : "", name);
	return extent;
}

/* a + b, without wrapping round: UINT64_MAX means up to the end. */
static uint64_t plus(uint64_t a, uint64_t b)
{
	return a > UINT64_MAX - b ? UINT64_MAX : a + b;
}

struct walk {
	struct stack *stack;
	struct window window;
};

static int walk_dev(void *arg, dev_t dev)
{
	struct walk *const walk = arg;

	add_dev(walk->stack, dev, &walk->window);
	return 0;
}

struct fs_search {
	dev_t dev;			/* st_dev of the file */
	uint64_t mount_id;		/* 0: not known */
	struct walk walk;
	bool found;
};

static int match_fs(void *arg, const struct gw_mountinfo *mount)
{
	struct fs_search *const search = arg;

	/* btrfs gives every subvolume a st_dev that mountinfo does not show: then the mount's id tells. */
	if (mount->dev != search->dev &&
	    (search->mount_id == 0 || mount->mount_id != search->mount_id))
		return 0;
	gw_mountinfo_each_dev(mount, walk_dev, &search->walk);
	search->found = true;
	return 1;
}

/* The mount that path, or (where the file is deleted) its directory, is on; 0 if that is not sure. */
static uint64_t mount_id_of(const char *path, dev_t dev)
{
	char copy[PATH_MAX];
	struct statx stx;
	char *slash;

	snprintf(copy, sizeof(copy), "%s", path);
	for (int i = 0; i < 2; i++) {
		if (statx(AT_FDCWD, copy, AT_NO_AUTOMOUNT, STATX_MNT_ID, &stx) == 0)
			return makedev(stx.stx_dev_major, stx.stx_dev_minor) == dev &&
					       (stx.stx_mask & STATX_MNT_ID) != 0
				       ? stx.stx_mnt_id
				       : 0;
		slash = strrchr(copy, '/');
		if (slash == NULL)
			return 0;
		slash[slash == copy ? 1 : 0] = '\0';
	}
	return 0;
}

static void add_file(struct stack *stack, const char *path, dev_t dev, ino_t ino,
		     const struct window *window)
{
	struct extent *const extent = add_extent(stack, window, path);
	struct fs_search search = {
		.dev = dev,
		.walk.stack = stack,
		.walk.window = { 0, UINT64_MAX, false, window->depth + 1, "" },
	};

	if (extent == NULL)
		return;
	extent->is_file = true;
	extent->dev = dev;
	extent->ino = ino;
	search.mount_id = mount_id_of(path, dev);
	search.walk.window.chain = extent->chain;
	if (gw_mountinfo_each(match_fs, &search) < 0)
		stack->is_cut = true;
	/* Its mount may be out of sight (another namespace, lazily unmounted): the number still tells. */
	if (!search.found && major(dev) != 0)
		add_dev(stack, dev, &search.walk.window);
}

/* sysfs knows the path of the backing file; the ioctl what it is, wherever the path leads by now. */
static void add_loop_backing(struct stack *stack, const struct gw_sysfs_block *disk,
			     const struct extent *above)
{
	char path[PATH_MAX], node[GW_NAME_BYTES + 8];
	static const char deleted[] = " (deleted)";
	struct loop_info64 info;
	struct window window;
	size_t length;
	int fd, err;

	if (gw_sysfs_text(path, sizeof(path), "%s/loop/backing_file", disk->path) < 0)
		return;
	snprintf(node, sizeof(node), "/dev/%s", disk->name);
	fd = open(node, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	err = fd < 0 ? -errno : 0;
	if (err == 0 && ioctl(fd, LOOP_GET_STATUS64, &info) < 0)
		err = -errno;
	if (fd >= 0)
		close(fd);
	if (err == -ENXIO)
		return;			/* detached just now */
	if (err < 0) {
		stack->is_cut = true;
		return;
	}
	window = (struct window){
		.first_bytes = plus(info.lo_offset, above->first_bytes),
		.end_bytes = plus(info.lo_offset, above->end_bytes),
		.is_exact = above->is_exact,
		.depth = above->depth + 1,
		.chain = above->chain,
	};
	/* A block device behind a loop has two numbers: its own, and its node's file system's. */
	if (info.lo_rdevice != info.lo_device && info.lo_rdevice != 0) {
		add_dev(stack, (dev_t)info.lo_rdevice, &window);
		return;
	}
	length = strlen(path);
	if (length > sizeof(deleted) &&
	    strcmp(path + length - (sizeof(deleted) - 1), deleted) == 0)
		path[length - (sizeof(deleted) - 1)] = '\0';
	add_file(stack, path, (dev_t)info.lo_device, (ino_t)info.lo_inode, &window);
}

/* A window of the device dev, then what is below its disk. */
static void add_dev(struct stack *stack, dev_t dev, const struct window *window)
{
	struct gw_sysfs_block block, disk;
	struct extent *extent;
	struct walk walk = { .stack = stack };
	char path[PATH_MAX + 8];

	if (gw_sysfs_block_find(&block, dev) < 0 || gw_sysfs_block_find(&disk, block.disk_dev) < 0)
		return;
	extent = add_extent(stack, window, block.name);
	if (extent == NULL)
		return;
	extent->dev = block.disk_dev;
	/* Nothing reaches beyond the end: a loop's window ends where its device does. */
	if (extent->end_bytes > block.size_bytes)
		extent->end_bytes = block.size_bytes;
	extent->first_bytes = plus(extent->first_bytes, block.first_bytes);
	extent->end_bytes = plus(extent->end_bytes, block.first_bytes);

	snprintf(path, sizeof(path), "%s/slaves", disk.path);
	walk.window = (struct window){ 0, UINT64_MAX, false, extent->depth + 1, extent->chain };
	gw_sysfs_each_dev(path, walk_dev, &walk);
	add_loop_backing(stack, &disk, extent);
}

static void add_node(struct stack *stack, const struct gw_node *node)
{
	const struct window all = { 0, UINT64_MAX, true, 0, "" };

	stack->count = 0;
	stack->is_cut = false;
	if (node->kind == GW_NODE_FILE)
		add_file(stack, node->path, node->file_dev, node->file_ino, &all);
	else
		add_dev(stack, node->dev, &all);
}

static bool extents_meet(const struct extent *a, const struct extent *b)
{
	return a->is_file == b->is_file && a->dev == b->dev && (!a->is_file || a->ino == b->ino) &&
	       (a->is_exact || b->is_exact) && a->first_bytes < b->end_bytes &&
	       b->first_bytes < a->end_bytes;
}

static void say_why(char *why, size_t why_bytes, const struct gw_node *a,
		    const struct gw_node *b, const struct extent *ea, const struct extent *eb)
{
	if (ea->depth > 0 && eb->depth > 0)
		snprintf(why, why_bytes, "%s and %s share storage: %s; %s", a->path, b->path,
			 ea->chain, eb->chain);
	else if (ea->depth > 0)
		snprintf(why, why_bytes, "%s is stored on %s: %s", a->path, b->path, ea->chain);
	else if (eb->depth > 0)
		snprintf(why, why_bytes, "%s is stored on %s: %s", b->path, a->path, eb->chain);
	else if (ea->is_file)
		snprintf(why, why_bytes, "%s and %s are the same file", a->path, b->path);
	else if (a->is_partition && b->is_partition)
		snprintf(why, why_bytes, "%s and %s are overlapping partitions of %s", a->path,
			 b->path, a->disk_name);
	else
		snprintf(why, why_bytes, "%s is a partition of %s",
			 a->is_partition ? a->path : b->path, a->is_partition ? b->path : a->path);
}

bool gw_nodes_overlap(const struct gw_node *a, const struct gw_node *b, char *why, size_t why_bytes)
{
	struct stack *stacks;
	bool overlap = false;

	why[0] = '\0';
	/* An empty device has no range that could meet another. */
	if (a->kind == GW_NODE_BLOCK && b->kind == GW_NODE_BLOCK && a->dev == b->dev) {
		snprintf(why, why_bytes, "%s and %s are the same device", a->path, b->path);
		return true;
	}
	stacks = calloc(2, sizeof(*stacks));
	assert(stacks != NULL);
	add_node(&stacks[0], a);
	add_node(&stacks[1], b);
	for (uint32_t i = 0; !overlap && i < stacks[0].count; i++)
		for (uint32_t k = 0; !overlap && k < stacks[1].count; k++) {
			const struct extent *const ea = &stacks[0].extents[i];
			const struct extent *const eb = &stacks[1].extents[k];

			overlap = extents_meet(ea, eb);
			if (overlap)
				say_why(why, why_bytes, a, b, ea, eb);
		}
	if (!overlap && (stacks[0].is_cut || stacks[1].is_cut)) {
		overlap = true;
		snprintf(why, why_bytes,
			 "%s and %s may be stacked on one another: not all of what is below them "
			 "can be seen", a->path, b->path);
	}
	free(stacks);
	return overlap;
}

bool gw_node_is_stored_on(const struct gw_node *upper, const struct gw_node *lower)
{
	struct stack *const stacks = calloc(2, sizeof(*stacks));
	bool is_on = false;

	assert(stacks != NULL);
	add_node(&stacks[0], upper);
	add_node(&stacks[1], lower);
	/* The node itself always comes first. */
	for (uint32_t i = 1; i < stacks[0].count && stacks[1].count > 0; i++)
		is_on = is_on || extents_meet(&stacks[0].extents[i], &stacks[1].extents[0]);
	free(stacks);
	return is_on;
}

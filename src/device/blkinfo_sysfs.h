/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Private to blkinfo_*.c: sysfs attributes and /proc/self/mountinfo as plain values. */
#ifndef GW_BLKINFO_SYSFS_H
#define GW_BLKINFO_SYSFS_H

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "blkinfo.h"

/* First line of an attribute without blanks around it. Return: 0 or negative errno; out is "" then. */
int gw_sysfs_text(char *out, size_t out_bytes, const char *format, ...)
	__attribute__((format(printf, 3, 4)));
/* The attribute as a number; false (*value untouched) if it is absent or none. */
bool gw_sysfs_u64(uint64_t *value, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

/* A block device as sysfs has it. */
struct gw_sysfs_block {
	char path[PATH_MAX];		/* /sys/devices/... */
	char name[GW_NAME_BYTES];
	bool is_partition;
	char disk_path[PATH_MAX];	/* == path for a whole disk */
	char disk_name[GW_NAME_BYTES];
	dev_t disk_dev;
	uint64_t first_bytes, size_bytes;	/* on the disk */
};
/* Return: 0, or -ENODEV if there is no such device (any more). */
int gw_sysfs_block_find(struct gw_sysfs_block *block, dev_t dev);

/* Calls fn for each device below a directory of links (slaves, holders, devices). Return: fn's first non-zero answer or 0. */
int gw_sysfs_each_dev(const char *dir, int (*fn)(void *arg, dev_t dev), void *arg);

/* One line of mountinfo, octal escapes undone. Borrowed for the call. */
struct gw_mountinfo {
	uint64_t mount_id;
	dev_t dev;			/* st_dev of the file system; major 0: anonymous */
	const char *root, *dir, *fs_type, *source;
	bool is_super_read_only;
};
/* Return: 0, fn's first non-zero answer, or negative errno. */
int gw_mountinfo_each(int (*fn)(void *arg, const struct gw_mountinfo *mount), void *arg);

/*
 * Calls fn for each block device a mount is stored on (one, or more for btrfs
 * and bcachefs; none for tmpfs and the network). Return: fn's first non-zero answer or 0.
 */
int gw_mountinfo_each_dev(const struct gw_mountinfo *mount, int (*fn)(void *arg, dev_t dev),
			  void *arg);

#endif

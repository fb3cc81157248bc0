/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A cgroup's limit on what it writes to one disk: io.max (cgroup v2) or
 * blkio.throttle.write_bps_device (v1). Only that one number is ever touched.
 * For whoever throttles writers, and whoever takes that back.
 */
#ifndef GW_WRITE_LIMIT_H
#define GW_WRITE_LIMIT_H

#include <limits.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "err.h"

enum gw_cgroup_version { GW_CGROUP_V1 = 1, GW_CGROUP_V2 = 2 };

struct gw_write_limit {
	int dir_fd;			/* of the cgroup; it outlives a rename. Valid if version is not 0 */
	enum gw_cgroup_version version;	/* 0: not open */
	dev_t disk;			/* whole: the kernel knows no limits of partitions */
	uint64_t ino;			/* of the directory: another cgroup of the same name has another */
	char path[PATH_MAX];
};

/*
 * cgroup: a directory, or a name as in /proc/PID/cgroup, which is looked for below the hierarchies
 * that mountinfo (NULL: /proc/self/mountinfo) tells of. Writes nothing. Errors are said
 * (GW_EXIT_CANNOT), with what would help. Undo with gw_write_limit_close(); zeroed is fine there.
 */
int gw_write_limit_open(struct gw_write_limit *limit, const char *cgroup, dev_t disk,
			const char *mountinfo, struct gw_diag *diag);
void gw_write_limit_close(struct gw_write_limit *limit);

/* *bytes_per_s: 0 for none. Return: 0 or negative errno; -ENODEV, -ENOENT: the cgroup is gone. */
int gw_write_limit_get(const struct gw_write_limit *limit, uint64_t *bytes_per_s);
/* 0 takes the limit away. Reads back what the kernel made of it: -EIO if that is something else. */
int gw_write_limit_set(const struct gw_write_limit *limit, uint64_t bytes_per_s);
/* What the cgroup has written to the disk so far. -ENODATA: the kernel has not counted yet. */
int gw_write_limit_written(const struct gw_write_limit *limit, uint64_t *bytes);
/* Is a process in it? v2: or below it, for there a limit holds for all below. */
bool gw_write_limit_has_processes(const struct gw_write_limit *limit);
/* Is a process in a child cgroup that the limit does not reach (v1)? */
bool gw_write_limit_misses_children(const struct gw_write_limit *limit);
/* May this process change it? */
bool gw_write_limit_is_writable(const struct gw_write_limit *limit);

/*
 * Former comes back if what is set now is ours; ours is one of two, for a process may have died between
 * writing down the second and setting it. Safe to call twice. Return: 0; 1: the cgroup is gone, or somebody else
 * has set another limit since, which stays; negative errno.
 */
int gw_write_limit_restore(const struct gw_write_limit *limit, uint64_t former_bytes_per_s,
			   const uint64_t ours_bytes_per_s[2]);

/* The number that text, of a control file, has for the disk; 0 if none. Return: 0, or -EBADMSG. */
int gw_write_limit_parse(enum gw_cgroup_version version, const char *text, dev_t disk,
			 uint64_t *bytes_per_s);

#endif

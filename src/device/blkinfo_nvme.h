/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Private to src/device and src/track: where the kernel has an NVMe namespace and its paths. */
#ifndef GW_BLKINFO_NVME_H
#define GW_BLKINFO_NVME_H

#include <stdbool.h>
#include <stdint.h>

#include "blkinfo.h"

#define GW_NVME_CLASS_DIR "/sys/class/nvme-subsystem"

/*
 * Looks at the disk whose directory in sysfs is disk_path. class_dir is GW_NVME_CLASS_DIR, or a
 * test's. Return: true if it is an NVMe namespace; else *nvme is zeroed.
 */
bool gw_nvme_look(struct gw_nvme_place *nvme, const char *class_dir, const char *disk_path);

/* Is it the same namespace: number, place behind the head, drive? Paths may come and go. */
bool gw_nvme_is_same(const struct gw_nvme_place *a, const struct gw_nvme_place *b);

/*
 * Calls fn with the directory of each disk through which the kernel reaches the namespace: the
 * hidden ones of a multipath head, or the disk itself. Return: fn's first non-zero answer or 0.
 */
int gw_nvme_each_path(const struct gw_nvme_place *nvme, const char *class_dir,
		      int (*fn)(void *arg, const char *path_dir), void *arg);

/* Does the kernel count nothing as in flight on any path? False if one does not count. */
bool gw_nvme_is_idle(const struct gw_nvme_place *nvme, const char *class_dir);

#endif

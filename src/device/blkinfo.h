/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What a path is: a block device (whole disk or partition) or a regular file;
 * its size, sectors, identity, users. Reads sysfs, ioctls and libblkid; opens
 * nothing for writing and changes nothing.
 */
#ifndef GW_BLKINFO_H
#define GW_BLKINFO_H

#include <limits.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "err.h"

#define GW_NAME_BYTES 64

#define GW_NVME_CONTROLLERS_MAX 8

/* Where the kernel has an NVMe namespace, and whose it is. */
struct gw_nvme_place {
	bool is_namespace;		/* if not, all else is 0 */
	uint32_t nsid;
	uint32_t subsystem;		/* S of nvme-subsysS */
	uint32_t head;			/* H of nvmeXnH; need not be the nsid */
	uint32_t controller_count;	/* of the subsystem */
	uint32_t controllers[GW_NVME_CONTROLLERS_MAX];	/* C of nvmeC, ascending; the first ones */
	char subsystem_nqn[224];
	char serial[24];
};

enum gw_node_kind { GW_NODE_BLOCK, GW_NODE_FILE };

struct gw_node {
	enum gw_node_kind kind;
	char path[PATH_MAX];		/* as resolved (realpath) */
	char name[GW_NAME_BYTES];	/* kernel name ("loop0p1"), or the file's base name */
	uint64_t size_bytes;
	uint32_t logical_bytes;		/* sector size; 1 for a file */
	uint32_t physical_bytes;
	bool read_only;
	/* Block devices only: */
	dev_t dev;			/* the device itself */
	dev_t disk_dev;			/* its whole disk; == dev if it is one */
	char disk_name[GW_NAME_BYTES];
	uint64_t disk_first_sector;	/* where it starts on the disk, 512-byte sectors */
	bool is_partition;
	bool is_request_based;		/* the disk is blk-mq: block_rq_* fire */
	bool is_multipath_head;		/* NVMe: requests are those of hidden disks, its paths */
	struct gw_nvme_place nvme;
	bool is_zoned;
	bool has_dax;			/* may be written by plain stores, of which no bio tells */
	uint32_t hw_queues, tags_per_queue;	/* blk-mq disks, and paths of a head (the most); else 0 */
	uint64_t diskseq;		/* of the disk; 0 where the kernel has none */
	char stable_id[128];		/* wwid, NGUID/UUID, serial or partition UUID; "" if there is none */
	/* Files only: */
	dev_t file_dev;
	ino_t file_ino;
};

/*
 * Looks at path. Return: 0, or a negative errno (said in diag, exit code
 * GW_EXIT_CANNOT): -ENOENT, -ENOTBLK if it is neither block device nor regular
 * file, ... *node is zeroed on failure.
 */
int gw_node_look(struct gw_node *node, const char *path, struct gw_diag *diag);

/*
 * Is the disk behind node still the one that it was (diskseq, stable id, size, sectors)?
 * Return: 0, -ESTALE if it is another one, -ENODEV if it is gone (said in diag).
 */
int gw_node_check_same(const struct gw_node *node, struct gw_diag *diag);

/*
 * Is one of them stored on the other, or do they share sectors: the same device,
 * a disk and its partition, overlapping partitions, device-mapper / md / loop
 * stacked at any depth (a loop device's backing file too, also on a file system
 * on the other node). why says it in words. Return: true if so.
 */
bool gw_nodes_overlap(const struct gw_node *a, const struct gw_node *b, char *why, size_t why_bytes);

/* The one direction of it: is upper stored, at any depth, on (a part of) lower? Not for the same device. */
bool gw_node_is_stored_on(const struct gw_node *upper, const struct gw_node *lower);

/* Opens exclusively for a moment. Return: true if somebody (mount, md, dm, swap) has claimed it. */
bool gw_node_is_claimed(const struct gw_node *node);

/* A mounted file system that lives on the node, or on a partition of it. */
struct gw_mount {
	char dir[PATH_MAX];
	char fs_type[32];
	dev_t dev;			/* block device it is mounted from */
	bool read_only;
};

/*
 * Mounts (seen in this mount namespace) from node, its disk's partitions if it
 * is a whole disk, one entry per file system. *mounts is allocated, free() it.
 * Return: count or negative errno.
 */
int gw_node_mounts(const struct gw_node *node, struct gw_mount **mounts, struct gw_diag *diag);

/*
 * Signature found by libblkid ("ext4", "dos partition table", ...), "" if none.
 * Return: 0 or negative errno.
 */
int gw_node_signature(const struct gw_node *node, char *text, size_t text_bytes,
		      struct gw_diag *diag);

#endif

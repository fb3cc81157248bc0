// SPDX-License-Identifier: GPL-2.0-or-later
#include "blkinfo.h"

#include <blkid/blkid.h>
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "blkinfo_nvme.h"
#include "blkinfo_sysfs.h"

/* Firmware that was never given an identity answers with zeroes. */
static bool is_identity(const char *text)
{
	return text[0] != '\0' && text[strspn(text, "0-:. ")] != '\0';
}

/* The most of several disks. Return: 0, or -ENOENT if the disk is not blk-mq. */
static int count_queues(void *arg, const char *disk_path)
{
	struct gw_node *const node = arg;
	uint32_t hw_queues = 0;
	char path[PATH_MAX];
	DIR *dir;

	if ((size_t)snprintf(path, sizeof(path), "%s/mq", disk_path) >= sizeof(path))
		return -ENOENT;
	dir = opendir(path);
	if (dir == NULL)
		return -ENOENT;
	for (struct dirent *entry; (entry = readdir(dir)) != NULL;) {
		uint64_t tags = 0, reserved = 0;

		if (!isdigit((unsigned char)entry->d_name[0]))
			continue;
		hw_queues++;
		gw_sysfs_u64(&tags, "%s/mq/%s/nr_tags", disk_path, entry->d_name);
		gw_sysfs_u64(&reserved, "%s/mq/%s/nr_reserved_tags", disk_path, entry->d_name);
		if (tags + reserved > node->tags_per_queue)
			node->tags_per_queue = (uint32_t)(tags + reserved);
	}
	closedir(dir);
	if (hw_queues > node->hw_queues)
		node->hw_queues = hw_queues;
	return 0;
}

static void look_at_queues(struct gw_node *node, const char *disk_path)
{
	if (node->is_multipath_head)
		gw_nvme_each_path(&node->nvme, GW_NVME_CLASS_DIR, count_queues, node);
	else
		node->is_request_based = count_queues(node, disk_path) == 0;
}

/* The first of these that the disk has; false if it has none. */
static bool find_disk_id(char *id, size_t id_bytes, const char *disk_path)
{
	static const char *const attributes[] = {
		"wwid", "device/wwid", "uuid", "nguid", "dm/uuid", "md/uuid", "serial",
	};
	uint64_t nsid;

	for (size_t i = 0; i < sizeof(attributes) / sizeof(attributes[0]); i++) {
		gw_sysfs_text(id, id_bytes, "%s/%s", disk_path, attributes[i]);
		if (is_identity(id))
			return true;
	}
	/* A serial below device/ is the controller's: only with the namespace it names a disk. */
	gw_sysfs_text(id, id_bytes, "%s/device/serial", disk_path);
	if (is_identity(id)) {
		if (gw_sysfs_u64(&nsid, "%s/nsid", disk_path))
			snprintf(id + strlen(id), id_bytes - strlen(id), "-n%llu",
				 (unsigned long long)nsid);
		return true;
	}
	id[0] = '\0';
	return false;
}

/* Newer kernels tell it in the uevent, for older ones the table is read. */
static void find_partition_uuid(char *id, size_t id_bytes, const struct gw_sysfs_block *block,
				dev_t dev)
{
	char path[PATH_MAX];
	blkid_probe probe;
	blkid_partlist list;
	blkid_partition partition;
	const char *uuid;

	id[0] = '\0';
	snprintf(path, sizeof(path), "/dev/%s", block->disk_name);
	for (char *at = path; *at != '\0'; at++)
		if (*at == '!')
			*at = '/';	/* sysfs writes cciss/c0d0 as cciss!c0d0 */
	probe = blkid_new_probe_from_filename(path);
	if (probe == NULL)
		return;
	blkid_probe_enable_superblocks(probe, 0);
	blkid_probe_enable_partitions(probe, 1);
	list = blkid_probe_get_partitions(probe);
	partition = list != NULL ? blkid_partlist_devno_to_partition(list, dev) : NULL;
	uuid = partition != NULL ? blkid_partition_get_uuid(partition) : NULL;
	if (uuid != NULL)
		snprintf(id, id_bytes, "%s", uuid);
	blkid_free_probe(probe);
}

static void find_stable_id(struct gw_node *node, const struct gw_sysfs_block *block)
{
	char id[sizeof(node->stable_id) - 16];
	uint64_t number = 0;

	if (!find_disk_id(id, sizeof(id), block->disk_path)) {
		if (block->is_partition)
			find_partition_uuid(node->stable_id, sizeof(node->stable_id), block,
					    node->dev);
		return;
	}
	if (block->is_partition && gw_sysfs_u64(&number, "%s/partition", block->path))
		snprintf(node->stable_id, sizeof(node->stable_id), "%s-part%llu", id,
			 (unsigned long long)number);
	else
		snprintf(node->stable_id, sizeof(node->stable_id), "%s", id);
}

static int look_by_ioctl(struct gw_node *node, int fd)
{
	int logical = 0, read_only = 0;
	unsigned int physical = 0;

	if (ioctl(fd, BLKGETSIZE64, &node->size_bytes) < 0 || ioctl(fd, BLKSSZGET, &logical) < 0 ||
	    ioctl(fd, BLKPBSZGET, &physical) < 0 || ioctl(fd, BLKROGET, &read_only) < 0)
		return -errno;
	if (node->diskseq == 0 && ioctl(fd, BLKGETDISKSEQ, &node->diskseq) < 0)
		node->diskseq = 0;	/* before 5.15 */
	node->logical_bytes = (uint32_t)logical;
	node->physical_bytes = physical;
	node->read_only = read_only != 0;
	return 0;
}

static int look_at_block(struct gw_node *node, dev_t dev, struct gw_diag *diag)
{
	struct gw_sysfs_block block;
	uint64_t dax = 0;
	char zoned[32];
	int fd, err;

	if (gw_sysfs_block_find(&block, dev) < 0)
		return gw_fail_exit(diag, GW_EXIT_CANNOT, -ENODEV,
				    "%s: the kernel has no block device %u:%u", node->path,
				    major(dev), minor(dev));
	node->kind = GW_NODE_BLOCK;
	node->dev = dev;
	node->disk_dev = block.disk_dev;
	node->is_partition = block.is_partition;
	node->disk_first_sector = block.first_bytes >> 9;
	snprintf(node->name, sizeof(node->name), "%s", block.name);
	snprintf(node->disk_name, sizeof(node->disk_name), "%s", block.disk_name);
	gw_sysfs_u64(&node->diskseq, "%s/diskseq", block.disk_path);
	node->is_multipath_head = strstr(block.disk_path, "/nvme-subsystem/") != NULL;
	gw_nvme_look(&node->nvme, GW_NVME_CLASS_DIR, block.disk_path);
	gw_sysfs_text(zoned, sizeof(zoned), "%s/queue/zoned", block.disk_path);
	node->is_zoned = zoned[0] != '\0' && strcmp(zoned, "none") != 0;
	node->has_dax = gw_sysfs_u64(&dax, "%s/queue/dax", block.disk_path) && dax != 0;
	look_at_queues(node, block.disk_path);

	fd = open(node->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	if (fd < 0)
		return gw_fail_exit(diag, GW_EXIT_CANNOT, -errno, "cannot open %s: %s", node->path,
				    strerror(errno));
	err = look_by_ioctl(node, fd);
	close(fd);
	if (err < 0)
		return gw_fail_exit(diag, GW_EXIT_CANNOT, err, "cannot ask %s for its size: %s",
				    node->path, strerror(-err));
	find_stable_id(node, &block);
	return 0;
}

static void look_at_file(struct gw_node *node, const struct stat *st)
{
	node->kind = GW_NODE_FILE;
	snprintf(node->name, sizeof(node->name), "%.63s", strrchr(node->path, '/') + 1);
	node->size_bytes = (uint64_t)st->st_size;
	node->logical_bytes = 1;
	node->physical_bytes = (uint32_t)st->st_blksize;
	node->read_only = access(node->path, W_OK) < 0;
	node->file_dev = st->st_dev;
	node->file_ino = st->st_ino;
}

int gw_node_look(struct gw_node *node, const char *path, struct gw_diag *diag)
{
	struct stat st;
	int err = 0;

	memset(node, 0, sizeof(*node));
	if (path == NULL || path[0] == '\0')
		return gw_fail_exit(diag, GW_EXIT_CANNOT, -ENOENT, "no path was given");
	if (realpath(path, node->path) == NULL || stat(node->path, &st) < 0)
		err = gw_fail_exit(diag, GW_EXIT_CANNOT, -errno, "cannot find %s: %s", path,
				   strerror(errno));
	else if (S_ISBLK(st.st_mode))
		err = look_at_block(node, st.st_rdev, diag);
	else if (S_ISREG(st.st_mode))
		look_at_file(node, &st);
	else
		err = gw_fail_exit(diag, GW_EXIT_CANNOT, -ENOTBLK,
				   "%s is neither a block device nor a regular file", path);
	if (err < 0)
		memset(node, 0, sizeof(*node));
	return err;
}

static int check_same_file(const struct gw_node *node, struct gw_diag *diag)
{
	struct stat st;

	if (stat(node->path, &st) < 0)
		return gw_fail_exit(diag, GW_EXIT_UNCLEAR, -ENODEV, "%s is gone: %s", node->path,
				    strerror(errno));
	if (st.st_dev != node->file_dev || st.st_ino != node->file_ino)
		return gw_fail_exit(diag, GW_EXIT_CANNOT, -ESTALE,
				    "%s is another file than it was (inode %llu, was %llu)",
				    node->path, (unsigned long long)st.st_ino,
				    (unsigned long long)node->file_ino);
	if ((uint64_t)st.st_size != node->size_bytes)
		return gw_fail_exit(diag, GW_EXIT_CANNOT, -ESTALE,
				    "%s has changed its size: %llu bytes, was %llu", node->path,
				    (unsigned long long)st.st_size,
				    (unsigned long long)node->size_bytes);
	return 0;
}

/* A reset or a rescan may have put another namespace there. */
static int check_same_namespace(const struct gw_node *node, const char *disk_path,
				struct gw_diag *diag)
{
	struct gw_nvme_place now;

	if (!node->nvme.is_namespace)
		return 0;
	gw_nvme_look(&now, GW_NVME_CLASS_DIR, disk_path);
	if (gw_nvme_is_same(&node->nvme, &now))
		return 0;
	return gw_fail_exit(diag, GW_EXIT_CANNOT, -ESTALE,
			    "%s is another namespace than it was (%u of the drive %s, was %u of %s)",
			    node->path, now.nsid, now.serial, node->nvme.nsid, node->nvme.serial);
}

/* Only sysfs is read: this is called often, and must not wake a disk or fail with it. */
int gw_node_check_same(const struct gw_node *node, struct gw_diag *diag)
{
	struct gw_sysfs_block block;
	char id[sizeof(node->stable_id) - 16];
	uint64_t diskseq = 0, disk_sectors = 0, logical_bytes;

	if (node->kind == GW_NODE_FILE)
		return check_same_file(node, diag);
	if (gw_sysfs_block_find(&block, node->dev) < 0)
		return gw_fail_exit(diag, GW_EXIT_UNCLEAR, -ENODEV, "%s is gone", node->path);
	gw_sysfs_u64(&diskseq, "%s/diskseq", block.disk_path);
	/* A detached loop device may keep its partitions: the disk tells. */
	gw_sysfs_u64(&disk_sectors, "%s/size", block.disk_path);
	if (disk_sectors == 0 && node->size_bytes != 0)
		return gw_fail_exit(diag, GW_EXIT_UNCLEAR, -ENODEV, "%s has lost its medium",
				    node->path);
	if (block.disk_dev != node->disk_dev || diskseq != node->diskseq)
		return gw_fail_exit(diag, GW_EXIT_CANNOT, -ESTALE,
				    "%s is another disk than it was (diskseq %llu, was %llu)",
				    node->path, (unsigned long long)diskseq,
				    (unsigned long long)node->diskseq);
	if (block.size_bytes != node->size_bytes ||
	    block.first_bytes >> 9 != node->disk_first_sector)
		return gw_fail_exit(diag, GW_EXIT_CANNOT, -ESTALE,
				    "%s has changed: %llu bytes from sector %llu, was %llu from %llu",
				    node->path, (unsigned long long)block.size_bytes,
				    (unsigned long long)block.first_bytes >> 9,
				    (unsigned long long)node->size_bytes,
				    (unsigned long long)node->disk_first_sector);
	/* A format changes it, and with it what a command's block numbers mean. */
	if (gw_sysfs_u64(&logical_bytes, "%s/queue/logical_block_size", block.disk_path) &&
	    logical_bytes != node->logical_bytes)
		return gw_fail_exit(diag, GW_EXIT_CANNOT, -ESTALE,
				    "%s has changed: sectors of %llu bytes, were %u", node->path,
				    (unsigned long long)logical_bytes, node->logical_bytes);
	if (node->stable_id[0] != '\0' && find_disk_id(id, sizeof(id), block.disk_path) &&
	    strncmp(id, node->stable_id, strlen(id)) != 0)
		return gw_fail_exit(diag, GW_EXIT_CANNOT, -ESTALE,
				    "%s is another disk than it was (%s, was %s)", node->path, id,
				    node->stable_id);
	return check_same_namespace(node, block.disk_path, diag);
}

bool gw_node_is_claimed(const struct gw_node *node)
{
	int fd;

	if (node->kind == GW_NODE_FILE)
		return false;
	fd = open(node->path, O_RDONLY | O_EXCL | O_CLOEXEC | O_NONBLOCK);
	if (fd < 0)
		return errno == EBUSY;
	close(fd);
	return false;
}

static void append(char *text, size_t text_bytes, const char *format, const char *value)
{
	const size_t length = strlen(text);

	snprintf(text + length, text_bytes - length, format, value);
}

static void name_signature(blkid_probe probe, char *text, size_t text_bytes)
{
	const char *type = NULL, *usage = NULL, *label = NULL, *table = NULL;

	blkid_probe_lookup_value(probe, "TYPE", &type, NULL);
	blkid_probe_lookup_value(probe, "USAGE", &usage, NULL);
	blkid_probe_lookup_value(probe, "LABEL", &label, NULL);
	blkid_probe_lookup_value(probe, "PTTYPE", &table, NULL);
	if (type != NULL) {
		append(text, text_bytes, "%s", type);
		if (usage != NULL && strcmp(usage, "filesystem") == 0)
			append(text, text_bytes, "%s", " file system");
		if (label != NULL)
			append(text, text_bytes, " (label %s)", label);
	}
	if (table != NULL) {
		append(text, text_bytes, "%s", type != NULL ? " and " : "");
		append(text, text_bytes, "%s partition table", table);
	}
}

int gw_node_signature(const struct gw_node *node, char *text, size_t text_bytes,
		      struct gw_diag *diag)
{
	blkid_probe probe;
	int answer;

	text[0] = '\0';
	/* libblkid takes no empty device, and there is nothing on one. */
	if (node->size_bytes == 0)
		return 0;
	errno = 0;
	probe = blkid_new_probe_from_filename(node->path);
	if (probe == NULL) {
		const int err = errno != 0 ? -errno : -ENOMEM;

		return gw_fail_exit(diag, GW_EXIT_CANNOT, err,
				    "cannot look for signatures on %s: %s", node->path,
				    strerror(-err));
	}
	blkid_probe_enable_superblocks(probe, 1);
	blkid_probe_set_superblocks_flags(probe, BLKID_SUBLKS_LABEL | BLKID_SUBLKS_TYPE |
							 BLKID_SUBLKS_USAGE);
	blkid_probe_enable_partitions(probe, 1);
	blkid_probe_set_partitions_flags(probe, BLKID_PARTS_MAGIC);
	errno = 0;
	answer = blkid_do_safeprobe(probe);
	if (answer == 0)
		name_signature(probe, text, text_bytes);
	else if (answer == -2)
		snprintf(text, text_bytes, "several signatures");
	blkid_free_probe(probe);
	if (answer == -1)
		return gw_fail_exit(diag, GW_EXIT_IO, errno != 0 ? -errno : -EIO,
				    "cannot read %s to look for signatures", node->path);
	return 0;
}

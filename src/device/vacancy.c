// SPDX-License-Identifier: GPL-2.0-or-later
#include "vacancy.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fsmap.h>
#include <linux/nvme_ioctl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "blkinfo_sysfs.h"
#include "lba_status.h"
#include "nvme_answers.h"
#include "nvme_ask.h"

#define STATUS_BYTES 4096u		/* within the limit of every drive */
#define FSMAP_RECORDS 512u

/* ---- the drive ---- */

struct on_node {
	gw_extent_fn fn;
	void *arg;
	uint64_t first_bytes, end_bytes;	/* of the node, on the disk */
	uint32_t lba_bytes;
};

static void pass_range(void *arg, uint64_t first_blk, uint64_t count_blk)
{
	const struct on_node *const on = arg;
	uint64_t first = first_blk * on->lba_bytes, end = first + count_blk * on->lba_bytes;

	if (first < on->first_bytes)
		first = on->first_bytes;
	if (end > on->end_bytes)
		end = on->end_bytes;
	if (first < end)
		on->fn(on->arg, first - on->first_bytes, end - on->first_bytes);
}

static int ask_status(const struct gw_node *node, const struct gw_lba_status *status,
		      uint8_t data[STATUS_BYTES])
{
	struct nvme_passthru_cmd command = {
		.opcode = GW_NVME_GET_LBA_STATUS,
		.nsid = node->nvme.nsid,
		.addr = (uintptr_t)data,
		.data_len = STATUS_BYTES,
		.cdw10 = (uint32_t)status->next_blk,
		.cdw11 = (uint32_t)(status->next_blk >> 32),
		.cdw12 = STATUS_BYTES / 4 - 1,
		.cdw13 = NVME_LBA_STATUS_ALLOCATED << 24,	/* to the end of the namespace */
	};

	memset(data, 0, STATUS_BYTES);
	return gw_nvme_ask(&node->nvme, &command);
}

/* Is what is not allocated known, and known to read as zeroes? */
static int can_tell(struct gw_nvme_facts *facts, const struct gw_node *node, struct gw_diag *diag)
{
	struct gw_nvme_answers *answers;
	int err;

	if (node->kind != GW_NODE_BLOCK || !node->nvme.is_namespace)
		return gw_fail(diag, -EOPNOTSUPP, "%s is no NVMe namespace", node->path);
	answers = malloc(sizeof(*answers));
	err = answers == NULL ? -ENOMEM : gw_nvme_ask_all(answers, node);
	if (err == 0)
		err = gw_nvme_read_facts(facts, answers);
	free(answers);
	if (err < 0)
		return gw_fail(diag, err, "the drive of %s cannot be asked: %s", node->path,
			       strerror(-err));
	if (!facts->tells_allocation)
		return gw_fail(diag, -EOPNOTSUPP, "the drive of %s does not report allocated "
			       "blocks (Get LBA Status 02h)", node->path);
	if (facts->deallocated != GW_NVME_DEALLOCATED_ZEROES)
		return gw_fail(diag, -EOPNOTSUPP, "deallocated blocks of %s need not read as zeroes",
			       node->path);
	return 0;
}

int gw_allocated_by_drive(const struct gw_node *node, gw_extent_fn fn, void *arg,
			  struct gw_diag *diag)
{
	struct gw_nvme_facts facts;
	struct gw_lba_status status;
	struct on_node on;
	uint8_t data[STATUS_BYTES];
	int err = can_tell(&facts, node, diag);

	if (err < 0)
		return err;
	on = (struct on_node){
		.fn = fn,
		.arg = arg,
		.first_bytes = node->disk_first_sector << 9,
		.end_bytes = (node->disk_first_sector << 9) + node->size_bytes,
		.lba_bytes = facts.format.lba_bytes,
	};
	gw_lba_status_begin(&status, facts.size_blk);
	while (err == 0 && !status.is_done) {
		err = ask_status(node, &status, data);
		if (err == 0)
			err = gw_lba_status_take(&status, data, sizeof(data), pass_range, &on);
	}
	return err < 0 ? gw_fail(diag, err, "the drive of %s does not say which blocks are "
				 "allocated: %s", node->path, strerror(-err)) : 0;
}

/* ---- file systems ---- */

/* A device number as the kernel's fsmap has it. */
static uint32_t fsmap_device(dev_t dev)
{
	const uint32_t low = minor(dev) & 0xff, high = minor(dev) & ~0xffu;

	return low | major(dev) << 8 | high << 12;
}

struct fs_place {
	uint64_t first_bytes, end_bytes;	/* of the file system's device, on the node */
	uint32_t device;
};

static int find_place(struct fs_place *place, const struct gw_node *node,
		      const struct gw_mount *mount)
{
	const uint64_t node_first = node->disk_first_sector << 9;
	struct gw_sysfs_block block;

	if (gw_sysfs_block_find(&block, mount->dev) < 0 || block.disk_dev != node->disk_dev ||
	    block.first_bytes < node_first || block.size_bytes > node->size_bytes ||
	    block.first_bytes - node_first > node->size_bytes - block.size_bytes)
		return -EOPNOTSUPP;
	place->first_bytes = block.first_bytes - node_first;
	place->end_bytes = place->first_bytes + block.size_bytes;
	place->device = fsmap_device(mount->dev);
	return 0;
}

static void pass_free(const struct fsmap_head *head, const struct fs_place *place, gw_extent_fn fn,
		      void *arg)
{
	const uint64_t size_bytes = place->end_bytes - place->first_bytes;

	for (uint32_t i = 0; i < head->fmh_entries; i++) {
		const struct fsmap *const record = &head->fmh_recs[i];

		if (record->fmr_device != place->device ||
		    (record->fmr_flags & FMR_OF_SPECIAL_OWNER) == 0 ||
		    record->fmr_owner != FMR_OWN_FREE || record->fmr_physical > size_bytes ||
		    record->fmr_length > size_bytes - record->fmr_physical)
			continue;
		fn(arg, place->first_bytes + record->fmr_physical,
		   place->first_bytes + record->fmr_physical + record->fmr_length);
	}
}

static int walk_map(int fd, struct fsmap_head *head, const struct fs_place *place, gw_extent_fn fn,
		    void *arg)
{
	memset(head, 0, sizeof(*head));
	head->fmh_count = FSMAP_RECORDS;
	/* To the end; XFS refuses a key that has a length. */
	head->fmh_keys[1] = (struct fsmap){
		.fmr_device = UINT32_MAX,
		.fmr_flags = UINT32_MAX,
		.fmr_physical = UINT64_MAX,
		.fmr_owner = UINT64_MAX,
		.fmr_offset = UINT64_MAX,
	};
	for (;;) {
		const struct fsmap *last;

		if (ioctl(fd, FS_IOC_GETFSMAP, head) != 0)
			return errno == ENOTTY ? -EOPNOTSUPP : -errno;
		if (head->fmh_entries == 0)
			return 0;
		if (head->fmh_entries > FSMAP_RECORDS)
			return -EPROTO;
		pass_free(head, place, fn, arg);
		last = &head->fmh_recs[head->fmh_entries - 1];
		if ((last->fmr_flags & FMR_OF_LAST) != 0)
			return 0;
		fsmap_advance(head);
	}
}

int gw_free_by_file_system(const struct gw_node *node, const struct gw_mount *mount,
			   gw_extent_fn fn, void *arg, struct gw_diag *diag)
{
	struct fsmap_head *head;
	struct fs_place place;
	int fd, err;

	if (strcmp(mount->fs_type, "ext4") != 0 && strcmp(mount->fs_type, "xfs") != 0)
		return gw_fail(diag, -EOPNOTSUPP, "%s: free space of %s is not asked for (ext4 and "
			       "XFS are)", mount->dir, mount->fs_type);
	if (find_place(&place, node, mount) < 0)
		return gw_fail(diag, -EOPNOTSUPP, "%s does not lie on %s directly", mount->dir,
			       node->path);
	head = malloc(fsmap_sizeof(FSMAP_RECORDS));
	fd = open(mount->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	err = head == NULL ? -ENOMEM : fd < 0 ? -errno : walk_map(fd, head, &place, fn, arg);
	/* What was freed just now must not come back by a journal that never heard of it. */
	if (err == 0 && syncfs(fd) != 0)
		err = -errno;
	if (fd >= 0)
		close(fd);
	free(head);
	return err < 0 ? gw_fail(diag, err, "%s: free space: %s", mount->dir, strerror(-err)) : 0;
}

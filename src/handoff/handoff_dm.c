// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The device-mapper device above the source is suspended, gets a table on the
 * target, and is resumed: its users notice a pause (docs/handoff.md). The table is
 * loaded before the commit, so that after it nothing is left but the resume.
 */
#include "handoff_dm.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysmacros.h>
#include <time.h>
#include <unistd.h>

#include "blkinfo_sysfs.h"
#include "boot.h"
#include "fault.h"
#include "freeze_check.h"
#include "handoff_ops.h"
#include "mount_fd.h"

/* A killed predecessor's ring holds the target for a moment longer; see open_claimed() in pipeline.c. */
#define CLAIM_TRIES 500
#define CLAIM_NAP_NS 10000000

struct dm {
	struct gw_dm_device device;	/* as found by prepare; its table is the way back */
	struct gw_dm_table moved;	/* the same on the target */
	char boot_id[GW_BOOT_ID_BYTES];
};

/* ---- Can it work? ---- */

struct other_users {
	dev_t dm;
	char name[GW_NAME_BYTES];	/* of another holder */
};

static int note_other(void *arg, dev_t dev)
{
	struct other_users *const others = arg;
	struct gw_node node;

	if (dev == others->dm || gw_freeze_look(&node, dev) != 0)
		return 0;
	snprintf(others->name, sizeof(others->name), "%s", node.name);
	return 1;
}

/* The device-mapper device must be the only one that writes to the source. */
static int check_users(const char *name, const struct gw_node *source, dev_t dm,
		       struct gw_diag *diag)
{
	struct other_users others = { .dm = dm };
	char holders[PATH_MAX];

	snprintf(holders, sizeof(holders), "/sys/class/block/%s/holders", source->name);
	if (gw_sysfs_each_dev(holders, note_other, &others) > 0)
		return gw_fail_exit(diag, GW_EXIT_CANNOT, -EBUSY,
				    "%s is used by %s too, which the suspend of %s does not stop; "
				    "take that down, or use --handoff exec", source->path,
				    others.name, name);
	return 0;
}

static int check_segments(const char *name, const struct gw_dm_table *table,
			  const struct gw_node *source, const struct gw_node *target,
			  struct gw_diag *diag)
{
	uint64_t end_sector;
	const uint32_t count = gw_dm_table_count_on(table, source->dev, &end_sector);

	for (uint32_t i = 0; i < table->count; i++) {
		struct gw_node node;

		if (table->segments[i].dev != source->dev &&
		    gw_freeze_look(&node, table->segments[i].dev) == 0 &&
		    node.disk_dev == source->disk_dev &&
		    (node.dev == source->disk_dev || source->dev == source->disk_dev))
			return gw_fail_exit(diag, GW_EXIT_CANNOT, -EINVAL,
					    "%s maps %s, not the source %s: name what it maps",
					    name, node.path, source->path);
	}
	if (count == 0)
		return gw_fail_exit(diag, GW_EXIT_CANNOT, -EINVAL,
				    "%s does not map the source %s (dmsetup table %s)", name,
				    source->path, name);
	if (end_sector > target->size_bytes >> 9)
		return gw_fail_exit(diag, GW_EXIT_CANNOT, -ENOSPC,
				    "%s maps sectors up to %" PRIu64 ", target %s has %" PRIu64,
				    name, end_sector, target->path, target->size_bytes >> 9);
	return 0;
}

int gw_handoff_dm_check(const char *name, const struct gw_node *source,
			const struct gw_node *target, struct gw_dm_device *device,
			struct gw_diag *diag)
{
	int err;

	if (source->kind != GW_NODE_BLOCK || target->kind != GW_NODE_BLOCK)
		return gw_fail_exit(diag, GW_EXIT_CANNOT, -ENOTBLK,
				    "--handoff dm needs block devices as source and target");
	err = gw_dm_look(device, name, diag);
	if (err < 0) {
		if (diag != NULL && diag->exit_code == GW_EXIT_DONE)
			diag->exit_code = GW_EXIT_CANNOT;
		return err;
	}
	if (!device->exists)
		return gw_fail_exit(diag, GW_EXIT_CANNOT, -ENXIO,
				    "there is no device-mapper device %s; dmsetup ls lists them", name);
	if (device->is_suspended)
		return gw_fail_exit(diag, GW_EXIT_CANNOT, -EBUSY,
				    "%s is suspended; resume it first (dmsetup resume %s)", name,
				    name);
	if (device->has_inactive_table)
		return gw_fail_exit(diag, GW_EXIT_CANNOT, -EBUSY,
				    "%s has another table loaded, of somebody else's work; finish "
				    "that, or dmsetup clear %s", name, name);
	if (!device->is_linear || device->table.count == 0)
		return gw_fail_exit(diag, GW_EXIT_CANNOT, -EOPNOTSUPP,
				    "%s is not made of linear segments (up to %d) alone; use "
				    "--handoff exec with commands that reload its table", name,
				    GW_DM_SEGMENTS_MAX);
	err = check_segments(name, &device->table, source, target, diag);
	return err < 0 ? err : check_users(name, source, device->dev, diag);
}

/* ---- Prepare. ---- */

static int load_patiently(const char *name, const struct gw_dm_table *table, bool is_read_only,
			  struct gw_diag *diag)
{
	const struct timespec nap = { 0, CLAIM_NAP_NS };
	int err = -EBUSY;

	for (int i = 0; err == -EBUSY && i < CLAIM_TRIES; i++) {
		if (i > 0)
			nanosleep(&nap, NULL);
		err = gw_dm_load(name, table, is_read_only, diag);
	}
	if (err == -EBUSY)
		return gw_fail_exit(diag, GW_EXIT_CANNOT, err,
				    "device-mapper cannot use the target: somebody has claimed it");
	return err;
}

/*
 * Tries the table on a device of its own that never runs: a loaded table on the real one would
 * wait there for anybody's resume, for as long as the copy takes.
 */
static int try_table(struct gw_handoff *handoff, const struct dm *dm, struct gw_diag *diag)
{
	struct gw_dm_device stale;
	char name[GW_DM_NAME_BYTES];
	int err, removed;

	snprintf(name, sizeof(name), "godwit-try-%.100s", handoff->config.migration);
	err = gw_dm_look(&stale, name, diag);
	if (err == 0 && stale.exists)
		err = gw_dm_remove(name, diag);
	if (err == 0)
		err = gw_dm_create_empty(name, diag);
	if (err < 0)
		return err;
	err = load_patiently(name, &dm->moved, dm->device.is_read_only, diag);
	removed = gw_dm_remove(name, diag);
	return err < 0 ? err : removed;
}

static void say_what_stays(const struct gw_handoff *handoff, const struct dm *dm,
			   struct gw_diag *diag)
{
	const char *const name = handoff->config.dm_name;

	if (strncmp(dm->device.uuid, "LVM-", 4) == 0)
		gw_say(diag, GW_WARNING, "%s belongs to LVM, whose metadata is copied with %s: after "
		       "the switch both drives hold the same physical volume. Before LVM scans again "
		       "(a reboot, vgscan), remove the old drive or wipe it (wipefs -a %s)", name,
		       handoff->config.source->path, handoff->config.source->path);
	else
		gw_say(diag, GW_NOTE, "%s will map %s until it is set up anew: whatever makes it at boot "
		       "must name %s from the switch on", name, handoff->config.target->path,
		       handoff->config.target->path);
}

static int prepare(struct gw_handoff *handoff, struct gw_diag *diag)
{
	const struct gw_handoff_config *const config = &handoff->config;
	struct dm *dm;
	int err;

	if (config->dm_name == NULL || strlen(config->dm_name) >= GW_DM_NAME_BYTES)
		return gw_fail_exit(diag, GW_EXIT_CANNOT, -EINVAL,
				    "--handoff dm:NAME needs the name of a device-mapper device");
	assert(handoff->self == NULL);
	dm = calloc(1, sizeof(*dm));
	if (dm == NULL)
		return gw_fail(diag, -ENOMEM, "no memory for the hand-off");
	handoff->self = dm;
	gw_boot_id(dm->boot_id);
	err = gw_handoff_dm_check(config->dm_name, config->source, config->target, &dm->device,
				  diag);
	if (err == 0)
		err = gw_freeze_check_own_files(config->source, NULL, 0, config->keep_writable,
						diag);
	if (err == 0)
		err = gw_freeze_lock_memory(diag);
	if (err < 0)
		return err;
	dm->moved = dm->device.table;
	gw_dm_table_move(&dm->moved, config->source->dev, config->target->dev);
	err = try_table(handoff, dm, diag);
	if (err < 0) {
		if (diag != NULL)
			diag->exit_code = GW_EXIT_CANNOT;
		return err;
	}
	say_what_stays(handoff, dm, diag);
	return 0;
}

static void put_table(struct json_object *recovery, const char *key,
		      const struct gw_dm_table *table)
{
	struct json_object *const lines = json_object_new_array();
	char text[GW_DM_LINE_BYTES];

	for (uint32_t i = 0; i < table->count; i++)
		json_object_array_add(lines, json_object_new_string(
			gw_dm_segment_text(&table->segments[i], text)));
	json_object_object_add(recovery, key, lines);
}

static void describe(struct gw_handoff *handoff, struct json_object *recovery)
{
	const struct dm *const dm = handoff->self;
	const struct gw_handoff_config *const config = &handoff->config;

	json_object_object_add(recovery, "boot_id", json_object_new_string(dm->boot_id));
	json_object_object_add(recovery, "dm_name", json_object_new_string(config->dm_name));
	json_object_object_add(recovery, "dm_uuid", json_object_new_string(dm->device.uuid));
	json_object_object_add(recovery, "source_diskseq",
			       json_object_new_int64((int64_t)config->source->diskseq));
	json_object_object_add(recovery, "target_diskseq",
			       json_object_new_int64((int64_t)config->target->diskseq));
	json_object_object_add(recovery, "source_dev",
			       json_object_new_int64((int64_t)config->source->dev));
	json_object_object_add(recovery, "target_dev",
			       json_object_new_int64((int64_t)config->target->dev));
	json_object_object_add(recovery, "read_only",
			       json_object_new_boolean(dm->device.is_read_only));
	put_table(recovery, "table_before", &dm->device.table);
	put_table(recovery, "table_after", &dm->moved);
}

/* ---- What this process, the watchdog, and cleanup do: each step looks first. ---- */

/* Back to the table before. Whether it was suspended or not, whatever was loaded or not. */
static int back_to(const char *name, const struct gw_dm_table *before, struct gw_diag *diag)
{
	struct gw_dm_device now;
	int err = gw_dm_look(&now, name, diag);

	if (err < 0)
		return err;
	if (!now.exists)
		return gw_fail_exit(diag, GW_EXIT_UNCLEAR, -ENXIO, "%s is gone", name);
	if (!now.is_linear || !gw_dm_table_equal(&now.table, before))
		return gw_fail_exit(diag, GW_EXIT_UNCLEAR, -ESTALE,
				    "%s has another table than when the migration began; nothing is "
				    "done to it (dmsetup table %s; dmsetup resume %s)", name, name,
				    name);
	if (now.has_inactive_table)
		err = gw_dm_clear(name, diag);
	if (err == 0 && now.is_suspended)
		err = gw_dm_resume(name, diag);
	return err;
}

/* On to the table after: nothing was written on the table before since the commit. */
static int on_to(const char *name, const struct gw_dm_table *before,
		 const struct gw_dm_table *after, bool is_read_only, struct gw_diag *diag)
{
	struct gw_dm_device now;
	int err = gw_dm_look(&now, name, diag);

	if (err < 0)
		return err;
	if (!now.exists)
		return gw_fail_exit(diag, GW_EXIT_UNCLEAR, -ENXIO, "%s is gone: make it anew on the "
				    "target, never on the source", name);
	if (now.is_linear && gw_dm_table_equal(&now.table, after))
		return now.is_suspended ? gw_dm_resume(name, diag) : 0;
	if (!now.is_linear || !gw_dm_table_equal(&now.table, before) || !now.is_suspended)
		return gw_fail_exit(diag, GW_EXIT_UNCLEAR, -ESTALE,
				    "%s was %s by somebody else after the commit: what was written "
				    "since is not on the target", name,
				    now.is_suspended ? "given another table" : "resumed");
	if (now.has_inactive_table)
		err = gw_dm_clear(name, diag);
	if (err == 0)
		err = load_patiently(name, after, is_read_only, diag);
	gw_fault_point("handoff-dm-loaded-anew");
	if (err == 0)
		err = gw_dm_resume(name, diag);
	return err;
}

/* What is dirty above is written early, so that the suspend has little to do. */
static int sync_above(struct gw_handoff *handoff, struct gw_diag *diag)
{
	const struct dm *const dm = handoff->self;
	char fs_type[GW_MOUNT_FD_TYPE_BYTES];
	struct gw_node node;
	int fd, err = 0;

	if (gw_freeze_look(&node, dm->device.dev) != 0)
		return 0;
	fd = open(node.path, O_RDONLY | O_CLOEXEC);
	if (fd >= 0 && fsync(fd) != 0)
		err = -errno;
	if (fd >= 0)
		close(fd);
	fd = gw_mount_fd_open(dm->device.dev, fs_type);
	if (fd >= 0 && syncfs(fd) != 0)
		err = -errno;
	if (fd >= 0)
		close(fd);
	return err == 0 ? 0 : gw_fail_exit(diag, GW_EXIT_IO, err, "sync of %s: %s",
					   handoff->config.dm_name, strerror(-err));
}

/* ---- Quiesce and back. ---- */

static int recheck(struct gw_handoff *handoff, struct gw_diag *diag)
{
	const struct dm *const dm = handoff->self;
	const struct gw_handoff_config *const config = &handoff->config;
	struct gw_dm_device now;
	int err = gw_handoff_dm_check(config->dm_name, config->source, config->target, &now, diag);

	if (err == 0 && (now.dev != dm->device.dev || strcmp(now.uuid, dm->device.uuid) != 0 ||
			 !gw_dm_table_equal(&now.table, &dm->device.table)))
		err = gw_fail(diag, -ESTALE, "%s has another table than when the migration began; "
			      "nothing was stopped", config->dm_name);
	return err;
}

static int quiesce(struct gw_handoff *handoff, struct gw_diag *diag)
{
	/* First the note, for the watchdog; then the deed. */
	atomic_store(&handoff->watch->touched[0], true);
	return gw_dm_suspend(handoff->config.dm_name, diag);
}

/* What is loaded here is what runs after the commit; until then the way back forgets it. */
static int load(struct gw_handoff *handoff, struct gw_diag *diag)
{
	const struct dm *const dm = handoff->self;

	return load_patiently(handoff->config.dm_name, &dm->moved, dm->device.is_read_only, diag);
}

static int take_back(struct gw_handoff *handoff, struct gw_diag *diag)
{
	const struct dm *const dm = handoff->self;

	/* Each time anew: the watchdog may have been through before a table was loaded here. */
	if (!atomic_load(&handoff->watch->touched[0]))
		return 0;
	return back_to(handoff->config.dm_name, &dm->device.table, diag);
}

/* The common way is short: the table is loaded, the resume swaps it in. */
static int switch_over(struct gw_handoff *handoff, struct gw_diag *diag)
{
	const struct dm *const dm = handoff->self;
	const char *const name = handoff->config.dm_name;
	struct gw_dm_device now;
	int err = gw_dm_look(&now, name, diag);

	if (err == 0 && now.is_suspended && now.has_inactive_table && now.is_linear &&
	    gw_dm_table_equal(&now.table, &dm->device.table))
		err = gw_dm_resume(name, diag);
	gw_fault_point("handoff-dm-resumed");
	return err < 0 ? err : on_to(name, &dm->device.table, &dm->moved,
				     dm->device.is_read_only, diag);
}

static int resume(struct gw_handoff *handoff, struct gw_diag *diag)
{
	(void)handoff;
	(void)diag;
	return 0;
}

static void destroy(struct gw_handoff *handoff)
{
	free(handoff->self);
}

/* ---- Recovery by another process, from a record nobody vouches for. ---- */

static bool read_table(struct json_object *recovery, const char *key, struct gw_dm_table *table)
{
	struct json_object *lines;

	if (!json_object_object_get_ex(recovery, key, &lines) ||
	    !json_object_is_type(lines, json_type_array) ||
	    json_object_array_length(lines) > GW_DM_SEGMENTS_MAX)
		return false;
	for (size_t i = 0; i < json_object_array_length(lines); i++) {
		struct json_object *const line = json_object_array_get_idx(lines, i);

		if (!json_object_is_type(line, json_type_string) ||
		    gw_dm_table_add_line(table, json_object_get_string(line)) < 0)
			return false;
	}
	return table->count > 0;
}

static bool read_u64(struct json_object *recovery, const char *key, uint64_t *value)
{
	struct json_object *object;

	if (!json_object_object_get_ex(recovery, key, &object) ||
	    !json_object_is_type(object, json_type_int) || json_object_get_int64(object) < 0)
		return false;
	*value = (uint64_t)json_object_get_int64(object);
	return true;
}

/* Is the disk behind a number still the one of the record? */
static bool is_same_disk(struct json_object *recovery, const char *dev_key, const char *seq_key)
{
	uint64_t dev, diskseq;
	struct gw_node node;

	return read_u64(recovery, dev_key, &dev) && read_u64(recovery, seq_key, &diskseq) &&
	       gw_freeze_look(&node, (dev_t)dev) == 0 && node.diskseq == diskseq;
}

static int recover(struct json_object *recovery, bool committed, struct gw_diag *diag)
{
	const char *const boot_id = gw_handoff_json_string(recovery, "boot_id", GW_BOOT_ID_BYTES);
	const char *const name = gw_handoff_json_string(recovery, "dm_name", GW_DM_NAME_BYTES);
	const char *const uuid = gw_handoff_json_string(recovery, "dm_uuid", GW_DM_UUID_BYTES);
	struct gw_dm_table before = { 0 }, after = { 0 };
	struct json_object *read_only = NULL;
	struct gw_dm_device now;
	char this_boot[GW_BOOT_ID_BYTES];
	int err;

	if (boot_id == NULL || name == NULL || !read_table(recovery, "table_before", &before) ||
	    !read_table(recovery, "table_after", &after))
		return gw_fail_exit(diag, GW_EXIT_UNCLEAR, -EBADMSG,
				    "the recovery record describes no device-mapper table");
	json_object_object_get_ex(recovery, "read_only", &read_only);
	gw_boot_id(this_boot);
	if (strcmp(boot_id, this_boot) != 0) {
		gw_say(diag, GW_NOTE, "the machine was started anew since: %s is as whoever made it "
		       "left it%s", name, committed ? "; it must map the target now" : "");
		return 0;
	}
	err = gw_dm_look(&now, name, diag);
	if (err < 0)
		return err;
	if (now.exists && strcmp(now.uuid, uuid != NULL ? uuid : "") != 0)
		return gw_fail_exit(diag, GW_EXIT_UNCLEAR, -ESTALE,
				    "%s is another device than the record's; nothing is done to it",
				    name);
	if (!now.exists && !committed) {
		gw_say(diag, GW_NOTE, "%s is gone, so nobody waits on it", name);
		return 0;
	}
	if (!committed)
		return back_to(name, &before, diag);
	if (!is_same_disk(recovery, "target_dev", "target_diskseq"))
		return gw_fail_exit(diag, GW_EXIT_UNCLEAR, -ESTALE,
				    "the target is gone, or is another disk now: %s stays suspended",
				    name);
	return on_to(name, &before, &after, read_only != NULL && json_object_get_boolean(read_only),
		     diag);
}

const struct gw_handoff_ops gw_handoff_dm = {
	.name = "dm",
	.is_watched = true,
	.prepare = prepare,
	.sync = sync_above,
	.describe = describe,
	.recheck = recheck,
	.quiesce = quiesce,
	.load = load,
	.take_back = take_back,
	.switch_over = switch_over,
	.resume = resume,
	.destroy = destroy,
	.recover = recover,
};

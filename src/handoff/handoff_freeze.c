// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * FIFREEZE on every file system that is mounted from the source. Before the
 * commit they are thawed; after it they are shut down first and thawed then, so
 * that writers who wait get an error, not an acknowledgement (docs/handoff.md).
 */
#include "handoff_ops.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <linux/capability.h>
#include <linux/fs.h>

#include "boot.h"
#include "clock.h"
#include "fault.h"
#include "freeze_check.h"
#include "mount_fd.h"
#include "units.h"

/* FS_IOC_SHUTDOWN, EXT4_IOC_SHUTDOWN, XFS_IOC_GOINGDOWN: one number; headers have it only lately. */
#define SHUTDOWN_IOCTL _IOR('X', 125, uint32_t)
#define SHUTDOWN_NO_LOG_FLUSH UINT32_C(2)
#define SHUTDOWN_UNKNOWN_MODE UINT32_C(0x7fff)

/*
 * What can be shut down while it is frozen. f2fs cannot: there the call waits for
 * the thaw. ext2 and ext3 are only right by the driver ext4, which the probe finds.
 */
static const char *const types[] = { "ext4", "ext3", "ext2", "xfs" };

struct freeze {
	struct gw_frozen mounts[GW_WATCH_MOUNTS_MAX];
	uint32_t count;
	char boot_id[GW_BOOT_ID_BYTES];
};

static bool is_known_type(const char *fs_type)
{
	for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++)
		if (strcmp(types[i], fs_type) == 0)
			return true;
	return false;
}

static int shut_down(int fd)
{
	uint32_t mode = SHUTDOWN_NO_LOG_FLUSH;

	return ioctl(fd, SHUTDOWN_IOCTL, &mode) == 0 ? 0 : -errno;
}

/* Not frozen is fine: somebody was here before. */
static int thaw(int fd)
{
	return ioctl(fd, FITHAW, 0) == 0 || errno == EINVAL ? 0 : -errno;
}

/* ---- Prepare. ---- */

static bool may_freeze(void)
{
	struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3] = { 0 };

	return syscall(SYS_capget, &header, data) == 0 && (data[0].effective & (1u << CAP_SYS_ADMIN)) != 0;
}

static int check_type(const struct gw_mount *mount, int fd, struct gw_diag *diag)
{
	uint32_t mode = SHUTDOWN_UNKNOWN_MODE;

	/* Asked for a way of shutting down that nobody has, those who know the call say EINVAL. */
	if (is_known_type(mount->fs_type) && ioctl(fd, SHUTDOWN_IOCTL, &mode) != 0 &&
	    errno == EINVAL)
		return 0;
	return gw_fail_exit(diag, GW_EXIT_CANNOT, -EOPNOTSUPP,
			    "%s on %s cannot be shut down after the switch, so writers could go on "
			    "there unseen (ext4 and XFS can); use --handoff exec, or unmount it and "
			    "use --handoff none", mount->fs_type, mount->dir);
}

static int open_mount(struct gw_frozen *frozen, const struct gw_mount *mount,
		      struct gw_diag *diag)
{
	char fs_type[GW_MOUNT_FD_TYPE_BYTES];

	frozen->mount = *mount;
	frozen->fd = -1;
	if (mount->read_only) {
		gw_say(diag, GW_NOTE, "%s is mounted read-only: it is left alone", mount->dir);
		return 0;
	}
	if (!is_known_type(mount->fs_type))
		return check_type(mount, -1, diag);
	frozen->fd = gw_mount_fd_open(mount->dev, fs_type);
	if (frozen->fd < 0)
		return gw_fail_exit(diag, GW_EXIT_CANNOT, frozen->fd, "cannot open %s: %s",
				    mount->dir, strerror(-frozen->fd));
	return check_type(mount, frozen->fd, diag);
}

static int open_mounts(struct gw_handoff *handoff, struct freeze *freeze, struct gw_diag *diag)
{
	const struct gw_node *const source = handoff->config.source;
	struct gw_mount *mounts;
	const int count = gw_node_mounts(source, &mounts, diag);
	int err = 0;

	if (count < 0)
		return count;
	if (count > GW_WATCH_MOUNTS_MAX)
		err = gw_fail_exit(diag, GW_EXIT_CANNOT, -E2BIG,
				   "%d file systems are mounted from %s; freeze handles up to %d",
				   count, source->path, GW_WATCH_MOUNTS_MAX);
	for (int i = 0; err == 0 && i < count; i++) {
		freeze->count++;
		err = open_mount(&freeze->mounts[i], &mounts[i], diag);
	}
	free(mounts);
	return err;
}

static int prepare(struct gw_handoff *handoff, struct gw_diag *diag)
{
	const struct gw_node *const source = handoff->config.source;
	struct freeze *freeze = handoff->self;
	int err;

	if (source->kind != GW_NODE_BLOCK)
		return gw_fail_exit(diag, GW_EXIT_CANNOT, -ENOTBLK,
				    "%s is a regular file, there is nothing to freeze; use --handoff "
				    "none or exec", source->path);
	if (!may_freeze())
		return gw_fail_exit(diag, GW_EXIT_CANNOT, -EPERM,
				    "freezing a file system needs CAP_SYS_ADMIN: run as root");
	assert(freeze == NULL);
	freeze = calloc(1, sizeof(*freeze));
	if (freeze == NULL)
		return gw_fail(diag, -ENOMEM, "no memory for the hand-off");
	handoff->self = freeze;
	gw_boot_id(freeze->boot_id);
	if ((err = open_mounts(handoff, freeze, diag)) != 0 ||
	    (err = gw_freeze_check_users(source, freeze->mounts, freeze->count, diag)) != 0)
		return err;
	if (freeze->count == 0)
		return gw_fail_exit(diag, GW_EXIT_CANNOT, -ENOENT,
				    "nothing is mounted from %s, so there is nothing to freeze; use "
				    "--handoff none if nobody writes to it, else --handoff exec",
				    source->path);
	err = gw_freeze_check_own_files(source, freeze->mounts, freeze->count,
					handoff->config.keep_writable, diag);
	return err != 0 ? err : gw_freeze_lock_memory(diag);
}

static void describe(struct gw_handoff *handoff, struct json_object *recovery)
{
	const struct freeze *const freeze = handoff->self;
	struct json_object *const mounts = json_object_new_array();

	json_object_object_add(recovery, "boot_id", json_object_new_string(freeze->boot_id));
	for (uint32_t i = 0; i < freeze->count; i++) {
		const struct gw_mount *const mount = &freeze->mounts[i].mount;
		struct json_object *entry;
		char dev[32];

		if (freeze->mounts[i].fd < 0)
			continue;
		entry = json_object_new_object();
		snprintf(dev, sizeof(dev), "%u:%u", major(mount->dev), minor(mount->dev));
		json_object_object_add(entry, "dir", json_object_new_string(mount->dir));
		json_object_object_add(entry, "fs_type", json_object_new_string(mount->fs_type));
		json_object_object_add(entry, "dev", json_object_new_string(dev));
		json_object_object_add(entry, "diskseq",
			json_object_new_int64((int64_t)handoff->config.source->diskseq));
		json_object_array_add(mounts, entry);
	}
	json_object_object_add(recovery, "mounts", mounts);
}

static int sync_all(struct gw_handoff *handoff, struct gw_diag *diag)
{
	const struct freeze *const freeze = handoff->self;

	for (uint32_t i = 0; i < freeze->count; i++)
		if (freeze->mounts[i].fd >= 0 && syncfs(freeze->mounts[i].fd) != 0)
			return gw_fail_exit(diag, GW_EXIT_IO, -errno, "syncfs of %s failed: %s",
					    freeze->mounts[i].mount.dir, strerror(errno));
	return 0;
}

/* ---- Quiesce and back. ---- */

static uint32_t keep_fds(struct gw_handoff *handoff, int fds[GW_WATCHDOG_FDS_MAX])
{
	const struct freeze *const freeze = handoff->self;
	uint32_t count = 0;

	for (uint32_t i = 0; i < freeze->count; i++)
		if (freeze->mounts[i].fd >= 0)
			fds[count++] = freeze->mounts[i].fd;
	return count;
}

/* Minutes or days have passed since prepare: whatever was mounted since is no part of the plan. */
static int recheck(struct gw_handoff *handoff, struct gw_diag *diag)
{
	const struct freeze *const freeze = handoff->self;
	struct gw_mount *mounts;
	const int count = gw_node_mounts(handoff->config.source, &mounts, diag);
	int err = 0;

	if (count < 0)
		return count;
	for (int i = 0; err == 0 && i < count; i++) {
		bool is_planned = mounts[i].read_only;

		for (uint32_t j = 0; j < freeze->count; j++)
			is_planned |= freeze->mounts[j].mount.dev == mounts[i].dev &&
				      freeze->mounts[j].fd >= 0;
		if (!is_planned)
			err = gw_fail(diag, -EBUSY, "%s was mounted for writing since the migration "
				      "began; nothing was stopped", mounts[i].dir);
	}
	free(mounts);
	return err != 0 ? err : gw_freeze_check_users(handoff->config.source, freeze->mounts,
						      freeze->count, diag);
}

static int freeze_one(struct gw_handoff *handoff, uint32_t i, struct gw_diag *diag)
{
	const struct freeze *const freeze = handoff->self;
	const char *const dir = freeze->mounts[i].mount.dir;
	const uint64_t start_ns = gw_now_ns(&gw_clock_monotonic);
	char cost[GW_UNIT_TEXT_BYTES];
	int err;

	/* First the note, for the watchdog; then the deed. */
	atomic_store(&handoff->watch->touched[i], true);
	if (ioctl(freeze->mounts[i].fd, FIFREEZE, 0) != 0) {
		err = -errno;
		atomic_store(&handoff->watch->touched[i], false);
		if (err == -EBUSY)
			return gw_fail(diag, err, "%s is frozen already, by somebody else: thaw it "
				       "(fsfreeze -u %s) if nobody needs that", dir, dir);
		return gw_fail(diag, err, "cannot freeze %s: %s", dir, strerror(-err));
	}
	gw_say(diag, GW_DEBUG, "froze %s in %s", dir,
	       gw_format_duration(cost, gw_now_ns(&gw_clock_monotonic) - start_ns));
	return 0;
}

/*
 * Once the deadline has passed there is no use in going on. The caller looks again
 * after the last one: the watchdog's thaw may have come before that freeze.
 */
static int quiesce(struct gw_handoff *handoff, struct gw_diag *diag)
{
	const struct freeze *const freeze = handoff->self;
	int err = 0;

	for (uint32_t i = 0; i < freeze->count && err == 0; i++) {
		if (freeze->mounts[i].fd < 0 || !gw_watch_is_armed(handoff->watch))
			continue;
		err = freeze_one(handoff, i, diag);
		gw_fault_point("handoff-froze");
	}
	return err;
}

static int take_back(struct gw_handoff *handoff, struct gw_diag *diag)
{
	const struct freeze *const freeze = handoff->self;
	int first = 0;

	for (uint32_t i = 0; i < freeze->count; i++) {
		int err;

		if (freeze->mounts[i].fd < 0 || !atomic_load(&handoff->watch->touched[i]))
			continue;
		err = thaw(freeze->mounts[i].fd);
		if (err != 0)
			err = gw_fail_exit(diag, GW_EXIT_UNCLEAR, err,
					   "cannot thaw %s: %s; try fsfreeze -u %s",
					   freeze->mounts[i].mount.dir, strerror(-err),
					   freeze->mounts[i].mount.dir);
		first = first != 0 ? first : err;
	}
	return first;
}

/* ---- After the commit. ---- */

static int fail_shut_down(struct gw_diag *diag, const char *dir, int err)
{
	return gw_fail_exit(diag, GW_EXIT_UNCLEAR, -EIO,
			    "cannot shut down %s (%s): it stays frozen, for only the target may run "
			    "now; end its writers, then unmount it", dir, strerror(-err));
}

/* All are shut down before one is thawed; what could not be shut down stays frozen. */
static int switch_over(struct gw_handoff *handoff, struct gw_diag *diag)
{
	const struct freeze *const freeze = handoff->self;
	bool is_down[GW_WATCH_MOUNTS_MAX] = { false };
	int first = 0;

	for (uint32_t i = 0; i < freeze->count; i++) {
		int err;

		if (freeze->mounts[i].fd < 0)
			continue;
		err = shut_down(freeze->mounts[i].fd);
		is_down[i] = err == 0;
		if (err != 0)
			err = fail_shut_down(diag, freeze->mounts[i].mount.dir, err);
		first = first != 0 ? first : err;
	}
	gw_fault_point("handoff-shut-down");
	for (uint32_t i = 0; i < freeze->count; i++) {
		int err;

		if (!is_down[i])
			continue;
		err = thaw(freeze->mounts[i].fd);
		if (err != 0)
			err = gw_fail_exit(diag, GW_EXIT_UNCLEAR, err,
					   "cannot thaw %s: %s; it is shut down, its writers hang",
					   freeze->mounts[i].mount.dir, strerror(-err));
		first = first != 0 ? first : err;
	}
	return first;
}

static int resume(struct gw_handoff *handoff, struct gw_diag *diag)
{
	(void)handoff;
	(void)diag;
	return 0;
}

static void destroy(struct gw_handoff *handoff)
{
	struct freeze *const freeze = handoff->self;

	if (freeze == NULL)
		return;
	for (uint32_t i = 0; i < freeze->count; i++)
		if (freeze->mounts[i].fd >= 0)
			close(freeze->mounts[i].fd);
	free(freeze);
}

/* ---- Recovery by another process, from a record nobody vouches for. ---- */

struct recovered {
	int fd;				/* -1: gone, nothing to do */
	char dir[PATH_MAX];
	bool is_down;
};

/* Is the disk behind dev still the one of the record? */
static bool is_same_disk(const struct gw_node *node, struct json_object *entry)
{
	struct json_object *value;

	return json_object_object_get_ex(entry, "diskseq", &value) &&
	       json_object_is_type(value, json_type_int) &&
	       (uint64_t)json_object_get_int64(value) == node->diskseq;
}

/* Finds the mount of one entry. Return: 0 (fd -1 if it is gone), or negative errno, said. */
static int open_recovered(struct recovered *recovered, struct json_object *entry,
			  struct gw_diag *diag)
{
	const char *const dir = gw_handoff_json_string(entry, "dir", PATH_MAX);
	const char *const want_type = gw_handoff_json_string(entry, "fs_type",
							     GW_MOUNT_FD_TYPE_BYTES);
	const char *const dev_text = gw_handoff_json_string(entry, "dev", 32);
	char fs_type[GW_MOUNT_FD_TYPE_BYTES] = "", more;
	struct gw_node node;
	unsigned int maj, min;
	dev_t dev;
	int fd;

	if (dir == NULL || want_type == NULL || dev_text == NULL || !is_known_type(want_type) ||
	    sscanf(dev_text, "%u:%u%c", &maj, &min, &more) != 2)
		return gw_fail_exit(diag, GW_EXIT_UNCLEAR, -EBADMSG,
				    "the recovery record describes no mount");
	snprintf(recovered->dir, sizeof(recovered->dir), "%s", dir);
	dev = makedev(maj, min);
	if (gw_freeze_look(&node, dev) != 0 || !is_same_disk(&node, entry)) {
		gw_say(diag, GW_NOTE, "%s: its device is gone, or is another one now", dir);
		return 0;
	}
	/* By device, not by directory: another file system may be mounted there now. */
	fd = gw_mount_fd_open(dev, fs_type);
	if (fd == -ENOENT && gw_freeze_is_claimed(&node) != 0)
		return gw_fail_exit(diag, GW_EXIT_UNCLEAR, -EBUSY,
				    "%s is not mounted here, but its device is in use: if it is "
				    "mounted in another namespace, run this there", dir);
	if (fd == -ENOENT) {
		gw_say(diag, GW_NOTE, "%s is no longer mounted", dir);
		return 0;
	}
	if (fd == -EIO) {
		gw_say(diag, GW_NOTE, "%s is shut down already, and no process that is seen here has "
		       "a file open on it", dir);
		return 0;
	}
	if (fd < 0)
		return gw_fail_exit(diag, GW_EXIT_UNCLEAR, fd, "cannot open %s: %s", dir,
				    strerror(-fd));
	if (strcmp(fs_type, want_type) != 0) {
		close(fd);
		gw_say(diag, GW_NOTE, "%s holds another file system now", dir);
		return 0;
	}
	recovered->fd = fd;
	return 0;
}

/* As switch_over() and take_back(), for what was found. */
static int undo_or_finish(struct recovered *all, size_t count, bool committed,
			  struct gw_diag *diag)
{
	int first = 0;

	for (size_t i = 0; i < count; i++) {
		int err = 0;

		if (all[i].fd >= 0 && committed)
			err = shut_down(all[i].fd);
		all[i].is_down = err == 0;
		if (err != 0)
			err = fail_shut_down(diag, all[i].dir, err);
		first = first != 0 ? first : err;
	}
	for (size_t i = 0; i < count; i++) {
		int err;

		if (all[i].fd < 0 || !all[i].is_down)
			continue;
		err = thaw(all[i].fd);
		if (err != 0)
			err = gw_fail_exit(diag, GW_EXIT_UNCLEAR, err, "cannot thaw %s: %s",
					   all[i].dir, strerror(-err));
		first = first != 0 ? first : err;
	}
	return first;
}

/* Frozen or not ends with the kernel that did it. */
static bool is_this_boot(struct json_object *recovery)
{
	const char *const then = gw_handoff_json_string(recovery, "boot_id", GW_BOOT_ID_BYTES);
	char now[GW_BOOT_ID_BYTES];

	gw_boot_id(now);
	return then != NULL && strcmp(then, now) == 0;
}

static int recover(struct json_object *recovery, bool committed, struct gw_diag *diag)
{
	struct json_object *mounts;
	struct recovered *all;
	size_t count;
	int first = 0, err;

	if (!json_object_object_get_ex(recovery, "mounts", &mounts) ||
	    !json_object_is_type(mounts, json_type_array) ||
	    json_object_array_length(mounts) > GW_WATCH_MOUNTS_MAX)
		return gw_fail_exit(diag, GW_EXIT_UNCLEAR, -EBADMSG,
				    "the recovery record has no list of mounts");
	if (!is_this_boot(recovery)) {
		gw_say(diag, GW_NOTE, "the machine was started anew since: nothing is frozen");
		return 0;
	}
	count = json_object_array_length(mounts);
	all = calloc(count + 1, sizeof(*all));
	if (all == NULL)
		return gw_fail(diag, -ENOMEM, "no memory for %zu mounts", count);
	/* One that cannot be helped does not keep the others waiting. */
	for (size_t i = 0; i < count; i++) {
		all[i].fd = -1;
		err = open_recovered(&all[i], json_object_array_get_idx(mounts, i), diag);
		first = first != 0 ? first : err;
	}
	err = undo_or_finish(all, count, committed, diag);
	for (size_t i = 0; i < count; i++)
		if (all[i].fd >= 0)
			close(all[i].fd);
	free(all);
	return first != 0 ? first : err;
}

const struct gw_handoff_ops gw_handoff_freeze = {
	.name = "freeze",
	.is_watched = true,
	.prepare = prepare,
	.sync = sync_all,
	.describe = describe,
	.recheck = recheck,
	.quiesce = quiesce,
	.take_back = take_back,
	.switch_over = switch_over,
	.resume = resume,
	.keep_fds = keep_fds,
	.destroy = destroy,
	.recover = recover,
};

// SPDX-License-Identifier: GPL-2.0-or-later
/* Rows about who uses source and target: mounts, swap, device-mapper, md, loop devices. */
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "preflight_rows.h"
#include "throttle.h"
#include "units.h"
#include "write_limit.h"

#include "handoff_dm.h"

#define LIST_BYTES 160

/* Appends ", item", and "..." once where it no longer fits. */
static void list_add(char list[LIST_BYTES], const char *item)
{
	const size_t length = strlen(list);

	if (length + strlen(item) + 8 < LIST_BYTES)
		snprintf(list + length, LIST_BYTES - length, "%s%s", length > 0 ? ", " : "", item);
	else if (length > 0 && strcmp(list + length - 1, ".") != 0)
		snprintf(list + length, LIST_BYTES - length, ", ...");
	else if (length == 0)
		snprintf(list, LIST_BYTES, "%.100s...", item);
}

static bool is_on_node(const struct gw_node *node, dev_t dev)
{
	char path[64], link[PATH_MAX], text[64];
	unsigned int maj, min;
	FILE *file;
	bool is_on = false;

	if (node->kind == GW_NODE_FILE)
		return false;
	if (dev == node->dev)
		return true;
	if (node->is_partition)
		return false;
	/* A partition lies below its disk in sysfs. */
	snprintf(path, sizeof(path), "/sys/dev/block/%u:%u/../dev", major(dev), minor(dev));
	if (realpath(path, link) == NULL)
		return false;
	file = fopen(link, "re");
	if (file == NULL)
		return false;
	if (fgets(text, sizeof(text), file) != NULL && sscanf(text, "%u:%u", &maj, &min) == 2)
		is_on = makedev(maj, min) == node->disk_dev;
	fclose(file);
	return is_on;
}

/* /proc/swaps writes a blank as \040. In place. */
static void undo_escapes(char *text)
{
	unsigned int code;
	char *out = text;

	for (const char *in = text; *in != '\0'; out++) {
		if (*in == '\\' && sscanf(in + 1, "%3o", &code) == 1) {
			*out = (char)code;
			in += 4;
		} else {
			*out = *in++;
		}
	}
	*out = '\0';
}

/* Swap areas on node. Return: count; their paths in list. */
static uint32_t swaps_on(const struct gw_node *node, char list[LIST_BYTES])
{
	FILE *const file = fopen("/proc/swaps", "re");
	char line[PATH_MAX + 128];
	uint32_t count = 0;
	struct stat st;

	list[0] = '\0';
	if (file == NULL)
		return 0;
	while (fgets(line, sizeof(line), file) != NULL) {
		bool is_on;

		line[strcspn(line, " \t")] = '\0';
		undo_escapes(line);
		if (line[0] != '/' || stat(line, &st) < 0)
			continue;
		is_on = S_ISBLK(st.st_mode) ? is_on_node(node, st.st_rdev) :
			node->kind == GW_NODE_FILE && node->file_dev == st.st_dev &&
				node->file_ino == st.st_ino;
		if (is_on) {
			list_add(list, line);
			count++;
		}
	}
	fclose(file);
	return count;
}

/* Devices that device-mapper or md built on the node (and, on a disk, on its partitions). */
static uint32_t holders_in(const char *path, char list[LIST_BYTES])
{
	DIR *const dir = opendir(path);
	uint32_t count = 0;

	if (dir == NULL)
		return 0;
	for (struct dirent *entry; (entry = readdir(dir)) != NULL;)
		if (entry->d_name[0] != '.') {
			list_add(list, entry->d_name);
			count++;
		}
	closedir(dir);
	return count;
}

static uint32_t holders_of(const struct gw_node *node, char list[LIST_BYTES])
{
	char path[PATH_MAX];
	uint32_t count;
	DIR *dir;

	list[0] = '\0';
	if (node->kind == GW_NODE_FILE)
		return 0;
	snprintf(path, sizeof(path), "/sys/dev/block/%u:%u/holders", major(node->dev),
		 minor(node->dev));
	count = holders_in(path, list);
	if (node->is_partition)
		return count;
	snprintf(path, sizeof(path), "/sys/dev/block/%u:%u", major(node->dev), minor(node->dev));
	dir = opendir(path);
	if (dir == NULL)
		return count;
	/* sda1, nvme0n1p1: partitions have their disk's name in front. */
	for (struct dirent *entry; (entry = readdir(dir)) != NULL;) {
		if (strncmp(entry->d_name, node->name, strlen(node->name)) != 0)
			continue;
		snprintf(path, sizeof(path), "/sys/dev/block/%u:%u/%.64s/holders",
			 major(node->dev), minor(node->dev), entry->d_name);
		count += holders_in(path, list);
	}
	closedir(dir);
	return count;
}

struct loops {
	char direct[LIST_BYTES];	/* over the device itself */
	char by_file[LIST_BYTES];	/* over a file that is, or lies on, the node */
};

/* The kernel lets a loop device sit on anything without a claim: nobody else would notice. */
static void loops_on(const struct gw_node *node, struct loops *loops)
{
	DIR *const dir = opendir("/sys/block");

	loops->direct[0] = loops->by_file[0] = '\0';
	if (dir == NULL)
		return;
	for (struct dirent *entry; (entry = readdir(dir)) != NULL;) {
		char path[64], attribute[PATH_MAX], backing[PATH_MAX] = "", why[64];
		struct gw_node loop;
		struct stat st;
		FILE *file;

		if (strncmp(entry->d_name, "loop", 4) != 0)
			continue;
		snprintf(attribute, sizeof(attribute), "/sys/block/%s/loop/backing_file",
			 entry->d_name);
		file = fopen(attribute, "re");
		if (file == NULL)
			continue;	/* a free one */
		if (fgets(backing, sizeof(backing), file) != NULL)
			backing[strcspn(backing, "\n")] = '\0';
		fclose(file);
		snprintf(path, sizeof(path), "/dev/%.50s", entry->d_name);
		if (gw_node_look(&loop, path, NULL) < 0 ||
		    (node->kind == GW_NODE_BLOCK && loop.disk_dev == node->disk_dev) ||
		    !gw_nodes_overlap(node, &loop, why, sizeof(why)) ||
		    gw_node_is_stored_on(node, &loop))
			continue;
		list_add(stat(backing, &st) == 0 && S_ISBLK(st.st_mode) ? loops->direct :
									  loops->by_file,
			 entry->d_name);
	}
	closedir(dir);
}

static void target_mounts(struct gw_check *check, struct gw_row *row)
{
	struct gw_mount *mounts = NULL;
	struct gw_diag diag = { 0 };
	char list[LIST_BYTES] = "";
	const int count = gw_node_mounts(check->target, &mounts, &diag);

	for (int i = 0; i < count; i++)
		list_add(list, mounts[i].dir);
	if (count < 0) {
		gw_row_unmet(row, "%s", diag.text);
		gw_row_mend(row, "mount /proc");
	} else if (count == 0) {
		gw_row_met(row, "it is not");
	} else {
		gw_row_unmet(row, "%s is mounted at %s", check->target->name, list);
		gw_row_mend(row, "umount '%s'", mounts[0].dir);
	}
	free(mounts);
}

static void target_free(struct gw_check *check, struct gw_row *row)
{
	char list[LIST_BYTES];

	if (!gw_node_is_claimed(check->target)) {
		gw_row_met(row, "nobody has claimed it");
		return;
	}
	if (holders_of(check->target, list) > 0) {
		gw_row_unmet(row, "%s is used by %s", check->target->path, list);
		gw_row_mend(row, "take that down first (dmsetup remove, vgchange -an, mdadm --stop)");
		return;
	}
	gw_row_unmet(row, "%s is in use: something has opened it for itself", check->target->path);
	gw_row_mend(row, "unmount it (also in other mount namespaces: grep -l %s /proc/*/mountinfo), "
		    "swapoff, or end what uses it (fuser -v %s)", check->target->name,
		    check->target->path);
}

static void target_swap(struct gw_check *check, struct gw_row *row)
{
	char list[LIST_BYTES];

	if (swaps_on(check->target, list) == 0) {
		gw_row_met(row, "it is not");
		return;
	}
	gw_row_unmet(row, "the kernel swaps to %s", list);
	gw_row_mend(row, "swapoff %s", list);
}

static void target_loops(struct gw_check *check, struct gw_row *row)
{
	struct loops loops;

	loops_on(check->target, &loops);
	if (loops.direct[0] == '\0' && loops.by_file[0] == '\0') {
		gw_row_met(row, "none is");
		return;
	}
	gw_row_unmet(row, "%s is stored there: it would change under its users",
		     loops.direct[0] != '\0' ? loops.direct : loops.by_file);
	gw_row_mend(row, "losetup -d it, or name another target");
}

/* Can be frozen, and shut down after the commit so that nothing is acknowledged any more. */
static bool can_be_frozen(const char *fs_type)
{
	static const char *const types[] = { "ext2", "ext3", "ext4", "xfs" };

	for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++)
		if (strcmp(fs_type, types[i]) == 0)
			return true;
	return false;
}

/* Everything that writes to the source must go through a file system that is frozen. */
static void users_for_freeze(struct gw_check *check, struct gw_row *row)
{
	char list[LIST_BYTES] = "", others[LIST_BYTES];
	struct loops loops;

	for (uint32_t i = 0; i < check->mount_count; i++) {
		const struct gw_mount *const mount = &check->mounts[i];

		if (!can_be_frozen(mount->fs_type)) {
			gw_row_unmet(row, "%s on %s cannot be frozen and shut down", mount->fs_type,
				     mount->dir);
			gw_row_mend(row, "--handoff exec with commands that stop its writers, or "
				    "unmount it and --handoff none");
			return;
		}
		list_add(list, mount->dir);
	}
	if (check->mount_count == 0) {
		gw_row_unmet(row, "nothing is mounted from %s: there is nothing to freeze",
			     check->source->path);
		gw_row_mend(row, "--handoff none if nothing writes to it at the end, or --handoff "
			    "exec with commands that stop the writers");
		return;
	}
	loops_on(check->source, &loops);
	if (holders_of(check->source, others) > 0 || swaps_on(check->source, others) > 0 ||
	    (snprintf(others, sizeof(others), "%s", loops.direct), others[0] != '\0')) {
		gw_row_unmet(row, "beside %s, %s writes to it, which cannot be frozen", list,
			     others);
		gw_row_mend(row, "take that down first, or --handoff exec");
		return;
	}
	if (loops.by_file[0] != '\0') {
		gw_row_warn(row, "freeze %s; %s works on a file there, and what its users wrote and "
			    "did not sync stays behind", list, loops.by_file);
		gw_row_mend(row, "sync the file systems on it, or unmount them, before the "
			    "hand-off");
		return;
	}
	gw_row_met(row, "freeze %s", list);
}

static void users_for_none(struct gw_check *check, struct gw_row *row)
{
	char list[LIST_BYTES] = "";

	for (uint32_t i = 0; i < check->mount_count; i++)
		if (!check->mounts[i].read_only)
			list_add(list, check->mounts[i].dir);
	if (list[0] == '\0' && check->mount_count == 0 && gw_node_is_claimed(check->source)) {
		gw_row_warn(row, "something uses %s, and with --handoff none you vouch that it "
			    "writes nothing when the last round begins", check->source->path);
		gw_row_mend(row, "end what uses it before that");
		return;
	}
	if (list[0] == '\0') {
		gw_row_met(row, "none: you vouch that nothing writes when the last round begins");
		return;
	}
	gw_row_warn(row, "it is mounted at %s, and with --handoff none you vouch that nothing "
		    "writes there when the last round begins", list);
	gw_row_mend(row, "--handoff freeze, or unmount it before that");
}

static void users_for_exec(struct gw_check *check, struct gw_row *row)
{
	const char *const quiesce = check->config->exec_quiesce;

	if (quiesce == NULL || quiesce[0] == '\0') {
		gw_row_unmet(row, "--handoff exec has no command that stops the writers");
		gw_row_mend(row, "--exec-quiesce COMMAND");
	} else if (check->config->exec_abort == NULL) {
		gw_row_warn(row, "exec, but after a failure no command lets the writers go on");
		gw_row_mend(row, "--exec-abort COMMAND");
	} else {
		gw_row_met(row, "exec: %s", quiesce);
	}
}

static void users_for_dm(struct gw_check *check, struct gw_row *row)
{
	const char *const name = check->config->dm_name;
	struct gw_dm_device device;
	struct gw_diag diag = { 0 };

	if (name == NULL || check->target == NULL) {
		gw_row_unmet(row, "%s", name == NULL ? "--handoff dm names no device" :
						       "there is no target to move it to");
		gw_row_mend(row, name == NULL ? "--handoff dm:NAME" : "name a target");
	} else if (gw_handoff_dm_check(name, check->source, check->target, &device, &diag) < 0) {
		gw_row_unmet(row, "%s", diag.text);
		gw_row_mend(row, "see dmsetup table %s, dmsetup info %s; or --handoff exec", name,
			    name);
	} else {
		gw_row_met(row, "suspend %s, of %u segment%s", name, device.table.count,
			   device.table.count == 1 ? "" : "s");
	}
}

static void handoff(struct gw_check *check, struct gw_row *row)
{
	switch (check->handoff) {
	case GW_MIGRATION_FREEZE:
		users_for_freeze(check, row);
		return;
	case GW_MIGRATION_EXEC:
		users_for_exec(check, row);
		return;
	case GW_MIGRATION_NONE:
		users_for_none(check, row);
		return;
	case GW_MIGRATION_DM:
		users_for_dm(check, row);
		return;
	case GW_MIGRATION_HANDOFF_AUTO:
		break;
	}
	gw_row_unmet(row, "nothing is mounted from %s%s, so that godwit cannot know how to stop its "
		     "writers", check->source->path,
		     gw_node_is_claimed(check->source) ? " here, yet something uses it" : "");
	gw_row_mend(row, "--handoff none if nothing writes to it at the end, or --handoff exec with "
		    "commands that stop the writers");
}

static void handoff_options(struct gw_check *check, struct gw_row *row)
{
	const struct gw_migration_config *const config = check->config;
	const bool has_commands = config->exec_quiesce != NULL || config->exec_switch != NULL ||
				  config->exec_resume != NULL || config->exec_abort != NULL;

	if (has_commands && check->handoff != GW_MIGRATION_EXEC) {
		gw_row_warn(row, "commands are given, but the hand-off is not exec: they will not "
			    "be run");
		gw_row_mend(row, "--handoff exec");
		return;
	}
	gw_row_met(row, has_commands ? "commands for exec" : "no commands");
}

/* What is not tracked must not change at all. */
static void source_still(struct gw_check *check, struct gw_row *row)
{
	const struct gw_node *const source = check->source;
	char list[LIST_BYTES] = "";

	for (uint32_t i = 0; i < check->mount_count; i++)
		if (!check->mounts[i].read_only)
			list_add(list, check->mounts[i].dir);
	if (source->kind == GW_NODE_FILE && check->is_tracked) {
		gw_row_unmet(row, "%s is a regular file: its writes cannot be tracked",
			     source->path);
		gw_row_mend(row, "--track none, and leave it alone; or attach it (losetup) and "
			    "migrate that device");
	} else if (source->kind == GW_NODE_FILE) {
		gw_row_warn(row, "a regular file is not tracked: it must not change until the end");
		gw_row_mend(row, "leave it alone; or attach it (losetup) and migrate that device");
	} else if (check->is_tracked) {
		gw_row_met(row, check->by_nvme ? "nvme: every command that changes it is marked" :
						 "block: every write to it is marked");
	} else if (list[0] != '\0' && !source->read_only) {
		gw_row_unmet(row, "it is mounted at %s, and --track none sees no write to it", list);
		gw_row_mend(row, "--track block, or remount it read-only");
	} else {
		gw_row_warn(row, "not tracked: it must not change until the end");
		gw_row_mend(row, "--track block");
	}
}

static void throttle_cgroup(const struct gw_write_limit *limit, struct gw_row *row)
{
	char text[GW_UNIT_TEXT_BYTES];
	uint64_t former = 0;
	const int err = gw_write_limit_get(limit, &former);

	if (err < 0) {
		gw_row_unmet(row, "%.128s: its limits cannot be read: %s", limit->path, strerror(-err));
		gw_row_mend(row, "name another cgroup, or leave --throttle-writers away");
	} else if (!gw_write_limit_is_writable(limit)) {
		gw_row_unmet(row, "%.128s: this process may not change its limits", limit->path);
		gw_row_mend(row, "run as root, outside of a container that has it read-only");
	} else if (!gw_write_limit_has_processes(limit)) {
		gw_row_unmet(row, "%.128s: no process is in it, a limit would have no effect",
			     limit->path);
		gw_row_mend(row, "name the cgroup of the writers: cat /proc/PID/cgroup%s",
			    gw_write_limit_misses_children(limit) ?
			    "; with cgroup v1 a limit does not reach child cgroups" : "");
	} else if (former != 0 && former <= GW_THROTTLE_FLOOR_BYTES_PER_S) {
		gw_row_unmet(row, "%.128s: it has a limit of %s already, and is not throttled "
			     "below that", limit->path, gw_format_rate(text, former));
		gw_row_mend(row, "raise that limit, or leave --throttle-writers away");
	} else if (limit->version == GW_CGROUP_V1) {
		gw_row_warn(row, "%.96s: cgroup v1 limits direct and synchronous writes only; what the "
			    "page cache writes back later, and child cgroups, are not limited",
			    limit->path);
		gw_row_mend(row, "have the writers use O_DIRECT, O_SYNC or fsync, or boot with cgroup "
			    "v2 (systemd.unified_cgroup_hierarchy=1)");
	} else {
		gw_row_met(row, "%.128s, %s", limit->path,
			   former == 0 ? "no limit now" : gw_format_rate(text, former));
	}
}

static void throttle(struct gw_check *check, struct gw_row *row)
{
	const char *const cgroup = check->config->throttle_writers;
	struct gw_write_limit limit = { 0 };
	struct gw_diag diag = { 0 };

	if (cgroup == NULL) {
		gw_row_met(row, "not asked for");
	} else if (check->source->kind != GW_NODE_BLOCK) {
		gw_row_unmet(row, "%s is a regular file: cgroups limit writes to disks",
			     check->source->path);
		gw_row_mend(row, "leave --throttle-writers away");
	} else if (!check->is_tracked) {
		gw_row_unmet(row, "without tracking there are no rounds that need to converge");
		gw_row_mend(row, "leave --throttle-writers away, or --track block");
	} else if (gw_write_limit_open(&limit, cgroup, check->source->disk_dev, NULL, &diag) < 0) {
		gw_row_unmet(row, "%.250s", diag.text);
		gw_row_mend(row, "name the cgroup of the writers: cat /proc/PID/cgroup");
	} else {
		throttle_cgroup(&limit, row);
		gw_write_limit_close(&limit);
	}
}

const struct gw_row_rule gw_rows_users[] = {
	{ "target-mounts", "the target is not mounted", GW_NEEDS_TARGET, target_mounts },
	{ "target-free", "nobody else uses the target", GW_NEEDS_TARGET, target_free },
	{ "target-swap", "the target is not swapped to", GW_NEEDS_TARGET, target_swap },
	{ "target-loops", "no loop device is stored on the target", GW_NEEDS_TARGET,
	  target_loops },
	{ "handoff", "the source's writers can be stopped at the end", GW_NEEDS_SOURCE, handoff },
	{ "handoff-options", "the commands fit the hand-off", 0, handoff_options },
	{ "tracking", "the source is tracked, or does not change", GW_NEEDS_SOURCE, source_still },
	{ "throttle", "the writers can be throttled as a last resort", GW_NEEDS_SOURCE, throttle },
	{ NULL, NULL, 0, NULL },
};

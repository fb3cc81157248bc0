// SPDX-License-Identifier: GPL-2.0-or-later
/* Prints what puts a device under device-mapper, once; runs none of it. */
#include "verbs.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "blkinfo.h"
#include "dm_device.h"

struct settings {
	struct gw_common common;
	const char *name;
};

/* What is mounted from a partition would find no way back to it: device-mapper devices have none. */
static int refuse_partitions(const struct gw_node *node, const struct gw_mount *mounts, int count,
			     struct gw_diag *diag)
{
	for (int i = 0; i < count; i++)
		if (mounts[i].dev != node->dev)
			return gw_fail_exit(diag, GW_EXIT_CANNOT, -EBUSY,
				"%s is mounted from a partition of %s: give that partition "
				"(findmnt '%s'), and migrate it", mounts[i].dir, node->path,
				mounts[i].dir);
	return 0;
}

static void print_stops(const struct gw_node *node, const struct gw_mount *mounts, int count)
{
	if (count == 0 && gw_node_is_claimed(node))
		printf("# Something has it (lsblk %s, swapon --show): take that down.\n", node->path);
	else if (count == 0)
		printf("# Stop whatever uses it.\n");
	for (int i = 0; i < count; i++)
		printf("umount '%s'\n", mounts[i].dir);
}

static void print_starts(const char *name, const struct gw_mount *mounts, int count)
{
	for (int i = 0; i < count; i++)
		printf("mount /dev/mapper/%s '%s'\n", name, mounts[i].dir);
	if (count == 0)
		printf("# Start it again on /dev/mapper/%s.\n", name);
}

static void print_steps(const struct gw_node *node, const char *name,
			const struct gw_mount *mounts, int count)
{
	const char *const stable = node->stable_id[0] != '\0' ? node->stable_id : "no stable id";

	printf("# %s (%s): it must not be in use for a moment.\n", node->path, stable);
	print_stops(node, mounts, count);
	printf("dmsetup create %s --table '0 %" PRIu64 " linear %s 0'\n", name,
	       node->size_bytes >> 9, node->path);
	print_starts(name, mounts, count);
	printf("# For good: run the dmsetup line at boot before the mounts (a systemd unit), with the\n"
	       "# device's name below /dev/disk/by-id, and name /dev/mapper/%s in /etc/fstab.\n"
	       "# Then, whenever it is to move:\n"
	       "#   godwit migrate %s TARGET --handoff dm:%s\n", name, node->path, name);
}

static int run(const struct gw_call *call)
{
	const struct settings *const settings = call->settings;
	struct gw_diag diag = gw_verb_diag(call->terminal);
	struct gw_mount *mounts = NULL;
	struct gw_dm_device device;
	struct gw_node node;
	char name[GW_NAME_BYTES];
	int count, err;

	err = gw_node_look(&node, call->operands[0], &diag);
	if (err < 0)
		return gw_verb_exit(&diag, err);
	if (node.kind != GW_NODE_BLOCK)
		return gw_verb_exit(&diag, gw_fail_exit(&diag, GW_EXIT_CANNOT, -ENOTBLK,
			"%s is no block device; attach it to a loop device first", node.path));
	snprintf(name, sizeof(name), "%s", settings->name != NULL ? settings->name : "data");
	err = gw_dm_look(&device, name, NULL);
	if (err == 0 && device.exists)
		return gw_verb_exit(&diag, gw_fail_exit(&diag, GW_EXIT_CANNOT, -EEXIST,
			"there is a device-mapper device %s already; give another --name", name));
	if (err < 0)
		gw_say(&diag, GW_WARNING, "device-mapper does not answer here (modprobe dm_mod)");
	count = gw_node_mounts(&node, &mounts, &diag);
	if (count < 0)
		return gw_verb_exit(&diag, count);
	err = refuse_partitions(&node, mounts, count, &diag);
	if (err == 0)
		print_steps(&node, name, mounts, count);
	free(mounts);
	return err == 0 ? GW_EXIT_DONE : gw_verb_exit(&diag, err);
}

static const struct gw_option options[] = {
	{ .name = "name", .kind = GW_OPTION_NAME, .argument = "NAME",
	  .offset = offsetof(struct settings, name), .fallback = "data",
	  .help = "of the device-mapper device" },
	{ 0 },
};

const struct gw_verb gw_verb_dm_wrap = {
	.name = "dm-wrap",
	.operands = "DEVICE",
	.summary = "print what puts a device under device-mapper, for --handoff dm",
	.about = "A device that is used through a linear device-mapper device can be moved under its "
		 "running users (godwit migrate --handoff dm:NAME). For one that is not yet, this "
		 "prints the commands that are needed once. It runs none of them and changes "
		 "nothing.",
	.operands_min = 1,
	.operands_max = 1,
	.settings_bytes = sizeof(struct settings),
	.tables = { options, gw_options_common },
	.run = run,
};

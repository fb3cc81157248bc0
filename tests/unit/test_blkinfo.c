// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Against real loop devices: sysfs cannot be made up. Each test makes what it
 * needs in a directory of its own and takes it away; without the right to do
 * so it is skipped.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "blkinfo.h"

#define MIB (UINT64_C(1) << 20)
#define LOOPS_MAX 8

static char dir[64];
static char loops[LOOPS_MAX][32];
static char mounts[LOOPS_MAX][128];
static int loop_count, mount_count;

/* Runs a command; its first line of output goes to out (may be NULL). Return: its exit status. */
static int run(char *out, size_t out_bytes, const char *format, ...)
	__attribute__((format(printf, 3, 4)));
static int run(char *out, size_t out_bytes, const char *format, ...)
{
	char command[512], line[256] = "";
	va_list args;
	FILE *pipe;
	int status;

	va_start(args, format);
	vsnprintf(command, sizeof(command), format, args);
	va_end(args);
	pipe = popen(command, "re");
	cr_assert_not_null(pipe);
	if (fgets(line, sizeof(line), pipe) != NULL && out != NULL) {
		line[strcspn(line, "\n")] = '\0';
		snprintf(out, out_bytes, "%s", line);
	}
	while (fgets(line, sizeof(line), pipe) != NULL)
		;
	status = pclose(pipe);
	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static const char *file_of(const char *name, uint64_t bytes)
{
	static char path[128];
	int fd;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	cr_assert(fd >= 0);
	cr_assert(ftruncate(fd, (off_t)bytes) == 0);
	close(fd);
	return path;
}

/* losetup with these options on path; the new device's path, valid until the end of the test. */
static const char *loop_on(const char *options, const char *path)
{
	char *const loop = loops[loop_count];

	cr_assert(loop_count < LOOPS_MAX);
	cr_assert_eq(run(loop, sizeof(loops[0]), "losetup -f --show %s %s", options, path), 0);
	loop_count++;
	return loop;
}

/*
 * A device that a test may detach and attach again: whoever else looks for a free one meanwhile
 * finds others first, which have lower numbers.
 */
static const char *loop_to_swap(uint64_t bytes)
{
	char spares[4][64];
	const char *loop;

	for (int i = 0; i < 4; i++)
		cr_assert_eq(run(spares[i], sizeof(spares[i]), "losetup -f --show %s",
				 file_of("spare", MIB)), 0);
	loop = loop_on("", file_of("a", bytes));
	for (int i = 0; i < 4; i++)
		cr_assert_eq(run(NULL, 0, "losetup -d %s", spares[i]), 0);
	return loop;
}

/* If somebody has it nevertheless, when it is free again. */
static void attach_again(const char *loop, const char *path)
{
	for (int i = 0; i < 400; i++) {
		if (run(NULL, 0, "losetup %s %s 2>/dev/null", loop, path) == 0)
			return;
		usleep(100000);
	}
	loop_count--;	/* not ours to detach */
	cr_assert_fail("%s stays in use", loop);
}

/* Gone, or somebody else's already. */
static bool is_another(const struct gw_node *node)
{
	const int err = gw_node_check_same(node, NULL);

	return err == -ENODEV || err == -ESTALE;
}

static const char *mount_of(const char *dev, const char *name)
{
	char *const path = mounts[mount_count];

	cr_assert(mount_count < LOOPS_MAX);
	snprintf(path, sizeof(mounts[0]), "%s/%s", dir, name);
	cr_assert_eq(run(NULL, 0, "mkfs.ext4 -q %s 2>&1", dev), 0);
	cr_assert(mkdir(path, 0700) == 0);
	cr_assert(mount(dev, path, "ext4", 0, "") == 0);
	mount_count++;
	return path;
}

/* addpart does not know of udev's absence: the node is made here if nobody does. */
static const char *partition_of(const char *loop, int number, uint64_t first_sector,
				uint64_t sectors)
{
	static char path[2][64];
	static int turn;
	char *const out = path[turn++ % 2];
	char text[32];
	struct stat st;
	unsigned int maj, min;

	cr_assert_eq(run(NULL, 0, "addpart %s %d %llu %llu", loop, number,
			 (unsigned long long)first_sector, (unsigned long long)sectors), 0);
	snprintf(out, sizeof(path[0]), "%sp%d", loop, number);
	run(text, sizeof(text), "cat /sys/class/block/%s/dev", out + strlen("/dev/"));
	cr_assert_eq(sscanf(text, "%u:%u", &maj, &min), 2);
	if (stat(out, &st) < 0)
		cr_assert(mknod(out, S_IFBLK | 0600, makedev(maj, min)) == 0 || errno == EEXIST);
	return out;
}

static void setup(void)
{
	if (geteuid() != 0 || access("/dev/loop-control", W_OK) < 0)
		cr_skip_test("no right to make loop devices");
	loop_count = mount_count = 0;
	snprintf(dir, sizeof(dir), "/dev/shm/godwit-unit-XXXXXX");
	cr_assert_not_null(mkdtemp(dir));
}

static void teardown(void)
{
	if (dir[0] == '\0')
		return;
	for (int i = mount_count - 1; i >= 0; i--)
		while (umount2(mounts[i], MNT_DETACH) == 0)
			;		/* whatever was mounted on top as well */
	/*
	 * From the top down, each once: a number that is free may be somebody else's
	 * a moment later. A detached loop device would keep its partitions.
	 */
	for (int i = loop_count - 1; i >= 0; i--)
		run(NULL, 0, "for n in 1 2 3; do delpart %s $n; done 2>/dev/null; losetup -d %s",
		    loops[i], loops[i]);
	run(NULL, 0, "rm -rf %s", dir);
	dir[0] = '\0';
}

TestSuite(blkinfo, .init = setup, .fini = teardown);

static struct gw_node look(const char *path)
{
	struct gw_node node;
	struct gw_diag diag = { 0 };

	cr_assert_eq(gw_node_look(&node, path, &diag), 0, "%s: %s", path, diag.text);
	return node;
}

static bool overlap(const char *a, const char *b, char *why)
{
	const struct gw_node one = look(a), other = look(b);
	char reverse[256];
	const bool answer = gw_nodes_overlap(&one, &other, why, 256);

	cr_assert_eq(gw_nodes_overlap(&other, &one, reverse, sizeof(reverse)), answer,
		     "not symmetric: %s, %s", a, b);
	cr_assert_eq(answer, why[0] != '\0');
	return answer;
}

Test(blkinfo, looks_at_a_loop_device)
{
	const char *const loop = loop_on("", file_of("a", 8 * MIB));
	const struct gw_node node = look(loop);

	cr_assert_eq(node.kind, GW_NODE_BLOCK);
	cr_assert_str_eq(node.path, loop);
	cr_assert_str_eq(node.name, loop + strlen("/dev/"));
	cr_assert_str_eq(node.disk_name, node.name);
	cr_assert_eq(node.size_bytes, 8 * MIB);
	cr_assert_eq(node.logical_bytes, 512);
	cr_assert_eq(node.dev, node.disk_dev);
	cr_assert_eq(major(node.dev), 7);
	cr_assert_not(node.is_partition || node.read_only || node.is_zoned);
	cr_assert_not(node.is_multipath_head);
	cr_assert(node.is_request_based);
	cr_assert_geq(node.hw_queues, 1);
	cr_assert_geq(node.tags_per_queue, 1);
	cr_assert_gt(node.diskseq, 0);
	cr_assert_str_eq(node.stable_id, "");
}

Test(blkinfo, sees_sector_size_and_read_only)
{
	const struct gw_node node = look(loop_on("-r -b 4096", file_of("a", 8 * MIB)));

	cr_assert_eq(node.logical_bytes, 4096);
	cr_assert_geq(node.physical_bytes, 4096);
	cr_assert(node.read_only);
}

Test(blkinfo, looks_at_a_partition)
{
	const char *const loop = loop_on("", file_of("a", 16 * MIB));
	const struct gw_node node = look(partition_of(loop, 3, 2048, 4096)), disk = look(loop);

	cr_assert(node.is_partition);
	cr_assert_eq(node.disk_dev, disk.dev);
	cr_assert_neq(node.dev, disk.dev);
	cr_assert_str_eq(node.disk_name, disk.name);
	cr_assert_eq(node.disk_first_sector, 2048);
	cr_assert_eq(node.size_bytes, 4096 * 512);
	cr_assert_eq(node.diskseq, disk.diskseq);
}

Test(blkinfo, partition_of_4096_byte_sectors_counts_512)
{
	const char *const loop = loop_on("-b 4096", file_of("a", 16 * MIB));
	const struct gw_node node = look(partition_of(loop, 1, 2048, 4096));

	cr_assert_eq(node.disk_first_sector, 2048);
	cr_assert_eq(node.size_bytes, 4096 * 512);
	cr_assert_eq(node.logical_bytes, 4096);
}

Test(blkinfo, looks_at_a_file)
{
	const char *const path = file_of("image", 12345);
	const struct gw_node node = look(path);
	struct stat st;

	cr_assert_eq(stat(path, &st), 0);
	cr_assert_eq(node.kind, GW_NODE_FILE);
	cr_assert_str_eq(node.name, "image");
	cr_assert_eq(node.size_bytes, 12345);
	cr_assert_eq(node.logical_bytes, 1);
	cr_assert_eq(node.file_dev, st.st_dev);
	cr_assert_eq(node.file_ino, st.st_ino);
}

Test(blkinfo, resolves_symbolic_links)
{
	const char *const loop = loop_on("", file_of("a", MIB));
	char link[128];

	snprintf(link, sizeof(link), "%s/by-id", dir);
	cr_assert_eq(symlink(loop, link), 0);
	cr_assert_str_eq(look(link).path, loop);
}

Test(blkinfo, refuses_what_is_no_node)
{
	struct gw_node node;
	struct gw_diag diag = { 0 };

	cr_assert_eq(gw_node_look(&node, "/nonexistent/x", &diag), -ENOENT);
	cr_assert_eq(diag.exit_code, GW_EXIT_CANNOT);
	cr_assert_not_null(strstr(diag.text, "/nonexistent/x"));
	cr_assert_eq(gw_node_look(&node, "/dev/null", NULL), -ENOTBLK);
	cr_assert_eq(gw_node_look(&node, dir, NULL), -ENOTBLK);
	cr_assert_eq(gw_node_look(&node, "", NULL), -ENOENT);
	cr_assert_str_eq(node.path, "");
}

Test(blkinfo, check_same_notices_another_disk)
{
	const char *const loop = loop_to_swap(8 * MIB);
	const struct gw_node node = look(loop);
	struct gw_diag diag = { 0 };

	cr_assert_eq(gw_node_check_same(&node, &diag), 0);
	cr_assert_eq(run(NULL, 0, "losetup -d %s", loop), 0);
	cr_assert(is_another(&node));
	/* Same size, same name, same device number: only the diskseq tells. */
	attach_again(loop, file_of("b", 8 * MIB));
	gw_diag_clear(&diag);
	cr_assert_eq(gw_node_check_same(&node, &diag), -ESTALE);
	cr_assert_not_null(strstr(diag.text, "diskseq"), "%s", diag.text);
}

Test(blkinfo, check_same_notices_a_new_size)
{
	const char *const loop = loop_on("", file_of("a", 8 * MIB));
	const struct gw_node node = look(loop);

	file_of("a", 4 * MIB);
	cr_assert_eq(run(NULL, 0, "losetup -c %s", loop), 0);
	cr_assert_eq(gw_node_check_same(&node, NULL), -ESTALE);
}

Test(blkinfo, check_same_notices_other_sectors)
{
	const char *const loop = loop_on("", file_of("a", 8 * MIB));
	const struct gw_node node = look(loop);
	struct gw_diag diag = { 0 };

	cr_assert_eq(run(NULL, 0, "losetup -b 4096 %s", loop), 0);
	cr_assert_eq(gw_node_check_same(&node, &diag), -ESTALE);
	cr_assert_not_null(strstr(diag.text, "4096"), "%s", diag.text);
}

Test(blkinfo, check_same_notices_a_partition_that_moved_or_went)
{
	const char *const loop = loop_to_swap(16 * MIB);
	const struct gw_node node = look(partition_of(loop, 1, 2048, 4096));

	cr_assert_eq(gw_node_check_same(&node, NULL), 0);
	cr_assert_eq(run(NULL, 0, "losetup -d %s", loop), 0);
	cr_assert(is_another(&node));
	attach_again(loop, file_of("a", 16 * MIB));
	/* Somebody who had the device in between may have taken the partition away. */
	cr_assert(is_another(&node));
	/* It goes as soon as nobody has it open. */
	for (int i = 0; i < 400 && gw_node_check_same(&node, NULL) != -ENODEV; i++) {
		run(NULL, 0, "delpart %s 1 2>&1", loop);
		usleep(10000);
	}
	cr_assert_eq(gw_node_check_same(&node, NULL), -ENODEV);
	partition_of(loop, 1, 4096, 4096);
	/* Whether the kernel gives the old number again is its affair. */
	cr_assert_lt(gw_node_check_same(&node, NULL), 0);
}

Test(blkinfo, check_same_notices_another_file)
{
	const char *const path = file_of("a", MIB);
	const struct gw_node node = look(path);
	char moved[80];

	snprintf(moved, sizeof(moved), "%s/moved", dir);
	cr_assert_eq(gw_node_check_same(&node, NULL), 0);
	file_of("a", MIB + 1);
	cr_assert_eq(gw_node_check_same(&node, NULL), -ESTALE);
	cr_assert_eq(rename(path, moved), 0);
	cr_assert_eq(gw_node_check_same(&node, NULL), -ENODEV);
	file_of("a", MIB);
	cr_assert_eq(gw_node_check_same(&node, NULL), -ESTALE);
}

Test(blkinfo, disk_overlaps_its_partition)
{
	const char *const loop = loop_on("", file_of("a", 16 * MIB));
	char why[256], one[64];

	snprintf(one, sizeof(one), "%s", partition_of(loop, 1, 2048, 4096));
	cr_assert(overlap(loop, loop, why));
	cr_assert_not_null(strstr(why, "same device"), "%s", why);
	cr_assert(overlap(loop, one, why));
	cr_assert_not_null(strstr(why, "is a partition of"), "%s", why);
	cr_assert_not(overlap(one, partition_of(loop, 2, 6144, 4096), why), "%s", why);
	cr_assert_not(overlap(loop, loop_on("", file_of("b", MIB)), why), "%s", why);
}

Test(blkinfo, same_file_twice)
{
	char why[256], a[128], link_path[128];

	snprintf(a, sizeof(a), "%s", file_of("a", 16 * MIB));
	snprintf(link_path, sizeof(link_path), "%s/hard", dir);
	cr_assert_eq(link(a, link_path), 0);
	cr_assert(overlap(a, link_path, why));
	cr_assert(overlap(loop_on("", a), loop_on("", link_path), why));
	cr_assert(overlap(loops[0], a, why));
	cr_assert_not_null(strstr(why, "is stored on"), "%s", why);
	cr_assert_not(overlap(loops[0], file_of("b", MIB), why), "%s", why);
}

Test(blkinfo, loop_windows_are_respected)
{
	char why[256], a[128];
	const char *low, *high, *across, *part;

	snprintf(a, sizeof(a), "%s", file_of("a", 16 * MIB));
	low = loop_on("-o 0 --sizelimit 4194304", a);
	high = loop_on("-o 4194304", a);
	across = loop_on("-o 4193792 --sizelimit 1024", a);
	cr_assert_not(overlap(low, high, why), "%s", why);
	cr_assert(overlap(low, across, why));
	cr_assert(overlap(high, across, why));
	cr_assert_not_null(strstr(why, "share storage"), "%s", why);
	/* A partition of the upper window; the lower one, and a loop device over the partition. */
	part = partition_of(high, 1, 2048, 2048);
	cr_assert_not(overlap(part, low, why), "%s", why);
	cr_assert_not(overlap(part, across, why), "%s", why);
	cr_assert(overlap(part, high, why));
	cr_assert(overlap(loop_on("", part), a, why));
	cr_assert(overlap(loops[3], high, why));
	cr_assert_not(overlap(loops[3], low, why), "%s", why);
}

Test(blkinfo, backing_file_on_a_file_system_of_the_other)
{
	char why[256], image[192], other[192];
	const char *const below = loop_on("", file_of("a", 64 * MIB));
	const char *const mounted = mount_of(below, "mnt a");
	const char *above, *beside;

	snprintf(image, sizeof(image), "'%s/image'", mounted);
	snprintf(other, sizeof(other), "'%s/other'", mounted);
	cr_assert_eq(run(NULL, 0, "truncate -s 8M %s %s", image, other), 0);
	above = loop_on("", image);
	beside = loop_on("", other);
	cr_assert(overlap(below, above, why));
	cr_assert_not_null(strstr(why, "is stored on"), "%s", why);
	/* Two files of one file system share no sector. */
	cr_assert_not(overlap(above, beside, why), "%s", why);
	/* Also where the path leads nowhere any more. */
	cr_assert_eq(run(NULL, 0, "rm %s", image), 0);
	cr_assert(overlap(below, above, why));
	snprintf(image, sizeof(image), "%s/other", mounted);
	cr_assert(overlap(below, image, why));
}

Test(blkinfo, file_system_on_a_partition_of_the_other)
{
	char why[256], image[192], part[64];
	const char *const below = loop_on("", file_of("a", 64 * MIB));

	snprintf(part, sizeof(part), "%s", partition_of(below, 1, 2048, 65536));
	snprintf(image, sizeof(image), "%s/image", mount_of(part, "mnt"));
	cr_assert_eq(run(NULL, 0, "truncate -s 8M %s", image), 0);
	loop_on("", image);
	cr_assert(overlap(below, loops[1], why));
	cr_assert(overlap(part, loops[1], why));
	cr_assert_not(overlap(partition_of(below, 2, 67584, 2048), loops[1], why), "%s", why);
}

Test(blkinfo, lists_each_mounted_file_system_once)
{
	const char *const loop = loop_on("", file_of("a", 96 * MIB));
	char part[2][64], first[128], bind[128];
	struct gw_mount *list = NULL;
	struct gw_node node;

	snprintf(part[0], sizeof(part[0]), "%s", partition_of(loop, 1, 2048, 65536));
	snprintf(part[1], sizeof(part[1]), "%s", partition_of(loop, 2, 67584, 65536));
	node = look(part[0]);
	cr_assert_eq(gw_node_mounts(&node, &list, NULL), 0);
	free(list);
	snprintf(first, sizeof(first), "%s", mount_of(part[0], "a b\\c"));
	mount_of(part[1], "second");
	/* A bind mount is the same file system again. */
	snprintf(bind, sizeof(bind), "%s/bind", dir);
	snprintf(mounts[mount_count++], sizeof(mounts[0]), "%s", bind);
	cr_assert_eq(mkdir(bind, 0700), 0);
	cr_assert_eq(mount(first, bind, NULL, MS_BIND, NULL), 0);

	cr_assert_eq(gw_node_mounts(&node, &list, NULL), 1);
	cr_assert_str_eq(list[0].dir, first);
	cr_assert_str_eq(list[0].fs_type, "ext4");
	cr_assert_eq(list[0].dev, node.dev);
	cr_assert_not(list[0].read_only);
	free(list);
	node = look(loop);
	cr_assert_eq(gw_node_mounts(&node, &list, NULL), 2);
	free(list);

	/* A mount on top hides the first directory: the one that can be reached is named. */
	cr_assert_eq(mount("none", first, "tmpfs", 0, ""), 0);
	node = look(part[0]);
	cr_assert_eq(gw_node_mounts(&node, &list, NULL), 1);
	cr_assert_str_eq(list[0].dir, bind);
	free(list);
}

Test(blkinfo, read_only_means_the_file_system)
{
	const char *const loop = loop_on("", file_of("a", 32 * MIB));
	const char *const mounted = mount_of(loop, "mnt");
	const struct gw_node node = look(loop);
	struct gw_mount *list = NULL;

	/* The mount alone is read-only, not what is mounted. */
	cr_assert_eq(mount(NULL, mounted, NULL, MS_REMOUNT | MS_BIND | MS_RDONLY, NULL), 0);
	cr_assert_eq(gw_node_mounts(&node, &list, NULL), 1);
	cr_assert_not(list[0].read_only);
	free(list);
	cr_assert_eq(mount(NULL, mounted, NULL, MS_REMOUNT | MS_RDONLY, NULL), 0);
	cr_assert_eq(gw_node_mounts(&node, &list, NULL), 1);
	cr_assert(list[0].read_only);
	free(list);
}

Test(blkinfo, claimed_while_mounted)
{
	const char *const loop = loop_on("", file_of("a", 32 * MIB));
	const struct gw_node node = look(loop);

	cr_assert_not(gw_node_is_claimed(&node));
	mount_of(loop, "mnt");
	cr_assert(gw_node_is_claimed(&node));
}

Test(blkinfo, names_signatures)
{
	const char *const path = file_of("a", 32 * MIB);
	const char *const loop = loop_on("", path);
	struct gw_node node = look(loop);
	char text[128];

	cr_assert_eq(gw_node_signature(&node, text, sizeof(text), NULL), 0);
	cr_assert_str_eq(text, "");
	cr_assert_eq(run(NULL, 0, "mkfs.ext4 -q -L stork %s 2>&1", loop), 0);
	cr_assert_eq(gw_node_signature(&node, text, sizeof(text), NULL), 0);
	cr_assert_str_eq(text, "ext4 file system (label stork)");
	node = look(path);
	cr_assert_eq(gw_node_signature(&node, text, sizeof(text), NULL), 0);
	cr_assert_str_eq(text, "ext4 file system (label stork)");
	cr_assert_eq(run(NULL, 0, "wipefs -qa %s && echo ,,83 | sfdisk -q %s 2>&1", loop, loop), 0);
	cr_assert_eq(gw_node_signature(&node, text, sizeof(text), NULL), 0);
	cr_assert_str_eq(text, "dos partition table");
}

// SPDX-License-Identifier: GPL-2.0-or-later
/* NVMe namespaces in a sysfs of our own making: a directory tree of the same names. */
#include <criterion/criterion.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "blkinfo_nvme.h"

static char top[64], class_dir[96];

/* Makes the directories of a path below top. Return: it. */
static const char *path_of(const char *format, ...) __attribute__((format(printf, 1, 2)));
static const char *path_of(const char *format, ...)
{
	static char paths[4][PATH_MAX];
	static int turn;
	char *const path = paths[turn++ % 4];
	const int length = snprintf(path, PATH_MAX, "%s/", top);
	va_list args;

	va_start(args, format);
	vsnprintf(path + length, PATH_MAX - (size_t)length, format, args);
	va_end(args);
	for (char *slash = path + length; (slash = strchr(slash, '/')) != NULL; slash++) {
		*slash = '\0';
		mkdir(path, 0700);
		*slash = '/';
	}
	return path;
}

static void put(const char *path, const char *text)
{
	FILE *const file = fopen(path, "we");

	cr_assert_not_null(file);
	fputs(text, file);
	fclose(file);
}

static void add_subsystem(int number, const char *serial)
{
	put(path_of("class/nvme-subsys%d/subsysnqn", number), "nqn.2026-01.example:drive\n");
	put(path_of("class/nvme-subsys%d/serial", number), serial);
}

/* The link is a directory here, which changes nothing. */
static void add_controller(int subsystem, int number)
{
	path_of("class/nvme-subsys%d/nvme%d/transport", subsystem, number);
}

static void add_path(int subsystem, int controller, const char *disk, const char *in_flight)
{
	put(path_of("class/nvme-subsys%d/nvme%d/%s/inflight", subsystem, controller, disk),
	    in_flight);
	put(path_of("class/nvme-subsys%d/nvme%d/%s/queue/iostats", subsystem, controller, disk),
	    "1\n");
}

static void setup(void)
{
	snprintf(top, sizeof(top), "/tmp/godwit-unit-XXXXXX");
	cr_assert_not_null(mkdtemp(top));
	snprintf(class_dir, sizeof(class_dir), "%s/class", top);
}

static void teardown(void)
{
	char command[128];

	snprintf(command, sizeof(command), "rm -rf %s", top);
	cr_assert_eq(system(command), 0);
}

TestSuite(blkinfo_nvme, .init = setup, .fini = teardown);

static int count_path(void *arg, const char *path_dir)
{
	(void)path_dir;
	++*(int *)arg;
	return 0;
}

Test(blkinfo_nvme, a_disk_of_one_controller)
{
	struct gw_nvme_place nvme;

	add_subsystem(3, "S3   \n");
	add_subsystem(4, "S4\n");
	add_controller(4, 1);
	/* nsid 3 as the second head: names lie. */
	put(path_of("devices/pci0/nvme/nvme1/nvme1n2/nsid"), "3\n");
	cr_assert(gw_nvme_look(&nvme, class_dir, path_of("devices/pci0/nvme/nvme1/nvme1n2")));
	cr_expect(nvme.is_namespace);
	cr_expect_eq(nvme.nsid, 3);
	cr_expect_eq(nvme.head, 2);
	cr_expect_eq(nvme.subsystem, 4);
	cr_expect_eq(nvme.controller_count, 1);
	cr_expect_eq(nvme.controllers[0], 1);
	cr_expect_str_eq(nvme.serial, "S4");
	cr_expect_str_eq(nvme.subsystem_nqn, "nqn.2026-01.example:drive");
}

Test(blkinfo_nvme, a_head_with_two_paths)
{
	struct gw_nvme_place nvme;
	int paths = 0;

	add_subsystem(0, "S0\n");
	add_controller(0, 10);
	add_controller(0, 2);
	add_path(0, 2, "nvme0c2n1", "0 0\n");
	add_path(0, 2, "nvme0c2n11", "5 5\n");
	add_path(0, 10, "nvme0c10n1", "0 0\n");
	put(path_of("class/nvme-subsys0/nvme2/ng0n1/dev"), "1:1\n");
	put(path_of("virtual/nvme-subsys0/nvme0n1/nsid"), "1\n");
	cr_assert(gw_nvme_look(&nvme, class_dir, path_of("virtual/nvme-subsys0/nvme0n1")));
	cr_expect_eq(nvme.subsystem, 0);
	cr_expect_eq(nvme.controller_count, 2);
	cr_expect_eq(nvme.controllers[0], 2);
	cr_expect_eq(nvme.controllers[1], 10);
	gw_nvme_each_path(&nvme, class_dir, count_path, &paths);
	cr_expect_eq(paths, 2);
	cr_expect(gw_nvme_is_idle(&nvme, class_dir), "of another namespace is of no concern");
	add_path(0, 10, "nvme0c10n1", "0 1\n");
	cr_expect_not(gw_nvme_is_idle(&nvme, class_dir));
}

Test(blkinfo_nvme, a_queue_that_does_not_count_is_not_idle)
{
	struct gw_nvme_place nvme;

	add_subsystem(0, "S0\n");
	add_controller(0, 0);
	add_path(0, 0, "nvme0n1", "0 0\n");
	put(path_of("class/nvme-subsys0/nvme0/nvme0n1/nsid"), "1\n");
	cr_assert(gw_nvme_look(&nvme, class_dir, path_of("class/nvme-subsys0/nvme0/nvme0n1")));
	cr_expect(gw_nvme_is_idle(&nvme, class_dir));
	put(path_of("class/nvme-subsys0/nvme0/nvme0n1/queue/iostats"), "0\n");
	cr_expect_not(gw_nvme_is_idle(&nvme, class_dir));
}

Test(blkinfo_nvme, more_controllers_than_are_listed)
{
	struct gw_nvme_place nvme;

	add_subsystem(0, "S0\n");
	for (int i = 0; i < GW_NVME_CONTROLLERS_MAX + 2; i++)
		add_controller(0, i);
	put(path_of("virtual/nvme-subsys0/nvme0n1/nsid"), "1\n");
	cr_assert(gw_nvme_look(&nvme, class_dir, path_of("virtual/nvme-subsys0/nvme0n1")));
	cr_expect_eq(nvme.controller_count, GW_NVME_CONTROLLERS_MAX + 2);
}

Test(blkinfo_nvme, what_is_no_namespace)
{
	struct gw_nvme_place nvme;

	add_subsystem(0, "S0\n");
	add_controller(0, 0);
	put(path_of("devices/nvme0/nvme0n1/size"), "8\n");
	cr_expect_not(gw_nvme_look(&nvme, class_dir, path_of("devices/nvme0/nvme0n1")),
		      "no nsid");
	put(path_of("devices/virtual/loop0/nsid"), "1\n");
	cr_expect_not(gw_nvme_look(&nvme, class_dir, path_of("devices/virtual/loop0")));
	put(path_of("devices/nvme7/nvme7n1/nsid"), "1\n");
	cr_expect_not(gw_nvme_look(&nvme, class_dir, path_of("devices/nvme7/nvme7n1")),
		      "in no subsystem");
	cr_expect_not(nvme.is_namespace);
}

Test(blkinfo_nvme, another_drive_or_number_is_another_namespace)
{
	const struct gw_nvme_place was = {
		.is_namespace = true, .nsid = 1, .head = 1, .controller_count = 2, .serial = "A",
	};
	struct gw_nvme_place now = was;

	now.controller_count = 1;
	cr_expect(gw_nvme_is_same(&was, &now), "a path was lost");
	now.nsid = 2;
	cr_expect_not(gw_nvme_is_same(&was, &now));
	now = was;
	strcpy(now.serial, "B");
	cr_expect_not(gw_nvme_is_same(&was, &now));
}

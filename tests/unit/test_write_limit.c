// SPDX-License-Identifier: GPL-2.0-or-later
/* The limit of a cgroup, in a tree of plain files that looks like one; both versions. */
#include "write_limit.h"

#include <criterion/criterion.h>

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#define DISK makedev(7, 1)
#define V1_FILE "blkio.throttle.write_bps_device"

static char tree[64];

static void make_tree(void)
{
	snprintf(tree, sizeof(tree), "/tmp/gw-cgroup.XXXXXX");
	cr_assert(mkdtemp(tree) != NULL);
}

static void remove_tree(void)
{
	char command[96];

	snprintf(command, sizeof(command), "rm -rf %s", tree);
	cr_expect(system(command) == 0);
}

static const char *in_tree(const char *name)
{
	static char path[4][256];
	static unsigned int next;

	next = (next + 1) % 4;
	snprintf(path[next], sizeof(path[0]), "%s/%s", tree, name);
	return path[next];
}

static void put(const char *name, const char *text)
{
	FILE *const file = fopen(in_tree(name), "w");

	cr_assert(file != NULL);
	fputs(text, file);
	fclose(file);
}

static void expect_text(const char *name, const char *want)
{
	char text[256] = "";
	FILE *const file = fopen(in_tree(name), "r");

	cr_assert(file != NULL);
	cr_assert(fread(text, 1, sizeof(text) - 1, file) > 0);
	fclose(file);
	cr_expect_str_eq(text, want);
}

/* As the kernel's mountinfo has them, below the tree. */
static const char *mountinfo(const char *format, ...) __attribute__((format(printf, 1, 2)));
static const char *mountinfo(const char *format, ...)
{
	FILE *const file = fopen(in_tree("mountinfo"), "w");
	va_list args;

	cr_assert(file != NULL);
	va_start(args, format);
	vfprintf(file, format, args);
	va_end(args);
	fclose(file);
	return in_tree("mountinfo");
}

static uint64_t parsed(enum gw_cgroup_version version, const char *text)
{
	uint64_t bytes_per_s = 77;

	cr_assert(gw_write_limit_parse(version, text, DISK, &bytes_per_s) == 0, "%s", text);
	return bytes_per_s;
}

static void refused(enum gw_cgroup_version version, const char *text)
{
	uint64_t bytes_per_s = 77;

	cr_expect(gw_write_limit_parse(version, text, DISK, &bytes_per_s) == -EBADMSG, "%s", text);
	cr_expect(bytes_per_s == 77);
}

Test(write_limit, text_of_version_1)
{
	cr_expect(parsed(GW_CGROUP_V1, "") == 0);
	cr_expect(parsed(GW_CGROUP_V1, "7:1 1048576\n") == 1048576);
	cr_expect(parsed(GW_CGROUP_V1, "7:0 5\n7:1 6\n7:11 7\n17:1 8\n") == 6);
	cr_expect(parsed(GW_CGROUP_V1, "7:11 7\n17:1 8\n") == 0);
	cr_expect(parsed(GW_CGROUP_V1, "7:1 18446744073709551615") == UINT64_MAX);
	refused(GW_CGROUP_V1, "7:1 \n");
	refused(GW_CGROUP_V1, "7:1 -1\n");
	refused(GW_CGROUP_V1, "7:1 12x\n");
	refused(GW_CGROUP_V1, "7:1 18446744073709551616\n");
}

Test(write_limit, text_of_version_2)
{
	cr_expect(parsed(GW_CGROUP_V2, "") == 0);
	cr_expect(parsed(GW_CGROUP_V2, "7:1 rbps=1 wbps=max riops=2 wiops=3\n") == 0);
	cr_expect(parsed(GW_CGROUP_V2, "7:0 rbps=1 wbps=9 riops=2 wiops=3\n"
				       "7:1 rbps=1 wbps=2097152 riops=max wiops=3\n") == 2097152);
	refused(GW_CGROUP_V2, "7:1 rbps=1 riops=2 wiops=3\n");
	refused(GW_CGROUP_V2, "7:1 rbps=1 wbps=\n");
	refused(GW_CGROUP_V2, "7:1 xwbps=4\n");
}

Test(write_limit, version_1_is_set_and_restored, .init = make_tree, .fini = remove_tree)
{
	const uint64_t ours[2] = { 2000000, 4000000 };
	struct gw_write_limit limit;
	uint64_t now = 77;

	put(V1_FILE, "7:1 9000000\n");
	put("blkio.throttle.io_service_bytes",
	    "7:0 Write 1\n7:1 Read 2\n7:1 Write 12611584\n7:1 Total 3\nTotal 4\n");
	cr_assert(gw_write_limit_open(&limit, tree, DISK, NULL, NULL) == 0);
	cr_expect(limit.version == GW_CGROUP_V1);
	cr_expect(gw_write_limit_get(&limit, &now) == 0);
	cr_expect(now == 9000000);
	cr_expect(gw_write_limit_written(&limit, &now) == 0);
	cr_expect(now == 12611584);
	cr_expect(gw_write_limit_set(&limit, 2000000) == 0);
	expect_text(V1_FILE, "7:1 2000000\n");
	cr_expect(gw_write_limit_restore(&limit, 9000000, ours) == 0);
	expect_text(V1_FILE, "7:1 9000000\n");
	cr_expect(gw_write_limit_restore(&limit, 9000000, ours) == 0, "twice is fine");
	expect_text(V1_FILE, "7:1 9000000\n");
	cr_expect(gw_write_limit_set(&limit, 4000000) == 0);
	cr_expect(gw_write_limit_restore(&limit, 0, ours) == 0, "the one before the last is ours, too");
	expect_text(V1_FILE, "7:1 0\n");
	gw_write_limit_close(&limit);
}

Test(write_limit, version_2_is_set_and_restored, .init = make_tree, .fini = remove_tree)
{
	const uint64_t ours[2] = { 2000000, 2000000 };
	struct gw_write_limit limit;
	uint64_t now = 77;

	put("io.max", "7:1 rbps=max wbps=max riops=100 wiops=max\n");
	put("io.stat", "7:1 rbytes=1 wbytes=4096 rios=1 wios=2 dbytes=0 dios=0\n");
	cr_assert(gw_write_limit_open(&limit, tree, DISK, NULL, NULL) == 0);
	cr_expect(limit.version == GW_CGROUP_V2);
	cr_expect(gw_write_limit_get(&limit, &now) == 0);
	cr_expect(now == 0);
	cr_expect(gw_write_limit_written(&limit, &now) == 0);
	cr_expect(now == 4096);
	/* The kernel changes the words that are named, and no others. */
	cr_expect(gw_write_limit_set(&limit, 2000000) == 0);
	expect_text("io.max", "7:1 wbps=2000000\n");
	cr_expect(gw_write_limit_restore(&limit, 0, ours) == 0);
	expect_text("io.max", "7:1 wbps=max\n");
	gw_write_limit_close(&limit);
}

Test(write_limit, what_somebody_else_has_set_stays, .init = make_tree, .fini = remove_tree)
{
	const uint64_t ours[2] = { 2000000, 4000000 };
	struct gw_write_limit limit;

	put("io.max", "7:1 rbps=max wbps=3000000 riops=max wiops=max\n");
	cr_assert(gw_write_limit_open(&limit, tree, DISK, NULL, NULL) == 0);
	cr_expect(gw_write_limit_restore(&limit, 0, ours) == 1);
	expect_text("io.max", "7:1 rbps=max wbps=3000000 riops=max wiops=max\n");
	cr_expect(unlink(in_tree("io.max")) == 0);
	cr_expect(gw_write_limit_restore(&limit, 0, ours) == 1, "and one that is gone stays gone");
	gw_write_limit_close(&limit);
}

Test(write_limit, what_was_never_counted_is_not_zero, .init = make_tree, .fini = remove_tree)
{
	struct gw_write_limit limit;
	uint64_t bytes = 77;

	put("io.max", "");
	cr_assert(gw_write_limit_open(&limit, tree, DISK, NULL, NULL) == 0);
	cr_expect(gw_write_limit_written(&limit, &bytes) == -ENODATA);
	put("io.stat", "7:2 rbytes=1 wbytes=4096 rios=1 wios=2\n");
	cr_expect(gw_write_limit_written(&limit, &bytes) == -ENODATA);
	cr_expect(bytes == 77);
	gw_write_limit_close(&limit);
}

Test(write_limit, is_found_by_its_name, .init = make_tree, .fini = remove_tree)
{
	struct gw_write_limit limit;
	struct gw_diag diag = { 0 };
	const char *info;

	mkdir(in_tree("blkio"), 0700);
	mkdir(in_tree("blkio/db"), 0700);
	mkdir(in_tree("unified"), 0700);
	mkdir(in_tree("unified/db"), 0700);
	put("blkio/db/" V1_FILE, "");
	put("unified/db/cgroup.procs", "");
	/* Other controllers, and options that only look alike. */
	info = mountinfo("1 1 0:1 / %s rw shared:1 - cgroup cgroup rw,memory\n"
			 "2 1 0:2 / %s/unified rw - cgroup2 cgroup rw\n"
			 "3 1 0:3 / %s/none rw - cgroup cgroup rw,xblkio\n"
			 "4 1 0:4 / %s/blkio rw shared:9 - cgroup cgroup rw,blkio\n", tree, tree,
			 tree, tree);
	cr_assert(gw_write_limit_open(&limit, "db", DISK, info, &diag) == 0, "%s", diag.text);
	cr_expect(limit.version == GW_CGROUP_V1);
	gw_write_limit_close(&limit);
	cr_assert(gw_write_limit_open(&limit, "/db", DISK, info, &diag) == 0, "as /proc has it");
	cr_expect_str_eq(limit.path, in_tree("blkio/db"));
	gw_write_limit_close(&limit);
	put("unified/db/io.max", "");
	cr_expect(unlink(in_tree("blkio/db/" V1_FILE)) == 0);
	cr_assert(gw_write_limit_open(&limit, "/db", DISK, info, &diag) == 0);
	cr_expect(limit.version == GW_CGROUP_V2);
	gw_write_limit_close(&limit);
}

static void expect_refusal(const char *cgroup, const char *info, const char *words)
{
	struct gw_write_limit limit;
	struct gw_diag diag = { 0 };

	cr_expect(gw_write_limit_open(&limit, cgroup, DISK, info, &diag) < 0);
	cr_expect(limit.version == 0);
	cr_expect(diag.exit_code == GW_EXIT_CANNOT);
	cr_expect(strstr(diag.text, words) != NULL, "%s: %s", words, diag.text);
}

Test(write_limit, refusals_say_why, .init = make_tree, .fini = remove_tree)
{
	const char *info;

	mkdir(in_tree("bare"), 0700);
	info = mountinfo("2 1 0:2 / %s rw - cgroup2 cgroup rw\n", tree);
	expect_refusal("nothere", info, "there is no cgroup nothere in");
	expect_refusal("/bare", info, "neither io.max nor");
	expect_refusal(in_tree("bare"), info, "neither io.max nor");
	put("bare/io.max", "7:1 rbps=what\n");
	expect_refusal("bare", info, "io.max cannot be read");
	expect_refusal("db", mountinfo("1 1 0:1 / / rw - ext4 /dev/sda rw\nrubbish\n"),
		       "no cgroup file system");
}

Test(write_limit, processes, .init = make_tree, .fini = remove_tree)
{
	struct gw_write_limit limit;

	put("io.max", "");
	put("cgroup.procs", "");
	mkdir(in_tree("child"), 0700);
	put("child/cgroup.procs", "");
	cr_assert(gw_write_limit_open(&limit, tree, DISK, NULL, NULL) == 0);
	cr_expect(!gw_write_limit_has_processes(&limit));
	put("child/cgroup.procs", "12\n");
	cr_expect(gw_write_limit_has_processes(&limit), "v2: a limit holds for all below");
	cr_expect(!gw_write_limit_misses_children(&limit));
	gw_write_limit_close(&limit);
	put(V1_FILE, "");
	cr_assert(gw_write_limit_open(&limit, tree, DISK, NULL, NULL) == 0);
	cr_expect(!gw_write_limit_has_processes(&limit), "v1: it does not");
	cr_expect(gw_write_limit_misses_children(&limit));
	put("cgroup.procs", "12\n");
	cr_expect(gw_write_limit_has_processes(&limit));
	gw_write_limit_close(&limit);
}

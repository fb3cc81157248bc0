// SPDX-License-Identifier: GPL-2.0-or-later
#include "write_limit.h"

#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#define FILE_BYTES_MAX 65536		/* a line for each disk with a limit */
#define MOUNTS_MAX 16
#define CHILD_DEPTH_MAX 16

/* What the two versions call the same things. */
struct dialect {
	const char *limit_file, *stat_file;
};

static const struct dialect dialects[] = {
	[GW_CGROUP_V1] = { "blkio.throttle.write_bps_device", "blkio.throttle.io_service_bytes" },
	[GW_CGROUP_V2] = { "io.max", "io.stat" },
};

/* ---- text ---- */

/* All of a small file, terminated. Return: its length or negative errno. */
static ssize_t read_file(int dir_fd, const char *name, char *text, size_t bytes)
{
	const int fd = openat(dir_fd, name, O_RDONLY | O_CLOEXEC);
	size_t used = 0;
	ssize_t n = 0;

	if (fd < 0)
		return -errno;
	while (used < bytes - 1 && (n = read(fd, text + used, bytes - 1 - used)) > 0)
		used += (size_t)n;
	if (n < 0)
		n = -errno;
	else if (used == bytes - 1)
		n = -EFBIG;
	close(fd);
	text[used] = '\0';
	return n < 0 ? n : (ssize_t)used;
}

/* The rest of the next line that begins with the disk's number, copied; NULL if there is none. */
static char *next_line(const char **text, dev_t disk, char *line, size_t bytes)
{
	char prefix[32];
	const size_t length = (size_t)snprintf(prefix, sizeof(prefix), "%u:%u ", major(disk),
					       minor(disk));

	while (**text != '\0') {
		const char *const start = *text;
		const size_t whole = strcspn(start, "\n");

		*text = start + whole + (start[whole] == '\n');
		if (whole < length || strncmp(start, prefix, length) != 0)
			continue;
		snprintf(line, bytes, "%.*s", (int)(whole - length), start + length);
		return line;
	}
	return NULL;
}

static int parse_number(const char *text, uint64_t *number)
{
	char *end;

	if (strcmp(text, "max") == 0) {
		*number = 0;
		return 0;
	}
	if (text[0] < '0' || text[0] > '9')
		return -EBADMSG;
	errno = 0;
	*number = strtoull(text, &end, 10);
	return errno != 0 || *end != '\0' ? -EBADMSG : 0;
}

/* "wbps=1048576" among other words. */
static const char *value_of(char *line, const char *key)
{
	const size_t length = strlen(key);
	char *rest;

	for (char *word = strtok_r(line, " ", &rest); word != NULL; word = strtok_r(NULL, " ", &rest))
		if (strncmp(word, key, length) == 0 && word[length] == '=')
			return word + length + 1;
	return NULL;
}

int gw_write_limit_parse(enum gw_cgroup_version version, const char *text, dev_t disk,
			 uint64_t *bytes_per_s)
{
	char line[256];
	const char *value;
	uint64_t number = 0;

	if (next_line(&text, disk, line, sizeof(line)) != NULL) {
		value = version == GW_CGROUP_V2 ? value_of(line, "wbps") : line;
		if (value == NULL || parse_number(value, &number) != 0)
			return -EBADMSG;
	}
	*bytes_per_s = number;
	return 0;
}

static int parse_written(enum gw_cgroup_version version, const char *text, dev_t disk,
			 uint64_t *bytes)
{
	char line[256];

	while (next_line(&text, disk, line, sizeof(line)) != NULL) {
		const char *value;

		if (version == GW_CGROUP_V1) {
			if (strncmp(line, "Write ", 6) == 0)
				return parse_number(line + 6, bytes);
			continue;
		}
		value = value_of(line, "wbytes");
		return value == NULL ? -EBADMSG : parse_number(value, bytes);
	}
	return -ENODATA;
}

/* ---- looking for the cgroup ---- */

/* Return: true if it is one that can limit; false with errno, of a missing directory or file. */
static bool take_dir(struct gw_write_limit *limit, const char *path)
{
	const int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct stat st;

	if (fd < 0)
		return false;
	for (enum gw_cgroup_version v = GW_CGROUP_V1; v <= GW_CGROUP_V2; v++) {
		if (faccessat(fd, dialects[v].limit_file, F_OK, 0) != 0 || fstat(fd, &st) != 0)
			continue;
		limit->dir_fd = fd;
		limit->version = v;
		limit->ino = st.st_ino;
		if (realpath(path, limit->path) == NULL)
			snprintf(limit->path, sizeof(limit->path), "%s", path);
		return true;
	}
	close(fd);
	errno = EOPNOTSUPP;
	return false;
}

struct hierarchies {
	char dir[MOUNTS_MAX][PATH_MAX];
	uint32_t count;
};

static bool has_option(const char *options, const char *name)
{
	const size_t length = strlen(name);

	for (const char *at = options; at != NULL; at = strchr(at, ',')) {
		at += *at == ',';
		if (strncmp(at, name, length) == 0 && (at[length] == ',' || at[length] == '\0'))
			return true;
	}
	return false;
}

/* "36 35 98:0 / /dir rw - cgroup2 source options": which of them may hold the controller. */
static void add_mount(struct hierarchies *all, char *line)
{
	char dir[PATH_MAX], kind[32], options[256];
	char *const tail = strstr(line, " - ");

	line[strcspn(line, "\n")] = '\0';
	if (tail == NULL || all->count == MOUNTS_MAX ||
	    sscanf(line, "%*s %*s %*s %*s %4095s", dir) != 1 ||
	    sscanf(tail, " - %31s %*s %255s", kind, options) != 2)
		return;
	if (strcmp(kind, "cgroup2") != 0 &&
	    !(strcmp(kind, "cgroup") == 0 && has_option(options, "blkio")))
		return;
	snprintf(all->dir[all->count++], PATH_MAX, "%s", dir);
}

static void find_hierarchies(struct hierarchies *all, const char *mountinfo)
{
	FILE *const file = fopen(mountinfo, "re");
	char *line = NULL;
	size_t bytes = 0;

	while (file != NULL && getline(&line, &bytes, file) >= 0)
		add_mount(all, line);
	free(line);
	if (file != NULL)
		fclose(file);
}

static int fail_unlimited(const char *cgroup, const char *dir, struct gw_diag *diag)
{
	return gw_fail_exit(diag, GW_EXIT_CANNOT, -EOPNOTSUPP,
		"cgroup %s (%s) has neither io.max nor blkio.throttle.write_bps_device: it is a root, or its "
		"controller is not enabled (cgroup v2: echo +io > .../cgroup.subtree_control of its "
		"parent; v1: the kernel needs CONFIG_BLK_DEV_THROTTLING)", cgroup, dir);
}

/* v1 and v2 may both have a cgroup of that name; only one of them has the controller. */
static int find(struct gw_write_limit *limit, const char *cgroup, const char *mountinfo,
		struct gw_diag *diag)
{
	struct hierarchies *const all = calloc(1, sizeof(*all));
	char path[2 * PATH_MAX], unlimited[PATH_MAX] = "";
	int err = 0;

	assert(all != NULL);
	if (cgroup[0] == '/' && take_dir(limit, cgroup))
		goto out;
	if (cgroup[0] == '/' && errno == EOPNOTSUPP)
		snprintf(unlimited, sizeof(unlimited), "%s", cgroup);
	find_hierarchies(all, mountinfo != NULL ? mountinfo : "/proc/self/mountinfo");
	for (uint32_t i = 0; i < all->count; i++) {
		snprintf(path, sizeof(path), "%s/%s", all->dir[i], cgroup);
		if (take_dir(limit, path))
			goto out;
		if (errno == EOPNOTSUPP)
			snprintf(unlimited, sizeof(unlimited), "%.4000s", path);
	}
	if (unlimited[0] != '\0')
		err = fail_unlimited(cgroup, unlimited, diag);
	else if (all->count == 0)
		err = gw_fail_exit(diag, GW_EXIT_CANNOT, -ENOENT,
			"cgroup %s: no cgroup file system with a blkio or io controller is mounted",
			cgroup);
	else
		err = gw_fail_exit(diag, GW_EXIT_CANNOT, -ENOENT,
			"there is no cgroup %s in %s%s%s; /proc/PID/cgroup has the name of a "
			"process's own", cgroup, all->dir[0], all->count > 1 ? " or " : "",
			all->count > 1 ? all->dir[1] : "");
out:
	free(all);
	return err;
}

int gw_write_limit_open(struct gw_write_limit *limit, const char *cgroup, dev_t disk,
			const char *mountinfo, struct gw_diag *diag)
{
	uint64_t now;
	int err;

	memset(limit, 0, sizeof(*limit));
	err = find(limit, cgroup, mountinfo, diag);
	if (err < 0)
		return err;
	limit->disk = disk;
	err = gw_write_limit_get(limit, &now);
	if (err == 0)
		return 0;
	gw_fail_exit(diag, GW_EXIT_CANNOT, err, "%s/%s cannot be read: %s", limit->path,
		     dialects[limit->version].limit_file, strerror(-err));
	gw_write_limit_close(limit);
	return err;
}

void gw_write_limit_close(struct gw_write_limit *limit)
{
	if (limit->version != 0)
		close(limit->dir_fd);
	memset(limit, 0, sizeof(*limit));
}

/* ---- the limit ---- */

int gw_write_limit_get(const struct gw_write_limit *limit, uint64_t *bytes_per_s)
{
	char *const text = malloc(FILE_BYTES_MAX);
	ssize_t n;
	int err;

	assert(text != NULL);
	n = read_file(limit->dir_fd, dialects[limit->version].limit_file, text, FILE_BYTES_MAX);
	err = n < 0 ? (int)n : gw_write_limit_parse(limit->version, text, limit->disk, bytes_per_s);
	free(text);
	return err;
}

/* The control files take one line a write, and change what it names. */
int gw_write_limit_set(const struct gw_write_limit *limit, uint64_t bytes_per_s)
{
	const unsigned int maj = major(limit->disk), min = minor(limit->disk);
	char line[96];
	uint64_t now = 0;
	ssize_t written;
	int fd, err;

	if (limit->version == GW_CGROUP_V1)
		snprintf(line, sizeof(line), "%u:%u %" PRIu64 "\n", maj, min, bytes_per_s);
	else if (bytes_per_s == 0)
		snprintf(line, sizeof(line), "%u:%u wbps=max\n", maj, min);
	else
		snprintf(line, sizeof(line), "%u:%u wbps=%" PRIu64 "\n", maj, min, bytes_per_s);
	fd = openat(limit->dir_fd, dialects[limit->version].limit_file,
		    O_WRONLY | O_TRUNC | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	written = write(fd, line, strlen(line));
	err = written < 0 ? -errno : written != (ssize_t)strlen(line) ? -EIO : 0;
	close(fd);
	if (err == 0)
		err = gw_write_limit_get(limit, &now);
	return err == 0 && now != bytes_per_s ? -EIO : err;
}

int gw_write_limit_restore(const struct gw_write_limit *limit, uint64_t former_bytes_per_s,
			   const uint64_t ours_bytes_per_s[2])
{
	uint64_t now = 0;
	int err = gw_write_limit_get(limit, &now);

	if (err == -ENOENT || err == -ENODEV)
		return 1;
	if (err < 0)
		return err;
	if (now == former_bytes_per_s)
		return 0;
	if (now != ours_bytes_per_s[0] && now != ours_bytes_per_s[1])
		return 1;
	err = gw_write_limit_set(limit, former_bytes_per_s);
	return err == -ENOENT || err == -ENODEV ? 1 : err;
}

/* ---- what is known of the cgroup ---- */

int gw_write_limit_written(const struct gw_write_limit *limit, uint64_t *bytes)
{
	char *const text = malloc(FILE_BYTES_MAX);
	ssize_t n;
	int err;

	assert(text != NULL);
	n = read_file(limit->dir_fd, dialects[limit->version].stat_file, text, FILE_BYTES_MAX);
	err = n < 0 ? (int)n : parse_written(limit->version, text, limit->disk, bytes);
	free(text);
	return err == -EBADMSG || err == -ENOENT ? -ENODATA : err;
}

/* A threaded cgroup's processes cannot be read: doubt is "yes". */
static bool has_own_processes(int dir_fd)
{
	char text[64];
	const ssize_t n = read_file(dir_fd, "cgroup.procs", text, sizeof(text));

	return n != 0;
}

static bool has_processes_below(int dir_fd, int depth)
{
	const int copy = openat(dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *const dir = copy < 0 ? NULL : fdopendir(copy);
	struct dirent *entry;
	bool found = false;

	while (dir != NULL && !found && (entry = readdir(dir)) != NULL) {
		int child;

		if (entry->d_type != DT_DIR || entry->d_name[0] == '.')
			continue;
		child = openat(dir_fd, entry->d_name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		if (child < 0)
			continue;
		found = has_own_processes(child) ||
			(depth < CHILD_DEPTH_MAX && has_processes_below(child, depth + 1));
		close(child);
	}
	if (dir != NULL)
		closedir(dir);
	else if (copy >= 0)
		close(copy);
	return found;
}

bool gw_write_limit_has_processes(const struct gw_write_limit *limit)
{
	return has_own_processes(limit->dir_fd) ||
	       (limit->version == GW_CGROUP_V2 && has_processes_below(limit->dir_fd, 0));
}

bool gw_write_limit_misses_children(const struct gw_write_limit *limit)
{
	return limit->version == GW_CGROUP_V1 && has_processes_below(limit->dir_fd, 0);
}

bool gw_write_limit_is_writable(const struct gw_write_limit *limit)
{
	return faccessat(limit->dir_fd, dialects[limit->version].limit_file, W_OK,
			 AT_EACCESS) == 0;
}

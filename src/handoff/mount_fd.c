// SPDX-License-Identifier: GPL-2.0-or-later
#include "mount_fd.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/stat.h>
#include <unistd.h>

#include "blkinfo_sysfs.h"

#define BROKEN_MOUNTS_MAX 64		/* of one file system, looked at for borrowing */

struct search {
	dev_t dev;
	char *fs_type;
	int fd;
	uint64_t broken[BROKEN_MOUNTS_MAX];	/* ids of mounts that answer EIO */
	uint32_t broken_count;
};

static int note_broken(struct search *search, const struct gw_mountinfo *mount)
{
	if (errno == EIO && search->broken_count < BROKEN_MOUNTS_MAX) {
		search->broken[search->broken_count++] = mount->mount_id;
		snprintf(search->fs_type, GW_MOUNT_FD_TYPE_BYTES, "%s", mount->fs_type);
	}
	return 0;
}

/* Mounted over, bind mounts of files, other roots: whatever leads to the file system will do. */
static int try_mount(void *arg, const struct gw_mountinfo *mount)
{
	struct search *const search = arg;
	struct stat st;

	if (mount->dev != search->dev)
		return 0;
	if (lstat(mount->dir, &st) != 0)
		return note_broken(search, mount);
	if (!S_ISDIR(st.st_mode) && !S_ISREG(st.st_mode))
		return 0;
	search->fd = open(mount->dir, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	if (search->fd < 0)
		return note_broken(search, mount);
	if (fstat(search->fd, &st) == 0 && st.st_dev == search->dev) {
		snprintf(search->fs_type, GW_MOUNT_FD_TYPE_BYTES, "%s", mount->fs_type);
		return 1;
	}
	close(search->fd);
	search->fd = -1;
	return 0;
}

static bool is_number(const char *text)
{
	return text[0] >= '0' && text[0] <= '9';
}

/* Not by stat(), which the file system answers: by the mount that it was opened through. */
static bool is_on_broken(const struct search *search, const char *pid, const char *fd)
{
	char path[64], line[128];
	unsigned long long id;
	bool answer = false;
	FILE *file;

	snprintf(path, sizeof(path), "/proc/%.16s/fdinfo/%.16s", pid, fd);
	file = fopen(path, "re");
	if (file == NULL)
		return false;
	while (fgets(line, sizeof(line), file) != NULL)
		for (uint32_t i = 0; i < search->broken_count; i++)
			answer |= sscanf(line, "mnt_id: %llu", &id) == 1 && id == search->broken[i];
	fclose(file);
	return answer;
}

static int borrow(const char *pid, const char *fd)
{
	const int pidfd = pidfd_open(atoi(pid), 0);
	int borrowed, flags;

	if (pidfd < 0)
		return -1;
	borrowed = pidfd_getfd(pidfd, atoi(fd), 0);
	close(pidfd);
	/* Opened with O_PATH it takes no ioctl. */
	flags = borrowed >= 0 ? fcntl(borrowed, F_GETFL) : -1;
	if (borrowed >= 0 && (flags < 0 || (flags & O_PATH) != 0)) {
		close(borrowed);
		return -1;
	}
	return borrowed;
}

static int borrow_from(const struct search *search, const char *pid)
{
	char path[64];
	struct dirent *entry;
	DIR *dir;
	int fd = -1;

	snprintf(path, sizeof(path), "/proc/%.16s/fd", pid);
	dir = opendir(path);
	if (dir == NULL)
		return -1;
	while (fd < 0 && (entry = readdir(dir)) != NULL)
		if (is_number(entry->d_name) && is_on_broken(search, pid, entry->d_name))
			fd = borrow(pid, entry->d_name);
	closedir(dir);
	return fd;
}

/* Those who wait for the thaw have something open there: that is what they write to. */
static int borrow_from_anybody(const struct search *search)
{
	DIR *const dir = opendir("/proc");
	struct dirent *entry;
	int fd = -1;

	if (dir == NULL)
		return -EIO;
	while (fd < 0 && (entry = readdir(dir)) != NULL)
		if (is_number(entry->d_name))
			fd = borrow_from(search, entry->d_name);
	closedir(dir);
	return fd >= 0 ? fd : -EIO;
}

int gw_mount_fd_open(dev_t dev, char *fs_type)
{
	struct search search = { .dev = dev, .fs_type = fs_type, .fd = -1 };
	const int answer = gw_mountinfo_each(try_mount, &search);

	if (answer > 0)
		return search.fd;
	if (answer < 0)
		return answer;
	return search.broken_count > 0 ? borrow_from_anybody(&search) : -ENOENT;
}

// SPDX-License-Identifier: GPL-2.0-or-later
#include "track_pins.h"

#include <assert.h>
#include <bpf/bpf.h>
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "clock.h"
#include "fault.h"
#include "track.h"

#define BPFFS_MAGIC 0xcafe4a11
#define LOCK_TIMEOUT_NS (60 * GW_NS_PER_S)

int gw_pins_check_name(const char *name, struct gw_diag *diag)
{
	const size_t length = name != NULL ? strlen(name) : 0;

	if (length == 0 || length > GW_PINS_NAME_MAX)
		return gw_fail_exit(diag, GW_EXIT_USAGE, -EINVAL,
				    "a name has 1 to %d characters: \"%.70s\"", GW_PINS_NAME_MAX,
				    name != NULL ? name : "");
	for (size_t i = 0; i < length; i++)
		if (name[i] == '/' || !isgraph((unsigned char)name[i]))
			return gw_fail_exit(diag, GW_EXIT_USAGE, -EINVAL,
					    "a name has no '/', no blanks, only ASCII");
	return 0;
}

/* bpffs takes no dots: they, and the sign that stands for them, are written as in a URL. */
static void encode(char *out, size_t out_bytes, const char *name)
{
	size_t at = 0;

	for (; *name != '\0'; name++) {
		if (*name == '.' || *name == '%')
			at += (size_t)snprintf(out + at, out_bytes - at, "%%%02X", *name);
		else
			out[at++] = *name;
		assert(at < out_bytes);
	}
	out[at] = '\0';
}

/* Return: false if no name is written like that. */
static bool decode(char *out, size_t out_bytes, const char *entry)
{
	size_t at = 0;

	for (; *entry != '\0'; entry++) {
		if (at + 1 >= out_bytes)
			return false;
		if (strncmp(entry, "%2E", 3) == 0)
			out[at++] = '.';
		else if (strncmp(entry, "%25", 3) == 0)
			out[at++] = '%';
		else if (*entry == '%')
			return false;
		else
			out[at++] = *entry;
		if (*entry == '%')
			entry += 2;
	}
	out[at] = '\0';
	return true;
}

const char *gw_pins_path(char out[GW_PINS_PATH_BYTES], const char *name, const char *pin)
{
	char dir[3 * GW_PINS_NAME_MAX + 1];
	int length;

	encode(dir, sizeof(dir), name);
	length = snprintf(out, GW_PINS_PATH_BYTES, "%s/%s%s%s", GW_PINS_DIR, dir,
			  pin != NULL ? "/" : "", pin != NULL ? pin : "");
	assert(length > 0 && length < GW_PINS_PATH_BYTES);
	return out;
}

int gw_pins_check_bpffs(struct gw_diag *diag)
{
	struct statfs fs;

	if (statfs(GW_BPFFS_DIR, &fs) < 0)
		return gw_fail_exit(diag, GW_EXIT_CANNOT, -errno, "cannot look at %s: %s",
				    GW_BPFFS_DIR, strerror(errno));
	if ((uint32_t)fs.f_type != BPFFS_MAGIC)
		return gw_fail_exit(diag, GW_EXIT_CANNOT, -ENODEV,
				    "no BPF file system is mounted on %s: "
				    "mount -t bpf bpf %s", GW_BPFFS_DIR, GW_BPFFS_DIR);
	return 0;
}

int gw_pins_lock(struct gw_diag *diag)
{
	const uint64_t deadline_ns = gw_now_ns(&gw_clock_monotonic) + LOCK_TIMEOUT_NS;
	int fd;

	if (mkdir(GW_PINS_DIR, 0700) < 0 && errno != EEXIST)
		return gw_fail_exit(diag, GW_EXIT_CANNOT, -errno, "cannot make %s: %s",
				    GW_PINS_DIR, strerror(errno));
	fd = open(GW_PINS_DIR, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return gw_fail_exit(diag, GW_EXIT_CANNOT, -errno, "cannot open %s: %s",
				    GW_PINS_DIR, strerror(errno));
	while (flock(fd, LOCK_EX | LOCK_NB) < 0) {
		const int err = -errno;

		if ((err == -EWOULDBLOCK || err == -EINTR) &&
		    gw_now_ns(&gw_clock_monotonic) < deadline_ns) {
			usleep(20 * 1000);
			continue;
		}
		close(fd);
		return gw_fail_exit(diag, GW_EXIT_CANNOT, err,
				    "another godwit has been starting or stopping a tracking "
				    "for 60 s (%s is locked)", GW_PINS_DIR);
	}
	return fd;
}

int gw_pins_exist(const char *name)
{
	char path[GW_PINS_PATH_BYTES];

	return access(gw_pins_path(path, name, NULL), F_OK) == 0 ? 0 : -errno;
}

int gw_pins_create_dir(const char *name, struct gw_diag *diag)
{
	char path[GW_PINS_PATH_BYTES];

	if (mkdir(gw_pins_path(path, name, NULL), 0700) < 0)
		return gw_fail_exit(diag, GW_EXIT_CANNOT, -errno, "cannot make %s: %s", path,
				    strerror(errno));
	gw_fault_point("pin-dir");
	return 0;
}

int gw_pins_add(const char *name, const char *pin, int fd, struct gw_diag *diag)
{
	char path[GW_PINS_PATH_BYTES];

	if (bpf_obj_pin(fd, gw_pins_path(path, name, pin)) < 0)
		return gw_fail_exit(diag, GW_EXIT_CANNOT, -errno, "cannot pin %s: %s", path,
				    strerror(errno));
	gw_fault_point("pin-added");
	return 0;
}

static int remove_pin(const char *dir, const char *pin, struct gw_diag *diag)
{
	char path[2 * GW_PINS_PATH_BYTES + 256];

	snprintf(path, sizeof(path), "%s/%s", dir, pin);
	if (unlink(path) < 0 && errno != ENOENT)
		return gw_fail(diag, -errno, "cannot remove %s: %s", path, strerror(errno));
	gw_fault_point("pin-removed");
	return 0;
}

int gw_pins_remove(const char *name, struct gw_diag *diag)
{
	char dir[GW_PINS_PATH_BYTES];
	struct dirent **entries;
	int count, err;

	gw_pins_path(dir, name, NULL);
	/* First: what is left, if this dies, is seen as half of something. */
	err = remove_pin(dir, GW_PIN_HEADER, diag);
	if (err == 0) {
		count = scandir(dir, &entries, NULL, NULL);
		if (count < 0 && errno == ENOENT)
			return 0;
		if (count < 0)
			return gw_fail(diag, -errno, "cannot list %s: %s", dir, strerror(errno));
		for (int i = 0; i < count; i++) {
			if (entries[i]->d_name[0] != '.' && err == 0)
				err = remove_pin(dir, entries[i]->d_name, diag);
			free(entries[i]);
		}
		free(entries);
	}
	if (err == 0 && rmdir(dir) < 0 && errno != ENOENT)
		err = gw_fail(diag, -errno, "cannot remove %s: %s", dir, strerror(errno));
	return err;
}

int gw_track_block_each(int (*fn)(void *arg, const char *name), void *arg)
{
	struct dirent **entries;
	/* All names first: fn may remove what it is told. */
	const int count = scandir(GW_PINS_DIR, &entries, NULL, alphasort);
	int answer = 0;

	if (count < 0)
		return errno == ENOENT ? 0 : -errno;
	for (int i = 0; i < count; i++) {
		char name[GW_PINS_NAME_MAX + 1];

		if (answer == 0 && entries[i]->d_name[0] != '.' &&
		    decode(name, sizeof(name), entries[i]->d_name))
			answer = fn(arg, name);
		free(entries[i]);
	}
	free(entries);
	return answer;
}

int gw_track_block_remove(const char *name, struct gw_diag *diag)
{
	int lock, err;

	err = gw_pins_check_name(name, diag);
	if (err < 0)
		return err;
	/* Without a bpffs there are no pins. */
	if (gw_pins_exist(name) == -ENOENT)
		return 0;
	lock = gw_pins_lock(diag);
	if (lock < 0)
		return lock;
	err = gw_pins_remove(name, diag);
	close(lock);
	return err;
}

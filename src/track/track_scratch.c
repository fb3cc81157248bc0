// SPDX-License-Identifier: GPL-2.0-or-later
#include "track_scratch.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/loop.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#define LOOP_TRIES 16
#define ZRAM_CONTROL "/sys/class/zram-control"

static int fail_loop(struct gw_diag *diag, int err, const char *what)
{
	return gw_fail_exit(diag, GW_EXIT_CANNOT, err,
			    "the self-test needs a loop device of its own: %s: %s "
			    "(modprobe loop?)", what, strerror(-err));
}

/* Detaches itself when the last descriptor is closed, also by SIGKILL. */
static int configure_loop(struct gw_scratch *scratch, int backing_fd)
{
	struct loop_config config = {
		.fd = (uint32_t)backing_fd,
		.info = { .lo_flags = LO_FLAGS_AUTOCLEAR },
	};

	snprintf((char *)config.info.lo_file_name, LO_NAME_SIZE, "godwit self-test");
	scratch->fd = open(scratch->path, O_RDWR | O_DIRECT | O_CLOEXEC);
	if (scratch->fd < 0)
		return -errno;
	if (ioctl(scratch->fd, LOOP_CONFIGURE, &config) < 0) {
		const int err = -errno;

		close(scratch->fd);
		scratch->fd = -1;
		return err;
	}
	return 0;
}

static int find_loop(struct gw_scratch *scratch, int backing_fd, struct gw_diag *diag)
{
	const int control_fd = open("/dev/loop-control", O_RDWR | O_CLOEXEC);
	int err = -EBUSY;

	if (control_fd < 0)
		return fail_loop(diag, -errno, "/dev/loop-control");
	/* Free now, taken by somebody else a moment later: the next one, then. */
	for (int i = 0; i < LOOP_TRIES && err == -EBUSY; i++) {
		const int number = ioctl(control_fd, LOOP_CTL_GET_FREE);

		if (number < 0) {
			err = -errno;
			break;
		}
		snprintf(scratch->path, sizeof(scratch->path), "/dev/loop%d", number);
		err = configure_loop(scratch, backing_fd);
	}
	close(control_fd);
	return err < 0 ? fail_loop(diag, err, scratch->path) : 0;
}

int gw_scratch_open_loop(struct gw_scratch *scratch, uint64_t size_bytes, struct gw_diag *diag)
{
	int backing_fd, err;

	*scratch = (struct gw_scratch){ .fd = -1 };
	backing_fd = memfd_create("godwit self-test", MFD_CLOEXEC);
	if (backing_fd < 0 || ftruncate(backing_fd, (off_t)size_bytes) < 0)
		err = fail_loop(diag, -errno, "memory file");
	else
		err = find_loop(scratch, backing_fd, diag);
	/* The loop device has its own reference. */
	if (backing_fd >= 0)
		close(backing_fd);
	return err;
}

static int write_text(const char *path, const char *text)
{
	const int fd = open(path, O_WRONLY | O_CLOEXEC);
	int err = 0;

	if (fd < 0)
		return -errno;
	if (write(fd, text, strlen(text)) < 0)
		err = -errno;
	close(fd);
	return err;
}

static int add_zram(struct gw_scratch *scratch)
{
	const int fd = open(ZRAM_CONTROL "/hot_add", O_RDONLY | O_CLOEXEC);
	char text[32] = "";
	ssize_t got;

	if (fd < 0)
		return -ENODEV;
	got = read(fd, text, sizeof(text) - 1);
	close(fd);
	if (got <= 0)
		return -ENODEV;
	scratch->id = (unsigned int)strtoul(text, NULL, 10);
	scratch->is_zram = true;
	return 0;
}

int gw_scratch_open_zram(struct gw_scratch *scratch, uint64_t size_bytes, struct gw_diag *diag)
{
	char path[64], text[32];
	int err;

	*scratch = (struct gw_scratch){ .fd = -1 };
	err = add_zram(scratch);
	if (err < 0)
		return err;
	snprintf(path, sizeof(path), "/sys/block/zram%u/disksize", scratch->id);
	snprintf(text, sizeof(text), "%llu", (unsigned long long)size_bytes);
	snprintf(scratch->path, sizeof(scratch->path), "/dev/zram%u", scratch->id);
	err = write_text(path, text);
	if (err == 0) {
		scratch->fd = open(scratch->path, O_RDWR | O_DIRECT | O_CLOEXEC);
		err = scratch->fd < 0 ? -errno : 0;
	}
	if (err < 0) {
		gw_scratch_close(scratch);
		return gw_fail_exit(diag, GW_EXIT_CANNOT, err,
				    "the self-test could not set up %s: %s", scratch->path,
				    strerror(-err));
	}
	return 0;
}

void gw_scratch_close(struct gw_scratch *scratch)
{
	char text[32];

	if (scratch->fd >= 0)
		close(scratch->fd);
	scratch->fd = -1;
	if (!scratch->is_zram)
		return;
	/* Somebody (udev) may be looking at it for a moment. */
	snprintf(text, sizeof(text), "%u", scratch->id);
	for (int i = 0; i < 50 && write_text(ZRAM_CONTROL "/hot_remove", text) == -EBUSY; i++)
		usleep(20 * 1000);
	scratch->is_zram = false;
}

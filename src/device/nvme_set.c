// SPDX-License-Identifier: GPL-2.0-or-later
#include "nvme_set.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/nvme_ioctl.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <godwit/nvme_effects.h>

#define SAVE 0x80000000u
#define TIMEOUT_MS 5000			/* whoever waits has stopped its writers */

static int send_to(uint32_t controller, struct nvme_admin_cmd *command)
{
	char path[32];
	int fd, status;

	command->timeout_ms = TIMEOUT_MS;
	snprintf(path, sizeof(path), "/dev/nvme%u", controller);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	status = ioctl(fd, NVME_IOCTL_ADMIN_CMD, command);
	if (status < 0)
		status = -errno;
	close(fd);
	return status;
}

int gw_nvme_get_feature(uint32_t controller, uint8_t id, uint32_t nsid, uint32_t selector,
			uint32_t *value)
{
	struct nvme_admin_cmd command = {
		.opcode = GW_NVME_GET_FEATURES,
		.nsid = nsid,
		.cdw10 = id,
		.cdw11 = selector,
	};
	const int err = send_to(controller, &command);

	if (err == 0)
		*value = command.result;
	return err;
}

int gw_nvme_set_feature(uint32_t controller, uint8_t id, uint32_t nsid, bool save, uint32_t value)
{
	struct nvme_admin_cmd command = {
		.opcode = GW_NVME_SET_FEATURES,
		.nsid = nsid,
		.cdw10 = id | (save ? SAVE : 0),
		.cdw11 = value,
	};

	return send_to(controller, &command);
}

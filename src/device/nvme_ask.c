// SPDX-License-Identifier: GPL-2.0-or-later
#include "nvme_ask.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/nvme_ioctl.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <godwit/nvme_effects.h>

#define LOG_SANITIZE_STATUS 0x81
#define SANITIZE_STATE 0x7		/* of SSTAT, in bytes 3:2 of the log */
#define SANITIZE_IN_PROGRESS 2
#define SANICAP_AT 328			/* Identify Controller: Sanitize Capabilities */
#define FNA_AT 524			/* Identify Controller: Format NVM Attributes */
#define FNA_ALL_NAMESPACES 0x3		/* formats all, erases all */

int gw_nvme_ask(const struct gw_nvme_place *nvme, struct nvme_passthru_cmd *command)
{
	int err = -ENODEV;

	for (uint32_t i = 0; i < nvme->controller_count && i < GW_NVME_CONTROLLERS_MAX; i++) {
		char path[32];
		int fd, status;

		snprintf(path, sizeof(path), "/dev/nvme%u", nvme->controllers[i]);
		fd = open(path, O_RDONLY | O_CLOEXEC);
		if (fd < 0) {
			err = -errno;
			continue;
		}
		status = ioctl(fd, NVME_IOCTL_ADMIN_CMD, command);
		err = status < 0 ? -errno : status > 0 ? -EIO : 0;
		close(fd);
		if (err == 0)
			break;
	}
	return err;
}

int gw_nvme_ask_identify(const struct gw_nvme_place *nvme, uint8_t cns,
			 uint8_t data[GW_NVME_IDENTIFY_BYTES])
{
	struct nvme_passthru_cmd command = {
		.opcode = GW_NVME_IDENTIFY,
		.nsid = cns == 0 ? nvme->nsid : 0,
		.addr = (uintptr_t)data,
		.data_len = GW_NVME_IDENTIFY_BYTES,
		.cdw10 = cns,
	};

	memset(data, 0, GW_NVME_IDENTIFY_BYTES);
	return gw_nvme_ask(nvme, &command);
}

static int ask_log(const struct gw_nvme_place *nvme, uint32_t nsid, uint8_t log, void *data, size_t bytes)
{
	const uint32_t dwords_minus1 = (uint32_t)(bytes / 4 - 1);
	struct nvme_passthru_cmd command = {
		.opcode = GW_NVME_GET_LOG_PAGE,
		.nsid = nsid,
		.addr = (uintptr_t)data,
		.data_len = (uint32_t)bytes,
		.cdw10 = log | (dwords_minus1 & 0xffff) << 16,
		.cdw11 = dwords_minus1 >> 16,
	};

	memset(data, 0, bytes);
	return gw_nvme_ask(nvme, &command);
}

int gw_nvme_ask_log(const struct gw_nvme_place *nvme, uint8_t log, void *data, size_t bytes)
{
	return ask_log(nvme, GW_NVME_NSID_ALL, log, data, bytes);
}

bool gw_nvme_ask_format_is_wide(const struct gw_nvme_place *nvme)
{
	uint8_t controller[GW_NVME_IDENTIFY_BYTES];

	return gw_nvme_ask_identify(nvme, 1, controller) < 0 ||
	       (controller[FNA_AT] & FNA_ALL_NAMESPACES) != 0;
}

static bool is_in_progress(const uint8_t *sanitize_status)
{
	return (sanitize_status[2] & SANITIZE_STATE) == SANITIZE_IN_PROGRESS;
}

bool gw_nvme_ask_is_sanitizing(const struct gw_nvme_place *nvme)
{
	uint8_t whole[20], own[20], controller[GW_NVME_IDENTIFY_BYTES];
	uint32_t sanicap;

	/* Where namespaces are sanitized by themselves, each has its own status; other drives may refuse that. */
	if (ask_log(nvme, nvme->nsid, LOG_SANITIZE_STATUS, own, sizeof(own)) == 0 && is_in_progress(own))
		return true;
	if (gw_nvme_ask_log(nvme, LOG_SANITIZE_STATUS, whole, sizeof(whole)) == 0)
		return is_in_progress(whole);
	/* No such log; a drive that cannot sanitize needs none, and has refused the command. */
	if (gw_nvme_ask_identify(nvme, 1, controller) < 0)
		return true;
	memcpy(&sanicap, controller + SANICAP_AT, sizeof(sanicap));
	return sanicap != 0;
}

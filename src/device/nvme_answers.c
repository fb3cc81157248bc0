// SPDX-License-Identifier: GPL-2.0-or-later
#include "nvme_answers.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/nvme_ioctl.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "blkinfo_nvme.h"
#include "blkinfo_sysfs.h"
#include "nvme_ask.h"

#define RESERVATION_EXTENDED 0x1u	/* of Reservation Report, dword 11 */

static void identify(struct gw_nvme_answers *answers, const struct gw_nvme_place *nvme,
		     uint32_t nsid, uint8_t cns, uint8_t *data, enum gw_nvme_answer which)
{
	struct nvme_passthru_cmd command = {
		.opcode = GW_NVME_IDENTIFY,
		.nsid = nsid,
		.addr = (uintptr_t)data,
		.data_len = NVME_IDENTIFY_BYTES,
		.cdw10 = cns,
	};

	if (gw_nvme_ask(nvme, &command) == 0)
		answers->has |= which;
}

static void get_feature(struct gw_nvme_answers *answers, const struct gw_nvme_place *nvme,
			uint32_t nsid, uint8_t feature, uint32_t *value, enum gw_nvme_answer which)
{
	struct nvme_passthru_cmd command = {
		.opcode = GW_NVME_GET_FEATURES,
		.nsid = nsid,
		.cdw10 = feature,
	};

	if (gw_nvme_ask(nvme, &command) < 0)
		return;
	*value = command.result;
	answers->has |= which;
}

/* An I/O command; a host with an identifier of 128 bits has to ask for the extended form. */
static void report_reservations(struct gw_nvme_answers *answers, const struct gw_node *node)
{
	struct nvme_passthru_cmd command = {
		.opcode = GW_NVME_RESERVATION_REPORT,
		.nsid = node->nvme.nsid,
		.addr = (uintptr_t)answers->reservations,
		.data_len = sizeof(answers->reservations),
		.cdw10 = sizeof(answers->reservations) / 4 - 1,
		.cdw11 = RESERVATION_EXTENDED,
	};
	char path[GW_NAME_BYTES + 8];
	int fd, status;

	snprintf(path, sizeof(path), "/dev/%s", node->disk_name);
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	if (fd < 0)
		return;
	status = ioctl(fd, NVME_IOCTL_IO_CMD, &command);
	if (status == 0) {
		answers->has |= GW_NVME_HAS_RESERVATIONS | GW_NVME_HAS_LONG_RESERVATIONS;
	} else {
		command.cdw11 = 0;
		if (ioctl(fd, NVME_IOCTL_IO_CMD, &command) == 0)
			answers->has |= GW_NVME_HAS_RESERVATIONS;
	}
	close(fd);
}

static void list_ours(struct gw_nvme_answers *answers, const struct gw_nvme_place *nvme)
{
	for (uint32_t i = 0; i < nvme->controller_count && i < GW_NVME_CONTROLLERS_MAX; i++) {
		uint64_t cntlid;

		if (gw_sysfs_u64(&cntlid, GW_NVME_CLASS_DIR "/nvme-subsys%u/nvme%u/cntlid",
				 nvme->subsystem, nvme->controllers[i]) && cntlid <= UINT16_MAX)
			answers->ours[answers->ours_count++] = (uint16_t)cntlid;
	}
}
_Static_assert(GW_NVME_OURS_MAX >= GW_NVME_CONTROLLERS_MAX, "each has its place");

int gw_nvme_ask_all(struct gw_nvme_answers *answers, const struct gw_node *node)
{
	const struct gw_nvme_place *const nvme = &node->nvme;
	const uint32_t nsid = nvme->nsid;
	int err;

	memset(answers, 0, sizeof(*answers));
	err = gw_nvme_ask_identify(nvme, NVME_CNS_CONTROLLER, answers->controller);
	if (err == 0)
		err = gw_nvme_ask_identify(nvme, NVME_CNS_NAMESPACE, answers->namespace);
	if (err < 0)
		return err;
	answers->has |= GW_NVME_HAS_CONTROLLER | GW_NVME_HAS_NAMESPACE;
	identify(answers, nvme, nsid, NVME_CNS_NAMESPACE_DESCRIPTORS, answers->descriptors,
		 GW_NVME_HAS_DESCRIPTORS);
	identify(answers, nvme, nsid, NVME_CNS_COMMAND_SET_NAMESPACE, answers->nvm_namespace,
		 GW_NVME_HAS_NVM_NAMESPACE);
	identify(answers, nvme, 0, NVME_CNS_COMMAND_SET_CONTROLLER, answers->nvm_controller,
		 GW_NVME_HAS_NVM_CONTROLLER);
	identify(answers, nvme, nsid, NVME_CNS_ATTACHED_CONTROLLERS, answers->attached,
		 GW_NVME_HAS_ATTACHED);
	if (gw_nvme_ask_log(nvme, NVME_LOG_SMART, answers->smart, sizeof(answers->smart)) == 0)
		answers->has |= GW_NVME_HAS_SMART;
	if (gw_nvme_ask_log(nvme, NVME_LOG_FIRMWARE, answers->firmware,
			    sizeof(answers->firmware)) == 0)
		answers->has |= GW_NVME_HAS_FIRMWARE;
	get_feature(answers, nvme, 0, NVME_FID_WRITE_CACHE, &answers->write_cache,
		    GW_NVME_HAS_WRITE_CACHE);
	get_feature(answers, nvme, nsid, NVME_FID_ERROR_RECOVERY, &answers->error_recovery,
		    GW_NVME_HAS_ERROR_RECOVERY);
	list_ours(answers, nvme);
	if (answers->namespace[offsetof(struct nvme_id_ns, rescap)] != 0)
		report_reservations(answers, node);
	return 0;
}

bool gw_nvme_skips_flushes(const struct gw_node *node)
{
	char text[32];

	if (!node->nvme.is_namespace)
		return false;
	gw_sysfs_text(text, sizeof(text), "/sys/block/%s/queue/write_cache", node->disk_name);
	return strcmp(text, "write through") == 0;
}

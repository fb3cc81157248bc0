/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Questions to the drive behind a namespace, through the kernel: Identify and Get Log Page, which
 * change nothing. For root.
 */
#ifndef GW_NVME_ASK_H
#define GW_NVME_ASK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "blkinfo.h"

#define GW_NVME_IDENTIFY_BYTES 4096

struct nvme_passthru_cmd;

/*
 * An admin command, as <linux/nvme_ioctl.h> has it. Any controller of the subsystem can answer:
 * the first one that does. Return: 0 or negative errno; -EIO: the drive refused.
 */
int gw_nvme_ask(const struct gw_nvme_place *nvme, struct nvme_passthru_cmd *command);

/* cns: 0 the namespace, 1 the controller. Return: 0 or negative errno; -EIO: the drive refused. */
int gw_nvme_ask_identify(const struct gw_nvme_place *nvme, uint8_t cns,
			 uint8_t data[GW_NVME_IDENTIFY_BYTES]);
/* The start of a log page of the controller. bytes: a multiple of 4. Return: as above. */
int gw_nvme_ask_log(const struct gw_nvme_place *nvme, uint8_t log, void *data, size_t bytes);

/* May formatting another namespace format this one? True also if the drive does not say. */
bool gw_nvme_ask_format_is_wide(const struct gw_nvme_place *nvme);
/* Is the subsystem or the namespace being sanitized? True also if the drive does not say. */
bool gw_nvme_ask_is_sanitizing(const struct gw_nvme_place *nvme);

#endif

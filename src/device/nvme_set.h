/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Get and Set Features of one controller, through the kernel. For root. */
#ifndef GW_NVME_SET_H
#define GW_NVME_SET_H

#include <stdbool.h>
#include <stdint.h>

/*
 * controller: C of nvmeC. selector: of dword 11, which of several values. Return: 0; an NVMe status
 * (positive) if the drive refused; negative errno. *value is untouched on failure.
 */
int gw_nvme_get_feature(uint32_t controller, uint8_t id, uint32_t nsid, uint32_t selector,
			uint32_t *value);
int gw_nvme_set_feature(uint32_t controller, uint8_t id, uint32_t nsid, bool save, uint32_t value);

#endif

/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Asks a drive all that a check wants to know of it and of a namespace; changes nothing. For root. */
#ifndef GW_NVME_ANSWERS_H
#define GW_NVME_ANSWERS_H

#include "blkinfo.h"
#include "nvme_identify.h"

/*
 * What the drive refuses is missing in answers->has. Return: 0, or a negative errno if it does not
 * even identify the namespace and its controller (-EIO: refused; -EACCES: not root; ...).
 */
int gw_nvme_ask_all(struct gw_nvme_answers *answers, const struct gw_node *node);

/* Does the kernel send the disk no flushes, believing that there is no volatile cache? */
bool gw_nvme_skips_flushes(const struct gw_node *node);

#endif

/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A drive's recorded answers, from bytes: records of (which answer, length, both 32 bits little
 * endian; data). Data that is shorter than the answer is followed by zeroes there.
 */
#ifndef GW_NVME_RECORDED_H
#define GW_NVME_RECORDED_H

#include <stddef.h>
#include <stdint.h>

#include "nvme_identify.h"

#define GW_RECORDED_OURS 0x80000000u	/* CNTLIDs of this host, 16 bits each */

/* Takes what it can, of any bytes. */
void gw_recorded_parse(struct gw_nvme_answers *answers, const uint8_t *data, size_t size);
/* Of the corpus of the fuzz target nvme_identify. Asserts that it is there. */
void gw_recorded_load(struct gw_nvme_answers *answers, const char *name);

#endif

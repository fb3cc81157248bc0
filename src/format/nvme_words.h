/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Numbers of NVMe in the words of the specification (Base Specification 2.1). Pure. What is not
 * known is said as a number.
 */
#ifndef GW_NVME_WORDS_H
#define GW_NVME_WORDS_H

#include <stdint.h>

#include <godwit/nvme_effects.h>

#define GW_NVME_WORD_BYTES 96

/* "Volatile Write Cache (06h)". All return out. */
const char *gw_nvme_feature_words(char out[GW_NVME_WORD_BYTES], uint8_t feature);
/* "Invalid Field in Command (002h)". status: as in struct gw_event_command. */
const char *gw_nvme_status_words(char out[GW_NVME_WORD_BYTES], uint32_t status);
const char *gw_nvme_log_words(char out[GW_NVME_WORD_BYTES], uint8_t log);
/* "Notice: Namespace Attribute Changed, log page 04h". dw0: of the event's completion. */
const char *gw_nvme_async_words(char out[GW_NVME_WORD_BYTES], uint32_t dw0);
/* Of the Linux driver, not of the specification: "resetting". */
const char *gw_nvme_state_words(char out[GW_NVME_WORD_BYTES], uint32_t state);

/* What an admin command asks for, after its name: ": Volatile Write Cache (06h), 00000001h"; may be "". */
const char *gw_nvme_admin_words(char out[2 * GW_NVME_WORD_BYTES], const struct gw_nvme_sqe *sqe);

#endif

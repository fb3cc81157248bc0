/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Which settings of a drive (Set Features) belong to the work that moves to another drive, and which
 * to the drive or its driver. The table of docs/features.md. Pure.
 */
#ifndef GW_NVME_FEATURE_H
#define GW_NVME_FEATURE_H

#include <stdbool.h>
#include <stdint.h>

enum gw_nvme_scope {
	GW_NVME_SCOPE_CONTROLLER,
	GW_NVME_SCOPE_NAMESPACE,
};

struct gw_nvme_feature {
	uint8_t id;
	bool migrates;
	enum gw_nvme_scope scope;	/* of those that migrate */
	uint32_t selector_mask;		/* of dword 11: which of several values it is */
	const char *why;
};

/* Never NULL: what is not known does not migrate. */
const struct gw_nvme_feature *gw_nvme_feature(uint8_t id);

/* A Set Features command that succeeded. */
struct gw_nvme_setting {
	uint8_t id;
	bool save;
	uint32_t nsid;
	uint32_t value;			/* dword 11 */
};

#define GW_NVME_SETTINGS_MAX 32
struct gw_nvme_settings {
	uint32_t count;
	uint32_t left_out;		/* there was no room */
	struct gw_nvme_setting list[GW_NVME_SETTINGS_MAX];
};

/* The last one of a kind counts. */
void gw_nvme_settings_add(struct gw_nvme_settings *settings, uint32_t nsid, uint32_t cdw10,
			  uint32_t cdw11);
/* Does it go to the target? Of a namespace: is it that of nsid? Else *why says why not. */
bool gw_nvme_setting_migrates(const struct gw_nvme_setting *setting, uint32_t nsid,
			      const char **why);

#endif

// SPDX-License-Identifier: GPL-2.0-or-later
#include "nvme_feature.h"

#include <stddef.h>

#include <godwit/nvme_abi.h>

#define TEMPERATURE_SENSOR 0x000f0000u	/* TMPSEL: 0 is the composite temperature */
#define TEMPERATURE_TYPE 0x00300000u	/* THSEL: over or under */

static const struct gw_nvme_feature features[] = {
	{ NVME_FID_TEMPERATURE, true, GW_NVME_SCOPE_CONTROLLER,
	  TEMPERATURE_SENSOR | TEMPERATURE_TYPE,
	  "the limits of the composite temperature are the operator's" },
	{ NVME_FID_ERROR_RECOVERY, true, GW_NVME_SCOPE_NAMESPACE, 0,
	  "how long to try, and errors of deallocated blocks: the work relies on it" },
	{ NVME_FID_WRITE_CACHE, true, GW_NVME_SCOPE_CONTROLLER, 0,
	  "whoever switched the cache off relies on it" },
	{ NVME_FID_WRITE_ATOMICITY, true, GW_NVME_SCOPE_CONTROLLER, 0,
	  "whoever gave up atomic writes for speed, or wants them back, means the work" },
	{ NVME_FID_ARBITRATION, false, 0, 0, "weights of queues that the driver has made" },
	{ NVME_FID_POWER, false, 0, 0, "a number in the drive's own table of power states" },
	{ 0x03, false, 0, 0, "its data is not kept, and ranges are the drive's own" },
	{ NVME_FID_QUEUES, false, 0, 0, "the driver's, asked for at each reset" },
	{ NVME_FID_COALESCING, false, 0, 0, "tuned for one drive's interrupts" },
	{ NVME_FID_VECTOR, false, 0, 0, "a number of the driver's interrupts" },
	{ NVME_FID_ASYNC_EVENTS, false, 0, 0, "the driver's, set at each reset" },
	{ 0x0c, false, 0, 0, "the drive's own power states; its data is not kept" },
	{ 0x0d, false, 0, 0, "memory that the driver has lent to the drive" },
	{ NVME_FID_TIMESTAMP, false, 0, 0, "the target's driver sets its clock" },
	{ NVME_FID_KEEP_ALIVE, false, 0, 0, "the driver's, of one connection" },
	{ 0x10, false, 0, 0, "temperatures within the drive's own limits" },
	{ 0x11, false, 0, 0, "the drive's own power states" },
	{ NVME_FID_HOST_BEHAVIOR, false, 0, 0, "the driver's, set at each reset" },
	{ 0x17, false, 0, 0, "how the drive sanitizes, not the work" },
	{ NVME_FID_HOST_ID, false, 0, 0, "of one controller and its reservations" },
	{ 0x82, false, 0, 0, "reservations do not move" },
	{ 0x83, false, 0, 0, "reservations do not move" },
	{ 0x84, false, 0, 0, "a target that is protected takes no writes" },
};

const struct gw_nvme_feature *gw_nvme_feature(uint8_t id)
{
	static const struct gw_nvme_feature unknown = { .why = "not known to belong to the work" };

	for (size_t i = 0; i < sizeof(features) / sizeof(features[0]); i++)
		if (features[i].id == id)
			return &features[i];
	return &unknown;
}

void gw_nvme_settings_add(struct gw_nvme_settings *settings, uint32_t nsid, uint32_t cdw10,
			  uint32_t cdw11)
{
	const struct gw_nvme_setting setting = {
		.id = (uint8_t)cdw10,
		.save = cdw10 >> 31 != 0,
		.nsid = nsid,
		.value = cdw11,
	};
	const uint32_t mask = gw_nvme_feature(setting.id)->selector_mask;
	uint32_t i = 0;

	while (i < settings->count &&
	       (settings->list[i].id != setting.id || settings->list[i].nsid != nsid ||
		((settings->list[i].value ^ cdw11) & mask) != 0))
		i++;
	if (i == GW_NVME_SETTINGS_MAX) {
		settings->left_out++;
		return;
	}
	settings->list[i] = setting;
	if (i == settings->count)
		settings->count++;
}

bool gw_nvme_setting_migrates(const struct gw_nvme_setting *setting, uint32_t nsid,
			      const char **why)
{
	const struct gw_nvme_feature *const feature = gw_nvme_feature(setting->id);

	*why = feature->why;
	if (!feature->migrates)
		return false;
	if (setting->id == NVME_FID_TEMPERATURE && (setting->value & TEMPERATURE_SENSOR) != 0) {
		*why = "a sensor of the drive's own";
		return false;
	}
	if (feature->scope == GW_NVME_SCOPE_NAMESPACE && setting->nsid != nsid &&
	    setting->nsid != GW_NVME_NSID_ALL) {
		*why = "of another namespace";
		return false;
	}
	return true;
}

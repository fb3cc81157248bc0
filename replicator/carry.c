// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Settings of the source's drive that somebody has changed since the start, for the target: set there
 * before the commit, while nobody writes. docs/features.md. Data do not depend on it: what the target
 * refuses is said, and no reason to give up.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include <godwit/nvme_abi.h>

#include "job.h"
#include "nvme_set.h"
#include "nvme_words.h"

static uint32_t nsid_for(const struct gw_job *job, const struct gw_nvme_setting *setting)
{
	if (gw_nvme_feature(setting->id)->scope == GW_NVME_SCOPE_NAMESPACE)
		return job->target.nvme.nsid;
	return setting->nsid == GW_NVME_NSID_ALL ? GW_NVME_NSID_ALL : 0;
}

/* Return: 0; 1: it was so already; an NVMe status; negative errno. */
static int set_on(const struct gw_job *job, uint32_t controller,
		  const struct gw_nvme_setting *setting)
{
	const uint32_t mask = gw_nvme_feature(setting->id)->selector_mask;
	const uint32_t nsid = nsid_for(job, setting);
	uint32_t value = 0;
	int err;

	err = gw_nvme_get_feature(controller, setting->id, nsid, setting->value & mask, &value);
	if (err == 0 && value == (setting->value & ~mask) && !setting->save)
		return 1;
	err = gw_nvme_set_feature(controller, setting->id, nsid, setting->save, setting->value);
	if (err > 0 && NVME_STATUS_CODE((uint32_t)err) == NVME_SC_FEATURE_NOT_SAVEABLE &&
	    setting->save)
		err = gw_nvme_set_feature(controller, setting->id, nsid, false, setting->value);
	if (err != 0)
		return err;
	/* What it says it did is looked at. */
	err = gw_nvme_get_feature(controller, setting->id, nsid, setting->value & mask, &value);
	if (err == 0 && value != (setting->value & ~mask))
		err = -EPROTO;
	return err;
}

static int tell(struct gw_job *job, uint32_t controller, const struct gw_nvme_setting *setting,
		int result)
{
	char feature[GW_NVME_WORD_BYTES], status[GW_NVME_WORD_BYTES];

	gw_nvme_feature_words(feature, setting->id);
	if (result == 0 || result == 1)
		return gw_job_note(job, GW_NOTE, "%s, %08xh, as set on the source since the start: %s "
				   "on nvme%u", feature, setting->value,
				   result == 0 ? "set" : "so already", controller);
	return gw_job_note(job, GW_WARNING, "%s was set to %08xh on the source since the start, and "
			   "nvme%u of the target does not take it: %s", feature, setting->value,
			   controller, result == -EPROTO ? "it has another value now" :
			   result < 0 ? strerror(-result) :
			   gw_nvme_status_words(status, (uint32_t)result));
}

/* Controllers of one subsystem that both are on have it already. */
static bool is_there_already(const struct gw_job *job, const struct gw_nvme_setting *setting)
{
	return job->target.nvme.subsystem == job->source.nvme.subsystem &&
	       gw_nvme_feature(setting->id)->scope == GW_NVME_SCOPE_CONTROLLER;
}

static int carry_one(struct gw_job *job, const struct gw_nvme_setting *setting)
{
	const struct gw_nvme_place *const target = &job->target.nvme;
	char feature[GW_NVME_WORD_BYTES];
	const char *why;
	int err = 0;

	if (!gw_nvme_setting_migrates(setting, job->source.nvme.nsid, &why) ||
	    !target->is_namespace)
		return gw_job_note(job, GW_NOTE, "%s was set to %08xh on the source since the start: "
				   "not set on the target (%s)",
				   gw_nvme_feature_words(feature, setting->id), setting->value,
				   target->is_namespace ? why : "which is no NVMe drive");
	if (is_there_already(job, setting))
		return 0;
	for (uint32_t i = 0; err >= 0 && i < target->controller_count &&
			     i < GW_NVME_CONTROLLERS_MAX; i++)
		err = tell(job, target->controllers[i], setting,
			   set_on(job, target->controllers[i], setting));
	return err;
}

int gw_job_carry_settings(struct gw_job *job)
{
	const struct gw_nvme_settings *const settings = &job->drive_settings;
	int err = 0;

	for (uint32_t i = 0; err >= 0 && i < settings->count; i++)
		err = carry_one(job, &settings->list[i]);
	if (err >= 0 && settings->left_out > 0)
		err = gw_job_note(job, GW_WARNING, "%u more settings of the source were changed since "
				  "the start, and are not set on the target: see `godwit events`",
				  settings->left_out);
	return err < 0 ? err : 0;
}

// SPDX-License-Identifier: GPL-2.0-or-later
/* Which settings of a drive go with the work. */
#include <criterion/criterion.h>

#include "nvme_feature.h"

#define NSID 3u
#define SAVE 0x80000000u

static bool goes(uint32_t nsid, uint32_t cdw10, uint32_t cdw11)
{
	struct gw_nvme_settings settings = { 0 };
	const char *why;

	gw_nvme_settings_add(&settings, nsid, cdw10, cdw11);
	return gw_nvme_setting_migrates(&settings.list[0], NSID, &why);
}

Test(nvme_feature, what_the_work_relies_on_goes_with_it)
{
	cr_expect(goes(0, 0x06, 0), "write cache");
	cr_expect(goes(0xffffffff, 0x04, 0x14b), "composite temperature, over");
	cr_expect(goes(0, 0x04, 0x10014b & ~0xf0000u), "composite temperature, under");
	cr_expect_not(goes(0, 0x04, 0x2014b), "a sensor");
	cr_expect(goes(NSID, 0x05, 1));
	cr_expect(goes(0xffffffff, 0x05, 1));
	cr_expect_not(goes(NSID + 1, 0x05, 1), "another namespace");
	cr_expect(goes(0, 0x0a, 1));
}

Test(nvme_feature, everything_else_stays_and_says_why)
{
	for (unsigned int id = 0; id < 256; id++) {
		const struct gw_nvme_setting setting = { .id = (uint8_t)id, .nsid = NSID };
		const char *why = "";
		const bool migrates = gw_nvme_setting_migrates(&setting, NSID, &why);

		cr_expect_eq(migrates, id == 0x04 || id == 0x05 || id == 0x06 || id == 0x0a, "%02xh",
			     id);
		cr_expect(why != NULL && why[0] != '\0', "%02xh", id);
	}
}

Test(nvme_feature, the_last_one_of_a_kind_counts)
{
	struct gw_nvme_settings settings = { 0 };

	gw_nvme_settings_add(&settings, 0, 0x06, 0);
	gw_nvme_settings_add(&settings, 0, 0x06 | SAVE, 1);
	cr_assert_eq(settings.count, 1);
	cr_expect_eq(settings.list[0].value, 1);
	cr_expect(settings.list[0].save);
	/* Over and under are two settings, and so are two namespaces. */
	gw_nvme_settings_add(&settings, 0, 0x04, 0x14b);
	gw_nvme_settings_add(&settings, 0, 0x04, 0x10010a);
	gw_nvme_settings_add(&settings, 0, 0x04, 0x14c);
	gw_nvme_settings_add(&settings, 1, 0x05, 1);
	gw_nvme_settings_add(&settings, 2, 0x05, 1);
	cr_assert_eq(settings.count, 5);
	cr_expect_eq(settings.list[1].value, 0x14c);
}

Test(nvme_feature, what_there_is_no_room_for_is_counted)
{
	struct gw_nvme_settings settings = { 0 };

	for (uint32_t nsid = 1; nsid <= GW_NVME_SETTINGS_MAX + 2; nsid++)
		gw_nvme_settings_add(&settings, nsid, 0x05, nsid);
	cr_expect_eq(settings.count, GW_NVME_SETTINGS_MAX);
	cr_expect_eq(settings.left_out, 2);
	gw_nvme_settings_add(&settings, 1, 0x05, 77);
	cr_expect_eq(settings.left_out, 2);
	cr_expect_eq(settings.list[0].value, 77);
}

// SPDX-License-Identifier: GPL-2.0-or-later
#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>

#include "track.h"
#include "track_pins.h"

Test(track_pins, names)
{
	char name[GW_PINS_NAME_MAX + 2];

	memset(name, 'x', sizeof(name));
	name[GW_PINS_NAME_MAX + 1] = '\0';
	cr_assert_eq(gw_pins_check_name(name, NULL), -EINVAL);
	name[GW_PINS_NAME_MAX] = '\0';
	cr_assert_eq(gw_pins_check_name(name, NULL), 0);
	cr_assert_eq(gw_pins_check_name("loop0-disk.img", NULL), 0);
	cr_assert_eq(gw_pins_check_name("", NULL), -EINVAL);
	cr_assert_eq(gw_pins_check_name(NULL, NULL), -EINVAL);
	cr_assert_eq(gw_pins_check_name("../x", NULL), -EINVAL);
	cr_assert_eq(gw_pins_check_name("a b", NULL), -EINVAL);
	cr_assert_eq(gw_pins_check_name("a\nb", NULL), -EINVAL);
	cr_assert_eq(gw_pins_check_name("\xc3\xa4", NULL), -EINVAL);
}

Test(track_pins, a_refused_name_is_usage)
{
	struct gw_diag diag = { 0 };

	gw_pins_check_name("a/b", &diag);
	cr_assert_eq(diag.exit_code, GW_EXIT_USAGE);
}

/* bpffs takes no dots, and ".." would be another directory. */
Test(track_pins, paths_have_no_dots)
{
	char path[GW_PINS_PATH_BYTES], longest[GW_PINS_NAME_MAX + 1];

	cr_assert_str_eq(gw_pins_path(path, "a.b", "live"), GW_PINS_DIR "/a%2Eb/live");
	cr_assert_str_eq(gw_pins_path(path, "..", NULL), GW_PINS_DIR "/%2E%2E");
	/* The sign is encoded too, so that no two names share a path. */
	cr_assert_str_eq(gw_pins_path(path, "a%2Eb", NULL), GW_PINS_DIR "/a%252Eb");
	memset(longest, '.', sizeof(longest));
	longest[GW_PINS_NAME_MAX] = '\0';
	cr_assert_eq(strlen(gw_pins_path(path, longest, "link_complete1")),
		     strlen(GW_PINS_DIR) + 1 + 3 * GW_PINS_NAME_MAX + strlen("/link_complete1"));
}

Test(track_pins, nothing_under_a_name_is_no_error_to_remove)
{
	cr_assert_eq(gw_track_block_remove("unit-test-of-nothing", NULL), 0);
}

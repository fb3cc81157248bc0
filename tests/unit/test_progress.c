// SPDX-License-Identifier: GPL-2.0-or-later
/* The line of progress: what it says, that it fits, and that it never promises too much. */
#include <criterion/criterion.h>
#include <string.h>

/* The program is no library; its pure files are tested from within. */
#include "../../tools/godwit/progress.c"

static const struct gw_migration_progress full = {
	.phase = GW_PHASE_ROUND, .round = 2, .done_bytes = UINT64_C(3) << 30,
	.total_bytes = UINT64_C(4) << 30, .dirty_bytes = UINT64_C(12) << 20,
	.rate_bytes_per_s = UINT64_C(512) << 20, .predicted_blackout_ns = 120000000,
	.eta_ns = UINT64_C(2000000000),
};

Test(progress, says_all_that_is_known)
{
	char line[GW_PROGRESS_BYTES];

	cr_assert_str_eq(gw_progress_line(line, &full, 200),
			 "round 2: 75.0%, 3.0 GiB of 4.0 GiB, 512 MiB/s, dirty 12.0 MiB, "
			 "blackout about 120 ms, 2.0 s to go");
}

Test(progress, shows_nothing_that_is_not_known)
{
	const struct gw_migration_progress bare = { .phase = GW_PHASE_PREPARE };
	char line[GW_PROGRESS_BYTES];

	cr_assert_str_eq(gw_progress_line(line, &bare, 80), "preparing");
}

Test(progress, predicts_no_blackout_that_has_begun)
{
	struct gw_migration_progress begun = full;
	char line[GW_PROGRESS_BYTES];

	begun.phase = GW_PHASE_QUIESCED;
	cr_assert_null(strstr(gw_progress_line(line, &begun, 200), "about"));
}

Test(progress, fits_every_width)
{
	struct gw_migration_progress huge = full;
	char line[GW_PROGRESS_BYTES];

	huge.done_bytes = UINT64_MAX - 1;
	huge.total_bytes = huge.dirty_bytes = huge.rate_bytes_per_s = UINT64_MAX;
	huge.predicted_blackout_ns = huge.eta_ns = UINT64_MAX;
	huge.round = UINT32_MAX;
	for (uint32_t columns = 0; columns < GW_PROGRESS_BYTES; columns++) {
		cr_assert_leq(strlen(gw_progress_line(line, &full, columns)), columns);
		cr_assert_leq(strlen(gw_progress_line(line, &huge, columns)), columns);
	}
}

Test(progress, drops_the_least_needed_first)
{
	char line[GW_PROGRESS_BYTES];

	cr_assert_str_eq(gw_progress_line(line, &full, 80),
			 "round 2: 75.0%, 3.0 GiB of 4.0 GiB, 512 MiB/s, dirty 12.0 MiB, 2.0 s "
			 "to go");
	cr_assert_str_eq(gw_progress_line(line, &full, 39), "round 2: 75.0%, 512 MiB/s, 2.0 s to "
							    "go");
	cr_assert_str_eq(gw_progress_line(line, &full, 14), "round 2: 75.0%");
	cr_assert_str_eq(gw_progress_line(line, &full, 13), "round 2");
	cr_assert_str_eq(gw_progress_line(line, &full, 3), "rou");
}

Test(progress, a_hundred_percent_only_when_done)
{
	cr_assert_eq(gw_progress_permille(0, 1000), 0u);
	cr_assert_eq(gw_progress_permille(999999, 1000000), 999u);
	cr_assert_eq(gw_progress_permille(1000000, 1000000), 1000u);
	cr_assert_eq(gw_progress_permille(2, 1), 1000u);
	cr_assert_eq(gw_progress_permille(0, 0), 1000u);
	cr_assert_eq(gw_progress_permille(UINT64_MAX - 1, UINT64_MAX), 999u);
}

Test(progress, never_more_done_than_there_is)
{
	struct gw_migration_progress over = full;
	char line[GW_PROGRESS_BYTES];

	over.done_bytes = over.total_bytes * 2;
	cr_assert_str_eq(gw_progress_line(line, &over, 40), "round 2: 100.0%, 512 MiB/s, 2.0 s "
							    "to go");
}

Test(progress, names_every_phase)
{
	struct gw_migration_progress at = { .round = 1 };
	char text[32];

	for (int phase = GW_PHASE_PREPARE; phase <= GW_PHASE_WAITING; phase++) {
		at.phase = (enum gw_migration_phase)phase;
		cr_assert_gt(strlen(gw_progress_phase(text, &at)), 0u);
	}
}

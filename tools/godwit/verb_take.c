// SPDX-License-Identifier: GPL-2.0-or-later
/* track take: what was written since the last one. A mark goes only after it was told. */
#include "verbs.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "out.h"
#include "track.h"
#include "tracking.h"
#include "units.h"

struct settings {
	struct gw_common common;
	const char *run_dir;
};

static uint64_t dirty_bytes_of(const struct gw_track *track)
{
	uint64_t cursor = 0, bytes = 0;
	struct gw_run run;

	while (gw_bitmap_next_run(&track->pending, &cursor, track->geom.size_grains, &run))
		bytes += gw_geom_run_bytes(&track->geom, run);
	return bytes;
}

static void print_ranges(const struct gw_call *call, const char *name,
			 const struct gw_track *track, const struct gw_track_taken *taken)
{
	const struct settings *settings = call->settings;
	struct gw_out_take take = { .out = stdout, .form = settings->common.output };
	const uint64_t lba_bytes = track->node.logical_bytes;
	uint64_t cursor = 0;
	struct gw_run run;

	gw_out_take_begin(&take, name, track, taken, dirty_bytes_of(track));
	while (ferror(stdout) == 0 &&
	       gw_bitmap_next_run(&track->pending, &cursor, track->geom.size_grains, &run))
		gw_out_take_range(&take,
				  gw_geom_offset_bytes(&track->geom, run.first) / lba_bytes,
				  gw_geom_run_bytes(&track->geom, run) / lba_bytes);
	gw_out_take_end(&take);
}

/* Everything printed has left this process, and if it went to a file, it is on the disk. */
static int settle_output(struct gw_diag *diag)
{
	struct stat st;

	errno = 0;
	if (fflush(stdout) != 0 || ferror(stdout) != 0)
		return gw_fail_exit(diag, GW_EXIT_IO, -EIO,
			"cannot write the output: %s; no mark was dropped, the next take tells "
			"all of it again",
			strerror(errno != 0 ? errno : EIO));
	if (fstat(STDOUT_FILENO, &st) == 0 && S_ISREG(st.st_mode) && fsync(STDOUT_FILENO) != 0)
		return gw_fail_exit(diag, GW_EXIT_IO, -errno,
			"cannot sync the output: %s; no mark was dropped, the next take tells "
			"all of it again",
			strerror(errno));
	return 0;
}

/* pending changed by nobody since it was printed: the guard is held, the kernel marks live. */
static void drop_told(struct gw_track *track)
{
	uint64_t cursor = 0;
	struct gw_run run;

	while (gw_bitmap_next_run(&track->pending, &cursor, track->geom.size_grains, &run))
		gw_bitmap_clear(&track->pending, run);
}

static int take(const struct gw_call *call, const char *name, struct gw_track *track,
		struct gw_diag *diag)
{
	struct gw_track_taken taken = { 0 };
	int err;

	if (!gw_bitmap_is_empty(&track->copying))
		return gw_fail_exit(diag, GW_EXIT_CANNOT, -EBUSY,
			"the tracking \"%s\" holds what a migration was copying: \"godwit "
			"cleanup %s\" first",
			name, name);
	err = gw_track_take(track, &taken, diag);
	if (err != 0)
		return err;
	if (taken.whole_device)
		gw_say(diag, GW_WARNING, "everything counts as dirty: %s", taken.why);
	print_ranges(call, name, track, &taken);
	err = settle_output(diag);
	if (err != 0)
		return err;
	drop_told(track);
	return 0;
}

static int run(const struct gw_call *call)
{
	const struct settings *settings = call->settings;
	const char *run_dir = settings->run_dir != NULL ? settings->run_dir : GW_RUN_DIR_DEFAULT;
	struct gw_diag diag = gw_verb_diag(call->terminal);
	struct gw_tracking_guard guard = { 0 };
	struct gw_track *track = NULL;
	char name[GW_NAME_BYTES];
	int err = gw_tracking_find(name, call->operands[0], &diag);

	if (err == 0)
		err = gw_track_block_open(&track, name, &diag);
	if (err == 0)
		err = gw_tracking_guard(&guard, name, track->node.disk_dev, run_dir, &diag);
	if (err == 0)
		err = take(call, name, track, &diag);
	gw_tracking_leave(&guard);
	gw_track_close(track);
	return err == 0 ? GW_EXIT_DONE : gw_verb_exit(&diag, err);
}

static const struct gw_option options[] = {
	{ .name = "run-dir", .kind = GW_OPTION_STRING, .argument = "DIR",
	  .offset = offsetof(struct settings, run_dir), .fallback = GW_RUN_DIR_DEFAULT,
	  .help = "where migrations have their locks" },
	{ 0 },
};

const struct gw_verb gw_verb_track_take = {
	.name = "track take",
	.operands = "NAME|DEVICE",
	.summary = "print what was written since the last take, and begin anew",
	.about = "Prints the ranges that were written since the last take, in the device's logical "
		 "sectors: first LBA and count. A mark is dropped only after all of the output was "
		 "written, and synced if it goes to a file; if that fails, the next take prints "
		 "the "
		 "same ranges again. Refused while a migration needs the tracking.",
	.operands_min = 1,
	.operands_max = 1,
	.needs_root = true,
	.settings_bytes = sizeof(struct settings),
	.tables = { options, gw_options_output, gw_options_common },
	.run = run,
};

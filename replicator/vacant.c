// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Which grains the base pass need not read (docs/decisions/0024-vacant-blocks.md). Tracking runs
 * when the questions are asked, and from then on no mark is dropped: what is written there later
 * is copied by a later round.
 */
#include <errno.h>
#include <stdlib.h>

#include "job.h"
#include "units.h"
#include "vacancy.h"

static bool drive_may_tell(const struct gw_job *job)
{
	return job->source.kind == GW_NODE_BLOCK && job->source.nvme.is_namespace;
}

int gw_job_create_vacant(struct gw_job *job)
{
	int err;

	if (job->source.kind != GW_NODE_BLOCK || !(drive_may_tell(job) || job->settings.free_space))
		return 0;
	/* A bio that was on its way before the hooks is not seen to end there. */
	if (job->settings.track == GW_TRACK_BLOCK && !job->source.is_request_based)
		return 0;
	err = gw_bitmap_create(&job->vacant, job->geom.size_grains);
	return err < 0 ? gw_fail_exit(&job->diag, GW_EXIT_CANNOT, err, "bitmap of vacant blocks: "
				      "out of memory") : 0;
}

/* Every grain that it touches holds something. */
static void clear_allocated(void *arg, uint64_t first_bytes, uint64_t end_bytes)
{
	struct gw_job *const job = arg;
	const uint64_t first = first_bytes >> job->geom.grain_shift;
	const uint64_t end = (end_bytes + job->geom.grain_bytes - 1) >> job->geom.grain_shift;

	gw_bitmap_clear(&job->vacant, (struct gw_run){ first, end - first });
}

/* Only whole grains. */
static void set_free(void *arg, uint64_t first_bytes, uint64_t end_bytes)
{
	struct gw_job *const job = arg;
	const uint64_t first =
		(first_bytes + job->geom.grain_bytes - 1) >> job->geom.grain_shift;
	const uint64_t end = end_bytes >> job->geom.grain_shift;

	if (first < end)
		gw_bitmap_set(&job->vacant, (struct gw_run){ first, end - first });
}

static uint64_t vacant_bytes(const struct gw_job *job)
{
	const uint64_t bytes = gw_bitmap_count(&job->vacant) << job->geom.grain_shift;

	return bytes < job->geom.size_bytes ? bytes : job->geom.size_bytes;
}

static int ask_drive(struct gw_job *job)
{
	const struct gw_run all = { 0, job->geom.size_grains };
	struct gw_diag why = { 0 };
	char text[GW_UNIT_TEXT_BYTES];

	if (!drive_may_tell(job))
		return 0;
	gw_bitmap_set(&job->vacant, all);
	if (gw_allocated_by_drive(&job->source, clear_allocated, job, &why) < 0) {
		gw_bitmap_clear(&job->vacant, all);
		return gw_job_note(job, GW_NOTE, "everything is read, and looked at for zeroes: %s",
				   why.text);
	}
	job->vacant_by_drive_bytes = vacant_bytes(job);
	return gw_job_note(job, GW_NOTE, "%s are deallocated, says the drive of %s (Get LBA "
			   "Status): not read", gw_format_bytes(text, job->vacant_by_drive_bytes),
			   job->source.path);
}

static int ask_file_system(struct gw_job *job, const struct gw_mount *mount,
			   struct gw_bitmap *before)
{
	const struct gw_run all = { 0, job->geom.size_grains };
	struct gw_diag why = { 0 };
	struct gw_run run;
	uint64_t cursor = 0;

	gw_bitmap_clear(before, all);
	while (gw_bitmap_next_run(&job->vacant, &cursor, UINT64_MAX / 2, &run))
		gw_bitmap_set(before, run);
	if (gw_free_by_file_system(&job->source, mount, set_free, job, &why) == 0)
		return 0;
	cursor = 0;
	gw_bitmap_clear(&job->vacant, all);
	while (gw_bitmap_next_run(before, &cursor, UINT64_MAX / 2, &run))
		gw_bitmap_set(&job->vacant, run);
	return gw_job_note(job, GW_WARNING, "--free-space: %s", why.text);
}

static int ask_file_systems(struct gw_job *job)
{
	struct gw_bitmap before = { 0 };
	struct gw_mount *mounts = NULL;
	char text[GW_UNIT_TEXT_BYTES];
	int count, err;

	if (!job->settings.free_space)
		return 0;
	count = gw_node_mounts(&job->source, &mounts, NULL);
	if (count <= 0)
		return gw_job_note(job, GW_WARNING, "--free-space: no file system is mounted from %s",
				   job->source.path);
	err = gw_bitmap_create(&before, job->geom.size_grains);
	if (err < 0)
		gw_fail_exit(&job->diag, GW_EXIT_CANNOT, err, "bitmaps: out of memory");
	for (int i = 0; err >= 0 && i < count; i++)
		err = ask_file_system(job, &mounts[i], &before);
	gw_bitmap_destroy(&before);
	free(mounts);
	if (err < 0)
		return err;
	job->vacant_by_fs_bytes = vacant_bytes(job) - job->vacant_by_drive_bytes;
	return gw_job_note(job, GW_NOTE, "%s are free, say the file systems on %s: not read, zero "
			   "on the target", gw_format_bytes(text, job->vacant_by_fs_bytes),
			   job->source.path);
}

int gw_job_find_vacant(struct gw_job *job)
{
	int err;

	if (job->vacant.size_grains == 0 && job->settings.free_space)
		return gw_job_note(job, GW_WARNING, "--free-space: not with this source");
	if (job->vacant.size_grains == 0)
		return 0;
	/* Nothing was asked or read yet; what is on its way marks again when it ends. */
	err = gw_track_drop_marks(job->track, &job->diag);
	if (err >= 0)
		err = ask_drive(job);
	return err < 0 ? err : ask_file_systems(job);
}

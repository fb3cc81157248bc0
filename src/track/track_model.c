// SPDX-License-Identifier: GPL-2.0-or-later
#include "track.h"

#include <errno.h>
#include <stdlib.h>

static int model_take(struct gw_track *track, struct gw_track_taken *taken, struct gw_diag *diag)
{
	(void)diag;
	taken->fresh_grains = gw_bitmap_move_all(&track->live, &track->pending);
	return 0;
}

static int model_in_flight(struct gw_track *track, struct gw_track_in_flight *out,
			   struct gw_diag *diag)
{
	(void)track;
	(void)out;
	(void)diag;
	return 0;
}

static int model_stats(struct gw_track *track, struct gw_track_stats *stats,
		       struct gw_diag *diag)
{
	(void)track;
	(void)stats;
	(void)diag;
	return 0;
}

static int model_drop_marks(struct gw_track *track, struct gw_diag *diag)
{
	(void)diag;
	gw_bitmap_clear(&track->live, (struct gw_run){ 0, track->geom.size_grains });
	return 0;
}

static void model_close(struct gw_track *track)
{
	gw_bitmap_destroy(&track->live);
	gw_bitmap_destroy(&track->pending);
	gw_bitmap_destroy(&track->copying);
	free(track);
}

static int model_stop(struct gw_track *track, struct gw_diag *diag)
{
	(void)diag;
	model_close(track);
	return 0;
}

static const struct gw_track_ops model_ops = {
	.name = "model",
	.take = model_take,
	.in_flight = model_in_flight,
	.stats = model_stats,
	.drop_marks = model_drop_marks,
	.stop = model_stop,
	.close = model_close,
};

int gw_track_model_start(struct gw_track **track, uint64_t size_bytes, uint32_t grain_bytes)
{
	struct gw_track *model = calloc(1, sizeof(*model));
	int err;

	*track = NULL;
	if (model == NULL)
		return -ENOMEM;
	model->ops = &model_ops;
	model->generation = 1;
	err = gw_geom_init(&model->geom, size_bytes, grain_bytes);
	if (err < 0)
		goto fail;
	if ((err = gw_bitmap_create(&model->live, model->geom.size_grains)) < 0 ||
	    (err = gw_bitmap_create(&model->pending, model->geom.size_grains)) < 0 ||
	    (err = gw_bitmap_create(&model->copying, model->geom.size_grains)) < 0)
		goto fail;
	*track = model;
	return 0;
fail:
	model_close(model);
	return err;
}

// SPDX-License-Identifier: GPL-2.0-or-later
#include "out.h"

#include <assert.h>

#include "journal.h"
#include "units.h"

static unsigned long long u(uint64_t number)
{
	return number;
}

void gw_out_tracking_text(FILE *out, const struct gw_out_tracking *t)
{
	const struct gw_track_stats *s = &t->stats;
	char one[GW_UNIT_TEXT_BYTES], other[GW_UNIT_TEXT_BYTES];

	if (t->problem[0] != '\0') {
		fprintf(out, "%s: cannot be used: %s\n", t->name, t->problem);
		return;
	}
	fprintf(out, "%s: %s by %s, %s, grain %s\n", t->name, t->device, t->source,
		gw_format_bytes(one, t->size_bytes), gw_format_bytes(other, t->grain_bytes));
	fprintf(out, "  dirty              %s in %llu grains (%llu live, %llu pending, %llu "
		     "copying)\n",
		gw_format_bytes(one, t->dirty_bytes), u(t->dirty_grains), u(t->live_grains),
		u(t->pending_grains), u(t->copying_grains));
	fprintf(out, "  in flight          %llu writes", u(t->in_flight.count));
	if (t->in_flight.count > 0)
		fprintf(out, ", the oldest for %s",
			gw_format_duration(one, t->in_flight.oldest_age_ns));
	fprintf(out, "\n  seen               %llu writes of %s, %llu of them discards; %llu "
		     "completions\n",
		u(s->writes), gw_format_bytes(one, s->write_bytes), u(s->discards),
		u(s->completions));
	fprintf(out, "  whole device       marked %llu times; %llu long ranges\n",
		u(s->whole_device_marks), u(s->coarse_marks));
	fprintf(out, "  lost completions   %llu found again; %llu submissions never seen\n",
		u(s->lost_found), u(s->unseen_submissions));
	fprintf(out, "  programs missed    submission %llu; completion %llu, %llu, %llu\n",
		u(s->misses_submit), u(s->misses_complete[0]), u(s->misses_complete[1]),
		u(s->misses_complete[2]));
}

static struct json_object *stats_json(const struct gw_track_stats *s)
{
	struct json_object *object = json_object_new_object(), *misses = json_object_new_array();

	assert(object != NULL);
	assert(misses != NULL);
	gw_json_put_u64(object, "writes", s->writes);
	gw_json_put_u64(object, "write_bytes", s->write_bytes);
	gw_json_put_u64(object, "discards", s->discards);
	gw_json_put_u64(object, "completions", s->completions);
	gw_json_put_u64(object, "lost_found", s->lost_found);
	gw_json_put_u64(object, "unseen_submissions", s->unseen_submissions);
	gw_json_put_u64(object, "coarse_marks", s->coarse_marks);
	gw_json_put_u64(object, "whole_device_marks", s->whole_device_marks);
	gw_json_put_u64(object, "misses_submit", s->misses_submit);
	for (int i = 0; i < 3; i++)
		json_object_array_add(misses, json_object_new_uint64(s->misses_complete[i]));
	json_object_object_add(object, "misses_complete", misses);
	return object;
}

struct json_object *gw_out_tracking_json(const struct gw_out_tracking *t)
{
	struct json_object *object = json_object_new_object();
	char generation[20];

	assert(object != NULL);
	/* All 64 bits count: as a string no reader rounds it to a double. */
	snprintf(generation, sizeof(generation), "%016llx", u(t->generation));
	gw_json_put_text(object, "name", t->name);
	gw_json_put_bool(object, "usable", t->problem[0] == '\0');
	gw_json_put_text(object, "problem", t->problem);
	gw_json_put_text(object, "device", t->device);
	gw_json_put_text(object, "source", t->source);
	gw_json_put_u64(object, "size_bytes", t->size_bytes);
	gw_json_put_u64(object, "grain_bytes", t->grain_bytes);
	gw_json_put_string(object, "generation", generation);
	gw_json_put_u64(object, "dirty_grains", t->dirty_grains);
	gw_json_put_u64(object, "dirty_bytes", t->dirty_bytes);
	gw_json_put_u64(object, "live_grains", t->live_grains);
	gw_json_put_u64(object, "pending_grains", t->pending_grains);
	gw_json_put_u64(object, "copying_grains", t->copying_grains);
	gw_json_put_u64(object, "in_flight_writes", t->in_flight.count);
	gw_json_put_u64(object, "in_flight_oldest_ns", t->in_flight.oldest_age_ns);
	json_object_object_add(object, "stats", stats_json(&t->stats));
	return object;
}

/* ---- take ---------------------------------------------------------------- */

/* By hand: there may be millions of ranges, and the document need not fit the memory. */
void gw_out_take_begin(struct gw_out_take *take, const char *name, const struct gw_track *track,
		       const struct gw_track_taken *taken, uint64_t dirty_bytes)
{
	take->ranges = 0;
	if (take->form == GW_OUTPUT_TEXT)
		return;
	fprintf(take->out, "{\n  \"schema_version\": %d,\n  \"name\": ", GW_OUT_SCHEMA_VERSION);
	gw_out_string(take->out, name);
	fprintf(take->out, ",\n  \"device\": ");
	gw_out_string(take->out, track->node.path);
	fprintf(take->out, ",\n  \"size_bytes\": %llu,\n  \"grain_bytes\": %u,\n  \"lba_bytes\": "
			   "%u",
		u(track->geom.size_bytes), track->geom.grain_bytes, track->node.logical_bytes);
	fprintf(take->out, ",\n  \"whole_device\": %s,\n  \"why\": ",
		taken->whole_device ? "true" : "false");
	gw_out_string(take->out, taken->why);
	fprintf(take->out, ",\n  \"dirty_bytes\": %llu,\n  \"ranges\": [", u(dirty_bytes));
}

void gw_out_take_range(struct gw_out_take *take, uint64_t first_lba, uint64_t count_lba)
{
	assert(count_lba > 0);
	if (take->form == GW_OUTPUT_TEXT)
		fprintf(take->out, "%llu %llu\n", u(first_lba), u(count_lba));
	else
		fprintf(take->out, "%s\n    { \"first_lba\": %llu, \"count_lba\": %llu }",
			take->ranges > 0 ? "," : "", u(first_lba), u(count_lba));
	take->ranges++;
}

void gw_out_take_end(struct gw_out_take *take)
{
	if (take->form == GW_OUTPUT_JSON)
		fprintf(take->out, "%s]\n}\n", take->ranges > 0 ? "\n  " : "");
}

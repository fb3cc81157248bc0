// SPDX-License-Identifier: GPL-2.0-or-later
#include "out_json.h"

#include <assert.h>
#include <inttypes.h>

#include "jsonkeys.h"
#include "out.h"

static struct json_object *new_object(void)
{
	struct json_object *const object = json_object_new_object();

	assert(object != NULL);
	return object;
}

static struct json_object *end_json(const char *path, const char *id)
{
	struct json_object *const object = new_object();

	gw_json_put_text(object, "path", path);
	gw_json_put_text(object, "id", id);
	return object;
}

static struct json_object *settings_json(const struct gw_report *report)
{
	struct json_object *const object = new_object();

	gw_json_put_text(object, "track", report->track);
	gw_json_put_text(object, "handoff", report->handoff);
	gw_json_put_text(object, "verify", report->verify);
	gw_json_put_u64(object, "bandwidth_bytes_per_s", report->bandwidth_bytes_per_s);
	gw_json_put_text(object, "guard", report->guard);
	gw_json_put_u64(object, "downtime_limit_ns", report->downtime_limit_ns);
	gw_json_put_u64(object, "buffers", report->buffers);
	gw_json_put_u64(object, "memory_bytes", report->memory_bytes);
	return object;
}

static void put_result(struct json_object *object, const struct gw_report *report)
{
	gw_json_put_bool(object, "ended", report->ended);
	if (report->exit_code >= 0)
		gw_json_put_u64(object, "exit_code", (uint64_t)report->exit_code);
	else
		gw_json_put_object(object, "exit_code", NULL);
	gw_json_put_text(object, "reason", report->reason);
	gw_json_put_bool(object, "committed", report->committed);
	gw_json_put_bool(object, "converged", report->converged);
	gw_json_put_u64(object, "continues", report->continues);
	gw_json_put_bool(object, "torn_tail", report->torn_tail);
	gw_json_put_u64(object, "started_wall_ns", report->started_wall_ns);
	gw_json_put_u64(object, "ended_wall_ns", report->ended_wall_ns);
	gw_json_put_u64(object, "elapsed_ns", report->elapsed_ns);
}

static struct json_object *totals_json(const struct gw_report *report)
{
	struct json_object *const object = new_object();
	struct json_object *amplification;
	char digits[32];

	gw_json_put_u64(object, "allocated_bytes", report->allocated_bytes);
	gw_json_put_u64(object, "copied_bytes", report->copied_bytes);
	gw_json_put_u64(object, "written_bytes", report->written_bytes);
	gw_json_put_u64(object, "zeroed_bytes", report->zeroed_bytes);
	gw_json_put_u64(object, "recopied_bytes", report->recopied_bytes);
	gw_json_put_u64(object, "source_write_bytes", report->source_write_bytes);
	snprintf(digits, sizeof(digits), "%.6g", report->amplification);
	amplification = json_object_new_double_s(report->amplification, digits);
	assert(amplification != NULL);
	gw_json_put_object(object, "amplification", amplification);
	return object;
}

static struct json_object *not_copied_json(const struct gw_report *report)
{
	struct json_object *const object = new_object();

	gw_json_put_u64(object, "hole_bytes", report->skipped_hole_bytes);
	gw_json_put_u64(object, "deallocated_bytes", report->deallocated_bytes);
	gw_json_put_u64(object, "free_bytes", report->free_bytes);
	gw_json_put_u64(object, "zero_bytes", report->skipped_zero_bytes);
	gw_json_put_u64(object, "same_bytes", report->skipped_same_bytes);
	return object;
}

static struct json_object *round_json(const struct gw_report_round *round)
{
	struct json_object *const object = new_object();

	gw_json_put_u64(object, "round", round->round);
	gw_json_put_bool(object, "final", round->is_final);
	gw_json_put_u64(object, "elapsed_ns", round->elapsed_ns);
	gw_json_put_u64(object, "pending_bytes", round->pending_bytes);
	gw_json_put_u64(object, "held_bytes", round->held_bytes);
	gw_json_put_u64(object, "copied_bytes", round->copied_bytes);
	gw_json_put_u64(object, "written_bytes", round->written_bytes);
	gw_json_put_u64(object, "zeroed_bytes", round->zeroed_bytes);
	gw_json_put_u64(object, "skipped_bytes", round->skipped_bytes);
	gw_json_put_u64(object, "dirty_after_bytes", round->dirty_after_bytes);
	gw_json_put_u64(object, "copy_bytes_per_s", round->copy_bytes_per_s);
	gw_json_put_u64(object, "dirty_bytes_per_s", round->dirty_bytes_per_s);
	gw_json_put_u64(object, "predicted_blackout_ns", round->predicted_blackout_ns);
	return object;
}

static struct json_object *blackout_json(const struct gw_report_blackout *blackout)
{
	struct json_object *object;

	if (!blackout->happened)
		return NULL;
	object = new_object();
	gw_json_put_u64(object, "predicted_ns", blackout->predicted_ns);
	gw_json_put_u64(object, "total_ns", blackout->total_ns);
	gw_json_put_u64(object, "quiesce_ns", blackout->quiesce_ns);
	gw_json_put_u64(object, "drain_ns", blackout->drain_ns);
	gw_json_put_u64(object, "copy_ns", blackout->copy_ns);
	gw_json_put_u64(object, "flush_ns", blackout->flush_ns);
	gw_json_put_u64(object, "verify_ns", blackout->verify_ns);
	gw_json_put_u64(object, "commit_ns", blackout->commit_ns);
	gw_json_put_u64(object, "switch_ns", blackout->switch_ns);
	gw_json_put_u64(object, "user_ns", blackout->user_ns);
	gw_json_put_u64(object, "other_ns", blackout->other_ns);
	gw_json_put_u64(object, "early_sync_ns", blackout->early_sync_ns);
	return object;
}

static struct json_object *throttle_json(const struct gw_report_throttle *throttle)
{
	struct json_object *object;

	if (!throttle->happened)
		return NULL;
	object = new_object();
	gw_json_put_text(object, "cgroup", throttle->cgroup);
	gw_json_put_u64(object, "steps", throttle->steps);
	gw_json_put_u64(object, "throttled_ns", throttle->throttled_ns);
	gw_json_put_u64(object, "former_bytes_per_s", throttle->former_bytes_per_s);
	gw_json_put_u64(object, "lowest_bytes_per_s", throttle->lowest_bytes_per_s);
	gw_json_put_u64(object, "write_before_bytes_per_s", throttle->write_before_bytes_per_s);
	gw_json_put_u64(object, "write_after_bytes_per_s", throttle->write_after_bytes_per_s);
	gw_json_put_bool(object, "restored", throttle->restored);
	return object;
}

static struct json_object *verify_json(const struct gw_report *report)
{
	struct json_object *const object = new_object();
	char digest[32];

	gw_json_put_bool(object, "done", report->verify_done);
	gw_json_put_bool(object, "equal", report->verify_equal);
	gw_json_put_u64(object, "verified_bytes", report->verified_bytes);
	/* Not a quantity, and more bits than most readers keep of a number. */
	snprintf(digest, sizeof(digest), "%016" PRIx64, report->digest_of_digests);
	gw_json_put_string(object, "digest_of_digests", digest);
	return object;
}

static struct json_object *tracking_json(const struct gw_report *report)
{
	struct json_object *const object = new_object();
	struct json_object *const misses = json_object_new_array();

	assert(misses != NULL);
	gw_json_put_u64(object, "lost_found", report->lost_found);
	gw_json_put_u64(object, "whole_device_marks", report->whole_device_marks);
	gw_json_put_u64(object, "misses_submit", report->misses_submit);
	for (size_t i = 0; i < 3; i++) {
		struct json_object *const count =
			json_object_new_uint64(report->misses_complete[i]);
		const int err = json_object_array_add(misses, count);

		assert(count != NULL);
		assert(err == 0);
	}
	gw_json_put_object(object, "misses_complete", misses);
	return object;
}

static struct json_object *io_json(const struct gw_report *report)
{
	struct json_object *const object = new_object();

	gw_json_put_u64(object, "eio_retries", report->eio_retries);
	gw_json_put_u64(object, "busy_retries", report->busy_retries);
	gw_json_put_u64(object, "short_ios", report->short_ios);
	return object;
}

static struct json_object *rounds_json(const struct gw_report *report)
{
	struct json_object *const array = json_object_new_array();

	assert(array != NULL);
	for (uint32_t i = 0; i < report->rounds_listed; i++) {
		const int err = json_object_array_add(array, round_json(&report->rounds[i]));

		assert(err == 0);
	}
	return array;
}

static struct json_object *times_json(const struct gw_report_times *times)
{
	return gw_out_hist_json(times->count, times->p50_ns, times->p99_ns, times->p999_ns,
				times->max_ns);
}

static struct json_object *latencies_json(const struct gw_report *report)
{
	struct json_object *const array = json_object_new_array();

	assert(array != NULL);
	for (uint32_t i = 0; i < report->latencies_listed; i++) {
		const struct gw_report_latency *const latency = &report->latencies[i];
		struct json_object *const object = new_object();
		int err;

		gw_json_put_text(object, "stretch", latency->stretch);
		gw_json_put_u64(object, "elapsed_ns", latency->elapsed_ns);
		gw_json_put_object(object, "read", times_json(&latency->read));
		gw_json_put_object(object, "write", times_json(&latency->write));
		err = json_object_array_add(array, object);
		assert(err == 0);
	}
	return array;
}

static struct json_object *hot_json(const struct gw_report *report)
{
	struct json_object *const array = json_object_new_array();

	assert(array != NULL);
	for (uint32_t i = 0; i < report->hot_listed; i++) {
		struct json_object *const object = new_object();
		int err;

		gw_json_put_u64(object, "first_lba", report->hot[i].first_lba);
		gw_json_put_u64(object, "bytes", report->hot[i].bytes);
		gw_json_put_u64(object, "again_bytes", report->hot[i].again_bytes);
		err = json_object_array_add(array, object);
		assert(err == 0);
	}
	return array;
}

static struct json_object *messages_json(const struct gw_report *report)
{
	struct json_object *const array = json_object_new_array();

	assert(array != NULL);
	for (uint32_t i = 0; i < report->messages_listed; i++) {
		const struct gw_report_message *const message = &report->messages[i];
		struct json_object *const object = new_object();
		int err;

		gw_json_put_u64(object, "wall_ns", message->wall_ns);
		gw_json_put_text(object, "kind", message->kind);
		gw_json_put_text(object, "text", message->text);
		err = json_object_array_add(array, object);
		assert(err == 0);
	}
	return array;
}

void gw_out_report_json(FILE *out, const struct gw_report *report)
{
	struct json_object *const object = new_object();

	gw_json_put_u64(object, "schema_version", GW_REPORT_SCHEMA_VERSION);
	gw_json_put_text(object, "godwit_version", report->version);
	gw_json_put_text(object, "name", report->name);
	gw_json_put_object(object, "source", end_json(report->source, report->source_id));
	gw_json_put_object(object, "target", end_json(report->target, report->target_id));
	gw_json_put_u64(object, "size_bytes", report->size_bytes);
	gw_json_put_u64(object, "grain_bytes", report->grain_bytes);
	gw_json_put_object(object, "settings", settings_json(report));
	put_result(object, report);
	gw_json_put_object(object, "totals", totals_json(report));
	gw_json_put_object(object, "not_copied", not_copied_json(report));
	gw_json_put_object(object, "verification", verify_json(report));
	gw_json_put_object(object, "tracking", tracking_json(report));
	gw_json_put_object(object, "io", io_json(report));
	gw_json_put_object(object, "blackout", blackout_json(&report->blackout));
	gw_json_put_object(object, "throttle", throttle_json(&report->throttle));
	gw_json_put_object(object, "rounds", rounds_json(report));
	gw_json_put_u64(object, "rounds_total", report->rounds_total);
	gw_json_put_object(object, "hot", hot_json(report));
	gw_json_put_object(object, "latencies", latencies_json(report));
	gw_json_put_u64(object, "latencies_total", report->latencies_total);
	gw_json_put_object(object, "messages", messages_json(report));
	gw_json_put_u64(object, "messages_total", report->messages_total);
	fprintf(out, "%s\n", json_object_to_json_string_ext(object, JSON_C_TO_STRING_PRETTY |
							    JSON_C_TO_STRING_NOSLASHESCAPE));
	json_object_put(object);
}

// SPDX-License-Identifier: GPL-2.0-or-later
#include <godwit/report.h>

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "err.h"
#include "journal.h"
#include "units.h"

/* The sums of bytes that both rounds and the end of a process tell. */
struct totals {
	uint64_t copied_bytes, written_bytes, zeroed_bytes;
	uint64_t skipped_zero_bytes, skipped_same_bytes;
};

/* What the report's pointers point to, and what is known only while it is built. */
struct owner {
	struct gw_report_round rounds[GW_REPORT_ROUNDS_MAX];
	struct gw_report_latency latencies[GW_REPORT_LATENCIES_MAX];
	struct gw_report_message messages[GW_REPORT_MESSAGES_MAX];
	char *texts[GW_REPORT_MESSAGES_MAX];
	struct totals earlier;		/* of the rounds of processes that were followed by another */
	struct totals rounds_now;	/* of the rounds of the last process */
	uint64_t write_bytes;		/* to the source, as its tracking counted them */
	uint64_t earlier_write_bytes;	/* as trackings did that are gone */
	uint64_t last_wall_ns;
	bool has_started, has_elapsed;
};

/* ---- checked reading: what is absent or out of range leaves the field as it is ---- */

static void read_u64(struct json_object *payload, const char *key, uint64_t *value)
{
	gw_json_u64(payload, key, value);
}

static void read_u32(struct json_object *payload, const char *key, uint32_t *value)
{
	uint64_t wide;

	if (gw_json_u64(payload, key, &wide) && wide <= UINT32_MAX)
		*value = (uint32_t)wide;
}

static void read_text(struct json_object *payload, const char *key, char *text, size_t text_bytes)
{
	const char *const found = gw_json_string(payload, key);

	if (found != NULL)
		snprintf(text, text_bytes, "%s", found);
}

static uint64_t add(uint64_t a, uint64_t b)
{
	uint64_t sum;

	return __builtin_add_overflow(a, b, &sum) ? UINT64_MAX : sum;
}

static void add_totals(struct totals *sum, const struct totals *more)
{
	sum->copied_bytes = add(sum->copied_bytes, more->copied_bytes);
	sum->written_bytes = add(sum->written_bytes, more->written_bytes);
	sum->zeroed_bytes = add(sum->zeroed_bytes, more->zeroed_bytes);
	sum->skipped_zero_bytes = add(sum->skipped_zero_bytes, more->skipped_zero_bytes);
	sum->skipped_same_bytes = add(sum->skipped_same_bytes, more->skipped_same_bytes);
}

static void read_totals(struct json_object *payload, const char *copied_key,
			struct totals *totals)
{
	read_u64(payload, copied_key, &totals->copied_bytes);
	read_u64(payload, "written_bytes", &totals->written_bytes);
	read_u64(payload, "zeroed_bytes", &totals->zeroed_bytes);
	read_u64(payload, "zero_skipped_bytes", &totals->skipped_zero_bytes);
	read_u64(payload, "same_skipped_bytes", &totals->skipped_same_bytes);
}

/* ---- a function for each type of record ---- */

__attribute__((format(printf, 3, 4)))
static void add_message(struct gw_report *report, const struct gw_record *record,
			const char *format, ...)
{
	struct owner *const owner = report->owner;
	const uint32_t at = report->messages_listed;
	va_list args;

	report->messages_total++;
	if (at == GW_REPORT_MESSAGES_MAX)
		return;
	va_start(args, format);
	if (vasprintf(&owner->texts[at], format, args) < 0)
		owner->texts[at] = NULL;
	va_end(args);
	assert(owner->texts[at] != NULL);
	owner->messages[at] = (struct gw_report_message){
		.wall_ns = record->wall_ns,
		.kind = gw_record_type_name(record->type),
		.text = owner->texts[at],
	};
	report->messages_listed++;
}

static const char *text_or(struct json_object *payload, const char *key, const char *fallback)
{
	const char *const text = gw_json_string(payload, key);

	return text != NULL && text[0] != '\0' ? text : fallback;
}

static void read_settings(struct gw_report *report, struct json_object *payload)
{
	read_text(payload, "track", report->track, sizeof(report->track));
	read_text(payload, "handoff", report->handoff, sizeof(report->handoff));
	read_text(payload, "verify", report->verify, sizeof(report->verify));
	read_text(payload, "guard", report->guard, sizeof(report->guard));
	read_u64(payload, "bandwidth_bytes_per_s", &report->bandwidth_bytes_per_s);
	read_u64(payload, "downtime_limit_ns", &report->downtime_limit_ns);
	read_u32(payload, "buffers", &report->buffers);
}

/* Part of STARTED or, once it is known, of TRACKING. */
static void read_footprint(struct gw_report *report, struct json_object *payload)
{
	read_u64(payload, "memory_bytes", &report->memory_bytes);
	read_u64(payload, "allocated_bytes", &report->allocated_bytes);
	read_u64(payload, "hole_bytes", &report->skipped_hole_bytes);
	read_u64(payload, "deallocated_bytes", &report->deallocated_bytes);
	read_u64(payload, "free_bytes", &report->free_bytes);
}

static void see_started(struct gw_report *report, const struct gw_record *record,
			struct json_object *payload)
{
	struct owner *const owner = report->owner;

	if (!owner->has_started)
		report->started_wall_ns = record->wall_ns;
	owner->has_started = true;
	read_text(payload, "version", report->version, sizeof(report->version));
	read_text(payload, "name", report->name, sizeof(report->name));
	read_text(payload, "source", report->source, sizeof(report->source));
	read_text(payload, "target", report->target, sizeof(report->target));
	read_text(payload, "source_id", report->source_id, sizeof(report->source_id));
	read_text(payload, "target_id", report->target_id, sizeof(report->target_id));
	read_u64(payload, "size_bytes", &report->size_bytes);
	read_u32(payload, "grain_bytes", &report->grain_bytes);
	read_settings(report, payload);
	read_footprint(report, payload);
}

/* Another process: what the one before it counted is kept, how it ended is not the end. */
static void see_continued(struct gw_report *report, const struct gw_record *record,
			  struct json_object *payload)
{
	struct owner *const owner = report->owner;
	const bool resync = strcmp(text_or(payload, "how", ""), "resync") == 0;
	char pending[GW_UNIT_TEXT_BYTES];
	uint64_t pending_bytes = 0;

	read_u64(payload, "pending_bytes", &pending_bytes);
	read_settings(report, payload);
	add_message(report, record, "another process went on, %s, with %s to copy",
		    resync ? "comparing by content" : "from the pinned bitmaps",
		    gw_format_bytes(pending, pending_bytes));
	report->continues++;
	report->ended = false;
	report->exit_code = -1;
	report->reason[0] = '\0';
	report->ended_wall_ns = 0;
	owner->has_elapsed = false;
	add_totals(&owner->earlier, &owner->rounds_now);
	memset(&owner->rounds_now, 0, sizeof(owner->rounds_now));
	/* Pinned counters go on counting; without them they begin anew. */
	if (resync) {
		owner->earlier_write_bytes = add(owner->earlier_write_bytes,
						 owner->write_bytes);
		owner->write_bytes = 0;
	}
}

static void see_round(struct gw_report *report, struct json_object *payload)
{
	struct owner *const owner = report->owner;
	struct gw_report_round round = { 0 };
	struct totals totals = { 0 };

	read_u32(payload, "round", &round.round);
	gw_json_bool(payload, "final", &round.is_final);
	read_u64(payload, "elapsed_ns", &round.elapsed_ns);
	read_u64(payload, "pending_bytes", &round.pending_bytes);
	read_u64(payload, "held_bytes", &round.held_bytes);
	read_u64(payload, "dirty_after_bytes", &round.dirty_after_bytes);
	read_u64(payload, "copy_bytes_per_s", &round.copy_bytes_per_s);
	read_u64(payload, "dirty_bytes_per_s", &round.dirty_bytes_per_s);
	read_u64(payload, "predicted_blackout_ns", &round.predicted_blackout_ns);
	read_u64(payload, "source_write_bytes", &owner->write_bytes);
	read_totals(payload, "copied_bytes", &totals);
	round.copied_bytes = totals.copied_bytes;
	round.written_bytes = totals.written_bytes;
	round.zeroed_bytes = totals.zeroed_bytes;
	round.skipped_bytes = add(totals.skipped_zero_bytes, totals.skipped_same_bytes);
	add_totals(&owner->rounds_now, &totals);
	if (round.round > 1)
		report->recopied_bytes = add(report->recopied_bytes, totals.copied_bytes);
	report->rounds_total++;
	if (report->rounds_listed < GW_REPORT_ROUNDS_MAX)
		owner->rounds[report->rounds_listed++] = round;
}

static void read_times(struct json_object *payload, const char *key, struct gw_report_times *times)
{
	struct json_object *object;

	if (!json_object_object_get_ex(payload, key, &object) ||
	    !json_object_is_type(object, json_type_object))
		return;
	read_u64(object, "count", &times->count);
	read_u64(object, "p50_ns", &times->p50_ns);
	read_u64(object, "p99_ns", &times->p99_ns);
	read_u64(object, "p999_ns", &times->p999_ns);
	read_u64(object, "max_ns", &times->max_ns);
}

static void see_latency(struct gw_report *report, struct json_object *payload)
{
	struct owner *const owner = report->owner;
	struct gw_report_latency latency = { .stretch = "" };

	read_text(payload, "stretch", latency.stretch, sizeof(latency.stretch));
	/* It is printed in a column as it is. */
	if (latency.stretch[strspn(latency.stretch, "abcdefghijklmnopqrstuvwxyz")] != '\0')
		snprintf(latency.stretch, sizeof(latency.stretch), "unknown");
	read_u64(payload, "elapsed_ns", &latency.elapsed_ns);
	read_times(payload, "read", &latency.read);
	read_times(payload, "write", &latency.write);
	report->latencies_total++;
	if (report->latencies_listed < GW_REPORT_LATENCIES_MAX)
		owner->latencies[report->latencies_listed++] = latency;
}

/* Whatever the record says, the phases never add up to more than the total; the rest is other. */
static void read_blackout(struct gw_report_blackout *blackout, struct json_object *object)
{
	const struct {
		const char *key;
		uint64_t *ns;
	} phases[] = {
		{ "quiesce_ns", &blackout->quiesce_ns },
		{ "drain_ns", &blackout->drain_ns },
		{ "copy_ns", &blackout->copy_ns },
		{ "flush_ns", &blackout->flush_ns },
		{ "verify_ns", &blackout->verify_ns },
		{ "commit_ns", &blackout->commit_ns },
		{ "switch_ns", &blackout->switch_ns },
		{ "user_ns", &blackout->user_ns },
	};
	uint64_t left_ns;

	memset(blackout, 0, sizeof(*blackout));
	blackout->happened = true;
	read_u64(object, "predicted_ns", &blackout->predicted_ns);
	read_u64(object, "total_ns", &blackout->total_ns);
	read_u64(object, "early_sync_ns", &blackout->early_sync_ns);
	left_ns = blackout->total_ns;
	for (size_t i = 0; i < sizeof(phases) / sizeof(phases[0]); i++) {
		read_u64(object, phases[i].key, phases[i].ns);
		if (*phases[i].ns > left_ns)
			*phases[i].ns = left_ns;
		left_ns -= *phases[i].ns;
	}
	blackout->other_ns = left_ns;
}

static void read_counters(struct gw_report *report, struct json_object *payload)
{
	struct json_object *misses;

	read_u64(payload, "digest_of_digests", &report->digest_of_digests);
	read_u64(payload, "lost_found", &report->lost_found);
	read_u64(payload, "whole_device_marks", &report->whole_device_marks);
	read_u64(payload, "misses_submit", &report->misses_submit);
	read_u64(payload, "eio_retries", &report->eio_retries);
	read_u64(payload, "busy_retries", &report->busy_retries);
	read_u64(payload, "short_ios", &report->short_ios);
	if (!json_object_object_get_ex(payload, "misses_complete", &misses) ||
	    !json_object_is_type(misses, json_type_array))
		return;
	for (size_t i = 0; i < 3 && i < json_object_array_length(misses); i++) {
		struct json_object *const count = json_object_array_get_idx(misses, i);

		if (json_object_is_type(count, json_type_int) && json_object_get_int64(count) >= 0)
			report->misses_complete[i] = json_object_get_uint64(count);
	}
}

static void read_hot(struct gw_report *report, struct json_object *payload)
{
	struct json_object *ranges;

	report->hot_listed = 0;
	if (!json_object_object_get_ex(payload, "hot", &ranges) ||
	    !json_object_is_type(ranges, json_type_array))
		return;
	for (size_t i = 0; i < json_object_array_length(ranges) &&
			   report->hot_listed < GW_REPORT_HOT_MAX; i++) {
		struct json_object *const range = json_object_array_get_idx(ranges, i);
		struct gw_report_hot *const hot = &report->hot[report->hot_listed];

		if (!json_object_is_type(range, json_type_object) ||
		    !gw_json_u64(range, "first_lba", &hot->first_lba) ||
		    !gw_json_u64(range, "bytes", &hot->bytes) ||
		    !gw_json_u64(range, "again_bytes", &hot->again_bytes))
			continue;
		report->hot_listed++;
	}
}

static void see_ended(struct gw_report *report, const struct gw_record *record,
		      struct json_object *payload)
{
	struct owner *const owner = report->owner;
	uint64_t exit_code = GW_EXIT_UNCLEAR;
	struct json_object *blackout;

	read_u64(payload, "exit_code", &exit_code);
	report->exit_code = exit_code <= 255 ? (int)exit_code : GW_EXIT_UNCLEAR;
	report->ended = true;
	report->ended_wall_ns = record->wall_ns;
	read_text(payload, "reason", report->reason, sizeof(report->reason));
	gw_json_bool(payload, "converged", &report->converged);
	owner->has_elapsed = gw_json_u64(payload, "elapsed_ns", &report->elapsed_ns);
	read_totals(payload, "read_bytes", &owner->rounds_now);
	read_u64(payload, "source_write_bytes", &owner->write_bytes);
	read_counters(report, payload);
	read_hot(report, payload);
	if (json_object_object_get_ex(payload, "blackout", &blackout) &&
	    json_object_is_type(blackout, json_type_object))
		read_blackout(&report->blackout, blackout);
}

static void see_verified(struct gw_report *report, const struct gw_record *record,
			 struct json_object *payload)
{
	const char *const text = gw_json_string(payload, "text");

	report->verify_done = true;
	report->verify_equal = false;
	read_u64(payload, "verified_bytes", &report->verified_bytes);
	gw_json_bool(payload, "equal", &report->verify_equal);
	if (text != NULL && text[0] != '\0')
		add_message(report, record, "%s", text);
}

static void see_note(struct gw_report *report, const struct gw_record *record,
		     struct json_object *payload)
{
	const char *const level = text_or(payload, "level", "note");
	const char *const text = text_or(payload, "text", "(no text)");
	const bool is_note = strcmp(level, "note") == 0;
	uint64_t left_out = 0;
	char before[64] = "";

	read_u64(payload, "left_out", &left_out);
	if (left_out > 0)
		snprintf(before, sizeof(before), "(after %" PRIu64 " more like it) ", left_out);
	add_message(report, record, "%s%s%s%s", before, is_note ? "" : level,
		    is_note ? "" : ": ", text);
}

static void see_request(struct gw_report *report, const struct gw_record *record,
			struct json_object *payload)
{
	uint64_t uid = 0, pid = 0;

	read_u64(payload, "uid", &uid);
	read_u64(payload, "pid", &pid);
	add_message(report, record, "%s, by uid %" PRIu64 ", process %" PRIu64 " (%s): %s: %s",
		    text_or(payload, "command", "?"), uid, pid, text_or(payload, "comm", "?"),
		    text_or(payload, "outcome", "?"), text_or(payload, "text", "(no text)"));
}

/* Each step, and then the end of it, of each process. */
static void see_throttled(struct gw_report *report, const struct gw_record *record,
			  struct json_object *payload)
{
	struct gw_report_throttle *const throttle = &report->throttle;
	uint64_t throttled_ns = 0, limit_bytes_per_s = 0;

	throttle->restored = false;
	gw_json_bool(payload, "restored", &throttle->restored);
	add_message(report, record, "%s", text_or(payload, "text", "(no text)"));
	if (throttle->restored) {
		read_u64(payload, "throttled_ns", &throttled_ns);
		throttle->throttled_ns = add(throttle->throttled_ns, throttled_ns);
		read_u64(payload, "write_after_bytes_per_s", &throttle->write_after_bytes_per_s);
		return;
	}
	read_text(payload, "cgroup", throttle->cgroup, sizeof(throttle->cgroup));
	if (!throttle->happened) {
		read_u64(payload, "former_bytes_per_s", &throttle->former_bytes_per_s);
		read_u64(payload, "write_bytes_per_s", &throttle->write_before_bytes_per_s);
	}
	throttle->happened = true;
	throttle->steps++;
	read_u64(payload, "limit_bytes_per_s", &limit_bytes_per_s);
	if (throttle->lowest_bytes_per_s == 0 || limit_bytes_per_s < throttle->lowest_bytes_per_s)
		throttle->lowest_bytes_per_s = limit_bytes_per_s;
}

static int see_record(void *arg, const struct gw_record *record, struct json_object *payload)
{
	struct gw_report *const report = arg;
	struct owner *const owner = report->owner;

	owner->last_wall_ns = record->wall_ns;
	switch (record->type) {
	case GW_RECORD_STARTED:
		see_started(report, record, payload);
		break;
	case GW_RECORD_TRACKING:
		read_footprint(report, payload);
		break;
	case GW_RECORD_CONTINUED:
		see_continued(report, record, payload);
		break;
	case GW_RECORD_ROUND:
		see_round(report, payload);
		break;
	case GW_RECORD_LATENCY:
		see_latency(report, payload);
		break;
	case GW_RECORD_NOTE:
		see_note(report, record, payload);
		break;
	case GW_RECORD_SUSPECT:
		add_message(report, record, "the whole device was marked again: %s",
			    text_or(payload, "why", "no reason given"));
		break;
	case GW_RECORD_REQUEST:
		see_request(report, record, payload);
		break;
	case GW_RECORD_THROTTLED:
		see_throttled(report, record, payload);
		break;
	case GW_RECORD_COMMIT:
		report->committed = true;
		break;
	case GW_RECORD_VERIFIED:
		see_verified(report, record, payload);
		break;
	case GW_RECORD_ENDED:
		see_ended(report, record, payload);
		break;
	case GW_RECORD_CLEANED:
		add_message(report, record, "cleaned up: %s",
			    text_or(payload, "what", "it is not said what"));
		break;
	default:
		break;			/* SETTLED and such: counted elsewhere, or of a later minor change */
	}
	return 0;
}

/* ---- the whole ---- */

static void add_up(struct gw_report *report)
{
	struct owner *const owner = report->owner;
	struct totals sum = owner->earlier;
	const uint64_t until_ns = report->ended ? report->ended_wall_ns : owner->last_wall_ns;

	add_totals(&sum, &owner->rounds_now);
	report->copied_bytes = sum.copied_bytes;
	report->written_bytes = sum.written_bytes;
	report->zeroed_bytes = sum.zeroed_bytes;
	report->skipped_zero_bytes = sum.skipped_zero_bytes;
	report->skipped_same_bytes = sum.skipped_same_bytes;
	report->source_write_bytes = add(owner->earlier_write_bytes, owner->write_bytes);
	if (report->source_write_bytes != 0)
		report->amplification = (double)report->recopied_bytes /
					(double)report->source_write_bytes;
	/* Of several processes the wall clock knows the whole; it may have been set back. */
	if (!owner->has_elapsed || report->continues != 0)
		report->elapsed_ns = until_ns > report->started_wall_ns ?
				     until_ns - report->started_wall_ns : 0;
}

static int read_records(struct gw_report *report, const char *path, struct gw_diag *diag)
{
	struct owner *const owner = calloc(1, sizeof(*owner));
	int err;

	if (owner == NULL)
		return gw_fail(diag, -ENOMEM, "no memory for a report");
	report->owner = owner;
	report->rounds = owner->rounds;
	report->latencies = owner->latencies;
	report->messages = owner->messages;
	report->exit_code = -1;
	err = gw_journal_each(path, see_record, report, &report->torn_tail, diag);
	if (err != 0)
		return err;
	if (!owner->has_started)
		return gw_fail(diag, -ENODATA, "%s: the journal tells of no migration", path);
	add_up(report);
	return 0;
}

int gw_report_read(struct gw_report *report, const char *path, char *error_text,
		   uint64_t error_text_bytes)
{
	struct gw_diag diag = { 0 };
	int err;

	memset(report, 0, sizeof(*report));
	err = read_records(report, path, &diag);
	if (err == 0)
		return 0;
	gw_report_free(report);
	if (error_text != NULL && error_text_bytes != 0)
		snprintf(error_text, error_text_bytes, "%s", diag.text);
	return err;
}

void gw_report_free(struct gw_report *report)
{
	struct owner *const owner = report->owner;

	if (owner != NULL)
		for (uint32_t i = 0; i < report->messages_listed; i++)
			free(owner->texts[i]);
	free(owner);
	memset(report, 0, sizeof(*report));
}

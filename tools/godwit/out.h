/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Results on standard output: the commands gather, these print. */
#ifndef GW_OUT_H
#define GW_OUT_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include <json-c/json.h>

#include "event.h"
#include "hist.h"
#include "options.h"
#include "preflight.h"
#include "track.h"
#include "verify.h"

#define GW_OUT_SCHEMA_VERSION 1

/* An object that begins with schema_version. Never NULL. */
struct json_object *gw_out_document(void);
/* Prints and puts it. */
void gw_out_print(FILE *out, struct json_object *document_give);
/* Text from outside as a JSON string with its quotes. */
void gw_out_string(FILE *out, const char *text);

/* out_check.c */
void gw_out_check(FILE *out, enum gw_output form, const struct gw_preflight *preflight);

/* out_verify.c */
struct gw_out_verify {
	FILE *out;
	enum gw_output form;
	struct json_object *ranges;	/* of the document; NULL for text */
};
void gw_out_verify_range(struct gw_out_verify *verify, uint64_t first_lba, uint64_t count_lba,
			 bool settled);
/* The summary; with JSON the document. */
void gw_out_verify(struct gw_out_verify *verify, const struct gw_verify_config *config,
		   const struct gw_verify_result *result);

/* out_track.c: what `track status` knows about one tracking. */
struct gw_out_tracking {
	char name[GW_NAME_BYTES];
	const char *problem;		/* why it cannot be used, the rest is zeroed then; or "" */
	char device[GW_NAME_BYTES];
	char source[16];		/* "block", "nvme" */
	uint64_t size_bytes;
	uint32_t grain_bytes;
	uint64_t generation;
	uint64_t dirty_grains, dirty_bytes;	/* live or pending */
	uint64_t live_grains, pending_grains, copying_grains;
	struct gw_track_in_flight in_flight;
	struct gw_track_stats stats;
};
void gw_out_tracking_text(FILE *out, const struct gw_out_tracking *tracking);
struct json_object *gw_out_tracking_json(const struct gw_out_tracking *tracking);

/* out_latency.c: one interval of `track latency`. */
struct gw_out_latency {
	const char *device;
	uint32_t number;		/* 1 is the first */
	uint64_t elapsed_ns;
	struct gw_hist kinds[GW_LATENCY_KINDS];
	uint64_t copier, not_timed, missed;	/* see struct gw_latency_look */
};
void gw_out_latency_text(FILE *out, const struct gw_out_latency *latency);
/* One line. */
void gw_out_latency_json(FILE *out, const struct gw_out_latency *latency);
/* {"count", "p50_ns", "p99_ns", "p999_ns", "max_ns"} */
struct json_object *gw_out_hist_json(uint64_t count, uint64_t p50_ns, uint64_t p99_ns,
				     uint64_t p999_ns, uint64_t max_ns);

/* out_events.c: a line each, whatever the form. */
void gw_out_event(FILE *out, enum gw_output form, const struct gw_event *event);

/* The dirty ranges: head, then each range, then the end. Stdio keeps the errors. */
struct gw_out_take {
	FILE *out;
	enum gw_output form;
	uint64_t ranges;		/* printed so far */
};
void gw_out_take_begin(struct gw_out_take *take, const char *name, const struct gw_track *track,
		       const struct gw_track_taken *taken, uint64_t dirty_bytes);
void gw_out_take_range(struct gw_out_take *take, uint64_t first_lba, uint64_t count_lba);
void gw_out_take_end(struct gw_out_take *take);


/* The exact record: its head, then each range, the coarse ones last, then the end. */
struct gw_out_record {
	FILE *out;
	enum gw_output form;
	const struct gw_track *track;
	const struct gw_track_record *record;
	bool is_coarse;			/* the ranges that follow */
	uint64_t ranges;		/* printed so far of this kind */
};
void gw_out_record_begin(struct gw_out_record *out, const char *name);
/* A span in sectors; times are told since the tracking's start. */
void gw_out_record_range(struct gw_out_record *out, const struct gw_span *span);
void gw_out_record_coarse(struct gw_out_record *out);
void gw_out_record_end(struct gw_out_record *out);

#endif

/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Messages of the control socket: lines of JSON <-> structs, and what is possible
 * in which state. Pure: no I/O, no clock. See docs/control.md.
 */
#ifndef GW_CONTROL_H
#define GW_CONTROL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <json-c/json.h>

#include <godwit/migration.h>

#include "units.h"

#define GW_CONTROL_SCHEMA_VERSION 1
#define GW_CONTROL_REQUEST_BYTES_MAX 4096	/* of a line, without its end */
#define GW_CONTROL_MESSAGE_BYTES_MAX 16384	/* of a reply or an event, with its end */
#define GW_CONTROL_ID_BYTES 72			/* of "id" as JSON, with a terminating zero */
#define GW_CONTROL_GUARD_BYTES 64
#define GW_CONTROL_CGROUP_BYTES 256
#define GW_CONTROL_TEXT_BYTES 512

enum gw_control_command {
	GW_CONTROL_LIST, GW_CONTROL_STATUS, GW_CONTROL_WATCH,
	/* These change something; they are journalled. */
	GW_CONTROL_PAUSE, GW_CONTROL_RESUME, GW_CONTROL_SET, GW_CONTROL_SWITCH, GW_CONTROL_CANCEL,
	GW_CONTROL_COMMANDS,
};

enum gw_control_state {
	GW_CONTROL_PREPARING,		/* up to the first read */
	GW_CONTROL_BASELINE,		/* the workload's latency without the copier is measured */
	GW_CONTROL_BASE,		/* first pass */
	GW_CONTROL_ROUND,
	GW_CONTROL_VERIFYING,		/* reading back what is settled, before the switch */
	GW_CONTROL_WAITING,		/* converged, for `switch` */
	GW_CONTROL_PAUSED,
	GW_CONTROL_QUIESCED,		/* the writers are stopped, nothing is committed */
	GW_CONTROL_COMMITTED,		/* only the target may run */
	GW_CONTROL_CHECKING,		/* reading back after the switch */
	GW_CONTROL_ENDED,
	GW_CONTROL_STATES,
};

/* What `set` can change; the values are numbers in the unit that the key names. */
enum gw_control_setting {
	GW_CONTROL_BANDWIDTH, GW_CONTROL_DOWNTIME_LIMIT, GW_CONTROL_TIMEOUT,
	GW_CONTROL_QUIESCE_DEADLINE, GW_CONTROL_EXEC_TIMEOUT, GW_CONTROL_MAX_ROUNDS,
	GW_CONTROL_GUARD,		/* a text; the migration itself judges it */
	GW_CONTROL_THROTTLE_WRITERS,
	GW_CONTROL_SETTINGS,
};

enum gw_control_unit { GW_CONTROL_UNIT_RATE, GW_CONTROL_UNIT_DURATION, GW_CONTROL_UNIT_COUNT,
			 GW_CONTROL_UNIT_TEXT, GW_CONTROL_UNIT_FLAG };

struct gw_control_setting_row {
	const char *key;		/* in messages and in the journal */
	const char *option;		/* as `godwit migrate` calls it */
	enum gw_control_unit unit;
	uint64_t min, max;		/* both included; of a text and a flag unused */
	bool zero_is_none;		/* 0 is allowed as well: no limit */
	const char *about;
};

/* Why a request is refused. */
enum gw_control_error {
	GW_CONTROL_BAD_MESSAGE,		/* no JSON object, or not as docs/control.md has it */
	GW_CONTROL_TOO_LONG,
	GW_CONTROL_BAD_VERSION,
	GW_CONTROL_UNKNOWN_COMMAND,
	GW_CONTROL_BAD_ARGUMENT,
	GW_CONTROL_OUT_OF_RANGE,
	GW_CONTROL_WRONG_STATE,
	GW_CONTROL_FAILED,		/* it was tried, and could not be done */
	GW_CONTROL_BUSY,		/* too many clients */
	GW_CONTROL_NOT_ALLOWED,
	GW_CONTROL_ERRORS,
};

enum gw_control_event {
	GW_CONTROL_EVENT_PROGRESS,	/* now and then */
	GW_CONTROL_EVENT_STATE,		/* another one than before */
	GW_CONTROL_EVENT_MESSAGE,	/* what the migration says: decisions, warnings, errors */
	GW_CONTROL_EVENT_REQUEST,	/* somebody asked for a change, and what came of it */
	GW_CONTROL_EVENT_DROPPED,	/* events that were lost because this client reads too slowly */
	GW_CONTROL_EVENT_ENDED,		/* the last one */
	GW_CONTROL_EVENTS,
};

struct gw_control_values {
	uint32_t mask;			/* bit 1 << setting: it is given */
	uint64_t value[GW_CONTROL_SETTINGS];	/* of a text unused, of a flag 0 or 1 */
	char guard[GW_CONTROL_GUARD_BYTES];
};

struct gw_control_request {
	enum gw_control_command command;
	char id[GW_CONTROL_ID_BYTES];	/* JSON text that the reply repeats; "" if there is none */
	struct gw_control_values set;
};

struct gw_control_refusal {
	enum gw_control_error error;
	char id[GW_CONTROL_ID_BYTES];	/* of the request, as far as it could be read */
	char text[GW_CONTROL_TEXT_BYTES];
};

/* What became of --throttle-writers; rates are 0 where there is no limit. */
struct gw_control_throttle {
	bool is_there;			/* it was given */
	bool has_given_up;
	char cgroup[GW_CONTROL_CGROUP_BYTES];
	uint64_t limit_bytes_per_s;	/* ours, now */
	uint64_t former_bytes_per_s;	/* what comes back */
	uint64_t throttled_ns;		/* so far */
	uint32_t steps;
};

/* A look at a migration; texts may be cut. */
struct gw_control_status {
	char name[128];
	char source[GW_CONTROL_TEXT_BYTES], target[GW_CONTROL_TEXT_BYTES];
	char state_dir[GW_CONTROL_TEXT_BYTES];
	char decision[GW_CONTROL_TEXT_BYTES];	/* the last, and why; "" before there was one */
	enum gw_control_state state;
	int64_t pid;
	uint64_t age_ns;		/* of this look: how long the migration has not been heard of */
	struct gw_migration_progress progress;
	struct gw_control_values settings;	/* all of them */
	bool switch_wanted, cancel_wanted;
	struct gw_control_throttle throttle;
};

/* Who asked for a change. */
struct gw_control_peer {
	uint32_t uid;
	int64_t pid;
	char comm[32];
};

enum gw_control_outcome {
	GW_CONTROL_DONE,
	GW_CONTROL_ACCEPTED,		/* the migration is busy with the device: done as soon as it looks */
	GW_CONTROL_REFUSED,
};

/* ---- tables ---- */

const char *gw_control_command_name(enum gw_control_command command);
const char *gw_control_state_name(enum gw_control_state state);
/* "the base pass is running": to follow "in state base: ". */
const char *gw_control_state_about(enum gw_control_state state);
const char *gw_control_error_name(enum gw_control_error error);
const char *gw_control_outcome_name(enum gw_control_outcome outcome);
const struct gw_control_setting_row *gw_control_setting(enum gw_control_setting setting);
bool gw_control_is_possible(enum gw_control_state state, enum gw_control_command command);
bool gw_control_changes(enum gw_control_command command);
/* "downtime-limit: 1.0 ms to 1 h": what a setting takes, in words. Return: out. */
const char *gw_control_range(char out[GW_CONTROL_TEXT_BYTES], enum gw_control_setting setting);
/* A value in words: "100 MiB/s", "no limit", "2x". Return: out. */
const char *gw_control_value(char out[GW_CONTROL_GUARD_BYTES], enum gw_control_setting setting,
			     const struct gw_control_values *values);
bool gw_control_is_in_range(enum gw_control_setting setting, uint64_t value);

/* ---- lines ---- */

struct gw_control_reader {
	char line[GW_CONTROL_REQUEST_BYTES_MAX];
	size_t used_bytes;
	bool is_skipping;		/* the rest of a line that was too long */
};

enum gw_control_got {
	GW_CONTROL_GOT_NOTHING,		/* all bytes are taken, no line is complete */
	GW_CONTROL_GOT_LINE,		/* reader->line, used_bytes long; call gw_control_next_line() when done */
	GW_CONTROL_GOT_TOO_LONG,	/* once for each such line, as soon as it is known */
};

/* Takes bytes up to the end of a line; *taken_bytes tells how many. */
enum gw_control_got gw_control_read(struct gw_control_reader *reader, const char *bytes,
				    size_t count_bytes, size_t *taken_bytes);
void gw_control_next_line(struct gw_control_reader *reader);

/* ---- requests ---- */

/* Return: 0; -EINVAL with *refusal filled in (*request is undefined then). */
int gw_control_parse(struct gw_control_request *request, const char *line, size_t line_bytes,
		     struct gw_control_refusal *refusal);
/* Is it possible now? Return: 0; -EPERM with *refusal filled in. */
int gw_control_check_state(const struct gw_control_request *request, enum gw_control_state state,
			   struct gw_control_refusal *refusal);

/* It was tried, and could not be done: why is what the caller knows. */
void gw_control_failed(struct gw_control_refusal *refusal,
		       const struct gw_control_request *request, enum gw_control_error error,
		       const char *why);

/* ---- messages; the caller puts them ---- */

struct json_object *gw_control_request_json(const struct gw_control_request *request);
struct json_object *gw_control_status_json(const char *id, const struct gw_control_status *status);
struct json_object *gw_control_list_json(const char *id);
/* text: what was done or will be, in words. */
struct json_object *gw_control_done_json(const struct gw_control_request *request,
					 enum gw_control_outcome outcome,
					 enum gw_control_state state, const char *text);
struct json_object *gw_control_refusal_json(const struct gw_control_refusal *refusal,
					    enum gw_control_state state);

struct json_object *gw_control_progress_event(const struct gw_control_status *status);
struct json_object *gw_control_state_event(const struct gw_control_status *status);
struct json_object *gw_control_message_event(enum gw_message level, const char *text);
struct json_object *gw_control_request_event(const struct gw_control_peer *peer,
					     const struct gw_control_request *request,
					     enum gw_control_outcome outcome, const char *text);
struct json_object *gw_control_dropped_event(uint64_t count);
struct json_object *gw_control_ended_event(int exit_code, const char *reason);

/* The keys of struct gw_control_values that are given, added to object; and read from it. */
void gw_control_put_values(struct json_object *object, const struct gw_control_values *values);
void gw_control_take_values(struct json_object *object, struct gw_control_values *values);

/*
 * For clients: what a status reply, or an event with progress, says; what is absent or of
 * another type stays as it was.
 */
void gw_control_take_progress(struct json_object *object, struct gw_migration_progress *progress);

/*
 * The line that a message becomes, with its end. Return: its bytes; -EMSGSIZE if
 * it does not fit (then out is undefined). message is put.
 */
int gw_control_write(struct json_object *message_give, char *out, size_t out_bytes);

#endif

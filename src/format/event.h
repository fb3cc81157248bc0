/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Events of NVMe controllers: bytes of the BPF ring and JSON of the event log <-> structs, in the
 * words of the specification; and which of them somebody wants to see. Pure, no I/O.
 */
#ifndef GW_EVENT_H
#define GW_EVENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <json-c/json.h>

#define GW_EVENT_NAME_BYTES 64
#define GW_EVENT_WORDS_BYTES 384

enum gw_event_kind {
	GW_EVENT_COMMAND,		/* an admin command ended */
	GW_EVENT_ASYNC,			/* an asynchronous event */
	GW_EVENT_STATE,			/* the driver's state of the controller has changed */
	GW_EVENT_TIMEOUT,		/* of a command, admin or I/O */
	GW_EVENT_LOST,			/* `count` events before this one are not here */
	GW_EVENT_BEGAN,			/* somebody began to watch */
	GW_EVENT_ENDED,			/* and left off */
	GW_EVENT_KINDS,
};

/* The command of GW_EVENT_COMMAND and GW_EVENT_TIMEOUT. */
struct gw_event_command {
	bool is_admin;
	bool by_user;			/* by passthrough; else the kernel's own */
	bool has_sender;		/* took_ns, pid, uid and comm are known */
	uint8_t opcode;
	uint32_t nsid;
	uint32_t cdw[6];		/* dwords 10 to 15 */
	uint32_t status;		/* status code type, code, More, DNR: bits 15:1 of the completion's */
	uint64_t result;
	uint64_t took_ns;
	uint32_t pid, uid;
	char comm[17];
};

struct gw_event {
	uint64_t at_ns;			/* since 1970 */
	enum gw_event_kind kind;
	uint32_t controller;		/* C of nvmeC */
	uint32_t subsystem;		/* S of nvme-subsysS */
	/* Whose that is, as far as the one who watches knows; "" if not. */
	char role[16];			/* "source", "target", "both" */
	char device[GW_EVENT_NAME_BYTES];
	char serial[24];
	struct gw_event_command command;
	uint32_t async;			/* dword 0 of the Asynchronous Event Request's completion */
	uint32_t state;			/* the driver's: 0 new, 1 live, 2 resetting, ... */
	uint64_t count;
};

/*
 * A record of the ring. wall_minus_ns: what is to be added to CLOCK_MONOTONIC. Role, device and
 * serial are left empty. Return: 0; -EBADMSG, with *event untouched: it is none.
 */
int gw_event_decode(struct gw_event *event, const void *bytes, size_t count_bytes,
		    uint64_t wall_minus_ns);

/* Adds all of it to object; with words beside the numbers for people, the log does without. */
void gw_event_put(struct json_object *object, const struct gw_event *event, bool with_words);
/* From the log. Return: 0; -EBADMSG, with *event untouched: a key is missing or out of range. */
int gw_event_from_json(struct gw_event *event, struct json_object *object);

const char *gw_event_kind_name(enum gw_event_kind kind);
/* One sentence without time and controller: "Format NVM: NSID 1, ..., Successful Completion". Return: out. */
const char *gw_event_words(char out[GW_EVENT_WORDS_BYTES], const struct gw_event *event);

/* Does the command ask only (Identify, Get Log Page, Get Features, ...)? */
bool gw_event_is_question(const struct gw_event_command *command);

/* ---- filter ---- */

#define GW_EVENT_CHANGES (1u << GW_EVENT_KINDS)	/* of the commands, those that do not only ask */

struct gw_event_filter {
	uint64_t since_ns;		/* both since 1970; until 0: no end */
	uint64_t until_ns;
	uint32_t kinds;			/* bits of enum gw_event_kind, GW_EVENT_CHANGES; 0: all */
	const char *drive;		/* controller, serial, role or device, with or without /dev/; NULL: all */
};

/* What tells of gaps (GW_EVENT_LOST, BEGAN, ENDED) is shown whatever kind and drive are wanted. */
bool gw_event_fits(const struct gw_event_filter *filter, const struct gw_event *event);

#define GW_EVENT_KINDS_ACCEPTED "commands, changes, events, states, timeouts"
/* "changes,events". Return: 0; -EINVAL, with *kinds untouched. */
int gw_event_parse_kinds(uint32_t *kinds, const char *text);
/*
 * "10m" (before now), "2026-11-24", "2026-11-24 19:30[:15]" (or with a T), "19:30[:15]" (today),
 * "@1764012345"; local time. Return: 0; -EINVAL, with *at_ns untouched.
 */
int gw_event_parse_time(uint64_t *at_ns, const char *text, uint64_t now_ns);

#endif

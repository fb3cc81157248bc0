// SPDX-License-Identifier: GPL-2.0-or-later
#include "event.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include <godwit/event_abi.h>

#include "jsonkeys.h"
#include "nvme_cmd.h"
#include "nvme_words.h"

static const char *const kind_names[GW_EVENT_KINDS] = {
	[GW_EVENT_COMMAND] = "command",
	[GW_EVENT_ASYNC] = "event",
	[GW_EVENT_STATE] = "state",
	[GW_EVENT_TIMEOUT] = "timeout",
	[GW_EVENT_LOST] = "lost",
	[GW_EVENT_BEGAN] = "began",
	[GW_EVENT_ENDED] = "ended",
};

const char *gw_event_kind_name(enum gw_event_kind kind)
{
	assert(kind < GW_EVENT_KINDS);
	return kind_names[kind];
}

/* ---- the ring ---- */

static int kind_of(uint32_t bpf_kind)
{
	switch (bpf_kind) {
	case GW_BPF_EVENT_COMMAND:
		return GW_EVENT_COMMAND;
	case GW_BPF_EVENT_ASYNC:
		return GW_EVENT_ASYNC;
	case GW_BPF_EVENT_STATE:
		return GW_EVENT_STATE;
	case GW_BPF_EVENT_TIMEOUT:
		return GW_EVENT_TIMEOUT;
	default:
		return -1;
	}
}

/* A process may call itself anything; on a terminal that is to be harmless. */
static void copy_comm(char out[17], const char *comm, size_t count)
{
	size_t i;

	for (i = 0; i < 16 && i < count && comm[i] != '\0'; i++)
		out[i] = comm[i] >= ' ' && comm[i] <= '~' ? comm[i] : '?';
	out[i] = '\0';
}

static void decode_command(struct gw_event_command *command, const struct gw_bpf_event *record)
{
	const bool is_done = record->kind == GW_BPF_EVENT_COMMAND;

	command->is_admin = (record->flags & GW_BPF_EVENT_ADMIN) != 0;
	command->by_user = (record->flags & GW_BPF_EVENT_BY_USER) != 0;
	command->has_sender = (record->flags & GW_BPF_EVENT_HAS_SENDER) != 0;
	command->opcode = (uint8_t)record->opcode;
	command->nsid = record->nsid;
	memcpy(command->cdw, record->cdw, sizeof(command->cdw));
	command->status = is_done ? record->status & 0x7fff : 0;
	command->result = is_done ? record->result : 0;
	if (!command->has_sender)
		return;
	command->pid = record->pid;
	command->uid = record->uid;
	if (record->at_ns > record->submitted_ns)
		command->took_ns = record->at_ns - record->submitted_ns;
	copy_comm(command->comm, record->comm, sizeof(record->comm));
}

int gw_event_decode(struct gw_event *event, const void *bytes, size_t count_bytes,
		    uint64_t wall_minus_ns)
{
	struct gw_bpf_event record;
	int kind;

	if (count_bytes < sizeof(record))
		return -EBADMSG;
	memcpy(&record, bytes, sizeof(record));
	kind = kind_of(record.kind);
	if (kind < 0)
		return -EBADMSG;
	memset(event, 0, sizeof(*event));
	event->kind = (enum gw_event_kind)kind;
	event->at_ns = record.at_ns + wall_minus_ns;
	event->controller = record.controller;
	event->subsystem = record.subsystem;
	if (event->kind == GW_EVENT_COMMAND || event->kind == GW_EVENT_TIMEOUT)
		decode_command(&event->command, &record);
	else if (event->kind == GW_EVENT_ASYNC)
		event->async = (uint32_t)record.result;
	else
		event->state = record.status;
	return 0;
}

/* ---- JSON ---- */

static bool has_command(const struct gw_event *event)
{
	return event->kind == GW_EVENT_COMMAND || event->kind == GW_EVENT_TIMEOUT;
}

/* Of one controller, or of the watching itself? */
static bool has_controller(enum gw_event_kind kind)
{
	return kind != GW_EVENT_LOST && kind != GW_EVENT_BEGAN && kind != GW_EVENT_ENDED;
}

static void put_sender(struct json_object *object, const struct gw_event_command *command)
{
	gw_json_put_string(object, "by", command->by_user ? "user" : "kernel");
	if (!command->has_sender)
		return;
	gw_json_put_u64(object, "took_ns", command->took_ns);
	gw_json_put_u64(object, "pid", command->pid);
	gw_json_put_u64(object, "uid", command->uid);
	gw_json_put_text(object, "comm", command->comm);
}

static struct json_object *command_json(const struct gw_event *event, bool with_words)
{
	static const char *const dwords[] = { "cdw10", "cdw11", "cdw12", "cdw13", "cdw14", "cdw15" };
	const struct gw_event_command *const command = &event->command;
	struct json_object *const object = json_object_new_object();
	char name[GW_NVME_COMMAND_TEXT_BYTES], status[GW_NVME_WORD_BYTES];

	gw_json_put_bool(object, "admin", command->is_admin);
	gw_json_put_u64(object, "opcode", command->opcode);
	if (with_words)
		gw_json_put_string(object, "name", gw_nvme_command_name(name, command->is_admin,
									command->opcode));
	gw_json_put_u64(object, "nsid", command->nsid);
	for (int i = 0; i < 6; i++)
		gw_json_put_u64(object, dwords[i], command->cdw[i]);
	if (event->kind == GW_EVENT_COMMAND) {
		gw_json_put_u64(object, "status", command->status);
		if (with_words)
			gw_json_put_string(object, "status_name",
					   gw_nvme_status_words(status, command->status));
		gw_json_put_u64(object, "result", command->result);
	}
	put_sender(object, command);
	return object;
}

static void put_place(struct json_object *object, const struct gw_event *event)
{
	char name[16];

	snprintf(name, sizeof(name), "nvme%u", event->controller);
	gw_json_put_string(object, "controller", name);
	gw_json_put_u64(object, "subsystem", event->subsystem);
	gw_json_put_text(object, "serial", event->serial);
	gw_json_put_text(object, "role", event->role);
	gw_json_put_text(object, "device", event->device);
}

void gw_event_put(struct json_object *object, const struct gw_event *event, bool with_words)
{
	char words[GW_EVENT_WORDS_BYTES];

	gw_json_put_u64(object, "at_ns", event->at_ns);
	gw_json_put_string(object, "kind", gw_event_kind_name(event->kind));
	if (has_controller(event->kind))
		put_place(object, event);
	if (with_words)
		gw_json_put_string(object, "text", gw_event_words(words, event));
	if (has_command(event))
		gw_json_put_object(object, "command", command_json(event, with_words));
	else if (event->kind == GW_EVENT_ASYNC)
		gw_json_put_u64(object, "dword0", event->async);
	else if (event->kind == GW_EVENT_STATE)
		gw_json_put_u64(object, "state", event->state);
	else if (event->kind == GW_EVENT_LOST)
		gw_json_put_u64(object, "count", event->count);
}

static bool get_u32(struct json_object *object, const char *key, uint32_t *value)
{
	uint64_t wide;

	if (!gw_json_u64(object, key, &wide) || wide > UINT32_MAX)
		return false;
	*value = (uint32_t)wide;
	return true;
}

static bool get_text(struct json_object *object, const char *key, char *out, size_t out_bytes)
{
	const char *const text = gw_json_string(object, key);

	if (text == NULL || strlen(text) >= out_bytes)
		return false;
	strcpy(out, text);
	for (; *out != '\0'; out++)
		if (*out < ' ' || *out > '~')
			*out = '?';
	return true;
}

/* Who sent it is there as a whole, or not at all. */
static bool get_sender(struct gw_event_command *command, struct json_object *object)
{
	const char *const by = gw_json_string(object, "by");
	const char *const comm = gw_json_string(object, "comm");
	uint64_t took_ns;
	uint32_t pid, uid;

	if (by == NULL)
		return false;
	command->by_user = strcmp(by, "user") == 0;
	if (comm == NULL || !gw_json_u64(object, "took_ns", &took_ns) ||
	    !get_u32(object, "pid", &pid) || !get_u32(object, "uid", &uid))
		return true;
	command->has_sender = true;
	command->took_ns = took_ns;
	command->pid = pid;
	command->uid = uid;
	copy_comm(command->comm, comm, strlen(comm));
	return true;
}

static bool get_command(struct gw_event *event, struct json_object *object)
{
	static const char *const dwords[] = { "cdw10", "cdw11", "cdw12", "cdw13", "cdw14", "cdw15" };
	struct gw_event_command *const command = &event->command;
	struct json_object *inner;
	uint32_t opcode;

	if (!json_object_object_get_ex(object, "command", &inner) ||
	    !gw_json_bool(inner, "admin", &command->is_admin) ||
	    !get_u32(inner, "opcode", &opcode) || opcode > UINT8_MAX ||
	    !get_u32(inner, "nsid", &command->nsid))
		return false;
	command->opcode = (uint8_t)opcode;
	for (int i = 0; i < 6; i++)
		if (!get_u32(inner, dwords[i], &command->cdw[i]))
			return false;
	if (event->kind == GW_EVENT_COMMAND &&
	    (!get_u32(inner, "status", &command->status) || command->status > 0x7fff ||
	     !gw_json_u64(inner, "result", &command->result)))
		return false;
	return get_sender(command, inner);
}

static bool get_place(struct gw_event *event, struct json_object *object)
{
	const char *const controller = gw_json_string(object, "controller");
	char rest;

	return controller != NULL && strlen(controller) < 16 &&
	       sscanf(controller, "nvme%u%c", &event->controller, &rest) == 1 &&
	       get_u32(object, "subsystem", &event->subsystem) &&
	       get_text(object, "serial", event->serial, sizeof(event->serial)) &&
	       get_text(object, "role", event->role, sizeof(event->role)) &&
	       get_text(object, "device", event->device, sizeof(event->device));
}

static bool get_rest(struct gw_event *event, struct json_object *object)
{
	switch (event->kind) {
	case GW_EVENT_COMMAND:
	case GW_EVENT_TIMEOUT:
		return get_command(event, object);
	case GW_EVENT_ASYNC:
		return get_u32(object, "dword0", &event->async);
	case GW_EVENT_STATE:
		return get_u32(object, "state", &event->state);
	case GW_EVENT_LOST:
		return gw_json_u64(object, "count", &event->count);
	default:
		return true;
	}
}

int gw_event_from_json(struct gw_event *event, struct json_object *object)
{
	const char *const kind = gw_json_string(object, "kind");
	struct gw_event fresh = { 0 };
	int i = 0;

	if (kind == NULL || !gw_json_u64(object, "at_ns", &fresh.at_ns))
		return -EBADMSG;
	while (i < GW_EVENT_KINDS && strcmp(kind, kind_names[i]) != 0)
		i++;
	if (i == GW_EVENT_KINDS)
		return -EBADMSG;
	fresh.kind = (enum gw_event_kind)i;
	if ((has_controller(fresh.kind) && !get_place(&fresh, object)) || !get_rest(&fresh, object))
		return -EBADMSG;
	*event = fresh;
	return 0;
}

/* ---- words ---- */

bool gw_event_is_question(const struct gw_event_command *command)
{
	switch (command->opcode) {
	case GW_NVME_GET_LOG_PAGE:
	case GW_NVME_IDENTIFY:
	case GW_NVME_GET_FEATURES:
	case GW_NVME_ASYNC_EVENT:
	case GW_NVME_KEEP_ALIVE:
	case GW_NVME_DIRECTIVE_RECEIVE:
	case GW_NVME_MI_RECEIVE:
	case GW_NVME_SECURITY_RECEIVE:
	case GW_NVME_GET_LBA_STATUS:
		return command->is_admin;
	default:
		return false;
	}
}

static void say_command(char *out, const struct gw_event *event)
{
	const struct gw_event_command *const command = &event->command;
	const struct gw_nvme_sqe sqe = {
		.opcode = command->opcode,
		.nsid = command->nsid,
		.cdw10 = command->cdw[0],
		.cdw11 = command->cdw[1],
	};
	char name[GW_NVME_COMMAND_TEXT_BYTES], detail[2 * GW_NVME_WORD_BYTES] = "",
	     status[GW_NVME_WORD_BYTES];

	gw_nvme_command_name(name, command->is_admin, command->opcode);
	if (command->is_admin)
		gw_nvme_admin_words(detail, &sqe);
	else
		snprintf(detail, sizeof(detail), ": NSID %xh, SLBA %llu", command->nsid,
			 (unsigned long long)gw_nvme_first(&sqe));
	if (event->kind == GW_EVENT_TIMEOUT)
		snprintf(out, GW_EVENT_WORDS_BYTES, "no answer in time to %s%s", name, detail);
	else
		snprintf(out, GW_EVENT_WORDS_BYTES, "%s%s; %s", name, detail,
			 gw_nvme_status_words(status, command->status));
}

const char *gw_event_words(char out[GW_EVENT_WORDS_BYTES], const struct gw_event *event)
{
	char word[GW_NVME_WORD_BYTES], log[GW_NVME_WORD_BYTES];

	switch (event->kind) {
	case GW_EVENT_COMMAND:
	case GW_EVENT_TIMEOUT:
		say_command(out, event);
		break;
	case GW_EVENT_ASYNC:
		snprintf(out, GW_EVENT_WORDS_BYTES, "Asynchronous Event: %s; %s",
			 gw_nvme_async_words(word, event->async),
			 gw_nvme_log_words(log, (uint8_t)(event->async >> 16)));
		break;
	case GW_EVENT_STATE:
		snprintf(out, GW_EVENT_WORDS_BYTES, "the controller is %s",
			 gw_nvme_state_words(word, event->state));
		break;
	case GW_EVENT_LOST:
		snprintf(out, GW_EVENT_WORDS_BYTES, "%llu events were lost here",
			 (unsigned long long)event->count);
		break;
	case GW_EVENT_BEGAN:
		snprintf(out, GW_EVENT_WORDS_BYTES, "watched from here on");
		break;
	default:
		snprintf(out, GW_EVENT_WORDS_BYTES, "not watched any more");
		break;
	}
	return out;
}

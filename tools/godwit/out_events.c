// SPDX-License-Identifier: GPL-2.0-or-later
#include "out.h"

#include <time.h>

#include "clock.h"
#include "units.h"

static void print_time(FILE *out, uint64_t at_ns)
{
	const time_t seconds = (time_t)(at_ns / GW_NS_PER_S);
	char text[32] = "?";
	struct tm moment;

	if (localtime_r(&seconds, &moment) != NULL)
		strftime(text, sizeof(text), "%Y-%m-%d %H:%M:%S", &moment);
	fprintf(out, "%s.%06llu", text,
		(unsigned long long)(at_ns % GW_NS_PER_S / GW_NS_PER_US));
}

static void print_sender(FILE *out, const struct gw_event_command *command)
{
	char took[GW_UNIT_TEXT_BYTES];

	fprintf(out, "  [%s", command->by_user ? "user" : "kernel");
	if (command->has_sender)
		fprintf(out, ": %s %u, uid %u, %s", command->comm, command->pid, command->uid,
			gw_format_duration(took, command->took_ns));
	fputc(']', out);
}

static void print_text(FILE *out, const struct gw_event *event)
{
	const bool is_command = event->kind == GW_EVENT_COMMAND;
	char words[GW_EVENT_WORDS_BYTES];

	print_time(out, event->at_ns);
	if (event->kind != GW_EVENT_LOST && event->kind != GW_EVENT_BEGAN &&
	    event->kind != GW_EVENT_ENDED)
		fprintf(out, " nvme%u%s%s", event->controller,
			event->role[0] != '\0' ? " " : "", event->role);
	fprintf(out, "  %s", gw_event_words(words, event));
	if (is_command && event->command.result != 0)
		fprintf(out, ", result %llxh", (unsigned long long)event->command.result);
	if (is_command)
		print_sender(out, &event->command);
	fputc('\n', out);
}

void gw_out_event(FILE *out, enum gw_output form, const struct gw_event *event)
{
	struct json_object *document;

	if (form != GW_OUTPUT_JSON) {
		print_text(out, event);
		return;
	}
	document = gw_out_document();
	gw_event_put(document, event, true);
	fprintf(out, "%s\n", json_object_to_json_string_ext(document, JSON_C_TO_STRING_PLAIN |
							    JSON_C_TO_STRING_NOSLASHESCAPE));
	json_object_put(document);
}

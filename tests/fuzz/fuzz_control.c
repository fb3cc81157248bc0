// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Whatever comes over the control socket: cut into lines, each line read, what was
 * understood written and read again. The pieces that the bytes come in are drawn from them.
 */
#include <assert.h>
#include <errno.h>
#include <stdint.h>
#include <string.h>

#include "control.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static char out[GW_CONTROL_MESSAGE_BYTES_MAX];

static void check_values(const struct gw_control_request *request)
{
	assert((request->set.mask != 0) == (request->command == GW_CONTROL_SET));
	for (int i = 0; i < GW_CONTROL_SETTINGS; i++)
		if ((request->set.mask & (1u << i)) != 0)
			assert(gw_control_is_in_range((enum gw_control_setting)i,
						      request->set.value[i]));
}

/* Every answer fits a message, in every state. */
static void check_answers(const struct gw_control_request *request)
{
	struct gw_control_refusal refusal;
	const struct gw_control_peer peer = { 0, 1, "x" };

	for (int i = 0; i < GW_CONTROL_STATES; i++) {
		const enum gw_control_state state = (enum gw_control_state)i;
		const int err = gw_control_check_state(request, state, &refusal);

		assert((err == 0) == gw_control_is_possible(state, request->command));
		if (err != 0)
			assert(gw_control_write(gw_control_refusal_json(&refusal, state), out,
						sizeof(out)) > 0);
		assert(gw_control_write(gw_control_done_json(request, GW_CONTROL_DONE, state, "t"),
					out, sizeof(out)) > 0);
	}
	assert(gw_control_write(gw_control_request_event(&peer, request, GW_CONTROL_DONE, "t"), out,
				sizeof(out)) > 0);
	assert(gw_control_write(gw_control_list_json(request->id), out, sizeof(out)) > 0);
}

static void check_line(const char *line, size_t bytes)
{
	struct gw_control_request request, again;
	struct gw_control_refusal refusal;
	int length;

	if (gw_control_parse(&request, line, bytes, &refusal) != 0) {
		assert(refusal.text[0] != '\0');
		assert(refusal.error < GW_CONTROL_ERRORS);
		assert(gw_control_write(gw_control_refusal_json(&refusal, GW_CONTROL_ROUND), out,
					sizeof(out)) > 0);
		return;
	}
	check_values(&request);
	check_answers(&request);
	length = gw_control_write(gw_control_request_json(&request), out, sizeof(out));
	assert(length > 0);
	assert(out[length - 1] == '\n');
	assert(memchr(out, '\n', (size_t)length) == out + length - 1);
	assert(gw_control_parse(&again, out, (size_t)length - 1, &refusal) == 0);
	assert(memcmp(&request, &again, sizeof(again)) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct gw_control_reader reader;
	const char *bytes = (const char *)data;
	const size_t piece = size > 0 ? 1 + data[0] % 64 : 1;

	memset(&reader, 0, sizeof(reader));
	while (size > 0) {
		const size_t count = size < piece ? size : piece;
		size_t taken = 0;

		switch (gw_control_read(&reader, bytes, count, &taken)) {
		case GW_CONTROL_GOT_LINE:
			assert(bytes[taken - 1] == '\n');
			check_line(reader.line, reader.used_bytes);
			gw_control_next_line(&reader);
			break;
		case GW_CONTROL_GOT_TOO_LONG:
			assert(reader.used_bytes == 0);
			break;
		case GW_CONTROL_GOT_NOTHING:
			assert(taken > 0);
			break;
		}
		assert(taken > 0);
		assert(taken <= count);
		bytes += taken;
		size -= taken;
	}
	/* And as one line, so that what has no line end is reached, too. */
	if (reader.used_bytes > 0)
		check_line(reader.line, reader.used_bytes);
	return 0;
}

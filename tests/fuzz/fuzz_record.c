// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Journals from anywhere. The first byte chooses: bytes as they are, or a list
 * of payloads that gets good headers and checksums, so that what is behind the
 * checksum is reached, too; then the readers on both. What decodes must encode
 * to the same bytes.
 */
#include <assert.h>
#include <errno.h>
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <godwit/report.h>

#include "journal.h"
#include "record.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define RECORDS_MAX 4096
#define ITEM_HEADER_BYTES 3		/* type, then a length of two bytes */

/* Return: how many records there are in a row. */
static uint64_t decode_all(const uint8_t *bytes, size_t count)
{
	uint64_t records = 0;
	size_t at = 0;

	for (;;) {
		struct gw_record record = { .type = 4242 };
		const int got = gw_record_decode(&record, bytes + at, count - at);
		uint8_t *again;

		if (got < 0) {
			assert(got == -ENODATA || got == -EBADMSG || got == -EPROTO);
			assert(record.type == 4242);
			return records;
		}
		assert((size_t)got <= count - at);
		assert((size_t)got == gw_record_size(record.payload_bytes));
		again = malloc((size_t)got);
		assert(again != NULL);
		assert(gw_record_encode(&record, again, (size_t)got - 1) == -ENOSPC);
		assert(gw_record_encode(&record, again, (size_t)got) == got);
		assert(memcmp(again, bytes + at, (size_t)got) == 0);
		free(again);
		at += (size_t)got;
		records++;
	}
}

/* Items of type, length, payload become records. *out is the caller's to free. */
static size_t forge(const uint8_t *data, size_t size, uint8_t **out)
{
	/* No item grows by more than a header and its padding. */
	const size_t items_max = size / ITEM_HEADER_BYTES + 1;
	const size_t room = size + items_max * (sizeof(struct gw_record_header) + 8);
	uint8_t *const bytes = malloc(room);
	size_t used = 0;

	assert(bytes != NULL);
	for (uint64_t seq = 0; size >= ITEM_HEADER_BYTES && seq < RECORDS_MAX; seq++) {
		size_t length = (size_t)(data[1] | data[2] << 8);
		struct gw_record record = {
			.version = GW_RECORD_VERSION,
			.type = data[0],
			.seq = seq,
			.wall_ns = seq * 1000000007,
		};
		int got;

		data += ITEM_HEADER_BYTES;
		size -= ITEM_HEADER_BYTES;
		length = length < size ? length : size;
		record.payload = (const char *)data;
		record.payload_bytes = (uint32_t)length;
		got = gw_record_encode(&record, bytes + used, room - used);
		assert(got > 0);
		used += (size_t)got;
		data += length;
		size -= length;
	}
	*out = bytes;
	return used;
}

static int count_record(void *arg, const struct gw_record *record, struct json_object *payload)
{
	uint64_t *const records = arg;

	assert(record->seq == *records);
	assert(json_object_is_type(payload, json_type_object));
	(*records)++;
	return 0;
}

static void check_report(const char *path, int err_expected)
{
	struct gw_report report;
	char why[256] = "";
	const int err = gw_report_read(&report, path, why, sizeof(why));
	const struct gw_report_blackout *const b = &report.blackout;

	if (err != 0) {
		assert(err == err_expected || (err == -ENODATA && err_expected == 0));
		assert(why[0] != '\0');
		assert(report.owner == NULL);
		return;
	}
	assert(err_expected == 0);
	assert(report.rounds_listed <= report.rounds_total);
	assert(report.messages_listed <= report.messages_total);
	assert(report.exit_code >= -1 && report.exit_code <= 255);
	assert(report.ended == (report.exit_code >= 0));
	assert(isfinite(report.amplification) && report.amplification >= 0);
	assert(b->quiesce_ns + b->drain_ns + b->copy_ns + b->flush_ns + b->verify_ns +
	       b->commit_ns + b->switch_ns + b->user_ns + b->other_ns == b->total_ns);
	for (uint32_t i = 0; i < report.messages_listed; i++)
		assert(report.messages[i].text != NULL);
	gw_report_free(&report);
}

static void check_file(const uint8_t *bytes, size_t count, uint64_t decoded)
{
	const int fd = memfd_create("journal", MFD_CLOEXEC);
	struct gw_journal_state state;
	uint64_t records = 0;
	bool torn = false;
	char path[64];
	int err;

	assert(fd >= 0);
	assert(write(fd, bytes, count) == (ssize_t)count);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	err = gw_journal_each(path, count_record, &records, &torn, NULL);
	assert(err == 0 || err == -EBADMSG || err == -EPROTO);
	assert(records <= decoded);
	/* All there is: then it was understood to the end, or the rest is torn. */
	assert(err != 0 || records == decoded);
	assert(gw_journal_read_state(path, &state, NULL) == err);
	gw_journal_state_fini(&state);
	check_report(path, err);
	close(fd);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint8_t *forged = NULL;
	const uint8_t *bytes = data + 1;
	size_t count = size - 1;

	if (size == 0)
		return 0;
	if (data[0] == '+')
		count = forge(data + 1, size - 1, &forged);
	if (forged != NULL)
		bytes = forged;
	check_file(bytes, count, decode_all(bytes, count));
	free(forged);
	return 0;
}

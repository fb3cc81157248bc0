// SPDX-License-Identifier: GPL-2.0-or-later
#include "record.h"

#include <assert.h>
#include <endian.h>
#include <errno.h>
#include <stdbool.h>
#include <string.h>

#define XXH_STATIC_LINKING_ONLY		/* a hash state on the stack */
#include <xxhash.h>

#define PADDING 8

size_t gw_record_size(uint32_t payload_bytes)
{
	const size_t bytes = sizeof(struct gw_record_header) + (size_t)payload_bytes;

	return (bytes + PADDING - 1) / PADDING * PADDING;
}

/* header is as it stands in the file. */
static uint64_t checksum(const struct gw_record_header *header, const void *payload,
			 size_t payload_bytes)
{
	struct gw_record_header plain = *header;
	XXH3_state_t state;

	plain.xxh3 = 0;
	XXH3_INITSTATE(&state);
	XXH3_64bits_reset(&state);
	XXH3_64bits_update(&state, &plain, sizeof(plain));
	XXH3_64bits_update(&state, payload, payload_bytes);
	return XXH3_64bits_digest(&state);
}

int gw_record_encode(const struct gw_record *record, void *out, size_t out_bytes)
{
	struct gw_record_header header = {
		.magic = htole32(GW_RECORD_MAGIC),
		.version = htole16(record->version),
		.type = htole16(record->type),
		.payload_bytes = htole32(record->payload_bytes),
		.seq = htole64(record->seq),
		.wall_ns = htole64(record->wall_ns),
	};
	const size_t size = gw_record_size(record->payload_bytes);
	uint8_t *const bytes = out;
	size_t used = sizeof(header);

	assert(record->version != 0);
	if (record->payload_bytes > GW_RECORD_PAYLOAD_BYTES_MAX)
		return -EMSGSIZE;
	if (out_bytes < size)
		return -ENOSPC;
	if (record->payload_bytes != 0) {
		memcpy(bytes + used, record->payload, record->payload_bytes);
		used += record->payload_bytes;
	}
	memset(bytes + used, 0, size - used);
	header.xxh3 = htole64(checksum(&header, bytes + sizeof(header), record->payload_bytes));
	memcpy(bytes, &header, sizeof(header));
	return (int)size;
}

static bool all_zero(const uint8_t *bytes, size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (bytes[i] != 0)
			return false;
	return true;
}

/*
 * Every version keeps this header and its checksum: so a flipped bit in the
 * version is damage, and only a record whose checksum holds is a newer one.
 */
int gw_record_decode(struct gw_record *record, const void *bytes, size_t count_bytes)
{
	const uint8_t *const start = bytes;
	struct gw_record_header header;
	uint32_t payload_bytes;
	size_t size, used;

	if (count_bytes < sizeof(header))
		return -ENODATA;
	memcpy(&header, start, sizeof(header));
	payload_bytes = le32toh(header.payload_bytes);
	if (le32toh(header.magic) != GW_RECORD_MAGIC || header.version == 0 ||
	    header.reserved != 0 || payload_bytes > GW_RECORD_PAYLOAD_BYTES_MAX)
		return -EBADMSG;
	size = gw_record_size(payload_bytes);
	if (count_bytes < size)
		return -ENODATA;
	used = sizeof(header) + payload_bytes;
	if (checksum(&header, start + sizeof(header), payload_bytes) != le64toh(header.xxh3) ||
	    !all_zero(start + used, size - used))
		return -EBADMSG;
	if (le16toh(header.version) > GW_RECORD_VERSION)
		return -EPROTO;
	*record = (struct gw_record){
		.version = le16toh(header.version),
		.type = le16toh(header.type),
		.seq = le64toh(header.seq),
		.wall_ns = le64toh(header.wall_ns),
		.payload = (const char *)start + sizeof(header),
		.payload_bytes = payload_bytes,
	};
	return (int)size;
}

const char *gw_record_type_name(uint16_t type)
{
	static const char *const names[] = {
		[GW_RECORD_STARTED] = "started",
		[GW_RECORD_CONTINUED] = "continued",
		[GW_RECORD_ROUND] = "round",
		[GW_RECORD_SETTLED] = "settled",
		[GW_RECORD_NOTE] = "note",
		[GW_RECORD_SUSPECT] = "suspect",
		[GW_RECORD_QUIESCING] = "quiescing",
		[GW_RECORD_COMMIT] = "commit",
		[GW_RECORD_SWITCHED] = "switched",
		[GW_RECORD_RESUMED] = "resumed",
		[GW_RECORD_VERIFIED] = "verified",
		[GW_RECORD_ENDED] = "ended",
		[GW_RECORD_CLEANED] = "cleaned",
		[GW_RECORD_TRACKING] = "tracking",
		[GW_RECORD_REQUEST] = "request",
		[GW_RECORD_THROTTLED] = "throttled",
		[GW_RECORD_LATENCY] = "latency",
		[GW_RECORD_EVENT] = "event",
	};

	if (type >= sizeof(names) / sizeof(names[0]) || names[type] == NULL)
		return "unknown";
	return names[type];
}

// SPDX-License-Identifier: GPL-2.0-or-later
#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>
#include <xxhash.h>

#include "record.h"

static const char payload[] = "{\"round\":1}";		/* 11 bytes: 5 of padding */

static struct gw_record sample(void)
{
	return (struct gw_record){
		.version = GW_RECORD_VERSION,
		.type = GW_RECORD_ROUND,
		.seq = 0x0102030405060708,
		.wall_ns = 1700000000123456789,
		.payload = payload,
		.payload_bytes = sizeof(payload) - 1,
	};
}

Test(record, size_is_padded_to_eight)
{
	cr_assert_eq(gw_record_size(0), 40);
	cr_assert_eq(gw_record_size(1), 48);
	cr_assert_eq(gw_record_size(8), 48);
	cr_assert_eq(gw_record_size(9), 56);
	cr_assert_eq(gw_record_size(UINT32_MAX), (size_t)UINT32_MAX + 1 + 40);
}

Test(record, what_is_encoded_decodes_again)
{
	const struct gw_record record = sample();
	struct gw_record back;
	unsigned char bytes[64];

	cr_assert_eq(gw_record_encode(&record, bytes, sizeof(bytes)), 56);
	cr_assert_eq(gw_record_decode(&back, bytes, 56), 56);
	cr_assert_eq(back.version, record.version);
	cr_assert_eq(back.type, record.type);
	cr_assert_eq(back.seq, record.seq);
	cr_assert_eq(back.wall_ns, record.wall_ns);
	cr_assert_eq(back.payload_bytes, record.payload_bytes);
	cr_assert_arr_eq(back.payload, payload, sizeof(payload) - 1);
}

/* A file of another machine, another day: the layout must never move. */
Test(record, layout_is_as_documented)
{
	static const unsigned char expected[] = {
		'G', 'W', 'R', 'J', 1, 0, 3, 0, 11, 0, 0, 0, 0, 0, 0, 0,
		8, 7, 6, 5, 4, 3, 2, 1, 0x15, 0xcd, 0x85, 0x3d, 0xfe, 0x9c, 0x97, 0x17,
	};
	static const unsigned char checksum[] = {
		0x39, 0x36, 0xa9, 0x31, 0x00, 0x45, 0x24, 0x23,
	};
	const struct gw_record record = sample();
	unsigned char bytes[64];

	memset(bytes, 0xff, sizeof(bytes));
	cr_assert_eq(gw_record_encode(&record, bytes, sizeof(bytes)), 56);
	cr_assert_arr_eq(bytes, expected, sizeof(expected));
	cr_assert_arr_eq(bytes + 32, checksum, 8);
	cr_assert_arr_eq(bytes + 40, "{\"round\":1}\0\0\0\0\0", 16);
	cr_assert_eq(bytes[56], 0xff);
}

Test(record, too_little_room_or_too_much_payload_is_refused)
{
	static char large[GW_RECORD_PAYLOAD_BYTES_MAX + 1];
	static unsigned char out[GW_RECORD_PAYLOAD_BYTES_MAX + 64];
	struct gw_record record = sample();

	cr_assert_eq(gw_record_encode(&record, out, 55), -ENOSPC);
	cr_assert_eq(gw_record_encode(&record, out, 56), 56);
	record.payload = large;
	record.payload_bytes = GW_RECORD_PAYLOAD_BYTES_MAX + 1;
	cr_assert_eq(gw_record_encode(&record, out, sizeof(out)), -EMSGSIZE);
	record.payload_bytes = GW_RECORD_PAYLOAD_BYTES_MAX;
	cr_assert_eq(gw_record_encode(&record, out, sizeof(out)),
		     (int)gw_record_size(GW_RECORD_PAYLOAD_BYTES_MAX));
}

Test(record, every_cut_is_a_torn_tail)
{
	const struct gw_record record = sample();
	struct gw_record back = { .seq = 99 };
	unsigned char bytes[64];
	const int size = gw_record_encode(&record, bytes, sizeof(bytes));

	for (int count = 0; count < size; count++) {
		cr_assert_eq(gw_record_decode(&back, bytes, (size_t)count), -ENODATA, "%d", count);
		cr_assert_eq(back.seq, 99);
	}
	cr_assert_eq(gw_record_decode(&back, bytes, sizeof(bytes)), size);
}

Test(record, every_flipped_bit_is_noticed)
{
	const struct gw_record record = sample();
	unsigned char bytes[64];
	const int size = gw_record_encode(&record, bytes, sizeof(bytes));

	for (int bit = 0; bit < size * 8; bit++) {
		struct gw_record back = { .seq = 99 };
		int got;

		bytes[bit / 8] ^= (unsigned char)(1 << bit % 8);
		got = gw_record_decode(&back, bytes, (size_t)size);
		/* A length that grew asks for bytes that are not there. */
		cr_assert(got == -EBADMSG || (got == -ENODATA && bit / 8 >= 8 && bit / 8 < 12),
			  "bit %d: %d", bit, got);
		cr_assert_eq(back.seq, 99);
		bytes[bit / 8] ^= (unsigned char)(1 << bit % 8);
	}
}

Test(record, newer_version_is_told_apart)
{
	struct gw_record record = sample(), back;
	unsigned char bytes[64];

	record.version = GW_RECORD_VERSION + 1;
	cr_assert_eq(gw_record_encode(&record, bytes, sizeof(bytes)), 56);
	cr_assert_eq(gw_record_decode(&back, bytes, 56), -EPROTO);
	bytes[50] ^= 1;
	cr_assert_eq(gw_record_decode(&back, bytes, 56), -EBADMSG);
}

/* A checksum that holds does not make it a record. */
Test(record, reserved_field_and_version_must_be_as_documented)
{
	static const size_t places[] = { 4, 12, 15 };	/* version 1 becomes 0; reserved is set */
	const struct gw_record record = sample();
	struct gw_record back;

	for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
		unsigned char bytes[64];
		uint64_t hash;

		cr_assert_eq(gw_record_encode(&record, bytes, sizeof(bytes)), 56);
		bytes[places[i]] ^= 1;
		memset(bytes + 32, 0, 8);
		hash = XXH3_64bits(bytes, 40 + sizeof(payload) - 1);
		memcpy(bytes + 32, &hash, 8);
		cr_assert_eq(gw_record_decode(&back, bytes, 56), -EBADMSG, "%zu", places[i]);
	}
}

Test(record, unknown_type_is_kept)
{
	struct gw_record record = sample(), back;
	unsigned char bytes[64];

	record.type = 0xbeef;
	cr_assert_eq(gw_record_encode(&record, bytes, sizeof(bytes)), 56);
	cr_assert_eq(gw_record_decode(&back, bytes, 56), 56);
	cr_assert_eq(back.type, 0xbeef);
	cr_assert_str_eq(gw_record_type_name(back.type), "unknown");
}

Test(record, every_type_has_its_name)
{
	cr_assert_str_eq(gw_record_type_name(0), "unknown");
	cr_assert_str_eq(gw_record_type_name(GW_RECORD_STARTED), "started");
	cr_assert_str_eq(gw_record_type_name(GW_RECORD_CLEANED), "cleaned");
	for (uint16_t type = GW_RECORD_STARTED; type <= GW_RECORD_EVENT; type++)
		cr_assert_str_neq(gw_record_type_name(type), "unknown");
	cr_assert_str_eq(gw_record_type_name(GW_RECORD_EVENT + 1), "unknown");
}

Test(record, empty_payload)
{
	struct gw_record record = sample(), back;
	unsigned char bytes[40];

	record.payload = NULL;
	record.payload_bytes = 0;
	cr_assert_eq(gw_record_encode(&record, bytes, sizeof(bytes)), 40);
	cr_assert_eq(gw_record_decode(&back, bytes, 40), 40);
	cr_assert_eq(back.payload_bytes, 0);
}

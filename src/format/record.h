/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Journal records: bytes <-> structs, pure, no I/O. Layout in
 * include/godwit/journal_abi.h and docs/journal.md.
 */
#ifndef GW_RECORD_H
#define GW_RECORD_H

#include <stddef.h>
#include <stdint.h>

#include <godwit/journal_abi.h>

/* A decoded record; payload is borrowed from the bytes it was decoded from. */
struct gw_record {
	uint16_t version;
	uint16_t type;			/* enum gw_record_type; unknown ones are kept */
	uint64_t seq;			/* 0, 1, 2, ... in one journal */
	uint64_t wall_ns;		/* since 1970 */
	const char *payload;		/* one JSON object, not zero-terminated */
	uint32_t payload_bytes;
};

/* Bytes that a record with this payload takes (header, payload, padding to 8). */
size_t gw_record_size(uint32_t payload_bytes);

/*
 * Return: bytes written to out (gw_record_size()), -ENOSPC if out is too small,
 * -EMSGSIZE if the payload is more than GW_RECORD_PAYLOAD_BYTES_MAX.
 */
int gw_record_encode(const struct gw_record *record, void *out, size_t out_bytes);

/*
 * Return: bytes taken; -ENODATA if bytes end before the record does (a torn
 * tail), -EBADMSG if it is no record or its checksum differs, -EPROTO if it was
 * written by a newer version. *record is untouched on failure.
 */
int gw_record_decode(struct gw_record *record, const void *bytes, size_t count_bytes);

/* "started", "round", ... ; "unknown" for others. */
const char *gw_record_type_name(uint16_t type);

#endif

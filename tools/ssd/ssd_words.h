/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Commands and statuses in the words of the specification, and a filter that understands them. */
#ifndef GW_SSD_WORDS_H
#define GW_SSD_WORDS_H

#include <stdbool.h>
#include <stdint.h>

#include <godwit/nvme_abi.h>

#include "err.h"

#define GW_WORDS_BYTES 192u		/* of a command with its fields */
#define GW_WORDS_COMMANDS_MAX 40u	/* that have a name; the last stands for all others */

/* A number for each command that has a name, below GW_WORDS_COMMANDS_MAX. */
uint32_t gw_words_number(bool is_admin, uint8_t opcode);
/* NULL: no such number. */
const char *gw_words_name(uint32_t number);
/* The command with its fields: "Write NSID 1 SLBA 64 blocks 8". Return: out. */
const char *gw_words_command(char out[GW_WORDS_BYTES], bool is_admin, const struct gw_nvme_sqe *sqe);
/* Of enum nvme_status; NULL: one without a name. */
const char *gw_words_status(uint16_t status);
/* By name ("unrecovered-read-error") or as SCT and SC in hexadecimal (281). Return: 0, -EINVAL. */
int gw_words_parse_status(const char *text, uint16_t *status);
/* Blocks that the command itself names. Return: false: none, or in its data. */
bool gw_words_range(bool is_admin, const struct gw_nvme_sqe *sqe, uint64_t *first, uint64_t *count);

/* Which commands: all, until it is told otherwise. */
struct gw_match {
	bool has_queue, is_any_io, has_command, has_nsid, has_lba;
	uint16_t queue;
	uint32_t command;		/* a number, for both kinds of queue the same name */
	uint32_t nsid;
	uint64_t first, last;
};

/*
 * queue=admin|io|N, command=NAME, nsid=N, lba=FIRST[-LAST]. Return: 1: taken; 0: it is none of these;
 * -EINVAL, said.
 */
int gw_match_set(struct gw_match *match, const char *key, const char *value, struct gw_diag *diag);
bool gw_match_command(const struct gw_match *match, uint16_t sqid, const struct gw_nvme_sqe *sqe);
/* Blocks that changed: of a match, nsid and lba alone. */
bool gw_match_blocks(const struct gw_match *match, uint32_t nsid, uint64_t first, uint64_t count);

#endif

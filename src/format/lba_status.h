/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Answers to Get LBA Status, "allocated LBAs" (NVM Command Set 1.2, 4.2.1): which blocks of a
 * namespace hold something. Pure. A list that contradicts itself is refused as a whole: whoever
 * asked copies everything then.
 */
#ifndef GW_LBA_STATUS_H
#define GW_LBA_STATUS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* One namespace, asked from begin to end. */
struct gw_lba_status {
	uint64_t size_blk;
	uint64_t next_blk;		/* what to ask from; everything before it was answered */
	bool is_done;
};

void gw_lba_status_begin(struct gw_lba_status *status, uint64_t size_blk);

/*
 * Takes the answer to a question from next_blk on, and calls fn for each allocated range, in
 * order. Each call comes nearer to is_done. Return: 0, or -EPROTO; fn may have been called for
 * some of it then.
 */
int gw_lba_status_take(struct gw_lba_status *status, const void *data, size_t bytes,
		       void (*fn)(void *arg, uint64_t first_blk, uint64_t count_blk), void *arg);

#endif

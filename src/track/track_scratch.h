/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Private to src/track: a block device of our own, for the self-test. Never the user's. */
#ifndef GW_TRACK_SCRATCH_H
#define GW_TRACK_SCRATCH_H

#include <stdbool.h>
#include <stdint.h>

#include "err.h"

struct gw_scratch {
	char path[32];
	int fd;				/* of the device, O_RDWR | O_DIRECT */
	bool is_zram;
	unsigned int id;		/* of the zram device */
};

/* A loop device over memory. Return: 0 or negative errno, said (GW_EXIT_CANNOT). */
int gw_scratch_open_loop(struct gw_scratch *scratch, uint64_t size_bytes, struct gw_diag *diag);
/* A zram device: a bio-based kind that is made in a moment. -ENODEV (not said): no zram here. */
int gw_scratch_open_zram(struct gw_scratch *scratch, uint64_t size_bytes, struct gw_diag *diag);
void gw_scratch_close(struct gw_scratch *scratch);

#endif

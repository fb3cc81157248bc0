/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Private to src/track: where things are pinned below GW_PINS_DIR, and who may change that. */
#ifndef GW_TRACK_PINS_H
#define GW_TRACK_PINS_H

#include <stdint.h>

#include "err.h"

#define GW_PINS_NAME_MAX 60
#define GW_PINS_PATH_BYTES 256

/* The map that is pinned last: a directory without it is half made. */
#define GW_PIN_HEADER "header"

/*
 * Return: 0, or -EINVAL (said, GW_EXIT_USAGE) if name is empty, longer than
 * GW_PINS_NAME_MAX, has a '/', or characters that do not print.
 */
int gw_pins_check_name(const char *name, struct gw_diag *diag);

/* The path of a pin; of the directory if pin is NULL. name was checked. Return: out. */
const char *gw_pins_path(char out[GW_PINS_PATH_BYTES], const char *name, const char *pin);

/* Is a bpffs mounted on GW_BPFFS_DIR? Return: 0 or negative errno, said (GW_EXIT_CANNOT). */
int gw_pins_check_bpffs(struct gw_diag *diag);

/*
 * Makes GW_PINS_DIR and locks it: one process at a time starts or removes. Return: a
 * descriptor, close() unlocks; or negative errno, said.
 */
int gw_pins_lock(struct gw_diag *diag);

/* Return: 0, -ENOENT if nothing is pinned under that name, or negative errno. */
int gw_pins_exist(const char *name);

/* With the lock held. Return: 0 or negative errno, said. */
int gw_pins_create_dir(const char *name, struct gw_diag *diag);
int gw_pins_add(const char *name, const char *pin, int fd, struct gw_diag *diag);
int gw_pins_remove(const char *name, struct gw_diag *diag);

#endif

/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Which parts of a device hold nothing: by its drive's own word (Get LBA Status), by that of a
 * mounted file system on it. An answer is as old as the call: whoever uses it has to have been
 * tracking writes since before (docs/decisions/0024-vacant-blocks.md).
 */
#ifndef GW_VACANCY_H
#define GW_VACANCY_H

#include <stdint.h>

#include "blkinfo.h"
#include "err.h"

/* Bytes of the node, half-open. */
typedef void (*gw_extent_fn)(void *arg, uint64_t first_bytes, uint64_t end_bytes);

/*
 * Calls fn for what the drive says is allocated; all else reads as zeroes. Return: 0;
 * -EOPNOTSUPP: the drive cannot tell, or deallocated blocks need not read as zeroes there; -EIO:
 * it refused; -EPROTO: nonsense. Why is said in diag.
 */
int gw_allocated_by_drive(const struct gw_node *node, gw_extent_fn fn, void *arg,
			  struct gw_diag *diag);

/*
 * Calls fn for what the file system (ext4, XFS) mounted there calls free, then makes it durable
 * that this is so. Free blocks hold what nobody will read again, whatever that is. Return: 0;
 * -EOPNOTSUPP: another kind of file system, or not directly on node; or a negative errno: what fn
 * was told does not count. Why is said in diag.
 */
int gw_free_by_file_system(const struct gw_node *node, const struct gw_mount *mount,
			   gw_extent_fn fn, void *arg, struct gw_diag *diag);

#endif

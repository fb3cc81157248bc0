/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A descriptor on a mounted file system, whatever state it is in, for its ioctls. */
#ifndef GW_MOUNT_FD_H
#define GW_MOUNT_FD_H

#include <sys/types.h>

#define GW_MOUNT_FD_TYPE_BYTES 32

/*
 * On any mount of the file system dev that can be reached from here; a file
 * system that was shut down lets nobody open it, so that one is borrowed from a
 * process that has. fs_type gets its type, of GW_MOUNT_FD_TYPE_BYTES. Return: the
 * descriptor; -ENOENT: not mounted here; -EIO: it is shut down, and nobody that
 * is seen here has a file open there; or another negative errno.
 */
int gw_mount_fd_open(dev_t dev, char *fs_type);

#endif

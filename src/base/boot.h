/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Which boot of the kernel this is: what it held before another one is gone. Callable from anywhere. */
#ifndef GW_BOOT_H
#define GW_BOOT_H

#define GW_BOOT_ID_BYTES 40

/* "" if the kernel does not say. */
void gw_boot_id(char id[GW_BOOT_ID_BYTES]);

#endif

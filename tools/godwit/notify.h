/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Tells a service manager how it goes: the datagrams of sd_notify(3), which are a line of text
 * each; libsystemd would be a dependency for them alone (docs/decisions).
 */
#ifndef GW_NOTIFY_H
#define GW_NOTIFY_H

#include <godwit/migration.h>

/* Takes NOTIFY_SOCKET out of the environment, so that the user's commands do not speak for us. */
void gw_notify_begin(void);
void gw_notify_ready(const char *name);
/* At most once a second, unless the phase is another one. */
void gw_notify_progress(const struct gw_migration_progress *progress);
void gw_notify_stopping(const char *status);

#endif

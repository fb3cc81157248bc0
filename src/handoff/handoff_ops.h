/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Inside of the hand-off: what a provider gives, and what handoff.c keeps for it. */
#ifndef GW_HANDOFF_OPS_H
#define GW_HANDOFF_OPS_H

#include <json-c/json.h>

#include "handoff.h"
#include "watchdog.h"

#define GW_HANDOFF_EXEC_TIMEOUT_NS (UINT64_C(30) * 1000 * 1000 * 1000)
#define GW_HANDOFF_DEADLINE_NS (UINT64_C(10) * 1000 * 1000 * 1000)
#define GW_HANDOFF_RECOVERY_BYTES_MAX (24u << 10)	/* fits a journal record, every byte of it escaped */

/*
 * take_back, switch_over and resume also run in the watchdog child, on its copy
 * of the handoff: what both must see is in handoff->watch. All are safe to run
 * again after having been cut off in the middle.
 */
struct gw_handoff_ops {
	const char *name;
	bool is_watched;
	int (*prepare)(struct gw_handoff *handoff, struct gw_diag *diag);
	int (*sync)(struct gw_handoff *handoff, struct gw_diag *diag);
	void (*describe)(struct gw_handoff *handoff, struct json_object *recovery);
	/* Looks again, before the watchdog is armed, at what prepare found. */
	int (*recheck)(struct gw_handoff *handoff, struct gw_diag *diag);
	int (*quiesce)(struct gw_handoff *handoff, struct gw_diag *diag);
	int (*load)(struct gw_handoff *handoff, struct gw_diag *diag);	/* NULL: nothing */
	int (*take_back)(struct gw_handoff *handoff, struct gw_diag *diag);
	int (*switch_over)(struct gw_handoff *handoff, struct gw_diag *diag);
	int (*resume)(struct gw_handoff *handoff, struct gw_diag *diag);
	/* Descriptors that the watchdog needs. Return: count. */
	uint32_t (*keep_fds)(struct gw_handoff *handoff, int fds[GW_WATCHDOG_FDS_MAX]);
	void (*destroy)(struct gw_handoff *handoff);
	/* From a recovery object nobody vouches for. */
	int (*recover)(struct json_object *recovery, bool committed, struct gw_diag *diag);
};

extern const struct gw_handoff_ops gw_handoff_freeze, gw_handoff_exec, gw_handoff_none, gw_handoff_dm;

struct gw_handoff {
	const struct gw_handoff_ops *ops;
	enum gw_handoff_state state;
	struct gw_handoff_config config;
	struct gw_watch *watch;		/* shared with the watchdog */
	struct gw_watchdog watchdog;
	const char *by;			/* whose process this is: "migrate" or "watchdog" */
	char *recovery_json;
	bool is_armed;			/* the watchdog watches; nothing need be stopped yet */
	bool has_failed_after_commit;	/* said; left to `godwit cleanup` */
	uint64_t user_ns;
	void *self;			/* the provider's own */
};

/* Checked access to an object from outside. NULL: absent, no string, or not of 1 to max_bytes bytes. */
const char *gw_handoff_json_string(struct json_object *object, const char *key, size_t max_bytes);

#endif

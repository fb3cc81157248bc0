/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The verbs, a file each, and what they share. */
#ifndef GW_VERBS_H
#define GW_VERBS_H

#include <stdint.h>

#include "err.h"
#include "options.h"
#include "terminal.h"

#define GW_STATE_DIR_DEFAULT "/var/lib/godwit"
#define GW_RUN_DIR_DEFAULT "/run/godwit"

extern const struct gw_verb gw_verb_cancel;
extern const struct gw_verb gw_verb_check;
extern const struct gw_verb gw_verb_cleanup;
extern const struct gw_verb gw_verb_completion;
extern const struct gw_verb gw_verb_dm_wrap;
extern const struct gw_verb gw_verb_events;
extern const struct gw_verb gw_verb_help;
extern const struct gw_verb gw_verb_list;
extern const struct gw_verb gw_verb_migrate;
extern const struct gw_verb gw_verb_pause;
extern const struct gw_verb gw_verb_report;
extern const struct gw_verb gw_verb_resume;
extern const struct gw_verb gw_verb_set;
extern const struct gw_verb gw_verb_status;
extern const struct gw_verb gw_verb_switch;
extern const struct gw_verb gw_verb_track_latency;
extern const struct gw_verb gw_verb_track_list;
extern const struct gw_verb gw_verb_track_record;
extern const struct gw_verb gw_verb_track_start;
extern const struct gw_verb gw_verb_track_status;
extern const struct gw_verb gw_verb_track_stop;
extern const struct gw_verb gw_verb_track_take;
extern const struct gw_verb gw_verb_verify;
extern const struct gw_verb gw_verb_version;
extern const struct gw_verb gw_verb_watch;

/* All of them in the order of the help, NULL-terminated. */
extern const struct gw_verb *const gw_verbs[];

/* Says what is wrong with the call, and where help is. Return: GW_EXIT_USAGE. */
int gw_verb_usage_error(const struct gw_call *call, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

/* The exit code of a negative errno that was said in diag. */
int gw_verb_exit(const struct gw_diag *diag, int err);

/* A diag whose messages go to the terminal. */
struct gw_diag gw_verb_diag(struct gw_terminal *terminal);

/* The overview: usage and the list of verbs; of one group only ("track") unless NULL. */
void gw_verb_overview(const char *group, FILE *out);

#endif

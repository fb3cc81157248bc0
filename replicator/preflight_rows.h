/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Private to preflight_*.c: what the rows look at, and how a row speaks. */
#ifndef GW_PREFLIGHT_ROWS_H
#define GW_PREFLIGHT_ROWS_H

#include "geom.h"
#include "nvme_identify.h"
#include "preflight.h"

/* Without these there is nothing to look at: the row says so and warns. */
enum gw_row_needs {
	GW_NEEDS_SOURCE = 1,
	GW_NEEDS_TARGET = 2,
	GW_NEEDS_GEOM = 4,
	GW_NEEDS_NAME = 8,
	GW_NEEDS_BOTH = GW_NEEDS_SOURCE | GW_NEEDS_TARGET,
};

struct gw_check {
	struct gw_preflight *preflight;
	const struct gw_migration_config *config;
	const struct gw_node *source, *target;
	int source_err, target_err;	/* of looking; the words are in the diags */
	struct gw_diag source_diag, target_diag;
	bool target_is_new;		/* a regular file that does not exist yet */
	bool is_tracked;		/* the source, by BPF */
	bool by_nvme;			/* and on the NVMe driver */
	bool needs_bpf;			/* for it, or for the target after the switch */
	struct gw_mount *mounts;	/* of the source */
	uint32_t mount_count;
	enum gw_migration_handoff handoff;	/* AUTO: it could not be chosen */
	struct gw_geom geom;
	struct gw_nvme_facts nvme[2];	/* of source and target, where nvme_err is 0 */
	int nvme_err[2];		/* of asking the drive; -ENXIO: it is no namespace */
	bool skips_flushes[2];		/* the kernel sends the disk none (queue/write_cache) */
	char name[128];
	char state_dir[PATH_MAX], state_base[PATH_MAX];	/* and the nearest directory above it that exists */
	uint32_t has;			/* of enum gw_row_needs */
};

struct gw_row_rule {
	const char *id, *what;
	uint32_t needs;
	/* Says what it found: gw_row_met() and so on. */
	void (*look)(struct gw_check *check, struct gw_row *row);
};

/* The tables end with a rule that has no id. */
extern const struct gw_row_rule gw_rows_devices[], gw_rows_nvme[], gw_rows_users[], gw_rows_system[], gw_rows_state[];

void gw_row_met(struct gw_row *row, const char *format, ...) __attribute__((format(printf, 2, 3)));
void gw_row_differs(struct gw_row *row, const char *format, ...)
	__attribute__((format(printf, 2, 3)));
void gw_row_warn(struct gw_row *row, const char *format, ...)
	__attribute__((format(printf, 2, 3)));
/* A warning, too: what it is about is missing, which another row says ("without a target"). */
void gw_row_blind(struct gw_row *row, const char *without);
void gw_row_unmet(struct gw_row *row, const char *format, ...)
	__attribute__((format(printf, 2, 3)));
void gw_row_mend(struct gw_row *row, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

/* Asks the drives of both ends what gw_rows_nvme[] looks at. Return: is one of the ends a namespace? */
bool gw_check_ask_drives(struct gw_check *check);

/* O_DIRECT, or the page cache where the file system has no O_DIRECT. Return: fd or negative errno. */
int gw_check_open_source(const struct gw_check *check);

#endif

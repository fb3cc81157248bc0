// SPDX-License-Identifier: GPL-2.0-or-later
#include "preflight.h"

#include <assert.h>
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "job.h"
#include "preflight_rows.h"

#define NAME_LENGTH_MAX 60		/* what a directory of pins may be called */
#define NAME_PART_MAX ((NAME_LENGTH_MAX - 1) / 2)

static bool is_name_char(char c)
{
	return isalnum((unsigned char)c) || c == '-' || c == '_';
}

int gw_migration_name(char out[128], const struct gw_migration_config *config,
		      const struct gw_node *source, const struct gw_node *target)
{
	const char *const name = config->name;

	out[0] = '\0';
	if (name == NULL) {
		snprintf(out, 128, "%.*s-%.*s", NAME_PART_MAX, source->name, NAME_PART_MAX,
			 target->name);
		for (char *at = out; *at != '\0'; at++)
			if (!is_name_char(*at))
				*at = '_';
		if (out[0] == '-')
			out[0] = '_';
		return 0;
	}
	if (name[0] == '\0' || name[0] == '-' || strlen(name) > NAME_LENGTH_MAX)
		return -EINVAL;
	for (const char *at = name; *at != '\0'; at++)
		if (!is_name_char(*at))
			return -EINVAL;
	snprintf(out, 128, "%s", name);
	return 0;
}

void gw_migration_state_dir(char out[PATH_MAX], const char *name, const char *state_dir)
{
	if (state_dir != NULL)
		snprintf(out, PATH_MAX, "%s", state_dir);
	else
		snprintf(out, PATH_MAX, GW_STATE_ROOT "/%s", name);
}

void gw_migration_lock_path(char out[PATH_MAX], const char *run_dir, dev_t disk)
{
	snprintf(out, PATH_MAX, "%s/disk-%u:%u.lock", run_dir != NULL ? run_dir : GW_RUN_DIR,
		 major(disk), minor(disk));
}

static void say(struct gw_row *row, enum gw_row_state state, const char *format, va_list args)
{
	row->state = state;
	vsnprintf(row->why, sizeof(row->why), format, args);
}

void gw_row_met(struct gw_row *row, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	say(row, GW_ROW_MET, format, args);
	va_end(args);
}

void gw_row_differs(struct gw_row *row, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	say(row, GW_ROW_DIFFERS, format, args);
	va_end(args);
}

void gw_row_warn(struct gw_row *row, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	say(row, GW_ROW_WARNING, format, args);
	va_end(args);
}

void gw_row_blind(struct gw_row *row, const char *without)
{
	gw_row_warn(row, "cannot be looked at %s", without);
	row->is_blind = true;
}

void gw_row_unmet(struct gw_row *row, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	say(row, GW_ROW_UNMET, format, args);
	va_end(args);
}

void gw_row_mend(struct gw_row *row, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(row->mend, sizeof(row->mend), format, args);
	va_end(args);
}

int gw_check_open_source(const struct gw_check *check)
{
	int fd = open(check->source->path, O_RDONLY | O_DIRECT | O_CLOEXEC);

	if (fd < 0 && errno == EINVAL)
		fd = open(check->source->path, O_RDONLY | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

/* The nearest directory at or above path that exists; "/" in the end. */
static void find_existing(char out[PATH_MAX], const char *path)
{
	struct stat st;
	char *slash;

	if (path[0] == '/' || getcwd(out, PATH_MAX) == NULL)
		out[0] = '\0';
	if ((size_t)snprintf(out + strlen(out), PATH_MAX - strlen(out), "%s%s",
			     path[0] == '/' ? "" : "/", path) >= PATH_MAX - strlen(out))
		snprintf(out, PATH_MAX, "%s", path);
	while (stat(out, &st) < 0) {
		slash = strrchr(out, '/');
		if (slash == NULL || slash == out) {
			snprintf(out, PATH_MAX, "/");
			return;
		}
		*slash = '\0';
	}
}

/* A target that is not there may be a regular file to come; not below /dev, where it is a slip of the pen. */
static bool look_at_new_file(struct gw_node *node, const char *path)
{
	char copy[PATH_MAX], dir[PATH_MAX];
	const char *base;
	struct stat st, dev_st;
	char *slash;

	if (path == NULL || (size_t)snprintf(copy, sizeof(copy), "%s", path) >= sizeof(copy))
		return false;
	slash = strrchr(copy, '/');
	base = slash != NULL ? slash + 1 : copy;
	if (base[0] == '\0' || strcmp(base, ".") == 0 || strcmp(base, "..") == 0 ||
	    lstat(path, &st) == 0)
		return false;		/* a dangling link is nothing to be made */
	snprintf(node->name, sizeof(node->name), "%.63s", base);
	if (slash != NULL)
		*slash = '\0';
	if (realpath(slash == NULL ? "." : slash == copy ? "/" : copy, dir) == NULL ||
	    stat(dir, &st) < 0 || !S_ISDIR(st.st_mode) ||
	    (stat("/dev", &dev_st) == 0 && dev_st.st_dev == st.st_dev &&
	     strncmp(dir, "/dev", 4) == 0) ||
	    (size_t)snprintf(node->path, sizeof(node->path), "%s/%s",
			     strcmp(dir, "/") == 0 ? "" : dir, base) >= sizeof(node->path)) {
		memset(node, 0, sizeof(*node));
		return false;
	}
	node->kind = GW_NODE_FILE;
	node->logical_bytes = 1;
	node->physical_bytes = (uint32_t)st.st_blksize;
	node->read_only = access(dir, W_OK | X_OK) < 0;
	node->file_dev = st.st_dev;
	return true;
}

static void look_at_ends(struct gw_check *check)
{
	struct gw_preflight *const preflight = check->preflight;
	const struct gw_migration_config *const config = check->config;

	check->source_err = gw_node_look(&preflight->source, config->source, &check->source_diag);
	check->target_err = gw_node_look(&preflight->target, config->target, &check->target_diag);
	if (check->target_err == -ENOENT && look_at_new_file(&preflight->target, config->target)) {
		check->target_err = 0;
		check->target_is_new = true;
	}
	if (check->source_err == 0) {
		check->source = &preflight->source;
		check->has |= GW_NEEDS_SOURCE;
	}
	if (check->target_err == 0) {
		check->target = &preflight->target;
		check->has |= GW_NEEDS_TARGET;
	}
}

static void choose(struct gw_check *check)
{
	const struct gw_migration_config *const config = check->config;
	const struct gw_node *const source = check->source;
	int count = 0;

	check->is_tracked = config->track != GW_TRACK_NONE &&
			    (config->track != GW_TRACK_AUTO || source == NULL ||
			     source->kind == GW_NODE_BLOCK);
	check->by_nvme = config->track == GW_TRACK_NVME ||
			 (config->track == GW_TRACK_AUTO && source != NULL &&
			  gw_track_source_for(source) == GW_SOURCE_NVME);
	check->needs_bpf = check->is_tracked || (config->verify == GW_VERIFY_AFTER &&
						 check->target != NULL &&
						 check->target->kind == GW_NODE_BLOCK);
	if (source != NULL)
		count = gw_node_mounts(source, &check->mounts, NULL);
	check->mount_count = count > 0 ? (uint32_t)count : 0;
	check->handoff = config->handoff;
	if (config->handoff == GW_MIGRATION_HANDOFF_AUTO && source != NULL) {
		if (source->kind == GW_NODE_FILE)
			check->handoff = GW_MIGRATION_NONE;
		else if (check->mount_count > 0)
			check->handoff = GW_MIGRATION_FREEZE;
	}
}

static void settle_names(struct gw_check *check)
{
	const struct gw_migration_config *const config = check->config;

	if (check->source != NULL && gw_geom_init(&check->geom, check->source->size_bytes,
						  config->grain_bytes) == 0)
		check->has |= GW_NEEDS_GEOM;
	if (config->name == NULL && (check->has & GW_NEEDS_BOTH) != GW_NEEDS_BOTH)
		return;
	if (gw_migration_name(check->name, config, check->source, check->target) < 0)
		return;
	check->has |= GW_NEEDS_NAME;
	gw_migration_state_dir(check->state_dir, check->name, config->state_dir);
	find_existing(check->state_base, check->state_dir);
}

static const char *missing(const struct gw_check *check, const struct gw_row_rule *rule)
{
	const uint32_t lacks = rule->needs & ~check->has;

	if ((lacks & GW_NEEDS_SOURCE) != 0)
		return "without a source";
	if ((lacks & GW_NEEDS_TARGET) != 0)
		return "without a target";
	if ((lacks & GW_NEEDS_GEOM) != 0)
		return "without a source's size and a grain";
	return (lacks & GW_NEEDS_NAME) != 0 ? "without a name" : NULL;
}

static void look_at_rules(struct gw_check *check, const struct gw_row_rule *rules)
{
	struct gw_preflight *const preflight = check->preflight;

	for (const struct gw_row_rule *rule = rules; rule->id != NULL; rule++) {
		struct gw_row *const row = &preflight->rows[preflight->count];
		const char *const lacks = missing(check, rule);

		assert(preflight->count < GW_PREFLIGHT_ROWS_MAX);
		preflight->count++;
		row->id = rule->id;
		snprintf(row->what, sizeof(row->what), "%s", rule->what);
		if (lacks != NULL)
			gw_row_blind(row, lacks);
		else
			rule->look(check, row);
		preflight->unmet += row->state == GW_ROW_UNMET;
		preflight->warnings += row->state == GW_ROW_WARNING;
		assert(row->state == GW_ROW_MET || row->why[0] != '\0');
	}
}

int gw_preflight_run(struct gw_preflight *preflight, const struct gw_migration_config *config)
{
	struct gw_check *const check = calloc(1, sizeof(*check));

	assert(check != NULL);
	memset(preflight, 0, sizeof(*preflight));
	check->preflight = preflight;
	check->config = config;
	look_at_ends(check);
	choose(check);
	settle_names(check);
	look_at_rules(check, gw_rows_devices);
	if (gw_check_ask_drives(check))
		look_at_rules(check, gw_rows_nvme);
	look_at_rules(check, gw_rows_users);
	look_at_rules(check, gw_rows_system);
	look_at_rules(check, gw_rows_state);
	free(check->mounts);
	free(check);
	return preflight->unmet == 0 ? 0 : -EPERM;
}

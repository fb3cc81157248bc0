// SPDX-License-Identifier: GPL-2.0-or-later
/* Rows about what a migration keeps: its name, directory, journal, digests, locks. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "digest.h"
#include "journal.h"
#include "preflight_rows.h"
#include "track.h"
#include "units.h"

static void name(struct gw_check *check, struct gw_row *row)
{
	if ((check->has & GW_NEEDS_NAME) != 0) {
		gw_row_met(row, "%s", check->name);
	} else if (check->config->name == NULL) {
		gw_row_blind(row, "without source and target");
	} else {
		gw_row_unmet(row, "'%s' cannot be a name", check->config->name);
		gw_row_mend(row, "--name with letters, digits, '-' and '_', at most 60, no '-' in "
			    "front");
	}
}

/* Somebody holds a flock() on path. Looks with a shared lock for a moment; makes nothing. */
static bool is_locked(const char *path)
{
	const int fd = open(path, O_RDONLY | O_CLOEXEC);
	bool is_held;

	if (fd < 0)
		return false;
	is_held = flock(fd, LOCK_SH | LOCK_NB) < 0 && errno == EWOULDBLOCK;
	close(fd);
	return is_held;
}

static bool has_pins(const char *name_text)
{
	char path[PATH_MAX];

	snprintf(path, sizeof(path), GW_PINS_DIR "/%s", name_text);
	return access(path, F_OK) == 0;
}

static void name_free(struct gw_check *check, struct gw_row *row)
{
	struct gw_journal_state state = { 0 };
	struct gw_diag diag = { 0 };
	int err;

	if (is_locked(check->state_dir)) {
		gw_row_unmet(row, "migration %s is running in another process", check->name);
		gw_row_mend(row, "wait for it, or choose another --name and --state-dir");
		return;
	}
	err = gw_journal_read_state(check->state_dir, &state, &diag);
	/* Killed before its first record it had begun nothing. */
	if (err == 0 && state.has_started && !state.has_ended) {
		gw_row_unmet(row, "migration %s was begun and has not ended", check->name);
		gw_row_mend(row, "godwit migrate --continue %s, or godwit cleanup %s, or another "
			    "--name", check->name, check->name);
	} else if (err < 0 && err != -ENOENT && err != -ENOTDIR) {
		gw_row_unmet(row, "%s", diag.failed ? diag.text : strerror(-err));
		gw_row_mend(row, "another --name, or look into %s and remove it", check->state_dir);
	} else if (has_pins(check->name)) {
		gw_row_unmet(row, "a tracking is pinned as " GW_PINS_DIR "/%s", check->name);
		gw_row_mend(row, "godwit track stop %s, or godwit cleanup %s, or another --name",
			    check->name, check->name);
	} else {
		gw_row_met(row, err == 0 ? "one of that name has ended; its journal is put aside" :
					   "no other migration has it");
	}
	gw_journal_state_fini(&state);
}

static void state_dir(struct gw_check *check, struct gw_row *row)
{
	struct stat st;

	if (stat(check->state_base, &st) < 0 || !S_ISDIR(st.st_mode)) {
		gw_row_unmet(row, "%s is no directory", check->state_base);
		gw_row_mend(row, "another --state-dir");
	} else if (access(check->state_base, W_OK | X_OK) < 0) {
		gw_row_unmet(row, "%s: %s", check->state_base, strerror(errno));
		gw_row_mend(row, "another --state-dir, or run as root");
	} else {
		gw_row_met(row, "%s", check->state_dir);
	}
}

/* A file that never exists, on the same file system as the state will be. */
static bool look_at_base(const struct gw_check *check, struct gw_node *node)
{
	struct stat st;

	memset(node, 0, sizeof(*node));
	if (stat(check->state_base, &st) < 0 || realpath(check->state_base, node->path) == NULL)
		return false;
	node->kind = GW_NODE_FILE;
	node->file_dev = st.st_dev;
	node->file_ino = (ino_t)UINT64_MAX;
	return true;
}

/*
 * A journal on the source would dirty it for ever, or hang when it is frozen; on the
 * target it would be overwritten.
 */
static void state_place(struct gw_check *check, struct gw_row *row)
{
	static const char *const ends[] = { "source", "target" };
	const struct gw_node *const nodes[] = { check->source, check->target };
	char why[sizeof(row->why)];
	struct gw_node base;

	if (!look_at_base(check, &base)) {
		gw_row_unmet(row, "cannot look at %s", check->state_base);
		gw_row_mend(row, "another --state-dir");
		return;
	}
	for (int i = 0; i < 2; i++) {
		if (!gw_nodes_overlap(&base, nodes[i], why, sizeof(why)))
			continue;
		gw_row_unmet(row, "%s would lie on the %s: %.150s", check->state_dir, ends[i], why);
		gw_row_mend(row, "--state-dir on another disk");
		return;
	}
	gw_row_met(row, "neither on the source nor on the target");
}

static void state_space(struct gw_check *check, struct gw_row *row)
{
	const uint64_t need_bytes = GW_JOURNAL_RESERVE_BYTES + gw_digests_file_bytes(&check->geom);
	char need[GW_UNIT_TEXT_BYTES], room[GW_UNIT_TEXT_BYTES];
	struct statvfs fs;
	uint64_t room_bytes;

	check->preflight->state_bytes = need_bytes;
	if (statvfs(check->state_base, &fs) < 0) {
		gw_row_unmet(row, "%s: %s", check->state_base, strerror(errno));
		gw_row_mend(row, "another --state-dir");
		return;
	}
	room_bytes = (uint64_t)fs.f_bavail * fs.f_frsize;
	gw_format_bytes(need, need_bytes);
	gw_format_bytes(room, room_bytes);
	if (need_bytes <= room_bytes) {
		gw_row_met(row, "%s of %s", need, room);
		return;
	}
	gw_row_unmet(row, "%s needed at %s, %s free", need, check->state_base, room);
	gw_row_mend(row, "free some space, --state-dir elsewhere, or a coarser --grain");
}

struct pin_search {
	const struct gw_check *check;
	char name[128];
	const char *what;
};

static int match_pins(void *arg, const char *pinned)
{
	struct pin_search *const search = arg;
	struct gw_track *track = NULL;
	const int err = gw_track_block_open(&track, pinned, NULL);
	const bool is_same = err == 0 &&
			     track->node.disk_dev == search->check->source->disk_dev &&
			     track->node.diskseq == search->check->source->diskseq;

	gw_track_close(track);
	if (err == -EPROTO)
		search->what = "of another version";
	else if (!is_same)
		return 0;
	snprintf(search->name, sizeof(search->name), "%s", pinned);
	return is_same;
}

static void source_lock(struct gw_check *check, struct gw_row *row)
{
	struct pin_search search = { .check = check };
	const struct gw_node *const source = check->source;
	char path[PATH_MAX];

	gw_migration_lock_path(path, check->config->run_dir, source->kind == GW_NODE_BLOCK ?
			       source->disk_dev : source->file_dev);
	if (source->kind == GW_NODE_FILE)
		snprintf(path + strlen(path), sizeof(path) - strlen(path), ".%llu",
			 (unsigned long long)source->file_ino);
	if (is_locked(path)) {
		gw_row_unmet(row, "another godwit works on the same source disk (lock %s)", path);
		gw_row_mend(row, "wait for it to end, or cancel it");
		return;
	}
	if (source->kind == GW_NODE_BLOCK && check->is_tracked && geteuid() == 0 &&
	    gw_track_block_each(match_pins, &search) > 0) {
		gw_row_unmet(row, "%s is tracked already, as %s", source->disk_name, search.name);
		gw_row_mend(row, "godwit track stop %s, or godwit cleanup %s if it is dead",
			    search.name, search.name);
	} else if (search.what != NULL) {
		gw_row_warn(row, "the tracking %s is %s: what it tracks is not known", search.name,
			    search.what);
		gw_row_mend(row, "godwit cleanup %s", search.name);
	} else {
		gw_row_met(row, "nobody works on %s", source->kind == GW_NODE_BLOCK ?
			   source->disk_name : source->name);
	}
}

/* What is being migrated away is no place to migrate to. */
static void target_lock(struct gw_check *check, struct gw_row *row)
{
	char path[PATH_MAX];

	if (check->target->kind == GW_NODE_BLOCK) {
		gw_migration_lock_path(path, check->config->run_dir, check->target->disk_dev);
		if (is_locked(path) && check->target->disk_dev != check->source->disk_dev) {
			gw_row_unmet(row, "another godwit works on %s as its source (lock %s)",
				     check->target->disk_name, path);
			gw_row_mend(row, "wait for it to end, or name another target");
			return;
		}
	}
	gw_row_met(row, "it is not");
}

static void verify(struct gw_check *check, struct gw_row *row)
{
	const bool is_after = check->config->verify == GW_VERIFY_AFTER;

	if (check->config->verify == GW_VERIFY_NO) {
		gw_row_met(row, "not asked for");
	} else if (is_after && check->target->kind == GW_NODE_FILE) {
		gw_row_warn(row, "a file cannot be tracked: what its new owner writes before the "
			    "end would be called a difference");
		gw_row_mend(row, "--verify=during, or leave the target alone until it is verified");
	} else if (is_after && check->target->is_multipath_head &&
		   gw_track_source_for(check->target) != GW_SOURCE_NVME) {
		gw_row_unmet(row, "--verify=after tracks the target, and this kernel does not show "
			     "the writes to an NVMe multipath head");
		gw_row_mend(row, "--verify=during");
	} else {
		gw_row_met(row, is_after ? "after the switch, without what changed there" :
					   "while it is copied");
	}
}

const struct gw_row_rule gw_rows_state[] = {
	{ "name", "the migration has a name", 0, name },
	{ "name-free", "no other migration has that name", GW_NEEDS_NAME, name_free },
	{ "state-dir", "the state directory can be made and written", GW_NEEDS_NAME, state_dir },
	{ "state-place", "the state lies on another disk than source and target",
	  GW_NEEDS_NAME | GW_NEEDS_BOTH, state_place },
	{ "state-space", "there is room for journal and digests", GW_NEEDS_NAME | GW_NEEDS_GEOM,
	  state_space },
	{ "source-lock", "no other godwit works on the source's disk", GW_NEEDS_SOURCE,
	  source_lock },
	{ "target-lock", "the target's disk is not being migrated", GW_NEEDS_BOTH, target_lock },
	{ "verify", "the target can be verified as asked", GW_NEEDS_TARGET, verify },
	{ NULL, NULL, 0, NULL },
};

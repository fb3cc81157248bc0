// SPDX-License-Identifier: GPL-2.0-or-later
/* track start, status, stop and list; take and record have files of their own. */
#include "verbs.h"

#include <assert.h>
#include <ctype.h>
#include <errno.h>
#include <string.h>

#include "journal.h"
#include "out.h"
#include "track.h"
#include "tracking.h"
#include "units.h"

struct settings {
	struct gw_common common;
	const char *name, *run_dir;
	uint32_t grain_bytes;
	bool record;
	uint64_t record_bytes;
	enum start_source { SOURCE_AUTO, SOURCE_NVME, SOURCE_BLOCK } source;
};

static const char *run_dir_of(const struct settings *settings)
{
	return settings->run_dir != NULL ? settings->run_dir : GW_RUN_DIR_DEFAULT;
}

#define RUN_DIR_ROW \
	{ .name = "run-dir", .kind = GW_OPTION_STRING, .argument = "DIR", \
	  .offset = offsetof(struct settings, run_dir), .fallback = GW_RUN_DIR_DEFAULT, \
	  .help = "where migrations have their locks" }

/* ---- start --------------------------------------------------------------- */

static void say_room(struct gw_terminal *terminal, const struct gw_track *track)
{
	char memory[GW_UNIT_TEXT_BYTES];
	uint64_t ranges;
	const uint64_t bytes = gw_track_block_record_room(track, &ranges);

	if (bytes > 0)
		gw_terminal_say(terminal, GW_MESSAGE_NOTE, "exact record: %s of memory, fixed, for "
				"%llu ranges; what is more is recorded coarsely",
				gw_format_bytes(memory, bytes), (unsigned long long)ranges);
}

static int start(const struct gw_call *call, const char *name, const struct gw_node *node,
		 struct gw_diag *diag)
{
	const struct settings *settings = call->settings;
	const struct gw_track_block_config config = {
		.source = settings->source == SOURCE_NVME  ? GW_SOURCE_NVME :
			  settings->source == SOURCE_BLOCK ? GW_SOURCE_BLOCK :
							     gw_track_source_for(node),
		.name = name,
		.node = node,
		.grain_bytes = settings->grain_bytes,
		.record_bytes = settings->record_bytes != 0 ? settings->record_bytes :
				settings->record ? GW_RECORD_BYTES_DEFAULT : 0,
	};
	char grain[GW_UNIT_TEXT_BYTES];
	struct gw_track *track;
	const int err = gw_track_block_start(&track, &config, diag);

	if (err != 0)
		return gw_verb_exit(diag, err);
	gw_terminal_say(call->terminal, GW_MESSAGE_NOTE,
			"%s is tracked as \"%s\" by %s, grain %s, pinned in %s/%s", node->path, name,
			track->ops->name, gw_format_bytes(grain, track->geom.grain_bytes),
			GW_PINS_DIR, name);
	say_room(call->terminal, track);
	gw_track_close(track);
	return GW_EXIT_DONE;
}

/* Kernel names may hold what a name of ours may not ("cciss!c0d0"). */
static void name_tracking(char name[GW_NAME_BYTES], const struct settings *settings,
			  const struct gw_node *node)
{
	snprintf(name, GW_NAME_BYTES, "%s", settings->name != NULL ? settings->name : node->name);
	for (char *c = name; *c != '\0'; c++)
		if (!isalnum((unsigned char)*c) && *c != '-')
			*c = '_';
	assert(gw_options_is_name(name));
}

static int run_start(const struct gw_call *call)
{
	const struct settings *settings = call->settings;
	struct gw_diag diag = gw_verb_diag(call->terminal);
	struct gw_tracking_guard guard;
	struct gw_node node;
	char name[GW_NAME_BYTES];
	int err = gw_node_look(&node, call->operands[0], &diag);

	if (err == 0 && node.kind != GW_NODE_BLOCK)
		err = gw_fail_exit(&diag, GW_EXIT_CANNOT, -ENOTBLK,
				   "%s is a regular file; only block devices are tracked",
				   call->operands[0]);
	if (err != 0)
		return gw_verb_exit(&diag, err);
	name_tracking(name, settings, &node);
	err = gw_tracking_guard(&guard, name, node.disk_dev, run_dir_of(settings), &diag);
	if (err != 0)
		return gw_verb_exit(&diag, err);
	err = start(call, name, &node, &diag);
	gw_tracking_leave(&guard);
	return err;
}

static const struct gw_choice source_choices[] = {
	{ "auto", SOURCE_AUTO }, { "nvme", SOURCE_NVME }, { "block", SOURCE_BLOCK }, { NULL, 0 },
};

static const struct gw_option start_options[] = {
	{ .name = "name", .kind = GW_OPTION_NAME, .argument = "NAME",
	  .offset = offsetof(struct settings, name), .fallback = "the device's kernel name",
	  .help = "name of the tracking" },
	{ .name = "track", .kind = GW_OPTION_ENUM, .offset = offsetof(struct settings, source),
	  .choices = source_choices, .fallback = "auto",
	  .help = "where writes are seen: on the NVMe driver, or in the block layer" },
	{ .name = "grain", .kind = GW_OPTION_GRAIN, .argument = "SIZE",
	  .offset = offsetof(struct settings, grain_bytes),
	  .fallback = "finest whose bitmap fits 64 MiB", .help = "unit of tracking, 4K to 1M" },
	{ .name = "record", .kind = GW_OPTION_FLAG, .offset = offsetof(struct settings, record),
	  .help = "keep an exact record, too: each range with its first and last time" },
	{ .name = "record-memory", .kind = GW_OPTION_BYTES, .argument = "SIZE",
	  .offset = offsetof(struct settings, record_bytes), .fallback = "16M",
	  .help = "memory of that record; implies --record" },
	RUN_DIR_ROW,
	{ 0 },
};

const struct gw_verb gw_verb_track_start = {
	.name = "track start",
	.operands = "DEVICE",
	.summary = "begin to track which ranges of a device are written",
	.about = "Begins to track the writes to DEVICE, a disk or a partition. The tracking is "
		 "pinned "
		 "in " GW_PINS_DIR " and goes on without a process until \"godwit track stop\" "
				   "or a "
		 "reboot.",
	.operands_min = 1,
	.operands_max = 1,
	.needs_root = true,
	.settings_bytes = sizeof(struct settings),
	.tables = { start_options, gw_options_common },
	.run = run_start,
};

/* ---- status -------------------------------------------------------------- */

/* arg of the walk over all names */
struct status {
	const struct gw_call *call;
	struct json_object *list;	/* NULL for text */
	uint32_t shown, unusable;
};

/* Grains of either bitmap; the kernel may be marking, so it is a look, not a sum that holds. */
static void count_dirty(const struct gw_track *track, struct gw_out_tracking *out)
{
	const struct gw_geom *geom = &track->geom;
	const uint64_t last = geom->size_grains - 1;
	const struct gw_run tail = { last, 1 };

	for (uint64_t w = 0; w < geom->words; w++) {
		const uint64_t word = atomic_load(&track->live.words[w]) |
				      atomic_load(&track->pending.words[w]);

		out->dirty_grains += (uint64_t)__builtin_popcountll(word);
	}
	out->dirty_bytes = out->dirty_grains * geom->grain_bytes;
	if (gw_bitmap_test(&track->live, last) || gw_bitmap_test(&track->pending, last))
		out->dirty_bytes -= geom->grain_bytes - gw_geom_run_bytes(geom, tail);
	out->live_grains = gw_bitmap_count(&track->live);
	out->pending_grains = gw_bitmap_count(&track->pending);
	out->copying_grains = gw_bitmap_count(&track->copying);
}

static int look(struct gw_track *track, struct gw_out_tracking *out, struct gw_diag *diag)
{
	int err = gw_track_in_flight(track, &out->in_flight, diag);

	if (err == 0)
		err = gw_track_stats(track, &out->stats, diag);
	if (err != 0)
		return err;
	snprintf(out->device, sizeof(out->device), "%s", track->node.name);
	snprintf(out->source, sizeof(out->source), "%s", track->ops->name);
	out->size_bytes = track->geom.size_bytes;
	out->grain_bytes = track->geom.grain_bytes;
	out->generation = track->generation;
	count_dirty(track, out);
	return 0;
}

static int show_status(void *arg, const char *name)
{
	struct status *status = arg;
	struct gw_diag silent = { 0 };
	struct gw_out_tracking out = { .problem = "" };
	struct gw_track *track = NULL;
	int err = gw_track_block_open(&track, name, &silent);

	if (err == 0)
		err = look(track, &out, &silent);
	if (err != 0) {
		out = (struct gw_out_tracking){ .problem = silent.text };
		status->unusable++;
	}
	snprintf(out.name, sizeof(out.name), "%s", name);
	if (status->list != NULL)
		json_object_array_add(status->list, gw_out_tracking_json(&out));
	else
		gw_out_tracking_text(stdout, &out);
	gw_track_close(track);
	status->shown++;
	return 0;
}

static int finish_list(struct status *status, const char *key)
{
	struct json_object *document;

	if (status->list != NULL) {
		document = gw_out_document();
		json_object_object_add(document, key, status->list);
		gw_out_print(stdout, document);
	} else if (status->shown == 0) {
		gw_terminal_message(status->call->terminal, GW_MESSAGE_NOTE, "nothing is tracked");
	}
	return status->unusable > 0 ? GW_EXIT_CANNOT : GW_EXIT_DONE;
}

static struct status begin_list(const struct gw_call *call)
{
	const struct gw_common *common = call->settings;
	struct status status = { .call = call };

	if (common->output == GW_OUTPUT_JSON) {
		status.list = json_object_new_array();
		assert(status.list != NULL);
	}
	return status;
}

static int walk(struct status *status, int (*fn)(void *arg, const char *name), const char *key)
{
	struct gw_diag diag = gw_verb_diag(status->call->terminal);
	const int err = gw_track_block_each(fn, status);

	if (err >= 0 || err == -ENOENT)
		return finish_list(status, key);
	json_object_put(status->list);
	gw_fail_exit(&diag, GW_EXIT_CANNOT, err, "%s: %s", GW_PINS_DIR, strerror(-err));
	return gw_verb_exit(&diag, err);
}

static int run_status(const struct gw_call *call)
{
	struct gw_diag diag = gw_verb_diag(call->terminal);
	char name[GW_NAME_BYTES];
	struct status status;
	int err;

	if (call->operand_count == 0) {
		status = begin_list(call);
		return walk(&status, show_status, "trackings");
	}
	err = gw_tracking_find(name, call->operands[0], &diag);
	if (err != 0)
		return gw_verb_exit(&diag, err);
	status = begin_list(call);
	show_status(&status, name);
	return finish_list(&status, "trackings");
}

const struct gw_verb gw_verb_track_status = {
	.name = "track status",
	.operands = "[NAME|DEVICE]",
	.summary = "what is dirty, in flight, and missed",
	.about = "Shows of one tracking, or of all, how much was written since the last take, the "
		 "writes in flight and the age of the oldest, and the counts of what the "
		 "programs saw "
		 "and missed. Changes nothing.",
	.operands_max = 1,
	.needs_root = true,
	.settings_bytes = sizeof(struct settings),
	.tables = { gw_options_output, gw_options_common },
	.run = run_status,
};

/* ---- list ---------------------------------------------------------------- */

static int show_name(void *arg, const char *name)
{
	struct status *status = arg;

	if (status->list != NULL)
		json_object_array_add(status->list, json_object_new_string(name));
	else
		printf("%s\n", name);
	status->shown++;
	return 0;
}

static int run_list(const struct gw_call *call)
{
	struct status status = begin_list(call);

	return walk(&status, show_name, "names");
}

const struct gw_verb gw_verb_track_list = {
	.name = "track list",
	.operands = "",
	.summary = "the names of all trackings",
	.about = "Prints the names of all trackings that are pinned in " GW_PINS_DIR ".",
	.needs_root = true,
	.settings_bytes = sizeof(struct settings),
	.tables = { gw_options_output, gw_options_common },
	.run = run_list,
};

/* ---- stop ---------------------------------------------------------------- */

/* Guards, then stops what can be opened; else removes the pins as they are. */
static int stop(const struct gw_call *call, const char *name, struct gw_diag *diag)
{
	struct gw_diag silent = { 0 };
	struct gw_tracking_guard guard;
	struct gw_track *track = NULL;
	const int open_err = gw_track_block_open(&track, name, &silent);
	int err = gw_tracking_guard(&guard, name, track != NULL ? track->node.disk_dev : 0,
				    run_dir_of(call->settings), diag);

	if (err != 0) {
		gw_track_close(track);
		return err;
	}
	if (open_err == 0) {
		err = gw_track_stop(track, diag);
	} else {
		gw_say(diag, GW_WARNING, "%s; its pins are removed as they are", silent.text);
		err = gw_track_block_remove(name, diag);
	}
	gw_tracking_leave(&guard);
	return err;
}

static int run_stop(const struct gw_call *call)
{
	struct gw_diag diag = gw_verb_diag(call->terminal);
	char name[GW_NAME_BYTES];
	int err = gw_tracking_find(name, call->operands[0], &diag);

	if (err == 0)
		err = stop(call, name, &diag);
	if (err != 0)
		return gw_verb_exit(&diag, err);
	gw_terminal_say(call->terminal, GW_MESSAGE_NOTE, "the tracking \"%s\" is gone", name);
	return GW_EXIT_DONE;
}

static const struct gw_option stop_options[] = { RUN_DIR_ROW, { 0 } };

const struct gw_verb gw_verb_track_stop = {
	.name = "track stop",
	.operands = "NAME|DEVICE",
	.summary = "end a tracking and forget its marks",
	.about = "Detaches the programs and removes the pins of a tracking; what was marked is "
		 "forgotten. Refused while a migration needs it.",
	.operands_min = 1,
	.operands_max = 1,
	.needs_root = true,
	.settings_bytes = sizeof(struct settings),
	.tables = { stop_options, gw_options_common },
	.run = run_stop,
};

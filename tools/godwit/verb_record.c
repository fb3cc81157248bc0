// SPDX-License-Identifier: GPL-2.0-or-later
/* track record: what was written since the start of a tracking, range by range, and when. */
#include "verbs.h"

#include <errno.h>
#include <string.h>

#include "out.h"
#include "track.h"
#include "tracking.h"

struct settings {
	struct gw_common common;
};

static int print_span(void *arg, const struct gw_span *span)
{
	struct gw_out_record *const out = arg;

	gw_out_record_range(out, span);
	/* Nobody reads it any more: done. */
	return ferror(out->out);
}

static void say_what_is_missing(const struct gw_track_record *record, struct gw_diag *diag)
{
	if (record->whole[0] != '\0')
		gw_say(diag, GW_WARNING, "anything may have been written, besides what is recorded: "
		       "%s", record->whole);
	if (record->coarsened > 0)
		gw_say(diag, GW_WARNING, "the record had no room for all of it (%llu ranges): what is "
		       "coarse is by units of %llu bytes; start the tracking with more "
		       "--record-memory", (unsigned long long)record->ranges_max,
		       (unsigned long long)record->unit_sectors * 512);
	if (record->lost_found > 0)
		gw_say(diag, GW_WARNING, "%llu completions were lost and found: the last time of their "
		       "ranges may be when they were sent", (unsigned long long)record->lost_found);
}

static int print_record(const struct gw_call *call, const char *name, struct gw_track *track,
			struct gw_diag *diag)
{
	const struct settings *const settings = call->settings;
	struct gw_track_record record;
	struct gw_out_record out = { .out = stdout, .form = settings->common.output,
				     .track = track, .record = &record };
	int err = gw_track_block_record(track, &record, diag);

	if (err < 0)
		return err;
	say_what_is_missing(&record, diag);
	gw_out_record_begin(&out, name);
	err = gw_spans_each(record.exact, record.exact_count, print_span, &out);
	gw_out_record_coarse(&out);
	if (err == 0)
		err = gw_spans_each(record.coarse, record.coarse_count, print_span, &out);
	gw_out_record_end(&out);
	gw_track_record_fini(&record);
	if (err == -ENOMEM)
		return gw_fail(diag, err, "no memory to sort the record");
	errno = 0;
	if (fflush(stdout) == 0 && ferror(stdout) == 0)
		return 0;
	return gw_fail_exit(diag, GW_EXIT_IO, -EIO, "cannot write the output: %s",
			    strerror(errno != 0 ? errno : EIO));
}

static int run(const struct gw_call *call)
{
	struct gw_diag diag = gw_verb_diag(call->terminal);
	struct gw_track *track = NULL;
	char name[GW_NAME_BYTES];
	int err = gw_tracking_find(name, call->operands[0], &diag);

	if (err == 0)
		err = gw_track_block_open(&track, name, &diag);
	if (err == 0)
		err = print_record(call, name, track, &diag);
	gw_track_close(track);
	return err == 0 ? GW_EXIT_DONE : gw_verb_exit(&diag, err);
}

const struct gw_verb gw_verb_track_record = {
	.name = "track record",
	.operands = "NAME|DEVICE",
	.summary = "print each range that was written since the start, and when",
	.about = "Prints the exact record of a tracking that was started with --record: each range, "
		 "in the device's logical sectors (first LBA and count), with the time of the first "
		 "command that named it and the end of the last one, in seconds since the start. "
		 "What the record had no room for follows, coarsely. Changes nothing.",
	.operands_min = 1,
	.operands_max = 1,
	.needs_root = true,
	.settings_bytes = sizeof(struct settings),
	.tables = { gw_options_output, gw_options_common },
	.run = run,
};

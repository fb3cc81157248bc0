// SPDX-License-Identifier: GPL-2.0-or-later
#include "out.h"

#include "clock.h"

/* By hand, as that of take: there may be millions of ranges. */

static unsigned long long u(uint64_t number)
{
	return number;
}

void gw_out_record_begin(struct gw_out_record *out, const char *name)
{
	const struct gw_track_record *const record = out->record;
	const uint64_t lba_bytes = out->track->node.logical_bytes;

	out->is_coarse = false;
	out->ranges = 0;
	if (out->form == GW_OUTPUT_TEXT)
		return;
	fprintf(out->out, "{\n  \"schema_version\": %d,\n  \"name\": ", GW_OUT_SCHEMA_VERSION);
	gw_out_string(out->out, name);
	fprintf(out->out, ",\n  \"device\": ");
	gw_out_string(out->out, out->track->node.path);
	fprintf(out->out, ",\n  \"size_bytes\": %llu,\n  \"lba_bytes\": %llu",
		u(out->track->geom.size_bytes), u(lba_bytes));
	fprintf(out->out, ",\n  \"started_wall_ns\": %llu,\n  \"started_monotonic_ns\": %llu",
		u(record->started_wall_ns), u(record->started_ns));
	fprintf(out->out, ",\n  \"memory_bytes\": %llu,\n  \"ranges_max\": %llu", u(record->bytes),
		u(record->ranges_max));
	fprintf(out->out, ",\n  \"is_exact\": %s,\n  \"whole_device\": %s,\n  \"why\": ",
		record->coarsened == 0 && record->whole[0] == '\0' ? "true" : "false",
		record->whole[0] != '\0' ? "true" : "false");
	gw_out_string(out->out, record->whole);
	fprintf(out->out, ",\n  \"coarsened\": %llu,\n  \"coarse_lba\": %llu,\n  \"lost_found\": %llu",
		u(record->coarsened), u(record->unit_sectors * 512 / lba_bytes),
		u(record->lost_found));
	fprintf(out->out, ",\n  \"ranges\": [");
}

void gw_out_record_range(struct gw_out_record *out, const struct gw_span *span)
{
	const uint64_t lba_sectors = out->track->node.logical_bytes / 512;
	const uint64_t first = span->first / lba_sectors;
	const uint64_t count = (span->end + lba_sectors - 1) / lba_sectors - first;
	const uint64_t first_ns = span->first_ns - out->record->started_ns;
	const uint64_t last_ns = span->last_ns - out->record->started_ns;

	if (out->form == GW_OUTPUT_TEXT)
		fprintf(out->out, "%llu %llu %llu.%09llu %llu.%09llu%s\n", u(first), u(count),
			u(first_ns / GW_NS_PER_S), u(first_ns % GW_NS_PER_S),
			u(last_ns / GW_NS_PER_S), u(last_ns % GW_NS_PER_S),
			out->is_coarse ? " coarse" : "");
	else
		fprintf(out->out, "%s\n    { \"first_lba\": %llu, \"count_lba\": %llu, \"first_ns\": %llu, "
			"\"last_ns\": %llu }", out->ranges > 0 ? "," : "", u(first), u(count),
			u(first_ns), u(last_ns));
	out->ranges++;
}

static void end_list(const struct gw_out_record *out)
{
	fprintf(out->out, "%s]", out->ranges > 0 ? "\n  " : "");
}

void gw_out_record_coarse(struct gw_out_record *out)
{
	out->is_coarse = true;
	if (out->form == GW_OUTPUT_TEXT)
		return;
	end_list(out);
	out->ranges = 0;
	fprintf(out->out, ",\n  \"coarse_ranges\": [");
}

void gw_out_record_end(struct gw_out_record *out)
{
	if (out->form == GW_OUTPUT_TEXT)
		return;
	end_list(out);
	fprintf(out->out, "\n}\n");
}

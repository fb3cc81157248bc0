// SPDX-License-Identifier: GPL-2.0-or-later
#include "out.h"

#include <assert.h>

#include "clock.h"
#include "journal.h"
#include "units.h"

static void range_json(struct gw_out_verify *verify, uint64_t first_lba, uint64_t count_lba,
		       bool settled)
{
	struct json_object *range = json_object_new_object();

	assert(range != NULL);
	gw_json_put_u64(range, "first_lba", first_lba);
	gw_json_put_u64(range, "count_lba", count_lba);
	gw_json_put_bool(range, "settled", settled);
	json_object_array_add(verify->ranges, range);
}

void gw_out_verify_range(struct gw_out_verify *verify, uint64_t first_lba, uint64_t count_lba,
			 bool settled)
{
	assert(count_lba > 0);
	if (verify->form == GW_OUTPUT_JSON)
		range_json(verify, first_lba, count_lba, settled);
	else
		fprintf(verify->out, "%s LBA %llu to %llu (%llu)\n",
			settled ? "differs" : "still changes", (unsigned long long)first_lba,
			(unsigned long long)(first_lba + count_lba - 1),
			(unsigned long long)count_lba);
}

static uint64_t rate_of(const struct gw_verify_result *result)
{
	if (result->elapsed_ns == 0)
		return 0;
	return (uint64_t)((unsigned __int128)result->compared_bytes * GW_NS_PER_S /
			  result->elapsed_ns);
}

static bool is_equal(const struct gw_verify_result *result)
{
	return result->different_bytes == 0 && result->unsettled_bytes == 0;
}

static void verify_text(FILE *out, const struct gw_verify_config *config,
			const struct gw_verify_result *r)
{
	char one[GW_UNIT_TEXT_BYTES], time[GW_UNIT_TEXT_BYTES], rate[GW_UNIT_TEXT_BYTES];

	fprintf(out, "%s: %s compared in %s (%s)\n", is_equal(r) ? "same" : "different",
		gw_format_bytes(one, r->compared_bytes), gw_format_duration(time, r->elapsed_ns),
		gw_format_rate(rate, rate_of(r)));
	if (r->different_bytes > 0)
		fprintf(out, "settled differences: %s\n",
			gw_format_bytes(one, r->different_bytes));
	if (r->unsettled_bytes > 0)
		fprintf(out, "still changing when the tries ran out: %s\n",
			gw_format_bytes(one, r->unsettled_bytes));
	if (r->in_flight_bytes > 0)
		fprintf(out, "changing at first, the same later: %s\n",
			gw_format_bytes(one, r->in_flight_bytes));
	if (r->ranges > config->ranges_max)
		fprintf(out, "%llu more ranges are not listed (--ranges %llu lists all)\n",
			(unsigned long long)(r->ranges - config->ranges_max),
			(unsigned long long)r->ranges);
}

static void verify_json(struct gw_out_verify *verify, const struct gw_verify_config *config,
			const struct gw_verify_result *r)
{
	struct json_object *document = gw_out_document();

	gw_json_put_text(document, "source", config->source);
	gw_json_put_text(document, "target", config->target);
	gw_json_put_bool(document, "equal", is_equal(r));
	gw_json_put_u64(document, "compared_bytes", r->compared_bytes);
	gw_json_put_u64(document, "different_bytes", r->different_bytes);
	gw_json_put_u64(document, "unsettled_bytes", r->unsettled_bytes);
	gw_json_put_u64(document, "in_flight_bytes", r->in_flight_bytes);
	gw_json_put_u64(document, "lba_bytes", r->lba_bytes);
	gw_json_put_u64(document, "elapsed_ns", r->elapsed_ns);
	gw_json_put_u64(document, "compared_bytes_per_s", rate_of(r));
	gw_json_put_u64(document, "ranges_total", r->ranges);
	json_object_object_add(document, "ranges", json_object_get(verify->ranges));
	gw_out_print(verify->out, document);
}

void gw_out_verify(struct gw_out_verify *verify, const struct gw_verify_config *config,
		   const struct gw_verify_result *result)
{
	if (verify->form == GW_OUTPUT_JSON)
		verify_json(verify, config, result);
	else
		verify_text(verify->out, config, result);
}

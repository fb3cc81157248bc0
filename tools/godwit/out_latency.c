// SPDX-License-Identifier: GPL-2.0-or-later
#include "out.h"

#include <assert.h>

#include "clock.h"
#include "journal.h"
#include "units.h"

#define HEAD_EVERY 20			/* lines */

static uint64_t per_second(uint64_t count, uint64_t elapsed_ns)
{
	return elapsed_ns == 0 ? 0 :
	       (uint64_t)((double)count * (double)GW_NS_PER_S / (double)elapsed_ns + 0.5);
}

static void put_kind(FILE *out, const struct gw_hist *hist, uint64_t elapsed_ns)
{
	static const uint32_t shares_ppm[] = { 500000, 990000, 999000, GW_PPM };
	char text[GW_UNIT_TEXT_BYTES];

	fprintf(out, " %8llu", (unsigned long long)per_second(hist->count, elapsed_ns));
	for (size_t i = 0; i < sizeof(shares_ppm) / sizeof(shares_ppm[0]); i++) {
		gw_format_duration(text, gw_hist_quantile_ns(hist, shares_ppm[i]));
		fprintf(out, " %9s", hist->count == 0 ? "-" : text);
	}
}

void gw_out_latency_text(FILE *out, const struct gw_out_latency *latency)
{
	if (latency->number % HEAD_EVERY == 1)
		fprintf(out, "%9s %9s %9s %9s %9s %8s %9s %9s %9s %9s\n", "reads/s", "p50", "p99",
			"p99.9", "max", "writes/s", "p50", "p99", "p99.9", "max");
	put_kind(out, &latency->kinds[GW_LATENCY_READ], latency->elapsed_ns);
	put_kind(out, &latency->kinds[GW_LATENCY_WRITE], latency->elapsed_ns);
	if (latency->copier != 0)
		fprintf(out, "  (copier: %llu)", (unsigned long long)latency->copier);
	if (latency->not_timed != 0)
		fprintf(out, "  (not timed: %llu)", (unsigned long long)latency->not_timed);
	fputc('\n', out);
}

struct json_object *gw_out_hist_json(uint64_t count, uint64_t p50_ns, uint64_t p99_ns,
				     uint64_t p999_ns, uint64_t max_ns)
{
	struct json_object *const object = json_object_new_object();

	assert(object != NULL);
	gw_json_put_u64(object, "count", count);
	gw_json_put_u64(object, "p50_ns", p50_ns);
	gw_json_put_u64(object, "p99_ns", p99_ns);
	gw_json_put_u64(object, "p999_ns", p999_ns);
	gw_json_put_u64(object, "max_ns", max_ns);
	return object;
}

static struct json_object *kind_json(const struct gw_hist *hist)
{
	return gw_out_hist_json(hist->count, gw_hist_quantile_ns(hist, 500000),
				gw_hist_quantile_ns(hist, 990000),
				gw_hist_quantile_ns(hist, 999000),
				gw_hist_quantile_ns(hist, GW_PPM));
}

/* A line each, so that a reader need not wait for the end. */
void gw_out_latency_json(FILE *out, const struct gw_out_latency *latency)
{
	struct json_object *const document = gw_out_document();

	gw_json_put_text(document, "device", latency->device);
	gw_json_put_u64(document, "number", latency->number);
	gw_json_put_u64(document, "elapsed_ns", latency->elapsed_ns);
	json_object_object_add(document, "read", kind_json(&latency->kinds[GW_LATENCY_READ]));
	json_object_object_add(document, "write", kind_json(&latency->kinds[GW_LATENCY_WRITE]));
	gw_json_put_u64(document, "copier_ios", latency->copier);
	gw_json_put_u64(document, "not_timed_ios", latency->not_timed);
	gw_json_put_u64(document, "missed", latency->missed);
	fprintf(out, "%s\n", json_object_to_json_string_ext(document, JSON_C_TO_STRING_PLAIN |
							    JSON_C_TO_STRING_NOSLASHESCAPE));
	json_object_put(document);
}

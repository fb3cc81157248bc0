// SPDX-License-Identifier: GPL-2.0-or-later
#include "out_text.h"

#include <assert.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "clock.h"
#include "units.h"
#include "utf8.h"

#define WIDTH 100
#define LABEL_COLUMNS 16		/* with the indent before it and a blank after it */

/* ---- characters and lines ---- */

/* What would steer a terminal, or turn the direction of the text, is not for it. */
static bool is_printable(uint32_t code)
{
	return code != GW_UTF8_BAD && code >= 0x20 && !(code >= 0x7f && code < 0xa0) &&
	       !(code >= 0x200b && code <= 0x200f) && !(code >= 0x2028 && code <= 0x202e) &&
	       !(code >= 0x2066 && code <= 0x2069) && code != 0xfeff;
}

/* Columns up to the next blank; each character counts as one. */
static size_t word_columns(const char *text)
{
	size_t columns = 0;
	uint32_t code;

	while (*text != '\0' && *text != ' ') {
		text += gw_utf8_take(text, &code);
		columns++;
	}
	return columns;
}

static size_t break_line(FILE *out, size_t indent)
{
	fprintf(out, "\n%*s", (int)indent, "");
	return indent;
}

/* Prints text from column indent on, folded between words, or anywhere in a word too long. */
static void put_folded(FILE *out, size_t indent, const char *text)
{
	size_t column = indent;
	uint32_t code;

	while (*text != '\0') {
		const size_t bytes = gw_utf8_take(text, &code);

		if (*text == ' ') {
			const size_t next = word_columns(text + 1);

			if (column > indent && column + 1 + next > WIDTH &&
			    next <= WIDTH - indent) {
				column = break_line(out, indent);
				text++;
				continue;
			}
		}
		if (column == WIDTH)
			column = break_line(out, indent);
		if (is_printable(code))
			fwrite(text, 1, bytes, out);
		else
			putc('?', out);
		column++;
		text += bytes;
	}
	putc('\n', out);
}

__attribute__((format(printf, 3, 4)))
static void field(FILE *out, const char *label, const char *format, ...)
{
	va_list args;
	char *text;
	int length;

	va_start(args, format);
	length = vasprintf(&text, format, args);
	va_end(args);
	assert(length >= 0);
	fprintf(out, "  %-*s", LABEL_COLUMNS - 2, label);
	put_folded(out, LABEL_COLUMNS, text);
	free(text);
}

static void heading(FILE *out, const char *text)
{
	fprintf(out, "\n%s\n", text);
}

/* ---- numbers ---- */

struct number {
	char text[GW_UNIT_TEXT_BYTES];
};

static struct number bytes_text(uint64_t bytes)
{
	struct number number;

	gw_format_bytes(number.text, bytes);
	return number;
}

static struct number duration_text(uint64_t ns)
{
	struct number number;

	gw_format_duration(number.text, ns);
	return number;
}

/* The same for a column of nine. */
static struct number short_duration_text(uint64_t ns)
{
	struct number number = duration_text(ns);

	if (strlen(number.text) > 9)
		snprintf(number.text, sizeof(number.text), "> 99 h");
	return number;
}

static struct number wall_text(uint64_t wall_ns, const char *format)
{
	const time_t seconds = (time_t)(wall_ns / GW_NS_PER_S);
	struct number number;
	struct tm tm;

	if (gmtime_r(&seconds, &tm) == NULL ||
	    strftime(number.text, sizeof(number.text), format, &tm) == 0)
		number.text[0] = '\0';
	return number;
}

/* ---- the parts of the report ---- */

static const char *exit_words(int exit_code)
{
	static const char *const words[] = {
		"done",
		"a difference was found",
		"wrong usage",
		"it could not be done; nothing was touched",
		"I/O or checksum error; the source is intact and running",
		"it did not converge within the limits; the source is intact and running",
		"cancelled and rolled back",
		"the state is unclear: see `godwit status` and `godwit cleanup`",
	};

	if (exit_code < 0 || (size_t)exit_code >= sizeof(words) / sizeof(words[0]))
		return "it ended in a way this godwit does not know";
	return words[exit_code];
}

static const char *known(const char *text)
{
	return text[0] != '\0' ? text : "(unknown)";
}

static void put_end(FILE *out, const char *label, const char *path, const char *id)
{
	if (id[0] != '\0')
		field(out, label, "%s (%s)", known(path), id);
	else
		field(out, label, "%s", known(path));
}

static void put_result(FILE *out, const struct gw_report *report)
{
	const char *const owner = report->committed ?
		"; the commit record was written: only the target may run" : "";

	if (!report->ended)
		field(out, "result", "no end is recorded: it is running, or it died%s", owner);
	else if (report->exit_code == 0 && report->committed)
		field(out, "result", "done: the target holds every acknowledged write (exit code 0)");
	else
		field(out, "result", "%s (exit code %d)%s", exit_words(report->exit_code),
		      report->exit_code, owner);
	if (report->reason[0] != '\0')
		field(out, "reason", "%s", report->reason);
	if (report->continues != 0)
		field(out, "continued", "%" PRIu32 " times, by another process",
		      report->continues);
	if (report->torn_tail)
		field(out, "journal", "its last record was cut short and is ignored");
}

static void put_time(FILE *out, const struct gw_report *report)
{
	const struct number began = wall_text(report->started_wall_ns, "%Y-%m-%d %H:%M:%S");
	const struct number took = duration_text(report->elapsed_ns);

	if (report->ended)
		field(out, "time", "%s, from %s to %s UTC", took.text, began.text,
		      wall_text(report->ended_wall_ns, "%Y-%m-%d %H:%M:%S").text);
	else
		field(out, "time", "%s so far, from %s UTC on", took.text, began.text);
}

static void put_head(FILE *out, const struct gw_report *report)
{
	char bandwidth[GW_UNIT_TEXT_BYTES + 16] = "no bandwidth limit";
	char rate[GW_UNIT_TEXT_BYTES];

	if (report->bandwidth_bytes_per_s != 0)
		snprintf(bandwidth, sizeof(bandwidth), "at most %s",
			 gw_format_rate(rate, report->bandwidth_bytes_per_s));
	field(out, "migration", "%s", known(report->name));
	put_end(out, "source", report->source, report->source_id);
	put_end(out, "target", report->target, report->target_id);
	put_result(out, report);
	put_time(out, report);
	field(out, "size", "%s (%" PRIu64 " bytes) in grains of %s",
	      bytes_text(report->size_bytes).text, report->size_bytes,
	      bytes_text(report->grain_bytes).text);
	field(out, "settings", "tracking %s, hand-off %s, verification %s, downtime limit %s, %s",
	      known(report->track), known(report->handoff), known(report->verify),
	      duration_text(report->downtime_limit_ns).text, bandwidth);
	if (report->guard[0] != '\0')
		field(out, "guard", "%s", report->guard);
	field(out, "memory", "%s, with %" PRIu32 " buffers; godwit %s",
	      bytes_text(report->memory_bytes).text, report->buffers,
	      known(report->version));
}

static void put_round(FILE *out, const struct gw_report_round *round)
{
	char label[16];

	if (round->is_final)
		snprintf(label, sizeof(label), "final");
	else if (round->round > 99999)
		snprintf(label, sizeof(label), "...");
	else
		snprintf(label, sizeof(label), "%" PRIu32, round->round);
	fprintf(out, " %5s %8s %8s %8s %8s %8s %8s %8s %8s %9s %9s\n", label,
		bytes_text(round->pending_bytes).text, bytes_text(round->copied_bytes).text,
		bytes_text(round->written_bytes).text, bytes_text(round->zeroed_bytes).text,
		bytes_text(round->skipped_bytes).text, bytes_text(round->dirty_after_bytes).text,
		bytes_text(round->copy_bytes_per_s).text,
		bytes_text(round->dirty_bytes_per_s).text,
		short_duration_text(round->elapsed_ns).text,
		round->predicted_blackout_ns != 0 ?
		short_duration_text(round->predicted_blackout_ns).text : "-");
}

static void put_rounds(FILE *out, const struct gw_report *report)
{
	heading(out, "Rounds");
	if (report->rounds_listed == 0) {
		fprintf(out, "  none was finished\n");
		return;
	}
	fprintf(out, " %5s %8s %8s %8s %8s %8s %8s %8s %8s %9s %9s\n", "round", "to copy",
		"copied", "written", "zeroed", "skipped", "dirtied", "copy/s", "dirty/s", "time",
		"predicted");
	for (uint32_t i = 0; i < report->rounds_listed; i++)
		put_round(out, &report->rounds[i]);
	if (report->rounds_total > report->rounds_listed)
		fprintf(out, "  and %" PRIu32 " more\n",
			report->rounds_total - report->rounds_listed);
}

/* How often: per byte of the range, as far as takes saw it. */
static void put_hot(FILE *out, const struct gw_report *report)
{
	if (report->hot_listed == 0)
		return;
	heading(out, "Hot ranges, the hottest first");
	fprintf(out, "  %20s %10s %14s %8s\n", "first LBA (512 B)", "size", "dirtied again",
		"times");
	for (uint32_t i = 0; i < report->hot_listed; i++) {
		const struct gw_report_hot *const hot = &report->hot[i];

		fprintf(out, "  %20" PRIu64 " %10s %14s %8.3g\n", hot->first_lba,
			bytes_text(hot->bytes).text, bytes_text(hot->again_bytes).text,
			hot->bytes != 0 ? (double)hot->again_bytes / (double)hot->bytes : 0);
	}
}

static void put_phase(FILE *out, const char *name, uint64_t ns, uint64_t total_ns)
{
	const double share = total_ns != 0 ? 100.0 * (double)ns / (double)total_ns : 0;

	fprintf(out, "  %-26s %10s %4.0f %%\n", name, duration_text(ns).text, share);
}

static void put_blackout(FILE *out, const struct gw_report *report)
{
	const struct gw_report_blackout *const blackout = &report->blackout;
	const uint64_t total_ns = blackout->total_ns;

	heading(out, "Blackout");
	if (!blackout->happened) {
		fprintf(out, "  %s\n", report->ended ? "none: the writers were never stopped" :
			"not known: no end is recorded");
		return;
	}
	put_phase(out, "quiesce (stop the writers)", blackout->quiesce_ns, total_ns);
	put_phase(out, "drain (sync, in flight)", blackout->drain_ns, total_ns);
	put_phase(out, "last copy", blackout->copy_ns, total_ns);
	put_phase(out, "flush of the target", blackout->flush_ns, total_ns);
	put_phase(out, "verification", blackout->verify_ns, total_ns);
	put_phase(out, "commit record", blackout->commit_ns, total_ns);
	put_phase(out, "switch", blackout->switch_ns, total_ns);
	put_phase(out, "the user's commands", blackout->user_ns, total_ns);
	put_phase(out, "other", blackout->other_ns, total_ns);
	fprintf(out, "  %-26s %10s        predicted %s, limit %s\n", "all",
		duration_text(total_ns).text, duration_text(blackout->predicted_ns).text,
		duration_text(report->downtime_limit_ns).text);
	fprintf(out, "  %-26s %10s\n", "early sync, before it",
		duration_text(blackout->early_sync_ns).text);
}

static void put_throttle(FILE *out, const struct gw_report_throttle *throttle)
{
	char rate[4][GW_UNIT_TEXT_BYTES];

	if (!throttle->happened)
		return;
	heading(out, "Throttled writers");
	field(out, "cgroup", "%s", known(throttle->cgroup));
	if (throttle->throttled_ns != 0)
		field(out, "throttled", "for %s, in %" PRIu32 " steps down to %s",
		      duration_text(throttle->throttled_ns).text, throttle->steps,
		      gw_format_rate(rate[0], throttle->lowest_bytes_per_s));
	else
		field(out, "throttled", "in %" PRIu32 " steps down to %s", throttle->steps,
		      gw_format_rate(rate[0], throttle->lowest_bytes_per_s));
	field(out, "they wrote", "%s before, %s after",
	      gw_format_rate(rate[1], throttle->write_before_bytes_per_s),
	      throttle->write_after_bytes_per_s != 0 ?
		      gw_format_rate(rate[2], throttle->write_after_bytes_per_s) : "(not measured)");
	field(out, "former limit", "%s, %s", throttle->former_bytes_per_s != 0 ?
	      gw_format_rate(rate[3], throttle->former_bytes_per_s) : "none",
	      throttle->restored ? "restored" : "NOT RESTORED: see `godwit cleanup`");
}

static void put_times(FILE *out, const char *stretch, const char *kind,
		      const struct gw_report_times *times)
{
	if (times->count == 0)
		return;
	fprintf(out, "  %-10.10s %-6s %12" PRIu64 " %10s %10s %10s %10s\n", stretch, kind,
		times->count, duration_text(times->p50_ns).text, duration_text(times->p99_ns).text,
		duration_text(times->p999_ns).text, duration_text(times->max_ns).text);
}

static void put_latencies(FILE *out, const struct gw_report *report)
{
	if (report->latencies_listed == 0)
		return;
	heading(out, "The workload's I/O");
	fprintf(out, "  %-10s %-6s %12s %10s %10s %10s %10s\n", "", "", "I/Os", "p50", "p99",
		"p99.9", "max");
	for (uint32_t i = 0; i < report->latencies_listed; i++) {
		const struct gw_report_latency *const latency = &report->latencies[i];

		put_times(out, latency->stretch, "reads", &latency->read);
		put_times(out, latency->stretch, "writes", &latency->write);
	}
	if (report->latencies_total > report->latencies_listed)
		fprintf(out, "  and %" PRIu32 " more\n",
			report->latencies_total - report->latencies_listed);
}

static void put_bytes(FILE *out, const char *name, uint64_t bytes)
{
	fprintf(out, "  %-44s %10s\n", name, bytes_text(bytes).text);
}

static void put_sums(FILE *out, const struct gw_report *report)
{
	heading(out, "Copied");
	put_bytes(out, "allocated on the source, for the base pass", report->allocated_bytes);
	put_bytes(out, "read from the source", report->copied_bytes);
	put_bytes(out, "written to the target as data", report->written_bytes);
	put_bytes(out, "written to the target as zeroes", report->zeroed_bytes);
	put_bytes(out, "copied again after the base pass", report->recopied_bytes);
	put_bytes(out, "written to the source meanwhile", report->source_write_bytes);
	fprintf(out, "  %-44s %10.3g\n", "dirty amplification (again / written)",
		report->amplification);
	fprintf(out, "  %-44s %10s\n", "converged", report->converged ? "yes" : "no");
	heading(out, "Not copied");
	put_bytes(out, "holes: not allocated on the source", report->skipped_hole_bytes);
	put_bytes(out, "deallocated, says the source's drive", report->deallocated_bytes);
	put_bytes(out, "free, says the file system on it", report->free_bytes);
	put_bytes(out, "zeroes that the target held already", report->skipped_zero_bytes);
	put_bytes(out, "the same on the target already", report->skipped_same_bytes);
}

static void put_health(FILE *out, const struct gw_report *report)
{
	heading(out, "Checks");
	if (report->verify_done)
		field(out, "verification", "%s read back from the target: %s",
		      bytes_text(report->verified_bytes).text,
		      report->verify_equal ? "equal" : "DIFFERENT");
	else
		field(out, "verification", "none");
	if (report->digest_of_digests != 0)
		field(out, "digest", "%016" PRIx64 " (XXH3-64 of all digests)",
		      report->digest_of_digests);
	field(out, "tracking", "%" PRIu64 " lost completions found and marked, whole device "
	      "marked again %" PRIu64 " times; programs skipped by the kernel: submission %" PRIu64
	      ", completion %" PRIu64 " / %" PRIu64 " / %" PRIu64, report->lost_found,
	      report->whole_device_marks, report->misses_submit, report->misses_complete[0],
	      report->misses_complete[1], report->misses_complete[2]);
	field(out, "I/O", "tried again: %" PRIu64 " after an error, %" PRIu64 " when busy, %" PRIu64
	      " cut short", report->eio_retries, report->busy_retries, report->short_ios);
}

static void put_messages(FILE *out, const struct gw_report *report)
{
	if (report->messages_listed == 0)
		return;
	heading(out, "Events (UTC)");
	for (uint32_t i = 0; i < report->messages_listed; i++) {
		const struct gw_report_message *const message = &report->messages[i];

		field(out, wall_text(message->wall_ns, "%H:%M:%S").text, "%s", message->text);
	}
	if (report->messages_total > report->messages_listed)
		fprintf(out, "  and %" PRIu32 " more\n",
			report->messages_total - report->messages_listed);
}

void gw_out_report_text(FILE *out, const struct gw_report *report)
{
	put_head(out, report);
	put_rounds(out, report);
	put_hot(out, report);
	put_blackout(out, report);
	put_throttle(out, &report->throttle);
	put_latencies(out, report);
	put_sums(out, report);
	put_health(out, report);
	put_messages(out, report);
}

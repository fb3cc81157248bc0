// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The source `block`, user space's half. All state is in maps that gw_block.bpf.c
 * writes too, and that outlive this process if they are pinned; what is kept here
 * is how to reach them.
 */
#include "track.h"

#include <assert.h>
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "blkinfo_nvme.h"
#include "clock.h"
#include "fault.h"
#include "nvme_cmd.h"
#include "track_block.h"
#include "track_load.h"
#include "track_pins.h"

/* How often take looks for lost completions and for entries that are done with. */
#define SWEEP_INTERVAL_NS GW_NS_PER_S
/*
 * A write that is this old while the kernel counts none in flight, now and a while later, has lost
 * its completion. The kernel's count is exact for requests, but for passthrough, which it
 * leaves out; for bios it is what the driver tells. The while is for what is
 * between that count and the completion program: interrupts, a softirq.
 *
 * Taking one for lost that is not: it has ended in the device when it is marked here,
 * or marks itself when it ends, as one whose submission was not seen.
 */
#define SUSPECT_REQUEST_NS (20 * GW_NS_PER_MS)
#define SUSPECT_OTHER_NS (30 * GW_NS_PER_S)
#define SUSPECT_GRACE_US 20000
/* Entries are done with when the third copy was there; this old, that copy was skipped. */
#define STALE_ENTRY_NS (2 * GW_NS_PER_S)
/*
 * For how long a skipped submission may still be in flight: twice the kernel's own time
 * limit for a request. For bios also how long a stale entry may mislead a later one.
 */
#define MISSES_WINDOW_NS (60 * GW_NS_PER_S)
#define STRAYS_BATCH 256

static uint64_t now_ns(void)
{
	return gw_now_ns(&gw_clock_monotonic);
}

/* Marks */

static uint64_t mark_pending(struct gw_track *track, struct gw_run run)
{
	const uint64_t end = run.first + run.count;
	uint64_t fresh = 0;

	assert(end <= track->geom.size_grains);
	for (uint64_t grain = run.first; grain < end;) {
		const uint64_t next = (grain | 63) + 1 < end ? (grain | 63) + 1 : end;
		const uint64_t mask = ~UINT64_C(0) >> (64 - (next - grain)) << grain % 64;
		const uint64_t before = atomic_fetch_or(&track->pending.words[grain / 64], mask);

		fresh += (uint64_t)__builtin_popcountll(mask & ~before);
		grain = next;
	}
	return fresh;
}

static uint64_t mark_all_pending(struct gw_track *track)
{
	return mark_pending(track, (struct gw_run){ 0, track->geom.size_grains });
}

/* Grains of a slot's sectors, clipped; empty ones have none. */
static struct gw_run slot_run(const struct gw_track *track, const struct gw_bpf_slot *slot)
{
	const struct gw_block_track *const block = track->impl;
	const uint64_t start = block->header->first_sector;
	const uint32_t shift = track->geom.grain_shift - GW_SECTOR_SHIFT;
	uint64_t first, end;

	if (slot->end_sector <= slot->first_sector || slot->end_sector <= start)
		return (struct gw_run){ 0, 0 };
	first = slot->first_sector > start ? (slot->first_sector - start) >> shift : 0;
	end = ((slot->end_sector - start - 1) >> shift) + 1;
	if (end > track->geom.size_grains)
		end = track->geom.size_grains;
	return (struct gw_run){ first, end > first ? end - first : 0 };
}

/* Take */

/* Appends to text, with "; " between. */
static void add_why(char *text, size_t bytes, const char *why)
{
	const size_t length = strlen(text);

	snprintf(text + length, bytes - length, "%s%s", length > 0 ? "; " : "", why);
}

static void say_why(struct gw_track_taken *taken, const char *why)
{
	taken->whole_device = true;
	add_why(taken->why, sizeof(taken->why), why);
}

static void explain_unknown_command(char *text, size_t bytes, const struct gw_bpf_state *state)
{
	const uint64_t command = __atomic_load_n(&state->unknown_command, __ATOMIC_RELAXED);
	char name[GW_NVME_COMMAND_TEXT_BYTES], why[GW_NVME_COMMAND_TEXT_BYTES + 32];

	snprintf(why, sizeof(why), "an NVMe command: %s",
		 (command & GW_COMMAND_SEEN) == 0 ? "unknown" :
		 gw_nvme_command_name(name, (command & GW_COMMAND_ADMIN) != 0, (uint8_t)command));
	add_why(text, bytes, why);
}

void gw_block_explain_flags(char *text, size_t bytes, const struct gw_bpf_state *state,
			    uint64_t flags)
{
	static const struct {
		uint64_t flag;
		const char *why;
	} rows[] = {
		{ GW_STATE_PASSTHROUGH, "a passthrough command may have written anywhere" },
		{ GW_STATE_UNKNOWN_OP, "an operation that is not known" },
		{ GW_STATE_RESET_ALL, "all zones were reset" },
		{ GW_STATE_MANY_RANGES, "a discard of too many ranges" },
		{ GW_STATE_UNSEEN_BIO, "a write ended whose start was not seen" },
		{ GW_STATE_TOO_LONG, "a range too long to be marked" },
		{ GW_STATE_PAYLOAD, "the ranges of an NVMe command could not be read" },
		{ GW_STATE_FORMAT, "the namespace was formatted" },
		{ GW_STATE_SANITIZE, "the drive sanitizes, or has done so" },
		{ GW_STATE_NAMESPACE, "the namespace was managed or attached" },
		{ GW_STATE_SECURITY, "Security Send may have changed the media's key" },
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		if ((flags & rows[i].flag) != 0)
			add_why(text, bytes, rows[i].why);
	if ((flags & GW_STATE_UNKNOWN_COMMAND) != 0)
		explain_unknown_command(text, bytes, state);
}

static void take_flags(struct gw_track *track, struct gw_track_taken *taken)
{
	struct gw_block_track *const block = track->impl;
	/* Pairs with raise() in gw_mark.bpf.h. One that is raised after this look waits. */
	const uint64_t flags = __atomic_load_n(&block->state->flags, __ATOMIC_SEQ_CST) &
			       GW_STATE_WHOLE;

	if (flags == 0)
		return;
	taken->whole_device = true;
	taken->is_erased = (flags & (GW_STATE_FORMAT | GW_STATE_SANITIZE)) != 0;
	gw_block_explain_flags(taken->why, sizeof(taken->why), block->state, flags);
	gw_fault_point("take-flags-loaded");
	taken->fresh_grains += mark_all_pending(track);
	gw_fault_point("take-flags-stored");
	__atomic_fetch_and(&block->state->flags, ~flags, __ATOMIC_SEQ_CST);
	gw_fault_point("take-flags-cleared");
	__atomic_fetch_add(&block->state->whole_device_marks, 1, __ATOMIC_RELAXED);
}

static void take_coarse(struct gw_track *track, struct gw_track_taken *taken)
{
	struct gw_block_track *const block = track->impl;
	const uint32_t shift = block->plan.coarse_shift;

	for (uint64_t w = 0; w < block->plan.coarse_words; w++) {
		const uint64_t bits = atomic_load(&block->coarse[w]);

		if (bits == 0)
			continue;
		gw_fault_point("take-coarse-loaded");
		for (uint64_t left = bits; left != 0; left &= left - 1) {
			const uint64_t unit = w * 64 + (uint64_t)__builtin_ctzll(left);
			const uint64_t first = unit << shift;
			const uint64_t rest = track->geom.size_grains > first ?
					      track->geom.size_grains - first : 0;
			const uint64_t count = rest < UINT64_C(1) << shift ? rest :
					       UINT64_C(1) << shift;

			if (count > 0)
				taken->fresh_grains +=
					mark_pending(track, (struct gw_run){ first, count });
			gw_fault_point("take-coarse-stored");
		}
		atomic_fetch_and(&block->coarse[w], ~bits);
		gw_fault_point("take-coarse-cleared");
	}
}

static int read_misses(const struct gw_block_track *block, uint64_t misses[GW_PROGRAMS_WATCHED],
		       struct gw_diag *diag)
{
	for (int i = 0; i < GW_PROGRAMS_WATCHED; i++) {
		struct bpf_prog_info info = { 0 };
		uint32_t info_bytes = sizeof(info);

		if (bpf_obj_get_info_by_fd(block->program_fds[i], &info, &info_bytes) < 0)
			return gw_fail(diag, -errno, "cannot ask for skipped programs: %s",
				       strerror(errno));
		misses[i] = info.recursion_misses;
	}
	return 0;
}

/*
 * A write is lost only if its submission was skipped (else its slot tells) and all
 * three copies of its completion. The submission may lie before the last take, the
 * completion cannot; so skips of it are remembered for a while. For bios, an
 * entry that outlived its bio could stand in for one: everything is remembered there.
 *
 * Killed in here: what has grown is stamped before it is said to be seen.
 */
static bool track_was_lost(struct gw_block_track *block, const uint64_t misses[])
{
	struct gw_track_header *const header = block->header;
	const uint64_t now = now_ns();
	bool any_grew = false, lost = true;

	for (int i = 0; i < GW_PROGRAMS_WATCHED; i++) {
		const bool grew = misses[i] != header->misses_seen[i];
		const bool remembered = block->plan.bio_based || i == GW_PROGRAM_SUBMIT;

		if (grew)
			header->misses_grew_ns[i] = now;
		any_grew = any_grew || grew;
		if (!grew && !(remembered && header->misses_grew_ns[i] != 0 &&
			       now - header->misses_grew_ns[i] < MISSES_WINDOW_NS))
			lost = false;
	}
	return any_grew && lost;
}

static void see_misses(struct gw_block_track *block, const uint64_t misses[])
{
	for (int i = 0; i < GW_PROGRAMS_WATCHED; i++)
		block->header->misses_seen[i] = misses[i];
}

/*
 * No slot tells of a completion that is lost, if there was no room for the submission's entry.
 * That the completion is not lost to its three copies is no comfort: not every loss is counted
 * as a miss. Its marks may come late, so each take is of everything for as long as a miss is
 * remembered.
 */
static bool strays_were_full(struct gw_block_track *block)
{
	struct gw_track_header *const header = block->header;
	const uint64_t now = now_ns();
	const uint64_t full = __atomic_load_n(&block->state->strays_full, __ATOMIC_SEQ_CST);

	if (full != header->strays_full_seen) {
		header->strays_full_grew_ns = now;
		/* Killed in here: stamped before it is said to be seen. */
		__atomic_store_n(&header->strays_full_seen, full, __ATOMIC_SEQ_CST);
	}
	return header->strays_full_grew_ns != 0 &&
	       now - header->strays_full_grew_ns < MISSES_WINDOW_NS;
}

static void take_strays_full(struct gw_track *track, struct gw_track_taken *taken)
{
	struct gw_block_track *const block = track->impl;

	if (!strays_were_full(block))
		return;
	say_why(taken, "more writes in flight than there is room to record");
	taken->fresh_grains += mark_all_pending(track);
	__atomic_fetch_add(&block->state->whole_device_marks, 1, __ATOMIC_RELAXED);
}

/* After the bits were moved: what is counted now was skipped before, or is of the next take. */
static int take_misses(struct gw_track *track, struct gw_track_taken *taken, struct gw_diag *diag)
{
	struct gw_block_track *const block = track->impl;
	uint64_t misses[GW_PROGRAMS_WATCHED];
	const int err = read_misses(block, misses, diag);

	if (err < 0)
		return err;
	gw_fault_point("take-misses-read");
	if (track_was_lost(block, misses)) {
		say_why(taken, GW_BLOCK_SKIPPED_TEXT);
		taken->fresh_grains += mark_all_pending(track);
		__atomic_fetch_add(&block->state->whole_device_marks, 1, __ATOMIC_RELAXED);
	}
	gw_fault_point("take-misses-judged");
	see_misses(block, misses);
	gw_fault_point("take-misses-seen");
	return 0;
}

int gw_block_fail_other_disk(const struct gw_track *track, struct gw_diag *diag)
{
	return gw_fail_exit(diag, GW_EXIT_CANNOT, -ESTALE,
			    "%s was written to as another disk than it was at the start",
			    track->node.path);
}

/* Lost completions */

bool gw_block_is_disk_idle(const struct gw_node *node)
{
	unsigned long long reads, writes;
	char text[64];

	if (node->nvme.is_namespace)
		return gw_nvme_is_idle(&node->nvme, GW_NVME_CLASS_DIR);
	if (gw_disk_attribute(node, "queue/iostats", text, sizeof(text)) < 0 ||
	    strcmp(text, "1") != 0 ||
	    gw_disk_attribute(node, "inflight", text, sizeof(text)) < 0)
		return false;
	return sscanf(text, "%llu %llu", &reads, &writes) == 2 && reads == 0 && writes == 0;
}

static void read_slot(const struct gw_bpf_slot *from, struct gw_bpf_slot *to)
{
	/* Pairs with fill_slot() in gw_block.bpf.c: the holder is stored last. */
	to->holder = __atomic_load_n(&from->holder, __ATOMIC_ACQUIRE);
	to->first_sector = __atomic_load_n(&from->first_sector, __ATOMIC_RELAXED);
	to->end_sector = __atomic_load_n(&from->end_sector, __ATOMIC_RELAXED);
	to->submitted_ns = __atomic_load_n(&from->submitted_ns, __ATOMIC_RELAXED);
	to->flags = __atomic_load_n(&from->flags, __ATOMIC_RELAXED);
}

static uint64_t age_ns(const struct gw_bpf_slot *slot, uint64_t now)
{
	return now > slot->submitted_ns ? now - slot->submitted_ns : 0;
}

/* Passthrough, or as long as that: the kernel's count may leave it out. */
static bool is_uncounted(const struct gw_track *track, const struct gw_bpf_slot *slot)
{
	return (slot->flags & GW_SLOT_UNCOUNTED) != 0 ||
	       slot_run(track, slot).count == track->geom.size_grains;
}

static void find_lost_in_slots(struct gw_track *track, uint64_t now, struct gw_track_taken *taken)
{
	struct gw_block_track *const block = track->impl;

	for (uint64_t i = 0; i < block->slot_count; i++) {
		struct gw_bpf_slot *const at = &block->slots[i];
		struct gw_bpf_slot slot;
		uint64_t holder;

		read_slot(at, &slot);
		if (slot.holder == 0 ||
		    age_ns(&slot, now) < (is_uncounted(track, &slot) ? SUSPECT_OTHER_NS :
					  SUSPECT_REQUEST_NS))
			continue;
		taken->fresh_grains += mark_pending(track, slot_run(track, &slot));
		gw_fault_point("take-lost-stored");
		/* Failing here: it did complete, or another one is in. */
		holder = slot.holder;
		if (!__atomic_compare_exchange_n(&at->holder, &holder, 0, false, __ATOMIC_SEQ_CST,
						 __ATOMIC_SEQ_CST))
			continue;
		if (__atomic_load_n(&at->submitted_ns, __ATOMIC_SEQ_CST) == slot.submitted_ns) {
			__atomic_fetch_add(&block->state->lost_found, 1, __ATOMIC_RELAXED);
			continue;
		}
		/* The same request, submitted anew meanwhile: its slot again, if it is not used. */
		holder = 0;
		__atomic_compare_exchange_n(&at->holder, &holder, slot.holder, false,
					    __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
	}
}

/* Calls fn for every entry of the hash. Return: 0 or negative errno, said. */
static int each_stray(struct gw_track *track,
		      void (*fn)(struct gw_track *track, void *arg, uint64_t key,
				 const struct gw_bpf_slot *entry),
		      void *arg, struct gw_diag *diag)
{
	struct gw_block_track *const block = track->impl;
	const int fd = block->map_fds[GW_MAP_STRAYS];
	uint64_t keys[STRAYS_BATCH];
	struct gw_bpf_slot entries[STRAYS_BATCH];
	uint32_t position = 0, *from = NULL;
	bool end = false;

	while (!end) {
		uint32_t count = STRAYS_BATCH;

		if (bpf_map_lookup_batch(fd, from, &position, keys, entries, &count, NULL) < 0) {
			/* ENOSPC: a bucket with more entries than that; there is none that deep. */
			if (errno != ENOENT)
				return gw_fail(diag, -errno, "cannot list what is in flight: %s",
					       strerror(errno));
			end = true;
		}
		for (uint32_t i = 0; i < count; i++)
			fn(track, arg, keys[i], &entries[i]);
		from = &position;
	}
	return 0;
}

struct sweep {
	uint64_t suspect_before_ns;	/* 0: none is suspect */
	uint64_t stale_before_ns;
	struct gw_track_taken *taken;
};

static void sweep_stray(struct gw_track *track, void *arg, uint64_t key,
			const struct gw_bpf_slot *entry)
{
	struct gw_block_track *const block = track->impl;
	const struct sweep *const sweep = arg;

	if (entry->holder == 0 && entry->done_ns < sweep->stale_before_ns &&
	    entry->submitted_ns < sweep->stale_before_ns) {
		bpf_map_delete_elem(block->map_fds[GW_MAP_STRAYS], &key);
	} else if (entry->holder != 0 && entry->submitted_ns < sweep->suspect_before_ns) {
		sweep->taken->fresh_grains += mark_pending(track, slot_run(track, entry));
		bpf_map_delete_elem(block->map_fds[GW_MAP_STRAYS], &key);
		__atomic_fetch_add(&block->state->lost_found, 1, __ATOMIC_RELAXED);
	}
}

static void note_oldest(struct gw_track *track, void *arg, uint64_t key,
			const struct gw_bpf_slot *entry)
{
	struct gw_track_in_flight *const out = arg;

	(void)track;
	(void)key;
	if (entry->holder == 0 || entry->first_sector >= entry->end_sector)
		return;
	out->count++;
	if (age_ns(entry, now_ns()) > out->oldest_age_ns)
		out->oldest_age_ns = age_ns(entry, now_ns());
}

static int count_in_flight(struct gw_track *track, struct gw_track_in_flight *out,
			   struct gw_diag *diag)
{
	const struct gw_block_track *const block = track->impl;

	for (uint64_t i = 0; i < block->slot_count; i++) {
		struct gw_bpf_slot slot;

		read_slot(&block->slots[i], &slot);
		note_oldest(track, out, 0, &slot);
	}
	return each_stray(track, note_oldest, out, diag);
}

/* Slots left when the queue is drained: their completions were lost. */
static int sweep(struct gw_track *track, struct gw_track_taken *taken, struct gw_diag *diag)
{
	struct gw_block_track *const block = track->impl;
	const bool bio_based = block->plan.bio_based;
	struct gw_track_in_flight in_flight = { 0 };
	struct sweep job = { .taken = taken };
	uint64_t now;
	int err;

	err = count_in_flight(track, &in_flight, diag);
	if (err < 0)
		return err;
	now = now_ns();
	if (in_flight.oldest_age_ns > (bio_based ? SUSPECT_OTHER_NS : SUSPECT_REQUEST_NS) &&
	    gw_block_is_disk_idle(&track->node)) {
		usleep(SUSPECT_GRACE_US);
		if (gw_block_is_disk_idle(&track->node)) {
			find_lost_in_slots(track, now, taken);
			job.suspect_before_ns = now - SUSPECT_OTHER_NS;
		}
	}
	job.stale_before_ns = now_ns() - STALE_ENTRY_NS;
	block->swept_ns = now_ns();
	return each_stray(track, sweep_stray, &job, diag);
}

/* The ops */

static int block_take(struct gw_track *track, struct gw_track_taken *taken, struct gw_diag *diag)
{
	struct gw_block_track *const block = track->impl;
	int err;

	err = gw_node_check_same(&track->node, diag);
	if (err < 0)
		return err;
	if ((__atomic_load_n(&block->state->flags, __ATOMIC_SEQ_CST) & GW_STATE_OTHER_DISK) != 0)
		return gw_block_fail_other_disk(track, diag);
	take_flags(track, taken);
	take_coarse(track, taken);
	taken->fresh_grains += gw_bitmap_move_all(&track->live, &track->pending);
	take_strays_full(track, taken);
	err = take_misses(track, taken, diag);
	if (err == 0 && now_ns() - block->swept_ns > SWEEP_INTERVAL_NS)
		err = sweep(track, taken, diag);
	if (taken->fresh_grains > track->geom.size_grains)
		taken->fresh_grains = track->geom.size_grains;
	return err;
}

static int block_in_flight(struct gw_track *track, struct gw_track_in_flight *out,
			   struct gw_diag *diag)
{
	struct gw_track_taken found = { 0 };
	int err;

	err = count_in_flight(track, out, diag);
	if (err < 0 || out->oldest_age_ns < SUSPECT_REQUEST_NS)
		return err;
	/* What is found lost is pending now, and does not keep the caller waiting. */
	err = sweep(track, &found, diag);
	if (err < 0)
		return err;
	memset(out, 0, sizeof(*out));
	return count_in_flight(track, out, diag);
}

static int block_stats(struct gw_track *track, struct gw_track_stats *stats, struct gw_diag *diag)
{
	const struct gw_block_track *const block = track->impl;
	const int cpus = libbpf_num_possible_cpus();
	uint64_t misses[GW_PROGRAMS_WATCHED];
	struct gw_bpf_stats *per_cpu;
	const uint32_t zero = 0;
	int err;

	if (cpus < 0)
		return gw_fail(diag, cpus, "cannot count the processors: %s", strerror(-cpus));
	per_cpu = calloc((size_t)cpus, sizeof(*per_cpu));
	if (per_cpu == NULL)
		return gw_fail(diag, -ENOMEM, "no memory for statistics");
	err = bpf_map_lookup_elem(block->map_fds[GW_MAP_STATS], &zero, per_cpu) < 0 ? -errno : 0;
	if (err < 0)
		gw_fail(diag, err, "cannot read statistics: %s", strerror(-err));
	for (int i = 0; i < cpus && err == 0; i++) {
		stats->writes += per_cpu[i].writes;
		stats->write_bytes += per_cpu[i].write_bytes;
		stats->discards += per_cpu[i].discards;
		for (int copy = 0; copy < GW_COMPLETE_COPIES; copy++)
			stats->completions += per_cpu[i].completions[copy];
	}
	free(per_cpu);
	if (err == 0)
		err = read_misses(block, misses, diag);
	if (err < 0)
		return err;
	stats->lost_found = __atomic_load_n(&block->state->lost_found, __ATOMIC_RELAXED);
	stats->unseen_submissions =
		__atomic_load_n(&block->state->unseen_submissions, __ATOMIC_RELAXED);
	stats->coarse_marks = __atomic_load_n(&block->state->coarse_marks, __ATOMIC_RELAXED);
	stats->whole_device_marks =
		__atomic_load_n(&block->state->whole_device_marks, __ATOMIC_RELAXED);
	stats->misses_submit = misses[GW_PROGRAM_SUBMIT];
	for (int i = 0; i < GW_COMPLETE_COPIES; i++)
		stats->misses_complete[i] = misses[GW_PROGRAM_COMPLETE1 + i];
	return 0;
}

/*
 * Sound right before the first read of a pass: a write whose mark goes has ended,
 * and is read by the pass; or is in flight, and its completion marks it anew, or
 * its slot does. Slots, and the time of the last skips, stay for that.
 */
static int block_drop_marks(struct gw_track *track, struct gw_diag *diag)
{
	struct gw_block_track *const block = track->impl;
	uint64_t misses[GW_PROGRAMS_WATCHED];
	int err;

	err = read_misses(block, misses, diag);
	if (err < 0)
		return err;
	track_was_lost(block, misses);
	see_misses(block, misses);
	__atomic_fetch_and(&block->state->flags, ~(uint64_t)GW_STATE_WHOLE, __ATOMIC_SEQ_CST);
	for (uint64_t w = 0; w < block->plan.coarse_words; w++)
		if (atomic_load(&block->coarse[w]) != 0)
			atomic_store(&block->coarse[w], 0);
	for (uint64_t w = 0; w < track->geom.words; w++)
		if (atomic_load(&track->live.words[w]) != 0)
			atomic_store(&track->live.words[w], 0);
	return 0;
}

static void close_fds(int *fds, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		if (fds[i] >= 0)
			close(fds[i]);
		fds[i] = -1;
	}
}

void gw_block_close(struct gw_track *track)
{
	struct gw_block_track *const block = track->impl;

	for (int map = 0; map < GW_MAPS; map++)
		if (block->mapped[map] != NULL)
			munmap(block->mapped[map], block->mapped_bytes[map]);
	close_fds(block->link_fds, GW_LINKS);
	close_fds(block->program_fds, GW_PROGRAMS_WATCHED);
	close_fds(block->map_fds, GW_MAPS);
	free(block);
	free(track);
}

static int block_stop(struct gw_track *track, struct gw_diag *diag)
{
	struct gw_block_track *const block = track->impl;
	int err = 0, lock;

	if (block->name[0] != '\0') {
		lock = gw_pins_lock(diag);
		err = lock < 0 ? lock : gw_pins_remove(block->name, diag);
		if (lock >= 0)
			close(lock);
	}
	gw_block_close(track);
	return err;
}

const struct gw_track_ops gw_block_ops = {
	.name = "block",
	.take = block_take,
	.in_flight = block_in_flight,
	.stats = block_stats,
	.drop_marks = block_drop_marks,
	.stop = block_stop,
	.close = gw_block_close,
};

bool gw_block_is_all_suspect(const struct gw_track *track)
{
	const struct gw_block_track *const block = track->impl;

	return (__atomic_load_n(&block->state->flags, __ATOMIC_SEQ_CST) & GW_STATE_WHOLE) != 0;
}

static void forget_stray(struct gw_track *track, void *arg, uint64_t key,
			 const struct gw_bpf_slot *entry)
{
	const struct gw_block_track *const block = track->impl;

	(void)arg;
	(void)entry;
	bpf_map_delete_elem(block->map_fds[GW_MAP_STRAYS], &key);
}

int gw_block_forget(struct gw_track *track, struct gw_diag *diag)
{
	struct gw_block_track *const block = track->impl;
	const int cpus = libbpf_num_possible_cpus();
	const uint32_t zero = 0;
	void *stats;
	int err;

	stats = calloc(cpus > 0 ? (size_t)cpus : 1, sizeof(struct gw_bpf_stats));
	if (stats == NULL || bpf_map_update_elem(block->map_fds[GW_MAP_STATS], &zero, stats, 0) < 0)
		err = gw_fail(diag, -errno, "cannot reset statistics: %s", strerror(errno));
	else
		err = each_stray(track, forget_stray, NULL, diag);
	free(stats);
	if (err < 0)
		return err;
	memset(block->slots, 0, block->slot_count * sizeof(*block->slots));
	memset(block->state, 0, sizeof(*block->state));
	return block_drop_marks(track, diag);
}

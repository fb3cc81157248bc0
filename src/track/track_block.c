// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The source `block`, user space's half. All state is in maps that gw_block.bpf.c
 * writes too, and that outlive this process if they are pinned; what is kept here is how to reach them.
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
#include <sys/random.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "clock.h"
#include "fault.h"
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

struct block_track {
	struct gw_plan plan;
	char name[GW_PINS_NAME_MAX + 1];	/* "": not pinned */
	int map_fds[GW_MAPS];
	int link_fds[GW_LINKS];
	int program_fds[GW_PROGRAMS_WATCHED];
	void *mapped[GW_MAPS];
	size_t mapped_bytes[GW_MAPS];
	/* In the mappings: */
	struct gw_track_header *header;
	_Atomic uint64_t *coarse;
	struct gw_bpf_state *state;
	struct gw_bpf_slot *slots;
	uint64_t slot_count;
	uint64_t swept_ns;
};

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
	const struct block_track *const block = track->impl;
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

static void say_why(struct gw_track_taken *taken, const char *why)
{
	const size_t length = strlen(taken->why);

	taken->whole_device = true;
	snprintf(taken->why + length, sizeof(taken->why) - length, "%s%s", length > 0 ? "; " : "",
		 why);
}

static void explain_flags(struct gw_track_taken *taken, uint64_t flags)
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
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		if ((flags & rows[i].flag) != 0)
			say_why(taken, rows[i].why);
}

static void take_flags(struct gw_track *track, struct gw_track_taken *taken)
{
	struct block_track *const block = track->impl;
	/* Pairs with raise() in gw_block.bpf.c. One that is raised after this look waits. */
	const uint64_t flags = __atomic_load_n(&block->state->flags, __ATOMIC_SEQ_CST) &
			       GW_STATE_WHOLE;

	if (flags == 0)
		return;
	explain_flags(taken, flags);
	gw_fault_point("take-flags-loaded");
	taken->fresh_grains += mark_all_pending(track);
	gw_fault_point("take-flags-stored");
	__atomic_fetch_and(&block->state->flags, ~flags, __ATOMIC_SEQ_CST);
	gw_fault_point("take-flags-cleared");
	__atomic_fetch_add(&block->state->whole_device_marks, 1, __ATOMIC_RELAXED);
}

static void take_coarse(struct gw_track *track, struct gw_track_taken *taken)
{
	struct block_track *const block = track->impl;
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

static int read_misses(const struct block_track *block, uint64_t misses[GW_PROGRAMS_WATCHED],
		       struct gw_diag *diag)
{
	for (int i = 0; i < GW_PROGRAMS_WATCHED; i++) {
		struct bpf_prog_info info = { 0 };
		uint32_t info_bytes = sizeof(info);

		if (bpf_obj_get_info_by_fd(block->program_fds[i], &info, &info_bytes) < 0)
			return gw_fail(diag, -errno, "cannot ask the kernel for skipped programs: %s",
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
static bool track_was_lost(struct block_track *block, const uint64_t misses[])
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

static void see_misses(struct block_track *block, const uint64_t misses[])
{
	for (int i = 0; i < GW_PROGRAMS_WATCHED; i++)
		block->header->misses_seen[i] = misses[i];
}

/* After the bits were moved: what is counted now was skipped before, or is of the next take. */
static int take_misses(struct gw_track *track, struct gw_track_taken *taken, struct gw_diag *diag)
{
	struct block_track *const block = track->impl;
	uint64_t misses[GW_PROGRAMS_WATCHED];
	const int err = read_misses(block, misses, diag);

	if (err < 0)
		return err;
	gw_fault_point("take-misses-read");
	if (track_was_lost(block, misses)) {
		say_why(taken, "the kernel skipped submissions and completions");
		taken->fresh_grains += mark_all_pending(track);
		__atomic_fetch_add(&block->state->whole_device_marks, 1, __ATOMIC_RELAXED);
	}
	gw_fault_point("take-misses-judged");
	see_misses(block, misses);
	gw_fault_point("take-misses-seen");
	return 0;
}

static int fail_other_disk(const struct gw_track *track, struct gw_diag *diag)
{
	return gw_fail_exit(diag, GW_EXIT_CANNOT, -ESTALE,
			    "%s was written to as another disk than it was at the start",
			    track->node.path);
}

/* Lost completions */

/* Does the kernel count nothing as started and not ended on the disk? False if it does not count. */
static bool is_disk_idle(const struct gw_node *node)
{
	unsigned long long reads, writes;
	char text[64];

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
}

static uint64_t age_ns(const struct gw_bpf_slot *slot, uint64_t now)
{
	return now > slot->submitted_ns ? now - slot->submitted_ns : 0;
}

/* Passthrough, or as long as that: the kernel's count may leave it out. */
static bool is_uncounted(const struct gw_track *track, const struct gw_bpf_slot *slot)
{
	return slot_run(track, slot).count == track->geom.size_grains;
}

static void find_lost_in_slots(struct gw_track *track, uint64_t now, struct gw_track_taken *taken)
{
	struct block_track *const block = track->impl;

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
	struct block_track *const block = track->impl;
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
	struct block_track *const block = track->impl;
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
	const struct block_track *const block = track->impl;

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
	struct block_track *const block = track->impl;
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
	    is_disk_idle(&track->node)) {
		usleep(SUSPECT_GRACE_US);
		if (is_disk_idle(&track->node)) {
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
	struct block_track *const block = track->impl;
	int err;

	err = gw_node_check_same(&track->node, diag);
	if (err < 0)
		return err;
	if ((__atomic_load_n(&block->state->flags, __ATOMIC_SEQ_CST) & GW_STATE_OTHER_DISK) != 0)
		return fail_other_disk(track, diag);
	take_flags(track, taken);
	take_coarse(track, taken);
	taken->fresh_grains += gw_bitmap_move_all(&track->live, &track->pending);
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
	const struct block_track *const block = track->impl;
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
	struct block_track *const block = track->impl;
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

static void block_close(struct gw_track *track)
{
	struct block_track *const block = track->impl;

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
	struct block_track *const block = track->impl;
	int err = 0, lock;

	if (block->name[0] != '\0') {
		lock = gw_pins_lock(diag);
		err = lock < 0 ? lock : gw_pins_remove(block->name, diag);
		if (lock >= 0)
			close(lock);
	}
	block_close(track);
	return err;
}

static const struct gw_track_ops block_ops = {
	.name = "block",
	.take = block_take,
	.in_flight = block_in_flight,
	.stats = block_stats,
	.drop_marks = block_drop_marks,
	.stop = block_stop,
	.close = block_close,
};

/* From descriptors to a tracking */

static struct gw_track *new_track(const struct gw_plan *plan, const char *name,
				  struct gw_diag *diag)
{
	struct gw_track *const track = calloc(1, sizeof(*track));
	struct block_track *const block = calloc(1, sizeof(*block));

	if (track == NULL || block == NULL) {
		free(track);
		free(block);
		gw_fail(diag, -ENOMEM, "no memory for the tracking");
		return NULL;
	}
	block->plan = *plan;
	snprintf(block->name, sizeof(block->name), "%s", name != NULL ? name : "");
	memset(block->map_fds, -1, sizeof(block->map_fds));
	memset(block->link_fds, -1, sizeof(block->link_fds));
	memset(block->program_fds, -1, sizeof(block->program_fds));
	track->impl = block;
	track->ops = &block_ops;
	track->geom = plan->geom;
	track->node = plan->node;
	return track;
}

static int map_one(struct block_track *block, enum gw_map map, struct gw_diag *diag)
{
	const struct gw_map_shape shape = gw_map_shape(map, &block->plan);
	void *mapped;

	if (shape.mmap_bytes == 0)
		return 0;
	mapped = mmap(NULL, shape.mmap_bytes, PROT_READ | PROT_WRITE, MAP_SHARED,
		      block->map_fds[map], 0);
	if (mapped == MAP_FAILED)
		return gw_fail_exit(diag, GW_EXIT_CANNOT, -errno,
				    "cannot map the BPF map %s (%llu bytes): %s", shape.pin,
				    (unsigned long long)shape.mmap_bytes, strerror(errno));
	block->mapped[map] = mapped;
	block->mapped_bytes[map] = shape.mmap_bytes;
	return 0;
}

static int find_programs(struct block_track *block, struct gw_diag *diag)
{
	for (int i = 0; i < GW_PROGRAMS_WATCHED; i++) {
		struct bpf_link_info info = { 0 };
		uint32_t info_bytes = sizeof(info);

		if (bpf_obj_get_info_by_fd(block->link_fds[i], &info, &info_bytes) < 0 ||
		    (block->program_fds[i] = bpf_prog_get_fd_by_id(info.prog_id)) < 0)
			return gw_fail_exit(diag, GW_EXIT_CANNOT, -errno,
					    "cannot find the program of %s: %s",
					    gw_link_pin((unsigned int)i), strerror(errno));
	}
	return 0;
}

/* map_fds are there; link_fds too, or find_programs() is called later. */
static int map_all(struct gw_track *track, struct gw_diag *diag)
{
	struct block_track *const block = track->impl;
	int err = 0;

	for (unsigned int map = 0; map < GW_MAPS && err == 0; map++)
		err = map_one(block, map, diag);
	if (err < 0)
		return err;
	block->header = block->mapped[GW_MAP_HEADER];
	block->coarse = block->mapped[GW_MAP_COARSE];
	block->state = block->mapped[GW_MAP_STATE];
	block->slots = block->mapped[GW_MAP_SLOTS];
	block->slot_count = gw_map_shape(GW_MAP_SLOTS, &block->plan).entries;
	track->live = (struct gw_bitmap){ block->mapped[GW_MAP_LIVE], track->geom.size_grains };
	track->pending =
		(struct gw_bitmap){ block->mapped[GW_MAP_PENDING], track->geom.size_grains };
	track->copying =
		(struct gw_bitmap){ block->mapped[GW_MAP_COPYING], track->geom.size_grains };
	return 0;
}

/* Start */

static int fill_header(struct gw_track *track, struct gw_diag *diag)
{
	const struct block_track *const block = track->impl;
	const struct gw_plan *const plan = &block->plan;
	const struct gw_node *const node = &track->node;
	struct gw_track_header *const header = block->header;

	while (track->generation == 0)
		if (getrandom(&track->generation, sizeof(track->generation), 0) < 0 &&
		    errno != EINTR)
			return gw_fail(diag, -errno, "no random number: %s", strerror(errno));
	*header = (struct gw_track_header){
		.magic = GW_TRACK_MAGIC,
		.version = GW_TRACK_VERSION,
		.header_bytes = sizeof(*header),
		.flags = (plan->bio_based ? GW_TRACK_BIO_BASED : 0) |
			 (node->is_partition ? GW_TRACK_PARTITION : 0) |
			 (node->is_zoned ? GW_TRACK_ZONED : 0) |
			 (node->read_only ? GW_TRACK_READ_ONLY : 0),
		.disk_major = major(node->disk_dev),
		.disk_minor = minor(node->disk_dev),
		.diskseq = node->diskseq,
		.generation = track->generation,
		.major = major(node->dev),
		.minor = minor(node->dev),
		.node_bytes = node->size_bytes,
		.first_sector = node->disk_first_sector,
		.size_bytes = track->geom.size_bytes,
		.grain_bytes = track->geom.grain_bytes,
		.coarse_shift = plan->coarse_shift,
		.words = track->geom.words,
		.coarse_words = plan->coarse_words,
		.hw_queues = plan->hw_queues,
		.tags_per_queue = plan->tags_per_queue,
		.logical_bytes = node->logical_bytes,
		.physical_bytes = node->physical_bytes,
		.started_wall_ns = gw_wall_ns(),
	};
	memcpy(header->name, node->name, sizeof(header->name));
	memcpy(header->disk_name, node->disk_name, sizeof(header->disk_name));
	memcpy(header->stable_id, node->stable_id, sizeof(header->stable_id));
	memcpy(header->path, node->path, sizeof(header->path));
	return 0;
}

static int take_over(struct block_track *block, struct gw_load *load, struct gw_diag *diag)
{
	for (int link = 0; link < GW_LINKS; link++) {
		block->link_fds[link] = load->link_fds[link];
		load->link_fds[link] = -1;
	}
	return find_programs(block, diag);
}

int gw_block_adopt_maps(struct gw_track **track, struct gw_load *load, const struct gw_plan *plan,
			const char *name, struct gw_diag *diag)
{
	struct gw_track *const fresh = new_track(plan, name, diag);
	struct block_track *block;
	int err;

	*track = NULL;
	if (fresh == NULL)
		return -ENOMEM;
	block = fresh->impl;
	for (int map = 0; map < GW_MAPS; map++) {
		block->map_fds[map] = load->map_fds[map];
		load->map_fds[map] = -1;
	}
	err = map_all(fresh, diag);
	if (err == 0)
		err = fill_header(fresh, diag);
	if (err < 0)
		block_close(fresh);
	else
		*track = fresh;
	return err;
}

int gw_block_adopt_links(struct gw_track *track, struct gw_load *load, struct gw_diag *diag)
{
	return take_over(track->impl, load, diag);
}

bool gw_block_is_all_suspect(const struct gw_track *track)
{
	const struct block_track *const block = track->impl;

	return (__atomic_load_n(&block->state->flags, __ATOMIC_SEQ_CST) & GW_STATE_WHOLE) != 0;
}

static void forget_stray(struct gw_track *track, void *arg, uint64_t key,
			 const struct gw_bpf_slot *entry)
{
	const struct block_track *const block = track->impl;

	(void)arg;
	(void)entry;
	bpf_map_delete_elem(block->map_fds[GW_MAP_STRAYS], &key);
}

int gw_block_forget(struct gw_track *track, struct gw_diag *diag)
{
	struct block_track *const block = track->impl;
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

static int pin_all(const struct gw_track *track, struct gw_diag *diag)
{
	const struct block_track *const block = track->impl;
	int err;

	err = gw_pins_create_dir(block->name, diag);
	for (unsigned int link = 0; link < GW_LINKS && err == 0; link++)
		if (block->link_fds[link] >= 0)
			err = gw_pins_add(block->name, gw_link_pin(link), block->link_fds[link],
					  diag);
	for (unsigned int map = 0; map < GW_MAPS && err == 0; map++)
		err = gw_pins_add(block->name, gw_map_shape(map, &block->plan).pin,
				  block->map_fds[map], diag);
	return err;
}

static int start_unpinned(struct gw_track **track, const struct gw_plan *plan, const char *name,
			  struct gw_diag *diag)
{
	struct gw_load load;
	int err;

	err = gw_load_open(&load, plan, diag);
	if (err < 0)
		return err;
	err = gw_block_adopt_maps(track, &load, plan, name, diag);
	if (err == 0) {
		err = gw_load_attach_all(&load, diag);
		if (err == 0)
			err = gw_block_adopt_links(*track, &load, diag);
		/* The disk may have been exchanged since it was looked at. */
		if (err == 0)
			err = gw_node_check_same(&plan->node, diag);
		if (err < 0)
			block_close(*track);
	}
	gw_load_close(&load);
	if (err < 0)
		*track = NULL;
	return err;
}

/* Pins of others */

/*
 * Return: 0 with *header whole; -ENOENT; -EPROTO if it is another version's (only the fields that
 * keep their places are there) or no header at all (magic is 0 then). Says nothing.
 */
static int read_header(const char *name, struct gw_track_header *header)
{
	char path[GW_PINS_PATH_BYTES];
	struct bpf_map_info info = { 0 };
	uint32_t info_bytes = sizeof(info);
	const uint32_t zero = 0;
	int err = -EPROTO, fd;
	void *value = NULL;

	memset(header, 0, sizeof(*header));
	fd = bpf_obj_get(gw_pins_path(path, name, GW_PIN_HEADER));
	if (fd < 0)
		return -errno;
	if (bpf_obj_get_info_by_fd(fd, &info, &info_bytes) < 0 ||
	    info.type != BPF_MAP_TYPE_ARRAY || info.key_size != 4 || info.max_entries != 1 ||
	    info.value_size < offsetof(struct gw_track_header, generation) ||
	    info.value_size > UINT32_C(1) << 20)
		goto out;
	value = calloc(1, info.value_size + 8u);
	if (value == NULL || bpf_map_lookup_elem(fd, &zero, value) < 0)
		goto out;
	memcpy(header, value,
	       info.value_size < sizeof(*header) ? info.value_size : sizeof(*header));
	if (header->magic != GW_TRACK_MAGIC)
		memset(header, 0, sizeof(*header));
	else if (header->version == GW_TRACK_VERSION &&
		 header->header_bytes == sizeof(*header) && info.value_size == sizeof(*header))
		err = 0;
out:
	free(value);
	close(fd);
	return err;
}

struct rival_search {
	const struct gw_node *node;
	char name[GW_PINS_NAME_MAX + 1];
};

static int is_rival(void *arg, const char *name)
{
	struct rival_search *const search = arg;
	struct gw_track_header *const header = calloc(1, sizeof(*header));
	bool same = false;

	if (header == NULL)
		return -ENOMEM;
	read_header(name, header);
	/* The same number with another diskseq: what it tracked is gone. */
	if (header->magic == GW_TRACK_MAGIC)
		same = makedev(header->disk_major, header->disk_minor) == search->node->disk_dev &&
		       header->diskseq == search->node->diskseq;
	free(header);
	if (same)
		snprintf(search->name, sizeof(search->name), "%s", name);
	return same;
}

static int check_rivals(const struct gw_node *node, const char *name, struct gw_diag *diag)
{
	char path[GW_PINS_PATH_BYTES];
	struct rival_search search = { .node = node };
	int err;

	if (access(gw_pins_path(path, name, GW_PIN_HEADER), F_OK) == 0)
		return gw_fail_exit(diag, GW_EXIT_CANNOT, -EEXIST,
				    "something is tracked under the name %s already (%s): take another "
				    "name, or end it with `godwit track stop`", name, path);
	/* With the lock held it is nobody's work in progress. */
	if (gw_pins_exist(name) == 0) {
		gw_say(diag, GW_NOTE, "removing what a start that died has left under the name %s",
		       name);
		err = gw_pins_remove(name, diag);
		if (err < 0)
			return err;
	}
	err = gw_track_block_each(is_rival, &search);
	if (err < 0)
		return gw_fail(diag, err, "cannot look through %s: %s", GW_PINS_DIR,
			       strerror(-err));
	if (err > 0)
		return gw_fail_exit(diag, GW_EXIT_CANNOT, -EBUSY,
				    "the disk %s is tracked already, under the name %s: one at a time",
				    node->disk_name, search.name);
	return 0;
}

static int start_pinned(struct gw_track **track, const struct gw_plan *plan, const char *name,
			struct gw_diag *diag)
{
	const int lock = gw_pins_lock(diag);
	int err;

	if (lock < 0)
		return lock;
	err = check_rivals(&plan->node, name, diag);
	if (err == 0)
		err = start_unpinned(track, plan, name, diag);
	if (err == 0) {
		err = pin_all(*track, diag);
		if (err < 0) {
			gw_pins_remove(name, diag);
			block_close(*track);
			*track = NULL;
		}
	}
	close(lock);
	return err;
}

int gw_track_block_start(struct gw_track **track, const struct gw_track_block_config *config,
			 struct gw_diag *diag)
{
	struct gw_plan plan;
	int err;

	*track = NULL;
	if (config->name != NULL && (err = gw_pins_check_name(config->name, diag)) < 0)
		return err;
	err = gw_plan_make(&plan, config->node, config->grain_bytes, config->size_bytes, diag);
	if (err == 0)
		err = gw_load_check_kernel(diag);
	if (err == 0 && config->name != NULL)
		err = gw_pins_check_bpffs(diag);
	if (err == 0 && !config->skip_self_test)
		err = gw_track_block_self_test(plan.bio_based, diag);
	if (err < 0)
		return err;
	return config->name != NULL ? start_pinned(track, &plan, config->name, diag) :
	       start_unpinned(track, &plan, NULL, diag);
}

/* Open */

static bool is_text(const char *text, size_t bytes)
{
	return memchr(text, '\0', bytes) != NULL;
}

static bool plan_from_header(struct gw_plan *plan, const struct gw_track_header *header)
{
	struct gw_node *const node = &plan->node;

	memset(plan, 0, sizeof(*plan));
	if (gw_geom_init(&plan->geom, header->size_bytes, header->grain_bytes) < 0 ||
	    header->grain_bytes == 0 || plan->geom.words != header->words ||
	    header->size_bytes > header->node_bytes || header->generation == 0 ||
	    header->hw_queues == 0 || header->tags_per_queue == 0 ||
	    header->hw_queues > GW_SLOTS_MAX / header->tags_per_queue ||
	    header->first_sector > UINT64_MAX >> 10 ||
	    !is_text(header->name, sizeof(header->name)) ||
	    !is_text(header->disk_name, sizeof(header->disk_name)) ||
	    !is_text(header->stable_id, sizeof(header->stable_id)) ||
	    !is_text(header->path, sizeof(header->path)))
		return false;
	plan->bio_based = (header->flags & GW_TRACK_BIO_BASED) != 0;
	plan->hw_queues = header->hw_queues;
	plan->tags_per_queue = header->tags_per_queue;
	gw_plan_coarse(plan);
	node->kind = GW_NODE_BLOCK;
	memcpy(node->path, header->path, sizeof(header->path));
	memcpy(node->name, header->name, sizeof(header->name));
	memcpy(node->disk_name, header->disk_name, sizeof(header->disk_name));
	memcpy(node->stable_id, header->stable_id, sizeof(header->stable_id));
	node->size_bytes = header->node_bytes;
	node->logical_bytes = header->logical_bytes;
	node->physical_bytes = header->physical_bytes;
	node->read_only = (header->flags & GW_TRACK_READ_ONLY) != 0;
	node->dev = makedev(header->major, header->minor);
	node->disk_dev = makedev(header->disk_major, header->disk_minor);
	node->disk_first_sector = header->first_sector;
	node->is_partition = (header->flags & GW_TRACK_PARTITION) != 0;
	node->is_request_based = !plan->bio_based;
	node->is_zoned = (header->flags & GW_TRACK_ZONED) != 0;
	node->hw_queues = plan->bio_based ? 0 : header->hw_queues;
	node->tags_per_queue = plan->bio_based ? 0 : header->tags_per_queue;
	node->diskseq = header->diskseq;
	return plan->coarse_shift == header->coarse_shift &&
	       plan->coarse_words == header->coarse_words;
}

/* Whatever is pinned there is mapped only if it has the shape that the header promises. */
static int open_map(struct block_track *block, enum gw_map map, struct gw_diag *diag)
{
	const struct gw_map_shape shape = gw_map_shape(map, &block->plan);
	char path[GW_PINS_PATH_BYTES];
	struct bpf_map_info info = { 0 };
	uint32_t info_bytes = sizeof(info);

	block->map_fds[map] = bpf_obj_get(gw_pins_path(path, block->name, shape.pin));
	if (block->map_fds[map] < 0)
		return gw_fail_exit(diag, GW_EXIT_CANNOT, -EPROTO, "cannot open %s: %s", path,
				    strerror(errno));
	if (bpf_obj_get_info_by_fd(block->map_fds[map], &info, &info_bytes) < 0 ||
	    info.type != shape.type || info.key_size != shape.key_bytes ||
	    info.value_size != shape.value_bytes || info.max_entries != shape.entries ||
	    info.map_flags != shape.flags)
		return gw_fail_exit(diag, GW_EXIT_CANNOT, -EPROTO,
				    "%s is not the map that its header describes", path);
	return 0;
}

static int open_links(struct block_track *block, struct gw_diag *diag)
{
	for (unsigned int link = 0; link < GW_LINKS; link++) {
		char path[GW_PINS_PATH_BYTES];

		if (link == GW_LINK_REQUEUE && block->plan.bio_based)
			continue;
		block->link_fds[link] =
			bpf_obj_get(gw_pins_path(path, block->name, gw_link_pin(link)));
		if (block->link_fds[link] < 0)
			return gw_fail_exit(diag, GW_EXIT_CANNOT, -EPROTO, "cannot open %s: %s",
					    path, strerror(errno));
	}
	return find_programs(block, diag);
}

static int open_all(struct gw_track *track, const struct gw_track_header *header,
		    struct gw_diag *diag)
{
	struct block_track *const block = track->impl;
	int err = 0;

	for (unsigned int map = 0; map < GW_MAPS && err == 0; map++)
		err = open_map(block, map, diag);
	if (err == 0)
		err = open_links(block, diag);
	if (err == 0)
		err = map_all(track, diag);
	if (err < 0)
		return err;
	track->generation = header->generation;
	if ((__atomic_load_n(&block->state->flags, __ATOMIC_SEQ_CST) & GW_STATE_OTHER_DISK) != 0)
		return fail_other_disk(track, diag);
	return gw_node_check_same(&track->node, diag);
}

static int fail_header(const char *name, int err, struct gw_diag *diag)
{
	if (err == -EPROTO)
		return gw_fail_exit(diag, GW_EXIT_CANNOT, -EPROTO,
				    "what is pinned under the name %s is of another version of godwit: "
				    "use that one, or remove it with `godwit track stop`", name);
	if (err != -ENOENT)
		return gw_fail_exit(diag, GW_EXIT_CANNOT, err, "cannot open the pins of %s: %s",
				    name, strerror(-err));
	if (gw_pins_exist(name) == 0)
		return gw_fail_exit(diag, GW_EXIT_CANNOT, -ENOENT,
				    "the pins under the name %s are half made, by a start or a stop that "
				    "died: nothing is tracked; `godwit track stop` removes them", name);
	return gw_fail_exit(diag, GW_EXIT_CANNOT, -ENOENT,
			    "nothing is tracked under the name %s (a reboot ends all tracking)",
			    name);
}

static int open_by_header(struct gw_track **track, const char *name,
			  struct gw_track_header *header, struct gw_diag *diag)
{
	struct gw_track *opened;
	struct gw_plan plan;
	int err;

	err = read_header(name, header);
	if (err < 0)
		return fail_header(name, err, diag);
	if (!plan_from_header(&plan, header))
		return gw_fail_exit(diag, GW_EXIT_CANNOT, -EPROTO,
				    "the header that is pinned under the name %s contradicts itself",
				    name);
	opened = new_track(&plan, name, diag);
	if (opened == NULL)
		return -ENOMEM;
	err = open_all(opened, header, diag);
	if (err < 0)
		block_close(opened);
	else
		*track = opened;
	return err;
}

int gw_track_block_open(struct gw_track **track, const char *name, struct gw_diag *diag)
{
	struct gw_track_header *header;
	int err;

	*track = NULL;
	err = gw_pins_check_name(name, diag);
	if (err < 0)
		return err;
	header = calloc(1, sizeof(*header));
	if (header == NULL)
		return gw_fail(diag, -ENOMEM, "no memory for the tracking");
	err = open_by_header(track, name, header, diag);
	free(header);
	return err;
}

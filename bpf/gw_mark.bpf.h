/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Marking, for every dirty source that is a BPF program: the bitmaps, the flags and counters
 * beside them, and the way from a range of what the source counts in (its units: sectors of a
 * disk, blocks of a namespace) to the bits. Each object includes it once.
 */
#ifndef GW_MARK_BPF_H
#define GW_MARK_BPF_H

#include "gw_record.bpf.h"

#include <godwit/bpf_abi.h>

/* A unit has 2^gw_unit_shift bytes, and no more than a grain: sectors, unless the object says. */
#ifndef gw_unit_shift
#define gw_unit_shift 9
#endif

#define likely(x) __builtin_expect(!!(x), 1)
#define unlikely(x) __builtin_expect(!!(x), 0)

/* Set between open and load: the verifier drops what is not needed. */
const volatile __u64 gw_tracked_first = 0;	/* units */
const volatile __u64 gw_tracked_end = 0;
const volatile __u32 gw_grain_shift = 12;		/* from bytes */
const volatile __u32 gw_coarse_shift = GW_COARSE_SHIFT_MIN;	/* from grains */
const volatile __u64 gw_size_grains = 0;

/* Sizes are user space's; a bit of live is a grain, of coarse 2^gw_coarse_shift grains. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__type(key, u32);
	__type(value, u64);
} gw_live SEC(".maps"), gw_coarse SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__type(key, u32);
	__type(value, struct gw_bpf_state);
} gw_state SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, u32);
	__type(value, struct gw_bpf_stats);
} gw_stats SEC(".maps");

/* Units, half-open; empty if first >= end. */
struct extent {
	u64 first, end;
};

/* Rare events */

static __always_inline struct gw_bpf_state *state_of(void)
{
	const u32 zero = 0;

	return bpf_map_lookup_elem(&gw_state, &zero);
}

/*
 * The fetching form of the OR is fully ordered on every architecture, the other
 * one is not; clang takes it where the result is used.
 */
static __always_inline void or_word(u64 *word, u64 bits)
{
	const u64 before = __sync_fetch_and_or(word, bits);

	asm volatile("" : : "r"(before));
}

static __always_inline void raise(u64 flag)
{
	struct gw_bpf_state *const state = state_of();

	if (state == NULL)
		return;
	if ((*(volatile u64 *)&state->flags & flag) == 0)
		or_word(&state->flags, flag);
	if (gw_is_recording && (*(volatile u64 *)&state->flags_ever & flag) == 0)
		or_word(&state->flags_ever, flag);
}

#define count_rare(field)						\
	do {								\
		struct gw_bpf_state *const state_ = state_of();		\
									\
		if (state_ != NULL)					\
			__sync_fetch_and_add(&state_->field, 1);	\
	} while (0)

static __always_inline void count_submission(u64 bytes, bool is_discard)
{
	const u32 zero = 0;
	struct gw_bpf_stats *const stats = bpf_map_lookup_elem(&gw_stats, &zero);

	if (stats == NULL)
		return;
	stats->writes++;
	stats->write_bytes += bytes;
	if (is_discard)
		stats->discards++;
}

static __always_inline void count_completion(u32 copy)
{
	const u32 zero = 0;
	struct gw_bpf_stats *const stats = bpf_map_lookup_elem(&gw_stats, &zero);

	if (stats != NULL)
		stats->completions[copy - 1]++;
}

/* Marks */

/* Bits that stand are left alone: their taker is still to come, and reads after that. */
static __always_inline void mark_word(u64 *word, u64 mask)
{
	if ((*(volatile u64 *)word & mask) != mask)
		or_word(word, mask);
}

static __always_inline u64 mask_from(u64 bit)
{
	return ~0ull << (bit & 63);
}

static __always_inline u64 mask_to(u64 bit)
{
	return ~0ull >> (63 - (bit & 63));
}

static __always_inline void mark_at(void *map, u64 at, u64 mask)
{
	const u32 key = (u32)at;
	u64 *const word = bpf_map_lookup_elem(map, &key);

	if (word != NULL)
		mark_word(word, mask);
}

static long mark_whole_word_fine(u32 number, void *first_word)
{
	mark_at(&gw_live, *(u64 *)first_word + number, ~0ull);
	return 0;
}

static long mark_whole_word_coarse(u32 number, void *first_word)
{
	mark_at(&gw_coarse, *(u64 *)first_word + number, ~0ull);
	return 0;
}

/*
 * Bits first to last of a bitmap, in at most GW_MARK_WORDS_MAX words of it. The words between are
 * a loop of the kernel's, whose body the verifier looks at once; it would follow one of ours round
 * by round, in each program.
 */
static __always_inline void mark_words(void *map, u64 first, u64 last,
				       long (*mark_whole_word)(u32 number, void *first_word))
{
	const u64 last_word = last >> 6;
	u64 word = first >> 6;
	u64 between;

	if (word == last_word) {
		mark_at(map, word, mask_from(first) & mask_to(last));
		return;
	}
	mark_at(map, word, mask_from(first));
	mark_at(map, last_word, mask_to(last));
	word++;
	between = last_word - word;
	if (between > GW_MARK_WORDS_MAX - 2) {
		between = GW_MARK_WORDS_MAX - 2;
		raise(GW_STATE_TOO_LONG);
	}
	bpf_loop((u32)between, mark_whole_word, &word, 0);
}

/*
 * Global functions: the verifier looks at each once, not at every place of call, so that nothing
 * in them is multiplied by the paths that lead to it.
 */
__noinline int gw_mark_fine(u64 first, u64 last)
{
	mark_words(&gw_live, first, last, mark_whole_word_fine);
	return 0;
}

__noinline int gw_mark_coarse(u64 first, u64 last)
{
	count_rare(coarse_marks);
	mark_words(&gw_coarse, first, last, mark_whole_word_coarse);
	return 0;
}

/* More words than one loop may have: whole units go to the coarse bitmap. */
__noinline int gw_mark_long(u64 first, u64 last)
{
	const u32 shift = gw_coarse_shift & 63;
	u64 unit = first >> shift, unit_end = (last + 1) >> shift;

	if (shift > 6 && 1ull << (shift - 6) > GW_COARSE_UNIT_WORDS_EXACT)
		return gw_mark_coarse(unit, last >> shift);
	if (unit << shift != first) {
		unit++;
		gw_mark_fine(first, (unit << shift) - 1);
	}
	/* The last unit of the device may be a partial one, yet is marked to its end. */
	if (last + 1 == gw_size_grains)
		unit_end = (last >> shift) + 1;
	else if (unit_end << shift != last + 1)
		gw_mark_fine(unit_end << shift, last);
	if (unit < unit_end)
		gw_mark_coarse(unit, unit_end - 1);
	return 0;
}

static __always_inline void clip(struct extent *extent)
{
	if (extent->first < gw_tracked_first)
		extent->first = gw_tracked_first;
	if (extent->end > gw_tracked_end)
		extent->end = gw_tracked_end;
}

static __always_inline bool is_empty(const struct extent *extent)
{
	return extent->first >= extent->end;
}

/* Grains first to last of the fine bitmap, or of the coarse one. */
__noinline int gw_mark_words(u64 first, u64 last)
{
	if ((last >> 6) - (first >> 6) < GW_MARK_WORDS_MAX)
		return gw_mark_fine(first, last);
	return gw_mark_long(first, last);
}

/* What is clipped already. A call costs as much as a mark: most ranges lie in one word. */
static __always_inline void mark_clipped(const struct extent *extent)
{
	const u32 shift = (gw_grain_shift - gw_unit_shift) & 63;
	u64 first, last;

	if (is_empty(extent))
		return;
	if (gw_is_recording && gw_note_range(extent->first, extent->end) != 0)
		count_rare(record_coarsened);
	first = (extent->first - gw_tracked_first) >> shift;
	last = (extent->end - 1 - gw_tracked_first) >> shift;
	if (likely(first >> 6 == last >> 6))
		mark_at(&gw_live, first >> 6, mask_from(first) & mask_to(last));
	else
		gw_mark_words(first, last);
}

/* What of these units is tracked. */
__noinline int gw_mark(u64 first_unit, u64 end_unit)
{
	struct extent extent = { first_unit, end_unit };

	clip(&extent);
	mark_clipped(&extent);
	return 0;
}

static __always_inline void mark(const struct extent *extent)
{
	gw_mark(extent->first, extent->end);
}

__noinline u64 gw_min(u64 a, u64 b)
{
	return a < b ? a : b;
}

__noinline u64 gw_max(u64 a, u64 b)
{
	return a > b ? a : b;
}

#endif

/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The exact record, where it was asked for: each range with its first and last time. State, not
 * events: the same range again is the same entry, so nobody has to read in time. Each object
 * includes it once, before gw_mark.bpf.h, which calls gw_note_range().
 */
#ifndef GW_RECORD_BPF_H
#define GW_RECORD_BPF_H

#include "gw_compat.bpf.h"

#include <godwit/bpf_abi.h>

/* Set between open and load. */
const volatile bool gw_is_recording = false;
const volatile __u32 gw_record_unit_shift = 0;	/* from sectors */
const volatile __u64 gw_record_first = 0;	/* sector; where the units begin */

/* Sizes are user space's. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1);
	__type(key, struct gw_bpf_record_range);
	__type(value, struct gw_bpf_record_times);
} gw_record SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__type(key, u32);
	__type(value, struct gw_bpf_record_times);
} gw_record_units SEC(".maps");

/* Two at once may leave the one time that is some nanoseconds the worse. */
static __always_inline void note_time(struct gw_bpf_record_times *times, u64 now_ns)
{
	if (times->first_ns == 0 || now_ns < times->first_ns)
		times->first_ns = now_ns;
	if (now_ns > times->last_ns)
		times->last_ns = now_ns;
}

struct coarsely {
	u32 unit;			/* the first of them */
	u64 now_ns;
};

static long note_unit(u32 number, void *context)
{
	const struct coarsely *const coarsely = context;
	const u32 unit = coarsely->unit + number;
	struct gw_bpf_record_times *const times = bpf_map_lookup_elem(&gw_record_units, &unit);

	if (times != NULL)
		note_time(times, coarsely->now_ns);
	return 0;
}

static __always_inline void record_coarsely(const struct gw_bpf_record_range *range, u64 now_ns)
{
	const u32 shift = gw_record_unit_shift & 63;
	const u64 first = (range->first_sector - gw_record_first) >> shift;
	const u64 last = (range->end_sector - 1 - gw_record_first) >> shift;
	struct coarsely coarsely = { (u32)first, now_ns };

	bpf_loop((u32)(last - first) + 1, note_unit, &coarsely, 0);
}

/* Return: does it stand in the record as it is? */
static __always_inline bool record_exactly(const struct gw_bpf_record_range *range, u64 now_ns)
{
	const struct gw_bpf_record_times fresh = { now_ns, now_ns };
	struct gw_bpf_record_times *times = bpf_map_lookup_elem(&gw_record, range);

	if (times == NULL) {
		if (bpf_map_update_elem(&gw_record, range, &fresh, BPF_NOEXIST) == 0)
			return true;
		/* Another processor was faster; or there is no room. */
		times = bpf_map_lookup_elem(&gw_record, range);
	}
	if (times == NULL)
		return false;
	note_time(times, now_ns);
	return true;
}

/* What is clipped already, not empty. Return: 0, or 1 if the record had no room for it. */
__noinline int gw_note_range(u64 first_sector, u64 end_sector)
{
	const struct gw_bpf_record_range range = { first_sector, end_sector };
	const u64 now_ns = bpf_ktime_get_ns();

	if (record_exactly(&range, now_ns))
		return 0;
	record_coarsely(&range, now_ns);
	return 1;
}

#endif

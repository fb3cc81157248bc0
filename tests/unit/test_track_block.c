// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * What a take makes of the kernel's counts of skipped programs. No load here could make the
 * kernel skip on demand, so the counts are made up; the rest of a take runs on plain memory.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>

#include <bpf/bpf.h>

static int ask_program(int fd, void *info, uint32_t *info_bytes);

/* The source of the counts is replaced in the file under test. */
#define bpf_obj_get_info_by_fd ask_program
#include "../../src/track/track_block.c"

#define SIZE_GRAINS UINT64_C(1000)
#define SUBMIT 1u
#define ALL_COPIES (1u << GW_PROGRAM_COMPLETE1 | 1u << GW_PROGRAM_COMPLETE2 | 1u << GW_PROGRAM_COMPLETE3)

static uint64_t skipped[GW_PROGRAMS_WATCHED];	/* recursion_misses; a descriptor is an index */
static int ask_err;

static int ask_program(int fd, void *info, uint32_t *info_bytes)
{
	struct bpf_prog_info *const out = info;

	(void)info_bytes;
	if (ask_err != 0) {
		errno = ask_err;
		return -1;
	}
	out->recursion_misses = skipped[fd];
	return 0;
}

static struct gw_track_header header;
static struct gw_bpf_state state;
static struct gw_block_track block;
static struct gw_track track;
static struct gw_diag diag;

static void set_up(void)
{
	block.header = &header;
	block.state = &state;
	for (int i = 0; i < GW_PROGRAMS_WATCHED; i++)
		block.program_fds[i] = i;
	track.impl = &block;
	cr_assert(gw_geom_init(&track.geom, SIZE_GRAINS * 4096, 4096) == 0);
	cr_assert(gw_bitmap_create(&track.live, SIZE_GRAINS) == 0);
	cr_assert(gw_bitmap_create(&track.pending, SIZE_GRAINS) == 0);
}

static void tear_down(void)
{
	gw_bitmap_destroy(&track.live);
	gw_bitmap_destroy(&track.pending);
}

TestSuite(track_block, .init = set_up, .fini = tear_down);

/* A bit of programs for each that was skipped once more. Return: was everything marked? */
static bool take_after(uint32_t programs)
{
	struct gw_track_taken taken = { 0 };

	for (int i = 0; i < GW_PROGRAMS_WATCHED; i++)
		skipped[i] += programs >> i & 1;
	gw_bitmap_clear(&track.pending, (struct gw_run){ 0, SIZE_GRAINS });
	cr_assert(take_misses(&track, &taken, &diag) == 0);
	if (taken.whole_device) {
		cr_expect(taken.why[0] != '\0');
		cr_expect(taken.fresh_grains == SIZE_GRAINS);
		cr_expect(gw_bitmap_count(&track.pending) == SIZE_GRAINS);
	} else {
		cr_expect(taken.fresh_grains == 0);
		cr_expect(gw_bitmap_is_empty(&track.pending));
	}
	return taken.whole_device;
}

static void pass(uint64_t seconds)
{
	for (int i = 0; i < GW_PROGRAMS_WATCHED; i++)
		if (header.misses_grew_ns[i] != 0)
			header.misses_grew_ns[i] -= seconds * GW_NS_PER_S;
}

Test(track_block, what_one_program_saw_is_not_lost)
{
	const uint32_t all = SUBMIT | ALL_COPIES;

	cr_expect(!take_after(0));
	for (uint32_t programs = 1; programs < all; programs++) {
		memset(&header, 0, sizeof(header));
		memset(skipped, 0, sizeof(skipped));
		cr_expect(!take_after(programs), "skipped: %x", programs);
		cr_expect(!take_after(0));
	}
}

Test(track_block, what_no_program_saw_makes_everything_suspect)
{
	cr_expect(take_after(SUBMIT | ALL_COPIES));
	cr_expect(state.whole_device_marks == 1);
	cr_expect(!take_after(0), "it was said, and is not said again");
	cr_expect(take_after(SUBMIT | ALL_COPIES));
}

Test(track_block, a_skipped_submission_is_remembered_until_its_completion)
{
	cr_expect(!take_after(SUBMIT));
	cr_expect(!take_after(0));
	pass(30);
	cr_expect(take_after(ALL_COPIES));
	pass(31);
	cr_expect(!take_after(ALL_COPIES), "no request is in flight for that long");
}

Test(track_block, a_skipped_completion_is_not_that_of_a_later_submission)
{
	cr_expect(!take_after(ALL_COPIES));
	cr_expect(!take_after(SUBMIT));
}

Test(track_block, of_a_bio_every_skip_is_remembered)
{
	block.plan.bio_based = true;
	cr_expect(!take_after(ALL_COPIES));
	pass(30);
	cr_expect(take_after(SUBMIT));
	pass(61);
	cr_expect(!take_after(SUBMIT));
}

Test(track_block, dropped_marks_do_not_forget_a_skipped_submission)
{
	skipped[GW_PROGRAM_SUBMIT]++;
	cr_assert(block_drop_marks(&track, &diag) == 0);
	cr_expect(take_after(ALL_COPIES));
}

Test(track_block, counts_that_cannot_be_read_fail_the_take)
{
	struct gw_track_taken taken = { 0 };

	ask_err = EBADF;
	cr_expect(take_misses(&track, &taken, &diag) == -EBADF);
	cr_expect(diag.failed);
}

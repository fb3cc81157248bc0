// SPDX-License-Identifier: GPL-2.0-or-later
#include "engine.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dev_model.h"
#include "digest.h"

#define BUFFERS 4
#define GRAIN 4096
#define RUN_BYTES (UINT32_C(1) << 20)
#define SIZE_BYTES (UINT64_C(4) * RUN_BYTES + 3 * GRAIN + 512)
#define SIZE_GRAINS (4 * 256 + 4)

static struct gw_dev_model *model;
static struct gw_dev *dev;
static struct gw_engine *engine;
static struct gw_engine_config config;
static struct gw_bitmap live, pending, copying, unverified;
static struct gw_pacer pacer;
static struct gw_diag diag;
static uint64_t digests[SIZE_GRAINS];
static void *slab;
static uint8_t *source, *target;

static void start(void)
{
	const struct gw_end_info ends[GW_ENDS] = { { SIZE_BYTES, 512, false },
						   { SIZE_BYTES + 8 * GRAIN, 512, false } };
	const uint64_t slab_bytes = gw_engine_slab_bytes(BUFFERS, RUN_BYTES, true);

	cr_assert(gw_dev_model_create(&model, ends, gw_engine_depth(BUFFERS), 1) == 0);
	cr_assert(gw_dev_model_open(&dev, model, NULL) == 0);
	source = gw_dev_model_bytes(model, GW_SOURCE);
	target = gw_dev_model_bytes(model, GW_TARGET);
	for (uint64_t i = 0; i < SIZE_BYTES; i++)
		source[i] = (uint8_t)(1 + i % 255);
	slab = aligned_alloc(4096, slab_bytes);
	memset(slab, 0x5a, slab_bytes);
	cr_assert(gw_bitmap_create(&live, SIZE_GRAINS) == 0);
	cr_assert(gw_bitmap_create(&pending, SIZE_GRAINS) == 0);
	cr_assert(gw_bitmap_create(&copying, SIZE_GRAINS) == 0);
	cr_assert(gw_bitmap_create(&unverified, SIZE_GRAINS) == 0);
	config = (struct gw_engine_config){
		.dev = dev, .slab = slab, .buffers = BUFFERS, .run_bytes = RUN_BYTES,
		.live = &live, .pending = &pending, .copying = &copying,
		.unverified = &unverified, .digests = digests, .pacer = &pacer,
		.clock = gw_dev_model_clock(model), .diag = &diag,
	};
	cr_assert(gw_geom_init(&config.geom, SIZE_BYTES, GRAIN) == 0);
}

static void end(void)
{
	gw_engine_destroy(engine);
	gw_dev_close(dev);
	gw_dev_model_destroy(model);
	gw_bitmap_destroy(&live);
	gw_bitmap_destroy(&pending);
	gw_bitmap_destroy(&copying);
	gw_bitmap_destroy(&unverified);
	free(slab);
}

TestSuite(engine, .init = start, .fini = end);

static void mark(struct gw_bitmap *bitmap, uint64_t first, uint64_t count)
{
	gw_bitmap_set(bitmap, (struct gw_run){ first, count });
}

static void zero(uint8_t *end_bytes, uint64_t first, uint64_t count)
{
	memset(end_bytes + first * GRAIN, 0, count * GRAIN);
}

static const struct gw_engine_stats *copy_all(void)
{
	if (engine == NULL)
		cr_assert(gw_engine_create(&engine, &config) == 0);
	cr_assert(gw_engine_copy(engine) == 0, "%s", diag.text);
	return gw_engine_stats(engine);
}

static bool is_same(uint64_t first, uint64_t count)
{
	return memcmp(source + first * GRAIN, target + first * GRAIN, count * GRAIN) == 0;
}

Test(engine, refuses_what_cannot_be)
{
	const struct gw_engine_config good = config;

	config.buffers = 0;
	cr_expect(gw_engine_create(&engine, &config) == -EINVAL);
	config = good;
	config.run_bytes = GRAIN / 2;
	cr_expect(gw_engine_create(&engine, &config) == -EINVAL);
	config.run_bytes = 3 * GRAIN;
	cr_expect(gw_engine_create(&engine, &config) == -EINVAL);
	config.run_bytes = 2 * GW_RUN_BYTES_MAX;
	cr_expect(gw_engine_create(&engine, &config) == -EINVAL);
	config = good;
	config.slab = (char *)slab + 512;
	cr_expect(gw_engine_create(&engine, &config) == -EINVAL);
	config = good;
	cr_assert(gw_geom_init(&config.geom, SIZE_BYTES + 1, GRAIN) == 0);
	cr_expect(gw_engine_create(&engine, &config) == -EINVAL, "larger than the source");
	config = good;
	config.copying = &(struct gw_bitmap){ copying.words, SIZE_GRAINS - 1 };
	cr_expect(gw_engine_create(&engine, &config) == -EINVAL);
	config = good;
	cr_expect(gw_engine_create(&engine, &config) == 0);
}

Test(engine, nothing_pending_is_nothing_to_do)
{
	const struct gw_engine_stats *const stats = copy_all();

	cr_expect(stats->runs == 0);
	cr_expect(stats->flushes == 0);
	cr_expect(gw_dev_stats(dev)->ios[GW_SOURCE] == 0);
}

Test(engine, copies_what_is_pending_and_no_neighbour)
{
	const struct gw_engine_stats *stats;

	mark(&pending, 3, 2);
	mark(&pending, 6, 1);
	mark(&pending, 700, 300);
	stats = copy_all();
	cr_expect(is_same(3, 2));
	cr_expect(is_same(6, 1));
	cr_expect(is_same(700, 300));
	cr_expect(target[3 * GRAIN - 1] == 0);
	cr_expect(target[5 * GRAIN] == 0);
	cr_expect(target[7 * GRAIN] == 0);
	cr_expect(target[700 * GRAIN - 1] == 0);
	cr_expect(target[1000 * GRAIN] == 0);
	cr_expect(stats->runs == 4, "two short ones, one of 1 MiB, and its rest");
	cr_expect(stats->read_bytes == 303 * GRAIN);
	cr_expect(stats->written_bytes == 303 * GRAIN);
	cr_expect(stats->settled_bytes == 303 * GRAIN);
	cr_expect(stats->batches == 1);
	cr_expect(stats->flushes == 1);
	cr_expect(stats->flush_ns_max > 0);
	cr_expect(stats->in_flight_bytes == 0);
	cr_expect(gw_bitmap_is_empty(&pending));
	cr_expect(gw_bitmap_is_empty(&copying));
	cr_expect(gw_bitmap_count(&unverified) == 303);
	cr_expect(digests[6] == gw_digest_of(source + 6 * GRAIN, GRAIN));
	cr_expect(digests[5] == 0);
	cr_expect(memcmp(target, gw_dev_model_durable(model), SIZE_BYTES) == 0);
}

/* 4 KiB here and there are not bound by the number of slots. */
Test(engine, short_runs_share_a_slot)
{
	const struct gw_clock *const clock = gw_dev_model_clock(model);
	uint64_t began_ns = gw_now_ns(clock), one_ns;

	mark(&pending, 1000, 1);
	copy_all();
	one_ns = gw_now_ns(clock) - began_ns;
	for (uint64_t grain = 0; grain < 128; grain++)
		mark(&pending, grain * 3, 1 + grain % 2);
	mark(&pending, 500, 300);
	began_ns = gw_now_ns(clock);
	cr_expect(copy_all()->runs == 1 + 128 + 2, "each of them is read and written on its own");
	cr_expect(gw_now_ns(clock) - began_ns < 128 / BUFFERS * one_ns / 2);
	for (uint64_t grain = 0; grain < 128; grain++)
		cr_expect(is_same(grain * 3, 1 + grain % 2));
	cr_expect(is_same(500, 300));
	cr_expect(target[2 * GRAIN] == 0);
	cr_expect(gw_engine_stats(engine)->settled_bytes == (1 + 128 + 64 + 300) * GRAIN);
	cr_expect(gw_engine_verify(engine) == 0);
	cr_expect(gw_engine_stats(engine)->verified_bytes == (1 + 128 + 64 + 300) * GRAIN);
}

Test(engine, the_last_grain_is_what_the_source_has_of_it)
{
	const struct gw_engine_stats *stats;

	memset(target, 0xee, SIZE_BYTES + 8 * GRAIN);
	mark(&pending, SIZE_GRAINS - 1, 1);
	stats = copy_all();
	cr_expect(stats->settled_bytes == 512);
	cr_expect(memcmp(target + SIZE_BYTES - 512, source + SIZE_BYTES - 512, 512) == 0);
	cr_expect(target[SIZE_BYTES - 513] == 0xee);
	cr_expect(target[SIZE_BYTES] == 0xee);
	cr_expect(digests[SIZE_GRAINS - 1] == gw_digest_of(source + SIZE_BYTES - 512, 512));
	cr_expect(gw_engine_verify(engine) == 0);
}

Test(engine, marks_ahead_of_a_read_are_cleared)
{
	mark(&pending, 0, 10);
	mark(&live, 5, 10);
	copy_all();
	cr_expect(gw_bitmap_count(&live) == 5);
	cr_expect(!gw_bitmap_test(&live, 9));
	cr_expect(gw_bitmap_test(&live, 10));
}

Test(engine, long_zeroes_are_zeroed_and_short_ones_written)
{
	const struct gw_engine_stats *stats;

	memset(target, 0xee, SIZE_BYTES);
	zero(source, 10, 16);		/* 64 KiB */
	zero(source, 100, 15);
	mark(&pending, 0, 256);
	stats = copy_all();
	cr_expect(is_same(0, 256));
	cr_expect(stats->zeroed_bytes == 16 * GRAIN);
	cr_expect(stats->written_bytes == 240 * GRAIN);
	cr_expect(stats->zero_skipped_bytes == 0);
	cr_expect(gw_dev_stats(dev)->ios[GW_TARGET] == 3 + 1, "data, zeroes, data, and the flush");
	cr_expect(digests[12] == gw_digest_of_zeroes(GRAIN));
}

Test(engine, known_zeroes_are_skipped_the_first_time_only)
{
	const struct gw_engine_stats *stats;

	config.target_is_zero = true;
	zero(source, 10, 1);
	zero(source, 20, 30);
	mark(&pending, 0, 256);
	stats = copy_all();
	cr_expect(is_same(0, 256));
	cr_expect(stats->zero_skipped_bytes == 31 * GRAIN);
	cr_expect(stats->written_bytes == 225 * GRAIN);
	cr_expect(stats->zeroed_bytes == 0);
	cr_expect(stats->settled_bytes == 256 * GRAIN);
	zero(source, 60, 100);
	mark(&pending, 0, 256);
	stats = copy_all();
	cr_expect(is_same(0, 256));
	cr_expect(stats->zero_skipped_bytes == 31 * GRAIN);
	cr_expect(stats->zeroed_bytes == 130 * GRAIN);
}

Test(engine, a_run_falls_into_few_writes)
{
	config.target_is_zero = true;
	for (uint64_t grain = 0; grain < 256; grain += 2)
		zero(source, grain, 1);
	zero(source, 100, 50);
	mark(&pending, 0, 256);
	cr_expect(copy_all()->zero_skipped_bytes == 51 * GRAIN, "only the long gap");
	cr_expect(is_same(0, 256));
	cr_expect(gw_dev_stats(dev)->ios[GW_TARGET] <= 16 + 1);
}

Test(engine, without_write_zeroes_they_are_written)
{
	const struct gw_model_fault fault = { GW_MODEL_ERROR, GW_MODEL_EVER_AFTER,
		GW_MODEL_OP(GW_IO_ZERO), GW_MODEL_ANY, 1, -EOPNOTSUPP };
	const struct gw_engine_stats *stats;

	memset(target, 0xee, SIZE_BYTES);
	zero(source, 0, 1000);
	mark(&pending, 0, SIZE_GRAINS);
	gw_dev_model_inject(model, &fault);
	stats = copy_all();
	cr_expect(memcmp(source, target, SIZE_BYTES) == 0);
	cr_expect(stats->zeroed_bytes == 0);
	cr_expect(stats->written_bytes == SIZE_BYTES);
	cr_expect(gw_dev_model_strikes(model) <= BUFFERS, "it is remembered");
}

Test(engine, comparing_writes_only_what_differs)
{
	const struct gw_engine_stats *stats;

	config.compare = true;
	memcpy(target, source, SIZE_BYTES);
	target[20 * GRAIN + 17] ^= 1;
	target[21 * GRAIN] ^= 1;
	target[SIZE_BYTES - 1] ^= 1;
	target[SIZE_BYTES] = 0x77;	/* behind the source's end: not looked at */
	mark(&pending, 0, SIZE_GRAINS);
	stats = copy_all();
	cr_expect(memcmp(source, target, SIZE_BYTES) == 0);
	cr_expect(target[SIZE_BYTES] == 0x77);
	cr_expect(stats->written_bytes == 2 * GRAIN + 512);
	cr_expect(stats->same_skipped_bytes == SIZE_BYTES - stats->written_bytes);
	cr_expect(stats->settled_bytes == SIZE_BYTES);
	cr_expect(gw_engine_verify(engine) == 0);
}

Test(engine, verify_finds_each_byte_that_differs)
{
	static const uint64_t places[] = { 0, 4095, 4096, 300 * GRAIN + 5, SIZE_BYTES - 1 };
	char want[64];

	mark(&pending, 0, SIZE_GRAINS);
	copy_all();
	cr_expect(gw_engine_verify(engine) == 0);
	cr_expect(gw_engine_stats(engine)->verified_bytes == SIZE_BYTES);
	cr_expect(gw_bitmap_is_empty(&unverified));
	for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
		mark(&unverified, 0, SIZE_GRAINS);
		target[places[i]] ^= 0x10;
		gw_diag_clear(&diag);
		cr_expect(gw_engine_verify(engine) == -EILSEQ);
		snprintf(want, sizeof(want), "grain %llu,", (unsigned long long)places[i] / GRAIN);
		cr_expect(strstr(diag.text, want) != NULL, "%s: %s", want, diag.text);
		snprintf(want, sizeof(want), "LBA %llu ",
			 (unsigned long long)places[i] / GRAIN * 8);
		cr_expect(strstr(diag.text, want) != NULL, "%s: %s", want, diag.text);
		cr_expect(diag.exit_code == GW_EXIT_IO);
		cr_expect(gw_bitmap_test(&unverified, places[i] / GRAIN));
		target[places[i]] ^= 0x10;
	}
}

Test(engine, one_that_only_verifies_needs_no_marks)
{
	config.pending = config.copying = NULL;
	for (uint64_t grain = 0; grain < 8; grain++)
		digests[grain] = gw_digest_of_zeroes(GRAIN);
	mark(&unverified, 0, 8);
	cr_assert(gw_engine_create(&engine, &config) == 0);
	cr_expect(gw_engine_copy(engine) == -EINVAL);
	cr_expect(gw_engine_verify(engine) == 0);
	cr_expect(gw_engine_stats(engine)->verified_bytes == 8 * GRAIN);
}

Test(engine, what_is_copied_again_is_verified_again)
{
	mark(&pending, 0, 8);
	copy_all();
	cr_expect(gw_engine_verify(engine) == 0);
	mark(&pending, 3, 1);
	copy_all();
	cr_expect(gw_bitmap_count(&unverified) == 1);
	cr_expect(gw_bitmap_test(&unverified, 3));
}

Test(engine, what_failed_to_be_copied_again_is_not_verified)
{
	const struct gw_model_fault fault = { GW_MODEL_ERROR, GW_MODEL_EVER_AFTER,
		GW_MODEL_OP(GW_IO_WRITE), GW_MODEL_ANY, 1, -ENOSPC };

	mark(&pending, 0, 8);
	copy_all();
	source[3 * GRAIN] ^= 1;
	mark(&pending, 3, 1);
	gw_dev_model_inject(model, &fault);
	cr_expect(gw_engine_copy(engine) == -ENOSPC);
	cr_expect(gw_engine_verify(engine) == 0);
	cr_expect(gw_engine_stats(engine)->verified_bytes == 7 * GRAIN);
}

Test(engine, a_bad_sector_is_named)
{
	const struct gw_model_fault fault = { GW_MODEL_ERROR, GW_MODEL_SAME_PLACE,
		GW_MODEL_OP(GW_IO_READ), GW_MODEL_END(GW_SOURCE), 1, -EIO };

	mark(&pending, 7, 2);
	gw_dev_model_inject(model, &fault);
	cr_assert(gw_engine_create(&engine, &config) == 0);
	cr_expect(gw_engine_copy(engine) == -EIO);
	cr_expect(strstr(diag.text, "source: cannot read LBA 56 to 71 (512-byte sectors)") != NULL,
		  "%s", diag.text);
	cr_expect(gw_dev_model_strikes(model) == 3, "it was tried three times");
	cr_expect(gw_bitmap_count(&pending) == 2);
	cr_expect(gw_bitmap_is_empty(&copying));
}

static uint64_t last_tick_ns, longest_ns, ticks;

static int watch_ticks(void *arg)
{
	const uint64_t now_ns = gw_now_ns(arg);

	if (last_tick_ns != 0 && longest_ns < now_ns - last_tick_ns)
		longest_ns = now_ns - last_tick_ns;
	last_tick_ns = now_ns;
	ticks++;
	return 0;
}

Test(engine, paced_copies_take_their_time_and_tick_meanwhile)
{
	const struct gw_clock *const clock = gw_dev_model_clock(model);
	const uint64_t start_ns = gw_now_ns(clock);
	uint64_t ns;

	gw_pacer_set(&pacer, 1 << 20, start_ns);
	config.tick = watch_ticks;
	config.arg = (void *)(uintptr_t)clock;
	mark(&pending, 0, SIZE_GRAINS);
	copy_all();
	ns = gw_now_ns(clock) - start_ns;
	cr_expect(ns > 39 * GW_NS_PER_S / 10);
	/* Runs of 4 KiB in few slots: the model's latency, not the limit, is what they wait for. */
	cr_expect(ns < 12 * GW_NS_PER_S, "%llu", (unsigned long long)ns);
	cr_expect(ticks > 150);
	cr_expect(longest_ns < 41 * GW_NS_PER_MS, "%llu", (unsigned long long)longest_ns);
	cr_expect(gw_engine_stats(engine)->batches >= 3, "a batch a second");
	cr_expect(memcmp(source, target, SIZE_BYTES) == 0);
}

static uint64_t held_ticks, read_while_held;

/* Held in the middle of the copy, for a while. */
static int hold_for_a_while(void *arg)
{
	(void)arg;
	if (!pacer.is_held && held_ticks == 0 && gw_engine_stats(engine)->runs >= 2) {
		pacer.is_held = true;
		return 0;
	}
	if (!pacer.is_held)
		return 0;
	/* What was in flight has ended by the tenth; from then on nothing happens. */
	if (++held_ticks == 10)
		read_while_held = gw_engine_stats(engine)->read_bytes;
	if (held_ticks < 100)
		return 0;
	cr_expect(gw_engine_stats(engine)->read_bytes == read_while_held);
	cr_expect(gw_engine_stats(engine)->in_flight_bytes == 0);
	cr_expect(gw_bitmap_is_empty(&copying), "what was copied is settled all the same");
	pacer.is_held = false;
	return 0;
}

Test(engine, held_by_its_pacer_it_settles_and_waits)
{
	gw_pacer_set(&pacer, 1 << 20, gw_now_ns(gw_dev_model_clock(model)));
	config.tick = hold_for_a_while;
	mark(&pending, 0, SIZE_GRAINS);
	copy_all();
	cr_expect(held_ticks == 100);
	cr_expect(read_while_held < SIZE_BYTES);
	cr_expect(memcmp(source, target, SIZE_BYTES) == 0);
}

Test(engine, a_flush_alone)
{
	const struct gw_model_fault fault = { GW_MODEL_ERROR, GW_MODEL_ONCE,
		GW_MODEL_OP(GW_IO_FLUSH), GW_MODEL_ANY, 1, -EIO };

	cr_assert(gw_engine_create(&engine, &config) == 0);
	cr_expect(gw_engine_flush(engine) == 0);
	cr_expect(gw_engine_stats(engine)->flushes == 1);
	cr_expect(gw_engine_stats(engine)->flush_ns_last > 0);
	gw_dev_model_inject(model, &fault);
	cr_expect(gw_engine_flush(engine) == -EIO);
	cr_expect(strstr(diag.text, "flush") != NULL);
	cr_expect(gw_engine_stats(engine)->flush_failures == 1);
}

Test(engine, leftovers_of_a_dead_process_are_not_overlooked, .signal = SIGABRT)
{
	mark(&copying, 1, 1);
	gw_engine_create(&engine, &config);
}

/* What is vacant is not read, is zero on the target, and its marks count. */
Test(engine, vacant_grains_are_zeroes_and_keep_their_marks)
{
	const struct gw_engine_stats *stats;
	struct gw_bitmap vacant;

	cr_assert(gw_bitmap_create(&vacant, SIZE_GRAINS) == 0);
	config.vacant = &vacant;
	memset(target, 0xee, SIZE_BYTES);
	mark(&pending, 0, SIZE_GRAINS);
	mark(&vacant, 5, 1);
	mark(&vacant, 100, 600);
	mark(&live, 4, 2);
	mark(&live, 300, 1);
	stats = copy_all();
	cr_expect(stats->vacant_bytes == 601 * GRAIN);
	cr_expect(stats->read_bytes == SIZE_BYTES - 601 * GRAIN);
	cr_expect(is_same(0, 5));
	cr_expect(is_same(6, 94));
	cr_expect(is_same(700, SIZE_GRAINS - 701));
	for (uint64_t i = 0; i < 600 * GRAIN; i++)
		cr_assert(target[100 * GRAIN + i] == 0);
	cr_expect(target[5 * GRAIN] == 0);
	cr_expect(digests[300] == gw_digest_of_zeroes(GRAIN));
	cr_expect(gw_bitmap_count(&unverified) == SIZE_GRAINS);
	cr_expect_not(gw_bitmap_test(&live, 4), "read after its mark");
	cr_expect(gw_bitmap_test(&live, 5));
	cr_expect(gw_bitmap_test(&live, 300));
	/* A later round reads them like all others. */
	mark(&pending, 5, 1);
	mark(&pending, 300, 1);
	copy_all();
	cr_expect(is_same(5, 1));
	cr_expect(is_same(300, 1));
	gw_bitmap_destroy(&vacant);
}

Test(engine, vacant_grains_are_compared_where_all_is)
{
	struct gw_bitmap vacant;

	cr_assert(gw_bitmap_create(&vacant, SIZE_GRAINS) == 0);
	config.vacant = &vacant;
	config.compare = true;
	memset(target, 0xee, SIZE_BYTES);
	zero(target, 10, 20);
	mark(&pending, 10, 40);
	mark(&vacant, 10, 40);
	copy_all();
	cr_expect(gw_engine_stats(engine)->same_skipped_bytes == 20 * GRAIN);
	for (uint64_t i = 0; i < 40 * GRAIN; i++)
		cr_assert(target[10 * GRAIN + i] == 0);
	gw_bitmap_destroy(&vacant);
}

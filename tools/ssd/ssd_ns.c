// SPDX-License-Identifier: GPL-2.0-or-later
#include "ssd_ns.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define SECTOR_BYTES 512u
#define PAGE_SECTORS (GW_CACHE_PAGE_BYTES / SECTOR_BYTES)
#define ALL_SECTORS ((1u << PAGE_SECTORS) - 1)
#define MAP_UNIT_BYTES UINT64_C(65536)	/* whole pages of every machine */
#define EVICT_PAGES 16u			/* that are written when the cache is full */
#define RUN_PAGES_MAX 64u		/* in one write */
/* Longer writes go past the cache: it may always be written earlier than it must. */
#define THROUGH_BYTES (128u << 10)

/* ---- Bits ------------------------------------------------------------------------------------ */

/*
 * A page of the map file that finds no space when it is touched is a SIGBUS: so space is taken
 * beforehand, a unit at a time, and what has none is all zeroes and never looked at.
 */
static uint64_t unit_of(const struct gw_ns *ns, const uint64_t *map, uint64_t bit)
{
	return ((uint64_t)(map - ns->written) * sizeof(*map) + bit / 8) / MAP_UNIT_BYTES;
}

static bool is_backed(const struct gw_ns *ns, const uint64_t *map, uint64_t bit)
{
	const uint64_t unit = unit_of(ns, map, bit);

	return (ns->backed[unit / 64] >> unit % 64 & 1) != 0;
}

/* The first bit after it that may be in another unit. */
static uint64_t end_of_unit(const struct gw_ns *ns, const uint64_t *map, uint64_t bit)
{
	const uint64_t start = (uint64_t)(map - ns->written) * sizeof(*map);

	return ((start + bit / 8) / MAP_UNIT_BYTES * MAP_UNIT_BYTES + MAP_UNIT_BYTES - start) * 8;
}

static int back_unit(struct gw_ns *ns, uint64_t unit)
{
	const uint64_t offset = unit * MAP_UNIT_BYTES, rest = ns->map_bytes - offset;
	int got;

	do {
		got = fallocate(ns->map_fd, FALLOC_FL_KEEP_SIZE, (off_t)offset,
				(off_t)(rest < MAP_UNIT_BYTES ? rest : MAP_UNIT_BYTES));
	} while (got < 0 && errno == EINTR);
	if (got < 0 && errno != EOPNOTSUPP)
		return -errno;
	ns->backed[unit / 64] |= UINT64_C(1) << unit % 64;
	return 0;
}

/* Space for these bits, of which there is at least one. Return: 0 or negative errno. */
static int back(struct gw_ns *ns, const uint64_t *map, uint64_t first, uint64_t count)
{
	for (uint64_t bit = first; bit < first + count; bit = end_of_unit(ns, map, bit)) {
		const int err = is_backed(ns, map, bit) ? 0 : back_unit(ns, unit_of(ns, map, bit));

		if (err < 0)
			return err;
	}
	return 0;
}

/* Bits to be set are backed. Return: how many have changed. */
static uint64_t change_bits(struct gw_ns *ns, uint64_t *map, uint64_t first, uint64_t count, bool value)
{
	uint64_t changed = 0;

	while (count > 0) {
		const uint64_t shift = first % 64;
		const uint64_t here = count < 64 - shift ? count : 64 - shift;
		const uint64_t mask = (here == 64 ? UINT64_MAX : (UINT64_C(1) << here) - 1) << shift;

		if (is_backed(ns, map, first)) {
			const uint64_t wrong = (value ? ~map[first / 64] : map[first / 64]) & mask;

			/* Reading first keeps clean pages clean. */
			if (wrong != 0)
				map[first / 64] ^= wrong;
			changed += (uint64_t)__builtin_popcountll(wrong);
		} else {
			assert(!value);
		}
		first += here;
		count -= here;
	}
	return changed;
}

/* The first bit of that value in [from, end), or end. */
static uint64_t find_bit(const struct gw_ns *ns, const uint64_t *map, uint64_t from, uint64_t end,
			 bool value)
{
	while (from < end) {
		uint64_t word;

		if (!is_backed(ns, map, from)) {
			if (!value)
				return from;
			from = end_of_unit(ns, map, from);
			continue;
		}
		word = (value ? map[from / 64] : ~map[from / 64]) >> from % 64;
		if (word != 0) {
			from += (uint64_t)__builtin_ctzll(word);
			return from < end ? from : end;
		}
		from = (from | 63) + 1;
	}
	return end;
}

bool gw_ns_next_run(const struct gw_ns *ns, const uint64_t *map, uint64_t from, uint64_t end,
		    uint64_t *first, uint64_t *run_end)
{
	assert(end <= ns->blocks);
	from = find_bit(ns, map, from, end, true);
	if (from >= end)
		return false;
	*first = from;
	*run_end = find_bit(ns, map, from, end, false);
	return true;
}

/* The set bits of half the file, which is map; holes are skipped, not read. */
static int count_bits(struct gw_ns *ns, const uint64_t *map, uint64_t *count)
{
	uint64_t from = (uint64_t)(map - ns->written) * sizeof(*map);
	const uint64_t end = from + ns->map_bytes / 2;

	*count = 0;
	while (from < end) {
		const off_t data = lseek(ns->map_fd, (off_t)from, SEEK_DATA);
		off_t hole = data < 0 ? -1 : lseek(ns->map_fd, data, SEEK_HOLE);

		if (data < 0 || (uint64_t)data >= end)
			break;
		if ((uint64_t)hole > end)
			hole = (off_t)end;
		for (uint64_t unit = (uint64_t)data / MAP_UNIT_BYTES; unit * MAP_UNIT_BYTES < (uint64_t)hole;
		     unit++) {
			const int err = back_unit(ns, unit);

			if (err < 0)
				return err;
		}
		for (uint64_t i = (uint64_t)data / 8; i < (uint64_t)hole / 8; i++)
			*count += (uint64_t)__builtin_popcountll(ns->written[i]);
		from = (uint64_t)hole;
	}
	return 0;
}

static void set_written(struct gw_ns *ns, uint64_t slba, uint64_t count, bool is_written)
{
	const uint64_t changed = change_bits(ns, ns->written, slba, count, is_written);

	ns->written_count = is_written ? ns->written_count + changed : ns->written_count - changed;
}

static void set_bad(struct gw_ns *ns, uint64_t slba, uint64_t count, bool is_bad)
{
	const uint64_t changed = change_bits(ns, ns->bad, slba, count, is_bad);

	ns->bad_count = is_bad ? ns->bad_count + changed : ns->bad_count - changed;
}

static void note(const struct gw_ns *ns, uint64_t slba, uint64_t count, enum gw_change_kind kind,
		 bool is_failed)
{
	gw_record_add(ns->record, (struct gw_change){
		.nsid = ns->nsid,
		.slba = slba,
		.count = count,
		.cntlid = ns->writer,
		.kind = (uint8_t)kind,
		.is_failed = is_failed,
	});
}

/* ---- The file -------------------------------------------------------------------------------- */

static int transfer_one(int fd, void *memory, size_t bytes, uint64_t offset, bool is_write)
{
	const struct iovec iov = { memory, bytes };

	return gw_file_transfer(fd, &iov, 1, offset, is_write);
}

/* A hole if the file system can, else written zeroes. */
static int zero_file(int fd, uint64_t offset, uint64_t bytes)
{
	static const uint8_t zeroes[64 << 10];

	if (fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)offset,
		      (off_t)bytes) == 0)
		return 0;
	if (errno != EOPNOTSUPP)
		return -errno;
	while (bytes > 0) {
		const size_t piece = bytes < sizeof(zeroes) ? (size_t)bytes : sizeof(zeroes);
		const int err = transfer_one(fd, (void *)(uintptr_t)zeroes, piece, offset, true);

		if (err < 0)
			return err;
		offset += piece;
		bytes -= piece;
	}
	return 0;
}

/* ---- The cache -------------------------------------------------------------------------------- */

static int open_cache(struct gw_cache *cache, uint64_t bytes)
{
	memset(cache, 0, sizeof(*cache));
	if (bytes / GW_CACHE_PAGE_BYTES == 0)
		return 0;
	if (bytes > UINT64_C(1) << 30)
		return -EINVAL;
	cache->slots = (uint32_t)(bytes / GW_CACHE_PAGE_BYTES);
	cache->buckets = cache->slots;
	cache->page = calloc(cache->slots, sizeof(*cache->page));
	cache->bucket = calloc(cache->buckets, sizeof(*cache->bucket));
	cache->data = malloc((size_t)cache->slots * GW_CACHE_PAGE_BYTES);
	return cache->page == NULL || cache->bucket == NULL || cache->data == NULL ? -ENOMEM : 0;
}

static void close_cache(struct gw_cache *cache)
{
	free(cache->page);
	free(cache->bucket);
	free(cache->data);
	memset(cache, 0, sizeof(*cache));
}

static uint32_t *bucket_of(const struct gw_cache *cache, uint64_t page)
{
	return &cache->bucket[page * UINT64_C(0x9e3779b97f4a7c15) % cache->buckets];
}

/* Slot numbers count from 1; 0: not cached. */
static uint32_t lookup(const struct gw_cache *cache, uint64_t page)
{
	uint32_t slot = cache->used == 0 ? 0 : *bucket_of(cache, page);

	while (slot != 0 && cache->page[slot - 1].page != page)
		slot = cache->page[slot - 1].next;
	return slot;
}

static uint8_t *data_of(const struct gw_cache *cache, uint32_t slot)
{
	return cache->data + (size_t)(slot - 1) * GW_CACHE_PAGE_BYTES;
}

/* The i-th oldest; i < used. */
static uint32_t slot_at(const struct gw_cache *cache, uint32_t i)
{
	return (cache->oldest + i) % cache->slots + 1;
}

static void forget_all(struct gw_cache *cache)
{
	if (cache->used > 0)
		memset(cache->bucket, 0, cache->buckets * sizeof(*cache->bucket));
	cache->used = 0;
}

static void forget_oldest(struct gw_cache *cache)
{
	const uint32_t slot = slot_at(cache, 0);
	uint32_t *link = bucket_of(cache, cache->page[slot - 1].page);

	while (*link != slot)
		link = &cache->page[*link - 1].next;
	*link = cache->page[slot - 1].next;
	cache->oldest = (cache->oldest + 1) % cache->slots;
	cache->used--;
}

static int write_sectors(struct gw_ns *ns, uint32_t slot, uint8_t sectors)
{
	const uint64_t offset = ns->cache.page[slot - 1].page * GW_CACHE_PAGE_BYTES;
	uint8_t *data = data_of(&ns->cache, slot);

	for (unsigned int i = 0; i < PAGE_SECTORS;) {
		unsigned int end = i;
		int err;

		while (end < PAGE_SECTORS && (sectors >> end & 1) != 0)
			end++;
		if (end == i) {
			i++;
			continue;
		}
		err = transfer_one(ns->fd, data + i * SECTOR_BYTES, (end - i) * SECTOR_BYTES,
				   offset + i * SECTOR_BYTES, true);
		if (err < 0)
			return err;
		i = end;
	}
	return 0;
}

/* Whole pages from the i-th oldest on that follow each other in the file, too: written in one go. */
static uint32_t gather(const struct gw_cache *cache, uint32_t i, uint32_t end, struct iovec *iov)
{
	const uint64_t first = cache->page[slot_at(cache, i) - 1].page;
	uint32_t count = 0;

	while (i + count < end && count < RUN_PAGES_MAX) {
		const uint32_t slot = slot_at(cache, i + count);
		const struct gw_cache_page *page = &cache->page[slot - 1];

		if (page->sectors != ALL_SECTORS || page->page != first + count)
			break;
		iov[count++] = (struct iovec){ data_of(cache, slot), GW_CACHE_PAGE_BYTES };
	}
	return count;
}

/* The oldest of them to the file; they stay cached. */
static int write_oldest(struct gw_ns *ns, uint32_t pages)
{
	const struct gw_cache *cache = &ns->cache;

	for (uint32_t i = 0; i < pages;) {
		struct iovec iov[RUN_PAGES_MAX];
		const uint32_t slot = slot_at(cache, i), whole = gather(cache, i, pages, iov);
		const struct gw_cache_page *page = &cache->page[slot - 1];
		const int err = whole > 0 ? gw_file_transfer(ns->fd, iov, (int)whole,
						     page->page * GW_CACHE_PAGE_BYTES, true) :
					    write_sectors(ns, slot, page->sectors);

		if (err < 0)
			return err;
		i += whole > 0 ? whole : 1;
	}
	return 0;
}

/* If it fails nothing is forgotten: the next flush writes it all again. */
int gw_ns_flush(struct gw_ns *ns)
{
	const int err = write_oldest(ns, ns->cache.used);

	if (err == 0)
		forget_all(&ns->cache);
	return err;
}

/* A few at a time: emptying all of it would hold up the commands behind this one. */
static int make_room(struct gw_ns *ns)
{
	const uint32_t pages = ns->cache.used < EVICT_PAGES ? ns->cache.used : EVICT_PAGES;
	const int err = write_oldest(ns, pages);

	for (uint32_t i = 0; err == 0 && i < pages; i++)
		forget_oldest(&ns->cache);
	return err;
}

static uint64_t next_random(uint64_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 7;
	*state ^= *state << 17;
	return *state;
}

/* Sectors of a page, as the blocks they are in. */
static void note_lost(struct gw_ns *ns, uint64_t page, uint8_t sectors)
{
	const unsigned int step = 1u << (ns->lbads - GW_NS_LBADS_MIN);

	for (unsigned int i = 0; i < PAGE_SECTORS; i += step) {
		if ((sectors >> i & 1) != 0)
			note(ns, (page * PAGE_SECTORS + i) / step, 1, GW_CHANGE_LOST, false);
	}
}

uint64_t gw_ns_power_cut(struct gw_ns *ns, uint64_t torn_seed)
{
	struct gw_cache *cache = &ns->cache;
	uint64_t lost = 0;

	for (uint32_t i = 0; i < cache->used; i++) {
		const uint32_t slot = slot_at(cache, i);
		const uint8_t sectors = cache->page[slot - 1].sectors;
		/* Blocks of 4096 bytes are never torn: all eight sectors share a fate. */
		uint8_t kept = torn_seed == 0 ? 0 : (uint8_t)(next_random(&torn_seed) >> 32);

		if (ns->lbads == GW_NS_LBADS_MAX)
			kept = (kept & 1) != 0 ? 0xff : 0;
		if (write_sectors(ns, slot, sectors & kept) < 0)
			kept = 0;
		note_lost(ns, cache->page[slot - 1].page, sectors & (uint8_t)~kept);
		lost += (uint64_t)__builtin_popcount(sectors & ~kept & 0xff);
	}
	forget_all(cache);
	return lost;
}

/* The bits of the sectors [first, first + count) that lie in this page. */
static uint8_t sectors_in_page(uint64_t page, uint64_t first, uint64_t count)
{
	uint8_t sectors = 0;

	for (unsigned int i = 0; i < PAGE_SECTORS; i++) {
		if (page * PAGE_SECTORS + i - first < count)
			sectors |= (uint8_t)(1u << i);
	}
	return sectors;
}

/* What is cached of these sectors is not newer than the file any more. */
static void drop(struct gw_ns *ns, uint64_t first, uint64_t count)
{
	const struct gw_cache *cache = &ns->cache;
	const uint64_t first_page = first / PAGE_SECTORS;
	const uint64_t end_page = (first + count + PAGE_SECTORS - 1) / PAGE_SECTORS;

	if (end_page - first_page > cache->used) {
		for (uint32_t i = 0; i < cache->used; i++) {
			struct gw_cache_page *page = &cache->page[slot_at(cache, i) - 1];

			page->sectors &= (uint8_t)~sectors_in_page(page->page, first, count);
		}
		return;
	}
	for (uint64_t page = first_page; page < end_page; page++) {
		const uint32_t slot = lookup(cache, page);

		if (slot != 0)
			cache->page[slot - 1].sectors &= (uint8_t)~sectors_in_page(page, first, count);
	}
}

/* Copies between a buffer and bytes [skip, skip + bytes) of the iov. */
static void copy_iov(const struct iovec *iov, int iovs, uint64_t skip, uint8_t *buffer, size_t bytes,
		     bool is_to_iov)
{
	for (int i = 0; i < iovs && bytes > 0; i++) {
		size_t piece;

		if (skip >= iov[i].iov_len) {
			skip -= iov[i].iov_len;
			continue;
		}
		piece = iov[i].iov_len - skip < bytes ? iov[i].iov_len - skip : bytes;
		if (is_to_iov)
			memcpy((uint8_t *)iov[i].iov_base + skip, buffer, piece);
		else
			memcpy(buffer, (uint8_t *)iov[i].iov_base + skip, piece);
		skip = 0;
		buffer += piece;
		bytes -= piece;
	}
	assert(bytes == 0);
}

/* What the file gave is replaced where the cache has newer. */
static void overlay(struct gw_ns *ns, uint64_t first, uint64_t count, const struct iovec *iov,
		    int iovs)
{
	const struct gw_cache *cache = &ns->cache;

	if (cache->used == 0)
		return;
	for (uint64_t page = first / PAGE_SECTORS; page * PAGE_SECTORS < first + count; page++) {
		const uint32_t slot = lookup(cache, page);
		uint8_t newer = 0;

		if (slot != 0)
			newer = cache->page[slot - 1].sectors & sectors_in_page(page, first, count);
		while (newer != 0) {
			const unsigned int at = (unsigned int)__builtin_ctz(newer);
			const unsigned int run = (unsigned int)__builtin_ctz(~((unsigned int)newer >> at));

			copy_iov(iov, iovs, (page * PAGE_SECTORS + at - first) * SECTOR_BYTES,
				 data_of(cache, slot) + at * SECTOR_BYTES, run * SECTOR_BYTES, true);
			newer &= (uint8_t)(ALL_SECTORS << (at + run));
		}
	}
}

static uint32_t take_slot(struct gw_cache *cache, uint64_t page)
{
	uint32_t *bucket = bucket_of(cache, page);
	uint32_t slot;

	assert(cache->used < cache->slots);
	slot = slot_at(cache, cache->used++);
	cache->page[slot - 1] = (struct gw_cache_page){ .page = page, .next = *bucket };
	*bucket = slot;
	return slot;
}

static int write_cached(struct gw_ns *ns, uint64_t first, uint64_t count, const struct iovec *iov,
			int iovs)
{
	struct gw_cache *cache = &ns->cache;

	for (uint64_t done = 0; done < count;) {
		const uint64_t page = (first + done) / PAGE_SECTORS;
		const uint64_t offset = (first + done) % PAGE_SECTORS;
		const uint64_t room = PAGE_SECTORS - offset;
		const uint64_t here = count - done < room ? count - done : room;
		uint32_t slot = lookup(cache, page);
		int err = 0;

		if (slot == 0 && cache->used == cache->slots)
			err = make_room(ns);
		if (err < 0)
			return err;
		if (slot == 0)
			slot = take_slot(cache, page);
		copy_iov(iov, iovs, done * SECTOR_BYTES, data_of(cache, slot) + offset * SECTOR_BYTES,
			 (size_t)here * SECTOR_BYTES, false);
		cache->page[slot - 1].sectors |= sectors_in_page(page, first + done, here);
		done += here;
	}
	return 0;
}

/* ---- Blocks ------------------------------------------------------------------------------------ */

static uint64_t sectors_of(const struct gw_ns *ns, uint64_t blocks)
{
	return blocks << (ns->lbads - GW_NS_LBADS_MIN);
}

static void check_range(const struct gw_ns *ns, uint64_t slba, uint64_t count)
{
	assert(slba <= ns->blocks);
	assert(count <= ns->blocks - slba);
}

void gw_ns_read_all(struct gw_ns *ns, struct gw_reads *reads, struct gw_ns_read *read, uint32_t count)
{
	struct gw_read file[GW_READS_MAX];

	assert(count <= GW_READS_MAX);
	for (uint32_t i = 0; i < count; i++) {
		check_range(ns, read[i].slba, read[i].count);
		file[i] = (struct gw_read){ read[i].iov, read[i].iovs, read[i].slba << ns->lbads, 0 };
	}
	gw_reads_do(reads, ns->fd, file, count);
	for (uint32_t i = 0; i < count; i++) {
		read[i].err = file[i].err;
		if (read[i].err == 0)
			overlay(ns, sectors_of(ns, read[i].slba), sectors_of(ns, read[i].count),
				read[i].iov, read[i].iovs);
	}
}

int gw_ns_read(struct gw_ns *ns, uint64_t slba, uint64_t count, const struct iovec *iov, int iovs)
{
	struct gw_reads none = { .is_refused = true };
	struct gw_ns_read read = { slba, count, iov, iovs, 0 };

	gw_ns_read_all(ns, &none, &read, 1);
	return read.err;
}

/* The cached pages that it takes at most: it may begin and end in the midst of one. */
static uint64_t pages_of(const struct gw_ns *ns, uint64_t count)
{
	return (count << ns->lbads) / GW_CACHE_PAGE_BYTES + 2;
}

static bool is_cacheable(const struct gw_ns *ns, uint64_t slba, uint64_t count)
{
	return count << ns->lbads < THROUGH_BYTES && pages_of(ns, count) <= ns->cache.slots &&
	       !gw_ns_any_bad(ns, slba, count);
}

bool gw_ns_has_room(const struct gw_ns *ns, uint64_t slba, uint64_t count)
{
	check_range(ns, slba, count);
	return is_cacheable(ns, slba, count) && pages_of(ns, count) <= ns->cache.slots - ns->cache.used &&
	       is_backed(ns, ns->written, slba) && is_backed(ns, ns->written, slba + count - 1);
}

bool gw_ns_read_now(struct gw_ns *ns, const struct gw_ns_read *read)
{
	ssize_t got;

	check_range(ns, read->slba, read->count);
	if (ns->is_patient)
		return false;
	got = preadv2(ns->fd, read->iov, read->iovs, (off_t)(read->slba << ns->lbads), RWF_NOWAIT);
	if (got < 0 && errno == EOPNOTSUPP)
		ns->is_patient = true;
	if (got < 0 || (uint64_t)got != read->count << ns->lbads)
		return false;
	overlay(ns, sectors_of(ns, read->slba), sectors_of(ns, read->count), read->iov, read->iovs);
	return true;
}

int gw_ns_write(struct gw_ns *ns, uint64_t slba, uint64_t count, const struct iovec *iov, int iovs,
		bool is_through)
{
	int err;

	check_range(ns, slba, count);
	err = back(ns, ns->written, slba, count);
	if (err < 0)
		return err;
	/* Before the data: a block may be written and hold zeroes, but not the other way round. */
	set_written(ns, slba, count, true);
	if (is_through || !is_cacheable(ns, slba, count)) {
		err = gw_file_transfer(ns->fd, iov, iovs, slba << ns->lbads, true);
		if (err == 0)
			drop(ns, sectors_of(ns, slba), sectors_of(ns, count));
	} else {
		err = write_cached(ns, sectors_of(ns, slba), sectors_of(ns, count), iov, iovs);
	}
	if (err == 0)
		set_bad(ns, slba, count, false);
	note(ns, slba, count, GW_CHANGE_WRITTEN, err < 0);
	return err;
}

int gw_ns_zero(struct gw_ns *ns, uint64_t slba, uint64_t count, bool is_deallocate)
{
	int err;

	check_range(ns, slba, count);
	if (count == 0)
		return 0;
	err = is_deallocate ? 0 : back(ns, ns->written, slba, count);
	if (err < 0)
		return err;
	if (!is_deallocate)
		set_written(ns, slba, count, true);
	err = zero_file(ns->fd, slba << ns->lbads, count << ns->lbads);
	note(ns, slba, count, is_deallocate ? GW_CHANGE_DEALLOCATED : GW_CHANGE_ZEROED, err < 0);
	if (err < 0)
		return err;
	drop(ns, sectors_of(ns, slba), sectors_of(ns, count));
	set_bad(ns, slba, count, false);
	if (is_deallocate)
		set_written(ns, slba, count, false);
	return 0;
}

int gw_ns_make_bad(struct gw_ns *ns, uint64_t slba, uint64_t count)
{
	int err;

	check_range(ns, slba, count);
	err = back(ns, ns->written, slba, count);
	if (err == 0)
		err = back(ns, ns->bad, slba, count);
	if (err < 0)
		return err;
	set_written(ns, slba, count, true);
	set_bad(ns, slba, count, true);
	note(ns, slba, count, GW_CHANGE_UNCORRECTABLE, false);
	return 0;
}

bool gw_ns_any_bad(const struct gw_ns *ns, uint64_t slba, uint64_t count)
{
	check_range(ns, slba, count);
	return ns->bad_count > 0 && find_bit(ns, ns->bad, slba, slba + count, true) < slba + count;
}

int gw_ns_format(struct gw_ns *ns, uint8_t lbads)
{
	int err;

	assert(lbads >= GW_NS_LBADS_MIN);
	assert(lbads <= GW_NS_LBADS_MAX);
	forget_all(&ns->cache);
	err = zero_file(ns->fd, 0, ns->bytes);
	note(ns, 0, ns->blocks, GW_CHANGE_FORMATTED, err < 0);
	if (err < 0)
		return err;
	err = zero_file(ns->map_fd, 0, ns->map_bytes);
	if (err < 0)
		return err;
	memset(ns->backed, 0, (ns->map_bytes / MAP_UNIT_BYTES / 64 + 1) * sizeof(*ns->backed));
	ns->written_count = 0;
	ns->bad_count = 0;
	ns->lbads = lbads;
	ns->blocks = ns->bytes >> lbads;
	return 0;
}

/* ---- Open and close ---------------------------------------------------------------------------- */

static void name_of(char name[64], uint32_t nsid, const char *kind)
{
	snprintf(name, 64, "ns-%u.%s", nsid, kind);
}

static int open_file(int dir_fd, uint32_t nsid, const char *kind, uint64_t bytes,
		     struct gw_diag *diag)
{
	char name[64];
	struct stat st;
	int fd;

	name_of(name, nsid, kind);
	fd = openat(dir_fd, name, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (fd < 0)
		return gw_fail(diag, -errno, "cannot open %s: %s", name, strerror(errno));
	/* A description that was damaged is no reason to cut off what is there. */
	if (fstat(fd, &st) == 0 && st.st_size > (off_t)bytes) {
		close(fd);
		return gw_fail(diag, -EINVAL, "%s is %lld bytes long, more than the %llu that its namespace "
					      "takes", name, (long long)st.st_size, (unsigned long long)bytes);
	}
	if (ftruncate(fd, (off_t)bytes) < 0) {
		const int err = -errno;

		close(fd);
		return gw_fail(diag, err, "cannot make %s %llu bytes long: %s", name,
			       (unsigned long long)bytes, strerror(-err));
	}
	return fd;
}

/* Both maps have room for blocks of the smallest size: another format needs no other file. */
static int open_maps(struct gw_ns *ns, int dir_fd, struct gw_diag *diag)
{
	const uint64_t words = ((ns->bytes >> GW_NS_LBADS_MIN) + 63) / 64;
	void *at;
	int err;

	ns->map_bytes = 2 * words * sizeof(uint64_t);
	ns->map_fd = open_file(dir_fd, ns->nsid, "map", ns->map_bytes, diag);
	if (ns->map_fd < 0)
		return ns->map_fd;
	at = mmap(NULL, ns->map_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, ns->map_fd, 0);
	if (at == MAP_FAILED)
		return gw_fail(diag, -errno, "cannot map the allocation of namespace %u: %s",
			       ns->nsid, strerror(errno));
	ns->written = at;
	ns->bad = ns->written + words;
	ns->backed = calloc(ns->map_bytes / MAP_UNIT_BYTES / 64 + 1, sizeof(*ns->backed));
	err = ns->backed == NULL ? -ENOMEM : count_bits(ns, ns->written, &ns->written_count);
	if (err == 0)
		err = count_bits(ns, ns->bad, &ns->bad_count);
	return err == 0 ? 0 : gw_fail(diag, err, "the allocation of namespace %u: %s", ns->nsid,
				      strerror(-err));
}

int gw_ns_open(struct gw_ns *ns, int dir_fd, uint32_t nsid, uint64_t bytes, uint8_t lbads,
	       uint64_t cache_bytes, struct gw_diag *diag)
{
	int err;

	memset(ns, 0, sizeof(*ns));
	ns->fd = -1;
	ns->map_fd = -1;
	pthread_mutex_init(&ns->lock, NULL);
	if (bytes >> GW_NS_LBADS_MAX == 0 || bytes % SECTOR_BYTES != 0 || bytes > (uint64_t)INT64_MAX)
		return gw_fail(diag, -EINVAL, "the size of a namespace is a multiple of 512 bytes, and "
					      "4096 or more");
	ns->nsid = nsid;
	ns->bytes = bytes;
	ns->lbads = lbads;
	ns->blocks = bytes >> lbads;
	err = open_cache(&ns->cache, cache_bytes);
	if (err < 0)
		gw_fail(diag, err, "a write cache of %llu bytes: %s",
			(unsigned long long)cache_bytes, strerror(-err));
	if (err == 0)
		ns->fd = err = open_file(dir_fd, nsid, "data", bytes, diag);
	if (err >= 0)
		err = open_maps(ns, dir_fd, diag);
	if (err < 0)
		gw_ns_close(ns);
	return err < 0 ? err : 0;
}

int gw_ns_close(struct gw_ns *ns)
{
	int err = 0;

	if (ns->fd >= 0 && ns->written != NULL)
		err = gw_ns_flush(ns);
	if (ns->written != NULL)
		munmap(ns->written, ns->map_bytes);
	free(ns->backed);
	if (ns->fd >= 0)
		close(ns->fd);
	if (ns->map_fd >= 0)
		close(ns->map_fd);
	close_cache(&ns->cache);
	pthread_mutex_destroy(&ns->lock);
	memset(ns, 0, sizeof(*ns));
	ns->fd = -1;
	ns->map_fd = -1;
	return err;
}

void gw_ns_unlink(int dir_fd, uint32_t nsid)
{
	char name[64];

	name_of(name, nsid, "data");
	unlinkat(dir_fd, name, 0);
	name_of(name, nsid, "map");
	unlinkat(dir_fd, name, 0);
}

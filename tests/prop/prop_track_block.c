// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The source `block` on scratch devices, loop and zram: random operations of every
 * kind that user space can ask for, and after each few of them a take, whose
 * bits must be exactly what was written. Coarse ranges, partitions, another
 * disk's writes, takes that race with writers. Needs root and BPF.
 */
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <liburing.h>
#include <linux/blkpg.h>
#include <linux/fs.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#include <bpf/bpf.h>

#include "track.h"
#include "track_block.h"
#include "track_scratch.h"

#ifndef BLOCK_URING_CMD_DISCARD		/* linux/blkdev.h, 6.12 */
#define BLOCK_URING_CMD_DISCARD _IO(0x12, 0)
#endif

#define DEVICE_GRAINS UINT64_C(131072)	/* of 4 KiB: 512 MiB, most of it never there */
#define STEPS 400
#define TAKE_EVERY 5

static uint64_t state;
static int failures;
static const char *skip;
static char *buffer;			/* 1 MiB, aligned */

static uint64_t random_below(uint64_t limit)
{
	uint64_t z = state += UINT64_C(0x9e3779b97f4a7c15);

	z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
	return (z ^ z >> 31) % limit;
}

static void say(void *arg, enum gw_level level, const char *text)
{
	(void)arg;
	if (level != GW_DEBUG)
		printf("# %s\n", text);
}

static struct gw_diag diag = { .fn = say };

struct fixture {
	struct gw_scratch scratch;
	struct gw_track *track;
	struct gw_bitmap expected;
	uint64_t grain_bytes;
	uint64_t first_byte;		/* of what is tracked, on fd */
	uint32_t sector_bytes;
};

static bool start(struct fixture *f, const char *path, uint32_t grain_bytes)
{
	struct gw_node node;
	struct gw_track_block_config config = {
		.node = &node, .grain_bytes = grain_bytes, .skip_self_test = true,
	};

	gw_diag_clear(&diag);
	if (gw_node_look(&node, path, &diag) < 0 ||
	    gw_track_block_start(&f->track, &config, &diag) < 0)
		return false;
	f->grain_bytes = grain_bytes;
	f->sector_bytes = node.logical_bytes;
	return gw_bitmap_create(&f->expected, f->track->geom.size_grains) == 0;
}

static bool set_up(struct fixture *f, bool zram, uint32_t grain_bytes)
{
	int err;

	*f = (struct fixture){ .scratch = { .fd = -1 } };
	gw_diag_clear(&diag);
	err = zram ? gw_scratch_open_zram(&f->scratch, DEVICE_GRAINS * 4096, &diag) :
	      gw_scratch_open_loop(&f->scratch, DEVICE_GRAINS * 4096, &diag);
	if (err == -ENODEV)
		skip = "no zram";
	return err == 0 && start(f, f->scratch.path, grain_bytes);
}

static bool tear_down(struct fixture *f, bool good)
{
	if (f->track != NULL)
		good = gw_track_stop(f->track, &diag) == 0 && good;
	gw_bitmap_destroy(&f->expected);
	gw_scratch_close(&f->scratch);
	return good;
}

/* Marks what of the device's bytes is tracked, in grains. */
static void expect(struct fixture *f, uint64_t offset, uint64_t bytes)
{
	const uint64_t end_byte = f->first_byte + f->track->geom.size_bytes;
	uint64_t end = offset + bytes;

	if (offset < f->first_byte)
		offset = f->first_byte;
	if (end > end_byte)
		end = end_byte;
	if (offset >= end)
		return;
	offset -= f->first_byte;
	end -= f->first_byte;
	gw_bitmap_set(&f->expected, (struct gw_run){
		offset / f->grain_bytes,
		(end - 1) / f->grain_bytes - offset / f->grain_bytes + 1 });
}

static bool drained(struct fixture *f)
{
	struct gw_track_in_flight in_flight;

	for (int i = 0; i < 60000; i++) {
		if (gw_track_in_flight(f->track, &in_flight, &diag) < 0)
			return false;
		if (in_flight.count == 0)
			return true;
		usleep(1000);
	}
	printf("# %" PRIu64 " writes never completed\n", in_flight.count);
	return false;
}

/* Takes, and compares with what was expected since the last time. */
static bool compare(struct fixture *f)
{
	struct gw_track_taken taken;
	uint64_t wrong = 0;

	if (!drained(f) || gw_track_take(f->track, &taken, &diag) < 0)
		return false;
	if (taken.whole_device) {
		printf("# everything was marked: %s\n", taken.why);
		return false;
	}
	for (uint64_t grain = 0; grain < f->track->geom.size_grains; grain++) {
		const bool is = gw_bitmap_test(&f->track->pending, grain);

		if (is == gw_bitmap_test(&f->expected, grain))
			continue;
		if (wrong++ < 5)
			printf("# grain %" PRIu64 " is %smarked\n", grain, is ? "" : "not ");
	}
	gw_bitmap_clear(&f->track->pending, (struct gw_run){ 0, f->track->geom.size_grains });
	gw_bitmap_clear(&f->expected, (struct gw_run){ 0, f->track->geom.size_grains });
	return wrong == 0;
}

static bool do_write(struct fixture *f, int fd, uint64_t offset, uint64_t bytes)
{
	memset(buffer, (int)random_below(255) + 1, bytes);
	if (pwrite(fd, buffer, bytes, (off_t)offset) != (ssize_t)bytes) {
		printf("# write: %s\n", strerror(errno));
		return false;
	}
	expect(f, offset, bytes);
	return true;
}

static bool do_erase(struct fixture *f, unsigned long request, uint64_t offset, uint64_t bytes)
{
	uint64_t range[2] = { offset, bytes };

	if (ioctl(f->scratch.fd, request, range) < 0) {
		printf("# discard: %s\n", strerror(errno));
		return errno == EOPNOTSUPP;
	}
	expect(f, offset, bytes);
	return true;
}

/* What no write is marks nothing. */
static bool do_harmless(struct fixture *f, uint64_t offset)
{
	return pread(f->scratch.fd, buffer, 4096, (off_t)offset) == 4096 &&
	       fdatasync(f->scratch.fd) == 0;
}

static bool random_step(struct fixture *f, int dsync_fd)
{
	const uint64_t sector = f->sector_bytes;
	const uint64_t device = DEVICE_GRAINS * 4096;
	const uint64_t offset = random_below(device / sector - 256) * sector;
	const uint64_t bytes = (1 + random_below(256)) * sector;
	const uint64_t page = offset / 4096 * 4096;

	switch (random_below(8)) {
	case 0:
	case 1:
		return do_write(f, f->scratch.fd, offset, bytes);
	case 2:
		return do_write(f, f->scratch.fd, random_below(device / sector) * sector, sector);
	case 3:
		return do_write(f, dsync_fd, offset, bytes);
	case 4:
		return do_erase(f, BLKDISCARD, page, (1 + random_below(100)) * 4096);
	case 5:
		return do_erase(f, BLKZEROOUT, page, 4096 * (1 + random_below(50)));
	case 6:
		return do_harmless(f, page);
	default:
		if (random_below(10) != 0)
			return do_write(f, f->scratch.fd, device - sector, sector);
		/* More words than a program marks one by one; the ends are ragged. */
		return do_erase(f, BLKDISCARD, random_below(20000) * 4096,
				(70000 + random_below(30000)) * 4096);
	}
}

static bool test_random(bool zram, uint32_t grain_bytes)
{
	struct fixture f;
	bool good = set_up(&f, zram, grain_bytes);
	const int dsync_fd = good ? open(f.scratch.path, O_WRONLY | O_DIRECT | O_DSYNC) : -1;

	good = good && dsync_fd >= 0;
	for (int i = 0; i < STEPS && good; i++) {
		good = random_step(&f, dsync_fd);
		if (good && i % TAKE_EVERY == 0)
			good = compare(&f);
		if (!good)
			printf("# step %d\n", i);
	}
	good = good && compare(&f);
	if (dsync_fd >= 0)
		close(dsync_fd);
	return tear_down(&f, good);
}

static bool test_coarse(bool zram)
{
	struct gw_track_stats stats;
	struct fixture f;
	bool good = set_up(&f, zram, 4096);

	good = good && do_erase(&f, BLKDISCARD, 4096 * 3, (DEVICE_GRAINS - 3) * 4096) &&
	       gw_track_stats(f.track, &stats, &diag) == 0 && compare(&f);
	if (good && stats.coarse_marks == 0) {
		printf("# no coarse mark was made\n");
		good = false;
	}
	return tear_down(&f, good);
}

/* Through the page cache: only the sync brings it to the device, in merged requests. */
static bool test_buffered(bool zram)
{
	struct fixture f;
	bool good = set_up(&f, zram, 4096);
	const int fd = good ? open(f.scratch.path, O_RDWR) : -1;

	good = good && fd >= 0;
	for (int i = 0; i < 300 && good; i++)
		good = do_write(&f, fd, random_below(DEVICE_GRAINS / 64) * 4096, 4096);
	good = good && fsync(fd) == 0 && compare(&f);
	if (fd >= 0)
		close(fd);
	return tear_down(&f, good);
}

/* Several discards at once, so that the block layer may merge them. */
static bool test_many_discards(bool zram)
{
	struct io_uring ring;
	struct fixture f;
	bool good = set_up(&f, zram, 4096);
	const int fd = good ? open(f.scratch.path, O_RDWR | O_DIRECT) : -1;

	good = good && fd >= 0 && io_uring_queue_init(64, &ring, 0) == 0;
	if (!good)
		return tear_down(&f, false);
	for (uint64_t i = 0; i < 32; i++) {
		struct io_uring_sqe *const sqe = io_uring_get_sqe(&ring);

		io_uring_prep_rw(IORING_OP_URING_CMD, sqe, fd, NULL, 0, 0);
		sqe->cmd_op = BLOCK_URING_CMD_DISCARD;
		/* This device cannot be asked not to wait. */
		sqe->flags |= IOSQE_ASYNC;
		sqe->addr = i * 40960;
		memcpy(sqe->cmd, &(uint64_t){ 16384 }, sizeof(uint64_t));
		expect(&f, i * 40960, 16384);
	}
	io_uring_submit_and_wait(&ring, 32);
	for (int i = 0; i < 32; i++) {
		struct io_uring_cqe *cqe;

		if (io_uring_wait_cqe(&ring, &cqe) < 0)
			break;
		if (cqe->res < 0) {
			printf("# discard: %s\n", strerror(-cqe->res));
			skip = "this device takes no discards by io_uring (kernel 6.12 or later)";
		}
		io_uring_cqe_seen(&ring, cqe);
	}
	io_uring_queue_exit(&ring);
	good = skip != NULL || compare(&f);
	close(fd);
	return tear_down(&f, good);
}

/* Somebody else's disk and reads: nothing. */
static bool test_other_disk(void)
{
	struct gw_scratch other;
	struct fixture f;
	bool good = set_up(&f, false, 4096);

	good = good && gw_scratch_open_loop(&other, 64u << 20, &diag) == 0;
	if (!good)
		return tear_down(&f, false);
	for (int i = 0; i < 50 && good; i++)
		good = pwrite(other.fd, buffer, 4096, i * 4096) == 4096 && do_harmless(&f, 8192);
	good = good && compare(&f);
	gw_scratch_close(&other);
	return tear_down(&f, good);
}

static bool add_partition(int fd, int number, uint64_t first_byte, uint64_t bytes)
{
	struct blkpg_partition partition = {
		.start = (long long)first_byte, .length = (long long)bytes, .pno = number,
	};
	struct blkpg_ioctl_arg arg = {
		.op = BLKPG_ADD_PARTITION, .datalen = sizeof(partition), .data = &partition,
	};

	return ioctl(fd, BLKPG, &arg) == 0;
}

/* Only its sectors, from its own start; through the partition and through the disk. */
static bool test_partition(void)
{
	const uint64_t first = 5 * 4096 + 512, bytes = 1000 * 4096 + 1536;
	struct fixture f = { .scratch = { .fd = -1 } };
	char path[64];
	int fd = -1;
	bool good;

	gw_diag_clear(&diag);
	good = gw_scratch_open_loop(&f.scratch, DEVICE_GRAINS * 4096, &diag) == 0;
	/* Seen in 6.1: the first open after the medium was put in drops all partitions; have it now. */
	fd = good ? open(f.scratch.path, O_RDONLY) : -1;
	if (fd >= 0)
		close(fd);
	snprintf(path, sizeof(path), "%sp1", f.scratch.path);
	if (good && (!add_partition(f.scratch.fd, 1, first, bytes) ||
		     !add_partition(f.scratch.fd, 2, first + bytes, 4096 * 100))) {
		skip = "no partitions on loop devices";
		return tear_down(&f, true);
	}
	for (int i = 0; i < 6000 && access(path, F_OK) < 0; i++)
		usleep(10000);
	good = good && start(&f, path, 4096);
	f.first_byte = first;
	fd = open(path, O_RDWR | O_DIRECT);
	good = good && fd >= 0 && f.track->geom.size_grains == 1001;
	for (int i = 0; i < 60 && good; i++) {
		const uint64_t at = random_below(bytes / 512 - 16) * 512;

		good = pwrite(fd, buffer, 8192, (off_t)at) == 8192;
		expect(&f, first + at, 8192);
		/* Beside it, over both of its ends, and far away. */
		good = good && do_write(&f, f.scratch.fd, random_below(3) * 4096, 4096) &&
		       do_write(&f, f.scratch.fd, first - 512, 1024) &&
		       do_write(&f, f.scratch.fd, first + bytes - 512, 2048) &&
		       do_write(&f, f.scratch.fd, (5000 + random_below(999)) * 4096, 4096) &&
		       (i % 10 != 0 || compare(&f));
	}
	/* The whole disk, partition or not. */
	good = good && do_erase(&f, BLKDISCARD, 0, DEVICE_GRAINS * 4096) && compare(&f);
	if (fd >= 0)
		close(fd);
	return tear_down(&f, good);
}

/* A take after a drop has nothing of what was before. */
static bool test_drop(void)
{
	struct fixture f;
	bool good = set_up(&f, false, 4096);

	good = good && do_write(&f, f.scratch.fd, 0, 4096) &&
	       do_erase(&f, BLKDISCARD, 0, DEVICE_GRAINS * 4096) && drained(&f) &&
	       gw_track_drop_marks(f.track, &diag) == 0;
	gw_bitmap_clear(&f.expected, (struct gw_run){ 0, DEVICE_GRAINS });
	good = good && do_write(&f, f.scratch.fd, 4096 * 77, 4096) && compare(&f);
	return tear_down(&f, good);
}

/* A write whose submission finds no room to be recorded: everything is taken, for a while. */
static bool test_strays_full(void)
{
	struct fixture f;
	bool good = set_up(&f, true, 4096);
	struct gw_bpf_slot entry = { 0 };
	struct gw_track_taken taken;
	struct timespec now;
	int strays;

	if (!good)
		return tear_down(&f, false);
	strays = ((struct gw_block_track *)f.track->impl)->map_fds[GW_MAP_STRAYS];
	/* In flight since now; of no sector, so that nobody waits for them. */
	clock_gettime(CLOCK_MONOTONIC, &now);
	entry.submitted_ns = (uint64_t)now.tv_sec * 1000000000u;
	for (entry.holder = 1; entry.holder <= GW_STRAYS_BIOS; entry.holder++)
		good = good && bpf_map_update_elem(strays, &entry.holder, &entry, BPF_ANY) == 0;
	good = good && gw_track_take(f.track, &taken, &diag) == 0 && !taken.whole_device &&
	       do_write(&f, f.scratch.fd, 0, 4096);
	/* Not only the first take: the write that is not recorded could end after it. */
	for (int i = 0; i < 2 && good; i++) {
		good = gw_track_take(f.track, &taken, &diag) == 0 && taken.whole_device &&
		       strstr(taken.why, "in flight") != NULL &&
		       gw_bitmap_count(&f.track->pending) == DEVICE_GRAINS;
		gw_bitmap_clear(&f.track->pending, (struct gw_run){ 0, DEVICE_GRAINS });
	}
	return tear_down(&f, good);
}

/* Writers at full speed, takes in a loop: in the end each written grain was taken. */
struct writer {
	struct fixture *f;
	_Atomic bool stop;
	_Atomic uint64_t written;
	unsigned int number;
};

static void *write_on(void *arg)
{
	struct writer *const writer = arg;
	char *const own = aligned_alloc(4096, 4096);

	memset(own, (int)writer->number + 1, 4096);
	/* Each block once, so that a mark that is lost stays lost. */
	for (uint64_t i = writer->number; i < DEVICE_GRAINS / 4 && !writer->stop; i += 2) {
		if (pwrite(writer->f->scratch.fd, own, 4096,
			   (off_t)(i * 7919 % DEVICE_GRAINS * 4096)) != 4096)
			break;
		writer->written = i + 1;
	}
	free(own);
	return NULL;
}

static bool test_race(bool zram)
{
	struct fixture f;
	bool good = set_up(&f, zram, 4096);
	struct writer writers[2] = { { .f = &f }, { .f = &f, .number = 1 } };
	pthread_t threads[2];
	struct gw_track_taken taken;

	if (!good)
		return tear_down(&f, false);
	for (int i = 0; i < 2; i++)
		pthread_create(&threads[i], NULL, write_on, &writers[i]);
	for (int i = 0; i < 300 && good; i++) {
		good = gw_track_take(f.track, &taken, &diag) == 0;
		usleep(5000);
	}
	for (unsigned int i = 0; i < 2; i++) {
		writers[i].stop = true;
		pthread_join(threads[i], NULL);
		for (uint64_t w = i; w < writers[i].written; w += 2)
			expect(&f, w * 7919 % DEVICE_GRAINS * 4096, 4096);
	}
	printf("# %" PRIu64 " and %" PRIu64 " blocks\n", (uint64_t)writers[0].written / 2,
	       (uint64_t)writers[1].written / 2);
	return tear_down(&f, good && writers[0].written > 0 && compare(&f));
}

/*
 * The disk behind the number is exchanged: not one more take, and whoever opens the
 * pins is told.
 */
static bool test_exchanged(void)
{
	struct gw_track_taken taken;
	struct fixture f;
	bool good = set_up(&f, false, 4096);
	int err = 0;

	if (!good)
		return tear_down(&f, false);
	good = do_write(&f, f.scratch.fd, 0, 4096) && compare(&f);
	close(f.scratch.fd);
	f.scratch.fd = -1;
	/* The device detaches itself; whether or not another one has come, it is not the same. */
	for (int i = 0; i < 6000; i++) {
		gw_diag_clear(&diag);
		err = gw_track_take(f.track, &taken, &diag);
		if (err < 0)
			break;
		usleep(10000);
	}
	good = good && (err == -ESTALE || err == -ENODEV);
	return tear_down(&f, good);
}

static void report(bool good, const char *name)
{
	if (skip != NULL)
		printf("ok - %s # SKIP %s\n", name, skip);
	else
		printf("%sok - %s\n", good ? "" : "not ", name);
	if (!good && skip == NULL)
		failures++;
	skip = NULL;
	fflush(stdout);
}

static void test_kind(bool zram)
{
	const char *const kind = zram ? "zram (bios)" : "loop (requests)";
	char name[96];

#define RUN(call, text)						\
	do {							\
		const bool good_ = (call);			\
		snprintf(name, sizeof(name), "%s: " text, kind);	\
		report(good_, name);				\
	} while (0)
	RUN(test_random(zram, 4096), "random operations, exact bits, grain 4 KiB");
	RUN(test_random(zram, 65536), "random operations, exact bits, grain 64 KiB");
	RUN(test_coarse(zram), "a long discard goes to the coarse bitmap");
	RUN(test_buffered(zram), "buffered writes and fsync");
	RUN(test_many_discards(zram), "many discards at once");
	RUN(test_race(zram), "takes race with writers");
#undef RUN
}

int main(void)
{
	const char *const seed = getenv("GW_SEED");

	setvbuf(stdout, NULL, _IOLBF, 0);
	if (geteuid() != 0 || access("/sys/kernel/btf/vmlinux", R_OK) < 0 ||
	    access("/dev/loop-control", F_OK) < 0) {
		printf("ok - the source block # SKIP needs root, BTF and loop devices\n");
		return 0;
	}
	state = seed != NULL ? strtoull(seed, NULL, 10) : UINT64_C(4711);
	printf("# seed %" PRIu64 "\n", state);
	buffer = aligned_alloc(4096, 1u << 20);
	assert(buffer != NULL);
	test_kind(false);
	test_kind(true);
	report(test_other_disk(), "another disk's writes are not marked, reads neither");
	report(test_partition(), "a partition: its sectors, from its start");
	report(test_drop(), "dropped marks are gone");
	report(test_strays_full(), "no room to record what is in flight: everything is taken");
	report(test_exchanged(), "an exchanged disk is noticed");
	free(buffer);
	return failures > 0 ? 1 : 0;
}

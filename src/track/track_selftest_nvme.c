// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Do the NVMe driver's hooks fire, and do the programs read commands rightly, on this very kernel?
 * There is no scratch namespace, and the user's is not to be written to: so the programs are
 * loaded with the one difference that a Read counts as a Write, blocks of the user's namespace are read, and
 * the marks are compared with what was read. Others may read it meanwhile: more marks than
 * expected are fine, everything marked is not.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/nvme_ioctl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <godwit/nvme_effects.h>

#include "track.h"
#include "track_block.h"
#include "track_load.h"

/* A completion may be told to the reader by another processor than the one that marks. */
#define MARK_TRIES 100
#define MARK_NAP_US 2000
#define READS_TOGETHER 8
/* A namespace with fewer grains says nothing about marks that are too many. */
#define GRAINS_ENOUGH 1024

struct self_test {
	struct gw_plan plan;
	struct gw_load load;
	struct gw_track *track;
	int fd;
	void *buffer;
	size_t read_bytes;
};

static int refuse(struct gw_diag *diag, int err, const char *what)
{
	return gw_fail_exit(diag, GW_EXIT_CANNOT, err,
			    "the self-test of tracking failed on this kernel: %s", what);
}

/* Spread over the namespace; number below READS_TOGETHER + GW_LINKS. */
static uint64_t grain_of(const struct self_test *test, unsigned int number)
{
	return test->track->geom.size_grains / (READS_TOGETHER + GW_LINKS + 1) * number;
}

static int read_grain(struct self_test *test, uint64_t grain, struct gw_diag *diag)
{
	const off_t at = (off_t)(grain << test->track->geom.grain_shift);

	if (pread(test->fd, test->buffer, test->read_bytes, at) < 0)
		return refuse(diag, -errno, "the namespace could not be read");
	return 0;
}

/* The same as a command of a user's making. A drive or kernel that refuses it is not asked again. */
static void read_by_passthrough(struct self_test *test, uint64_t grain, bool *was_read)
{
	const uint64_t block = (test->plan.node.disk_first_sector << GW_SECTOR_SHIFT) /
			       test->plan.node.logical_bytes +
			       (grain << test->track->geom.grain_shift) /
			       test->plan.node.logical_bytes;
	struct nvme_passthru_cmd command = {
		.opcode = GW_NVME_READ,
		.nsid = test->plan.node.nvme.nsid,
		.addr = (uintptr_t)test->buffer,
		.data_len = test->plan.node.logical_bytes,
		.cdw10 = (uint32_t)block,
		.cdw11 = (uint32_t)(block >> 32),
	};

	*was_read = !test->plan.node.is_partition &&
		    ioctl(test->fd, NVME_IOCTL_IO_CMD, &command) == 0;
}

static bool is_marked(const struct self_test *test, uint64_t grain)
{
	return gw_bitmap_test(&test->track->live, grain);
}

/* Return: 0, or -EILSEQ, said. */
static int wait_for_mark(struct self_test *test, uint64_t grain, const char *what,
			 struct gw_diag *diag)
{
	char text[128];

	for (int i = 0; i < MARK_TRIES; i++) {
		if (is_marked(test, grain))
			return 0;
		usleep(MARK_NAP_US);
	}
	snprintf(text, sizeof(text), "%s saw nothing of a command for block %llu", what,
		 (unsigned long long)grain);
	return refuse(diag, -EILSEQ, text);
}

static int check_not_all(struct self_test *test, struct gw_diag *diag)
{
	const uint64_t size_grains = test->track->geom.size_grains;

	if (size_grains >= GRAINS_ENOUGH && gw_bitmap_count(&test->track->live) == size_grains)
		return refuse(diag, -EILSEQ, "a few commands marked everything");
	return 0;
}

/* One program alone. A single event may be skipped; a hook that does not work skips them all. */
static int test_alone(struct self_test *test, unsigned int link, struct gw_diag *diag)
{
	const uint64_t grain = grain_of(test, link + 1);
	char what[96];
	int err;

	snprintf(what, sizeof(what), "the program %s",
		 test->load.object->program(&test->plan, link));
	gw_bitmap_clear(&test->track->live, (struct gw_run){ grain, 1 });
	err = gw_load_attach(&test->load, link, diag);
	for (int i = 0; i < MARK_TRIES && err == 0; i++) {
		err = read_grain(test, grain, diag);
		if (is_marked(test, grain))
			break;
		usleep(MARK_NAP_US);
	}
	if (err == 0)
		err = wait_for_mark(test, grain, what, diag);
	gw_load_detach(&test->load, link);
	return err < 0 ? err : check_not_all(test, diag);
}

static int test_together(struct self_test *test, struct gw_diag *diag)
{
	const uint64_t passthrough_grain = grain_of(test, GW_LINKS);
	bool was_read = false;
	int err = 0;

	for (unsigned int i = 0; i < READS_TOGETHER && err == 0; i++) {
		const uint64_t grain = grain_of(test, GW_LINKS + 1 + i);

		err = read_grain(test, grain, diag);
		if (err == 0)
			err = wait_for_mark(test, grain, "all programs together", diag);
	}
	if (err < 0)
		return err;
	read_by_passthrough(test, passthrough_grain, &was_read);
	if (was_read)
		err = wait_for_mark(test, passthrough_grain, "passthrough", diag);
	return err < 0 ? err : check_not_all(test, diag);
}

static int test_programs(struct self_test *test, struct gw_diag *diag)
{
	struct gw_track_stats stats;
	int err = 0;

	for (unsigned int link = 0; link < GW_PROGRAMS_WATCHED && err == 0; link++)
		err = test_alone(test, link, diag);
	if (err == 0)
		err = gw_load_attach_all(&test->load, diag);
	if (err == 0)
		err = gw_block_adopt_links(test->track, &test->load, diag);
	if (err == 0)
		err = test_together(test, diag);
	if (err == 0)
		err = gw_track_stats(test->track, &stats, diag);
	if (err == 0 && stats.completions == 0)
		err = refuse(diag, -EILSEQ, "no completion was matched with its submission");
	return err;
}

static int prepare(struct self_test *test, const struct gw_node *node, struct gw_diag *diag)
{
	int err;

	err = gw_plan_make(&test->plan, GW_SOURCE_NVME, node, 0, 0, diag);
	if (err < 0)
		return err;
	test->plan.reads_mark = true;
	test->read_bytes = test->plan.geom.grain_bytes;
	if (posix_memalign(&test->buffer, 4096, test->read_bytes) != 0)
		return gw_fail(diag, -ENOMEM, "no memory for the self-test");
	test->fd = open(node->path, O_RDONLY | O_DIRECT | O_CLOEXEC);
	if (test->fd < 0)
		return refuse(diag, -errno, "the namespace could not be opened");
	err = gw_load_open(&test->load, &test->plan, diag);
	if (err < 0)
		return err;
	return gw_block_adopt_maps(&test->track, &test->load, &test->plan, NULL, diag);
}

int gw_track_nvme_self_test(const struct gw_node *node, struct gw_diag *diag)
{
	struct self_test test = { .fd = -1 };
	int err;

	err = gw_load_check_kernel(diag);
	if (err < 0)
		return err;
	err = prepare(&test, node, diag);
	if (err == 0)
		err = test_programs(&test, diag);
	gw_track_close(test.track);
	if (test.load.skeleton != NULL)
		gw_load_close(&test.load);
	if (test.fd >= 0)
		close(test.fd);
	free(test.buffer);
	return err;
}

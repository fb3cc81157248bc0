// SPDX-License-Identifier: GPL-2.0-or-later
/* The server side of vfio-user: what a VMM needs, and what a hostile one tries. */
#include <criterion/criterion.h>
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "ssd_rig.h"
#include "vfio_user.h"

static struct gw_rig rig;

static void setup(void)
{
	gw_rig_open(&rig, 1, NULL);
}

static void teardown(void)
{
	gw_rig_close(&rig);
}

TestSuite(ssd_vfio_user, .init = setup, .fini = teardown, .timeout = 180);

#define CLIENT (&rig.client[0])

static uint32_t config_dword(uint64_t offset)
{
	uint32_t value;

	cr_assert_eq(gw_client_read(CLIENT, 7, offset, &value, sizeof(value)), 0);
	return value;
}

Test(ssd_vfio_user, regions_and_interrupts_are_as_a_driver_needs_them)
{
	for (uint32_t i = 0; i < 9; i++) {
		struct {
			uint32_t argsz, flags, index, capability;
			uint64_t bytes, offset;
		} info = { sizeof(info), 0, i, 0, 0, 0 };

		cr_assert_eq(gw_client_call(CLIENT, 5, &info, sizeof(info), NULL, 0, &info,
					    sizeof(info)), (int)sizeof(info));
		cr_assert_eq(info.bytes, i == 0 ? 0x4000 : i == 7 ? 4096 : 0);
		cr_assert_eq(info.flags, info.bytes > 0 ? 3 : 0);
	}
	for (uint32_t i = 0; i < 5; i++) {
		uint32_t info[4] = { sizeof(info), 0, i, 0 };

		cr_assert_eq(gw_client_call(CLIENT, 7, info, sizeof(info), NULL, 0, info,
					    sizeof(info)), (int)sizeof(info));
		cr_assert_eq(info[3], i == 2 ? GW_SSD_VECTORS : 0);
	}
}

Test(ssd_vfio_user, the_function_is_nvme_with_all_its_capabilities)
{
	uint32_t seen = 0;

	cr_assert_eq(config_dword(8) >> 8, 0x010802);
	for (uint32_t at = config_dword(0x34) & 0xff; at != 0; at = config_dword(at) >> 8 & 0xff)
		seen |= 1u << (config_dword(at) & 0x1f);
	cr_assert_eq(seen, 1u << 0x01 | 1u << 0x10 | 1u << 0x11);
	cr_assert_eq(config_dword(0x50) >> 16 & 0x7ff, GW_SSD_VECTORS - 1);
	cr_assert_neq(config_dword(0x64) & 1u << 28, 0, "no function level reset");
}

Test(ssd_vfio_user, sizing_a_bar_tells_its_size)
{
	const uint32_t ones = UINT32_MAX;

	cr_assert_eq(gw_client_write(CLIENT, 7, 0x10, &ones, 4), 0);
	cr_assert_eq(gw_client_write(CLIENT, 7, 0x14, &ones, 4), 0);
	cr_assert_eq(config_dword(0x10), 0xffffc004);
	cr_assert_eq(config_dword(0x14), UINT32_MAX);
	cr_assert_eq(gw_client_write(CLIENT, 7, 0, &ones, 4), 0);
	cr_assert_eq(config_dword(0), 0x47571234u, "identity is read only");
}

Test(ssd_vfio_user, what_lies_outside_is_refused_and_the_link_lives_on)
{
	uint8_t bytes[64] = { 0 };
	static const struct {
		uint32_t region;
		uint64_t offset;
		uint32_t count;
	} wrong[] = {
		{ 0, 0x4000, 4 }, { 0, 0x3ffe, 4 }, { 0, 2, 4 }, { 0, 0, 2 }, { 0, 0, 16 },
		{ 0, UINT64_MAX - 3, 4 }, { 0, UINT64_MAX, 8 }, { 7, 4096, 1 }, { 7, 4095, 2 },
		{ 7, UINT64_MAX, 2 }, { 1, 0, 4 }, { 6, 0, 4 }, { 9, 0, 4 }, { UINT32_MAX, 0, 4 },
		{ 0, 0, 0 },
	};

	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		cr_expect_eq(gw_client_read(CLIENT, wrong[i].region, wrong[i].offset, bytes,
					    wrong[i].count), -EINVAL, "read %zu", i);
		cr_expect_eq(gw_client_write(CLIENT, wrong[i].region, wrong[i].offset, bytes,
					     wrong[i].count), -EINVAL, "write %zu", i);
	}
	cr_assert_eq(gw_client_call(CLIENT, 16, NULL, 0, NULL, 0, NULL, 0), -ENOTSUP);
	cr_assert_eq(gw_client_call(CLIENT, 9, bytes, 7, NULL, 0, NULL, 0), -EINVAL);
	cr_assert_eq(gw_client_call(CLIENT, 2, bytes, 31, NULL, 0, NULL, 0), -EINVAL);
	cr_assert_eq(gw_client_register(CLIENT, NVME_REG_VS), NVME_VERSION_2_1);
}

Test(ssd_vfio_user, maps_are_checked_against_file_and_each_other)
{
	const int fd = memfd_create("small", MFD_CLOEXEC);
	int pipe_fd[2];

	cr_assert_eq(ftruncate(fd, 8192), 0);
	cr_assert_eq(pipe(pipe_fd), 0);
	cr_assert_eq(gw_client_map(CLIENT, fd, 0, 0x1000, 8192, 3), 0);
	cr_assert_eq(gw_client_map(CLIENT, fd, 0, 0x2000, 4096, 3), -EINVAL, "overlaps");
	cr_assert_eq(gw_client_map(CLIENT, fd, 4096, 0x8000, 8192, 3), -EINVAL, "past the end");
	cr_assert_eq(gw_client_map(CLIENT, fd, UINT64_MAX - 4095, 0x8000, 4096, 3), -EINVAL);
	cr_assert_eq(gw_client_map(CLIENT, fd, 0, UINT64_MAX - 4094, 4096, 3), -EINVAL, "wraps");
	cr_assert_eq(gw_client_map(CLIENT, fd, 0, 0x8000, 0, 3), -EINVAL);
	cr_assert_eq(gw_client_map(CLIENT, fd, 0, 0x8000, 4096, 4), -EINVAL, "unknown flag");
	cr_assert_eq(gw_client_map(CLIENT, pipe_fd[0], 0, 0x8000, 4096, 3), -EINVAL, "no file");
	cr_assert_eq(gw_client_map(CLIENT, -1, 0, 0x8000, 4096, 1), 0, "a ROM has no memory for us");
	cr_assert_eq(gw_client_unmap(CLIENT, 0x100000, 4096), 24, "nothing there is no error");
	cr_assert_eq(gw_client_unmap(CLIENT, 0, UINT64_C(1) << 47), 24, "all that lies inside goes");
	cr_assert_eq(gw_client_map(CLIENT, fd, 4096, 0x2000, 4096, 3), 0);
	close(fd);
	close(pipe_fd[0]);
	close(pipe_fd[1]);
}

/* Of this process, the server's included: it has closed what it was to before it takes another message. */
static uint32_t open_files(void)
{
	uint32_t count = 0;
	DIR *dir;

	gw_client_register(CLIENT, NVME_REG_CSTS);
	dir = opendir("/proc/self/fd");
	cr_assert_not_null(dir);
	while (readdir(dir) != NULL)
		count++;
	closedir(dir);
	return count;
}

Test(ssd_vfio_user, eventfds_are_counted_and_given_back)
{
	const uint32_t beyond[5] = { 20, 0x24, 2, GW_SSD_VECTORS, 1 };
	const uint32_t wraps[5] = { 20, 0x24, 2, 1, UINT32_MAX };
	const uint32_t two[5] = { 20, 0x24, 2, 0, 2 };
	const uint32_t off[5] = { 20, 0x21, 2, 0, 0 };
	int fds[2] = { eventfd(0, EFD_CLOEXEC), eventfd(0, EFD_CLOEXEC) };
	const uint32_t before = open_files();

	cr_assert_eq(gw_client_call(CLIENT, 8, beyond, 20, fds, 1, NULL, 0), -EINVAL);
	cr_assert_eq(gw_client_call(CLIENT, 8, wraps, 20, fds, 1, NULL, 0), -EINVAL);
	cr_assert_eq(gw_client_call(CLIENT, 8, two, 20, fds, 1, NULL, 0), -EINVAL, "one for two");
	cr_assert_eq(open_files(), before, "refused ones are closed");
	cr_assert_eq(gw_client_call(CLIENT, 8, two, 20, fds, 2, NULL, 0), 0);
	cr_assert_eq(open_files(), before + 2);
	cr_assert_eq(gw_client_call(CLIENT, 8, off, 20, NULL, 0, NULL, 0), 0);
	cr_assert_eq(open_files(), before);
	close(fds[0]);
	close(fds[1]);
}

/* What is written to a pipe could wait for who reads it. */
Test(ssd_vfio_user, what_is_no_eventfd_is_refused)
{
	const uint32_t two[5] = { 20, 0x24, 2, 0, 2 };
	int fds[2];

	cr_assert_eq(pipe(fds), 0);
	cr_assert_eq(gw_client_call(CLIENT, 8, two, 20, fds, 2, NULL, 0), -EINVAL);
	close(fds[1]);
	/* End of file: the server has closed its copies of the writing end. */
	cr_assert_eq(read(fds[0], &fds[1], 1), 0);
	close(fds[0]);
}

Test(ssd_vfio_user, nonsense_ends_the_link_and_the_next_client_is_served)
{
	static const struct {
		uint16_t id, command;
		uint32_t bytes, flags, error;
	} nonsense[] = {
		{ 1, 4, 8, 0, 0 }, { 1, 4, UINT32_MAX, 0, 0 }, { 1, 4, 16, 1, 0 }, { 1, 4, 15, 0, 0 },
	};
	char byte;

	for (size_t i = 0; i < sizeof(nonsense) / sizeof(nonsense[0]); i++) {
		cr_assert_eq(send(CLIENT->fd, &nonsense[i], 16, 0), 16);
		cr_assert_leq(recv(CLIENT->fd, &byte, 1, 0), 0, "not hung up: %zu", i);
		gw_rig_reconnect(&rig, 0);
	}
	cr_assert_eq(gw_client_register(CLIENT, NVME_REG_VS), NVME_VERSION_2_1);
}

Test(ssd_vfio_user, a_client_that_comes_back_finds_its_data)
{
	gw_client_start(CLIENT, 1);
	memset(gw_client_at(CLIENT, GW_CLIENT_BUFFER), 0x5a, 4096);
	cr_assert_eq(gw_client_io(CLIENT, GW_NVME_WRITE, 1, 8, 8, GW_CLIENT_BUFFER, 4096), 0);
	gw_rig_reconnect(&rig, 0);
	cr_assert_eq(gw_client_register(CLIENT, NVME_REG_CSTS), 0, "a new client meets a reset one");
	gw_client_start(CLIENT, 1);
	cr_assert_eq(gw_client_io(CLIENT, GW_NVME_READ, 1, 8, 8, GW_CLIENT_BUFFER, 4096), 0);
	cr_assert_eq(*gw_client_at(CLIENT, GW_CLIENT_BUFFER + 4095), 0x5a);
}

/* Queue and buffer vanish together with the file's end: errors, and a server that lives. */
Test(ssd_vfio_user, memory_that_is_cut_short_does_no_harm)
{
	struct gw_nvme_sqe sqe = { .opcode = GW_NVME_IDENTIFY, .cdw10 = NVME_CNS_CONTROLLER };

	gw_client_start(CLIENT, 1);
	gw_client_set_prps(&sqe, CLIENT, GW_CLIENT_BUFFER, 4096, 0);
	gw_client_put(CLIENT, 0, &sqe);
	cr_assert_eq(ftruncate(CLIENT->memory_fd, 0), 0);
	gw_client_ring(CLIENT, 0);
	for (int i = 0; i < 50; i++) {
		gw_client_register(CLIENT, NVME_REG_CSTS);
		usleep(1000);
	}
	gw_rig_reconnect(&rig, 0);
	gw_client_start(CLIENT, 1);
	cr_assert_eq(gw_client_io(CLIENT, GW_NVME_FLUSH, 1, 0, 1, 0, 0), 0);
}

Test(ssd_vfio_user, no_memory_no_command_and_resets_in_every_way)
{
	const uint16_t reset = 0x8000, off = 0x0000;
	struct gw_nvme_sqe sqe = { .opcode = GW_NVME_FLUSH, .nsid = 1 };
	struct nvme_cqe cqe;

	gw_client_start(CLIENT, 1);
	cr_assert_eq(gw_client_write(CLIENT, 7, 4, &off, 2), 0);
	gw_client_submit(CLIENT, 1, &sqe);
	cr_assert_not(gw_client_reap(CLIENT, 1, &cqe, 50), "no bus master, no DMA");
	cr_assert_eq(gw_client_write(CLIENT, 7, 0x68, &reset, 2), 0);
	cr_assert_eq(gw_client_register(CLIENT, NVME_REG_CSTS), 0);
	cr_assert_eq(config_dword(0x68) & 0x8000, 0);
	cr_assert_eq(gw_client_call(CLIENT, 13, NULL, 0, NULL, 0, NULL, 0), 0);
	cr_assert_eq(gw_client_register(CLIENT, NVME_REG_CC), 0);
	/* An admin queue in memory that is not there: fatal, and a reset away from well. */
	cr_assert_gt(gw_client_unmap(CLIENT, GW_CLIENT_IOVA, GW_CLIENT_MEMORY_BYTES), 0);
	cr_assert_eq(gw_client_write(CLIENT, 7, 4, (const uint16_t[]){ 6 }, 2), 0);
	gw_client_start_controller(CLIENT);
	gw_client_submit(CLIENT, 0, &sqe);
	for (int i = 0; (gw_client_register(CLIENT, NVME_REG_CSTS) & NVME_CSTS_CFS) == 0; i++) {
		cr_assert_lt(i, 30000);
		usleep(1000);
	}
	gw_client_stop_controller(CLIENT);
	cr_assert_eq(gw_client_map(CLIENT, CLIENT->memory_fd, 0, GW_CLIENT_IOVA,
				   GW_CLIENT_MEMORY_BYTES, 3), 0);
	gw_client_start_controller(CLIENT);
	gw_client_create_queues(CLIENT, 1);
	cr_assert_eq(gw_client_io(CLIENT, GW_NVME_FLUSH, 1, 0, 1, 0, 0), 0);
}

/* A client that takes the handshake at its word. */
Test(ssd_vfio_user, an_access_may_be_as_long_as_was_announced)
{
	static struct gw_vfu_reply reply;
	struct gw_vfu_header header = { .command = GW_VFU_VERSION, .bytes = sizeof(header) + 4 };
	const uint8_t version[4] = { 0 };
	uint32_t access[4] = { 0, 0, 7, 0 };	/* offset, region, count */
	const char *at;

	gw_rig_disconnect(&rig, 0);
	cr_assert_eq(gw_vfu_handle(&rig.port[0], &header, version, NULL, 0, &reply), 1);
	cr_assert_eq(reply.header.error, 0);
	at = strstr((const char *)reply.payload + 4, "\"max_data_xfer_size\":");
	cr_assert_not_null(at);
	cr_assert_eq(sscanf(at, "\"max_data_xfer_size\":%u", &access[3]), 1);
	header = (struct gw_vfu_header){ .command = GW_VFU_REGION_READ, .bytes = sizeof(header) + sizeof(access) };
	cr_assert_eq(gw_vfu_handle(&rig.port[0], &header, (const uint8_t *)access, NULL, 0, &reply), 1);
	cr_assert_eq(reply.header.error, 0);
	cr_assert_eq(reply.bytes, sizeof(access) + access[3]);
}

static uint64_t next_random(uint64_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 7;
	*state ^= *state << 17;
	return *state;
}

/* Commands, heads and tails without any order, also backwards, and resets among them. */
Test(ssd_vfio_user, doorbells_at_random_do_no_harm)
{
	uint64_t random = UINT64_C(0x2545f4914f6cdd1d);

	gw_client_start(CLIENT, 2);
	for (int i = 0; i < 4000; i++) {
		const uint64_t r = next_random(&random);
		struct gw_nvme_sqe sqe = { .opcode = (r >> 8 & 1) != 0 ? GW_NVME_READ : GW_NVME_WRITE, .nsid = 1,
					   .cdw10 = r >> 16 & 0xff, .cdw12 = 7 };

		if (r % 128 == 0) {
			gw_client_stop_controller(CLIENT);
			gw_client_start_controller(CLIENT);
			gw_client_create_queues(CLIENT, 2);
		} else if (r % 2 == 0) {
			gw_client_set_prps(&sqe, CLIENT, GW_CLIENT_BUFFER, 4096, 0);
			gw_client_submit(CLIENT, (uint16_t)(1 + (r >> 40 & 1)), &sqe);
		} else {
			/* Of the I/O queues. */
			gw_client_set_register(CLIENT, NVME_REG_DOORBELLS + 8 + 4 * (uint32_t)(r >> 24 & 3),
					       (uint32_t)(r >> 32 & 15));
		}
	}
	gw_client_stop_controller(CLIENT);
	gw_client_start_controller(CLIENT);
	gw_client_create_queues(CLIENT, 1);
	cr_assert_eq(gw_client_io(CLIENT, GW_NVME_FLUSH, 1, 0, 1, 0, 0), 0);
}

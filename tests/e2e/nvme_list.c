// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Sends a command with a list of ranges whose first BYTES end a page of memory, for tests/vm:
 *
 *   nvme_list DEVICE WAY BYTES dsm FIRST:COUNT...		deallocates these blocks
 *   nvme_list DEVICE WAY BYTES copy FIRST:COUNT... TO	copies them to TO and after
 *
 * WAY: ioctl (block or character device); of the character device, by io_uring: uring, vec (in two
 * pieces, BYTES and the rest), fixed (from a registered buffer that begins with the list), or
 * inside (the same, but it begins with the page).
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <liburing.h>
#include <linux/nvme_ioctl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/uio.h>

#include <godwit/nvme_effects.h>

#define PAGE_BYTES 4096
#define URING_CMD_FIXED 1u	/* IORING_URING_CMD_FIXED, linux/io_uring.h of 6.1 and later */

/* A copy entry of format 0, NVM Command Set 3.2.2. */
struct copy_entry {
	struct gw_nvme_copy_range range;
	gw_u64 tags;
};

static size_t put_entry(char *at, bool is_copy, uint64_t first, uint64_t count)
{
	if (is_copy) {
		struct copy_entry entry = { 0 };

		memcpy(&entry.range.source[2], &first, sizeof(first));
		entry.range.count_minus1 = (unsigned short)(count - 1);
		memcpy(at, &entry, sizeof(entry));
		return sizeof(entry);
	}
	memcpy(at, &(struct gw_nvme_dsm_range){ 0, (gw_u32)count, first }, sizeof(struct gw_nvme_dsm_range));
	return sizeof(struct gw_nvme_dsm_range);
}

static int by_ioctl(int fd, const struct nvme_uring_cmd *command)
{
	struct nvme_passthru_cmd same = {
		.opcode = command->opcode,
		.nsid = command->nsid,
		.addr = command->addr,
		.data_len = command->data_len,
		.cdw10 = command->cdw10,
		.cdw11 = command->cdw11,
		.cdw12 = command->cdw12,
	};
	const int status = ioctl(fd, NVME_IOCTL_IO_CMD, &same);

	return status < 0 ? -errno : status;
}

static int by_uring(int fd, const char *way, size_t bytes, struct nvme_uring_cmd command)
{
	struct iovec pieces[2] = {
		{ (void *)(uintptr_t)command.addr, bytes },
		{ (void *)(uintptr_t)(command.addr + bytes), command.data_len - bytes },
	};
	const bool is_vec = strcmp(way, "vec") == 0, is_inside = strcmp(way, "inside") == 0;
	const bool is_fixed = strcmp(way, "fixed") == 0 || is_inside;
	const size_t skipped_bytes = is_inside ? PAGE_BYTES - bytes : 0;
	const struct iovec buffer = { (char *)pieces[0].iov_base - skipped_bytes,
				      command.data_len + skipped_bytes };
	struct io_uring_cqe *cqe;
	struct io_uring_sqe *sqe;
	struct io_uring ring;
	int err;

	err = io_uring_queue_init(4, &ring, IORING_SETUP_SQE128 | IORING_SETUP_CQE32);
	if (err == 0 && is_fixed)
		err = io_uring_register_buffers(&ring, &buffer, 1);
	if (err < 0)
		return err;
	if (is_vec) {
		command.addr = (uintptr_t)pieces;
		command.data_len = 2;
	}
	sqe = io_uring_get_sqe(&ring);
	if (sqe == NULL)
		return -EBUSY;
	memset(sqe, 0, 2 * sizeof(*sqe));
	sqe->opcode = IORING_OP_URING_CMD;
	sqe->fd = fd;
	sqe->cmd_op = is_vec ? NVME_URING_CMD_IO_VEC : NVME_URING_CMD_IO;
	sqe->rw_flags = is_fixed ? URING_CMD_FIXED : 0;
	memcpy(sqe->cmd, &command, sizeof(command));
	io_uring_submit(&ring);
	err = io_uring_wait_cqe(&ring, &cqe);
	return err < 0 ? err : cqe->res;
}

int main(int argc, char **argv)
{
	struct nvme_uring_cmd command = { 0 };
	bool is_copy;
	int fd, result, entries = argc - 5;
	size_t before;
	char *pages, *list;

	if (argc < 6)
		return 2;
	before = strtoul(argv[3], NULL, 10);
	is_copy = strcmp(argv[4], "copy") == 0;
	fd = open(argv[1], O_RDWR);
	pages = mmap(NULL, 4 * PAGE_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (fd < 0 || pages == MAP_FAILED || before > PAGE_BYTES) {
		perror(argv[1]);
		return 2;
	}
	list = pages + PAGE_BYTES - before;
	if (is_copy) {
		const uint64_t to = strtoull(argv[argc - 1], NULL, 10);

		entries--;
		command.opcode = GW_NVME_COPY;
		command.cdw10 = (uint32_t)to;
		command.cdw11 = (uint32_t)(to >> 32);
		command.cdw12 = (uint32_t)entries - 1;
	} else {
		command.opcode = GW_NVME_DATASET_MANAGEMENT;
		command.cdw10 = (uint32_t)entries - 1;
		command.cdw11 = GW_NVME_DSM_DEALLOCATE;
	}
	for (int i = 0; i < entries; i++) {
		uint64_t first, count;

		if (sscanf(argv[5 + i], "%" SCNu64 ":%" SCNu64, &first, &count) != 2)
			return 2;
		command.data_len += (uint32_t)put_entry(list + command.data_len, is_copy, first, count);
	}
	command.addr = (uintptr_t)list;
	command.nsid = (uint32_t)ioctl(fd, NVME_IOCTL_ID);
	result = strcmp(argv[2], "ioctl") == 0 ? by_ioctl(fd, &command) :
						 by_uring(fd, argv[2], before, command);
	if (result != 0)
		fprintf(stderr, "nvme_list: %s\n", result < 0 ? strerror(-result) : "the drive refused it");
	return result != 0;
}

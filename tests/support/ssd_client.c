// SPDX-License-Identifier: GPL-2.0-or-later
#include "ssd_client.h"

#include <assert.h>
#include <errno.h>
#include <poll.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define PAGE UINT64_C(4096)
#define MESSAGE_BYTES_MAX 8192u
#define BAR 0u
#define CONFIG 7u
/* The queues lie at the start of the memory; list pages before the buffers. */
#define LIST_OFFSET (GW_CLIENT_BUFFER - 64 * PAGE)

struct header {
	uint16_t id, command;
	uint32_t bytes, flags, error;
};

struct access {
	uint64_t offset;
	uint32_t region, count;
};

/* ---- vfio-user --------------------------------------------------------------------------------------- */

static void send_message(int fd, const struct header *header, const void *payload,
			 const int *fds, uint32_t fd_count)
{
	const uint32_t bytes = header->bytes - (uint32_t)sizeof(*header);
	struct iovec iov[2] = {
		{ (void *)(uintptr_t)header, sizeof(*header) },
		{ (void *)(uintptr_t)payload, bytes },
	};
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(64 * sizeof(int))];
	} control;
	struct msghdr msg = { .msg_iov = iov, .msg_iovlen = bytes > 0 ? 2 : 1 };

	assert(fd_count <= 64);
	if (fd_count > 0) {
		struct cmsghdr *c;

		memset(&control, 0, sizeof(control));
		msg.msg_control = &control;
		msg.msg_controllen = CMSG_SPACE(fd_count * sizeof(int));
		c = CMSG_FIRSTHDR(&msg);
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(fd_count * sizeof(int));
		memcpy(CMSG_DATA(c), fds, fd_count * sizeof(int));
	}
	assert(sendmsg(fd, &msg, MSG_NOSIGNAL) == (ssize_t)header->bytes);
}

int gw_client_call(struct gw_client *client, uint16_t command, const void *payload, uint32_t bytes,
		   const int *fds, uint32_t fd_count, void *reply, uint32_t reply_room)
{
	struct header header = {
		.id = ++client->next_id,
		.command = command,
		.bytes = (uint32_t)sizeof(header) + bytes,
	};
	const struct header sent = header;
	uint32_t got;

	send_message(client->fd, &header, payload, fds, fd_count);
	if (recv(client->fd, &header, sizeof(header), MSG_WAITALL) != sizeof(header))
		return -ECONNRESET;
	assert(header.id == sent.id);
	assert(header.command == command);
	assert((header.flags & 0xf) == 1);
	assert(header.bytes >= sizeof(header));
	got = header.bytes - (uint32_t)sizeof(header);
	if ((header.flags & 0x20) != 0) {
		assert(got == 0);
		assert(header.error > 0);
		return -(int)header.error;
	}
	assert(got <= reply_room);
	assert(got == 0 || recv(client->fd, reply, got, MSG_WAITALL) == (ssize_t)got);
	return (int)got;
}

int gw_client_map(struct gw_client *client, int fd, uint64_t offset, uint64_t iova, uint64_t bytes,
		  uint32_t flags)
{
	const struct {
		uint32_t argsz, flags;
		uint64_t offset, iova, bytes;
	} map = { sizeof(map), flags, offset, iova, bytes };

	return gw_client_call(client, 2, &map, sizeof(map), &fd, fd >= 0 ? 1 : 0, NULL, 0);
}

int gw_client_unmap(struct gw_client *client, uint64_t iova, uint64_t bytes)
{
	struct {
		uint32_t argsz, flags;
		uint64_t iova, bytes;
	} unmap = { sizeof(unmap), 0, iova, bytes };

	return gw_client_call(client, 3, &unmap, sizeof(unmap), NULL, 0, &unmap, sizeof(unmap));
}

int gw_client_read(struct gw_client *client, uint32_t region, uint64_t offset, void *to,
		   uint32_t bytes)
{
	const struct access access = { offset, region, bytes };
	uint8_t reply[MESSAGE_BYTES_MAX];
	const int got = gw_client_call(client, 9, &access, sizeof(access), NULL, 0, reply,
				       sizeof(reply));

	if (got < 0)
		return got;
	assert(got == (int)(sizeof(access) + bytes));
	assert(memcmp(reply, &access, sizeof(access)) == 0);
	memcpy(to, reply + sizeof(access), bytes);
	return 0;
}

int gw_client_write(struct gw_client *client, uint32_t region, uint64_t offset, const void *from,
		    uint32_t bytes)
{
	struct {
		struct access access;
		uint8_t data[4096];
	} message = { .access = { offset, region, bytes } };
	struct access reply;
	int got;

	assert(bytes <= sizeof(message.data));
	memcpy(message.data, from, bytes);
	got = gw_client_call(client, 10, &message, (uint32_t)sizeof(message.access) + bytes, NULL, 0,
			     &reply, sizeof(reply));
	return got < 0 ? got : 0;
}

static uint32_t read_by_message(struct gw_client *client, uint32_t offset)
{
	uint32_t value;

	assert(gw_client_read(client, BAR, offset, &value, sizeof(value)) == 0);
	return value;
}

/* As QEMU does it: posted, and so no reply. */
static void post_by_message(struct gw_client *client, uint32_t offset, uint32_t value)
{
	const struct {
		struct access access;
		uint32_t value;
	} __attribute__((packed)) message = { { offset, BAR, 4 }, value };
	const struct header header = {
		.id = ++client->next_id,
		.command = 10,
		.bytes = (uint32_t)(sizeof(header) + sizeof(message)),
		.flags = 0x10,
	};

	send_message(client->fd, &header, &message, NULL, 0);
}

static void begin_by_messages(struct gw_client *client)
{
	uint32_t info[4] = { sizeof(info), 0, 2 }, set[5] = { sizeof(set), 0x24, 2 };
	const uint16_t command = 0x0006;

	assert(gw_client_map(client, client->memory_fd, 0, GW_CLIENT_IOVA, GW_CLIENT_MEMORY_BYTES,
			     3) == 0);
	assert(gw_client_write(client, CONFIG, 4, &command, sizeof(command)) == 0);
	assert(gw_client_call(client, 7, info, sizeof(info), NULL, 0, info, sizeof(info)) == 16);
	set[4] = info[3] < GW_CLIENT_QUEUES + 1 ? info[3] : GW_CLIENT_QUEUES + 1;
	assert(gw_client_call(client, 8, set, sizeof(set), client->vector_fd, set[4], NULL, 0) == 0);
}

static const struct gw_client_way over_vfio_user = {
	.begin = begin_by_messages,
	.read_register = read_by_message,
	.write_register = post_by_message,
};

uint32_t gw_client_register(struct gw_client *client, uint32_t offset)
{
	return client->way->read_register(client, offset);
}

void gw_client_set_register(struct gw_client *client, uint32_t offset, uint32_t value)
{
	client->way->write_register(client, offset, value);
}

void gw_client_open_way(struct gw_client *client, const struct gw_client_way *way, void *function)
{
	memset(client, 0, sizeof(*client));
	client->way = way;
	client->function = function;
	client->fd = client->memory_fd = -1;
	for (uint32_t i = 0; i <= GW_CLIENT_QUEUES; i++)
		client->vector_fd[i] = -1;
}

void gw_client_open(struct gw_client *client, int fd)
{
	static const struct {
		uint16_t major, minor;
		char text[20];
	} __attribute__((packed)) version = { 0, 0, "{\"capabilities\":{}}" };
	uint32_t info[4] = { sizeof(info) };
	char reply[512];

	gw_client_open_way(client, &over_vfio_user, NULL);
	client->fd = fd;
	assert(gw_client_call(client, 1, &version, sizeof(version), NULL, 0, reply, sizeof(reply)) > 4);
	assert(memcmp(reply, "\0\0\0", 4) == 0);
	assert(gw_client_call(client, 4, info, sizeof(info), NULL, 0, info, sizeof(info)) == 16);
	assert(info[1] == 3);
	assert(info[2] == 9);
}

void gw_client_close(struct gw_client *client)
{
	if (client->memory != NULL)
		munmap(client->memory, GW_CLIENT_MEMORY_BYTES);
	if (client->memory_fd >= 0)
		close(client->memory_fd);
	for (uint32_t i = 0; i <= GW_CLIENT_QUEUES; i++) {
		if (client->vector_fd[i] >= 0)
			close(client->vector_fd[i]);
	}
	if (client->fd >= 0)
		close(client->fd);
	memset(client, 0, sizeof(*client));
	client->fd = client->memory_fd = -1;
}

/* ---- The controller ------------------------------------------------------------------------------------- */

static void wait_ready(struct gw_client *client, uint32_t ready)
{
	for (int i = 0; i < 30000; i++) {
		if ((gw_client_register(client, NVME_REG_CSTS) & NVME_CSTS_RDY) == ready)
			return;
		usleep(1000);
	}
	assert(!"the controller did not become ready, or would not stop");
}

static uint64_t iova(uint64_t offset)
{
	return GW_CLIENT_IOVA + offset;
}

/* Two pages for each queue. */
static void reset_queue(struct gw_client *client, uint32_t qid)
{
	struct gw_client_queue *queue = &client->queue[qid];

	*queue = (struct gw_client_queue){
		.entries = GW_CLIENT_ENTRIES,
		.phase = true,
		.sq = qid * 2 * PAGE,
		.cq = (qid * 2 + 1) * PAGE,
	};
	memset(client->memory + queue->sq, 0, 2 * PAGE);
}

void gw_client_stop_controller(struct gw_client *client)
{
	gw_client_set_register(client, NVME_REG_CC, 0);
	wait_ready(client, 0);
}

void gw_client_start_controller(struct gw_client *client)
{
	reset_queue(client, 0);
	gw_client_set_register(client, NVME_REG_AQA,
			       (GW_CLIENT_ENTRIES - 1) << 16 | (GW_CLIENT_ENTRIES - 1));
	gw_client_set_register(client, NVME_REG_ASQ, (uint32_t)iova(client->queue[0].sq));
	gw_client_set_register(client, NVME_REG_ASQ + 4, (uint32_t)(iova(client->queue[0].sq) >> 32));
	gw_client_set_register(client, NVME_REG_ACQ, (uint32_t)iova(client->queue[0].cq));
	gw_client_set_register(client, NVME_REG_ACQ + 4, (uint32_t)(iova(client->queue[0].cq) >> 32));
	gw_client_set_register(client, NVME_REG_CC, 0x00460001);
	wait_ready(client, NVME_CSTS_RDY);
}

void gw_client_create_queues(struct gw_client *client, uint32_t io_queues)
{
	for (uint32_t qid = 1; qid <= io_queues; qid++) {
		struct gw_nvme_sqe sqe = { .opcode = GW_NVME_CREATE_CQ };

		reset_queue(client, qid);
		sqe.data_pointer[0] = iova(client->queue[qid].cq);
		sqe.cdw10 = (GW_CLIENT_ENTRIES - 1) << 16 | qid;
		sqe.cdw11 = qid << 16 | 3;
		assert(gw_client_execute(client, 0, &sqe, 0, 0, NULL) == NVME_SC_SUCCESS);
		sqe = (struct gw_nvme_sqe){ .opcode = GW_NVME_CREATE_SQ };
		sqe.data_pointer[0] = iova(client->queue[qid].sq);
		sqe.cdw10 = (GW_CLIENT_ENTRIES - 1) << 16 | qid;
		sqe.cdw11 = qid << 16 | 1;
		assert(gw_client_execute(client, 0, &sqe, 0, 0, NULL) == NVME_SC_SUCCESS);
	}
}

void gw_client_start(struct gw_client *client, uint32_t io_queues)
{
	assert(io_queues <= GW_CLIENT_QUEUES);
	client->memory_fd = memfd_create("guest", MFD_CLOEXEC);
	assert(client->memory_fd >= 0);
	assert(ftruncate(client->memory_fd, (off_t)GW_CLIENT_MEMORY_BYTES) == 0);
	client->memory = mmap(NULL, GW_CLIENT_MEMORY_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED,
			      client->memory_fd, 0);
	assert(client->memory != MAP_FAILED);
	for (uint32_t i = 0; i <= GW_CLIENT_QUEUES; i++) {
		client->vector_fd[i] = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
		assert(client->vector_fd[i] >= 0);
	}
	client->way->begin(client);
	gw_client_start_controller(client);
	gw_client_create_queues(client, io_queues);
}

uint8_t *gw_client_at(struct gw_client *client, uint64_t offset)
{
	return client->memory + offset;
}

/* ---- Commands -------------------------------------------------------------------------------------------- */

uint16_t gw_client_put(struct gw_client *client, uint16_t qid, struct gw_nvme_sqe *sqe)
{
	struct gw_client_queue *queue = &client->queue[qid];

	sqe->cid = ++client->next_cid;
	memcpy(client->memory + queue->sq + queue->sq_tail * sizeof(*sqe), sqe, sizeof(*sqe));
	queue->sq_tail = (queue->sq_tail + 1) % queue->entries;
	return sqe->cid;
}

void gw_client_ring(struct gw_client *client, uint16_t qid)
{
	gw_client_set_register(client, NVME_REG_DOORBELLS + qid * 8u, client->queue[qid].sq_tail);
}

uint16_t gw_client_submit(struct gw_client *client, uint16_t qid, struct gw_nvme_sqe *sqe)
{
	const uint16_t cid = gw_client_put(client, qid, sqe);

	gw_client_ring(client, qid);
	return cid;
}

static bool take(struct gw_client *client, uint16_t qid, struct nvme_cqe *cqe)
{
	struct gw_client_queue *queue = &client->queue[qid];
	const struct nvme_cqe *at =
		(const void *)(client->memory + queue->cq + queue->cq_head * sizeof(*cqe));
	const uint16_t status = atomic_load_explicit((const _Atomic uint16_t *)(const void *)&at->status,
						     memory_order_acquire);

	if (((status & NVME_CQE_PHASE) != 0) != queue->phase)
		return false;
	memcpy(cqe, at, sizeof(*cqe));
	queue->cq_head = (queue->cq_head + 1) % queue->entries;
	if (queue->cq_head == 0)
		queue->phase = !queue->phase;
	gw_client_set_register(client, NVME_REG_DOORBELLS + qid * 8u + 4, queue->cq_head);
	return true;
}

/* By the interrupt, as a driver would: an entry without one is found only after the time is up. */
bool gw_client_reap(struct gw_client *client, uint16_t qid, struct nvme_cqe *cqe, int timeout_ms)
{
	struct pollfd poller = { client->vector_fd[qid], POLLIN, 0 };
	uint64_t count;

	if (take(client, qid, cqe))
		return true;
	while (poll(&poller, 1, timeout_ms) > 0) {
		if (read(client->vector_fd[qid], &count, sizeof(count)) < 0)
			assert(errno == EAGAIN);
		if (take(client, qid, cqe))
			return true;
	}
	return false;
}

void gw_client_set_prps(struct gw_nvme_sqe *sqe, struct gw_client *client, uint64_t offset,
			uint64_t bytes, uint64_t list_offset)
{
	const uint64_t first = PAGE - offset % PAGE;
	uint64_t *entry = (uint64_t *)(void *)(client->memory + list_offset);

	sqe->data_pointer[0] = iova(offset);
	sqe->data_pointer[1] = 0;
	if (bytes <= first)
		return;
	offset += first;
	bytes -= first;
	if (bytes <= PAGE) {
		sqe->data_pointer[1] = iova(offset);
		return;
	}
	sqe->data_pointer[1] = iova(list_offset);
	for (; bytes > 0; bytes -= bytes < PAGE ? bytes : PAGE, offset += PAGE) {
		/* The last slot of a page leads to the next page, if there is more than fits. */
		if ((uintptr_t)entry % PAGE == PAGE - 8 && bytes > PAGE) {
			*entry = GW_CLIENT_IOVA + (uint64_t)((uint8_t *)(entry + 1) - client->memory);
			entry++;
		}
		*entry++ = iova(offset);
	}
}

uint16_t gw_client_execute(struct gw_client *client, uint16_t qid, struct gw_nvme_sqe *sqe,
			   uint64_t offset, uint64_t bytes, uint32_t *dw0)
{
	struct nvme_cqe cqe;
	uint16_t cid;

	if (bytes > 0)
		gw_client_set_prps(sqe, client, offset, bytes, LIST_OFFSET);
	cid = gw_client_submit(client, qid, sqe);
	assert(gw_client_reap(client, qid, &cqe, 20000));
	assert(cqe.cid == cid);
	assert(cqe.sqid == qid);
	assert(cqe.sqhd == client->queue[qid].sq_tail);
	if (dw0 != NULL)
		*dw0 = cqe.dw0;
	return NVME_STATUS_CODE(NVME_CQE_STATUS(cqe.status));
}

uint16_t gw_client_io(struct gw_client *client, uint8_t opcode, uint32_t nsid, uint64_t slba,
		      uint32_t blocks, uint64_t offset, uint64_t bytes)
{
	struct gw_nvme_sqe sqe = {
		.opcode = opcode,
		.nsid = nsid,
		.cdw10 = (uint32_t)slba,
		.cdw11 = (uint32_t)(slba >> 32),
		.cdw12 = (blocks - 1) & 0xffff,
	};

	return gw_client_execute(client, 1, &sqe, offset, bytes, NULL);
}

uint16_t gw_client_identify(struct gw_client *client, uint8_t cns, uint32_t nsid, void *to)
{
	struct gw_nvme_sqe sqe = { .opcode = GW_NVME_IDENTIFY, .nsid = nsid, .cdw10 = cns };
	const uint16_t status = gw_client_execute(client, 0, &sqe, GW_CLIENT_BUFFER,
						  NVME_IDENTIFY_BYTES, NULL);

	memcpy(to, client->memory + GW_CLIENT_BUFFER, NVME_IDENTIFY_BYTES);
	return status;
}

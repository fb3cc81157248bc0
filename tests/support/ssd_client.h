/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Drives the software SSD as a VMM and a driver would, without either: vfio-user messages over a
 * socket, queues and buffers in a memfd that is mapped for DMA. Its own reading of both
 * protocols; asserts (and so ends the test) where the SSD breaks them.
 */
#ifndef GW_SSD_CLIENT_H
#define GW_SSD_CLIENT_H

#include <stdbool.h>
#include <stdint.h>

#include <godwit/nvme_abi.h>

#define GW_CLIENT_MEMORY_BYTES (UINT64_C(32) << 20)
#define GW_CLIENT_IOVA UINT64_C(0x100000000)	/* where the memory is for the device */
#define GW_CLIENT_QUEUES 4u
#define GW_CLIENT_ENTRIES 16u

struct gw_client_queue {
	uint32_t entries, sq_tail, cq_head;
	bool phase;
	uint64_t sq, cq;		/* offsets in the memory */
};

struct gw_client;

/* How a function is reached; over vfio-user, unless a test has another way. */
struct gw_client_way {
	/* Maps client->memory for DMA, makes it bus master, gives it client->vector_fd. */
	void (*begin)(struct gw_client *client);
	uint32_t (*read_register)(struct gw_client *client, uint32_t offset);
	void (*write_register)(struct gw_client *client, uint32_t offset, uint32_t value);
};

struct gw_client {
	const struct gw_client_way *way;
	void *function;			/* the way's own */
	int fd;				/* the connection; -1: it is another way */
	int memory_fd, vector_fd[GW_CLIENT_QUEUES + 1];
	uint8_t *memory;
	uint16_t next_id, next_cid;
	struct gw_client_queue queue[GW_CLIENT_QUEUES + 1];
};

/* ---- vfio-user ------------------------------------------------------------------------------------- */

/* One command and its reply. Return: bytes of the reply's payload, or the errno it came with, negative. */
int gw_client_call(struct gw_client *client, uint16_t command, const void *payload, uint32_t bytes,
		   const int *fds, uint32_t fd_count, void *reply, uint32_t reply_room);
/* Takes the connection over; VERSION, and a check of what the device says of itself. */
void gw_client_open(struct gw_client *client, int fd);
/* No connection: what it takes goes through way. */
void gw_client_open_way(struct gw_client *client, const struct gw_client_way *way, void *function);
void gw_client_close(struct gw_client *client);
int gw_client_map(struct gw_client *client, int fd, uint64_t offset, uint64_t iova, uint64_t bytes,
		  uint32_t flags);
int gw_client_unmap(struct gw_client *client, uint64_t iova, uint64_t bytes);
int gw_client_read(struct gw_client *client, uint32_t region, uint64_t offset, void *to,
		   uint32_t bytes);
int gw_client_write(struct gw_client *client, uint32_t region, uint64_t offset, const void *from,
		    uint32_t bytes);
uint32_t gw_client_register(struct gw_client *client, uint32_t offset);
void gw_client_set_register(struct gw_client *client, uint32_t offset, uint32_t value);

/* ---- NVMe ------------------------------------------------------------------------------------------- */

/* Memory mapped, bus master on, controller enabled, eventfds set; and that many I/O queue pairs. */
void gw_client_start(struct gw_client *client, uint32_t io_queues);
/* CC.EN 0, and 1 again with the admin queue alone. */
void gw_client_stop_controller(struct gw_client *client);
void gw_client_start_controller(struct gw_client *client);
void gw_client_create_queues(struct gw_client *client, uint32_t io_queues);

/* Offsets in the memory from here on are the test's. */
#define GW_CLIENT_BUFFER (UINT64_C(1) << 20)
uint8_t *gw_client_at(struct gw_client *client, uint64_t offset);

/* Puts a command into a queue, doorbell and all. Return: its identifier. */
uint16_t gw_client_submit(struct gw_client *client, uint16_t qid, struct gw_nvme_sqe *sqe);
/* As gw_client_submit(), without the doorbell. */
uint16_t gw_client_put(struct gw_client *client, uint16_t qid, struct gw_nvme_sqe *sqe);
void gw_client_ring(struct gw_client *client, uint16_t qid);
/* Waits for a completion; false: none came in that time. */
bool gw_client_reap(struct gw_client *client, uint16_t qid, struct nvme_cqe *cqe, int timeout_ms);
/*
 * A command from begin to end, with its data (may be 0 bytes) at that offset of the memory; PRPs
 * are made for it. Return: its status, type and code alone. *dw0 may be NULL.
 */
uint16_t gw_client_execute(struct gw_client *client, uint16_t qid, struct gw_nvme_sqe *sqe,
			   uint64_t offset, uint64_t bytes, uint32_t *dw0);
/* The PRPs of [offset, offset + bytes); a list, if it takes one, at list_offset. */
void gw_client_set_prps(struct gw_nvme_sqe *sqe, struct gw_client *client, uint64_t offset,
			uint64_t bytes, uint64_t list_offset);

uint16_t gw_client_io(struct gw_client *client, uint8_t opcode, uint32_t nsid, uint64_t slba,
		      uint32_t blocks, uint64_t offset, uint64_t bytes);
uint16_t gw_client_identify(struct gw_client *client, uint8_t cns, uint32_t nsid, void *to);

#endif

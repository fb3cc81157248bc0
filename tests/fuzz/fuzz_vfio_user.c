// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * A hostile VMM with a hostile driver in its guest: messages, guest memory and commands from the
 * input, no socket and no thread. The input is a list of records: kind, length (two bytes),
 * bytes. Short cuts to a running controller, so that what is behind it is reached, too.
 */
#include <assert.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

#include "ssd.h"
#include "vfio_user.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define CONTROLLERS 2
#define MEMORY_BYTES (256u << 10)
#define IOVA UINT64_C(0x10000)
#define STEPS_MAX 64

static struct gw_subsys ss;
static struct gw_port port[CONTROLLERS];
static struct gw_vfu_reply reply;
static int memory_fd, event_fd;
static uint8_t *memory;
static char dir[] = "/tmp/godwit-fuzz-XXXXXX";

static void remove_dir(void)
{
	char command[64];

	snprintf(command, sizeof(command), "rm -rf %s", dir);
	if (system(command) != 0)
		fprintf(stderr, "%s stays\n", dir);
}

static void set_up(void)
{
	struct gw_ssd_config config;

	gw_ssd_config_init(&config);
	config.namespace_bytes = 1 << 20;
	config.capacity_bytes = 8 << 20;
	config.cache_bytes = 64 << 10;
	config.cmb_bytes = 64 << 10;
	config.has_migration = true;
	assert(mkdtemp(dir) != NULL);
	atexit(remove_dir);
	assert(gw_subsys_open(&ss, dir, &config, NULL) == 0);
	for (int i = 0; i < CONTROLLERS; i++)
		assert(gw_port_init(&port[i], gw_ctrl_create(&ss, NULL)) == 0);
	/* As if there were a worker, so that doorbells execute; the other one's commands wait for work(). */
	port[1].ctrl->has_thread = true;
	memory_fd = memfd_create("guest", MFD_CLOEXEC);
	event_fd = eventfd(0, EFD_CLOEXEC);
	assert(memory_fd >= 0);
	assert(event_fd >= 0);
	assert(ftruncate(memory_fd, MEMORY_BYTES) == 0);
	memory = mmap(NULL, MEMORY_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, memory_fd, 0);
	assert(memory != MAP_FAILED);
}

static void work(void)
{
	for (int i = 0; i < CONTROLLERS; i++) {
		for (int n = 0; n < STEPS_MAX && gw_ctrl_step(port[i].ctrl); n++)
			continue;
	}
}

static void send_message(struct gw_port *to, uint16_t command, uint32_t flags, const void *payload,
			 size_t bytes, int fd)
{
	const struct gw_vfu_header header = {
		.id = 1,
		.command = command,
		.bytes = (uint32_t)(sizeof(header) + bytes),
		.flags = flags,
	};
	uint8_t *copy = malloc(bytes + 1);	/* of just that size, so that a look past it is seen */
	int got;

	assert(copy != NULL);
	memcpy(copy, payload, bytes);
	got = gw_vfu_handle(to, &header, copy, &fd, fd >= 0 ? 1 : 0, &reply);
	assert(got <= 0 || reply.header.bytes == sizeof(header) + reply.bytes);
	assert(got <= 0 || reply.bytes <= sizeof(reply.payload));
	assert(got <= 0 || reply.header.id == 1);
	free(copy);
	if (fd >= 0)
		close(fd);
}

/* All of what a driver does up to a running controller with one pair of I/O queues. */
static void start_controller(struct gw_port *to)
{
	const uint64_t map[4] = { 32 | UINT64_C(3) << 32, 0, IOVA, MEMORY_BYTES };
	struct gw_ctrl *c = to->ctrl;

	send_message(to, GW_VFU_VERSION, 0, "\0\0\0", 4, -1);
	send_message(to, GW_VFU_DMA_MAP, 0, map, sizeof(map), dup(memory_fd));
	gw_pci_write(to, 4, "\x06", 1);
	gw_ctrl_write(c, NVME_REG_CC, 0, 4);
	gw_ctrl_write(c, NVME_REG_AQA, 0x003f003f, 4);
	gw_ctrl_write(c, NVME_REG_ASQ, IOVA, 8);
	gw_ctrl_write(c, NVME_REG_ACQ, IOVA + 0x1000, 8);
	gw_ctrl_write(c, NVME_REG_CC, 0x00460001, 4);
	pthread_mutex_lock(&c->lock);
	c->cq[1] = (struct gw_cq){ .is_live = true, .phase = true, .size = 64, .sqs = 1, .vector = 1,
				   .has_interrupts = true, .probe_in = 16, .base = IOVA + 0x3000 };
	c->sq[1] = (struct gw_sq){ .is_live = true, .cqid = 1, .size = 64, .base = IOVA + 0x2000 };
	pthread_mutex_unlock(&c->lock);
}

/* A command at the tail of the admin or the I/O queue; what was completed is taken. */
static void submit(struct gw_port *to, uint16_t qid, const uint8_t *data, size_t size)
{
	struct gw_ctrl *c = to->ctrl;
	uint32_t tail;

	if (!c->sq[qid].is_live || !c->cq[qid].is_live)
		return;
	tail = c->sq[qid].tail % 64;
	memset(memory + qid * 0x2000 + tail * 64, 0, 64);
	memcpy(memory + qid * 0x2000 + tail * 64, data, size < 64 ? size : 64);
	gw_ctrl_write(c, NVME_REG_DOORBELLS + qid * 8u + 4, c->cq[qid].tail, 4);
	gw_ctrl_write(c, NVME_REG_DOORBELLS + qid * 8u, (tail + 1) % c->sq[qid].size, 4);
}

static void run(struct gw_port *to, uint8_t kind, const uint8_t *data, size_t size)
{
	uint32_t where = 0;

	switch (kind & 7) {
	case 0:
	case 1:
		if (size > 0)
			send_message(to, data[0], kind & 0x10, data + 1, size - 1,
				     (kind & 1) != 0 ? dup((kind & 0x20) != 0 ? event_fd : memory_fd) : -1);
		break;
	case 2:
		start_controller(to);
		break;
	case 3:
		submit(to, 0, data, size);
		break;
	case 4:
		submit(to, 1, data, size);
		break;
	case 5:			/* guest memory */
		memcpy(&where, data, size < 3 ? size : 3);
		where %= MEMORY_BYTES;
		if (size > 3)
			memcpy(memory + where, data + 3,
			       size - 3 < MEMORY_BYTES - where ? size - 3 : MEMORY_BYTES - where);
		break;
	case 6:
		gw_subsys_power_cut(&ss, kind >> 4);
		break;
	default:
		gw_port_disconnect(to);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static bool is_ready;

	if (!is_ready)
		set_up();
	is_ready = true;
	memset(memory, 0, MEMORY_BYTES);
	while (size >= 3) {
		const uint8_t kind = data[0];
		size_t bytes = data[1] | (size_t)data[2] << 8;

		data += 3;
		size -= 3;
		if (bytes > size)
			bytes = size;
		run(&port[kind >> 3 & 1], kind, data, bytes);
		work();
		data += bytes;
		size -= bytes;
	}
	for (int i = 0; i < CONTROLLERS; i++)
		gw_port_disconnect(&port[i]);
	return 0;
}

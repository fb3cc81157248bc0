// SPDX-License-Identifier: GPL-2.0-or-later
/* The PCI function: configuration space with power, MSI-X and PCIe capabilities. */
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

#include "ssd.h"

#define COMMAND 0x04u
#define COMMAND_BUS_MASTER 0x04u
#define BAR0 0x10u
#define BAR2 0x18u
#define POWER 0x40u
#define MSIX 0x50u
#define EXPRESS 0x60u
#define DEVICE_CONTROL (EXPRESS + 8)
#define FUNCTION_LEVEL_RESET 0x80u	/* in the upper byte of device control */
#define SERIAL 0x100u

static void put16(uint8_t *config, uint32_t offset, uint16_t value)
{
	memcpy(config + offset, &value, sizeof(value));
}

static void put32(uint8_t *config, uint32_t offset, uint32_t value)
{
	memcpy(config + offset, &value, sizeof(value));
}

/* port->lock is held, or nobody else is there yet. */
static void set_defaults(struct gw_port *port)
{
	const struct gw_ssd_config *identity = &port->ctrl->ss->config;
	uint8_t *config = port->config;

	memset(config, 0, sizeof(port->config));
	put16(config, 0x00, identity->pci_vendor);
	put16(config, 0x02, identity->pci_device);
	put16(config, 0x06, 0x0010);		/* there is a list of capabilities */
	put32(config, 0x08, 0x01080200);	/* mass storage, NVM, NVMe */
	put32(config, BAR0, 0x4);		/* memory, 64 bits */
	if (port->ctrl->cmb.bytes > 0)
		put32(config, BAR2, 0x4);
	put16(config, 0x2c, identity->pci_vendor);
	put16(config, 0x2e, identity->pci_device);
	config[0x34] = POWER;
	put32(config, POWER, 0x00030001 | MSIX << 8);
	put32(config, POWER + 4, 0x00000008);	/* D3hot keeps the state */
	put32(config, MSIX, (identity->limits.vectors - 1) << 16 | EXPRESS << 8 | 0x11);
	put32(config, MSIX + 4, 0x2000);	/* table in BAR 0 */
	put32(config, MSIX + 8, 0x3000);	/* pending bits in BAR 0 */
	put32(config, EXPRESS, 0x00020010);	/* version 2, endpoint, last one */
	put32(config, EXPRESS + 4, 0x10008001);	/* can be reset */
	put32(config, EXPRESS + 12, 0x00000043);	/* 8 GT/s, 4 lanes */
	put16(config, EXPRESS + 18, 0x0043);
	put32(config, SERIAL, 0x00010003);
	put32(config, SERIAL + 4, 0x0000c0de);
	put32(config, SERIAL + 8, port->ctrl->cntlid);
}

/* What a client may change. All else keeps its value, whatever is written. */
static const struct {
	uint16_t offset, bytes;
	uint8_t mask[8];
} writable[] = {
	{ COMMAND, 2, { 0x46, 0x05 } },
	{ 0x0c, 1, { 0xff } },			/* cache line size */
	{ BAR0, 8, { 0x00, 0xc0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff } },	/* 16 KiB */
	{ 0x3c, 1, { 0xff } },			/* interrupt line: a scratch register */
	{ POWER + 4, 2, { 0x03, 0x01 } },
	{ MSIX + 2, 2, { 0x00, 0xc0 } },
	{ DEVICE_CONTROL, 2, { 0xff, 0x7f } },
	{ EXPRESS + 16, 2, { 0xff, 0x0f } },	/* link control */
};

static uint8_t mask_at(const struct gw_port *port, uint32_t offset)
{
	const uint64_t cmb = port->ctrl->cmb.bytes;

	if (cmb > 0 && offset >= BAR2 && offset < BAR2 + 8)
		return (uint8_t)(~(cmb - 1) >> 8 * (offset - BAR2));
	for (size_t i = 0; i < sizeof(writable) / sizeof(writable[0]); i++) {
		if (offset >= writable[i].offset && offset - writable[i].offset < writable[i].bytes)
			return writable[i].mask[offset - writable[i].offset];
	}
	return 0;
}

void gw_pci_init(struct gw_port *port)
{
	pthread_mutex_lock(&port->lock);
	set_defaults(port);
	atomic_store(&port->is_bus_master, false);
	pthread_mutex_unlock(&port->lock);
}

void gw_pci_read(struct gw_port *port, uint32_t offset, void *to, uint32_t bytes)
{
	pthread_mutex_lock(&port->lock);
	if (atomic_load(&port->ctrl->is_removed))
		memset(to, 0xff, bytes);
	else
		memcpy(to, port->config + offset, bytes);
	pthread_mutex_unlock(&port->lock);
}

bool gw_pci_write(struct gw_port *port, uint32_t offset, const void *from, uint32_t bytes)
{
	const uint8_t *value = from;
	bool is_reset = false, is_master;

	pthread_mutex_lock(&port->lock);
	for (uint32_t i = 0; i < bytes; i++) {
		const uint8_t mask = mask_at(port, offset + i);

		port->config[offset + i] &= (uint8_t)~mask;
		port->config[offset + i] |= value[i] & mask;
		if (offset + i == DEVICE_CONTROL + 1 && (value[i] & FUNCTION_LEVEL_RESET) != 0)
			is_reset = true;
	}
	is_master = (port->config[COMMAND] & COMMAND_BUS_MASTER) != 0;
	pthread_mutex_unlock(&port->lock);
	if (atomic_exchange(&port->is_bus_master, is_master) != is_master)
		gw_ctrl_wake(port->ctrl);
	return is_reset;
}

/* ---- The port ----------------------------------------------------------------------------------- */

int gw_port_init(struct gw_port *port, struct gw_ctrl *ctrl)
{
	const int err = gw_dma_init(&port->map);

	if (err < 0)
		return err;
	pthread_mutex_init(&port->lock, NULL);
	pthread_mutex_init(&port->link_lock, NULL);
	for (uint32_t i = 0; i < GW_SSD_VECTORS; i++)
		port->vector_fd[i] = -1;
	port->is_negotiated = false;
	port->vectors = ctrl->ss->config.limits.vectors;
	port->ctrl = ctrl;
	ctrl->port = port;
	gw_pci_init(port);
	return 0;
}

void gw_port_fini(struct gw_port *port)
{
	gw_port_disconnect(port);
	gw_dma_fini(&port->map);
	pthread_mutex_destroy(&port->lock);
	pthread_mutex_destroy(&port->link_lock);
	port->ctrl->port = NULL;
	port->ctrl = NULL;
}

void gw_port_reset(struct gw_port *port)
{
	gw_pci_init(port);
	gw_ctrl_reset(port->ctrl);
	pthread_mutex_lock(&port->lock);
	memset(port->is_owed, 0, sizeof(port->is_owed));
	pthread_mutex_unlock(&port->lock);
}

void gw_port_disconnect(struct gw_port *port)
{
	pthread_mutex_lock(&port->link_lock);
	gw_port_reset(port);
	gw_dma_remove(&port->map, 0, 0);
	for (uint32_t i = 0; i < GW_SSD_VECTORS; i++)
		gw_port_set_vector(port, i, -1);
	port->is_negotiated = false;
	pthread_mutex_unlock(&port->link_lock);
}

/*
 * An eventfd was made one that does not block, which its client can undo: so it is asked first. A
 * counter that is full will wake as well; other failures are the client's loss.
 */
static void signal_fd(int fd)
{
	struct pollfd poller = { .fd = fd, .events = POLLOUT };
	const uint64_t one = 1;

	if (poll(&poller, 1, 0) != 1 || (poller.revents & POLLOUT) == 0 || write(fd, &one, sizeof(one)) < 0)
		return;
}

void gw_port_interrupt(struct gw_port *port, uint32_t vector)
{
	pthread_mutex_lock(&port->lock);
	if (port->vector_fd[vector] >= 0)
		signal_fd(port->vector_fd[vector]);
	else
		port->is_owed[vector] = true;
	pthread_mutex_unlock(&port->lock);
}

void gw_port_set_vector(struct gw_port *port, uint32_t vector, int fd)
{
	int old;

	if (fd >= 0)
		fcntl(fd, F_SETFL, O_NONBLOCK);
	pthread_mutex_lock(&port->lock);
	old = port->vector_fd[vector];
	port->vector_fd[vector] = fd;
	if (fd >= 0 && port->is_owed[vector]) {
		port->is_owed[vector] = false;
		signal_fd(fd);
	}
	pthread_mutex_unlock(&port->lock);
	if (old >= 0)
		close(old);
}

// SPDX-License-Identifier: GPL-2.0-or-later
#include "vfio_user.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* The constants are those of <linux/vfio.h>, which the protocol borrows. */
#define REGION_BAR0 0u
#define REGION_BAR2 2u
#define REGION_CONFIG 7u
#define REGIONS 9u
#define BAR0_BYTES 0x4000u
#define ACCESS_BYTES_MAX 4096u
#define CONFIG_BYTES 0x1000u
#define MSIX_TABLE 0x2000u
#define IRQS 5u
#define IRQ_MSIX 2u

#define INFO_RESET 1u
#define INFO_PCI 2u
#define REGION_FLAG_READ 1u
#define REGION_FLAG_WRITE 2u
#define IRQ_FLAG_EVENTFD 1u
#define SET_DATA_NONE 0x1u
#define SET_DATA_BOOL 0x2u
#define SET_DATA_EVENTFD 0x4u
#define SET_ACTION_TRIGGER 0x20u
#define UNMAP_ALL 2u

struct dma_map_message {
	uint32_t argsz, flags;
	uint64_t offset, iova, bytes;
};
struct dma_unmap_message {
	uint32_t argsz, flags;
	uint64_t iova, bytes;
};
struct device_info {
	uint32_t argsz, flags, regions, irqs;
};
struct region_info {
	uint32_t argsz, flags, index, capability;
	uint64_t bytes, offset;
};
struct irq_info {
	uint32_t argsz, flags, index, count;
};
struct irq_set {
	uint32_t argsz, flags, index, start, count;
};
struct region_access {
	uint64_t offset;
	uint32_t region, count;
};
_Static_assert(sizeof(struct dma_map_message) == 32, "the wire");
_Static_assert(sizeof(struct dma_unmap_message) == 24, "the wire");
_Static_assert(sizeof(struct device_info) == 16, "the wire");
_Static_assert(sizeof(struct region_info) == 32, "the wire");
_Static_assert(sizeof(struct irq_info) == 16, "the wire");
_Static_assert(sizeof(struct irq_set) == 20, "the wire");
_Static_assert(sizeof(struct region_access) == 16, "the wire");

/* What a handler works on. A handler returns 0 or a negative errno, which becomes the reply. */
struct message {
	struct gw_port *port;
	const uint8_t *payload;
	uint32_t bytes;
	int *fds;
	uint32_t fd_count;
	struct gw_vfu_reply *reply;
};

/* The fixed part of the payload, copied out: the peer's bytes are aligned to nothing. */
static int take(const struct message *m, void *to, uint32_t bytes)
{
	if (m->bytes < bytes)
		return -EINVAL;
	memcpy(to, m->payload, bytes);
	return 0;
}

static void give(const struct message *m, const void *from, uint32_t bytes)
{
	memcpy(m->reply->payload + m->reply->bytes, from, bytes);
	m->reply->bytes += bytes;
}

static int handle_version(const struct message *m)
{
	static const char capabilities[] =
		"{\"capabilities\":{\"max_msg_fds\":16,\"max_data_xfer_size\":4096,"
		"\"max_dma_maps\":65535,\"pgsizes\":4096}}";
	uint16_t version[2];
	const int err = take(m, version, sizeof(version));

	if (err < 0)
		return err;
	if (version[0] != 0 || m->port->is_negotiated)
		return -EINVAL;
	/* Text, if there is any, ends with its NUL; nothing in it changes what we do. */
	if (m->bytes > sizeof(version) && m->payload[m->bytes - 1] != '\0')
		return -EINVAL;
	version[1] = 0;
	give(m, version, sizeof(version));
	give(m, capabilities, sizeof(capabilities));
	m->port->is_negotiated = true;
	return 0;
}

static int handle_dma_map(const struct message *m)
{
	struct dma_map_message map;
	const int err = take(m, &map, sizeof(map));

	if (err < 0)
		return err;
	if (map.argsz < sizeof(map) || m->fd_count > 1)
		return -EINVAL;
	return gw_dma_add(&m->port->map, m->fd_count == 1 ? m->fds[0] : -1, map.offset, map.iova,
			  map.bytes, map.flags);
}

/*
 * Everything that lies in the range goes, and nothing there is a success: with a virtual IOMMU
 * the client unmaps blocks of 2^47 bytes over what it mapped in pages.
 */
static int handle_dma_unmap(const struct message *m)
{
	struct dma_unmap_message unmap;
	const int err = take(m, &unmap, sizeof(unmap));

	if (err < 0)
		return err;
	if (unmap.argsz < sizeof(unmap) || (unmap.flags & ~UNMAP_ALL) != 0)
		return -EINVAL;
	if ((unmap.flags & UNMAP_ALL) != 0)
		gw_dma_remove(&m->port->map, 0, 0);
	else if (unmap.bytes == 0 || unmap.iova > UINT64_MAX - (unmap.bytes - 1))
		return -EINVAL;
	else
		gw_dma_remove(&m->port->map, unmap.iova, unmap.bytes);
	give(m, &unmap, sizeof(unmap));
	return 0;
}

static int handle_device_info(const struct message *m)
{
	const struct device_info info = {
		.argsz = sizeof(info),
		.flags = INFO_RESET | INFO_PCI,
		.regions = REGIONS,
		.irqs = IRQS,
	};

	give(m, &info, sizeof(info));
	return 0;
}

static uint64_t region_bytes(const struct gw_port *port, uint32_t region)
{
	switch (region) {
	case REGION_BAR0:
		return BAR0_BYTES;
	case REGION_BAR2:
		return port->ctrl->cmb.bytes;
	case REGION_CONFIG:
		return CONFIG_BYTES;
	default:
		return 0;
	}
}

static int handle_region_info(const struct message *m)
{
	struct region_info info;
	const int err = take(m, &info, sizeof(info));

	if (err < 0 || info.index >= REGIONS)
		return -EINVAL;
	info.argsz = sizeof(info);
	info.bytes = region_bytes(m->port, info.index);
	info.flags = info.bytes > 0 ? REGION_FLAG_READ | REGION_FLAG_WRITE : 0;
	info.capability = 0;
	info.offset = 0;
	give(m, &info, sizeof(info));
	return 0;
}

static int handle_irq_info(const struct message *m)
{
	struct irq_info info;
	const int err = take(m, &info, sizeof(info));

	if (err < 0 || info.index >= IRQS)
		return -EINVAL;
	info.argsz = sizeof(info);
	info.count = info.index == IRQ_MSIX ? m->port->vectors : 0;
	info.flags = info.count > 0 ? IRQ_FLAG_EVENTFD : 0;
	give(m, &info, sizeof(info));
	return 0;
}

/* Another file could block whoever writes to it. Where there is no /proc it is taken on trust. */
static bool is_eventfd(int fd)
{
	static const char wanted[] = "anon_inode:[eventfd]";
	char path[32], target[sizeof(wanted) + 1] = "";

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	return readlink(path, target, sizeof(target) - 1) < 0 || strcmp(target, wanted) == 0;
}

static int set_eventfds(const struct message *m, const struct irq_set *set)
{
	if (m->fd_count != 0 && m->fd_count != set->count)
		return -EINVAL;
	for (uint32_t i = 0; i < m->fd_count; i++) {
		if (!is_eventfd(m->fds[i]))
			return -EINVAL;
	}
	for (uint32_t i = 0; i < set->count; i++) {
		gw_port_set_vector(m->port, set->start + i, m->fd_count == 0 ? -1 : m->fds[i]);
		if (m->fd_count != 0)
			m->fds[i] = -1;
	}
	return 0;
}

static int handle_set_irqs(const struct message *m)
{
	struct irq_set set;
	const int err = take(m, &set, sizeof(set));

	if (err < 0)
		return err;
	if (set.argsz < sizeof(set) || set.index >= IRQS)
		return -EINVAL;
	if (set.index != IRQ_MSIX)
		return set.count == 0 && m->fd_count == 0 ? 0 : -EINVAL;
	if (set.start > m->port->vectors || set.count > m->port->vectors - set.start)
		return -EINVAL;
	switch (set.flags) {
	case SET_DATA_EVENTFD | SET_ACTION_TRIGGER:
		return set_eventfds(m, &set);
	case SET_DATA_NONE | SET_ACTION_TRIGGER:
		if (m->fd_count != 0)
			return -EINVAL;
		/* Count 0 disables the whole index; else the vectors are fired, as a test. */
		for (uint32_t i = 0; set.count == 0 && i < m->port->vectors; i++)
			gw_port_set_vector(m->port, i, -1);
		for (uint32_t i = 0; i < set.count; i++)
			gw_port_interrupt(m->port, set.start + i);
		return 0;
	default:
		return -EINVAL;
	}
}

/* Return: 0 if the access lies in the region, and in a message. */
static int check_access(const struct gw_port *port, const struct region_access *access)
{
	const uint64_t bytes = region_bytes(port, access->region);

	if (access->count == 0 || access->count > bytes || access->offset > bytes - access->count ||
	    access->count > ACCESS_BYTES_MAX)
		return -EINVAL;
	return 0;
}

/* Registers are read in words of 4 or 8; the table and the pending bits are the client's own. */
static int check_bar(const struct region_access *access)
{
	if (access->count != 4 && access->count != 8)
		return -EINVAL;
	return access->offset % access->count == 0 ? 0 : -EINVAL;
}

static int take_access(const struct message *m, struct region_access *access)
{
	int err = take(m, access, sizeof(*access));

	if (err == 0)
		err = check_access(m->port, access);
	if (err == 0 && access->region == REGION_BAR0)
		err = check_bar(access);
	return err;
}

static int handle_region_read(const struct message *m)
{
	struct region_access access;
	uint64_t value = 0;
	const int err = take_access(m, &access);

	if (err < 0)
		return err;
	give(m, &access, sizeof(access));
	if (access.region == REGION_CONFIG) {
		gw_pci_read(m->port, (uint32_t)access.offset, m->reply->payload + m->reply->bytes,
			    access.count);
		m->reply->bytes += access.count;
		return 0;
	}
	if (access.region == REGION_BAR2) {
		if (atomic_load(&m->port->ctrl->is_removed))
			memset(m->reply->payload + m->reply->bytes, 0xff, access.count);
		else
			memcpy(m->reply->payload + m->reply->bytes, m->port->ctrl->cmb.at + access.offset,
			       access.count);
		m->reply->bytes += access.count;
		return 0;
	}
	if (access.offset < MSIX_TABLE)
		value = gw_ctrl_read(m->port->ctrl, (uint32_t)access.offset, access.count);
	give(m, &value, access.count);
	return 0;
}

static int handle_region_write(const struct message *m)
{
	struct region_access access;
	uint64_t value = 0;
	const int err = take_access(m, &access);

	if (err < 0)
		return err;
	if (m->bytes - sizeof(access) != access.count)
		return -EINVAL;
	give(m, &access, sizeof(access));
	if (access.region == REGION_CONFIG) {
		if (gw_pci_write(m->port, (uint32_t)access.offset, m->payload + sizeof(access),
				 access.count))
			gw_port_reset(m->port);
		return 0;
	}
	if (access.region == REGION_BAR2) {
		if (!atomic_load(&m->port->ctrl->is_removed))
			memcpy(m->port->ctrl->cmb.at + access.offset, m->payload + sizeof(access),
			       access.count);
		return 0;
	}
	memcpy(&value, m->payload + sizeof(access), access.count);
	if (access.offset < MSIX_TABLE)
		gw_ctrl_write(m->port->ctrl, (uint32_t)access.offset, value, access.count);
	return 0;
}

static int handle_reset(const struct message *m)
{
	gw_port_reset(m->port);
	return 0;
}

static int dispatch(uint16_t command, const struct message *m)
{
	if (command != GW_VFU_VERSION && !m->port->is_negotiated)
		return -EINVAL;
	switch (command) {
	case GW_VFU_VERSION:
		return handle_version(m);
	case GW_VFU_DMA_MAP:
		return handle_dma_map(m);
	case GW_VFU_DMA_UNMAP:
		return handle_dma_unmap(m);
	case GW_VFU_DEVICE_INFO:
		return handle_device_info(m);
	case GW_VFU_REGION_INFO:
		return handle_region_info(m);
	case GW_VFU_IRQ_INFO:
		return handle_irq_info(m);
	case GW_VFU_SET_IRQS:
		return handle_set_irqs(m);
	case GW_VFU_REGION_READ:
		return handle_region_read(m);
	case GW_VFU_REGION_WRITE:
		return handle_region_write(m);
	case GW_VFU_RESET:
		return handle_reset(m);
	default:
		return -ENOTSUP;
	}
}

int gw_vfu_handle(struct gw_port *port, const struct gw_vfu_header *header, const uint8_t *payload,
		  int *fds, uint32_t fd_count, struct gw_vfu_reply *reply)
{
	const struct message m = {
		.port = port,
		.payload = payload,
		.bytes = header->bytes - (uint32_t)sizeof(*header),
		.fds = fds,
		.fd_count = fd_count,
		.reply = reply,
	};
	int err;

	/* We send no commands, so nothing that comes is a reply. */
	if ((header->flags & GW_VFU_TYPE_MASK) != 0 || header->bytes < sizeof(*header) ||
	    m.bytes > GW_VFU_PAYLOAD_BYTES_MAX)
		return -EPROTO;
	reply->bytes = 0;
	pthread_mutex_lock(&port->link_lock);
	err = dispatch(header->command, &m);
	pthread_mutex_unlock(&port->link_lock);
	if (err < 0)
		reply->bytes = 0;
	reply->header = (struct gw_vfu_header){
		.id = header->id,
		.command = header->command,
		.bytes = (uint32_t)sizeof(*header) + reply->bytes,
		.flags = err < 0 ? GW_VFU_REPLY | GW_VFU_ERROR : GW_VFU_REPLY,
		.error = err < 0 ? (uint32_t)-err : 0,
	};
	return (header->flags & GW_VFU_NO_REPLY) != 0 ? 0 : 1;
}

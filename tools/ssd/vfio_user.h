/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The vfio-user protocol, server side: one message in, at most one reply out. Knows nothing of
 * sockets, so that a test or a fuzzer can call it; ssd_link.c does the socket.
 */
#ifndef GW_VFIO_USER_H
#define GW_VFIO_USER_H

#include <stdbool.h>
#include <stdint.h>

#include "ssd.h"

#define GW_VFU_PAYLOAD_BYTES_MAX (32u << 10)	/* a whole BAR and more; longer ones end the link */
#define GW_VFU_FDS_MAX 16u			/* what the handshake says */

struct gw_vfu_header {
	uint16_t id, command;
	uint32_t bytes;			/* of the message with this header */
	uint32_t flags, error;
};
_Static_assert(sizeof(struct gw_vfu_header) == 16, "the wire");

#define GW_VFU_TYPE_MASK 0xfu
#define GW_VFU_REPLY 0x1u
#define GW_VFU_NO_REPLY 0x10u
#define GW_VFU_ERROR 0x20u

enum gw_vfu_command {
	GW_VFU_VERSION = 1,
	GW_VFU_DMA_MAP = 2,
	GW_VFU_DMA_UNMAP = 3,
	GW_VFU_DEVICE_INFO = 4,
	GW_VFU_REGION_INFO = 5,
	GW_VFU_IRQ_INFO = 7,
	GW_VFU_SET_IRQS = 8,
	GW_VFU_REGION_READ = 9,
	GW_VFU_REGION_WRITE = 10,
	GW_VFU_RESET = 13,
};

struct gw_vfu_reply {
	struct gw_vfu_header header;
	uint32_t bytes;			/* of the payload */
	uint8_t payload[GW_VFU_PAYLOAD_BYTES_MAX];
};

/*
 * Handles a message that is whole: payload has header->bytes - 16 bytes. A descriptor that is
 * kept becomes -1 in fds; the others stay the caller's to close. Return: 1: send the reply; 0: there
 * is none; negative: the peer does not speak this protocol, hang up.
 */
int gw_vfu_handle(struct gw_port *port, const struct gw_vfu_header *header, const uint8_t *payload,
		  int *fds, uint32_t fd_count, struct gw_vfu_reply *reply);

/* ssd_link.c: serves one connection until it ends. Return: 0, or why it was hung up. */
int gw_link_serve(struct gw_port *port, int socket_fd);

#endif

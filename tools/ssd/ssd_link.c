// SPDX-License-Identifier: GPL-2.0-or-later
#include "vfio_user.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* A message as it comes in: the header alone first, because descriptors come with its first byte. */
struct incoming {
	struct gw_vfu_header header;
	int fds[GW_VFU_FDS_MAX];
	uint32_t fd_count;
	uint8_t payload[GW_VFU_PAYLOAD_BYTES_MAX];
};

static void close_fds(struct incoming *in)
{
	for (uint32_t i = 0; i < in->fd_count; i++) {
		if (in->fds[i] >= 0)
			close(in->fds[i]);
	}
	in->fd_count = 0;
}

/* Return: 1, 0 at the end of the stream, negative errno. */
static int receive_all(int fd, void *to, size_t bytes)
{
	while (bytes > 0) {
		const ssize_t got = recv(fd, to, bytes, MSG_WAITALL);

		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0)
			return got < 0 ? -errno : 0;
		to = (uint8_t *)to + got;
		bytes -= (size_t)got;
	}
	return 1;
}

static int keep_fds(struct incoming *in, struct msghdr *msg)
{
	int err = (msg->msg_flags & MSG_CTRUNC) != 0 ? -EMSGSIZE : 0;

	for (struct cmsghdr *c = CMSG_FIRSTHDR(msg); c != NULL; c = CMSG_NXTHDR(msg, c)) {
		const size_t count = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
		int fd;

		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
			continue;
		for (size_t i = 0; i < count; i++) {
			memcpy(&fd, CMSG_DATA(c) + i * sizeof(fd), sizeof(fd));
			if (in->fd_count < GW_VFU_FDS_MAX) {
				in->fds[in->fd_count++] = fd;
			} else {
				close(fd);
				err = -EMSGSIZE;
			}
		}
	}
	return err;
}

static int receive_header(int fd, struct incoming *in)
{
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(GW_VFU_FDS_MAX * sizeof(int))];
	} control;
	struct iovec iov = { &in->header, sizeof(in->header) };
	struct msghdr msg = {
		.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = &control,
		.msg_controllen = sizeof(control),
	};
	ssize_t got;
	int err;

	do {
		got = recvmsg(fd, &msg, MSG_CMSG_CLOEXEC);
	} while (got < 0 && errno == EINTR);
	if (got <= 0)
		return got < 0 ? -errno : 0;
	err = keep_fds(in, &msg);
	if (err < 0)
		return err;
	return receive_all(fd, (uint8_t *)&in->header + got, sizeof(in->header) - (size_t)got);
}

static int receive(int fd, struct incoming *in)
{
	int got;

	in->fd_count = 0;
	got = receive_header(fd, in);
	if (got <= 0)
		return got;
	if (in->header.bytes < sizeof(in->header) ||
	    in->header.bytes - sizeof(in->header) > sizeof(in->payload))
		return -EPROTO;
	return receive_all(fd, in->payload, in->header.bytes - sizeof(in->header));
}

static int send_reply(int fd, const struct gw_vfu_reply *reply)
{
	struct iovec iov[2] = {
		{ (void *)(uintptr_t)&reply->header, sizeof(reply->header) },
		{ (void *)(uintptr_t)reply->payload, reply->bytes },
	};
	struct msghdr msg = { .msg_iov = iov, .msg_iovlen = 2 };

	while (msg.msg_iovlen > 0) {
		ssize_t sent = sendmsg(fd, &msg, MSG_NOSIGNAL);

		if (sent < 0 && errno == EINTR)
			continue;
		if (sent < 0)
			return -errno;
		while (msg.msg_iovlen > 0 && (size_t)sent >= msg.msg_iov->iov_len) {
			sent -= (ssize_t)msg.msg_iov->iov_len;
			msg.msg_iov++;
			msg.msg_iovlen--;
		}
		if (msg.msg_iovlen > 0) {
			msg.msg_iov->iov_base = (uint8_t *)msg.msg_iov->iov_base + sent;
			msg.msg_iov->iov_len -= (size_t)sent;
		}
	}
	return 0;
}

static int serve_one(struct gw_port *port, int fd, struct incoming *in, struct gw_vfu_reply *reply)
{
	int got = receive(fd, in);

	if (got > 0)
		got = gw_vfu_handle(port, &in->header, in->payload, in->fds, in->fd_count, reply);
	else if (got == 0)
		got = -ECONNRESET;
	if (got > 0)
		got = send_reply(fd, reply);
	close_fds(in);
	return got;
}

int gw_link_serve(struct gw_port *port, int socket_fd)
{
	struct incoming *in = malloc(sizeof(*in));
	struct gw_vfu_reply *reply = malloc(sizeof(*reply));
	int err = in == NULL || reply == NULL ? -ENOMEM : 0;

	while (err == 0)
		err = serve_one(port, socket_fd, in, reply);
	gw_port_disconnect(port);
	free(in);
	free(reply);
	return err == -ECONNRESET ? 0 : err;
}

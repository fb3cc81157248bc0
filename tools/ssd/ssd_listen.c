// SPDX-License-Identifier: GPL-2.0-or-later
#include "ssd_listen.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "vfio_user.h"

#define SHORT_MS 100		/* until it is tried again, when there was no descriptor left */

static bool is_abandoned(const struct sockaddr_un *address)
{
	const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	bool is_refused;

	if (fd < 0)
		return false;
	is_refused = connect(fd, (const struct sockaddr *)address, sizeof(*address)) < 0 &&
		     errno == ECONNREFUSED;
	close(fd);
	return is_refused;
}

static int bind_and_listen(int fd, const struct sockaddr_un *address, struct stat *st)
{
	const mode_t mask = umask(0077);	/* who may connect may do everything with the data */
	int err = bind(fd, (const struct sockaddr *)address, sizeof(*address)) < 0 ? -errno : 0;

	umask(mask);
	if (err == 0 && (lstat(address->sun_path, st) < 0 || listen(fd, 1) < 0))
		err = -errno;
	return err;
}

int gw_ssd_socket_open(struct gw_ssd_socket *s, const char *path, struct gw_diag *diag)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	struct stat st;
	int err;

	*s = (struct gw_ssd_socket){ .path = path, .fd = -1 };
	if (fd < 0)
		return gw_fail(diag, -errno, "cannot make a socket: %s", strerror(errno));
	if (strlen(path) >= sizeof(address.sun_path)) {
		close(fd);
		return gw_fail(diag, -ENAMETOOLONG, "%s: longer than a socket's name may be", path);
	}
	strcpy(address.sun_path, path);
	/* One that is no socket refuses a connection, too, and is not ours to remove. */
	if (lstat(path, &st) == 0 && !S_ISSOCK(st.st_mode)) {
		close(fd);
		return gw_fail(diag, -EEXIST, "%s is there and is no socket: move it away, or give "
					      "another name", path);
	}
	if (is_abandoned(&address))
		unlink(path);
	err = bind_and_listen(fd, &address, &st);
	if (err < 0) {
		close(fd);
		return gw_fail(diag, err, "cannot listen on %s: %s", path, strerror(-err));
	}
	s->fd = fd;
	s->device = st.st_dev;
	s->inode = st.st_ino;
	return 0;
}

/* What may end by itself. */
static bool is_short_of_something(int err)
{
	return err == EMFILE || err == ENFILE || err == ENOBUFS || err == ENOMEM;
}

int gw_ssd_socket_accept(const struct gw_ssd_socket *s)
{
	for (;;) {
		struct pollfd poller = { .fd = s->fd };
		const int fd = accept4(s->fd, NULL, NULL, SOCK_CLOEXEC);

		if (fd >= 0)
			return fd;
		if (errno == EINTR || errno == ECONNABORTED)
			continue;
		/* Without a descriptor to give it does not say that it was shut down. */
		if (!is_short_of_something(errno) || poll(&poller, 1, SHORT_MS) > 0)
			return -1;
	}
}

void gw_ssd_socket_close(struct gw_ssd_socket *s)
{
	struct stat st;

	if (lstat(s->path, &st) == 0 && st.st_dev == s->device && st.st_ino == s->inode)
		unlink(s->path);
	close(s->fd);
	s->fd = -1;
}

int gw_listener_open(struct gw_listener *listener, const char *path, struct gw_ctrl *ctrl,
		     struct gw_diag *diag)
{
	int err;

	memset(listener, 0, sizeof(*listener));
	listener->client_fd = -1;
	err = gw_ssd_socket_open(&listener->socket, path, diag);
	if (err < 0)
		return err;
	pthread_mutex_init(&listener->lock, NULL);
	return gw_port_init(&listener->port, ctrl);
}

/* Return: false: it is time to stop. */
static bool set_client(struct gw_listener *listener, int fd)
{
	bool is_stopping;

	pthread_mutex_lock(&listener->lock);
	listener->client_fd = fd;
	is_stopping = listener->is_stopping;
	pthread_mutex_unlock(&listener->lock);
	return !is_stopping;
}

static void *listen_on(void *arg)
{
	struct gw_listener *listener = arg;
	int fd, err;

	while ((fd = gw_ssd_socket_accept(&listener->socket)) >= 0) {
		if (set_client(listener, fd)) {
			err = gw_link_serve(&listener->port, fd);
			if (err < 0)
				fprintf(stderr, "godwit-ssd: %s: hung up: %s\n", listener->socket.path,
					strerror(-err));
		}
		set_client(listener, -1);
		close(fd);
	}
	return NULL;
}

int gw_listener_start(struct gw_listener *listener)
{
	const int err = pthread_create(&listener->thread, NULL, listen_on, listener);

	listener->has_thread = err == 0;
	return -err;
}

/* Shutting a socket down ends the accept() and the recv() that wait on it. */
void gw_listener_close(struct gw_listener *listener)
{
	if (listener->socket.fd < 0)
		return;
	pthread_mutex_lock(&listener->lock);
	listener->is_stopping = true;
	shutdown(listener->socket.fd, SHUT_RDWR);
	if (listener->client_fd >= 0)
		shutdown(listener->client_fd, SHUT_RDWR);
	pthread_mutex_unlock(&listener->lock);
	if (listener->has_thread)
		pthread_join(listener->thread, NULL);
	gw_ssd_socket_close(&listener->socket);
	gw_port_fini(&listener->port);
	pthread_mutex_destroy(&listener->lock);
}

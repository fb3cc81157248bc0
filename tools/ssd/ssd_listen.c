// SPDX-License-Identifier: GPL-2.0-or-later
#include "ssd_listen.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "ssd_control.h"
#include "vfio_user.h"

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

int gw_listen_on(const char *path, struct gw_diag *diag)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	struct stat st;
	mode_t mask;
	int err;

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
	mask = umask(0077);		/* who may connect may do everything with the data */
	err = bind(fd, (struct sockaddr *)&address, sizeof(address)) < 0 ? -errno : 0;
	umask(mask);
	if (err == 0 && listen(fd, 1) < 0)
		err = -errno;
	if (err == 0)
		return fd;
	close(fd);
	return gw_fail(diag, err, "cannot listen on %s: %s", path, strerror(-err));
}

int gw_listener_open(struct gw_listener *listener, const char *path, struct gw_ctrl *ctrl,
		     struct gw_diag *diag)
{
	memset(listener, 0, sizeof(*listener));
	listener->path = path;
	listener->client_fd = -1;
	listener->fd = gw_listen_on(path, diag);
	if (listener->fd < 0)
		return listener->fd;
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

	for (;;) {
		const int fd = accept4(listener->fd, NULL, NULL, SOCK_CLOEXEC);
		int err;

		if (fd < 0 && (errno == EINTR || errno == ECONNABORTED))
			continue;
		if (fd < 0)
			return NULL;
		if (set_client(listener, fd)) {
			err = gw_link_serve(&listener->port, fd);
			if (err < 0)
				fprintf(stderr, "godwit-ssd: %s: hung up: %s\n", listener->path,
					strerror(-err));
		}
		set_client(listener, -1);
		close(fd);
	}
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
	if (listener->fd < 0)
		return;
	pthread_mutex_lock(&listener->lock);
	listener->is_stopping = true;
	shutdown(listener->fd, SHUT_RDWR);
	if (listener->client_fd >= 0)
		shutdown(listener->client_fd, SHUT_RDWR);
	pthread_mutex_unlock(&listener->lock);
	if (listener->has_thread)
		pthread_join(listener->thread, NULL);
	unlink(listener->path);
	close(listener->fd);
	listener->fd = -1;
	gw_port_fini(&listener->port);
	pthread_mutex_destroy(&listener->lock);
}

// SPDX-License-Identifier: GPL-2.0-or-later
#include "notify.h"

#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "clock.h"
#include "progress.h"

static struct sockaddr_un manager;
static socklen_t manager_bytes;		/* 0: there is none */
static uint64_t told_ns;
static enum gw_migration_phase told_phase;

void gw_notify_begin(void)
{
	const char *const path = getenv("NOTIFY_SOCKET");
	const size_t length = path != NULL ? strlen(path) : 0;

	if (length == 0 || length >= sizeof(manager.sun_path) || (path[0] != '/' && path[0] != '@'))
		return;
	manager.sun_family = AF_UNIX;
	memcpy(manager.sun_path, path, length);
	/* An abstract name begins with a zero byte. */
	if (path[0] == '@')
		manager.sun_path[0] = '\0';
	manager_bytes = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + length);
	unsetenv("NOTIFY_SOCKET");
}

/* A manager that does not listen is its own affair. */
static void tell(const char *text)
{
	int fd;

	if (manager_bytes == 0)
		return;
	fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return;
	(void)!sendto(fd, text, strlen(text), MSG_DONTWAIT | MSG_NOSIGNAL,
		      (const struct sockaddr *)&manager, manager_bytes);
	close(fd);
}

void gw_notify_ready(const char *name)
{
	char text[256];

	snprintf(text, sizeof(text), "READY=1\nSTATUS=%s: writes are tracked, the copy begins\n",
		 name);
	tell(text);
}

void gw_notify_progress(const struct gw_migration_progress *progress)
{
	const uint64_t now_ns = gw_now_ns(&gw_clock_monotonic);
	char line[GW_PROGRESS_BYTES], text[GW_PROGRESS_BYTES + 16];

	if (manager_bytes == 0 || (progress->phase == told_phase && now_ns - told_ns < GW_NS_PER_S))
		return;
	told_ns = now_ns;
	told_phase = progress->phase;
	snprintf(text, sizeof(text), "STATUS=%s\n", gw_progress_line(line, progress, 200));
	tell(text);
}

void gw_notify_stopping(const char *status)
{
	char text[600];

	snprintf(text, sizeof(text), "STOPPING=1\nSTATUS=%.*s\n", (int)strcspn(status, "\n"),
		 status);
	tell(text);
}

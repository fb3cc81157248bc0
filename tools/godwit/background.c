// SPDX-License-Identifier: GPL-2.0-or-later
#include "background.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "err.h"
#include "interrupt.h"

/* What the child says when it runs: one datagram, so that it comes whole. */
struct word {
	char name[sizeof(((struct gw_background *)0)->name)];
	char log[sizeof(((struct gw_background *)0)->log)];
};

static int exit_code_of(int child)
{
	int status;

	while (waitpid(child, &status, 0) < 0)
		if (errno != EINTR)
			return GW_EXIT_UNCLEAR;
	return WIFEXITED(status) ? WEXITSTATUS(status) : GW_EXIT_UNCLEAR;
}

/* Whoever interrupts us means the migration. */
static int wait_for_word(struct gw_background *background)
{
	struct pollfd pollfd = { .fd = background->fd, .events = POLLIN };
	struct word word = { "", "" };
	bool has_passed_on = false;

	while (poll(&pollfd, 1, -1) < 0) {
		if (gw_interrupt_came() && !has_passed_on)
			kill(background->child, SIGTERM);
		has_passed_on = gw_interrupt_came();
	}
	if (recv(background->fd, &word, sizeof(word), 0) != sizeof(word))
		return exit_code_of(background->child);
	memcpy(background->name, word.name, sizeof(word.name));
	memcpy(background->log, word.log, sizeof(word.log));
	return GW_EXIT_DONE;
}

int gw_background_fork(struct gw_background *background, struct gw_terminal *terminal)
{
	int pair[2];

	memset(background, 0, sizeof(*background));
	background->fd = -1;
	gw_interrupt_catch();
	fflush(NULL);
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) != 0) {
		gw_terminal_say(terminal, GW_MESSAGE_ERROR, "--background: %s", strerror(errno));
		return GW_EXIT_CANNOT;
	}
	background->child = fork();
	background->is_child = background->child == 0;
	if (background->child < 0)
		gw_terminal_say(terminal, GW_MESSAGE_ERROR, "--background: %s", strerror(errno));
	background->fd = pair[background->is_child];
	close(pair[!background->is_child]);
	if (background->is_child)
		return -1;
	return background->child < 0 ? GW_EXIT_CANNOT : wait_for_word(background);
}

static void redirect(const char *log)
{
	const int null = open("/dev/null", O_RDONLY | O_CLOEXEC);
	int out = open(log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0600);

	if (out < 0)
		out = open("/dev/null", O_WRONLY | O_CLOEXEC);
	fflush(NULL);
	if (null >= 0)
		dup2(null, STDIN_FILENO);
	if (out >= 0) {
		dup2(out, STDOUT_FILENO);
		dup2(out, STDERR_FILENO);
	}
	if (null > STDERR_FILENO)
		close(null);
	if (out > STDERR_FILENO)
		close(out);
}

void gw_background_detach(struct gw_background *background, const char *name,
			  const char *state_dir, struct gw_terminal *terminal)
{
	const bool verbose = terminal->verbose, quiet = terminal->quiet;
	struct word word = { "", "" };

	snprintf(word.name, sizeof(word.name), "%s", name);
	if (snprintf(word.log, sizeof(word.log), "%s/log", state_dir) >= (int)sizeof(word.log))
		word.log[0] = '\0';
	gw_terminal_finish(terminal);
	redirect(word.log);
	setsid();
	gw_terminal_init(terminal, stderr);
	terminal->verbose = verbose;
	terminal->quiet = quiet;
	/* Nobody there to hear it: it runs all the same. */
	(void)!send(background->fd, &word, sizeof(word), MSG_NOSIGNAL);
	close(background->fd);
	background->fd = -1;
}

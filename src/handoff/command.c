// SPDX-License-Identifier: GPL-2.0-or-later
#include "command.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "clock.h"
#include "manners.h"
#include "units.h"

#define GRACE_NS (2 * GW_NS_PER_S)	/* between SIGTERM and SIGKILL */
#define NOT_RUN_STATUS 250		/* of our child, when it found the watchdog no longer armed */
#define LOOK_AGAIN_NS (10 * GW_NS_PER_MS)

/* A process's state letter and start time. Return: false if there is no such process. */
static bool look_at_process(pid_t pid, char *state, uint64_t *start)
{
	char path[32], text[1024];
	unsigned long long ticks;
	const char *rest;
	ssize_t n;
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/stat", pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return false;
	n = read(fd, text, sizeof(text) - 1);
	close(fd);
	if (n <= 0)
		return false;
	text[n] = '\0';
	/* The name, in brackets, may hold anything; the last bracket ends it. Start time is field 22. */
	rest = strrchr(text, ')');
	if (rest == NULL || sscanf(rest, ") %c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %*u %*u %*d "
				   "%*d %*d %*d %*d %*d %llu", state, &ticks) != 2)
		return false;
	*start = ticks;
	return true;
}

/* ---- The child, before it becomes the shell. ---- */

static void reset_signals(void)
{
	sigset_t none;

	for (int number = 1; number < NSIG; number++)
		signal(number, SIG_DFL);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
}

static void set_environment(const struct gw_command *command)
{
	const struct { const char *name, *value; } variables[] = {
		{ "GODWIT_PHASE", command->phase },
		{ "GODWIT_BY", command->by },
		{ "GODWIT_MIGRATION", command->migration },
		{ "GODWIT_SOURCE", command->source },
		{ "GODWIT_TARGET", command->target },
		{ "GODWIT_STATE_DIR", command->state_dir },
	};

	for (size_t i = 0; i < sizeof(variables) / sizeof(variables[0]); i++)
		setenv(variables[i].name, variables[i].value, 1);
}

/* What the watchdog gave itself is not for what the user starts. */
static void reset_oom_score(void)
{
	const int fd = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);

	if (fd < 0)
		return;
	(void)!write(fd, "0", 1);
	close(fd);
}

static void __attribute__((noreturn)) become_shell(const struct gw_command *command)
{
	struct gw_watch *const watch = command->watch;
	const int null = open("/dev/null", O_RDWR | O_CLOEXEC);
	uint64_t start = 0;
	char state;

	setsid();
	reset_signals();
	gw_manners_drop();
	if (watch != NULL) {
		look_at_process(getpid(), &state, &start);
		atomic_store(&watch->command_start, start);
		atomic_store(&watch->command_pid, (int32_t)getpid());
		/*
		 * After the store: either the watchdog sees us (gw_command_kill_left(), after
		 * it changed the word), or we see that it was faster.
		 */
		if (command->only_while_armed && !gw_watch_is_armed(watch))
			_exit(NOT_RUN_STATUS);
	}
	if (strcmp(command->by, "watchdog") == 0)
		reset_oom_score();
	if (null >= 0)
		dup2(null, STDIN_FILENO);
	dup2(STDERR_FILENO, STDOUT_FILENO);
	close_range(STDERR_FILENO + 1, ~0u, 0);
	set_environment(command);
	execl(GW_COMMAND_SHELL, "sh", "-c", command->text, NULL);
	_exit(127);
}

/* ---- The parent. ---- */

/* Return: true if the process has ended (and is not reaped yet) before end_ns. */
static bool wait_for_end(int pidfd, uint64_t end_ns)
{
	struct pollfd pollfd = { .fd = pidfd, .events = POLLIN };

	for (;;) {
		const uint64_t now_ns = gw_now_ns(&gw_clock_monotonic);
		const uint64_t left_ms = now_ns >= end_ns ? 0 :
			(end_ns - now_ns + GW_NS_PER_MS - 1) / GW_NS_PER_MS;

		if (poll(&pollfd, 1, left_ms > 3600000 ? 3600000 : (int)left_ms) > 0)
			return true;
		if (left_ms == 0)
			return false;
	}
}

/* The leader is not reaped yet, so the group's number is still its own. */
static void kill_group(pid_t pid, int pidfd)
{
	kill(-pid, SIGTERM);
	kill(pid, SIGTERM);	/* it may not lead a group yet */
	if (pidfd >= 0)
		wait_for_end(pidfd, gw_now_ns(&gw_clock_monotonic) + GRACE_NS);
	kill(-pid, SIGKILL);
	kill(pid, SIGKILL);
}

static int judge(const struct gw_command *command, int status, struct gw_diag *diag)
{
	/* Whatever it says: the watchdog has ended it, or undone it since. */
	if (command->only_while_armed && !gw_watch_is_armed(command->watch))
		return gw_fail(diag, -ETIME, "the deadline has passed during the %s command: %s",
			       command->phase, command->text);
	if (WIFSIGNALED(status))
		return gw_fail(diag, -EIO, "the %s command was killed by signal %d: %s",
			       command->phase, WTERMSIG(status), command->text);
	if (WEXITSTATUS(status) != 0)
		return gw_fail(diag, -EIO, "the %s command failed with status %d: %s",
			       command->phase, WEXITSTATUS(status), command->text);
	return 0;
}

int gw_command_run(const struct gw_command *command, struct gw_diag *diag)
{
	const uint64_t end_ns = gw_now_ns(&gw_clock_monotonic) + command->timeout_ns;
	char limit[GW_UNIT_TEXT_BYTES];
	int pidfd, status = 0;
	bool is_late;
	pid_t pid;

	assert(!command->only_while_armed || command->watch != NULL);
	pid = fork();
	if (pid < 0)
		return gw_fail(diag, -errno, "cannot start the %s command: %s", command->phase,
			       strerror(errno));
	if (pid == 0)
		become_shell(command);
	/* With no descriptor left there is no way to watch the time: the limit is 0 then. */
	pidfd = pidfd_open(pid, 0);
	is_late = pidfd < 0 || !wait_for_end(pidfd, end_ns);
	if (is_late)
		kill_group(pid, pidfd);
	if (pidfd >= 0)
		close(pidfd);
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	if (command->watch != NULL)
		atomic_store(&command->watch->command_pid, 0);
	if (is_late)
		return gw_fail(diag, -ETIME, "the %s command took longer than %s and was killed: %s",
			       command->phase, gw_format_duration(limit, command->timeout_ns),
			       command->text);
	return judge(command, status, diag);
}

static bool is_at_work(pid_t pid, uint64_t start)
{
	uint64_t now_start;
	char state;

	return look_at_process(pid, &state, &now_start) && now_start == start && state != 'Z';
}

static void wait_while_at_work(pid_t pid, uint64_t start)
{
	const struct timespec pause = { .tv_nsec = (long)LOOK_AGAIN_NS };

	for (uint64_t waited_ns = 0; waited_ns < GRACE_NS && is_at_work(pid, start);
	     waited_ns += LOOK_AGAIN_NS)
		nanosleep(&pause, NULL);
}

void gw_command_kill_left(struct gw_watch *watch)
{
	const pid_t pid = atomic_load(&watch->command_pid);
	const uint64_t start = atomic_load(&watch->command_start);

	if (pid <= 0 || !is_at_work(pid, start))
		return;
	kill(-pid, SIGTERM);
	wait_while_at_work(pid, start);
	kill(-pid, SIGKILL);
	wait_while_at_work(pid, start);
}

// SPDX-License-Identifier: GPL-2.0-or-later
#include "watchdog.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "clock.h"
#include "fault.h"
#include "manners.h"

#define READY_TIMEOUT_MS 10000

_Static_assert(ATOMIC_INT_LOCK_FREE == 2, "shared between processes");
_Static_assert(ATOMIC_LLONG_LOCK_FREE == 2, "shared between processes");

struct gw_watch *gw_watch_new(void)
{
	void *const memory = mmap(NULL, sizeof(struct gw_watch), PROT_READ | PROT_WRITE,
				  MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	return memory == MAP_FAILED ? NULL : memory;
}

void gw_watch_free(struct gw_watch *watch)
{
	if (watch != NULL)
		munmap(watch, sizeof(*watch));
}

bool gw_watch_is_armed(const struct gw_watch *watch)
{
	return atomic_load(&watch->word) == GW_WATCH_ARMED;
}

static bool change_word(struct gw_watch *watch, enum gw_watch_word from, enum gw_watch_word to)
{
	uint32_t expected = from;

	return atomic_compare_exchange_strong(&watch->word, &expected, to);
}

/* ---- The child. ---- */

struct child {
	const struct gw_watchdog_config *config;
	struct gw_watch *watch;
	int fd;
	uint64_t deadline_ns;		/* absolute */
	struct gw_diag diag;
};

/* Last words only: stderr may be a pipe whose reader waits for the file system that we freed. */
static void print_message(void *arg, enum gw_level level, const char *text)
{
	const struct child *const child = arg;

	if (level != GW_DEBUG)
		dprintf(STDERR_FILENO, "godwit-watchdog: %s: %s\n", child->config->migration, text);
}

/* Terminal and service manager speak to the owner; the watchdog outlives it on purpose. */
static void leave_terminal(void)
{
	static const int ignored[] = { SIGHUP, SIGINT, SIGQUIT, SIGPIPE, SIGALRM, SIGTERM, SIGUSR1,
				       SIGUSR2, SIGTSTP, SIGTTIN, SIGTTOU };
	sigset_t none;

	setsid();
	for (size_t i = 0; i < sizeof(ignored) / sizeof(ignored[0]); i++)
		signal(ignored[i], SIG_IGN);
	signal(SIGCHLD, SIG_DFL);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	prctl(PR_SET_NAME, "godwit-watchdog");
}

static int compare_ints(const void *a, const void *b)
{
	const int x = *(const int *)a, y = *(const int *)b;

	return (x > y) - (x < y);
}

static void close_all_but(const struct child *child)
{
	int keep[GW_WATCHDOG_FDS_MAX + 2];
	uint32_t count = 0;
	int first = STDERR_FILENO + 1;

	for (uint32_t i = 0; i < child->config->keep_count; i++)
		keep[count++] = child->config->keep_fds[i];
	keep[count++] = child->fd;
	qsort(keep, count, sizeof(keep[0]), compare_ints);
	for (uint32_t i = 0; i < count; i++) {
		if (keep[i] > first)
			close_range((unsigned int)first, (unsigned int)keep[i] - 1, 0);
		if (keep[i] >= first)
			first = keep[i] + 1;
	}
	close_range((unsigned int)first, ~0u, 0);
}

/* stdin and stdout belong to the owner; a reader of its output must not wait for us. */
static void drop_standard_streams(void)
{
	const int null = open("/dev/null", O_RDWR | O_CLOEXEC);

	if (null < 0)
		return;
	dup2(null, STDIN_FILENO);
	dup2(null, STDOUT_FILENO);
	if (null > STDERR_FILENO)
		close(null);
}

/* The last process to be killed for memory: nobody else can thaw. Not allowed is fine. */
static void avoid_oom_kill(void)
{
	const int fd = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);

	if (fd < 0)
		return;
	(void)!write(fd, "-1000", 5);
	close(fd);
}

static int poll_timeout_ms(const struct child *child)
{
	const uint64_t now_ns = gw_now_ns(&gw_clock_monotonic);
	uint64_t ms;

	if (!gw_watch_is_armed(child->watch))
		return -1;
	if (now_ns >= child->deadline_ns)
		return 0;
	ms = (child->deadline_ns - now_ns + GW_NS_PER_MS - 1) / GW_NS_PER_MS;
	return ms > 3600000 ? 3600000 : (int)ms;
}

/* The deadline has passed. The owner may be at begin_commit this very moment: one wins. */
static void expire(struct child *child)
{
	int err;

	if (!change_word(child->watch, GW_WATCH_ARMED, GW_WATCH_EXPIRED))
		return;
	gw_fault_point("watchdog-expired");
	err = child->config->take_back(child->config->arg, &child->diag);
	atomic_store(&child->watch->word, GW_WATCH_TAKEN_BACK);
	(void)!send(child->fd, "T", 1, MSG_NOSIGNAL | MSG_DONTWAIT);
	if (err == 0)
		gw_say(&child->diag, GW_WARNING,
		       "the deadline has passed before the commit; the source goes on");
}

/* Returns when the owner is gone, or has closed its end. */
static void watch_owner(struct child *child)
{
	struct pollfd pollfd = { .fd = child->fd, .events = POLLIN };

	for (;;) {
		/* The owner never sends: readable means closed. */
		if (poll(&pollfd, 1, poll_timeout_ms(child)) > 0)
			return;
		if (gw_now_ns(&gw_clock_monotonic) >= child->deadline_ns)
			expire(child);
	}
}

static void take_back(struct child *child)
{
	const char *const text = child->config->taken_back;

	if (child->config->take_back(child->config->arg, &child->diag) == 0)
		gw_say(&child->diag, GW_WARNING, "%s", text != NULL ? text :
		       "godwit has died before the commit; the source goes on");
}

static void finish(struct child *child)
{
	if (child->config->finish(child->config->arg, &child->diag) == 0)
		gw_say(&child->diag, GW_WARNING,
		       "godwit has died after the commit; the switch to the target is finished");
}

/* The owner is gone. Whoever cleans up reads the record first. */
static void decide(struct child *child)
{
	const uint32_t word = atomic_load(&child->watch->word);
	int committed;

	if (word == GW_WATCH_DONE)
		return;
	/* By these it was settled that no record would be written. */
	if (word == GW_WATCH_ABORTING || word == GW_WATCH_EXPIRED || word == GW_WATCH_TAKEN_BACK) {
		take_back(child);
		return;
	}
	committed = child->config->committed(child->config->state_dir);
	if (committed > 0) {
		finish(child);
	} else if (committed == 0 || word == GW_WATCH_ARMED) {
		/* Armed: the owner never came to write a record, readable journal or not. */
		take_back(child);
	} else {
		gw_fail(&child->diag, committed,
			"godwit has died, and its journal in %s cannot be read (%s): writers stay "
			"stopped until `godwit cleanup %s`", child->config->state_dir,
			strerror(-committed), child->config->migration);
	}
}

static void __attribute__((noreturn)) run_child(struct child *child)
{
	child->diag = (struct gw_diag){ .fn = print_message, .arg = child };
	leave_terminal();
	drop_standard_streams();
	close_all_but(child);
	avoid_oom_kill();
	gw_manners_drop();
	/* A fault while things are frozen might wait for memory that only a write can free. */
	if (mlockall(MCL_CURRENT | MCL_FUTURE) != 0) {
		gw_fail(&child->diag, -errno, "cannot lock memory: %s", strerror(errno));
		_exit(1);
	}
	if (send(child->fd, "R", 1, MSG_NOSIGNAL) == 1) {
		watch_owner(child);
		decide(child);
	}
	_exit(0);
}

/* ---- The owner. ---- */

static int wait_until_ready(int fd)
{
	struct pollfd pollfd = { .fd = fd, .events = POLLIN };
	const uint64_t end_ns = gw_now_ns(&gw_clock_monotonic) + READY_TIMEOUT_MS * GW_NS_PER_MS;
	char byte;
	int n;

	do {
		n = poll(&pollfd, 1, READY_TIMEOUT_MS);
	} while (n < 0 && errno == EINTR && gw_now_ns(&gw_clock_monotonic) < end_ns);
	if (n <= 0)
		return -ETIMEDOUT;
	return recv(fd, &byte, 1, 0) == 1 ? 0 : -ECHILD;
}

/* Closing our end is what the child waits for. */
static void reap(struct gw_watchdog *watchdog)
{
	close(watchdog->fd);
	while (waitpid(watchdog->pid, NULL, 0) < 0 && errno == EINTR)
		;
	watchdog->pid = 0;
	watchdog->fd = -1;
}

int gw_watchdog_arm(struct gw_watchdog *watchdog, struct gw_watch *watch,
		    const struct gw_watchdog_config *config, struct gw_diag *diag)
{
	struct child child = { .config = config, .watch = watch };
	int pair[2], err;

	assert(watchdog->pid == 0);
	assert(config->keep_count <= GW_WATCHDOG_FDS_MAX);
	child.deadline_ns = gw_now_ns(&gw_clock_monotonic) + config->deadline_ns;
	atomic_store(&watch->word, GW_WATCH_ARMED);
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) != 0)
		return gw_fail(diag, -errno, "cannot start the watchdog: %s", strerror(errno));
	watchdog->pid = fork();
	if (watchdog->pid < 0) {
		err = -errno;
		watchdog->pid = 0;
		close(pair[0]);
		close(pair[1]);
		return gw_fail(diag, err, "cannot start the watchdog: %s", strerror(-err));
	}
	if (watchdog->pid == 0) {
		child.fd = pair[1];
		run_child(&child);
	}
	close(pair[1]);
	watchdog->fd = pair[0];
	watchdog->watch = watch;
	err = wait_until_ready(watchdog->fd);
	if (err == 0)
		return 0;
	/* Nothing is stopped yet, so nothing is lost with it. */
	kill(watchdog->pid, SIGKILL);
	reap(watchdog);
	return gw_fail(diag, err, "the watchdog did not start: %s", strerror(-err));
}

bool gw_watchdog_has_died(const struct gw_watchdog *watchdog)
{
	struct pollfd pollfd = { .fd = watchdog->fd, .events = POLLIN };

	return poll(&pollfd, 1, 0) > 0 && (pollfd.revents & (POLLHUP | POLLERR)) != 0;
}

int gw_watchdog_begin_commit(struct gw_watchdog *watchdog)
{
	assert(watchdog->pid > 0);
	if (gw_watchdog_has_died(watchdog))
		return -EOWNERDEAD;
	return change_word(watchdog->watch, GW_WATCH_ARMED, GW_WATCH_COMMITTING) ? 0 : -ETIME;
}

void gw_watchdog_take_over(struct gw_watchdog *watchdog)
{
	struct pollfd pollfd = { .fd = watchdog->fd, .events = POLLIN };
	struct gw_watch *const watch = watchdog->watch;

	assert(watchdog->pid > 0);
	if (change_word(watch, GW_WATCH_ARMED, GW_WATCH_ABORTING) ||
	    change_word(watch, GW_WATCH_COMMITTING, GW_WATCH_ABORTING))
		return;
	/* It speaks up when it is through; should it die instead, we see that too. */
	while (atomic_load(&watch->word) == GW_WATCH_EXPIRED && !gw_watchdog_has_died(watchdog))
		poll(&pollfd, 1, 100);
}

void gw_watchdog_disarm(struct gw_watchdog *watchdog)
{
	if (watchdog->pid == 0)
		return;
	atomic_store(&watchdog->watch->word, GW_WATCH_DONE);
	reap(watchdog);
}

void gw_watchdog_leave(struct gw_watchdog *watchdog)
{
	if (watchdog->pid != 0)
		reap(watchdog);
}

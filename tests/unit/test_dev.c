// SPDX-License-Identifier: GPL-2.0-or-later
#include "dev.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

/* An implementation that does as it is told: each attempt gets the next answer of the script. */
struct script {
	int64_t answers[16];
	struct gw_io attempts[16];
	uint64_t at_ns[16];
	uint32_t count, answered;
	uint32_t tag;
	uint64_t now_ns;
	uint32_t refusals;		/* so often the queue is full first */
	int reap_err;
	bool closed;
};

#define ALL INT64_MAX			/* answer: everything */
static char buffer[65536] __attribute__((aligned(4096)));

static uint64_t script_now_ns(void *arg)
{
	return ((struct script *)arg)->now_ns;
}

static int script_submit(void *self, uint32_t tag, const struct gw_io *io)
{
	struct script *const script = self;

	if (script->refusals > 0) {
		script->refusals--;
		return -EAGAIN;
	}
	cr_assert(script->count < 16);
	script->at_ns[script->count] = script->now_ns;
	script->attempts[script->count++] = *io;
	script->tag = tag;
	return 0;
}

static int script_reap(void *self, uint32_t *tags, int64_t *bytes, uint32_t max,
		       uint64_t timeout_ns)
{
	struct script *const script = self;
	int64_t answer;

	cr_assert(max > 0);
	if (script->reap_err != 0)
		return script->reap_err;
	if (script->answered == script->count) {
		script->now_ns += timeout_ns;
		return 0;
	}
	answer = script->answers[script->answered];
	tags[0] = script->tag;
	bytes[0] = answer != ALL ? answer :
		(int64_t)script->attempts[script->answered].length_bytes;
	script->answered++;
	return 1;
}

static void script_close(void *self)
{
	((struct script *)self)->closed = true;
}

static const struct gw_dev_ops script_ops = { "script", script_submit, script_reap, script_close };
static const struct gw_end_info ends[GW_ENDS] = { { 65536 + 100, 512, true }, { 65536, 4096, false } };
static struct script script;
static struct gw_clock script_clock = { script_now_ns, &script };
static struct gw_dev *dev;

static void start(void)
{
	cr_assert(gw_dev_create(&dev, &script_ops, &script, 4, ends, NULL, &script_clock) == 0);
}

static void end(void)
{
	gw_dev_close(dev);
	cr_expect(script.closed);
}

TestSuite(dev, .init = start, .fini = end);

static int run(enum gw_io_op op, enum gw_end at_end, uint64_t offset_bytes, uint64_t length_bytes)
{
	const bool has_data = op == GW_IO_READ || op == GW_IO_WRITE;
	const struct gw_io io = { op, at_end, has_data ? buffer : NULL, offset_bytes, length_bytes };
	struct gw_io_done done;

	gw_dev_submit(dev, 3, &io);
	cr_assert(gw_dev_reap(dev, &done, 1, 3600 * GW_NS_PER_S) == 1);
	cr_assert(done.tag == 3);
	return done.result;
}

Test(dev, what_is_complete_is_done)
{
	script.answers[0] = ALL;
	cr_expect(run(GW_IO_READ, GW_SOURCE, 512, 1024) == 0);
	cr_expect(gw_dev_stats(dev)->ios[GW_SOURCE] == 1);
	cr_expect(gw_dev_stats(dev)->bytes[GW_SOURCE] == 1024);
	cr_expect(gw_dev_stats(dev)->ios[GW_TARGET] == 0);
}

Test(dev, nothing_within_the_timeout)
{
	struct gw_io_done done;

	cr_expect(gw_dev_reap(dev, &done, 1, 5000) == 0);
	cr_expect(script.now_ns == 5000);
	cr_expect(gw_dev_reap(dev, &done, 1, 0) == 0);
}

Test(dev, a_short_transfer_goes_on_where_it_stopped)
{
	script.answers[0] = 4096;
	script.answers[1] = 8192;
	script.answers[2] = ALL;
	cr_expect(run(GW_IO_WRITE, GW_TARGET, 8192, 16384) == 0);
	cr_assert(script.count == 3);
	cr_expect(script.attempts[1].offset_bytes == 8192 + 4096);
	cr_expect(script.attempts[1].length_bytes == 16384 - 4096);
	cr_expect(script.attempts[1].data == buffer + 4096);
	cr_expect(script.attempts[2].offset_bytes == 8192 + 12288);
	cr_expect(script.attempts[2].length_bytes == 4096);
	cr_expect(script.attempts[2].data == buffer + 12288);
	cr_expect(gw_dev_stats(dev)->short_ios == 2);
	cr_expect(gw_dev_stats(dev)->bytes[GW_TARGET] == 16384);
}

Test(dev, a_short_one_in_mid_unit_goes_back_to_its_start)
{
	script.answers[0] = 4096 + 4095;
	script.answers[1] = ALL;
	cr_expect(run(GW_IO_WRITE, GW_TARGET, 0, 16384) == 0);
	cr_expect(script.attempts[1].offset_bytes == 4096);
}

Test(dev, a_read_may_end_where_the_device_does)
{
	script.answers[0] = 512;
	script.answers[1] = ALL;
	cr_expect(run(GW_IO_READ, GW_SOURCE, 65536 - 512, 612) == 0);
	cr_expect(script.attempts[1].offset_bytes == 65536);
	cr_expect(script.attempts[1].length_bytes == 100);
}

Test(dev, no_bytes_is_an_error_after_some_tries)
{
	script.answers[0] = script.answers[1] = script.answers[2] = 0;
	cr_expect(run(GW_IO_READ, GW_SOURCE, 0, 512) == -EIO);
	cr_expect(script.count == 3);
}

Test(dev, eio_is_tried_three_times_ten_ms_apart)
{
	script.answers[0] = script.answers[1] = script.answers[2] = -EIO;
	cr_expect(run(GW_IO_READ, GW_SOURCE, 0, 512) == -EIO);
	cr_assert(script.count == 3);
	cr_expect(script.at_ns[1] == 10 * GW_NS_PER_MS);
	cr_expect(script.at_ns[2] == 20 * GW_NS_PER_MS);
	cr_expect(gw_dev_stats(dev)->eio_retries == 2);
}

Test(dev, all_kinds_of_bad_media_are_tried_again)
{
	static const int kinds[] = { -EIO, -ENODATA, -EREMOTEIO, -EILSEQ, -ETIMEDOUT };

	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
		script.count = script.answered = 0;
		script.answers[0] = kinds[i];
		script.answers[1] = ALL;
		cr_expect(run(GW_IO_WRITE, GW_TARGET, 0, 4096) == 0);
	}
}

Test(dev, bytes_that_moved_earn_new_tries)
{
	script.answers[0] = script.answers[1] = -EIO;
	script.answers[2] = 512;
	script.answers[3] = script.answers[4] = -EIO;
	script.answers[5] = ALL;
	cr_expect(run(GW_IO_READ, GW_SOURCE, 0, 1024) == 0);
}

Test(dev, a_busy_queue_is_asked_again)
{
	script.answers[0] = -EAGAIN;
	script.answers[1] = -EINTR;
	script.answers[2] = -ENOMEM;
	script.answers[3] = -EBUSY;
	script.answers[4] = ALL;
	cr_expect(run(GW_IO_WRITE, GW_TARGET, 0, 4096) == 0);
	cr_expect(script.at_ns[4] == 4 * GW_NS_PER_MS);
	cr_expect(gw_dev_stats(dev)->busy_retries == 4);
}

Test(dev, but_not_for_ever)
{
	const struct gw_dev_rules rules = { .busy_tries = 5 };

	gw_dev_close(dev);
	cr_assert(gw_dev_create(&dev, &script_ops, &script, 4, ends, &rules, &script_clock) == 0);
	for (int i = 0; i < 5; i++)
		script.answers[i] = -EAGAIN;
	cr_expect(run(GW_IO_WRITE, GW_TARGET, 0, 4096) == -EAGAIN);
	cr_expect(script.count == 5);
}

Test(dev, what_cannot_get_better_fails_at_once)
{
	static const int kinds[] = { -ENODEV, -ENXIO, -ENOSPC, -EROFS, -EBADF, -EINVAL,
				     -EOPNOTSUPP, -ECANCELED };

	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
		script.count = script.answered = 0;
		script.answers[0] = kinds[i];
		cr_expect(run(GW_IO_ZERO, GW_TARGET, 0, 4096) == kinds[i]);
		cr_expect(script.count == 1);
	}
}

Test(dev, a_flush_is_never_tried_again)
{
	script.answers[0] = -EIO;
	cr_expect(run(GW_IO_FLUSH, GW_TARGET, 0, 0) == -EIO);
	script.answers[1] = -EINTR;
	cr_expect(run(GW_IO_FLUSH, GW_TARGET, 0, 0) == -EINTR);
	cr_expect(script.count == 2);
	script.answers[2] = ALL;
	cr_expect(run(GW_IO_FLUSH, GW_TARGET, 0, 0) == 0);
}

Test(dev, a_full_queue_is_no_failure)
{
	script.refusals = 3;
	script.answers[0] = ALL;
	cr_expect(run(GW_IO_READ, GW_SOURCE, 0, 512) == 0);
	cr_expect(script.count == 1);
}

Test(dev, waiting_for_one_does_not_hold_up_others)
{
	const struct gw_io first = { GW_IO_READ, GW_SOURCE, buffer, 0, 512 };
	const struct gw_io second = { GW_IO_READ, GW_SOURCE, buffer + 4096, 512, 512 };
	struct gw_io_done done;

	script.answers[0] = -EIO;
	script.answers[1] = script.answers[2] = ALL;
	gw_dev_submit(dev, 0, &first);
	cr_expect(gw_dev_reap(dev, &done, 1, 1000) == 0);
	gw_dev_submit(dev, 1, &second);
	cr_expect(gw_dev_reap(dev, &done, 1, 1000) == 1);
	cr_expect(done.tag == 1);
	cr_expect(script.now_ns < GW_NS_PER_MS);
	cr_expect(gw_dev_reap(dev, &done, 1, GW_NS_PER_S) == 1);
	cr_expect(done.tag == 0);
	cr_expect(done.result == 0);
}

Test(dev, a_broken_queue_is_said)
{
	struct gw_io_done done;

	script.reap_err = -EFAULT;
	cr_expect(gw_dev_reap(dev, &done, 1, 1000) == -EFAULT);
}

Test(dev, an_io_past_the_end_is_a_bug, .signal = SIGABRT)
{
	run(GW_IO_WRITE, GW_TARGET, 65536, 4096);
}

Test(dev, an_io_out_of_line_is_a_bug, .signal = SIGABRT)
{
	run(GW_IO_WRITE, GW_TARGET, 512, 4096);
}

Test(dev, a_write_to_the_source_is_a_bug, .signal = SIGABRT)
{
	run(GW_IO_WRITE, GW_SOURCE, 0, 4096);
}

Test(dev, more_bytes_than_asked_for_is_a_bug, .signal = SIGABRT)
{
	script.answers[0] = 513;
	run(GW_IO_READ, GW_SOURCE, 0, 512);
}

/* ---- io_uring on files ---- */

struct files {
	char path[GW_ENDS][64];
	struct gw_dev_uring_config config;
	struct gw_diag diag;
};

static void *slab;

#define FILE_BYTES (3 * 4096 + 777)
#define SLAB_BYTES (UINT64_C(1) << 20)

/* O_DIRECT where the file system has it. */
static int open_file(const char *path, int flags)
{
	const int fd = open(path, flags | O_DIRECT);

	return fd >= 0 ? fd : open(path, flags);
}

static void open_files(struct files *files)
{
	static char content[FILE_BYTES];

	slab = aligned_alloc(4096, SLAB_BYTES);
	memset(slab, 0x77, SLAB_BYTES);
	memset(content, 'x', sizeof(content));
	*files = (struct files){ .config = { .slab = slab, .slab_bytes = SLAB_BYTES, .depth = 8,
					     .clock = &gw_clock_monotonic } };
	for (int i = 0; i < GW_ENDS; i++) {
		int fd;

		strcpy(files->path[i], "/tmp/gw-test-dev.XXXXXX");
		fd = mkstemp(files->path[i]);
		cr_assert(fd >= 0);
		cr_assert(write(fd, content, sizeof(content)) == sizeof(content));
		close(fd);
		files->config.fd[i] = open_file(files->path[i], i == GW_SOURCE ? O_RDONLY : O_RDWR);
		cr_assert(files->config.fd[i] >= 0);
		files->config.ends[i] = (struct gw_end_info){ FILE_BYTES, 4096, true };
	}
	if (gw_dev_open_uring(&dev, &files->config, &files->diag) < 0)
		cr_skip_test("no io_uring here: %s", files->diag.text);
}

static void close_files(struct files *files)
{
	gw_dev_close(dev);
	for (int i = 0; i < GW_ENDS; i++) {
		close(files->config.fd[i]);
		unlink(files->path[i]);
	}
	free(slab);
}

static int run_io(enum gw_io_op op, enum gw_end at_end, void *data, uint64_t offset_bytes,
		  uint64_t length_bytes)
{
	const struct gw_io io = { op, at_end, data, offset_bytes, length_bytes };
	struct gw_io_done done;

	gw_dev_submit(dev, 7, &io);
	cr_assert(gw_dev_reap(dev, &done, 1, 10 * GW_NS_PER_S) == 1);
	cr_assert(done.tag == 7);
	return done.result;
}

Test(dev_uring, reads_a_files_odd_end_and_zeroes_behind_it)
{
	struct files files;
	const char *const bytes = (open_files(&files), slab);

	cr_assert(run_io(GW_IO_READ, GW_SOURCE, slab, 2 * 4096, 4096 + 777) == 0);
	for (int i = 0; i < 4096 + 777; i++)
		cr_assert(bytes[i] == 'x');
	for (int i = 4096 + 777; i < 2 * 4096; i++)
		cr_assert(bytes[i] == 0);
	cr_expect(bytes[2 * 4096] == 0x77);
	close_files(&files);
}

Test(dev_uring, writes_zeroes_and_flushes)
{
	struct files files;
	int err;

	open_files(&files);
	cr_assert(run_io(GW_IO_WRITE, GW_TARGET, slab, 3 * 4096, 4096) == 0);
	err = run_io(GW_IO_ZERO, GW_TARGET, NULL, 4096, 4096);
	cr_assert(err == 0 || err == -EOPNOTSUPP);
	cr_assert(run_io(GW_IO_FLUSH, GW_TARGET, NULL, 0, 0) == 0);
	cr_assert(run_io(GW_IO_READ, GW_TARGET, (char *)slab + 65536, 0, FILE_BYTES) == 0);
	cr_expect(((char *)slab)[65536] == 'x');
	cr_expect(((char *)slab)[65536 + 4096] == (err == 0 ? 0 : 'x'));
	cr_expect(((char *)slab)[65536 + 2 * 4096] == 'x');
	cr_expect(((char *)slab)[65536 + 3 * 4096] == 0x77);
	cr_expect(((char *)slab)[65536 + FILE_BYTES - 1] == 0x77);
	close_files(&files);
}

Test(dev_uring, a_file_that_was_cut_short_is_an_error)
{
	struct files files;

	open_files(&files);
	cr_assert(truncate(files.path[GW_SOURCE], 4096) == 0);
	cr_expect(run_io(GW_IO_READ, GW_SOURCE, slab, 0, 3 * 4096) == -EIO);
	close_files(&files);
}

static void ignore(int number)
{
	(void)number;
}

Test(dev_uring, waits_out_its_time_in_spite_of_signals)
{
	const struct sigaction action = { .sa_handler = ignore };
	const struct itimerval often = { { 0, 3000 }, { 0, 3000 } };
	struct gw_io_done done;
	struct files files;
	uint64_t start_ns, ns;

	open_files(&files);
	sigaction(SIGALRM, &action, NULL);
	setitimer(ITIMER_REAL, &often, NULL);
	start_ns = gw_now_ns(&gw_clock_monotonic);
	cr_expect(gw_dev_reap(dev, &done, 1, 30 * GW_NS_PER_MS) == 0);
	ns = gw_now_ns(&gw_clock_monotonic) - start_ns;
	cr_expect(ns >= 30 * GW_NS_PER_MS);
	cr_expect(ns < 30 * GW_NS_PER_S);
	close_files(&files);
}

Test(dev_uring, says_what_a_closed_descriptor_is)
{
	struct gw_dev_uring_config config = { .fd = { -9, -9 }, .slab = buffer,
		.slab_bytes = sizeof(buffer), .depth = 8, .clock = &gw_clock_monotonic };
	struct gw_diag diag = { 0 };

	for (int i = 0; i < GW_ENDS; i++)
		config.ends[i] = (struct gw_end_info){ FILE_BYTES, 4096, true };
	cr_expect(gw_dev_open_uring(&dev, &config, &diag) < 0);
	cr_expect(diag.failed);
	cr_expect(strlen(diag.text) > 0);
}

/* The lock on a file goes when the last reference to what was opened does, as a claim on a disk does. */
static bool is_locked(const char *path)
{
	const int fd = open(path, O_RDWR);
	const bool locked = flock(fd, LOCK_EX | LOCK_NB) != 0;

	cr_assert(fd >= 0);
	close(fd);
	return locked;
}

/* As the watchdog is: it has no descriptor of its parent's, but what was mapped. */
static pid_t fork_child(void)
{
	const pid_t pid = fork();

	cr_assert(pid >= 0);
	if (pid == 0) {
		close_range(0, ~0u, 0);
		pause();
		_exit(0);
	}
	return pid;
}

static bool has_a_ring(pid_t pid)
{
	char path[64], line[512];
	bool found = false;
	FILE *maps;

	snprintf(path, sizeof(path), "/proc/%d/maps", (int)pid);
	maps = fopen(path, "r");
	cr_assert(maps != NULL);
	while (!found && fgets(line, sizeof(line), maps) != NULL)
		found = strstr(line, "io_uring") != NULL;
	fclose(maps);
	return found;
}

/*
 * A request that a worker of the kernel did (a flush) may hold on to its file for a moment, until the
 * ring is gone: a race that is seldom lost. So nobody else may keep the ring.
 */
Test(dev_uring, lets_go_of_its_files_while_a_child_lives)
{
	struct files files;
	bool held = true;
	pid_t child;

	open_files(&files);
	cr_assert(flock(files.config.fd[GW_TARGET], LOCK_EX | LOCK_NB) == 0);
	cr_assert(run_io(GW_IO_FLUSH, GW_TARGET, NULL, 0, 0) == 0);
	cr_expect(has_a_ring(getpid()));
	child = fork_child();
	cr_expect(!has_a_ring(child));
	gw_dev_close(dev);
	close(files.config.fd[GW_TARGET]);
	/* The child may have been forked, and not have closed it yet. */
	for (int ms = 0; ms < 10000 && held; ms++) {
		held = is_locked(files.path[GW_TARGET]);
		usleep(1000);
	}
	cr_expect(!held);
	kill(child, SIGKILL);
	waitpid(child, NULL, 0);
	close(files.config.fd[GW_SOURCE]);
	unlink(files.path[GW_SOURCE]);
	unlink(files.path[GW_TARGET]);
	free(slab);
}

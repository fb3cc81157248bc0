// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The hand-off on real file systems: an owner process freezes them while writers
 * write, and dies, stops or is late at every place that matters. The one
 * question: is what a writer was told to be safe still on the source (no
 * commit), and was no writer told so after the commit? Needs root.
 *
 * This program is its descendants' subreaper, so that it sees the watchdogs end.
 */
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <linux/fs.h>

#include "clock.h"
#include "handoff.h"
#include "mount_fd.h"
#include "only.h"

#define BLOCK_BYTES 4096
#define FILE_BLOCKS 32
#define WRITER_MAGIC UINT64_C(0x7265746972577747)
#define PATIENCE_NS (60 * GW_NS_PER_S)
#define IMAGE_MIB 320				/* the smallest XFS is 300 */

static char work_dir[64];
static int failures;
static uint64_t seed;

/* ---- Small help. ---- */

static int run(const char *format, ...) __attribute__((format(printf, 1, 2)));
static int run(const char *format, ...)
{
	char command[2048];
	va_list args;
	int status;

	va_start(args, format);
	vsnprintf(command, sizeof(command), format, args);
	va_end(args);
	status = system(command);
	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static void must(bool is_true, const char *what)
{
	if (is_true)
		return;
	printf("Bail out! %s: %s\n", what, strerror(errno));
	fflush(stdout);
	exit(1);
}

static void pause_ms(long ms)
{
	const struct timespec ts = { ms / 1000, ms % 1000 * 1000000 };

	nanosleep(&ts, NULL);
}

static uint32_t random_below(uint32_t limit)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return (uint32_t)(seed % limit);
}

static bool had_trouble;	/* in the test that runs */

static bool expect_at(bool is_true, const char *what, int line)
{
	if (!is_true)
		printf("# line %d: expected %s\n", line, what);
	had_trouble |= !is_true;
	return is_true;
}
#define EXPECT(condition) expect_at(condition, #condition, __LINE__)

/* Where one thing is wrong already, others are not waited for as long. */
static uint64_t patience_ns(void)
{
	return had_trouble ? GW_NS_PER_S : PATIENCE_NS;
}

/* Waits for a condition, with a bound. */
#define WAIT_FOR(condition) ({							\
	const uint64_t end_ns_ = gw_now_ns(&gw_clock_monotonic) + patience_ns();	\
	bool is_true_;								\
	while (!(is_true_ = (condition)) && gw_now_ns(&gw_clock_monotonic) < end_ns_)	\
		pause_ms(2);							\
	expect_at(is_true_, #condition, __LINE__);				\
})

static void print_diag(void *arg, enum gw_level level, const char *text)
{
	(void)arg;
	if (level == GW_ERROR || getenv("VERBOSE") != NULL)
		printf("# %s\n", text);
}

/* ---- A source: a loop device over a file, one file system or two partitions. ---- */

#define PARTS_MAX 2

struct source {
	const char *fs_type;
	char image[128], loop[64];
	char part[PARTS_MAX][64], dir[PARTS_MAX][128];
	int parts;
	struct gw_node node, target;
	char state_dir[128];
};

static void attach(struct source *source, const char *fs_type)
{
	FILE *pipe;
	char command[256];

	memset(source, 0, sizeof(*source));
	source->fs_type = fs_type;
	snprintf(source->image, sizeof(source->image), "%s/image", work_dir);
	snprintf(source->state_dir, sizeof(source->state_dir), "%s/state", work_dir);
	must(run("rm -rf %s %s && mkdir %s && truncate -s %dM %s", source->image,
		 source->state_dir, source->state_dir, IMAGE_MIB, source->image) == 0, "image");
	snprintf(command, sizeof(command), "losetup -f --show %s", source->image);
	pipe = popen(command, "r");
	must(pipe != NULL && fscanf(pipe, "%63s", source->loop) == 1, "losetup");
	pclose(pipe);
	/* Partitions outlive the detaching of a loop device. */
	run("partx -d %s 2>/dev/null", source->loop);
	for (int i = 0; i < PARTS_MAX; i++)
		snprintf(source->dir[i], sizeof(source->dir[i]), "%s/mount%d", work_dir, i);
}

static void look(struct source *source)
{
	struct gw_diag diag = { .fn = print_diag };

	must(gw_node_look(&source->node, source->loop, &diag) == 0, diag.text);
	source->target = source->node;
	snprintf(source->target.path, sizeof(source->target.path), "/dev/no-target");
}

static void make_and_mount(struct source *source)
{
	for (int i = 0; i < source->parts; i++)
		must(run("mkfs.%s -q %s >/dev/null 2>&1 && mkdir -p %s && mount %s %s",
			 source->fs_type, source->part[i], source->dir[i], source->part[i],
			 source->dir[i]) == 0, "mkfs, mount");
}

static void set_up(struct source *source, const char *fs_type)
{
	attach(source, fs_type);
	snprintf(source->part[0], sizeof(source->part[0]), "%s", source->loop);
	source->parts = 1;
	make_and_mount(source);
	look(source);
}

static void set_up_two(struct source *source)
{
	const int sectors = IMAGE_MIB / 2 * 2048 - 4096;

	attach(source, "ext4");
	source->parts = 2;
	for (int i = 0; i < 2; i++) {
		snprintf(source->part[i], sizeof(source->part[i]), "%.40sp%d", source->loop, i + 1);
		must(run("addpart %s %d %d %d", source->loop, i + 1, 2048 + i * sectors, sectors) == 0,
		     "addpart");
		for (int wait = 0; access(source->part[i], F_OK) != 0 && wait < 100; wait++) {
			/* Without udev nobody makes the node. */
			const char *const name = strrchr(source->part[i], '/') + 1;

			run("IFS=: read -r a b < /sys/class/block/%s/dev && mknod %s b $a $b 2>/dev/null",
			    name, source->part[i]);
			pause_ms(10);
		}
	}
	make_and_mount(source);
	look(source);
}

/* After a failure: leave nothing behind that would hang whoever comes next. */
static void rescue(const struct source *source)
{
	char fs_type[GW_MOUNT_FD_TYPE_BYTES];
	struct stat st;

	run("kill -9 $(cat /proc/%d/task/%d/children) 2>/dev/null", getpid(), getpid());
	for (int i = 0; i < source->parts; i++) {
		const int fd = stat(source->part[i], &st) == 0 ?
			gw_mount_fd_open(st.st_rdev, fs_type) : -1;

		if (fd >= 0 && ioctl(fd, FITHAW, 0) == 0)
			printf("# %s was left frozen\n", source->dir[i]);
		if (fd >= 0)
			close(fd);
	}
	pause_ms(500);
	while (waitpid(-1, NULL, WNOHANG) > 0)
		;
}

/* A mount namespace made meanwhile, by anybody, has copies of our mounts while it lives. */
static bool is_free(const char *path)
{
	const int fd = open(path, O_RDONLY | O_EXCL | O_CLOEXEC);

	if (fd >= 0)
		close(fd);
	return fd >= 0;
}

static void unmount(const struct source *source, int part)
{
	WAIT_FOR(run("umount %s 2>/dev/null", source->dir[part]) == 0);
	WAIT_FOR(is_free(source->part[part]));
}

/* Nothing frozen (else umount would wait), nothing mounted, no process left. */
static void tear_down(struct source *source)
{
	int status;

	if (had_trouble)
		rescue(source);
	EXPECT(waitpid(-1, &status, WNOHANG) < 0 && errno == ECHILD);
	for (int i = 0; i < source->parts; i++) {
		const int fd = open(source->dir[i], O_RDONLY | O_DIRECTORY | O_CLOEXEC);

		if (fd >= 0) {
			EXPECT(ioctl(fd, FITHAW, 0) != 0);
			close(fd);
		}
		unmount(source, i);
		/* Somebody who looks at all devices may have it open for a moment. */
		if (source->parts > 1)
			WAIT_FOR(run("delpart %s %d 2>/dev/null", source->loop, i + 1) == 0);
	}
	EXPECT(run("losetup -d %s", source->loop) == 0);
	unlink(source->image);
}

static bool is_frozen(const char *dir)
{
	const int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	bool answer;

	must(fd >= 0, dir);
	answer = ioctl(fd, FIFREEZE, 0) != 0;
	if (!answer)
		ioctl(fd, FITHAW, 0);
	else
		answer = errno == EBUSY;
	close(fd);
	return answer;
}

/* ---- Writers. ---- */

enum writer_kind { BUFFERED, SYNCED, DIRECT, MAPPED, WRITER_KINDS };
static const char *const writer_names[] = { "buffered+fsync", "O_DSYNC", "O_DIRECT", "mmap+msync" };

struct writer {
	_Atomic uint64_t acknowledged;	/* this many blocks are safe */
	_Atomic int err;		/* it got an error, and that was the last it did */
	pid_t pid;
	char path[192];
};

static struct writer *writers;	/* shared */

static void fill(uint64_t *block, uint64_t number)
{
	for (size_t i = 0; i < BLOCK_BYTES / 8; i++)
		block[i] = i % 2 == 0 ? WRITER_MAGIC : number;
}

static int write_block(enum writer_kind kind, int fd, char *map, const void *block, uint64_t number)
{
	const off_t offset = (off_t)(number % FILE_BLOCKS * BLOCK_BYTES);

	if (kind == MAPPED) {
		memcpy(map + offset, block, BLOCK_BYTES);
		return msync(map + offset, BLOCK_BYTES, MS_SYNC) == 0 ? 0 : -errno;
	}
	if (pwrite(fd, block, BLOCK_BYTES, offset) != BLOCK_BYTES)
		return -errno;
	return kind == SYNCED || fdatasync(fd) == 0 ? 0 : -errno;
}

static void on_sigbus(int number)
{
	(void)number;
	for (int i = 0; i < WRITER_KINDS; i++)
		if (writers[i].pid == getpid())
			atomic_store(&writers[i].err, -EIO);
	_exit(0);
}

static void __attribute__((noreturn)) write_on(struct writer *writer, enum writer_kind kind)
{
	const int flags = kind == SYNCED ? O_DSYNC : kind == DIRECT ? O_DIRECT | O_DSYNC : 0;
	const int fd = open(writer->path, O_RDWR | flags | O_CLOEXEC);
	uint64_t *const block = aligned_alloc(BLOCK_BYTES, BLOCK_BYTES);
	char *map = mmap(NULL, FILE_BLOCKS * BLOCK_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	int err;

	assert(fd >= 0);
	assert(block != NULL);
	assert(map != MAP_FAILED);
	writer->pid = getpid();
	signal(SIGBUS, on_sigbus);
	for (uint64_t number = 0;; number++) {
		fill(block, number);
		err = write_block(kind, fd, map, block, number);
		if (err != 0)
			break;
		atomic_store(&writer->acknowledged, number + 1);
		pause_ms(1);
	}
	atomic_store(&writer->err, err);
	_exit(0);
}

static void start_writers(const struct source *source)
{
	memset(writers, 0, WRITER_KINDS * sizeof(*writers));
	for (int kind = 0; kind < WRITER_KINDS; kind++) {
		struct writer *const writer = &writers[kind];

		snprintf(writer->path, sizeof(writer->path), "%s/w%d",
			 source->dir[kind % source->parts], kind);
		must(run("dd if=/dev/zero of=%s bs=%d count=%d conv=fsync status=none", writer->path,
			 BLOCK_BYTES, FILE_BLOCKS) == 0, "dd");
		writer->pid = fork();
		if (writer->pid == 0)
			write_on(writer, (enum writer_kind)kind);
	}
	for (int kind = 0; kind < WRITER_KINDS; kind++)
		WAIT_FOR(atomic_load(&writers[kind].acknowledged) > 3);
}

static void note_acknowledged(uint64_t counts[WRITER_KINDS])
{
	for (int kind = 0; kind < WRITER_KINDS; kind++)
		counts[kind] = atomic_load(&writers[kind].acknowledged);
}

static void stop_writers(void)
{
	for (int kind = 0; kind < WRITER_KINDS; kind++) {
		kill(writers[kind].pid, SIGKILL);
		/* Not for ever: on a frozen file system it does not even die; see rescue(). */
		WAIT_FOR(waitpid(writers[kind].pid, NULL, WNOHANG) != 0);
		writers[kind].pid = 0;
	}
}

/* They go on, without an error, beyond what they had before. */
static void expect_going(const uint64_t before[WRITER_KINDS])
{
	for (int kind = 0; kind < WRITER_KINDS; kind++) {
		WAIT_FOR(atomic_load(&writers[kind].acknowledged) > before[kind] + 3);
		EXPECT(atomic_load(&writers[kind].err) == 0);
	}
}

/* Of a process: 'R', 'S', 'D' (it waits in the kernel), 'Z' (it has ended); 0: there is none. */
static char state_of(pid_t pid)
{
	char path[64], state = 0;
	FILE *file;

	snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
	file = fopen(path, "re");
	if (file == NULL)
		return 0;
	if (fscanf(file, "%*d (%*[^)]) %c", &state) != 1)
		state = 0;
	fclose(file);
	return state;
}

static bool all_wait(void)
{
	for (int kind = 0; kind < WRITER_KINDS; kind++)
		if (state_of(writers[kind].pid) != 'D')
			return false;
	return true;
}

/* All wait, and none gets further in a tenth of a second: what was safe before is acknowledged. */
static bool stand_still(void)
{
	uint64_t before[WRITER_KINDS], after[WRITER_KINDS];

	if (!all_wait())
		return false;
	note_acknowledged(before);
	pause_ms(100);
	note_acknowledged(after);
	return memcmp(before, after, sizeof(before)) == 0 && all_wait();
}

static void expect_blocked(void)
{
	WAIT_FOR(stand_still());
}

/* All that was acknowledged is in the files, read past the page cache. */
static void expect_data(void)
{
	uint64_t *const want = aligned_alloc(BLOCK_BYTES, BLOCK_BYTES);
	uint64_t *const have = aligned_alloc(BLOCK_BYTES, BLOCK_BYTES);

	assert(want != NULL);
	assert(have != NULL);
	for (int kind = 0; kind < WRITER_KINDS; kind++) {
		const uint64_t end = atomic_load(&writers[kind].acknowledged);
		const int fd = open(writers[kind].path, O_RDONLY | O_DIRECT | O_CLOEXEC);

		EXPECT(fd >= 0);
		for (uint64_t n = end > FILE_BLOCKS ? end - FILE_BLOCKS : 0; n < end; n++) {
			const off_t offset = (off_t)(n % FILE_BLOCKS * BLOCK_BYTES);

			EXPECT(pread(fd, have, BLOCK_BYTES, offset) == BLOCK_BYTES);
			fill(want, n);
			/* The one after the last may have been written, and not been acknowledged. */
			if (memcmp(want, have, BLOCK_BYTES) == 0)
				continue;
			fill(want, n + FILE_BLOCKS);
			EXPECT(memcmp(want, have, BLOCK_BYTES) == 0 && n + FILE_BLOCKS == end);
		}
		close(fd);
	}
	free(want);
	free(have);
}

/* ---- Content of the device. ---- */

static uint64_t *read_device(const struct source *source)
{
	const size_t bytes = (size_t)IMAGE_MIB << 20;
	const int fd = open(source->loop, O_RDONLY | O_DIRECT | O_CLOEXEC);
	char *const data = aligned_alloc(BLOCK_BYTES, bytes);

	must(fd >= 0, source->loop);
	must(data != NULL, "memory");
	for (size_t at = 0; at < bytes; at += 1 << 20)
		must(pread(fd, data + at, 1 << 20, (off_t)at) == 1 << 20, "read of the source");
	close(fd);
	return (uint64_t *)(void *)data;
}

/*
 * After the commit no writer's data may reach the source. Some kernels touch
 * the journal's superblock when a file system is shut down; that is nobody's data.
 */
static void expect_no_new_data(const struct source *source, const uint64_t *before)
{
	uint64_t *const after = read_device(source);
	const size_t words = (size_t)BLOCK_BYTES / 8, blocks = ((size_t)IMAGE_MIB << 20) / BLOCK_BYTES;
	size_t changed = 0;

	for (size_t i = 0; i < blocks; i++) {
		if (memcmp(before + i * words, after + i * words, BLOCK_BYTES) == 0)
			continue;
		changed++;
		EXPECT(after[i * words] != WRITER_MAGIC);
	}
	if (changed > 0)
		printf("# %zu blocks of metadata changed after the commit\n", changed);
	EXPECT(changed <= 2);
	free(after);
}

/* ---- The owner: a process that is made to die. ---- */

static char *commit_marker(const char *state_dir)
{
	static char path[256];

	snprintf(path, sizeof(path), "%s/commit", state_dir);
	return path;
}

/* The journal of these tests: a file "commit" is the record, "damaged" a journal that is. */
static int marker_committed(const char *state_dir)
{
	char path[256];

	snprintf(path, sizeof(path), "%s/damaged", state_dir);
	if (access(path, F_OK) == 0)
		return -EBADMSG;
	return access(commit_marker(state_dir), F_OK) == 0;
}

static void touch(const char *path)
{
	const int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);

	assert(fd >= 0);
	close(fd);
}

enum stage {
	AT_START, IS_PREPARED, IS_QUIESCED, IS_COMMITTING, IS_COMMITTED, IS_SWITCHED, IS_RESUMED,
	HAS_FAILED,
};

struct shared {
	_Atomic int stage;
	_Atomic int err;
	_Atomic int may_reach;		/* the owner waits before it goes beyond */
	_Atomic bool destroys;		/* ... or destroys the hand-off where it is, and ends */
	_Atomic bool has_recovery;
	char recovery[8192];
};

static struct shared *shared;

static struct gw_handoff_config config_for(const struct source *source, enum gw_handoff_kind kind)
{
	return (struct gw_handoff_config){
		.kind = kind, .migration = "test", .source = &source->node,
		.target = &source->target, .state_dir = source->state_dir,
		.deadline_ns = 60 * GW_NS_PER_S,
	};
}

static void reach(enum stage stage, int err)
{
	atomic_store(&shared->err, err);
	atomic_store(&shared->stage, err == 0 ? (int)stage : HAS_FAILED);
	if (err != 0)
		_exit(1);
}

static void destroy_and_exit(struct gw_handoff *handoff)
{
	gw_handoff_destroy(handoff);
	_exit(0);
}

static void wait_for_leave(struct gw_handoff *handoff, enum stage stage)
{
	while (atomic_load(&shared->may_reach) < (int)stage) {
		if (atomic_load(&shared->destroys))
			destroy_and_exit(handoff);
		pause_ms(1);
	}
}

static void __attribute__((noreturn)) own(const struct gw_handoff_config *config)
{
	struct gw_diag diag = { .fn = print_diag };
	struct gw_handoff *handoff;
	uint64_t cost_ns;

	assert(gw_handoff_create(&handoff, config) == 0);
	reach(IS_PREPARED, gw_handoff_prepare(handoff, &diag));
	snprintf(shared->recovery, sizeof(shared->recovery), "%s",
		 gw_handoff_recovery_json(handoff));
	atomic_store(&shared->has_recovery, true);
	assert(gw_handoff_sync(handoff, &cost_ns, &diag) == 0);
	wait_for_leave(handoff, IS_QUIESCED);
	reach(IS_QUIESCED, gw_handoff_quiesce(handoff, &diag));
	wait_for_leave(handoff, IS_COMMITTING);
	reach(IS_COMMITTING, gw_handoff_begin_commit(handoff, &diag));
	wait_for_leave(handoff, IS_COMMITTED);
	touch(commit_marker(config->state_dir));
	reach(IS_COMMITTED, 0);
	wait_for_leave(handoff, IS_SWITCHED);
	reach(IS_SWITCHED, gw_handoff_switch(handoff, &diag));
	wait_for_leave(handoff, IS_RESUMED);
	reach(IS_RESUMED, gw_handoff_resume(handoff, &diag));
	wait_for_leave(handoff, HAS_FAILED);
	destroy_and_exit(handoff);
	_exit(0);
}

/* Goes as far as it may, and waits there: to be killed, to go on, to destroy. */
static pid_t start_owner(const struct gw_handoff_config *config, enum stage may_reach)
{
	pid_t pid;

	memset(shared, 0, sizeof(*shared));
	atomic_store(&shared->may_reach, (int)may_reach);
	fflush(stdout);
	pid = fork();
	if (pid == 0)
		own(config);
	return pid;
}

static void wait_for_stage(enum stage stage)
{
	WAIT_FOR(atomic_load(&shared->stage) >= (int)stage);
	EXPECT(atomic_load(&shared->stage) == (int)stage);
}

static void kill_and_reap(pid_t pid)
{
	kill(pid, SIGKILL);
	EXPECT(waitpid(pid, NULL, 0) == pid);
}

static bool is_writer(pid_t pid)
{
	for (int kind = 0; kind < WRITER_KINDS; kind++)
		if (writers[kind].pid == pid)
			return true;
	return false;
}

/* Reaps what has ended. Return: how many children of ours, writers apart, are left. */
static int count_others(void)
{
	char path[64];
	FILE *file;
	int pid, count = 0;

	snprintf(path, sizeof(path), "/proc/%d/task/%d/children", getpid(), getpid());
	file = fopen(path, "re");
	must(file != NULL, path);
	while (fscanf(file, "%d", &pid) == 1)
		count += !is_writer(pid) && waitpid(pid, NULL, WNOHANG) == 0;
	fclose(file);
	return count;
}

/* Orphans, watchdogs above all, are our children now, and end. */
static void reap_orphans(void)
{
	WAIT_FOR(count_others() == 0);
}

/* ---- Tests: freeze. ---- */

static void dies_before_commit(const char *fs_type, enum stage stage, int parts)
{
	struct source source;
	struct gw_handoff_config config;
	uint64_t before[WRITER_KINDS];
	pid_t owner;

	if (parts == 1)
		set_up(&source, fs_type);
	else
		set_up_two(&source);
	start_writers(&source);
	config = config_for(&source, GW_HANDOFF_FREEZE);
	owner = start_owner(&config, stage);
	wait_for_stage(stage);
	expect_blocked();
	for (int i = 0; i < parts; i++)
		EXPECT(is_frozen(source.dir[i]));
	note_acknowledged(before);
	kill_and_reap(owner);
	expect_going(before);
	reap_orphans();
	stop_writers();
	expect_data();
	tear_down(&source);
}

static void dies_before_commit_ext4(void) { dies_before_commit("ext4", IS_QUIESCED, 1); }
static void dies_before_commit_xfs(void) { dies_before_commit("xfs", IS_QUIESCED, 1); }
static void dies_before_commit_two(void) { dies_before_commit("ext4", IS_QUIESCED, 2); }
static void dies_committing_ext4(void) { dies_before_commit("ext4", IS_COMMITTING, 1); }

/* Every writer is told: an error each, and not one acknowledgement more. */
static void expect_told(const uint64_t before[WRITER_KINDS])
{
	uint64_t after[WRITER_KINDS];

	for (int kind = 0; kind < WRITER_KINDS; kind++)
		if (!WAIT_FOR(atomic_load(&writers[kind].err) != 0))
			printf("# writer %s\n", writer_names[kind]);
	note_acknowledged(after);
	EXPECT(memcmp(before, after, sizeof(after)) == 0);
}

/* How the owner ends after the commit record was written. */
enum ending { DIES, DESTROYS, FINISHES };

static void after_commit(const char *fs_type, enum ending ending, int parts)
{
	struct source source;
	struct gw_handoff_config config;
	uint64_t before[WRITER_KINDS];
	uint64_t *content;
	pid_t owner;

	if (parts == 1)
		set_up(&source, fs_type);
	else
		set_up_two(&source);
	start_writers(&source);
	config = config_for(&source, GW_HANDOFF_FREEZE);
	owner = start_owner(&config, IS_COMMITTED);
	wait_for_stage(IS_COMMITTED);
	expect_blocked();
	note_acknowledged(before);
	content = read_device(&source);
	if (ending == DIES)
		kill_and_reap(owner);
	if (ending == FINISHES) {
		atomic_store(&shared->may_reach, IS_RESUMED);
		wait_for_stage(IS_RESUMED);
	}
	if (ending != DIES) {
		atomic_store(&shared->destroys, true);
		EXPECT(waitpid(owner, NULL, 0) == owner);
	}
	expect_told(before);
	if (ending == DIES)
		reap_orphans();
	stop_writers();
	sync();
	expect_no_new_data(&source, content);
	tear_down(&source);
	free(content);
}

static void dies_after_commit_ext4(void) { after_commit("ext4", DIES, 1); }
static void dies_after_commit_xfs(void) { after_commit("xfs", DIES, 1); }
static void dies_after_commit_two(void) { after_commit("ext4", DIES, 2); }
static void finishes_ext4(void) { after_commit("ext4", FINISHES, 1); }
static void finishes_xfs(void) { after_commit("xfs", FINISHES, 1); }
static void destroys_after_commit(void) { after_commit("ext4", DESTROYS, 1); }

/* Killed anywhere on the way to the commit, two mounts, so in between two freezes as well. */
static void dies_at_random(void)
{
	struct source source;
	struct gw_handoff_config config;
	uint64_t before[WRITER_KINDS];

	set_up_two(&source);
	start_writers(&source);
	config = config_for(&source, GW_HANDOFF_FREEZE);
	for (int i = 0; i < 40; i++) {
		const pid_t owner = start_owner(&config, IS_COMMITTING);
		const struct timespec ts = { .tv_nsec = (long)random_below(60) * 1000000 };

		WAIT_FOR(atomic_load(&shared->stage) >= IS_PREPARED);
		nanosleep(&ts, NULL);
		kill_and_reap(owner);
		note_acknowledged(before);
		expect_going(before);
		/* Its watchdog, if it came that far. */
		reap_orphans();
	}
	stop_writers();
	expect_data();
	tear_down(&source);
}

/* Nobody can tell: it stays frozen, and cleanup does what it is told, twice. */
static void unclear_journal(bool committed)
{
	struct source source;
	struct gw_handoff_config config;
	struct gw_diag diag = { .fn = print_diag };
	uint64_t before[WRITER_KINDS];
	char damaged[192];
	pid_t owner;

	set_up(&source, "xfs");
	start_writers(&source);
	config = config_for(&source, GW_HANDOFF_FREEZE);
	snprintf(damaged, sizeof(damaged), "%s/damaged", source.state_dir);
	touch(damaged);
	owner = start_owner(&config, IS_COMMITTING);
	wait_for_stage(IS_COMMITTING);
	kill_and_reap(owner);
	reap_orphans();
	expect_blocked();
	note_acknowledged(before);
	EXPECT(gw_handoff_recover(shared->recovery, committed, &diag) == 0);
	EXPECT(gw_handoff_recover(shared->recovery, committed, &diag) == 0);
	if (committed)
		expect_told(before);
	else
		expect_going(before);
	stop_writers();
	tear_down(&source);
	/* The device is gone: nothing is left to do. */
	EXPECT(gw_handoff_recover(shared->recovery, committed, &diag) == 0);
}

static void unclear_then_back(void) { unclear_journal(false); }
static void unclear_then_finish(void) { unclear_journal(true); }

/*
 * Everybody was killed between shutdown and thaw. XFS then lets nobody open it,
 * and its writers wait: cleanup finds a way to thaw it all the same.
 */
static void dies_half_shut_down(const char *fs_type)
{
	struct source source;
	struct gw_handoff_config config;
	struct gw_diag diag = { .fn = print_diag };
	uint64_t before[WRITER_KINDS];
	uint32_t mode = 2;
	char damaged[192];
	pid_t owner;
	int fd;

	set_up(&source, fs_type);
	start_writers(&source);
	config = config_for(&source, GW_HANDOFF_FREEZE);
	snprintf(damaged, sizeof(damaged), "%s/damaged", source.state_dir);
	touch(damaged);
	owner = start_owner(&config, IS_COMMITTING);
	wait_for_stage(IS_COMMITTING);
	kill_and_reap(owner);
	reap_orphans();
	expect_blocked();
	fd = open(source.dir[0], O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	EXPECT(ioctl(fd, _IOR('X', 125, uint32_t), &mode) == 0);
	close(fd);
	note_acknowledged(before);
	EXPECT(gw_handoff_recover(shared->recovery, true, &diag) == 0);
	expect_told(before);
	stop_writers();
	EXPECT(gw_handoff_recover(shared->recovery, true, &diag) == 0);
	tear_down(&source);
}

static void dies_half_shut_down_ext4(void) { dies_half_shut_down("ext4"); }
static void dies_half_shut_down_xfs(void) { dies_half_shut_down("xfs"); }

/* A record of another boot, of another disk, or of another file system touches nothing. */
static void recovery_spares_strangers(void)
{
	struct source source;
	struct gw_handoff_config config;
	struct gw_diag diag = { .fn = print_diag };
	char text[8192];
	char *at;
	int fd;

	set_up(&source, "ext4");
	config = config_for(&source, GW_HANDOFF_FREEZE);
	kill_and_reap(({ const pid_t owner = start_owner(&config, IS_PREPARED);
			 WAIT_FOR(atomic_load(&shared->has_recovery)); owner; }));
	snprintf(text, sizeof(text), "%s", shared->recovery);
	at = strstr(text, "\"boot_id\":\"");
	EXPECT(at != NULL);
	at[11] = at[11] == '0' ? '1' : '0';
	EXPECT(gw_handoff_recover(text, true, &diag) == 0);
	snprintf(text, sizeof(text), "%s", shared->recovery);
	at = strstr(text, "\"diskseq\":");
	EXPECT(at != NULL);
	at[10] = at[10] == '9' ? '8' : (char)(at[10] + 1);
	EXPECT(gw_handoff_recover(text, true, &diag) == 0);
	snprintf(text, sizeof(text), "%s", shared->recovery);
	at = strstr(text, "\"fs_type\":\"ext4\"");
	EXPECT(at != NULL);
	at[14] = '3';
	EXPECT(gw_handoff_recover(text, true, &diag) == 0);
	/* It is alive still. */
	fd = open(source.dir[0], O_RDONLY | O_CLOEXEC);
	EXPECT(syncfs(fd) == 0);
	EXPECT(run("echo x > %s/alive && sync %s/alive", source.dir[0], source.dir[0]) == 0);
	close(fd);
	reap_orphans();
	tear_down(&source);
}

/* Quiesced, with a deadline that is near: as long as freezing takes here and now, and a little. */
static pid_t quiesce_in_time(struct gw_handoff_config *config)
{
	for (config->deadline_ns = 300 * GW_NS_PER_MS;; config->deadline_ns *= 2) {
		const pid_t owner = start_owner(config, IS_QUIESCED);

		WAIT_FOR(atomic_load(&shared->stage) >= IS_QUIESCED);
		if (atomic_load(&shared->stage) == IS_QUIESCED)
			return owner;
		EXPECT(atomic_load(&shared->err) == -ETIME);
		EXPECT(waitpid(owner, NULL, 0) == owner);
		reap_orphans();
		must(config->deadline_ns < PATIENCE_NS, "quiesce");
	}
}

static void deadline_passes(void)
{
	struct source source;
	struct gw_handoff_config config;
	uint64_t before[WRITER_KINDS];
	pid_t owner;

	set_up(&source, "ext4");
	start_writers(&source);
	config = config_for(&source, GW_HANDOFF_FREEZE);
	owner = quiesce_in_time(&config);
	note_acknowledged(before);
	expect_going(before);
	atomic_store(&shared->may_reach, IS_COMMITTED);
	WAIT_FOR(atomic_load(&shared->stage) == HAS_FAILED);
	EXPECT(atomic_load(&shared->err) == -ETIME);
	EXPECT(access(commit_marker(source.state_dir), F_OK) != 0);
	if (had_trouble)
		kill(owner, SIGKILL);
	EXPECT(waitpid(owner, NULL, 0) == owner);
	reap_orphans();
	stop_writers();
	expect_data();
	tear_down(&source);
}

/* A stopped owner does not keep things frozen either. */
static void deadline_passes_while_stopped(void)
{
	struct source source;
	struct gw_handoff_config config;
	uint64_t before[WRITER_KINDS];
	pid_t owner;

	set_up(&source, "xfs");
	start_writers(&source);
	config = config_for(&source, GW_HANDOFF_FREEZE);
	owner = quiesce_in_time(&config);
	kill(owner, SIGSTOP);
	note_acknowledged(before);
	expect_going(before);
	kill(owner, SIGCONT);
	atomic_store(&shared->destroys, true);
	EXPECT(waitpid(owner, NULL, 0) == owner);
	stop_writers();
	expect_data();
	tear_down(&source);
}

/* Never both: committing, and thawed by the watchdog. */
static void commit_races_with_deadline(void)
{
	struct source source;
	struct gw_handoff_config config;
	uint64_t deadline_ms = 8;	/* finds its way to what freezing takes here and now */
	int won = 0, lost = 0, early = 0;
	const uint64_t enough_ns = gw_now_ns(&gw_clock_monotonic) + PATIENCE_NS;

	set_up(&source, "ext4");
	config = config_for(&source, GW_HANDOFF_FREEZE);
	for (int i = 0; i < 300; i++) {
		const bool has_both = won > 0 && lost > 0;
		struct gw_diag diag = { 0 };
		struct gw_handoff *handoff;
		uint64_t until_ns;
		int err;

		if (has_both && gw_now_ns(&gw_clock_monotonic) > enough_ns)
			break;
		config.deadline_ns = (deadline_ms + random_below(5)) * GW_NS_PER_MS;
		EXPECT(gw_handoff_create(&handoff, &config) == 0);
		EXPECT(gw_handoff_prepare(handoff, &diag) == 0);
		until_ns = gw_now_ns(&gw_clock_monotonic) + config.deadline_ns +
			   random_below(1500) * GW_NS_PER_US;
		err = gw_handoff_quiesce(handoff, &diag);
		if (err == 0) {
			while (gw_now_ns(&gw_clock_monotonic) < until_ns)
				;
			err = gw_handoff_begin_commit(handoff, &diag);
			if (err == 0) {
				pause_ms(1);
				won++;
				EXPECT(is_frozen(source.dir[0]));
			} else {
				lost++;
			}
			EXPECT(gw_handoff_abort(handoff, &diag) == 0);
			EXPECT(gw_handoff_abort(handoff, &diag) == 0);
		} else {
			early++;
			deadline_ms += deadline_ms < 2000 ? 1 + deadline_ms / 16 : 0;
		}
		EXPECT(err == 0 || err == -ETIME);
		EXPECT(!is_frozen(source.dir[0]));
		gw_handoff_destroy(handoff);
	}
	printf("# committed first %d, deadline first %d, late already while freezing %d\n", won,
	       lost, early);
	EXPECT(won > 0 && lost > 0);
	munlockall();
	tear_down(&source);
}

/* Its death is noticed before the commit, and undone. */
static void watchdog_dies(void)
{
	struct source source;
	struct gw_handoff_config config;
	struct gw_diag diag = { .fn = print_diag };
	struct gw_handoff *handoff;
	siginfo_t info;

	set_up(&source, "ext4");
	config = config_for(&source, GW_HANDOFF_FREEZE);
	EXPECT(gw_handoff_create(&handoff, &config) == 0);
	EXPECT(gw_handoff_prepare(handoff, &diag) == 0);
	EXPECT(gw_handoff_quiesce(handoff, &diag) == 0);
	EXPECT(run("for c in $(cat /proc/%d/task/%d/children); do "
		   "[ $(cat /proc/$c/comm) != godwit-watchdog ] || kill -9 $c; done", getpid(),
		   getpid()) == 0);
	EXPECT(waitid(P_ALL, 0, &info, WEXITED | WNOWAIT) == 0);
	EXPECT(gw_handoff_begin_commit(handoff, &diag) == -EOWNERDEAD);
	EXPECT(diag.exit_code == GW_EXIT_IO);
	EXPECT(is_frozen(source.dir[0]));
	EXPECT(gw_handoff_abort(handoff, &diag) == 0);
	EXPECT(!is_frozen(source.dir[0]));
	gw_handoff_destroy(handoff);
	munlockall();
	tear_down(&source);
}

/* Signals of a terminal or a service manager do not end it; it holds the lock. */
static void watchdog_withstands(void)
{
	struct source source;
	struct gw_handoff_config config;
	char lock[192];
	uint64_t before[WRITER_KINDS];
	pid_t owner;

	set_up(&source, "ext4");
	start_writers(&source);
	snprintf(lock, sizeof(lock), "%s/lock", source.state_dir);
	config = config_for(&source, GW_HANDOFF_FREEZE);
	config.lock_fds[1] = open(lock, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	EXPECT(config.lock_fds[1] > 0);
	EXPECT(run("flock -n %s true", lock) == 0);
	owner = start_owner(&config, IS_QUIESCED);
	wait_for_stage(IS_QUIESCED);
	EXPECT(run("w=; for c in $(cat /proc/%d/task/%d/children); do "
		   "[ $(cat /proc/$c/comm) != godwit-watchdog ] || w=$c; done; "
		   "for s in HUP INT QUIT TERM PIPE TSTP USR1; do kill -$s $w || exit 1; done; "
		   "test $(ls /proc/$w/fd | wc -l) = 6 && test \"$(readlink /proc/$w/fd/%d)\" = %s",
		   owner, owner, config.lock_fds[1], lock) == 0);
	expect_blocked();
	note_acknowledged(before);
	kill_and_reap(owner);
	expect_going(before);
	reap_orphans();
	close(config.lock_fds[1]);
	stop_writers();
	tear_down(&source);
}

/* ---- Tests: refusals of freeze. ---- */

/* Return: what prepare answered; its words in diag. */
static int prepare_only(const struct gw_handoff_config *config, struct gw_diag *diag)
{
	struct gw_handoff *handoff;
	int err;

	gw_diag_clear(diag);
	diag->fn = print_diag;
	EXPECT(gw_handoff_create(&handoff, config) == 0);
	err = gw_handoff_prepare(handoff, diag);
	gw_handoff_destroy(handoff);
	munlockall();
	return err;
}

#define EXPECT_REFUSED(config, want_err, word) ({				\
	EXPECT(prepare_only(config, &diag) == (want_err));			\
	EXPECT(diag.exit_code == GW_EXIT_CANNOT);				\
	if (!EXPECT(strstr(diag.text, word) != NULL))				\
		printf("# it said: %s\n", diag.text);				\
})

static void refuses_own_files(void)
{
	struct source source;
	struct gw_handoff_config config;
	struct gw_diag diag = { 0 };
	char path[256];
	const char *keep[] = { path, NULL };
	int fd;

	set_up(&source, "ext4");
	config = config_for(&source, GW_HANDOFF_FREEZE);
	config.keep_writable = keep;
	snprintf(path, sizeof(path), "%s/not/yet/there", source.dir[0]);
	EXPECT_REFUSED(&config, -EBUSY, "not/yet/there");
	/* By a bind mount elsewhere. */
	EXPECT(run("mkdir -p %s/d %s/bind && mount --bind %s/d %s/bind", source.dir[0], work_dir,
		   source.dir[0], work_dir) == 0);
	snprintf(path, sizeof(path), "%s/bind/state", work_dir);
	EXPECT_REFUSED(&config, -EBUSY, "bind/state");
	EXPECT(run("umount %s/bind", work_dir) == 0);
	/* On a loop device over a file there. */
	EXPECT(run("truncate -s 8M %s/inner && mkfs.ext4 -q %s/inner && mount -o loop %s/inner "
		   "%s/bind", source.dir[0], source.dir[0], source.dir[0], work_dir) == 0);
	EXPECT_REFUSED(&config, -EBUSY, "bind/state");
	EXPECT(run("umount %s/bind", work_dir) == 0);
	/* An overlay whose upper directory is there. */
	if (run("mkdir -p %s/up %s/wk && mount -t overlay -o lowerdir=/etc,upperdir=%s/up,"
		"workdir=%s/wk overlay %s/bind 2>/dev/null", source.dir[0], source.dir[0],
		source.dir[0], source.dir[0], work_dir) == 0) {
		EXPECT_REFUSED(&config, -EBUSY, "bind/state");
		EXPECT(run("umount %s/bind", work_dir) == 0);
	} else {
		printf("# no overlay file system here\n");
	}
	snprintf(path, sizeof(path), "%s/state", work_dir);
	EXPECT(prepare_only(&config, &diag) == 0);
	/* An open file: only if we may write to it. */
	snprintf(path, sizeof(path), "%s/open", source.dir[0]);
	touch(path);
	keep[0] = NULL;
	fd = open(path, O_RDONLY | O_CLOEXEC);
	EXPECT(prepare_only(&config, &diag) == 0);
	close(fd);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	EXPECT_REFUSED(&config, -EBUSY, "open file");
	close(fd);
	tear_down(&source);
}

static void refuses_no_mount(void)
{
	struct source source;
	struct gw_handoff_config config;
	struct gw_diag diag = { 0 };
	char other[128];
	int fd;

	set_up(&source, "ext4");
	config = config_for(&source, GW_HANDOFF_FREEZE);
	unmount(&source, 0);
	EXPECT_REFUSED(&config, -ENOENT, "nothing is mounted");
	EXPECT(strstr(diag.text, "--handoff none") != NULL);

	fd = open(source.loop, O_RDONLY | O_EXCL | O_CLOEXEC);
	EXPECT_REFUSED(&config, -EBUSY, "exclusively");
	close(fd);

	EXPECT(run("mkswap -f %s >/dev/null 2>&1", source.loop) == 0);
	if (run("swapon %s 2>/dev/null", source.loop) == 0) {
		EXPECT_REFUSED(&config, -EBUSY, "swap");
		EXPECT(run("swapoff %s", source.loop) == 0);
	} else {
		printf("# no swap here\n");
	}
	if (run("dmsetup create gw-test-%d --table '0 2048 linear %s 0' 2>/dev/null", getpid(),
		source.loop) == 0) {
		EXPECT_REFUSED(&config, -EBUSY, "dm-");
		EXPECT(run("dmsetup remove --retry gw-test-%d", getpid()) == 0);
	} else {
		printf("# no device-mapper here\n");
	}
	EXPECT(run("losetup -f --show %s > %s/other", source.loop, work_dir) == 0);
	EXPECT_REFUSED(&config, -EBUSY, "is used by loop");
	snprintf(other, sizeof(other), "%s/other", work_dir);
	EXPECT(run("losetup -d $(cat %s); rm %s", other, other) == 0);

	EXPECT(run("mkfs.ext4 -q -F %s && mount -o ro %s %s", source.loop, source.loop,
		   source.dir[0]) == 0);
	EXPECT(prepare_only(&config, &diag) == 0);
	tear_down(&source);
}

static void refuses_hidden_mount(void)
{
	struct source source;
	struct gw_handoff_config config;
	struct gw_diag diag = { 0 };
	int ready[2];
	pid_t pid;
	char byte;

	set_up(&source, "ext4");
	config = config_for(&source, GW_HANDOFF_FREEZE);
	unmount(&source, 0);
	EXPECT(pipe2(ready, O_CLOEXEC) == 0);
	pid = fork();
	if (pid == 0) {
		if (unshare(CLONE_NEWNS) == 0 &&
		    mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0 &&
		    mount(source.loop, source.dir[0], "ext4", 0, NULL) == 0)
			(void)!write(ready[1], "y", 1);
		else
			(void)!write(ready[1], "n", 1);
		for (;;)
			pause();
	}
	EXPECT(read(ready[0], &byte, 1) == 1 && byte == 'y');
	EXPECT_REFUSED(&config, -EBUSY, "namespace");
	kill_and_reap(pid);
	close(ready[0]);
	close(ready[1]);
	WAIT_FOR(run("mount %s %s 2>/dev/null", source.loop, source.dir[0]) == 0);
	tear_down(&source);
}

/* What prepare saw must still be so at the quiesce. */
static void refuses_what_changed(void)
{
	struct source source;
	struct gw_handoff_config config;
	struct gw_diag diag = { .fn = print_diag };
	struct gw_handoff *handoff;

	set_up_two(&source);
	config = config_for(&source, GW_HANDOFF_FREEZE);
	unmount(&source, 1);
	EXPECT(gw_handoff_create(&handoff, &config) == 0);
	EXPECT(gw_handoff_prepare(handoff, &diag) == 0);
	EXPECT(run("mount %s %s", source.part[1], source.dir[1]) == 0);
	EXPECT(gw_handoff_quiesce(handoff, &diag) == -EBUSY);
	EXPECT(!is_frozen(source.dir[0]));
	EXPECT(!is_frozen(source.dir[1]));
	EXPECT(gw_handoff_abort(handoff, &diag) == 0);
	gw_handoff_destroy(handoff);
	/* Somebody else's freeze of the second: ours of the first is undone, theirs is not. */
	gw_diag_clear(&diag);
	EXPECT(gw_handoff_create(&handoff, &config) == 0);
	EXPECT(gw_handoff_prepare(handoff, &diag) == 0);
	EXPECT(run("fsfreeze -f %s", source.dir[1]) == 0);
	EXPECT(gw_handoff_quiesce(handoff, &diag) == -EBUSY);
	EXPECT(diag.exit_code == GW_EXIT_IO);
	EXPECT(!is_frozen(source.dir[0]));
	EXPECT(is_frozen(source.dir[1]));
	gw_handoff_destroy(handoff);
	EXPECT(is_frozen(source.dir[1]));
	EXPECT(run("fsfreeze -u %s", source.dir[1]) == 0);
	munlockall();
	tear_down(&source);
}

static void refuses_other_types(void)
{
	struct source source;
	struct gw_handoff_config config;
	struct gw_diag diag = { 0 };
	static const char *const others[] = { "btrfs", "f2fs", "vfat" };
	int tried = 0;

	set_up(&source, "ext4");
	config = config_for(&source, GW_HANDOFF_FREEZE);
	unmount(&source, 0);
	for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
		if (run("wipefs -aq %s; mkfs.%s %s >/dev/null 2>&1 && mount %s %s 2>/dev/null",
			source.loop, others[i], source.loop, source.loop, source.dir[0]) != 0)
			continue;
		tried++;
		EXPECT_REFUSED(&config, -EOPNOTSUPP, "cannot be shut down");
		unmount(&source, 0);
	}
	if (tried == 0)
		printf("ok - refuses other file systems # SKIP no mkfs.btrfs, mkfs.f2fs, mkfs.vfat "
		       "that this kernel can mount\n");
	EXPECT(run("wipefs -aq %s; mkfs.ext4 -q %s && mount %s %s", source.loop, source.loop,
		   source.loop, source.dir[0]) == 0);
	tear_down(&source);
}

static void refuses_unprivileged(void)
{
	struct source source;
	struct gw_handoff_config config;
	int status;
	pid_t pid;

	set_up(&source, "ext4");
	config = config_for(&source, GW_HANDOFF_FREEZE);
	pid = fork();
	if (pid == 0) {
		struct gw_diag diag = { 0 };

		if (setgid(65534) != 0 || setuid(65534) != 0)
			_exit(2);
		_exit(prepare_only(&config, &diag) == -EPERM &&
		      diag.exit_code == GW_EXIT_CANNOT ? 0 : 1);
	}
	EXPECT(waitpid(pid, &status, 0) == pid && status == 0);
	tear_down(&source);
}

/* ---- Tests: exec. ---- */

static struct source no_source;
static char script_log[192];

static struct gw_handoff_config exec_config(void)
{
	struct gw_handoff_config config;

	memset(&no_source, 0, sizeof(no_source));
	snprintf(no_source.state_dir, sizeof(no_source.state_dir), "%s/state", work_dir);
	run("rm -rf %s; mkdir -p %s", no_source.state_dir, no_source.state_dir);
	snprintf(no_source.node.path, sizeof(no_source.node.path), "/dev/no-source");
	no_source.target = no_source.node;
	snprintf(script_log, sizeof(script_log), "%s/log", no_source.state_dir);
	config = config_for(&no_source, GW_HANDOFF_EXEC);
	config.exec_quiesce = "echo $GODWIT_PHASE $GODWIT_BY >> $GODWIT_STATE_DIR/log";
	config.exec_switch = config.exec_quiesce;
	config.exec_resume = config.exec_quiesce;
	config.exec_abort = config.exec_quiesce;
	return config;
}

static char *read_log(void)
{
	static char have[512];
	FILE *const file = fopen(script_log, "re");

	have[0] = '\0';
	if (file != NULL) {
		have[fread(have, 1, sizeof(have) - 1, file)] = '\0';
		fclose(file);
	}
	return have;
}

static bool log_is(const char *want)
{
	return strcmp(read_log(), want) == 0;
}

static void expect_log(const char *want)
{
	if (!EXPECT(log_is(want)))
		printf("# log: %s\n", read_log());
}

static void exec_dies_before_commit(void)
{
	const struct gw_handoff_config config = exec_config();
	const pid_t owner = start_owner(&config, IS_QUIESCED);

	wait_for_stage(IS_QUIESCED);
	kill_and_reap(owner);
	reap_orphans();
	expect_log("quiesce migrate\nabort watchdog\n");
}

static void exec_dies_after_commit(void)
{
	const struct gw_handoff_config config = exec_config();
	const pid_t owner = start_owner(&config, IS_COMMITTED);

	wait_for_stage(IS_COMMITTED);
	kill_and_reap(owner);
	reap_orphans();
	expect_log("quiesce migrate\nswitch watchdog\nresume watchdog\n");
}

static void exec_dies_after_switch(void)
{
	const struct gw_handoff_config config = exec_config();
	const pid_t owner = start_owner(&config, IS_SWITCHED);

	wait_for_stage(IS_SWITCHED);
	kill_and_reap(owner);
	reap_orphans();
	expect_log("quiesce migrate\nswitch migrate\nresume watchdog\n");
}

/* The command that a dead owner leaves running does not run beside the abort command. */
static void exec_dies_in_command(void)
{
	struct gw_handoff_config config = exec_config();
	pid_t owner;

	config.exec_quiesce = "echo start >> $GODWIT_STATE_DIR/log; sleep 600; "
			      "echo end >> $GODWIT_STATE_DIR/log";
	owner = start_owner(&config, IS_QUIESCED);
	WAIT_FOR(log_is("start\n"));
	kill_and_reap(owner);
	reap_orphans();
	expect_log("start\nabort watchdog\n");
}

/* Likewise when the owner is stopped; it learns of it when it goes on. */
static void exec_deadline_in_command(void)
{
	struct gw_handoff_config config = exec_config();
	pid_t owner;

	config.deadline_ns = 3 * GW_NS_PER_S;
	config.exec_quiesce = "trap '' TERM; echo start >> $GODWIT_STATE_DIR/log; sleep 600; "
			      "echo end >> $GODWIT_STATE_DIR/log";
	owner = start_owner(&config, IS_QUIESCED);
	WAIT_FOR(access(script_log, F_OK) == 0);
	kill(owner, SIGSTOP);
	WAIT_FOR(log_is("start\nabort watchdog\n"));
	kill(owner, SIGCONT);
	WAIT_FOR(atomic_load(&shared->stage) == HAS_FAILED);
	EXPECT(atomic_load(&shared->err) == -ETIME);
	EXPECT(waitpid(owner, NULL, 0) == owner);
	reap_orphans();
	expect_log("start\nabort watchdog\n");
}

/* ---- All of them. ---- */

static const struct { const char *name; void (*fn)(void); } tests[] = {
	{ "owner dies quiesced, ext4: writers go on", dies_before_commit_ext4 },
	{ "owner dies quiesced, XFS: writers go on", dies_before_commit_xfs },
	{ "owner dies quiesced, two mounts: writers go on", dies_before_commit_two },
	{ "owner dies committing, no record: writers go on", dies_committing_ext4 },
	{ "owner dies committed, ext4: writers get an error", dies_after_commit_ext4 },
	{ "owner dies committed, XFS: writers get an error", dies_after_commit_xfs },
	{ "owner dies committed, two mounts: writers get an error", dies_after_commit_two },
	{ "switch, ext4: writers get an error", finishes_ext4 },
	{ "switch, XFS: writers get an error", finishes_xfs },
	{ "owner gives up committed: the watchdog finishes", destroys_after_commit },
	{ "owner dies at random before the commit", dies_at_random },
	{ "journal unreadable: frozen until cleanup takes back", unclear_then_back },
	{ "journal unreadable: frozen until cleanup finishes", unclear_then_finish },
	{ "cleanup thaws ext4 that is shut down", dies_half_shut_down_ext4 },
	{ "cleanup thaws XFS that is shut down", dies_half_shut_down_xfs },
	{ "recovery spares what is not its own", recovery_spares_strangers },
	{ "deadline passes: writers go on, no commit", deadline_passes },
	{ "deadline passes while the owner is stopped", deadline_passes_while_stopped },
	{ "commit races with the deadline", commit_races_with_deadline },
	{ "the watchdog dies: no commit", watchdog_dies },
	{ "the watchdog withstands signals, holds the lock, and nothing else", watchdog_withstands },
	{ "refuses to freeze its own files", refuses_own_files },
	{ "refuses a source that is not mounted, or otherwise used", refuses_no_mount },
	{ "refuses a mount in another namespace", refuses_hidden_mount },
	{ "refuses what changed since prepare", refuses_what_changed },
	{ "refuses file systems that cannot be shut down", refuses_other_types },
	{ "refuses without privileges", refuses_unprivileged },
	{ "exec: owner dies quiesced", exec_dies_before_commit },
	{ "exec: owner dies committed", exec_dies_after_commit },
	{ "exec: owner dies switched", exec_dies_after_switch },
	{ "exec: owner dies in the quiesce command", exec_dies_in_command },
	{ "exec: deadline passes in the quiesce command", exec_deadline_in_command },
};

static void *map_shared(size_t bytes)
{
	void *const memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS,
				  -1, 0);

	must(memory != MAP_FAILED, "mmap");
	return memory;
}

static bool have_loop_devices(void)
{
	return geteuid() == 0 && run("losetup -f >/dev/null 2>&1") == 0;
}

int main(void)
{
	const char *const seed_text = getenv("GW_SEED");

	setvbuf(stdout, NULL, _IOLBF, 0);
	if (!have_loop_devices()) {
		printf("ok - hand-off # SKIP needs root and loop devices\n");
		return 0;
	}
	seed = seed_text != NULL ? strtoull(seed_text, NULL, 0) : gw_wall_ns() | 1;
	printf("# seed %llu (GW_SEED)\n", (unsigned long long)seed);
	snprintf(work_dir, sizeof(work_dir), "/dev/shm/gw-handoff-XXXXXX");
	must(mkdtemp(work_dir) != NULL, "mkdtemp");
	prctl(PR_SET_CHILD_SUBREAPER, 1);
	gw_handoff_committed = marker_committed;
	writers = map_shared(WRITER_KINDS * sizeof(*writers));
	shared = map_shared(sizeof(*shared));
	for (size_t i = 0; i < sizeof(tests) / sizeof(tests[0]); i++) {
		if (!gw_test_is_wanted(tests[i].name))
			continue;
		had_trouble = false;
		tests[i].fn();
		failures += had_trouble;
		printf("%s - %s\n", had_trouble ? "not ok" : "ok", tests[i].name);
	}
	run("rm -rf --one-file-system %s", work_dir);
	return failures != 0;
}

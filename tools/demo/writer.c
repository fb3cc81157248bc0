// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The demo's workload, and its judge. It writes numbered, checksummed records into a directory and
 * notes each one in a log elsewhere, only after the kernel said that it is on the disk; later the
 * records of another copy of that directory are held against the log.
 *
 *   demo-writer --run   DIR LOG     until the file system fails, or SIGTERM / SIGINT
 *   demo-writer --check DIR LOG     exit status 1 if an acknowledged record is missing or damaged
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include <xxhash.h>

#define MAGIC UINT32_C(0x44575247)
#define RECORD_BYTES 4096
#define SLOTS 4096		/* records in a file: each is written again and again */
#define RENAMED_SLOTS 128	/* files that the renaming worker replaces in turn */
#define SYNC_EVERY 8		/* records for each fdatasync(), where O_DSYNC is not used */
#define PAUSE_US 2000		/* between writes: a workload, not a benchmark */

/* How a worker makes its records durable. */
enum style { STYLE_DSYNC, STYLE_FDATASYNC, STYLE_RENAME };
static const enum style workers[] = {
	STYLE_DSYNC, STYLE_DSYNC, STYLE_FDATASYNC, STYLE_FDATASYNC, STYLE_RENAME,
};
#define WORKERS (sizeof(workers) / sizeof(workers[0]))

struct record {
	uint32_t magic;
	uint32_t worker;
	uint64_t slot;
	uint64_t version;	/* 1, 2, 3, ... over all slots of a worker */
	uint64_t xxh3;		/* of the record with this field 0 */
	uint8_t fill[RECORD_BYTES - 32];
};
_Static_assert(sizeof(struct record) == RECORD_BYTES, "a record is a page");

/* A line of the log: this version is on the disk. Appended whole, by one write(). */
struct ack {
	uint64_t worker, slot, version;
};

struct worker {
	unsigned int index;
	int dir_fd, file_fd, log_fd;
	uint64_t slots;		/* fewer when the file system is full */
	uint64_t version, acknowledged;
	int err;		/* why it stopped: an errno; 0: was told to */
	bool log_failed;
	pthread_t thread;
};

static volatile sig_atomic_t told_to_stop;

static void on_signal(int signal)
{
	(void)signal;
	told_to_stop = 1;
}

static uint64_t digest(struct record *record)
{
	const uint64_t kept = record->xxh3;
	uint64_t value;

	record->xxh3 = 0;
	value = XXH3_64bits(record, sizeof(*record));
	record->xxh3 = kept;
	return value;
}

static void fill_record(struct record *record, unsigned int worker, uint64_t slot, uint64_t version)
{
	uint64_t x = version * UINT64_C(0x9e3779b97f4a7c15) + slot + worker;

	memset(record, 0, sizeof(*record));
	record->magic = MAGIC;
	record->worker = worker;
	record->slot = slot;
	record->version = version;
	for (size_t i = 0; i < sizeof(record->fill); i++) {
		x ^= x << 13, x ^= x >> 7, x ^= x << 17;
		record->fill[i] = (uint8_t)x;
	}
	record->xxh3 = digest(record);
}

static void file_name(char name[64], unsigned int worker, uint64_t slot)
{
	if (workers[worker] == STYLE_RENAME)
		snprintf(name, 64, "renamed-%03u", (unsigned int)slot);
	else
		snprintf(name, 64, "records-%u", worker);
}

/* Return: 0, or an errno with nothing else said; a short write is one of ENOSPC. */
static int write_whole(int fd, const struct record *record, uint64_t slot)
{
	const ssize_t got = pwrite(fd, record, sizeof(*record), (off_t)(slot * RECORD_BYTES));

	if (got < 0)
		return errno;
	return got == (ssize_t)sizeof(*record) ? 0 : ENOSPC;
}

static int write_renamed(struct worker *w, const struct record *record, uint64_t slot)
{
	char name[64];
	int err;
	const int fd = openat(w->dir_fd, "new", O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);

	if (fd < 0)
		return errno;
	err = write_whole(fd, record, 0);
	if (err == 0 && fsync(fd) != 0)
		err = errno;
	close(fd);
	if (err != 0)
		return err;
	file_name(name, w->index, slot);
	if (renameat(w->dir_fd, "new", w->dir_fd, name) != 0 || fsync(w->dir_fd) != 0)
		return errno;
	return 0;
}

static uint64_t slot_of(const struct worker *w, uint64_t version)
{
	if (workers[w->index] == STYLE_RENAME)
		return version % w->slots;
	return XXH3_64bits(&version, sizeof(version)) % w->slots;
}

/* Writes the next records and, where needed, syncs them. Return: 0 or an errno. */
static int write_batch(struct worker *w, struct ack *acks, unsigned int count)
{
	struct record record;

	for (unsigned int i = 0; i < count; i++) {
		const uint64_t version = w->version + 1 + i, slot = slot_of(w, version);
		int err;

		fill_record(&record, w->index, slot, version);
		if (workers[w->index] == STYLE_RENAME)
			err = write_renamed(w, &record, slot);
		else
			err = write_whole(w->file_fd, &record, slot);
		if (err != 0)
			return err;
		acks[i] = (struct ack){ w->index, slot, version };
	}
	if (workers[w->index] == STYLE_FDATASYNC && fdatasync(w->file_fd) != 0)
		return errno;
	return 0;
}

static void *work(void *arg)
{
	struct worker *const w = arg;
	const unsigned int count = workers[w->index] == STYLE_FDATASYNC ? SYNC_EVERY : 1;
	const struct timespec pause = { .tv_nsec = PAUSE_US * 1000L * count };
	struct ack acks[SYNC_EVERY];

	while (!told_to_stop) {
		const ssize_t bytes = (ssize_t)(count * sizeof(acks[0]));
		const int err = write_batch(w, acks, count);

		w->version += count;	/* also after a failure: a version is never used twice */
		if (err == ENOSPC && w->slots > 1) {
			w->slots /= 2;	/* full: go round in what is there already */
			continue;
		}
		if (err != 0) {
			w->err = err;
			break;
		}
		if (write(w->log_fd, acks, (size_t)bytes) != bytes) {
			w->log_failed = true;
			break;
		}
		w->acknowledged += count;
		nanosleep(&pause, NULL);
	}
	return NULL;
}

static bool open_worker(struct worker *w, unsigned int index, int dir_fd, int log_fd)
{
	const int sync_flag = workers[index] == STYLE_DSYNC ? O_DSYNC : 0;
	char name[64];

	*w = (struct worker){ .index = index, .dir_fd = dir_fd, .file_fd = -1, .log_fd = log_fd };
	w->slots = workers[index] == STYLE_RENAME ? RENAMED_SLOTS : SLOTS;
	if (workers[index] == STYLE_RENAME)
		return true;
	file_name(name, index, 0);
	w->file_fd = openat(dir_fd, name, O_WRONLY | O_CREAT | O_CLOEXEC | sync_flag, 0644);
	return w->file_fd >= 0 && fsync(dir_fd) == 0;
}

/* Return: the exit status. */
static int report_run(const struct worker *all)
{
	uint64_t acknowledged = 0;
	int err = 0;

	for (unsigned int i = 0; i < WORKERS; i++) {
		acknowledged += all[i].acknowledged;
		err = all[i].err != 0 ? all[i].err : err;
		if (all[i].log_failed) {
			fprintf(stderr, "writer: cannot write its own log\n");
			return 2;
		}
	}
	printf("writer: %llu writes acknowledged, then %s%s\n", (unsigned long long)acknowledged,
	       err != 0 ? "the file system said: " : "it was told to stop",
	       err != 0 ? strerror(err) : "");
	return 0;
}

static int run(const char *dir, const char *log)
{
	const struct sigaction action = { .sa_handler = on_signal };
	const int dir_fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	const int log_fd = open(log, O_WRONLY | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC, 0644);
	struct worker all[WORKERS];

	if (dir_fd < 0 || log_fd < 0) {
		perror(dir_fd < 0 ? dir : log);
		return 2;
	}
	sigaction(SIGTERM, &action, NULL);
	sigaction(SIGINT, &action, NULL);
	for (unsigned int i = 0; i < WORKERS; i++) {
		if (!open_worker(&all[i], i, dir_fd, log_fd)) {
			perror(dir);
			return 2;
		}
	}
	for (unsigned int i = 0; i < WORKERS; i++) {
		if (pthread_create(&all[i].thread, NULL, work, &all[i]) != 0) {
			fprintf(stderr, "writer: cannot start a thread\n");
			exit(2);
		}
	}
	for (unsigned int i = 0; i < WORKERS; i++)
		pthread_join(all[i].thread, NULL);
	return report_run(all);
}

/* ---- The judge ---- */

struct expected {
	uint64_t version[WORKERS][SLOTS];	/* the last one acknowledged; 0: none */
	uint64_t acks;
};

static bool read_log(const char *log, struct expected *expected)
{
	FILE *const file = fopen(log, "rb");
	struct ack ack;

	if (file == NULL) {
		perror(log);
		return false;
	}
	while (fread(&ack, sizeof(ack), 1, file) == 1) {
		if (ack.worker >= WORKERS || ack.slot >= SLOTS) {
			fprintf(stderr, "%s: not a writer's log\n", log);
			fclose(file);
			return false;
		}
		if (ack.version > expected->version[ack.worker][ack.slot])
			expected->version[ack.worker][ack.slot] = ack.version;
		expected->acks++;
	}
	fclose(file);
	return true;
}

/*
 * A slot may hold something newer than was acknowledged: written, but the answer never came.
 * Return: what is wrong, or NULL.
 */
static const char *judge(int dir_fd, unsigned int worker, uint64_t slot, uint64_t version)
{
	const uint64_t at = workers[worker] == STYLE_RENAME ? 0 : slot;
	struct record record;
	char name[64];
	ssize_t got;
	int fd;

	file_name(name, worker, slot);
	fd = openat(dir_fd, name, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return "file is missing";
	got = pread(fd, &record, sizeof(record), (off_t)(at * RECORD_BYTES));
	close(fd);
	if (got != (ssize_t)sizeof(record))
		return "record is missing";
	if (record.magic != MAGIC || record.xxh3 != digest(&record))
		return "record is damaged";
	if (record.worker != worker || record.slot != slot)
		return "record belongs elsewhere";
	return record.version < version ? "record is OLDER than the one acknowledged" : NULL;
}

static int check(const char *dir, const char *log)
{
	struct expected *const expected = calloc(1, sizeof(*expected));
	const int dir_fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	uint64_t slots = 0, wrong = 0;

	if (expected == NULL || dir_fd < 0) {
		perror(dir);
		free(expected);
		return 2;
	}
	if (!read_log(log, expected)) {
		close(dir_fd);
		free(expected);
		return 2;
	}
	for (unsigned int w = 0; w < WORKERS; w++) {
		for (uint64_t slot = 0; slot < SLOTS; slot++) {
			const char *what;

			if (expected->version[w][slot] == 0)
				continue;
			slots++;
			what = judge(dir_fd, w, slot, expected->version[w][slot]);
			if (what != NULL && wrong++ < 10)
				printf("writer: worker %u slot %llu version %llu: %s\n", w,
				       (unsigned long long)slot,
				       (unsigned long long)expected->version[w][slot], what);
		}
	}
	printf("writer: %llu acknowledged writes in %llu places: %llu missing or wrong\n",
	       (unsigned long long)expected->acks, (unsigned long long)slots,
	       (unsigned long long)wrong);
	if (slots == 0)
		fprintf(stderr, "writer: nothing was acknowledged at all\n");
	close(dir_fd);
	free(expected);
	return wrong != 0 || slots == 0;
}

int main(int argc, char **argv)
{
	if (argc == 4 && strcmp(argv[1], "--run") == 0)
		return run(argv[2], argv[3]);
	if (argc == 4 && strcmp(argv[1], "--check") == 0)
		return check(argv[2], argv[3]);
	fprintf(stderr, "usage: demo-writer --run DIR LOG | --check DIR LOG\n");
	return 2;
}

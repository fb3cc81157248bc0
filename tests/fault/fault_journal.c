// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The journal, broken in every place: cut at each byte, each bit flipped,
 * records missing, repeated or newer, writes cut short at each byte, syncs and
 * truncations that fail, a full file system. What a reader believes must be
 * what was appended, from the first record on.
 */
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "journal.h"

#define RECORDS 6
#define FILE_BYTES_MAX 4096

/* ---- faults, put in the way of the C library ---- */

static struct {
	int fdatasync_err, ftruncate_err;	/* errno, once; 0: none */
	int write_err;				/* once, nothing written */
	size_t write_at_most;			/* once; SIZE_MAX: all */
} fault = { .write_at_most = SIZE_MAX };

static int take_fault(int *err)
{
	if (*err == 0)
		return 0;
	errno = *err;
	*err = 0;
	return -1;
}

int fdatasync(int fd)
{
	return take_fault(&fault.fdatasync_err) != 0 ? -1 : (int)syscall(SYS_fdatasync, fd);
}

int ftruncate(int fd, off_t bytes)
{
	return take_fault(&fault.ftruncate_err) != 0 ? -1 : (int)syscall(SYS_ftruncate, fd, bytes);
}

ssize_t write(int fd, const void *bytes, size_t count)
{
	const size_t most = fault.write_at_most;

	if (take_fault(&fault.write_err) != 0)
		return -1;
	fault.write_at_most = SIZE_MAX;
	return syscall(SYS_write, fd, bytes, count < most ? count : most);
}

/* ---- TAP ---- */

static unsigned int failures;
static const char *failed_at;		/* first failed check of the test that runs */
static char failed_words[160];

__attribute__((format(printf, 3, 4)))
static void check_at(const char *what, bool good, const char *format, ...)
{
	va_list args;

	if (good || failed_at != NULL)
		return;
	failed_at = what;
	va_start(args, format);
	vsnprintf(failed_words, sizeof(failed_words), format, args);
	va_end(args);
}
#define CHECK(condition, ...) check_at(#condition, (condition), __VA_ARGS__)

static void run(const char *name, void (*test)(void))
{
	failed_at = NULL;
	test();
	printf("%s - %s\n", failed_at == NULL ? "ok" : "not ok", name);
	if (failed_at != NULL)
		printf("# %s: %s\n", failed_at, failed_words);
	failures += failed_at != NULL;
}

/* ---- a good journal, and files made of its parts ---- */

static char dir[64], path[80];
static unsigned char good[FILE_BYTES_MAX];
static size_t good_bytes;
static size_t begins[RECORDS + 1];	/* the last is the end of the file */

/* Payloads of all lengths modulo the padding. */
static struct json_object *payload_of(uint64_t seq)
{
	struct json_object *const object = json_object_new_object();
	char text[RECORDS * 3 + 1];

	memset(text, 'x', sizeof(text) - 1);
	text[seq % (RECORDS + 1) * 3] = '\0';
	gw_json_put_u64(object, "n", seq);
	gw_json_put_string(object, "text", text);
	return object;
}

static size_t encode(unsigned char *out, uint16_t version, uint64_t seq, uint64_t payload_seq)
{
	struct json_object *const object = payload_of(payload_seq);
	const char *const text = json_object_to_json_string_ext(object, JSON_C_TO_STRING_PLAIN);
	const struct gw_record record = {
		.version = version,
		.type = (uint16_t)(payload_seq % 13 + 1),
		.seq = seq,
		.wall_ns = 1700000000000000000,
		.payload = text,
		.payload_bytes = (uint32_t)strlen(text),
	};
	const int size = gw_record_encode(&record, out, 512);

	assert(size > 0);
	json_object_put(object);
	return (size_t)size;
}

static void make_good(void)
{
	for (uint64_t seq = 0; seq < RECORDS; seq++) {
		begins[seq] = good_bytes;
		good_bytes += encode(good + good_bytes, GW_RECORD_VERSION, seq, seq);
		assert(good_bytes + 512 <= sizeof(good));
	}
	begins[RECORDS] = good_bytes;
}

static void put_file(const void *bytes, size_t count)
{
	const int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	assert(fd >= 0);
	assert(write(fd, bytes, count) == (ssize_t)count);
	close(fd);
}

static off_t file_bytes(void)
{
	struct stat st;

	return stat(path, &st) == 0 ? st.st_size : -1;
}

struct seen {
	uint64_t count;
	bool as_appended;		/* each record is the one that was appended there */
};

static int look(void *arg, const struct gw_record *record, struct json_object *payload)
{
	struct json_object *const expected = payload_of(record->seq);
	struct seen *const seen = arg;

	if (record->seq != seen->count || !json_object_equal(expected, payload))
		seen->as_appended = false;
	json_object_put(expected);
	seen->count++;
	return 0;
}

static int read_all(struct seen *seen, bool *torn, struct gw_diag *diag)
{
	*seen = (struct seen){ .as_appended = true };
	*torn = false;
	return gw_journal_each(dir, look, seen, torn, diag);
}

static size_t whole_records(size_t bytes)
{
	size_t count = 0;

	while (count < RECORDS && begins[count + 1] <= bytes)
		count++;
	return count;
}

/* The file is torn behind so many records: readers see these, a writer goes on behind them. */
static void check_torn(size_t whole, bool torn_expected, const char *what, size_t at)
{
	struct gw_journal *journal = NULL;
	struct seen seen;
	bool torn;
	int err = read_all(&seen, &torn, NULL);

	CHECK(err == 0, "%s at %zu: %d", what, at, err);
	CHECK(seen.count == whole, "%s at %zu: %llu records", what, at,
	      (unsigned long long)seen.count);
	CHECK(seen.as_appended, "%s at %zu", what, at);
	CHECK(torn == torn_expected, "%s at %zu", what, at);
	err = gw_journal_open(&journal, dir, NULL);
	CHECK(err == 0, "%s at %zu: %d", what, at, err);
	if (err != 0)
		return;
	CHECK(file_bytes() == (off_t)begins[whole], "%s at %zu", what, at);
	err = gw_journal_append(journal, GW_RECORD_NOTE, payload_of(whole), NULL);
	CHECK(err == 0, "%s at %zu: %d", what, at, err);
	gw_journal_close(journal);
	err = read_all(&seen, &torn, NULL);
	CHECK(err == 0 && !torn && seen.count == whole + 1 && seen.as_appended, "%s at %zu: %d",
	      what, at, err);
}

/* ---- the file is broken ---- */

static void cut_at_every_byte(void)
{
	for (size_t bytes = 0; bytes <= good_bytes; bytes++) {
		const size_t whole = whole_records(bytes);

		put_file(good, bytes);
		check_torn(whole, bytes != begins[whole], "cut", bytes);
	}
}

/* A crash may leave the length and not the data. The magic tells the file from a foreign one. */
static void tail_lost_at_every_byte(void)
{
	static const unsigned char fills[] = { 0x00, 0xa5, 0xff };
	unsigned char bytes[FILE_BYTES_MAX];

	for (size_t i = 0; i < sizeof(fills); i++)
		for (size_t at = fills[i] == 0 ? 0 : 4; at < good_bytes; at++) {
			size_t same = at;

			memcpy(bytes, good, good_bytes);
			if (at > 0 && at < 4)
				continue;
			memset(bytes + at, fills[i], good_bytes - at);
			while (same < good_bytes && bytes[same] == good[same])
				same++;	/* the padding is zero anyway */
			put_file(bytes, good_bytes);
			check_torn(whole_records(same), same != good_bytes, "tail lost", at);
		}
}

static void every_bit_flipped(void)
{
	for (size_t bit = 0; bit < good_bytes * 8; bit++) {
		const size_t at = bit / 8;
		const bool in_last = at >= begins[RECORDS - 1];
		struct gw_journal *journal = NULL;
		struct gw_diag diag = { 0 };
		struct seen seen;
		bool torn;
		int err;

		good[at] ^= (unsigned char)(1 << bit % 8);
		put_file(good, good_bytes);
		good[at] ^= (unsigned char)(1 << bit % 8);
		err = read_all(&seen, &torn, &diag);
		CHECK(seen.as_appended && seen.count == whole_records(at), "bit %zu", bit);
		if (in_last) {
			CHECK(err == 0 && torn, "bit %zu: %d", bit, err);
			continue;
		}
		CHECK(err == -EBADMSG, "bit %zu: %d", bit, err);
		CHECK(diag.exit_code == GW_EXIT_UNCLEAR, "bit %zu: %d", bit, diag.exit_code);
		err = gw_journal_open(&journal, dir, NULL);
		CHECK(err == -EBADMSG && journal == NULL, "bit %zu: %d", bit, err);
		CHECK(file_bytes() == (off_t)good_bytes, "bit %zu", bit);
	}
}

/* Record `at` of the good journal is left out, repeated, or written by a newer version. */
static size_t rebuild(unsigned char *out, size_t at, char how)
{
	size_t used = 0;

	for (size_t i = 0; i < RECORDS; i++) {
		const size_t size = begins[i + 1] - begins[i];

		if (i == at && how == '-')
			continue;
		if (i == at && how == 'v') {
			used += encode(out + used, GW_RECORD_VERSION + 1, i, i);
			continue;
		}
		memcpy(out + used, good + begins[i], size);
		used += size;
		if (i == at && how == '+') {
			memcpy(out + used, good + begins[i], size);
			used += size;
		}
	}
	return used;
}

static void check_rebuilt(char how, size_t last, int expected, enum gw_exit exit_code)
{
	unsigned char bytes[FILE_BYTES_MAX];

	for (size_t at = 0; at <= last; at++) {
		const size_t count = rebuild(bytes, at, how);
		struct gw_journal *journal = NULL;
		struct gw_diag diag = { 0 };
		struct seen seen;
		bool torn;
		int err;

		put_file(bytes, count);
		err = read_all(&seen, &torn, &diag);
		CHECK(err == expected, "%c at %zu: %d", how, at, err);
		CHECK(diag.exit_code == exit_code, "%c at %zu: %d", how, at, diag.exit_code);
		CHECK(seen.as_appended && seen.count == at + (how == '+'), "%c at %zu", how, at);
		CHECK(gw_journal_open(&journal, dir, NULL) == expected, "%c at %zu", how, at);
		CHECK(file_bytes() == (off_t)count, "%c at %zu", how, at);
	}
}

static void record_missing(void)
{
	check_rebuilt('-', RECORDS - 2, -EBADMSG, GW_EXIT_UNCLEAR);
}

static void record_repeated(void)
{
	check_rebuilt('+', RECORDS - 1, -EBADMSG, GW_EXIT_UNCLEAR);
}

static void record_newer(void)
{
	check_rebuilt('v', RECORDS - 1, -EPROTO, GW_EXIT_CANNOT);
}

/* ---- the calls fail ---- */

/* A journal with records 0 and 1 in it, the first one synced. */
static struct gw_journal *begin_two(void)
{
	struct gw_journal *journal = NULL;
	int err;

	unlink(path);
	err = gw_journal_create(&journal, dir, NULL);
	assert(err == 0);
	err = gw_journal_append(journal, GW_RECORD_STARTED, payload_of(0), NULL);
	assert(err == 0);
	err = gw_journal_sync(journal, NULL);
	assert(err == 0);
	err = gw_journal_append(journal, GW_RECORD_ROUND, payload_of(1), NULL);
	assert(err == 0);
	return journal;
}

static void check_holds(uint64_t count, bool torn_expected, const char *when, size_t at)
{
	struct seen seen;
	bool torn;
	const int err = read_all(&seen, &torn, NULL);

	CHECK(err == 0 && seen.count == count && seen.as_appended && torn == torn_expected,
	      "%s %zu: %d, %llu records%s", when, at, err, (unsigned long long)seen.count,
	      torn ? ", torn" : "");
}

static void write_cut_at_every_byte(void)
{
	const size_t size = begins[3] - begins[2];

	for (size_t at = 0; at <= size; at++) {
		struct gw_journal *const journal = begin_two();
		const off_t before = file_bytes();
		struct gw_diag diag = { 0 };
		int err;

		fault.write_at_most = at;
		err = gw_journal_append(journal, GW_RECORD_COMMIT, payload_of(2), &diag);
		CHECK((err == 0) == (at == size), "%zu: %d", at, err);
		CHECK(diag.failed == (err != 0), "%zu: not said", at);
		if (err != 0)
			CHECK(file_bytes() == before, "%zu", at);
		/* What is retracted is the commit, whether it is there or not; never the one before. */
		CHECK(gw_journal_retract(journal, NULL) == 0, "%zu", at);
		check_holds(2, false, "retracted", at);
		CHECK(gw_journal_append(journal, GW_RECORD_NOTE, payload_of(2), NULL) == 0, "%zu", at);
		check_holds(3, false, "appended", at);
		gw_journal_close(journal);
	}
}

static void write_interrupted_or_refused(void)
{
	struct gw_journal *const journal = begin_two();
	struct gw_diag diag = { 0 };

	fault.write_err = EINTR;
	CHECK(gw_journal_append(journal, GW_RECORD_NOTE, payload_of(2), &diag) == 0, "EINTR");
	fault.write_err = EIO;
	CHECK(gw_journal_append(journal, GW_RECORD_NOTE, payload_of(3), &diag) == -EIO, "EIO");
	CHECK(diag.failed, "not said");
	CHECK(gw_journal_append(journal, GW_RECORD_NOTE, payload_of(3), NULL) == 0, "then");
	check_holds(4, false, "at the end", 0);
	gw_journal_close(journal);
}

/* The half record cannot be removed: nothing may follow it; the next writer cuts it. */
static void undo_fails(void)
{
	struct gw_journal *journal = begin_two();
	int err;

	fault.write_at_most = 50;
	fault.ftruncate_err = EIO;
	CHECK(gw_journal_append(journal, GW_RECORD_COMMIT, payload_of(2), NULL) < 0, "append");
	check_holds(2, true, "torn", 0);
	CHECK(gw_journal_append(journal, GW_RECORD_NOTE, payload_of(2), NULL) < 0, "append");
	CHECK(gw_journal_sync(journal, NULL) < 0, "sync");
	check_holds(2, true, "torn still", 0);
	CHECK(gw_journal_retract(journal, NULL) == 0, "retract");
	check_holds(2, false, "retracted", 0);
	gw_journal_close(journal);
	journal = begin_two();
	fault.write_at_most = 50;
	fault.ftruncate_err = EIO;
	CHECK(gw_journal_append(journal, GW_RECORD_COMMIT, payload_of(2), NULL) < 0, "append");
	gw_journal_close(journal);
	err = gw_journal_open(&journal, dir, NULL);
	CHECK(err == 0, "%d", err);
	CHECK(gw_journal_append(journal, GW_RECORD_NOTE, payload_of(2), NULL) == 0, "append");
	check_holds(3, false, "cut", 0);
	gw_journal_close(journal);
}

/* A sync that failed stays failed; retracting the commit makes the file sound again. */
static void sync_fails(void)
{
	struct gw_journal *const journal = begin_two();
	struct gw_diag diag = { 0 };

	CHECK(gw_journal_append(journal, GW_RECORD_COMMIT, payload_of(2), NULL) == 0, "commit");
	fault.fdatasync_err = EIO;
	CHECK(gw_journal_sync(journal, &diag) == -EIO, "sync");
	CHECK(diag.failed, "not said");
	CHECK(gw_journal_sync(journal, NULL) == -EIO, "second sync lies");
	CHECK(gw_journal_append(journal, GW_RECORD_NOTE, payload_of(3), NULL) == -EIO, "append");
	fault.ftruncate_err = EIO;
	CHECK(gw_journal_retract(journal, NULL) == -EIO, "retract without truncation");
	check_holds(3, false, "commit is still there", 0);
	CHECK(gw_journal_retract(journal, NULL) == 0, "retract");
	check_holds(1, false, "what never was durable is gone", 0);
	CHECK(gw_journal_append(journal, GW_RECORD_RESUMED, payload_of(1), NULL) == 0, "append");
	CHECK(gw_journal_sync(journal, NULL) == 0, "sync at last");
	check_holds(2, false, "sound again", 0);
	gw_journal_close(journal);
}

/* The kernel's own short write, not ours. */
static void file_size_limit(void)
{
	const size_t size = begins[3] - begins[2];
	struct rlimit before;

	assert(getrlimit(RLIMIT_FSIZE, &before) == 0);
	for (size_t at = 0; at <= size; at += 7) {
		struct gw_journal *const journal = begin_two();
		const struct rlimit limit = { (rlim_t)file_bytes() + at, before.rlim_max };
		struct gw_diag diag = { 0 };
		int err;

		assert(setrlimit(RLIMIT_FSIZE, &limit) == 0);
		err = gw_journal_append(journal, GW_RECORD_NOTE, payload_of(2), &diag);
		assert(setrlimit(RLIMIT_FSIZE, &before) == 0);
		CHECK((err == 0) == (at >= size), "%zu: %d", at, err);
		CHECK(diag.failed == (err != 0), "%zu: not said", at);
		check_holds(err == 0 ? 3 : 2, false, "limited", at);
		gw_journal_close(journal);
	}
}

/* ---- the file system is full ---- */

/* A file system of its own on dir, in this process's namespace. Return: 0 or errno. */
static int mount_small(const char *size)
{
	char options[32];

	snprintf(options, sizeof(options), "size=%s,mode=0700", size);
	return mount("godwit-test", dir, "tmpfs", 0, options) == 0 ? 0 : errno;
}

static void fill(void)
{
	static const char zeroes[4096];
	char name[80];
	int fd;

	snprintf(name, sizeof(name), "%s/fill", dir);
	fd = open(name, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	assert(fd >= 0);
	while (write(fd, zeroes, sizeof(zeroes)) > 0)
		;
	assert(errno == ENOSPC);
	close(fd);
}

static void too_full_to_begin(void)
{
	struct gw_journal *journal = NULL;
	struct gw_diag diag = { 0 };
	int err;

	assert(mount_small("1m") == 0);
	err = gw_journal_create(&journal, dir, &diag);
	CHECK(err == -ENOSPC, "%d", err);
	CHECK(diag.failed && diag.exit_code == GW_EXIT_CANNOT, "not said");
	CHECK(journal == NULL && file_bytes() == -1, "something is left");
	assert(umount(dir) == 0);
}

/* On a full disk the reservation serves to its end; then it is an error, and nothing half stays. */
static void full_on_the_way(void)
{
	struct gw_journal *journal = NULL;
	struct gw_diag diag = { 0 };
	uint64_t count = 0, more = 0;
	struct seen seen;
	bool torn;
	int err;

	assert(mount_small("6m") == 0);
	err = gw_journal_create(&journal, dir, &diag);
	assert(err == 0);
	fill();
	while (gw_journal_append(journal, GW_RECORD_NOTE, payload_of(count), &diag) == 0)
		count++;
	CHECK(diag.err == -ENOSPC, "%d", diag.err);
	CHECK(file_bytes() >= (off_t)GW_JOURNAL_RESERVE_BYTES - 512, "only %lld bytes fitted",
	      (long long)file_bytes());
	CHECK(gw_journal_sync(journal, NULL) == 0, "sync");
	read_all(&seen, &torn, NULL);
	CHECK(seen.count == count && seen.as_appended && !torn, "%llu records of %llu",
	      (unsigned long long)seen.count, (unsigned long long)count);
	snprintf(failed_words, sizeof(failed_words), "%s/fill", dir);
	unlink(failed_words);
	while (more < 10 && gw_journal_append(journal, GW_RECORD_NOTE, NULL, NULL) == 0)
		more++;
	CHECK(more == 10, "%llu appended when there was space again", (unsigned long long)more);
	read_all(&seen, &torn, NULL);
	CHECK(seen.count == count + more && !torn, "%llu records", (unsigned long long)seen.count);
	gw_journal_close(journal);
	assert(umount(dir) == 0);
}

static void full_file_system(void)
{
	int err = unshare(CLONE_NEWNS) == 0 &&
		  mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0 ? 0 : errno;

	unlink(path);
	if (err == 0)
		err = mount_small("1m");
	if (err != 0) {
		printf("ok - full file system # SKIP no small tmpfs: %s\n", strerror(err));
		return;
	}
	assert(umount(dir) == 0);
	run("file system too full to begin", too_full_to_begin);
	run("file system full on the way", full_on_the_way);
}

int main(void)
{
	signal(SIGXFSZ, SIG_IGN);
	/* Thousands of files are synced: not on a disk, if there is another place. */
	snprintf(dir, sizeof(dir), "%s/godwit-fault-XXXXXX",
		 access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
	if (mkdtemp(dir) == NULL) {
		perror(dir);
		return 1;
	}
	snprintf(path, sizeof(path), "%s/" GW_JOURNAL_FILE, dir);
	make_good();
	run("cut at every byte", cut_at_every_byte);
	run("tail lost at every byte", tail_lost_at_every_byte);
	run("every bit flipped", every_bit_flipped);
	run("record missing", record_missing);
	run("record repeated", record_repeated);
	run("record of a newer version", record_newer);
	run("write cut short at every byte", write_cut_at_every_byte);
	run("write interrupted or refused", write_interrupted_or_refused);
	run("half a record that cannot be removed", undo_fails);
	run("sync fails", sync_fails);
	run("file size limit", file_size_limit);
	full_file_system();
	unlink(path);
	rmdir(dir);
	return failures != 0;
}

// SPDX-License-Identifier: GPL-2.0-or-later
#include "journal.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "clock.h"
#include "fault.h"
#include "units.h"

#define FILE_BYTES_MAX (UINT64_C(1) << 30)	/* what a reader takes into memory */
#define RESERVE_LOW_BYTES (UINT64_C(1) << 20)	/* less left than this: reserve another step */
#define JSON_DEPTH_MAX 16
#define RECORD_ALIGN 8				/* records start at multiples of it */

/* The largest record that this version writes: header, payload, padding. */
#define RECORD_BYTES_MAX (sizeof(struct gw_record_header) + GW_RECORD_PAYLOAD_BYTES_MAX)

struct gw_journal {
	char path[PATH_MAX];
	int fd;
	uint64_t end_bytes;		/* behind the last whole record */
	uint64_t seq;			/* of the next record */
	uint64_t last_bytes;		/* of the record appended last; 0: it failed, or there is none */
	uint64_t synced_end_bytes, synced_seq;	/* both as they were at the last good sync */
	uint64_t reserved_bytes;	/* of disk space, from the start of the file */
	int broken;			/* negative errno once the file is in doubt */
	bool sync_failed;		/* what came after the last good sync may be lost */
	bool is_log;			/* gw_journal_open_log() */
	bool told_long;
	unsigned char record[RECORD_BYTES_MAX];
};

/* ---- reading ---- */

/* The bytes of a file, and how far they have been understood. */
struct walk {
	const char *path;
	const unsigned char *bytes;
	size_t count_bytes;
	size_t end_bytes;		/* behind the last whole record */
	uint64_t seq;			/* of the next record */
	bool torn;
	struct json_tokener *tokener;
	struct gw_diag *diag;
};

static int fail_damaged(const struct walk *walk, const char *what)
{
	return gw_fail_exit(walk->diag, GW_EXIT_UNCLEAR, -EBADMSG,
			    "%s: is damaged: %s (record %llu at byte %zu); nothing was touched",
			    walk->path, what, (unsigned long long)walk->seq, walk->end_bytes);
}

/* Could an append that was cut short have left these as the first bytes of the file? */
static bool looks_begun(const unsigned char *bytes, size_t count)
{
	static const unsigned char magic[] = { 'G', 'W', 'R', 'J' };

	if (memcmp(bytes, magic, count < sizeof(magic) ? count : sizeof(magic)) == 0)
		return true;
	for (size_t i = 0; i < count; i++)
		if (bytes[i] != 0)
			return false;
	return true;
}

/*
 * Does a record follow somewhere behind a place that is none? The work is
 * bounded: whoever fills a file with beginnings of records is told "yes".
 */
static bool record_follows(const struct walk *walk)
{
	const uint32_t magic = GW_RECORD_MAGIC;
	uint64_t budget_bytes = 16 * (uint64_t)walk->count_bytes + (1 << 20);
	struct gw_record record;

	for (size_t at = walk->end_bytes + RECORD_ALIGN; at < walk->count_bytes;
	     at += RECORD_ALIGN) {
		const size_t left = walk->count_bytes - at;
		uint64_t cost = left < RECORD_BYTES_MAX ? left : RECORD_BYTES_MAX;
		int got;

		if (left < sizeof(magic) || memcmp(walk->bytes + at, &magic, sizeof(magic)) != 0)
			continue;
		got = gw_record_decode(&record, walk->bytes + at, left);
		if (got > 0 || got == -EPROTO || budget_bytes < cost)
			return true;
		budget_bytes -= cost;
	}
	return false;
}

/* Return: the payload (the caller's), or NULL if it is not one JSON object. */
static struct json_object *parse_payload(struct json_tokener *tokener,
					 const struct gw_record *record)
{
	const int length = (int)record->payload_bytes;
	struct json_object *object;

	json_tokener_reset(tokener);
	object = json_tokener_parse_ex(tokener, record->payload, length);
	if (json_tokener_get_error(tokener) == json_tokener_success &&
	    json_tokener_get_parse_end(tokener) == (size_t)length &&
	    json_object_is_type(object, json_type_object))
		return object;
	json_object_put(object);
	return NULL;
}

/* Return: bytes of the next record, 0 at the end of the whole ones, or negative errno, said. */
static int next_record(struct walk *walk, struct gw_record *record, struct json_object **payload)
{
	const size_t left = walk->count_bytes - walk->end_bytes;
	int got;

	if (left == 0)
		return 0;
	got = gw_record_decode(record, walk->bytes + walk->end_bytes, left);
	if (got == -EPROTO)
		return gw_fail_exit(walk->diag, GW_EXIT_CANNOT, -EPROTO,
				    "%s: was written by a newer godwit (record %llu); use that one",
				    walk->path, (unsigned long long)walk->seq);
	if (got < 0) {
		if (walk->end_bytes == 0 && !looks_begun(walk->bytes, left))
			return gw_fail_exit(walk->diag, GW_EXIT_UNCLEAR, -EBADMSG,
					    "%s: is no journal of godwit", walk->path);
		if (record_follows(walk))
			return fail_damaged(walk, "others follow a broken record");
		walk->torn = true;
		return 0;
	}
	if (record->seq != walk->seq)
		return fail_damaged(walk, "a record is missing, or there twice");
	*payload = parse_payload(walk->tokener, record);
	if (*payload == NULL)
		return fail_damaged(walk, "its payload is not a JSON object");
	return got;
}

/* Shows every whole record to fn (NULL: to nobody). Return: fn's first non-zero answer, or an error. */
static int walk_records(struct walk *walk, gw_journal_fn fn, void *arg)
{
	int answer = 0;

	walk->tokener = json_tokener_new_ex(JSON_DEPTH_MAX);
	assert(walk->tokener != NULL);
	json_tokener_set_flags(walk->tokener, JSON_TOKENER_STRICT);
	while (answer == 0) {
		struct gw_record record;
		struct json_object *payload = NULL;
		const int got = next_record(walk, &record, &payload);

		if (got <= 0) {
			answer = got;
			break;
		}
		walk->end_bytes += (size_t)got;
		walk->seq++;
		if (fn != NULL)
			answer = fn(arg, &record, payload);
		json_object_put(payload);
	}
	json_tokener_free(walk->tokener);
	walk->tokener = NULL;
	return answer;
}

/* Reads what the file holds now; it may grow meanwhile. *bytes is the caller's to free. */
static int read_whole(int fd, const char *path, unsigned char **bytes, size_t *count_bytes,
		      struct gw_diag *diag)
{
	unsigned char *buffer;
	struct stat st;
	size_t have = 0;

	if (fstat(fd, &st) != 0)
		return gw_fail(diag, -errno, "%s: %s", path, strerror(errno));
	if (!S_ISREG(st.st_mode))
		return gw_fail_exit(diag, GW_EXIT_CANNOT, -EINVAL, "%s: is no regular file", path);
	if ((uint64_t)st.st_size > FILE_BYTES_MAX)
		return gw_fail_exit(diag, GW_EXIT_CANNOT, -EFBIG,
				    "%s: is larger than any journal (%lld bytes)", path,
				    (long long)st.st_size);
	buffer = malloc((size_t)st.st_size + 1);
	if (buffer == NULL)
		return gw_fail(diag, -ENOMEM, "%s: no memory to read it", path);
	while (have < (size_t)st.st_size) {
		const ssize_t got = pread(fd, buffer + have, (size_t)st.st_size - have,
					  (off_t)have);

		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0) {
			const int err = -errno;

			free(buffer);
			return gw_fail(diag, err, "%s: cannot be read: %s", path, strerror(-err));
		}
		if (got == 0)
			break;		/* it was cut meanwhile */
		have += (size_t)got;
	}
	*bytes = buffer;
	*count_bytes = have;
	return 0;
}

static int open_file(const char *path, int flags, struct gw_diag *diag)
{
	const int fd = open(path, flags | O_CLOEXEC | O_NONBLOCK);

	if (fd >= 0)
		return fd;
	return gw_fail_exit(diag, GW_EXIT_CANNOT, -errno, "%s: %s", path,
			    errno == ENOENT ? "there is no journal" : strerror(errno));
}

static int journal_path(char path[PATH_MAX], const char *dir, struct gw_diag *diag)
{
	if (snprintf(path, PATH_MAX, "%s/" GW_JOURNAL_FILE, dir) < PATH_MAX)
		return 0;
	return gw_fail_exit(diag, GW_EXIT_CANNOT, -ENAMETOOLONG, "%s: the path is too long", dir);
}

/* dir may be the file itself. */
static int readers_path(char path[PATH_MAX], const char *dir, struct gw_diag *diag)
{
	struct stat st;

	if (stat(dir, &st) != 0 || S_ISDIR(st.st_mode))
		return journal_path(path, dir, diag);
	if (snprintf(path, PATH_MAX, "%s", dir) < PATH_MAX)
		return 0;
	return gw_fail_exit(diag, GW_EXIT_CANNOT, -ENAMETOOLONG, "%s: the path is too long", dir);
}

int gw_journal_each(const char *dir, gw_journal_fn fn, void *arg, bool *torn, struct gw_diag *diag)
{
	char path[PATH_MAX];
	struct walk walk = { .path = path, .diag = diag };
	unsigned char *bytes = NULL;
	int fd, err;

	assert(fn != NULL);
	err = readers_path(path, dir, diag);
	if (err != 0)
		return err;
	fd = open_file(path, O_RDONLY, diag);
	if (fd < 0)
		return fd;
	err = read_whole(fd, path, &bytes, &walk.count_bytes, diag);
	close(fd);
	if (err != 0)
		return err;
	walk.bytes = bytes;
	err = walk_records(&walk, fn, arg);
	free(bytes);
	if (walk.torn)
		gw_say(diag, GW_WARNING, "%s: its last record was cut short and is ignored", path);
	if (torn != NULL)
		*torn = walk.torn;
	return err;
}

/* ---- writing ---- */

/* On tmpfs it is interrupted by any work pending for the task, io_uring's as well. */
static int reserve_space(int fd, uint64_t from_bytes)
{
	int result;

	do
		result = fallocate(fd, FALLOC_FL_KEEP_SIZE, (off_t)from_bytes,
				   (off_t)GW_JOURNAL_RESERVE_BYTES);
	while (result < 0 && errno == EINTR);
	return result;
}

/* More space for later; what fails here is no error before an append fails. */
static void reserve_more(struct gw_journal *journal)
{
	const uint64_t from_bytes = journal->end_bytes;

	if (journal->is_log || journal->reserved_bytes >= from_bytes + RESERVE_LOW_BYTES)
		return;
	if (reserve_space(journal->fd, from_bytes) == 0)
		journal->reserved_bytes = from_bytes + GW_JOURNAL_RESERVE_BYTES;
}

static int sync_dir(const char *dir, struct gw_diag *diag)
{
	const int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int err = 0;

	if (fd < 0)
		return gw_fail(diag, -errno, "%s: %s", dir, strerror(errno));
	if (fsync(fd) != 0)
		err = gw_fail(diag, -errno, "%s: sync: %s", dir, strerror(errno));
	close(fd);
	return err;
}

/* Space and durability of the new, empty file. */
static int settle_new(struct gw_journal *journal, const char *dir, struct gw_diag *diag)
{
	char reserve[GW_UNIT_TEXT_BYTES];

	gw_format_bytes(reserve, GW_JOURNAL_RESERVE_BYTES);
	if (reserve_space(journal->fd, 0) == 0)
		journal->reserved_bytes = GW_JOURNAL_RESERVE_BYTES;
	else if (errno == EOPNOTSUPP)
		gw_say(diag, GW_WARNING, "%s: this file system reserves no space; "
		       "should it fill up, the migration fails", journal->path);
	else
		return gw_fail_exit(diag, GW_EXIT_CANNOT, -errno, "%s: cannot reserve %s: %s; "
				    "free some or use --state-dir", journal->path, reserve,
				    strerror(errno));
	if (fsync(journal->fd) != 0)
		return gw_fail(diag, -errno, "%s: sync: %s", journal->path, strerror(errno));
	return sync_dir(dir, diag);
}

static int new_journal(struct gw_journal **journal, const char *dir, struct gw_diag *diag)
{
	struct gw_journal *const fresh = calloc(1, sizeof(*fresh));
	int err;

	*journal = NULL;
	if (fresh == NULL)
		return gw_fail(diag, -ENOMEM, "%s: no memory for a journal", dir);
	fresh->fd = -1;
	err = journal_path(fresh->path, dir, diag);
	if (err != 0) {
		free(fresh);
		return err;
	}
	*journal = fresh;
	return 0;
}

int gw_journal_create(struct gw_journal **journal, const char *dir, struct gw_diag *diag)
{
	struct gw_journal *fresh;
	int err;

	*journal = NULL;
	err = new_journal(&fresh, dir, diag);
	if (err != 0)
		return err;
	fresh->fd = open(fresh->path, O_RDWR | O_APPEND | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (fresh->fd < 0) {
		err = gw_fail_exit(diag, GW_EXIT_CANNOT, -errno, "%s: %s", fresh->path,
				   errno == EEXIST ? "is there already: another migration's; go on "
				   "with --continue, or use another --name or --state-dir" :
				   strerror(errno));
		gw_journal_close(fresh);
		return err;
	}
	err = settle_new(fresh, dir, diag);
	if (err != 0) {
		unlink(fresh->path);
		gw_journal_close(fresh);
		return err;
	}
	*journal = fresh;
	return 0;
}

/* Makes end_bytes the durable end of the file, and takes the space back that a cut gives away. */
static int cut_tail(struct gw_journal *journal, uint64_t end_bytes, struct gw_diag *diag)
{
	if (ftruncate(journal->fd, (off_t)end_bytes) != 0 || fsync(journal->fd) != 0)
		return gw_fail(diag, -errno, "%s: cannot be cut to %llu bytes: %s", journal->path,
			       (unsigned long long)end_bytes, strerror(errno));
	journal->end_bytes = end_bytes;
	journal->reserved_bytes = 0;
	reserve_more(journal);
	return 0;
}

static int sync_file(struct gw_journal *journal, struct gw_diag *diag)
{
	if (fdatasync(journal->fd) != 0) {
		/* The kernel drops what it could not write: a second sync would say yes to nothing. */
		journal->broken = -errno;
		journal->sync_failed = true;
		return gw_fail(diag, journal->broken, "%s: sync: %s", journal->path,
			       strerror(-journal->broken));
	}
	journal->synced_end_bytes = journal->end_bytes;
	journal->synced_seq = journal->seq;
	return 0;
}

static int open_checked(struct gw_journal *journal, struct gw_diag *diag)
{
	struct walk walk = { .path = journal->path, .diag = diag };
	unsigned char *bytes = NULL;
	int err;

	if (journal->is_log)
		journal->fd = open(journal->path, O_RDWR | O_APPEND | O_NOFOLLOW | O_CREAT |
				   O_CLOEXEC, 0600);
	else
		journal->fd = open_file(journal->path, O_RDWR | O_APPEND | O_NOFOLLOW, diag);
	if (journal->fd < 0)
		return journal->is_log ? gw_fail_exit(diag, GW_EXIT_CANNOT, -errno, "%s: %s",
						      journal->path, strerror(errno)) :
					 journal->fd;
	err = read_whole(journal->fd, journal->path, &bytes, &walk.count_bytes, diag);
	if (err != 0)
		return err;
	walk.bytes = bytes;
	err = walk_records(&walk, NULL, NULL);
	free(bytes);
	if (err != 0)
		return err;
	journal->end_bytes = walk.end_bytes;
	journal->seq = walk.seq;
	reserve_more(journal);
	if (walk.torn) {
		gw_say(diag, GW_WARNING, "%s: its last record was cut short: %zu bytes cut off",
		       journal->path, walk.count_bytes - walk.end_bytes);
		err = cut_tail(journal, journal->end_bytes, diag);
		if (err != 0)
			return err;
	}
	/* What a dead process appended need not be durable yet. */
	return sync_file(journal, diag);
}

int gw_journal_open(struct gw_journal **journal, const char *dir, struct gw_diag *diag)
{
	struct gw_journal *opened;
	int err;

	*journal = NULL;
	err = new_journal(&opened, dir, diag);
	if (err != 0)
		return err;
	err = open_checked(opened, diag);
	if (err != 0) {
		gw_journal_close(opened);
		return err;
	}
	*journal = opened;
	return 0;
}

int gw_journal_open_log(struct gw_journal **journal, const char *path, struct gw_diag *diag)
{
	struct gw_journal *const opened = calloc(1, sizeof(*opened));
	int err;

	*journal = NULL;
	if (opened == NULL)
		return gw_fail(diag, -ENOMEM, "%s: no memory for it", path);
	opened->fd = -1;
	opened->is_log = true;
	if (snprintf(opened->path, sizeof(opened->path), "%s", path) >= (int)sizeof(opened->path))
		err = gw_fail_exit(diag, GW_EXIT_CANNOT, -ENAMETOOLONG, "%s: the path is too long",
				   path);
	else
		err = open_checked(opened, diag);
	if (err < 0)
		gw_journal_close(opened);
	else
		*journal = opened;
	return err;
}

uint64_t gw_journal_bytes(const struct gw_journal *journal)
{
	return journal->end_bytes;
}

void gw_journal_close(struct gw_journal *journal)
{
	if (journal == NULL)
		return;
	if (journal->fd >= 0)
		close(journal->fd);
	free(journal);
}

/* Nothing half appended may stay. If it cannot be removed, nothing may follow it. */
static void undo_append(struct gw_journal *journal, struct gw_diag *diag)
{
	struct stat st;

	if (fstat(journal->fd, &st) == 0 && (uint64_t)st.st_size == journal->end_bytes)
		return;
	if (cut_tail(journal, journal->end_bytes, diag) != 0)
		journal->broken = -EIO;
}

/* Another writer's records would not fit ours: sequence numbers would repeat. */
static int check_end(struct gw_journal *journal, struct gw_diag *diag)
{
	struct stat st;

	if (journal->broken != 0)
		return gw_fail(diag, journal->broken, "%s: failed before; nothing is appended",
			       journal->path);
	if (fstat(journal->fd, &st) != 0)
		return gw_fail(diag, -errno, "%s: %s", journal->path, strerror(errno));
	if ((uint64_t)st.st_size == journal->end_bytes)
		return 0;
	journal->broken = -EBUSY;
	return gw_fail(diag, -EBUSY, "%s: somebody else wrote to it (%lld bytes, not %llu)",
		       journal->path, (long long)st.st_size,
		       (unsigned long long)journal->end_bytes);
}

static int write_record(struct gw_journal *journal, size_t size, struct gw_diag *diag)
{
	ssize_t put;
	int err;

	gw_fault_point("journal-append");
	do
		put = write(journal->fd, journal->record, size);
	while (put < 0 && errno == EINTR);
	if (put == (ssize_t)size) {
		gw_fault_point("journal-appended");
		return 0;
	}
	err = put < 0 ? -errno : -ENOSPC;
	gw_fail(diag, err, "%s: cannot append a record: %s", journal->path,
		put < 0 ? strerror(-err) : "the file system or its quota is full");
	undo_append(journal, diag);
	return err;
}

static int append_text(struct gw_journal *journal, enum gw_record_type type, const char *text,
		       size_t text_bytes, struct gw_diag *diag)
{
	struct gw_record record = {
		.version = GW_RECORD_VERSION,
		.type = (uint16_t)type,
		.seq = journal->seq,
		.wall_ns = gw_wall_ns(),
		.payload = text,
	};
	int size, err;

	journal->last_bytes = 0;
	if (text_bytes > GW_RECORD_PAYLOAD_BYTES_MAX)
		return gw_fail(diag, -EMSGSIZE, "%s: a record \"%s\" of %zu bytes is too long",
			       journal->path, gw_record_type_name(record.type), text_bytes);
	record.payload_bytes = (uint32_t)text_bytes;
	err = check_end(journal, diag);
	if (err != 0)
		return err;
	size = gw_record_encode(&record, journal->record, sizeof(journal->record));
	assert(size > 0);
	err = write_record(journal, (size_t)size, diag);
	if (err != 0)
		return err;
	journal->end_bytes += (uint64_t)size;
	journal->last_bytes = (uint64_t)size;
	journal->seq++;
	reserve_more(journal);
	return 0;
}

/* Of use to a reader of the report alone, and so frequent that for ever would be too long. */
static bool is_dispensable(enum gw_record_type type, struct json_object *payload)
{
	const char *level;
	bool is_final = false;

	switch (type) {
	case GW_RECORD_SETTLED:
		return true;
	case GW_RECORD_ROUND:
		gw_json_bool(payload, "final", &is_final);
		return !is_final;
	case GW_RECORD_NOTE:
		level = gw_json_string(payload, "level");
		return level != NULL && strcmp(level, "note") == 0;
	default:
		return false;
	}
}

/* That it is long, once. */
static int say_long(struct gw_journal *journal, struct gw_diag *diag)
{
	static const char text[] = "{\"level\":\"warning\",\"text\":\"the journal is long: from here "
				   "on it has no rounds but the final one, no batches and no notes\"}";
	int err;

	if (journal->told_long)
		return 0;
	err = append_text(journal, GW_RECORD_NOTE, text, sizeof(text) - 1, diag);
	journal->told_long = err == 0;
	return err;
}

int gw_journal_append(struct gw_journal *journal, enum gw_record_type type,
		      struct json_object *payload_give, struct gw_diag *diag)
{
	const char *text = "{}";
	size_t text_bytes = 2;
	int err;

	if (!journal->is_log && journal->end_bytes >= GW_JOURNAL_LONG_BYTES &&
	    payload_give != NULL && is_dispensable(type, payload_give)) {
		json_object_put(payload_give);
		return say_long(journal, diag);
	}
	if (payload_give != NULL) {
		assert(json_object_is_type(payload_give, json_type_object));
		text = json_object_to_json_string_length(payload_give, JSON_C_TO_STRING_PLAIN |
							 JSON_C_TO_STRING_NOSLASHESCAPE,
							 &text_bytes);
		assert(text != NULL);
	}
	err = append_text(journal, type, text, text_bytes, diag);
	json_object_put(payload_give);
	return err;
}

int gw_journal_sync(struct gw_journal *journal, struct gw_diag *diag)
{
	int err;

	if (journal->broken != 0)
		return gw_fail(diag, journal->broken, "%s: failed before; it cannot be synced",
			       journal->path);
	gw_fault_point("journal-sync");
	err = sync_file(journal, diag);
	if (err == 0)
		gw_fault_point("journal-synced");
	return err;
}

/*
 * After a failed append there is nothing left to cut, or the undo is tried
 * again. After a failed sync nobody knows what else was dropped: all that was
 * never durable goes too, and the file is sound again.
 */
int gw_journal_retract(struct gw_journal *journal, struct gw_diag *diag)
{
	uint64_t end_bytes = journal->end_bytes - journal->last_bytes;
	uint64_t seq = journal->seq - (journal->last_bytes != 0);
	int err;

	if (journal->broken == -EBUSY)
		return gw_fail(diag, -EBUSY, "%s: somebody else wrote to it", journal->path);
	if (journal->sync_failed && journal->synced_end_bytes < end_bytes) {
		end_bytes = journal->synced_end_bytes;
		seq = journal->synced_seq;
	}
	err = cut_tail(journal, end_bytes, diag);
	if (err != 0) {
		journal->broken = err == -EBUSY ? -EIO : err;
		return err;
	}
	journal->seq = journal->synced_seq = seq;
	journal->synced_end_bytes = end_bytes;
	journal->last_bytes = 0;
	journal->broken = 0;
	journal->sync_failed = false;
	return 0;
}

/* ---- state ---- */

static void keep(struct json_object **slot, struct json_object *payload)
{
	json_object_put(*slot);
	*slot = json_object_get(payload);
}

static void keep_handoff(struct gw_journal_state *state, struct json_object *payload)
{
	const char *const handoff = gw_json_string(payload, "handoff");

	if (handoff != NULL)
		snprintf(state->handoff, sizeof(state->handoff), "%s", handoff);
}

/* A new process: what the one before it stopped was put right first, unless it was past the commit. */
static void begin_again(struct gw_journal_state *state)
{
	if (!state->has_commit)
		state->has_quiescing = false;
	state->has_ended = false;
	state->exit_code = 0;
}

static bool is_restored(struct json_object *payload)
{
	bool restored = false;

	gw_json_bool(payload, "restored", &restored);
	return restored;
}

static int follow_state(void *arg, const struct gw_record *record, struct json_object *payload)
{
	struct gw_journal_state *const state = arg;

	switch (record->type) {
	case GW_RECORD_STARTED:
		begin_again(state);
		state->has_started = true;
		keep(&state->started, payload);
		keep_handoff(state, payload);
		break;
	case GW_RECORD_CONTINUED:
		begin_again(state);
		keep(&state->continued, payload);
		break;
	case GW_RECORD_QUIESCING:
		state->has_quiescing = true;
		keep(&state->quiescing, payload);
		keep_handoff(state, payload);
		break;
	case GW_RECORD_THROTTLED:
		keep(&state->throttled, is_restored(payload) ? NULL : payload);
		break;
	case GW_RECORD_COMMIT:
		state->has_commit = true;	/* for ever: only the target may run */
		break;
	case GW_RECORD_SWITCHED:
		state->has_switched = state->has_commit;
		break;
	case GW_RECORD_RESUMED:
		state->has_quiescing = false;
		state->has_resumed = state->has_commit;
		break;
	case GW_RECORD_ENDED:
		state->has_ended = true;
		if (!gw_json_u64(payload, "exit_code", &state->exit_code))
			state->exit_code = GW_EXIT_UNCLEAR;
		break;
	case GW_RECORD_CLEANED:
		/* Nobody goes on with it: its name is free. */
		if (!state->has_ended)
			state->exit_code = state->has_commit ? GW_EXIT_DONE : GW_EXIT_CANCELLED;
		state->has_ended = true;
		break;
	default:
		break;
	}
	return 0;
}

int gw_journal_read_state(const char *dir, struct gw_journal_state *state, struct gw_diag *diag)
{
	int err;

	memset(state, 0, sizeof(*state));
	err = gw_journal_each(dir, follow_state, state, NULL, diag);
	if (err != 0)
		gw_journal_state_fini(state);
	return err;
}

void gw_journal_state_fini(struct gw_journal_state *state)
{
	json_object_put(state->started);
	json_object_put(state->quiescing);
	json_object_put(state->continued);
	json_object_put(state->throttled);
	memset(state, 0, sizeof(*state));
}

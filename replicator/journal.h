/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The journal of one migration: an append-only file of checksummed records
 * (src/format/record.h) with one JSON object each. All that a person sees later
 * is read from it. One process appends at a time; anyone may read.
 */
#ifndef GW_JOURNAL_H
#define GW_JOURNAL_H

#include <stdbool.h>
#include <stdint.h>

#include <json-c/json.h>

#include "err.h"
#include "jsonkeys.h"
#include "record.h"

#define GW_JOURNAL_FILE "journal"
#define GW_JOURNAL_RESERVE_BYTES (UINT64_C(4) << 20)
/*
 * Once it has this size it takes only what others than readers of the report need: whoever goes
 * on or cleans up reads all of it, perhaps while the source's writers wait for that.
 */
#define GW_JOURNAL_LONG_BYTES (UINT64_C(64) << 20)

struct gw_journal;

/*
 * Creates DIR/journal (the directory must exist), refusing one that is there
 * (-EEXIST), reserves GW_JOURNAL_RESERVE_BYTES on the disk so that the commit
 * record cannot fail for space, and syncs file and directory. Errors are said.
 */
int gw_journal_create(struct gw_journal **journal, const char *dir, struct gw_diag *diag);

/*
 * Opens DIR/journal for appending. A torn tail is cut off and said; a damaged
 * record before the tail is -EBADMSG (GW_EXIT_UNCLEAR), a newer version -EPROTO
 * (GW_EXIT_CANNOT), none there -ENOENT.
 */
int gw_journal_open(struct gw_journal **journal, const char *dir, struct gw_diag *diag);
/*
 * The same for another file of records, made if it is not there, in a directory that is: no space
 * is reserved for it, and nobody relies on it after a crash.
 */
int gw_journal_open_log(struct gw_journal **journal, const char *path, struct gw_diag *diag);
/* Of its whole records. */
uint64_t gw_journal_bytes(const struct gw_journal *journal);
void gw_journal_close(struct gw_journal *journal);	/* NULL is fine */

/*
 * Appends one record in one write. payload is consumed (put) whatever happens;
 * NULL means an empty object. Not durable before gw_journal_sync(). In a long journal
 * batches, rounds but the final one, and notes are left out: 0, once that is said.
 */
int gw_journal_append(struct gw_journal *journal, enum gw_record_type type,
		      struct json_object *payload_give, struct gw_diag *diag);
int gw_journal_sync(struct gw_journal *journal, struct gw_diag *diag);
/* Cuts the record off again that was appended last (a commit that could not be synced). Return: 0 or negative errno. */
int gw_journal_retract(struct gw_journal *journal, struct gw_diag *diag);

/*
 * Calls fn with each whole record of DIR/journal (or of the file dir itself, if
 * it is one), payload parsed (borrowed). Stops at fn's first non-zero answer,
 * which it returns. torn (may be NULL) tells whether a tail was torn. Errors as
 * gw_journal_open(); the records before a damaged one have been shown then.
 */
typedef int (*gw_journal_fn)(void *arg, const struct gw_record *record,
			     struct json_object *payload);
int gw_journal_each(const char *dir, gw_journal_fn fn, void *arg, bool *torn,
		    struct gw_diag *diag);

/* What whoever cleans up must know, read from the records. */
struct gw_journal_state {
	bool has_started;
	bool has_quiescing;		/* since the last start or continue, and no RESUMED after it */
	bool has_commit;
	bool has_switched, has_resumed;	/* after the commit */
	bool has_ended;			/* since the last start or continue */
	uint64_t exit_code;		/* of the end */
	char handoff[32];		/* provider */
	struct json_object *started;	/* payload of STARTED, a reference of the caller's; NULL if none */
	struct json_object *quiescing;	/* of the last QUIESCING; NULL if none */
	struct json_object *continued;	/* of the last CONTINUED; NULL if none */
	struct json_object *throttled;	/* of the last THROTTLED; NULL if none, or restored since */
};
int gw_journal_read_state(const char *dir, struct gw_journal_state *state, struct gw_diag *diag);
void gw_journal_state_fini(struct gw_journal_state *state);

#endif

// SPDX-License-Identifier: GPL-2.0-or-later
#include "migrations.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/un.h>
#include <unistd.h>

#include "control_server.h"
#include "journal.h"
#include "names.h"
#include "statefiles.h"
#include "track.h"
#include "verbs.h"

int gw_migration_find(char path[PATH_MAX], const char *operand)
{
	if (strchr(operand, '/') == NULL && access(operand, F_OK) != 0 &&
	    gw_options_is_name(operand)) {
		gw_state_find(path, operand, NULL, GW_RUN_DIR_DEFAULT);
		return 0;
	}
	if (strlen(operand) >= PATH_MAX)
		return -ENAMETOOLONG;
	strcpy(path, operand);
	return 0;
}

static bool is_locked(const char *state_dir)
{
	const int fd = open(state_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	bool answer;

	if (fd < 0)
		return false;
	answer = flock(fd, LOCK_SH | LOCK_NB) != 0 && errno == EWOULDBLOCK;
	close(fd);
	return answer;
}

/* What the dead one's journal says of its source, and what is left to do. */
static void read_journal(struct gw_migration_look *look)
{
	struct gw_journal_state state = { 0 };
	struct gw_diag quiet = { 0 };
	const int err = gw_journal_read_state(look->state_dir, &state, &quiet);

	if (err < 0 && err != -ENOENT) {
		snprintf(look->advice, sizeof(look->advice), "%.400s", quiet.text);
		return;
	}
	look->is_committed = state.has_commit;
	look->is_quiesced = state.has_quiescing && !state.has_commit;
	if (err == -ENOENT)
		snprintf(look->advice, sizeof(look->advice), "its journal is not in %.300s: `godwit "
			 "cleanup %s` removes what is left", look->state_dir, look->name);
	else if (state.has_ended)
		snprintf(look->advice, sizeof(look->advice), "it has ended: `godwit cleanup %s` "
			 "removes what is left", look->name);
	else
		snprintf(look->advice, sizeof(look->advice), "%s: `godwit migrate --continue %s` "
			 "or `godwit cleanup %s`", look->is_committed ? "committed" :
			 look->is_quiesced ? "its writers may still be stopped" :
			 "the source runs", look->name, look->name);
	gw_journal_state_fini(&state);
}

static int ask_status(struct gw_migration_look *look, struct gw_client *client)
{
	const struct gw_control_request request = { .command = GW_CONTROL_STATUS };
	struct gw_diag quiet = { 0 };
	const int err = gw_client_ask(client, &request, &look->status, &quiet);

	if (err != 0)
		look->status = NULL;
	return err;
}

void gw_migration_look_at(struct gw_migration_look *look, const char *run_dir, const char *name)
{
	char pins[PATH_MAX];
	struct gw_client *const client = calloc(1, sizeof(*client));
	int err;

	assert(client != NULL);
	memset(look, 0, sizeof(*look));
	snprintf(look->name, sizeof(look->name), "%s", name);
	gw_state_find(look->state_dir, name, NULL, run_dir);
	snprintf(pins, sizeof(pins), "%s/%s", GW_PINS_DIR, name);
	look->has_pins = access(pins, F_OK) == 0;
	err = gw_client_open(client, run_dir, name);
	look->stale_socket = err == -ECONNREFUSED;
	if (err == 0)
		err = ask_status(look, client);
	gw_client_close(client);
	free(client);
	if (err == 0) {
		look->life = GW_LIFE_RUNS;
	} else if (is_locked(look->state_dir)) {
		look->life = GW_LIFE_SILENT;
	} else {
		look->life = GW_LIFE_DEAD;
		read_journal(look);
	}
}

void gw_migration_look_fini(struct gw_migration_look *look)
{
	json_object_put(look->status);
	look->status = NULL;
}

static int compare_names(const void *a, const void *b)
{
	return strcmp(a, b);
}

static struct gw_names *find_names(const char *run_dir)
{
	struct gw_names *const names = calloc(1, sizeof(*names));

	assert(names != NULL);
	gw_names_find(names, run_dir);
	qsort(names->name, names->count, sizeof(names->name[0]), compare_names);
	return names;
}

void gw_migrations_each(const char *run_dir,
			void (*fn)(void *arg, const struct gw_migration_look *look), void *arg)
{
	struct gw_names *const names = find_names(run_dir);
	struct gw_migration_look *const look = calloc(1, sizeof(*look));

	assert(look != NULL);
	for (uint32_t i = 0; i < names->count; i++) {
		gw_migration_look_at(look, run_dir, names->name[i]);
		fn(arg, look);
		gw_migration_look_fini(look);
	}
	free(look);
	free(names);
}

/* The one whose socket answers, if there is one only. Return: how many. */
static uint32_t find_only(const char *run_dir, char found[128])
{
	struct gw_names *const names = find_names(run_dir);
	struct gw_client *const client = calloc(1, sizeof(*client));
	uint32_t count = 0;

	assert(client != NULL);
	for (uint32_t i = 0; i < names->count; i++) {
		if (gw_client_open(client, run_dir, names->name[i]) != 0)
			continue;
		gw_client_close(client);
		if (count++ == 0)
			memcpy(found, names->name[i], sizeof(names->name[i]));
	}
	free(client);
	free(names);
	return count;
}

static int say_why_not(int err, const char *run_dir, const char *name, struct gw_diag *diag)
{
	struct gw_migration_look *const look = calloc(1, sizeof(*look));

	assert(look != NULL);
	gw_migration_look_at(look, run_dir, name);
	if (err != -ENOENT && err != -ECONNREFUSED)
		gw_fail_exit(diag, GW_EXIT_CANNOT, err, "%s/%s.sock: %s", run_dir, name,
			     strerror(-err));
	else if (look->life == GW_LIFE_SILENT)
		gw_fail_exit(diag, GW_EXIT_CANNOT, err, "%s runs and has no socket: it is just "
			     "beginning or ending, try again", name);
	else if (err == -ECONNREFUSED || access(look->state_dir, F_OK) == 0)
		gw_fail_exit(diag, GW_EXIT_CANNOT, err, "%s does not run%s; %s", name,
			     look->stale_socket ? ", its socket is that of a dead process" : "",
			     look->advice);
	else
		gw_fail_exit(diag, GW_EXIT_CANNOT, err, "there is no migration %s; `godwit list` "
			     "tells of all", name);
	gw_migration_look_fini(look);
	free(look);
	return err;
}

int gw_migration_connect(struct gw_client *client, const char *run_dir, const char *name,
			 char found[128], struct gw_diag *diag)
{
	uint32_t count;
	int err;

	if (name == NULL) {
		count = find_only(run_dir, found);
		if (count == 0)
			return gw_fail_exit(diag, GW_EXIT_CANNOT, -ENOENT,
					    "no migration is running");
		if (count > 1)
			return gw_fail_exit(diag, GW_EXIT_CANNOT, -ENOTUNIQ,
					    "%u migrations are running, say which: `godwit list`",
					    count);
	} else {
		snprintf(found, 128, "%s", name);
	}
	err = gw_client_open(client, run_dir, found);
	return err == 0 ? 0 : say_why_not(err, run_dir, found, diag);
}

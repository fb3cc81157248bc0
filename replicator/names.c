// SPDX-License-Identifier: GPL-2.0-or-later
#include "names.h"

#include <dirent.h>
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "job.h"
#include "preflight.h"

static void add_name(struct gw_names *names, const char *name, size_t length)
{
	char copy[sizeof(names->name[0])], checked[128];

	if (length == 0 || length >= sizeof(copy) || names->count == GW_NAMES_MAX)
		return;
	memcpy(copy, name, length);
	copy[length] = '\0';
	/* Whatever else lies there is no migration's. */
	if (gw_migration_name(checked, &(struct gw_migration_config){ .name = copy }, NULL, NULL) < 0)
		return;
	for (uint32_t i = 0; i < names->count; i++)
		if (strcmp(names->name[i], copy) == 0)
			return;
	memcpy(names->name[names->count++], copy, length + 1);
}

static bool did_not_end(const char *name)
{
	struct gw_journal_state state = { 0 };
	struct gw_diag quiet = { 0 };
	char dir[PATH_MAX];
	bool answer;

	snprintf(dir, sizeof(dir), GW_STATE_ROOT "/%s", name);
	if (gw_journal_read_state(dir, &state, &quiet) < 0)
		return quiet.err == -EBADMSG || quiet.err == -EPROTO;
	answer = state.has_started && !state.has_ended;
	gw_journal_state_fini(&state);
	return answer;
}

void gw_names_find(struct gw_names *names, const char *run_dir)
{
	static const char *const suffixes[] = { ".state", ".sock", ".soc~" };
	struct dirent *entry;
	DIR *dir = opendir(run_dir);

	while (dir != NULL && (entry = readdir(dir)) != NULL) {
		const size_t length = strlen(entry->d_name);

		for (size_t i = 0; i < sizeof(suffixes) / sizeof(suffixes[0]); i++) {
			const size_t suffix = strlen(suffixes[i]);

			if (length > suffix &&
			    strcmp(entry->d_name + length - suffix, suffixes[i]) == 0)
				add_name(names, entry->d_name, length - suffix);
		}
	}
	if (dir != NULL)
		closedir(dir);
	dir = opendir(GW_STATE_ROOT);
	while (dir != NULL && (entry = readdir(dir)) != NULL)
		if (entry->d_name[0] != '.' && did_not_end(entry->d_name))
			add_name(names, entry->d_name, strlen(entry->d_name));
	if (dir != NULL)
		closedir(dir);
}

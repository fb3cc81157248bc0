// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The kernel's objects: a subsystem (nvme-subsys0) has controllers (nvme0, nvme1) and, for each
 * namespace, a head. The disk nvme0n2 is head 2, which need not be the namespace's number. With
 * several paths the disk is the subsystem's, and each controller has a hidden one (nvme0c1n2).
 */
#include "blkinfo_nvme.h"

#include <ctype.h>
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "blkinfo_sysfs.h"

/* The number that text ends with, after letter ("nvme0n2", 'n': 2). Return: false if none. */
static bool number_after(uint32_t *number, const char *text, char letter)
{
	const char *const at = strrchr(text, letter);
	unsigned long value;
	char *end;

	if (at == NULL || !isdigit((unsigned char)at[1]))
		return false;
	value = strtoul(at + 1, &end, 10);
	if (*end != '\0' || value > UINT32_MAX)
		return false;
	*number = (uint32_t)value;
	return true;
}

/* "nvme12": a controller, and which. */
static bool is_controller(uint32_t *instance, const char *name)
{
	return strncmp(name, "nvme", 4) == 0 && number_after(instance, name, 'e');
}

static int compare_numbers(const void *a, const void *b)
{
	const uint32_t *const x = a, *const y = b;

	return (*x > *y) - (*x < *y);
}

static void list_controllers(struct gw_nvme_place *nvme, const char *subsystem_dir)
{
	DIR *const dir = opendir(subsystem_dir);
	uint32_t instance, listed;

	nvme->controller_count = 0;
	if (dir == NULL)
		return;
	for (struct dirent *entry; (entry = readdir(dir)) != NULL;)
		if (is_controller(&instance, entry->d_name) && nvme->controller_count++ <
							       GW_NVME_CONTROLLERS_MAX)
			nvme->controllers[nvme->controller_count - 1] = instance;
	closedir(dir);
	listed = nvme->controller_count < GW_NVME_CONTROLLERS_MAX ? nvme->controller_count :
								    GW_NVME_CONTROLLERS_MAX;
	qsort(nvme->controllers, listed, sizeof(nvme->controllers[0]), compare_numbers);
}

static void subsystem_path(char path[PATH_MAX], const struct gw_nvme_place *nvme,
			   const char *class_dir)
{
	snprintf(path, PATH_MAX, "%s/nvme-subsys%u", class_dir, nvme->subsystem);
}

/* The subsystem that a controller belongs to: only the subsystem's directory says so. */
static bool find_subsystem(struct gw_nvme_place *nvme, const char *class_dir,
			   const char *controller)
{
	DIR *const dir = opendir(class_dir);
	bool found = false;

	if (dir == NULL)
		return false;
	for (struct dirent *entry; !found && (entry = readdir(dir)) != NULL;) {
		char path[PATH_MAX];

		if (strncmp(entry->d_name, "nvme-subsys", 11) != 0 ||
		    !number_after(&nvme->subsystem, entry->d_name, 's') ||
		    (size_t)snprintf(path, sizeof(path), "%s/%s/%s", class_dir, entry->d_name,
				     controller) >= sizeof(path))
			continue;
		found = access(path, F_OK) == 0;
	}
	closedir(dir);
	return found;
}

bool gw_nvme_look(struct gw_nvme_place *nvme, const char *class_dir, const char *disk_path)
{
	const char *const slash = strrchr(disk_path, '/');
	char parent[PATH_MAX], *owner, subsystem_dir[PATH_MAX];
	uint64_t nsid = 0;
	uint32_t instance;

	memset(nvme, 0, sizeof(*nvme));
	if (slash == NULL || strncmp(slash + 1, "nvme", 4) != 0 ||
	    !number_after(&nvme->head, slash + 1, 'n') ||
	    !gw_sysfs_u64(&nsid, "%s/nsid", disk_path) || nsid == 0 || nsid >= UINT32_MAX)
		goto none;
	snprintf(parent, sizeof(parent), "%.*s", (int)(slash - disk_path), disk_path);
	owner = strrchr(parent, '/');
	owner = owner != NULL ? owner + 1 : parent;
	if (strncmp(owner, "nvme-subsys", 11) == 0) {
		if (!number_after(&nvme->subsystem, owner, 's'))
			goto none;
	} else if (!is_controller(&instance, owner) || !find_subsystem(nvme, class_dir, owner)) {
		goto none;
	}
	nvme->is_namespace = true;
	nvme->nsid = (uint32_t)nsid;
	subsystem_path(subsystem_dir, nvme, class_dir);
	list_controllers(nvme, subsystem_dir);
	gw_sysfs_text(nvme->subsystem_nqn, sizeof(nvme->subsystem_nqn), "%s/subsysnqn",
		      subsystem_dir);
	gw_sysfs_text(nvme->serial, sizeof(nvme->serial), "%s/serial", subsystem_dir);
	return true;
none:
	memset(nvme, 0, sizeof(*nvme));
	return false;
}

bool gw_nvme_is_same(const struct gw_nvme_place *a, const struct gw_nvme_place *b)
{
	return a->is_namespace == b->is_namespace && a->nsid == b->nsid &&
	       a->subsystem == b->subsystem && a->head == b->head &&
	       strcmp(a->subsystem_nqn, b->subsystem_nqn) == 0 && strcmp(a->serial, b->serial) == 0;
}

static int each_path_of(const char *controller_dir, uint32_t head,
			int (*fn)(void *arg, const char *path_dir), void *arg)
{
	DIR *const dir = opendir(controller_dir);
	int answer = 0;

	if (dir == NULL)
		return 0;
	for (struct dirent *entry; answer == 0 && (entry = readdir(dir)) != NULL;) {
		char path[PATH_MAX];
		uint32_t number;

		/* "ng0n1" is the character device. */
		if (strncmp(entry->d_name, "nvme", 4) == 0 &&
		    number_after(&number, entry->d_name, 'n') && number == head &&
		    (size_t)snprintf(path, sizeof(path), "%s/%s", controller_dir,
				     entry->d_name) < sizeof(path))
			answer = fn(arg, path);
	}
	closedir(dir);
	return answer;
}

int gw_nvme_each_path(const struct gw_nvme_place *nvme, const char *class_dir,
		      int (*fn)(void *arg, const char *path_dir), void *arg)
{
	char subsystem_dir[PATH_MAX];
	struct gw_nvme_place now;
	int answer = 0;

	/* Those of now: controllers are added and removed. */
	now = *nvme;
	subsystem_path(subsystem_dir, nvme, class_dir);
	list_controllers(&now, subsystem_dir);
	for (uint32_t i = 0; i < now.controller_count && i < GW_NVME_CONTROLLERS_MAX &&
			     answer == 0; i++) {
		char dir[PATH_MAX];

		if ((size_t)snprintf(dir, sizeof(dir), "%s/nvme%u", subsystem_dir,
				     now.controllers[i]) < sizeof(dir))
			answer = each_path_of(dir, nvme->head, fn, arg);
	}
	return answer;
}

/* Return: 1 if the path is not known to be idle. */
static int is_busy(void *arg, const char *path_dir)
{
	unsigned long long reads, writes;
	uint64_t counts = 0;
	char text[64];

	(void)arg;
	if (!gw_sysfs_u64(&counts, "%s/queue/iostats", path_dir) || counts == 0 ||
	    gw_sysfs_text(text, sizeof(text), "%s/inflight", path_dir) < 0)
		return 1;
	return sscanf(text, "%llu %llu", &reads, &writes) != 2 || reads != 0 || writes != 0;
}

bool gw_nvme_is_idle(const struct gw_nvme_place *nvme, const char *class_dir)
{
	return gw_nvme_each_path(nvme, class_dir, is_busy, NULL) == 0;
}

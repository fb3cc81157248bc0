// SPDX-License-Identifier: GPL-2.0-or-later
#include "dm_device.h"

#include <errno.h>
#include <libdevmapper.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/sysmacros.h>

/* What the library last complained of; it has no better way to tell. */
static char complaint[256];

__attribute__((format(printf, 5, 6)))
static void keep_complaint(int level, const char *file, int line, int dm_errno, const char *format,
			   ...)
{
	va_list args;

	(void)file;
	(void)line;
	(void)dm_errno;
	/* The level has flags in its upper bits; errors are 3 and below (libdevmapper.h). */
	if ((level & 7) > 3)
		return;
	va_start(args, format);
	vsnprintf(complaint, sizeof(complaint), format, args);
	va_end(args);
}

static struct dm_task *new_task(int type, const char *name)
{
	struct dm_task *task;

	complaint[0] = '\0';
	dm_log_with_errno_init(keep_complaint);
	task = dm_task_create(type);
	if (task != NULL && dm_task_set_name(task, name) != 0)
		return task;
	if (task != NULL)
		dm_task_destroy(task);
	return NULL;
}

/* Runs and keeps the task. The library's descriptor is closed: the watchdog must not inherit it. */
static int run(struct dm_task *task)
{
	int err = 0;

	if (dm_task_run(task) == 0)
		err = dm_task_get_errno(task) != 0 ? -dm_task_get_errno(task) : -EIO;
	dm_lib_release();
	return err;
}

static int fail(struct gw_diag *diag, int err, const char *verb, const char *name)
{
	return gw_fail(diag, err, "device-mapper: cannot %s %s: %s%s%s", verb, name,
		       strerror(-err), complaint[0] != '\0' ? ": " : "", complaint);
}

static int simple(int type, const char *name, const char *verb, struct gw_diag *diag)
{
	struct dm_task *const task = new_task(type, name);
	int err;

	if (task == NULL)
		return fail(diag, -ENOMEM, verb, name);
	err = run(task);
	dm_task_destroy(task);
	return err < 0 ? fail(diag, err, verb, name) : 0;
}

static void read_table(struct dm_task *task, struct gw_dm_device *device)
{
	uint64_t first_sector, sectors;
	char *type, *params;
	void *next = NULL;

	device->is_linear = true;
	do {
		next = dm_get_next_target(task, next, &first_sector, &sectors, &type, &params);
		if (type == NULL)
			return;
		if (strcmp(type, "linear") != 0 ||
		    gw_dm_table_add(&device->table, first_sector, sectors, params) < 0)
			device->is_linear = false;
	} while (next != NULL);
}

int gw_dm_look(struct gw_dm_device *device, const char *name, struct gw_diag *diag)
{
	struct dm_task *const task = new_task(DM_DEVICE_TABLE, name);
	struct dm_info info = { 0 };
	int err;

	memset(device, 0, sizeof(*device));
	if (task == NULL)
		return fail(diag, -ENOMEM, "look at", name);
	err = run(task);
	if (err == 0 && dm_task_get_info(task, &info) == 0)
		err = -EIO;
	if (err == -ENXIO) {
		dm_task_destroy(task);
		return 0;
	}
	if (err == 0 && info.exists != 0) {
		device->exists = true;
		device->is_suspended = info.suspended != 0;
		device->has_inactive_table = info.inactive_table != 0;
		device->is_read_only = info.read_only != 0;
		device->dev = makedev(info.major, info.minor);
		snprintf(device->uuid, sizeof(device->uuid), "%s",
			 dm_task_get_uuid(task) != NULL ? dm_task_get_uuid(task) : "");
		read_table(task, device);
	}
	dm_task_destroy(task);
	return err < 0 ? fail(diag, err, "look at", name) : 0;
}

int gw_dm_load(const char *name, const struct gw_dm_table *table, bool is_read_only,
	       struct gw_diag *diag)
{
	struct dm_task *const task = new_task(DM_DEVICE_RELOAD, name);
	char params[GW_DM_LINE_BYTES];
	int err = task != NULL ? 0 : -ENOMEM;

	for (uint32_t i = 0; err == 0 && i < table->count; i++)
		if (dm_task_add_target(task, table->segments[i].first_sector,
				       table->segments[i].sectors, "linear",
				       gw_dm_segment_params(&table->segments[i], params)) == 0)
			err = -ENOMEM;
	if (err == 0 && is_read_only && dm_task_set_ro(task) == 0)
		err = -ENOMEM;
	if (err == 0)
		err = run(task);
	if (task != NULL)
		dm_task_destroy(task);
	return err == 0 || err == -EBUSY ? err : fail(diag, err, "load a table into", name);
}

int gw_dm_clear(const char *name, struct gw_diag *diag)
{
	return simple(DM_DEVICE_CLEAR, name, "clear the loaded table of", diag);
}

int gw_dm_suspend(const char *name, struct gw_diag *diag)
{
	return simple(DM_DEVICE_SUSPEND, name, "suspend", diag);
}

int gw_dm_resume(const char *name, struct gw_diag *diag)
{
	return simple(DM_DEVICE_RESUME, name, "resume", diag);
}

int gw_dm_create_empty(const char *name, struct gw_diag *diag)
{
	return simple(DM_DEVICE_CREATE, name, "create", diag);
}

int gw_dm_remove(const char *name, struct gw_diag *diag)
{
	return simple(DM_DEVICE_REMOVE, name, "remove", diag);
}

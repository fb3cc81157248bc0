// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * What a user writes for the software SSD: a configuration file, the description of a store, or lines
 * of the control socket (as a script has them). The first byte says which. Refused or not, it is said
 * in words.
 */
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <json-c/json.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "ssd_control.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct gw_subsys ss;
static struct gw_port port[2];
static struct gw_ssd_set set = { .subsys = { &ss }, .subsystems = 1 };
static char dir[] = "/tmp/godwit-fuzz-XXXXXX";

static void remove_dir(void)
{
	char command[64];

	snprintf(command, sizeof(command), "rm -rf %s", dir);
	if (system(command) != 0)
		fprintf(stderr, "%s stays\n", dir);
}

static void set_up(void)
{
	struct gw_ssd_config config;

	gw_ssd_config_init(&config);
	config.namespace_bytes = 1 << 20;
	config.has_migration = true;
	assert(mkdtemp(dir) != NULL);
	atexit(remove_dir);
	assert(gw_subsys_open(&ss, dir, &config, NULL) == 0);
	for (int i = 0; i < 2; i++)
		assert(gw_port_init(&port[i], gw_ctrl_create(&ss, NULL)) == 0);
}

static void read_config(const uint8_t *data, size_t size)
{
	struct gw_ssd_config config;
	struct gw_diag diag = { 0 };
	const int fd = memfd_create("config", MFD_CLOEXEC);
	char path[32];

	assert(fd >= 0);
	assert(write(fd, data, size) == (ssize_t)size);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	gw_ssd_config_init(&config);
	if (gw_ssd_config_read(&config, path, &diag) < 0)
		assert(strstr(diag.text, ": ") != NULL);
	/* Whatever it says, no limit is above what there is room for. */
	assert(config.limits.io_queues >= 1 && config.limits.io_queues <= GW_SSD_QUEUES_MAX);
	assert(config.limits.vectors >= 1 && config.limits.vectors <= GW_SSD_VECTORS);
	assert(config.limits.xfer_bytes <= GW_SSD_XFER_BYTES_MAX);
	assert(config.limits.errors <= GW_SSD_ERRORS_MAX && config.limits.events <= GW_SSD_AERS_MAX);
	assert(memchr(config.serial, 0, sizeof(config.serial)) != NULL);
	close(fd);
}

/* A description that was tampered with; files of namespaces are made as it has them. */
static void open_store(const uint8_t *data, size_t size)
{
	struct gw_ssd_config config;
	struct gw_diag diag = { 0 };
	struct gw_subsys store;
	char path[64], name[96];
	FILE *file;
	int fd;

	snprintf(path, sizeof(path), "%s/store", dir);
	assert(mkdir(path, 0700) == 0 || errno == EEXIST);
	fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	for (uint32_t nsid = 1; nsid <= GW_SSD_NAMESPACES_MAX; nsid++)
		gw_ns_unlink(fd, nsid);
	close(fd);
	snprintf(name, sizeof(name), "%s/subsystem.json", path);
	file = fopen(name, "we");
	assert(file != NULL);
	assert(fwrite(data, 1, size, file) == size);
	fclose(file);
	gw_ssd_config_init(&config);
	config.cache_bytes = 0;
	if (gw_subsys_open(&store, path, &config, &diag) < 0) {
		assert(diag.text[0] != '\0');
		return;
	}
	for (uint32_t i = 0; i < GW_SSD_NAMESPACES_MAX; i++)
		assert(store.ns[i] == NULL || store.ns[i]->nsid == i + 1);
	assert(gw_subsys_used_bytes(&store) <= config.capacity_bytes);
	assert(gw_subsys_close(&store) == 0);
}

static void control(char *line)
{
	bool is_refused;
	char *answer = gw_ssd_control_answer(&set, line, &is_refused);
	struct json_object *parsed;

	assert(answer != NULL);
	if (is_refused) {
		parsed = json_tokener_parse(answer);
		assert(json_object_object_get_ex(parsed, "error", NULL));
		json_object_put(parsed);
	}
	free(answer);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static bool is_ready;
	char *text, *rest;

	if (!is_ready)
		set_up();
	is_ready = true;
	if (size == 0)
		return 0;
	if (data[0] == 'c') {
		read_config(data + 1, size - 1);
		return 0;
	}
	if (data[0] == 's') {
		open_store(data + 1, size - 1);
		return 0;
	}
	text = rest = strndup((const char *)data + 1, size - 1);
	assert(text != NULL);
	for (int i = 0; i < 2; i++)
		gw_faults_clear(&ss.ctrl[i]->faults, 0);
	for (char *line; (line = strsep(&rest, "\n")) != NULL;)
		control(line);
	free(text);
	return 0;
}

// SPDX-License-Identifier: GPL-2.0-or-later
#include "track_load.h"

#include <assert.h>
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <linux/capability.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "blkinfo_nvme.h"
#include "track_pins.h"

#define BTF_PATH "/sys/kernel/btf/vmlinux"
#define TAGS_MIN 64
#define RECORD_RANGES_MIN UINT64_C(1024)
#define RECORD_RANGES_MAX (UINT64_C(1) << 24)

/* What libbpf says: the first complaint is the one that helps. One start at a time per thread. */
static _Thread_local struct gw_diag *print_diag;
static _Thread_local char complaint[256];
/* Of the verifier's log, the last line before its statistics: why it refuses the program. */
static _Thread_local char verdict[256];

static void keep(char kept[static 256], const char *line)
{
	snprintf(kept, 256, "%.255s", strncmp(line, "libbpf: ", 8) == 0 ? line + 8 : line);
}

static int print(enum libbpf_print_level level, const char *format, va_list args)
{
	char *text, *line, *rest;
	bool is_log;

	if (level == LIBBPF_DEBUG || vasprintf(&text, format, args) < 0)
		return 0;
	is_log = strstr(text, "-- BEGIN PROG LOAD LOG --") != NULL;
	for (line = strtok_r(text, "\n", &rest); line != NULL; line = strtok_r(NULL, "\n", &rest)) {
		gw_say(print_diag, GW_DEBUG, "%s", line);
		if (level == LIBBPF_WARN && complaint[0] == '\0')
			keep(complaint, line);
		if (is_log && strncmp(line, "processed ", 10) == 0)
			is_log = false;
		else if (is_log)
			keep(verdict, line);
	}
	free(text);
	return 0;
}

void gw_load_listen(struct gw_diag *diag)
{
	libbpf_set_print(print);
	print_diag = diag;
	complaint[0] = '\0';
	verdict[0] = '\0';
}

int gw_load_fail(struct gw_diag *diag, int err, const char *what)
{
	assert(err < 0);
	print_diag = NULL;
	return gw_fail_exit(diag, GW_EXIT_CANNOT, err, "cannot %s: %s%s%s%s%s%s", what, strerror(-err),
			    complaint[0] != '\0' ? " (" : "", complaint,
			    verdict[0] != '\0' ? "; the verifier: " : "", verdict,
			    complaint[0] != '\0' ? ")" : "");
}

struct gw_map_shape gw_map_shape(enum gw_map map, const struct gw_plan *plan)
{
	static const struct {
		const char *pin;
		uint32_t type, value_bytes;
	} rows[GW_MAPS] = {
		[GW_MAP_LIVE] = { "live", BPF_MAP_TYPE_ARRAY, 8 },
		[GW_MAP_PENDING] = { "pending", BPF_MAP_TYPE_ARRAY, 8 },
		[GW_MAP_COPYING] = { "copying", BPF_MAP_TYPE_ARRAY, 8 },
		[GW_MAP_COARSE] = { "coarse", BPF_MAP_TYPE_ARRAY, 8 },
		[GW_MAP_STATE] = { "state", BPF_MAP_TYPE_ARRAY, sizeof(struct gw_bpf_state) },
		[GW_MAP_SLOTS] = { "slots", BPF_MAP_TYPE_ARRAY, sizeof(struct gw_bpf_slot) },
		[GW_MAP_STRAYS] = { "strays", BPF_MAP_TYPE_HASH, sizeof(struct gw_bpf_slot) },
		[GW_MAP_STATS] = { "stats", BPF_MAP_TYPE_PERCPU_ARRAY,
				   sizeof(struct gw_bpf_stats) },
		[GW_MAP_RECORD] = { "record", BPF_MAP_TYPE_HASH,
				    sizeof(struct gw_bpf_record_times) },
		[GW_MAP_RECORD_UNITS] = { "record_units", BPF_MAP_TYPE_ARRAY,
					  sizeof(struct gw_bpf_record_times) },
		[GW_MAP_HEADER] = { GW_PIN_HEADER, BPF_MAP_TYPE_ARRAY,
				    sizeof(struct gw_track_header) },
	};
	struct gw_map_shape shape = {
		.pin = rows[map].pin,
		.type = rows[map].type,
		.key_bytes = map == GW_MAP_STRAYS ? 8 : map == GW_MAP_RECORD ?
			     sizeof(struct gw_bpf_record_range) : 4,
		.value_bytes = rows[map].value_bytes,
		.flags = rows[map].type == BPF_MAP_TYPE_ARRAY ? BPF_F_MMAPABLE : 0,
		.entries = 1,
	};

	if (map == GW_MAP_LIVE || map == GW_MAP_PENDING || map == GW_MAP_COPYING)
		shape.entries = plan->geom.words;
	else if (map == GW_MAP_COARSE)
		shape.entries = plan->coarse_words;
	else if (map == GW_MAP_SLOTS && !plan->bio_based)
		shape.entries = (uint64_t)plan->hw_queues * plan->tags_per_queue;
	else if (map == GW_MAP_STRAYS)
		shape.entries = plan->bio_based ? GW_STRAYS_BIOS : GW_STRAYS_REQUESTS;
	else if (map == GW_MAP_RECORD && plan->record_ranges > 0)
		shape.entries = plan->record_ranges;
	else if (map == GW_MAP_RECORD_UNITS && plan->record_ranges > 0)
		shape.entries = plan->record_units;
	/* The kernel rounds each value up to 8 bytes; ours have that size. */
	if (shape.type == BPF_MAP_TYPE_ARRAY)
		shape.mmap_bytes = shape.entries * shape.value_bytes;
	return shape;
}

const char *gw_link_pin(unsigned int link)
{
	static const char *const pins[GW_LINKS] = {
		"link_submit", "link_complete1", "link_complete2", "link_complete3",
		"link_requeue",
	};

	assert(link < GW_LINKS);
	return pins[link];
}

int gw_disk_attribute(const struct gw_node *node, const char *attribute, char *text,
		      size_t text_bytes)
{
	char path[128];
	FILE *file;
	bool found;

	snprintf(path, sizeof(path), "/sys/dev/block/%u:%u/%s", major(node->disk_dev),
		 minor(node->disk_dev), attribute);
	text[0] = '\0';
	file = fopen(path, "re");
	if (file == NULL)
		return -ENOENT;
	found = fgets(text, (int)text_bytes, file) != NULL;
	fclose(file);
	text[strcspn(text, "\n")] = '\0';
	return found ? 0 : -ENOENT;
}

static uint64_t read_disk_number(const struct gw_node *node, const char *attribute)
{
	char text[64];

	return gw_disk_attribute(node, attribute, text, sizeof(text)) == 0 ?
	       strtoull(text, NULL, 10) : 0;
}

/*
 * raid0, linear and bcache send the very bio that they got to the disk below: it
 * completes there, often unseen. Device-mapper and the other md levels clone it.
 */
static bool passes_bios_on(const struct gw_node *node)
{
	char level[32];

	if (strncmp(node->disk_name, "bcache", 6) == 0)
		return true;
	return gw_disk_attribute(node, "md/level", level, sizeof(level)) == 0 &&
	       (strcmp(level, "raid0") == 0 || strcmp(level, "linear") == 0);
}

static int check_for_block(const struct gw_node *node, struct gw_diag *diag)
{
	if (node->is_multipath_head)
		return gw_fail_exit(diag, GW_EXIT_CANNOT, -EOPNOTSUPP,
				    "%s is an NVMe multipath head: only the source `nvme` sees its "
				    "paths (--track nvme)", node->path);
	/* Whether a file system does so need not show: it may be asked for file by file. */
	if (node->has_dax)
		return gw_fail_exit(diag, GW_EXIT_CANNOT, -EOPNOTSUPP,
				    "%s is memory with DAX: what file systems and programs store "
				    "there directly passes the block layer by, and is not seen",
				    node->path);
	if (!node->is_request_based && passes_bios_on(node))
		return gw_fail_exit(diag, GW_EXIT_CANNOT, -EOPNOTSUPP,
				    "%s passes its bios on to the disks below, where their end "
				    "is not seen: track those disks, one by one", node->path);
	return 0;
}

static int check_for_nvme(const struct gw_node *node, struct gw_diag *diag)
{
	if (!node->nvme.is_namespace)
		return gw_fail_exit(diag, GW_EXIT_CANNOT, -EOPNOTSUPP,
				    "%s is no NVMe namespace: the source `block` tracks it "
				    "(--track block)", node->path);
	if (!gw_track_nvme_is_there())
		return gw_fail_exit(diag, GW_EXIT_CANNOT, -EOPNOTSUPP,
				    "this kernel's NVMe driver has no tracepoints%s",
				    node->is_multipath_head ? "" : " (--track block does without)");
	return 0;
}

static int check_node(enum gw_track_source source, const struct gw_node *node,
		      struct gw_diag *diag)
{
	int err;

	if (node->kind != GW_NODE_BLOCK)
		return gw_fail_exit(diag, GW_EXIT_CANNOT, -ENOTBLK,
				    "%s is no block device: writes to it cannot be tracked",
				    node->path);
	err = source == GW_SOURCE_NVME ? check_for_nvme(node, diag) : check_for_block(node, diag);
	if (err < 0)
		return err;
	if (node->size_bytes == 0)
		return gw_fail_exit(diag, GW_EXIT_CANNOT, -ENOMEDIUM, "%s has no size",
				    node->path);
	return 0;
}

/* The finest unit with which the coarse bitmap fits one loop of the programs. */
void gw_plan_coarse(struct gw_plan *plan)
{
	uint64_t bits;

	plan->coarse_shift = GW_COARSE_SHIFT_MIN;
	while (((plan->geom.size_grains - 1) >> plan->coarse_shift) + 1 > GW_COARSE_BITS_MAX)
		plan->coarse_shift++;
	bits = ((plan->geom.size_grains - 1) >> plan->coarse_shift) + 1;
	plan->coarse_words = (bits + 63) / 64;
}

static void plan_record_units(struct gw_plan *plan)
{
	const uint64_t last_sector = (plan->geom.size_bytes - 1) >> GW_SECTOR_SHIFT;

	while (last_sector >> plan->record_unit_shift >= GW_RECORD_UNITS_MAX)
		plan->record_unit_shift++;
	plan->record_units = (uint32_t)(last_sector >> plan->record_unit_shift) + 1;
}

uint64_t gw_plan_record_bytes(const struct gw_plan *plan)
{
	return plan->record_ranges == 0 ? 0 : plan->record_ranges * GW_RECORD_RANGE_BYTES +
	       plan->record_units * sizeof(struct gw_bpf_record_times);
}

int gw_plan_record(struct gw_plan *plan, uint64_t record_bytes, struct gw_diag *diag)
{
	plan_record_units(plan);
	/* A power of two: the kernel has as many buckets as that. */
	plan->record_ranges = RECORD_RANGES_MIN;
	if (gw_plan_record_bytes(plan) > record_bytes)
		return gw_fail_exit(diag, GW_EXIT_USAGE, -EINVAL,
				    "an exact record of %s takes at least %llu bytes, not %llu",
				    plan->node.path, (unsigned long long)gw_plan_record_bytes(plan),
				    (unsigned long long)record_bytes);
	while (plan->record_ranges < RECORD_RANGES_MAX) {
		plan->record_ranges *= 2;
		if (gw_plan_record_bytes(plan) <= record_bytes)
			continue;
		plan->record_ranges /= 2;
		break;
	}
	return 0;
}

uint32_t gw_plan_controllers(const struct gw_plan *plan)
{
	const uint32_t count = plan->node.nvme.controller_count;

	if (plan->source != GW_SOURCE_NVME || count == 0)
		return 1;
	return count < GW_NVME_CONTROLLERS_MAX ? count : GW_NVME_CONTROLLERS_MAX;
}

static int most_requests(void *arg, const char *path_dir)
{
	uint64_t *const most = arg, requests;
	char path[PATH_MAX], text[32];
	FILE *file;

	if ((size_t)snprintf(path, sizeof(path), "%s/queue/nr_requests", path_dir) >= sizeof(path))
		return 0;
	file = fopen(path, "re");
	if (file == NULL)
		return 0;
	if (fgets(text, sizeof(text), file) != NULL) {
		requests = strtoull(text, NULL, 10);
		*most = requests > *most ? requests : *most;
	}
	fclose(file);
	return 0;
}

static uint64_t queue_requests(const struct gw_plan *plan)
{
	uint64_t requests = 0;

	if (plan->source == GW_SOURCE_BLOCK)
		return read_disk_number(&plan->node, "queue/nr_requests");
	gw_nvme_each_path(&plan->node.nvme, GW_NVME_CLASS_DIR, most_requests, &requests);
	return requests;
}

/* With a scheduler its tags count, as many as nr_requests; more than planned go to the hash. */
static void plan_slots(struct gw_plan *plan)
{
	const uint32_t controllers = gw_plan_controllers(plan);
	const uint64_t requests = queue_requests(plan);
	uint32_t want = plan->node.tags_per_queue, queues;

	if (requests <= GW_TAGS_MAX && requests > want)
		want = (uint32_t)requests;
	queues = plan->node.hw_queues > 0 ? plan->node.hw_queues : 1;
	plan->tags_per_queue = TAGS_MIN;
	while (plan->tags_per_queue < want && plan->tags_per_queue < GW_TAGS_MAX)
		plan->tags_per_queue *= 2;
	while (queues > 1 && queues > GW_SLOTS_MAX / controllers / plan->tags_per_queue)
		queues /= 2;
	plan->hw_queues = queues * controllers;
}

int gw_plan_make(struct gw_plan *plan, enum gw_track_source source, const struct gw_node *node,
		 uint32_t grain_bytes, uint64_t size_bytes, struct gw_diag *diag)
{
	int err;

	memset(plan, 0, sizeof(*plan));
	err = check_node(source, node, diag);
	if (err < 0)
		return err;
	if (size_bytes > node->size_bytes)
		return gw_fail_exit(diag, GW_EXIT_CANNOT, -EINVAL,
				    "%s has %llu bytes, %llu were to be tracked", node->path,
				    (unsigned long long)node->size_bytes,
				    (unsigned long long)size_bytes);
	plan->source = source;
	plan->node = *node;
	plan->bio_based = source == GW_SOURCE_BLOCK && !node->is_request_based;
	if (gw_geom_init(&plan->geom, size_bytes != 0 ? size_bytes : node->size_bytes,
			 grain_bytes) < 0)
		return gw_fail_exit(diag, GW_EXIT_CANNOT, -EINVAL,
				    "a grain of %u bytes does not fit %s: it is a power of two "
				    "from 4 KiB to 1 MiB", grain_bytes, node->path);
	if (plan->geom.words > UINT32_MAX / 8)
		return gw_fail_exit(diag, GW_EXIT_CANNOT, -EFBIG,
				    "%s: the bitmaps would have %llu words; take a larger grain",
				    node->path, (unsigned long long)plan->geom.words);
	gw_plan_coarse(plan);
	plan_slots(plan);
	if (node->is_zoned)
		plan->zone_sectors = read_disk_number(node, "queue/chunk_sectors");
	return 0;
}

static bool has_capability(unsigned int capability)
{
	struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3] = { { 0 } };

	return syscall(SYS_capget, &header, data) == 0 &&
	       (data[capability / 32].effective >> capability % 32 & 1) != 0;
}

int gw_load_check_kernel(struct gw_diag *diag)
{
	if (!has_capability(CAP_SYS_ADMIN))
		return gw_fail_exit(diag, GW_EXIT_CANNOT, -EPERM,
				    "tracking loads BPF programs, for which the capability "
				    "CAP_SYS_ADMIN is missing: run as root");
	if (access(BTF_PATH, R_OK) < 0)
		return gw_fail_exit(diag, GW_EXIT_CANNOT, -errno,
				    "this kernel does not describe its types (no %s): it needs "
				    "CONFIG_DEBUG_INFO_BTF, as Debian's kernels have it", BTF_PATH);
	return 0;
}

/* Return: whether the line is of that symbol. */
static bool is_symbol(const char *line, const char *name, uint64_t *address)
{
	unsigned long long at;
	char symbol[256], type;

	/* Most lines need no more than that. */
	if (strstr(line, name) == NULL ||
	    sscanf(line, "%llx %c %255[^ .\t\n]", &at, &type, symbol) != 3 || at == 0 ||
	    strcmp(symbol, name) != 0)
		return false;
	*address = at;
	return true;
}

void gw_kernel_symbols(size_t count, const char *const names[], uint64_t addresses[])
{
	FILE *const file = fopen("/proc/kallsyms", "re");
	size_t found = 0;
	char line[512];

	memset(addresses, 0, count * sizeof(addresses[0]));
	if (file == NULL)
		return;
	while (found < count && fgets(line, sizeof(line), file) != NULL)
		for (size_t i = 0; i < count; i++)
			if (addresses[i] == 0 && is_symbol(line, names[i], &addresses[i]))
				found++;
	fclose(file);
}

/* By the name that the object gives it; NULL: made by user space alone. */
static struct bpf_map *map_of(const struct gw_load *load, enum gw_map map)
{
	char name[16];

	snprintf(name, sizeof(name), "gw_%.12s", gw_map_shape(map, load->plan).pin);
	return bpf_object__find_map_by_name(load->bpf, name);
}

static struct bpf_program *program_of(const struct gw_load *load, unsigned int link)
{
	const char *const name = load->object->program(load->plan, link);

	return name != NULL ? bpf_object__find_program_by_name(load->bpf, name) : NULL;
}

bool gw_plan_has_link(const struct gw_plan *plan, unsigned int link)
{
	const struct gw_object *const object =
		plan->source == GW_SOURCE_NVME ? &gw_object_nvme : &gw_object_block;

	assert(link < GW_LINKS);
	return object->program(plan, link) != NULL;
}

static int set_up(struct gw_load *load)
{
	for (unsigned int map = 0; map < GW_MAPS; map++) {
		struct bpf_map *const bpf_map = map_of(load, map);
		int err;

		if (bpf_map == NULL)
			continue;
		err = bpf_map__set_max_entries(bpf_map, (uint32_t)gw_map_shape(map, load->plan).entries);
		if (err < 0)
			return err;
	}
	load->object->set_up(load->skeleton, load->plan);
	return 0;
}

static int take_maps(struct gw_load *load, const struct gw_plan *plan, struct gw_diag *diag)
{
	LIBBPF_OPTS(bpf_map_create_opts, opts, .map_flags = BPF_F_MMAPABLE);

	for (unsigned int map = 0; map < GW_MAPS; map++) {
		const struct gw_map_shape shape = gw_map_shape(map, plan);
		struct bpf_map *const bpf_map = map_of(load, map);
		char name[16];
		int fd;

		snprintf(name, sizeof(name), "gw_%.12s", shape.pin);
		fd = bpf_map != NULL ? dup(bpf_map__fd(bpf_map)) :
		     bpf_map_create(shape.type, name, shape.key_bytes, shape.value_bytes,
				    (uint32_t)shape.entries, &opts);
		if (fd < 0)
			return gw_load_fail(diag, -errno, "make the map of pending blocks");
		load->map_fds[map] = fd;
	}
	return 0;
}

/* What the start of a tracking asks of the kernel's tables; of bios there are none. */
static void choose_survey(struct gw_load *load, bool with_survey)
{
	static const char *const names[] = { "gw_find_queue", "gw_survey" };

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		struct bpf_program *const program =
			bpf_object__find_program_by_name(load->bpf, names[i]);

		if (program != NULL)
			bpf_program__set_autoload(program, with_survey && !load->plan->bio_based);
	}
}

static int load_programs(struct gw_load *load, bool with_survey, struct gw_diag *diag)
{
	int err;

	gw_load_listen(diag);
	load->skeleton = load->object->open(&load->bpf);
	if (load->skeleton == NULL)
		return gw_load_fail(diag, -errno, "open the BPF object");
	err = set_up(load);
	if (err < 0)
		return gw_load_fail(diag, err, "size the BPF maps");
	choose_survey(load, with_survey);
	err = load->object->load(load->skeleton);
	return err < 0 ? gw_load_fail(diag, err, "load the BPF programs") : 0;
}

int gw_load_open(struct gw_load *load, const struct gw_plan *plan, struct gw_diag *diag)
{
	struct gw_diag silent = { 0 };
	int err;

	memset(load, 0, sizeof(*load));
	for (unsigned int map = 0; map < GW_MAPS; map++)
		load->map_fds[map] = -1;
	for (unsigned int link = 0; link < GW_LINKS; link++)
		load->link_fds[link] = -1;
	load->plan = plan;
	load->object = plan->source == GW_SOURCE_NVME ? &gw_object_nvme : &gw_object_block;
	err = load_programs(load, true, &silent);
	/* A kernel whose tables are others than those that are known is tracked on nevertheless. */
	if (err < 0) {
		gw_load_close(load);
		err = load_programs(load, false, diag);
	}
	if (err == 0)
		err = take_maps(load, plan, diag);
	print_diag = NULL;
	if (err < 0)
		gw_load_close(load);
	return err;
}

int gw_load_attach(struct gw_load *load, unsigned int link, struct gw_diag *diag)
{
	struct bpf_program *const program = program_of(load, link);
	struct bpf_link *attached;
	int err = 0;

	assert(load->link_fds[link] < 0);
	if (program == NULL)
		return 0;
	gw_load_listen(diag);
	attached = bpf_program__attach(program);
	if (attached == NULL) {
		char what[96];

		err = -errno;
		snprintf(what, sizeof(what), "attach the BPF program %s",
			 bpf_program__name(program));
		err = gw_load_fail(diag, err, what);
	} else {
		load->link_fds[link] = dup(bpf_link__fd(attached));
		if (load->link_fds[link] < 0)
			err = gw_load_fail(diag, -errno, "keep a BPF link");
		bpf_link__destroy(attached);
	}
	print_diag = NULL;
	return err;
}

int gw_load_attach_all(struct gw_load *load, struct gw_diag *diag)
{
	/*
	 * Who marks completions is there before a slot is filled. The copies run in the order in
	 * which they were attached, and the third one clears up.
	 */
	static const unsigned int order[GW_LINKS] = {
		GW_PROGRAM_COMPLETE1, GW_PROGRAM_COMPLETE2, GW_PROGRAM_COMPLETE3,
		GW_LINK_REQUEUE, GW_PROGRAM_SUBMIT,
	};
	int err = 0;

	for (unsigned int i = 0; i < GW_LINKS && err == 0; i++)
		err = gw_load_attach(load, order[i], diag);
	return err;
}

static void close_fd(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

void gw_load_detach(struct gw_load *load, unsigned int link)
{
	close_fd(&load->link_fds[link]);
}

void gw_load_close(struct gw_load *load)
{
	for (unsigned int link = 0; link < GW_LINKS; link++)
		close_fd(&load->link_fds[link]);
	for (unsigned int map = 0; map < GW_MAPS; map++)
		close_fd(&load->map_fds[map]);
	if (load->skeleton != NULL)
		load->object->destroy(load->skeleton);
	load->skeleton = NULL;
}

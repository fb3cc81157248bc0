// SPDX-License-Identifier: GPL-2.0-or-later
#include "track_latency.h"

#include <assert.h>
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/sysmacros.h>

#include "geom.h"
#include "gw_latency.skel.h"
#include "track_load.h"

#define POSSIBLE_CPUS "/sys/devices/system/cpu/possible"
#define CPUS_MAX 65536

struct gw_latency_watch {
	struct gw_latency *skeleton;
	uint32_t cpus;
	const struct gw_bpf_latency *map;	/* an entry for each CPU */
	size_t map_bytes;
};

/* CPUs that there may be, as in "0-7": the last number counts, whatever is left out before it. */
static uint32_t possible_cpus(void)
{
	FILE *const file = fopen(POSSIBLE_CPUS, "re");
	char text[4096] = "";
	const char *last;
	unsigned long cpu;

	if (file == NULL)
		return 0;
	if (fgets(text, sizeof(text), file) == NULL)
		text[0] = '\0';
	fclose(file);
	last = text + strlen(text);
	while (last > text && last[-1] != '-' && last[-1] != ',')
		last--;
	cpu = strtoul(last, NULL, 10);
	return cpu < CPUS_MAX ? (uint32_t)cpu + 1 : 0;
}

/* The block layer keeps the times of requests for its statistics; they can be switched off. */
static bool lacks_times(const struct gw_node *node)
{
	char text[16];

	return gw_disk_attribute(node, "queue/iostats", text, sizeof(text)) == 0 &&
	       strcmp(text, "0") == 0;
}

static int set_up(struct gw_latency_watch *watch, const struct gw_node *node,
		  uint32_t copier_ioprio)
{
	struct gw_latency *const s = watch->skeleton;
	const bool has_stamps = node->is_request_based && lacks_times(node);
	int err;

	s->rodata->gw_disk_major = (int)major(node->disk_dev);
	s->rodata->gw_disk_first_minor = (int)minor(node->disk_dev);
	s->rodata->gw_first_sector = node->disk_first_sector;
	s->rodata->gw_end_sector = node->disk_first_sector + (node->size_bytes >> GW_SECTOR_SHIFT);
	s->rodata->gw_copier_ioprio = copier_ioprio;
	s->rodata->gw_has_stamps = has_stamps;
	bpf_program__set_autoload(s->progs.gw_latency_issue, has_stamps);
	bpf_program__set_autoload(s->progs.gw_latency_complete, node->is_request_based);
	bpf_program__set_autoload(s->progs.gw_latency_queue, !node->is_request_based);
	bpf_program__set_autoload(s->progs.gw_latency_bio_complete, !node->is_request_based);
	err = bpf_map__set_max_entries(s->maps.gw_latency, watch->cpus);
	if (err == 0 && node->is_request_based && !has_stamps)
		err = bpf_map__set_max_entries(s->maps.gw_began, 1);
	return err;
}

static int map_entries(struct gw_latency_watch *watch)
{
	void *map;

	watch->map_bytes = watch->cpus * sizeof(*watch->map);
	map = mmap(NULL, watch->map_bytes, PROT_READ, MAP_SHARED,
		   bpf_map__fd(watch->skeleton->maps.gw_latency), 0);
	if (map == MAP_FAILED)
		return -errno;
	watch->map = map;
	return 0;
}

static int load(struct gw_latency_watch *watch, const struct gw_node *node, uint32_t copier_ioprio,
		struct gw_diag *diag)
{
	int err;

	watch->skeleton = gw_latency__open();
	if (watch->skeleton == NULL)
		return gw_load_fail(diag, -errno, "open the BPF object of the latencies");
	err = set_up(watch, node, copier_ioprio);
	if (err < 0)
		return gw_load_fail(diag, err, "size the BPF maps of the latencies");
	err = gw_latency__load(watch->skeleton);
	if (err < 0)
		return gw_load_fail(diag, err, "load the BPF programs of the latencies");
	err = map_entries(watch);
	if (err < 0)
		return gw_load_fail(diag, err, "map the histograms");
	err = gw_latency__attach(watch->skeleton);
	return err < 0 ? gw_load_fail(diag, err, "attach the BPF programs of the latencies") : 0;
}

int gw_latency_start(struct gw_latency_watch **watch, const struct gw_node *node,
		     uint32_t copier_ioprio, struct gw_diag *diag)
{
	struct gw_latency_watch *new;
	int err = gw_load_check_kernel(diag);

	if (err < 0)
		return err;
	if (node->kind != GW_NODE_BLOCK)
		return gw_fail_exit(diag, GW_EXIT_CANNOT, -ENOTBLK,
				    "%s is no block device: its latencies cannot be seen",
				    node->path);
	/* Its bios complete on the paths below, under other numbers. */
	if (node->is_multipath_head)
		return gw_fail_exit(diag, GW_EXIT_CANNOT, -EOPNOTSUPP,
				    "%s is an NVMe multipath head: the latencies of its I/O are "
				    "not seen in this version", node->path);
	new = calloc(1, sizeof(*new));
	if (new == NULL)
		return gw_fail_exit(diag, GW_EXIT_CANNOT, -ENOMEM, "no memory for histograms");
	new->cpus = possible_cpus();
	if (new->cpus == 0)
		err = gw_fail_exit(diag, GW_EXIT_CANNOT, -ENOENT,
				   POSSIBLE_CPUS " does not say how many CPUs there may be");
	gw_load_listen(diag);
	if (err == 0)
		err = load(new, node, copier_ioprio, diag);
	gw_load_listen(NULL);
	if (err < 0) {
		gw_latency_stop(new);
		return err;
	}
	*watch = new;
	return 0;
}

uint64_t gw_latency_bytes(const struct gw_latency_watch *watch)
{
	return watch->map_bytes;
}

/* The kernel goes on counting meanwhile: each number is read once, the sums are our own. */
static void add_cpu(struct gw_latency_look *look, const volatile struct gw_bpf_latency *cpu)
{
	look->not_timed += cpu->not_timed;
	look->copier_read_bytes += cpu->copier_read_bytes;
	for (int kind = 0; kind < GW_LATENCY_KINDS; kind++) {
		struct gw_hist *const hist = &look->kinds[kind];

		look->copier[kind] += cpu->copier[kind];
		for (uint32_t i = 0; i < GW_LATENCY_BUCKETS; i++) {
			const uint64_t count = cpu->buckets[kind][i];

			hist->buckets[i] += count;
			hist->count += count;
		}
	}
}

static uint64_t misses_of(const struct bpf_program *program)
{
	struct bpf_prog_info info = { 0 };
	uint32_t bytes = sizeof(info);
	const int fd = bpf_program__fd(program);

	if (fd < 0 || bpf_obj_get_info_by_fd(fd, &info, &bytes) < 0)
		return 0;
	return info.recursion_misses;
}

void gw_latency_take_look(const struct gw_latency_watch *watch, struct gw_latency_look *look)
{
	memset(look, 0, sizeof(*look));
	for (uint32_t i = 0; i < watch->cpus; i++)
		if (*(const volatile uint64_t *)&watch->map[i].events != 0)
			add_cpu(look, &watch->map[i]);
	look->missed = misses_of(watch->skeleton->progs.gw_latency_complete) +
		       misses_of(watch->skeleton->progs.gw_latency_bio_complete);
}

void gw_latency_stop(struct gw_latency_watch *watch)
{
	if (watch == NULL)
		return;
	if (watch->map != NULL)
		munmap((void *)watch->map, watch->map_bytes);
	gw_latency__destroy(watch->skeleton);
	free(watch);
}

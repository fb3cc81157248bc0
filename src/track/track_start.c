// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * How a tracking by a BPF source comes to be: loaded, attached and pinned by
 * gw_track_block_start(), or found in the pins by gw_track_block_open(), where nothing is believed
 * that is not checked.
 */
#include <assert.h>
#include <bpf/bpf.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "clock.h"
#include "track.h"
#include "track_block.h"
#include "track_load.h"
#include "track_pins.h"

static struct gw_track *new_track(const struct gw_plan *plan, const char *name,
				  struct gw_diag *diag)
{
	struct gw_track *const track = calloc(1, sizeof(*track));
	struct gw_block_track *const block = calloc(1, sizeof(*block));

	if (track == NULL || block == NULL) {
		free(track);
		free(block);
		gw_fail(diag, -ENOMEM, "no memory for the tracking");
		return NULL;
	}
	block->plan = *plan;
	snprintf(block->name, sizeof(block->name), "%s", name != NULL ? name : "");
	memset(block->map_fds, -1, sizeof(block->map_fds));
	memset(block->link_fds, -1, sizeof(block->link_fds));
	memset(block->program_fds, -1, sizeof(block->program_fds));
	track->impl = block;
	track->ops = plan->source == GW_SOURCE_NVME ? &gw_nvme_ops : &gw_block_ops;
	track->geom = plan->geom;
	track->node = plan->node;
	return track;
}

static int map_one(struct gw_block_track *block, enum gw_map map, struct gw_diag *diag)
{
	const struct gw_map_shape shape = gw_map_shape(map, &block->plan);
	void *mapped;

	if (shape.mmap_bytes == 0)
		return 0;
	mapped = mmap(NULL, shape.mmap_bytes, PROT_READ | PROT_WRITE, MAP_SHARED,
		      block->map_fds[map], 0);
	if (mapped == MAP_FAILED)
		return gw_fail_exit(diag, GW_EXIT_CANNOT, -errno,
				    "cannot map the BPF map %s (%llu bytes): %s", shape.pin,
				    (unsigned long long)shape.mmap_bytes, strerror(errno));
	block->mapped[map] = mapped;
	block->mapped_bytes[map] = shape.mmap_bytes;
	return 0;
}

static int find_programs(struct gw_block_track *block, struct gw_diag *diag)
{
	for (int i = 0; i < GW_PROGRAMS_WATCHED; i++) {
		struct bpf_link_info info = { 0 };
		uint32_t info_bytes = sizeof(info);

		if (bpf_obj_get_info_by_fd(block->link_fds[i], &info, &info_bytes) < 0 ||
		    (block->program_fds[i] = bpf_prog_get_fd_by_id(info.prog_id)) < 0)
			return gw_fail_exit(diag, GW_EXIT_CANNOT, -errno,
					    "cannot find the program of %s: %s",
					    gw_link_pin((unsigned int)i), strerror(errno));
	}
	return 0;
}

/* map_fds are there; link_fds too, or find_programs() is called later. */
static int map_all(struct gw_track *track, struct gw_diag *diag)
{
	struct gw_block_track *const block = track->impl;
	int err = 0;

	for (unsigned int map = 0; map < GW_MAPS && err == 0; map++)
		err = map_one(block, map, diag);
	if (err < 0)
		return err;
	block->header = block->mapped[GW_MAP_HEADER];
	block->coarse = block->mapped[GW_MAP_COARSE];
	block->state = block->mapped[GW_MAP_STATE];
	block->slots = block->mapped[GW_MAP_SLOTS];
	block->slot_count = gw_map_shape(GW_MAP_SLOTS, &block->plan).entries;
	track->live = (struct gw_bitmap){ block->mapped[GW_MAP_LIVE], track->geom.size_grains };
	track->pending =
		(struct gw_bitmap){ block->mapped[GW_MAP_PENDING], track->geom.size_grains };
	track->copying =
		(struct gw_bitmap){ block->mapped[GW_MAP_COPYING], track->geom.size_grains };
	return 0;
}

/* Start */

static int fill_header(struct gw_track *track, struct gw_diag *diag)
{
	const struct gw_block_track *const block = track->impl;
	const struct gw_plan *const plan = &block->plan;
	const struct gw_node *const node = &track->node;
	struct gw_track_header *const header = block->header;

	while (track->generation == 0)
		if (getrandom(&track->generation, sizeof(track->generation), 0) < 0 &&
		    errno != EINTR)
			return gw_fail(diag, -errno, "no random number: %s", strerror(errno));
	*header = (struct gw_track_header){
		.magic = GW_TRACK_MAGIC,
		.version = GW_TRACK_VERSION,
		.header_bytes = sizeof(*header),
		.flags = (plan->bio_based ? GW_TRACK_BIO_BASED : 0) |
			 (plan->source == GW_SOURCE_NVME ? GW_TRACK_BY_NVME : 0) |
			 (node->is_multipath_head ? GW_TRACK_MULTIPATH : 0) |
			 (node->is_partition ? GW_TRACK_PARTITION : 0) |
			 (node->is_zoned ? GW_TRACK_ZONED : 0) |
			 (node->read_only ? GW_TRACK_READ_ONLY : 0),
		.disk_major = major(node->disk_dev),
		.disk_minor = minor(node->disk_dev),
		.diskseq = node->diskseq,
		.generation = track->generation,
		.major = major(node->dev),
		.minor = minor(node->dev),
		.node_bytes = node->size_bytes,
		.first_sector = node->disk_first_sector,
		.size_bytes = track->geom.size_bytes,
		.grain_bytes = track->geom.grain_bytes,
		.coarse_shift = plan->coarse_shift,
		.words = track->geom.words,
		.coarse_words = plan->coarse_words,
		.hw_queues = plan->hw_queues,
		.tags_per_queue = plan->tags_per_queue,
		.logical_bytes = node->logical_bytes,
		.physical_bytes = node->physical_bytes,
		.started_wall_ns = gw_wall_ns(),
		.started_ns = gw_now_ns(&gw_clock_monotonic),
		.record_ranges = plan->record_ranges,
		.record_units = plan->record_units,
		.record_unit_shift = plan->record_unit_shift,
	};
	if (node->nvme.is_namespace) {
		header->nsid = node->nvme.nsid;
		header->nvme_subsystem = node->nvme.subsystem;
		header->nvme_head = node->nvme.head;
		header->nvme_controllers = node->nvme.controller_count;
		memcpy(header->nvme_controller, node->nvme.controllers,
		       sizeof(header->nvme_controller));
		memcpy(header->subsystem_nqn, node->nvme.subsystem_nqn,
		       sizeof(header->subsystem_nqn));
		memcpy(header->serial, node->nvme.serial, sizeof(header->serial));
	}
	memcpy(header->name, node->name, sizeof(header->name));
	memcpy(header->disk_name, node->disk_name, sizeof(header->disk_name));
	memcpy(header->stable_id, node->stable_id, sizeof(header->stable_id));
	memcpy(header->path, node->path, sizeof(header->path));
	return 0;
}

static int take_over(struct gw_block_track *block, struct gw_load *load, struct gw_diag *diag)
{
	for (int link = 0; link < GW_LINKS; link++) {
		block->link_fds[link] = load->link_fds[link];
		load->link_fds[link] = -1;
	}
	return find_programs(block, diag);
}

int gw_block_adopt_maps(struct gw_track **track, struct gw_load *load, const struct gw_plan *plan,
			const char *name, struct gw_diag *diag)
{
	struct gw_track *const fresh = new_track(plan, name, diag);
	struct gw_block_track *block;
	int err;

	*track = NULL;
	if (fresh == NULL)
		return -ENOMEM;
	block = fresh->impl;
	for (int map = 0; map < GW_MAPS; map++) {
		block->map_fds[map] = load->map_fds[map];
		load->map_fds[map] = -1;
	}
	err = map_all(fresh, diag);
	if (err == 0)
		err = fill_header(fresh, diag);
	if (err < 0)
		gw_block_close(fresh);
	else
		*track = fresh;
	return err;
}

int gw_block_adopt_links(struct gw_track *track, struct gw_load *load, struct gw_diag *diag)
{
	return take_over(track->impl, load, diag);
}

static int pin_all(const struct gw_track *track, struct gw_diag *diag)
{
	const struct gw_block_track *const block = track->impl;
	int err;

	err = gw_pins_create_dir(block->name, diag);
	for (unsigned int link = 0; link < GW_LINKS && err == 0; link++)
		if (block->link_fds[link] >= 0)
			err = gw_pins_add(block->name, gw_link_pin(link), block->link_fds[link],
					  diag);
	for (unsigned int map = 0; map < GW_MAPS && err == 0; map++)
		err = gw_pins_add(block->name, gw_map_shape(map, &block->plan).pin,
				  block->map_fds[map], diag);
	return err;
}

static int start_unpinned(struct gw_track **track, const struct gw_plan *plan, const char *name,
			  struct gw_diag *diag)
{
	struct gw_load load;
	int err;

	err = gw_load_open(&load, plan, diag);
	if (err < 0)
		return err;
	err = gw_block_adopt_maps(track, &load, plan, name, diag);
	if (err == 0) {
		err = gw_load_attach_all(&load, diag);
		if (err == 0)
			err = gw_block_adopt_links(*track, &load, diag);
		/* The disk may have been exchanged since it was looked at. */
		if (err == 0)
			err = gw_node_check_same(&plan->node, diag);
		if (err == 0)
			err = gw_block_await_unseen(*track, &load, diag);
		if (err < 0)
			gw_block_close(*track);
	}
	gw_load_close(&load);
	if (err < 0)
		*track = NULL;
	return err;
}

/* Pins of others */

/*
 * Return: 0 with *header whole; -ENOENT; -EPROTO if it is another version's (only the fields that
 * keep their places are there) or no header at all (magic is 0 then). Says nothing.
 */
static int read_header(const char *name, struct gw_track_header *header)
{
	char path[GW_PINS_PATH_BYTES];
	struct bpf_map_info info = { 0 };
	uint32_t info_bytes = sizeof(info);
	const uint32_t zero = 0;
	int err = -EPROTO, fd;
	void *value = NULL;

	memset(header, 0, sizeof(*header));
	fd = bpf_obj_get(gw_pins_path(path, name, GW_PIN_HEADER));
	if (fd < 0)
		return -errno;
	if (bpf_obj_get_info_by_fd(fd, &info, &info_bytes) < 0 ||
	    info.type != BPF_MAP_TYPE_ARRAY || info.key_size != 4 || info.max_entries != 1 ||
	    info.value_size < offsetof(struct gw_track_header, generation) ||
	    info.value_size > UINT32_C(1) << 20)
		goto out;
	value = calloc(1, info.value_size + 8u);
	if (value == NULL || bpf_map_lookup_elem(fd, &zero, value) < 0)
		goto out;
	memcpy(header, value,
	       info.value_size < sizeof(*header) ? info.value_size : sizeof(*header));
	if (header->magic != GW_TRACK_MAGIC)
		memset(header, 0, sizeof(*header));
	else if (header->version == GW_TRACK_VERSION &&
		 header->header_bytes == sizeof(*header) && info.value_size == sizeof(*header))
		err = 0;
out:
	free(value);
	close(fd);
	return err;
}

struct rival_search {
	const struct gw_node *node;
	char name[GW_PINS_NAME_MAX + 1];
};

static int is_rival(void *arg, const char *name)
{
	struct rival_search *const search = arg;
	struct gw_track_header *const header = calloc(1, sizeof(*header));
	bool same = false;

	if (header == NULL)
		return -ENOMEM;
	read_header(name, header);
	/* The same number with another diskseq: what it tracked is gone. */
	if (header->magic == GW_TRACK_MAGIC)
		same = makedev(header->disk_major, header->disk_minor) == search->node->disk_dev &&
		       header->diskseq == search->node->diskseq;
	free(header);
	if (same)
		snprintf(search->name, sizeof(search->name), "%s", name);
	return same;
}

static int check_rivals(const struct gw_node *node, const char *name, struct gw_diag *diag)
{
	char path[GW_PINS_PATH_BYTES];
	struct rival_search search = { .node = node };
	int err;

	if (access(gw_pins_path(path, name, GW_PIN_HEADER), F_OK) == 0)
		return gw_fail_exit(diag, GW_EXIT_CANNOT, -EEXIST,
				    "something is tracked under the name %s already (%s): "
				    "take another name, or end it with `godwit track stop`", name, path);
	/* With the lock held it is nobody's work in progress. */
	if (gw_pins_exist(name) == 0) {
		gw_say(diag, GW_NOTE, "removing what a start that died has left under the name %s",
		       name);
		err = gw_pins_remove(name, diag);
		if (err < 0)
			return err;
	}
	err = gw_track_block_each(is_rival, &search);
	if (err < 0)
		return gw_fail(diag, err, "cannot look through %s: %s", GW_PINS_DIR,
			       strerror(-err));
	if (err > 0)
		return gw_fail_exit(diag, GW_EXIT_CANNOT, -EBUSY,
				    "the disk %s is tracked already, under the name %s",
				    node->disk_name, search.name);
	return 0;
}

static int start_pinned(struct gw_track **track, const struct gw_plan *plan, const char *name,
			struct gw_diag *diag)
{
	const int lock = gw_pins_lock(diag);
	int err;

	if (lock < 0)
		return lock;
	err = check_rivals(&plan->node, name, diag);
	if (err == 0)
		err = start_unpinned(track, plan, name, diag);
	if (err == 0) {
		err = pin_all(*track, diag);
		if (err < 0) {
			gw_pins_remove(name, diag);
			gw_block_close(*track);
			*track = NULL;
		}
	}
	close(lock);
	return err;
}

enum gw_track_source gw_track_source_for(const struct gw_node *node)
{
	return node->nvme.is_namespace && gw_track_nvme_is_there() ? GW_SOURCE_NVME :
								     GW_SOURCE_BLOCK;
}

int gw_track_block_start(struct gw_track **track, const struct gw_track_block_config *config,
			 struct gw_diag *diag)
{
	struct gw_plan plan;
	int err;

	*track = NULL;
	if (config->name != NULL && (err = gw_pins_check_name(config->name, diag)) < 0)
		return err;
	err = gw_plan_make(&plan, config->source, config->node, config->grain_bytes,
			   config->size_bytes, diag);
	if (err == 0 && config->record_bytes > 0)
		err = gw_plan_record(&plan, config->record_bytes, diag);
	if (err == 0)
		err = gw_load_check_kernel(diag);
	if (err == 0 && config->name != NULL)
		err = gw_pins_check_bpffs(diag);
	if (err == 0 && !config->skip_self_test)
		err = config->source == GW_SOURCE_NVME ?
		      gw_track_nvme_self_test(config->node, diag) :
		      gw_track_block_self_test(plan.bio_based, diag);
	if (err < 0)
		return err;
	return config->name != NULL ? start_pinned(track, &plan, config->name, diag) :
	       start_unpinned(track, &plan, NULL, diag);
}

/* Open */

static bool is_text(const char *text, size_t bytes)
{
	return memchr(text, '\0', bytes) != NULL;
}

static void namespace_from_header(struct gw_nvme_place *nvme, const struct gw_track_header *header)
{
	if (header->nsid == 0)
		return;
	nvme->is_namespace = true;
	nvme->nsid = header->nsid;
	nvme->subsystem = header->nvme_subsystem;
	nvme->head = header->nvme_head;
	nvme->controller_count = header->nvme_controllers;
	memcpy(nvme->controllers, header->nvme_controller, sizeof(nvme->controllers));
	memcpy(nvme->subsystem_nqn, header->subsystem_nqn, sizeof(nvme->subsystem_nqn));
	memcpy(nvme->serial, header->serial, sizeof(nvme->serial));
}

static bool plan_from_header(struct gw_plan *plan, const struct gw_track_header *header)
{
	struct gw_node *const node = &plan->node;

	memset(plan, 0, sizeof(*plan));
	if (gw_geom_init(&plan->geom, header->size_bytes, header->grain_bytes) < 0 ||
	    header->grain_bytes == 0 || plan->geom.words != header->words ||
	    header->size_bytes > header->node_bytes || header->generation == 0 ||
	    header->hw_queues == 0 || header->tags_per_queue == 0 ||
	    header->hw_queues > GW_SLOTS_MAX / header->tags_per_queue ||
	    header->first_sector > UINT64_MAX >> 10 ||
	    header->record_ranges > UINT32_MAX || header->record_unit_shift > 63 ||
	    header->record_units > GW_RECORD_UNITS_MAX ||
	    (header->record_ranges > 0 && header->record_units == 0) ||
	    !is_text(header->subsystem_nqn, sizeof(header->subsystem_nqn)) ||
	    !is_text(header->serial, sizeof(header->serial)) ||
	    ((header->flags & GW_TRACK_BY_NVME) != 0 &&
	     (header->nsid == 0 || (header->flags & GW_TRACK_BIO_BASED) != 0)) ||
	    !is_text(header->name, sizeof(header->name)) ||
	    !is_text(header->disk_name, sizeof(header->disk_name)) ||
	    !is_text(header->stable_id, sizeof(header->stable_id)) ||
	    !is_text(header->path, sizeof(header->path)))
		return false;
	plan->source = (header->flags & GW_TRACK_BY_NVME) != 0 ? GW_SOURCE_NVME : GW_SOURCE_BLOCK;
	plan->bio_based = (header->flags & GW_TRACK_BIO_BASED) != 0;
	plan->hw_queues = header->hw_queues;
	plan->tags_per_queue = header->tags_per_queue;
	plan->record_ranges = header->record_ranges;
	plan->record_units = header->record_units;
	plan->record_unit_shift = header->record_unit_shift;
	gw_plan_coarse(plan);
	node->kind = GW_NODE_BLOCK;
	memcpy(node->path, header->path, sizeof(header->path));
	memcpy(node->name, header->name, sizeof(header->name));
	memcpy(node->disk_name, header->disk_name, sizeof(header->disk_name));
	memcpy(node->stable_id, header->stable_id, sizeof(header->stable_id));
	node->size_bytes = header->node_bytes;
	node->logical_bytes = header->logical_bytes;
	node->physical_bytes = header->physical_bytes;
	node->read_only = (header->flags & GW_TRACK_READ_ONLY) != 0;
	node->dev = makedev(header->major, header->minor);
	node->disk_dev = makedev(header->disk_major, header->disk_minor);
	node->disk_first_sector = header->first_sector;
	node->is_partition = (header->flags & GW_TRACK_PARTITION) != 0;
	node->is_multipath_head = (header->flags & GW_TRACK_MULTIPATH) != 0;
	node->is_request_based = !plan->bio_based && !node->is_multipath_head;
	namespace_from_header(&node->nvme, header);
	node->is_zoned = (header->flags & GW_TRACK_ZONED) != 0;
	node->hw_queues = plan->bio_based ? 0 : header->hw_queues;
	node->tags_per_queue = plan->bio_based ? 0 : header->tags_per_queue;
	node->diskseq = header->diskseq;
	return plan->coarse_shift == header->coarse_shift &&
	       plan->coarse_words == header->coarse_words;
}

/* Whatever is pinned there is mapped only if it has the shape that the header promises. */
static int open_map(struct gw_block_track *block, enum gw_map map, struct gw_diag *diag)
{
	const struct gw_map_shape shape = gw_map_shape(map, &block->plan);
	char path[GW_PINS_PATH_BYTES];
	struct bpf_map_info info = { 0 };
	uint32_t info_bytes = sizeof(info);

	block->map_fds[map] = bpf_obj_get(gw_pins_path(path, block->name, shape.pin));
	if (block->map_fds[map] < 0)
		return gw_fail_exit(diag, GW_EXIT_CANNOT, -EPROTO, "cannot open %s: %s", path,
				    strerror(errno));
	if (bpf_obj_get_info_by_fd(block->map_fds[map], &info, &info_bytes) < 0 ||
	    info.type != shape.type || info.key_size != shape.key_bytes ||
	    info.value_size != shape.value_bytes || info.max_entries != shape.entries ||
	    info.map_flags != shape.flags)
		return gw_fail_exit(diag, GW_EXIT_CANNOT, -EPROTO,
				    "%s is not the map that its header describes", path);
	return 0;
}

static int open_links(struct gw_block_track *block, struct gw_diag *diag)
{
	for (unsigned int link = 0; link < GW_LINKS; link++) {
		char path[GW_PINS_PATH_BYTES];

		if (!gw_plan_has_link(&block->plan, link))
			continue;
		block->link_fds[link] =
			bpf_obj_get(gw_pins_path(path, block->name, gw_link_pin(link)));
		if (block->link_fds[link] < 0)
			return gw_fail_exit(diag, GW_EXIT_CANNOT, -EPROTO, "cannot open %s: %s",
					    path, strerror(errno));
	}
	return find_programs(block, diag);
}

static int open_all(struct gw_track *track, const struct gw_track_header *header,
		    struct gw_diag *diag)
{
	struct gw_block_track *const block = track->impl;
	int err = 0;

	for (unsigned int map = 0; map < GW_MAPS && err == 0; map++)
		err = open_map(block, map, diag);
	if (err == 0)
		err = open_links(block, diag);
	if (err == 0)
		err = map_all(track, diag);
	if (err < 0)
		return err;
	track->generation = header->generation;
	if ((__atomic_load_n(&block->state->flags, __ATOMIC_SEQ_CST) & GW_STATE_OTHER_DISK) != 0)
		return gw_block_fail_other_disk(track, diag);
	return gw_node_check_same(&track->node, diag);
}

static int fail_header(const char *name, int err, struct gw_diag *diag)
{
	if (err == -EPROTO)
		return gw_fail_exit(diag, GW_EXIT_CANNOT, -EPROTO,
				    "what is pinned under the name %s is of another version of "
				    "godwit: use that one, or remove it with `godwit track stop`", name);
	if (err != -ENOENT)
		return gw_fail_exit(diag, GW_EXIT_CANNOT, err, "cannot open the pins of %s: %s",
				    name, strerror(-err));
	if (gw_pins_exist(name) == 0)
		return gw_fail_exit(diag, GW_EXIT_CANNOT, -ENOENT,
				    "the pins under the name %s are half made, by a start or a "
				    "stop that died: nothing is tracked; `godwit track stop` "
				    "removes them", name);
	return gw_fail_exit(diag, GW_EXIT_CANNOT, -ENOENT,
			    "nothing is tracked under the name %s (a reboot ends all tracking)",
			    name);
}

static int open_by_header(struct gw_track **track, const char *name,
			  struct gw_track_header *header, struct gw_diag *diag)
{
	struct gw_track *opened;
	struct gw_plan plan;
	int err;

	err = read_header(name, header);
	if (err < 0)
		return fail_header(name, err, diag);
	if (!plan_from_header(&plan, header))
		return gw_fail_exit(diag, GW_EXIT_CANNOT, -EPROTO,
				    "the header pinned under the name %s contradicts itself",
				    name);
	opened = new_track(&plan, name, diag);
	if (opened == NULL)
		return -ENOMEM;
	err = open_all(opened, header, diag);
	if (err < 0)
		gw_block_close(opened);
	else
		*track = opened;
	return err;
}

int gw_track_block_open(struct gw_track **track, const char *name, struct gw_diag *diag)
{
	struct gw_track_header *header;
	int err;

	*track = NULL;
	err = gw_pins_check_name(name, diag);
	if (err < 0)
		return err;
	header = calloc(1, sizeof(*header));
	if (header == NULL)
		return gw_fail(diag, -ENOMEM, "no memory for the tracking");
	err = open_by_header(track, name, header, diag);
	free(header);
	return err;
}

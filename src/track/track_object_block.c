// SPDX-License-Identifier: GPL-2.0-or-later
/* The BPF object of the source `block`: gw_block.bpf.c. */
#include <assert.h>
#include <bpf/libbpf.h>
#include <string.h>
#include <sys/sysmacros.h>

#include "gw_block.skel.h"
#include "track_load.h"

static void *open_block(struct bpf_object **bpf)
{
	struct gw_block *const skeleton = gw_block__open();

	*bpf = skeleton != NULL ? skeleton->obj : NULL;
	return skeleton;
}

static const char *program_name(bool bio_based, unsigned int link)
{
	static const char *const names[2][GW_LINKS] = {
		{ "gw_rq_issue", "gw_rq_complete1", "gw_rq_complete2", "gw_rq_complete3",
		  "gw_rq_requeue" },
		{ "gw_bio_queue", "gw_bio_complete1", "gw_bio_complete2", "gw_bio_complete3",
		  NULL },
	};

	assert(link < GW_LINKS);
	return names[bio_based][link];
}

static const char *block_program(const struct gw_plan *plan, unsigned int link)
{
	return program_name(plan->bio_based, link);
}

static void set_up_block(void *opened, const struct gw_plan *plan)
{
	struct gw_block *const skeleton = opened;
	const uint64_t first = plan->node.disk_first_sector;
	uint64_t chain_endio;

	for (unsigned int link = 0; link < GW_LINKS; link++) {
		const char *const unwanted = program_name(!plan->bio_based, link);

		if (unwanted != NULL)
			bpf_program__set_autoload(bpf_object__find_program_by_name(skeleton->obj,
										   unwanted), false);
	}
	skeleton->rodata->gw_disk_major = (int)major(plan->node.disk_dev);
	skeleton->rodata->gw_disk_first_minor = (int)minor(plan->node.disk_dev);
	skeleton->rodata->gw_expected_diskseq = plan->node.diskseq;
	skeleton->rodata->gw_tracked_first = first;
	skeleton->rodata->gw_tracked_end =
		first + (plan->geom.size_bytes >> GW_SECTOR_SHIFT) +
		((plan->geom.size_bytes & ((1u << GW_SECTOR_SHIFT) - 1)) != 0);
	skeleton->rodata->gw_grain_shift = plan->geom.grain_shift;
	skeleton->rodata->gw_size_grains = plan->geom.size_grains;
	skeleton->rodata->gw_is_recording = plan->record_ranges > 0;
	skeleton->rodata->gw_record_first = first;
	skeleton->rodata->gw_record_unit_shift = plan->record_unit_shift;
	skeleton->rodata->gw_coarse_shift = plan->coarse_shift;
	skeleton->rodata->gw_hw_queues = plan->bio_based ? 0 : plan->hw_queues;
	skeleton->rodata->gw_tags_per_queue = plan->tags_per_queue;
	skeleton->rodata->gw_zone_sectors = plan->zone_sectors;
	skeleton->rodata->gw_empty_passthrough_writes =
		strncmp(plan->node.disk_name, "nvme", 4) == 0;
	if (plan->bio_based) {
		gw_kernel_symbols(1, (const char *[]){ "bio_chain_endio" }, &chain_endio);
		skeleton->rodata->gw_chain_endio = chain_endio;
	}
}

static int load_block(void *skeleton)
{
	return gw_block__load(skeleton);
}

static void destroy_block(void *skeleton)
{
	gw_block__destroy(skeleton);
}

const struct gw_object gw_object_block = {
	.open = open_block,
	.set_up = set_up_block,
	.load = load_block,
	.destroy = destroy_block,
	.program = block_program,
};

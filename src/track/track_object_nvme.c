// SPDX-License-Identifier: GPL-2.0-or-later
/* The BPF object of the source `nvme`: gw_nvme.bpf.c. */
#include <assert.h>
#include <bpf/libbpf.h>
#include <string.h>
#include <sys/sysmacros.h>

#include "gw_nvme.skel.h"
#include "nvme_ask.h"
#include "track_load.h"

static void *open_nvme(struct bpf_object **bpf)
{
	struct gw_nvme *const skeleton = gw_nvme__open();

	*bpf = skeleton != NULL ? skeleton->obj : NULL;
	return skeleton;
}

static const char *nvme_program(const struct gw_plan *plan, unsigned int link)
{
	/* A requeue needs none: each attempt completes. */
	static const char *const names[GW_LINKS] = {
		"gw_nvme_setup", "gw_nvme_complete1", "gw_nvme_complete2", "gw_nvme_complete3",
		NULL,
	};

	(void)plan;
	assert(link < GW_LINKS);
	return names[link];
}

static uint32_t shift_of(uint32_t block_bytes)
{
	uint32_t shift = 0;

	while (block_bytes >> shift > 1u << GW_SECTOR_SHIFT)
		shift++;
	return shift;
}

static void set_up_nvme(void *opened, const struct gw_plan *plan)
{
	struct gw_nvme *const skeleton = opened;
	const struct gw_nvme_place *const nvme = &plan->node.nvme;
	const uint64_t first = plan->node.disk_first_sector;
	const uint32_t controllers = gw_plan_controllers(plan);
#ifdef __x86_64__
	uint64_t bases[2];
#endif

	skeleton->rodata->gw_subsystem = (int)nvme->subsystem;
	skeleton->rodata->gw_head = (int)nvme->head;
	skeleton->rodata->gw_nsid = nvme->nsid;
	skeleton->rodata->gw_disk_major = (int)major(plan->node.disk_dev);
	skeleton->rodata->gw_disk_first_minor = (int)minor(plan->node.disk_dev);
	skeleton->rodata->gw_expected_diskseq = plan->node.diskseq;
	skeleton->rodata->gw_tracked_first = first;
	skeleton->rodata->gw_tracked_end = first + (plan->geom.size_bytes >> GW_SECTOR_SHIFT);
	skeleton->rodata->gw_grain_shift = plan->geom.grain_shift;
	skeleton->rodata->gw_size_grains = plan->geom.size_grains;
	skeleton->rodata->gw_is_recording = plan->record_ranges > 0;
	skeleton->rodata->gw_record_first = first;
	skeleton->rodata->gw_record_unit_shift = plan->record_unit_shift;
	skeleton->rodata->gw_coarse_shift = plan->coarse_shift;
	skeleton->rodata->gw_hw_queues = plan->hw_queues / controllers;
	skeleton->rodata->gw_tags_per_queue = plan->tags_per_queue;
	skeleton->rodata->gw_controller_count =
		nvme->controller_count < controllers ? nvme->controller_count : controllers;
	for (uint32_t i = 0; i < controllers; i++)
		skeleton->rodata->gw_controllers[i] = (int)nvme->controllers[i];
	skeleton->rodata->gw_block_sector_shift = shift_of(plan->node.logical_bytes);
	skeleton->rodata->gw_zone_sectors = plan->zone_sectors;
	skeleton->rodata->gw_is_format_wide = gw_nvme_ask_format_is_wide(nvme);
	skeleton->rodata->gw_reads_mark = plan->reads_mark;
#ifdef __x86_64__
	gw_kernel_symbols(2, (const char *[]){ "vmemmap_base", "page_offset_base" }, bases);
	skeleton->rodata->gw_vmemmap_base_at = bases[0];
	skeleton->rodata->gw_page_offset_base_at = bases[1];
#endif
}

static int load_nvme(void *skeleton)
{
	return gw_nvme__load(skeleton);
}

static void destroy_nvme(void *skeleton)
{
	gw_nvme__destroy(skeleton);
}

const struct gw_object gw_object_nvme = {
	.open = open_nvme,
	.set_up = set_up_nvme,
	.load = load_nvme,
	.destroy = destroy_nvme,
	.program = nvme_program,
};

bool gw_track_nvme_is_there(void)
{
	uint64_t addresses[2];

	gw_kernel_symbols(2, (const char *[]){ "__traceiter_nvme_setup_cmd", "__traceiter_nvme_complete_rq" },
			  addresses);
	return addresses[0] != 0 && addresses[1] != 0;
}

// SPDX-License-Identifier: GPL-2.0-or-later
#include "nvme_recorded.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

static void *place_of(struct gw_nvme_answers *answers, uint32_t which, size_t *room)
{
#define PLACE(bit, field) \
	case bit: \
		*room = sizeof(answers->field); \
		return &answers->field
	switch (which) {
	PLACE(GW_NVME_HAS_NAMESPACE, namespace);
	PLACE(GW_NVME_HAS_CONTROLLER, controller);
	PLACE(GW_NVME_HAS_DESCRIPTORS, descriptors);
	PLACE(GW_NVME_HAS_NVM_NAMESPACE, nvm_namespace);
	PLACE(GW_NVME_HAS_NVM_CONTROLLER, nvm_controller);
	PLACE(GW_NVME_HAS_ATTACHED, attached);
	PLACE(GW_NVME_HAS_SMART, smart);
	PLACE(GW_NVME_HAS_FIRMWARE, firmware);
	PLACE(GW_NVME_HAS_WRITE_CACHE, write_cache);
	PLACE(GW_NVME_HAS_ERROR_RECOVERY, error_recovery);
	PLACE(GW_NVME_HAS_RESERVATIONS, reservations);
	PLACE(GW_NVME_HAS_RESERVATIONS | GW_NVME_HAS_LONG_RESERVATIONS, reservations);
	PLACE(GW_RECORDED_OURS, ours);
	default:
		return NULL;
	}
#undef PLACE
}

void gw_recorded_parse(struct gw_nvme_answers *answers, const uint8_t *data, size_t size)
{
	memset(answers, 0, sizeof(*answers));
	while (size >= 8) {
		uint32_t which, length;
		size_t room;
		void *place;

		memcpy(&which, data, 4);
		memcpy(&length, data + 4, 4);
		data += 8;
		size -= 8;
		place = place_of(answers, which, &room);
		if (length > size || place == NULL || length > room)
			return;
		memcpy(place, data, length);
		if (which == GW_RECORDED_OURS)
			answers->ours_count = length / 2;
		else
			answers->has |= which;
		data += length;
		size -= length;
	}
}

void gw_recorded_load(struct gw_nvme_answers *answers, const char *name)
{
	uint8_t data[8192];
	char path[128];
	size_t size;
	FILE *file;

	snprintf(path, sizeof(path), "tests/fuzz/corpus/nvme_identify/%s", name);
	file = fopen(path, "re");
	assert(file != NULL);
	size = fread(data, 1, sizeof(data), file);
	fclose(file);
	gw_recorded_parse(answers, data, size);
}

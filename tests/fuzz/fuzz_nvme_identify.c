// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Answers as a drive may give them, broken ones among them. What is made of them keeps its
 * promises, and every row of the check has words for it.
 */
#include <assert.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "dev.h"
#include "nvme_identify.h"
#include "preflight_rows.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* tests/support is not linked into fuzz targets. */
#include "nvme_recorded.c"

static void check_facts(const struct gw_nvme_facts *facts)
{
	assert(facts->format_count >= 1);
	assert(facts->format_count <= GW_NVME_FORMATS_MAX);
	assert(facts->format_index < facts->format_count);
	assert(facts->format.lba_bytes >= 512);
	assert(facts->size_blk <= UINT64_MAX / facts->format.lba_bytes);
	assert(facts->capacity_blk <= facts->size_blk);
	assert(facts->used_blk <= facts->size_blk);
	assert(facts->protection <= 3);
	assert(facts->protection_bytes <= facts->format.metadata_bytes);
	assert(facts->foreign_count <= facts->attached_count);
	assert(facts->foreign_registrants <= facts->registrants);
	assert(strlen(facts->serial) < sizeof(facts->serial));
	assert(strlen(facts->model) < sizeof(facts->model));
}

static void check_rows(const struct gw_nvme_facts *facts)
{
	static struct gw_check check;
	static struct gw_node source, target;

	memset(&check, 0, sizeof(check));
	source.disk_dev = 1;
	target.disk_dev = 2;
	source.size_bytes = target.size_bytes = 1 << 20;
	check.source = &source;
	check.target = &target;
	check.is_tracked = true;
	check.nvme[GW_SOURCE] = check.nvme[GW_TARGET] = *facts;
	for (const struct gw_row_rule *rule = gw_rows_nvme; rule->id != NULL; rule++) {
		struct gw_row row = { .id = rule->id };

		rule->look(&check, &row);
		assert(row.why[0] != '\0');
		/* They are equal. */
		assert(row.state != GW_ROW_DIFFERS);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct gw_nvme_answers answers;
	static struct gw_nvme_facts facts;

	gw_recorded_parse(&answers, data, size);
	if (gw_nvme_read_facts(&facts, &answers) < 0) {
		assert(facts.format_count == 0);
		return 0;
	}
	check_facts(&facts);
	check_rows(&facts);
	return 0;
}

// SPDX-License-Identifier: GPL-2.0-or-later
#include "out.h"

#include <assert.h>

#include "clock.h"
#include "journal.h"
#include "units.h"

static const struct {
	const char *text, *json;
} states[] = {
	[GW_ROW_MET] = { "met", "met" },
	[GW_ROW_DIFFERS] = { "differs", "differs" },
	[GW_ROW_WARNING] = { "warning", "warning" },
	[GW_ROW_UNMET] = { "NOT MET", "unmet" },
};

static void node_text(FILE *out, const char *role, const struct gw_node *node)
{
	char size[GW_UNIT_TEXT_BYTES];

	if (node->path[0] == '\0')
		return;
	fprintf(out, "%s: %s, %s", role, node->path, gw_format_bytes(size, node->size_bytes));
	if (node->kind == GW_NODE_FILE)
		fprintf(out, ", a regular file");
	else
		fprintf(out, ", %s, sectors of %u bytes",
			node->is_partition ? "a partition" : "a disk", node->logical_bytes);
	if (node->stable_id[0] != '\0')
		fprintf(out, ", %s", node->stable_id);
	fputc('\n', out);
}

static void row_text(FILE *out, const struct gw_row *row)
{
	fprintf(out, "  %-8s %s", states[row->state].text, row->what);
	if (row->why[0] != '\0')
		fprintf(out, ": %s", row->why);
	fputc('\n', out);
	if (row->mend[0] != '\0')
		fprintf(out, "           mend: %s\n", row->mend);
}

static void check_text(FILE *out, const struct gw_preflight *p)
{
	char memory[GW_UNIT_TEXT_BYTES], state[GW_UNIT_TEXT_BYTES], time[GW_UNIT_TEXT_BYTES];

	node_text(out, "source", &p->source);
	node_text(out, "target", &p->target);
	for (uint32_t i = 0; i < p->count; i++)
		row_text(out, &p->rows[i]);
	fprintf(out, "%u requirements: %u met, %u with a warning, %u not met\n", p->count,
		p->count - p->unmet - p->warnings, p->warnings, p->unmet);
	if (p->memory_bytes > 0)
		fprintf(out, "it would take %s of memory and %s for its state",
			gw_format_bytes(memory, p->memory_bytes),
			gw_format_bytes(state, p->state_bytes));
	if (p->memory_bytes > 0 && p->estimate_s > 0)
		fprintf(out, ", and about %s",
			gw_format_duration(time, (uint64_t)(p->estimate_s * (double)GW_NS_PER_S)));
	if (p->memory_bytes > 0)
		fputc('\n', out);
}

/* null where the path was no good */
static struct json_object *node_json(const struct gw_node *node)
{
	struct json_object *object;

	if (node->path[0] == '\0')
		return NULL;
	object = json_object_new_object();
	assert(object != NULL);
	gw_json_put_text(object, "path", node->path);
	gw_json_put_string(object, "kind", node->kind == GW_NODE_FILE ? "file" :
			   node->is_partition ? "partition" : "disk");
	gw_json_put_text(object, "name", node->name);
	gw_json_put_text(object, "id", node->stable_id);
	gw_json_put_u64(object, "size_bytes", node->size_bytes);
	gw_json_put_u64(object, "logical_bytes", node->logical_bytes);
	gw_json_put_u64(object, "physical_bytes", node->physical_bytes);
	return object;
}

static struct json_object *row_json(const struct gw_row *row)
{
	struct json_object *object = json_object_new_object();

	assert(object != NULL);
	gw_json_put_text(object, "id", row->id);
	gw_json_put_string(object, "state", states[row->state].json);
	gw_json_put_text(object, "what", row->what);
	gw_json_put_text(object, "why", row->why);
	gw_json_put_text(object, "mend", row->mend);
	return object;
}

static void check_json(FILE *out, const struct gw_preflight *p)
{
	struct json_object *document = gw_out_document(), *rows = json_object_new_array();

	assert(rows != NULL);
	json_object_object_add(document, "source", node_json(&p->source));
	json_object_object_add(document, "target", node_json(&p->target));
	gw_json_put_bool(document, "possible", p->unmet == 0);
	gw_json_put_u64(document, "requirements", p->count);
	gw_json_put_u64(document, "unmet", p->unmet);
	gw_json_put_u64(document, "warnings", p->warnings);
	gw_json_put_u64(document, "memory_bytes", p->memory_bytes);
	gw_json_put_u64(document, "state_bytes", p->state_bytes);
	gw_json_put_double(document, "estimated_s", p->estimate_s);
	for (uint32_t i = 0; i < p->count; i++)
		json_object_array_add(rows, row_json(&p->rows[i]));
	json_object_object_add(document, "rows", rows);
	gw_out_print(out, document);
}

void gw_out_check(FILE *out, enum gw_output form, const struct gw_preflight *preflight)
{
	assert(preflight->count <= GW_PREFLIGHT_ROWS_MAX);
	if (form == GW_OUTPUT_JSON)
		check_json(out, preflight);
	else
		check_text(out, preflight);
}

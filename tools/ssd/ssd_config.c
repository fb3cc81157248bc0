// SPDX-License-Identifier: GPL-2.0-or-later
#include "ssd_config.h"

#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <godwit/nvme_abi.h>

#include "ssd_ns.h"
#include "units.h"

#define LINE_BYTES_MAX 512u
#define KEY_BYTES_MAX 32u
/* From FFF0h on they are reserved, for those as well that count on from this one. */
#define CNTLID_MAX (0xfff0u - GW_SSD_CONTROLLERS_MAX)

/* ---- Presets ---------------------------------------------------------------------------------------- */

void gw_ssd_config_init(struct gw_ssd_config *config)
{
	*config = (struct gw_ssd_config){
		.number = 1,
		.serial = "GODWIT0001",
		.model = "godwit software SSD",
		.firmware = "1",
		.nqn = "nqn.2026-11.org.godwit:ssd:GODWIT0001",
		/* Nobody's vendor, and so in no driver's list of quirks. */
		.pci_vendor = 0x1234,
		.pci_device = 0x4757,
		.version = NVME_VERSION_2_1,
		.namespace_bytes = UINT64_C(1) << 30,
		.capacity_bytes = UINT64_C(1) << 40,
		.cache_bytes = UINT64_C(4) << 20,
		.lbads = GW_NS_LBADS_MIN,
		.oncs = NVME_ONCS_COMPARE | NVME_ONCS_WRITE_UNCORRECTABLE | NVME_ONCS_DSM |
			NVME_ONCS_WRITE_ZEROES | NVME_ONCS_SAVE | NVME_ONCS_TIMESTAMP |
			NVME_ONCS_VERIFY | NVME_ONCS_COPY,
		.oacs = NVME_OACS_FORMAT | NVME_OACS_NAMESPACES | NVME_OACS_LBA_STATUS,
		.fuses = NVME_FUSES_COMPARE_WRITE,
		.sanicap = NVME_SANICAP_CRYPTO | NVME_SANICAP_BLOCK,
		.trattr = NVME_TRATTR_MEMORY | NVME_TRATTR_USER_DATA,
		.managers = 1,
		.unit_blocks = 8,
		.choice.window = 1,
		.lm = {
			.cdqs = 4,
			.cdqs_subsystem = GW_SSD_CDQS_MAX,
			.pages_max = 512,
			.ranges_max = 512,
			.ranges_subsystem = 1024,
			.track_ranges = 64,
			.track_ranges_subsystem = GW_SSD_TRACK_RANGES_MAX,
			.granularity_min = 0,
			.granularity_max = 9,
		},
		.limits = {
			.io_queues = GW_SSD_QUEUES_MAX,
			.vectors = GW_SSD_VECTORS,
			.queue_entries = GW_SSD_MQES + 1,
			.events = GW_SSD_AERS_MAX,
			.errors = GW_SSD_ERRORS_MAX,
			.namespaces = GW_SSD_NAMESPACES_MAX,
			.copy_ranges = GW_SSD_COPY_RANGES_MAX,
			.copy_blocks = GW_SSD_COPY_BLOCKS_MAX,
			.atomic_blocks = GW_SSD_ATOMIC_BLOCKS_MAX,
			.xfer_bytes = GW_SSD_XFER_BYTES_MAX,
		},
	};
}

/* What came after NVMe 1.3 (Verify, Copy, Get LBA Status, the newer Identify and log pages) is not there. */
static void preset_old(struct gw_ssd_config *config)
{
	config->version = NVME_VERSION_1_3;
	config->oncs &= (uint16_t)~(NVME_ONCS_VERIFY | NVME_ONCS_COPY);
	config->oacs &= (uint16_t)~NVME_OACS_LBA_STATUS;
	config->unit_blocks = 0;
	config->has_unit = true;
}

/* The smallest that a driver and a migration can still live with. */
static void preset_tiny(struct gw_ssd_config *config)
{
	config->has_migration = true;
	config->cache_bytes = UINT64_C(16) << 10;
	config->lm = (struct gw_lm_limits){
		.cdqs = 1,
		.cdqs_subsystem = 1,
		.pages_max = 1,
		.ranges_max = 1,
		.ranges_subsystem = 1,
		.track_ranges = 1,
		.track_ranges_subsystem = 1,
	};
	config->limits = (struct gw_ssd_limits){
		.io_queues = 2,
		.vectors = 3,
		.queue_entries = 16,
		.events = 1,
		.errors = 4,
		.namespaces = 2,
		.copy_ranges = 1,
		.copy_blocks = 8,
		.atomic_blocks = 1,
		.xfer_bytes = 2 * GW_SSD_PAGE_BYTES,
	};
}

static int set_preset(struct gw_ssd_config *config, const char *name, struct gw_diag *diag)
{
	if (config->is_begun)
		return gw_fail(diag, -EINVAL, "preset= comes after another key, and would undo it: "
					      "write it first");
	if (strcmp(name, "hmlm") == 0)
		config->has_migration = true;
	else if (strcmp(name, "old") == 0)
		preset_old(config);
	else if (strcmp(name, "tiny") == 0)
		preset_tiny(config);
	else if (strcmp(name, "plain") != 0)
		return gw_fail(diag, -EINVAL, "preset= is plain, hmlm, old or tiny, and not '%s'", name);
	return 0;
}

/* ---- Keys -------------------------------------------------------------------------------------------- */

enum kind { TEXT, SIZE, POWER, NUMBER, HEXADECIMAL, SWITCH, BIT, BLOCK, VERSION, PRESET, BYTES };

struct key {
	const char *name;
	enum kind kind;
	size_t offset, bytes;		/* of the field */
	uint64_t min, max;		/* of a number; of BIT, min is the mask */
};

#define FIELD(f) offsetof(struct gw_ssd_config, f), sizeof(((struct gw_ssd_config *)0)->f)
#define NS_FIELD(f) offsetof(struct gw_ssd_ns_config, f), sizeof(((struct gw_ssd_ns_config *)0)->f)

static const struct key keys[] = {
	{ "preset", PRESET, 0, 0, 0, 0 },
	{ "serial", TEXT, FIELD(serial), 0, 0 },
	{ "model", TEXT, FIELD(model), 0, 0 },
	{ "firmware", TEXT, FIELD(firmware), 0, 0 },
	{ "nqn", TEXT, FIELD(nqn), 0, 0 },
	{ "pci-vendor", HEXADECIMAL, FIELD(pci_vendor), 1, 0xfffe },
	{ "pci-device", HEXADECIMAL, FIELD(pci_device), 0, 0xffff },
	{ "oui", HEXADECIMAL, FIELD(oui), 0, 0xffffff },
	{ "version", VERSION, FIELD(version), 0, 0 },
	{ "size", SIZE, FIELD(namespace_bytes), 4096, INT64_MAX },
	{ "capacity", SIZE, FIELD(capacity_bytes), 4096, INT64_MAX },
	{ "cache", SIZE, FIELD(cache_bytes), 0, UINT64_C(1) << 30 },
	{ "cmb", POWER, FIELD(cmb_bytes), 0, GW_SSD_CMB_BYTES_MAX },
	{ "block", BLOCK, FIELD(lbads), 0, 0 },
	{ "io-queues", NUMBER, FIELD(limits.io_queues), 1, GW_SSD_QUEUES_MAX },
	{ "vectors", NUMBER, FIELD(limits.vectors), 1, GW_SSD_VECTORS },
	{ "queue-entries", NUMBER, FIELD(limits.queue_entries), 2, GW_SSD_MQES + 1 },
	{ "transfer", POWER, FIELD(limits.xfer_bytes), 2 * GW_SSD_PAGE_BYTES, GW_SSD_XFER_BYTES_MAX },
	{ "event-requests", NUMBER, FIELD(limits.events), 1, GW_SSD_AERS_MAX },
	{ "errors", NUMBER, FIELD(limits.errors), 1, GW_SSD_ERRORS_MAX },
	{ "namespaces", NUMBER, FIELD(limits.namespaces), 1, GW_SSD_NAMESPACES_MAX },
	{ "copy-ranges", NUMBER, FIELD(limits.copy_ranges), 1, GW_SSD_COPY_RANGES_MAX },
	{ "copy-blocks", NUMBER, FIELD(limits.copy_blocks), 1, GW_SSD_COPY_BLOCKS_MAX },
	{ "atomic-blocks", NUMBER, FIELD(limits.atomic_blocks), 1, GW_SSD_ATOMIC_BLOCKS_MAX },
	{ "compare", BIT, FIELD(oncs), NVME_ONCS_COMPARE, 0 },
	{ "write-uncorrectable", BIT, FIELD(oncs), NVME_ONCS_WRITE_UNCORRECTABLE, 0 },
	{ "dataset-management", BIT, FIELD(oncs), NVME_ONCS_DSM, 0 },
	{ "write-zeroes", BIT, FIELD(oncs), NVME_ONCS_WRITE_ZEROES, 0 },
	{ "save-features", BIT, FIELD(oncs), NVME_ONCS_SAVE, 0 },
	{ "timestamp", BIT, FIELD(oncs), NVME_ONCS_TIMESTAMP, 0 },
	{ "verify", BIT, FIELD(oncs), NVME_ONCS_VERIFY, 0 },
	{ "copy", BIT, FIELD(oncs), NVME_ONCS_COPY, 0 },
	{ "fused", BIT, FIELD(fuses), NVME_FUSES_COMPARE_WRITE, 0 },
	{ "format", BIT, FIELD(oacs), NVME_OACS_FORMAT, 0 },
	{ "namespace-management", BIT, FIELD(oacs), NVME_OACS_NAMESPACES, 0 },
	{ "lba-status", BIT, FIELD(oacs), NVME_OACS_LBA_STATUS, 0 },
	{ "sanitize", BIT, FIELD(sanicap), NVME_SANICAP_CRYPTO | NVME_SANICAP_BLOCK, 0 },
	{ "record", TEXT, FIELD(record), 0, 0 },
	{ "migration", SWITCH, FIELD(has_migration), 0, 0 },
	{ "managers", NUMBER, FIELD(managers), 1, GW_SSD_CONTROLLERS_MAX },
	{ "merge", SWITCH, FIELD(is_merging), 0, 0 },
	{ "log-first-range", SWITCH, FIELD(choice.has_first_range), 0, 0 },
	{ "log-last-whole", SWITCH, FIELD(choice.has_last_whole), 0, 0 },
	{ "log-after-completion", SWITCH, FIELD(choice.is_late), 0, 0 },
	{ "log-window", NUMBER, FIELD(choice.window), 1, GW_SSD_LOG_WINDOW_MAX },
	{ "log-newest-first", SWITCH, FIELD(choice.is_newest_first), 0, 0 },
	{ "log-start-when-full", SWITCH, FIELD(choice.is_start_taken), 0, 0 },
	{ "limit-invalid-field", SWITCH, FIELD(choice.is_limit_invalid), 0, 0 },
	{ "target-suspended", SWITCH, FIELD(choice.is_suspended_only), 0, 0 },
	{ "track-memory", BIT, FIELD(trattr), NVME_TRATTR_MEMORY, 0 },
	{ "track-changes", BIT, FIELD(trattr), NVME_TRATTR_USER_DATA, 0 },
	{ "track-power-of-two", BIT, FIELD(trattr), NVME_TRATTR_POWER_OF_TWO, 0 },
	{ "unit", NUMBER, FIELD(unit_blocks), 0, 1u << 20 },
	{ "mcudmq", NUMBER, FIELD(lm.cdqs), 1, GW_SSD_CDQS_MAX },
	{ "mnsudmq", NUMBER, FIELD(lm.cdqs_subsystem), 1, GW_SSD_CDQS_MAX },
	{ "mcdqpc", NUMBER, FIELD(lm.pages_max), 0, UINT16_MAX },
	{ "mcmr", NUMBER, FIELD(lm.ranges_max), 0, UINT16_MAX },
	{ "nmcmr", NUMBER, FIELD(lm.ranges_subsystem), 0, UINT16_MAX },
	{ "cmmrtd", NUMBER, FIELD(lm.track_ranges), 1, GW_SSD_TRACK_RANGES_MAX },
	{ "nmmrtd", NUMBER, FIELD(lm.track_ranges_subsystem), 1, UINT16_MAX },
	{ "minmrtg", NUMBER, FIELD(lm.granularity_min), 0, 20 },
	{ "maxmrtg", NUMBER, FIELD(lm.granularity_max), 0, 20 },
};

static const struct key ns_keys[] = {
	{ "size", SIZE, NS_FIELD(bytes), 4096, INT64_MAX },
	{ "block", BLOCK, NS_FIELD(lbads), 0, 0 },
	{ "nguid", BYTES, NS_FIELD(nguid), 0, 0 },
	{ "eui64", BYTES, NS_FIELD(eui64), 0, 0 },
	{ "uuid", BYTES, NS_FIELD(uuid), 0, 0 },
};

static const struct key ctrl_keys[] = {
	{ "id", NUMBER, 0, sizeof(uint16_t), 1, CNTLID_MAX },
};

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* ---- Values -------------------------------------------------------------------------------------------- */

/* Little-endian machines only, as all of this tree. */
static void store(uint8_t *field, size_t bytes, uint64_t value)
{
	memcpy(field, &value, bytes);
}

static uint64_t load(const uint8_t *field, size_t bytes)
{
	uint64_t value = 0;

	memcpy(&value, field, bytes);
	return value;
}

static int set_text(const struct key *key, uint8_t *field, const char *value, struct gw_diag *diag)
{
	for (const char *at = value; *at != '\0'; at++) {
		if (*at < ' ' || *at > '~')
			return gw_fail(diag, -EINVAL, "%s= is ASCII text without control characters",
				       key->name);
	}
	if (value[0] == '\0' || strlen(value) >= key->bytes)
		return gw_fail(diag, -EINVAL, "%s= has 1 to %zu characters, and not %zu", key->name,
			       key->bytes - 1, strlen(value));
	memset(field, 0, key->bytes);
	memcpy(field, value, strlen(value));
	return 0;
}

static int set_size(const struct key *key, uint8_t *field, const char *value, struct gw_diag *diag)
{
	char least[GW_UNIT_TEXT_BYTES], most[GW_UNIT_TEXT_BYTES];
	uint64_t bytes;

	if (gw_parse_bytes(value, &bytes) < 0)
		return gw_fail(diag, -EINVAL, "%s= is a size, such as 64MiB, and not '%s'", key->name,
			       value);
	if (bytes < key->min || bytes > key->max)
		return gw_fail(diag, -ERANGE, "%s= is %s to %s", key->name,
			       gw_format_bytes(least, key->min), gw_format_bytes(most, key->max));
	if (key->kind == POWER && ((bytes & (bytes - 1)) != 0 || bytes % GW_SSD_PAGE_BYTES != 0))
		return gw_fail(diag, -EINVAL, "%s= is a power of two, of whole pages, and not '%s'", key->name,
			       value);
	store(field, key->bytes, bytes);
	return 0;
}

static int set_number(const struct key *key, uint8_t *field, const char *value, struct gw_diag *diag)
{
	const bool is_hex = key->kind == HEXADECIMAL;
	const char *format = is_hex ? "%s= is a hexadecimal number from %llx to %llx, and not '%s'" :
				      "%s= is a number from %llu to %llu, and not '%s'";
	unsigned long long number;
	char *end;

	errno = 0;
	number = strtoull(value, &end, is_hex ? 16 : 10);
	if (value[0] < '0' || (value[0] > '9' && !is_hex) || *end != '\0' || errno != 0 ||
	    number < key->min || number > key->max) {
		char text[160];

		snprintf(text, sizeof(text), format, key->name, (unsigned long long)key->min,
			 (unsigned long long)key->max, value);
		return gw_fail(diag, -EINVAL, "%s", text);
	}
	store(field, key->bytes, number);
	return 0;
}

/* on and off; for a mask, its bits. */
static int set_switch(const struct key *key, uint8_t *field, const char *value, struct gw_diag *diag)
{
	const bool is_on = strcmp(value, "on") == 0;

	if (!is_on && strcmp(value, "off") != 0)
		return gw_fail(diag, -EINVAL, "%s= is on or off, and not '%s'", key->name, value);
	if (key->kind == SWITCH)
		*(bool *)(void *)field = is_on;
	else
		store(field, key->bytes,
		      is_on ? load(field, key->bytes) | key->min : load(field, key->bytes) & ~key->min);
	return 0;
}

static int set_block(const struct key *key, uint8_t *field, const char *value, struct gw_diag *diag)
{
	if (strcmp(value, "512") != 0 && strcmp(value, "4096") != 0)
		return gw_fail(diag, -EINVAL, "%s= is 512 or 4096, and not '%s'", key->name, value);
	*field = strcmp(value, "512") == 0 ? GW_NS_LBADS_MIN : GW_NS_LBADS_MAX;
	return 0;
}

static int set_version(const struct key *key, uint8_t *field, const char *value, struct gw_diag *diag)
{
	static const struct {
		const char *name;
		uint32_t value;
	} known[] = { { "1.3", 0x10300 }, { "1.4", 0x10400 }, { "2.0", 0x20000 }, { "2.1", 0x20100 } };

	for (size_t i = 0; i < COUNT(known); i++) {
		if (strcmp(value, known[i].name) != 0)
			continue;
		store(field, key->bytes, known[i].value);
		return 0;
	}
	return gw_fail(diag, -EINVAL, "%s= is 1.3, 1.4, 2.0 or 2.1, and not '%s'", key->name, value);
}

/* Digits, two a byte, dashes between them as in a UUID. */
static int set_bytes(const struct key *key, uint8_t *field, const char *value, struct gw_diag *diag)
{
	uint8_t parsed[16];
	size_t bytes = 0;
	int used = 0;

	while (*value != '\0' && bytes < key->bytes &&
	       sscanf(value, "%2hhx%n", &parsed[bytes], &used) == 1 && used == 2 && value[0] != ' ') {
		bytes++;
		value += 2;
		value += *value == '-';
	}
	if (bytes != key->bytes || *value != '\0')
		return gw_fail(diag, -EINVAL, "%s= has %zu hexadecimal digits", key->name,
			       2 * key->bytes);
	memcpy(field, parsed, bytes);
	return 0;
}

static int set_value(struct gw_ssd_config *config, const struct key *key, uint8_t *field,
		     const char *value, struct gw_diag *diag)
{
	switch (key->kind) {
	case PRESET:
		return set_preset(config, value, diag);
	case TEXT:
		return set_text(key, field, value, diag);
	case SIZE:
	case POWER:
		return set_size(key, field, value, diag);
	case NUMBER:
	case HEXADECIMAL:
		return set_number(key, field, value, diag);
	case SWITCH:
	case BIT:
		return set_switch(key, field, value, diag);
	case BLOCK:
		return set_block(key, field, value, diag);
	case VERSION:
		return set_version(key, field, value, diag);
	default:
		return set_bytes(key, field, value, diag);
	}
}

/* ---- Keys that are misspelt ------------------------------------------------------------------------------- */

/* Letters to change, put in or take out: of words that are short. */
static unsigned int distance(const char *a, const char *b)
{
	unsigned int row[KEY_BYTES_MAX + 1];
	const size_t length = strlen(b);

	if (strlen(a) > KEY_BYTES_MAX || length > KEY_BYTES_MAX)
		return KEY_BYTES_MAX;
	for (unsigned int j = 0; j <= length; j++)
		row[j] = j;
	for (unsigned int i = 1; a[i - 1] != '\0'; i++) {
		unsigned int diagonal = row[0];

		row[0] = i;
		for (size_t j = 1; j <= length; j++) {
			const unsigned int above = row[j];
			unsigned int best = diagonal + (a[i - 1] != b[j - 1]);

			best = above + 1 < best ? above + 1 : best;
			row[j] = row[j - 1] + 1 < best ? row[j - 1] + 1 : best;
			diagonal = above;
		}
	}
	return row[length];
}

static int fail_unknown(const struct key *table, size_t count, const char *name, struct gw_diag *diag)
{
	const char *nearest = NULL;
	unsigned int best = 3;

	for (size_t i = 0; i < count; i++) {
		const unsigned int here = distance(name, table[i].name);

		if (here < best) {
			best = here;
			nearest = table[i].name;
		}
	}
	if (nearest != NULL)
		return gw_fail(diag, -EINVAL, "there is no key '%s': is it %s?", name, nearest);
	return gw_fail(diag, -EINVAL, "there is no key '%s': godwit-ssd(8) has them", name);
}

static const struct key *find(const struct key *table, size_t count, const char *name)
{
	for (size_t i = 0; i < count; i++) {
		if (strcmp(table[i].name, name) == 0)
			return &table[i];
	}
	return NULL;
}

/* ---- The subsystem, and what is in it ---------------------------------------------------------------------- */

int gw_ssd_config_set(struct gw_ssd_config *config, const char *name, const char *value,
		      struct gw_diag *diag)
{
	const struct key *key = find(keys, COUNT(keys), name);
	int err;

	if (key == NULL)
		return fail_unknown(keys, COUNT(keys), name, diag);
	err = set_value(config, key, (uint8_t *)config + key->offset, value, diag);
	if (err < 0)
		return err;
	config->is_begun = true;
	if (strcmp(name, "unit") == 0)
		config->has_unit = true;
	if (key->kind == BLOCK && !config->has_unit)
		config->unit_blocks = config->lbads == GW_NS_LBADS_MAX ? 1 : 8;
	return 0;
}

static int set_ns_key(struct gw_ssd_config *config, uint32_t nsid, const char *name, const char *value,
		      struct gw_diag *diag)
{
	struct gw_ssd_ns_config *ns = &config->ns[nsid - 1];
	const struct key *key = find(ns_keys, COUNT(ns_keys), name);

	if (key == NULL)
		return fail_unknown(ns_keys, COUNT(ns_keys), name, diag);
	return set_value(config, key, (uint8_t *)ns + key->offset, value, diag);
}

static int set_ctrl_key(struct gw_ssd_config *config, uint32_t number, const char *name,
			const char *value, struct gw_diag *diag)
{
	const struct key *key = find(ctrl_keys, COUNT(ctrl_keys), name);
	int err;

	if (key == NULL)
		return fail_unknown(ctrl_keys, COUNT(ctrl_keys), name, diag);
	err = set_value(config, key, (uint8_t *)&config->cntlid[number - 1], value, diag);
	/* Lists of controllers are in their order (Base 4.6.1). */
	for (uint32_t i = 1; err == 0 && i < GW_SSD_CONTROLLERS_MAX; i++) {
		if (gw_ssd_config_cntlid(config, i) <= gw_ssd_config_cntlid(config, i - 1))
			return gw_fail(diag, -EINVAL, "identifiers go up: that of controller %u is to be "
						      "above %u", i + 1,
				       gw_ssd_config_cntlid(config, i - 1));
	}
	return err;
}

uint16_t gw_ssd_config_cntlid(const struct gw_ssd_config *config, uint32_t index)
{
	uint16_t cntlid = 0;

	for (uint32_t i = 0; i <= index; i++)
		cntlid = config->cntlid[i] != 0 ? config->cntlid[i] : (uint16_t)(cntlid + 1);
	return cntlid;
}

/* ---- A file -------------------------------------------------------------------------------------------------- */

enum section { SUBSYSTEM, CONTROLLER, NAMESPACE };

struct reader {
	struct gw_ssd_config *config;
	enum section section;
	uint32_t number;		/* of the controller or namespace */
};

static char *trim(char *text)
{
	char *end = text + strlen(text);

	while (end > text && strchr(" \t\r\n", end[-1]) != NULL)
		*--end = '\0';
	return text + strspn(text, " \t");
}

static int begin_section(struct reader *r, const char *text, struct gw_diag *diag)
{
	uint32_t number = 0;
	char end = '\0';
	int used = 0;

	if (strcmp(text, "[subsystem]") == 0) {
		r->section = SUBSYSTEM;
		return 0;
	}
	if (sscanf(text, "[controller %u%c%n", &number, &end, &used) == 2 && end == ']' &&
	    text[used] == '\0' && number >= 1 && number <= GW_SSD_CONTROLLERS_MAX) {
		r->section = CONTROLLER;
	} else if (sscanf(text, "[namespace %u%c%n", &number, &end, &used) == 2 && end == ']' &&
		   text[used] == '\0' && number >= 1 && number <= r->config->limits.namespaces) {
		r->section = NAMESPACE;
		r->config->ns[number - 1].is_there = true;
	} else {
		return gw_fail(diag, -EINVAL, "a section is [subsystem], [controller 1] to [controller %u] "
					      "or [namespace 1] to [namespace %u], and not %s",
			       GW_SSD_CONTROLLERS_MAX, r->config->limits.namespaces, text);
	}
	r->number = number;
	return 0;
}

static int read_line(struct reader *r, char *line, struct gw_diag *diag)
{
	char *text = trim(line), *value;

	if (*text == '\0' || *text == '#')
		return 0;
	if (*text == '[')
		return begin_section(r, text, diag);
	value = strchr(text, '=');
	if (value == NULL)
		return gw_fail(diag, -EINVAL, "'%s' is neither KEY = VALUE, nor a [section], nor a # comment",
			       text);
	*value++ = '\0';
	text = trim(text);
	value = trim(value);
	switch (r->section) {
	case CONTROLLER:
		return set_ctrl_key(r->config, r->number, text, value, diag);
	case NAMESPACE:
		return set_ns_key(r->config, r->number, text, value, diag);
	default:
		return gw_ssd_config_set(r->config, text, value, diag);
	}
}

int gw_ssd_config_read(struct gw_ssd_config *config, const char *path, struct gw_diag *diag)
{
	struct reader r = { .config = config };
	FILE *file = fopen(path, "re");
	char line[LINE_BYTES_MAX];
	unsigned int number = 0;
	int err = 0;

	if (file == NULL)
		return gw_fail_exit(diag, GW_EXIT_USAGE, -errno, "cannot read %s: %s", path,
				    strerror(errno));
	while (err == 0 && fgets(line, sizeof(line), file) != NULL) {
		struct gw_diag why = { 0 };

		number++;
		if (strlen(line) == sizeof(line) - 1)
			err = gw_fail(&why, -EINVAL, "a line has at most %zu characters",
				      sizeof(line) - 2);
		else
			err = read_line(&r, line, &why);
		if (err < 0)
			gw_fail_exit(diag, GW_EXIT_USAGE, err, "%s:%u: %s", path, number, why.text);
	}
	if (err == 0 && ferror(file) != 0)
		err = gw_fail_exit(diag, GW_EXIT_USAGE, -EIO, "cannot read %s", path);
	fclose(file);
	return err;
}

/* ---- Optional commands ------------------------------------------------------------------------------------------ */

static bool has_admin(const struct gw_ssd_config *config, uint8_t opcode)
{
	switch (opcode) {
	case GW_NVME_FORMAT:
		return (config->oacs & NVME_OACS_FORMAT) != 0;
	case GW_NVME_NAMESPACE_MANAGEMENT:
	case GW_NVME_NAMESPACE_ATTACHMENT:
		return (config->oacs & NVME_OACS_NAMESPACES) != 0;
	case GW_NVME_GET_LBA_STATUS:
		return (config->oacs & NVME_OACS_LBA_STATUS) != 0 || config->unit_blocks != 0;
	case GW_NVME_SANITIZE:
		return config->sanicap != 0;
	case GW_NVME_CONTROLLER_DATA_QUEUE:
		return (config->trattr & NVME_TRATTR_USER_DATA) != 0;
	case GW_NVME_TRACK_RECEIVE:
		return (config->trattr & NVME_TRATTR_MEMORY) != 0;
	case GW_NVME_TRACK_SEND:
		return (config->trattr & (NVME_TRATTR_MEMORY | NVME_TRATTR_USER_DATA)) != 0;
	default:
		return true;
	}
}

bool gw_ssd_config_has(const struct gw_ssd_config *config, bool is_admin, uint8_t opcode)
{
	if (is_admin)
		return has_admin(config, opcode);
	switch (opcode) {
	case GW_NVME_COMPARE:
		return (config->oncs & NVME_ONCS_COMPARE) != 0;
	case GW_NVME_WRITE_UNCORRECTABLE:
		return (config->oncs & NVME_ONCS_WRITE_UNCORRECTABLE) != 0;
	case GW_NVME_DATASET_MANAGEMENT:
		return (config->oncs & NVME_ONCS_DSM) != 0;
	case GW_NVME_WRITE_ZEROES:
		return (config->oncs & NVME_ONCS_WRITE_ZEROES) != 0;
	case GW_NVME_VERIFY:
		return (config->oncs & NVME_ONCS_VERIFY) != 0;
	case GW_NVME_COPY:
		return (config->oncs & NVME_ONCS_COPY) != 0;
	default:
		return true;
	}
}

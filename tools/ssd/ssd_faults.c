// SPDX-License-Identifier: GPL-2.0-or-later
#include "ssd_faults.h"

#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "clock.h"
#include "units.h"

#define PPM 1000000u
#define TIME_NS_MAX (24 * 3600 * GW_NS_PER_S)
/* Names of fields of a state; below that, fields are offsets. */
#define FIELD_NAMES 0x10000u

/* ---- Names --------------------------------------------------------------------------------------------- */

static const struct {
	const char *name;
	enum gw_fault_action action;
	bool has_value, may_lack;
} actions[] = {
	{ "error", GW_FAULT_ERROR, true, false },
	{ "delay", GW_FAULT_DELAY, true, false },
	{ "bandwidth", GW_FAULT_BANDWIDTH, true, false },
	{ "hang", GW_FAULT_HANG, false, true },
	{ "drop", GW_FAULT_DROP, false, true },
	{ "wrong", GW_FAULT_WRONG, true, false },
	{ "fatal", GW_FAULT_FATAL, false, true },
	{ "remove", GW_FAULT_REMOVE, false, true },
	{ "power-cut", GW_FAULT_POWER_CUT, true, true },
	{ "log-forget", GW_FAULT_LOG_FORGET, false, true },
	{ "log-invent", GW_FAULT_LOG_INVENT, true, false },
	{ "log-late", GW_FAULT_LOG_LATE, false, true },
	{ "log-overflow", GW_FAULT_LOG_OVERFLOW, false, true },
	{ "log-stop", GW_FAULT_LOG_STOP, false, true },
	{ "state", GW_FAULT_STATE, true, false },
};

static const char *const wrongs[] = { NULL, "cid", "sqid", "sqhd", "dw0", "phase", "twice" };

/* Where a field begins: in the container, its two parts, the first queue of each kind. */
enum base { CONTAINER, NVME, SQ, CQ, VENDOR };

/* One byte of each, such that all its bits turned make it wrong. */
static const struct {
	const char *name;
	enum base base;
	uint32_t offset;
} fields[] = {
	{ "version", CONTAINER, 0 },
	{ "nvme-size", CONTAINER, 16 },
	{ "vendor-size", CONTAINER, 32 },
	{ "queue-version", NVME, 0 },
	{ "queue-count", NVME, 2 },
	{ "sq-base", SQ, 0 },
	{ "sq-size", SQ, 9 },
	{ "sq-id", SQ, 11 },
	{ "sq-cqid", SQ, 13 },
	{ "sq-head", SQ, 17 },
	{ "sq-tail", SQ, 19 },
	{ "cq-base", CQ, 0 },
	{ "cq-size", CQ, 9 },
	{ "cq-id", CQ, 11 },
	{ "cq-head", CQ, 13 },
	{ "cq-tail", CQ, 15 },
	{ "cq-vector", CQ, 19 },
	{ "vendor-magic", VENDOR, 0 },
	{ "vendor-version", VENDOR, 4 },
	{ "vendor-records", VENDOR, 8 },
	{ "vendor-record-size", VENDOR, 20 },
};

#define COUNT(array) ((uint32_t)(sizeof(array) / sizeof((array)[0])))

/* ---- Parsing ------------------------------------------------------------------------------------------- */

static int parse_number(const char *key, const char *value, uint64_t *number, struct gw_diag *diag)
{
	unsigned long long got;
	char rest;

	if (sscanf(value, "%llu%c", &got, &rest) != 1 || value[0] == '-' || got == 0)
		return gw_fail(diag, -EINVAL, "%s= is a number above 0, and not '%s'", key, value);
	*number = got;
	return 0;
}

/* "5ms" or "5ms-20ms" */
static int parse_delay(const char *value, struct gw_fault_rule *rule, struct gw_diag *diag)
{
	char low[32];
	const char *dash = strchr(value, '-');
	const size_t length = dash != NULL ? (size_t)(dash - value) : strlen(value);

	if (length < sizeof(low)) {
		memcpy(low, value, length);
		low[length] = '\0';
		if (gw_parse_duration(low, &rule->low) == 0 &&
		    gw_parse_duration(dash != NULL ? dash + 1 : low, &rule->high) == 0 &&
		    rule->low <= rule->high && rule->high <= TIME_NS_MAX)
			return 0;
	}
	return gw_fail(diag, -EINVAL, "delay= is a time up to 24h, such as 5ms, or FROM-TO, and not '%s'",
		       value);
}

static int parse_blocks(const char *value, struct gw_fault_rule *rule, struct gw_diag *diag)
{
	unsigned long long first, last;
	char rest;

	if (sscanf(value, "%llu-%llu%c", &first, &last, &rest) != 2 || last < first ||
	    last - first > UINT32_MAX)
		return gw_fail(diag, -EINVAL, "log-invent= is FIRST-LAST, and not '%s'", value);
	rule->low = first;
	rule->high = last;
	return 0;
}

static int parse_wrong(const char *value, struct gw_fault_rule *rule, struct gw_diag *diag)
{
	for (uint32_t i = 1; i < COUNT(wrongs); i++) {
		if (strcmp(value, wrongs[i]) != 0)
			continue;
		rule->wrong = (enum gw_fault_wrong)i;
		return 0;
	}
	return gw_fail(diag, -EINVAL, "wrong= is cid, sqid, sqhd, dw0, phase or twice, and not '%s'", value);
}

static int parse_field(const char *value, struct gw_fault_rule *rule, struct gw_diag *diag)
{
	char rest;

	for (uint32_t i = 0; i < COUNT(fields); i++) {
		if (strcmp(value, fields[i].name) != 0)
			continue;
		rule->field = FIELD_NAMES + i;
		return 0;
	}
	if (sscanf(value, "%u%c", &rule->field, &rest) == 1 && value[0] != '-' && rule->field < FIELD_NAMES)
		return 0;
	return gw_fail(diag, -EINVAL, "state= is the offset of a byte or a field, such as version, sq-head or "
				      "vendor-magic, and not '%s'", value);
}

static int parse_value(struct gw_fault_rule *rule, const char *value, struct gw_diag *diag)
{
	switch (rule->action) {
	case GW_FAULT_ERROR:
		if (gw_words_parse_status(value, &rule->status) == 0 && rule->status != NVME_SC_SUCCESS)
			return 0;
		return gw_fail(diag, -EINVAL, "error= is a status, such as unrecovered-read-error or 281, "
					      "and not '%s'", value);
	case GW_FAULT_DELAY:
		return parse_delay(value, rule, diag);
	case GW_FAULT_BANDWIDTH:
		if (gw_parse_rate(value, &rule->low) == 0 && rule->low > 0)
			return 0;
		return gw_fail(diag, -EINVAL, "bandwidth= is a rate, such as 100MiB/s, and not '%s'", value);
	case GW_FAULT_WRONG:
		return parse_wrong(value, rule, diag);
	case GW_FAULT_POWER_CUT:
		return parse_number("power-cut", value, &rule->low, diag);
	case GW_FAULT_LOG_INVENT:
		return parse_blocks(value, rule, diag);
	default:
		return parse_field(value, rule, diag);
	}
}

static int parse_action(struct gw_fault_rule *rule, const char *word, struct gw_diag *diag)
{
	const char *value = strchr(word, '=');
	const size_t length = value != NULL ? (size_t)(value - word) : strlen(word);

	for (uint32_t i = 0; i < COUNT(actions); i++) {
		if (strlen(actions[i].name) != length || strncmp(actions[i].name, word, length) != 0)
			continue;
		rule->action = actions[i].action;
		if (value == NULL)
			return actions[i].may_lack ? 0 : gw_fail(diag, -EINVAL, "%s has a value", word);
		if (!actions[i].has_value)
			return gw_fail(diag, -EINVAL, "%s has no value", actions[i].name);
		return parse_value(rule, value + 1, diag);
	}
	return gw_fail(diag, -EINVAL, "there is no fault '%.*s': they are error=, delay=, bandwidth=, hang, "
				      "drop, wrong=, fatal, remove, power-cut, log-forget, log-invent=, "
				      "log-late, log-overflow, log-stop and state=", (int)length, word);
}

static int parse_chance(struct gw_fault_rule *rule, const char *value, struct gw_diag *diag)
{
	double percent;
	char sign, rest;
	const int got = sscanf(value, "%lf%c%c", &percent, &sign, &rest);

	if (got < 1 || got > 2 || (got == 2 && sign != '%') || !(percent > 0 && percent <= 100))
		return gw_fail(diag, -EINVAL, "chance= is above 0%% and at most 100%%, and not '%s'", value);
	rule->chance_ppm = (uint32_t)(percent * 10000);
	return 0;
}

static int parse_condition(struct gw_fault_rule *rule, char *word, struct gw_diag *diag)
{
	char *value = strchr(word, '=');
	uint64_t after_ns;
	int taken;

	if (value == NULL)
		return gw_fail(diag, -EINVAL, "'%s' is no condition: KEY=VALUE", word);
	*value++ = '\0';
	taken = gw_match_set(&rule->match, word, value, diag);
	if (taken != 0)
		return taken < 0 ? taken : 0;
	if (strcmp(word, "nth") == 0)
		return parse_number(word, value, &rule->nth, diag);
	if (strcmp(word, "every") == 0)
		return parse_number(word, value, &rule->every, diag);
	if (strcmp(word, "times") == 0)
		return parse_number(word, value, &rule->times, diag);
	if (strcmp(word, "chance") == 0)
		return parse_chance(rule, value, diag);
	if (strcmp(word, "after") != 0)
		return gw_fail(diag, -EINVAL, "there is no condition '%s=': they are queue=, command=, nsid=, "
					      "lba=, nth=, every=, times=, chance= and after=", word);
	if (gw_parse_duration(value, &after_ns) < 0 || after_ns > TIME_NS_MAX)
		return gw_fail(diag, -EINVAL, "after= is a time up to 24h, such as 2s, and not '%s'", value);
	rule->after_ns = gw_now_ns(&gw_clock_monotonic) + after_ns;
	return 0;
}

static int install(struct gw_faults *faults, struct gw_fault_rule *rule, struct gw_diag *diag)
{
	int id = -ENOSPC;

	pthread_mutex_lock(&faults->lock);
	for (uint32_t i = 0; id < 0 && i < GW_FAULT_RULES_MAX; i++) {
		if (faults->rule[i].id != 0)
			continue;
		rule->id = ++faults->next_id;
		faults->rule[i] = *rule;
		atomic_fetch_add(&faults->count, 1);
		id = (int)rule->id;
	}
	pthread_mutex_unlock(&faults->lock);
	return id >= 0 ? id : gw_fail(diag, id, "a controller has at most %u faults: clear some",
				      GW_FAULT_RULES_MAX);
}

int gw_faults_add(struct gw_faults *faults, char *const *word, uint32_t words, struct gw_diag *diag)
{
	struct gw_fault_rule rule = { .chance_ppm = PPM };
	int err;

	for (uint32_t i = 0; i < words; i++) {
		const size_t used = strlen(rule.text);

		snprintf(rule.text + used, sizeof(rule.text) - used, "%s%s", i > 0 ? " " : "", word[i]);
	}
	err = parse_action(&rule, word[0], diag);
	for (uint32_t i = 1; err == 0 && i < words; i++)
		err = parse_condition(&rule, word[i], diag);
	if (rule.nth != 0)
		rule.times = 1;
	return err < 0 ? err : install(faults, &rule, diag);
}

/* ---- Rules --------------------------------------------------------------------------------------------- */

void gw_faults_init(struct gw_faults *faults)
{
	memset(faults, 0, sizeof(*faults));
	pthread_mutex_init(&faults->lock, NULL);
	faults->random = UINT64_C(0x9e3779b97f4a7c15);	/* the same from run to run */
}

void gw_faults_fini(struct gw_faults *faults)
{
	pthread_mutex_destroy(&faults->lock);
}

uint32_t gw_faults_clear(struct gw_faults *faults, uint32_t id)
{
	uint32_t cleared = 0;

	pthread_mutex_lock(&faults->lock);
	for (uint32_t i = 0; i < GW_FAULT_RULES_MAX; i++) {
		if (faults->rule[i].id == 0 || (id != 0 && faults->rule[i].id != id))
			continue;
		faults->rule[i].id = 0;
		cleared++;
	}
	atomic_fetch_sub(&faults->count, cleared);
	pthread_mutex_unlock(&faults->lock);
	return cleared;
}

bool gw_faults_has(struct gw_faults *faults, uint32_t id)
{
	bool has = false;

	pthread_mutex_lock(&faults->lock);
	for (uint32_t i = 0; i < GW_FAULT_RULES_MAX; i++)
		has |= faults->rule[i].id == id;
	pthread_mutex_unlock(&faults->lock);
	return has;
}

static uint64_t next_random(struct gw_faults *faults)
{
	faults->random ^= faults->random << 13;
	faults->random ^= faults->random >> 7;
	faults->random ^= faults->random << 17;
	return faults->random;
}

/* It fits; whether it is its turn. */
static bool fires(struct gw_faults *faults, struct gw_fault_rule *rule)
{
	if (rule->after_ns != 0 && gw_now_ns(&gw_clock_monotonic) < rule->after_ns)
		return false;
	rule->seen++;
	if ((rule->times != 0 && rule->hits >= rule->times) || (rule->nth != 0 && rule->seen != rule->nth) ||
	    (rule->every != 0 && rule->seen % rule->every != 0) ||
	    (rule->chance_ppm < PPM && next_random(faults) % PPM >= rule->chance_ppm))
		return false;
	rule->hits++;
	return true;
}

static void plan_one(struct gw_faults *faults, const struct gw_fault_rule *rule, struct gw_fault_plan *plan)
{
	switch (rule->action) {
	case GW_FAULT_ERROR:
		plan->has_status = true;
		plan->status = rule->status;
		break;
	case GW_FAULT_DELAY:
		plan->delay_ns += rule->low + next_random(faults) % (rule->high - rule->low + 1);
		break;
	case GW_FAULT_BANDWIDTH:
		plan->rate = plan->rate == 0 || rule->low < plan->rate ? rule->low : plan->rate;
		break;
	case GW_FAULT_HANG:
		plan->is_hanging = true;
		plan->hanging_id = rule->id;
		break;
	case GW_FAULT_DROP:
		plan->is_dropped = true;
		break;
	case GW_FAULT_WRONG:
		plan->wrong = rule->wrong;
		break;
	case GW_FAULT_FATAL:
		plan->is_fatal = true;
		break;
	case GW_FAULT_REMOVE:
		plan->is_removed = true;
		break;
	default:
		plan->is_cut = true;
		plan->seed = rule->low;
	}
}

void gw_faults_plan(struct gw_faults *faults, uint16_t sqid, const struct gw_nvme_sqe *sqe,
		    struct gw_fault_plan *plan)
{
	memset(plan, 0, sizeof(*plan));
	if (atomic_load_explicit(&faults->count, memory_order_relaxed) == 0)
		return;
	pthread_mutex_lock(&faults->lock);
	for (uint32_t i = 0; i < GW_FAULT_RULES_MAX; i++) {
		struct gw_fault_rule *rule = &faults->rule[i];

		if (rule->id != 0 && rule->action <= GW_FAULT_POWER_CUT &&
		    gw_match_command(&rule->match, sqid, sqe) && fires(faults, rule))
			plan_one(faults, rule, plan);
	}
	pthread_mutex_unlock(&faults->lock);
}

bool gw_faults_log(struct gw_faults *faults, uint32_t nsid, uint64_t slba, uint64_t blocks,
		   enum gw_fault_action *action, uint64_t *first, uint64_t *count)
{
	bool is_any = false;

	if (atomic_load_explicit(&faults->count, memory_order_relaxed) == 0)
		return false;
	pthread_mutex_lock(&faults->lock);
	for (uint32_t i = 0; !is_any && i < GW_FAULT_RULES_MAX; i++) {
		struct gw_fault_rule *rule = &faults->rule[i];
		bool is_stopped;

		if (rule->id == 0 || rule->action < GW_FAULT_LOG_FORGET || rule->action > GW_FAULT_LOG_STOP)
			continue;
		is_stopped = rule->action == GW_FAULT_LOG_STOP && rule->hits > 0;
		is_any = is_stopped ||
			 (gw_match_blocks(&rule->match, nsid, slba, blocks) && fires(faults, rule));
		*action = rule->action;
		*first = rule->low;
		*count = rule->high - rule->low + 1;
	}
	pthread_mutex_unlock(&faults->lock);
	return is_any;
}

/* ---- A broken state ------------------------------------------------------------------------------------ */

/* Return: UINT32_MAX: this state has no such part. */
static uint32_t offset_of(uint32_t field, const uint8_t *state)
{
	const struct nvme_controller_state *head = (const void *)state;
	const struct nvme_queue_state *queues = (const void *)(state + sizeof(*head));
	const uint32_t nvme = (uint32_t)head->nvme_dwords[0] * 4;
	uint32_t base = 0;

	if (field < FIELD_NAMES)
		return field;
	field -= FIELD_NAMES;
	if (fields[field].base == VENDOR)
		base = head->vendor_dwords[0] == 0 ? UINT32_MAX : (uint32_t)sizeof(*head) + nvme;
	else if (fields[field].base != CONTAINER)
		base = nvme == 0 ? UINT32_MAX : (uint32_t)sizeof(*head);
	if (base == UINT32_MAX || (fields[field].base == SQ && queues->nsq == 0) ||
	    (fields[field].base == CQ && queues->ncq == 0))
		return UINT32_MAX;
	if (fields[field].base == SQ || fields[field].base == CQ)
		base += (uint32_t)sizeof(*queues);
	if (fields[field].base == CQ)
		base += queues->nsq * (uint32_t)sizeof(struct nvme_sq_state);
	return base + fields[field].offset;
}

void gw_faults_state(struct gw_faults *faults, uint8_t *state, uint32_t bytes)
{
	if (atomic_load_explicit(&faults->count, memory_order_relaxed) == 0)
		return;
	pthread_mutex_lock(&faults->lock);
	for (uint32_t i = 0; i < GW_FAULT_RULES_MAX; i++) {
		struct gw_fault_rule *rule = &faults->rule[i];
		uint32_t offset;

		if (rule->id == 0 || rule->action != GW_FAULT_STATE)
			continue;
		offset = offset_of(rule->field, state);
		if (offset < bytes && fires(faults, rule))
			state[offset] ^= 0xff;
	}
	pthread_mutex_unlock(&faults->lock);
}

// SPDX-License-Identifier: GPL-2.0-or-later
#include "ssd_observe.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct gw_ctrl *gw_ssd_set_find(const struct gw_ssd_set *set, const char *name, struct gw_diag *diag)
{
	unsigned int subsystem = 0, cntlid = 0;
	struct gw_ctrl *c = NULL;
	char rest;

	if (sscanf(name, "%u/%u%c", &subsystem, &cntlid, &rest) == 2 && subsystem >= 1 &&
	    subsystem <= set->subsystems && cntlid <= UINT16_MAX)
		c = gw_subsys_controller(set->subsys[subsystem - 1], (uint16_t)cntlid);
	if (c == NULL)
		gw_fail(diag, -EINVAL, "there is no controller %s: 1/2 is controller 2 of the first "
				       "subsystem; status has them", name);
	return c;
}

/* ---- Status --------------------------------------------------------------------------------------------- */

static void add(struct json_object *o, const char *key, uint64_t value)
{
	json_object_object_add(o, key, json_object_new_uint64(value));
}

static const char *state_of(const struct gw_ctrl *c)
{
	if (atomic_load(&c->is_removed))
		return "removed";
	if ((c->csts & NVME_CSTS_CFS) != 0)
		return "failed";
	if (c->is_suspended)
		return "suspended";
	if ((c->csts & NVME_CSTS_SHST_MASK) != 0)
		return "shut down";
	return (c->csts & NVME_CSTS_RDY) != 0 ? "ready" : "disabled";
}

static struct json_object *describe_queues(const struct gw_ctrl *c)
{
	struct json_object *list = json_object_new_array();

	for (uint32_t i = 0; i <= GW_SSD_QUEUES_MAX; i++) {
		const struct gw_sq *sq = &c->sq[i];
		const struct gw_cq *cq = &c->cq[i];
		struct json_object *o;

		if (!sq->is_live && !cq->is_live)
			continue;
		o = json_object_new_object();
		add(o, "qid", i);
		if (sq->is_live) {
			add(o, "sq_entries", sq->size);
			add(o, "sq_head", sq->head);
			add(o, "sq_tail", sq->tail);
			add(o, "cqid", sq->cqid);
		}
		if (cq->is_live) {
			add(o, "cq_entries", cq->size);
			add(o, "cq_head", cq->head);
			add(o, "cq_tail", cq->tail);
			add(o, "vector", cq->vector);
		}
		json_object_array_add(list, o);
	}
	return list;
}

static struct json_object *describe_latency(const struct gw_trace *trace)
{
	struct json_object *list = json_object_new_array();

	for (uint32_t i = 0; i < GW_WORDS_COMMANDS_MAX; i++) {
		const struct gw_trace_kind *kind = &trace->kind[i];
		struct json_object *o;

		if (kind->count == 0)
			continue;
		o = json_object_new_object();
		json_object_object_add(o, "command", json_object_new_string(gw_words_name(i)));
		add(o, "count", kind->count);
		add(o, "errors", kind->errors);
		add(o, "mean_ns", kind->total_ns / kind->count);
		add(o, "p50_ns", gw_hist_quantile_ns(&kind->hist, GW_PPM / 2));
		add(o, "p99_ns", gw_hist_quantile_ns(&kind->hist, GW_PPM / 100 * 99));
		add(o, "longest_ns", kind->longest_ns);
		json_object_array_add(list, o);
	}
	return list;
}

static struct json_object *describe_controller(struct gw_ctrl *c)
{
	struct json_object *o = json_object_new_object();
	uint32_t queues = 0;

	pthread_mutex_lock(&c->lock);
	for (uint32_t i = 1; i <= GW_SSD_QUEUES_MAX; i++)
		queues += c->sq[i].is_live;
	add(o, "cntlid", c->cntlid);
	json_object_object_add(o, "manages_migrations", json_object_new_boolean(c->is_manager));
	json_object_object_add(o, "state", json_object_new_string(state_of(c)));
	add(o, "io_queues", queues);
	add(o, "commands", c->counters.commands);
	add(o, "read_commands", c->counters.read_commands);
	add(o, "write_commands", c->counters.write_commands);
	add(o, "read_bytes", c->counters.bytes_read);
	add(o, "written_bytes", c->counters.bytes_written);
	add(o, "errors", c->counters.errors);
	add(o, "event_requests", c->aers);
	add(o, "events", c->events);
	json_object_object_add(o, "queues", describe_queues(c));
	json_object_object_add(o, "latency", describe_latency(&c->trace));
	pthread_mutex_unlock(&c->lock);
	return o;
}

static struct json_object *describe_namespace(struct gw_ns *ns)
{
	struct json_object *o = json_object_new_object();

	pthread_mutex_lock(&ns->lock);
	add(o, "nsid", ns->nsid);
	add(o, "size_bytes", ns->bytes);
	add(o, "block_bytes", UINT64_C(1) << ns->lbads);
	add(o, "written_blocks", ns->written_count);
	add(o, "uncorrectable_blocks", ns->bad_count);
	add(o, "cached_pages", ns->cache.used);
	pthread_mutex_unlock(&ns->lock);
	return o;
}

static struct json_object *describe_logs(struct gw_subsys *ss)
{
	struct json_object *list = json_object_new_array();

	pthread_mutex_lock(&ss->lm_lock);
	for (uint32_t i = 0; i < GW_SSD_CDQS_MAX; i++) {
		const struct gw_cdq *q = &ss->cdq[i];
		struct json_object *o;

		if (!q->is_live)
			continue;
		o = json_object_new_object();
		add(o, "cdqid", q->id);
		add(o, "cntlid", q->logged->cntlid);
		json_object_object_add(o, "logging", json_object_new_boolean(q->is_logging));
		add(o, "slots", q->slots);
		add(o, "head", q->head);
		add(o, "tail", q->tail);
		add(o, "posted", q->posted);
		add(o, "lost", q->lost);
		json_object_array_add(list, o);
	}
	pthread_mutex_unlock(&ss->lm_lock);
	return list;
}

struct json_object *gw_observe_subsystem(struct gw_subsys *ss)
{
	struct json_object *o = json_object_new_object(), *controllers = json_object_new_array();
	struct json_object *namespaces = json_object_new_array();

	json_object_object_add(o, "nqn", json_object_new_string(ss->config.nqn));
	for (uint32_t i = 0; i < ss->ctrls; i++)
		json_object_array_add(controllers, describe_controller(ss->ctrl[i]));
	json_object_object_add(o, "controllers", controllers);
	pthread_rwlock_rdlock(&ss->ns_lock);
	for (uint32_t i = 0; i < GW_SSD_NAMESPACES_MAX; i++) {
		if (ss->ns[i] != NULL)
			json_object_array_add(namespaces, describe_namespace(ss->ns[i]));
	}
	pthread_rwlock_unlock(&ss->ns_lock);
	json_object_object_add(o, "namespaces", namespaces);
	json_object_object_add(o, "change_logs", describe_logs(ss));
	pthread_mutex_lock(&ss->record.lock);
	add(o, "changes", ss->record.count);
	pthread_mutex_unlock(&ss->record.lock);
	return o;
}

/* ---- What is asked for -------------------------------------------------------------------------------- */

struct query {
	struct gw_match match;
	uint64_t last, since;		/* at most so many; after that one */
	bool is_json, has_status, is_any_error;
	uint16_t status;
	const struct gw_ctrl *ctrl;	/* NULL: all */
};

static int set_number(uint64_t *to, const char *key, const char *value, struct gw_diag *diag)
{
	unsigned long long number;
	char rest;

	if (sscanf(value, "%llu%c", &number, &rest) != 1 || value[0] == '-')
		return gw_fail(diag, -EINVAL, "%s= is a number, and not '%s'", key, value);
	*to = number;
	return 0;
}

static int set_status(struct query *q, const char *value, struct gw_diag *diag)
{
	q->has_status = true;
	q->is_any_error = strcmp(value, "error") == 0;
	if (!q->is_any_error && gw_words_parse_status(value, &q->status) < 0)
		return gw_fail(diag, -EINVAL, "status= is error, the name of a status or its number in "
					      "hexadecimal, and not '%s'", value);
	return 0;
}

static int parse_key(const struct gw_ssd_set *set, struct query *q, const char *key, const char *value,
		     struct gw_diag *diag)
{
	const int taken = gw_match_set(&q->match, key, value, diag);

	if (taken != 0)
		return taken < 0 ? taken : 0;
	if (strcmp(key, "last") == 0)
		return set_number(&q->last, key, value, diag);
	if (strcmp(key, "since") == 0)
		return set_number(&q->since, key, value, diag);
	if (strcmp(key, "status") == 0)
		return set_status(q, value, diag);
	if (strcmp(key, "controller") != 0)
		return gw_fail(diag, -EINVAL, "there is no filter '%s='", key);
	q->ctrl = gw_ssd_set_find(set, value, diag);
	return q->ctrl == NULL ? -EINVAL : 0;
}

static int parse(const struct gw_ssd_set *set, struct query *q, char *const *word, uint32_t words,
		 struct gw_diag *diag)
{
	int err = 0;

	for (uint32_t i = 0; err == 0 && i < words; i++) {
		char *value = strchr(word[i], '=');

		if (value != NULL) {
			*value++ = '\0';
			err = parse_key(set, q, word[i], value, diag);
		} else if (strcmp(word[i], "json") == 0) {
			q->is_json = true;
		} else if (strcmp(word[i], "text") != 0) {
			err = gw_fail(diag, -EINVAL, "'%s' is neither text, nor json, nor a filter", word[i]);
		}
	}
	return err;
}

/* ---- Commands ------------------------------------------------------------------------------------------ */

struct found {
	struct gw_trace_entry *entry;
	size_t count, room;
};

static bool is_wanted(const struct query *q, const struct gw_trace_entry *e)
{
	if (e->sequence <= q->since || !gw_match_command(&q->match, e->sqid, &e->sqe))
		return false;
	if (!q->has_status)
		return true;
	return q->is_any_error ? e->status != NVME_SC_SUCCESS : e->status == q->status;
}

static int collect(struct gw_ctrl *c, const struct query *q, struct found *found)
{
	const size_t room = found->room + GW_TRACE_ENTRIES;
	struct gw_trace_entry *more = realloc(found->entry, room * sizeof(*more));

	if (more == NULL)
		return -ENOMEM;
	found->entry = more;
	found->room = room;
	pthread_mutex_lock(&c->lock);
	for (uint64_t i = 0; i < GW_TRACE_ENTRIES && i < c->trace.count; i++) {
		if (is_wanted(q, &c->trace.ring[i]))
			found->entry[found->count++] = c->trace.ring[i];
	}
	pthread_mutex_unlock(&c->lock);
	return 0;
}

static int by_sequence(const void *a, const void *b)
{
	const struct gw_trace_entry *x = a, *y = b;

	return x->sequence < y->sequence ? -1 : x->sequence > y->sequence;
}

int gw_observe_trace(const struct gw_ssd_set *set, char *const *word, uint32_t words, FILE *out,
		     struct gw_diag *diag)
{
	struct query q = { .last = UINT64_MAX };
	struct found found = { 0 };
	int err = parse(set, &q, word, words, diag);

	if (err < 0)
		return err;
	for (uint32_t i = 0; err == 0 && i < set->subsystems; i++) {
		for (uint32_t j = 0; err == 0 && j < set->subsys[i]->ctrls; j++) {
			struct gw_ctrl *c = set->subsys[i]->ctrl[j];

			if (q.ctrl == NULL || q.ctrl == c)
				err = collect(c, &q, &found);
		}
	}
	if (err == 0 && found.count > 0)
		qsort(found.entry, found.count, sizeof(*found.entry), by_sequence);
	for (size_t i = 0; err == 0 && i < found.count; i++) {
		if (found.count - i <= q.last)
			gw_trace_print(out, &found.entry[i], q.is_json);
	}
	free(found.entry);
	return err < 0 ? gw_fail(diag, err, "no memory for the trace") : 0;
}

/* ---- Changes ------------------------------------------------------------------------------------------- */

int gw_observe_changes(const struct gw_ssd_set *set, char *const *word, uint32_t words, FILE *out,
		       struct gw_diag *diag)
{
	struct query q = { .last = UINT64_MAX };
	struct gw_record *record;
	uint64_t number = 0, matches = 0, first;
	int err = set_number(&number, "SUBSYSTEM", word[0], diag);

	if (err == 0 && (number < 1 || number > set->subsystems))
		err = gw_fail(diag, -EINVAL, "there is no subsystem %s: they count from 1", word[0]);
	if (err == 0)
		err = parse(set, &q, word + 1, words - 1, diag);
	if (err < 0)
		return err;
	record = &set->subsys[number - 1]->record;
	pthread_mutex_lock(&record->lock);
	first = record->count > GW_RECORD_ENTRIES ? record->count - GW_RECORD_ENTRIES : 0;
	fprintf(out, "{\"schema_version\":1,\"first_kept\":%llu,\"latest\":%llu}\n",
		(unsigned long long)(record->count > 0 ? first + 1 : 0), (unsigned long long)record->count);
	first = q.since > first ? q.since : first;
	for (int round = 0; round < 2; round++) {		/* they are counted, and then printed */
		uint64_t at = 0;

		for (uint64_t i = first; i < record->count; i++) {
			const struct gw_change *c = &record->ring[i % GW_RECORD_ENTRIES];

			if (!gw_match_blocks(&q.match, c->nsid, c->slba, c->count) ||
			    (q.ctrl != NULL && q.ctrl->cntlid != c->cntlid))
				continue;
			if (round == 1 && matches - at <= q.last)
				gw_record_print(out, c);
			at++;
		}
		matches = at;
	}
	pthread_mutex_unlock(&record->lock);
	return 0;
}

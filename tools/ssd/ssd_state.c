// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The state of a controller as bytes (Base 5.1.16, figures 358 to 361): version 0 for the I/O
 * queues, and in the vendor specific half what version 0 does not hold. That half is a header and
 * records, each with a type, a length and a flag that says whether a reader may skip it; see
 * docs/godwit-ssd.md. All of it is verified before anything is changed.
 */
#include <stddef.h>
#include <string.h>

#include "clock.h"
#include "ssd.h"

/* 9d0a31c2-5b7e-4c41-9a53-6f6a77d1c8e4 */
const uint8_t gw_state_uuid[16] = {
	0x9d, 0x0a, 0x31, 0xc2, 0x5b, 0x7e, 0x4c, 0x41, 0x9a, 0x53, 0x6f, 0x6a, 0x77, 0xd1, 0xc8, 0xe4,
};

#define VENDOR_MAGIC 0x44535747u	/* "GWSD" */
#define VENDOR_VERSION 1u

struct vendor_header {
	uint32_t magic, version, records, reserved;
};

struct record {
	uint16_t type, flags;
	uint32_t bytes;			/* of what follows, padded to 4 */
};
#define RECORD_CRITICAL 1u		/* who does not know it must refuse the state */

enum record_type {
	RECORD_REGISTERS = 1,
	RECORD_ADMIN_QUEUE = 2,
	RECORD_FEATURES = 3,
	RECORD_EVENT_REQUESTS = 4,
	RECORD_EVENTS = 5,
};

struct state_registers {
	uint32_t cc, csts, aqa, reserved12;
	uint64_t asq, acq;
};

struct state_admin_queue {
	uint32_t sq_head, sq_tail, cq_head, cq_tail, phase, reserved20;
};

struct state_features {
	uint32_t arbitration, power, temperature, error_recovery, write_cache, coalescing;
	uint32_t write_atomicity, async_events, keep_alive, queues;
	uint64_t timestamp_ms;
	uint32_t timestamp_origin, vectors;
	uint32_t vector[GW_SSD_VECTORS];
	uint8_t host_id[16], host_behavior[512];
	uint32_t reserved716;
};
_Static_assert(sizeof(struct state_features) == 720, "no padding");

struct state_event_requests {
	uint32_t count;
	uint16_t cid[GW_SSD_AERS_MAX];
};

struct state_events {
	uint32_t count, masked, changed_namespaces, reserved12;
	struct gw_event event[GW_SSD_EVENTS_MAX];
};

/* ---- Out -------------------------------------------------------------------------------------------- */

struct writer {
	uint8_t *at;
	uint32_t bytes, records;
};

static void put(struct writer *w, const void *from, size_t bytes)
{
	memcpy(w->at + w->bytes, from, bytes);
	w->bytes += (uint32_t)bytes;
}

static void put_record(struct writer *w, uint16_t type, const void *from, size_t bytes)
{
	const struct record record = { type, RECORD_CRITICAL, (uint32_t)bytes };

	put(w, &record, sizeof(record));
	put(w, from, bytes);
	w->records++;
}

static bool slot0_tag(const struct gw_cq *cq)
{
	/* The tag of the next entry is slot 0's, unless that one is next itself. */
	return cq->tail > 0 ? cq->phase : !cq->phase;
}

/* Figures 359 to 361: only the I/O queues, ascending. */
static void put_queues(struct writer *w, const struct gw_ctrl *c)
{
	struct nvme_queue_state head = { 0 };

	for (uint32_t i = 1; i <= GW_SSD_QUEUES_MAX; i++) {
		head.nsq = (uint16_t)(head.nsq + c->sq[i].is_live);
		head.ncq = (uint16_t)(head.ncq + c->cq[i].is_live);
	}
	put(w, &head, sizeof(head));
	for (uint32_t i = 1; i <= GW_SSD_QUEUES_MAX; i++) {
		const struct gw_sq *sq = &c->sq[i];
		const struct nvme_sq_state state = {
			.prp1 = sq->base,
			.qsize = (uint16_t)(sq->size - 1),
			.qid = (uint16_t)i,
			.cqid = sq->cqid,
			.attributes = (uint16_t)(NVME_QUEUE_CONTIGUOUS | (uint32_t)sq->priority << 1),
			.head = (uint16_t)sq->head,
			.tail = (uint16_t)sq->tail,
		};

		if (sq->is_live)
			put(w, &state, sizeof(state));
	}
	for (uint32_t i = 1; i <= GW_SSD_QUEUES_MAX; i++) {
		const struct gw_cq *cq = &c->cq[i];
		const struct nvme_cq_state state = {
			.prp1 = cq->base,
			.qsize = (uint16_t)(cq->size - 1),
			.qid = (uint16_t)i,
			.head = (uint16_t)cq->head,
			.tail = (uint16_t)cq->tail,
			.attributes = NVME_QUEUE_CONTIGUOUS |
				      (cq->has_interrupts ? NVME_CQ_INTERRUPTS : 0) |
				      (slot0_tag(cq) ? NVME_CQ_STATE_SLOT0 : 0) |
				      (uint32_t)cq->vector << 16,
		};

		if (cq->is_live)
			put(w, &state, sizeof(state));
	}
}

/* A suspended controller's clock stands still in its state: twice the same bytes. */
static void put_features(struct writer *w, const struct gw_ctrl *c, bool is_suspended)
{
	const struct gw_features *f = &c->feature;
	const uint64_t now_ns = is_suspended ? c->suspended_ns : gw_now_ns(&gw_clock_monotonic);
	struct state_features state = {
		.arbitration = f->arbitration,
		.power = f->power,
		.temperature = f->temperature,
		.error_recovery = f->error_recovery,
		.write_cache = f->write_cache,
		.coalescing = f->coalescing,
		.write_atomicity = f->write_atomicity,
		.async_events = f->async_events,
		.keep_alive = f->keep_alive,
		.queues = f->queues,
		.timestamp_ms = f->timestamp_ms,
		.timestamp_origin = f->timestamp_origin,
		.vectors = GW_SSD_VECTORS,
	};

	if (now_ns > f->timestamp_at_ns)
		state.timestamp_ms += (now_ns - f->timestamp_at_ns) / GW_NS_PER_MS;
	memcpy(state.vector, f->vector, sizeof(state.vector));
	memcpy(state.host_id, f->host_id, sizeof(state.host_id));
	memcpy(state.host_behavior, f->host_behavior, sizeof(state.host_behavior));
	put_record(w, RECORD_FEATURES, &state, sizeof(state));
}

static void put_events(struct writer *w, const struct gw_ctrl *c)
{
	struct state_event_requests requests = { .count = c->aers };
	struct state_events events = {
		.count = c->events,
		.masked = c->masked_events,
		.changed_namespaces = c->changed_namespaces,
	};

	memcpy(requests.cid, c->aer, c->aers * sizeof(c->aer[0]));
	memcpy(events.event, c->event, c->events * sizeof(c->event[0]));
	put_record(w, RECORD_EVENT_REQUESTS, &requests, sizeof(requests));
	put_record(w, RECORD_EVENTS, &events, sizeof(events));
}

static void put_vendor(struct writer *w, const struct gw_ctrl *c, bool is_suspended)
{
	const struct state_registers registers = {
		.cc = c->cc, .csts = c->csts, .aqa = c->aqa, .asq = c->asq, .acq = c->acq,
	};
	const struct state_admin_queue admin = {
		.sq_head = c->sq[0].head,
		.sq_tail = c->sq[0].tail,
		.cq_head = c->cq[0].head,
		.cq_tail = c->cq[0].tail,
		.phase = c->cq[0].phase,
	};
	struct vendor_header *header = (void *)(w->at + w->bytes);
	const struct vendor_header empty = { VENDOR_MAGIC, VENDOR_VERSION, 0, 0 };

	put(w, &empty, sizeof(empty));
	put_record(w, RECORD_REGISTERS, &registers, sizeof(registers));
	if (c->sq[0].is_live)
		put_record(w, RECORD_ADMIN_QUEUE, &admin, sizeof(admin));
	put_features(w, c, is_suspended);
	put_events(w, c);
	header->records = w->records;
}

uint32_t gw_state_get(struct gw_ctrl *c, bool with_nvme, bool with_vendor, bool is_suspended,
		      uint8_t *out)
{
	struct nvme_controller_state head = { .attributes = is_suspended ? NVME_STATE_SUSPENDED : 0 };
	struct writer w = { out, sizeof(head), 0 };
	uint32_t nvme_end;

	if (with_nvme)
		put_queues(&w, c);
	nvme_end = w.bytes;
	if (with_vendor)
		put_vendor(&w, c, is_suspended);
	head.nvme_dwords[0] = (nvme_end - sizeof(head)) / 4;
	head.vendor_dwords[0] = (w.bytes - nvme_end) / 4;
	memcpy(out, &head, sizeof(head));
	return w.bytes;
}

/* ---- In: all of it into this, checked; then from there into the controller --------------------------- */

struct loaded {
	struct gw_sq sq[GW_SSD_QUEUES_MAX + 1];
	struct gw_cq cq[GW_SSD_QUEUES_MAX + 1];
	struct state_registers registers;
	struct state_admin_queue admin;
	struct state_features features;
	struct state_event_requests requests;
	struct state_events events;
	uint32_t seen;			/* a bit for each type of record */
};

static bool has(const struct loaded *in, enum record_type type)
{
	return (in->seen >> type & 1) != 0;
}

static bool load_cq(struct loaded *in, const struct nvme_cq_state *s, uint32_t after)
{
	const bool tag0 = (s->attributes & NVME_CQ_STATE_SLOT0) != 0;

	if (s->qid <= after || s->qid > GW_SSD_QUEUES_MAX || s->qsize == 0 || s->qsize > GW_SSD_MQES ||
	    s->head > s->qsize || s->tail > s->qsize ||
	    (s->attributes & NVME_QUEUE_CONTIGUOUS) == 0 || s->attributes >> 16 >= GW_SSD_VECTORS ||
	    s->prp1 % GW_SSD_PAGE_BYTES != 0)
		return false;
	in->cq[s->qid] = (struct gw_cq){
		.is_live = true,
		.has_interrupts = (s->attributes & NVME_CQ_INTERRUPTS) != 0,
		.vector = (uint16_t)(s->attributes >> 16),
		.phase = s->tail > 0 ? tag0 : !tag0,
		.size = s->qsize + 1u,
		.head = s->head,
		.tail = s->tail,
		.base = s->prp1,
	};
	return true;
}

static bool load_sq(struct loaded *in, const struct nvme_sq_state *s, uint32_t after)
{
	if (s->qid <= after || s->qid > GW_SSD_QUEUES_MAX || s->qsize == 0 || s->qsize > GW_SSD_MQES ||
	    s->head > s->qsize || s->tail > s->qsize ||
	    (s->attributes & NVME_QUEUE_CONTIGUOUS) == 0 || s->prp1 % GW_SSD_PAGE_BYTES != 0 ||
	    s->cqid == 0 || s->cqid > GW_SSD_QUEUES_MAX || !in->cq[s->cqid].is_live)
		return false;
	in->sq[s->qid] = (struct gw_sq){
		.is_live = true,
		.cqid = s->cqid,
		.priority = s->attributes >> 1 & 3,
		.size = s->qsize + 1u,
		.head = s->head,
		.tail = s->tail,
		.base = s->prp1,
	};
	in->cq[s->cqid].sqs++;
	return true;
}

static bool load_queues(struct loaded *in, const uint8_t *data, uint64_t bytes)
{
	struct nvme_queue_state head;
	const uint8_t *sqs = data + sizeof(head), *cqs;
	uint32_t after = 0;

	if (bytes < sizeof(head))
		return false;
	memcpy(&head, data, sizeof(head));
	if (head.version != 0 ||
	    bytes != sizeof(head) + (head.nsq + (uint64_t)head.ncq) * sizeof(struct nvme_sq_state))
		return false;
	cqs = sqs + head.nsq * sizeof(struct nvme_sq_state);
	/* Completion queues first: submission queues name them. */
	for (uint32_t i = 0; i < head.ncq; i++) {
		struct nvme_cq_state s;

		memcpy(&s, cqs + i * sizeof(s), sizeof(s));
		if (!load_cq(in, &s, after))
			return false;
		after = s.qid;
	}
	after = 0;
	for (uint32_t i = 0; i < head.nsq; i++) {
		struct nvme_sq_state s;

		memcpy(&s, sqs + i * sizeof(s), sizeof(s));
		if (!load_sq(in, &s, after))
			return false;
		after = s.qid;
	}
	return true;
}

static bool load_record(struct loaded *in, const struct record *record, const uint8_t *data)
{
	static const struct {
		uint32_t bytes;
		size_t where;
	} known[] = {
		[RECORD_REGISTERS] = { sizeof(struct state_registers), offsetof(struct loaded, registers) },
		[RECORD_ADMIN_QUEUE] = { sizeof(struct state_admin_queue), offsetof(struct loaded, admin) },
		[RECORD_FEATURES] = { sizeof(struct state_features), offsetof(struct loaded, features) },
		[RECORD_EVENT_REQUESTS] = { sizeof(struct state_event_requests),
					    offsetof(struct loaded, requests) },
		[RECORD_EVENTS] = { sizeof(struct state_events), offsetof(struct loaded, events) },
	};

	if (record->type == 0 || record->type >= sizeof(known) / sizeof(known[0]))
		return (record->flags & RECORD_CRITICAL) == 0;
	if (record->bytes != known[record->type].bytes || has(in, (enum record_type)record->type))
		return false;
	memcpy((uint8_t *)in + known[record->type].where, data, record->bytes);
	in->seen |= 1u << record->type;
	return true;
}

static bool load_records(struct loaded *in, const uint8_t *data, uint64_t bytes)
{
	struct vendor_header head;
	uint64_t at = sizeof(head);

	if (bytes < sizeof(head))
		return false;
	memcpy(&head, data, sizeof(head));
	if (head.magic != VENDOR_MAGIC || head.version != VENDOR_VERSION)
		return false;
	for (uint32_t i = 0; i < head.records; i++) {
		struct record record;

		if (bytes - at < sizeof(record))
			return false;
		memcpy(&record, data + at, sizeof(record));
		at += sizeof(record);
		if (record.bytes % 4 != 0 || record.bytes > bytes - at ||
		    !load_record(in, &record, data + at))
			return false;
		at += record.bytes;
	}
	return at == bytes;
}

static bool check_admin(const struct loaded *in)
{
	const struct state_registers *r = &in->registers;
	const struct state_admin_queue *a = &in->admin;
	const uint32_t sq_last = r->aqa & 0xfff, cq_last = r->aqa >> 16 & 0xfff;

	if (!has(in, RECORD_REGISTERS) || !has(in, RECORD_FEATURES))
		return false;
	if ((r->csts & ~(NVME_CSTS_RDY | NVME_CSTS_CFS | NVME_CSTS_SHST_MASK)) != 0 ||
	    (r->aqa & 0xf000f000) != 0 || (r->asq | r->acq) % GW_SSD_PAGE_BYTES != 0 ||
	    ((r->csts & NVME_CSTS_RDY) != 0) != has(in, RECORD_ADMIN_QUEUE))
		return false;
	if ((r->csts & NVME_CSTS_RDY) == 0)
		return true;
	return (r->cc & NVME_CC_EN) != 0 && NVME_CC_MPS(r->cc) == 0 && NVME_CC_CSS(r->cc) == 0 &&
	       sq_last > 0 && cq_last > 0 && a->sq_head <= sq_last && a->sq_tail <= sq_last &&
	       a->cq_head <= cq_last && a->cq_tail <= cq_last && a->phase <= 1;
}

static bool check_vendor(const struct loaded *in)
{
	if (!check_admin(in))
		return false;
	if (in->features.vectors != GW_SSD_VECTORS || in->features.queues >= GW_SSD_QUEUES_MAX ||
	    in->features.timestamp_origin > 1)
		return false;
	return in->requests.count <= GW_SSD_AERS_MAX && in->events.count <= GW_SSD_EVENTS_MAX &&
	       in->events.masked <= UINT8_MAX;
}

static void apply_features(struct gw_ctrl *c, const struct state_features *s)
{
	struct gw_features *f = &c->feature;

	f->arbitration = s->arbitration;
	f->power = s->power;
	f->temperature = s->temperature;
	f->error_recovery = s->error_recovery;
	f->write_cache = s->write_cache;
	f->coalescing = s->coalescing;
	f->write_atomicity = s->write_atomicity;
	f->async_events = s->async_events;
	f->keep_alive = s->keep_alive;
	f->queues = (uint16_t)s->queues;
	f->timestamp_ms = s->timestamp_ms;
	/* While it is suspended its clock stands: it goes on from here when the state is read again. */
	f->timestamp_at_ns = c->is_suspended ? c->suspended_ns : gw_now_ns(&gw_clock_monotonic);
	f->timestamp_origin = (uint8_t)s->timestamp_origin;
	memcpy(f->vector, s->vector, sizeof(f->vector));
	memcpy(f->host_id, s->host_id, sizeof(f->host_id));
	memcpy(f->host_behavior, s->host_behavior, sizeof(f->host_behavior));
}

static void apply_vendor(struct gw_ctrl *c, const struct loaded *in)
{
	c->cc = in->registers.cc;
	c->csts = in->registers.csts;
	c->aqa = in->registers.aqa;
	c->asq = in->registers.asq;
	c->acq = in->registers.acq;
	memset(&c->sq[0], 0, sizeof(c->sq[0]));
	memset(&c->cq[0], 0, sizeof(c->cq[0]));
	if (has(in, RECORD_ADMIN_QUEUE)) {
		gw_queue_open_admin(c);
		c->sq[0].head = in->admin.sq_head;
		c->sq[0].tail = in->admin.sq_tail;
		c->cq[0].head = in->admin.cq_head;
		c->cq[0].tail = in->admin.cq_tail;
		c->cq[0].phase = in->admin.phase != 0;
	}
	apply_features(c, &in->features);
	c->aers = in->requests.count;
	memcpy(c->aer, in->requests.cid, sizeof(c->aer));
	c->events = in->events.count;
	memcpy(c->event, in->events.event, sizeof(c->event));
	c->masked_events = (uint8_t)in->events.masked;
	c->changed_namespaces = in->events.changed_namespaces;
}

static void apply_queues(struct gw_ctrl *c, const struct loaded *in)
{
	memcpy(&c->sq[1], &in->sq[1], GW_SSD_QUEUES_MAX * sizeof(c->sq[0]));
	memcpy(&c->cq[1], &in->cq[1], GW_SSD_QUEUES_MAX * sizeof(c->cq[0]));
	c->next_sq = 0;
}

static bool has_io_queues(const struct gw_ctrl *c)
{
	for (uint32_t i = 1; i <= GW_SSD_QUEUES_MAX; i++) {
		if (c->sq[i].is_live || c->cq[i].is_live)
			return true;
	}
	return false;
}

/* What this controller announces is less than what there is room for. */
static bool check_limits(const struct gw_ssd_limits *limits, const struct loaded *in)
{
	for (uint32_t i = 1; i <= GW_SSD_QUEUES_MAX; i++) {
		const struct gw_sq *sq = &in->sq[i];
		const struct gw_cq *cq = &in->cq[i];

		if ((sq->is_live && (i > limits->io_queues || sq->size > limits->queue_entries)) ||
		    (cq->is_live && (i > limits->io_queues || cq->size > limits->queue_entries ||
				     cq->vector >= limits->vectors)))
			return false;
	}
	return in->features.queues < limits->io_queues && in->requests.count <= limits->events;
}

/* The container: its own fields, and that the two sizes and the length that came agree. */
static bool check_container(const struct nvme_controller_state *head, bool with_nvme, bool with_vendor,
			    uint32_t bytes)
{
	const uint64_t nvme = head->nvme_dwords[0], vendor = head->vendor_dwords[0];

	if (head->version != 0 || head->nvme_dwords[1] != 0 || head->vendor_dwords[1] != 0 ||
	    nvme > GW_STATE_BYTES_MAX / 4 || vendor > GW_STATE_BYTES_MAX / 4)
		return false;
	if (bytes != sizeof(*head) + 4 * (nvme + vendor))
		return false;
	return (with_nvme || nvme == 0) && (with_vendor || vendor == 0);
}

uint16_t gw_state_set(struct gw_ctrl *c, bool with_nvme, bool with_vendor, const uint8_t *data,
		      uint32_t bytes)
{
	struct nvme_controller_state head;
	struct loaded in;
	uint64_t nvme, vendor;

	if (bytes < sizeof(head))
		return NVME_SC_INVALID_FIELD;
	memcpy(&head, data, sizeof(head));
	if (!check_container(&head, with_nvme, with_vendor, bytes))
		return NVME_SC_INVALID_FIELD;
	nvme = head.nvme_dwords[0] * 4;
	vendor = head.vendor_dwords[0] * 4;
	memset(&in, 0, sizeof(in));
	if (nvme != 0 && (has_io_queues(c) || !load_queues(&in, data + sizeof(head), nvme)))
		return NVME_SC_INVALID_FIELD;
	if (vendor != 0 &&
	    (!load_records(&in, data + sizeof(head) + nvme, vendor) || !check_vendor(&in)))
		return NVME_SC_INVALID_FIELD;
	if (!check_limits(&c->ss->config.limits, &in))
		return NVME_SC_INVALID_FIELD;
	if (vendor != 0)
		apply_vendor(c, &in);
	if (nvme != 0)
		apply_queues(c, &in);
	pthread_cond_broadcast(&c->wake);
	return NVME_SC_SUCCESS;
}

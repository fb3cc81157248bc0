// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * What happens to NVMe controllers beside their I/O: every admin command with its sender and its
 * result, asynchronous events, changes of the controller's state, timeouts; into a ring buffer
 * whose drops are counted. Commentary, not the truth: what was changed is marked by gw_nvme.bpf.c.
 *
 * An admin command passes nvme_setup_cmd and nvme_complete_rq like every other. Two copies of the
 * completion program, so that one which the kernel skips on a busy CPU (see gw_block.bpf.c) loses no
 * record.
 */
#include "gw_compat.bpf.h"

#include <bpf/bpf_tracing.h>

#include <godwit/event_abi.h>
#include <godwit/nvme_effects.h>

#include "gw_nvme_types.h"

char LICENSE[] SEC("license") = "GPL";

#define SENT_BY_USER 0x2		/* of nvme_request.flags, in all kernels since 4.6 */

/* Set between open and load. */
const volatile __u32 gw_event_subsystem_count = 0;	/* 0: all are watched */
const volatile int gw_event_subsystems[GW_EVENT_SUBSYSTEMS_MAX] = { 0 };

struct sender {
	u64 submitted_ns;
	u64 is_told;
	u32 pid, uid;
	char comm[16];
};

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, GW_EVENT_RING_BYTES);
} gw_event_ring SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__type(key, u32);
	__type(value, struct gw_bpf_event_counts);
} gw_event_counts SEC(".maps");

/* By the address of the request. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, GW_EVENT_SENDERS);
	__type(key, u64);
	__type(value, struct sender);
} gw_senders SEC(".maps");

#define count_lost(field)							\
	do {									\
		const u32 zero_ = 0;						\
		struct gw_bpf_event_counts *const counts_ =			\
			bpf_map_lookup_elem(&gw_event_counts, &zero_);		\
										\
		if (counts_ != NULL)						\
			__sync_fetch_and_add(&counts_->field, 1);		\
	} while (0)

static __always_inline struct nvme_request *driver_data(struct request *rq)
{
	return (void *)rq + bpf_core_type_size(struct request);
}

/* A controller that has no subsystem yet is just being found: not one of those that were named. */
static __always_inline bool is_watched(struct nvme_ctrl *ctrl)
{
	struct nvme_subsystem *const subsystem = BPF_CORE_READ(ctrl, subsys);
	const int instance = BPF_CORE_READ(subsystem, instance);

	if (gw_event_subsystem_count == 0)
		return true;
	if (subsystem == NULL)
		return false;
#pragma unroll
	for (u32 i = 0; i < GW_EVENT_SUBSYSTEMS_MAX; i++)
		if (i < gw_event_subsystem_count && gw_event_subsystems[i] == instance)
			return true;
	return false;
}

/* An empty record; NULL: it was dropped, and counted. */
static __always_inline struct gw_bpf_event *reserve(u32 kind, struct nvme_ctrl *ctrl)
{
	struct gw_bpf_event *const event =
		bpf_ringbuf_reserve(&gw_event_ring, sizeof(*event), 0);

	if (event == NULL) {
		count_lost(dropped);
		return NULL;
	}
	__builtin_memset(event, 0, sizeof(*event));
	event->at_ns = bpf_ktime_get_ns();
	event->kind = kind;
	event->controller = (u32)BPF_CORE_READ(ctrl, instance);
	event->subsystem = (u32)BPF_CORE_READ(ctrl, subsys, instance);
	return event;
}

static __always_inline void put_command(struct gw_bpf_event *event, struct nvme_request *data)
{
	struct gw_nvme_sqe sqe;

	if (bpf_probe_read_kernel(&sqe, sizeof(sqe), BPF_CORE_READ(data, cmd)) != 0)
		return;
	event->opcode = sqe.opcode;
	event->nsid = sqe.nsid;
	event->cdw[0] = sqe.cdw10;
	event->cdw[1] = sqe.cdw11;
	event->cdw[2] = sqe.cdw12;
	event->cdw[3] = sqe.cdw13;
	event->cdw[4] = sqe.cdw14;
	event->cdw[5] = sqe.cdw15;
	if ((BPF_CORE_READ(data, flags) & SENT_BY_USER) != 0)
		event->flags |= GW_BPF_EVENT_BY_USER;
}

static __always_inline void put_sender(struct gw_bpf_event *event, const struct sender *sender)
{
	event->flags |= GW_BPF_EVENT_HAS_SENDER;
	event->submitted_ns = sender->submitted_ns;
	event->pid = sender->pid;
	event->uid = sender->uid;
	__builtin_memcpy(event->comm, sender->comm, sizeof(event->comm));
}

/* Every queue but the admin queue has a namespace behind it. */
SEC("tp_btf/nvme_setup_cmd")
int BPF_PROG(gw_events_setup, struct request *rq)
{
	const u64 key = (u64)rq;
	struct sender sender = { 0 };

	if (rq == NULL || rq->q->queuedata != NULL ||
	    !is_watched(BPF_CORE_READ(driver_data(rq), ctrl)))
		return 0;
	sender.submitted_ns = bpf_ktime_get_ns();
	sender.pid = bpf_get_current_pid_tgid() >> 32;
	sender.uid = (u32)bpf_get_current_uid_gid();
	bpf_get_current_comm(sender.comm, sizeof(sender.comm));
	/* What stands there under this address never came to the drive, and ended unseen. */
	if (bpf_map_update_elem(&gw_senders, &key, &sender, BPF_ANY) != 0)
		count_lost(senders_full);
	return 0;
}

/*
 * The first copy to come tells of the command; the second one clears up, and tells of what nobody
 * has seen coming: it was in flight at the start, or the kernel has skipped a program.
 */
static __always_inline int complete(struct request *rq, bool is_second)
{
	const u64 key = (u64)rq;
	struct gw_bpf_event *event;
	struct nvme_request *data;
	struct sender *sender;
	struct nvme_ctrl *ctrl;

	if (rq == NULL || rq->q->queuedata != NULL)
		return 0;
	data = driver_data(rq);
	ctrl = BPF_CORE_READ(data, ctrl);
	if (!is_watched(ctrl))
		return 0;
	sender = bpf_map_lookup_elem(&gw_senders, &key);
	if (sender == NULL ? !is_second : __sync_lock_test_and_set(&sender->is_told, 1) != 0)
		goto out;
	event = reserve(GW_BPF_EVENT_COMMAND, ctrl);
	if (event == NULL)
		goto out;
	event->flags = GW_BPF_EVENT_ADMIN;
	put_command(event, data);
	if (sender != NULL)
		put_sender(event, sender);
	event->status = BPF_CORE_READ(data, status);
	event->result = BPF_CORE_READ(data, result.u64);
	bpf_ringbuf_submit(event, 0);
out:
	if (is_second && sender != NULL)
		bpf_map_delete_elem(&gw_senders, &key);
	return 0;
}

SEC("tp_btf/nvme_complete_rq")
int BPF_PROG(gw_events_complete1, struct request *rq)
{
	return complete(rq, false);
}

SEC("tp_btf/nvme_complete_rq")
int BPF_PROG(gw_events_complete2, struct request *rq)
{
	return complete(rq, true);
}

SEC("tp_btf/nvme_async_event")
int BPF_PROG(gw_events_async, struct nvme_ctrl *ctrl, u32 result)
{
	struct gw_bpf_event *event;

	if (ctrl == NULL || !is_watched(ctrl))
		return 0;
	event = reserve(GW_BPF_EVENT_ASYNC, ctrl);
	if (event == NULL)
		return 0;
	event->result = result;
	bpf_ringbuf_submit(event, 0);
	return 0;
}

/* Nice to have: functions of the driver, which a kernel may have under another name. */

SEC("fexit/nvme_change_ctrl_state")
int BPF_PROG(gw_events_state, struct nvme_ctrl *ctrl, u32 state, u64 changed)
{
	struct gw_bpf_event *event;

	/* A bool: the rest of the register is anything. */
	if ((changed & 0xff) == 0 || ctrl == NULL || !is_watched(ctrl))
		return 0;
	event = reserve(GW_BPF_EVENT_STATE, ctrl);
	if (event == NULL)
		return 0;
	event->status = state;
	bpf_ringbuf_submit(event, 0);
	return 0;
}

SEC("fentry/nvme_timeout")
int BPF_PROG(gw_events_timeout, struct request *rq)
{
	struct nvme_request *const data = driver_data(rq);
	struct nvme_ctrl *const ctrl = BPF_CORE_READ(data, ctrl);
	struct gw_bpf_event *event;

	if (!is_watched(ctrl))
		return 0;
	event = reserve(GW_BPF_EVENT_TIMEOUT, ctrl);
	if (event == NULL)
		return 0;
	event->flags = BPF_CORE_READ(rq, q, queuedata) == NULL ? GW_BPF_EVENT_ADMIN : 0;
	put_command(event, data);
	bpf_ringbuf_submit(event, 0);
	return 0;
}

// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * A guest's port that is switched from a controller to the one that its state was migrated to, with
 * commands under way: each completes once, with its interrupt, through the vfio-user socket.
 */
#include <criterion/criterion.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "ssd_control.h"
#include "ssd_rig.h"

static struct gw_rig a, b;
static struct gw_ssd_set set = { .subsys = { &a.ss, &b.ss }, .subsystems = 2 };

#define GUEST (&a.client[1])
#define CHILD 2u			/* CNTLID of the controller that is migrated, in both */
#define BUFFER GW_CLIENT_BUFFER
#define STATE (BUFFER + (UINT64_C(4) << 20))
#define STATE_BYTES 8192u

static void open_one(struct gw_rig *rig)
{
	struct gw_ssd_config config;

	gw_ssd_config_init(&config);
	config.namespace_bytes = UINT64_C(16) << 20;
	config.has_migration = true;
	gw_rig_open(rig, 2, &config);
	gw_client_start(&rig->client[0], 1);
}

static void setup(void)
{
	open_one(&a);
	open_one(&b);
	gw_client_start(GUEST, 2);
	gw_rig_disconnect(&b, 1);
}

static void teardown(void)
{
	gw_rig_close_both(&a, &b);
}

TestSuite(ssd_port, .init = setup, .fini = teardown, .timeout = 180);

/* Return: what was wrong, or NULL. */
static const char *control(const char *line)
{
	static char text[512];
	bool is_refused;
	char *answer = gw_ssd_control_answer(&set, line, &is_refused);

	snprintf(text, sizeof(text), "%s", answer);
	free(answer);
	return is_refused ? text : NULL;
}

static uint16_t migrate(struct gw_rig *rig, uint8_t opcode, uint32_t cdw10, uint32_t cdw11, uint32_t cdw15,
			uint64_t bytes)
{
	struct gw_nvme_sqe sqe = { .opcode = opcode, .cdw10 = cdw10, .cdw11 = cdw11, .cdw15 = cdw15 };

	return gw_client_execute(&rig->client[0], 0, &sqe, STATE, bytes, NULL);
}

static uint16_t suspend(struct gw_rig *rig)
{
	return migrate(rig, 0x41, 0, 1u << 16 | CHILD, 0, 0);
}

static uint16_t resume(struct gw_rig *rig)
{
	return migrate(rig, 0x41, 1, CHILD, 0, 0);
}

/* The state, whose end its own header names, from one managing controller to the other. */
static void move_state(struct gw_rig *from, struct gw_rig *to)
{
	uint8_t *state = gw_client_at(&from->client[0], STATE);
	uint64_t dwords[4];
	uint32_t bytes;

	cr_assert_eq(migrate(from, 0x42, 1u << 16, 1u << 16 | CHILD, STATE_BYTES / 4 - 1, STATE_BYTES), 0);
	memcpy(dwords, state + 16, sizeof(dwords));
	bytes = 48 + 4 * (uint32_t)(dwords[0] + dwords[2]);
	cr_assert_leq(bytes, STATE_BYTES);
	memcpy(gw_client_at(&to->client[0], STATE), state, bytes);
	cr_assert_eq(migrate(to, 0x41, 3u << 16 | 2, 1u << 24 | 1u << 16 | CHILD, bytes / 4, bytes), 0);
}

static uint16_t put_write(uint16_t qid, uint64_t slba)
{
	struct gw_nvme_sqe sqe = {
		.opcode = GW_NVME_WRITE, .nsid = 1, .cdw10 = (uint32_t)slba, .cdw12 = 7,
	};
	const uint64_t offset = BUFFER + slba * 512;

	memset(gw_client_at(GUEST, offset), (int)(slba / 8 + 1), 4096);
	gw_client_set_prps(&sqe, GUEST, offset, 4096, 0);
	return gw_client_put(GUEST, qid, &sqe);
}

/* Until that slot of a completion queue, in its first round, is filled; nothing is taken. */
static void wait_posted(uint16_t qid, uint32_t slot)
{
	const struct nvme_cqe *cqe = (const void *)gw_client_at(GUEST, GUEST->queue[qid].cq);

	for (int i = 0; (((const volatile struct nvme_cqe *)&cqe[slot])->status & NVME_CQE_PHASE) == 0; i++) {
		cr_assert_lt(i, 20000);
		usleep(1000);
	}
}

Test(ssd_port, nothing_is_lost)
{
	struct gw_nvme_sqe event = { .opcode = GW_NVME_ASYNC_EVENT };
	struct nvme_cqe cqe;
	uint16_t cid[14], event_cid;
	uint32_t put = 0, got = 0;

	event_cid = gw_client_submit(GUEST, 0, &event);
	for (; put < 6; put++)
		cid[put] = put_write(1, put * 8);
	gw_client_ring(GUEST, 1);
	wait_posted(1, 5);
	cr_assert_eq(suspend(&a), 0);
	for (; put < 9; put++)		/* while it stands still, before its state is read */
		cid[put] = put_write(1, put * 8);
	gw_client_ring(GUEST, 1);
	cr_assert(gw_client_reap(GUEST, 1, &cqe, 20000));
	cr_assert_eq(cqe.cid, cid[got++]);
	cr_assert_eq(gw_client_register(GUEST, NVME_REG_CSTS), NVME_CSTS_RDY);

	cr_assert_eq(suspend(&b), 0);
	move_state(&a, &b);
	for (; put < 12; put++)		/* after that */
		cid[put] = put_write(1, put * 8);
	gw_client_ring(GUEST, 1);
	cr_assert(gw_client_reap(GUEST, 1, &cqe, 20000));
	cr_assert_eq(cqe.cid, cid[got++]);
	gw_client_register(GUEST, NVME_REG_CSTS);	/* posted writes have arrived */

	cr_assert_null(control("switch-port 1/2 2/2"));
	/* And after the switch, in the other queue: the first one's doorbells are not rung again. */
	for (; put < 14; put++)
		cid[put] = put_write(2, put * 8);
	gw_client_ring(GUEST, 2);
	cr_assert_eq(resume(&b), 0);
	for (; got < put; got++) {
		cr_assert(gw_client_reap(GUEST, got < 12 ? 1 : 2, &cqe, 20000), "%u", got);
		cr_assert_eq(cqe.cid, cid[got]);
		cr_assert_eq(NVME_CQE_STATUS(cqe.status), 0);
	}
	cr_assert_not(gw_client_reap(GUEST, 1, &cqe, 50), "none twice");
	/* The guest goes on: both queues, admin commands, data in the second subsystem. */
	cr_assert_eq(gw_client_io(GUEST, GW_NVME_READ, 1, 13 * 8, 8, BUFFER, 4096), 0);
	cr_assert_eq(*gw_client_at(GUEST, BUFFER), 14);
	cr_assert_eq(gw_client_io(&b.client[0], GW_NVME_READ, 1, 13 * 8, 8, BUFFER, 4096), 0);
	cr_assert_eq(*gw_client_at(&b.client[0], BUFFER), 14);
	/* Its event request came along, too. */
	gw_ctrl_event(b.ss.ctrl[1], NVME_EVENT(NVME_EVENT_NOTICE, 0, NVME_LOG_CHANGED_NAMESPACES), 0);
	cr_assert(gw_client_reap(GUEST, 0, &cqe, 20000));
	cr_assert_eq(cqe.cid, event_cid);
	/* The client goes away from the port, and with it from the controller it came to. */
	gw_rig_reconnect(&a, 1);
	cr_assert_eq(gw_client_register(GUEST, NVME_REG_CSTS), 0);
}

Test(ssd_port, refusals)
{
	cr_assert_not_null(strstr(control("switch-port 1/2 1/2"), "to another controller"));
	cr_assert_not_null(strstr(control("switch-port 1/2 2/3"), "there is no controller 2/3"));
	cr_assert_not_null(strstr(control("switch-port 1/2"), "it is switch-port FROM TO"));
	cr_assert_not_null(strstr(control("switch-port 1/2 2/1"), "a client is connected"));
	cr_assert_not_null(strstr(control("switch-port 1/2 2/2"), "controller 2 is not suspended"));
	cr_assert_eq(suspend(&a), 0);
	cr_assert_not_null(strstr(control("switch-port 1/2 2/2"), "controller 2 is not suspended"));
	cr_assert_eq(suspend(&b), 0);
	cr_assert_not_null(strstr(control("switch-port 1/2 2/2"), "has not the state"));
	/* All of it left the guest where it was. */
	cr_assert_eq(resume(&a), 0);
	cr_assert_eq(gw_client_io(GUEST, GW_NVME_WRITE, 1, 0, 8, BUFFER, 4096), 0);
}

/* A guest that never stops while its port goes to and fro. */
struct guest {
	atomic_bool is_over;
	atomic_uint done;
};

static void *keep_writing(void *arg)
{
	struct guest *guest = arg;
	uint16_t expected[8];

	while (!atomic_load(&guest->is_over)) {
		for (uint16_t i = 0; i < 8; i++)
			expected[i] = put_write((uint16_t)(1 + i % 2), i * 8);
		gw_client_ring(GUEST, 1);
		gw_client_ring(GUEST, 2);
		for (int i = 0; i < 8; i++) {
			struct nvme_cqe cqe;

			if (!gw_client_reap(GUEST, (uint16_t)(1 + i % 2), &cqe, 20000) ||
			    cqe.cid != expected[i] || NVME_CQE_STATUS(cqe.status) != 0)
				return (void *)"a completion is missing, or it is another one";
			atomic_fetch_add(&guest->done, 1);
		}
	}
	return NULL;
}

static void wait_for(struct guest *guest, unsigned int more)
{
	const unsigned int goal = atomic_load(&guest->done) + more;

	for (int i = 0; i < 20000 && atomic_load(&guest->done) < goal; i++)
		usleep(1000);
	cr_assert_geq(atomic_load(&guest->done), goal, "the guest stands still");
}

Test(ssd_port, under_load)
{
	struct gw_rig *from = &a, *to = &b, *swap;
	struct guest guest = { 0 };
	pthread_t thread;
	void *complaint;
	char line[64];

	cr_assert_eq(pthread_create(&thread, NULL, keep_writing, &guest), 0);
	for (int round = 0; round < 6; round++) {
		wait_for(&guest, 20);
		cr_assert_eq(suspend(from), 0);
		cr_assert_eq(suspend(to), 0);
		move_state(from, to);
		snprintf(line, sizeof(line), "switch-port %d/2 %d/2", from == &a ? 1 : 2, from == &a ? 2 : 1);
		cr_assert_null(control(line));
		cr_assert_eq(resume(to), 0);
		/* The one it came from is empty, and can be the next target. */
		snprintf(line, sizeof(line), "reset %d/2", from == &a ? 1 : 2);
		cr_assert_null(control(line));
		swap = from;
		from = to;
		to = swap;
	}
	wait_for(&guest, 20);
	atomic_store(&guest.is_over, true);
	pthread_join(thread, &complaint);
	cr_assert_null(complaint, "%s", (const char *)complaint);
}

// SPDX-License-Identifier: GPL-2.0-or-later
/* Commands that the software SSD finds in its queues at the same time, and its cache under them. */
#include <criterion/criterion.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

#include "ssd_rig.h"

static struct gw_rig rig;

#define A (&rig.client[0])
#define BUFFER GW_CLIENT_BUFFER
#define BLOCKS 4096u			/* that are used, of 512 bytes */
#define CACHE_PAGES 64u
#define LOT (GW_CLIENT_ENTRIES - 2)	/* commands in a queue at the same time */
#define SLOT_BYTES (UINT64_C(128) << 10)	/* of a command's data */
#define BIG 200u			/* blocks: of a command that goes past the cache */

static void setup(void)
{
	struct gw_ssd_config config;

	gw_ssd_config_init(&config);
	config.namespace_bytes = UINT64_C(16) << 20;
	config.cache_bytes = CACHE_PAGES * UINT64_C(4096);
	gw_rig_open(&rig, 1, &config);
	gw_client_start(A, 1);
}

static void teardown(void)
{
	gw_rig_close(&rig);
}

TestSuite(ssd_together, .init = setup, .fini = teardown, .timeout = 180);

struct lot {
	struct gw_nvme_sqe sqe[LOT];
	uint16_t cid[LOT], status[LOT];
	uint32_t count;
};

static uint64_t data_of(uint32_t i)
{
	return BUFFER + (UINT64_C(1) << 20) + i * SLOT_BYTES;
}

static void add(struct lot *lot, uint8_t opcode, uint32_t nsid, uint64_t slba, uint32_t blocks)
{
	struct gw_nvme_sqe *sqe = &lot->sqe[lot->count];

	*sqe = (struct gw_nvme_sqe){ .opcode = opcode, .nsid = nsid, .cdw10 = (uint32_t)slba };
	sqe->cdw12 = blocks - 1;
	gw_client_set_prps(sqe, A, data_of(lot->count), blocks * UINT64_C(512),
			   BUFFER + lot->count * 4096);
	lot->count++;
}

/* All with one doorbell; each has one completion. */
static void run(struct lot *lot)
{
	uint32_t seen = 0;

	for (uint32_t i = 0; i < lot->count; i++)
		lot->cid[i] = gw_client_put(A, 1, &lot->sqe[i]);
	gw_client_ring(A, 1);
	for (uint32_t n = 0; n < lot->count; n++) {
		struct nvme_cqe cqe;
		uint32_t i = 0;

		cr_assert(gw_client_reap(A, 1, &cqe, 20000));
		while (i < lot->count && lot->cid[i] != cqe.cid)
			i++;
		cr_assert_lt(i, lot->count);
		cr_assert_eq(seen >> i & 1, 0);
		seen |= 1u << i;
		lot->status[i] = NVME_STATUS_CODE(NVME_CQE_STATUS(cqe.status));
	}
}

static uint64_t random_state = 20261124;

static uint32_t below(uint32_t limit)
{
	random_state = random_state * UINT64_C(6364136223846793005) + 1442695040888963407;
	return (uint32_t)(random_state >> 33) % limit;
}

static void fill(uint8_t *at, uint64_t bytes)
{
	for (uint64_t i = 0; i < bytes; i += 4) {
		const uint32_t value = below(UINT32_MAX);

		memcpy(at + i, &value, 4);
	}
}

/* Disjoint ranges of one lot: what came of commands on the same blocks at once would be open. */
static bool is_free(const struct lot *lot, uint64_t slba, uint32_t blocks)
{
	for (uint32_t i = 0; i < lot->count; i++) {
		const uint64_t first = lot->sqe[i].cdw10, count = lot->sqe[i].cdw12 + 1;

		if (slba < first + count && first < slba + blocks)
			return false;
	}
	return true;
}

static uint32_t some_blocks(void)
{
	const uint32_t kind = below(10);

	return kind == 0 ? BIG + below(56) : kind < 6 ? 8 : 1 + below(24);
}

/* Random lots beside the plainest model; the cache is far smaller than what is written. */
Test(ssd_together, what_is_read_is_what_was_written_last)
{
	static uint8_t model[BLOCKS * 512];

	for (uint32_t round = 0; round < 400; round++) {
		struct lot lot = { .count = 0 };

		while (lot.count < 1 + below(LOT)) {
			const uint32_t blocks = some_blocks();
			const uint64_t slba = below(2) ? below(BLOCKS - blocks) / 8 * 8 : below(BLOCKS - blocks);
			const bool is_write = below(2) == 0;

			if (lot.count == LOT || !is_free(&lot, slba, blocks))
				break;
			fill(gw_client_at(A, data_of(lot.count)), blocks * 512);
			if (is_write)
				memcpy(model + slba * 512, gw_client_at(A, data_of(lot.count)), blocks * 512);
			add(&lot, is_write ? GW_NVME_WRITE : GW_NVME_READ, 1, slba, blocks);
		}
		if (below(8) == 0 && lot.count < LOT && lot.count > 0)
			add(&lot, GW_NVME_FLUSH, 1, BLOCKS + lot.count, 1);
		run(&lot);
		for (uint32_t i = 0; i < lot.count; i++) {
			cr_assert_eq(lot.status[i], 0);
			cr_assert(lot.sqe[i].opcode == GW_NVME_FLUSH ||
				  memcmp(gw_client_at(A, data_of(i)), model + lot.sqe[i].cdw10 * 512,
					 (lot.sqe[i].cdw12 + 1) * 512) == 0,
				  "round %u, command %u", round, i);
		}
	}
}

Test(ssd_together, each_has_its_own_status)
{
	struct lot lot = { .count = 0 };

	cr_assert_eq(gw_client_io(A, GW_NVME_WRITE_UNCORRECTABLE, 1, 100, 1, 0, 0), 0);
	add(&lot, GW_NVME_READ, 1, 0, 8);
	add(&lot, GW_NVME_READ, 1, 96, 8);
	add(&lot, GW_NVME_WRITE, 1, 8, 8);
	add(&lot, GW_NVME_READ, 1, UINT64_C(16) << 11, 1);
	add(&lot, GW_NVME_READ, 7, 0, 1);
	add(&lot, GW_NVME_READ, 1, 16, 8);
	add(&lot, 0x7f, 1, 0, 1);
	add(&lot, GW_NVME_WRITE, 1, (16 << 11) - 1, 2);
	add(&lot, GW_NVME_READ, 1, 24, 1);
	lot.sqe[8].data_pointer[0] = GW_CLIENT_IOVA + GW_CLIENT_MEMORY_BYTES;
	add(&lot, GW_NVME_READ, 1, 24, 8);
	run(&lot);
	cr_assert_eq(lot.status[0], 0);
	cr_assert_eq(lot.status[1], NVME_SC_UNRECOVERED_READ);
	cr_assert_eq(lot.status[2], 0);
	cr_assert_eq(lot.status[3], NVME_SC_LBA_OUT_OF_RANGE);
	cr_assert_eq(lot.status[4], NVME_SC_INVALID_NAMESPACE);
	cr_assert_eq(lot.status[5], 0);
	cr_assert_eq(lot.status[6], NVME_SC_INVALID_OPCODE);
	cr_assert_eq(lot.status[7], NVME_SC_LBA_OUT_OF_RANGE);
	cr_assert_eq(lot.status[8], NVME_SC_DATA_TRANSFER_ERROR);
	cr_assert_eq(lot.status[9], 0);
}

/* A controller where io_uring is refused reads all the same. */
Test(ssd_together, without_io_uring_they_are_read_one_by_one)
{
	struct lot lot = { .count = 0 };

	rig.port[0].ctrl->reads.is_refused = true;	/* nobody reads yet */
	fill(gw_client_at(A, data_of(0)), 8 * 512);
	cr_assert_eq(gw_client_io(A, GW_NVME_WRITE, 1, 0, 8, data_of(0), 8 * 512), 0);
	for (uint32_t i = 0; i < LOT; i++)
		add(&lot, GW_NVME_READ, 1, i, 8 - i % 8);
	run(&lot);
	for (uint32_t i = 1; i < 8; i++)
		cr_assert(memcmp(gw_client_at(A, data_of(i)), gw_client_at(A, data_of(0)) + i * 512, (8 - i) * 512) == 0);
}

/* First in, first out: the oldest pages are on the medium, and the newest go with the power. */
Test(ssd_together, a_full_cache_keeps_the_newest)
{
	const uint32_t pages = CACHE_PAGES + 40;
	uint8_t *at = gw_client_at(A, BUFFER);
	uint64_t lost;
	uint32_t i;

	for (i = 0; i < pages; i++) {
		memset(at, (int)(1 + i), 4096);
		cr_assert_eq(gw_client_io(A, GW_NVME_WRITE, 1, i * 8, 8, BUFFER, 4096), 0);
	}
	lost = gw_subsys_power_cut(&rig.ss, 0);
	cr_assert_geq(lost, CACHE_PAGES / 2 * 8);
	cr_assert_leq(lost, CACHE_PAGES * 8);
	for (i = 0; i < pages; i++) {
		const bool is_kept = i * 8 < pages * 8 - lost;

		cr_assert_eq(gw_client_io(A, GW_NVME_READ, 1, i * 8, 8, BUFFER, 4096), 0);
		cr_assert_eq(at[0], is_kept ? 1 + i : 0);
		cr_assert_eq(at[4095], is_kept ? 1 + i : 0);
	}
}

static bool is_posted(uint32_t entries)
{
	const struct nvme_cqe *cqe = (const void *)(A->memory + A->queue[1].cq);

	return (__atomic_load_n(&cqe[entries - 1].status, __ATOMIC_ACQUIRE) & NVME_CQE_PHASE) != 0;
}

static void submit_read(void)
{
	struct gw_nvme_sqe sqe = { .opcode = GW_NVME_READ, .nsid = 1 };

	gw_client_set_prps(&sqe, A, BUFFER, 512, 0);
	gw_client_submit(A, 1, &sqe);
}

/* Return: interrupts since the last time; 0: none came. */
static uint64_t interrupts(int timeout_ms)
{
	struct pollfd poller = { A->vector_fd[1], POLLIN, 0 };
	uint64_t count;

	return poll(&poller, 1, timeout_ms) == 1 &&
			       read(A->vector_fd[1], &count, sizeof(count)) == sizeof(count) ?
		       count :
		       0;
}

/* It may be late to say what it took, or never say it before it is told of more. */
Test(ssd_together, a_host_that_does_not_ring_is_interrupted_all_the_same)
{
	for (uint32_t n = 1; n <= 8; n++) {
		submit_read();
		cr_assert_gt(interrupts(20000), 0, "completion %u", n);
		cr_assert(is_posted(n));
	}
}

/* It can undo what was done to its eventfd, and fill it: that is its own loss alone. */
Test(ssd_together, a_host_whose_eventfd_is_full_holds_up_nothing)
{
	const uint64_t full = UINT64_MAX - 1;

	cr_assert_eq(fcntl(A->vector_fd[1], F_SETFL, 0), 0);
	cr_assert_eq(write(A->vector_fd[1], &full, sizeof(full)), sizeof(full));
	for (uint32_t n = 1; n <= 8; n++) {
		submit_read();
		while (!is_posted(n))
			cr_assert_neq(gw_client_register(A, NVME_REG_CSTS) & NVME_CSTS_RDY, 0);
	}
	cr_assert_eq(interrupts(0), full);
	submit_read();
	cr_assert_gt(interrupts(20000), 0);
}

/* Its turns are taken by the test, so that no time goes by in them. */
static struct gw_ctrl *stop_worker(void)
{
	struct gw_ctrl *c = rig.port[0].ctrl;

	gw_ctrl_stop(c);
	return c;
}

static void execute_read(struct gw_ctrl *c, uint32_t entry)
{
	submit_read();
	while (!is_posted(entry))
		gw_ctrl_step(c);
}

/* What it was not told of when it was posted, it is told of when it has taken what came before. */
Test(ssd_together, a_host_that_rings_is_interrupted_for_the_rest)
{
	struct gw_ctrl *c = stop_worker();
	struct nvme_cqe cqe;

	for (uint32_t n = 1; n <= 3; n++)
		execute_read(c, n);
	cr_assert_eq(interrupts(20000), 1);
	cr_assert(gw_client_reap(A, 1, &cqe, 0));
	cr_assert_eq(interrupts(20000), 1, "for the second and the third");
	cr_assert(gw_client_reap(A, 1, &cqe, 0));
	cr_assert(gw_client_reap(A, 1, &cqe, 0));
}

Test(ssd_together, without_coalescing_each_has_its_interrupt)
{
	struct gw_nvme_sqe set = { .opcode = GW_NVME_SET_FEATURES, .cdw10 = NVME_FID_VECTOR };
	struct gw_ctrl *c;

	set.cdw11 = 1 | NVME_VECTOR_NO_COALESCING;
	cr_assert_eq(gw_client_execute(A, 0, &set, BUFFER, 0, NULL), 0);
	c = stop_worker();
	for (uint32_t n = 1; n <= 3; n++)
		execute_read(c, n);
	cr_assert_eq(interrupts(20000), 3);
}

/* What the worker does when no more has come for a while. Return: interrupts of it. */
static uint64_t lose_patience(struct gw_ctrl *c)
{
	pthread_mutex_lock(&c->lock);
	cr_assert_gt(gw_queue_patience_ns(c), 0);
	gw_queue_lose_patience(c);
	cr_assert_eq(gw_queue_patience_ns(c), 0);
	pthread_mutex_unlock(&c->lock);
	return interrupts(0);
}

static void look_anew(struct gw_ctrl *c)
{
	pthread_mutex_lock(&c->lock);
	c->cq[1].probe_in = 0;
	pthread_mutex_unlock(&c->lock);
}

/* With eight under way one interrupt stands for four, or for what there is after a while. */
Test(ssd_together, of_many_under_way_half_are_gathered)
{
	struct gw_ctrl *c = stop_worker();
	struct nvme_cqe cqe;
	struct lot lot = { .count = 0 };

	look_anew(c);
	for (uint32_t n = 0; n < 8; n++) {
		add(&lot, GW_NVME_READ, 1, n, 1);
		gw_client_put(A, 1, &lot.sqe[n]);
	}
	gw_client_ring(A, 1);
	while (!is_posted(8))
		gw_ctrl_step(c);
	cr_assert_eq(interrupts(0), 0);
	cr_assert_eq(lose_patience(c), 1);
	for (uint32_t n = 0; n < 8; n++)
		cr_assert(gw_client_reap(A, 1, &cqe, 0));
	for (uint32_t n = 9; n <= 11; n++) {
		execute_read(c, n);
		cr_assert_eq(interrupts(0), 0);
	}
	execute_read(c, 12);
	cr_assert_eq(interrupts(0), 1);
	for (uint32_t n = 9; n <= 12; n++)
		cr_assert(gw_client_reap(A, 1, &cqe, 0));
	execute_read(c, 13);
	cr_assert_eq(interrupts(0), 0);
	cr_assert_eq(lose_patience(c), 1);
}

Test(ssd_together, one_command_at_a_time_waits_for_nothing)
{
	struct gw_ctrl *c = stop_worker();
	struct nvme_cqe cqe;

	look_anew(c);
	execute_read(c, 1);
	cr_assert_eq(lose_patience(c), 1);
	for (uint32_t n = 2; n <= 10; n++) {
		cr_assert(gw_client_reap(A, 1, &cqe, 0));
		execute_read(c, n);
		cr_assert_eq(interrupts(0), 1);
	}
}

/* ---- One command at a time ---------------------------------------------------------------------------- */

/* The completion of the last command is in memory before the worker is done with it. */
static void wait_until_idle(void)
{
	struct gw_ctrl *c = rig.port[0].ctrl;
	bool is_busy = true;

	while (is_busy) {
		pthread_mutex_lock(&c->lock);
		is_busy = c->is_busy;
		pthread_mutex_unlock(&c->lock);
	}
}

static void submit_write(uint64_t slba)
{
	struct gw_nvme_sqe sqe = { .opcode = GW_NVME_WRITE, .nsid = 1, .cdw10 = (uint32_t)slba };

	gw_client_set_prps(&sqe, A, BUFFER, 512, 0);
	gw_client_submit(A, 1, &sqe);
}

/* What comes behind the doorbell is answered when the command is done: nobody had to be woken for it. */
Test(ssd_together, one_command_is_executed_where_its_doorbell_is_read)
{
	struct nvme_cqe cqe;

	cr_assert_eq(gw_client_io(A, GW_NVME_WRITE, 1, 0, 1, BUFFER, 512), 0);
	wait_until_idle();
	for (uint32_t n = 2; n <= 8; n++) {
		submit_write(n);
		gw_client_register(A, NVME_REG_CSTS);
		cr_assert(is_posted(n));
		cr_assert(gw_client_reap(A, 1, &cqe, 0));
		cr_assert_eq(NVME_CQE_STATUS(cqe.status), 0);
	}
}

/* Whatever holds a command up, registers and doorbells go on. */
Test(ssd_together, who_reads_doorbells_waits_for_no_command)
{
	struct gw_ns *ns = rig.ss.ns[0];
	struct nvme_cqe cqe;

	cr_assert_eq(gw_client_io(A, GW_NVME_WRITE, 1, 0, 1, BUFFER, 512), 0);
	wait_until_idle();
	pthread_mutex_lock(&ns->lock);
	submit_write(1);
	cr_assert_neq(gw_client_register(A, NVME_REG_CSTS) & NVME_CSTS_RDY, 0);
	cr_assert_not(is_posted(2));
	pthread_mutex_unlock(&ns->lock);
	cr_assert(gw_client_reap(A, 1, &cqe, 20000));
	wait_until_idle();
	pthread_rwlock_wrlock(&rig.ss.ns_lock);
	submit_write(2);
	cr_assert_neq(gw_client_register(A, NVME_REG_CSTS) & NVME_CSTS_RDY, 0);
	cr_assert_not(is_posted(3));
	pthread_rwlock_unlock(&rig.ss.ns_lock);
	cr_assert(gw_client_reap(A, 1, &cqe, 20000));
	cr_assert_eq(NVME_CQE_STATUS(cqe.status), 0);
}

/* By the reader or the worker, as the cache, the interrupts and the locks have it: the data is the same. */
Test(ssd_together, one_at_a_time_what_is_read_is_what_was_written_last)
{
	static uint8_t model[BLOCKS * 512];

	for (uint32_t n = 0; n < 4000; n++) {
		const uint32_t blocks = some_blocks();
		const uint64_t slba = below(2) ? below(BLOCKS - blocks) / 8 * 8 : below(BLOCKS - blocks);
		const bool is_write = below(2) == 0;

		fill(gw_client_at(A, data_of(0)), blocks * 512);
		if (is_write)
			memcpy(model + slba * 512, gw_client_at(A, data_of(0)), blocks * 512);
		cr_assert_eq(gw_client_io(A, is_write ? GW_NVME_WRITE : GW_NVME_READ, 1, slba, blocks, data_of(0),
					  blocks * UINT64_C(512)), 0);
		cr_assert(memcmp(gw_client_at(A, data_of(0)), model + slba * 512, blocks * 512) == 0, "command %u", n);
		if (below(64) == 0)
			cr_assert_eq(gw_client_io(A, GW_NVME_FLUSH, 1, 0, 1, 0, 0), 0);
	}
}

Test(ssd_together, one_at_a_time_each_has_its_own_status)
{
	cr_assert_eq(gw_client_io(A, GW_NVME_WRITE_UNCORRECTABLE, 1, 100, 1, 0, 0), 0);
	cr_assert_eq(gw_client_io(A, GW_NVME_READ, 1, 96, 8, BUFFER, 8 * 512), NVME_SC_UNRECOVERED_READ);
	cr_assert_eq(gw_client_io(A, GW_NVME_READ, 7, 0, 1, BUFFER, 512), NVME_SC_INVALID_NAMESPACE);
	cr_assert_eq(gw_client_io(A, GW_NVME_READ, 1, UINT64_C(16) << 11, 1, BUFFER, 512),
		     NVME_SC_LBA_OUT_OF_RANGE);
	cr_assert_eq(gw_client_io(A, GW_NVME_WRITE, 1, (16 << 11) - 1, 2, BUFFER, 1024),
		     NVME_SC_LBA_OUT_OF_RANGE);
	cr_assert_eq(gw_client_io(A, GW_NVME_READ, 1, 0, 1, GW_CLIENT_MEMORY_BYTES, 512),
		     NVME_SC_DATA_TRANSFER_ERROR);
	cr_assert_eq(gw_client_io(A, GW_NVME_WRITE, 1, 0, 1, GW_CLIENT_MEMORY_BYTES, 512),
		     NVME_SC_DATA_TRANSFER_ERROR);
	cr_assert_eq(gw_client_io(A, GW_NVME_READ, 1, 0, 1, BUFFER, 512), 0);
}

// SPDX-License-Identifier: GPL-2.0-or-later
/* I/O commands (Base 7; NVM 1.2 3.3), and Get LBA Status. */
#include <assert.h>
#include <errno.h>
#include <string.h>

#include "ssd.h"

#define FUA (1u << 30)
#define ZEROES_DEALLOCATE (1u << 25)
#define COPY_ENTRY_BYTES 32u
/* After so much data completions are posted: the host takes them while more of it moves. */
#define TOGETHER_BYTES (64u << 10)

/* A command's range, checked. bytes_max 0: it carries no data. */
static uint16_t check_range(const struct gw_ns *ns, const struct gw_nvme_sqe *sqe, uint64_t bytes_max)
{
	const uint64_t first = gw_nvme_first(sqe), count = gw_nvme_count(sqe);

	if (bytes_max != 0 && count << ns->lbads > bytes_max)
		return NVME_SC_INVALID_FIELD;
	if (first > ns->blocks || count > ns->blocks - first)
		return NVME_SC_LBA_OUT_OF_RANGE;
	return NVME_SC_SUCCESS;
}

static uint16_t write_status(int err)
{
	if (err == 0)
		return NVME_SC_SUCCESS;
	if (err == -EFAULT)
		return NVME_SC_DATA_TRANSFER_ERROR;	/* the memory went away under us */
	return err == -ENOSPC ? NVME_SC_CAPACITY_EXCEEDED : NVME_SC_WRITE_FAULT;
}

static uint16_t read_status(int err)
{
	if (err == 0)
		return NVME_SC_SUCCESS;
	return err == -EFAULT ? NVME_SC_DATA_TRANSFER_ERROR : NVME_SC_UNRECOVERED_READ;
}

/* ---- Counters -------------------------------------------------------------------------------------- */

static void count_io(struct gw_ctrl *c, uint64_t bytes, bool is_write)
{
	pthread_mutex_lock(&c->lock);
	if (is_write) {
		c->counters.write_commands++;
		c->counters.bytes_written += bytes;
	} else {
		c->counters.read_commands++;
		c->counters.bytes_read += bytes;
	}
	pthread_mutex_unlock(&c->lock);
}

/* Without FUA a write may stay in the cache, if the host wants a cache at all. */
static bool is_through(struct gw_cmd *cmd)
{
	bool has_cache;

	pthread_mutex_lock(&cmd->ctrl->lock);
	has_cache = (cmd->ctrl->feature.write_cache & 1) != 0;
	pthread_mutex_unlock(&cmd->ctrl->lock);
	return !has_cache || (cmd->sqe.cdw12 & FUA) != 0;
}

/* ---- Commands; ns->lock is held ------------------------------------------------------------------- */

static uint16_t begin_read(struct gw_cmd *cmd, struct gw_ns *ns, struct gw_ns_read *read)
{
	const uint64_t first = gw_nvme_first(&cmd->sqe), count = gw_nvme_count(&cmd->sqe);
	uint16_t status = check_range(ns, &cmd->sqe, GW_SSD_XFER_BYTES_MAX);

	if (status == NVME_SC_SUCCESS)
		status = gw_xfer_map(cmd, count << ns->lbads, true);
	if (status != NVME_SC_SUCCESS)
		return status;
	if (gw_ns_any_bad(ns, first, count))
		return NVME_SC_UNRECOVERED_READ;
	*read = (struct gw_ns_read){ first, count, cmd->xfer.iov, cmd->xfer.pieces, 0 };
	return NVME_SC_SUCCESS;
}

static uint16_t end_read(struct gw_cmd *cmd, const struct gw_ns_read *read)
{
	gw_xfer_written(cmd);
	count_io(cmd->ctrl, cmd->xfer.bytes, false);
	return read_status(read->err);
}

static uint16_t do_read(struct gw_cmd *cmd, struct gw_ns *ns)
{
	struct gw_ns_read read;
	const uint16_t status = begin_read(cmd, ns, &read);

	if (status != NVME_SC_SUCCESS)
		return status;
	gw_ns_read_all(ns, &cmd->ctrl->reads, &read, 1);
	return end_read(cmd, &read);
}

/* Whatever comes of it is in the log: a write that failed may have changed something. */
static uint16_t do_write(struct gw_cmd *cmd, struct gw_ns *ns)
{
	const uint64_t first = gw_nvme_first(&cmd->sqe), count = gw_nvme_count(&cmd->sqe);
	uint16_t status = check_range(ns, &cmd->sqe, GW_SSD_XFER_BYTES_MAX);

	if (status == NVME_SC_SUCCESS)
		status = gw_xfer_map(cmd, count << ns->lbads, false);
	if (status != NVME_SC_SUCCESS)
		return status;
	status = write_status(gw_ns_write(ns, first, count, cmd->xfer.iov, cmd->xfer.pieces,
					  is_through(cmd)));
	gw_cdq_log(cmd->ctrl, ns->nsid, first, count, false);
	count_io(cmd->ctrl, count << ns->lbads, true);
	return status;
}

static uint16_t do_write_zeroes(struct gw_cmd *cmd, struct gw_ns *ns)
{
	const uint64_t first = gw_nvme_first(&cmd->sqe), count = gw_nvme_count(&cmd->sqe);
	const bool is_deallocate = (cmd->sqe.cdw12 & ZEROES_DEALLOCATE) != 0;
	uint16_t status = check_range(ns, &cmd->sqe, 0);

	if (status != NVME_SC_SUCCESS)
		return status;
	status = write_status(gw_ns_zero(ns, first, count, is_deallocate));
	gw_cdq_log(cmd->ctrl, ns->nsid, first, count, is_deallocate && status == NVME_SC_SUCCESS);
	return status;
}

static uint16_t do_write_uncorrectable(struct gw_cmd *cmd, struct gw_ns *ns)
{
	const uint64_t first = gw_nvme_first(&cmd->sqe), count = gw_nvme_count(&cmd->sqe);
	uint16_t status = check_range(ns, &cmd->sqe, 0);

	if (status == NVME_SC_SUCCESS)
		status = write_status(gw_ns_make_bad(ns, first, count));
	if (status != NVME_SC_SUCCESS)
		return status;
	gw_cdq_log(cmd->ctrl, ns->nsid, first, count, false);
	return status;
}

static uint16_t do_compare(struct gw_cmd *cmd, struct gw_ns *ns)
{
	const uint64_t first = gw_nvme_first(&cmd->sqe), count = gw_nvme_count(&cmd->sqe);
	const struct iovec iov = { cmd->ctrl->bounce, count << ns->lbads };
	uint16_t status = check_range(ns, &cmd->sqe, GW_SSD_XFER_BYTES_MAX);
	uint64_t offset = 0;

	if (status == NVME_SC_SUCCESS)
		status = gw_xfer_map(cmd, iov.iov_len, false);
	if (status != NVME_SC_SUCCESS)
		return status;
	if (gw_ns_any_bad(ns, first, count))
		return NVME_SC_UNRECOVERED_READ;
	status = read_status(gw_ns_read(ns, first, count, &iov, 1));
	for (int i = 0; status == NVME_SC_SUCCESS && i < cmd->xfer.pieces; i++) {
		const struct iovec *piece = &cmd->xfer.iov[i];

		if (memcmp(cmd->ctrl->bounce + offset, piece->iov_base, piece->iov_len) != 0)
			status = NVME_SC_COMPARE_FAILURE;
		offset += piece->iov_len;
	}
	return status;
}

static uint16_t do_verify(struct gw_cmd *cmd, struct gw_ns *ns)
{
	const uint16_t status = check_range(ns, &cmd->sqe, 0);

	if (status != NVME_SC_SUCCESS)
		return status;
	return gw_ns_any_bad(ns, gw_nvme_first(&cmd->sqe), gw_nvme_count(&cmd->sqe)) ?
		       NVME_SC_UNRECOVERED_READ :
		       NVME_SC_SUCCESS;
}

/* All ranges are looked at before the first one is touched. */
static uint16_t do_dataset_management(struct gw_cmd *cmd, struct gw_ns *ns)
{
	struct gw_nvme_dsm_range range[GW_NVME_ENTRIES_MAX];
	const uint32_t ranges = gw_nvme_entries(&cmd->sqe);
	uint16_t status = gw_xfer_from_host(cmd, range, ranges * sizeof(range[0]));

	for (uint32_t i = 0; status == NVME_SC_SUCCESS && i < ranges; i++) {
		if (range[i].first > ns->blocks || range[i].count > ns->blocks - range[i].first)
			status = NVME_SC_LBA_OUT_OF_RANGE;
	}
	if ((cmd->sqe.cdw11 & GW_NVME_DSM_DEALLOCATE) == 0)
		return status;
	for (uint32_t i = 0; status == NVME_SC_SUCCESS && i < ranges; i++) {
		if (range[i].count == 0)
			continue;
		status = write_status(gw_ns_zero(ns, range[i].first, range[i].count, true));
		gw_cdq_log(cmd->ctrl, ns->nsid, range[i].first, range[i].count,
			   status == NVME_SC_SUCCESS);
	}
	return status;
}

/* ---- Copy (NVM 1.2 3.3.2): source ranges of the same namespace, descriptor format 0 ----------------- */

struct copy_entry {
	uint64_t reserved0, slba;
	uint16_t nlb, reserved18;
	uint32_t options[3];
};
_Static_assert(sizeof(struct copy_entry) == COPY_ENTRY_BYTES, "NVM 1.2 3.3.2");

static uint16_t check_copy(const struct gw_cmd *cmd, const struct gw_ns *ns,
			   const struct copy_entry *entry, uint32_t entries)
{
	const uint64_t target = gw_nvme_first(&cmd->sqe), most = cmd->ctrl->ss->config.limits.copy_blocks;
	uint64_t total = 0;

	for (uint32_t i = 0; i < entries; i++) {
		const uint64_t count = entry[i].nlb + UINT64_C(1);

		if (count > most)
			return NVME_SC_COPY_SIZE_LIMIT;
		if (entry[i].slba > ns->blocks || count > ns->blocks - entry[i].slba)
			return NVME_SC_LBA_OUT_OF_RANGE;
		total += count;
	}
	if (total > most)
		return NVME_SC_COPY_SIZE_LIMIT;
	return target > ns->blocks || total > ns->blocks - target ? NVME_SC_LBA_OUT_OF_RANGE :
								    NVME_SC_SUCCESS;
}

static uint16_t copy_range(struct gw_cmd *cmd, struct gw_ns *ns, uint64_t from, uint64_t to,
			   uint64_t count, bool through)
{
	const uint64_t step = GW_SSD_XFER_BYTES_MAX >> ns->lbads;

	if (gw_ns_any_bad(ns, from, count))
		return NVME_SC_UNRECOVERED_READ;
	for (uint64_t done = 0; done < count;) {
		const uint64_t here = count - done < step ? count - done : step;
		const struct iovec iov = { cmd->ctrl->bounce, here << ns->lbads };
		uint16_t status = read_status(gw_ns_read(ns, from + done, here, &iov, 1));

		if (status != NVME_SC_SUCCESS)
			return status;
		status = write_status(gw_ns_write(ns, to + done, here, &iov, 1, through));
		gw_cdq_log(cmd->ctrl, ns->nsid, to + done, here, false);
		if (status != NVME_SC_SUCCESS)
			return status;
		done += here;
	}
	return NVME_SC_SUCCESS;
}

static uint16_t do_copy(struct gw_cmd *cmd, struct gw_ns *ns)
{
	struct copy_entry entry[GW_SSD_COPY_RANGES_MAX];
	const uint32_t entries = gw_nvme_entries(&cmd->sqe);
	const bool through = is_through(cmd);
	uint64_t target = gw_nvme_first(&cmd->sqe);
	uint16_t status;

	if ((cmd->sqe.cdw12 >> 8 & 0xf) != 0)
		return NVME_SC_INVALID_FIELD;
	if (entries > cmd->ctrl->ss->config.limits.copy_ranges)
		return NVME_SC_COPY_SIZE_LIMIT;
	status = gw_xfer_from_host(cmd, entry, entries * sizeof(entry[0]));
	if (status == NVME_SC_SUCCESS)
		status = check_copy(cmd, ns, entry, entries);
	for (uint32_t i = 0; status == NVME_SC_SUCCESS && i < entries; i++) {
		status = copy_range(cmd, ns, entry[i].slba, target, entry[i].nlb + UINT64_C(1), through);
		cmd->dw0 = i;		/* the first range that was not copied */
		target += entry[i].nlb + UINT64_C(1);
	}
	if (status == NVME_SC_SUCCESS)
		cmd->dw0 = 0;
	return status;
}

/* ---- Dispatch -------------------------------------------------------------------------------------- */

static uint16_t execute_one(struct gw_cmd *cmd, struct gw_ns *ns)
{
	if (!gw_ssd_config_has(&cmd->ctrl->ss->config, false, cmd->sqe.opcode))
		return NVME_SC_INVALID_OPCODE;
	switch (cmd->sqe.opcode) {
	case GW_NVME_FLUSH:
		return write_status(gw_ns_flush(ns));
	case GW_NVME_WRITE:
		return do_write(cmd, ns);
	case GW_NVME_READ:
		return do_read(cmd, ns);
	case GW_NVME_WRITE_UNCORRECTABLE:
		return do_write_uncorrectable(cmd, ns);
	case GW_NVME_COMPARE:
		return do_compare(cmd, ns);
	case GW_NVME_WRITE_ZEROES:
		return do_write_zeroes(cmd, ns);
	case GW_NVME_DATASET_MANAGEMENT:
		return do_dataset_management(cmd, ns);
	case GW_NVME_VERIFY:
		return do_verify(cmd, ns);
	case GW_NVME_COPY:
		return do_copy(cmd, ns);
	default:
		return NVME_SC_INVALID_OPCODE;
	}
}

/* Compare, and write if it is equal; between the two nobody comes in. */
static uint16_t execute_pair(struct gw_cmd *cmd, const struct gw_nvme_sqe *second, struct gw_ns *ns,
			     uint16_t *status_second)
{
	const struct gw_nvme_sqe first = cmd->sqe;
	uint16_t status;

	if (cmd->ctrl->ss->config.fuses == 0 || first.opcode != GW_NVME_COMPARE || second->opcode != GW_NVME_WRITE ||
	    first.nsid != second->nsid || gw_nvme_first(&first) != gw_nvme_first(second) ||
	    gw_nvme_count(&first) != gw_nvme_count(second) ||
	    gw_nvme_count(&first) > cmd->ctrl->ss->config.limits.atomic_blocks) {
		*status_second = NVME_SC_INVALID_FIELD;
		return NVME_SC_INVALID_FIELD;
	}
	*status_second = NVME_SC_FUSED_FAILED;
	status = do_compare(cmd, ns);
	if (status != NVME_SC_SUCCESS)
		return status;
	cmd->sqe = *second;
	*status_second = do_write(cmd, ns);
	cmd->sqe = first;
	return *status_second == NVME_SC_SUCCESS ? NVME_SC_SUCCESS : NVME_SC_FUSED_FAILED;
}

static uint16_t flush_all(struct gw_cmd *cmd)
{
	uint16_t status = NVME_SC_SUCCESS;

	for (uint32_t nsid = 1; nsid <= GW_SSD_NAMESPACES_MAX; nsid++) {
		struct gw_ns *ns = gw_subsys_find(cmd->ctrl->ss, cmd->ctrl, nsid);

		if (ns == NULL)
			continue;
		pthread_mutex_lock(&ns->lock);
		if (gw_ns_flush(ns) < 0)
			status = NVME_SC_WRITE_FAULT;
		pthread_mutex_unlock(&ns->lock);
	}
	return status;
}

static uint16_t execute_locked(struct gw_cmd *cmd, const struct gw_nvme_sqe *second,
			       uint16_t *status_second)
{
	struct gw_ns *ns = gw_subsys_find(cmd->ctrl->ss, cmd->ctrl, cmd->sqe.nsid);
	uint16_t status;

	if (cmd->sqe.opcode == GW_NVME_FLUSH && cmd->sqe.nsid == GW_NVME_NSID_ALL)
		return flush_all(cmd);
	if (ns == NULL)
		return NVME_SC_INVALID_NAMESPACE;
	pthread_mutex_lock(&ns->lock);
	ns->writer = cmd->ctrl->cntlid;
	status = second != NULL ? execute_pair(cmd, second, ns, status_second) : execute_one(cmd, ns);
	pthread_mutex_unlock(&ns->lock);
	return status;
}

uint16_t gw_io_execute(struct gw_cmd *cmd, const struct gw_nvme_sqe *second, uint16_t *status_second)
{
	uint16_t status;

	pthread_rwlock_rdlock(&cmd->ctrl->ss->ns_lock);
	status = execute_locked(cmd, second, status_second);
	pthread_rwlock_unlock(&cmd->ctrl->ss->ns_lock);
	return status;
}

/*
 * Writes go first, and reads after them, side by side: what a write pushes out of the cache while a
 * read is under way, that read would find neither in the file nor in the cache.
 */
static uint32_t execute_some(struct gw_ctrl *c, struct gw_cmd *cmd, uint32_t count, struct gw_ns *ns)
{
	struct gw_ns_read read[GW_READS_MAX];
	struct gw_cmd *reader[GW_READS_MAX];
	uint32_t reads = 0, done = 0;

	for (uint64_t bytes = 0; done < count && bytes < TOGETHER_BYTES; done++) {
		struct gw_cmd *at = &cmd[done];

		if (at->sqe.opcode == GW_NVME_WRITE) {
			at->status = do_write(at, ns);
		} else {
			at->status = begin_read(at, ns, &read[reads]);
			if (at->status == NVME_SC_SUCCESS)
				reader[reads++] = at;
		}
		bytes += at->xfer.bytes;
	}
	gw_ns_read_all(ns, &c->reads, read, reads);
	for (uint32_t i = 0; i < reads; i++)
		reader[i]->status = end_read(reader[i], &read[i]);
	return done;
}

uint32_t gw_io_execute_some(struct gw_ctrl *c, struct gw_cmd *cmd, uint32_t count)
{
	uint32_t done = count;
	struct gw_ns *ns;

	assert(count <= GW_SSD_BATCH_MAX);
	pthread_rwlock_rdlock(&c->ss->ns_lock);
	ns = gw_subsys_find(c->ss, c, cmd->sqe.nsid);
	if (ns != NULL) {
		pthread_mutex_lock(&ns->lock);
		ns->writer = c->cntlid;
		done = execute_some(c, cmd, count, ns);
		pthread_mutex_unlock(&ns->lock);
	}
	pthread_rwlock_unlock(&c->ss->ns_lock);
	for (uint32_t i = 0; ns == NULL && i < count; i++)
		cmd[i].status = NVME_SC_INVALID_NAMESPACE;
	return done;
}

/* What comes of it is final, as far as it gets: else there is something to wait for. */
static bool read_now(struct gw_cmd *cmd, struct gw_ns *ns)
{
	struct gw_ns_read read;

	cmd->status = begin_read(cmd, ns, &read);
	if (cmd->status != NVME_SC_SUCCESS)
		return true;
	if (!gw_ns_read_now(ns, &read)) {
		gw_xfer_written(cmd);
		return false;
	}
	cmd->status = end_read(cmd, &read);
	return true;
}

static bool write_now(struct gw_cmd *cmd, struct gw_ns *ns)
{
	if (check_range(ns, &cmd->sqe, GW_SSD_XFER_BYTES_MAX) == NVME_SC_SUCCESS &&
	    (is_through(cmd) || !gw_ns_has_room(ns, gw_nvme_first(&cmd->sqe), gw_nvme_count(&cmd->sqe))))
		return false;
	cmd->status = do_write(cmd, ns);
	return true;
}

bool gw_io_execute_now(struct gw_cmd *cmd)
{
	struct gw_subsys *ss = cmd->ctrl->ss;
	bool is_done = false;
	struct gw_ns *ns;

	if (pthread_rwlock_tryrdlock(&ss->ns_lock) != 0)
		return false;
	ns = gw_subsys_find(ss, cmd->ctrl, cmd->sqe.nsid);
	if (ns != NULL && pthread_mutex_trylock(&ns->lock) == 0) {
		ns->writer = cmd->ctrl->cntlid;
		is_done = cmd->sqe.opcode == GW_NVME_READ ? read_now(cmd, ns) : write_now(cmd, ns);
		pthread_mutex_unlock(&ns->lock);
	}
	pthread_rwlock_unlock(&ss->ns_lock);
	return is_done;
}

/* ---- Get LBA Status (NVM 1.2 4.2.1) ------------------------------------------------------------------ */

/* What the host's buffer takes, as it is filled. */
struct status_list {
	struct gw_cmd *cmd;
	uint32_t count, room;
	bool is_cut;
	struct nvme_lba_status_entry last;	/* not given out yet: the next may be its neighbour */
	bool has_last;
};

static void put_last(struct status_list *list)
{
	if (!list->has_last)
		return;
	list->has_last = false;
	if (list->count == list->room) {
		list->is_cut = true;
		return;
	}
	gw_xfer_copy(&list->cmd->xfer,
		     sizeof(struct nvme_lba_status) + list->count * sizeof(list->last), &list->last,
		     sizeof(list->last), true);
	list->count++;
}

static void put_range(struct status_list *list, uint64_t first, uint64_t end, uint8_t status)
{
	const uint64_t limit = UINT64_C(1) << 32;

	while (first < end && !list->is_cut) {
		uint64_t count = end - first < limit ? end - first : limit;

		if (list->has_last && list->last.slba + list->last.nlb + 1 == first &&
		    list->last.nlb + UINT64_C(1) + count <= limit) {
			list->last.nlb += (uint32_t)count;
		} else {
			put_last(list);
			list->last = (struct nvme_lba_status_entry){
				.slba = first,
				.nlb = (uint32_t)(count - 1),
				.status = status,
			};
			list->has_last = true;
		}
		first += count;
	}
}

/* A unit counts as a whole as soon as one of its blocks does, cut to what was asked about. */
static void list_runs(struct status_list *list, const struct gw_ns *ns, const uint64_t *map,
		      uint64_t first, uint64_t end, uint64_t unit, uint8_t status)
{
	uint64_t from = first - first % unit, run, run_end;

	while (!list->is_cut && gw_ns_next_run(ns, map, from, ns->blocks, &run, &run_end)) {
		const uint64_t unit_end = (run_end + unit - 1) / unit * unit;

		run -= run % unit;
		if (run >= end)
			break;
		put_range(list, run < first ? first : run, unit_end < end ? unit_end : end, status);
		from = unit_end;
		if (from >= ns->blocks)
			break;
	}
	put_last(list);
}

static uint16_t lba_status(struct gw_cmd *cmd, struct gw_ns *ns)
{
	const uint64_t first = gw_nvme_first(&cmd->sqe);
	const uint32_t type = cmd->sqe.cdw13 >> 24, unit = cmd->ctrl->ss->config.unit_blocks;
	const uint64_t length = cmd->sqe.cdw13 & 0xffff;
	const uint64_t bytes = (cmd->sqe.cdw12 + UINT64_C(1)) * 4;
	struct nvme_lba_status header = { 0 };
	struct status_list list = { .cmd = cmd };
	uint64_t end;
	uint16_t status;

	if ((type != NVME_LBA_STATUS_ALLOCATED || unit == 0) && type != NVME_LBA_STATUS_SCAN &&
	    type != NVME_LBA_STATUS_TRACKED)
		return NVME_SC_INVALID_FIELD;
	if (type != NVME_LBA_STATUS_ALLOCATED && (cmd->ctrl->ss->config.oacs & NVME_OACS_LBA_STATUS) == 0)
		return NVME_SC_INVALID_FIELD;
	if (bytes < sizeof(header) || bytes > GW_SSD_XFER_BYTES_MAX)
		return NVME_SC_INVALID_FIELD;
	if (first >= ns->blocks || length > ns->blocks - first)
		return NVME_SC_LBA_OUT_OF_RANGE;
	end = length == 0 ? ns->blocks : first + length;
	status = gw_xfer_map(cmd, bytes, true);
	if (status != NVME_SC_SUCCESS)
		return status;
	list.room = (uint32_t)((bytes - sizeof(header)) / sizeof(struct nvme_lba_status_entry));
	if (type == NVME_LBA_STATUS_ALLOCATED)
		list_runs(&list, ns, ns->written, first, end, unit, NVME_LBARS_ALLOCATED);
	else
		list_runs(&list, ns, ns->bad, first, end, 1, NVME_LBARS_UNCORRECTABLE);
	header.count = list.count;
	header.condition = list.is_cut ? NVME_LBA_STATUS_INCOMPLETE : NVME_LBA_STATUS_COMPLETE;
	gw_xfer_copy(&cmd->xfer, 0, &header, sizeof(header), true);
	gw_xfer_written(cmd);
	return NVME_SC_SUCCESS;
}

uint16_t gw_io_lba_status(struct gw_cmd *cmd)
{
	struct gw_subsys *ss = cmd->ctrl->ss;
	uint16_t status = NVME_SC_INVALID_NAMESPACE;
	struct gw_ns *ns;

	pthread_rwlock_rdlock(&ss->ns_lock);
	ns = gw_subsys_find(ss, cmd->ctrl, cmd->sqe.nsid);
	if (ns != NULL) {
		pthread_mutex_lock(&ns->lock);
		status = lba_status(cmd, ns);
		pthread_mutex_unlock(&ns->lock);
	}
	pthread_rwlock_unlock(&ss->ns_lock);
	return status;
}

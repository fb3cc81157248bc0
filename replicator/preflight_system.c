// SPDX-License-Identifier: GPL-2.0-or-later
/* Rows about the kernel and the machine: privileges, BPF, io_uring, memory. */
#include <errno.h>
#include <liburing.h>
#include <linux/capability.h>
#include <linux/magic.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "control_server.h"
#include "engine.h"
#include "heat.h"
#include "job.h"
#include "preflight_rows.h"
#include "track.h"
#include "track_events.h"
#include "units.h"

#ifndef BPF_FS_MAGIC
#define BPF_FS_MAGIC 0xcafe4a11
#endif
#define BTF_PATH "/sys/kernel/btf/vmlinux"
#define HUGE_PAGE_BYTES (UINT64_C(2) << 20)
#define BUFFERS_MAX 1024

static bool has_capability(unsigned int capability)
{
	struct __user_cap_header_struct header = { _LINUX_CAPABILITY_VERSION_3, 0 };
	struct __user_cap_data_struct data[2] = { 0 };

	if (syscall(SYS_capget, &header, data) < 0)
		return geteuid() == 0;
	return (data[capability / 32].effective >> capability % 32 & 1) != 0;
}

static void privileges(struct gw_check *check, struct gw_row *row)
{
	const bool needs_admin = check->needs_bpf || check->handoff == GW_MIGRATION_FREEZE;

	if (!needs_admin) {
		gw_row_met(row, "only reading and writing source and target");
	} else if (has_capability(CAP_SYS_ADMIN)) {
		gw_row_met(row, "CAP_SYS_ADMIN");
	} else {
		gw_row_unmet(row, "this process (user %u) has no CAP_SYS_ADMIN: it may not load BPF "
			     "programs or freeze", (unsigned int)geteuid());
		gw_row_mend(row, "run as root (sudo); in a container, with its capabilities");
	}
}

static void btf(struct gw_check *check, struct gw_row *row)
{
	if (!check->needs_bpf) {
		gw_row_met(row, "not needed without tracking");
	} else if (access(BTF_PATH, R_OK) == 0) {
		gw_row_met(row, BTF_PATH);
	} else {
		gw_row_unmet(row, BTF_PATH ": %s", strerror(errno));
		gw_row_mend(row, "use a kernel with CONFIG_DEBUG_INFO_BTF=y (all of Debian's have "
			    "it)");
	}
}

static void bpffs(struct gw_check *check, struct gw_row *row)
{
	struct statfs fs;

	if (!check->needs_bpf) {
		gw_row_met(row, "not needed without tracking");
	} else if (statfs(GW_BPFFS_DIR, &fs) == 0 && (unsigned long)fs.f_type == BPF_FS_MAGIC) {
		gw_row_met(row, GW_BPFFS_DIR);
	} else {
		gw_row_unmet(row, "no bpffs is mounted at " GW_BPFFS_DIR);
		gw_row_mend(row, "mount -t bpf bpf " GW_BPFFS_DIR);
	}
}

static void bpf_self_test(struct gw_check *check, struct gw_row *row)
{
	const bool is_bio_based = check->source != NULL &&
				  check->source->kind == GW_NODE_BLOCK &&
				  !check->source->is_request_based;
	struct gw_diag diag = { 0 };
	int err;

	if (!check->needs_bpf) {
		gw_row_met(row, "not needed without tracking");
		return;
	}
	if (check->by_nvme && check->source != NULL && check->source->nvme.is_namespace) {
		err = gw_track_nvme_self_test(check->source, &diag);
		if (err == 0) {
			gw_row_met(row, "reads of the source, counted as writes, were marked");
			return;
		}
	} else {
		err = gw_track_block_self_test(is_bio_based, &diag);
	}
	if (err == 0) {
		gw_row_met(row, "writes to a scratch %s device were marked",
			   is_bio_based ? "bio-based" : "loop");
		return;
	}
	gw_row_unmet(row, "%s", diag.failed ? diag.text : strerror(-err));
	gw_row_mend(row, "use a kernel from 6.1 on with CONFIG_BPF_SYSCALL, CONFIG_DEBUG_INFO_BTF "
		    "and tracepoints; the modules loop and (for bio-based sources) zram");
}

static void io_uring(struct gw_check *check, struct gw_row *row)
{
	struct io_uring ring;
	const int err = io_uring_queue_init(4, &ring, 0);

	(void)check;
	if (err == 0) {
		io_uring_queue_exit(&ring);
		gw_row_met(row, "a ring could be made");
		return;
	}
	gw_row_unmet(row, "io_uring_setup: %s", strerror(-err));
	if (err == -EPERM || err == -EACCES)
		gw_row_mend(row, "sysctl kernel.io_uring_disabled=0 (in a container: a seccomp "
			    "profile that allows io_uring)");
	else if (err == -ENOMEM)
		gw_row_mend(row, "ulimit -l unlimited");
	else
		gw_row_mend(row, "use a kernel with CONFIG_IO_URING=y");
}

static void grain(struct gw_check *check, struct gw_row *row)
{
	char text[GW_UNIT_TEXT_BYTES];

	if ((check->has & GW_NEEDS_GEOM) != 0) {
		gw_row_met(row, "%s", gw_format_bytes(text, check->geom.grain_bytes));
	} else if (check->source->size_bytes == 0) {
		gw_row_blind(row, "without a source's size");
	} else {
		gw_row_unmet(row, "--grain %u does not fit", check->config->grain_bytes);
		gw_row_mend(row, "a power of two from 4K to 1M, or leave it out");
	}
}

static uint64_t meminfo_bytes(const char *key)
{
	FILE *const file = fopen("/proc/meminfo", "re");
	unsigned long long kib = 0;
	char line[128];
	uint64_t bytes = 0;

	if (file == NULL)
		return 0;
	while (fgets(line, sizeof(line), file) != NULL)
		if (strncmp(line, key, strlen(key)) == 0 &&
		    sscanf(line + strlen(key), ": %llu", &kib) == 1)
			bytes = kib << 10;
	fclose(file);
	return bytes;
}

/* What a migration prints when it begins, but for latencies and blocks that the drive calls vacant. */
static uint64_t needed_bytes(const struct gw_check *check, uint32_t buffers)
{
	const struct gw_migration_config *const config = check->config;
	const uint64_t slab_bytes = gw_engine_slab_bytes(buffers, GW_RUN_BYTES_MAX, config->resync);
	uint64_t bytes = (slab_bytes + HUGE_PAGE_BYTES - 1) / HUGE_PAGE_BYTES * HUGE_PAGE_BYTES;

	bytes += check->geom.words * 8 * gw_settings_bitmaps(config->verify) +
		 gw_engine_bytes(buffers) + gw_control_server_bytes();
	if (config->track != GW_TRACK_NONE)
		bytes += gw_heat_bytes(check->geom.size_grains);
	if (((check->has & GW_NEEDS_SOURCE) != 0 && check->source->nvme.is_namespace) ||
	    ((check->has & GW_NEEDS_TARGET) != 0 && check->target->nvme.is_namespace))
		bytes += gw_events_bytes();
	return bytes;
}

static void memory(struct gw_check *check, struct gw_row *row)
{
	const struct gw_migration_config *const config = check->config;
	const uint32_t buffers = config->buffers != 0 ? config->buffers : GW_BUFFERS_DEFAULT;
	const uint64_t available_bytes = meminfo_bytes("MemAvailable");
	char need_text[GW_UNIT_TEXT_BYTES], available_text[GW_UNIT_TEXT_BYTES];
	struct rlimit limit;
	uint64_t need_bytes;

	if (buffers > BUFFERS_MAX) {
		gw_row_unmet(row, "--buffers %u is more than %d", buffers, BUFFERS_MAX);
		gw_row_mend(row, "fewer --buffers");
		return;
	}
	need_bytes = needed_bytes(check, buffers);
	check->preflight->memory_bytes = need_bytes;
	gw_format_bytes(need_text, need_bytes);
	gw_format_bytes(available_text, available_bytes);
	if (available_bytes != 0 && need_bytes > available_bytes) {
		gw_row_unmet(row, "%s needed, %s available", need_text, available_text);
		gw_row_mend(row, "fewer --buffers, a coarser --grain, or free some memory");
	} else if (!has_capability(CAP_IPC_LOCK) && getrlimit(RLIMIT_MEMLOCK, &limit) == 0 &&
		   limit.rlim_cur < need_bytes) {
		gw_row_unmet(row, "%s must be locked, and this process may lock %llu bytes",
			     need_text, (unsigned long long)limit.rlim_cur);
		gw_row_mend(row, "ulimit -l unlimited, or run as root");
	} else {
		gw_row_met(row, "%s, fixed from the start", need_text);
	}
}

const struct gw_row_rule gw_rows_system[] = {
	{ "privileges", "this process may do what is needed", 0, privileges },
	{ "btf", "the kernel has type information (BTF)", 0, btf },
	{ "bpffs", "a BPF file system is mounted", 0, bpffs },
	{ "bpf", "BPF programs load, and see every write (self-test)", 0, bpf_self_test },
	{ "io-uring", "io_uring can be used", 0, io_uring },
	{ "grain", "the grain fits the source", GW_NEEDS_SOURCE, grain },
	{ "memory", "there is enough memory", GW_NEEDS_GEOM, memory },
	{ NULL, NULL, 0, NULL },
};

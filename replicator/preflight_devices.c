// SPDX-License-Identifier: GPL-2.0-or-later
/* Rows about what source and target are: there, different, large enough, readable. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "clock.h"
#include "preflight_rows.h"
#include "units.h"

#define SAMPLE_NS (50 * GW_NS_PER_MS)
#define SAMPLE_READ_BYTES (UINT32_C(1) << 20)
#define SAMPLE_PLACES 16

static void mend_path(struct gw_row *row, int err, const char *end)
{
	switch (err) {
	case -EACCES:
	case -EPERM:
		gw_row_mend(row, "run as root (sudo), or get permission to open it");
		break;
	case -ENOENT:
	case -ENOTDIR:
		gw_row_mend(row, "check the path; lsblk lists the block devices");
		break;
	case -ENOTBLK:
		gw_row_mend(row, "name a block device or a regular file as %s", end);
		break;
	default:
		gw_row_mend(row, "attach the device or insert its medium, then try again");
	}
}

static void source_exists(struct gw_check *check, struct gw_row *row)
{
	if (check->source == NULL) {
		gw_row_unmet(row, "%s", check->source_diag.text);
		mend_path(row, check->source_err, "source");
		return;
	}
	gw_row_met(row, "%s", check->source->path);
}

static void target_exists(struct gw_check *check, struct gw_row *row)
{
	if (check->target == NULL) {
		gw_row_unmet(row, "%s", check->target_diag.text);
		mend_path(row, check->target_err, "target");
	} else if (check->target_is_new && check->target->read_only) {
		gw_row_unmet(row, "%s does not exist, and its directory may not be written to",
			     check->target->path);
		gw_row_mend(row, "name a target below a directory that you may write to");
	} else if (check->target_is_new) {
		gw_row_met(row, "%s will be made", check->target->path);
	} else {
		gw_row_met(row, "%s", check->target->path);
	}
}

static const char *kind_of(const struct gw_node *node)
{
	return node->kind == GW_NODE_FILE ? "regular file" :
	       node->is_partition ? "partition" : "disk";
}

static void kinds(struct gw_check *check, struct gw_row *row)
{
	if (check->source_err == -ENOTBLK || check->target_err == -ENOTBLK) {
		gw_row_unmet(row, "%s", check->source_err == -ENOTBLK ? check->source_diag.text :
									check->target_diag.text);
		gw_row_mend(row, "name a block device or a regular file");
	} else if (check->source == NULL || check->target == NULL) {
		gw_row_blind(row, "without source and target");
	} else {
		gw_row_met(row, "%s to %s", kind_of(check->source), kind_of(check->target));
	}
}

static void different(struct gw_check *check, struct gw_row *row)
{
	const struct gw_node *const source = check->source, *const target = check->target;
	bool is_same = source->kind == target->kind && source->dev == target->dev;

	if (is_same && source->kind == GW_NODE_FILE)
		is_same = source->file_dev == target->file_dev &&
			  source->file_ino == target->file_ino;
	if (!is_same) {
		gw_row_met(row, "%s and %s", source->name, target->name);
		return;
	}
	gw_row_unmet(row, "%s and %s are the same %s", check->config->source,
		     check->config->target, kind_of(source));
	gw_row_mend(row, "name another target");
}

static void no_overlap(struct gw_check *check, struct gw_row *row)
{
	char why[sizeof(row->why)];

	if (!gw_nodes_overlap(check->source, check->target, why, sizeof(why))) {
		gw_row_met(row, "they share no storage");
		return;
	}
	gw_row_unmet(row, "%s", why);
	gw_row_mend(row, "name a target that is stored somewhere else");
}

static void source_size(struct gw_check *check, struct gw_row *row)
{
	char text[GW_UNIT_TEXT_BYTES];

	if (check->source->size_bytes == 0) {
		gw_row_unmet(row, "%s has 0 bytes", check->source->path);
		gw_row_mend(row, check->source->kind == GW_NODE_FILE ?
			    "name a file that holds something" :
			    "attach something to it (losetup, or a medium)");
		return;
	}
	gw_row_met(row, "%s", gw_format_bytes(text, check->source->size_bytes));
}

/* What the source holds on its disk; less than its size for a file with holes. */
static uint64_t allocated_bytes(const struct gw_node *node)
{
	struct stat st;

	if (node->kind != GW_NODE_FILE || stat(node->path, &st) < 0 ||
	    (uint64_t)st.st_blocks * 512 > node->size_bytes)
		return node->size_bytes;
	return (uint64_t)st.st_blocks * 512;
}

/* A file grows as it is written: its file system must have room. Zeroes and holes take none. */
static void target_file_room(struct gw_check *check, struct gw_row *row)
{
	const struct gw_node *const target = check->target;
	char dir[PATH_MAX], need_text[GW_UNIT_TEXT_BYTES], room_text[GW_UNIT_TEXT_BYTES];
	const uint64_t need_bytes = allocated_bytes(check->source);
	struct statvfs fs;
	uint64_t room_bytes;

	snprintf(dir, sizeof(dir), "%s", target->path);
	*strrchr(dir, '/') = '\0';
	if (statvfs(dir[0] != '\0' ? dir : "/", &fs) < 0) {
		gw_row_unmet(row, "cannot ask %s for its free space: %s", dir, strerror(errno));
		gw_row_mend(row, "name a target on another file system");
		return;
	}
	room_bytes = (uint64_t)fs.f_bavail * fs.f_frsize;
	/* What the file holds now is given back first. */
	if (!check->target_is_new)
		room_bytes += allocated_bytes(target);
	gw_format_bytes(need_text, need_bytes);
	gw_format_bytes(room_text, room_bytes);
	if (room_bytes >= need_bytes) {
		gw_row_met(row, "a file, %s free for %s", room_text, need_text);
	} else if (check->source->kind == GW_NODE_FILE) {
		gw_row_unmet(row, "%s are free for the file, the source holds %s", room_text,
			     need_text);
		gw_row_mend(row, "free some space, or name a target on another file system");
	} else {
		gw_row_warn(row, "%s are free for the file, the source has %s: enough only if the "
			    "rest of it reads as zeroes (they take no space)", room_text, need_text);
		gw_row_mend(row, "free some space, or name a target on another file system");
	}
}

static void target_size(struct gw_check *check, struct gw_row *row)
{
	const uint64_t source_bytes = check->source->size_bytes;
	const uint64_t target_bytes = check->target->size_bytes;

	if (check->target->kind == GW_NODE_FILE) {
		target_file_room(check, row);
	} else if (target_bytes < source_bytes) {
		gw_row_unmet(row, "the target has %llu bytes, %llu less than the source's %llu",
			     (unsigned long long)target_bytes,
			     (unsigned long long)(source_bytes - target_bytes),
			     (unsigned long long)source_bytes);
		gw_row_mend(row, "name a target of at least %llu bytes",
			    (unsigned long long)source_bytes);
	} else if (target_bytes > source_bytes) {
		gw_row_met(row, "%llu bytes more than the source, which stay as they are",
			   (unsigned long long)(target_bytes - source_bytes));
	} else {
		gw_row_met(row, "both have %llu bytes", (unsigned long long)source_bytes);
	}
}

/* A sector is the least that can be written at once; what addresses by sectors changes its meaning with it. */
static void logical_sectors(struct gw_check *check, struct gw_row *row)
{
	const struct gw_node *const source = check->source, *const target = check->target;

	if (target->kind == GW_NODE_FILE) {
		gw_row_met(row, "a file takes any");
	} else if (source->kind == GW_NODE_BLOCK &&
		   target->logical_bytes > source->logical_bytes) {
		gw_row_unmet(row, "the target's sectors have %u bytes, the source's %u: what is "
			     "written in smaller pieces could not be there", target->logical_bytes,
			     source->logical_bytes);
		gw_row_mend(row, "name a target with sectors of %u bytes (nvme format --lbaf, "
			    "losetup -b)", source->logical_bytes);
	} else if (source->size_bytes % target->logical_bytes != 0 &&
		   target->size_bytes >= source->size_bytes &&
		   target->size_bytes - target->size_bytes % target->logical_bytes <
		   source->size_bytes) {
		gw_row_unmet(row, "the source's last %llu bytes need one more sector of %u bytes on "
			     "the target",
			     (unsigned long long)(source->size_bytes % target->logical_bytes),
			     target->logical_bytes);
		gw_row_mend(row, "name a larger target");
	} else if (source->size_bytes % target->logical_bytes != 0) {
		gw_row_met(row, "the rest of the target's last sector becomes zeroes");
	} else if (source->kind == GW_NODE_BLOCK &&
		   target->logical_bytes < source->logical_bytes) {
		gw_row_warn(row, "the target's sectors have %u bytes, the source's %u: a partition "
			    "table, which counts in sectors, will not be understood there",
			    target->logical_bytes, source->logical_bytes);
		gw_row_mend(row, "name a target with sectors of %u bytes if there is a partition "
			    "table on the source", source->logical_bytes);
	} else {
		gw_row_met(row, "%u bytes", target->logical_bytes);
	}
}

static void physical_sectors(struct gw_check *check, struct gw_row *row)
{
	const struct gw_node *const source = check->source, *const target = check->target;

	if (source->kind == GW_NODE_BLOCK && target->kind == GW_NODE_BLOCK &&
	    target->physical_bytes > source->physical_bytes &&
	    target->physical_bytes > GW_GRAIN_BYTES_MIN) {
		gw_row_warn(row, "the target's physical sectors have %u bytes, the source's %u: "
			    "writes may be slower there", target->physical_bytes,
			    source->physical_bytes);
		gw_row_mend(row, "name another target, if that matters");
		return;
	}
	gw_row_met(row, "%u and %u bytes", source->physical_bytes, target->physical_bytes);
}

static void target_writable(struct gw_check *check, struct gw_row *row)
{
	const struct gw_node *const target = check->target;

	if (!target->read_only) {
		gw_row_met(row, "it can be written");
		return;
	}
	gw_row_unmet(row, "%s is read-only", target->path);
	if (target->kind == GW_NODE_FILE)
		gw_row_mend(row, "make the file, its directory and its file system writable");
	else
		gw_row_mend(row, "blockdev --setrw %s (or attach it without read-only)",
			    target->path);
}

static void target_content(struct gw_check *check, struct gw_row *row)
{
	const struct gw_node *const target = check->target;
	char text[128], size[GW_UNIT_TEXT_BYTES];
	struct gw_diag diag = { 0 };

	if (check->target_is_new || (target->kind == GW_NODE_FILE && target->size_bytes == 0)) {
		gw_row_met(row, "nothing there yet");
		return;
	}
	if (gw_node_signature(target, text, sizeof(text), &diag) < 0) {
		gw_row_unmet(row, "%s", diag.text);
		gw_row_mend(row, "see the kernel log (dmesg); name a target that can be read");
		return;
	}
	if (text[0] == '\0' && target->kind == GW_NODE_FILE)
		snprintf(text, sizeof(text), "a file of %s",
			 gw_format_bytes(size, target->size_bytes));
	if (text[0] == '\0') {
		gw_row_met(row, "no signature of a file system, partition table, raid or swap");
	} else if (check->config->overwrite) {
		gw_row_met(row, "%s on it, which will be overwritten", text);
	} else {
		gw_row_unmet(row, "the target holds something: %s", text);
		gw_row_mend(row, "--overwrite, if it may go");
	}
}

/* Reads a piece at each of some places, for a while. Return: bytes read, or negative errno at *at_bytes. */
static int64_t sample(int fd, uint64_t size_bytes, void *buffer, uint64_t *at_bytes)
{
	const uint64_t began_ns = gw_now_ns(&gw_clock_monotonic);
	const uint64_t step_bytes = size_bytes / SAMPLE_PLACES / SAMPLE_READ_BYTES *
				    SAMPLE_READ_BYTES;
	int64_t total_bytes = 0;

	for (uint32_t i = 0;; i++) {
		const uint64_t round = i / SAMPLE_PLACES, place = i % SAMPLE_PLACES;
		ssize_t bytes;

		*at_bytes = place * step_bytes + round * SAMPLE_READ_BYTES;
		/* Places grow into one another: everything was read. */
		if (*at_bytes >= size_bytes ||
		    (step_bytes > 0 && round * SAMPLE_READ_BYTES >= step_bytes))
			break;
		bytes = pread(fd, buffer, SAMPLE_READ_BYTES, (off_t)*at_bytes);
		if (bytes < 0)
			return -errno;
		total_bytes += bytes;
		if (bytes == 0 || gw_now_ns(&gw_clock_monotonic) - began_ns > SAMPLE_NS)
			break;
	}
	return total_bytes;
}

static void set_estimate(struct gw_check *check, uint64_t rate_bytes_per_s)
{
	const uint64_t limit = check->config->bandwidth_bytes_per_s;

	if (limit != 0 && limit < rate_bytes_per_s)
		rate_bytes_per_s = limit;
	if (rate_bytes_per_s > 0)
		check->preflight->estimate_s = (double)allocated_bytes(check->source) /
					       (double)rate_bytes_per_s;
}

/* Also where the duration comes from: the row after it. */
static void source_readable(struct gw_check *check, struct gw_row *row)
{
	const int fd = gw_check_open_source(check);
	char rate_text[GW_UNIT_TEXT_BYTES];
	uint64_t at_bytes = 0, began_ns, elapsed_ns, rate;
	int64_t bytes;
	void *buffer;

	if (fd < 0) {
		gw_row_unmet(row, "cannot open %s: %s", check->source->path, strerror(-fd));
		mend_path(row, fd, "source");
		return;
	}
	buffer = aligned_alloc(4096, SAMPLE_READ_BYTES);
	began_ns = gw_now_ns(&gw_clock_monotonic);
	bytes = buffer != NULL ? sample(fd, check->source->size_bytes, buffer, &at_bytes) :
				 -ENOMEM;
	elapsed_ns = gw_now_ns(&gw_clock_monotonic) - began_ns;
	free(buffer);
	close(fd);
	if (bytes < 0) {
		gw_row_unmet(row, "reading %s at byte %llu: %s", check->source->path,
			     (unsigned long long)at_bytes, strerror((int)-bytes));
		gw_row_mend(row, "see the kernel log (dmesg); a failing disk is better saved with "
			    "ddrescue");
		return;
	}
	rate = (uint64_t)((double)bytes * (double)GW_NS_PER_S /
			  (double)(elapsed_ns > 0 ? elapsed_ns : 1));
	set_estimate(check, rate);
	gw_row_met(row, "read at %s%s", gw_format_rate(rate_text, rate),
		   check->source->read_only ? "; it is read-only, which is fine" : "");
}

static void duration(struct gw_check *check, struct gw_row *row)
{
	const double estimate_s = check->preflight->estimate_s;
	char text[GW_UNIT_TEXT_BYTES];

	if (estimate_s <= 0)
		gw_row_met(row, "not known");
	else
		gw_row_met(row, "about %s for the first pass, at the rate of a short read of the "
			   "source%s",
			   gw_format_duration(text, (uint64_t)(estimate_s * (double)GW_NS_PER_S)),
			   check->config->bandwidth_bytes_per_s != 0 ? " within --bandwidth" : "");
}

static void not_zoned(struct gw_check *check, struct gw_row *row)
{
	const bool source = check->source->is_zoned;

	if (!source && !check->target->is_zoned) {
		gw_row_met(row, "neither is");
		return;
	}
	gw_row_unmet(row, "%s is a zoned device, which must be written in order",
		     source ? check->source->path : check->target->path);
	gw_row_mend(row, "godwit cannot migrate zoned devices; copy by file system");
}

static void every_path_is_seen(struct gw_check *check, struct gw_row *row)
{
	if (!check->is_tracked) {
		gw_row_met(row, "not needed without tracking");
		return;
	}
	if (check->by_nvme && check->source->nvme.is_namespace) {
		gw_row_met(row, "namespace %u of the subsystem %s, by %u controller%s",
			   check->source->nvme.nsid, check->source->nvme.subsystem_nqn,
			   check->source->nvme.controller_count,
			   check->source->nvme.controller_count == 1 ? "" : "s");
		return;
	}
	if (check->by_nvme) {
		gw_row_unmet(row, "--track nvme, and %s is no NVMe namespace",
			     check->source->path);
		gw_row_mend(row, "--track block");
		return;
	}
	if (check->source->has_dax) {
		gw_row_unmet(row, "%s is memory with DAX: what is stored there directly passes the "
			     "block layer by", check->source->path);
		gw_row_mend(row, "make its namespace one of mode \"sector\" (ndctl), or stop its "
			    "users and use --track none");
		return;
	}
	if (!check->source->is_multipath_head) {
		gw_row_met(row, "the block layer shows every write to it");
		return;
	}
	gw_row_unmet(row, "%s is an NVMe multipath head: its writes complete on path devices, out "
		     "of sight of the block tracepoints", check->source->path);
	gw_row_mend(row, "--track nvme, if this kernel's NVMe driver has tracepoints; or boot with "
		    "nvme_core.multipath=N");
}

const struct gw_row_rule gw_rows_devices[] = {
	{ "source-exists", "the source exists", 0, source_exists },
	{ "target-exists", "the target exists or can be made", 0, target_exists },
	{ "kinds", "both are block devices or regular files", 0, kinds },
	{ "different", "source and target are different", GW_NEEDS_BOTH, different },
	{ "no-overlap", "source and target share no storage", GW_NEEDS_BOTH, no_overlap },
	{ "source-size", "the source holds something", GW_NEEDS_SOURCE, source_size },
	{ "target-size", "the target is large enough", GW_NEEDS_BOTH, target_size },
	{ "logical-sectors", "the target takes sectors as small as the source's", GW_NEEDS_BOTH,
	  logical_sectors },
	{ "physical-sectors", "physical sector sizes fit", GW_NEEDS_BOTH, physical_sectors },
	{ "target-writable", "the target is not read-only", GW_NEEDS_TARGET, target_writable },
	{ "target-content", "the target holds nothing, or it may be overwritten", GW_NEEDS_TARGET,
	  target_content },
	{ "not-zoned", "neither is a zoned device", GW_NEEDS_BOTH, not_zoned },
	{ "multipath", "every path to the source is seen", GW_NEEDS_SOURCE,
	  every_path_is_seen },
	{ "source-readable", "the source can be read", GW_NEEDS_SOURCE, source_readable },
	{ "duration", "estimated duration", GW_NEEDS_SOURCE, duration },
	{ NULL, NULL, 0, NULL },
};

// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Rows about NVMe drives: what their namespaces have in common, what differs and does no harm, what
 * blocks. Only looked at where one of the ends is a namespace. Commands that mend are printed.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dev.h"
#include "nvme_answers.h"
#include "preflight_rows.h"
#include "units.h"

#define PAGE_BYTES 4096u		/* the unit of MDTS on every drive that a kernel of ours drives */
#define KELVIN 273

static const struct gw_nvme_facts *facts_of(const struct gw_check *check, enum gw_end end)
{
	return check->nvme_err[end] == 0 ? &check->nvme[end] : NULL;
}

static const struct gw_node *node_of(const struct gw_check *check, enum gw_end end)
{
	return end == GW_SOURCE ? check->source : check->target;
}

static const char *name_of(enum gw_end end)
{
	return end == GW_SOURCE ? "source" : "target";
}

/* An end that is a namespace, whose drive did not answer. Return: true if there is one; then the row is done. */
static bool is_silent(const struct gw_check *check, enum gw_end end, struct gw_row *row)
{
	if (check->nvme_err[end] == 0 || check->nvme_err[end] == -ENXIO)
		return false;
	gw_row_warn(row, "the %s's drive did not say", name_of(end));
	gw_row_mend(row, "run as root; see what `nvme id-ns %s` says", node_of(check, end)->path);
	return true;
}

static bool either_is_silent(const struct gw_check *check, struct gw_row *row)
{
	return is_silent(check, GW_SOURCE, row) || is_silent(check, GW_TARGET, row);
}

/* The row needs both; says so where it lacks one. */
static bool has_both(const struct gw_check *check, struct gw_row *row)
{
	for (enum gw_end end = GW_SOURCE; end <= GW_TARGET; end++) {
		if (check->nvme_err[end] == -ENXIO) {
			gw_row_met(row, "the %s is no NVMe namespace", name_of(end));
			return false;
		}
	}
	return !either_is_silent(check, row);
}

/* The row is about one end. Return: its facts, or NULL; then the row is done. */
static const struct gw_nvme_facts *needs(const struct gw_check *check, enum gw_end end,
					 struct gw_row *row)
{
	if (check->nvme_err[end] == -ENXIO)
		gw_row_met(row, "the %s is no NVMe namespace", name_of(end));
	else
		is_silent(check, end, row);
	return facts_of(check, end);
}

/* ---- formats ---- */

static void identified(struct gw_check *check, struct gw_row *row)
{
	char text[2][128] = { "", "" };

	for (enum gw_end end = GW_SOURCE; end <= GW_TARGET; end++) {
		const struct gw_nvme_facts *const facts = facts_of(check, end);

		if (check->nvme_err[end] == -ENXIO) {
			snprintf(text[end], sizeof(text[end]), "no namespace");
		} else if (facts == NULL) {
			gw_row_warn(row, check->nvme_err[end] == -EPROTO ?
				    "the %s's drive says of itself what cannot be" :
				    "the %s's drive cannot be asked: %s", name_of(end),
				    strerror(-check->nvme_err[end]));
			gw_row_mend(row, "run as root; see what `nvme id-ns %s` says",
				    node_of(check, end)->path);
			return;
		} else {
			snprintf(text[end], sizeof(text[end]), "namespace %u of %s %s",
				 node_of(check, end)->nvme.nsid, facts->model, facts->serial);
		}
	}
	gw_row_met(row, "%s; %s", text[GW_SOURCE], text[GW_TARGET]);
}

static void two_namespaces(struct gw_check *check, struct gw_row *row)
{
	if (!has_both(check, row))
		return;
	/* Partitions of one are looked at by the row about shared storage. */
	if (check->source->disk_dev != check->target->disk_dev &&
	    gw_nvme_is_one_namespace(&check->nvme[GW_SOURCE], &check->nvme[GW_TARGET])) {
		gw_row_unmet(row, "%s and %s are two ways to one namespace of the drive %s",
			     check->source->path, check->target->path,
			     check->nvme[GW_SOURCE].serial);
		gw_row_mend(row, "name another target");
		return;
	}
	if (check->source->nvme.subsystem == check->target->nvme.subsystem)
		gw_row_met(row, "of one drive, %s", check->nvme[GW_SOURCE].serial);
	else
		gw_row_met(row, "of two drives");
}

/* What would give the target such blocks. */
static void mend_format(const struct gw_check *check, struct gw_row *row, uint32_t lba_bytes,
			uint16_t metadata_bytes, uint8_t protection)
{
	const struct gw_nvme_facts *const target = &check->nvme[GW_TARGET];
	const int index = gw_nvme_find_format(target, lba_bytes, metadata_bytes);
	char pi[16] = "";

	if (protection != 0)
		snprintf(pi, sizeof(pi), " --pi=%u", protection);
	if (!target->can_format || index < 0)
		gw_row_mend(row, "name another target: this drive cannot be formatted to blocks of "
			    "%u + %u bytes", lba_bytes, metadata_bytes);
	else
		gw_row_mend(row, "nvme format /dev/%s --namespace-id=%u --lbaf=%d%s   (erases %s)",
			    check->target->disk_name, check->target->nvme.nsid, index, pi,
			    target->formats_all ? "every namespace of that drive" : "it");
}

static void lba_format(struct gw_check *check, struct gw_row *row)
{
	const struct gw_nvme_facts *const source = &check->nvme[GW_SOURCE];
	const struct gw_nvme_facts *const target = &check->nvme[GW_TARGET];

	if (!has_both(check, row))
		return;
	if (source->format.lba_bytes == target->format.lba_bytes) {
		gw_row_met(row, "same: %u bytes", source->format.lba_bytes);
		return;
	}
	if (target->format.lba_bytes < source->format.lba_bytes)
		gw_row_differs(row, "%u bytes on the source, %u on the target: what is written in "
			       "larger blocks fits smaller ones; what counts in blocks, as a "
			       "partition table does, changes its meaning",
			       source->format.lba_bytes, target->format.lba_bytes);
	else
		gw_row_unmet(row, "%u bytes on the source, %u on the target: what is written in "
			     "smaller pieces could not be there", source->format.lba_bytes,
			     target->format.lba_bytes);
	mend_format(check, row, source->format.lba_bytes, source->format.metadata_bytes,
		    source->protection);
}

/* Bytes of metadata that are somebody's own: those that protection information does not take. */
static uint32_t own_metadata(const struct gw_nvme_facts *facts)
{
	return facts->format.metadata_bytes - facts->protection_bytes;
}

static void metadata(struct gw_check *check, struct gw_row *row)
{
	const struct gw_nvme_facts *const source = needs(check, GW_SOURCE, row);
	const struct gw_nvme_facts *const target = facts_of(check, GW_TARGET);

	if (source == NULL)
		return;
	if (own_metadata(source) > 0) {
		gw_row_unmet(row, "the source's blocks have %u bytes of metadata that are no "
			     "protection information: whoever uses them would miss them, for data "
			     "alone is copied", own_metadata(source));
		gw_row_mend(row, "copy by the application that uses the metadata, to a target of "
			    "the same format");
	} else if (target != NULL && own_metadata(target) > 0) {
		gw_row_differs(row, "the target's blocks have %u bytes of metadata, which nobody "
			       "uses", own_metadata(target));
		mend_format(check, row, source->format.lba_bytes, source->format.metadata_bytes,
			    source->protection);
	} else {
		gw_row_met(row, source->format.metadata_bytes == 0 ?
			   "none that would have to be copied" :
			   "none but protection information");
	}
}

static void protection(struct gw_check *check, struct gw_row *row)
{
	const struct gw_nvme_facts *const source = &check->nvme[GW_SOURCE];
	const struct gw_nvme_facts *const target = &check->nvme[GW_TARGET];

	if (!has_both(check, row))
		return;
	if (source->protection == target->protection &&
	    source->protection_bytes == target->protection_bytes) {
		if (source->protection == 0)
			gw_row_met(row, "same: none");
		else
			gw_row_met(row, "same: type %u, which the kernel makes anew on the target",
				   source->protection);
	} else if (source->protection == 0) {
		gw_row_differs(row, "none on the source, type %u on the target, which the kernel "
			       "makes", target->protection);
	} else if (target->protection == 0) {
		gw_row_warn(row, "type %u on the source, none on the target: the data is the same, "
			    "and no longer protected on its way", source->protection);
		mend_format(check, row, source->format.lba_bytes, source->format.metadata_bytes,
			    source->protection);
	} else {
		gw_row_differs(row, "type %u (%u bytes) on the source, %u (%u bytes) on the target: "
			       "the kernel makes it anew there", source->protection,
			       source->protection_bytes, target->protection,
			       target->protection_bytes);
	}
}

static void command_set(struct gw_check *check, struct gw_row *row)
{
	static const char *const names[] = { "NVM", "key value", "zoned" };

	for (enum gw_end end = GW_SOURCE; end <= GW_TARGET; end++) {
		const struct gw_nvme_facts *const facts = facts_of(check, end);

		if (facts == NULL || !facts->knows_command_set || facts->command_set == 0)
			continue;
		gw_row_unmet(row, "the %s speaks the %s command set", name_of(end),
			     facts->command_set < 3 ? names[facts->command_set] : "another");
		gw_row_mend(row, "godwit migrates namespaces of the NVM command set; copy by file "
			    "system");
		return;
	}
	if (!either_is_silent(check, row))
		gw_row_met(row, "NVM");
}

/* ---- capacity ---- */

static void capacity(struct gw_check *check, struct gw_row *row)
{
	const struct gw_nvme_facts *const source = facts_of(check, GW_SOURCE);
	const struct gw_nvme_facts *const target = needs(check, GW_TARGET, row);
	char need[GW_UNIT_TEXT_BYTES], room[GW_UNIT_TEXT_BYTES], used[GW_UNIT_TEXT_BYTES];
	uint64_t room_bytes, used_bytes;

	if (target == NULL)
		return;
	used_bytes = check->source->size_bytes;
	if (source != NULL && !check->source->is_partition)
		used_bytes = source->used_blk * source->format.lba_bytes;
	room_bytes = target->capacity_blk * target->format.lba_bytes;
	gw_format_bytes(need, check->source->size_bytes);
	gw_format_bytes(room, room_bytes);
	gw_format_bytes(used, used_bytes);
	if (room_bytes < used_bytes) {
		gw_row_unmet(row, "the target can hold %s at a time (NCAP), less than the source "
			     "holds: %s", room, used);
		gw_row_mend(row, "name a larger target; or nvme delete-ns and create-ns with a "
			    "larger --ncap");
	} else if (room_bytes < check->source->size_bytes) {
		gw_row_warn(row, "the target is thin: it can hold %s at a time (NCAP), the source "
			    "has %s, and uses %s (NUSE)", room, need, used);
		gw_row_mend(row, "name a larger target, or watch what it uses");
	} else if (source != NULL && source->size_blk * source->format.lba_bytes ==
				     target->size_blk * target->format.lba_bytes) {
		gw_row_met(row, "same: %s, of which the source uses %s (NUSE)", need, used);
	} else {
		gw_row_differs(row, "%s go to a target that can hold %s", need, room);
	}
}

/* ---- durability ---- */

/* A cache that no flush empties would make everything that is called settled a guess. */
static void write_cache(struct gw_check *check, struct gw_row *row)
{
	const struct gw_nvme_facts *const source = facts_of(check, GW_SOURCE);
	const struct gw_nvme_facts *const target = needs(check, GW_TARGET, row);

	if (target == NULL)
		return;
	if (target->has_write_cache && check->skips_flushes[GW_TARGET] &&
	    !(target->knows_write_cache && !target->write_cache_is_on)) {
		gw_row_unmet(row, "the target's drive has a volatile write cache, and this kernel "
			     "was told to send it no flushes: nothing on it would be known to be "
			     "durable");
		gw_row_mend(row, "echo 'write back' > /sys/block/%s/queue/write_cache",
			    check->target->disk_name);
	} else if (source == NULL || source->has_write_cache == target->has_write_cache) {
		gw_row_met(row, target->has_write_cache ? "%s volatile, and flushed" :
							  "%s none that is volatile",
			   source == NULL ? "the target's is" : "same:");
	} else {
		gw_row_differs(row, target->has_write_cache ?
			       "only the target's drive has a volatile one: flushes, which cost "
			       "nothing on the source, take time there" :
			       "only the source's drive has a volatile one");
	}
}

/* How much is written as a whole even if power fails. */
static uint64_t atomic_bytes(const struct gw_nvme_facts *facts)
{
	uint64_t blocks = facts->atomic_blk;

	if (facts->atomic_boundary_blk != 0 && facts->atomic_boundary_blk < blocks)
		blocks = facts->atomic_boundary_blk;
	return blocks * facts->format.lba_bytes;
}

static void atomic_write(struct gw_check *check, struct gw_row *row)
{
	const struct gw_nvme_facts *const source = &check->nvme[GW_SOURCE];
	const struct gw_nvme_facts *const target = &check->nvme[GW_TARGET];
	char was[GW_UNIT_TEXT_BYTES], then[GW_UNIT_TEXT_BYTES];
	bool is_cut_finer;

	if (!has_both(check, row))
		return;
	/* A boundary where there was none, or a nearer one, tears what crosses it. */
	is_cut_finer = target->atomic_boundary_blk != 0 &&
		       (source->atomic_boundary_blk == 0 ||
			target->atomic_boundary_blk * (uint64_t)target->format.lba_bytes <
			source->atomic_boundary_blk * (uint64_t)source->format.lba_bytes);
	gw_format_bytes(was, atomic_bytes(source));
	gw_format_bytes(then, atomic_bytes(target));
	if (atomic_bytes(target) < atomic_bytes(source) ||
	    (is_cut_finer && atomic_bytes(source) > target->format.lba_bytes)) {
		gw_row_warn(row, "%s on the source, %s on the target%s: a program that relies on "
			    "more (a database without double writes) can find half a write after a "
			    "power failure", was, then,
			    is_cut_finer ? ", and boundaries that the source has not" : "");
		gw_row_mend(row, "set the database's own protection (double-write buffer, full page "
			    "images), or name another target");
	} else if (atomic_bytes(target) == atomic_bytes(source)) {
		gw_row_met(row, "same: %s", was);
	} else {
		gw_row_differs(row, "%s on the source, %s on the target", was, then);
	}
}

static void transfer_size(struct gw_check *check, struct gw_row *row)
{
	char text[2][GW_UNIT_TEXT_BYTES + 16];

	if (!has_both(check, row))
		return;
	for (enum gw_end end = GW_SOURCE; end <= GW_TARGET; end++) {
		const uint8_t mdts = check->nvme[end].mdts;
		char bytes[GW_UNIT_TEXT_BYTES];

		if (mdts == 0 || mdts > 40)
			snprintf(text[end], sizeof(text[end]), "no limit");
		else
			snprintf(text[end], sizeof(text[end]), "%s",
				 gw_format_bytes(bytes, (uint64_t)PAGE_BYTES << mdts));
	}
	if (strcmp(text[GW_SOURCE], text[GW_TARGET]) == 0)
		gw_row_met(row, "same: %s", text[GW_SOURCE]);
	else
		gw_row_differs(row, "%s on the source, %s on the target: the kernel cuts what is "
			       "too long; programs that send commands themselves ask first",
			       text[GW_SOURCE], text[GW_TARGET]);
}

/* ---- deallocated blocks ---- */

static void deallocated_is_readable(struct gw_check *check, struct gw_row *row)
{
	const struct gw_nvme_facts *const source = needs(check, GW_SOURCE, row);

	if (source == NULL)
		return;
	if (!source->fails_deallocated) {
		gw_row_met(row, "reading them is no error");
		return;
	}
	gw_row_unmet(row, "the source's drive fails reads of deallocated blocks (feature 05h, "
		     "DULBE)");
	gw_row_mend(row, "nvme set-feature /dev/%s --namespace-id=%u --feature-id=5 --value=0",
		    check->source->disk_name, check->source->nvme.nsid);
}

static void deallocated(struct gw_check *check, struct gw_row *row)
{
	static const char *const names[] = {
		[GW_NVME_DEALLOCATED_ANYTHING] = "anything",
		[GW_NVME_DEALLOCATED_ZEROES] = "zeroes",
		[GW_NVME_DEALLOCATED_ONES] = "ones",
	};
	const struct gw_nvme_facts *const source = &check->nvme[GW_SOURCE];
	const struct gw_nvme_facts *const target = &check->nvme[GW_TARGET];

	if (!has_both(check, row))
		return;
	if (source->deallocated == target->deallocated) {
		gw_row_met(row, "same: they read as %s", names[source->deallocated]);
	} else if (source->deallocated == GW_NVME_DEALLOCATED_ANYTHING) {
		gw_row_differs(row, "as anything on the source, as %s on the target",
			       names[target->deallocated]);
	} else {
		gw_row_warn(row, "as %s on the source, as %s on the target: the copy itself is "
			    "right, but a program that discards later and relies on what it reads "
			    "then is not", names[source->deallocated],
			    names[target->deallocated]);
		gw_row_mend(row, "have such a program write zeroes (blkdiscard -z) instead of "
			    "discarding, or name another target");
	}
	if (source->can_deallocate && !target->can_deallocate && row->state != GW_ROW_WARNING)
		gw_row_differs(row, "only the source's drive can deallocate: discards will do "
			       "nothing on the target");
}

/* ---- who else writes ---- */

static void write_protection(struct gw_check *check, struct gw_row *row)
{
	const struct gw_nvme_facts *const source = facts_of(check, GW_SOURCE);
	const struct gw_nvme_facts *const target = facts_of(check, GW_TARGET);

	if (target != NULL && target->is_write_protected) {
		gw_row_unmet(row, "the target is write protected by its drive");
		gw_row_mend(row, "nvme set-feature /dev/%s --namespace-id=%u --feature-id=0x84 "
			    "--value=0 (not if it is permanent)", check->target->disk_name,
			    check->target->nvme.nsid);
	} else if (source != NULL && source->is_write_protected) {
		gw_row_differs(row, "the source is write protected by its drive, the target will "
			       "not be");
	} else if (!either_is_silent(check, row)) {
		gw_row_met(row, "none");
	}
}

static void reservations_of_target(struct gw_check *check, struct gw_row *row)
{
	const struct gw_nvme_facts *const target = needs(check, GW_TARGET, row);

	if (target == NULL)
		return;
	if (target->foreign_registrants > 0) {
		gw_row_unmet(row, "%u other host%s registered on the target%s: it is somebody's",
			     target->foreign_registrants,
			     target->foreign_registrants == 1 ? " is" : "s are",
			     target->reservation != 0 ? ", and it is reserved" : "");
		gw_row_mend(row, "see `nvme resv-report /dev/%s`; take them off there first",
			    check->target->disk_name);
	} else if (!target->can_reserve) {
		gw_row_met(row, "it cannot be reserved");
	} else if (!target->knows_reservations) {
		gw_row_warn(row, "the target can be reserved, and its drive does not say whether "
			    "it is");
		gw_row_mend(row, "see `nvme resv-report /dev/%s`; make sure that no other host uses "
			    "it", check->target->disk_name);
	} else {
		gw_row_met(row, target->reservation != 0 ? "reserved by this host" : "not reserved");
	}
}

static void reservations_of_source(struct gw_check *check, struct gw_row *row)
{
	const struct gw_nvme_facts *const source = needs(check, GW_SOURCE, row);

	if (source == NULL)
		return;
	if (source->registrants > 0 || source->reservation != 0) {
		gw_row_warn(row, "%u registered, %s: that stays behind, the target will have no "
			    "reservation", source->registrants,
			    source->reservation != 0 ? "and a reservation is held" :
						       "no reservation is held");
		gw_row_mend(row, "register and reserve on the target after the switch");
	} else if (source->can_reserve && !source->knows_reservations) {
		gw_row_warn(row, "the source can be reserved, and its drive does not say whether "
			    "it is");
		gw_row_mend(row, "see `nvme resv-report /dev/%s`; what is reserved there is to be "
			    "reserved on the target after the switch", check->source->disk_name);
	} else {
		gw_row_met(row, source->can_reserve ? "not reserved" : "it cannot be reserved");
	}
}

/* What is written past this host is marked by nobody. */
static void shared_source(struct gw_check *check, struct gw_row *row)
{
	const struct gw_nvme_facts *const source = needs(check, GW_SOURCE, row);

	if (source == NULL)
		return;
	if (gw_nvme_is_reserved_for_us(source)) {
		gw_row_met(row, "a reservation keeps all others from writing");
	} else if (source->foreign_registrants > 0) {
		(check->is_tracked ? gw_row_unmet : gw_row_warn)(row,
			"%u other host%s registered on the source: what they write would not be "
			"seen", source->foreign_registrants,
			source->foreign_registrants == 1 ? " is" : "s are");
		gw_row_mend(row, "stop them and nvme resv-register --rrega=1 there; or nvme "
			    "resv-acquire --rtype=1 here");
	} else if (!source->is_shared) {
		gw_row_met(row, "private: one controller alone reaches it");
	} else if (source->knows_attached && source->foreign_count == 0) {
		gw_row_met(row, "shared, and all %u controllers that it is attached to are this "
			   "host's", source->attached_count);
	} else if (source->knows_attached) {
		gw_row_warn(row, "%u of the %u controllers that it is attached to (one is %u) are "
			    "not driven by this kernel: another host, a virtual machine or a "
			    "user-space driver may write there, and nobody would see it",
			    source->foreign_count, source->attached_count, source->foreign_cntlid);
		gw_row_mend(row, "nvme detach-ns /dev/nvme%u --namespace-id=%u --controllers=%u%s",
			    check->source->nvme.controllers[0], check->source->nvme.nsid,
			    source->foreign_cntlid, source->can_reserve ?
			    "; or nvme resv-acquire --rtype=1 here" : "");
	} else if (!source->has_controllers) {
		gw_row_met(row, "may be shared, but its subsystem has one controller");
	} else {
		gw_row_warn(row, "shared, and its drive does not say between which controllers: "
			    "what another host writes would not be seen");
		gw_row_mend(row, "make sure that no other host uses it%s", source->can_reserve ?
			    "; or nvme resv-acquire --rtype=1 here" : "");
	}
}

static void shared_target(struct gw_check *check, struct gw_row *row)
{
	const struct gw_nvme_facts *const target = needs(check, GW_TARGET, row);

	if (target == NULL)
		return;
	if (!target->is_shared || gw_nvme_is_reserved_for_us(target) ||
	    (target->knows_attached && target->foreign_count == 0)) {
		gw_row_met(row, "no other host can");
	} else if (target->knows_attached) {
		gw_row_warn(row, "%u of the %u controllers that it is attached to (one is %u) are "
			    "not driven by this kernel: what somebody writes there spoils the copy",
			    target->foreign_count, target->attached_count, target->foreign_cntlid);
		gw_row_mend(row, "nvme detach-ns /dev/nvme%u --namespace-id=%u --controllers=%u",
			    check->target->nvme.controllers[0], check->target->nvme.nsid,
			    target->foreign_cntlid);
	} else if (target->has_controllers) {
		gw_row_warn(row, "shared, and its drive does not say between which controllers");
		gw_row_mend(row, "make sure that no other host uses it");
	} else {
		gw_row_met(row, "its subsystem has one controller");
	}
}

/* ---- health ---- */

static void firmware(struct gw_check *check, struct gw_row *row)
{
	const struct gw_nvme_facts *const source = facts_of(check, GW_SOURCE);
	const struct gw_nvme_facts *const target = facts_of(check, GW_TARGET);

	for (enum gw_end end = GW_SOURCE; end <= GW_TARGET; end++) {
		const struct gw_nvme_facts *const facts = facts_of(check, end);

		if (facts == NULL || facts->firmware_next == 0)
			continue;
		gw_row_warn(row, "the next reset of the %s's drive activates the firmware in slot "
			    "%u", name_of(end), facts->firmware_next);
		gw_row_mend(row, "reset it before: nvme reset /dev/nvme%u",
			    node_of(check, end)->nvme.controllers[0]);
		return;
	}
	if (source == NULL || target == NULL)
		gw_row_met(row, "%s", source != NULL ? source->firmware :
				target != NULL ? target->firmware : "not known");
	else if (strcmp(source->model, target->model) == 0 &&
		 strcmp(source->firmware, target->firmware) == 0)
		gw_row_met(row, "same: %s, %s", source->model, source->firmware);
	else
		gw_row_differs(row, "%s, %s; %s, %s", source->model, source->firmware,
			       target->model, target->firmware);
}

/* The first of these that holds is told. */
static const struct {
	uint8_t bit;
	bool spoils_target;
	const char *text;
} warnings[] = {
	{ GW_NVME_WARNS_READ_ONLY, true, "its media can no longer be written" },
	{ GW_NVME_WARNS_RELIABILITY, true, "its reliability is degraded" },
	{ GW_NVME_WARNS_BACKUP, true, "its volatile memory has lost its backup" },
	{ GW_NVME_WARNS_SPARE, true, "its spare blocks are used up" },
	{ GW_NVME_WARNS_TEMPERATURE, false, "its temperature is out of bounds" },
	{ GW_NVME_WARNS_PERSISTENT_MEMORY, false, "its persistent memory is unreliable" },
};

static void critical_warnings(struct gw_check *check, struct gw_row *row)
{
	if (!either_is_silent(check, row))
		gw_row_met(row, "none");
	/* The target's are worse: looked at last. */
	for (enum gw_end end = GW_SOURCE; end <= GW_TARGET; end++) {
		const struct gw_nvme_facts *const facts = facts_of(check, end);

		if (facts != NULL && !facts->knows_health) {
			gw_row_warn(row, "the %s's drive did not say", name_of(end));
			gw_row_mend(row, "see `nvme smart-log /dev/%s`",
				    node_of(check, end)->disk_name);
		}
		for (size_t i = 0; facts != NULL && i < sizeof(warnings) / sizeof(warnings[0]); i++) {
			if ((facts->critical_warning & warnings[i].bit) == 0)
				continue;
			if (end == GW_TARGET && warnings[i].spoils_target)
				gw_row_unmet(row, "the target's drive: %s", warnings[i].text);
			else
				gw_row_warn(row, "the %s's drive: %s", name_of(end),
					    warnings[i].text);
			gw_row_mend(row, end == GW_TARGET ? "name another target" :
				    "see `nvme smart-log`; migrate soon, with --verify");
			break;
		}
	}
}

static void spare(struct gw_check *check, struct gw_row *row)
{
	char text[160] = "";

	for (enum gw_end end = GW_SOURCE; end <= GW_TARGET; end++) {
		const struct gw_nvme_facts *const facts = facts_of(check, end);
		const size_t length = strlen(text);

		if (facts == NULL || !facts->knows_health)
			continue;
		snprintf(text + length, sizeof(text) - length, "%s%s %u %% spare, %u %% worn",
			 length > 0 ? "; " : "", name_of(end), facts->spare_percent,
			 facts->used_percent);
		if (end == GW_TARGET && facts->spare_percent < facts->spare_threshold_percent) {
			gw_row_unmet(row, "%s: below the target's own threshold of %u %%", text,
				     facts->spare_threshold_percent);
			gw_row_mend(row, "name another target");
			return;
		}
	}
	for (enum gw_end end = GW_SOURCE; end <= GW_TARGET; end++) {
		const struct gw_nvme_facts *const facts = facts_of(check, end);

		if (facts == NULL || !facts->knows_health ||
		    (facts->used_percent < 100 &&
		     facts->spare_percent >= facts->spare_threshold_percent))
			continue;
		gw_row_warn(row, "%s: the %s's drive is at the end of its life", text,
			    name_of(end));
		gw_row_mend(row, end == GW_TARGET ? "name another target" :
			    "see `nvme smart-log`; migrate soon, with --verify");
		return;
	}
	gw_row_met(row, "%s", text[0] != '\0' ? text : "not known");
}

static void temperature(struct gw_check *check, struct gw_row *row)
{
	char text[96] = "";

	for (enum gw_end end = GW_SOURCE; end <= GW_TARGET; end++) {
		const struct gw_nvme_facts *const facts = facts_of(check, end);
		const size_t length = strlen(text);

		if (facts == NULL || !facts->knows_health || facts->temperature_k == 0)
			continue;
		snprintf(text + length, sizeof(text) - length, "%s%s %d C", length > 0 ? "; " : "",
			 name_of(end), (int)facts->temperature_k - KELVIN);
	}
	for (enum gw_end end = GW_SOURCE; end <= GW_TARGET; end++) {
		const struct gw_nvme_facts *const facts = facts_of(check, end);

		if (facts == NULL || !facts->knows_health || facts->warning_k == 0 ||
		    facts->temperature_k < facts->warning_k)
			continue;
		gw_row_warn(row, "%s: the %s's drive is above its limit of %d C, and slows down",
			    text, name_of(end), (int)facts->warning_k - KELVIN);
		gw_row_mend(row, "cool it, or --bandwidth");
		return;
	}
	gw_row_met(row, "%s", text[0] != '\0' ? text : "not known");
}

/* ---- asking ---- */

static int ask_drive(struct gw_nvme_facts *facts, const struct gw_node *node)
{
	struct gw_nvme_answers *answers;
	int err;

	if (node == NULL || node->kind != GW_NODE_BLOCK || !node->nvme.is_namespace)
		return -ENXIO;
	answers = malloc(sizeof(*answers));
	if (answers == NULL)
		return -ENOMEM;
	err = gw_nvme_ask_all(answers, node);
	if (err == 0)
		err = gw_nvme_read_facts(facts, answers);
	free(answers);
	return err;
}

bool gw_check_ask_drives(struct gw_check *check)
{
	bool is_any = false;

	for (enum gw_end end = GW_SOURCE; end <= GW_TARGET; end++) {
		check->nvme_err[end] = ask_drive(&check->nvme[end], node_of(check, end));
		check->skips_flushes[end] = node_of(check, end) != NULL &&
					    gw_nvme_skips_flushes(node_of(check, end));
		is_any = is_any || check->nvme_err[end] != -ENXIO;
	}
	return is_any;
}

const struct gw_row_rule gw_rows_nvme[] = {
	{ "nvme-identify", "the drives say what they are", 0, identified },
	{ "nvme-different", "two namespaces, not two ways to one", GW_NEEDS_BOTH, two_namespaces },
	{ "nvme-command-set", "both speak the NVM command set", 0, command_set },
	{ "nvme-lba-format", "LBA format", GW_NEEDS_BOTH, lba_format },
	{ "nvme-metadata", "metadata", GW_NEEDS_SOURCE, metadata },
	{ "nvme-protection", "protection information", GW_NEEDS_BOTH, protection },
	{ "nvme-capacity", "capacity (NSZE, NCAP, NUSE)", GW_NEEDS_BOTH, capacity },
	{ "nvme-write-cache", "write cache", GW_NEEDS_TARGET, write_cache },
	{ "nvme-atomic-write", "atomic writes, also when power fails", GW_NEEDS_BOTH,
	  atomic_write },
	{ "nvme-transfer-size", "largest transfer (MDTS)", GW_NEEDS_BOTH, transfer_size },
	{ "nvme-deallocated", "what deallocated blocks read as", GW_NEEDS_BOTH, deallocated },
	{ "nvme-readable", "deallocated blocks can be read", GW_NEEDS_SOURCE,
	  deallocated_is_readable },
	{ "nvme-write-protection", "write protection", 0, write_protection },
	{ "nvme-source-reserved", "reservations on the source", GW_NEEDS_SOURCE,
	  reservations_of_source },
	{ "nvme-target-reserved", "nobody else has reserved the target", GW_NEEDS_TARGET,
	  reservations_of_target },
	{ "nvme-source-shared", "nobody else can write to the source", GW_NEEDS_SOURCE,
	  shared_source },
	{ "nvme-target-shared", "nobody else can write to the target", GW_NEEDS_TARGET,
	  shared_target },
	{ "nvme-firmware", "firmware", 0, firmware },
	{ "nvme-warnings", "critical warnings", 0, critical_warnings },
	{ "nvme-spare", "spare blocks and wear", 0, spare },
	{ "nvme-temperature", "temperature", 0, temperature },
	{ NULL, NULL, 0, NULL },
};

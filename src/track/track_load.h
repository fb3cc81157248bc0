/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Private to src/track: the BPF object of a dirty source, from the plan of what to
 * track to file descriptors of its maps and links. Only track_object_*.c know the
 * skeletons.
 */
#ifndef GW_TRACK_LOAD_H
#define GW_TRACK_LOAD_H

#include <godwit/bpf_abi.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "blkinfo.h"
#include "err.h"
#include "geom.h"
#include "track.h"

struct bpf_object;

/* In the order of gw_map_rows in track_load.c. */
enum gw_map {
	GW_MAP_LIVE,
	GW_MAP_PENDING,
	GW_MAP_COPYING,
	GW_MAP_COARSE,
	GW_MAP_STATE,
	GW_MAP_SLOTS,
	GW_MAP_STRAYS,
	GW_MAP_STATS,
	GW_MAP_RECORD,
	GW_MAP_RECORD_UNITS,
	GW_MAP_HEADER,		/* last: it is pinned last */
	GW_MAPS,
};

/* The first ones are those of enum gw_track_program. */
#define GW_LINK_REQUEUE GW_PROGRAMS_WATCHED	/* request-based disks only */
#define GW_LINKS (GW_PROGRAMS_WATCHED + 1)

#define GW_TAGS_MAX 16384
#define GW_SLOTS_MAX (UINT32_C(1) << 20)

struct gw_plan {
	enum gw_track_source source;
	struct gw_node node;
	struct gw_geom geom;
	bool bio_based;			/* source `block`: its bios are tracked */
	uint32_t coarse_shift;
	uint64_t coarse_words;
	uint32_t hw_queues, tags_per_queue;	/* of the slots: queues of all controllers */
	uint64_t zone_sectors;
	uint64_t record_ranges;		/* of the exact record; 0: there is none */
	uint32_t record_units, record_unit_shift;	/* beside it; from sectors */
	bool reads_mark;		/* source `nvme`, in its self-test: a read counts as a write */
};

/* What a map has to look like. */
struct gw_map_shape {
	const char *pin;		/* its name in the pins */
	uint32_t type, key_bytes, value_bytes, flags;
	uint64_t entries;
	uint64_t mmap_bytes;		/* 0: it cannot be mapped */
};
struct gw_map_shape gw_map_shape(enum gw_map map, const struct gw_plan *plan);
const char *gw_link_pin(unsigned int link);

/*
 * What node and size (0: all of it) mean for maps and programs. Return: 0, or
 * negative errno, said (GW_EXIT_CANNOT), if it cannot be tracked.
 */
int gw_plan_make(struct gw_plan *plan, enum gw_track_source source, const struct gw_node *node,
		 uint32_t grain_bytes, uint64_t size_bytes, struct gw_diag *diag);
/*
 * Makes room in the plan for an exact record that takes so many bytes. Return: 0, or -EINVAL if
 * that is too little or too much for any; said (GW_EXIT_USAGE).
 */
int gw_plan_record(struct gw_plan *plan, uint64_t record_bytes, struct gw_diag *diag);
/* What it takes in the kernel. */
uint64_t gw_plan_record_bytes(const struct gw_plan *plan);
/* Controllers of an NVMe namespace that have slots; the others' commands go to the hash. */
uint32_t gw_plan_controllers(const struct gw_plan *plan);
/* Has the plan a program behind that link? */
bool gw_plan_has_link(const struct gw_plan *plan, unsigned int link);

/* A sysfs attribute of the disk, without the newline. Return: 0, or -ENOENT and text is "". */
int gw_disk_attribute(const struct gw_node *node, const char *attribute, char *text,
		      size_t text_bytes);

/* coarse_shift and coarse_words, from geom. */
void gw_plan_coarse(struct gw_plan *plan);

/* Root, BTF. Return: 0 or negative errno, said (GW_EXIT_CANNOT). */
int gw_load_check_kernel(struct gw_diag *diag);

/*
 * Before calls of libbpf: what it says goes to diag (NULL: nowhere), and its first complaint
 * into what gw_load_fail() says of the call that failed. That forgets diag, and returns err.
 */
void gw_load_listen(struct gw_diag *diag);
int gw_load_fail(struct gw_diag *diag, int err, const char *what);

/* What is particular to one BPF object: its skeleton. */
struct gw_object {
	/* Return: the opened skeleton, or NULL with errno; *bpf is the object in it. */
	void *(*open)(struct bpf_object **bpf);
	/* Read-only data, programs that are not wanted. */
	void (*set_up)(void *skeleton, const struct gw_plan *plan);
	int (*load)(void *skeleton);
	void (*destroy)(void *skeleton);
	/* NULL: there is none. */
	const char *(*program)(const struct gw_plan *plan, unsigned int link);
};

extern const struct gw_object gw_object_block, gw_object_nvme;

/*
 * Where the kernel has these symbols; 0 for one that is not listed. Modules' are found, too. One
 * pass through all of the kernel's, which are more than a hundred thousand.
 */
void gw_kernel_symbols(size_t count, const char *const names[], uint64_t addresses[]);

/* Programs loaded and not yet attached; map_fds and link_fds are -1 where there is none. */
struct gw_load {
	const struct gw_object *object;
	void *skeleton;			/* NULL: nothing is loaded */
	struct bpf_object *bpf;
	const struct gw_plan *plan;	/* borrowed until gw_load_close() */
	int map_fds[GW_MAPS];
	int link_fds[GW_LINKS];
};

/* plan is borrowed. Return: 0 or negative errno, said. *load is empty on failure. Undo with gw_load_close(). */
int gw_load_open(struct gw_load *load, const struct gw_plan *plan, struct gw_diag *diag);
/* Attaches one program. Return: 0 or negative errno, said. */
int gw_load_attach(struct gw_load *load, unsigned int link, struct gw_diag *diag);
/* Completion first. */
int gw_load_attach_all(struct gw_load *load, struct gw_diag *diag);
void gw_load_detach(struct gw_load *load, unsigned int link);
/* Closes what is left; descriptors set to -1 have been taken over. */
void gw_load_close(struct gw_load *load);

#endif

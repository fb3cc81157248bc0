// SPDX-License-Identifier: GPL-2.0-or-later
#include "track_events.h"

#include <assert.h>
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <godwit/event_abi.h>

#include "blkinfo_sysfs.h"
#include "clock.h"
#include "gw_events.skel.h"
#include "track.h"
#include "track_load.h"
#include "track_pins.h"

/* In the order in which they are attached: ends first, as in track_load.c. */
enum link {
	LINK_COMPLETE1,
	LINK_COMPLETE2,
	LINK_ASYNC,
	LINK_SETUP,
	LINKS_NEEDED,
	LINK_STATE = LINKS_NEEDED,
	LINK_TIMEOUT,
	LINKS,
};

#define RING_PIN "events1_ring"
#define COUNTS_PIN "events1_counts"

static const char *const link_pins[LINKS] = {
	"events1_complete1", "events1_complete2", "events1_async", "events1_setup",
	"events1_state", "events1_timeout",
};

struct gw_event_watch {
	int ring_fd, counts_fd;
	int link_fds[LINKS];		/* -1: not attached */
	int program_fds[LINKS];
	struct ring_buffer *ring;
	const struct gw_bpf_event_counts *counts;	/* mapped */
	uint64_t lost_seen;
	/* During gw_events_read(). */
	gw_events_fn fn;
	void *arg;
	uint64_t wall_minus_ns;
	uint32_t left, shown;
	int err;
};

static struct gw_event_watch *new_events(void)
{
	struct gw_event_watch *const events = calloc(1, sizeof(*events));

	if (events == NULL)
		return NULL;
	events->ring_fd = events->counts_fd = -1;
	memset(events->link_fds, -1, sizeof(events->link_fds));
	memset(events->program_fds, -1, sizeof(events->program_fds));
	return events;
}

/* Return: negative when enough was read: the one just shown is taken out all the same. */
static int take_record(void *arg, void *data, size_t data_bytes)
{
	struct gw_event_watch *const events = arg;
	struct gw_event event;

	/* Nobody but our programs writes to it, and there is one version of them. */
	if (gw_event_decode(&event, data, data_bytes, events->wall_minus_ns) < 0)
		return 0;
	gw_sysfs_text(event.serial, sizeof(event.serial), "/sys/class/nvme/nvme%u/serial",
		      event.controller);
	events->err = events->fn(events->arg, &event);
	events->shown++;
	return events->err < 0 || --events->left == 0 ? -ECANCELED : 0;
}

static int map_maps(struct gw_event_watch *events, struct gw_diag *diag)
{
	void *counts;

	events->ring = ring_buffer__new(events->ring_fd, take_record, events, NULL);
	if (events->ring == NULL)
		return gw_load_fail(diag, -errno, "map the ring of NVMe events");
	counts = mmap(NULL, sizeof(*events->counts), PROT_READ, MAP_SHARED, events->counts_fd, 0);
	if (counts == MAP_FAILED)
		return gw_load_fail(diag, -errno, "map the counters of NVMe events");
	events->counts = counts;
	return 0;
}

static int find_programs(struct gw_event_watch *events)
{
	for (int i = 0; i < LINKS; i++) {
		struct bpf_link_info info = { 0 };
		uint32_t bytes = sizeof(info);

		if (events->link_fds[i] < 0)
			continue;
		if (bpf_obj_get_info_by_fd(events->link_fds[i], &info, &bytes) < 0)
			return -errno;
		events->program_fds[i] = bpf_prog_get_fd_by_id(info.prog_id);
		if (events->program_fds[i] < 0)
			return -errno;
	}
	return 0;
}

/* ---- start ---- */

/* Functions that the compiler has done away with, or that a module lacks, are done without. */
static struct gw_events *load_once(const uint32_t *subsystems, uint32_t count, bool with_all)
{
	struct gw_events *const s = gw_events__open();

	if (s == NULL)
		return NULL;
	s->rodata->gw_event_subsystem_count = count;
	for (uint32_t i = 0; i < count; i++)
		s->rodata->gw_event_subsystems[i] = (int)subsystems[i];
	bpf_program__set_autoload(s->progs.gw_events_state, with_all);
	bpf_program__set_autoload(s->progs.gw_events_timeout, with_all);
	if (gw_events__load(s) == 0)
		return s;
	gw_events__destroy(s);
	return NULL;
}

static int attach(struct gw_event_watch *events, struct gw_events *s, enum link link,
		  struct gw_diag *diag)
{
	struct bpf_program *const programs[LINKS] = {
		s->progs.gw_events_complete1, s->progs.gw_events_complete2,
		s->progs.gw_events_async, s->progs.gw_events_setup, s->progs.gw_events_state,
		s->progs.gw_events_timeout,
	};
	struct bpf_link *attached;
	int err = 0;

	if (bpf_program__fd(programs[link]) < 0)
		return -ENOENT;
	attached = bpf_program__attach(programs[link]);
	if (attached == NULL)
		return link < LINKS_NEEDED ?
		       gw_load_fail(diag, -errno, "attach the programs of NVMe events") : -ENOENT;
	events->link_fds[link] = dup(bpf_link__fd(attached));
	if (events->link_fds[link] < 0)
		err = gw_load_fail(diag, -errno, "keep a BPF link");
	bpf_link__destroy(attached);
	return err;
}

static int attach_all(struct gw_event_watch *events, struct gw_events *s, struct gw_diag *diag)
{
	int err = 0;

	for (int i = 0; i < LINKS_NEEDED && err == 0; i++)
		err = attach(events, s, (enum link)i, diag);
	for (int i = LINKS_NEEDED; i < LINKS && err == 0; i++) {
		err = attach(events, s, (enum link)i, diag);
		if (err != -ENOENT)
			continue;
		gw_say(diag, GW_NOTE, "NVMe events: this kernel does not show %s",
		       i == LINK_STATE ? "states of controllers" : "timeouts");
		err = 0;
	}
	return err;
}

static int start(struct gw_event_watch *events, const uint32_t *subsystems, uint32_t count,
		 struct gw_diag *diag)
{
	struct gw_events *s = load_once(subsystems, count, true);
	int err;

	if (s == NULL) {
		gw_load_listen(diag);
		s = load_once(subsystems, count, false);
	}
	if (s == NULL)
		return gw_load_fail(diag, errno != 0 ? -errno : -EINVAL,
				    "load the BPF programs of NVMe events");
	events->ring_fd = dup(bpf_map__fd(s->maps.gw_event_ring));
	events->counts_fd = dup(bpf_map__fd(s->maps.gw_event_counts));
	err = events->ring_fd < 0 || events->counts_fd < 0 ?
	      gw_load_fail(diag, -errno, "keep the maps of NVMe events") : 0;
	if (err == 0)
		err = map_maps(events, diag);
	if (err == 0)
		err = attach_all(events, s, diag);
	if (err == 0 && find_programs(events) < 0)
		err = gw_load_fail(diag, -errno, "find the programs of NVMe events");
	gw_events__destroy(s);
	return err;
}

int gw_events_start(struct gw_event_watch **events, const uint32_t *subsystems, uint32_t count,
		    struct gw_diag *diag)
{
	struct gw_event_watch *fresh;
	int err = gw_load_check_kernel(diag);

	assert(count <= GW_EVENT_SUBSYSTEMS_MAX);
	if (err < 0)
		return err;
	if (!gw_track_nvme_is_there())
		return gw_fail_exit(diag, GW_EXIT_CANNOT, -EOPNOTSUPP,
				    "this kernel's NVMe driver is not loaded, or has no "
				    "tracepoints: its events cannot be seen");
	fresh = new_events();
	if (fresh == NULL)
		return gw_fail_exit(diag, GW_EXIT_CANNOT, -ENOMEM, "no memory for NVMe events");
	gw_load_listen(diag);
	err = start(fresh, subsystems, count, diag);
	gw_load_listen(NULL);
	if (err < 0) {
		gw_events_close(fresh);
		return err;
	}
	*events = fresh;
	return 0;
}

/* ---- pins ---- */

/* What stands there is what was opened, or what a start that died has left. */
static int add_pin(const char *name, const char *pin, int fd, struct gw_diag *diag)
{
	char path[GW_PINS_PATH_BYTES];

	unlink(gw_pins_path(path, name, pin));
	return gw_pins_add(name, pin, fd, diag);
}

int gw_events_pin(struct gw_event_watch *events, const char *name, struct gw_diag *diag)
{
	int err = add_pin(name, RING_PIN, events->ring_fd, diag);

	if (err == 0)
		err = add_pin(name, COUNTS_PIN, events->counts_fd, diag);
	for (int i = 0; i < LINKS && err == 0; i++)
		if (events->link_fds[i] >= 0)
			err = add_pin(name, link_pins[i], events->link_fds[i], diag);
	return err;
}

/* Is the map what our programs fill? What is pinned there may be anybody's. */
static bool is_map(int fd, uint32_t type, uint32_t value_bytes, uint32_t entries)
{
	struct bpf_map_info info = { 0 };
	uint32_t bytes = sizeof(info);

	return bpf_obj_get_info_by_fd(fd, &info, &bytes) == 0 && info.type == type &&
	       info.value_size == value_bytes && info.max_entries == entries;
}

static int open_pin(const char *name, const char *pin)
{
	char path[GW_PINS_PATH_BYTES];
	const int fd = bpf_obj_get(gw_pins_path(path, name, pin));

	return fd < 0 ? -errno : fd;
}

static int open_all(struct gw_event_watch *events, const char *name, struct gw_diag *diag)
{
	events->counts_fd = open_pin(name, COUNTS_PIN);
	for (int i = 0; i < LINKS; i++)
		events->link_fds[i] = open_pin(name, link_pins[i]);
	for (int i = 0; i < LINKS_NEEDED; i++)
		if (events->link_fds[i] < 0)
			return -ENOENT;
	if (!is_map(events->ring_fd, BPF_MAP_TYPE_RINGBUF, 0, GW_EVENT_RING_BYTES) ||
	    !is_map(events->counts_fd, BPF_MAP_TYPE_ARRAY, sizeof(*events->counts), 1))
		return -ENOENT;
	if (find_programs(events) < 0)
		return -ENOENT;
	return map_maps(events, diag);
}

int gw_events_open(struct gw_event_watch **events, const char *name, struct gw_diag *diag)
{
	const int ring_fd = open_pin(name, RING_PIN);
	struct gw_event_watch *opened;
	int err;

	if (ring_fd < 0)
		return -ENOENT;
	opened = new_events();
	if (opened == NULL) {
		close(ring_fd);
		return gw_fail_exit(diag, GW_EXIT_CANNOT, -ENOMEM, "no memory for NVMe events");
	}
	opened->ring_fd = ring_fd;
	err = open_all(opened, name, diag);
	if (err < 0) {
		gw_events_close(opened);
		return err;
	}
	*events = opened;
	return 0;
}

/* ---- reading ---- */

static uint64_t misses_of(int program_fd)
{
	struct bpf_prog_info info = { 0 };
	uint32_t bytes = sizeof(info);

	if (program_fd < 0 || bpf_obj_get_info_by_fd(program_fd, &info, &bytes) < 0)
		return 0;
	return info.recursion_misses;
}

/*
 * Events that are gone for certain. A program that was skipped at an I/O's end has lost nothing,
 * and nobody can tell them apart; what both copies have skipped, with the rest, is in no count.
 */
static uint64_t lost_so_far(const struct gw_event_watch *events)
{
	const volatile struct gw_bpf_event_counts *const counts = events->counts;

	return counts->dropped + misses_of(events->program_fds[LINK_ASYNC]) +
	       misses_of(events->program_fds[LINK_STATE]);
}

static int show_lost(struct gw_event_watch *events, uint64_t lost)
{
	struct gw_event event = {
		.kind = GW_EVENT_LOST,
		.at_ns = gw_wall_ns(),
		.count = lost - events->lost_seen,
	};

	events->lost_seen = lost;
	return events->fn(events->arg, &event);
}

int gw_events_read(struct gw_event_watch *events, uint32_t max, gw_events_fn fn, void *arg)
{
	uint64_t lost;

	assert(max > 0);
	events->fn = fn;
	events->arg = arg;
	events->left = max;
	events->shown = 0;
	events->err = 0;
	events->wall_minus_ns = gw_wall_ns() - gw_now_ns(&gw_clock_monotonic);
	ring_buffer__consume(events->ring);
	lost = lost_so_far(events);
	if (events->err == 0 && lost > events->lost_seen)
		events->err = show_lost(events, lost);
	return events->err < 0 ? events->err : (int)events->shown;
}

uint64_t gw_events_bytes(void)
{
	/*
	 * The kernel maps the ring twice, and has it once, with three pages of its own; an entry of
	 * the hash comes to 112 bytes.
	 */
	return GW_EVENT_RING_BYTES + 3 * 4096 + GW_EVENT_SENDERS * UINT64_C(112);
}

void gw_events_close(struct gw_event_watch *events)
{
	if (events == NULL)
		return;
	ring_buffer__free(events->ring);
	if (events->counts != NULL)
		munmap((void *)events->counts, sizeof(*events->counts));
	for (int i = 0; i < LINKS; i++) {
		if (events->program_fds[i] >= 0)
			close(events->program_fds[i]);
		if (events->link_fds[i] >= 0)
			close(events->link_fds[i]);
	}
	if (events->counts_fd >= 0)
		close(events->counts_fd);
	if (events->ring_fd >= 0)
		close(events->ring_fd);
	free(events);
}

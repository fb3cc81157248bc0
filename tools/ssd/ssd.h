/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The parts of the software SSD and how they hang together.
 *
 *   port      what a client is connected to: its guest memory, its interrupts, its PCI function
 *   ctrl      the NVMe controller behind it: registers, queues, features
 *   subsys    what the controllers share: namespaces, and the state of live migration
 *
 * Threads: one reader per port, which never waits for I/O; one worker per controller, which
 * executes its commands one after the other, but plain reads and writes together. Of a host that has
 * one command at a time, the reader executes that one if it needs to wait for nothing. Locks, outermost
 * first: port->link_lock, subsys->ns_lock, ns->lock, subsys->lm_lock, ctrl->lock, port->lock,
 * map->lock. No lock but those of the namespaces is held while waiting for anything.
 */
#ifndef GW_SSD_H
#define GW_SSD_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>

#include <godwit/nvme_abi.h>

#include "dma_map.h"
#include "err.h"
#include "ssd_config.h"
#include "ssd_faults.h"
#include "ssd_ns.h"
#include "ssd_trace.h"

#define GW_SSD_PIECES_MAX ((1u << GW_SSD_MDTS) + 1)
#define GW_SSD_EVENTS_MAX 32u
#define GW_SSD_BATCH_MAX GW_READS_MAX	/* commands that are executed together */
#define GW_STATE_BYTES_MAX (64u << 10)	/* of a controller state */

/* ---- Port --------------------------------------------------------------------------------------- */

struct gw_ctrl;
struct gw_subsys;

struct gw_port {
	struct gw_ctrl *ctrl;
	struct gw_dma_map map;
	pthread_mutex_t lock;		/* of all below */
	uint8_t config[4096];		/* PCI configuration space */
	uint32_t vectors;		/* that there are: what the first controller behind it had */
	int vector_fd[GW_SSD_VECTORS];	/* eventfds; -1: none */
	bool is_owed[GW_SSD_VECTORS];	/* an interrupt that found no eventfd */
	atomic_bool is_bus_master;	/* else no DMA: of the command register */
	pthread_mutex_t link_lock;	/* outermost: of the next, and of who is ctrl */
	bool is_negotiated;		/* VERSION was the first message */
};

int gw_port_init(struct gw_port *port, struct gw_ctrl *ctrl);
void gw_port_fini(struct gw_port *port);
/* The client is gone: controller reset, memory and eventfds forgotten. */
void gw_port_disconnect(struct gw_port *port);
/* As DEVICE_RESET: controller and configuration space. Descriptors and memory stay. */
void gw_port_reset(struct gw_port *port);
void gw_port_interrupt(struct gw_port *port, uint32_t vector);
/*
 * ssd_port.c: the port of `from` (client, memory, interrupts, PCI function) becomes that of `to`, and the
 * other way round. Both are suspended, `to` has the state of `from`, and its port has no client. What
 * the guest did meanwhile goes over with the port. Return: 0, or negative errno, said; all is as it was.
 */
int gw_port_switch(struct gw_ctrl *from, struct gw_ctrl *to, struct gw_diag *diag);
/* Takes fd over; -1: none from now on. */
void gw_port_set_vector(struct gw_port *port, uint32_t vector, int fd);

/* ssd_pci.c: both check nothing but offset + bytes <= 4096, which the caller has. */
void gw_pci_init(struct gw_port *port);
void gw_pci_read(struct gw_port *port, uint32_t offset, void *to, uint32_t bytes);
/* Return: true: a function level reset was asked for. */
bool gw_pci_write(struct gw_port *port, uint32_t offset, const void *from, uint32_t bytes);

/* ---- Controller -------------------------------------------------------------------------------- */

struct gw_sq {
	bool is_live;
	uint16_t cqid, priority;
	uint32_t size, head, tail;	/* entries */
	uint64_t base;
};

struct gw_cq {
	bool is_live, has_interrupts;
	uint16_t vector;
	bool phase;			/* of the next entry */
	uint32_t size, head, tail, sqs;	/* sqs: that post here */
	uint32_t promised;		/* entries that commands under way will take */
	uint32_t told;			/* by an interrupt, and not taken yet */
	uint32_t load;			/* commands that the host has under way, when last looked at */
	uint32_t probe_in;		/* so many interrupts it is looked at again; 0: now */
	uint64_t base;
};

struct gw_event {
	uint32_t dw0, dw1;
};

struct gw_features {
	uint32_t arbitration, power, temperature, error_recovery, write_cache, coalescing;
	uint32_t write_atomicity, async_events, keep_alive;
	uint32_t vector[GW_SSD_VECTORS];
	uint64_t timestamp_ms, timestamp_at_ns;
	uint8_t timestamp_origin;
	uint8_t host_id[16], host_behavior[512];
	uint16_t queues;		/* 0-based, as it was granted; both kinds */
};

/* Of one controller, by their numbers: all that can be saved are a dword. */
#define GW_SSD_SAVED_FIDS 16u
struct gw_saved_features {
	uint32_t mask;			/* a bit for each that is */
	uint32_t value[GW_SSD_SAVED_FIDS];
};

/* Memory that a command reads or writes, in pieces. */
struct gw_xfer {
	struct iovec iov[GW_SSD_PIECES_MAX];
	uint64_t iova[GW_SSD_PIECES_MAX];
	int pieces;
	uint64_t bytes;
};

struct gw_cmd {
	struct gw_ctrl *ctrl;
	struct gw_nvme_sqe sqe;
	uint16_t sqid;
	uint64_t generation;		/* of the controller when it was fetched */
	unsigned int epoch;		/* of the map; see gw_cmd_park() */
	uint32_t dw0, dw1;		/* of its completion */
	uint64_t fetched_ns;
	struct gw_fault_plan plan;	/* what is to go wrong with it */
	bool is_kept;			/* no completion now: an asynchronous event request */
	uint16_t status;		/* of one that was executed with others */
	struct gw_xfer xfer;
};

struct gw_counters {
	uint64_t commands, read_commands, write_commands, blocks_read, blocks_written;
	uint64_t bytes_read, bytes_written, errors, media_errors, power_cycles, unsafe_shutdowns;
};

/* Track Memory Changes of one controller: what it wrote to its host's memory. */
struct gw_memory_track {
	atomic_bool is_on;
	pthread_mutex_t lock;		/* of all below; innermost, as port->lock */
	uint8_t granularity;		/* 2^n x 4 KiB */
	uint32_t ranges;
	struct nvme_track_range range[GW_SSD_TRACK_RANGES_MAX];
	struct gw_ctrl *owner;		/* who started it; of ss->lm_lock */
	uint64_t *bits[GW_SSD_TRACK_RANGES_MAX];
};

/* Parts of a controller state on their way in (Migration Send, Set Controller State). */
struct gw_state_parts {
	pthread_mutex_t lock;		/* a manager that puts one is at work; never waited for */
	bool is_open;
	struct gw_ctrl *owner;		/* whose host opened it */
	uint8_t csvi, csuuidi;
	uint64_t generation;		/* of the controller that they are for: its reset drops them */
	uint64_t bytes;			/* the end of what has come */
	uint8_t *data;			/* GW_STATE_BYTES_MAX */
	uint8_t *seen;			/* a byte for each dword that has come */
};

/* Its own memory, that its host may use: ssd_cmb.c. */
struct gw_cmb {
	uint8_t *at;
	uint64_t bytes;			/* 0: there is none */
	uint64_t control;		/* CMBMSC */
	bool is_invalid;
};

struct gw_ctrl {
	struct gw_subsys *ss;
	struct gw_port *port;
	uint16_t cntlid;
	uint32_t index;			/* in ss->ctrl */
	bool is_manager;
	bool has_thread;
	pthread_t thread;

	struct gw_faults faults;	/* has a lock of its own, innermost */
	atomic_bool is_removed;		/* surprise: reads are all ones, and nothing else goes on */

	pthread_mutex_t lock;		/* of all below, down to the next remark */
	pthread_cond_t wake;		/* the worker waits */
	pthread_cond_t idle;		/* others wait for is_busy to end */
	bool is_stopping;		/* the process ends */
	bool is_suspended;
	struct gw_ctrl *suspender;	/* the last one that suspended it */
	bool is_busy;			/* commands are being executed, by the worker or the reader */
	bool is_due;			/* the worker was woken while the reader executed one */
	bool is_shutting_down;		/* CC.SHN was set: flush, then say so */
	uint64_t generation;		/* goes up with every reset */
	uint32_t cc, csts, aqa;
	uint64_t asq, acq;
	struct gw_sq sq[GW_SSD_QUEUES_MAX + 1];
	struct gw_cq cq[GW_SSD_QUEUES_MAX + 1];
	uint32_t next_sq;
	struct nvme_cqe twist;		/* bits that are turned in the next entry posted */
	uint16_t aer[GW_SSD_AERS_MAX];
	uint32_t aers;
	struct gw_event event[GW_SSD_EVENTS_MAX];
	uint32_t events;
	uint8_t masked_events;		/* a bit for each type that waits for its log page to be read */
	struct gw_cmb cmb;
	struct gw_features feature;
	struct gw_saved_features saved;
	struct nvme_log_error_entry error[GW_SSD_ERRORS_MAX];
	uint64_t errors;		/* ever */
	uint32_t changed_namespaces;	/* a bit for each */
	uint64_t keep_alive_ns;		/* when the last command came */
	uint64_t suspended_ns;		/* when it was suspended */
	struct gw_counters counters;
	struct gw_trace trace;

	/* GW_SSD_BATCH_MAX: the commands that are executed, of who made it busy. */
	struct gw_cmd *cmd;
	struct gw_reads reads;		/* the worker's */
	uint8_t *bounce;		/* the worker's: GW_SSD_XFER_BYTES_MAX, for Compare and Copy */
	struct gw_memory_track track;
	struct gw_state_parts parts;	/* what comes for this one */
};

struct gw_ctrl *gw_ctrl_create(struct gw_subsys *ss, struct gw_diag *diag);
void gw_ctrl_destroy(struct gw_ctrl *c);
int gw_ctrl_start(struct gw_ctrl *c);	/* its worker */
void gw_ctrl_stop(struct gw_ctrl *c);
/* One turn of the worker, for those who have no thread. Return: false: nothing to do. */
bool gw_ctrl_step(struct gw_ctrl *c);

/* Controller Level Reset, from the reader: on return nothing of the old life goes on. */
void gw_ctrl_reset(struct gw_ctrl *c);
void gw_ctrl_wake(struct gw_ctrl *c);
/* BAR 0. bytes is 4 or 8, offset a multiple of it. */
uint64_t gw_ctrl_read(struct gw_ctrl *c, uint32_t offset, uint32_t bytes);
void gw_ctrl_write(struct gw_ctrl *c, uint32_t offset, uint64_t value, uint32_t bytes);
uint64_t gw_ctrl_cap(const struct gw_ctrl *c);
uint32_t gw_ctrl_version(const struct gw_ctrl *c);
/* Reports an event; c->lock is held by the caller. */
void gw_ctrl_event_locked(struct gw_ctrl *c, uint32_t dw0, uint32_t dw1);
void gw_ctrl_event(struct gw_ctrl *c, uint32_t dw0, uint32_t dw1);
/* Takes back events that were not reported yet: those whose dw0 and dw1 are these. */
void gw_ctrl_take_event(struct gw_ctrl *c, uint32_t dw0, uint32_t dw1);
/* A fault that ends it: CSTS.CFS. c->lock is held. */
void gw_ctrl_fail_locked(struct gw_ctrl *c);
/* It is gone from the bus, or back, as after a reset. */
void gw_ctrl_remove(struct gw_ctrl *c, bool is_removed);

int gw_cmb_init(struct gw_ctrl *c);	/* Return: 0, negative: no memory */
void gw_cmb_fini(struct gw_ctrl *c);
/* CMBLOC, CMBSZ, CMBMSC, CMBSTS; either half of CMBMSC. c->lock is held. */
uint64_t gw_cmb_register(const struct gw_ctrl *c, uint32_t offset);
void gw_cmb_control(struct gw_ctrl *c, uint32_t offset, uint32_t value);
/* CMBMSC has changed. No lock is held. */
void gw_cmb_apply(struct gw_ctrl *c);

/* ssd_misbehave.c: before and after a command is executed; no lock is held. Return: a status. */
uint16_t gw_misbehave_before(struct gw_cmd *cmd, bool *is_skipped);
void gw_misbehave_after(struct gw_cmd *cmd);
/* Posts its completion as the plan has it. c->lock is held. */
void gw_misbehave_post(struct gw_cmd *cmd, uint16_t status);

/* ssd_queue.c: c->lock is held by the caller. */
struct gw_sq *gw_queue_next(struct gw_ctrl *c, uint16_t *sqid);
/* Return: true: there may be something to do that there was not before. */
bool gw_queue_doorbell(struct gw_ctrl *c, uint32_t offset, uint32_t value);
bool gw_queue_has_room(const struct gw_cq *cq);
/* The next entry is all that the host has under way there, as far as is known: it waits for it. */
bool gw_queue_is_alone(const struct gw_ctrl *c, const struct gw_sq *sq);
/* Looks at the next entry. Return: false: it could not be read; the controller has failed. */
bool gw_queue_peek(struct gw_ctrl *c, const struct gw_sq *sq, struct gw_nvme_sqe *sqe);
/* It is off the queue, and will have a completion. */
void gw_queue_take(struct gw_ctrl *c, struct gw_sq *sq);
/* A command of that queue that was taken is done, and posted next if at all. */
void gw_queue_keep_promise(struct gw_ctrl *c, uint16_t sqid);
void gw_queue_post(struct gw_ctrl *c, uint16_t sqid, uint16_t cid, uint16_t status, uint32_t dw0,
		   uint32_t dw1);
/* Interrupts for what was posted; unless is_all, not for what may wait (ssd_queue.c: may_wait()). */
void gw_queue_signal(struct gw_ctrl *c, bool is_all);
/* For all that is not taken, told or not: an interrupt may have been lost on the way. */
void gw_queue_signal_again(struct gw_ctrl *c);
/* How long the worker may sleep until the next; and then the time is up. Return: 0: none waits. */
uint64_t gw_queue_patience_ns(const struct gw_ctrl *c);
void gw_queue_lose_patience(struct gw_ctrl *c);
void gw_queue_open_admin(struct gw_ctrl *c);
void gw_queue_close_all(struct gw_ctrl *c);
uint16_t gw_queue_create_cq(struct gw_cmd *cmd);	/* takes c->lock itself, as the next three do */
uint16_t gw_queue_create_sq(struct gw_cmd *cmd);
uint16_t gw_queue_delete_cq(struct gw_cmd *cmd);
uint16_t gw_queue_delete_sq(struct gw_cmd *cmd);

/* ---- Commands: each returns an enum nvme_status ------------------------------------------------ */

/* ssd_xfer.c: the memory behind PRP 1 and 2. is_to_host: the command writes it. */
uint16_t gw_xfer_map(struct gw_cmd *cmd, uint64_t bytes, bool is_to_host);
/* All of it has been written to: for the tracking of memory. */
void gw_xfer_written(struct gw_cmd *cmd);
/* A whole structure to or from the host, cut where the command's buffer ends. */
uint16_t gw_xfer_to_host(struct gw_cmd *cmd, const void *from, uint64_t bytes);
uint16_t gw_xfer_from_host(struct gw_cmd *cmd, void *to, uint64_t bytes);
void gw_xfer_copy(const struct gw_xfer *xfer, uint64_t offset, void *memory, uint64_t bytes,
		  bool is_to_host);
/* Steps out of guest memory, to wait for something. gw_cmd_unpark(): false: reset meanwhile. */
void gw_cmd_park(struct gw_cmd *cmd);
bool gw_cmd_unpark(struct gw_cmd *cmd);
bool gw_cmd_is_stale(struct gw_cmd *cmd);

uint16_t gw_admin_execute(struct gw_cmd *cmd);
uint16_t gw_identify(struct gw_cmd *cmd);
uint16_t gw_features_set(struct gw_cmd *cmd);
uint16_t gw_features_get(struct gw_cmd *cmd);
/* As after a reset: what is saved, and the defaults of all else. c->lock is held. */
void gw_features_begin(struct gw_ctrl *c);
bool gw_features_can_save(uint32_t fid);
uint16_t gw_log_page(struct gw_cmd *cmd);
uint16_t gw_admin_format(struct gw_cmd *cmd);
uint16_t gw_admin_sanitize(struct gw_cmd *cmd);
uint16_t gw_admin_namespace_management(struct gw_cmd *cmd);
uint16_t gw_admin_namespace_attachment(struct gw_cmd *cmd);
/* second: of a fused pair, else NULL; *status_second is its status. */
uint16_t gw_io_execute(struct gw_cmd *cmd, const struct gw_nvme_sqe *second,
		       uint16_t *status_second);
/*
 * Plain reads and writes of one namespace, from the first on: as many as are worth being posted. Return:
 * how many, at least one; each of them has its status.
 */
uint32_t gw_io_execute_some(struct gw_ctrl *c, struct gw_cmd *cmd, uint32_t count);
/*
 * A plain read or write, if there is nothing to wait for: no other command on the namespace, no disk.
 * Return: false: there is, and nothing has happened but that a read may have filled a part of its memory.
 */
bool gw_io_execute_now(struct gw_cmd *cmd);
uint16_t gw_io_lba_status(struct gw_cmd *cmd);

/* ---- Live migration ----------------------------------------------------------------------------- */

/* A Controller Data Queue of the one type there is: the log of a controller's changes. */
struct gw_cdq {
	bool is_live, is_logging, is_held, has_trigger;	/* held: its controller is suspended */
	bool is_first_due;		/* nothing was posted yet since it began */
	bool is_late;			/* what is pending was asked to be late */
	bool phase;
	uint16_t id;
	struct gw_ctrl *owner;		/* in whose host's memory it is */
	struct gw_ctrl *logged;
	uint32_t slots, head, tail, trigger;
	uint32_t pages;			/* 0: contiguous from base */
	uint32_t nsid;			/* of the latest change; 0: there was none */
	uint64_t base, *page;
	uint32_t pendings;		/* ranges that are held back, in the order of effect */
	struct nvme_lba_change pending[GW_SSD_LOG_WINDOW_MAX];
	uint64_t posted, lost;
};

uint16_t gw_cdq_command(struct gw_cmd *cmd);
uint16_t gw_cdq_set_feature(struct gw_cmd *cmd);
uint16_t gw_cdq_get_feature(struct gw_cmd *cmd);
uint16_t gw_cdq_track(struct gw_cmd *cmd);		/* Track Send, Log User Data Changes */
/* Blocks of a namespace have changed through c. */
void gw_cdq_log(struct gw_ctrl *c, uint32_t nsid, uint64_t slba, uint64_t count, bool is_deallocated);
/* The controller has nothing to do: what is held back waits no longer. */
void gw_cdq_idle(struct gw_ctrl *c);
void gw_cdq_suspended(struct gw_ctrl *c, bool is_deleting);
void gw_cdq_resumed(struct gw_ctrl *c);
void gw_cdq_delete_of(struct gw_ctrl *owner);

uint16_t gw_track_send(struct gw_cmd *cmd);		/* Track Send, Track Memory Changes */
uint16_t gw_track_receive(struct gw_cmd *cmd);
/* c has written to its host's memory. */
void gw_track_note(struct gw_ctrl *c, uint64_t iova, uint64_t bytes);
/* What owner has started (NULL: everyone). lm_lock is not held. */
void gw_track_stop_of(struct gw_subsys *ss, const struct gw_ctrl *owner);

uint16_t gw_lm_send(struct gw_cmd *cmd);
uint16_t gw_lm_receive(struct gw_cmd *cmd);
/* The controller that suspended others was reset. */
void gw_lm_manager_reset(struct gw_ctrl *c);
bool gw_lm_any_suspended(struct gw_subsys *ss);
/* The controller of that number, if it may be migrated; NULL else. */
struct gw_ctrl *gw_lm_find(struct gw_subsys *ss, uint16_t cntlid);

extern const uint8_t gw_state_uuid[16];			/* of our vendor specific state */
/* The state of c, into out (GW_STATE_BYTES_MAX). c->lock is held. Return: bytes. */
uint32_t gw_state_get(struct gw_ctrl *c, bool with_nvme, bool with_vendor, bool is_suspended,
		      uint8_t *out);
/*
 * Verifies all of it, and then makes c so; c stays as it was unless NVME_SC_SUCCESS is returned.
 * c->lock is held, and c executes nothing.
 */
uint16_t gw_state_set(struct gw_ctrl *c, bool with_nvme, bool with_vendor, const uint8_t *data,
		      uint32_t bytes);

/* ---- Subsystem ---------------------------------------------------------------------------------- */

struct gw_subsys {
	struct gw_ssd_config config;
	struct gw_record record;	/* has a lock of its own, innermost */
	int dir_fd;
	pthread_rwlock_t ns_lock;	/* of ns: who does I/O holds it shared */
	struct gw_ns *ns[GW_SSD_NAMESPACES_MAX];	/* by NSID - 1 */
	struct gw_ctrl *ctrl[GW_SSD_CONTROLLERS_MAX];
	uint32_t ctrls;
	/* By the controllers' index, of ns_lock; each has a copy that a reset can look at. */
	struct gw_saved_features saved[GW_SSD_CONTROLLERS_MAX];
	uint16_t sanitize_status;	/* as in the log page */
	uint32_t sanitize_dw10;
	pthread_mutex_t lm_lock;	/* of the queues, and of who is tracked */
	struct gw_cdq cdq[GW_SSD_CDQS_MAX];
	uint16_t next_cdq;
	uint32_t track_ranges_used;
};

/*
 * Opens the store in directory dir: the namespaces that are described there, or a first one as
 * config says. Return: 0 or negative errno, said in diag.
 */
int gw_subsys_open(struct gw_subsys *ss, const char *dir, const struct gw_ssd_config *config,
		   struct gw_diag *diag);
/* Destroys its controllers, too. Return: 0, or negative errno: a cache was not written out. */
int gw_subsys_close(struct gw_subsys *ss);
/*
 * ns_lock is held for writing (or nobody else is there yet): a namespace of that number, which is
 * free, attached to the controllers in the mask; an old one goes, and its files. Neither saves.
 */
int gw_subsys_create(struct gw_subsys *ss, uint32_t nsid, uint64_t bytes, uint8_t lbads,
		     uint64_t attached, struct gw_ns **out, struct gw_diag *diag);
void gw_subsys_delete(struct gw_subsys *ss, uint32_t nsid);
/* Writes the description of what is kept: namespaces, saved features. ns_lock is held for writing. */
int gw_subsys_save(struct gw_subsys *ss, struct gw_diag *diag);
/* A power cut, as far as media go: what the caches hold is lost. Controllers go on. Return: sectors lost. */
uint64_t gw_subsys_power_cut(struct gw_subsys *ss, uint64_t torn_seed);
/* ns_lock is held. Return: NULL: no such namespace, or not attached to c (NULL: to anyone). */
struct gw_ns *gw_subsys_find(struct gw_subsys *ss, const struct gw_ctrl *c, uint32_t nsid);
uint64_t gw_subsys_used_bytes(const struct gw_subsys *ss);
/* Return: NULL: no such controller. */
struct gw_ctrl *gw_subsys_controller(struct gw_subsys *ss, uint16_t cntlid);
/* Every controller in the mask hears that a namespace changed. */
void gw_subsys_changed(struct gw_subsys *ss, uint64_t mask, uint32_t nsid);

#endif

// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * A port that is switched to another controller: the guest behind it goes on with the migrated
 * controller, as a VMM would have it. Both controllers stand still (they are suspended) and the one
 * has the other's state, so that only what the guest did since that state was taken is to be
 * carried over: doorbells, and events that nobody asked for yet.
 */
#include <errno.h>

#include "ssd.h"

static bool has_same_queues(const struct gw_ctrl *a, const struct gw_ctrl *b, uint32_t vectors)
{
	for (uint32_t i = 0; i <= GW_SSD_QUEUES_MAX; i++) {
		const struct gw_sq *s = &a->sq[i], *t = &b->sq[i];
		const struct gw_cq *u = &a->cq[i], *v = &b->cq[i];

		if (s->is_live != t->is_live || u->is_live != v->is_live)
			return false;
		if (s->is_live && (s->base != t->base || s->size != t->size || s->cqid != t->cqid ||
				   s->head != t->head))
			return false;
		if (u->is_live && (u->base != v->base || u->size != v->size || u->vector != v->vector ||
				   u->has_interrupts != v->has_interrupts || u->tail != v->tail ||
				   u->phase != v->phase || v->vector >= vectors))
			return false;
	}
	return true;
}

static bool has_same_registers(const struct gw_ctrl *a, const struct gw_ctrl *b)
{
	return a->cc == b->cc && a->csts == b->csts && a->aqa == b->aqa && a->asq == b->asq &&
	       a->acq == b->acq && a->aers == b->aers;
}

/* All four locks are held. */
static int check(const struct gw_port *port, const struct gw_ctrl *to, struct gw_diag *diag)
{
	const struct gw_ctrl *from = port->ctrl;
	const struct gw_ctrl *both[] = { from, to };

	if (to->port->is_negotiated)
		return gw_fail(diag, -EBUSY, "a client is connected to the port of controller %u: only one "
					     "without a client can be taken", to->cntlid);
	for (int i = 0; i < 2; i++) {
		if (both[i]->cmb.bytes > 0)
			return gw_fail(diag, -EINVAL, "controller %u has a controller memory buffer, which is "
						      "no part of its state", both[i]->cntlid);
		if (both[i]->is_manager)
			return gw_fail(diag, -EINVAL, "controller %u manages migrations, and keeps its port",
				       both[i]->cntlid);
		if (!both[i]->is_suspended || both[i]->is_busy)
			return gw_fail(diag, -EBUSY, "controller %u is not suspended: that takes Migration "
						     "Send, Suspend, of its managing controller",
				       both[i]->cntlid);
	}
	if (!has_same_registers(from, to) || !has_same_queues(from, to, port->vectors))
		return gw_fail(diag, -EINVAL, "controller %u has not the state of controller %u: that takes "
					      "Migration Receive, Get Controller State, and Migration Send, "
					      "Set Controller State, with both formats",
			       to->cntlid, from->cntlid);
	return 0;
}

static void carry_over(const struct gw_ctrl *from, struct gw_ctrl *to)
{
	for (uint32_t i = 0; i <= GW_SSD_QUEUES_MAX; i++) {
		to->sq[i].tail = from->sq[i].tail;
		to->cq[i].head = from->cq[i].head;
	}
	for (uint32_t i = 0; i < from->events; i++)
		gw_ctrl_event_locked(to, from->event[i].dw0, from->event[i].dw1);
	to->changed_namespaces |= from->changed_namespaces;
}

static void lock_two(pthread_mutex_t *a, pthread_mutex_t *b)
{
	pthread_mutex_lock((uintptr_t)a < (uintptr_t)b ? a : b);
	pthread_mutex_lock((uintptr_t)a < (uintptr_t)b ? b : a);
}

int gw_port_switch(struct gw_ctrl *from, struct gw_ctrl *to, struct gw_diag *diag)
{
	struct gw_port *port = from->port, *other = to->port;
	int err;

	if (from == to || port == NULL || other == NULL)
		return gw_fail(diag, -EINVAL, "a port is switched to another controller");
	/* The readers stand still: what they have been told is in the registers and doorbells. */
	lock_two(&port->link_lock, &other->link_lock);
	lock_two(&from->lock, &to->lock);
	err = check(port, to, diag);
	if (err == 0) {
		carry_over(from, to);
		port->ctrl = to;
		to->port = port;
		other->ctrl = from;
		from->port = other;
	}
	pthread_mutex_unlock(&from->lock);
	pthread_mutex_unlock(&to->lock);
	pthread_mutex_unlock(&port->link_lock);
	pthread_mutex_unlock(&other->link_lock);
	return err;
}

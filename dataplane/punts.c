/* SPDX-License-Identifier: BSD-3-Clause */
/* What workers hand up: each class to who takes it, within a budget a turn. Control loop. */
#include <arpa/inet.h>
#include <string.h>

#include "control.h"
#include "workers.h"

#define PUNT_BUDGET 256

static ev_timer again; /* what the budget left over */

static void staged_take(struct rte_mbuf *m)
{
	struct peer *p = peer_by_index(packet_of(m)->peer);

	if (p)
		peer_stage(p, m);
	else
		rte_pktmbuf_free(m);
}

static void (*const punt_takers[PUNT_CLASSES])(struct rte_mbuf *m) = {
	[PUNT_HANDSHAKE] = tunnel_punt_handshake,
	[PUNT_STAGED] = staged_take,
	[PUNT_NEIGHBOUR] = neigh_punt,
	[PUNT_MIRROR] = mirror_punt,
	[PUNT_CAPTURE] = capture_punt,
};

static void event_take(const struct worker_event *event)
{
	struct peer *p = peer_by_index(event->peer);
	struct net_endpoint remote = {.addr.family = event->path.family,
		.port = ntohs(event->path.remote_port),
		.scope = 0};

	/* the slot may have changed hands since */
	if (!p || p->generation != event->generation)
		return;
	switch (event->type) {
	case EVENT_ACTIVE:
		peer_run_timers(p);
		break;
	case EVENT_WANT_HANDSHAKE:
		peer_want_handshake(p);
		break;
	case EVENT_CONFIRMED:
		peer_confirmed(p, event->value);
		break;
	case EVENT_ROAMED:
		memcpy(remote.addr.bytes, event->path.remote,
			event->path.family == AF_INET ? 4 : 16);
		peer_path_publish(p, &remote, &event->path);
		break;
	}
}

/* True: something is left for the next time. */
static bool worker_drain(struct worker *w)
{
	struct worker_event event;
	struct rte_mbuf *m;
	bool left = false;
	unsigned n;

	for (n = 0; n < PUNT_BUDGET && !rte_ring_sc_dequeue_elem(w->events, &event, sizeof(event));
		n++)
		event_take(&event);
	left |= n == PUNT_BUDGET;
	for (unsigned c = 0; c < PUNT_CLASSES; c++) {
		for (n = 0; n < PUNT_BUDGET && !rte_ring_sc_dequeue(w->punts[c], (void **)&m); n++)
			punt_takers[c](m);
		left |= n == PUNT_BUDGET;
	}
	return left;
}

void punts_take(void)
{
	bool left = false;

	for (unsigned i = 0; i < workers_count(); i++)
		left |= worker_drain(worker_get(i));
	/* the rest after whatever else the loop has to do */
	if (left && !ev_is_active(&again))
		ev_timer_start(core_loop(), &again);
}

LOOP_CALLBACK(punts_again, ev_timer)
{
	(void)loop, (void)revents;
	ev_timer_stop(loop, watcher);
	ev_timer_set(watcher, 0., 0.);
	punts_take();
}

void punts_start(void)
{
	ev_timer_init(&again, punts_again, 0., 0.);
}

void punts_stop(void)
{
	ev_timer_stop(core_loop(), &again);
}

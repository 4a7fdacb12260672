/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Who is online, and what time does to nodes. A node is online while it has a map stream, and for a
 * moment after the last one ends: streams are counted, never compared, so that the late end of an
 * old stream cannot take a node offline that has a new one. Control loop.
 */
#include <stddef.h>
#include <stdlib.h>

#include "internal.h"
#include "routes.h"

/* The wall clock may be set: expiry is looked at again at least this often. */
#define EXPIRY_LOOK_NS (600 * 1000000000ull)

static uint64_t sooner(uint64_t a, uint64_t b)
{
	return !a || (b && b < a) ? b : a;
}

static void node_due(struct tailnet *t, struct node *node)
{
	uint64_t at = sooner(node->offline_at, node->failing_at), first = tailnet_due(t);

	at = sooner(at, sooner(node->expire_at, node->ephemeral_at));
	at = sooner(at, sooner(node->awaited_until, node->ready_at));
	due_set(&t->due, &node->due, at);
	if (at && (!first || at < first))
		tailnet_wake(t);
}

static unsigned expiry_look(struct tailnet *t, struct node *node)
{
	bool was = node->expired;
	int64_t left = node->d.expiry - tailnet_wall(t);

	node->expired = node->d.expiry && left <= 0;
	node->expire_at = 0;
	if (node->d.expiry && left > 0)
		node->expire_at =
			tailnet_clock(t) +
			((uint64_t)left < EXPIRY_LOOK_NS ? (uint64_t)left : EXPIRY_LOOK_NS);
	if (was == node->expired)
		return 0;
	return NODE_EXPIRY | (routes_elect(t, node) ? NODE_ROUTES : 0);
}

static void ephemeral_look(struct tailnet *t, struct node *node)
{
	if (!node->d.ephemeral || node->online)
		node->ephemeral_at = 0;
	else if (!node->ephemeral_at)
		node->ephemeral_at = tailnet_clock(t) + t->conf.ephemeral_timeout;
}

unsigned presence_update(struct tailnet *t, struct node *node)
{
	unsigned what = expiry_look(t, node);

	ephemeral_look(t, node);
	if (routes_elect(t, node))
		what |= NODE_ROUTES;
	node_due(t, node);
	return what;
}

void node_session_begin(struct tailnet *t, struct node *node)
{
	unsigned what = 0;

	node->sessions++;
	node->sessions_begun++;
	node->offline_at = node->failing_at = node->awaited_until = 0;
	node->failing = false;
	if (!node->online) {
		node->online = true;
		t->n_online++;
		what = NODE_ONLINE;
	}
	if (routes_elect(t, node))
		what |= NODE_ROUTES;
	ephemeral_look(t, node);
	node_due(t, node);
	tailnet_tell(t, node, what);
}

void node_mapped(struct tailnet *t, struct node *node, bool busy)
{
	node->mapped = true;
	node->joined_with = 0;
	if (!node->ready_at)
		return;
	node->ready_at = tailnet_clock(t) + t->conf.settle * (busy ? 4 : 1);
	node_due(t, node);
}

void node_session_end(struct tailnet *t, struct node *node)
{
	uint64_t now = tailnet_clock(t);

	node->seen = tailnet_wall(t);
	if (--node->sessions)
		return;
	node->offline_at = now + t->conf.offline_grace;
	if (node->n_sets)
		node->failing_at = now + t->conf.route_grace;
	node_due(t, node);
}

void node_probed(struct tailnet *t, struct node *node, bool alive)
{
	if (node->failing == !alive)
		return;
	node->failing = !alive;
	if (routes_elect(t, node))
		tailnet_tell(t, node, NODE_ROUTES);
}

struct seen_change {
	struct change change;
	int64_t seen;
};

static int seen_prepare(struct change *change, struct err *err)
{
	const struct node *node = node_by_id(change->t, change->node);
	int rc = node ? change_edit(change, node) : 0;

	(void)err;
	if (node && !rc)
		change->data.last_seen = ((struct seen_change *)change)->seen;
	return rc;
}

static void seen_done(struct change *change, int error, const char *why)
{
	(void)error, (void)why; /* the store's own health says it */
	free(change);
}

static void keep_seen(struct tailnet *t, const struct node *node)
{
	struct seen_change *keep = calloc(1, sizeof(*keep));

	if (!keep)
		return;
	keep->seen = node->seen;
	keep->change.prepare = seen_prepare;
	keep->change.done = seen_done;
	change_submit_node(t, node->d.id, &keep->change);
}

static unsigned offline(struct tailnet *t, struct node *node)
{
	node->offline_at = 0;
	if (node->sessions || !node->online)
		return 0;
	node->online = false;
	t->n_online--;
	keep_seen(t, node);
	ephemeral_look(t, node);
	return NODE_ONLINE | (routes_elect(t, node) ? NODE_ROUTES : 0);
}

static void run_node(struct tailnet *t, struct node *node, uint64_t now)
{
	unsigned what = 0;
	bool leaves;

	if (node->ready_at && node->ready_at <= now) {
		node->ready_at = 0;
		node->ready = true;
		what |= NODE_READY;
	}
	if (node->failing_at && node->failing_at <= now) {
		node->failing_at = 0;
		node->failing = true;
		what |= routes_elect(t, node) ? NODE_ROUTES : 0;
	}
	if (node->awaited_until && node->awaited_until <= now) {
		node->awaited_until = 0;
		what |= routes_elect(t, node) ? NODE_ROUTES : 0;
	}
	if (node->offline_at && node->offline_at <= now)
		what |= offline(t, node);
	if (node->expire_at && node->expire_at <= now)
		what |= expiry_look(t, node);
	leaves = node->ephemeral_at && node->ephemeral_at <= now;
	if (leaves) /* again later, should the store not take it now */
		node->ephemeral_at = now + t->conf.ephemeral_timeout + 1;
	node_due(t, node);
	tailnet_tell(t, node, what);
	if (leaves)
		node_remove(t, node->d.id, NULL, NULL);
}

void presence_run(struct tailnet *t)
{
	uint64_t now = tailnet_clock(t);
	struct due *due;

	while ((due = due_first(&t->due)) && due->at <= now)
		run_node(t, (struct node *)((char *)due - offsetof(struct node, due)), now);
}

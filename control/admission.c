/* SPDX-License-Identifier: BSD-3-Clause */
/* Control loop. */
#include "admission.h"

#include <stdlib.h>
#include <string.h>

#include <tailplane/admission.h>
#include <tailplane/loop.h>
#include <tailplane/plugin.h>
#include <tailplane/relay.h>

/* A key that its node has changed, good until the relay's client has followed. */
struct previous {
	struct previous *next;
	int64_t node; /* its id */
	struct public_key key;
	ev_timer ends;
};

static struct {
	struct tailnet *tailnet;
	struct tailnet_listener listener;
	struct previous *previous;
} admission;

static struct previous *find_previous(const struct public_key *key)
{
	struct previous *p = admission.previous;

	while (p && memcmp(&p->key, key, sizeof(*key)) != 0)
		p = p->next;
	return p;
}

bool admission_allows(const struct public_key *key)
{
	const struct node *node = node_by_key(admission.tailnet, key);

	return node ? !node->expired : find_previous(key) != NULL;
}

static void dismiss(const struct public_key *key)
{
	const struct relay_ops *relay = core_service(RELAY_SERVICE);

	if (relay)
		relay->dismiss(key->bytes);
}

static void forget(struct previous *p)
{
	struct previous **at = &admission.previous;

	while (*at != p)
		at = &(*at)->next;
	*at = p->next;
	ev_timer_stop(core_loop(), &p->ends);
	free(p);
}

LOOP_CALLBACK(admission_previous_ends, ev_timer)
{
	struct previous *p = watcher->data;
	struct public_key key = p->key;

	(void)loop, (void)revents;
	forget(p);
	if (!admission_allows(&key))
		dismiss(&key);
}

static void remember_previous(const struct node *node)
{
	uint64_t now = tailnet_clock(admission.tailnet);
	struct previous *p = find_previous(&node->previous_key);
	double left = node->previous_until > now ? (double)(node->previous_until - now) * 1e-9 : 0.;

	if (p)
		forget(p);
	p = calloc(1, sizeof(*p));
	if (!p) {
		dismiss(&node->previous_key);
		return;
	}
	p->node = node->d.id;
	p->key = node->previous_key;
	p->next = admission.previous;
	admission.previous = p;
	ev_timer_init(&p->ends, admission_previous_ends, left, 0.);
	p->ends.data = p;
	ev_timer_start(core_loop(), &p->ends);
}

/* ---- what the tailnet tells ---------------------------------------------------------------- */

/* All keys of it, also those before the one before. */
static void dismiss_node(const struct node *node)
{
	struct previous *p = admission.previous, *next;

	for (; p; p = next) {
		struct public_key key = p->key;

		next = p->next;
		if (p->node != node->d.id)
			continue;
		forget(p);
		dismiss(&key);
	}
	dismiss(&node->d.key);
}

static void node_changed(void *arg, struct node *node, unsigned what)
{
	(void)arg;
	if ((what & NODE_KEY) && !(what & NODE_NEW) && !node->expired)
		remember_previous(node);
	if ((what & NODE_EXPIRY) && node->expired)
		dismiss_node(node);
}

static void node_removed(void *arg, struct node *node)
{
	(void)arg;
	dismiss_node(node);
}

static void ask(const uint8_t key[static 32], void (*answer)(void *arg, bool allowed), void *arg)
{
	struct public_key asked;

	memcpy(asked.bytes, key, sizeof(asked.bytes));
	answer(arg, admission_allows(&asked));
}

/* ---- life ---------------------------------------------------------------------------------- */

void admission_provide(bool provide)
{
	static const struct admission_ops ops = {ask};
	bool provided = core_service(ADMISSION_SERVICE) == &ops;

	if (provide != provided)
		core_provide(ADMISSION_SERVICE, provide ? &ops : NULL);
}

void admission_start(struct tailnet *tailnet, bool provide)
{
	admission.tailnet = tailnet;
	admission.listener = (struct tailnet_listener){
		.node_changed = node_changed, .node_removed = node_removed};
	tailnet_listen(tailnet, &admission.listener);
	admission_provide(provide);
}

void admission_stop(void)
{
	if (!admission.tailnet)
		return;
	admission_provide(false);
	tailnet_unlisten(admission.tailnet, &admission.listener);
	while (admission.previous)
		forget(admission.previous);
	admission.tailnet = NULL;
}

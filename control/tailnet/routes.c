/* SPDX-License-Identifier: BSD-3-Clause */
/* Control loop. */
#include "routes.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "internal.h"

/* One prefix and who may serve it. */
struct route_set {
	struct net_prefix prefix;
	struct node **nodes;
	size_t n, size;
	struct node *primary;
};

/* ---- a node's own -------------------------------------------------------------------------- */

static bool is_approved(const struct node *node, const struct net_prefix *prefix)
{
	for (size_t i = 0; i < node->n_approved; i++)
		if (!prefix_compare(&node->approved[i], prefix))
			return true;
	return false;
}

int routes_make(struct node *node)
{
	free(node->routes);
	node->n_routes = 0;
	node->routes = calloc(node->info.n_routes + 1, sizeof(*node->routes));
	if (!node->routes)
		return -ENOMEM;
	for (size_t i = 0; i < node->info.n_routes; i++) {
		const struct net_prefix *prefix = &node->info.routes[i];

		if (is_approved(node, prefix))
			node->routes[node->n_routes++] =
				(struct node_route){*prefix, prefix_is_exit(prefix)};
	}
	return 0;
}

/* ---- sets ---------------------------------------------------------------------------------- */

static uint64_t hash_of(const struct net_prefix *prefix)
{
	uint8_t bytes[18];

	memcpy(bytes, prefix->addr.bytes, 16);
	bytes[16] = prefix->len;
	bytes[17] = prefix->addr.family == AF_INET;
	return index_hash(bytes, sizeof(bytes));
}

static struct route_set *set_of(struct tailnet *t, const struct net_prefix *prefix)
{
	uint64_t hash = hash_of(prefix);
	struct route_set *set;

	for (size_t at = INDEX_FIRST; (set = index_next(&t->route_sets, hash, &at));)
		if (!prefix_compare(&set->prefix, prefix))
			return set;
	set = calloc(1, sizeof(*set));
	if (!set)
		return NULL;
	set->prefix = *prefix;
	if (index_add(&t->route_sets, hash, set)) {
		free(set);
		return NULL;
	}
	return set;
}

static void set_free(struct tailnet *t, struct route_set *set)
{
	index_remove(&t->route_sets, hash_of(&set->prefix), set);
	free(set->nodes);
	free(set);
}

static bool set_add(struct route_set *set, struct node *node)
{
	struct node **nodes;

	for (size_t i = 0; i < set->n; i++)
		if (set->nodes[i] == node)
			return true;
	if (set->n == set->size) {
		nodes = realloc(set->nodes, (set->size + 4) * sizeof(*nodes));
		if (!nodes)
			return false;
		set->nodes = nodes;
		set->size += 4;
	}
	set->nodes[set->n++] = node;
	return true;
}

static void set_drop(struct route_set *set, const struct node *node)
{
	for (size_t i = 0; i < set->n; i++)
		if (set->nodes[i] == node)
			set->nodes[i--] = set->nodes[--set->n];
	if (set->primary == node)
		set->primary = NULL;
}

/* ---- election ------------------------------------------------------------------------------ */

static bool can_serve(const struct node *node)
{
	return node->online && node->d.approved && !node->expired;
}

static bool can_stay(const struct node *node)
{
	return can_serve(node) || (node->awaited_until && node->d.approved && !node->expired);
}

static struct node *winner(const struct route_set *set)
{
	struct node *best = NULL;

	if (set->primary && can_stay(set->primary) && !set->primary->failing)
		return set->primary;
	for (size_t i = 0; i < set->n; i++) {
		struct node *node = set->nodes[i];

		if (can_serve(node) && !node->failing && (!best || node->d.id < best->d.id))
			best = node;
	}
	if (best)
		return best;
	return set->primary && can_serve(set->primary) ? set->primary : NULL;
}

/* True when the flag of that node changed. */
static bool mark(struct node *node, const struct net_prefix *prefix, bool primary)
{
	for (size_t i = 0; node && i < node->n_routes; i++) {
		struct node_route *route = &node->routes[i];

		if (prefix_compare(&route->prefix, prefix) || route->primary == primary)
			continue;
		route->primary = primary;
		return true;
	}
	return false;
}

/* What a node is primary for, kept with it. */
struct keep {
	struct change change;
	int64_t node;
};

static int keep_prepare(struct change *change, struct err *err)
{
	const struct node *node = node_by_id(change->t, ((struct keep *)change)->node);
	int rc = node ? change_edit(change, node) : 0;
	char *text = node && !rc ? routes_served_json(node) : NULL;

	(void)err;
	if (node && !rc)
		rc = text ? text_set(&change->data.served, text) : -ENOMEM;
	free(text);
	return rc;
}

static void keep_done(struct change *change, int error, const char *why)
{
	(void)error, (void)why; /* the store's own health says it; the next election writes again */
	free(change);
}

static void routes_keep(struct tailnet *t, const struct node *node)
{
	struct keep *keep = calloc(1, sizeof(*keep));

	if (!keep)
		return;
	keep->node = node->d.id;
	keep->change.prepare = keep_prepare;
	keep->change.done = keep_done;
	change_submit_node(t, node->d.id, &keep->change);
}

/* Whether `self` won or lost; others are told. */
static bool elect(struct tailnet *t, struct route_set *set, const struct node *self)
{
	struct node *before = set->primary, *now = t->stopping ? before : winner(set);
	bool changed = false;

	set->primary = now;
	if (before != now && mark(before, &set->prefix, false)) {
		if (before == self)
			changed = true;
		else
			tailnet_tell(t, before, NODE_ROUTES);
	}
	if (mark(now, &set->prefix, true)) {
		if (now == self)
			changed = true;
		else
			tailnet_tell(t, now, NODE_ROUTES);
	}
	if (before != now && now) {
		routes_keep(t, now);
		if (before)
			routes_keep(t, before);
	}
	return changed;
}

static bool served_before(const struct node *node, const struct net_prefix *prefix)
{
	json_t *served = node->awaited_until ? json_loads(node->d.served, 0, NULL) : NULL, *one;
	char text[NET_PREFIX_STRLEN];
	bool found = false;
	size_t i;

	net_prefix_format(prefix, text);
	json_array_foreach (served, i, one) {
		found |= !strcmp(json_string_value(one), text);
	}
	json_decref(served);
	return found;
}

static bool has_route(const struct node *node, const struct net_prefix *prefix)
{
	for (size_t i = 0; i < node->n_routes; i++)
		if (!prefix_compare(&node->routes[i].prefix, prefix))
			return true;
	return false;
}

static void leave(struct tailnet *t, struct route_set *set, struct node *node)
{
	set_drop(set, node);
	if (set->n)
		elect(t, set, node);
	else
		set_free(t, set);
}

/* Leaves the sets whose prefix it no longer has, and enters those that are new. */
static void membership(struct tailnet *t, struct node *node)
{
	struct route_set **sets = calloc(node->n_routes + 1, sizeof(struct route_set *));
	size_t n = 0;

	for (size_t i = 0; i < node->n_sets; i++)
		if (!has_route(node, &node->sets[i]->prefix))
			leave(t, node->sets[i], node);
	for (size_t i = 0; sets && i < node->n_routes; i++) {
		struct route_set *set = prefix_is_exit(&node->routes[i].prefix)
						? NULL
						: set_of(t, &node->routes[i].prefix);

		if (set && set_add(set, node))
			sets[n++] = set;
		if (set && set->n && !set->primary && served_before(node, &set->prefix)) {
			set->primary = node;
			node->routes[i].primary = true;
		} else if (set && !set->n)
			set_free(t, set);
	}
	free(node->sets);
	node->sets = sets;
	node->n_sets = n;
}

bool routes_elect(struct tailnet *t, struct node *node)
{
	bool changed = false;

	if (!node->n_sets && !node->n_routes)
		return false;
	membership(t, node);
	for (size_t i = 0; i < node->n_sets; i++)
		changed |= elect(t, node->sets[i], node);
	return changed;
}

void routes_forget(struct tailnet *t, struct node *node)
{
	for (size_t i = 0; i < node->n_sets; i++)
		leave(t, node->sets[i], node);
	node->n_sets = 0;
}

void routes_contended(struct tailnet *t, void (*fn)(void *arg, struct node *node), void *arg)
{
	static unsigned round;
	struct route_set *set;

	round++;
	for (size_t at = INDEX_FIRST; (set = index_walk(&t->route_sets, &at));) {
		size_t online = 0;

		for (size_t i = 0; i < set->n; i++)
			online += can_serve(set->nodes[i]);
		for (size_t i = 0; online > 1 && i < set->n; i++) {
			if (!can_serve(set->nodes[i]) || set->nodes[i]->counted == round)
				continue;
			set->nodes[i]->counted = round;
			fn(arg, set->nodes[i]);
		}
	}
}

void routes_fini(struct tailnet *t)
{
	struct route_set *set;
	size_t at;

	while (at = INDEX_FIRST, (set = index_walk(&t->route_sets, &at)))
		set_free(t, set);
	index_fini(&t->route_sets);
}

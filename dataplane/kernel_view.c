/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Facts from the kernel and what they make of the FIB. Control loop. Of several routes to a prefix
 * the FIB gets the one of the lowest metric, as the kernel would use it.
 */
#include "kernel_view.h"

#include <stdlib.h>

#include <rte_jhash.h>

#include "tailplane/log.h"

#define BUCKETS 4096

struct fact {
	struct fact *next;        /* in the bucket of its prefix */
	struct net_prefix prefix; /* of an address: with its host bits */
	struct kernel_interface_of_port at;
	struct fib_next_hop hop; /* routes only */
	uint32_t metric;
	uint32_t look; /* number of the last look that saw it */
	bool is_address;
	bool in_fib;
};

static struct {
	struct fib *fib;
	uint32_t look;
	struct fact *buckets[BUCKETS];
} view;

static struct fact **bucket_of(const struct net_prefix *prefix)
{
	uint32_t key[5] = {(uint32_t)prefix->len << 16 | prefix->addr.family};

	memcpy(key + 1, prefix->addr.bytes, 16);
	return &view.buckets[rte_jhash_32b(key, 5, 0) % BUCKETS];
}

static bool prefix_equal(const struct net_prefix *a, const struct net_prefix *b)
{
	return a->len == b->len && net_addr_equal(&a->addr, &b->addr);
}

static struct fact *fact_new(
	const struct kernel_interface_of_port *k, const struct net_prefix *prefix)
{
	struct fact **bucket = bucket_of(prefix), *f = calloc(1, sizeof(*f));

	if (!f)
		return NULL;
	f->prefix = *prefix;
	f->at = *k;
	f->look = view.look;
	f->next = *bucket;
	*bucket = f;
	return f;
}

/* ---- addresses ------------------------------------------------------------------------------ */

static void address_apply(struct fact *f, bool there)
{
	struct err err = {0};

	if (f->in_fib == there)
		return;
	if (there && fib_address_add(view.fib, &f->prefix, f->at.port, f->at.vlan, TUNNEL_NONE,
			     f->at.mtu, &err) < 0)
		log_warnx("an address of the kernel's is not taken over: %s", err.msg);
	else if (!there)
		fib_address_remove(
			view.fib, &f->prefix, f->at.port, f->at.vlan, TUNNEL_NONE, f->at.mtu);
	f->in_fib = there && !*err.msg;
}

/* ---- routes --------------------------------------------------------------------------------- */

static void route_apply(struct fact *f, bool there)
{
	struct err err = {0};

	if (f->in_fib == there)
		return;
	if (there && fib_route_add(view.fib, &f->prefix, FIB_FROM_KERNEL, &f->hop, &err) < 0)
		log_debug("a route of the kernel's is not taken over: %s", err.msg);
	else if (!there)
		fib_route_remove(view.fib, &f->prefix, FIB_FROM_KERNEL, &f->hop);
	f->in_fib = there && !*err.msg;
}

/* The best of a prefix is in the FIB, the others wait. Adds before it removes: no gap. */
static void route_elect(const struct net_prefix *prefix)
{
	struct fact *best = NULL;

	for (struct fact *f = *bucket_of(prefix); f; f = f->next)
		if (!f->is_address && prefix_equal(&f->prefix, prefix) &&
			(!best || f->metric < best->metric))
			best = f;
	if (best)
		route_apply(best, true);
	for (struct fact *f = *bucket_of(prefix); f; f = f->next)
		if (f != best && !f->is_address && prefix_equal(&f->prefix, prefix))
			route_apply(f, false);
}

/* ---- forgetting ----------------------------------------------------------------------------- */

static void fact_unlink(struct fact **at)
{
	struct fact *f = *at;

	*at = f->next;
	if (f->is_address) {
		address_apply(f, false);
	} else {
		route_elect(&f->prefix); /* the next best first */
		route_apply(f, false);
	}
	free(f);
}

static void facts_drop(bool (*which)(const struct fact *f, unsigned arg), unsigned arg)
{
	for (unsigned i = 0; i < BUCKETS; i++)
		for (struct fact **at = &view.buckets[i]; *at;)
			if (which(*at, arg))
				fact_unlink(at);
			else
				at = &(*at)->next;
}

static bool is_unseen(const struct fact *f, unsigned look)
{
	return f->look != look;
}

static bool is_of_interface(const struct fact *f, unsigned ifindex)
{
	return f->at.ifindex == ifindex;
}

static bool is_any(const struct fact *f, unsigned arg)
{
	(void)f, (void)arg;
	return true;
}

/* ---- what the kernel says ------------------------------------------------------------------- */

void kernel_view_address(
	const struct kernel_interface_of_port *k, const struct net_prefix *address, bool there)
{
	struct fact **at = bucket_of(address), *f;

	while (*at && (!(*at)->is_address || (*at)->at.ifindex != k->ifindex ||
			      !prefix_equal(&(*at)->prefix, address)))
		at = &(*at)->next;
	if (*at && there) {
		(*at)->look = view.look;
		return;
	}
	if (*at) {
		fact_unlink(at);
		return;
	}
	f = there ? fact_new(k, address) : NULL;
	if (!f)
		return;
	f->is_address = true;
	address_apply(f, true);
}

static bool route_matches(const struct fact *f, const struct net_prefix *prefix, uint32_t metric)
{
	return !f->is_address && f->metric == metric && prefix_equal(&f->prefix, prefix);
}

void kernel_view_route(const struct kernel_interface_of_port *k, const struct kernel_route *route,
	bool there, bool replaces)
{
	struct net_prefix prefix = net_prefix_masked(&route->prefix);
	struct fib_next_hop hop = {.type = FIB_PORT,
		.family = (uint8_t)route->via.family,
		.port = k->port,
		.vlan = k->vlan,
		.mtu = k->mtu,
		.tunnel = TUNNEL_NONE};
	struct fact **at = bucket_of(&prefix), *f = NULL;

	memcpy(hop.via, route->via.bytes, 16);
	while (*at) {
		bool same = route_matches(*at, &prefix, route->metric);
		bool equal = same && memcmp(&(*at)->hop, &hop, sizeof(hop)) == 0;

		if (equal && there) {
			f = *at;
			f->look = view.look;
			at = &f->next;
		} else if (equal || (same && replaces)) {
			fact_unlink(at);
		} else {
			at = &(*at)->next;
		}
	}
	if (!there || f)
		return;
	f = fact_new(k, &prefix);
	if (!f)
		return;
	f->hop = hop;
	f->metric = route->metric;
	route_elect(&prefix);
}

void kernel_view_mark(void)
{
	view.look++;
}

void kernel_view_sweep(void)
{
	facts_drop(is_unseen, view.look);
}

void kernel_view_forget(unsigned ifindex)
{
	facts_drop(is_of_interface, ifindex);
}

void kernel_view_start(struct fib *fib)
{
	view.fib = fib;
	view.look = 0;
}

void kernel_view_stop(void)
{
	if (view.fib)
		facts_drop(is_any, 0);
	view.fib = NULL;
}

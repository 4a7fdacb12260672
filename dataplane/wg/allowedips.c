/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Protocol library: changes on the control loop, look-ups on any worker.
 *
 * A node stands for a prefix. Its children are longer prefixes that begin with it, by the bit after
 * it. A node without a value is there only to fork: it has two children, else it is taken out. So
 * there are fewer than two nodes per prefix, and a walk is as deep as the prefixes differ, not as
 * they are long.
 *
 * Why a reader needs no lock: a new node is complete before the one store that links it; a value
 * changes by one store; a node taken out keeps its child pointer, so a reader that stands on it
 * walks on into what is (or was within this grace period) the table. Each `child` and `value` is
 * atomic, the rest of a node never changes while linked but for the writer's own fields.
 *
 * Single addresses are in `hosts` as well (hosts.h): most peers have one and no more, and a look-up
 * asks there first.
 */
#include "allowedips.h"

#include <assert.h>
#include <endian.h>
#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#define LANES 8  /* walks of a burst under way at a time */
#define CHUNK 64 /* addresses whose short-cuts are tried before the first is walked for */

/* The address as two integers, first bit on top; IPv4 in the upper half of `hi`. */
struct bits {
	uint64_t hi, lo;
};

/* One cache line. The first 40 bytes are what readers need. */
struct allowedips_node {
	_Atomic(struct allowedips_node *) child[2];
	struct bits bits; /* zero after `len` */
	_Atomic uint32_t value;
	uint8_t len;
	uint8_t family;
	/* the writer's */
	struct allowedips_node *parent;
	struct allowedips_node *next, **link; /* list of the value's prefixes */
} __attribute__((aligned(64)));

static_assert(sizeof(struct allowedips_node) == 64, "one cache line");

/* ---- bits ----------------------------------------------------------------------------------- */

static struct bits bits_load(const uint8_t bytes[16])
{
	struct bits b;

	memcpy(&b.hi, bytes, 8);
	memcpy(&b.lo, bytes + 8, 8);
	return (struct bits){be64toh(b.hi), be64toh(b.lo)};
}

static struct bits bits_load4(uint32_t addr_be)
{
	return (struct bits){(uint64_t)be32toh(addr_be) << 32, 0};
}

static struct bits bits_first(struct bits b, unsigned len)
{
	if (len < 64)
		return (struct bits){len ? b.hi & ~0ULL << (64 - len) : 0, 0};
	return (struct bits){b.hi, len > 64 ? b.lo & ~0ULL << (128 - len) : 0};
}

static unsigned bits_common(struct bits a, struct bits b)
{
	if (a.hi != b.hi)
		return __builtin_clzll(a.hi ^ b.hi);
	return a.lo != b.lo ? 64 + __builtin_clzll(a.lo ^ b.lo) : 128;
}

/* The bit after the first `len`; anything for the longest, which have no children. */
static inline unsigned bit4(struct bits b, unsigned len)
{
	return b.hi >> (63 - len) & 1;
}

static inline unsigned bit6(struct bits b, unsigned len)
{
	return (len < 64 ? b.hi : b.lo) >> ((63 - len) & 63) & 1;
}

/* The first `len` bits are those of the node; len < 64. Two shifts, since one by 64 is undefined.
 */
static inline bool matches4(const struct allowedips_node *node, struct bits b)
{
	return (b.hi ^ node->bits.hi) >> 1 >> (63 - node->len) == 0;
}

static inline bool matches6(const struct allowedips_node *node, struct bits b)
{
	if (node->len < 64)
		return matches4(node, b);
	return b.hi == node->bits.hi &&
	       (node->len == 64 || (b.lo ^ node->bits.lo) >> (128 - node->len) == 0);
}

/* ---- readers -------------------------------------------------------------------------------- */

static inline struct allowedips_node *node_at(const _Atomic(struct allowedips_node *) *slot)
{
	/* pairs with the release store in node_link */
	return atomic_load_explicit(slot, memory_order_acquire);
}

static inline uint32_t node_value(const struct allowedips_node *node)
{
	/* pairs with the release store in node_set_value */
	return atomic_load_explicit(&node->value, memory_order_acquire);
}

static inline bool matches_addr(const struct allowedips_node *node, struct bits b, bool v6)
{
	return v6 ? matches6(node, b) : matches4(node, b);
}

static inline uint32_t walk(
	const _Atomic(struct allowedips_node *) *root, struct bits addr, const bool v6)
{
	uint32_t best = ALLOWEDIPS_NONE;

	for (const struct allowedips_node *n = node_at(root); n && matches_addr(n, addr, v6);) {
		uint32_t value = node_value(n);

		best = value != ALLOWEDIPS_NONE ? value : best;
		n = node_at(&n->child[v6 ? bit6(addr, n->len) : bit4(addr, n->len)]);
	}
	return best;
}

/* pairs with the release store in hosts.c */
static inline const struct hosts6 *hosts_of6(const struct allowedips *table)
{
	return atomic_load_explicit(&table->hosts.v6, memory_order_acquire);
}

uint32_t allowedips_lookup4(const struct allowedips *table, uint32_t addr_be)
{
	const struct hosts4 *hosts = allowedips_hosts4(table);
	uint32_t value = hosts ? hosts_find4(hosts, addr_be) : HOSTS_NONE;

	return value != HOSTS_NONE ? value : walk(&table->root4, bits_load4(addr_be), false);
}

uint32_t allowedips_lookup6(const struct allowedips *table, const uint8_t addr_be[static 16])
{
	const struct hosts6 *hosts = hosts_of6(table);
	struct bits addr = bits_load(addr_be);
	uint32_t value = hosts ? hosts_find6(hosts, (uint64_t[]){addr.hi, addr.lo}) : HOSTS_NONE;

	return value != HOSTS_NONE ? value : walk(&table->root6, addr, true);
}

/* ---- readers: bursts ------------------------------------------------------------------------ */

/* An address that no host has: still to be walked for. */
struct wanted {
	struct bits addr;
	uint32_t *out;
};

/* Each round takes every walk one node further and asks for the next ones before it needs them. */
static inline void walk_lanes(const _Atomic(struct allowedips_node *) *root,
	const struct wanted *wanted, unsigned n, const bool v6)
{
	const struct allowedips_node *at[LANES];
	bool walking;

	for (unsigned i = 0; i < n; i++) {
		at[i] = node_at(root);
		*wanted[i].out = ALLOWEDIPS_NONE;
	}
	do {
		walking = false;
		for (unsigned i = 0; i < n; i++) {
			const struct allowedips_node *node = at[i];
			struct bits addr = wanted[i].addr;
			uint32_t value;

			if (!node)
				continue;
			if (!matches_addr(node, addr, v6)) {
				at[i] = NULL;
				continue;
			}
			value = node_value(node);
			*wanted[i].out = value != ALLOWEDIPS_NONE ? value : *wanted[i].out;
			at[i] = node_at(
				&node->child[v6 ? bit6(addr, node->len) : bit4(addr, node->len)]);
			__builtin_prefetch(at[i]);
			walking |= at[i] != NULL;
		}
	} while (walking);
}

static inline void walk_all(const _Atomic(struct allowedips_node *) *root,
	const struct wanted *wanted, unsigned n, const bool v6)
{
	for (unsigned i = 0; i < n; i += LANES)
		walk_lanes(root, wanted + i, n - i < LANES ? n - i : LANES, v6);
}

static void lookup_chunk4(
	const struct allowedips *table, const uint32_t *addrs_be, uint32_t *out, unsigned n)
{
	const struct hosts4 *hosts = allowedips_hosts4(table);
	struct wanted wanted[CHUNK];
	unsigned n_wanted = 0;

	for (unsigned i = 0; i < n; i++) {
		out[i] = hosts ? hosts_find4(hosts, addrs_be[i]) : HOSTS_NONE;
		if (out[i] == HOSTS_NONE)
			wanted[n_wanted++] = (struct wanted){bits_load4(addrs_be[i]), &out[i]};
	}
	walk_all(&table->root4, wanted, n_wanted, false);
}

void allowedips_lookup_burst4(
	const struct allowedips *table, const uint32_t *addrs_be, uint32_t *out, unsigned n)
{
	for (unsigned i = 0; i < n; i += CHUNK)
		lookup_chunk4(table, addrs_be + i, out + i, n - i < CHUNK ? n - i : CHUNK);
}

static void lookup_chunk6(
	const struct allowedips *table, const uint8_t *const *addrs_be, uint32_t *out, unsigned n)
{
	const struct hosts6 *hosts = hosts_of6(table);
	struct wanted wanted[CHUNK];
	uint64_t addr[CHUNK][2];
	unsigned n_wanted = 0;

	for (unsigned i = 0; i < n; i++) {
		struct bits bits = bits_load(addrs_be[i]);

		addr[i][0] = bits.hi;
		addr[i][1] = bits.lo;
		out[i] = hosts ? hosts_find6(hosts, addr[i]) : HOSTS_NONE;
		if (out[i] == HOSTS_NONE)
			wanted[n_wanted++] = (struct wanted){{addr[i][0], addr[i][1]}, &out[i]};
	}
	walk_all(&table->root6, wanted, n_wanted, true);
}

void allowedips_lookup_burst6(
	const struct allowedips *table, const uint8_t *const *addrs_be, uint32_t *out, unsigned n)
{
	for (unsigned i = 0; i < n; i += CHUNK)
		lookup_chunk6(table, addrs_be + i, out + i, n - i < CHUNK ? n - i : CHUNK);
}

/* ---- nodes, as the writer sees them ---------------------------------------------------------- */

static struct allowedips_node *node_new(uint8_t family, struct bits bits, unsigned len)
{
	struct allowedips_node *node = aligned_alloc(64, sizeof(*node));

	if (!node)
		return NULL;
	memset(node, 0, sizeof(*node));
	node->bits = bits_first(bits, len);
	node->len = len;
	node->family = family;
	atomic_init(&node->value, ALLOWEDIPS_NONE);
	return node;
}

static unsigned node_bit(const struct allowedips_node *node, struct bits bits)
{
	return node->family == AF_INET ? bit4(bits, node->len) : bit6(bits, node->len);
}

static _Atomic(struct allowedips_node *) *slot_of(
	struct allowedips *table, uint8_t family, struct allowedips_node *parent, struct bits bits)
{
	if (parent)
		return &parent->child[node_bit(parent, bits)];
	return family == AF_INET ? &table->root4 : &table->root6;
}

/* Makes `node` (with all below it) visible in the place of what is there. */
static void node_link(struct allowedips *table, uint8_t family, struct allowedips_node *parent,
	struct bits bits, struct allowedips_node *node)
{
	if (node)
		node->parent = parent;
	/* pairs with the acquire load in node_at */
	atomic_store_explicit(slot_of(table, family, parent, bits), node, memory_order_release);
}

/* A child of a node that is not visible yet. */
static void node_adopt(struct allowedips_node *parent, struct allowedips_node *child)
{
	atomic_store_explicit(
		&parent->child[node_bit(parent, child->bits)], child, memory_order_relaxed);
}

static void list_remove(struct allowedips_node *node)
{
	*node->link = node->next;
	if (node->next)
		node->next->link = node->link;
}

static void list_add(struct allowedips *table, struct allowedips_node *node, uint32_t value)
{
	struct allowedips_node **head = &table->prefixes[value];

	node->next = *head;
	node->link = head;
	if (*head)
		(*head)->link = &node->next;
	*head = node;
}

/* A prefix that is a single address: `hosts` follows the trie. */
static void host_set(struct allowedips *table, const struct allowedips_node *node, uint32_t value)
{
	uint32_t host = value == ALLOWEDIPS_NONE ? HOSTS_NONE : value;

	if (node->family == AF_INET && node->len == 32)
		hosts_set4(&table->hosts, htobe32((uint32_t)(node->bits.hi >> 32)), host,
			table->retire);
	else if (node->family == AF_INET6 && node->len == 128)
		hosts_set6(&table->hosts, (uint64_t[]){node->bits.hi, node->bits.lo}, host,
			table->retire);
}

/* Returns the value it had. */
static uint32_t node_set_value(
	struct allowedips *table, struct allowedips_node *node, uint32_t value)
{
	uint32_t had = atomic_load_explicit(&node->value, memory_order_relaxed);

	if (had == value)
		return had;
	if (had != ALLOWEDIPS_NONE) {
		list_remove(node);
		table->count--;
	}
	if (value != ALLOWEDIPS_NONE) {
		list_add(table, node, value);
		table->count++;
	}
	/* pairs with the acquire load in node_value */
	atomic_store_explicit(&node->value, value, memory_order_release);
	host_set(table, node, value);
	return had;
}

/* ---- changes -------------------------------------------------------------------------------- */

/* 0, or -EINVAL when it is none. */
static int prefix_bits(const struct net_prefix *prefix, struct bits *bits)
{
	uint8_t bytes[16] = {0};

	if (prefix->addr.family == AF_INET && prefix->len <= 32)
		memcpy(bytes, prefix->addr.bytes, 4);
	else if (prefix->addr.family == AF_INET6 && prefix->len <= 128)
		memcpy(bytes, prefix->addr.bytes, 16);
	else
		return -EINVAL;
	*bits = bits_first(bits_load(bytes), prefix->len);
	return 0;
}

static bool matches(const struct allowedips_node *node, struct bits bits)
{
	return node->family == AF_INET ? matches4(node, bits) : matches6(node, bits);
}

/* The longest node that begins the prefix or is it; NULL: none, so that the place is the root. */
static struct allowedips_node *node_nearest(
	struct allowedips *table, uint8_t family, struct bits bits, unsigned len)
{
	struct allowedips_node *nearest = NULL, *n = node_at(slot_of(table, family, NULL, bits));

	while (n && n->len <= len && matches(n, bits)) {
		nearest = n;
		if (n->len == len)
			break;
		n = node_at(&n->child[node_bit(n, bits)]);
	}
	return nearest;
}

/* Puts a new node below `parent`, where one that it begins, or forks from, may be already. */
static int node_insert(
	struct allowedips *table, struct allowedips_node *parent, struct allowedips_node *node)
{
	struct allowedips_node *there, *fork;
	unsigned common;

	there = node_at(slot_of(table, node->family, parent, node->bits));
	if (!there) {
		node_link(table, node->family, parent, node->bits, node);
		return 0;
	}
	common = bits_common(there->bits, node->bits);
	if (common >= node->len) {
		node_adopt(node, there);
		node_link(table, node->family, parent, node->bits, node);
		there->parent = node;
		return 0;
	}
	fork = node_new(node->family, node->bits, common);
	if (!fork)
		return -ENOMEM;
	node_adopt(fork, there);
	node_adopt(fork, node);
	node_link(table, fork->family, parent, fork->bits, fork);
	there->parent = fork;
	node->parent = fork;
	return 0;
}

/* Room for the list of this value. */
static int lists_grow(struct allowedips *table, uint32_t value)
{
	uint32_t n = table->n_prefixes ? table->n_prefixes : 64;
	struct allowedips_node **prefixes;

	if (value < table->n_prefixes)
		return 0;
	while (n <= value)
		n *= 2;
	prefixes = realloc(table->prefixes, n * sizeof(*prefixes));
	if (!prefixes)
		return -ENOMEM;
	memset(prefixes + table->n_prefixes, 0, (n - table->n_prefixes) * sizeof(*prefixes));
	table->prefixes = prefixes;
	table->n_prefixes = n;
	for (uint32_t i = 0; i < n; i++) /* the array moved, and the first of each list points in */
		if (prefixes[i])
			prefixes[i]->link = &prefixes[i];
	return 0;
}

uint32_t allowedips_get(struct allowedips *table, const struct net_prefix *prefix)
{
	const struct allowedips_node *nearest;
	struct bits bits;

	if (prefix_bits(prefix, &bits) < 0)
		return ALLOWEDIPS_NONE;
	nearest = node_nearest(table, prefix->addr.family, bits, prefix->len);
	return nearest && nearest->len == prefix->len ? node_value(nearest) : ALLOWEDIPS_NONE;
}

int allowedips_insert(struct allowedips *table, const struct net_prefix *prefix, uint32_t value,
	uint32_t *taken_from)
{
	struct allowedips_node *nearest, *node;
	uint32_t had = ALLOWEDIPS_NONE;
	struct bits bits;

	if (value > ALLOWEDIPS_VALUE_MAX || prefix_bits(prefix, &bits) < 0)
		return -EINVAL;
	if (lists_grow(table, value) < 0)
		return -ENOMEM;
	nearest = node_nearest(table, prefix->addr.family, bits, prefix->len);
	if (nearest && nearest->len == prefix->len) {
		had = node_set_value(table, nearest, value);
	} else {
		node = node_new(prefix->addr.family, bits, prefix->len);
		if (!node)
			return -ENOMEM;
		node_set_value(table, node, value);
		if (node_insert(table, nearest, node) < 0) {
			node_set_value(table, node, ALLOWEDIPS_NONE);
			free(node);
			return -ENOMEM;
		}
	}
	if (taken_from)
		*taken_from = had == value ? ALLOWEDIPS_NONE : had;
	return 0;
}

/*
 * Takes a node without a value out, and the fork above it when that has one child left. Who may
 * still hold the node: readers that were on their way through it; hence retire. No other node or
 * list refers to it.
 */
static void node_prune(struct allowedips *table, struct allowedips_node *node)
{
	while (node && node_value(node) == ALLOWEDIPS_NONE) {
		struct allowedips_node *left = node_at(&node->child[0]);
		struct allowedips_node *right = node_at(&node->child[1]);
		struct allowedips_node *parent = node->parent;

		if (left && right)
			return;
		node_link(table, node->family, parent, node->bits, left ? left : right);
		if (table->retire)
			table->retire(node, free);
		else
			free(node);
		node = left || right ? NULL : parent;
	}
}

int allowedips_remove(struct allowedips *table, const struct net_prefix *prefix, uint32_t value)
{
	struct allowedips_node *node;
	struct bits bits;

	if (value > ALLOWEDIPS_VALUE_MAX || prefix_bits(prefix, &bits) < 0)
		return -ENOENT;
	node = node_nearest(table, prefix->addr.family, bits, prefix->len);
	if (!node || node->len != prefix->len || node_value(node) != value)
		return -ENOENT;
	node_set_value(table, node, ALLOWEDIPS_NONE);
	node_prune(table, node);
	return 0;
}

void allowedips_remove_value(struct allowedips *table, uint32_t value)
{
	struct allowedips_node *node;

	while (value < table->n_prefixes && (node = table->prefixes[value])) {
		node_set_value(table, node, ALLOWEDIPS_NONE);
		node_prune(table, node);
	}
}

void allowedips_each(const struct allowedips *table, uint32_t value,
	void (*fn)(void *arg, const struct net_prefix *prefix), void *arg)
{
	if (value >= table->n_prefixes)
		return;
	for (const struct allowedips_node *n = table->prefixes[value]; n; n = n->next) {
		struct net_prefix prefix = {.addr.family = n->family, .len = n->len};
		uint64_t hi = htobe64(n->bits.hi), lo = htobe64(n->bits.lo);

		memcpy(prefix.addr.bytes, &hi, 8);
		memcpy(prefix.addr.bytes + 8, &lo, 8);
		fn(arg, &prefix);
	}
}

void allowedips_init(
	struct allowedips *table, void (*retire)(void *object, void (*free_fn)(void *)))
{
	*table = (struct allowedips){.retire = retire};
}

void allowedips_fini(struct allowedips *table)
{
	table->retire = NULL;
	for (uint32_t value = 0; value < table->n_prefixes; value++)
		allowedips_remove_value(table, value);
	free(table->prefixes);
	hosts_fini(&table->hosts);
	*table = (struct allowedips){.retire = NULL};
}

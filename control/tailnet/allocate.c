/* SPDX-License-Identifier: BSD-3-Clause */
/* Labels and addresses for new nodes: found in memory, kept by a reservation while the transaction
 * is under way, and unique in the store. Control loop. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "internal.h"

/* ---- labels -------------------------------------------------------------------------------- */

/* Ten thousand machines named "localhost": beyond the first few numbers the search goes on where
 * the last one ended. */
#define LABEL_TRIES 8

struct label_hint {
	char label[LABEL_SIZE];
	unsigned last;
};

static struct label_hint *hint_of(struct tailnet *t, const char *label)
{
	uint64_t hash = hash_text(label);
	struct label_hint *hint;

	for (size_t at = INDEX_FIRST; (hint = index_next(&t->label_hints, hash, &at));)
		if (!strcmp(hint->label, label))
			return hint;
	hint = calloc(1, sizeof(*hint));
	if (!hint)
		return NULL;
	memcpy(hint->label, label, strlen(label) + 1);
	hint->last = LABEL_TRIES;
	if (index_add(&t->label_hints, hash, hint)) {
		free(hint);
		return NULL;
	}
	return hint;
}

void labels_fini(struct tailnet *t)
{
	struct label_hint *hint;

	for (size_t at = INDEX_FIRST; (hint = index_walk(&t->label_hints, &at));)
		free(hint);
	index_fini(&t->label_hints);
}

/* What is the node's already is free for it. */
static bool label_usable(const struct change *change, const char *label)
{
	const struct node *node = node_by_label(change->t, label);

	return node ? node->d.id == change->node : label_is_free(change->t, label);
}

int change_label(struct change *change, const char *label)
{
	struct label_hint *hint = NULL;
	char text[LABEL_SIZE];

	memcpy(text, label, strlen(label) + 1);
	for (unsigned n = 1; !label_usable(change, text); n++) {
		if (n > LABEL_TRIES) {
			hint = hint ? hint : hint_of(change->t, label);
			if (!hint)
				return -ENOMEM;
			n = ++hint->last;
		}
		label_with_number(text, label, n);
	}
	if (change->data.label && !strcmp(change->data.label, text))
		return 0;
	change_reserve(change, text);
	return text_set(&change->data.label, text);
}

/* ---- addresses ----------------------------------------------------------------------------- */

/* Kept free: the clients' own service addresses, what ChromeOS uses inside, and what has a meaning
 * by its number. */
static const char *const kept_free[] = {"100.100.0.0/24", "100.100.100.0/24", "100.115.92.0/23",
	"fd7a:115c:a1e0::53/128", "fd7a:115c:a1e0:b1a::/64", "fd7a:115c:a1e0:efe3::/64",
	"fd7a:115c:a1e0:ab12:4843:cd96:6200::/104"};

bool address_is_kept_free(const struct net_addr *addr)
{
	static struct net_prefix prefixes[sizeof(kept_free) / sizeof(*kept_free)];

	for (size_t i = 0; i < sizeof(kept_free) / sizeof(*kept_free); i++) {
		if (!prefixes[i].addr.family)
			net_prefix_parse(&prefixes[i], kept_free[i]);
		if (net_prefix_contains(&prefixes[i], addr))
			return true;
	}
	return false;
}

/* The number of addresses in a pool that are counted through; large IPv6 pools have more. */
static uint64_t pool_size(const struct net_prefix *pool)
{
	unsigned bits = (pool->addr.family == AF_INET ? 32 : 128) - pool->len;

	return 1ull << (bits > 62 ? 62 : bits);
}

static struct net_addr pool_at(const struct net_prefix *pool, uint64_t offset)
{
	struct net_addr addr = net_prefix_masked(pool).addr;
	size_t len = addr.family == AF_INET ? 4 : 16;

	for (size_t i = len; i && offset; i--, offset >>= 8)
		addr.bytes[i - 1] |= (uint8_t)offset;
	return addr;
}

/* Neither the network nor the broadcast address. */
static bool offset_usable(const struct net_prefix *pool, uint64_t size, uint64_t offset)
{
	return offset && (pool->addr.family != AF_INET || offset != size - 1);
}

static bool usable(const struct tailnet *t, const struct net_prefix *pool, uint64_t size,
	uint64_t offset, struct net_addr *addr)
{
	*addr = pool_at(pool, offset);
	return offset_usable(pool, size, offset) && !address_is_kept_free(addr) &&
	       address_is_free(t, addr);
}

/* The next after the last one given: an address comes back late. */
static bool next_free(struct change *change, const struct net_prefix *pool, struct counter *counter,
	struct net_addr *addr)
{
	uint64_t size = pool_size(pool), from = (uint64_t)counter->next % size;

	for (uint64_t i = 1; i <= size; i++) {
		uint64_t offset = (from + i) % size;

		if (!usable(change->t, pool, size, offset, addr))
			continue;
		change_count(change, counter, (int64_t)offset);
		return true;
	}
	return false;
}

static bool random_free(
	const struct tailnet *t, const struct net_prefix *pool, struct net_addr *addr)
{
	uint64_t size = pool_size(pool), from;

	secret_random(&from, sizeof(from));
	for (unsigned i = 0; i < 64; i++) {
		secret_random(&from, sizeof(from));
		if (usable(t, pool, size, from % size, addr))
			return true;
	}
	/* a full pool: whatever comes next */
	for (uint64_t i = 0; i < size; i++)
		if (usable(t, pool, size, (from + i) % size, addr))
			return true;
	return false;
}

static int allocate(struct change *change, const struct net_prefix *pool, struct counter *counter,
	struct net_addr *addr, struct err *err)
{
	char text[NET_PREFIX_STRLEN];
	bool found;

	if (!pool->addr.family || addr->family)
		return 0;
	if (!change_txn(change))
		return -ENOMEM;
	found = change->t->conf.allocation == ALLOCATE_RANDOM
			? random_free(change->t, pool, addr)
			: next_free(change, pool, counter, addr);
	if (!found) {
		*addr = (struct net_addr){0};
		return err_set(err, -ENOSPC, "all addresses of %s are taken",
			net_prefix_format(pool, text));
	}
	net_addr_format(addr, text);
	change_reserve(change, text);
	return 0;
}

int change_addresses(struct change *change, struct err *err)
{
	struct tailnet *t = change->t;
	int rc = allocate(change, &t->conf.v4, &t->v4_offsets, &change->data.v4, err);

	return rc ? rc : allocate(change, &t->conf.v6, &t->v6_offsets, &change->data.v6, err);
}

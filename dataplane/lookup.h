/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

/* Look-ups of a burst's addresses in one table, both families, all at once. Workers. */
#include <string.h>

#include "allowedips.h"
#include "tailplane/node.h"

/* Addresses of one family, each once for the packets in a row that ask for it. */
struct lookup_runs {
	uint16_t n, n_places;           /* addresses, packets */
	uint16_t first[NODE_BURST_MAX]; /* in `places`, by address */
	uint16_t places[NODE_BURST_MAX];
};

/* Filled by lookup_add, which asks memory for what lookup_run needs. Of IPv4 that is the place of a
 * single address, which mostly has the answer; for what it lacks the trie is walked. */
struct lookups {
	const struct allowedips *table; /* NULL: there is none, all stays without an answer */
	const struct hosts4 *hosts4;    /* NULL: it has no single addresses */
	struct lookup_runs v4, v6;
	uint32_t addr4[NODE_BURST_MAX];
	const _Atomic uint64_t *host4[NODE_BURST_MAX];
	const uint8_t *addr6[NODE_BURST_MAX];
};

static inline void lookups_init(struct lookups *l, const struct allowedips *table)
{
	l->table = table;
	l->hosts4 = table ? allowedips_hosts4(table) : NULL;
	l->v4.n = l->v4.n_places = l->v6.n = l->v6.n_places = 0;
}

static inline void lookup_add4(struct lookups *l, uint16_t place, uint32_t addr)
{
	static const _Atomic uint64_t none;
	uint16_t n = l->v4.n, at = l->v4.n_places++;

	l->v4.places[at] = place;
	if (n && l->addr4[n - 1] == addr)
		return;
	l->v4.first[n] = at;
	l->addr4[n] = addr;
	l->host4[n] = l->hosts4 ? &l->hosts4->slots[hosts_place4(l->hosts4, addr)] : &none;
	__builtin_prefetch((const void *)l->host4[n]);
	l->v4.n++;
}

static inline void lookup_add6(struct lookups *l, uint16_t place, const uint8_t *addr)
{
	uint16_t n = l->v6.n, at = l->v6.n_places++;

	l->v6.places[at] = place;
	if (n && memcmp(l->addr6[n - 1], addr, 16) == 0)
		return;
	l->v6.first[n] = at;
	l->addr6[n] = addr;
	allowedips_prefetch6(l->table, addr);
	l->v6.n++;
}

static inline void lookup_add(struct lookups *l, uint16_t place, const uint8_t *addr, bool v4)
{
	uint32_t addr4;

	if (!l->table)
		return;
	if (v4) {
		memcpy(&addr4, addr, 4);
		lookup_add4(l, place, addr4);
	} else {
		lookup_add6(l, place, addr);
	}
}

/* Address `i`, for all the packets that ask for it. */
static inline void lookup_answer(
	const struct lookup_runs *runs, uint16_t i, uint32_t answer, uint32_t *out)
{
	uint16_t at = runs->first[i], end = i + 1 < runs->n ? runs->first[i + 1] : runs->n_places;

	do
		out[runs->places[at++]] = answer;
	while (at < end);
}

/* The addresses `which`. */
static __attribute__((noinline)) void lookup_walk4(
	const struct lookups *l, const uint16_t *which, uint16_t n, uint32_t *out)
{
	uint32_t addrs[NODE_BURST_MAX], found[NODE_BURST_MAX];

	for (uint16_t i = 0; i < n; i++)
		addrs[i] = l->addr4[which[i]];
	allowedips_lookup_burst4(l->table, addrs, found, n);
	for (uint16_t i = 0; i < n; i++)
		lookup_answer(&l->v4, which[i], found[i], out);
}

static __attribute__((noinline)) void lookup_walk6(const struct lookups *l, uint32_t *out)
{
	uint32_t found[NODE_BURST_MAX];

	allowedips_lookup_burst6(l->table, l->addr6, found, l->v6.n);
	for (uint16_t i = 0; i < l->v6.n; i++)
		lookup_answer(&l->v6, i, found[i], out);
}

/* out[place] for each that was added. */
static inline void lookup_run(struct lookups *l, uint32_t *out)
{
	uint16_t rest[NODE_BURST_MAX], n_rest = 0;

	for (uint16_t i = 0; i < l->v4.n; i++) {
		/* pairs with the release store in slot_set4 */
		uint64_t host = atomic_load_explicit(l->host4[i], memory_order_acquire);

		if (hosts_holds4(host, l->addr4[i]))
			lookup_answer(&l->v4, i, (uint32_t)host - 1, out);
		else
			rest[n_rest++] = i;
	}
	if (n_rest)
		lookup_walk4(l, rest, n_rest, out);
	if (l->v6.n)
		lookup_walk6(l, out);
	l->v4.n = l->v4.n_places = l->v6.n = l->v6.n_places = 0;
}

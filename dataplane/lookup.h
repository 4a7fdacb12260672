/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

/* Look-ups of a burst's addresses in one table, both families, all at once. Workers. */
#include <string.h>

#include "allowedips.h"
#include "tailplane/node.h"

/* Filled by lookup_add, which asks memory for what lookup_run needs. Of IPv4 that is the place of a
 * single address, which mostly has the answer; what it lacks is walked for, and a train of packets
 * to one address asks once. */
struct lookups {
	const struct allowedips *table; /* NULL: there is none, all stays without an answer */
	const struct hosts4 *hosts4;    /* NULL: it has no single addresses */
	uint16_t n4, n6, n6_addrs;
	uint16_t place4[NODE_BURST_MAX], place6[NODE_BURST_MAX]; /* of the packets, in the burst */
	uint16_t slot6[NODE_BURST_MAX];                          /* of the answer, in addr6 */
	uint32_t addr4[NODE_BURST_MAX];
	const _Atomic uint64_t *host4[NODE_BURST_MAX];
	const uint8_t *addr6[NODE_BURST_MAX];
};

static inline void lookups_init(struct lookups *l, const struct allowedips *table)
{
	l->table = table;
	l->hosts4 = table ? allowedips_hosts4(table) : NULL;
	l->n4 = l->n6 = l->n6_addrs = 0;
}

static inline void lookup_add4(struct lookups *l, uint16_t place, uint32_t addr)
{
	static const _Atomic uint64_t none;
	uint16_t n = l->n4++;

	l->place4[n] = place;
	l->addr4[n] = addr;
	if (n && l->addr4[n - 1] == addr) {
		l->host4[n] = l->host4[n - 1];
		return;
	}
	l->host4[n] = l->hosts4 ? &l->hosts4->slots[hosts_place4(l->hosts4, addr)] : &none;
	__builtin_prefetch((const void *)l->host4[n]);
}

static inline void lookup_add6(struct lookups *l, uint16_t place, const uint8_t *addr)
{
	uint16_t n = l->n6_addrs;

	l->place6[l->n6] = place;
	if (!n || memcmp(l->addr6[n - 1], addr, 16) != 0) {
		l->addr6[l->n6_addrs++] = addr;
		allowedips_prefetch6(l->table, addr);
	}
	l->slot6[l->n6++] = l->n6_addrs - 1;
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

/* Those that have no place of their own; `rest` of them are left in the front of place4, addr4. */
static __attribute__((noinline)) void lookup_walk4(
	const struct lookups *l, uint16_t rest, uint32_t *out)
{
	uint32_t addrs[NODE_BURST_MAX], found[NODE_BURST_MAX];
	uint16_t slot[NODE_BURST_MAX], n = 0;

	for (uint16_t i = 0; i < rest; i++) {
		if (!n || addrs[n - 1] != l->addr4[i])
			addrs[n++] = l->addr4[i];
		slot[i] = n - 1;
	}
	allowedips_lookup_burst4(l->table, addrs, found, n);
	for (uint16_t i = 0; i < rest; i++)
		out[l->place4[i]] = found[slot[i]];
}

static __attribute__((noinline)) void lookup_walk6(const struct lookups *l, uint32_t *out)
{
	uint32_t found[NODE_BURST_MAX];

	allowedips_lookup_burst6(l->table, l->addr6, found, l->n6_addrs);
	for (uint16_t i = 0; i < l->n6; i++)
		out[l->place6[i]] = found[l->slot6[i]];
}

/* out[place] for each that was added. */
static inline void lookup_run(struct lookups *l, uint32_t *out)
{
	uint16_t rest = 0;

	for (uint16_t i = 0; i < l->n4; i++) {
		/* pairs with the release store in slot_set4 */
		uint64_t host = atomic_load_explicit(l->host4[i], memory_order_acquire);

		if (hosts_holds4(host, l->addr4[i])) {
			out[l->place4[i]] = (uint32_t)host - 1;
			continue;
		}
		l->place4[rest] = l->place4[i];
		l->addr4[rest++] = l->addr4[i];
	}
	if (rest)
		lookup_walk4(l, rest, out);
	if (l->n6)
		lookup_walk6(l, out);
	l->n4 = l->n6 = l->n6_addrs = 0;
}

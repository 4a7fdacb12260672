/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

/* Look-ups of a burst's addresses in one table, both families, all at once. Workers. */
#include <string.h>

#include "allowedips.h"
#include "tailplane/node.h"

/* Filled by lookup_add, which asks memory for what lookup_run needs. A train of packets to one
 * address asks once. */
struct lookups {
	const struct allowedips *table; /* NULL: there is none, all stays without an answer */
	uint16_t n, n4, n6;             /* packets; addresses of each family */
	uint16_t place[NODE_BURST_MAX];
	uint16_t slot[NODE_BURST_MAX]; /* of the answer: IPv4's come first */
	uint32_t addr4[NODE_BURST_MAX];
	const uint8_t *addr6[NODE_BURST_MAX];
};

static inline void lookups_init(struct lookups *l, const struct allowedips *table)
{
	l->table = table;
	l->n = l->n4 = l->n6 = 0;
}

static inline void lookup_add4(struct lookups *l, uint32_t addr)
{
	if (l->n4 && l->addr4[l->n4 - 1] == addr)
		return;
	l->addr4[l->n4++] = addr;
	allowedips_prefetch4(l->table, addr);
}

static inline void lookup_add6(struct lookups *l, const uint8_t *addr)
{
	if (l->n6 && memcmp(l->addr6[l->n6 - 1], addr, 16) == 0)
		return;
	l->addr6[l->n6++] = addr;
	allowedips_prefetch6(l->table, addr);
}

static inline void lookup_add(struct lookups *l, uint16_t place, const uint8_t *addr, bool v4)
{
	uint32_t addr4;

	if (!l->table)
		return;
	l->place[l->n] = place;
	if (v4) {
		memcpy(&addr4, addr, 4);
		lookup_add4(l, addr4);
		l->slot[l->n++] = l->n4 - 1;
	} else {
		lookup_add6(l, addr);
		l->slot[l->n++] = NODE_BURST_MAX + l->n6 - 1;
	}
}

/* out[place] for each that was added. */
static inline void lookup_run(struct lookups *l, uint32_t *out)
{
	uint32_t found[2 * NODE_BURST_MAX];

	if (l->n4)
		allowedips_lookup_burst4(l->table, l->addr4, found, l->n4);
	if (l->n6)
		allowedips_lookup_burst6(l->table, l->addr6, found + NODE_BURST_MAX, l->n6);
	for (uint16_t i = 0; i < l->n; i++)
		out[l->place[i]] = found[l->slot[i]];
	l->n = l->n4 = l->n6 = 0;
}

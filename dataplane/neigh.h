/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

/*
 * Neighbours on the Ethernet ports: who has which MAC. The table is read by workers while control
 * changes it.
 *
 * Written by: control loop (`used` by workers, relaxed). Read by: workers, without locks. Freed: an
 * entry after a grace period from leaving its chain.
 */
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include <jansson.h>
#include <rte_jhash.h>

#include "tailplane/err.h"
#include "tailplane/net.h"

#define NEIGH_BUCKETS 4096

struct neigh_key {
	uint8_t addr[16]; /* network order, IPv4 in the first 4 bytes, rest zero */
	uint16_t port, vlan;
	uint16_t family;
	uint16_t zero;
};

#define NEIGH_MAC_KNOWN (1ull << 48)

struct neigh_entry {
	_Atomic(struct neigh_entry *) next; /* in its bucket */
	struct neigh_key key;
	/* the six bytes as they lie in memory, and NEIGH_MAC_KNOWN; 0: not known */
	_Atomic uint64_t mac;
	_Atomic uint64_t used; /* ns of a worker's last use, to a second or so */
};

struct neighbours {
	uint32_t seed;
	_Atomic(struct neigh_entry *) buckets[NEIGH_BUCKETS];
};

static inline uint32_t neigh_hash(const struct neighbours *table, const struct neigh_key *key)
{
	return rte_jhash_32b((const uint32_t *)key, sizeof(*key) / 4, table->seed) % NEIGH_BUCKETS;
}

static inline struct neigh_entry *neigh_find(
	const struct neighbours *table, const struct neigh_key *key)
{
	/* pairs with the release store in entry_link */
	struct neigh_entry *e =
		atomic_load_explicit(&table->buckets[neigh_hash(table, key)], memory_order_acquire);

	while (e && memcmp(&e->key, key, sizeof(*key)) != 0)
		e = atomic_load_explicit(&e->next, memory_order_acquire);
	return e;
}

/* Worker: fills `mac` and marks the entry as used; false when it is not known (yet). */
static inline bool neigh_lookup(const struct neighbours *table, const struct neigh_key *key,
	uint64_t now, uint8_t mac[static 6])
{
	struct neigh_entry *e = neigh_find(table, key);
	uint64_t value = e ? atomic_load_explicit(&e->mac, memory_order_relaxed) : 0;

	if (!value)
		return false;
	memcpy(mac, &value, 6);
	if (now - atomic_load_explicit(&e->used, memory_order_relaxed) > 1000000000)
		atomic_store_explicit(&e->used, now, memory_order_relaxed);
	return true;
}

/* ---- control loop: neigh.c ------------------------------------------------------------------- */

struct fib;
struct port_conf;

/* Starts the table and its timer; `fib` gives the addresses to speak from. */
int neigh_start(struct fib *fib, struct err *err);
void neigh_stop(void);
struct neighbours *neigh_table(void);

/* A neighbour that the kernel resolved on a mirror interface; mac NULL: it is gone or failed. */
void neigh_kernel(const struct neigh_key *key, const uint8_t mac[6]);
/* What time does to neighbours; by a timer, four times a second. */
void neigh_age(void);
/* Forgets all of a port. */
void neigh_flush(uint16_t port);
/* Tells the link of an address of ours (gratuitous ARP, unsolicited NA). */
void neigh_announce(uint16_t port, uint16_t vlan, const struct net_addr *addr);
/* Rows of `tailplane neighbours`. */
void neigh_rows(json_t *rows);

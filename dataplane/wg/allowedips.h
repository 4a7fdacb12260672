/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

/*
 * Longest-prefix match for IPv4 and IPv6: a binary radix trie with path compression. The value of a
 * prefix is a small number: a peer for allowed IPs, a next hop for a FIB.
 *
 * Written by: one thread (the control loop). Read by: any number of workers at the same time,
 * without locks; each change is a single release store, so a reader sees the trie before or after
 * it, never between. Freed: nodes taken out go to the `retire` function, which frees them once no
 * reader can hold one any more.
 */
#include <endian.h>
#include <stdatomic.h>
#include <stdint.h>
#include <string.h>

#include "hosts.h"
#include "tailplane/net.h"

#define ALLOWEDIPS_NONE UINT32_MAX
/* Values are indices into tables of at most so many entries. */
#define ALLOWEDIPS_VALUE_MAX ((1U << 21) - 1)

struct allowedips_node;

struct allowedips {
	_Atomic(struct allowedips_node *) root4, root6;
	struct hosts hosts;
	/* the rest is the writer's */
	struct allowedips_node **prefixes; /* by value: list of its prefixes */
	uint32_t n_prefixes;               /* length of that array */
	uint32_t count;                    /* prefixes in both tries */
	void (*retire)(void *object, void (*free_fn)(void *));
};

/* `retire` must call free_fn(object) after a grace period of all readers; NULL: there are none,
 * free at once. */
void allowedips_init(
	struct allowedips *table, void (*retire)(void *object, void (*free_fn)(void *)));
/* No reader is left. */
void allowedips_fini(struct allowedips *table);

/*
 * Host bits of `prefix` are ignored. A prefix that is there already moves to the new value: last
 * writer wins, and *taken_from (may be NULL) says from whom it was taken; ALLOWEDIPS_NONE when it
 * was new or had this value. 0, -EINVAL for a bad prefix or value, -ENOMEM; unchanged on error.
 */
int allowedips_insert(struct allowedips *table, const struct net_prefix *prefix, uint32_t value,
	uint32_t *taken_from);
/* 0, or -ENOENT when the prefix is not there or has another value. */
int allowedips_remove(struct allowedips *table, const struct net_prefix *prefix, uint32_t value);
/* The value of exactly this prefix. */
uint32_t allowedips_get(struct allowedips *table, const struct net_prefix *prefix);
/* All prefixes of one value, in time proportional to their number. */
void allowedips_remove_value(struct allowedips *table, uint32_t value);
/* Calls fn for each prefix of a value, newest first. fn must not change the table. */
void allowedips_each(const struct allowedips *table, uint32_t value,
	void (*fn)(void *arg, const struct net_prefix *prefix), void *arg);

/* Readers. Addresses in network order; ALLOWEDIPS_NONE when no prefix matches. */
uint32_t allowedips_lookup4(const struct allowedips *table, uint32_t addr_be);
uint32_t allowedips_lookup6(const struct allowedips *table, const uint8_t addr[static 16]);
/* The same for n addresses at once; their walks are interleaved to hide the latency of memory. */
void allowedips_lookup_burst4(
	const struct allowedips *table, const uint32_t *addrs_be, uint32_t *out, unsigned n);
void allowedips_lookup_burst6(
	const struct allowedips *table, const uint8_t *const *addrs_be, uint32_t *out, unsigned n);

/* The single addresses, NULL: there are none. lookup.h asks for their places ahead. */
static inline const struct hosts4 *allowedips_hosts4(const struct allowedips *table)
{
	/* pairs with the release store in hosts.c */
	return atomic_load_explicit(&table->hosts.v4, memory_order_acquire);
}

/* Asks for what a look-up needs first. */
static inline void allowedips_prefetch6(
	const struct allowedips *table, const uint8_t addr[static 16])
{
	/* pairs with the release store in hosts.c */
	const struct hosts6 *hosts = atomic_load_explicit(&table->hosts.v6, memory_order_acquire);
	uint64_t be[2];

	memcpy(be, addr, sizeof(be));
	if (hosts)
		__builtin_prefetch(&hosts->slots[hosts_place6(
			hosts, (uint64_t[]){be64toh(be[0]), be64toh(be[1])})]);
}

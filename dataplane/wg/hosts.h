/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

/*
 * Single addresses (IPv4 /32, IPv6 /128) and their values: a short-cut in front of a trie, since
 * nothing matches longer. One access to memory finds what a walk finds in a dozen that wait for
 * each other. It may lack what the trie has (no memory to grow), never the other way round.
 *
 * Written by: one thread (the control loop). Read by: any number of workers, without locks. A place
 * keeps its address as long as its table lives; a value changes by one store. A full table is
 * replaced by a larger one and goes to the `retire` function.
 */
#include <endian.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#define HOSTS_NONE UINT32_MAX /* values are less than HOSTS_NONE - 2 */

struct hosts4;
struct hosts6;

struct hosts {
	_Atomic(struct hosts4 *) v4;
	_Atomic(struct hosts6 *) v6;
};

/* value HOSTS_NONE: takes the address out. `retire` as in allowedips.h. */
void hosts_set4(struct hosts *hosts, uint32_t addr_be, uint32_t value,
	void (*retire)(void *object, void (*free_fn)(void *)));
void hosts_set6(struct hosts *hosts, const uint64_t addr[static 2], uint32_t value,
	void (*retire)(void *object, void (*free_fn)(void *)));
void hosts_fini(struct hosts *hosts); /* no reader is left */

/* ---- readers --------------------------------------------------------------------------------- */

struct hosts4 {
	_Alignas(64) uint32_t mask, shift; /* shift: leaves the number of a line */
	uint32_t used, live;               /* the writer's: places with an address, with a value */
	_Alignas(64) _Atomic uint64_t slots[]; /* address << 32 | value + 1; 0: empty */
};

struct hosts6_slot {
	uint64_t addr[2];
	_Atomic uint32_t value; /* + 1; 0: empty. Stored last */
} __attribute__((aligned(32)));

struct hosts6 {
	uint32_t mask, shift;
	uint32_t used, live;
	struct hosts6_slot slots[];
};

#define HOSTS_GONE UINT32_MAX /* in a slot: an address that has no value any more */

/* Eight neighbours share a cache line: addresses are mostly given out one after the other. */
static inline uint32_t hosts_place4(const struct hosts4 *h, uint32_t addr_be)
{
	uint32_t addr = be32toh(addr_be);

	return (uint32_t)((addr >> 3) * 0x9e3779b97f4a7c15u >> h->shift << 3) | (addr & 7);
}

static inline uint32_t hosts_place6(const struct hosts6 *h, const uint64_t addr[static 2])
{
	return (uint32_t)((addr[0] * 0xd1342543de82ef95u ^ addr[1]) * 0x9e3779b97f4a7c15u >>
			  h->shift);
}

/* Whether a place of the table has the value of this address. */
static inline bool hosts_holds4(uint64_t slot, uint32_t addr_be)
{
	/* neither empty nor HOSTS_GONE */
	return slot >> 32 == addr_be && (uint32_t)slot + 1 > 1;
}

static inline uint32_t hosts_find4(const struct hosts4 *h, uint32_t addr_be)
{
	for (uint32_t i = hosts_place4(h, addr_be);; i++) {
		/* pairs with the release store in slot_set4 */
		uint64_t slot = atomic_load_explicit(&h->slots[i & h->mask], memory_order_acquire);

		if (!(uint32_t)slot)
			return HOSTS_NONE;
		if (slot >> 32 == addr_be)
			return (uint32_t)slot == HOSTS_GONE ? HOSTS_NONE : (uint32_t)slot - 1;
	}
}

static inline uint32_t hosts_find6(const struct hosts6 *h, const uint64_t addr[static 2])
{
	for (uint32_t i = hosts_place6(h, addr);; i++) {
		const struct hosts6_slot *slot = &h->slots[i & h->mask];
		/* pairs with the release store in slot_set6 */
		uint32_t value = atomic_load_explicit(&slot->value, memory_order_acquire);

		if (!value)
			return HOSTS_NONE;
		if (slot->addr[0] == addr[0] && slot->addr[1] == addr[1])
			return value == HOSTS_GONE ? HOSTS_NONE : value - 1;
	}
}

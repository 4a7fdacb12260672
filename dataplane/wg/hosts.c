/* SPDX-License-Identifier: BSD-3-Clause */
/* Protocol library: changes on the control loop; see hosts.h for who reads. */
#include "hosts.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define PLACES_MIN 64
#define HUGE (2u << 20)

/* Zeroed. Large tables on large pages, where the kernel has them: each look-up is one page. */
static void *table_alloc(size_t size)
{
	size_t align = size >= HUGE ? HUGE : 64;
	void *p;

	size = (size + align - 1) / align * align;
	p = aligned_alloc(align, size);
	if (!p)
		return NULL;
	if (align == HUGE)
		(void)madvise(p, size, MADV_HUGEPAGE);
	return memset(p, 0, size);
}

static void table_retire(void *table, void (*retire)(void *object, void (*free_fn)(void *)))
{
	if (table && retire)
		retire(table, free);
	else
		free(table);
}

/* Places for `live` addresses and as many to come: at most half of them are ever used. */
static uint32_t places_for(uint32_t live)
{
	uint32_t n = PLACES_MIN;

	while (n < live * 4)
		n *= 2;
	return n;
}

/* ---- IPv4 ------------------------------------------------------------------------------------ */

static struct hosts4 *table_new4(uint32_t live)
{
	uint32_t n = places_for(live);
	struct hosts4 *h = table_alloc(sizeof(*h) + n * sizeof(h->slots[0]));

	if (h) {
		h->mask = n - 1;
		h->shift = 64 - (uint32_t)__builtin_ctz(n / 8);
	}
	return h;
}

/* The address's place, or the empty one where it would be. */
static _Atomic uint64_t *slot_find4(struct hosts4 *h, uint32_t addr_be)
{
	for (uint32_t i = hosts_place4(h, addr_be);; i++) {
		_Atomic uint64_t *at = &h->slots[i & h->mask];
		uint64_t slot = atomic_load_explicit(at, memory_order_relaxed);

		if (!(uint32_t)slot || slot >> 32 == addr_be)
			return at;
	}
}

static void slot_set4(struct hosts4 *h, uint32_t addr_be, uint32_t value)
{
	_Atomic uint64_t *at = slot_find4(h, addr_be);
	uint32_t had = (uint32_t)atomic_load_explicit(at, memory_order_relaxed);
	uint32_t now = value == HOSTS_NONE ? HOSTS_GONE : value + 1;

	h->used += !had;
	h->live += (now != HOSTS_GONE) - (had && had != HOSTS_GONE);
	/* pairs with the acquire load in hosts_find4 */
	atomic_store_explicit(at, (uint64_t)addr_be << 32 | now, memory_order_release);
}

static struct hosts4 *table_grow4(const struct hosts4 *old)
{
	struct hosts4 *h = table_new4(old ? old->live + 1 : 1);

	for (uint32_t i = 0; h && old && i <= old->mask; i++) {
		uint64_t slot = atomic_load_explicit(&old->slots[i], memory_order_relaxed);

		if ((uint32_t)slot && (uint32_t)slot != HOSTS_GONE)
			slot_set4(h, (uint32_t)(slot >> 32), (uint32_t)slot - 1);
	}
	return h;
}

void hosts_set4(struct hosts *hosts, uint32_t addr_be, uint32_t value,
	void (*retire)(void *object, void (*free_fn)(void *)))
{
	struct hosts4 *h = atomic_load_explicit(&hosts->v4, memory_order_relaxed), *grown;
	bool known = h && atomic_load_explicit(slot_find4(h, addr_be), memory_order_relaxed);

	if (!known && value == HOSTS_NONE)
		return;
	if (!known && (!h || h->used >= h->mask / 2)) {
		grown = table_grow4(h);
		if (!grown)
			return; /* the trie has it */
		slot_set4(grown, addr_be, value);
		/* pairs with the acquire load of readers */
		atomic_store_explicit(&hosts->v4, grown, memory_order_release);
		table_retire(h, retire);
		return;
	}
	slot_set4(h, addr_be, value);
}

/* ---- IPv6 ------------------------------------------------------------------------------------ */

static struct hosts6 *table_new6(uint32_t live)
{
	uint32_t n = places_for(live);
	struct hosts6 *h = table_alloc(sizeof(*h) + n * sizeof(h->slots[0]));

	if (h) {
		h->mask = n - 1;
		h->shift = 64 - (uint32_t)__builtin_ctz(n);
	}
	return h;
}

static struct hosts6_slot *slot_find6(struct hosts6 *h, const uint64_t addr[static 2])
{
	for (uint32_t i = hosts_place6(h, addr);; i++) {
		struct hosts6_slot *slot = &h->slots[i & h->mask];

		if (!atomic_load_explicit(&slot->value, memory_order_relaxed) ||
			(slot->addr[0] == addr[0] && slot->addr[1] == addr[1]))
			return slot;
	}
}

static void slot_set6(struct hosts6 *h, const uint64_t addr[static 2], uint32_t value)
{
	struct hosts6_slot *slot = slot_find6(h, addr);
	uint32_t had = atomic_load_explicit(&slot->value, memory_order_relaxed);
	uint32_t now = value == HOSTS_NONE ? HOSTS_GONE : value + 1;

	h->used += !had;
	h->live += (now != HOSTS_GONE) - (had && had != HOSTS_GONE);
	if (!had)
		memcpy(slot->addr, addr, sizeof(slot->addr));
	/* pairs with the acquire load in hosts_find6: the address is there before its value */
	atomic_store_explicit(&slot->value, now, memory_order_release);
}

static struct hosts6 *table_grow6(const struct hosts6 *old)
{
	struct hosts6 *h = table_new6(old ? old->live + 1 : 1);

	for (uint32_t i = 0; h && old && i <= old->mask; i++) {
		const struct hosts6_slot *slot = &old->slots[i];
		uint32_t value = atomic_load_explicit(&slot->value, memory_order_relaxed);

		if (value && value != HOSTS_GONE)
			slot_set6(h, slot->addr, value - 1);
	}
	return h;
}

void hosts_set6(struct hosts *hosts, const uint64_t addr[static 2], uint32_t value,
	void (*retire)(void *object, void (*free_fn)(void *)))
{
	struct hosts6 *h = atomic_load_explicit(&hosts->v6, memory_order_relaxed), *grown;
	bool known = h && atomic_load_explicit(&slot_find6(h, addr)->value, memory_order_relaxed);

	if (!known && value == HOSTS_NONE)
		return;
	if (!known && (!h || h->used >= h->mask / 2)) {
		grown = table_grow6(h);
		if (!grown)
			return; /* the trie has it */
		slot_set6(grown, addr, value);
		/* pairs with the acquire load of readers */
		atomic_store_explicit(&hosts->v6, grown, memory_order_release);
		table_retire(h, retire);
		return;
	}
	slot_set6(h, addr, value);
}

void hosts_fini(struct hosts *hosts)
{
	free(atomic_load(&hosts->v4));
	free(atomic_load(&hosts->v6));
	atomic_store(&hosts->v4, NULL);
	atomic_store(&hosts->v6, NULL);
}

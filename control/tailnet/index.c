/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Open addressing with linear probing; removal shifts back what follows, so there are no
 * tombstones. At most three quarters full.
 */
#include "index.h"

#include <errno.h>
#include <stdlib.h>

#include <sodium.h>

#include "secret.h"

uint64_t index_hash(const void *bytes, size_t len)
{
	static uint8_t key[crypto_shorthash_KEYBYTES];
	static bool have_key;
	uint64_t hash;

	_Static_assert(sizeof(hash) == crypto_shorthash_BYTES, "SipHash-2-4");
	if (!have_key) {
		secret_random(key, sizeof(key));
		have_key = true;
	}
	crypto_shorthash((uint8_t *)&hash, bytes, len, key);
	return hash;
}

static void put(struct index_slot *slots, size_t mask, uint64_t hash, void *item)
{
	size_t at = hash & mask;

	while (slots[at].item)
		at = (at + 1) & mask;
	slots[at] = (struct index_slot){hash, item};
}

static int grow(struct index *index)
{
	size_t size = index->slots ? 2 * (index->mask + 1) : 16;
	struct index_slot *slots = calloc(size, sizeof(*slots));

	if (!slots)
		return -ENOMEM;
	for (size_t i = 0; index->slots && i <= index->mask; i++)
		if (index->slots[i].item)
			put(slots, size - 1, index->slots[i].hash, index->slots[i].item);
	free(index->slots);
	index->slots = slots;
	index->mask = size - 1;
	return 0;
}

int index_add(struct index *index, uint64_t hash, void *item)
{
	if (!index->slots || 4 * (index->n + 1) > 3 * (index->mask + 1)) {
		int rc = grow(index);

		if (rc)
			return rc;
	}
	put(index->slots, index->mask, hash, item);
	index->n++;
	return 0;
}

void index_remove(struct index *index, uint64_t hash, const void *item)
{
	size_t at, next;

	if (!index->slots)
		return;
	for (at = hash & index->mask; index->slots[at].item != item; at = (at + 1) & index->mask)
		if (!index->slots[at].item)
			return;
	index->n--;
	for (next = (at + 1) & index->mask; index->slots[next].item;
		next = (next + 1) & index->mask) {
		size_t home = index->slots[next].hash & index->mask;

		/* what sits between its home and here must not lose the way over the gap */
		if (((next - home) & index->mask) < ((next - at) & index->mask))
			continue;
		index->slots[at] = index->slots[next];
		at = next;
	}
	index->slots[at] = (struct index_slot){0};
}

void index_fini(struct index *index)
{
	free(index->slots);
	*index = (struct index){0};
}

void *index_next(const struct index *index, uint64_t hash, size_t *at)
{
	if (!index->slots)
		return NULL;
	*at = (*at == INDEX_FIRST ? hash : *at + 1) & index->mask;
	for (; index->slots[*at].item; *at = (*at + 1) & index->mask)
		if (index->slots[*at].hash == hash)
			return index->slots[*at].item;
	return NULL;
}

void *index_walk(const struct index *index, size_t *at)
{
	if (!index->slots)
		return NULL;
	for (*at = *at == INDEX_FIRST ? 0 : *at + 1; *at <= index->mask; ++*at)
		if (index->slots[*at].item)
			return index->slots[*at].item;
	return NULL;
}

/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

/*
 * A hash table of pointers: linear probing, no graves (who is behind a hole moves up). The caller
 * hashes, and compares what has the same hash.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct table_slot {
	uint64_t hash;
	void *item; /* NULL: free */
};

struct table {
	struct table_slot *slots;
	size_t n, size; /* size: 0 or a power of two */
};

static inline void *table_find(const struct table *table, uint64_t hash,
	bool (*same)(const void *item, const void *key), const void *key)
{
	size_t mask = table->size - 1;

	if (!table->size)
		return NULL;
	for (size_t i = hash & mask; table->slots[i].item; i = (i + 1) & mask) {
		if (table->slots[i].hash == hash && same(table->slots[i].item, key))
			return table->slots[i].item;
	}
	return NULL;
}

/* 0 or -ENOMEM. */
int table_add(struct table *table, uint64_t hash, void *item);
void table_remove(struct table *table, uint64_t hash, const void *item);
void table_fini(struct table *table);

/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

/*
 * A hash index over items that somebody else owns: by key, by name, by address. Several items may
 * have the same hash or even the same key; the caller compares. Hashes are keyed with a secret of
 * the process, because clients choose keys and names. One thread.
 */
#include <stddef.h>
#include <stdint.h>

struct index_slot {
	uint64_t hash;
	void *item; /* NULL: empty */
};

struct index {
	struct index_slot *slots; /* NULL: nothing in it yet */
	size_t mask, n;
};

uint64_t index_hash(const void *bytes, size_t len);

int index_add(struct index *index, uint64_t hash, void *item); /* 0 or -ENOMEM */
void index_remove(struct index *index, uint64_t hash, const void *item);
void index_fini(struct index *index);

#define INDEX_FIRST SIZE_MAX
/* The items of that hash, one after another: `at` starts as INDEX_FIRST; NULL ends. Nothing may be
 * added or removed between. */
void *index_next(const struct index *index, uint64_t hash, size_t *at);
/* All items, in no order; the same rules. */
void *index_walk(const struct index *index, size_t *at);

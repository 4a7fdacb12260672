/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

/* Deadlines of many items, soonest first: a binary heap of structs that know their place. */
#include <stddef.h>
#include <stdint.h>

struct due {
	uint64_t at;  /* ns */
	size_t place; /* 0: not in the heap */
};

struct due_heap {
	struct due **items; /* from 1 */
	size_t n, size;
};

/* Puts in, moves, or (at 0) takes out. -ENOMEM only for one that was not in. */
int due_set(struct due_heap *heap, struct due *due, uint64_t at);
/* The soonest; NULL: none. */
struct due *due_first(const struct due_heap *heap);
void due_fini(struct due_heap *heap);

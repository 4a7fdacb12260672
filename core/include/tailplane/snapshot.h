/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

#include <stdatomic.h>

#pragma GCC visibility push(default)

/*
 * Immutable state built on the control loop and read by workers once per burst. Written by: control
 * loop (release store). Read by: workers (acquire load), valid until the end of their burst. Freed:
 * after a grace period of all workers; at once when no workers exist.
 */
struct snapshot_slot {
	_Atomic(void *) current;
};

/* The slot of that name, made when it does not exist; lives as long as the process. */
struct snapshot_slot *snapshot_slot(const char *name);
/* Takes ownership of `next` (may be NULL); `free_fn` is called for it when it was replaced. */
void snapshot_publish(struct snapshot_slot *slot, void *next, void (*free_fn)(void *));

static inline void *snapshot_get(struct snapshot_slot *slot)
{
	/* pairs with the release store in snapshot_publish */
	return atomic_load_explicit(&slot->current, memory_order_acquire);
}

/* Calls `free_fn(object)` on the control loop once no worker can still hold `object`. */
void snapshot_retire(void *object, void (*free_fn)(void *));
/* The data plane tells how to wait: `retire` must call free_fn later, on the loop. NULL: free at
 * once. */
void snapshot_set_retire(void (*retire)(void *object, void (*free_fn)(void *)));

#pragma GCC visibility pop

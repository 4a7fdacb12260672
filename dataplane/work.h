/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

/*
 * Opening for a tunnel that is more than one worker can carry. The worker that owns the receive
 * queue (and the windows of the keys) stays the owner of order: under load it puts each burst, with
 * keys found and checked, as an item into a FIFO of its own. Workers with nothing to do take items
 * out of the middle, open them in place and mark them done; they touch nothing else. The owner goes
 * on with finished items from the head, so order is kept without sorting and the windows have one
 * writer. What no helper took by then the owner opens itself.
 *
 * Written by: the owner (all but `state` of an item that is WAITING or TAKEN); whoever takes an
 * item (its packets and `ok`, and `state`). A key that an item names is not freed: the owner
 * reports no quiescent state while there are items.
 */
#include <assert.h>
#include <stdatomic.h>

#include "worker.h"

#define WORK_ITEMS 16 /* a power of two */
#define WORK_HIGH 4   /* from so many on the owner opens too, while a helper is at the first */
#define WORK_ROOM 8   /* receiving pauses when there is less */

struct keypair;

static_assert(NODE_BURST_MAX <= 64, "a burst's packets are the bits of a word");

/* A burst of packets whose keys are known. Compact, since all of it goes to the helper's cache. */
struct opening {
	uint8_t *messages[NODE_BURST_MAX]; /* struct message_data */
	struct keypair *keypairs[NODE_BURST_MAX];
	uint16_t lens[NODE_BURST_MAX];
	uint16_t n;
};

enum work_state { WORK_FREE, WORK_WAITING, WORK_TAKEN, WORK_DONE };

struct work_item {
	_Alignas(64) _Atomic uint32_t state;
	uint64_t ok; /* what comes back: bit k, packet k is authentic */
	_Alignas(64) struct opening opening;
	_Alignas(64) struct rte_mbuf *pkts[NODE_BURST_MAX]; /* the owner's */
};

struct work {
	uint32_t head, tail; /* the owner's: items head to tail - 1 are in use */
	uint32_t full;       /* bursts without room for one packet more, in a row */
	bool shared;         /* there are other workers */
	bool draining; /* no more items until all are done: somebody waits for a grace period */
	_Alignas(64) _Atomic uint32_t first, end; /* head and tail, for helpers to look between */
	struct work_item items[WORK_ITEMS];
};

/* Opens in place; opening.c. Bit k: packet k is authentic. */
uint64_t opening_open(const struct opening *opening);

struct work *work_new(bool shared);
void work_free(struct work *work); /* and the packets in it; nobody works on them any more */

/* ---- the owner ------------------------------------------------------------------------------- */

static inline uint32_t work_used(const struct work *work)
{
	return work->tail - work->head;
}

/* The item to fill next, or NULL when the FIFO is full. */
struct work_item *work_next(struct work *work);
void work_offer(struct work *work); /* the one that work_next gave; wakes nobody */
/* The first item, when it is done; opens what is its to open. NULL: there is none, or a helper is
 * at it. work_drop_first makes room. */
struct work_item *work_first_done(struct work *work);
void work_drop_first(struct work *work);

/* ---- helpers --------------------------------------------------------------------------------- */

/* Opens one waiting item of somebody's FIFO; how many packets. */
unsigned work_help(struct work *work);

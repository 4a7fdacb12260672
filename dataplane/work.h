/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

/*
 * Opening, and sealing, where there is more of it than one worker can carry: one tunnel comes in by
 * one receive queue, one fat flow by one queue too. The worker that owns the queue stays the owner
 * of order: under load it puts each burst, with keys found (to open) or with headers and counters
 * written (to seal), as an item into a FIFO of its own, one for each way. Workers with nothing to
 * do take items out of the middle, run the AEAD over them in place and mark them done; they touch
 * nothing else. The owner goes on with finished items from the head, so order is kept without
 * sorting and the windows have one writer. What no helper took by then the owner does itself.
 *
 * Written by: the owner (all but `state` of an item that is WAITING or TAKEN); whoever takes an
 * item (its packets, `ok`, `inner` and `state`). A key that an item names is not freed: the owner
 * reports no quiescent state while there are items.
 */
#include <assert.h>
#include <stdatomic.h>

#include "worker.h"

#define WORK_ITEMS 32 /* a power of two */
#define WORK_HIGH 4   /* from so many on the owner works too, while a helper is at the first */
#define WORK_SPARE 8  /* times that the only item is left to helpers: a few µs */
#define WORK_BUSY 8   /* from more on nothing is received: packets wait where there is room */

struct dp_table;
struct keypair;
struct send_key;

static_assert(NODE_BURST_MAX <= 64, "a burst's packets are the bits of a word");

/* A burst of transport messages whose keys are known. Compact, since all of it goes to the helper's
 * cache. */
struct transport {
	uint8_t *messages[NODE_BURST_MAX]; /* struct message_data, its header whole */
	union {
		struct keypair *keypairs[NODE_BURST_MAX];     /* to open */
		const struct send_key *sends[NODE_BURST_MAX]; /* to seal */
	};
	uint16_t lens[NODE_BURST_MAX]; /* with header and tag */
	uint16_t n;
	const struct dp_table *table; /* to open: where to look up what comes out */
};

/* What comes out of a burst that was opened, so that the owner need not read it. */
struct inner {
	uint32_t from[NODE_BURST_MAX];     /* the peer that the source belongs to */
	uint32_t next_hop[NODE_BURST_MAX]; /* the FIB's answer; FIB_NONE: none, or not asked */
	uint16_t lens[NODE_BURST_MAX];     /* of the IP packet; 0: there is none */
};

/* In place; transport.c. Bit k: packet k is as it should be. */
uint64_t transport_open(const struct transport *transport, struct inner *inner);
uint64_t transport_seal(const struct transport *transport, struct inner *unused);
typedef uint64_t work_fn(const struct transport *transport, struct inner *inner);

enum work_state { WORK_FREE, WORK_WAITING, WORK_TAKEN, WORK_DONE };

struct work_item {
	_Alignas(64) _Atomic uint32_t state;
	uint64_t ok; /* what comes back, and `inner` */
	_Alignas(64) struct transport transport;
	_Alignas(64) struct inner inner;
	/* the owner's */
	_Alignas(64) struct rte_mbuf *pkts[NODE_BURST_MAX];
	uint64_t counters[NODE_BURST_MAX]; /* to open */
	uint64_t marks;                    /* to seal: a bit for each packet */
	uint32_t generation;               /* of the FIB, before it was asked */
};

struct work {
	work_fn *run;
	uint32_t head, tail; /* the owner's: items head to tail - 1 are in use */
	uint32_t spared;     /* times that the first item was left to helpers */
	uint32_t full;       /* bursts without room for one packet more, in a row */
	bool shared;         /* there are other workers */
	bool draining; /* no more items until all are done: somebody waits for a grace period */
	_Alignas(64) _Atomic uint32_t first, end; /* head and tail, for helpers to look between */
	struct work_item items[WORK_ITEMS];
};

/* How many workers have nothing of their own to do, asleep or not. */
extern _Atomic unsigned work_helpers;

struct work *work_new(work_fn *run, bool shared);
void work_free(struct work *work); /* and the packets in it; nobody works on them any more */

/* ---- the owner ------------------------------------------------------------------------------- */

static inline uint32_t work_used(const struct work *work)
{
	return work->tail - work->head;
}

static inline bool work_any(const struct worker *w)
{
	return w->opening && (work_used(w->opening) || work_used(w->sealing));
}

/* Whether to wait with what makes more of it. */
static inline bool work_busy(const struct work *work)
{
	return work && work_used(work) > WORK_BUSY;
}

/* Whether to wait with all that comes from outside. */
static inline bool work_pauses(const struct worker *w)
{
	return work_busy(w->opening) || work_busy(w->sealing) ||
	       (w->opening && w->opening->draining);
}

/* Whether a burst of `n` goes through the FIFO: behind what is in it already, else under load when
 * somebody could help. */
bool work_wants(struct work *work, uint16_t n);
/* The item to fill next, or NULL when the FIFO is full. */
struct work_item *work_next(struct work *work);
void work_offer(struct work *work); /* the one that work_next gave; wakes nobody */
/* The first item, when it is done; does what is its to do. NULL: there is none, or a helper is at
 * it. work_drop_first makes room. */
struct work_item *work_first_done(struct work *work);
void work_drop_first(struct work *work);

/* ---- helpers --------------------------------------------------------------------------------- */

/* Does one waiting item of somebody's FIFO; how many packets. */
unsigned work_help(struct work *work);

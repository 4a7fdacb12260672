/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The FIFO of work items under threads: one owner and several helpers, items of random sizes. Every
 * packet is opened once, by one of them, and the items come back whole and in order. Built with
 * ThreadSanitizer, so that a missing order between two threads is found without the unlucky moment.
 *
 * Instead of the AEAD a mark is put on each packet: here it is about who touches it and when.
 * Opening and sealing are the same FIFO, which differs in the function alone.
 */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <rte_pause.h>

#include "prng.h"
#include "work.h"

#define HELPERS 3
#define ITEMS 40000
#define SLOTS (WORK_ITEMS + 1)

#define check(condition)                                                        \
	do {                                                                    \
		if (!(condition)) {                                             \
			fprintf(stderr, "line %d: %s\n", __LINE__, #condition); \
			exit(1);                                                \
		}                                                               \
	} while (0)

/* Plain memory on purpose: only the order that the FIFO makes keeps its users apart. */
static struct slot {
	uint8_t packets[NODE_BURST_MAX][8];
	uint32_t number;
} slots[SLOTS];

static struct work *work;
static _Atomic bool over;
static _Atomic unsigned helped;
static __thread bool helper;

static uint64_t mark_all(const struct transport *t, struct inner *inner)
{
	uint64_t ok = 0;

	for (unsigned k = 0; k < t->n; k++) {
		check(t->messages[k][4] == 0); /* nobody had it before */
		t->messages[k][4] = helper ? 2 : 1;
		if (t->messages[k][0] % 7) /* the others are damaged */
			ok |= 1ull << k;
		memcpy(&inner->from[k], t->messages[k], 4);
	}
	return ok;
}

static void *help(void *arg)
{
	(void)arg;
	helper = true;
	while (!atomic_load_explicit(&over, memory_order_relaxed)) {
		unsigned n = work_help(work);

		if (n)
			atomic_fetch_add_explicit(&helped, n, memory_order_relaxed);
		else
			rte_pause();
	}
	return NULL;
}

static bool offer(struct prng *rng, uint32_t number)
{
	struct slot *slot = &slots[number % SLOTS];
	struct work_item *item = work_next(work);

	if (!item)
		return false;
	item->transport.n = (uint16_t)(1 + prng_below(rng, NODE_BURST_MAX));
	slot->number = number;
	for (unsigned k = 0; k < item->transport.n; k++) {
		uint32_t v = number + k;

		memcpy(slot->packets[k], &v, 4);
		slot->packets[k][4] = 0;
		item->transport.messages[k] = slot->packets[k];
		item->pkts[k] = (void *)slot;
	}
	work_offer(work);
	return true;
}

/* The first item if it is done; it must be `number`. */
static bool take(uint32_t number)
{
	struct work_item *item = work_first_done(work);
	struct slot *slot = &slots[number % SLOTS];

	if (!item)
		return false;
	check(item->pkts[0] == (void *)slot && slot->number == number);
	for (unsigned k = 0; k < item->transport.n; k++) {
		uint32_t v;

		memcpy(&v, slot->packets[k], 4);
		check(v == number + k);
		check(slot->packets[k][4] != 0);
		check(item->inner.from[k] == v);
		check((item->ok >> k & 1) == !!(slot->packets[k][0] % 7));
	}
	work_drop_first(work);
	return true;
}

int main(void)
{
	struct prng rng = {.state = 1};
	pthread_t threads[HELPERS];
	uint32_t in = 0, out = 0;

	work = work_new(mark_all, true);
	check(work);
	for (unsigned i = 0; i < HELPERS; i++)
		check(!pthread_create(&threads[i], NULL, help, NULL));
	/* until the helpers had a part too, however the kernel runs them */
	while (out < ITEMS || atomic_load_explicit(&helped, memory_order_relaxed) < ITEMS) {
		unsigned offers = prng_below(&rng, WORK_ITEMS + 4);

		work->draining = prng_below(&rng, 4) == 0;
		while (offers-- && offer(&rng, in))
			in++;
		check(in - out == work_used(work) && work_used(work) <= WORK_ITEMS);
		for (unsigned takes = prng_below(&rng, 2 * WORK_ITEMS); takes; takes--)
			out += take(out);
	}
	while (work_used(work))
		out += take(out);
	check(in == out);
	atomic_store_explicit(&over, true, memory_order_relaxed);
	for (unsigned i = 0; i < HELPERS; i++)
		pthread_join(threads[i], NULL);
	work_free(work);
	return 0;
}

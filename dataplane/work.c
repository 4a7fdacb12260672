/* SPDX-License-Identifier: BSD-3-Clause */
/* Runs on workers; work_new and work_free on the control loop. */
#include "work.h"

#include <stdlib.h>
#include <string.h>

#define FULL_BEFORE_HELP 8 /* full bursts in a row before others are asked to help */

_Atomic unsigned work_helpers;

static struct work_item *item_at(struct work *work, uint32_t place)
{
	return &work->items[place % WORK_ITEMS];
}

struct work *work_new(work_fn *run, bool shared)
{
	size_t size = RTE_ALIGN_CEIL(sizeof(struct work), RTE_CACHE_LINE_SIZE);
	struct work *work = aligned_alloc(RTE_CACHE_LINE_SIZE, size);

	if (!work)
		return NULL;
	memset(work, 0, size);
	work->run = run;
	work->shared = shared;
	return work;
}

void work_free(struct work *work)
{
	for (; work && work->head != work->tail; work->head++) {
		struct work_item *item = item_at(work, work->head);

		rte_pktmbuf_free_bulk(item->pkts, item->transport.n);
	}
	free(work);
}

/* Whoever moves an item from WAITING to TAKEN works on it, and nobody else. */
static bool item_take(struct work_item *item)
{
	uint32_t waiting = WORK_WAITING;

	/* pairs with the release store in work_offer: the item is whole */
	return atomic_load_explicit(&item->state, memory_order_relaxed) == WORK_WAITING &&
	       atomic_compare_exchange_strong_explicit(&item->state, &waiting, WORK_TAKEN,
		       memory_order_acquire, memory_order_relaxed);
}

static unsigned item_run(const struct work *work, struct work_item *item)
{
	unsigned n = item->transport.n;

	item->ok = work->run(&item->transport, &item->inner);
	/* pairs with the acquire load in work_first_done */
	atomic_store_explicit(&item->state, WORK_DONE, memory_order_release);
	return n;
}

/* What lies in another core's cache, asked for in one go and to be written. */
static void lines_fetch(const void *at, size_t size)
{
	for (size_t i = 0; i < size; i += RTE_CACHE_LINE_SIZE)
		__builtin_prefetch((const char *)at + i, 1);
}

bool work_wants(struct work *work, uint16_t n)
{
	if (!work || !work->shared)
		return false;
	work->full = n == NODE_BURST_MAX ? work->full + 1 : 0;
	return work_used(work) ||
	       (work->full >= FULL_BEFORE_HELP &&
		       atomic_load_explicit(&work_helpers, memory_order_relaxed) > 0);
}

struct work_item *work_next(struct work *work)
{
	return work_used(work) < WORK_ITEMS ? item_at(work, work->tail) : NULL;
}

void work_offer(struct work *work)
{
	struct work_item *next = item_at(work, work->tail + 1);

	/* pairs with the acquire in item_take */
	atomic_store_explicit(
		&item_at(work, work->tail)->state, WORK_WAITING, memory_order_release);
	work->tail++;
	atomic_store_explicit(&work->end, work->tail, memory_order_release);
	/* a helper had them last, long ago */
	lines_fetch(next, offsetof(struct work_item, inner));
}

/* The only item is left to helpers for a moment: an owner that is faster at it than they are would
 * do all items itself, one after the other. */
static bool spares(struct work *work)
{
	return work_used(work) == 1 && !work->draining && work->spared++ < WORK_SPARE &&
	       atomic_load_explicit(&work_helpers, memory_order_relaxed) > 0;
}

struct work_item *work_first_done(struct work *work)
{
	struct work_item *item = item_at(work, work->head);

	if (!work_used(work))
		return NULL;
	if (!spares(work) && item_take(item)) /* no helper had time for it */
		item_run(work, item);
	/* pairs with the release store in item_run */
	if (atomic_load_explicit(&item->state, memory_order_acquire) == WORK_DONE)
		return item;
	if (work_used(work) >= WORK_HIGH || work->draining)
		work_help(work);
	return NULL;
}

void work_drop_first(struct work *work)
{
	atomic_store_explicit(&item_at(work, work->head)->state, WORK_FREE, memory_order_relaxed);
	work->head++;
	work->spared = 0;
	atomic_store_explicit(&work->first, work->head, memory_order_relaxed);
}

unsigned work_help(struct work *work)
{
	/* A hint where to look: the state of an item alone says whether it waits. */
	uint32_t end = atomic_load_explicit(&work->end, memory_order_acquire);

	for (uint32_t i = atomic_load_explicit(&work->first, memory_order_relaxed);
		(int32_t)(end - i) > 0; i++)
		if (item_take(item_at(work, i))) {
			lines_fetch(&item_at(work, i)->inner, sizeof(struct inner));
			return item_run(work, item_at(work, i));
		}
	return 0;
}

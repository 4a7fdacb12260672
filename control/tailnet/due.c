/* SPDX-License-Identifier: BSD-3-Clause */
/* Any thread, one at a time. */
#include "due.h"

#include <errno.h>
#include <stdlib.h>

static void place(struct due_heap *heap, struct due *due, size_t at)
{
	heap->items[at] = due;
	due->place = at;
}

static void up(struct due_heap *heap, struct due *due, size_t at)
{
	for (; at > 1 && heap->items[at / 2]->at > due->at; at /= 2)
		place(heap, heap->items[at / 2], at);
	place(heap, due, at);
}

static void down(struct due_heap *heap, struct due *due, size_t at)
{
	for (;;) {
		size_t child = 2 * at;

		if (child > heap->n)
			break;
		if (child < heap->n && heap->items[child + 1]->at < heap->items[child]->at)
			child++;
		if (heap->items[child]->at >= due->at)
			break;
		place(heap, heap->items[child], at);
		at = child;
	}
	place(heap, due, at);
}

static void take_out(struct due_heap *heap, struct due *due)
{
	struct due *last = heap->items[heap->n--];
	size_t at = due->place;

	due->place = 0;
	if (last == due)
		return;
	if (at > 1 && heap->items[at / 2]->at > last->at)
		up(heap, last, at);
	else
		down(heap, last, at);
}

static int room(struct due_heap *heap)
{
	size_t size = heap->size ? 2 * heap->size : 64;
	struct due **items;

	if (heap->n + 1 < heap->size)
		return 0;
	items = realloc(heap->items, size * sizeof(*items));
	if (!items)
		return -ENOMEM;
	heap->items = items;
	heap->size = size;
	return 0;
}

int due_set(struct due_heap *heap, struct due *due, uint64_t at)
{
	if (due->place && due->at == at)
		return 0;
	if (due->place)
		take_out(heap, due);
	due->at = at;
	if (!at)
		return 0;
	if (room(heap))
		return -ENOMEM;
	heap->n++;
	up(heap, due, heap->n);
	return 0;
}

struct due *due_first(const struct due_heap *heap)
{
	return heap->n ? heap->items[1] : NULL;
}

void due_fini(struct due_heap *heap)
{
	free(heap->items);
	*heap = (struct due_heap){0};
}

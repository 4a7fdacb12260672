/* SPDX-License-Identifier: BSD-3-Clause */
/* Runs on: the thread that has the table. */
#include "table.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define SIZE_MIN 64

static void put(struct table *table, uint64_t hash, void *item)
{
	size_t mask = table->size - 1, i = hash & mask;

	while (table->slots[i].item)
		i = (i + 1) & mask;
	table->slots[i] = (struct table_slot){hash, item};
}

static int resize(struct table *table, size_t size)
{
	struct table old = *table;
	struct table_slot *slots = calloc(size, sizeof(*slots));

	if (!slots)
		return -ENOMEM;
	table->slots = slots;
	table->size = size;
	for (size_t i = 0; i < old.size; i++) {
		if (old.slots[i].item)
			put(table, old.slots[i].hash, old.slots[i].item);
	}
	free(old.slots);
	return 0;
}

int table_add(struct table *table, uint64_t hash, void *item)
{
	if (2 * (table->n + 1) > table->size &&
		resize(table, table->size ? 2 * table->size : SIZE_MIN) != 0 &&
		table->n + 1 >= table->size)
		return -ENOMEM;
	put(table, hash, item);
	table->n++;
	return 0;
}

/* Those behind the hole that would no longer be found move into it. */
static void close_hole(struct table *table, size_t hole)
{
	size_t mask = table->size - 1, i = hole;

	for (;;) {
		size_t home;

		i = (i + 1) & mask;
		if (!table->slots[i].item)
			break;
		home = table->slots[i].hash & mask;
		if (((i - home) & mask) < ((i - hole) & mask))
			continue;
		table->slots[hole] = table->slots[i];
		hole = i;
	}
	table->slots[hole].item = NULL;
}

void table_remove(struct table *table, uint64_t hash, const void *item)
{
	size_t mask = table->size - 1, i = hash & mask;

	if (!table->size)
		return;
	while (table->slots[i].item && table->slots[i].item != item)
		i = (i + 1) & mask;
	if (!table->slots[i].item)
		return;
	close_hole(table, i);
	table->n--;
	if (table->size > SIZE_MIN && 8 * table->n < table->size)
		resize(table, table->size / 2);
}

void table_fini(struct table *table)
{
	free(table->slots);
	memset(table, 0, sizeof(*table));
}

/* SPDX-License-Identifier: BSD-3-Clause */
/* Named slots for snapshots. Runs on: the control loop; readers use snapshot_get alone. */
#include <tailplane/snapshot.h>

#include <stdlib.h>
#include <string.h>

#include <tailplane/log.h>

/* Lives as long as the process: readers may keep the pointer to its slot. */
struct named_slot {
	struct snapshot_slot slot; /* first: a slot is its entry */
	struct named_slot *next;
	void (*free_fn)(void *); /* of what is current */
	char name[];
};

static struct named_slot *slots;
static void (*retire_fn)(void *object, void (*free_fn)(void *));

struct snapshot_slot *snapshot_slot(const char *name)
{
	struct named_slot *entry = slots;

	while (entry && strcmp(entry->name, name) != 0)
		entry = entry->next;
	if (!entry) {
		entry = calloc(1, sizeof(*entry) + strlen(name) + 1);
		if (!entry)
			fatalx("no memory for a snapshot's slot");
		strcpy(entry->name, name);
		entry->next = slots;
		slots = entry;
	}
	return &entry->slot;
}

void snapshot_publish(struct snapshot_slot *slot, void *next, void (*free_fn)(void *))
{
	struct named_slot *entry = (struct named_slot *)slot;
	void (*free_old)(void *) = entry->free_fn;
	void *old = atomic_load_explicit(&slot->current, memory_order_relaxed); /* our own store */

	entry->free_fn = free_fn;
	/* pairs with the acquire load in snapshot_get */
	atomic_store_explicit(&slot->current, next, memory_order_release);
	if (old && free_old)
		snapshot_retire(old, free_old);
}

void snapshot_retire(void *object, void (*free_fn)(void *))
{
	if (retire_fn)
		retire_fn(object, free_fn);
	else
		free_fn(object);
}

void snapshot_set_retire(void (*retire)(void *object, void (*free_fn)(void *)))
{
	retire_fn = retire;
}

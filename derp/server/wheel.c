/* SPDX-License-Identifier: BSD-3-Clause */
/* Runs on: the I/O loop that has it. */
#include "wheel.h"

#include <stddef.h>
#include <string.h>

void wheel_init(struct wheel *wheel, uint64_t now)
{
	memset(wheel, 0, sizeof(*wheel));
	wheel->tick = now / WHEEL_TICK_NS;
}

void wheel_remove(struct wheel *wheel, struct wheel_entry *entry)
{
	if (!entry->prev)
		return;
	*entry->prev = entry->next;
	if (entry->next)
		entry->next->prev = entry->prev;
	entry->prev = NULL;
	wheel->n--;
}

void wheel_set(struct wheel *wheel, struct wheel_entry *entry, uint64_t at)
{
	uint64_t tick = at / WHEEL_TICK_NS + 1;
	struct wheel_entry **slot;

	wheel_remove(wheel, entry);
	if (tick <= wheel->tick)
		tick = wheel->tick + 1;
	if (tick >= wheel->tick + WHEEL_SLOTS)
		tick = wheel->tick + WHEEL_SLOTS - 1;
	slot = &wheel->slots[tick % WHEEL_SLOTS];
	entry->next = *slot;
	entry->prev = slot;
	if (entry->next)
		entry->next->prev = &entry->next;
	*slot = entry;
	wheel->n++;
}

struct wheel_entry *wheel_next(struct wheel *wheel, uint64_t now)
{
	uint64_t until = now / WHEEL_TICK_NS;

	if (until > wheel->tick + WHEEL_SLOTS)
		wheel->tick = until - WHEEL_SLOTS;
	for (;;) {
		struct wheel_entry *entry = wheel->slots[wheel->tick % WHEEL_SLOTS];

		if (entry) {
			wheel_remove(wheel, entry);
			return entry;
		}
		if (wheel->tick >= until)
			return NULL;
		wheel->tick++;
	}
}

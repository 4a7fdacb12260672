/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Rooms of memory between unmapped pages: what touches a byte before a room's start or after its
 * end crashes on the spot, in assembly too, where no sanitizer looks.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

struct guard {
	uint8_t *map;
	size_t room_len; /* whole pages */
	unsigned n_rooms;
};

void guard_init(struct guard *guard, unsigned n_rooms, size_t room_len);
void guard_fini(struct guard *guard);
uint8_t *guard_room(const struct guard *guard, unsigned i);

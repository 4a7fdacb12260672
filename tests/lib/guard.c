/* SPDX-License-Identifier: BSD-3-Clause */
#include "guard.h"

#include <err.h>
#include <sys/mman.h>
#include <unistd.h>

static size_t map_len(const struct guard *guard)
{
	size_t page = (size_t)getpagesize();

	return guard->n_rooms * (guard->room_len + page) + page;
}

void guard_init(struct guard *guard, unsigned n_rooms, size_t room_len)
{
	size_t page = (size_t)getpagesize();

	guard->room_len = (room_len + page - 1) / page * page;
	guard->n_rooms = n_rooms;
	guard->map = mmap(NULL, map_len(guard), PROT_NONE,
		MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (guard->map == MAP_FAILED)
		err(1, "mmap");
	for (unsigned i = 0; i < n_rooms; i++) {
		if (mprotect(guard_room(guard, i), guard->room_len, PROT_READ | PROT_WRITE) < 0)
			err(1, "mprotect");
	}
}

void guard_fini(struct guard *guard)
{
	munmap(guard->map, map_len(guard));
}

uint8_t *guard_room(const struct guard *guard, unsigned i)
{
	size_t page = (size_t)getpagesize();

	return guard->map + page + i * (guard->room_len + page);
}

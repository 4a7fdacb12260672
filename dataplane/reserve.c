/* SPDX-License-Identifier: BSD-3-Clause */
/* Control loop. */
#include "reserve.h"

#include <stdint.h>
#include <sys/mman.h>

#define HUGE ((size_t)2 << 20)

static size_t length_of(size_t size)
{
	size_t unit = size >= HUGE ? HUGE : 4096;

	return (size + unit - 1) / unit * unit;
}

/* A mapping that begins at a multiple of a large page: what is around it goes back. */
static void *map_aligned(size_t len)
{
	uint8_t *all = mmap(NULL, len + HUGE, PROT_READ | PROT_WRITE,
		MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	size_t before;

	if (all == MAP_FAILED)
		return NULL;
	before = (HUGE - (uintptr_t)all % HUGE) % HUGE;
	if (before)
		munmap(all, before);
	munmap(all + before + len, HUGE - before);
	(void)madvise(all + before, len, MADV_HUGEPAGE); /* without, it is only slower */
	return all + before;
}

void *reserve(size_t size)
{
	size_t len = length_of(size);
	void *p;

	if (len >= HUGE)
		return map_aligned(len);
	p = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1,
		0);
	return p == MAP_FAILED ? NULL : p;
}

void reserve_free(void *p, size_t size)
{
	if (p)
		munmap(p, length_of(size));
}

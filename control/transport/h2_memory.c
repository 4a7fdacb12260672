/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Memory of HTTP/2 sessions. Runs on: I/O loops, each with a pool of its own.
 *
 * An nghttp2 session has a buffer of 16 KiB for frames. Of ours only the first few hundred bytes
 * are ever written, since the payload of DATA goes elsewhere; but on a heap those buffers come to
 * lie on pages that were something else before, and so cost their whole size. Here each has pages
 * of its own, of which one is ever touched.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "private.h"

#define SLOT (20u << 10)
#define SLOT_MIN (8u << 10) /* what is smaller is the heap's */
#define SLOTS 200000u       /* beyond them the heap again */

static bool is_slot(const struct h2_memory *memory, const void *at)
{
	return (uintptr_t)at - (uintptr_t)memory->base < (size_t)SLOT * memory->n;
}

static void *slot_take(struct h2_memory *memory)
{
	void **slot = memory->free;

	if (slot) {
		memory->free = *slot;
		return slot;
	}
	return memory->n < memory->max ? memory->base + (size_t)SLOT * memory->n++ : NULL;
}

static void *on_malloc(size_t size, void *user)
{
	void *slot = size >= SLOT_MIN && size <= SLOT ? slot_take(user) : NULL;

	return slot ? slot : malloc(size);
}

static void on_free(void *at, void *user)
{
	struct h2_memory *memory = user;

	if (!is_slot(memory, at)) {
		free(at);
		return;
	}
	*(void **)at = memory->free;
	memory->free = at;
}

static void *on_calloc(size_t n, size_t size, void *user)
{
	(void)user;
	return calloc(n, size);
}

static void *on_realloc(void *at, size_t size, void *user)
{
	void *grown;

	if (!at)
		return on_malloc(size, user);
	if (!is_slot(user, at))
		return realloc(at, size);
	if (size <= SLOT)
		return at;
	grown = malloc(size);
	if (!grown)
		return NULL;
	memcpy(grown, at, SLOT);
	on_free(at, user);
	return grown;
}

void h2_memory_init(struct h2_memory *memory)
{
	size_t size = (size_t)SLOT * SLOTS;
	void *base = mmap(NULL, size, PROT_READ | PROT_WRITE,
		MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	*memory = (struct h2_memory){
		.functions = {memory, on_malloc, on_free, on_calloc, on_realloc}};
	if (base == MAP_FAILED)
		return; /* where address space is short the heap does */
	madvise(base, size, MADV_NOHUGEPAGE);
	memory->base = base;
	memory->max = SLOTS;
}

void h2_memory_fini(struct h2_memory *memory)
{
	if (memory->base)
		munmap(memory->base, (size_t)SLOT * SLOTS);
	memory->base = NULL;
}

/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

#include <stdarg.h>
#include <stddef.h>

/*
 * Memory of one owner that is freed at once. Zero-initialize: `struct arena arena = {0};`.
 * Allocations are zeroed and aligned for any type. Without memory the process aborts: the arenas
 * here hold configuration, whose size is bounded, and libconfig gives no way out either.
 */
struct arena_block;
struct arena {
	struct arena_block *blocks;
};

void *arena_alloc(struct arena *arena, size_t size);
char *arena_strndup(struct arena *arena, const char *text, size_t len);
char *arena_strdup(struct arena *arena, const char *text);
char *arena_vprintf(struct arena *arena, const char *fmt, va_list args)
	__attribute__((format(printf, 2, 0), nonnull(2)));
void arena_fini(struct arena *arena);

/*
 * A heap array that grows by one: room for item `count`, given that `count` items are in it. Aborts
 * without memory; the caller frees with free().
 */
void *array_grow(void *items, size_t count, size_t item_size);

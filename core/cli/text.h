/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

#include <stdbool.h>
#include <stddef.h>

/* Text as a terminal shows it. Strings are UTF-8; bytes that are not are taken one by one. */

/* Once, before the rest. True when the user's locale shows UTF-8. */
bool text_init(void);

/* Columns that `text` takes on a terminal. */
size_t text_width(const char *text);
/* Bytes of the longest beginning that takes at most `columns`. */
size_t text_clip(const char *text, size_t columns);
/* What text_clean leaves alone. */
enum text_keep {
	KEEP_LINES = 1 << 0,   /* line ends */
	KEEP_COLOURS = 1 << 1, /* escape sequences that only set colours and weight */
};
/* A copy in which control characters are visible (\n, \t, \xNN), so that no value can move the
 * cursor or colour the screen. Heap. */
char *text_clean(const char *text, unsigned keep);

/* Allocation ends the program when memory is out; the command line has nothing to save. */
void *text_alloc(size_t count, size_t size);
void *text_grow(void *p, size_t count, size_t size);
char *text_copy(const char *text, size_t len);
char *text_printf(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

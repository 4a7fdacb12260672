/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

/* Arrays with an entry for each peer there may be: addresses now, memory when first touched. */
#include <stddef.h>

/* Zeroed; on large pages where it is large itself, so that a look-up in a table of many peers is
 * not two. NULL: no room. */
void *reserve(size_t size);
void reserve_free(void *p, size_t size);

/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#pragma GCC visibility push(default)

/* Secrets have types of their own, so that the compiler tells a key from a buffer. */
struct private_key {
	uint8_t bytes[32];
};
struct public_key {
	uint8_t bytes[32];
};
struct symmetric_key { /* AEAD key, preshared key, chaining key */
	_Alignas(32) uint8_t bytes[32];
};

/* The one helper that zeroes; never optimized away. */
void secret_zero(void *p, size_t len);
/* Constant time. */
bool secret_equal(const void *a, const void *b, size_t len);
bool secret_is_zero(const void *p, size_t len);
/* Zeroed memory, aligned to 64 bytes, excluded from core dumps, locked where the limits allow; NULL
 * when there is none. secret_free zeroes it; `len` is the one it was asked for with. Any thread. */
void *secret_alloc(size_t len);
void secret_free(void *p, size_t len);
/* Kernel random bytes; ends the process if there are none (it must never go on without). */
void secret_random(void *p, size_t len);

#pragma GCC visibility pop

/* SPDX-License-Identifier: BSD-3-Clause */
/* Published test vectors in cmocka tests: bytes written as hex, and Wycheproof's files. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include <jansson.h>

/* Blanks between bytes are fine. Fails the test on anything else that is not hex, and on more than
 * `size` bytes. Returns how many. */
size_t hex_bytes(uint8_t *out, size_t size, const char *hex);
void assert_hex(const uint8_t *got, size_t len, const char *hex);

/* Wycheproof's FILE from the folder wycheproof in $TAILPLANE_TESTDATA, or beside the checkout in
 * ../shared/testdata. Skips the test, saying why, without it. */
json_t *wycheproof_load(const char *file);
/* A member of a vector as bytes, or as text. Fails the test when it is not there. */
size_t vector_bytes(const json_t *vector, const char *member, uint8_t *out, size_t size);
const char *vector_text(const json_t *vector, const char *member);

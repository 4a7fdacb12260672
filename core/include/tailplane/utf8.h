/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

#include <stdbool.h>

#pragma GCC visibility push(default)

/* UTF-8 by RFC 3629: no overlong forms, no surrogates, nothing beyond U+10FFFF. Texts end with NUL.
 */
bool utf8_valid(const char *text);
/* The length of the character at `at`, 0 when it is none. */
unsigned utf8_character(const char *at);

#pragma GCC visibility pop

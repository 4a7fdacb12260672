/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

#include <stdbool.h>

/* Whether a text is UTF-8 by RFC 3629: no overlong forms, no surrogates, nothing beyond U+10FFFF.
 */
bool utf8_valid(const char *text);

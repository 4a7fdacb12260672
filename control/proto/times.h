/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

/* RFC 3339 as the control protocol uses it. Unix nanoseconds; TIME_UNSET stands for the year 1,
 * which the other end writes for "no time". Protocol library. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define TIME_UNSET 0
#define TIME_TEXT_SIZE 40

const char *time_text_format(char buf[static TIME_TEXT_SIZE], int64_t ns);
/* False when it is no such time. What lies outside of 1970 to 2262 is clamped into it, but for the
 * year 1; what would become TIME_UNSET by that becomes 1. */
bool time_text_parse(int64_t *ns, const char *text, size_t len);

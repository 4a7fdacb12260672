/* SPDX-License-Identifier: BSD-3-Clause */
/* Options that are lists with commas. Each ends the program with a clear word when it is wrong. */
#pragma once

#include <stdbool.h>

unsigned number_read(const char *text, unsigned min, unsigned max);

/* Numbers from min to max; `zero_name` (NULL: none) stands for 0. Returns how many. */
struct number_list {
	unsigned *to, room;
	unsigned min, max;
	const char *zero_name;
};
unsigned numbers_read(const char *text, const struct number_list *list);

/* True for each name that the text names; `chosen` has n places. */
void names_read(const char *text, const char *const *names, unsigned n, bool *chosen);

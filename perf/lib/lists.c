/* SPDX-License-Identifier: BSD-3-Clause */
#include "lists.h"

#include <err.h>
#include <stdlib.h>
#include <string.h>

unsigned number_read(const char *text, unsigned min, unsigned max)
{
	char *end;
	unsigned long n = strtoul(text, &end, 10);

	if (*text < '0' || *text > '9' || *end != '\0' || n < min || n > max)
		errx(2, "'%s': a number from %u to %u would be right", text, min, max);
	return (unsigned)n;
}

unsigned numbers_read(const char *text, const struct number_list *list)
{
	char *copy = strdup(text), *at = copy, *word;
	unsigned n = 0;

	while (copy != NULL && (word = strsep(&at, ",")) != NULL) {
		if (n == list->room)
			errx(2, "'%s': more than %u of them", text, list->room);
		if (list->zero_name != NULL && strcmp(word, list->zero_name) == 0)
			list->to[n++] = 0;
		else
			list->to[n++] = number_read(word, list->min, list->max);
	}
	free(copy);
	return n;
}

void names_read(const char *text, const char *const *names, unsigned n, bool *chosen)
{
	char *copy = strdup(text), *at = copy, *word;

	while (copy != NULL && (word = strsep(&at, ",")) != NULL) {
		unsigned i = 0;

		while (i < n && strcmp(names[i], word) != 0)
			i++;
		if (i == n)
			errx(2, "'%s': there is none of that name here", word);
		chosen[i] = true;
	}
	free(copy);
}

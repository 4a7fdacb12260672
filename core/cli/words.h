/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

#include <stddef.h>

/* A command line, as far as the cursor, split as a shell would split it. */
struct words {
	char **words; /* NULL-terminated; the last is the one being typed, maybe "" */
	size_t count;
};

void words_split(struct words *words, const char *line);
void words_free(struct words *words);

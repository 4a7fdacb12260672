/* SPDX-License-Identifier: BSD-3-Clause */
#include "words.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "text.h"

static void add(struct words *words, char *word)
{
	words->words = text_grow(words->words, words->count + 2, sizeof(*words->words));
	words->words[words->count++] = word;
	words->words[words->count] = NULL;
}

/* One word from `line` on: without its quotes and backslashes. Answers what follows it. */
static const char *take_word(const char *line, char *word)
{
	char quote = '\0';

	for (; *line != '\0' && (quote != '\0' || strchr(" \t\n", *line) == NULL); line++) {
		if (*line == quote)
			quote = '\0';
		else if (quote == '\0' && (*line == '\'' || *line == '"'))
			quote = *line;
		else if (*line == '\\' && quote != '\'' && line[1] != '\0')
			*word++ = *++line;
		else
			*word++ = *line;
	}
	*word = '\0';
	return line;
}

void words_split(struct words *words, const char *line)
{
	const char *p = line;
	bool more = true;

	*words = (struct words){0};
	while (more) {
		p += strspn(p, " \t\n");
		char *word = text_alloc(strlen(p) + 1, 1);

		p = take_word(p, word);
		add(words, word);
		more = *p != '\0';
	}
}

void words_free(struct words *words)
{
	for (size_t i = 0; i < words->count; i++)
		free(words->words[i]);
	free(words->words);
	*words = (struct words){0};
}

/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include <jansson.h>

#include <tailplane/err.h>
#include <tailplane/op.h>

/*
 * The command table as the command line sees it: the daemon's operations (what "describe" answers)
 * and the local commands, in one sorted list. Both are `struct op`; the daemon's have no `run`.
 */
struct commands {
	const struct op **ops; /* by name */
	size_t count;
	struct op *described; /* owned: what commands_describe made */
	size_t n_described;
};

/* Adds the operations of a "describe" answer. What is unknown in it (a newer daemon's type or
 * flag) is taken as text. -EINVAL when it is no command table at all. */
int commands_describe(struct commands *commands, const json_t *table, struct err *err);
/* Adds one that lives as long as the program. One of the same name is replaced. */
void commands_add(struct commands *commands, const struct op *op);
void commands_free(struct commands *commands);

const struct op *commands_find(const struct commands *commands, const char *name);

struct match {
	const struct op *op; /* NULL: none, see err */
	int n_words;         /* how many of the words named it */
	/* As far as the words could be followed, in full: a command, or only its beginning. */
	char path[128];
	int n_path;
	/* Edits from the word that comes then to what `err` suggests; UINT_MAX: it suggests none.
	 */
	unsigned slip;
};

/*
 * The longest operation that the first of `words` name. A word may be cut short where only one
 * word can be meant: not where it could as well be an argument. -EINVAL with the reason and a
 * suggestion.
 */
int commands_match(const struct commands *commands, char *const *words, int n_words,
	bool abbreviate, struct match *match, struct err *err);

/* Calls `fn` with each different word that can follow `prefix` (words joined by one space, ""
 * for none). */
void commands_next_words(const struct commands *commands, const char *prefix,
	void (*fn)(void *arg, const char *word, size_t len), void *arg);

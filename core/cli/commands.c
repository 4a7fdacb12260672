/* SPDX-License-Identifier: BSD-3-Clause */
#include "commands.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "nearest.h"
#include "text.h"

void commands_add(struct commands *commands, const struct op *op)
{
	size_t at = 0;

	while (at < commands->count && strcmp(commands->ops[at]->name, op->name) < 0)
		at++;
	if (at < commands->count && strcmp(commands->ops[at]->name, op->name) == 0) {
		commands->ops[at] = op;
		return;
	}
	commands->ops = text_grow(commands->ops, commands->count + 1, sizeof(*commands->ops));
	memmove(commands->ops + at + 1, commands->ops + at,
		(commands->count - at) * sizeof(*commands->ops));
	commands->ops[at] = op;
	commands->count++;
}

const struct op *commands_find(const struct commands *commands, const char *name)
{
	for (size_t i = 0; i < commands->count; i++)
		if (strcmp(commands->ops[i]->name, name) == 0)
			return commands->ops[i];
	return NULL;
}

/* What of `name` follows the words `prefix`: NULL when it does not begin with them. */
static const char *rest_of(const char *name, const char *prefix)
{
	size_t len = strlen(prefix);

	if (len == 0)
		return name;
	if (strncmp(name, prefix, len) != 0)
		return NULL;
	if (name[len] == '\0')
		return name + len;
	return name[len] == ' ' ? name + len + 1 : NULL;
}

void commands_next_words(const struct commands *commands, const char *prefix,
	void (*fn)(void *arg, const char *word, size_t len), void *arg)
{
	const char *last = NULL;
	size_t last_len = 0;

	for (size_t i = 0; i < commands->count; i++) {
		const char *rest = rest_of(commands->ops[i]->name, prefix);
		size_t len = rest != NULL ? strcspn(rest, " ") : 0;

		/* The list is sorted: equal words stand together. */
		if (len == 0 || (len == last_len && strncmp(rest, last, len) == 0))
			continue;
		fn(arg, rest, len);
		last = rest;
		last_len = len;
	}
}

/* What one word of the command line can mean after the words before it. */
struct candidates {
	const char *given;
	const char *exact, *prefixed;
	size_t prefixed_len;
	unsigned n_prefixed;
	struct nearest nearest;
	char slip[64];               /* its `best` */
	char all[400], fitting[400]; /* lists for the message */
};

static void enumerate(char list[400], const char *word)
{
	if (strlen(list) + strlen(word) + 3 > 400)
		return;
	strcat(list, list[0] != '\0' ? ", " : "");
	strcat(list, word);
}

static void consider(void *arg, const char *word, size_t len)
{
	struct candidates *c = arg;
	char *copy = text_copy(word, len);

	enumerate(c->all, copy);
	if (strcmp(copy, c->given) == 0)
		c->exact = word;
	if (strncmp(copy, c->given, strlen(c->given)) == 0) {
		enumerate(c->fitting, copy);
		c->prefixed = word;
		c->prefixed_len = len;
		c->n_prefixed++;
	}
	nearest_offer(&c->nearest, copy);
	if (c->nearest.best == copy) {
		snprintf(c->slip, sizeof(c->slip), "%s", copy);
		c->nearest.best = c->slip;
	}
	free(copy);
}

/* Whether one of the words between the bars is `given`. */
static bool names_one(const char *words, size_t len, const char *given)
{
	size_t n = strlen(given);

	for (const char *end = words + len; words < end; words += strcspn(words, "| ") + 1) {
		if (strcspn(words, "| ") == n && strncmp(words, given, n) == 0)
			return n > 0 && strcmp(given, "-") != 0;
	}
	return false;
}

/* The word that `given` stands for after `path`, which is of `n` words; NULL: none. */
static const char *alias_of(
	const struct commands *commands, const char *path, int n, const char *given, size_t *len)
{
	for (size_t i = 0; i < commands->count; i++) {
		const char *rest = rest_of(commands->ops[i]->name, path);
		const char *aliases = commands->ops[i]->aliases;

		if (rest == NULL || *rest == '\0' || aliases == NULL)
			continue;
		for (int skip = n; skip > 0 && *aliases != '\0'; skip--)
			aliases += strcspn(aliases, " ") + (strchr(aliases, ' ') != NULL);
		if (!names_one(aliases, strcspn(aliases, " "), given))
			continue;
		*len = strcspn(rest, " ");
		return rest;
	}
	return NULL;
}

static bool takes_positional(const struct op *op)
{
	for (const struct op_arg *arg = op->args; arg != NULL && arg->name != NULL; arg++)
		if (arg->flags & OP_ARG_POSITIONAL)
			return true;
	return false;
}

static bool extend(struct match *match, const char *word, size_t len)
{
	size_t used = strlen(match->path), left = sizeof(match->path) - used;
	const char *space = used > 0 ? " " : "";

	match->n_path++;
	return (size_t)snprintf(match->path + used, left, "%s%.*s", space, (int)len, word) < left;
}

static int no_match(const char *prefix, const struct candidates *c, struct err *err)
{
	const char *space = prefix[0] != '\0' ? " " : "";

	if (c->given[0] == '\0')
		return err_set(err, -EINVAL, "'%s' needs one more word: %s", prefix, c->all);
	if (c->n_prefixed > 1)
		return err_set(err, -EINVAL, "'%s%s%s' may mean several commands: %s", prefix,
			space, c->given, c->fitting);
	if (c->nearest.best != NULL)
		return err_set(err, -EINVAL, "unknown command '%s%s%s'; did you mean '%s%s%s'?",
			prefix, space, c->given, prefix, space, c->nearest.best);
	if (prefix[0] != '\0')
		return err_set(err, -EINVAL, "unknown command '%s %s'; after '%s' comes one of: %s",
			prefix, c->given, prefix, c->all);
	return err_set(err, -EINVAL, "unknown command '%s'; 'tailplane help' lists the commands",
		c->given);
}

int commands_match(const struct commands *commands, char *const *words, int n_words,
	bool abbreviate, struct match *match, struct err *err)
{
	*match = (struct match){.slip = UINT_MAX};
	for (int i = 0; i <= n_words; i++) {
		struct candidates c = {.given = i < n_words ? words[i] : ""};
		const struct op *op = commands_find(commands, match->path);

		if (c.given[0] == '-')
			c.given = "";
		c.nearest.typed = c.given;
		if (op != NULL) {
			match->op = op;
			match->n_words = i;
			abbreviate = abbreviate && !takes_positional(op);
		}
		commands_next_words(commands, match->path, consider, &c);
		const char *word = c.exact;
		size_t len = c.exact != NULL ? strlen(c.given) : c.prefixed_len;

		if (word == NULL)
			word = alias_of(commands, match->path, match->n_path, c.given, &len);
		if (word == NULL)
			len = c.prefixed_len;
		if (word == NULL && abbreviate && c.given[0] != '\0' && c.n_prefixed == 1)
			word = c.prefixed;
		if (word != NULL && extend(match, word, len))
			continue;
		/* An operation that has no place for a word: it was meant as a command's. */
		bool stray = op != NULL && c.given[0] != '\0' && !takes_positional(op) &&
			     c.all[0] != '\0';

		if (match->op == NULL || stray) {
			match->op = NULL;
			if (c.n_prefixed > 1)
				match->slip = 0;
			else if (c.nearest.best != NULL)
				match->slip = c.nearest.distance;
			return no_match(match->path, &c, err);
		}
		break;
	}
	return 0;
}

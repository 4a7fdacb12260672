/* SPDX-License-Identifier: BSD-3-Clause */
#include "complete.h"

#include <stdlib.h>
#include <string.h>

#include "options.h"
#include "text.h"
#include "words.h"

#define ASK_MS 1000 /* a shell that waits longer feels broken */

struct completion {
	const struct commands *commands;
	struct client *client;

	const char *typed; /* the word being typed, and what of it stays before each candidate */
	size_t kept;
	bool files; /* file names too */
	char **found;
	size_t n_found;
};

/* A candidate for what is typed after the kept part. */
static void offer(struct completion *c, const char *candidate)
{
	const char *rest = c->typed + c->kept;

	if (strncmp(candidate, rest, strlen(rest)) != 0 || strpbrk(candidate, " \t\n'\"\\") != NULL)
		return;
	for (size_t i = 0; i < c->n_found; i++)
		if (strcmp(c->found[i] + c->kept, candidate) == 0)
			return;
	c->found = text_grow(c->found, c->n_found + 1, sizeof(*c->found));
	c->found[c->n_found++] = text_printf("%.*s%s", (int)c->kept, c->typed, candidate);
}

static void offer_word(void *arg, const char *word, size_t len)
{
	char *copy = text_copy(word, len);

	if (copy[0] != '_')
		offer(arg, copy);
	free(copy);
}

static void offer_value(struct completion *c, const json_t *value)
{
	json_t *item;
	size_t i;

	if (json_is_string(value) && json_string_value(value)[0] != '\0')
		offer(c, json_string_value(value));
	json_array_foreach (value, i, item) {
		offer_value(c, item);
	}
}

/* "op name:key": the values that this key has in the rows of that operation. */
static void offer_asked(struct completion *c, const char *where)
{
	const char *colon = strrchr(where, ':');
	struct err ignored = {0};
	json_t *row;
	size_t i;

	if (colon == NULL || c->client->fd < 0)
		return;
	char *name = text_copy(where, (size_t)(colon - where));
	json_t *none = json_object();
	json_t *rows = client_ask(c->client, name, none, ASK_MS, &ignored);

	json_array_foreach (rows, i, row) {
		offer_value(c, json_object_get(row, colon + 1));
	}
	json_decref(rows);
	json_decref(none);
	free(name);
}

static bool is_file(const struct op_arg *arg)
{
	return (arg->flags & (OP_ARG_FILE | OP_ARG_SECRET_FILE)) || arg->type == SETTING_PATH ||
	       arg->type == SETTING_SECRET_FILE;
}

static void complete_value(struct completion *c, const struct op_arg *arg)
{
	const char *comma = strrchr(c->typed + c->kept, ',');

	if ((arg->flags & OP_ARG_LIST) && comma != NULL)
		c->kept = (size_t)(comma + 1 - c->typed);
	for (size_t i = 0; arg->choices != NULL && arg->choices[i] != NULL; i++)
		offer(c, arg->choices[i]);
	if (arg->type == SETTING_BOOL) {
		offer(c, "true");
		offer(c, "false");
	}
	if (arg->complete != NULL)
		offer_asked(c, arg->complete);
	c->files = is_file(arg);
}

/* The options that each command takes: their names, or the value of one. */
static void complete_option_value(struct completion *c, const struct option_name *option)
{
	char *words = text_copy(option->metavar, strlen(option->metavar)), *save = NULL;

	/* "auto|always|never" says its choices; "SOCKET" is a file. */
	if (strchr(words, '|') != NULL)
		for (char *w = strtok_r(words, "|", &save); w; w = strtok_r(NULL, "|", &save))
			offer(c, w);
	else
		c->files = true;
	free(words);
}

static void offer_options(struct completion *c, const struct op *op, const bool *used)
{
	for (size_t i = 0; op != NULL && op->args != NULL && op->args[i].name != NULL; i++) {
		const struct op_arg *arg = &op->args[i];

		if ((arg->flags & OP_ARG_POSITIONAL) || (used[i] && !(arg->flags & OP_ARG_LIST)))
			continue;
		char *name = text_printf("--%s", arg->name);

		offer(c, name);
		free(name);
	}
	for (const struct option_name *o = option_names; o->name != NULL; o++) {
		char *name = text_printf("--%s", o->name);

		offer(c, name);
		free(name);
	}
}

static size_t find_arg(const struct op *op, const char *name, size_t len)
{
	size_t i = 0;

	while (op->args != NULL && op->args[i].name != NULL &&
		(strncmp(op->args[i].name, name, len) != 0 || op->args[i].name[len] != '\0'))
		i++;
	return i;
}

static size_t count_args(const struct op *op)
{
	size_t n = 0;

	while (op->args != NULL && op->args[n].name != NULL)
		n++;
	return n;
}

/* The place that the next plain word takes; a list takes all that come. */
static const struct op_arg *next_place(const struct op *op, bool *used)
{
	for (size_t i = 0; op->args != NULL && op->args[i].name != NULL; i++) {
		if (!(op->args[i].flags & OP_ARG_POSITIONAL))
			continue;
		if (!used[i] || (op->args[i].flags & OP_ARG_LIST)) {
			used[i] = true;
			return &op->args[i];
		}
	}
	return NULL;
}

/* --name=VALUE in the word being typed. */
static bool complete_glued(struct completion *c, const struct op *op)
{
	const char *equals = strchr(c->typed, '=');
	const struct option_name *option;
	const char *value;

	if (strncmp(c->typed, "--", 2) != 0 || equals == NULL)
		return false;
	c->kept = (size_t)(equals + 1 - c->typed);
	option = options_find(c->typed, &value);
	if (option != NULL && option->metavar != NULL) {
		complete_option_value(c, option);
	} else if (op != NULL) {
		size_t i = find_arg(op, c->typed + 2, (size_t)(equals - c->typed) - 2);

		if (i < count_args(op))
			complete_value(c, &op->args[i]);
	}
	return true;
}

/* Follows the words before the cursor, and completes the last. */
static void complete_arguments(struct completion *c, const struct op *op, char **words, int n)
{
	bool *used = text_alloc(count_args(op) + 1, sizeof(*used));
	int i;

	for (i = 0; i < n; i++) {
		const char *word = words[i], *value;
		const struct option_name *option = options_find(word, &value);
		size_t len = strcspn(word, "="), a = count_args(op);

		if (strcmp(word, "-w") == 0)
			a = find_arg(op, "write", 5);
		else if (strncmp(word, "--", 2) == 0)
			a = find_arg(op, word + 2, len - 2);
		if (a < count_args(op)) {
			const struct op_arg *arg = &op->args[a];
			bool takes = word[len] != '=' && arg->type != SETTING_BOOL;

			used[a] = true;
			if (takes && ++i == n) {
				complete_value(c, arg);
				goto out;
			}
		} else if (option != NULL) {
			bool takes = option->metavar != NULL && option->metavar[0] != '[';

			if (takes && value == NULL && ++i == n) {
				complete_option_value(c, option);
				goto out;
			}
		} else if (word[0] != '-' || word[1] == '\0') {
			next_place(op, used);
		}
	}
	if (complete_glued(c, op))
		goto out;
	if (c->typed[0] == '-') {
		offer_options(c, op, used);
	} else {
		const struct op_arg *arg = next_place(op, used);

		if (arg != NULL)
			complete_value(c, arg);
	}
out:
	free(used);
}

/* Before the command's words stand only options for each command: the index of the first other. */
static int skip_options(struct completion *c, char **words, int n)
{
	static const struct op no_op = {.name = ""};
	int i = 0;

	while (i < n && words[i][0] == '-') {
		const char *value;
		const struct option_name *option = options_find(words[i], &value);

		i++;
		if (option != NULL && option->metavar != NULL && option->metavar[0] != '[' &&
			value == NULL && i++ == n) {
			complete_option_value(c, option);
			return -1;
		}
	}
	if (i == n && c->typed[0] == '-') {
		complete_arguments(c, &no_op, words, n);
		return -1;
	}
	return i;
}

static void complete_words(struct completion *c, char **words, int n)
{
	int first = skip_options(c, words, n);
	struct err ignored = {0};
	struct match match;

	if (first < 0)
		return;
	bool help = first < n && strcmp(words[first], "help") == 0;

	first += help; /* its arguments are a command's words */
	commands_match(c->commands, words + first, n - first, true, &match, &ignored);
	if (match.n_path == n - first)
		commands_next_words(c->commands, match.path, offer_word, c);
	if (match.op != NULL && !help)
		complete_arguments(
			c, match.op, words + first + match.n_words, n - first - match.n_words);
}

/* The shell puts candidates in the place of what follows the last of its breaks. */
static size_t hidden(const char *typed, const char *breaks)
{
	size_t after = 0;

	for (size_t i = 0; typed[i] != '\0'; i++)
		if (strchr("=:,@", typed[i]) != NULL && strchr(breaks, typed[i]) != NULL)
			after = i + 1;
	return after;
}

void complete(FILE *out, const struct commands *commands, struct client *client, const char *line,
	const char *breaks)
{
	struct words words;

	words_split(&words, line);
	struct completion c = {
		.commands = commands,
		.client = client,
		.typed = words.words[words.count - 1],
	};
	size_t hide = hidden(c.typed, breaks);

	if (words.count > 1)
		complete_words(&c, words.words + 1, (int)words.count - 2);
	fprintf(out, "%s\n", c.files ? "files" : "");
	for (size_t i = 0; i < c.n_found; i++) {
		fprintf(out, "%s\n", c.found[i] + hide);
		free(c.found[i]);
	}
	free(c.found);
	words_free(&words);
}

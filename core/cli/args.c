/* SPDX-License-Identifier: BSD-3-Clause */
#include "args.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "elsewhere.h"
#include "manual_ops.h"
#include "nearest.h"
#include "secret_file.h"
#include "text.h"

struct parser {
	const struct op *op;
	struct options *options;
	struct args *args;
	struct err *err;
	bool stdin_taken;
};

/* How the argument is called in a message: --name, or the place's NAME. Heap. */
static char *called(const struct op_arg *arg)
{
	if (!(arg->flags & OP_ARG_POSITIONAL))
		return text_printf("--%s", arg->name);
	return op_metavar(&(struct op_arg){.name = arg->name, .flags = OP_ARG_POSITIONAL});
}

static int complain(struct parser *p, const struct op_arg *arg, const char *what, const char *value)
{
	char *name = called(arg);

	err_set(p->err, -EINVAL, "%s %s '%s'", name, what, value);
	free(name);
	return -EINVAL;
}

static json_t *int_of(struct parser *p, const struct op_arg *arg, const char *value)
{
	char *end;

	errno = 0;
	long long n = strtoll(value, &end, 0);

	if (end != value && *end == '\0' && errno == 0)
		return json_integer(n);
	complain(p, arg, "takes a whole number, not", value);
	return NULL;
}

static json_t *bool_of(struct parser *p, const struct op_arg *arg, const char *value)
{
	static const char *const words[] = {
		"false", "true", "no", "yes", "off", "on", "0", "1", NULL};

	for (size_t i = 0; words[i] != NULL; i++)
		if (strcmp(words[i], value) == 0)
			return json_boolean(i % 2);
	complain(p, arg, "takes true or false, not", value);
	return NULL;
}

static json_t *choice_of(struct parser *p, const struct op_arg *arg, const char *value)
{
	for (size_t i = 0; arg->choices[i] != NULL; i++)
		if (strcmp(arg->choices[i], value) == 0)
			return json_string(value);

	char *choices = op_metavar(&(struct op_arg){.choices = arg->choices});
	char *what = text_printf("takes %s, not", choices);

	complain(p, arg, what, value);
	free(what);
	free(choices);
	return NULL;
}

static json_t *secret_of(struct parser *p, const struct op_arg *arg, const char *path)
{
	if (strcmp(path, "-") == 0) {
		if (p->stdin_taken) {
			complain(p, arg, "cannot read the standard input a second time:", path);
			return NULL;
		}
		p->stdin_taken = true;
	}
	return secret_file_read(path, p->err);
}

static json_t *value_of(struct parser *p, const struct op_arg *arg, const char *value)
{
	if (arg->flags & OP_ARG_SECRET_FILE)
		return secret_of(p, arg, value);
	if (arg->type == SETTING_INT)
		return int_of(p, arg, value);
	if (arg->type == SETTING_BOOL)
		return bool_of(p, arg, value);
	if (arg->choices != NULL)
		return choice_of(p, arg, value);

	json_t *text = json_string(value);

	if (text == NULL)
		complain(p, arg, "is not UTF-8:", value);
	return text;
}

static int append_items(struct parser *p, const struct op_arg *arg, json_t *list, const char *value)
{
	const char *rest = value;

	for (bool more = value[0] != '\0'; more; rest++) {
		size_t len = strcspn(rest, ",");
		char *item = text_copy(rest, len);
		json_t *one = len > 0 ? value_of(p, arg, item) : NULL;

		free(item);
		if (len == 0)
			return complain(p, arg, "has an empty item:", value);
		if (one == NULL)
			return -EINVAL;
		json_array_append_new(list, one);
		rest += len;
		more = *rest == ',';
	}
	return 0;
}

static int set_value(struct parser *p, const struct op_arg *arg, const char *value)
{
	json_t *old = json_object_get(p->args->values, arg->name);

	if (arg->flags & OP_ARG_LIST) {
		if (old == NULL) {
			old = json_array();
			json_object_set_new(p->args->values, arg->name, old);
		}
		return append_items(p, arg, old, value);
	}
	if (old != NULL)
		return complain(p, arg, "is given twice; the second time as", value);
	if (arg->flags & OP_ARG_FILE) {
		p->args->file = value;
		p->args->input = arg->flags & OP_ARG_INPUT;
	}

	json_t *one = value_of(p, arg, value);

	if (one == NULL)
		return -EINVAL;
	json_object_set_new(p->args->values, arg->name, one);
	return 0;
}

/* The next place that is still free: a list takes all the words that are left. */
static const struct op_arg *next_place(struct parser *p)
{
	for (const struct op_arg *arg = p->op->args; arg != NULL && arg->name != NULL; arg++) {
		if (!(arg->flags & OP_ARG_POSITIONAL))
			continue;
		if ((arg->flags & OP_ARG_LIST) || !json_object_get(p->args->values, arg->name))
			return arg;
	}
	return NULL;
}

static int take_place(struct parser *p, const char *word)
{
	const struct op_arg *arg = next_place(p);

	if (arg == NULL)
		return err_set(
			p->err, -EINVAL, "'%s' is one word too many for '%s'", word, p->op->name);
	return set_value(p, arg, word);
}

static const struct op_arg *arg_named(const struct op *op, const char *name, size_t len)
{
	for (const struct op_arg *arg = op->args; arg != NULL && arg->name != NULL; arg++)
		if (strlen(arg->name) == len && strncmp(arg->name, name, len) == 0)
			return arg;
	return NULL;
}

static int unknown_option(struct parser *p, const char *word)
{
	struct nearest nearest = {.typed = word + strspn(word, "-")};
	const char *instead = elsewhere_find("", word);

	if (instead != NULL)
		return err_set(p->err, -EINVAL, "'%s' takes no option '%s': %s", p->op->name, word,
			instead);
	for (const struct op_arg *arg = p->op->args; arg != NULL && arg->name != NULL; arg++)
		if (!(arg->flags & OP_ARG_POSITIONAL))
			nearest_offer(&nearest, arg->name);
	if (nearest.best != NULL)
		return err_set(p->err, -EINVAL, "'%s' takes no option '%s'; did you mean '--%s'?",
			p->op->name, word, nearest.best);
	return err_set(p->err, -EINVAL, "'%s' takes no option '%s'; see 'tailplane help %s'",
		p->op->name, word, p->op->name);
}

static int value_missing(struct parser *p, const struct op_arg *arg)
{
	char *metavar = op_metavar(arg);

	err_set(p->err, -EINVAL, "--%s needs a value: %s", arg->name, metavar);
	free(metavar);
	return -EINVAL;
}

static const struct op_arg *arg_lettered(const struct op *op, char letter)
{
	for (const struct op_arg *arg = op->args; arg != NULL && arg->name != NULL; arg++)
		if (arg->letter == letter)
			return arg;
	return NULL;
}

/* The operation's own option at words[*i]: 1, or 0 when it is none, or -EINVAL. */
static int take_named(struct parser *p, char *const *words, int *i)
{
	const char *name = words[*i] + 2, *value = strchr(name, '=');
	size_t len = value != NULL ? (size_t)(value - name) : strlen(name);
	const struct op_arg *arg = NULL;

	if (words[*i][1] != '-') {
		arg = arg_lettered(p->op, words[*i][1]);
		/* -w FILE is --write FILE wherever a command writes a file. */
		if (arg == NULL && strcmp(words[*i], "-w") == 0)
			arg = arg_named(p->op, "write", 5);
		/* glued: -uNAME */
		value = words[*i][2] != '\0' ? words[*i] + 1 : NULL;
	} else {
		arg = arg_named(p->op, name, len);
	}
	if (arg == NULL && strncmp(words[*i], "--no-", 5) == 0 && value == NULL) {
		arg = arg_named(p->op, name + 3, len - 3);
		if (arg == NULL || arg->type != SETTING_BOOL)
			return 0;
		value = "=false";
	}
	if (arg == NULL)
		return 0;
	if (value != NULL) {
		value++;
		if (words[*i][1] != '-' && *value == '=')
			value++;
	} else if (arg->type == SETTING_BOOL && !(arg->flags & OP_ARG_LIST)) {
		value = "true";
	} else {
		value = words[++*i];
		if (value == NULL)
			return value_missing(p, arg);
	}
	++*i;
	return set_value(p, arg, value) == 0 ? 1 : -EINVAL;
}

static int take_option(struct parser *p, char *const *words, int *i)
{
	int rc = take_named(p, words, i);

	if (rc == 0)
		rc = options_take(p->options, words, i, p->err);
	if (rc == 0)
		return unknown_option(p, words[*i]);
	return rc < 0 ? rc : 0;
}

static int check_required(struct parser *p)
{
	for (const struct op_arg *arg = p->op->args; arg != NULL && arg->name != NULL; arg++) {
		if (!(arg->flags & OP_ARG_REQUIRED) || json_object_get(p->args->values, arg->name))
			continue;
		char *name = called(arg);

		err_set(p->err, -EINVAL, "'%s' needs %s%s%s", p->op->name, name,
			arg->help != NULL ? ": " : "", arg->help != NULL ? arg->help : "");
		free(name);
		return -EINVAL;
	}
	return 0;
}

int args_parse(const struct op *op, char *const *words, struct options *options, struct args *args,
	struct err *err)
{
	struct parser p = {op, options, args, err, false};
	bool options_end = false;
	int rc = 0;

	*args = (struct args){.values = json_object()};
	for (int i = 0; rc == 0 && words[i] != NULL;) {
		const char *word = words[i];

		if (!options_end && strcmp(word, "--") == 0) {
			options_end = true;
			i++;
		} else if (!options_end && word[0] == '-' && word[1] != '\0') {
			rc = take_option(&p, words, &i);
		} else {
			rc = take_place(&p, word);
			i++;
		}
	}
	if (rc == 0 && !options->help)
		rc = check_required(&p);
	if (rc < 0)
		args_free(args);
	return rc;
}

void args_free(struct args *args)
{
	json_decref(args->values);
	*args = (struct args){0};
}

/* SPDX-License-Identifier: BSD-3-Clause */
/* The daemon's answer to "describe", back into the table that it was made from. */
#include "commands.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "text.h"

struct word {
	const char *name;
	unsigned value;
};

static const struct word types[] = {
	{"bool", SETTING_BOOL},
	{"int", SETTING_INT},
	{"string", SETTING_STRING},
	{"enum", SETTING_ENUM},
	{"duration", SETTING_DURATION},
	{"size", SETTING_SIZE},
	{"rate", SETTING_RATE},
	{"address", SETTING_ADDRESS},
	{"prefix", SETTING_PREFIX},
	{"endpoint", SETTING_ENDPOINT},
	{"key", SETTING_KEY},
	{"secret_file", SETTING_SECRET_FILE},
	{"path", SETTING_PATH},
	{NULL, SETTING_STRING},
};

static const struct word flags[] = {
	{"required", OP_ARG_REQUIRED},
	{"positional", OP_ARG_POSITIONAL},
	{"list", OP_ARG_LIST},
	{"file", OP_ARG_FILE},
	{"secret_file", OP_ARG_SECRET_FILE},
	{"input", OP_ARG_INPUT},
	{NULL, 0},
};

static const struct word formats[] = {
	{"text", OP_TEXT},
	{"count", OP_COUNT},
	{"bytes", OP_BYTES},
	{"bitrate", OP_BITRATE},
	{"duration", OP_DURATION},
	{"ago", OP_AGO},
	{"state", OP_STATE},
	{"percent", OP_PERCENT},
	{"counter", OP_COUNTER},
	{"traffic", OP_TRAFFIC},
	{"alone", OP_ALONE},
	{NULL, OP_TEXT},
};

/* The last word of a table (name NULL) stands for all others. */
static unsigned word_value(const struct word *words, const json_t *name)
{
	const char *text = json_string_value(name);

	while (words->name != NULL && (text == NULL || strcmp(words->name, text) != 0))
		words++;
	return words->value;
}

static char *string_at(const json_t *object, const char *key)
{
	const char *text = json_string_value(json_object_get(object, key));

	return text != NULL ? text_copy(text, strlen(text)) : NULL;
}

static const char *const *choices_of(const json_t *array)
{
	size_t n = json_array_size(array);
	char **choices;

	if (n == 0)
		return NULL;
	choices = text_alloc(n + 1, sizeof(*choices));
	for (size_t i = 0; i < n; i++) {
		const char *text = json_string_value(json_array_get(array, i));

		choices[i] = text_copy(text != NULL ? text : "", text != NULL ? strlen(text) : 0);
	}
	return (const char *const *)choices;
}

static const struct op_arg *args_of(const json_t *array)
{
	struct op_arg *args = text_alloc(json_array_size(array) + 1, sizeof(*args)), *arg = args;
	size_t i, j;
	json_t *item, *flag;

	json_array_foreach (array, i, item) {
		char *name = string_at(item, "name");

		if (name == NULL)
			continue;
		arg->name = name;
		arg->type = (enum setting_type)word_value(types, json_object_get(item, "type"));
		json_array_foreach (json_object_get(item, "flags"), j, flag) {
			arg->flags |= word_value(flags, flag);
		}
		arg->choices = choices_of(json_object_get(item, "choices"));
		arg->complete = string_at(item, "complete");
		arg->help = string_at(item, "help");
		if (json_string_length(json_object_get(item, "letter")) == 1)
			arg->letter = *json_string_value(json_object_get(item, "letter"));
		arg++;
	}
	return args;
}

static const struct op_column *columns_of(const json_t *array)
{
	struct op_column *columns, *column;
	size_t i;
	json_t *item;

	if (json_array_size(array) == 0)
		return NULL;
	column = columns = text_alloc(json_array_size(array) + 1, sizeof(*columns));
	json_array_foreach (array, i, item) {
		char *key = string_at(item, "key");

		if (key == NULL)
			continue;
		column->key = key;
		column->title = string_at(item, "title");
		if (column->title == NULL)
			column->title = text_copy(key, strlen(key));
		column->format =
			(enum op_format)word_value(formats, json_object_get(item, "format"));
		column++;
	}
	return columns;
}

static void op_from(struct op *op, const json_t *item)
{
	const char *scope = json_string_value(json_object_get(item, "scope"));

	op->name = string_at(item, "name");
	op->help = string_at(item, "help");
	op->scope = scope != NULL && strcmp(scope, "read") == 0 ? OP_READ : OP_WRITE;
	op->args = args_of(json_object_get(item, "args"));
	op->columns = columns_of(json_object_get(item, "columns"));
	op->aliases = string_at(item, "aliases");
}

int commands_describe(struct commands *commands, const json_t *table, struct err *err)
{
	size_t i;
	json_t *item;

	if (!json_is_array(table))
		return err_set(err, -EINVAL, "the daemon's command table is no list");
	commands->described = text_alloc(json_array_size(table), sizeof(*commands->described));
	json_array_foreach (table, i, item) {
		struct op *op = &commands->described[commands->n_described];

		if (!json_is_string(json_object_get(item, "name")))
			return err_set(err, -EINVAL, "the daemon's command %zu has no name", i);
		op_from(op, item);
		commands->n_described++;
		commands_add(commands, op);
	}
	return 0;
}

static void free_args(const struct op_arg *args)
{
	for (const struct op_arg *arg = args; arg->name != NULL; arg++) {
		for (size_t i = 0; arg->choices != NULL && arg->choices[i] != NULL; i++)
			free((char *)arg->choices[i]);
		free((char **)arg->choices);
		free((char *)arg->name);
		free((char *)arg->complete);
		free((char *)arg->help);
	}
	free((struct op_arg *)args);
}

static void free_columns(const struct op_column *columns)
{
	for (const struct op_column *c = columns; c != NULL && c->key != NULL; c++) {
		free((char *)c->key);
		free((char *)c->title);
	}
	free((struct op_column *)columns);
}

void commands_free(struct commands *commands)
{
	for (size_t i = 0; i < commands->n_described; i++) {
		const struct op *op = &commands->described[i];

		free((char *)op->name);
		free((char *)op->help);
		free((char *)op->aliases);
		free_args(op->args);
		free_columns(op->columns);
	}
	free(commands->described);
	free(commands->ops);
	*commands = (struct commands){0};
}

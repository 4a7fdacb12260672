/* SPDX-License-Identifier: BSD-3-Clause */
#include "render.h"

#include <stdlib.h>
#include <string.h>

#include "text.h"
#include "yaml.h"

/* 15 digits: what was written as 0.1 is shown as 0.1. */
#define JSON_FLAGS (JSON_ENCODE_ANY | JSON_REAL_PRECISION(15))

static const struct op_column *column_of(const struct op_column *columns, const char *key)
{
	for (const struct op_column *c = columns; c != NULL && c->key != NULL; c++)
		if (strcmp(c->key, key) == 0)
			return c;
	return NULL;
}

/* The declared title, or the key with spaces. Heap. */
static char *title_of(const struct op_column *column, const char *key)
{
	if (column != NULL)
		return text_copy(column->title, strlen(column->title));
	char *title = text_clean(key, 0);

	for (char *p = title; *p != '\0'; p++)
		if (*p == '_')
			*p = ' ';
	return title;
}

/* What plugins add to `status` has no columns; a state is known by its name. */
static enum op_format format_of(const struct op_column *column, const char *key)
{
	if (column != NULL)
		return column->format;
	return strcmp(key, "state") == 0 ? OP_STATE : OP_TEXT;
}

/* What stands under a key, which may lead into objects: "user.name". */
static const json_t *member(const json_t *object, const char *key)
{
	const json_t *value = json_object_get(object, key);
	const char *dot = value == NULL ? strchr(key, '.') : NULL;

	if (dot == NULL)
		return value;
	return member(json_object_getn(object, key, (size_t)(dot - key)), dot + 1);
}

static bool is_rows(const json_t *value)
{
	return json_is_object(json_array_get(value, 0));
}

/* The keys of a table without declared columns: all, in order of appearance. */
static json_t *keys_of(const json_t *rows)
{
	json_t *keys = json_object(), *row;
	const char *key;
	json_t *value;
	size_t i;

	json_array_foreach (rows, i, row) {
		json_object_foreach (row, key, value) {
			if (!json_object_get(keys, key))
				json_object_set_new(keys, key, json_null());
		}
	}
	return keys;
}

static json_t *declared_keys(const struct op_column *columns)
{
	json_t *keys = json_object();

	for (const struct op_column *c = columns; c->key != NULL; c++)
		json_object_set_new(keys, c->key, json_null());
	return keys;
}

static bool is_sentence(const json_t *value)
{
	return json_string_length(value) > 24 && strchr(json_string_value(value), ' ') != NULL;
}

static void add_column(
	struct table *table, const char *key, const struct op_column *column, const json_t *rows)
{
	bool numbers = true, any = false;
	const char *fold = NULL;
	json_t *row;
	size_t i;

	json_array_foreach (rows, i, row) {
		const json_t *value = member(row, key);

		if (json_is_array(value))
			fold = ", ";
		else if (is_sentence(value) && fold == NULL)
			fold = " ";
		if (value != NULL && !json_is_null(value)) {
			any = true;
			numbers = numbers && json_is_number(value);
		}
	}
	enum op_format format = format_of(column, key);
	bool right = format_right(format) || (format == OP_TEXT && any && numbers);

	table_column(table, title_of(column, key), right && fold == NULL, fold);
}

static void add_cells(struct table *table, const json_t *keys, const struct op_column *columns,
	const json_t *rows, const struct screen *screen)
{
	const char *key;
	json_t *row, *ignored;
	size_t i;

	json_array_foreach (rows, i, row) {
		json_object_foreach ((json_t *)keys, key, ignored) {
			const json_t *value = member(row, key);
			enum op_format format = format_of(column_of(columns, key), key);

			table_cell(table, format_value(value, format, screen, false),
				format_tone(value, format));
		}
	}
}

/* `declared`: the columns are meant for these rows, and name all that is shown. */
static void render_table(FILE *out, const json_t *rows, const struct op_column *columns,
	bool declared, const struct screen *screen, unsigned indent)
{
	json_t *keys = declared && columns != NULL ? declared_keys(columns) : keys_of(rows),
	       *ignored;
	struct table table = {0};
	const char *key;

	json_object_foreach (keys, key, ignored) {
		add_column(&table, key, column_of(columns, key), rows);
	}
	if (table.n_columns > 0) {
		add_cells(&table, keys, columns, rows, screen);
		table_print(&table, out, screen, indent);
	}
	table_free(&table);
	json_decref(keys);
}

static void render_object(FILE *out, const json_t *object, const struct op_column *columns,
	const struct screen *screen, unsigned indent);

static void render_nested(FILE *out, const char *key, const json_t *value,
	const struct op_column *columns, const struct screen *screen, unsigned indent)
{
	char *title = title_of(column_of(columns, key), key);

	fprintf(out, "\n%*s%s%s%s\n", (int)indent, "", tone_begin(TONE_TITLE, screen), title,
		tone_end(TONE_TITLE, screen));
	free(title);
	if (json_is_object(value))
		render_object(out, value, columns, screen, indent + 2);
	else
		render_table(out, value, columns, false, screen, indent + 2);
}

static bool is_nested(const json_t *value)
{
	return is_rows(value) || (json_is_object(value) && json_object_size(value) > 0);
}

/* The keys of an object as they are shown: first the declared ones, then what else there is. */
static json_t *object_keys(const json_t *object, const struct op_column *columns)
{
	json_t *keys = json_object(), *value;
	const char *key;

	for (const struct op_column *c = columns; c != NULL && c->key != NULL; c++)
		if (json_object_get(object, c->key) != NULL)
			json_object_set_new(keys, c->key, json_null());
	json_object_foreach ((json_t *)object, key, value) {
		if (json_object_get(keys, key) == NULL)
			json_object_set_new(keys, key, json_null());
	}
	return keys;
}

static void render_object(FILE *out, const json_t *object, const struct op_column *columns,
	const struct screen *screen, unsigned indent)
{
	json_t *keys = object_keys(object, columns), *ignored;
	struct table lines = {0};
	const char *key;

	json_object_foreach (keys, key, ignored) {
		if (!is_nested(json_object_get(object, key)))
			table_column(&lines, title_of(column_of(columns, key), key), false, NULL);
	}
	json_object_foreach (keys, key, ignored) {
		const json_t *value = json_object_get(object, key);
		enum op_format format = format_of(column_of(columns, key), key);

		if (!is_nested(value))
			table_cell(&lines, format_value(value, format, screen, true),
				format_tone(value, format));
	}
	table_print_blocks(&lines, out, screen, indent);
	table_free(&lines);
	json_object_foreach (keys, key, ignored) {
		const json_t *value = json_object_get(object, key);

		if (is_nested(value))
			render_nested(out, key, value, columns, screen, indent);
	}
	json_decref(keys);
}

static void render_text(FILE *out, const char *text)
{
	size_t len = strlen(text);

	fputs(text, out);
	if (len > 0 && text[len - 1] != '\n')
		fputc('\n', out);
}

static void render_people(FILE *out, const json_t *result, const struct op_column *columns,
	const struct screen *screen)
{
	if (columns != NULL && columns->format == OP_ALONE && json_is_object(result)) {
		char *text =
			format_value(json_object_get(result, columns->key), OP_TEXT, screen, true);

		render_text(out, text);
		free(text);
	} else if (json_is_object(result)) {
		render_object(out, result, columns, screen, 0);
	} else if (json_is_string(result)) {
		char *clean = screen->tty ? text_clean(json_string_value(result),
						    KEEP_LINES | KEEP_COLOURS)
					  : NULL;

		render_text(out, clean != NULL ? clean : json_string_value(result));
		free(clean);
	} else if (is_rows(result) || (json_is_array(result) && columns != NULL)) {
		render_table(out, result, columns, true, screen, 0);
	} else if (json_is_array(result)) {
		json_t *item;
		size_t i;

		json_array_foreach (result, i, item) {
			char *line = format_value(item, OP_TEXT, screen, false);

			render_text(out, line);
			free(line);
		}
	} else if (!json_is_null(result)) {
		char *line = format_value(result, OP_TEXT, screen, false);

		render_text(out, line);
		free(line);
	}
}

static void render_json(FILE *out, const json_t *result, const struct screen *screen)
{
	size_t flags = JSON_FLAGS | (screen->tty ? JSON_INDENT(2) : JSON_COMPACT);

	json_dumpf(result, out, flags);
	fputc('\n', out);
}

void render(FILE *out, enum output output, const json_t *result, const struct op_column *columns,
	const struct screen *screen)
{
	switch (output) {
	case OUTPUT_JSON:
		render_json(out, result, screen);
		break;
	case OUTPUT_YAML:
		yaml_print(out, result);
		break;
	case OUTPUT_JSON_LINE:
		json_dumpf(result, out, JSON_FLAGS | JSON_COMPACT);
		fputc('\n', out);
		break;
	case OUTPUT_TABLE:
		render_people(out, result, columns, screen);
		break;
	}
}

void render_row(struct render_rows *rows, const json_t *row)
{
	rows->any = true;
	switch (rows->output) {
	case OUTPUT_JSON:
	case OUTPUT_JSON_LINE:
		json_dumpf(row, rows->out, JSON_FLAGS | JSON_COMPACT);
		fputc('\n', rows->out);
		break;
	case OUTPUT_YAML:
		fputs("---\n", rows->out);
		yaml_print(rows->out, row);
		break;
	case OUTPUT_TABLE:
		if (rows->waiting == NULL)
			rows->waiting = json_array();
		json_array_append(rows->waiting, (json_t *)row);
		break;
	}
}

/* Undeclared columns are those of the first burst. */
static void begin_table(struct render_rows *rows)
{
	const char *key;
	json_t *ignored;

	rows->keys = rows->columns != NULL ? declared_keys(rows->columns) : keys_of(rows->waiting);
	json_object_foreach (rows->keys, key, ignored) {
		add_column(&rows->table, key, column_of(rows->columns, key), rows->waiting);
	}
}

void render_rows_flush(struct render_rows *rows)
{
	if (is_rows(rows->waiting)) {
		if (rows->keys == NULL)
			begin_table(rows);
		add_cells(&rows->table, rows->keys, rows->columns, rows->waiting, rows->screen);
		table_print(&rows->table, rows->out, rows->screen, 0);
	} else if (rows->waiting != NULL) {
		render_people(rows->out, rows->waiting, NULL, rows->screen);
	}
	json_decref(rows->waiting);
	rows->waiting = NULL;
	fflush(rows->out);
}

void render_rows_end(struct render_rows *rows)
{
	render_rows_flush(rows);
	table_free(&rows->table);
	json_decref(rows->keys);
}

/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Rates for --watch. A row is known again by its texts (names, keys, addresses): where one of them
 * changes, it counts as a new row once.
 */
#include "rates.h"

#include <stdlib.h>
#include <string.h>

#include "text.h"

static bool is_counter(enum op_format format)
{
	return format == OP_COUNTER || format == OP_TRAFFIC;
}

static char *rate_key(const struct op_column *column)
{
	return text_printf("%s/s", column->key);
}

const struct op_column *rates_columns(struct rates *rates, const struct op_column *declared)
{
	unsigned n = 0, counters = 0;

	for (const struct op_column *c = declared; c != NULL && c->key != NULL; c++, n++)
		counters += is_counter(c->format);
	if (counters == 0 || rates->columns != NULL)
		return rates->columns;
	struct op_column *out = text_alloc(n + counters + 1, sizeof(*out));

	rates->columns = out;
	for (const struct op_column *c = declared; c->key != NULL; c++) {
		*out++ = *c;
		if (!is_counter(c->format))
			continue;
		*out++ = (struct op_column){
			.key = rate_key(c),
			.title = text_printf("%s/s", c->title),
			.format = c->format == OP_TRAFFIC ? OP_BITRATE : OP_COUNT,
		};
	}
	return rates->columns;
}

/* What a row is about. Heap. */
static char *name_of(const struct rates *rates, const json_t *row)
{
	json_t *texts = json_object(), *value;
	const char *key;

	json_object_foreach ((json_t *)row, key, value) {
		if (json_is_string(value))
			json_object_set(texts, key, value);
	}
	/* a worker has a number for a name */
	value = json_object_get(row, rates->columns->key);
	if (json_is_integer(value))
		json_object_set(texts, rates->columns->key, value);
	char *name = json_dumps(texts, JSON_COMPACT | JSON_SORT_KEYS);

	json_decref(texts);
	return name;
}

static void row_rates(const struct rates *rates, json_t *row, const json_t *before, double seconds)
{
	for (const struct op_column *c = rates->columns; c->key != NULL; c++) {
		if (!is_counter(c->format))
			continue;
		const json_t *was = json_object_get(before, c->key),
			     *is = json_object_get(row, c->key);
		double grown = json_number_value(is) - json_number_value(was);

		if (!json_is_number(was) || !json_is_number(is) || grown < 0)
			continue;
		double rate = grown / seconds * (c->format == OP_TRAFFIC ? 8 : 1);

		json_object_set_new(row, c[1].key, json_real(rate));
	}
}

void rates_add(struct rates *rates, json_t *rows, double now)
{
	json_t *seen = json_object(), *row;
	size_t i;

	json_array_foreach (rows, i, row) {
		char *name = name_of(rates, row);

		if (name != NULL && now > rates->at)
			row_rates(rates, row, json_object_get(rates->rows, name), now - rates->at);
		if (name != NULL)
			json_object_set(seen, name, row);
		free(name);
	}
	json_decref(rates->rows);
	rates->rows = seen;
	rates->at = now;
}

void rates_free(struct rates *rates)
{
	for (struct op_column *c = rates->columns; c != NULL && c->key != NULL; c++)
		if (is_counter(c->format)) {
			free((char *)(uintptr_t)c[1].key);
			free((char *)(uintptr_t)c[1].title);
			c++;
		}
	free(rates->columns);
	json_decref(rates->rows);
	*rates = (struct rates){0};
}

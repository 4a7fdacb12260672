/* SPDX-License-Identifier: BSD-3-Clause */
/* Any thread. */
#include "map_text.h"

#include <ctype.h>
#include <stdio.h>

/* A text in quotes, as JSON writes it, is YAML too. */
static void print_scalar(FILE *out, const json_t *value)
{
	json_dumpf(value, out, JSON_ENCODE_ANY);
	fputc('\n', out);
}

static void print_key(FILE *out, const char *key)
{
	for (; *key; key++)
		fputc(tolower((unsigned char)*key), out);
	fputc(':', out);
}

/* `dash`: the first line stands behind "- " already. */
static void print_object(FILE *out, const json_t *object, int indent, int dash);

static void print_value(FILE *out, const json_t *value, int indent)
{
	const json_t *item;
	size_t i;

	if (json_is_object(value)) {
		fputc('\n', out);
		print_object(out, value, indent + 2, 0);
	} else if (json_is_array(value)) {
		fputc('\n', out);
		json_array_foreach ((json_t *)value, i, item) {
			fprintf(out, "%*s- ", indent + 2, "");
			print_object(out, item, indent + 4, 1);
		}
	} else {
		fputc(' ', out);
		print_scalar(out, value);
	}
}

static void print_object(FILE *out, const json_t *object, int indent, int dash)
{
	const char *key;
	json_t *value;

	json_object_foreach ((json_t *)object, key, value) {
		fprintf(out, "%*s", dash ? 0 : indent, "");
		dash = 0;
		print_key(out, key);
		print_value(out, value, indent);
	}
}

char *map_text_yaml(const json_t *map)
{
	char *text = NULL;
	size_t len;
	FILE *out = open_memstream(&text, &len);

	if (!out)
		return NULL;
	print_object(out, map, 0, 0);
	return fclose(out) == 0 ? text : NULL;
}

/* SPDX-License-Identifier: BSD-3-Clause */
/* Any text as rows: where members are picked, they are those that the whole text has. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "pick.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const struct op_column columns[] = {
	{"id", "id", OP_TEXT},
	{"user.name", "user", OP_TEXT},
	{"tags", "tags", OP_TEXT},
	{NULL},
};

static const json_t *member(const json_t *row, const char *key)
{
	if (strcmp(key, "user.name") != 0)
		return json_object_get(row, key);
	return json_object_get(json_object_get(row, "user"), "name");
}

static void compare(const json_t *picked, const json_t *whole)
{
	const json_t *row;
	size_t i;

	if (json_array_size(picked) != json_array_size(whole))
		abort();
	json_array_foreach (picked, i, row) {
		for (const struct op_column *c = columns; c->key; c++) {
			const json_t *a = member(row, c->key);
			const json_t *b = member(json_array_get(whole, i), c->key);

			if (!a != !b || (a && !json_equal(a, b)))
				abort();
		}
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	json_t *whole = json_loadb((const char *)data, size, 0, NULL);
	json_t *picked = pick_rows((const char *)data, size, columns);

	if (whole && picked)
		compare(picked, whole);
	json_decref(whole);
	json_decref(picked);
	return 0;
}

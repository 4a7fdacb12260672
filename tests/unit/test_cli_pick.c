/* SPDX-License-Identifier: BSD-3-Clause */
/* What a table needs of rows, picked from their text. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "pick.h"

static const struct op_column columns[] = {
	{"id", "id", OP_TEXT},
	{"user.name", "user", OP_TEXT},
	{"tags", "tags", OP_TEXT},
	{NULL},
};

/* `wanted` NULL: it is to be read whole. */
static void expect(const char *text, const char *wanted)
{
	json_t *picked = pick_rows(text, strlen(text), columns);
	char *got = picked ? json_dumps(picked, JSON_COMPACT) : NULL;

	if (wanted)
		assert_string_equal(got, wanted);
	else
		assert_null(got);
	free(got);
	json_decref(picked);
}

static void test_members(void **state)
{
	(void)state;
	expect("[{\"id\":\"1\",\"key\":\"x\",\"user\":{\"id\":\"7\",\"name\":\"al\"},\"tags\":["
	       "\"a\"]}]",
		"[{\"id\":\"1\",\"user\":{\"name\":\"al\"},\"tags\":[\"a\"]}]");
	expect("[{\"x\":[{\"id\":1},\"]}\"],\"id\":{\"y\":[{}]}},{}]",
		"[{\"id\":{\"y\":[{}]}},{}]");
	expect("[{\"idx\":1,\"i\":2,\"id\":3,\"users\":4}]", "[{\"id\":3}]");
	expect("[{\"q\":\"\\\\\",\"id\":\"\\\"\"}]", "[{\"id\":\"\\\"\"}]");
	/* a tagged node has no user */
	expect("[{\"user\":null,\"id\":1}]", "[{\"user\":null,\"id\":1}]");
}

static void test_not_rows(void **state)
{
	static const char *const texts[] = {"", "[", "[]", "{}", "{\"id\":1}", "[1]", "[{\"id\":1}",
		"[{\"id\":1}] ", "[{\"id\" :1}]", "[{\"id\":1},]", "[{\"id\":}]", "[{\"id\":\"1}]",
		"[{\"\\u0069d\":1}]", "[{\"user\":{\"name\":1}]", "[{\"user\":{]", "[{\"id\":1\"}]",
		"[{\"id\":[1}]}]"};

	(void)state;
	for (size_t i = 0; i < sizeof(texts) / sizeof(*texts); i++)
		expect(texts[i], NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_members),
		cmocka_unit_test(test_not_rows),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

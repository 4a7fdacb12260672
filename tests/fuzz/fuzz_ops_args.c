/* SPDX-License-Identifier: BSD-3-Clause */
/* Any JSON as the arguments of an operation with every type of argument: what passes the check has
 * the shapes that `run` relies on. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "ops.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char *const choices[] = {"red", "green", NULL};

static const struct op_arg args[] = {
	{.name = "b", .type = SETTING_BOOL},
	{.name = "i", .type = SETTING_INT, .flags = OP_ARG_REQUIRED},
	{.name = "s", .type = SETTING_STRING},
	{.name = "e", .type = SETTING_ENUM, .choices = choices},
	{.name = "duration", .type = SETTING_DURATION},
	{.name = "size", .type = SETTING_SIZE},
	{.name = "rate", .type = SETTING_RATE},
	{.name = "address", .type = SETTING_ADDRESS},
	{.name = "list", .type = SETTING_PREFIX, .flags = OP_ARG_LIST},
	{.name = "endpoint", .type = SETTING_ENDPOINT},
	{.name = "key", .type = SETTING_KEY},
	{.name = "file", .type = SETTING_PATH, .flags = OP_ARG_FILE},
	{NULL},
};

static const struct op op = {.name = "fuzz", .args = args};

static void require(bool ok)
{
	if (!ok)
		abort();
}

static void check_shapes(const json_t *object)
{
	const json_t *e = json_object_get(object, "e"), *list = json_object_get(object, "list"),
		     *item;
	size_t i;

	require(json_is_integer(json_object_get(object, "i")));
	require(!e || !strcmp(json_string_value(e), "red") ||
		!strcmp(json_string_value(e), "green"));
	require(!list || json_is_array(list));
	json_array_foreach (list, i, item) {
		struct net_prefix prefix;

		require(!net_prefix_parse(&prefix, json_string_value(item)));
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	json_t *object = json_loadb((const char *)data, size, JSON_REJECT_DUPLICATES, NULL);

	for (int fd = 0; object && fd < 2; fd++) {
		struct err err = {0};

		if (op_check_args(&op, object, fd, &err) == 0)
			check_shapes(object);
		else
			require(*err.msg);
	}
	json_decref(object);
	return 0;
}

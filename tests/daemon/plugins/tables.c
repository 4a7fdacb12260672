/* SPDX-License-Identifier: BSD-3-Clause */
/* A plugin that keeps a table and a key file: `put KEY VALUE` answers when it is on disk, `list`
 * from memory. VERSION makes it a newer one. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <tailplane/plugin.h>
#include <tailplane/store.h>

#ifndef VERSION
#define VERSION 1
#endif

static json_t *memory;
static int64_t counter;

static const struct store_column columns[] = {
	{"id", STORE_INT, STORE_KEY},
	{"name", STORE_TEXT, STORE_UNIQUE},
	{NULL},
};
static const struct store_table tables[] = {{"things", columns}, {NULL}};
static const char *const files[] = {"tables.key", NULL};
static const struct store_schema schema = {
	.name = "tables", .version = VERSION, .tables = tables, .files = files};

struct put {
	struct op_call *call;
	int64_t id;
	char name[64];
};

static void put_done(void *arg, const struct store_result *result)
{
	struct put *put = arg;

	if (result->error) {
		op_fail(put->call, "%s", result->why);
	} else {
		json_object_set_new(memory, put->name, json_integer(put->id));
		op_reply(put->call, json_integer(put->id));
	}
	free(put);
}

static void run_put(struct op_call *call, const json_t *args)
{
	struct put *put = calloc(1, sizeof(*put));
	struct store_txn *txn = store_txn_new();

	put->call = call;
	put->id = counter + 1;
	strncpy(put->name, json_string_value(json_object_get(args, "name")), sizeof(put->name) - 1);
	store_count(txn, "thing", counter, put->id);
	counter = put->id;
	store_insert(
		txn, "things", (struct store_value[]){store_int(put->id), store_text(put->name)});
	store_commit(txn, put_done, put);
}

static void run_list(struct op_call *call, const json_t *args)
{
	(void)args;
	op_reply(call, json_deep_copy(memory));
}

static int row(void *arg, const struct store_value *values, struct err *err)
{
	char name[64] = "";

	(void)arg, (void)err;
	memcpy(name, values[1].bytes, values[1].len < 63 ? values[1].len : 63);
	json_object_set_new(memory, name, json_integer(values[0].number));
	return 0;
}

static int start(const void *conf, struct err *err)
{
	int rc = store_declare(&schema, err);

	(void)conf;
	memory = json_object();
	if (!rc)
		rc = store_load("things", row, NULL, err);
	if (!rc)
		rc = store_counter("thing", &counter, err);
	if (!rc && json_object_get(memory, "poison"))
		rc = err_set(err, -EINVAL, "poisoned");
	if (rc)
		json_decref(memory);
	return rc;
}

static void stop(void)
{
	store_drain();
	json_decref(memory);
}

static const struct op_arg put_args[] = {
	{.name = "name", .type = SETTING_STRING, .flags = OP_ARG_REQUIRED | OP_ARG_POSITIONAL},
	{NULL},
};

static const struct op ops[] = {
	{.name = "put", .help = "Keeps.", .scope = OP_WRITE, .args = put_args, .run = run_put},
	{.name = "list", .help = "Shows.", .run = run_list},
	{NULL},
};

__attribute__((visibility("default"))) const struct plugin tailplane_plugin = {
	.abi = TAILPLANE_ABI,
	.size = sizeof(struct plugin),
	.name = NAME,
	.version = "1",
	.ops = ops,
	.start = start,
	.stop = stop,
};

/* SPDX-License-Identifier: BSD-3-Clause */
/* The table of operations as data, for the command and whoever else calls. Runs on: the control
 * loop. */
#include "ops.h"
#include "plugins.h"

static const char *const type_names[] = {
	[SETTING_BOOL] = "bool",
	[SETTING_INT] = "int",
	[SETTING_STRING] = "string",
	[SETTING_ENUM] = "enum",
	[SETTING_DURATION] = "duration",
	[SETTING_SIZE] = "size",
	[SETTING_RATE] = "rate",
	[SETTING_ADDRESS] = "address",
	[SETTING_PREFIX] = "prefix",
	[SETTING_ENDPOINT] = "endpoint",
	[SETTING_KEY] = "key",
	[SETTING_SECRET_FILE] = "secret_file",
	[SETTING_PATH] = "path",
	[SETTING_GROUP] = "group",
};

static const char *const format_names[] = {
	[OP_TEXT] = "text",
	[OP_COUNT] = "count",
	[OP_BYTES] = "bytes",
	[OP_BITRATE] = "bitrate",
	[OP_DURATION] = "duration",
	[OP_AGO] = "ago",
	[OP_STATE] = "state",
	[OP_PERCENT] = "percent",
	[OP_COUNTER] = "counter",
	[OP_TRAFFIC] = "traffic",
	[OP_ALONE] = "alone",
};

static const char *const flag_names[] = {
	"required", "positional", "list", "file", "secret_file", "input"};

static void set_text(json_t *object, const char *key, const char *text)
{
	if (text)
		json_object_set_new(object, key, json_string(text));
}

static json_t *flags_of(unsigned flags)
{
	json_t *list = json_array();

	for (unsigned i = 0; i < sizeof(flag_names) / sizeof(flag_names[0]); i++) {
		if (flags >> i & 1)
			json_array_append_new(list, json_string(flag_names[i]));
	}
	return list;
}

static json_t *args_of(const struct op_arg *arg)
{
	json_t *list = json_array();

	for (; arg && arg->name; arg++) {
		json_t *item = json_pack("{s:s, s:s, s:o}", "name", arg->name, "type",
			type_names[arg->type], "flags", flags_of(arg->flags));

		if (arg->choices) {
			json_t *choices = json_array();

			for (unsigned i = 0; arg->choices[i]; i++)
				json_array_append_new(choices, json_string(arg->choices[i]));
			json_object_set_new(item, "choices", choices);
		}
		set_text(item, "complete", arg->complete);
		set_text(item, "help", arg->help);
		if (arg->letter)
			json_object_set_new(item, "letter", json_stringn(&arg->letter, 1));
		json_array_append_new(list, item);
	}
	return list;
}

static json_t *columns_of(const struct op_column *column)
{
	json_t *list = json_array();

	for (; column && column->key; column++)
		json_array_append_new(
			list, json_pack("{s:s, s:s, s:s}", "key", column->key, "title",
				      column->title, "format", format_names[column->format]));
	return list;
}

static void add_ops(json_t *list, const struct op *op)
{
	for (; op && op->name; op++) {
		json_t *item = json_pack("{s:s, s:s, s:o, s:o}", "name", op->name, "scope",
			op->scope == OP_READ ? "read" : "write", "args", args_of(op->args),
			"columns", columns_of(op->columns));

		set_text(item, "help", op->help);
		set_text(item, "aliases", op->aliases);
		json_array_append_new(list, item);
	}
}

json_t *ops_describe(void)
{
	json_t *list = json_array();

	add_ops(list, core_ops);
	for (struct instance *inst = plugin_first(); inst; inst = inst->next) {
		if (inst->state == STATE_UP)
			add_ops(list, inst->plugin->ops);
	}
	return list;
}

/* SPDX-License-Identifier: BSD-3-Clause */
/* Arguments of an operation against its table. Pure. */
#include <errno.h>
#include <string.h>

#include "nearest.h"
#include "ops.h"
#include "settings_parse.h"

/* In words for complaints, by what JSON says. */
static const char *json_word(const json_t *value)
{
	switch (json_typeof(value)) {
	case JSON_OBJECT:
		return "an object";
	case JSON_ARRAY:
		return "a list";
	case JSON_STRING:
		return "a string";
	case JSON_INTEGER:
		return "an integer";
	case JSON_REAL:
		return "a fraction";
	case JSON_TRUE:
	case JSON_FALSE:
		return "true or false";
	case JSON_NULL:
		return "null";
	}
	return "nothing known";
}

static int complain_type(
	const struct op_arg *arg, const char *wanted, const json_t *value, struct err *err)
{
	return err_set(err, -EINVAL, "%s takes %s, not %s", arg->name, wanted, json_word(value));
}

static int check_text(const struct op_arg *arg, const json_t *value, struct err *err)
{
	const struct setting form = {.name = arg->name, .type = arg->type, .choices = arg->choices};
	struct err why = {0};

	if (!json_is_string(value))
		return complain_type(arg, "a string", value, err);
	/* a secret's content has the form of what is in the file, which its reader checks */
	if (arg->flags & (OP_ARG_FILE | OP_ARG_SECRET_FILE))
		return 0;
	if (setting_check(&form, json_string_value(value), &why) != 0)
		return err_set(err, -EINVAL, "%s: %s", arg->name, why.msg);
	return 0;
}

static int check_one(const struct op_arg *arg, const json_t *value, struct err *err)
{
	switch (arg->type) {
	case SETTING_BOOL:
		return json_is_boolean(value) ? 0 : complain_type(arg, "true or false", value, err);
	case SETTING_INT:
		return json_is_integer(value) ? 0 : complain_type(arg, "an integer", value, err);
	case SETTING_GROUP:
		return json_is_object(value) ? 0 : complain_type(arg, "an object", value, err);
	default:
		return check_text(arg, value, err);
	}
}

static int check_arg(const struct op_arg *arg, const json_t *value, bool has_fd, struct err *err)
{
	const json_t *item;
	size_t i;
	int rc = 0;

	if ((arg->flags & OP_ARG_FILE) && !has_fd)
		return err_set(
			err, -EINVAL, "%s: its file's descriptor did not come along", arg->name);
	if (!(arg->flags & OP_ARG_LIST))
		return check_one(arg, value, err);
	if (!json_is_array(value))
		return complain_type(arg, "a list", value, err);
	json_array_foreach (value, i, item) {
		rc = check_one(arg, item, err);
		if (rc)
			break;
	}
	return rc;
}

static const struct op_arg *find(const struct op *op, const char *name)
{
	const struct op_arg *arg = op->args;

	while (arg && arg->name && strcmp(arg->name, name) != 0)
		arg++;
	return arg && arg->name ? arg : NULL;
}

static int complain_unknown(const struct op *op, const char *name, struct err *err)
{
	struct nearest nearest = {.typed = name};

	for (const struct op_arg *arg = op->args; arg && arg->name; arg++)
		nearest_offer(&nearest, arg->name);
	if (nearest.best)
		return err_set(err, -EINVAL, "%s has no argument \"%.64s\"; is \"%s\" meant?",
			op->name, name, nearest.best);
	return err_set(err, -EINVAL, "%s has no argument \"%.64s\"", op->name, name);
}

int op_check_args(const struct op *op, const json_t *args, bool has_fd, struct err *err)
{
	const json_t *value;
	const char *name;

	if (!json_is_object(args))
		return err_set(err, -EINVAL, "args takes an object, not %s", json_word(args));
	json_object_foreach ((json_t *)args, name, value) {
		const struct op_arg *arg = find(op, name);
		int rc = arg ? check_arg(arg, value, has_fd, err) : complain_unknown(op, name, err);

		if (rc)
			return rc;
	}
	for (const struct op_arg *arg = op->args; arg && arg->name; arg++) {
		if ((arg->flags & OP_ARG_REQUIRED) && !json_object_get(args, arg->name))
			return err_set(
				err, -EINVAL, "%s needs the argument %s", op->name, arg->name);
	}
	return 0;
}

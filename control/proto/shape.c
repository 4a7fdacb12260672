/* SPDX-License-Identifier: BSD-3-Clause */
/* Protocol library. */
#include "shape.h"

#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

static const char *const kind_words[] = {
	[SHAPE_STRING] = "a string",
	[SHAPE_BOOL] = "true or false",
	[SHAPE_STRINGS] = "a list of strings",
	[SHAPE_INT] = "a whole number",
	[SHAPE_PORT] = "a port from 0 to 65535",
	[SHAPE_PORT_OR_OFF] = "a port from 0 to 65535, or -1",
	[SHAPE_NUMBER] = "a number",
	[SHAPE_OBJECT] = "an object",
	[SHAPE_OBJECTS] = "a list of objects",
};

static json_t *object_within(
	const json_t *said, const struct shape *shape, const char *path, struct err *err);

static json_t *wrong(const struct shape *member, const char *path, struct err *err)
{
	err_set(err, -EINVAL, "%s%s is not %s", path, member->name, kind_words[member->kind]);
	return NULL;
}

/* A list's items that are right; those that are not are left out of it. */
static json_t *list_within(
	const json_t *said, const struct shape *member, const char *path, struct err *err)
{
	json_t *out, *item;
	char inner[64];
	size_t i;

	if (!json_is_array(said))
		return wrong(member, path, err);
	out = json_array();
	json_array_foreach (said, i, item) {
		snprintf(inner, sizeof(inner), "%s%s[%zu].", path, member->name, i);
		if (member->kind == SHAPE_OBJECTS && json_is_object(item))
			json_array_append_new(
				out, object_within(item, member->members, inner, err));
		else if (member->kind == SHAPE_STRINGS && json_is_string(item))
			json_array_append(out, item);
		else
			wrong(member, path, err);
	}
	return out;
}

static bool port_within(const json_t *said, json_int_t min)
{
	json_int_t n = json_integer_value(said);

	return json_is_integer(said) && n >= min && n <= UINT16_MAX;
}

static bool is_of(const json_t *said, enum shape_kind kind)
{
	switch (kind) {
	case SHAPE_STRING:
		return json_is_string(said);
	case SHAPE_BOOL:
		return json_is_boolean(said);
	case SHAPE_INT:
		return json_is_integer(said);
	case SHAPE_PORT:
		return port_within(said, 0);
	case SHAPE_PORT_OR_OFF:
		return port_within(said, -1);
	case SHAPE_NUMBER:
		return json_is_number(said);
	default:
		return json_is_object(said);
	}
}

/* A new reference, or NULL when it is of another kind. */
static json_t *value_within(
	json_t *said, const struct shape *member, const char *path, struct err *err)
{
	char inner[64];

	if (member->kind == SHAPE_STRINGS || member->kind == SHAPE_OBJECTS)
		return list_within(said, member, path, err);
	if (!is_of(said, member->kind))
		return wrong(member, path, err);
	if (member->kind != SHAPE_OBJECT)
		return json_incref(said);
	snprintf(inner, sizeof(inner), "%s%s.", path, member->name);
	return object_within(said, member->members, inner, err);
}

static json_t *object_within(
	const json_t *said, const struct shape *shape, const char *path, struct err *err)
{
	json_t *out = json_object();

	for (; shape->name; shape++) {
		json_t *value = json_object_get(said, shape->name), *kept = NULL;

		if (value && !json_is_null(value))
			kept = value_within(value, shape, path, err);
		if (kept)
			json_object_set_new(out, shape->name, kept);
	}
	return out;
}

json_t *shaped(const json_t *said, const struct shape *shape, struct err *err)
{
	return object_within(said, shape, "", err);
}

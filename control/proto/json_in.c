/* SPDX-License-Identifier: BSD-3-Clause */
/* Protocol library. */
#include "json_in.h"

#include <errno.h>
#include <string.h>

#include "key_text.h"
#include "times.h"

json_t *json_in_object(const void *body, size_t len, struct err *err)
{
	json_error_t where;
	json_t *object;

	if (len > JSON_IN_MAX) {
		err_set(err, -E2BIG, "more than %d bytes of JSON", JSON_IN_MAX);
		return NULL;
	}
	object = json_loadb(body, len, JSON_REJECT_DUPLICATES, &where);
	if (!object)
		err_set(err, -EINVAL, "JSON: %s at byte %d", where.text, where.position);
	else if (!json_is_object(object)) {
		err_set(err, -EINVAL, "JSON: an object is expected");
		json_decref(object);
		object = NULL;
	}
	return object;
}

/* ---- looking for one member ---- */

struct scan {
	const char *text;
	size_t len, at;
};

static char scan_char(struct scan *s)
{
	while (s->at < s->len && s->text[s->at] && strchr(" \t\r\n", s->text[s->at]))
		s->at++;
	return s->at < s->len ? s->text[s->at] : 0;
}

static bool scan_string(struct scan *s)
{
	for (s->at++; s->at < s->len; s->at++) {
		if (s->text[s->at] == '\\')
			s->at++;
		else if (s->text[s->at] == '"')
			return s->at++, true;
	}
	return false;
}

/* Over a value, to what ends it. */
static bool scan_value(struct scan *s)
{
	unsigned depth = 0;

	while (s->at < s->len) {
		char c = s->text[s->at];

		if (c == '"') {
			if (!scan_string(s))
				return false;
			continue;
		}
		if (!depth && (c == ',' || c == '}' || c == ']'))
			return true;
		if (c == '{' || c == '[')
			depth++;
		else if (c == '}' || c == ']')
			depth--;
		s->at++;
	}
	return false;
}

/* Over `c`. */
static bool scan_over(struct scan *s, char c)
{
	if (scan_char(s) != c)
		return false;
	s->at++;
	return true;
}

bool json_in_span(const char *body, size_t len, const char *name, size_t *at, size_t *span)
{
	struct scan s = {body, len, 0};
	size_t name_len = strlen(name);

	if (!scan_over(&s, '{'))
		return false;
	do {
		size_t key;
		bool found;

		if (scan_char(&s) != '"')
			return false;
		key = s.at + 1;
		if (!scan_string(&s))
			return false;
		found = s.at - 1 - key == name_len && !memcmp(body + key, name, name_len);
		if (!scan_over(&s, ':'))
			return false;
		scan_char(&s);
		*at = s.at;
		if (!scan_value(&s))
			return false;
		*span = s.at - *at;
		while (*span && body[*at + *span - 1] != '}')
			--*span;
		if (found)
			return *span && body[*at] == '{';
	} while (scan_over(&s, ','));
	return false;
}

/* ---- members ---- */

static json_t *member(json_t *object, const char *name)
{
	json_t *value = json_object_get(object, name);

	return json_is_null(value) ? NULL : value;
}

static int wrong(struct err *err, const char *name, const char *what)
{
	return err_set(err, -EINVAL, "%s: %s is expected", name, what);
}

int json_in_int(json_t *object, const char *name, int64_t *value, struct err *err)
{
	json_t *m = member(object, name);

	*value = 0;
	if (m && !json_is_integer(m))
		return wrong(err, name, "an integer");
	if (m)
		*value = json_integer_value(m);
	return 0;
}

int json_in_bool(json_t *object, const char *name, bool *value, struct err *err)
{
	json_t *m = member(object, name);

	*value = false;
	if (m && !json_is_boolean(m))
		return wrong(err, name, "true or false");
	*value = json_is_true(m);
	return 0;
}

int json_in_string(json_t *object, const char *name, const char **value, struct err *err)
{
	json_t *m = member(object, name);

	*value = "";
	if (m && !json_is_string(m))
		return wrong(err, name, "a string");
	if (m)
		*value = json_string_value(m);
	return 0;
}

int json_in_key(json_t *object, const char *name, const char *prefix, struct public_key *key,
	struct err *err)
{
	json_t *m = member(object, name);

	*key = (struct public_key){0};
	if (m && (!json_is_string(m) ||
			 !key_text_parse(key, prefix, json_string_value(m), json_string_length(m))))
		return wrong(err, name, "a key");
	return 0;
}

int json_in_time(json_t *object, const char *name, int64_t *ns, struct err *err)
{
	json_t *m = member(object, name);

	*ns = TIME_UNSET;
	if (m && (!json_is_string(m) ||
			 !time_text_parse(ns, json_string_value(m), json_string_length(m))))
		return wrong(err, name, "a time");
	return 0;
}

char *json_in_text(const json_t *value)
{
	return json_dumps(value, JSON_COMPACT | JSON_SORT_KEYS | JSON_ENCODE_ANY);
}

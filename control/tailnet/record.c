/* SPDX-License-Identifier: BSD-3-Clause */
/* Control loop. */
#include "record.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include <tailplane/net.h>

#include "secret.h"

#define KEY_LEN 32

static void *at(const void *record, const struct field *field)
{
	return (char *)record + field->offset;
}

struct store_column *record_columns(const struct record_type *type)
{
	struct store_column *columns = calloc(type->n + 1, sizeof(*columns));
	static const enum store_type types[] = {
		[FIELD_INT] = STORE_INT,
		[FIELD_BOOL] = STORE_INT,
		[FIELD_TEXT] = STORE_TEXT,
		[FIELD_KEY] = STORE_BLOB,
		[FIELD_ADDR] = STORE_TEXT,
	};

	for (unsigned i = 0; columns && i < type->n; i++)
		columns[i] = (struct store_column){
			.name = type->fields[i].name,
			.type = types[type->fields[i].kind],
			.flags = type->fields[i].flags,
			.since = type->fields[i].since,
			.initial = type->fields[i].initial,
		};
	return columns;
}

/* `text` must hold an address. */
static struct store_value value_of(
	const void *record, const struct field *field, char text[static NET_ADDR_STRLEN])
{
	bool nullable = field->flags & STORE_NULLABLE;
	const struct net_addr *addr = at(record, field);
	int64_t number;

	switch (field->kind) {
	case FIELD_INT:
		number = *(int64_t *)at(record, field);
		return nullable && !number ? store_null() : store_int(number);
	case FIELD_BOOL:
		return store_int(*(bool *)at(record, field));
	case FIELD_TEXT:
		return store_text(*(char **)at(record, field));
	case FIELD_KEY:
		if (nullable && secret_is_zero(at(record, field), KEY_LEN))
			return store_null();
		return store_bytes(at(record, field), KEY_LEN);
	case FIELD_ADDR:
		return addr->family ? store_text(net_addr_format(addr, text)) : store_null();
	}
	return store_null();
}

static int text_load(char **to, const struct store_value *value)
{
	*to = NULL;
	if (value->is != STORE_IS_BYTES)
		return 0;
	*to = malloc(value->len + 1);
	if (!*to)
		return -ENOMEM;
	memcpy(*to, value->bytes, value->len);
	(*to)[value->len] = 0;
	return 0;
}

static int field_load(void *to, const struct field *field, const struct store_value *value)
{
	char *text;
	int rc;

	if (value->is == STORE_NULL)
		return field->flags & STORE_NULLABLE ? 0 : -EINVAL;
	switch (field->kind) {
	case FIELD_INT:
		*(int64_t *)to = value->number;
		return 0;
	case FIELD_BOOL:
		*(bool *)to = value->number;
		return 0;
	case FIELD_TEXT:
		return text_load(to, value);
	case FIELD_KEY:
		if (value->is != STORE_IS_BYTES || value->len != KEY_LEN)
			return -EINVAL;
		memcpy(to, value->bytes, KEY_LEN);
		return 0;
	case FIELD_ADDR:
		rc = text_load(&text, value);
		if (!rc)
			rc = net_addr_parse(to, text);
		free(text);
		return rc;
	}
	return -EINVAL;
}

int record_load(const struct record_type *type, void *record, const struct store_value *values,
	struct err *err)
{
	memset(record, 0, type->size);
	for (unsigned i = 0; i < type->n; i++) {
		int rc = field_load(at(record, &type->fields[i]), &type->fields[i], &values[i]);

		if (!rc)
			continue;
		record_fini(type, record);
		return err_set(err, rc, "store: table %s, row %lld: column %s is not as expected",
			type->table, (long long)values[0].number, type->fields[i].name);
	}
	return 0;
}

void record_insert(struct store_txn *txn, const struct record_type *type, const void *record)
{
	struct store_value values[64];
	char texts[64][NET_ADDR_STRLEN];

	for (unsigned i = 0; i < type->n; i++)
		values[i] = value_of(record, &type->fields[i], texts[i]);
	store_insert(txn, type->table, values);
}

void record_update(
	struct store_txn *txn, const struct record_type *type, const void *record, uint64_t fields)
{
	struct store_value key = store_int(*(const int64_t *)record);
	char text[NET_ADDR_STRLEN];

	for (unsigned i = 0; i < type->n; i++)
		if (fields >> i & 1)
			store_update(txn, type->table, key, type->fields[i].name,
				value_of(record, &type->fields[i], text));
}

static bool same(const struct field *field, const void *a, const void *b)
{
	const char *text_a, *text_b;

	switch (field->kind) {
	case FIELD_INT:
		return *(const int64_t *)a == *(const int64_t *)b;
	case FIELD_BOOL:
		return *(const bool *)a == *(const bool *)b;
	case FIELD_TEXT:
		text_a = *(char *const *)a;
		text_b = *(char *const *)b;
		return text_a == text_b || (text_a && text_b && !strcmp(text_a, text_b));
	case FIELD_KEY:
		return !memcmp(a, b, KEY_LEN);
	case FIELD_ADDR:
		return net_addr_equal(a, b);
	}
	return false;
}

uint64_t record_differ(const struct record_type *type, const void *a, const void *b)
{
	uint64_t fields = 0;

	for (unsigned i = 0; i < type->n; i++)
		if (!same(&type->fields[i], at(a, &type->fields[i]), at(b, &type->fields[i])))
			fields |= 1ull << i;
	return fields;
}

int record_copy(const struct record_type *type, void *to, const void *from)
{
	int rc = 0;

	memcpy(to, from, type->size);
	for (unsigned i = 0; i < type->n; i++) {
		char **text = at(to, &type->fields[i]);

		if (type->fields[i].kind != FIELD_TEXT || !*text)
			continue;
		*text = rc ? NULL : strdup(*text);
		if (!*text)
			rc = -ENOMEM;
	}
	if (rc)
		record_fini(type, to);
	return rc;
}

void record_fini(const struct record_type *type, void *record)
{
	for (unsigned i = 0; i < type->n; i++)
		if (type->fields[i].kind == FIELD_TEXT)
			free(*(char **)at(record, &type->fields[i]));
	memset(record, 0, type->size);
}

int text_set(char **member, const char *text)
{
	char *copy = text ? strdup(text) : NULL;

	if (text && !copy)
		return -ENOMEM;
	free(*member);
	*member = copy;
	return 0;
}

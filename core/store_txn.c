/* SPDX-License-Identifier: BSD-3-Clause */
/* Building a transaction. Runs on: the control loop; nothing here knows how it is written. */
#include "store_txn.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <tailplane/log.h>

#include "store.h"

struct store_value store_text(const char *text)
{
	return text ? store_bytes(text, strlen(text)) : store_null();
}

struct store_txn *store_txn_new(void)
{
	struct store_txn *txn = calloc(1, sizeof(*txn));

	if (!txn)
		abort(); /* some bytes; what follows may be long, and fails the commit instead */
	txn->last = &txn->first;
	return txn;
}

/* Values may be keys and hashes of secrets. */
static void change_free(struct store_change *change)
{
	for (unsigned i = 0; i < change->n_values; i++) {
		if (change->values[i].is == STORE_IS_BYTES)
			explicit_bzero(
				(void *)(uintptr_t)change->values[i].bytes, change->values[i].len);
	}
	free(change);
}

void store_txn_free(struct store_txn *txn)
{
	struct store_change *next;

	if (!txn)
		return;
	for (struct store_change *change = txn->first; change; change = next) {
		next = change->next;
		change_free(change);
	}
	free(txn);
}

void store_txn_why(struct store_txn *txn, int error, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	vsnprintf(txn->why, sizeof(txn->why), fmt, args);
	va_end(args);
	txn->result = (struct store_result){.error = error, .why = txn->why};
}

static size_t length_of(const struct store_value *value)
{
	return value->is == STORE_IS_BYTES ? value->len : 0;
}

static char *copy_value(struct store_value *to, const struct store_value *from, char *room)
{
	size_t len = length_of(from);

	*to = *from;
	if (from->is != STORE_IS_BYTES)
		return room;
	to->bytes = memcpy(room, len ? from->bytes : "", len);
	return room + len;
}

/* `change` says everything but its values. */
static void add(struct store_txn *txn, const struct store_change *change,
	const struct store_value *values, unsigned n)
{
	size_t head = sizeof(*change) + n * sizeof(*values);
	size_t len = head + length_of(&change->key);
	struct store_change *copy;
	char *room;

	for (unsigned i = 0; i < n; i++)
		len += length_of(&values[i]);
	copy = malloc(len);
	if (!copy) {
		txn->no_memory = true;
		return;
	}
	*copy = *change;
	copy->n_values = n;
	room = copy_value(&copy->key, &change->key, (char *)copy + head);
	for (unsigned i = 0; i < n; i++)
		room = copy_value(&copy->values[i], &values[i], room);
	*txn->last = copy;
	txn->last = &copy->next;
}

/* A table or a column that was not declared is a mistake of ours. */
static struct store_info *table_of(const char *name)
{
	struct store_info *table = store_find(name);

	if (!table) {
		log_warnx("store: no table %s was declared", name);
		abort();
	}
	return table;
}

static unsigned column_of(const struct store_info *table, const char *name)
{
	unsigned i = 0;

	while (i < table->n_columns && strcmp(table->def->columns[i].name, name) != 0)
		i++;
	if (i == table->n_columns) {
		log_warnx("store: table %s has no column %s", table->def->name, name);
		abort();
	}
	return i;
}

void store_insert(struct store_txn *txn, const char *table, const struct store_value *values)
{
	struct store_info *info = table_of(table);

	add(txn, &(struct store_change){.kind = CHANGE_ROW_INSERT, .table = info}, values,
		info->n_columns);
}

static void add_to_row(struct store_txn *txn, enum store_change_kind kind, const char *table,
	struct store_value key, const char *column, const struct store_value *value)
{
	struct store_info *info = table_of(table);

	add(txn,
		&(struct store_change){.kind = kind,
			.table = info,
			.column = column ? column_of(info, column) : 0,
			.key = key},
		value, value ? 1 : 0);
}

void store_update(struct store_txn *txn, const char *table, struct store_value key,
	const char *column, struct store_value value)
{
	add_to_row(txn, CHANGE_ROW_UPDATE, table, key, column, &value);
}

void store_delete(struct store_txn *txn, const char *table, struct store_value key)
{
	add_to_row(txn, CHANGE_ROW_DELETE, table, key, NULL, NULL);
}

void store_expect(struct store_txn *txn, const char *table, struct store_value key,
	const char *column, struct store_value value)
{
	add_to_row(txn, CHANGE_ROW_EXPECT, table, key, column, &value);
}

void store_expect_none(
	struct store_txn *txn, const char *table, const char *column, struct store_value value)
{
	add_to_row(txn, CHANGE_ROW_EXPECT_NONE, table, store_null(), column, &value);
}

void store_count(struct store_txn *txn, const char *counter, int64_t from, int64_t to)
{
	const struct store_value values[] = {store_int(from), store_int(to)};

	add(txn, &(struct store_change){.kind = CHANGE_COUNTER, .key = store_text(counter)}, values,
		2);
}

/* SPDX-License-Identifier: BSD-3-Clause */
/* One change of a row or counter in SQLite, by statements that each table keeps prepared. Runs on:
 * the control loop or a job, one at a time (store.h says when which). */
#include "store_sqlite.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct table_statements {
	sqlite3_stmt *insert, *delete;
	sqlite3_stmt **update, **expect, **none; /* by column, made when first used */
};

void store_sqlite_table_open(struct store_info *table)
{
	struct table_statements *s;

	if (table->backend)
		return;
	s = calloc(1, sizeof(*s));
	if (s) {
		s->update = calloc(table->n_columns, sizeof(*s->update));
		s->expect = calloc(table->n_columns, sizeof(*s->expect));
		s->none = calloc(table->n_columns, sizeof(*s->none));
	}
	if (!s || !s->update || !s->expect || !s->none)
		abort();
	table->backend = s;
}

void store_sqlite_table_close(struct store_info *table)
{
	struct table_statements *s = table->backend;

	if (!s)
		return;
	sqlite3_finalize(s->insert);
	sqlite3_finalize(s->delete);
	for (unsigned i = 0; i < table->n_columns; i++) {
		sqlite3_finalize(s->update[i]);
		sqlite3_finalize(s->expect[i]);
		sqlite3_finalize(s->none[i]);
	}
	free(s->update);
	free(s->expect);
	free(s->none);
	free(s);
	table->backend = NULL;
}

static int prepare_insert(const struct store_info *table, sqlite3_stmt **stmt, struct err *err)
{
	sqlite3_str *sql = sqlite3_str_new(store_db.sqlite);
	char *text;
	int rc;

	for (unsigned i = 0; i < table->n_columns; i++)
		sqlite3_str_appendall(sql, i ? ", ?" : "?");
	text = sqlite3_str_finish(sql);
	if (!text)
		abort();
	rc = store_sqlite_prepare(
		stmt, err, "INSERT INTO \"%w\" VALUES (%s)", table->def->name, text);
	sqlite3_free(text);
	return rc;
}

static int statement_of(const struct store_change *change, sqlite3_stmt **stmt, struct err *err)
{
	struct table_statements *s = change->table ? change->table->backend : NULL;
	const char *table = change->table ? change->table->def->name : NULL;
	const struct store_column *columns = change->table ? change->table->def->columns : NULL;
	sqlite3_stmt **slot;
	int rc = 0;

	switch (change->kind) {
	case CHANGE_ROW_INSERT:
		slot = &s->insert;
		if (!*slot)
			rc = prepare_insert(change->table, slot, err);
		break;
	case CHANGE_ROW_DELETE:
		slot = &s->delete;
		if (!*slot)
			rc = store_sqlite_prepare(slot, err, "DELETE FROM \"%w\" WHERE \"%w\" = ?1",
				table, columns[0].name);
		break;
	case CHANGE_ROW_UPDATE:
		slot = &s->update[change->column];
		if (!*slot)
			rc = store_sqlite_prepare(slot, err,
				"UPDATE \"%w\" SET \"%w\" = ?2 WHERE \"%w\" = ?1", table,
				columns[change->column].name, columns[0].name);
		break;
	case CHANGE_ROW_EXPECT:
		slot = &s->expect[change->column];
		if (!*slot)
			rc = store_sqlite_prepare(slot, err,
				"SELECT 1 FROM \"%w\" WHERE \"%w\" = ?1 AND \"%w\" IS ?2", table,
				columns[0].name, columns[change->column].name);
		break;
	case CHANGE_ROW_EXPECT_NONE:
		slot = &s->none[change->column];
		if (!*slot)
			rc = store_sqlite_prepare(slot, err,
				"SELECT 1 FROM \"%w\" WHERE \"%w\" IS ?2 LIMIT 1", table,
				columns[change->column].name);
		break;
	default:
		slot = &store_db.count;
		if (!*slot)
			rc = store_sqlite_prepare(slot, err,
				"INSERT INTO tailplane_counters SELECT ?1, ?3 WHERE ?2 = 0 OR "
				"EXISTS "
				"(SELECT 1 FROM tailplane_counters WHERE name = ?1) "
				"ON CONFLICT (name) DO UPDATE SET value = ?3 WHERE value = ?2");
		break;
	}
	*stmt = rc ? NULL : *slot;
	return rc;
}

/* The bytes stay until the statement is reset. */
static int bind_value(
	sqlite3_stmt *stmt, int at, const struct store_value *value, enum store_type type)
{
	if (value->is == STORE_NULL)
		return sqlite3_bind_null(stmt, at);
	if (value->is == STORE_IS_INT)
		return sqlite3_bind_int64(stmt, at, value->number);
	if (type == STORE_TEXT)
		return sqlite3_bind_text64(
			stmt, at, value->bytes, value->len, SQLITE_STATIC, SQLITE_UTF8);
	return value->len ? sqlite3_bind_blob64(stmt, at, value->bytes, value->len, SQLITE_STATIC)
			  : sqlite3_bind_zeroblob(stmt, at, 0);
}

static int bind_change(sqlite3_stmt *stmt, const struct store_change *change)
{
	const struct store_column *columns = change->table ? change->table->def->columns : NULL;
	int rc;

	if (change->kind == CHANGE_ROW_INSERT) {
		for (unsigned i = 0; i < change->n_values; i++) {
			rc = bind_value(stmt, (int)i + 1, &change->values[i], columns[i].type);
			if (rc != SQLITE_OK)
				return rc;
		}
		return SQLITE_OK;
	}
	rc = bind_value(stmt, 1, &change->key, columns ? columns[0].type : STORE_TEXT);
	for (unsigned i = 0; rc == SQLITE_OK && i < change->n_values; i++)
		rc = bind_value(stmt, (int)i + 2, &change->values[i],
			columns ? columns[change->column].type : STORE_INT);
	return rc;
}

static void say_conflict(struct store_txn *txn, const struct store_change *change)
{
	if (change->kind == CHANGE_COUNTER)
		store_txn_why(txn, -EAGAIN, "%.*s", (int)change->key.len,
			(const char *)change->key.bytes);
	else if (change->kind == CHANGE_ROW_INSERT)
		/* "UNIQUE constraint failed: table.column" */
		store_txn_why(
			txn, -EAGAIN, "%s", strrchr(sqlite3_errmsg(store_db.sqlite), ' ') + 1);
	else
		store_txn_why(txn, -EAGAIN, "%s.%s", change->table->def->name,
			change->table->def->columns[change->column].name);
}

/* Whether it found the row, the value, the counter that it asks for. */
static bool held(const struct store_change *change, int step)
{
	if (change->kind == CHANGE_ROW_EXPECT)
		return step == SQLITE_ROW;
	if (change->kind == CHANGE_ROW_EXPECT_NONE)
		return step == SQLITE_DONE;
	return change->kind == CHANGE_ROW_INSERT || sqlite3_changes(store_db.sqlite) == 1;
}

int store_sqlite_apply(struct store_txn *txn, const struct store_change *change, struct err *err)
{
	sqlite3_stmt *stmt;
	int rc = statement_of(change, &stmt, err), step;

	if (rc)
		return rc;
	rc = bind_change(stmt, change);
	step = rc == SQLITE_OK ? sqlite3_step(stmt) : rc;
	rc = 0;
	if ((step & 0xff) == SQLITE_CONSTRAINT && change->kind != CHANGE_COUNTER) {
		say_conflict(txn, change);
		rc = -EAGAIN;
	} else if (step != SQLITE_DONE && step != SQLITE_ROW) {
		rc = store_sqlite_error(err, "cannot be written");
	} else if (!held(change, step)) {
		say_conflict(txn, change);
		rc = -EAGAIN;
	}
	sqlite3_reset(stmt);
	sqlite3_clear_bindings(stmt);
	return rc;
}

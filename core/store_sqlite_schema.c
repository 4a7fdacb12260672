/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The store in SQLite: making tables as declared, and bringing older ones up to date, one version a
 * transaction. Before the first step of an existing store a copy is made beside it: the way back.
 *
 * Runs on: the control loop, while nothing is written.
 */
#include "store_sqlite.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <tailplane/log.h>

int store_sqlite_make_own_tables(struct err *err)
{
	char sql[512];

	snprintf(sql, sizeof(sql),
		"PRAGMA application_id = %d; BEGIN IMMEDIATE;"
		"CREATE TABLE IF NOT EXISTS tailplane_schemas"
		" (name TEXT PRIMARY KEY NOT NULL, version INTEGER NOT NULL) STRICT;"
		"CREATE TABLE IF NOT EXISTS tailplane_counters"
		" (name TEXT PRIMARY KEY NOT NULL, value INTEGER NOT NULL) STRICT;"
		"COMMIT;",
		STORE_SQLITE_APPLICATION);
	return store_sqlite_exec(sql, err);
}

/* ---- tables ---- */

static unsigned since(unsigned declared)
{
	return declared ? declared : 1;
}

static void append_column(sqlite3_str *sql, const struct store_column *c, bool added)
{
	static const char *const types[] = {
		[STORE_INT] = "INTEGER", [STORE_TEXT] = "TEXT", [STORE_BLOB] = "BLOB"};

	sqlite3_str_appendf(sql, "\"%w\" %s", c->name, types[c->type]);
	if (c->flags & STORE_KEY)
		sqlite3_str_appendall(sql, " PRIMARY KEY");
	if (!(c->flags & STORE_NULLABLE))
		sqlite3_str_appendall(sql, " NOT NULL");
	if (added && c->initial && c->type == STORE_INT)
		sqlite3_str_appendf(sql, " DEFAULT (%lld)", atoll(c->initial));
	else if (added && c->initial)
		sqlite3_str_appendf(sql, " DEFAULT %Q", c->initial);
}

static void append_unique(sqlite3_str *sql, const char *table, const struct store_column *c)
{
	if (c->flags & STORE_UNIQUE)
		sqlite3_str_appendf(sql, ";CREATE UNIQUE INDEX \"%w.%w\" ON \"%w\" (\"%w\")", table,
			c->name, table, c->name);
}

static void append_table(sqlite3_str *sql, const struct store_table *table, unsigned version)
{
	sqlite3_str_appendf(sql, ";CREATE TABLE \"%w\" (", table->name);
	for (const struct store_column *c = table->columns; c->name; c++) {
		if (since(c->since) > version)
			continue;
		if (c != table->columns)
			sqlite3_str_appendall(sql, ", ");
		append_column(sql, c, false);
	}
	sqlite3_str_appendall(sql, ") STRICT");
	for (const struct store_column *c = table->columns; c->name; c++) {
		if (since(c->since) <= version)
			append_unique(sql, table->name, c);
	}
}

static void append_added(sqlite3_str *sql, const struct store_table *table, unsigned version)
{
	for (const struct store_column *c = table->columns; c->name; c++) {
		if (since(c->since) != version)
			continue;
		sqlite3_str_appendf(sql, ";ALTER TABLE \"%w\" ADD COLUMN ", table->name);
		append_column(sql, c, true);
		append_unique(sql, table->name, c);
	}
}

static int make_tables(const struct store_schema *schema, unsigned version, struct err *err)
{
	sqlite3_str *sql = sqlite3_str_new(store_db.sqlite);
	char *text;
	int rc;

	for (const struct store_table *table = schema->tables; table->name; table++) {
		if (since(table->since) == version)
			append_table(sql, table, version);
		else if (since(table->since) < version)
			append_added(sql, table, version);
	}
	sqlite3_str_appendf(sql, ";INSERT OR REPLACE INTO tailplane_schemas VALUES (%Q, %u)",
		schema->name, version);
	text = sqlite3_str_finish(sql);
	if (!text)
		abort();
	rc = store_sqlite_exec(text, err);
	sqlite3_free(text);
	return rc;
}

/* ---- versions ---- */

static int step_to(const struct store_schema *schema, unsigned version, struct err *err)
{
	int rc = store_sqlite_exec("BEGIN IMMEDIATE", err);

	if (rc)
		return rc;
	rc = make_tables(schema, version, err);
	if (!rc && schema->migrate)
		rc = schema->migrate(NULL, version, err);
	if (!rc)
		rc = store_sqlite_exec("COMMIT", err);
	if (rc)
		sqlite3_exec(store_db.sqlite, "ROLLBACK", NULL, NULL, NULL);
	return rc;
}

static int copy_before(const struct store_schema *schema, unsigned version, struct err *err)
{
	char *to = sqlite3_mprintf("%s.%s-%u", store_db.path, schema->name, version);
	int rc;

	if (!to)
		abort();
	rc = store_sqlite_copy(store_db.path, to, err);
	if (!rc)
		log_info("store: %s is a copy from before the upgrade of %s to version %u", to,
			schema->name, schema->version);
	sqlite3_free(to);
	return rc;
}

static int bring_up(const struct store_schema *schema, unsigned have, struct err *err)
{
	int rc = have ? copy_before(schema, have, err) : 0;

	for (unsigned version = have + 1; !rc && version <= schema->version; version++)
		rc = step_to(schema, version, err);
	return rc;
}

int store_sqlite_declare(const struct store_schema *schema, struct err *err)
{
	int64_t version;
	unsigned have;
	int rc = store_sqlite_number("SELECT version FROM tailplane_schemas WHERE name = %Q",
		schema->name, &version, err);

	if (rc)
		return rc;
	have = (unsigned)version;
	if (have > schema->version)
		return err_set(err, -ENOTSUP,
			"%s: written by a newer Tailplane (%s is at version %u, this one knows "
			"%u): "
			"run that, or put the copy from before the upgrade in its place (%s.%s-%u)",
			store_db.path, schema->name, have, schema->version, store_db.path,
			schema->name, schema->version);
	for (const struct store_table *table = schema->tables; table->name; table++)
		store_sqlite_table_open(store_find(table->name));
	return have < schema->version ? bring_up(schema, have, err) : 0;
}

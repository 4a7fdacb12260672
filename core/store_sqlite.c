/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The store in SQLite: rows and transactions. store_sqlite_schema.c makes the tables.
 *
 * Write-ahead log with synchronous = FULL: a commit is on disk when it returns. One BEGIN ...
 * COMMIT for all transactions of a batch, a savepoint for each, so that a conflict takes back only
 * its own; one that is alone needs no savepoint, and where it is one change, no BEGIN either, since
 * each statement is a transaction. An error of the disk or of the file takes back the batch: every
 * transaction in it fails, nothing is half.
 *
 * Runs on: the control loop or a job, one at a time (store.h says when which).
 */
#include "store_sqlite.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define BUSY_MS 5000 /* how long another program may hold the file before a write fails */

struct store_sqlite_db store_db;

static int errno_of(int rc)
{
	switch (rc & 0xff) {
	case SQLITE_FULL:
		return -ENOSPC;
	case SQLITE_NOMEM:
		return -ENOMEM;
	case SQLITE_READONLY:
	case SQLITE_PERM:
	case SQLITE_AUTH:
		return -EACCES;
	case SQLITE_BUSY:
	case SQLITE_LOCKED:
		return -EBUSY;
	case SQLITE_CORRUPT:
	case SQLITE_NOTADB:
		return -EBADMSG;
	default:
		return -EIO;
	}
}

/* What a person can do about it. */
static const char *advice_for(int rc)
{
	switch (rc & 0xff) {
	case SQLITE_FULL:
		return "; make room on that file system";
	case SQLITE_BUSY:
	case SQLITE_LOCKED:
		return "; another program holds it: end that program";
	case SQLITE_CORRUPT:
	case SQLITE_NOTADB:
		return "; move it away with its -wal and -shm files and start again, then: "
		       "tailplane restore FILE";
	case SQLITE_READONLY:
	case SQLITE_PERM:
	case SQLITE_CANTOPEN:
		return "; it and its directory must be the daemon's own and writable";
	default:
		return "";
	}
}

int store_sqlite_error(struct err *err, const char *what)
{
	int rc = sqlite3_extended_errcode(store_db.sqlite);
	int system = sqlite3_system_errno(store_db.sqlite);

	return err_set(err, errno_of(rc), "%s: %s: %s%s%s%s", store_db.path, what,
		sqlite3_errmsg(store_db.sqlite), system ? ": " : "", system ? strerror(system) : "",
		advice_for(rc));
}

int store_sqlite_exec(const char *sql, struct err *err)
{
	return sqlite3_exec(store_db.sqlite, sql, NULL, NULL, NULL) == SQLITE_OK
		       ? 0
		       : store_sqlite_error(err, "cannot be changed");
}

int store_sqlite_prepare(sqlite3_stmt **stmt, struct err *err, const char *fmt, ...)
{
	va_list args;
	char *sql;
	int rc;

	va_start(args, fmt);
	sql = sqlite3_vmprintf(fmt, args);
	va_end(args);
	if (!sql)
		abort();
	rc = sqlite3_prepare_v3(store_db.sqlite, sql, -1, SQLITE_PREPARE_PERSISTENT, stmt, NULL);
	sqlite3_free(sql);
	return rc == SQLITE_OK ? 0 : store_sqlite_error(err, "has tables of another shape");
}

int store_sqlite_number(const char *fmt, const char *name, int64_t *value, struct err *err)
{
	sqlite3_stmt *stmt;
	int rc = store_sqlite_prepare(&stmt, err, fmt, name);
	int step;

	if (rc)
		return rc;
	step = sqlite3_step(stmt);
	*value = step == SQLITE_ROW ? sqlite3_column_int64(stmt, 0) : 0;
	if (step != SQLITE_ROW && step != SQLITE_DONE)
		rc = store_sqlite_error(err, "cannot be read");
	sqlite3_finalize(stmt);
	return rc;
}

/* ---- values ---- */

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

static struct store_value column_value(sqlite3_stmt *stmt, int at)
{
	switch (sqlite3_column_type(stmt, at)) {
	case SQLITE_NULL:
		return store_null();
	case SQLITE_INTEGER:
		return store_int(sqlite3_column_int64(stmt, at));
	default: {
		const void *bytes = sqlite3_column_blob(stmt, at);

		return store_bytes(bytes ? bytes : "", (size_t)sqlite3_column_bytes(stmt, at));
	}
	}
}

/* ---- one change ---- */

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

static int apply(struct store_txn *txn, const struct store_change *change, struct err *err)
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

/* ---- transactions ---- */

static int apply_all(struct store_txn *txn, struct err *err)
{
	int rc = 0;

	for (const struct store_change *change = txn->first; !rc && change; change = change->next)
		rc = apply(txn, change, err);
	return rc;
}

static int word(enum store_word word, struct err *err)
{
	static const char *const texts[WORDS] = {
		[WORD_BEGIN] = "BEGIN IMMEDIATE",
		[WORD_COMMIT] = "COMMIT",
		[WORD_ROLLBACK] = "ROLLBACK",
		[WORD_SAVEPOINT] = "SAVEPOINT one",
		[WORD_RELEASE] = "RELEASE one",
		[WORD_ROLLBACK_TO] = "ROLLBACK TO one",
	};
	sqlite3_stmt **stmt = &store_db.words[word];
	int rc = *stmt ? 0 : store_sqlite_prepare(stmt, err, "%s", texts[word]);

	if (rc)
		return rc;
	if (sqlite3_step(*stmt) != SQLITE_DONE)
		rc = store_sqlite_error(err, "cannot be changed");
	sqlite3_reset(*stmt);
	return rc;
}

static bool lacks_memory(struct store_txn *txn)
{
	if (txn->no_memory)
		store_txn_why(txn, -ENOMEM, "no memory for the transaction");
	return txn->no_memory;
}

/* 0 also for a conflict, which only this one has; else the batch is lost. */
static int write_one(struct store_txn *txn, struct err *err)
{
	int rc;

	if (lacks_memory(txn))
		return 0;
	rc = word(WORD_SAVEPOINT, err);
	if (rc)
		return rc;
	rc = apply_all(txn, err);
	if (rc == -EAGAIN)
		rc = word(WORD_ROLLBACK_TO, err);
	return rc ? rc : word(WORD_RELEASE, err);
}

/* The same for one that has the batch for itself. */
static int write_alone(struct store_txn *txn, struct err *err)
{
	bool bare = txn->first && !txn->first->next;
	int rc;

	if (lacks_memory(txn))
		return 0;
	rc = bare ? 0 : word(WORD_BEGIN, err);
	if (rc)
		return rc;
	rc = apply_all(txn, err);
	if (bare)
		return rc == -EAGAIN ? 0 : rc;
	if (rc == -EAGAIN)
		return word(WORD_ROLLBACK, err);
	return rc ? rc : word(WORD_COMMIT, err);
}

static int write_all(struct store_txn *first, struct err *err)
{
	int rc;

	if (!first->next)
		return write_alone(first, err);
	rc = word(WORD_BEGIN, err);
	for (struct store_txn *txn = first; !rc && txn; txn = txn->next)
		rc = write_one(txn, err);
	return rc ? rc : word(WORD_COMMIT, err);
}

static int sqlite_write(struct store_txn *first)
{
	struct err err = {0};
	int rc;

	for (struct store_txn *txn = first; txn; txn = txn->next)
		txn->result = (struct store_result){0};
	rc = write_all(first, &err);
	if (!rc)
		return 0;
	if (!sqlite3_get_autocommit(store_db.sqlite))
		sqlite3_exec(store_db.sqlite, "ROLLBACK", NULL, NULL, NULL);
	for (struct store_txn *txn = first; txn; txn = txn->next)
		store_txn_why(txn, rc, "%s", err.msg);
	return rc;
}

int store_migration_write(struct store_migration *m, struct store_txn *txn, struct err *err)
{
	int rc = txn->no_memory ? err_set(err, -ENOMEM, "no memory") : apply_all(txn, err);

	(void)m;
	if (rc == -EAGAIN)
		err_set(err, rc, "the migration conflicts with what is there at %s", txn->why);
	store_txn_free(txn);
	return rc;
}

/* ---- reading ---- */

static int load_rows(sqlite3_stmt *stmt, unsigned n, store_row_fn row, void *arg, struct err *err)
{
	struct store_value *values = calloc(n, sizeof(*values));
	int rc = 0, step;

	if (!values)
		abort();
	while ((step = sqlite3_step(stmt)) == SQLITE_ROW && !rc) {
		for (unsigned i = 0; i < n; i++)
			values[i] = column_value(stmt, (int)i);
		rc = row(arg, values, err);
	}
	if (!rc && step != SQLITE_DONE)
		rc = store_sqlite_error(err, "cannot be read");
	free(values);
	return rc;
}

static int sqlite_load(struct store_info *table, store_row_fn row, void *arg, struct err *err)
{
	sqlite3_stmt *stmt;
	int rc = store_sqlite_prepare(&stmt, err, "SELECT * FROM \"%w\" ORDER BY \"%w\"",
		table->def->name, table->def->columns[0].name);

	if (rc)
		return rc;
	rc = load_rows(stmt, table->n_columns, row, arg, err);
	sqlite3_finalize(stmt);
	return rc;
}

/* As the table is at this step: columns of later versions are not there yet. */
int store_migration_load(
	struct store_migration *m, const char *table, store_row_fn row, void *arg, struct err *err)
{
	sqlite3_stmt *stmt;
	int rc = store_sqlite_prepare(&stmt, err, "SELECT * FROM \"%w\" ORDER BY 1", table);

	(void)m;
	if (rc)
		return rc;
	rc = load_rows(stmt, (unsigned)sqlite3_column_count(stmt), row, arg, err);
	sqlite3_finalize(stmt);
	return rc;
}

static int sqlite_counter(const char *name, int64_t *value, struct err *err)
{
	return store_sqlite_number(
		"SELECT value FROM tailplane_counters WHERE name = %Q", name, value, err);
}

/* ---- opening ---- */

/* SQLite would make the file by the umask; who reads it knows every key of the tailnet. */
static int make_private(const char *path, struct err *err)
{
	int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);

	if (fd < 0)
		return err_set(err, -errno,
			"%s: %s; it and its directory must be the daemon's own and writable", path,
			strerror(errno));
	close(fd);
	return 0;
}

static int is_ours(struct err *err)
{
	static const char *const sql = "SELECT (SELECT application_id FROM pragma_application_id), "
				       "(SELECT count(*) FROM sqlite_schema)";
	sqlite3_stmt *stmt;
	int rc = store_sqlite_prepare(&stmt, err, "%s", sql);
	bool foreign;

	if (rc)
		return rc;
	if (sqlite3_step(stmt) != SQLITE_ROW)
		rc = store_sqlite_error(err, "cannot be read");
	foreign = !rc && sqlite3_column_int(stmt, 0) != STORE_SQLITE_APPLICATION &&
		  sqlite3_column_int(stmt, 1) != 0;
	sqlite3_finalize(stmt);
	return foreign ? err_set(err, -EINVAL,
				 "%s: a database of another program; name another file in "
				 "core.database.sqlite.path",
				 store_db.path)
		       : rc;
}

static void sqlite_close(void)
{
	sqlite3_finalize(store_db.count);
	for (unsigned i = 0; i < WORDS; i++)
		sqlite3_finalize(store_db.words[i]);
	for (struct store_info *table = NULL; (table = store_next(table));)
		store_sqlite_table_close(table);
	sqlite3_close(store_db.sqlite);
	free(store_db.path);
	store_db = (struct store_sqlite_db){0};
}

static int sqlite_open(const char *path, struct err *err)
{
	static const char *const setup = "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;"
					 "PRAGMA trusted_schema = OFF; PRAGMA secure_delete = ON;";
	int rc = make_private(path, err);

	if (rc)
		return rc;
	store_db.path = strdup(path);
	if (!store_db.path)
		abort();
	if (sqlite3_open_v2(path, &store_db.sqlite, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX,
		    NULL) != SQLITE_OK) {
		rc = store_sqlite_error(err, "cannot be opened");
	} else {
		sqlite3_extended_result_codes(store_db.sqlite, 1);
		sqlite3_busy_timeout(store_db.sqlite, BUSY_MS);
		rc = is_ours(err);
	}
	if (!rc)
		rc = store_sqlite_exec(setup, err);
	if (!rc)
		rc = store_sqlite_make_own_tables(err);
	if (rc)
		sqlite_close();
	return rc;
}

const struct store_backend store_sqlite = {
	.name = "sqlite",
	.open = sqlite_open,
	.close = sqlite_close,
	.declare = store_sqlite_declare,
	.load = sqlite_load,
	.counter = sqlite_counter,
	.write = sqlite_write,
	.pack = store_sqlite_pack,
	.unpack = store_sqlite_unpack,
};

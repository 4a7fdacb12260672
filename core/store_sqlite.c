/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The store in SQLite: transactions and reading. One change of a transaction is
 * store_sqlite_change.c, and store_sqlite_schema.c makes the tables.
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

/* ---- transactions ---- */

static int apply_all(struct store_txn *txn, struct err *err)
{
	int rc = 0;

	for (const struct store_change *change = txn->first; !rc && change; change = change->next)
		rc = store_sqlite_apply(txn, change, err);
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

/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The store in SQLite: copies. A backup is a database of its own: the tables, and one more with the
 * files of the state directory that belong to them.
 *
 * Runs on: jobs, and the control loop before an upgrade; each with a connection of its own.
 */
#include "store_sqlite.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int db_error(sqlite3 *db, const char *path, const char *what, struct err *err)
{
	int code = db ? sqlite3_errcode(db) : SQLITE_NOMEM;

	return err_set(err, code == SQLITE_NOTADB || code == SQLITE_CORRUPT ? -EBADMSG : -EIO,
		"%s: %s: %s", path, what, db ? sqlite3_errmsg(db) : "no memory");
}

static int db_open(sqlite3 **db, const char *path, struct err *err)
{
	if (sqlite3_open_v2(path, db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX, NULL) ==
			SQLITE_OK &&
		sqlite3_busy_timeout(*db, 5000) == SQLITE_OK)
		return 0;
	db_error(*db, path, "cannot be opened", err);
	sqlite3_close(*db);
	return -EIO;
}

static int db_exec(sqlite3 *db, const char *path, const char *sql, struct err *err)
{
	return sqlite3_exec(db, sql, NULL, NULL, NULL) == SQLITE_OK
		       ? 0
		       : db_error(db, path, "cannot be changed", err);
}

/* A read transaction of one moment, whatever is written meanwhile. */
int store_sqlite_copy(const char *from, const char *to, struct err *err)
{
	char *sql = sqlite3_mprintf("VACUUM INTO %Q", to);
	sqlite3 *db;
	int rc, fd;

	if (!sql)
		abort();
	/* empty, but with the mode that SQLite would not give it */
	fd = open(to, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (fd < 0)
		rc = err_set(err, -errno, "%s: %s", to, strerror(errno));
	else
		rc = db_open(&db, from, err);
	if (fd >= 0)
		close(fd);
	if (!rc) {
		rc = sqlite3_exec(db, sql, NULL, NULL, NULL) == SQLITE_OK
			     ? 0
			     : db_error(db, to, "cannot be copied to", err);
		sqlite3_close(db);
	}
	sqlite3_free(sql);
	if (rc)
		unlink(to);
	return rc;
}

/* ---- packing ---- */

static int add_files(sqlite3 *db, const char *path, const struct store_file *files, struct err *err)
{
	sqlite3_stmt *stmt = NULL;
	int rc = db_exec(db, path,
		"CREATE TABLE tailplane_files (name TEXT PRIMARY KEY NOT NULL, content BLOB NOT "
		"NULL) "
		"STRICT",
		err);

	if (!rc && sqlite3_prepare_v2(db, "INSERT INTO tailplane_files VALUES (?, ?)", -1, &stmt,
			   NULL) != SQLITE_OK)
		rc = db_error(db, path, "cannot be changed", err);
	for (; !rc && files->name; files++) {
		sqlite3_bind_text(stmt, 1, files->name, -1, SQLITE_STATIC);
		sqlite3_bind_blob64(stmt, 2, files->bytes, files->len, SQLITE_STATIC);
		if (sqlite3_step(stmt) != SQLITE_DONE)
			rc = db_error(db, path, "cannot be written", err);
		sqlite3_reset(stmt);
	}
	sqlite3_finalize(stmt);
	return rc;
}

int store_sqlite_pack(
	const char *from, const char *to, const struct store_file *files, struct err *err)
{
	int rc = store_sqlite_copy(from, to, err);
	sqlite3 *db;

	if (rc)
		return rc;
	rc = db_open(&db, to, err);
	if (!rc) {
		rc = add_files(db, to, files, err);
		sqlite3_close(db);
	}
	if (rc)
		unlink(to);
	return rc;
}

/* ---- unpacking ---- */

typedef int (*db_row_fn)(sqlite3_stmt *stmt, const struct store_unpack *to, struct err *err);

static int each_row(sqlite3 *db, const char *path, const char *sql, db_row_fn row,
	const struct store_unpack *to, struct err *err)
{
	sqlite3_stmt *stmt;
	int rc = 0, step = SQLITE_ERROR;

	if (sqlite3_prepare_v2(db, sql, -1, &stmt, NULL) != SQLITE_OK)
		return db_error(db, path, "is no backup", err);
	while (!rc && (step = sqlite3_step(stmt)) == SQLITE_ROW)
		rc = row(stmt, to, err);
	if (!rc && step != SQLITE_DONE)
		rc = db_error(db, path, "cannot be read", err);
	sqlite3_finalize(stmt);
	return rc;
}

static int is_application(sqlite3_stmt *stmt, const struct store_unpack *to, struct err *err)
{
	(void)to;
	return sqlite3_column_int(stmt, 0) == STORE_SQLITE_APPLICATION
		       ? 0
		       : err_set(err, -EINVAL, "this is a database, but not a backup of Tailplane");
}

static int is_sound(sqlite3_stmt *stmt, const struct store_unpack *to, struct err *err)
{
	const char *text = (const char *)sqlite3_column_text(stmt, 0);

	(void)to;
	return text && strcmp(text, "ok") == 0
		       ? 0
		       : err_set(err, -EBADMSG, "the backup is damaged: %s", text ? text : "");
}

static int tell_schema(sqlite3_stmt *stmt, const struct store_unpack *to, struct err *err)
{
	return to->schema(to->arg, (const char *)sqlite3_column_text(stmt, 0),
		(unsigned)sqlite3_column_int(stmt, 1), err);
}

static int tell_file(sqlite3_stmt *stmt, const struct store_unpack *to, struct err *err)
{
	const void *bytes = sqlite3_column_blob(stmt, 1);
	const struct store_file file = {.name = (const char *)sqlite3_column_text(stmt, 0),
		.bytes = bytes ? bytes : "",
		.len = (size_t)sqlite3_column_bytes(stmt, 1)};

	return to->file(to->arg, &file, err);
}

int store_sqlite_unpack(const char *path, const struct store_unpack *to, struct err *err)
{
	sqlite3 *db;
	char sql[200];
	int rc = db_open(&db, path, err);

	if (rc)
		return rc;
	snprintf(sql, sizeof(sql),
		"PRAGMA secure_delete = ON; UPDATE tailplane_counters SET value = value + %d;"
		"DROP TABLE tailplane_files; PRAGMA wal_checkpoint(TRUNCATE)",
		STORE_RESTORE_JUMP);
	rc = each_row(db, path, "PRAGMA application_id", is_application, to, err);
	if (!rc)
		rc = each_row(db, path, "PRAGMA integrity_check(1)", is_sound, to, err);
	if (!rc)
		rc = each_row(db, path, "SELECT name, version FROM tailplane_schemas", tell_schema,
			to, err);
	if (!rc)
		rc = each_row(
			db, path, "SELECT name, content FROM tailplane_files", tell_file, to, err);
	if (!rc)
		rc = db_exec(db, path, sql, err);
	sqlite3_close(db);
	return rc;
}

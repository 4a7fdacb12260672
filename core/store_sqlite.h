/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

#include <sqlite3.h>

#include "store.h"

/* Between the files of the SQLite backend. */

#define STORE_SQLITE_APPLICATION 0x5461696c /* "Tail": application_id of our files */

/* What surrounds the statements of transactions. */
enum store_word {
	WORD_BEGIN,
	WORD_COMMIT,
	WORD_ROLLBACK,
	WORD_SAVEPOINT,
	WORD_RELEASE,
	WORD_ROLLBACK_TO,
	WORDS
};

struct store_sqlite_db {
	sqlite3 *sqlite;
	char *path;
	sqlite3_stmt *words[WORDS];
	sqlite3_stmt *count; /* of counters */
};
extern struct store_sqlite_db store_db;

/* The last error of SQLite as text with the file and what to do; returns -errno. */
int store_sqlite_error(struct err *err, const char *what);
int store_sqlite_exec(const char *sql, struct err *err);
/* `fmt` as sqlite3_mprintf takes it: %w within "", %Q for a text. */
int store_sqlite_prepare(sqlite3_stmt **stmt, struct err *err, const char *fmt, ...);
/* The first column of the row that `fmt`, with %Q for `name`, selects; 0 when there is none. */
int store_sqlite_number(const char *fmt, const char *name, int64_t *value, struct err *err);

/* ---- store_sqlite_change.c ---- */

void store_sqlite_table_open(struct store_info *table);
void store_sqlite_table_close(struct store_info *table);
/* 0; -EAGAIN: a condition of the transaction does not hold, which it was told; else the reason in
 * `err`. */
int store_sqlite_apply(struct store_txn *txn, const struct store_change *change, struct err *err);

/* ---- store_sqlite_schema.c ---- */

int store_sqlite_make_own_tables(struct err *err);
int store_sqlite_declare(const struct store_schema *schema, struct err *err);

/* ---- store_sqlite_backup.c ---- */

/* A file as of now, beside a writer. */
int store_sqlite_copy(const char *from, const char *to, struct err *err);
int store_sqlite_pack(
	const char *from, const char *to, const struct store_file *files, struct err *err);
int store_sqlite_unpack(const char *path, const struct store_unpack *to, struct err *err);

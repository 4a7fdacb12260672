/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "err.h"

#pragma GCC visibility push(default)

/*
 * What must outlive the process, in tables. A plugin declares its tables as data in its init hook,
 * reads them once in start, and from then on holds their content in memory; memory changes only in
 * the completion of a commit. Nothing here is SQL: a backend (SQLite now, one that several replicas
 * share later) makes its own of it.
 *
 * A transaction is a list of changes with conditions. It is written whole or not at all, is on disk
 * before its completion says so, and completions come on the control loop in the order of the
 * commits. The backend writes off the loop, many transactions in one sync. A condition that does
 * not hold is a conflict (-EAGAIN), not an error: somebody else was faster, look again.
 *
 * Control loop only, but for store_value and the tables, which are plain data.
 */

enum store_type {
	STORE_INT,  /* int64; times are Unix nanoseconds or seconds as the column's unit says */
	STORE_TEXT, /* UTF-8 without NUL */
	STORE_BLOB,
};

enum store_column_flag {
	STORE_KEY = 1 << 0,    /* the row's key: exactly one column, the first, STORE_INT or TEXT */
	STORE_UNIQUE = 1 << 1, /* a second row with this value is a conflict; NULLs are no values */
	STORE_NULLABLE = 1 << 2,
};

struct store_column {
	const char *name; /* [a-z0-9_]+; NULL ends a table */
	enum store_type type;
	unsigned flags;
	/* The version of the schema that brought it; 0 or 1: from the start. A later column is
	 * nullable, or rows that are older get `initial`. */
	unsigned since;
	const char *initial; /* as text; NULL: NULL */
};

struct store_table {
	const char *name; /* [a-z0-9_]+; NULL ends a schema */
	const struct store_column *columns;
	unsigned since;
};

/* One per plugin. What a column list cannot say (a column split in two, say) is said by `migrate`:
 * called in the store's own thread once per version step, inside the transaction that makes it. */
struct store_migration;
struct store_schema {
	const char *name; /* of the plugin, which restarts when a backup is put in place */
	unsigned version; /* of the newest table or column */
	const struct store_table *tables;
	int (*migrate)(struct store_migration *m, unsigned to, struct err *err); /* may be NULL */
	/* Files of the state directory that a backup must hold too (keys); NULL-terminated. */
	const char *const *files;
};

struct store_value {
	enum { STORE_NULL, STORE_IS_INT, STORE_IS_BYTES } is;
	int64_t number;
	const void *bytes; /* text and blobs; text is not NUL-terminated */
	size_t len;
};

static inline struct store_value store_null(void)
{
	return (struct store_value){.is = STORE_NULL};
}

static inline struct store_value store_int(int64_t number)
{
	return (struct store_value){.is = STORE_IS_INT, .number = number};
}

static inline struct store_value store_bytes(const void *bytes, size_t len)
{
	return (struct store_value){.is = STORE_IS_BYTES, .bytes = bytes, .len = len};
}

struct store_value store_text(const char *text); /* NULL: NULL */

/*
 * Makes the tables exist as declared, older ones migrated: one transaction per version, and a copy
 * of the store beside it before the first. In start. -ENOTSUP when the store is of a newer version
 * than the schema (a downgrade), with what to do in `err`. The schema must stay valid. A second
 * call with the same schema is fine: a plugin starts more than once.
 */
int store_declare(const struct store_schema *schema, struct err *err);

/* Each row in order of its key, values in order of the columns, valid during the call. A row_fn
 * that does not return 0 ends it with that. In start only: blocking. */
typedef int (*store_row_fn)(void *arg, const struct store_value *values, struct err *err);
int store_load(const char *table, store_row_fn row, void *arg, struct err *err);

/*
 * A transaction. Changes are applied in the order added; values are copied. An append that fails
 * for want of memory makes the commit fail with -ENOMEM: no need to look at each.
 */
struct store_txn;
struct store_txn *store_txn_new(void);
void store_txn_free(struct store_txn *txn); /* one that is not committed */

/* `values`: all columns, in order. A row with that key, or that unique value, is a conflict. */
void store_insert(struct store_txn *txn, const char *table, const struct store_value *values);
/* The column by its name; a key without a row is a conflict. */
void store_update(struct store_txn *txn, const char *table, struct store_value key,
	const char *column, struct store_value value);
void store_delete(struct store_txn *txn, const char *table, struct store_value key);
/* Condition: the column of that row has this value (NULL equals NULL). */
void store_expect(struct store_txn *txn, const char *table, struct store_value key,
	const char *column, struct store_value value);
/* Condition: by then no row has this value in the column. Without an index it looks at all rows. */
void store_expect_none(
	struct store_txn *txn, const char *table, const char *column, struct store_value value);
/* Condition and change: the counter of that name (0 when never used) is `from`, and becomes `to`.
 * For ids that are never used twice, over deletions and restored backups too. */
void store_count(struct store_txn *txn, const char *counter, int64_t from, int64_t to);
/* What the counter is now. In start only, as store_load. A backup that is put in place makes each
 * counter jump by STORE_RESTORE_JUMP, past what was given out since it was made. */
int store_counter(const char *counter, int64_t *value, struct err *err);
#define STORE_RESTORE_JUMP (1 << 20)

/* In `migrate`: rows as they are, and changes as in a transaction (which it frees). */
int store_migration_load(
	struct store_migration *m, const char *table, store_row_fn row, void *arg, struct err *err);
int store_migration_write(struct store_migration *m, struct store_txn *txn, struct err *err);

/* How a commit ended. */
struct store_result {
	int error;       /* 0, -EAGAIN: conflict, else it could not be written: nothing was */
	uint64_t seq;    /* of the commit, rising by one; 0 on error */
	const char *why; /* conflict: the table (or counter) and column; error: for the log */
};
typedef void (*store_done_fn)(void *arg, const struct store_result *result);
/* Takes the transaction. `done` on the loop, never before this returns; may be NULL. */
void store_commit(struct store_txn *txn, store_done_fn done, void *arg);
/* Runs until each commit so far had its completion; for stop hooks. */
void store_drain(void);

/* True while the last write succeeded; else why not, for `status` and health. */
bool store_healthy(const char **why);

#pragma GCC visibility pop

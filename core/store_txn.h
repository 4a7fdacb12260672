/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

#include <tailplane/store.h>

/* Transactions and tables as the store and its backend see them. */

struct store_info; /* a declared table; store.h of the core */

enum store_change_kind {
	CHANGE_ROW_INSERT,
	CHANGE_ROW_UPDATE,
	CHANGE_ROW_DELETE,
	CHANGE_ROW_EXPECT,
	CHANGE_ROW_EXPECT_NONE,
	CHANGE_COUNTER,
};

/* One allocation with its values and their bytes. */
struct store_change {
	struct store_change *next;
	enum store_change_kind kind;
	struct store_info *table;
	unsigned column;        /* update, expects */
	struct store_value key; /* of the row; the counter's name */
	unsigned n_values;      /* insert: all columns; update, expects: one; counter: from, to */
	struct store_value values[];
};

/* Built on the control loop; from the commit to its completion the writer's. */
struct store_txn {
	struct store_txn *next; /* in the queue */
	struct store_change *first, **last;
	bool no_memory;
	store_done_fn done;
	void *arg;
	struct store_result result;
	char why[200]; /* for result.why */
};

void store_txn_why(struct store_txn *txn, int error, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

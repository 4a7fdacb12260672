/* SPDX-License-Identifier: BSD-3-Clause */
/* Control loop. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "internal.h"

#define ATTEMPTS_MAX 32

static void attempt(struct row_change *change);

struct row_change *row_change_new(struct tailnet *t, const struct record_type *type,
	enum change_kind kind, tailnet_done_fn done, void *arg)
{
	struct row_change *change = calloc(1, sizeof(*change));

	if (!change)
		return NULL;
	change->t = t;
	change->type = type;
	change->kind = kind;
	change->done = done;
	change->arg = arg;
	change->record = calloc(1, type->size);
	return change;
}

static void finish(struct row_change *change, int error, const char *why)
{
	struct tailnet_result result = {.error = error, .why = error ? why : NULL};

	if (change->record)
		result.id = *(int64_t *)change->record;
	if (!error && change->secret[0])
		result.secret = change->secret;
	if (change->done)
		change->done(change->arg, &result);
	if (change->record)
		record_fini(change->type, change->record);
	free(change->record);
	secret_zero(change->secret, sizeof(change->secret));
	free(change);
}

static void finish_later(struct row_change *change, int error)
{
	struct tailnet *t = change->t;

	change->error = error;
	change->next = NULL;
	*t->rows_deferred_tail = change;
	t->rows_deferred_tail = &change->next;
	tailnet_wake(t);
}

void rows_run_deferred(struct tailnet *t)
{
	while (t->rows_deferred) {
		struct row_change *change = t->rows_deferred;

		t->rows_deferred = change->next;
		if (!t->rows_deferred)
			t->rows_deferred_tail = &t->rows_deferred;
		finish(change, change->error,
			change->err.msg[0] ? change->err.msg : strerror(-change->error));
	}
}

static void committed(void *arg, const struct store_result *result)
{
	struct row_change *change = arg;
	int64_t id;

	counter_settle(&change->use, !result->error);
	if (result->error == -EAGAIN && ++change->attempts < ATTEMPTS_MAX) {
		attempt(change);
		return;
	}
	if (result->error) {
		finish(change, result->error, result->why ? result->why : strerror(-result->error));
		return;
	}
	/* memory takes the content; the id stays for the completion */
	id = *(int64_t *)change->record;
	change->apply(change);
	*(int64_t *)change->record = id;
	finish(change, 0, NULL);
}

static void attempt(struct row_change *change)
{
	struct store_txn *txn;
	int rc = 0;

	change->use = (struct count_use){0};
	if (!change->record)
		rc = -ENOMEM;
	else if (change->wrong)
		rc = change->wrong;
	else if (change->check)
		rc = change->check(change, &change->err);
	txn = rc ? NULL : store_txn_new();
	if (!txn) {
		finish_later(change, rc ? rc : -ENOMEM);
		return;
	}
	if (change->kind == CHANGE_CREATE) {
		*(int64_t *)change->record =
			counter_use(change->ids, txn, change->ids->next + 1, &change->use);
		record_insert(txn, change->type, change->record);
	} else if (change->kind == CHANGE_EDIT) {
		record_update(txn, change->type, change->record, change->fields);
	} else {
		store_delete(txn, change->type->table, store_int(*(int64_t *)change->record));
	}
	if (change->add)
		change->add(change, txn);
	store_commit(txn, committed, change);
}

void row_submit(struct row_change *change)
{
	attempt(change);
}

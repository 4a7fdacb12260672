/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The store: what was declared, and the queue of transactions.
 *
 * Transactions that come while a write is under way wait and are written together by the next: the
 * more arrive, the more share one sync, and none waits for a timer. One job at a time, so that the
 * order of commits is that of the queue. Completions run on the loop in the same order.
 *
 * Runs on: the control loop, but for `write`, which is a job.
 */
#include "store.h"

#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <tailplane/jobs.h>
#include <tailplane/log.h>
#include <tailplane/loop.h>
#include <tailplane/state.h>

#include "arena.h"

#define SCHEMAS_MAX 32
#define BATCH_MAX 1024 /* transactions in one sync: a bound for how long the first one waits */

struct txn_queue {
	struct store_txn *head, **tail;
	unsigned n;
};

static struct {
	const struct store_backend *backend;
	char *path;
	bool open;
	const struct store_schema *schemas[SCHEMAS_MAX];
	unsigned n_schemas;
	struct store_info *tables;
	struct txn_queue waiting;
	struct store_txn *writing; /* the job's while it runs */
	struct txn_queue written;  /* their completions come */
	struct job job;
	int write_error;   /* the job's answer */
	char trouble[200]; /* "": the last write succeeded */
	uint64_t seq, commits, conflicts, failures, batches, write_ns;
} store = {
	.waiting = {.tail = &store.waiting.head},
	.written = {.tail = &store.written.head},
};

/* ---- what was declared ---- */

struct store_info *store_find(const char *table)
{
	struct store_info *info = store.tables;

	while (info && strcmp(info->def->name, table) != 0)
		info = info->next;
	return info;
}

struct store_info *store_next(const struct store_info *table)
{
	return table ? table->next : store.tables;
}

const struct store_schema *store_schema(const char *name)
{
	for (unsigned i = 0; i < store.n_schemas; i++) {
		if (strcmp(store.schemas[i]->name, name) == 0)
			return store.schemas[i];
	}
	return NULL;
}

void store_each_schema(void (*fn)(void *arg, const struct store_schema *schema), void *arg)
{
	for (unsigned i = 0; i < store.n_schemas; i++)
		fn(arg, store.schemas[i]);
}

static bool is_name(const char *name)
{
	return *name && strlen(name) < 60 &&
	       strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789_") == strlen(name);
}

/* Mistakes of a plugin's author, found at its first start. */
static int check_table(
	const struct store_schema *schema, const struct store_table *table, struct err *err)
{
	unsigned n = 0, since = 0;

	if (!is_name(table->name) || store_find(table->name))
		return err_set(err, -EINVAL, "schema %s: table \"%s\" is no name, or taken",
			schema->name, table->name);
	for (const struct store_column *c = table->columns; c->name; c++, n++) {
		bool is_key = c->flags & STORE_KEY;

		if (!is_name(c->name) || is_key != (n == 0) || c->since > schema->version ||
			c->since < since || /* rows grow at their end */
			(is_key && (c->type == STORE_BLOB || c->flags != STORE_KEY)))
			return err_set(err, -EINVAL, "schema %s: column %s.%s is not well declared",
				schema->name, table->name, c->name);
		since = c->since;
	}
	return n ? 0 : err_set(err, -EINVAL, "table %s has no columns", table->name);
}

static void add_table(const struct store_schema *schema, const struct store_table *table)
{
	struct store_info *info = calloc(1, sizeof(*info));

	if (!info)
		abort();
	info->def = table;
	info->schema = schema;
	while (table->columns[info->n_columns].name)
		info->n_columns++;
	info->next = store.tables;
	store.tables = info;
}

static bool is_declared(const struct store_schema *schema)
{
	for (unsigned i = 0; i < store.n_schemas; i++) {
		if (store.schemas[i] == schema)
			return true;
	}
	return false;
}

static int add_schema(const struct store_schema *schema, struct err *err)
{
	if (!is_name(schema->name) || !schema->version || store.n_schemas == SCHEMAS_MAX)
		return err_set(err, -EINVAL, "schema %s is not well declared", schema->name);
	for (const struct store_table *table = schema->tables; table->name; table++) {
		int rc = check_table(schema, table, err);

		if (rc)
			return rc;
		add_table(schema, table);
	}
	store.schemas[store.n_schemas++] = schema;
	return 0;
}

static int open_once(struct err *err)
{
	int rc = store.open ? 0 : store.backend->open(store.path, err);

	if (!rc)
		store.open = true;
	return rc;
}

int store_declare(const struct store_schema *schema, struct err *err)
{
	int rc;

	store_drain();
	rc = open_once(err);
	if (!rc && !is_declared(schema))
		rc = add_schema(schema, err);
	return rc ? rc : store.backend->declare(schema, err);
}

int store_load(const char *table, store_row_fn row, void *arg, struct err *err)
{
	struct store_info *info = store_find(table);

	store_drain();
	return info ? store.backend->load(info, row, arg, err)
		    : err_set(err, -ENOENT, "no table %s was declared", table);
}

int store_counter(const char *counter, int64_t *value, struct err *err)
{
	int rc;

	store_drain();
	rc = open_once(err);
	return rc ? rc : store.backend->counter(counter, value, err);
}

/* ---- commits ---- */

static void write_batch(struct job *job)
{
	uint64_t since = core_now();

	(void)job;
	store.write_error = store.backend->write(store.writing);
	store.write_ns += core_now() - since;
}

static void note_trouble(const struct store_txn *first)
{
	if (!store.write_error && *store.trouble)
		log_info("store: writes succeed again");
	else if (store.write_error && strcmp(store.trouble, first->why) != 0)
		log_warnx("store: %s; nothing is lost that was acknowledged, what comes is refused "
			  "until writes succeed",
			first->why);
	snprintf(store.trouble, sizeof(store.trouble), "%s", store.write_error ? first->why : "");
}

static void complete(struct store_txn *txn)
{
	if (!txn->result.error) {
		txn->result.seq = ++store.seq;
		store.commits++;
	} else if (txn->result.error == -EAGAIN) {
		store.conflicts++;
	} else {
		store.failures++;
	}
	if (txn->done)
		txn->done(txn->arg, &txn->result);
	store_txn_free(txn);
}

static void write_next(void);

static void push(struct txn_queue *queue, struct store_txn *txn)
{
	txn->next = NULL;
	*queue->tail = txn;
	queue->tail = &txn->next;
	queue->n++;
}

static struct store_txn *pop(struct txn_queue *queue)
{
	struct store_txn *txn = queue->head;

	if (!txn)
		return NULL;
	queue->head = txn->next;
	if (!queue->head)
		queue->tail = &queue->head;
	queue->n--;
	return txn;
}

/* The next batch is written while this one's completions run. One of those may drain, and so come
 * here again: the queue keeps the order. */
static void batch_done(struct job *job)
{
	struct store_txn *txn = store.writing, *next;

	(void)job;
	note_trouble(txn);
	store.batches++;
	store.writing = NULL;
	for (; txn; txn = next) {
		next = txn->next;
		push(&store.written, txn);
	}
	write_next();
	while ((txn = pop(&store.written)))
		complete(txn);
}

static void write_next(void)
{
	struct store_txn *txn, **last = &store.writing;

	if (store.writing || !store.waiting.head)
		return;
	for (unsigned n = 0; n < BATCH_MAX && (txn = pop(&store.waiting)); n++) {
		*last = txn;
		last = &txn->next;
	}
	*last = NULL;
	store.job = (struct job){.run = write_batch, .done = batch_done, .name = "store write"};
	job_submit(&store.job);
}

void store_commit(struct store_txn *txn, store_done_fn done, void *arg)
{
	txn->done = done;
	txn->arg = arg;
	push(&store.waiting, txn);
	write_next();
}

void store_drain(void)
{
	while (store.writing || store.waiting.head)
		jobs_drain();
}

bool store_healthy(const char **why)
{
	if (why)
		*why = *store.trouble ? store.trouble : NULL;
	return !*store.trouble;
}

/* ---- life ---- */

void store_configure(const struct core_conf *conf)
{
	store.backend = &store_sqlite;
	free(store.path);
	store.path = state_path(conf->database.sqlite.path);
}

void store_stop(void)
{
	store_drain();
	if (store.open)
		store.backend->close();
	store.open = false;
	for (struct store_info *next; store.tables; store.tables = next) {
		next = store.tables->next;
		free(store.tables);
	}
	store.n_schemas = 0;
	free(store.path);
	store.path = NULL;
}

const struct store_backend *store_backend(void)
{
	return store.backend;
}

const char *store_path(void)
{
	return store.open ? store.path : NULL;
}

int store_replace(int (*replace)(void *arg, struct err *err), void *arg, struct err *err)
{
	int rc;

	store_drain();
	store.backend->close();
	store.open = false;
	rc = replace(arg, err);
	open_once(err);
	return rc;
}

void store_status(json_t *status)
{
	if (store.open)
		json_object_set_new(status, "store",
			json_pack("{s:s, s:s, s:s, s:I, s:I}", "kind", store.backend->name, "path",
				store.path, "state", *store.trouble ? store.trouble : "up",
				"commits", (json_int_t)store.commits, "waiting",
				(json_int_t)store.waiting.n));
}

void store_collect(struct metric_sink *sink)
{
	static const struct metric commits = {"tailplane_store_commits_total", METRIC_COUNTER,
		"Transactions that the store wrote."};
	static const struct metric conflicts = {"tailplane_store_conflicts_total", METRIC_COUNTER,
		"Transactions whose conditions did not hold."};
	static const struct metric failures = {"tailplane_store_failures_total", METRIC_COUNTER,
		"Transactions that could not be written."};
	static const struct metric batches = {"tailplane_store_syncs_total", METRIC_COUNTER,
		"Writes to disk, each of all transactions that waited."};
	static const struct metric seconds = {"tailplane_store_write_seconds_total", METRIC_COUNTER,
		"Time spent writing, with waiting for the disk."};

	if (!store.open)
		return;
	metric_add(sink, &commits, NULL, 0, (double)store.commits);
	metric_add(sink, &conflicts, NULL, 0, (double)store.conflicts);
	metric_add(sink, &failures, NULL, 0, (double)store.failures);
	metric_add(sink, &batches, NULL, 0, (double)store.batches);
	metric_add(sink, &seconds, NULL, 0, (double)store.write_ns / 1e9);
}

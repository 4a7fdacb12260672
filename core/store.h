/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

#include <jansson.h>
#include <tailplane/metrics.h>
#include <tailplane/store.h>

#include "core_conf.h"
#include "store_txn.h"

/*
 * The store between its door and its backend. The backend is called by one thread at a time: on the
 * control loop while no commit is under way (open, declare, load, close), else in a job (write).
 */

/* A table that was declared. */
struct store_info {
	struct store_info *next;
	const struct store_table *def;
	const struct store_schema *schema;
	unsigned n_columns;
	void *backend; /* its statements */
};

struct store_file;
struct store_unpack;

struct store_backend {
	const char *name;
	int (*open)(const char *path, struct err *err);
	void (*close)(void);
	/* All tables of the schema are known to store_find by now. */
	int (*declare)(const struct store_schema *schema, struct err *err);
	int (*load)(struct store_info *table, store_row_fn row, void *arg, struct err *err);
	int (*counter)(const char *name, int64_t *value, struct err *err);
	/* Writes the chain in one go and fills in `result` of each. 0, or why nothing could be
	 * written, which then is in each result too. */
	int (*write)(struct store_txn *first);
	/* In a job, beside commits: a copy as of now into a new file, with files of the state
	 * directory in it. */
	int (*pack)(
		const char *from, const char *to, const struct store_file *files, struct err *err);
	/* In a job: makes of a copy what `open` takes. Tells of its schemas and files, takes the
	 * files out of it and makes its counters jump. */
	int (*unpack)(const char *path, const struct store_unpack *to, struct err *err);
};

/* A file that goes with the tables; name NULL ends a list. */
struct store_file {
	const char *name;
	const void *bytes;
	size_t len;
};

struct store_unpack {
	int (*schema)(void *arg, const char *name, unsigned version, struct err *err);
	int (*file)(void *arg, const struct store_file *file, struct err *err);
	void *arg;
};

extern const struct store_backend store_sqlite;

/* Says where; opened when the first plugin declares tables. */
void store_configure(const struct core_conf *conf);
void store_stop(void);
const char *store_path(void);                    /* NULL: not open */
const struct store_backend *store_backend(void); /* while it is open */
/* Writes what waits, calls `replace` with the file closed, and opens what is there then. */
int store_replace(int (*replace)(void *arg, struct err *err), void *arg, struct err *err);
const struct store_schema *store_schema(const char *name); /* that was declared, or NULL */
struct store_info *store_find(const char *table);
/* All tables: the one behind `table`, of NULL the first. */
struct store_info *store_next(const struct store_info *table);
/* Each schema that was declared. */
void store_each_schema(void (*fn)(void *arg, const struct store_schema *schema), void *arg);
void store_collect(struct metric_sink *sink);
void store_status(json_t *status);

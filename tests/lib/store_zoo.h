/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

/* A store of its own in a folder of its own, with a schema; after cmocka. */
#include <errno.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "job_pool.h"
#include "state_dirs.h"
#include "store.h"

static char folder[64];

static const struct store_column pets_1[] = {
	{"id", STORE_INT, STORE_KEY},
	{"name", STORE_TEXT, STORE_UNIQUE},
	{"chip", STORE_BLOB, STORE_NULLABLE | STORE_UNIQUE},
	{NULL},
};
static const struct store_table tables_1[] = {{"pets", pets_1}, {NULL}};
static const struct store_schema zoo_1 = {.name = "zoo", .version = 1, .tables = tables_1};

static inline int remove_entry(const char *path, const struct stat *st, int type, struct FTW *at)
{
	(void)st, (void)type, (void)at;
	return remove(path);
}

static inline void configure(void)
{
	static char path[] = "db.sqlite";
	struct core_conf conf = {.database.sqlite.path = path};

	store_configure(&conf);
}

static inline int start(void **state)
{
	struct err err = {0};
	char state_dir[80], runtime_dir[80];

	(void)state;
	strcpy(folder, "/tmp/tailplane-store-XXXXXX");
	assert_non_null(mkdtemp(folder));
	snprintf(state_dir, sizeof(state_dir), "%s/state", folder);
	snprintf(runtime_dir, sizeof(runtime_dir), "%s/run", folder);
	state_dirs_set(state_dir, runtime_dir, (uid_t)-1, (gid_t)-1);
	assert_int_equal(state_dirs_make(&err), 0);
	configure();
	return 0;
}

static inline int stop(void **state)
{
	(void)state;
	store_stop();
	return nftw(folder, remove_entry, 8, FTW_DEPTH | FTW_PHYS);
}

static inline void again(const struct store_schema *schema)
{
	struct err err = {0};

	store_stop();
	configure();
	if (store_declare(schema, &err) != 0)
		fail_msg("%s", err.msg);
}

static inline const char *db_path(void)
{
	static char path[100];

	snprintf(path, sizeof(path), "%s/state/db.sqlite", folder);
	return path;
}

/* What a completion said, in the order in which they came. */
struct outcome {
	int error, place;
	uint64_t seq;
	char why[100];
};
static int places;

static inline void note(void *arg, const struct store_result *result)
{
	struct outcome *outcome = arg;

	outcome->error = result->error;
	outcome->seq = result->seq;
	outcome->place = ++places;
	snprintf(outcome->why, sizeof(outcome->why), "%s", result->why ? result->why : "");
}

static inline struct outcome commit(struct store_txn *txn)
{
	struct outcome outcome = {.error = 1};

	store_commit(txn, note, &outcome);
	assert_int_equal(outcome.error, 1); /* never before store_commit returned */
	store_drain();
	return outcome;
}

static inline struct store_txn *pet(int64_t id, const char *name)
{
	struct store_txn *txn = store_txn_new();

	store_insert(
		txn, "pets", (struct store_value[]){store_int(id), store_text(name), store_null()});
	return txn;
}

static inline int list_row(void *arg, const struct store_value *values, struct err *err)
{
	char *out = arg;

	(void)err;
	sprintf(out + strlen(out), "%lld:%.*s ", (long long)values[0].number, (int)values[1].len,
		(const char *)values[1].bytes);
	return 0;
}

static inline const char *pets(void)
{
	static char out[65536];
	struct err err = {0};

	*out = 0;
	assert_int_equal(store_load("pets", list_row, out, &err), 0);
	return out;
}

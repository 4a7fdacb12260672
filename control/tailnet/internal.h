/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

/* What the files of this folder share. Control loop. */
#include "change.h"
#include "record.h"
#include "tailnet.h"

extern const struct record_type users_type, nodes_type, preauths_type, apikeys_type;
int schema_declare(const char *const *files, struct err *err);
void schema_free(void);

/* Memory follows the store. Each takes the content of its record: what is left is zeroed. */
struct user *user_add(struct tailnet *t, struct user_data *d);
struct preauth *preauth_add(struct tailnet *t, struct preauth_data *d);
struct apikey *apikey_add(struct tailnet *t, struct apikey_data *d);
struct node *node_add(struct tailnet *t, struct node_data *d);
/* Takes the fields of the set from `d`, and tells the listeners. */
void node_take(struct tailnet *t, struct node *node, struct node_data *d, uint64_t fields);
void user_free(struct tailnet *t, struct user *user);
void preauth_free(struct tailnet *t, struct preauth *key);
void apikey_free(struct tailnet *t, struct apikey *key);
void node_free(struct tailnet *t, struct node *node); /* tells the listeners */

void tailnet_tell(struct tailnet *t, struct node *node, unsigned what);
void tailnet_tell_user(struct tailnet *t, struct user *user);
void tailnet_wake(struct tailnet *t);
/* JSON array of prefixes, as kept: an exit route of one family brings both. Heap. */
char *routes_json(const struct net_prefix *routes, size_t n);
/* JSON array of what it is primary for. Heap. */
char *routes_served_json(const struct node *node);
int routes_auto_approve(struct change *change, const struct node *node, const char *hostinfo);
/* It was loaded, made, or its expiry or approval changed. What else changed by that. */
unsigned presence_update(struct tailnet *t, struct node *node);
void presence_run(struct tailnet *t);

uint64_t hash_text(const char *text);
uint64_t hash_id(int64_t id);
uint64_t hash_key(const struct public_key *key);
uint64_t hash_addr(const struct net_addr *addr);

/* JSON arrays of strings, as kept: of `n` texts; heap. */
char *texts_json(const char *const *texts, size_t n);

void labels_fini(struct tailnet *t);
void change_run_deferred(struct tailnet *t);

/*
 * A change of one row that is no node's: as struct change, without lane.
 */
struct row_change {
	struct tailnet *t;
	const struct record_type *type;
	enum change_kind kind;
	void *record;        /* heap; with its content. Of a removal only the id counts */
	uint64_t fields;     /* EDIT */
	struct counter *ids; /* CREATE */
	/* Is it still right? Before each attempt; NULL: always. */
	int (*check)(struct row_change *change, struct err *err);
	/* More for the transaction; NULL: nothing. */
	void (*add)(struct row_change *change, struct store_txn *txn);
	/* Memory follows. */
	void (*apply)(struct row_change *change);
	tailnet_done_fn done;
	void *arg;
	char secret[AUTHKEY_TEXT_SIZE];
	struct count_use use;
	unsigned attempts;
	int wrong; /* what was asked for cannot be: -errno, with the reason in err */
	int error;
	struct err err;
	struct row_change *next;
};
void tailnet_no_memory(tailnet_done_fn done, void *arg);
/* NULL record (no memory) becomes an error. Takes the struct, which is heap. */
void row_submit(struct row_change *change);
struct row_change *row_change_new(struct tailnet *t, const struct record_type *type,
	enum change_kind kind, tailnet_done_fn done, void *arg);
void rows_run_deferred(struct tailnet *t);
/* keys.c: revoked ones leave when they were kept long enough. */
void preauths_sweep(struct tailnet *t);

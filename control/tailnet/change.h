/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

/*
 * A change of one machine's nodes, from decision to memory: it waits for the machine's lane, its
 * `prepare` looks at what is committed and says what shall be, the store writes, memory follows.
 * When somebody else was faster (a conflict) it is prepared again. Control loop.
 */
#include "tailnet.h"

enum change_kind { CHANGE_NOTHING, CHANGE_EDIT, CHANGE_CREATE, CHANGE_REMOVE };

/* The next value of a counter, in a transaction that is under way. */
struct count_use {
	struct counter *counter;
	unsigned epoch;
	int64_t to;
};
/*
 * Transactions with counters may be under way in any number: each counts on from the last, and the
 * store takes them in order. When one fails all behind it fail too and are prepared again.
 */
int64_t counter_use(
	struct counter *counter, struct store_txn *txn, int64_t to, struct count_use *use);
void counter_settle(const struct count_use *use, bool written);

struct reservation {
	uint64_t hash;         /* 0: none */
	char text[LABEL_SIZE]; /* a label, or an address as text */
};

struct change {
	/* By the caller. `prepare` answers 0 to go on, or -errno with the reason to stop. */
	int (*prepare)(struct change *change, struct err *err);
	void (*done)(struct change *change, int error, const char *why); /* frees it, if need be */

	/* Valid from prepare on. */
	struct tailnet *t;
	enum change_kind kind;
	int64_t node;          /* its id; of a new one too */
	struct node_data data; /* what it shall be */
	struct store_txn *txn; /* for further changes and conditions; NULL until one is needed */
	int64_t spends;        /* the pre-auth key that this uses up (or uses), or 0 */
	unsigned attempts;

	struct lane_task task;
	uint64_t fields;
	struct count_use counts[3];
	unsigned n_counts;
	struct reservation reserved[3];
	unsigned n_reserved;
	struct change *next_deferred;
	int error;
	struct err err;
};

/* Takes `change`, which stays valid until done. `done` never runs before this returns. */
void change_submit(struct tailnet *t, const struct public_key *machine, struct change *change);
/* The same for a node by its id; -ENOENT comes through `done`. */
void change_submit_node(struct tailnet *t, int64_t id, struct change *change);

/* In prepare, at most one of these. 0 or -ENOMEM. */
int change_edit(struct change *change, const struct node *node);
int change_create(struct change *change);
void change_remove(struct change *change, const struct node *node);

/* Takes the next value of a counter in this transaction. */
int64_t change_count(struct change *change, struct counter *counter, int64_t to);
struct store_txn *change_txn(struct change *change);
/* Keeps a label or an address for this transaction. False: taken. */
bool change_reserve(struct change *change, const char *text);
bool label_is_free(const struct tailnet *t, const char *label);
bool address_is_free(const struct tailnet *t, const struct net_addr *addr);
/* One that no node may have: clients use it, or its range, themselves. */
bool address_is_kept_free(const struct net_addr *addr);
/* Sets data.label to one that is free, made of `label`. */
int change_label(struct change *change, const char *label);
/* Sets what data lacks of the pools' addresses. -ENOSPC with the reason. */
int change_addresses(struct change *change, struct err *err);
/* Uses a pre-auth key: a one-off key that somebody else used in the meantime is a conflict. */
void change_spend(struct change *change, const struct preauth *key);

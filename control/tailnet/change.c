/* SPDX-License-Identifier: BSD-3-Clause */
/* Control loop. */
#include "change.h"

#include <errno.h>
#include <stddef.h>
#include <string.h>

#include "internal.h"

/* A conflict comes from a counter that ran ahead of a failure, or from a second server; many in a
 * row mean that something else is wrong. */
#define ATTEMPTS_MAX 32
#define ASKS_AGAIN_NS 60000000000ull /* twice the longest that a client waits between tries */

static void attempt(struct change *change);

/* ---- counters ------------------------------------------------------------------------------ */

int64_t counter_use(
	struct counter *counter, struct store_txn *txn, int64_t to, struct count_use *use)
{
	store_count(txn, counter->name, counter->next, to);
	*use = (struct count_use){counter, counter->epoch, to};
	counter->next = to;
	return to;
}

void counter_settle(const struct count_use *use, bool written)
{
	struct counter *counter = use->counter;

	if (!counter)
		return;
	if (written) {
		counter->committed = use->to;
	} else if (use->epoch == counter->epoch) {
		/* those under way behind it have counted on from what was not written */
		counter->epoch++;
		counter->next = counter->committed;
	}
}

int64_t change_count(struct change *change, struct counter *counter, int64_t to)
{
	return counter_use(counter, change_txn(change), to, &change->counts[change->n_counts++]);
}

struct store_txn *change_txn(struct change *change)
{
	if (!change->txn)
		change->txn = store_txn_new();
	return change->txn;
}

/* ---- reservations -------------------------------------------------------------------------- */

static bool reserved(const struct tailnet *t, const char *text, uint64_t hash)
{
	const struct reservation *r;

	for (size_t at = INDEX_FIRST; (r = index_next(&t->reserved, hash, &at));)
		if (!strcmp(r->text, text))
			return true;
	return false;
}

bool label_is_free(const struct tailnet *t, const char *label)
{
	return !node_by_label(t, label) && !reserved(t, label, hash_text(label));
}

bool address_is_free(const struct tailnet *t, const struct net_addr *addr)
{
	char text[NET_ADDR_STRLEN];

	net_addr_format(addr, text);
	return !node_by_addr(t, addr) && !reserved(t, text, hash_text(text));
}

bool change_reserve(struct change *change, const char *text)
{
	struct reservation *r = &change->reserved[change->n_reserved];
	uint64_t hash = hash_text(text);

	if (reserved(change->t, text, hash))
		return false;
	*r = (struct reservation){.hash = hash};
	memcpy(r->text, text, strlen(text) + 1);
	if (index_add(&change->t->reserved, hash, r))
		return false;
	change->n_reserved++;
	return true;
}

/* ---- what prepare says --------------------------------------------------------------------- */

int change_edit(struct change *change, const struct node *node)
{
	int rc = record_copy(&nodes_type, &change->data, &node->d);

	if (rc)
		return rc;
	change->kind = CHANGE_EDIT;
	change->node = node->d.id;
	return 0;
}

int change_create(struct change *change)
{
	struct tailnet *t = change->t;

	if (!change_txn(change))
		return -ENOMEM;
	change->kind = CHANGE_CREATE;
	change->data = (struct node_data){.created = tailnet_wall(t)};
	change->data.id = change_count(change, &t->node_ids, t->node_ids.next + 1);
	change->node = change->data.id;
	return 0;
}

void change_remove(struct change *change, const struct node *node)
{
	change->kind = CHANGE_REMOVE;
	change->node = node->d.id;
}

void change_spend(struct change *change, const struct preauth *key)
{
	struct store_value id = store_int(key->d.id);

	change->spends = key->d.id;
	/* a one-off key can be used by one of two at once; a revoked key by none */
	store_expect(change_txn(change), preauths_type.table, id, "revoked", store_null());
	if (!key->d.reusable && !key->d.used)
		store_expect(change_txn(change), preauths_type.table, id, "used", store_int(0));
	if (!key->d.used)
		store_update(change_txn(change), preauths_type.table, id, "used", store_int(1));
}

/* ---- the way of a change ------------------------------------------------------------------- */

static void attempt_clear(struct change *change)
{
	for (unsigned i = 0; i < change->n_reserved; i++)
		index_remove(&change->t->reserved, change->reserved[i].hash, &change->reserved[i]);
	record_fini(&nodes_type, &change->data);
	change->n_reserved = change->n_counts = 0;
	change->kind = CHANGE_NOTHING;
	change->fields = 0;
	change->spends = 0;
	change->txn = NULL;
}

static void finish(struct change *change, int error, const char *why)
{
	attempt_clear(change);
	if (change->task.lane)
		lane_leave(&change->t->lanes, &change->task);
	change->done(change, error, error ? why : NULL);
}

/* Never before the call that submitted it returns. */
static void finish_later(struct change *change, int error)
{
	struct tailnet *t = change->t;

	change->error = error;
	change->next_deferred = NULL;
	*t->deferred_tail = change;
	t->deferred_tail = &change->next_deferred;
	tailnet_wake(t);
}

void change_run_deferred(struct tailnet *t)
{
	while (t->deferred) {
		struct change *change = t->deferred;

		t->deferred = change->next_deferred;
		if (!t->deferred)
			t->deferred_tail = &t->deferred;
		finish(change, change->error,
			change->err.msg[0] ? change->err.msg : strerror(-change->error));
	}
}

/* 0 or -ENOMEM: the write happened, memory could not follow. */
static int apply(struct change *change)
{
	struct tailnet *t = change->t;
	struct node *node = node_by_id(t, change->node);
	struct preauth *key = change->spends ? preauth_by_id(t, change->spends) : NULL;

	if (key)
		key->d.used = true;
	if (change->kind == CHANGE_EDIT && node)
		node_take(t, node, &change->data, change->fields);
	else if (change->kind == CHANGE_CREATE && !node_add(t, &change->data))
		return -ENOMEM;
	else if (change->kind == CHANGE_REMOVE && node)
		node_free(t, node);
	node = node_by_id(t, change->node);
	if (key && node) {
		node->joined_with = key->d.id;
		node->joined_until = tailnet_clock(t) + ASKS_AGAIN_NS;
	}
	return 0;
}

static void committed(void *arg, const struct store_result *result)
{
	struct change *change = arg;
	int rc = result->error;

	for (unsigned i = 0; i < change->n_counts; i++)
		counter_settle(&change->counts[i], !rc);
	if (rc == -EAGAIN && ++change->attempts < ATTEMPTS_MAX) {
		attempt_clear(change);
		attempt(change);
		return;
	}
	if (!rc)
		rc = apply(change);
	finish(change, rc, result->why ? result->why : strerror(-rc));
}

static int write_node(struct change *change)
{
	struct store_value id = store_int(change->node);
	const struct node *node;

	switch (change->kind) {
	case CHANGE_NOTHING:
		return 0;
	case CHANGE_EDIT:
		node = node_by_id(change->t, change->node);
		if (!node)
			return -ENOENT;
		change->fields = record_differ(&nodes_type, &node->d, &change->data);
		if (change->fields && !change_txn(change))
			return -ENOMEM;
		record_update(change->txn, &nodes_type, &change->data, change->fields);
		break;
	case CHANGE_CREATE:
		record_insert(change->txn, &nodes_type, &change->data);
		break;
	case CHANGE_REMOVE:
		if (!change_txn(change))
			return -ENOMEM;
		store_delete(change->txn, nodes_type.table, id);
		return 0;
	}
	return 0;
}

/* A node that gets a user: the user must be there when it is written. */
static void join_user(struct change *change)
{
	const struct node *node = node_by_id(change->t, change->node);
	int64_t user = change->data.user;

	if (change->kind == CHANGE_REMOVE || !user || (node && node->d.user == user))
		return;
	if (change_txn(change))
		store_expect(change->txn, users_type.table, store_int(user), "id", store_int(user));
}

static void attempt(struct change *change)
{
	int rc;

	change->err = (struct err){0};
	rc = change->prepare(change, &change->err);
	if (!rc) {
		join_user(change);
		rc = write_node(change);
	}
	if (rc || !change->txn) {
		for (unsigned i = 0; i < change->n_counts; i++)
			counter_settle(&change->counts[i], false);
		store_txn_free(change->txn);
		change->txn = NULL;
		finish_later(change, rc);
		return;
	}
	store_commit(change->txn, committed, change);
	change->txn = NULL;
}

static void turn(struct lane_task *task)
{
	attempt((struct change *)((char *)task - offsetof(struct change, task)));
}

void change_submit(struct tailnet *t, const struct public_key *machine, struct change *change)
{
	change->t = t;
	change->attempts = 0;
	change->kind = CHANGE_NOTHING;
	change->n_counts = change->n_reserved = 0;
	change->spends = 0;
	change->txn = NULL;
	change->err = (struct err){0};
	change->task.run = turn;
	change->task.lane = NULL;
	if (lane_enter(&t->lanes, machine, &change->task))
		finish_later(change, -ENOMEM);
}

void change_submit_node(struct tailnet *t, int64_t id, struct change *change)
{
	static const struct public_key nobody;
	const struct node *node = node_by_id(t, id);

	/* without a node any lane will do: prepare finds that it is not there */
	change->node = id;
	change_submit(t, node ? &node->d.machine : &nobody, change);
}

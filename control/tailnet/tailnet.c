/* SPDX-License-Identifier: BSD-3-Clause */
/* Life of the state, clocks, listeners and look-ups. Control loop. */
#include "tailnet.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "internal.h"
#include "pending.h"
#include "policy.h"
#include "routes.h"

/* ---- life ---------------------------------------------------------------------------------- */

static int load_user(void *arg, const struct store_value *values, struct err *err)
{
	struct user_data d;
	int rc = record_load(&users_type, &d, values, err);

	if (rc)
		return rc;
	return user_add(arg, &d) ? 0 : -ENOMEM;
}

static int load_preauth(void *arg, const struct store_value *values, struct err *err)
{
	struct preauth_data d;
	int rc = record_load(&preauths_type, &d, values, err);

	if (rc)
		return rc;
	return preauth_add(arg, &d) ? 0 : -ENOMEM;
}

static int load_apikey(void *arg, const struct store_value *values, struct err *err)
{
	struct apikey_data d;
	int rc = record_load(&apikeys_type, &d, values, err);

	if (rc)
		return rc;
	return apikey_add(arg, &d) ? 0 : -ENOMEM;
}

static int load_node(void *arg, const struct store_value *values, struct err *err)
{
	struct node_data d;
	int rc = record_load(&nodes_type, &d, values, err);

	if (rc)
		return rc;
	return node_add(arg, &d) ? 0 : -ENOMEM;
}

static int load_counter(struct counter *counter, const char *name, struct err *err)
{
	int rc;

	*counter = (struct counter){.name = name};
	rc = store_counter(name, &counter->committed, err);
	counter->next = counter->committed;
	return rc;
}

static int load(struct tailnet *t, struct err *err)
{
	static const struct {
		const struct record_type *type;
		store_row_fn row;
	} tables[] = {
		{&users_type, load_user},
		{&preauths_type, load_preauth},
		{&apikeys_type, load_apikey},
		{&nodes_type, load_node},
	};
	const struct {
		struct counter *counter;
		const char *name;
	} counters[] = {
		{&t->user_ids, "user_ids"},
		{&t->node_ids, "node_ids"},
		{&t->preauth_ids, "preauth_key_ids"},
		{&t->apikey_ids, "api_key_ids"},
		{&t->v4_offsets, "ipv4_offsets"},
		{&t->v6_offsets, "ipv6_offsets"},
	};
	int rc = 0;

	for (size_t i = 0; !rc && i < sizeof(tables) / sizeof(*tables); i++)
		rc = store_load(tables[i].type->table, tables[i].row, t, err);
	for (size_t i = 0; !rc && i < sizeof(counters) / sizeof(*counters); i++)
		rc = load_counter(counters[i].counter, counters[i].name, err);
	return rc;
}

int tailnet_open(struct tailnet *t, const struct tailnet_conf *conf, struct err *err)
{
	int rc;

	*t = (struct tailnet){.conf = *conf, .policy = &policy_allow_all};
	t->pending_tail = &t->pending_oldest;
	t->deferred_tail = &t->deferred;
	t->rows_deferred_tail = &t->rows_deferred;
	rc = schema_declare(conf->files, err);
	if (!rc)
		rc = load(t, err);
	t->sweep_at = 1;
	if (rc)
		tailnet_close(t);
	return rc;
}

void tailnet_configure(struct tailnet *t, const struct tailnet_conf *conf)
{
	t->conf = *conf;
	t->sweep_at = 1;
	tailnet_wake(t);
}

static void free_all(struct tailnet *t)
{
	struct node **nodes;
	size_t n, at;
	void *item;

	nodes = nodes_list(t, &n);
	for (size_t i = 0; i < n; i++)
		node_free(t, nodes[i]);
	free(nodes);
	while (at = INDEX_FIRST, (item = index_walk(&t->users_by_id, &at)))
		user_free(t, item);
	while (at = INDEX_FIRST, (item = index_walk(&t->preauths_by_id, &at)))
		preauth_free(t, item);
	while (at = INDEX_FIRST, (item = index_walk(&t->apikeys_by_id, &at)))
		apikey_free(t, item);
}

void tailnet_stopping(struct tailnet *t)
{
	t->stopping = true;
}

void tailnet_close(struct tailnet *t)
{
	struct index *indexes[] = {&t->users_by_id, &t->users_by_name, &t->nodes_by_id,
		&t->nodes_by_key, &t->nodes_by_machine, &t->nodes_by_label, &t->nodes_by_addr,
		&t->preauths_by_id, &t->preauths_by_prefix, &t->apikeys_by_id,
		&t->apikeys_by_prefix, &t->reserved};

	t->stopping = true;
	rows_run_deferred(t);
	change_run_deferred(t);
	t->listeners = NULL;
	free_all(t);
	pending_fini(t);
	labels_fini(t);
	routes_fini(t);
	for (size_t i = 0; i < sizeof(indexes) / sizeof(*indexes); i++)
		index_fini(indexes[i]);
	lanes_fini(&t->lanes);
	due_fini(&t->due);
	schema_free();
}

/* ---- clocks, listeners --------------------------------------------------------------------- */

static uint64_t ns_of(clockid_t clock)
{
	struct timespec ts;

	clock_gettime(clock, &ts);
	return (uint64_t)ts.tv_sec * 1000000000 + (uint64_t)ts.tv_nsec;
}

int64_t tailnet_wall(const struct tailnet *t)
{
	return t->conf.wall ? t->conf.wall() : (int64_t)ns_of(CLOCK_REALTIME);
}

uint64_t tailnet_clock(const struct tailnet *t)
{
	return t->conf.clock ? t->conf.clock() : ns_of(CLOCK_MONOTONIC);
}

void tailnet_wake(struct tailnet *t)
{
	if (t->conf.wake)
		t->conf.wake(t->conf.wake_arg);
}

/* Of two times of which 0 is none. */
static uint64_t sooner(uint64_t a, uint64_t b)
{
	return !a || (b && b < a) ? b : a;
}

uint64_t tailnet_due(const struct tailnet *t)
{
	const struct due *first = due_first(&t->due);
	uint64_t due = sooner(pending_due(t), t->sweep_at);

	if (t->deferred || t->rows_deferred)
		return 1;
	return sooner(due, first ? first->at : 0);
}

void tailnet_run(struct tailnet *t)
{
	rows_run_deferred(t);
	change_run_deferred(t);
	presence_run(t);
	pending_expire(t);
	preauths_sweep(t);
}

void tailnet_listen(struct tailnet *t, struct tailnet_listener *listener)
{
	listener->next = t->listeners;
	t->listeners = listener;
}

void tailnet_unlisten(struct tailnet *t, struct tailnet_listener *listener)
{
	for (struct tailnet_listener **at = &t->listeners; *at; at = &(*at)->next)
		if (*at == listener) {
			*at = listener->next;
			return;
		}
}

void tailnet_tell(struct tailnet *t, struct node *node, unsigned what)
{
	for (struct tailnet_listener *l = t->listeners; what && l; l = l->next)
		if (l->node_changed)
			l->node_changed(l->arg, node, what);
}

void tailnet_tell_user(struct tailnet *t, struct user *user)
{
	for (struct tailnet_listener *l = t->listeners; l; l = l->next)
		if (l->user_changed)
			l->user_changed(l->arg, user);
}

/* ---- look-ups ------------------------------------------------------------------------------ */

uint64_t hash_text(const char *text)
{
	return index_hash(text, strlen(text));
}

uint64_t hash_id(int64_t id)
{
	return index_hash(&id, sizeof(id));
}

uint64_t hash_key(const struct public_key *key)
{
	return index_hash(key->bytes, sizeof(key->bytes));
}

uint64_t hash_addr(const struct net_addr *addr)
{
	return index_hash(addr->bytes, addr->family == AF_INET ? 4 : 16);
}

struct user *user_by_id(const struct tailnet *t, int64_t id)
{
	struct user *user;

	for (size_t at = INDEX_FIRST; (user = index_next(&t->users_by_id, hash_id(id), &at));)
		if (user->d.id == id)
			return user;
	return NULL;
}

struct user *user_by_name(const struct tailnet *t, const char *name)
{
	struct user *user;

	for (size_t at = INDEX_FIRST; (user = index_next(&t->users_by_name, hash_text(name), &at));)
		if (!strcmp(user->d.name, name))
			return user;
	return NULL;
}

/* The number that is the whole word, or 0. */
static int64_t word_id(const char *word)
{
	char *end;
	long long id;

	if (*word < '1' || *word > '9')
		return 0;
	errno = 0;
	id = strtoll(word, &end, 10);
	return *end || errno ? 0 : id;
}

struct user *user_by_word(const struct tailnet *t, const char *word)
{
	struct user *user = user_by_id(t, word_id(word));

	return user ? user : user_by_name(t, word);
}

struct node *node_by_id(const struct tailnet *t, int64_t id)
{
	struct node *node;

	for (size_t at = INDEX_FIRST; (node = index_next(&t->nodes_by_id, hash_id(id), &at));)
		if (node->d.id == id)
			return node;
	return NULL;
}

struct node *node_by_key(const struct tailnet *t, const struct public_key *key)
{
	struct node *node;

	for (size_t at = INDEX_FIRST; (node = index_next(&t->nodes_by_key, hash_key(key), &at));)
		if (!memcmp(&node->d.key, key, sizeof(*key)))
			return node;
	return NULL;
}

struct node *node_of_machine(const struct tailnet *t, const struct public_key *machine, size_t *at)
{
	struct node *node;

	while ((node = index_next(&t->nodes_by_machine, hash_key(machine), at)))
		if (!memcmp(&node->d.machine, machine, sizeof(*machine)))
			return node;
	return NULL;
}

struct node *node_by_keys(
	const struct tailnet *t, const struct public_key *machine, const struct public_key *key)
{
	struct node *node;

	for (size_t at = INDEX_FIRST; (node = node_of_machine(t, machine, &at));) {
		if (!memcmp(&node->d.key, key, sizeof(*key)))
			return node;
		if (!memcmp(&node->previous_key, key, sizeof(*key)) &&
			node->previous_until > tailnet_clock(t))
			return node;
	}
	return NULL;
}

struct node *node_by_label(const struct tailnet *t, const char *label)
{
	uint64_t hash = hash_text(label);
	struct node *node;

	for (size_t at = INDEX_FIRST; (node = index_next(&t->nodes_by_label, hash, &at));)
		if (!strcmp(node->d.label, label))
			return node;
	return NULL;
}

struct node *node_by_addr(const struct tailnet *t, const struct net_addr *addr)
{
	struct node *node;

	for (size_t at = INDEX_FIRST; (node = index_next(&t->nodes_by_addr, hash_addr(addr), &at));)
		if (net_addr_equal(&node->d.v4, addr) || net_addr_equal(&node->d.v6, addr))
			return node;
	return NULL;
}

struct node *node_by_word(const struct tailnet *t, const char *word)
{
	struct node *node = node_by_id(t, word_id(word));
	struct net_addr addr;

	if (!node)
		node = node_by_label(t, word);
	if (!node && !net_addr_parse(&addr, word))
		node = node_by_addr(t, &addr);
	return node;
}

struct preauth *preauth_by_id(const struct tailnet *t, int64_t id)
{
	struct preauth *key;

	for (size_t at = INDEX_FIRST; (key = index_next(&t->preauths_by_id, hash_id(id), &at));)
		if (key->d.id == id)
			return key;
	return NULL;
}

struct apikey *apikey_by_id(const struct tailnet *t, int64_t id)
{
	struct apikey *key;

	for (size_t at = INDEX_FIRST; (key = index_next(&t->apikeys_by_id, hash_id(id), &at));)
		if (key->d.id == id)
			return key;
	return NULL;
}

struct apikey *apikey_by_prefix(const struct tailnet *t, const char *prefix)
{
	uint64_t hash = hash_text(prefix);
	struct apikey *key;

	for (size_t at = INDEX_FIRST; (key = index_next(&t->apikeys_by_prefix, hash, &at));)
		if (!strcmp(key->d.prefix, prefix))
			return key;
	return NULL;
}

/* Each kind begins with its id. */
static int by_id(const void *a, const void *b)
{
	int64_t id_a = **(int64_t *const *)a, id_b = **(int64_t *const *)b;

	return id_a < id_b ? -1 : id_a > id_b;
}

static void *list_of(const struct index *index, size_t *n)
{
	void **items = calloc(index->n + 1, sizeof(*items)), *item;

	*n = 0;
	if (!items)
		return NULL;
	for (size_t at = INDEX_FIRST; (item = index_walk(index, &at));)
		items[(*n)++] = item;
	qsort(items, *n, sizeof(*items), by_id);
	return items;
}

_Static_assert(!offsetof(struct user, d.id) && !offsetof(struct node, d.id) &&
		       !offsetof(struct preauth, d.id) && !offsetof(struct apikey, d.id),
	"by_id reads the id at offset 0");

struct user **users_list(const struct tailnet *t, size_t *n)
{
	return list_of(&t->users_by_id, n);
}

struct node **nodes_list(const struct tailnet *t, size_t *n)
{
	return list_of(&t->nodes_by_id, n);
}

struct preauth **preauths_list(const struct tailnet *t, size_t *n)
{
	return list_of(&t->preauths_by_id, n);
}

struct apikey **apikeys_list(const struct tailnet *t, size_t *n)
{
	return list_of(&t->apikeys_by_id, n);
}

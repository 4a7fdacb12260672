/* SPDX-License-Identifier: BSD-3-Clause */
/* Memory follows the store: items, what is derived from them, and their places in the indexes.
 * Control loop. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "internal.h"
#include "json_in.h"
#include "routes.h"

/* How long the key before a rotation may still be used by the poll that is under way. */
#define PREVIOUS_KEY_NS (60 * 1000000000ull)

/* ---- users and keys ------------------------------------------------------------------------ */

struct user *user_add(struct tailnet *t, struct user_data *d)
{
	struct user *user = calloc(1, sizeof(*user));

	if (!user || index_add(&t->users_by_id, hash_id(d->id), user) ||
		index_add(&t->users_by_name, hash_text(d->name), user)) {
		if (user)
			index_remove(&t->users_by_id, hash_id(d->id), user);
		free(user);
		record_fini(&users_type, d);
		return NULL;
	}
	user->d = *d;
	memset(d, 0, sizeof(*d));
	t->n_users++;
	return user;
}

void user_free(struct tailnet *t, struct user *user)
{
	index_remove(&t->users_by_id, hash_id(user->d.id), user);
	index_remove(&t->users_by_name, hash_text(user->d.name), user);
	t->n_users--;
	record_fini(&users_type, &user->d);
	free(user);
}

struct preauth *preauth_add(struct tailnet *t, struct preauth_data *d)
{
	struct preauth *key = calloc(1, sizeof(*key));

	if (!key || index_add(&t->preauths_by_id, hash_id(d->id), key) ||
		index_add(&t->preauths_by_prefix, hash_text(d->prefix), key)) {
		if (key)
			index_remove(&t->preauths_by_id, hash_id(d->id), key);
		free(key);
		record_fini(&preauths_type, d);
		return NULL;
	}
	key->d = *d;
	memset(d, 0, sizeof(*d));
	t->n_preauths++;
	return key;
}

void preauth_free(struct tailnet *t, struct preauth *key)
{
	index_remove(&t->preauths_by_id, hash_id(key->d.id), key);
	index_remove(&t->preauths_by_prefix, hash_text(key->d.prefix), key);
	t->n_preauths--;
	record_fini(&preauths_type, &key->d);
	free(key);
}

struct apikey *apikey_add(struct tailnet *t, struct apikey_data *d)
{
	struct apikey *key = calloc(1, sizeof(*key));

	if (!key || index_add(&t->apikeys_by_id, hash_id(d->id), key) ||
		index_add(&t->apikeys_by_prefix, hash_text(d->prefix), key)) {
		if (key)
			index_remove(&t->apikeys_by_id, hash_id(d->id), key);
		free(key);
		record_fini(&apikeys_type, d);
		return NULL;
	}
	key->d = *d;
	memset(d, 0, sizeof(*d));
	t->n_apikeys++;
	return key;
}

void apikey_free(struct tailnet *t, struct apikey *key)
{
	index_remove(&t->apikeys_by_id, hash_id(key->d.id), key);
	index_remove(&t->apikeys_by_prefix, hash_text(key->d.prefix), key);
	t->n_apikeys--;
	record_fini(&apikeys_type, &key->d);
	free(key);
}

/* ---- nodes --------------------------------------------------------------------------------- */

/* What leads to the node; on failure all of it is taken back. */
static int index_node(struct tailnet *t, struct node *node, bool in)
{
	const struct node_data *d = &node->d;
	const struct {
		struct index *index;
		uint64_t hash;
		bool have;
	} places[] = {
		{&t->nodes_by_id, hash_id(d->id), true},
		{&t->nodes_by_key, hash_key(&d->key), true},
		{&t->nodes_by_machine, hash_key(&d->machine), true},
		{&t->nodes_by_label, hash_text(d->label), true},
		{&t->nodes_by_addr, hash_addr(&d->v4), d->v4.family},
		{&t->nodes_by_addr, hash_addr(&d->v6), d->v6.family},
	};
	size_t n = sizeof(places) / sizeof(*places);
	int rc = 0;

	for (size_t i = 0; in && i < n && !rc; i++)
		if (places[i].have)
			rc = index_add(places[i].index, places[i].hash, node);
	for (size_t i = 0; (!in || rc) && i < n; i++)
		if (places[i].have)
			index_remove(places[i].index, places[i].hash, node);
	return rc;
}

static void user_link(struct tailnet *t, struct node *node)
{
	node->user = node->d.user ? user_by_id(t, node->d.user) : NULL;
	if (!node->user)
		return;
	node->next_of_user = node->user->nodes;
	node->prev_of_user = &node->user->nodes;
	if (node->next_of_user)
		node->next_of_user->prev_of_user = &node->next_of_user;
	node->user->nodes = node;
	node->user->n_nodes++;
}

static void user_unlink(struct node *node)
{
	if (!node->user)
		return;
	*node->prev_of_user = node->next_of_user;
	if (node->next_of_user)
		node->next_of_user->prev_of_user = node->prev_of_user;
	node->user->n_nodes--;
	node->user = NULL;
}

static int derive(struct node *node, bool hostinfo, bool approved)
{
	json_t *array;
	int rc = 0;

	if (hostinfo) {
		struct hostinfo info;

		rc = hostinfo_read(&info, node->d.hostinfo);
		if (rc)
			return rc;
		hostinfo_fini(&node->info);
		node->info = info;
		memset(node->said, 0, sizeof(node->said));
	}
	if (approved) {
		free(node->approved);
		array = json_loads(node->d.approved_routes, 0, NULL);
		rc = prefixes_read(
			array, &node->approved, &node->n_approved, HOSTINFO_ROUTES_MAX, NULL);
		json_decref(array);
	}
	return rc ? rc : routes_make(node);
}

static void derived_free(struct node *node)
{
	hostinfo_fini(&node->info);
	free(node->approved);
	free(node->routes);
	free(node->sets);
}

struct node *node_add(struct tailnet *t, struct node_data *d)
{
	struct node *node = calloc(1, sizeof(*node));

	if (!node) {
		record_fini(&nodes_type, d);
		return NULL;
	}
	node->d = *d;
	memset(d, 0, sizeof(*d));
	if (derive(node, true, true) || index_node(t, node, true)) {
		derived_free(node);
		record_fini(&nodes_type, &node->d);
		free(node);
		return NULL;
	}
	user_link(t, node);
	t->n_nodes++;
	node->seen = node->d.last_seen;
	node->ready = !secret_is_zero(node->d.disco.bytes, sizeof(node->d.disco.bytes));
	if (strcmp(node->d.served, "[]"))
		node->awaited_until = tailnet_clock(t) + ROUTES_AWAITED_NS;
	presence_update(t, node);
	tailnet_tell(t, node, NODE_NEW);
	return node;
}

void node_free(struct tailnet *t, struct node *node)
{
	index_node(t, node, false);
	due_set(&t->due, &node->due, 0);
	if (node->online)
		t->n_online--;
	t->n_nodes--;
	node->online = false;
	routes_forget(t, node);
	for (struct tailnet_listener *l = t->listeners; l; l = l->next)
		if (l->node_removed)
			l->node_removed(l->arg, node);
	user_unlink(node);
	derived_free(node);
	record_fini(&nodes_type, &node->d);
	free(node);
}

/* Which change each column is; in order of the table. */
static unsigned change_of(const struct field *field)
{
	static const struct {
		const char *name;
		unsigned what;
	} changes[] = {
		{"node_key", NODE_KEY},
		{"disco_key", NODE_DISCO},
		{"user_id", NODE_USER},
		{"tags", NODE_TAGS},
		{"approved", NODE_APPROVED},
		{"label", NODE_NAME},
		{"ipv4", NODE_ADDRESS},
		{"ipv6", NODE_ADDRESS},
		{"cap", NODE_CAP},
		{"expiry", NODE_EXPIRY},
	};

	for (size_t i = 0; i < sizeof(changes) / sizeof(*changes); i++)
		if (!strcmp(field->name, changes[i].name))
			return changes[i].what;
	return NODE_OTHER; /* hostinfo, endpoints and routes are compared by what they mean */
}

static bool has_field(uint64_t fields, const char *name)
{
	for (unsigned i = 0; i < nodes_type.n; i++)
		if (!strcmp(nodes_type.fields[i].name, name))
			return fields >> i & 1;
	return false;
}

/* Exchanges the members of the set, so that `d` holds what was before. */
static void fields_swap(struct node_data *a, struct node_data *b, uint64_t fields)
{
	static const size_t sizes[] = {
		[FIELD_INT] = sizeof(int64_t),
		[FIELD_BOOL] = sizeof(bool),
		[FIELD_TEXT] = sizeof(char *),
		[FIELD_KEY] = 32,
		[FIELD_ADDR] = sizeof(struct net_addr),
	};
	char hold[32];

	for (unsigned i = 0; i < nodes_type.n; i++) {
		const struct field *field = &nodes_type.fields[i];
		char *in_a = (char *)a + field->offset, *in_b = (char *)b + field->offset;

		if (!(fields >> i & 1))
			continue;
		memcpy(hold, in_a, sizes[field->kind]);
		memcpy(in_a, in_b, sizes[field->kind]);
		memcpy(in_b, hold, sizes[field->kind]);
	}
}

static bool routes_equal(const struct node *node, const struct node_route *routes, size_t n)
{
	if (node->n_routes != n)
		return false;
	for (size_t i = 0; i < n; i++)
		if (prefix_compare(&node->routes[i].prefix, &routes[i].prefix))
			return false;
	return true;
}

/* After the fields: what they mean. */
static unsigned derive_changes(
	struct tailnet *t, struct node *node, const struct node_data *before, uint64_t fields)
{
	bool hostinfo = has_field(fields, "hostinfo"),
	     approved = has_field(fields, "approved_routes");
	char *shown = node->info.shown ? strdup(node->info.shown) : NULL;
	unsigned derp = node->info.home_derp, what = 0;
	struct node_route *routes = node->routes;
	size_t n = node->n_routes;

	if (hostinfo || approved) {
		node->routes = NULL;
		node->n_routes = 0;
		/* without memory the old routes are gone; the next report makes them again */
		derive(node, hostinfo, approved);
		if (!routes_equal(node, routes, n))
			what |= NODE_ROUTES;
		else
			memcpy(node->routes, routes, n * sizeof(*routes));
		free(routes);
	}
	if (!shown || !node->info.shown || strcmp(shown, node->info.shown))
		what |= NODE_HOSTINFO;
	if (derp != node->info.home_derp)
		what |= NODE_DERP;
	if (has_field(fields, "endpoints") &&
		!endpoints_within(node->d.endpoints, before->endpoints))
		what |= NODE_ENDPOINTS;
	if (what & NODE_ROUTES)
		routes_elect(t, node);
	free(shown);
	return what;
}

/* Until its first full map a client has no addresses, so no ports to tell of. */
#define UNMAPPED_NS (60 * 1000000000ull)

/* A client's first report says less than the one that follows within moments, and others need not
 * be told of it twice. One that never says where it is is told of all the same. */
static unsigned readiness(struct tailnet *t, struct node *node)
{
	bool found = node->info.home_derp || strcmp(node->d.endpoints, "[]") != 0;

	if (node->ready || secret_is_zero(node->d.disco.bytes, sizeof(node->d.disco.bytes)))
		return 0;
	if (!found && t->conf.settle) {
		if (!node->ready_at)
			node->ready_at =
				tailnet_clock(t) +
				(node->sessions && !node->mapped ? UNMAPPED_NS : t->conf.settle);
		return 0;
	}
	node->ready = true;
	node->ready_at = 0;
	return NODE_READY;
}

void node_take(struct tailnet *t, struct node *node, struct node_data *d, uint64_t fields)
{
	unsigned what = 0;

	if (!fields)
		return;
	for (unsigned i = 0; i < nodes_type.n; i++)
		if (fields >> i & 1)
			what |= change_of(&nodes_type.fields[i]);
	index_node(t, node, false);
	fields_swap(&node->d, d, fields);
	/* what was taken out leaves room for as much */
	index_node(t, node, true);
	if (what & NODE_USER) {
		user_unlink(node);
		user_link(t, node);
	}
	if (what & NODE_KEY) {
		node->previous_key = d->key;
		node->previous_until = tailnet_clock(t) + PREVIOUS_KEY_NS;
	}
	what |= derive_changes(t, node, d, fields);
	what |= readiness(t, node);
	what |= presence_update(t, node);
	tailnet_tell(t, node, what);
}

char *texts_json(const char *const *texts, size_t n)
{
	json_t *array = json_array();
	char *text;

	for (size_t i = 0; i < n; i++)
		json_array_append_new(array, json_string(texts[i]));
	text = json_in_text(array);
	json_decref(array);
	return text;
}

/* ---- what is said of them ------------------------------------------------------------------ */

const char *user_login(const struct user *user)
{
	if (!user)
		return TAGGED_USER_LOGIN;
	return *user->d.email ? user->d.email : user->d.name;
}

const char *user_display(const struct user *user)
{
	if (!user)
		return TAGGED_USER_NAME;
	return *user->d.display_name ? user->d.display_name : user->d.name;
}

bool node_is_expired(const struct tailnet *t, const struct node *node)
{
	return node->d.expiry && node->d.expiry <= tailnet_wall(t);
}

bool node_has_tag(const struct node *node, const char *tag)
{
	char quoted[80];
	size_t len = strlen(tag);

	if (len + 3 > sizeof(quoted))
		return false;
	quoted[0] = quoted[len + 1] = '"';
	memcpy(quoted + 1, tag, len);
	quoted[len + 2] = 0;
	return strstr(node->d.tags, quoted);
}

bool node_is_shown(const struct node *node)
{
	return node->ready && node->d.approved;
}

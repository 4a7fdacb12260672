/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A node is a pair of a machine and an owner: a user, or nobody for tagged nodes. A machine that
 * registers with a new node key is still the node of its owner; under another owner it becomes
 * another node. Who knows only a node key knows nothing: each look goes by machine first.
 * Control loop.
 */
#include "registration.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "internal.h"
#include "json_in.h"
#include "pending.h"
#include "policy.h"
#include "routes.h"

struct registering {
	struct change change;
	struct registration asked; /* texts and hostinfo are our own */
	char *auth_key;
	bool by_person;
	int64_t user, method; /* by_person */
	registration_done_fn done;
	tailnet_done_fn person_done;
	void *arg;
	enum registration_outcome outcome;
};

static struct registering *registering_of(struct change *change)
{
	return (struct registering *)change;
}

static void registering_done(struct change *change, int error, const char *why)
{
	struct registering *r = registering_of(change);
	struct registration_result result = {
		.outcome = r->outcome, .why = why, .node = change->node};

	if (error && r->outcome != REGISTRATION_REFUSED)
		result.outcome = REGISTRATION_FAILED;
	if (!error)
		result.why = change->err.msg;
	if (r->by_person)
		r->person_done(r->arg,
			&(struct tailnet_result){.error = error, .why = why, .id = change->node});
	else
		r->done(r->arg, &result);
	json_decref((json_t *)r->asked.hostinfo);
	if (r->auth_key)
		secret_zero(r->auth_key, strlen(r->auth_key));
	free(r->auth_key);
	free(r);
}

static int refuse(struct registering *r, struct err *err, const char *why)
{
	r->outcome = REGISTRATION_REFUSED;
	return err_set(err, -EPERM, "%s", why);
}

/* ---- whose it will be ---------------------------------------------------------------------- */

struct owner {
	const struct user *user; /* NULL: tagged */
	const char *tags;        /* JSON array; "[]" for a user's */
	char *own_tags;          /* heap behind `tags`, or NULL */
	const struct preauth *key;
	bool ephemeral;
};

static bool owns(const struct owner *owner, const struct node *node)
{
	return owner->user ? node->d.user == owner->user->d.id : !node->d.user;
}

/* --advertise-tags: all of them must be allowed. */
static int owner_ask_tags(
	struct registering *r, const struct node *node, struct owner *owner, struct err *err)
{
	const struct policy_ops *policy = r->change.t->policy;
	struct hostinfo info;
	char *text = hostinfo_store(r->asked.hostinfo, NULL);
	int rc = text ? hostinfo_read(&info, text) : -ENOMEM;

	free(text);
	if (rc)
		return rc;
	for (size_t i = 0; !rc && i < info.n_tags; i++) {
		bool fine = tag_valid(info.tags[i]) &&
			    ((policy->tag_permitted &&
				     policy->tag_permitted(owner->user, node, info.tags[i])) ||
				    (node && node_has_tag(node, info.tags[i])));

		if (!fine) {
			r->outcome = REGISTRATION_REFUSED;
			rc = err_set(err, -EPERM,
				"requested tags [%.64s] are invalid or not permitted",
				info.tags[i]);
		}
	}
	if (!rc && info.n_tags) {
		owner->own_tags = texts_json((const char *const *)info.tags, info.n_tags);
		owner->tags = owner->own_tags;
		owner->user = NULL;
		rc = owner->own_tags ? 0 : -ENOMEM;
	}
	hostinfo_fini(&info);
	return rc;
}

static const struct preauth *find_key(const struct tailnet *t, const char *text)
{
	struct authkey given;
	const struct preauth *key;

	if (!authkey_parse(&given, AUTHKEY_AUTH, text))
		return NULL;
	for (size_t at = INDEX_FIRST;
		(key = index_next(&t->preauths_by_prefix, hash_text(given.prefix), &at));)
		if (!strcmp(key->d.prefix, given.prefix) && authkey_matches(&given, key->d.hash))
			return key;
	return NULL;
}

static void owner_of_key(const struct tailnet *t, const struct preauth *key, struct owner *owner)
{
	bool tagged = strcmp(key->d.tags, "[]");

	*owner = (struct owner){.user = tagged ? NULL : user_by_id(t, key->d.user),
		.tags = key->d.tags,
		.key = key,
		.ephemeral = key->d.ephemeral};
}

/* ---- what is written ----------------------------------------------------------------------- */

static int64_t expiry_for(const struct registering *r, const struct owner *owner)
{
	const struct tailnet *t = r->change.t;

	if (!owner->user)
		return 0;
	if (r->asked.expiry)
		return r->asked.expiry;
	return t->conf.node_expiry ? tailnet_wall(t) + (int64_t)t->conf.node_expiry : 0;
}

static int take_hostinfo(struct registering *r, const struct node *node)
{
	struct node_data *d = &r->change.data;
	struct hostinfo info;
	char *text = hostinfo_store(r->asked.hostinfo, d->hostinfo);
	char label[LABEL_SIZE], before[LABEL_SIZE];
	int rc = text ? hostinfo_read(&info, text) : -ENOMEM;

	if (rc) {
		free(text);
		return rc;
	}
	free(d->hostinfo);
	d->hostinfo = text;
	rc = text_set(&d->hostname, info.hostname);
	label_from_hostname(label, info.hostname);
	label_from_hostname(before, node ? node->d.hostname : "");
	if (!rc && (!node || (!d->renamed && strcmp(label, before))))
		rc = change_label(&r->change, label);
	hostinfo_fini(&info);
	return rc;
}

static int fill(
	struct registering *r, const struct node *node, const struct owner *owner, struct err *err)
{
	struct node_data *d = &r->change.data;
	int rc;

	d->machine = r->asked.machine;
	d->key = r->asked.key;
	if (!secret_is_zero(r->asked.lock.bytes, sizeof(r->asked.lock.bytes)))
		d->lock = r->asked.lock;
	d->user = owner->user ? owner->user->d.id : 0;
	d->expiry = expiry_for(r, owner);
	d->method = r->by_person ? r->method : REGISTER_METHOD_AUTH_KEY;
	d->preauth = owner->key ? owner->key->d.id : 0;
	d->ephemeral = owner->ephemeral || r->asked.ephemeral;
	d->cap = r->asked.cap;
	if (!node)
		d->approved = !r->change.t->conf.device_approval;
	if (r->by_person)
		d->approved = true;
	rc = text_set(&d->tags, owner->tags);
	if (!rc && !d->endpoints)
		rc = text_set(&d->endpoints, "[]");
	if (!rc && !d->approved_routes)
		rc = text_set(&d->approved_routes, "[]");
	if (!rc && !d->served)
		rc = text_set(&d->served, "[]");
	if (!rc)
		rc = take_hostinfo(r, node);
	if (!rc)
		rc = change_addresses(&r->change, err);
	if (!rc && node)
		rc = routes_auto_approve(&r->change, node, d->hostinfo);
	return rc;
}

/* The node that this machine has under that owner; or what becomes it. */
static struct node *find_node(
	const struct registering *r, const struct owner *owner, struct node *same)
{
	const struct tailnet *t = r->change.t;
	struct node *node;

	for (size_t at = INDEX_FIRST; (node = node_of_machine(t, &r->asked.machine, &at));)
		if (owns(owner, node))
			return same && same != node ? same : node;
	if (same)
		return same;
	/* a tagged node becomes a user's by a person's login, and a user's a tagged one */
	for (size_t at = INDEX_FIRST; (node = node_of_machine(t, &r->asked.machine, &at));)
		if (!memcmp(&node->d.key, &r->asked.old_key, sizeof(node->d.key)) &&
			(r->by_person ? !node->d.user : !owner->user))
			return node;
	return NULL;
}

static int join(
	struct registering *r, struct node *same, const struct owner *owner, struct err *err)
{
	struct node *node = find_node(r, owner, same);
	int rc;

	rc = node ? change_edit(&r->change, node) : change_create(&r->change);
	if (!rc)
		rc = fill(r, node, owner, err);
	if (!rc && owner->key && !change_txn(&r->change))
		rc = -ENOMEM;
	if (!rc && owner->key)
		change_spend(&r->change, owner->key);
	r->outcome = REGISTRATION_ACCEPTED;
	return rc;
}

/* ---- what is asked ------------------------------------------------------------------------- */

/* The expiry lies in the past: the client logs out, and takes care of its own state. */
static int logout(struct registering *r, struct node *same)
{
	int rc = 0;

	r->outcome = REGISTRATION_EXPIRED;
	if (same && same->d.ephemeral) {
		change_remove(&r->change, same);
	} else if (same) {
		rc = change_edit(&r->change, same);
		r->change.data.expiry = tailnet_wall(r->change.t);
	}
	return rc;
}

/* It is there, it is valid: a restart. Expiry may come earlier by it, never later. */
static int welcome_back(struct registering *r, struct node *same)
{
	struct node_data *d = &r->change.data;
	int rc = change_edit(&r->change, same);

	r->outcome = REGISTRATION_ACCEPTED;
	if (rc)
		return rc;
	if (r->asked.expiry && same->d.user && (!d->expiry || r->asked.expiry < d->expiry))
		d->expiry = r->asked.expiry;
	if (!secret_is_zero(r->asked.lock.bytes, sizeof(r->asked.lock.bytes)))
		d->lock = r->asked.lock;
	d->cap = r->asked.cap;
	return take_hostinfo(r, same);
}

/* Containers run `up --auth-key` at each start with a key that is long spent. */
static bool key_needed(const struct registering *r, const struct node *same)
{
	const struct preauth *key = find_key(r->change.t, r->asked.auth_key);
	struct owner owner;

	if (!same || node_is_expired(r->change.t, same))
		return true;
	if (!key)
		return false;
	owner_of_key(r->change.t, key, &owner);
	return !owns(&owner, same);
}

/* `tailscale up --force-reauth` asks twice, with two node keys, and may end the first before our
 * answer: what that has spent is still this machine's. */
static bool asks_again(const struct registering *r, const struct preauth *key)
{
	const struct node *node;

	for (size_t at = INDEX_FIRST;
		(node = node_of_machine(r->change.t, &r->asked.machine, &at));)
		if (node->joined_with == key->d.id &&
			node->joined_until > tailnet_clock(r->change.t))
			return true;
	return false;
}

static int with_key(struct registering *r, struct node *same, struct err *err)
{
	const struct preauth *key = find_key(r->change.t, r->asked.auth_key);
	struct owner owner;
	const char *why;
	int rc;

	if (!key)
		return refuse(r, err, "the pre-auth key is not known");
	if (!preauth_is_valid(r->change.t, key, asks_again(r, key), &why))
		return refuse(r, err, why);
	owner_of_key(r->change.t, key, &owner);
	if (!owner.user && !strcmp(owner.tags, "[]"))
		return refuse(r, err, "the pre-auth key's user is gone");
	rc = owner.user ? owner_ask_tags(r, same, &owner, err) : 0;
	if (!rc)
		rc = join(r, same, &owner, err);
	free(owner.own_tags);
	return rc;
}

static int for_person(struct registering *r, struct node *same, struct err *err)
{
	struct owner owner = {.user = user_by_id(r->change.t, r->user), .tags = "[]"};
	int rc;

	if (!owner.user)
		return err_set(err, -ENOENT, "there is no user %lld", (long long)r->user);
	rc = owner_ask_tags(r, same, &owner, err);
	if (!rc)
		rc = join(r, same, &owner, err);
	free(owner.own_tags);
	return rc;
}

static int registering_prepare(struct change *change, struct err *err)
{
	struct registering *r = registering_of(change);
	struct tailnet *t = change->t;
	struct node *same = node_by_keys(t, &r->asked.machine, &r->asked.key);
	const struct node *holder = node_by_key(t, &r->asked.key);

	r->outcome = REGISTRATION_FAILED;
	change->node = same ? same->d.id : 0;
	if (holder && memcmp(&holder->d.machine, &r->asked.machine, sizeof(holder->d.machine)))
		return refuse(r, err, "this node key belongs to another machine");
	if (r->asked.expiry && r->asked.expiry <= tailnet_wall(t) && !r->by_person)
		return logout(r, same);
	if (r->by_person)
		return for_person(r, same, err);
	if (*r->asked.auth_key && key_needed(r, same))
		return with_key(r, same, err);
	if (same && !node_is_expired(t, same))
		return welcome_back(r, same);
	r->outcome = same ? REGISTRATION_EXPIRED : REGISTRATION_PENDING;
	return 0;
}

static struct registering *registering_new(const struct registration *asked)
{
	struct registering *r = calloc(1, sizeof(*r));

	if (!r)
		return NULL;
	r->asked = *asked;
	r->auth_key = strdup(asked->auth_key);
	if (!r->auth_key) {
		free(r);
		return NULL;
	}
	r->asked.auth_key = r->auth_key;
	json_incref((json_t *)r->asked.hostinfo);
	r->change.prepare = registering_prepare;
	r->change.done = registering_done;
	return r;
}

void tailnet_register(
	struct tailnet *t, const struct registration *asked, registration_done_fn done, void *arg)
{
	struct registering *r = registering_new(asked);

	if (!r) {
		done(arg, &(struct registration_result){REGISTRATION_FAILED, "out of memory", 0});
		return;
	}
	r->done = done;
	r->arg = arg;
	change_submit(t, &asked->machine, &r->change);
}

void tailnet_register_for(struct tailnet *t, const struct pending *pending, int64_t user,
	int64_t method, tailnet_done_fn done, void *arg)
{
	json_t *hostinfo = json_loads(pending->hostinfo, 0, NULL);
	struct registration asked = {
		.machine = pending->machine,
		.key = pending->key,
		.old_key = pending->old_key,
		.lock = pending->lock,
		.auth_key = "",
		.hostinfo = hostinfo,
		.expiry = pending->expiry_wish,
		.cap = pending->cap,
		.ephemeral = pending->ephemeral,
	};
	struct registering *r = registering_new(&asked);

	json_decref(hostinfo);
	if (!r) {
		tailnet_no_memory(done, arg);
		return;
	}
	r->by_person = true;
	r->user = user;
	r->method = method;
	r->person_done = done;
	r->arg = arg;
	change_submit(t, &pending->machine, &r->change);
}

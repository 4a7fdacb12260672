/* SPDX-License-Identifier: BSD-3-Clause */
/* Pre-auth keys and API keys. Control loop. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "internal.h"

/* Of 64 tags more than anybody has; each is a selector of the policy. */
#define TAGS_MAX 64
/* Keys that wait to leave are looked at this often at least. */
#define SWEEP_NS (3600 * 1000000000ull)

bool preauth_is_valid(
	const struct tailnet *t, const struct preauth *key, bool again, const char **why)
{
	if (key->d.revoked)
		*why = "the pre-auth key was revoked";
	else if (key->d.expiry && key->d.expiry <= tailnet_wall(t))
		*why = "the pre-auth key has expired";
	else if (key->d.used && !key->d.reusable && !again)
		*why = "the pre-auth key was used already, and is not reusable";
	else
		return true;
	return false;
}

/* ---- pre-auth keys ------------------------------------------------------------------------- */

static int wish_check(const struct tailnet *t, const struct preauth_wish *wish, struct err *err)
{
	if (!wish->user && !wish->n_tags)
		return err_set(err, -EINVAL, "a pre-auth key needs a user, or tags, or both");
	if (wish->user && !user_by_id(t, wish->user))
		return err_set(err, -ENOENT, "there is no user %lld", (long long)wish->user);
	if (wish->n_tags > TAGS_MAX)
		return err_set(err, -EINVAL, "more than %d tags", TAGS_MAX);
	for (size_t i = 0; i < wish->n_tags; i++)
		if (!tag_valid(wish->tags[i]))
			return err_set(err, -EINVAL,
				"\"%.64s\" is no tag: tag:NAME of letters, digits and '-'",
				wish->tags[i]);
	return 0;
}

static int preauth_check(struct row_change *change, struct err *err)
{
	const struct preauth_data *d = change->record;
	const struct user *user = user_by_id(change->t, d->user);

	if (!d->prefix || !d->tags)
		return -ENOMEM;
	if (d->user && !user)
		return err_set(err, -ENOENT, "there is no user %lld", (long long)d->user);
	return 0;
}

static void preauth_created(struct row_change *change)
{
	preauth_add(change->t, change->record);
}

static void preauth_user_stays(struct row_change *change, struct store_txn *txn)
{
	const struct preauth_data *d = change->record;

	if (d->user)
		store_expect(txn, users_type.table, store_int(d->user), "id", store_int(d->user));
}

void preauth_create(
	struct tailnet *t, const struct preauth_wish *wish, tailnet_done_fn done, void *arg)
{
	struct row_change *change = row_change_new(t, &preauths_type, CHANGE_CREATE, done, arg);
	struct preauth_data *d = change ? change->record : NULL;
	struct authkey made;

	if (!change) {
		tailnet_no_memory(done, arg);
		return;
	}
	if (d) {
		change->wrong = wish_check(t, wish, &change->err);
		authkey_make(&made, AUTHKEY_AUTH, change->secret);
		d->prefix = strdup(made.prefix);
		memcpy(d->hash, made.hash, sizeof(d->hash));
		d->user = wish->user;
		d->reusable = wish->reusable;
		d->ephemeral = wish->ephemeral;
		d->tags = texts_json(wish->tags, wish->n_tags);
		d->created = tailnet_wall(t);
		d->expiry = wish->expiry;
	}
	change->ids = &t->preauth_ids;
	change->check = preauth_check;
	change->add = preauth_user_stays;
	change->apply = preauth_created;
	row_submit(change);
}

static int preauth_there(struct row_change *change, struct err *err)
{
	int64_t id = ((struct preauth_data *)change->record)->id;

	if (preauth_by_id(change->t, id))
		return 0;
	return err_set(err, -ENOENT, "there is no pre-auth key %lld", (long long)id);
}

/* What is revoked next is swept no later than it should. */
static void sweep_by(struct tailnet *t, uint64_t at)
{
	if (!t->conf.revoked_retention || (t->sweep_at && t->sweep_at <= at))
		return;
	t->sweep_at = at;
	tailnet_wake(t);
}

static void preauth_expired(struct row_change *change)
{
	const struct preauth_data *d = change->record;
	struct preauth *key = preauth_by_id(change->t, d->id);

	if (!key)
		return;
	key->d.revoked = d->revoked;
	key->d.expiry = d->expiry;
	sweep_by(change->t, tailnet_clock(change->t) + change->t->conf.revoked_retention);
}

static uint64_t field_bit(const struct record_type *type, const char *name)
{
	for (unsigned i = 0; i < type->n; i++)
		if (!strcmp(type->fields[i].name, name))
			return 1ull << i;
	return 0;
}

void preauth_expire(struct tailnet *t, int64_t id, tailnet_done_fn done, void *arg)
{
	struct row_change *change = row_change_new(t, &preauths_type, CHANGE_EDIT, done, arg);
	const struct preauth *key = preauth_by_id(t, id);
	struct preauth_data *d = change ? change->record : NULL;

	if (!change) {
		tailnet_no_memory(done, arg);
		return;
	}
	if (d) {
		d->id = id;
		d->revoked = tailnet_wall(t);
		d->expiry = key && key->d.expiry && key->d.expiry < d->revoked ? key->d.expiry
									       : d->revoked;
	}
	change->fields = field_bit(&preauths_type, "revoked") | field_bit(&preauths_type, "expiry");
	change->check = preauth_there;
	change->apply = preauth_expired;
	row_submit(change);
}

static void preauth_gone(struct row_change *change)
{
	struct preauth *key = preauth_by_id(change->t, ((struct preauth_data *)change->record)->id);

	if (key)
		preauth_free(change->t, key);
}

void preauth_remove(struct tailnet *t, int64_t id, tailnet_done_fn done, void *arg)
{
	struct row_change *change = row_change_new(t, &preauths_type, CHANGE_REMOVE, done, arg);

	if (!change) {
		tailnet_no_memory(done, arg);
		return;
	}
	if (change->record)
		((struct preauth_data *)change->record)->id = id;
	change->check = preauth_there;
	change->apply = preauth_gone;
	row_submit(change);
}

/* When it leaves, as Unix ns; 0: never. */
static int64_t preauth_leaves(const struct tailnet *t, const struct preauth *key)
{
	return key->d.revoked ? key->d.revoked + (int64_t)t->conf.revoked_retention : 0;
}

void preauths_sweep(struct tailnet *t)
{
	uint64_t now = tailnet_clock(t);
	int64_t wall = tailnet_wall(t);
	struct preauth **keys;
	size_t n;

	if (!t->sweep_at || t->sweep_at > now)
		return;
	t->sweep_at = 0;
	if (!t->conf.revoked_retention)
		return;
	keys = preauths_list(t, &n);
	for (size_t i = 0; i < n; i++) {
		int64_t at = preauth_leaves(t, keys[i]);

		if (at && at <= wall)
			preauth_remove(t, keys[i]->d.id, NULL, NULL);
		if (at) /* a removal that fails is tried again; and the wall's clock may be set */
			sweep_by(t, at <= wall || (uint64_t)(at - wall) > SWEEP_NS
					    ? now + SWEEP_NS
					    : now + (uint64_t)(at - wall));
	}
	free(keys);
}

/* ---- API keys ------------------------------------------------------------------------------ */

static void apikey_created(struct row_change *change)
{
	apikey_add(change->t, change->record);
}

void apikey_create(struct tailnet *t, int64_t expiry, tailnet_done_fn done, void *arg)
{
	struct row_change *change = row_change_new(t, &apikeys_type, CHANGE_CREATE, done, arg);
	struct apikey_data *d = change ? change->record : NULL;
	struct authkey made;

	if (!change) {
		tailnet_no_memory(done, arg);
		return;
	}
	if (d) {
		authkey_make(&made, AUTHKEY_API, change->secret);
		d->prefix = strdup(made.prefix);
		memcpy(d->hash, made.hash, sizeof(d->hash));
		d->created = tailnet_wall(t);
		d->expiry = expiry;
	}
	change->ids = &t->apikey_ids;
	change->apply = apikey_created;
	row_submit(change);
}

static int apikey_there(struct row_change *change, struct err *err)
{
	int64_t id = ((struct apikey_data *)change->record)->id;

	if (apikey_by_id(change->t, id))
		return 0;
	return err_set(err, -ENOENT, "there is no API key %lld", (long long)id);
}

static void apikey_expired(struct row_change *change)
{
	const struct apikey_data *d = change->record;
	struct apikey *key = apikey_by_id(change->t, d->id);

	if (key)
		key->d.expiry = d->expiry;
}

void apikey_expire(struct tailnet *t, int64_t id, tailnet_done_fn done, void *arg)
{
	struct row_change *change = row_change_new(t, &apikeys_type, CHANGE_EDIT, done, arg);
	struct apikey_data *d = change ? change->record : NULL;

	if (!change) {
		tailnet_no_memory(done, arg);
		return;
	}
	if (d) {
		d->id = id;
		d->expiry = tailnet_wall(t);
	}
	change->fields = field_bit(&apikeys_type, "expiry");
	change->check = apikey_there;
	change->apply = apikey_expired;
	row_submit(change);
}

static void apikey_gone(struct row_change *change)
{
	struct apikey *key = apikey_by_id(change->t, ((struct apikey_data *)change->record)->id);

	if (key)
		apikey_free(change->t, key);
}

void apikey_remove(struct tailnet *t, int64_t id, tailnet_done_fn done, void *arg)
{
	struct row_change *change = row_change_new(t, &apikeys_type, CHANGE_REMOVE, done, arg);

	if (!change) {
		tailnet_no_memory(done, arg);
		return;
	}
	if (change->record)
		((struct apikey_data *)change->record)->id = id;
	change->check = apikey_there;
	change->apply = apikey_gone;
	row_submit(change);
}

/* SPDX-License-Identifier: BSD-3-Clause */
/* Control loop. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "internal.h"

#define NAME_MAX_LEN 255

/* The one completion that comes at once: there is no memory to keep it in. */
void tailnet_no_memory(tailnet_done_fn done, void *arg)
{
	struct tailnet_result result = {.error = -ENOMEM, .why = "out of memory"};

	if (done)
		done(arg, &result);
}

/* Headscale's rule: two or more characters, of letters, digits, '-', '.', '_', at most one '@'. */
static bool name_valid(const char *name)
{
	size_t len = strlen(name), ats = 0;

	if (len < 1 || len > NAME_MAX_LEN || strspn(name, "0123456789") == len)
		return false;
	for (const char *c = name; *c; c++) {
		bool word = (*c >= 'a' && *c <= 'z') || (*c >= 'A' && *c <= 'Z') ||
			    (*c >= '0' && *c <= '9');

		ats += *c == '@';
		if (!word && !strchr("-._@+", *c))
			return false;
	}
	return ats <= 1;
}

static int name_check(struct row_change *change, struct err *err)
{
	const struct user_data *d = change->record;
	const struct user *other;

	if (change->kind == CHANGE_EDIT && !user_by_id(change->t, d->id))
		return err_set(err, -ENOENT, "there is no user %lld", (long long)d->id);
	if (!d->name || !d->display_name || !d->email || !d->picture || !d->provider ||
		!d->provider_id)
		return -ENOMEM;
	if (!name_valid(d->name))
		return err_set(err, -EINVAL,
			"\"%.64s\" is no user name: letters, digits and -._+@ with at most one @, "
			"and not a number",
			d->name);
	other = user_by_name(change->t, d->name);
	if (other && other->d.id != d->id)
		return err_set(err, -EEXIST, "there is a user \"%s\" already", d->name);
	return 0;
}

static void created(struct row_change *change)
{
	struct user *user = user_add(change->t, change->record);

	if (user)
		tailnet_tell_user(change->t, user);
}

void user_create(struct tailnet *t, const struct user_wish *wish, tailnet_done_fn done, void *arg)
{
	struct row_change *change = row_change_new(t, &users_type, CHANGE_CREATE, done, arg);
	struct user_data *d = change ? change->record : NULL;

	if (!change) {
		tailnet_no_memory(done, arg);
		return;
	}
	if (d) {
		d->name = strdup(wish->name ? wish->name : "");
		d->display_name = strdup(wish->display_name ? wish->display_name : "");
		d->email = strdup(wish->email ? wish->email : "");
		d->picture = strdup(wish->picture ? wish->picture : "");
		d->provider = strdup(wish->provider ? wish->provider : "");
		d->provider_id = strdup(wish->provider_id ? wish->provider_id : "");
		d->created = tailnet_wall(t);
	}
	change->ids = &t->user_ids;
	change->check = name_check;
	change->apply = created;
	row_submit(change);
}

static void renamed(struct row_change *change)
{
	struct user_data *d = change->record;
	struct user *user = user_by_id(change->t, d->id);

	if (!user)
		return;
	index_remove(&change->t->users_by_name, hash_text(user->d.name), user);
	free(user->d.name);
	user->d.name = d->name;
	d->name = NULL;
	index_add(&change->t->users_by_name, hash_text(user->d.name), user);
	tailnet_tell_user(change->t, user);
}

void user_rename(struct tailnet *t, int64_t id, const char *name, tailnet_done_fn done, void *arg)
{
	struct row_change *change = row_change_new(t, &users_type, CHANGE_EDIT, done, arg);
	const struct user *user = user_by_id(t, id);
	struct user_data *d = change ? change->record : NULL;

	if (!change) {
		tailnet_no_memory(done, arg);
		return;
	}
	if (d && (!user || !record_copy(&users_type, d, &user->d))) {
		d->id = id;
		text_set(&d->name, name);
	}
	change->fields = 1 << 1; /* the name */
	change->check = name_check;
	change->apply = renamed;
	row_submit(change);
}

/* ---- removal ------------------------------------------------------------------------------- */

static int may_leave(struct row_change *change, struct err *err)
{
	int64_t id = ((struct user_data *)change->record)->id;
	struct user *user = user_by_id(change->t, id);

	if (!user)
		return err_set(err, -ENOENT, "there is no user %lld", (long long)id);
	if (user->n_nodes)
		return err_set(err, -EBUSY, "user \"%s\" still has %zu nodes: delete them first",
			user->d.name, user->n_nodes);
	return 0;
}

static void leave_keys(struct row_change *change, struct store_txn *txn)
{
	int64_t id = ((struct user_data *)change->record)->id;
	const struct preauth *key;

	for (size_t at = INDEX_FIRST; (key = index_walk(&change->t->preauths_by_id, &at));)
		if (key->d.user == id)
			store_delete(txn, preauths_type.table, store_int(key->d.id));
	/* who got in meanwhile, also through another server, makes it a conflict */
	store_expect_none(txn, nodes_type.table, "user_id", store_int(id));
	store_expect_none(txn, preauths_type.table, "user", store_int(id));
}

static void left(struct row_change *change)
{
	int64_t id = ((struct user_data *)change->record)->id;
	struct user *user = user_by_id(change->t, id);
	size_t n;
	struct preauth **keys = preauths_list(change->t, &n);

	for (size_t i = 0; i < n; i++)
		if (keys[i]->d.user == id)
			preauth_free(change->t, keys[i]);
	free(keys);
	if (user)
		user_free(change->t, user);
}

void user_remove(struct tailnet *t, int64_t id, tailnet_done_fn done, void *arg)
{
	struct row_change *change = row_change_new(t, &users_type, CHANGE_REMOVE, done, arg);

	if (!change) {
		tailnet_no_memory(done, arg);
		return;
	}
	if (change->record)
		((struct user_data *)change->record)->id = id;
	change->check = may_leave;
	change->add = leave_keys;
	change->apply = left;
	row_submit(change);
}

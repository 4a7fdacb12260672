/* SPDX-License-Identifier: BSD-3-Clause */
/* Control loop. */
#include "pending.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "internal.h"
#include "registration.h"

struct pending *pending_by_id(const struct tailnet *t, const char *id)
{
	struct pending *p;

	for (size_t at = INDEX_FIRST; (p = index_next(&t->pending_by_id, hash_text(id), &at));)
		if (!strcmp(p->id, id))
			return p;
	return NULL;
}

static struct pending *by_key(
	const struct tailnet *t, const struct public_key *machine, const struct public_key *key)
{
	struct pending *p;

	for (size_t at = INDEX_FIRST; (p = index_next(&t->pending_by_key, hash_key(key), &at));)
		if (!memcmp(&p->machine, machine, sizeof(*machine)) &&
			!memcmp(&p->key, key, sizeof(*key)))
			return p;
	return NULL;
}

static void wake_waiters(struct pending *pending, const struct pending *shown)
{
	while (pending->waiters) {
		struct pending_waiter *waiter = pending->waiters;

		pending_leave(waiter);
		waiter->decided(waiter, shown);
	}
}

static void tell(const struct tailnet *t, const struct pending *pending, bool left)
{
	for (const struct tailnet_listener *l = t->listeners; l; l = l->next)
		if (l->pending_changed)
			l->pending_changed(l->arg, pending, left);
}

static void pending_free(struct tailnet *t, struct pending *pending)
{
	index_remove(&t->pending_by_id, hash_text(pending->id), pending);
	index_remove(&t->pending_by_key, hash_key(&pending->key), pending);
	*pending->older = pending->newer;
	if (pending->newer)
		pending->newer->older = pending->older;
	else
		t->pending_tail = pending->older;
	t->n_pending--;
	if (pending->state == PENDING_WAITS)
		tell(t, pending, true);
	wake_waiters(pending, NULL); /* who asks anew now gets another entry */
	free(pending->hostname);
	free(pending->hostinfo);
	free(pending->reason);
	free(pending);
}

static bool pending_fill(struct pending *p, const struct registration *asked)
{
	struct hostinfo info;

	free(p->hostname);
	free(p->hostinfo);
	p->hostname = NULL;
	p->hostinfo = hostinfo_store(asked->hostinfo, NULL);
	if (!p->hostinfo || hostinfo_read(&info, p->hostinfo))
		return false;
	p->hostname = strdup(info.hostname);
	hostinfo_fini(&info);
	p->lock = asked->lock;
	p->old_key = asked->old_key;
	p->expiry_wish = asked->expiry;
	p->cap = asked->cap;
	p->ephemeral = asked->ephemeral;
	return p->hostname;
}

static struct pending *pending_new(struct tailnet *t, const struct registration *asked)
{
	struct pending *p = calloc(1, sizeof(*p));

	if (!p)
		return NULL;
	p->machine = asked->machine;
	p->key = asked->key;
	auth_id_make(p->id);
	if (!pending_fill(p, asked) || index_add(&t->pending_by_id, hash_text(p->id), p))
		goto fail;
	if (index_add(&t->pending_by_key, hash_key(&p->key), p)) {
		index_remove(&t->pending_by_id, hash_text(p->id), p);
		goto fail;
	}
	p->created = tailnet_wall(t);
	p->leave_at = tailnet_clock(t) + t->conf.pending_expiry;
	p->older = t->pending_tail;
	*t->pending_tail = p;
	t->pending_tail = &p->newer;
	t->n_pending++;
	tell(t, p, false);
	tailnet_wake(t);
	return p;
fail:
	free(p->hostname);
	free(p->hostinfo);
	free(p);
	return NULL;
}

struct pending *pending_take(struct tailnet *t, const struct registration *asked)
{
	struct pending *p = by_key(t, &asked->machine, &asked->key);

	if (p && p->state == PENDING_WAITS)
		return pending_fill(p, asked) ? p : NULL;
	if (p)
		pending_free(t, p);
	while (t->n_pending && t->n_pending >= t->conf.pending_max)
		pending_free(t, t->pending_oldest);
	return pending_new(t, asked);
}

void pending_wait(struct pending *pending, struct pending_waiter *waiter)
{
	waiter->next = pending->waiters;
	waiter->prev = &pending->waiters;
	if (waiter->next)
		waiter->next->prev = &waiter->next;
	pending->waiters = waiter;
}

void pending_leave(struct pending_waiter *waiter)
{
	if (!waiter->prev)
		return;
	*waiter->prev = waiter->next;
	if (waiter->next)
		waiter->next->prev = waiter->prev;
	waiter->prev = NULL;
}

uint64_t pending_due(const struct tailnet *t)
{
	return t->pending_oldest ? t->pending_oldest->leave_at : 0;
}

void pending_expire(struct tailnet *t)
{
	uint64_t now = tailnet_clock(t);

	while (t->pending_oldest && t->pending_oldest->leave_at <= now)
		pending_free(t, t->pending_oldest);
}

void pending_fini(struct tailnet *t)
{
	while (t->pending_oldest)
		pending_free(t, t->pending_oldest);
	index_fini(&t->pending_by_id);
	index_fini(&t->pending_by_key);
}

/* ---- decisions ----------------------------------------------------------------------------- */

struct decision {
	struct tailnet *t;
	char id[AUTH_ID_SIZE];
	tailnet_done_fn done;
	void *arg;
};

static void registered(void *arg, const struct tailnet_result *result)
{
	struct decision *decision = arg;
	/* it may have left in the meantime: then nobody waits */
	struct pending *p = pending_by_id(decision->t, decision->id);

	if (p && !result->error) {
		p->state = PENDING_DONE;
		p->node = result->id;
		tell(decision->t, p, false);
		wake_waiters(p, p);
	}
	if (decision->done)
		decision->done(decision->arg, result);
	free(decision);
}

static void no_such(tailnet_done_fn done, void *arg, const struct pending *p)
{
	struct tailnet_result result = {.error = p ? -EALREADY : -ENOENT,
		.why = p ? "that registration was decided already"
			 : "no registration of that id waits: it may have expired"};

	done(arg, &result);
}

void pending_register(
	struct tailnet *t, const char *id, int64_t user, tailnet_done_fn done, void *arg)
{
	struct pending *p = pending_by_id(t, id);
	struct decision *decision;

	if (!p || p->state != PENDING_WAITS) {
		no_such(done, arg, p);
		return;
	}
	decision = calloc(1, sizeof(*decision));
	if (!decision) {
		tailnet_no_memory(done, arg);
		return;
	}
	*decision = (struct decision){.t = t, .done = done, .arg = arg};
	memcpy(decision->id, p->id, sizeof(decision->id));
	tailnet_register_for(t, p, user, REGISTER_METHOD_CLI, registered, decision);
}

int pending_reject(struct tailnet *t, const char *id, const char *reason)
{
	struct pending *p = pending_by_id(t, id);

	if (!p)
		return -ENOENT;
	if (p->state != PENDING_WAITS)
		return -EALREADY;
	p->reason = strdup(reason);
	p->state = PENDING_REJECTED;
	tell(t, p, false);
	wake_waiters(p, p);
	return 0;
}

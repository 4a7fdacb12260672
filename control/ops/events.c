/* SPDX-License-Identifier: BSD-3-Clause */
/* `events watch`: what changes, as it changes. Runs on: the control loop. */
#include <stdlib.h>

#include "common.h"
#include "pending.h"

struct watcher {
	struct watcher *next, **prev;
	struct op_call *call;
};

static struct watcher *watchers;

/* In words, for what an administrator cares about; the rest is said as "changed". */
static json_t *words_of(unsigned what)
{
	static const struct {
		unsigned what;
		const char *word;
	} words[] = {
		{NODE_NEW, "joined"},
		{NODE_KEY, "new key"},
		{NODE_ENDPOINTS, "endpoints"},
		{NODE_DERP, "home relay"},
		{NODE_NAME, "name"},
		{NODE_ADDRESS, "addresses"},
		{NODE_ROUTES, "routes"},
		{NODE_TAGS, "tags"},
		{NODE_USER, "user"},
		{NODE_EXPIRY, "expiry"},
		{NODE_HOSTINFO, "host information"},
		{NODE_APPROVED, "approval"},
	};
	json_t *list = json_array();

	for (size_t i = 0; i < sizeof(words) / sizeof(*words); i++) {
		if (what & words[i].what)
			json_array_append_new(list, json_string(words[i].word));
	}
	return list;
}

/* Takes the reference. */
static void emit(json_t *row)
{
	for (struct watcher *w = watchers; w; w = w->next)
		op_emit(w->call, json_incref(row));
	json_decref(row);
}

static void tell(const struct node *node, json_t *what)
{
	emit(json_pack("{s:o, s:o, s:s, s:s, s:o}", "time", time_json(tailnet_wall(ops_tailnet)),
		"id", id_json(node->d.id), "node", node->d.label, "user", user_login(node->user),
		"what", what));
}

static void node_changed(void *arg, struct node *node, unsigned what)
{
	json_t *words;

	(void)arg;
	if (!watchers)
		return;
	words = words_of(what);
	if (what & NODE_ONLINE)
		json_array_append_new(words, json_string(node->online ? "online" : "offline"));
	if ((what & (NODE_NEW | NODE_APPROVED)) && !node->d.approved)
		json_array_append_new(words, json_string("waits for approval"));
	if (json_array_size(words))
		tell(node, words);
	else
		json_decref(words);
}

static void node_removed(void *arg, struct node *node)
{
	(void)arg;
	if (watchers)
		tell(node, json_pack("[s]", "removed"));
}

static void user_changed(void *arg, struct user *user)
{
	(void)arg, (void)user;
}

/* Nobody's yet, and without a name that is its own. */
static void pending_changed(void *arg, const struct pending *pending, bool left)
{
	static const char *const words[] = {
		[PENDING_WAITS] = "waits for registration",
		[PENDING_DONE] = "registered",
		[PENDING_REJECTED] = "registration rejected",
	};

	(void)arg;
	if (watchers)
		emit(json_pack("{s:o, s:s, s:s, s:s, s:[s]}", "time",
			time_json(tailnet_wall(ops_tailnet)), "authId", pending->id, "node",
			pending->hostname, "user", "", "what",
			left ? "registration ran out" : words[pending->state]));
}

static struct tailnet_listener listener = {
	.node_changed = node_changed,
	.node_removed = node_removed,
	.user_changed = user_changed,
	.pending_changed = pending_changed,
};

static void watcher_left(void *arg)
{
	struct watcher *w = arg;

	*w->prev = w->next;
	if (w->next)
		w->next->prev = w->prev;
	free(w);
}

void run_events_watch(struct op_call *call, const json_t *args)
{
	struct watcher *w = calloc(1, sizeof(*w));

	(void)args;
	if (!w)
		abort();
	w->call = call;
	w->next = watchers;
	w->prev = &watchers;
	if (watchers)
		watchers->prev = &w->next;
	watchers = w;
	op_on_close(call, watcher_left, w);
}

void events_start(struct tailnet *t)
{
	tailnet_listen(t, &listener);
}

/* Whoever watches was told by the core, and left. */
void events_stop(struct tailnet *t)
{
	tailnet_unlisten(t, &listener);
}

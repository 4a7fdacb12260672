/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * From changes of the tailnet to messages, tick by tick. Control loop.
 *
 * A tick takes all nodes that changed since the last one, finds in each view what that means for
 * it, makes one delta for the view, and hands it to the view's streams. It may take longer than the
 * loop should be held: then it goes on in slices, and what changes meanwhile waits for the next
 * tick. Full maps are made between ticks only.
 */
#include "map.h"

#include <stdlib.h>
#include <string.h>

#include "engine.h"
#include "frame.h"
#include "record.h"

/* Between ticks, as a multiple of what the last one cost; so they never take more than a third. */
#define TICK_REST 2
#define TICK_MIN_NS (5 * 1000000ull)
#define TICK_MAX_NS (500 * 1000000ull)
/* How long a tick waits for changes that are under way already. */
#define GATHER_NS (10 * 1000000ull)
/* When full maps wait for others to be sent. */
#define FILL_LOOK_NS (5 * 1000000ull)

void map_wake(struct map *map)
{
	if (map->wake)
		map->wake(map->wake_arg);
}

void map_on_wake(struct map *map, void (*wake)(void *arg), void *arg)
{
	map->wake = wake;
	map->wake_arg = arg;
}

const struct map_stats *map_stats(const struct map *map)
{
	return &map->stats;
}

/* ---- views --------------------------------------------------------------------------------- */

static bool shows(const struct map *map, const struct view *view, const struct node *node)
{
	return view->id != VIEW_NOBODY && node_is_shown(node) &&
	       map->t->policy->shows(view->id, node);
}

static void populate(struct map *map, struct view *view)
{
	size_t n;
	struct node **nodes = nodes_list(map->t, &n);

	for (size_t i = 0; i < n; i++)
		if (shows(map, view, nodes[i]) && !view_add(view, nodes[i]))
			view_meet(view, nodes[i]->user);
	free(nodes);
}

struct view *map_view(struct map *map, const struct node *node)
{
	uint32_t id = node->d.approved ? map->t->policy->view_of(node) : VIEW_NOBODY;
	struct view *view;

	for (view = map->views; view; view = view->next)
		if (view->id == id)
			return view;
	view = view_new(id);
	if (!view)
		return NULL;
	populate(map, view);
	view->next = map->views;
	map->views = view;
	return view;
}

static struct delta *gather(struct map *map, struct view *view)
{
	if (!view->gathered)
		view->gathered = delta_new();
	map->gathered = true;
	return view->gathered;
}

/* ---- listening ----------------------------------------------------------------------------- */

static void dirty_add(struct map *map, struct map_node *mn)
{
	mn->next_dirty = map->dirty;
	mn->prev_dirty = &map->dirty;
	if (mn->next_dirty)
		mn->next_dirty->prev_dirty = &mn->next_dirty;
	map->dirty = mn;
}

static void dirty_drop(struct map_node *mn)
{
	*mn->prev_dirty = mn->next_dirty;
	if (mn->next_dirty)
		mn->next_dirty->prev_dirty = mn->prev_dirty;
	mn->what = 0;
}

static struct map_node *map_node_of(struct node *node)
{
	struct map_node *mn = node->map;

	if (mn)
		return mn;
	mn = node->map = calloc(1, sizeof(*mn));
	if (mn)
		mn->node = node;
	return mn;
}

static void node_changed(void *arg, struct node *node, unsigned what)
{
	struct map *map = arg;
	struct map_node *mn = map_node_of(node);

	what &= SHOWN;
	if (!mn || !what)
		return;
	if (!mn->what)
		dirty_add(map, mn);
	mn->what |= what;
	map_wake(map);
}

static void node_removed(void *arg, struct node *node)
{
	struct map *map = arg;
	struct map_node *mn = node->map;

	for (struct view *view = map->views; view; view = view->next) {
		struct delta *delta;

		if (!view_has(view, node))
			continue;
		view_drop(view, node);
		delta = gather(map, view);
		if (delta)
			delta_remove(delta, node->d.id);
	}
	if (!mn)
		return;
	while (mn->streams)
		stream_farewell(mn->streams);
	if (mn->what)
		dirty_drop(mn);
	free(mn);
	node->map = NULL;
	map_wake(map);
}

static void user_changed(void *arg, struct user *user)
{
	struct map *map = arg;

	for (struct view *view = map->views; view; view = view->next) {
		struct delta *delta;

		if (!view_knows(view, user))
			continue;
		blob_put(view->tail);
		view->tail = NULL;
		delta = gather(map, view);
		if (delta)
			delta_profile(delta, profile_id(user));
	}
	map_wake(map);
}

/* ---- a tick -------------------------------------------------------------------------------- */

/* A node changed: what that means for one view. */
static void view_take(struct map *map, struct view *view, struct map_node *mn)
{
	struct node *node = mn->node;
	bool was = view_has(view, node), is = shows(map, view, node);
	struct delta *delta = was || is ? gather(map, view) : NULL;

	if (!delta)
		return;
	if (was && !is) {
		view_drop(view, node);
		delta_remove(delta, node->d.id);
		return;
	}
	if (is && !was && view_add(view, node))
		return;
	view_touch(view, node);
	if (view_meet(view, node->user))
		delta_profile(delta, profile_id(node->user));
	if (!was || mn->what & ~PATCHABLE)
		delta_change(delta, node);
	else
		delta_patch(delta, node, mn->what);
}

static void node_take(struct map *map, struct map_node *mn)
{
	struct map_stream *s, *next;

	for (struct view *view = map->views; view; view = view->next)
		view_take(map, view, mn);
	if (!(mn->what & OF_ITSELF))
		return;
	for (s = mn->streams; s; s = next) {
		next = s->next_of_node;
		stream_self(s);
	}
}

static void deltas_finish(struct map *map)
{
	for (struct view *view = map->views; view; view = view->next) {
		view->delta = view->gathered;
		view->gathered = NULL;
		if (!view->delta)
			continue;
		delta_finish(view->delta, map->t, view, &map->conf, map->t->policy);
		map->stats.deltas++;
	}
	map->gathered = false;
}

static void global_finish(struct map *map)
{
	struct json_out *text = &map->global_text;

	if (!text->len)
		return;
	json_out_raw(text, "}", 1);
	map->global = json_out_ok(text) ? frame_make(text->text, text->len) : NULL;
	json_out_reset(text);
}

static void fan_at(struct map *map, struct view *view)
{
	while (view && !view->delta && !map->global)
		view = view->next;
	map->fan = view;
	map->cursor = view ? TAILQ_FIRST(&view->live) : NULL;
}

static void tick_begin(struct map *map)
{
	map->tick_cost = 0;
	map->dirty_since = 0;
	while (map->dirty) {
		struct map_node *mn = map->dirty;

		node_take(map, mn);
		dirty_drop(mn);
	}
	deltas_finish(map);
	global_finish(map);
	map->phase = MAP_FANOUT;
	map->stats.ticks++;
	fan_at(map, map->views);
}

static void serve(struct map *map, struct map_stream *s)
{
	struct blob *global;

	if (!stream_may(s))
		return;
	if (map->global) {
		global = blob_get(map->global);
		stream_send(s, &global, 1);
	}
	if (s->view->delta)
		stream_delta(s, s->view->delta);
}

static void tick_end(struct map *map, uint64_t now)
{
	uint64_t rest = TICK_REST * map->tick_cost;

	for (struct view *view = map->views; view; view = view->next) {
		delta_free(view->delta);
		view->delta = NULL;
	}
	blob_put(map->global);
	map->global = NULL;
	map->phase = MAP_IDLE;
	map->tick_at = now + (rest < TICK_MIN_NS          ? TICK_MIN_NS
				     : rest > TICK_MAX_NS ? TICK_MAX_NS
							  : rest);
}

/* Asks memory for the stream after the next one, and for what the next one leads to. */
static void fetch_ahead(const struct map_stream *next)
{
	if (!next)
		return;
	rpc_fetch(next->rpc);
	next = TAILQ_NEXT(next, entry);
	if (!next)
		return;
	__builtin_prefetch(&next->map, 1);
	__builtin_prefetch(&next->entry, 1);
}

/* True when all have been served. */
static bool fan_slice(struct map *map, uint64_t until)
{
	unsigned n = 0;

	while (map->fan) {
		while (map->cursor) {
			struct map_stream *s = map->cursor;

			map->cursor = TAILQ_NEXT(s, entry);
			fetch_ahead(map->cursor);
			serve(map, s);
			if (!(++n % 16) && tailnet_clock(map->t) >= until)
				return false;
		}
		fan_at(map, map->fan->next);
	}
	return true;
}

static bool fan_out(struct map *map, uint64_t until)
{
	bool over = fan_slice(map, until);

	batch_end(map);
	return over;
}

static bool tick_wanted(const struct map *map)
{
	return map->dirty || map->gathered || map->global_text.len;
}

/* Changes that came together are written together, but for the first: the others are about to be
 * told. */
static uint64_t tick_wish(const struct map *map)
{
	uint64_t at = map->tick_at ? map->tick_at : 1;

	if (map->t->lanes.by_machine.n && map->dirty_since + GATHER_NS > at)
		at = map->dirty_since + GATHER_NS;
	return at;
}

/* Begins a tick, or goes on with it. True when none is under way. */
static bool tick(struct map *map, uint64_t until)
{
	uint64_t since = tailnet_clock(map->t), now;
	bool over;

	if (map->phase == MAP_IDLE && tick_wanted(map) && !map->dirty_since)
		map->dirty_since = since;
	if (map->phase == MAP_IDLE && (!tick_wanted(map) || tick_wish(map) > since))
		return true;
	if (map->phase == MAP_IDLE)
		tick_begin(map);
	over = map->phase == MAP_CROSSING ? crossings_run(map, until) : fan_out(map, until);
	now = tailnet_clock(map->t);
	map->tick_cost += now - since;
	if (over)
		tick_end(map, now);
	return over;
}

void map_settle(struct map *map)
{
	while (map->phase != MAP_IDLE)
		tick(map, UINT64_MAX);
}

void map_run(struct map *map, uint64_t budget)
{
	uint64_t now = tailnet_clock(map->t), until = now + budget;

	if (map->stats.streams && map->wheel_at <= now)
		wheel_run(map, now);
	if (tick(map, until) && tailnet_clock(map->t) < until)
		streams_fill(map, until);
}

void map_tidy(void)
{
	frames_fini(); /* made again with the next frame, and small where those are */
}

uint64_t map_due(const struct map *map)
{
	uint64_t at = map->stats.streams ? map->wheel_at : 0;

	if (map->phase != MAP_IDLE)
		return 1;
	if (!TAILQ_EMPTY(&map->waiting)) {
		if (streams_fillable((struct map *)map))
			return 1;
		at = tailnet_clock(map->t) + FILL_LOOK_NS;
	}
	if (tick_wanted(map) && (!at || tick_wish(map) < at))
		at = tick_wish(map);
	return at;
}

/* ---- life, settings ------------------------------------------------------------------------ */

static char *copy(const char *text)
{
	return text ? strdup(text) : NULL;
}

static void conf_free(struct map_conf *conf)
{
	free((char *)conf->base_domain);
	free((char *)conf->dns);
	free((char *)conf->derp);
}

static int conf_take(struct map *map, const struct map_conf *conf)
{
	struct map_conf own = *conf;

	own.base_domain = copy(conf->base_domain);
	own.dns = copy(conf->dns);
	own.derp = copy(conf->derp);
	if (!own.base_domain || !own.dns || (conf->derp && !own.derp)) {
		conf_free(&own);
		return -1;
	}
	conf_free(&map->conf);
	map->conf = own;
	return 0;
}

struct map *map_new(struct tailnet *t, const struct map_conf *conf)
{
	struct map *map = calloc(1, sizeof(*map));
	size_t n;
	struct node **nodes;

	if (!map)
		return NULL;
	map->t = t;
	streams_init(map);
	if (conf_take(map, conf)) {
		free(map);
		return NULL;
	}
	nodes = nodes_list(t, &n);
	for (size_t i = 0; i < n; i++)
		map_node_of(nodes[i]);
	free(nodes);
	map->listener = (struct tailnet_listener){.node_changed = node_changed,
		.node_removed = node_removed,
		.user_changed = user_changed,
		.arg = map};
	tailnet_listen(t, &map->listener);
	return map;
}

void map_free(struct map *map)
{
	size_t n;
	struct node **nodes = nodes_list(map->t, &n);

	tailnet_unlisten(map->t, &map->listener);
	streams_end(&map->waiting);
	streams_end(&map->behind);
	streams_end(&map->ghosts);
	crossings_end(map);
	while (map->views) {
		struct view *view = map->views;

		map->views = view->next;
		streams_end(&view->live);
		view_free(view);
	}
	for (size_t i = 0; i < n; i++) {
		free(nodes[i]->map);
		nodes[i]->map = NULL;
	}
	free(nodes);
	blob_put(map->keep_alive);
	blob_put(map->global);
	json_out_fini(&map->global_text);
	conf_free(&map->conf);
	free(map);
	frames_fini();
}

static bool differ(const char *a, const char *b)
{
	return a != b && (!a || !b || strcmp(a, b));
}

static void global_add(struct map *map, const char *name, const char *json)
{
	struct json_out *out = &map->global_text;

	json_out_raw(out, out->len ? "," : "{", 1);
	json_out_string(out, name);
	json_out_raw(out, ":", 1);
	json_out_text(out, json);
}

/* Each live stream gets a full map. */
static void refill_all(struct map *map)
{
	map_settle(map);
	for (struct view *view = map->views; view; view = view->next) {
		struct map_stream *s, *next;

		view_touch_all(view);
		for (s = TAILQ_FIRST(&view->live); s; s = next) {
			next = TAILQ_NEXT(s, entry);
			stream_move(s, &map->waiting, STREAM_WAITING);
		}
	}
}

void map_configure(struct map *map, const struct map_conf *conf)
{
	bool dns = differ(map->conf.dns, conf->dns), derp = differ(map->conf.derp, conf->derp);
	bool rest = differ(map->conf.base_domain, conf->base_domain) ||
		    map->conf.taildrop != conf->taildrop ||
		    map->conf.auto_update != conf->auto_update ||
		    map->conf.log_tail != conf->log_tail;

	if (conf_take(map, conf))
		return;
	if (rest) {
		refill_all(map);
	} else if (dns || derp) {
		for (struct view *view = map->views; view; view = view->next) {
			blob_put(view->tail);
			view->tail = NULL;
		}
		if (dns)
			global_add(map, "DNSConfig", map->conf.dns);
		if (derp && map->conf.derp)
			global_add(map, "DERPMap", map->conf.derp);
	}
	map_wake(map);
}

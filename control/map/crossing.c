/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * When the policy changes, views mean something else: they are made anew, and each stream crosses
 * from its old view to its new one. Who cross alike are told the same delta: who went, who came,
 * and routers anew, since routes may be for some only. A node is told of itself where its filters,
 * SSH rules or capabilities are others. Between ticks, in slices. Control loop.
 */
#include <stdlib.h>

#include "engine.h"
#include "record.h"

struct crossing {
	const struct view *from; /* only compared: it is gone */
	struct view *to;
	struct stream_list live; /* those that are not told yet */
	struct delta *delta;     /* NULL: they get full maps */
	struct crossing *next;
};

/* ---- what differs -------------------------------------------------------------------------- */

/* Whether a full map is less work: its blocks are shared with those who come later. */
static bool is_much(const struct delta *delta, const struct view *to)
{
	return delta_records(delta) > BLOCK_MAX && delta_records(delta) > to->n_nodes / 2;
}

static void come(struct delta *delta, const struct view *from, struct node *node)
{
	delta_change(delta, node);
	if (!view_knows(from, node->user))
		delta_profile(delta, profile_id(node->user));
}

static struct delta *difference(struct map *map, const struct view *from, struct view *to)
{
	struct view_walk old = {.view = from}, new = {.view = to};
	struct node *a = view_next(&old), *b = view_next(&new);
	struct delta *delta = delta_new();

	if (!delta)
		return NULL;
	if (from->gathered)
		delta_inherit(delta, from->gathered);
	while (a || b) {
		bool went = !b || (a && a->d.id < b->d.id), came = !a || (b && b->d.id < a->d.id);

		if (went)
			delta_remove(delta, a->d.id);
		else if (came)
			come(delta, from, b);
		else if (b->n_routes)
			delta_change(delta, b);
		if (!came)
			a = view_next(&old);
		if (!went)
			b = view_next(&new);
	}
	if (is_much(delta, to)) {
		delta_free(delta);
		return NULL;
	}
	delta_finish(delta, map->t, to, &map->conf, map->t->policy);
	map->stats.deltas++;
	return delta;
}

/* ---- beginning ----------------------------------------------------------------------------- */

static struct crossing *crossing_between(struct map *map, struct view *from, struct view *to)
{
	struct crossing *c = map->crossings;

	while (c && c->from == from && c->to != to)
		c = c->next;
	if (c && c->from == from)
		return c;
	c = calloc(1, sizeof(*c));
	if (!c)
		return NULL;
	c->from = from;
	c->to = to;
	TAILQ_INIT(&c->live);
	c->delta = difference(map, from, to);
	c->next = map->crossings;
	map->crossings = c;
	return c;
}

/* False: no memory; it has ended. */
static bool stream_review(struct map_stream *s)
{
	s->view = map_view(s->map, s->node);
	if (s->view)
		return true;
	rpc_end(s->rpc, true);
	stream_free(s);
	return false;
}

static void view_leave(struct map *map, struct view *from)
{
	struct map_stream *s;

	while ((s = TAILQ_FIRST(&from->live))) {
		struct crossing *c;

		if (!stream_review(s))
			continue;
		c = crossing_between(map, from, s->view);
		if (c)
			stream_move(s, &c->live, STREAM_LIVE);
		else
			stream_move(s, &map->waiting, STREAM_WAITING);
	}
}

static void review_all(struct stream_list *list)
{
	struct map_stream *s, *next;

	for (s = TAILQ_FIRST(list); s; s = next) {
		next = TAILQ_NEXT(s, entry);
		stream_review(s);
	}
}

void map_policy_changed(struct map *map)
{
	struct view *old;

	map_settle(map);
	old = map->views;
	map->views = NULL;
	review_all(&map->waiting);
	review_all(&map->behind);
	for (struct view *view = old; view; view = view->next)
		view_leave(map, view);
	while (old) {
		struct view *next = old->next;

		view_free(old);
		old = next;
	}
	map->tick_cost = 0;
	map->phase = MAP_CROSSING;
	map_wake(map);
}

/* ---- telling ------------------------------------------------------------------------------- */

static void cross(struct crossing *c, struct map_stream *s)
{
	stream_move(s, &c->to->live, STREAM_LIVE);
	if (!stream_may(s))
		return;
	if (c->delta)
		stream_delta(s, c->delta);
	else
		stream_move(s, &s->map->waiting, STREAM_WAITING);
	if (s->state == STREAM_LIVE)
		stream_policy(s);
}

static void crossing_free(struct map *map, struct crossing *c)
{
	map->crossings = c->next;
	delta_free(c->delta);
	free(c);
}

bool crossings_run(struct map *map, uint64_t until)
{
	struct crossing *c;
	struct map_stream *s;
	unsigned n = 0;

	while ((c = map->crossings)) {
		while ((s = TAILQ_FIRST(&c->live))) {
			cross(c, s);
			if (!(++n % 16) && tailnet_clock(map->t) >= until) {
				batch_end(map);
				return false;
			}
		}
		batch_end(map);
		crossing_free(map, c);
	}
	return true;
}

void crossings_end(struct map *map)
{
	while (map->crossings) {
		streams_end(&map->crossings->live);
		crossing_free(map, map->crossings);
	}
}

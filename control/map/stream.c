/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Streams of maps: what each recipient is sent, and when it is sent nothing. Control loop.
 *
 * A stream waits for a full map, is then live and gets each tick's delta, and falls behind when it
 * has more unsent than it may: then it gets nothing until all has gone, and waits for a full map
 * again. Nothing overtakes a full map, because deltas go to live streams only.
 */
#include <stdlib.h>
#include <string.h>

#include "engine.h"
#include "frame.h"
#include "record.h"

#define KEEP_ALIVE_NS (50 * SECOND)
#define JITTER_NS (9 * SECOND)

#define LIT(out, text) json_out_raw(out, text, sizeof(text) - 1)

/* ---- lists, wheel -------------------------------------------------------------------------- */

void stream_move(struct map_stream *s, struct stream_list *list, enum stream_state state)
{
	if (s->map->cursor == s)
		s->map->cursor = TAILQ_NEXT(s, entry);
	if (s->list)
		TAILQ_REMOVE(s->list, s, entry);
	s->list = list;
	s->state = state;
	if (list)
		TAILQ_INSERT_TAIL(list, s, entry);
}

/* In the first second that begins after `at`. */
static void wheel_put(struct map_stream *s, uint64_t at)
{
	s->slot = (unsigned)((at / SECOND + 1) % WHEEL_SLOTS);
	TAILQ_INSERT_TAIL(&s->map->wheel[s->slot], s, wheel_entry);
}

static void keep_alive(struct map_stream *s)
{
	static const char text[] = "{\"KeepAlive\":true}";
	struct map *map = s->map;
	struct blob *frame;

	/* the same bytes each time: clients know them and do not decode */
	if (!map->keep_alive)
		map->keep_alive = frame_make(text, sizeof(text) - 1);
	if (!map->keep_alive)
		return;
	frame = blob_get(map->keep_alive);
	stream_send(s, &frame, 1);
	map->stats.keep_alives++;
}

static void wheel_slot(struct map *map, uint64_t now)
{
	struct wheel_list *slot = &map->wheel[now / SECOND % WHEEL_SLOTS], due;
	struct map_stream *s;

	TAILQ_INIT(&due);
	TAILQ_CONCAT(&due, slot, wheel_entry);
	while ((s = TAILQ_FIRST(&due))) {
		TAILQ_REMOVE(&due, s, wheel_entry);
		if (s->last_sent + s->interval <= now && s->state != STREAM_BEHIND)
			keep_alive(s);
		wheel_put(s, s->last_sent + s->interval > now ? s->last_sent + s->interval : now);
	}
}

/* Who fell behind and has sent all: a full map brings it up to date. */
static void behind_look(struct map *map)
{
	struct map_stream *s, *next;

	for (s = TAILQ_FIRST(&map->behind); s; s = next) {
		next = TAILQ_NEXT(s, entry);
		if (!rpc_backlog(s->rpc).bytes)
			stream_move(s, &map->waiting, STREAM_WAITING);
	}
}

void wheel_run(struct map *map, uint64_t now)
{
	for (unsigned i = 0; map->wheel_at <= now && i < WHEEL_SLOTS; i++) {
		wheel_slot(map, map->wheel_at);
		map->wheel_at += SECOND;
	}
	if (map->wheel_at <= now)
		map->wheel_at = now + SECOND;
	behind_look(map);
}

void streams_init(struct map *map)
{
	TAILQ_INIT(&map->waiting);
	TAILQ_INIT(&map->behind);
	TAILQ_INIT(&map->ghosts);
	TAILQ_INIT(&map->filling);
	for (unsigned i = 0; i < WHEEL_SLOTS; i++)
		TAILQ_INIT(&map->wheel[i]);
}

/* ---- sending ------------------------------------------------------------------------------- */

void stream_send(struct map_stream *s, struct blob *const *frames, unsigned n)
{
	rpc_send(s->rpc, frames, n);
	s->last_sent = tailnet_clock(s->map->t);
}

void batch_end(struct map *map)
{
	struct map_batch *batch = &map->batch;

	if (batch->n)
		rpc_send_many(batch->rpcs, batch->n, &batch->frame, 1);
	batch->frame = NULL;
	batch->n = 0;
}

void stream_batch(struct map_stream *s, struct blob *frame)
{
	struct map_batch *batch = &s->map->batch;

	if (batch->frame != frame || batch->n == RPC_MANY_MAX)
		batch_end(s->map);
	if (batch->n)
		blob_put(frame); /* one reference does for all */
	batch->frame = frame;
	batch->rpcs[batch->n++] = s->rpc;
	s->last_sent = tailnet_clock(s->map->t);
}

void stream_delta(struct map_stream *s, struct delta *delta)
{
	struct blob *frames[DELTA_FRAMES_MAX];
	int n = delta_frames(delta, s->id, frames);

	if (n > 0) {
		s->map->stats.delta_records += delta_records(delta);
		s->map->stats.patches += delta_patches(delta);
	}
	if (n == 1)
		stream_batch(s, frames[0]);
	else if (n > 0)
		stream_send(s, frames, (unsigned)n);
	else if (n < 0) /* what it misses now comes with a full map */
		stream_move(s, &s->map->waiting, STREAM_WAITING);
}

bool stream_may(struct map_stream *s)
{
	if (rpc_backlog(s->rpc).bytes <= s->full_bytes + s->map->conf.backlog_max)
		return true;
	stream_move(s, &s->map->behind, STREAM_BEHIND);
	rpc_want_drained(s->rpc);
	s->map->stats.behind++;
	return false;
}

static void filled(struct map_stream *s)
{
	if (!s->filling)
		return;
	TAILQ_REMOVE(&s->map->filling, s, filling_entry);
	s->map->filling_bytes -= s->full_bytes;
	s->full_bytes = 0;
	s->filling = false;
}

static void fill_begins(struct map_stream *s, size_t bytes)
{
	filled(s);
	s->full_bytes = bytes;
	s->filling = true;
	s->map->filling_bytes += bytes;
	TAILQ_INSERT_TAIL(&s->map->filling, s, filling_entry);
}

static uint64_t hash_of(const char *text)
{
	return text ? index_hash(text, strlen(text)) : 0;
}

/* Of all that a policy says of the node to itself. */
static uint64_t policy_hash(const struct policy_ops *policy, const struct node *node)
{
	uint64_t parts[] = {hash_of(policy->filters(node)), hash_of(policy->ssh(node)),
		policy->capabilities ? hash_of(policy->capabilities(node)) : 0};

	return index_hash(parts, sizeof(parts));
}

static struct blob *head_frame(struct map *map, const struct node *node)
{
	static struct json_out out;
	const struct policy_ops *policy = map->t->policy;

	json_out_reset(&out);
	LIT(&out, "{\"Node\":");
	record_self(&out, &map->conf, policy, node);
	LIT(&out, ",\"ControlTime\":");
	json_out_time(&out, tailnet_wall(map->t));
	LIT(&out, ",\"PacketFilters\":");
	json_out_text(&out, policy->filters(node));
	LIT(&out, ",\"SSHPolicy\":");
	json_out_text(&out, policy->ssh(node));
	LIT(&out, ",\"Peers\":[");
	return json_out_ok(&out) ? frame_make(out.text, out.len) : NULL;
}

static void tail_text(struct map *map, struct view *view, struct json_out *out,
	const struct user *extra, bool with_extra)
{
	LIT(out, "],\"UserProfiles\":[");
	view_profiles(view, map->t, out);
	if (with_extra) {
		if (view->users.n)
			LIT(out, ",");
		record_profile(out, extra);
	}
	LIT(out, "],\"DNSConfig\":");
	json_out_text(out, map->conf.dns);
	if (map->conf.derp) {
		LIT(out, ",\"DERPMap\":");
		json_out_text(out, map->conf.derp);
	}
	LIT(out, ",\"Domain\":");
	json_out_string(out, map->conf.base_domain);
	LIT(out, ",\"CollectServices\":false,\"ClientVersion\":{\"RunningLatest\":true}");
	if (!map->conf.log_tail)
		LIT(out, ",\"Debug\":{\"DisableLogTail\":true}");
	LIT(out, "}");
}

struct blob *tail_frame(struct map *map, struct view *view, const struct user *user)
{
	static struct json_out out;
	bool extra = !view_knows(view, user);

	if (!extra && view->tail)
		return blob_get(view->tail);
	json_out_reset(&out);
	tail_text(map, view, &out, user, extra);
	if (!json_out_ok(&out))
		return NULL;
	if (extra)
		return frame_make(out.text, out.len);
	view->tail = frame_make(out.text, out.len);
	return view->tail ? blob_get(view->tail) : NULL;
}

/* The frames of a full map into `frames` (room for two more than view_frames_max). 0: no memory. */
static unsigned full_frames(
	struct map *map, struct view *view, const struct node *node, struct blob **frames)
{
	int n;

	frames[0] = head_frame(map, node);
	if (!frames[0])
		return 0;
	n = view_frames(view, &map->conf, map->t->policy, node, frames + 1, &map->stats);
	if (n < 0) {
		blob_put(frames[0]);
		return 0;
	}
	frames[n + 1] = tail_frame(map, view, node->user);
	if (frames[n + 1])
		return (unsigned)n + 2;
	for (; n >= 0; n--)
		blob_put(frames[n]);
	return 0;
}

void stream_full(struct map_stream *s)
{
	struct map *map = s->map;
	struct blob **frames = calloc(view_frames_max(s->view) + 2, sizeof(struct blob *));
	unsigned n = frames ? full_frames(map, s->view, s->node, frames) : 0;
	size_t bytes = 0;

	/* A list that is empty does not mean "no peers" to who has some: it must ask anew. */
	if (!n || (n == 2 && s->has_map)) {
		for (unsigned i = 0; i < n; i++)
			blob_put(frames[i]);
		free(frames);
		rpc_end(s->rpc, true);
		stream_free(s);
		return;
	}
	for (unsigned i = 0; i < n; i++)
		bytes += frames[i]->len;
	stream_send(s, frames, n);
	free(frames);
	s->has_map = true;
	s->policy = policy_hash(map->t->policy, s->node);
	fill_begins(s, bytes);
	stream_move(s, &s->view->live, STREAM_LIVE);
	map->stats.full_maps++;
	map->stats.full_records += s->view->n_nodes;
	node_mapped(map->t, s->node, !TAILQ_EMPTY(&map->waiting));
}

void map_once(struct map *map, struct node *node, struct rpc *rpc)
{
	struct view *view = map_view(map, node);
	struct blob **frames =
		view ? calloc(view_frames_max(view) + 2, sizeof(struct blob *)) : NULL;
	unsigned n = frames ? full_frames(map, view, node, frames) : 0;

	if (n)
		rpc_send(rpc, frames, n);
	free(frames);
	rpc_end(rpc, false);
}

/* Their full maps have gone to the socket. */
static void filling_look(struct map *map)
{
	struct map_stream *s, *next;

	for (s = TAILQ_FIRST(&map->filling); s; s = next) {
		next = TAILQ_NEXT(s, filling_entry);
		if (rpc_backlog(s->rpc).bytes <= map->conf.backlog_max / 4)
			filled(s);
	}
}

bool streams_fillable(struct map *map)
{
	if (TAILQ_EMPTY(&map->waiting))
		return false;
	if (map->filling_bytes >= map->conf.filling_max)
		filling_look(map);
	return map->filling_bytes < map->conf.filling_max;
}

void streams_fill(struct map *map, uint64_t until)
{
	filling_look(map);
	while (streams_fillable(map)) {
		stream_full(TAILQ_FIRST(&map->waiting));
		if (tailnet_clock(map->t) >= until)
			return;
	}
}

/* ---- life ---------------------------------------------------------------------------------- */

void streams_end(struct stream_list *list)
{
	struct map_stream *s;

	while ((s = TAILQ_FIRST(list))) {
		rpc_end(s->rpc, true);
		stream_free(s);
	}
}

static void drained(struct rpc *rpc)
{
	struct map_stream *s = rpc->user;

	if (s->state != STREAM_BEHIND)
		return;
	stream_move(s, &s->map->waiting, STREAM_WAITING);
	map_wake(s->map);
}

static void closed(struct rpc *rpc)
{
	stream_free(rpc->user);
}

static struct map_stream *stream_new(struct map *map, struct node *node, struct rpc *rpc)
{
	struct map_stream *s = calloc(1, sizeof(*s));
	uint64_t now = tailnet_clock(map->t);
	uint32_t random;

	if (!s)
		return NULL;
	secret_random(&random, sizeof(random));
	s->user = (struct rpc_user){closed, drained};
	s->map = map;
	s->node = node;
	s->id = node ? node->d.id : 0;
	s->rpc = rpc;
	rpc->user = s;
	s->interval = KEEP_ALIVE_NS + random % JITTER_NS;
	s->last_sent = now;
	if (!map->stats.streams++)
		map->wheel_at = now / SECOND * SECOND + SECOND;
	wheel_put(s, now + s->interval);
	return s;
}

static void unlink_node(struct map_stream *s)
{
	struct map_node *mn = s->node ? s->node->map : NULL;

	if (!mn)
		return;
	for (struct map_stream **at = &mn->streams; *at; at = &(*at)->next_of_node)
		if (*at == s) {
			*at = s->next_of_node;
			return;
		}
}

void stream_free(struct map_stream *s)
{
	struct map *map = s->map;

	filled(s);
	unlink_node(s);
	stream_move(s, NULL, STREAM_GHOST);
	TAILQ_REMOVE(&map->wheel[s->slot], s, wheel_entry);
	map->stats.streams--;
	if (s->node)
		node_session_end(map->t, s->node);
	rpc_done(s->rpc);
	free(s);
}

struct map_stream *map_stream_open(struct map *map, struct node *node, struct rpc *rpc)
{
	struct map_node *mn = node->map;
	struct map_stream *s = mn ? stream_new(map, node, rpc) : NULL;

	if (s)
		s->view = map_view(map, node);
	if (!s || !s->view) {
		rpc_end(rpc, true);
		if (s) {
			s->node = NULL;
			stream_free(s);
		} else {
			rpc_done(rpc);
		}
		return NULL;
	}
	/* begin before the older ones end: the node never seems to go */
	node_session_begin(map->t, node);
	while (mn->streams) {
		rpc_end(mn->streams->rpc, true);
		stream_free(mn->streams);
	}
	mn->streams = s;
	stream_move(s, &map->waiting, STREAM_WAITING);
	map_wake(map);
	return s;
}

/* What makes a client of a node that is gone ask for a login: its own record, with a key that has
 * expired. */
static void ghost_record(struct json_out *out, const struct map_conf *conf, int64_t id,
	const struct public_key *key, const struct public_key *machine)
{
	LIT(out, "{\"Node\":{\"ID\":");
	json_out_int(out, id);
	LIT(out, ",\"StableID\":\"");
	json_out_int(out, id);
	LIT(out, "\",\"Name\":\"deleted.");
	json_out_text(out, conf->base_domain);
	LIT(out, ".\",\"User\":2147455555,\"Key\":");
	json_out_key(out, "nodekey:", key);
	LIT(out, ",\"Machine\":");
	json_out_key(out, "mkey:", machine);
	LIT(out,
		",\"KeyExpiry\":\"1970-01-01T00:00:01Z\",\"Expired\":true,\"Addresses\":[],"
		"\"AllowedIPs\":[],\"Hostinfo\":{},\"MachineAuthorized\":true},\"UserProfiles\":[");
	record_profile(out, NULL);
	LIT(out, "]}");
}

static void send_ghost(struct map *map, struct rpc *rpc, int64_t id, const struct public_key *key,
	const struct public_key *machine)
{
	struct json_out out = {0};
	struct blob *frame;

	ghost_record(&out, &map->conf, id, key, machine);
	frame = json_out_ok(&out) ? frame_make(out.text, out.len) : NULL;
	if (frame)
		rpc_send(rpc, &frame, 1);
	json_out_fini(&out);
}

struct map_stream *map_ghost_open(struct map *map, const struct public_key *key, struct rpc *rpc)
{
	struct map_stream *s = stream_new(map, NULL, rpc);

	if (!s) {
		rpc_end(rpc, true);
		rpc_done(rpc);
		return NULL;
	}
	stream_move(s, &map->ghosts, STREAM_GHOST);
	/* an id that no node will have, and that JSON numbers hold */
	send_ghost(map, rpc, (1ll << 53) - 1, key, &rpc->machine);
	return s;
}

void stream_farewell(struct map_stream *s)
{
	send_ghost(s->map, s->rpc, s->node->d.id, &s->node->d.key, &s->node->d.machine);
	rpc_end(s->rpc, false);
	unlink_node(s);
	s->node = NULL; /* nobody counts its sessions any more */
	stream_free(s);
}

/* ---- of itself ----------------------------------------------------------------------------- */

static void send_self(struct map_stream *s)
{
	struct map *map = s->map;
	struct json_out out = {0};
	struct blob *frame;

	LIT(&out, "{\"Node\":");
	record_self(&out, &map->conf, map->t->policy, s->node);
	LIT(&out, ",\"PacketFilters\":");
	json_out_text(&out, map->t->policy->filters(s->node));
	LIT(&out, ",\"SSHPolicy\":");
	json_out_text(&out, map->t->policy->ssh(s->node));
	/* its owner may be another one now, and a client looks for the profile at once */
	LIT(&out, ",\"UserProfiles\":[");
	record_profile(&out, s->node->user);
	LIT(&out, "]}");
	frame = json_out_ok(&out) ? frame_make(out.text, out.len) : NULL;
	if (frame)
		stream_send(s, &frame, 1);
	json_out_fini(&out);
	s->policy = policy_hash(map->t->policy, s->node);
}

void stream_policy(struct map_stream *s)
{
	if (s->policy != policy_hash(s->map->t->policy, s->node))
		send_self(s);
}

void stream_self(struct map_stream *s)
{
	struct view *view = map_view(s->map, s->node);

	if (view && view != s->view) {
		s->view = view;
		if (s->state == STREAM_LIVE)
			stream_move(s, &s->map->waiting, STREAM_WAITING);
		return;
	}
	if (s->state == STREAM_LIVE && stream_may(s))
		send_self(s);
}

bool map_tell(struct map *map, struct node *node, const char *json)
{
	struct map_node *mn = node->map;
	struct map_stream *s = mn ? mn->streams : NULL;
	struct json_out out = {0};
	struct blob *frame;

	(void)map;
	if (!s || s->state != STREAM_LIVE || !stream_may(s))
		return false;
	LIT(&out, "{");
	json_out_text(&out, json);
	LIT(&out, "}");
	frame = json_out_ok(&out) ? frame_make(out.text, out.len) : NULL;
	json_out_fini(&out);
	if (!frame)
		return false;
	stream_send(s, &frame, 1);
	return true;
}

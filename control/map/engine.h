/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

/* What the files of this folder share. Control loop. */
#include "delta.h"
#include "json_out.h"
#include "map.h"
#include "policy.h"
#include "rpc.h"
#include "view.h"

#define WHEEL_SLOTS 64
#define SECOND 1000000000ull

/* A node's place here. */
struct map_node {
	struct node *node;
	unsigned what; /* since the last tick; 0: not in the list */
	struct map_node *next_dirty, **prev_dirty;
	struct map_stream *streams; /* newest first, by next_of_node */
};

enum stream_state {
	STREAM_WAITING, /* for a full map, in map->waiting */
	STREAM_LIVE,    /* in view->live */
	STREAM_BEHIND,  /* has more unsent than it may; in map->behind */
	STREAM_GHOST,   /* of a node that is not there; in map->ghosts */
};

struct map_stream {
	struct rpc_user user;
	/* what each delta touches */
	struct map *map;
	struct rpc *rpc;
	struct view *view;
	int64_t id;         /* of the node */
	uint64_t last_sent; /* ns */
	size_t full_bytes;  /* of the full map under way; 0: none */
	TAILQ_ENTRY(map_stream) entry;
	struct node *node; /* NULL: ghost */
	enum stream_state state;
	struct stream_list *list;
	TAILQ_ENTRY(map_stream) wheel_entry;
	unsigned slot;
	struct map_stream *next_of_node;
	uint64_t interval; /* of keep-alives, ns */
	uint64_t policy;   /* hash of what it was told of its own filters and rules */
	TAILQ_ENTRY(map_stream) filling_entry;
	bool filling; /* in map->filling */
	bool has_map;
};

TAILQ_HEAD(filling_list, map_stream);
TAILQ_HEAD(wheel_list, map_stream);

/* Streams that get the same frame, not sent yet. */
struct map_batch {
	struct blob *frame; /* NULL: empty */
	struct rpc *rpcs[RPC_MANY_MAX];
	unsigned n;
};

enum map_phase { MAP_IDLE, MAP_FANOUT, MAP_CROSSING };

struct map {
	struct tailnet *t;
	struct map_conf conf; /* texts are our own */
	struct tailnet_listener listener;
	struct view *views;
	struct map_node *dirty;
	bool gathered; /* a view has gathered something */
	struct stream_list waiting, behind, ghosts;
	struct filling_list filling;
	size_t filling_bytes;
	struct wheel_list wheel[WHEEL_SLOTS];
	uint64_t wheel_at; /* the second that is next, ns */
	struct blob *keep_alive;
	enum map_phase phase;
	struct view *fan;            /* whose streams are served now */
	struct map_stream *cursor;   /* the next of them */
	struct map_batch batch;      /* empty but within a slice */
	struct crossing *crossings;  /* in phase MAP_CROSSING */
	struct blob *global;         /* for all streams, this tick; NULL: nothing */
	struct json_out global_text; /* members gathered for it */
	uint64_t dirty_since;        /* when the first change came for the next tick; 0: none */
	uint64_t tick_at;            /* not earlier */
	uint64_t tick_cost;          /* of the tick under way, ns */
	struct map_stats stats;
	void (*wake)(void *arg);
	void *wake_arg;
};

void map_wake(struct map *map);
/* The view of a node, made when it is new; NULL without memory. */
struct view *map_view(struct map *map, const struct node *node);

void stream_move(struct map_stream *stream, struct stream_list *list, enum stream_state state);
/* Sends and forgets about the references; restarts its keep-alive. */
void stream_send(struct map_stream *stream, struct blob *const *frames, unsigned n);
/* The same with one frame that others get too; batch_end sends what is left. */
void stream_batch(struct map_stream *stream, struct blob *frame);
void batch_end(struct map *map);
void stream_free(struct map_stream *stream); /* with rpc_done */
/* What the delta says to it. */
void stream_delta(struct map_stream *stream, struct delta *delta);
/* Its own record changed, or its view. */
void stream_self(struct map_stream *stream);
/* The policy changed: told if that is so for this node. */
void stream_policy(struct map_stream *stream);
/* The node is gone: tells it, and ends. */
void stream_farewell(struct map_stream *stream);
void stream_full(struct map_stream *stream);
/* False: it has too much unsent and is behind now. */
bool stream_may(struct map_stream *stream);
void streams_fill(struct map *map, uint64_t until);
void streams_end(struct stream_list *list);
/* Until no tick or crossing is under way. */
void map_settle(struct map *map);
/* crossing.c: true when all have crossed. */
bool crossings_run(struct map *map, uint64_t until);
void crossings_end(struct map *map);
bool streams_fillable(struct map *map);
void wheel_run(struct map *map, uint64_t now);
void streams_init(struct map *map);
/* Full maps' last part: in the view, or for one whose user the view does not know. */
struct blob *tail_frame(struct map *map, struct view *view, const struct user *user);

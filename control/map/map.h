/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

/*
 * What each node is shown of the tailnet, and the streams that show it. Listens to the tailnet;
 * gathers what changed; sends it once a tick. Control loop.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "json_out.h"
#include "rpc.h"
#include "tailnet.h"

/* Parts of maps that are the same for all, as JSON. Copied by map_configure. */
struct map_conf {
	const char *base_domain; /* without dots at the ends */
	const char *dns;         /* of "DNSConfig" */
	const char *derp;        /* of "DERPMap"; NULL: none yet */
	bool taildrop, auto_update, log_tail;
	uint64_t backlog_max; /* bytes that a stream may have unsent besides a full map */
	uint64_t filling_max; /* bytes of full maps under way to all */
};

struct map_stats {
	uint64_t ticks, deltas, full_maps, full_records, delta_records, patches, keep_alives;
	uint64_t behind, blocks_built, blocks_private;
	size_t streams, waiting;
};

struct map;
struct map_stream;

/* First in what rpc->user points to, if it points to anything: what the transport's news mean. */
struct rpc_user {
	void (*closed)(struct rpc *rpc);  /* NULL: the answer comes, and goes nowhere */
	void (*drained)(struct rpc *rpc); /* NULL: no matter */
};

struct map *map_new(struct tailnet *t, const struct map_conf *conf); /* NULL: no memory */
void map_free(struct map *map);                                      /* ends all streams */
/* Settings, DERP map or DNS changed: what differs is sent. */
void map_configure(struct map *map, const struct map_conf *conf);
/* The policy changed, or which it is: each stream is told what differs for it. */
void map_policy_changed(struct map *map);

/* A map request that streams; the answer has begun with rpc_stream. Older streams of the node end.
 * NULL without memory (the request is ended). */
struct map_stream *map_stream_open(struct map *map, struct node *node, struct rpc *rpc);
/* For a machine whose node is gone: what makes its client ask for a login, and keep-alives. */
struct map_stream *map_ghost_open(struct map *map, const struct public_key *key, struct rpc *rpc);
/* One full map and the end. */
void map_once(struct map *map, struct node *node, struct rpc *rpc);
/* An extra message to the newest stream of a node, such as a ping request; false: it has none that
 * takes one now. `json`: members without the braces. */
bool map_tell(struct map *map, struct node *node, const char *json);

/* When map_run wants to be called (ns, monotonic; 0: not at all). */
uint64_t map_due(const struct map *map);
/* Works for at most about `budget` ns. */
void map_run(struct map *map, uint64_t budget);
/* A storm of full maps is over: gives back what only they need. */
void map_tidy(void);
/* map_due has become earlier. */
void map_on_wake(struct map *map, void (*wake)(void *arg), void *arg);
const struct map_stats *map_stats(const struct map *map);

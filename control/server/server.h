/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

/*
 * The requests of clients that came through the Noise transport, and what the server asks clients.
 * Control loop.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <ev.h>
#include <tailplane/jobs.h>

#include "map.h"
#include "rpc.h"
#include "tailnet.h"

/* Clients older than this (1.80) do not speak what this server does. */
#define CAP_VERSION_MIN 113

struct server_conf {
	const char *server_url;  /* without a slash at the end */
	uint64_t probe_interval; /* ns */
	uint64_t probe_timeout;  /* ns */
};

struct server_stats {
	uint64_t requests, registrations, refused, reports, streams, unknown_nodes;
	uint64_t probes, probes_lost;
};

struct server {
	struct tailnet *tailnet;
	struct map *map;
	struct server_conf conf; /* texts stay the caller's */
	struct server_stats stats;
	struct ev_loop *loop;
	ev_timer tailnet_timer, map_timer, ping_timer, probe_timer, calm_timer;
	struct job tidy;
	bool tidying;
	uint64_t tidied;    /* full maps that had been sent then */
	struct ping *pings; /* oldest first */
	struct ping **pings_tail;
	struct index pings_by_token;
	uint64_t refused_logged;
	struct late *late;
};

/* The tailnet and the map are driven from here on. */
void server_start(struct server *server, struct ev_loop *loop);
void server_stop(struct server *server);
/* The settings changed. */
void server_configure(struct server *server, const struct server_conf *conf);

/* For the transport: rpc_ops. */
void server_request(struct server *server, struct rpc *rpc);
void server_closed(struct rpc *rpc);
void server_drained(struct rpc *rpc);

/* One of the paths. Each ends with an answer and rpc_done, now or later. */
void serve_register(struct server *server, struct rpc *rpc);
void serve_map(struct server *server, struct rpc *rpc);
void serve_side_call(struct server *server, struct rpc *rpc);
#define SSH_ACTION_PATH "/machine/ssh/action/"
void serve_ssh_action(struct server *server, struct rpc *rpc);
/* The whole answer at once, and rpc_done. */
void answer(struct rpc *rpc, int status, const char *type, const char *text);
void answer_json(struct rpc *rpc, int status, const char *json, size_t len);
void late_stop(struct server *server);

/* ---- asking clients ------------------------------------------------------------------------ */

/* The client's answer: a body (of c2n: an HTTP response), or NULL when none came in time or its
 * stream is gone. */
typedef void (*ping_done_fn)(void *arg, bool alive, const void *body, size_t len);
struct ping_wish {
	const void
		*c2n; /* an HTTP/1.1 request for the client itself; NULL: only whether it lives */
	size_t c2n_len;
	uint64_t timeout; /* ns */
};
/* Through its newest stream. 0, -ENOTCONN, -ENOMEM; `done` not before this returns. */
int ping_node(struct server *server, struct node *node, const struct ping_wish *wish,
	ping_done_fn done, void *arg);
/* A client's answer came in at /machine/ping/TOKEN. False: nobody asked. */
bool ping_answer(struct server *server, const char *token, const struct rpc *rpc);
void pings_stop(struct server *server);
void probes_start(struct server *server);
void probes_stop(struct server *server);

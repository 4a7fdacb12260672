/* SPDX-License-Identifier: BSD-3-Clause */
/* POST /machine/map: streams, and reports of what changed at the client. Control loop. */
#include <stdlib.h>
#include <string.h>

#include <tailplane/log.h>
#include <tailplane/loop.h>

#include "requests.h"
#include "server.h"

/* A client reports right after its stream began, or with it; what the stream's request says itself
 * is only taken when nothing came, for it may be older. */
#define LATE_SECONDS 0.4

struct late {
	struct server *server;
	struct map_request request;
	int64_t node;
	ev_timer timer;
	struct late *next, **prev;
};

static void late_free(struct late *late)
{
	*late->prev = late->next;
	if (late->next)
		late->next->prev = late->prev;
	ev_timer_stop(late->server->loop, &late->timer);
	map_request_fini(&late->request);
	free(late);
}

void late_stop(struct server *server)
{
	while (server->late)
		late_free(server->late);
}

static void report(struct server *server, struct node *node, const struct map_request *request,
	tailnet_done_fn done, void *arg)
{
	struct node_report said = {
		.disco = &request->disco_key,
		.cap = request->version,
		.hostinfo = request->hostinfo,
		.said = request->said,
		.endpoints = request->endpoints,
	};

	server->stats.reports++;
	node_report(server->tailnet, node, &said, done, arg);
}

LOOP_CALLBACK(late_report, ev_timer)
{
	struct late *late = watcher->data;
	struct node *node = node_by_id(late->server->tailnet, late->node);

	(void)loop, (void)revents;
	if (node && !node->ready && !node->ready_at)
		report(late->server, node, &late->request, NULL, NULL);
	late_free(late);
}

/* Takes the request. */
static void late_start(struct server *server, const struct node *node, struct map_request *request)
{
	struct late *late = calloc(1, sizeof(*late));

	if (!late)
		return;
	late->server = server;
	late->request = *request;
	*request = (struct map_request){0};
	late->node = node->d.id;
	late->next = server->late;
	late->prev = &server->late;
	if (late->next)
		late->next->prev = &late->next;
	server->late = late;
	ev_timer_init(&late->timer, late_report, LATE_SECONDS, 0.);
	late->timer.data = late;
	ev_timer_start(server->loop, &late->timer);
}

/* ---- modes --------------------------------------------------------------------------------- */

static void serve_stream(
	struct server *server, struct rpc *rpc, struct node *node, struct map_request *request)
{
	struct node_report said = {.cap = request->version};

	server->stats.streams++;
	rpc_stream(rpc);
	if (!map_stream_open(server->map, node, rpc))
		return;
	if (node->d.cap != request->version)
		node_report(server->tailnet, node, &said, NULL, NULL);
	if (!node->ready && !node->ready_at)
		late_start(server, node, request);
}

/* A report that is being written. */
struct reporting {
	struct rpc_user user;
	struct rpc *rpc; /* NULL: the client did not wait */
};

static void reporting_closed(struct rpc *rpc)
{
	struct reporting *reporting = rpc->user;

	reporting->rpc = NULL;
	rpc_done(rpc);
}

static void reported(void *arg, const struct tailnet_result *result)
{
	struct reporting *reporting = arg;

	if (reporting->rpc && result->error)
		answer(reporting->rpc, 500, "text/plain", result->why);
	else if (reporting->rpc)
		answer_json(reporting->rpc, 200, "", 0);
	free(reporting);
}

static void serve_report(
	struct server *server, struct rpc *rpc, struct node *node, struct map_request *request)
{
	struct reporting *reporting = calloc(1, sizeof(*reporting));

	if (!reporting) {
		answer(rpc, 500, "text/plain", "out of memory\n");
		return;
	}
	reporting->user.closed = reporting_closed;
	reporting->rpc = rpc;
	rpc->user = reporting;
	report(server, node, request, reported, reporting);
}

static void serve_once(struct server *server, struct rpc *rpc, struct node *node)
{
	rpc_stream(rpc);
	map_once(server->map, node, rpc);
	rpc_done(rpc);
}

/* A node that is not there, or another machine's. */
static void serve_unknown(struct server *server, struct rpc *rpc, const struct map_request *request)
{
	server->stats.unknown_nodes++;
	if (node_by_key(server->tailnet, &request->node_key)) {
		answer(rpc, 403, "text/plain", "this node key belongs to another machine\n");
	} else if (request->stream) {
		rpc_stream(rpc);
		map_ghost_open(server->map, &request->node_key, rpc);
	} else {
		answer(rpc, 404, "text/plain", "there is no node with this key: log in again\n");
	}
}

static void serve_parsed(struct server *server, struct rpc *rpc, struct map_request *request)
{
	struct node *node = node_by_keys(server->tailnet, &rpc->machine, &request->node_key);
	struct err err = {0};

	if (!(node && node_said(server->tailnet, node, request->said)) &&
		map_request_hostinfo(request, &err)) {
		answer(rpc, 400, "text/plain", err.msg);
		return;
	}
	if (request->version < CAP_VERSION_MIN)
		answer(rpc, 400, "text/plain",
			"this client is too old for this server: 1.80 or newer is needed\n");
	else if (!node)
		serve_unknown(server, rpc, request);
	else if (request->stream)
		serve_stream(server, rpc, node, request);
	else if (request->omit_peers && !request->read_only)
		serve_report(server, rpc, node, request);
	else
		serve_once(server, rpc, node);
}

void serve_map(struct server *server, struct rpc *rpc)
{
	struct map_request request;
	struct err err = {0};

	if (map_request_parse(&request, rpc->body, rpc->body_len, &err)) {
		answer(rpc, 400, "text/plain", err.msg);
		return;
	}
	serve_parsed(server, rpc, &request);
	map_request_fini(&request);
}

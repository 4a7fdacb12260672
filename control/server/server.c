/* SPDX-License-Identifier: BSD-3-Clause */
/* Control loop. */
#include "server.h"

#include <stddef.h>
#include <string.h>

#include <tailplane/log.h>
#include <tailplane/loop.h>

/* How long a map's work may hold the loop before others get their turn. */
#define MAP_SLICE_NS (5 * 1000000ull)

/* ---- the clocks of tailnet and map --------------------------------------------------------- */

static double seconds_until(const struct server *server, uint64_t at)
{
	uint64_t now = tailnet_clock(server->tailnet);

	return at <= now ? 0. : (double)(at - now) * 1e-9;
}

static void arm(struct server *server, ev_timer *timer, uint64_t at)
{
	ev_timer_stop(server->loop, timer);
	if (!at)
		return;
	ev_timer_set(timer, seconds_until(server, at), 0.);
	ev_timer_start(server->loop, timer);
}

static void tailnet_wakes(void *arg)
{
	struct server *server = arg;

	arm(server, &server->tailnet_timer, tailnet_due(server->tailnet));
}

static void map_wakes(void *arg)
{
	struct server *server = arg;

	if (!ev_is_active(&server->map_timer) || server->map_timer.at > 0.)
		arm(server, &server->map_timer, map_due(server->map));
}

LOOP_CALLBACK(tailnet_tick, ev_timer)
{
	struct server *server = watcher->data;

	(void)loop, (void)revents;
	tailnet_run(server->tailnet);
	tailnet_wakes(server);
}

LOOP_CALLBACK(map_tick, ev_timer)
{
	struct server *server = watcher->data;

	(void)loop, (void)revents;
	map_run(server->map, MAP_SLICE_NS);
	arm(server, &server->map_timer, map_due(server->map));
}

void server_start(struct server *server, struct ev_loop *loop)
{
	server->loop = loop;
	server->pings_tail = &server->pings;
	ev_timer_init(&server->tailnet_timer, tailnet_tick, 0., 0.);
	ev_timer_init(&server->map_timer, map_tick, 0., 0.);
	server->tailnet_timer.data = server->map_timer.data = server;
	server->tailnet->conf.wake = tailnet_wakes;
	server->tailnet->conf.wake_arg = server;
	map_on_wake(server->map, map_wakes, server);
	probes_start(server);
	tailnet_wakes(server);
}

void server_stop(struct server *server)
{
	probes_stop(server);
	pings_stop(server);
	late_stop(server);
	server->tailnet->conf.wake = NULL;
	map_on_wake(server->map, NULL, NULL);
	ev_timer_stop(server->loop, &server->tailnet_timer);
	ev_timer_stop(server->loop, &server->map_timer);
}

void server_configure(struct server *server, const struct server_conf *conf)
{
	bool probes = server->conf.probe_interval != conf->probe_interval;

	server->conf = *conf;
	if (!probes)
		return;
	probes_stop(server);
	probes_start(server);
}

/* ---- requests ------------------------------------------------------------------------------ */

void answer(struct rpc *rpc, int status, const char *type, const char *text)
{
	rpc_reply(rpc, status, type, text, strlen(text));
	rpc_done(rpc);
}

void answer_json(struct rpc *rpc, int status, const char *json, size_t len)
{
	rpc_reply(rpc, status, NULL, json, len);
	rpc_done(rpc);
}

void server_request(struct server *server, struct rpc *rpc)
{
	static const struct {
		const char *method, *path;
		void (*serve)(struct server *server, struct rpc *rpc);
	} paths[] = {
		{"POST", "/machine/register", serve_register},
		{"POST", "/machine/map", serve_map},
	};

	server->stats.requests++;
	rpc->user = NULL;
	for (size_t i = 0; i < sizeof(paths) / sizeof(*paths); i++) {
		if (strcmp(rpc->path, paths[i].path))
			continue;
		if (strcmp(rpc->method, paths[i].method))
			answer(rpc, 405, "text/plain", "POST only\n");
		else
			paths[i].serve(server, rpc);
		return;
	}
	serve_side_call(server, rpc);
}

void server_closed(struct rpc *rpc)
{
	struct rpc_user *user = rpc->user;

	if (user && user->closed)
		user->closed(rpc);
}

void server_drained(struct rpc *rpc)
{
	struct rpc_user *user = rpc->user;

	if (user && user->drained)
		user->drained(rpc);
}

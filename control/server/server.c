/* SPDX-License-Identifier: BSD-3-Clause */
/* Control loop. */
#include "server.h"

#include <malloc.h>
#include <stddef.h>
#include <string.h>

#include <tailplane/jobs.h>
#include <tailplane/log.h>
#include <tailplane/loop.h>

/* How long a map's work may hold the loop before others get their turn. */
#define MAP_SLICE_NS (5 * 1000000ull)

/* This many full maps are a storm, and what it took is given back when it is over for so long. */
#define STORM_MAPS 250
#define CALM_SECONDS 2.

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

/* ---- after a storm -------------------------------------------------------------------------- */

/* On a thread of the pool: it may take some milliseconds. */
static void tidy_run(struct job *job)
{
	(void)job;
	malloc_trim(0);
}

static void tidy_done(struct job *job)
{
	struct server *server = (struct server *)((char *)job - offsetof(struct server, tidy));

	server->tidying = false;
}

LOOP_CALLBACK(calm, ev_timer)
{
	struct server *server = watcher->data;

	(void)revents;
	ev_timer_stop(loop, watcher);
	if (server->tidying)
		return;
	server->tidying = true;
	map_tidy();
	server->tidied = map_stats(server->map)->full_maps;
	server->tidy = (struct job){.run = tidy_run, .done = tidy_done, .name = "tidy memory"};
	job_submit(&server->tidy);
}

static void look_for_calm(struct server *server)
{
	if (map_stats(server->map)->full_maps >= server->tidied + STORM_MAPS)
		ev_timer_again(server->loop, &server->calm_timer);
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
	look_for_calm(server);
	arm(server, &server->map_timer, map_due(server->map));
}

void server_start(struct server *server, struct ev_loop *loop)
{
	server->loop = loop;
	server->pings_tail = &server->pings;
	ev_timer_init(&server->tailnet_timer, tailnet_tick, 0., 0.);
	ev_timer_init(&server->map_timer, map_tick, 0., 0.);
	ev_init(&server->calm_timer, calm);
	server->calm_timer.repeat = CALM_SECONDS;
	server->tailnet_timer.data = server->map_timer.data = server->calm_timer.data = server;
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
	ev_timer_stop(server->loop, &server->calm_timer);
	if (server->tidying)
		jobs_drain();
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

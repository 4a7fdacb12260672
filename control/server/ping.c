/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Asking clients: a PingRequest goes down a node's stream with an address that nobody can guess,
 * and the client's answer comes in there. And the probes of routers by it. Control loop.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <sodium.h>

#include <tailplane/log.h>
#include <tailplane/loop.h>

#include "json_out.h"
#include "routes.h"
#include "secret.h"
#include "server.h"

#define TOKEN_LEN 32

struct ping {
	char token[TOKEN_LEN + 1];
	int64_t node;
	uint64_t until;
	ping_done_fn done;
	void *arg;
	struct ping *next, **prev;
};

static void ping_unlink(struct server *server, struct ping *ping)
{
	index_remove(&server->pings_by_token, index_hash(ping->token, TOKEN_LEN), ping);
	*ping->prev = ping->next;
	if (ping->next)
		ping->next->prev = ping->prev;
	else
		server->pings_tail = ping->prev;
}

static void ping_finish(
	struct server *server, struct ping *ping, bool alive, const void *body, size_t len)
{
	ping_unlink(server, ping);
	ping->done(ping->arg, alive, body, len);
	free(ping);
}

/* Waits differ, but by little and rarely: each look goes through all of them. */
static void ping_arm(struct server *server)
{
	uint64_t now = tailnet_clock(server->tailnet), first = 0;

	for (struct ping *p = server->pings; p; p = p->next)
		if (!first || p->until < first)
			first = p->until;
	ev_timer_stop(server->loop, &server->ping_timer);
	if (!first)
		return;
	ev_timer_set(&server->ping_timer, first > now ? (double)(first - now) * 1e-9 : 0., 0.);
	ev_timer_start(server->loop, &server->ping_timer);
}

LOOP_CALLBACK(ping_timeout, ev_timer)
{
	struct server *server = watcher->data;
	uint64_t now = tailnet_clock(server->tailnet);
	struct ping *next;

	(void)loop, (void)revents;
	for (struct ping *p = server->pings; p; p = next) {
		next = p->next;
		if (p->until <= now)
			ping_finish(server, p, false, NULL, 0);
	}
	ping_arm(server);
}

static void ping_json(struct json_out *out, const char *token, const struct ping_wish *wish)
{
	json_out_text(out, "\"PingRequest\":{\"URL\":\"https://unused/machine/ping/");
	json_out_text(out, token);
	json_out_text(out, "\",\"URLIsNoise\":true");
	if (wish->c2n) {
		json_out_text(out, ",\"Types\":\"c2n\",\"Payload\":");
		json_out_base64(out, wish->c2n, wish->c2n_len);
	}
	json_out_raw(out, "}", 2); /* with its NUL */
}

int ping_node(struct server *server, struct node *node, const struct ping_wish *wish,
	ping_done_fn done, void *arg)
{
	struct ping *ping = calloc(1, sizeof(*ping));
	struct json_out out = {0};
	uint8_t random[TOKEN_LEN / 2];
	int rc = -ENOMEM;

	if (!ping)
		return rc;
	secret_random(random, sizeof(random));
	sodium_bin2hex(ping->token, sizeof(ping->token), random, sizeof(random));
	ping->node = node->d.id;
	ping->until = tailnet_clock(server->tailnet) + wish->timeout;
	ping->done = done;
	ping->arg = arg;
	ping_json(&out, ping->token, wish);
	if (json_out_ok(&out))
		rc = map_tell(server->map, node, out.text) ? 0 : -ENOTCONN;
	json_out_fini(&out);
	if (!rc)
		rc = index_add(&server->pings_by_token, index_hash(ping->token, TOKEN_LEN), ping);
	if (rc) {
		free(ping);
		return rc;
	}
	ping->prev = server->pings_tail;
	*server->pings_tail = ping;
	server->pings_tail = &ping->next;
	ping_arm(server);
	return 0;
}

bool ping_answer(struct server *server, const char *token, const struct rpc *rpc)
{
	struct ping *ping;
	const struct node *node;

	if (strlen(token) != TOKEN_LEN)
		return false;
	for (size_t at = INDEX_FIRST;
		(ping = index_next(&server->pings_by_token, index_hash(token, TOKEN_LEN), &at));)
		if (secret_equal(ping->token, token, TOKEN_LEN))
			break;
	node = ping ? node_by_id(server->tailnet, ping->node) : NULL;
	if (!node || memcmp(&node->d.machine, &rpc->machine, sizeof(rpc->machine)))
		return false;
	ping_finish(server, ping, true, rpc->body, rpc->body_len);
	return true;
}

void pings_stop(struct server *server)
{
	while (server->pings)
		ping_finish(server, server->pings, false, NULL, 0);
	ev_timer_stop(server->loop, &server->ping_timer);
	index_fini(&server->pings_by_token);
}

/* ---- probes of routers --------------------------------------------------------------------- */

struct probe {
	struct server *server;
	int64_t node;
	unsigned begun; /* its sessions when asked */
	uint64_t asked;
};

/* An answer that is missing means something only when the server itself was not late: a loop that
 * was held reads answers late, and would take all routers for dead at once. */
static bool on_time(const struct probe *probe)
{
	uint64_t took = tailnet_clock(probe->server->tailnet) - probe->asked;

	return took < probe->server->conf.probe_timeout + probe->server->conf.probe_timeout / 4;
}

static void probed(void *arg, bool alive, const void *body, size_t len)
{
	struct probe *probe = arg;
	struct server *server = probe->server;
	struct node *node = node_by_id(server->tailnet, probe->node);

	(void)body, (void)len;
	server->stats.probes_lost += !alive;
	if (node && node->sessions_begun == probe->begun && node->sessions &&
		(alive || on_time(probe))) {
		if (!alive && !node->failing)
			log_info("routes: node %lld (%s) does not answer: others take over",
				(long long)node->d.id, node->d.label);
		node_probed(server->tailnet, node, alive);
	}
	free(probe);
}

static void probe_node(void *arg, struct node *node)
{
	struct server *server = arg;
	struct ping_wish wish = {.timeout = server->conf.probe_timeout};
	struct probe *probe = calloc(1, sizeof(*probe));

	if (!probe)
		return;
	*probe = (struct probe){
		server, node->d.id, node->sessions_begun, tailnet_clock(server->tailnet)};
	server->stats.probes++;
	if (ping_node(server, node, &wish, probed, probe))
		free(probe);
}

LOOP_CALLBACK(probe_round, ev_timer)
{
	struct server *server = watcher->data;

	(void)loop, (void)revents;
	routes_contended(server->tailnet, probe_node, server);
}

void probes_start(struct server *server)
{
	double every = (double)server->conf.probe_interval * 1e-9;

	ev_timer_init(&server->ping_timer, ping_timeout, 0., 0.);
	ev_timer_init(&server->probe_timer, probe_round, every, every);
	server->ping_timer.data = server->probe_timer.data = server;
	if (server->conf.probe_interval)
		ev_timer_start(server->loop, &server->probe_timer);
}

void probes_stop(struct server *server)
{
	ev_timer_stop(server->loop, &server->probe_timer);
}

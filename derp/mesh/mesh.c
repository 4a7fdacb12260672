/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A node is waited for, looked up, tried; when its connection ends, again. Only one that turns out
 * to be this node itself is left alone for good. Control loop.
 */
#include "mesh.h"

#include <errno.h>
#include <openssl/ssl.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <tailplane/log.h>
#include <tailplane/loop.h>

#include "attempt.h"
#include "lookup.h"
#include "tls.h"
#include "x25519.h"

#define RETRY_MIN_S 1. /* doubled with each try */
#define RETRY_MAX_S 5.

enum node_state { NODE_WAITING, NODE_CONNECTING, NODE_UP, NODE_SELF, NODE_STATES };
static const char *const state_names[NODE_STATES] = {"waiting", "connecting", "up", "self"};

struct mesh_node {
	unsigned index;
	char name[DERP_HOST_MAX + 32]; /* as people see it */
	enum node_state state;
	time_t since;              /* of the state `up`, or of its end */
	struct derp_target target; /* addresses that are a name's are not in it */
	char dial[DERP_HOST_MAX + 1];
	char why[256]; /* the last end; "": none since it was up */
	uint64_t tries;
	ev_timer retry;
	struct derp_lookup *lookup; /* at most one of these two and the timer */
	struct mesh_attempt *attempt;
	bool dead; /* freed by its lookup's end */
};

struct mesh_secrets {
	struct private_key key;
	struct symmetric_key mesh_key;
};

static struct {
	struct mesh_node **nodes;
	size_t n;
	SSL_CTX *tls;
	struct mesh_secrets *secrets;
	struct public_key own;
} mesh;

static void retry_in(struct mesh_node *node, double seconds)
{
	ev_timer_stop(core_loop(), &node->retry);
	ev_timer_set(&node->retry, seconds, 0.);
	ev_timer_start(core_loop(), &node->retry);
}

/* Said once for each reason: a node may be away for days. */
static void node_down(struct mesh_node *node, const char *why)
{
	bool was_up = node->state == NODE_UP;

	if (was_up || strcmp(node->why, why) != 0)
		log_warnx("derp: mesh with %s: %s", node->name, why);
	snprintf(node->why, sizeof(node->why), "%s", why);
	if (was_up)
		node->since = time(NULL);
	node->state = NODE_WAITING;
	retry_in(node, node->tries < 3 ? RETRY_MIN_S * (1 << node->tries) : RETRY_MAX_S);
	node->tries++;
}

/* ---- attempts ---- */

static void attempt_free(struct mesh_attempt *attempt)
{
	SSL_CTX_free(attempt->tls);
	free(attempt);
}

static void on_up(struct mesh_attempt *attempt)
{
	struct mesh_node *node = attempt->node;
	char text[NET_ENDPOINT_STRLEN];

	if (!node)
		return;
	node->state = NODE_UP;
	node->since = time(NULL);
	node->why[0] = '\0';
	node->tries = 0;
	log_info("derp: mesh with %s at %s", node->name,
		net_endpoint_format(&attempt->address, text));
}

static void on_ended(struct mesh_attempt *attempt)
{
	struct mesh_node *node = attempt->node;

	if (!node)
		return; /* it is freed when it is cancelled */
	node->attempt = NULL;
	if (attempt->self) {
		node->state = NODE_SELF;
		log_info("derp: %s is this node itself", node->name);
	} else {
		node_down(node, attempt->why);
	}
	attempt_free(attempt);
}

static void attempt_start(struct mesh_node *node, const struct derp_target *target)
{
	struct mesh_attempt *attempt = calloc(1, sizeof(*attempt));

	if (!attempt)
		abort();
	attempt->loop = io_loop_at(node->index % io_loop_count());
	attempt->tls = mesh.tls;
	SSL_CTX_up_ref(mesh.tls);
	attempt->key = &mesh.secrets->key;
	attempt->own = &mesh.own;
	attempt->mesh_key = &mesh.secrets->mesh_key;
	attempt->target = *target;
	attempt->up = on_up;
	attempt->ended = on_ended;
	attempt->cancelled = attempt_free;
	attempt->node = node;
	node->attempt = attempt;
	mesh_attempt_begin(attempt);
}

/* ---- names ---- */

static void on_lookup(struct derp_lookup *lookup)
{
	struct mesh_node *node = lookup->user;

	node->lookup = NULL;
	if (node->dead)
		free(node);
	else if (lookup->problem)
		node_down(node, lookup->problem);
	else
		attempt_start(node, &lookup->target);
	free(lookup);
}

static void lookup_start(struct mesh_node *node)
{
	struct derp_lookup *lookup = calloc(1, sizeof(*lookup));

	if (!lookup)
		abort();
	lookup->target = node->target;
	memcpy(lookup->host, node->dial, sizeof(lookup->host));
	lookup->done = on_lookup;
	lookup->user = node;
	node->lookup = lookup;
	derp_lookup_start(lookup);
}

LOOP_CALLBACK(try_node, ev_timer)
{
	struct mesh_node *node = watcher->data;

	(void)loop, (void)revents;
	node->state = NODE_CONNECTING;
	if (node->dial[0])
		lookup_start(node);
	else
		attempt_start(node, &node->target);
}

/* ---- life ---- */

static void node_free(struct mesh_node *node)
{
	ev_timer_stop(core_loop(), &node->retry);
	if (node->attempt) {
		node->attempt->node = NULL;
		mesh_attempt_cancel(node->attempt);
	}
	if (node->lookup)
		node->dead = true;
	else
		free(node);
}

void derp_mesh_stop(void)
{
	for (size_t i = 0; i < mesh.n; i++)
		node_free(mesh.nodes[i]);
	io_flush();
	free(mesh.nodes);
	SSL_CTX_free(mesh.tls);
	if (mesh.secrets)
		secret_free(mesh.secrets, sizeof(*mesh.secrets));
	memset(&mesh, 0, sizeof(mesh));
}

static void set_name(struct mesh_node *node)
{
	const struct derp_target *target = &node->target;
	bool v6 = strchr(target->host, ':') != NULL;
	char port[8] = "";

	if (target->port != (target->plain ? 80 : 443))
		snprintf(port, sizeof(port), ":%u", target->port);
	snprintf(node->name, sizeof(node->name), "%s%s%s%s%s", target->plain ? "http://" : "",
		v6 ? "[" : "", target->host, v6 ? "]" : "", port);
}

/* -ENOENT: there is no such node. */
static int node_new(const struct derp_mesh_conf *conf, size_t i, struct err *err)
{
	struct mesh_node *node = calloc(1, sizeof(*node));
	int rc;

	if (!node)
		abort();
	rc = derp_mesh_node_at(conf, i, &node->target, node->dial, err);
	if (rc) {
		free(node);
		return rc;
	}
	node->index = (unsigned)i;
	set_name(node);
	ev_timer_init(&node->retry, try_node, 0., 0.);
	node->retry.data = node;
	ev_timer_start(core_loop(), &node->retry);
	mesh.nodes[mesh.n++] = node;
	return 0;
}

int derp_mesh_start(const struct derp_mesh_conf *conf, const struct private_key *key,
	const struct symmetric_key *mesh_key, struct err *err)
{
	size_t n = conf->with.count + conf->peers.count;
	int rc = 0;

	if (!conf->psk_file || !n)
		return 0;
	mesh.tls = derp_tls_ctx_new(err);
	mesh.nodes = calloc(n, sizeof(*mesh.nodes));
	mesh.secrets = secret_alloc(sizeof(*mesh.secrets));
	if (!mesh.nodes || !mesh.secrets)
		abort();
	mesh.secrets->key = *key;
	mesh.secrets->mesh_key = *mesh_key;
	x25519_public(&mesh.own, key);
	for (size_t i = 0; mesh.tls && i < n && !rc; i++)
		rc = node_new(conf, i, err);
	if (mesh.tls && !rc)
		return 0;
	derp_mesh_stop();
	return rc ? rc : -ENOMEM;
}

/* ---- what is shown ---- */

static uint32_t clients_of(const struct mesh_node *node)
{
	/* relaxed: for show, as the attempt has it */
	return node->attempt && node->state == NODE_UP
		       ? atomic_load_explicit(&node->attempt->clients, memory_order_relaxed)
		       : 0;
}

static json_t *node_status(const struct mesh_node *node)
{
	json_t *row = json_pack("{ss sI}", "state", state_names[node->state], "clients",
		(json_int_t)clients_of(node));
	char text[NET_ENDPOINT_STRLEN], hex[65];

	json_object_set_new(row, "node", json_string(node->name));
	json_object_set_new(row, "since", json_integer((json_int_t)node->since));
	if (node->state == NODE_UP) {
		sodium_bin2hex(hex, sizeof(hex), node->attempt->server.bytes, 32);
		json_object_set_new(row, "key", json_string(hex));
		json_object_set_new(row, "address",
			json_string(net_endpoint_format(&node->attempt->address, text)));
	} else if (node->why[0]) {
		json_object_set_new(row, "problem", json_string(node->why));
		json_object_set_new(row, "tries", json_integer((json_int_t)node->tries));
	}
	return row;
}

json_t *derp_mesh_status(void)
{
	json_t *rows = json_array();

	for (size_t i = 0; i < mesh.n; i++)
		json_array_append_new(rows, node_status(mesh.nodes[i]));
	return rows;
}

void derp_mesh_collect(struct metric_sink *sink)
{
	static const struct metric up = {
		"tailplane_derp_mesh_up", METRIC_GAUGE, "1: connected to that node of the region."};
	static const struct metric clients = {"tailplane_derp_mesh_clients", METRIC_GAUGE,
		"Clients that are at that node of the region."};

	for (size_t i = 0; i < mesh.n; i++) {
		const struct metric_label label = {"node", mesh.nodes[i]->name};

		if (mesh.nodes[i]->state != NODE_SELF)
			metric_add(sink, &up, &label, 1, mesh.nodes[i]->state == NODE_UP);
	}
	for (size_t i = 0; i < mesh.n; i++) {
		const struct metric_label label = {"node", mesh.nodes[i]->name};

		if (mesh.nodes[i]->state != NODE_SELF)
			metric_add(sink, &clients, &label, 1, clients_of(mesh.nodes[i]));
	}
}

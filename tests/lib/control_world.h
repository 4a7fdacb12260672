/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

/*
 * The control server's upper half in a test: real store, real tailnet and map, time in the test's
 * hands, and in place of the transport clients that keep what they were sent: `struct client` is
 * what a client knows by the protocol's own rules.
 */
#include <errno.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <jansson.h>
#include <tailplane/loop.h>
#include <zstd.h>

#include "core_conf.h"
#include "job_pool.h"
#include "key_text.h"
#include "map.h"
#include "pending.h"
#include "prng.h"
#include "registration.h"
#include "server.h"
#include "state_dirs.h"
#include "store.h"
#include "tailnet.h"

#define WORLD_TEXT_MAX (4u << 20)

static struct tailnet world_tailnet;
static struct map *world_map;
static struct server world_server;
static char world_folder[64];
static uint64_t world_clock = 1000000000000;
static int64_t world_wall_offset = 1700000000000000000;

static uint64_t world_now(void)
{
	return world_clock;
}

static int64_t world_wall(void)
{
	return world_wall_offset + (int64_t)world_clock;
}

/* ---- the far end of the transport's door --------------------------------------------------- */

/* One request of a client, and for a stream what the client made of it. */
struct client {
	struct rpc rpc;
	bool replied, streaming, ended, done, gone;
	int status;
	char *reply;
	uint64_t backlog; /* as the test wants it: client_backlog */
	bool wants_drained;
	/* a stream's: */
	unsigned messages, full_maps, keep_alives, frames_max;
	size_t records; /* full records of peers received */
	json_t *node, *derp, *dns, *filters, *profiles, *last;
	json_t *peers; /* by id as text; NULL: no full map yet */
	bool found_itself;
};

static struct client *client_of(const struct rpc *rpc)
{
	return (struct client *)rpc;
}

static void member_take(json_t **mine, json_t *message, const char *name)
{
	json_t *value = json_object_get(message, name);

	if (!value || json_is_null(value))
		return;
	json_decref(*mine);
	*mine = json_incref(value);
}

static void peers_take(struct client *c, json_t *nodes)
{
	json_t *node;
	size_t i;
	char id[24];

	json_array_foreach (nodes, i, node) {
		json_int_t number = json_integer_value(json_object_get(node, "ID"));

		if (number == json_integer_value(json_object_get(c->node, "ID")))
			c->found_itself = true;
		snprintf(id, sizeof(id), "%lld", (long long)number);
		json_object_set(c->peers, id, node);
		c->records++;
	}
}

static void patch_take(struct client *c, json_t *patch)
{
	static const char *const same[] = {
		"Key", "DiscoKey", "Endpoints", "Online", "LastSeen", "KeyExpiry", "Cap", NULL};
	char id[24];
	json_t *peer, *value;

	snprintf(id, sizeof(id), "%lld",
		(long long)json_integer_value(json_object_get(patch, "NodeID")));
	peer = json_object_get(c->peers, id);
	if (!peer)
		return; /* as clients do */
	for (size_t i = 0; same[i]; i++)
		if ((value = json_object_get(patch, same[i])))
			json_object_set(peer, same[i], value);
	if ((value = json_object_get(patch, "DERPRegion")))
		json_object_set(peer, "HomeDERP", value);
	value = json_object_get(peer, "KeyExpiry");
	if (value && !strcmp(json_string_value(value), "0001-01-01T00:00:00Z"))
		json_object_del(peer, "KeyExpiry");
	if (json_is_true(json_object_get(peer, "Online")))
		json_object_del(peer, "LastSeen");
}

static void deltas_take(struct client *c, json_t *message)
{
	json_t *one;
	size_t i;
	char id[24];

	json_array_foreach (json_object_get(message, "PeersRemoved"), i, one) {
		snprintf(id, sizeof(id), "%lld", (long long)json_integer_value(one));
		json_object_del(c->peers, id);
	}
	peers_take(c, json_object_get(message, "PeersChanged"));
	json_array_foreach (json_object_get(message, "PeersChangedPatch"), i, one) {
		patch_take(c, one);
	}
}

static void profiles_take(struct client *c, json_t *profiles)
{
	json_t *one;
	size_t i;
	char id[24];

	if (!c->profiles)
		c->profiles = json_object();
	json_array_foreach (profiles, i, one) {
		snprintf(id, sizeof(id), "%lld",
			(long long)json_integer_value(json_object_get(one, "ID")));
		json_object_set(c->profiles, id, one);
	}
}

static void client_take(struct client *c, json_t *message)
{
	json_t *peers = json_object_get(message, "Peers");

	json_decref(c->last);
	c->last = json_incref(message);
	if (json_is_true(json_object_get(message, "KeepAlive"))) {
		c->keep_alives++;
		return;
	}
	c->messages++;
	member_take(&c->node, message, "Node");
	if (!c->node) {
		fprintf(stderr, "the first message lacks Node\n");
		abort();
	}
	member_take(&c->derp, message, "DERPMap");
	member_take(&c->dns, message, "DNSConfig");
	member_take(&c->filters, message, "PacketFilters");
	if (!c->peers)
		c->peers = json_object();
	if (peers)
		c->full_maps++;
	if (json_array_size(peers)) {
		json_object_clear(c->peers);
		peers_take(c, peers);
	}
	deltas_take(c, message);
	profiles_take(c, json_object_get(message, "UserProfiles"));
}

void rpc_send(struct rpc *rpc, struct blob *const *blobs, unsigned n)
{
	static char in[WORLD_TEXT_MAX], out[WORLD_TEXT_MAX];
	struct client *c = client_of(rpc);
	json_error_t where;
	json_t *message;
	size_t len = 0;

	for (unsigned i = 0; i < n; i++) {
		memcpy(in + len, blobs[i]->data, blobs[i]->len);
		len += blobs[i]->len;
		blob_put(blobs[i]);
	}
	if (c->gone || c->ended)
		return;
	if (n > c->frames_max)
		c->frames_max = n;
	len = ZSTD_decompress(out, sizeof(out), in, len);
	message = ZSTD_isError(len) ? NULL : json_loadb(out, len, JSON_REJECT_DUPLICATES, &where);
	if (!message) {
		fprintf(stderr, "a message that is no JSON: %s at %d: %.300s\n", where.text,
			where.position, out + (where.position > 150 ? where.position - 150 : 0));
		abort();
	}
	client_take(c, message);
	json_decref(message);
}

void rpc_send_many(struct rpc *const *rpcs, unsigned n_rpcs, struct blob *const *blobs, unsigned n)
{
	for (unsigned i = 0; i < n_rpcs; i++) {
		for (unsigned j = 0; j < n; j++)
			blob_get(blobs[j]);
		rpc_send(rpcs[i], blobs, n);
	}
	for (unsigned j = 0; j < n; j++)
		blob_put(blobs[j]);
}

void rpc_reply(struct rpc *rpc, int status, const char *type, const void *body, size_t len)
{
	struct client *c = client_of(rpc);

	(void)type;
	if (c->replied || c->streaming) {
		fprintf(stderr, "a second answer to %s\n", rpc->path);
		abort();
	}
	c->replied = true;
	c->status = status;
	c->reply = calloc(1, len + 1);
	if (len)
		memcpy(c->reply, body, len);
}

void rpc_header(struct rpc *rpc, const char *name, const char *value)
{
	(void)rpc, (void)name, (void)value;
}

void rpc_stream(struct rpc *rpc)
{
	client_of(rpc)->streaming = true;
}

void rpc_fetch(const struct rpc *rpc)
{
	(void)rpc;
}

struct rpc_backlog rpc_backlog(const struct rpc *rpc)
{
	return (struct rpc_backlog){.bytes = client_of(rpc)->backlog};
}

void rpc_want_drained(struct rpc *rpc)
{
	client_of(rpc)->wants_drained = true;
}

/* How much of what it was sent the client has not read. */
static void __attribute__((unused)) client_backlog(struct client *c, uint64_t bytes)
{
	c->backlog = bytes;
	if (bytes || !c->wants_drained || c->done)
		return;
	c->wants_drained = false;
	server_drained(&c->rpc);
}

void rpc_end(struct rpc *rpc, bool discard)
{
	(void)discard;
	client_of(rpc)->ended = true;
}

void rpc_done(struct rpc *rpc)
{
	struct client *c = client_of(rpc);

	if (c->done) {
		fprintf(stderr, "rpc_done twice\n");
		abort();
	}
	c->done = true;
}

void rpc_close_machine(const struct public_key *machine)
{
	(void)machine;
}

/* ---- time ---------------------------------------------------------------------------------- */

/* Everything that is due now, and what follows from it. */
static void world_settle(void)
{
	for (unsigned i = 0; i < 1000; i++) {
		uint64_t tailnet = tailnet_due(&world_tailnet), map = map_due(world_map);

		store_drain();
		if ((!tailnet || tailnet > world_clock) && (!map || map > world_clock) &&
			!tailnet_due(&world_tailnet) == !tailnet)
			return;
		tailnet_run(&world_tailnet);
		store_drain();
		map_run(world_map, UINT64_MAX / 4);
	}
	fprintf(stderr, "never settles\n");
	abort();
}

/* Moves time in steps, so that ticks and deadlines come in their order. */
static void __attribute__((unused)) world_pass(uint64_t ns)
{
	uint64_t until = world_clock + ns;

	world_settle();
	while (world_clock < until) {
		uint64_t tailnet = tailnet_due(&world_tailnet), map = map_due(world_map);
		uint64_t next = until;

		if (tailnet > world_clock && tailnet < next)
			next = tailnet;
		if (map > world_clock && map < next)
			next = map;
		world_clock = next;
		world_settle();
	}
}

/* ---- life ---------------------------------------------------------------------------------- */

static int world_remove(const char *path, const struct stat *st, int type, struct FTW *at)
{
	(void)st, (void)type, (void)at;
	return remove(path);
}

static void world_store_open(void)
{
	static char path[] = "db.sqlite";
	struct core_conf conf = {.database.sqlite.path = path};

	store_configure(&conf);
}

static struct tailnet_conf world_tailnet_conf(void)
{
	struct tailnet_conf conf = {
		.node_expiry = 0,
		.ephemeral_timeout = 1800ull * 1000000000,
		.offline_grace = 10ull * 1000000000,
		.route_grace = 2ull * 1000000000,
		.pending_expiry = 900ull * 1000000000,
		.pending_max = 8,
		.wall = world_wall,
		.clock = world_now,
	};

	net_prefix_parse(&conf.v4, "100.64.0.0/10");
	net_prefix_parse(&conf.v6, "fd7a:115c:a1e0::/48");
	return conf;
}

static struct map_conf world_map_conf(void)
{
	return (struct map_conf){
		.base_domain = "tail.test",
		.dns = "{\"Proxied\":true}",
		.derp = "{\"Regions\":{}}",
		.taildrop = true,
		.backlog_max = 1000,
		.filling_max = 1 << 30,
	};
}

static void world_open(const struct tailnet_conf *conf)
{
	struct map_conf map = world_map_conf();
	struct err err = {0};

	if (tailnet_open(&world_tailnet, conf, &err)) {
		fprintf(stderr, "tailnet_open: %s\n", err.msg);
		abort();
	}
	world_map = map_new(&world_tailnet, &map);
	world_server = (struct server){.tailnet = &world_tailnet,
		.map = world_map,
		.conf = {.server_url = "http://control.test"}};
	world_server.loop = core_loop();
	world_server.pings_tail = &world_server.pings;
}

static void world_close(void)
{
	store_drain();
	tailnet_run(&world_tailnet);
	late_stop(&world_server);
	pings_stop(&world_server);
	map_free(world_map);
	tailnet_close(&world_tailnet);
}

static inline void world_again(const struct tailnet_conf *conf)
{
	world_close();
	store_stop();
	world_store_open();
	world_open(conf);
}

static int world_start(void **state)
{
	struct tailnet_conf conf = world_tailnet_conf();
	char state_dir[80], runtime_dir[80];
	struct err err = {0};

	(void)state;
	/* thousands of commits wait for the disk one by one: in memory, where there is a place */
	strcpy(world_folder, access("/dev/shm", W_OK) ? "/tmp/tailplane-control-XXXXXX"
						      : "/dev/shm/tailplane-control-XXXXXX");
	if (!mkdtemp(world_folder))
		return -1;
	snprintf(state_dir, sizeof(state_dir), "%s/state", world_folder);
	snprintf(runtime_dir, sizeof(runtime_dir), "%s/run", world_folder);
	state_dirs_set(state_dir, runtime_dir, (uid_t)-1, (gid_t)-1);
	if (state_dirs_make(&err))
		return -1;
	world_store_open();
	world_open(&conf);
	return 0;
}

static int world_stop(void **state)
{
	(void)state;
	world_close();
	store_stop();
	return nftw(world_folder, world_remove, 8, FTW_DEPTH | FTW_PHYS);
}

/* ---- clients ------------------------------------------------------------------------------- */

static struct public_key world_key(unsigned kind, unsigned n)
{
	struct prng prng = {.state = (uint64_t)kind << 32 | n};
	struct public_key key;

	prng_fill(&prng, key.bytes, sizeof(key.bytes));
	return key;
}

static struct client *client_send(
	unsigned machine, const char *method, const char *path, const char *body)
{
	struct client *c = calloc(1, sizeof(*c));

	c->rpc.machine = world_key('m', machine);
	c->rpc.version = 140;
	c->rpc.method = method;
	c->rpc.path = path;
	c->rpc.query = "";
	c->rpc.body = (const uint8_t *)strdup(body);
	c->rpc.body_len = strlen(body);
	server_request(&world_server, &c->rpc);
	return c;
}

/* Sends a request, and returns when what follows from it at once has happened. */
static inline struct client *client_ask(
	unsigned machine, const char *method, const char *path, const char *body)
{
	struct client *c = client_send(machine, method, path, body);

	world_settle();
	return c;
}

static void client_hang_up(struct client *c)
{
	if (!c->done && !c->gone) {
		c->gone = true;
		server_closed(&c->rpc);
		world_settle();
	}
}

static void client_free(struct client *c)
{
	client_hang_up(c);
	if (!c->done) {
		fprintf(stderr, "%s: the service keeps the request\n", c->rpc.path);
		abort();
	}
	free((void *)c->rpc.body);
	free(c->reply);
	json_decref(c->node);
	json_decref(c->derp);
	json_decref(c->dns);
	json_decref(c->filters);
	json_decref(c->profiles);
	json_decref(c->last);
	json_decref(c->peers);
	free(c);
}

/* `more`: further members of the request, each with a comma before it. */
static struct client *client_send_register(
	unsigned machine, unsigned key, const char *hostname, const char *more)
{
	char node[KEY_TEXT_SIZE], body[4096];
	struct public_key node_key = world_key('n', key);

	snprintf(body, sizeof(body),
		"{\"Version\":140,\"NodeKey\":\"%s\",\"Expiry\":\"0001-01-01T00:00:00Z\","
		"\"Hostinfo\":"
		"{\"Hostname\":\"%s\",\"OS\":\"linux\"}%s}",
		key_text_format(node, KEY_TEXT_NODE, &node_key), hostname, more);
	return client_send(machine, "POST", "/machine/register", body);
}

static struct client *client_register(
	unsigned machine, unsigned key, const char *hostname, const char *more)
{
	struct client *c = client_send_register(machine, key, hostname, more);

	world_settle();
	return c;
}

static struct client *client_send_map(
	unsigned machine, unsigned key, const char *mode, const char *more)
{
	char node[KEY_TEXT_SIZE], disco[KEY_TEXT_SIZE], body[8192];
	struct public_key node_key = world_key('n', key), disco_key = world_key('d', machine);

	snprintf(body, sizeof(body),
		"{\"Version\":140,\"Compress\":\"zstd\",\"KeepAlive\":true,\"NodeKey\":\"%s\","
		"\"DiscoKey\":\"%s\",%s%s}",
		key_text_format(node, KEY_TEXT_NODE, &node_key),
		key_text_format(disco, KEY_TEXT_DISCO, &disco_key), mode, more);
	return client_send(machine, "POST", "/machine/map", body);
}

static struct client *client_map(unsigned machine, unsigned key, const char *mode, const char *more)
{
	struct client *c = client_send_map(machine, key, mode, more);

	world_settle();
	return c;
}

#define MAP_STREAM "\"Stream\":true"
#define MAP_REPORT "\"OmitPeers\":true"

struct world_outcome {
	int error;
	int64_t id;
	char secret[AUTHKEY_TEXT_SIZE], why[200];
	bool done;
};

static void world_note(void *arg, const struct tailnet_result *result)
{
	struct world_outcome *out = arg;

	out->done = true;
	out->error = result->error;
	out->id = result->id;
	snprintf(out->secret, sizeof(out->secret), "%s", result->secret ? result->secret : "");
	snprintf(out->why, sizeof(out->why), "%s", result->why ? result->why : "");
}

static inline int64_t world_user(const char *name)
{
	struct world_outcome out = {0};
	struct user_wish wish = {.name = name};

	user_create(&world_tailnet, &wish, world_note, &out);
	world_settle();
	return out.error ? out.error : out.id;
}

static inline struct world_outcome world_preauth(const struct preauth_wish *wish)
{
	struct world_outcome out = {0};

	preauth_create(&world_tailnet, wish, world_note, &out);
	world_settle();
	return out;
}

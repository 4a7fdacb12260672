/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

/*
 * The control server's upper half in a test: real store, real tailnet and map, time in the test's
 * hands, and in place of the transport clients that keep what they were sent (control_clients.h).
 */
#include <errno.h>
#include <ftw.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <unistd.h>

#include <jansson.h>
#include <tailplane/loop.h>

#include "control_clients.h"
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

/* Thousands of commits wait for the disk one by one: in memory, where there is a place. In one of
 * this process alone, so that nothing stays behind however it ends; who may not have that tidies up
 * in world_stop only. Before there are threads. */
static void shared_memory_own(void)
{
	static bool asked;

	if (!asked && !unshare(CLONE_NEWNS) && !mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL))
		mount("tailplane-control", "/dev/shm", "tmpfs", 0, NULL);
	asked = true;
}

static int world_start(void **state)
{
	struct tailnet_conf conf = world_tailnet_conf();
	char state_dir[80], runtime_dir[80];
	struct err err = {0};

	(void)state;
	shared_memory_own();
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

static __attribute__((unused)) struct client *client_map(
	unsigned machine, unsigned key, const char *mode, const char *more)
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

/* SPDX-License-Identifier: BSD-3-Clause */
/* Control loop. */
#include "ops.h"

#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <tailplane/loop.h>
#include <tailplane/net.h>

#include "health.h"
#include "map_text.h"
#include "mesh.h"
#include "place.h"
#include "probe_op.h"
#include "server.h"
#include "stun_server.h"
#include "verify.h"

#define KEY_PREFIX "nodekey:"
#define KEY_TEXT_LEN (sizeof(KEY_PREFIX) - 1 + 64)

static const struct derp_conf *conf;

static json_t *key_json(const char *prefix, const struct public_key *key)
{
	char hex[65];

	sodium_bin2hex(hex, sizeof(hex), key->bytes, sizeof(key->bytes));
	return json_sprintf("%s%s", prefix, hex);
}

/* ---- status -------------------------------------------------------------------------------- */

static void set_int(json_t *object, const char *key, uint64_t value)
{
	json_object_set_new(object, key, json_integer((json_int_t)value));
}

void derp_status_fill(json_t *status)
{
	const char *problem = health_problem();
	char who[64];

	verify_describe(who, sizeof(who));
	json_object_set_new(status, "works", json_string(problem ? problem : "yes"));
	json_object_set_new(status, "key", key_json(KEY_PREFIX, derp_server_key()));
	json_object_set_new(status, "admits", json_string(who));
	json_object_set_new(status, "stun",
		stun_port() ? json_sprintf("port %u, %s", stun_port(),
				      stun_speaks() ? "answers" : "silent")
			    : json_string("off"));
	json_object_set_new(status, "mesh", derp_mesh_status());
}

static uint64_t dropped(const struct derp_figures *figures)
{
	uint64_t n = 0;

	for (unsigned why = 0; why < DERP_DROPS; why++)
		for (unsigned kind = 0; kind < DERP_KINDS; kind++)
			n += figures->dropped_packets[why][kind];
	return n;
}

static void run_status(struct op_call *call, const json_t *args)
{
	struct derp_figures figures;
	json_t *status = json_object();

	(void)args;
	derp_server_figures(&figures);
	derp_status_fill(status);
	set_int(status, "clients", figures.clients_local);
	set_int(status, "remote_clients", figures.clients_remote);
	set_int(status, "connections", figures.connections);
	set_int(status, "home_connections", figures.home_connections);
	set_int(status, "watchers", figures.watchers);
	set_int(status, "packets", figures.packets_sent);
	set_int(status, "bytes", figures.bytes_sent);
	set_int(status, "dropped", dropped(&figures));
	set_int(status, "denied", figures.handshakes_denied);
	set_int(status, "stun_answers", stun_answers());
	set_int(status, "stun_port_answers", stun_port_answers());
	op_reply(call, status);
}

static const struct op_column status_columns[] = {
	{"works", "Works", OP_TEXT},
	{"key", "Key", OP_TEXT},
	{"admits", "Admits", OP_TEXT},
	{"stun", "STUN", OP_TEXT},
	{"clients", "Clients", OP_COUNT},
	{"remote_clients", "At other nodes", OP_COUNT},
	{"connections", "Connections", OP_COUNT},
	{"home_connections", "Of these home", OP_COUNT},
	{"watchers", "Mesh watchers", OP_COUNT},
	{"mesh", "Mesh", OP_TEXT},
	{"packets", "Packets relayed", OP_COUNTER},
	{"bytes", "Bytes relayed", OP_TRAFFIC},
	{"dropped", "Packets dropped", OP_COUNTER},
	{"denied", "Clients denied", OP_COUNTER},
	{"stun_answers", "STUN answers", OP_COUNTER},
	{"stun_port_answers", "Of these on Ethernet ports", OP_COUNTER},
	{NULL, NULL, OP_TEXT},
};

/* ---- clients ------------------------------------------------------------------------------- */

static json_t *client_json(const struct derp_client *client, uint64_t now)
{
	char from[NET_ENDPOINT_STRLEN];
	json_t *row = json_pack("{s:o,s:s,s:s,s:b,s:b}", "key", key_json(KEY_PREFIX, &client->key),
		"address", net_endpoint_format(&client->from, from), "via",
		derp_via_names[client->via], "mesh", client->mesh, "prober", client->prober);
	json_t *ours = client->elsewhere
			       ? NULL
			       : json_pack("{s:b,s:b,s:b,s:I,s:s}", "tls", client->tls, "home",
					 client->home, "active", client->active, "loop",
					 (json_int_t)client->loop, "app", client->app_name);

	if (!ours)
		return row;
	json_object_update_new(row, ours);
	set_int(row, "connected", now - client->since);
	set_int(row, "packets_in", client->packets_in);
	set_int(row, "bytes_in", client->bytes_in);
	set_int(row, "packets_out", client->packets_out);
	set_int(row, "bytes_out", client->bytes_out);
	set_int(row, "dropped", client->dropped);
	set_int(row, "queued", client->queued);
	return row;
}

/* An operation that waits for the list of clients; its asker may go away. */
struct asker {
	struct op_call *call;
};

static void asker_closed(void *arg)
{
	((struct asker *)arg)->call = NULL;
}

static void reply_clients(void *user, const struct derp_client *clients, size_t n)
{
	struct asker *asker = user;
	uint64_t now = core_now();
	json_t *rows;

	if (asker->call) {
		rows = json_array();
		for (size_t i = 0; i < n; i++)
			json_array_append_new(rows, client_json(&clients[i], now));
		op_reply(asker->call, rows);
	}
	free(asker);
}

static void run_clients(struct op_call *call, const json_t *args)
{
	struct asker *asker = calloc(1, sizeof(*asker));

	(void)args;
	if (!asker) {
		op_fail(call, "out of memory");
		return;
	}
	asker->call = call;
	op_on_close(call, asker_closed, asker);
	derp_server_clients(reply_clients, asker);
}

static const struct op_column client_columns[] = {
	{"key", "KEY", OP_TEXT},
	{"address", "ADDRESS", OP_TEXT},
	{"via", "VIA", OP_TEXT},
	{"home", "HOME", OP_TEXT},
	{"connected", "CONNECTED", OP_DURATION},
	{"bytes_in", "FROM IT", OP_TRAFFIC},
	{"bytes_out", "TO IT", OP_TRAFFIC},
	{"packets_in", "PACKETS FROM IT", OP_COUNTER},
	{"packets_out", "PACKETS TO IT", OP_COUNTER},
	{"dropped", "DROPPED", OP_COUNTER},
	{NULL, NULL, OP_TEXT},
};

/* ---- close, drain, map --------------------------------------------------------------------- */

static bool key_parse(struct public_key *key, const char *text)
{
	size_t n;

	if (!strncmp(text, KEY_PREFIX, strlen(KEY_PREFIX)))
		text += strlen(KEY_PREFIX);
	return strlen(text) == 64 &&
	       sodium_hex2bin(key->bytes, sizeof(key->bytes), text, 64, NULL, &n, NULL) == 0 &&
	       n == sizeof(key->bytes);
}

/* Of the one that asks for a key to be closed. */
struct closer {
	struct asker asker;
	struct public_key key;
};

static void close_and_tell(void *user, const struct derp_client *clients, size_t n)
{
	struct closer *closer = user;
	bool there = false;

	for (size_t i = 0; i < n; i++)
		there |= memcmp(&clients[i].key, &closer->key, sizeof(closer->key)) == 0;
	/* in any case: one that is just coming is in no list, nor is all of it where memory is
	 * short */
	derp_server_close_peer(&closer->key);
	if (closer->asker.call && there)
		op_reply(closer->asker.call,
			json_pack("{s:o}", "closed", key_json(KEY_PREFIX, &closer->key)));
	else if (closer->asker.call)
		op_fail(closer->asker.call,
			"no client of this relay has that key; see tailplane derp clients");
	free(closer);
}

static void run_close(struct op_call *call, const json_t *args)
{
	struct closer *closer = calloc(1, sizeof(*closer));
	const char *text = json_string_value(json_object_get(args, "key"));

	if (!closer || !key_parse(&closer->key, text)) {
		if (closer)
			op_fail(call,
				"\"%.100s\" is no node key: \"" KEY_PREFIX "\" and 64 hex digits",
				text);
		else
			op_fail(call, "out of memory");
		free(closer);
		return;
	}
	closer->asker.call = call;
	op_on_close(call, asker_closed, &closer->asker);
	derp_server_clients(close_and_tell, closer);
}

/* One at a time; whoever asked may go away, and it goes on. */
static struct {
	bool going;
	struct op_call *call;
	uint64_t since;
} drain;

static void drain_asker_gone(void *arg)
{
	(void)arg;
	drain.call = NULL;
}

static void drained(void *user)
{
	(void)user;
	drain.going = false;
	if (drain.call)
		op_reply(drain.call,
			json_pack("{s:I}", "over", (json_int_t)(core_now() - drain.since)));
	drain.call = NULL;
}

static void run_drain(struct op_call *call, const json_t *args)
{
	(void)args;
	if (drain.going) {
		op_fail(call, "connections are being closed already");
		return;
	}
	drain.going = true;
	drain.call = call;
	drain.since = core_now();
	op_on_close(call, drain_asker_gone, NULL);
	health_drained();
	derp_server_drain(conf->drain, false, drained, NULL);
}

static void run_map(struct op_call *call, const json_t *args)
{
	struct err err = {0};
	json_t *region = place_region(NULL, &err), *map;
	char number[24];

	if (!region) {
		op_fail(call, "%s", err.msg);
		return;
	}
	snprintf(number, sizeof(number), "%lld", (long long)conf->region_id);
	map = json_pack("{s:{s:o}}", "Regions", number, region);
	if (json_is_true(json_object_get(args, "headscale"))) {
		char *text = map_text_yaml(map);

		json_decref(map);
		op_reply(call, text ? json_string(text) : json_string(""));
		free(text);
	} else {
		op_reply(call, map);
	}
}

static const struct op_column drain_columns[] = {
	{"over", "All connections were closed within", OP_DURATION},
	{NULL, NULL, OP_TEXT},
};

static const struct op_arg close_args[] = {
	{"key", SETTING_STRING, OP_ARG_REQUIRED | OP_ARG_POSITIONAL, NULL, "derp clients:key",
		"Node key of the client.", 0},
	{0},
};

static const struct op_arg map_args[] = {
	{"headscale", SETTING_BOOL, 0, NULL, NULL,
		"As YAML, the way a file of Headscale's "
		"derp.paths has it.",
		0},
	{0},
};

static void run_mesh(struct op_call *call, const json_t *args)
{
	(void)args;
	op_reply(call, derp_mesh_status());
}

static const struct op_column mesh_columns[] = {
	{"node", "Node", OP_TEXT},
	{"state", "State", OP_STATE},
	{"since", "Since", OP_AGO},
	{"clients", "Clients", OP_COUNT},
	{"address", "Address", OP_TEXT},
	{"problem", "Problem", OP_TEXT},
	{NULL, NULL, OP_TEXT},
};

static const struct op_arg probe_args[] = {
	{"relay", SETTING_STRING, OP_ARG_POSITIONAL, NULL, NULL,
		"Another relay, as in https://relay.example.com, or a region's number or code or a "
		"node's name of the control server's map; without it, this one.",
		0},
	{0},
};

const struct op derp_ops[] = {
	{"derp status", "What the relay does", OP_READ, NULL, status_columns, run_status, NULL},
	{"derp clients", "Clients of the relay, with what they send and get", OP_READ, NULL,
		client_columns, run_clients, NULL},
	{"derp map", "The relay's region; with -o json to be pasted into a map of relays", OP_READ,
		map_args, NULL, run_map, NULL},
	{"derp probe", "Connects to a relay as a client does, and times each step", OP_READ,
		probe_args, probe_columns, probe_run, NULL},
	{"derp mesh", "The other nodes of the region", OP_READ, NULL, mesh_columns, run_mesh, NULL},
	{"derp close", "Ends the connections of a client", OP_WRITE, close_args, NULL, run_close,
		NULL},
	{"derp drain", "Ends all connections bit by bit and takes no new ones, before a restart",
		OP_WRITE, NULL, drain_columns, run_drain, NULL},
	{0},
};

void derp_ops_use(const struct derp_conf *now)
{
	conf = now;
	if (now)
		return;
	if (drain.call)
		op_fail(drain.call, "the relay is stopping");
	memset(&drain, 0, sizeof(drain));
}

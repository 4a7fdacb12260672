/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

/*
 * The far end of the transport's door, in its place: clients that keep what they were sent. A
 * `struct client` is what a client knows by the protocol's own rules, and aborts where they are
 * broken.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>
#include <zstd.h>

#include "map.h"
#include "server.h"

#define WORLD_TEXT_MAX (4u << 20)

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

/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

/* Machines of a tailnet, each with a stream of its map or without. */
#include "control_world.h"

#define MACHINES 40
#define SECOND_NS 1000000000ull

static char key_member[200];
static struct client *streams[MACHINES];
static unsigned node_keys[MACHINES];

static inline void make_key(const char *user)
{
	struct preauth_wish wish = {.user = world_user(user), .reusable = true};
	struct world_outcome out = world_preauth(&wish);

	snprintf(key_member, sizeof(key_member), ",\"Auth\":{\"AuthKey\":\"%s\"}", out.secret);
}

static inline struct node *node_of(unsigned machine)
{
	struct public_key key = world_key('n', node_keys[machine]);

	/* a machine may have another, of another owner */
	return node_by_key(&world_tailnet, &key);
}

static inline void join(unsigned machine, const char *name)
{
	client_free(client_register(machine, node_keys[machine], name, key_member));
	assert_non_null(node_of(machine));
}

static inline void report(unsigned machine, const char *more)
{
	client_free(client_map(machine, node_keys[machine], MAP_REPORT, more));
}

static inline void open_stream(unsigned machine)
{
	if (streams[machine])
		client_free(streams[machine]);
	streams[machine] = client_map(machine, node_keys[machine], MAP_STREAM, "");
}

static inline void close_stream(unsigned machine)
{
	if (streams[machine])
		client_free(streams[machine]);
	streams[machine] = NULL;
}

static inline void close_all(void)
{
	for (unsigned i = 0; i < MACHINES; i++)
		close_stream(i);
}

static inline json_t *peer_of(unsigned viewer, unsigned machine)
{
	char id[24];
	const struct node *node = node_of(machine);

	snprintf(id, sizeof(id), "%lld", node ? (long long)node->d.id : 0);
	return json_object_get(streams[viewer]->peers, id);
}

static inline void two_nodes(void)
{
	make_key("alice");
	for (unsigned m = 0; m < MACHINES; m++)
		node_keys[m] = m;
	for (unsigned m = 1; m <= 2; m++) {
		join(m, m == 1 ? "one" : "two");
		open_stream(m);
		report(m, "");
	}
	world_pass(SECOND_NS);
}

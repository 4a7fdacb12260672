/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

/*
 * What the control server asks a policy engine: provided by name ("policy") through core_service;
 * without one all nodes see and reach each other. Visibility is by classes: nodes of one view see
 * the same peers with the same routes, so what they are sent is made once. Control loop.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <tailplane/net.h>
#include <tailplane/op.h>

#define POLICY_SERVICE "policy"

struct node;
struct user;
struct tailnet;

enum policy_command { POLICY_GET, POLICY_SET, POLICY_CHECK };

struct policy_ops {
	/* The view of a node: a small number that means something until policy_changed. */
	uint32_t (*view_of)(const struct node *viewer);
	/* Whether nodes of that view see the peer. */
	bool (*shows)(uint32_t view, const struct node *peer);
	/* Whether they get this route of the peer. NULL: each route. */
	bool (*shows_route)(uint32_t view, const struct node *peer, const struct net_prefix *route);
	/* JSON of "PacketFilters" for one node, e.g. {"base":[...]}: valid until the next call or
	 * policy_changed. Nodes with equal pointers have equal filters. */
	const char *(*filters)(const struct node *node);
	/* JSON of "SSHPolicy" for one node; at least {"rules":[]}. */
	const char *(*ssh)(const struct node *node);
	/* More members for the CapMap of a node about itself, JSON without the braces; "" for none.
	 * NULL: none. */
	const char *(*capabilities)(const struct node *node);
	/* May this user (NULL: a tagged node, which has the tags `of`) take the tag? */
	bool (*tag_permitted)(const struct user *user, const struct node *of, const char *tag);
	/* Is the route approved without an administrator? */
	bool (*route_approved)(const struct node *node, const struct net_prefix *route);
	/* `policy get`, `set` and `check`: the text of the last two comes as the call's descriptor.
	 * Answers the call. NULL: it has no text. */
	void (*command)(struct op_call *call, const json_t *args, enum policy_command command);
};

extern const struct policy_ops policy_allow_all;

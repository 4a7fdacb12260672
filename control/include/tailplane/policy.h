/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

/*
 * What the control server asks a policy engine: provided by name through core_service. It may come,
 * go and change at any time. While none is configured all nodes see and reach each other; while one
 * is configured and does not run, none does. Visibility is by classes: nodes of one view see the
 * same peers with the same routes, so what they are sent is made once. Control loop.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <tailplane/net.h>
#include <tailplane/op.h>

#define POLICY_SERVICE "policy"

struct node;
struct user;

enum policy_command { POLICY_GET, POLICY_SET, POLICY_CHECK };

/* An SSH session of which a rule of its SSHPolicy says that the control server decides. */
struct policy_ssh {
	const struct node *from, *to;
	const char *query; /* of the rule's URL, as the node filled it in: "local_user=root" */
};

struct policy_ops {
	/* The plugin that provides this, as the configuration names it: when it is gone, but still
	 * configured, nobody sees anybody. */
	const char *plugin;
	/* The view of a node: a small number that means something until `changed` is called. */
	uint32_t (*view_of)(const struct node *viewer);
	/* Whether nodes of that view see the peer. */
	bool (*shows)(uint32_t view, const struct node *peer);
	/* Whether they get this route of the peer. NULL: each route. */
	bool (*shows_route)(uint32_t view, const struct node *peer, const struct net_prefix *route);
	/* JSON of "PacketFilters" for one node, e.g. {"base":[...]}: valid until the next call or
	 * `changed`. Nodes with equal pointers have equal filters. */
	const char *(*filters)(const struct node *node);
	/* JSON of "SSHPolicy" for one node; at least {"rules":[]}. A rule that asks back delegates
	 * to https://unused/machine/ssh/action/$SRC_NODE_ID/to/$DST_NODE_ID?... */
	const char *(*ssh)(const struct node *node);
	/* Answers that: `answer` once, now or later and before the engine stops, with the JSON of
	 * an SSHAction, or NULL to refuse. `asked` is there until this returns. NULL: all are
	 * refused. */
	void (*ssh_action)(const struct policy_ssh *asked,
		void (*answer)(void *arg, const char *action), void *arg);
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

/* Provided by the control server, for the engine. */
#define POLICY_CONTROL_SERVICE "policy control"

/* What an engine sees of a node; all of it stays until the loop goes on. */
struct policy_node {
	int64_t id, user;  /* user 0: it is tagged */
	const char *name;  /* its label in DNS */
	const char *login; /* of its user; "tagged-devices" */
	const char *tags;  /* JSON array of strings */
	struct net_addr v4, v6;
	const struct net_prefix *approved; /* routes */
	size_t n_approved;
};

struct policy_control_ops {
	/* The engine's answers are others now: nodes are told what differs, when the loop goes on.
	 */
	void (*changed)(void);
	void (*look)(const struct node *node, struct policy_node *seen);
	void (*each)(void (*fn)(void *arg, const struct node *node), void *arg);
};

/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

/* Nodes as map messages show them. Control loop. */
#include "json_out.h"
#include "map.h"
#include "policy.h"

/* As a peer, to a view. */
void record_peer(struct json_out *out, const struct map_conf *conf, const struct policy_ops *policy,
	uint32_t view, const struct node *node);
/* To itself. */
void record_self(struct json_out *out, const struct map_conf *conf, const struct policy_ops *policy,
	const struct node *node);
/* What can be told of a peer without its whole record. Not its expiry: no patch takes back a
 * record's Expired, and to a client the peer would stay out of reach after its return. */
#define PATCHABLE (NODE_KEY | NODE_DISCO | NODE_ENDPOINTS | NODE_DERP | NODE_CAP | NODE_ONLINE)
/* Where anything of it changed for others. */
#define SHOWN                                                                                    \
	(PATCHABLE | NODE_NEW | NODE_NAME | NODE_ADDRESS | NODE_ROUTES | NODE_TAGS | NODE_USER | \
		NODE_EXPIRY | NODE_HOSTINFO | NODE_APPROVED | NODE_READY)
/* What a node must be told of itself. */
#define OF_ITSELF                                                                       \
	(NODE_NAME | NODE_ADDRESS | NODE_ROUTES | NODE_TAGS | NODE_USER | NODE_EXPIRY | \
		NODE_APPROVED | NODE_KEY)
void record_patch(struct json_out *out, const struct node *node, unsigned what);
/* NULL: of tagged nodes. */
void record_profile(struct json_out *out, const struct user *user);
int64_t profile_id(const struct user *user);

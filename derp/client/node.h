/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

/* A node of a region, as maps of relays have it. Pure: any thread. */
#include <jansson.h>
#include <tailplane/err.h>

#include "target.h"

struct derp_node {
	struct derp_target target; /* without addresses: they are those of target.host */
	uint16_t stun_port;        /* 0: no STUN */
	bool stun_only;
	char name[64];
};

/* In a map ("DERPMap"): the node of that Name or HostName, or the first one with a relay of the
 * region of that number or code. NULL: none; borrowed. */
const json_t *derp_node_find(const json_t *map, const char *name);
/* 0, or -EINVAL with the reason: a node that cannot be reached as it is written. */
int derp_node_read(struct derp_node *node, const json_t *json, struct err *err);

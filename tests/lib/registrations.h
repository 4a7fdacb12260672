/* SPDX-License-Identifier: BSD-3-Clause */
/* What tests of registrations share: keys, answers, and the node of a machine. */
#pragma once

#include "control_world.h"

static char key_member[200];

/* A key of a new user, as a member of a request. */
static const char *key_of(const char *user, bool reusable)
{
	struct preauth_wish wish = {.user = world_user(user), .reusable = reusable};
	struct world_outcome out = world_preauth(&wish);

	assert_int_equal(out.error, 0);
	snprintf(key_member, sizeof(key_member), ",\"Auth\":{\"AuthKey\":\"%s\"}", out.secret);
	return key_member;
}

static void expect_reply(struct client *c, const char *part)
{
	assert_true(c->replied);
	assert_int_equal(c->status, 200);
	if (!strstr(c->reply, part))
		fail_msg("\"%s\" is not in: %s", part, c->reply);
	client_free(c);
}

static struct node *only_node(unsigned machine)
{
	struct public_key key = world_key('m', machine);
	size_t at = INDEX_FIRST;
	struct node *node = node_of_machine(&world_tailnet, &key, &at);

	assert_non_null(node);
	assert_null(node_of_machine(&world_tailnet, &key, &at));
	return node;
}

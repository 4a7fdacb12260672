/* SPDX-License-Identifier: BSD-3-Clause */
/* Control loop. */
#include "policy.h"

static uint32_t one_view(const struct node *viewer)
{
	(void)viewer;
	return 0;
}

static bool shows_all(uint32_t view, const struct node *peer)
{
	(void)view, (void)peer;
	return true;
}

static bool shows_none(uint32_t view, const struct node *peer)
{
	(void)view, (void)peer;
	return false;
}

static const char *allow_all(const struct node *node)
{
	(void)node;
	return "{\"base\":[{\"SrcIPs\":[\"*\"],\"DstPorts\":[{\"IP\":\"*\",\"Ports\":{\"First\":0,"
	       "\"Last\":65535}}]}]}";
}

static const char *allow_none(const struct node *node)
{
	(void)node;
	return "{\"base\":[]}";
}

static const char *no_rules(const struct node *node)
{
	(void)node;
	return "{\"rules\":[]}";
}

const struct policy_ops policy_allow_all = {
	.view_of = one_view,
	.shows = shows_all,
	.filters = allow_all,
	.ssh = no_rules,
};

const struct policy_ops policy_closed = {
	.view_of = one_view,
	.shows = shows_none,
	.filters = allow_none,
	.ssh = no_rules,
};

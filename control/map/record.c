/* SPDX-License-Identifier: BSD-3-Clause */
/* Control loop. */
#include "record.h"

#include "key_text.h"

#define LIT(out, text) json_out_raw(out, text, sizeof(text) - 1)

static void name(struct json_out *out, const struct map_conf *conf, const struct node *node)
{
	LIT(out, ",\"Name\":\"");
	json_out_text(out, node->d.label);
	LIT(out, ".");
	json_out_text(out, conf->base_domain);
	LIT(out, ".\"");
}

static void stable_id(struct json_out *out, const struct node *node)
{
	LIT(out, ",\"StableID\":\"");
	json_out_int(out, node->d.id);
	LIT(out, "\"");
}

/* The node's own, as host prefixes; without brackets. True when there was one. */
static bool addresses(struct json_out *out, const struct node *node)
{
	const struct net_addr *addrs[] = {&node->d.v4, &node->d.v6};
	bool any = false;

	for (unsigned i = 0; i < 2; i++) {
		struct net_prefix prefix = {*addrs[i], i ? 128 : 32};

		if (!addrs[i]->family)
			continue;
		if (any)
			LIT(out, ",");
		json_out_prefix(out, &prefix);
		any = true;
	}
	return any;
}

static bool route_shown(const struct policy_ops *policy, const uint32_t *view,
	const struct node *node, const struct node_route *route)
{
	if (!route->primary || !node->d.approved)
		return false;
	return !view || !policy->shows_route || policy->shows_route(*view, node, &route->prefix);
}

static void routes(struct json_out *out, const struct policy_ops *policy, const uint32_t *view,
	const struct node *node)
{
	bool any = false;

	LIT(out, ",\"Addresses\":[");
	addresses(out, node);
	LIT(out, "],\"AllowedIPs\":[");
	any = addresses(out, node);
	for (size_t i = 0; i < node->n_routes; i++) {
		if (!route_shown(policy, view, node, &node->routes[i]))
			continue;
		if (any)
			LIT(out, ",");
		any = true;
		json_out_prefix(out, &node->routes[i].prefix);
	}
	LIT(out, "]");
	any = false;
	for (size_t i = 0; i < node->n_routes; i++) {
		if (prefix_is_exit(&node->routes[i].prefix) ||
			!route_shown(policy, view, node, &node->routes[i]))
			continue;
		json_out_text(out, any ? "," : ",\"PrimaryRoutes\":[");
		any = true;
		json_out_prefix(out, &node->routes[i].prefix);
	}
	if (any)
		LIT(out, "]");
}

/* What a node and its peers see of it alike. */
static void common(struct json_out *out, const struct map_conf *conf, const struct node *node)
{
	LIT(out, "{\"ID\":");
	json_out_int(out, node->d.id);
	stable_id(out, node);
	name(out, conf, node);
	LIT(out, ",\"User\":");
	json_out_int(out, profile_id(node->user));
	LIT(out, ",\"Key\":");
	json_out_key(out, KEY_TEXT_NODE, &node->d.key);
	if (node->d.expiry) {
		LIT(out, ",\"KeyExpiry\":");
		json_out_time(out, node->d.expiry);
	}
	LIT(out, ",\"Machine\":");
	json_out_key(out, KEY_TEXT_MACHINE, &node->d.machine);
	if (!secret_is_zero(node->d.disco.bytes, sizeof(node->d.disco.bytes))) {
		LIT(out, ",\"DiscoKey\":");
		json_out_key(out, KEY_TEXT_DISCO, &node->d.disco);
	}
	LIT(out, ",\"Endpoints\":");
	json_out_text(out, node->d.endpoints);
	if (node->info.home_derp) {
		LIT(out, ",\"HomeDERP\":");
		json_out_uint(out, node->info.home_derp);
	}
	LIT(out, ",\"Hostinfo\":");
	json_out_text(out, node->info.shown);
	LIT(out, ",\"Created\":");
	json_out_time(out, node->d.created);
	LIT(out, ",\"Cap\":");
	json_out_int(out, node->d.cap);
	if (!node->d.user) {
		LIT(out, ",\"Tags\":");
		json_out_text(out, node->d.tags);
	}
	LIT(out, ",\"MachineAuthorized\":");
	json_out_bool(out, node->d.approved);
	if (node->expired)
		LIT(out, ",\"Expired\":true");
}

void record_peer(struct json_out *out, const struct map_conf *conf, const struct policy_ops *policy,
	uint32_t view, const struct node *node)
{
	common(out, conf, node);
	routes(out, policy, &view, node);
	/* always said: a client does not see a change from absent; LastSeen only while offline */
	LIT(out, ",\"Online\":");
	json_out_bool(out, node->online);
	if (!node->online && node->seen) {
		LIT(out, ",\"LastSeen\":");
		json_out_time(out, node->seen);
	}
	LIT(out, "}");
}

static void capabilities(struct json_out *out, const struct map_conf *conf,
	const struct policy_ops *policy, const struct node *node)
{
	const char *more = policy->capabilities ? policy->capabilities(node) : "";

	LIT(out, ",\"CapMap\":{\"https://tailscale.com/cap/ssh\":null,\"default-auto-update\":[");
	json_out_bool(out, conf->auto_update);
	LIT(out, "]");
	if (conf->taildrop)
		LIT(out, ",\"https://tailscale.com/cap/file-sharing\":null");
	if (*more)
		LIT(out, ",");
	json_out_text(out, more);
	LIT(out, "}");
}

void record_self(struct json_out *out, const struct map_conf *conf, const struct policy_ops *policy,
	const struct node *node)
{
	common(out, conf, node);
	routes(out, policy, NULL, node);
	LIT(out, ",\"Online\":true");
	capabilities(out, conf, policy, node);
	LIT(out, "}");
}

void record_patch(struct json_out *out, const struct node *node, unsigned what)
{
	LIT(out, "{\"NodeID\":");
	json_out_int(out, node->d.id);
	if (what & NODE_KEY) {
		LIT(out, ",\"Key\":");
		json_out_key(out, KEY_TEXT_NODE, &node->d.key);
	}
	if (what & (NODE_DISCO | NODE_KEY)) {
		LIT(out, ",\"DiscoKey\":");
		json_out_key(out, KEY_TEXT_DISCO, &node->d.disco);
	}
	if (what & NODE_ENDPOINTS) {
		LIT(out, ",\"Endpoints\":");
		json_out_text(out, node->d.endpoints);
	}
	if (what & NODE_DERP && node->info.home_derp) {
		LIT(out, ",\"DERPRegion\":");
		json_out_uint(out, node->info.home_derp);
	}
	if (what & NODE_CAP && node->d.cap) {
		LIT(out, ",\"Cap\":");
		json_out_int(out, node->d.cap);
	}
	if (what & NODE_ONLINE) {
		LIT(out, ",\"Online\":");
		json_out_bool(out, node->online);
	}
	if (what & NODE_ONLINE && !node->online && node->seen) {
		LIT(out, ",\"LastSeen\":");
		json_out_time(out, node->seen);
	}
	LIT(out, "}");
}

int64_t profile_id(const struct user *user)
{
	return user ? user->d.id : TAGGED_USER_ID;
}

void record_profile(struct json_out *out, const struct user *user)
{
	LIT(out, "{\"ID\":");
	json_out_int(out, profile_id(user));
	LIT(out, ",\"LoginName\":");
	json_out_string(out, user_login(user));
	LIT(out, ",\"DisplayName\":");
	json_out_string(out, user_display(user));
	LIT(out, ",\"ProfilePicURL\":");
	json_out_string(out, user ? user->d.picture : "");
	LIT(out, "}");
}

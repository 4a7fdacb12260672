/* SPDX-License-Identifier: BSD-3-Clause */
/* Users, nodes and keys in Headscale's shapes. Runs on: the control loop. */
#include <stdio.h>

#include "common.h"
#include "key_text.h"
#include "times.h"

json_t *time_json(int64_t when)
{
	char text[TIME_TEXT_SIZE];

	return when ? json_string(time_text_format(text, when)) : json_null();
}

json_t *id_json(int64_t id)
{
	char text[24];

	snprintf(text, sizeof(text), "%lld", (long long)id);
	return json_string(text);
}

static const char *or_empty(const char *text)
{
	return text ? text : "";
}

json_t *user_json(const struct user *user)
{
	const struct user_data *d = user ? &user->d : NULL;

	if (!d)
		return json_null();
	return json_pack("{s:o, s:s, s:o, s:s, s:s, s:s, s:s, s:s}", "id", id_json(d->id), "name",
		d->name, "createdAt", time_json(d->created), "displayName",
		or_empty(d->display_name), "email", or_empty(d->email), "providerId",
		or_empty(d->provider_id), "provider", or_empty(d->provider), "profilePicUrl",
		or_empty(d->picture));
}

json_t *text_array(const char *stored)
{
	json_t *array = stored ? json_loads(stored, 0, NULL) : NULL;

	return array ? array : json_array();
}

/* ---- nodes ---- */

static void add_prefix(json_t *list, const struct net_prefix *prefix)
{
	char text[NET_PREFIX_STRLEN];

	json_array_append_new(list, json_string(net_prefix_format(prefix, text)));
}

static json_t *prefixes_json(const struct net_prefix *prefixes, size_t n)
{
	json_t *list = json_array();

	for (size_t i = 0; i < n; i++)
		add_prefix(list, &prefixes[i]);
	return list;
}

static json_t *served_json(const struct node *node)
{
	json_t *list = json_array();

	for (size_t i = 0; i < node->n_routes; i++) {
		if (node->routes[i].primary)
			add_prefix(list, &node->routes[i].prefix);
	}
	return list;
}

static json_t *addresses_json(const struct node_data *d)
{
	json_t *list = json_array();
	char text[NET_ADDR_STRLEN];

	if (d->v4.family)
		json_array_append_new(list, json_string(net_addr_format(&d->v4, text)));
	if (d->v6.family)
		json_array_append_new(list, json_string(net_addr_format(&d->v6, text)));
	return list;
}

static const char *method_text(int64_t method)
{
	static const char *const texts[] = {
		[REGISTER_METHOD_UNSPECIFIED] = "REGISTER_METHOD_UNSPECIFIED",
		[REGISTER_METHOD_AUTH_KEY] = "REGISTER_METHOD_AUTH_KEY",
		[REGISTER_METHOD_CLI] = "REGISTER_METHOD_CLI",
		[REGISTER_METHOD_OIDC] = "REGISTER_METHOD_OIDC",
	};
	bool known = method > 0 && method < (int64_t)(sizeof(texts) / sizeof(*texts));

	return texts[known ? method : REGISTER_METHOD_UNSPECIFIED];
}

static json_t *key_json(const char *prefix, const struct public_key *key)
{
	char text[KEY_TEXT_SIZE];

	return json_string(key_text_format(text, prefix, key));
}

static json_t *user_shape(const struct user *user, struct node_shapes *shapes)
{
	if (!shapes->user_json || shapes->user != user) {
		json_decref(shapes->user_json);
		shapes->user = user;
		shapes->user_json = user_json(user);
	}
	return json_incref(shapes->user_json);
}

static json_t *preauth_shape(int64_t id, struct node_shapes *shapes)
{
	const struct preauth *preauth = id ? preauth_by_id(ops_tailnet, id) : NULL;

	if (!preauth)
		return json_null();
	if (!shapes->preauth_json || shapes->preauth != id) {
		json_decref(shapes->preauth_json);
		shapes->preauth = id;
		shapes->preauth_json = preauth_json(preauth, NULL);
	}
	return json_incref(shapes->preauth_json);
}

void node_shapes_fini(struct node_shapes *shapes)
{
	json_decref(shapes->user_json);
	json_decref(shapes->preauth_json);
}

json_t *node_json(const struct node *node)
{
	struct node_shapes shapes = {0};
	json_t *out = node_json_of(node, &shapes);

	node_shapes_fini(&shapes);
	return out;
}

json_t *node_json_of(const struct node *node, struct node_shapes *shapes)
{
	const struct node_data *d = &node->d;
	json_t *out = json_pack("{s:o, s:o, s:o, s:o, s:o, s:s, s:o}", "id", id_json(d->id),
		"machineKey", key_json(KEY_TEXT_MACHINE, &d->machine), "nodeKey",
		key_json(KEY_TEXT_NODE, &d->key), "discoKey", key_json(KEY_TEXT_DISCO, &d->disco),
		"ipAddresses", addresses_json(d), "name", or_empty(d->hostname), "user",
		user_shape(node->user, shapes));

	json_object_set_new(out, "lastSeen", time_json(node->seen ? node->seen : d->last_seen));
	json_object_set_new(out, "expiry", time_json(d->expiry));
	json_object_set_new(out, "preAuthKey", preauth_shape(d->preauth, shapes));
	json_object_set_new(out, "createdAt", time_json(d->created));
	json_object_set_new(out, "registerMethod", json_string(method_text(d->method)));
	json_object_set_new(out, "givenName", json_string(d->label));
	json_object_set_new(out, "online", json_boolean(node->online));
	json_object_set_new(out, "approvedRoutes", prefixes_json(node->approved, node->n_approved));
	json_object_set_new(
		out, "availableRoutes", prefixes_json(node->info.routes, node->info.n_routes));
	json_object_set_new(out, "subnetRoutes", served_json(node));
	json_object_set_new(out, "tags", text_array(d->tags));
	/* ours */
	json_object_set_new(out, "ephemeral", json_boolean(d->ephemeral));
	json_object_set_new(out, "approved", json_boolean(d->approved));
	json_object_set_new(out, "expired", json_boolean(node_is_expired(ops_tailnet, node)));
	json_object_set_new(out, "os", json_string(or_empty(node->info.os)));
	json_object_set_new(out, "capabilityVersion", json_integer(d->cap));
	return out;
}

json_t *answer_node(const struct tailnet_result *result)
{
	const struct node *node = node_by_id(ops_tailnet, result->id);

	return node ? node_json(node) : json_object();
}

json_t *answer_user(const struct tailnet_result *result)
{
	return user_json(user_by_id(ops_tailnet, result->id));
}

/* ---- keys ---- */

json_t *preauth_json(const struct preauth *key, const char *text)
{
	const struct preauth_data *d = &key->d;
	json_t *shown =
		text ? json_string(text) : json_sprintf(AUTHKEY_AUTH "%s-***", or_empty(d->prefix));

	return json_pack("{s:o, s:o, s:o, s:b, s:b, s:b, s:o, s:o, s:o}", "user",
		user_json(d->user ? user_by_id(ops_tailnet, d->user) : NULL), "id", id_json(d->id),
		"key", shown, "reusable", d->reusable, "ephemeral", d->ephemeral, "used", d->used,
		"expiration", time_json(d->revoked ? d->revoked : d->expiry), "createdAt",
		time_json(d->created), "aclTags", text_array(d->tags));
}

json_t *apikey_json(const struct apikey *key)
{
	const struct apikey_data *d = &key->d;

	return json_pack("{s:o, s:s, s:o, s:o, s:o}", "id", id_json(d->id), "prefix", d->prefix,
		"expiration", time_json(d->expiry), "createdAt", time_json(d->created), "lastSeen",
		time_json(d->last_used));
}

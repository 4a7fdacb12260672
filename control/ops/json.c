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

json_t *text_array(const char *stored)
{
	json_t *array = stored ? json_loads(stored, 0, NULL) : NULL;

	return array ? array : json_array();
}

/* What was written as text, for those who want a tree; it is theirs. */
static json_t *tree(struct json_out *out)
{
	json_t *value =
		json_out_ok(out) ? json_loadb(out->text, out->len, JSON_DECODE_ANY, NULL) : NULL;

	json_out_fini(out);
	return value ? value : json_null();
}

/* ---- members of an object ---- */

#define KEY(out, name) json_out_raw(out, ",\"" name "\":", sizeof(",\"" name "\":") - 1)
/* The first of an object. */
#define KEY_FIRST(out, name) json_out_raw(out, "{\"" name "\":", sizeof("{\"" name "\":") - 1)

static void put_id(struct json_out *out, int64_t id)
{
	json_out_raw(out, "\"", 1);
	json_out_int(out, id);
	json_out_raw(out, "\"", 1);
}

static void put_time(struct json_out *out, int64_t when)
{
	if (when)
		json_out_time(out, when);
	else
		json_out_text(out, "null");
}

static void put_text(struct json_out *out, const char *text)
{
	json_out_string(out, or_empty(text));
}

static void put_stored(struct json_out *out, const char *stored)
{
	json_out_text(out, stored ? stored : "[]");
}

/* ---- users ---- */

static void put_user(struct json_out *out, const struct user *user)
{
	const struct user_data *d = user ? &user->d : NULL;

	if (!d) {
		json_out_text(out, "null");
		return;
	}
	KEY_FIRST(out, "id");
	put_id(out, d->id);
	KEY(out, "name");
	put_text(out, d->name);
	KEY(out, "createdAt");
	put_time(out, d->created);
	KEY(out, "displayName");
	put_text(out, d->display_name);
	KEY(out, "email");
	put_text(out, d->email);
	KEY(out, "providerId");
	put_text(out, d->provider_id);
	KEY(out, "provider");
	put_text(out, d->provider);
	KEY(out, "profilePicUrl");
	put_text(out, d->picture);
	json_out_raw(out, "}", 1);
}

json_t *user_json(const struct user *user)
{
	struct json_out out = {0};

	put_user(&out, user);
	return tree(&out);
}

json_t *answer_user(const struct tailnet_result *result)
{
	return user_json(user_by_id(ops_tailnet, result->id));
}

/* ---- pre-auth keys ---- */

/* `text` NULL: masked. */
static void put_preauth(struct json_out *out, const struct preauth *key, const char *text)
{
	const struct preauth_data *d = &key->d;
	char masked[64];

	snprintf(masked, sizeof(masked), AUTHKEY_AUTH "%.32s-***", or_empty(d->prefix));
	KEY_FIRST(out, "user");
	put_user(out, d->user ? user_by_id(ops_tailnet, d->user) : NULL);
	KEY(out, "id");
	put_id(out, d->id);
	KEY(out, "key");
	put_text(out, text ? text : masked);
	KEY(out, "reusable");
	json_out_bool(out, d->reusable);
	KEY(out, "ephemeral");
	json_out_bool(out, d->ephemeral);
	KEY(out, "used");
	json_out_bool(out, d->used);
	KEY(out, "expiration");
	put_time(out, d->revoked ? d->revoked : d->expiry);
	KEY(out, "createdAt");
	put_time(out, d->created);
	KEY(out, "aclTags");
	put_stored(out, d->tags);
	json_out_raw(out, "}", 1);
}

json_t *preauth_json(const struct preauth *key, const char *text)
{
	struct json_out out = {0};

	put_preauth(&out, key, text);
	return tree(&out);
}

/* ---- nodes ---- */

static void put_prefixes(struct json_out *out, const struct net_prefix *prefixes, size_t n)
{
	json_out_raw(out, "[", 1);
	for (size_t i = 0; i < n; i++) {
		if (i)
			json_out_raw(out, ",", 1);
		json_out_prefix(out, &prefixes[i]);
	}
	json_out_raw(out, "]", 1);
}

static void put_served(struct json_out *out, const struct node *node)
{
	bool any = false;

	json_out_raw(out, "[", 1);
	for (size_t i = 0; i < node->n_routes; i++) {
		if (!node->routes[i].primary)
			continue;
		if (any)
			json_out_raw(out, ",", 1);
		json_out_prefix(out, &node->routes[i].prefix);
		any = true;
	}
	json_out_raw(out, "]", 1);
}

static void put_addresses(struct json_out *out, const struct node_data *d)
{
	json_out_raw(out, "[", 1);
	if (d->v4.family)
		json_out_addr(out, &d->v4);
	if (d->v4.family && d->v6.family)
		json_out_raw(out, ",", 1);
	if (d->v6.family)
		json_out_addr(out, &d->v6);
	json_out_raw(out, "]", 1);
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

/* Its user and its key, whose texts neighbours in a list share. */
static void put_user_shape(
	struct json_out *out, const struct user *user, struct node_shapes *shapes)
{
	if (!shapes->user_text.len || shapes->user != user) {
		json_out_reset(&shapes->user_text);
		shapes->user = user;
		put_user(&shapes->user_text, user);
	}
	json_out_raw(out, shapes->user_text.text, shapes->user_text.len);
}

static void put_preauth_shape(struct json_out *out, int64_t id, struct node_shapes *shapes)
{
	const struct preauth *preauth = id ? preauth_by_id(ops_tailnet, id) : NULL;

	if (!preauth) {
		json_out_text(out, "null");
		return;
	}
	if (!shapes->preauth_text.len || shapes->preauth != id) {
		json_out_reset(&shapes->preauth_text);
		shapes->preauth = id;
		put_preauth(&shapes->preauth_text, preauth, NULL);
	}
	json_out_raw(out, shapes->preauth_text.text, shapes->preauth_text.len);
}

void node_shapes_fini(struct node_shapes *shapes)
{
	json_out_fini(&shapes->user_text);
	json_out_fini(&shapes->preauth_text);
}

static void put_identity(struct json_out *out, const struct node *node, struct node_shapes *shapes)
{
	const struct node_data *d = &node->d;

	KEY_FIRST(out, "id");
	put_id(out, d->id);
	KEY(out, "machineKey");
	json_out_key(out, KEY_TEXT_MACHINE, &d->machine);
	KEY(out, "nodeKey");
	json_out_key(out, KEY_TEXT_NODE, &d->key);
	KEY(out, "discoKey");
	json_out_key(out, KEY_TEXT_DISCO, &d->disco);
	KEY(out, "ipAddresses");
	put_addresses(out, d);
	KEY(out, "name");
	put_text(out, d->hostname);
	KEY(out, "user");
	put_user_shape(out, node->user, shapes);
}

void put_node(struct json_out *out, const struct node *node, struct node_shapes *shapes)
{
	const struct node_data *d = &node->d;

	put_identity(out, node, shapes);
	KEY(out, "lastSeen");
	put_time(out, node->seen ? node->seen : d->last_seen);
	KEY(out, "expiry");
	put_time(out, d->expiry);
	KEY(out, "preAuthKey");
	put_preauth_shape(out, d->preauth, shapes);
	KEY(out, "createdAt");
	put_time(out, d->created);
	KEY(out, "registerMethod");
	put_text(out, method_text(d->method));
	KEY(out, "givenName");
	put_text(out, d->label);
	KEY(out, "online");
	json_out_bool(out, node->online);
	KEY(out, "approvedRoutes");
	put_prefixes(out, node->approved, node->n_approved);
	KEY(out, "availableRoutes");
	put_prefixes(out, node->info.routes, node->info.n_routes);
	KEY(out, "subnetRoutes");
	put_served(out, node);
	KEY(out, "tags");
	put_stored(out, d->tags);
	/* ours */
	KEY(out, "ephemeral");
	json_out_bool(out, d->ephemeral);
	KEY(out, "approved");
	json_out_bool(out, d->approved);
	KEY(out, "expired");
	json_out_bool(out, node_is_expired(ops_tailnet, node));
	KEY(out, "os");
	put_text(out, node->info.os);
	KEY(out, "capabilityVersion");
	json_out_int(out, d->cap);
	json_out_raw(out, "}", 1);
}

json_t *node_json(const struct node *node)
{
	struct node_shapes shapes = {0};
	struct json_out out = {0};

	put_node(&out, node, &shapes);
	node_shapes_fini(&shapes);
	return tree(&out);
}

json_t *answer_node(const struct tailnet_result *result)
{
	const struct node *node = node_by_id(ops_tailnet, result->id);

	return node ? node_json(node) : json_object();
}

/* ---- keys of the API ---- */

json_t *apikey_json(const struct apikey *key)
{
	const struct apikey_data *d = &key->d;

	return json_pack("{s:o, s:s, s:o, s:o, s:o}", "id", id_json(d->id), "prefix", d->prefix,
		"expiration", time_json(d->expiry), "createdAt", time_json(d->created), "lastSeen",
		time_json(d->last_used));
}

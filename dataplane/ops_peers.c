/* SPDX-License-Identifier: BSD-3-Clause */
/* `tailplane peers ...`: rows, and what adds, changes and removes one. Control loop. */
#include "ops_private.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "control.h"

#define KEEPALIVE_MAX (65535 * NS_PER_SEC)

static void prefix_append(void *arg, const struct net_prefix *prefix)
{
	char text[NET_PREFIX_STRLEN];

	json_array_insert_new(arg, 0, json_string(net_prefix_format(prefix, text)));
}

static const char *const origin_names[] = {"config", "state", "volatile"};

static json_t *peer_row(const struct peer *p)
{
	char key[45], endpoint[NET_ENDPOINT_STRLEN] = "";
	struct peer_totals traffic;
	json_t *ips = json_array();

	peer_traffic_sum(p, &traffic);
	setting_format_key(p->spec.public_key.bytes, key);
	if (p->endpoint.addr.family)
		net_endpoint_format(&p->endpoint, endpoint);
	allowedips_each(&p->tunnel->allowed_ips, p->index, prefix_append, ips);
	return json_pack("{ss ss ss ss sI sI sI sI sI so sI sb ss}", "tunnel", p->tunnel->name,
		"name", p->spec.name, "public_key", key, "endpoint", endpoint, "latest_handshake",
		(json_int_t)p->last_handshake_unix, "rx_bytes", (json_int_t)traffic.rx_bytes,
		"tx_bytes", (json_int_t)traffic.tx_bytes, "rx_packets",
		(json_int_t)traffic.rx_packets, "tx_packets", (json_int_t)traffic.tx_packets,
		"allowed_ips", ips, "persistent_keepalive",
		(json_int_t)p->spec.persistent_keepalive, "preshared_key",
		!secret_is_zero(&p->spec.preshared_key, sizeof(p->spec.preshared_key)), "origin",
		origin_names[p->origin]);
}

void peers_run(struct op_call *call, const json_t *args)
{
	const char *wanted = ops_arg_text(args, "tunnel");
	json_t *rows = json_array();

	if (wanted && !tunnel_find(wanted)) {
		json_decref(rows);
		op_fail(call, "there is no tunnel named \"%s\"", wanted);
		return;
	}
	for (uint32_t i = 0; i < n_tunnels; i++) {
		struct tunnel *t = tunnels[i];

		if (!t || (wanted && strcmp(wanted, t->name)))
			continue;
		for (uint32_t b = 0; b < t->n_buckets; b++)
			for (const struct peer *p = t->by_key[b]; p; p = p->next_by_key)
				json_array_append_new(rows, peer_row(p));
	}
	op_reply(call, rows);
}

struct change {
	struct op_call *call;
	json_t *result;
};

static void change_done(void *arg, int error, const struct err *err)
{
	struct change *change = arg;

	if (error) {
		op_fail(change->call, "it runs, but could not be kept for the next start: %s",
			err->msg);
		json_decref(change->result);
	} else {
		op_reply(change->call, change->result);
	}
	free(change);
}

/* Answers now, or when the change is on disk. */
static void change_keep(struct op_call *call, struct tunnel *t, const struct peer_spec *spec,
	enum peers_state_change what, bool keep, json_t *result)
{
	struct change *change;

	if (!keep) {
		op_reply(call, result);
		return;
	}
	change = calloc(1, sizeof(*change));
	if (!change) {
		json_decref(result);
		op_fail(call, "out of memory");
		return;
	}
	change->call = call;
	change->result = result;
	peers_state_put(t->name, spec, what, change_done, change);
}

static const char *spec_allowed_ips(struct peer_spec *spec, const json_t *list)
{
	size_t n = json_array_size(list);

	free(spec->allowed_ips);
	spec->n_allowed_ips = 0;
	spec->allowed_ips = calloc(n ? n : 1, sizeof(*spec->allowed_ips));
	if (!spec->allowed_ips)
		return "out of memory";
	for (size_t i = 0; i < n; i++)
		if (net_prefix_parse(
			    &spec->allowed_ips[i], json_string_value(json_array_get(list, i))))
			return "an allowed IP is a prefix such as 10.0.0.2/32";
	spec->n_allowed_ips = n;
	return NULL;
}

/* Lays the arguments over `spec`; NULL, or what is wrong. */
static const char *spec_from_args(struct peer_spec *spec, const json_t *args)
{
	const char *name = ops_arg_text(args, "name"), *endpoint = ops_arg_text(args, "endpoint"),
		   *psk = ops_arg_text(args, "preshared-key-file"),
		   *keepalive = ops_arg_text(args, "persistent-keepalive");
	const json_t *ips = json_object_get(args, "allowed-ips");
	char text[64];

	if (name && strlen(name) >= sizeof(spec->name))
		return "the name is too long: at most 63 bytes";
	if (name)
		snprintf(spec->name, sizeof(spec->name), "%s", name);
	if (endpoint)
		snprintf(spec->endpoint, sizeof(spec->endpoint), "%s", endpoint);
	if (keepalive && (setting_parse_duration(&spec->persistent_keepalive, keepalive, NULL) ||
				 spec->persistent_keepalive > KEEPALIVE_MAX))
		return "persistent-keepalive is a duration such as 25s, at most 65535s; 0s: off";
	if (psk) {
		snprintf(text, sizeof(text), "%.*s", (int)strcspn(psk, "\r\n"), psk);
		if (setting_parse_key(spec->preshared_key.bytes, text, NULL)) {
			secret_zero(text, sizeof(text));
			return "the preshared key's file holds no key of 44 characters of base64";
		}
		secret_zero(text, sizeof(text));
	}
	return ips ? spec_allowed_ips(spec, ips) : NULL;
}

static json_t *change_result(const struct peer *p, json_t *taken)
{
	json_t *row = peer_row(p);

	if (json_array_size(taken))
		json_object_set(row, "taken", taken);
	json_decref(taken);
	return row;
}

static void peer_put_run(struct op_call *call, struct tunnel *t, struct peer *p,
	struct peer_spec *spec, const json_t *args)
{
	bool keep = !json_is_true(json_object_get(args, "volatile"));
	enum peer_origin origin = keep ? PEER_FROM_STATE : PEER_VOLATILE;
	const char *wrong = spec_from_args(spec, args);
	json_t *taken = json_array();
	struct err err = {0};

	if (wrong) {
		op_fail(call, "%s", wrong);
		json_decref(taken);
		return;
	}
	if (!p) {
		/* a bare peer first: peer_update tells from whom prefixes were taken */
		struct peer_spec bare = *spec;

		bare.allowed_ips = NULL;
		bare.n_allowed_ips = 0;
		p = peer_new(t, &bare, origin, &err);
	}
	if (!p) {
		op_fail(call, "%s", err.msg);
		json_decref(taken);
		return;
	}
	peer_update(p, spec, origin, taken);
	change_keep(call, t, &p->spec, PEERS_STATE_KEEP, keep, change_result(p, taken));
}

void peers_add_run(struct op_call *call, const json_t *args)
{
	struct tunnel *t = ops_arg_tunnel(call, args);
	struct peer_spec spec = {0};
	const char *key = ops_arg_text(args, "public-key");
	struct err err = {0};

	if (!t)
		return;
	if (setting_parse_key(spec.public_key.bytes, key, &err)) {
		op_fail(call, "public-key: %s", err.msg);
		return;
	}
	if (peer_find(t, &spec.public_key)) {
		op_fail(call, "tunnel %s has a peer with this key: change it with `peers set`",
			t->name);
		return;
	}
	snprintf(spec.name, sizeof(spec.name), "%s", key);
	peer_put_run(call, t, NULL, &spec, args);
	peer_spec_fini(&spec);
}

static struct peer *arg_peer(struct op_call *call, const json_t *args, struct tunnel **t)
{
	const char *text = ops_arg_text(args, "peer");
	char key[45], other_key[45];
	struct peer *p, *other;

	*t = ops_arg_tunnel(call, args);
	if (!*t)
		return NULL;
	p = peer_find_text(*t, text, &other);
	if (!p)
		op_fail(call, "tunnel %s has no peer \"%s\": `tailplane peers` lists them",
			(*t)->name, text);
	if (!other)
		return p;
	setting_format_key(p->spec.public_key.bytes, key);
	setting_format_key(other->spec.public_key.bytes, other_key);
	op_fail(call, "tunnel %s has several peers named \"%s\": name one by its key (%s, %s)",
		(*t)->name, text, key, other_key);
	return NULL;
}

void peers_set_run(struct op_call *call, const json_t *args)
{
	struct tunnel *t;
	struct peer *p = arg_peer(call, args, &t);
	struct peer_spec spec;

	if (!p)
		return;
	if (!peer_spec_copy(&spec, &p->spec)) {
		op_fail(call, "out of memory");
		return;
	}
	peer_put_run(call, t, p, &spec, args);
	peer_spec_fini(&spec);
}

static bool configured(const struct tunnel *t, const struct public_key *key)
{
	const struct tunnel_conf *conf = dataplane_conf()->tunnels.items;
	const struct peer_conf *list = conf[t->index].peers.items;

	for (size_t i = 0; i < conf[t->index].peers.count; i++)
		if (!memcmp(list[i].public_key, key, sizeof(*key)))
			return true;
	return false;
}

void peers_remove_run(struct op_call *call, const json_t *args)
{
	bool keep = !json_is_true(json_object_get(args, "volatile"));
	struct tunnel *t;
	struct peer *p = arg_peer(call, args, &t);
	struct peer_spec spec = {0};
	json_t *row;

	if (!p)
		return;
	spec.public_key = p->spec.public_key;
	keep = keep && p->origin != PEER_VOLATILE;
	row = peer_row(p);
	peer_remove(p);
	change_keep(call, t, &spec,
		configured(t, &spec.public_key) ? PEERS_STATE_REMOVE : PEERS_STATE_FORGET, keep,
		row);
}

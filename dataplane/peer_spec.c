/* SPDX-License-Identifier: BSD-3-Clause */
/* What is wanted of a peer, and how a peer becomes that. Control loop. */
#include <stdlib.h>
#include <string.h>

#include "control.h"

bool peer_spec_copy(struct peer_spec *to, const struct peer_spec *from)
{
	struct net_prefix *ips = NULL;

	if (from->n_allowed_ips) {
		ips = malloc(from->n_allowed_ips * sizeof(*ips));
		if (!ips)
			return false;
		memcpy(ips, from->allowed_ips, from->n_allowed_ips * sizeof(*ips));
	}
	*to = *from;
	to->allowed_ips = ips;
	return true;
}

void peer_spec_fini(struct peer_spec *spec)
{
	free(spec->allowed_ips);
	secret_zero(&spec->preshared_key, sizeof(spec->preshared_key));
	spec->allowed_ips = NULL;
	spec->n_allowed_ips = 0;
}

bool peer_spec_equal(const struct peer_spec *a, const struct peer_spec *b)
{
	if (strcmp(a->name, b->name) != 0 || strcmp(a->endpoint, b->endpoint) != 0 ||
		a->persistent_keepalive != b->persistent_keepalive ||
		!secret_equal(&a->preshared_key, &b->preshared_key, sizeof(a->preshared_key)) ||
		a->n_allowed_ips != b->n_allowed_ips)
		return false;
	for (size_t i = 0; i < a->n_allowed_ips; i++)
		if (!net_prefix_equal(&a->allowed_ips[i], &b->allowed_ips[i]))
			return false;
	return true;
}

static bool spec_has(const struct peer_spec *spec, const struct net_prefix *prefix)
{
	struct net_prefix masked = net_prefix_masked(prefix);

	for (size_t i = 0; i < spec->n_allowed_ips; i++) {
		struct net_prefix mine = net_prefix_masked(&spec->allowed_ips[i]);

		if (mine.len == masked.len && net_addr_equal(&mine.addr, &masked.addr))
			return true;
	}
	return false;
}

static void taken_note(json_t *taken, const struct net_prefix *prefix, uint32_t from)
{
	const struct peer *other = peer_by_index(from);
	char text[NET_PREFIX_STRLEN];

	net_prefix_format(prefix, text);
	log_info("%s was taken from peer %s", text, other ? other->spec.name : "?");
	if (taken)
		json_array_append_new(taken, json_sprintf("%s was taken from peer %s", text,
						     other ? other->spec.name : "?"));
}

/* The prefixes of `spec` lead to `p`; those it had and has no longer are removed. */
static void allowed_ips_apply(struct peer *p, const struct peer_spec *spec, json_t *taken)
{
	struct tunnel *t = p->tunnel;

	for (size_t i = 0; i < p->spec.n_allowed_ips; i++) {
		const struct net_prefix *prefix = &p->spec.allowed_ips[i];

		if (!spec_has(spec, prefix) &&
			!allowedips_remove(&t->allowed_ips, prefix, p->index))
			tunnel_route_remove(t, prefix);
	}
	for (size_t i = 0; i < spec->n_allowed_ips; i++) {
		uint32_t from = ALLOWEDIPS_NONE;

		if (allowedips_insert(&t->allowed_ips, &spec->allowed_ips[i], p->index, &from)) {
			log_warnx("%s: no memory for an allowed IP of %s", t->name, spec->name);
			continue;
		}
		if (from != ALLOWEDIPS_NONE)
			taken_note(taken, &spec->allowed_ips[i], from);
		tunnel_route_add(t, &spec->allowed_ips[i], p->index);
	}
}

void peer_claim(struct peer *p)
{
	struct allowedips *table = &p->tunnel->allowed_ips;

	for (size_t i = 0; i < p->spec.n_allowed_ips; i++) {
		const struct net_prefix *prefix = &p->spec.allowed_ips[i];

		if (allowedips_get(table, prefix) == ALLOWEDIPS_NONE &&
			!allowedips_insert(table, prefix, p->index, NULL))
			tunnel_route_add(p->tunnel, prefix, p->index);
	}
}

void peer_update(
	struct peer *p, const struct peer_spec *spec, enum peer_origin origin, json_t *taken)
{
	bool endpoint_new =
		strcmp(p->spec.endpoint, spec->endpoint) != 0 || !p->endpoint.addr.family;
	struct peer_spec copy;

	if (!peer_spec_copy(&copy, spec)) {
		log_warnx("out of memory: peer %s keeps its settings", p->spec.name);
		return;
	}
	allowed_ips_apply(p, spec, taken);
	if (!secret_equal(
		    &p->spec.preshared_key, &spec->preshared_key, sizeof(spec->preshared_key)))
		handshake_set_preshared_key(p, &spec->preshared_key);
	if (p->timers.persistent_keepalive != spec->persistent_keepalive)
		wg_timers_set_persistent_keepalive(&p->timers, spec->persistent_keepalive);
	peer_spec_fini(&p->spec);
	p->spec = copy;
	p->origin = origin;
	if (endpoint_new && *p->spec.endpoint)
		endpoint_apply(p);
	peer_run_timers(p);
}

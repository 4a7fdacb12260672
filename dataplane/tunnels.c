/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Tunnels: a key, a port, peers, allowed IPs; their TUN and sockets on the host port, their routes
 * in the kernel or in the FIB. Control loop.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "control.h"
#include "ether.h"
#include "workers.h"
#include "x25519.h"

#define PEER_BUCKETS_MIN 64
#define FWMARK_DEFAULT 51820 /* wg-quick's: what keeps a default route out of itself */

struct tunnel *tunnels[TUNNELS_MAX];
uint32_t n_tunnels;

static unsigned apply_round;

/* ---- keys ------------------------------------------------------------------------------------ */

static int key_parse(uint8_t key[32], const char *path, struct err *err)
{
	char text[128];
	ssize_t len = state_read_secret(path, text, sizeof(text) - 1, err);
	int rc;

	if (len < 0)
		return (int)len;
	while (len && (text[len - 1] == '\n' || text[len - 1] == ' ' || text[len - 1] == '\r'))
		len--;
	text[len] = '\0';
	rc = setting_parse_key(key, text, NULL);
	secret_zero(text, sizeof(text));
	if (rc)
		return err_set(err, -EINVAL,
			"%s: no key: 44 characters of base64 are wanted, as `tailplane keys new` "
			"prints them",
			path);
	return 0;
}

static int key_make(uint8_t key[32], const char *path, struct err *err)
{
	struct private_key made;
	char text[46];
	int rc;

	x25519_generate(&made);
	setting_format_key(made.bytes, text);
	text[44] = '\n';
	rc = state_write(path, text, 45, 0600, err);
	memcpy(key, made.bytes, 32);
	secret_zero(&made, sizeof(made));
	secret_zero(text, sizeof(text));
	if (!rc)
		log_info("made a new private key: %s", path);
	return rc;
}

/* A file that the settings name must be there; our own is made at the first start. */
static int private_key_load(
	struct private_key *key, const struct tunnel_conf *conf, struct err *err)
{
	char name[128], *path;
	int rc;

	snprintf(name, sizeof(name), "tunnels/%s.key", conf->name);
	path = state_path(conf->private_key_file ? conf->private_key_file : name);
	if (!path)
		return err_set(err, -ENOMEM, "out of memory");
	if (conf->private_key_file || !access(path, F_OK))
		rc = key_parse(key->bytes, path, err);
	else
		rc = key_make(key->bytes, path, err);
	free(path);
	return rc;
}

void tunnel_key_text(const struct tunnel *t, char text[static 45])
{
	setting_format_key(t->local.static_public.bytes, text);
}

/* ---- peers ----------------------------------------------------------------------------------- */

static int spec_from_conf(struct peer_spec *spec, const struct peer_conf *conf, struct err *err)
{
	char key[45], *path;
	int rc = 0;

	memset(spec, 0, sizeof(*spec));
	memcpy(spec->public_key.bytes, conf->public_key, 32);
	setting_format_key(conf->public_key, key);
	snprintf(spec->name, sizeof(spec->name), "%s", conf->name ? conf->name : key);
	snprintf(
		spec->endpoint, sizeof(spec->endpoint), "%s", conf->endpoint ? conf->endpoint : "");
	spec->persistent_keepalive = conf->persistent_keepalive;
	spec->allowed_ips = conf->allowed_ips.items; /* borrowed: peers copy */
	spec->n_allowed_ips = conf->allowed_ips.count;
	if (!conf->preshared_key_file)
		return 0;
	path = state_path(conf->preshared_key_file);
	rc = path ? key_parse(spec->preshared_key.bytes, path, err) : -ENOMEM;
	free(path);
	return rc;
}

static struct peers_state_entry *entry_find(
	struct peers_state_entry *entries, size_t n, const struct public_key *key)
{
	for (size_t i = 0; i < n; i++)
		if (!memcmp(&entries[i].spec.public_key, key, sizeof(*key)))
			return &entries[i];
	return NULL;
}

static void peer_want(struct tunnel *t, const struct peer_spec *spec, enum peer_origin origin)
{
	struct peer *p = peer_find(t, &spec->public_key);
	struct err err = {0};

	if (!p)
		p = peer_new(t, spec, origin, &err);
	else if (!peer_spec_equal(&p->spec, spec) || p->origin != origin)
		peer_update(p, spec, origin, NULL);
	if (p)
		p->round = apply_round;
	else
		log_warnx("tunnel %s: peer %s: %s", t->name, spec->name, err.msg);
}

static void unwanted_remove(struct tunnel *t)
{
	for (uint32_t b = 0; b < t->n_buckets; b++) {
		struct peer *p = t->by_key[b], *next;

		for (; p; p = next) {
			next = p->next_by_key;
			if (p->round != apply_round)
				peer_remove(p);
		}
	}
}

int tunnel_peers_check(const struct tunnel_conf *conf, struct err *err)
{
	const struct peer_conf *list = conf->peers.items;
	struct peer_spec spec;
	int rc = 0;

	for (size_t i = 0; !rc && i < conf->peers.count; i++) {
		rc = spec_from_conf(&spec, &list[i], err);
		secret_zero(&spec, sizeof(spec));
	}
	return rc;
}

static void claim(struct tunnel *t, const void *key)
{
	struct public_key public;
	struct peer *p;

	memcpy(public.bytes, key, sizeof(public.bytes));
	p = peer_find(t, &public);
	if (p)
		peer_claim(p);
}

/* What those who are gone had taken goes to its owner: from the last, who wins over the first. */
static void claims_renew(struct tunnel *t, const struct tunnel_conf *conf,
	const struct peers_state_entry *entries, size_t n)
{
	const struct peer_conf *list = conf->peers.items;

	while (n--)
		claim(t, entries[n].spec.public_key.bytes);
	for (size_t i = conf->peers.count; i--;)
		claim(t, list[i].public_key);
}

void tunnel_peers_apply(struct tunnel *t, const struct tunnel_conf *conf)
{
	const struct peer_conf *list = conf->peers.items;
	struct peers_state_entry *entries = NULL;
	struct err err = {0};
	size_t n = 0;

	apply_round++;
	if (peers_state_load(t->name, &entries, &n, &err))
		log_warnx("tunnel %s: peers given by command are left out: %s", t->name, err.msg);
	for (size_t i = 0; i < conf->peers.count; i++) {
		struct public_key key;
		struct peer_spec spec;

		memcpy(key.bytes, list[i].public_key, 32);
		if (entry_find(entries, n, &key))
			continue;
		if (spec_from_conf(&spec, &list[i], &err))
			log_warnx("tunnel %s: %s", t->name, err.msg);
		else
			peer_want(t, &spec, PEER_FROM_CONFIG);
		secret_zero(&spec.preshared_key, sizeof(spec.preshared_key));
	}
	for (size_t i = 0; i < n; i++)
		if (!entries[i].removed)
			peer_want(t, &entries[i].spec, PEER_FROM_STATE);
	unwanted_remove(t);
	claims_renew(t, conf, entries, n);
	peers_state_free(entries, n);
}

/* ---- the tunnel ------------------------------------------------------------------------------ */

const struct net_prefix *tunnel_address(const struct tunnel *t, size_t i)
{
	const struct net_prefix *addresses = t->addresses.items;

	if (i < t->addresses.count)
		return &addresses[i];
	i -= t->addresses.count;
	return i < t->n_added ? &t->added[i] : NULL;
}

/* The first address of each family is what we speak from. */
static void dp_sources(struct dp_tunnel *dp, const struct tunnel *t)
{
	for (size_t i = t->addresses.count + t->n_added; i-- > 0;) {
		const struct net_addr *addr = &tunnel_address(t, i)->addr;

		if (addr->family == AF_INET)
			memcpy(dp->source4, addr->bytes, 4);
		else
			memcpy(dp->source6, addr->bytes, 16);
	}
}

static struct dp_tunnel *dp_new(const struct tunnel *t, const struct tunnel_conf *conf)
{
	struct dp_tunnel *dp = calloc(1, sizeof(*dp));

	if (!dp)
		return NULL;
	dp->index = t->index;
	snprintf(dp->name, sizeof(dp->name), "%.31s", conf->name);
	dp->ports_underlay = conf->underlay == UNDERLAY_PORTS;
	dp->relay_peers = conf->relay_peers || dp->ports_underlay;
	dp->listen_port = htons(t->listen_port);
	dp->mtu = (uint16_t)conf->mtu;
	dp->tun_port = t->tun ? t->tun->index : PORT_NONE;
	dp->udp_port = t->udp ? t->udp->index : PORT_NONE;
	dp->allowed_ips = &t->allowed_ips;
	dp_sources(dp, t);
	return dp;
}

static int udp_open(struct tunnel *t, const struct tunnel_conf *conf, struct err *err)
{
	t->listen_port = (uint16_t)conf->listen_port;
	if (conf->underlay == UNDERLAY_PORTS)
		return 0;
	t->udp =
		port_udp_open(&t->listen_port, (uint16_t)workers_count(), t->index, t->fwmark, err);
	return t->udp ? control_port_add(t->udp) : -EIO;
}

static int fib_addresses(struct tunnel *t, const struct tunnel_conf *conf, struct err *err)
{
	const struct net_prefix *addresses = conf->addresses.items;
	int rc = 0;

	if (conf->underlay != UNDERLAY_PORTS)
		return 0;
	for (size_t i = 0; !rc && i < conf->addresses.count; i++)
		rc = fib_address_add(ether_fib(), &addresses[i], PORT_NONE, 0, t->index,
			(uint16_t)conf->mtu, err);
	return rc;
}

static void locks_init(struct tunnel *t)
{
	pthread_rwlockattr_t attr;

	/* a flood of handshakes in jobs must not keep the loop from changing peers */
	pthread_rwlockattr_init(&attr);
	pthread_rwlockattr_setkind_np(&attr, PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP);
	pthread_rwlock_init(&t->lock, &attr);
	pthread_rwlockattr_destroy(&attr);
	pthread_mutex_init(&t->cookie_lock, NULL);
}

static struct tunnel *tunnel_alloc(uint32_t index, const struct tunnel_conf *conf)
{
	struct tunnel *t = control_zalloc(sizeof(*t));

	if (!t)
		return NULL;
	t->index = index;
	snprintf(t->name, sizeof(t->name), "%.63s", conf->name);
	t->n_buckets = PEER_BUCKETS_MIN;
	while (t->n_buckets < conf->peers.count)
		t->n_buckets *= 2;
	t->by_key = calloc(t->n_buckets, sizeof(struct peer *));
	t->fwmark = conf->fwmark ? (uint32_t)conf->fwmark : FWMARK_DEFAULT;
	t->kernel_routes = conf->kernel_routes;
	t->addresses = conf->addresses;
	allowedips_init(&t->allowed_ips, workers_retire);
	locks_init(t);
	if (!t->by_key || ratelimiter_init(&t->ratelimiter, RATELIMITER_ENTRIES)) {
		free(t->by_key);
		free(t);
		return NULL;
	}
	return t;
}

/* All of its peers are removed and a grace period has passed. */
static void tunnel_free(void *object)
{
	struct tunnel *t = object;

	allowedips_fini(&t->allowed_ips);
	ratelimiter_fini(&t->ratelimiter);
	cookie_checker_fini(&t->checker);
	noise_local_fini(&t->local);
	pthread_mutex_destroy(&t->cookie_lock);
	pthread_rwlock_destroy(&t->lock);
	free(t->by_key);
	free(t->dp);
	free(t);
}

static void tunnel_close(struct tunnel *t)
{
	apply_round++;
	unwanted_remove(t);
	tunnels[t->index] = NULL;
	if (t->dp && t->dp->ports_underlay)
		fib_flush(ether_fib(), PORT_NONE, t->index);
	if (t->tun)
		control_port_remove(t->tun);
	if (t->udp)
		control_port_remove(t->udp);
	control_publish();
	workers_retire(t, tunnel_free);
}

static int tunnel_open(uint32_t index, const struct tunnel_conf *conf, struct err *err)
{
	struct tunnel *t = tunnel_alloc(index, conf);
	struct private_key key = {0};
	int rc;

	if (!t)
		return err_set(err, -ENOMEM, "out of memory");
	tunnels[index] = t;
	handshake_timestamp_load(t);
	rc = private_key_load(&key, conf, err);
	if (!rc)
		noise_local_init(&t->local, &key);
	secret_zero(&key, sizeof(key));
	if (!rc)
		cookie_checker_init(&t->checker, &t->local.static_public);
	if (!rc)
		rc = udp_open(t, conf, err);
	if (!rc)
		rc = tunnel_interface_open(t, conf, err);
	if (!rc) {
		t->dp = dp_new(t, conf);
		rc = t->dp ? fib_addresses(t, conf, err) : err_set(err, -ENOMEM, "out of memory");
	}
	if (rc) {
		tunnel_close(t);
		return rc;
	}
	control_publish();
	tunnel_peers_apply(t, conf);
	return 0;
}

static void directory_make(void)
{
	char *path = state_path("tunnels");

	if (path && mkdir(path, 0700) && errno != EEXIST)
		log_warn("%s", path);
	free(path);
}

int tunnels_start(const struct dataplane_conf *conf, struct err *err)
{
	const struct tunnel_conf *list = conf->tunnels.items;
	int rc = 0;

	if (conf->tunnels.count > TUNNELS_MAX)
		return err_set(err, -E2BIG, "more than %d tunnels", TUNNELS_MAX);
	directory_make();
	n_tunnels = (uint32_t)conf->tunnels.count;
	for (uint32_t i = 0; !rc && i < n_tunnels; i++)
		rc = tunnel_open(i, &list[i], err);
	if (rc)
		tunnels_stop();
	return rc;
}

void tunnels_stop(void)
{
	/* jobs hold a tunnel by its address: none is left before one goes */
	handshake_drain();
	for (uint32_t i = 0; i < n_tunnels; i++)
		if (tunnels[i])
			tunnel_close(tunnels[i]);
	handshake_drain(); /* and those that forget the peers' handshakes */
	n_tunnels = 0;
	peers_state_forget();
}

void tunnel_apply(struct tunnel *t, const struct tunnel_conf *conf)
{
	struct dp_tunnel *dp, *old = t->dp;
	struct port *gone;

	t->addresses = conf->addresses;
	gone = tunnel_interface_restore(t, conf);
	dp = dp_new(t, conf);
	if (dp) {
		t->dp = dp;
		control_publish();
		workers_retire(old, free);
	} else {
		log_warnx("tunnel %s: out of memory: what the workers know of it stays as it was",
			t->name);
	}
	if (gone)
		control_port_remove(gone);
	tunnel_peers_apply(t, conf);
}

struct tunnel *tunnel_find(const char *name)
{
	if (!name)
		return n_tunnels == 1 ? tunnels[0] : NULL;
	for (uint32_t i = 0; i < n_tunnels; i++)
		if (tunnels[i] && !strcmp(tunnels[i]->name, name))
			return tunnels[i];
	return NULL;
}

void tunnel_set_private_key(struct tunnel *t, const struct private_key *key)
{
	struct noise_local local;

	/* `wg syncconf` gives it every time, and sessions are to live on */
	if (secret_equal(&t->local.static_private, key, sizeof(*key)))
		return;
	noise_local_init(&local, key);
	pthread_rwlock_wrlock(&t->lock);
	t->local = local;
	for (uint32_t b = 0; b < t->n_buckets; b++)
		for (struct peer *p = t->by_key[b]; p; p = p->next_by_key) {
			pthread_mutex_lock(&p->lock);
			noise_peer_set_local(&p->noise, &t->local);
			pthread_mutex_unlock(&p->lock);
		}
	pthread_rwlock_unlock(&t->lock);
	pthread_mutex_lock(&t->cookie_lock);
	cookie_checker_fini(&t->checker);
	cookie_checker_init(&t->checker, &t->local.static_public);
	pthread_mutex_unlock(&t->cookie_lock);
	noise_local_fini(&local);
	for (uint32_t b = 0; b < t->n_buckets; b++)
		for (struct peer *p = t->by_key[b]; p; p = p->next_by_key)
			peer_zero_keys(p);
}

/* Paths name the sockets' port and our number: each is published anew, the peers' side of it kept.
 */
static void paths_republish(struct tunnel *t)
{
	for (uint32_t b = 0; b < t->n_buckets; b++)
		for (struct peer *p = t->by_key[b]; p; p = p->next_by_key)
			if (p->endpoint.addr.family) {
				struct net_endpoint endpoint = p->endpoint;

				peer_path_publish(p, &endpoint, NULL);
			}
}

int tunnel_rebind(struct tunnel *t, uint16_t listen_port, uint32_t fwmark, struct err *err)
{
	struct port *udp, *old = t->udp;
	struct dp_tunnel *dp, *old_dp = t->dp;
	int rc;

	if (!old)
		return err_set(err, -EOPNOTSUPP,
			"the port of a tunnel over Ethernet ports is changed in the configuration");
	dp = malloc(sizeof(*dp));
	udp = port_udp_open(&listen_port, (uint16_t)workers_count(), t->index, fwmark, err);
	if (!udp) {
		rc = -errno;
	} else if (!dp) {
		udp->ops->close(udp);
		rc = err_set(err, -ENOMEM, "out of memory");
	} else {
		rc = control_port_add(udp);
	}
	if (rc) {
		free(dp);
		return err_set(err, rc, "no more than %d ports", PORT_MAX);
	}
	*dp = *old_dp;
	t->udp = udp;
	t->listen_port = listen_port;
	t->fwmark = fwmark;
	dp->udp_port = udp->index;
	dp->listen_port = htons(listen_port);
	t->dp = dp;
	paths_republish(t);
	control_port_remove(old);
	workers_retire(old_dp, free);
	return 0;
}

int tunnel_address_add(struct tunnel *t, const struct net_prefix *address, struct err *err)
{
	struct dp_tunnel *dp, *old = t->dp;
	const struct net_prefix *known;
	int rc = 0;

	for (size_t i = 0; (known = tunnel_address(t, i)); i++)
		if (known->len == address->len && net_addr_equal(&known->addr, &address->addr))
			return 0;
	if (t->n_added == TUNNEL_ADDED_MAX)
		return err_set(err, -ENOSPC, "more than %d addresses were added to tunnel %s",
			TUNNEL_ADDED_MAX, t->name);
	if (t->tun)
		rc = netlink_address_add(t->interface, address, err);
	if (!rc && t->dp->ports_underlay)
		rc = fib_address_add(ether_fib(), address, PORT_NONE, 0, t->index, t->dp->mtu, err);
	dp = rc ? NULL : malloc(sizeof(*dp));
	if (!dp)
		return rc ? rc : err_set(err, -ENOMEM, "out of memory");
	t->added[t->n_added++] = *address;
	*dp = *old;
	dp_sources(dp, t);
	t->dp = dp;
	control_publish();
	workers_retire(old, free);
	return 0;
}

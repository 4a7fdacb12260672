/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * WireGuard's user-space socket protocol, so that `wg` and what is built on it work: one socket per
 * tunnel in /var/run/wireguard, that folder being root's. The sockets are made in init, while the
 * process is root, and stay open as long as the plugin is loaded. What `wg` sets lasts until the
 * next reload or restart, as with the kernel's interfaces. Control loop.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "control.h"
#include "uapi.h"
#include "uapi_parse.h"

#define UAPI_DIR "/var/run/wireguard"
#define CONNECTIONS_MAX 16
#define READ_STEP 65536

struct listener {
	char interface[64];
	char path[108];
	int fd;
	ev_io io;
	struct listener *next;
};

struct connection {
	int fd;
	struct listener *listener;
	ev_io io;
	char *in, *out;
	size_t in_len, in_size, out_len, out_sent;
	struct connection *next;
};

static struct listener *listeners;
static struct connection *connections;
static unsigned n_connections;

/* ---- answers --------------------------------------------------------------------------------- */

static const char *interface_of(const struct tunnel *t)
{
	return *t->interface ? t->interface : t->name;
}

static struct tunnel *tunnel_of(const struct listener *l)
{
	for (uint32_t i = 0; i < n_tunnels; i++)
		if (tunnels[i] && !strcmp(interface_of(tunnels[i]), l->interface))
			return tunnels[i];
	return NULL;
}

static void allowed_ip_print(void *arg, const struct net_prefix *prefix)
{
	char text[NET_PREFIX_STRLEN];

	fprintf(arg, "allowed_ip=%s\n", net_prefix_format(prefix, text));
}

static void peer_print(FILE *out, const struct peer *p)
{
	char hex[65], endpoint[NET_ENDPOINT_STRLEN];
	struct peer_totals traffic;

	uapi_hex(p->spec.public_key.bytes, hex);
	fprintf(out, "public_key=%s\n", hex);
	uapi_hex(p->spec.preshared_key.bytes, hex);
	fprintf(out, "preshared_key=%s\nprotocol_version=1\n", hex);
	secret_zero(hex, sizeof(hex));
	if (p->endpoint.addr.family)
		fprintf(out, "endpoint=%s\n", net_endpoint_format(&p->endpoint, endpoint));
	peer_traffic_sum(p, &traffic);
	fprintf(out,
		"last_handshake_time_sec=%llu\nlast_handshake_time_nsec=0\ntx_bytes=%llu\nrx_bytes="
		"%llu\n"
		"persistent_keepalive_interval=%llu\n",
		(unsigned long long)p->last_handshake_unix, (unsigned long long)traffic.tx_bytes,
		(unsigned long long)traffic.rx_bytes,
		(unsigned long long)(p->spec.persistent_keepalive / NS_PER_SEC));
	allowedips_each(&p->tunnel->allowed_ips, p->index, allowed_ip_print, out);
}

static void tunnel_print(FILE *out, const struct tunnel *t)
{
	char hex[65];

	uapi_hex(t->local.static_private.bytes, hex);
	fprintf(out, "private_key=%s\nlisten_port=%u\nfwmark=%u\n", hex, t->listen_port, t->fwmark);
	secret_zero(hex, sizeof(hex));
	for (uint32_t b = 0; b < t->n_buckets; b++)
		for (const struct peer *p = t->by_key[b]; p; p = p->next_by_key)
			peer_print(out, p);
}

/* ---- changes --------------------------------------------------------------------------------- */

static bool same_prefix(const struct net_prefix *a, const struct net_prefix *b)
{
	struct net_prefix ma = net_prefix_masked(a), mb = net_prefix_masked(b);

	return ma.len == mb.len && net_addr_equal(&ma.addr, &mb.addr);
}

static void spec_ip_remove(struct peer_spec *spec, const struct net_prefix *prefix)
{
	size_t n = 0;

	for (size_t i = 0; i < spec->n_allowed_ips; i++)
		if (!same_prefix(&spec->allowed_ips[i], prefix))
			spec->allowed_ips[n++] = spec->allowed_ips[i];
	spec->n_allowed_ips = n;
}

static int spec_ips(struct peer_spec *spec, const struct uapi_peer *change)
{
	size_t old = change->replace_allowed_ips ? 0 : spec->n_allowed_ips;
	struct net_prefix *ips = calloc(old + change->n_allowed_ips + 1, sizeof(*ips));

	if (!ips)
		return -ENOMEM;
	if (old)
		memcpy(ips, spec->allowed_ips, old * sizeof(*ips));
	free(spec->allowed_ips);
	spec->allowed_ips = ips;
	spec->n_allowed_ips = old;
	for (size_t i = 0; i < change->n_allowed_ips; i++) {
		spec_ip_remove(spec, &change->allowed_ips[i].prefix);
		if (!change->allowed_ips[i].remove)
			spec->allowed_ips[spec->n_allowed_ips++] =
				net_prefix_masked(&change->allowed_ips[i].prefix);
	}
	return 0;
}

static int spec_apply(struct peer_spec *spec, const struct uapi_peer *change)
{
	char text[NET_ENDPOINT_STRLEN];

	if (change->has_preshared_key)
		spec->preshared_key = change->preshared_key;
	if (change->has_endpoint)
		snprintf(spec->endpoint, sizeof(spec->endpoint), "%s",
			net_endpoint_format(&change->endpoint, text));
	if (change->has_keepalive)
		spec->persistent_keepalive = change->keepalive * NS_PER_SEC;
	return spec_ips(spec, change);
}

static int peer_add(struct tunnel *t, const struct uapi_peer *change)
{
	struct peer_spec spec = {.public_key = change->public_key};
	struct err err = {0};
	int rc = spec_apply(&spec, change);

	setting_format_key(spec.public_key.bytes, spec.name);
	if (!rc && !peer_new(t, &spec, PEER_VOLATILE, &err))
		rc = -ENOSPC;
	peer_spec_fini(&spec);
	return rc;
}

static int peer_change(struct tunnel *t, const struct uapi_peer *change)
{
	struct peer *p = peer_find(t, &change->public_key);
	struct peer_spec spec;
	int rc;

	if (change->remove) {
		if (p)
			peer_remove(p);
		return 0;
	}
	if (!p)
		return change->update_only ? 0 : peer_add(t, change);
	if (!peer_spec_copy(&spec, &p->spec))
		return -ENOMEM;
	rc = spec_apply(&spec, change);
	if (!rc)
		peer_update(p, &spec, p->origin, NULL);
	peer_spec_fini(&spec);
	return rc;
}

static void peers_remove_all(struct tunnel *t)
{
	for (uint32_t b = 0; b < t->n_buckets; b++)
		while (t->by_key[b])
			peer_remove(t->by_key[b]);
}

static int request_set(struct tunnel *t, const struct uapi_request *r)
{
	struct err err = {0};
	int rc = 0;

	if (r->has_private_key)
		tunnel_set_private_key(t, &r->private_key);
	if ((r->has_listen_port && r->listen_port != t->listen_port) ||
		(r->has_fwmark && r->fwmark != t->fwmark))
		rc = tunnel_rebind(t, r->has_listen_port ? r->listen_port : t->listen_port,
			r->has_fwmark ? r->fwmark : t->fwmark, &err);
	if (rc) {
		log_warnx("tunnel %s: %s", t->name, err.msg);
		return rc;
	}
	if (r->replace_peers)
		peers_remove_all(t);
	for (size_t i = 0; !rc && i < r->n_peers; i++)
		rc = peer_change(t, &r->peers[i]);
	return rc;
}

static void request_answer(struct connection *c)
{
	struct tunnel *t = tunnel_of(c->listener);
	struct uapi_request request;
	FILE *out = open_memstream(&c->out, &c->out_len);
	int rc = uapi_parse(&request, c->in, c->in_len);

	if (out) {
		if (!rc && !t)
			rc = -ENODEV;
		if (!rc && request.get)
			tunnel_print(out, t);
		else if (!rc)
			rc = request_set(t, &request);
		/* `wg` takes a number without sign from get, and one of the kernel's from set */
		fprintf(out, "errno=%d\n\n", request.get ? -rc : rc);
		fclose(out);
	}
	uapi_request_fini(&request);
}

/* ---- sockets --------------------------------------------------------------------------------- */

static void connection_close(struct connection *c)
{
	struct connection **at = &connections;

	while (*at != c)
		at = &(*at)->next;
	*at = c->next;
	n_connections--;
	ev_io_stop(core_loop(), &c->io);
	close(c->fd);
	/* both may hold keys */
	if (c->in)
		secret_zero(c->in, c->in_size);
	if (c->out)
		secret_zero(c->out, c->out_len);
	free(c->in);
	free(c->out);
	free(c);
}

LOOP_CALLBACK(connection_write, ev_io)
{
	struct connection *c = watcher->data;
	ssize_t n = send(c->fd, c->out + c->out_sent, c->out_len - c->out_sent, MSG_NOSIGNAL);

	(void)loop, (void)revents;
	if (n > 0)
		c->out_sent += (size_t)n;
	if ((n < 0 && errno != EAGAIN) || c->out_sent == c->out_len)
		connection_close(c);
}

static bool request_whole(const struct connection *c)
{
	return c->in_len >= 2 && !memcmp(c->in + c->in_len - 2, "\n\n", 2);
}

static bool room_make(struct connection *c)
{
	size_t size = c->in_size * 2 + READ_STEP;
	char *grown;

	if (c->in_size - c->in_len >= READ_STEP)
		return true;
	grown = size > UAPI_REQUEST_MAX ? NULL : malloc(size);
	if (!grown)
		return false;
	if (c->in) {
		memcpy(grown, c->in, c->in_len);
		secret_zero(c->in, c->in_size);
	}
	free(c->in);
	c->in = grown;
	c->in_size = size;
	return true;
}

LOOP_CALLBACK(connection_read, ev_io)
{
	struct connection *c = watcher->data;
	ssize_t n;

	(void)revents;
	if (!room_make(c)) {
		connection_close(c);
		return;
	}
	n = recv(c->fd, c->in + c->in_len, c->in_size - c->in_len, 0);
	if (n < 0 && errno == EAGAIN)
		return;
	if (n <= 0) {
		connection_close(c);
		return;
	}
	c->in_len += (size_t)n;
	if (!request_whole(c))
		return;
	request_answer(c);
	ev_io_stop(loop, &c->io);
	if (!c->out) {
		connection_close(c);
		return;
	}
	ev_io_init(&c->io, connection_write, c->fd, EV_WRITE);
	ev_io_start(loop, &c->io);
}

LOOP_CALLBACK(listener_accept, ev_io)
{
	int fd = accept4(watcher->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
	struct connection *c;

	(void)revents;
	if (fd < 0)
		return;
	c = n_connections < CONNECTIONS_MAX ? calloc(1, sizeof(*c)) : NULL;
	if (!c) {
		close(fd);
		return;
	}
	c->fd = fd;
	c->listener = watcher->data;
	c->io.data = c;
	c->next = connections;
	connections = c;
	n_connections++;
	ev_io_init(&c->io, connection_read, fd, EV_READ);
	c->io.data = c;
	ev_io_start(loop, &c->io);
}

/* A socket that nobody listens on any more is a dead process's. */
static bool alive(const struct sockaddr_un *address)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	bool answers = fd >= 0 && !connect(fd, (const struct sockaddr *)address, sizeof(*address));

	if (fd >= 0)
		close(fd);
	return answers;
}

static int listener_bind(const char *path, struct err *err)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	mode_t mask;
	int fd, rc;

	snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
	if (alive(&address))
		return err_set(err, -EADDRINUSE, "%s: another program serves it", path);
	unlink(path);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return err_set(err, -errno, "socket: %s", strerror(errno));
	mask = umask(0077);
	rc = bind(fd, (struct sockaddr *)&address, sizeof(address)) || listen(fd, 16) ? -errno : 0;
	umask(mask);
	if (!rc)
		return fd;
	close(fd);
	return err_set(err, rc, "%s: %s", path, strerror(-rc));
}

static struct listener *listener_find(const char *interface)
{
	struct listener *l = listeners;

	while (l && strcmp(l->interface, interface))
		l = l->next;
	return l;
}

static void listener_open(const char *interface)
{
	struct listener *l;
	struct err err = {0};

	if (listener_find(interface))
		return;
	l = calloc(1, sizeof(*l));
	if (!l)
		return;
	snprintf(l->interface, sizeof(l->interface), "%s", interface);
	snprintf(l->path, sizeof(l->path), UAPI_DIR "/%s.sock", interface);
	l->fd = listener_bind(l->path, &err);
	if (l->fd < 0) {
		log_warnx("`wg` will not see the tunnel: %s", err.msg);
		free(l);
		return;
	}
	ev_io_init(&l->io, listener_accept, l->fd, EV_READ);
	l->io.data = l;
	l->next = listeners;
	listeners = l;
}

void uapi_init(const struct dataplane_conf *conf)
{
	const struct tunnel_conf *list = conf->tunnels.items;

	if (conf->tunnels.count && mkdir(UAPI_DIR, 0755) && errno != EEXIST)
		log_warn("%s", UAPI_DIR);
	for (size_t i = 0; i < conf->tunnels.count; i++)
		listener_open(list[i].interface ? list[i].interface : list[i].name);
}

void uapi_fini(void)
{
	while (listeners) {
		struct listener *l = listeners;

		listeners = l->next;
		close(l->fd);
		unlink(l->path); /* may fail as another user: a dead socket is replaced at start */
		free(l);
	}
}

void uapi_start(void)
{
	for (uint32_t i = 0; i < n_tunnels; i++)
		listener_open(interface_of(tunnels[i]));
	for (struct listener *l = listeners; l; l = l->next)
		ev_io_start(core_loop(), &l->io);
}

void uapi_stop(void)
{
	while (connections)
		connection_close(connections);
	for (struct listener *l = listeners; l; l = l->next)
		ev_io_stop(core_loop(), &l->io);
}

/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Listening sockets. Runs on: the control loop (which there are), the first I/O loop (accept). The
 * first I/O loop accepts for all and hands connections on in turn: the backlog is one, and so is
 * the place that notices that descriptors have run out.
 */
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <tailplane/log.h>
#include <tailplane/loop.h>

#include "front_life.h"
#include "front_private.h"
#include "front_tls.h"
#include "inherit.h"

#define BACKLOG 4096
#define ACCEPTS_A_TURN 64
#define METRICS_CONNS_MAX 16
#define SHED_AT_ONCE 16
#define PAUSE 0.1
#define COMPLAIN_EVERY 60000000000ull

static struct listener *running, *next;
static bool prepared;
static int spare = -1; /* given up to accept, and close, one more: the first I/O loop's */
static bool accepting; /* the first I/O loop's */
static unsigned turn;

/* ---- accept: first I/O loop ---- */

static void dispatch(struct front_conn *conn)
{
	unsigned n = io_loop_count();

	conn->arrival.run = front_conn_arrive;
	if (n == 1)
		front_conn_arrive(&conn->arrival);
	else
		io_post(io_loop_at(turn++ % n), &conn->arrival);
}

static void take(const struct listener *listener, int fd, const struct sockaddr *from)
{
	struct front_conn *conn = calloc(1, sizeof(*conn));

	front_count(&front_counts.accepted);
	if (!conn) {
		front_count(&front_counts.refused);
		close(fd);
		return;
	}
	conn->stream.fd = fd;
	net_endpoint_from_sockaddr(&conn->stream.from, from);
	net_addr_unmap(&conn->stream.from.addr);
	conn->site = listener->site;
	conn->tls = listener->tls;
	conn->beside_tls = listener->beside_tls;
	if (listener->own)
		conn->context = tls_context_get(front_own_context(listener->own));
	if (listener->site == SITE_METRICS)
		atomic_fetch_add_explicit(&front_metrics_conns, 1, memory_order_relaxed);
	dispatch(conn);
}

static void resume(struct ev_loop *ev, ev_timer *timer, int revents)
{
	struct listener *listener = timer->data;

	(void)revents;
	ev_timer_stop(ev, timer);
	ev_io_start(ev, &listener->acceptable);
}

static void complain(void)
{
	static uint64_t last;
	uint64_t now = core_now();

	if (last && now - last < COMPLAIN_EVERY)
		return;
	last = now;
	log_warnx(
		"no descriptors are left: connections are refused; raise the limit of open files");
}

/* Who waits in the backlog would keep the socket readable, and us busy: idle connections go first,
 * then he himself. */
static void out_of_descriptors(struct ev_loop *ev, struct listener *listener)
{
	int fd;

	front_count(&front_counts.no_descriptors);
	complain();
	if (front_conns_shed(front_loop_of(io_loop_here()), SHED_AT_ONCE))
		return;
	if (spare >= 0) {
		close(spare);
		fd = accept4(listener->fd, NULL, NULL, SOCK_CLOEXEC);
		if (fd >= 0)
			close(fd);
		spare = open("/dev/null", O_RDONLY | O_CLOEXEC);
	}
	ev_io_stop(ev, &listener->acceptable);
	ev_timer_again(ev, &listener->pause);
}

static void on_acceptable(struct ev_loop *ev, ev_io *io, int revents)
{
	struct listener *listener = io->data;

	(void)revents;
	for (unsigned i = 0; i < ACCEPTS_A_TURN; i++) {
		struct sockaddr_storage ss;
		socklen_t len = sizeof(ss);
		int fd =
			accept4(io->fd, (struct sockaddr *)&ss, &len, SOCK_NONBLOCK | SOCK_CLOEXEC);

		if (fd < 0 &&
			(errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM))
			out_of_descriptors(ev, listener);
		if (fd < 0)
			return;
		if (listener->site == SITE_METRICS &&
			atomic_load_explicit(&front_metrics_conns, memory_order_relaxed) >=
				METRICS_CONNS_MAX) {
			front_count(&front_counts.refused);
			close(fd);
			continue;
		}
		take(listener, fd, (struct sockaddr *)&ss);
	}
}

/* ---- sockets: control loop ---- */

static int parse(struct net_endpoint *ep, const char *address)
{
	char any[NET_ENDPOINT_STRLEN];

	if (*address != ':')
		return net_endpoint_parse(ep, address);
	snprintf(any, sizeof(any), "[::]%s", address);
	return net_endpoint_parse(ep, any);
}

static bool is_wanted(const struct listener *listener)
{
	for (const struct listener *l = next; l; l = l->next)
		if (l->site == listener->site && strcmp(l->address, listener->address) == 0)
			return true;
	return false;
}

/* Sockets of one user may have a port together when both say so: where 127.0.0.1 becomes 0.0.0.0,
 * the old one listens until the new one does. False: no listener on the port is about to go. */
static bool leaving_share(uint16_t port, int on)
{
	bool any = false;

	for (const struct listener *l = running; l; l = l->next) {
		struct net_endpoint ep;

		if (l->fd < 0 || is_wanted(l) || parse(&ep, l->address) != 0 || ep.port != port)
			continue;
		setsockopt(l->fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof(on));
		any = true;
	}
	return any;
}

static int bind_listen(int fd, const struct net_endpoint *ep)
{
	struct sockaddr_storage ss;
	socklen_t len = net_endpoint_to_sockaddr(ep, &ss);

	return bind(fd, (struct sockaddr *)&ss, len) == 0 && listen(fd, BACKLOG) == 0 ? 0 : -errno;
}

static int bind_beside(int fd, const struct net_endpoint *ep)
{
	int on = 1, off = 0, rc;

	if (!leaving_share(ep->port, 1))
		return -EADDRINUSE;
	setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof(on));
	rc = bind_listen(fd, ep);
	setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &off, sizeof(off));
	leaving_share(ep->port, 0);
	return rc;
}

static int try_open(const struct net_endpoint *ep)
{
	int family = ep->addr.family;
	int fd = socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	int on = 1, off = 0, rc;

	if (fd < 0)
		return -errno;
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (family == AF_INET6)
		setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof(off));
	rc = bind_listen(fd, ep);
	if (rc == -EADDRINUSE)
		rc = bind_beside(fd, ep);
	if (rc == 0)
		return fd;
	close(fd);
	return rc;
}

/* ":80" on a machine without IPv6 is that of IPv4. */
static int find_socket(const char *address)
{
	struct net_endpoint ep;
	int fd;

	if (parse(&ep, address) != 0)
		return -EINVAL;
	fd = inherit_take(&ep);
	if (fd >= 0)
		return fd;
	fd = try_open(&ep);
	if (fd != -EAFNOSUPPORT || *address != ':')
		return fd;
	memset(&ep.addr, 0, sizeof(ep.addr));
	ep.addr.family = AF_INET;
	return try_open(&ep);
}

/* Connections inherit what is said here once. */
static int open_socket(const char *address)
{
	int fd = find_socket(address), on = 1;

	if (fd >= 0) {
		setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
		setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on));
	}
	return fd;
}

static int explain(const struct listener *listener, int error, bool starting, struct err *err)
{
	if (listener->site == SITE_METRICS)
		return err_set(err, error,
			"cannot listen on %s for metrics: %s; choose another address with "
			"core.metrics.listen, or \"\" for none",
			listener->address, strerror(-error));
	return err_set(err, error, "cannot listen on %s: %s; %s", listener->address,
		strerror(-error),
		error == -EACCES && !starting
			? "ports below 1024 are taken at start: restart the daemon"
			: "choose another address with core.http.listen_addr");
}

static struct listener *listener_new(const char *address, enum site site)
{
	struct listener *listener = calloc(1, sizeof(*listener));

	if (!listener || !(listener->address = strdup(address)))
		abort();
	listener->fd = -1;
	listener->site = site;
	return listener;
}

void front_listener_free(struct listener *listener)
{
	if (listener->fd >= 0) {
		handover_remove(listener->fd);
		close(listener->fd);
	}
	free(listener->address);
	free(listener);
}

static void want(struct listener *listener)
{
	struct listener **at = &next;

	while (*at)
		at = &(*at)->next;
	*at = listener;
}

static void want_beside(const char *address, bool optional)
{
	struct listener *listener = listener_new(address, SITE_PUBLIC);

	listener->beside_tls = true;
	listener->optional = optional;
	want(listener);
}

/* Clients try port 80 first, and doubt the name when nobody is there. */
static void want_port_80(const struct core_conf *conf)
{
	char *const *addresses = conf->http.listen_addr.items;
	const char *port = strrchr(addresses[0], ':');
	char *address;

	if (strcmp(port, ":80") == 0)
		return;
	if (asprintf(&address, "%.*s:80", (int)(port - addresses[0]), addresses[0]) < 0)
		abort();
	want_beside(address, true);
	free(address);
}

static void want_all(const struct core_conf *conf)
{
	char *const *addresses = conf->http.listen_addr.items;
	char *const *plain = conf->http.plain_listen_addr.items;
	bool tls = conf->http.tls_cert_path;

	if (*conf->metrics.listen)
		want(listener_new(conf->metrics.listen, SITE_METRICS));
	for (size_t i = 0; i < conf->http.listen_addr.count; i++) {
		struct listener *listener = listener_new(addresses[i], SITE_PUBLIC);

		listener->tls = tls;
		want(listener);
	}
	for (size_t i = 0; i < conf->http.plain_listen_addr.count; i++)
		want_beside(plain[i], false);
	if (tls && conf->http.listen_addr.count && !conf->http.plain_listen_addr.count)
		want_port_80(conf);
}

static struct listener *open_already(const struct listener *wanted)
{
	for (struct listener *l = running; l; l = l->next) {
		if (l->site == wanted->site && strcmp(l->address, wanted->address) == 0)
			return l;
	}
	return NULL;
}

int front_listeners_prepare(const struct core_conf *conf, bool starting, struct err *err)
{
	struct listener **at = &next;

	front_listeners_abandon();
	want_all(conf);
	while (*at) {
		struct listener *one = *at;

		at = &one->next;
		if (open_already(one))
			continue;
		one->fd = open_socket(one->address);
		if (one->fd >= 0)
			continue;
		if (!one->optional)
			return explain(one, one->fd, starting, err);
		if (starting)
			log_warnx("nobody listens on %s: %s; clients that find it closed take "
				  "longer to come up",
				one->address, strerror(-one->fd));
		at = &next;
		while (*at != one)
			at = &(*at)->next;
		*at = one->next;
		front_listener_free(one);
	}
	prepared = true;
	return 0;
}

void front_listeners_abandon(void)
{
	while (next) {
		struct listener *one = next;

		next = one->next;
		front_listener_free(one);
	}
	prepared = false;
}

void front_listener_end(struct listener *listener)
{
	struct ev_loop *ev = io_loop_ev(io_loop_here());

	ev_io_stop(ev, &listener->acceptable);
	ev_timer_stop(ev, &listener->pause);
}

void front_listener_begin(struct listener *listener)
{
	ev_io_init(&listener->acceptable, on_acceptable, listener->fd, EV_READ);
	ev_init(&listener->pause, resume);
	listener->pause.repeat = PAUSE;
	listener->acceptable.data = listener->pause.data = listener;
	if (accepting)
		ev_io_start(io_loop_ev(io_loop_here()), &listener->acceptable);
	if (spare < 0)
		spare = open("/dev/null", O_RDONLY | O_CLOEXEC);
}

static void accept_here(void *arg)
{
	(void)arg;
	if (io_loop_index(io_loop_here()) != 0)
		return;
	accepting = true;
	for (struct listener *l = running; l; l = l->next)
		ev_io_start(io_loop_ev(io_loop_here()), &l->acceptable);
	front_own_accept();
}

void front_open(void)
{
	io_on_each(accept_here, NULL);
}

/* Those that stay give their socket on. */
static void exchange(void *arg)
{
	(void)arg;
	if (io_loop_index(io_loop_here()) != 0)
		return;
	for (struct listener *old = running; old; old = old->next)
		front_listener_end(old);
	for (struct listener *l = next; l; l = l->next) {
		struct listener *old = l->fd < 0 ? open_already(l) : NULL;

		if (old) {
			l->fd = old->fd;
			old->fd = -1;
		}
		front_listener_begin(l);
	}
}

static void tell(const struct listener *listener)
{
	if (listener->site == SITE_METRICS)
		log_info("metrics at http://%s/metrics", listener->address);
	else
		log_info("listening on %s%s", listener->address,
			listener->tls          ? " (https)"
			: listener->beside_tls ? " (http, beside https)"
					       : " (http)");
}

void front_listeners_commit(void)
{
	struct listener *old = running;

	if (!prepared)
		return;
	for (const struct listener *l = next; l; l = l->next) {
		if (l->fd >= 0) {
			tell(l);
			inherit_keep(l->fd);
		}
	}
	io_on_each(exchange, NULL);
	running = next;
	next = NULL;
	prepared = false;
	while (old) {
		struct listener *one = old;

		old = one->next;
		if (one->fd >= 0 && running)
			inherit_drop(one->fd);
		front_listener_free(one);
	}
}

/* The manager keeps its copies: for the process that comes next. */
void front_listeners_close(void)
{
	front_listeners_abandon();
	prepared = true;
	front_listeners_commit();
	if (spare >= 0)
		close(spare);
	spare = -1;
	accepting = false;
}

const struct listener *front_listeners_first(void)
{
	for (const struct listener *l = running; l; l = l->next) {
		if (l->site == SITE_PUBLIC && !l->beside_tls)
			return l;
	}
	return NULL;
}

struct listener *front_listener_open(
	const char *address, const struct front_own *own, struct err *err)
{
	struct listener *listener = listener_new(address, SITE_PUBLIC);
	int fd = open_socket(address);

	listener->tls = true;
	listener->own = own;
	listener->fd = fd;
	if (fd >= 0) {
		tell(listener);
		inherit_keep(fd);
		return listener;
	}
	front_listener_free(listener);
	err_set(err, fd, "cannot listen on %s: %s; choose another address", address,
		fd == -EACCES ? "ports below 1024 are for core.http, which takes them at start"
			      : strerror(-fd));
	return NULL;
}

struct net_endpoint front_listener_where(const struct listener *listener)
{
	struct sockaddr_storage ss;
	struct net_endpoint ep;
	socklen_t len = sizeof(ss);

	if (getsockname(listener->fd, (struct sockaddr *)&ss, &len) != 0 ||
		net_endpoint_from_sockaddr(&ep, (struct sockaddr *)&ss) != 0)
		return (struct net_endpoint){0};
	return ep;
}

bool front_serves_port_80(void)
{
	for (const struct listener *l = running; l; l = l->next) {
		struct net_endpoint at = front_listener_where(l);

		if (l->site == SITE_PUBLIC && !l->tls && at.port == 80 &&
			!addr_is_loopback(&at.addr))
			return true;
	}
	return false;
}

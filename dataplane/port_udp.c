/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The UDP port's life: per worker one socket of each family, all bound to one port number; the
 * kernel spreads the outer flows over them. Runs on the control loop.
 *
 * IP_MTU_DISCOVER is DONT, for what WireGuard's users expect of its kernel implementation: outer
 * packets carry no DF, so one that is too large for the path arrives in fragments instead of
 * being lost, and an ICMP error that nobody could authenticate has no say beyond the size of those
 * fragments. IP_RECVERR stays off: an unconnected socket then never fails for what came back.
 */
#include "port_udp.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "dataplane.h"

#define SOCKET_BUFFER (4 << 20)
#define PORT_TRIES 16 /* when the kernel's choice for IPv4 is taken in IPv6 */

const struct drop_reason udp_drops[] = {
	[UDP_DROP_RX_TOO_BIG] = {"udp_rx_too_big", "a datagram longer than a packet buffer"},
	[UDP_DROP_QUEUE_FULL] = {"udp_queue_full",
		"the socket's send buffer is full: the network takes less than comes"},
	[UDP_DROP_TX_UNREACHABLE] = {"udp_tx_unreachable",
		"the kernel has no route to the peer's endpoint"},
	[UDP_DROP_TX_REFUSED] = {"udp_tx_refused",
		"a firewall rule of this machine forbids sending"},
	[UDP_DROP_TX_TOO_BIG] = {"udp_tx_too_big", "longer than the path takes, even in fragments"},
	[UDP_DROP_TX_NO_FAMILY] = {"udp_tx_no_family",
		"the endpoint's family (IPv4, IPv6) is not there on this machine"},
	[UDP_DROP_TX_CHAINED] = {"udp_tx_chained", "a packet in pieces that fit no single buffer"},
	[UDP_DROP_TX_ERROR] = {"udp_tx_error", "the kernel refused to send for another reason"},
	[UDP_DROPS] = {NULL, NULL},
};

/* ---- ports that are open, so that one may be opened anew while it is still in use ------------ */

static struct udp *opened[PORT_MAX];

static bool opened_by(uint16_t listen_port, uint32_t tunnel)
{
	for (unsigned i = 0; i < PORT_MAX; i++)
		if (opened[i] && opened[i]->listen_port == listen_port &&
			opened[i]->port.tunnel == tunnel)
			return true;
	return false;
}

static void opened_replace(const struct udp *old, struct udp *new)
{
	for (unsigned i = 0; i < PORT_MAX; i++)
		if (opened[i] == old) {
			opened[i] = new;
			return;
		}
}

/* ---- sockets -------------------------------------------------------------------------------- */

struct udp_option {
	int level, name, value;
	const char *what; /* NULL: do without */
};

static const struct udp_option options4[] = {
	{IPPROTO_IP, IP_MTU_DISCOVER, IP_PMTUDISC_DONT, "IP_MTU_DISCOVER"},
	{IPPROTO_IP, IP_PKTINFO, 1, "IP_PKTINFO"},
	{IPPROTO_IP, IP_RECVTOS, 1, "IP_RECVTOS"},
};

static const struct udp_option options6[] = {
	{IPPROTO_IPV6, IPV6_V6ONLY, 1, "IPV6_V6ONLY"},
	{IPPROTO_IPV6, IPV6_MTU_DISCOVER, IPV6_PMTUDISC_DONT, "IPV6_MTU_DISCOVER"},
	{IPPROTO_IPV6, IPV6_RECVPKTINFO, 1, "IPV6_RECVPKTINFO"},
	{IPPROTO_IPV6, IPV6_RECVTCLASS, 1, "IPV6_RECVTCLASS"},
};

static const struct udp_option options[] = {
	{IPPROTO_UDP, UDP_GRO, 1, NULL},
	/* the limit of rmem_max is for others than root; the plain form takes what it gets */
	{SOL_SOCKET, SO_RCVBUF, SOCKET_BUFFER, NULL},
	{SOL_SOCKET, SO_SNDBUF, SOCKET_BUFFER, NULL},
	{SOL_SOCKET, SO_RCVBUFFORCE, SOCKET_BUFFER, NULL},
	{SOL_SOCKET, SO_SNDBUFFORCE, SOCKET_BUFFER, NULL},
};

static int options_set(int fd, const struct udp_option *o, size_t n, struct err *err)
{
	for (; n; n--, o++)
		if (setsockopt(fd, o->level, o->name, &o->value, sizeof(o->value)) < 0 && o->what)
			return err_set(err, -errno, "UDP socket: %s: %s", o->what, strerror(errno));
	return 0;
}

static int socket_set_up(int fd, uint8_t family, uint32_t fwmark, struct err *err)
{
	int rc = family == AF_INET ? options_set(fd, options4, RTE_DIM(options4), err)
				   : options_set(fd, options6, RTE_DIM(options6), err);

	if (!rc)
		rc = options_set(fd, options, RTE_DIM(options), err);
	if (!rc && fwmark && setsockopt(fd, SOL_SOCKET, SO_MARK, &fwmark, sizeof(fwmark)) < 0)
		rc = err_set(err, -errno, "UDP socket: mark 0x%x: %s", fwmark,
			errno == EPERM ? "needs CAP_NET_ADMIN" : strerror(errno));
	return rc;
}

/* Sharing is for our own sockets: the first one must find the port free, and lets the others in
 * afterwards. */
static int socket_bind(int fd, uint8_t family, uint16_t *port, bool share)
{
	static const int one = 1;
	union udp_address address = {.sa.sa_family = family};
	socklen_t len = family == AF_INET ? sizeof(address.in) : sizeof(address.in6);

	if (family == AF_INET)
		address.in.sin_port = *port;
	else
		address.in6.sin6_port = *port;
	if (share && setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &one, sizeof(one)) < 0)
		return -errno;
	if (bind(fd, &address.sa, len) < 0)
		return -errno;
	if (!share && setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &one, sizeof(one)) < 0)
		return -errno;
	if (getsockname(fd, &address.sa, &len) < 0)
		return -errno;
	*port = family == AF_INET ? address.in.sin_port : address.in6.sin6_port;
	return 0;
}

static int socket_open(uint8_t family, uint16_t *port, bool share, uint32_t fwmark, struct err *err)
{
	int fd = socket(family, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, IPPROTO_UDP), rc;

	if (fd < 0)
		return errno == EAFNOSUPPORT
			       ? -EAFNOSUPPORT
			       : err_set(err, -errno, "UDP socket: %s", strerror(errno));
	rc = socket_set_up(fd, family, fwmark, err);
	if (!rc)
		rc = socket_bind(fd, family, port, share);
	if (rc) {
		close(fd);
		return rc;
	}
	return fd;
}

static int bind_failed(int rc, uint8_t family, uint16_t port, struct err *err)
{
	switch (rc) {
	case -EADDRINUSE:
		return err_set(err, rc,
			"UDP port %u is in use: another program listens on it (ss -ulpn 'sport = "
			":%u')",
			ntohs(port), ntohs(port));
	case -EACCES:
		return err_set(err, rc, "UDP port %u: ports below 1024 need CAP_NET_BIND_SERVICE",
			ntohs(port));
	default:
		return err_set(err, rc, "UDP port %u (%s): %s", ntohs(port),
			family == AF_INET ? "IPv4" : "IPv6", strerror(-rc));
	}
}

/* ---- the port ------------------------------------------------------------------------------- */

static struct udp_queue *queue_of(const struct udp *udp, unsigned i)
{
	return udp->port.queues[i].private;
}

static void sockets_close(struct udp *udp)
{
	for (unsigned i = 0; i < udp->port.n_queues; i++)
		for (unsigned f = 0; f < 2; f++) {
			struct udp_socket *s = &queue_of(udp, i)->sockets[f];

			if (s->fd >= 0)
				close(s->fd);
			s->fd = -1;
		}
}

/* All queues' sockets on one number. A machine without a family goes on with the other. */
static int sockets_open(struct udp *udp, uint16_t port, uint32_t fwmark, struct err *err)
{
	bool ours = opened_by(port, udp->port.tunnel);
	unsigned n = 0;

	for (unsigned f = 0; f < 2; f++)
		for (unsigned i = 0; i < udp->port.n_queues; i++) {
			struct udp_socket *s = &queue_of(udp, i)->sockets[f];
			int fd = socket_open(s->family, &port, i || ours, fwmark, err);

			if (fd == -EAFNOSUPPORT || (fd == -EADDRNOTAVAIL && f))
				break;
			if (fd < 0)
				return udp->listen_port || fd != -EADDRINUSE
					       ? bind_failed(fd, s->family, port, err)
					       : fd;
			s->fd = fd;
			n++;
		}
	if (!n)
		return err_set(err, -EAFNOSUPPORT, "this machine has neither IPv4 nor IPv6");
	udp->listen_port = port;
	return 0;
}

static int sockets_open_any(struct udp *udp, uint32_t fwmark, struct err *err)
{
	int rc = -EADDRINUSE;

	for (unsigned i = 0; i < PORT_TRIES && rc == -EADDRINUSE; i++) {
		sockets_close(udp);
		rc = sockets_open(udp, 0, fwmark, err);
	}
	return rc == -EADDRINUSE ? err_set(err, rc, "no UDP port is free in both IPv4 and IPv6")
				 : rc;
}

static int queue_poll_set(struct port_queue *q)
{
	struct udp_queue *u = q->private;

	q->fd = epoll_create1(EPOLL_CLOEXEC);
	if (q->fd < 0)
		return -errno;
	for (unsigned f = 0; f < 2; f++)
		if (u->sockets[f].fd >= 0 && epoll_ctl(q->fd, EPOLL_CTL_ADD, u->sockets[f].fd,
						     &(struct epoll_event){.events = EPOLLIN}) < 0)
			return -errno;
	return 0;
}

static void socket_fini(struct udp_socket *s)
{
	if (s->fd >= 0)
		close(s->fd);
	scatter_free(&s->in);
	while (s->ready_at < s->ready_end)
		rte_pktmbuf_free(s->ready[s->ready_at++]);
	free(s->rest);
}

static void udp_close(struct port *p)
{
	struct udp *udp = p->private;

	opened_replace(udp, NULL);
	for (unsigned i = 0; i < p->n_queues; i++) {
		struct udp_queue *u = p->queues[i].private;

		if (p->queues[i].fd >= 0)
			close(p->queues[i].fd);
		if (u) {
			socket_fini(&u->sockets[0]);
			socket_fini(&u->sockets[1]);
		}
		free(u);
	}
	free(udp);
}

static void udp_describe(struct port *p, json_t *row)
{
	const struct udp *udp = p->private;
	uint64_t rx_trains = 0, rx_copied = 0, tx_trains = 0, tx_retried = 0;

	for (unsigned i = 0; i < p->n_queues; i++) {
		const struct udp_queue *u = queue_of(udp, i);

		rx_trains += u->rx_trains;
		rx_copied += u->rx_copied;
		tx_trains += u->tx_trains;
		tx_retried += u->tx_retried;
	}
	json_object_set_new(row, "listen_port", json_integer(ntohs(udp->listen_port)));
	json_object_set_new(row, "rx_trains", json_integer((json_int_t)rx_trains));
	json_object_set_new(row, "rx_copied", json_integer((json_int_t)rx_copied));
	json_object_set_new(row, "tx_trains", json_integer((json_int_t)tx_trains));
	json_object_set_new(row, "tx_retried", json_integer((json_int_t)tx_retried));
}

/* What was received and not yet handed out must not sleep. */
static bool udp_arm(struct port_queue *q)
{
	const struct udp_queue *u = q->private;

	for (unsigned f = 0; f < 2; f++) {
		const struct udp_socket *s = &u->sockets[f];

		if (s->left || s->ready_at < s->ready_end || s->at < s->n_messages)
			return false;
	}
	return true;
}

static const struct port_ops udp_ops = {
	.rx = udp_rx,
	.tx = udp_tx,
	.arm = udp_arm,
	.describe = udp_describe,
	.close = udp_close,
};

static void *zalloc_aligned(size_t size)
{
	void *p = aligned_alloc(RTE_CACHE_LINE_SIZE, RTE_ALIGN_CEIL(size, RTE_CACHE_LINE_SIZE));

	return p ? memset(p, 0, size) : NULL;
}

static bool socket_init(struct udp_socket *s, uint8_t family, uint32_t tunnel)
{
	s->fd = -1;
	s->family = family;
	s->packet = (struct packet){
		.kind = PACKET_DATAGRAM,
		.out_port = PORT_NONE,
		.tunnel = tunnel,
		.peer = PEER_NONE,
	};
	/* untouched pages of it cost nothing: most of it is for trains that come unexpected */
	s->rest = malloc((size_t)UDP_MESSAGES * SCATTER_BYTES_MAX);
	return s->rest;
}

static struct udp *udp_alloc(uint16_t n_queues, uint32_t tunnel)
{
	struct udp *udp = zalloc_aligned(sizeof(*udp));
	bool ok = true;

	if (!udp)
		return NULL;
	udp->port.ops = &udp_ops;
	udp->port.type = PORT_UDP;
	udp->port.n_queues = n_queues;
	udp->port.tunnel = tunnel;
	udp->port.numa = -1;
	udp->port.up = true;
	udp->port.private = udp;
	for (unsigned i = 0; i < UDP_DROPS; i++)
		udp->drops[i] = graph_drop_number(udp_drops[i].name);
	for (unsigned i = 0; i < PORT_QUEUES_MAX; i++)
		udp->port.queues[i] = (struct port_queue){.port = &udp->port, .fd = -1};
	for (unsigned i = 0; ok && i < n_queues; i++) {
		struct udp_queue *u = zalloc_aligned(sizeof(*u));

		udp->port.queues[i].private = u;
		ok = u && socket_init(&u->sockets[0], AF_INET, tunnel);
		ok = u && socket_init(&u->sockets[1], AF_INET6, tunnel) && ok;
	}
	if (ok)
		return udp;
	udp_close(&udp->port);
	return NULL;
}

struct port *port_udp_open(
	uint16_t *listen_port, uint16_t n_queues, uint32_t tunnel, uint32_t fwmark, struct err *err)
{
	struct udp *udp = udp_alloc(n_queues, tunnel);
	int rc = 0;

	if (!udp) {
		errno = -err_set(err, -ENOMEM, "out of memory");
		return NULL;
	}
	udp->listen_port = htons(*listen_port);
	rc = *listen_port ? sockets_open(udp, udp->listen_port, fwmark, err)
			  : sockets_open_any(udp, fwmark, err);
	for (unsigned i = 0; !rc && i < n_queues; i++) {
		rc = queue_poll_set(&udp->port.queues[i]);
		if (rc)
			err_set(err, rc, "UDP port: epoll: %s", strerror(-rc));
	}
	if (rc) {
		udp_close(&udp->port);
		errno = -rc;
		return NULL;
	}
	opened_replace(NULL, udp);
	*listen_port = ntohs(udp->listen_port);
	snprintf(udp->port.name, sizeof(udp->port.name), "udp:%u", *listen_port);
	return &udp->port;
}

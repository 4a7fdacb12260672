/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Datagrams from the kernel. In a bulk flow the kernel joins what arrives into trains (UDP_GRO),
 * and a train scatters into the mbufs of its packets; otherwise several datagrams come in one call.
 * Which of the two is expected follows from what came last. Runs on workers.
 */
#include "port_udp.h"

#include <errno.h>

/* Enough for a burst: no further system call to fill it up. */
#define RX_ENOUGH (NODE_BURST_MAX / 2)
#define TRAIN_MIN 4 /* a shorter one is cheap to copy */
#define QUIET_MAX 8 /* messages without a train, then they are not expected any more */
#define OTHER_FAMILY_EVERY                                                     \
	8 /* rounds between looks at the second socket while the first is busy \
	   */

static void control_read(struct packet_path *path, uint16_t *segment, struct msghdr *h)
{
	struct in6_pktinfo info6;
	struct in_pktinfo info;
	int value;

	for (struct cmsghdr *c = CMSG_FIRSTHDR(h); c; c = CMSG_NXTHDR(h, c)) {
		const void *data = CMSG_DATA(c);

		if (c->cmsg_level == IPPROTO_UDP && c->cmsg_type == UDP_GRO) {
			memcpy(&value, data, sizeof(value));
			*segment = value;
		} else if (c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_TOS) {
			path->tos = *(const uint8_t *)data;
		} else if (c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_PKTINFO) {
			memcpy(&info, data, sizeof(info));
			memcpy(path->local, &info.ipi_spec_dst, 4);
			path->ifindex = info.ipi_ifindex;
		} else if (c->cmsg_level == IPPROTO_IPV6 && c->cmsg_type == IPV6_TCLASS) {
			memcpy(&value, data, sizeof(value));
			path->tos = value;
		} else if (c->cmsg_level == IPPROTO_IPV6 && c->cmsg_type == IPV6_PKTINFO) {
			memcpy(&info6, data, sizeof(info6));
			memcpy(path->local, &info6.ipi6_addr, 16);
			path->ifindex = info6.ipi6_ifindex;
		}
	}
}

static void path_read(struct port_queue *q, struct udp_socket *s, unsigned i, uint16_t *segment)
{
	struct packet_path *path = &s->packet.path;
	const union udp_address *from = &s->names[i];

	*path = (struct packet_path){
		.family = s->family,
		.port = q->port->index,
		.local_port = udp_of(q)->listen_port,
	};
	if (s->family == AF_INET) {
		path->remote_port = from->in.sin_port;
		memcpy(path->remote, &from->in.sin_addr, 4);
	} else {
		path->remote_port = from->in6.sin6_port;
		memcpy(path->remote, &from->in6.sin6_addr, 16);
	}
	control_read(path, segment, &s->messages[i].msg_hdr);
}

/* What to expect of the next call. */
static void expect(struct udp_socket *s, size_t count, uint16_t segment)
{
	if (count > 1)
		s->guess = segment;
	if (count >= TRAIN_MIN) {
		s->trains = true;
		s->quiet = 0;
	} else if (s->trains && ++s->quiet == QUIET_MAX) {
		s->trains = false;
		s->quiet = 0;
	}
}

/* A single datagram: in its mbuf, or the part of it that a short guess left room for. */
static void single_landed(struct udp_socket *s, struct iovec *iov, unsigned slot, size_t total)
{
	if (total > iov[0].iov_len) {
		s->cursor = (struct scatter_cursor){.iov = iov + 1};
		scatter_read(&s->cursor, (uint8_t *)iov[0].iov_base + iov[0].iov_len,
			total - iov[0].iov_len);
	}
	s->ready[0] = scatter_take_one(&s->in, slot, total);
	s->ready_end = 1;
}

/* Message i of the last call becomes what is handed out. */
static void message_open(struct worker *w, struct port_queue *q, struct udp_socket *s, unsigned i)
{
	struct udp_queue *u = q->private;
	struct iovec *iov = s->scattered ? &s->in.iov[1] : s->single[i];
	unsigned slot = s->scattered ? 0 : i;
	size_t total = s->messages[i].msg_len, count = 1;
	uint16_t room = scatter_room(&s->in, s->in.slot[slot]), segment = 0;

	s->ready_at = s->ready_end = 0;
	path_read(q, s, i, &segment);
	if (segment && segment < total)
		count = (total + segment - 1) / segment;
	if (s->messages[i].msg_hdr.msg_flags & MSG_TRUNC || (count == 1 ? total : segment) > room) {
		udp_drop(w, q, UDP_DROP_RX_TOO_BIG, count);
		return;
	}
	expect(s, count, segment);
	if (count == 1) {
		single_landed(s, iov, slot, total);
		return;
	}
	u->rx_trains++;
	if (s->scattered && s->in.len == segment && count <= s->in.n) {
		scatter_take(&s->in, s->ready, count, total - (count - 1) * segment);
		s->ready_end = count;
		return;
	}
	u->rx_copied++;
	s->cursor = (struct scatter_cursor){.iov = iov};
	s->left = total;
	s->segment = segment;
}

static void header_prepare(struct udp_socket *s, unsigned i, struct iovec *iov, size_t iov_len)
{
	s->messages[i].msg_hdr = (struct msghdr){
		.msg_name = &s->names[i],
		.msg_namelen = sizeof(s->names[i]),
		.msg_iov = iov,
		.msg_iovlen = iov_len,
		.msg_control = &s->control[i],
		.msg_controllen = sizeof(s->control[i]),
	};
}

/* Offers the mbufs in the shape expected; answers for how many messages. */
static unsigned messages_prepare(struct worker *w, struct udp_socket *s)
{
	unsigned n;

	s->scattered = s->trains;
	if (s->scattered) {
		scatter_shape(&s->in, 0, s->guess);
		n = scatter_fill(&s->in, w->pool, SCATTER_BYTES_MAX / s->guess + 1);
		s->in.iov[1 + n] =
			(struct iovec){.iov_base = s->rest, .iov_len = SCATTER_BYTES_MAX};
		header_prepare(s, 0, &s->in.iov[1], n + 1);
		return n ? 1 : 0;
	}
	scatter_shape(&s->in, 0, 0);
	n = scatter_fill(&s->in, w->pool, UDP_MESSAGES);
	for (unsigned i = 0; i < n; i++) {
		s->single[i][0] = s->in.iov[1 + i];
		s->single[i][1] =
			(struct iovec){.iov_base = s->rest + i * (size_t)SCATTER_BYTES_MAX,
				.iov_len = SCATTER_BYTES_MAX};
		header_prepare(s, i, s->single[i], 2);
	}
	return n;
}

/* One system call; false: nothing there, or nowhere to put it. */
static bool socket_read(struct worker *w, struct port_queue *q, struct udp_socket *s)
{
	unsigned n = messages_prepare(w, s);
	int got;

	s->at = s->n_messages = 0;
	if (!n)
		return false;
	got = recvmmsg(s->fd, s->messages, n, MSG_DONTWAIT, NULL);
	/* An error of the socket is told once and forgotten by the kernel: what waits comes next.
	 */
	if (got < 0 && errno != EAGAIN)
		got = recvmmsg(s->fd, s->messages, n, MSG_DONTWAIT, NULL);
	if (got <= 0)
		return false;
	q->counters.rx_calls++;
	s->n_messages = got;
	s->drained = !s->scattered && (unsigned)got < n;
	return true;
}

static uint16_t copy_out(
	struct worker *w, struct udp_socket *s, struct rte_mbuf **pkts, uint16_t max)
{
	size_t n = (s->left + s->segment - 1) / s->segment;

	if (n > max)
		n = max;
	n = scatter_alloc(w->pool, pkts, n);
	for (size_t i = 0; i < n; i++) {
		uint16_t len = s->left < s->segment ? s->left : s->segment;

		scatter_read(&s->cursor, rte_pktmbuf_append(pkts[i], len), len);
		s->left -= len;
	}
	return n;
}

static uint16_t hand_out(struct worker *w, struct port_queue *q, struct udp_socket *s,
	struct rte_mbuf **pkts, uint16_t max)
{
	uint16_t n = 0;

	if (s->left)
		n = copy_out(w, s, pkts, max);
	else
		while (n < max && s->ready_at < s->ready_end)
			pkts[n++] = s->ready[s->ready_at++];
	for (uint16_t i = 0; i < n; i++) {
		*packet_of(pkts[i]) = s->packet;
		q->counters.rx_bytes += pkts[i]->pkt_len;
	}
	return n;
}

static uint16_t socket_rx(struct worker *w, struct port_queue *q, struct udp_socket *s,
	struct rte_mbuf **pkts, uint16_t max)
{
	unsigned reads = 0;
	uint16_t n = 0;

	for (;;) {
		n += hand_out(w, q, s, pkts + n, max - n);
		if (n == max || s->left)
			break;
		if (s->at < s->n_messages)
			message_open(w, q, s, s->at++);
		else if (n >= RX_ENOUGH || (reads && s->drained) || ++reads > max ||
			 !socket_read(w, q, s))
			break;
	}
	return n;
}

/* The family that had something last; the other one too every few rounds, and when nothing came the
 * time before. A worker that falls asleep in between is woken at once by what waits there. */
uint16_t udp_rx(struct worker *w, struct port_queue *q, struct rte_mbuf **pkts, uint16_t max)
{
	struct udp_queue *u = q->private;
	bool turn = ++u->rounds % OTHER_FAMILY_EVERY == 0;
	unsigned first = u->busy ^ turn, looks = u->empty || turn ? 2 : 1;
	uint16_t n = 0;

	for (unsigned i = 0; i < looks && !n; i++) {
		struct udp_socket *s = &u->sockets[first ^ i];

		s->packet.in_port = q->port->index;
		if (s->fd >= 0)
			n = socket_rx(w, q, s, pkts, max);
		if (n)
			u->busy = first ^ i;
	}
	u->empty = !n;
	q->counters.rx_packets += n;
	return n;
}

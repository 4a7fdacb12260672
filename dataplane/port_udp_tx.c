/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Datagrams to the kernel: packets of one path and one size leave as a train (UDP_SEGMENT), several
 * trains in one call. What a route cannot do (segmentation, the source address that the peer knew)
 * is tried without, and remembered for a while so that the next burst goes straight.
 * Runs on workers.
 */
#include "port_udp.h"

#include <assert.h>
#include <errno.h>

#define OPEN_GROUPS_MAX 8 /* paths that are joined at a time within a burst */
#define QUIRK_NS (10 * 1000000000ull)

enum udp_how { HOW_SEGMENT = 1 << 0, HOW_SOURCE = 1 << 1 };

/* paths are compared as bytes */
static_assert(sizeof(struct packet_path) == 44, "struct packet_path has holes");

static const struct packet_path *path_of(const struct udp_send *t, unsigned i)
{
	return &packet_of(t->mbufs[i])->path;
}

static bool path_equal(const struct packet_path *a, const struct packet_path *b)
{
	return !memcmp(a, b, sizeof(*a));
}

/* ---- grouping ------------------------------------------------------------------------------- */

/* The latest group of packet i's path, if it may grow by it. */
static struct udp_group *group_find(struct udp_send *t, unsigned i, uint16_t len)
{
	unsigned oldest = t->n_groups > OPEN_GROUPS_MAX ? t->n_groups - OPEN_GROUPS_MAX : 0;

	for (unsigned k = t->n_groups; k-- > oldest;) {
		struct udp_group *g = &t->groups[k];

		if (!path_equal(path_of(t, g->first), path_of(t, i)))
			continue;
		if (g->closed || len > g->size || g->count == UDP_TRAIN_SEGMENTS ||
			g->bytes + len > UDP_TRAIN_BYTES)
			return NULL;
		return g;
	}
	return NULL;
}

static void packet_group(struct udp_send *t, unsigned i)
{
	uint16_t len = t->mbufs[i]->data_len;
	struct udp_group *g = group_find(t, i, len);

	if (!g) {
		t->groups[t->n_groups++] = (struct udp_group){.first = i,
			.last = i,
			.count = 1,
			.size = len,
			.bytes = len,
			.closed = !len};
		return;
	}
	t->next[g->last] = i;
	g->last = i;
	g->count++;
	g->bytes += len;
	g->closed = len < g->size;
}

/* ---- what a path cannot do ------------------------------------------------------------------ */

static struct udp_quirk *quirk_slot(struct udp_queue *u, const struct packet_path *path)
{
	uint32_t h = path->remote_port, word;

	for (unsigned i = 0; i < sizeof(path->remote); i += sizeof(word)) {
		memcpy(&word, path->remote + i, sizeof(word));
		h = (h ^ word) * 0x9e3779b1u;
	}
	return &u->quirks[(h >> 16) % UDP_QUIRKS];
}

static uint8_t path_lacks(struct worker *w, struct udp_queue *u, const struct packet_path *path)
{
	const struct udp_quirk *k;

	if (likely(w->now >= u->quirks_until))
		return 0;
	k = quirk_slot(u, path);
	return w->now < k->until && path_equal(&k->path, path) ? k->lacks : 0;
}

static void quirk_remember(
	struct worker *w, struct udp_queue *u, const struct packet_path *path, uint8_t lacks)
{
	struct udp_quirk *k = quirk_slot(u, path);

	*k = (struct udp_quirk){.until = w->now + QUIRK_NS, .lacks = lacks, .path = *path};
	u->quirks_until = k->until;
}

/* ---- messages ------------------------------------------------------------------------------- */

static bool is_set(const uint8_t *address)
{
	static const uint8_t zero[16];

	return memcmp(address, zero, sizeof(zero)) != 0;
}

static bool is_link_local(const uint8_t *address)
{
	return address[0] == 0xfe && (address[1] & 0xc0) == 0x80;
}

static socklen_t name_fill(union udp_address *name, const struct packet_path *path)
{
	if (path->family == AF_INET) {
		name->in =
			(struct sockaddr_in){.sin_family = AF_INET, .sin_port = path->remote_port};
		memcpy(&name->in.sin_addr, path->remote, 4);
		return sizeof(name->in);
	}
	name->in6 = (struct sockaddr_in6){.sin6_family = AF_INET6, .sin6_port = path->remote_port};
	memcpy(&name->in6.sin6_addr, path->remote, 16);
	if (is_link_local(path->remote))
		name->in6.sin6_scope_id = path->ifindex;
	return sizeof(name->in6);
}

static uint8_t *control_add(uint8_t *at, int level, int type, const void *data, size_t len)
{
	struct cmsghdr *c = (struct cmsghdr *)at;

	c->cmsg_level = level;
	c->cmsg_type = type;
	c->cmsg_len = CMSG_LEN(len);
	memcpy(CMSG_DATA(c), data, len);
	return at + CMSG_SPACE(len);
}

/* IPv4 takes the source without the interface: as in the kernel's WireGuard, the route may change.
 */
static uint8_t *control_add_source(uint8_t *at, const struct packet_path *path)
{
	struct in6_pktinfo info6 = {0};
	struct in_pktinfo info = {0};

	if (path->family == AF_INET) {
		memcpy(&info.ipi_spec_dst, path->local, 4);
		return control_add(at, IPPROTO_IP, IP_PKTINFO, &info, sizeof(info));
	}
	memcpy(&info6.ipi6_addr, path->local, 16);
	if (is_link_local(path->local))
		info6.ipi6_ifindex = path->ifindex;
	return control_add(at, IPPROTO_IPV6, IPV6_PKTINFO, &info6, sizeof(info6));
}

static size_t control_fill(
	union udp_control *control, const struct packet_path *path, uint16_t segment, bool source)
{
	uint8_t *at = control->bytes;
	int tos = path->tos;

	if (segment)
		at = control_add(at, IPPROTO_UDP, UDP_SEGMENT, &segment, sizeof(segment));
	if (source)
		at = control_add_source(at, path);
	if (tos && path->family == AF_INET)
		at = control_add(at, IPPROTO_IP, IP_TOS, &tos, sizeof(tos));
	else if (tos)
		at = control_add(at, IPPROTO_IPV6, IPV6_TCLASS, &tos, sizeof(tos));
	return at - control->bytes;
}

/* Adds a message that carries `run`; its iovecs are those of its packets, copied in a row. */
static void message_add(
	struct udp_send *t, unsigned i, unsigned iov_at, const struct udp_group *run, uint8_t how)
{
	const struct packet_path *path = path_of(t, run->first);
	bool source = how & HOW_SOURCE && is_set(path->local);
	size_t control_len =
		control_fill(&t->control[i], path, run->count > 1 ? run->size : 0, source);

	for (unsigned k = 0, p = run->first; k < run->count; k++, p = t->next[p])
		t->iov[iov_at + k] = (struct iovec){
			.iov_base = rte_pktmbuf_mtod(t->mbufs[p], void *),
			.iov_len = t->mbufs[p]->data_len,
		};
	t->runs[i] = *run;
	t->how[i] = (run->count > 1 ? HOW_SEGMENT : 0) | (source ? HOW_SOURCE : 0);
	t->messages[i].msg_hdr = (struct msghdr){
		.msg_name = &t->names[i],
		.msg_namelen = name_fill(&t->names[i], path),
		.msg_iov = &t->iov[iov_at],
		.msg_iovlen = run->count,
		.msg_control = control_len ? &t->control[i] : NULL,
		.msg_controllen = control_len,
	};
}

static struct udp_group run_of_one(const struct udp_send *t, unsigned i)
{
	uint16_t len = t->mbufs[i]->data_len;

	return (struct udp_group){.first = i, .last = i, .count = 1, .size = len, .bytes = len};
}

/* ---- sending -------------------------------------------------------------------------------- */

static enum udp_drop drop_of(int error)
{
	switch (error) {
	case EAGAIN:
	case ENOBUFS:
	case ENOMEM:
		return UDP_DROP_QUEUE_FULL;
	case ENETUNREACH:
	case EHOSTUNREACH:
	case ENETDOWN:
	case EADDRNOTAVAIL:
	case ENODEV:
		return UDP_DROP_TX_UNREACHABLE;
	case EPERM:
	case EACCES:
		return UDP_DROP_TX_REFUSED;
	case EMSGSIZE:
		return UDP_DROP_TX_TOO_BIG;
	default:
		return UDP_DROP_TX_ERROR;
	}
}

/* What may have been too much, by the answer. */
static uint8_t blamed(int error)
{
	switch (error) {
	case EINVAL:
		return HOW_SEGMENT | HOW_SOURCE;
	case EIO:
	case EMSGSIZE:
	case EOPNOTSUPP:
		return HOW_SEGMENT;
	case EADDRNOTAVAIL:
	case ENETUNREACH:
	case EHOSTUNREACH:
	case ENODEV:
		return HOW_SOURCE;
	default:
		return 0;
	}
}

static void count_sent(struct port_queue *q, const struct udp_group *run)
{
	struct udp_queue *u = q->private;

	q->counters.tx_packets += run->count;
	q->counters.tx_bytes += run->bytes;
	u->tx_trains += run->count > 1;
}

/* Sends what is left of the run, whole or packet by packet; takes off its front what was sent. */
static int run_send(struct port_queue *q, int fd, struct udp_group *run, uint8_t how)
{
	struct udp_queue *u = q->private;
	struct udp_send *t = &u->send;

	while (run->count) {
		struct udp_group now = how & HOW_SEGMENT ? *run : run_of_one(t, run->first);

		message_add(t, UDP_TX_RETRY, UDP_TX_RETRY, &now, how);
		if (sendmsg(fd, &t->messages[UDP_TX_RETRY].msg_hdr, MSG_DONTWAIT | MSG_NOSIGNAL) <
			0)
			return errno;
		q->counters.tx_calls++;
		count_sent(q, &now);
		run->first = t->next[now.last];
		run->count -= now.count;
		run->bytes -= now.bytes;
	}
	return 0;
}

/* A message was refused: the same without what may be to blame, from the dearest on. */
static void run_retry(struct worker *w, struct port_queue *q, int fd, unsigned message, int error)
{
	static const uint8_t ladder[] = {HOW_SEGMENT, HOW_SOURCE, 0};
	struct udp_queue *u = q->private;
	struct udp_group run = u->send.runs[message];
	uint8_t had = u->send.how[message], allowed = had & blamed(error);
	struct packet_path path = *path_of(&u->send, run.first);

	for (unsigned i = 0; i < RTE_DIM(ladder) && allowed; i++) {
		uint8_t how = ladder[i], without = had & ~how;

		if (how & ~had || !without || without & ~allowed)
			continue;
		u->tx_retried++;
		error = run_send(q, fd, &run, how);
		if (!error) {
			quirk_remember(w, u, &path, without);
			return;
		}
		if (!blamed(error))
			break;
		allowed |= had & blamed(error);
	}
	udp_drop(w, q, drop_of(error), run.count);
}

static void messages_send(struct worker *w, struct port_queue *q, int fd, unsigned n)
{
	struct udp_queue *u = q->private;
	struct udp_send *t = &u->send;
	unsigned done = 0;

	while (done < n) {
		int got = sendmmsg(fd, t->messages + done, n - done, MSG_DONTWAIT | MSG_NOSIGNAL);

		if (got <= 0) {
			run_retry(w, q, fd, done++, errno);
			continue;
		}
		q->counters.tx_calls++;
		for (int i = 0; i < got; i++)
			count_sent(q, &t->runs[done++]);
	}
}

/* Messages of the groups of one family, in their order. */
static void family_send(struct worker *w, struct port_queue *q, const struct udp_socket *s)
{
	struct udp_queue *u = q->private;
	struct udp_send *t = &u->send;
	unsigned n = 0, iov = 0;

	for (unsigned k = 0; k < t->n_groups; k++) {
		const struct udp_group *g = &t->groups[k];
		const struct packet_path *path = path_of(t, g->first);
		uint8_t how;

		if (path->family != s->family)
			continue;
		if (s->fd < 0) {
			udp_drop(w, q, UDP_DROP_TX_NO_FAMILY, g->count);
			continue;
		}
		how = ~path_lacks(w, u, path);
		if (how & HOW_SEGMENT) {
			message_add(t, n++, iov, g, how);
			iov += g->count;
			continue;
		}
		for (unsigned p = g->first, left = g->count; left; left--, p = t->next[p]) {
			struct udp_group one = run_of_one(t, p);

			message_add(t, n++, iov++, &one, how);
		}
	}
	messages_send(w, q, s->fd, n);
}

static void burst_send(struct worker *w, struct port_queue *q)
{
	struct udp_queue *u = q->private;
	struct udp_send *t = &u->send;

	t->n_groups = 0;
	for (unsigned i = 0; i < t->n; i++)
		packet_group(t, i);
	for (unsigned f = 0; f < RTE_DIM(u->sockets); f++)
		family_send(w, q, &u->sockets[f]);
	rte_pktmbuf_free_bulk(t->mbufs, t->n);
	t->n = 0;
}

/* Takes all: what the kernel refuses is counted here, since a group is no prefix of the burst. */
uint16_t udp_tx(struct worker *w, struct port_queue *q, struct rte_mbuf **pkts, uint16_t n)
{
	struct udp_queue *u = q->private;
	struct udp_send *t = &u->send;

	for (uint16_t i = 0; i < n; i++) {
		struct rte_mbuf *m = pkts[i];
		uint8_t family = packet_of(m)->path.family;

		if (unlikely(m->nb_segs > 1 && rte_pktmbuf_linearize(m) < 0)) {
			udp_drop(w, q, UDP_DROP_TX_CHAINED, 1);
			rte_pktmbuf_free(m);
		} else if (unlikely(family != AF_INET && family != AF_INET6)) {
			udp_drop(w, q, UDP_DROP_TX_NO_FAMILY, 1);
			rte_pktmbuf_free(m);
		} else {
			t->mbufs[t->n++] = m;
		}
		if (t->n == UDP_TX_BURST)
			burst_send(w, q);
	}
	if (t->n)
		burst_send(w, q);
	return n;
}

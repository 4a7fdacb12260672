/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Runs on: the control loop (life), I/O loops (answers), scrapes (counters).
 *
 * Each datagram that a socket has sent wakes whoever watches the socket, even if he waits for
 * something to read alone: a twentieth of what an answer costs. So a socket is watched through an
 * epoll of its own, and taken out of it while many answers go.
 */
#include "stun_server.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <tailplane/handover.h>
#include <tailplane/io.h>
#include <tailplane/net.h>

#include "stun.h"
#include "stun_ports.h"

#define BATCH 64
#define BATCHES_A_TURN 8       /* then others of the loop have theirs */
#define MANY 4                 /* in a batch: more system calls are worth it */
#define BUFFER_BYTES (4 << 20) /* asked for: the kernel gives what it allows */

struct sock {
	ev_io readable; /* the watch is */
	int fd, watch;
	bool watched;
	struct stun_loop *loop;
};

/* Room for one batch: of a loop, all sockets in turn. */
struct batch {
	struct mmsghdr msgs[BATCH], answers[BATCH];
	struct iovec in[BATCH], out[BATCH];
	struct sockaddr_storage from[BATCH];
	union {
		char bytes[CMSG_SPACE(sizeof(struct in6_pktinfo))];
		struct cmsghdr align;
	} control[BATCH];
	uint8_t data[BATCH][STUN_REQUEST_MAX], answer[BATCH][STUN_ANSWER_MAX];
};

/* Of one I/O loop: made and freed by the control loop while the loop does not look at it. */
struct stun_loop {
	struct stun_counts counts;
	struct batch *batch;
	size_t n;
	struct sock *socks;
};

static struct {
	struct stun_loop *loops;
	unsigned n;
	uint16_t port;
	struct net_endpoint *listen;
	unsigned n_listen;
	bool reads;
} stun;
static _Atomic bool speaking; /* written by the control loop, read by I/O loops */

/* Of a loop's own counters: nobody else adds to them. */
static void count(_Atomic uint64_t *counter, unsigned n)
{
	atomic_store_explicit(counter, atomic_load_explicit(counter, memory_order_relaxed) + n,
		memory_order_relaxed);
}

/* ---- answers: I/O loop ---- */

/* From the address that was asked, by whatever way leads back. */
static void keep_address(struct msghdr *answer, const struct msghdr *msg)
{
	struct cmsghdr *cmsg = CMSG_FIRSTHDR(msg);

	if (!cmsg)
		return;
	if (cmsg->cmsg_level == IPPROTO_IP && cmsg->cmsg_type == IP_PKTINFO) {
		((struct in_pktinfo *)CMSG_DATA(cmsg))->ipi_ifindex = 0;
	} else if (cmsg->cmsg_level == IPPROTO_IPV6 && cmsg->cmsg_type == IPV6_PKTINFO) {
		struct in6_pktinfo *info = (struct in6_pktinfo *)CMSG_DATA(cmsg);

		if (!IN6_IS_ADDR_LINKLOCAL(&info->ipi6_addr))
			info->ipi6_ifindex = 0;
	} else {
		return;
	}
	answer->msg_control = msg->msg_control;
	answer->msg_controllen = msg->msg_controllen;
}

/* True: there is an answer in place `at`. */
static bool answer_one(struct batch *batch, unsigned i, unsigned at, struct stun_counts *counts)
{
	const struct msghdr *msg = &batch->msgs[i].msg_hdr;
	struct msghdr *answer = &batch->answers[at].msg_hdr;
	uint8_t txid[STUN_TXID_SIZE];
	struct net_endpoint from;

	if ((msg->msg_flags & MSG_TRUNC) ||
		!stun_request_read(batch->data[i], batch->msgs[i].msg_len, txid) ||
		net_endpoint_from_sockaddr(&from, msg->msg_name) != 0) {
		count(&counts->outcomes[STUN_NOT_STUN], 1);
		return false;
	}
	count(from.addr.family == AF_INET ? &counts->ipv4 : &counts->ipv6, 1);
	batch->out[at] = (struct iovec){
		batch->answer[at], stun_answer_write(batch->answer[at], txid, &from)};
	*answer = (struct msghdr){.msg_name = msg->msg_name,
		.msg_namelen = msg->msg_namelen,
		.msg_iov = &batch->out[at],
		.msg_iovlen = 1};
	keep_address(answer, msg);
	return true;
}

/* Whatever came in between is told when it is watched again. */
static void watch(struct sock *sock, bool on)
{
	struct epoll_event readable = {.events = EPOLLIN};
	int how = on ? EPOLL_CTL_ADD : EPOLL_CTL_DEL;

	if (sock->watched != on && epoll_ctl(sock->watch, how, sock->fd, &readable) == 0)
		sock->watched = on;
}

/* One that cannot be sent is left out. */
static void send_all(int fd, struct batch *batch, unsigned n, struct stun_counts *counts)
{
	unsigned at = 0;

	while (at < n) {
		int sent = sendmmsg(fd, batch->answers + at, n - at, MSG_DONTWAIT);

		count(&counts->outcomes[sent > 0 ? STUN_ANSWERED : STUN_WRITE_ERROR],
			sent > 0 ? (unsigned)sent : 1);
		at += sent > 0 ? (unsigned)sent : 1;
	}
}

static void prepare(struct batch *batch)
{
	for (unsigned i = 0; i < BATCH; i++) {
		struct msghdr *msg = &batch->msgs[i].msg_hdr;

		msg->msg_namelen = sizeof(batch->from[i]);
		msg->msg_controllen = sizeof(batch->control[i]);
		msg->msg_flags = 0;
	}
}

/* How many there were. */
static unsigned one_batch(struct sock *sock)
{
	struct stun_counts *counts = &sock->loop->counts;
	struct batch *batch = sock->loop->batch;
	unsigned n_answers = 0;
	int n;

	prepare(batch);
	n = recvmmsg(sock->fd, batch->msgs, BATCH, MSG_DONTWAIT, NULL);
	if (n < 0 && errno != EAGAIN && errno != EINTR)
		count(&counts->outcomes[STUN_READ_ERROR], 1);
	if (n <= 0)
		return 0;
	if (!atomic_load_explicit(&speaking, memory_order_relaxed)) {
		count(&counts->outcomes[STUN_SILENT], (unsigned)n);
		return (unsigned)n;
	}
	for (int i = 0; i < n; i++)
		n_answers += answer_one(batch, (unsigned)i, n_answers, counts);
	if (n_answers >= MANY)
		watch(sock, false);
	send_all(sock->fd, batch, n_answers, counts);
	return (unsigned)n;
}

static void on_readable(struct ev_loop *ev, ev_io *io, int revents)
{
	struct sock *sock = io->data;

	(void)revents;
	/* while many are answered, as many come */
	for (unsigned i = 0; i < BATCHES_A_TURN && one_batch(sock) >= MANY; i++)
		;
	watch(sock, true);
	if (!sock->watched) /* no memory: until there is some, the loop turns and looks */
		ev_feed_event(ev, io, EV_READ);
}

/* ---- sockets: control loop ---- */

static int parse(struct net_endpoint *ep, const char *address, const char *any)
{
	char text[NET_ENDPOINT_STRLEN];
	int n = snprintf(text, sizeof(text), "%s%s", *address == ':' ? any : "", address);

	return n < (int)sizeof(text) ? net_endpoint_parse(ep, text) : -EINVAL;
}

int stun_address_check(const char *address)
{
	struct net_endpoint ep;

	return parse(&ep, address, "[::]");
}

static bool is_any(const struct net_addr *addr)
{
	static const uint8_t zero[16];

	return !memcmp(addr->bytes, zero, sizeof(zero));
}

static void ask_for_address(int fd, int family)
{
	int on = 1;

	if (family == AF_INET)
		setsockopt(fd, IPPROTO_IP, IP_PKTINFO, &on, sizeof(on));
	else
		setsockopt(fd, IPPROTO_IPV6, IPV6_RECVPKTINFO, &on, sizeof(on));
}

/*
 * An answer fits any path. One that may not be fragmented needs no number to tell its fragments by,
 * and what the kernel has learnt of the path is not looked up: a twentieth of what an answer costs.
 */
static void never_fragment(int fd, int family)
{
	int ipv4 = IP_PMTUDISC_PROBE, ipv6 = IPV6_PMTUDISC_PROBE;

	if (family == AF_INET)
		setsockopt(fd, IPPROTO_IP, IP_MTU_DISCOVER, &ipv4, sizeof(ipv4));
	else
		setsockopt(fd, IPPROTO_IPV6, IPV6_MTU_DISCOVER, &ipv6, sizeof(ipv6));
}

/* The first of an address binds without SO_REUSEPORT, so that another program's socket is noticed;
 * it has the option from then on. */
static int new_socket(const struct net_endpoint *ep, bool first)
{
	int fd = socket(ep->addr.family, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	int on = 1, bytes = BUFFER_BYTES;
	struct sockaddr_storage ss;
	socklen_t len = net_endpoint_to_sockaddr(ep, &ss);
	int rc;

	if (fd < 0)
		return -errno;
	if (ep->addr.family == AF_INET6)
		setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof(on));
	if (!first)
		setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof(on));
	setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &bytes, sizeof(bytes));
	setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &bytes, sizeof(bytes));
	never_fragment(fd, ep->addr.family);
	if (is_any(&ep->addr))
		ask_for_address(fd, ep->addr.family);
	rc = bind(fd, (struct sockaddr *)&ss, len) == 0 ? 0 : -errno;
	if (rc) {
		close(fd);
		return rc;
	}
	setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof(on));
	return fd;
}

/* That of the process before us, if there is one. */
static int open_socket(const struct net_endpoint *ep, bool first)
{
	int fd = handover_take_udp(ep);

	if (fd < 0)
		fd = new_socket(ep, first);
	if (fd >= 0)
		handover_add(fd);
	return fd;
}

static void close_socket(const struct sock *sock)
{
	if (sock->watch >= 0)
		close(sock->watch);
	handover_remove(sock->fd);
	close(sock->fd);
}

static int add_socket(struct stun_loop *loop, int fd)
{
	struct sock *socks = realloc(loop->socks, (loop->n + 1) * sizeof(*socks));
	struct sock sock = {.fd = fd, .watch = epoll_create1(EPOLL_CLOEXEC), .loop = loop};

	if (socks)
		loop->socks = socks;
	if (sock.watch >= 0)
		watch(&sock, true);
	if (!socks || !sock.watched) {
		close_socket(&sock);
		return -ENOMEM;
	}
	socks[loop->n++] = sock;
	return 0;
}

static uint16_t port_of(int fd)
{
	struct sockaddr_storage ss;
	socklen_t len = sizeof(ss);
	struct net_endpoint ep;

	return getsockname(fd, (struct sockaddr *)&ss, &len) == 0 &&
			       net_endpoint_from_sockaddr(&ep, (struct sockaddr *)&ss) == 0
		       ? ep.port
		       : 0;
}

static int note_endpoint(const struct net_endpoint *ep)
{
	struct net_endpoint *listen =
		realloc(stun.listen, (stun.n_listen + 1) * sizeof(*stun.listen));

	if (!listen)
		return -ENOMEM;
	stun.listen = listen;
	listen[stun.n_listen++] = *ep;
	return 0;
}

/* With port 0 the first socket's is everybody's. */
static int open_endpoint(struct net_endpoint *ep)
{
	int rc = 0;

	for (unsigned i = 0; !rc && i < stun.n; i++) {
		int fd = open_socket(ep, i == 0);

		if (fd < 0)
			return fd;
		ep->port = port_of(fd);
		if (!stun.port)
			stun.port = ep->port;
		rc = add_socket(&stun.loops[i], fd);
	}
	return rc ? rc : note_endpoint(ep);
}

static int open_address(const char *address, struct err *err)
{
	struct net_endpoint ep;
	int rc = parse(&ep, address, "0.0.0.0");

	if (!rc)
		rc = open_endpoint(&ep);
	if (!rc && *address == ':') {
		uint16_t port = ep.port;

		ep = (struct net_endpoint){.addr = {.family = AF_INET6}, .port = port};
		rc = open_endpoint(&ep);
		if (rc == -EAFNOSUPPORT || rc == -EADDRNOTAVAIL) /* a machine without IPv6 */
			rc = 0;
	}
	if (rc)
		return err_set(err, rc,
			"cannot take UDP %s for STUN: %s; choose another address with "
			"derp.stun_listen_addr, or \"\" for none",
			address, strerror(-rc));
	return 0;
}

/* ---- life ---- */

static void begin_here(void *arg)
{
	struct io_loop *io = io_loop_here();
	struct stun_loop *loop = &stun.loops[io_loop_index(io)];

	(void)arg;
	for (size_t i = 0; i < loop->n; i++) {
		struct sock *sock = &loop->socks[i];

		ev_io_init(&sock->readable, on_readable, sock->watch, EV_READ);
		sock->readable.data = sock;
		ev_io_start(io_loop_ev(io), &sock->readable);
	}
}

static void end_here(void *arg)
{
	struct io_loop *io = io_loop_here();
	struct stun_loop *loop = &stun.loops[io_loop_index(io)];

	(void)arg;
	for (size_t i = 0; i < loop->n; i++)
		ev_io_stop(io_loop_ev(io), &loop->socks[i].readable);
}

static struct batch *batch_new(void)
{
	struct batch *batch = calloc(1, sizeof(*batch));

	for (unsigned i = 0; batch && i < BATCH; i++) {
		batch->in[i] = (struct iovec){batch->data[i], STUN_REQUEST_MAX};
		batch->msgs[i].msg_hdr = (struct msghdr){.msg_name = &batch->from[i],
			.msg_iov = &batch->in[i],
			.msg_iovlen = 1,
			.msg_control = &batch->control[i]};
	}
	return batch;
}

static void free_all(void)
{
	for (unsigned i = 0; i < stun.n; i++) {
		struct stun_loop *loop = &stun.loops[i];

		for (size_t j = 0; j < loop->n; j++)
			close_socket(&loop->socks[j]);
		free(loop->socks);
		free(loop->batch);
	}
	free(stun.loops);
	free(stun.listen);
	memset(&stun, 0, sizeof(stun));
}

int stun_start(const struct setting_list *addresses, struct err *err)
{
	int rc = 0;

	atomic_store_explicit(&speaking, false, memory_order_relaxed);
	stun.n = io_loop_count();
	stun.loops = calloc(stun.n, sizeof(*stun.loops));
	for (unsigned i = 0; !rc && i < stun.n; i++) {
		stun.loops[i].batch = batch_new();
		rc = stun.loops[i].batch ? 0 : err_set(err, -ENOMEM, "out of memory");
	}
	for (size_t i = 0; !rc && i < addresses->count; i++)
		rc = open_address(((char **)addresses->items)[i], err);
	if (rc) {
		free_all();
		return rc;
	}
	stun_ports_publish(stun.listen, stun.n_listen, false);
	return 0;
}

void stun_stop(void)
{
	if (!stun.loops)
		return;
	stun_ports_publish(NULL, 0, false);
	if (stun.reads)
		io_on_each(end_here, NULL);
	free_all();
}

void stun_speak(bool speak)
{
	bool changes = speak != stun_speaks();

	atomic_store_explicit(&speaking, speak, memory_order_relaxed);
	if (changes)
		stun_ports_publish(stun.listen, stun.n_listen, speak);
	if (!stun.reads && stun.loops)
		io_on_each(begin_here, NULL);
	stun.reads = stun.loops;
}

bool stun_speaks(void)
{
	return atomic_load_explicit(&speaking, memory_order_relaxed);
}

uint16_t stun_port(void)
{
	return stun.port;
}

/* ---- counters ---- */

static uint64_t counted(const struct stun_counts *counts, size_t offset)
{
	return atomic_load_explicit(
		(const _Atomic uint64_t *)((const char *)counts + offset), memory_order_relaxed);
}

/* Of sockets and ports. */
static uint64_t sum(size_t offset)
{
	uint64_t n = counted(stun_ports_counts(), offset);

	for (unsigned i = 0; i < stun.n; i++)
		n += counted(&stun.loops[i].counts, offset);
	return n;
}

uint64_t stun_answers(void)
{
	return sum(offsetof(struct stun_counts, outcomes[STUN_ANSWERED]));
}

uint64_t stun_port_answers(void)
{
	return counted(stun_ports_counts(), offsetof(struct stun_counts, outcomes[STUN_ANSWERED]));
}

static void add_outcomes(struct metric_sink *sink, const struct metric *metric)
{
	static const char *const outcomes[STUN_OUTCOMES] = {
		"success", "not_stun", "read_error", "write_error", "silent"};

	for (unsigned i = 0; i < STUN_OUTCOMES; i++) {
		struct metric_label label = {"disposition", outcomes[i]};

		metric_add(sink, metric, &label, 1,
			(double)sum(offsetof(struct stun_counts, outcomes) + i * sizeof(uint64_t)));
	}
}

static void add_families(struct metric_sink *sink, const struct metric *metric)
{
	struct metric_label ipv4 = {"family", "ipv4"}, ipv6 = {"family", "ipv6"};

	metric_add(sink, metric, &ipv4, 1, (double)sum(offsetof(struct stun_counts, ipv4)));
	metric_add(sink, metric, &ipv6, 1, (double)sum(offsetof(struct stun_counts, ipv6)));
}

void stun_collect(struct metric_sink *sink)
{
	static const struct metric requests = {"tailplane_stun_requests_total", METRIC_COUNTER,
		"Datagrams to the STUN server, by what became of them."};
	static const struct metric families = {
		"tailplane_stun_families_total", METRIC_COUNTER, "STUN requests by IP version."};
	static const struct metric derpers_requests = {
		"stun_requests", METRIC_COUNTER, "derper's name of tailplane_stun_requests_total."};
	static const struct metric derpers_families = {"stun_addrfamily", METRIC_COUNTER,
		"derper's name of tailplane_stun_families_total."};

	static const struct metric ports = {"tailplane_stun_port_answers_total", METRIC_COUNTER,
		"STUN requests that workers answered, on Ethernet ports; they are among the "
		"others."};

	add_outcomes(sink, &requests);
	add_families(sink, &families);
	metric_add(sink, &ports, NULL, 0, (double)stun_port_answers());
	add_outcomes(sink, &derpers_requests);
	add_families(sink, &derpers_families);
}

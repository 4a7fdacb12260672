/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

/*
 * The UDP port against sockets of the kernel on the loopback interface, in a network namespace of
 * its own where the machine allows one.
 */
#include <arpa/inet.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "hostport.h"
#include "port_udp.h"
#include "prng.h"
#include "skip_if.h"

#define TUNNEL 5
#define N_MAX 256

static bool private_namespace;
static struct prng prng;
static uint8_t data[65536];
static struct rte_mbuf *pkts[N_MAX];

/* One port with one queue, and a socket of each family at the other end. */
static struct {
	struct port *port;
	struct port_queue *q;
	uint16_t listen_port;
	int peer4, peer6;
	struct sockaddr_in at4;
	struct sockaddr_in6 at6;
} t;

static inline struct udp_queue *queue(void)
{
	return t.q->private;
}

static inline int peer_open(int family, struct sockaddr *sa, socklen_t len)
{
	const struct timeval limit = {.tv_sec = (time_t)DEADLINE};
	int fd = socket(family, SOCK_DGRAM, 0);

	if (fd < 0)
		return -1;
	assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit)), 0);
	assert_int_equal(bind(fd, sa, len), 0);
	assert_int_equal(getsockname(fd, sa, &len), 0);
	return fd;
}

static inline int pair_setup(void **state)
{
	struct err err = {0};

	memset(&t, 0, sizeof(t));
	t.port = port_udp_open(&t.listen_port, 1, TUNNEL, 0, &err);
	if (!t.port)
		fail_msg("%s", err.msg);
	t.port->index = 9;
	t.q = &t.port->queues[0];
	t.at4 = (struct sockaddr_in){
		.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	t.at6 = (struct sockaddr_in6){.sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT};
	t.peer4 = peer_open(AF_INET, (struct sockaddr *)&t.at4, sizeof(t.at4));
	t.peer6 = queue()->sockets[1].fd < 0
			  ? -1
			  : peer_open(AF_INET6, (struct sockaddr *)&t.at6, sizeof(t.at6));
	return 0;
}

static inline int pair_teardown(void **state)
{
	t.port->ops->close(t.port);
	close(t.peer4);
	if (t.peer6 >= 0)
		close(t.peer6);
	assert_int_equal(mbufs_in_use(), 0);
	return 0;
}

static inline bool no_ipv6(void)
{
	return t.peer6 < 0;
}
/* Sends `len` bytes to the port, as a train of `segment` unless that is 0. */
static inline void peer_send(int fd, size_t len, uint16_t segment)
{
	struct sockaddr_in to4 = {.sin_family = AF_INET,
		.sin_port = htons(t.listen_port),
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	struct sockaddr_in6 to6 = {.sin6_family = AF_INET6,
		.sin6_port = htons(t.listen_port),
		.sin6_addr = IN6ADDR_LOOPBACK_INIT};
	union udp_control control = {0};
	struct iovec iov = {.iov_base = data, .iov_len = len};
	struct msghdr h = {.msg_name = fd == t.peer6 ? (void *)&to6 : &to4,
		.msg_namelen = fd == t.peer6 ? sizeof(to6) : sizeof(to4),
		.msg_iov = &iov,
		.msg_iovlen = 1};

	if (segment) {
		control.align = (struct cmsghdr){.cmsg_level = IPPROTO_UDP,
			.cmsg_type = UDP_SEGMENT,
			.cmsg_len = CMSG_LEN(sizeof(segment))};
		memcpy(CMSG_DATA(&control.align), &segment, sizeof(segment));
		h.msg_control = &control;
		h.msg_controllen = CMSG_SPACE(sizeof(segment));
	}
	assert_int_equal(sendmsg(fd, &h, 0), len);
}

static inline void check_received(unsigned n, size_t total, size_t segment)
{
	for (unsigned i = 0; i < n; i++) {
		size_t len = i == n - 1 ? total - i * segment : segment;

		assert_int_equal(pkts[i]->nb_segs, 1);
		assert_int_equal(pkts[i]->data_len, len);
		assert_int_equal(pkts[i]->pkt_len, len);
		assert_int_equal(rte_pktmbuf_headroom(pkts[i]), RTE_PKTMBUF_HEADROOM);
		assert_memory_equal(rte_pktmbuf_mtod(pkts[i], void *), data + i * segment, len);
	}
	rte_pktmbuf_free_bulk(pkts, n);
}

static inline void train_check(int fd, size_t total, uint16_t segment)
{
	unsigned n = (unsigned)((total + segment - 1) / segment);

	peer_send(fd, total, segment);
	assert_int_equal(queue_receive(t.q, pkts, n), n);
	check_received(n, total, segment);
}
#define ON_A_PAIR(test) cmocka_unit_test_setup_teardown(test, pair_setup, pair_teardown)

static inline void pair_begin(void)
{
	private_namespace = namespace_enter();
	hostport_start();
	prng_fill(&prng, data, sizeof(data));
}

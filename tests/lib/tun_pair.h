/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

/*
 * The TUN port against the kernel's own stack:
 *
 *      namespace A                the test                  namespace B
 *    sockets -- tp0 -- TUN port: rx ---> tx :TUN port -- tp0 -- sockets
 *    10.0.0.1, fd00::1             tx <--- rx               10.0.0.2, fd00::2
 */
#include <arpa/inet.h>
#include <net/if.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/socket.h>

#include <cmocka.h>

#include "hostport.h"
#include "port_tun.h"
#include "skip_if.h"
#define TUNNEL 3
#define MTU 1420
#define PORT 7000

enum { A, B };

static int namespaces[2]; /* -1: none */
static struct port *ports[2];
static struct rte_mbuf *pkts[NODE_BURST_MAX];

static inline struct port_queue *queue(int side)
{
	return &ports[side]->queues[0];
}

static inline const struct tun_queue *counts(int side)
{
	return queue(side)->private;
}

static inline bool no_namespaces(void)
{
	return namespaces[B] < 0;
}

static inline void namespace_use(int side)
{
	assert_int_equal(setns(namespaces[side], CLONE_NEWNET), 0);
}

static inline int namespace_make(void)
{
	return namespace_enter() ? open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC) : -1;
}

static inline void address_add(const char *text)
{
	struct net_prefix prefix;
	struct err err = {0};

	assert_int_equal(net_prefix_parse(&prefix, text), 0);
	if (netlink_address_add("tp0", &prefix, &err) < 0)
		fail_msg("%s", err.msg);
}

/* ---- sockets in the namespaces -------------------------------------------------------------- */

union address {
	struct sockaddr sa;
	struct sockaddr_in in;
	struct sockaddr_in6 in6;
};

static inline union address address_of(int side, bool v6, uint16_t port)
{
	union address a = {.sa.sa_family = v6 ? AF_INET6 : AF_INET};

	if (v6) {
		a.in6.sin6_port = htons(port);
		inet_pton(AF_INET6, side == A ? "fd00::1" : "fd00::2", &a.in6.sin6_addr);
	} else {
		a.in.sin_port = htons(port);
		inet_pton(AF_INET, side == A ? "10.0.0.1" : "10.0.0.2", &a.in.sin_addr);
	}
	return a;
}

static inline int socket_at(int side, bool v6, int type, uint16_t port)
{
	const struct timeval limit = {.tv_sec = (time_t)DEADLINE};
	union address a = address_of(side, v6, port);
	int one = 1, fd;

	namespace_use(side);
	fd = socket(a.sa.sa_family, type, 0);
	assert_true(fd >= 0);
	assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)), 0);
	assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit)), 0);
	assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit)), 0);
	assert_int_equal(bind(fd, &a.sa, sizeof(a)), 0);
	return fd;
}

/* The kernel takes a new IPv6 address into use a moment later, whatever it answered. */
static inline void address_wait(int side)
{
	union address own = address_of(side, true, PORT);
	double end = seconds_now() + DEADLINE;
	int fd = socket_at(side, true, SOCK_DGRAM, PORT);
	char byte = 0;

	while (seconds_now() < end) {
		assert_int_equal(sendto(fd, &byte, 1, 0, &own.sa, sizeof(own)), 1);
		if (recv(fd, &byte, 1, MSG_DONTWAIT) == 1)
			break;
		/* it went into the TUN instead */
		if (ports[side]->ops->rx(&worker, queue(side), pkts, 1))
			rte_pktmbuf_free(pkts[0]);
	}
	close(fd);
}

/* ---- two ports ----------------------------------------------------------------------------- */

static inline void port_make(int side)
{
	struct err err = {0};

	namespace_use(side);
	ports[side] = port_tun_open("tp0", 1, MTU, TUNNEL, &err);
	if (!ports[side])
		fail_msg("%s", err.msg);
	ports[side]->index = (uint16_t)(20 + side);
	address_add(side == A ? "10.0.0.1/24" : "10.0.0.2/24");
	address_add(side == A ? "fd00::1/64" : "fd00::2/64");
	if (netlink_link_up("tp0", MTU, &err) < 0)
		fail_msg("%s", err.msg);
	address_wait(side);
}

static inline int ports_setup(void **state)
{
	if (namespaces[B] < 0)
		return 0;
	port_make(A);
	port_make(B);
	return 0;
}

static inline int ports_teardown(void **state)
{
	if (namespaces[B] < 0)
		return 0;
	for (int side = A; side <= B; side++) {
		ports[side]->ops->close(ports[side]);
		namespace_use(side);
		assert_int_equal(if_nametoindex("tp0"), 0);
	}
	assert_int_equal(mbufs_in_use(), 0);
	return 0;
}
#define BETWEEN(test) cmocka_unit_test_setup_teardown(test, ports_setup, ports_teardown)

static inline void pair_begin(void)
{
	namespaces[A] = namespace_make();
	namespaces[B] = namespaces[A] < 0 ? -1 : namespace_make();
	hostport_start();
}

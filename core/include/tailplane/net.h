/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

#pragma GCC visibility push(default)

/* An IP address; `family` is AF_INET (first 4 bytes used, rest zero), AF_INET6, or 0 when unset. */
struct net_addr {
	uint16_t family;
	uint8_t bytes[16];
};

/* A prefix as written: host bits are kept (an interface address is a prefix too). */
struct net_prefix {
	struct net_addr addr;
	uint8_t len;
};

/* Where datagrams of a peer go to or come from; `port` in host order. */
struct net_endpoint {
	struct net_addr addr;
	uint16_t port;
	uint32_t scope; /* IPv6 interface index, 0 when not link-local */
};

#define NET_ADDR_STRLEN 48
#define NET_PREFIX_STRLEN 52
#define NET_ENDPOINT_STRLEN 72

/* Parsers take a NUL-terminated text and answer 0 or -EINVAL; the output is written only on 0. */
int net_addr_parse(struct net_addr *addr, const char *text);
int net_prefix_parse(struct net_prefix *prefix, const char *text); /* no "/len": a host prefix */
int net_endpoint_parse(struct net_endpoint *ep, const char *text); /* literals only */
/* Splits "host:port" or "[v6]:port"; host is at most host_size-1 bytes. */
int net_hostport_split(const char *text, char *host, size_t host_size, uint16_t *port);

/* Formatters fill `buf` and return it. */
const char *net_addr_format(const struct net_addr *addr, char buf[static NET_ADDR_STRLEN]);
const char *net_prefix_format(const struct net_prefix *prefix, char buf[static NET_PREFIX_STRLEN]);
const char *net_endpoint_format(
	const struct net_endpoint *ep, char buf[static NET_ENDPOINT_STRLEN]);

bool net_addr_equal(const struct net_addr *a, const struct net_addr *b);
/* ::ffff:192.0.2.1 is what programs with one socket for both families call 192.0.2.1. */
void net_addr_unmap(struct net_addr *addr);
bool net_endpoint_equal(const struct net_endpoint *a, const struct net_endpoint *b);
/* As written: host bits count. Never memcmp: the struct has padding. */
bool net_prefix_equal(const struct net_prefix *a, const struct net_prefix *b);
bool net_prefix_contains(const struct net_prefix *prefix, const struct net_addr *addr);
struct net_prefix net_prefix_masked(const struct net_prefix *prefix); /* host bits cleared */

/* This machine's address towards the internet, by the kernel's routes: nothing is sent. False: it
 * has none. */
bool net_default_address(struct net_addr *addr, int family);

socklen_t net_endpoint_to_sockaddr(const struct net_endpoint *ep, struct sockaddr_storage *ss);
int net_endpoint_from_sockaddr(struct net_endpoint *ep, const struct sockaddr *sa);

#pragma GCC visibility pop

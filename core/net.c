/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Addresses as text, as bytes and as sockaddr. Pure: runs on any thread.
 *
 * The text forms are strict (inet_pton's, and decimal numbers without sign, blank or leading zero):
 * what is read here is printed back in the one canonical form, and 010.0.0.1 means something else
 * to every program.
 */
#include <tailplane/net.h>

#include <arpa/inet.h>
#include <errno.h>
#include <net/if.h>
#include <stdio.h>
#include <string.h>

/* Decimal 0..max without sign or leading zero; the whole text. */
static int parse_number(const char *text, uint32_t max, uint32_t *value)
{
	uint32_t n = 0;

	if (!*text || (text[0] == '0' && text[1]))
		return -EINVAL;
	for (; *text; text++) {
		if (*text < '0' || *text > '9')
			return -EINVAL;
		n = n * 10 + (uint32_t)(*text - '0');
		if (n > max)
			return -EINVAL;
	}
	*value = n;
	return 0;
}

static unsigned addr_bits(const struct net_addr *addr)
{
	return addr->family == AF_INET ? 32 : addr->family == AF_INET6 ? 128 : 0;
}

int net_addr_parse(struct net_addr *addr, const char *text)
{
	struct net_addr out = {.family = strchr(text, ':') ? AF_INET6 : AF_INET};

	if (inet_pton(out.family, text, out.bytes) != 1)
		return -EINVAL;
	*addr = out;
	return 0;
}

int net_prefix_parse(struct net_prefix *prefix, const char *text)
{
	const char *slash = strchr(text, '/');
	char host[NET_ADDR_STRLEN];
	struct net_prefix out;
	size_t len = slash ? (size_t)(slash - text) : strlen(text);
	uint32_t bits;

	if (len >= sizeof(host))
		return -EINVAL;
	memcpy(host, text, len);
	host[len] = '\0';
	if (net_addr_parse(&out.addr, host))
		return -EINVAL;

	bits = addr_bits(&out.addr);
	if (slash && parse_number(slash + 1, bits, &bits))
		return -EINVAL;
	out.len = (uint8_t)bits;
	*prefix = out;
	return 0;
}

int net_hostport_split(const char *text, char *host, size_t host_size, uint16_t *port)
{
	const char *colon = strrchr(text, ':'), *end = colon;
	uint32_t number;
	size_t len;

	if (!colon || parse_number(colon + 1, UINT16_MAX, &number))
		return -EINVAL;
	if (*text == '[') {
		if (*--end != ']')
			return -EINVAL;
		text++;
	} else if (memchr(text, ':', (size_t)(end - text))) {
		return -EINVAL; /* an IPv6 literal takes brackets: where would its port begin? */
	}

	if (end <= text)
		return -EINVAL;
	len = (size_t)(end - text);
	if (len >= host_size)
		return -EINVAL;
	memcpy(host, text, len);
	host[len] = '\0';
	*port = (uint16_t)number;
	return 0;
}

static bool is_link_local(const struct net_addr *addr) /* fe80::/10 */
{
	return addr->family == AF_INET6 && addr->bytes[0] == 0xfe &&
	       (addr->bytes[1] & 0xc0) == 0x80;
}

/* Splits "%scope" off a link-local literal: an interface by name or by index. */
static int take_scope(char *host, uint32_t *scope)
{
	char *percent = strchr(host, '%');

	*scope = 0;
	if (!percent)
		return 0;
	*percent++ = '\0';
	if (!parse_number(percent, INT32_MAX, scope))
		return *scope ? 0 : -EINVAL;
	*scope = if_nametoindex(percent);
	return *scope ? 0 : -EINVAL;
}

int net_endpoint_parse(struct net_endpoint *ep, const char *text)
{
	char host[NET_ENDPOINT_STRLEN];
	struct net_endpoint out = {0};

	if (net_hostport_split(text, host, sizeof(host), &out.port) ||
		take_scope(host, &out.scope) || net_addr_parse(&out.addr, host))
		return -EINVAL;
	/* Brackets belong to IPv6 and a scope to link-local addresses, neither to the other kinds.
	 */
	if ((out.addr.family == AF_INET6) != (*text == '['))
		return -EINVAL;
	if (out.scope && !is_link_local(&out.addr))
		return -EINVAL;
	*ep = out;
	return 0;
}

const char *net_addr_format(const struct net_addr *addr, char buf[static NET_ADDR_STRLEN])
{
	if (!addr_bits(addr) || !inet_ntop(addr->family, addr->bytes, buf, NET_ADDR_STRLEN))
		buf[0] = '\0';
	return buf;
}

const char *net_prefix_format(const struct net_prefix *prefix, char buf[static NET_PREFIX_STRLEN])
{
	size_t len;

	net_addr_format(&prefix->addr, buf);
	len = strlen(buf);
	if (len)
		snprintf(buf + len, NET_PREFIX_STRLEN - len, "/%u", prefix->len);
	return buf;
}

const char *net_endpoint_format(const struct net_endpoint *ep, char buf[static NET_ENDPOINT_STRLEN])
{
	char host[NET_ADDR_STRLEN], scope[16] = "";

	net_addr_format(&ep->addr, host);
	if (ep->scope)
		snprintf(scope, sizeof(scope), "%%%u", ep->scope);
	if (!*host)
		buf[0] = '\0';
	else if (ep->addr.family == AF_INET6)
		snprintf(buf, NET_ENDPOINT_STRLEN, "[%s%s]:%u", host, scope, ep->port);
	else
		snprintf(buf, NET_ENDPOINT_STRLEN, "%s:%u", host, ep->port);
	return buf;
}

bool net_addr_equal(const struct net_addr *a, const struct net_addr *b)
{
	return a->family == b->family && !memcmp(a->bytes, b->bytes, addr_bits(a) / 8);
}

bool net_endpoint_equal(const struct net_endpoint *a, const struct net_endpoint *b)
{
	return net_addr_equal(&a->addr, &b->addr) && a->port == b->port && a->scope == b->scope;
}

/* Clears the bits from `len` on. */
static void mask_bytes(uint8_t bytes[static 16], unsigned len)
{
	for (unsigned i = 0; i<16; i++, len = len> 8 ? len - 8 : 0)
		bytes[i] &= len >= 8 ? 0xff : (uint8_t)(0xff00 >> len);
}

struct net_prefix net_prefix_masked(const struct net_prefix *prefix)
{
	struct net_prefix out = *prefix;

	mask_bytes(out.addr.bytes, out.len);
	return out;
}

bool net_prefix_equal(const struct net_prefix *a, const struct net_prefix *b)
{
	return a->len == b->len && net_addr_equal(&a->addr, &b->addr);
}

bool net_prefix_contains(const struct net_prefix *prefix, const struct net_addr *addr)
{
	struct net_prefix a = net_prefix_masked(prefix), b = {.addr = *addr, .len = prefix->len};

	b = net_prefix_masked(&b);
	return addr_bits(addr) && net_addr_equal(&a.addr, &b.addr);
}

void net_addr_unmap(struct net_addr *addr)
{
	static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};

	if (addr->family != AF_INET6 || memcmp(addr->bytes, mapped, sizeof(mapped)) != 0)
		return;
	addr->family = AF_INET;
	memmove(addr->bytes, addr->bytes + 12, 4);
	memset(addr->bytes + 4, 0, 12);
}

socklen_t net_endpoint_to_sockaddr(const struct net_endpoint *ep, struct sockaddr_storage *ss)
{
	struct sockaddr_in *sin = (struct sockaddr_in *)ss;
	struct sockaddr_in6 *sin6 = (struct sockaddr_in6 *)ss;

	memset(ss, 0, sizeof(*ss));
	if (ep->addr.family == AF_INET) {
		sin->sin_family = AF_INET;
		sin->sin_port = htons(ep->port);
		memcpy(&sin->sin_addr, ep->addr.bytes, 4);
		return sizeof(*sin);
	}
	if (ep->addr.family == AF_INET6) {
		sin6->sin6_family = AF_INET6;
		sin6->sin6_port = htons(ep->port);
		sin6->sin6_scope_id = ep->scope;
		memcpy(&sin6->sin6_addr, ep->addr.bytes, 16);
		return sizeof(*sin6);
	}
	return 0;
}

int net_endpoint_from_sockaddr(struct net_endpoint *ep, const struct sockaddr *sa)
{
	const struct sockaddr_in *sin = (const struct sockaddr_in *)sa;
	const struct sockaddr_in6 *sin6 = (const struct sockaddr_in6 *)sa;
	struct net_endpoint out = {.addr.family = sa->sa_family};

	if (sa->sa_family == AF_INET) {
		out.port = ntohs(sin->sin_port);
		memcpy(out.addr.bytes, &sin->sin_addr, 4);
	} else if (sa->sa_family == AF_INET6) {
		out.port = ntohs(sin6->sin6_port);
		memcpy(out.addr.bytes, &sin6->sin6_addr, 16);
		if (is_link_local(&out.addr))
			out.scope = sin6->sin6_scope_id;
	} else {
		return -EAFNOSUPPORT;
	}
	*ep = out;
	return 0;
}

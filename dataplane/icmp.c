/* SPDX-License-Identifier: BSD-3-Clause */
/* ICMP (RFC 792, RFC 1812) and ICMPv6 (RFC 4443): errors and echo. Pure functions. */
#include "icmp.h"

#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>

#include "ip_parse.h"

/* Errors are whole within what every host takes: RFC 1812, 4.3.2.3 and RFC 4443, 2.4 (c). */
#define ERROR4_MAX 576
#define ERROR6_MAX 1280
#define HOPS 64
#define TOS_INTERNETWORK_CONTROL 0xc0

enum { ECHO_REPLY4 = 0, ECHO4 = 8, PARAMETER4 = 12, ECHO6 = 128, ECHO_REPLY6 = 129 };

static void be16_put(uint8_t *at, uint32_t value)
{
	at[0] = (uint8_t)(value >> 8);
	at[1] = (uint8_t)value;
}

/* Unreachable, source quench, redirect, time exceeded, parameter problem. */
static bool is_error4(uint8_t type)
{
	return (type >= 3 && type <= 5) || type == 11 || type == PARAMETER4;
}

static bool is_icmp_error(const uint8_t *ip, const struct ip_info *info)
{
	if (info->header_len >= info->total_len)
		return false;
	if (info->family == AF_INET)
		return info->protocol == IPPROTO_ICMP && is_error4(ip[info->header_len]);
	return info->protocol == IPPROTO_ICMPV6 &&
	       (ip[info->header_len] < 128 || ip[info->header_len] == 137);
}

enum icmp_fault icmp_error_allowed(const uint8_t *ip, uint32_t len)
{
	struct ip_info info;

	if (ip_parse(ip, len, false, &info) != IP_SOUND || ip_walk(ip, &info) != IP_SOUND)
		return ICMP_BROKEN;
	if (info.offset || is_icmp_error(ip, &info) ||
		ip_is_multicast(info.family, info.destination) ||
		ip_is_multicast(info.family, info.source) ||
		ip_is_unspecified(info.family, info.source) ||
		ip_is_loopback(info.family, info.source))
		return ICMP_NOT_ABOUT_THIS;
	return ICMP_MADE;
}

static void header4(uint8_t *ip, uint32_t total, const uint8_t *source, const uint8_t *destination)
{
	memset(ip, 0, 20);
	ip[0] = 0x45;
	ip[1] = TOS_INTERNETWORK_CONTROL;
	be16_put(ip + 2, total);
	ip[8] = HOPS;
	ip[9] = IPPROTO_ICMP;
	memcpy(ip + 12, source, 4);
	memcpy(ip + 16, destination, 4);
	be16_put(ip + 10, ip_sum_fold(ip_sum(ip, 20, 0)));
}

static void header6(uint8_t *ip, uint32_t total, const uint8_t *source, const uint8_t *destination)
{
	memset(ip, 0, 40);
	ip[0] = 0x60;
	be16_put(ip + 4, total - 40);
	ip[6] = IPPROTO_ICMPV6;
	ip[7] = HOPS;
	memcpy(ip + 8, source, 16);
	memcpy(ip + 24, destination, 16);
}

static void error4(uint8_t *ip, uint32_t total, const struct icmp_error *error, const uint8_t *to)
{
	uint8_t *icmp = ip + 20;

	header4(ip, total, error->source, to);
	memset(icmp, 0, 8);
	icmp[0] = error->type;
	icmp[1] = error->code;
	be16_put(icmp + 6, error->mtu); /* RFC 1191; zero when there is none to tell */
	be16_put(icmp + 2, ip_sum_fold(ip_sum(icmp, total - 20, 0)));
}

static void error6(uint8_t *ip, uint32_t total, const struct icmp_error *error, const uint8_t *to)
{
	struct ip_info info = {.family = AF_INET6, .source = error->source, .destination = to};
	uint8_t *icmp = ip + 40;

	header6(ip, total, error->source, to);
	memset(icmp, 0, 8);
	icmp[0] = error->type;
	icmp[1] = error->code;
	be16_put(icmp + 4, error->mtu >> 16);
	be16_put(icmp + 6, error->mtu);
	be16_put(icmp + 2, ip_sum_fold(ip_sum(icmp, total - 40,
				   ip_pseudo_sum(&info, IPPROTO_ICMPV6, total - 40))));
}

enum icmp_fault icmp_error_make(struct rte_mbuf *m, const struct icmp_error *error)
{
	const uint8_t *old = rte_pktmbuf_mtod(m, const uint8_t *);
	enum icmp_fault fault = icmp_error_allowed(old, m->data_len);
	bool v4 = m->data_len && old[0] >> 4 == 4;
	uint32_t headers = v4 ? 28 : 48, limit = v4 ? ERROR4_MAX : ERROR6_MAX;
	uint8_t to[16], *ip;

	if (fault != ICMP_MADE)
		return fault;
	memcpy(to, old + (v4 ? 12 : 8), v4 ? 4 : 16);
	ip = (uint8_t *)rte_pktmbuf_prepend(m, (uint16_t)headers);
	if (!ip)
		return ICMP_NO_ROOM;
	if (m->data_len > limit)
		rte_pktmbuf_trim(m, (uint16_t)(m->data_len - limit));
	(v4 ? error4 : error6)(ip, m->data_len, error, to);
	return ICMP_MADE;
}

static bool echo_answer4(uint8_t *ip, const struct ip_info *info)
{
	uint8_t *icmp = ip + info->header_len;
	uint32_t len = info->total_len - info->header_len;

	if (info->protocol != IPPROTO_ICMP || len < 8 || icmp[0] != ECHO4 || icmp[1] != 0 ||
		ip_sum_fold(ip_sum(icmp, len, 0)) != 0)
		return false;
	icmp[0] = ECHO_REPLY4;
	memset(icmp + 2, 0, 2);
	be16_put(icmp + 2, ip_sum_fold(ip_sum(icmp, len, 0)));
	ip[8] = HOPS;
	memset(ip + 10, 0, 2);
	be16_put(ip + 10, ip_sum_fold(ip_sum(ip, info->header_len, 0)));
	return true;
}

static bool echo_answer6(uint8_t *ip, const struct ip_info *info)
{
	uint8_t *icmp = ip + info->header_len;
	uint32_t len = info->total_len - info->header_len;
	uint64_t pseudo = ip_pseudo_sum(info, IPPROTO_ICMPV6, len);

	if (info->protocol != IPPROTO_ICMPV6 || len < 8 || icmp[0] != ECHO6 || icmp[1] != 0 ||
		ip_sum_fold(ip_sum(icmp, len, pseudo)) != 0)
		return false;
	icmp[0] = ECHO_REPLY6;
	memset(icmp + 2, 0, 2);
	be16_put(icmp + 2, ip_sum_fold(ip_sum(icmp, len, pseudo)));
	ip[7] = HOPS;
	return true;
}

bool icmp_echo_answer(struct rte_mbuf *m)
{
	uint8_t *ip = rte_pktmbuf_mtod(m, uint8_t *), *source, swap[16];
	struct ip_info info;
	size_t size;

	if (ip_parse(ip, m->data_len, true, &info) != IP_SOUND)
		return false;
	/* A header with options or extensions gets no answer: none that we would have to copy. */
	if (info.fragment || (info.family == AF_INET && info.header_len != 20))
		return false;
	if (!(info.family == AF_INET ? echo_answer4 : echo_answer6)(ip, &info))
		return false;
	/* Addresses change places: the sums stay. */
	size = info.family == AF_INET ? 4 : 16;
	source = ip + (info.family == AF_INET ? 12 : 8);
	memcpy(swap, source, size);
	memcpy(source, source + size, size);
	memcpy(source + size, swap, size);
	return true;
}

/* SPDX-License-Identifier: BSD-3-Clause */
/* Parsing and building of ARP and neighbour discovery. Pure functions; any thread. */
#include "neigh_packet.h"

#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>

#include "ip_parse.h"

#define ARP_LEN 28
#define ND_LEN 24 /* ICMPv6 header, flags, target */
#define OPTION_SOURCE_MAC 1
#define OPTION_TARGET_MAC 2
#define OPTIONS_MAX 16

enum { ND_SOLICITATION = 135, ND_ADVERTISEMENT = 136 };
enum { NA_ROUTER = 0x80, NA_SOLICITED = 0x40, NA_OVERRIDE = 0x20 };

static const uint8_t zero[16];
static const uint8_t all_nodes[16] = {0xff, 0x02, [15] = 1};

static void be16_put(uint8_t *at, uint32_t value)
{
	at[0] = (uint8_t)(value >> 8);
	at[1] = (uint8_t)value;
}

static bool mac_possible(const uint8_t *mac)
{
	return !(mac[0] & 1) && memcmp(mac, zero, 6) != 0;
}

/* ---- parse --------------------------------------------------------------------------------- */

bool arp_parse(const uint8_t *arp, uint32_t len, struct neigh_packet *out)
{
	static const uint8_t ethernet_ipv4[6] = {0, 1, 8, 0, 6, 4};

	memset(out, 0, sizeof(*out));
	if (len < ARP_LEN || memcmp(arp, ethernet_ipv4, 6) != 0 || arp[6] != 0 ||
		(arp[7] != 1 && arp[7] != 2) || !mac_possible(arp + 8))
		return false;
	if (ip_is_multicast(AF_INET, arp + 14) || ip_is_loopback(AF_INET, arp + 14))
		return false;
	out->op = arp[7] == 1 ? NEIGH_REQUEST : NEIGH_REPLY;
	out->family = AF_INET;
	out->has_mac = true;
	memcpy(out->mac, arp + 8, 6);
	memcpy(out->sender, arp + 14, 4);
	memcpy(out->target, arp + 24, 4);
	/* sender and target the same: an announcement */
	out->solicited = memcmp(arp + 14, arp + 24, 4) != 0;
	out->override = true;
	return true;
}

/* RFC 4861, 4.6: a length of zero makes the whole packet invalid. */
static bool options_parse(const uint8_t *at, uint32_t len, uint8_t wanted, struct neigh_packet *out)
{
	for (unsigned i = 0; len > 0; i++) {
		uint32_t size = len < 2 ? 0 : at[1] * 8u;

		if (size == 0 || size > len || i == OPTIONS_MAX)
			return false;
		if (at[0] == wanted && size == 8 && mac_possible(at + 2)) {
			out->has_mac = true;
			memcpy(out->mac, at + 2, 6);
		}
		at += size;
		len -= size;
	}
	return true;
}

static bool solicitation_parse(
	const struct ip_info *info, const uint8_t *icmp, uint32_t len, struct neigh_packet *out)
{
	out->op = NEIGH_REQUEST;
	memcpy(out->sender, info->source, 16);
	memcpy(out->target, icmp + 8, 16);
	if (!options_parse(icmp + ND_LEN, len - ND_LEN, OPTION_SOURCE_MAC, out))
		return false;
	/* a probe for duplicates has no sender, and goes to a solicited-node address */
	return !ip_is_unspecified(AF_INET6, info->source) ||
	       (!out->has_mac && ip_is_multicast(AF_INET6, info->destination));
}

static bool advertisement_parse(
	const struct ip_info *info, const uint8_t *icmp, uint32_t len, struct neigh_packet *out)
{
	out->op = NEIGH_REPLY;
	memcpy(out->sender, icmp + 8, 16);
	out->solicited = icmp[4] & NA_SOLICITED;
	out->override = icmp[4] & NA_OVERRIDE;
	if (out->solicited && ip_is_multicast(AF_INET6, info->destination))
		return false;
	return options_parse(icmp + ND_LEN, len - ND_LEN, OPTION_TARGET_MAC, out);
}

bool nd_parse(const uint8_t *ip, uint32_t len, struct neigh_packet *out)
{
	struct ip_info info;
	const uint8_t *icmp;
	uint32_t size;

	memset(out, 0, sizeof(*out));
	out->family = AF_INET6;
	if (ip_parse(ip, len, false, &info) != IP_SOUND || info.family != AF_INET6 ||
		ip_walk(ip, &info) != IP_SOUND || info.fragment)
		return false;
	icmp = ip + info.header_len;
	size = info.total_len - info.header_len;
	if (info.protocol != IPPROTO_ICMPV6 || size < ND_LEN || info.ttl != 255 || icmp[1] != 0 ||
		ip_is_multicast(AF_INET6, icmp + 8))
		return false;
	if (ip_sum_fold(ip_sum(icmp, size, ip_pseudo_sum(&info, IPPROTO_ICMPV6, size))) != 0)
		return false;
	if (icmp[0] == ND_SOLICITATION)
		return solicitation_parse(&info, icmp, size, out);
	return icmp[0] == ND_ADVERTISEMENT && advertisement_parse(&info, icmp, size, out);
}

/* ---- build --------------------------------------------------------------------------------- */

static uint8_t *ethernet_build(
	const struct neigh_frame *f, const uint8_t *to, uint16_t type, uint8_t *out)
{
	memcpy(out, to, 6);
	memcpy(out + 6, f->our_mac, 6);
	out += 12;
	if (f->vlan) {
		be16_put(out, 0x8100);
		be16_put(out + 2, f->vlan);
		out += 4;
	}
	be16_put(out, type);
	return out + 2;
}

static size_t arp_build(const struct neigh_frame *f, uint8_t *out)
{
	static const uint8_t broadcast[6] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff};
	static const uint8_t head[7] = {0, 1, 8, 0, 6, 4, 0};
	bool to_all = memcmp(f->target_mac, zero, 6) == 0;
	bool announce = memcmp(f->target, zero, 4) == 0;
	uint8_t *arp = ethernet_build(f, to_all ? broadcast : f->target_mac, 0x0806, out);

	memcpy(arp, head, sizeof(head));
	arp[7] = f->op == NEIGH_REQUEST ? 1 : 2;
	memcpy(arp + 8, f->our_mac, 6);
	memcpy(arp + 14, f->our_addr, 4);
	memcpy(arp + 18, f->target_mac, 6);
	memcpy(arp + 24, announce ? f->our_addr : f->target, 4);
	return (size_t)(arp + ARP_LEN - out);
}

/* Where a request goes that nobody is known for: the solicited-node address (RFC 4291, 2.7.1). */
static void solicited_node(const uint8_t *target, uint8_t addr[static 16])
{
	static const uint8_t head[13] = {0xff, 0x02, [11] = 1, [12] = 0xff};

	memcpy(addr, head, 13);
	memcpy(addr + 13, target + 13, 3);
}

static void multicast_mac(const uint8_t *addr, uint8_t mac[static 6])
{
	mac[0] = mac[1] = 0x33;
	memcpy(mac + 2, addr + 12, 4);
}

static void nd_message(const struct neigh_frame *f, bool to_all, uint8_t *icmp)
{
	bool request = f->op == NEIGH_REQUEST;

	memset(icmp, 0, ND_LEN + 8);
	icmp[0] = request ? ND_SOLICITATION : ND_ADVERTISEMENT;
	if (!request)
		icmp[4] = NA_ROUTER | NA_OVERRIDE | (to_all ? 0 : NA_SOLICITED);
	memcpy(icmp + 8, request ? f->target : f->our_addr, 16);
	icmp[ND_LEN] = request ? OPTION_SOURCE_MAC : OPTION_TARGET_MAC;
	icmp[ND_LEN + 1] = 1;
	memcpy(icmp + ND_LEN + 2, f->our_mac, 6);
}

static size_t nd_build(const struct neigh_frame *f, uint8_t *out)
{
	bool mac_known = memcmp(f->target_mac, zero, 6) != 0;
	bool to_all = memcmp(f->target, zero, 16) == 0;
	uint8_t to[16], mac[6], *ip, *icmp;
	struct ip_info info = {.family = AF_INET6};

	if (to_all)
		memcpy(to, all_nodes, 16);
	else if (f->op == NEIGH_REQUEST && !mac_known)
		solicited_node(f->target, to);
	else
		memcpy(to, f->target, 16);
	memcpy(mac, f->target_mac, 6);
	if (to_all || !mac_known)
		multicast_mac(to, mac);
	ip = ethernet_build(f, mac, 0x86dd, out);
	icmp = ip + 40;
	nd_message(f, to_all, icmp);
	memset(ip, 0, 40);
	ip[0] = 0x60;
	be16_put(ip + 4, ND_LEN + 8);
	ip[6] = IPPROTO_ICMPV6;
	ip[7] = 255;
	memcpy(ip + 8, f->our_addr, 16);
	memcpy(ip + 24, to, 16);
	info.source = ip + 8;
	info.destination = ip + 24;
	be16_put(icmp + 2, ip_sum_fold(ip_sum(icmp, ND_LEN + 8,
				   ip_pseudo_sum(&info, IPPROTO_ICMPV6, ND_LEN + 8))));
	return (size_t)(icmp + ND_LEN + 8 - out);
}

size_t neigh_frame_build(const struct neigh_frame *f, uint8_t out[static NEIGH_FRAME_MAX])
{
	return f->family == AF_INET ? arp_build(f, out) : nd_build(f, out);
}

/* SPDX-License-Identifier: BSD-3-Clause */
/* Bounded parsing of IP headers (RFC 791, RFC 8200). Pure functions; any thread. */
#include "ip_parse.h"

#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>

static uint16_t be16_at(const uint8_t *p)
{
	return (uint16_t)(p[0] << 8 | p[1]);
}

uint64_t ip_sum(const uint8_t *data, uint32_t len, uint64_t sum)
{
	for (; len >= 4; data += 4, len -= 4)
		sum += (uint32_t)data[0] << 24 | (uint32_t)data[1] << 16 | (uint32_t)data[2] << 8 |
		       data[3];
	if (len >= 2) {
		sum += be16_at(data);
		data += 2;
		len -= 2;
	}
	return len ? sum + ((uint32_t)data[0] << 8) : sum;
}

uint16_t ip_sum_fold(uint64_t sum)
{
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)~sum;
}

uint64_t ip_pseudo_sum(const struct ip_info *info, uint8_t protocol, uint32_t len)
{
	uint32_t size = info->family == AF_INET ? 4 : 16;

	return ip_sum(
		info->source, size, ip_sum(info->destination, size, (uint64_t)protocol + len));
}

static enum ip_fault parse4(const uint8_t *data, uint32_t len, bool checksum, struct ip_info *info)
{
	uint16_t fragment;

	if (len < 20)
		return IP_FAULT_TRUNCATED;
	info->family = AF_INET;
	info->header_len = (data[0] & 0x0f) * 4;
	info->total_len = be16_at(data + 2);
	if (info->header_len < 20 || info->total_len < info->header_len)
		return IP_FAULT_MALFORMED;
	if (info->total_len > len)
		return IP_FAULT_TRUNCATED;
	if (checksum && ip_sum_fold(ip_sum(data, info->header_len, 0)) != 0)
		return IP_FAULT_CHECKSUM;
	fragment = be16_at(data + 6);
	info->tos = data[1];
	info->ttl = data[8];
	info->protocol = data[9];
	info->more = fragment & 0x2000;
	info->offset = (fragment & 0x1fff) * 8;
	info->fragment = info->more || info->offset;
	info->fragment_id = be16_at(data + 4);
	info->source = data + 12;
	info->destination = data + 16;
	return IP_SOUND;
}

static enum ip_fault parse6(const uint8_t *data, uint32_t len, struct ip_info *info)
{
	if (len < 40)
		return IP_FAULT_TRUNCATED;
	info->family = AF_INET6;
	info->header_len = 40;
	info->total_len = 40u + be16_at(data + 4);
	if (info->total_len > len)
		return IP_FAULT_TRUNCATED;
	info->tos = (uint8_t)(data[0] << 4 | data[1] >> 4);
	info->ttl = data[7];
	info->protocol = data[6];
	info->source = data + 8;
	info->destination = data + 24;
	return IP_SOUND;
}

enum ip_fault ip_parse(const uint8_t *data, uint32_t len, bool checksum, struct ip_info *info)
{
	memset(info, 0, sizeof(*info));
	if (len < 1)
		return IP_FAULT_TRUNCATED;
	switch (data[0] >> 4) {
	case 4:
		return parse4(data, len, checksum, info);
	case 6:
		return parse6(data, len, info);
	default:
		return IP_FAULT_MALFORMED;
	}
}

static bool is_extension(uint8_t protocol)
{
	return protocol == IPPROTO_HOPOPTS || protocol == IPPROTO_ROUTING ||
	       protocol == IPPROTO_FRAGMENT || protocol == IPPROTO_DSTOPTS ||
	       protocol == IPPROTO_AH;
}

static uint32_t extension_len(uint8_t protocol, const uint8_t *header)
{
	if (protocol == IPPROTO_FRAGMENT)
		return 8;
	return protocol == IPPROTO_AH ? (header[1] + 2u) * 4 : (header[1] + 1u) * 8;
}

static void fragment_note(const uint8_t *data, struct ip_info *info, uint32_t at, uint32_t next_at)
{
	uint16_t field = be16_at(data + at + 2);

	info->fragment = true;
	info->more = field & 1;
	info->offset = field & 0xfff8;
	memcpy(&info->fragment_id, data + at + 4, 4);
	info->fragment_at = (uint16_t)at;
	info->next_at = (uint16_t)next_at;
}

enum ip_fault ip_walk(const uint8_t *data, struct ip_info *info)
{
	uint32_t at = info->header_len, next_at = 6;

	if (info->family == AF_INET)
		return IP_SOUND;
	for (unsigned i = 0; is_extension(info->protocol); i++) {
		uint32_t len;

		if (i == IP_EXTENSIONS_MAX)
			return IP_FAULT_EXTENSIONS;
		if (at + 8 > info->total_len)
			return IP_FAULT_TRUNCATED;
		len = extension_len(info->protocol, data + at);
		if (at + len > info->total_len)
			return IP_FAULT_TRUNCATED;
		if (info->protocol == IPPROTO_FRAGMENT && info->fragment)
			return IP_FAULT_MALFORMED; /* fragments of fragments are nobody's */
		if (info->protocol == IPPROTO_FRAGMENT)
			fragment_note(data, info, at, next_at);
		info->protocol = data[at];
		info->header_len = (uint16_t)(at + len);
		if (info->offset)
			return IP_SOUND;
		next_at = at;
		at += len;
	}
	return IP_SOUND;
}

bool ip_is_multicast(int family, const uint8_t *addr)
{
	static const uint8_t broadcast[4] = {255, 255, 255, 255};

	if (family == AF_INET6)
		return addr[0] == 0xff;
	return (addr[0] & 0xf0) == 0xe0 || memcmp(addr, broadcast, 4) == 0;
}

bool ip_is_unspecified(int family, const uint8_t *addr)
{
	static const uint8_t zero[16];

	return memcmp(addr, zero, family == AF_INET ? 4 : 16) == 0;
}

bool ip_is_loopback(int family, const uint8_t *addr)
{
	static const uint8_t loopback[16] = {[15] = 1};

	return family == AF_INET ? addr[0] == 127 : memcmp(addr, loopback, 16) == 0;
}

bool ip_is_link_local(int family, const uint8_t *addr)
{
	return family == AF_INET6 && addr[0] == 0xfe && (addr[1] & 0xc0) == 0x80;
}

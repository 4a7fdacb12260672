/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * TCP over a tunnel whose MTU neither end knows: path MTU discovery often fails, so the segment
 * size that both ends offer in their SYN is lowered on the way. Pure functions.
 */
#include "mss.h"

#include <netinet/in.h>
#include <sys/socket.h>

#include "ip_parse.h"

#define TCP_HEADER 20
#define TCP_SYN 0x02

enum { OPTION_END = 0, OPTION_NOP = 1, OPTION_MSS = 2 };

/* Place of the option's value in the TCP header of `len` bytes, 0: none. */
static uint32_t mss_find(const uint8_t *tcp, uint32_t len)
{
	for (uint32_t at = TCP_HEADER; at < len && tcp[at] != OPTION_END;) {
		if (tcp[at] == OPTION_NOP) {
			at++;
			continue;
		}
		if (at + 2 > len || tcp[at + 1] < 2 || at + tcp[at + 1] > len)
			return 0;
		if (tcp[at] == OPTION_MSS)
			return tcp[at + 1] == 4 ? at + 2 : 0;
		at += tcp[at + 1];
	}
	return 0;
}

/* A byte at an odd place counts as the low half of its 16-bit word. */
static uint16_t sum_word(const uint8_t *bytes, bool odd)
{
	return odd ? (uint16_t)(bytes[1] << 8 | bytes[0]) : (uint16_t)(bytes[0] << 8 | bytes[1]);
}

/* RFC 1624: HC' = ~(~HC + ~m + m') */
static void mss_put(uint8_t *tcp, uint32_t at, uint16_t mss)
{
	uint16_t before = sum_word(tcp + at, at & 1), after;
	uint16_t checksum = (uint16_t)(tcp[16] << 8 | tcp[17]);

	tcp[at] = (uint8_t)(mss >> 8);
	tcp[at + 1] = (uint8_t)mss;
	after = sum_word(tcp + at, at & 1);
	checksum = ip_sum_fold((uint64_t)(uint16_t)~checksum + (uint16_t)~before + after);
	tcp[16] = (uint8_t)(checksum >> 8);
	tcp[17] = (uint8_t)checksum;
}

bool mss_clamp_bytes(uint8_t *ip, uint32_t len, uint16_t mtu)
{
	uint32_t headers, header, at;
	struct ip_info info;
	uint8_t *tcp;

	if (ip_parse(ip, len, false, &info) != IP_SOUND || ip_walk(ip, &info) != IP_SOUND)
		return false;
	headers = TCP_HEADER + (info.family == AF_INET ? 20 : 40);
	if (info.protocol != IPPROTO_TCP || info.offset || mtu <= headers ||
		info.header_len + (uint32_t)TCP_HEADER > info.total_len)
		return false;
	tcp = ip + info.header_len;
	header = (tcp[12] >> 4) * 4;
	if (!(tcp[13] & TCP_SYN) || header < TCP_HEADER ||
		info.header_len + header > info.total_len)
		return false;
	at = mss_find(tcp, header);
	if (!at || (tcp[at] << 8 | tcp[at + 1]) <= (int)(mtu - headers))
		return false;
	mss_put(tcp, at, (uint16_t)(mtu - headers));
	return true;
}

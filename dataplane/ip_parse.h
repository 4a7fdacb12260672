/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

/* IP headers of bytes that nobody has checked yet. Pure functions; any thread. */
#include <stdbool.h>
#include <stdint.h>

/* Extension headers looked through before a packet is given up on. */
#define IP_EXTENSIONS_MAX 8

enum ip_fault {
	IP_SOUND,
	IP_FAULT_TRUNCATED,  /* shorter than its header says, or than a header */
	IP_FAULT_MALFORMED,  /* version, header length or an extension header is impossible */
	IP_FAULT_CHECKSUM,   /* of the IPv4 header */
	IP_FAULT_EXTENSIONS, /* longer chain than anybody needs */
};

struct ip_info {
	uint8_t family; /* AF_INET, AF_INET6 */
	uint8_t tos;
	uint8_t ttl;
	uint8_t protocol;     /* IPv6: after ip_walk, that behind the extension headers */
	uint16_t header_len;  /* IPv6: after ip_walk, with the extension headers */
	uint32_t total_len;   /* of the packet: what lies behind it is padding */
	bool fragment, more;  /* IPv6: after ip_walk */
	uint16_t offset;      /* of the fragment's payload, bytes */
	uint32_t fragment_id; /* as on the wire */
	uint16_t fragment_at; /* IPv6: where its fragment header is, with */
	uint16_t next_at;     /* the place of the byte that announces it */
	const uint8_t *source, *destination;
};

/* The fixed header (IPv4: with options). `checksum`: check IPv4's. */
enum ip_fault ip_parse(const uint8_t *data, uint32_t len, bool checksum, struct ip_info *info);
/* After ip_parse: goes through IPv6's extension headers up to a protocol, or up to a fragment
 * header whose packet is not the first fragment. Nothing to do for IPv4. */
enum ip_fault ip_walk(const uint8_t *data, struct ip_info *info);

/* Ones' complement sum of bytes as big-endian words, to go on with or to fold. */
uint64_t ip_sum(const uint8_t *data, uint32_t len, uint64_t sum);
/* Folded and inverted: what a checksum field holds, as a number in host order. */
uint16_t ip_sum_fold(uint64_t sum);
/* Sum of the pseudo header of `len` bytes of `protocol`. */
uint64_t ip_pseudo_sum(const struct ip_info *info, uint8_t protocol, uint32_t len);

bool ip_is_multicast(int family, const uint8_t *addr); /* IPv4: and the limited broadcast */
bool ip_is_unspecified(int family, const uint8_t *addr);
bool ip_is_loopback(int family, const uint8_t *addr);
bool ip_is_link_local(int family, const uint8_t *addr); /* IPv6; IPv4 has no scopes here */

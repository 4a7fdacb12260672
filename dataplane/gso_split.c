/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Cutting a super-packet that the kernel handed over. Its payload is already where each segment's
 * payload belongs, so cutting is writing headers. What all segments share is summed once; a segment
 * adds its own length, id, sequence, flags and payload. Pure; runs on workers.
 */
#include "gso.h"

#include <netinet/in.h>

#include "checksum.h"
#include "gso_wire.h"

#define EXTENSION_HEADERS_MAX 8

static uint32_t mix(uint64_t h, uint32_t v)
{
	h = (h ^ v) * 0x9e3779b97f4a7c15;
	return h >> 32;
}

static uint32_t hash_bytes(const uint8_t *p, size_t n)
{
	uint32_t h = 0, word;

	for (; n >= 4; n -= 4, p += 4) {
		memcpy(&word, p, 4);
		h = mix(h + 0x51ed27u, word);
	}
	return h;
}

uint32_t flow_hash(const uint8_t *p, size_t len)
{
	uint32_t h;
	size_t l4;
	uint8_t proto;
	bool fragment = false;

	if (len >= 20 && p[0] >> 4 == 4) {
		h = hash_bytes(p + 12, 4) + hash_bytes(p + 16, 4);
		l4 = (p[0] & 15) * 4;
		proto = p[IP4_PROTO];
		fragment = get16(p + IP4_FRAGMENT) & 0x3fff;
	} else if (len >= 40 && p[0] >> 4 == 6) {
		h = hash_bytes(p + 8, 16) + hash_bytes(p + 24, 16);
		l4 = 40;
		proto = p[IP6_NEXT];
	} else {
		return 0;
	}
	if (!fragment && (proto == IPPROTO_TCP || proto == IPPROTO_UDP) && l4 + 4 <= len)
		h += (uint32_t)(get16(p + l4) + get16(p + l4 + 2)) * 0x85ebca6bu;
	return mix(h, proto);
}

static bool parse_ip4(struct gso_super *s, const uint8_t *p, size_t n)
{
	size_t ihl = (p[0] & 15) * 4;

	if (ihl < IP4_HEADER_LEN || n < ihl || get16(p + IP4_FRAGMENT) & 0x3fff)
		return false;
	s->v6 = false;
	s->l4_offset = ihl;
	s->proto = p[IP4_PROTO];
	s->id = get16(p + IP4_ID);
	return true;
}

static bool parse_ip6(struct gso_super *s, const uint8_t *p, size_t n)
{
	size_t at = IP6_HEADER_LEN;
	uint8_t proto;

	if (n < at)
		return false;
	proto = p[IP6_NEXT];
	for (unsigned i = 0; i < EXTENSION_HEADERS_MAX; i++) {
		if (proto != IPPROTO_HOPOPTS && proto != IPPROTO_ROUTING &&
			proto != IPPROTO_DSTOPTS)
			break;
		if (at + 8 > n)
			return false;
		proto = p[at];
		at += 8 + (size_t)p[at + 1] * 8;
	}
	if (at > n)
		return false;
	s->v6 = true;
	s->l4_offset = at;
	s->proto = proto;
	return true;
}

static bool parse_l4(struct gso_super *s, const uint8_t *p, size_t n)
{
	const uint8_t *l4 = p + s->l4_offset;
	size_t len;

	n -= s->l4_offset;
	if (s->proto == IPPROTO_UDP) {
		len = UDP_HEADER_LEN;
	} else {
		if (n < TCP_HEADER_LEN)
			return false;
		len = (l4[TCP_OFFSET] >> 4) * 4;
		if (len < TCP_HEADER_LEN)
			return false;
		s->seq = get32(l4 + TCP_SEQ);
		s->tcp_flags = l4[TCP_FLAGS];
	}
	s->header_len = s->l4_offset + len;
	return len <= n && s->header_len <= GSO_HEADER_MAX;
}

static bool type_matches(const struct gso_super *s, uint8_t gso_type)
{
	switch (gso_type & ~VIRTIO_NET_HDR_GSO_ECN) {
	case VIRTIO_NET_HDR_GSO_TCPV4:
		return s->proto == IPPROTO_TCP && !s->v6;
	case VIRTIO_NET_HDR_GSO_TCPV6:
		return s->proto == IPPROTO_TCP && s->v6;
	case VIRTIO_NET_HDR_GSO_UDP_L4:
		return s->proto == IPPROTO_UDP;
	default:
		return false;
	}
}

/* The copy of the header has zeros wherever segments differ, so that its sums are the shared part.
 */
static void keep_header(struct gso_super *s, const uint8_t *p)
{
	uint8_t *h = s->header, *l4 = h + s->l4_offset;

	memcpy(h, p, s->header_len);
	if (s->v6) {
		put16(h + IP6_LEN, 0);
	} else {
		put16(h + IP4_LEN, 0);
		put16(h + IP4_ID, 0);
		put16(h + IP4_CHECK, 0);
	}
	if (s->proto == IPPROTO_UDP) {
		put16(l4 + UDP_LEN, 0);
		put16(l4 + UDP_CHECK, 0);
	} else {
		put32(l4 + TCP_SEQ, 0);
		l4[TCP_FLAGS] = 0;
		put16(l4 + TCP_CHECK, 0);
	}
	s->ip_sum = s->v6 ? 0 : checksum_add(0, h, s->l4_offset);
	s->l4_sum = checksum_pseudo(h, s->v6, s->proto);
	s->l4_sum = checksum_add(s->l4_sum, l4, s->header_len - s->l4_offset);
}

bool gso_super_parse(struct gso_super *s, const struct virtio_net_hdr_v1 *vh, const uint8_t *packet,
	size_t contiguous, size_t total)
{
	size_t n = contiguous < total ? contiguous : total;

	if (n < IP4_HEADER_LEN || !vh->gso_size)
		return false;
	if (packet[0] >> 4 == 4 ? !parse_ip4(s, packet, n)
				: packet[0] >> 4 != 6 || !parse_ip6(s, packet, n))
		return false;
	if (s->proto != IPPROTO_TCP && s->proto != IPPROTO_UDP)
		return false;
	if (!parse_l4(s, packet, n) || !type_matches(s, vh->gso_type))
		return false;
	s->size = vh->gso_size;
	keep_header(s, packet);
	return true;
}

static void finish_tcp(
	const struct gso_super *s, size_t index, bool last, uint8_t *l4, uint64_t sum)
{
	uint32_t seq = s->seq + (uint32_t)(index * s->size);
	uint8_t flags = s->tcp_flags;

	if (!last)
		flags &= ~(TCP_FIN | TCP_PSH);
	if (index)
		flags &= ~TCP_CWR;
	put32(l4 + TCP_SEQ, seq);
	l4[TCP_FLAGS] = flags;
	sum = checksum_add16(sum, seq >> 16);
	sum = checksum_add16(sum, seq & 0xffff);
	sum = checksum_add16(sum, flags);
	put_sum(l4 + TCP_CHECK, checksum_finish(sum));
}

static void finish_udp(uint8_t *l4, uint16_t l4_len, uint64_t sum)
{
	put16(l4 + UDP_LEN, l4_len);
	sum = checksum_add16(sum, l4_len);
	put_sum(l4 + UDP_CHECK, checksum_finish_udp(sum));
}

void gso_segment_finish(
	const struct gso_super *s, size_t index, bool last, uint8_t *segment, size_t payload_len)
{
	uint8_t *l4 = segment + s->l4_offset;
	uint16_t l4_len = s->header_len - s->l4_offset + payload_len;
	uint16_t id = s->id + index;
	uint64_t sum = checksum_add(s->l4_sum, segment + s->header_len, payload_len);

	memcpy(segment, s->header, s->header_len);
	sum = checksum_add16(sum, l4_len); /* of the pseudo header */
	if (s->proto == IPPROTO_UDP)
		finish_udp(l4, l4_len, sum);
	else
		finish_tcp(s, index, last, l4, sum);
	if (s->v6) {
		put16(segment + IP6_LEN, s->l4_offset - IP6_HEADER_LEN + l4_len);
		return;
	}
	put16(segment + IP4_LEN, s->l4_offset + l4_len);
	put16(segment + IP4_ID, id);
	sum = checksum_add16(checksum_add16(s->ip_sum, s->l4_offset + l4_len), id);
	put_sum(segment + IP4_CHECK, checksum_finish(sum));
}

bool gso_plain_finish(const struct virtio_net_hdr_v1 *vh, uint8_t *packet, size_t len)
{
	size_t start = vh->csum_start, field = start + vh->csum_offset;
	uint16_t sum;

	if (!(vh->flags & VIRTIO_NET_HDR_F_NEEDS_CSUM))
		return true;
	if (field + 2 > len)
		return false;
	/* The field holds the pseudo header's sum; zero would mean "no checksum" in UDP, and is the
	 * same number in all others. */
	sum = checksum_finish_udp(checksum_add(0, packet + start, len - start));
	memcpy(packet + field, &sum, 2);
	return true;
}

/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

/*
 * TCP and UDP packets made field by field, with checksums summed the slow and obvious way: what the
 * offload code is measured against.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <netinet/in.h>

struct model_packet {
	bool v6, udp;
	uint8_t tos, ttl, flags; /* flags: TCP's */
	bool dont_fragment;
	uint8_t addresses[32]; /* source and destination, of their family's length each */
	uint16_t sport, dport, id, window, urgent;
	uint32_t seq, ack, flow_label;
	uint8_t options[40]; /* TCP's */
	uint8_t n_options;   /* multiple of 4 */
	const uint8_t *payload;
	size_t payload_len;
};

static inline void model_put16(uint8_t *p, unsigned v)
{
	p[0] = (uint8_t)(v >> 8);
	p[1] = (uint8_t)v;
}

static inline void model_put32(uint8_t *p, uint32_t v)
{
	model_put16(p, v >> 16);
	model_put16(p + 2, v & 0xffff);
}

/* RFC 1071, one pair of bytes after the other. */
static inline uint16_t model_sum(uint32_t sum, const uint8_t *p, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		sum += i % 2 ? p[i] : (uint32_t)p[i] << 8;
		sum = (sum & 0xffff) + (sum >> 16);
	}
	return (uint16_t)sum;
}

static inline size_t model_l3_len(const struct model_packet *m)
{
	return m->v6 ? 40 : 20;
}

static inline size_t model_header_len(const struct model_packet *m)
{
	return model_l3_len(m) + (m->udp ? 8 : 20 + m->n_options);
}

/* The sum over pseudo header, header and payload of a packet that lies at p. */
static inline uint16_t model_l4_sum(const uint8_t *p, size_t len)
{
	bool v6 = p[0] >> 4 == 6;
	size_t l3 = v6 ? 40 : 20;
	uint16_t sum = v6 ? model_sum(0, p + 8, 32) : model_sum(0, p + 12, 8);
	uint8_t rest[4] = {0, v6 ? p[6] : p[9], (uint8_t)((len - l3) >> 8), (uint8_t)(len - l3)};

	return model_sum(model_sum(sum, rest, 4), p + l3, len - l3);
}

static inline void model_l4(const struct model_packet *m, uint8_t *l4)
{
	model_put16(l4, m->sport);
	model_put16(l4 + 2, m->dport);
	if (m->udp) {
		model_put16(l4 + 4, 8 + (unsigned)m->payload_len);
		model_put16(l4 + 6, 0);
		return;
	}
	model_put32(l4 + 4, m->seq);
	model_put32(l4 + 8, m->ack);
	l4[12] = (uint8_t)((20 + m->n_options) / 4 << 4);
	l4[13] = m->flags;
	model_put16(l4 + 14, m->window);
	model_put16(l4 + 16, 0);
	model_put16(l4 + 18, m->urgent);
	memcpy(l4 + 20, m->options, m->n_options);
}

/* Writes the checksum of TCP or UDP anew. */
static inline void model_seal(uint8_t *p, size_t len)
{
	bool v6 = p[0] >> 4 == 6, udp = (v6 ? p[6] : p[9]) == IPPROTO_UDP;
	uint8_t *field = p + (v6 ? 40 : 20) + (udp ? 6 : 16);
	uint16_t sum;

	model_put16(field, 0);
	sum = (uint16_t)~model_l4_sum(p, len);
	model_put16(field, udp && !sum ? 0xffff : sum);
}

/* Writes the packet and returns its length. */
static inline size_t model_write(const struct model_packet *m, uint8_t *p)
{
	size_t l3 = model_l3_len(m), len = model_header_len(m) + m->payload_len;
	uint8_t *l4 = p + l3;

	memset(p, 0, l3);
	if (m->v6) {
		model_put32(p, 6u << 28 | (uint32_t)m->tos << 20 | (m->flow_label & 0xfffff));
		model_put16(p + 4, (unsigned)(len - 40));
		p[6] = m->udp ? IPPROTO_UDP : IPPROTO_TCP;
		p[7] = m->ttl;
		memcpy(p + 8, m->addresses, 32);
	} else {
		p[0] = 0x45;
		p[1] = m->tos;
		model_put16(p + 2, (unsigned)len);
		model_put16(p + 4, m->id);
		model_put16(p + 6, m->dont_fragment ? 0x4000 : 0);
		p[8] = m->ttl;
		p[9] = m->udp ? IPPROTO_UDP : IPPROTO_TCP;
		memcpy(p + 12, m->addresses, 8);
		model_put16(p + 10, (uint16_t)~model_sum(0, p, 20));
	}
	model_l4(m, l4);
	memcpy(p + len - m->payload_len, m->payload, m->payload_len);
	model_seal(p, len);
	return len;
}

/* What a kernel hands over uncut: the pseudo header's sum instead of the checksum. */
static inline void model_make_partial(uint8_t *p, size_t len)
{
	bool v6 = p[0] >> 4 == 6;
	size_t l3 = v6 ? 40 : 20;
	uint8_t proto = v6 ? p[6] : p[9];
	uint16_t sum = v6 ? model_sum(0, p + 8, 32) : model_sum(0, p + 12, 8);
	uint8_t rest[4] = {0, proto, (uint8_t)((len - l3) >> 8), (uint8_t)(len - l3)};

	model_put16(p + l3 + (proto == IPPROTO_UDP ? 6 : 16), model_sum(sum, rest, 4));
}

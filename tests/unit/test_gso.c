/* SPDX-License-Identifier: BSD-3-Clause */
/* Cutting super-packets, against packets made field by field: what is cut must be what a sender of
 * that size would have sent. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "gso_model.h"

/* ---- checksum ------------------------------------------------------------------------------- */

static void sums_equal_the_slow_one(void **state)
{
	for (size_t len = 0; len < 300; len++)
		for (size_t at = 0; at < 5; at++)
			assert_int_equal(ntohs(checksum_fold(checksum_add(0, payload + at, len))),
				model_sum(0, payload + at, len));
	for (unsigned i = 0; i < 200; i++) {
		size_t len = random_below(65000), at = random_below(500);

		assert_int_equal(ntohs(checksum_fold(checksum_add(0, payload + at, len))),
			model_sum(0, payload + at, len));
	}
}

static void sums_survive_all_ones(void **state)
{
	static uint8_t ones[65536];

	memset(ones, 0xff, sizeof(ones));
	assert_int_equal(checksum_fold(checksum_add(0, ones, sizeof(ones))), 0xffff);
	assert_int_equal(checksum_finish_udp(checksum_add(0, ones, sizeof(ones))), 0xffff);
	assert_int_equal(checksum_finish(checksum_add(0, ones, sizeof(ones))), 0);
}

/* ---- cutting -------------------------------------------------------------------------------- */

/* A super-packet as the kernel hands it over. */
static size_t super_write(
	const struct model_packet *m, uint16_t size, uint8_t *p, struct virtio_net_hdr_v1 *vh)
{
	size_t len = model_write(m, p);

	model_make_partial(p, len);
	*vh = (struct virtio_net_hdr_v1){
		.flags = VIRTIO_NET_HDR_F_NEEDS_CSUM,
		.gso_type = m->udp  ? VIRTIO_NET_HDR_GSO_UDP_L4
			    : m->v6 ? VIRTIO_NET_HDR_GSO_TCPV6
				    : VIRTIO_NET_HDR_GSO_TCPV4,
		.hdr_len = (uint16_t)model_header_len(m),
		.gso_size = size,
		.csum_start = (uint16_t)model_l3_len(m),
		.csum_offset = m->udp ? 6 : 16,
	};
	return len;
}

/* What segment i of the packet must look like, made without looking at the packet. */
static size_t segment_model(const struct model_packet *m, uint16_t size, size_t i, uint8_t *p)
{
	struct model_packet s = *m;
	bool last = (i + 1) * size >= m->payload_len;

	s.payload += i * size;
	s.payload_len = last ? m->payload_len - i * size : size;
	s.seq += (uint32_t)(i * size);
	s.id += (uint16_t)i;
	if (!last)
		s.flags &= (uint8_t) ~(FIN | PSH);
	if (i)
		s.flags &= (uint8_t)~CWR;
	return model_write(&s, p);
}

static void check_cut(const struct model_packet *m, uint16_t size)
{
	static uint8_t super[70000], want[70000], got[70000];
	struct virtio_net_hdr_v1 vh;
	size_t total = super_write(m, size, super, &vh), n, header_len;
	struct gso_super s;

	assert_true(gso_super_parse(&s, &vh, super, GSO_HEADER_MAX, total));
	header_len = s.header_len;
	assert_int_equal(header_len, model_header_len(m));
	n = gso_super_segments(&s, total);
	assert_int_equal(n, m->payload_len <= size ? 1 : (m->payload_len + size - 1) / size);
	for (size_t i = 0; i < n; i++) {
		size_t len = i == n - 1 ? m->payload_len - i * size : size;

		memset(got, 0xa5, header_len);
		memcpy(got + header_len, super + header_len + i * size, len);
		gso_segment_finish(&s, i, i == n - 1, got, len);
		assert_int_equal(segment_model(m, size, i, want), header_len + len);
		assert_memory_equal(got, want, header_len + len);
	}
}

static void cut_is_what_a_sender_would_send(void **state)
{
	static const uint8_t flags[] = {
		ACK, ACK | PSH, ACK | PSH | FIN, ACK | CWR, ACK | ECE | CWR};

	for (unsigned i = 0; i < 400; i++) {
		struct model_packet m = model_random(i & 1, i & 2);
		uint16_t size = (uint16_t)(1 + random_below(i % 16 ? 1448 : 40));

		m.flags = flags[random_below(sizeof(flags))];
		m.payload_len = random_below(i % 3 ? 3000 : 65000);
		if (model_header_len(&m) + m.payload_len > 65535)
			m.payload_len = 65535 - model_header_len(&m);
		check_cut(&m, size);
	}
}

/* A sum of zero is written as all ones in UDP, where zero means "none". */
static void cut_datagram_is_never_without_checksum(void **state)
{
	struct model_packet m = model_random(false, true);
	uint8_t data[100] = {0}, p[200];

	m.payload = data;
	m.payload_len = sizeof(data);
	model_write(&m, p);
	memcpy(data, p + 26, 2); /* the field's value makes the next sum all ones */
	check_cut(&m, 1000);
	model_write(&m, p);
	assert_int_equal(p[26] << 8 | p[27], 0xffff);
}

static void cut_wraps_sequence_and_id(void **state)
{
	struct model_packet m = model_random(false, false);

	m.seq = UINT32_MAX - 2000;
	m.id = UINT16_MAX - 2;
	m.payload_len = 20000;
	check_cut(&m, 1000);
}

static void cut_keeps_extension_headers(void **state)
{
	struct model_packet m = model_random(true, false);
	uint8_t plain[4000], p[4000], out[4000];
	struct virtio_net_hdr_v1 vh;
	struct gso_super s;
	size_t total;

	m.payload_len = 2500;
	total = super_write(&m, 1000, plain, &vh) + 16;
	memcpy(p, plain, 40);
	memset(p + 40, 0, 16);
	p[6] = IPPROTO_HOPOPTS;
	p[40] = IPPROTO_TCP;
	p[41] = 1; /* 16 bytes */
	memcpy(p + 56, plain + 40, total - 56);
	vh.csum_start += 16;
	assert_true(gso_super_parse(&s, &vh, p, total, total));
	memcpy(out, p, s.header_len + 1000);
	gso_segment_finish(&s, 0, false, out, 1000);
	assert_int_equal(out[4] << 8 | out[5], s.header_len + 1000 - 40);
	/* without the extension header it is an ordinary packet, which the model can sum */
	memmove(out + 40, out + 56, s.header_len + 1000 - 56);
	out[6] = IPPROTO_TCP;
	assert_int_equal(model_l4_sum(out, s.header_len + 1000 - 16), 0xffff);
}

static void contradictions_are_refused(void **state)
{
	struct model_packet m4 = model_random(false, false), m6 = model_random(true, false);
	struct virtio_net_hdr_v1 vh4, vh6, vh;
	uint8_t p4[2000], p6[2000], p[2000];
	struct gso_super s;
	size_t n4, n6;

	m4.payload_len = m6.payload_len = 1500;
	m4.n_options = m6.n_options = 12;
	n4 = super_write(&m4, 700, p4, &vh4);
	n6 = super_write(&m6, 700, p6, &vh6);
	assert_true(gso_super_parse(&s, &vh4, p4, n4, n4));
	assert_true(gso_super_parse(&s, &vh6, p6, n6, n6));

#define REFUSED(of, change)                                              \
	do {                                                             \
		memcpy(p, p##of, n##of);                                 \
		vh = vh##of;                                             \
		change;                                                  \
		assert_false(gso_super_parse(&s, &vh, p, n##of, n##of)); \
	} while (0)
	REFUSED(4, vh.gso_size = 0);
	REFUSED(4, vh.gso_type = VIRTIO_NET_HDR_GSO_TCPV6);
	REFUSED(4, vh.gso_type = VIRTIO_NET_HDR_GSO_UDP_L4);
	REFUSED(4, vh.gso_type = VIRTIO_NET_HDR_GSO_UDP);
	REFUSED(4, vh.gso_type = 77);
	REFUSED(6, vh.gso_type = VIRTIO_NET_HDR_GSO_TCPV4);
	REFUSED(4, p[0] = 0x55);
	REFUSED(4, p[0] = 0x44);
	REFUSED(4, p[0] = 0x4f; p[20 + 40 + 12] = 0x10);
	REFUSED(4, p[6] = 0x20); /* more fragments */
	REFUSED(4, p[7] = 1);    /* a later one */
	REFUSED(4, p[9] = IPPROTO_SCTP);
	REFUSED(4, p[20 + 12] = 0x40); /* TCP header of 16 bytes */
	REFUSED(6, p[6] = IPPROTO_FRAGMENT);
	REFUSED(6, p[6] = IPPROTO_HOPOPTS; p[41] = 255);
	for (size_t n = 0; n < model_header_len(&m4); n++)
		assert_false(gso_super_parse(&s, &vh4, p4, n, n));
	for (size_t n = 0; n < model_header_len(&m6); n++)
		assert_false(gso_super_parse(&s, &vh6, p6, n, n));
#undef REFUSED
}

static void plain_gets_its_checksum(void **state)
{
	for (unsigned i = 0; i < 100; i++) {
		struct model_packet m = model_random(i & 1, i & 2);
		uint8_t want[2048], got[2048];
		struct virtio_net_hdr_v1 vh;
		size_t len;

		m.payload_len = random_below(1400);
		len = model_write(&m, want);
		super_write(&m, 0, got, &vh);
		vh.gso_type = VIRTIO_NET_HDR_GSO_NONE;
		assert_true(gso_plain_finish(&vh, got, len));
		assert_memory_equal(got, want, len);
	}
}

static void plain_outside_is_refused(void **state)
{
	struct virtio_net_hdr_v1 vh = {
		.flags = VIRTIO_NET_HDR_F_NEEDS_CSUM, .csum_start = 20, .csum_offset = 16};
	uint8_t p[64] = {0x45};

	assert_true(gso_plain_finish(&vh, p, 38));
	assert_false(gso_plain_finish(&vh, p, 37));
	vh.csum_start = UINT16_MAX;
	vh.csum_offset = UINT16_MAX;
	assert_false(gso_plain_finish(&vh, p, sizeof(p)));
	vh.flags = 0;
	assert_true(gso_plain_finish(&vh, p, sizeof(p)));
}
/* ---- flows ---------------------------------------------------------------------------------- */

static void flow_hash_is_symmetric(void **state)
{
	for (unsigned i = 0; i < 50; i++) {
		struct model_packet m = model_random(i & 1, i & 2), back = m;
		size_t size = m.v6 ? 16 : 4;
		uint8_t p[256], q[256];
		size_t n;

		m.payload_len = back.payload_len = 10;
		memcpy(back.addresses, m.addresses + size, size);
		memcpy(back.addresses + size, m.addresses, size);
		back.sport = m.dport;
		back.dport = m.sport;
		n = model_write(&m, p);
		model_write(&back, q);
		assert_int_equal(flow_hash(p, n), flow_hash(q, n));
		q[model_l3_len(&m)] ^= 1;
		assert_int_not_equal(flow_hash(p, n), flow_hash(q, n));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(sums_equal_the_slow_one),
		cmocka_unit_test(sums_survive_all_ones),
		cmocka_unit_test(cut_is_what_a_sender_would_send),
		cmocka_unit_test(cut_datagram_is_never_without_checksum),
		cmocka_unit_test(cut_wraps_sequence_and_id),
		cmocka_unit_test(cut_keeps_extension_headers),
		cmocka_unit_test(contradictions_are_refused),
		cmocka_unit_test(plain_gets_its_checksum),
		cmocka_unit_test(plain_outside_is_refused),
		cmocka_unit_test(flow_hash_is_symmetric),
	};

	return cmocka_run_group_tests(tests, setup, NULL);
}

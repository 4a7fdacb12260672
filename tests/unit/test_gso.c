/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Cutting super-packets and joining packets, against packets made field by field: what is cut must
 * be what a sender of that size would have sent, and cutting what was joined must give back what
 * came, byte for byte.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "checksum.h"
#include "gso.h"
#include "ip_model.h"
#include "prng.h"

#define FIN 0x01
#define SYN 0x02
#define PSH 0x08
#define ACK 0x10
#define ECE 0x40
#define CWR 0x80

static struct prng prng;

static uint32_t random_next(void)
{
	return (uint32_t)prng_next(&prng);
}

static unsigned random_below(unsigned n)
{
	return prng_below(&prng, n);
}

static uint8_t payload[65536];

static struct model_packet model_random(bool v6, bool udp)
{
	struct model_packet m = {.v6 = v6,
		.udp = udp,
		.tos = (uint8_t)random_next(),
		.ttl = 64,
		.flags = ACK,
		.dont_fragment = random_below(2),
		.sport = (uint16_t)random_next(),
		.dport = (uint16_t)random_next(),
		.id = (uint16_t)random_next(),
		.window = (uint16_t)random_next(),
		.seq = random_next(),
		.ack = random_next(),
		.flow_label = random_next(),
		.n_options = udp ? 0 : (uint8_t)(random_below(11) * 4),
		.payload = payload};

	for (unsigned i = 0; i < sizeof(m.addresses); i++)
		m.addresses[i] = (uint8_t)random_next();
	for (unsigned i = 0; i < sizeof(m.options); i++)
		m.options[i] = (uint8_t)random_next();
	return m;
}

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

/* ---- joining -------------------------------------------------------------------------------- */

struct burst {
	unsigned n;
	uint8_t bytes[JOIN_BURST_MAX][2048], before[JOIN_BURST_MAX][2048];
	uint8_t *packets[JOIN_BURST_MAX];
	uint16_t lens[JOIN_BURST_MAX];
	struct join_burst join;
};

static struct burst b;

static void burst_add(const struct model_packet *m)
{
	b.packets[b.n] = b.bytes[b.n];
	b.lens[b.n] = (uint16_t)model_write(m, b.bytes[b.n]);
	b.n++;
}

/* The next segment of a flow: the model moves on. */
static void burst_add_next(struct model_packet *m, size_t len)
{
	m->payload = payload + random_below(60000);
	m->payload_len = len;
	burst_add(m);
	m->seq += (uint32_t)len;
	m->id++;
}

static void burst_join(bool udp)
{
	memcpy(b.before, b.bytes, sizeof(b.bytes));
	join_burst(&b.join, b.packets, b.lens, b.n, udp);
}

/* With DF set, ids may differ after joining and cutting: they, and the sum over them, are nobody's.
 */
static void forget_id(uint8_t *p)
{
	if (p[0] >> 4 == 4 && p[6] == 0x40)
		p[4] = p[5] = p[10] = p[11] = 0;
}

/* Writes the group as the port does, cuts it as the port does, and compares with what came. */
static void check_group(const struct join_group *g)
{
	static uint8_t super[70000], got[4096];
	struct virtio_net_hdr_v1 vh;
	struct gso_super s;
	size_t len = 0, total;
	unsigned i = g->first;

	join_finish(&b.join, g, b.packets, &vh);
	for (unsigned k = 0; k < g->count; k++, i = b.join.next[i]) {
		size_t skip = k ? b.join.segments[g->first].header_len : 0;

		memcpy(super + len, b.packets[i] + skip, b.lens[i] - skip);
		len += b.lens[i] - skip;
	}
	total = len;
	assert_int_equal(total, g->total);
	assert_true(total <= GSO_PACKET_MAX);
	if (g->count == 1) {
		assert_int_equal(vh.gso_type, VIRTIO_NET_HDR_GSO_NONE);
		assert_int_equal(vh.flags, 0);
		assert_memory_equal(super, b.before[g->first], total);
		return;
	}
	assert_int_equal(vh.flags, VIRTIO_NET_HDR_F_NEEDS_CSUM);
	assert_true(gso_super_parse(&s, &vh, super, total, total));
	assert_int_equal(vh.hdr_len, s.header_len);
	assert_int_equal(vh.csum_start, s.l4_offset);
	assert_int_equal(gso_super_segments(&s, total), g->count);
	i = g->first;
	for (unsigned k = 0; k < g->count; k++, i = b.join.next[i]) {
		size_t part = b.lens[i] - s.header_len;

		memcpy(got + s.header_len, super + s.header_len + k * s.size, part);
		gso_segment_finish(&s, k, k == g->count - 1u, got, part);
		forget_id(got);
		forget_id(b.before[i]);
		assert_memory_equal(got, b.before[i], b.lens[i]);
	}
}

/* Every packet is in one group, once; later packets of a flow are never written before earlier. */
static void check_all(void)
{
	unsigned at[JOIN_BURST_MAX], position = 0;

	memset(at, 0xff, sizeof(at));
	for (unsigned k = 0; k < b.join.n_groups; k++) {
		const struct join_group *g = &b.join.groups[k];

		for (unsigned i = g->first, n = g->count; n; n--, i = b.join.next[i]) {
			assert_int_equal(at[i], UINT32_MAX);
			at[i] = position++;
		}
	}
	assert_int_equal(position, b.n);
	for (unsigned i = 0; i < b.n; i++)
		for (unsigned k = i + 1; k < b.n; k++)
			if (b.join.segments[i].kind == SEGMENT_OPAQUE ||
				b.join.segments[k].kind == SEGMENT_OPAQUE ||
				(b.join.segments[i].hash == b.join.segments[k].hash &&
					b.join.segments[i].kind != SEGMENT_OTHER &&
					b.join.segments[k].kind != SEGMENT_OTHER))
				assert_true(at[i] < at[k]);
	for (unsigned k = 0; k < b.join.n_groups; k++)
		check_group(&b.join.groups[k]);
}

static void a_bulk_flow_is_one_packet(void **state)
{
	for (unsigned kind = 0; kind < 4; kind++) {
		struct model_packet m = model_random(kind & 1, kind & 2);

		b.n = 0;
		for (unsigned i = 0; i < 44; i++)
			burst_add_next(&m, 1368);
		burst_add_next(&m, 100);
		burst_join(true);
		assert_int_equal(b.join.n_groups, 1);
		check_all();
	}
}

static void interleaved_flows_join(void **state)
{
	struct model_packet m[JOIN_OPEN_MAX];

	b.n = 0;
	for (unsigned f = 0; f < JOIN_OPEN_MAX; f++)
		m[f] = model_random(f & 1, f & 2);
	for (unsigned i = 0; i < JOIN_BURST_MAX; i++)
		burst_add_next(&m[i % JOIN_OPEN_MAX], 1000);
	burst_join(true);
	assert_int_equal(b.join.n_groups, JOIN_OPEN_MAX);
	check_all();
}

static void a_full_packet_is_not_overrun(void **state)
{
	struct model_packet m = model_random(false, false);

	b.n = 0;
	for (unsigned i = 0; i < 64; i++)
		burst_add_next(&m, 1448);
	burst_join(true);
	assert_int_equal(b.join.n_groups, 2);
	check_all();
}

static void many_datagrams_are_several_packets(void **state)
{
	struct model_packet m = model_random(false, true);

	b.n = 0;
	for (unsigned i = 0; i < 2 * GSO_UDP_SEGMENTS_MAX + 1; i++)
		burst_add_next(&m, 100);
	burst_join(true);
	assert_int_equal(b.join.n_groups, 3);
	check_all();
}

/* Three segments, the second changed by `change`: nothing joins across it. */
static void check_apart(bool v6, bool udp, void (*change)(struct model_packet *))
{
	struct model_packet m = model_random(v6, udp), other;

	m.dont_fragment = false;
	m.n_options = udp ? 0 : 12;
	b.n = 0;
	burst_add_next(&m, 500);
	other = m;
	change(&other);
	burst_add_next(&other, 500);
	m.seq += 500;
	m.id++;
	burst_add_next(&m, 500);
	burst_join(true);
	assert_int_equal(b.join.n_groups, 3);
	check_all();
}

#define CHANGE(name, what)                                \
	static void change_##name(struct model_packet *m) \
	{                                                 \
		what;                                     \
	}
CHANGE(tos, m->tos ^= 3)
CHANGE(ttl, m->ttl--)
CHANGE(id, m->id += 7)
CHANGE(df, m->dont_fragment = true)
CHANGE(seq, m->seq++)
CHANGE(ack, m->ack++)
CHANGE(window, m->window++)
CHANGE(option, m->options[11]++)
CHANGE(urgent, m->urgent++)
CHANGE(fin, m->flags |= FIN)
CHANGE(syn, m->flags |= SYN)
CHANGE(cwr, m->flags |= CWR)
CHANGE(ece, m->flags |= ECE)
CHANGE(label, m->flow_label++)
CHANGE(no_ack, m->flags &= (uint8_t)~ACK)
CHANGE(options, m->n_options += 4)
#undef CHANGE

static void differences_keep_apart(void **state)
{
	static void (*const tcp[])(struct model_packet *) = {change_tos, change_ttl, change_seq,
		change_ack, change_window, change_option, change_urgent, change_fin, change_syn,
		change_cwr, change_ece, change_no_ack, change_options};

	for (unsigned i = 0; i < sizeof(tcp) / sizeof(tcp[0]); i++) {
		check_apart(false, false, tcp[i]);
		check_apart(true, false, tcp[i]);
	}
	for (unsigned udp = 0; udp < 2; udp++) {
		check_apart(false, udp, change_id);
		check_apart(false, udp, change_df);
		check_apart(false, udp, change_tos);
		check_apart(true, udp, change_label);
	}
}

static void a_wrong_checksum_stays_wrong(void **state)
{
	for (unsigned where = 0; where < 3; where++)
		for (unsigned kind = 0; kind < 4; kind++) {
			struct model_packet m = model_random(kind & 1, kind & 2);

			m.dont_fragment = false;
			b.n = 0;
			for (unsigned i = 0; i < 3; i++)
				burst_add_next(&m, 700);
			b.bytes[where][b.lens[where] - 9] ^= 0x20;
			burst_join(true);
			assert_int_equal(b.join.n_groups, where == 1 ? 3 : 2);
			check_all();
		}
}

static void a_wrong_header_checksum_stays_wrong(void **state)
{
	struct model_packet m = model_random(false, false);

	b.n = 0;
	for (unsigned i = 0; i < 3; i++)
		burst_add_next(&m, 700);
	b.bytes[1][10] ^= 0x20;
	burst_join(true);
	assert_int_equal(b.join.n_groups, 3);
	check_all();
}

static void a_push_ends_a_group(void **state)
{
	struct model_packet m = model_random(false, false);

	b.n = 0;
	for (unsigned i = 0; i < 6; i++) {
		m.flags = i == 2 ? ACK | PSH : ACK;
		burst_add_next(&m, 700);
	}
	burst_join(true);
	assert_int_equal(b.join.n_groups, 2);
	check_all();
}

static void without_uso_datagrams_go_alone(void **state)
{
	struct model_packet m = model_random(false, true);

	b.n = 0;
	for (unsigned i = 0; i < 5; i++)
		burst_add_next(&m, 700);
	burst_join(false);
	assert_int_equal(b.join.n_groups, 5);
	check_all();
}

/* Changes byte `at` of the middle packet of three; its checksum is right. */
static void check_byte_apart(bool udp, unsigned at, uint8_t flip)
{
	struct model_packet m = model_random(false, udp);

	m.n_options = 0;
	m.dont_fragment = false;
	b.n = 0;
	for (unsigned i = 0; i < 3; i++)
		burst_add_next(&m, 700);
	b.bytes[1][at] ^= flip;
	model_seal(b.bytes[1], b.lens[1]);
	burst_join(true);
	assert_int_equal(b.join.n_groups, 3);
	check_all();
}

static void odd_headers_go_alone(void **state)
{
	check_byte_apart(false, 20 + 12, 0x01); /* accurate ECN */
	check_byte_apart(true, 20 + 5, 1);      /* UDP length is not IP's */
}

static void datagrams_without_checksum_go_alone(void **state)
{
	struct model_packet m = model_random(false, true);

	m.dont_fragment = false;
	b.n = 0;
	for (unsigned i = 0; i < 3; i++) {
		burst_add_next(&m, 700);
		/* payload that makes the sum right with a field of zero */
		model_put16(b.bytes[i] + 26, 0);
		model_put16(b.bytes[i] + 28, 0);
		model_put16(b.bytes[i] + 28, (uint16_t)~model_l4_sum(b.bytes[i], b.lens[i]));
	}
	burst_join(true);
	assert_int_equal(b.join.n_groups, 3);
	check_all();
}

static void fragments_and_options_go_alone(void **state)
{
	struct model_packet m = model_random(false, false), six = model_random(true, false);

	b.n = 0;
	for (unsigned i = 0; i < 4; i++)
		burst_add_next(&m, 700);
	for (unsigned i = 0; i < 4; i++)
		burst_add_next(&six, 700);
	b.bytes[1][6] = 0x20; /* first fragment */
	b.bytes[2][0] = 0x46;
	b.bytes[5][6] = IPPROTO_DSTOPTS;
	b.bytes[6][6] = IPPROTO_FRAGMENT;
	burst_join(true);
	assert_int_equal(b.join.n_groups, 8);
	check_all();
}

/* Whatever comes, in whatever order: joined and cut again it is the same. */
static void random_bursts_come_back(void **state)
{
	static void (*const changes[])(struct model_packet *) = {change_tos, change_ttl, change_seq,
		change_ack, change_window, change_option, change_fin, change_cwr, change_id};

	for (unsigned round = 0; round < 600; round++) {
		struct model_packet m[12];
		unsigned n_flows = 1 + random_below(12);
		size_t size = 1 + random_below(1448);

		b.n = 0;
		for (unsigned f = 0; f < n_flows; f++)
			m[f] = model_random(random_below(2), random_below(3) == 0);
		while (b.n < JOIN_BURST_MAX) {
			struct model_packet *flow = &m[random_below(n_flows)];

			if (random_below(20) == 0)
				changes[random_below(sizeof(changes) / sizeof(changes[0]))](flow);
			flow->flags &= (uint8_t)(random_below(4) ? ~(FIN | CWR) : 0xff);
			if (!flow->udp && random_below(10) == 0)
				flow->flags ^= PSH;
			burst_add_next(flow, random_below(10) ? size : random_below(1448));
			if (random_below(30) == 0)
				b.bytes[b.n - 1][random_below(b.lens[b.n - 1])] ^=
					1u << random_below(8);
		}
		burst_join(random_below(4) != 0);
		check_all();
	}
}

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

static int setup(void **state)
{
	prng_fill(&prng, payload, sizeof(payload));
	return 0;
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
		cmocka_unit_test(a_bulk_flow_is_one_packet),
		cmocka_unit_test(interleaved_flows_join),
		cmocka_unit_test(a_full_packet_is_not_overrun),
		cmocka_unit_test(many_datagrams_are_several_packets),
		cmocka_unit_test(differences_keep_apart),
		cmocka_unit_test(a_wrong_checksum_stays_wrong),
		cmocka_unit_test(a_wrong_header_checksum_stays_wrong),
		cmocka_unit_test(a_push_ends_a_group),
		cmocka_unit_test(without_uso_datagrams_go_alone),
		cmocka_unit_test(fragments_and_options_go_alone),
		cmocka_unit_test(odd_headers_go_alone),
		cmocka_unit_test(datagrams_without_checksum_go_alone),
		cmocka_unit_test(random_bursts_come_back),
		cmocka_unit_test(flow_hash_is_symmetric),
	};

	return cmocka_run_group_tests(tests, setup, NULL);
}

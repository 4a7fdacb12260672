/* SPDX-License-Identifier: BSD-3-Clause */
/* Joining packets made field by field: cutting what was joined must give back what came, byte for
 * byte. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "gso_model.h"

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

int main(void)
{
	const struct CMUnitTest tests[] = {
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
	};

	return cmocka_run_group_tests(tests, setup, NULL);
}

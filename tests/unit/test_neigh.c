/* SPDX-License-Identifier: BSD-3-Clause */
/* Neighbours: the questions and answers as bytes, and the life of a neighbour. */
#include "neigh_world.h"

/* ---- as bytes -------------------------------------------------------------------------------- */

static void arp_as_bytes(void **state)
{
	static const uint8_t want[42] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2, 0, 0, 0, 0, 1, 8, 6,
		0, 1, 8, 0, 6, 4, 0, 1, 2, 0, 0, 0, 0, 1, 10, 0, 0, 1, 0, 0, 0, 0, 0, 0, 10, 0, 0,
		9};
	struct neigh_frame f = {.op = NEIGH_REQUEST,
		.family = AF_INET,
		.our_addr = {10, 0, 0, 1},
		.target = {10, 0, 0, 9}};
	uint8_t out[NEIGH_FRAME_MAX], broken[28];
	struct neigh_packet in;

	(void)state;
	memcpy(f.our_mac, plain_mac, 6);
	assert_int_equal(neigh_frame_build(&f, out), sizeof(want));
	assert_memory_equal(out, want, sizeof(want));
	assert_true(arp_parse(out + 14, 28, &in));
	assert_int_equal(in.op, NEIGH_REQUEST);
	assert_memory_equal(in.sender, "\x0a\x00\x00\x01", 4);
	assert_memory_equal(in.target, "\x0a\x00\x00\x09", 4);
	assert_memory_equal(in.mac, plain_mac, 6);
	for (uint32_t len = 0; len < 28; len++)
		assert_false(arp_parse(out + 14, len, &in));
	/* hardware, protocol, lengths, operation; a sender that is nobody */
	for (unsigned i = 0; i < 8; i++) {
		memcpy(broken, out + 14, 28);
		broken[i] ^= 0x40;
		assert_false(arp_parse(broken, 28, &in));
	}
	memcpy(broken, out + 14, 28);
	broken[8] |= 1;
	assert_false(arp_parse(broken, 28, &in));
	memcpy(broken, out + 14, 28);
	broken[14] = 224;
	assert_false(arp_parse(broken, 28, &in));
}

static void nd_as_bytes(void **state)
{
	struct neigh_frame f = {.op = NEIGH_REQUEST, .family = AF_INET6, .vlan = 7};
	uint8_t out[NEIGH_FRAME_MAX], broken[80], *ip = out + 18;
	struct neigh_packet in;

	(void)state;
	memcpy(f.our_mac, plain_mac, 6);
	inet_pton(AF_INET6, "2001:db8::1", f.our_addr);
	inet_pton(AF_INET6, "2001:db8::a9:8765", f.target);
	assert_int_equal(neigh_frame_build(&f, out), 18 + 72);
	assert_memory_equal(out, "\x33\x33\xff\xa9\x87\x65", 6); /* the solicited-node address */
	assert_memory_equal(out + 12, "\x81\x00\x00\x07\x86\xdd", 6);
	assert_memory_equal(ip + 24, "\xff\x02\0\0\0\0\0\0\0\0\0\1\xff\xa9\x87\x65", 16);
	assert_true(nd_parse(ip, 72, &in));
	assert_int_equal(in.op, NEIGH_REQUEST);
	assert_memory_equal(in.target, f.target, 16);
	assert_true(in.has_mac);
	assert_memory_equal(in.mac, plain_mac, 6);
	/* each byte counts, but traffic class, flow label and the hop that it came by */
	for (unsigned i = 0; i < 72; i++) {
		memcpy(broken, ip, 72);
		broken[i] ^= 0x55;
		if (i > 3)
			assert_false(nd_parse(broken, 72, &in));
	}
	for (uint32_t len = 0; len < 72; len++)
		assert_false(nd_parse(ip, len, &in));
	/* an option of length zero */
	memcpy(broken, ip, 72);
	broken[40 + 24 + 1] = 0;
	put16(broken + 42, (uint32_t)(broken[42] << 8 | broken[43]) + 0x0001);
	assert_false(nd_parse(broken, 72, &in));
	/* an answer to all, an answer to one */
	f.op = NEIGH_REPLY;
	memset(f.target, 0, 16);
	neigh_frame_build(&f, out);
	assert_memory_equal(out, "\x33\x33\0\0\0\1", 6);
	assert_true(nd_parse(ip, 72, &in));
	assert_false(in.solicited);
	inet_pton(AF_INET6, "2001:db8::9", f.target);
	memcpy(f.target_mac, other_mac, 6);
	neigh_frame_build(&f, out);
	assert_memory_equal(out, other_mac, 6);
	assert_true(nd_parse(ip, 72, &in));
	assert_true(in.solicited && in.override);
	assert_memory_equal(in.sender, f.our_addr, 16);
}

/* ---- asking ---------------------------------------------------------------------------------- */

static void a_packet_waits_for_the_answer(void **state)
{
	struct neigh_packet in;

	(void)state;
	neigh_punt(waiting("192.0.2.1", "10.7.0.9", 7));
	in = sent_neigh(0);
	assert_int_equal(in.op, NEIGH_REQUEST);
	assert_memory_equal(in.sender, "\x0a\x07\x00\x01", 4); /* our address on that VLAN */
	assert_memory_equal(in.target, "\x0a\x07\x00\x09", 4);
	neigh_punt(waiting("192.0.2.1", "10.7.0.9", 7));
	assert_int_equal(n_injected, 1); /* asked once */
	assert_false(known("10.7.0.9", 7, NULL));
	neigh_punt(said(NEIGH_REPLY, "10.7.0.9", their_mac, "10.7.0.1", 7));
	assert_true(known("10.7.0.9", 7, their_mac));
	assert_false(known("10.7.0.9", 0, NULL));
	assert_int_equal(n_injected, 3);
	for (unsigned i = 1; i < 3; i++) {
		assert_memory_equal(sent(i), their_mac, 6);
		assert_memory_equal(sent(i) + 6, plain_mac, 6);
		assert_memory_equal(sent(i) + 12, "\x81\x00\x00\x07\x08\x00\x45", 7);
	}
}

/* The question is lost by name, and asked again. */
static void without_a_buffer_it_is_asked_later(void **state)
{
	struct rte_mbuf *m = waiting("192.0.2.1", "10.7.0.9", 7), **all;
	unsigned n = rte_mempool_avail_count(pool);

	(void)state;
	all = calloc(n, sizeof(*all));
	assert_int_equal(rte_pktmbuf_alloc_bulk(pool, all, n), 0);
	assert_int_equal(dropped("neigh_no_buffer"), 0);
	neigh_punt(m);
	assert_int_equal(dropped("neigh_no_buffer"), 1);
	assert_int_equal(n_injected, 0);
	rte_pktmbuf_free_bulk(all, n);
	free(all);
	pass(SECOND * 3 / 2);
	assert_int_equal(sent_neigh(0).op, NEIGH_REQUEST);
}

static void the_same_over_ipv6(void **state)
{
	(void)state;
	neigh_punt(waiting("2001:db8:1::1", "2001:db8::9", 0));
	assert_int_equal(sent_neigh(0).op, NEIGH_REQUEST);
	neigh_punt(said(NEIGH_REPLY, "2001:db8::9", their_mac, "2001:db8::1", 0));
	assert_true(known("2001:db8::9", 0, their_mac));
	assert_memory_equal(sent(1) + 12, "\x86\xdd\x60", 3);
}

static void nobody_answers(void **state)
{
	uint64_t before = dropped("neigh_unresolved");
	const uint8_t *ip;

	(void)state;
	neigh_punt(waiting("10.7.0.5", "10.0.0.9", 0));
	pass(SECOND / 2);
	neigh_punt(waiting("10.7.0.5", "10.0.0.9", 0));
	assert_int_equal(n_injected, 1);
	pass(SECOND);
	/* asked again; and who waited for a second is told */
	assert_int_equal(n_injected, 3);
	assert_int_equal(sent_neigh(1).op, NEIGH_REQUEST);
	assert_int_equal(injected_at[2], INJECT_ROUTE);
	ip = rte_pktmbuf_mtod(injected[2], const uint8_t *);
	assert_memory_equal(ip + 12, "\x0a\x07\x00\x01\x0a\x07\x00\x05", 8);
	assert_int_equal(ip[20] << 8 | ip[21], 3 << 8 | 1); /* host unreachable */
	assert_true(packet_of(injected[2])->flags & PACKET_LOCAL);
	pass(3 * SECOND);
	assert_int_equal(dropped("neigh_unresolved") - before, 2);
	/* for a while it is told at once, and nobody is asked */
	injected_free();
	neigh_punt(waiting("10.7.0.5", "10.0.0.9", 0));
	assert_int_equal(n_injected, 1);
	assert_int_equal(injected_at[0], INJECT_ROUTE);
	pass(4 * SECOND);
	injected_free();
	neigh_punt(waiting("10.7.0.5", "10.0.0.9", 0));
	assert_int_equal(sent_neigh(0).op, NEIGH_REQUEST); /* a new try */
}

static void bounds(void **state)
{
	uint64_t before = dropped("neigh_held_full");

	(void)state;
	for (unsigned i = 0; i < HELD_PER_NEIGHBOUR + 4; i++)
		neigh_punt(waiting("10.7.0.5", "10.0.0.9", 0));
	assert_int_equal(dropped("neigh_held_full") - before, 4);
	/* a scan of the network: unanswered questions are few */
	before = dropped("neigh_too_many");
	for (unsigned i = 0; i < 600; i++) {
		char addr[32];

		snprintf(addr, sizeof(addr), "2001:db8::%x", 0x1000 + i);
		neigh_punt(waiting("2001:db8:1::1", addr, 0));
		injected_free();
	}
	assert_int_equal(dropped("neigh_too_many") - before, 600 - 511);
}

/* ---- ageing ---------------------------------------------------------------------------------- */

static void use(const char *addr)
{
	assert_true(known(addr, 0, NULL));
}

static void one_in_use_is_checked(void **state)
{
	(void)state;
	learn("10.0.0.9");
	pass(31 * SECOND);
	assert_int_equal(n_injected, 0);
	pass(2 * SECOND);
	use("10.0.0.9");
	pass(SECOND);
	assert_int_equal(n_injected, 1);
	assert_memory_equal(sent(0), their_mac, 6);   /* asked directly */
	assert_true(known("10.0.0.9", 0, their_mac)); /* and still used */
	neigh_punt(said(NEIGH_REPLY, "10.0.0.9", other_mac, "10.0.0.1", 0));
	assert_true(known("10.0.0.9", 0, other_mac));
	injected_free();
	pass(20 * SECOND);
	assert_int_equal(n_injected, 0);
}

static void one_that_left_is_forgotten(void **state)
{
	(void)state;
	learn("10.0.0.9");
	pass(33 * SECOND);
	use("10.0.0.9");
	pass(6 * SECOND);
	assert_in_range(n_injected, 3, 3);
	assert_false(known("10.0.0.9", 0, NULL));
	/* it may be there under another MAC, and nobody was asked for that: no refusal yet */
	injected_free();
	neigh_punt(waiting("10.7.0.5", "10.0.0.9", 0));
	assert_int_equal(n_injected, 1);
	assert_int_equal(sent_neigh(0).op, NEIGH_REQUEST);
	assert_memory_equal(sent(0), "\xff\xff\xff\xff\xff\xff", 6);
	neigh_punt(said(NEIGH_REPLY, "10.0.0.9", other_mac, "10.0.0.1", 0));
	assert_true(known("10.0.0.9", 0, other_mac));
}

static void one_unused_is_dropped_in_time(void **state)
{
	json_t *rows = json_array();

	(void)state;
	learn("10.0.0.9");
	pass(60 * SECOND);
	neigh_rows(rows);
	assert_int_equal(json_array_size(rows), 1);
	assert_string_equal(
		json_string_value(json_object_get(json_array_get(rows, 0), "state")), "stale");
	json_decref(rows);
	pass(120 * SECOND);
	rows = json_array();
	neigh_rows(rows);
	assert_int_equal(json_array_size(rows), 0);
	json_decref(rows);
	assert_int_equal(n_injected, 0);
}

/* ---- answering ------------------------------------------------------------------------------- */

static void questions_for_us_are_answered(void **state)
{
	struct neigh_packet in;

	(void)state;
	neigh_punt(said(NEIGH_REQUEST, "10.0.0.9", their_mac, "10.0.0.1", 0));
	in = sent_neigh(0);
	assert_int_equal(in.op, NEIGH_REPLY);
	assert_memory_equal(in.mac, plain_mac, 6);
	assert_memory_equal(in.sender, "\x0a\x00\x00\x01", 4);
	assert_memory_equal(sent(0), their_mac, 6);
	assert_true(known("10.0.0.9", 0, their_mac)); /* who asks is there */
	neigh_punt(said(NEIGH_REQUEST, "2001:db8::9", their_mac, "2001:db8::1", 0));
	in = sent_neigh(1);
	assert_int_equal(in.op, NEIGH_REPLY);
	assert_true(in.solicited);
	assert_true(known("2001:db8::9", 0, their_mac));
	/* for others, and for our address on another VLAN: silence, and nothing is learned */
	neigh_punt(said(NEIGH_REQUEST, "10.0.0.8", their_mac, "10.0.0.7", 0));
	neigh_punt(said(NEIGH_REQUEST, "10.0.0.8", their_mac, "10.7.0.1", 0));
	neigh_punt(said(NEIGH_REQUEST, "10.7.0.8", their_mac, "10.0.0.1", 7));
	assert_int_equal(n_injected, 2);
	assert_false(known("10.0.0.8", 0, NULL));
}

static void probes_for_duplicates(void **state)
{
	(void)state;
	neigh_punt(said(NEIGH_REQUEST, "0.0.0.0", their_mac, "10.0.0.1", 0));
	assert_int_equal(sent_neigh(0).op, NEIGH_REPLY);
	assert_memory_equal(sent(0), their_mac, 6);
	assert_false(known("0.0.0.0", 0, NULL));
}

static void unasked_answers_add_nothing(void **state)
{
	(void)state;
	neigh_punt(said(NEIGH_REPLY, "10.0.0.9", their_mac, "10.0.0.1", 0));
	neigh_punt(said(NEIGH_REQUEST, "10.0.0.9", their_mac, "10.0.0.9", 0));
	neigh_punt(said(NEIGH_REPLY, "2001:db8::9", their_mac, NULL, 0));
	assert_false(known("10.0.0.9", 0, NULL));
	assert_false(known("2001:db8::9", 0, NULL));
	/* but they change what is known */
	learn("10.0.0.9");
	neigh_punt(said(NEIGH_REPLY, "10.0.0.9", other_mac, NULL, 0));
	assert_true(known("10.0.0.9", 0, other_mac));
}

/* Nobody takes our own address from us. */
static void our_address_from_another(void **state)
{
	(void)state;
	neigh_punt(said(NEIGH_REPLY, "10.0.0.1", their_mac, "10.0.0.1", 0));
	neigh_punt(said(NEIGH_REQUEST, "10.0.0.1", their_mac, "10.0.0.1", 0));
	assert_int_equal(n_injected, 0);
	assert_false(known("10.0.0.1", 0, NULL));
}

static void announcements(void **state)
{
	struct net_addr four = {.family = AF_INET, .bytes = {10, 0, 0, 1}};
	struct net_addr six = {.family = AF_INET6};

	(void)state;
	inet_pton(AF_INET6, "2001:db8::1", six.bytes);
	neigh_announce(PLAIN_PORT, 0, &four);
	assert_memory_equal(sent(0), "\xff\xff\xff\xff\xff\xff", 6);
	assert_memory_equal(sent_neigh(0).target, four.bytes, 4);
	neigh_announce(PLAIN_PORT, 0, &six);
	assert_int_equal(sent_neigh(1).op, NEIGH_REPLY);
	assert_false(sent_neigh(1).solicited);
	assert_memory_equal(sent_neigh(1).sender, six.bytes, 16);
}

/* ---- with a mirror --------------------------------------------------------------------------- */

static void the_kernel_finds_them(void **state)
{
	struct neigh_key key = key_of("10.0.0.9", 0);

	(void)state;
	kernel_resolves = true;
	neigh_punt(waiting("10.7.0.5", "10.0.0.9", 0));
	assert_int_equal(kernel_asked, 1);
	assert_int_equal(n_injected, 0); /* nothing goes out from us */
	neigh_kernel(&key, their_mac);
	assert_memory_equal(sent(0), their_mac, 6);
	/* one in use is checked by the kernel now and then, when we ask for it */
	kernel_asked = 0;
	for (unsigned i = 0; i < 40; i++) {
		use("10.0.0.9");
		pass(SECOND);
	}
	assert_in_range(kernel_asked, 2, 3);
	neigh_kernel(&key, other_mac);
	assert_true(known("10.0.0.9", 0, other_mac));
	neigh_kernel(&key, NULL);
	assert_false(known("10.0.0.9", 0, NULL));
	/* it finds nobody */
	injected_free();
	neigh_punt(waiting("10.7.0.5", "10.0.0.9", 0));
	neigh_kernel(&key, NULL);
	assert_int_equal(injected_at[0], INJECT_ROUTE);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(arp_as_bytes),
		cmocka_unit_test(nd_as_bytes),
		TEST(a_packet_waits_for_the_answer),
		TEST(without_a_buffer_it_is_asked_later),
		TEST(the_same_over_ipv6),
		TEST(nobody_answers),
		TEST(bounds),
		TEST(one_in_use_is_checked),
		TEST(one_that_left_is_forgotten),
		TEST(one_unused_is_dropped_in_time),
		TEST(questions_for_us_are_answered),
		TEST(probes_for_duplicates),
		TEST(unasked_answers_add_nothing),
		TEST(our_address_from_another),
		TEST(announcements),
		TEST(the_kernel_finds_them),
	};

	neigh_world_start();
	return cmocka_run_group_tests(tests, NULL, NULL);
}

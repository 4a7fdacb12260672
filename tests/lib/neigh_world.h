/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

/* Neighbours of one port, with time in the test's hands. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "fake_loop.h"
#include "graph.h"
#include "mirror.h"
#include "neigh_private.h"
#include "nodes.h"

#define SECOND 1000000000ull

static const uint8_t other_mac[6] = {2, 0, 0, 0, 0, 7};
static bool kernel_resolves; /* the port has a mirror */
static unsigned kernel_asked;

bool mirror_resolve(const struct neigh_key *key)
{
	kernel_asked += kernel_resolves;
	return kernel_resolves;
}

/* ---- packets -------------------------------------------------------------------------------- */

/* An IP packet that `neighbour` punted: its next hop is not known. */
static inline struct rte_mbuf *waiting(const char *src, const char *dst, uint16_t vlan)
{
	bool v4 = !strchr(dst, ':');
	uint8_t bytes[64] = {0};
	struct rte_mbuf *m;
	struct packet *p;

	if (v4)
		put_ip4(bytes, src, dst, IPPROTO_UDP, 0, 8);
	else
		put_ip6(bytes, src, dst, IPPROTO_UDP, 8);
	m = packet_new(bytes, v4 ? 28 : 48);
	p = packet_of(m);
	p->kind = PACKET_IP;
	p->out_port = PLAIN_PORT;
	p->vlan = vlan;
	p->path.family = v4 ? AF_INET : AF_INET6;
	inet_pton(p->path.family, dst, p->path.remote);
	return m;
}

static inline struct rte_mbuf *frame_of(const struct neigh_frame *f)
{
	uint8_t bytes[NEIGH_FRAME_MAX];
	struct rte_mbuf *m = packet_new(bytes, neigh_frame_build(f, bytes));

	packet_of(m)->l2_len = f->vlan ? 18 : 14;
	packet_of(m)->vlan = f->vlan;
	return m;
}

/* What a neighbour sends: `from` speaks, to `target`. */
static inline struct rte_mbuf *said(
	uint8_t op, const char *from, const uint8_t *mac, const char *target, uint16_t vlan)
{
	struct neigh_frame f = {
		.op = op, .vlan = vlan, .family = strchr(from, ':') ? AF_INET6 : AF_INET};

	memcpy(f.our_mac, mac, 6);
	inet_pton(f.family, from, f.our_addr);
	if (target)
		inet_pton(f.family, target, f.target);
	if (op == NEIGH_REPLY && target)
		memcpy(f.target_mac, plain_mac, 6);
	return frame_of(&f);
}

/* The frame that was injected as the i-th. */
static inline const uint8_t *sent(unsigned i)
{
	assert_true(i < n_injected);
	assert_int_equal(injected_at[i], INJECT_ETHER);
	assert_int_equal(packet_of(injected[i])->out_port, PLAIN_PORT);
	return rte_pktmbuf_mtod(injected[i], const uint8_t *);
}

static inline struct neigh_packet sent_neigh(unsigned i)
{
	const uint8_t *frame = sent(i);
	uint32_t l2_len = frame[12] == 0x81 ? 18 : 14;
	uint32_t len = injected[i]->data_len - l2_len;
	struct neigh_packet in;

	if (frame[l2_len - 1] == 0x06)
		assert_true(arp_parse(frame + l2_len, len, &in));
	else
		assert_true(nd_parse(frame + l2_len, len, &in));
	return in;
}

static inline struct neigh_key key_of(const char *addr, uint16_t vlan)
{
	struct neigh_key key = {
		.port = PLAIN_PORT, .vlan = vlan, .family = strchr(addr, ':') ? AF_INET6 : AF_INET};

	inet_pton(key.family, addr, key.addr);
	return key;
}

/* As a worker sees it. */
static inline bool known(const char *addr, uint16_t vlan, const uint8_t *mac)
{
	struct neigh_key key = key_of(addr, vlan);
	uint8_t got[6];

	if (!neigh_lookup(neigh_table(), &key, clock_ns, got))
		return false;
	if (mac)
		assert_memory_equal(got, mac, 6);
	return true;
}

static inline void pass(uint64_t ns)
{
	for (uint64_t end = clock_ns + ns; clock_ns < end;) {
		clock_ns += SECOND / 4;
		neigh_age();
	}
}

static inline uint64_t dropped(const char *name)
{
	return control_drops[graph_drop_number(name)];
}

static inline void learn(const char *addr)
{
	neigh_punt(waiting("10.7.0.5", addr, 0));
	neigh_punt(said(NEIGH_REPLY, addr, their_mac, "10.0.0.1", 0));
	injected_free();
}

static inline int begin(void **state)
{
	int rc = neigh_start(table.fib, NULL);

	(void)state;
	kernel_resolves = false;
	kernel_asked = 0;
	table.neighbours = neigh_table();
	return rc;
}

static inline int end_without_leak(void **state)
{
	(void)state;
	neigh_stop();
	injected_free();
	return rte_mempool_in_use_count(pool) == 0 ? 0 : -1;
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, begin, end_without_leak)

static inline void neigh_world_start(void)
{
	fixture_start();
	graph_register_drops(neigh_drops);
}

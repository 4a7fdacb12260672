/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

/*
 * wg_output and wg_input as functions on hand-made mbufs. Two peers of one tunnel have mirrored
 * keys, so that what wg_output seals for "far" is what wg_input opens as from "near".
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "aead.h"
#include "control.h"
#include "eal.h"
#include "eal_begin.h"
#include "nodes.h"
#include "plain_graph.h"
#include "tunnel.h"

enum { FAR, NEAR }; /* peer indices: packets go out to FAR, and come in from NEAR */

#define NOW (1000 * NS_PER_SEC)
#define MTU 1420

static struct {
	struct worker workers[2];
	struct dp_table table;
	struct dp_tunnel tunnel;
	struct allowedips allowed_ips;
	struct keypair *keypairs[2];
	struct peer_path path;
	struct rte_mempool *pool;
	struct plain_graph graph;
} w;

static const struct graph_node *const nodes[] = {
	&node_wg_input, &node_wg_output, &node_opened, &node_sealed, NULL};

static inline struct rte_ring *ring(const char *name, unsigned id)
{
	char text[48];

	snprintf(text, sizeof(text), "%s%u", name, id);
	return rte_ring_create(text, 256, SOCKET_ID_ANY, 0);
}

static inline void rings_make(struct worker *worker, unsigned id)
{
	char name[32];

	worker->id = id;
	worker->now = NOW;
	worker->table = &w.table;
	worker->pool = w.pool;
	for (unsigned c = 0; c < PUNT_CLASSES; c++) {
		snprintf(name, sizeof(name), "punt%u-", c);
		worker->punts[c] = ring(name, id);
	}
	snprintf(name, sizeof(name), "event%u", id);
	worker->events =
		rte_ring_create_elem(name, sizeof(struct worker_event), 256, SOCKET_ID_ANY, 0);
	worker->handoff = ring("handoff", id);
}

static inline struct keypair *keypair_make(uint32_t peer, uint8_t send, uint8_t receive,
	uint32_t index, uint32_t remote, bool initiator)
{
	struct peer p = {.index = peer, .tunnel = NULL};
	struct tunnel *t = control_zalloc(sizeof(*t));
	struct noise_keys keys = {
		.local_index = index, .remote_index = remote, .initiator = initiator};
	struct keypair *kp;

	p.tunnel = t;
	memset(&keys.send, send, sizeof(keys.send));
	memset(&keys.receive, receive, sizeof(keys.receive));
	kp = keypair_new(&p, &keys);
	free(t);
	keypair_born(kp, NOW);
	keypair_publish(kp);
	return kp;
}

static inline void prefix_add(const char *text, uint32_t peer)
{
	struct net_prefix prefix;

	assert_int_equal(net_prefix_parse(&prefix, text), 0);
	assert_int_equal(allowedips_insert(&w.allowed_ips, &prefix, peer, NULL), 0);
}

static inline int setup(void **state)
{
	struct err err = {0};

	(void)state;
	memset(w.workers, 0, sizeof(w.workers));
	assert_int_equal(peers_init(16, 2, &err), 0);
	allowedips_init(&w.allowed_ips, NULL);
	prefix_add("10.0.0.1/32", FAR);
	prefix_add("10.0.0.2/32", NEAR);
	prefix_add("fd00::2/128", NEAR);
	w.tunnel = (struct dp_tunnel){
		.mtu = MTU, .tun_port = PORT_NONE, .allowed_ips = &w.allowed_ips};
	w.table.n_tunnels = 1;
	w.table.tunnels[0] = &w.tunnel;
	for (unsigned i = 0; i < 2; i++)
		rings_make(&w.workers[i], i);
	w.keypairs[FAR] = keypair_make(FAR, 1, 2, 0x1001, 0x2002, true);
	w.keypairs[NEAR] = keypair_make(NEAR, 2, 1, 0x2002, 0x1001, false);
	w.path = (struct peer_path){
		.path = {.family = AF_INET, .remote_port = 1, .remote = {192, 0, 2, 1}}};
	for (unsigned i = 0; i < 2; i++) {
		atomic_store(&peers.slots[i].current, w.keypairs[i]->send);
		atomic_store(&peers.slots[i].path, &w.path);
	}
	w.graph = (struct plain_graph){.nodes = nodes, .worker = &w.workers[0]};
	return 0;
}

static inline int teardown(void **state)
{
	(void)state;
	rte_pktmbuf_free_bulk(w.graph.kept, w.graph.n_kept);
	for (unsigned i = 0; i < 2; i++) {
		struct worker *worker = &w.workers[i];
		void *m;

		for (unsigned c = 0; c < PUNT_CLASSES; c++) {
			while (!rte_ring_dequeue(worker->punts[c], &m))
				rte_pktmbuf_free(m);
			rte_ring_free(worker->punts[c]);
		}
		while (!rte_ring_dequeue(worker->handoff, &m))
			rte_pktmbuf_free(m);
		rte_ring_free(worker->events);
		rte_ring_free(worker->handoff);
	}
	allowedips_fini(&w.allowed_ips);
	peers_fini();
	assert_int_equal(rte_mempool_in_use_count(w.pool), 0); /* no packet was lost */
	return 0;
}

/* An inner packet from 10.0.0.2 (NEAR) of `len` bytes, to be sealed for FAR. */
static inline struct rte_mbuf *inner4(uint16_t len)
{
	struct rte_mbuf *m = rte_pktmbuf_alloc(w.pool);
	uint8_t *ip = (uint8_t *)rte_pktmbuf_append(m, len);

	memset(packet_of(m), 0, sizeof(struct packet));
	for (uint16_t i = 0; i < len; i++)
		ip[i] = (uint8_t)(i * 7);
	ip[0] = 0x45;
	ip[1] = 0;
	ip[2] = (uint8_t)(len >> 8);
	ip[3] = (uint8_t)len;
	memcpy(ip + 12, (uint8_t[]){10, 0, 0, 2}, 4);
	memcpy(ip + 16, (uint8_t[]){10, 0, 0, 1}, 4);
	packet_of(m)->kind = PACKET_IP;
	packet_of(m)->peer = FAR;
	return m;
}

/* One packet through a node; NULL: it does not go on. */
static inline struct rte_mbuf *through(const char *node, struct rte_mbuf *m)
{
	unsigned before = w.graph.n_kept;

	plain_run(&w.graph, node, &m, 1);
	if (w.graph.n_kept == before)
		return NULL;
	w.graph.n_kept = before;
	return m;
}

static inline struct rte_mbuf *seal(struct rte_mbuf *m)
{
	return through("wg_output", m);
}

static inline struct rte_mbuf *open_one(struct rte_mbuf *m)
{
	return through("wg_input", m);
}

static inline struct rte_mbuf *copy_of(struct rte_mbuf *m)
{
	struct rte_mbuf *copy = rte_pktmbuf_copy(m, w.pool, 0, UINT32_MAX);

	*packet_of(copy) = *packet_of(m);
	return copy;
}

static inline int eal_once(void **state)
{
	struct err err = {0};

	(void)state;
	eal_begin("96");
	w.pool = eal_pool("test", 8191, 2000, -1, &err);
	return w.pool ? 0 : -1;
}

#define WG_TEST(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

/* TAILPLANE_AEAD may name one that this machine cannot run. */
static inline bool aead_missing(void)
{
	if (aead_init(NULL) == 0)
		return false;
	puts("this machine cannot run the AEAD that TAILPLANE_AEAD names");
	return true;
}

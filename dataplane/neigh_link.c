/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * ARP and neighbour discovery on ports without a mirror: what others ask and answer, and what we
 * answer. Control loop. An unsolicited answer changes what is known, it never adds.
 */
#include <string.h>

#include "ip_parse.h"
#include "neigh_private.h"
#include "tailplane/log.h"

void neigh_frame_send(const struct neigh_key *key, const struct neigh_frame *f)
{
	uint8_t bytes[NEIGH_FRAME_MAX];
	size_t len = neigh_frame_build(f, bytes);
	struct rte_mbuf *m = control_mbuf_alloc();
	char *to = m ? rte_pktmbuf_append(m, (uint16_t)len) : NULL;

	if (!to) {
		neigh_drop(m, NEIGH_DROP_NO_BUFFER);
		return;
	}
	memcpy(to, bytes, len);
	packet_of(m)->kind = PACKET_ETHER;
	packet_of(m)->out_port = key->port;
	packet_of(m)->vlan = key->vlan;
	control_inject(neigh_worker(key), INJECT_ETHER, m);
}

static bool is_ours(const struct fib *fib, const struct neigh_key *key)
{
	uint32_t hop =
		key->family == AF_INET ? fib_lookup4(fib, key->addr) : fib_lookup6(fib, key->addr);
	const struct fib_next_hop *h = fib_next_hop(fib, hop);

	return h && h->type == FIB_LOCAL && h->port == key->port && h->vlan == key->vlan;
}

static void answer(const struct neigh_key *to, const struct neigh_packet *in)
{
	const struct port *port = control_port(to->port);
	struct neigh_frame f = {.op = NEIGH_REPLY, .family = to->family, .vlan = to->vlan};
	static const uint8_t zero[16];

	if (!port)
		return;
	memcpy(f.our_mac, port->mac, 6);
	memcpy(f.our_addr, in->target, 16);
	memcpy(f.target, in->sender, 16);
	/* IPv6: a probe for duplicates is answered to all */
	if (to->family == AF_INET || memcmp(in->sender, zero, 16) != 0)
		memcpy(f.target_mac, in->mac, 6);
	neigh_frame_send(to, &f);
}

/* Who asks for us is a neighbour; RFC 826 and RFC 4861 7.2.3 learn from the question. */
static void asker_learn(const struct neigh_key *key, struct neigh_packet *in)
{
	struct neigh *n = neigh_get(key);
	uint64_t value = n ? atomic_load_explicit(&n->entry.mac, memory_order_relaxed) : 0;

	if (!in->has_mac) { /* ND without the option: answered if we know the asker */
		in->has_mac = value != 0;
		memcpy(in->mac, &value, 6);
		return;
	}
	if (value && memcmp(&value, in->mac, 6) == 0)
		return; /* nothing new: it does not make it less reachable either */
	if (!n)
		n = neigh_new(key);
	if (n && !n->kernel)
		neigh_learned(n, in->mac, STALE);
}

static void request_take(const struct fib *fib, struct neigh_key *key, struct neigh_packet *in)
{
	struct neigh_key asked = *key;
	bool probe = ip_is_unspecified(in->family, in->sender);

	memcpy(asked.addr, in->target, 16);
	if (!is_ours(fib, &asked))
		return;
	if (!probe)
		asker_learn(key, in);
	if (in->has_mac || probe)
		answer(key, in);
}

static void reply_take(const struct neigh_key *key, const struct neigh_packet *in)
{
	struct neigh *n = neigh_get(key);
	uint64_t value = 0;

	if (!n || n->kernel || !in->has_mac)
		return;
	memcpy(&value, in->mac, 6);
	value |= NEIGH_MAC_KNOWN;
	if (in->solicited)
		neigh_learned(n, in->mac, REACHABLE);
	else if (atomic_load_explicit(&n->entry.mac, memory_order_relaxed) != value &&
		 (in->override || n->state == INCOMPLETE))
		neigh_learned(n, in->mac, STALE);
}

static bool frame_parse(const struct rte_mbuf *m, struct neigh_packet *in)
{
	const struct packet *p = rte_mbuf_to_priv((struct rte_mbuf *)(uintptr_t)m);
	const uint8_t *frame = rte_pktmbuf_mtod(m, const uint8_t *);
	uint32_t len = m->data_len;

	if (p->l2_len < 14 || len < p->l2_len)
		return false;
	if (frame[p->l2_len - 2] == 0x08 && frame[p->l2_len - 1] == 0x06)
		return arp_parse(frame + p->l2_len, len - p->l2_len, in);
	return nd_parse(frame + p->l2_len, len - p->l2_len, in);
}

void neigh_frame_take(const struct fib *fib, struct rte_mbuf *m)
{
	const struct packet *p = packet_of(m);
	struct neigh_key key = {.port = p->in_port, .vlan = p->vlan};
	struct neigh_packet in;

	if (!frame_parse(m, &in)) {
		neigh_drop(m, NEIGH_DROP_MALFORMED);
		return;
	}
	key.family = in.family;
	memcpy(key.addr, in.sender, 16);
	if (is_ours(fib, &key))
		log_debug("another machine on port %u uses an address of ours", key.port);
	else if (in.op == NEIGH_REQUEST)
		request_take(fib, &key, &in);
	else
		reply_take(&key, &in);
	rte_pktmbuf_free(m);
}

void neigh_announce(uint16_t port_index, uint16_t vlan, const struct net_addr *addr)
{
	const struct port *port = control_port(port_index);
	struct neigh_key key = {.port = port_index, .vlan = vlan, .family = addr->family};
	struct neigh_frame f = {
		.op = addr->family == AF_INET ? NEIGH_REQUEST : NEIGH_REPLY,
		.family = addr->family,
		.vlan = vlan,
	};

	if (!port)
		return;
	memcpy(f.our_mac, port->mac, 6);
	memcpy(f.our_addr, addr->bytes, 16);
	neigh_frame_send(&key, &f);
}

/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

/*
 * The public door of the data plane: graph nodes. A graph node is a pure function from a burst of
 * packets to one verdict per packet. It decides; it never enqueues, logs, allocates, blocks or
 * calls the kernel. It runs on a worker; one node object serves all workers at once, so what it
 * writes is either per worker or atomic.
 *
 * A plugin's nodes are in NAME-node.so beside NAME.so, exported as one `const struct node_object`
 * under the symbol `tailplane_nodes`. What the plugin's control half decides reaches the node
 * through a snapshot slot of the core (snapshot.h), what the node counts goes back through atomics
 * in that snapshot or through its drop counters.
 */
#include <assert.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <rte_mbuf.h>

#include "tailplane/snapshot.h"

#define TAILPLANE_NODE_ABI 3

#define NODE_BURST_MAX 64
#define NODE_BURST_LARGE 256 /* what a walk may have gathered for a graph node */

/* A verdict is an index into `next`, or one of these. */
#define VERDICT_DROP(i) ((uint16_t)(0x8000u | (i))) /* index into `drops`: counted, then freed */
#define VERDICT_TAKEN ((uint16_t)0xffff)            /* the node keeps or has freed it */
#define VERDICT_IS_DROP(v) (((v)&0x8000u) && (v) != VERDICT_TAKEN)

struct worker;

struct drop_reason {
	const char *name;    /* node_reason: "wg_input_no_key"; NULL ends a table */
	const char *meaning; /* a sentence for the person who sees it counting */
};

struct graph_node {
	const char *name;
	const char *help;
	/* n <= burst_max; writes verdicts[0..n-1]. Packets come in one segment, and go on so. */
	void (*process)(struct worker *w, struct rte_mbuf **pkts, uint16_t *verdicts, uint16_t n);
	/* A source instead: fills at most `max` packets and their verdicts, returns how many. */
	uint16_t (*poll)(
		struct worker *w, struct rte_mbuf **pkts, uint16_t *verdicts, uint16_t max);
	const char *const *next;         /* names of graph nodes, NULL-terminated; may be NULL */
	const struct drop_reason *drops; /* may be NULL */
	/* Splice: this node takes every edge that leads to the named graph node, and its next[0] is
	 * that node. Several splices before one node run in order of their plugins.
	 *
	 * `route` gets every packet that is forwarded. `local_udp` gets the datagrams to addresses
	 * of this gateway that no tunnel listens for, from Ethernet ports whose mirror would take
	 * them: PACKET_ETHER with l2_len set, the IP header sound and the frame trimmed to it, no
	 * fragment, eight bytes of UDP there but not checked; none is link-local, to many, or from
	 * where an answer would not go to one other machine. */
	const char *before;
	uint16_t burst_max; /* 0: NODE_BURST_MAX; at most NODE_BURST_LARGE */
};

struct node_object {
	uint32_t abi;  /* TAILPLANE_NODE_ABI */
	uint32_t size; /* sizeof(struct node_object) */
	const char *name;
	const struct graph_node *const *nodes; /* NULL-terminated */
	void (*attach)(
		void); /* control loop, once, before any worker runs: find slots. May be NULL */
};

/* Where the bytes of the mbuf start. */
enum packet_kind {
	PACKET_ETHER,    /* at an Ethernet header: from or to an Ethernet port */
	PACKET_IP,       /* at an IPv4/IPv6 header: inside of the tunnel, or from/to a TUN */
	PACKET_DATAGRAM, /* at a UDP payload: WireGuard's message; path is set */
};

enum packet_flag {
	PACKET_FROM_TUNNEL =
		1 << 0,        /* came out of wg_input: peer, tunnel are those of the sender */
	PACKET_LOCAL = 1 << 1, /* made by this gateway: no TTL decrement, no ICMP error for it */
	PACKET_FORWARDED = 1 << 2, /* TTL already taken */
	PACKET_OUTER = 1 << 4,     /* carries a sealed packet: never into a tunnel again */
	PACKET_HELD = 1 << 3,      /* was staged or held for a neighbour once: no second time */
	/* next_hop is the FIB's answer for its destination, of this round: who changes the
	 * destination, or keeps the packet for longer, takes the flag away */
	PACKET_ROUTED = 1 << 5,
};

/* An outer path: where a peer is, and the address of ours that it knows. Addresses in network
 * order, IPv4 in the first 4 bytes; ports big-endian. */
struct packet_path {
	uint8_t family; /* AF_INET, AF_INET6, 0: none */
	uint8_t tos;    /* DSCP and ECN of the outer header */
	uint16_t remote_port, local_port;
	uint16_t port;                 /* index of the port: UDP or Ethernet; PORT_NONE: by route */
	uint32_t ifindex;              /* of the local address on the host port; 0: any */
	uint8_t remote[16], local[16]; /* local all zero: let the route choose */
};

/* What the graph knows of a packet; in the private area of each mbuf. One cache line, and another
 * one for what few packets need. */
struct packet {
	uint8_t kind;
	uint8_t flags;
	uint16_t in_port, out_port; /* indices of ports */
	uint16_t vlan;              /* of the Ethernet port it came in by or leaves by; 0: none */
	uint32_t tunnel, peer;      /* index; PEER_NONE */
	uint32_t next_hop;          /* the FIB's answer */
	struct packet_path path;
	/* the other line */
	uint16_t l2_len;      /* of the Ethernet and VLAN headers, while the packet begins there */
	uint16_t mtu;         /* for icmp_error: next-hop MTU to tell */
	uint8_t reason, code; /* for icmp_error: ICMP type and code in the family's numbers */
	uint32_t tun_hash;    /* flow hash of a TUN's packet */
};

static_assert(offsetof(struct packet, l2_len) == 64, "what all packets need is one cache line");

#define PEER_NONE UINT32_MAX
#define TUNNEL_NONE UINT32_MAX
#define PORT_NONE UINT16_MAX

static inline struct packet *packet_of(struct rte_mbuf *m)
{
	return (struct packet *)rte_mbuf_to_priv(m);
}

/* What a graph node may know of the calling worker, whose struct begins with it. */
struct worker_facts {
	unsigned id;  /* from 0 */
	uint64_t now; /* ns, monotonic, at the start of the round */
};

static inline unsigned worker_id(const struct worker *w)
{
	return ((const struct worker_facts *)w)->id;
}

static inline uint64_t worker_now(const struct worker *w)
{
	return ((const struct worker_facts *)w)->now;
}

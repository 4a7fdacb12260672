/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

/*
 * Mirror interfaces: the kernel's view of an Ethernet port, a TAP with the port's MAC. Control
 * loop, but for the inline functions, which workers use too.
 */
#include <string.h>

#include <rte_ether.h>
#include <rte_mbuf.h>

#include "dataplane.h"

/*
 * The kernel reaches networks behind tunnels through the mirror too: it asks for the MAC of their
 * hosts there and is told this one, the port's with the "locally administered" bit turned over. A
 * frame from the mirror to it is a packet to route; a routed packet for the kernel comes from it.
 */
static inline void mirror_gateway_mac(const uint8_t port_mac[static 6], uint8_t out[static 6])
{
	memcpy(out, port_mac, 6);
	out[0] ^= 0x02;
}

/* Puts an Ethernet header (and a VLAN tag, if vlan) before an IP packet; false: no room. */
static inline bool ether_prepend(struct rte_mbuf *m, const uint8_t dst[static 6],
	const uint8_t src[static 6], uint16_t vlan, uint16_t type)
{
	uint16_t len = sizeof(struct rte_ether_hdr) + (vlan ? sizeof(struct rte_vlan_hdr) : 0);
	struct rte_ether_hdr *eth = (struct rte_ether_hdr *)rte_pktmbuf_prepend(m, len);

	if (!eth)
		return false;
	memcpy(&eth->dst_addr, dst, 6);
	memcpy(&eth->src_addr, src, 6);
	eth->ether_type = rte_cpu_to_be_16(vlan ? RTE_ETHER_TYPE_VLAN : type);
	if (vlan) {
		struct rte_vlan_hdr *tag = (struct rte_vlan_hdr *)(eth + 1);

		tag->vlan_tci = rte_cpu_to_be_16(vlan);
		tag->eth_proto = rte_cpu_to_be_16(type);
	}
	return true;
}

struct fib;
struct neigh_key;

/* Makes the interface conf->mirror for the port (which must be in the table) with the addresses of
 * `conf`, and a VLAN interface NAME.ID on top for each VLAN that is configured. */
int mirror_open(struct port *port, const struct port_conf *conf, struct err *err);
void mirror_close(uint16_t port);
/* Asks the kernel for a neighbour's MAC, or to check it; false: it has no interface there. */
bool mirror_resolve(const struct neigh_key *key);

/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include <netinet/in.h>

#include <rte_mbuf.h>

/* Lowers the MSS option of a TCP SYN (in the IP packet at `ip`) to what fits into `mtu`. True when
 * it changed something. Pure functions; workers. */
bool mss_clamp_bytes(uint8_t *ip, uint32_t len, uint16_t mtu);

static inline bool mss_clamp(struct rte_mbuf *m, uint16_t mtu)
{
	uint8_t *ip = rte_pktmbuf_mtod(m, uint8_t *);

	/* most packets end here: neither TCP at the usual place nor IPv6 with extensions */
	if (m->data_len < 40 || ip[ip[0] >> 4 == 4 ? 9 : 6] == IPPROTO_UDP)
		return false;
	return mss_clamp_bytes(ip, m->data_len, mtu);
}

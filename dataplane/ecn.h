/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

/*
 * ECN through the tunnel (RFC 6040, as WireGuard applies it): the outer header carries the inner
 * mark and no DSCP; on the way in a congestion mark of the network is joined to the inner header.
 * `ip` points at a whole IPv4 or IPv6 header.
 */
#include <stdbool.h>
#include <stdint.h>

#define ECN_MASK 3
#define ECN_CE 3

static inline uint8_t ecn_of(const uint8_t *ip)
{
	uint8_t tos = ip[0] >> 4 == 4 ? ip[1] : (uint8_t)(ip[0] << 4 | ip[1] >> 4);

	return tos & ECN_MASK;
}

static inline void ecn_set_ce(uint8_t *ip)
{
	if (ip[0] >> 4 == 4) {
		/* RFC 1624 with m' - m known: the low bits of the first 16-bit word grow */
		uint32_t sum =
			((uint32_t)ip[10] << 8 | ip[11]) + 0xffffu - (ECN_CE - (ip[1] & ECN_MASK));

		sum = (sum & 0xffff) + (sum >> 16);
		ip[1] |= ECN_CE;
		ip[10] = (uint8_t)(sum >> 8);
		ip[11] = (uint8_t)sum;
	} else {
		ip[1] |= ECN_CE << 4;
	}
}

/* False: the mark cannot be carried on, and RFC 6040 says to drop. */
static inline bool ecn_decapsulate(uint8_t *ip, uint8_t outer_tos)
{
	if ((outer_tos & ECN_MASK) != ECN_CE)
		return true;
	if (!ecn_of(ip))
		return false;
	ecn_set_ce(ip);
	return true;
}

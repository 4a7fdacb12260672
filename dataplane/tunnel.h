/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

/* Small look-ups over the table's tunnels, for graph nodes. Workers. */
#include <string.h>
#include <sys/socket.h>

#include "peer.h"

/* The tunnel that listens on `port` (big-endian) of the Ethernet ports, TUNNEL_NONE if none does.
 */
static inline uint32_t tunnel_by_listen_port(const struct dp_table *table, uint16_t port)
{
	for (uint32_t i = 0; i < table->n_tunnels; i++) {
		const struct dp_tunnel *t = table->tunnels[i];

		if (t && t->ports_underlay && t->listen_port == port)
			return i;
	}
	return TUNNEL_NONE;
}

static inline const struct dp_tunnel *tunnel_get(const struct dp_table *table, uint32_t index)
{
	return index < table->n_tunnels ? table->tunnels[index] : NULL;
}

/* Our address inside the tunnel; false when it has none of that family. */
static inline bool tunnel_source(
	const struct dp_table *table, uint32_t tunnel, int family, uint8_t out[16])
{
	static const uint8_t zero[16];
	const struct dp_tunnel *t = tunnel_get(table, tunnel);

	if (!t)
		return false;
	memset(out, 0, 16);
	if (family == AF_INET)
		memcpy(out, t->source4, 4);
	else
		memcpy(out, t->source6, 16);
	return memcmp(out, zero, 16) != 0;
}

/* SPDX-License-Identifier: BSD-3-Clause */
/* Address pools. Pure but for the random choice. */
#include <errno.h>
#include <string.h>

#include "gateway.h"
#include "secret.h"

void pool_choose(struct net_prefix *pool4, struct net_prefix *pool6)
{
	uint8_t random[7];

	secret_random(random, sizeof(random));
	memset(pool4, 0, sizeof(*pool4));
	memset(pool6, 0, sizeof(*pool6));
	pool4->addr.family = AF_INET;
	pool4->len = 24;
	pool4->addr.bytes[0] = 10;
	pool4->addr.bytes[1] =
		(uint8_t)(64 + random[0] % 128); /* away from what routers hand out */
	pool4->addr.bytes[2] = random[1];
	pool4->addr.bytes[3] = 1;
	pool6->addr.family = AF_INET6;
	pool6->len = 64;
	pool6->addr.bytes[0] = 0xfd;
	memcpy(pool6->addr.bytes + 1, random + 2, 5);
	pool6->addr.bytes[15] = 1;
}

static bool taken(const struct gateway_state *state, const struct net_addr *addr)
{
	for (size_t i = 0; i < state->n_clients; i++) {
		const struct client *c = &state->clients[i];

		if (net_addr_equal(addr->family == AF_INET ? &c->addr4 : &c->addr6, addr))
			return true;
	}
	return false;
}

/* The host part, up to 32 bits of it. */
static uint32_t host_get(const struct net_addr *addr)
{
	const uint8_t *b = addr->bytes + (addr->family == AF_INET ? 0 : 12);

	return (uint32_t)b[0] << 24 | (uint32_t)b[1] << 16 | (uint32_t)b[2] << 8 | b[3];
}

static void host_set(struct net_addr *addr, uint32_t v)
{
	uint8_t *b = addr->bytes + (addr->family == AF_INET ? 0 : 12);

	b[0] = (uint8_t)(v >> 24);
	b[1] = (uint8_t)(v >> 16);
	b[2] = (uint8_t)(v >> 8);
	b[3] = (uint8_t)v;
}

int pool_next(
	const struct net_prefix *pool, const struct gateway_state *state, struct net_addr *out)
{
	struct net_prefix base = net_prefix_masked(pool);
	unsigned bits = (pool->addr.family == AF_INET ? 32u : 128u) - pool->len;
	uint32_t hosts = bits > 16 ? CLIENTS_MAX : (1u << bits), first = host_get(&base.addr);

	/* neither the network's own address nor, in IPv4, its broadcast */
	for (uint32_t i = 1; i + (pool->addr.family == AF_INET) < hosts; i++) {
		*out = base.addr;
		host_set(out, first + i);
		if (!net_addr_equal(out, &pool->addr) && !taken(state, out))
			return 0;
	}
	return -ENOSPC;
}

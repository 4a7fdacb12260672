/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The AEAD over a burst of transport messages whose keys are known, and of what comes out all that
 * packet and tables tell. Runs on workers, the owner's or another: nothing here is a worker's own.
 */
#include <netinet/ip.h>
#include <netinet/ip6.h>
#include <string.h>

#include "aead.h"
#include "fib.h"
#include "lookup.h"
#include "messages.h"
#include "tunnel.h"
#include "work.h"

#define MESSAGE_OVERHEAD ((uint32_t)(sizeof(struct message_data) + AEAD_TAG_LEN))

static inline void item_fill(
	struct aead_item *item, const struct symmetric_key *key, uint8_t *at, uint32_t text_len)
{
	struct message_data *message = (struct message_data *)at;

	item->key = key;
	memcpy(item->nonce, &message->counter, sizeof(item->nonce));
	item->src[0].data = message->encrypted;
	item->src[0].len = text_len;
	item->src[1] = (struct aead_segment){NULL, 0};
	item->dst = message->encrypted;
	item->aad = NULL;
	item->aad_len = 0;
}

/* Length of the IP packet at the start of `text_len` bytes, 0 when there is none. */
static uint16_t inner_length(const uint8_t *ip, uint32_t text_len)
{
	uint32_t len = 0;

	if (text_len >= sizeof(struct ip) && ip[0] >> 4 == 4)
		len = (uint32_t)ip[2] << 8 | ip[3];
	else if (text_len >= sizeof(struct ip6_hdr) && ip[0] >> 4 == 6)
		len = ((uint32_t)ip[4] << 8 | ip[5]) + sizeof(struct ip6_hdr);
	if (ip[0] >> 4 == 4 && len && (len < (ip[0] & 15u) * 4 || (ip[0] & 15) < 5))
		return 0;
	return (uint16_t)(len <= text_len ? len : 0);
}

/* Asks for whose the source is and, where packets go by the FIB, for the next hop. */
static void inner_ask(const struct dp_tunnel *t, struct lookups *sources, struct lookups *hops,
	const uint8_t *ip, uint16_t k, struct inner *inner)
{
	bool v4 = ip[0] >> 4 == 4;

	if (t->allowed_ips != sources->table) {
		lookup_run(sources, inner->from);
		lookups_init(sources, t->allowed_ips);
	}
	lookup_add(sources, k, ip + (v4 ? 12 : 8), v4);
	if (t->ports_underlay)
		lookup_add(hops, k, ip + (v4 ? 16 : 24), v4);
}

static void inners_find(const struct transport *t, uint64_t ok, struct inner *inner)
{
	struct lookups sources, hops;

	lookups_init(&sources, NULL);
	lookups_init(&hops, fib_routes_of(t->table->fib));
	for (uint16_t k = 0; k < t->n; k++) {
		const struct dp_tunnel *tunnel = tunnel_get(t->table, t->keypairs[k]->tunnel);
		const uint8_t *ip = t->messages[k] + sizeof(struct message_data);

		inner->from[k] = PEER_NONE;
		inner->next_hop[k] = FIB_NONE;
		inner->lens[k] = ok >> k & 1 ? inner_length(ip, t->lens[k] - MESSAGE_OVERHEAD) : 0;
		if (inner->lens[k] && tunnel)
			inner_ask(tunnel, &sources, &hops, ip, k, inner);
	}
	lookup_run(&sources, inner->from);
	lookup_run(&hops, inner->next_hop);
}

uint64_t transport_open(const struct transport *t, struct inner *inner)
{
	struct aead_item items[NODE_BURST_MAX];
	uint64_t ok = 0;

	for (unsigned k = 0; k < t->n; k++)
		item_fill(&items[k], &t->keypairs[k]->receive, t->messages[k],
			t->lens[k] - (uint32_t)sizeof(struct message_data));
	aead_open(items, t->n);
	for (unsigned k = 0; k < t->n; k++)
		ok |= (uint64_t)items[k].ok << k;
	inners_find(t, ok, inner);
	return ok;
}

uint64_t transport_seal(const struct transport *t, struct inner *unused)
{
	struct aead_item items[NODE_BURST_MAX];

	(void)unused;
	for (unsigned k = 0; k < t->n; k++)
		item_fill(&items[k], &t->sends[k]->key, t->messages[k],
			t->lens[k] - MESSAGE_OVERHEAD);
	aead_seal(items, t->n);
	return UINT64_MAX;
}

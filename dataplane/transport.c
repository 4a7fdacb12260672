/* SPDX-License-Identifier: BSD-3-Clause */
/* The AEAD over a burst of transport messages whose keys are known. Runs on workers. */
#include <string.h>

#include "aead.h"
#include "messages.h"
#include "peer.h"
#include "work.h"

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

uint64_t transport_open(const struct transport *t)
{
	struct aead_item items[NODE_BURST_MAX];
	uint64_t ok = 0;

	for (unsigned k = 0; k < t->n; k++)
		item_fill(&items[k], &t->keypairs[k]->receive, t->messages[k],
			t->lens[k] - (uint32_t)sizeof(struct message_data));
	aead_open(items, t->n);
	for (unsigned k = 0; k < t->n; k++)
		ok |= (uint64_t)items[k].ok << k;
	return ok;
}

uint64_t transport_seal(const struct transport *t)
{
	struct aead_item items[NODE_BURST_MAX];

	for (unsigned k = 0; k < t->n; k++)
		item_fill(&items[k], &t->sends[k]->key, t->messages[k],
			t->lens[k] - (uint32_t)(sizeof(struct message_data) + AEAD_TAG_LEN));
	aead_seal(items, t->n);
	return UINT64_MAX;
}

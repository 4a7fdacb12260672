/* SPDX-License-Identifier: BSD-3-Clause */
/* Opening a burst of transport messages whose keys are known. Runs on workers. */
#include <string.h>

#include "aead.h"
#include "messages.h"
#include "peer.h"
#include "work.h"

uint64_t opening_open(const struct opening *opening)
{
	struct aead_item items[NODE_BURST_MAX];
	uint64_t ok = 0;

	for (unsigned k = 0; k < opening->n; k++) {
		struct message_data *message = (void *)opening->messages[k];

		items[k].key = &opening->keypairs[k]->receive;
		memcpy(items[k].nonce, &message->counter, sizeof(items[k].nonce));
		items[k].src[0].data = message->encrypted;
		items[k].src[0].len = opening->lens[k] - (uint32_t)sizeof(*message);
		items[k].src[1] = (struct aead_segment){NULL, 0};
		items[k].dst = message->encrypted;
		items[k].aad = NULL;
		items[k].aad_len = 0;
	}
	aead_open(items, opening->n);
	for (unsigned k = 0; k < opening->n; k++)
		ok |= (uint64_t)items[k].ok << k;
	return ok;
}

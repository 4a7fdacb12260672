/* SPDX-License-Identifier: BSD-3-Clause */
/* Any datagram as a STUN request and as an answer; what is a request gets an answer that reads
 * back. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "stun.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct net_endpoint from = {.addr = {.family = AF_INET}, .port = 41641}, seen;
	uint8_t txid[STUN_TXID_SIZE] = {1, 2, 3}, out[STUN_ANSWER_MAX];

	if (size >= 20)
		stun_answer_read(data, size, data + 8, &seen);
	if (!stun_request_read(data, size, txid))
		return 0;
	memcpy(from.addr.bytes, txid, 4);
	if (!stun_answer_read(out, stun_answer_write(out, txid, &from), txid, &seen) ||
		!net_endpoint_equal(&from, &seen))
		abort();
	return 0;
}

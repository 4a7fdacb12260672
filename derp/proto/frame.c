/* SPDX-License-Identifier: BSD-3-Clause */
/* Runs on: any thread. */
#include "frame.h"

#include <errno.h>

ssize_t derp_frame_get(struct derp_frame *frame, uint8_t *bytes, size_t len, uint32_t max)
{
	frame->len = 0;
	if (len < DERP_HEADER_LEN)
		return 0;
	frame->type = bytes[0];
	frame->len = derp_be32_get(bytes + 1);
	frame->payload = bytes + DERP_HEADER_LEN;
	if (frame->len > max)
		return -EMSGSIZE;
	if (len - DERP_HEADER_LEN < frame->len)
		return 0;
	return (ssize_t)DERP_HEADER_LEN + frame->len;
}

size_t derp_server_key_put(
	uint8_t to[static DERP_HEADER_LEN + DERP_SERVER_KEY_LEN], const uint8_t key[static 32])
{
	derp_header_put(to, DERP_SERVER_KEY, DERP_SERVER_KEY_LEN);
	memcpy(to + DERP_HEADER_LEN, DERP_MAGIC, DERP_MAGIC_LEN);
	memcpy(to + DERP_HEADER_LEN + DERP_MAGIC_LEN, key, DERP_KEY_LEN);
	return DERP_HEADER_LEN + DERP_SERVER_KEY_LEN;
}

const uint8_t *derp_server_key_get(const uint8_t *payload, size_t len)
{
	if (len < DERP_SERVER_KEY_LEN || memcmp(payload, DERP_MAGIC, DERP_MAGIC_LEN) != 0)
		return NULL;
	return payload + DERP_MAGIC_LEN;
}

size_t derp_peer_gone_put(uint8_t to[static DERP_HEADER_LEN + DERP_PEER_GONE_LEN],
	const uint8_t key[static 32], enum derp_gone_reason reason)
{
	derp_header_put(to, DERP_PEER_GONE, DERP_PEER_GONE_LEN);
	memcpy(to + DERP_HEADER_LEN, key, DERP_KEY_LEN);
	to[DERP_HEADER_LEN + DERP_KEY_LEN] = (uint8_t)reason;
	return DERP_HEADER_LEN + DERP_PEER_GONE_LEN;
}

size_t derp_peer_present_put(uint8_t to[static DERP_HEADER_LEN + DERP_PEER_PRESENT_LEN],
	const struct derp_present *present)
{
	uint8_t *at = to + DERP_HEADER_LEN;

	derp_header_put(to, DERP_PEER_PRESENT, DERP_PEER_PRESENT_LEN);
	memcpy(at, present->key, DERP_KEY_LEN);
	memcpy(at + 32, present->address, 16);
	at[48] = (uint8_t)(present->port >> 8);
	at[49] = (uint8_t)present->port;
	at[50] = present->flags;
	return DERP_HEADER_LEN + DERP_PEER_PRESENT_LEN;
}

bool derp_peer_present_get(struct derp_present *present, const uint8_t *payload, size_t len)
{
	memset(present, 0, sizeof(*present));
	if (len < DERP_KEY_LEN)
		return false;
	memcpy(present->key, payload, DERP_KEY_LEN);
	if (len >= 50) {
		memcpy(present->address, payload + 32, 16);
		present->port = (uint16_t)(payload[48] << 8 | payload[49]);
	}
	if (len >= 51)
		present->flags = payload[50];
	return true;
}

/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The first byte chooses: a row of frames as they come from the network; the JSON of a ClientInfo
 * or ServerInfo; a ClientInfo whose box is genuine around those bytes; one that is not.
 */
#include <assert.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "info.h"
#include "x25519.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct private_key server, client;
static struct public_key server_key, client_key;
static struct symmetric_key box;

static void make_keys(void)
{
	if (!secret_is_zero(&server, sizeof(server)))
		return;
	if (sodium_init() < 0)
		abort();
	memset(&server, 0x33, sizeof(server));
	memset(&client, 0x11, sizeof(client));
	x25519_public(&server_key, &server);
	x25519_public(&client_key, &client);
	if (!derp_box_key(&box, &client, &server_key))
		abort();
}

static void frames(uint8_t *bytes, size_t size)
{
	struct derp_present present;
	struct derp_frame frame;
	ssize_t len;

	while ((len = derp_frame_get(&frame, bytes, size, DERP_FRAME_MAX)) > 0) {
		assert((size_t)len <= size && frame.len + DERP_HEADER_LEN == (size_t)len);
		derp_server_key_get(frame.payload, frame.len);
		derp_peer_present_get(&present, frame.payload, frame.len);
		derp_is_disco(frame.payload, frame.len);
		bytes += len;
		size -= (size_t)len;
	}
}

static void json(const uint8_t *bytes, size_t size)
{
	struct derp_client_info info;
	struct derp_server_info other;

	if (derp_client_info_parse(&info, bytes, size) == 0)
		assert(memchr(info.app_name, '\0', sizeof(info.app_name)));
	derp_server_info_parse(&other, bytes, size);
}

static void genuine(const uint8_t *text, size_t size)
{
	size_t len = DERP_KEY_LEN + DERP_BOX_OVERHEAD + size;
	struct derp_client_info info, plain;
	struct symmetric_key key;
	struct public_key who;
	uint8_t *payload = malloc(len), *nonce = payload + DERP_KEY_LEN;
	int rc;

	memcpy(payload, client_key.bytes, DERP_KEY_LEN);
	memset(nonce, 7, DERP_NONCE_LEN);
	crypto_box_easy_afternm(nonce + DERP_NONCE_LEN, text, size, nonce, box.bytes);
	rc = derp_client_info_open(&info, &who, &key, &server, payload, len);
	assert(rc == derp_client_info_parse(&plain, text, size));
	assert(memcmp(&who, &client_key, sizeof(who)) == 0);
	free(payload);
}

static void forged(uint8_t *bytes, size_t size)
{
	struct derp_client_info info;
	struct derp_server_info other;
	struct symmetric_key key;
	struct public_key who;

	derp_server_info_open(&other, &box, bytes, size);
	derp_client_info_open(&info, &who, &key, &server, bytes, size);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint8_t *copy = malloc(size + 1);

	make_keys();
	if (size)
		memcpy(copy, data, size);
	if (size) {
		switch (copy[0] % 4) {
		case 0:
			frames(copy + 1, size - 1);
			break;
		case 1:
			json(copy + 1, size - 1);
			break;
		case 2:
			genuine(copy + 1, size - 1);
			break;
		default:
			forged(copy + 1, size - 1);
		}
	}
	free(copy);
	return 0;
}

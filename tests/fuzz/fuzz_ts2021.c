/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The Noise session's framing. The first byte chooses: an initiation from a stranger; an answer to
 * a client, in pieces, from a server that knows its keys (bytes become records' text) or does not;
 * a row of records of which one may be changed.
 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "ts2021.h"
#include "ts_client.h"
#include "x25519.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct ts2021_server server;
static struct private_key machine;

static void make_keys(void)
{
	if (!secret_is_zero(&server, sizeof(server)))
		return;
	memset(server.key.bytes, 0x33, 32);
	memset(machine.bytes, 0x11, 32);
	x25519_public(&server.public_key, &server.key);
}

static void stranger(const uint8_t *data, size_t size)
{
	uint8_t initiation[TS2021_INITIATION_LEN] = {0}, response[TS2021_RESPONSE_LEN];
	struct public_key who;
	struct ts2021_keys keys;
	uint16_t version;

	memcpy(initiation, data, size < sizeof(initiation) ? size : sizeof(initiation));
	/* the corpus has one that is right */
	if (ts2021_accept(&server, initiation, response, &who, &version, &keys) == 0)
		return;
	assert(secret_is_zero(&keys, sizeof(keys)) && secret_is_zero(&who, sizeof(who)));
}

static void feed(struct ts_client *client, const uint8_t *bytes, size_t size, size_t step)
{
	size_t len;

	for (size_t at = 0; at < size; at += step) {
		size_t part = size - at < step ? size - at : step;

		if (ts_client_input(client, bytes + at, part) != 0)
			return;
		while (ts_client_output(client, &len))
			ts_client_sent(client, len);
	}
}

static struct ts_client *new_client(struct ts2021_keys *keys, uint8_t *response)
{
	static const struct ts_client_ops ops;
	struct ts_client_conf conf = {.host = "x",
		.machine = machine,
		.server = server.public_key,
		.version = 142,
		.ops = &ops};
	struct ts_client *client = ts_client_new(&conf);
	uint8_t initiation[TS2021_INITIATION_LEN];
	struct public_key who;
	uint16_t version;
	size_t len;
	const char *head = (const char *)ts_client_output(client, &len), *at;

	/* base64 by hand: 101 bytes in 136 characters */
	static const char letters[] =
		"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

	at = memmem(head, len, "Handshake: ", 11);
	assert(at);
	at += 11;
	for (unsigned i = 0; i < TS2021_INITIATION_LEN; i++) {
		unsigned bit = i * 8, c = bit / 6;
		unsigned pair = (unsigned)(strchr(letters, at[c]) - letters) << 6;

		pair |= at[c + 1] == '=' ? 0 : (unsigned)(strchr(letters, at[c + 1]) - letters);
		initiation[i] = (uint8_t)(pair >> (4 - bit % 6));
	}
	ts_client_sent(client, len);
	assert(ts2021_accept(&server, initiation, response, &who, &version, keys) == 0);
	return client;
}

static void answers(const uint8_t *data, size_t size, bool known, size_t step)
{
	static const char head[] = "HTTP/1.1 101 Switching Protocols\r\n\r\n";
	uint8_t response[TS2021_RESPONSE_LEN], record[TS2021_FRAME_MAX];
	struct ts2021_keys keys;
	struct ts_client *client = new_client(&keys, response);

	if (known) {
		feed(client, (const uint8_t *)head, sizeof(head) - 1, step);
		feed(client, response, sizeof(response), step);
		ts_client_request(client, "POST", "/machine/map", "x", "{}", 2);
	}
	while (known && size) {
		size_t part = size < 300 ? size : 300;
		ssize_t n = ts2021_seal(&keys.send, record, data, part);

		feed(client, record, (size_t)n, step);
		data += part;
		size -= part;
	}
	feed(client, data, size, step);
	ts_client_free(client);
	secret_zero(&keys, sizeof(keys));
}

static void records(const uint8_t *data, size_t size, unsigned change)
{
	struct ts2021_cipher to = {{{1}}, 0}, from = to;
	uint8_t record[TS2021_FRAME_MAX];

	while (size) {
		size_t part = size < 100 ? size : 100;
		ssize_t n = ts2021_seal(&to, record, data, part), text;
		bool changed = change && size <= change;

		if (changed)
			record[change % (size_t)n] ^= (uint8_t)change;
		assert(changed || ts2021_record_len(record, 3) == n);
		text = ts2021_open(&from, record, (size_t)n);
		/* the header is not authenticated: its length is what was read */
		if (changed && change % (size_t)n >= TS2021_HEADER_LEN) {
			assert(text < 0);
			return;
		}
		assert(text == (ssize_t)part &&
			memcmp(record + TS2021_HEADER_LEN, data, part) == 0);
		data += part;
		size -= part;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size < 2)
		return 0;
	make_keys();
	switch (data[0] % 4) {
	case 0:
		stranger(data + 2, size - 2);
		break;
	case 1:
		answers(data + 2, size - 2, false, 1 + data[1]);
		break;
	case 2:
		answers(data + 2, size - 2, true, 1 + data[1]);
		break;
	default:
		records(data + 2, size - 2, data[1]);
	}
	return 0;
}

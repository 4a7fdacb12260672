/* SPDX-License-Identifier: BSD-3-Clause */
/* Runs on: any thread. */
#include <tailplane/websocket.h>

#include <errno.h>
#include <openssl/evp.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

enum opcode { CONTINUATION = 0, TEXT = 1, BINARY = 2, CLOSE = 8, PING = 9, PONG = 10 };

#define FIN 0x80
#define MASKED 0x80
#define KEY_LEN 24 /* base64 of 16 bytes */
#define LEN_MAX (1u << 20)

int websocket_accept(const char *key, char accept[static WEBSOCKET_ACCEPT_LEN + 1])
{
	static const char guid[] = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
	char text[KEY_LEN + sizeof(guid)];
	uint8_t hash[EVP_MAX_MD_SIZE];
	unsigned len = 0;

	if (!key || strlen(key) != KEY_LEN)
		return -EINVAL;
	snprintf(text, sizeof(text), "%s%s", key, guid);
	if (EVP_Digest(text, strlen(text), hash, &len, EVP_sha1(), NULL) != 1)
		return -EINVAL;
	EVP_EncodeBlock((unsigned char *)accept, hash, (int)len);
	return 0;
}

static bool is_control(uint8_t opcode)
{
	return opcode & 8;
}

/* How long the header is that begins so. */
static unsigned header_size(const uint8_t *header, unsigned have)
{
	unsigned len = have < 2 ? 0 : header[1] & 0x7f;

	return have < 2 ? 2 : 6 + (len == 126 ? 2 : len == 127 ? 8 : 0);
}

/* A whole header. */
static int begin_frame(struct websocket *ws)
{
	uint8_t first = ws->header[0], second = ws->header[1];
	unsigned bytes = (second & 0x7f) == 126 ? 2 : (second & 0x7f) == 127 ? 8 : 0;
	uint64_t len = bytes ? 0 : second & 0x7f;

	for (unsigned i = 0; i < bytes; i++)
		len = len << 8 | ws->header[2 + i];
	ws->opcode = first & 0x0f;
	ws->left = len;
	ws->mask_at = 0;
	ws->control_len = 0;
	if ((first & 0x70) || !(second & MASKED) || len > LEN_MAX)
		return -EPROTO;
	if (is_control(ws->opcode))
		return (first & FIN) && len <= WEBSOCKET_CONTROL_MAX && ws->opcode <= PONG
			       ? 0
			       : -EPROTO;
	return ws->opcode <= BINARY ? 0 : -EPROTO;
}

static int end_frame(struct websocket *ws)
{
	ws->header_len = 0;
	if (ws->opcode == CLOSE)
		return -ECONNRESET;
	if (ws->opcode != PING)
		return 0;
	ws->pong[0] = FIN | PONG;
	ws->pong[1] = ws->control_len;
	memcpy(ws->pong + 2, ws->control, ws->control_len);
	ws->pong_len = (uint8_t)(2 + ws->control_len);
	return 0;
}

/* One byte of a header; 0 or what is wrong. */
static int take_header(struct websocket *ws, uint8_t byte)
{
	int rc;

	ws->header[ws->header_len++] = byte;
	if (ws->header_len < header_size(ws->header, ws->header_len))
		return 0;
	rc = begin_frame(ws);
	if (rc)
		return rc;
	return ws->left ? 0 : end_frame(ws);
}

static bool in_header(const struct websocket *ws)
{
	return ws->header_len < 2 || ws->header_len < header_size(ws->header, ws->header_len);
}

/* Up to `n` bytes of a payload, unmasked to `to`, which is not behind them. How many. */
static size_t take_payload(struct websocket *ws, const uint8_t *from, size_t n, uint8_t *to)
{
	const uint8_t *mask = ws->header + ws->header_len - 4;

	if (n > ws->left)
		n = (size_t)ws->left;
	for (size_t i = 0; i < n; i++)
		to[i] = from[i] ^ mask[ws->mask_at++ & 3];
	ws->mask_at &= 3;
	ws->left -= n;
	return n;
}

ssize_t websocket_read(struct websocket *ws, uint8_t *bytes, size_t n)
{
	size_t at = 0, out = 0;
	int rc = 0;

	while (at < n && !rc) {
		if (in_header(ws)) {
			rc = take_header(ws, bytes[at++]);
			continue;
		}
		if (is_control(ws->opcode)) {
			size_t took =
				take_payload(ws, bytes + at, n - at, ws->control + ws->control_len);

			ws->control_len = (uint8_t)(ws->control_len + took);
			at += took;
		} else {
			size_t took = take_payload(ws, bytes + at, n - at, bytes + out);

			out += took;
			at += took;
		}
		if (!ws->left)
			rc = end_frame(ws);
	}
	return rc ? rc : (ssize_t)out;
}

size_t websocket_header(uint8_t *payload, size_t len)
{
	size_t n = len < 126 ? 2 : len < 65536 ? 4 : 10;
	uint8_t *header = payload - n;

	header[0] = FIN | BINARY;
	header[1] = (uint8_t)(n == 2 ? len : n == 4 ? 126 : 127);
	for (size_t i = 2; i < n; i++)
		header[i] = (uint8_t)((uint64_t)len >> 8 * (n - 1 - i));
	return n;
}

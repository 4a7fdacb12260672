/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

/*
 * WebSocket (RFC 6455) as a carrier of bytes, server side: boundaries of messages mean nothing.
 * Protocol library: no socket, no clock, any thread.
 */
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#pragma GCC visibility push(default)

#define WEBSOCKET_ACCEPT_LEN 28
#define WEBSOCKET_HEADER_MAX 10 /* of a frame that we send */
#define WEBSOCKET_CONTROL_MAX 125
#define WEBSOCKET_PONG_MAX (2 + WEBSOCKET_CONTROL_MAX)

struct websocket {
	uint8_t header[14]; /* of a frame that arrives */
	uint8_t header_len, mask_at;
	uint8_t opcode; /* of the frame whose payload comes */
	uint64_t left;  /* of its payload */
	uint8_t control[WEBSOCKET_CONTROL_MAX];
	uint8_t control_len;
	uint8_t pong[WEBSOCKET_PONG_MAX]; /* a frame to be sent; the newest ping's */
	uint8_t pong_len;                 /* 0: none */
};

/* The Sec-WebSocket-Accept for a Sec-WebSocket-Key; 0 or -EINVAL. */
int websocket_accept(const char *key, char accept[static WEBSOCKET_ACCEPT_LEN + 1]);
/* Takes `n` bytes and leaves what they carry at their start: its length; -ECONNRESET: the far end
 * said goodbye; -EPROTO: against the rules. */
ssize_t websocket_read(struct websocket *ws, uint8_t *bytes, size_t n);
/* Writes the header of one binary frame of `len` bytes right before `payload`; its length. */
size_t websocket_header(uint8_t *payload, size_t len);

#pragma GCC visibility pop

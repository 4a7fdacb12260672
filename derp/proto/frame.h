/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

/*
 * Frames of DERP version 2: type, length (big-endian, without these five bytes), payload. Protocol
 * library: no socket, no clock, any thread.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/types.h>

enum derp_frame_type {
	DERP_SERVER_KEY = 0x01,     /* <- magic, key */
	DERP_CLIENT_INFO = 0x02,    /* -> key, nonce, box (info.h) */
	DERP_SERVER_INFO = 0x03,    /* <- nonce, box (info.h) */
	DERP_SEND_PACKET = 0x04,    /* -> key of the destination, packet */
	DERP_RECV_PACKET = 0x05,    /* <- key of the source, packet */
	DERP_KEEP_ALIVE = 0x06,     /* <- */
	DERP_NOTE_PREFERRED = 0x07, /* -> one byte: 1, this relay is my home; 0, it is not */
	DERP_PEER_GONE = 0x08,      /* <- key, reason */
	DERP_PEER_PRESENT = 0x09,   /* <- key, address, port, flags; to watchers */
	DERP_FORWARD_PACKET = 0x0a, /* -> source, destination, packet; of mesh peers */
	DERP_WATCH_CONNS = 0x10,    /* -> of mesh peers */
	DERP_CLOSE_PEER = 0x11,     /* -> key; of mesh peers */
	DERP_PING = 0x12,           /* 8 bytes, which the pong has too */
	DERP_PONG = 0x13,
	DERP_HEALTH = 0x14,     /* <- text; empty: all is well again */
	DERP_RESTARTING = 0x15, /* <- be32 reconnect in, be32 try for; milliseconds */
};

enum derp_gone_reason { DERP_GONE_DISCONNECTED = 0x00, DERP_GONE_NOT_HERE = 0x01 };

enum derp_present_flag {
	DERP_PRESENT_REGULAR = 1 << 0, /* none of the others */
	DERP_PRESENT_MESH = 1 << 1,
	DERP_PRESENT_PROBER = 1 << 2,
	DERP_PRESENT_NOT_IDEAL = 1 << 3, /* not at the first node of its region */
};

#define DERP_VERSION 2
#define DERP_HEADER_LEN 5
#define DERP_KEY_LEN 32
#define DERP_PACKET_MAX 65536
#define DERP_MAGIC "DERP\xf0\x9f\x94\x91"
#define DERP_MAGIC_LEN 8
#define DERP_SERVER_KEY_LEN (DERP_MAGIC_LEN + DERP_KEY_LEN)
#define DERP_PEER_GONE_LEN (DERP_KEY_LEN + 1)
#define DERP_PEER_PRESENT_LEN (DERP_KEY_LEN + 16 + 2 + 1)
#define DERP_PING_LEN 8
#define DERP_PING_MAX 1000
/* The longest frame that anybody sends or takes. */
#define DERP_FRAME_MAX (1u << 20)
/* Of SendPacket, RecvPacket; ForwardPacket has one key more. With its header. */
#define DERP_PACKET_FRAME_MAX (DERP_HEADER_LEN + DERP_KEY_LEN + DERP_PACKET_MAX)
#define DERP_FORWARD_FRAME_MAX (DERP_PACKET_FRAME_MAX + DERP_KEY_LEN)

struct derp_frame {
	uint8_t type;
	uint32_t len;     /* of the payload */
	uint8_t *payload; /* within the bytes that were given */
};

/* Reads one frame from the start of `bytes`: how long it is with its header; 0: there is no whole
 * one yet (`type` and `len` are set if the header is there, else `len` is 0); -EMSGSIZE: its
 * payload is longer than `max`. */
ssize_t derp_frame_get(struct derp_frame *frame, uint8_t *bytes, size_t len, uint32_t max);

static inline uint32_t derp_be32_get(const uint8_t *from)
{
	return (uint32_t)from[0] << 24 | (uint32_t)from[1] << 16 | (uint32_t)from[2] << 8 | from[3];
}

static inline void derp_be32_put(uint8_t *to, uint32_t value)
{
	to[0] = (uint8_t)(value >> 24);
	to[1] = (uint8_t)(value >> 16);
	to[2] = (uint8_t)(value >> 8);
	to[3] = (uint8_t)value;
}

static inline void derp_header_put(uint8_t *to, enum derp_frame_type type, uint32_t len)
{
	to[0] = (uint8_t)type;
	derp_be32_put(to + 1, len);
}

/* Frames as a whole; each returns its length. */
size_t derp_server_key_put(
	uint8_t to[static DERP_HEADER_LEN + DERP_SERVER_KEY_LEN], const uint8_t key[static 32]);
/* The key in the payload of a ServerKey; NULL: it is none. */
const uint8_t *derp_server_key_get(const uint8_t *payload, size_t len);
size_t derp_peer_gone_put(uint8_t to[static DERP_HEADER_LEN + DERP_PEER_GONE_LEN],
	const uint8_t key[static 32], enum derp_gone_reason reason);

struct derp_present {
	uint8_t key[DERP_KEY_LEN];
	uint8_t address[16]; /* IPv4 mapped; zero: not told */
	uint16_t port;
	uint8_t flags; /* enum derp_present_flag; 0: an old server's */
};

size_t derp_peer_present_put(uint8_t to[static DERP_HEADER_LEN + DERP_PEER_PRESENT_LEN],
	const struct derp_present *present);
/* False: too short. Takes the short forms of old servers. */
bool derp_peer_present_get(struct derp_present *present, const uint8_t *payload, size_t len);

/* Magic, and long enough for a disco message: 62 bytes are its clear part. */
static inline bool derp_is_disco(const uint8_t *packet, size_t len)
{
	return len >= 62 && memcmp(packet, "TS\xf0\x9f\x92\xac", 6) == 0;
}

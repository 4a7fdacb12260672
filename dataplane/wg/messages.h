/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

/*
 * WireGuard's messages as they go over the wire (paper, section 5.4) and its constants (section
 * 6.1). Protocol library: any thread. Every field is made of bytes, so the structs have no padding
 * and may lie at any address. Times are nanoseconds.
 */
#include <assert.h>
#include <endian.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define WG_MUST_USE __attribute__((warn_unused_result))

/* Little-endian integers on the wire; converted at the edge only. */
struct le32 {
	uint8_t bytes[4];
};
struct le64 {
	uint8_t bytes[8];
};

static inline uint32_t le32_get(struct le32 wire)
{
	uint32_t v;

	memcpy(&v, wire.bytes, sizeof(v));
	return le32toh(v);
}

static inline struct le32 le32_make(uint32_t v)
{
	struct le32 wire;

	v = htole32(v);
	memcpy(wire.bytes, &v, sizeof(v));
	return wire;
}

static inline uint64_t le64_get(struct le64 wire)
{
	uint64_t v;

	memcpy(&v, wire.bytes, sizeof(v));
	return le64toh(v);
}

static inline struct le64 le64_make(uint64_t v)
{
	struct le64 wire;

	v = htole64(v);
	memcpy(wire.bytes, &v, sizeof(v));
	return wire;
}

#define NS_PER_SEC 1000000000ULL

#define NOISE_TAG_LEN 16
#define NOISE_TIMESTAMP_LEN 12
#define COOKIE_LEN 16
#define COOKIE_NONCE_LEN 24

/* Counters that lag the highest by this much or more are refused. */
#define REPLAY_WINDOW 8192

#define REKEY_AFTER_MESSAGES (1ULL << 60)
#define REJECT_AFTER_MESSAGES (UINT64_MAX - REPLAY_WINDOW - 1)
#define REKEY_AFTER_TIME (120 * NS_PER_SEC)
#define REJECT_AFTER_TIME (180 * NS_PER_SEC)
#define REKEY_ATTEMPT_TIME (90 * NS_PER_SEC)
#define REKEY_TIMEOUT (5 * NS_PER_SEC)
#define REKEY_TIMEOUT_JITTER_MAX (NS_PER_SEC / 3)
#define KEEPALIVE_TIMEOUT (10 * NS_PER_SEC)
#define COOKIE_SECRET_MAX_AGE (120 * NS_PER_SEC)
#define COOKIE_SECRET_LATENCY (5 * NS_PER_SEC)
#define INITIATIONS_PER_SECOND 50

/* The first four bytes, little-endian: the three reserved bytes must be zero. */
enum message_type {
	MESSAGE_INVALID = 0,
	MESSAGE_INITIATION = 1,
	MESSAGE_RESPONSE = 2,
	MESSAGE_COOKIE_REPLY = 3,
	MESSAGE_DATA = 4,
};

struct message_macs {
	uint8_t mac1[COOKIE_LEN];
	uint8_t mac2[COOKIE_LEN];
};

struct message_initiation {
	struct le32 type;
	struct le32 sender_index;
	uint8_t ephemeral[32];
	uint8_t encrypted_static[32 + NOISE_TAG_LEN];
	uint8_t encrypted_timestamp[NOISE_TIMESTAMP_LEN + NOISE_TAG_LEN];
	struct message_macs macs;
};

struct message_response {
	struct le32 type;
	struct le32 sender_index;
	struct le32 receiver_index;
	uint8_t ephemeral[32];
	uint8_t encrypted_nothing[NOISE_TAG_LEN];
	struct message_macs macs;
};

struct message_cookie_reply {
	struct le32 type;
	struct le32 receiver_index;
	uint8_t nonce[COOKIE_NONCE_LEN];
	uint8_t encrypted_cookie[COOKIE_LEN + NOISE_TAG_LEN];
};

struct message_data {
	struct le32 type;
	struct le32 receiver_index;
	struct le64 counter;
	uint8_t encrypted[]; /* padded packet and tag; a keep-alive is the tag alone */
};

#define MESSAGE_DATA_MIN (sizeof(struct message_data) + NOISE_TAG_LEN)
/* Plaintext is padded with zeros to a multiple of this, but never beyond the MTU. */
#define MESSAGE_PADDING 16
/* Room that packet buffers keep in front of a data message for a peer relay's Geneve header. */
#define MESSAGE_RELAY_HEADROOM 8

static_assert(sizeof(struct message_initiation) == 148, "wire size");
static_assert(sizeof(struct message_response) == 92, "wire size");
static_assert(sizeof(struct message_cookie_reply) == 64, "wire size");
static_assert(sizeof(struct message_data) == 16, "wire size");
static_assert(offsetof(struct message_initiation, encrypted_static) == 40, "wire layout");
static_assert(offsetof(struct message_initiation, encrypted_timestamp) == 88, "wire layout");
static_assert(offsetof(struct message_initiation, macs) == 116, "wire layout");
static_assert(offsetof(struct message_response, encrypted_nothing) == 44, "wire layout");
static_assert(offsetof(struct message_response, macs) == 60, "wire layout");
static_assert(_Alignof(struct message_initiation) == 1 && _Alignof(struct message_data) == 1,
	"may lie anywhere in a packet");

/*
 * What these bytes are, by type and size alone: handshake messages have exactly one size, data has
 * a least one. MESSAGE_INVALID: none of WireGuard's.
 */
static inline enum message_type wg_message_type(const void *message, size_t len)
{
	struct le32 type;

	if (len < sizeof(type))
		return MESSAGE_INVALID;
	memcpy(&type, message, sizeof(type));
	switch (le32_get(type)) {
	case MESSAGE_INITIATION:
		return len == sizeof(struct message_initiation) ? MESSAGE_INITIATION
								: MESSAGE_INVALID;
	case MESSAGE_RESPONSE:
		return len == sizeof(struct message_response) ? MESSAGE_RESPONSE : MESSAGE_INVALID;
	case MESSAGE_COOKIE_REPLY:
		return len == sizeof(struct message_cookie_reply) ? MESSAGE_COOKIE_REPLY
								  : MESSAGE_INVALID;
	case MESSAGE_DATA:
		return len >= MESSAGE_DATA_MIN ? MESSAGE_DATA : MESSAGE_INVALID;
	default:
		return MESSAGE_INVALID;
	}
}

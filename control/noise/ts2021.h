/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

/*
 * The Noise session of Tailscale's control protocol: Noise_IK_25519_ChaChaPoly_BLAKE2s with the
 * prologue "Tailscale Control Protocol v<version>", then records of at most 4096 bytes. Both ends.
 * Protocol library: no socket, no clock, any thread. The handshake takes four X25519 (~150 us).
 *
 *   client                               server
 *   ts2021_initiate    -- 101 bytes -->  ts2021_accept
 *   ts2021_finish      <-- 51 bytes --
 *
 * Lengths on the wire are big-endian, and so are the counters in the nonces of records, other than
 * in Noise itself.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "secret.h"

#define TS2021_INITIATION_LEN 101
#define TS2021_RESPONSE_LEN 51
#define TS2021_HEADER_LEN 3 /* of all frames but the initiation: type, length */
#define TS2021_TAG_LEN 16
#define TS2021_FRAME_MAX 4096
#define TS2021_TEXT_MAX (TS2021_FRAME_MAX - TS2021_HEADER_LEN - TS2021_TAG_LEN)
#define TS2021_RECORD_OVERHEAD (TS2021_HEADER_LEN + TS2021_TAG_LEN)
#define TS2021_ERROR_MAX 256

enum ts2021_type {
	TS2021_INITIATION = 1,
	TS2021_RESPONSE = 2,
	TS2021_ERROR = 3,
	TS2021_RECORD = 4
};

/* One direction of a session; zeroed by its owner. */
struct ts2021_cipher {
	struct symmetric_key key;
	uint64_t counter; /* of the next record */
};

struct ts2021_keys {
	struct ts2021_cipher send, receive;
};

/* ---- handshake; a handshake that fails leaves outputs zeroed ---- */

struct ts2021_server {
	struct private_key key;
	struct public_key public_key;
};

/* What an initiation says before it is believed: 0, or -EPROTO (not an initiation). */
int ts2021_initiation_version(
	const uint8_t initiation[static TS2021_INITIATION_LEN], uint16_t *version);
/* 0; -EPROTO: not an initiation; -EACCES: not for this key, or nobody's. */
int ts2021_accept(const struct ts2021_server *server,
	const uint8_t initiation[static TS2021_INITIATION_LEN],
	uint8_t response[static TS2021_RESPONSE_LEN], struct public_key *machine, uint16_t *version,
	struct ts2021_keys *keys);

/* A handshake under way at the client; zeroed by ts2021_finish. */
struct ts2021_client {
	struct private_key machine, ephemeral;
	uint8_t hash[32];
	uint8_t chaining_key[32];
};

int ts2021_initiate(struct ts2021_client *client, const struct private_key *machine,
	const struct public_key *server, uint16_t version,
	uint8_t initiation[static TS2021_INITIATION_LEN]);
/* 0; -EPROTO: not a response; -EACCES: it does not come from that server. */
int ts2021_finish(struct ts2021_client *client, const uint8_t response[static TS2021_RESPONSE_LEN],
	struct ts2021_keys *keys);

/* A handshake's answer that says why not. `frame` has room for 3 + TS2021_ERROR_MAX; its length. */
size_t ts2021_error(uint8_t *frame, const char *text);

/* ---- records ---- */

/* The whole length of the frame that begins with these `n` bytes; 0: more are needed to tell;
 * -EPROTO: not a record, or one of a length that no record has. */
ssize_t ts2021_record_len(const uint8_t *bytes, size_t n);
/* Opens a whole record of `len` bytes in place: the text is at `record` + 3, its length is the
 * answer; -EACCES ends the session. */
ssize_t ts2021_open(struct ts2021_cipher *cipher, uint8_t *record, size_t len);

/* Writes the header of a record with `text_len` bytes of text, and the nonce to seal it with (see
 * aead.h; the key is cipher->key, no additional data). -EOVERFLOW: the key is used up. */
int ts2021_begin_record(struct ts2021_cipher *cipher, uint8_t header[static TS2021_HEADER_LEN],
	size_t text_len, uint8_t nonce[static 8]);
/* The whole record for `len` <= TS2021_TEXT_MAX bytes, for those who seal one at a time; `record`
 * has room for len + TS2021_RECORD_OVERHEAD. Its length or -EOVERFLOW. */
ssize_t ts2021_seal(struct ts2021_cipher *cipher, uint8_t *record, const uint8_t *text, size_t len);

/* ---- the early payload: what a server may say before HTTP/2 ---- */

#define TS2021_EARLY_HEADER_LEN 9 /* as long as the header of an HTTP/2 frame */
#define TS2021_EARLY_MAX (10u << 20)

void ts2021_early_header(uint8_t header[static TS2021_EARLY_HEADER_LEN], uint32_t json_len);
/* The length of the JSON that follows; -ENOENT: this is no early payload but HTTP/2; -EPROTO: it
 * is too long. */
ssize_t ts2021_early_len(const uint8_t header[static TS2021_EARLY_HEADER_LEN]);

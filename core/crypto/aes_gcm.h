/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#pragma GCC visibility push(default)

/* AES-128-GCM (NIST SP 800-38D) with nonces of 96 bits, on 512-bit vectors. Constant time. Any
 * thread; a key is only read. */

#define AES_GCM_KEY_LEN 16
#define AES_GCM_NONCE_LEN 12
#define AES_GCM_TAG_LEN 16
#define AES_GCM_HEAD_MAX 16

/* The caller's to zero. */
struct aes_gcm_key {
	uint8_t rounds[11][16];
	uint8_t powers[16 + 3]
		      [16]; /* of the hash key, from the 16th down; then what a load reads */
};

struct aes_gcm_message {
	const uint8_t *nonce;
	const uint8_t *head; /* authenticated and not encrypted; AES_GCM_HEAD_MAX at most */
	size_t head_len;
	const uint8_t *bytes;
	size_t len; /* less than 2^32 */
	/* Sealing: one more byte of text behind `bytes`; -1: none. */
	int last;
};

struct aes_gcm {
	void (*key)(struct aes_gcm_key *key, const uint8_t bytes[static AES_GCM_KEY_LEN]);
	/* `to` gets the text's length, and the tag behind it; it is `bytes`, or apart from it. */
	void (*seal)(
		const struct aes_gcm_key *key, const struct aes_gcm_message *message, uint8_t *to);
	/* The tag is the last of `bytes`. False: it is another's, and `to` is zeroed. */
	bool (*open)(const struct aes_gcm_key *key, const struct aes_gcm_message *message,
		uint8_t *to) __attribute__((warn_unused_result));
};

/* NULL: the machine lacks the instructions (VAES, VPCLMULQDQ, AVX-512), and OpenSSL's is as good as
 * any. */
const struct aes_gcm *aes_gcm(void);

#pragma GCC visibility pop

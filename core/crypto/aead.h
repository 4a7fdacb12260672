/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "secret.h"

#pragma GCC visibility push(default)

/*
 * ChaCha20-Poly1305 (RFC 8439) over bursts of packets, each with its own key and counter: the one
 * door to the AEAD for both planes. The nonce is 4 zero bytes and `nonce` as it goes on the wire
 * (WireGuard counts little-endian, Tailscale's control records big-endian).
 *
 * Source: up to two segments, read in order. Destination: one contiguous range, either exactly the
 * first segment's start (in place; then the second segment, if any, must be where it would land or
 * not overlap the destination at all) or not overlapping the source. The AAD never overlaps it, nor
 * does one item's destination touch what another reads or writes.
 */
#define AEAD_TAG_LEN 16
#define AEAD_BURST_MAX 64
#define AEAD_TEXT_MAX 65536

struct aead_segment {
	const uint8_t *data;
	uint32_t len;
};

struct aead_item {
	const struct symmetric_key *key;
	uint8_t nonce[8];
	struct aead_segment src[2]; /* seal: plaintext; open: ciphertext and tag, together */
	uint8_t *dst;               /* seal: room for text + 16; open: room for text */
	const uint8_t *aad;         /* NULL: none */
	uint32_t aad_len;
	/* Open: authentic. When false, the text range of dst is all zero, in place or not; the tag
	 * and a source that lies elsewhere are as they were. A source shorter than a tag is not ok.
	 * Seal leaves it alone. */
	bool ok;
};

/* One implementation per instruction set. n <= AEAD_BURST_MAX; n == 0 is fine. */
struct aead_impl {
	const char *name; /* "portable", "avx2", "avx512", "avx512-1x16" */
	void (*seal)(struct aead_item *items, unsigned n);
	void (*open)(struct aead_item *items, unsigned n); /* sets ok of each */
	bool (*usable)(void); /* this machine and operating system can run it */
};

/* NULL-terminated, best first; those that cannot run here included. */
extern const struct aead_impl *const aead_impls[];

/* Chosen once at start: the best usable one, or the one named by `wanted` (NULL, "auto": none) or,
 * over it, by TAILPLANE_AEAD in the environment. 0, -ENOENT for an unknown name or -ENOTSUP; then
 * the choice stays what it was. Before any thread that seals or opens; any thread may call the
 * rest. */
int aead_init(const char *wanted);
const struct aead_impl *aead_chosen(void);

void aead_seal(struct aead_item *items, unsigned n);
void aead_open(struct aead_item *items, unsigned n);

#pragma GCC visibility pop

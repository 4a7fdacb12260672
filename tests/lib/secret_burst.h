/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Bursts of which everything that may be known (lengths, counters, places, ciphertexts, which
 * packets are damaged) follows from the kind alone, and everything secret (keys, plaintexts, and
 * tags with them) from a seed: two seeds show what an implementation lets out.
 */
#pragma once

#include "aead.h"

#define SECRET_TEXT_MAX 1500

struct secret_burst {
	struct aead_item items[AEAD_BURST_MAX];
	struct symmetric_key keys[AEAD_BURST_MAX];
	uint8_t buffers[AEAD_BURST_MAX][SECRET_TEXT_MAX + AEAD_TAG_LEN + 64];
	uint8_t aad[64];
	unsigned n;
};

struct secret_kind {
	const char *name;
	unsigned n;
	unsigned len_min, len_max; /* drawn from between */
	bool aad;
};

#define N_SECRET_KINDS 6
extern const struct secret_kind secret_kinds[N_SECRET_KINDS];

/* In place. When opening, the texts are sealed already (by libsodium) and each fifth packet but the
 * first has a wrong tag. */
void secret_burst_fill(
	struct secret_burst *burst, const struct secret_kind *kind, uint64_t seed, bool opening);

/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "secret.h"

#pragma GCC visibility push(default)

/* X25519 (RFC 7748). Constant time in the private key. A private key that comes from outside need
 * not be clamped: each use clamps its own copy, as other implementations do. */

/* A fresh key, clamped as `wg genkey` does it, so that it reads the same everywhere. */
void x25519_generate(struct private_key *private_key);
void x25519_public(struct public_key *public_key, const struct private_key *private_key);
/* False, and `out` zeroed, when the result is all zero: a point of small order, which WireGuard
 * refuses. `out` may alias neither key. */
bool x25519_shared(uint8_t out[static 32], const struct private_key *private_key,
	const struct public_key *public_key) __attribute__((warn_unused_result));

/* Two at once, which takes little longer than one where the machine has AVX-512. False, and both
 * outputs zeroed, when either result is all zero. */
struct x25519_input {
	const struct private_key *private_key;
	const struct public_key *public_key;
};
bool x25519_shared_pair(uint8_t out[static 2][32], const struct x25519_input in[static 2])
	__attribute__((warn_unused_result));

/* Whether two at once take as long as one: what will probably be needed is then made beside what
 * is. */
bool x25519_pair_costs_one(void);

/* The point whose "shared secret" is the public key. */
extern const struct public_key x25519_base;

#pragma GCC visibility pop

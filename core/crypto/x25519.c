/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Any thread; jobs, mostly.
 *
 * Two at once with AVX-512 where the machine has it (17 us for one or two, on Zen 5), else
 * libsodium. That rather than OpenSSL, by measurement (Zen 5, libsodium 1.0.18 against OpenSSL
 * 3.0): a shared secret takes 31 us against 60 us, since OpenSSL derives the public key each time
 * it loads a private one; with the loaded key kept around they are equal (31 us), but then keys
 * live in OpenSSL's heap, out of secret_alloc's reach. A public key costs 28 us in both.
 */
#include "x25519.h"

#include <string.h>

#include <sodium.h>

#include "start.h"
#include "x25519_avx512.h"

const struct public_key x25519_base = {{9}};

void x25519_generate(struct private_key *private_key)
{
	secret_random(private_key->bytes, sizeof(private_key->bytes));
	private_key->bytes[0] &= 0xf8;
	private_key->bytes[31] = (private_key->bytes[31] & 0x7f) | 0x40;
}

#if defined(__x86_64__)
/* False: not on this machine. */
static bool pair_by_vectors(uint8_t out[static 2][32], const struct x25519_input in[static 2])
{
	struct x25519_pair pairs[2];

	if (!x25519_avx512_usable())
		return false;
	for (int i = 0; i < 2; i++) {
		memcpy(pairs[i].scalar, in[i].private_key->bytes, 32);
		memcpy(pairs[i].u, in[i].public_key->bytes, 32);
	}
	x25519_avx512(out, pairs);
	secret_zero(pairs, sizeof(pairs));
	return true;
}

bool x25519_pair_costs_one(void)
{
	return x25519_avx512_usable();
}
#else
bool x25519_pair_costs_one(void)
{
	return false;
}

static bool pair_by_vectors(uint8_t out[static 2][32], const struct x25519_input in[static 2])
{
	return false;
}
#endif

/* What libsodium refuses, points of small order, has the result zero. */
static void shared_by_sodium(uint8_t out[static 32], const struct x25519_input *in)
{
	crypto_start();
	if (crypto_scalarmult(out, in->private_key->bytes, in->public_key->bytes) != 0)
		memset(out, 0, 32);
}

/* Alone it takes as long as in company. False: not on this machine. */
static bool one_by_vectors(uint8_t out[static 32], const struct x25519_input *in)
{
	const struct x25519_input twice[2] = {*in, *in};
	uint8_t both[2][32];
	bool done = pair_by_vectors(both, twice);

	if (done)
		memcpy(out, both[0], 32);
	secret_zero(both, sizeof(both));
	return done;
}

void x25519_public(struct public_key *public_key, const struct private_key *private_key)
{
	const struct x25519_input in = {private_key, &x25519_base};

	if (one_by_vectors(public_key->bytes, &in))
		return;
	crypto_start();
	crypto_scalarmult_base(public_key->bytes, private_key->bytes);
}

bool x25519_shared(uint8_t out[static 32], const struct private_key *private_key,
	const struct public_key *public_key)
{
	const struct x25519_input in = {private_key, public_key};

	if (!one_by_vectors(out, &in))
		shared_by_sodium(out, &in);
	return !secret_is_zero(out, 32);
}

bool x25519_shared_pair(uint8_t out[static 2][32], const struct x25519_input in[static 2])
{
	if (!pair_by_vectors(out, in)) {
		shared_by_sodium(out[0], &in[0]);
		shared_by_sodium(out[1], &in[1]);
	}
	if (!secret_is_zero(out[0], 32) && !secret_is_zero(out[1], 32))
		return true;
	secret_zero(out, 2 * 32);
	return false;
}

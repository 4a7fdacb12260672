/* SPDX-License-Identifier: BSD-3-Clause */
#include "primitives.h"

#include <err.h>
#include <string.h>

#include <openssl/evp.h>
#include <sodium.h>

#include "blake2s.h"
#include "chapoly.h"
#include "kdf.h"
#include "x25519.h"

static struct private_key ours;
static struct public_key theirs;
static uint8_t out[64];
static struct symmetric_key key;
static EVP_PKEY *loaded;

static void must(bool ok)
{
	if (!ok)
		errx(1, "a primitive failed");
}

static void tailplane_shared(void)
{
	must(x25519_shared(out, &ours, &theirs));
}

static void tailplane_pair(void)
{
	uint8_t both[2][32];

	must(x25519_shared_pair(
		both, (struct x25519_input[]){{&ours, &theirs}, {&ours, &x25519_base}}));
	memcpy(out, both[0], 32);
}

static void tailplane_public(void)
{
	x25519_public((struct public_key *)out, &ours);
}

static void sodium_shared(void)
{
	must(crypto_scalarmult(out, ours.bytes, theirs.bytes) == 0);
}

static void sodium_public(void)
{
	must(crypto_scalarmult_base(out, ours.bytes) == 0);
}

static EVP_PKEY *openssl_load(void)
{
	return EVP_PKEY_new_raw_private_key(EVP_PKEY_X25519, NULL, ours.bytes, 32);
}

static void openssl_derive(EVP_PKEY *private_key)
{
	EVP_PKEY *public_key = EVP_PKEY_new_raw_public_key(EVP_PKEY_X25519, NULL, theirs.bytes, 32);
	EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new(private_key, NULL);
	size_t len = 32;

	must(EVP_PKEY_derive_init(ctx) == 1 && EVP_PKEY_derive_set_peer(ctx, public_key) == 1 &&
		EVP_PKEY_derive(ctx, out, &len) == 1);
	EVP_PKEY_CTX_free(ctx);
	EVP_PKEY_free(public_key);
}

static void openssl_shared(void)
{
	EVP_PKEY *private_key = openssl_load();

	openssl_derive(private_key);
	EVP_PKEY_free(private_key);
}

static void openssl_shared_loaded(void)
{
	openssl_derive(loaded);
}

static void openssl_public(void)
{
	EVP_PKEY *private_key = openssl_load();
	size_t len = 32;

	must(EVP_PKEY_get_raw_public_key(private_key, out, &len) == 1);
	EVP_PKEY_free(private_key);
}

static void hash(void)
{
	blake2s(out, 32, NULL, 0, out, 64);
}

static void derive(void)
{
	kdf2(out, out + 32, key.bytes, out, 32);
}

static void seal(void)
{
	uint8_t text[32 + CHAPOLY_TAG_LEN];

	chapoly_seal(text, out, 32, out, 32, 0, &key);
}

static void generate(void)
{
	struct private_key fresh;

	x25519_generate(&fresh);
}

const struct primitive primitives[] = {
	{"tailplane", "X25519 shared secret", tailplane_shared},
	{"tailplane", "X25519 two shared secrets", tailplane_pair},
	{"libsodium", "X25519 shared secret", sodium_shared},
	{"openssl", "X25519 shared secret", openssl_shared},
	{"openssl", "X25519 shared secret, private key loaded before", openssl_shared_loaded},
	{"tailplane", "X25519 public key", tailplane_public},
	{"libsodium", "X25519 public key", sodium_public},
	{"openssl", "X25519 public key", openssl_public},
	{"tailplane", "a private key out of the kernel's random numbers", generate},
	{"tailplane", "BLAKE2s of 64 bytes", hash},
	{"tailplane", "KDF2", derive},
	{"tailplane", "AEAD of 32 bytes", seal},
};
const unsigned n_primitives = sizeof(primitives) / sizeof(primitives[0]);

static void must_equal(void (*a)(void), void (*b)(void))
{
	uint8_t first[32];

	a();
	memcpy(first, out, 32);
	memset(out, 0, sizeof(out));
	b();
	must(memcmp(first, out, 32) == 0);
}

void primitives_init(void)
{
	struct private_key far;

	must(sodium_init() >= 0);
	x25519_generate(&ours);
	x25519_generate(&far);
	x25519_public(&theirs, &far);
	secret_random(&key, sizeof(key));
	loaded = openssl_load();
	must_equal(tailplane_shared, sodium_shared);
	must_equal(tailplane_shared, openssl_shared);
	must_equal(tailplane_pair, openssl_shared);
	must_equal(tailplane_shared, openssl_shared_loaded);
	must_equal(tailplane_public, sodium_public);
	must_equal(tailplane_public, openssl_public);
}

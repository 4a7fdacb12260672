/* SPDX-License-Identifier: BSD-3-Clause */
/* Protocol library. */
#include "authkey.h"

#include <stdio.h>
#include <string.h>

#include <sodium.h>

#include "secret.h"

static bool is_word(const char *text, size_t len)
{
	for (size_t i = 0; i < len; i++)
		if (!(text[i] >= 'a' && text[i] <= 'z') && !(text[i] >= 'A' && text[i] <= 'Z') &&
			!(text[i] >= '0' && text[i] <= '9') && text[i] != '_' && text[i] != '-')
			return false;
	return true;
}

static void hash(struct authkey *key, const char *secret)
{
	crypto_hash_sha256(key->hash, (const unsigned char *)secret, AUTHKEY_SECRET_LEN);
}

void authkey_make(struct authkey *key, const char *kind, char text[static AUTHKEY_TEXT_SIZE])
{
	uint8_t random[AUTHKEY_PREFIX_LEN / 2 + AUTHKEY_SECRET_LEN / 2];
	char secret[AUTHKEY_SECRET_LEN + 1];

	secret_random(random, sizeof(random));
	sodium_bin2hex(key->prefix, sizeof(key->prefix), random, AUTHKEY_PREFIX_LEN / 2);
	sodium_bin2hex(
		secret, sizeof(secret), random + AUTHKEY_PREFIX_LEN / 2, AUTHKEY_SECRET_LEN / 2);
	hash(key, secret);
	snprintf(text, AUTHKEY_TEXT_SIZE, "%s%s-%s", kind, key->prefix, secret);
	secret_zero(random, sizeof(random));
	secret_zero(secret, sizeof(secret));
}

bool authkey_parse(struct authkey *key, const char *kind, const char *text)
{
	size_t skip = strlen(kind);

	if (strncmp(text, kind, skip) ||
		strlen(text) != skip + AUTHKEY_PREFIX_LEN + 1 + AUTHKEY_SECRET_LEN ||
		text[skip + AUTHKEY_PREFIX_LEN] != '-' ||
		!is_word(text + skip, strlen(text + skip)))
		return false;
	memcpy(key->prefix, text + skip, AUTHKEY_PREFIX_LEN);
	key->prefix[AUTHKEY_PREFIX_LEN] = 0;
	hash(key, text + skip + AUTHKEY_PREFIX_LEN + 1);
	return true;
}

bool authkey_matches(const struct authkey *key, const uint8_t hash_[static AUTHKEY_HASH_LEN])
{
	return secret_equal(key->hash, hash_, AUTHKEY_HASH_LEN);
}

void auth_id_make(char id[static AUTH_ID_SIZE])
{
	uint8_t random[12];

	secret_random(random, sizeof(random));
	memcpy(id, AUTH_ID, sizeof(AUTH_ID));
	sodium_bin2hex(id + sizeof(AUTH_ID) - 1, 2 * sizeof(random) + 1, random, sizeof(random));
}

bool auth_id_valid(const char *id)
{
	if (strncmp(id, AUTH_ID, sizeof(AUTH_ID) - 1) || strlen(id) != AUTH_ID_SIZE - 1)
		return false;
	return strspn(id + sizeof(AUTH_ID) - 1, "0123456789abcdef") == 24;
}
